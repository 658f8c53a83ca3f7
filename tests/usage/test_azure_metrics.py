# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How busy GPUs are by an Azure Monitor workspace, read by the module without a log, and by the guard."""

from __future__ import annotations

import typing as t
import urllib.parse

import pytest

from tests.sandbox import Sandbox
from tests.unit.usage import day
from tests.usage.gpus import MINUTE, NODE, POD, AzureGpus
from tests.usage.logs import AzureLogs

REFUSED = "cannot read how busy the GPUs are in the Azure Monitor workspace: "


@pytest.fixture
def metrics(running_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> AzureGpus:
    """Give a cluster whose gateway has written nothing."""
    running_sandbox.control.reset()
    for name, value in running_sandbox.env.items():
        monkeypatch.setenv(name, value)
    return AzureGpus(AzureLogs(running_sandbox, monkeypatch, capsys))


def test_late_samples_with_a_gap(metrics: AzureGpus) -> None:
    # Twelve minutes late, with a gap three hours ago, and work before it and after it.
    metrics.put([ago for ago in range(12, 240) if ago != 180], busy=(90, 91, 200))
    nim = metrics.nim(recent_minutes=120)
    assert (nim["source"], nim["requests"]) == ("azure_monitor", None)
    # A gap is one: Prometheus's own look back of five minutes does not fill it.
    assert metrics.ago(nim["last_use_at"]) == metrics.ago(nim["idle_since"]) == 90
    assert metrics.ago(nim["settled_until"]) == 12
    assert nim["recent"] == {"minutes": 120, "requests": None, "busy_seconds": 120.0}
    assert metrics.nim(recent_minutes=200)["recent"]["busy_seconds"] is None


def test_what_has_ceased_is_not_known(metrics: AzureGpus) -> None:
    assert metrics.nim()["source"] is None
    metrics.put(range(17, 240), busy=(30,))
    nim = metrics.nim()
    assert (nim["source"], nim["idle_since"]) == (None, None)


def test_an_exporter_that_starts_anew_is_no_other_gpu(metrics: AzureGpus) -> None:
    metrics.put(range(100, 240), busy=(120,))
    metrics.put(range(100), pod="nvidia-dcgm-exporter-zzzzz")
    assert metrics.ago(metrics.nim()["last_use_at"]) == 120
    # Another GPU has a gap.
    metrics.put([ago for ago in range(240) if ago != 50], UUID="GPU-1")
    nim = metrics.nim()
    assert (metrics.ago(nim["idle_since"]), nim["last_use_at"]) == (50, None)
    # What came in the last ten minutes may be followed by another point.
    assert metrics.ago(nim["settled_until"]) >= 9


def test_labels_of_an_exporter_that_is_to_be_honoured(metrics: AzureGpus) -> None:
    plain = {"namespace": "budgetguard", "pod": POD, "container": "nim"}
    none = {f"exported_{name}": "" for name in plain}
    metrics.put(range(240), busy=(60,), **plain, **none)
    assert metrics.ago(metrics.nim()["last_use_at"]) == 60


def test_only_this_cluster_and_its_nims_count(metrics: AzureGpus) -> None:
    metrics.put(range(240), cluster="other")
    metrics.put(range(240), exported_namespace="other")
    metrics.put(range(240), exported_container="sidecar")
    metrics.put(range(240), exported_pod=f"nim-{NODE}-more-6f7c9d8b5-x2x4q")
    assert metrics.nim()["source"] is None


def test_what_is_asked_of_azure(metrics: AzureGpus) -> None:
    metrics.put(range(240))
    metrics.control.clear_calls()
    metrics.nim()
    calls = [call for call in metrics.control.calls() if call["service"] == "azure-prometheus"]
    (asked,) = [dict(urllib.parse.parse_qsl(call["body"])) for call in calls]
    begin, end = int(asked.pop("start")), int(asked.pop("end"))
    assert (end - begin, end % 60) == (86400, 0)
    assert asked == {
        "query": 'max by (exported_pod, UUID) (max_over_time(DCGM_FI_DEV_GPU_UTIL{cluster="budgetguard",'
        'exported_namespace="budgetguard",exported_container="nim"}[60s]))',
        "step": "60",
    }


def test_a_workspace_that_is_busy_is_asked_again(metrics: AzureGpus) -> None:
    metrics.put(range(240))
    metrics.control.fault("query_range", "too_many_requests", status=429, times=2, headers={"Retry-After": "0"})
    assert metrics.nim()["source"] == "azure_monitor"


@pytest.mark.parametrize(
    ("fault", "changes", "said"),
    [
        (
            {"code": "Forbidden", "status": 403, "message": "Not you"},
            {},
            "Not you (Forbidden). The caller needs the role",
        ),
        ({}, {"warnings": ["a shard did not answer"]}, "Azure told a part only: a shard did not answer"),
    ],
)
def test_what_is_refused_or_told_in_part_is_told_and_hides_nothing(
    metrics: AzureGpus, fault: dict[str, t.Any], changes: dict[str, t.Any], said: str
) -> None:
    metrics.put(range(240))
    metrics.control.gpu_metrics("azure", **changes)
    if fault:
        metrics.control.fault("query_range", times=None, **fault)
    told = metrics.read()
    assert told["log"]["problems"][0].startswith(REFUSED + said)
    assert "the gateway has written no line" in told["log"]["problems"][1]
    assert [nim["source"] for nim in told["nims"]] == [None, None]


def test_without_an_address_or_with_a_log_nothing_is_asked(metrics: AzureGpus) -> None:
    metrics.put(range(240))
    metrics.control.clear_calls()
    assert metrics.nim(metrics=False)["source"] is None
    assert metrics.nim(prometheus_query_endpoint=None)["source"] is None
    metrics.logs.write([day.line(metrics.now - 20 * 3600, node=NODE), day.line(metrics.now - 10 * MINUTE, node=NODE)])
    assert [nim["source"] for nim in metrics.read(nodes=[NODE])["nims"]] == ["gateway_log"]
    assert metrics.control.count(action="query_range") == 0


def test_an_address_that_is_none(metrics: AzureGpus) -> None:
    told = metrics.read(prometheus_query_endpoint="studio-abcd.eastus.prometheus.monitor.azure.com")
    assert told["failed"] is True
    assert told["msg"].startswith("prometheus_query_endpoint is 'studio-abcd")


def test_the_guard_never_stops_by_samples(metrics: AzureGpus) -> None:
    metrics.put(range(240))
    found = metrics.decision()
    assert (found["decision"], found["known"], found["source"]) == ("keep", False, None)
    assert "a sample twice a minute" in found["reason"]
