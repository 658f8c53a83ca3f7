#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_nvidia_info
short_description: List the NVIDIA NIM of an organisation at NVIDIA
description:
  - Reads from NVIDIA which functions this collection has made there, which of them run, and why one that should run
    does not. Nothing is remembered between runs.
  - Hosted models are listed as O(hosted_nodes) names them, with whether the key may use them.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes
  - budgetguard.techops.attributes.info_module
  - budgetguard.techops.attributes.actiongroup_nvidia
  - budgetguard.techops.nvidia_connection
seealso:
  - module: budgetguard.techops.nim_nvidia
"""

EXAMPLES = r"""
- name: See what runs
  budgetguard.techops.nim_nvidia_info:
    api_key: "{{ nvidia_api_key }}"
    org: my-org
    hosted_nodes: [SDXL]
  register: result

- name: Show the reason for each NIM that does not run
  ansible.builtin.debug:
    msg: "{{ result.deployments | selectattr('reason') | map(attribute='reason') }}"
"""

RETURN = r"""
deployments:
  description:
    - The NIMs of the organisation, as in the return value of M(budgetguard.techops.nim_nvidia).
  returned: success
  type: list
  elements: dict
  sample:
    - name: nim-sdxl-hosted
      node: SDXL
      serves: [SDXL]
      variants: {}
      gpu_tier: hosted
      image: null
      kind: image
      replicas: 1
      running: 1
      state: running
      reason: null
      endpoint: https://ai.api.nvidia.com/v1/genai/stabilityai/stable-diffusion-xl
      infer_url: https://ai.api.nvidia.com/v1/genai/stabilityai/stable-diffusion-xl
      health_url: null
      region: null
      deployed_at: null
      auth: bearer
      running_since: null
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import NVIDIA_CONNECTION
from ansible_collections.budgetguard.techops.plugins.module_utils._converge import run_info
from ansible_collections.budgetguard.techops.plugins.module_utils._providers.nvidia import Nvidia


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=NVIDIA_CONNECTION, supports_check_mode=True)
    run_info(module, lambda: Nvidia.connect(module.params))


if __name__ == "__main__":
    main()
