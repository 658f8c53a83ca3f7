#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_aws_permissions_info
short_description: Tell which rights are missing on AWS
description:
  - Asks IAM which of the rights that the collection needs the caller has, with C(iam:SimulatePrincipalPolicy). Nothing
    is created, and no right is used.
  - The rights are those of the policies in C(policies/aws) of the collection, for this account, region and cluster.
  - It does not fail where rights are missing. Look at RV(complete).
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes
  - budgetguard.techops.attributes.info_module
  - budgetguard.techops.attributes.actiongroup_aws
  - budgetguard.techops.permissions
  - budgetguard.techops.aws_connection
notes:
  - The caller needs C(iam:SimulatePrincipalPolicy) on itself, and C(iam:GetRole) where it is a role. Both are in
    C(policies/aws/permissions_check.json). Where it may not ask, RV(unchecked) says so.
  - IAM's simulation does not know conditions in policies of the organization (SCP, RCP), nor session policies. What
    they forbid is seen on the first real call only.
seealso:
  - module: budgetguard.techops.nim_aws
"""

EXAMPLES = r"""
- name: What is missing for deployments?
  budgetguard.techops.nim_aws_permissions_info:
    region: us-east-1
  register: rights

- name: Stop if something is missing
  ansible.builtin.assert:
    that: rights.complete
    fail_msg: "{{ rights.missing | map(attribute='line') | list + rights.unchecked }}"
"""

RETURN = r"""
complete:
  description: Whether everything could be looked at, and nothing is missing.
  returned: success
  type: bool
  sample: false
identity:
  description: Who was asked about.
  returned: success
  type: str
  sample: arn:aws:sts::111122223333:assumed-role/techops/ansible
checked:
  description: How many rights were looked at.
  returned: success
  type: int
  sample: 112
missing:
  description: The rights that the caller does not have.
  returned: success
  type: list
  elements: dict
  contains:
    right:
      description: How the cloud calls it.
      type: str
      sample: ecs:CreateService
    where:
      description: On what it is needed.
      type: str
      sample: arn:aws:ecs:us-east-1:111122223333:service/budgetguard/*
    purpose:
      description: What it is for.
      type: str
      sample: one ECS service for each NIM; its desired count is the switch
    reason:
      description: More about why it is not there, or with what condition it was asked for; null if nothing is known.
      type: str
      sample: the permissions boundary does not allow it
    line:
      description: All of it in one line.
      type: str
      sample: >-
        ecs:CreateService on arn:aws:ecs:us-east-1:111122223333:service/budgetguard/*: one ECS service for each NIM; its
        desired count is the switch
unchecked:
  description: What could not be looked at, and why. It may be there or not.
  returned: success
  type: list
  elements: str
  sample: []
notes:
  description: What the answers do not cover, and rights that are not held and that only some need.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import AWS_CONNECTION
from ansible_collections.budgetguard.techops.plugins.module_utils._permissions import PERMISSIONS, run_permissions
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_permissions import look


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={**PERMISSIONS, **AWS_CONNECTION},
        required_together=[("access_key", "secret_key")],
        supports_check_mode=True,
    )
    run_permissions(module, lambda roles: look(module.params, roles))


if __name__ == "__main__":
    main()
