# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The log of the last runs: what an entry is, and the tab of all of them. Pure.

An entry is a mapping that a run leaves when it ends. It says which playbook it was, when it ended, and for each target
whether something was changed or failed, and why. It holds no variable of the run, so nothing secret.
"""

from __future__ import annotations

import dataclasses
import json
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _report

FORMAT, VERSION = "budgetguard-run", 1
TAB, ORDER = "runs", 60

KEPT = 50
"""How many runs are kept."""

_LONGEST = 600
"""How many letters of a reason are kept."""

_MAKING = ("deploy", "site")
"""The playbooks after which what the matrix says should be there."""

Entry = t.Mapping[str, t.Any]


class RunError(ValueError):
    """What should be noted of a run has the wrong form. The text says where."""


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why a target is not as the last deploy wanted it: of some nodes, and of the target as a whole."""

    ended_at: str
    reason: str | None
    nims: t.Mapping[str, str]

    def of(self, node: str) -> str | None:
        """Return why a node is not there, or None."""
        told = self.nims.get(node) or (None if self.nims else self.reason)
        return f"The deploy of {_clock(self.ended_at)} failed: {told}" if told else None


def entry(
    playbook: str,
    ended_at: str,
    targets: t.Any,
    nodes: t.Iterable[t.Any] = (),
    job: str = "",
) -> dict[str, t.Any]:
    """Return an entry.

    C(targets) has of each target a mapping of C(changed), C(reason) and C(deployments), an empty one where it was not
    reached. Raises RunError.
    """
    if not playbook:
        raise RunError("playbook: must be the name of a playbook")
    if not isinstance(targets, t.Mapping):
        raise RunError("targets: must be a mapping of names to mappings")
    return {
        "format": FORMAT,
        "version": VERSION,
        "playbook": playbook,
        "ended_at": ended_at,
        "job": job or None,
        "nodes": [str(node) for node in nodes],
        "targets": [_target(str(name), told) for name, told in targets.items()],
    }


def _target(name: str, told: t.Any) -> dict[str, t.Any]:
    if not isinstance(told, t.Mapping):
        raise RunError(f"targets.{name}: must be a mapping")
    failed = [
        {"node": str(item.get("node")), "gpu_tier": item.get("gpu_tier"), "reason": _short(item["error"])}
        for item in told.get("deployments") or ()
        if isinstance(item, t.Mapping) and item.get("error")
    ]
    reason = told.get("reason") or (None if told else "It was not reached, or the run ended before.")
    return {
        "target": name,
        "changed": bool(told.get("changed")),
        "reason": _short(reason) if reason else None,
        "nims": failed,
    }


def _short(text: t.Any) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST].rstrip()} ..."


def read(text: t.Any) -> Entry | None:
    """Return an entry from its file, or None for anything that is none."""
    if isinstance(text, (str, bytes)):
        try:
            text = json.loads(text)
        except ValueError:
            return None
    if not isinstance(text, t.Mapping) or text.get("format") != FORMAT or text.get("version") != VERSION:
        return None
    if not isinstance(text.get("ended_at"), str) or not isinstance(text.get("targets"), (list, tuple)):
        return None
    return text


def last_failures(runs: t.Iterable[t.Any]) -> dict[str, Failure]:
    """Return why each target is not as its last deploy wanted it. One whose last deploy went well is not there."""
    entries = [found for found in map(read, runs) if found is not None and found.get("playbook") in _MAKING]
    last: dict[str, Failure] = {}
    for found in sorted(entries, key=lambda item: str(item["ended_at"])):
        for target in found["targets"]:
            nims = {str(item.get("node")): str(item.get("reason")) for item in target.get("nims") or ()}
            last[str(target.get("target"))] = Failure(found["ended_at"], target.get("reason"), nims)
    return {name: failure for name, failure in last.items() if failure.reason or failure.nims}


_COLUMNS = (
    {"key": "state", "title": "State", "type": "state"},
    {"key": "ended", "title": "Ended", "header": True},
    {"key": "playbook", "title": "Playbook"},
    {"key": "nodes", "title": "Nodes"},
    {"key": "targets", "title": "Targets", "type": "number"},
    {"key": "changed", "title": "Changed"},
    {"key": "findings", "title": "What failed", "type": "findings"},
    {"key": "job", "title": "Job"},
)


def tab(runs: t.Iterable[t.Any]) -> dict[str, t.Any]:
    """Return the tab of these runs, the last one first."""
    entries = sorted(
        (found for found in map(read, runs) if found is not None), key=lambda item: str(item["ended_at"]), reverse=True
    )
    rows = [_row(found) for found in entries]
    last = entries[0] if entries else None
    failed = bool(rows) and rows[0]["state"] == "problem"
    headline = "No run has been noted."
    if last is not None:
        verdict = "failed in part" if failed else "went well"
        headline = f"The last run, {last.get('playbook')} of {_clock(last['ended_at'])}, {verdict}."
    table = {"kind": "table", "title": "The last runs", "columns": list(_COLUMNS), "rows": rows}
    return {
        "format": _report.FORMAT,
        "version": _report.VERSION,
        "id": TAB,
        "title": "Runs",
        "order": ORDER,
        "generated_at": last["ended_at"] if last is not None else None,
        "state": "none" if last is None else ("problem" if failed else "ok"),
        "headline": headline,
        "blocks": [table],
    }


def _row(found: Entry) -> dict[str, t.Any]:
    findings = []
    for target in found["targets"]:
        nims = target.get("nims") or ()
        findings += [
            {"state": "problem", "text": f"{item.get('node')} on {target.get('target')}: {item.get('reason')}"}
            for item in nims
        ]
        if target.get("reason") and not nims:
            findings.append({"state": "problem", "text": f"{target.get('target')}: {target['reason']}"})
    state = "problem" if findings else "ok"
    changed = [str(target.get("target")) for target in found["targets"] if target.get("changed")]
    return {
        "state": state,
        "cells": {
            "state": state,
            "ended": {"text": _clock(found["ended_at"]), "sort": found["ended_at"]},
            "playbook": found.get("playbook"),
            "nodes": list(found.get("nodes") or ()) or "all of the matrix",
            "targets": len(found["targets"]),
            "changed": changed or "nothing",
            "findings": findings,
            "job": found.get("job"),
        },
    }


def _clock(moment: t.Any) -> str:
    """Return a time in UTC as people read it."""
    return f"{str(moment)[:16].replace('T', ' ')} UTC"


__all__ = ("FORMAT", "KEPT", "ORDER", "TAB", "VERSION", "Failure", "RunError", "entry", "last_failures", "read", "tab")
