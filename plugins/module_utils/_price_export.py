# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Prices in what is published: which ones, and when one that is there already stays. Pure.

What is published must not change because time has gone by. So a price that is still the same keeps its date, and one
that cannot be read now keeps what was published.
"""

from __future__ import annotations

import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._figures import cost

MEASURED = ("usd_per_image", "usd_per_1k_tokens")
"""What a request to an endpoint costs in US dollars, where the benchmark has measured it."""

AMOUNTS = ("hourly_usd", *MEASURED)
"""What an endpoint may cost."""

DATE = "priced_at"
FIELDS = (*AMOUNTS, DATE)
"""The fields of an endpoint in public documents, absent where they are not known."""

Entry = t.Mapping[str, t.Any]


def of_row(row: Entry | None) -> dict[str, t.Any]:
    """Return the fields for a row of nim_price_info. Empty where no price in US dollars is known."""
    if row is None or row.get("currency") != "USD" or row.get("hourly") is None or not row.get(DATE):
        return {}
    return {"hourly_usd": row["hourly"], DATE: row[DATE]}


def is_passing(row: Entry | None) -> bool:
    """Say whether what is not known of a price may be known another time. Of what has no row at all, that is so."""
    return row is None or bool(row.get("passing"))


def with_request(price: Entry, seconds: t.Mapping[str, float | None], replicas: t.Any = 1) -> dict[str, t.Any]:
    """Return the price with what requests cost. ``seconds`` of one of the copies that are priced, by C(MEASURED)."""
    found = {name: value for name, value in price.items() if name not in MEASURED}
    amounts = {name: cost(each, found.get("hourly_usd"), replicas) for name, each in seconds.items()}
    return {**found, **{name: amount for name, amount in amounts.items() if amount is not None}}


def settled(new: Entry, old: Entry | None, passing: bool = False) -> dict[str, t.Any]:
    """Return the price to publish.

    ``old`` is what was published. It stays if it says the same, if it is younger, as beside a price of the collection's
    list, or if the new one is unknown or incomplete only for now (``passing``).
    """
    before = {name: old[name] for name in FIELDS if name in old} if old else {}
    now = {name: new[name] for name in FIELDS if name in new}
    if not before.get(DATE) or "hourly_usd" not in before:
        return now
    if passing:
        return before
    if not now:
        return {}
    same = all(before.get(name) == now.get(name) for name in AMOUNTS)
    # Times are ISO 8601 in UTC, so the later one is also the last in the order of texts.
    return before if same or str(before[DATE]) > str(now.get(DATE)) else now


__all__ = ("AMOUNTS", "DATE", "FIELDS", "MEASURED", "is_passing", "of_row", "settled", "with_request")
