# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Does this node run on that tier, and on which machine? Pure: asked before anything is created.

Refused, because it cannot work or wastes money:
- too little GPU memory, too low a compute capability, too little host memory;
- a tier the provider does not have, or has only with more GPUs per machine than one replica uses, since
  the idle ones are paid too;
- a node that uses another number of GPUs per tier, on a tier for which that number is not known.

Allowed with a warning, because it may work: a tier that meets every minimum but is not on NVIDIA's list
for the node; several variants in one container; machines with a catch, such as Spot only.

C(skip) turns refusals into warnings. What is simply wrong stays an error: an unknown tier, machine or
variant, and a node that has no container.
"""

from __future__ import annotations

import math
import typing as t
from dataclasses import dataclass

from ansible_collections.budgetguard.techops.plugins.module_utils import _gpu
from ansible_collections.budgetguard.techops.plugins.module_utils._catalog import Node
from ansible_collections.budgetguard.techops.plugins.module_utils._gpu import GpuTier, Machine


class FitError(ValueError):
    """The node cannot run as asked. The text gives the reasons and the smallest choice that would do."""


@dataclass(frozen=True)
class Fit:
    """What to rent.

    C(machine) is the machine for one replica. It is None on C(local) and C(nvidia) when the caller
    gave none: there the hardware is not ours to choose.
    C(gpus) is what one replica uses. C(warnings) are sentences for the user.
    """

    machine: Machine | None
    gpus: int
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Choice:
    """A machine, perhaps none, and why it should not be used."""

    machine: Machine | None
    refusals: tuple[str, ...]


def check(
    node: Node,
    tier_name: str,
    provider: str,
    *,
    replicas: int = 1,
    variants: t.Sequence[str] = (),
    machine: str | Machine | None = None,
    skip: bool = False,
) -> Fit:
    """Return the machine and GPU count for one replica of C(node) on C(tier_name).

    C(machine) is a machine type asked for by name, or, for hardware that is in no table (a local
    Docker host), what was measured there. C(replicas) matters only for measured hardware, which all
    replicas share. C(skip) turns refusals into warnings.

    Raises FitError when it does not fit; UnknownTierError, UnknownMachineError or ValueError when the
    question itself is wrong.
    """
    _gpu.check_provider(provider)
    if node.hosted_only:
        raise FitError(f"{node.name} cannot be deployed. {node.notes}")
    if replicas < 1:
        raise ValueError(f"replicas must be at least 1, not {replicas!r}")
    check_variants(node, variants)
    tier = _gpu.tier(tier_name)
    gpus = gpus_per_replica(node, tier)
    choice = _choose(node, tier, provider, gpus, replicas, machine)
    refusals = _tier_refusals(node, tier, gpus)
    if not refusals or machine:
        # Where the GPU itself is wrong, which machines carry it is beside the point, unless one was asked for.
        refusals += choice.refusals
    if refusals and (not skip or (choice.machine is None and provider in _gpu.PROVIDERS_WITH_MACHINES)):
        raise FitError(_refusal_text(node, tier, provider, refusals, machine))
    skipped = tuple(f"{node.name} on {tier.name}: {reason} (skip_fit_check is set)" for reason in refusals)
    unlisted = () if refusals else _unlisted_warning(node, tier)
    return Fit(choice.machine, gpus, skipped + unlisted + _warnings(node, variants, choice.machine))


def default_tier(node: Node, provider: str) -> str:
    """Return the smallest tier of C(provider) that NVIDIA lists for C(node) and that fits.

    Where the provider has no listed tier, the smallest plausible one is taken; C(check) then warns.
    Raises FitError when there is none, for a node without a container, and for C(local), where only
    the studio knows which GPU the machine has.
    """
    if node.hosted_only:
        raise FitError(f"{node.name} cannot be deployed. {node.notes}")
    if provider == "local":
        raise FitError(f"{node.name}: set gpu_tier; only you know which GPU a local machine has")
    found = _smallest_fit(node, provider)
    if found is None:
        raise FitError(f"{node.name} runs on no tier of {provider} ({', '.join(_gpu.provider_tiers(provider))})")
    return found[0]


def gpus_per_replica(node: Node, tier: GpuTier) -> int:
    """Return how many GPUs of C(tier) one replica of C(node) uses.

    Where the catalogue does not say: one, if the node runs on one GPU wherever it is known to run;
    otherwise the smallest number with enough memory together.
    """
    known = node.gpus_by_tier.get(tier.name)
    if known is not None:
        return known
    if node.gpus_by_tier and max(node.gpus_by_tier.values()) == 1:
        return 1
    return max(1, math.ceil(node.min_gpu_memory_gib * 1024 / tier.memory_mib))


def check_variants(node: Node, variants: t.Sequence[str]) -> None:
    """Raise ValueError unless each of C(variants) is one that the image of C(node) has, named once."""
    unknown = [variant for variant in variants if variant not in node.variants]
    if unknown:
        offered = f"it has {', '.join(node.variants)}" if node.variants else "it has none to choose from"
        raise ValueError(f"The image of {node.name} has no variant {', '.join(map(repr, unknown))}; {offered}")
    if len(set(variants)) != len(variants):
        raise ValueError(f"The variants of {node.name} are named twice: {', '.join(variants)}")


def _tier_refusals(node: Node, tier: GpuTier, gpus: int) -> tuple[str, ...]:
    """Return why the GPU itself cannot do it."""
    reasons = []
    # Taking more cards than the catalogue knows of is no way out of too little memory.
    known_gpus = gpus if tier.name in node.gpus_by_tier else 1
    memory_gib = known_gpus * tier.memory_gib
    if memory_gib < node.min_gpu_memory_gib:
        reasons.append(f"it has {memory_gib:g} GiB of GPU memory, at least {node.min_gpu_memory_gib} GiB are needed")
    if tier.compute_capability < node.min_compute_capability:
        reasons.append(
            f"its compute capability is {_dotted(tier.compute_capability)}{_lacking(tier)}, "
            f"at least {_dotted(node.min_compute_capability)} is needed"
        )
    if not reasons and node.gpus_by_tier and tier.name not in node.gpus_by_tier:
        known = ", ".join(node.gpus_by_tier)
        reasons.append(f"nothing is known about {node.name} on it; known tiers: {known}")
    return tuple(reasons)


def _choose(
    node: Node,
    tier: GpuTier,
    provider: str,
    gpus: int,
    replicas: int,
    asked: str | Machine | None,
) -> _Choice:
    """Return the machine for one replica and what speaks against it."""
    if isinstance(asked, Machine):
        return _Choice(asked, _measured_refusals(node, asked, gpus, replicas))
    if provider not in _gpu.PROVIDERS_WITH_MACHINES:
        if asked:
            raise ValueError(f"machine '{asked}' cannot be chosen on {provider}; leave machine out")
        return _Choice(None, ())
    if asked:
        return _asked_machine(node, tier, provider, gpus, str(asked))
    return _smallest_machine(node, tier, provider, gpus)


def _measured_refusals(node: Node, measured: Machine, gpus: int, replicas: int) -> tuple[str, ...]:
    reasons = []
    if measured.gpus < gpus * replicas:
        reasons.append(f"the machine has {_count(measured.gpus)}, {gpus * replicas} are needed")
    if measured.memory_gib < node.min_host_memory_gib:
        reasons.append(_host_memory_reason(node, measured))
    return tuple(reasons)


def _asked_machine(node: Node, tier: GpuTier, provider: str, gpus: int, name: str) -> _Choice:
    found = _gpu.machine(provider, name)
    if found.tier != tier.name:
        raise FitError(f"{found.name} has GPUs of tier {found.tier}, not {tier.name}: set gpu_tier to {found.tier}")
    reasons = []
    if found.gpus < gpus:
        reasons.append(f"{found.name} has {_count(found.gpus)}, one replica needs {gpus}")
    if found.gpus > gpus:
        reasons.append(_idle_reason(found.name, found.gpus, gpus))
    if found.memory_gib < node.min_host_memory_gib:
        reasons.append(_host_memory_reason(node, found))
    return _Choice(found, tuple(reasons))


def _smallest_machine(node: Node, tier: GpuTier, provider: str, gpus: int) -> _Choice:
    rows = _gpu.machines(provider, tier.name)
    if not rows:
        offered = ", ".join(_gpu.provider_tiers(provider))
        return _Choice(None, (f"{provider} has no machine with it; its tiers are {offered}",))
    exact = [row for row in rows if row.gpus == gpus]
    for row in exact:
        if row.memory_gib >= node.min_host_memory_gib:
            return _Choice(row, ())
    if exact:
        biggest = max(exact, key=lambda row: row.memory_gib)
        return _Choice(biggest, (_host_memory_reason(node, biggest) + ", and it is the largest one",))
    larger = [row for row in rows if row.gpus > gpus]
    if larger:
        return _Choice(
            larger[0],
            (
                _idle_reason(
                    f"the smallest {tier.name} machine on {provider} with enough of them, {larger[0].name},",
                    larger[0].gpus,
                    gpus,
                ),
            ),
        )
    counts = " or ".join(_count(count) for count in sorted({row.gpus for row in rows}))
    return _Choice(None, (f"{tier.name} machines on {provider} have {counts}, one replica needs {gpus}",))


def _smallest_fit(node: Node, provider: str) -> tuple[str, Machine | None] | None:
    """Return the smallest tier of C(provider) that fits, listed ones first, and its machine."""
    offered = _gpu.provider_tiers(provider)
    listed = [name for name in offered if name in node.listed_tiers]
    others = [name for name in offered if name not in node.listed_tiers]
    for name in listed + others:
        tier = _gpu.tier(name)
        gpus = gpus_per_replica(node, tier)
        choice = _choose(node, tier, provider, gpus, 1, None)
        if not choice.refusals and not _tier_refusals(node, tier, gpus):
            return name, choice.machine
    return None


def _refusal_text(
    node: Node,
    tier: GpuTier,
    provider: str,
    refusals: t.Sequence[str],
    asked: str | Machine | None,
) -> str:
    where = f"{tier.name} on {provider}" if not isinstance(asked, str) else f"{asked} ({tier.name} on {provider})"
    text = f"{node.name} cannot run on {where}: {'; '.join(refusals)}."
    if isinstance(asked, Machine):
        # What was measured is what there is; another tier would not be on offer.
        return text
    return text + " " + _alternative(node, tier, provider, asked)


def _alternative(node: Node, tier: GpuTier, provider: str, asked: str | None) -> str:
    """Return the sentence that says what would do instead."""
    if asked:
        gpus = gpus_per_replica(node, tier)
        same_tier = _smallest_machine(node, tier, provider, gpus)
        if same_tier.machine and not same_tier.refusals and not _tier_refusals(node, tier, gpus):
            row = same_tier.machine
            return f"The smallest {tier.name} machine that would do is {row.name} ({row.memory_gib} GiB of memory)."
    found = _smallest_fit(node, provider)
    if found is None:
        return f"No tier of {provider} would do."
    name, row_found = found
    listed = "" if name in node.listed_tiers else ", which is not on NVIDIA's list"
    on_machine = f" ({row_found.name})" if row_found else ""
    return f"The smallest tier on {provider} that would do is {name}{on_machine}{listed}."


def _unlisted_warning(node: Node, tier: GpuTier) -> tuple[str, ...]:
    """Return the warning for a tier that meets every minimum but is not on NVIDIA's list."""
    if tier.name in node.listed_tiers:
        return ()
    listed = ", ".join(node.listed_tiers) or "none that could be read"
    warning = f"{node.name} on {tier.name} is not on NVIDIA's list ({listed}): plausible, unverified."
    return (warning if "fp8" in tier.precisions else f"{warning} The GPU has no FP8.",)


def _warnings(node: Node, variants: t.Sequence[str], machine: Machine | None) -> tuple[str, ...]:
    warnings = []
    if len(variants) > 1:
        warnings.append(f"{node.name} with {', '.join(variants)} in one container: unverified, NVIDIA documents one.")
    if machine is not None and machine.notes:
        warnings.append(f"{machine.name}: {machine.notes}")
    return tuple(warnings)


def _host_memory_reason(node: Node, machine: Machine) -> str:
    return f"{machine.name} has {machine.memory_gib} GiB of host memory, at least {node.min_host_memory_gib} are needed"


def _idle_reason(subject: str, has: int, uses: int) -> str:
    return f"{subject} has {_count(has)} and one replica uses {uses}, so {has - uses} would be paid for and idle"


def _count(gpus: int) -> str:
    return "1 GPU" if gpus == 1 else f"{gpus} GPUs"


def _lacking(tier: GpuTier) -> str:
    """Return ' (no bf16, no FP8)' or the part of it that is true for this GPU."""
    lacking = [f"no {title}" for key, title in (("bf16", "bf16"), ("fp8", "FP8")) if key not in tier.precisions]
    return f" ({', '.join(lacking)})" if lacking else ""


def _dotted(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"


__all__ = ("Fit", "FitError", "check", "check_variants", "default_tier", "gpus_per_replica")
