# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When things go wrong on AKS and GKE: NIMs that do not start, quotas, overlapping and killed runs."""

from __future__ import annotations

import contextlib
import threading
import typing as t
from concurrent.futures import ThreadPoolExecutor

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._converge import Outcome
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import Step
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import AsleepError, ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers.kubernetes import KubernetesProvider
from tests.clusters.cluster import NAMESPACE, Cluster, assert_fine, described

FLUX, LLAMA, SD = "FLUX Dev@a100-80gb", "Llama 3.1@a100-80gb", "SD 3.5 Large@a100-80gb"
FLUX_NAME, LLAMA_NAME, SD_NAME = "nim-flux-dev-a100-80gb", "nim-llama-3-1-a100-80gb", "nim-sd-3-5-large-a100-80gb"

REASONS = [
    pytest.param("no_capacity", "starting", "the cloud has no free GPU machine of this type now", id="no-capacity"),
    pytest.param("quota", "failed", "the quota for GPU machines is used up", id="quota"),
    pytest.param("pull_refused", "failed", "the image cannot be pulled: Failed to pull image", id="pull-refused"),
    pytest.param("does_not_fit", "failed", "the NIM does not fit on the machine", id="does-not-fit"),
    pytest.param("unhealthy", "starting", "loading its model (Startup probe failed", id="unhealthy"),
    pytest.param("exits", "failed", "exited with code 1; its last lines: loading | no licence", id="exits"),
]


@pytest.mark.parametrize(("outcome", "state", "reason"), REASONS)
def test_the_reason_is_said_in_one_sentence(cluster: Cluster, outcome: str, state: str, reason: str) -> None:
    cluster.control.nim(FLUX_NAME, outcome, log_lines=["loading", "no licence"] if outcome == "exits" else None)
    cluster.run(FLUX, state="started", wait=False)
    status = _look_until(cluster, lambda status: reason in str(status.reason))
    assert (status.state, reason in str(status.reason)) == (state, True), status
    assert "\n" not in str(status.reason)


def _look_until(cluster: Cluster, enough: t.Callable[[t.Any], bool]) -> t.Any:
    """Read the state until a failing pod has been tried often enough to be called failed."""
    status = None
    for _attempt in range(100):
        status = cluster.info()[FLUX_NAME]
        if enough(status) and (status.state == "failed" or "exited" not in str(status.reason)):
            break
    return status


def test_one_of_three_fails_and_the_error_says_why(cluster: Cluster) -> None:
    cluster.control.nim(LLAMA_NAME, "pull_refused")
    outcome = cluster.run(FLUX, LLAMA, SD, state="started")
    assert list(outcome.errors) == [LLAMA_NAME]
    assert outcome.errors[LLAMA_NAME].startswith("does not start: the image cannot be pulled")
    states = {name: status.state for name, status in outcome.statuses.items()}
    assert states == {FLUX_NAME: "running", LLAMA_NAME: "failed", SD_NAME: "running"}


def test_the_time_limit_says_what_is_waited_for(cluster: Cluster) -> None:
    cluster.control.nim(FLUX_NAME, "no_capacity")
    outcome = cluster.run(FLUX, state="started", wait_timeout=1)
    assert outcome.errors[FLUX_NAME].startswith("not ready after 1 s; waiting for: the cloud has no free GPU machine")


def test_one_nim_that_is_refused_does_not_stop_the_others(cluster: Cluster) -> None:
    cluster.control.fault(
        "apply deployments", "Forbidden", message="no permission", status=403, match=LLAMA_NAME, times=None
    )
    outcome = cluster.run(FLUX, LLAMA)
    assert list(outcome.errors) == [LLAMA_NAME]
    assert f"cannot write the Deployment {LLAMA_NAME}: no permission (403)" in outcome.errors[LLAMA_NAME]
    half = cluster.info()
    assert half[FLUX_NAME].state == "stopped"
    cluster.control.clear_faults()
    again = cluster.run(FLUX, LLAMA)
    assert [(step.kind, step.deployment) for step in again.done] == [("deployment", LLAMA_NAME)]


def test_a_busy_api_server_only_takes_longer(cluster: Cluster) -> None:
    for action in ("list deployments", "apply deployments", "apply services"):
        cluster.control.fault(action, "TooManyRequests", message="please try again later", status=429, times=2)
    assert_fine(cluster.run(FLUX))
    assert cluster.control.faults() == []


def test_an_expired_token_is_an_error_that_says_so(cluster: Cluster) -> None:
    cluster.run(FLUX)
    cluster.control.fault("*", "Unauthorized", message="Unauthorized", status=401, service="kube", times=None)
    with pytest.raises(ProviderError, match=r"cannot list the \w+s in budgetguard: Unauthorized \(401\)"):
        cluster.run(FLUX)


def test_a_quota_that_is_too_small_is_named_before_anything_is_created(cluster: Cluster) -> None:
    region, name = {
        "azure": ("eastus", "StandardNCADSA100v4Family"),
        "gcp": ("us-central1", "NVIDIA_A100_80GB_GPUS"),
    }[cluster.cloud]
    cluster.control.quota(cluster.cloud, region, name, 0)
    with pytest.raises(ProviderError, match=f"(?i){name}"):
        cluster.run(FLUX)
    assert cluster.writes() == []


def _together(*runs: t.Callable[[], Outcome]) -> list[Outcome]:
    with ThreadPoolExecutor(max_workers=len(runs)) as pool:
        return [future.result() for future in [pool.submit(run) for run in runs]]


def test_two_runs_of_the_same_nims_at_once_make_everything_once(cluster: Cluster) -> None:
    for outcome in _together(lambda: cluster.run(FLUX, LLAMA), lambda: cluster.run(FLUX, LLAMA)):
        assert_fine(outcome)
    assert cluster.clusters() == ["budgetguard"]
    assert len(cluster.pools()) == 1
    assert described(cluster.run(FLUX, LLAMA)) == []


def test_two_runs_of_different_nims_at_once_lose_nothing(cluster: Cluster) -> None:
    cluster.run(SD)
    for outcome in _together(lambda: cluster.run(FLUX), lambda: cluster.run(LLAMA)):
        assert_fine(outcome)
    assert_fine(cluster.run(FLUX, LLAMA, SD))
    assert described(cluster.run(FLUX, LLAMA, SD)) == []


def test_a_start_between_look_and_write_is_not_undone(cluster: Cluster) -> None:
    cluster.run(FLUX)
    newer = {"node": "FLUX Dev", "gpu_tier": "a100-80gb", "tag": "1.2.4"}
    cluster.control.hook("apply deployments", 1.0, match=FLUX_NAME)
    with ThreadPoolExecutor(max_workers=1) as pool:
        run = pool.submit(cluster.run, newer)
        while not any(call["action"] == "list deployments" for call in cluster.calls()[-30:]):
            pass
        cluster.kube().scale(FLUX_NAME, NAMESPACE, 1)
        assert_fine(run.result())
    live = cluster.kube().read("Deployment", FLUX_NAME, NAMESPACE)
    assert live is not None
    assert live["spec"]["replicas"] == 1
    assert live["spec"]["template"]["spec"]["containers"][0]["image"].endswith(":1.2.4")


class Killed(BaseException):
    """Stands for SIGKILL: nothing may handle it."""


@contextlib.contextmanager
def _killed_after(steps: int) -> t.Iterator[None]:
    """Let so many steps be carried out, then die in the middle of the next one."""
    lock, left = threading.Lock(), [steps]
    real = KubernetesProvider.apply

    def apply(self: KubernetesProvider, step: Step) -> None:
        with lock:
            left[0] -= 1
            if left[0] < -1:
                raise Killed
        real(self, step)
        with lock:
            if left[0] < 0:
                raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KubernetesProvider, "apply", apply)
        try:
            yield
        except Killed:
            return
    raise AssertionError(f"there were no more than {steps} steps")


@pytest.mark.parametrize("steps", [0, 1, 2, 4, 7, 10, 13])
def test_a_run_that_dies_is_finished_by_the_next(cluster: Cluster, steps: int) -> None:
    with _killed_after(steps):
        cluster.run(FLUX, LLAMA)
    assert_fine(cluster.run(FLUX, LLAMA))
    assert cluster.clusters() == ["budgetguard"]
    assert len(cluster.pools()) == 1
    assert described(cluster.run(FLUX, LLAMA)) == []


@pytest.mark.parametrize("steps", [0, 2, 5, 9])
def test_a_teardown_that_dies_is_finished_by_the_next(cluster: Cluster, steps: int) -> None:
    cluster.run(FLUX, state="started")
    with _killed_after(steps):
        cluster.run("FLUX Dev", state="absent", purge_shared=True)
    assert_fine(cluster.run("FLUX Dev", state="absent", purge_shared=True))
    assert cluster.resources() == {}


def test_a_cluster_that_another_run_is_still_making_is_waited_for(cluster: Cluster) -> None:
    cluster.control.defaults(cluster_seconds=1.5)
    first = threading.Thread(target=lambda: cluster.run(FLUX))
    first.start()
    while not cluster.clusters():
        pass
    with pytest.raises(ProviderError, match="budgetguard"):
        cluster.info()
    cluster.control.clear_calls()
    assert_fine(cluster.run(FLUX))
    first.join()
    assert cluster.clusters() == ["budgetguard"]
    assert len(cluster.pools()) == 1


@pytest.mark.parametrize("cluster", ["azure"], indirect=True)
def test_a_deep_stop_switches_the_cluster_off_and_the_next_start_on(cluster: Cluster) -> None:
    deep = {"stop_cluster": True}
    cluster.run(FLUX, LLAMA, state="started", settings=deep)
    cluster.run("FLUX Dev", state="stopped", settings=deep)
    assert cluster.info()[LLAMA_NAME].state == "running"
    outcome = cluster.run("Llama 3.1", state="stopped", settings=deep)
    assert_fine(outcome)
    assert outcome.statuses[LLAMA_NAME].state == "stopped"
    with pytest.raises(AsleepError):
        cluster.info()
    assert described(cluster.run("Llama 3.1", state="stopped", settings=deep)) == []
    with pytest.raises(ProviderError, match="start it first"):
        cluster.run("Llama 3.1", state="absent", purge_shared=True)
    no_keys = {**deep, "ngc_api_key": None, "hf_token": None}
    predicted = cluster.run(FLUX, state="started", settings=no_keys, check_mode=True)
    assert [step.describe() for step in predicted.steps] == ["update aks_cluster budgetguard (power)"]
    assert "what is in it was not looked at" in predicted.warnings[0]
    awake = cluster.run(FLUX, state="started", settings=no_keys)
    assert_fine(awake)
    assert described(awake) == [
        "update aks_cluster budgetguard (power)",
        f"update deployment {FLUX_NAME} (spec.replicas)",
    ]
    states = {name: status.state for name, status in cluster.info().items()}
    assert states == {FLUX_NAME: "running", LLAMA_NAME: "stopped"}
