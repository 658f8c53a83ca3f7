# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The GPUs' duty cycle in Cloud Monitoring, read by the module where the gateway has no log, and by the guard."""

from __future__ import annotations

import typing as t
import urllib.parse

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _usage
from tests.sandbox import Sandbox
from tests.unit.usage import day
from tests.usage.gpus import MINUTE, NODE, URL, GoogleGpus
from tests.usage.logs import GcpLogs


@pytest.fixture
def metrics(
    running_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> GoogleGpus:
    """Give a cluster whose gateway has written nothing."""
    running_sandbox.control.reset()
    for name, value in running_sandbox.env.items():
        monkeypatch.setenv(name, value)
    return GoogleGpus(GcpLogs(running_sandbox, monkeypatch, capsys))


def test_late_points_with_a_gap(metrics: GoogleGpus) -> None:
    # Nine minutes late, with a gap three hours ago, and work before it and after it.
    metrics.put([ago for ago in range(9, 240) if ago != 180], busy=(90, 91, 200))
    nim = metrics.nim(recent_minutes=120)
    assert (nim["source"], nim["requests"]) == ("cloud_monitoring", None)
    assert metrics.ago(nim["last_use_at"]) == metrics.ago(nim["idle_since"]) == 90
    assert metrics.ago(nim["settled_until"]) == 9
    assert nim["recent"] == {"minutes": 120, "requests": None, "busy_seconds": 120.0}
    # The gap is in the time in question.
    assert metrics.nim(recent_minutes=200)["recent"]["busy_seconds"] is None


def test_nothing_is_known_without_points_and_nothing_before_a_gap(metrics: GoogleGpus) -> None:
    assert (metrics.nim()["source"], metrics.nim()["idle_since"]) == (None, None)
    metrics.put([ago for ago in range(240) if ago != 180], busy=(200,))
    nim = metrics.nim()
    assert (nim["source"], nim["last_use_at"]) == ("cloud_monitoring", None)
    assert metrics.ago(nim["idle_since"]) == 180
    # What came in the last minutes may be followed by another point.
    assert metrics.ago(nim["settled_until"]) >= 3


def test_each_gpu_has_to_tell(metrics: GoogleGpus) -> None:
    metrics.put(range(240))
    metrics.put([ago for ago in range(240) if ago != 30], busy=(50,), accelerator_id="GPU-1")
    nim = metrics.nim()
    assert (metrics.ago(nim["idle_since"]), nim["last_use_at"]) == (30, None)


def test_a_pod_that_says_nothing_any_more_makes_it_unknown_for_half_an_hour(metrics: GoogleGpus) -> None:
    metrics.put(range(100, 240), busy=(120,))
    metrics.put(range(160), pod_name=f"nim-{NODE}-6f7c9d8b5-abcde")
    nim = metrics.nim()
    assert metrics.ago(nim["idle_since"]) == 100 - 30
    assert nim["last_use_at"] is None


def test_only_this_cluster_and_its_nims_count(metrics: GoogleGpus) -> None:
    metrics.put(range(240), cluster_name="other")
    metrics.put(range(240), namespace_name="other")
    metrics.put(range(240), location="europe-west4-a")
    metrics.put(range(240), container_name="sidecar")
    metrics.put(range(240), pod_name="nim-flux-dev-a100-80gb-more-6f7c9d8b5-x2x4q")
    assert metrics.nim()["source"] is None


def test_pages_that_end_within_a_series(metrics: GoogleGpus) -> None:
    metrics.put(range(240), busy=(77,))
    metrics.put(range(240), accelerator_id="GPU-1")
    metrics.logs.control.gpu_metrics("gcp", page_points=100)
    metrics.logs.control.clear_calls()
    nim = metrics.nim()
    assert metrics.ago(nim["last_use_at"]) == 77
    assert metrics.logs.control.count(action="timeSeries.list") == 5


def test_half_an_answer_is_none(metrics: GoogleGpus) -> None:
    metrics.put(range(240))
    metrics.logs.control.gpu_metrics("gcp", errors=[{"code": 4, "message": "deadline exceeded"}])
    told = metrics.read()
    assert [nim["source"] for nim in told["nims"]] == [None, None]
    assert (
        "cannot read the GPUs' duty cycle in Cloud Monitoring: Google told a part only: deadline exceeded"
        in told["log"]["problems"]
    )


def test_a_missing_right_is_told_and_hides_nothing(metrics: GoogleGpus) -> None:
    metrics.put(range(240))
    metrics.logs.control.fault("timeSeries.list", "PERMISSION_DENIED", status=403, times=None)
    told = metrics.read()
    assert told["log"]["problems"][0].startswith("cannot read the GPUs' duty cycle in Cloud Monitoring: 403")
    assert "the gateway has written no line" in told["log"]["problems"][1]
    assert [nim["source"] for nim in told["nims"]] == [None, None]


def test_a_log_that_is_known_asks_no_metrics(metrics: GoogleGpus) -> None:
    metrics.put(range(240))
    metrics.logs.control.clear_calls()
    assert metrics.nim(metrics=False)["source"] is None
    metrics.logs.write([day.line(metrics.now - 20 * 3600, node=NODE), day.line(metrics.now - 600, node=NODE)])
    assert [nim["source"] for nim in metrics.logs.read(nodes=[NODE])["nims"]] == ["gateway_log"]
    assert metrics.logs.control.count(action="timeSeries.list") == 0


def test_what_is_asked_of_google(metrics: GoogleGpus) -> None:
    metrics.logs.control.clear_calls()
    metrics.nim()
    (call,) = [call for call in metrics.logs.control.calls() if call["action"] == "timeSeries.list"]
    asked = call["params"] or dict(urllib.parse.parse_qsl(call["path"].partition("?")[2]))
    assert asked["filter"].split(" AND ") == [
        'metric.type = "kubernetes.io/container/accelerator/duty_cycle"',
        'resource.type = "k8s_container"',
        'resource.labels.cluster_name = "budgetguard"',
        'resource.labels.location = "us-central1-a"',
        'resource.labels.namespace_name = "budgetguard"',
        'resource.labels.container_name = "nim"',
    ]
    begin, end = (_usage.moment(asked[f"interval.{name}Time"]) for name in ("start", "end"))
    assert begin is not None
    assert end is not None
    assert end - begin == pytest.approx(86400, abs=0.01)


def test_a_duty_cycle_shows_use_and_never_that_there_was_none(metrics: GoogleGpus) -> None:
    metrics.put(range(240))
    found = metrics.decision()
    assert (found["decision"], found["known"], found["source"]) == ("keep", False, None)
    assert "covers ten seconds of each minute" in found["reason"]
    # Another GPU of the NIM has worked lately.
    metrics.put(range(240), busy=(40,), accelerator_id="GPU-1")
    assert metrics.decision()["decision"] == "keep"


@pytest.mark.parametrize("minutes", [[], [*range(30), *range(31, 240)], range(45, 240)])
def test_the_guard_keeps_what_is_not_known(metrics: GoogleGpus, minutes: t.Sequence[int]) -> None:
    # No point, a gap half an hour ago, nothing in the last three quarters of an hour.
    metrics.put(minutes)
    assert metrics.decision()["decision"] == "keep"


def test_what_a_nim_counts_itself_goes_before_the_duty_cycle(metrics: GoogleGpus) -> None:
    metrics.put(range(240))
    look = {
        "target": "one",
        "url": URL,
        "counters": {"request_success_total": 5.0},
        "first_look_at": _usage.iso(metrics.now - 200 * MINUTE),
        "looked_at": _usage.iso(metrics.now),
        "changed_at": _usage.iso(metrics.now - 5 * MINUTE),
    }
    # A request of a second, between the seconds that the metric covers.
    found = metrics.decision({"version": "1.0", "looks": [look]})
    assert (found["decision"], found["source"]) == ("keep", "nim_metrics")
    idle = {**look, "changed_at": None}
    assert metrics.decision({"version": "1.0", "looks": [idle]})["decision"] == "stop"
    metrics.put(range(240), busy=(20,), accelerator_id="GPU-1")
    assert metrics.decision({"version": "1.0", "looks": [idle]})["decision"] == "keep"
