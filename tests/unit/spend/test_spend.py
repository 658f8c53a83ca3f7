# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bills, estimates and what they come to: no hour counts twice, and what is not known is no 0."""

from __future__ import annotations

import typing as t
from decimal import Decimal

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _spend, _usage
from ansible_collections.budgetguard.techops.plugins.module_utils._spend import Bill, Line, Names, Reading, Run

HOUR = 3600.0
NAMES = Names([("aws", "nim-flux-dev-l40s", "FLUX Dev", "l40s"), ("aws", "nim-llama-3-1-l4", "Llama 3.1", "l4")])


def at(text: str) -> float:
    """Return a moment."""
    found = _usage.moment(text)
    assert found is not None
    return found


def line(day: str, amount: str, node: str | None = "FLUX Dev", target: str = "aws", **more: t.Any) -> Line:
    """Return a line in US dollars."""
    return Line(day, target, Decimal(amount), "USD", node, **more)


def bill(*lines: Line, provider: str = "aws", **more: t.Any) -> Bill:
    """Return a bill with these lines."""
    fields = {"billed_until": _spend.billed_until(lines), "read_at": 0.0, **more}
    return Bill("aws", provider, lines, **fields)


def estimated(found: Bill, now: float, since: str | None, hourly: str | None = "2") -> list[_spend.Estimate]:
    """Return the estimate of a NIM that runs since a time."""
    begun = None if since is None else at(since)
    run = Run("aws", "FLUX Dev", "nim-flux-dev-l40s", "l40s", begun, None if hourly is None else Decimal(hourly))
    return _spend.estimates([run], [found], now)


def row(found: Bill, estimates: t.Sequence[_spend.Estimate], now: float) -> dict[str, t.Any]:
    """Return the row of FLUX Dev."""
    return next(item for item in _spend.rows_of(found, NAMES, estimates, now) if item["node"] == "FLUX Dev")


def test_what_is_billed_of_the_last_day_is_taken_off_the_estimate() -> None:
    now = at("2026-11-28T12:00:00Z")
    found = bill(line("2026-11-26", "10"), line("2026-11-27", "5"))
    assert found.billed_until == at("2026-11-27T00:00:00Z")
    # It runs since the 25th, so 36 hours are not surely billed, of which 5 USD are.
    runs = estimated(found, now, "2026-11-25T00:00:00Z")
    assert runs[0].row()["hours"] == 36
    assert runs[0].row()["amount"] == 72
    assert row(found, runs, now) == {
        "target": "aws",
        "node": "FLUX Dev",
        "month_to_date": 10 + 72,
        "today": 24,
        "estimated": 72 - 5,
    }


def test_a_bill_that_is_higher_than_the_estimate_counts() -> None:
    now = at("2026-11-28T12:00:00Z")
    found = bill(line("2026-11-28", "30"))
    told = row(found, estimated(found, now, "2026-11-28T11:00:00Z"), now)
    assert (told["month_to_date"], told["today"], told["estimated"]) == (30, 30, 0)


def test_on_the_first_of_a_month_the_old_bill_says_nothing_about_it() -> None:
    now = at("2026-12-01T06:00:00Z")
    found = bill(line("2026-11-29", "30", None), line("2026-11-30", "30"))
    (told,) = _spend.rows_of(found, NAMES, [], now)
    assert told == {"target": "aws", "node": None, "month_to_date": None, "today": None, "estimated": None}
    # What runs is estimated, but only what falls into the month.
    flux = row(found, estimated(found, now, "2026-11-20T00:00:00Z"), now)
    assert (flux["month_to_date"], flux["today"], flux["estimated"]) == (12, 12, 12)
    assert _spend.first_day("2026-12-01", now) == "2026-11-28"


def test_what_cannot_be_estimated_is_none() -> None:
    now = at("2026-11-28T12:00:00Z")
    found = bill(line("2026-11-27", "5"))
    for since, hourly in ((None, "2"), ("2026-11-28T00:00:00Z", None)):
        runs = estimated(found, now, since, hourly)
        assert runs[0].row()["amount"] is None
        told = row(found, runs, now)
        assert (told["month_to_date"], told["today"], told["estimated"]) == (5, None, 0)


def test_nothing_billed_is_nothing_only_beside_others_that_are() -> None:
    reading = Reading((line("2026-11-27", "5"),))
    one, other = _spend.bills(reading, {"aws": "aws", "idle": "aws"}, currency="USD", read_at=0.0)
    now = at("2026-11-28T12:00:00Z")
    assert other.billed_until == one.billed_until
    (told,) = _spend.rows_of(other, NAMES, [], now)
    assert (told["month_to_date"], told["today"]) == (0, None)
    (alone,) = _spend.bills(Reading(), {"idle": "aws"}, currency="USD", read_at=0.0)
    assert not alone.is_known
    (told,) = _spend.rows_of(alone, NAMES, [], now)
    assert told["month_to_date"] is None


@pytest.mark.parametrize(
    ("known", "node", "tier"),
    [
        (line("2026-11-27", "1", None, name="nim-llama-3-1-l4", gpu_tier="l40s"), "Llama 3.1", "l4"),
        (line("2026-11-27", "1", None, name="kube:unallocated", gpu_tier="l4"), "Llama 3.1", "l4"),
        (line("2026-11-27", "1", "FLUX Dev"), "FLUX Dev", "l40s"),
        (line("2026-11-27", "1", "Removed Node"), "Removed Node", None),
        (line("2026-11-27", "1", None, gpu_tier="h100"), None, "h100"),
        (line("2026-11-27", "1", None, target="other", gpu_tier="l4"), None, "l4"),
        (line("2026-11-27", "1", None), None, None),
    ],
)
def test_whose_a_line_is(known: Line, node: str | None, tier: str | None) -> None:
    assert NAMES.whose(known) == (node, tier)


def test_two_nodes_on_one_tier_share() -> None:
    names = Names([("aks", "nim-a-a10", "A", "a10"), ("aks", "nim-b-a10", "B", "a10")])
    assert names.whose(line("2026-11-27", "1", None, target="aks", gpu_tier="a10")) == (None, "a10")


def test_a_bill_that_names_no_node_though_one_ran_is_told() -> None:
    now = at("2026-11-28T12:00:00Z")
    found = bill(line("2026-11-27", "5", None))
    (said,) = _spend.problems_of(found, NAMES, estimated(found, now, "2026-11-20T00:00:00Z"), now)
    assert "the bill names no node, though nim-flux-dev-l40s runs for more than a day" in said
    # One that was started lately need not be on it.
    assert list(_spend.problems_of(found, NAMES, estimated(found, now, "2026-11-27T00:00:00Z"), now)) == []
    named = bill(line("2026-11-27", "5"))
    assert list(_spend.problems_of(named, NAMES, estimated(named, now, "2026-11-20T00:00:00Z"), now)) == []


def test_lines_that_say_the_same_are_one_and_nothing_is_none() -> None:
    lines = _spend.merged(
        [
            line("2026-11-27", "1"),
            line("2026-11-27", "2"),
            line("2026-11-27", "1", None),
            line("2026-11-27", "-1", None),
        ]
    )
    assert lines == (line("2026-11-27", "3"),)


def test_prices_are_those_of_the_copies_that_run() -> None:
    deployment = {"name": "nim-flux-dev-l40s", "node": "FLUX Dev", "gpu_tier": "l40s", "replicas": 3}
    price = {"target": "aws", "name": None, "node": "FLUX Dev", "gpu_tier": "l40s", "hourly": 4.0, "replicas": 2}
    found = [{"target": "aws", "deployments": [deployment, {**deployment, "replicas": 0}]}]
    (run,) = _spend.runs(found, [price], "USD")
    assert run.hourly == 6
    for wrong in ({"target": "other"}, {"currency": "EUR"}, {"hourly": None}):
        (run,) = _spend.runs(found, [{**price, **wrong}], "USD")
        assert run.hourly is None


def test_a_log_that_is_not_whole_is_told_beside_the_allocation() -> None:
    usage = {
        "since": "2026-11-27T00:00:00Z",
        "until": "2026-11-28T00:00:00Z",
        "log": {"known": True, "complete": False},
        "rows": [{"workstation": "ws-01", "node": "flux-dev-l40s", "target": "aws", "request_seconds": 5}],
    }
    found = bill(line("2026-11-26", "100"), line("2026-11-27", "8"), line("2026-11-27", "1", "Llama 3.1"))
    told, problems = _spend.allocations([{"target": "aws", "usage": usage}], [found], NAMES, "2026-11-01")
    # Only of the days of the log; what nobody used is nobody's.
    assert [(item["node"], item["allocated"]) for item in told] == [("FLUX Dev", 8)]
    assert problems == ["aws: the usage log is not complete, so what is allocated may be wrong"]
