# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the simulated metrics of the three clouds refuse, asked by plain HTTP or the cloud's own library."""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError
from google.auth.transport.requests import Request
from google.oauth2 import service_account

from tests.sandbox import Sandbox

GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
DUTY_CYCLE = 'metric.type = "kubernetes.io/container/accelerator/duty_cycle"'
NIGHT = {"interval.startTime": "2026-11-28T00:00:00Z", "interval.endTime": "2026-11-28T06:00:00Z", "view": "FULL"}
PROMETHEUS = "https://prometheus.monitor.azure.com"
PROMQL = 'max by (exported_pod, UUID) (max_over_time(DCGM_FI_DEV_GPU_UTIL{cluster="budgetguard"}[60s]))'
RANGE = {"query": PROMQL, "start": "0", "end": "3600", "step": "60"}

Ask = Callable[..., requests.Response]


@pytest.fixture(scope="module")
def web(running_sandbox: Sandbox) -> Iterator[requests.Session]:
    """Give connections to the sandbox that are kept: a new one reads all authorities anew."""
    with requests.Session() as session:
        session.trust_env = False
        session.verify = running_sandbox.env["REQUESTS_CA_BUNDLE"]
        yield session


@pytest.fixture(scope="module")
def google(running_sandbox: Sandbox, web: requests.Session) -> Ask:
    """Give a function that asks Cloud Monitoring."""
    env = running_sandbox.env
    key = json.loads(Path(env["GOOGLE_APPLICATION_CREDENTIALS"]).read_text())
    url = env["CLOUDSDK_API_ENDPOINT_OVERRIDES_MONITORING"].rstrip("/")

    @functools.cache
    def token(scope: str) -> str:
        credentials: Any = service_account.Credentials.from_service_account_info(key, scopes=[scope])
        credentials.refresh(Request(session=web))
        return str(credentials.token)

    def ask(words: dict[str, str], scope: str = GOOGLE_SCOPE) -> requests.Response:
        path = f"/v3/projects/{env['GOOGLE_CLOUD_PROJECT']}/timeSeries"
        return web.get(url + path, params=words, headers={"Authorization": f"Bearer {token(scope)}"}, timeout=20)

    return ask


@pytest.fixture(scope="module")
def azure(running_sandbox: Sandbox, web: requests.Session) -> Ask:
    """Give a function that asks the Azure Monitor workspace."""
    env = running_sandbox.env
    url = env["AZURE_LOG_ANALYTICS_ENDPOINT"]

    @functools.cache
    def token(audience: str) -> str:
        wanted = {
            "grant_type": "client_credentials",
            "client_id": env["AZURE_CLIENT_ID"],
            "client_secret": env["AZURE_CLIENT_SECRET"],
            "scope": f"{audience}/.default",
        }
        answer = web.post(f"{url}/{env['AZURE_TENANT_ID']}/oauth2/v2.0/token", data=wanted, timeout=20)
        return str(answer.json()["access_token"])

    def ask(fields: Any, audience: str | None = PROMETHEUS, **headers: str) -> requests.Response:
        if audience is not None:
            headers["Authorization"] = f"Bearer {token(audience)}"
        return web.post(f"{url}/api/v1/query_range", data=fields, headers=headers, timeout=20)

    return ask


@pytest.mark.usefixtures("sandbox")
def test_cloud_monitoring_answers_what_is_right(google: Ask) -> None:
    assert google({"filter": DUTY_CYCLE, **NIGHT}).json() == {}


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"filter": 'resource.type = "k8s_container"'}, 400, "a metric.type must be named"),
        ({"filter": f'{DUTY_CYCLE} AND resource.labels.zone = "x"'}, 400, "does not know the condition"),
        ({"filter": f"{DUTY_CYCLE} OR {DUTY_CYCLE}"}, 400, "does not know the condition"),
        ({"filter": 'metric.type = "compute.googleapis.com/instance/uptime"'}, 404, "Cannot find metric"),
        ({"interval.startTime": "2026-11-28T07:00:00Z"}, 400, "the start must not be after the end"),
        ({"interval.endTime": "2026-11-28"}, 400, "Invalid time format"),
        ({"view": "HEADERS"}, 400, "the view FULL only"),
        ({"pageSize": "0"}, 400, "it must be positive"),
        ({"aggregation.alignmentPeriod": "60s"}, 400, "Cannot find field"),
    ],
)
def test_cloud_monitoring_refuses(google: Ask, changes: dict[str, str], status: int, said: str) -> None:
    answer = google({"filter": DUTY_CYCLE, **NIGHT, **changes})
    assert (answer.status_code, said in answer.text) == (status, True), answer.text


def test_cloud_monitoring_wants_a_scope_that_reaches_it(google: Ask) -> None:
    answer = google({"filter": DUTY_CYCLE, **NIGHT}, scope="https://www.googleapis.com/auth/devstorage.read_only")
    assert (answer.status_code, answer.json()["error"]["status"]) == (403, "PERMISSION_DENIED")
    assert "insufficient authentication scopes" in answer.text


@pytest.mark.usefixtures("sandbox")
def test_azures_prometheus_answers_what_is_right(azure: Ask) -> None:
    assert azure(RANGE).json() == {"status": "success", "data": {"resultType": "matrix", "result": []}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"query": "DCGM_FI_DEV_GPU_UTIL"}, "the sandbox does not know"),
        ({"query": PROMQL.replace("cluster=", "cluster=~")}, "the sandbox does not know"),
        ({"query": PROMQL.replace("GPU_UTIL", "SM_CLOCK")}, "the sandbox has the metric"),
        ({"query": PROMQL.replace('"}', '",cluster="other"}')}, "each label once"),
        ({"start": "7200"}, "end timestamp must not be before start time"),
        ({"step": "0"}, "zero or negative"),
        ({"step": "0.1"}, "exceeded maximum resolution of 11,000 points"),
        ({"end": str(32 * 86400), "step": "3600"}, "longer than 32 days"),
        ({"end": "2026-11-28T06:00:00Z"}, "to a valid number"),
        ({"timeout": "30s"}, "the fields are"),
    ],
)
def test_azures_prometheus_refuses(azure: Ask, changes: dict[str, str], said: str) -> None:
    answer = azure({**RANGE, **changes})
    assert (answer.status_code, answer.json()["errorType"]) == (400, "bad_data")
    assert said in answer.json()["error"]


def test_azures_prometheus_wants_a_form_and_a_token_of_its_own(azure: Ask) -> None:
    assert azure(json.dumps(RANGE), **{"Content-Type": "application/json"}).json()["errorType"] == "bad_data"
    assert azure(RANGE, audience=None).status_code == 401
    answer = azure(RANGE, audience="https://management.azure.com")
    assert (answer.status_code, answer.json()["errorType"]) == (401, "InvalidAuthenticationTokenAudience")


def test_cloudwatch_refuses(client: Callable[..., Any]) -> None:
    metric = {"Namespace": "AWS/ApplicationELB", "MetricName": "HealthyHostCount", "Dimensions": []}
    query = {"Id": "q0", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Maximum"}}
    end = datetime.datetime(2026, 11, 28, tzinfo=datetime.timezone.utc)
    cloudwatch = client("cloudwatch")

    def read(*queries: dict[str, Any], hours: int = 1) -> Any:
        start = end - datetime.timedelta(hours=hours)
        return cloudwatch.get_metric_data(MetricDataQueries=queries, StartTime=start, EndTime=end)

    assert read(query)["MetricDataResults"][0]["Values"] == []
    odd = {**query, "MetricStat": {"Metric": metric, "Period": 45, "Stat": "Maximum"}}
    many = [{**query, "Id": f"q{number}"} for number in range(501)]
    for queries, hours, said in (
        ([query], -1, "EndTime must be greater"),
        ([query], 0, "must not equal"),
        ([{**query, "Id": "Q0"}], 1, "not valid or not unique"),
        ([query, query], 1, "not valid or not unique"),
        ([odd], 1, "Period is not valid"),
        (many, 1, "greater than 500"),
    ):
        with pytest.raises(ClientError, match=said):
            read(*queries, hours=hours)
