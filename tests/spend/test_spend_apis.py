# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read from each cloud's bill: pages, throttling, work that is not done, limits, and what is no answer."""

from __future__ import annotations

import collections
import datetime
import os
import types
import typing as t
from decimal import Decimal

import boto3
import botocore.exceptions
import pytest
import requests

from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import (
    _aws_spend,
    _azure_spend,
    _gcp_spend,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_session import AzureSession
from ansible_collections.budgetguard.techops.plugins.module_utils._spend import Line, Reading
from tests.sandbox import SandboxControl
from tests.sandbox.spend import Ledger, sums
from tests.sandbox.spend.gcp import DAY_BYTES, TABLE
from tests.sandbox.spend.ledger import CLUSTER

DAYS = 31
QPU = "x-ms-ratelimit-microsoft.costmanagement-qpu-retry-after"
ENTITY = "x-ms-ratelimit-microsoft.costmanagement-entity-retry-after"


def ago(days: int) -> str:
    """Return an earlier day."""
    return (datetime.datetime.now(datetime.timezone.utc).date() - datetime.timedelta(days=days)).isoformat()


def aws() -> Reading:
    """Read AWS's bill of a month."""
    session = _aws_spend.AwsSpend({"region": "us-east-1"})
    return session.read(CLUSTER, {"us-east-1": "east", "eu-central-1": "eu"}, ago(DAYS), ago(0))


def azure(
    pauses: list[float],
    *clusters: _azure_spend.Cluster,
    options: dict[str, t.Any] | None = None,
    session: type[AzureSession] = AzureSession,
) -> Reading:
    """Read Azure's bill of a month."""
    env = os.environ
    connection = {
        "subscription_id": env["AZURE_SUBSCRIPTION_ID"],
        "resource_manager_endpoint": env["AZURE_RESOURCE_MANAGER_ENDPOINT"],
        "tenant": env["AZURE_TENANT_ID"],
        "client_id": env["AZURE_CLIENT_ID"],
        "secret": env["AZURE_CLIENT_SECRET"],
        **(options or {}),
    }
    asked = clusters or (_azure_spend.Cluster("azure", CLUSTER, "Studio", "eastus"),)
    return _azure_spend.AzureSpend(connection, session=session, sleep=pauses.append).read(asked, ago(DAYS), ago(0))


def gcp(pauses: list[float], most_bytes: int = 10**9, table: str = TABLE) -> Reading:
    """Read Google's bill of a month."""
    cluster = _gcp_spend.Cluster("gcp", CLUSTER, "us-central1-a", {})
    return _gcp_spend.GcpSpend(table, most_bytes, sleep=pauses.append).read([cluster], ago(DAYS))


def whole(lines: t.Iterable[Line]) -> Decimal:
    """Return the sum of lines."""
    return sum((line.amount for line in lines), Decimal(0))


def expected(cloud: str) -> float:
    """Return what all of our clusters in a cloud have cost in the month."""
    return float(sum(sums(Ledger().entries(cloud), ago(DAYS)).values()))


def calls(control: SandboxControl) -> collections.Counter[str]:
    """Count the calls by action."""
    return collections.Counter(call["action"] for call in control.calls())


def test_all_pages_of_cost_explorer_are_read_and_counted(control: SandboxControl) -> None:
    reading = aws()
    assert float(whole(reading.lines)) == pytest.approx(expected("aws"))
    # 32 days and 7 on a page, and one call for the tags.
    assert calls(control)["GetCostAndUsage"] == 5
    assert (reading.calls, reading.cost_usd) == (6, Decimal("0.06"))
    assert reading.notes == ()


def test_all_pages_of_cost_management_are_read(control: SandboxControl) -> None:
    pauses: list[float] = []
    reading = azure(pauses)
    assert float(whole(reading.lines)) == pytest.approx(expected("azure"))
    assert calls(control)["Query_Usage"] == reading.calls > 3
    assert {line.gpu_tier for line in reading.lines} == {None, "a100-80gb"}
    assert not pauses


def test_all_pages_of_bigquery_are_read_and_its_bytes_told(control: SandboxControl) -> None:
    reading = gcp([])
    assert float(whole(reading.lines)) == pytest.approx(expected("gcp"))
    assert calls(control)["jobs.getQueryResults"] > 1
    # The days of the export since the first, and not all that there ever was.
    assert reading.bytes_billed == (DAYS + 1) * DAY_BYTES
    assert reading.cost_usd == pytest.approx(Decimal("6.25") * (DAYS + 1) * DAY_BYTES / 2**40)
    assert {line.name for line in reading.lines} == {None, "nim-flux-dev-a100-80gb", "nim-llama-3-1-l4"}


def test_cost_management_says_in_headers_of_its_own_how_long_to_wait(control: SandboxControl) -> None:
    control.fault("Query_Usage", "429", status=429, service="azure-costs", times=2, headers={QPU: "7", ENTITY: "20"})
    pauses: list[float] = []
    assert float(whole(azure(pauses).lines)) == pytest.approx(expected("azure"))
    assert pauses == [20.0, 20.0]


def test_a_limit_by_the_hour_is_not_waited_for(control: SandboxControl) -> None:
    control.fault("Query_Usage", "429", status=429, service="azure-costs", times=1, headers={QPU: "1800"})
    pauses: list[float] = []
    with pytest.raises(ProviderError, match="it wants to be asked again in 1800 seconds"):
        azure(pauses)
    assert not pauses


def test_cost_explorer_that_throttles_is_asked_again(control: SandboxControl) -> None:
    control.fault("GetCostAndUsage", "ThrottlingException", status=400, service="ce", times=2)
    assert float(whole(aws().lines)) == pytest.approx(expected("aws"))


@pytest.mark.parametrize(("status", "code"), [(403, "rateLimitExceeded"), (503, "backendError"), (429, "x")])
def test_bigquery_that_is_busy_is_asked_again(control: SandboxControl, status: int, code: str) -> None:
    control.fault("jobs.query", code, status=status, service="bigquery", times=2)
    pauses: list[float] = []
    assert float(whole(gcp(pauses).lines)) == pytest.approx(expected("gcp"))
    assert len(pauses) == 2


def test_bigquery_that_refuses_is_not_asked_again(control: SandboxControl) -> None:
    control.fault("jobs.query", "accessDenied", status=403, service="bigquery", times=None, message="no right to jobs")
    pauses: list[float] = []
    with pytest.raises(ProviderError, match="no right to jobs"):
        gcp(pauses)
    assert not pauses


def test_work_of_bigquery_that_is_not_done_is_waited_for(control: SandboxControl) -> None:
    control.fault("incomplete", "late", service="bigquery", when="operation")
    assert float(whole(gcp([]).lines)) == pytest.approx(expected("gcp"))


def test_workloads_of_others_in_the_same_cluster_are_theirs(control: SandboxControl) -> None:
    row = {"day": ago(3), "place": "us-central1-a", "cluster": CLUSTER}
    entries = [
        {**row, "amount": "1", "name": "nim-llama-3-1-l4", "tier": "l4"},
        {**row, "amount": "2", "name": "kube:unallocated", "tier": "l4"},
        {**row, "amount": "4", "name": "gateway", "tier": "none"},
        {**row, "amount": "8", "name": "dailies", "tier": "none"},
        {**row, "amount": "16"},
    ]
    control.bill("gcp", entries=entries)
    assert whole(gcp([]).lines) == 1 + 2 + 4 + 16


def test_bigquery_may_not_read_more_than_allowed(control: SandboxControl) -> None:
    with pytest.raises(ProviderError, match="It may read 1000 bytes; allow more with bigquery_maximum_bytes"):
        gcp([], most_bytes=1000)
    with pytest.raises(ProviderError, match="Not found: Table"):
        gcp([], table="studio-billing.billing.another")


def test_a_question_without_its_days_would_cost_the_whole_table(
    control: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = vars(_gcp_spend)["_QUESTION"].replace("_PARTITIONTIME >= TIMESTAMP(@first_day)", "TRUE")
    monkeypatch.setattr(_gcp_spend, "_QUESTION", question)
    with pytest.raises(ProviderError, match="bytes billed"):
        gcp([], most_bytes=10 * 2**30)


def test_nothing_on_a_bill_is_not_zero(control: SandboxControl) -> None:
    for cloud in ("aws", "azure", "gcp"):
        control.bill(cloud, entries=[])
    for reading, target, words in (
        (aws(), "east", "The tag is active"),
        (azure([]), "azure", "see whether the caller may read costs of the whole subscription"),
        (gcp([]), "gcp", "see whether it is the export of the project's billing account"),
    ):
        assert reading.lines == ()
        assert words in reading.unknown[target]


def test_what_is_in_another_resource_group_is_nobodys_unless_aks_says_so(control: SandboxControl) -> None:
    entry = {"day": ago(3), "place": "elsewhere", "cluster": CLUSTER, "amount": "2.5", "tier": "a10"}
    control.bill("azure", entries=[entry])
    # It may be the machines of a cluster of the same name that was not asked about.
    reading = azure([])
    assert reading.lines == ()
    assert "mc_elsewhere_budgetguard_eastus" in reading.notes[0]

    class Told(AzureSession):
        """AKS, in which the cluster has a group for its machines that somebody has named."""

        tags: t.ClassVar[dict[str, str] | None] = None

        def call(self, doing: str, make: t.Callable[[], t.Any], forbidden: str = "") -> t.Any:
            if "AKS" in doing:
                return types.SimpleNamespace(node_resource_group="MC_elsewhere_budgetguard_eastus", tags=self.tags)
            return super().call(doing, make, forbidden)

    (line,) = azure([], session=Told).lines
    assert (line.target, line.amount, line.gpu_tier) == ("azure", Decimal("2.5"), "a10")
    filters = [call["params"]["dataset"]["filter"] for call in control.calls() if call["action"] == "Query_Usage"]
    assert "or" not in filters[-1]
    # In a cluster that was made here everything counts, tagged or not.
    Told.tags = {"budgetguard:managed": "true"}
    azure([], session=Told)
    (last,) = [call["params"]["dataset"]["filter"] for call in control.calls() if call["action"] == "Query_Usage"][2:]
    assert last["or"][0]["dimensions"]["values"] == [
        "MC_elsewhere_budgetguard_eastus",
        "mc_elsewhere_budgetguard_eastus",
    ]


def test_whatever_the_answer_it_is_no_crash(control: SandboxControl) -> None:
    with pytest.raises(ProviderError, match="cannot read what Azure has billed"):
        azure([], options={"subscription_id": "00000000-0000-0000-0000-000000000001"})
    row = {"UsageDate": "yesterday", "Cost": 1, "Currency": "USD"}
    with pytest.raises(ProviderError, match="a row is not what it should be"):
        vars(_azure_spend)["_line"]("azure", row)


def test_the_stand_ins_are_strict(control: SandboxControl) -> None:
    client = boto3.client("ce", region_name="us-east-1")
    period: t.Any = {"Start": ago(3), "End": ago(0)}
    with pytest.raises(botocore.exceptions.ClientError, match="greater than 2"):
        client.get_cost_and_usage(
            TimePeriod=period,
            Granularity="DAILY",
            Metrics=["UnblendedCost"],
            GroupBy=[{"Type": "TAG", "Key": name} for name in ("a", "b", "c")],
        )
    with pytest.raises(botocore.exceptions.ClientError, match="before end date"):
        client.get_cost_and_usage(
            TimePeriod={"Start": ago(0), "End": ago(0)}, Granularity="DAILY", Metrics=["UnblendedCost"]
        )
    base = os.environ["AZURE_RESOURCE_MANAGER_ENDPOINT"]
    url = f"{base}/subscriptions/x/providers/Microsoft.CostManagement/query?api-version=2023-11-01"
    assert requests.post(url, json={}, timeout=30).status_code == 401
    google = os.environ["CLOUDSDK_API_ENDPOINT_OVERRIDES_BIGQUERY"]
    assert requests.post(f"{google}projects/x/queries", json={}, timeout=30).status_code == 401
