# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules return, decided upon and told; a month in simulation."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.filter.nim_existing import nim_existing
from ansible_collections.budgetguard.techops.plugins.filter.nim_guard import nim_guard
from ansible_collections.budgetguard.techops.plugins.module_utils import _usage
from tests.benchmarks import guard as month

NOW = 1_795_867_200.0
HOUR = 3600.0
URL = "https://nims.studio.example/flux-dev-l40s"

NIM: dict[str, t.Any] = {
    "name": "nim-flux-dev-l40s",
    "node": "FLUX Dev",
    "gpu_tier": "l40s",
    "replicas": 1,
    "state": "running",
    "running_since": _usage.iso(NOW - 50 * HOUR),
    "endpoint": URL,
}
PRICE = {"target": "aws", "name": "nim-flux-dev-l40s", "hourly": 1.86, "currency": "USD"}
IDLE = [{"url": URL, "busy": False, "busy_reason": "num_requests_running is 0"}]


def target(*nims: dict[str, t.Any], name: str = "aws", **more: t.Any) -> dict[str, t.Any]:
    """Return what nim_targets_info says of a target."""
    return {"target": name, "read": True, "asleep": False, "error": None, "deployments": list(nims), **more}


def used(hours_ago: float, name: str = "aws", problems: tuple[str, ...] = ()) -> dict[str, t.Any]:
    """Return what nim_usage_info says of FLUX Dev, used last so many hours ago."""
    ask = _usage.Ask(NOW - 2 * HOUR, NOW, "hour", 60, 14, ("nim-flux-dev-l40s",))
    seen = _usage.Seen(
        (),
        (),
        {"flux-dev-l40s": NOW - hours_ago * HOUR},
        first_line=NOW - 90 * HOUR,
        settled_until=NOW,
        problems=problems,
    )
    return {"target": name, "usage": _usage.report(ask, seen), "error": ""}


def told(*args: t.Any, **options: t.Any) -> dict[str, t.Any]:
    """Run the filter."""
    targets, usages = args
    policies = options.pop("policies", {"aws": {}, "azure": {}})
    return nim_guard(targets, usages, policies, now=NOW, **options)


def test_the_table_has_a_line_for_each_nim_and_a_sum() -> None:
    others = [
        {**NIM, "name": "nim-llama-3-1-l4", "node": "Llama 3.1", "gpu_tier": "l4"},
        {**NIM, "name": "nim-off-l4", "replicas": 0},
        {**NIM, "name": "nim-sdxl-hosted", "gpu_tier": "hosted"},
    ]
    found = told([target(NIM, *others)], [used(5.0)], prices=[PRICE], endpoints=IDLE, only=[NIM | {"target": "aws"}])
    assert [row["decision"] for row in found["decisions"]] == ["stop", "keep"]
    lines = [" ".join(line.split()) for line in found["lines"]]
    assert lines[0] == "NODE TARGET TIER DECISION IDLE SINCE SAVES PER HOUR REASON"
    since = _usage.iso(NOW - 5 * HOUR)
    assert lines[1].startswith(f"FLUX Dev aws l40s stop {since} 1.86 USD idle for 290 min since its last request;")
    assert lines[2].startswith("Llama 3.1 aws l4 keep (not known) - - not known: ")
    assert lines[3].startswith("2 NIMs switched on at ")
    assert lines[3].endswith(
        "1 to stop, 0 to look at, 1 kept, of 1 the use is not known. The stops save 1.86 USD per hour."
    )


def test_nothing_is_stopped_that_was_not_looked_at_again() -> None:
    first = told([target(NIM)], [used(5.0)])
    assert [row["name"] for row in first["stops"]] == ["nim-flux-dev-l40s"]
    # A request came meanwhile, or it works, or it was not asked, or it was no candidate.
    looked: list[tuple[list[dict[str, t.Any]], dict[str, t.Any]]] = [
        ([used(5.0), used(0.1)], {"endpoints": IDLE, "only": first["stops"]}),
        ([used(5.0)], {"endpoints": [{**IDLE[0], "busy": True}], "only": first["stops"]}),
        ([used(5.0)], {"endpoints": [], "only": first["stops"]}),
        ([used(5.0)], {"endpoints": IDLE, "only": []}),
    ]
    for usages, options in looked:
        assert told([target(NIM)], usages, **options)["stops"] == []
    gone = target(read=False, error="it does not answer")
    assert told([target(NIM), gone], [used(5.0)], endpoints=IDLE, only=first["stops"])["decisions"] == []
    assert told([target(NIM)], [used(5.0)], endpoints=IDLE, only=first["stops"])["stops"] == first["stops"] != []


def test_what_cannot_be_read_is_told_and_the_others_go_on() -> None:
    targets = [target(NIM), target(NIM, name="azure", read=False, error="403"), target(name="x", read=False)]
    found = told(targets, [used(5.0)])
    assert found["unread"] == {"azure": "403"}
    assert "azure: cannot be read, so nothing on it is stopped: 403" in found["notes"]
    assert len(found["stops"]) == 1
    asleep = told([target(read=False, asleep=True, error="switched off")], [])
    assert (asleep["unread"], asleep["notes"]) == ({}, [])
    for usage, why in (
        (used(5.0, problems=("a file is torn",)), "a file is torn"),
        ({"target": "aws", "usage": None, "error": "no rights"}, "no rights"),
    ):
        found = told([target(NIM)], [usage])
        assert (found["stops"], found["decisions"][0]["known"]) == ([], False)
        assert why in found["decisions"][0]["reason"]
        assert why in found["notes"][0]


def test_usual_hours_come_from_the_rows() -> None:
    usage = used(30.0)
    hour = _usage.iso(NOW + HOUR - 7 * 24 * HOUR)
    usage["usage"]["rows"] = [{"period": hour, "node": "flux-dev-l40s", "requests": 3}]
    usage["usage"]["since"] = _usage.iso(NOW - 10 * 24 * HOUR)
    usage["usage"]["log"]["first_line_at"] = usage["usage"]["since"]
    policies = {"aws": {"cold_start_minutes": 40, "tail_minutes": 40}}
    assert len(told([target(NIM)], [usage], policies=policies)["stops"]) == 1
    kept = told([target(NIM)], [{**usage, "history": True}], policies=policies)["decisions"][0]
    assert kept["reason"] == "idle, but by the weeks before, it is used in 60 min, and a stop and a start take 80 min"


def test_always_on_comes_with_the_variables() -> None:
    found = told([target(NIM)], [used(5.0)], policies={"aws": {"always_on": ["FLUX Dev"]}})
    assert found["decisions"][0]["reason"] == "always_on in nim_matrix"


def test_spend_that_was_read_tells_its_estimate_and_its_problems() -> None:
    rows = [{"target": "aws", "node": "FLUX Dev", "month_to_date": 95.0, "today": None, "estimated": 5.0}]
    spend = {"currency": "USD", "as_of": _usage.iso(NOW), "rows": rows, "problems": ["aws: the bill is late"]}
    budget = {"aws": {"budgets": [{"monthly": 100}]}}
    found = told([target(NIM)], [used(0.1)], policies=budget, spend=spend)
    (decision,) = found["decisions"]
    assert decision["decision"] == "warn"
    assert "95.00 of 100.00 USD of this month are spent, 5.00 of it estimated" in decision["reason"]
    assert "spend: aws: the bill is late" in found["notes"]
    # Without a budget nobody is told.
    assert told([target(NIM)], [used(0.1)], spend=spend)["notes"] == []


@pytest.mark.parametrize(
    ("targets", "options", "said"),
    [
        ("x", {}, "targets: must be a list"),
        ([], {"policies": {"aws": {"idle_minutes": 1}}}, "aws: guard_idle_minutes is 1; it must be 15 or more"),
        ([], {"spend": {"rows": []}}, "spend: as_of must say"),
    ],
)
def test_mistakes_are_told(targets: t.Any, options: dict[str, t.Any], said: str) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        told(targets, [], **options)
    assert said in str(caught.value)


def test_a_stop_of_one_tier_leaves_the_other_alone() -> None:
    held = [{"name": f"nim-flux-dev-{tier}", "node": "FLUX Dev", "gpu_tier": tier} for tier in ("l40s", "h100")]
    chosen = nim_existing(held, "stopped", names=["nim-flux-dev-h100"])
    assert chosen == [{"node": "FLUX Dev", "gpu_tier": "h100", "state": "stopped"}]
    assert nim_existing(held, "stopped", names=["nim-flux-dev-h100"], keep=[{"node": "FLUX Dev"}]) == []


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_simulated_days_without_a_wrong_stop(seed: int) -> None:
    days = 6
    without = month.Month(seed, days=days).run(guarded=False)
    guarded = month.Month(seed, "require", days).run(guarded=True)
    assert guarded.rounds == days * 288
    assert guarded.wrong == 0
    assert guarded.stops > 5
    assert guarded.unknown > 0
    assert guarded.dollars < 0.7 * without.dollars
    assert guarded.requests == without.requests > 500


def test_the_simulation_would_show_wrong_stops() -> None:
    """By the log alone some request is cut in a month, so that none with metrics is no accident."""
    assert any(month.Month(seed, "ignore", 6).run(guarded=True).wrong_running for seed in (1, 2, 3))
