# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What belongs into an install package, and whether one that is there already says the same. Pure."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import itertools
import json
import re
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog, _package_installer
from ansible_collections.budgetguard.techops.plugins.module_utils import _deployment as d
from ansible_collections.budgetguard.techops.plugins.module_utils._package_installer import (
    CACHE,
    COMPOSE,
    FORMAT,
    MANAGED_LABEL,
    MODEL_LICENCES,
    NIM_PORT,
    SPEC_LABEL,
    VERSION,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _docker_containers as containers
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._docker_settings import HF_KEY, NGC_KEY

INSTALLER, README = "install.py", "README.txt"
_HIGHEST_PORT = 65535


class AskError(ValueError):
    """The package cannot be as asked. The text has one line per mistake."""


@dataclasses.dataclass(frozen=True)
class Item:
    """One node that goes into the package. ``model_cache`` is a folder or a volume with its model."""

    node: _catalog.Node
    image: str
    port: int
    env: t.Mapping[str, str]
    model_cache: str | None

    @property
    def gpus(self) -> int:
        """How many GPUs it gets: the fewest that the catalogue knows of."""
        return min(self.node.gpus_by_tier.values(), default=1)

    @property
    def model_member(self) -> str | None:
        """Where its model stands in the package."""
        return f"models/{self.node.slug}.tar" if self.model_cache else None

    def described(self) -> dict[str, t.Any]:
        """Return what the manifest says of it."""
        node = self.node
        return {
            "name": node.name,
            "slug": node.slug,
            "kind": node.kind,
            "image": image_name(self.image),
            "port": self.port,
            "gpus": self.gpus,
            "min_gpu_memory_gib": node.min_gpu_memory_gib,
            "min_host_memory_gib": node.min_host_memory_gib,
            "min_compute_capability": list(node.min_compute_capability),
            "disk_gib": node.disk_gib,
            "needs_hf_token": node.needs_hf_token,
            "model": self.model_member,
            "licences": [dataclasses.asdict(licence) for licence in node.licences],
            "catalogue": json.loads(json.dumps(dataclasses.asdict(node))),
        }


def resolve(options: t.Sequence[t.Mapping[str, t.Any]], nim_catalog: t.Any, first_port: int) -> list[Item]:
    """Turn the option ``nodes`` into what goes into the package. Raises AskError."""
    try:
        catalog = _catalog.load(nim_catalog)
    except _catalog.CatalogError as exc:
        raise AskError(str(exc)) from exc
    items: list[Item] = []
    problems = [] if options else ["nodes is empty; name at least one node"]
    fixed = {option["port"] for option in options if option.get("port")}
    free = (port for port in itertools.count(first_port) if port not in fixed)
    for number, option in enumerate(options):
        try:
            items.append(_item(option, catalog, option.get("port") or next(free)))
        except ValueError as exc:
            problems.append(f"nodes[{number}] ({option['node']}): {exc}")
    names = [item.node.name for item in items]
    problems += [
        f"{name} is there twice; name each node once" for name in sorted({n for n in names if names.count(n) > 1})
    ]
    ports = [item.port for item in items]
    problems += [f"the port {port} is given twice" for port in sorted({p for p in ports if ports.count(p) > 1})]
    if problems:
        raise AskError("\n".join(problems))
    return items


def _item(option: t.Mapping[str, t.Any], catalog: t.Mapping[str, _catalog.Node], port: int) -> Item:
    """Return one node as asked for. Raises ValueError."""
    node = _catalog.find(catalog, option["node"])
    if node.image is None:
        raise ValueError(f"there is no container image of {node.name}. {node.notes}".strip())
    try:
        tag = _catalog.check_tag(option["tag"]) if option.get("tag") else str(node.tag)
    except _catalog.TagError as exc:
        raise ValueError(f"tag {exc}") from exc
    if not 1024 <= port <= _HIGHEST_PORT:
        raise ValueError(f"the port is {port}; it must be between 1024 and {_HIGHEST_PORT}")
    env = d.check_env(option.get("env") or {})
    return Item(node, f"{node.image}:{tag}", port, env, option.get("model_cache") or None)


def image_name(reference: str) -> str:
    """Return what an image is called on a workstation: with its tag, and without a digest."""
    return reference.partition("@")[0]


# ---- the files -------------------------------------------------------------------------------------------------------


def compose_file(item: Item) -> str:
    """Return the Compose file of a node. What only the workstation knows comes from the file .env beside it."""
    node = item.node
    service = {
        "image": image_name(item.image),
        "pull_policy": "never",
        "container_name": f"${{NIM_NAME:-nim-{node.slug}}}",
        "network_mode": "bridge",
        "ports": [f"${{NIM_BIND_ADDRESS:-127.0.0.1}}:${{NIM_PORT:-{item.port}}}:{NIM_PORT}"],
        "user": "${NIM_USER:-1000}",
        "restart": "no",
        "stop_grace_period": f"{containers.STOP_SECONDS}s",
        "shm_size": f"{node.shm_gib}gb",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        **_compose_values(item),
        "volumes": [{"type": "volume", "source": "cache", "target": CACHE, "volume": {"nocopy": True}}],
        "healthcheck": {
            "test": ["CMD-SHELL", containers.health_command().replace("$", "$$")],
            **containers.health_times(),
        },
        "deploy": {
            "resources": {
                "reservations": {
                    "devices": [
                        {
                            "driver": "nvidia",
                            "device_ids": [f"${{NIM_GPU_{number}:-{number}}}" for number in range(item.gpus)],
                            "capabilities": ["gpu"],
                        }
                    ]
                }
            }
        },
    }
    labels = {MANAGED_LABEL: "true", d.DEPLOYMENT_TAG: f"${{NIM_NAME:-nim-{node.slug}}}"}
    volume = {"name": f"${{NIM_NAME:-nim-{node.slug}}}-cache", "labels": labels}
    document = {"services": {"nim": service}, "volumes": {"cache": volume}}
    head = (
        f"# {node.name}, for Docker Compose 1.28 or newer. It stays stopped until somebody starts it, and after a\n"
        "# reboot. install.py writes the file .env with its name, GPU, port and keys beside it.\n"
    )
    return head + "\n".join(_yaml(document)) + "\n"


def _compose_values(item: Item) -> dict[str, t.Any]:
    """Return environment and labels."""
    node = item.node
    serves = {node.name: node.variant or ""}
    wanted = d.Wanted(
        name=node.slug,
        node=node.name,
        gpu_tier="",
        image=item.image,
        kind=node.kind,
        machine=None,
        gpus=item.gpus,
        replicas=1,
        start=False,
        serves=serves,
        env=item.env,
        infer_path=node.infer_path,
        disk_gib=node.disk_gib,
        shm_gib=node.shm_gib,
        needs_hf_token=node.needs_hf_token,
    )
    literal = {key: value.replace("$", "$$") for key, value in sorted(containers.environment(wanted).items())}
    keys = [NGC_KEY, *([HF_KEY] if node.needs_hf_token else [])]
    return {
        # Without a value, a variable comes from the file .env, and is not set where that does not have it.
        "environment": {**literal, **dict.fromkeys(keys)},
        "labels": {
            MANAGED_LABEL: "true",
            d.DEPLOYMENT_TAG: f"${{NIM_NAME:-nim-{node.slug}}}",
            d.NODE_TAG: node.name.replace("$", "$$"),
            d.TIER_TAG: "${NIM_GPU_TIER:-gpu}",
            d.KIND_TAG: node.kind,
            d.IMAGE_TAG: image_name(item.image),
            d.SERVES_TAG: d.encode_serves(serves).replace("$", "$$"),
            d.INFER_PATH_TAG: node.infer_path,
            SPEC_LABEL: "${NIM_SPEC_HASH:-}",
            containers.ENV_LABEL: ",".join(sorted(literal)),
        },
    }


def _yaml(value: t.Mapping[str, t.Any] | t.Sequence[t.Any], indent: str = "") -> t.Iterator[str]:
    """Yield the lines of plain YAML: PyYAML is not on every host, and text in JSON's quotes is YAML, too."""
    if isinstance(value, t.Mapping):
        for key, content in value.items():
            name = key if re.fullmatch(r"[A-Za-z_]+", key) else json.dumps(key)
            if isinstance(content, (dict, list)):
                yield f"{indent}{name}:"
                yield from _yaml(content, f"{indent}  ")
            else:
                yield f"{indent}{name}: {json.dumps(content)}"
        return
    for content in value:
        if isinstance(content, dict):
            first, *rest = _yaml(content, f"{indent}  ")
            yield f"{indent}- {first.strip()}"
            yield from rest
        else:
            yield f"{indent}- {json.dumps(content)}"


def licences_file(items: t.Sequence[Item]) -> str:
    """Return the licences of the models, as a text for people."""
    lines = [
        "The models in this package belong to their makers. Each is used under its own licence, which somebody of the",
        "studio has to accept before the first use, and whose text stands at the address given here. The container",
        "images are NVIDIA's, under the NVIDIA Software License Agreement and the product terms on their pages at",
        "https://catalog.ngc.nvidia.com. install.py is free software under GPL-3.0-or-later.",
        "",
    ]
    for item in items:
        lines.append(item.node.name)
        for licence in item.node.licences:
            limits = "  NOT FOR COMMERCIAL WORK without an agreement with the maker" if licence.non_commercial else ""
            lines.append(f"  {licence.name}  {licence.url}{limits}")
        if not item.node.licences:
            lines.append("  none is known to the catalogue; read the model's page")
        lines.append("")
    return "\n".join(lines)


def readme_file(items: t.Sequence[Item]) -> str:
    """Return the page that tells a person what to do with the package."""
    offline = [item.node.name for item in items if item.model_cache]
    online = [item.node.name for item in items if not item.model_cache]
    lines = [
        "NVIDIA NIM containers for a workstation",
        "",
        "Put this ZIP file and the program install.py of the same folder (it is also in the ZIP file) on the",
        "workstation. Do not unpack the ZIP file: install.py reads it as it is.",
        "",
        "  Linux:    python3 install.py install --package FILE.zip",
        "  Windows:  python_embeded\\python.exe install.py install --package FILE.zip     (ComfyUI's own Python)",
        "",
        "Needed: an NVIDIA GPU with its driver, Docker Engine 20.10 or newer (on Windows: Docker Desktop with WSL 2),",
        "Docker Compose, on Linux the NVIDIA Container Toolkit, Python 3.8 or newer. No network and no cloud.",
        "",
        "The program checks the package and the workstation first, loads the images that are not there yet, and makes",
        "one stopped container per node. If it is interrupted, run it again. Nothing is started. To start and stop:",
        "",
        "  docker start NAME        docker stop NAME        (the program prints the names)",
        "",
        "To remove everything: install.py uninstall. To check the file: install.py verify. All options: --help.",
        "",
        "Nodes, ports and what they need:",
        *(
            f"  {item.node.name}: http://127.0.0.1:{item.port}, {item.node.min_gpu_memory_gib} GiB of GPU memory, "
            f"{item.node.min_host_memory_gib} GiB of memory, {item.node.disk_gib} GiB of disk"
            for item in items
        ),
        "",
    ]
    if offline:
        lines += [f"With their models, so that they need neither network nor key: {', '.join(offline)}.", ""]
    if online:
        lines += [
            f"These download their models at the first start: {', '.join(online)}. Set NGC_API_KEY (and for gated",
            "models HF_TOKEN) in the environment of install.py; the keys go into the file .env of the node.",
            "",
        ]
    lines += [licences_file(items)]
    return "\n".join(lines)


def text_members(items: t.Sequence[Item]) -> dict[str, bytes]:
    """Return the files of a package that are not images or models."""
    texts = {
        INSTALLER: installer_source(),
        README: readme_file(items),
        MODEL_LICENCES: licences_file(items),
        **{f"nodes/{item.node.slug}/{COMPOSE}": compose_file(item) for item in items},
    }
    return {name: text.encode() for name, text in texts.items()}


def installer_source() -> str:
    """Return the program install.py, which is a module of this collection as it stands."""
    return inspect.getsource(_package_installer)


# ---- the manifest ----------------------------------------------------------------------------------------------------


def manifest(
    items: t.Sequence[Item],
    architecture: str,
    images: t.Sequence[t.Mapping[str, t.Any]],
    members: t.Mapping[str, t.Mapping[str, t.Any]],
    models: t.Mapping[str, str],
    created_at: str,
) -> bytes:
    """Return the manifest. ``models`` is node to the fingerprint of what its model was read from."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "created_at": created_at,
        "architecture": architecture,
        "nodes": [item.described() for item in items],
        "images": list(images),
        "models": dict(models),
        "members": {name: dict(entry) for name, entry in sorted(members.items())},
    }
    return (json.dumps(content, indent=1) + "\n").encode()


def rebuild_reason(
    found: t.Mapping[str, t.Any] | None,
    items: t.Sequence[Item],
    architecture: str,
    identities: t.Mapping[str, str],
    models: t.Mapping[str, str],
) -> str | None:
    """Say why the package has to be built, or None. ``found`` is the manifest of the one that is there.

    ``identities`` is image to the digest that its source gives it now.
    """
    if found is None:
        return "there is no package yet"
    if found.get("architecture") != architecture:
        return f"it is for {found.get('architecture')}, and {architecture} is asked for"
    have = [str(entry["name"]) for entry in found["nodes"]]
    want = [item.node.name for item in items]
    if have != want:
        return f"it has {', '.join(have) or 'no node'}, and {', '.join(want)} is asked for"
    reasons = itertools.chain(
        _other_images(found, items, identities), _other_nodes(found, items), _other_files(found, items, models)
    )
    return next(reasons, None)


def _other_images(
    found: t.Mapping[str, t.Any], items: t.Sequence[Item], identities: t.Mapping[str, str]
) -> t.Iterator[str]:
    there = {str(entry["reference"]): str(entry["identity"]) for entry in found["images"]}
    for item in items:
        name = image_name(item.image)
        if name not in there:
            yield f"{item.node.name} has another image than {name}"
        elif there[name] != identities[item.image]:
            yield f"{name} is {identities[item.image]} now; the package has {there[name]}"


def _other_nodes(found: t.Mapping[str, t.Any], items: t.Sequence[Item]) -> t.Iterator[str]:
    for item, entry in zip(items, found["nodes"]):
        differing = sorted(key for key, value in item.described().items() if entry.get(key) != value)
        if differing:
            yield f"{item.node.name} is another in the catalogue or in what is asked for: {', '.join(differing)}"


def _other_files(found: t.Mapping[str, t.Any], items: t.Sequence[Item], models: t.Mapping[str, str]) -> t.Iterator[str]:
    for name, was in found["models"].items():
        if models.get(name) != was:
            yield f"the model cache of {name} has changed"
    for name, content in text_members(items).items():
        if found["members"].get(name, {}).get("sha256") != hashlib.sha256(content).hexdigest():
            yield f"{name} has changed"
