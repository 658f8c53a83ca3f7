# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The status table: what runs where, for a tired reader. Pure.

What needs somebody's attention stands on top, its reason on the line below it, and the last line sums up.
"""

from __future__ import annotations

import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _lines

STATES = ("failed", "unreadable", "unknown", "starting", "stopping", "running", "stopped", "asleep")
"""The states of a row, the one that needs attention most first.

A target that was not read is unreadable, or asleep if the whole of it was switched off.
"""

_OF_TARGETS: t.Mapping[str, tuple[str, str]] = {
    "unreadable": ("could not be read", "could not be read"),
    "asleep": ("is switched off as a whole", "are switched off as a whole"),
}
"""States of whole targets, and what is said about one and about several of them."""

_HEADINGS: t.Mapping[str, str] = {
    "node": "NODE",
    "target": "TARGET",
    "tier": "TIER",
    "state": "STATE",
    "endpoint": "ENDPOINT",
}


class StatusError(ValueError):
    """What was given is not the result of reading targets."""


def rows(targets: t.Sequence[t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Return one mapping per deployment and per target that could not be read.

    The keys are node, target, tier, state, running, replicas, endpoint and reason. A deployment that
    serves several nodes is one row. Rows are sorted by state, then target, then node.
    Raises StatusError.
    """
    if not isinstance(targets, (list, tuple)):
        raise StatusError("must be a list of targets, as the nim_*_info modules return them")
    found: list[dict[str, t.Any]] = []
    for number, target in enumerate(targets):
        if not isinstance(target, t.Mapping) or "target" not in target or "read" not in target:
            raise StatusError(f"targets[{number}]: must be a mapping with target and read")
        if target["read"]:
            found.extend(_deployment_row(target, deployment) for deployment in target.get("deployments") or [])
        else:
            found.append(_unreadable_row(target))
    return sorted(found, key=_order)


def lines(targets: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    """Return the same as lines of text with columns of equal width, without trailing blanks."""
    table = rows(targets)
    heading, *body = _lines.table(tuple(_HEADINGS.values()), [_cells(row) for row in table])
    text = [heading]
    for row, line in zip(table, body):
        text.append(line)
        if row["reason"]:
            text.append(f"    why: {_lines.one_line(row['reason'])}")
    text.append(_summary(table))
    return text


def _deployment_row(target: t.Mapping[str, t.Any], deployment: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    state = deployment.get("state")
    return {
        "node": " + ".join(deployment.get("serves") or [str(deployment.get("node"))]),
        "target": target["target"],
        "tier": deployment.get("gpu_tier"),
        "state": state if state in STATES else "unknown",
        "running": deployment.get("running"),
        "replicas": deployment.get("replicas"),
        "endpoint": deployment.get("endpoint"),
        "reason": deployment.get("reason"),
    }


def _unreadable_row(target: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {
        "node": None,
        "target": target["target"],
        "tier": None,
        "state": "asleep" if target.get("asleep") else "unreadable",
        "running": None,
        "replicas": None,
        "endpoint": None,
        "reason": target.get("error") or "no reason was given",
    }


def _order(row: t.Mapping[str, t.Any]) -> tuple[int, str, str, str]:
    return (STATES.index(row["state"]), str(row["target"]), str(row["node"] or "").casefold(), str(row["tier"]))


def _cells(row: t.Mapping[str, t.Any]) -> tuple[str, ...]:
    state = str(row["state"])
    if state in ("running", "starting", "failed") and row["replicas"]:
        # 1/1 says nothing; 1/2 does.
        running = row["running"] or 0
        state += "" if running == row["replicas"] == 1 else f" {running}/{row['replicas']}"
    values = {key: row.get(key) for key in _HEADINGS}
    values["state"] = state
    return tuple(str(value) if value else "-" for value in values.values())


def _summary(table: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    nims = [row for row in table if row["state"] not in _OF_TARGETS]
    counts = [(state, sum(1 for row in nims if row["state"] == state)) for state in STATES]
    parts = [f"{count} {state}" for state, count in counts if count]
    text = _lines.counted(len(nims), "NIM")
    text = f"{text}: {', '.join(parts)}." if parts else f"{text}."
    for state, verb in _OF_TARGETS.items():
        count = sum(1 for row in table if row["state"] == state)
        if count:
            text += f" {_lines.counted(count, 'target')} {verb[count > 1]}."
    return text


__all__ = ("STATES", "StatusError", "lines", "rows")
