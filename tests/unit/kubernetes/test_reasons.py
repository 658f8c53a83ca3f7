# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One sentence for each way in which a NIM on Kubernetes does not start."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._providers._kube_reasons import explain

DEPLOYMENT: dict[str, t.Any] = {"metadata": {"name": "nim-a"}, "status": {}}
POD = "nim-a-7d9c"
SCHEDULED = [{"type": "PodScheduled", "status": "True"}]
UNSCHEDULED = [
    {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.",
    }
]


def pod(conditions: list[dict[str, t.Any]], container: dict[str, t.Any] | None = None, **metadata: t.Any) -> t.Any:
    status: dict[str, t.Any] = {"phase": "Pending", "conditions": conditions}
    if container is not None:
        status["containerStatuses"] = [{"name": "nim", "ready": False, "restartCount": 0, **container}]
    return {"metadata": {"name": POD, **metadata}, "status": status}


def event(reason: str, message: str, minute: int = 0, name: str = POD) -> t.Any:
    return {
        "reason": reason,
        "message": message,
        "involvedObject": {"name": name},
        "lastTimestamp": f"2026-11-23T10:{minute:02}:00Z",
    }


def ended(code: int, reason: str = "Error", restarts: int = 1) -> dict[str, t.Any]:
    return {
        "restartCount": restarts,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}},
        "lastState": {"terminated": {"exitCode": code, "reason": reason}},
    }


PULL = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}}
LOADING = {"state": {"running": {"startedAt": "2026-11-23T10:00:00Z"}}}
NO_SCALE_UP = "pod didn't trigger scale-up: 1 max node group size reached"
REGISTRY = 'Failed to pull image "nvcr.io/nim/a:1": failed to resolve reference: unexpected status: 401 Unauthorized'

CASES = [
    pytest.param([pod(UNSCHEDULED)], [], "starting", "waiting for a GPU machine: 0/2 nodes", id="no-machine-yet"),
    pytest.param(
        [pod(UNSCHEDULED)],
        [event("TriggeredScaleUp", "pod triggered scale-up: [{pool 0->1 (max: 1)}]")],
        "starting",
        "a GPU machine is being started",
        id="machine-on-its-way",
    ),
    pytest.param(
        [pod(UNSCHEDULED)],
        [event("TriggeredScaleUp", "yes"), event("FailedScaleUp", "Node scale up failed: GCE quota exceeded", 1)],
        "failed",
        "the quota for GPU machines is used up: Node scale up failed: GCE quota exceeded",
        id="quota",
    ),
    pytest.param(
        [pod(UNSCHEDULED)],
        [event("FailedScaleUp", "Node scale up failed: GCE out of resources")],
        "starting",
        "the cloud has no free GPU machine of this type now",
        id="no-capacity",
    ),
    pytest.param(
        [pod(UNSCHEDULED)],
        [event("FailedScaleUp", "GCE out of resources"), event("TriggeredScaleUp", "another zone", 2)],
        "starting",
        "a GPU machine is being started",
        id="a-later-try-counts",
    ),
    pytest.param(
        [pod(UNSCHEDULED)],
        [event("NotTriggerScaleUp", "pod didn't trigger scale-up: 1 Insufficient memory")],
        "failed",
        "the NIM does not fit on the machine",
        id="too-large",
    ),
    pytest.param(
        [pod(UNSCHEDULED)],
        [event("NotTriggerScaleUp", NO_SCALE_UP)],
        "starting",
        "no GPU machine can be added: pod didn't trigger",
        id="pool-full",
    ),
    pytest.param(
        [pod(UNSCHEDULED)],
        [event("ProvisioningFailed", "storageclass.storage.k8s.io not found", name="nim-a-cache")],
        "starting",
        "the model cache cannot be made: storageclass",
        id="no-disk",
    ),
    pytest.param(
        [pod(SCHEDULED)],
        [event("FailedAttachVolume", "Multi-Attach error for volume")],
        "starting",
        "the model cache cannot be attached: Multi-Attach",
        id="disk-still-elsewhere",
    ),
    pytest.param(
        [pod(SCHEDULED)], [event("Pulling", "Pulling image")], "starting", "the machine is pulling the image", id="pull"
    ),
    pytest.param(
        [pod(SCHEDULED, PULL)],
        [event("Failed", "Error: ErrImagePull", 1), event("Failed", REGISTRY), event("BackOff", "Back-off", 2)],
        "failed",
        'the image cannot be pulled: Failed to pull image "nvcr.io/nim/a:1": failed to resolve reference: '
        "unexpected status: 401 Unauthorized",
        id="the-registrys-answer",
    ),
    pytest.param(
        [pod(SCHEDULED, {"state": {"waiting": {"reason": "CreateContainerConfigError", "message": "no secret"}}})],
        [],
        "failed",
        "the container cannot be made: no secret",
        id="config",
    ),
    pytest.param([pod(SCHEDULED, LOADING)], [], "starting", "downloading and loading its model", id="loading"),
    pytest.param(
        [pod(SCHEDULED, LOADING)],
        [event("Unhealthy", "Startup probe failed: HTTP probe failed with statuscode: 503")],
        "starting",
        "loading its model (Startup probe failed: HTTP probe failed with statuscode: 503)",
        id="probe",
    ),
    pytest.param(
        [pod(SCHEDULED, ended(1))],
        [],
        "failed",
        "the NIM exited with code 1; its last lines: loading | no licence",
        id="crash-loop",
    ),
    pytest.param(
        [pod(SCHEDULED, ended(137, "OOMKilled"))], [], "failed", "used more memory than the machine", id="memory"
    ),
    pytest.param(
        [pod(SCHEDULED, ended(137))],
        [event("Unhealthy", "Startup probe failed: connection refused")],
        "failed",
        "did not get ready in time: Startup probe failed",
        id="killed-by-the-probe",
    ),
    pytest.param([], [], "starting", "the cluster has not made a pod yet", id="no-pod"),
    pytest.param(
        [pod(SCHEDULED, LOADING, deletionTimestamp="2026-11-23T10:00:00Z")],
        [],
        "starting",
        "the pod that ran before is still ending",
        id="old-pod",
    ),
]


@pytest.mark.parametrize(("pods", "events", "state", "words"), CASES)
def test_reason(pods: list[t.Any], events: list[t.Any], state: str, words: str) -> None:
    found, reason = explain(DEPLOYMENT, pods, events, lambda _pod, _previous: "loading\n\nno licence\n")
    assert (found, words in reason) == (state, True), reason
    assert "\n" not in reason


def test_the_log_of_the_run_before_is_read() -> None:
    asked = []

    def read_log(name: str, previous: bool) -> str:
        asked.append((name, previous))
        return ""

    reason = explain(DEPLOYMENT, [pod(SCHEDULED, ended(2))], [], read_log)[1]
    assert asked == [(POD, True)]
    assert reason == "the NIM exited with code 2 and wrote no log"


def test_a_first_crash_may_pass() -> None:
    container = {"restartCount": 1, **LOADING, "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}
    assert explain(DEPLOYMENT, [pod(SCHEDULED, container)], [], lambda _pod, _previous: "")[0] == "starting"
    container["restartCount"] = 3
    assert explain(DEPLOYMENT, [pod(SCHEDULED, container)], [], lambda _pod, _previous: "")[0] == "failed"


def test_a_refused_pod_says_by_what() -> None:
    refused = {
        "metadata": {"name": "nim-a"},
        "status": {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: gpus"}]},
    }
    found = explain(refused, [], [], lambda _pod, _previous: "")
    assert found == ("failed", "the cluster refuses the pod: exceeded quota: gpus")


def test_one_failed_copy_of_two_counts() -> None:
    pods = [pod(SCHEDULED, LOADING), pod(SCHEDULED, PULL)]
    assert explain(DEPLOYMENT, pods, [event("Failed", REGISTRY)], lambda _pod, _previous: "")[0] == "failed"


def test_long_answers_are_cut() -> None:
    long = event("NotTriggerScaleUp", "x " * 1000)
    assert len(explain(DEPLOYMENT, [pod(UNSCHEDULED)], [long], lambda _pod, _previous: "")[1]) == 400
