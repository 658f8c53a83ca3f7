# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action nim_price_info over all providers at once, in one process, with the sandbox as the clouds."""

from __future__ import annotations

import collections
import typing as t
from pathlib import Path

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.budgetguard.techops.plugins.action.nim_price_info import ActionModule
from tests.prices.inventory import Inventory
from tests.sandbox import SandboxControl
from tests.sandbox.prices import figures

PRICE_SERVICES = ("pricing", "azure-prices", "google-billing")
MATRIX = {
    "FLUX Dev": {
        "aws": {"gpu_tier": "l40s"},
        "azure": {"gpu_tier": "a100-80gb"},
        "gcp": {"gpu_tier": "l4", "replicas": 2, "skip_fit_check": True},
        "nvidia": {"gpu_tier": "l40s"},
        "local": {"gpu_tier": "l40s"},
    }
}
TARGETS: dict[str, dict[str, t.Any]] = {
    "aws-east": {"region": "us-east-1"},
    "azure-east": {"resource_group": "studio", "region": "East US"},
    "gcp-central": {"location": "us-central1-a"},
    "nvidia-studio": {"org": "studio"},
    "render-01": {"gpu_tier": "l40s"},
    "render-02": {"gpu_tier": "l40s"},
}


class Prices(Inventory):
    """Runs the action with an inventory of one target for each provider, and two Docker hosts."""

    action = ActionModule
    services = PRICE_SERVICES
    matrix = MATRIX


@pytest.fixture
def prices(control: SandboxControl, tmp_path: Path) -> Prices:
    """Give an inventory whose prices were never asked for."""
    return Prices(control, tmp_path / "cache" / "prices.json", TARGETS, {"render-01": {"local_hourly_usd": 0.35}})


def by_target(rows: t.Iterable[dict[str, t.Any]]) -> dict[str, dict[str, t.Any]]:
    """Return rows by target."""
    return {row["target"]: row for row in rows}


def test_all_targets_are_priced_in_one_look(prices: Prices) -> None:
    result = prices.run()
    assert result["changed"] is False
    assert result["problems"] == []
    assert "warnings" not in result
    rows = by_target(result["prices"])
    assert list(rows) == list(TARGETS)
    aws = rows["aws-east"]
    machine, *others = aws["parts"]
    assert (machine["what"], machine["name"], machine["price"]) == ("machine", "g6e.2xlarge", 2.24)
    disks = sum(item["hourly"] for item in others)
    assert 0 < disks < 0.1
    assert aws["hourly"] == pytest.approx(2.24 + disks, abs=1e-4)
    assert aws["monthly_always_on"] == pytest.approx(aws["hourly"] * 730, abs=0.1)
    assert aws["monthly_office_hours"] == pytest.approx(aws["hourly"] * 50 * 52 / 12, abs=0.1)
    assert (aws["source"], aws["complete"], aws["start"]["estimate"]) == ("api", True, True)
    # Azure's name of a region is written as its price API has it.
    assert (rows["azure-east"]["region"], rows["azure-east"]["parts"][0]["price"]) == ("eastus", 3.67)
    # On Google Cloud a machine is the sum of its parts, and there are two copies.
    cores, memory = figures.GCP_CORES["G2"]
    machine = rows["gcp-central"]["parts"][0]
    assert machine["quantity"] == 2
    assert machine["price"] == pytest.approx(float(figures.GCP_GPUS["Nvidia L4 GPU"] + 8 * cores + 32 * memory), abs=1)
    assert rows["gcp-central"]["replicas"] == 2
    # NVIDIA publishes no prices, and nobody knows what a studio's own machine costs but the studio.
    assert rows["nvidia-studio"]["hourly"] is None
    assert "NVIDIA" in rows["nvidia-studio"]["why"]
    assert (rows["render-01"]["hourly"], rows["render-01"]["source"]) == (0.35, "given")
    assert rows["render-02"]["hourly"] is None
    assert "local_hourly_usd" in rows["render-02"]["why"]
    fixed = by_target(result["targets"])
    assert fixed["aws-east"]["fixed_monthly"] is not None
    assert {item["what"] for item in fixed["gcp-central"]["parts"]} >= {"cluster", "load balancer"}
    assert fixed["aws-east"]["transfer_out"][0] == {"from_gib": 0.0, "price": 0.09}
    assert all(row["error"] is None for row in fixed.values())


def test_a_second_look_asks_nobody_and_says_the_same(prices: Prices) -> None:
    first = prices.run()
    asked = prices.calls()
    assert set(asked) == set(PRICE_SERVICES)
    second = prices.run()
    assert not prices.calls()
    # But for the studio's own figure, which is as of now.
    assert [row for row in second["prices"] if row["provider"] != "local"] == [
        row for row in first["prices"] if row["provider"] != "local"
    ]
    assert second["targets"] == first["targets"]
    stored = prices.cache.read_text()
    assert "CaNaRy" not in stored


def test_targets_of_one_region_cost_no_further_call(prices: Prices) -> None:
    prices.run(targets=["aws-east"])
    alone = prices.calls()
    prices.cache.unlink()
    prices.targets = {f"aws-{number}": {"region": "us-east-1"} for number in range(4)}
    rows = prices.run()["prices"]
    assert len(rows) == 4
    assert prices.calls() == alone


def test_a_price_api_that_is_down_leaves_the_list(prices: Prices) -> None:
    for service, action in (
        ("pricing", "GetProducts"),
        ("azure-prices", "RetailPrices_List"),
        ("google-billing", "ListSkus"),
    ):
        prices.control.fault(action, "InternalFailure", status=404, service=service, times=None)
    result = prices.run()
    rows = by_target(result["prices"])
    assert rows["aws-east"]["source"] == "list"
    assert rows["aws-east"]["priced_at"] < "2026"
    assert any("days old" in text for text in result["warnings"])
    # Nothing is invented for what is not on the list.
    assert rows["azure-east"]["hourly"] is None
    assert rows["azure-east"]["passing"] is True
    assert {text.partition(":")[0] for text in result["problems"]} == {"aws", "azure", "gcp"}
    # What an outage left unknown is not remembered.
    prices.control.clear_faults()
    assert by_target(prices.run()["prices"])["azure-east"]["source"] == "api"


def test_what_is_deployed_is_priced_as_it_is(prices: Prices) -> None:
    found = {
        "target": "aws-east",
        "provider": "aws",
        "read": True,
        "region": "us-east-1",
        "deployments": [
            {"name": "nim-flux-dev-l40s", "node": "FLUX Dev", "gpu_tier": "l40s", "replicas": 3},
            {"name": "nim-llama-3-1-l4", "node": "Llama 3.1", "gpu_tier": "l4", "replicas": 0},
        ],
    }
    rows = prices.run(targets=["aws-east"], found=[found])["prices"]
    assert [(row["name"], row["replicas"], row["parts"][0]["quantity"]) for row in rows] == [
        ("nim-flux-dev-l40s", 3, 3.0),
        ("nim-llama-3-1-l4", 1, 1.0),
    ]


def test_other_currencies_are_the_clouds_own(prices: Prices) -> None:
    rows = by_target(prices.run(currency="EUR")["prices"])
    assert rows["azure-east"]["parts"][0]["price"] == pytest.approx(3.67 * 0.9)
    # AWS has no prices in EUR, and nothing is converted.
    assert rows["aws-east"]["hourly"] is None
    assert "USD" in rows["aws-east"]["why"]
    assert rows["render-01"]["hourly"] is None
    assert {row["currency"] for row in rows.values()} == {"EUR"}


def test_the_cheapest_comes_first_with_reasons_for_the_rest(prices: Prices) -> None:
    result = prices.run(
        compare=True,
        compare_nodes=["FLUX Dev"],
        compare_regions={"aws": ["us-east-1", "eu-central-1"], "azure": ["eastus"], "gcp": ["us-central1"]},
    )
    hourly = [choice["hourly"] for choice in result["choices"]]
    assert hourly == sorted(hourly)
    assert {choice["provider"] for choice in result["choices"]} >= {"aws", "azure", "gcp"}
    l40s = [
        choice["region"] for choice in result["choices"] if choice["gpu_tier"] == "l40s" and choice["provider"] == "aws"
    ]
    assert l40s == ["us-east-1", "eu-central-1"]
    reasons = collections.Counter(item["reason"] for item in result["left_out"])
    assert reasons["does_not_fit"] > 0
    assert reasons["price_unknown"] > 0
    assert all(item["text"] for item in result["left_out"])
    # One region is one question, whether it is compared or priced.
    shown = [call["params"] for call in prices.control.calls() if call["service"] == "pricing"]
    first_pages = [str(params["Filters"]) for params in shown if not params.get("NextToken")]
    assert len(first_pages) == len(set(first_pages))


def test_a_quota_of_nothing_leaves_its_tier_out(prices: Prices) -> None:
    options = {"targets": ["azure-east"], "compare": True, "compare_nodes": ["FLUX Dev"]}
    family = "standardNCADSA100v4Family"
    prices.control.quota("azure", "eastus", family, 0)
    free = [choice["gpu_tier"] for choice in prices.run(**options)["choices"]]
    assert "a100-80gb" in free
    result = prices.run(**options, check_quotas=True)
    assert "a100-80gb" not in [choice["gpu_tier"] for choice in result["choices"]]
    (left,) = [item for item in result["left_out"] if item["gpu_tier"] == "a100-80gb"]
    assert left["reason"] == "no_quota"
    assert "NCADSA100" in left["text"].upper()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cache_hours": 0}, "cache_hours is 0; it must be above 0"),
        ({"currency": "euro"}, "currency is 'euro'"),
        ({"compare_regions": {"amazon": ["us-east-1"]}}, "compare_regions: 'amazon' must be one of aws"),
        ({"compare_regions": {"aws": "us-east-1"}}, "compare_regions.aws: must be a list of regions"),
        ({"compare": True, "compare_nodes": ["FLUX Pro Max"]}, "compare_nodes:"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anybody_is_asked(
    prices: Prices, options: dict[str, t.Any], said: str
) -> None:
    with pytest.raises(AnsibleActionFail, match=said):
        prices.run(**options)
    assert not prices.calls()


def test_targets_that_are_not_right_do_not_stop_the_others(prices: Prices) -> None:
    prices.targets["azure-east"].pop("region")
    prices.own["render-02"] = {"local_hourly_usd": "cheap"}
    prices.own["gcp-central"] = {"nim_target": None}
    result = prices.run()
    errors = {name: row["error"] for name, row in by_target(result["targets"]).items() if row["error"]}
    assert "set region in its nim_target" in errors["azure-east"]
    assert errors["render-02"] == "local_hourly_usd is 'cheap'; it must be a number of US dollars, such as 0.35"
    assert "nim_target" in errors["gcp-central"]
    assert by_target(result["prices"])["aws-east"]["hourly"] > 2
