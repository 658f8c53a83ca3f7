# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the clouds have billed: more than a month of a studio's use, always up to a day or two before today.

The same day costs the same each time. Each cloud also has costs of others, which nobody should count.
"""

from __future__ import annotations

import dataclasses
import datetime
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

CLUSTER = "budgetguard"
DAYS = 45
"""So many days are known. A month of 31 days and its look back are less."""

OTHERS = "render"
"""The cluster, or resource group, of somebody else in the same account."""

PLACES = {"aws": ("us-east-1", "eu-central-1"), "azure": ("studio",), "gcp": ("us-central1-a",)}
"""Where there is a cluster: regions, resource groups, zones."""

NIMS = {
    "aws": (("FLUX Dev", "nim-flux-dev-l40s", "l40s", "2.30"), ("Llama 3.1", "nim-llama-3-1-l4", "l4", "0.85")),
    "azure": (("FLUX Dev", "nim-flux-dev-a100-80gb", "a100-80gb", "3.70"),),
    "gcp": (
        ("Llama 3.1", "nim-llama-3-1-l4", "l4", "0.90"),
        ("FLUX Dev", "nim-flux-dev-a100-80gb", "a100-80gb", "5.10"),
    ),
}
"""Node, name, tier and price per hour of what runs there."""

SHARED = Decimal("1.25")
"""What a cluster costs a day beside its NIMs."""

OTHERS_COST = Decimal(100)
FIELDS = frozenset(("late_days", "active_tags", "currency", "entries"))


@dataclass(frozen=True)
class Entry:
    """One row of a bill. ``node``, ``name`` and ``tier`` are None for what is not of one NIM."""

    day: str
    place: str
    cluster: str
    amount: Decimal
    node: str | None = None
    name: str | None = None
    tier: str | None = None


@dataclass
class Bill:
    """What is special about one cloud's bill.

    ``active_tags`` are AWS's cost allocation tags with the day of their activation. ``entries`` stand in for the usual
    ones.
    """

    late_days: int = 1
    currency: str = "USD"
    active_tags: Mapping[str, str] = dataclasses.field(
        default_factory=lambda: {"budgetguard:cluster": "2026-01-15", "budgetguard:node": "2026-01-15"}
    )
    entries: tuple[Entry, ...] | None = None


class Ledger:
    """The bills of all clouds."""

    def __init__(self) -> None:
        self._bills = {cloud: Bill() for cloud in PLACES}

    def reset(self) -> None:
        """Go back to what is usual."""
        self._bills = {cloud: Bill() for cloud in PLACES}

    def change(self, cloud: str, changes: Mapping[str, Any]) -> None:
        """Change one cloud's bill. Raises ValueError."""
        unknown = sorted(set(changes) - FIELDS)
        if cloud not in self._bills or unknown:
            raise ValueError(f"a bill of {', '.join(PLACES)} has {', '.join(sorted(FIELDS))}, got {cloud} {unknown}")
        fields = dict(changes)
        if fields.get("entries") is not None:
            rows = [{**row, "amount": Decimal(str(row["amount"]))} for row in fields["entries"]]
            fields["entries"] = tuple(Entry(**row) for row in rows)
        self._bills[cloud] = dataclasses.replace(self._bills[cloud], **fields)

    def of(self, cloud: str) -> Bill:
        """Return what is special about a bill."""
        return self._bills[cloud]

    def entries(self, cloud: str, today: datetime.date | None = None) -> list[Entry]:
        """Return all rows that are on a cloud's bill by today."""
        bill = self._bills[cloud]
        if bill.entries is not None:
            return list(bill.entries)
        today = today or datetime.datetime.now(datetime.timezone.utc).date()
        last = today - datetime.timedelta(days=bill.late_days)
        return [entry for back in range(DAYS, -1, -1) for entry in _day(cloud, last - datetime.timedelta(days=back))]


def _day(cloud: str, day: datetime.date) -> Iterator[Entry]:
    text = day.isoformat()
    for place in PLACES[cloud]:
        yield Entry(text, place, CLUSTER, SHARED)
        for node, name, tier, hourly in NIMS[cloud]:
            chance = random.Random(f"{text} {place} {name}")
            hours = Decimal(0 if day.weekday() > 4 else chance.randrange(2, 11))
            if hours:
                yield Entry(text, place, CLUSTER, Decimal(hourly) * hours, node, name, tier)
    yield Entry(text, PLACES[cloud][0], OTHERS, OTHERS_COST)


def sums(entries: Iterable[Entry], since: str, *, by_day: bool = False) -> dict[tuple[str | None, ...], Decimal]:
    """Return what each node of each place of ours has cost since a day, for tests to compare with."""
    found: dict[tuple[str | None, ...], Decimal] = {}
    for entry in entries:
        if entry.cluster == CLUSTER and entry.day >= since:
            key = (entry.day, entry.place, entry.node) if by_day else (entry.place, entry.node)
            found[key] = found.get(key, Decimal(0)) + entry.amount
    return found
