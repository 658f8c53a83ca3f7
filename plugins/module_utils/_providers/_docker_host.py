# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What a Docker host has, and who gets which of its GPUs and ports.

Measuring asks the host; everything that decides is pure.
"""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog, _fit, _program
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Wanted
from ansible_collections.budgetguard.techops.plugins.module_utils._gpu import Machine
from ansible_collections.budgetguard.techops.plugins.module_utils._package_installer import (
    GPU_FIELDS,
    Gpu,
    parse_gpus,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import PlanError

_FALLBACK_GPUS = 16
"""How many GPUs are assumed at most where nothing could be measured and the fit check is skipped."""

_LISTENING = "0A"
"""The state of a listening socket in /proc/net/tcp."""


@dataclasses.dataclass(frozen=True)
class Host:
    """What was measured: GPUs, memory in GiB, and what other programs and containers already have.

    ``gpu_problem`` says why no GPU was found. ``foreign`` is GPU id to the container, not one of ours, that uses it.
    """

    name: str
    memory_gib: int
    cpus: int
    gpus: tuple[Gpu, ...] = ()
    gpu_problem: str | None = None
    foreign: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    busy_ports: frozenset[int] = frozenset()

    def gpu_id(self, text: str) -> str:
        """Return the lasting id of a GPU that a container names by its number or its id."""
        return next((gpu.uuid for gpu in self.gpus if text in (str(gpu.index), gpu.uuid)), text)

    def machine(self, tier: str, unchecked: bool) -> Machine:
        """Return the host as the fit check sees it."""
        count = sum(1 for gpu in self.gpus if unchecked or gpu.tier == tier)
        return Machine("local", self.name, tier, count, self.cpus, self.memory_gib, 0, "measured on the host")


# ---- measure -----------------------------------------------------------------------------------------------------


def measure_gpus(run_command: _program.RunCommand) -> tuple[tuple[Gpu, ...], str | None]:
    """Ask NVIDIA's driver for the GPUs. Returns them, or why there are none."""
    try:
        words = ["nvidia-smi", f"--query-gpu={GPU_FIELDS}", "--format=csv,noheader,nounits"]
        done = _program.call(run_command, words, seconds=60)
    except OSError:
        return (), "nvidia-smi does not run on this host; install NVIDIA's driver"
    if done.returncode:
        said = " ".join((done.stdout + done.stderr).split())
        return (), f"nvidia-smi says: {said[:200]}"
    gpus = parse_gpus(done.stdout)
    return gpus, None if gpus else "nvidia-smi lists no GPU"


def measure_ports() -> frozenset[int]:
    """Return the TCP ports on which something listens."""
    ports: set[int] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = pathlib.Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        fields = [line.split() for line in lines]
        ports.update(int(field[1].rpartition(":")[2], 16) for field in fields if field[3] == _LISTENING)
    return frozenset(ports)


def with_measured_tiers(
    deployments: t.Sequence[t.Mapping[str, t.Any]], gpus: t.Sequence[Gpu]
) -> list[dict[str, t.Any]]:
    """Fill in the tier of what should exist, where nobody says one and the host has GPUs of one tier only."""
    tiers = {gpu.tier for gpu in gpus if gpu.tier is not None}
    filled = []
    for option in deployments:
        is_open = option["state"] in ("present", "started") and not option.get("gpu_tier")
        filled.append({**option, "gpu_tier": next(iter(tiers))} if is_open and len(tiers) == 1 else dict(option))
    return filled


# ---- decide ------------------------------------------------------------------------------------------------------


def check_fit(
    host: Host,
    wanted: t.Iterable[Wanted],
    nodes: t.Mapping[str, _catalog.Node],
    variants: t.Mapping[str, tuple[str, ...]],
    unchecked: t.Container[str],
) -> None:
    """Raise :class:`PlanError` with a line for each NIM that this host cannot run."""
    problems = []
    for item in wanted:
        node, skip = nodes[item.name], item.name in unchecked
        try:
            _fit.check(
                node,
                item.gpu_tier,
                "local",
                variants=variants.get(item.name, ()),
                machine=host.machine(item.gpu_tier, skip),
                skip=skip,
            )
        except _fit.FitError as exc:
            problems.append(f"{exc}{_what_there_is(host)}")
            continue
        problems += [] if skip else _memory_problems(host, item, node)
    if problems:
        raise PlanError("\n".join(problems))


def _what_there_is(host: Host) -> str:
    if host.gpu_problem:
        return f" No GPU was found on {host.name}: {host.gpu_problem}."
    unknown = [gpu for gpu in host.gpus if gpu.tier is None]
    there = f" {host.name} has {', '.join(map(str, host.gpus))}."
    if unknown:
        there += " A GPU that is in no tier can be used with the nearest gpu_tier and skip_fit_check: true."
    return there


def _memory_problems(host: Host, item: Wanted, node: _catalog.Node) -> list[str]:
    """Compare what the GPUs really have: a card can be set up to offer less than its kind."""
    sizes = sorted((gpu.memory_mib for gpu in host.gpus if gpu.tier == item.gpu_tier), reverse=True)[: item.gpus]
    needed, offered = node.min_gpu_memory_gib, sum(sizes) / 1024
    if offered >= needed:
        return []
    cards = f"{item.gpus} GPU of tier {item.gpu_tier} on {host.name}"
    return [f"{item.name} needs {needed} GiB of GPU memory, and {cards} offers {offered:.1f}"]


def hand_out_gpus(
    host: Host,
    wanted: t.Sequence[Wanted],
    held: t.Mapping[str, t.Sequence[str]],
    share: bool = False,
    unchecked: t.Container[str] = (),
) -> dict[str, tuple[str, ...]]:
    """Return which GPUs each wanted NIM gets; no two NIMs get the same one, unless ``share`` is set.

    ``held`` is what the NIMs on the host have now; who has enough of the right ones keeps them. With ``share``, free
    GPUs are still preferred. Raises :class:`PlanError` if there are not enough.
    """
    asked = {item.name for item in wanted}
    claimed: dict[str, str] = dict(host.foreign)
    claimed.update({gpu: name for name, gpus in held.items() if name not in asked for gpu in gpus})
    given: dict[str, tuple[str, ...]] = {}
    for item in wanted:
        kept = tuple(held.get(item.name, ()))
        usable = _candidates(host, item, unchecked)
        blocked = set(host.foreign) if share else set(claimed)
        if len(kept) == item.gpus and set(kept) <= set(usable) and not set(kept) & blocked:
            given[item.name] = kept
            claimed.update(dict.fromkeys(kept, item.name))
    for item in wanted:
        if item.name in given:
            continue
        usable = _candidates(host, item, unchecked)
        free = [gpu for gpu in usable if gpu not in claimed]
        shareable = [gpu for gpu in usable if gpu in claimed and gpu not in host.foreign] if share else []
        chosen = tuple([*free, *shareable][: item.gpus])
        if len(chosen) < item.gpus:
            raise PlanError(_none_left(host, item, len(free), usable, claimed, share))
        given[item.name] = chosen
        claimed.update({gpu: item.name for gpu in chosen if gpu not in claimed})
    return given


def _candidates(host: Host, item: Wanted, unchecked: t.Container[str]) -> list[str]:
    """Return the GPUs of the NIM's tier. Unchecked NIMs take others after these, or numbers if nothing is known."""
    same = [gpu.uuid for gpu in host.gpus if gpu.tier == item.gpu_tier]
    if item.name not in unchecked:
        return same
    others = [gpu.uuid for gpu in host.gpus if gpu.tier != item.gpu_tier]
    return [*same, *others] or [str(number) for number in range(_FALLBACK_GPUS)]


def _none_left(
    host: Host, item: Wanted, free: int, usable: t.Sequence[str], claimed: t.Mapping[str, str], share: bool
) -> str:
    holders = ", ".join(f"{_shown(host, gpu)} is held by {claimed[gpu]}" for gpu in usable if gpu in claimed)
    way_out = "remove one of these" + ("" if share else ", or set share_gpus: true and run one at a time")
    needs = f"{item.name} needs {item.gpus} GPU of tier {item.gpu_tier}"
    return f"{needs} and {host.name} has {free} free: {holders}; {way_out}"


def _shown(host: Host, gpu_id: str) -> str:
    return next((f"GPU {gpu.index}" for gpu in host.gpus if gpu.uuid == gpu_id), f"GPU {gpu_id}")


def hand_out_ports(
    wanted: t.Sequence[Wanted],
    held: t.Mapping[str, int],
    busy: t.Container[int],
    first_port: int,
    fixed: t.Mapping[str, int],
) -> dict[str, int]:
    """Return the host's port for each wanted NIM. ``fixed`` is node to port; others keep theirs or get a free one.

    ``busy`` may hold ports of the NIMs themselves. Raises :class:`PlanError` if another NIM has a port that is fixed.
    """
    asked = {item.name for item in wanted}
    claimed = {port: name for name, port in held.items() if name not in asked}
    given: dict[str, int] = {}
    for item in sorted(wanted, key=lambda item: (item.node not in fixed, item.name not in held)):
        port = fixed.get(item.node, held.get(item.name))
        if port is None or (port in claimed and item.node not in fixed):
            port = first_port
            while port in claimed or port in busy or port in held.values() or port in fixed.values():
                port += 1
        if port in claimed:
            raise PlanError(f"ports gives {port} to {item.node}, but {claimed[port]} has it")
        given[item.name] = port
        claimed[port] = item.name
    return given
