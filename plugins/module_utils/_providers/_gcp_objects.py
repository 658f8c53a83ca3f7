# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The bodies of GKE's objects and what their answers mean. Pure: plain data in, plain data out."""

from __future__ import annotations

import base64
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _gpu
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Wanted
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import Resource
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._cluster import (
    GPU_POOL,
    POOL_LABEL,
    TIER_LABEL,
    ClusterView,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_settings import (
    FLEX_START,
    ON_DEMAND,
    SPOT,
    GcpSettings,
)

GKE_CLUSTER = "gke_cluster"

SYSTEM_POOL = "system"
"""The pool of machines without a GPU, on which the gateway runs. It comes and goes with the cluster."""

MANAGED = "budgetguard-managed"
CLUSTER = "budgetguard-cluster"
TIER = "budgetguard-gpu-tier"
"""Google's labels have no colons, so these stand for the tags of the same names on other clouds."""

_NODE_SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
"""What machines may do is a matter of their service account's roles, as Google recommends, not of old scopes."""

_SYSTEM_DISK_GB = 50
_GPU_DISK_GB = 200
"""The start disk holds the container images, of which a NIM's has tens of gigabytes; models have disks of their own."""

_LOCAL_SSD_GIB = 375

_SUFFIXES = {ON_DEMAND: "", SPOT: "-spot", FLEX_START: "-flex"}

_IN_PROGRESS = frozenset({"PROVISIONING", "STOPPING"})


def cluster_path(project: str, settings: GcpSettings) -> str:
    """Return the full name of the cluster."""
    return f"projects/{project}/locations/{settings.location}/clusters/{settings.cluster}"


def pool_path(project: str, settings: GcpSettings, pool: str) -> str:
    """Return the full name of a node pool."""
    return f"{cluster_path(project, settings)}/nodePools/{pool}"


# ---- what is wanted ------------------------------------------------------------------------------------------------


def cluster_spec(settings: GcpSettings) -> dict[str, t.Any]:
    """Return what is compared of the cluster. All of it is fixed once the cluster is there."""
    spec: dict[str, t.Any] = {"location": settings.location, "private_nodes": settings.private_nodes}
    if settings.network:
        spec["network"] = _last_part(settings.network)
    if settings.subnetwork:
        spec["subnetwork"] = _last_part(settings.subnetwork)
    return spec


def cluster_body(project: str, settings: GcpSettings) -> dict[str, t.Any]:
    """Return a new cluster with its system pool, as CreateClusterRequest has it.

    Dataplane V2 is what makes NetworkPolicies count. Workload identity keeps the machines' own service account out of
    the reach of what runs in the containers.
    """
    body: dict[str, t.Any] = {
        "name": settings.cluster,
        "resource_labels": {MANAGED: "true", CLUSTER: settings.cluster},
        "release_channel": {"channel": "REGULAR"},
        "ip_allocation_policy": {"use_ip_aliases": True},
        "network_config": {"datapath_provider": "ADVANCED_DATAPATH"},
        "workload_identity_config": {"workload_pool": f"{project}.svc.id.goog"},
        "cost_management_config": {"enabled": True},
        "shielded_nodes": {"enabled": True},
        "node_pools": [
            {
                "name": SYSTEM_POOL,
                "initial_node_count": settings.system_nodes_per_zone,
                "management": {"auto_repair": True, "auto_upgrade": True},
                "config": {
                    "machine_type": settings.system_machine,
                    "disk_size_gb": _SYSTEM_DISK_GB,
                    "disk_type": "pd-balanced",
                    "resource_labels": {MANAGED: "true", CLUSTER: settings.cluster},
                    "shielded_instance_config": {"enable_secure_boot": True, "enable_integrity_monitoring": True},
                    **_identity(settings, workload_identity=True),
                },
            }
        ],
    }
    if settings.network:
        body["network"] = settings.network
    if settings.subnetwork:
        body["subnetwork"] = settings.subnetwork
    if settings.private_nodes:
        body["network_config"]["default_enable_private_nodes"] = True
    if settings.dns_endpoint:
        body["control_plane_endpoints_config"] = {"dns_endpoint_config": {"allow_external_traffic": True}}
    return body


def pool_name(settings: GcpSettings, item: Wanted) -> str:
    """Return the name of the pool of a NIM's machines. Raises ValueError if it may not rent such a machine."""
    machine = item.machine
    if machine is None:
        raise ValueError(f"{item.name} has no machine type")
    return f"nim-{machine.name}{_SUFFIXES[settings.provisioning(machine)]}"


def pool_spec(settings: GcpSettings, item: Wanted, max_nodes: int) -> dict[str, t.Any]:
    """Return what is compared of the pool of a NIM's machines."""
    machine = item.machine
    if machine is None:
        raise ValueError(f"{item.name} has no machine type")
    return {
        "usable": True,
        "machine": machine.name,
        "gpus": _gpus(machine.accelerator, machine.gpus),
        "provisioning": settings.provisioning(machine),
        "zones": [settings.gpu_zone],
        "labels": {POOL_LABEL: pool_name(settings, item), TIER_LABEL: machine.tier},
        "min_nodes": 0,
        "max_nodes": max_nodes,
    }


def pool_body(settings: GcpSettings, pool: Resource, workload_identity: bool) -> dict[str, t.Any]:
    """Return a new pool, as CreateNodePoolRequest has it.

    The taint ``nvidia.com/gpu`` is missing because GKE sets it by itself. ``gpu_driver_version`` has to be said:
    without it no driver is installed. An upgrade takes a machine away before it brings a new one, because a quota often
    allows just the GPUs that are in use.
    """
    spec = pool.spec
    accelerator, _sep, count = spec["gpus"].partition(" x")
    machine = spec["machine"]
    config: dict[str, t.Any] = {
        "machine_type": machine,
        "image_type": "COS_CONTAINERD",
        "disk_size_gb": _GPU_DISK_GB,
        "disk_type": _disk_type(machine),
        "accelerators": [
            {
                "accelerator_type": accelerator,
                "accelerator_count": int(count),
                "gpu_driver_installation_config": {"gpu_driver_version": "DEFAULT"},
            }
        ],
        "labels": dict(spec["labels"]),
        "resource_labels": {MANAGED: "true", CLUSTER: settings.cluster, TIER: spec["labels"][TIER_LABEL]},
        "gvnic": {"enabled": True},
        **_identity(settings, workload_identity),
    }
    ssds = _gpu.machine("gcp", machine).local_disk_gib // _LOCAL_SSD_GIB
    if ssds and machine.startswith("a2-"):
        # Of machines up to the second generation the local disks have to be counted; later ones bring them along.
        config["ephemeral_storage_local_ssd_config"] = {"local_ssd_count": ssds}
    body: dict[str, t.Any] = {
        "name": pool.name,
        "initial_node_count": 0,
        "locations": list(spec["zones"]),
        "autoscaling": autoscaling(spec["max_nodes"]),
        "management": {"auto_repair": True, "auto_upgrade": True},
        "config": config,
    }
    if spec["provisioning"] == FLEX_START:
        config.update(flex_start=True, reservation_affinity={"consume_reservation_type": "NO_RESERVATION"})
        body["management"]["auto_repair"] = False
    else:
        body["upgrade_settings"] = {"strategy": "SURGE", "max_surge": 0, "max_unavailable": 1}
    if spec["provisioning"] == SPOT:
        config["spot"] = True
    return body


def autoscaling(max_nodes: int) -> dict[str, t.Any]:
    """Return the limits of a pool: the numbers are those of all zones together."""
    return {
        "enabled": True,
        "total_min_node_count": 0,
        "total_max_node_count": max_nodes,
        "location_policy": "ANY",
    }


def _identity(settings: GcpSettings, workload_identity: bool) -> dict[str, t.Any]:
    """Return as whom machines act, and that containers do not."""
    found: dict[str, t.Any] = {"oauth_scopes": _NODE_SCOPES}
    if settings.node_service_account:
        found["service_account"] = settings.node_service_account
    if workload_identity:
        found["workload_metadata_config"] = {"mode": "GKE_METADATA"}
    return found


def _disk_type(machine: str) -> str:
    """Return the kind of start disk: the newest machines take Hyperdisks only."""
    return "hyperdisk-balanced" if machine.startswith("g4-") else "pd-balanced"


def _gpus(accelerator: str, count: int) -> str:
    return f"{accelerator} x{count}"


# ---- what is there -------------------------------------------------------------------------------------------------


def in_progress(cluster: t.Mapping[str, t.Any] | None) -> bool:
    """Say whether the cluster or one of its pools is being made or deleted.

    RECONCILING does not count: Google's own upgrades take hours, and meanwhile everything can be used.
    """
    if cluster is None:
        return False
    return any(item["status"] in _IN_PROGRESS for item in [cluster, *cluster["node_pools"]])


def view(cluster: t.Mapping[str, t.Any] | None, settings: GcpSettings) -> ClusterView:
    """Translate GKE's answer. What is already being deleted counts as gone."""
    if cluster is None:
        return ClusterView({}, exists=False, location=settings.location)
    if cluster["status"] == "STOPPING":
        note = f"GKE is still deleting an earlier cluster {settings.cluster}"
        return ClusterView({}, exists=False, location=settings.location, warnings=(note,))
    found = [_cluster_resource(cluster)]
    found += [_pool_resource(pool) for pool in cluster["node_pools"] if pool["status"] != "STOPPING"]
    return ClusterView(
        {item.key: item for item in found},
        exists=True,
        location=cluster["location"],
        version=cluster["current_master_version"] or None,
        closed=_closed(cluster),
        warnings=tuple(_warnings(cluster)),
    )


def _cluster_resource(cluster: t.Mapping[str, t.Any]) -> Resource:
    spec = {
        "location": cluster["location"],
        "network": _last_part(cluster["network"]),
        "subnetwork": _last_part(cluster["subnetwork"]),
        "private_nodes": bool(
            _inside(cluster, "network_config", "default_enable_private_nodes")
            or _inside(cluster, "private_cluster_config", "enable_private_nodes")
        ),
    }
    facts = {
        "autopilot": bool(_inside(cluster, "autopilot", "enabled")),
        "workload_identity": bool(_inside(cluster, "workload_identity_config", "workload_pool")),
    }
    managed = cluster["resource_labels"].get(MANAGED) == "true"
    return Resource(GKE_CLUSTER, cluster["name"], spec, facts=facts, managed=managed)


def _pool_resource(pool: t.Mapping[str, t.Any]) -> Resource:
    """Describe a pool. The system pool is not ours in this sense: it goes with the cluster, not before it."""
    config, limits = pool.get("config") or {}, pool.get("autoscaling") or {}
    zones = sorted(pool["locations"])
    spec = {
        "usable": pool["status"] != "ERROR",
        "machine": config.get("machine_type"),
        "gpus": ", ".join(
            _gpus(item["accelerator_type"], int(item["accelerator_count"])) for item in config.get("accelerators", [])
        ),
        "provisioning": _provisioning(config),
        "zones": zones,
        "labels": dict(config.get("labels", {})),
        "min_nodes": _limit(limits, "min_node_count", zones),
        "max_nodes": _limit(limits, "max_node_count", zones),
    }
    labels = config.get("resource_labels", {})
    managed = labels.get(MANAGED) == "true" and TIER in labels
    facts = {"problem": _conditions(pool) or pool["status_message"] or None}
    return Resource(GPU_POOL, pool["name"], spec, facts=facts, managed=managed)


def _limit(limits: t.Mapping[str, t.Any], field: str, zones: t.Sequence[str]) -> int:
    """Return a limit of all zones together; where the autoscaler is off it never brings a machine."""
    if not limits.get("enabled"):
        return 0
    return int(limits[f"total_{field}"] or limits[field] * max(1, len(zones)))


def _provisioning(config: t.Mapping[str, t.Any]) -> str:
    if config.get("flex_start"):
        return FLEX_START
    return SPOT if config.get("spot") or config.get("preemptible") else ON_DEMAND


def _closed(cluster: t.Mapping[str, t.Any]) -> str | None:
    if cluster["status"] == "PROVISIONING":
        return f"GKE is still creating the cluster {cluster['name']}"
    if cluster["status"] == "ERROR":
        why = _conditions(cluster) or cluster["status_message"] or "it gives no reason"
        return f"GKE reports that the cluster {cluster['name']} cannot be used: {why}"
    return None


def _warnings(cluster: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    name = cluster["name"]
    if cluster["status"] == "DEGRADED":
        why = _conditions(cluster) or cluster["status_message"] or "no reason given"
        yield f"GKE reports that the cluster {name} needs attention: {why}"
    enforced = _inside(cluster, "network_config", "datapath_provider") == "ADVANCED_DATAPATH"
    if not enforced and not _inside(cluster, "network_policy", "enabled"):
        yield (
            f"the cluster {name} has neither Dataplane V2 nor network policy enforcement, so every pod in it can reach "
            "the NIMs past the gateway"
        )


def _conditions(item: t.Mapping[str, t.Any]) -> str:
    """Return GKE's conditions in one line, for example ``GCE_STOCKOUT: no machines left``."""
    texts = [f"{found['canonical_code']}: {' '.join(found['message'].split())}" for found in item["conditions"]]
    return "; ".join(texts)


def endpoint(cluster: t.Mapping[str, t.Any], dns: bool) -> tuple[str, str | None]:
    """Return the URL of the Kubernetes API and the certificate authority that vouches for it.

    The DNS endpoint has a certificate that everybody knows. Raises ValueError where there is no such endpoint.
    """
    name = cluster["name"]
    if dns:
        found = _inside(cluster, "control_plane_endpoints_config", "dns_endpoint_config") or {}
        if not found.get("endpoint") or not found.get("allow_external_traffic"):
            raise ValueError(
                f"dns_endpoint is true, but the cluster {name} does not allow access by it; allow it with `gcloud "
                f"container clusters update {name} --location {cluster['location']} --enable-dns-access`"
            )
        return f"https://{found['endpoint']}", None
    if not cluster["endpoint"]:
        raise ValueError(f"the cluster {name} has no IP endpoint; set dns_endpoint to true")
    authority = _inside(cluster, "master_auth", "cluster_ca_certificate")
    if not authority:
        raise ValueError(f"GKE gives no certificate authority for the cluster {name}")
    return f"https://{cluster['endpoint']}", base64.b64decode(authority).decode("ascii")


def _inside(item: t.Mapping[str, t.Any], part: str, field: str) -> t.Any:
    """Return a field of a part that may be missing as a whole."""
    return (item.get(part) or {}).get(field)


def _last_part(name: str) -> str:
    """Return the short name where Google has given the full one, such as ``projects/p/global/networks/default``."""
    return name.rpartition("/")[2]
