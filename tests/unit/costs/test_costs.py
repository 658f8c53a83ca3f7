# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a month has cost and will cost, and what of it is not known."""

from __future__ import annotations

import copy
import csv
import io
import json
import typing as t
from decimal import Decimal

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.filter.nim_costs import nim_costs
from ansible_collections.budgetguard.techops.plugins.module_utils import _spend, _usage
from tests.unit.costs import month
from tests.unit.costs.month import AWS, AZURE, GCP, NOW

HOURS_LEFT = 11 * 24 + 8


def told(spend: dict[str, t.Any] | None = None, **options: t.Any) -> dict[str, t.Any]:
    """Return the costs of the month in all their forms."""
    given: dict[str, t.Any] = {
        "targets": month.targets(),
        "prices": month.prices(),
        "usages": month.usages(),
        "budgets": month.BUDGETS,
        "now": NOW,
        **options,
    }
    return nim_costs(month.spend() if spend is None else spend, **given)


def row(found: dict[str, t.Any], target: str, node: str | None) -> dict[str, t.Any]:
    """Return the row of a node."""
    (own,) = [one for one in found["document"]["rows"] if (one["target"], one["node"]) == (target, node)]
    return t.cast("dict[str, t.Any]", own)


def unread(name: str, problem: str = "not authorized to perform: ce:GetCostAndUsage") -> _spend.Bill:
    """Return the bill of a target that could not be read."""
    return _spend.Bill(name, name.partition("-")[0], problem=problem)


# Sums


def test_days_add_up_to_the_rows_and_these_to_the_total() -> None:
    """No hour counts twice: the last day of a bill still grows, and is estimated as well."""
    found = told()["document"]
    for one in found["rows"]:
        own = [day["amount"] for day in found["days"] if (day["target"], day["node"]) == (one["target"], one["node"])]
        assert sum(own) == pytest.approx(one["month_to_date"], abs=0.01)
    growing = [day for day in found["days"] if day["date"] == "2026-11-18" and day["node"] == "FLUX Dev"]
    assert {day["kind"] for day in growing} == {"billed", "estimate"}
    assert found["total"]["month_to_date"] == pytest.approx(sum(one["month_to_date"] for one in found["rows"]))
    assert found["total"]["month_to_date_complete"]
    amounts = [one["month_to_date"] for one in found["rows"]]
    assert amounts == sorted(amounts, reverse=True)


def test_what_is_an_estimate_is_told_apart() -> None:
    found = told()
    flux = row(found, AWS, "FLUX Dev")
    billed = sum(day["billed"] for day in month.spend()["days"] if (day["target"], day["node"]) == (AWS, "FLUX Dev"))
    assert flux["month_to_date"] - flux["estimated"] == pytest.approx(billed, abs=0.01)
    # 40 hours since the beginning of the last billed day, less what of that day is billed.
    growing = next(
        day["billed"]
        for day in month.spend()["days"]
        if (day["date"], day["target"], day["node"]) == ("2026-11-18", AWS, "FLUX Dev")
    )
    assert flux["estimated"] == pytest.approx(40 * 2.2875 - growing, abs=0.01)
    assert row(found, AWS, "Llama 3.1")["estimated"] == 0


# Forecasts


def test_forecasts_are_what_the_page_says_they_are() -> None:
    found = told()
    flux = row(found, AWS, "FLUX Dev")
    assert flux["forecast"]["running"] == pytest.approx(flux["month_to_date"] + HOURS_LEFT * 2.2875, abs=0.01)
    days = {
        day["date"]: day["billed"] for day in month.spend()["days"] if (day["target"], day["node"]) == (AWS, "FLUX Dev")
    }
    pace = sum(days.get(f"2026-11-{number:02d}", 0.0) for number in range(11, 18)) / 7
    assert flux["forecast"]["pace"] == pytest.approx(flux["month_to_date"] + pace * HOURS_LEFT / 24, abs=0.01)
    stopped = row(found, AZURE, "FLUX Kontext")
    assert stopped["forecast"]["running"] == stopped["month_to_date"]
    shared = row(found, GCP, None)
    assert shared["forecast"]["running"] == pytest.approx(shared["month_to_date"] + 180 / 730 * HOURS_LEFT, abs=0.01)
    total = found["document"]["total"]["forecast"]
    for how in ("running", "pace"):
        whole = sum(one["forecast"][how] for one in found["document"]["rows"])
        assert total[how] == {"amount": pytest.approx(whole, abs=0.01), "complete": True}


def test_pace_is_that_of_as_many_days_as_were_asked_for() -> None:
    one_day = row(told(pace_days=1), AWS, "FLUX Dev")
    assert one_day["billed_days"] == 1
    last = next(
        day["billed"]
        for day in month.spend()["days"]
        if (day["date"], day["target"], day["node"]) == ("2026-11-17", AWS, "FLUX Dev")
    )
    assert one_day["per_billed_day"] == pytest.approx(last)
    assert row(told(pace_days=31), AWS, "FLUX Dev")["billed_days"] == 17


def test_no_price_is_no_forecast_by_what_runs_and_says_so() -> None:
    prices = month.prices()
    prices["prices"] = [one for one in prices["prices"] if one["target"] != AWS]
    found = told(prices=prices)
    flux = row(found, AWS, "FLUX Dev")
    assert (flux["hourly"], flux["forecast"]["running"]) == (None, None)
    assert flux["forecast"]["pace"] is not None
    assert any(
        note.startswith("FLUX Dev on aws-us-east-1: it runs, and its list price is not known")
        for note in found["document"]["notes"]
    )
    total = found["document"]["total"]["forecast"]["running"]
    assert not total["complete"]
    assert total["amount"] < told()["document"]["total"]["forecast"]["running"]["amount"]
    assert "at least" in found["lines"][-1] or any("at least" in line for line in found["lines"])


def test_a_price_in_another_currency_is_none() -> None:
    prices = month.prices()
    for one in prices["prices"]:
        one["currency"] = "EUR"
    assert row(told(prices=prices), AWS, "FLUX Dev")["hourly"] is None


def test_a_target_that_could_not_be_looked_at_may_run_anything() -> None:
    targets = month.targets()
    targets[0] = {**targets[0], "read": False, "error": "no answer", "deployments": []}
    found = told(targets=targets)
    assert row(found, AWS, "Llama 3.1")["forecast"]["running"] is None
    assert row(found, AWS, "Llama 3.1")["running"] is None
    assert "aws-us-east-1: what runs there is not known: no answer" in found["document"]["notes"]
    # One that sleeps as a whole runs nothing.
    targets[0]["asleep"] = True
    assert row(told(targets=targets), AWS, "Llama 3.1")["running"] is False


# What is not known


def test_a_bill_that_cannot_be_read_is_not_known_and_never_nothing() -> None:
    spend = month.spend(azure_eastus=unread(AZURE))
    spend["problems"] = [f"{AZURE}: what was billed is not known: no"]
    found = told(spend)
    total = found["document"]["total"]
    assert total["month_to_date"] > 0
    assert not total["month_to_date_complete"]
    assert not total["forecast"]["pace"]["complete"]
    flux = row(found, AZURE, "FLUX Dev")
    assert (flux["month_to_date"], flux["today"], flux["forecast"]["running"]) == (None, None, None)
    assert any(line.startswith("This month at least ") for line in found["lines"])
    assert found["document"]["notes"].count(f"{AZURE}: what was billed is not known: no") == 1
    assert found["tab"]["state"] == "warning"
    budgets = {one["name"]: one for one in found["document"]["budgets"] if one["period"] == "month"}
    assert (budgets["budget on azure-*"]["spent"], budgets["budget on azure-*"]["state"]) == (None, "note")
    assert not budgets["budget of the studio"]["complete"]


def test_nothing_read_is_nothing_known() -> None:
    bills = {name.replace("-", "_"): unread(name) for name in month.FIXED}
    found = told(month.spend(**bills))
    assert found["document"]["total"]["month_to_date"] is None
    assert found["document"]["total"]["forecast"]["running"] == {"amount": None, "complete": False}
    assert "What was spent is not known." in found["lines"]
    assert "nothing is known to be billed" in found["lines"][0]
    assert not [line for line in found["lines"] if " 0.00" in line]
    assert [tile["value"] for tile in found["tab"]["blocks"][0]["items"][:5]] == [
        "-",
        "-",
        "-",
        "not known",
        "not known",
    ]


def test_a_month_without_costs_is_zero() -> None:
    spend = {
        "currency": "USD",
        "as_of": "2026-11-18T00:00:00Z",
        "targets": month.spend()["targets"],
        "days": [],
        "rows": [],
    }
    found = told(spend, targets=[{**one, "deployments": []} for one in month.targets()])
    assert found["document"]["total"]["month_to_date"] == 0
    assert found["document"]["total"]["month_to_date_complete"]


def test_who_sends_no_bill_is_outside_of_the_sums() -> None:
    spend = month.spend()
    nvidia = _spend.target_row(_spend.Bill("nvidia-studio", "nvidia", problem="NVIDIA has no such API"), "USD", NOW)
    spend["targets"].append(nvidia)
    function = {"name": "f", "node": "SDXL", "gpu_tier": "l40s", "replicas": 1, "running_since": None}
    targets = [*month.targets(), {"target": "nvidia-studio", "read": True, "asleep": False, "deployments": [function]}]
    found = told(spend, targets=targets)
    assert found["document"]["total"]["month_to_date_complete"]
    assert found["document"]["total"] == told()["document"]["total"]
    assert "nvidia-studio is not in these sums: NVIDIA has no such API" in found["document"]["notes"]
    assert [one["why"] for one in found["document"]["idle"]["nims"] if one["node"] == "SDXL"] == [
        "its use was not read"
    ]


def test_an_estimate_that_is_not_known_makes_a_sum_incomplete() -> None:
    spend = month.spend()
    for item in spend["estimates"]:
        if item["target"] == GCP:
            item.update(amount=None, hourly=None)
    found = told(spend)
    assert not row(found, GCP, "Llama 3.1")["month_complete"]
    assert not found["document"]["total"]["month_to_date_complete"]
    llama = next(one for one in found["document"]["budgets"] if one["node"] == "Llama 3.1")
    assert (llama["complete"], llama["state"]) == (False, "note")
    assert any("what it has cost since the bill ends is not known" in note for note in found["document"]["notes"])
    assert "> " in next(line for line in found["lines"] if line.startswith("Llama 3.1     gcp"))
    days = [day for day in found["document"]["days"] if (day["target"], day["kind"]) == (GCP, "estimate")]
    assert [day["amount"] for day in days] == [None, None]


# Budgets


@pytest.mark.parametrize(
    ("budget", "state", "says"),
    [
        ({"monthly": 20000}, "ok", "(15 %)."),
        ({"monthly": 4700}, "warning", "(62 %): the forecast is above it: 4,963 USD if what runs now goes on."),
        ({"monthly": 5500, "warn_percent": 50}, "warning", "(53 %): soon used up."),
        ({"monthly": 2900}, "problem", "(101 %): used up."),
        ({"monthly": 2900, "stop_percent": 110}, "warning", "the forecast is above it"),
        ({"monthly": 9000, "currency": "EUR"}, "note", "not known: spend is in USD, the budget in EUR"),
        ({"daily": 500}, "note", "at least 80.13 of 500.00 USD of this day (16 %)."),
        ({"daily": 60}, "problem", "used up"),
        ({"node": "Mixtral", "monthly": 10}, "ok", "0.00 of 10.00 USD"),
        ({"target": "gcp-*", "node": "SD*", "monthly": 130}, "warning", "the forecast is above it"),
    ],
)
def test_budgets(budget: dict[str, t.Any], state: str, says: str) -> None:
    found = told(budgets=[budget])
    (one,) = found["document"]["budgets"]
    assert one["state"] == state
    assert [line for line in found["lines"] if line.startswith("Budget ") and says in line], found["lines"]


def test_budgets_that_are_wrong_are_refused_before_anything_is_read() -> None:
    with pytest.raises(AnsibleFilterError, match=r"guard_budgets\[0\]: must have monthly or daily"):
        nim_costs({"currency": "USD", "targets": []}, budgets=[{"node": "FLUX Dev"}])


def test_no_budget_is_told() -> None:
    assert "There is no budget (guard_budgets)." in told(budgets=[])["lines"]


# Idle time


def idle(found: dict[str, t.Any], target: str) -> dict[str, t.Any]:
    """Return the idle time of the NIM that runs on a target."""
    (own,) = [one for one in found["document"]["idle"]["nims"] if one["target"] == target]
    return t.cast("dict[str, t.Any]", own)


def test_idle_share_is_exact_for_what_ran_all_the_time() -> None:
    aws = idle(told(), AWS)
    hours = 24 - 1 / 60
    assert aws["running_hours"] == pytest.approx(hours, abs=0.001)
    assert aws["idle_share"] == pytest.approx(1 - 8600 / 3600 / hours, abs=0.0001)
    assert not aws["at_least"]
    assert aws["idle_cost"] == pytest.approx((hours - 8600 / 3600) * 2.2875, abs=0.01)


def test_idle_share_is_at_least_so_much_for_what_was_started_since() -> None:
    """What was asked of it on the day before its start is not counted, and what it worked all in all is the most."""
    azure = idle(told(), AZURE)
    assert azure["since"] == "2026-11-19T08:00:00Z"
    assert azure["busy_hours"] == pytest.approx(5000 / 3600, abs=0.001)
    assert azure["at_least"]
    usages = month.usages()
    usages[1]["usage"]["nims"][0]["recent"]["busy_seconds"] = 1800.0
    assert idle(told(usages=usages), AZURE)["busy_hours"] == 0.5


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"error": "the log service does not answer", "usage": None}, "the log service does not answer"),
        ({"usage": None}, "its use was not read"),
        ({"log": {"problems": ["the log begins at 12:00"]}, "busy": None}, "the log begins at 12:00"),
        ({"busy": None}, "the log does not say how long it worked"),
        ({"since": None}, "the target does not say since when it runs"),
        ({"settled": "2026-11-19T07:00:00Z"}, "it was started after the log's last line that counts"),
    ],
)
def test_idle_time_that_is_not_known_says_why(change: dict[str, t.Any], why: str) -> None:
    usages, targets = month.usages(), month.targets()
    mine = copy.deepcopy(usages[1])
    if "usage" in change:
        mine.update(change)
    else:
        mine["usage"]["log"].update(change.get("log", {}))
        if "busy" in change:
            mine["usage"]["nims"][0]["recent"]["busy_seconds"] = change["busy"]
        if "settled" in change:
            mine["usage"]["log"]["settled_until"] = change["settled"]
    if "since" in change:
        targets[1]["deployments"][0]["running_since"] = None
    found = told(usages=[usages[0], mine], targets=targets)
    azure = idle(found, AZURE)
    assert (azure["idle_share"], azure["busy_hours"], azure["idle_cost"]) == (None, None, None)
    assert azure["why"] == why
    assert f"FLUX Dev on azure-eastus: idle time not known: {why}" in found["document"]["notes"]
    assert "unknown" in next(line for line in found["lines"] if line.startswith("FLUX Dev      azure"))
    assert found["document"]["idle"]["unknown"] == 2


def test_work_longer_than_the_time_it_ran_is_no_negative_idle_time() -> None:
    usages = month.usages()
    usages[0]["usage"]["nims"][0]["recent"]["busy_seconds"] = 10 * 86400.0
    assert idle(told(usages=usages), AWS)["idle_share"] == 0


# Forms


def test_csv_has_a_line_for_each_day_and_node() -> None:
    found = told()
    rows = list(csv.DictReader(io.StringIO(found["csv"])))
    whole = sum(float(one["amount"]) for one in rows)
    assert whole == pytest.approx(found["document"]["total"]["month_to_date"], abs=0.05)
    assert {one["kind"] for one in rows} == {"billed", "estimate"}
    assert {one["node"] for one in rows if not one["gpu_tier"]} == {"shared"}


def test_what_is_not_known_is_empty_in_csv_and_a_name_is_no_formula() -> None:
    spend = month.spend()
    spend["days"][0].update(billed=None, node="=1+1")
    rows = list(csv.DictReader(io.StringIO(told(spend)["csv"])))
    assert [one["amount"] for one in rows if one["node"] == "'=1+1"] == [""]


def test_the_same_data_gives_the_same_text() -> None:
    first, second = (json.dumps(told(), sort_keys=True, allow_nan=False) for _time in range(2))
    assert first == second
    other = month.spend()
    for name in ("days", "rows", "estimates"):
        other[name].reverse()
    mixed = told(other, targets=month.targets()[::-1])
    assert mixed["csv"] == told()["csv"]
    assert mixed["tab"]["blocks"][1] == told()["tab"]["blocks"][1]


def test_lines_are_short_enough_for_a_terminal() -> None:
    found = told()
    start = next(number for number, line in enumerate(found["lines"]) if line.startswith("NODE"))
    table = found["lines"][start : start + 1 + len(found["document"]["rows"])]
    assert max(map(len, table)) <= 80
    assert table[0].split() == ["NODE", "TARGET", "TODAY", "MONTH", "ESTIMATED", "FORECAST", "IDLE"]
    cells = next(line for line in table if line.startswith("FLUX Dev      aws")).split()
    assert cells[-2:] == ["90", "%"]


def test_estimates_forecasts_and_allocations_are_named_so() -> None:
    found = told()
    text = json.dumps(found["tab"])
    for words in (
        "an estimate",
        "Forecast if what runs now goes on",
        "Forecast at the pace",
        "Allocation to workstations",
    ):
        assert words in text
    (table,) = [one for one in found["tab"]["blocks"] if str(one.get("title")).startswith("Allocation")]
    assert {one["cells"]["workstation"] for one in table["rows"]} >= {"ws-01", "ws-05"}
    assert "workstations" not in found["summary"]
    assert "ws-01" not in json.dumps(found["summary"])


def test_first_of_a_month_nothing_is_billed_yet() -> None:
    now = t.cast(float, _usage.moment("2026-11-01T06:00:00Z"))
    bill = _spend.Bill(AWS, "aws", (), t.cast(float, _usage.moment("2026-10-31T00:00:00Z")), now)
    names = _spend.Names((target, "", node, tier) for target, node, tier in month.PRICES)
    run = _spend.Run(AWS, "FLUX Dev", month.nim_name("FLUX Dev", "l40s"), "l40s", 0.0, Decimal("2.2875"))
    estimates = _spend.estimates([run], [bill], now)
    spend = {
        "currency": "USD",
        "as_of": "2026-10-31T00:00:00Z",
        "targets": [_spend.target_row(bill, "USD", now)],
        "days": [],
        "rows": _spend.rows_of(bill, names, estimates, now),
        "estimates": [item.row() for item in estimates],
    }
    found = told(spend, now=now, targets=month.targets()[:1], usages=())["document"]
    assert found["month"] == "2026-11"
    assert found["total"]["month_to_date"] == pytest.approx(6 * 2.2875)
    # The bill has 30 hours to catch up with, of which 6 are of this month.
    assert [(day["date"], day["amount"]) for day in found["days"]] == [("2026-11-01", pytest.approx(6 * 2.2875))]
    assert found["total"]["forecast"]["pace"] == {"amount": None, "complete": False}


@pytest.mark.parametrize(
    ("spend", "options", "says"),
    [
        ([], {}, "it takes what nim_spend_info returns"),
        ({"currency": "USD", "targets": "x"}, {}, r"spend\.targets: must be a list of mappings"),
        ({"currency": "USD", "targets": [], "days": [{"date": "x", "target": "a"}]}, {}, "'x' must be a date"),
        (None, {"targets": ["aws"]}, "targets: must be a list of mappings"),
        (None, {"usages": "x"}, "usages: must be a list of mappings"),
        (None, {"prices": {"prices": "x"}}, "prices: must be a list of mappings"),
        (None, {"pace_days": 0}, "pace_days is 0; it must be 1 or more"),
    ],
)
def test_what_cannot_be_used_is_refused(spend: t.Any, options: dict[str, t.Any], says: str) -> None:
    with pytest.raises(AnsibleFilterError, match=says):
        nim_costs(month.spend() if spend is None else spend, **options)


def test_days_of_earlier_months_come_first_and_count_to_no_sum() -> None:
    spend = month.spend()
    early = {"date": "2026-10-30", "target": AWS, "node": "FLUX Dev", "gpu_tier": "l40s", "billed": 50.0}
    spend["days"].insert(0, early)
    found = told(spend)
    plot, forecast = found["tab"]["blocks"][1:3]
    assert [column["title"] for column in plot["columns"]][:4] == [
        "2026-10-30",
        "2026-10-31",
        "2026-11-01",
        "2026-11-02",
    ]
    assert [column["label"] for column in plot["columns"]][:4] == ["30", "31", "Nov 1", "2"]
    assert found["document"]["total"] == told()["document"]["total"]
    assert forecast == told()["tab"]["blocks"][2]


def test_the_plot_of_the_month_leads_from_what_was_spent_to_the_forecasts() -> None:
    found = told()
    plot = found["tab"]["blocks"][2]
    total = found["document"]["total"]
    columns = {column["label"]: column["values"] for column in plot["columns"]}
    spent = [values["spent"] for values in columns.values() if "spent" in values]
    assert spent == sorted(spent)
    assert columns["19"] == dict.fromkeys(("spent", "running", "pace"), total["month_to_date"])
    assert columns["18"] == {
        "spent": pytest.approx(sum(day["amount"] for day in found["document"]["days"] if day["date"] <= "2026-11-18"))
    }
    for how in ("running", "pace"):
        assert columns["30"][how] == pytest.approx(total["forecast"][how]["amount"], abs=0.01)
        # The 20th ends 32 hours after now, the month 272.
        ahead = total["forecast"][how]["amount"] - total["month_to_date"]
        assert columns["20"][how] == pytest.approx(total["month_to_date"] + ahead * 32 / HOURS_LEFT, abs=0.01)
        rises = [columns[str(day + 1)][how] - columns[str(day)][how] for day in range(20, 30)]
        assert max(rises) == pytest.approx(min(rises), abs=0.02)
    assert plot["levels"] == [{"title": "Budget of the studio", "value": 3200.0}]


def test_a_target_without_rows_that_was_not_looked_at_makes_one_forecast_incomplete() -> None:
    spend = month.spend()
    for name in ("rows", "days", "estimates"):
        spend[name] = [one for one in spend[name] if one["target"] != AWS]
    found = told(spend, targets=month.targets()[1:], budgets=[{"target": "aws-*", "monthly": 10}])
    forecast = found["document"]["total"]["forecast"]
    assert (forecast["running"]["complete"], forecast["pace"]["complete"]) == (False, True)
    assert found["document"]["total"]["month_to_date_complete"]
    (budget,) = found["document"]["budgets"]
    assert (budget["spent"], budget["forecast"]["running"]["complete"]) == (0, False)
