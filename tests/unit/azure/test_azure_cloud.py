# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a cluster and its GPU pools on Azure, also when something goes wrong."""

from __future__ import annotations

import typing as t

import pytest
import requests

from ansible_collections.budgetguard.techops.plugins.module_utils._plan import PlanError, Resource, Step
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ConflictError, ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _azure_objects as objects
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._cluster import GPU_POOL
from tests.sandbox.azure.entra import IDENTITY_HEADER, KUBERNETES
from tests.unit.azure.cases import A10, A100, nim, nim_step
from tests.unit.azure.subscription import CLUSTER, GROUP, REGION, Subscription

A100_POOL, A10_POOL = objects.pool_name(nim(A100)), objects.pool_name(nim(A10))
CREATE_CLUSTER, CREATE_POOL = "ManagedClusters_CreateOrUpdate", "AgentPools_CreateOrUpdate"
FIRST_STEPS = [
    f"create resource_group {GROUP}",
    f"create aks_cluster {CLUSTER}",
    f"create gpu_pool {A100_POOL}",
]


def deep_stop() -> Step:
    return Step("create", objects.DEEP_STOP, CLUSTER, None, Resource(objects.DEEP_STOP, CLUSTER, {"power": "Stopped"}))


# ---- making and changing ---------------------------------------------------------------------------------------------


def test_from_nothing_to_a_cluster_with_a_pool(subscription: Subscription) -> None:
    assert subscription.bring(nim()) == FIRST_STEPS
    assert subscription.resources() == {
        "resource_groups": [GROUP],
        "clusters": [f"{GROUP}/{CLUSTER}"],
        "agent_pools": [f"{GROUP}/{CLUSTER}/{A100_POOL}", f"{GROUP}/{CLUSTER}/system"],
    }


def test_what_is_there_is_left_alone_and_read_with_one_call(subscription: Subscription) -> None:
    subscription.bring(nim(A100), nim(A10))
    subscription.control.clear_calls()
    assert subscription.bring(nim(A100), nim(A10)) == []
    assert subscription.calls() == ["ManagedClusters_Get"]


def test_the_region_may_be_left_out_later(subscription: Subscription) -> None:
    with pytest.raises(ValueError, match="set region to have it made"):
        subscription.bring(nim(), region=None)
    subscription.bring(nim())
    assert subscription.bring(nim(), region=None) == []


def test_a_cluster_does_not_move(subscription: Subscription) -> None:
    subscription.bring()
    with pytest.raises(PlanError, match="location of aks_cluster budgetguard is 'eastus'"):
        subscription.bring(region="westeurope")


def test_check_mode_s_look_at_nothing_changes_nothing(subscription: Subscription) -> None:
    view = subscription.cloud().read()
    assert (view.exists, dict(view.resources), view.closed) == (False, {}, None)
    assert subscription.calls() == ["ManagedClusters_Get", "ResourceGroups_Get"]


def test_more_copies_make_a_pool_larger(subscription: Subscription) -> None:
    subscription.bring(nim())
    assert subscription.bring(nim(replicas=3)) == [f"update gpu_pool {A100_POOL} (max_nodes)"]
    assert subscription.bring(nim(replicas=3)) == []


def test_what_somebody_changed_in_a_pool_is_put_back_and_the_rest_is_kept(subscription: Subscription) -> None:
    subscription.bring(nim())
    pools = subscription.client().agent_pools
    pool: t.Any = pools.get(GROUP, CLUSTER, A100_POOL)
    pool["properties"].update({"nodeTaints": [], "nodeLabels": {"team": "fx"}, "maxCount": 5})
    pools.begin_create_or_update(GROUP, CLUSTER, A100_POOL, pool).result()
    steps = subscription.bring(nim())
    assert len(steps) == 1
    assert {"max_nodes", "taints"} <= set(steps[0].partition("(")[2].rstrip(")").split(", "))
    assert subscription.bring(nim()) == []
    assert pools.get(GROUP, CLUSTER, A100_POOL).as_dict()["properties"]["nodeLabels"]["team"] == "fx"


def test_a_change_in_between_is_a_conflict(subscription: Subscription) -> None:
    subscription.bring(nim())
    cloud = subscription.cloud()
    steps = subscription.steps(cloud, nim(replicas=2))
    subscription.control.fault(CREATE_POOL, "EtagMismatch", status=412)
    with pytest.raises(ConflictError, match=f"cannot change the GPU pool {A100_POOL}"):
        cloud.apply(steps[0])
    assert subscription.bring(nim(replicas=2)) == [f"update gpu_pool {A100_POOL} (max_nodes)"]


# ---- the way into the cluster ----------------------------------------------------------------------------------------


def test_the_way_in_is_one_call_and_one_token(subscription: Subscription) -> None:
    subscription.bring()
    subscription.control.clear_calls()
    cloud = subscription.cloud()
    access = cloud.access()
    assert cloud.access() is access
    assert (access.token(), subscription.calls()) == (access.token(), ["ManagedClusters_ListClusterUserCredentials"])
    bodies = [call["body"] for call in subscription.control.calls("entra", "token")]
    assert len([body for body in bodies if f"scope={KUBERNETES}" in body]) == 1
    answer = requests.get(
        f"{access.host}/api/v1/namespaces", headers={"Authorization": f"Bearer {access.token()}"}, timeout=10
    )
    assert answer.status_code == 200
    assert str(access.ca_pem).startswith("-----BEGIN CERTIFICATE-----")


# ---- other work going on ---------------------------------------------------------------------------------------------


def test_a_killed_run_s_cluster_is_waited_for_and_not_made_twice(subscription: Subscription) -> None:
    cloud = subscription.cloud()
    for step in subscription.steps(cloud)[:1]:
        cloud.apply(step)
    subscription.control.defaults(cluster_seconds=1)
    body: t.Any = objects.cluster_body(cloud.settings, REGION, own_group=True)
    subscription.client().managed_clusters.begin_create_or_update(GROUP, CLUSTER, body, polling=False)
    closed = subscription.cloud().read()
    assert "is being created" in str(closed.closed)
    assert subscription.bring() == []
    assert subscription.writes().count(CREATE_CLUSTER) == 1
    assert subscription.cloud().read().resources[objects.RESOURCE_GROUP, GROUP].managed


def test_two_runs_make_one_cluster(subscription: Subscription) -> None:
    first, second = subscription.cloud(), subscription.cloud()
    steps = subscription.steps(first)
    for step in steps:
        first.apply(step)
    with pytest.raises(ConflictError, match="cannot create the AKS cluster budgetguard"):
        second.apply(steps[1])
    assert subscription.bring() == []


def test_other_work_on_the_cluster_is_waited_for_before_looking_again(subscription: Subscription) -> None:
    subscription.bring(nim(A100))
    cloud = subscription.cloud()
    steps = subscription.steps(cloud, nim(A100), nim(A10))
    subscription.control.defaults(cluster_seconds=1)
    subscription.client().agent_pools.begin_delete(GROUP, CLUSTER, A100_POOL, polling=False)
    with pytest.raises(ConflictError, match=f"cannot create the GPU pool {A10_POOL}"):
        cloud.apply(steps[0])
    assert subscription.resources()["agent_pools"] == [f"{GROUP}/{CLUSTER}/system"]


def test_a_throttled_api_only_takes_longer(subscription: Subscription) -> None:
    for action in ("ManagedClusters_Get", CREATE_CLUSTER, CREATE_POOL):
        soon = {"x-ms-retry-after-ms": "20"}
        subscription.control.fault(action, "TooManyRequests", status=429, headers=soon, times=6)
    assert subscription.bring(nim()) == FIRST_STEPS
    assert subscription.control.faults() == []


# ---- failures --------------------------------------------------------------------------------------------------------


def test_a_cluster_that_azure_gives_up_is_repaired_by_the_next_run(subscription: Subscription) -> None:
    subscription.control.fault(CREATE_POOL, "SkuNotAvailable", message="No such size now.", when="operation")
    with pytest.raises(ProviderError, match=r"cannot create the GPU pool .*No such size now \(SkuNotAvailable\)"):
        subscription.bring(nim())
    assert subscription.bring(nim()) == [f"update gpu_pool {A100_POOL} (failed)"]
    assert subscription.bring(nim()) == []


def test_a_quota_that_azure_finds_used_up_is_no_conflict(subscription: Subscription) -> None:
    subscription.control.fault(CREATE_POOL, "QuotaExceeded", message="Family x is full.", status=409, times=None)
    with pytest.raises(ProviderError, match="Family x is full") as caught:
        subscription.bring(nim())
    assert not isinstance(caught.value, ConflictError)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"secret": "wrong"}, "Azure does not accept the service principal .*AADSTS7000215"),
        ({"client_id": "nobody"}, "Azure does not accept the service principal nobody .*AADSTS700016"),
        ({"tenant": "nowhere"}, "tenant nowhere"),
        ({"subscription_id": "mine"}, "SubscriptionNotFound"),
    ],
)
def test_wrong_credentials_are_one_clear_error(
    subscription: Subscription, changes: dict[str, t.Any], text: str
) -> None:
    with pytest.raises(ProviderError, match=f"cannot read the AKS cluster budgetguard: .*{text}") as caught:
        subscription.bring(nim(), **changes)
    assert "\n" not in str(caught.value)
    assert "Trace ID" not in str(caught.value)
    assert subscription.writes() == []


def test_the_client_s_secret_goes_to_entra_id_only(subscription: Subscription) -> None:
    subscription.bring(nim())
    seen = subscription.control.calls_containing(subscription.env["AZURE_CLIENT_SECRET"])
    assert {call["service"] for call in seen} == {"entra"}


def test_a_managed_identity_does_as_well(subscription: Subscription, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = subscription.env["AZURE_RESOURCE_MANAGER_ENDPOINT"]
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{endpoint}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
    nobody = {"tenant": None, "client_id": None, "secret": None}
    assert subscription.bring(auth_source="managed_identity", **nobody) == FIRST_STEPS[:2]
    assert subscription.bring(auth_source="auto", **nobody) == []


# ---- quotas ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "limit", "text"),
    [
        ("StandardNCADSA100v4Family", 23, "for even one of the machines: its limit is 23 vCPUs, 24 are needed"),
        ("standardDASv5Family", 7, "its limit is 7 vCPUs, 0 are in use, 8 more are needed"),
        ("cores", 7, "Total Regional vCPUs (cores) of region eastus"),
    ],
)
def test_a_quota_that_is_too_small_is_told_before_anything_is_made(
    subscription: Subscription, name: str, limit: int, text: str
) -> None:
    subscription.control.quota("azure", REGION, name, limit)
    with pytest.raises(ProviderError) as caught:
        subscription.bring(nim())
    assert text in str(caught.value)
    assert subscription.writes() == []


def test_machines_that_follow_at_once_count_on_top_of_those_that_run(subscription: Subscription) -> None:
    subscription.bring(nim())
    cloud = subscription.cloud()
    seen = cloud.read().resources
    started = nim(start=True)
    subscription.control.quota("azure", REGION, "cores", 31)
    with pytest.raises(ProviderError, match="its limit is 31 vCPUs, 8 are in use, 24 more are needed"):
        cloud.preflight([started], [nim_step(started, after=1, before=0)], seen)
    subscription.control.quota("azure", REGION, "cores", 32)
    cloud.preflight([started], [nim_step(started, after=1, before=0)], seen)


def test_quotas_that_may_not_be_read_stop_nobody(subscription: Subscription) -> None:
    subscription.control.fault("Usage_List", "AuthorizationFailed", status=403, times=None)
    assert subscription.bring(nim()) == FIRST_STEPS


# ---- switching the whole cluster off ---------------------------------------------------------------------------------


def test_the_cluster_is_switched_off_and_on_again(subscription: Subscription) -> None:
    subscription.bring(nim())
    cloud = subscription.cloud(stop_cluster=True)
    idle = cloud.idle_resources(cloud.read().resources)
    assert [item.key for item in idle] == [(objects.DEEP_STOP, CLUSTER)]
    cloud.apply(deep_stop())
    view = cloud.read()
    assert (view.asleep, view.closed) == (True, "the AKS cluster budgetguard is switched off")
    assert cloud.idle_resources(view.resources) == []
    assert subscription.bring(nim()) == [f"update aks_cluster {CLUSTER} (power)"]
    assert subscription.cloud().read().closed is None


def test_nobody_s_cluster_is_switched_off_without_being_asked_for(subscription: Subscription) -> None:
    subscription.bring()
    cloud = subscription.cloud()
    assert cloud.idle_resources(cloud.read().resources) == []


# ---- somebody else's cluster -----------------------------------------------------------------------------------------


def test_somebody_else_s_cluster_gets_our_pools_and_keeps_the_rest(subscription: Subscription) -> None:
    subscription.make_foreign_cluster()
    assert subscription.bring(nim()) == [f"create gpu_pool {A100_POOL}"]
    cloud = subscription.cloud(stop_cluster=True)
    assert cloud.idle_resources(cloud.read().resources) == []
    assert subscription.remove() == [f"delete gpu_pool {A100_POOL}"]
    assert subscription.resources()["clusters"] == [f"{GROUP}/{CLUSTER}"]


def test_somebody_else_s_cluster_is_not_switched_on(subscription: Subscription) -> None:
    subscription.make_foreign_cluster()
    subscription.client().managed_clusters.begin_stop(GROUP, CLUSTER).result()
    subscription.control.clear_calls()
    with pytest.raises(ProviderError, match="switch it on first: az aks start -g studio -n budgetguard"):
        subscription.bring(nim())
    assert subscription.writes() == []


def test_somebody_else_s_cluster_in_another_region_is_a_mistake(subscription: Subscription) -> None:
    subscription.make_foreign_cluster()
    with pytest.raises(ValueError, match="region is westeurope, but the AKS cluster budgetguard is in eastus"):
        subscription.bring(nim(), region="westeurope")


def test_a_pool_of_our_name_that_somebody_else_made_is_not_touched(subscription: Subscription) -> None:
    subscription.bring()
    body: t.Any = {"properties": {"vmSize": A100, "count": 0, "mode": "User", "osType": "Linux"}}
    subscription.client().agent_pools.begin_create_or_update(GROUP, CLUSTER, A100_POOL, body).result()
    with pytest.raises(PlanError, match=f"gpu_pool {A100_POOL} exists but was not made by this collection"):
        subscription.bring(nim())


# ---- removing --------------------------------------------------------------------------------------------------------


def test_removing_leaves_nothing(subscription: Subscription) -> None:
    subscription.bring(nim())
    assert subscription.remove() == [
        f"delete gpu_pool {A100_POOL}",
        f"delete aks_cluster {CLUSTER}",
        f"delete resource_group {GROUP}",
    ]
    assert subscription.resources() == {}
    assert subscription.remove() == []


def test_a_resource_group_that_was_there_is_kept(subscription: Subscription) -> None:
    session = subscription.cloud().session
    session.rest("make a group", "PUT", f"resourceGroups/{GROUP}", "2021-04-01", {"location": "westeurope"})
    assert subscription.bring() == FIRST_STEPS[1:2]
    assert subscription.remove() == [f"delete aks_cluster {CLUSTER}"]
    assert subscription.resources() == {"resource_groups": [GROUP]}


def test_a_resource_group_with_things_of_others_is_kept(subscription: Subscription) -> None:
    subscription.bring()
    subscription.bring(cluster="render")
    with pytest.raises(ProviderError, match=r"the resource group studio is kept, .*: render"):
        subscription.remove()
    assert subscription.remove() == [], "the next run leaves it alone"
    assert subscription.resources()["clusters"] == [f"{GROUP}/render"]


def test_a_cluster_that_somebody_is_deleting_is_waited_for_and_made_again(subscription: Subscription) -> None:
    subscription.bring()
    subscription.control.defaults(cluster_seconds=1)
    subscription.client().managed_clusters.begin_delete(GROUP, CLUSTER, polling=False)
    assert not subscription.cloud().read().exists
    assert subscription.bring() == [f"create aks_cluster {CLUSTER}"]


def test_a_pool_is_known_by_its_kind(subscription: Subscription) -> None:
    subscription.bring(nim())
    pools = {key[1]: item for key, item in subscription.cloud().read().resources.items() if key[0] == GPU_POOL}
    assert {name: item.managed for name, item in pools.items()} == {A100_POOL: True, "system": False}
