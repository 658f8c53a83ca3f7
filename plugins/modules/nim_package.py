#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_package
short_description: Build an install package of NVIDIA NIM containers for workstations without a cloud
description:
  - Writes one ZIP file with the images of the nodes, each image once and each layer once, a Compose file per node, a
    manifest with sizes and digests, the licences, a README, and the program C(install.py) that installs it.
  - Images come straight from their registry, for which no Docker is needed, or out of a Docker engine that has them.
    Every byte is written once, into the package itself. The members are stored and not compressed again.
  - With O(nodes[].model_cache) the model goes into the package, too. A workstation then needs neither a network nor a
    key.
  - A package that already is what is asked for is left alone. RV(reason) says why one is built.
  - A build that is interrupted leaves the package that was there before.
  - C(install.py) is also put beside the package.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes
options:
  path:
    description:
      - The package, a file that ends in C(.zip). Its folder needs as much free space as the package takes.
    type: path
    required: true
  state:
    description:
      - With V(absent) the package is removed. The program beside it stays, since other packages use it as well.
    type: str
    choices: [present, absent]
    default: present
  nodes:
    description:
      - What goes into the package. Required with O(state=present).
    type: list
    elements: dict
    default: []
    suboptions:
      node:
        description: Name of the node, such as V(FLUX Dev).
        type: str
        required: true
      tag:
        description: Tag of the image, with or without its digest. By default the catalogue's.
        type: str
      port:
        description:
          - Port at which the NIM listens on a workstation. By default the next one from O(first_port).
          - Where it is taken on a workstation, the next free one is used there.
        type: int
      env:
        description:
          - More environment variables of the container. No keys; the package is not secret.
          - Texts or whole numbers. Put V(true), V(false) and numbers with a decimal point into quotes.
        type: dict
        default: {}
      model_cache:
        description:
          - The model, as a NIM on this host has loaded it. An absolute path is a folder, anything else is the name of
            a Docker volume, such as V(nim-flux-dev-l40s-cache). The NIM must not run meanwhile.
          - The model is chosen by a NIM for the GPU that it runs on. It fits workstations with the same GPU.
        type: str
  source:
    description:
      - V(registry) takes the images from the registry that their names say, as they are there, compressed.
      - V(engine) takes them out of the Docker engine of this host, which must have them. They are not compressed there,
        so the package is larger. The engine needs the space of the largest image once more meanwhile.
    type: str
    choices: [registry, engine]
    default: registry
  architecture:
    description: Which of an image's architectures to take.
    type: str
    choices: [amd64, arm64]
    default: amd64
  ngc_api_key:
    description: NGC API key, for images at V(nvcr.io). It does not go into the package.
    type: str
  registry:
    description:
      - A registry of your own with NVIDIA's images under the same paths, such as V(registry.studio.example:5000).
    type: str
  registry_username:
    description: User of O(registry).
    type: str
  registry_password:
    description: Password of O(registry).
    type: str
  ca_path:
    description: File with certificate authorities to trust instead of the system's.
    type: path
  docker_host:
    description: Where the Docker engine listens. Used with O(source=engine) and for volumes in O(nodes[].model_cache).
    type: str
    default: unix:///var/run/docker.sock
  docker_command:
    description: The docker program, as a name or a path.
    type: str
    default: docker
  first_port:
    description: From which port on the nodes get theirs.
    type: int
    default: 8000
  nim_catalog:
    description: Extends or overrides the catalogue of nodes.
    type: dict
    default: {}
  verify:
    description:
      - Read all of a package that is there, and build it again if a byte of it is damaged. Without it only its
        structure and its small members are looked at, which finds one that is cut off.
    type: bool
    default: false
  force:
    description: Build the package even if it is what is asked for.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  platform:
    support: full
    platforms: posix
requirements:
  - Python 3.9 or newer, with its standard library alone
  - Docker Engine 20.10 or newer, with O(source=engine) or volumes in O(nodes[].model_cache)
seealso:
  - module: budgetguard.techops.nim_package_install
  - module: budgetguard.techops.nim_key_info
"""

EXAMPLES = r"""
- name: Build a package with three nodes that are one image
  budgetguard.techops.nim_package:
    path: /srv/packages/flux.zip
    nodes:
      - node: FLUX Dev
      - node: FLUX Canny
      - node: FLUX Depth
    ngc_api_key: "{{ nim_ngc_api_key }}"
  register: package
  delegate_to: localhost

- name: Build a package for workstations without any network, out of a Docker host that has run the NIM
  budgetguard.techops.nim_package:
    path: /data/packages/flux-offline.zip
    source: engine
    nodes:
      - node: FLUX Dev
        model_cache: nim-flux-dev-rtx-6000-ada-cache
  become: true
"""

RETURN = r"""
reason:
  description: Why the package was built, or would be in check mode; null if it was left alone.
  returned: success
  type: str
  sample: nvcr.io/nim/meta/llama-3.1-8b-instruct:1.15.5 is sha256:9b6f... now; the package has sha256:1c2d...
package:
  description: The package.
  returned: success
  type: str
  sample: /srv/packages/flux.zip
size:
  description: Size of the package in bytes. Null in check mode if it would be built.
  returned: success
  type: int
  sample: 12345678901
bytes_written:
  description: How many bytes the build has written, counted at the file. V(0) if nothing was built.
  returned: success
  type: int
  sample: 12345680123
manifest_sha256:
  description:
    - The sha256 of the package's manifest, and so a fingerprint of the whole package. Hand it to the option
      O(budgetguard.techops.nim_package_install#module:manifest_sha256), so that nothing else gets installed.
  returned: success
  type: str
  sample: 5f2c7a40d1e0b6a3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b
images:
  description: The images in the package.
  returned: success
  type: list
  elements: dict
  sample:
    - reference: nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.3
      identity: sha256:9b6f0c5a4b8e1f0a3d2c7e6b5a4938271605f4e3d2c1b0a99887766554433221
nodes:
  description: The nodes in the package, with what each needs.
  returned: success
  type: list
  elements: dict
  sample:
    - name: FLUX Dev
      port: 8000
      min_gpu_memory_gib: 16
      min_host_memory_gib: 40
      disk_gib: 100
licences:
  description: The terms under which the models may be used. They are in the package as well.
  returned: success
  type: list
  elements: dict
  sample:
    - name: black-forest-labs/FLUX.1-dev
      url: https://huggingface.co/black-forest-labs/FLUX.1-dev
      non_commercial: true
"""

import dataclasses
import datetime
import pathlib
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog, _package, _package_build
from ansible_collections.budgetguard.techops.plugins.module_utils import _package_sources as sources
from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import ArgumentSpec
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._docker_cli import DockerCli
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._docker_settings import DockerSettings

ARGUMENT_SPEC: ArgumentSpec = {
    "path": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "nodes": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "node": {"type": "str", "required": True},
            "tag": {"type": "str"},
            "port": {"type": "int"},
            "env": {"type": "dict", "default": {}},
            "model_cache": {"type": "str"},
        },
    },
    "source": {"type": "str", "choices": ["registry", "engine"], "default": "registry"},
    "architecture": {"type": "str", "choices": ["amd64", "arm64"], "default": "amd64"},
    "ngc_api_key": {"type": "str", "no_log": True},
    "registry": {"type": "str"},
    "registry_username": {"type": "str"},
    "registry_password": {"type": "str", "no_log": True},
    "ca_path": {"type": "path"},
    "docker_host": {"type": "str", "default": "unix:///var/run/docker.sock"},
    "docker_command": {"type": "str", "default": "docker"},
    "first_port": {"type": "int", "default": 8000},
    "nim_catalog": {"type": "dict", "default": {}},
    "verify": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    options = module.params
    path = pathlib.Path(options["path"])
    try:
        if path.suffix != ".zip":
            module.fail_json(msg=f"path is {path}; it must end in .zip")
        if options["state"] == "absent":
            module.exit_json(changed=_remove(path, module.check_mode), package=str(path))
        with DockerCli(module.run_command, options["docker_command"], options["docker_host"]) as cli:
            result = _present(module, cli, path)
    except (ProviderError, ValueError) as exc:
        module.fail_json(msg=str(exc))
    except OSError as exc:
        module.fail_json(msg=f"{exc.filename or path}: {exc.strerror}")
    module.exit_json(**result)


def _remove(path: pathlib.Path, check: bool) -> bool:
    parts = [part for part in (path, path.with_name(f"{path.name}{_package_build.PART}")) if part.exists()]
    for part in parts if not check else ():
        part.unlink()
    return bool(parts)


def _present(module: AnsibleModule, cli: DockerCli, path: pathlib.Path) -> dict[str, t.Any]:
    options = module.params
    settings = DockerSettings.from_options({**options, "ports": {}})
    cli.hide(settings.ngc_api_key, settings.registry_password)
    items = _package.resolve(options["nodes"], options["nim_catalog"], options["first_port"])
    source = _source(cli, settings, options)
    folders = {item.node.name: _model_folder(cli, item.model_cache) for item in items if item.model_cache}
    models = {name: (folder, _package_build.fingerprint(folder)) for name, folder in folders.items()}
    identities = {image: source.identity(image) for image in dict.fromkeys(item.image for item in items)}
    found, damage = _package_build.found_manifest(path, options["verify"], lambda _text: None)
    marks = {name: mark for name, (_folder, mark) in models.items()}
    reason = damage or _package.rebuild_reason(found, items, options["architecture"], identities, marks)
    reason = reason or ("force is set" if options["force"] else None)
    program_changed = _package_build.install_beside(path, module.check_mode) if path.parent.exists() else True
    result: dict[str, t.Any] = {
        "changed": bool(reason) or program_changed,
        "reason": reason,
        # Not under the name path: AnsibleModule would add what it finds out about the file itself.
        "package": str(path),
        "size": path.stat().st_size if found and not reason else None,
        "bytes_written": 0,
        "manifest_sha256": found["sha256"] if found and not reason else None,
        "images": [{"reference": _package.image_name(i), "identity": identities[i]} for i in identities],
        "nodes": [item.described() for item in items],
        "licences": [dataclasses.asdict(licence) for licence in _licences(items)],
    }
    for item in items:
        warning = _catalog.licence_warning(item.node)
        if warning:
            module.warn(warning)
    if reason and not module.check_mode:
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        built = _package_build.build(path, items, source, identities, models, options["architecture"], now)
        _package_build.install_beside(path, check=False)
        result.update(
            size=built.size,
            bytes_written=built.bytes_written,
            manifest_sha256=built.manifest_sha256,
            images=built.manifest["images"],
        )
    return result


def _source(cli: DockerCli, settings: DockerSettings, options: t.Mapping[str, t.Any]) -> _package_build.Source:
    if options["source"] == "engine":
        return sources.EngineSource(cli, settings.image, options["architecture"])

    def login(registry: str) -> tuple[str, str] | None:
        return settings.login(settings.ngc_api_key) if registry == settings.login_host else None

    return sources.RegistrySource(settings.image, login, options["architecture"], options["ca_path"])


def _model_folder(cli: DockerCli, name: str) -> pathlib.Path:
    """Return the folder with a model: the one that is named, or the one of a volume."""
    if name.startswith("/"):
        return pathlib.Path(name)
    found = cli.inspect(f"look for the volume {name}", "volume", [name])
    if not found:
        raise ProviderError(f"there is no volume {name} on this Docker engine; a folder must be an absolute path")
    return pathlib.Path((found[0].get("Options") or {}).get("device") or found[0]["Mountpoint"])


def _licences(items: t.Sequence[_package.Item]) -> list[_catalog.Licence]:
    return list(dict.fromkeys(licence for item in items for licence in item.node.licences))


if __name__ == "__main__":
    main()
