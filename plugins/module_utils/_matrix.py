# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""From C(nim_matrix) to what one target should have. Pure: no inventory, no cloud, no clock.

C(nim_matrix) is a mapping of nodes to places to what should be there:

    nim_matrix:
      FLUX Dev:
        aws: present                        # every host of the group aws
        aws-us-east-1: {gpu_tier: h100}     # but this host differently
      Llama 3.1:
        nim_providers: absent

A place is a host, a group of hosts, or C(all). Of the places that hold a target, the nearest one counts
as a whole, nothing is merged: the host itself before any group, a group inside another before the outer
one, and where two groups hold the same hosts, any other group before a provider's group before
C(nim_providers) before C(all). Two groups that merely overlap and say different things are an error.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from difflib import get_close_matches

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog, _fit, _gpu
from ansible_collections.budgetguard.techops.plugins.module_utils._catalog import Node
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import HOSTED_TIER, check_env

STATES = ("present", "started", "stopped", "absent")
"""What a playbook can ask for."""

TARGET_GROUP = "nim_providers"
"""The group that holds every target."""


class MatrixError(ValueError):
    """The matrix, or what was asked of it, has problems. The text lists all of them, one per line."""


@dataclass(frozen=True)
class Selection:
    """What one target should have, and what was left out of it on purpose.

    C(wanted) are mappings in the form of the option C(deployments) of the nim_* modules.
    C(skipped) are mappings with C(node) and C(reason).
    """

    wanted: list[dict[str, t.Any]]
    skipped: list[dict[str, str]]


@dataclass(frozen=True)
class _Entry:
    """What one place of the matrix says: its state, and the other options as they were given."""

    state: str = "present"
    options: t.Mapping[str, t.Any] = dataclass_field(default_factory=dict)

    @property
    def always_on(self) -> bool:
        return bool(self.options.get("always_on", False))


class _Inventory:
    """The groups of the inventory, seen from one target."""

    def __init__(self, groups: t.Mapping[str, t.Sequence[str]], target: str) -> None:
        self.target = target
        self.members = {str(name): frozenset(str(host) for host in hosts) for name, hosts in groups.items()}
        self.hosts = frozenset(host for hosts in self.members.values() for host in hosts)
        self.members.setdefault("all", self.hosts)

    def hosts_of(self, place: str) -> frozenset[str]:
        return self.members[place] if place in self.members else frozenset((place,))

    def provider_of(self, host: str) -> str | None:
        """Return the provider whose group holds the host, or None."""
        for provider in _gpu.PROVIDERS:
            if host in self.members.get(provider, ()):
                return provider
        return None

    def place_problem(self, place: str) -> str | None:
        """Return what is wrong with a place of the matrix, or None."""
        if place not in self.members and place not in self.hosts:
            if place in _gpu.PROVIDERS:
                return None  # A provider this inventory simply does not use.
            near = get_close_matches(place, list(self.members) + sorted(self.hosts), n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            return f"no such group or host{hint}"
        targets = self.members.get(TARGET_GROUP)
        hosts = self.hosts_of(place)
        if targets is not None and hosts and not hosts & targets:
            return f"is no target: it is not in the group {TARGET_GROUP}"
        return None

    def providers_at(self, place: str) -> frozenset[str]:
        """Return the providers of all targets in a place."""
        found = {self.provider_of(host) for host in self.hosts_of(place)}
        return frozenset(provider for provider in found if provider is not None)

    def applies(self, place: str) -> bool:
        return self.target in self.hosts_of(place)

    def nearer(self, place: str, other: str) -> bool:
        """Return whether the target is closer to the first place than to the second."""
        if other in (place, self.target):
            return False
        if place == self.target:
            return True
        mine, theirs = self.hosts_of(place), self.hosts_of(other)
        if mine == theirs:
            return _rank(place) > _rank(other)
        return mine < theirs


def _rank(place: str) -> int:
    order = {"all": 0, TARGET_GROUP: 1}
    return order.get(place, 2 if place in _gpu.PROVIDERS else 3)


def select(
    matrix: t.Mapping[str, t.Any] | None,
    target: str,
    groups: t.Mapping[str, t.Sequence[str]],
    catalog: t.Mapping[str, Node],
    nodes: t.Any = None,
    state: str | None = None,
    default_tier: str | None = None,
) -> Selection:
    """Return what C(target) should have, sorted by node.

    C(groups) are all groups of the inventory with their hosts, as Ansible's variable of that name.
    C(nodes) narrows the answer to the named nodes; a single name may be given as text. None, '' and []
    do not narrow. 'all' is every node of the catalogue that has an image, with the default tier where
    the matrix has no entry; nodes that no tier of this provider can run are skipped with the reason.
    C(state) is what the playbook asks for; the default is present. present gives what the matrix says,
    and started for entries with always_on. started and stopped concern the entries that are not
    absent; stopped skips an always_on entry unless C(nodes) names it. absent concerns all entries.
    A deployment that is to stop names no tier, so every tier of the node stops; one that is to go names
    the tier of its entry, if that has one. Neither has other options.
    C(default_tier) is used where neither the matrix nor the provider gives a tier, for targets whose
    GPU is fixed.

    Raises MatrixError with every problem found, each with its path, wherever in the matrix it is.
    """
    problems: list[str] = []
    inventory = _Inventory(groups, target)
    provider = inventory.provider_of(target)
    asked_state = state or "present"
    if asked_state not in STATES:
        problems.append(f"state: must be one of {', '.join(STATES)}, not {state!r}")
    if target not in inventory.hosts:
        problems.append(f"target: there is no host '{target}' in the inventory")
    fixed_tier = _default_tier_name(default_tier, problems)
    entries = _read_matrix(matrix, inventory, catalog, problems)
    named = _read_nodes(nodes, catalog, problems)
    everything = named == "all"
    if everything and provider is None:
        problems.append(f"target: '{target}' is in none of the groups {', '.join(_gpu.PROVIDERS)}")
    if problems:
        raise MatrixError("\n".join(problems))

    selection = Selection([], [])
    for node in sorted(catalog.values(), key=lambda item: item.name.casefold()):
        entry = entries.get(node.name)
        if isinstance(named, tuple) and node.name not in named:
            continue
        if entry is None and everything:
            reason = _why_not(node, str(provider), asked_state, fixed_tier)
            if reason:
                selection.skipped.append({"node": node.name, "reason": reason})
                continue
            entry = _Entry()
        if entry is not None:
            _add(selection, node, entry, asked_state, isinstance(named, tuple), fixed_tier)
    return selection


def _add(
    selection: Selection, node: Node, entry: _Entry, asked_state: str, is_named: bool, fixed_tier: str | None
) -> None:
    """Put one node into the selection, on the side where it belongs."""
    if asked_state == "stopped" and entry.state != "absent" and entry.always_on and not is_named:
        reason = "always_on is set; to stop it all the same, name it in nim_nodes"
        selection.skipped.append({"node": node.name, "reason": reason})
        return
    state = _module_state(entry, asked_state)
    if state is None:
        return
    deployment: dict[str, t.Any] = {"node": node.name, "state": state}
    if state == "absent" and "gpu_tier" in entry.options:
        deployment["gpu_tier"] = entry.options["gpu_tier"]
    if state in ("present", "started"):
        deployment.update({"replicas": 1, "always_on": False, "skip_fit_check": False})
        if fixed_tier:
            deployment["gpu_tier"] = fixed_tier
        deployment.update(entry.options)
    selection.wanted.append(deployment)


def _module_state(entry: _Entry, asked_state: str) -> str | None:
    """Return the state the module is asked for, or None when this entry is not concerned."""
    if asked_state == "absent":
        return "absent"
    if entry.state == "absent":
        return "absent" if asked_state == "present" else None
    if asked_state == "present" and entry.always_on:
        return "started"
    return asked_state


def _why_not(node: Node, provider: str, asked_state: str, fixed_tier: str | None) -> str | None:
    """Return why a node the matrix does not name cannot be on this target by default, or None."""
    if provider == "nvidia" and not fixed_tier:
        return None if node.hosted_url else f"NVIDIA does not host {node.name} in its API catalogue"
    if node.hosted_only:
        return f"{node.name} cannot be deployed. {node.notes}"
    if asked_state in ("stopped", "absent"):
        return None
    try:
        tier_name = fixed_tier or _fit.default_tier(node, provider)
        _fit.check(node, tier_name, provider)
    except _fit.FitError as error:
        return str(error)
    return None


def _default_tier_name(default_tier: str | None, problems: list[str]) -> str | None:
    if not default_tier:
        return None
    try:
        return _gpu.tier(default_tier).name
    except _gpu.UnknownTierError as error:
        problems.append(f"default_tier: {error}")
        return None


def node_names(nodes: t.Any) -> list[str]:
    """Return nim_nodes as a list. On a command line, C(-e nim_nodes=...) gives text: names between commas.

    The brackets and quotes of a list that was given as text are taken off. Raises ValueError for anything else.
    """
    if nodes is None:
        return []
    if isinstance(nodes, str):
        names = (name.strip().strip("'\"").strip() for name in nodes.strip().strip("[]").split(","))
        return [name for name in names if name]
    if isinstance(nodes, (list, tuple)):
        return [str(name) for name in nodes]
    raise ValueError("nim_nodes: must be 'all', a node or a list of nodes")


def _read_nodes(
    nodes: t.Any, catalog: t.Mapping[str, Node], problems: list[str]
) -> t.Literal["all"] | tuple[str, ...] | None:
    """Return 'all', the names of the nodes asked for, or None when nothing narrows."""
    try:
        names = node_names(nodes)
    except ValueError as error:
        problems.append(str(error))
        return None
    if not names:
        return None
    if "all" in names:
        return "all"
    found = []
    for number, name in enumerate(names):
        path = "nim_nodes" if isinstance(nodes, str) else f"nim_nodes[{number}]"
        try:
            found.append(_catalog.find(catalog, name).name)
        except _catalog.UnknownNodeError as error:
            problems.append(f"{path}: {error}")
    return tuple(found)


def _read_matrix(
    matrix: t.Any, inventory: _Inventory, catalog: t.Mapping[str, Node], problems: list[str]
) -> dict[str, _Entry]:
    """Return node name -> the entry that counts on the inventory's target. Checks the whole matrix."""
    if matrix is None:
        return {}
    if not isinstance(matrix, t.Mapping):
        problems.append("nim_matrix: must be a mapping of nodes to places")
        return {}
    entries: dict[str, _Entry] = {}
    spelled: dict[str, str] = {}
    for key, places in matrix.items():
        path = f"nim_matrix[{str(key)!r}]"
        try:
            node = _catalog.find(catalog, str(key))
        except _catalog.UnknownNodeError as error:
            problems.append(f"{path}: {error}")
            continue
        first = spelled.setdefault(node.name, str(key))
        if first != str(key):
            problems.append(f"{path}: is the same node as '{first}'")
            continue
        if not isinstance(places, t.Mapping):
            problems.append(f"{path}: must be a mapping of groups or hosts to present, absent or options")
            continue
        entry = _read_places(path, node, places, inventory, problems)
        if entry is not None:
            entries[node.name] = entry
    return entries


def _read_places(
    path: str, node: Node, places: t.Mapping[t.Any, t.Any], inventory: _Inventory, problems: list[str]
) -> _Entry | None:
    """Return the entry of the nearest place that holds the target, or None."""
    applying: dict[str, _Entry] = {}
    for key, value in places.items():
        place, here = str(key), f"{path}[{str(key)!r}]"
        trouble = inventory.place_problem(place)
        if trouble:
            problems.append(f"{here}: {trouble}")
            continue
        entry = _read_entry(here, node, value, inventory.providers_at(place), problems)
        if entry is not None and inventory.applies(place):
            applying[place] = entry
    nearest = [place for place in applying if not any(inventory.nearer(other, place) for other in applying)]
    if not nearest:
        return None
    if any(applying[place] != applying[nearest[0]] for place in nearest):
        named = " and ".join(f"'{place}'" for place in nearest)
        problems.append(
            f"{path}: {named} both hold '{inventory.target}' and say different things; "
            f"say it for '{inventory.target}' itself"
        )
    return applying[nearest[0]]


def _read_entry(path: str, node: Node, value: t.Any, providers: frozenset[str], problems: list[str]) -> _Entry | None:
    before = len(problems)
    if value in ("present", "absent"):
        entry = _Entry(str(value))
    elif isinstance(value, t.Mapping):
        entry = _read_options(path, node, value, providers, problems)
    else:
        hint = "" if value not in STATES else "; the matrix says what exists, use always_on: true for what always runs"
        problems.append(f"{path}: must be present, absent or a mapping of options, not {value!r}{hint}")
        return None
    if entry.state != "absent" and node.hosted_only and providers - {"nvidia"}:
        problems.append(f"{path}: {node.name} cannot be deployed. {node.notes}")
    return entry if len(problems) == before else None


def _read_options(
    path: str, node: Node, value: t.Mapping[t.Any, t.Any], providers: frozenset[str], problems: list[str]
) -> _Entry:
    state = "present"
    options: dict[str, t.Any] = {}
    for key, given in value.items():
        if key not in _OPTIONS:
            near = get_close_matches(str(key), _OPTIONS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known options: {', '.join(_OPTIONS)}"
            problems.append(f"{path}.{key}: there is no such option; {hint}")
            continue
        if given is None:
            continue  # The same as leaving it out, as everywhere in Ansible.
        try:
            options[str(key)] = _OPTIONS[key](node, given)
        except ValueError as error:
            problems.append(f"{path}.{key}: {error}")
    state = options.pop("state", state)
    if options.get("gpu_tier") == HOSTED_TIER and providers - {"nvidia"}:
        problems.append(f"{path}.gpu_tier: {HOSTED_TIER} is for targets of the group nvidia only")
    if "machine" in options and len(providers) == 1:
        _check_machine(path, next(iter(providers)), options["machine"], problems)
    return _Entry(state, options)


def _check_machine(path: str, provider: str, name: str, problems: list[str]) -> None:
    if provider not in _gpu.PROVIDERS_WITH_MACHINES:
        problems.append(f"{path}.machine: cannot be chosen on {provider}; leave it out")
        return
    try:
        _gpu.machine(provider, name)
    except _gpu.UnknownMachineError as error:
        problems.append(f"{path}.machine: {error}")


# --- one function per option: takes the node and the value, returns the value or raises ValueError ---


class _OptionError(ValueError):
    """An option of the matrix has a wrong form. The text goes on after its path."""


def _tier_option(_node: Node, value: t.Any) -> str:
    if not isinstance(value, str):
        raise _OptionError("must be the name of a GPU tier")
    return HOSTED_TIER if value.lower() == HOSTED_TIER else _gpu.tier(value).name


def _replicas_option(_node: Node, value: t.Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _OptionError(f"must be a whole number, at least 1, not {value!r}")
    return int(value)


def _tag_option(_node: Node, value: t.Any) -> str:
    return _catalog.check_tag(value)


def _variants_option(node: Node, value: t.Any) -> list[str]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise _OptionError("must be a list of variants, such as [base, canny]")
    variants = [str(item) for item in value]
    _fit.check_variants(node, variants)
    return variants


def _flag_option(_node: Node, value: t.Any) -> bool:
    if not isinstance(value, bool):
        raise _OptionError(f"must be true or false, not {value!r}")
    return value


def _state_option(_node: Node, value: t.Any) -> str:
    if value in ("present", "absent"):
        return str(value)
    raise _OptionError(f"must be present or absent, not {value!r}; for a NIM that always runs, use always_on: true")


def _machine_option(_node: Node, value: t.Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _OptionError("must be the name of a machine type")
    return str(value)


def _env_option(_node: Node, value: t.Any) -> dict[str, str]:
    if not isinstance(value, t.Mapping):
        raise _OptionError("must be a mapping of variables to texts")
    return check_env(value)


_OPTIONS: t.Mapping[str, t.Callable[[Node, t.Any], t.Any]] = {
    "gpu_tier": _tier_option,
    "replicas": _replicas_option,
    "tag": _tag_option,
    "variants": _variants_option,
    "always_on": _flag_option,
    "state": _state_option,
    "machine": _machine_option,
    "skip_fit_check": _flag_option,
    "env": _env_option,
}


__all__ = ("STATES", "TARGET_GROUP", "MatrixError", "Selection", "select")
