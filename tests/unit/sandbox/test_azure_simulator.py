# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated Azure, driven by Microsoft's own SDKs over TLS."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
import yaml
from azure.core import MatchConditions
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.identity import ClientSecretCredential, ManagedIdentityCredential
from azure.mgmt.containerservice import ContainerServiceClient

from tests.sandbox import ControlError, Sandbox, SandboxControl
from tests.sandbox.azure.bodies import mistakes
from tests.sandbox.azure.entra import IDENTITY_HEADER, KUBERNETES

GROUP, CLUSTER = "studio", "budgetguard"
VERSION = "api-version=2021-04-01"
A100 = "Standard_NC24ads_A100_v4"
A100_QUOTA = "StandardNCADSA100v4Family"

Body = dict[str, Any]


class Azure:
    """The SDKs' clients, all of one service principal."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env
        self.credential = self.log_in()
        where: dict[str, Any] = {
            "base_url": env["AZURE_RESOURCE_MANAGER_ENDPOINT"],
            "credential_scopes": [f"{env['AZURE_RESOURCE_MANAGER_ENDPOINT']}/.default"],
            "retry_total": 0,
            "polling_interval": 0.05,
        }
        subscription = env["AZURE_SUBSCRIPTION_ID"]
        self.aks: Any = ContainerServiceClient(self.credential, subscription, **where)

    def log_in(self, **changes: str) -> ClientSecretCredential:
        """Return the credential of the service principal."""
        asked = {
            "tenant_id": self.env["AZURE_TENANT_ID"],
            "client_id": self.env["AZURE_CLIENT_ID"],
            "client_secret": self.env["AZURE_CLIENT_SECRET"],
            **changes,
        }
        return ClientSecretCredential(
            **asked, authority=self.env["AZURE_AUTHORITY_HOST"], disable_instance_discovery=True
        )

    def send(self, method: str, path: str, token: str | None = "", query: str = VERSION, **body: Any) -> Any:
        """Send a plain request to Azure Resource Manager, below the subscription; by default with a good token."""
        base = f"{self.env['AZURE_RESOURCE_MANAGER_ENDPOINT']}/subscriptions/{self.env['AZURE_SUBSCRIPTION_ID']}"
        if token == "":
            token = self.credential.get_token("https://management.azure.com/.default").token
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return requests.request(method, f"{base}{path}?{query}", headers=headers, timeout=10, **body)

    def make_group(self, location: str = "eastus") -> None:
        """Make the resource group."""
        answer = self.send("PUT", f"/resourcegroups/{GROUP}", json={"location": location})
        assert answer.status_code in (200, 201), answer.text

    def put_cluster(self, body: Body, **options: Any) -> Any:
        """Create or change the cluster, and wait."""
        return self.aks.managed_clusters.begin_create_or_update(GROUP, CLUSTER, body, **options).result()

    def make_cluster(self, **properties: Any) -> Any:
        """Make the resource group and a cluster in it."""
        self.make_group()
        return self.put_cluster(cluster_body(**properties))

    def put_pool(self, name: str = "gpu", **properties: Any) -> Any:
        """Create or change a pool, and wait."""
        body = {"properties": {**pool_body(), **properties}}
        return self.aks.agent_pools.begin_create_or_update(GROUP, CLUSTER, name, body).result()

    def cluster(self) -> Any:
        """Read the cluster."""
        return self.aks.managed_clusters.get(GROUP, CLUSTER)

    def kubeconfig(self) -> Any:
        """Return the kubeconfig of a user."""
        return yaml.safe_load(
            self.aks.managed_clusters.list_cluster_user_credentials(GROUP, CLUSTER).kubeconfigs[0].value
        )

    def kubernetes(self, path: str = "/api/v1/nodes", scope: str = KUBERNETES) -> requests.Response:
        """Ask the Kubernetes API of the cluster with a token for `scope`."""
        server = self.kubeconfig()["clusters"][0]["cluster"]["server"]
        token = self.credential.get_token(f"{scope}/.default").token
        return requests.get(server + path, headers={"Authorization": f"Bearer {token}"}, timeout=10)


def cluster_body(**properties: Any) -> Body:
    """Return a cluster that AKS would create."""
    return {
        "location": "eastus",
        "identity": {"type": "SystemAssigned"},
        "tags": {"budgetguard:managed": "true"},
        "properties": {
            "dnsPrefix": CLUSTER,
            "disableLocalAccounts": True,
            "aadProfile": {"managed": True, "enableAzureRBAC": True},
            "networkProfile": {"networkDataplane": "cilium", "networkPolicy": "cilium"},
            "agentPoolProfiles": [{"name": "system", "mode": "System", "count": 2, "vmSize": "Standard_D4as_v5"}],
            **properties,
        },
    }


def pool_body() -> Body:
    """Return the settings of a GPU pool."""
    return {
        "mode": "User",
        "vmSize": A100,
        "enableAutoScaling": True,
        "count": 0,
        "minCount": 0,
        "maxCount": 2,
        "nodeLabels": {"budgetguard.io/gpu-tier": "a100-80gb"},
        "nodeTaints": ["nvidia.com/gpu=present:NoSchedule"],
        "gpuProfile": {"driver": "Install"},
    }


def code_of(error: HttpResponseError) -> str | None:
    """Return the cloud's own code of an error."""
    return None if error.error is None else error.error.code


@pytest.fixture
def azure(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Azure:
    """Give an empty subscription."""
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, sandbox.env[name])
    return Azure(sandbox.env)


# -- logging in -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"client_secret": "wrong"}, "AADSTS7000215: Invalid client secret provided"),
        ({"client_id": "00000000-0000-0000-0000-000000000000"}, "AADSTS700016: Application with identifier"),
    ],
)
def test_wrong_credentials_are_refused_in_entras_words(azure: Azure, changes: dict[str, str], message: str) -> None:
    with pytest.raises(ClientAuthenticationError, match=message):
        azure.log_in(**changes).get_token("https://management.azure.com/.default")


def test_another_tenant_is_unknown(azure: Azure) -> None:
    with pytest.raises(ClientAuthenticationError, match="double check your tenant name"):
        azure.log_in(tenant_id="11111111-1111-1111-1111-111111111111").get_token(
            "https://management.azure.com/.default"
        )


def test_managed_identity_gets_tokens_as_on_app_service(azure: Azure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{azure.env['AZURE_AUTHORITY_HOST']}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
    token = ManagedIdentityCredential().get_token("https://management.azure.com/.default").token
    assert azure.send("GET", "/resourcegroups", token).status_code == 200


def test_requests_without_a_good_token_are_challenged(azure: Azure) -> None:
    for_kubernetes = azure.credential.get_token(f"{KUBERNETES}/.default").token
    for token, code in [
        (None, "AuthenticationFailed"),
        ("stolen", "InvalidAuthenticationToken"),
        (for_kubernetes, "InvalidAuthenticationTokenAudience"),
    ]:
        answer = azure.send("GET", "/resourcegroups", token)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, code)
        assert answer.headers["WWW-Authenticate"].startswith('Bearer authorization_uri="https://login.windows.net/')


@pytest.mark.parametrize(
    ("query", "code"), [("", "MissingApiVersionParameter"), ("api-version=new", "InvalidApiVersionParameter")]
)
def test_every_request_needs_an_api_version(azure: Azure, query: str, code: str) -> None:
    answer = azure.send("GET", "/resourcegroups", query=query)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


def test_what_is_not_simulated_is_refused_and_logged_so(azure: Azure, control: SandboxControl) -> None:
    azure.make_cluster()
    with pytest.raises(ResourceNotFoundError, match="The sandbox has no POST"):
        azure.aks.managed_clusters.begin_rotate_cluster_certificates(GROUP, CLUSTER)
    assert control.calls("arm")[-1]["refused"].startswith("The sandbox has no")


def test_another_subscription_is_unknown(azure: Azure) -> None:
    other = ContainerServiceClient(
        azure.credential,
        "22222222-2222-2222-2222-222222222222",
        base_url=azure.env["AZURE_RESOURCE_MANAGER_ENDPOINT"],
    )
    with pytest.raises(ResourceNotFoundError, match="SubscriptionNotFound"):
        other.managed_clusters.get(GROUP, CLUSTER)


# -- resource groups --------------------------------------------------------------------------------------------------


def test_a_resource_group_from_creation_to_deletion(azure: Azure, control: SandboxControl) -> None:
    path = f"/resourceGroups/{GROUP}"
    assert azure.send("HEAD", path).status_code == 404
    assert azure.send("PUT", path, json={"location": "eastus", "tags": {"a": "b"}}).status_code == 201
    assert azure.send("HEAD", path.upper()).status_code == 204
    assert azure.send("GET", path).json()["tags"] == {"a": "b"}
    azure.put_cluster(cluster_body())
    listed = azure.send("GET", f"{path}/resources").json()["value"]
    assert [item["type"] for item in listed] == ["Microsoft.ContainerService/ManagedClusters"]
    begun = azure.send("DELETE", path)
    assert begun.status_code == 202
    wait_for_deletion(azure, begun.headers["Location"])
    answer = azure.send("GET", path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "ResourceGroupNotFound")
    assert "azure" not in control.resources()


def wait_for_deletion(azure: Azure, url: str) -> None:
    """Look where the answer said until the resource group is gone."""
    token = azure.credential.get_token("https://management.azure.com/.default").token
    statuses: list[int] = []
    while not statuses or (statuses[-1] == 202 and len(statuses) < 100):
        statuses.append(requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=10).status_code)
        time.sleep(0.05)
    assert statuses[-1] == 200


@pytest.mark.parametrize(
    ("name", "body", "status", "code"),
    [
        (GROUP, {"location": "westus3"}, 409, "InvalidResourceGroupLocation"),
        ("other", {"location": "atlantis"}, 400, "LocationNotAvailableForResourceGroup"),
        ("other", {"location": "eastus", "tag": {}}, 400, "InvalidRequestContent"),
        ("other.", {"location": "eastus"}, 400, "InvalidResourceGroup"),
    ],
)
def test_wrong_resource_groups_are_refused(azure: Azure, name: str, body: Body, status: int, code: str) -> None:
    azure.make_group()
    answer = azure.send("PUT", f"/resourcegroups/{name}", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


# -- clusters ---------------------------------------------------------------------------------------------------------


def test_a_cluster_is_created_by_and_by(azure: Azure, control: SandboxControl) -> None:
    control.defaults(cluster_seconds=60)
    azure.make_group()
    azure.aks.managed_clusters.begin_create_or_update(GROUP, CLUSTER, cluster_body(), polling=False)
    assert azure.cluster().provisioning_state == "Creating"
    with pytest.raises(ResourceNotFoundError, match="no Kubernetes API yet"):
        azure.kubeconfig()


def test_a_cluster_shows_what_aks_fills_in(azure: Azure) -> None:
    azure.make_cluster()
    cluster = azure.cluster()
    assert (cluster.provisioning_state, cluster.power_state.code) == ("Succeeded", "Running")
    assert cluster.current_kubernetes_version.startswith(f"{cluster.kubernetes_version}.")
    assert cluster.node_resource_group == f"MC_{GROUP}_{CLUSTER}_eastus"
    assert cluster.network_profile.network_plugin == "azure"
    [pool] = cluster.agent_pool_profiles
    assert (pool.name, pool.count, pool.os_type, pool.provisioning_state) == ("system", 2, "Linux", "Succeeded")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dnsPrefx": "x"}, "Could not find member 'dnsPrefx' on object of type 'ManagedClusterProperties'"),
        ({"disableLocalAccounts": "yes"}, "disableLocalAccounts must be of type bool, not str"),
        ({"provisioningState": "Succeeded"}, "provisioningState is read only"),
        ({"dnsPrefix": None}, "dnsPrefix is missing"),
        ({"kubernetesVersion": "1.28"}, "K8sVersionNotSupported"),
        ({"aadProfile": None}, "disableLocalAccounts needs a managed aadProfile"),
        ({"agentPoolProfiles": []}, "at least one system agent pool"),
        (
            {"agentPoolProfiles": [{"name": "System", "mode": "System", "vmSize": "Standard_D4as_v5"}]},
            "max length of 12",
        ),
        ({"agentPoolProfiles": [{"name": "system", "mode": "System", "vmSize": "Standard_NC6s_v3"}]}, "not allowed in"),
    ],
)
def test_a_wrong_cluster_is_refused_before_anything_is_made(azure: Azure, change: Body, message: str) -> None:
    azure.make_group()
    with pytest.raises(HttpResponseError, match=message) as refused:
        azure.put_cluster(cluster_body(**change))
    assert refused.value.status_code == 400
    with pytest.raises(ResourceNotFoundError):
        azure.cluster()


def test_a_cluster_needs_its_group_an_identity_and_a_known_location(azure: Azure) -> None:
    with pytest.raises(ResourceNotFoundError, match="ResourceGroupNotFound"):
        azure.put_cluster(cluster_body())
    azure.make_group()
    changes: list[tuple[Body, str]] = [
        ({"identity": None}, "and so is identity"),
        ({"location": "atlantis"}, "not available"),
    ]
    for change, message in changes:
        with pytest.raises(HttpResponseError, match=message):
            azure.put_cluster({**cluster_body(), **change})


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (cluster_body(dnsPrefix="other"), "PropertyChangeNotAllowed"),
        (cluster_body(networkProfile={"networkPlugin": "none"}), "PropertyChangeNotAllowed"),
        ({**cluster_body(), "location": "westus3"}, "InvalidResourceLocation"),
        (
            cluster_body(
                agentPoolProfiles=[
                    {"name": "system", "mode": "System", "vmSize": "Standard_D4as_v5", "count": 2},
                    {"name": "more", "mode": "User", "vmSize": "Standard_D4as_v5"},
                ]
            ),
            "A new agent pool was introduced",
        ),
    ],
)
def test_what_a_cluster_keeps_for_life(azure: Azure, body: Body, code: str) -> None:
    azure.make_cluster()
    with pytest.raises(HttpResponseError, match=code):
        azure.put_cluster(body)


def test_a_cluster_can_be_changed_with_or_without_its_pools(azure: Azure) -> None:
    azure.make_cluster()
    azure.put_pool()
    body = cluster_body()
    del body["properties"]["agentPoolProfiles"]
    azure.put_cluster({**body, "tags": {"now": "different"}})
    assert azure.cluster().tags == {"now": "different"}
    assert [pool.name for pool in azure.cluster().agent_pool_profiles] == ["system", "gpu"]
    azure.aks.managed_clusters.begin_update_tags(GROUP, CLUSTER, {"tags": {"patched": "yes"}}).result()
    assert azure.cluster().tags == {"patched": "yes"}


def test_one_operation_at_a_time(azure: Azure, control: SandboxControl) -> None:
    azure.make_cluster()
    control.defaults(cluster_seconds=60)
    azure.aks.agent_pools.begin_create_or_update(GROUP, CLUSTER, "gpu", {"properties": pool_body()}, polling=False)
    with pytest.raises(HttpResponseError, match=r"Another agentpool operation \(gpu - Creating\)") as refused:
        azure.aks.managed_clusters.begin_stop(GROUP, CLUSTER)
    assert refused.value.status_code == 409
    assert code_of(refused.value) == "OperationNotAllowed"


def test_etags_guard_against_overwriting(azure: Azure) -> None:
    azure.make_cluster()
    old = azure.cluster().e_tag
    azure.put_cluster(cluster_body(), etag=old, match_condition=MatchConditions.IfNotModified)
    with pytest.raises(HttpResponseError) as refused:
        azure.put_cluster(cluster_body(), etag=old, match_condition=MatchConditions.IfNotModified)
    assert refused.value.status_code == 412
    with pytest.raises(HttpResponseError) as refused:
        azure.put_cluster(cluster_body(), etag="*", match_condition=MatchConditions.IfMissing)
    assert refused.value.status_code == 412


def test_a_stopped_cluster_answers_nothing_and_takes_start_and_delete_only(azure: Azure) -> None:
    azure.make_cluster()
    azure.aks.managed_clusters.begin_stop(GROUP, CLUSTER).result()
    assert azure.cluster().power_state.code == "Stopped"
    assert azure.kubernetes().status_code >= 500
    with pytest.raises(HttpResponseError, match="OperationNotAllowed"):
        azure.put_pool()
    azure.aks.managed_clusters.begin_start(GROUP, CLUSTER).result()
    assert azure.cluster().power_state.code == "Running"
    assert azure.kubernetes().status_code == 200


def test_deletion_of_a_cluster_leaves_nothing(azure: Azure, control: SandboxControl) -> None:
    azure.make_cluster()
    azure.aks.managed_clusters.begin_delete(GROUP, CLUSTER).result()
    with pytest.raises(ResourceNotFoundError, match="ResourceNotFound"):
        azure.cluster()
    azure.aks.managed_clusters.begin_delete(GROUP, CLUSTER).result()
    assert control.resources("azure") == {"resource_groups": [GROUP], "clusters": [], "agent_pools": []}


def test_an_operation_can_fail_in_the_end(azure: Azure, control: SandboxControl) -> None:
    azure.make_cluster()
    control.fault("AgentPools_CreateOrUpdate", "SkuNotAvailable", message="No A100 left.", when="operation")
    with pytest.raises(HttpResponseError, match="No A100 left") as failed:
        azure.put_pool()
    assert code_of(failed.value) == "SkuNotAvailable"
    assert azure.aks.agent_pools.get(GROUP, CLUSTER, "gpu").provisioning_state == "Failed"
    assert azure.put_pool().provisioning_state == "Succeeded"


def test_a_fault_can_say_when_to_try_again(azure: Azure, control: SandboxControl) -> None:
    azure.make_cluster()
    control.fault("ManagedClusters_Get", "TooManyRequests", status=429, headers={"Retry-After": "17"})
    with pytest.raises(HttpResponseError) as refused:
        azure.cluster()
    assert refused.value.status_code == 429
    response: Any = refused.value.response
    assert response.headers["Retry-After"] == "17"


# -- agent pools ------------------------------------------------------------------------------------------------------


def test_a_pool_from_creation_to_deletion(azure: Azure) -> None:
    azure.make_cluster()
    assert azure.put_pool().vm_size == A100
    assert azure.put_pool(maxCount=5).max_count == 5
    assert azure.put_pool(enableAutoScaling=False, count=3, minCount=None, maxCount=None).count == 3
    azure.aks.agent_pools.begin_delete(GROUP, CLUSTER, "gpu").result()
    with pytest.raises(ResourceNotFoundError):
        azure.aks.agent_pools.get(GROUP, CLUSTER, "gpu")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("gpu-pool", {}, "only have characters a-z0-9"),
        ("gpu", {"vmSize": "Standard_NC6s_v3"}, "not allowed in your subscription"),
        ("gpu", {"count": "one"}, "count must be of type int"),
        ("gpu", {"count": 3}, "ascending order"),
        ("gpu", {"enableAutoScaling": False}, "enableAutoScaling is not true"),
        ("gpu", {"maxCount": None}, "minCount and maxCount are needed"),
        ("gpu", {"nodeTaints": ["nvidia.com/gpu"]}, "nodeTaints is invalid"),
        ("gpu", {"gpuProfile": {"driver": "install"}}, "'install', which is none of Install, None"),
        ("gpu", {"gpuProfile": {"nvidia": {"managementMode": "Managed"}}}, "autoscaler is not supported with managed"),
        ("gpu", {"vmSize": "Standard_D4as_v5"}, "gpuProfile is for sizes with a GPU"),
    ],
)
def test_a_wrong_pool_is_refused(azure: Azure, name: str, change: Body, message: str) -> None:
    azure.make_cluster()
    with pytest.raises(HttpResponseError, match=message) as refused:
        azure.put_pool(name, **change)
    assert refused.value.status_code == 400


@pytest.mark.parametrize(
    "change",
    [{"vmSize": "Standard_NC4as_T4_v3"}, {"gpuProfile": {"driver": "None"}}, {"scaleSetPriority": "Spot"}],
)
def test_what_a_pool_keeps_for_life(azure: Azure, change: Body) -> None:
    azure.make_cluster()
    azure.put_pool()
    with pytest.raises(HttpResponseError, match="PropertyChangeNotAllowed"):
        azure.put_pool(**change)


def test_pools_need_their_cluster_and_a_cluster_its_last_system_pool(azure: Azure) -> None:
    azure.make_group()
    with pytest.raises(ResourceNotFoundError, match="ParentResourceNotFound"):
        azure.put_pool()
    azure.put_cluster(cluster_body())
    with pytest.raises(HttpResponseError, match="at least one system agent pool"):
        azure.aks.agent_pools.begin_delete(GROUP, CLUSTER, "system")


def test_a_region_without_gpus(azure: Azure) -> None:
    azure.make_group()
    azure.put_cluster({**cluster_body(), "location": "westcentralus"})
    with pytest.raises(HttpResponseError, match=f"The VM size of {A100} is not allowed"):
        azure.put_pool()


# -- the Kubernetes API -----------------------------------------------------------------------------------------------


def test_the_kubeconfig_names_server_and_ca_but_holds_no_credential(azure: Azure, sandbox: Sandbox) -> None:
    azure.make_cluster()
    config = azure.kubeconfig()
    assert config["clusters"][0]["cluster"]["server"].startswith(
        f"{sandbox.env['AZURE_RESOURCE_MANAGER_ENDPOINT']}/clusters/"
    )
    assert list(config["users"][0]["user"]) == ["exec"]
    assert KUBERNETES in config["users"][0]["user"]["exec"]["args"]
    with pytest.raises(HttpResponseError, match="disable local accounts"):
        azure.aks.managed_clusters.list_cluster_admin_credentials(GROUP, CLUSTER)


def test_a_cluster_with_local_accounts_hands_out_a_token(azure: Azure) -> None:
    azure.make_cluster(disableLocalAccounts=False, aadProfile=None)
    config = azure.kubeconfig()
    url = config["clusters"][0]["cluster"]["server"] + "/api/v1/nodes"
    token = config["users"][0]["user"]["token"]
    assert requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=10).status_code == 200


def test_kubernetes_wants_a_token_for_kubernetes(azure: Azure) -> None:
    azure.make_cluster()
    assert azure.kubernetes().status_code == 200
    assert azure.kubernetes(scope="https://management.azure.com").status_code == 401


def test_kubernetes_has_the_machines_of_the_pools(azure: Azure) -> None:
    azure.make_cluster()
    azure.put_pool(count=1, minCount=1)
    nodes = azure.kubernetes().json()["items"]
    labels = [node["metadata"]["labels"] for node in nodes]
    assert sorted(item["agentpool"] for item in labels) == ["gpu", "system", "system"]
    [gpu] = [node for node in nodes if node["metadata"]["labels"]["agentpool"] == "gpu"]
    assert gpu["metadata"]["labels"]["kubernetes.azure.com/accelerator"] == "nvidia"
    assert gpu["metadata"]["labels"]["budgetguard.io/gpu-tier"] == "a100-80gb"
    assert {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"} in gpu["spec"]["taints"]


# -- quotas -----------------------------------------------------------------------------------------------------------


def usage(azure: Azure, name: str) -> tuple[int, int]:
    """Return what is used and allowed of a quota in eastus."""
    answer = azure.send("GET", "/providers/Microsoft.Compute/locations/eastus/usages").json()
    [found] = [item for item in answer["value"] if item["name"]["value"] == name]
    return found["currentValue"], found["limit"]


def test_quotas_count_the_machines(azure: Azure, control: SandboxControl) -> None:
    azure.make_cluster()
    azure.put_pool(count=1, minCount=1)
    control.quota("azure", "eastus", A100_QUOTA.lower(), 24)
    assert usage(azure, A100_QUOTA) == (24, 24)
    assert usage(azure, "cores")[0] == 2 * 4 + 24
    with pytest.raises(
        HttpResponseError, match=f"Insufficient vcpu quota requested 24, remaining 0 for family {A100_QUOTA}"
    ):
        azure.put_pool(count=2, minCount=1)
    assert azure.put_pool(count=1, minCount=0).min_count == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("azure", "eastus", "StandardZFamily", 1), "unknown quota"),
        (("azure", "atlantis", "cores", 1), "unknown region"),
        (("oracle", "eastus", "cores", 1), "cloud must be one of azure, gcp"),
        (("azure", "eastus", "cores", -1), "limit must be"),
    ],
)
def test_quotas_that_are_not_there(control: SandboxControl, arguments: tuple[str, str, str, int], message: str) -> None:
    with pytest.raises(ControlError, match=message):
        control.quota(*arguments)


# -- the simulator itself ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"location": "eastus"}, []),
        ({"locaton": "eastus"}, ["Could not find member 'locaton'"]),
        ({"tags": {"a": 1}}, ["tags.a must be of type str"]),
        ({"tags": []}, ["tags must be of type dict"]),
        ({"eTag": "1"}, ["eTag is read only"]),
        ({"properties": {"agentPoolProfiles": [{"count": True}]}}, ["agentPoolProfiles[0].count must be of type int"]),
        ({"properties": {"agentPoolProfiles": {}}}, ["agentPoolProfiles must be of type list"]),
        ({"properties": {"agentPoolProfiles": [{"mode": "Sytem"}]}}, ["'Sytem', which is none of System, User"]),
        ({"properties": "none"}, ["properties must be an object"]),
    ],
)
def test_planted_mistakes_are_found(body: Body, found: list[str]) -> None:
    """The comparison uses private names of the SDK: this says when they have changed."""
    messages = mistakes("ManagedCluster", body)
    assert len(messages) == len(found)
    assert all(text in message for text, message in zip(found, messages, strict=True))


def test_reset_forgets_resources_and_keeps_tokens(azure: Azure, control: SandboxControl) -> None:
    azure.make_cluster()
    control.quota("azure", "eastus", A100_QUOTA, 1)
    control.reset()
    assert azure.send("GET", "/resourcegroups").json() == {"value": []}
    assert usage(azure, A100_QUOTA)[1] > 1
    assert control.count("entra") == 0


def test_secrets_are_in_the_call_log_of_entra_only(azure: Azure, control: SandboxControl) -> None:
    azure.make_cluster()
    found = control.calls_containing(azure.env["AZURE_CLIENT_SECRET"])
    assert {(call["service"], call["action"]) for call in found} == {("entra", "token")}


def test_actions_have_microsofts_names(azure: Azure, control: SandboxControl) -> None:
    azure.make_cluster()
    azure.kubeconfig()
    reads: list[Callable[[], Any]] = [azure.cluster, lambda: list(azure.aks.agent_pools.list(GROUP, CLUSTER))]
    for read in reads:
        read()
    actions = {call["action"] for call in control.calls("arm")}
    assert actions == {
        "ResourceGroups_CreateOrUpdate",
        "ManagedClusters_CreateOrUpdate",
        "Operations_Get",
        "ManagedClusters_Get",
        "ManagedClusters_ListClusterUserCredentials",
        "AgentPools_List",
    }
