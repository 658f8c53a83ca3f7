#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_azure_permissions_info
short_description: Tell which rights are missing on Azure
description:
  - Asks Azure Resource Manager what the caller may do on the resource group, or on the subscription where there is no
    such group yet, and compares it with what the collection needs. Nothing is created, and no right is used.
  - Rights inside the cluster are data actions of Azure RBAC. They count in a cluster made here. In one of yours without
    Azure RBAC, Kubernetes' own roles decide, and they are not looked at.
  - The application permission of Microsoft Graph that the role V(identities) needs is read from the caller's token.
  - It does not fail where rights are missing. Look at RV(complete).
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes
  - budgetguard.techops.attributes.info_module
  - budgetguard.techops.attributes.actiongroup_azure
  - budgetguard.techops.permissions
  - budgetguard.techops.azure_connection
notes:
  - Any caller may ask this about itself. Deny assignments, policies (Azure Policy) and conditions of role assignments
    are not in the answer.
seealso:
  - module: budgetguard.techops.nim_azure
"""

EXAMPLES = r"""
- name: What is missing for deployments and for identities of workstations?
  budgetguard.techops.nim_azure_permissions_info:
    subscription_id: 00000000-0000-0000-0000-000000000000
    resource_group: budgetguard
    roles: [deployer, identities]
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
  sample: the service principal 00000000-0000-0000-0000-000000000000 of tenant studio.example
checked:
  description: How many rights were looked at.
  returned: success
  type: int
  sample: 40
missing:
  description: The rights that the caller does not have.
  returned: success
  type: list
  elements: dict
  contains:
    right:
      description: How the cloud calls it.
      type: str
      sample: Microsoft.ContainerService/managedClusters/write
    where:
      description: On what it is needed.
      type: str
      sample: the resource group budgetguard
    purpose:
      description: What it is for.
      type: str
      sample: the AKS cluster
    reason:
      description: More about why it is not there, or with what condition it was asked for; null if nothing is known.
      type: str
      sample: null
    line:
      description: All of it in one line.
      type: str
      sample: >-
        Microsoft.ContainerService/managedClusters/write on the resource group budgetguard: the AKS cluster
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

from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import AZURE_CONNECTION
from ansible_collections.budgetguard.techops.plugins.module_utils._permissions import PERMISSIONS, run_permissions
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_permissions import look


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={**PERMISSIONS, **AZURE_CONNECTION},
        supports_check_mode=True,
    )
    run_permissions(module, lambda roles: look(module.params, roles))


if __name__ == "__main__":
    main()
