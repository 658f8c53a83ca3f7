# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is special about one cloud's log service."""

from __future__ import annotations

import time
import typing as t

import boto3
import botocore.exceptions
import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _azure_usage, _gcp_usage
from tests.sandbox import Sandbox
from tests.unit.usage import day
from tests.usage.logs import GROUP, REGION, AwsLogs, AzureLogs, GcpLogs, switch_on_monitoring

Make = t.Callable[..., t.Any]


@pytest.fixture
def only(running_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Make:
    """Give a function that makes the log of one cloud."""
    running_sandbox.control.reset()
    for name, value in running_sandbox.env.items():
        monkeypatch.setenv(name, value)
    return lambda kind: kind(running_sandbox, monkeypatch, capsys)


def test_cloudwatch_without_a_log_group_is_unknown(only: Make) -> None:
    logs = only(AwsLogs)
    logs.client.delete_log_group(logGroupName=GROUP)
    told = logs.read(nodes=["flux-dev-l40s"])
    assert told["log"]["problems"] == [f"there is no log group {GROUP}, so nothing is known"]
    assert told["nims"][0]["requests"] is None


def test_cloudwatch_tells_what_it_has_read(only: Make) -> None:
    logs = only(AwsLogs)
    text = day.lines(time.time(), count=10)
    logs.write(text)
    assert logs.read()["log"]["bytes_scanned"] == 2 * sum(map(len, text)) + sum(
        len(line) for line in text if day.stamp(time.time() - 3600) <= day.stamp_of(line)
    )


def test_more_rows_than_insights_returns_are_asked_for_in_parts(only: Make) -> None:
    logs = only(AwsLogs)
    now = time.time()
    count = 10_500
    logs.write([day.line(now - 3500 + number / 4, seconds=0.1) for number in range(count)])
    told = logs.read(since="1h")
    (nim,) = told["nims"]
    assert (nim["requests"], nim["recent"]["requests"]) == (count, count)
    assert nim["recent"]["busy_seconds"] == pytest.approx(count * 0.1, rel=0.001)
    asked = [call["params"]["queryString"] for call in logs.reads() if call["action"] == "StartQuery"]
    assert len(asked) == 5


@pytest.mark.parametrize(
    "query",
    [
        "sort @timestamp desc",
        "fields tomillis(@timestamp)",
        "filter status > 400",
        "stats pct(seconds, 99) as slow by node",
        "limit 20000",
    ],
)
def test_the_simulated_insights_refuses_what_it_does_not_know(only: Make, query: str) -> None:
    logs = only(AwsLogs)
    with pytest.raises(botocore.exceptions.ClientError, match="MalformedQueryException"):
        logs.client.start_query(logGroupNames=[GROUP], startTime=0, endTime=1, queryString=query)


def test_lines_that_come_late_are_told(only: Make) -> None:
    for kind, usual in ((AwsLogs, 60), (GcpLogs, 60), (AzureLogs, 900)):
        logs = only(kind)
        now = time.time()
        logs.write([day.line(now - 7200), day.line(now - 1000)], delay_seconds=950)
        told = logs.read(since="1h", recent_minutes=10, nodes=["sdxl-l4"])
        assert told["log"]["delay_seconds"] is None, kind
        assert told["log"]["settled_until"] <= day.stamp(time.time() - usual + 2), kind
        told = logs.read(since="1h", recent_minutes=30, nodes=["sdxl-l4"])
        assert told["log"]["delay_seconds"] == 950, kind
        assert told["log"]["settled_until"] <= day.stamp(time.time() - 948), kind
        logs.control.reset()


def test_log_analytics_that_tells_a_part_only(only: Make) -> None:
    logs = only(AzureLogs)
    logs.write([day.line(time.time() - number * 60) for number in range(20)])
    logs.control.fault(
        "partial", "PartialError", message="Query was cut short", when="operation", service="log-analytics", times=None
    )
    told = logs.read(nodes=["sdxl-l4"])
    assert told["log"]["complete"] is False
    assert "Azure tells only a part: Query was cut short" in told["log"]["problems"]
    assert next(nim for nim in told["nims"] if nim["node"] == "sdxl-l4")["requests"] is None


def test_the_workspace_is_that_of_the_clusters_addon(only: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = only(AzureLogs)
    assert logs.cluster.cloud == "azure"
    monkeypatch.delenv("AZURE_LOG_ANALYTICS_WORKSPACE_ID")
    told = logs.read(nodes=["sdxl-l4"])
    assert told["nims"][0]["requests"] is None
    (problem,) = told["log"]["problems"]
    assert problem.startswith("the AKS cluster budgetguard sends no logs to Log Analytics, so nothing is known; switch")
    switch_on_monitoring(logs.cluster)
    logs.write([day.line(time.time() - 60)])
    assert logs.read()["nims"][0]["requests"] == 1


def test_the_simulated_log_analytics_refuses_what_it_does_not_know(only: Make) -> None:
    logs = only(AzureLogs)
    session: t.Any = logs.cluster.provider().cloud.session
    logs.write([day.line(time.time())])
    path = f"/v1/workspaces/{logs.sandbox.env['AZURE_LOG_ANALYTICS_WORKSPACE_ID']}/query"
    for query in (
        "ContainerLog",
        "ContainerLogV2\n| sort by TimeGenerated",
        "ContainerLogV2\n| where LogMessage has 'x'",
        "ContainerLogV2\n| summarize dcount(PodName) by PodNamespace",
        "ContainerLogV2\n| project Nothing",
    ):
        with pytest.raises(ProviderError, match="The request had some invalid properties"):
            session.post("try", logs.sandbox.env["AZURE_LOG_ANALYTICS_ENDPOINT"], path, {"query": query})
    assert _azure_usage.MOST_ROWS <= 500_000


def test_cloud_logging_is_read_page_by_page_and_not_too_fast(only: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = only(GcpLogs)
    pauses: list[float] = []
    monkeypatch.setattr(_gcp_usage, "PAGES_AT_ONCE", 3)
    monkeypatch.setattr(_gcp_usage, "PAGE_ROWS", 10)
    logs.write([day.line(time.time() - 60 - number) for number in range(45)])
    monkeypatch.setattr(time, "sleep", pauses.append)
    assert logs.read()["nims"][0]["requests"] == 45
    assert [call["action"] for call in logs.reads()] == ["entries.list"] * 6
    assert pauses == [_gcp_usage.PAUSE] * 3


def test_cloud_logging_refuses_a_filter_that_it_does_not_know(only: Make) -> None:
    logs = only(GcpLogs)
    session: t.Any = logs.cluster.provider().cloud.session
    for condition in ('jsonPayload.node=~"flux"', "severity>=ERROR", 'timestamp="2026"x'):
        with pytest.raises(ProviderError, match="the sandbox does not know the condition"):
            session.log_entries("try", {"resourceNames": [f"projects/{session.project}"], "filter": condition})


def test_somebody_without_the_right_to_query_is_told_so(only: Make) -> None:
    logs = only(AwsLogs)
    make: t.Any = boto3.client
    iam = make("iam", region_name=REGION)
    iam.create_user(UserName="reader")
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    told = logs.read(access_key=key["AccessKeyId"], secret_key=key["SecretAccessKey"])
    assert told["failed"] is True
    assert "logs:StartQuery" in told["msg"]
    iam.put_user_policy(
        UserName="reader",
        PolicyName="usage",
        PolicyDocument='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["logs:StartQuery",'
        f'"logs:GetQueryResults"],"Resource":["arn:aws:logs:*:*:log-group:{GROUP}","*"]}}]}}',
    )
    assert "failed" not in logs.read(access_key=key["AccessKeyId"], secret_key=key["SecretAccessKey"])
