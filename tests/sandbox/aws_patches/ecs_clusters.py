# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ECS clusters and capacity providers."""

from __future__ import annotations

import re
from typing import Any

from moto.autoscaling.models import autoscaling_backends
from moto.core.responses import ActionResult
from moto.ecs.models import CapacityProvider, Cluster, EC2ContainerServiceBackend
from moto.ecs.responses import EC2ContainerServiceResponse

from tests.sandbox.aws_patches.patching import aws_error, page, patches

#: Capacity providers that every account has.
RESERVED_PROVIDERS = ("FARGATE", "FARGATE_SPOT")
#: Names per page of DescribeCapacityProviders, https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeCapacityProviders.html
PROVIDERS_PER_PAGE = 10

Backend = EC2ContainerServiceBackend
Response = EC2ContainerServiceResponse


def provider_name(name_or_arn: str) -> str:
    """Return the name of a capacity provider given by name or ARN."""
    return name_or_arn.rsplit("/", 1)[-1]


def live_services(backend: Backend, cluster_name: str) -> list[Any]:
    """Services of a cluster that are ACTIVE or DRAINING."""
    return [
        service
        for service in backend.services.values()
        if service.cluster_name == cluster_name and service.status != "INACTIVE"
    ]


def live_tasks(backend: Backend, cluster_name: str) -> list[Any]:
    """Tasks of a cluster that have not stopped."""
    return [task for task in backend.tasks.get(cluster_name, {}).values() if task.last_status != "STOPPED"]


def _require_known_providers(backend: Backend, names: list[str]) -> None:
    known = {*backend.capacity_providers, *RESERVED_PROVIDERS}
    if any(provider_name(name) not in known for name in names):
        raise aws_error(
            "InvalidParameterException",
            "The specified capacity provider was not found. Specify a valid capacity provider and try again.",
        )


def _require_strategy_within(strategy: list[dict[str, Any]], names: list[str]) -> None:
    if any(provider_name(item["capacityProvider"]) not in names for item in strategy):
        raise aws_error(
            "InvalidParameterException",
            "The specified capacity provider strategy contains a capacity provider that is not associated with the "
            "cluster. Associate the capacity provider with the cluster and try again.",
        )


@patches(Backend, "create_cluster")
def create_cluster(
    original: Any,
    self: Backend,
    cluster_name: str,
    tags: Any = None,
    cluster_settings: Any = None,
    configuration: Any = None,
    capacity_providers: list[str] | None = None,
    default_capacity_provider_strategy: list[dict[str, Any]] | None = None,
    service_connect_defaults: Any = None,
) -> Cluster:
    """Create a cluster again, or with capacity providers that do not exist.

    AWS: an ACTIVE cluster of that name is returned as it is; unknown providers are refused; the answer always has
    capacityProviders and defaultCapacityProviderStrategy.
    moto: replaces the cluster, losing its providers and tags; accepts any provider; leaves the keys out.
    """
    present = self.clusters.get(cluster_name)
    if present is not None and present.status == "ACTIVE":
        return present
    providers = [provider_name(name) for name in capacity_providers or []]
    strategy = default_capacity_provider_strategy or []
    _require_known_providers(self, providers)
    _require_strategy_within(strategy, providers)
    cluster: Cluster = original(
        self, cluster_name, tags, cluster_settings, configuration, providers, strategy, service_connect_defaults
    )
    return cluster


@patches(Backend, "delete_cluster")
def delete_cluster(original: Any, self: Backend, cluster_str: str) -> Cluster:
    """Delete a cluster in use.

    AWS: refused while services, tasks or container instances are left.
    moto: deletes it.
    """
    cluster = self._get_cluster(cluster_str)
    if live_services(self, cluster.name):
        raise aws_error("ClusterContainsServicesException", "The Cluster cannot be deleted while Services are active.")
    if live_tasks(self, cluster.name):
        raise aws_error("ClusterContainsTasksException", "The Cluster cannot be deleted while Tasks are active.")
    if self.container_instances.get(cluster.name):
        raise aws_error(
            "ClusterContainsContainerInstancesException",
            "The Cluster cannot be deleted while Container Instances are active or draining.",
        )
    deleted: Cluster = original(self, cluster_str)
    # A deleted cluster no longer holds its capacity providers.
    deleted.capacity_providers = []
    deleted.default_capacity_provider_strategy = []
    return deleted


@patches(Backend, "put_cluster_capacity_providers")
def put_cluster_capacity_providers(
    original: Any,
    self: Backend,
    cluster_name: str,
    capacity_providers: list[str] | None,
    default_capacity_provider_strategy: list[dict[str, Any]] | None,
) -> Cluster:
    """Replace the providers of a cluster.

    AWS: the list given replaces the list there; unknown providers are refused; leaving out one that tasks use is
    ResourceInUseException.
    moto: replaces too, and checks nothing.
    """
    cluster = self._get_cluster(cluster_name)
    if cluster.status != "ACTIVE":
        raise aws_error("ClusterNotFoundException", "The referenced cluster was inactive.")
    wanted = [provider_name(name) for name in capacity_providers or []]
    _require_known_providers(self, wanted)
    _require_strategy_within(default_capacity_provider_strategy or [], wanted)
    dropped = set(cluster.capacity_providers or []) - set(wanted)
    used = {task.capacity_provider_name for task in live_tasks(self, cluster.name)}
    if dropped & used:
        raise aws_error("ResourceInUseException", "The specified capacity provider is in use and cannot be removed.")
    updated: Cluster = original(self, cluster_name, wanted, default_capacity_provider_strategy or [])
    return updated


def _group_for_provider(backend: Backend, name_or_arn: str) -> Any:
    groups = autoscaling_backends[backend.account_id][backend.region_name].autoscaling_groups
    for group in groups.values():
        if name_or_arn in (group.name, group.arn):
            return group
    raise aws_error(
        "ClientException",
        "The specified Auto Scaling group ARN is invalid. Specify a valid Auto Scaling group ARN and try again.",
    )


@patches(Backend, "create_capacity_provider")
def create_capacity_provider(
    original: Any, self: Backend, name: str, asg_details: dict[str, Any] | None, tags: Any
) -> CapacityProvider:
    """Create a capacity provider.

    AWS: a name can be taken once; the group may be given by name or ARN, is kept as ARN, must exist, belong to no
    other provider, and have scale-in protection if termination protection is asked for; ECS tags the group
    AmazonECSManaged.
    moto: replaces the provider of that name; keeps whatever was given as the group.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", name) or name.lower().startswith(("aws", "ecs", "fargate")):
        raise aws_error(
            "ClientException",
            "The specified capacity provider name is invalid. Up to 255 characters are allowed, including letters "
            "(upper and lowercase), numbers, underscores (_), and hyphens (-). The name cannot be prefixed with "
            '"aws", "ecs", or "fargate". Specify a valid name and try again.',
        )
    if name in self.capacity_providers:
        raise aws_error(
            "ClientException",
            "The specified capacity provider already exists. To change the configuration of an existing capacity "
            "provider, update the capacity provider.",
        )
    if asg_details is None:
        raise aws_error(
            "NotImplementedBySandbox", "The sandbox knows only capacity providers with an Auto Scaling group."
        )
    details = dict(asg_details)
    group = _group_for_provider(self, details["autoScalingGroupArn"])
    taken = {item.auto_scaling_group_provider["autoScalingGroupArn"] for item in self.capacity_providers.values()}
    if group.arn in taken:
        raise aws_error(
            "ClientException",
            "The specified Auto Scaling group ARN is already being used by another capacity provider. Specify a "
            "unique Auto Scaling group ARN and try again.",
        )
    protected = details.get("managedTerminationProtection") == "ENABLED"
    if protected and not group.new_instances_protected_from_scale_in:
        raise aws_error(
            "ClientException",
            "The managed termination protection setting for the capacity provider is invalid. To enable managed "
            "termination protection for a capacity provider, the Auto Scaling group must have instance protection "
            "from scale in enabled.",
        )
    details["autoScalingGroupArn"] = group.arn
    mark = {"Key": "AmazonECSManaged", "Value": "", "PropagateAtLaunch": True}
    group.tags = [*[tag for tag in group.tags if tag["Key"] != mark["Key"]], mark]
    details.setdefault("managedDraining", "ENABLED")
    provider: CapacityProvider = original(self, name, details, tags)
    return provider


@patches(CapacityProvider, "update")
def update_capacity_provider(original: Any, self: CapacityProvider, asg_details: dict[str, Any]) -> None:
    """Update managedDraining.

    AWS: kept.
    moto: dropped.
    """
    original(self, asg_details)
    if "managedDraining" in asg_details:
        self.auto_scaling_group_provider["managedDraining"] = asg_details["managedDraining"]


@patches(Backend, "update_capacity_provider")
def update_missing_capacity_provider(
    original: Any, self: Backend, name_or_arn: str, asg_provider: dict[str, Any]
) -> CapacityProvider:
    """Update a provider that does not exist.

    AWS: ClientException.
    moto: crashes (HTTP 500).
    """
    _require_provider(self, name_or_arn)
    provider: CapacityProvider = original(self, name_or_arn, asg_provider)
    return provider


def _require_provider(backend: Backend, name_or_arn: str) -> CapacityProvider:
    provider = backend._get_provider(name_or_arn)
    if provider is None:
        raise aws_error(
            "ClientException",
            "The specified capacity provider does not exist. Specify a valid name or ARN and try again.",
        )
    return provider


@patches(Backend, "delete_capacity_provider")
def delete_capacity_provider(original: Any, self: Backend, name_or_arn: str) -> CapacityProvider:
    """Delete a capacity provider.

    AWS: unknown is an error. In use by a cluster is *not* an error: the call succeeds, the provider stays ACTIVE
    with updateStatus DELETE_FAILED and a reason (hashicorp/terraform-provider-aws pull request 48156). Otherwise it
    is found for a while by name, as INACTIVE.
    moto: unknown crashes (HTTP 500); one in use is deleted.
    """
    provider = _require_provider(self, name_or_arn)
    users = [
        cluster.name
        for cluster in self.clusters.values()
        if cluster.status == "ACTIVE" and provider.name in (cluster.capacity_providers or [])
    ]
    if users:
        provider.update_status = "DELETE_FAILED"
        provider.update_status_reason = (  # type: ignore[attr-defined]  # put on the wire by moto's serializer
            f"The capacity provider cannot be deleted because it is associated with cluster: {users[0]}. Remove the "
            "capacity provider from the cluster and try again."
        )
        return provider
    deleted: CapacityProvider = original(self, name_or_arn)
    deleted.status = "INACTIVE"
    deleted.update_status = "DELETE_COMPLETE"
    _deleted_providers(self)[deleted.name] = deleted
    return deleted


def _deleted_providers(backend: Backend) -> dict[str, CapacityProvider]:
    fields: Any = backend
    if not hasattr(backend, "sandbox_deleted_providers"):
        fields.sandbox_deleted_providers = {}
    deleted: dict[str, CapacityProvider] = fields.sandbox_deleted_providers
    return deleted


@patches(Response, "describe_capacity_providers")
def describe_capacity_providers(_original: Any, self: Response) -> ActionResult:
    """List capacity providers.

    AWS: without names, all of them (FARGATE and FARGATE_SPOT too), 10 to a page; a deleted one is found by name as
    INACTIVE; tags only when asked for.
    moto: without names crashes (HTTP 500); tags always.
    """
    backend = self.ecs_backend
    asked = self._get_param("capacityProviders")
    if asked and len(asked) > 100:
        raise aws_error("InvalidParameterException", "capacityProviders can have at most 100 items.")
    names = asked or [*RESERVED_PROVIDERS, *backend.capacity_providers]
    limit = len(names) if asked else int(self._get_param("maxResults") or PROVIDERS_PER_PAGE)
    names, next_token = page(names, limit, self._get_param("nextToken"))
    with_tags = "TAGS" in (self._get_param("include") or [])
    found: list[dict[str, Any]] = []
    failures: list[dict[str, str]] = []
    for name in names:
        if provider_name(name) in RESERVED_PROVIDERS:
            found.append(_reserved_provider(backend, provider_name(name)))
            continue
        provider = backend._get_provider(name) or _deleted_providers(backend).get(provider_name(name))
        if provider is None:
            failures.append({"arn": _provider_arn(backend, provider_name(name)), "reason": "MISSING"})
        else:
            found.append(_provider_as_dict(provider, with_tags))
    return ActionResult({"capacityProviders": found, "failures": failures, "nextToken": next_token})


def _provider_arn(backend: Backend, name: str) -> str:
    return f"arn:aws:ecs:{backend.region_name}:{backend.account_id}:capacity-provider/{name}"


def _reserved_provider(backend: Backend, name: str) -> dict[str, Any]:
    return {"capacityProviderArn": _provider_arn(backend, name), "name": name, "status": "ACTIVE", "tags": []}


def _provider_as_dict(provider: CapacityProvider, with_tags: bool) -> dict[str, Any]:
    return {
        "capacityProviderArn": provider.capacity_provider_arn,
        "name": provider.name,
        "status": provider.status,
        "autoScalingGroupProvider": provider.auto_scaling_group_provider,
        "updateStatus": provider.update_status,
        "updateStatusReason": getattr(provider, "update_status_reason", None),
        "tags": (provider.tags or []) if with_tags else [],
    }
