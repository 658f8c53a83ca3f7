#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_package_install
short_description: Install NVIDIA NIM containers on a workstation from an install package
description:
  - Checks a package that M(budgetguard.techops.nim_package) has built, and the workstation, before anything is changed.
    A package that is cut off or changed is refused, and nothing of it is loaded.
  - Loads the images that the Docker engine does not have yet, writes the files of each node to
    C(~/.budgetguard_local/NODE/), and makes one container per node, which stays stopped.
  - Does the same as the program C(install.py) of the package, with the same code.
  - On Windows, ComfyUI's own Python runs that code, which goes there with the task. C(ansible.windows.win_command)
    starts it, so the collection ansible.windows is needed on the controller.
  - What was interrupted is finished by the next run.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes
options:
  package:
    description:
      - The package, a file on the workstation or on a share. Required with O(state=present).
      - On Windows a drive and a path, or a path on a file server that the account which the task runs as can read.
    type: path
  state:
    description:
      - With V(absent) the nodes are removed, with their containers, models and files, and images that no other node
        uses. No package is needed for that.
    type: str
    choices: [present, absent]
    default: present
  nodes:
    description: Names of the nodes. By default all of the package, or with O(state=absent) all that are installed.
    type: list
    elements: str
    default: []
  manifest_sha256:
    description:
      - What RV(budgetguard.techops.nim_package#module:manifest_sha256) was. Any other package is refused.
      - Without it, a package is only compared with itself. Somebody who can write to a share could put another one
        there.
    type: str
  folder:
    description:
      - Where the files of the nodes go. C(~) is the home of the user that the task runs as.
      - On Windows, O(ngc_api_key) and O(hf_token) need a folder below a user's home.
    type: path
    default: ~/.budgetguard_local
  bind_address:
    description:
      - Address of the workstation at which the NIMs listen. A NIM has no login, so the default lets only the
        workstation itself use it.
    type: str
    default: 127.0.0.1
  ports:
    description: Node to port, where another one than the package's is wanted.
    type: dict
    default: {}
  user:
    description: Number of the user that the NIMs run as in their containers.
    type: int
    default: 1000
  ngc_api_key:
    description:
      - NGC API key, for nodes without a model in the package. It is written into the file C(.env) of these nodes, which
        only the user can read, and it stands in the container's configuration. Without it, a key that is there stays.
    type: str
  hf_token:
    description: Hugging Face token, for gated models. As O(ngc_api_key).
    type: str
  skip_fit_check:
    description: Do not compare GPU and memory with what the nodes need.
    type: bool
    default: false
  replace_running:
    description:
      - Replace containers that run when something about them has changed. They are stopped afterwards.
      - Without it, such a node is refused, and what runs goes on.
    type: bool
    default: false
  keep_models:
    description: With O(state=absent), keep the volumes with the models.
    type: bool
    default: false
  docker_host:
    description: Where the Docker engine listens. By default, where the docker program finds it.
    type: str
  docker_command:
    description: The docker program, as a name or a path.
    type: str
    default: docker
  comfyui_path:
    description: ComfyUI's base folder. On Windows, its Python is looked for there. Without effect elsewhere.
    type: str
  comfyui_python:
    description: ComfyUI's Python on Windows, where it is elsewhere, or there is no ComfyUI. Without effect elsewhere.
    type: str
attributes:
  check_mode:
    support: full
    details:
      - The package is read and verified in check mode as well.
  diff_mode:
    support: none
  platform:
    support: full
    platforms: posix, windows
requirements:
  - Python 3.9 or newer, with its standard library alone
  - Docker Engine 20.10 or newer, as root or as a member of the group C(docker)
  - Docker Compose 1.28 or newer, as the plugin of Docker or as C(docker-compose)
  - NVIDIA's driver, with C(nvidia-smi), and the NVIDIA Container Toolkit
seealso:
  - module: budgetguard.techops.nim_package
  - module: budgetguard.techops.nim_local_info
"""

EXAMPLES = r"""
- name: Install everything that is in the package
  budgetguard.techops.nim_package_install:
    package: /mnt/share/packages/flux.zip
    manifest_sha256: "{{ package.manifest_sha256 }}"
  register: installed

- name: Install it on a Windows workstation, from a share
  budgetguard.techops.nim_package_install:
    package: \\files\nims\flux.zip
    folder: C:\Users\artist\.budgetguard_local
    comfyui_path: D:\ComfyUI_windows_portable\ComfyUI
    manifest_sha256: "{{ package.manifest_sha256 }}"

- name: Remove one node
  budgetguard.techops.nim_package_install:
    state: absent
    nodes: [FLUX Depth]
"""

RETURN = r"""
nodes:
  description: What became of each node, or would become of it in check mode.
  returned: success, and on failure after the package was read
  type: list
  elements: dict
  contains:
    node:
      description: Name of the node.
      type: str
      sample: FLUX Dev
    state:
      description:
        - V(created), V(updated), V(unchanged) or V(removed); V(refused) where the workstation does not meet what the
          node needs; V(failed) where something went wrong on the way.
      type: str
      sample: created
    reason:
      description: Why.
      type: str
      sample: it is not installed
    container:
      description: Name of the container. It is started with C(docker start).
      type: str
      sample: nim-flux-dev-rtx-4090
    port:
      description: Port at which it listens once it runs.
      type: int
      sample: 8000
    url:
      description: Its base address.
      type: str
      sample: http://127.0.0.1:8000
    image:
      description: Its image.
      type: str
      sample: nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.3
    folder:
      description: Where its files are.
      type: str
      sample: /home/artist/.budgetguard_local/flux-dev
    licences:
      description: Terms of its model.
      type: list
      elements: str
      sample: [black-forest-labs/FLUX.1-dev (NOT for commercial work without an agreement)]
loaded_images:
  description: Images that were loaded into the engine.
  returned: success
  type: list
  elements: str
  sample: [nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.3]
removed_images:
  description: Images that were removed.
  returned: success
  type: list
  elements: str
  sample: []
verified_bytes:
  description: How many bytes of the package were read and compared before anything was changed.
  returned: success
  type: int
  sample: 12345678901
"""

import pathlib
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.budgetguard.techops.plugins.module_utils import _package_installer as installer
from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import ArgumentSpec
from ansible_collections.budgetguard.techops.plugins.module_utils._keys import check_key

ARGUMENT_SPEC: ArgumentSpec = {
    "package": {"type": "path"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "nodes": {"type": "list", "elements": "str", "default": []},
    "manifest_sha256": {"type": "str"},
    "folder": {"type": "path", "default": "~/.budgetguard_local"},
    "bind_address": {"type": "str", "default": "127.0.0.1"},
    "ports": {"type": "dict", "default": {}},
    "user": {"type": "int", "default": 1000},
    "ngc_api_key": {"type": "str", "no_log": True},
    "hf_token": {"type": "str", "no_log": True},
    "skip_fit_check": {"type": "bool", "default": False},
    "replace_running": {"type": "bool", "default": False},
    "keep_models": {"type": "bool", "default": False},
    "docker_host": {"type": "str"},
    "docker_command": {"type": "str", "default": "docker"},
    "comfyui_path": {"type": "str"},
    "comfyui_python": {"type": "str"},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        required_if=[("state", "present", ["package"])],
        supports_check_mode=True,
    )
    try:
        options = _options(module.params, module.check_mode)
        work = installer.install if module.params["state"] == "present" else installer.uninstall
        report = work(options, lambda _text: None)
    except (installer.InstallError, ValueError) as exc:
        module.fail_json(msg=str(exc))
    except OSError as exc:
        module.fail_json(msg=f"{exc.filename}: {exc.strerror}")
    result = report.as_dict()
    for warning in result.pop("warnings"):
        module.warn(warning)
    if report.code:
        bad = [item.line() for item in report.nodes if item.state in (installer.FAILED, installer.REFUSED)]
        module.fail_json(msg="\n".join(bad), **result)
    module.exit_json(**result)


def _options(params: t.Mapping[str, t.Any], check: bool) -> installer.Options:
    """Return the module's options as the installer takes them. Raises ValueError or InstallError."""
    keys = {name.upper(): check_key(name, params[name]) for name in ("ngc_api_key", "hf_token")}
    wrong = [f"ports[{node!r}] is {port!r}; it must be a port number" for node, port in params["ports"].items()
             if not str(port).isdigit()]  # fmt: skip
    if wrong:
        raise ValueError("\n".join(wrong))
    return installer.Options(
        package=pathlib.Path(params["package"]) if params["package"] else None,
        nodes=tuple(params["nodes"]),
        folder=pathlib.Path(params["folder"]),
        manifest_sha256=params["manifest_sha256"] or None,
        bind_address=params["bind_address"],
        ports={str(node): int(port) for node, port in params["ports"].items()},
        keys={name: key for name, key in keys.items() if key},
        user=str(params["user"]),
        skip_fit_check=params["skip_fit_check"],
        replace_running=params["replace_running"],
        keep_models=params["keep_models"],
        check=check,
        docker_command=params["docker_command"],
        docker_host=params["docker_host"],
    )


if __name__ == "__main__":
    main()
