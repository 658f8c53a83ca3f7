# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The board: nodes by targets, with what is there, what the matrix says, and what could be chosen. Pure.

A cell is one node on one target. Its mark is one of MARKS. It also has what C(nim_matrix) would have to say to choose
it, or the reason why it cannot be chosen, so that the page decides nothing about GPUs by itself.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _fit, _gpu, _matrix, _report, _runs
from ansible_collections.budgetguard.techops.plugins.module_utils._catalog import Node
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import (
    HOSTED_TIER,
    DeploymentsError,
    resolve_all,
)

MARKS: t.Mapping[str, str] = {
    "failed": "Failed",
    "pending": "Pending",
    "deployed": "Deployed",
    "none": "Not selected",
}
"""Mark -> what it is called, the one that needs a look first."""

MATRIX_TAB, ENDPOINTS_TAB = "matrix", "endpoints"
_MATRIX_ORDER, _ENDPOINTS_ORDER = 10, 20

_CHANGING = ("starting", "stopping")
_DEFAULTS: t.Mapping[str, t.Any] = {"replicas": 1, "always_on": False, "skip_fit_check": False}
"""Options of an entry that say nothing with these values."""

_WORST_FIRST = ("failed", "unknown", "starting", "stopping", "running", "stopped")
_NOTED = 12
"""How many sentences about prices are told."""


class BoardError(ValueError):
    """What the board should be made of has the wrong form. The text says what."""


@dataclasses.dataclass(frozen=True)
class Target:
    """A target as it was read. C(tier) is the GPU of a Docker host, where that is known."""

    name: str
    provider: str
    region: str | None
    read: bool
    asleep: bool
    error: str | None
    deployments: tuple[t.Mapping[str, t.Any], ...]
    tier: str | None


@dataclasses.dataclass(frozen=True)
class _Choice:
    """What the matrix would say to have a node on a target, or why it cannot be there."""

    entry: t.Mapping[str, t.Any]
    tier: str | None
    refused: str | None
    warnings: tuple[str, ...] = ()


class _Prices:
    """What an hour costs, by what is deployed and by what could be."""

    def __init__(self, rows: t.Iterable[t.Mapping[str, t.Any]]) -> None:
        self._there: dict[tuple[str, str, str], t.Mapping[str, t.Any]] = {}
        self._alike: dict[tuple[str, str, str, str], t.Mapping[str, t.Any]] = {}
        for row in rows:
            node, tier = str(row.get("node")), str(row.get("gpu_tier") or "")
            self._there.setdefault((str(row.get("target")), node, tier), row)
            if row.get("replicas") == 1 and row.get("hourly") is not None:
                where = (str(row.get("provider")), str(row.get("region")))
                self._alike.setdefault((*where, node, tier), row)

    def of(self, target: Target, node: str, tier: str | None) -> dict[str, t.Any]:
        """Return C(hourly), C(complete) and C(why) of a node on a target. What is not known is None, never 0."""
        row = self._there.get((target.name, node, tier or ""))
        if row is None or row.get("hourly") is None:
            # The same GPU in the same region costs the same on another target of the inventory.
            row = self._alike.get((target.provider, _region(target), node, tier or "")) or row
        if row is None:
            return {"hourly": None, "complete": False, "why": "its price was not looked up"}
        return {"hourly": row.get("hourly"), "complete": bool(row.get("complete")), "why": row.get("why")}


def _region(target: Target) -> str:
    """Return the region as prices have it: on Google Cloud a target may be in a zone."""
    region = str(target.region or "")
    return region.rpartition("-")[0] if target.provider == "gcp" and region.count("-") == 2 else region


def board(
    targets: t.Any,
    *,
    matrix: t.Any,
    groups: t.Mapping[str, t.Sequence[str]],
    catalog: t.Mapping[str, Node],
    generated_at: str,
    prices: t.Iterable[t.Mapping[str, t.Any]] = (),
    currency: str = "USD",
    problems: t.Iterable[str] = (),
    document: t.Mapping[str, t.Any] | None = None,
    by_provider: t.Mapping[str, t.Any] | None = None,
    runs: t.Iterable[t.Any] = (),
    tiers: t.Mapping[str, t.Any] | None = None,
    inventory: t.Iterable[str] = (),
) -> dict[str, t.Any]:
    """Return the tabs of the page, counts, and lines for a terminal.

    C(targets) is what reading every target returned. C(prices) are rows of nim_price_info, of what is deployed and of
    what could be. C(document) and C(by_provider) are the two documents that artists get. C(runs) are the entries of the
    log of runs. C(tiers) has the GPU tier of Docker hosts. C(inventory) is what stands behind C(-i) in the command.

    Raises BoardError, and MatrixError for a matrix with mistakes.
    """
    places = _targets(targets, groups, tiers or {})
    told = _Prices(prices)
    document = document or {}
    published = _published(document)
    failures = _runs.last_failures(runs)
    nodes = _nodes(places, catalog)
    says = {target.name: _says(matrix, target, groups, catalog) for target in places}
    cells = [
        [
            _cell(node, target, says[target.name], catalog, told, published, failures.get(target.name))
            for target in places
        ]
        for node in nodes
    ]
    counts = {mark: sum(cell["mark"] == mark for row in cells for cell in row) for mark in MARKS}
    unread = [target for target in places if not target.read]
    headline = _headline(counts, unread)
    block = {
        "kind": "board",
        "title": "Nodes and targets",
        "nodes": nodes,
        "targets": [
            {
                "name": target.name,
                "provider": target.provider,
                "region": target.region,
                "read": target.read,
                "problem": _unread_text(target),
            }
            for target in places
        ],
        "whole_groups": _whole_groups(places, groups),
        "cells": cells,
        "currency": currency,
        "inventory": [str(source) for source in inventory],
    }
    notes = [*(f"{target.name}: {_unread_text(target)}" for target in unread), *_noted(problems)]
    blocks = [{"kind": "notes", "title": "Notes", "items": notes}] if notes else []
    state = "problem" if counts["failed"] else "warning" if counts["pending"] or unread else "ok"
    matrix_tab = {
        **_tab(MATRIX_TAB, "Matrix", _MATRIX_ORDER, generated_at),
        "state": state if any(counts[mark] for mark in ("failed", "pending", "deployed")) or unread else "none",
        "headline": headline,
        "blocks": [*blocks, block],
    }
    endpoints_tab = _endpoints_tab(document, by_provider or {}, unread, generated_at)
    return {
        "tabs": [matrix_tab, endpoints_tab],
        "summary": {"counts": counts, "unread": [target.name for target in unread]},
        "lines": [headline, *notes, *_failed_lines(nodes, places, cells)],
    }


def _tab(name: str, title: str, order: int, generated_at: str) -> dict[str, t.Any]:
    return {
        "format": _report.FORMAT,
        "version": _report.VERSION,
        "id": name,
        "title": title,
        "order": order,
        "generated_at": generated_at,
        "time_means": "Unchanged since",
        "made_by": "board",
    }


def _noted(problems: t.Iterable[str]) -> list[str]:
    found = list(dict.fromkeys(str(problem) for problem in problems))
    rest = len(found) - _NOTED
    return [*found[:_NOTED], f"and {rest} more, which the playbook prices tells."] if rest > 0 else found


# ---- targets and nodes -----------------------------------------------------------------------------------------------


def _targets(targets: t.Any, groups: t.Mapping[str, t.Sequence[str]], tiers: t.Mapping[str, t.Any]) -> list[Target]:
    """Return the targets by provider and name."""
    if not isinstance(targets, (list, tuple)):
        raise BoardError("targets: must be a list, as nim_targets_info returns it")
    found = []
    for number, target in enumerate(targets):
        if not isinstance(target, t.Mapping) or "target" not in target or "read" not in target:
            raise BoardError(f"targets[{number}]: must be a mapping with target and read")
        name = str(target["target"])
        provider = target.get("provider") or next(
            (known for known in _gpu.PROVIDERS if name in groups.get(known, ())), "unknown"
        )
        deployments = tuple(item for item in target.get("deployments") or () if isinstance(item, t.Mapping))
        tier = tiers.get(name)
        if not tier and provider == "local":
            tier = next((item.get("gpu_tier") for item in deployments if item.get("gpu_tier")), None)
        found.append(
            Target(
                name,
                str(provider),
                target.get("region"),
                bool(target["read"]),
                bool(target.get("asleep")),
                target.get("error"),
                deployments,
                str(tier) if tier else None,
            )
        )
    order = {provider: place for place, provider in enumerate(_gpu.PROVIDERS)}
    return sorted(found, key=lambda target: (order.get(target.provider, len(order)), target.name))


def _nodes(targets: t.Sequence[Target], catalog: t.Mapping[str, Node]) -> list[str]:
    """Return the names of all nodes: those of the catalogue in its order, then what else is deployed."""
    there = {
        str(node)
        for target in targets
        for item in target.deployments
        for node in item.get("serves") or [item.get("node")]
    }
    return [*catalog, *sorted(there - set(catalog))]


def _whole_groups(targets: t.Sequence[Target], groups: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    """Return the groups of providers that hold exactly the targets shown below their name, and nothing else.

    For one of these the matrix may name the group instead of each host.
    """
    found = []
    for provider in _gpu.PROVIDERS:
        hosts = {str(host) for host in groups.get(provider, ())}
        shown = {target.name for target in targets if target.provider == provider}
        elsewhere = {str(host) for other in _gpu.PROVIDERS if other != provider for host in groups.get(other, ())}
        if hosts and hosts == shown and not hosts & elsewhere:
            found.append(provider)
    return found


def _unread_text(target: Target) -> str | None:
    if target.read:
        return None
    if target.asleep:
        return f"switched off as a whole; {target.error}" if target.error else "switched off as a whole"
    return f"could not be read, so what runs on it is not known: {target.error or 'no reason was given'}"


# ---- what the matrix says, and what could be chosen ------------------------------------------------------------------


def _says(
    matrix: t.Any, target: Target, groups: t.Mapping[str, t.Sequence[str]], catalog: t.Mapping[str, Node]
) -> dict[str, dict[str, t.Any]]:
    """Return node -> its entry for the target, as nim_wanted has it."""
    return {item["node"]: item for item in _matrix.select(matrix, target.name, groups, catalog).wanted}


def _entry(item: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the options that the matrix gives, without those that are as they would be anyway."""
    return {
        key: value
        for key, value in item.items()
        if key not in ("node", "state") and (key not in _DEFAULTS or value != _DEFAULTS[key])
    }


def _choice(
    node: str,
    target: Target,
    catalog: t.Mapping[str, Node],
    said: t.Mapping[str, t.Any] | None,
    there: t.Mapping[str, t.Any] | None,
) -> _Choice:
    """Return how the node could be chosen: as the matrix has it, as it is there, or with the default tier."""
    if node not in catalog:
        return _Choice({}, None, "The catalogue has no such node.")
    if said is not None and said["state"] != "absent":
        return _judged(node, target, catalog, _entry(said))
    if there is not None and there.get("node", node) != node:
        return _Choice({}, there.get("gpu_tier"), f"{there['node']} serves it with its variants; choose that.")
    if there is not None:
        entry: dict[str, t.Any] = {}
        if there.get("gpu_tier") and there["gpu_tier"] != HOSTED_TIER and target.provider != "local":
            entry["gpu_tier"] = there["gpu_tier"]
        if (there.get("replicas") or 0) > 1:
            entry["replicas"] = there["replicas"]
        return _judged(node, target, catalog, entry)
    return _new_choice(node, target, catalog)


def _new_choice(node: str, target: Target, catalog: t.Mapping[str, Node]) -> _Choice:
    """Return how a node could be chosen that is neither wanted nor there."""
    if target.provider != "nvidia" or catalog[node].hosted_url or catalog[node].hosted_only:
        return _judged(node, target, catalog, {})
    # What NVIDIA does not host can be a function of the studio's own, and that has a tier.
    try:
        return _judged(node, target, catalog, {"gpu_tier": _fit.default_tier(catalog[node], target.provider)})
    except _fit.FitError as error:
        return _Choice({}, None, str(error))


def _judged(node: str, target: Target, catalog: t.Mapping[str, Node], entry: dict[str, t.Any]) -> _Choice:
    """Ask what a deployment would ask, before anything is created."""
    tier = entry.get("gpu_tier")
    if target.provider not in _gpu.PROVIDERS:
        return _Choice(entry, tier, "The provider of the target is not known.")
    option = {**_DEFAULTS, **entry, "node": node, "state": "present"}
    if target.provider == "local" and not tier:
        if target.tier is None:
            # The host says which GPU it has when it is asked to deploy.
            refused = f"{node} cannot be deployed. {catalog[node].notes}" if catalog[node].hosted_only else None
            return _Choice(entry, None, refused)
        option["gpu_tier"] = target.tier
    try:
        (wanted,), _selections = resolve_all([option], target.provider, catalog)
    except DeploymentsError as error:
        text = str(error)
        return _Choice(entry, tier, text.partition("): ")[2] or text)
    return _Choice(entry, wanted.gpu_tier, None, wanted.warnings)


# ---- cells -----------------------------------------------------------------------------------------------------------


def _there(node: str, target: Target, tier: str | None) -> list[t.Mapping[str, t.Any]]:
    """Return the deployments that serve a node: its own, of the tier that is wanted, first; then by what they do."""
    found = [item for item in target.deployments if node in (item.get("serves") or [item.get("node")])]
    order = {state: place for place, state in enumerate(_WORST_FIRST)}
    return sorted(
        found,
        key=lambda item: (
            item.get("node") != node,
            tier is not None and item.get("gpu_tier") != tier,
            order.get(str(item.get("state")), 1),
            str(item.get("name")),
        ),
    )


def _cell(
    node: str,
    target: Target,
    says: t.Mapping[str, t.Mapping[str, t.Any]],
    catalog: t.Mapping[str, Node],
    prices: _Prices,
    published: t.Mapping[tuple[str, str], t.Mapping[str, t.Any]],
    failure: _runs.Failure | None,
) -> dict[str, t.Any]:
    """Return all about one node on one target."""
    said = says.get(node)
    wanted = said is not None and said["state"] != "absent"
    asked = said.get("gpu_tier") if said is not None and wanted else None
    there = _there(node, target, asked)
    first = there[0] if there else None
    stale = None if target.read else published.get((target.name, node))
    choice = _choice(node, target, catalog, said, first or stale)
    mark, state, reason = _mark(node, target, said, first, stale, choice, failure)
    tier = (first or stale or {}).get("gpu_tier") or choice.tier
    shown = first or stale or {}
    exists = first is not None or stale is not None
    others = [f"Also there: {item.get('gpu_tier')}, {item.get('state')}." for item in there[1:]]
    return {
        "mark": mark,
        "state": state,
        "reason": " ".join([*([reason] if reason else []), *others]) or None,
        "tier": tier,
        "endpoint": shown.get("endpoint") or shown.get("url"),
        "since": (shown.get("running_since") if shown.get("state") == "running" else None) or shown.get("deployed_at"),
        "price": prices.of(target, node, tier),
        "entry": dict(choice.entry),
        "refused": choice.refused,
        "warnings": list(choice.warnings),
        "ticked": (wanted or exists) and choice.refused is None,
        "matrix": None if said is None else ("present" if wanted else "absent"),
        "exists": exists,
        "stale": stale is not None,
    }


def _mark(
    node: str,
    target: Target,
    said: t.Mapping[str, t.Any] | None,
    there: t.Mapping[str, t.Any] | None,
    stale: t.Mapping[str, t.Any] | None,
    choice: _Choice,
    failure: _runs.Failure | None,
) -> tuple[str, str, str | None]:
    """Return the mark of a cell, what it does, and why it is so."""
    if there is not None:
        return _mark_of(there, said)
    if stale is not None:
        when = "the target is switched off as a whole" if target.asleep else "the target could not be read"
        return "pending", "not known", f"As it was published; {when}."
    if said is None or said["state"] == "absent":
        return "none", "" if target.read else "not known", None
    if choice.refused is not None:
        return "failed", "refused", choice.refused
    if not target.read:
        when = "is switched off as a whole" if target.asleep else "could not be read"
        return "pending", "not known", f"The target {when}."
    told = failure.of(node) if failure is not None else None
    return ("failed", "not there", told) if told else ("pending", "not there yet", "The next deploy makes it.")


def _mark_of(there: t.Mapping[str, t.Any], said: t.Mapping[str, t.Any] | None) -> tuple[str, str, str | None]:
    """Return the mark of what exists."""
    state = str(there.get("state") or "unknown")
    copies = there.get("replicas") or 0
    told = f"{state} {there.get('running') or 0}/{copies}" if state != "stopped" and copies > 1 else state
    reason = there.get("reason")
    if state == "failed":
        return "failed", told, str(reason or "The target does not say why.")
    if state in _CHANGING or state == "unknown":
        return "pending", told, str(reason) if reason else None
    if said is not None and said["state"] == "absent":
        return "pending", told, "The matrix says absent: the next deploy removes it."
    tier = said.get("gpu_tier") if said is not None else None
    if tier and there.get("gpu_tier") not in (tier, None):
        return "pending", told, f"The matrix wants {tier}, and the next deploy makes that beside it."
    return "deployed", told, str(reason) if reason else None


def _published(document: t.Mapping[str, t.Any]) -> dict[tuple[str, str], t.Mapping[str, t.Any]]:
    """Return what artists were told and could not be read now, by target and node."""
    found = {}
    for node, providers in (document.get("nim_endpoints") or {}).items():
        for entries in providers.values():
            for entry in entries:
                if entry.get("stale"):
                    found[str(entry.get("target")), str(node)] = entry
    return found


def _headline(counts: t.Mapping[str, int], unread: t.Sequence[Target]) -> str:
    parts = [f"{counts[mark]} {MARKS[mark].lower()}" for mark in ("deployed", "pending", "failed") if counts[mark]]
    text = f"NIMs: {', '.join(parts)}." if parts else "No NIM is deployed or wanted."
    names = [target.name for target in unread if not target.asleep]
    asleep = [target.name for target in unread if target.asleep]
    if names:
        text += f" Not known, because it could not be read: {', '.join(names)}."
    if asleep:
        text += f" Switched off as a whole: {', '.join(asleep)}."
    return text


def _failed_lines(
    nodes: t.Sequence[str], targets: t.Sequence[Target], cells: t.Sequence[t.Sequence[t.Mapping[str, t.Any]]]
) -> list[str]:
    return [
        f"{node} on {target.name} failed: {' '.join(str(cell['reason']).split())}"
        for node, row in zip(nodes, cells)
        for target, cell in zip(targets, row)
        if cell["mark"] == "failed"
    ]


# ---- endpoints -------------------------------------------------------------------------------------------------------


def _endpoints_tab(
    document: t.Mapping[str, t.Any],
    by_provider: t.Mapping[str, t.Any],
    unread: t.Sequence[Target],
    generated_at: str,
) -> dict[str, t.Any]:
    groups: list[dict[str, t.Any]] = []
    for node, providers in (document.get("nim_endpoints") or {}).items():
        entries = [{**entry, "provider": provider} for provider, found in providers.items() for entry in found]
        groups.append({"node": str(node), "endpoints": entries})
    count = sum(len(group["endpoints"]) for group in groups)
    stale = sum(bool(entry.get("stale")) for group in groups for entry in group["endpoints"])
    headline = f"{count} endpoint{'' if count == 1 else 's'} of {len(groups)} node{'' if len(groups) == 1 else 's'}."
    if stale:
        headline += f" {stale} of them stale: the target could not be read, and this was published before."
    blocks: list[dict[str, t.Any]] = []
    if unread:
        items = [f"{target.name}: {_unread_text(target)}" for target in unread]
        blocks.append({"kind": "notes", "title": "Notes", "items": items})
    downloads = [
        {"name": "budgetguard_artists_config.json", "title": "Artists' JSON", "content": dict(document)},
        {
            "name": "budgetguard_provider_endpoints.json",
            "title": "JSON by provider",
            "content": dict(by_provider),
        },
    ]
    return {
        **_tab(ENDPOINTS_TAB, "Endpoints", _ENDPOINTS_ORDER, generated_at),
        "state": "warning" if stale or unread else ("ok" if count else "none"),
        "headline": headline if count else "No endpoint is there to be told.",
        "blocks": [*blocks, {"kind": "endpoints", "groups": groups, "downloads": downloads}],
    }


__all__ = ("ENDPOINTS_TAB", "MARKS", "MATRIX_TAB", "BoardError", "board")
