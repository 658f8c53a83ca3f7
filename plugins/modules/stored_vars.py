#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: stored_vars
short_description: Write variables into a secret store
description:
  - Keeps variables as one JSON mapping in a secret of HashiCorp Vault, AWS Secrets Manager, Azure Key Vault or Google
    Secret Manager. The lookup P(budgetguard.techops.stored_vars#lookup) reads it, and so can any other.
  - It runs on the controller. No temporary file is made, and nothing of the content is shown.
  - A secret that says this already is not written again. Vault refuses a write over one that was made meanwhile, which
    is then repeated on what is there; the other stores know no such condition, so of two runs for one workstation at
    the same moment the last wins.
  - Nothing is ever deleted from a store. Without variables its mapping is empty.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes
  - budgetguard.techops.attributes.action
  - budgetguard.techops.secret_store
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Names are shown, values are not.
  platform:
    support: full
options:
  name:
    description:
      - Name of the secret, without the prefix of the store, such as C(workstations/ws-01).
    type: str
    required: true
  state:
    description:
      - V(ready) only checks that the store can be read.
    type: str
    choices: [present, ready]
    default: present
  variables:
    description:
      - Variables to store. Of one that is a mapping, each entry given replaces the entry of that name; others stay.
    type: dict
    default: {}
  absent:
    description:
      - Variables to remove, or entries of a mapping as C(variable.entry).
    type: list
    elements: str
    default: []
requirements:
  - boto3 >= 1.40.53 (AWS Secrets Manager)
  - azure-identity >= 1.25 (Azure Key Vault)
  - google-auth >= 2.40 (Google Secret Manager)
seealso:
  - plugin: budgetguard.techops.stored_vars
    plugin_type: lookup
  - module: budgetguard.techops.vaulted_vars
"""

EXAMPLES = r"""
- name: Keep the studio key in AWS Secrets Manager
  budgetguard.techops.stored_vars:
    store:
      type: aws_secretsmanager
      region: us-east-1
    name: studio-key
    variables:
      nim_studio_key: "{{ new_studio_key }}"
  no_log: true
"""

RETURN = r"""
name:
  description: The full name of the secret.
  returned: success
  type: str
  sample: budgetguard/workstations/ws-01
"""
