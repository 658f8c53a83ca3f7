# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What several targets tell about their use, as one table and one file. Pure."""

from __future__ import annotations

import csv
import io
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _lines

COLUMNS = (
    "period",
    "workstation",
    "node",
    "target",
    "requests",
    "failed",
    "refused",
    "not_running",
    "request_seconds",
    "bytes",
    "request_bytes",
)
"""The columns of the CSV file, which are the keys of a row."""

_COUNTED = COLUMNS[4:]
_HEADINGS = ("WORKSTATION", "NODE", "TARGET", "REQUESTS", "HOURS", "SHARE")
_NUMBERS = _HEADINGS[3:]


class UsageError(ValueError):
    """What was given is not what nim_usage_info returns."""


def merged(results: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """Put the results of several targets together.

    Each is ``target`` with ``usage``, a result of nim_usage_info, or with ``error``. Raises UsageError.
    """
    rows: list[dict[str, t.Any]] = []
    notes: list[str] = []
    nims: list[dict[str, t.Any]] = []
    for number, result in enumerate(_checked(results)):
        target, usage = str(result.get("target")), result.get("usage")
        if result.get("error") or usage is None:
            notes.append(f"{target}: its use is not known: {result.get('error') or 'it was not read'}")
            continue
        if not isinstance(usage, t.Mapping) or not isinstance(usage.get("rows"), (list, tuple)):
            raise UsageError(f"results[{number}]: usage must be what nim_usage_info returns")
        rows += [{**row, "target": target} for row in usage["rows"]]
        nims += [{**nim, "target": target} for nim in usage["nims"]]
        notes += [f"{target}: {problem}" for problem in usage["log"]["problems"]]
    cells = _shares(_summed(rows, ("workstation", "node", "target")))
    return {
        "rows": sorted(rows, key=lambda row: tuple(str(row.get(name)) for name in COLUMNS[:4])),
        "nims": nims,
        "nodes": cells,
        "workstations": _shares(_summed(rows, ("workstation",))),
        "notes": notes,
        "lines": _table(cells, notes),
        "csv": _csv(rows),
    }


def _checked(results: t.Any) -> t.Sequence[t.Mapping[str, t.Any]]:
    if not isinstance(results, (list, tuple)) or not all(isinstance(item, t.Mapping) for item in results):
        raise UsageError("must be a list of mappings with target, and usage or error")
    return t.cast("t.Sequence[t.Mapping[str, t.Any]]", results)


def _summed(rows: t.Sequence[t.Mapping[str, t.Any]], names: t.Sequence[str]) -> list[dict[str, t.Any]]:
    """Sum rows up that have the same of the named fields."""
    found: dict[tuple[str, ...], dict[str, t.Any]] = {}
    for row in rows:
        key = tuple(str(row[name]) for name in names)
        entry = found.setdefault(key, {**dict(zip(names, key)), **dict.fromkeys(_COUNTED, 0)})
        for name in _COUNTED:
            entry[name] += row[name]
    return [{**entry, "request_seconds": round(entry["request_seconds"], 3)} for entry in found.values()]


def _shares(rows: t.Sequence[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Add the share of the request-seconds of all; the largest comes first. None where there are none."""
    whole = sum(row["request_seconds"] for row in rows)
    told = [{**row, "share": round(row["request_seconds"] / whole, 6) if whole else None} for row in rows]
    return sorted(told, key=lambda row: (-row["request_seconds"], [str(value) for value in row.values()]))


def _table(cells: t.Sequence[t.Mapping[str, t.Any]], notes: t.Sequence[str]) -> list[str]:
    """Return the table for a terminal, with a sum below it."""
    text = _lines.table(_HEADINGS, [_line_of(cell) for cell in cells], _NUMBERS)
    workstations = len({cell["workstation"] for cell in cells})
    requests = sum(cell["requests"] for cell in cells)
    refused = sum(cell["refused"] for cell in cells)
    hours = sum(cell["request_seconds"] for cell in cells) / 3600
    text.append(
        f"{_lines.counted(workstations, 'workstation')}, {_lines.counted(requests, 'request')} "
        f"in {hours:.2f} hours of work, {refused} refused."
    )
    return [*text, *notes]


def _line_of(cell: t.Mapping[str, t.Any]) -> tuple[str, ...]:
    share = "-" if cell["share"] is None else f"{100 * cell['share']:.1f} %"
    hours = f"{cell['request_seconds'] / 3600:.2f}"
    return str(cell["workstation"]), str(cell["node"]), str(cell["target"]), str(cell["requests"]), hours, share


def _csv(rows: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in sorted(rows, key=lambda row: tuple(str(row.get(name)) for name in COLUMNS[:4])):
        writer.writerow({**row, "workstation": plain_cell(row["workstation"]), "node": plain_cell(row["node"])})
    return text.getvalue()


def plain_cell(value: t.Any) -> str:
    """Keep a spreadsheet from taking a name for a formula."""
    text = str(value)
    return f"'{text}" if text[:1] in ("=", "+", "@", "\t", "\r", "\n") or (text[:1] == "-" and text != "-") else text


__all__ = ("COLUMNS", "UsageError", "merged", "plain_cell")
