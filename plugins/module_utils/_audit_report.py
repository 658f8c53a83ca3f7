# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""An audit of all workstations: rows, what counts, what has changed since the last one, and its forms. Pure."""

from __future__ import annotations

import csv
import datetime
import io
import json
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _lines, _report
from ansible_collections.budgetguard.techops.plugins.module_utils._audit import (
    DIFFERENT,
    KINDS,
    LEVELS,
    PROBLEM,
    SAME,
    UNKNOWN,
    WARNING,
    AuditError,
    Limits,
    parse_time,
    row_of,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._usage_report import plain_cell

FORMAT, VERSION = "budgetguard-audit", 1

Row = dict[str, t.Any]

_ORDER = (PROBLEM, WARNING, "ok")
_NAMED = 6
"""How many workstations a sentence names."""

HIDES: t.Mapping[str, frozenset[str]] = {
    "unreachable": frozenset(KINDS),
    "not_looked_at": frozenset(KINDS) - {"unreachable"},
    "no_comfyui": frozenset(kind for kind in KINDS if kind.startswith(("config", "key", "credential", "endpoints"))),
    "config_missing": frozenset(kind for kind in KINDS if kind.startswith(("config", "credential", "endpoints"))),
    "config_broken": frozenset(kind for kind in KINDS if kind.startswith(("config", "credential", "endpoints"))),
    "config_refused": frozenset(kind for kind in KINDS if kind.startswith(("config", "credential", "endpoints"))),
    "config_wrong_key": frozenset(kind for kind in KINDS if kind.startswith("credential")),
    "probe_silent": frozenset({"node_without_container", "docker_silent", "gpu_problem", "disk_low", "clock_off"}),
    "docker_silent": frozenset({"node_without_container"}),
}
"""What cannot be seen while a finding is there, and so has not ended."""


def audit(
    looks: t.Mapping[str, t.Any],
    *,
    now: datetime.datetime,
    limits: Limits,
    fail_on: t.Iterable[str] = (PROBLEM,),
    ignore: t.Iterable[str] = (),
    previous: t.Any = None,
    refused: t.Mapping[str, t.Mapping[str, str]] | None = None,
    notes: t.Iterable[str] = (),
) -> dict[str, t.Any]:
    """Return the audit in all its forms.

    C(looks) are the results of C(workstation_info) by workstation. C(fail_on) are levels and kinds of findings that
    count; those in C(ignore) never do. C(previous) is the last audit as text or data; anything that is none is told in
    its notes, after which come those in C(notes). C(refused) is what clouds said to credentials, by workstation.

    Raises AuditError.
    """
    counting = _checked_kinds("fail_on", fail_on, (*LEVELS, *KINDS))
    ignored = _checked_kinds("ignore", ignore, tuple(KINDS))
    if not isinstance(looks, t.Mapping):
        raise AuditError("looks: must be a mapping of workstations to results of workstation_info")
    rows = [
        _without_ignored(row_of(str(name), look, now, limits, (refused or {}).get(str(name), {})), ignored)
        for name, look in looks.items()
    ]
    rows.sort(key=_worst_first)
    for row in rows:
        row["counts"] = any({finding["id"], finding["level"]} & counting for finding in _active(row))
    before, told = _read_previous(previous)
    moment = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    changes = [] if before is None else _changes(before, rows, now)
    changes = [change for change in changes if change["finding"] not in ignored]
    counted = [row["workstation"] for row in rows if row["counts"]]
    document = {
        "format": FORMAT,
        "version": VERSION,
        "generated_at": moment,
        "previous_at": None if before is None else before.get("generated_at"),
        "ok": not counted,
        "counts": {state: sum(row["state"] == state for row in rows) for state in _ORDER},
        "findings": _per_kind(rows),
        "somebody": counted,
        "changes": changes,
        "notes": [*told, *(str(note) for note in notes)],
        "rows": rows,
    }
    return {
        "document": document,
        "lines": _table(document),
        "csv": _csv(rows),
        "tab": _tab(document),
        "summary": {name: document[name] for name in ("ok", "counts", "findings", "somebody", "changes", "notes")},
        "verdict": _verdict(document),
    }


def _checked_kinds(option: str, given: t.Iterable[str], known: t.Sequence[str]) -> set[str]:
    names = {str(name).strip() for name in (given.split(",") if isinstance(given, str) else given)} - {""}
    wrong = sorted(names - set(known))
    if wrong:
        raise AuditError(f"{option}: {wrong[0]!r} is none of {', '.join(known)}")
    return names


def _without_ignored(row: Row, ignored: t.AbstractSet[str]) -> Row:
    """Keep ignored findings in the row, marked, and out of its state."""
    for finding in row["findings"]:
        finding["ignored"] = finding["id"] in ignored
    levels = {finding["level"] for finding in _active(row)}
    row["state"] = next((level for level in (PROBLEM, WARNING) if level in levels), "ok")
    return row


def _active(row: Row) -> list[Row]:
    return [finding for finding in row["findings"] if not finding["ignored"]]


def _worst_first(row: Row) -> tuple[t.Any, ...]:
    kinds = list(KINDS)
    first = min((kinds.index(finding["id"]) for finding in _active(row)), default=len(kinds))
    # Those that only are off stand below those that are on and wrong: the latter can be repaired from here.
    return _ORDER.index(row["state"]), not row["reachable"], first, _natural(row["workstation"])


def _natural(name: str) -> list[tuple[int, t.Any]]:
    """Sort ws-9 before ws-10."""
    parts: list[str] = [""]
    for letter in name.casefold():
        if parts[-1][-1:].isdigit() != letter.isdigit():
            parts.append("")
        parts[-1] += letter
    return [(1, int(part)) if part.isdecimal() else (0, part) for part in parts if part]


def _per_kind(rows: t.Sequence[Row]) -> dict[str, int]:
    """Count the workstations with each kind of finding."""
    found = [{finding["id"] for finding in _active(row)} for row in rows]
    counts = {kind: sum(kind in kinds for kinds in found) for kind in KINDS}
    return {kind: count for kind, count in counts.items() if count}


# ---- what has changed ------------------------------------------------------------------------------------------------


def _read_previous(previous: t.Any) -> tuple[t.Mapping[str, t.Any] | None, list[str]]:
    """Return the last audit, or None and why there is none."""
    if previous is None or previous == "":
        return None, []
    if isinstance(previous, (str, bytes)):
        try:
            previous = json.loads(previous)
        except ValueError:
            return None, ["The last audit is not compared: its file is not JSON."]
    if not isinstance(previous, t.Mapping) or previous.get("format") != FORMAT:
        return None, ["The last audit is not compared: its file is no audit."]
    rows = previous.get("rows")
    if previous.get("version") != VERSION or not isinstance(rows, (list, tuple)):
        return None, [f"The last audit is not compared: its version is {previous.get('version')!r}, not {VERSION}."]
    return previous, []


def _changes(before: t.Mapping[str, t.Any], rows: t.Sequence[Row], now: datetime.datetime) -> list[dict[str, t.Any]]:
    """Return what began and what ended since the last audit, each with a sentence. Only what is in both is compared."""
    old = {str(row.get("workstation")): _kinds_of(row) for row in before["rows"] if isinstance(row, t.Mapping)}
    new = {row["workstation"]: _kinds_of(row) for row in rows}
    since = _since(parse_time(before.get("generated_at")), now)
    changes = []
    for kind, about in KINDS.items():
        began, ended = [], []
        for name in new.keys() & old.keys():
            if kind in new[name] - old[name] and not _hidden(kind, old[name]):
                began.append(name)
            if kind in old[name] - new[name] and not _hidden(kind, new[name]):
                ended.append(name)
        if about.level != "note":
            changes += _change("began", kind, about.began, began, since) + _change(
                "ended", kind, about.ended, ended, since
            )
    changes += _change("joined", None, ("is new", "are new"), sorted(new.keys() - old.keys()), since)
    changes += _change(
        "left", None, ("was not audited now", "were not audited now"), sorted(old.keys() - new.keys()), since
    )
    order = ("began", "ended", "joined", "left")
    return sorted(changes, key=lambda change: order.index(change["change"]))


def _kinds_of(row: t.Mapping[str, t.Any]) -> set[str]:
    findings = row.get("findings")
    return {str(one.get("id")) for one in findings or () if isinstance(one, t.Mapping)}


def _hidden(kind: str, kinds: t.AbstractSet[str]) -> bool:
    """Tell if a finding of that kind could not have been seen beside those of kinds."""
    return any(kind in HIDES.get(other, ()) for other in kinds if other != kind)


def _change(
    change: str, kind: str | None, phrases: tuple[str, str], names: t.Iterable[str], since: str
) -> list[dict[str, t.Any]]:
    found = sorted(names, key=_natural)
    if not found:
        return []
    many = len(found) > 1
    who = f"{len(found)} workstations" if many else "1 workstation"
    text = f"{who} {phrases[1] if many else phrases[0]} since {since}: {_named(found)}"
    return [{"change": change, "finding": kind, "workstations": found, "text": text}]


def _named(names: t.Sequence[str]) -> str:
    rest = len(names) - _NAMED
    shown = ", ".join(names[:_NAMED])
    return f"{shown} and {rest} more" if rest > 0 else shown


def _since(then: datetime.datetime | None, now: datetime.datetime) -> str:
    """Return when the last audit was, as people say it."""
    if then is None:
        return "the last audit"
    clock = then.astimezone(now.tzinfo)
    if (now.date() - clock.date()).days == 0:
        return clock.strftime("%H:%M UTC")
    if (now.date() - clock.date()).days < 7:
        return clock.strftime("%A %H:%M UTC")
    return clock.strftime("%Y-%m-%d")


# ---- for people ------------------------------------------------------------------------------------------------------

_CONFIG = {
    "ok": "ok",
    "no_key": "no key",
    "previous_key": "previous key",
    "wrong_key": "wrong key",
    "not_owner": "not read",
    "no_comfyui": "no ComfyUI",
    "unchecked": "not opened",
}


def _config_cell(row: Row) -> str:
    status = row["config"].get("status")
    return _CONFIG.get(status, str(status)) if status else "-"


def _credentials_cell(row: Row) -> str:
    states = {
        provider: told["state"]
        for provider, told in row["credentials"].items()
        if told["state"] not in ("absent", UNKNOWN)
    }
    if not states:
        return "-"
    wrong = [f"{provider} {state}" for provider, state in states.items() if state != SAME]
    return ", ".join(wrong) if wrong else f"{len(states)} ok"


def _endpoints_cell(row: Row) -> str:
    told = row["endpoints"]
    if told["state"] != DIFFERENT:
        counts = row["config"].get("endpoint_counts") or {}
        return f"{counts.get('endpoints', 0)} ok" if told["state"] == SAME else "-"
    parts = ((told["missing"], "missing"), (told["gone"], "gone"), (told["changed"], "changed"))
    return ", ".join(f"{len(names)} {what}" for names, what in parts if names)


def _disk_cell(row: Row) -> str:
    return f"{row['disk']['free_bytes'] / 2**30:.0f} GiB" if row["disk"] else "-"


_HEADINGS = ("WORKSTATION", "STATE", "CONFIG", "CREDENTIALS", "ENDPOINTS", "DISK")


def _table(document: t.Mapping[str, t.Any]) -> list[str]:
    """Return the table for a terminal: only what needs a look, the worst first, each with why and what to do."""
    rows = [row for row in document["rows"] if _active(row)]
    cells = [
        (
            row["workstation"],
            row["state"] if row["reachable"] else "unreachable",
            _config_cell(row),
            _credentials_cell(row),
            _endpoints_cell(row),
            _disk_cell(row),
        )
        for row in rows
    ]
    heading, *body = _lines.table(_HEADINGS, cells)
    text = [heading] if rows else []
    for row, line in zip(rows, body):
        text.append(line)
        for finding in _active(row):
            text += [f"    {finding['level']}: {_lines.one_line(finding['text'])}", f"        {finding['cure']}"]
    fine = len(document["rows"]) - len(rows)
    if fine:
        text.append(f"{_lines.counted(fine, 'workstation')} {'is' if fine == 1 else 'are'} fine and not listed.")
    return [*text, *(change["text"] for change in document["changes"]), *document["notes"], _verdict(document)]


def _verdict(document: t.Mapping[str, t.Any]) -> str:
    somebody, everything = document["somebody"], len(document["rows"])
    told = ", ".join(f"{count} {state}" for state, count in document["counts"].items() if count)
    if not everything:
        return "No workstation was audited."
    all_of_them = _lines.counted(everything, "workstation")
    if not somebody:
        return f"Nobody is needed: {all_of_them}, {told}."
    return f"{len(somebody)} of {all_of_them} {'needs' if len(somebody) == 1 else 'need'} somebody: {_named(somebody)}."


COLUMNS = (
    "workstation",
    "state",
    "reachable",
    "findings",
    "what",
    "config",
    "mode",
    "config_age_days",
    "fingerprint",
    "key_file",
    "credentials",
    "oldest_credential_days",
    "endpoints",
    "nodes",
    "comfyui_version",
    "comfyui_commit",
    "companion",
    "companion_version",
    "last_use",
    "requests_today",
    "disk_free_gib",
    "gpus",
    "driver",
    "system",
    "python",
    "clock_seconds",
)
"""The columns of the CSV file."""


def _csv(rows: t.Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        flat = _flat(row)
        writer.writerow({name: plain_cell(value) if isinstance(value, str) else value for name, value in flat.items()})
    return text.getvalue()


def _flat(row: Row) -> dict[str, t.Any]:
    config, disk, companion = row["config"], row["disk"], row["companion"]
    ages = [told["age_days"] for told in row["credentials"].values() if told.get("age_days") is not None]
    return {
        "workstation": row["workstation"],
        "state": row["state"],
        "reachable": "yes" if row["reachable"] else "no",
        "findings": " ".join(finding["id"] for finding in _active(row)),
        "what": " ".join(_lines.one_line(finding["text"]) for finding in _active(row)),
        "config": config.get("status"),
        "mode": config.get("mode"),
        "config_age_days": row["config_age_days"],
        "fingerprint": config.get("fingerprint"),
        "key_file": config.get("key_file"),
        "credentials": " ".join(f"{provider}:{told['state']}" for provider, told in row["credentials"].items()),
        "oldest_credential_days": max(ages, default=None),
        "endpoints": row["endpoints"]["state"],
        "nodes": "; ".join(f"{node['node']}: {node['state'] or 'unknown'}" for node in row["nodes"] or ()),
        "comfyui_version": (row["comfyui"] or {}).get("version"),
        "comfyui_commit": (row["comfyui"] or {}).get("commit"),
        "companion": _installed(companion),
        "companion_version": (companion or {}).get("version"),
        "last_use": (companion or {}).get("last_use"),
        "requests_today": (companion or {}).get("requests_today"),
        "disk_free_gib": round(disk["free_bytes"] / 2**30, 1) if disk else None,
        "gpus": "; ".join(gpu["name"] for gpu in row["gpus"] or ()),
        "driver": next((gpu["driver"] for gpu in row["gpus"] or ()), None),
        "system": row["system"],
        "python": row["python"],
        "clock_seconds": row["clock_seconds"],
    }


def _installed(companion: t.Mapping[str, t.Any] | None) -> str:
    return "unknown" if companion is None else ("yes" if companion.get("installed") else "no")


def _use(companion: t.Mapping[str, t.Any]) -> list[str]:
    """Say how the companion was used; nothing where it does not tell."""
    if companion.get("requests_today") is None:
        return []
    last = companion.get("last_use")
    return [f"{companion['requests_today']} requests today", *([f"last use {last}"] if last else [])]


# ---- the tab of the report page --------------------------------------------------------------------------------------

TAB, ORDER = "audit", 30

_TABLE = (
    {"key": "state", "title": "State", "type": "state"},
    {"key": "workstation", "title": "Workstation", "header": True},
    {"key": "findings", "title": "What is wrong, and the cure", "type": "findings"},
    {"key": "config", "title": "Config"},
    {"key": "age", "title": "Config age", "type": "number"},
    {"key": "credentials", "title": "Credentials"},
    {"key": "endpoints", "title": "Endpoints"},
    {"key": "nodes", "title": "Local NIMs"},
    {"key": "disk", "title": "Free disk", "type": "number"},
    {"key": "gpu", "title": "GPU, driver"},
    {"key": "comfyui", "title": "ComfyUI"},
    {"key": "companion", "title": "Companion"},
)


def _tab(document: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the tab of the report page."""
    counts, rows = document["counts"], document["rows"]
    unreachable = sum(not row["reachable"] for row in rows)
    kinds = document["findings"]
    tiles = [
        {"label": "Workstations", "value": len(rows)},
        _tile("Problem", counts[PROBLEM], "problem"),
        _tile("Warning", counts[WARNING], "warning"),
        {"label": "OK", "value": counts["ok"], "state": "ok"},
        _tile("Unreachable", unreachable, "problem" if kinds.get("unreachable") else "warning"),
        _tile("Without config", kinds.get("config_missing", 0), "problem"),
        _tile("Other endpoints", kinds.get("endpoints_different", 0), "problem"),
        _tile("Due for rotation", kinds.get("credential_due", 0), "warning"),
    ]
    blocks: list[dict[str, t.Any]] = [{"kind": "tiles", "items": tiles}]
    if document["changes"]:
        items = [change["text"] for change in document["changes"]]
        blocks.append({"kind": "notes", "title": "Changes since the last audit", "items": items})
    if document["notes"]:
        blocks.append({"kind": "notes", "title": "Notes", "items": document["notes"]})
    table = {
        "kind": "table",
        "title": "All workstations",
        "columns": list(_TABLE),
        "rows": [_table_row(row) for row in rows],
    }
    return {
        "format": _report.FORMAT,
        "version": _report.VERSION,
        "id": TAB,
        "title": "Workstations",
        "order": ORDER,
        "generated_at": document["generated_at"],
        "made_by": "audit",
        "state": next((state for state in _ORDER if counts[state]), "none"),
        "headline": _verdict(document),
        "blocks": [*blocks, table],
    }


def _short(name: str) -> str:
    """Return the name of a GPU without its maker's."""
    return name[len("NVIDIA ") :] if name.startswith("NVIDIA ") else name


def _tile(label: str, value: int, state: str) -> dict[str, t.Any]:
    return {"label": label, "value": value, **({"state": state} if value else {})}


def _table_row(row: Row) -> dict[str, t.Any]:
    disk, age, comfyui = row["disk"], row["config_age_days"], row["comfyui"] or {}
    nodes = [f"{node['node']}: {node['state'] or 'state not known'}" for node in row["nodes"] or ()]
    gpus = [_short(gpu["name"]) for gpu in row["gpus"] or ()]
    drivers = sorted({f"driver {gpu['driver']}" for gpu in row["gpus"] or ()})
    version = comfyui.get("version") or (f"commit {comfyui['commit'][:8]}" if comfyui.get("commit") else None)
    companion = row["companion"]
    findings = [
        {
            "state": "note" if finding["ignored"] else finding["level"],
            "text": finding["text"],
            "cure": "Ignored, as asked for." if finding["ignored"] else finding["cure"],
        }
        for finding in row["findings"]
    ]
    return {
        "state": row["state"],
        "cells": {
            "state": row["state"],
            "workstation": row["workstation"],
            "findings": findings,
            "config": _config_cell(row),
            "age": {"text": None if age is None else f"{age:.1f} d", "sort": age},
            "credentials": _credentials_cell(row),
            "endpoints": _endpoints_cell(row),
            "nodes": nodes,
            "disk": {"text": _disk_cell(row), "sort": disk["free_bytes"] if disk else None},
            "gpu": [*gpus, *drivers],
            "comfyui": version,
            "companion": [(companion or {}).get("version") or _installed(companion), *_use(companion or {})],
        },
    }


__all__ = ("COLUMNS", "FORMAT", "TAB", "VERSION", "audit")
