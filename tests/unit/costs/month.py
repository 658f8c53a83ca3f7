# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A month of a studio as the modules tell it, for tests and for pictures."""

from __future__ import annotations

import datetime
import random
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _usage

NOW = t.cast(float, _usage.moment("2026-11-19T16:00:00Z"))
BILLED_UNTIL = "2026-11-18T00:00:00Z"
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


def target(name: str, **facts: t.Any) -> dict[str, t.Any]:
    """Return what nim_spend_info tells of a target."""
    sources = {"aws": "cost_explorer", "azure": "cost_management", "gcp": "bigquery"}
    return {
        "target": name,
        "provider": name.partition("-")[0],
        "source": sources.get(name.partition("-")[0]),
        "currency": "USD",
        "billed_until": BILLED_UNTIL,
        "late_hours": 40.0,
        "read_at": "2026-11-19T16:00:00Z",
        "cached": False,
        "problem": None,
        **facts,
    }


def spend(seed: int = 3) -> dict[str, t.Any]:
    """Return what nim_spend_info tells of 17 days that are billed, and of what has run since."""
    chance = random.Random(seed)
    days: list[dict[str, t.Any]] = []
    sums: dict[tuple[str, str | None], float] = {}
    for number in range(1, 18):
        date = datetime.date(2026, 11, number)
        for (name, node, tier), hourly in PRICES.items():
            hours = chance.uniform(6, 22) if date.weekday() < 5 else chance.choice([0.0, 0.0, 5.0, 24.0])
            amount = round(hours * hourly, 2)
            if amount:
                days.append({"date": str(date), "target": name, "node": node, "gpu_tier": tier, "billed": amount})
                sums[name, node] = sums.get((name, node), 0.0) + amount
        for name, monthly in FIXED.items():
            amount = round(monthly / 30, 2)
            days.append({"date": str(date), "target": name, "node": None, "gpu_tier": None, "billed": amount})
            sums[name, None] = sums.get((name, None), 0.0) + amount
    estimates = []
    for (name, node), since in {**RUNNING, **RUNNING_GCP}.items():
        tier, hourly = next((own[2], price) for own, price in PRICES.items() if own[:2] == (name, node))
        begin = max(since, BILLED_UNTIL)
        hours = (NOW - t.cast(float, _usage.moment(begin))) / 3600
        estimates.append(
            {
                "target": name,
                "node": node,
                "gpu_tier": tier,
                "since": begin,
                "until": "2026-11-19T16:00:00Z",
                "hours": hours,
                "hourly": hourly,
                "amount": round(hours * hourly, 2),
                "basis": "running hours x list price",
            }
        )
    added = {(row["target"], row["node"]): row for row in estimates}
    rows = []
    for (name, node), amount in sums.items():
        row = added.get((name, node))
        extra = row["amount"] if row else 0.0
        today = min(16.0, row["hours"]) * row["hourly"] if row else 0.0
        rows.append(
            {
                "target": name,
                "node": node,
                "month_to_date": round(amount + extra, 2),
                "today": round(today, 2),
                "estimated": extra,
            }
        )
    return {
        "currency": "USD",
        "as_of": BILLED_UNTIL,
        "targets": [target(AWS), target(AZURE), target(GCP)],
        "days": days,
        "rows": rows,
        "estimates": estimates,
        "allocations": [
            {
                "workstation": f"ws-{number:02d}",
                "target": AWS,
                "node": "FLUX Dev",
                "request_seconds": 3600.0 * (6 - number),
                "share": round((6 - number) / 15, 6),
                "allocated": round(sums[AWS, "FLUX Dev"] * (6 - number) / 15, 2),
            }
            for number in range(1, 6)
        ],
        "calls": [
            {"provider": "aws", "calls": 1, "cost_usd": 0.01},
            {"provider": "azure", "calls": 2, "cost_usd": 0.0},
        ],
        "problems": [],
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


def usage(busy: t.Mapping[str, float], rows: t.Sequence[tuple[str, str, float]] = ()) -> dict[str, t.Any]:
    """Return what nim_usage_info tells: NIM to seconds at work in the last day, and rows of hour, NIM and seconds."""
    return {
        "since": "2026-11-01T00:00:00Z",
        "until": "2026-11-19T16:00:00Z",
        "log": {"settled_until": "2026-11-19T15:59:00Z", "problems": []},
        "nims": [
            {"name": name, "recent": {"minutes": 1440, "requests": 9, "busy_seconds": seconds}}
            for name, seconds in busy.items()
        ],
        "rows": [
            {"period": hour, "node": name[4:], "workstation": "ws-01", "request_seconds": seconds}
            for hour, name, seconds in rows
        ],
    }


def usages() -> list[dict[str, t.Any]]:
    """Return what is known of the use of the three targets; of one nothing."""
    azure = nim_name("FLUX Dev", "a100-80gb")
    hours = [("2026-11-18T17:00:00Z", azure, 3000.0), ("2026-11-19T09:00:00Z", azure, 5000.0)]
    return [
        {"target": AWS, "usage": usage({nim_name("FLUX Dev", "l40s"): 8_600.0})},
        {"target": AZURE, "usage": usage({azure: 7_400.0}, hours)},
        {"target": GCP, "error": "the log service does not answer"},
    ]


BUDGETS = [
    {"monthly": 3200, "daily": 500},
    {"target": "azure-*", "monthly": 1400, "warn_percent": 90},
    {"node": "Llama 3.1", "monthly": 900},
]
