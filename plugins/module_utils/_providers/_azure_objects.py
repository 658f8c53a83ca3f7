# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What we send to Azure and how we read what it answers. Pure: names, tags, request bodies, states. No calls."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import typing as t

from ansible.module_utils.common.yaml import yaml_load

from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import (
    CLUSTER_TAG,
    MANAGED_TAG,
    TIER_TAG,
    Wanted,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import Key, Resource
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_settings import (
    AzureSettings,
    region_name,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._cluster import (
    GPU_POOL,
    GPU_TAINT,
    POOL_LABEL,
    TIER_LABEL,
    ClusterView,
)

RESOURCE_GROUP, AKS_CLUSTER, DEEP_STOP = "resource_group", "aks_cluster", "deep_stop"

RESOURCE_GROUP_TAG = "budgetguard:resource-group"
"""On a cluster: ``managed`` if its resource group was made with it, so that reading the cluster tells that as well."""

SYSTEM_POOL = "system"
SYSTEM_LABEL = {"kubernetes.azure.com/mode": "system"}
"""AKS itself sets this label on machines of pools of mode System (learn.microsoft.com/azure/aks/use-system-pools)."""

GPU_DISK_GIB = 256
"""The machine's own disk holds images of tens of GiB; models are on a volume of their own."""

DRIVER = "Install"
"""AKS installs NVIDIA's driver. Microsoft's documentation contradicts itself on the default, so it is sent."""

_FAILED_STATES = ("Failed", "Canceled")
_CLOSED_STATES = ("Creating", "Starting", "Stopping", "Deleting")
_UNDERWAY = {"Creating": "being created", "Starting": "being switched on", "Stopping": "being switched off"}


# ---- what we send --------------------------------------------------------------------------------------------------


def shared_tags(settings: AzureSettings) -> dict[str, str]:
    """Tags of everything that is ours."""
    return {MANAGED_TAG: "true", CLUSTER_TAG: settings.cluster}


def pool_name(item: Wanted) -> str:
    """Name the pool of a machine type: at most 12 lower-case letters and digits, as AKS wants it for Linux."""
    digest = hashlib.sha256(item.machine_name.encode()).hexdigest()[:4]
    return re.sub(r"[^a-z0-9]", "", item.gpu_tier)[:8] + digest


def pool_spec(item: Wanted, max_nodes: int) -> dict[str, t.Any]:
    """Return what is compared of a GPU pool."""
    return {
        "machine": item.machine_name,
        "autoscaling": True,
        "min_nodes": 0,
        "max_nodes": max_nodes,
        "labels": {POOL_LABEL: pool_name(item), TIER_LABEL: item.gpu_tier},
        "taints": ["{}={}:{}".format(*GPU_TAINT)],
        "power": "Running",
        "failed": False,
    }


def group_body(settings: AzureSettings, location: str) -> dict[str, t.Any]:
    """Return the request for a resource group."""
    return {"location": location, "tags": shared_tags(settings)}


def cluster_body(settings: AzureSettings, location: str, own_group: bool) -> dict[str, t.Any]:
    """Return the request for a cluster: Entra ID decides who may do what in it, and there are no local accounts.

    Azure's data plane Cilium enforces network policies; without such an engine they would be accepted and ignored.
    """
    system: dict[str, t.Any] = {
        "name": SYSTEM_POOL,
        "mode": "System",
        "type": "VirtualMachineScaleSets",
        "osType": "Linux",
        "vmSize": settings.system_machine,
        "count": settings.system_nodes,
        "tags": shared_tags(settings),
    }
    if settings.subnet_id:
        system["vnetSubnetID"] = settings.subnet_id
    entra: dict[str, t.Any] = {"managed": True, "enableAzureRBAC": True}
    if settings.admin_group_object_ids:
        entra["adminGroupObjectIDs"] = list(settings.admin_group_object_ids)
    properties: dict[str, t.Any] = {
        "dnsPrefix": _dns_prefix(settings.cluster),
        "enableRBAC": True,
        "disableLocalAccounts": True,
        "aadProfile": entra,
        "agentPoolProfiles": [system],
        "networkProfile": {
            "networkPlugin": "azure",
            "networkPluginMode": "overlay",
            "networkDataplane": "cilium",
            "networkPolicy": "cilium",
            "loadBalancerSku": "standard",
        },
    }
    if settings.kubernetes_version:
        properties["kubernetesVersion"] = settings.kubernetes_version
    return {
        "location": location,
        "tags": {**shared_tags(settings), **({RESOURCE_GROUP_TAG: "managed"} if own_group else {})},
        "sku": {"name": "Base", "tier": "Free"},
        "identity": {"type": "SystemAssigned"},
        "properties": properties,
    }


def _dns_prefix(cluster: str) -> str:
    """Return the first part of the cluster's public name: letters, digits and hyphens, at most 54."""
    return re.sub(r"[^A-Za-z0-9-]", "-", cluster)[:54].strip("-")


def pool_body(settings: AzureSettings, spec: t.Mapping[str, t.Any], subnet_id: str | None) -> dict[str, t.Any]:
    """Return the request for a GPU pool without machines."""
    properties: dict[str, t.Any] = {
        "mode": "User",
        "type": "VirtualMachineScaleSets",
        "osType": "Linux",
        "osDiskSizeGB": GPU_DISK_GIB,
        "scaleDownMode": "Delete",
        "vmSize": spec["machine"],
        "count": 0,
        "gpuProfile": {"driver": DRIVER},
        "tags": {**shared_tags(settings), TIER_TAG: spec["labels"][TIER_LABEL]},
        **pool_changes(spec),
    }
    if subnet_id:
        properties["vnetSubnetID"] = subnet_id
    return {"properties": properties}


def pool_changes(spec: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the fields of a pool that can be changed later."""
    return {
        "enableAutoScaling": spec["autoscaling"],
        "minCount": spec["min_nodes"],
        "maxCount": spec["max_nodes"],
        "nodeLabels": dict(spec["labels"]),
        "nodeTaints": list(spec["taints"]),
        "powerState": {"code": spec["power"]},
    }


# ---- what we read --------------------------------------------------------------------------------------------------


def is_ours(item: t.Mapping[str, t.Any]) -> bool:
    """Say whether something carries our tag."""
    return bool((item.get("tags") or {}).get(MANAGED_TAG) == "true")


def state_of(item: t.Mapping[str, t.Any]) -> str:
    """Return what Azure is doing, or has done, with a resource: ``Succeeded``, ``Creating`` and so on."""
    return str((item.get("properties") or {}).get("provisioningState") or "Succeeded")


def is_busy(cluster: t.Mapping[str, t.Any]) -> bool:
    """Say whether any operation runs on the cluster or one of its pools; AKS takes no other one meanwhile."""
    return any(state not in ("Succeeded", *_FAILED_STATES) for state in _states(cluster))


def is_unsettled(cluster: t.Mapping[str, t.Any]) -> bool:
    """Say whether something comes or goes, so that a look at the cluster now would say little."""
    return any(state in _CLOSED_STATES for state in _states(cluster))


def _states(cluster: t.Mapping[str, t.Any]) -> list[str]:
    pools = [str(pool.get("provisioningState") or "Succeeded") for pool in pools_of(cluster)]
    return [state_of(cluster), *pools]


def pools_of(cluster: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    """Return the pools as they stand in an answer about the cluster."""
    return list(cluster["properties"].get("agentPoolProfiles") or ())


def subnet_of(cluster: t.Mapping[str, t.Any]) -> str | None:
    """Return the subnet of the cluster's machines, which new pools must share; None where AKS has made its own."""
    subnets = [pool.get("vnetSubnetID") for pool in pools_of(cluster) if pool.get("mode") == "System"]
    return next((str(subnet) for subnet in subnets if subnet), None)


def view_of(settings: AzureSettings, cluster: t.Mapping[str, t.Any]) -> ClusterView:
    """Translate Azure's answer about a cluster that exists."""
    properties = cluster["properties"]
    location = region_name(cluster["location"])
    own_group = (cluster.get("tags") or {}).get(RESOURCE_GROUP_TAG) == "managed"
    stopped = _power(properties) == "Stopped"
    found = [
        group_resource(settings, is_ours(cluster) and own_group),
        Resource(
            AKS_CLUSTER,
            settings.cluster,
            {
                "location": location,
                # Being switched on counts as on, so that nobody does it twice.
                "power": "Stopped" if stopped and state_of(cluster) != "Starting" else "Running",
                "failed": not _has_endpoint(properties) and state_of(cluster) in _FAILED_STATES,
            },
            facts={"own_group": own_group},
            managed=is_ours(cluster),
        ),
        *(_pool_resource(pool, stopped) for pool in pools_of(cluster)),
    ]
    return ClusterView(
        resources={item.key: item for item in found},
        exists=True,
        location=location,
        version=properties.get("currentKubernetesVersion") or properties.get("kubernetesVersion"),
        closed=_why_closed(settings, cluster),
        asleep=state_of(cluster) == "Stopping" or (stopped and state_of(cluster) != "Starting"),
        warnings=tuple(_warnings(settings, cluster)),
    )


def empty_view(resources: t.Mapping[Key, Resource]) -> ClusterView:
    """Describe a target without a cluster."""
    return ClusterView(resources=resources, exists=False)


def group_resource(settings: AzureSettings, managed: bool) -> Resource:
    """Describe a resource group that exists. Where it is says nothing about what is in it, so that is not compared."""
    return Resource(RESOURCE_GROUP, settings.resource_group, {"exists": True}, managed=managed)


def _pool_resource(pool: t.Mapping[str, t.Any], with_cluster_off: bool) -> Resource:
    state = pool.get("provisioningState")
    return Resource(
        GPU_POOL,
        pool["name"],
        {
            "machine": pool.get("vmSize"),
            "autoscaling": bool(pool.get("enableAutoScaling")),
            "min_nodes": pool.get("minCount") or 0,
            "max_nodes": pool.get("maxCount") or 0,
            "labels": dict(pool.get("nodeLabels") or {}),
            "taints": list(pool.get("nodeTaints") or ()),
            # Pools go off and on with their cluster.
            "power": "Running" if with_cluster_off else _power(pool),
            "failed": state in _FAILED_STATES,
        },
        managed=is_ours(pool) and pool.get("mode") == "User",
        ending=state == "Deleting",
    )


def _power(properties: t.Mapping[str, t.Any]) -> str:
    return str((properties.get("powerState") or {}).get("code") or "Running")


def _has_endpoint(properties: t.Mapping[str, t.Any]) -> bool:
    return bool(properties.get("fqdn") or properties.get("privateFQDN"))


def _why_closed(settings: AzureSettings, cluster: t.Mapping[str, t.Any]) -> str | None:
    state, properties = state_of(cluster), cluster["properties"]
    name = f"the AKS cluster {settings.cluster}"
    if state in _UNDERWAY:
        return f"{name} is {_UNDERWAY[state]}"
    if _power(properties) == "Stopped":
        return f"{name} is switched off"
    if state in _FAILED_STATES and not _has_endpoint(properties):
        return f"{name} is in state {state} and has no Kubernetes API: {_why_failed(properties)}"
    return None


def _why_failed(properties: t.Mapping[str, t.Any]) -> str:
    error = (properties.get("status") or {}).get("provisioningError") or {}
    return str(error.get("message") or "Azure gives no reason")


def _warnings(settings: AzureSettings, cluster: t.Mapping[str, t.Any]) -> list[str]:
    found, properties = [], cluster["properties"]
    if (properties.get("networkProfile") or {}).get("networkPolicy") in (None, "none"):
        found.append(
            f"the AKS cluster {settings.cluster} has no network policy engine, so other pods in it can reach the NIMs"
        )
    if state_of(cluster) in _FAILED_STATES and _has_endpoint(properties):
        found.append(
            f"the AKS cluster {settings.cluster} works, but its last operation is in state {state_of(cluster)}: "
            f"{_why_failed(properties)}"
        )
    return found


def is_deleting(item: t.Mapping[str, t.Any] | None) -> bool:
    """Say whether something is on its way out."""
    return item is not None and state_of(item) == "Deleting"


class KubeconfigError(ValueError):
    """Azure's answer holds no way into the cluster that we know."""


def read_kubeconfig(content: bytes) -> tuple[str, str | None, str | None]:
    """Return the API's URL, its certificate authority in PEM form, and the token of a local account if there is one.

    Nothing else of it is used. Its login programs are not run: the credential that reads the cluster also gets the
    token for it.
    """
    try:
        config = yaml_load(content)
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        server = str(cluster["server"])
        authority = cluster.get("certificate-authority-data")
        pem = base64.b64decode(authority).decode("ascii") if authority else None
    except (KeyError, IndexError, TypeError, binascii.Error, UnicodeDecodeError) as exc:
        raise KubeconfigError("it has no cluster, no user or no certificate") from exc
    if "exec" in user or "auth-provider" in user:
        return server, pem, None
    if user.get("token"):
        return server, pem, str(user["token"])
    raise KubeconfigError("it neither uses Microsoft Entra ID nor holds a token")
