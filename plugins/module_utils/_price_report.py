# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Prices as they are told: mappings of plain data, a table for a terminal, a CSV file. Pure."""

from __future__ import annotations

import csv
import io
import typing as t
from decimal import Decimal

from ansible_collections.budgetguard.techops.plugins.module_utils import _lines, _price_book, _price_compare, _pricing

COLUMNS = (
    "node",
    "target",
    "provider",
    "region",
    "gpu_tier",
    "machine",
    "provisioning",
    "replicas",
    "currency",
    "hourly",
    "complete",
    "monthly_always_on",
    "monthly_office_hours",
    "start_cost",
    "source",
    "priced_at",
    "why",
)
"""The columns of the CSV file."""

_RIGHT = frozenset(("PER HOUR", "ALWAYS ON", "OFFICE HOURS", "PER MONTH STOPPED", "FIRST GIB OUT"))
_DAY = 86400.0

Row = dict[str, t.Any]


class PriceReportError(ValueError):
    """What was given is not what nim_price_info returns."""


# ---- plain data ------------------------------------------------------------------------------------------------------


def line_row(line: _pricing.Line) -> Row:
    """Return a part with its price."""
    quote, part = line.quote, line.part
    return {
        "what": part.what,
        "name": part.thing.name if part.thing and part.thing.name else None,
        "quantity": _pricing.number(part.quantity),
        "price": _pricing.number(quote.amount, 9),
        "per": _per(part.thing),
        "hourly": _pricing.number(line.hourly),
        "monthly": _pricing.number(line.monthly, 4),
        "source": quote.source if line.hourly is not None else None,
        "where": quote.where or None,
        "as_of": quote.as_of,
        "note": "; ".join(note for note in (part.note, quote.note) if note) or None,
        "why": None if line.hourly is not None else (part.why or quote.why),
    }


def _per(thing: _pricing.Thing | None) -> str:
    return "month" if thing is not None and thing.is_monthly else "hour"


def nim_row(
    target: _pricing.Target,
    node: str,
    name: str,
    tier: str,
    nim: _pricing.Nim | None,
    found: _pricing.Sum | None,
    *,
    currency: str,
    office_hours: Decimal,
    why: str | None = None,
    warnings: t.Sequence[str] = (),
) -> Row:
    """Return what a NIM costs while it runs. ``office_hours`` are those of a week; ``why`` tells why it is unknown."""
    machine = None if found is None else _pricing.main_line(found)
    known = found is not None and machine is not None and machine.hourly is not None
    hourly = found.at_least if found is not None and known else None
    if hourly is None and machine is not None:
        why = why or machine.quote.why
    start = None if hourly is None else _pricing.start_cost(target.provider, hourly)
    weeks = _pricing.WEEKS_PER_MONTH
    return {
        "node": node,
        "name": name or None,
        "target": target.name,
        "provider": target.provider or None,
        "region": target.region or None,
        "gpu_tier": tier or None,
        "machine": nim.machine.name if nim and nim.machine else None,
        "provisioning": nim.provisioning if nim and nim.machine else None,
        "replicas": nim.replicas if nim else None,
        "currency": currency,
        "hourly": _pricing.number(hourly),
        "complete": bool(found is not None and known and not found.unknown),
        "unknown": list(found.unknown) if found is not None and known else [],
        "monthly_always_on": None if hourly is None else _pricing.number(hourly * _pricing.HOURS_PER_MONTH, 2),
        "monthly_office_hours": None if hourly is None else _pricing.number(hourly * office_hours * weeks, 2),
        "start": {
            "estimate": True,
            "cold_start_minutes": _pricing.COLD_START_MINUTES if start is not None else None,
            "tail_minutes": _pricing.TAIL_MINUTES.get(target.provider) if start is not None else None,
            "cost": _pricing.number(start, 4),
        },
        "source": found.source if found is not None and known else None,
        "priced_at": found.as_of if found is not None and known else None,
        "passing": bool(found is not None and found.passing),
        "why": why if hourly is None else None,
        "warnings": list(warnings),
        "parts": [line_row(line) for line in found.lines] if found is not None else [],
    }


def target_row(
    target: _pricing.Target,
    found: _pricing.Sum,
    transfer: _pricing.Quote | None,
    *,
    currency: str,
    error: str | None = None,
) -> Row:
    """Return what a target costs while everything on it is stopped, and what data out of it costs."""
    tiers: t.Sequence[tuple[Decimal, Decimal]] = ()
    if transfer is not None and transfer.amount is not None:
        tiers = transfer.tiers or ((Decimal(0), transfer.amount),)
    whole = None if found.hourly is None or error else found.hourly * _pricing.HOURS_PER_MONTH
    return {
        "target": target.name,
        "provider": target.provider or None,
        "region": target.region or None,
        "currency": currency,
        "fixed_monthly": _pricing.number(whole, 2),
        "fixed_monthly_at_least": _pricing.number(found.at_least * _pricing.HOURS_PER_MONTH, 2),
        "unknown": [*found.unknown],
        "parts": [line_row(line) for line in found.lines],
        "source": found.source,
        "priced_at": found.as_of,
        "transfer_out": [
            {"from_gib": _pricing.number(start, 0), "price": _pricing.number(price)} for start, price in tiers
        ],
        "transfer_out_as_of": transfer.as_of if tiers and transfer else None,
        "transfer_out_why": None if tiers or transfer is None else transfer.why,
        "error": error,
    }


def choice_row(choice: _price_compare.Choice, *, currency: str, office_hours: Decimal) -> Row:
    """Return one way to run a node."""
    row = nim_row(
        choice.target,
        choice.node,
        "",
        choice.nim.gpu_tier,
        choice.nim,
        choice.price,
        currency=currency,
        office_hours=office_hours,
        warnings=choice.warnings,
    )
    for name in ("name", "target", "replicas", "passing", "why"):
        del row[name]
    return {**row, "listed": choice.listed}


def left_out_row(item: _price_compare.LeftOut) -> Row:
    """Return one way that is left out."""
    return {
        "node": item.node,
        "provider": item.provider,
        "region": item.region or None,
        "gpu_tier": item.gpu_tier,
        "reason": item.reason,
        "text": item.text,
    }


def old_prices(rows: t.Iterable[Row], now: float, most_days: int) -> list[str]:
    """Say which prices come from the collection's list, and of these which are older than so many days."""
    oldest: dict[str, list[float]] = {}
    for row in rows:
        for item in row["parts"]:
            if item["source"] == _pricing.LIST and item["as_of"]:
                days = (now - _price_book.moment_of(item["as_of"])) / _DAY
                oldest.setdefault(str(row.get("target") or row["provider"]), []).append(days)
    found = []
    for name, ages in sorted(oldest.items()):
        days = int(max(ages))
        if days > most_days:
            found.append(
                f"{name}: prices come from the list in the collection, up to {days} days old, because the price API "
                "did not tell them"
            )
    return found


# ---- for people ------------------------------------------------------------------------------------------------------


def told(result: t.Any) -> Row:
    """Return what nim_price_info found as lines, as rows of a file and as CSV. Raises PriceReportError."""
    if not isinstance(result, t.Mapping) or not isinstance(result.get("prices"), (list, tuple)):
        raise PriceReportError("it takes what nim_price_info returns, a mapping with prices")
    prices, targets = list(result["prices"]), list(result.get("targets") or ())
    notes = [*map(str, result.get("problems") or ()), *_unknown_of(prices, targets)]
    lines = [f"Prices are in {result.get('currency')}.", "", *_nim_lines(prices), "", *_target_lines(targets)]
    if result.get("choices") is not None:
        lines += _choice_lines(result["choices"], result.get("left_out") or ())
    if notes:
        lines += ["", *notes]
    return {"lines": lines, "csv": _csv(prices), "notes": notes}


def _nim_lines(prices: t.Sequence[Row]) -> list[str]:
    """Return the table of NIMs. It has to be narrow: Ansible breaks lines of more than 80 letters."""
    headings = ("NODE", "TARGET", "TIER", "PER HOUR", "ALWAYS ON", "OFFICE HOURS", "FROM")
    rows = [
        (
            str(row["node"]),
            str(row["target"]),
            str(row["gpu_tier"] or "-"),
            _money(row["hourly"], 4, incomplete=not row["complete"]),
            _money(row["monthly_always_on"], 0),
            _money(row["monthly_office_hours"], 0),
            _from(row),
        )
        for row in prices
    ]
    return _lines.table(headings, rows, _RIGHT)


def _machine(row: Row) -> str:
    way = "" if row["provisioning"] == "on-demand" else f" ({row['provisioning']})"
    return f"{row['machine']}{way}"


def _from(row: Row) -> str:
    """Return where a price comes from, with its date unless it was just read."""
    if row["source"] != _pricing.LIST:
        return str(row["source"] or "-")
    return f"list {str(row['priced_at'])[:10]}"


def _target_lines(targets: t.Sequence[Row]) -> list[str]:
    headings = ("TARGET", "REGION", "PER MONTH STOPPED", "FIRST GIB OUT", "FROM")
    rows = [
        (
            str(row["target"]),
            str(row["region"] or "-"),
            _stopped(row),
            _money(next((tier["price"] for tier in row["transfer_out"] if tier["price"]), None), 3),
            _from(row),
        )
        for row in targets
    ]
    return _lines.table(headings, rows, _RIGHT)


def _stopped(row: Row) -> str:
    if row["fixed_monthly"] is not None or not row["parts"]:
        return _money(row["fixed_monthly"], 2)
    return _money(row["fixed_monthly_at_least"], 2, incomplete=True)


def _choice_lines(choices: t.Sequence[Row], left_out: t.Sequence[Row]) -> list[str]:
    headings = ("CLOUD", "REGION", "TIER", "MACHINE", "PER HOUR", "FROM", "LISTED")
    lines: list[str] = []
    for node in dict.fromkeys([str(row["node"]) for row in (*choices, *left_out)]):
        mine = [row for row in choices if row["node"] == node]
        rows = [
            (
                str(row["provider"]),
                str(row["region"]),
                str(row["gpu_tier"]),
                _machine(row),
                _money(row["hourly"], 4, incomplete=not row["complete"]),
                _from(row),
                "yes" if row["listed"] else "no",
            )
            for row in mine
        ]
        lines += ["", f"{node}, the cheapest first:" if rows else f"{node}: there is no choice."]
        lines += _lines.table(headings, rows, _RIGHT) if rows else []
        lines += [_left_out_line(row) for row in left_out if row["node"] == node]
    return lines


def _left_out_line(row: Row) -> str:
    where = " ".join(str(row[name]) for name in ("provider", "region", "gpu_tier") if row[name])
    return f"  not {where}: {row['reason'].replace('_', ' ')}: {row['text']}"


def _money(value: float | None, places: int, incomplete: bool = False) -> str:
    if value is None:
        return "-"
    return f"{'> ' if incomplete else ''}{value:,.{places}f}"


def _unknown_of(prices: t.Sequence[Row], targets: t.Sequence[Row]) -> list[str]:
    notes = []
    for row in prices:
        where = f"{row['node']} on {row['target']}"
        if row["why"]:
            notes.append(f"{where}: no price is known: {row['why']}")
        notes += [f"{where}: without what is not known: {text}" for text in row["unknown"]]
    for row in targets:
        if row["error"]:
            notes.append(f"{row['target']}: {row['error']}")
        notes += [f"{row['target']}, stopped: without what is not known: {text}" for text in row["unknown"]]
        if row["transfer_out_why"]:
            notes.append(f"{row['target']}: what data out costs is not known: {row['transfer_out_why']}")
    return notes


def _csv(prices: t.Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in prices:
        writer.writerow({**row, "start_cost": row["start"]["cost"]})
    return text.getvalue()


__all__ = (
    "COLUMNS",
    "PriceReportError",
    "choice_row",
    "left_out_row",
    "nim_row",
    "old_prices",
    "target_row",
    "told",
)
