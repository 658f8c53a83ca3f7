# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A month of a studio as the modules tell it, for tests and for pictures."""

from __future__ import annotations

import datetime
import random
import typing as t
from decimal import Decimal

from ansible_collections.budgetguard.techops.plugins.module_utils import _spend, _usage

NOW = t.cast(float, _usage.moment("2026-11-19T16:00:00Z"))
AWS, AZURE, GCP, NVIDIA = "aws-us-east-1", "azure-eastus", "gcp-us-central1", "nvidia-studio"

PRICES = {
    (AWS, "FLUX Dev", "l40s"): 2.2875,
    (AWS, "Llama 3.1", "l4"): 0.83,
    (AZURE, "FLUX Dev", "a100-80gb"): 3.6963,
    (AZURE, "FLUX Kontext", "a100-80gb"): 3.6963,
    (GCP, "Llama 3.1", "l4"): 0.8726,
    (GCP, "SD 3.5 Large", "l4"): 0.8726,
}
"""Target, node and tier -> list price per hour."""

FIXED = {AWS: 45.6, AZURE: 240.0, GCP: 180.0}
"""Target -> what it pays a month while all is stopped."""

RUNNING = {(AWS, "FLUX Dev"): "2026-11-16T07:00:00Z", (AZURE, "FLUX Dev"): "2026-11-19T08:00:00Z"}
RUNNING_GCP = {(GCP, "Llama 3.1"): "2026-11-18T09:00:00Z"}


def nim_name(node: str, tier: str) -> str:
    """Return the name of a NIM on its target."""
    return f"nim-{node.lower().replace(' ', '-').replace('.', '-')}-{tier}"


def spend(**bills: _spend.Bill) -> dict[str, t.Any]:
    """Return what nim_spend_info tells: 17 days that are billed, one that still grows, and what runs since.

    ``bills`` are other bills by target, with hyphens as underscores.
    """
    chance = random.Random(3)
    lines: list[_spend.Line] = []
    for number in range(1, 19):
        date = datetime.date(2026, 11, number)
        # The last day of a bill still grows.
        part = 0.3 if number == 18 else 1.0
        for (name, node, tier), hourly in PRICES.items():
            hours = chance.uniform(6, 22) if date.weekday() < 5 else chance.choice([0.0, 0.0, 5.0, 24.0])
            amount = Decimal(str(round(hours * hourly * part, 2)))
            lines.append(_spend.Line(str(date), name, amount, "USD", node, None, tier))
        for name, monthly in FIXED.items():
            lines.append(_spend.Line(str(date), name, Decimal(str(round(monthly / 30 * part, 2))), "USD"))
    reading = _spend.Reading(tuple(line for line in lines if line.amount))
    own = {name: name.partition("-")[0] for name in FIXED}
    known = _spend.bills(reading, own, currency="USD", read_at=NOW)
    return told([bills.get(bill.target.replace("-", "_"), bill) for bill in known])


def told(bills: t.Sequence[_spend.Bill], problems: t.Sequence[str] = ()) -> dict[str, t.Any]:
    """Return what nim_spend_info tells about some bills."""
    names = _spend.Names((name, nim_name(node, tier), node, tier) for name, node, tier in PRICES)
    estimates = _spend.estimates(_spend.runs(targets(), prices()["prices"], "USD"), bills, NOW)
    own = {bill.target: [item for item in estimates if item.run.target == bill.target] for bill in bills}
    allocated, unallocated = _spend.allocations(usages(), bills, names, "2026-11-01")
    until = [bill.billed_until for bill in bills if bill.billed_until is not None]
    return {
        "currency": "USD",
        "as_of": _usage.iso(min(until, default=None)),
        "targets": [_spend.target_row(bill, "USD", NOW) for bill in bills],
        "days": [row for bill in bills for row in _spend.days_of(bill, names, "2026-11-01")],
        "rows": [row for bill in bills for row in _spend.rows_of(bill, names, own[bill.target], NOW)],
        "estimates": [item.row() for item in estimates],
        "allocations": allocated,
        "calls": [
            {"provider": "aws", "calls": 1, "cost_usd": 0.01},
            {"provider": "azure", "calls": 2, "cost_usd": 0.0},
        ],
        "problems": [*problems, *unallocated],
    }


def targets() -> list[dict[str, t.Any]]:
    """Return what nim_targets_info tells: some NIMs run, the others are stopped."""
    switched_on = {**RUNNING, **RUNNING_GCP}
    found: dict[str, list[dict[str, t.Any]]] = {name: [] for name in (AWS, AZURE, GCP)}
    for name, node, tier in PRICES:
        since = switched_on.get((name, node))
        found[name].append(
            {
                "name": nim_name(node, tier),
                "node": node,
                "gpu_tier": tier,
                "replicas": 1 if since else 0,
                "running_since": since,
            }
        )
    return [{"target": name, "read": True, "asleep": False, "deployments": nims} for name, nims in found.items()]


def prices() -> dict[str, t.Any]:
    """Return what nim_price_info tells."""
    return {
        "prices": [
            {
                "target": name,
                "name": nim_name(node, tier),
                "node": node,
                "gpu_tier": tier,
                "hourly": hourly,
                "why": None,
            }
            for (name, node, tier), hourly in PRICES.items()
        ],
        "targets": [
            {"target": name, "fixed_monthly": monthly, "fixed_monthly_at_least": monthly, "error": None}
            for name, monthly in FIXED.items()
        ],
    }


def usage(busy: t.Mapping[str, float], rows: t.Sequence[tuple[str, str, str, float]] = ()) -> dict[str, t.Any]:
    """Return what nim_usage_info tells: NIM to seconds at work in the last day, and rows of day, NIM, who, seconds."""
    return {
        "since": "2026-11-01T00:00:00Z",
        "until": "2026-11-19T16:00:00Z",
        "log": {"settled_until": "2026-11-19T15:59:00Z", "problems": [], "known": True, "complete": True},
        "nims": [
            {"name": name, "recent": {"minutes": 1440, "requests": 9, "busy_seconds": seconds}}
            for name, seconds in busy.items()
        ],
        "rows": [
            {"period": f"{day}T00:00:00Z", "node": name[4:], "workstation": workstation, "request_seconds": seconds}
            for day, name, workstation, seconds in rows
        ],
    }


def usages() -> list[dict[str, t.Any]]:
    """Return what is known of the use of the three targets; of one nothing."""
    aws, azure = nim_name("FLUX Dev", "l40s"), nim_name("FLUX Dev", "a100-80gb")
    days = [("2026-11-12", aws, f"ws-{number:02d}", 3600.0 * (6 - number)) for number in range(1, 6)]
    mine = [("2026-11-18", azure, "ws-01", 3000.0), ("2026-11-19", azure, "ws-02", 5000.0)]
    return [
        {"target": AWS, "usage": usage({aws: 8_600.0}, days)},
        {"target": AZURE, "usage": usage({azure: 7_400.0}, mine)},
        {"target": GCP, "error": "the log service does not answer"},
    ]


BUDGETS = [
    {"monthly": 3200, "daily": 500},
    {"target": "azure-*", "monthly": 1400, "warn_percent": 90},
    {"node": "Llama 3.1", "monthly": 900},
]
