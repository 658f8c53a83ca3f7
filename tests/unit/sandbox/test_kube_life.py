# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes on in a simulated cluster: machines, pods and their failures, disks, load balancers."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.ca import ThrowAwayCA
from tests.sandbox.kube import runtime, watching
from tests.sandbox.kube.server import INTERNAL
from tests.sandbox.nim_stub import NoConnectionError, UnknownHostError
from tests.sandbox.proxy import ProxyServer
from tests.sandbox.state import DEFAULTS
from tests.unit.sandbox.kube_cluster import (
    ID,
    NAME,
    NIM,
    SPACE,
    TestCluster,
    api_secret,
    balancer,
    changed,
    claim,
    gateway,
    manifest,
    namespace,
    nim,
    nim_service,
    policy,
    pull_secret,
)

#: How long a start takes in the tests that look at its parts, in seconds.
START = 100.0


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def wait(self, part: float) -> None:
        """Let a part of a start pass, and a moment more."""
        self.now += part * START + 0.001


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give the clock of the cluster."""
    found = Clock()
    monkeypatch.setattr(runtime, "clock", found)
    monkeypatch.setattr(watching, "clock", found)
    return found


@pytest.fixture
def cluster(clock: Clock) -> Iterator[TestCluster]:
    """Give a cluster in which everything happens at once."""
    before = dict(vars(DEFAULTS))
    DEFAULTS.change({"startup_seconds": 0.0, "drain_seconds": 5.0, "scale_in_seconds": 0.0})
    yield TestCluster()
    DEFAULTS.change(before)


@pytest.fixture
def slow(cluster: TestCluster) -> TestCluster:
    """Give a cluster in which a start takes its time."""
    DEFAULTS.change({"startup_seconds": START})
    return cluster


def conditions(item: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {entry["type"]: (entry["status"], entry.get("reason", "")) for entry in item["status"]["conditions"]}


def nodes(cluster: TestCluster) -> list[str]:
    return [item["metadata"]["name"].split("-")[0] for item in cluster.ask("GET", "/api/v1/nodes")["items"]]


# -- a start that goes well --------------------------------------------------------------------------------------------


def test_a_start_goes_through_all_its_parts(slow: TestCluster, clock: Clock) -> None:
    slow.deploy()
    assert slow.pod()["status"]["phase"] == "Pending"
    assert "0/2 nodes are available" in slow.events("FailedScheduling")[0]
    assert slow.events("TriggeredScaleUp") == []
    clock.wait(0.1)
    assert nodes(slow) == ["system", "system"]
    assert slow.events("TriggeredScaleUp") == ["pod triggered scale-up: [{a100 0->1 (max: 1)}]"]
    clock.wait(0.3)
    assert slow.waiting() == {"reason": "ContainerCreating"}
    assert sorted(nodes(slow)) == ["a100", "system", "system"]
    assert slow.get("PersistentVolumeClaim", f"{NIM}-cache")["status"]["phase"] == "Bound"
    clock.wait(0.3)
    assert slow.pod()["status"]["phase"] == "Running"
    status = slow.get("Deployment", NIM)["status"]
    assert "readyReplicas" not in status
    assert status["unavailableReplicas"] == 1
    clock.wait(0.3)
    done = slow.get("Deployment", NIM)
    assert done["status"]["readyReplicas"] == 1
    assert conditions(done) == {
        "Available": ("True", "MinimumReplicasAvailable"),
        "Progressing": ("True", "NewReplicaSetAvailable"),
    }
    assert conditions(slow.pod())["Ready"] == ("True", "")


def test_a_stopped_nim_lets_go_of_its_machine_and_keeps_its_disk(cluster: TestCluster) -> None:
    cluster.deploy()
    assert "a100" in nodes(cluster)
    cluster.scale(0)
    status = cluster.get("Deployment", NIM)["status"]
    assert status.get("replicas", 0) == 0
    assert status["observedGeneration"] == 2
    assert cluster.items("Pod") == []
    assert "a100" not in nodes(cluster)
    assert cluster.get("PersistentVolumeClaim", f"{NIM}-cache")["status"]["phase"] == "Bound"


def test_a_disk_waits_for_its_first_pod(cluster: TestCluster) -> None:
    cluster.deploy(0)
    assert cluster.get("PersistentVolumeClaim", f"{NIM}-cache")["status"]["phase"] == "Pending"


def test_a_machine_is_kept_for_a_while(cluster: TestCluster, clock: Clock) -> None:
    DEFAULTS.change({"scale_in_seconds": 60.0})
    cluster.deploy()
    cluster.scale(0)
    assert "a100" in nodes(cluster)
    clock.now += 61
    cluster.items("Pod")
    assert "a100" not in nodes(cluster)


def test_another_image_replaces_the_pod(cluster: TestCluster) -> None:
    cluster.deploy()
    before = cluster.pod()["metadata"]["name"]
    cluster.apply(nim(image="nvcr.io/nim/black-forest-labs/flux.1-dev:2.0.0"))
    assert cluster.pod()["metadata"]["name"] != before
    assert cluster.pod()["spec"]["containers"][0]["image"].endswith(":2.0.0")


def test_a_pod_that_somebody_deletes_comes_back(cluster: TestCluster) -> None:
    cluster.deploy()
    name = cluster.pod()["metadata"]["name"]
    cluster.ask("DELETE", cluster.path("Pod", name))
    assert cluster.pod()["metadata"]["name"] != name


def test_a_pool_that_is_deleted_takes_its_pods_along(cluster: TestCluster) -> None:
    cluster.deploy()
    del cluster.pools[1]
    cluster.items("Pod")
    assert cluster.pod()["status"]["phase"] == "Pending"
    assert cluster.get("Deployment", NIM)["status"]["unavailableReplicas"] == 1


# -- machines ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pool", "reason"),
    [
        ({"maximum": 0}, "max node group size reached"),
        ({"labels": {}}, "node(s) didn't match Pod's node affinity/selector"),
        ({"memory_gib": 32}, "Insufficient memory"),
        ({"vcpus": 4}, "Insufficient cpu"),
        ({"gpus": 0}, "Insufficient nvidia.com/gpu"),
        ({"taints": (("studio", "x", "NoSchedule"),)}, "node(s) had untolerated taint {studio: x}"),
    ],
)
def test_a_pod_that_no_machine_can_take_says_why(cluster: TestCluster, pool: dict[str, Any], reason: str) -> None:
    cluster.change_pool(**pool)
    cluster.deploy()
    assert cluster.pod()["status"]["phase"] == "Pending"
    assert cluster.events("NotTriggerScaleUp") == [f"pod didn't trigger scale-up: 1 {reason}"]


def test_without_autoscaling_no_machine_comes(cluster: TestCluster) -> None:
    cluster.change_pool(autoscaling=False)
    cluster.deploy()
    assert "a100" not in nodes(cluster)
    cluster.change_pool(minimum=1)
    cluster.items("Pod")
    assert cluster.get("Deployment", NIM)["status"]["readyReplicas"] == 1


@pytest.mark.parametrize("missing", ["driver", "device_plugin"])
def test_without_driver_or_device_plugin_a_machine_offers_no_gpu(cluster: TestCluster, missing: str) -> None:
    cluster.change_pool(**{missing: False})
    cluster.deploy()
    cluster.items("Pod")
    assert "a100" in nodes(cluster)
    condition = cluster.pod()["status"]["conditions"][0]
    assert condition["reason"] == "Unschedulable"
    assert "1 Insufficient nvidia.com/gpu" in condition["message"]


def device_plugin(image: str = "nvcr.io/nvidia/k8s-device-plugin:v0.18.0") -> dict[str, Any]:
    labels = {"name": "device-plugin"}
    container = {"name": "plugin", "image": image}
    spec = {
        "nodeSelector": {"budgetguard.io/gpu-pool": "a100"},
        "tolerations": [{"operator": "Exists"}],
        "containers": [container],
    }
    template = {"metadata": {"labels": labels}, "spec": spec}
    item = manifest("DaemonSet", "plugin", spec={"selector": {"matchLabels": labels}, "template": template})
    return changed(item, "metadata", "namespace", to="kube-system")


def test_a_daemon_set_can_bring_the_device_plugin(cluster: TestCluster) -> None:
    cluster.change_pool(device_plugin=False)
    cluster.apply(device_plugin())
    cluster.deploy()
    assert cluster.get("Deployment", NIM)["status"]["readyReplicas"] == 1
    status = cluster.ask("GET", cluster.path("DaemonSet", "plugin", "kube-system"))["status"]
    assert (status["desiredNumberScheduled"], status["numberReady"]) == (1, 1)


def test_another_daemon_set_does_not_bring_it(cluster: TestCluster) -> None:
    cluster.change_pool(device_plugin=False)
    cluster.apply(device_plugin("docker.io/library/busybox:1.37"))
    cluster.deploy()
    assert cluster.get("Deployment", NIM)["status"]["unavailableReplicas"] == 1


# -- outcomes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("outcome", "word"), [("no_capacity", "out of resources"), ("quota", "quota exceeded")])
def test_a_cloud_that_gives_no_machine(cluster: TestCluster, outcome: str, word: str) -> None:
    cluster.kube.outcome(NIM, outcome)
    cluster.deploy()
    assert word in cluster.events("FailedScaleUp")[0]
    assert cluster.pod()["status"]["phase"] == "Pending"
    cluster.kube.outcome(NIM, "ready")
    cluster.items("Pod")
    assert cluster.get("Deployment", NIM)["status"]["readyReplicas"] == 1


def test_a_nim_that_does_not_fit(cluster: TestCluster) -> None:
    cluster.kube.outcome(NIM, "does_not_fit")
    cluster.deploy()
    assert cluster.events("NotTriggerScaleUp") == ["pod didn't trigger scale-up: 1 Insufficient memory"]


def test_a_pull_that_is_refused_is_tried_again_later_and_later(cluster: TestCluster, clock: Clock) -> None:
    cluster.kube.outcome(NIM, "pull_refused")
    cluster.deploy()
    assert cluster.waiting()["reason"] == "ErrImagePull"
    assert cluster.events("Failed")[0].endswith("401 Unauthorized")
    clock.now += 1.1
    assert cluster.waiting()["reason"] == "ImagePullBackOff"
    assert "401 Unauthorized" in cluster.waiting()["message"]
    cluster.kube.outcome(NIM, "ready")
    assert cluster.waiting()["reason"] == "ImagePullBackOff"
    clock.now += 2.1
    assert conditions(cluster.pod())["Ready"] == ("True", "")


def test_an_unhealthy_nim_runs_and_is_not_ready(cluster: TestCluster) -> None:
    cluster.kube.outcome(NIM, "unhealthy")
    cluster.deploy()
    assert cluster.pod()["status"]["phase"] == "Running"
    assert conditions(cluster.get("Deployment", NIM))["Available"] == ("False", "MinimumReplicasUnavailable")
    assert cluster.events("Unhealthy") == ["Startup probe failed: HTTP probe failed with statuscode: 503"]


def test_a_nim_that_exits_is_started_again_and_its_words_can_be_read(cluster: TestCluster, clock: Clock) -> None:
    cluster.kube.outcome(NIM, "exits", log_lines=["one", "two", "three"])
    cluster.deploy()
    container = cluster.pod()["status"]["containerStatuses"][0]
    assert container["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert (container["lastState"]["terminated"]["exitCode"], container["restartCount"]) == (1, 1)
    log = cluster.path("Pod", cluster.pod()["metadata"]["name"]) + "/log"
    assert cluster.send("GET", log, tailLines=2, previous=True).text == "two\nthree\n"
    assert cluster.send("GET", log).text == "one\ntwo\nthree\n"
    clock.now += 1.1
    assert cluster.pod()["status"]["containerStatuses"][0]["restartCount"] == 2
    cluster.kube.outcome(NIM, "ready")
    clock.now += 2.1
    assert conditions(cluster.pod())["Ready"] == ("True", "")
    assert cluster.send("GET", log).text.endswith("Application startup complete.\n")
    cluster.kube.outcome(NIM, "unhealthy")
    assert conditions(cluster.pod())["Ready"][0] == "False"


def test_there_is_no_log_before_there_is_a_container(slow: TestCluster, clock: Clock) -> None:
    slow.deploy()
    log = slow.path("Pod", slow.pod()["metadata"]["name"]) + "/log"
    assert "does not have a host assigned" in slow.refused("GET", log)["message"]
    clock.wait(0.1)
    slow.pod()
    clock.wait(0.3)
    assert "is waiting to start: ContainerCreating" in slow.refused("GET", log)["message"]
    assert "previous terminated container" in slow.refused("GET", log, previous=True)["message"]


def test_a_start_without_progress_runs_out_of_time(cluster: TestCluster, clock: Clock) -> None:
    cluster.kube.outcome(NIM, "no_capacity")
    cluster.deploy()
    cluster.apply(changed(nim(), "spec", "progressDeadlineSeconds", to=30))
    clock.now += 31
    assert conditions(cluster.get("Deployment", NIM))["Progressing"] == ("False", "ProgressDeadlineExceeded")


# -- what a pod needs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "secret", [None, pull_secret("somebody"), manifest("Secret", "ngc-pull", data={}), manifest("Secret", "other")]
)
def test_a_protected_image_needs_a_login(cluster: TestCluster, secret: dict[str, Any] | None) -> None:
    for item in (namespace(), api_secret(), claim()):
        cluster.apply(item)
    if secret is not None:
        cluster.apply(secret)
    cluster.apply(nim())
    assert cluster.waiting()["reason"] == "ErrImagePull"


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        (None, 'secret "ngc-api" not found'),
        (manifest("Secret", "ngc-api"), "couldn't find key NGC_API_KEY in Secret budgetguard/ngc-api"),
    ],
)
def test_a_variable_needs_its_secret(
    cluster: TestCluster, clock: Clock, secret: dict[str, Any] | None, message: str
) -> None:
    for item in (namespace(), pull_secret(), claim()):
        cluster.apply(item)
    if secret is not None:
        cluster.apply(secret)
    cluster.apply(nim())
    assert cluster.waiting() == {"reason": "CreateContainerConfigError", "message": message}
    cluster.apply(api_secret())
    clock.now += 1.1
    assert conditions(cluster.pod())["Ready"] == ("True", "")


def test_a_pod_needs_its_disk_and_its_configuration(cluster: TestCluster, clock: Clock) -> None:
    for item in (namespace(), pull_secret(), api_secret(), nim()):
        cluster.apply(item)
    assert f'persistentvolumeclaim "{NIM}-cache" not found' in cluster.events("FailedScheduling")[0]
    volumes = [{"name": "config", "configMap": {"name": "gateway"}}]
    cluster.apply(changed(gateway(), *("spec", "template", "spec", "volumes"), to=volumes))
    assert 'configmap "gateway" not found' in cluster.events("FailedMount")[0]
    cluster.apply(manifest("ConfigMap", "gateway", data={"a": "b"}))
    clock.now += 1.1
    assert cluster.get("Deployment", "gateway")["status"]["readyReplicas"] == 2


# -- load balancers ----------------------------------------------------------------------------------------------------


def test_a_load_balancer_gets_its_address_after_a_moment(slow: TestCluster, clock: Clock) -> None:
    slow.deploy_gateway()
    assert slow.get("Service", "gateway")["status"] == {"loadBalancer": {}}
    clock.wait(0.2)
    public = slow.address()
    assert public.startswith("20.")
    slow.apply(balancer({INTERNAL[0]: INTERNAL[1]}))
    slow.get("Service", "gateway")
    clock.wait(0.2)
    assert slow.address().startswith("10.")
    assert slow.address() != public


def test_a_request_reaches_the_nim_by_way_of_the_gateway(cluster: TestCluster) -> None:
    cluster.deploy()
    cluster.deploy_gateway()
    assert cluster.fetch("/healthz")[0] == 404  # On a port of its own, which the load balancer does not lead to.
    status, body = cluster.fetch(f"/{NAME}/v1/metadata")
    assert (status, body["version"]) == (200, "1.2.3")
    cluster.stub.add_alias("nims.studio.example", cluster.address())
    assert cluster.fetch(f"/{NAME}/v1/health/ready", "nims.studio.example")[0] == 200
    assert cluster.fetch(f"/{NAME}")[0] == 404
    assert cluster.fetch("/Other/v1/infer")[0] == 404
    assert cluster.fetch("/other/v1/infer")[0] == 503
    cluster.scale(0)
    assert cluster.fetch(f"/{NAME}/v1/metadata")[0] == 503


def test_the_proxy_leads_to_the_address_of_a_load_balancer(cluster: TestCluster, tmp_path: Path) -> None:
    cluster.deploy()
    cluster.deploy_gateway()
    proxy = ProxyServer(0, cluster.stub, ThrowAwayCA(tmp_path), cluster.calls, cluster.interferences)
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        handler = urllib.request.ProxyHandler({"http": f"http://127.0.0.1:{proxy.server_address[1]}"})
        opener = urllib.request.build_opener(handler)
        with opener.open(f"http://{cluster.address()}/{NAME}/v1/metadata", timeout=10) as answer:
            assert json.load(answer)["version"] == "1.2.3"
        with pytest.raises(urllib.error.HTTPError, match="502"):
            opener.open("http://10.99.99.99/", timeout=10)
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"port": 8000}, "has no port 8000"),
        ({"scheme": "https", "port": 80}, "speaks https"),
    ],
)
def test_connections_that_do_not_come_about(cluster: TestCluster, change: dict[str, Any], message: str) -> None:
    cluster.deploy_gateway()
    with pytest.raises(NoConnectionError, match=message):
        cluster.fetch("/healthz", **change)


def test_a_load_balancer_without_source_ranges_or_pods_lets_nobody_in(cluster: TestCluster) -> None:
    cluster.deploy_gateway()
    cluster.apply(balancer(loadBalancerSourceRanges=[]))
    with pytest.raises(NoConnectionError, match="no source ranges"):
        cluster.fetch("/healthz")
    cluster.apply(balancer())
    cluster.kube.outcome("gateway", "unhealthy")
    with pytest.raises(NoConnectionError, match="is ready"):
        cluster.fetch("/healthz")
    address = cluster.address()
    cluster.kube.set_running(ID, False)
    with pytest.raises(UnknownHostError):
        cluster.fetch("/healthz", address)


def test_network_policies_are_enforced(cluster: TestCluster) -> None:
    cluster.deploy()
    cluster.deploy_gateway()
    from_gateway = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "gateway"}}}
    cluster.apply(policy(NIM, from_gateway, 8000))
    cluster.apply(policy("gateway", {"ipBlock": {"cidr": "10.20.0.0/16"}}, 8080))
    assert cluster.fetch(f"/{NAME}/v1/metadata")[0] == 200
    cluster.apply(policy(NIM, {"podSelector": {"matchLabels": {"app": "other"}}}, 8000))
    assert cluster.fetch(f"/{NAME}/v1/metadata")[0] == 503
    cluster.apply(policy(NIM, from_gateway, 8080))
    assert cluster.fetch(f"/{NAME}/v1/metadata")[0] == 503
    cluster.apply(balancer(externalTrafficPolicy="Cluster"))
    with pytest.raises(NoConnectionError, match="NetworkPolicy"):
        cluster.fetch("/healthz")


def test_without_an_engine_network_policies_do_nothing(clock: Clock) -> None:
    del clock
    cluster = TestCluster(network_policy=False)
    cluster.deploy()
    cluster.deploy_gateway()
    cluster.apply(policy(NIM, {"podSelector": {"matchLabels": {"app": "other"}}}, 8000))
    assert cluster.fetch(f"/{NAME}/v1/metadata")[0] == 200


# -- what ends ---------------------------------------------------------------------------------------------------------


def test_a_deployment_takes_its_pods_along(cluster: TestCluster) -> None:
    cluster.deploy()
    cluster.ask("DELETE", cluster.path("Deployment", NIM))
    assert cluster.items("Pod") == []


def test_a_disk_in_use_stays_until_its_pod_is_gone(cluster: TestCluster) -> None:
    cluster.deploy()
    path = cluster.path("PersistentVolumeClaim", f"{NIM}-cache")
    assert "deletionTimestamp" in cluster.ask("DELETE", path)["metadata"]
    assert "deletionTimestamp" in cluster.ask("GET", path)["metadata"]
    cluster.ask("DELETE", cluster.path("Deployment", NIM))
    assert cluster.refused("GET", path)["code"] == 404


def test_a_load_balancer_lingers(cluster: TestCluster, clock: Clock) -> None:
    cluster.deploy_gateway()
    cluster.address()
    path = cluster.path("Service", "gateway")
    assert "deletionTimestamp" in cluster.ask("DELETE", path)["metadata"]
    cluster.apply(balancer())
    clock.now += 5.1
    assert cluster.refused("GET", path)["code"] == 404


def test_a_namespace_ends_with_everything_in_it(cluster: TestCluster, clock: Clock) -> None:
    cluster.deploy()
    path = cluster.path("Namespace", SPACE)
    assert cluster.ask("DELETE", path)["status"] == {"phase": "Terminating"}
    assert cluster.items("Deployment") == []
    refused = cluster.apply_refused(nim_service())
    assert refused["code"] == 403
    assert "because it is being terminated" in refused["message"]
    clock.now += 5.1
    assert cluster.refused("GET", path)["code"] == 404
    assert cluster.refused("DELETE", cluster.path("Namespace", "kube-system"))["code"] == 403


def test_an_object_made_anew_is_another_one(cluster: TestCluster) -> None:
    cluster.deploy()
    first = cluster.get("Deployment", NIM)["metadata"]["uid"]
    cluster.ask("DELETE", cluster.path("Deployment", NIM))
    assert cluster.apply(nim())["metadata"]["uid"] != first
    assert cluster.get("Deployment", NIM)["status"]["readyReplicas"] == 1
