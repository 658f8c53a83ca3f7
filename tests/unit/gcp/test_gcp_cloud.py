# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the GKE half does, call by call, on a project in memory."""

from __future__ import annotations

import typing as t

import pytest
from google.cloud import container_v1

from ansible_collections.budgetguard.techops.plugins.module_utils._plan import Change, Resource, Step
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ConflictError, ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _gcp_objects as objects
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._cluster import GPU_POOL
from ansible_collections.budgetguard.techops.plugins.module_utils._providers.gcp import GcpCloud
from tests.unit.gcp.cases import CA_PEM, PROJECT, FakeSession, as_read, busy, nim, our_cluster, settings

CLUSTER = f"projects/{PROJECT}/locations/us-central1-a/clusters/budgetguard"
POOL = "nim-g2-standard-12"


def cloud(session: FakeSession, **options: t.Any) -> GcpCloud:
    return GcpCloud(t.cast(t.Any, session), settings(**options))


def pool(max_nodes: int = 1, **spec: t.Any) -> Resource:
    return Resource(GPU_POOL, POOL, {**objects.pool_spec(settings(), nim("g2-standard-12"), max_nodes), **spec})


def cluster_step(action: str) -> Step:
    item = Resource(objects.GKE_CLUSTER, "budgetguard", objects.cluster_spec(settings()))
    return Step(action, objects.GKE_CLUSTER, "budgetguard", None, want=item if action == "create" else None, have=item)


def update(*fields: str, have: Resource | None = None) -> Step:
    changes = tuple(Change(field, None, None) for field in fields)
    return Step("update", GPU_POOL, POOL, None, pool(3), have or pool(), changes)


def pool_in_state(status: str) -> dict[str, t.Any]:
    return {**objects.pool_body(settings(), pool(), workload_identity=True), "status": status}


# ---- looking ---------------------------------------------------------------------------------------------------------


def test_a_look_is_one_call() -> None:
    session = FakeSession(our_cluster())
    target = cloud(session)
    assert target.read().exists
    assert target.access().host == "https://203.0.113.7"
    assert session.calls == [("get_cluster", {"name": CLUSTER})]


def test_settling_and_looking_is_one_call() -> None:
    session = FakeSession(our_cluster())
    target = cloud(session)
    target.settle()
    assert target.read().exists
    assert session.methods == ["get_cluster"]
    target.read()
    assert session.methods == ["get_cluster"] * 2, "only the first look after settling is spared"


def test_settling_waits_for_what_an_earlier_run_has_begun() -> None:
    session = FakeSession(
        our_cluster(status="PROVISIONING"),
        our_cluster(pool_in_state("PROVISIONING")),
        our_cluster(pool_in_state("RUNNING")),
    )
    target = cloud(session)
    target.settle()
    view = target.read()
    assert view.closed is None
    assert (GPU_POOL, POOL) in view.resources
    assert session.methods == ["get_cluster"] * 3


def test_settling_without_a_cluster() -> None:
    target = cloud(FakeSession(None))
    target.settle()
    assert not target.read().exists


def test_the_way_in_of_a_cluster_just_made() -> None:
    session = FakeSession(None, our_cluster())
    target = cloud(session)
    target.read()
    target.apply(cluster_step("create"))
    access = target.access()
    assert (access.host, access.ca_pem, access.token()) == ("https://203.0.113.7", CA_PEM, "token")
    assert session.methods == ["get_cluster", "create_cluster", "get_cluster"]


def test_no_way_in() -> None:
    with pytest.raises(ProviderError, match="there is no GKE cluster"):
        cloud(FakeSession(None)).access()
    with pytest.raises(ProviderError, match="--enable-dns-access"):
        cloud(FakeSession(our_cluster()), dns_endpoint=True).access()


# ---- translating -----------------------------------------------------------------------------------------------------


def test_an_autopilot_cluster_is_refused() -> None:
    target = cloud(FakeSession(as_read({"name": "budgetguard", "autopilot": {"enabled": True}})))
    with pytest.raises(ValueError, match="Autopilot"):
        target.cluster_resources([], target.read().resources)


def test_names_and_annotations() -> None:
    target = cloud(FakeSession(None))
    assert target.pool_name(nim("g2-standard-12")) == POOL
    assert target.load_balancer_annotations("internal")["networking.gke.io/load-balancer-type"] == "Internal"
    assert target.load_balancer_annotations("public") == {}
    with pytest.raises(ValueError, match="set spot to where_needed"):
        target.pool_name(nim("a3-highgpu-1g"))


# ---- changing --------------------------------------------------------------------------------------------------------


def test_a_new_cluster() -> None:
    session = FakeSession(None)
    cloud(session).apply(cluster_step("create"))
    (_method, request) = session.calls[0]
    assert request["parent"] == f"projects/{PROJECT}/locations/us-central1-a"
    sent = container_v1.CreateClusterRequest(request)
    assert [found.name for found in sent.cluster.node_pools] == ["system"]
    assert session.waited == ["operation-1"]


@pytest.mark.parametrize("workload_identity", [True, False])
def test_a_new_pool(workload_identity: bool) -> None:
    found = our_cluster() if workload_identity else as_read({"name": "budgetguard"})
    session = FakeSession(found)
    target = cloud(session)
    target.read()
    target.apply(Step("create", GPU_POOL, POOL, None, want=pool(2)))
    method, request = session.calls[-1]
    sent = container_v1.CreateNodePoolRequest(request)
    assert (method, sent.parent, sent.node_pool.name) == ("create_node_pool", CLUSTER, POOL)
    assert (sent.node_pool.config.workload_metadata_config.mode.name == "GKE_METADATA") is workload_identity


def test_a_pool_of_a_cluster_just_made() -> None:
    session = FakeSession(None)
    target = cloud(session)
    target.read()
    target.apply(cluster_step("create"))
    target.apply(Step("create", GPU_POOL, POOL, None, want=pool()))
    sent = container_v1.CreateNodePoolRequest(session.calls[-1][1])
    assert sent.node_pool.config.workload_metadata_config.mode.name == "GKE_METADATA"


@pytest.mark.parametrize(
    ("fields", "methods"),
    [
        (["max_nodes"], ["set_node_pool_autoscaling"]),
        (["min_nodes"], ["set_node_pool_autoscaling"]),
        (["labels.budgetguard.io/gpu-pool"], ["update_node_pool"]),
        (["labels.x", "max_nodes"], ["set_node_pool_autoscaling", "update_node_pool"]),
        (["max_nodes", "usable"], ["delete_node_pool", "create_node_pool"]),
    ],
)
def test_changing_a_pool(fields: list[str], methods: list[str]) -> None:
    session = FakeSession(our_cluster())
    cloud(session).apply(update(*fields))
    assert session.methods == methods
    assert len(session.waited) == len(methods)


def test_what_is_sent_to_change_a_pool() -> None:
    session = FakeSession(our_cluster())
    cloud(session).apply(update("max_nodes", "labels", have=pool(labels={"mine": "x"})))
    limits, labels = (request for _method, request in session.calls)
    assert limits["name"] == labels["name"] == f"{CLUSTER}/nodePools/{POOL}"
    assert container_v1.SetNodePoolAutoscalingRequest(limits).autoscaling.total_max_node_count == 3
    sent = container_v1.UpdateNodePoolRequest(labels).labels.labels
    assert sent["mine"] == "x", "GKE replaces all labels, so those of others have to be sent along"
    assert sent["budgetguard.io/gpu-pool"] == POOL


def test_deleting() -> None:
    session = FakeSession(our_cluster())
    target = cloud(session)
    target.apply(Step("delete", GPU_POOL, POOL, None, have=pool()))
    target.apply(cluster_step("delete"))
    assert session.calls == [
        ("delete_node_pool", {"name": f"{CLUSTER}/nodePools/{POOL}"}),
        ("delete_cluster", {"name": CLUSTER}),
    ]


def test_another_operation_is_waited_for_before_looking_again() -> None:
    session = FakeSession(our_cluster(pool_in_state("PROVISIONING")), our_cluster())
    session.refusals["create_node_pool"] = busy("operation-17-ab")
    target = cloud(session)
    with pytest.raises(ConflictError):
        target.apply(Step("create", GPU_POOL, POOL, None, want=pool()))
    assert session.waited == ["operation-17-ab"]
    assert session.methods == ["create_node_pool", "get_cluster", "get_cluster"]


def test_what_is_there_already_is_looked_at_again() -> None:
    session = FakeSession(our_cluster())
    session.refusals["create_cluster"] = ConflictError("409 ALREADY_EXISTS")
    with pytest.raises(ConflictError):
        cloud(session).apply(cluster_step("create"))
    assert (session.methods, session.waited) == (["create_cluster", "get_cluster"], [])


# ---- before the first change -----------------------------------------------------------------------------------------


def started() -> list[Step]:
    item = nim("g2-standard-12", start=True)
    return [Step("create", "deployment", item.name, item.name, Resource("deployment", item.name, {"spec.replicas": 1}))]


def test_no_quota_is_read_for_nothing() -> None:
    session = FakeSession(our_cluster())
    cloud(session).preflight([nim("g2-standard-12")], [], {})
    assert session.asked_quotas == []


def test_all_quotas_that_do_not_suffice_are_told() -> None:
    session = FakeSession(our_cluster())
    session.listed = {
        "us-central1": [{"metric": "NVIDIA_L4_GPUS", "limit": 1, "usage": 1}],
        None: [{"metric": "GPUS_ALL_REGIONS", "limit": 0, "usage": 0}],
    }
    with pytest.raises(ProviderError) as caught:
        cloud(session).preflight([nim("g2-standard-12", start=True)], started(), {})
    first, second = str(caught.value).splitlines()
    assert "NVIDIA_L4_GPUS of region us-central1 is 1, 1 are in use and 1 more are needed" in first
    assert "GPUS_ALL_REGIONS of project my-studio is 0" in second


def test_quotas_that_may_not_be_read_stop_nobody() -> None:
    session = FakeSession(our_cluster())
    session.listed = {"us-central1": None, None: None}
    cloud(session).preflight([nim("g2-standard-12", start=True)], started(), {})
    assert session.asked_quotas == ["us-central1", None]
