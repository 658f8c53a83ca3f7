# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where moto was put right: each behaviour of AWS that a deployment meets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.sandbox import SandboxControl
from tests.unit.sandbox.ecs_deployment import NAME, REGION, TRUST, Deployment, wait_for

Clients = Callable[..., Any]
GPU_IMAGE = "/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended"


@contextmanager
def refused(code: str, message: str = "") -> Iterator[None]:
    """Expect this AWS error, with HTTP status 4xx."""
    with pytest.raises(ClientError) as caught:
        yield
    error = caught.value.response
    assert error["Error"]["Code"] == code
    assert message in error["Error"]["Message"]
    assert 400 <= error["ResponseMetadata"]["HTTPStatusCode"] < 500


@pytest.fixture
def made(deployment: Deployment) -> Deployment:
    """Give a NIM that is made, stopped."""
    return deployment.create()


# -- ECS services


def test_service_keeps_all_fields(deployment: Deployment) -> None:
    deployment.service_options = {
        "deploymentConfiguration": {"maximumPercent": 100, "minimumHealthyPercent": 0},
        "placementConstraints": [{"type": "distinctInstance"}],
        "placementStrategy": [{"type": "binpack", "field": "memory"}],
        "healthCheckGracePeriodSeconds": 3600,
        "enableECSManagedTags": True,
        "enableExecuteCommand": False,
        "propagateTags": "SERVICE",
        "availabilityZoneRebalancing": "DISABLED",
        "tags": [{"key": "budgetguard:managed", "value": "true"}],
    }
    deployment.create()
    service = deployment.ecs.describe_services(cluster="budgetguard", services=[NAME], include=["TAGS"])["services"][0]
    configuration = service.pop("deploymentConfiguration")
    assert configuration["maximumPercent"] == 100
    assert configuration["minimumHealthyPercent"] == 0
    for name, value in deployment.service_options.items():
        if name != "deploymentConfiguration":
            assert service[name] == value
    assert service["capacityProviderStrategy"] == [{"capacityProvider": NAME, "weight": 1, "base": 0}]
    assert "launchType" not in service
    assert "networkConfiguration" not in service


def test_service_cannot_be_made_twice(made: Deployment) -> None:
    with refused("InvalidParameterException", "Creation of service was not idempotent."):
        made.create_service()
    assert made.ecs.list_services(cluster="budgetguard")["serviceArns"] == [made.service()["serviceArn"]]


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (
            {"capacityProviderStrategy": [{"capacityProvider": "other", "weight": 1}]},
            "InvalidParameterException",
            "not associated with the cluster",
        ),
        ({"launchType": "EC2"}, "InvalidParameterException", "both a launch type and capacity provider strategy"),
        ({"serviceName": "with space"}, "InvalidParameterException", "service name"),
        ({"taskDefinition": "nothing:1"}, "ClientException", "task definition"),
        ({"cluster": "nothing"}, "ClusterNotFoundException", "Cluster not found"),
        (
            {"loadBalancers": [{"targetGroupArn": "arn:x", "containerName": "nim", "containerPort": 8000}]},
            "InvalidParameterException",
            "target group does not exist",
        ),
    ],
)
def test_service_with_wrong_parameters(made: Deployment, change: dict[str, Any], code: str, message: str) -> None:
    made.ecs.delete_service(cluster="budgetguard", service=NAME)
    wait_for(lambda: made.service()["status"] == "INACTIVE")
    made.service_options = change
    with refused(code, message):
        made.create_service()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"containerName": "sidecar", "containerPort": 8000}, "The container sidecar does not exist"),
        ({"containerName": "nim", "containerPort": 9}, "did not have a container port 9 defined"),
    ],
)
def test_service_with_a_wrong_container(made: Deployment, entry: dict[str, Any], message: str) -> None:
    made.service_options = {
        "serviceName": "second",
        "loadBalancers": [{"targetGroupArn": made.target_group_arn, **entry}],
    }
    with refused("InvalidParameterException", message):
        made.create_service()


def test_service_needs_a_target_group_with_load_balancer(made: Deployment) -> None:
    made.service_options = {"serviceName": "second"}
    made.elb.delete_rule(RuleArn=made.rule_arn)
    with refused("InvalidParameterException", "does not have an associated load balancer"):
        made.create_service()


def test_updated_service_keeps_the_arn_of_the_task_definition(made: Deployment) -> None:
    made.ecs.update_service(cluster="budgetguard", service=NAME, taskDefinition=f"{NAME}:1")
    assert made.service()["taskDefinition"] == made.task_definition


def test_change_of_strategy_must_be_forced(made: Deployment) -> None:
    arguments = {
        "cluster": "budgetguard",
        "service": NAME,
        "capacityProviderStrategy": [{"capacityProvider": NAME, "weight": 2}],
    }
    with refused("InvalidParameterException", "you must force a new deployment"):
        made.ecs.update_service(**arguments)
    made.ecs.update_service(forceNewDeployment=True, **arguments)
    assert made.service()["capacityProviderStrategy"][0]["weight"] == 2


def test_deleted_service_cannot_be_updated_or_deleted_again(made: Deployment) -> None:
    made.ecs.delete_service(cluster="budgetguard", service=NAME)
    wait_for(lambda: made.service()["status"] == "INACTIVE")
    with refused("ServiceNotActiveException", "Service was not ACTIVE."):
        made.scale(1)
    with refused("ServiceNotFoundException"):
        made.ecs.delete_service(cluster="budgetguard", service=NAME)


def test_running_service_is_deleted_by_force_only(made: Deployment) -> None:
    made.scale(1)
    with refused("InvalidParameterException", "scaled above 0"):
        made.ecs.delete_service(cluster="budgetguard", service=NAME)


def test_services_come_in_pages_of_ten(made: Deployment) -> None:
    names = [f"service-{number:02}" for number in range(11)]
    for name in names:
        made.service_options = {"serviceName": name, "loadBalancers": []}
        made.create_service()
    first = made.ecs.list_services(cluster="budgetguard")
    assert len(first["serviceArns"]) == 10
    second = made.ecs.list_services(cluster="budgetguard", nextToken=first["nextToken"])
    assert len(second["serviceArns"]) == 2
    assert "nextToken" not in second
    assert len(made.ecs.list_services(cluster="budgetguard", maxResults=100)["serviceArns"]) == 12
    with refused("InvalidParameterException", "at most 10"):
        made.ecs.describe_services(cluster="budgetguard", services=names)
    missing = made.ecs.describe_services(cluster="budgetguard", services=["none"])
    assert missing["services"] == []
    assert missing["failures"][0]["reason"] == "MISSING"


# -- ECS clusters and capacity providers


def test_same_cluster_is_returned_as_it_is(made: Deployment) -> None:
    made.ecs.tag_resource(
        resourceArn=made.service()["clusterArn"], tags=[{"key": "budgetguard:managed", "value": "true"}]
    )
    again = made.ecs.create_cluster(clusterName="budgetguard")["cluster"]
    assert again["capacityProviders"] == [NAME]
    described = made.ecs.describe_clusters(clusters=["budgetguard"], include=["TAGS"])["clusters"][0]
    assert described["tags"] == [{"key": "budgetguard:managed", "value": "true"}]
    assert made.service()["status"] == "ACTIVE"


def test_cluster_without_capacity_providers_says_so(client: Clients) -> None:
    ecs = client("ecs")
    ecs.create_cluster(clusterName="plain")
    cluster = ecs.describe_clusters(clusters=["plain"])["clusters"][0]
    assert cluster["capacityProviders"] == []
    assert cluster["defaultCapacityProviderStrategy"] == []


def test_cluster_with_unknown_capacity_provider(client: Clients, control: SandboxControl) -> None:
    with refused("InvalidParameterException", "capacity provider was not found"):
        client("ecs").create_cluster(clusterName="new", capacityProviders=["none"])
    assert control.resources(REGION) == {}


def test_cluster_in_use_is_not_deleted(made: Deployment) -> None:
    with refused("ClusterContainsServicesException"):
        made.ecs.delete_cluster(cluster="budgetguard")
    made.ecs.delete_service(cluster="budgetguard", service=NAME)
    wait_for(lambda: made.service()["status"] == "INACTIVE")
    assert made.ecs.delete_cluster(cluster="budgetguard")["cluster"]["status"] == "INACTIVE"
    with refused("ClusterNotFoundException", "The referenced cluster was inactive."):
        made.create_service()


def test_cluster_with_instances_is_not_deleted(made: Deployment, control: SandboxControl) -> None:
    control.defaults(scale_in_seconds=60)
    made.scale(1)
    made.service()
    made.ecs.delete_service(cluster="budgetguard", service=NAME, force=True)
    wait_for(lambda: made.service()["status"] == "INACTIVE")
    with refused("ClusterContainsContainerInstancesException"):
        made.ecs.delete_cluster(cluster="budgetguard")


def test_capacity_provider_takes_group_by_name_or_arn_and_keeps_the_arn(made: Deployment) -> None:
    arn = made.group()["AutoScalingGroupARN"]
    providers = made.ecs.describe_capacity_providers(capacityProviders=[NAME])["capacityProviders"]
    assert providers[0]["autoScalingGroupProvider"]["autoScalingGroupArn"] == arn
    made.asg.create_auto_scaling_group(
        AutoScalingGroupName="second",
        MinSize=0,
        MaxSize=1,
        LaunchTemplate={"LaunchTemplateName": NAME},
        VPCZoneIdentifier=made.subnets[0],
    )
    groups = made.asg.describe_auto_scaling_groups(AutoScalingGroupNames=["second"])["AutoScalingGroups"]
    made.ecs.create_capacity_provider(
        name="second", autoScalingGroupProvider={"autoScalingGroupArn": groups[0]["AutoScalingGroupARN"]}
    )
    assert "AmazonECSManaged" in [tag["Key"] for tag in made.group()["Tags"]]


@pytest.mark.parametrize(
    ("name", "provider", "message"),
    [
        (NAME, {"autoScalingGroupArn": NAME}, "already exists"),
        ("second", {"autoScalingGroupArn": NAME}, "already being used by another capacity provider"),
        ("second", {"autoScalingGroupArn": "none"}, "Auto Scaling group ARN is invalid"),
        ("ecs-second", {"autoScalingGroupArn": NAME}, "cannot be prefixed"),
    ],
)
def test_capacity_provider_that_cannot_be_made(
    made: Deployment, name: str, provider: dict[str, Any], message: str
) -> None:
    with refused("ClientException", message):
        made.ecs.create_capacity_provider(name=name, autoScalingGroupProvider=provider)
    kept = made.ecs.describe_capacity_providers(capacityProviders=[NAME])["capacityProviders"][0]
    assert kept["autoScalingGroupProvider"]["managedScaling"]["status"] == "ENABLED"


def test_termination_protection_needs_a_protecting_group(made: Deployment) -> None:
    made.ecs.put_cluster_capacity_providers(
        cluster="budgetguard", capacityProviders=[], defaultCapacityProviderStrategy=[]
    )
    made.ecs.delete_capacity_provider(capacityProvider=NAME)
    with refused("ClientException", "must have instance protection from scale in enabled"):
        made.ecs.create_capacity_provider(
            name="second",
            autoScalingGroupProvider={"autoScalingGroupArn": NAME, "managedTerminationProtection": "ENABLED"},
        )


def test_all_capacity_providers_are_listed_without_names(made: Deployment) -> None:
    found = made.ecs.describe_capacity_providers()["capacityProviders"]
    assert [item["name"] for item in found] == ["FARGATE", "FARGATE_SPOT", NAME]
    assert "autoScalingGroupProvider" not in found[0]
    first = made.ecs.describe_capacity_providers(maxResults=2)
    second = made.ecs.describe_capacity_providers(maxResults=2, nextToken=first["nextToken"])
    assert [item["name"] for item in second["capacityProviders"]] == [NAME]
    missing = made.ecs.describe_capacity_providers(capacityProviders=["none"])
    assert missing["failures"][0]["reason"] == "MISSING"


def test_tags_of_capacity_providers_come_when_asked_for(made: Deployment) -> None:
    arn = made.ecs.describe_capacity_providers(capacityProviders=[NAME])["capacityProviders"][0]["capacityProviderArn"]
    made.ecs.tag_resource(resourceArn=arn, tags=[{"key": "a", "value": "b"}])
    plain = made.ecs.describe_capacity_providers(capacityProviders=[NAME])["capacityProviders"][0]
    tagged = made.ecs.describe_capacity_providers(capacityProviders=[NAME], include=["TAGS"])["capacityProviders"][0]
    assert plain["tags"] == []
    assert tagged["tags"] == [{"key": "a", "value": "b"}]


def test_providers_of_a_cluster_are_replaced(made: Deployment) -> None:
    with refused("InvalidParameterException", "capacity provider was not found"):
        made.ecs.put_cluster_capacity_providers(
            cluster="budgetguard", capacityProviders=[NAME, "none"], defaultCapacityProviderStrategy=[]
        )
    made.ecs.put_cluster_capacity_providers(
        cluster="budgetguard", capacityProviders=["FARGATE"], defaultCapacityProviderStrategy=[]
    )
    assert made.ecs.describe_clusters(clusters=["budgetguard"])["clusters"][0]["capacityProviders"] == ["FARGATE"]


def test_provider_with_tasks_cannot_be_left_out(made: Deployment) -> None:
    made.scale(1)
    made.service()
    with refused("ResourceInUseException", "The specified capacity provider is in use and cannot be removed."):
        made.ecs.put_cluster_capacity_providers(
            cluster="budgetguard", capacityProviders=[], defaultCapacityProviderStrategy=[]
        )


def test_provider_of_a_cluster_is_not_deleted_though_the_call_succeeds(made: Deployment) -> None:
    answer = made.ecs.delete_capacity_provider(capacityProvider=NAME)["capacityProvider"]
    assert (answer["status"], answer["updateStatus"]) == ("ACTIVE", "DELETE_FAILED")
    assert "is associated with cluster: budgetguard." in answer["updateStatusReason"]
    found = made.ecs.describe_capacity_providers(capacityProviders=[NAME])["capacityProviders"]
    assert found[0]["status"] == "ACTIVE"


def test_deleted_provider_is_inactive_and_frees_name_and_group(made: Deployment) -> None:
    made.ecs.put_cluster_capacity_providers(
        cluster="budgetguard", capacityProviders=[], defaultCapacityProviderStrategy=[]
    )
    made.ecs.delete_capacity_provider(capacityProvider=NAME)
    found = made.ecs.describe_capacity_providers(capacityProviders=[NAME])["capacityProviders"]
    assert found[0]["status"] == "INACTIVE"
    assert NAME not in [item["name"] for item in made.ecs.describe_capacity_providers()["capacityProviders"]]
    made.ecs.create_capacity_provider(name=NAME, autoScalingGroupProvider={"autoScalingGroupArn": NAME})
    with refused("ClientException", "does not exist"):
        made.ecs.delete_capacity_provider(capacityProvider="none")
    with refused("ClientException", "does not exist"):
        made.ecs.update_capacity_provider(
            name="none", autoScalingGroupProvider={"managedScaling": {"status": "ENABLED"}}
        )


# -- ECS task definitions and tasks


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"memory": 1024}, "greater than or equal to 'memoryReservation'"),
        ({"resourceRequirements": [{"type": "GPU", "value": "half"}]}, "Invalid GPU resource value"),
        ({"healthCheck": {"command": ["true"], "startPeriod": 1800}}, "startPeriod"),
        ({"secrets": [{"name": "KEY", "valueFrom": "arn"}]}, "executionRoleArn"),
    ],
)
def test_container_definition_that_aws_refuses(client: Clients, change: dict[str, Any], message: str) -> None:
    container: dict[str, Any] = {"name": "nim", "image": "image", "memoryReservation": 4096}
    ecs = client("ecs")
    ecs.register_task_definition(family="legal", requiresCompatibilities=["EC2"], containerDefinitions=[container])
    with refused("ClientException", message):
        ecs.register_task_definition(family="illegal", containerDefinitions=[{**container, **change}])
    assert ecs.list_task_definitions(familyPrefix="illegal")["taskDefinitionArns"] == []


def test_tasks_are_listed_by_service_and_status(made: Deployment) -> None:
    made.service_options = {"serviceName": "second", "loadBalancers": []}
    made.create_service()
    made.scale(1)
    made.service()
    assert len(made.tasks()) == 1
    assert made.tasks("STOPPED") == []
    assert made.ecs.list_tasks(cluster="budgetguard", serviceName="second")["taskArns"] == []
    made.scale(0)
    made.service()
    assert made.ecs.list_tasks(cluster="budgetguard")["taskArns"] == []
    assert len(made.tasks("STOPPED")) == 1
    for _number in range(6):
        assert made.tasks("STOPPED")[0]["lastStatus"] == "STOPPED"
    missing = made.ecs.describe_tasks(cluster="budgetguard", tasks=["0" * 32])
    assert missing["failures"] == [{"arn": "0" * 32, "reason": "MISSING"}]


# -- Auto Scaling


def test_group_cannot_be_made_twice(made: Deployment) -> None:
    made.scale(1)
    made.service()
    with refused("AlreadyExists"):
        made.asg.create_auto_scaling_group(
            AutoScalingGroupName=NAME,
            MinSize=0,
            MaxSize=1,
            LaunchTemplate={"LaunchTemplateName": NAME},
            VPCZoneIdentifier=made.subnets[0],
        )
    assert len(made.group()["Instances"]) == 1


def test_group_needs_an_instance_profile_that_exists(made: Deployment, client: Clients) -> None:
    client("iam").delete_instance_profile(InstanceProfileName="instance")
    with refused("ValidationError", "Invalid IAM Instance Profile name"):
        made.asg.create_auto_scaling_group(
            AutoScalingGroupName="second",
            MinSize=0,
            MaxSize=1,
            LaunchTemplate={"LaunchTemplateName": NAME},
            VPCZoneIdentifier=made.subnets[0],
        )


def test_group_sizes_are_kept_in_order(made: Deployment) -> None:
    with refused("ValidationError", "above max value 1"):
        made.asg.set_desired_capacity(AutoScalingGroupName=NAME, DesiredCapacity=2)
    with refused("ValidationError", "not found"):
        made.asg.set_desired_capacity(AutoScalingGroupName="none", DesiredCapacity=1)
    with refused("ValidationError", "greater than or equal to min"):
        made.asg.create_auto_scaling_group(
            AutoScalingGroupName="second",
            MinSize=2,
            MaxSize=1,
            LaunchTemplate={"LaunchTemplateName": NAME},
            VPCZoneIdentifier=made.subnets[0],
        )


def test_group_with_instances_is_deleted_by_force_and_in_time(made: Deployment, control: SandboxControl) -> None:
    control.defaults(drain_seconds=1.0)
    made.scale(1)
    made.service()
    with refused("ResourceInUse"):
        made.asg.delete_auto_scaling_group(AutoScalingGroupName=NAME)
    made.asg.delete_auto_scaling_group(AutoScalingGroupName=NAME, ForceDelete=True)
    assert made.group()["Status"] == "Delete in progress"
    with refused("AlreadyExists", "pending delete"):
        made.asg.create_auto_scaling_group(
            AutoScalingGroupName=NAME,
            MinSize=0,
            MaxSize=1,
            LaunchTemplate={"LaunchTemplateName": NAME},
            VPCZoneIdentifier=made.subnets[0],
        )
    describe = made.asg.describe_auto_scaling_groups
    wait_for(lambda: not describe(AutoScalingGroupNames=[NAME])["AutoScalingGroups"])


# -- EC2


def test_security_group_in_use_is_not_deleted(made: Deployment, control: SandboxControl) -> None:
    ec2 = made.ec2
    inner = ec2.create_security_group(GroupName="inner", Description="d", VpcId=made.vpc_id)["GroupId"]
    from_alb = {
        "IpProtocol": "tcp",
        "FromPort": 8000,
        "ToPort": 8000,
        "UserIdGroupPairs": [{"GroupId": made.security_group}],
    }
    ec2.authorize_security_group_ingress(GroupId=inner, IpPermissions=[from_alb])
    with refused("DependencyViolation", "has a dependent object"):
        ec2.delete_security_group(GroupId=made.security_group)
    made.elb.delete_load_balancer(LoadBalancerArn=made.balancer_arn)
    with refused("DependencyViolation", "has a dependent object"):
        ec2.delete_security_group(GroupId=made.security_group)
    ec2.delete_security_group(GroupId=inner)
    ec2.delete_security_group(GroupId=made.security_group)
    assert control.resources(REGION)["security_groups"] == []


def test_load_balancer_holds_its_security_group(made: Deployment) -> None:
    with refused("DependencyViolation"):
        made.ec2.delete_security_group(GroupId=made.security_group)
    made.elb.delete_load_balancer(LoadBalancerArn=made.balancer_arn)
    made.ec2.delete_security_group(GroupId=made.security_group)


def test_security_group_needs_a_vpc_that_exists(client: Clients) -> None:
    with refused("InvalidVpcID.NotFound"):
        client("ec2").create_security_group(GroupName="x", Description="d", VpcId="vpc-00000000000000000")


def test_all_launch_templates_are_listed(client: Clients) -> None:
    ec2 = client("ec2")
    for number in range(17):
        ec2.create_launch_template(
            LaunchTemplateName=f"template-{number:02}", LaunchTemplateData={"InstanceType": "g5.xlarge"}
        )
    assert len(ec2.describe_launch_templates()["LaunchTemplates"]) == 17
    first = ec2.describe_launch_templates(MaxResults=10)
    second = ec2.describe_launch_templates(MaxResults=10, NextToken=first["NextToken"])
    assert len(first["LaunchTemplates"]) == 10
    assert len(second["LaunchTemplates"]) == 7
    versions = ec2.describe_launch_template_versions(Versions=["$Latest"])["LaunchTemplateVersions"]
    assert len(versions) == 17
    with refused("InvalidLaunchTemplateName.AlreadyExistsException"):
        ec2.create_launch_template(LaunchTemplateName="template-00", LaunchTemplateData={})
    with refused("InvalidLaunchTemplateName.NotFoundException"):
        ec2.describe_launch_templates(LaunchTemplateNames=["none"])


def test_launch_template_data_is_what_was_sent(client: Clients) -> None:
    ec2 = client("ec2")
    tags = [{"Key": "a", "Value": "b"}]
    data = {
        "InstanceType": "g6e.2xlarge",
        "ImageId": f"resolve:ssm:{GPU_IMAGE}/image_id",
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
        "TagSpecifications": [{"ResourceType": "instance", "Tags": tags}, {"ResourceType": "volume", "Tags": tags}],
    }
    ec2.create_launch_template(
        LaunchTemplateName="one",
        LaunchTemplateData=data,
        TagSpecifications=[{"ResourceType": "launch-template", "Tags": [{"Key": "c", "Value": "d"}]}],
    )
    versions = ec2.describe_launch_template_versions(LaunchTemplateName="one")["LaunchTemplateVersions"]
    assert versions[0]["LaunchTemplateData"] == data
    assert ec2.describe_launch_templates()["LaunchTemplates"][0]["Tags"] == [{"Key": "c", "Value": "d"}]


def test_launch_template_of_a_group_can_be_deleted(made: Deployment) -> None:
    made.ec2.delete_launch_template(LaunchTemplateName=NAME)
    assert made.ec2.describe_launch_templates()["LaunchTemplates"] == []


def test_default_network_spans_zones_and_gpu_types_are_known(client: Clients) -> None:
    for region in (REGION, "eu-central-1"):
        ec2 = client("ec2", region)
        subnets = ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"]
        assert len({subnet["AvailabilityZone"] for subnet in subnets}) >= 2
    types = client("ec2").describe_instance_types(InstanceTypes=["g6e.2xlarge"])["InstanceTypes"]
    assert types[0]["GpuInfo"]["Gpus"][0]["Name"] == "L40S"
    offerings = client("ec2").describe_instance_type_offerings(
        LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": ["g6e.2xlarge"]}]
    )["InstanceTypeOfferings"]
    assert offerings


# -- Elastic Load Balancing


def balancer_arguments(made: Deployment, **change: Any) -> dict[str, Any]:
    return {
        "Name": "bg",
        "Subnets": made.subnets,
        "SecurityGroups": [made.security_group],
        "Scheme": "internal",
        **change,
    }


def test_same_load_balancer_is_returned_and_another_refused(made: Deployment) -> None:
    again = made.elb.create_load_balancer(**balancer_arguments(made))["LoadBalancers"][0]
    assert again["LoadBalancerArn"] == made.balancer_arn
    with refused("DuplicateLoadBalancerName", "with different settings"):
        made.elb.create_load_balancer(**balancer_arguments(made, Scheme="internet-facing"))
    assert len(made.elb.describe_load_balancers()["LoadBalancers"]) == 1


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"Name": "n" * 33}, "ValidationError", "cannot be longer than '32' characters"),
        ({"Name": "under_score"}, "ValidationError", "alphanumeric"),
        ({"Name": "-x"}, "ValidationError", "cannot begin or end"),
        ({"Name": "internal-x"}, "ValidationError", "cannot begin with 'internal-'"),
        ({"Name": "x", "SecurityGroups": ["sg-00000000"]}, "InvalidSecurityGroup", "sg-00000000"),
        ({"Name": "x", "Subnets": ["subnet-0", "subnet-1"]}, "SubnetNotFound", "subnet-0"),
    ],
)
def test_load_balancer_that_aws_refuses(made: Deployment, change: dict[str, Any], code: str, message: str) -> None:
    with refused(code, message):
        made.elb.create_load_balancer(**balancer_arguments(made, **change))


def test_load_balancer_needs_two_zones(made: Deployment) -> None:
    with refused("ValidationError", "two different Availability Zones"):
        made.elb.create_load_balancer(**balancer_arguments(made, Name="x", Subnets=made.subnets[:1]))
    made.elb.create_load_balancer(**balancer_arguments(made, Name="n" * 32))


def test_internal_load_balancer_has_an_internal_name(made: Deployment) -> None:
    assert made.host.startswith("internal-bg-")
    public = made.elb.create_load_balancer(**balancer_arguments(made, Name="public", Scheme="internet-facing"))
    assert public["LoadBalancers"][0]["DNSName"].startswith("public-")


def test_missing_load_balancer_is_missed_whatever_the_order(made: Deployment) -> None:
    for names in (["none"], ["bg", "none"], ["none", "bg"]):
        with refused("LoadBalancerNotFound"):
            made.elb.describe_load_balancers(Names=names)


def test_listener_on_a_taken_port(made: Deployment) -> None:
    arguments = {"LoadBalancerArn": made.balancer_arn, "Protocol": "HTTP", "Port": 80}
    not_found = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404", "MessageBody": "no NIM"}}
    again = made.elb.create_listener(DefaultActions=[not_found], **arguments)["Listeners"][0]
    assert again["ListenerArn"] == made.listener_arn
    with refused("DuplicateListener"):
        made.elb.create_listener(
            DefaultActions=[{"Type": "forward", "TargetGroupArn": made.target_group_arn}], **arguments
        )
    assert len(made.elb.describe_listeners(LoadBalancerArn=made.balancer_arn)["Listeners"]) == 1


def test_https_listener_needs_a_certificate(made: Deployment) -> None:
    with refused("ValidationError", "certificate"):
        made.elb.create_listener(
            LoadBalancerArn=made.balancer_arn,
            Protocol="HTTPS",
            Port=443,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": made.target_group_arn}],
        )


def create_rule(made: Deployment, priority: int, **more: Any) -> dict[str, Any]:
    rule: dict[str, Any] = made.elb.create_rule(
        ListenerArn=made.listener_arn,
        Priority=priority,
        Conditions=[{"Field": "path-pattern", "PathPatternConfig": {"Values": ["/x/*"]}}],
        Actions=[{"Type": "forward", "TargetGroupArn": made.target_group_arn}],
        **more,
    )["Rules"][0]
    return rule


def test_rule_at_a_taken_priority(made: Deployment) -> None:
    with refused("PriorityInUse", "Priority '10' is currently in use"):
        create_rule(made, 10)
    create_rule(made, 5)
    rules = made.elb.describe_rules(ListenerArn=made.listener_arn)["Rules"]
    assert [rule["Priority"] for rule in rules] == ["5", "10", "default"]


def test_transforms_of_rules_are_kept(made: Deployment) -> None:
    def rewrite(regex: str) -> list[dict[str, Any]]:
        config = {"Rewrites": [{"Regex": regex, "Replace": "/$1"}]}
        return [{"Type": "url-rewrite", "UrlRewriteConfig": config}]

    def transforms(arn: str) -> Any:
        return made.elb.describe_rules(RuleArns=[arn])["Rules"][0].get("Transforms")

    rule = create_rule(made, 20, Transforms=rewrite("^/x/(.*)$"))
    assert rule["Transforms"] == transforms(rule["RuleArn"]) == rewrite("^/x/(.*)$")
    made.elb.modify_rule(
        RuleArn=rule["RuleArn"], Conditions=[{"Field": "path-pattern", "PathPatternConfig": {"Values": ["/y/*"]}}]
    )
    assert transforms(rule["RuleArn"]) == rewrite("^/x/(.*)$")
    changed = made.elb.modify_rule(RuleArn=rule["RuleArn"], Transforms=rewrite("^/y/(.*)$"))["Rules"][0]
    assert changed["Transforms"] == transforms(rule["RuleArn"]) == rewrite("^/y/(.*)$")
    made.elb.modify_rule(RuleArn=rule["RuleArn"], ResetTransforms=True)
    assert not transforms(rule["RuleArn"])
    with refused("ValidationError", "regular expression"):
        create_rule(made, 21, Transforms=rewrite("(unclosed"))
    assert not transforms(create_rule(made, 22)["RuleArn"])


def test_target_group_is_attached_as_long_as_a_rule_forwards_to_it(made: Deployment) -> None:
    def balancers() -> list[str]:
        group = made.elb.describe_target_groups(TargetGroupArns=[made.target_group_arn])["TargetGroups"][0]
        arns: list[str] = group["LoadBalancerArns"]
        return arns

    second = create_rule(made, 20)["RuleArn"]
    assert balancers() == [made.balancer_arn]
    for rule in (made.rule_arn, second):
        with refused("ResourceInUse"):
            made.elb.delete_target_group(TargetGroupArn=made.target_group_arn)
        made.elb.delete_rule(RuleArn=rule)
    assert balancers() == []
    assert made.elb.describe_target_groups(LoadBalancerArn=made.balancer_arn)["TargetGroups"] == []
    made.elb.delete_target_group(TargetGroupArn=made.target_group_arn)


def test_same_target_group_is_returned_and_another_refused(made: Deployment) -> None:
    arguments = {"Name": NAME, "Protocol": "HTTP", "Port": 8000, "VpcId": made.vpc_id}
    again = made.elb.create_target_group(**arguments)["TargetGroups"][0]
    assert again["TargetGroupArn"] == made.target_group_arn
    with refused("DuplicateTargetGroupName", "with different settings"):
        made.elb.create_target_group(**{**arguments, "Port": 9000})


def test_target_of_a_group_without_load_balancer_is_unused(made: Deployment) -> None:
    made.scale(1)
    made.service()
    made.elb.delete_rule(RuleArn=made.rule_arn)
    assert made.targets()[0]["State"] == "unused"
    assert made.targets()[0]["Reason"] == "Target.NotInUse"


# -- Secrets Manager, Systems Manager, IAM


def test_name_of_a_deleted_secret_is_blocked_until_restored(client: Clients, control: SandboxControl) -> None:
    secrets = client("secretsmanager")
    secrets.create_secret(Name="ngc", SecretString="one")
    with refused("ResourceExistsException"):
        secrets.create_secret(Name="ngc", SecretString="two")
    secrets.delete_secret(SecretId="ngc", RecoveryWindowInDays=7)
    assert control.resources(REGION)["secrets"] == []
    assert control.resources(REGION)["secrets_scheduled_for_deletion"] == ["ngc"]
    with refused("InvalidRequestException", "already scheduled for deletion"):
        secrets.create_secret(Name="ngc", SecretString="two")
    with refused("InvalidRequestException", "marked for deletion"):
        secrets.put_secret_value(SecretId="ngc", SecretString="two")
    secrets.restore_secret(SecretId="ngc")
    secrets.put_secret_value(SecretId="ngc", SecretString="two")
    assert secrets.get_secret_value(SecretId="ngc")["SecretString"] == "two"
    secrets.delete_secret(SecretId="ngc", ForceDeleteWithoutRecovery=True)
    secrets.create_secret(Name="ngc", SecretString="three")


def test_gpu_image_parameter_is_json(client: Clients) -> None:
    ssm = client("ssm")
    document = json.loads(ssm.get_parameter(Name=GPU_IMAGE)["Parameter"]["Value"])
    image_id = ssm.get_parameter(Name=f"{GPU_IMAGE}/image_id")["Parameter"]["Value"]
    assert document["image_id"] == image_id
    assert image_id.startswith("ami-")


@pytest.mark.parametrize("policy", ["AmazonEC2ContainerServiceforEC2Role", "AmazonECSTaskExecutionRolePolicy"])
def test_managed_policies_exist(client: Clients, policy: str) -> None:
    iam = client("iam")
    iam.create_role(RoleName="one", AssumeRolePolicyDocument=TRUST)
    arn = f"arn:aws:iam::aws:policy/service-role/{policy}"
    iam.attach_role_policy(RoleName="one", PolicyArn=arn)
    assert iam.list_attached_role_policies(RoleName="one")["AttachedPolicies"][0]["PolicyArn"] == arn
    assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 1


def test_attachments_of_managed_policies_are_forgotten_at_reset(client: Clients, control: SandboxControl) -> None:
    arn = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
    iam = client("iam")
    iam.create_role(RoleName="one", AssumeRolePolicyDocument=TRUST)
    iam.attach_role_policy(RoleName="one", PolicyArn=arn)
    control.reset()
    assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 0


def test_user_with_keys_or_groups_is_not_deleted(client: Clients) -> None:
    iam = client("iam")
    iam.create_user(UserName="ws-1")
    key = iam.create_access_key(UserName="ws-1")["AccessKey"]["AccessKeyId"]
    with refused("DeleteConflict", "access keys"):
        iam.delete_user(UserName="ws-1")
    iam.delete_access_key(UserName="ws-1", AccessKeyId=key)
    iam.create_group(GroupName="artists")
    iam.add_user_to_group(UserName="ws-1", GroupName="artists")
    with refused("DeleteConflict", "group"):
        iam.delete_user(UserName="ws-1")
    iam.remove_user_from_group(UserName="ws-1", GroupName="artists")
    iam.delete_user(UserName="ws-1")
