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

from ansible_collections.budgetguard.techops.plugins.module_utils import _deployment, _gateway
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Status, Wanted, spec_hash
from ansible_collections.budgetguard.techops.plugins.module_utils._exposure import check_exposure
from ansible_collections.budgetguard.techops.plugins.module_utils._keys import missing_keys
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import UNKNOWN, Key, Kind, Resource, Step
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import Provider, ProviderError, Snapshot
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _aws_objects as objects
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _aws_reasons as reasons
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_gateway import GatewayWriter
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_network import Network
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_progress import Progress
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_read import Reader
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_session import AwsSession
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_settings import AwsSettings


class Aws(Provider):
    """One account and region."""

    kinds = (
        Kind("iam_role"),
        Kind("instance_profile"),
        Kind("security_group"),
        Kind("security_group_ingress"),
        Kind("secret"),
        Kind("log_group"),
        Kind("ecs_cluster", adoptable=True),
        Kind("load_balancer", immutable=frozenset({"scheme"})),
        Kind("inner_listener"),
        Kind("gateway_target_group"),
        Kind("listener"),
        Kind("gateway_task_definition"),
        Kind("gateway_service"),
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
        self._network = Network(session, settings)
        self._reader = Reader(session, self.names, settings)
        self._writer = GatewayWriter(self._reader, self._network, self._facts)
        self._progress = Progress(session)

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
            item.facts["priority"]: item.deployment for item in seen.resources.values() if item.kind == "listener_rule"
        }
        found = [*self._shared_resources(cidrs), *self._gateway_resources(seen)]
        for item in sorted(wanted, key=lambda item: item.name):
            found += self._nim_resources(item, seen, taken)
        return found

    def _shared_resources(self, cidrs: t.Sequence[str]) -> list[Resource]:
        names, settings = self.names, self.settings
        services = (objects.EXECUTION_SERVICE, objects.MACHINE_SERVICE)
        policies = spec_hash([objects.role_policy(names, self.session.partition, service) for service in services])
        port = 443 if settings.certificate_arn else 80
        listener: dict[str, t.Any] = {"port": port, "protocol": "HTTPS" if settings.certificate_arn else "HTTP"}
        if settings.certificate_arn:
            listener["certificate_arn"] = settings.certificate_arn
        inner = []
        if settings.gateway is not None:
            listener["forward"] = names.gateway_target_group
            inner = [f"{objects.INNER_PORT} {names.gateway_group}"]
        return [
            Resource("iam_role", names.execution_role, {"policies": policies}),
            Resource("iam_role", names.instance_role, {"policies": policies}),
            Resource("instance_profile", names.instance_role, {"roles": [names.instance_role], "policies": policies}),
            Resource(
                "security_group", names.lb_group, {"ingress": sorted([*inner, *(f"{port} {cidr}" for cidr in cidrs)])}
            ),
            Resource(
                "security_group", names.machine_group, {"ingress": [f"{objects.CONTAINER_PORT} {names.lb_group}"]}
            ),
            self._secret_resource(),
            Resource("log_group", names.log_group, {"retention_days": settings.log_retention_days}),
            Resource("ecs_cluster", names.cluster, {"status": "ACTIVE"}),
            Resource(
                "load_balancer",
                names.load_balancer,
                {"scheme": "internal" if settings.scheme == "internal" else "internet-facing"},
            ),
            Resource("listener", names.load_balancer, listener),
        ]

    def _gateway_resources(self, seen: Snapshot) -> list[Resource]:
        """Describe the gateway: a service of its own between two listeners of the load balancer.

        So a new key or deny list replaces a small task without a GPU, and never a NIM.
        """
        front, names = self.settings.gateway, self.names
        if front is None:
            return []
        balancer = seen.resources.get(("load_balancer", names.load_balancer))
        content = {
            "family": names.gateway_family(objects.gateway_hash(names, front, self.settings.gateway_image)),
            "balancer": balancer.facts["dns"] if balancer else UNKNOWN,
        }
        ports = (_gateway.PORT, _gateway.HEALTH_PORT)
        return [
            Resource("security_group", names.gateway_group, {"ingress": []}),
            Resource(
                "security_group_ingress",
                names.gateway_group,
                {"ingress": sorted(f"{port} {names.lb_group}" for port in ports)},
            ),
            Resource("inner_listener", names.inner_listener, {"port": objects.INNER_PORT, "protocol": "HTTP"}),
            Resource("gateway_target_group", names.gateway_target_group, objects.gateway_target_group()),
            Resource("gateway_task_definition", objects.GATEWAY, content),
            Resource(
                "gateway_service",
                objects.GATEWAY,
                {
                    **objects.gateway_service(),
                    **content,
                    "replicas": self.settings.gateway_replicas,
                    "replaced": True,
                    "tags": objects.shared_tags(names),
                },
            ),
        ]

    def _secret_resource(self) -> Resource:
        """Describe the secret by a one-way mark. Without a key what is there is left alone."""
        key = self.settings.ngc_api_key
        if key is None:
            return Resource("secret", self.names.secret, {"usable": True})
        value = objects.secret_value(key, self.settings.hf_token)
        fields = sorted(json.loads(value))
        spec = {"usable": True, "content": objects.secret_fingerprint(self.names, value), "fields": fields}
        return Resource("secret", self.names.secret, spec)

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

    def gateway_resources(self, seen: Snapshot) -> list[Resource]:
        """Return the gateway's own objects, if it is there."""
        if ("gateway_service", objects.GATEWAY) not in seen.resources:
            return []
        ours = ("gateway_target_group", "gateway_task_definition", "gateway_service")
        return [item for item in self._gateway_resources(seen) if item.kind in ours]

    def foreseen(self, item: Wanted) -> t.Mapping[str, t.Any]:
        """Return the image, and what the gateway will ask for."""
        return {"image": item.image, "auth": _gateway.AUTH if self.settings.gateway is not None else "none"}

    def stop_resource(self, status: Status) -> Resource:
        """Return the service with no replicas; nothing else of it is compared."""
        return Resource("ecs_service", status.name, {"replicas": 0}, status.name)

    # ---- observe: objects -> our words ---------------------------------------------------------------------------

    def settle(self) -> None:
        """Do nothing: AWS takes the next call while an earlier one still takes effect, or says that it does not."""

    def observe(self, names: t.Sequence[str]) -> Snapshot:
        """Read the whole target: 14 calls, one for each ten services and one for each service that should run.

        The gateway's is one of these services.
        """
        readers: list[t.Callable[[], list[Resource]]] = [
            self._reader.identities,
            self._reader.security_groups,
            self._reader.secret,
            self._reader.log_group,
            self._reader.cluster,
            self._reader.load_balancer,
            self._reader.launch_templates,
            self._reader.auto_scaling_groups,
            self._reader.target_groups,
        ]
        with ThreadPoolExecutor(max_workers=8) as pool:
            answers = [future.result() for future in [pool.submit(reader) for reader in readers]]
        found = {item.key: item for items in answers for item in items}
        known = {item.deployment for item in found.values() if item.deployment} | set(names)
        known = {name for name in known if name.startswith("nim-")}
        found = self._attribute(found, known)
        with ThreadPoolExecutor(max_workers=2) as pool:
            providers = pool.submit(self._reader.capacity_providers, sorted(known))
            has_cluster = ("ecs_cluster", self.names.cluster) in found
            asked = [*sorted(known), *([objects.GATEWAY] if self._has_gateway(found) else [])]
            services = self._reader.services(asked) if has_cluster else []
            found.update({item.key: item for item in providers.result()})
        for service in services:
            # A service that is being deleted stands in nobody's way: a new one is made as soon as it has drained.
            if service["status"] == "DRAINING" and service["serviceName"] in [*names, objects.GATEWAY]:
                continue
            if service["serviceName"] == objects.GATEWAY:
                found.update({item.key: item for item in self._reader.gateway(service)})
                continue
            for item in self._reader.service(service):
                found[item.key] = item
        self._facts.update({key: item.facts for key, item in found.items()})
        statuses = self._statuses_of(services, explain=False)
        for name, part in self._unfinished(found, statuses).items():
            statuses[name] = part
            # Only the service tells which task definition is in use. Without one there may be any number of them.
            found[("task_definition", name)] = Resource("task_definition", name, {"family": None}, name)
        return Snapshot(found, statuses)

    def _has_gateway(self, found: t.Container[Key]) -> bool:
        return self.settings.gateway is not None or ("inner_listener", self.names.inner_listener) in found

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
                kept[key] = dataclasses.replace(item, deployment=owners[key])
            else:
                kept[key] = item
        return kept

    def _unfinished(self, found: t.Mapping[Key, Resource], statuses: t.Mapping[str, Status]) -> dict[str, Status]:
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

    # ---- state of the NIMs ---------------------------------------------------------------------------------------

    def statuses(self, names: t.Sequence[str] | None = None, explain: bool = False) -> dict[str, Status]:
        """Read the state of NIMs: one call per ten services and one per service that should run, and few others."""
        unfinished: dict[str, Status] = {}
        if ("load_balancer", self.names.load_balancer) not in self._facts or names is None:
            found = {item.key: item for item in [*self._reader.load_balancer(), *self._reader.launch_templates()]}
            self._facts.update({key: item.facts for key, item in found.items()})
            unfinished = self._unfinished(found, {})
            names = sorted(unfinished) if names is None else names
        statuses = self._statuses_of(self._reader.services(names), explain)
        return {**{name: unfinished[name] for name in names if name in unfinished}, **statuses}

    def _statuses_of(self, services: t.Sequence[dict[str, t.Any]], explain: bool) -> dict[str, Status]:
        ours = [item for item in services if any(tag["key"] == _deployment.NODE_TAG for tag in item.get("tags", []))]

        def look(service: dict[str, t.Any]) -> reasons.Answer:
            return reasons.look(self.session, service, self.names.of_nim(service["serviceName"]), explain)

        with ThreadPoolExecutor(max_workers=8) as pool:
            answers = list(pool.map(look, ours))
        statuses = [self._status_of(service, answer) for service, answer in zip(ours, answers)]
        return {status.name: status for status in statuses}

    def control(self) -> dict[str, str | None]:
        """Return the ECS cluster in which the NIMs are services of the same names."""
        return {"kind": "ecs", "region": self.names.region, "cluster": self.names.cluster}

    def progress(self, names: t.Sequence[str]) -> dict[str, Status]:
        """Read how far NIMs are, without their endpoints: one call per ten services, and one more."""
        services = self._reader.services(names)
        ours = [item for item in services if any(tag["key"] == _deployment.NODE_TAG for tag in item.get("tags", []))]
        answers = self._progress.look(ours)
        return {item["serviceName"]: self._status_of(item, answers[item["serviceName"]]) for item in ours}

    def _status_of(self, service: dict[str, t.Any], answer: reasons.Answer) -> Status:
        name, tags = service["serviceName"], objects.read_tags(service["tags"])
        state, reason = answer
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
            auth=_gateway.AUTH if self._has_gateway(self._facts) else "none",
            region=self.names.region,
            deployed_at=_utc(created) if created else None,
            running_since=_running_since(service) if state == "running" else None,
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
        if wanted and self.settings.gateway is None and self._has_gateway(seen.resources):
            problems.append(
                f"{self.names.cluster} has a gateway, and this run has no option gateway: it would open the NIMs to "
                "everybody on the network. Give the option, or tear the target down first"
            )
        created = {step.kind for step in steps if step.action == "create"}
        if created & {"security_group", "load_balancer", "auto_scaling_group"}:
            problems += self._network.zone_problems("load_balancer" in created)
            problems += self._network.offer_problems(
                [item for item in wanted if ("auto_scaling_group", self.names.of_nim(item.name)) not in seen.resources]
            )
        if problems:
            raise ProviderError("\n".join(problems))

    def _missing_keys(self, wanted: t.Sequence[Wanted], seen: Snapshot) -> list[str]:
        secret = seen.resources.get(("secret", self.names.secret))
        stored = secret.spec["fields"] if secret and secret.spec["usable"] else None
        settings = self.settings
        return missing_keys(wanted, settings.ngc_api_key, settings.hf_token, stored, hf_field="hf_token")

    def rehearse(self, step: Step) -> None:
        """Do nothing: of the services used here only EC2 has a dry run, and it checks no more than permissions."""

    def apply(self, step: Step) -> None:
        """Carry out one step."""
        self._writer.apply(step)

    def apply_batch(self, steps: t.Sequence[Step]) -> None:
        """Add or remove capacity providers of the cluster."""
        self._writer.apply_batch(steps)

    def verify_batch(self, steps: t.Sequence[Step]) -> None:
        """Look whether another run has taken our additions away."""
        self._writer.verify_batch(steps)


def _running_since(service: t.Mapping[str, t.Any]) -> str | None:
    """Return when the newest task was started, from the service's events, of which ECS keeps the newest 100.

    If all of these are younger than that, the oldest stands in for it: the NIM was there already.
    """
    events = service.get("events", [])
    started = [event["createdAt"] for event in events if "has started" in event["message"]]
    moment = max(started) if started else min((event["createdAt"] for event in events), default=None)
    return None if moment is None else _utc(moment)


def _utc(moment: t.Any) -> str:
    """Write a datetime of botocore as UTC in ISO 8601 with seconds."""
    return str(moment.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"))
