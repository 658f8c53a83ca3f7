# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bodies that the SDK's own types accept, and what GKE's answers mean."""

from __future__ import annotations

import typing as t

import pytest
from google.cloud import container_v1

from ansible_collections.budgetguard.techops.plugins.module_utils import _gpu
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import Resource, compare
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _gcp_objects as objects
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._cluster import (
    GPU_POOL,
    POOL_LABEL,
    TIER_LABEL,
)
from tests.unit.gcp.cases import CA_PEM, PROJECT, as_read, nim, our_cluster, settings

MACHINES = [row.name for row in _gpu.MACHINES if row.provider == "gcp"]


def wanted_pool(machine: str, max_nodes: int = 1, **options: t.Any) -> Resource:
    chosen = settings(**options)
    item = nim(machine)
    return Resource(GPU_POOL, objects.pool_name(chosen, item), objects.pool_spec(chosen, item, max_nodes))


def pool_body(machine: str, max_nodes: int = 1, **options: t.Any) -> dict[str, t.Any]:
    return objects.pool_body(settings(**options), wanted_pool(machine, max_nodes, **options), workload_identity=True)


def seen_pool(body: dict[str, t.Any], **changes: t.Any) -> Resource:
    view = objects.view(our_cluster({**body, **changes}), settings())
    return view.resources[GPU_POOL, body["name"]]


@pytest.mark.parametrize("options", [{}, {"spot": "always"}, {"spot": "always", "flex_start": True}])
@pytest.mark.parametrize("machine", MACHINES)
def test_a_pool_that_was_made_needs_no_change(machine: str, options: dict[str, t.Any]) -> None:
    if _gpu.machine("gcp", machine).spot_only:
        options = {"spot": "where_needed", **options}
    container_v1.NodePool(pool_body(machine, 3, **options))
    want = wanted_pool(machine, 3, **options)
    have = seen_pool(pool_body(machine, 3, **options))
    assert have.managed
    assert compare(want.spec, have.spec) == []


def test_a_pool_of_gpu_machines() -> None:
    body = pool_body("a2-ultragpu-1g", 2)
    assert body["name"] == "nim-a2-ultragpu-1g"
    assert body["initial_node_count"] == 0
    assert body["locations"] == ["us-central1-a"]
    assert body["autoscaling"] == {
        "enabled": True,
        "total_min_node_count": 0,
        "total_max_node_count": 2,
        "location_policy": "ANY",
    }
    config = body["config"]
    assert config["labels"] == {POOL_LABEL: "nim-a2-ultragpu-1g", TIER_LABEL: "a100-80gb"}
    assert config["accelerators"] == [
        {
            "accelerator_type": "nvidia-a100-80gb",
            "accelerator_count": 1,
            "gpu_driver_installation_config": {"gpu_driver_version": "DEFAULT"},
        }
    ]
    assert config["ephemeral_storage_local_ssd_config"] == {"local_ssd_count": 1}
    assert config["resource_labels"] == {
        "budgetguard-managed": "true",
        "budgetguard-cluster": "budgetguard",
        "budgetguard-gpu-tier": "a100-80gb",
    }
    assert "taints" not in config, "GKE sets the GPU's taint by itself"
    assert "spot" not in config
    assert "flex_start" not in config


def test_local_disks_that_come_by_themselves_are_not_counted() -> None:
    assert "ephemeral_storage_local_ssd_config" not in pool_body("a3-highgpu-8g")["config"]


@pytest.mark.parametrize(
    ("machine", "disk"), [("g4-standard-48", "hyperdisk-balanced"), ("g2-standard-12", "pd-balanced")]
)
def test_start_disks(machine: str, disk: str) -> None:
    assert pool_body(machine)["config"]["disk_type"] == disk


def test_spot_and_flex_start_pools_have_names_of_their_own() -> None:
    spot, flex = pool_body("a3-highgpu-1g", spot="where_needed"), pool_body("a3-highgpu-1g", flex_start=True)
    assert (spot["name"], spot["config"]["spot"]) == ("nim-a3-highgpu-1g-spot", True)
    assert (flex["name"], flex["config"]["flex_start"]) == ("nim-a3-highgpu-1g-flex", True)
    assert flex["management"]["auto_repair"] is False
    assert "upgrade_settings" not in flex


@pytest.mark.parametrize("machine", MACHINES)
def test_names_of_pools_are_short_enough(machine: str) -> None:
    chosen = settings(spot="always")
    assert len(objects.pool_name(chosen, nim(machine))) <= 40


def test_drift_of_a_pool() -> None:
    body = pool_body("g2-standard-12", 4)
    want = wanted_pool("g2-standard-12", 4).spec
    grown = seen_pool(body, autoscaling=objects.autoscaling(2))
    off = seen_pool(body, autoscaling={"enabled": False})
    moved = seen_pool(body, locations=["us-central1-b"])
    relabelled = seen_pool({**body, "config": {**body["config"], "labels": {TIER_LABEL: "l4", "mine": "x"}}})
    assert [change.path for change in compare(want, grown.spec)] == ["max_nodes"]
    assert [change.path for change in compare(want, off.spec)] == ["max_nodes"]
    assert [change.path for change in compare(want, moved.spec)] == ["zones"]
    assert [change.path for change in compare(want, relabelled.spec)] == [f"labels.{POOL_LABEL}"]


def test_limits_per_zone_count_for_all_zones() -> None:
    limits = {"enabled": True, "min_node_count": 1, "max_node_count": 2}
    found = seen_pool(pool_body("g2-standard-12"), autoscaling=limits, locations=["us-central1-a", "us-central1-b"])
    assert (found.spec["min_nodes"], found.spec["max_nodes"]) == (2, 4)


def test_a_pool_that_gke_has_given_up() -> None:
    condition = {"canonical_code": "RESOURCE_EXHAUSTED", "message": "no machines\nleft"}
    found = seen_pool(pool_body("g2-standard-12"), status="ERROR", conditions=[condition])
    assert found.spec["usable"] is False
    assert found.facts["problem"] == "RESOURCE_EXHAUSTED: no machines left"


def test_pools_of_others_are_listed_but_not_ours() -> None:
    theirs = {"name": "nim-g2-standard-12", "config": {"machine_type": "g2-standard-12"}}
    resources = objects.view(our_cluster(theirs), settings()).resources
    assert not resources[GPU_POOL, "nim-g2-standard-12"].managed
    assert not resources[GPU_POOL, "system"].managed, "the system pool goes with the cluster"


# ---- clusters --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"private_nodes": True, "dns_endpoint": True, "node_service_account": "nim@my-studio.iam.gserviceaccount.com"},
        {"network": "studio", "subnetwork": "gpus"},
    ],
)
def test_a_cluster_that_was_made_needs_no_change(options: dict[str, t.Any]) -> None:
    chosen = settings(**options)
    view = objects.view(as_read(objects.cluster_body(PROJECT, chosen)), chosen)
    have = view.resources[objects.GKE_CLUSTER, "budgetguard"]
    assert have.managed
    assert compare(objects.cluster_spec(chosen), have.spec) == []
    assert (view.exists, view.closed, view.warnings) == (True, None, ())
    assert (view.location, view.version) == ("us-central1-a", "1.36.2-gke.1")


def test_full_names_of_networks_are_the_same_as_short_ones() -> None:
    chosen = settings(network="projects/host/global/networks/studio")
    body = objects.cluster_body(PROJECT, chosen)
    assert body["network"] == "projects/host/global/networks/studio"
    have = objects.view(as_read(body), chosen).resources[objects.GKE_CLUSTER, "budgetguard"]
    assert compare(objects.cluster_spec(chosen), have.spec) == []


def test_what_is_fixed_is_seen_to_differ() -> None:
    have = objects.view(our_cluster(), settings()).resources[objects.GKE_CLUSTER, "budgetguard"]
    changes = compare(objects.cluster_spec(settings(private_nodes=True, network="studio")), have.spec)
    assert [change.path for change in changes] == ["network", "private_nodes"]


def test_no_cluster() -> None:
    view = objects.view(None, settings())
    assert (view.exists, dict(view.resources), view.location) == (False, {}, "us-central1-a")


@pytest.mark.parametrize(
    ("status", "closed"),
    [
        ("RUNNING", None),
        ("RECONCILING", None),
        ("DEGRADED", None),
        ("PROVISIONING", "GKE is still creating the cluster budgetguard"),
        ("ERROR", "cannot be used: QUOTA: too few processors"),
    ],
)
def test_state_of_the_cluster(status: str, closed: str | None) -> None:
    cluster = our_cluster(status=status, conditions=[{"canonical_code": 0, "message": ""}] if not closed else [])
    cluster["conditions"] = [{"canonical_code": "QUOTA", "message": "too few\n processors"}]
    view = objects.view(cluster, settings())
    assert view.exists
    assert (view.closed is None) if closed is None else closed in (view.closed or "")
    assert bool(view.warnings) is (status == "DEGRADED")


def test_a_cluster_that_is_being_deleted_counts_as_gone() -> None:
    view = objects.view(our_cluster(status="STOPPING"), settings())
    assert not view.exists
    assert not view.resources
    assert "still deleting" in view.warnings[0]


def test_a_pool_that_is_being_deleted_counts_as_gone() -> None:
    view = objects.view(our_cluster(pool_body("g2-standard-12") | {"status": "STOPPING"}), settings())
    assert (GPU_POOL, "nim-g2-standard-12") not in view.resources


@pytest.mark.parametrize(
    ("cluster_status", "pool_status", "expected"),
    [
        ("RUNNING", "RUNNING", False),
        ("RECONCILING", "RUNNING", False),
        ("RUNNING", "RECONCILING", False),
        ("RUNNING", "ERROR", False),
        ("PROVISIONING", "RUNNING", True),
        ("STOPPING", "RUNNING", True),
        ("RUNNING", "PROVISIONING", True),
        ("RUNNING", "STOPPING", True),
    ],
)
def test_what_is_waited_for(cluster_status: str, pool_status: str, expected: bool) -> None:
    pool = pool_body("g2-standard-12") | {"status": pool_status}
    assert objects.in_progress(our_cluster(pool, status=cluster_status)) is expected


def test_a_cluster_of_others() -> None:
    theirs = as_read({"name": "budgetguard", "node_pools": [{"name": "default-pool"}], "autopilot": {"enabled": True}})
    view = objects.view(theirs, settings())
    found = view.resources[objects.GKE_CLUSTER, "budgetguard"]
    assert not found.managed
    assert found.facts == {"autopilot": True, "workload_identity": False}
    assert "network policy" in view.warnings[0]


@pytest.mark.parametrize(
    "part",
    [{"network_config": {"datapath_provider": "ADVANCED_DATAPATH"}}, {"network_policy": {"enabled": True}}],
)
def test_either_way_of_enforcing_network_policies_will_do(part: dict[str, t.Any]) -> None:
    assert objects.view(as_read({"name": "budgetguard", **part}), settings()).warnings == ()


# ---- the way in ------------------------------------------------------------------------------------------------------


def test_ip_endpoint() -> None:
    assert objects.endpoint(our_cluster(), dns=False) == ("https://203.0.113.7", CA_PEM)


def test_dns_endpoint() -> None:
    config = {"endpoint": "gke-1.us-central1.gke.goog", "allow_external_traffic": True}
    cluster = our_cluster(control_plane_endpoints_config={"dns_endpoint_config": config})
    assert objects.endpoint(cluster, dns=True) == ("https://gke-1.us-central1.gke.goog", None)


@pytest.mark.parametrize("config", [{}, {"endpoint": "gke-1.us-central1.gke.goog"}])
def test_a_dns_endpoint_that_is_closed(config: dict[str, t.Any]) -> None:
    cluster = our_cluster(control_plane_endpoints_config={"dns_endpoint_config": config})
    with pytest.raises(ValueError, match="--enable-dns-access"):
        objects.endpoint(cluster, dns=True)


@pytest.mark.parametrize(
    ("part", "problem"), [({"endpoint": ""}, "no IP endpoint"), ({"master_auth": {}}, "authority")]
)
def test_an_ip_endpoint_that_is_missing(part: dict[str, t.Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        objects.endpoint(our_cluster(**part), dns=False)
