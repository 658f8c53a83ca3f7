# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What AKS refuses, and what it fills in. Nothing here changes a cluster.

Texts of errors come from public reports where one was found; the others say the same in our words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tests.sandbox.azure.bodies import mistakes
from tests.sandbox.azure.machines import REGIONS, VmSize, size_called
from tests.sandbox.kube import NodePool
from tests.sandbox.rest import ApiError

Json = dict[str, Any]

#: Supported versions with their newest patch release, and the one that a cluster gets by itself.
VERSIONS = {"1.35": "1.35.7", "1.36": "1.36.4", "1.37": "1.37.1"}
DEFAULT_VERSION = "1.36"
MAX_COUNT = 1000
CLUSTER_NAME = re.compile(r"[a-zA-Z0-9]$|[a-zA-Z0-9][-_a-zA-Z0-9]{0,61}[a-zA-Z0-9]")
POOL_NAME = re.compile(r"[a-z][a-z0-9]{0,11}")
TAINT = re.compile(r"([^=:]+)(?:=([^=:]*))?:(NoSchedule|PreferNoSchedule|NoExecute)")

#: What a cluster keeps for life, below ``properties``.
FIXED_OF_CLUSTER = (
    "dnsPrefix",
    "nodeResourceGroup",
    "enableRBAC",
    "networkProfile.networkPlugin",
    "networkProfile.podCidr",
    "networkProfile.serviceCidr",
    "networkProfile.dnsServiceIP",
    "networkProfile.loadBalancerSku",
    "apiServerAccessProfile.enablePrivateCluster",
)
#: What a pool keeps for life, below ``properties``.
FIXED_OF_POOL = (
    "vmSize",
    "osType",
    "osDiskType",
    "osDiskSizeGB",
    "vnetSubnetID",
    "availabilityZones",
    "scaleSetPriority",
    "spotMaxPrice",
    "maxPods",
    "type",
    "gpuProfile",
    "gpuInstanceProfile",
    "enableFIPS",
)
DEFAULTS_OF_POOL: Json = {
    "count": 1,
    "osDiskSizeGB": 128,
    "osDiskType": "Managed",
    "kubeletDiskType": "OS",
    "maxPods": 250,
    "type": "VirtualMachineScaleSets",
    "enableAutoScaling": False,
    "enableNodePublicIP": False,
    "enableFIPS": False,
    "mode": "User",
    "osType": "Linux",
    "osSKU": "Ubuntu",
    "scaleDownMode": "Delete",
    "upgradeSettings": {"maxSurge": "10%", "maxUnavailable": "0"},
}
DEFAULTS_OF_CLUSTER: Json = {
    "enableRBAC": True,
    "supportPlan": "KubernetesOfficial",
    "disableLocalAccounts": False,
    "nodeProvisioningProfile": {"mode": "Manual", "defaultNodePools": "Auto"},
}
DEFAULTS_OF_NETWORK: Json = {
    "networkPlugin": "azure",
    "networkPluginMode": "overlay",
    "networkPolicy": "none",
    "networkDataplane": "azure",
    "loadBalancerSku": "standard",
    "podCidr": "10.244.0.0/16",
    "serviceCidr": "10.0.0.0/16",
    "dnsServiceIP": "10.0.0.10",
    "outboundType": "loadBalancer",
}
SPOT_TAINT = "kubernetes.azure.com/scalesetpriority=spot:NoSchedule"


class AksError(ApiError):
    """An error of the AKS resource provider, which leaves out the envelope that Azure Resource Manager has."""


def bad(code: str, message: str) -> AksError:
    """Return the error for a body that cannot be."""
    return AksError(400, code, message)


def check_body(model: str, body: object) -> Json:
    """Return the body if the SDK's model allows everything in it. Raises `AksError`."""
    found = mistakes(model, body)
    if found or not isinstance(body, dict):
        raise bad("InvalidRequestBody", "; ".join(found) or "The body must be an object.")
    return body


def check_cluster(name: str, body: Json) -> None:
    """Refuse a cluster that AKS would not create, without regard to its pools."""
    if not CLUSTER_NAME.fullmatch(name):
        raise bad("InvalidParameter", f"The value of parameter resourceName is invalid: '{name}'.")
    location = body.get("location")
    if location not in REGIONS:
        raise ApiError(
            400,
            "LocationNotAvailableForResourceType",
            f"The provided location '{location}' is not available for resource type "
            f"'Microsoft.ContainerService/managedClusters'. List of available regions for the resource type is "
            f"'{','.join(sorted(REGIONS))}'.",
        )
    properties = body.get("properties") or {}
    if not (properties.get("dnsPrefix") or properties.get("fqdnSubdomain")):
        raise bad("InvalidParameter", "Required parameter dnsPrefix is missing (null).")
    if not body.get("identity") and not properties.get("servicePrincipalProfile"):
        raise bad(
            "InvalidParameter", "Required parameter servicePrincipalProfile is missing (null), and so is identity."
        )
    version_of(properties.get("kubernetesVersion"))
    if not any(pool.get("mode") == "System" for pool in properties.get("agentPoolProfiles") or []):
        raise bad("InvalidParameter", "There has to be at least one system agent pool.")
    check_access(properties)


def check_access(properties: Mapping[str, Any]) -> None:
    """Refuse combinations about logging in."""
    profile = properties.get("aadProfile") or {}
    if profile.get("enableAzureRBAC") and not profile.get("managed"):
        raise bad("InvalidParameter", "aadProfile.enableAzureRBAC needs aadProfile.managed.")
    if properties.get("disableLocalAccounts") and not profile.get("managed"):
        raise bad("InvalidParameter", "disableLocalAccounts needs a managed aadProfile.")


def version_of(asked: str | None) -> str:
    """Return the version with patch number that a request for one gets. Raises `AksError`."""
    asked = asked or DEFAULT_VERSION
    minor = ".".join(asked.split(".")[:2])
    patch = VERSIONS.get(minor)
    if patch is None or asked not in (minor, patch):
        raise bad(
            "K8sVersionNotSupported",
            f"Managed cluster is on version {asked} which is not supported in this region. Please use "
            f"[az aks get-versions] command to get the supported version list.",
        )
    return patch


def pool_with_defaults(properties: Json, before: Json | None) -> Json:
    """Return a pool as it is kept: what was asked for, else what it has for life, else what AKS fills in."""
    kept = {name: value for name, value in (before or {}).items() if name in FIXED_OF_POOL or name == "mode"}
    merged = {**DEFAULTS_OF_POOL, **kept, **properties}
    merged = {name: value for name, value in merged.items() if value is not None}
    if merged["enableAutoScaling"] and "count" not in properties:
        merged["count"] = (before or {}).get("count", merged.get("minCount", 0))
    merged.setdefault("powerState", {"code": "Running"})
    if merged.get("scaleSetPriority") == "Spot":
        merged["nodeTaints"] = sorted({*merged.get("nodeTaints", []), SPOT_TAINT})
        merged.setdefault("scaleSetEvictionPolicy", "Delete")
        merged.setdefault("spotMaxPrice", -1)
    return merged


def check_pool(name: str, pool: Json, region: str) -> VmSize:
    """Refuse a pool (with its defaults) that AKS would not make. Returns the size of its machines."""
    if not POOL_NAME.fullmatch(name):
        raise bad(
            "InvalidParameter",
            f"The value of parameter agentPool.name is invalid: '{name}'. A Linux agent pool's name must start with a "
            "lowercase letter, have max length of 12, and only have characters a-z0-9.",
        )
    size = size_called(pool.get("vmSize"), region)
    if size is None:
        raise bad(
            "BadRequest",
            f"The VM size of {pool.get('vmSize')} is not allowed in your subscription in location '{region}'. For more "
            "details, please visit https://aka.ms/aks/quotas-skus-regions",
        )
    _check_counts(pool)
    for taint in pool.get("nodeTaints", []):
        if not TAINT.fullmatch(taint):
            raise bad("InvalidParameter", f"The value of parameter agentPool.nodeTaints is invalid: '{taint}'.")
    if pool["mode"] == "System" and pool.get("scaleSetPriority") == "Spot":
        raise bad("InvalidParameter", "A system agent pool cannot be a spot pool.")
    if _driver_profile(pool) and not size.gpus:
        raise bad("InvalidParameter", f"gpuProfile is for sizes with a GPU; {size.name} has none.")
    if _managed_gpus(pool) and pool["enableAutoScaling"]:
        raise bad("BadRequest", "Cluster autoscaler is not supported with managed GPU nodes.")
    return size


def _check_counts(pool: Json) -> None:
    least = 1 if pool["mode"] == "System" else 0
    if pool["powerState"]["code"] == "Running" and not least <= pool["count"] <= MAX_COUNT:
        raise bad(
            "InvalidParameter",
            f"The value of parameter agentPool.count is invalid: {pool['count']}. {pool['mode']} pools have from "
            f"{least} to {MAX_COUNT} machines.",
        )
    minimum, maximum = pool.get("minCount"), pool.get("maxCount")
    if not pool["enableAutoScaling"]:
        if minimum is not None or maximum is not None:
            raise bad(
                "InvalidParameter",
                "The value of parameter agentPool.minCount or maxCount is invalid: enableAutoScaling is not true.",
            )
        return
    if minimum is None or maximum is None:
        raise bad("InvalidParameter", "minCount and maxCount are needed with enableAutoScaling.")
    if not least <= minimum <= maximum <= MAX_COUNT or not minimum <= pool["count"] <= maximum:
        raise bad(
            "InvalidParameter",
            f"minCount {minimum}, count {pool['count']} and maxCount {maximum} must be in ascending order, from "
            f"{least} to {MAX_COUNT}.",
        )


def check_unchanged(names: Iterable[str], before: Json, after: Json) -> None:
    """Refuse to change what is fixed. What a request leaves out is not changed."""
    for name in names:
        asked = _at(after, name)
        if asked is not None and asked != _at(before, name):
            raise bad("PropertyChangeNotAllowed", f"Changing property 'properties.{name}' is not allowed.")


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _driver_profile(pool: Mapping[str, Any]) -> Json:
    return pool.get("gpuProfile") or {}


def _managed_gpus(pool: Mapping[str, Any]) -> bool:
    nvidia = _driver_profile(pool).get("nvidia") or {}
    return nvidia.get("managementMode") == "Managed"


def machines_of(name: str, pool: Json, size: VmSize, region: str) -> NodePool:
    """Return what Kubernetes sees of a pool."""
    labels = {
        "agentpool": name,
        "kubernetes.azure.com/agentpool": name,
        "kubernetes.azure.com/mode": pool["mode"].lower(),
        "kubernetes.io/os": pool["osType"].lower(),
        "node.kubernetes.io/instance-type": size.name,
        "topology.kubernetes.io/region": region,
        **({"kubernetes.azure.com/accelerator": "nvidia"} if size.gpus else {}),
        **({"kubernetes.azure.com/scalesetpriority": "spot"} if pool.get("scaleSetPriority") == "Spot" else {}),
        **pool.get("nodeLabels", {}),
    }
    taints = [found.groups(default="") for found in map(TAINT.fullmatch, pool.get("nodeTaints", [])) if found]
    autoscaling = pool["enableAutoScaling"]
    return NodePool(
        name=name,
        labels=labels,
        taints=tuple((key, value, effect) for key, value, effect in taints),
        vcpus=size.vcpus,
        memory_gib=size.memory_gib,
        gpus=size.gpus,
        minimum=pool["minCount"] if autoscaling else pool["count"],
        maximum=pool["maxCount"] if autoscaling else pool["count"],
        autoscaling=autoscaling,
        driver=_driver_profile(pool).get("driver", "Install") == "Install",
        device_plugin=_managed_gpus(pool),
    )
