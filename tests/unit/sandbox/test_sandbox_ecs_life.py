# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated life of an ECS service: how it starts, stops and goes wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.sandbox import SandboxControl
from tests.unit.sandbox.ecs_deployment import NAME, REGION, Deployment, wait_for

Clients = Callable[..., Any]


def log_lines(deployment: Deployment, task_arn: str) -> list[str]:
    """Read the log of a task's container, as the task definition says where it is."""
    events = deployment.client("logs").get_log_events(
        logGroupName="/budgetguard/budgetguard", logStreamName=f"{NAME}/nim/{task_arn.rsplit('/', 1)[-1]}"
    )["events"]
    return [event["message"] for event in events]


def test_service_at_zero_costs_nothing(deployment: Deployment) -> None:
    service = deployment.create().service()
    assert (service["desiredCount"], service["runningCount"], service["pendingCount"]) == (0, 0, 0)
    assert service["deployments"][0]["rolloutState"] == "COMPLETED"
    assert deployment.group()["DesiredCapacity"] == 0
    assert deployment.tasks() == []


def test_start_and_stop_without_delay(deployment: Deployment, control: SandboxControl) -> None:
    deployment.create()
    answer = deployment.scale(1)
    assert (answer["desiredCount"], answer["runningCount"]) == (1, 0)
    service = deployment.service()
    assert (service["runningCount"], service["pendingCount"]) == (1, 0)
    assert service["deployments"][0]["runningCount"] == 1
    assert any("has reached a steady state" in event for event in deployment.events())
    task = deployment.tasks()[0]
    assert task["lastStatus"] == "RUNNING"
    assert task["group"] == f"service:{NAME}"
    assert "exitCode" not in task["containers"][0]
    assert [target["State"] for target in deployment.targets()] == ["healthy"]
    group = deployment.group()
    assert group["DesiredCapacity"] == len(group["Instances"]) == 1
    assert deployment.activities()[0]["StatusCode"] == "Successful"
    assert log_lines(deployment, task["taskArn"])[-1].endswith("startup complete.")

    control.defaults(drain_seconds=60)
    deployment.scale(0)
    service = deployment.service()
    assert (service["runningCount"], service["pendingCount"]) == (0, 0)
    assert [target["State"] for target in deployment.targets()] == ["draining"]
    group = deployment.group()
    assert group["DesiredCapacity"] == len(group["Instances"]) == 0
    assert deployment.tasks() == []
    stopped = deployment.tasks("STOPPED")[0]
    assert stopped["stopCode"] == "ServiceSchedulerInitiated"
    assert control.resources(REGION)["instances"] == []


def test_start_passes_through_the_states_of_aws(deployment: Deployment, control: SandboxControl) -> None:
    deployment.create()
    control.defaults(startup_seconds=3.0)
    deployment.scale(1)
    seen: list[tuple[str, int, int]] = []
    healths: list[str] = []
    while "healthy" not in healths:
        service = deployment.service()
        tasks = deployment.tasks()
        healths += [target["State"] for target in deployment.targets()]
        status = tasks[0]["lastStatus"] if tasks else ""
        seen.append((status, service["pendingCount"], service["runningCount"]))
        assert len(seen) < 1000
        time.sleep(0.05)
    order = [status for index, (status, *_others) in enumerate(seen) if index == 0 or seen[index - 1][0] != status]
    assert order == ["PROVISIONING", "PENDING", "RUNNING"]
    assert ("PROVISIONING", 1, 0) in seen
    assert ("RUNNING", 0, 1) in seen
    assert healths[0] == "initial"


def test_own_delay_of_a_deployment_comes_before_the_default(deployment: Deployment, control: SandboxControl) -> None:
    control.nim(NAME, delay_seconds=60)
    deployment.create().scale(1)
    assert deployment.service()["pendingCount"] == 1
    control.nim(NAME)
    assert deployment.service()["runningCount"] == 1


def test_instance_stays_for_the_tail(deployment: Deployment, control: SandboxControl) -> None:
    control.defaults(scale_in_seconds=1.0)
    deployment.create().scale(1)
    deployment.service()
    deployment.scale(0)
    assert deployment.service()["runningCount"] == 0
    assert len(deployment.group()["Instances"]) == 1
    assert wait_for(lambda: not deployment.group()["Instances"])


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (
            "no_capacity",
            "We currently do not have sufficient g6e.2xlarge capacity in the Availability Zone you requested",
        ),
        ("quota", "You have requested more vCPU capacity than your current vCPU limit of 0 allows"),
    ],
)
def test_instance_that_cannot_be_launched(
    deployment: Deployment, control: SandboxControl, outcome: str, message: str
) -> None:
    control.nim(NAME, outcome)
    deployment.create().scale(1)
    service = deployment.service()
    assert (service["runningCount"], service["pendingCount"]) == (0, 1)
    assert deployment.tasks()[0]["lastStatus"] == "PROVISIONING"
    activity = deployment.activities()[0]
    assert activity["StatusCode"] == "Failed"
    assert activity["StatusMessage"].startswith(message)
    group = deployment.group()
    assert (group["DesiredCapacity"], group["Instances"]) == (1, [])
    deployment.scale(0)
    deployment.service()
    assert deployment.group()["DesiredCapacity"] == 0

    control.nim(NAME, "ready")
    deployment.scale(1)
    assert deployment.service()["runningCount"] == 1


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("launch template", "The specified launch template"),
        ("security group", "The security group 'sg-00000000000000000' does not exist."),
        ("instance type", "Invalid value 'g99.large'"),
        ("zone", "Your requested instance type (p4de.24xlarge) is not supported"),
    ],
)
def test_instance_that_ec2_objects_to(deployment: Deployment, missing: str, message: str) -> None:
    deployment.instance_type = {"instance type": "g99.large", "zone": "p4de.24xlarge"}.get(missing, "g6e.2xlarge")
    deployment.create()
    if missing == "zone":
        deployment.asg.update_auto_scaling_group(
            AutoScalingGroupName=NAME, VPCZoneIdentifier=deployment.subnet_in("us-east-1a")
        )
    elif missing == "launch template":
        deployment.ec2.delete_launch_template(LaunchTemplateName=NAME)
    elif missing == "security group":
        deployment.ec2.create_launch_template_version(
            LaunchTemplateName=NAME,
            LaunchTemplateData={
                "InstanceType": "g6e.2xlarge",
                "ImageId": "ami-12345678",
                "SecurityGroupIds": ["sg-00000000000000000"],
            },
        )
    deployment.scale(1)
    assert deployment.service()["pendingCount"] == 1
    activity = deployment.activities()[0]
    assert activity["StatusCode"] == "Failed"
    assert activity["StatusMessage"].startswith(message)
    assert activity["StatusMessage"].endswith("Launching EC2 instance failed.")
    assert deployment.group()["Instances"] == []


def test_image_that_cannot_be_pulled(deployment: Deployment, control: SandboxControl) -> None:
    control.nim(NAME, "pull_refused")
    deployment.create().scale(1)
    deployment.service()
    task = deployment.tasks("STOPPED")[0]
    assert task["lastStatus"] == "STOPPED"
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"] == "Task failed to start"
    container = task["containers"][0]
    assert container["reason"].startswith("CannotPullContainerError: ")
    assert container["reason"].endswith("401 Unauthorized")
    assert "nvcr.io/v2/nim/black-forest-labs/flux.1-dev/manifests/1.2.3" in container["reason"]
    assert "exitCode" not in container
    wait_for(lambda: len(deployment.tasks("STOPPED")) >= 2)
    assert deployment.service()["deployments"][0]["failedTasks"] == 2
    assert any("is unable to consistently start tasks successfully" in event for event in deployment.events())


def test_task_that_does_not_fit(deployment: Deployment, control: SandboxControl) -> None:
    control.nim(NAME, "does_not_fit")
    deployment.create().scale(1)
    deployment.service()
    assert deployment.tasks()[0]["lastStatus"] == "PROVISIONING"
    event = deployment.events()[0]
    assert "was unable to place a task because no container instance met all of its requirements." in event
    assert "The closest matching (container-instance " in event
    assert "has insufficient memory available." in event
    assert len(deployment.group()["Instances"]) == 1


def test_task_that_is_too_large_does_not_fit_by_itself(deployment: Deployment) -> None:
    deployment.instance_type, deployment.memory_reservation = "g5.xlarge", 40000
    deployment.create().scale(1)
    deployment.service()
    assert "has insufficient memory available." in deployment.events()[0]


def test_unhealthy_target(deployment: Deployment, control: SandboxControl) -> None:
    control.nim(NAME, "unhealthy")
    deployment.create().scale(1)
    assert deployment.service()["runningCount"] == 1
    assert deployment.targets() == [
        {
            "State": "unhealthy",
            "Reason": "Target.ResponseCodeMismatch",
            "Description": "Health checks failed with these codes: [503]",
        }
    ]
    control.nim(NAME, "ready")
    assert [target["State"] for target in deployment.targets()] == ["healthy"]


def test_container_that_exits(deployment: Deployment, control: SandboxControl) -> None:
    control.nim(NAME, "exits", log_lines=["first", "CUDA out of memory"])
    deployment.create().scale(1)
    deployment.service()
    task = deployment.tasks("STOPPED")[0]
    assert task["stoppedReason"] == "Essential container in task exited"
    assert task["stopCode"] == "EssentialContainerExited"
    assert task["containers"][0]["exitCode"] == 1
    assert log_lines(deployment, task["taskArn"]) == ["first", "CUDA out of memory"]
    assert [target["State"] for target in deployment.targets()] != ["healthy"]
    control.nim(NAME, "ready")
    wait_for(lambda: deployment.service()["runningCount"] == 1)
    assert deployment.service()["deployments"][0]["failedTasks"] == 0


def test_circuit_breaker_ends_a_deployment_that_never_worked(deployment: Deployment, control: SandboxControl) -> None:
    control.nim(NAME, "exits")
    deployment.desired_count = 1
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": False}}
    deployment.service_options = {"deploymentConfiguration": breaker}
    deployment.create()
    wait_for(lambda: deployment.service()["deployments"][0]["rolloutState"] == "FAILED", seconds=15)


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("secret", "can't find the specified secret"),
        ("log group", "The specified log group does not exist"),
        ("role", "unable to assume the role"),
    ],
)
def test_container_needs_secret_log_group_and_role(
    deployment: Deployment, client: Clients, missing: str, reason: str
) -> None:
    deployment.create()
    if missing == "secret":
        client("secretsmanager").delete_secret(SecretId="ngc")
    elif missing == "log group":
        client("logs").delete_log_group(logGroupName="/budgetguard/budgetguard")
    else:
        client("iam").delete_role(RoleName="execution")
    deployment.scale(1)
    deployment.service()
    task = deployment.tasks("STOPPED")[0]
    assert task["stopCode"] == "TaskFailedToStart"
    assert reason in task["containers"][0]["reason"]


def test_instance_of_another_cluster_never_joins(deployment: Deployment) -> None:
    deployment.user_data = "#!/bin/sh\necho ECS_CLUSTER=other >> /etc/ecs/ecs.config\n"
    deployment.create().scale(1)
    assert deployment.service()["pendingCount"] == 1
    assert len(deployment.group()["Instances"]) == 1
    assert deployment.ecs.list_container_instances(cluster="budgetguard")["containerInstanceArns"] == []


def test_instance_is_as_large_as_its_type(deployment: Deployment) -> None:
    deployment.create().scale(1)
    deployment.service()
    arns = deployment.ecs.list_container_instances(cluster="budgetguard")["containerInstanceArns"]
    described = deployment.ecs.describe_container_instances(cluster="budgetguard", containerInstances=arns)
    resources = {item["name"]: item for item in described["containerInstances"][0]["registeredResources"]}
    assert 60000 < resources["MEMORY"]["integerValue"] < 65536
    assert len(resources["GPU"]["stringSetValue"]) == 1


def test_instance_runs_the_image_of_the_ssm_parameter(deployment: Deployment, client: Clients) -> None:
    deployment.create().scale(1)
    deployment.service()
    name = "/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id"
    image = client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
    instance_id = deployment.group()["Instances"][0]["InstanceId"]
    instance = client("ec2").describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    assert instance["ImageId"] == image
    assert instance["InstanceType"] == "g6e.2xlarge"


def test_new_task_definition_replaces_the_task(deployment: Deployment) -> None:
    deployment.create().scale(1)
    first = deployment.service()["taskDefinition"]
    deployment.create_task_definition()
    deployment.ecs.update_service(cluster="budgetguard", service=NAME, taskDefinition=NAME)
    service = deployment.service()
    assert service["taskDefinition"] == deployment.task_definition != first
    assert [item["taskDefinition"] for item in service["deployments"]] == [deployment.task_definition]
    assert [task["taskDefinitionArn"] for task in deployment.tasks()] == [deployment.task_definition]
    assert [task["taskDefinitionArn"] for task in deployment.tasks("STOPPED")] == [first]
    assert service["desiredCount"] == service["runningCount"] == 1
    assert len(deployment.group()["Instances"]) == 1


def test_forced_deployment_replaces_the_task(deployment: Deployment) -> None:
    deployment.create().scale(1)
    before = [task["taskArn"] for task in deployment.tasks()]
    deployment.ecs.update_service(cluster="budgetguard", service=NAME, forceNewDeployment=True)
    after = [task["taskArn"] for task in deployment.tasks()]
    assert len(before) == len(after) == 1
    assert before != after


def test_task_stops_when_its_instance_ends(deployment: Deployment, client: Clients) -> None:
    deployment.create().scale(1)
    deployment.service()
    deployment.asg.delete_auto_scaling_group(AutoScalingGroupName=NAME, ForceDelete=True)
    assert deployment.tasks("STOPPED")[0]["stoppedReason"].endswith("terminated.")
    assert client("ecs").describe_clusters(clusters=["budgetguard"])["clusters"][0]["runningTasksCount"] == 0


def test_deleted_service_drains_and_then_is_inactive(deployment: Deployment, control: SandboxControl) -> None:
    control.defaults(drain_seconds=1.0)
    deployment.create().scale(1)
    deployment.service()
    answer = deployment.ecs.delete_service(cluster="budgetguard", service=NAME, force=True)["service"]
    assert answer["status"] == "DRAINING"
    assert deployment.service()["status"] == "DRAINING"
    with pytest.raises(deployment.ecs.exceptions.InvalidParameterException) as caught:
        deployment.create_service()
    assert "Unable to Start a service that is still Draining." in str(caught.value)
    wait_for(lambda: deployment.service()["status"] == "INACTIVE")
    assert deployment.tasks("STOPPED") != []
    assert deployment.ecs.list_services(cluster="budgetguard")["serviceArns"] == []
    deployment.create_service()
    assert deployment.service()["status"] == "ACTIVE"


def test_replicas_get_an_instance_each_as_far_as_the_group_goes(
    deployment: Deployment, control: SandboxControl
) -> None:
    deployment.create()
    deployment.asg.update_auto_scaling_group(AutoScalingGroupName=NAME, MaxSize=2)
    deployment.scale(3)
    service = deployment.service()
    assert (service["runningCount"], service["pendingCount"]) == (2, 1)
    assert len(control.resources(REGION)["instances"]) == 2
    assert len(deployment.targets()) == 2
    assert any("has insufficient GPU resource available." in event for event in deployment.events())
    deployment.scale(1)
    assert deployment.service()["runningCount"] == 1
    assert len(deployment.group()["Instances"]) == 1
    assert "healthy" in [target["State"] for target in deployment.targets()]


def test_cluster_counts_follow(deployment: Deployment) -> None:
    deployment.create().scale(1)
    cluster = deployment.ecs.describe_clusters(clusters=["budgetguard"])["clusters"][0]
    assert cluster["runningTasksCount"] == cluster["registeredContainerInstancesCount"] == 1
    assert cluster["activeServicesCount"] == 1
    assert cluster["pendingTasksCount"] == 0
