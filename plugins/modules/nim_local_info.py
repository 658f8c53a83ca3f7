#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_local_info
short_description: List the NVIDIA NIM containers of a Docker host
description:
  - Reads from the Docker engine, by label, which NIMs exist, which of them run, and why one that should run does not.
  - Nothing is remembered between runs.
  - On a workstation with Windows, ComfyUI's own Python asks Docker, and C(ansible.windows.win_command) starts it. A NIM
    is ready there when Docker's own check says so, which it finds out twice a minute.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
options:
  comfyui_path:
    description: ComfyUI's base folder. On Windows, its Python is looked for there. Without effect elsewhere.
    type: str
  comfyui_python:
    description: ComfyUI's Python on Windows, where it is elsewhere, or there is no ComfyUI. Without effect elsewhere.
    type: str
extends_documentation_fragment:
  - budgetguard.techops.attributes
  - budgetguard.techops.attributes.info_module
  - budgetguard.techops.attributes.actiongroup_local
  - budgetguard.techops.local_connection
attributes:
  platform:
    platforms: posix, windows
seealso:
  - module: budgetguard.techops.nim_local
"""

EXAMPLES = r"""
- name: See what runs
  budgetguard.techops.nim_local_info:
    endpoint_host: gpu-box-1.studio.example
  register: result

- name: See what runs on a workstation with Windows
  budgetguard.techops.nim_local_info:
    endpoint_host: 127.0.0.1
    comfyui_path: D:\ComfyUI_windows_portable\ComfyUI

- name: Show the reason for each NIM that does not run
  ansible.builtin.debug:
    msg: "{{ result.deployments | selectattr('reason') | map(attribute='reason') }}"
"""

RETURN = r"""
deployments:
  description:
    - The NIMs of the host, as in the return value of M(budgetguard.techops.nim_local).
  returned: success
  type: list
  elements: dict
  sample:
    - name: nim-flux-dev-l40s
      node: FLUX Dev
      serves: [FLUX Dev]
      variants: {FLUX Dev: base}
      gpu_tier: l40s
      image: nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.3
      kind: image
      replicas: 1
      running: 0
      state: starting
      reason: it has loaded its model for 3 min
      endpoint: http://gpu-box-1.studio.example:8000
      infer_url: http://gpu-box-1.studio.example:8000/v1/infer
      health_url: http://gpu-box-1.studio.example:8000/v1/health/ready
      region: null
      deployed_at: "2026-11-23T18:00:00Z"
      running_since: "2026-11-28T09:12:40Z"
      auth: none
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import LOCAL_CONNECTION, ArgumentSpec
from ansible_collections.budgetguard.techops.plugins.module_utils._converge import run_info
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._docker_cli import DockerCli
from ansible_collections.budgetguard.techops.plugins.module_utils._providers.local import Local

ARGUMENT_SPEC: ArgumentSpec = {
    **LOCAL_CONNECTION,
    "comfyui_path": {"type": "str"},
    "comfyui_python": {"type": "str"},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    with DockerCli(module.run_command, params["docker_command"], params["docker_host"]) as cli:
        run_info(module, lambda: Local.connect(cli, params))


if __name__ == "__main__":
    main()
