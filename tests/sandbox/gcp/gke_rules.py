# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What GKE refuses, and what it fills in. Nothing here changes a cluster.

Objects are in the JSON form of Google's APIs: empty values are left out, 64-bit numbers are texts.
"""

from __future__ import annotations

import re
from typing import Any

from tests.sandbox.gcp.bodies import Json, invalid
from tests.sandbox.gcp.machines import (
    ACCELERATORS,
    N1_COUNTS,
    TYPES,
    ZONES,
    ZONES_WITHOUT_GPUS,
    MachineType,
    gpu_quota,
    region_of,
    zones_of,
)
from tests.sandbox.gcp.quotas import ALL_CPUS, ALL_GPUS, CPUS
from tests.sandbox.kube import NodePool

#: Supported versions with their newest patch release, and the one that a cluster gets by itself.
VERSIONS = {
    "1.34": "1.34.9-gke.1283000",
    "1.35": "1.35.6-gke.1104000",
    "1.36": "1.36.3-gke.1215000",
}
DEFAULT_VERSION = "1.36"
NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
LABEL_KEY = re.compile(r"[a-z][-_a-z0-9]{0,62}")
LABEL_VALUE = re.compile(r"[-_a-z0-9]{0,63}")
GPU_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}
EFFECTS = {"NO_SCHEDULE": "NoSchedule", "PREFER_NO_SCHEDULE": "PreferNoSchedule", "NO_EXECUTE": "NoExecute"}
DRIVERS = ("DEFAULT", "LATEST")
DEFAULT_MACHINE = "e2-medium"
DEFAULTS_OF_CONFIG: Json = {
    "machineType": DEFAULT_MACHINE,
    "diskSizeGb": 100,
    "diskType": "pd-balanced",
    "imageType": "COS_CONTAINERD",
    "serviceAccount": "default",
    "oauthScopes": ["https://www.googleapis.com/auth/cloud-platform"],
    "metadata": {"disable-legacy-endpoints": "true"},
    "shieldedInstanceConfig": {"enableIntegrityMonitoring": True},
}
DEFAULTS_OF_POOL: Json = {
    "management": {"autoUpgrade": True, "autoRepair": True},
    "maxPodsConstraint": {"maxPodsPerNode": "110"},
    "podIpv4CidrSize": 24,
    "upgradeSettings": {"maxSurge": 1, "strategy": "SURGE"},
}
#: Fields that only answers have.
OUTPUT_OF_CLUSTER = (
    "selfLink",
    "zone",
    "location",
    "endpoint",
    "currentMasterVersion",
    "currentNodeVersion",
    "createTime",
    "status",
    "statusMessage",
    "id",
    "conditions",
    "labelFingerprint",
)
OUTPUT_OF_POOL = ("selfLink", "instanceGroupUrls", "status", "statusMessage", "conditions")


def check_location(location: str) -> str:
    """Return the region of a location that exists."""
    region = region_of(location)
    if region is None:
        raise invalid(f'Location "{location}" does not exist.')
    return region


def check_cluster(cluster: Json) -> None:
    """Refuse a cluster that GKE would not create, without regard to its pools."""
    _check_output_only("cluster", cluster, OUTPUT_OF_CLUSTER)
    _check_name("cluster.name", cluster.get("name", ""))
    pools, nodes = cluster.get("nodePools"), cluster.get("initialNodeCount")
    if cluster.get("autopilot", {}).get("enabled"):
        raise invalid("The sandbox simulates standard clusters only, not Autopilot.")
    if not pools and not nodes:
        raise invalid("Cluster.initial_node_count must be greater than zero.")
    if pools and (nodes or cluster.get("nodeConfig")):
        raise invalid("Cluster.initial_node_count, node_config and Cluster.node_pools cannot be set at the same time.")
    if cluster.get("masterAuth", {}).get("username"):
        raise invalid("Basic authentication was removed for GKE cluster versions >= 1.19.")
    check_labels(cluster.get("resourceLabels", {}))
    version_of(cluster.get("initialClusterVersion"))


def check_labels(labels: dict[str, str]) -> None:
    """Refuse labels of Google Cloud resources that are not lower case."""
    for key, value in labels.items():
        if not LABEL_KEY.fullmatch(key) or not LABEL_VALUE.fullmatch(value):
            raise invalid(
                f"Invalid resource label {key!r}: {value!r}. Keys and values hold lowercase letters, digits, - and _ "
                "only, and a key starts with a letter."
            )


def version_of(asked: str | None) -> str:
    """Return the version with patch number that a request for one gets."""
    asked = asked if asked and asked not in ("-", "latest") else DEFAULT_VERSION
    for minor, full in VERSIONS.items():
        if asked in (minor, full, full.partition("-")[0]):
            return full
    raise invalid(f'No valid versions with the prefix "{asked}" found.')


def pool_with_defaults(pool: Json, location: str, version: str) -> Json:
    """Return a pool as it is kept: what was asked for, else what GKE fills in."""
    return {
        **DEFAULTS_OF_POOL,
        "version": version,
        "locations": zones_of(location),
        **pool,
        "config": {**DEFAULTS_OF_CONFIG, **pool.get("config", {})},
    }


def check_pool(pool: Json, region: str) -> MachineType:
    """Refuse a pool (with its defaults) that GKE would not make. Returns the type of its machines."""
    _check_output_only("node_pool", pool, OUTPUT_OF_POOL)
    _check_name("node_pool.name", pool.get("name", ""))
    config = pool["config"]
    for zone in pool["locations"]:
        if ZONES.get(zone) != region:
            raise invalid(f'Zone "{zone}" is not in region "{region}".')
    wanted = config["machineType"]
    machine = TYPES.get(wanted)
    if machine is None:
        zone = pool["locations"][0]
        raise invalid(f'Machine type with name "{wanted}" does not exist in zone "{zone}".')
    _check_accelerators(config, machine, pool["locations"])
    _check_provisioning(config, machine)
    check_labels(config.get("resourceLabels", {}))
    for taint in config.get("taints", []):
        if taint.get("effect") not in EFFECTS:
            raise invalid(f"The taint {taint.get('key')} has no effect.")
    check_autoscaling(pool)
    return machine


def _check_accelerators(config: Json, machine: MachineType, zones: list[str]) -> None:
    asked = config.get("accelerators", [])
    if not asked and not machine.gpus:
        return
    closed = sorted(ZONES_WITHOUT_GPUS.intersection(zones))
    if closed:
        raise invalid(f'Accelerator type of machine type "{machine.name}" does not exist in zone {closed[0]}.')
    if len(asked) > 1:
        raise invalid("A node pool has accelerators of one type only.")
    if not asked:
        raise invalid(f"The machine type {machine.name} needs its accelerators to be named: {machine.accelerator}.")
    kind, count = asked[0].get("acceleratorType", ""), int(asked[0].get("acceleratorCount", 0))
    if kind not in ACCELERATORS:
        raise invalid(f'Accelerator type "{kind}" does not exist in zone {zones[0]}.')
    if machine.gpus and (kind != machine.accelerator or count != machine.gpus):
        raise invalid(
            f"The machine type {machine.name} has {machine.gpus} x {machine.accelerator}, not {count} x {kind}."
        )
    fits_n1 = machine.name.startswith("n1-") and kind == "nvidia-tesla-t4" and count in N1_COUNTS
    if not machine.gpus and not fits_n1:
        raise invalid(f"Accelerator type {kind} ({count}) cannot be attached to machine type {machine.name}.")


def _check_provisioning(config: Json, machine: MachineType) -> None:
    spot, flexible = config.get("spot", False), config.get("flexStart", False)
    if spot and flexible:
        raise invalid("spot and flex_start cannot be set at the same time.")
    if machine.spot_only and not spot and not flexible:
        raise invalid(f"Machine type {machine.name} is only supported with Spot VMs or Flex-start.")


def check_autoscaling(pool: Json) -> None:
    """Refuse limits that contradict each other."""
    scaling = pool.get("autoscaling", {})
    if not scaling.get("enabled"):
        return
    per_zone = {"minNodeCount", "maxNodeCount"} & set(scaling)
    total = {"totalMinNodeCount", "totalMaxNodeCount"} & set(scaling)
    if per_zone and total:
        raise invalid("total_min_node_count and total_max_node_count exclude min_node_count and max_node_count.")
    prefix = "totalM" if total else "m"
    low, high = scaling.get(f"{prefix}inNodeCount", 0), scaling.get(f"{prefix}axNodeCount", 0)
    if high < 1 or low > high:
        raise invalid(f"Autoscaling needs 0 <= minimum <= maximum and 1 <= maximum, got {low} and {high}.")


def _check_output_only(what: str, body: Json, names: tuple[str, ...]) -> None:
    sent = sorted(set(body) & set(names))
    if sent:
        raise invalid(f"{what}.{sent[0]} is output only.")


def _check_name(what: str, name: str) -> None:
    if not NAME.fullmatch(name):
        raise invalid(
            f'Invalid value for field "{what}": "{name}". Must be a match of regex '
            "'(?:[a-z](?:[-a-z0-9]{0,38}[a-z0-9])?)'."
        )


def has_gpus(pool: Json) -> bool:
    """Whether a pool's machines have accelerators."""
    return bool(pool["config"].get("accelerators"))


def taint_gpus(pools: list[Json]) -> None:
    """Add GKE's own taint to pools with GPUs, which it does where other pools can take the other pods."""
    if all(has_gpus(pool) for pool in pools):
        return
    for pool in filter(has_gpus, pools):
        taints = pool["config"].setdefault("taints", [])
        if not any(taint.get("key") == GPU_TAINT["key"] for taint in taints):
            taints.append(dict(GPU_TAINT))


def amounts(pool: Json, nodes: int) -> dict[str, int]:
    """Return what so many machines of a pool use up, by quota."""
    machine = TYPES[pool["config"]["machineType"]]
    needed = {CPUS: nodes * machine.vcpus, ALL_CPUS: nodes * machine.vcpus}
    for item in pool["config"].get("accelerators", []):
        gpus = nodes * int(item["acceleratorCount"])
        needed[gpu_quota(item["acceleratorType"], pool["config"].get("spot", False))] = gpus
        needed[ALL_GPUS] = gpus
    return {name: amount for name, amount in needed.items() if amount}


def machines_of(pool: Json, count: int, region: str) -> NodePool:
    """Return what Kubernetes sees of a pool; `count` is its number of machines per zone."""
    config = pool["config"]
    machine = TYPES[config["machineType"]]
    accelerators = config.get("accelerators", [])
    labels: dict[str, Any] = {
        "cloud.google.com/gke-nodepool": pool["name"],
        "cloud.google.com/gke-boot-disk": config["diskType"],
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": machine.name,
        "topology.kubernetes.io/region": region,
    }
    if len(pool["locations"]) == 1:
        labels["topology.kubernetes.io/zone"] = pool["locations"][0]
    for item in accelerators:
        labels["cloud.google.com/gke-accelerator"] = item["acceleratorType"]
    if config.get("spot"):
        labels["cloud.google.com/gke-spot"] = "true"
    if config.get("flexStart"):
        labels["cloud.google.com/gke-flex-start"] = "true"
    minimum, maximum = _limits(pool, count)
    return NodePool(
        name=pool["name"],
        labels={**labels, **config.get("labels", {})},
        taints=tuple(
            (taint["key"], taint.get("value", ""), EFFECTS[taint["effect"]]) for taint in config.get("taints", [])
        ),
        vcpus=machine.vcpus,
        memory_gib=machine.memory_gib,
        gpus=sum(int(item["acceleratorCount"]) for item in accelerators),
        minimum=minimum,
        maximum=maximum,
        autoscaling=bool(pool.get("autoscaling", {}).get("enabled")),
        driver=any(
            item.get("gpuDriverInstallationConfig", {}).get("gpuDriverVersion") in DRIVERS for item in accelerators
        ),
        device_plugin=True,
    )


def _limits(pool: Json, count: int) -> tuple[int, int]:
    zones = len(pool["locations"])
    scaling = pool.get("autoscaling", {})
    if not scaling.get("enabled"):
        return count * zones, count * zones
    if "totalMaxNodeCount" in scaling:
        return scaling.get("totalMinNodeCount", 0), scaling["totalMaxNodeCount"]
    return scaling.get("minNodeCount", 0) * zones, scaling.get("maxNodeCount", 0) * zones
