# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Comparing clouds, and telling prices."""

from __future__ import annotations

import csv
import io
import typing as t
from decimal import Decimal

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.filter.nim_prices import nim_prices
from ansible_collections.budgetguard.techops.plugins.module_utils import (
    _catalog,
    _gpu,
    _price_compare,
    _price_report,
    _pricing,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._pricing import Nim, Quote, Target, Thing

FLUX = _catalog.CATALOG["FLUX Dev"]
AWS = Target("aws-us-east-1", "aws", "us-east-1", {})
FAR = Target("aws far", "aws", "eu-central-1", {})
GCP = Target("gcp", "gcp", "us-central1", {"location": "us-central1-a"})
READ = "2026-11-28T10:00:00Z"
NOW = 1_795_860_000.0

MACHINES = {
    ("aws", "us-east-1", "g6e.2xlarge"): "2.24",
    ("aws", "us-east-1", "g6.4xlarge"): "1.32",
    ("aws", "us-east-1", "p5.4xlarge"): "6.88",
    ("aws", "eu-central-1", "g6e.2xlarge"): "2.80",
    ("gcp", "us-central1", "g2-standard-12"): "1.00",
}
NOT_SOLD = ("aws", "eu-central-1", "p5.4xlarge")


def look_up(things: t.Iterable[Thing]) -> dict[Thing, Quote]:
    """Know a few machines, and that everything else is free."""
    found = {}
    for thing in things:
        amount = MACHINES.get((thing.provider, thing.region, thing.name))
        if thing.kind == _pricing.SPOT_MACHINE:
            amount = None if amount is None else str(Decimal(amount) / 2)
        if thing.kind not in (_pricing.MACHINE, _pricing.SPOT_MACHINE):
            amount = "0"
        if amount is not None:
            found[thing] = Quote(Decimal(amount), _pricing.API, READ, "test")
        elif (thing.provider, thing.region, thing.name) == NOT_SOLD:
            found[thing] = Quote(None, _pricing.API, READ, "test", "it is not sold there", offered=False)
        else:
            found[thing] = Quote(None, why="nobody knows", passing=True)
    return found


def test_the_cheapest_choice_comes_first_whatever_the_cloud() -> None:
    choices, _left = _price_compare.compare([FLUX], [AWS, FAR, GCP], look_up)
    assert [(item.target.provider, item.target.region, item.nim.gpu_tier) for item in choices] == [
        ("gcp", "us-central1", "l4"),
        ("aws", "us-east-1", "l4"),
        ("aws", "us-east-1", "l40s"),
        ("aws", "eu-central-1", "l40s"),
        ("aws", "us-east-1", "h100"),
    ]
    assert [item.listed for item in choices] == [False, False, True, True, True]
    assert choices[0].hourly == 1


def test_each_left_out_has_its_reason() -> None:
    _choices, left = _price_compare.compare([FLUX], [AWS, FAR, GCP], look_up)
    reasons = {(item.provider, item.region, item.gpu_tier): item.reason for item in left}
    assert reasons["aws", "us-east-1", "t4"] == "does_not_fit"
    assert reasons["aws", "us-east-1", "a100"] == "does_not_fit"
    assert reasons["aws", "eu-central-1", "h100"] == "not_offered"
    assert reasons["gcp", "us-central1", "h100"] == "not_offered"
    assert reasons["aws", "us-east-1", "a10g"] == "price_unknown"
    # Every tier of each target is either a choice or left out.
    for target in (AWS, FAR, GCP):
        told = [key for key in reasons if key[:2] == (target.provider, target.region)]
        chosen = [item for item in _choices if item.target == target]
        assert len(told) + len(chosen) == len(_gpu.provider_tiers(target.provider))
    text = next(item.text for item in left if item.gpu_tier == "t4" and item.provider == "aws")
    assert "14.7 GiB of GPU memory, at least 16 GiB are needed" in text
    assert "that would do" not in text


def test_spot_is_compared_when_asked_for() -> None:
    choices, left = _price_compare.compare([FLUX], [AWS], look_up, spot=True)
    ways = {(item.nim.gpu_tier, item.nim.provisioning): item.hourly for item in choices}
    assert ways["l40s", "on-demand"] == Decimal("2.24")
    assert ways["l40s", "spot"] == Decimal("1.12")
    assert not [item for item in left if item.reason == "not_offered"]


def test_a_quota_leaves_out_what_it_does_not_allow() -> None:
    def quota(target: Target, _node: t.Any, nim: Nim) -> str | None:
        return f"no quota for {nim.gpu_tier} in {target.region}" if nim.gpu_tier == "l4" else None

    choices, left = _price_compare.compare([FLUX], [AWS], look_up, quota=quota)
    assert [item.nim.gpu_tier for item in choices] == ["l40s", "h100"]
    assert [item.text for item in left if item.reason == "no_quota"] == ["no quota for l4 in us-east-1"]


def test_what_has_no_machines_to_rent_has_no_choice() -> None:
    targets = [
        Target("studio", "nvidia", "", {}),
        Target("box", "local", "", {}),
        Target("paid", "local", "", {}, local_hourly=Decimal(1)),
    ]
    choices, left = _price_compare.compare([FLUX, _catalog.CATALOG["SDXL"]], targets, look_up)
    assert choices == []
    assert [item.reason for item in left] == ["price_unknown"] * 3 + ["does_not_fit"] * 3
    assert "no public price API" in left[1].text + left[0].text + left[2].text


def row(nim: Nim, target: Target = AWS, **options: t.Any) -> dict[str, t.Any]:
    """Return a NIM with its prices as it is told."""
    parts = _pricing.parts_of_nim(target, nim)
    return _price_report.nim_row(
        target,
        nim.node,
        "nim-flux-dev-l40s",
        nim.gpu_tier,
        nim,
        _pricing.priced(parts, options.pop("quotes", None) or look_up(_pricing.things_of(parts))),
        currency="USD",
        office_hours=Decimal(50),
        **options,
    )


L40S = Nim("FLUX Dev", "l40s", _gpu.machine("aws", "g6e.2xlarge"))


def test_a_row_has_the_hour_the_month_and_a_start() -> None:
    told = row(L40S)
    assert (told["hourly"], told["complete"], told["why"]) == (2.24, True, None)
    assert told["monthly_always_on"] == 1635.2
    assert told["monthly_office_hours"] == round(2.24 * 50 * 52 / 12, 2)
    assert told["start"] == {"estimate": True, "cold_start_minutes": 30, "tail_minutes": 15, "cost": 1.68}
    assert (told["source"], told["priced_at"], told["passing"]) == ("api", READ, False)
    assert [item["what"] for item in told["parts"]] == [
        "machine",
        "disk of the machine",
        "throughput of the disk",
        "public address",
    ]


def test_a_machine_without_a_price_is_null_and_never_zero() -> None:
    told = row(Nim("FLUX Dev", "a10g", _gpu.machine("aws", "g5.4xlarge")))
    assert told["hourly"] is None
    assert told["monthly_always_on"] is None
    assert told["start"]["cost"] is None
    assert told["source"] is None
    assert (told["why"], told["passing"]) == ("nobody knows", True)


def test_a_disk_without_a_price_leaves_a_price_that_is_too_low() -> None:
    quotes = look_up(_pricing.things_of(_pricing.parts_of_nim(AWS, L40S)))
    quotes[Thing("aws", "us-east-1", _pricing.GP3_MONTH)] = Quote(None, why="no answer", passing=True)
    told = row(L40S, quotes=quotes)
    assert (told["hourly"], told["complete"], told["passing"]) == (2.24, False, True)
    assert told["unknown"] == ["disk of the machine: no answer"]


def result(**more: t.Any) -> dict[str, t.Any]:
    """Return what nim_price_info could."""
    fixed = _pricing.priced(_pricing.parts_of_target(AWS, [L40S]), {})
    transfer = Quote(Decimal("0.09"), _pricing.API, READ, "test", tiers=((Decimal(0), Decimal("0.09")),))
    target = _price_report.target_row(AWS, fixed, transfer, currency="USD")
    lost = Nim('Llama, the "third"', "a10g", _gpu.machine("aws", "g5.4xlarge"))
    return {"currency": "USD", "prices": [row(L40S), row(lost)], "targets": [target], "problems": ["p"], **more}


def test_the_table_tells_what_is_not_known_and_why() -> None:
    told = nim_prices(result())
    text = "\n".join(told["lines"])
    assert "NODE                TARGET         TIER  PER HOUR  ALWAYS ON  OFFICE HOURS  FROM" in text
    assert "FLUX Dev            aws-us-east-1  l40s    2.2400      1,635           485  api" in text
    assert 'Llama, the "third"  aws-us-east-1  a10g         -          -             -  -' in text
    assert 'Llama, the "third" on aws-us-east-1: no price is known: nobody knows' in text
    assert "aws-us-east-1  us-east-1             > 0.00          0.090  -" in text
    assert "aws-us-east-1, stopped: without what is not known: load balancer: nobody was asked" in text
    assert told["notes"][0] == "p"
    rows = list(csv.DictReader(io.StringIO(told["csv"])))
    assert [item["node"] for item in rows] == ["FLUX Dev", 'Llama, the "third"']
    assert (rows[0]["hourly"], rows[0]["start_cost"], rows[1]["hourly"]) == ("2.24", "1.68", "")
    assert max(map(len, told["lines"][:6])) <= 90


def test_the_comparison_is_told_by_node() -> None:
    choices, left = _price_compare.compare([FLUX], [AWS], look_up)
    told = nim_prices(
        result(
            choices=[_price_report.choice_row(item, currency="USD", office_hours=Decimal(50)) for item in choices],
            left_out=[_price_report.left_out_row(item) for item in left],
        )
    )
    text = "\n".join(told["lines"])
    assert "FLUX Dev, the cheapest first:" in text
    assert "aws    us-east-1  l4    g6.4xlarge     1.3200  api   no" in text
    assert "  not aws us-east-1 a10g: price unknown: nobody knows" in text


def test_what_is_no_result_is_refused() -> None:
    everything: tuple[t.Any, ...] = (None, [], {"prices": 3}, {"prices": [{}]})
    for wrong in everything:
        with pytest.raises(AnsibleFilterError, match="nim_prices"):
            nim_prices(wrong)


def test_old_figures_of_the_list_are_warned_of() -> None:
    quotes = look_up(_pricing.things_of(_pricing.parts_of_nim(AWS, L40S)))
    machine = Thing("aws", "us-east-1", _pricing.MACHINE, "g6e.2xlarge")
    quotes[machine] = Quote(Decimal(2), _pricing.LIST, "2026-08-30T00:00:00Z", "a page")
    told = row(L40S, quotes=quotes)
    assert told["source"] == "list"
    assert _price_report.old_prices([told], NOW, 90) == []
    (warning,) = _price_report.old_prices([told], NOW + 86400, 90)
    assert warning.startswith("aws-us-east-1: prices come from the list in the collection, up to 91 days old")
    assert "list 2026-08-30" in "\n".join(nim_prices({**result(), "prices": [told]})["lines"])
