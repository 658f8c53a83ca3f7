#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_azure_info
short_description: List the NVIDIA NIM containers of an AKS cluster
description:
  - Reads from the cluster, by label, which NIMs exist, which of them run, and why one that should run does not.
  - Nothing is remembered between runs.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes
  - budgetguard.techops.attributes.info_module
  - budgetguard.techops.attributes.actiongroup_azure
  - budgetguard.techops.azure_connection
seealso:
  - module: budgetguard.techops.nim_azure
"""

EXAMPLES = r"""
- name: See what runs
  budgetguard.techops.nim_azure_info:
    subscription_id: 00000000-0000-0000-0000-000000000000
    resource_group: budgetguard
  register: result

- name: Show the reason for each NIM that does not run
  ansible.builtin.debug:
    msg: "{{ result.deployments | selectattr('reason') | map(attribute='reason') }}"
"""

RETURN = r"""
asleep:
  description:
    - The whole cluster is switched off, as O(budgetguard.techops.nim_azure#module:stop_cluster) does it. Nobody can be
      asked then, and RV(deployments) is empty.
  returned: when the cluster is switched off
  type: bool
  sample: true
deployments:
  description:
    - The NIMs of the cluster, as in the return value of M(budgetguard.techops.nim_azure).
  returned: success
  type: list
  elements: dict
  sample:
    - name: nim-flux-dev-a100-80gb
      node: FLUX Dev
      serves: [FLUX Dev]
      variants: {FLUX Dev: base}
      gpu_tier: a100-80gb
      image: nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.3
      kind: image
      replicas: 1
      running: 0
      state: starting
      reason: waiting for a GPU machine
      endpoint: http://10.224.0.7/flux-dev-a100-80gb
      infer_url: http://10.224.0.7/flux-dev-a100-80gb/v1/infer
      health_url: http://10.224.0.7/flux-dev-a100-80gb/v1/health/ready
      region: eastus
      deployed_at: "2026-11-23T18:00:00Z"
      running_since: "2026-11-28T09:12:40Z"
      auth: none
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import AZURE_CONNECTION
from ansible_collections.budgetguard.techops.plugins.module_utils._converge import run_info
from ansible_collections.budgetguard.techops.plugins.module_utils._providers.azure import Azure


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=AZURE_CONNECTION,
        supports_check_mode=True,
    )
    run_info(module, lambda: Azure.connect(module.params))


if __name__ == "__main__":
    main()
