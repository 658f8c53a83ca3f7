# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The changes that AWS is asked for: one function per action and kind of object."""

from __future__ import annotations

import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _deployment
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Wanted, spec_hash
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import Key, Resource, Step
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ConflictError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _aws_objects as objects
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _aws_reasons as reasons
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_network import Network
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_read import Reader

IAM_PATH = "/budgetguard/"
IAM_PROPAGATION_SECONDS = 180
DEPENDENCY_SECONDS = 300
DRAINING_SECONDS = 900
CLUSTER_BUSY_SECONDS = 120


class Writer:
    """Carries out steps on one target.

    ``facts`` holds what only AWS knows of each object, such as ARNs; what is made is added to it.
    """

    def __init__(self, reader: Reader, network: Network, facts: dict[Key, t.Mapping[str, t.Any]]) -> None:
        self.session = reader.session
        self.names = reader.names
        self.settings = reader.settings
        self.reader = reader
        self.network = network
        self.facts = facts

    def apply(self, step: Step) -> None:
        """Carry out one step."""
        getattr(self, f"_{step.action}_{step.kind}")(step)

    def _fact(self, kind: str, name: str, field: str) -> t.Any:
        facts = self.facts.get((kind, name))
        if facts is None or field not in facts:
            raise ConflictError(f"{kind} {name} is gone; somebody else removed it meanwhile")
        return facts[field]

    def _create_iam_role(self, step: Step) -> None:
        answer = self.session.call(
            "iam",
            "create_role",
            f"create the role {step.name}",
            conflicts=["EntityAlreadyExists"],
            RoleName=step.name,
            Path=IAM_PATH,
            AssumeRolePolicyDocument=objects.assume_role_policy(self._role_service(step.name)),
            Tags=objects.upper_tags(objects.shared_tags(self.names)),
        )
        self.facts[("iam_role", step.name)] = {"arn": answer["Role"]["Arn"]}
        self._update_iam_role(step)

    def _update_iam_role(self, step: Step) -> None:
        """Give the role its policy. That it has it is noted on the instance profile, which comes after the roles."""
        policy = objects.role_policy(self.names, self.session.partition, self._role_service(step.name))
        self.session.call(
            "iam",
            "put_role_policy" if "PolicyName" in policy else "attach_role_policy",
            f"give the role {step.name} its policy",
            conflicts=["NoSuchEntity"],
            RoleName=step.name,
            **policy,
        )

    def _role_service(self, name: str) -> str:
        return objects.EXECUTION_SERVICE if name == self.names.execution_role else objects.MACHINE_SERVICE

    def _delete_iam_role(self, step: Step) -> None:
        doing, gone = f"delete the role {step.name}", ["NoSuchEntity"]
        policy = objects.role_policy(self.names, self.session.partition, self._role_service(step.name))
        policy.pop("PolicyDocument", None)
        operation = "delete_role_policy" if "PolicyName" in policy else "detach_role_policy"
        self.session.call("iam", operation, doing, gone, RoleName=step.name, **policy)
        self.session.call("iam", "delete_role", doing, gone, RoleName=step.name)

    def _create_instance_profile(self, step: Step) -> None:
        self.session.call(
            "iam",
            "create_instance_profile",
            f"create the instance profile {step.name}",
            conflicts=["EntityAlreadyExists"],
            InstanceProfileName=step.name,
            Path=IAM_PATH,
            Tags=objects.upper_tags({**objects.shared_tags(self.names), **self._policies_mark(step)}),
        )
        self._add_role(step)

    def _update_instance_profile(self, step: Step) -> None:
        if step.changes_field("roles"):
            self._add_role(step)
        if step.changes_field("policies"):
            self.session.call(
                "iam",
                "tag_instance_profile",
                f"tag the instance profile {step.name}",
                conflicts=["NoSuchEntity"],
                InstanceProfileName=step.name,
                Tags=objects.upper_tags(self._policies_mark(step)),
            )

    def _add_role(self, step: Step) -> None:
        self.session.call(
            "iam",
            "add_role_to_instance_profile",
            f"put the role into the instance profile {step.name}",
            ["LimitExceeded"],
            conflicts=["NoSuchEntity"],
            InstanceProfileName=step.name,
            RoleName=self.names.instance_role,
        )

    @staticmethod
    def _policies_mark(step: Step) -> dict[str, str]:
        return {_deployment.HASH_TAG: t.cast(Resource, step.want).spec["policies"]}

    def _delete_instance_profile(self, step: Step) -> None:
        doing, gone = f"delete the instance profile {step.name}", ["NoSuchEntity"]
        self.session.call(
            "iam",
            "remove_role_from_instance_profile",
            doing,
            gone,
            InstanceProfileName=step.name,
            RoleName=self.names.instance_role,
        )
        self.session.call("iam", "delete_instance_profile", doing, gone, InstanceProfileName=step.name)

    def _create_security_group(self, step: Step) -> None:
        answer = self.session.call(
            "ec2",
            "create_security_group",
            f"create the security group {step.name}",
            conflicts=["InvalidGroup.Duplicate"],
            GroupName=step.name,
            Description="NIM endpoints, made by budgetguard.techops",
            VpcId=self.network.vpc_id(),
            TagSpecifications=[
                {
                    "ResourceType": "security-group",
                    "Tags": objects.upper_tags({**objects.shared_tags(self.names), "Name": step.name}),
                }
            ],
        )
        self.facts[("security_group", step.name)] = {"id": answer["GroupId"]}
        self._authorize(step.name, t.cast(Resource, step.want).spec["ingress"])

    def _update_security_group(self, step: Step) -> None:
        """Let the new networks in before the old ones go, so that no studio is cut off in between."""
        want, have = t.cast(Resource, step.want).spec["ingress"], t.cast(Resource, step.have).spec["ingress"]
        self._authorize(step.name, [rule for rule in want if rule not in have])
        old = [rule for rule in have if rule not in want]
        if old:
            self.session.call(
                "ec2",
                "revoke_security_group_ingress",
                f"remove old rules from the security group {step.name}",
                ["InvalidPermission.NotFound"],
                GroupId=self._fact("security_group", step.name, "id"),
                IpPermissions=[self._permission(rule) for rule in old],
            )

    def _authorize(self, name: str, rules: t.Sequence[str]) -> None:
        if rules:
            self.session.call(
                "ec2",
                "authorize_security_group_ingress",
                f"add rules to the security group {name}",
                conflicts=["InvalidPermission.Duplicate", "InvalidGroup.NotFound"],
                GroupId=self._fact("security_group", name, "id"),
                IpPermissions=[self._permission(rule) for rule in rules],
            )

    def _permission(self, rule: str) -> dict[str, t.Any]:
        """Write ``"443 10.0.0.0/8"`` or ``"8000 <security group>"`` as EC2 wants it."""
        port, source = rule.split(" ", 1)
        permission: dict[str, t.Any] = {"IpProtocol": "tcp", "FromPort": int(port), "ToPort": int(port)}
        if ":" in source:
            permission["Ipv6Ranges"] = [{"CidrIpv6": source}]
        elif "/" in source:
            permission["IpRanges"] = [{"CidrIp": source}]
        else:
            group = source if source.startswith("sg-") else self._fact("security_group", source, "id")
            permission["UserIdGroupPairs"] = [{"GroupId": group}]
        return permission

    def _create_security_group_ingress(self, step: Step) -> None:
        self._authorize(step.name, t.cast(Resource, step.want).spec["ingress"])

    _update_security_group_ingress = _update_security_group

    def _delete_security_group_ingress(self, step: Step) -> None:
        """Take the rules away first: a group that another one names cannot be deleted."""
        self.session.call(
            "ec2",
            "revoke_security_group_ingress",
            f"remove the rules from the security group {step.name}",
            ["InvalidPermission.NotFound", "InvalidGroup.NotFound"],
            GroupId=self._fact("security_group", step.name, "id"),
            IpPermissions=[self._permission(rule) for rule in t.cast(Resource, step.have).spec["ingress"]],
        )

    def _delete_security_group(self, step: Step) -> None:
        self.session.call_until(
            DEPENDENCY_SECONDS,
            "ec2",
            "delete_security_group",
            f"delete the security group {step.name}",
            passing=["DependencyViolation"],
            missing=["InvalidGroup.NotFound"],
            GroupId=self._fact("security_group", step.name, "id"),
        )

    def _create_secret(self, step: Step) -> None:
        value, tags = self._secret_value_and_tags(step)
        answer = self.session.call(
            "secretsmanager",
            "create_secret",
            f"create the secret {step.name}",
            conflicts=["ResourceExistsException", "InvalidRequestException"],
            Name=step.name,
            Description="NGC registry login and model keys of the NIMs",
            SecretString=value,
            Tags=objects.upper_tags({**objects.shared_tags(self.names), **tags}),
        )
        self.facts[("secret", step.name)] = {"arn": answer["ARN"]}

    def _update_secret(self, step: Step) -> None:
        doing = f"update the secret {step.name}"
        if step.changes_field("usable"):
            self.session.call("secretsmanager", "restore_secret", doing, SecretId=step.name)
        if not (step.changes_field("content") or step.changes_field("fields")):
            return
        value, tags = self._secret_value_and_tags(step)
        self.session.call("secretsmanager", "put_secret_value", doing, SecretId=step.name, SecretString=value)
        self.session.call("secretsmanager", "tag_resource", doing, SecretId=step.name, Tags=objects.upper_tags(tags))

    def _secret_value_and_tags(self, step: Step) -> tuple[str, dict[str, str]]:
        spec = t.cast(Resource, step.want).spec
        value = objects.secret_value(self.settings.ngc_api_key or "", self.settings.hf_token)
        return value, {_deployment.HASH_TAG: spec["content"], "budgetguard:fields": " ".join(spec["fields"])}

    def _delete_secret(self, step: Step) -> None:
        self.session.call(
            "secretsmanager",
            "delete_secret",
            f"delete the secret {step.name}",
            ["ResourceNotFoundException", "InvalidRequestException"],
            SecretId=step.name,
            RecoveryWindowInDays=7,
        )

    def _create_log_group(self, step: Step) -> None:
        self.session.call(
            "logs",
            "create_log_group",
            f"create the log group {step.name}",
            conflicts=["ResourceAlreadyExistsException"],
            logGroupName=step.name,
            tags=objects.shared_tags(self.names),
        )
        self._update_log_group(step)

    def _update_log_group(self, step: Step) -> None:
        self.session.call(
            "logs",
            "put_retention_policy",
            f"set how long the log group {step.name} is kept",
            conflicts=["ResourceNotFoundException"],
            logGroupName=step.name,
            retentionInDays=self.settings.log_retention_days,
        )

    def _delete_log_group(self, step: Step) -> None:
        self.session.call(
            "logs",
            "delete_log_group",
            f"delete the log group {step.name}",
            ["ResourceNotFoundException"],
            logGroupName=step.name,
        )

    def _create_ecs_cluster(self, step: Step) -> None:
        doing, unready = f"create the cluster {step.name}", ["Unable to assume the service linked role"]
        request: dict[str, t.Any] = {
            "clusterName": step.name,
            "tags": objects.lower_tags(objects.shared_tags(self.names)),
        }
        try:
            answer = self.session.call("ecs", "create_cluster", doing, conflicts=unready, **request)
        except ConflictError:
            self.session.call(
                "iam",
                "create_service_linked_role",
                "create the service-linked role of ECS",
                ["has been taken in this account", "InvalidInput"],
                AWSServiceName="ecs.amazonaws.com",
            )
            answer = self.session.call_until(
                IAM_PROPAGATION_SECONDS, "ecs", "create_cluster", doing, passing=unready, **request
            )
        self.facts[("ecs_cluster", step.name)] = {"arn": answer["cluster"]["clusterArn"], "members": []}

    _update_ecs_cluster = _create_ecs_cluster

    def _delete_ecs_cluster(self, step: Step) -> None:
        self.session.call_until(
            CLUSTER_BUSY_SECONDS,
            "ecs",
            "delete_cluster",
            f"delete the cluster {step.name}",
            passing=[
                "ClusterContainsContainerInstancesException",
                "ClusterContainsTasksException",
                "UpdateInProgressException",
            ],
            missing=["ClusterNotFoundException"],
            cluster=step.name,
        )

    def _create_load_balancer(self, step: Step) -> None:
        spec = t.cast(Resource, step.want).spec
        answer = self.session.call(
            "elbv2",
            "create_load_balancer",
            f"create the load balancer {step.name}",
            conflicts=["DuplicateLoadBalancerName"],
            Name=step.name,
            Type="application",
            Scheme=spec["scheme"],
            Subnets=self.network.one_subnet_per_zone(),
            SecurityGroups=[self._fact("security_group", self.names.lb_group, "id")],
            Tags=objects.upper_tags(objects.shared_tags(self.names)),
        )["LoadBalancers"][0]
        self.facts[("load_balancer", step.name)] = {
            "arn": answer["LoadBalancerArn"],
            "dns": answer["DNSName"],
            "vpc_id": answer["VpcId"],
        }
        self.session.call(
            "elbv2",
            "modify_load_balancer_attributes",
            f"set the idle timeout of the load balancer {step.name}",
            LoadBalancerArn=answer["LoadBalancerArn"],
            Attributes=[{"Key": "idle_timeout.timeout_seconds", "Value": str(self.settings.idle_timeout)}],
        )

    def _delete_load_balancer(self, step: Step) -> None:
        arn = self._fact("load_balancer", step.name, "arn")
        doing = f"delete the load balancer {step.name}"
        self.session.call("elbv2", "delete_load_balancer", doing, ["LoadBalancerNotFound"], LoadBalancerArn=arn)

    def _create_listener(self, step: Step) -> None:
        spec = t.cast(Resource, step.want).spec
        answer = self.session.call(
            "elbv2",
            "create_listener",
            f"create the listener on port {spec['port']}",
            conflicts=["DuplicateListener", "LoadBalancerNotFound"],
            LoadBalancerArn=self._fact("load_balancer", self.names.load_balancer, "arn"),
            **self._listener_request(spec),
        )["Listeners"][0]
        self.facts[(step.kind, step.name)] = {"arn": answer["ListenerArn"], "protocol": spec["protocol"]}

    _create_inner_listener = _create_listener

    def _update_listener(self, step: Step) -> None:
        spec, arn = t.cast(Resource, step.want).spec, self._fact(step.kind, step.name, "arn")
        self.session.call(
            "elbv2",
            "modify_listener",
            f"change the listener to port {spec['port']}",
            conflicts=["ListenerNotFound"],
            ListenerArn=arn,
            **self._listener_request(spec),
        )
        self.facts[(step.kind, step.name)] = {"arn": arn, "protocol": spec["protocol"]}

    _update_inner_listener = _update_listener

    def _listener_request(self, spec: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        request: dict[str, t.Any] = {"Port": spec["port"], "Protocol": spec["protocol"]}
        request["DefaultActions"] = [_NOT_FOUND_ACTION]
        if spec.get("forward"):
            arn = self._fact("gateway_target_group", spec["forward"], "arn")
            request["DefaultActions"] = [{"Type": "forward", "TargetGroupArn": arn}]
        if spec.get("certificate_arn"):
            request["Certificates"] = [{"CertificateArn": spec["certificate_arn"]}]
            request["SslPolicy"] = "ELBSecurityPolicy-TLS13-1-2-2021-06"
        return request

    def _rules_listener(self) -> str:
        """Return the listener that has the rules: the inner one where there is a gateway."""
        if self.settings.gateway is not None:
            return str(self._fact("inner_listener", self.names.inner_listener, "arn"))
        return str(self._fact("listener", self.names.load_balancer, "arn"))

    def _delete_listener(self, step: Step) -> None:
        self.session.call(
            "elbv2",
            "delete_listener",
            "delete the listener",
            ["ListenerNotFound"],
            ListenerArn=self._fact(step.kind, step.name, "arn"),
        )

    _delete_inner_listener = _delete_listener

    def _template_data(self, item: Wanted) -> tuple[dict[str, t.Any], dict[str, str]]:
        """Return the launch template's content and the tags by which the next run knows it."""
        group_id = self._fact("security_group", self.names.machine_group, "id")
        tags = objects.nim_tags(self.names, item)
        pure = objects.launch_template(self.names, item, "", self.settings.image_id, tags)
        marks = {
            **tags,
            _deployment.HASH_TAG: spec_hash(pure),
            "budgetguard:security-group": group_id,
            "budgetguard:instance-type": item.machine_name,
        }
        return objects.launch_template(self.names, item, group_id, self.settings.image_id, tags), marks

    def _create_launch_template(self, step: Step) -> None:
        data, tags = self._template_data(_wanted(step))
        self.session.call(
            "ec2",
            "create_launch_template",
            f"create the launch template {step.name}",
            conflicts=["InvalidLaunchTemplateName.AlreadyExistsException"],
            LaunchTemplateName=step.name,
            LaunchTemplateData=data,
            TagSpecifications=[{"ResourceType": "launch-template", "Tags": objects.upper_tags(tags)}],
        )

    def _update_launch_template(self, step: Step) -> None:
        """Add a version, which the group takes for its next machine; the marks come last."""
        data, tags = self._template_data(_wanted(step))
        answer = self.session.call(
            "ec2",
            "create_launch_template_version",
            f"add a version to the launch template {step.name}",
            conflicts=["InvalidLaunchTemplateName.NotFoundException"],
            LaunchTemplateName=step.name,
            LaunchTemplateData=data,
        )
        self.session.call(
            "ec2",
            "create_tags",
            f"tag the launch template {step.name}",
            Resources=[answer["LaunchTemplateVersion"]["LaunchTemplateId"]],
            Tags=objects.upper_tags(tags),
        )

    def _delete_launch_template(self, step: Step) -> None:
        self.session.call(
            "ec2",
            "delete_launch_template",
            f"delete the launch template {step.name}",
            ["InvalidLaunchTemplateName.NotFoundException", "InvalidLaunchTemplateId.NotFound"],
            LaunchTemplateName=step.name,
        )

    def _create_auto_scaling_group(self, step: Step) -> None:
        item = _wanted(step)
        tags = {**objects.nim_tags(self.names, item), "AmazonECSManaged": "true"}
        self.session.call_until(
            IAM_PROPAGATION_SECONDS,
            "autoscaling",
            "create_auto_scaling_group",
            f"create the Auto Scaling group {step.name}",
            passing=["Invalid IAM Instance Profile"],
            conflicts=["AlreadyExists"],
            AutoScalingGroupName=step.name,
            MinSize=0,
            MaxSize=item.replicas,
            DesiredCapacity=0,
            LaunchTemplate={"LaunchTemplateName": step.name, "Version": "$Latest"},
            VPCZoneIdentifier=self.network.subnets_offering(item),
            NewInstancesProtectedFromScaleIn=False,
            Tags=[
                {
                    "Key": key,
                    "Value": value,
                    "PropagateAtLaunch": True,
                    "ResourceId": step.name,
                    "ResourceType": "auto-scaling-group",
                }
                for key, value in sorted(tags.items())
            ],
        )

    def _update_auto_scaling_group(self, step: Step) -> None:
        """Change sizes and template; the desired capacity belongs to ECS and is never touched."""
        request: dict[str, t.Any] = {}
        if step.changes_field("foreign_subnets"):
            request["VPCZoneIdentifier"] = self.network.subnets_offering(_wanted(step))
        self.session.call(
            "autoscaling",
            "update_auto_scaling_group",
            f"update the Auto Scaling group {step.name}",
            conflicts=["not found", "ScalingActivityInProgress"],
            AutoScalingGroupName=step.name,
            MinSize=0,
            MaxSize=_wanted(step).replicas,
            LaunchTemplate={"LaunchTemplateName": step.name, "Version": "$Latest"},
            **request,
        )

    def _delete_auto_scaling_group(self, step: Step) -> None:
        self.session.call_until(
            DEPENDENCY_SECONDS,
            "autoscaling",
            "delete_auto_scaling_group",
            f"delete the Auto Scaling group {step.name}",
            passing=["ScalingActivityInProgress", "ResourceInUse"],
            missing=["AutoScalingGroup name not found", "not found - AutoScalingGroup"],
            AutoScalingGroupName=step.name,
            ForceDelete=True,
        )

    def _create_capacity_provider(self, step: Step) -> None:
        item = _wanted(step)
        self.session.call_until(
            CLUSTER_BUSY_SECONDS,
            "ecs",
            "create_capacity_provider",
            f"create the capacity provider {step.name}",
            passing=["UpdateInProgressException"],
            conflicts=["already exists"],
            name=step.name,
            # The API takes the group's name as well as its ARN, which saves a call per NIM.
            autoScalingGroupProvider={"autoScalingGroupArn": step.name, **objects.capacity_provider(item)},
            tags=objects.lower_tags(objects.nim_tags(self.names, item)),
        )

    def _update_capacity_provider(self, step: Step) -> None:
        self.session.call_until(
            CLUSTER_BUSY_SECONDS,
            "ecs",
            "update_capacity_provider",
            f"update the capacity provider {step.name}",
            passing=["UpdateInProgressException"],
            name=step.name,
            autoScalingGroupProvider=objects.capacity_provider(_wanted(step)),
        )

    def _delete_capacity_provider(self, step: Step) -> None:
        """Delete the provider and wait until it is gone: ECS accepts the call at once and says later if it failed."""
        self.session.call_until(
            CLUSTER_BUSY_SECONDS,
            "ecs",
            "delete_capacity_provider",
            f"delete the capacity provider {step.name}",
            passing=["UpdateInProgressException", "ResourceInUseException"],
            missing=["does not exist", "was not found"],
            conflicts=["is in use"],
            capacityProvider=step.name,
        )
        reasons.wait_until(
            lambda: self._is_deleted(step.name), CLUSTER_BUSY_SECONDS, f"the capacity provider {step.name} to go"
        )

    def _is_deleted(self, capacity_provider: str) -> bool:
        found = self.session.call(
            "ecs",
            "describe_capacity_providers",
            f"read the capacity provider {capacity_provider}",
            capacityProviders=[capacity_provider],
        )["capacityProviders"]
        alive = [item for item in found if item["status"] == "ACTIVE"]
        if alive and alive[0].get("updateStatus") == "DELETE_FAILED":
            why = alive[0].get("updateStatusReason", "no reason given")
            raise ConflictError(f"cannot delete the capacity provider {capacity_provider}: {why}")
        return not alive

    def _create_task_definition(self, step: Step) -> None:
        item = _wanted(step)
        body = objects.task_definition(
            self.names,
            item,
            self._fact("secret", self.names.secret, "arn"),
            self._fact("iam_role", self.names.execution_role, "arn"),
        )
        self._register_task_definition(step, body, objects.nim_tags(self.names, item))

    def _register_task_definition(self, step: Step, body: t.Mapping[str, t.Any], tags: t.Mapping[str, str]) -> None:
        answer = self.session.call_until(
            CLUSTER_BUSY_SECONDS,
            "ecs",
            "register_task_definition",
            f"register the task definition of {step.name}",
            passing=["Too many concurrent attempts"],
            family=t.cast(Resource, step.want).spec["family"],
            tags=objects.lower_tags(tags),
            **body,
        )
        self.facts[(step.kind, step.name)] = {"arn": answer["taskDefinition"]["taskDefinitionArn"]}

    def _update_task_definition(self, step: Step) -> None:
        """Register the new content, unless a run that was killed has done so already."""
        family = t.cast(Resource, step.want).spec["family"]
        if t.cast(Resource, step.have).spec["family"] is None:
            answer = self.session.call(
                "ecs",
                "describe_task_definition",
                f"read the task definition of {step.name}",
                ["Unable to describe task definition", "ClientException"],
                taskDefinition=family,
            )
            if answer is not None and answer["taskDefinition"]["status"] == "ACTIVE":
                self.facts[("task_definition", step.name)] = {"arn": answer["taskDefinition"]["taskDefinitionArn"]}
                return
        self._create_task_definition(step)

    def _delete_task_definition(self, step: Step) -> None:
        self._deregister_task_definitions(step, self.names.task_family_prefix(step.name))

    def _deregister_task_definitions(self, step: Step, prefix: str) -> None:
        """Deregister all revisions, also those of earlier contents; they cost nothing but would pile up."""
        doing = f"deregister the task definitions of {step.name}"
        families = self.session.pages(
            "ecs",
            "list_task_definition_families",
            doing,
            "families",
            familyPrefix=prefix,
            status="ACTIVE",
        )
        for family in families:
            if len(family) != len(prefix) + 8:  # another NIM whose name merely starts like this one's
                continue
            for arn in self.session.pages(
                "ecs", "list_task_definitions", doing, "taskDefinitionArns", familyPrefix=family
            ):
                self.session.call("ecs", "deregister_task_definition", doing, taskDefinition=arn)

    def _create_target_group(self, step: Step) -> None:
        self._make_target_group(
            step,
            objects.nim_tags(self.names, _wanted(step)),
            drain_seconds=30,
            Port=objects.CONTAINER_PORT,
            TargetType="instance",
            **objects.target_group(),
        )

    def _make_target_group(self, step: Step, tags: dict[str, str], drain_seconds: int, **body: t.Any) -> None:
        answer = self.session.call(
            "elbv2",
            "create_target_group",
            f"create the target group {step.name}",
            conflicts=["DuplicateTargetGroupName"],
            Name=step.name,
            Protocol="HTTP",
            VpcId=self._fact("load_balancer", self.names.load_balancer, "vpc_id"),
            Tags=objects.upper_tags(tags),
            **body,
        )["TargetGroups"][0]
        self.facts[(step.kind, step.name)] = {"arn": answer["TargetGroupArn"]}
        self._drain_for(step.kind, step.name, drain_seconds)

    def _drain_for(self, kind: str, group: str, seconds: int) -> None:
        """Say for how long a copy that goes may still work on its requests."""
        self.session.call(
            "elbv2",
            "modify_target_group_attributes",
            f"set how long {group} drains",
            ["TargetGroupNotFound"],
            TargetGroupArn=self._fact(kind, group, "arn"),
            Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": str(seconds)}],
        )

    def _update_target_group(self, step: Step) -> None:
        self.session.call(
            "elbv2",
            "modify_target_group",
            f"update the target group {step.name}",
            conflicts=["TargetGroupNotFound"],
            TargetGroupArn=self._fact(step.kind, step.name, "arn"),
            **t.cast(Resource, step.want).spec,
        )

    def _delete_target_group(self, step: Step) -> None:
        self.session.call_until(
            CLUSTER_BUSY_SECONDS,
            "elbv2",
            "delete_target_group",
            f"delete the target group {step.name}",
            passing=["ResourceInUse"],
            missing=["TargetGroupNotFound"],
            TargetGroupArn=self._fact(step.kind, step.name, "arn"),
        )

    def _rule_body(self, step: Step) -> dict[str, t.Any]:
        group = self.names.target_group(step.name)
        return {
            "Conditions": objects.rule_conditions(step.name),
            "Transforms": objects.rule_transforms(step.name),
            "Actions": [{"Type": "forward", "TargetGroupArn": self._fact("target_group", group, "arn")}],
        }

    def _create_listener_rule(self, step: Step) -> None:
        want = t.cast(Resource, step.want)
        answer = self.session.call(
            "elbv2",
            "create_rule",
            f"route {want.spec['path']} to {step.name}",
            conflicts=["PriorityInUse", "ListenerNotFound", "TargetGroupNotFound"],
            ListenerArn=self._rules_listener(),
            Priority=want.facts["priority"],
            Tags=objects.upper_tags(objects.nim_tags(self.names, _wanted(step))),
            **self._rule_body(step),
        )["Rules"][0]
        self.facts[("listener_rule", step.name)] = {"arn": answer["RuleArn"]}

    def _update_listener_rule(self, step: Step) -> None:
        self.session.call(
            "elbv2",
            "modify_rule",
            f"change the route to {step.name}",
            conflicts=["RuleNotFound"],
            RuleArn=self._fact("listener_rule", step.name, "arn"),
            **self._rule_body(step),
        )

    def _delete_listener_rule(self, step: Step) -> None:
        self.session.call(
            "elbv2",
            "delete_rule",
            f"remove the route to {step.name}",
            ["RuleNotFound"],
            RuleArn=self._fact("listener_rule", step.name, "arn"),
        )

    def apply_batch(self, steps: t.Sequence[Step]) -> None:
        """Add or remove capacity providers of the cluster."""
        added = {step.name for step in steps if step.action != "delete"}
        self._change_members(added, {step.name for step in steps} - added)

    def _change_members(self, added: t.Collection[str], removed: t.Collection[str] = ()) -> None:
        """Change the cluster's list of capacity providers.

        PutClusterCapacityProviders replaces the whole list, so it is sent what is there at that moment with the
        change. While the cluster is busy, the list is read again before each try.
        """

        def change() -> bool:
            members = set(self._members())
            wanted = (members | set(added)) - set(removed)
            if wanted == members:
                return True
            answer = self.session.call(
                "ecs",
                "put_cluster_capacity_providers",
                f"set the capacity providers of the cluster {self.names.cluster}",
                ["UpdateInProgressException"],
                conflicts=["ResourceInUseException", "InvalidParameterException"],
                cluster=self.names.cluster,
                capacityProviders=sorted(wanted),
                defaultCapacityProviderStrategy=[],
            )
            return answer is not None

        reasons.wait_until(change, CLUSTER_BUSY_SECONDS, f"the cluster {self.names.cluster} to take a change")

    def verify_batch(self, steps: t.Sequence[Step]) -> None:
        """Look whether two runs have overwritten each other's change of the cluster's list.

        If ours is lost, that is a conflict. If ours has pushed somebody else's NIM out, it is put back here, because
        the other run may be over.
        """
        members = set(self._members())
        lost = sorted({step.name for step in steps if step.action != "delete"} - members)
        if lost:
            raise ConflictError(f"another run took {', '.join(lost)} out of the cluster {self.names.cluster}")
        ours = {step.deployment for step in steps}
        others = [
            item.deployment
            for item in self.reader.launch_templates()
            if item.deployment and item.deployment not in ours and item.name not in members
        ]
        pushed_out = [item.name for item in self.reader.capacity_providers(sorted(others))]
        if pushed_out:
            self._change_members(pushed_out)

    def _members(self) -> list[str]:
        cluster = self.session.call(
            "ecs", "describe_clusters", f"read the cluster {self.names.cluster}", clusters=[self.names.cluster]
        )["clusters"]
        return list(cluster[0].get("capacityProviders", [])) if cluster else []

    def _create_ecs_service(self, step: Step) -> None:
        item, want = _wanted(step), t.cast(Resource, step.want)
        self.session.call_until(
            DRAINING_SECONDS,
            "ecs",
            "create_service",
            f"create the service {step.name}",
            passing=["is still Draining"],
            conflicts=[
                "not idempotent",
                "is not associated with the cluster",
                "TargetGroupNotFound",
                "ClusterNotFoundException",
            ],
            cluster=self.names.cluster,
            serviceName=step.name,
            taskDefinition=self._fact("task_definition", step.name, "arn"),
            desiredCount=want.spec["replicas"],
            loadBalancers=[self._service_target(step)],
            tags=objects.lower_tags(want.spec["tags"]),
            **objects.service(self.names, item),
        )

    def _service_target(self, step: Step) -> dict[str, t.Any]:
        group = self.names.target_group(step.name)
        return {
            "targetGroupArn": self._fact("target_group", group, "arn"),
            "containerName": objects.CONTAINER,
            "containerPort": objects.CONTAINER_PORT,
        }

    def _update_ecs_service(self, step: Step) -> None:
        """Send what differs; tags go by TagResource because UpdateService has none."""
        want = t.cast(Resource, step.want).spec
        request: dict[str, t.Any] = {}
        if step.changes_field("replicas"):
            request["desiredCount"] = want["replicas"]
        if step.changes_field("task_family"):
            request["taskDefinition"] = self._fact("task_definition", step.name, "arn")
        if step.changes_field("target_group"):
            request["loadBalancers"] = [self._service_target(step)]
        if "task_family" in want:
            fields = objects.service(self.names, _wanted(step))
            request.update({field: fields[field] for field in fields if step.changes_field(field)})
        if "capacityProviderStrategy" in request:
            request["forceNewDeployment"] = True
        if request:
            self.session.call(
                "ecs",
                "update_service",
                f"update the service {step.name}",
                conflicts=[
                    "ServiceNotFoundException",
                    "ServiceNotActiveException",
                    "is not associated with the cluster",
                ],
                cluster=self.names.cluster,
                service=step.name,
                **request,
            )
        if step.changes_field("tags"):
            self.session.call(
                "ecs",
                "tag_resource",
                f"tag the service {step.name}",
                resourceArn=self._fact("ecs_service", step.name, "arn"),
                tags=objects.lower_tags(want["tags"]),
            )

    def _delete_ecs_service(self, step: Step) -> None:
        """Delete the service and wait until its task is gone, because capacity in use cannot be removed."""
        doing = f"delete the service {step.name}"
        gone = ["ServiceNotFoundException", "ServiceNotActiveException", "ClusterNotFoundException"]
        cluster = self.names.cluster
        if t.cast(Resource, step.have).spec["replicas"]:
            self.session.call("ecs", "update_service", doing, gone, cluster=cluster, service=step.name, desiredCount=0)
        self.session.call("ecs", "delete_service", doing, gone, cluster=cluster, service=step.name, force=True)
        reasons.wait_until(
            lambda: not self.reader.services([step.name]), DRAINING_SECONDS, f"the service {step.name} to drain"
        )


_NOT_FOUND_ACTION = {
    "Type": "fixed-response",
    "FixedResponseConfig": {
        "StatusCode": "404",
        "ContentType": "text/plain",
        "MessageBody": "No NIM has this path.",
    },
}


def _wanted(step: Step) -> Wanted:
    """Return the NIM that a planned creation or update is for."""
    return t.cast(Wanted, t.cast(Resource, step.want).facts["wanted"])
