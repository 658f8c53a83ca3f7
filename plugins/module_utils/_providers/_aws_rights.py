# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What the controller needs on AWS, and why. The files in C(policies/aws) are written from this. Pure, makes no calls.

Which actions know which resources and condition keys follows the Service Authorization Reference of AWS. A grant names
only resources that all of its actions know, so that each pair of them can be checked by itself.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import MANAGED_TAG
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _aws_objects as objects
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_policies import PATH, ArtistNames

Condition = t.Mapping[str, t.Mapping[str, t.Sequence[str]]]

POLICIES = {
    "deployer": ("deployer_a", "deployer_b"),
    "identities": ("identities", "artists_setup"),
    "readonly": ("readonly",),
}
"""Which policies a role of this collection is made of."""

OURS: Condition = {"StringEquals": {f"aws:ResourceTag/{MANAGED_TAG}": ("true",)}}
NEW: Condition = {"StringEquals": {f"aws:RequestTag/{MANAGED_TAG}": ("true",)}}


@dataclasses.dataclass(frozen=True)
class Grant:
    """One statement of a policy, and what it is for."""

    sid: str
    purpose: str
    actions: tuple[str, ...]
    resources: tuple[str, ...] = ("*",)
    condition: Condition = dataclasses.field(default_factory=dict, hash=False)

    def statement(self) -> dict[str, t.Any]:
        """Return it as IAM writes it."""
        statement: dict[str, t.Any] = {
            "Sid": self.sid,
            "Effect": "Allow",
            "Action": sorted(self.actions),
            "Resource": sorted(self.resources),
        }
        if self.condition:
            statement["Condition"] = {
                operator: {key: sorted(values) if len(values) > 1 else values[0] for key, values in keys.items()}
                for operator, keys in self.condition.items()
            }
        return statement


def policy(grants: t.Iterable[Grant]) -> dict[str, t.Any]:
    """Return a policy that allows this."""
    return {"Version": "2012-10-17", "Statement": [grant.statement() for grant in grants]}


def grants(names: ArtistNames) -> dict[str, tuple[Grant, ...]]:
    """Return all policies for one account and cluster, by name. No region is in them."""
    arns = _Arns(names)
    return {
        "deployer_a": (*_reading(), *_ecs(arns), *_machines(arns)),
        "deployer_b": (*_balancing(arns), *_secret_and_logs(arns), *_roles(arns)),
        "identities": _identities(arns),
        "artists_setup": _artists_setup(arns),
        "readonly": _readonly(arns),
        "permissions_check": _permissions_check(arns),
        "prices": _prices(),
        "spend": _spend(),
    }


def grants_of(role: str, names: ArtistNames) -> tuple[Grant, ...]:
    """Return all that a role of this collection needs."""
    every = grants(names)
    return tuple(grant for name in POLICIES[role] for grant in every[name])


class _Arns:
    """Builds ARNs of what belongs to one account and cluster."""

    def __init__(self, names: ArtistNames) -> None:
        self.names = names
        self.cluster = names.cluster
        self.objects = objects.Names(names.cluster, "-")

    def of(self, service: str, resource: str, account: str | None = None) -> str:
        """Return an ARN in any region."""
        return f"arn:{self.names.partition}:{service}:*:{self.names.account if account is None else account}:{resource}"

    def iam(self, resource: str) -> str:
        """Return an ARN of IAM, which has no regions."""
        return f"arn:{self.names.partition}:iam::{self.names.account}:{resource}"

    def of_aws(self, policy_name: str) -> str:
        """Return the ARN of a policy that AWS itself keeps."""
        return f"arn:{self.names.partition}:iam::aws:policy/{policy_name}"


def _reading() -> tuple[Grant, ...]:
    return (
        Grant(
            "ReadWhatHasNoResources",
            "see what exists; AWS knows no single resources for these calls",
            (
                "autoscaling:DescribeAutoScalingGroups",
                "autoscaling:DescribeScalingActivities",
                "ec2:DescribeInstanceTypeOfferings",
                "ec2:DescribeLaunchTemplates",
                "ec2:DescribeSecurityGroups",
                "ec2:DescribeSubnets",
                "ecs:DescribeTaskDefinition",
                "ecs:ListTaskDefinitionFamilies",
                "ecs:ListTaskDefinitions",
                "elasticloadbalancing:DescribeListeners",
                "elasticloadbalancing:DescribeLoadBalancers",
                "elasticloadbalancing:DescribeRules",
                "elasticloadbalancing:DescribeTargetGroups",
                "elasticloadbalancing:DescribeTargetHealth",
                "logs:DescribeLogGroups",
            ),
        ),
        Grant(
            "ReadForLoadBalancer",
            "what Elastic Load Balancing looks at with the caller's rights when a load balancer is made",
            (
                "ec2:DescribeAccountAttributes",
                "ec2:DescribeAddresses",
                "ec2:DescribeInternetGateways",
                "ec2:DescribeVpcs",
            ),
        ),
    )


def _tasks(arns: _Arns) -> Grant:
    return Grant(
        "Tasks",
        "find the containers of a NIM",
        ("ecs:ListTasks",),
        condition={"ArnLike": {"ecs:cluster": (arns.of("ecs", f"cluster/{arns.cluster}"),)}},
    )


def _ecs(arns: _Arns) -> tuple[Grant, ...]:
    return (
        _tasks(arns),
        Grant(
            "Cluster",
            "the ECS cluster",
            (
                "ecs:CreateCluster",
                "ecs:DeleteCluster",
                "ecs:DescribeClusters",
                "ecs:PutClusterCapacityProviders",
                "ecs:TagResource",
            ),
            (arns.of("ecs", f"cluster/{arns.cluster}"),),
        ),
        Grant(
            "Services",
            "one ECS service for each NIM; its desired count is the switch",
            (
                "ecs:CreateService",
                "ecs:DeleteService",
                "ecs:DescribeServices",
                "ecs:TagResource",
                "ecs:UpdateService",
            ),
            (arns.of("ecs", f"service/{arns.cluster}/*"),),
        ),
        Grant(
            "RunningTasks",
            "tell why a container does not run",
            ("ecs:DescribeTasks",),
            (arns.of("ecs", f"task/{arns.cluster}/*"),),
        ),
        Grant(
            "NewTaskDefinitions",
            "the image and settings of each NIM",
            ("ecs:RegisterTaskDefinition", "ecs:TagResource"),
            (arns.of("ecs", f"task-definition/{arns.objects.task_family_owner}-*:*"),),
        ),
        Grant(
            "OldTaskDefinitions",
            "retire task definitions; AWS knows no single resources for this call",
            ("ecs:DeregisterTaskDefinition",),
        ),
        Grant(
            "NewCapacityProviders",
            "machines that come and go with each NIM; AWS knows no single resources for this call",
            ("ecs:CreateCapacityProvider",),
            condition=NEW,
        ),
        Grant(
            "CapacityProviders",
            "machines that come and go with each NIM",
            (
                "ecs:DeleteCapacityProvider",
                "ecs:DescribeCapacityProviders",
                "ecs:TagResource",
                "ecs:UpdateCapacityProvider",
            ),
            (arns.of("ecs", f"capacity-provider/{arns.cluster}-*"),),
        ),
    )


def _machines(arns: _Arns) -> tuple[Grant, ...]:
    template = arns.of("ec2", "launch-template/*")
    return (
        Grant(
            "MachineImage",
            "the newest machine image; the parameter is AWS's own and has no account",
            ("ssm:GetParameters",),
            (arns.of("ssm", "parameter/aws/service/ecs/optimized-ami/*", account=""),),
        ),
        Grant(
            "MachineGroups",
            "one Auto Scaling group for each NIM",
            (
                "autoscaling:CreateAutoScalingGroup",
                "autoscaling:CreateOrUpdateTags",
                "autoscaling:DeleteAutoScalingGroup",
                "autoscaling:UpdateAutoScalingGroup",
            ),
            (arns.of("autoscaling", f"autoScalingGroup:*:autoScalingGroupName/{arns.cluster}-*"),),
        ),
        Grant("NewTemplates", "one launch template for each NIM", ("ec2:CreateLaunchTemplate",), (template,), NEW),
        Grant(
            "OurTemplates",
            "change and remove launch templates made here, and start machines from them",
            (
                "ec2:CreateLaunchTemplateVersion",
                "ec2:CreateTags",
                "ec2:DeleteLaunchTemplate",
                "ec2:RunInstances",
            ),
            (template,),
            OURS,
        ),
        Grant(
            "MachinesFromTemplatesOnly",
            "Auto Scaling tries with the caller's rights whether a machine can be started from the template",
            ("ec2:RunInstances",),
            (
                arns.of("ec2", "image/*", account=""),
                *(
                    arns.of("ec2", f"{kind}/*")
                    for kind in ("image", "instance", "network-interface", "security-group", "subnet", "volume")
                ),
            ),
            {"ArnLike": {"ec2:LaunchTemplate": (template,)}},
        ),
        *(
            Grant(sid, purpose, ("ec2:CreateTags",), resources, {"StringEquals": {"ec2:CreateAction": (action,)}})
            for sid, purpose, action, resources in (
                ("TagsOfNewTemplates", "tag launch templates as they are made", "CreateLaunchTemplate", (template,)),
                (
                    "TagsOfNewGroups",
                    "tag security groups as they are made",
                    "CreateSecurityGroup",
                    (arns.of("ec2", "security-group/*"),),
                ),
                (
                    "TagsOfNewMachines",
                    "tag machines and their disks as they are made",
                    "RunInstances",
                    (arns.of("ec2", "instance/*"), arns.of("ec2", "volume/*")),
                ),
            )
        ),
        Grant(
            "NewSecurityGroups",
            "the security groups of the load balancer and the machines",
            ("ec2:CreateSecurityGroup",),
            (arns.of("ec2", "security-group/*"),),
            NEW,
        ),
        Grant(
            "NetworkOfSecurityGroups",
            "the network in which security groups are made",
            ("ec2:CreateSecurityGroup",),
            (arns.of("ec2", "vpc/*"),),
        ),
        Grant(
            "OurSecurityGroups",
            "who can reach the NIMs",
            (
                "ec2:AuthorizeSecurityGroupIngress",
                "ec2:DeleteSecurityGroup",
                "ec2:RevokeSecurityGroupIngress",
            ),
            (arns.of("ec2", "security-group/*"),),
            OURS,
        ),
    )


def _balancing(arns: _Arns) -> tuple[Grant, ...]:
    name = f"app/{arns.objects.load_balancer}"

    def elb(sid: str, purpose: str, actions: tuple[str, ...], resource: str) -> Grant:
        names = tuple(f"elasticloadbalancing:{action}" for action in actions)
        return Grant(sid, purpose, names, (arns.of("elasticloadbalancing", resource),))

    return (
        elb(
            "LoadBalancer",
            "the load balancer in front of all NIMs",
            ("AddTags", "CreateListener", "CreateLoadBalancer", "DeleteLoadBalancer", "ModifyLoadBalancerAttributes"),
            f"loadbalancer/{name}/*",
        ),
        elb(
            "Listener",
            "the port on which the load balancer listens",
            ("CreateRule", "DeleteListener", "ModifyListener"),
            f"listener/{name}/*/*",
        ),
        elb("Rules", "the path of each NIM", ("AddTags", "DeleteRule", "ModifyRule"), f"listener-rule/{name}/*/*/*"),
        elb(
            "TargetGroups",
            "where each NIM is and whether it is healthy",
            (
                "AddTags",
                "CreateTargetGroup",
                "DeleteTargetGroup",
                "ModifyTargetGroup",
                "ModifyTargetGroupAttributes",
            ),
            "targetgroup/bg-*/*",
        ),
    )


def _secret_and_logs(arns: _Arns) -> tuple[Grant, ...]:
    return (
        Grant(
            "Secret",
            "the NGC key and the Hugging Face token, written and never read back",
            (
                "secretsmanager:CreateSecret",
                "secretsmanager:DeleteSecret",
                "secretsmanager:DescribeSecret",
                "secretsmanager:PutSecretValue",
                "secretsmanager:RestoreSecret",
                "secretsmanager:TagResource",
            ),
            # Six random characters follow the name in an ARN.
            (arns.of("secretsmanager", f"secret:{arns.objects.secret}*"),),
        ),
        Grant(
            "LogGroup",
            "the log group of all NIMs",
            ("logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:PutRetentionPolicy", "logs:TagResource"),
            (arns.of("logs", f"log-group:{arns.objects.log_group}*"),),
        ),
        _last_lines(arns),
    )


def _last_lines(arns: _Arns) -> Grant:
    return Grant(
        "Logs",
        "the last lines of a container that failed",
        ("logs:GetLogEvents",),
        (arns.of("logs", f"log-group:{arns.objects.log_group}:log-stream:*"),),
    )


def _roles(arns: _Arns) -> tuple[Grant, ...]:
    role = arns.iam(f"role{PATH}{arns.cluster}-*")
    profile = arns.iam(f"instance-profile{PATH}{arns.cluster}-*")
    return (
        # Where there is no such role yet, IAM checks its name without a path.
        Grant(
            "ReadRoles",
            "see whether the roles of containers and machines are there",
            ("iam:GetRole",),
            (role, arns.iam(f"role/{arns.cluster}-*")),
        ),
        Grant(
            "ReadProfiles",
            "see whether the machines' instance profile is there",
            ("iam:GetInstanceProfile",),
            (profile, arns.iam(f"instance-profile/{arns.cluster}-*")),
        ),
        Grant(
            "Roles",
            "the roles of containers and machines",
            (
                "iam:CreateRole",
                "iam:DeleteRole",
                "iam:DeleteRolePolicy",
                "iam:PutRolePolicy",
                "iam:TagRole",
            ),
            (role,),
        ),
        Grant(
            "MachineRole",
            "let machines join the ECS cluster, and nothing else",
            ("iam:AttachRolePolicy", "iam:DetachRolePolicy"),
            (role,),
            {"ArnEquals": {"iam:PolicyARN": (arns.of_aws(objects.INSTANCE_POLICY),)}},
        ),
        Grant(
            "MachineProfile",
            "the machines' instance profile",
            (
                "iam:AddRoleToInstanceProfile",
                "iam:CreateInstanceProfile",
                "iam:DeleteInstanceProfile",
                "iam:RemoveRoleFromInstanceProfile",
                "iam:TagInstanceProfile",
            ),
            (profile,),
        ),
        Grant(
            "PassRolesToMachinesAndTasks",
            "give the roles to machines and containers",
            ("iam:PassRole",),
            (role,),
            {"StringEquals": {"iam:PassedToService": (objects.MACHINE_SERVICE, objects.EXECUTION_SERVICE)}},
        ),
        Grant(
            "ServiceLinkedRoles",
            "the roles of AWS's services in an account that has never used them",
            ("iam:CreateServiceLinkedRole",),
            (arns.iam("role/aws-service-role/*"),),
            {
                "StringEquals": {
                    "iam:AWSServiceName": (
                        "autoscaling.amazonaws.com",
                        "ecs.amazonaws.com",
                        "elasticloadbalancing.amazonaws.com",
                    )
                }
            },
        ),
    )


def _identities(arns: _Arns) -> tuple[Grant, ...]:
    user, group = arns.iam(f"user{PATH}ws-*"), arns.iam(f"group{PATH}{arns.names.group}")
    principals = {"user": arns.iam("user/*"), "role": arns.iam("role/*")}
    only_theirs: Condition = {"ArnEquals": {"iam:PolicyARN": (arns.names.policy_arn,)}}
    return (
        # Where there is no such user or group yet, IAM checks its name without a path.
        Grant(
            "FindWorkstations",
            "see which workstations have a user",
            ("iam:GetUser",),
            (user, arns.iam("user/ws-*")),
        ),
        Grant(
            "ReadWorkstations",
            "see the keys and the group of a workstation's user",
            ("iam:ListAccessKeys", "iam:ListGroupsForUser"),
            (user,),
        ),
        Grant(
            "FindArtists",
            "see whether the artists' group has its policy",
            ("iam:ListAttachedGroupPolicies",),
            (group, arns.iam(f"group/{arns.names.group}")),
        ),
        Grant("ReadArtists", "see whether the artists' group is ours", ("iam:GetGroup",), (group,)),
        Grant(
            "ReadArtistPolicy",
            "see whether the artists' policy says what it should",
            ("iam:GetPolicy", "iam:GetPolicyVersion"),
            (arns.names.policy_arn,),
        ),
        Grant(
            "LimitedUsersOnly",
            "users for workstations, none without the artists' policy as its limit",
            ("iam:CreateUser", "iam:PutUserPermissionsBoundary"),
            (user,),
            {"ArnEquals": {"iam:PermissionsBoundary": (arns.names.policy_arn,)}},
        ),
        Grant(
            "Workstations",
            "keys of workstations: make, rotate, revoke",
            ("iam:CreateAccessKey", "iam:DeleteAccessKey", "iam:DeleteUser", "iam:TagUser"),
            (user,),
        ),
        Grant(
            "Artists",
            "put workstations into the artists' group",
            ("iam:AddUserToGroup", "iam:RemoveUserFromGroup"),
            (group,),
        ),
        *(
            Grant(
                f"Own{kind.title()}s",
                f"workstations with a {kind} of their own (principal)",
                (f"iam:Attach{kind.title()}Policy", f"iam:Detach{kind.title()}Policy"),
                (arn,),
                only_theirs,
            )
            for kind, arn in principals.items()
        ),
        *(
            Grant(
                f"ReadOwn{kind.title()}s",
                f"workstations with a {kind} of their own (principal)",
                (f"iam:Get{kind.title()}", f"iam:ListAttached{kind.title()}Policies"),
                (arn,),
            )
            for kind, arn in principals.items()
        ),
    )


def _artists_setup(arns: _Arns) -> tuple[Grant, ...]:
    group = arns.iam(f"group{PATH}{arns.names.group}")
    return (
        Grant(
            "ArtistPolicy",
            "make or change what all workstations may do",
            (
                "iam:CreatePolicy",
                "iam:CreatePolicyVersion",
                "iam:DeletePolicyVersion",
                "iam:ListPolicyVersions",
                "iam:TagPolicy",
            ),
            (arns.names.policy_arn,),
        ),
        Grant("ArtistGroup", "the group of all workstations", ("iam:CreateGroup",), (group,)),
        Grant(
            "PolicyOfTheGroup",
            "give the group its policy, and no other",
            ("iam:AttachGroupPolicy",),
            (group,),
            {"ArnEquals": {"iam:PolicyARN": (arns.names.policy_arn,)}},
        ),
    )


def _readonly(arns: _Arns) -> tuple[Grant, ...]:
    return (
        Grant(
            "ReadWhatHasNoResources",
            "see what exists; AWS knows no single resources for these calls",
            (
                "autoscaling:DescribeScalingActivities",
                "ec2:DescribeLaunchTemplates",
                "elasticloadbalancing:DescribeListeners",
                "elasticloadbalancing:DescribeLoadBalancers",
                "elasticloadbalancing:DescribeRules",
                "elasticloadbalancing:DescribeTargetHealth",
            ),
        ),
        _tasks(arns),
        Grant(
            "Services",
            "see which NIMs there are and which run",
            ("ecs:DescribeServices",),
            (arns.of("ecs", f"service/{arns.cluster}/*"),),
        ),
        Grant(
            "RunningTasks",
            "tell why a container does not run",
            ("ecs:DescribeTasks",),
            (arns.of("ecs", f"task/{arns.cluster}/*"),),
        ),
        _last_lines(arns),
        Grant(
            "UsageQuestions",
            "usage: ask what the gateway has logged",
            ("logs:StartQuery",),
            (arns.of("logs", f"log-group:{arns.objects.log_group}*"),),
        ),
        Grant(
            "UsageAnswers",
            "usage: what the gateway has logged; these calls name a query and no log group",
            ("logs:GetQueryResults", "logs:StopQuery"),
        ),
        Grant(
            "UsageMetrics",
            "usage: how often NIMs were asked, where there is no log; AWS knows no single resources for these calls",
            ("cloudwatch:GetMetricData", "elasticloadbalancing:DescribeTargetGroups"),
        ),
    )


def _permissions_check(arns: _Arns) -> tuple[Grant, ...]:
    return (
        Grant(
            "AskIam",
            "the playbook permissions: ask IAM what the caller may do",
            ("iam:SimulatePrincipalPolicy",),
            (arns.iam("role/*"), arns.iam("user/*")),
        ),
        Grant(
            "FindOwnRole",
            "the playbook permissions: the path of the caller's role",
            ("iam:GetRole",),
            (arns.iam("role/*"),),
        ),
    )


def _prices() -> tuple[Grant, ...]:
    # Neither of the two knows resources.
    return (
        Grant("ReadPriceList", "what things cost", ("pricing:GetProducts",)),
        Grant("ReadSpotPrices", "what Spot machines cost now", ("ec2:DescribeSpotPriceHistory",)),
    )


def _spend() -> tuple[Grant, ...]:
    # What these tell is about the whole account. Neither can be limited to what is ours.
    return (
        Grant("ReadCosts", "what was billed; AWS is paid for each request", ("ce:GetCostAndUsage",)),
        Grant("ReadCostTags", "which tags the bill is told by", ("ce:ListCostAllocationTags",)),
    )
