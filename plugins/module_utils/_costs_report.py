# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The costs of a month as a table for a terminal, a CSV file, and a tab of the report page. Pure."""

from __future__ import annotations

import csv
import datetime
import io
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _lines, _report, _usage
from ansible_collections.budgetguard.techops.plugins.module_utils._costs import (
    BILLED,
    ESTIMATE,
    FORECASTS,
    NOTE,
    OK,
    PACE,
    PROBLEM,
    RUNNING,
    WARNING,
    Month,
    Read,
    costs,
    date_of,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._usage_report import plain_cell

FORMAT, VERSION = "budgetguard-costs", 1

Row = dict[str, t.Any]

COLUMNS = ("date", "target", "node", "gpu_tier", "kind", "amount", "currency")
"""The columns of the CSV file."""

SHARED = "shared"
"""What stands for a node where its NIMs share something."""

_ORDER = (PROBLEM, WARNING, NOTE, OK)
_COLORED = 7
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_REST = "rest"


def told(read: Read, now: float) -> Row:
    """Return the costs in all their forms. Raises CostsError, and PolicyError for budgets that are wrong."""
    document = {"format": FORMAT, "version": VERSION, **costs(read, now)}
    return {
        "document": document,
        "lines": _tables(document),
        "csv": _csv(document),
        "tab": _tab(document, Month(now)),
        "summary": {
            name: document[name] for name in ("currency", "month", "as_of", "generated_at", "total", "budgets", "notes")
        },
    }


# ---- for a terminal --------------------------------------------------------------------------------------------------

_HEADINGS = ("NODE", "TARGET", "TODAY", "MONTH", "ESTIMATED", "FORECAST", "IDLE")
_NUMBERS = _HEADINGS[2:]


def _tables(document: Row) -> list[str]:
    """Return the tables of nodes and budgets. They have to be narrow: Ansible breaks lines of more than 80 letters."""
    text = [
        f"Costs of {document['month']} in {document['currency']}, {_billed_until(document)}.",
        "ESTIMATED is part of MONTH and not billed yet.",
        f"FORECAST is for the month's end, {FORECASTS[RUNNING]}, by list prices.",
        "",
    ]
    text += _lines.table(_HEADINGS, [_cells(row, document["idle"]) for row in document["rows"]], _NUMBERS)
    text += [_total_line(document), ""]
    text += [_budget_line(row) for row in document["budgets"]] or ["There is no budget (guard_budgets)."]
    text += [_idle_line(document["idle"], document["currency"]), *document["notes"]]
    return text


def _billed_until(document: Row) -> str:
    if document["as_of"] is None:
        return "nothing is known to be billed"
    return f"billed up to {_clock(document['as_of'])}"


def _clock(moment: t.Any) -> str:
    return str(moment).replace("T", " ").replace(":00Z", " UTC").replace("Z", " UTC")


def _cells(row: Row, idle: Row) -> tuple[str, ...]:
    return (
        row["node"] or SHARED,
        row["target"],
        _money(row["today"]),
        _money(row["month_to_date"], row["month_complete"]),
        _money(row["estimated"]),
        _money(row["forecast"][RUNNING], row["hourly_complete"] and row["month_complete"]),
        _idle_cell(row, idle),
    )


def _money(value: float | None, complete: bool = True) -> str:
    """Return an amount; one of which a part is not known has a sign before it."""
    if value is None:
        return "-"
    return f"{'' if complete else '> '}{value:,.2f}"


def _idle_cell(row: Row, idle: Row) -> str:
    """Return the idle share of a node's NIMs on a target: of the idlest, if there are several."""
    if row["node"] is None or row["running"] is False:
        return "-"
    own = [nim for nim in idle["nims"] if (nim["target"], nim["node"]) == (row["target"], row["node"])]
    known = [nim for nim in own if nim["idle_share"] is not None]
    if not known:
        return "unknown"
    return _share(max(known, key=lambda nim: t.cast(float, nim["idle_share"])))


def _share(told_of: Row) -> str:
    share = told_of["idle_share"]
    return "unknown" if share is None else f"{'> ' if told_of['at_least'] else ''}{100 * share:.0f} %"


def _total_line(document: Row) -> str:
    total, currency = document["total"], document["currency"]
    if total["month_to_date"] is None:
        return "What was spent is not known."
    least = "" if total["month_to_date_complete"] else "at least "
    text = f"This month {least}{total['month_to_date']:,.2f} {currency}"
    if total["estimated"]:
        text += f", of which {total['estimated']:,.2f} are an estimate"
    return f"{text}. Forecast: {_forecasts(total['forecast'], currency)}."


def _forecasts(forecasts: Row, currency: str) -> str:
    return "; ".join(f"{_forecast(forecasts[how], currency)} {FORECASTS[how]}" for how in FORECASTS)


def _forecast(found: Row, currency: str) -> str:
    if found["amount"] is None:
        return "not known"
    return f"{'' if found['complete'] else 'at least '}{found['amount']:,.0f} {currency}"


def _budget_line(row: Row) -> str:
    """Say how much of a budget is used, and what it will be."""
    name = row["name"][:1].upper() + row["name"][1:]
    if row["spent"] is None:
        return f"{name}, per {row['period']}: not known: {row['why']}."
    least = "" if row["complete"] else "at least "
    text = (
        f"{name}: {least}{row['spent']:,.2f} of {row['limit']:,.2f} {row['currency']} of this {row['period']} "
        f"({row['percent']:.0f} %)"
    )
    over = [how for how, found in row["forecast"].items() if found["percent"] is not None and found["percent"] > 100]
    if row["percent"] >= row["stop_percent"]:
        return f"{text}: used up."
    if over:
        ahead = "; ".join(f"{_forecast(row['forecast'][how], row['currency'])} {FORECASTS[how]}" for how in over)
        return f"{text}: the forecast is above it: {ahead}."
    return f"{text}: soon used up." if row["state"] == WARNING else f"{text}."


def _idle_line(idle: Row, currency: str) -> str:
    if not idle["nims"]:
        return "No NIM is known to run now."
    unknown = f" Of {_lines.counted(idle['unknown'], 'NIM')} it is not known." if idle["unknown"] else ""
    if idle["idle_share"] is None:
        return f"Idle time of the NIMs that run now is not known.{unknown if idle['known'] else ''}"
    cost = ""
    if idle["idle_cost"] is not None:
        cost = f", about {idle['idle_cost']:,.2f} {currency} by list prices"
    least = "at least " if idle["at_least"] else ""
    return f"NIMs that run now were idle for {least}{100 * idle['idle_share']:.0f} % of their time{cost}.{unknown}"


def _csv(document: Row) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for day in document["days"]:
        cells = {**day, "node": day["node"] or SHARED, "currency": document["currency"]}
        writer.writerow({name: plain_cell(value) if isinstance(value, str) else value for name, value in cells.items()})
    return text.getvalue()


# ---- the tab of the report page --------------------------------------------------------------------------------------

TAB, ORDER = "costs", 20


def _tab(document: Row, month: Month) -> Row:
    """Return the tab of the report page."""
    colors = _colors(document)
    blocks = [
        {"kind": "tiles", "items": _tiles(document)},
        _days_plot(document, month, colors),
        _forecast_plot(document, month),
        _nodes_plot(document),
        _idle_plot(document["idle"]),
        _budgets_table(document["budgets"]),
        _nodes_table(document),
    ]
    if document["allocations"]:
        blocks.append(_allocations_table(document))
    if document["notes"]:
        blocks.append({"kind": "notes", "title": "What is not known", "items": document["notes"]})
    blocks.append({"kind": "notes", "title": "How these figures are made", "items": _methods(document)})
    return {
        "format": _report.FORMAT,
        "version": _report.VERSION,
        "id": TAB,
        "title": "Costs",
        "order": ORDER,
        "generated_at": document["generated_at"],
        "made_by": "costs",
        "state": _state(document),
        "headline": _total_line(document),
        "blocks": blocks,
    }


def _state(document: Row) -> str:
    states = {row["state"] for row in document["budgets"]}
    if not document["total"]["month_to_date_complete"]:
        states.add(WARNING)
    return next((state for state in _ORDER if state in states), "none")


def _tiles(document: Row) -> list[Row]:
    total, idle, currency = document["total"], document["idle"], document["currency"]
    studio = [row for row in document["budgets"] if row["period"] == "month" and not row["target"] and not row["node"]]
    tiles = [
        _tile(f"{currency} this month", _money(total["month_to_date"], total["month_to_date_complete"])),
        _tile(f"{currency} of it an estimate", _money(total["estimated"], total["estimated_complete"])),
        _tile(f"{currency} today", _money(total["today"], total["today_complete"])),
    ]
    tiles += [
        _tile(f"{currency} forecast, {FORECASTS[how]}", _forecast(total["forecast"][how], "").strip())
        for how in FORECASTS
    ]
    for row in studio[:1]:
        used = "not known" if row["percent"] is None else f"{row['percent']:.0f} %"
        tiles.append(_tile(f"of the budget of {row['limit']:,.0f} {row['currency']} used", used, row["state"]))
    over = sum(row["state"] == PROBLEM for row in document["budgets"])
    if document["budgets"]:
        tiles.append(_tile("budgets used up", str(over), PROBLEM if over else OK))
    if idle["nims"]:
        tiles.append(_tile("idle time of NIMs that run now", _share(idle)))
    return tiles


def _tile(label: str, value: str, state: str | None = None) -> Row:
    return {"label": label, "value": value, **({"state": state} if state else {})}


def _colors(document: Row) -> dict[str, int]:
    """Give the nodes that cost most a colour of their own."""
    sums: dict[str, float] = {}
    for day in document["days"]:
        if day["node"] is not None:
            sums[day["node"]] = sums.get(day["node"], 0.0) + (day["amount"] or 0.0)
    dearest = sorted(sums, key=lambda node: (-sums[node], node))
    return {node: place for place, node in enumerate(dearest[:_COLORED])}


def _days_plot(document: Row, month: Month, colors: t.Mapping[str, int]) -> Row:
    """Return what each day has cost, by node."""
    first = min([month.first, *(date_of(day["date"]) for day in document["days"])])
    before = [first + datetime.timedelta(days=number) for number in range((month.first - first).days)]
    dates = [*before, *month.days]
    values: dict[datetime.date, dict[str, float | None]] = {date: {} for date in dates}
    for day in document["days"]:
        key = _series_key(day, colors)
        own = values[date_of(day["date"])]
        known = own.get(key, 0.0)
        own[key] = None if known is None or day["amount"] is None else round(known + day["amount"], 4)
    used = {key for own in values.values() for key in own}
    series = [
        {"key": f"{kind} {name}", "title": title + ending, "color": color, "style": style}
        for kind, ending, style in ((BILLED, "", "solid"), (ESTIMATE, " (estimate)", "hatched"))
        for name, title, color in [
            *((node, node, color) for node, color in colors.items()),
            (_REST, "other nodes", 7),
            ("", SHARED, 7),
        ]
        if f"{kind} {name}" in used
    ]
    today = date_of(document["generated_at"])
    as_of = _usage.moment(document["as_of"])
    late = {date for date in dates if date <= today and (as_of is None or _end(date) > as_of)}
    whole = document["total"]["month_to_date_complete"]
    return {
        "kind": "plot_columns",
        "title": "Per day",
        "about": f"What each day of UTC has cost, {_billed_until(document)}. Hatched is an estimate of what runs "
        "now and is not billed yet: running hours times the list price.",
        "unit": document["currency"],
        "sums": True,
        "open_title": "Not all of this day is billed yet",
        "series": series,
        "columns": [
            {
                # Where there are several months, their names stand at their first days.
                "label": f"{_MONTHS[date.month - 1]} {date.day}" if before and date.day == 1 else str(date.day),
                "title": date.isoformat(),
                "values": values[date],
                "open": date in late,
                "nothing": "not yet"
                if date > today
                else ("nothing is known" if date in late or not whole else "nothing"),
            }
            for date in dates
        ],
    }


def _series_key(day: Row, colors: t.Mapping[str, int]) -> str:
    name = "" if day["node"] is None else (day["node"] if day["node"] in colors else _REST)
    return f"{day['kind']} {name}"


def _end(date: datetime.date) -> float:
    following = datetime.datetime.combine(date + datetime.timedelta(days=1), datetime.time(), datetime.timezone.utc)
    return following.timestamp()


def _forecast_plot(document: Row, month: Month) -> Row:
    """Return what the month has cost up to each day, and both forecasts, against the budget of the studio."""
    today = date_of(document["generated_at"])
    total = document["total"]
    sums: dict[datetime.date, float] = {}
    for day in document["days"]:
        sums[date_of(day["date"])] = sums.get(date_of(day["date"]), 0.0) + (day["amount"] or 0.0)
    columns = []
    so_far = 0.0
    ahead = _end(month.days[-1]) - month.now
    for date in month.days:
        values: dict[str, float | None] = {}
        so_far = round(so_far + sums.get(date, 0.0), 4)
        if date < today:
            values["spent"] = so_far
        if date == today:
            # The last of what was spent is what the tile says, and where the forecasts begin.
            values["spent"] = total["month_to_date"]
            values.update(dict.fromkeys(FORECASTS, total["month_to_date"]))
        for how in FORECASTS:
            end, begin = total["forecast"][how]["amount"], total["month_to_date"]
            if date > today and end is not None and begin is not None:
                values[how] = round(begin + (end - begin) * (_end(date) - month.now) / ahead, 2)
        columns.append({"label": str(date.day), "title": date.isoformat(), "values": values})
    levels = [
        {"title": row["name"].capitalize(), "value": row["limit"]}
        for row in document["budgets"]
        if row["period"] == "month"
        and not row["target"]
        and not row["node"]
        and row["currency"] == document["currency"]
    ]
    return {
        "kind": "plot_lines",
        "title": "Forecast to the end of the month",
        "about": f"What the month has cost up to each day, and two forecasts: "
        f"{_forecasts(total['forecast'], document['currency'])}.",
        "unit": document["currency"],
        "series": [
            {"key": "spent", "title": "Spent, with what is an estimate", "color": 0},
            {"key": RUNNING, "title": f"Forecast {FORECASTS[RUNNING]}", "color": 1, "style": "hatched"},
            {"key": PACE, "title": f"Forecast {FORECASTS[PACE]}", "color": 3, "style": "hatched"},
        ],
        "columns": columns,
        "levels": levels,
    }


def _label(row: Row) -> str:
    return f"{row['node'] or SHARED} on {row['target']}"


def _nodes_plot(document: Row) -> Row:
    """Return what each node has cost."""
    rows = []
    for row in document["rows"]:
        spent, estimate = row["month_to_date"], row["estimated"]
        billed = None if spent is None or estimate is None else round(spent - estimate, 4)
        rows.append({"label": _label(row), "values": {BILLED: billed, ESTIMATE: estimate}})
    return {
        "kind": "plot_bars",
        "title": "Per node",
        "about": "What each node has cost this month. Shared is what no single NIM has, such as the load balancer.",
        "unit": document["currency"],
        "item_title": "Node",
        "sums": True,
        "series": [
            {"key": BILLED, "title": "Billed", "color": 0},
            {"key": ESTIMATE, "title": "Estimate, not billed yet", "color": 0, "style": "hatched"},
        ],
        "rows": rows,
    }


def _idle_plot(idle: Row) -> Row:
    rows = []
    for nim in sorted(idle["nims"], key=lambda nim: (-(nim["idle_share"] or -1.0), nim["target"], nim["name"])):
        share = nim["idle_share"]
        note = f"not known: {nim['why']}"
        if share is not None:
            note = f"{'at least ' if nim['at_least'] else ''}{100 * share:.0f} % of {nim['running_hours']:.1f} h"
        percent = None if share is None else round(100 * share, 1)
        label = f"{nim['node']} ({nim['gpu_tier']}) on {nim['target']}"
        rows.append({"label": label, "values": {"idle": percent}, "note": note})
    return {
        "kind": "plot_bars",
        "title": "Idle share",
        "about": "Of each NIM that runs now: for which part of its running time it worked on no request, by the "
        "gateway's log. A request that still runs is not in it, so the last quarter of an hour may look idle.",
        "unit": "%",
        "places": 0,
        "most": 100,
        "item_title": "NIM",
        "series": [{"key": "idle", "title": "Idle", "color": 1}],
        "rows": rows,
    }


_FORECAST_COLUMNS = (
    {"key": RUNNING, "title": "Forecast, running", "type": "number"},
    {"key": PACE, "title": "Forecast, pace", "type": "number"},
)


def _number(value: float | None, complete: bool = True) -> Row:
    return {"text": None if value is None else _money(value, complete), "sort": value}


def _budgets_table(budgets: t.Sequence[Row]) -> Row:
    if not budgets:
        return {"kind": "notes", "title": "Budgets", "items": ["There is none. The variable guard_budgets has them."]}
    columns = [
        {"key": "state", "title": "State", "type": "state"},
        {"key": "name", "title": "Budget", "header": True},
        {"key": "period", "title": "Period"},
        {"key": "limit", "title": "Limit", "type": "number"},
        {"key": "spent", "title": "Spent", "type": "number"},
        {"key": "percent", "title": "Used", "type": "number"},
        *_FORECAST_COLUMNS,
    ]
    if any(row["why"] for row in budgets):
        columns.append({"key": "why", "title": "Why it is not known"})
    return {
        "kind": "table",
        "title": "Budgets",
        "columns": columns,
        "rows": [
            {
                "state": row["state"],
                "cells": {
                    **{name: row[name] for name in ("state", "name", "period")},
                    "limit": {"text": f"{row['limit']:,.2f} {row['currency']}", "sort": row["limit"]},
                    "spent": _number(row["spent"], row["complete"]),
                    "percent": {
                        "text": None if row["percent"] is None else f"{row['percent']:.0f} %",
                        "sort": row["percent"],
                    },
                    **{how: _number(found["amount"], found["complete"]) for how, found in row["forecast"].items()},
                    "why": row["why"],
                },
            }
            for row in budgets
        ],
    }


def _nodes_table(document: Row) -> Row:
    columns = [
        {"key": "node", "title": "Node", "header": True},
        {"key": "target", "title": "Target"},
        {"key": "today", "title": "Today", "type": "number"},
        {"key": "month_to_date", "title": "This month", "type": "number"},
        {"key": "estimated", "title": "Estimate", "type": "number"},
        *_FORECAST_COLUMNS,
        {"key": "hourly", "title": "An hour now", "type": "number"},
        {"key": "idle", "title": "Idle"},
    ]
    return {
        "kind": "table",
        "title": f"All nodes, in {document['currency']}",
        "columns": columns,
        "rows": [
            {
                "cells": {
                    "node": row["node"] or SHARED,
                    "target": [row["target"]],
                    "today": _number(row["today"]),
                    "month_to_date": _number(row["month_to_date"], row["month_complete"]),
                    "estimated": _number(row["estimated"]),
                    RUNNING: _number(row["forecast"][RUNNING], row["hourly_complete"] and row["month_complete"]),
                    PACE: _number(row["forecast"][PACE], row["month_complete"]),
                    "hourly": _number(row["hourly"], row["hourly_complete"]),
                    "idle": _idle_cell(row, document["idle"]),
                }
            }
            for row in document["rows"]
        ],
    }


def _allocations_table(document: Row) -> Row:
    columns = [
        {"key": "workstation", "title": "Workstation", "header": True},
        {"key": "node", "title": "Node"},
        {"key": "target", "title": "Target"},
        {"key": "hours", "title": "Hours of its requests", "type": "number"},
        {"key": "share", "title": "Share", "type": "number"},
        {"key": "allocated", "title": f"Allocated, {document['currency']}", "type": "number"},
    ]
    rows = [
        {
            "cells": {
                "workstation": row["workstation"],
                "node": row["node"] or SHARED,
                "target": [row["target"]],
                "hours": _scaled(row.get("request_seconds"), 1 / 3600, ""),
                "share": _scaled(row.get("share"), 100, " %"),
                "allocated": _number(row.get("allocated")),
            }
        }
        for row in document["allocations"]
    ]
    return {"kind": "table", "title": "Allocation to workstations (no bill)", "columns": columns, "rows": rows}


def _scaled(value: float | None, factor: float, unit: str) -> Row:
    return {"text": None if value is None else f"{value * factor:.1f}{unit}", "sort": value}


_METHODS = """\
Billed: what the clouds' own billing says, by tag or label, by days of UTC, {billed}. Bills come late, and
change until a month is closed.

Estimate: what runs now and is not billed yet, running hours times the list price, without discounts,
commitments and taxes. It is part of what is told as spent. What ran since the bill ends and was stopped again
is in no figure until it is billed.

Forecast {running}: what was billed so far, the estimate, and the list price per hour of each NIM that is
switched on now, and of what each target pays while stopped, up to the end of the month. What is switched on or
off later is not foreseen.

Forecast {pace}: what was billed so far, the estimate, and for the rest of the month the average of the last
{days} that are wholly billed, or of as many as there are.

Idle share: of NIMs that run now alone. If a NIM was started within the time that is looked at, its share is
told as at least so much. What idle hours cost is an estimate by list prices.

A > before an amount: a part of it is not known, so it is more. A hyphen: not known.
"""
_ALLOCATION = (
    "Allocation: what a NIM has cost times the workstation's share of the time of its requests. It is no bill."
)


def _methods(document: Row) -> list[str]:
    """Say how the figures are made."""
    days = _lines.counted(document["pace_days"], "day")
    text = _METHODS.format(billed=_billed_until(document), days=days, **FORECASTS)
    items = [_lines.one_line(paragraph) for paragraph in text.split("\n\n")]
    if document["allocations"]:
        items.append(_ALLOCATION)
    for call in document["calls"]:
        cost = "what that costs is not known"
        if call.get("cost_usd") is not None:
            cost = f"{call['cost_usd']:.2f} USD"
        items.append(f"Reading {call['provider']} took {_lines.counted(int(call['calls']), 'call')}: {cost}.")
    return items


__all__ = ("COLUMNS", "FORMAT", "SHARED", "TAB", "VERSION", "told")
