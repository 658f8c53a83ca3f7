# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""NIMs on AWS: ECS on EC2 with one Auto Scaling group and capacity provider per NIM, behind one load balancer.

The service's ``desiredCount`` is the only switch. ECS brings the machine up and takes it away again.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.budgetguard.techops.plugins.module_utils import _deployment
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Status, Wanted, spec_hash
from ansible_collections.budgetguard.techops.plugins.module_utils._exposure import check_exposure
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import (
    UNKNOWN,
    Key,
    Kind,
    Resource,
    Step,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import (
    ConflictError,
    Provider,
    ProviderError,
    Snapshot,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import (
    _aws_objects as objects,
    _aws_reasons as reasons,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_session import AwsSession

IAM_PATH = "/budgetguard/"
EXECUTION_POLICY_NAME = "nim-execution"
IAM_PROPAGATION_SECONDS = 180
DEPENDENCY_SECONDS = 300
DRAINING_SECONDS = 900
CLUSTER_BUSY_SECONDS = 120

EXECUTION_ROLE, INSTANCE_ROLE = "ecs-tasks.amazonaws.com", "ec2.amazonaws.com"


@dataclasses.dataclass(frozen=True)
class AwsSettings:
    """How a target is to be set up; connection options are separate."""

    region: str
    cluster: str = "budgetguard"
    scheme: str = "internal"
    allowed_cidrs: tuple[str, ...] = ()
    allow_public: bool = False
    allow_plain_http: bool = False
    certificate_arn: str | None = None
    endpoint_host: str | None = None
    vpc_id: str | None = None
    subnet_ids: tuple[str, ...] = ()
    ami_id: str | None = None
    ngc_api_key: str | None = None
    hf_token: str | None = None
    log_retention_days: int = 14
    idle_timeout: int = 900

    @classmethod
    def from_options(cls, options: t.Mapping[str, t.Any]) -> AwsSettings:
        """Take the settings out of a module's options; what is not set keeps its default."""
        fields = {field.name for field in dataclasses.fields(cls)}
        given = {key: value for key, value in options.items() if key in fields and value is not None}
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in given.items()})

    @property
    def image_id(self) -> str:
        """The pinned image, or the reference that EC2 resolves to AWS's newest GPU image at each launch."""
        return self.ami_id or f"resolve:ssm:{objects.AMI_PARAMETER}"


class Aws(Provider):
    """One account and region."""

    kinds = (
        Kind("iam_role"),
        Kind("instance_profile"),
        Kind("security_group"),
        Kind("secret"),
        Kind("log_group"),
        Kind("ecs_cluster", adoptable=True),
        Kind("load_balancer", immutable=frozenset({"scheme"})),
        Kind("listener"),
        Kind("launch_template", per_nim=True),
        Kind("auto_scaling_group", per_nim=True),
        Kind("capacity_provider", per_nim=True, immutable=frozenset({"auto_scaling_group_arn"})),
        Kind("task_definition", per_nim=True),
        Kind("target_group", per_nim=True),
        Kind("listener_rule", per_nim=True),
        Kind("cluster_capacity_provider", per_nim=True, batch=True),
        Kind("ecs_service", per_nim=True),
    )

    def __init__(self, session: AwsSession, settings: AwsSettings) -> None:
        self.session = session
        self.settings = settings
        self.names = objects.Names(settings.cluster, settings.region)
        self._facts: dict[Key, t.Mapping[str, t.Any]] = {}
        self._subnets: list[dict[str, t.Any]] | None = None
        self._offered: dict[str, set[str]] = {}

    @classmethod
    def connect(cls, options: t.Mapping[str, t.Any]) -> Aws:
        """Open a session with a module's options."""
        return cls(AwsSession(options), AwsSettings.from_options(options))

    # ---- translate: NIM -> objects -------------------------------------------------------------------------------

    def resources(self, wanted: t.Sequence[Wanted], seen: Snapshot) -> list[Resource]:
        """Return every object that the NIMs need, the shared ones included."""
        cidrs = check_exposure(
            self.settings.scheme,
            self.settings.allowed_cidrs,
            tls=self.settings.certificate_arn is not None,
            allow_public=self.settings.allow_public,
            allow_plain_http=self.settings.allow_plain_http,
        )
        taken = {
            item.facts["priority"]: item.deployment
            for item in seen.resources.values()
            if item.kind == "listener_rule"
        }
        found = self._shared_resources(cidrs, seen)
        for item in sorted(wanted, key=lambda item: item.name):
            found += self._nim_resources(item, seen, taken)
        return found

    def _shared_resources(self, cidrs: t.Sequence[str], seen: Snapshot) -> list[Resource]:
        names, settings = self.names, self.settings
        port = 443 if settings.certificate_arn else 80
        listener = {"port": port, "protocol": "HTTPS" if settings.certificate_arn else "HTTP"}
        if settings.certificate_arn:
            listener["certificate_arn"] = settings.certificate_arn
        return [
            Resource("iam_role", names.execution_role, {"policies": self._role_hash(EXECUTION_ROLE)}),
            Resource("iam_role", names.instance_role, {"policies": self._role_hash(INSTANCE_ROLE)}),
            Resource("instance_profile", names.instance_role, {"roles": [names.instance_role]}),
            Resource("security_group", names.lb_group, {"ingress": sorted(f"{port} {cidr}" for cidr in cidrs)}),
            Resource(
                "security_group", names.machine_group, {"ingress": [f"{objects.CONTAINER_PORT} {names.lb_group}"]}
            ),
            self._secret_resource(seen),
            Resource("log_group", names.log_group, {"retention_days": settings.log_retention_days}),
            Resource("ecs_cluster", names.cluster, {"status": "ACTIVE"}),
            Resource(
                "load_balancer",
                names.load_balancer,
                {"scheme": "internal" if settings.scheme == "internal" else "internet-facing"},
            ),
            Resource("listener", names.load_balancer, listener),
        ]

    def _secret_resource(self, seen: Snapshot) -> Resource:
        """Describe the secret by a one-way mark. Without a key what is there is left alone."""
        key = self.settings.ngc_api_key
        if key is None:
            return Resource("secret", self.names.secret, {"usable": True})
        value = objects.secret_value(key, self.settings.hf_token)
        fields = sorted(json.loads(value))
        spec = {"usable": True, "content": objects.secret_fingerprint(self.names, value), "fields": fields}
        return Resource("secret", self.names.secret, spec)

    def _role_hash(self, service: str) -> str:
        return spec_hash(self._role_policy(service))

    def _role_policy(self, service: str) -> dict[str, str]:
        """Return what a role may do, as the arguments of the one call that says so."""
        if service == EXECUTION_ROLE:
            document = objects.execution_policy(self.names, self.session.partition)
            return {"PolicyName": EXECUTION_POLICY_NAME, "PolicyDocument": document}
        return {"PolicyArn": f"arn:{self.session.partition}:iam::aws:policy/{objects.INSTANCE_POLICY}"}

    def _nim_resources(self, item: Wanted, seen: Snapshot, taken: dict[int, str | None]) -> list[Resource]:
        names = self.names
        common, group = names.of_nim(item.name), names.target_group(item.name)
        task_family = names.task_family(item.name, objects.task_hash(names, item))
        machines = seen.resources.get(("security_group", names.machine_group))
        scaling_group = seen.resources.get(("auto_scaling_group", common))
        template = objects.launch_template(names, item, "", self.settings.image_id, objects.nim_tags(names, item))
        status = seen.statuses.get(item.name)
        rule = seen.resources.get(("listener_rule", item.name))
        priority = rule.facts["priority"] if rule else objects.free_priority(item.name, taken)
        taken[priority] = item.name

        def own(kind: str, name: str, spec: dict[str, t.Any], **facts: t.Any) -> Resource:
            return Resource(kind, name, spec, item.name, {"wanted": item, **facts})

        return [
            own(
                "launch_template",
                common,
                {
                    "content": spec_hash(template),
                    "security_group_id": machines.facts["id"] if machines else UNKNOWN,
                    "instance_type": item.machine_name,
                },
            ),
            own(
                "auto_scaling_group",
                common,
                {"min_size": 0, "max_size": item.replicas, "launch_template": common, "foreign_subnets": []},
            ),
            own(
                "capacity_provider",
                common,
                {
                    **objects.capacity_provider(item),
                    "auto_scaling_group_arn": scaling_group.facts["arn"] if scaling_group else UNKNOWN,
                },
            ),
            own("task_definition", item.name, {"family": task_family, "image": item.image}),
            own("target_group", group, objects.target_group()),
            own(
                "listener_rule",
                item.name,
                {
                    "path": f"{objects.path_of(item.name)}/*",
                    "rewrite": objects.rule_transforms(item.name),
                    "target_group": group,
                },
                priority=priority,
            ),
            own("cluster_capacity_provider", common, {"member": True}),
            own(
                "ecs_service",
                item.name,
                {
                    **objects.service(names, item),
                    "task_family": task_family,
                    "target_group": group,
                    "tags": objects.service_tags(names, item, self.settings.endpoint_host),
                    "replicas": item.replicas if item.start else (status.replicas if status else 0),
                },
            ),
        ]

    def stop_resource(self, status: Status) -> Resource:
        """Return the service with no replicas; nothing else of it is compared."""
        return Resource("ecs_service", status.name, {"replicas": 0}, status.name)

    # ---- observe: objects -> our words ---------------------------------------------------------------------------

    def observe(self, names: t.Sequence[str]) -> Snapshot:
        """Read the whole target: 14 calls, one for each ten services and one for each service that should run."""
        readers: list[t.Callable[[], list[Resource]]] = [
            self._read_roles,
            self._read_instance_profile,
            self._read_security_groups,
            self._read_secret,
            self._read_log_group,
            self._read_cluster,
            self._read_load_balancer,
            self._read_launch_templates,
            self._read_auto_scaling_groups,
            self._read_target_groups,
        ]
        with ThreadPoolExecutor(max_workers=8) as pool:
            answers = [future.result() for future in [pool.submit(reader) for reader in readers]]
        found = {item.key: item for items in answers for item in items}
        known = {item.deployment for item in found.values() if item.deployment} | set(names)
        known = {name for name in known if name.startswith("nim-")}
        found = self._attribute(found, known)
        with ThreadPoolExecutor(max_workers=2) as pool:
            providers = pool.submit(self._read_capacity_providers, sorted(known))
            has_cluster = ("ecs_cluster", self.names.cluster) in found
            services = self._describe_services(sorted(known)) if has_cluster else []
            found.update({item.key: item for item in providers.result()})
        for service in services:
            # A service that is being deleted stands in nobody's way: a new one is made as soon as it has drained.
            if service["status"] == "DRAINING" and service["serviceName"] in names:
                continue
            for item in self._translate_service(service):
                found[item.key] = item
        self._facts.update({key: item.facts for key, item in found.items()})
        statuses = self._statuses_of(services, explain=False)
        for name, part in self._unfinished(found, statuses).items():
            statuses[name] = part
            # Only the service tells which task definition is in use. Without one there may be any number of them.
            found[("task_definition", name)] = Resource("task_definition", name, {"family": None}, name)
        return Snapshot(found, statuses)

    def _attribute(self, found: dict[Key, Resource], known: t.Iterable[str]) -> dict[Key, Resource]:
        """Give target groups and memberships, which carry no tags in lists, to the NIM whose name they are made of."""
        owners: dict[Key, str] = {}
        for name in known:
            owners[("target_group", self.names.target_group(name))] = name
            owners[("cluster_capacity_provider", self.names.of_nim(name))] = name
        kept = {}
        for key, item in found.items():
            if key[0] in ("target_group", "cluster_capacity_provider"):
                if key not in owners:
                    continue
                item = dataclasses.replace(item, deployment=owners[key])
            kept[key] = item
        return kept

    def _unfinished(
        self, found: t.Mapping[Key, Resource], statuses: t.Mapping[str, Status]
    ) -> dict[str, Status]:
        """Describe NIMs of which only parts exist, so that they can be seen and removed."""
        parts = {}
        for item in found.values():
            name, tags = item.deployment, item.facts.get("tags", {})
            if name and name not in statuses and _deployment.NODE_TAG in tags:
                parts[name] = Status(
                    name=name,
                    node=tags[_deployment.NODE_TAG],
                    gpu_tier=tags.get(_deployment.TIER_TAG, ""),
                    state="unknown",
                    reason="only a part of it exists, there is no ECS service; deploy again to finish it",
                    region=self.names.region,
                )
        return parts

    def _read_roles(self) -> list[Resource]:
        found = []
        for name in (self.names.execution_role, self.names.instance_role):
            answer = self.session.call("iam", "get_role", f"read the role {name}", ["NoSuchEntity"], RoleName=name)
            if answer is not None:
                tags = objects.read_tags(answer["Role"].get("Tags"))
                found.append(self._shared("iam_role", name, {"policies": tags.get(_deployment.HASH_TAG)}, tags,
                                          arn=answer["Role"]["Arn"]))
        return found

    def _read_instance_profile(self) -> list[Resource]:
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
        roles = [role["RoleName"] for role in profile["Roles"]]
        return [self._shared("instance_profile", name, {"roles": roles}, objects.read_tags(profile.get("Tags")))]

    def _read_security_groups(self) -> list[Resource]:
        names = [self.names.lb_group, self.names.machine_group]
        filters = [{"Name": "group-name", "Values": names}]
        if self.settings.vpc_id:
            filters.append({"Name": "vpc-id", "Values": [self.settings.vpc_id]})
        groups = self.session.pages(
            "ec2", "describe_security_groups", "read the security groups", "SecurityGroups", Filters=filters
        )
        by_id = {group["GroupId"]: group["GroupName"] for group in groups}
        return [
            self._shared(
                "security_group",
                group["GroupName"],
                {"ingress": sorted(_ingress(group, by_id))},
                objects.read_tags(group.get("Tags")),
                id=group["GroupId"],
                vpc_id=group["VpcId"],
            )
            for group in groups
        ]

    def _read_secret(self) -> list[Resource]:
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

    def _read_log_group(self) -> list[Resource]:
        name = self.names.log_group
        groups = self.session.pages(
            "logs", "describe_log_groups", "read the log groups", "logGroups", logGroupNamePrefix=name
        )
        return [
            Resource("log_group", name, {"retention_days": group.get("retentionInDays")})
            for group in groups
            if group["logGroupName"] == name
        ]

    def _read_cluster(self) -> list[Resource]:
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

    def _read_load_balancer(self) -> list[Resource]:
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
        listeners = self.session.call(
            "elbv2", "describe_listeners", "read the listeners", LoadBalancerArn=arn
        )["Listeners"]
        for listener in listeners[:1]:
            found.append(_translate_listener(name, listener))
            rules = self.session.pages(
                "elbv2", "describe_rules", "read the listener's rules", "Rules", ListenerArn=listener["ListenerArn"]
            )
            found += [_translate_rule(rule) for rule in rules if not rule.get("IsDefault")]
        return found

    def _read_launch_templates(self) -> list[Resource]:
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

    def _read_auto_scaling_groups(self) -> list[Resource]:
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

    def _read_capacity_providers(self, deployments: t.Sequence[str]) -> list[Resource]:
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

    def _read_target_groups(self) -> list[Resource]:
        groups = self.session.pages(
            "elbv2", "describe_target_groups", "read the target groups", "TargetGroups", PaginationConfig={"PageSize": 400}
        )
        return [
            Resource(
                "target_group", group["TargetGroupName"], group, facts={"arn": group["TargetGroupArn"]}
            )
            for group in groups
            if group["TargetGroupName"].startswith("bg-")
        ]

    def _describe_services(self, names: t.Sequence[str]) -> list[dict[str, t.Any]]:
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

    def _translate_service(self, service: dict[str, t.Any]) -> list[Resource]:
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

    # ---- state of the NIMs ---------------------------------------------------------------------------------------

    def statuses(self, names: t.Sequence[str] | None = None, explain: bool = False) -> dict[str, Status]:
        """Read the state of NIMs: one call per ten services and one per service that should run, and few others."""
        unfinished: dict[str, Status] = {}
        if ("load_balancer", self.names.load_balancer) not in self._facts or names is None:
            found = {item.key: item for item in [*self._read_load_balancer(), *self._read_launch_templates()]}
            self._facts.update({key: item.facts for key, item in found.items()})
            unfinished = self._unfinished(found, {})
            names = sorted(unfinished) if names is None else names
        statuses = self._statuses_of(self._describe_services(names), explain)
        return {**{name: unfinished[name] for name in names if name in unfinished}, **statuses}

    def _statuses_of(self, services: t.Sequence[dict[str, t.Any]], explain: bool) -> dict[str, Status]:
        ours = [item for item in services if any(tag["key"] == _deployment.NODE_TAG for tag in item.get("tags", []))]
        with ThreadPoolExecutor(max_workers=8) as pool:
            statuses = list(pool.map(lambda service: self._status_of(service, explain), ours))
        return {status.name: status for status in statuses}

    def _status_of(self, service: dict[str, t.Any], explain: bool) -> Status:
        name, tags = service["serviceName"], objects.read_tags(service["tags"])
        state, reason = reasons.look(self.session, service, self.names.of_nim(name), explain)
        created = service.get("createdAt")
        return Status(
            name=name,
            node=tags[_deployment.NODE_TAG],
            gpu_tier=tags.get(_deployment.TIER_TAG, ""),
            image=tags.get(_deployment.IMAGE_TAG),
            kind=tags.get(_deployment.KIND_TAG),
            serves=_deployment.decode_serves(tags.get(_deployment.SERVES_TAG, "")),
            replicas=service["desiredCount"],
            running=service["runningCount"],
            state=state,
            reason=reason,
            endpoint=self._endpoint(name, tags.get(_deployment.ENDPOINT_HOST_TAG)),
            infer_path=tags.get(_deployment.INFER_PATH_TAG),
            region=self.names.region,
            deployed_at=_utc(created) if created else None,
        )

    def _endpoint(self, name: str, endpoint_host: str | None) -> str | None:
        """Return the NIM's base URL, or None while there is no load balancer that answers for it."""
        balancer = self._facts.get(("load_balancer", self.names.load_balancer))
        listener = self._facts.get(("listener", self.names.load_balancer))
        if not balancer or not listener:
            return None
        host = endpoint_host or balancer["dns"]
        return f"{listener['protocol'].lower()}://{host}{objects.path_of(name)}"

    # ---- before the first change ---------------------------------------------------------------------------------

    def preflight(self, wanted: t.Sequence[Wanted], steps: t.Sequence[Step], seen: Snapshot) -> None:
        """Look at keys, network and machine offers before anything is created. Costs calls only if something is."""
        problems = self._missing_keys(wanted, seen)
        created = {step.kind for step in steps if step.action == "create"}
        if created & {"security_group", "load_balancer", "auto_scaling_group"}:
            problems += self._network_problems("load_balancer" in created)
            problems += self._offer_problems(
                [item for item in wanted if ("auto_scaling_group", self.names.of_nim(item.name)) not in seen.resources]
            )
        if problems:
            raise ProviderError("\n".join(problems))

    def _missing_keys(self, wanted: t.Sequence[Wanted], seen: Snapshot) -> list[str]:
        if not wanted:
            return []
        secret = seen.resources.get(("secret", self.names.secret))
        if self.settings.ngc_api_key is None and (secret is None or not secret.spec["usable"]):
            return ["ngc_api_key is not set and there is no secret yet; NVIDIA's registry needs an NGC API key"]
        stored = secret.spec["fields"] if secret and self.settings.ngc_api_key is None else []
        gated = sorted(item.node for item in wanted if item.needs_hf_token)
        if gated and self.settings.hf_token is None and "hf_token" not in stored:
            return [
                f"hf_token is not set; {', '.join(gated)} downloads gated weights with a Hugging Face token "
                "whose account has accepted the licences"
            ]
        return []

    def _network_problems(self, needs_load_balancer: bool) -> list[str]:
        subnets = self._network()
        zones = {subnet["AvailabilityZone"] for subnet in subnets}
        if needs_load_balancer and len(zones) < 2:
            where = ", ".join(sorted(zones)) or "none"
            return [f"a load balancer needs subnets in at least two availability zones; found: {where}. Set subnet_ids"]
        return []

    def _offer_problems(self, wanted: t.Sequence[Wanted]) -> list[str]:
        zones = {subnet["AvailabilityZone"] for subnet in self._network()}
        types = sorted({item.machine_name for item in wanted})
        if not types:
            return []
        offers = self.session.pages(
            "ec2",
            "describe_instance_type_offerings",
            "read where the machine types are offered",
            "InstanceTypeOfferings",
            LocationType="availability-zone",
            Filters=[{"Name": "instance-type", "Values": types}],
        )
        self._offered = {kind: set() for kind in types}
        for offer in offers:
            self._offered[offer["InstanceType"]].add(offer["Location"])
        return [
            f"{item.name}: {item.machine_name} is not offered in {', '.join(sorted(zones))}"
            + (f", but in {', '.join(sorted(self._offered[item.machine_name]))}" if self._offered[item.machine_name] else
               f" nor anywhere else in {self.names.region}; choose another GPU tier or region")
            for item in wanted
            if not self._offered[item.machine_name] & zones
        ]

    def _network(self) -> list[dict[str, t.Any]]:
        """Return the subnets to use: the given ones, or those of the given or the default VPC."""
        if self._subnets is not None:
            return self._subnets
        settings = self.settings
        request: dict[str, t.Any] = {"Filters": [{"Name": "default-for-az", "Values": ["true"]}]}
        if settings.subnet_ids:
            request = {"SubnetIds": list(settings.subnet_ids)}
        elif settings.vpc_id:
            request = {"Filters": [{"Name": "vpc-id", "Values": [settings.vpc_id]}]}
        subnets = self.session.pages("ec2", "describe_subnets", "read the subnets", "Subnets", **request)
        vpcs = {subnet["VpcId"] for subnet in subnets}
        if not vpcs and not (settings.subnet_ids or settings.vpc_id):
            raise ProviderError(f"{self.names.region} has no default VPC with subnets; set vpc_id or subnet_ids")
        if len(vpcs) != 1 or (settings.vpc_id and vpcs != {settings.vpc_id}):
            raise ProviderError(f"the subnets must all lie in one VPC; found: {', '.join(sorted(vpcs)) or 'none'}")
        self._subnets = sorted(subnets, key=lambda subnet: str(subnet["SubnetId"]))
        return self._subnets

    def _vpc_id(self) -> str:
        return str(self._network()[0]["VpcId"])

    # ---- apply: one step each ------------------------------------------------------------------------------------

    def apply(self, step: Step) -> None:
        """Carry out one step."""
        getattr(self, f"_{step.action}_{step.kind}")(step)

    def _fact(self, kind: str, name: str, field: str) -> t.Any:
        facts = self._facts.get((kind, name))
        if facts is None or field not in facts:
            raise ConflictError(f"{kind} {name} is gone; somebody else removed it meanwhile")
        return facts[field]

    def _create_iam_role(self, step: Step) -> None:
        service = self._role_service(step.name)
        answer = self.session.call(
            "iam",
            "create_role",
            f"create the role {step.name}",
            conflicts=["EntityAlreadyExists"],
            RoleName=step.name,
            Path=IAM_PATH,
            AssumeRolePolicyDocument=objects.assume_role_policy(service),
            Tags=objects.upper_tags(objects.shared_tags(self.names)),
        )
        self._facts[("iam_role", step.name)] = {"arn": answer["Role"]["Arn"]}
        self._update_iam_role(step)

    def _update_iam_role(self, step: Step) -> None:
        """Give the role its policy; the hash tag comes last, so that a killed run is finished by the next one."""
        service = self._role_service(step.name)
        policy = self._role_policy(service)
        self.session.call(
            "iam",
            "put_role_policy" if "PolicyName" in policy else "attach_role_policy",
            f"give the role {step.name} its policy",
            conflicts=["NoSuchEntity"],
            RoleName=step.name,
            **policy,
        )
        self.session.call(
            "iam",
            "tag_role",
            f"tag the role {step.name}",
            RoleName=step.name,
            Tags=objects.upper_tags({_deployment.HASH_TAG: self._role_hash(service)}),
        )

    def _role_service(self, name: str) -> str:
        return EXECUTION_ROLE if name == self.names.execution_role else INSTANCE_ROLE

    def _delete_iam_role(self, step: Step) -> None:
        doing, gone = f"delete the role {step.name}", ["NoSuchEntity"]
        policy = self._role_policy(self._role_service(step.name))
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
            Tags=objects.upper_tags(objects.shared_tags(self.names)),
        )
        self._update_instance_profile(step)

    def _update_instance_profile(self, step: Step) -> None:
        self.session.call(
            "iam",
            "add_role_to_instance_profile",
            f"put the role into the instance profile {step.name}",
            ["LimitExceeded"],
            conflicts=["NoSuchEntity"],
            InstanceProfileName=step.name,
            RoleName=self.names.instance_role,
        )

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
            VpcId=self._vpc_id(),
            TagSpecifications=[
                {
                    "ResourceType": "security-group",
                    "Tags": objects.upper_tags({**objects.shared_tags(self.names), "Name": step.name}),
                }
            ],
        )
        self._facts[("security_group", step.name)] = {"id": answer["GroupId"]}
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
        self._facts[("secret", step.name)] = {"arn": answer["ARN"]}

    def _update_secret(self, step: Step) -> None:
        doing = f"update the secret {step.name}"
        if step.changes_field("usable"):
            self.session.call("secretsmanager", "restore_secret", doing, SecretId=step.name)
        if not (step.changes_field("content") or step.changes_field("fields")):
            return
        value, tags = self._secret_value_and_tags(step)
        self.session.call("secretsmanager", "put_secret_value", doing, SecretId=step.name, SecretString=value)
        self.session.call(
            "secretsmanager", "tag_resource", doing, SecretId=step.name, Tags=objects.upper_tags(tags)
        )

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
        request = {"clusterName": step.name, "tags": objects.lower_tags(objects.shared_tags(self.names))}
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
        self._facts[("ecs_cluster", step.name)] = {"arn": answer["cluster"]["clusterArn"], "members": []}

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
            Subnets=self._one_subnet_per_zone(),
            SecurityGroups=[self._fact("security_group", self.names.lb_group, "id")],
            Tags=objects.upper_tags(objects.shared_tags(self.names)),
        )["LoadBalancers"][0]
        self._facts[("load_balancer", step.name)] = {
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

    def _one_subnet_per_zone(self) -> list[str]:
        by_zone: dict[str, str] = {}
        for subnet in self._network():
            by_zone.setdefault(subnet["AvailabilityZone"], subnet["SubnetId"])
        return sorted(by_zone.values())

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
            DefaultActions=[_NOT_FOUND_ACTION],
            **_listener_request(spec),
        )["Listeners"][0]
        self._facts[("listener", step.name)] = {"arn": answer["ListenerArn"], "protocol": spec["protocol"]}

    def _update_listener(self, step: Step) -> None:
        spec, arn = t.cast(Resource, step.want).spec, self._fact("listener", step.name, "arn")
        self.session.call(
            "elbv2",
            "modify_listener",
            f"change the listener to port {spec['port']}",
            conflicts=["ListenerNotFound"],
            ListenerArn=arn,
            **_listener_request(spec),
        )
        self._facts[("listener", step.name)] = {"arn": arn, "protocol": spec["protocol"]}

    def _delete_listener(self, step: Step) -> None:
        self.session.call(
            "elbv2",
            "delete_listener",
            "delete the listener",
            ["ListenerNotFound"],
            ListenerArn=self._fact("listener", step.name, "arn"),
        )

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

    def _group_subnets(self, item: Wanted) -> str:
        """Return the subnets whose zone offers the machine type."""
        if item.machine_name not in self._offered:
            self._offer_problems([item])
        zones = self._offered[item.machine_name]
        return ",".join(subnet["SubnetId"] for subnet in self._network() if subnet["AvailabilityZone"] in zones)

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
            VPCZoneIdentifier=self._group_subnets(item),
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
            request["VPCZoneIdentifier"] = self._group_subnets(_wanted(step))
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
        answer = self.session.call_until(
            CLUSTER_BUSY_SECONDS,
            "ecs",
            "register_task_definition",
            f"register the task definition of {step.name}",
            passing=["Too many concurrent attempts"],
            family=t.cast(Resource, step.want).spec["family"],
            tags=objects.lower_tags(objects.nim_tags(self.names, item)),
            **body,
        )
        self._facts[("task_definition", step.name)] = {"arn": answer["taskDefinition"]["taskDefinitionArn"]}

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
                self._facts[("task_definition", step.name)] = {"arn": answer["taskDefinition"]["taskDefinitionArn"]}
                return
        self._create_task_definition(step)

    def _delete_task_definition(self, step: Step) -> None:
        """Deregister all revisions, also those of earlier contents; they cost nothing but would pile up."""
        doing = f"deregister the task definitions of {step.name}"
        families = self.session.pages(
            "ecs",
            "list_task_definition_families",
            doing,
            "families",
            familyPrefix=self.names.task_family_prefix(step.name),
            status="ACTIVE",
        )
        prefix = self.names.task_family_prefix(step.name)
        for family in families:
            if len(family) != len(prefix) + 8:  # another NIM whose name merely starts like this one's
                continue
            for arn in self.session.pages(
                "ecs", "list_task_definitions", doing, "taskDefinitionArns", familyPrefix=family
            ):
                self.session.call("ecs", "deregister_task_definition", doing, taskDefinition=arn)

    def _create_target_group(self, step: Step) -> None:
        item = _wanted(step)
        answer = self.session.call(
            "elbv2",
            "create_target_group",
            f"create the target group {step.name}",
            conflicts=["DuplicateTargetGroupName"],
            Name=step.name,
            Protocol="HTTP",
            Port=objects.CONTAINER_PORT,
            VpcId=self._fact("load_balancer", self.names.load_balancer, "vpc_id"),
            TargetType="instance",
            Tags=objects.upper_tags(objects.nim_tags(self.names, item)),
            **objects.target_group(),
        )["TargetGroups"][0]
        self._facts[("target_group", step.name)] = {"arn": answer["TargetGroupArn"]}
        self.session.call(
            "elbv2",
            "modify_target_group_attributes",
            f"set how long {step.name} drains",
            TargetGroupArn=answer["TargetGroupArn"],
            Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "30"}],
        )

    def _update_target_group(self, step: Step) -> None:
        self.session.call(
            "elbv2",
            "modify_target_group",
            f"update the target group {step.name}",
            conflicts=["TargetGroupNotFound"],
            TargetGroupArn=self._fact("target_group", step.name, "arn"),
            **objects.target_group(),
        )

    def _delete_target_group(self, step: Step) -> None:
        self.session.call_until(
            CLUSTER_BUSY_SECONDS,
            "elbv2",
            "delete_target_group",
            f"delete the target group {step.name}",
            passing=["ResourceInUse"],
            missing=["TargetGroupNotFound"],
            TargetGroupArn=self._fact("target_group", step.name, "arn"),
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
            ListenerArn=self._fact("listener", self.names.load_balancer, "arn"),
            Priority=want.facts["priority"],
            Tags=objects.upper_tags(objects.nim_tags(self.names, _wanted(step))),
            **self._rule_body(step),
        )["Rules"][0]
        self._facts[("listener_rule", step.name)] = {"arn": answer["RuleArn"]}

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
        """Add or remove capacity providers of the cluster.

        PutClusterCapacityProviders replaces the whole list, so it is sent what is there now plus the additions.
        """
        added = {step.name for step in steps if step.action != "delete"}
        removed = {step.name for step in steps if step.action == "delete"}
        members = set(self._members())
        wanted = sorted((members | added) - removed)
        if wanted == sorted(members):
            return
        self.session.call_until(
            CLUSTER_BUSY_SECONDS,
            "ecs",
            "put_cluster_capacity_providers",
            f"set the capacity providers of the cluster {self.names.cluster}",
            passing=["UpdateInProgressException"],
            conflicts=["ResourceInUseException", "InvalidParameterException"],
            cluster=self.names.cluster,
            capacityProviders=wanted,
            defaultCapacityProviderStrategy=[],
        )

    def verify_batch(self, steps: t.Sequence[Step]) -> None:
        """Look whether a run beside this one has replaced the list with one that lacks our additions."""
        lost = sorted({step.name for step in steps} - set(self._members()))
        if lost:
            raise ConflictError(f"another run took {', '.join(lost)} out of the cluster {self.names.cluster}")

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
                conflicts=["ServiceNotFoundException", "ServiceNotActiveException", "is not associated with the cluster"],
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
            self.session.call(
                "ecs", "update_service", doing, gone, cluster=cluster, service=step.name, desiredCount=0
            )
        self.session.call("ecs", "delete_service", doing, gone, cluster=cluster, service=step.name, force=True)
        reasons.wait_until(
            lambda: not self._describe_services([step.name]), DRAINING_SECONDS, f"the service {step.name} to drain"
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


def _listener_request(spec: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    request: dict[str, t.Any] = {"Port": spec["port"], "Protocol": spec["protocol"]}
    if spec.get("certificate_arn"):
        request["Certificates"] = [{"CertificateArn": spec["certificate_arn"]}]
        request["SslPolicy"] = "ELBSecurityPolicy-TLS13-1-2-2021-06"
    return request


def _translate_listener(name: str, listener: t.Mapping[str, t.Any]) -> Resource:
    spec: dict[str, t.Any] = {"port": listener["Port"], "protocol": listener["Protocol"]}
    for certificate in listener.get("Certificates", [])[:1]:
        spec["certificate_arn"] = certificate["CertificateArn"]
    facts = {"arn": listener["ListenerArn"], "protocol": listener["Protocol"]}
    return Resource("listener", name, spec, facts=facts)


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


def _utc(moment: t.Any) -> str:
    """Write a datetime of botocore as UTC in ISO 8601 with seconds."""
    return str(moment.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"))


