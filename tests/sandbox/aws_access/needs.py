# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a call needs: the permissions, the resources they are needed on, and the condition keys IAM would see.

Which action has resources and keys follows the tables of the Service Authorization Reference. Reads moto's state (for
the tags and paths of what is there): hold the lock.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from moto.ec2.models import ec2_backends
from moto.ecs.models import ecs_backends
from moto.iam.models import iam_backends

from tests.sandbox.aws_access.policy import Context, Need
from tests.sandbox.state import ACCOUNT_ID

#: Service prefixes in IAM that differ from boto3's names.
PREFIXES = {"elbv2": "elasticloadbalancing"}


class UnknownNeedError(Exception):
    """It is not written down here what a call needs."""


@dataclass(frozen=True)
class Call:
    """A request: service as boto3 calls it, action, and parameters as they were sent."""

    service: str
    action: str
    region: str
    params: Any
    common: Context = field(default_factory=dict)

    def get(self, name: str) -> str:
        """Return a parameter; empty if it was not sent."""
        return str(self.params.get(name, ""))

    def need(self, resource: str = "*", action: str | None = None, keys: Mapping[str, str] | None = None) -> Need:
        """Name a permission; the call's own action unless another is given. Empty condition keys are left out."""
        prefix = PREFIXES.get(self.service, self.service)
        sent = {name: value for name, value in (keys or {}).items() if value}
        return Need(action or f"{prefix}:{self.action}", resource, {**self.common, **sent})

    def arn(self, resource: str, service: str | None = None) -> str:
        """Return the ARN of something in the call's region."""
        name = service or PREFIXES.get(self.service, self.service)
        return f"arn:aws:{name}:{self.region}:{ACCOUNT_ID}:{resource}"


def needs(call: Call) -> list[Need]:
    """Return all permissions that a call needs. Raises UnknownNeedError for one that is not known here."""
    key = f"{call.service}:{call.action}"
    if key in WITHOUT_RESOURCE:
        return [call.need()]
    if key not in RESOURCES:
        raise UnknownNeedError(f"what {key} needs is not known to the sandbox, so no user may call it")
    return RESOURCES[key](call)


# ---- helpers ---------------------------------------------------------------------------------------------------------


def _last(value: str) -> str:
    return value.rpartition("/")[2]


def _tag_keys(tags: Mapping[str, str], kind: str) -> dict[str, str]:
    return {f"aws:{kind}/{key}": value for key, value in tags.items()}


def _with_tags(need: Need, tags: Mapping[str, str], kind: str) -> Need:
    return Need(need.action, need.resource, {**need.context, **_tag_keys(tags, kind)})


def _sent_tags(call: Call) -> dict[str, str]:
    """Read the tags of a request, in whatever form its protocol has them."""
    listed = call.params.get("tags", call.params.get("Tags"))
    if isinstance(listed, list):
        return {tag.get("key", tag.get("Key")): tag.get("value", tag.get("Value")) for tag in listed}
    if isinstance(listed, dict):
        return dict(listed)
    found = {}
    for name, value in call.params.items():
        match = re.fullmatch(r"((?:TagSpecification\.1\.)?Tags?\.(?:member\.)?\d+)\.Key", name)
        if match:
            found[value] = call.params.get(f"{match[1]}.Value", "")
    return found


def _lower_tags(items: Any) -> dict[str, str]:
    return {item.get("key", item.get("Key")): item.get("value", item.get("Value")) for item in items or ()}


# ---- ECS -------------------------------------------------------------------------------------------------------------


def _cluster(call: Call) -> list[Need]:
    name = _last(call.get("cluster") or call.get("clusterName"))
    return [call.need(call.arn(f"cluster/{name}")), *_tagging(call, f"cluster/{name}")]


def _clusters(call: Call) -> list[Need]:
    return [call.need(call.arn(f"cluster/{_last(name)}")) for name in call.params["clusters"]]


def _tagging(call: Call, resource: str) -> list[Need]:
    if not _sent_tags(call):
        return []
    return [call.need(call.arn(resource), "ecs:TagResource", {"ecs:CreateAction": call.action})]


def _service(call: Call) -> list[Need]:
    cluster, name = _last(call.get("cluster")), _last(call.get("service") or call.get("serviceName"))
    need = call.need(
        call.arn(f"service/{cluster}/{name}"),
        keys={
            "ecs:cluster": call.arn(f"cluster/{cluster}"),
            "ecs:task-definition": _task_definition_arn(call),
            "ecs:enable-execute-command": str(call.params.get("enableExecuteCommand", "")).lower(),
        },
    )
    return [
        _with_tags(need, _service_tags(call.region, cluster, name), "ResourceTag"),
        *_tagging(call, f"service/{cluster}/{name}"),
    ]


def _service_tags(region: str, cluster: str, name: str) -> dict[str, str]:
    service = ecs_backends[ACCOUNT_ID][region].services.get(f"{cluster}:{name}")
    return _lower_tags(service.tags) if service else {}


def _task_definition_arn(call: Call) -> str:
    value = call.get("taskDefinition")
    if not value or value.startswith("arn:"):
        return value
    return call.arn(f"task-definition/{value if ':' in value else f'{value}:1'}")


def _services(call: Call) -> list[Need]:
    cluster = _last(call.get("cluster"))
    return [call.need(call.arn(f"service/{cluster}/{_last(name)}")) for name in call.params["services"]]


def _tasks(call: Call) -> list[Need]:
    cluster = _last(call.get("cluster"))
    return [call.need(call.arn(f"task/{cluster}/{_last(name)}")) for name in call.params["tasks"]]


def _list_tasks(call: Call) -> list[Need]:
    """Return what ListTasks needs: no resource, for it may go over many machines, but the cluster is a key."""
    return [call.need(keys={"ecs:cluster": call.arn(f"cluster/{_last(call.get('cluster'))}")})]


def _capacity_providers(call: Call) -> list[Need]:
    names = call.params.get("capacityProviders") or [call.get("capacityProvider") or call.get("name")]
    return [call.need(call.arn(f"capacity-provider/{_last(name)}")) for name in names]


def _create_capacity_provider(call: Call) -> list[Need]:
    group = call.params["autoScalingGroupProvider"]["autoScalingGroupArn"].rpartition("/")[2]
    return [
        _with_tags(call.need(), _sent_tags(call), "RequestTag"),
        *_tagging(call, f"capacity-provider/{call.get('name')}"),
        call.need(_group_arn(call, group), "autoscaling:CreateOrUpdateTags"),
    ]


def _register(call: Call) -> list[Need]:
    resource = f"task-definition/{call.get('family')}:1"
    passed = {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
    roles = [call.get(name) for name in ("executionRoleArn", "taskRoleArn") if call.get(name)]
    return [
        call.need(call.arn(resource)),
        *_tagging(call, resource),
        *(call.need(role, "iam:PassRole", passed) for role in roles),
    ]


def _tag_ecs(call: Call) -> list[Need]:
    return [call.need(call.get("resourceArn"))]


# ---- Auto Scaling and EC2 --------------------------------------------------------------------------------------------


def _group_arn(call: Call, name: str) -> str:
    return call.arn(f"autoScalingGroup:1:autoScalingGroupName/{name}", "autoscaling")


def _group(call: Call) -> list[Need]:
    needed = [call.need(_group_arn(call, call.get("AutoScalingGroupName")))]
    if _sent_tags(call):
        needed.append(call.need(_group_arn(call, call.get("AutoScalingGroupName")), "autoscaling:CreateOrUpdateTags"))
    template = call.get("LaunchTemplate.LaunchTemplateName")
    return [*needed, *_launching(call, template)] if template else needed


def _launching(call: Call, template: str) -> list[Need]:
    """Return what Auto Scaling tries out with the caller's rights: a start of the template's machine."""
    template_id, tags = _template(call.region, template)
    arn = call.arn(f"launch-template/{template_id}", "ec2")
    from_template = {"ec2:LaunchTemplate": arn}
    image = f"arn:aws:ec2:{call.region}::image/ami-1"
    started = [
        call.arn(f"{kind}/{kind}-1", "ec2")
        for kind in ("instance", "network-interface", "security-group", "subnet", "volume")
    ]
    passed = {"iam:PassedToService": "ec2.amazonaws.com"}
    return [
        _with_tags(call.need(arn, "ec2:RunInstances", from_template), tags, "ResourceTag"),
        *(call.need(item, "ec2:RunInstances", from_template) for item in (image, *started)),
        *(
            call.need(item, "ec2:CreateTags", {"ec2:CreateAction": "RunInstances"})
            for item in (started[0], started[-1])
        ),
        *(call.need(role, "iam:PassRole", passed) for role in _template_roles(call.region, template)),
        _image_parameter(call),
    ]


def _image_parameter(call: Call) -> Need:
    """Return what EC2 needs to look the newest image up."""
    path = "parameter/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id"
    return call.need(f"arn:aws:ssm:{call.region}::{path}", "ssm:GetParameters")


def _template(region: str, name: str) -> tuple[str, dict[str, str]]:
    """Return the id and the tags of a launch template."""
    backend = ec2_backends[ACCOUNT_ID][region]
    found = backend.launch_template_name_to_ids.get(name, name)
    template = backend.launch_templates.get(found)
    return found, _lower_tags(template.get_tags() if template else ())


def _template_roles(region: str, name: str) -> list[str]:
    backend, iam = ec2_backends[ACCOUNT_ID][region], iam_backends[ACCOUNT_ID]["aws"]
    template = backend.launch_templates.get(_template(region, name)[0])
    data = template.default_version().data if template else {}
    profile = data.get("IamInstanceProfile", {}).get("Name")
    found = [item for item in iam.instance_profiles.values() if item.name == profile]
    return [role.arn for item in found for role in item.roles]


def _create_template(call: Call) -> list[Need]:
    arn = call.arn("launch-template/lt-1")
    return [
        _with_tags(call.need(arn), _sent_tags(call), "RequestTag"),
        call.need(arn, "ec2:CreateTags", {"ec2:CreateAction": call.action}),
        _image_parameter(call),
    ]


def _change_template(call: Call) -> list[Need]:
    template_id, tags = _template(call.region, call.get("LaunchTemplateName"))
    needed = [_with_tags(call.need(call.arn(f"launch-template/{template_id}")), tags, "ResourceTag")]
    return [*needed, _image_parameter(call)] if call.action.startswith("Create") else needed


def _tag_ec2(call: Call) -> list[Need]:
    found = [value for name, value in call.params.items() if name.startswith("ResourceId.")]
    if any(not value.startswith("lt-") for value in found):
        raise UnknownNeedError(f"tags of {', '.join(found)}: only those of launch templates are known")
    return [
        _with_tags(call.need(call.arn(f"launch-template/{item}")), _template(call.region, item)[1], "ResourceTag")
        for item in found
    ]


def _create_security_group(call: Call) -> list[Need]:
    group = call.arn("security-group/sg-1")
    return [
        _with_tags(call.need(group), _sent_tags(call), "RequestTag"),
        call.need(call.arn(f"vpc/{call.get('VpcId')}")),
        call.need(group, "ec2:CreateTags", {"ec2:CreateAction": call.action}),
    ]


def _security_group(call: Call) -> list[Need]:
    group: Any = ec2_backends[ACCOUNT_ID][call.region].get_security_group_from_id(call.get("GroupId"))
    tags = _lower_tags(group.get_tags() if group else ())
    return [_with_tags(call.need(call.arn(f"security-group/{call.get('GroupId')}")), tags, "ResourceTag")]


# ---- Elastic Load Balancing ------------------------------------------------------------------------------------------


def _elb(*names: str) -> Callable[[Call], list[Need]]:
    return lambda call: [call.need(call.get(name)) for name in names]


def _elb_created(call: Call, made_on: str, made: str) -> list[Need]:
    tagging = {"elasticloadbalancing:CreateAction": call.action}
    tags = [call.need(made, "elasticloadbalancing:AddTags", tagging)] if _sent_tags(call) else []
    return [call.need(made_on), *tags]


def _create_balancer(call: Call) -> list[Need]:
    arn = call.arn(f"loadbalancer/app/{call.get('Name')}/1")
    return _elb_created(call, arn, arn)


def _create_target_group(call: Call) -> list[Need]:
    arn = call.arn(f"targetgroup/{call.get('Name')}/1")
    return _elb_created(call, arn, arn)


def _create_listener(call: Call) -> list[Need]:
    balancer = call.get("LoadBalancerArn")
    return _elb_created(call, balancer, f"{balancer.replace(':loadbalancer/', ':listener/')}/1")


def _create_rule(call: Call) -> list[Need]:
    listener = call.get("ListenerArn")
    return _elb_created(call, listener, f"{listener.replace(':listener/', ':listener-rule/')}/1")


# ---- Secrets Manager and CloudWatch Logs -----------------------------------------------------------------------------


def _secret(call: Call) -> list[Need]:
    name = call.get("SecretId") or call.get("Name")
    arn = name if name.startswith("arn:") else call.arn(f"secret:{name}")
    needed = [_with_tags(call.need(arn), _sent_tags(call), "RequestTag")]
    if _sent_tags(call) and call.action != "TagResource":
        needed.append(call.need(arn, "secretsmanager:TagResource"))
    return needed


def _log_group(call: Call) -> list[Need]:
    arn = call.arn(f"log-group:{call.get('logGroupName')}")
    return [call.need(arn), *([call.need(arn, "logs:TagResource")] if _sent_tags(call) else [])]


def _log_groups(call: Call) -> list[Need]:
    return [call.need(call.arn(f"log-group:{name}")) for name in call.params.get("logGroupNames", [])]


def _log_stream(call: Call) -> list[Need]:
    return [call.need(call.arn(f"log-group:{call.get('logGroupName')}:log-stream:{call.get('logStreamName')}"))]


# ---- IAM -------------------------------------------------------------------------------------------------------------


def iam_arn(kind: str, name: str, path: str | None = None) -> str:
    """Return the ARN by which IAM checks a name: with the path only where there is such a thing, or it is made."""
    backend: Any = iam_backends[ACCOUNT_ID]["aws"]
    kept = {
        "user": backend.users,
        "group": backend.groups,
        "role": backend.roles,
        "instance-profile": backend.instance_profiles,
    }[kind]
    found = next((item for item in kept.values() if item.name == name), None)
    where = path or (found.path if found else "/")
    return f"arn:aws:iam::{ACCOUNT_ID}:{kind}{where}{name}"


def _iam(kind: str, parameter: str) -> Callable[[Call], list[Need]]:
    def read(call: Call) -> list[Need]:
        path = (call.get("Path") or "/") if call.action.startswith("Create") else None
        if call.action == "CreateAccessKey":
            path = None
        arn = iam_arn(kind, call.get(parameter), path)
        context = {"iam:PermissionsBoundary": call.get("PermissionsBoundary"), "iam:PolicyARN": call.get("PolicyArn")}
        needed = [_with_tags(call.need(arn, keys=context), _sent_tags(call), "RequestTag")]
        if _sent_tags(call) and call.action.startswith("Create"):
            needed.append(call.need(arn, f"iam:Tag{''.join(part.title() for part in kind.split('-'))}"))
        return needed

    return read


def _add_role(call: Call) -> list[Need]:
    passed = {"iam:PassedToService": "ec2.amazonaws.com"}
    return [
        call.need(iam_arn("instance-profile", call.get("InstanceProfileName"))),
        call.need(iam_arn("role", call.get("RoleName")), "iam:PassRole", passed),
    ]


def _policy(call: Call) -> list[Need]:
    if call.action != "CreatePolicy":
        return [call.need(call.get("PolicyArn"))]
    arn = f"arn:aws:iam::{ACCOUNT_ID}:policy{call.get('Path') or '/'}{call.get('PolicyName')}"
    return [call.need(arn), *([call.need(arn, "iam:TagPolicy")] if _sent_tags(call) else [])]


def _linked_role(call: Call) -> list[Need]:
    name = call.get("AWSServiceName")
    arn = f"arn:aws:iam::{ACCOUNT_ID}:role/aws-service-role/{name}/AWSServiceRole"
    return [call.need(arn, keys={"iam:AWSServiceName": name})]


_READ_USER, _READ_GROUP, _READ_ROLE = _iam("user", "UserName"), _iam("group", "GroupName"), _iam("role", "RoleName")
_READ_PROFILE = _iam("instance-profile", "InstanceProfileName")

#: Calls that IAM allows or denies as a whole.
WITHOUT_RESOURCE = frozenset(
    (
        *(f"autoscaling:{name}" for name in ("DescribeAutoScalingGroups", "DescribeScalingActivities")),
        *(
            f"ec2:Describe{name}"
            for name in (
                "InstanceTypeOfferings",
                "LaunchTemplates",
                "SecurityGroups",
                "SpotPriceHistory",
                "Subnets",
                "Vpcs",
            )
        ),
        *(f"ecs:{name}" for name in ("DeregisterTaskDefinition", "DescribeTaskDefinition")),
        *(f"ecs:List{name}" for name in ("TaskDefinitionFamilies", "TaskDefinitions", "Clusters", "Services")),
        *(
            f"elbv2:Describe{name}"
            for name in ("Listeners", "LoadBalancers", "Rules", "TargetGroups", "TargetHealth", "Tags")
        ),
        "iam:ListUsers",
        *(f"logs:{name}" for name in ("DescribeLogGroups", "GetQueryResults", "StopQuery")),
        "ce:GetCostAndUsage",
        "ce:ListCostAllocationTags",
        "cloudwatch:GetMetricData",
        "pricing:GetProducts",
        "secretsmanager:ListSecrets",
    )
)

RESOURCES: dict[str, Callable[[Call], list[Need]]] = {
    "autoscaling:CreateAutoScalingGroup": _group,
    "autoscaling:DeleteAutoScalingGroup": _group,
    "autoscaling:UpdateAutoScalingGroup": _group,
    "ec2:AuthorizeSecurityGroupIngress": _security_group,
    "ec2:CreateLaunchTemplate": _create_template,
    "ec2:CreateLaunchTemplateVersion": _change_template,
    "ec2:CreateSecurityGroup": _create_security_group,
    "ec2:CreateTags": _tag_ec2,
    "ec2:DeleteLaunchTemplate": _change_template,
    "ec2:DeleteSecurityGroup": _security_group,
    "ec2:RevokeSecurityGroupIngress": _security_group,
    "ecs:CreateCapacityProvider": _create_capacity_provider,
    "ecs:CreateCluster": _cluster,
    "ecs:CreateService": _service,
    "ecs:DeleteCapacityProvider": _capacity_providers,
    "ecs:DeleteCluster": _cluster,
    "ecs:DeleteService": _service,
    "ecs:DescribeCapacityProviders": _capacity_providers,
    "ecs:DescribeClusters": _clusters,
    "ecs:DescribeServices": _services,
    "ecs:DescribeTasks": _tasks,
    "ecs:ListTasks": _list_tasks,
    "ecs:PutClusterCapacityProviders": _cluster,
    "ecs:ExecuteCommand": lambda call: [call.need(call.arn(f"task/{_last(call.get('cluster'))}/{call.get('task')}"))],
    "ecs:RegisterTaskDefinition": _register,
    "ecs:RunTask": lambda call: [call.need(_task_definition_arn(call))],
    "ecs:TagResource": _tag_ecs,
    "ecs:UpdateCapacityProvider": _capacity_providers,
    "ecs:UpdateService": _service,
    "elbv2:CreateListener": _create_listener,
    "elbv2:CreateLoadBalancer": _create_balancer,
    "elbv2:CreateRule": _create_rule,
    "elbv2:CreateTargetGroup": _create_target_group,
    "elbv2:DeleteListener": _elb("ListenerArn"),
    "elbv2:DeleteLoadBalancer": _elb("LoadBalancerArn"),
    "elbv2:DeleteRule": _elb("RuleArn"),
    "elbv2:DeleteTargetGroup": _elb("TargetGroupArn"),
    "elbv2:ModifyListener": _elb("ListenerArn"),
    "elbv2:ModifyLoadBalancerAttributes": _elb("LoadBalancerArn"),
    "elbv2:ModifyRule": _elb("RuleArn"),
    "elbv2:ModifyTargetGroup": _elb("TargetGroupArn"),
    "elbv2:ModifyTargetGroupAttributes": _elb("TargetGroupArn"),
    "iam:AddRoleToInstanceProfile": _add_role,
    "iam:AddUserToGroup": _READ_GROUP,
    "iam:AttachGroupPolicy": _READ_GROUP,
    "iam:AttachRolePolicy": _READ_ROLE,
    "iam:AttachUserPolicy": _READ_USER,
    "iam:CreateAccessKey": _READ_USER,
    "iam:CreateGroup": _READ_GROUP,
    "iam:CreateInstanceProfile": _READ_PROFILE,
    "iam:CreatePolicy": _policy,
    "iam:CreatePolicyVersion": _policy,
    "iam:CreateRole": _READ_ROLE,
    "iam:CreateServiceLinkedRole": _linked_role,
    "iam:CreateUser": _READ_USER,
    "iam:DeleteAccessKey": _READ_USER,
    "iam:DeleteInstanceProfile": _READ_PROFILE,
    "iam:DeletePolicyVersion": _policy,
    "iam:DeleteRole": _READ_ROLE,
    "iam:DeleteRolePolicy": _READ_ROLE,
    "iam:DeleteUser": _READ_USER,
    "iam:DeleteUserPermissionsBoundary": _READ_USER,
    "iam:DetachRolePolicy": _READ_ROLE,
    "iam:DetachUserPolicy": _READ_USER,
    "iam:GetGroup": _READ_GROUP,
    "iam:GetInstanceProfile": _READ_PROFILE,
    "iam:GetPolicy": _policy,
    "iam:GetPolicyVersion": _policy,
    "iam:GetRole": _READ_ROLE,
    "iam:GetUser": _READ_USER,
    "iam:ListAccessKeys": _READ_USER,
    "iam:ListAttachedGroupPolicies": _READ_GROUP,
    "iam:ListAttachedRolePolicies": _READ_ROLE,
    "iam:ListAttachedUserPolicies": _READ_USER,
    "iam:ListGroupsForUser": _READ_USER,
    "iam:ListPolicyVersions": _policy,
    "iam:PutRolePolicy": _READ_ROLE,
    "iam:PutUserPermissionsBoundary": _READ_USER,
    "iam:PutUserPolicy": _READ_USER,
    "iam:RemoveRoleFromInstanceProfile": _READ_PROFILE,
    "iam:RemoveUserFromGroup": _READ_GROUP,
    "iam:SimulatePrincipalPolicy": lambda call: [call.need(call.get("PolicySourceArn"))],
    "iam:TagInstanceProfile": _READ_PROFILE,
    "logs:CreateLogGroup": _log_group,
    "logs:DeleteLogGroup": _log_group,
    "logs:GetLogEvents": _log_stream,
    "logs:PutRetentionPolicy": _log_group,
    "logs:StartQuery": _log_groups,
    "secretsmanager:CreateSecret": _secret,
    "secretsmanager:DeleteSecret": _secret,
    "secretsmanager:DescribeSecret": _secret,
    "secretsmanager:GetSecretValue": _secret,
    "secretsmanager:PutSecretValue": _secret,
    "secretsmanager:RestoreSecret": _secret,
    "secretsmanager:TagResource": _secret,
    # Everybody may ask who they are.
    "sts:GetCallerIdentity": lambda _call: [],
}
