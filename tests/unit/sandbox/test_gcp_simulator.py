# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated Google Cloud, driven by Google's own SDKs over TLS."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.api_core.exceptions import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Forbidden,
    GoogleAPICallError,
    NotFound,
    Unauthorized,
)
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import AuthorizedSession, Request
from google.cloud import container_v1
from google.oauth2 import service_account

from tests.sandbox import ControlError, Sandbox, SandboxControl
from tests.sandbox.gcp.bodies import decode
from tests.sandbox.rest import ApiError

ZONE, CLUSTER = "us-central1-a", "budgetguard"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
DONE = container_v1.Operation.Status.DONE
L4 = {
    "accelerator_count": 1,
    "accelerator_type": "nvidia-l4",
    "gpu_driver_installation_config": {"gpu_driver_version": "DEFAULT"},
}

Body = dict[str, Any]


class Gcp:
    """The SDK's client of one service account."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env
        self.project = env["GOOGLE_CLOUD_PROJECT"]
        self.url = env["CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER"].rstrip("/")
        self.key = json.loads(Path(env["GOOGLE_APPLICATION_CREDENTIALS"]).read_text())
        self.credentials: Any = self.log_in()
        self.gke = self.client(self.credentials)
        self.parent = f"projects/{self.project}/locations/{ZONE}"
        self.name = f"{self.parent}/clusters/{CLUSTER}"

    def log_in(self, **changes: Any) -> Any:
        """Return the credentials of the service account."""
        return service_account.Credentials.from_service_account_info({**self.key, **changes}, scopes=[SCOPE])

    def client(self, credentials: Any) -> container_v1.ClusterManagerClient:
        """Return a client of GKE's REST API."""
        return container_v1.ClusterManagerClient(
            credentials=credentials, transport="rest", client_options={"api_endpoint": self.url}
        )

    def wait(self, operation: Any) -> Any:
        """Wait until an operation is over."""
        name = f"{self.parent}/operations/{operation.name}"
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            found = self.gke.get_operation(name=name)
            if found.status == DONE:
                return found
            time.sleep(0.02)
        raise TimeoutError(name)

    def begin_cluster(self, body: Body | None = None) -> Any:
        """Begin to create the cluster."""
        return self.gke.create_cluster(parent=self.parent, cluster=container_v1.Cluster(body or cluster_body()))

    def make_cluster(self, **changes: Any) -> Any:
        """Create the cluster and wait."""
        self.wait(self.begin_cluster({**cluster_body(), **changes}))
        return self.cluster()

    def begin_pool(self, **changes: Any) -> Any:
        """Begin to create a pool."""
        pool = container_v1.NodePool({**pool_body(), **changes})
        return self.gke.create_node_pool(parent=self.name, node_pool=pool)

    def make_pool(self, **changes: Any) -> Any:
        """Create a pool and wait."""
        self.wait(self.begin_pool(**changes))
        return self.pool(changes.get("name", "gpu"))

    def cluster(self) -> Any:
        """Read the cluster."""
        return self.gke.get_cluster(name=self.name)

    def pool(self, name: str = "gpu") -> Any:
        """Read a pool."""
        return self.gke.get_node_pool(name=f"{self.name}/nodePools/{name}")

    def kubernetes(self, token: str | None = None) -> requests.Response:
        """Ask the Kubernetes API of the cluster for its machines."""
        if token is None:
            self.credentials.refresh(Request())
            token = self.credentials.token
        url = f"https://{self.cluster().endpoint}/api/v1/nodes"
        return requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=10)

    def post(self, path: str, body: Body) -> requests.Response:
        """Send a body that the SDK would not."""
        session: Any = AuthorizedSession(self.credentials)
        answer: requests.Response = session.post(f"{self.url}/v1/{path}", json=body)
        return answer

    def quota(self, name: str, region: str = "us-central1") -> tuple[float, float]:
        """Return what is used and allowed of a quota."""
        base = f"{self.env['CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE']}projects/{self.project}"
        session: Any = AuthorizedSession(self.credentials)
        answer = session.get(base if region == "global" else f"{base}/regions/{region}")
        [found] = [item for item in answer.json()["quotas"] if item["metric"] == name]
        return found["usage"], found["limit"]


def cluster_body() -> Body:
    """Return a cluster that GKE would create."""
    return {
        "name": CLUSTER,
        "resource_labels": {"budgetguard-managed": "true"},
        "node_pools": [{"name": "system", "initial_node_count": 2, "config": {"machine_type": "e2-standard-4"}}],
        "network_config": {"datapath_provider": "ADVANCED_DATAPATH"},
    }


def pool_body() -> Body:
    """Return a GPU pool."""
    return {
        "name": "gpu",
        "config": {"machine_type": "g2-standard-12", "accelerators": [L4], "labels": {"tier": "l4"}},
        "autoscaling": {"enabled": True, "max_node_count": 2},
    }


@pytest.fixture
def gcp(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Gcp:
    """Give an empty project."""
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.setenv(name, sandbox.env[name])
    return Gcp(sandbox.env)


# -- logging in -------------------------------------------------------------------------------------------------------


def other_key() -> str:
    """Return a private key that is nobody's."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def test_a_key_that_is_not_the_accounts_is_refused(gcp: Gcp) -> None:
    credentials = gcp.log_in(private_key=other_key())
    with pytest.raises(RefreshError, match="Invalid JWT Signature"):
        credentials.refresh(Request())
    with pytest.raises(Unauthorized, match="invalid authentication credentials"):
        gcp.client(credentials).get_cluster(name=gcp.name)


def test_an_unknown_account_is_refused(gcp: Gcp) -> None:
    with pytest.raises(RefreshError, match="account not found"):
        gcp.log_in(client_email="nobody@example.invalid").refresh(Request())


def test_requests_without_a_token_are_refused(gcp: Gcp) -> None:
    answer = requests.get(f"{gcp.url}/v1/{gcp.name}", timeout=10)
    assert answer.status_code == 401
    assert answer.json()["error"]["status"] == "UNAUTHENTICATED"


def test_another_project_is_forbidden(gcp: Gcp) -> None:
    with pytest.raises(Forbidden, match="permission for 'projects/other'"):
        gcp.gke.get_cluster(name=f"projects/other/locations/{ZONE}/clusters/{CLUSTER}")


def test_what_is_not_simulated_is_refused_and_logged_so(gcp: Gcp, control: SandboxControl) -> None:
    gcp.make_cluster()
    with pytest.raises(NotFound, match="The sandbox has no POST"):
        gcp.gke.start_ip_rotation(name=gcp.name)
    assert control.calls("gke")[-1]["refused"].startswith("The sandbox has no")


# -- clusters ---------------------------------------------------------------------------------------------------------


def test_a_cluster_is_created_by_and_by(gcp: Gcp, control: SandboxControl) -> None:
    control.defaults(cluster_seconds=60)
    operation = gcp.begin_cluster()
    assert operation.status == container_v1.Operation.Status.RUNNING
    cluster = gcp.cluster()
    assert (cluster.status.name, cluster.endpoint) == ("PROVISIONING", "")


def test_a_cluster_shows_what_gke_fills_in(gcp: Gcp) -> None:
    cluster = gcp.make_cluster()
    assert (cluster.status.name, cluster.location, cluster.current_node_count) == ("RUNNING", ZONE, 2)
    assert cluster.current_master_version == cluster.initial_cluster_version
    assert cluster.resource_labels == {"budgetguard-managed": "true"}
    [pool] = cluster.node_pools
    assert (pool.name, pool.status.name, list(pool.locations)) == ("system", "RUNNING", [ZONE])
    assert pool.config.image_type == "COS_CONTAINERD"


def test_a_cluster_without_pools_gets_one(gcp: Gcp) -> None:
    cluster = gcp.make_cluster(node_pools=[], initial_node_count=1)
    assert [pool.name for pool in cluster.node_pools] == ["default-pool"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Budget"}, "Must be a match of regex"),
        ({"node_pools": []}, "initial_node_count must be greater than zero"),
        ({"initial_node_count": 1}, "cannot be set at the same time"),
        ({"initial_cluster_version": "1.28"}, "No valid versions with the prefix"),
        ({"resource_labels": {"Budget:Guard": "x"}}, "Invalid resource label"),
        ({"endpoint": "10.0.0.1"}, "cluster.endpoint is output only"),
        ({"autopilot": {"enabled": True}}, "standard clusters only"),
        ({"master_auth": {"username": "admin"}}, "Basic authentication was removed"),
        ({"node_pools": [{"name": "system", "config": {"machine_type": "e9-huge"}}]}, "does not exist in zone"),
    ],
)
def test_a_wrong_cluster_is_refused_before_anything_is_made(gcp: Gcp, change: Body, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        gcp.begin_cluster({**cluster_body(), **change})
    with pytest.raises(NotFound, match=f"Not found: {gcp.name}"):
        gcp.cluster()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"cluster": {"nme": "x"}}, 'no field named "nme"'),
        ({"cluster": {"name": "x", "initialNodeCount": "one"}}, "initialNodeCount"),
        ({"cluster": {"name": "x", "networkConfig": {"datapathProvider": "FAST"}}}, "Invalid enum value FAST"),
        ({"cluster": {"name": "x", "networkConfig": {"datapathProvider": 77}}}, "no value of this enum"),
    ],
)
def test_bodies_are_decoded_strictly(gcp: Gcp, body: Body, message: str) -> None:
    answer = gcp.post(f"{gcp.parent}/clusters", body)
    assert answer.status_code == 400
    assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"
    assert message in answer.json()["error"]["message"]


@pytest.mark.parametrize("text", ["[]", "{", '{"cluster": '])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ApiError, match="Invalid JSON payload"):
        decode("CreateClusterRequest", text)


def test_names_are_taken_once(gcp: Gcp) -> None:
    gcp.make_cluster()
    for begin in (gcp.begin_cluster, lambda: gcp.begin_pool(name="system")):
        with pytest.raises((AlreadyExists, Conflict), match="Already exists"):
            begin()


def test_an_unknown_location(gcp: Gcp) -> None:
    with pytest.raises(BadRequest, match='Location "atlantis1-a" does not exist'):
        gcp.gke.create_cluster(
            parent=f"projects/{gcp.project}/locations/atlantis1-a", cluster=container_v1.Cluster(cluster_body())
        )


def test_one_operation_at_a_time(gcp: Gcp, control: SandboxControl) -> None:
    gcp.make_cluster()
    control.defaults(cluster_seconds=60)
    operation = gcp.begin_pool()
    for begin in (lambda: gcp.begin_pool(name="other"), lambda: gcp.gke.delete_cluster(name=gcp.name)):
        with pytest.raises(
            BadRequest, match=f"Operation {operation.name} is currently creating a node pool"
        ) as refused:
            begin()
        assert refused.value.response.json()["error"]["status"] == "FAILED_PRECONDITION"
    assert gcp.cluster().status.name == "RECONCILING"


def test_operations_are_found_by_their_full_name(gcp: Gcp) -> None:
    operation = gcp.begin_cluster()
    done = gcp.wait(operation)
    assert (done.operation_type.name, done.target_link.endswith(gcp.name)) == ("CREATE_CLUSTER", True)
    listed = gcp.gke.list_operations(parent=gcp.parent).operations
    assert [item.name for item in listed] == [operation.name]
    with pytest.raises(NotFound):
        gcp.gke.get_operation(name=f"projects/{gcp.project}/locations/us-central1-b/operations/{operation.name}")


def test_an_operation_can_fail_in_the_end(gcp: Gcp, control: SandboxControl) -> None:
    gcp.make_cluster()
    control.fault("CreateNodePool", "GCE_STOCKOUT", message="No L4 left.", when="operation")
    done = gcp.wait(gcp.begin_pool())
    assert done.error.message == "GCE_STOCKOUT: No L4 left."
    assert (gcp.pool().status.name, gcp.cluster().status.name) == ("ERROR", "RUNNING")


def test_a_fault_answers_as_google_does(gcp: Gcp, control: SandboxControl) -> None:
    gcp.make_cluster()
    control.fault("GetCluster", "RESOURCE_EXHAUSTED", message="Slow down.", status=429, times=None)
    session: Any = AuthorizedSession(gcp.credentials, max_refresh_attempts=0)
    answer = session.get(f"{gcp.url}/v1/{gcp.name}", max_allowed_time=5)
    assert (answer.status_code, answer.json()["error"]["message"]) == (429, "Slow down.")
    control.clear_faults()


def test_labels_need_the_fingerprint_of_those_that_are_there(gcp: Gcp) -> None:
    fingerprint = gcp.make_cluster().label_fingerprint
    request = {"name": gcp.name, "resource_labels": {"a": "b"}, "label_fingerprint": fingerprint}
    gcp.wait(gcp.gke.set_labels(request=request))
    assert gcp.cluster().resource_labels == {"a": "b"}
    with pytest.raises(BadRequest, match="fingerprint mismatch"):
        gcp.gke.set_labels(request=request)


def test_deletion_leaves_nothing(gcp: Gcp, control: SandboxControl) -> None:
    gcp.make_cluster()
    gcp.make_pool()
    assert control.resources("gcp")["node_pools"] == [f"{ZONE}/{CLUSTER}/gpu", f"{ZONE}/{CLUSTER}/system"]
    gcp.wait(gcp.gke.delete_node_pool(name=f"{gcp.name}/nodePools/gpu"))
    with pytest.raises(NotFound, match="nodePools/gpu"):
        gcp.pool()
    gcp.wait(gcp.gke.delete_cluster(name=gcp.name))
    with pytest.raises(NotFound):
        gcp.gke.delete_cluster(name=gcp.name)
    assert control.resources("gcp") == {}


# -- node pools -------------------------------------------------------------------------------------------------------


def test_gpu_pools_get_gkes_own_taint(gcp: Gcp) -> None:
    gcp.make_cluster()
    [taint] = gcp.make_pool().config.taints
    assert (taint.key, taint.value, taint.effect.name) == ("nvidia.com/gpu", "present", "NO_SCHEDULE")
    assert list(gcp.pool("system").config.taints) == []


def test_pools_can_be_changed(gcp: Gcp) -> None:
    gcp.make_cluster()
    gcp.make_pool()
    name = f"{gcp.name}/nodePools/gpu"
    gcp.wait(
        gcp.gke.set_node_pool_autoscaling(request={"name": name, "autoscaling": {"enabled": True, "max_node_count": 7}})
    )
    gcp.wait(gcp.gke.set_node_pool_size(request={"name": name, "node_count": 1}))
    gcp.wait(gcp.gke.update_node_pool(request={"name": name, "labels": {"labels": {"new": "label"}}}))
    pool = gcp.pool()
    assert (pool.autoscaling.max_node_count, dict(pool.config.labels)) == (7, {"new": "label"})
    assert gcp.cluster().current_node_count == 3
    with pytest.raises(GoogleAPICallError, match="machineType"):
        gcp.gke.update_node_pool(request={"name": name, "machine_type": "g2-standard-16"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "GPU"}, "Must be a match of regex"),
        ({"config": {"machine_type": "g2-standard-12"}}, "needs its accelerators to be named: nvidia-l4"),
        ({"config": {"machine_type": "g2-standard-24", "accelerators": [L4]}}, "has 2 x nvidia-l4, not 1 x nvidia-l4"),
        ({"config": {"machine_type": "e2-standard-4", "accelerators": [L4]}}, "cannot be attached"),
        (
            {"config": {"machine_type": "g2-standard-12", "accelerators": [{**L4, "accelerator_type": "nvidia-a10"}]}},
            'Accelerator type "nvidia-a10" does not exist',
        ),
        ({"locations": ["us-central1-f"]}, "does not exist in zone us-central1-f"),
        ({"locations": ["europe-west4-a"]}, "is not in region"),
        ({"autoscaling": {"enabled": True, "min_node_count": 3, "max_node_count": 2}}, "minimum <= maximum"),
        ({"autoscaling": {"enabled": True, "max_node_count": 2, "total_max_node_count": 2}}, "exclude"),
        ({"status": "RUNNING"}, "node_pool.status is output only"),
    ],
)
def test_a_wrong_pool_is_refused(gcp: Gcp, change: Body, message: str) -> None:
    gcp.make_cluster()
    with pytest.raises(BadRequest, match=message):
        gcp.begin_pool(**change)


@pytest.mark.parametrize("way", ["spot", "flex_start"])
def test_some_machines_are_spot_or_flexible_only(gcp: Gcp, way: str) -> None:
    gcp.make_cluster()
    h100 = {**L4, "accelerator_type": "nvidia-h100-80gb"}
    config = {"machine_type": "a3-highgpu-1g", "accelerators": [h100]}
    with pytest.raises(BadRequest, match="only supported with Spot VMs or Flex-start"):
        gcp.begin_pool(config=config)
    with pytest.raises(BadRequest, match="at the same time"):
        gcp.begin_pool(config={**config, "spot": True, "flex_start": True})
    assert getattr(gcp.make_pool(config={**config, way: True}).config, way)


# -- the Kubernetes API -----------------------------------------------------------------------------------------------


def test_kubernetes_wants_an_access_token_and_has_the_machines(gcp: Gcp) -> None:
    gcp.make_cluster()
    gcp.make_pool(autoscaling={"enabled": True, "min_node_count": 1, "max_node_count": 2})
    assert gcp.kubernetes(token="stolen").status_code == 401
    nodes = gcp.kubernetes().json()["items"]
    labels = [node["metadata"]["labels"] for node in nodes]
    assert sorted(item["cloud.google.com/gke-nodepool"] for item in labels) == ["gpu", "system", "system"]
    [gpu] = [node for node in nodes if "cloud.google.com/gke-accelerator" in node["metadata"]["labels"]]
    assert gpu["metadata"]["labels"]["tier"] == "l4"
    assert gpu["status"]["allocatable"]["nvidia.com/gpu"] == "1"


def test_without_a_driver_there_is_no_gpu(gcp: Gcp) -> None:
    gcp.make_cluster()
    no_driver = {"accelerator_count": 1, "accelerator_type": "nvidia-l4"}
    gcp.make_pool(
        config={"machine_type": "g2-standard-12", "accelerators": [no_driver]},
        autoscaling={"enabled": True, "min_node_count": 1, "max_node_count": 2},
    )
    nodes = gcp.kubernetes().json()["items"]
    assert all(node["status"]["allocatable"].get("nvidia.com/gpu", "0") == "0" for node in nodes)


def test_a_deleted_clusters_kubernetes_is_gone(gcp: Gcp) -> None:
    endpoint = gcp.make_cluster().endpoint
    gcp.wait(gcp.gke.delete_cluster(name=gcp.name))
    assert gcp.make_cluster().endpoint != endpoint
    answer = requests.get(f"https://{endpoint}/version", timeout=10)
    assert answer.status_code >= 400


# -- quotas -----------------------------------------------------------------------------------------------------------


def test_quotas_count_the_machines(gcp: Gcp, control: SandboxControl) -> None:
    gcp.make_cluster()
    gcp.make_pool(initial_node_count=1)
    control.quota("gcp", "us-central1", "NVIDIA_L4_GPUS", 1)
    assert gcp.quota("NVIDIA_L4_GPUS") == (1, 1)
    assert gcp.quota("GPUS_ALL_REGIONS", "global")[0] == 1
    assert gcp.quota("CPUS")[0] == 2 * 4 + 12
    with pytest.raises(Forbidden, match=r'resource "NVIDIA_L4_GPUS": request requires .1\.0. and is short'):
        gcp.begin_pool(name="more", initial_node_count=1)
    assert gcp.make_pool(name="more").status.name == "RUNNING"


def test_spot_machines_have_a_quota_of_their_own(gcp: Gcp, control: SandboxControl) -> None:
    gcp.make_cluster()
    control.quota("gcp", "us-central1", "NVIDIA_L4_GPUS", 0)
    config = {**pool_body()["config"], "spot": True}
    gcp.make_pool(config=config, initial_node_count=1)
    assert gcp.quota("PREEMPTIBLE_NVIDIA_L4_GPUS")[0] == 1


def test_project_wide_quotas(gcp: Gcp, control: SandboxControl) -> None:
    gcp.make_cluster()
    control.quota("gcp", "global", "GPUS_ALL_REGIONS", 0)
    with pytest.raises(Forbidden, match="Insufficient global quota"):
        gcp.begin_pool(initial_node_count=1)


@pytest.mark.parametrize(
    ("region", "name"), [("us-central1", "GPUS_ALL_REGIONS"), ("global", "CPUS"), ("atlantis1", "CPUS")]
)
def test_quotas_that_are_not_there(control: SandboxControl, region: str, name: str) -> None:
    with pytest.raises(ControlError, match="unknown"):
        control.quota("gcp", region, name, 1)


# -- the simulator itself ---------------------------------------------------------------------------------------------


def test_the_key_is_never_sent(gcp: Gcp, control: SandboxControl) -> None:
    gcp.make_cluster()
    gcp.kubernetes()
    assert control.calls_containing("PRIVATE KEY") == []
    assert control.count("google-oauth", "token") == 1


def test_reset_forgets_clusters_and_keeps_tokens(gcp: Gcp, control: SandboxControl) -> None:
    gcp.make_cluster()
    control.quota("gcp", "us-central1", "CPUS", 1)
    control.reset()
    assert list(gcp.gke.list_clusters(parent=gcp.parent).clusters) == []
    assert gcp.quota("CPUS")[1] > 1
