# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Quotas for virtual CPUs: what the steps need, and whether the subscription has it. Pure.

Azure counts virtual CPUs per region twice, in all and per family of machine types, and both must be enough.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Wanted
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import Step
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._cluster import GPU_POOL

TOTAL = "cores"
"""Azure's name of the quota for all virtual CPUs of a region."""

GPU_FAMILIES = {
    "t4": "Standard NCASv3_T4 Family",
    "a10": "StandardNVADSA10v5Family",
    "a100-80gb": "StandardNCADSA100v4Family",
    "h100": "StandardNCadsH100v5Family",
    "h200": "standardNDISRH200V5Family",
}
"""Quota by GPU tier, as listed by series in openshift/installer docs/user/azure/tested_instance_types_x86_64.md.

Spelling differs between Azure's own answers, so case and spaces do not count.
"""

_SIZE = re.compile(r"^Standard_([A-Z]+)(\d+)([a-z]*)_v(\d+)$")
"""A machine type such as Standard_D4as_v5: series, virtual CPUs, features, version."""

_REPLICAS = "spec.replicas"
"""Where a step says how many copies of a NIM run."""


@dataclasses.dataclass(frozen=True)
class Need:
    """Virtual CPUs of one family. ``now``: machines follow at once; otherwise only later, when a NIM is started."""

    family: str
    vcpus: int
    now: bool


def needs_of(wanted: t.Sequence[Wanted], steps: t.Sequence[Step], new_system: tuple[str, int] | None) -> list[Need]:
    """List what the steps need. ``new_system``: machine type and number of the machines of a cluster to be made.

    A pool that is made for NIMs that stay switched off needs a quota for at least one machine, sooner or later.
    """
    found = []
    if new_system:
        family, vcpus = size_of(new_system[0])
        found.append(Need(family, vcpus * new_system[1], now=True))
    new_pools = [step.users or frozenset() for step in steps if step.kind == GPU_POOL and step.action == "create"]
    for item in wanted:
        if item.machine is None:
            continue
        family = GPU_FAMILIES.get(item.gpu_tier, "")
        copies = started_copies(item.name, steps)
        if copies:
            found.append(Need(family, copies * item.machine.vcpus, now=True))
        elif any(item.name in users for users in new_pools):
            found.append(Need(family, item.machine.vcpus, now=False))
    return found


def started_copies(deployment: str, steps: t.Iterable[Step]) -> int:
    """Return how many copies of a NIM the steps add to those that run."""
    added = [
        (step.want.spec.get(_REPLICAS) or 0) - ((step.have.spec.get(_REPLICAS) or 0) if step.have else 0)
        for step in steps
        if step.deployment == deployment and step.want is not None
    ]
    return max([0, *added])


def size_of(machine: str) -> tuple[str, int]:
    """Return family and virtual CPUs of a machine type without GPU, as far as its name tells, otherwise '' and 0."""
    match = _SIZE.match(machine)
    if match is None:
        return "", 0
    series, vcpus, features, version = match.groups()
    return f"standard{series}{features.upper()}v{version}Family", int(vcpus)


def problems(needs: t.Sequence[Need], usages: t.Iterable[t.Mapping[str, t.Any]], region: str) -> list[str]:
    """Say which quotas are too small. A quota that Azure does not list is not judged."""
    known = {_key(usage["name"]["value"]): usage for usage in usages}
    found = []
    for family in [TOTAL, *sorted({need.family for need in needs if need.family})]:
        usage = known.get(_key(family))
        if usage is None:
            continue
        concerned = [need for need in needs if family in (TOTAL, need.family)]
        limit, used = int(usage["limit"]), int(usage["currentValue"])
        now = sum(need.vcpus for need in concerned if need.now)
        later = max((need.vcpus for need in concerned if not need.now), default=0)
        name = f"{usage['name'].get('localizedValue') or family} ({usage['name']['value']})"
        raise_it = "Ask for more in the Azure portal under Quotas, Compute"
        if now and used + now > limit:
            found.append(
                f"the quota {name} of region {region} is too small: its limit is {limit} vCPUs, {used} are in use, "
                f"{now} more are needed. {raise_it}."
            )
        elif later > limit:
            found.append(
                f"the quota {name} of region {region} is too small for even one of the machines: its limit is {limit} "
                f"vCPUs, {later} are needed. {raise_it}."
            )
    return found


def _key(name: str) -> str:
    return name.replace(" ", "").lower()
