# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What is asked for, as plain data, and how a target answers.

``resolve_all()`` turns the ``deployments`` option of the ``nim_<provider>`` modules into ``Wanted`` and ``Selection``
objects with the catalogue and the fit check, so that every mistake is told before anything is created.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog, _fit, _gpu

MANAGED_TAG = "budgetguard:managed"
CLUSTER_TAG = "budgetguard:cluster"
NODE_TAG = "budgetguard:node"
TIER_TAG = "budgetguard:gpu-tier"
DEPLOYMENT_TAG = "budgetguard:deployment"
HASH_TAG = "budgetguard:spec-hash"
IMAGE_TAG = "budgetguard:image"
SERVES_TAG = "budgetguard:serves"
KIND_TAG = "budgetguard:kind"
INFER_PATH_TAG = "budgetguard:infer-path"
ENDPOINT_HOST_TAG = "budgetguard:endpoint-host"

HEALTH_PATH = "/v1/health/ready"

HOSTED_TIER = "hosted"
"""What stands for a GPU tier where NVIDIA hosts the model: on targets of the group nvidia, unless one is named."""


SECRET_VARIABLES = ("NGC_API_KEY", "HF_TOKEN")
"""What a NIM finds its keys in. They reach it out of a secret, never as text beside the other variables."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class DeploymentsError(ValueError):
    """One or more entries of ``deployments`` cannot be carried out; the message lists them all."""


class EnvError(ValueError):
    """A variable that no cloud takes, or each in its own way."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """One NIM that should exist on a target, with everything a provider needs to make it."""

    name: str
    node: str
    gpu_tier: str
    image: str
    kind: str
    machine: _gpu.Machine | None
    gpus: int
    replicas: int
    start: bool
    serves: t.Mapping[str, str]
    env: t.Mapping[str, str]
    infer_path: str
    disk_gib: int
    shm_gib: int
    needs_hf_token: bool
    warnings: tuple[str, ...] = ()

    @property
    def machine_name(self) -> str:
        """The machine type. Raises ValueError where the machine is given and not chosen, as on a Docker host."""
        if self.machine is None:
            raise ValueError(f"{self.name} has no machine type")
        return self.machine.name

    @property
    def variants(self) -> tuple[str, ...]:
        """The image variants that this NIM serves, in the order they were asked for."""
        return tuple(variant for variant in self.serves.values() if variant)


@dataclasses.dataclass(frozen=True)
class Selection:
    """NIMs that already exist and should be stopped or removed: all tiers of a node, or one of them."""

    node: str
    gpu_tier: str | None
    state: str

    def matches(self, status: Status) -> bool:
        """Say whether a deployment on the target is meant."""
        return status.node == self.node and self.gpu_tier in (None, status.gpu_tier)


@dataclasses.dataclass(frozen=True)
class Status:
    """One NIM as the target shows it now. ``None`` means that the target does not say.

    ``auth`` is what its endpoint asks for: C(none), C(gateway) for a workstation's token, or C(bearer) for a key of
    NVIDIA's. It does not run as it does now since before ``running_since``.
    """

    name: str
    node: str
    gpu_tier: str
    image: str | None = None
    kind: str | None = None
    serves: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    replicas: int = 0
    running: int = 0
    state: str = "unknown"
    reason: str | None = None
    endpoint: str | None = None
    infer_path: str | None = None
    region: str | None = None
    deployed_at: str | None = None
    auth: str = "none"
    running_since: str | None = None

    def as_dict(self) -> dict[str, t.Any]:
        """Return the public form used by all modules and filters."""
        base = self.endpoint
        return {
            "name": self.name,
            "node": self.node,
            "gpu_tier": self.gpu_tier,
            "image": self.image,
            "kind": self.kind,
            "serves": sorted(self.serves) or [self.node],
            "variants": {node: variant for node, variant in sorted(self.serves.items()) if variant},
            "replicas": self.replicas,
            "running": self.running,
            "state": self.state,
            "reason": self.reason,
            "endpoint": base,
            "infer_url": f"{base}{self.infer_path}" if base and self.infer_path else None,
            "health_url": f"{base}{HEALTH_PATH}" if base else None,
            "region": self.region,
            "deployed_at": self.deployed_at,
            "auth": self.auth,
            "running_since": self.running_since,
        }


def spec_hash(content: t.Any) -> str:
    """Return a short hash of JSON-like content; equal content gives an equal hash, whatever the key order."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def encode_serves(serves: t.Mapping[str, str]) -> str:
    """Write node-to-variant pairs as a tag value: ``FLUX Canny=canny/FLUX Dev=base``."""
    return "/".join(f"{node}={variant}" for node, variant in sorted(serves.items()))


def decode_serves(value: str) -> dict[str, str]:
    """Read what :func:`encode_serves` wrote."""
    pairs = (item.partition("=") for item in value.split("/") if item)
    return {node: variant for node, _sep, variant in pairs}


def check_env(variables: t.Mapping[t.Any, t.Any]) -> dict[str, str]:
    """Return a container's variables as texts. Raises :class:`EnvError`.

    A NIM would get True, None and 1.0 as Python spells them, which is not what was written.
    """
    checked: dict[str, str] = {}
    for name, value in variables.items():
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            raise EnvError(f"{name!r} is no name of an environment variable")
        if name in SECRET_VARIABLES:
            raise EnvError(f"{name} is a secret and comes from the vault, never as a variable that many can read")
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise EnvError(f"the value of {name} must be a text, in quotes")
        checked[str(name)] = str(value)
    return checked


def _env(option: t.Mapping[str, t.Any]) -> dict[str, str]:
    try:
        return check_env(option.get("env") or {})
    except EnvError as exc:
        raise EnvError(f"env: {exc}") from exc


def deployment_name(node: _catalog.Node, gpu_tier: str) -> str:
    """Return the deterministic name of a NIM, for example ``nim-flux-dev-l40s``."""
    return f"nim-{node.slug}-{gpu_tier}"


def resolve_all(
    options: t.Sequence[t.Mapping[str, t.Any]],
    provider: str,
    catalog: t.Mapping[str, _catalog.Node],
) -> tuple[list[Wanted], list[Selection]]:
    """Turn the ``deployments`` option into what should exist and what should be stopped or removed.

    Raises :class:`DeploymentsError` with one line per mistake.
    """
    wanted: list[Wanted] = []
    selections: list[Selection] = []
    problems: list[str] = []
    for index, option in enumerate(options):
        try:
            if option["state"] in ("stopped", "absent"):
                selections.append(_resolve_selection(option, catalog))
            else:
                wanted.append(_resolve_wanted(option, provider, catalog))
        except (ValueError, KeyError) as exc:
            reason = exc.args[0] if exc.args else exc
            problems.append(f"deployments[{index}] ({option['node']}): {reason}")
    problems += _name_twice([item.name for item in wanted])
    problems += _contradictions(wanted, selections)
    if problems:
        raise DeploymentsError("\n".join(problems))
    return wanted, selections


def _resolve_selection(option: t.Mapping[str, t.Any], catalog: t.Mapping[str, _catalog.Node]) -> Selection:
    # What is stopped or removed may be something the catalogue no longer knows, so its name is taken as it is.
    try:
        node = _catalog.find(catalog, option["node"]).name
    except ValueError:
        node = option["node"]
    asked = option.get("gpu_tier")
    return Selection(node, asked.lower() if asked else None, option["state"])


def _resolve_wanted(option: t.Mapping[str, t.Any], provider: str, catalog: t.Mapping[str, _catalog.Node]) -> Wanted:
    node = _catalog.find(catalog, option["node"])
    if provider == "nvidia" and (option.get("gpu_tier") or HOSTED_TIER).lower() == HOSTED_TIER:
        return _resolve_hosted(node, option)
    if node.image is None:
        raise ValueError(f"there is no container image of {node.name}. {node.notes}".strip())
    tier_name = _gpu.tier(option.get("gpu_tier") or _fit.default_tier(node, provider)).name
    variants = tuple(option.get("variants") or ())
    replicas = 1 if option.get("replicas") is None else option["replicas"]
    if replicas < 1:
        raise ValueError(f"replicas is {replicas}; it must be at least 1. Use state stopped to run none.")
    fit = _fit.check(
        node,
        tier_name,
        provider,
        replicas=replicas,
        variants=variants,
        machine=option.get("machine"),
        skip=bool(option.get("skip_fit_check")),
    )
    return Wanted(
        name=deployment_name(node, tier_name),
        node=node.name,
        gpu_tier=tier_name,
        image=f"{node.image}:{_tag(node, option)}",
        kind=node.kind,
        machine=fit.machine,
        gpus=fit.gpus,
        replicas=replicas,
        start=option["state"] == "started" or bool(option.get("always_on")),
        serves=_serves(node, variants, catalog),
        env=_env(option),
        infer_path=node.infer_path,
        disk_gib=node.disk_gib,
        shm_gib=node.shm_gib,
        needs_hf_token=node.needs_hf_token,
        warnings=_warnings(node, fit),
    )


def _tag(node: _catalog.Node, option: t.Mapping[str, t.Any]) -> str:
    """Return the tag to run, with or without a digest: the one that was asked for, else the catalogue's."""
    if not option.get("tag"):
        return str(node.tag)
    try:
        return _catalog.check_tag(option["tag"])
    except _catalog.TagError as exc:
        raise ValueError(f"tag {exc}") from exc


def _resolve_hosted(node: _catalog.Node, option: t.Mapping[str, t.Any]) -> Wanted:
    """Describe a model that NVIDIA hosts. There is nothing about it that could be chosen."""
    if node.hosted_url is None:
        raise ValueError(
            f"NVIDIA does not host {node.name} in its API catalogue; set gpu_tier to run it as a function of your own"
        )
    chosen = [name for name in ("tag", "variants", "machine", "env") if option.get(name)]
    if option.get("replicas") not in (None, 1):
        chosen.append("replicas")
    if chosen:
        raise ValueError(
            f"{', '.join(chosen)} cannot be chosen for a model that NVIDIA hosts; leave it out, or set gpu_tier to run "
            "it as a function of your own"
        )
    licence = _catalog.licence_warning(node)
    return Wanted(
        name=deployment_name(node, HOSTED_TIER),
        node=node.name,
        gpu_tier=HOSTED_TIER,
        image="",
        kind=node.kind,
        machine=None,
        gpus=0,
        replicas=1,
        start=option["state"] == "started" or bool(option.get("always_on")),
        serves={node.name: node.variant or ""},
        env={},
        infer_path=node.infer_path,
        disk_gib=0,
        shm_gib=0,
        needs_hf_token=False,
        warnings=(licence,) if licence else (),
    )


def _warnings(node: _catalog.Node, fit: _fit.Fit) -> tuple[str, ...]:
    """Return what the person should know before this NIM runs: doubts about the fit, and the licence."""
    licence = _catalog.licence_warning(node)
    found = [*fit.warnings, *([licence] if licence else [])]
    return tuple(text if text.startswith(node.name) else f"{node.name}: {text}" for text in found)


def _serves(node: _catalog.Node, variants: t.Sequence[str], catalog: t.Mapping[str, _catalog.Node]) -> dict[str, str]:
    """Name the nodes that this deployment answers for: itself, or every node of the image whose variant it loads."""
    if not variants:
        return {node.name: node.variant or ""}
    return {
        other.name: other.variant
        for other in catalog.values()
        if other.image == node.image and other.variant is not None and other.variant in variants
    }


def _name_twice(names: t.Sequence[str]) -> list[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    return [f"{name} is asked for more than once; name each node and tier once" for name in twice]


def _contradictions(wanted: t.Sequence[Wanted], selections: t.Sequence[Selection]) -> list[str]:
    """Find NIMs that the same call wants both there and stopped or gone."""
    return [
        f"{item.name} is asked for and {selection.state} in the same call; keep one of the two"
        for item in wanted
        for selection in selections
        if selection.node == item.node and selection.gpu_tier in (None, item.gpu_tier)
    ]
