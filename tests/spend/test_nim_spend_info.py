# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action nim_spend_info over all providers at once, in one process, with the sandbox as the clouds."""

from __future__ import annotations

import datetime
import typing as t
from pathlib import Path

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.budgetguard.techops.plugins.action.nim_spend_info import ActionModule
from tests.prices.inventory import Inventory
from tests.sandbox import SandboxControl
from tests.sandbox.spend import Ledger, sums
from tests.sandbox.spend.gcp import TABLE

SPEND_SERVICES = ("ce", "azure-costs", "bigquery")
MATRIX = {
    "FLUX Dev": {"aws": {"gpu_tier": "l40s"}, "azure": {"gpu_tier": "a100-80gb"}, "gcp": {"gpu_tier": "a100-80gb"}},
    "Llama 3.1": {"aws": {"gpu_tier": "l4"}, "gcp": {"gpu_tier": "l4"}},
}
TARGETS: dict[str, dict[str, t.Any]] = {
    "aws-east": {"region": "us-east-1"},
    "aws-eu": {"region": "eu-central-1"},
    "azure-east": {"resource_group": "studio", "region": "East US"},
    "gcp-central": {"location": "us-central1-a"},
    "nvidia-studio": {"org": "studio"},
    "render-01": {"gpu_tier": "l40s"},
}
PLACES = {
    "aws-east": ("aws", "us-east-1"),
    "aws-eu": ("aws", "eu-central-1"),
    "azure-east": ("azure", "studio"),
    "gcp-central": ("gcp", "us-central1-a"),
}
UTC = datetime.timezone.utc


def today() -> datetime.date:
    """Return the day by the clock of bills."""
    return datetime.datetime.now(UTC).date()


def ago(days: int) -> str:
    """Return an earlier day."""
    return (today() - datetime.timedelta(days=days)).isoformat()


class Spend(Inventory):
    """Runs the action with an inventory of targets of each provider."""

    action = ActionModule
    services = SPEND_SERVICES
    matrix = MATRIX


@pytest.fixture
def spend(control: SandboxControl, tmp_path: Path) -> Spend:
    """Give an inventory whose bills were never read."""
    return Spend(control, tmp_path / "cache" / "spend.json", TARGETS, {"gcp-central": {"spend_bigquery_table": TABLE}})


def test_every_cloud_tells_each_node_and_day_as_it_was_billed(spend: Spend) -> None:
    since = ago(31)
    result = spend.run(since=since)
    assert result["changed"] is False
    assert result["problems"] == []
    told = {(row["target"], row["date"], row["node"]): row["billed"] for row in result["days"]}
    expected = {
        (target, day, node): float(amount)
        for target, (cloud, place) in PLACES.items()
        for (day, where, node), amount in sums(Ledger().entries(cloud), since, by_day=True).items()
        if where == place
    }
    assert told == pytest.approx(expected)
    tiers = {(row["target"], row["node"], row["gpu_tier"]) for row in result["days"]}
    assert tiers == {
        ("aws-east", "FLUX Dev", "l40s"),
        ("aws-east", "Llama 3.1", "l4"),
        ("aws-east", None, None),
        ("aws-eu", "FLUX Dev", "l40s"),
        ("aws-eu", "Llama 3.1", "l4"),
        ("aws-eu", None, None),
        ("azure-east", "FLUX Dev", "a100-80gb"),
        ("azure-east", None, None),
        ("gcp-central", "FLUX Dev", "a100-80gb"),
        ("gcp-central", "Llama 3.1", "l4"),
        ("gcp-central", None, None),
    }


def test_targets_of_one_account_are_one_question_and_a_second_look_asks_nobody(spend: Spend) -> None:
    first = spend.run()
    asked = spend.calls()
    days = len({row["date"] for row in first["days"]}) + 4
    pages = -(-days // 7)
    aws = next(row for row in first["calls"] if row["provider"] == "aws")
    # Both regions at once: the pages of one question, and one call that asks for the tags.
    assert asked["ce"] == aws["calls"]
    assert abs(asked["ce"] - pages - 1) <= 1
    assert aws["cost_usd"] == pytest.approx(0.01 * asked["ce"])
    gcp = next(row for row in first["calls"] if row["provider"] == "gcp")
    assert gcp["bytes_billed"] > 0
    assert {row["cached"] for row in first["targets"] if row["source"]} == {False}
    second = spend.run()
    assert not spend.calls()
    assert {row["cached"] for row in second["targets"] if row["source"]} == {True}
    assert second["days"] == first["days"]
    assert [(row["calls"], row["cost_usd"]) for row in second["calls"]] == [(0, 0.0)] * 3
    stored = spend.cache.read_text()
    assert "CaNaRy" not in stored
    # A question about other targets is another one, and is asked.
    spend.run(targets=["aws-east"])
    assert set(spend.calls()) == {"ce"}


def test_two_clusters_with_one_resource_group_or_region_are_told_apart(spend: Spend) -> None:
    spend.targets = {
        "aws-east": {"region": "us-east-1"},
        "aws-other": {"region": "us-east-1", "cluster": "trailers"},
    }
    result = spend.run(since=ago(20))
    assert {row["target"] for row in result["days"]} == {"aws-east"}
    other = next(row for row in result["targets"] if row["target"] == "aws-other")
    assert "nothing since" in other["problem"]
    assert "budgetguard:cluster=trailers" in other["problem"]
    rows = [row for row in result["rows"] if row["target"] == "aws-other"]
    assert rows == [{"target": "aws-other", "node": None, "month_to_date": None, "today": None, "estimated": None}]


def test_how_late_a_bill_is_and_what_runs_since_then(spend: Spend) -> None:
    # It was billed up to yesterday, and yesterday may still grow.
    now = datetime.datetime.now(UTC)
    until = datetime.datetime.combine(today() - datetime.timedelta(days=1), datetime.time(), UTC)
    month_began = datetime.datetime.combine(today().replace(day=1), datetime.time(), UTC)
    started = max(now - datetime.timedelta(hours=3), month_began)
    hours = (now - started).total_seconds() / 3600
    found = {
        "target": "aws-east",
        "provider": "aws",
        "read": True,
        "region": "us-east-1",
        "deployments": [
            {
                "name": "nim-flux-dev-l40s",
                "node": "FLUX Dev",
                "gpu_tier": "l40s",
                "replicas": 1,
                "running_since": started.strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
            {"name": "nim-llama-3-1-l4", "node": "Llama 3.1", "gpu_tier": "l4", "replicas": 0},
        ],
    }
    price = {"target": "aws-east", "name": "nim-flux-dev-l40s", "node": "FLUX Dev", "gpu_tier": "l40s"}
    prices = [{**price, "hourly": 4.6, "currency": "USD", "replicas": 2}]
    result = spend.run(found=[found], prices={"prices": prices})
    told = {row["target"]: row for row in result["targets"]}
    assert told["aws-east"]["billed_until"] == until.strftime("%Y-%m-%dT%H:%M:%SZ") == result["as_of"]
    assert told["aws-east"]["late_hours"] == pytest.approx((now - until).total_seconds() / 3600, abs=0.2)
    (estimate,) = result["estimates"]
    assert (estimate["node"], estimate["hourly"], estimate["basis"]) == ("FLUX Dev", 2.3, "running hours x list price")
    assert estimate["hours"] == pytest.approx(hours, abs=0.05)
    assert estimate["amount"] == pytest.approx(hours * 2.3, abs=0.1)
    rows = {(row["target"], row["node"]): row for row in result["rows"]}
    month = today().replace(day=1).isoformat()
    billed = sums(Ledger().entries("aws"), month)
    yesterday = sum(
        float(entry.amount)
        for entry in Ledger().entries("aws")
        if (entry.day, entry.place, entry.node) == (ago(1), "us-east-1", "FLUX Dev") and entry.day >= month
    )
    # What is billed of the time since is taken off what is estimated.
    flux = rows["aws-east", "FLUX Dev"]
    assert flux["estimated"] == pytest.approx(max(0.0, estimate["amount"] - yesterday), abs=0.1)
    known = float(billed.get(("us-east-1", "FLUX Dev"), 0)) + flux["estimated"]
    assert flux["month_to_date"] == pytest.approx(known, abs=0.1)
    # What stands still is not estimated, and of today nothing is billed.
    if ("us-east-1", "Llama 3.1") in billed:
        llama = rows["aws-east", "Llama 3.1"]
        assert (llama["estimated"], llama["today"]) == (0, None)


def test_a_bill_that_is_very_late_is_told(spend: Spend) -> None:
    spend.control.bill("azure", late_days=6)
    result = spend.run(targets=["azure-east"], since=ago(20))
    (problem,) = result["problems"]
    assert f"azure-east: nothing is billed since {ago(6)}" in problem
    assert max(row["date"] for row in result["days"]) == ago(6)


def test_tags_that_are_not_active_are_not_zero(spend: Spend) -> None:
    spend.control.bill("aws", active_tags={})
    result = spend.run(targets=["aws-east", "aws-eu"])
    assert result["days"] == []
    assert result["as_of"] is None
    assert {row["month_to_date"] for row in result["rows"]} == {None}
    assert all("activate it as a cost allocation tag" in text for text in result["problems"])
    assert len(result["problems"]) == 2


def test_without_the_tag_of_nodes_all_is_shared_and_told_so(spend: Spend) -> None:
    spend.control.bill("aws", active_tags={"budgetguard:cluster": "2026-01-15"})
    result = spend.run(targets=["aws-east"], since=ago(20))
    assert {row["node"] for row in result["days"]} == {None}
    whole = sum(
        amount for (place, _node), amount in sums(Ledger().entries("aws"), ago(20)).items() if place == "us-east-1"
    )
    assert sum(row["billed"] for row in result["days"]) == pytest.approx(float(whole))
    assert "not divided by node: activate budgetguard:node" in result["problems"][0]


def test_a_tag_that_is_active_since_lately_is_told(spend: Spend) -> None:
    spend.control.bill("aws", active_tags={"budgetguard:cluster": ago(5), "budgetguard:node": ago(5)})
    result = spend.run(targets=["aws-east"], since=ago(20))
    assert min(row["date"] for row in result["days"]) == ago(5)
    assert any(f"the tag budgetguard:cluster was activated on {ago(5)}" in text for text in result["problems"])


def test_a_member_of_an_organization_that_may_not_ask_for_tags(spend: Spend) -> None:
    spend.control.fault(
        "ListCostAllocationTags",
        "AccessDeniedException",
        status=400,
        service="ce",
        times=None,
        message="Linked account",
    )
    assert spend.run(targets=["aws-east"], since=ago(9))["problems"] == []
    spend.cache.unlink()
    spend.control.bill("aws", entries=[])
    (problem,) = spend.run(targets=["aws-east"])["problems"]
    assert "whether the tag is active cannot be told" in problem
    assert "Linked account" in problem


def test_another_currency_is_not_converted(spend: Spend) -> None:
    spend.control.bill("azure", currency="EUR")
    result = spend.run(targets=["azure-east", "aws-east"])
    assert {row["target"] for row in result["days"]} == {"aws-east"} or not result["days"]
    assert "it is billed in EUR, not in USD, and nothing is converted" in result["problems"][0]
    euros = spend.run(targets=["azure-east"], currency="EUR")
    assert euros["problems"] == []
    assert euros["currency"] == "EUR"


def test_an_outage_leaves_what_was_read_before_and_says_so(spend: Spend) -> None:
    first = spend.run()
    for service, action in (("ce", "GetCostAndUsage"), ("azure-costs", "Query_Usage"), ("bigquery", "jobs.query")):
        spend.control.fault(action, "AccessDenied", status=403, service=service, times=None, message="not today")
    second = spend.run(cache_hours=1e-9)
    assert second["days"] == first["days"]
    assert len(second["problems"]) == 3
    assert all("stands in" in text and "not today" in text for text in second["problems"])
    spend.cache.unlink()
    third = spend.run()
    assert third["days"] == []
    assert {row["month_to_date"] for row in third["rows"]} == {None}
    assert all("what was billed is not known" in text for text in third["problems"])


def test_a_broken_cache_is_ignored(spend: Spend) -> None:
    spend.cache.parent.mkdir(parents=True)
    spend.cache.write_text("{")
    result = spend.run(targets=["azure-east"])
    assert "is ignored" in result["problems"][0]
    assert spend.run(targets=["azure-east"])["problems"] == []


def test_what_nobody_bills_has_no_row_and_no_alarm(spend: Spend) -> None:
    result = spend.run(targets=["nvidia-studio", "render-01"])
    assert (result["rows"], result["days"], result["problems"], result["calls"]) == ([], [], [], [])
    assert [row["source"] for row in result["targets"]] == [None, None]
    assert "NVIDIA has no API" in result["targets"][0]["problem"]


def test_workstations_are_allocated_what_they_used(spend: Spend) -> None:
    rows = [
        {"workstation": "ws-01", "node": "flux-dev-l40s", "target": "aws-east", "request_seconds": 300.0},
        {"workstation": "ws-02", "node": "flux-dev-l40s", "target": "aws-east", "request_seconds": 100.0},
        {"workstation": "ws-02", "node": "llama-3-1-l4", "target": "aws-east", "request_seconds": 400.0},
        {"workstation": "-", "node": "llama-3-1-l4", "target": "aws-east", "request_seconds": 9e9},
    ]
    since, until = f"{ago(10)}T00:00:00Z", f"{ago(0)}T00:00:00Z"
    usage = {"since": since, "until": until, "log": {"known": True, "complete": True}, "rows": rows}
    result = spend.run(
        targets=["aws-east"], since=ago(20), usages=[{"target": "aws-east", "usage": usage, "error": ""}]
    )
    assert result["problems"] == []
    billed = {
        node: float(amount)
        for (place, node), amount in sums(Ledger().entries("aws"), ago(10)).items()
        if place == "us-east-1"
    }
    told = {(row["workstation"], row["node"]): row for row in result["allocations"]}
    assert told["ws-01", "FLUX Dev"]["share"] == 0.75
    assert told["ws-01", "FLUX Dev"]["allocated"] == pytest.approx(billed["FLUX Dev"] * 0.75, abs=1e-3)
    assert told["ws-02", "Llama 3.1"]["allocated"] == pytest.approx(billed["Llama 3.1"], abs=1e-3)
    assert told["ws-02", None]["allocated"] == pytest.approx(billed[None] * 500 / 800, abs=1e-3)
    assert sum(row["allocated"] for row in told.values()) == pytest.approx(sum(billed.values()), abs=0.01)
    unread = spend.run(targets=["aws-east"], usages=[{"target": "aws-east", "usage": None, "error": "no log"}])
    assert unread["allocations"] == []
    assert unread["problems"] == ["aws-east: nothing is allocated to workstations: no log"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cache_hours": 0}, "cache_hours is 0; it must be above 0"),
        ({"currency": "euro"}, "currency is 'euro'"),
        ({"since": "last week"}, "since is 'last week'"),
        ({"since": "2999-01-01"}, "since is 2999-01-01, which is yet to come"),
        ({"found": 3}, "found: must be a list of mappings"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anybody_is_asked(
    spend: Spend, options: dict[str, t.Any], said: str
) -> None:
    with pytest.raises(AnsibleActionFail, match=said):
        spend.run(**options)
    assert not spend.calls()


def test_targets_that_are_not_right_do_not_stop_the_others(spend: Spend) -> None:
    spend.own["gcp-central"] = {}
    spend.own["azure-east"] = {"nim_target": None}
    result = spend.run(targets=["aws-east", "azure-east", "gcp-central"])
    problems = {row["target"]: row["problem"] for row in result["targets"]}
    assert problems["aws-east"] is None
    assert "nim_target" in problems["azure-east"]
    assert "spend_bigquery_table is not set" in problems["gcp-central"]
    assert len(result["problems"]) == 2
    spend.own["gcp-central"] = {"spend_bigquery_table": "billing`; DROP TABLE x"}
    told = spend.run(targets=["gcp-central"])
    assert "it must be PROJECT.DATASET.TABLE" in told["problems"][0]
