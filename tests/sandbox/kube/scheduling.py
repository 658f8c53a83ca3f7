# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which machine can take which pod, and how the scheduler and the autoscaler say that none can. No state, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.sandbox.kube.defaults import amount
from tests.sandbox.kube.pools import NodePool
from tests.sandbox.kube.selectors import fits_expression

GPU = "nvidia.com/gpu"
OTHER_MACHINE = "node(s) didn't match Pod's node affinity/selector"
GIB = 1024**3
MIB = 1024**2


@dataclass(frozen=True)
class Amounts:
    """What a pod asks for, or what a machine has."""

    #: In thousandths of a CPU.
    cpu: int = 0
    #: In bytes.
    memory: int = 0
    gpus: int = 0

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(self.cpu + other.cpu, self.memory + other.memory, self.gpus + other.gpus)

    def __sub__(self, other: Amounts) -> Amounts:
        return Amounts(self.cpu - other.cpu, self.memory - other.memory, self.gpus - other.gpus)

    def lacking(self, wanted: Amounts) -> list[str]:
        """Name what is not enough, as the scheduler does."""
        lacks = (
            ("cpu", wanted.cpu > self.cpu),
            ("memory", wanted.memory > self.memory),
            (GPU, wanted.gpus > self.gpus),
        )
        return [f"Insufficient {name}" for name, is_lacking in lacks if is_lacking]


def requested(spec: Mapping[str, Any]) -> Amounts:
    """Return what a pod asks for. Limits count where there is no request, as in a pod on a real server."""
    total = Amounts()
    for container in spec["containers"]:
        resources = container.get("resources") or {}
        wanted = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
        total += Amounts(
            cpu=int(amount(wanted.get("cpu", 0)) * 1000),
            memory=int(amount(wanted.get("memory", 0))),
            gpus=int(amount(wanted.get(GPU, 0))),
        )
    return total


def allocatable(pool: NodePool, *, gpus: bool) -> Amounts:
    """Return what a machine has for pods. What is kept for the system is what Google documents for GKE.

    Memory: 25 % of the first 4 GiB, 20 % of the next 4, 10 % of the next 8, 6 % of the next 112, 2 % of the rest, and
    100 MiB before pods are evicted. CPU: 6 % of the first, 1 % of the second, 0.5 % of the next two, 0.25 % of others.
    """
    kept = 100 * MIB + int(_tiered(pool.memory_gib, ((4, 0.25), (4, 0.20), (8, 0.10), (112, 0.06))) * GIB)
    kept += int(max(0, pool.memory_gib - 128) * 0.02 * GIB)
    kept_cpu = _tiered(pool.vcpus, ((1, 0.06), (1, 0.01), (2, 0.005))) + max(0, pool.vcpus - 4) * 0.0025
    return Amounts(int((pool.vcpus - kept_cpu) * 1000), pool.memory_gib * GIB - kept, pool.gpus if gpus else 0)


def _tiered(total: int, steps: Iterable[tuple[int, float]]) -> float:
    kept = 0.0
    for width, part in steps:
        kept += min(total, width) * part
        total = max(0, total - width)
    return kept


def refusals(spec: Mapping[str, Any], pool: NodePool, labels: Mapping[str, str], free: Amounts) -> list[str]:
    """Return why a pod cannot run on a machine; nothing if it can."""
    return unsuited(spec, pool, labels) or free.lacking(requested(spec))


def unsuited(spec: Mapping[str, Any], pool: NodePool, labels: Mapping[str, str]) -> list[str]:
    """Return why machines of this kind are not for a pod, however empty they are; nothing if they are."""
    if not _is_chosen(spec, labels):
        return [OTHER_MACHINE]
    for key, value, effect in pool.taints:
        if effect != "PreferNoSchedule" and not _tolerates(spec.get("tolerations") or [], key, value, effect):
            return [f"node(s) had untolerated taint {{{key}: {value}}}"]
    return []


def _is_chosen(spec: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if not affinity:
        return True
    return any(
        all(fits_expression(expression, labels) for expression in term.get("matchExpressions") or [])
        for term in affinity["nodeSelectorTerms"]
    )


def _tolerates(tolerations: Sequence[Mapping[str, Any]], key: str, value: str, effect: str) -> bool:
    for item in tolerations:
        if item.get("effect") not in (None, "", effect) or item.get("key") not in (None, "", key):
            continue
        if item.get("operator", "Equal") == "Exists" or item.get("value", "") == value:
            return True
    return False


def not_scheduled(reasons: Sequence[Sequence[str]]) -> str:
    """Return the scheduler's message about machines that each refuse a pod."""
    total = len(reasons)
    if not total:
        return "no nodes available to schedule pods"
    none = f"0/{total} nodes are available"
    return f"{none}: {_counted(reasons)}. preemption: {none}: {total} Preemption is not helpful for scheduling."


def no_scale_up(reasons: Sequence[Sequence[str]]) -> str:
    """Return the autoscaler's message about pools of which none would help."""
    return f"pod didn't trigger scale-up: {_counted(reasons)}"


def _counted(reasons: Sequence[Sequence[str]]) -> str:
    counts = Counter(reason for machine in reasons for reason in machine)
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
