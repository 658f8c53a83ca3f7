# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is to be measured, what it costs, what is kept, and what a request will cost."""

from __future__ import annotations

import copy
import json
import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import (
    _benchmark,
    _benchmark_report,
    _catalog,
    _figures,
)
from tests.unit.benchmark.nims import Nim, measure

CATALOG = _catalog.CATALOG
BASE = "https://nim.studio.example/"


def nim(node: str, tier: str = "l40s", **more: t.Any) -> dict[str, t.Any]:
    """Return a NIM as nim_targets_info does."""
    known = CATALOG[node]
    base = f"{BASE}{known.slug}"
    return {
        "name": f"nim-{known.slug}-{tier}",
        "node": node,
        "serves": [node],
        "variants": {},
        "gpu_tier": tier,
        "image": f"{known.image}:{known.tag}",
        "state": "running",
        "endpoint": base,
        "infer_url": base + known.infer_path,
        "health_url": base + "/v1/health/ready",
        "auth": "none",
        "reason": None,
        **more,
    }


def target(*nims: dict[str, t.Any], name: str = "aws", **more: t.Any) -> dict[str, t.Any]:
    """Return a target that was read."""
    return {"target": name, "provider": "aws", "read": True, "deployments": list(nims), **more}


def price(node: str, hourly: float | None, **more: t.Any) -> dict[str, t.Any]:
    """Return a row of nim_price_info."""
    name = f"nim-{CATALOG[node].slug}-l40s"
    row = {"target": "aws", "name": name, "gpu_tier": "l40s", "hourly": hourly, "currency": "USD", "replicas": 1}
    return {**row, "complete": True, "why": None, **more}


TARGETS = [
    target(
        nim("FLUX Dev"),
        nim("Llama 3.1"),
        nim("Mixtral", state="stopped"),
        nim("TRELLIS"),
        nim("Phi-3", endpoint=None, infer_url=None, state="starting"),
        nim("FLUX Schnell", serves=["House Model"]),
    ),
    target(nim("FLUX Dev"), name="nvidia", provider="nvidia"),
    {"target": "azure", "provider": "azure", "read": False, "error": "its login has ended", "deployments": []},
    {"target": "gcp", "provider": "gcp", "read": False, "asleep": True, "error": "it is switched off"},
]

NIMS = {"flux-dev": Nim("nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.3", [9.0, 8.0])}
NIMS["llama-3-1"] = Nim(
    "nvcr.io/nim/meta/llama-3.1-8b-instruct:1.15.5",
    answers={"/v1/chat/completions": (200, {"choices": [1], "usage": {"completion_tokens": 50}})},
)


def measured(prices: t.Any = None, stored: t.Any = None) -> dict[str, t.Any]:
    """Plan, measure and report."""
    plan = _benchmark_report.plan(TARGETS, CATALOG)
    return _benchmark_report.report(measure(NIMS, *plan["requests"]), plan, TARGETS, prices, stored)


def test_what_runs_is_planned_and_the_rest_says_why() -> None:
    plan = _benchmark_report.plan(TARGETS, CATALOG)
    assert [(one["node"], one["kind"], one.get("steps")) for one in plan["requests"]] == [
        ("FLUX Dev", "image", 30),
        ("Llama 3.1", "llm", None),
    ]
    reasons = {(one["target"], one["node"]): one["reason"] for one in plan["left_out"]}
    assert reasons == {
        ("aws", "Mixtral"): "it is stopped, and nothing is started here",
        ("aws", "TRELLIS"): "artists' nodes have no request of the kind 3d",
        ("aws", "Phi-3"): "it has no address yet",
        ("aws", "House Model"): "the catalogue does not know what to ask of it; see nim_catalog",
        ("nvidia", "FLUX Dev"): "at NVIDIA a request costs credits and may start an instance, "
        "and there is no public price",
        ("azure", None): "its login has ended",
        ("gcp", None): "it is switched off",
    }


def test_one_nim_for_several_nodes_is_asked_once_for_each() -> None:
    shared = nim("FLUX Dev", serves=["FLUX Canny", "FLUX Dev"], variants={"FLUX Dev": "base", "FLUX Canny": "canny"})
    plan = _benchmark_report.plan([target(shared)], CATALOG)
    assert [(one["node"], one["mode"]) for one in plan["requests"]] == [("FLUX Canny", "canny"), ("FLUX Dev", "base")]
    assert len({one["url"] for one in plan["requests"]}) == 1


def test_nodes_narrow_it() -> None:
    plan = _benchmark_report.plan(TARGETS, CATALOG, "flux.1-dev")
    assert [one["node"] for one in plan["requests"]] == ["FLUX Dev"]
    assert {one["node"] for one in plan["left_out"]} == {"FLUX Dev", None}
    assert len(_benchmark_report.plan(TARGETS, CATALOG, "all")["requests"]) == 2
    with pytest.raises(_catalog.UnknownNodeError, match="FLUX Dve"):
        _benchmark_report.plan(TARGETS, CATALOG, ["FLUX Dve"])


def test_the_studio_s_own_request_counts() -> None:
    catalog = _catalog.load({"FLUX Dev": {"steps": 50, "width": 1344, "height": 768}, "Llama 3.1": {"max_tokens": 64}})
    flux, llama = _benchmark_report.plan(TARGETS, catalog)["requests"]
    assert (flux["steps"], flux["width"], flux["height"], llama["max_tokens"]) == (50, 1344, 768, 64)
    with pytest.raises(_catalog.CatalogError, match=r"steps: must be a whole number, at least 1"):
        _catalog.load({"FLUX Dev": {"steps": 0}})


def test_seconds_become_money() -> None:
    report = measured([price("FLUX Dev", 4.5, replicas=2), price("Llama 3.1", 0.9)])
    flux, llama = (next(row for row in report["rows"] if row["node"] == node) for node in ("FLUX Dev", "Llama 3.1"))
    assert (flux["seconds"], flux["usd_per_image"], flux["usd_per_1k_tokens"]) == (8.0, 0.005, None)
    # 50 tokens a second, so 1,000 of them are 20 seconds.
    assert (llama["seconds_per_1k_tokens"], llama["usd_per_1k_tokens"], llama["usd_per_image"]) == (20.0, 0.005, None)
    text = "\n".join(" ".join(line.split()) for line in report["lines"])
    assert "FLUX Dev aws l40s measured an image of 1024x1024 in 30 steps 8.00 0.0050 an image" in text
    assert "0.0050 for 1,000 tokens" in text
    assert "whether somebody else used it is not known: /v1/metrics answers 404" in text
    assert report["lines"][-1] == "2 measured, 7 left out."
    # A login that has ended is somebody's work; a NIM that is stopped is not.
    assert report["problems"] == ["azure: its login has ended"]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (price("FLUX Dev", None, why="NVIDIA has no public price API"), "NVIDIA has no public price API"),
        (price("FLUX Dev", 2.0, currency="EUR"), "its price is in EUR, and nothing is converted"),
        (price("Phi-3", 2.0), "no price of it was looked up"),
    ],
)
def test_seconds_are_told_without_a_price(row: dict[str, t.Any], why: str) -> None:
    report = measured([row])
    (flux,) = [one for one in report["rows"] if one["node"] == "FLUX Dev" and one["target"] == "aws"]
    assert (flux["seconds"], flux["usd_per_image"], flux["why"]) == (8.0, None, why)
    assert f"    no price: {why}" in report["lines"]


def test_a_price_of_which_a_part_is_unknown_says_more_than() -> None:
    assert any("> 0.0050 an image" in line for line in measured([price("FLUX Dev", 2.25, complete=False)])["lines"])


def test_no_money_is_kept_and_what_is_gone_goes() -> None:
    first = measured([price("FLUX Dev", 2.25)])["document"]
    assert [figure["node"] for figure in first["figures"]] == ["FLUX Dev", "Llama 3.1"]
    assert "usd" not in json.dumps(first)
    flux = first["figures"][0]
    assert (flux["gpu_tier"], flux["image"], flux["steps"], flux["width"], flux["measured_at"]) == (
        "l40s",
        "nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.3",
        30,
        1024,
        "2026-11-28T18:00:00Z",
    )
    others = [
        {**flux, "name": "nim-gone"},
        {**flux, "target": "azure"},
        {**flux, "target": "removed"},
        {**flux, "seconds": 99.0},
        {**flux, "name": "nim-mixtral-l40s", "node": "Mixtral"},
    ]
    kept = measured(stored=json.dumps({"version": "1.0", "figures": others}))["document"]["figures"]
    # The target that could not be read keeps its figure, so does what is stopped; what was measured anew is new.
    assert [(one["target"], one["node"], one["seconds"]) for one in kept] == [
        ("aws", "FLUX Dev", 8.0),
        ("aws", "Llama 3.1", 1.0),
        ("aws", "Mixtral", 8.0),
        ("azure", "FLUX Dev", 8.0),
    ]


def test_what_was_not_measured_now_keeps_its_figure() -> None:
    stored = measured()["document"]
    plan = _benchmark_report.plan(TARGETS, CATALOG)
    nims = {name: Nim(one.image, ready=False) for name, one in NIMS.items()}
    report = _benchmark_report.report(measure(nims, *plan["requests"]), plan, TARGETS, [], stored)
    assert report["document"] == stored
    assert report["lines"][-1] == "2 not ready, 7 left out."


def test_a_nim_that_fails_is_a_problem() -> None:
    plan = _benchmark_report.plan([target(nim("FLUX Dev"))], CATALOG)
    broken = {"flux-dev": Nim(NIMS["flux-dev"].image, answers={"/v1/infer": (500, b"")})}
    report = _benchmark_report.report(measure(broken, *plan["requests"]), plan, [target(nim("FLUX Dev"))])
    assert report["problems"] == ["FLUX Dev on aws: answers 500"]
    assert report["document"]["figures"] == []


def test_check_mode_is_told_in_words() -> None:
    plan = _benchmark_report.plan(TARGETS, CATALOG)
    told = [_benchmark.not_called(one, 1, 3) for one in plan["requests"]]
    lines = _benchmark_report.report(told, plan, TARGETS)["lines"]
    assert "    would be asked for an image of 1024x1024 in 30 steps, 1 + 3 times" in lines
    assert lines[-1] == "2 not called, 7 left out."


def test_a_request_is_priced_before_it_runs() -> None:
    stored = measured()["document"]
    other = {**copy.deepcopy(stored["figures"][0]), "target": "azure", "seconds_per_step_megapixel": 0.1}
    stored["figures"].append(other)
    prices = [price("FLUX Dev", 4.5), price("FLUX Dev", 3.6, target="azure")]

    def costs(**wish: t.Any) -> list[tuple[t.Any, ...]]:
        found = _benchmark_report.request_costs(stored, prices, **wish)
        return [(one["target"], one["seconds"], one["usd"]) for one in found]

    assert costs(node="FLUX Dev") == [("azure", 3.15, 0.003146), ("aws", 8.0, 0.01)]
    # Twice the steps and half the pixels.
    assert costs(node="FLUX Dev", steps=60, height=512)[1] == ("aws", 8.0, 0.01)
    assert costs(node="FLUX Dev", steps=15)[1] == ("aws", 4.0, 0.005)
    assert costs(node="Llama 3.1", tokens=500) == [("aws", 10.0, None)]
    assert costs(node="Mixtral") == []
    # Of another tier than the one that is there now, nothing is known.
    prices = [price("FLUX Dev", 4.5, gpu_tier="h100")]
    assert [one[0] for one in costs(node="FLUX Dev")] == ["azure"]


def test_what_has_another_form_is_refused() -> None:
    plan: dict[str, list[t.Any]] = {"requests": [], "left_out": []}
    with pytest.raises(_benchmark_report.BenchmarkError, match="results must be a list"):
        _benchmark_report.report({}, plan, [])
    with pytest.raises(_benchmark_report.BenchmarkError, match="targets must be a list"):
        _benchmark_report.plan([{"target": "aws"}], CATALOG)
    with pytest.raises(_figures.FiguresError, match="are not JSON"):
        _benchmark_report.report([], plan, [], stored="{")
    with pytest.raises(_benchmark_report.BenchmarkError, match="prices must be a list"):
        _benchmark_report.request_costs({}, {}, node="FLUX Dev")
