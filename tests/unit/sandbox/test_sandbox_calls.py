# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The call log, faults and delays, and strictness."""

from __future__ import annotations

import base64
import http.client
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.sandbox import Sandbox, SandboxControl
from tests.unit.sandbox.ecs_deployment import REGION, wait_for

Clients = Callable[..., Any]
CANARY = "nvapi-canary-4711"


def test_calls_are_counted_by_service_and_action(client: Clients, control: SandboxControl) -> None:
    client("ecs").list_clusters()
    client("ecs", "eu-west-1").list_clusters()
    client("elbv2").describe_load_balancers()
    client("cloudwatch").list_metrics()
    assert control.counts() == {
        ("ecs", "ListClusters"): 2,
        ("elbv2", "DescribeLoadBalancers"): 1,
        ("cloudwatch", "ListMetrics"): 1,
    }
    assert [call["region"] for call in control.calls("ecs")] == [REGION, "eu-west-1"]
    assert [call["seq"] for call in control.calls()] == sorted(call["seq"] for call in control.calls())
    assert {call["status"] for call in control.calls()} == {200}
    last = control.calls()[-1]["seq"]
    control.clear_calls()
    client("ecs").list_clusters()
    assert [call["seq"] for call in control.calls(since=last)] == [last + 1]


def test_parameters_are_kept_whole(client: Clients, control: SandboxControl) -> None:
    client("ecs").create_cluster(clusterName="one", tags=[{"key": "a", "value": "b"}])
    client("ec2").describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])
    assert control.calls("ecs")[0]["params"] == {"clusterName": "one", "tags": [{"key": "a", "value": "b"}]}
    assert control.calls("ec2")[0]["params"]["Filter.1.Value.1"] == "true"


def test_canary_is_found_wherever_it_hides(client: Clients, control: SandboxControl) -> None:
    client("secretsmanager").create_secret(Name="ngc", SecretString=f'{{"password": "{CANARY}"}}')
    assert [call["action"] for call in control.calls_containing(CANARY)] == ["CreateSecret"]
    user_data = base64.b64encode(f"#!/bin/sh\nexport KEY={CANARY}\n".encode()).decode()
    client("ec2").create_launch_template(LaunchTemplateName="leak", LaunchTemplateData={"UserData": user_data})
    client("logs").create_log_group(logGroupName=f"/{CANARY}")
    found = [call["action"] for call in control.calls_containing(CANARY)]
    assert found == ["CreateSecret", "CreateLaunchTemplate", "CreateLogGroup"]
    assert control.calls_containing("another-canary") == []


@pytest.mark.parametrize(
    ("service", "operation", "action"),
    [
        ("ecs", "list_clusters", "ListClusters"),
        ("ec2", "describe_vpcs", "DescribeVpcs"),
        ("elbv2", "describe_load_balancers", "DescribeLoadBalancers"),
        ("iam", "list_roles", "ListRoles"),
    ],
)
def test_fault_answers_in_the_protocol_of_the_service(
    client: Clients, control: SandboxControl, service: str, operation: str, action: str
) -> None:
    control.fault(action, "Throttling", message="Rate <exceeded>", status=429, times=2)
    for _number in range(2):
        with pytest.raises(ClientError) as caught:
            getattr(client(service), operation)()
        assert caught.value.response["Error"]["Code"] == "Throttling"
        assert caught.value.response["Error"]["Message"] == "Rate <exceeded>"
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    getattr(client(service), operation)()
    assert [call["status"] for call in control.calls(service)] == [429, 429, 200]
    assert control.faults() == []


def test_sdk_retries_a_throttled_call(client: Clients, control: SandboxControl) -> None:
    control.fault("ListClusters", "ThrottlingException", times=2)
    client("ecs", attempts=3).list_clusters()
    assert control.count("ecs", "ListClusters") == 3


def test_fault_hits_only_what_it_is_meant_for(client: Clients, control: SandboxControl) -> None:
    control.fault("CreateCluster", "ServerException", status=500, match="second", service="ecs", times=None)
    ecs = client("ecs")
    ecs.create_cluster(clusterName="first")
    for _number in range(3):
        with pytest.raises(ClientError, match="ServerException"):
            ecs.create_cluster(clusterName="second")
    control.clear_faults()
    ecs.create_cluster(clusterName="second")


def test_fault_after_the_call_loses_only_the_answer(client: Clients, control: SandboxControl) -> None:
    control.fault("CreateCluster", "ServerException", status=500, when="after")
    with pytest.raises(ClientError, match="ServerException"):
        client("ecs").create_cluster(clusterName="made")
    assert control.resources(REGION)["clusters"] == ["made"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_hook_holds_a_call_up_without_holding_up_others(client: Clients, control: SandboxControl, when: str) -> None:
    control.hook("CreateCluster", 2.0, when=when)
    ecs = client("ecs")
    started = time.monotonic()
    thread = threading.Thread(target=ecs.create_cluster, kwargs={"clusterName": "slow"})
    thread.start()
    wait_for(lambda: control.count("ecs", "CreateCluster"))
    if when == "after":
        wait_for(lambda: ecs.list_clusters()["clusterArns"], seconds=1.5)
    else:
        assert ecs.list_clusters()["clusterArns"] == []
    assert thread.is_alive()
    thread.join()
    assert time.monotonic() - started >= 2.0
    assert len(ecs.list_clusters()["clusterArns"]) == 1


@pytest.mark.parametrize(
    ("service", "operation", "arguments"),
    [
        ("ecs", "update_cluster_settings", {"cluster": "x", "settings": [{"name": "containerInsights"}]}),
        ("service-quotas", "get_service_quota", {"ServiceCode": "ec2", "QuotaCode": "L-DB2E81BA"}),
        ("autoscaling", "start_instance_refresh", {"AutoScalingGroupName": "x"}),
        ("iam", "simulate_custom_policy", {"PolicyInputList": ["{}"], "ActionNames": ["s3:x"]}),
        ("pricing", "describe_services", {"ServiceCode": "AmazonEC2"}),
        ("ec2", "get_capacity_manager_attributes", {}),
    ],
)
def test_unknown_operation_is_refused_clearly_and_once(
    client: Clients, control: SandboxControl, service: str, operation: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(client(service, attempts=3), operation)(**arguments)
    error = caught.value.response
    call = control.calls()[-1]
    assert error["ResponseMetadata"]["HTTPStatusCode"] == call["status"] == 400
    assert len(control.calls()) == 1
    if error["Error"]["Code"] == "NotImplementedBySandbox":
        assert call["refused"]
    else:
        assert service == "service-quotas"


@pytest.mark.parametrize("path", ["/nothing", "/moto-api/reset", "/latest/meta-data/", "/bucket/key"])
def test_unsigned_requests_get_404(sandbox: Sandbox, path: str) -> None:
    address = urlsplit(sandbox.env["AWS_ENDPOINT_URL"])
    context = ssl.create_default_context(cafile=sandbox.env["SSL_CERT_FILE"])
    connection = http.client.HTTPSConnection(str(address.hostname), address.port, timeout=10, context=context)
    connection.request("GET", path)
    assert connection.getresponse().status == 404
    connection.close()
    assert sandbox.control.calls()[-1]["refused"]


def test_signed_request_to_a_path_that_is_not_there_gets_404(sandbox: Sandbox) -> None:
    ecs = boto3.client(
        "ecs",
        region_name=REGION,
        endpoint_url=sandbox.env["AWS_ENDPOINT_URL"] + "/somewhere",
        verify=sandbox.env["AWS_CA_BUNDLE"],
        aws_access_key_id="a" * 20,
        aws_secret_access_key="b" * 40,
    )
    with pytest.raises(ClientError) as caught:
        ecs.list_clusters()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_reset_forgets_everything(client: Clients, control: SandboxControl) -> None:
    client("ecs").create_cluster(clusterName="one")
    client("secretsmanager", "eu-west-1").create_secret(Name="s", SecretString="x")
    control.fault("ListClusters", "ServerException")
    control.defaults(startup_seconds=5)
    assert control.resources("eu-west-1")["secrets"] == ["s"]
    control.reset()
    assert set(control.resources()) == {"global"}
    assert not any(control.resources()["global"].values())
    assert control.calls() == []
    assert control.faults() == []
    assert control.defaults()["startup_seconds"] == 0
    assert client("ecs").list_clusters()["clusterArns"] == []


def test_concurrent_calls_do_not_disturb_each_other(client: Clients, control: SandboxControl) -> None:
    ecs = client("ecs")
    ecs.create_cluster(clusterName="tagged", tags=[{"key": "a", "value": "b"}])
    wrong: list[Any] = []

    def describe(include: list[str], expected: bool) -> None:
        for _number in range(15):
            cluster = ecs.describe_clusters(clusters=["tagged"], include=include)["clusters"][0]
            if bool(cluster.get("tags")) != expected:
                wrong.append(cluster)

    threads = [threading.Thread(target=describe, args=(["TAGS"], True)) for _number in range(3)]
    threads += [threading.Thread(target=describe, args=([], False)) for _number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert control.count("ecs", "DescribeClusters") == 90
