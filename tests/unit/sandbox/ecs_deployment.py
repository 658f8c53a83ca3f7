# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A NIM deployed with plain boto3 calls, for tests of the sandbox."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

REGION = "us-east-1"
IMAGE = "nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.3"
NAME = "nim-flux-dev-l40s"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)


def wait_for(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Ask until the answer is true, and return it. Fails the test when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {condition}")
        time.sleep(0.05)


@dataclass
class Deployment:
    """A NIM on ECS, made with plain boto3 calls in the order AWS needs. Every part can be changed before `create`."""

    client: Callable[..., Any]
    name: str = NAME
    image: str = IMAGE
    instance_type: str = "g6e.2xlarge"
    memory_reservation: int = 4096
    desired_count: int = 0
    user_data: str = "#!/bin/sh\necho ECS_CLUSTER=budgetguard >> /etc/ecs/ecs.config\n"
    cluster: str = "budgetguard"
    service_options: dict[str, Any] = field(default_factory=dict)
    listener: dict[str, Any] = field(default_factory=lambda: {"Protocol": "HTTP", "Port": 80})

    def __post_init__(self) -> None:
        self.ecs = self.client("ecs")
        self.ec2 = self.client("ec2")
        self.elb = self.client("elbv2")
        self.asg = self.client("autoscaling")
        self.short = self.name.removeprefix("nim-")

    def create(self) -> Deployment:
        """Make everything that is not there."""
        self.create_shared()
        self.create_capacity()
        self.create_target_group()
        self.create_task_definition()
        self.create_service()
        return self

    def create_running(self) -> Deployment:
        """Make everything, and start it."""
        self.create()
        self.scale(1)
        self.service()
        return self

    def create_shared(self) -> None:
        """Network, roles, secret, log group, cluster and load balancer."""
        self.vpc_id = self.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
        subnets = self.ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [self.vpc_id]}])["Subnets"]
        self.subnets = [subnet["SubnetId"] for subnet in subnets][:2]
        iam = self.client("iam")
        self.role_arn = iam.create_role(RoleName="execution", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
        iam.create_instance_profile(InstanceProfileName="instance")
        secrets = self.client("secretsmanager")
        self.secret_arn = secrets.create_secret(Name="ngc", SecretString='{"password":"x"}')["ARN"]
        self.client("logs").create_log_group(logGroupName="/budgetguard/budgetguard")
        self.ecs.create_cluster(clusterName=self.cluster)
        self.security_group = self.ec2.create_security_group(
            GroupName="alb", Description="load balancer", VpcId=self.vpc_id
        )["GroupId"]
        balancer = self.elb.create_load_balancer(
            Name="bg", Subnets=self.subnets, SecurityGroups=[self.security_group], Scheme="internal"
        )["LoadBalancers"][0]
        self.balancer_arn, self.host = balancer["LoadBalancerArn"], balancer["DNSName"]
        not_found = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404", "MessageBody": "no NIM"}}
        self.listener_arn = self.elb.create_listener(
            LoadBalancerArn=self.balancer_arn, DefaultActions=[not_found], **self.listener
        )["Listeners"][0]["ListenerArn"]

    def subnet_in(self, zone: str) -> str:
        """Return the default subnet of an availability zone."""
        found = self.ec2.describe_subnets(Filters=[{"Name": "availability-zone", "Values": [zone]}])["Subnets"]
        subnet: str = found[0]["SubnetId"]
        return subnet

    def create_capacity(self, keep: list[str] | None = None) -> None:
        """Launch template, Auto Scaling group and capacity provider."""
        self.ec2.create_launch_template(
            LaunchTemplateName=self.name,
            LaunchTemplateData={
                "ImageId": "resolve:ssm:/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id",
                "InstanceType": self.instance_type,
                "IamInstanceProfile": {"Name": "instance"},
                "UserData": base64.b64encode(self.user_data.encode()).decode(),
            },
        )
        self.asg.create_auto_scaling_group(
            AutoScalingGroupName=self.name,
            MinSize=0,
            MaxSize=1,
            LaunchTemplate={"LaunchTemplateName": self.name, "Version": "$Latest"},
            VPCZoneIdentifier=",".join(self.subnets),
        )
        self.ecs.create_capacity_provider(
            name=self.name,
            autoScalingGroupProvider={"autoScalingGroupArn": self.name, "managedScaling": {"status": "ENABLED"}},
        )
        self.ecs.put_cluster_capacity_providers(
            cluster=self.cluster, capacityProviders=[*(keep or []), self.name], defaultCapacityProviderStrategy=[]
        )

    def create_target_group(self, priority: int = 10) -> None:
        """Target group and path rule."""
        self.target_group_arn = self.elb.create_target_group(
            Name=self.name[:32], Protocol="HTTP", Port=8000, VpcId=self.vpc_id, HealthCheckPath="/v1/health/ready"
        )["TargetGroups"][0]["TargetGroupArn"]
        rewrite = {"Rewrites": [{"Regex": f"^/{self.short}/(.*)$", "Replace": "/$1"}]}
        self.rule_arn = self.elb.create_rule(
            ListenerArn=self.listener_arn,
            Priority=priority,
            Conditions=[{"Field": "path-pattern", "PathPatternConfig": {"Values": [f"/{self.short}/*"]}}],
            Actions=[{"Type": "forward", "TargetGroupArn": self.target_group_arn}],
            Transforms=[{"Type": "url-rewrite", "UrlRewriteConfig": rewrite}],
        )["Rules"][0]["RuleArn"]

    def create_task_definition(self) -> None:
        """Register a revision of the task definition."""
        self.task_definition = self.ecs.register_task_definition(
            family=self.name,
            executionRoleArn=self.role_arn,
            requiresCompatibilities=["EC2"],
            containerDefinitions=[
                {
                    "name": "nim",
                    "image": self.image,
                    "memoryReservation": self.memory_reservation,
                    "portMappings": [{"containerPort": 8000, "hostPort": 8000}],
                    "resourceRequirements": [{"type": "GPU", "value": "1"}],
                    "secrets": [{"name": "NGC_API_KEY", "valueFrom": f"{self.secret_arn}:password::"}],
                    "logConfiguration": {
                        "logDriver": "awslogs",
                        "options": {
                            "awslogs-group": "/budgetguard/budgetguard",
                            "awslogs-region": REGION,
                            "awslogs-stream-prefix": self.name,
                        },
                    },
                }
            ],
        )["taskDefinition"]["taskDefinitionArn"]

    def create_service(self) -> dict[str, Any]:
        """Create the service; return what AWS answers."""
        options = {
            "cluster": self.cluster,
            "serviceName": self.name,
            "taskDefinition": self.task_definition,
            "desiredCount": self.desired_count,
            "capacityProviderStrategy": [{"capacityProvider": self.name, "weight": 1}],
            "loadBalancers": [{"targetGroupArn": self.target_group_arn, "containerName": "nim", "containerPort": 8000}],
            **self.service_options,
        }
        created: dict[str, Any] = self.ecs.create_service(**options)["service"]
        return created

    def scale(self, count: int) -> dict[str, Any]:
        """Set the one switch."""
        answer: dict[str, Any] = self.ecs.update_service(cluster=self.cluster, service=self.name, desiredCount=count)[
            "service"
        ]
        return answer

    def service(self) -> dict[str, Any]:
        """Return the service as it is now."""
        found: dict[str, Any] = self.ecs.describe_services(cluster=self.cluster, services=[self.name])["services"][0]
        return found

    def events(self) -> list[str]:
        """Return the texts of the service's events, newest first."""
        return [event["message"] for event in self.service()["events"]]

    def tasks(self, status: str = "RUNNING") -> list[dict[str, Any]]:
        """Tasks of this desired status, described."""
        arns = self.ecs.list_tasks(cluster=self.cluster, serviceName=self.name, desiredStatus=status)["taskArns"]
        if not arns:
            return []
        described: list[dict[str, Any]] = self.ecs.describe_tasks(cluster=self.cluster, tasks=arns)["tasks"]
        return described

    def targets(self) -> list[dict[str, Any]]:
        """Health of the targets."""
        answer = self.elb.describe_target_health(TargetGroupArn=self.target_group_arn)
        return [item["TargetHealth"] for item in answer["TargetHealthDescriptions"]]

    def group(self) -> dict[str, Any]:
        """Return the Auto Scaling group as it is now."""
        answer = self.asg.describe_auto_scaling_groups(AutoScalingGroupNames=[self.name])
        found: dict[str, Any] = answer["AutoScalingGroups"][0]
        return found

    def activities(self) -> list[dict[str, Any]]:
        """Return what the group has tried, newest first."""
        found: list[dict[str, Any]] = self.asg.describe_scaling_activities(AutoScalingGroupName=self.name)["Activities"]
        return found
