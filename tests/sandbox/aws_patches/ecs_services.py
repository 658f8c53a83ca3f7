# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ECS services: what is kept, what is refused, and how a service ends. Its tasks are `ecs_runtime`'s part."""

from __future__ import annotations

import datetime
import re
import uuid
from typing import Any

from botocore import xform_name
from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.ecs.models import Cluster, EC2ContainerServiceBackend, Service, TaskDefinition
from moto.ecs.responses import EC2ContainerServiceResponse
from moto.elbv2.models import elbv2_backends
from moto.moto_api._internal import mock_random

from tests.sandbox.aws_patches.ecs_clusters import provider_name
from tests.sandbox.aws_patches.patching import aws_error, page, patches
from tests.sandbox.state import DEFAULTS, clock

Backend = EC2ContainerServiceBackend
Response = EC2ContainerServiceResponse

#: CreateService parameters that moto forgets, with the value AWS reports when they were not given.
KEPT_FIELDS: dict[str, Any] = {
    "capacityProviderStrategy": None,
    "deploymentConfiguration": None,
    "placementConstraints": [],
    "placementStrategy": [],
    "healthCheckGracePeriodSeconds": 0,
    "enableECSManagedTags": False,
    "enableExecuteCommand": False,
    "availabilityZoneRebalancing": "ENABLED",
}
#: Services in one DescribeServices call, https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServices.html
SERVICES_PER_DESCRIBE = 10
#: Services on a page of ListServices when maxResults is not given.
SERVICES_PER_PAGE = 10


def full_deployment_configuration(given: dict[str, Any] | None) -> dict[str, Any]:
    """AWS's defaults for a rolling update on EC2, overlaid with what was asked for."""
    configuration: dict[str, Any] = {
        "deploymentCircuitBreaker": {"enable": False, "rollback": False},
        "maximumPercent": 200,
        "minimumHealthyPercent": 100,
    }
    configuration.update(given or {})
    return configuration


def new_deployment(service: Service) -> dict[str, Any]:
    """Return the deployment that starts now for a service. Counts are kept up to date by the ECS runtime."""
    deployment_id = f"ecs-svc/{mock_random.randint(10**18, 10**19 - 1)}"
    now = utcnow()
    deployment: dict[str, Any] = {
        "id": deployment_id,
        "status": "PRIMARY",
        "taskDefinition": service.task_definition,
        "desiredCount": service.desired_count,
        "pendingCount": 0,
        "runningCount": 0,
        "failedTasks": 0,
        "createdAt": now,
        "updatedAt": now,
        "rolloutState": "IN_PROGRESS",
        "rolloutStateReason": f"ECS deployment {deployment_id} in progress.",
    }
    strategy = getattr(service, "capacity_provider_strategy", None)
    if strategy:
        deployment["capacityProviderStrategy"] = strategy
    else:
        deployment["launchType"] = service.launch_type
    return deployment


def add_event(service: Service, message: str) -> None:
    """Put an event on top of a service's list, which AWS cuts at 100."""
    created = utcnow() - datetime.timedelta(seconds=DEFAULTS.condition_age_seconds)
    event = {"id": str(uuid.uuid4()), "createdAt": created, "message": f"(service {service.name}) {message}"}
    service.events.insert(0, event)
    del service.events[100:]


def _invalid(message: str) -> Exception:
    return aws_error("InvalidParameterException", message)


@patches(Response, "create_service")
def create_service(original: Any, self: Response) -> ActionResult:
    """Create a service.

    AWS: keeps all fields; refuses a second service of the name, one that is still draining, a provider that is not
    the cluster's, launchType with a strategy, an inactive cluster, and a target group that no load balancer uses.
    moto: drops eight fields, replaces a service of that name, checks none of this.
    """
    backend = self.ecs_backend
    cluster = backend._get_cluster(self._get_param("cluster", "default"))
    name = self._get_param("serviceName")
    _refuse_bad_service_name(name)
    _refuse_second_service(backend, cluster, name)
    strategy = _strategy_for(cluster, self._get_param("launchType"), self._get_param("capacityProviderStrategy"))
    task_definition = backend.describe_task_definition(self._get_param("taskDefinition"))
    _refuse_inactive_task_definition(task_definition)
    load_balancers = self._get_param("loadBalancers") or []
    _check_load_balancers(backend, load_balancers, task_definition)
    original(self)
    service = backend.services[f"{cluster.name}:{name}"]
    for field, default in KEPT_FIELDS.items():
        given = self._get_param(field)
        setattr(service, xform_name(field), default if given is None else given)
    fields: Any = service
    fields.deployment_configuration = full_deployment_configuration(fields.deployment_configuration)
    fields.capacity_provider_strategy = strategy or None
    if not load_balancers and self._get_param("healthCheckGracePeriodSeconds") is None:
        fields.health_check_grace_period_seconds = None
    if strategy:
        fields.launch_type = None
    if self._get_param("networkConfiguration") is None:
        fields.network_configuration = None
    fields.created_at = utcnow()
    fields.created_by = f"arn:aws:iam::{backend.account_id}:root"
    service.running_count = 0
    service.pending_count = 0
    service.deployments = [new_deployment(service)]
    return ActionResult({"service": service})


def _refuse_bad_service_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", name or ""):
        raise _invalid("Invalid service name. Service names may contain letters, numbers, hyphens and underscores.")


def _refuse_second_service(backend: Backend, cluster: Cluster, name: str) -> None:
    if cluster.status != "ACTIVE":
        raise aws_error("ClusterNotFoundException", "The referenced cluster was inactive.")
    present = backend.services.get(f"{cluster.name}:{name}")
    if present is not None and present.status == "DRAINING":
        raise _invalid("Unable to Start a service that is still Draining.")
    if present is not None and present.status == "ACTIVE":
        raise _invalid("Creation of service was not idempotent.")


def _strategy_for(
    cluster: Cluster, launch_type: str | None, strategy: list[dict[str, Any]] | None
) -> list[dict[str, Any]]:
    """Return the strategy a service gets: its own, or without launch type the cluster's default. Empty means EC2."""
    if strategy and launch_type:
        raise _invalid(
            "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again."
        )
    if not strategy:
        return [] if launch_type else list(cluster.default_capacity_provider_strategy or [])
    for item in strategy:
        if provider_name(item["capacityProvider"]) not in (cluster.capacity_providers or []):
            raise _invalid(
                "The specified capacity provider strategy contains a capacity provider that is not associated with "
                "the cluster. Associate the capacity provider with the cluster and try again."
            )
    # AWS fills in what was left out.
    return [
        {
            "capacityProvider": provider_name(item["capacityProvider"]),
            "weight": item.get("weight", 0),
            "base": item.get("base", 0),
        }
        for item in strategy
    ]


def _refuse_inactive_task_definition(task_definition: TaskDefinition) -> None:
    if task_definition.status != "ACTIVE":
        raise aws_error("ClientException", "TaskDefinition is inactive")


def _check_load_balancers(
    backend: Backend, load_balancers: list[dict[str, Any]], task_definition: TaskDefinition
) -> None:
    target_groups = elbv2_backends[backend.account_id][backend.region_name].target_groups
    for entry in load_balancers:
        arn = entry.get("targetGroupArn")
        if arn is None:
            continue
        if arn not in target_groups:
            raise _invalid(f"The specified target group does not exist. (targetGroupArn {arn})")
        if not target_groups[arn].load_balancer_arns:
            raise _invalid(f"The target group with targetGroupArn {arn} does not have an associated load balancer.")
        _check_container(entry, task_definition)


def _check_container(entry: dict[str, Any], task_definition: TaskDefinition) -> None:
    name, port = entry.get("containerName"), entry.get("containerPort")
    definitions: Any = task_definition.container_definitions
    for container in definitions:
        if container["name"] != name:
            continue
        if port not in [mapping.get("containerPort") for mapping in container["portMappings"]]:
            raise _invalid(f"The container {name} did not have a container port {port} defined.")
        return
    raise _invalid(f"The container {name} does not exist in the task definition.")


@patches(Backend, "update_service")
def update_service(original: Any, self: Backend, service_properties: dict[str, Any]) -> Service:
    """Update a service.

    AWS: not for a service that is not ACTIVE; the task definition is kept as ARN; a new task definition or
    forceNewDeployment starts a deployment; a changed strategy needs forceNewDeployment; tasks follow in time.
    moto: sets runningCount at once, keeps the task definition as given, leaves deployments stale.
    """
    properties = dict(service_properties)
    service = self._get_service(properties.get("cluster") or "default", properties["service"].rsplit("/", 1)[-1])
    if service.status != "ACTIVE":
        raise aws_error("ServiceNotActiveException", "Service was not ACTIVE.")
    fields: Any = service
    task_definition = _wanted_task_definition(self, service, properties.pop("task_definition", None))
    if properties.get("load_balancers") is not None:
        _check_load_balancers(self, properties["load_balancers"], task_definition)
    forced = bool(properties.pop("force_new_deployment", False))
    strategy = _wanted_strategy(self, service, properties.pop("capacity_provider_strategy", None), forced=forced)
    if properties.get("deployment_configuration"):
        changed = properties["deployment_configuration"]
        properties["deployment_configuration"] = {**fields.deployment_configuration, **changed}
    desired_count = properties.pop("desired_count", None)
    replaces_tasks = (
        forced or task_definition.arn != service.task_definition or properties.get("load_balancers") is not None
    )
    original(self, properties)
    if desired_count is not None:
        service.desired_count = int(desired_count)
    fields.capacity_provider_strategy = strategy or None
    fields.launch_type = None if strategy else fields.launch_type or "EC2"
    service.task_definition = task_definition.arn
    if replaces_tasks:
        for deployment in service.deployments:
            deployment["status"] = "ACTIVE"
        service.deployments.insert(0, new_deployment(service))
    service.deployments[0].update(desiredCount=service.desired_count, updatedAt=utcnow())
    return service


def _wanted_task_definition(backend: Backend, service: Service, given: str | None) -> TaskDefinition:
    wanted = backend.describe_task_definition(str(given or service.task_definition))
    if wanted.arn != service.task_definition:
        _refuse_inactive_task_definition(wanted)
    return wanted


def _wanted_strategy(
    backend: Backend, service: Service, given: list[dict[str, Any]] | None, *, forced: bool
) -> list[dict[str, Any]]:
    present: list[dict[str, Any]] = getattr(service, "capacity_provider_strategy", None) or []
    if given is None:
        return present
    wanted = _strategy_for(backend._get_cluster(service.cluster_name), None, given)
    if wanted != present and not forced:
        raise _invalid(
            "When switching from launch type to capacity provider strategy on an existing service, or making a "
            "change to a capacity provider strategy on a service that is already using one, you must force a new "
            "deployment."
        )
    return wanted


@patches(Backend, "delete_service")
def delete_service(original: Any, self: Backend, cluster_name: str, service_name: str, force: bool) -> Service:
    """Delete a service.

    AWS: it is DRAINING until its tasks are gone, then INACTIVE; both still show in DescribeServices for a while. An
    INACTIVE service cannot be deleted again.
    moto: INACTIVE at once, any number of times.
    """
    service = self._get_service(cluster_name, service_name.rsplit("/", 1)[-1])
    if service.status == "INACTIVE":
        raise aws_error("ServiceNotFoundException", "Service not found.")
    if service.status == "DRAINING":
        return service
    original(self, cluster_name, service_name.rsplit("/", 1)[-1], force)
    service.status = "DRAINING"
    service.desired_count = 0
    fields: Any = service
    fields.sandbox_drained_at = clock() + DEFAULTS.drain_seconds
    return service


@patches(Response, "describe_services")
def describe_services(original: Any, self: Response) -> ActionResult:
    """Describe services.

    AWS: at most 10 to a call, at least one.
    moto: any number.
    """
    names = self._get_param("services") or []
    if not names:
        raise _invalid("Services cannot be empty.")
    if len(names) > SERVICES_PER_DESCRIBE:
        raise _invalid(f"services can have at most {SERVICES_PER_DESCRIBE} items.")
    result: ActionResult = original(self)
    return result


@patches(Response, "list_services")
def list_services(original: Any, self: Response) -> ActionResult:
    """List services.

    AWS: ACTIVE and DRAINING ones only, 10 to a page unless maxResults (to 100) says otherwise.
    moto: INACTIVE ones too, all on one page.
    """
    backend = self.ecs_backend
    cluster = backend._get_cluster(self._get_param("cluster", "default"))
    result: Any = original(self).result
    gone = {
        service.arn
        for service in backend.services.values()
        if service.cluster_name == cluster.name and service.status == "INACTIVE"
    }
    arns = [arn for arn in result["serviceArns"] if arn not in gone]
    limit = int(self._get_param("maxResults") or SERVICES_PER_PAGE)
    if limit > 100:
        raise _invalid("maxResults must be between 1 and 100.")
    arns, next_token = page(arns, limit, self._get_param("nextToken"))
    return ActionResult({"serviceArns": arns, "nextToken": next_token})
