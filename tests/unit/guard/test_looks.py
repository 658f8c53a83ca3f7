# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What NIMs count themselves stands in for a log that tells nothing, and never makes busy or unknown idle."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.filter.nim_guard import nim_guard
from ansible_collections.budgetguard.techops.plugins.filter.nim_looks import nim_looks
from ansible_collections.budgetguard.techops.plugins.module_utils import _activity, _looks, _usage

NOW = 1_795_867_200.0
MINUTE = 60.0
URL = "http://10.1.0.4/llama-3-1-a10"
NIM: dict[str, t.Any] = {
    "name": "nim-llama-3-1-a10",
    "node": "Llama 3.1",
    "gpu_tier": "a10",
    "replicas": 1,
    "state": "running",
    "running_since": _usage.iso(NOW - 3000 * MINUTE),
    "endpoint": URL,
}
NO_LOG = {"target": "azure", "usage": None, "error": "there is no workspace"}


def told(count: float | None = 5, busy: bool | None = False, **more: t.Any) -> list[dict[str, t.Any]]:
    """Return what nim_endpoint_info says of the NIM."""
    counters = None if count is None else {"request_success_total": count, **more}
    return [{"target": "azure", "url": URL, "counters": counters, "busy": busy, "busy_reason": "it says so"}]


def looks(*seen: tuple[float, list[dict[str, t.Any]]]) -> dict[str, t.Any]:
    """Look at these times, in minutes before now, by way of a file each time."""
    kept: dict[str, t.Any] = {}
    for minutes, endpoints in seen:
        kept = nim_looks(endpoints, json.dumps(kept), NOW - minutes * MINUTE)
    return kept


def decided(kept: dict[str, t.Any], usage: t.Any = None, endpoints: t.Any = None, **nim: t.Any) -> dict[str, t.Any]:
    """Return the guard's decision, with half an hour allowed."""
    target = {"target": "azure", "read": True, "asleep": False, "error": None, "deployments": [{**NIM, **nim}]}
    asked = told() if endpoints is None else endpoints
    only = [{"target": "azure", "name": NIM["name"]}]
    usages = [NO_LOG if usage is None else usage]
    policies = {"azure": {"idle_minutes": 30}}
    (row,) = nim_guard([target], usages, policies, endpoints=asked, only=only, now=NOW, looks=kept)["decisions"]
    return t.cast("dict[str, t.Any]", row)


def test_the_counters_of_all_kinds_of_nims_are_found() -> None:
    text = """# HELP request_success_total Count.
# TYPE request_success_total counter
request_success_total{model_name="m",finished_reason="stop"} 7.0
request_success_total{model_name="m",finished_reason="length"} 2.0
vllm:generation_tokens_total{model_name="m"} 5.1e+03
nv_inference_request_success{model="flux",version="1"} 3
process_start_time_seconds 1795860000.5
num_requests_running 0
request_success_created 1.0
"""
    assert _activity.counters(text) == {
        "request_success_total": 9.0,
        "vllm:generation_tokens_total": 5100.0,
        "nv_inference_request_success": 3.0,
        "process_start_time_seconds": 1795860000.5,
    }
    assert _activity.counters("gpu_utilization 0.0\nprocess_start_time_seconds 1\n") == {}
    # A count of failures rests while everything goes well.
    assert _activity.counters("request_failure_total 0\n") == {}


def test_a_counter_that_rests_is_idle_from_the_first_look_on() -> None:
    kept = looks((200, told()), (100, told()), (11, told()), (0, told()))
    row = decided(kept)
    assert (row["decision"], row["source"], row["known"]) == ("stop", "nim_metrics", True)
    assert row["idle_since"] == _usage.iso(NOW - 200 * MINUTE)
    assert row["reason"].startswith("idle for 190 min for as long as is known")
    assert row["reason"].endswith("(by what it counts itself)")


def test_a_single_look_proves_nothing() -> None:
    row = decided(looks((0, told())))
    assert (row["decision"], row["source"]) == ("keep", "nim_metrics")
    # However old it is: what came since then is not known.
    assert decided(looks((500, told())))["decision"] == "keep"
    assert "not known: there is no workspace" in decided({})["reason"]


def test_a_counter_that_has_grown_is_use_up_to_the_look() -> None:
    kept = looks((300, told(5)), (120, told(5)), (20, told(6)), (0, told(6)))
    assert decided(kept)["decision"] == "keep"
    assert decided(kept)["idle_since"] == _usage.iso(NOW - 20 * MINUTE)
    grown = looks((300, told(5)), (200, told(6)), (0, told(6)))
    assert (decided(grown)["decision"], decided(grown)["idle_since"]) == ("stop", _usage.iso(NOW - 200 * MINUTE))


def test_a_gap_between_looks_hides_no_request() -> None:
    # For three hours it did not answer; a request that came meanwhile is counted all the same.
    assert decided(looks((300, told(5)), (200, told(None)), (5, told(6)), (0, told(6))))["decision"] == "keep"
    assert decided(looks((300, told(5)), (200, told(None)), (0, told(5))))["decision"] == "stop"
    # While it does not answer, nothing is known of what came after the last answer.
    assert decided(looks((300, told(5)), (299, told(5)), (0, told(None))))["decision"] == "keep"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"count": 5}, {"count": 0}),
        ({"count": 0, "process_start_time_seconds": 1.0}, {"count": 0, "process_start_time_seconds": 2.0}),
        ({"count": 0}, {"count": 0, "request_failure_total": 0.0}),
    ],
)
def test_a_nim_that_was_started_anew_is_known_from_then_on(before: dict[str, t.Any], after: dict[str, t.Any]) -> None:
    kept = looks((300, told(**before)), (10, told(**after)), (0, told(**after)))
    assert kept["looks"][0]["first_look_at"] == _usage.iso(NOW - 10 * MINUTE)
    assert decided(kept)["decision"] == "keep"
    assert decided(looks((300, told(**before)), (10, told(**before)), (0, told(**before))))["decision"] == "stop"


def test_a_request_that_runs_is_use_though_nothing_is_counted_yet() -> None:
    kept = looks((300, told()), (20, told(busy=True)), (0, told()))
    assert decided(kept)["idle_since"] == _usage.iso(NOW - 20 * MINUTE)
    assert decided(looks((300, told()), (0, told())), endpoints=told(busy=True))["decision"] == "keep"
    assert decided(looks((300, told()), (0, told())), endpoints=told(busy=None))["decision"] == "keep"


def test_a_log_that_tells_goes_before() -> None:
    ask = _usage.Ask(NOW - 7200, NOW, "hour", 60, 14, ("nim-llama-3-1-a10",))
    used = {"llama-3-1-a10": NOW - 15 * MINUTE}
    seen = _usage.Seen((), (), used, first_line=NOW - 9e5, settled_until=NOW)
    row = decided(looks((300, told()), (0, told())), {"target": "azure", "usage": _usage.report(ask, seen)})
    assert (row["decision"], row["source"], row["idle_since"]) == ("keep", "gateway_log", _usage.iso(NOW - 900))


def test_one_nim_s_looks_are_no_other_s() -> None:
    kept = looks((300, told()), (0, told()))
    assert decided(kept, endpoint=URL + "x")["decision"] == "keep"
    assert decided(kept)["decision"] == "stop"
    # Of two copies each counts for itself.
    assert decided(kept, replicas=2)["decision"] == "keep"


def test_of_two_guards_at_once_the_later_look_counts() -> None:
    kept = looks((300, told(5)), (10, told(6)))
    late = nim_looks(told(5), kept, NOW - 11 * MINUTE)
    assert late["looks"][0]["counters"] == {"request_success_total": 5}
    # The one that looked earlier saw fewer: a NIM that seems to be new is known from then on, and not for longer.
    assert decided(nim_looks(told(6), late, NOW))["decision"] == "keep"
    assert nim_looks(told(6), kept, NOW - 20 * MINUTE)["looks"] == kept["looks"]


@pytest.mark.parametrize("stored", ["{", {"looks": 3}, {"looks": [{"target": "azure"}]}, {"looks": ["x"]}])
def test_a_broken_file_begins_anew_and_says_so(stored: t.Any) -> None:
    found = nim_looks(told(), stored, NOW)
    assert found["problem"].endswith("so they begin anew")
    assert [look["first_look_at"] for look in found["looks"]] == [_usage.iso(NOW)]
    with pytest.raises(AnsibleFilterError, match="nim_looks: endpoints"):
        nim_looks([3], {}, NOW)
    with pytest.raises(AnsibleFilterError, match="so they begin anew"):
        decided(t.cast("dict[str, t.Any]", stored))


def test_nothing_is_kept_of_nims_that_count_nothing() -> None:
    assert looks((10, told(None)), (0, told(None)))["looks"] == []
    assert _looks.usage_of([], "azure", URL) is None
