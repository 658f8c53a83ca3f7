# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""How a NIM is written in AWS's words: names, tags and request bodies of ECS on EC2. Pure, makes no calls.

Field names and limits are those of the AWS API reference as shipped with botocore 1.44.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _gateway
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import (
    CLUSTER_TAG,
    DEPLOYMENT_TAG,
    ENDPOINT_HOST_TAG,
    HEALTH_PATH,
    IMAGE_TAG,
    INFER_PATH_TAG,
    KIND_TAG,
    MANAGED_TAG,
    NODE_TAG,
    SERVES_TAG,
    TIER_TAG,
    Wanted,
    encode_serves,
    spec_hash,
)

CONTAINER = "nim"
CONTAINER_PORT = 8000
CACHE_ON_HOST = "/opt/nim/cache"
CACHE_IN_CONTAINER = "/opt/nim/.cache"
GATEWAY = "gateway"
"""Name of the gateway's service and container, and with what the names of its log streams begin."""

INNER_PORT = 8000
"""The load balancer's port for the gateway, which finds the NIMs there by the same rules as without one."""

BALANCER_TAG = "budgetguard:balancer"
"""On the gateway's service: the load balancer's DNS name that its tasks know."""

GATEWAY_CPU, GATEWAY_MEMORY = "256", "512"
"""A quarter of a processor and 512 MiB, the least of Fargate."""

GATEWAY_FOLDER = "/var/lib/haproxy/gateway"
"""Below the home of the image's user, who may write there."""

MOST_TASK_BYTES = 60_000
"""ECS takes task definitions of up to 64 KiB."""

FIRST_PRIORITY, LAST_PRIORITY = 1000, 49999

AMI_PARAMETER = "/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id"
EXECUTION_SERVICE, MACHINE_SERVICE = "ecs-tasks.amazonaws.com", "ec2.amazonaws.com"
INSTANCE_POLICY = "service-role/AmazonEC2ContainerServiceforEC2Role"

GRACE_PERIOD_SECONDS = 3600
"""A cold NIM downloads tens of GB first; ECS must not kill it for failing health checks meanwhile."""

_TAG_VALUE = re.compile(r"^[\w \-+=.:/@]{0,255}$")
_CLUSTER_NAME = re.compile(r"^[a-z][a-z0-9-]{0,20}[a-z0-9]$")

_USER_DATA = """\
#!/bin/bash
set -eu
cat >> /etc/ecs/ecs.config <<'CONFIG'
ECS_CLUSTER={cluster}
ECS_ENABLE_GPU_SUPPORT=true
ECS_CONTAINER_START_TIMEOUT=15m
ECS_IMAGE_PULL_INACTIVITY_TIMEOUT=10m
ECS_DISABLE_PRIVILEGED=true
CONFIG
# The model cache lives on the machine's own NVMe disk where it has one: it is part of the price and gone on stop.
disk=$(lsblk -dnpo NAME,MODEL | awk '/Instance Storage/ {{print $1; exit}}')
if [ -n "$disk" ]; then
  mkfs.xfs -f "$disk"
  mkdir -p {cache}
  mount "$disk" {cache}
fi
install -d -m 0777 {cache}
"""


@dataclasses.dataclass(frozen=True)
class Names:
    """The deterministic names of everything on one target."""

    cluster: str
    region: str

    def __post_init__(self) -> None:
        if not _CLUSTER_NAME.match(self.cluster):
            raise ValueError(
                f"cluster is {self.cluster!r}; it must be 2 to 22 lower-case letters, digits and hyphens, "
                "starting with a letter, for example budgetguard"
            )

    @property
    def execution_role(self) -> str:
        """The role with which ECS pulls the image and reads the secret. IAM is global, so the region is in the name."""
        return f"{self.cluster}-{self.region}-execution"

    @property
    def instance_role(self) -> str:
        """The role and instance profile of the GPU machines."""
        return f"{self.cluster}-{self.region}-machine"

    @property
    def lb_group(self) -> str:
        """The load balancer's security group."""
        return f"{self.cluster}-nims-lb"

    @property
    def machine_group(self) -> str:
        """The GPU machines' security group. Sorts after :attr:`lb_group`, which it names as its source."""
        return f"{self.cluster}-nims-machines"

    @property
    def load_balancer(self) -> str:
        """The shared Application Load Balancer; at most 32 characters."""
        return f"{self.cluster}-nims"

    @property
    def inner_listener(self) -> str:
        """The load balancer's listener for the gateway."""
        return f"{self.load_balancer}-inner"

    @property
    def gateway_group(self) -> str:
        """The gateway's security group. Sorts before :attr:`lb_group`, which names it as a source."""
        return f"{self.cluster}-nims-gateway"

    @property
    def gateway_target_group(self) -> str:
        """The target group of the gateway's tasks."""
        return self.target_group(GATEWAY)

    def gateway_family(self, content_hash: str) -> str:
        """Name the gateway's task definition by its content."""
        return f"{self.task_family_owner}-{GATEWAY}-{content_hash[:8]}"

    @property
    def secret(self) -> str:
        """The one secret: registry login, NGC key and Hugging Face token."""
        return f"{self.cluster}/nim"

    @property
    def log_group(self) -> str:
        """The log group of all NIMs of the cluster."""
        return f"/budgetguard/{self.cluster}"

    def of_nim(self, deployment: str) -> str:
        """Name the launch template, Auto Scaling group and capacity provider of a NIM."""
        return f"{self.cluster}-{deployment}"

    def target_group(self, deployment: str) -> str:
        """Name the target group of a NIM: at most 32 letters, digits and hyphens."""
        digest = hashlib.sha256(f"{self.cluster}/{deployment}".encode()).hexdigest()[:6]
        return f"bg-{deployment.removeprefix('nim-')[:21].strip('-')}-{digest}"

    def task_family(self, deployment: str, content_hash: str) -> str:
        """Name a task definition by its content, so that the service alone tells whether it is current."""
        return f"{self.task_family_prefix(deployment)}{content_hash[:8]}"

    def task_family_prefix(self, deployment: str) -> str:
        """Return what all task definition families of a NIM start with; artists' policies rely on the first word."""
        return f"{self.task_family_owner}-{deployment}-"

    @property
    def task_family_owner(self) -> str:
        """The first part of the names of all task definition families of the cluster."""
        return self.cluster if self.cluster.startswith("budgetguard") else f"budgetguard-{self.cluster}"


def path_of(deployment: str) -> str:
    """Return the path of a NIM behind the shared load balancer, for example ``/flux-dev-l40s``."""
    return f"/{deployment.removeprefix('nim-')}"


def base_priority(deployment: str) -> int:
    """Return the rule priority that a NIM tries first, so that two runs at once ask for the same one."""
    digest = int(hashlib.sha256(deployment.encode()).hexdigest()[:8], 16)
    return FIRST_PRIORITY + digest % (LAST_PRIORITY - FIRST_PRIORITY)


def free_priority(deployment: str, taken: t.Container[int]) -> int:
    """Return the first priority at or after the NIM's own that no other rule has."""
    priority = base_priority(deployment)
    while priority in taken:
        priority = priority + 1 if priority < LAST_PRIORITY else FIRST_PRIORITY
    return priority


def shared_tags(names: Names) -> dict[str, str]:
    """Tags of objects that belong to the whole target."""
    return {MANAGED_TAG: "true", CLUSTER_TAG: names.cluster}


def nim_tags(names: Names, item: Wanted) -> dict[str, str]:
    """Tags of objects that belong to one NIM. Raises ValueError for a value that AWS does not take as a tag."""
    tags = {
        **shared_tags(names),
        DEPLOYMENT_TAG: item.name,
        NODE_TAG: item.node,
        TIER_TAG: item.gpu_tier,
    }
    for value in tags.values():
        if not _TAG_VALUE.match(value):
            raise ValueError(
                f"{item.name}: {value!r} cannot be an AWS tag; use letters, digits, spaces and + - = . _ : / @"
            )
    return tags


def service_tags(names: Names, item: Wanted, endpoint_host: str | None) -> dict[str, str]:
    """Tags of the service: all that a reader needs to describe the NIM without the inventory."""
    tags = {
        **nim_tags(names, item),
        IMAGE_TAG: item.image,
        KIND_TAG: item.kind,
        SERVES_TAG: encode_serves(item.serves),
        INFER_PATH_TAG: item.infer_path,
    }
    if endpoint_host:
        tags[ENDPOINT_HOST_TAG] = endpoint_host
    return tags


def upper_tags(tags: t.Mapping[str, str]) -> list[dict[str, str]]:
    """Write tags as EC2, IAM, Elastic Load Balancing and Secrets Manager want them."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def lower_tags(tags: t.Mapping[str, str]) -> list[dict[str, str]]:
    """Write tags as ECS wants them."""
    return [{"key": key, "value": value} for key, value in sorted(tags.items())]


def read_tags(tags: t.Iterable[t.Mapping[str, str]] | None) -> dict[str, str]:
    """Read tags of either spelling."""
    return {tag.get("Key") or tag["key"]: tag.get("Value") or tag.get("value", "") for tag in tags or ()}


def secret_value(ngc_api_key: str, hf_token: str | None) -> str:
    """Return the secret's JSON. ``username`` and ``password`` are what ECS expects of a registry login."""
    value = {"username": "$oauthtoken", "password": ngc_api_key}
    if hf_token:
        value["hf_token"] = hf_token
    return json.dumps(value, sort_keys=True)


def secret_fingerprint(names: Names, value: str) -> str:
    """Return a one-way mark of the secret's content, so that a change is seen without reading the secret."""
    return hashlib.sha256(f"budgetguard:{names.region}:{names.secret}:{value}".encode()).hexdigest()[:16]


def assume_role_policy(service: str) -> str:
    """Return a trust policy for one AWS service."""
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}],
        }
    )


def execution_policy(names: Names, partition: str) -> str:
    """Return what starting a task needs: the one secret, its own logs, and images that a studio mirrors to ECR."""
    secret = f"arn:{partition}:secretsmanager:{names.region}:*:secret:{names.secret}-??????"
    logs = f"arn:{partition}:logs:{names.region}:*:log-group:{names.log_group}:*"
    pull = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    statements = [
        {"Effect": "Allow", "Action": ["secretsmanager:GetSecretValue"], "Resource": secret},
        {"Effect": "Allow", "Action": ["logs:CreateLogStream", "logs:PutLogEvents"], "Resource": logs},
        {"Effect": "Allow", "Action": ["ecr:GetAuthorizationToken", *pull], "Resource": "*"},
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def role_policy(names: Names, partition: str, service: str) -> dict[str, str]:
    """Return what a role may do, as the arguments of the one IAM call that says so."""
    if service == EXECUTION_SERVICE:
        return {"PolicyName": "nim-execution", "PolicyDocument": execution_policy(names, partition)}
    return {"PolicyArn": f"arn:{partition}:iam::aws:policy/{INSTANCE_POLICY}"}


def user_data(names: Names) -> str:
    """Return the machines' first-boot script, base64 encoded as EC2 wants it."""
    text = _USER_DATA.format(cluster=names.cluster, cache=CACHE_ON_HOST)
    return base64.b64encode(text.encode()).decode()


def launch_template(
    names: Names, item: Wanted, security_group_id: str, image_id: str, tags: t.Mapping[str, str]
) -> dict[str, t.Any]:
    """Return LaunchTemplateData: disk and memory that fit, IMDSv2 with one hop, tags on machine and volume."""
    return {
        "ImageId": image_id,
        "InstanceType": item.machine_name,
        "IamInstanceProfile": {"Name": names.instance_role},
        "SecurityGroupIds": [security_group_id],
        "UserData": user_data(names),
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "HttpEndpoint": "enabled"},
        "BlockDeviceMappings": [
            {
                "DeviceName": "/dev/xvda",
                "Ebs": {
                    "VolumeType": "gp3",
                    "VolumeSize": max(200, item.disk_gib + 100),
                    "Throughput": 500,
                    "Encrypted": True,
                    "DeleteOnTermination": True,
                },
            }
        ],
        "TagSpecifications": [
            {"ResourceType": kind, "Tags": upper_tags({**tags, "Name": names.of_nim(item.name)})}
            for kind in ("instance", "volume")
        ],
    }


def task_definition(names: Names, item: Wanted, secret_arn: str, execution_role_arn: str) -> dict[str, t.Any]:
    """Return the RegisterTaskDefinition request without family and tags.

    One GPU task has its machine to itself, so only a small memory reservation is asked for: a reservation above what
    the machine registers would leave the task waiting for ever.
    """
    environment = {
        "NIM_HTTP_API_PORT": str(CONTAINER_PORT),
        "NIM_SERVER_PORT": str(CONTAINER_PORT),
        "NIM_CACHE_PATH": CACHE_IN_CONTAINER,
        "NIM_JSONL_LOGGING": "1",
        **({"NIM_MODEL_VARIANT": "+".join(item.variants)} if item.variants else {}),
        **item.env,
    }
    secrets = [{"name": "NGC_API_KEY", "valueFrom": f"{secret_arn}:password::"}]
    if item.needs_hf_token:
        secrets.append({"name": "HF_TOKEN", "valueFrom": f"{secret_arn}:hf_token::"})
    return {
        "networkMode": "bridge",
        "requiresCompatibilities": ["EC2"],
        "executionRoleArn": execution_role_arn,
        "volumes": [{"name": "cache", "host": {"sourcePath": CACHE_ON_HOST}}],
        "containerDefinitions": [
            {
                "name": CONTAINER,
                "image": item.image,
                "essential": True,
                "memoryReservation": 4096,
                "repositoryCredentials": {"credentialsParameter": secret_arn},
                "resourceRequirements": [{"type": "GPU", "value": str(item.gpus)}],
                "portMappings": [{"containerPort": CONTAINER_PORT, "hostPort": CONTAINER_PORT, "protocol": "tcp"}],
                "linuxParameters": {"sharedMemorySize": item.shm_gib * 1024},
                "environment": [{"name": key, "value": value} for key, value in sorted(environment.items())],
                "secrets": secrets,
                "mountPoints": [{"sourceVolume": "cache", "containerPath": CACHE_IN_CONTAINER}],
                "logConfiguration": {
                    "logDriver": "awslogs",
                    "options": {
                        "awslogs-group": names.log_group,
                        "awslogs-region": names.region,
                        "awslogs-stream-prefix": item.name,
                    },
                },
            }
        ],
    }


def task_hash(names: Names, item: Wanted) -> str:
    """Hash the task definition's content with stand-ins for the ARNs, which are fixed by the target's names."""
    return spec_hash(task_definition(names, item, "secret", "role"))


def capacity_provider(item: Wanted) -> dict[str, t.Any]:
    """Return AutoScalingGroupProvider without the group's ARN.

    Termination protection is off: with one task per machine it protects nothing and makes deletions hang.
    """
    return {
        "managedScaling": {
            "status": "ENABLED",
            "targetCapacity": 100,
            "minimumScalingStepSize": 1,
            "maximumScalingStepSize": item.replicas,
            "instanceWarmupPeriod": 60,
        },
        "managedTerminationProtection": "DISABLED",
        "managedDraining": "ENABLED",
    }


def target_group() -> dict[str, t.Any]:
    """Return the health check of a target group. Times are seconds."""
    return {
        "HealthCheckPath": HEALTH_PATH,
        "HealthCheckIntervalSeconds": 30,
        "HealthCheckTimeoutSeconds": 10,
        "HealthyThresholdCount": 2,
        "UnhealthyThresholdCount": 10,
        "Matcher": {"HttpCode": "200"},
    }


def gateway_files(front: _gateway.Front, balancer: str) -> dict[str, str]:
    """Return the files of the gateway; ``balancer`` is the load balancer's DNS name."""
    routes = _gateway.NamedRoutes(balancer=balancer, nim_port=INNER_PORT)
    return front.files(routes, GATEWAY_FOLDER, GATEWAY_FOLDER)


def gateway_task_definition(
    names: Names, front: _gateway.Front, image: str, balancer: str, execution_role_arn: str
) -> dict[str, t.Any]:
    """Return the RegisterTaskDefinition request of the gateway, without family and tags.

    The official image is used as it is: its files come in environment variables, since none of them is a secret.
    Raises ValueError if they are too long.
    """
    files = gateway_files(front, balancer)
    environment = {f"FILE_{number}": files[name] for number, name in enumerate(sorted(files))}
    write = [f'printf %s "$FILE_{number}" > {GATEWAY_FOLDER}/{name}' for number, name in enumerate(sorted(files))]
    start = f"exec haproxy -db -f {GATEWAY_FOLDER}/{_gateway.CONFIG_FILE}"
    body = {
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "runtimePlatform": {"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"},
        "cpu": GATEWAY_CPU,
        "memory": GATEWAY_MEMORY,
        "executionRoleArn": execution_role_arn,
        "containerDefinitions": [
            {
                "name": GATEWAY,
                "image": image,
                "essential": True,
                "entryPoint": ["sh", "-ec"],
                "command": ["; ".join([f"mkdir -p {GATEWAY_FOLDER}", *write, start])],
                "portMappings": [
                    {"containerPort": port, "hostPort": port, "protocol": "tcp"}
                    for port in (_gateway.PORT, _gateway.HEALTH_PORT)
                ],
                "environment": [{"name": key, "value": value} for key, value in sorted(environment.items())],
                # Fargate allows no more; the load balancer has let the requests end before.
                "stopTimeout": 120,
                "logConfiguration": {
                    "logDriver": "awslogs",
                    "options": {
                        "awslogs-group": names.log_group,
                        "awslogs-region": names.region,
                        "awslogs-stream-prefix": GATEWAY,
                    },
                },
            }
        ],
    }
    size = len(json.dumps(body))
    if size > MOST_TASK_BYTES:
        raise ValueError(
            f"gateway.denied is too long: the gateway's task definition would have {size} bytes, and ECS takes "
            f"{MOST_TASK_BYTES}. Take out whose tokens have all expired by now"
        )
    return body


def gateway_hash(names: Names, front: _gateway.Front, image: str) -> str:
    """Hash the gateway's task definition with stand-ins for what only AWS knows."""
    return spec_hash(gateway_task_definition(names, front, image, "balancer", "role"))


def gateway_target_group() -> dict[str, t.Any]:
    """Return the health check of the gateway's target group, at a port that clients do not reach."""
    return {
        "HealthCheckPort": str(_gateway.HEALTH_PORT),
        "HealthCheckPath": _gateway.HEALTH_PATH,
        "HealthCheckIntervalSeconds": 10,
        "HealthCheckTimeoutSeconds": 5,
        "HealthyThresholdCount": 2,
        "UnhealthyThresholdCount": 3,
        "Matcher": {"HttpCode": "200"},
    }


def gateway_service() -> dict[str, t.Any]:
    """Return the fields of the gateway's service: a new copy answers before an old one goes."""
    return {
        "deploymentConfiguration": {
            "maximumPercent": 200,
            "minimumHealthyPercent": 100,
            "deploymentCircuitBreaker": {"enable": True, "rollback": True},
        },
        "healthCheckGracePeriodSeconds": 60,
        "enableECSManagedTags": True,
        "propagateTags": "SERVICE",
    }


def rule_conditions(deployment: str) -> list[dict[str, t.Any]]:
    """Return the rule's condition: the NIM's path."""
    return [{"Field": "path-pattern", "PathPatternConfig": {"Values": [f"{path_of(deployment)}/*"]}}]


def rule_transforms(deployment: str) -> list[dict[str, t.Any]]:
    """Return the rewrite that strips the NIM's path, because a NIM only knows /v1/..."""
    rewrite = {"Regex": f"^{path_of(deployment)}/(.*)$", "Replace": "/$1"}
    return [{"Type": "url-rewrite", "UrlRewriteConfig": {"Rewrites": [rewrite]}}]


def service(names: Names, item: Wanted) -> dict[str, t.Any]:
    """Return the fields of the service that are compared live and can be changed by UpdateService."""
    return {
        "capacityProviderStrategy": [{"capacityProvider": names.of_nim(item.name), "weight": 1, "base": 0}],
        "deploymentConfiguration": {
            "maximumPercent": 100,
            "minimumHealthyPercent": 0,
            "deploymentCircuitBreaker": {"enable": True, "rollback": False},
        },
        "healthCheckGracePeriodSeconds": GRACE_PERIOD_SECONDS,
        "enableECSManagedTags": True,
        "propagateTags": "SERVICE",
        "availabilityZoneRebalancing": "DISABLED",
    }
