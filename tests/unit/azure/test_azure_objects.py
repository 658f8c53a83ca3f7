# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What we send to Azure, and how its answers are understood. No calls."""

from __future__ import annotations

import base64
import re
import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _gpu
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import compare
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _azure_objects as objects
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._cluster import (
    GPU_POOL,
    POOL_LABEL,
    TIER_LABEL,
)
from tests.sandbox.azure.bodies import mistakes
from tests.unit.azure.cases import A10, A100, T4, answer, nim, pool_answer, settings

SUBNET = "/subscriptions/s/resourceGroups/net/providers/Microsoft.Network/virtualNetworks/studio/subnets/nims"
CLUSTER_KEY = (objects.AKS_CLUSTER, "budgetguard")
GROUP_KEY = (objects.RESOURCE_GROUP, "studio")


# ---- what we send ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("machine", [row.name for row in _gpu.MACHINES if row.provider == "azure"])
def test_a_pool_s_name_is_one_that_aks_takes(machine: str) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9]{0,11}", objects.pool_name(nim(machine)))


def test_each_machine_type_has_a_pool_of_its_own() -> None:
    machines = [row.name for row in _gpu.MACHINES if row.provider == "azure"]
    assert len({objects.pool_name(nim(machine)) for machine in machines}) == len(machines)
    assert objects.pool_name(nim(A100, name="nim-a")) == objects.pool_name(nim(A100, name="nim-b"))


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="defaults"),
        pytest.param(
            {
                "subnet_id": SUBNET,
                "kubernetes_version": "1.36",
                "admin_group_object_ids": ["11111111-1111-1111-1111-111111111111"],
                "cluster": "Studio_A",
            },
            id="everything",
        ),
    ],
)
def test_the_cluster_is_one_that_the_sdk_s_model_allows(options: dict[str, t.Any]) -> None:
    body = objects.cluster_body(settings(**options), "eastus", own_group=True)
    assert mistakes("ManagedCluster", body) == []


def test_the_cluster_lets_nobody_in_but_by_entra_id_and_enforces_network_policies() -> None:
    properties = objects.cluster_body(settings(), "eastus", own_group=True)["properties"]
    assert properties["disableLocalAccounts"] is True
    assert properties["aadProfile"] == {"managed": True, "enableAzureRBAC": True}
    assert properties["networkProfile"]["networkPolicy"] == "cilium"


def test_what_can_be_set_of_a_new_cluster() -> None:
    chosen = settings(
        subnet_id=SUBNET, kubernetes_version="1.36", admin_group_object_ids=["g"], system_nodes=3, system_machine="X"
    )
    properties = objects.cluster_body(chosen, "eastus", own_group=False)["properties"]
    assert properties["kubernetesVersion"] == "1.36"
    assert properties["aadProfile"]["adminGroupObjectIDs"] == ["g"]
    system = properties["agentPoolProfiles"][0]
    assert (system["count"], system["vmSize"], system["vnetSubnetID"]) == (3, "X", SUBNET)


def test_the_public_name_has_no_underscore_and_ends_with_a_letter_or_digit() -> None:
    body = objects.cluster_body(settings(cluster="a_" * 31 + "b"), "eastus", own_group=True)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,52}[A-Za-z0-9]", body["properties"]["dnsPrefix"])


def test_the_pool_is_one_that_the_sdk_s_model_allows() -> None:
    body = objects.pool_body(settings(), objects.pool_spec(nim(), 3), SUBNET)
    assert mistakes("AgentPool", body) == []


def test_a_new_pool_has_no_machine_and_grows_by_itself() -> None:
    properties = objects.pool_body(settings(), objects.pool_spec(nim(), 3), None)["properties"]
    assert (properties["mode"], properties["count"]) == ("User", 0)
    assert (properties["enableAutoScaling"], properties["minCount"], properties["maxCount"]) == (True, 0, 3)
    assert properties["nodeTaints"] == ["nvidia.com/gpu=present:NoSchedule"]
    assert properties["gpuProfile"] == {"driver": "Install"}
    assert "vnetSubnetID" not in properties
    assert properties["tags"] == {
        "budgetguard:managed": "true",
        "budgetguard:cluster": "budgetguard",
        "budgetguard:gpu-tier": "a100-80gb",
    }


# ---- what we read ----------------------------------------------------------------------------------------------------


def test_what_we_made_is_read_as_what_we_want() -> None:
    view = objects.view_of(settings(), answer(pool_answer(nim())))
    cluster, pool = view.resources[CLUSTER_KEY], view.resources[(GPU_POOL, objects.pool_name(nim()))]
    assert (view.exists, view.location, view.version, view.closed, view.asleep) == (
        True,
        "eastus",
        "1.36.4",
        None,
        False,
    )
    assert (cluster.managed, cluster.spec["power"], cluster.spec["failed"]) == (True, "Running", False)
    assert view.resources[GROUP_KEY].managed
    assert compare(objects.pool_spec(nim(), 1), pool.spec) == []
    assert pool.managed
    assert view.warnings == ()


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"maxCount": 7}, "max_nodes"),
        ({"enableAutoScaling": False, "minCount": None, "maxCount": None}, "autoscaling"),
        ({"nodeTaints": None}, "taints"),
        ({"nodeLabels": {POOL_LABEL: "other"}}, f"labels.{POOL_LABEL}"),
        ({"powerState": {"code": "Stopped"}}, "power"),
        ({"vmSize": T4}, "machine"),
        ({"provisioningState": "Failed"}, "failed"),
    ],
)
def test_what_somebody_changed_in_a_pool_is_seen(change: dict[str, t.Any], path: str) -> None:
    view = objects.view_of(settings(), answer({**pool_answer(nim()), **change}))
    pool = view.resources[(GPU_POOL, objects.pool_name(nim()))]
    assert path in [found.path for found in compare(objects.pool_spec(nim(), 1), pool.spec)]


def test_more_labels_on_a_pool_are_nobody_s_business() -> None:
    labels = {POOL_LABEL: objects.pool_name(nim()), TIER_LABEL: "a100-80gb", "team": "fx"}
    view = objects.view_of(settings(), answer(pool_answer(nim(), nodeLabels=labels)))
    assert compare(objects.pool_spec(nim(), 1), view.resources[(GPU_POOL, objects.pool_name(nim()))].spec) == []


def test_the_system_pool_and_pools_of_others_are_not_ours() -> None:
    view = objects.view_of(settings(), answer({**pool_answer(nim(A10)), "tags": None}))
    pools = {key[1]: item.managed for key, item in view.resources.items() if key[0] == GPU_POOL}
    assert pools == {"system": False, objects.pool_name(nim(A10)): False}


def test_a_pool_that_is_being_deleted_is_marked() -> None:
    view = objects.view_of(settings(), answer(pool_answer(nim(), "Deleting")))
    assert view.resources[(GPU_POOL, objects.pool_name(nim()))].ending


CLOSED = [
    pytest.param({"state": "Creating"}, False, "is being created", "Running", id="creating"),
    pytest.param({"state": "Starting", "power": "Stopped"}, False, "is being switched on", "Running", id="starting"),
    pytest.param({"state": "Stopping"}, True, "is being switched off", "Running", id="stopping"),
    pytest.param({"power": "Stopped"}, True, "is switched off", "Stopped", id="stopped"),
]


@pytest.mark.parametrize(("change", "asleep", "text", "power"), CLOSED)
def test_why_the_kubernetes_api_cannot_be_asked(change: dict[str, t.Any], asleep: bool, text: str, power: str) -> None:
    view = objects.view_of(settings(), answer(**change))
    assert text in str(view.closed)
    assert (view.exists, view.asleep) == (True, asleep)
    assert view.resources[CLUSTER_KEY].spec["power"] == power


def test_a_cluster_that_never_came_up_says_why_and_is_to_be_repaired() -> None:
    status = {"provisioningError": {"code": "SubnetIsFull", "message": "The subnet is full."}}
    view = objects.view_of(settings(), answer(state="Failed", fqdn=None, status=status))
    assert str(view.closed).endswith("has no Kubernetes API: The subnet is full.")
    assert view.resources[CLUSTER_KEY].spec["failed"] is True


def test_a_cluster_whose_last_change_failed_goes_on_with_a_warning() -> None:
    view = objects.view_of(settings(), answer(state="Failed"))
    assert view.closed is None
    assert view.resources[CLUSTER_KEY].spec["failed"] is False
    assert "its last operation is in state Failed" in view.warnings[0]


@pytest.mark.parametrize("policy", [None, "none"])
def test_a_cluster_that_ignores_network_policies_is_warned_of(policy: str | None) -> None:
    view = objects.view_of(settings(), answer(networkProfile={"networkPolicy": policy}))
    assert "no network policy engine" in view.warnings[0]


@pytest.mark.parametrize(
    ("pool_state", "state", "unsettled", "busy"),
    [
        ("Succeeded", "Succeeded", False, False),
        ("Failed", "Succeeded", False, False),
        ("Creating", "Succeeded", True, True),
        ("Succeeded", "Deleting", True, True),
        ("Updating", "Succeeded", False, True),
        ("Succeeded", "Upgrading", False, True),
    ],
)
def test_what_is_waited_for(pool_state: str, state: str, unsettled: bool, busy: bool) -> None:
    found = answer(pool_answer(nim(), pool_state), state=state)
    assert (objects.is_unsettled(found), objects.is_busy(found)) == (unsettled, busy)


def test_new_pools_join_the_subnet_of_the_system_pool() -> None:
    found = answer()
    assert objects.subnet_of(found) is None
    found["properties"]["agentPoolProfiles"][0]["vnetSubnetID"] = SUBNET
    assert objects.subnet_of(found) == SUBNET


# ---- the way in ------------------------------------------------------------------------------------------------------

PEM = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n"
KUBECONFIG = """
apiVersion: v1
kind: Config
clusters:
- name: c
  cluster: {{server: "https://studio.example:443", certificate-authority-data: {authority}}}
users:
- name: u
  user: {user}
"""


def kubeconfig(user: str, authority: str = base64.b64encode(PEM.encode()).decode()) -> bytes:
    return KUBECONFIG.format(user=user, authority=authority).encode()


def test_of_a_cluster_with_entra_id_only_address_and_authority_are_taken() -> None:
    found = objects.read_kubeconfig(kubeconfig("{exec: {command: kubelogin, args: [get-token]}}"))
    assert found == ("https://studio.example:443", PEM, None)


def test_the_token_of_a_local_account_is_used() -> None:
    found = objects.read_kubeconfig(kubeconfig("{token: abc, client-certificate-data: eA==}"))
    assert found == ("https://studio.example:443", PEM, "abc")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"clusters: []", id="no-cluster"),
        pytest.param(kubeconfig("{client-certificate-data: eA==}"), id="certificate-only"),
        pytest.param(kubeconfig("{exec: {}}", authority="not-base64!"), id="not-base64"),
    ],
)
def test_what_cannot_be_used_is_said(content: bytes) -> None:
    with pytest.raises(objects.KubeconfigError, match=r"^it "):
        objects.read_kubeconfig(content)
