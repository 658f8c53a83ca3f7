# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CloudWatch's metrics of a load balancer, read by the module where the gateway has no log."""

from __future__ import annotations

import datetime
import time
import typing as t

import boto3
import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _aws_metrics
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_objects import Names
from tests.sandbox import Sandbox
from tests.unit.usage import day
from tests.usage.logs import GROUP, REGION, AwsLogs

NODE = "flux-dev-l40s"
MINUTE = 60.0


class Metrics:
    """A load balancer with one NIM, and what CloudWatch knows of it."""

    def __init__(self, logs: AwsLogs) -> None:
        self.logs = logs
        make: t.Any = boto3.client
        self._metrics = make("cloudwatch", region_name=REGION)
        balancers, machines = make("elbv2", region_name=REGION), make("ec2", region_name=REGION)
        subnets = machines.describe_subnets()["Subnets"][:2]
        (balancer,) = balancers.create_load_balancer(
            Name="budgetguard-nims", Scheme="internal", Subnets=[subnet["SubnetId"] for subnet in subnets]
        )["LoadBalancers"]
        (group,) = balancers.create_target_group(
            Name=Names("budgetguard", REGION).target_group(f"nim-{NODE}"),
            Protocol="HTTP",
            Port=8000,
            VpcId=subnets[0]["VpcId"],
        )["TargetGroups"]
        balancers.create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"],
            Protocol="HTTP",
            Port=80,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": group["TargetGroupArn"]}],
        )
        self.dimensions = [
            {"Name": "TargetGroup", "Value": group["TargetGroupArn"].split(":")[-1]},
            {"Name": "LoadBalancer", "Value": balancer["LoadBalancerArn"].split("loadbalancer/")[1]},
        ]
        self.now = time.time() // MINUTE * MINUTE

    def put(self, name: str, minutes: t.Iterable[int], value: float = 1.0) -> None:
        """Let there be a value for each of these minutes ago."""
        data = [
            {
                "MetricName": name,
                "Dimensions": self.dimensions,
                "Timestamp": datetime.datetime.fromtimestamp(self.now - MINUTE * ago, datetime.timezone.utc),
                "Value": value,
            }
            for ago in minutes
        ]
        for first in range(0, len(data), 500):
            self._metrics.put_metric_data(Namespace="AWS/ApplicationELB", MetricData=data[first : first + 500])

    def nim(self, **options: t.Any) -> dict[str, t.Any]:
        """Return what the module tells of the NIM."""
        told = self.logs.read(nodes=[f"nim-{NODE}", "nim-not-there-l4"], **options)
        assert [nim["source"] for nim in told["nims"] if nim["node"] != NODE] == [None]
        return next(nim for nim in told["nims"] if nim["node"] == NODE)

    def ago(self, text: str | None) -> float:
        """Return a time in minutes before now."""
        assert text is not None
        found = datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
        return (self.now - found) / MINUTE


@pytest.fixture
def metrics(running_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Metrics:
    """Give a load balancer in an account in which the gateway has no log."""
    running_sandbox.control.reset()
    for name, value in running_sandbox.env.items():
        monkeypatch.setenv(name, value)
    logs = AwsLogs(running_sandbox, monkeypatch, capsys)
    logs.client.delete_log_group(logGroupName=GROUP)
    return Metrics(logs)


def test_late_metrics_with_a_gap(metrics: Metrics) -> None:
    # Twelve minutes late, with a gap three hours ago, and one request after and one before it.
    metrics.put("HealthyHostCount", [ago for ago in range(12, 240) if ago != 180])
    metrics.put("RequestCountPerTarget", [200, 90])
    nim = metrics.nim()
    assert (nim["source"], nim["requests"]) == ("cloudwatch", None)
    assert metrics.ago(nim["last_use_at"]) == metrics.ago(nim["idle_since"]) == 89
    assert metrics.ago(nim["settled_until"]) == 11


def test_metrics_that_have_ended_tell_nothing_of_now(metrics: Metrics) -> None:
    metrics.put("HealthyHostCount", range(45, 240))
    assert (metrics.nim()["source"], metrics.nim()["idle_since"]) == (None, None)


def test_nothing_is_known_without_the_heartbeat_and_nothing_before_a_gap(metrics: Metrics) -> None:
    metrics.put("RequestCountPerTarget", [200])
    nim = metrics.nim()
    assert (nim["source"], nim["idle_since"], nim["settled_until"]) == (None, None, None)
    metrics.put("HealthyHostCount", [ago for ago in range(1, 240) if ago != 180], value=0.0)
    nim = metrics.nim()
    assert (nim["source"], nim["last_use_at"]) == ("cloudwatch", None)
    assert metrics.ago(nim["idle_since"]) == 179


def test_a_log_that_is_known_asks_no_metrics(metrics: Metrics) -> None:
    metrics.put("HealthyHostCount", range(1, 60))
    metrics.logs.control.clear_calls()
    assert metrics.nim(metrics=False)["source"] is None
    metrics.logs.client.create_log_group(logGroupName=GROUP)
    metrics.logs.write([day.line(metrics.now - 20 * 3600, node=NODE), day.line(metrics.now - 600, node=NODE)])
    told = metrics.logs.read(nodes=[NODE])
    assert [nim["source"] for nim in told["nims"]] == ["gateway_log"]
    assert metrics.logs.control.count(action="GetMetricData") == 0


def test_a_missing_right_is_told_and_hides_nothing(metrics: Metrics) -> None:
    metrics.logs.control.fault("GetMetricData", "AccessDenied", status=403, times=None)
    told = metrics.logs.read(nodes=[NODE])
    assert told["log"]["problems"][0] == f"there is no log group {GROUP}, so nothing is known"
    assert "cannot read the load balancer's metrics" in told["log"]["problems"][1]
    assert [nim["source"] for nim in told["nims"]] == [None]


def test_what_is_asked_of_cloudwatch(metrics: Metrics) -> None:
    metrics.logs.control.clear_calls()
    metrics.nim()
    (call,) = [call for call in metrics.logs.control.calls() if call["action"] == "GetMetricData"]
    queries = call["params"]["MetricDataQueries"]
    assert [query["MetricStat"]["Metric"]["MetricName"] for query in queries] == [
        "RequestCountPerTarget",
        "HealthyHostCount",
    ]
    # The only statistic that AWS knows for the first one.
    assert [query["MetricStat"]["Stat"] for query in queries] == ["Sum", "Maximum"]
    for query in queries:
        assert query["MetricStat"]["Metric"]["Dimensions"] == metrics.dimensions
        assert query["MetricStat"]["Metric"]["Namespace"] == _aws_metrics.NAMESPACE
        assert query["MetricStat"]["Period"] == 60
