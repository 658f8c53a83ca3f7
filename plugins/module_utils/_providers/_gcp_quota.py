# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Do the quotas allow what is planned? Pure: the numbers are read elsewhere.

Compute Engine lists a quota only where it keeps one in this form. What is not listed is not judged here; Google then
refuses the machine itself, and the NIM's reason says so.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Wanted
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import Step
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._cluster import GPU_POOL
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_objects import GKE_CLUSTER, pool_name
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_settings import (
    ON_DEMAND,
    GcpSettings,
)

_GPU_METRICS = {
    "nvidia-tesla-t4": "NVIDIA_T4_GPUS",
    "nvidia-l4": "NVIDIA_L4_GPUS",
    "nvidia-tesla-a100": "NVIDIA_A100_GPUS",
    "nvidia-a100-80gb": "NVIDIA_A100_80GB_GPUS",
    "nvidia-h100-80gb": "NVIDIA_H100_GPUS",
}
"""Compute Engine's names, from the enumeration Quota.Metric of its API."""

ALL_GPUS = "GPUS_ALL_REGIONS"
ALL_CPUS = "CPUS_ALL_REGIONS"
CPUS = "CPUS"
_PREEMPTIBLE = "PREEMPTIBLE_"

_COUNT_FIELDS = ("replicas", "spec.replicas")


@dataclasses.dataclass
class Need:
    """What the steps take of one quota.

    ``now`` is taken at once. ``one_machine`` is what the largest machine takes that could run later: no start would
    ever succeed with a limit below that.
    """

    now: int = 0
    one_machine: int = 0

    def add(self, now: int, one_machine: int) -> None:
        """Add the machines of one NIM."""
        self.now += now
        self.one_machine = max(self.one_machine, one_machine)


@dataclasses.dataclass
class Needs:
    """What is needed of the region's quotas and of the project's, by metric."""

    region: dict[str, Need] = dataclasses.field(default_factory=dict)
    project: dict[str, Need] = dataclasses.field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.region or self.project)


def started_copies(steps: t.Sequence[Step]) -> dict[str, int]:
    """Return how many more copies each NIM has after the steps, for those that get more."""
    more: dict[str, int] = {}
    for step in steps:
        if step.deployment is None or step.want is None:
            continue
        for field in _COUNT_FIELDS:
            after = step.want.spec.get(field)
            before = step.have.spec.get(field) if step.have is not None else 0
            if isinstance(after, int) and after > (before or 0):
                more[step.deployment] = after - (before or 0)
    return more


def needs(settings: GcpSettings, wanted: t.Sequence[Wanted], steps: t.Sequence[Step]) -> Needs:
    """Return what the steps need: for machines of the cluster, for NIMs that start, and for new pools."""
    found = Needs()
    created = {(step.kind, step.name) for step in steps if step.action == "create"}
    more = started_copies(steps)
    if any(kind == GKE_CLUSTER for kind, _name in created):
        cpus = settings.system_nodes_in_all * _cpus_of(settings.system_machine)
        _add_cpus(found, cpus, cpus)
    for item in wanted:
        copies = more.get(item.name, 0)
        if copies or (GPU_POOL, pool_name(settings, item)) in created:
            _add_nim(found, settings, item, copies)
    return found


def needs_of_one(settings: GcpSettings, item: Wanted) -> Needs:
    """Return what one copy of a NIM needs, whether or not it is deployed."""
    found = Needs()
    _add_nim(found, settings, item, 1)
    return found


def _add_nim(found: Needs, settings: GcpSettings, item: Wanted, copies: int) -> None:
    machine = item.machine
    if machine is None:
        return
    metric = _GPU_METRICS.get(machine.accelerator)
    on_demand = settings.provisioning(machine) == ON_DEMAND
    if metric:
        name = metric if on_demand else f"{_PREEMPTIBLE}{metric}"
        found.region.setdefault(name, Need()).add(copies * machine.gpus, machine.gpus)
    if metric and on_demand:
        found.project.setdefault(ALL_GPUS, Need()).add(copies * machine.gpus, machine.gpus)
    if on_demand and machine.name.startswith("n1-"):
        # The other GPU machines have quotas for their own processors, or none.
        _add_cpus(found, copies * machine.vcpus, machine.vcpus)


def _add_cpus(found: Needs, now: int, one_machine: int) -> None:
    if one_machine:
        found.region.setdefault(CPUS, Need()).add(now, one_machine)
        found.project.setdefault(ALL_CPUS, Need()).add(now, one_machine)


def _cpus_of(machine_type: str) -> int:
    """Return the processors of a machine type such as e2-standard-4, or 0 where its name does not say them."""
    found = re.fullmatch(r"(?:e2|n1)-(?:standard|highmem|highcpu)-(\d+)", machine_type)
    return int(found[1]) if found else 0


def problems(
    wanted: t.Mapping[str, Need], quotas: t.Sequence[t.Mapping[str, t.Any]] | None, where: str, project: str
) -> list[str]:
    """Name each quota that does not suffice: its limit, what is in use, what is needed and where to raise it.

    ``quotas`` is what Compute Engine lists, None if it may not be read. Machines that can be taken away count against
    the usual quota in a project to which none for such machines was ever granted.
    """
    listed = {str(quota["metric"]): quota for quota in quotas or []}
    found = []
    for metric, need in sorted(wanted.items()):
        name = metric
        if metric.startswith(_PREEMPTIBLE) and not listed.get(metric, {}).get("limit"):
            name = metric[len(_PREEMPTIBLE) :]
        if name not in listed:
            continue
        limit, used = float(listed[name]["limit"]), float(listed[name].get("usage", 0))
        if limit >= need.one_machine and limit - used >= need.now:
            continue
        needed = f"{need.now} more are needed" if need.now else f"a machine needs {need.one_machine}"
        found.append(
            f"the quota {name} of {where} is {limit:g}, {used:g} are in use and {needed}; ask Google for more at "
            f"https://console.cloud.google.com/iam-admin/quotas?project={project}"
        )
    return found
