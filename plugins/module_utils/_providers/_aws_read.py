# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""AWS's answers in our words: one function per kind of object."""

from __future__ import annotations

import dataclasses
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.budgetguard.techops.plugins.module_utils import _deployment
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import Resource
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _aws_objects as objects
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_session import AwsSession
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_settings import AwsSettings


class Reader:
    """Reads what one target holds."""

    def __init__(self, session: AwsSession, names: objects.Names, settings: AwsSettings) -> None:
        self.session = session
        self.names = names
        self.settings = settings

    def identities(self) -> list[Resource]:
        """Read the two roles and the instance profile.

        The profile is made after the roles have their policies, so its hash tag tells for all three what they hold.
        """
        profiles = self._instance_profile()
        policies = profiles[0].spec["policies"] if profiles else None
        found = []
        for name in (self.names.execution_role, self.names.instance_role):
            answer = self.session.call("iam", "get_role", f"read the role {name}", ["NoSuchEntity"], RoleName=name)
            if answer is not None:
                role = answer["Role"]
                tags = objects.read_tags(role.get("Tags"))
                found.append(self._shared("iam_role", name, {"policies": policies}, tags, arn=role["Arn"]))
        return [*found, *profiles]

    def _instance_profile(self) -> list[Resource]:
        name = self.names.instance_role
        answer = self.session.call(
            "iam",
            "get_instance_profile",
            f"read the instance profile {name}",
            ["NoSuchEntity"],
            InstanceProfileName=name,
        )
        if answer is None:
            return []
        profile = answer["InstanceProfile"]
        tags = objects.read_tags(profile.get("Tags"))
        spec = {
            "roles": [role["RoleName"] for role in profile["Roles"]],
            "policies": tags.get(_deployment.HASH_TAG),
        }
        return [self._shared("instance_profile", name, spec, tags)]

    def security_groups(self) -> list[Resource]:
        names = [self.names.lb_group, self.names.machine_group, self.names.gateway_group]
        filters = [{"Name": "group-name", "Values": names}]
        if self.settings.vpc_id:
            filters.append({"Name": "vpc-id", "Values": [self.settings.vpc_id]})
        groups = self.session.pages(
            "ec2", "describe_security_groups", "read the security groups", "SecurityGroups", Filters=filters
        )
        by_id = {group["GroupId"]: group["GroupName"] for group in groups}
        found = []
        for group in groups:
            name, tags = group["GroupName"], objects.read_tags(group.get("Tags"))
            facts = {"id": group["GroupId"], "vpc_id": group["VpcId"]}
            ingress = sorted(_ingress(group, by_id))
            if name == self.names.gateway_group:
                # Two groups that name each other cannot be made in one go.
                found.append(self._shared("security_group", name, {"ingress": []}, tags, **facts))
                if not ingress:
                    continue
                found.append(self._shared("security_group_ingress", name, {"ingress": ingress}, tags, **facts))
            else:
                found.append(self._shared("security_group", name, {"ingress": ingress}, tags, **facts))
        return found

    def secret(self) -> list[Resource]:
        name = self.names.secret
        answer = self.session.call(
            "secretsmanager",
            "describe_secret",
            f"read the description of the secret {name}",
            ["ResourceNotFoundException"],
            SecretId=name,
        )
        if answer is None:
            return []
        tags = objects.read_tags(answer.get("Tags"))
        spec = {
            "usable": answer.get("DeletedDate") is None,
            "content": tags.get(_deployment.HASH_TAG),
            "fields": tags.get("budgetguard:fields", "").split(),
        }
        secret = self._shared("secret", name, spec, tags, arn=answer["ARN"])
        return [dataclasses.replace(secret, ending=not spec["usable"])]

    def log_group(self) -> list[Resource]:
        name = self.names.log_group
        groups = self.session.pages(
            "logs", "describe_log_groups", "read the log groups", "logGroups", logGroupNamePrefix=name
        )
        return [
            Resource("log_group", name, {"retention_days": group.get("retentionInDays")})
            for group in groups
            if group["logGroupName"] == name
        ]

    def cluster(self) -> list[Resource]:
        name = self.names.cluster
        clusters = self.session.call(
            "ecs", "describe_clusters", f"read the cluster {name}", clusters=[name], include=["TAGS"]
        )["clusters"]
        alive = [cluster for cluster in clusters if cluster["status"] != "INACTIVE"]
        if not alive:
            return []
        tags = objects.read_tags(alive[0].get("tags"))
        members = alive[0].get("capacityProviders", [])
        cluster = self._shared(
            "ecs_cluster", name, {"status": alive[0]["status"]}, tags, arn=alive[0]["clusterArn"], members=members
        )
        return [cluster, *(Resource("cluster_capacity_provider", member, {"member": True}) for member in members)]

    def load_balancer(self) -> list[Resource]:
        name = self.names.load_balancer
        answer = self.session.call(
            "elbv2",
            "describe_load_balancers",
            f"read the load balancer {name}",
            ["LoadBalancerNotFound"],
            Names=[name],
        )
        if answer is None:
            return []
        balancer = answer["LoadBalancers"][0]
        arn = balancer["LoadBalancerArn"]
        facts = {"arn": arn, "dns": balancer["DNSName"], "vpc_id": balancer["VpcId"]}
        found = [Resource("load_balancer", name, {"scheme": balancer["Scheme"]}, facts=facts)]
        listeners = self.session.call("elbv2", "describe_listeners", "read the listeners", LoadBalancerArn=arn)[
            "Listeners"
        ]
        inner, outer = self._tell_apart(listeners)
        if outer is not None:
            found.append(_translate_listener("listener", name, outer))
        if inner is not None:
            found.append(_translate_listener("inner_listener", self.names.inner_listener, inner))
        with_rules = inner or outer
        if with_rules is not None:
            arn = with_rules["ListenerArn"]
            rules = self.session.pages("elbv2", "describe_rules", "read the listener's rules", "Rules", ListenerArn=arn)
            found += [_translate_rule(rule) for rule in rules if not rule.get("IsDefault")]
        return found

    def _tell_apart(
        self, listeners: t.Sequence[dict[str, t.Any]]
    ) -> tuple[dict[str, t.Any] | None, dict[str, t.Any] | None]:
        """Return the listener for the gateway and the one for workstations.

        Where there is none for a gateway yet, and there shall be one, the one with the rules becomes it.
        """
        inner = next((item for item in listeners if item["Port"] == objects.INNER_PORT), None)
        outer = next((item for item in listeners if item is not inner), None)
        if inner is None and self.settings.gateway is not None:
            return outer, None
        return inner, outer

    def launch_templates(self) -> list[Resource]:
        filters = [{"Name": f"tag:{_deployment.CLUSTER_TAG}", "Values": [self.names.cluster]}]
        found = []
        for template in self.session.pages(
            "ec2", "describe_launch_templates", "read the launch templates", "LaunchTemplates", Filters=filters
        ):
            tags = objects.read_tags(template.get("Tags"))
            spec = {
                "content": tags.get(_deployment.HASH_TAG),
                "security_group_id": tags.get("budgetguard:security-group"),
                "instance_type": tags.get("budgetguard:instance-type"),
            }
            found.append(self._tagged("launch_template", template["LaunchTemplateName"], spec, tags))
        return found

    def auto_scaling_groups(self) -> list[Resource]:
        filters = [{"Name": f"tag:{_deployment.CLUSTER_TAG}", "Values": [self.names.cluster]}]
        found = []
        for group in self.session.pages(
            "autoscaling",
            "describe_auto_scaling_groups",
            "read the Auto Scaling groups",
            "AutoScalingGroups",
            Filters=filters,
            PaginationConfig={"PageSize": 100},
        ):
            subnets = set(group.get("VPCZoneIdentifier", "").split(","))
            foreign = subnets - set(self.settings.subnet_ids) if self.settings.subnet_ids else set()
            template = group.get("LaunchTemplate") or {}
            spec = {
                "min_size": group["MinSize"],
                "max_size": group["MaxSize"],
                "launch_template": template.get("LaunchTemplateName"),
                "foreign_subnets": sorted(foreign),
            }
            tags = objects.read_tags(group.get("Tags"))
            found.append(
                self._tagged(
                    "auto_scaling_group", group["AutoScalingGroupName"], spec, tags, arn=group["AutoScalingGroupARN"]
                )
            )
        return found

    def capacity_providers(self, deployments: t.Sequence[str]) -> list[Resource]:
        """Read the capacity providers of these NIMs by name: 100 a call, while a list has but 10 a page."""
        found: list[Resource] = []
        for start in range(0, len(deployments), 100):
            answer = self.session.call(
                "ecs",
                "describe_capacity_providers",
                "read the capacity providers",
                capacityProviders=[self.names.of_nim(name) for name in deployments[start : start + 100]],
                include=["TAGS"],
            )
            for item in answer["capacityProviders"]:
                if item["status"] != "ACTIVE":
                    continue
                tags = objects.read_tags(item.get("tags"))
                group = item["autoScalingGroupProvider"]
                spec = {**group, "auto_scaling_group_arn": group["autoScalingGroupArn"]}
                provider = self._tagged("capacity_provider", item["name"], spec, tags)
                managed = tags.get(_deployment.MANAGED_TAG) == "true"
                found.append(dataclasses.replace(provider, managed=managed))
        return found

    def target_groups(self) -> list[Resource]:
        groups = self.session.pages(
            "elbv2",
            "describe_target_groups",
            "read the target groups",
            "TargetGroups",
            PaginationConfig={"PageSize": 400},
        )
        gateway = self.names.gateway_target_group
        return [
            Resource(
                "gateway_target_group" if group["TargetGroupName"] == gateway else "target_group",
                group["TargetGroupName"],
                group,
                facts={"arn": group["TargetGroupArn"]},
            )
            for group in groups
            if group["TargetGroupName"].startswith("bg-")
        ]

    def services(self, names: t.Sequence[str]) -> list[dict[str, t.Any]]:
        """Read services, ten per call as the API allows, in parallel. Deleted ones are left out."""
        chunks = [names[start : start + 10] for start in range(0, len(names), 10)]

        def read(chunk: t.Sequence[str]) -> list[dict[str, t.Any]]:
            answer = self.session.call(
                "ecs",
                "describe_services",
                "read the services",
                ["ClusterNotFoundException"],
                cluster=self.names.cluster,
                services=list(chunk),
                include=["TAGS"],
            )
            return list(answer["services"]) if answer else []

        with ThreadPoolExecutor(max_workers=8) as pool:
            answers = list(pool.map(read, chunks))
        return [service for answer in answers for service in answer if service["status"] != "INACTIVE"]

    def gateway(self, service: dict[str, t.Any]) -> list[Resource]:
        """Read the gateway's service, and from it which task definition is in use."""
        tags = objects.read_tags(service.get("tags"))
        family, _sep, _revision = service["taskDefinition"].rpartition("/")[2].rpartition(":")
        fields = {field: service[field] for field in objects.gateway_service() if field in service}
        content = {"family": family, "balancer": tags.get(objects.BALANCER_TAG)}
        spec = {
            **fields,
            **content,
            "replicas": service["desiredCount"],
            "tags": tags,
            "status": service["status"],
            # A run that was killed may have left copies of an older configuration in service.
            "replaced": not any(item["desiredCount"] for item in service["deployments"][1:]),
        }
        arns = {"arn": service["taskDefinition"]}
        return [
            Resource("gateway_task_definition", objects.GATEWAY, content, facts=arns),
            self._shared("gateway_service", objects.GATEWAY, spec, tags, arn=service["serviceArn"]),
        ]

    def service(self, service: dict[str, t.Any]) -> list[Resource]:
        name, tags = service["serviceName"], objects.read_tags(service.get("tags"))
        family, _sep, _revision = service["taskDefinition"].rpartition("/")[2].rpartition(":")
        groups = [item.get("targetGroupArn", "") for item in service.get("loadBalancers", [])]
        fields = (
            "capacityProviderStrategy",
            "deploymentConfiguration",
            "healthCheckGracePeriodSeconds",
            "enableECSManagedTags",
            "propagateTags",
            "availabilityZoneRebalancing",
        )
        spec = {
            **{field: service[field] for field in fields if field in service},
            "task_family": family,
            "target_group": groups[0].split("/")[1] if groups and groups[0] else None,
            "tags": tags,
            "replicas": service["desiredCount"],
            "status": service["status"],
        }
        managed = tags.get(_deployment.MANAGED_TAG) == "true"
        return [
            Resource(
                "task_definition",
                name,
                {"family": family, "image": tags.get(_deployment.IMAGE_TAG)},
                name,
                {"arn": service["taskDefinition"]},
            ),
            Resource("ecs_service", name, spec, name, {"tags": tags, "arn": service["serviceArn"]}, managed=managed),
        ]

    def _shared(
        self, kind: str, name: str, spec: dict[str, t.Any], tags: t.Mapping[str, str], **facts: t.Any
    ) -> Resource:
        managed = tags.get(_deployment.MANAGED_TAG) == "true"
        return Resource(kind, name, spec, facts={"tags": tags, **facts}, managed=managed)

    def _tagged(
        self, kind: str, name: str, spec: dict[str, t.Any], tags: t.Mapping[str, str], **facts: t.Any
    ) -> Resource:
        return Resource(kind, name, spec, tags.get(_deployment.DEPLOYMENT_TAG), {"tags": tags, **facts})


def _ingress(group: t.Mapping[str, t.Any], names_by_id: t.Mapping[str, str]) -> list[str]:
    """Write a security group's rules as ``"<port> <network or group>"``; anything unexpected shows as it is."""
    rules = []
    for permission in group.get("IpPermissions", []):
        port = str(permission.get("FromPort", "all"))
        if permission.get("FromPort") != permission.get("ToPort"):
            port = f"{port}-{permission.get('ToPort')}"
        rules += [f"{port} {item['CidrIp']}" for item in permission.get("IpRanges", [])]
        rules += [f"{port} {item['CidrIpv6']}" for item in permission.get("Ipv6Ranges", [])]
        rules += [
            f"{port} {names_by_id.get(item['GroupId'], item['GroupId'])}"
            for item in permission.get("UserIdGroupPairs", [])
        ]
    return rules


def _translate_listener(kind: str, name: str, listener: t.Mapping[str, t.Any]) -> Resource:
    spec: dict[str, t.Any] = {"port": listener["Port"], "protocol": listener["Protocol"]}
    groups = [item["TargetGroupArn"] for item in listener.get("DefaultActions", []) if "TargetGroupArn" in item]
    spec["forward"] = groups[0].split("/")[1] if groups else None
    for certificate in listener.get("Certificates", [])[:1]:
        spec["certificate_arn"] = certificate["CertificateArn"]
    facts = {"arn": listener["ListenerArn"], "protocol": listener["Protocol"]}
    return Resource(kind, name, spec, facts=facts)


def _translate_rule(rule: t.Mapping[str, t.Any]) -> Resource:
    """Read a rule by its path. One of another shape is somebody else's: it is left alone and keeps the balancer."""
    paths = [
        value
        for condition in rule.get("Conditions", [])
        if condition["Field"] == "path-pattern"
        for value in condition.get("PathPatternConfig", {}).get("Values", [])
    ]
    facts = {"arn": rule["RuleArn"], "priority": int(rule["Priority"])}
    if len(paths) != 1 or not paths[0].endswith("/*"):
        return Resource("listener_rule", rule["RuleArn"], {}, "foreign", facts, managed=False)
    name = f"nim-{paths[0][1:-2]}"
    targets = [action["TargetGroupArn"] for action in rule.get("Actions", []) if "TargetGroupArn" in action]
    spec = {
        "path": paths[0],
        "rewrite": rule.get("Transforms", []),
        "target_group": targets[0].split("/")[1] if targets else None,
    }
    return Resource("listener_rule", name, spec, name, facts)
