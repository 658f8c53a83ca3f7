#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_gcp_permissions_info
short_description: Tell which rights are missing on Google Cloud
description:
  - Asks Google Cloud's Resource Manager which of the permissions that the collection needs the caller has in the
    project (C(projects.testIamPermissions)). Nothing is created, and no permission is used.
  - Permissions inside the cluster are permissions of IAM, too, so they are in it. What Kubernetes' own roles allow in
    addition is not looked at.
  - It does not fail where permissions are missing. Look at RV(complete).
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes
  - budgetguard.techops.attributes.info_module
  - budgetguard.techops.attributes.actiongroup_gcp
  - budgetguard.techops.permissions
  - budgetguard.techops.gcp_connection
notes:
  - Any caller may ask this about itself. The Cloud Resource Manager API (C(cloudresourcemanager.googleapis.com)) has to
    be enabled in the project.
  - C(iam.serviceAccounts.actAs) may be granted on one service account alone, which the project does not tell. Where the
    project does not grant it, RV(unchecked) names it. Policies of the organization are not in the answer.
seealso:
  - module: budgetguard.techops.nim_gcp
"""

EXAMPLES = r"""
- name: May this account read what the board shows?
  budgetguard.techops.nim_gcp_permissions_info:
    project: studio-nims
    location: us-central1-a
    roles: [readonly]
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
  sample: the service account techops@studio-nims.iam.gserviceaccount.com (key.json)
checked:
  description: How many rights were looked at.
  returned: success
  type: int
  sample: 52
missing:
  description: The rights that the caller does not have.
  returned: success
  type: list
  elements: dict
  contains:
    right:
      description: How the cloud calls it.
      type: str
      sample: container.clusters.create
    where:
      description: On what it is needed.
      type: str
      sample: the project studio-nims
    purpose:
      description: What it is for.
      type: str
      sample: the GKE cluster
    reason:
      description: More about why it is not there, or with what condition it was asked for; null if nothing is known.
      type: str
      sample: null
    line:
      description: All of it in one line.
      type: str
      sample: "container.clusters.create on the project studio-nims: the GKE cluster"
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

from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import GCP_CONNECTION
from ansible_collections.budgetguard.techops.plugins.module_utils._permissions import PERMISSIONS, run_permissions
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_permissions import look


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={**PERMISSIONS, **GCP_CONNECTION},
        supports_check_mode=True,
    )
    run_permissions(module, lambda roles: look(module.params, roles))


if __name__ == "__main__":
    main()
