# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that all AWS modules share."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation of how an AWS account and region is reached."""

    DOCUMENTATION = r"""
options:
  region:
    description:
      - AWS region, for example V(us-east-1).
    type: str
    required: true
  cluster:
    description:
      - Name of the ECS cluster and the first part of the names of everything made. Two to 22 lower-case letters, digits
        and hyphens.
    type: str
    default: budgetguard
  profile:
    description:
      - Profile of the shared AWS configuration and credentials files.
    type: str
  access_key:
    description:
      - AWS access key id. Without it, boto3's own chain is used (environment, profile, instance role).
    type: str
  secret_key:
    description:
      - AWS secret access key.
    type: str
  session_token:
    description:
      - AWS session token of temporary credentials.
    type: str
  assume_role_arn:
    description:
      - Role to assume first, for example in another account.
    type: str
  assume_role_external_id:
    description:
      - External id that the role's trust policy asks for.
    type: str
  endpoint_url:
    description:
      - Send all calls to this address instead of AWS's own. The environment variable E(AWS_ENDPOINT_URL) does the same.
    type: str
  ca_bundle:
    description:
      - File with the certificate authorities to trust. The environment variable E(AWS_CA_BUNDLE) does the same.
    type: path
  validate_certs:
    description:
      - Verify TLS certificates.
    type: bool
    default: true
requirements:
  - boto3 >= 1.40.53
"""
