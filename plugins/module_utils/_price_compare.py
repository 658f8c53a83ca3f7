# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Where a node would be cheapest: every tier that fits, in every region asked for, on every cloud. Pure."""

from __future__ import annotations

import dataclasses
import typing as t
from decimal import Decimal

from ansible_collections.budgetguard.techops.plugins.module_utils import _fit, _gpu, _pricing
from ansible_collections.budgetguard.techops.plugins.module_utils._catalog import Node

DOES_NOT_FIT = "does_not_fit"
NOT_OFFERED = "not_offered"
NO_QUOTA = "no_quota"
PRICE_UNKNOWN = "price_unknown"
REASONS = (DOES_NOT_FIT, NOT_OFFERED, NO_QUOTA, PRICE_UNKNOWN)
"""Why something is left out of a comparison."""

ON_DEMAND, SPOT = "on-demand", "spot"

LookUp = t.Callable[[t.Iterable[_pricing.Thing]], t.Mapping[_pricing.Thing, _pricing.Quote]]
Quota = t.Callable[[_pricing.Target, Node, _pricing.Nim], "str | None"]
"""Says why a quota does not allow one copy of a NIM; None where it does, or where the quota cannot be read."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """One way to run a node, with its price. ``listed`` is whether NVIDIA's list for the node names the tier."""

    node: str
    target: _pricing.Target
    nim: _pricing.Nim
    listed: bool
    warnings: tuple[str, ...]
    price: _pricing.Sum

    @property
    def hourly(self) -> Decimal:
        """What is known of its price."""
        return self.price.at_least


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """One way that is not to be had, or whose price is not known."""

    node: str
    provider: str
    region: str
    gpu_tier: str | None
    reason: str
    text: str


@dataclasses.dataclass(frozen=True)
class _Candidate:
    node: Node
    target: _pricing.Target
    nim: _pricing.Nim
    warnings: tuple[str, ...]
    parts: tuple[_pricing.Part, ...]


def compare(
    nodes: t.Sequence[Node],
    targets: t.Sequence[_pricing.Target],
    look_up: LookUp,
    *,
    spot: bool = False,
    quota: Quota | None = None,
) -> tuple[list[Choice], list[LeftOut]]:
    """Return all choices for each node, the cheapest first, and what is left out.

    ``targets`` are one for each cloud and region in question; their options count as those of a deployment would.
    ``spot`` also takes machines that can be taken away at any time. All prices are looked up at once.
    """
    candidates: list[_Candidate] = []
    left_out: list[LeftOut] = []
    for node in nodes:
        for target in targets:
            _add_candidates(node, target, spot, candidates, left_out)
    quotes = look_up({thing for candidate in candidates for thing in _pricing.things_of(candidate.parts)})
    choices: list[Choice] = []
    for candidate in candidates:
        found = _judged(candidate, quotes, quota)
        if isinstance(found, Choice):
            choices.append(found)
        else:
            left_out.append(found)
    order = {node.name: number for number, node in enumerate(nodes)}
    choices.sort(key=lambda item: (order[item.node], item.hourly, item.target.provider, item.target.region))
    left_out.sort(key=lambda item: (order[item.node], REASONS.index(item.reason), item.provider, item.region))
    return choices, left_out


def _add_candidates(
    node: Node,
    target: _pricing.Target,
    spot: bool,
    candidates: list[_Candidate],
    left_out: list[LeftOut],
) -> None:
    reason = _never(node, target)
    if reason is not None:
        left_out.append(LeftOut(node.name, target.provider, target.region, None, *reason))
        return
    for tier in _gpu.provider_tiers(target.provider):
        try:
            fit = _fit.check(node, tier, target.provider)
            found = list(_ways(node, target, tier, fit, spot))
        except _fit.FitError as exc:
            left_out.append(LeftOut(node.name, target.provider, target.region, tier, DOES_NOT_FIT, _short(exc)))
            continue
        candidates += found
        if not found:
            text = "its machines are not rented on demand; compare with Spot to see them"
            left_out.append(LeftOut(node.name, target.provider, target.region, tier, NOT_OFFERED, text))


def _short(error: Exception) -> str:
    """Leave out what would do instead: in a comparison that stands beside it."""
    return str(error).partition(" The smallest ")[0].partition(" No tier of ")[0]


def _never(node: Node, target: _pricing.Target) -> tuple[str, str] | None:
    """Return why no tier of a target can be compared at all, None if some can."""
    if node.hosted_only:
        return DOES_NOT_FIT, f"{node.name} cannot be deployed. {node.notes}"
    if target.provider in _gpu.PROVIDERS_WITH_MACHINES:
        return None
    try:
        _pricing.parts_of_nim(target, _pricing.Nim(node.name, "", None))
    except _pricing.PricingError as exc:
        return PRICE_UNKNOWN, str(exc)
    return PRICE_UNKNOWN, "a machine of your own costs the same whatever runs on it"


def _ways(node: Node, target: _pricing.Target, tier: str, fit: _fit.Fit, spot: bool) -> t.Iterator[_Candidate]:
    """Yield the ways in which the machine for a tier is rented. Raises FitError if there is no machine."""
    if fit.machine is None:
        raise _fit.FitError(f"{target.provider} has no machine with it")
    ways = [*([] if fit.machine.spot_only else [ON_DEMAND]), *([SPOT] if spot else [])]
    for way in ways:
        nim = _pricing.Nim(node.name, tier, fit.machine, 1, node.disk_gib, way)
        yield _Candidate(node, target, nim, fit.warnings, tuple(_pricing.parts_of_nim(target, nim)))


def _judged(
    candidate: _Candidate, quotes: t.Mapping[_pricing.Thing, _pricing.Quote], quota: Quota | None
) -> Choice | LeftOut:
    node, target, nim = candidate.node, candidate.target, candidate.nim
    price = _pricing.priced(candidate.parts, quotes)
    machine = _pricing.main_line(price)
    if machine is None or machine.hourly is None:
        quote = machine.quote if machine else _pricing.Quote(None, why="its price is not known")
        reason = NOT_OFFERED if quote.offered is False else PRICE_UNKNOWN
        return LeftOut(node.name, target.provider, target.region, nim.gpu_tier, reason, str(quote.why))
    problem = quota(target, node, nim) if quota else None
    if problem:
        return LeftOut(node.name, target.provider, target.region, nim.gpu_tier, NO_QUOTA, problem)
    return Choice(node.name, target, nim, nim.gpu_tier in node.listed_tiers, candidate.warnings, price)


__all__ = ("REASONS", "Choice", "LeftOut", "compare")
