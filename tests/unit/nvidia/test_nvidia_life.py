# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions from the first deployment to the last, against the simulated API."""

from __future__ import annotations

import time

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog
from ansible_collections.budgetguard.techops.plugins.module_utils._converge import Goal, execute, make_plan
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import resolve_all
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._wait import Nim, Target, Waiter
from tests.sandbox.state import DEFAULTS
from tests.unit.nvidia.organisation import FLUX, HF_TOKEN, NGC_KEY, Organisation, done, state, well

DEPLOY = [f"create nvcf_deployment {FLUX}"]
LLAMA = {"node": "Llama 3.1", "gpu_tier": "l40s"}


def test_life(org: Organisation) -> None:
    first = org.flux()
    assert (done(first), well(first), state(first)) == ([f"create nvcf_function {FLUX}"], True, "stopped")
    assert first.statuses[FLUX].replicas == 0
    org.actions()

    assert done(org.flux()) == []
    assert org.actions() == ["ListFunctions"]

    started = org.flux("started")
    assert (done(started), state(started)) == (DEPLOY, "running")
    assert started.statuses[FLUX].endpoint == first.statuses[FLUX].endpoint
    assert done(org.flux("started")) == []
    assert (done(org.flux()), org.status().state) == ([], "running")

    stopped = org.flux("stopped")
    assert (done(stopped), state(stopped)) == ([f"update nvcf_deployment {FLUX} (deployed)"], "stopped")
    assert done(org.flux("stopped")) == []

    org.flux("started")
    gone = org.flux("absent")
    assert done(gone) == [f"delete nvcf_deployment {FLUX}", f"delete nvcf_function {FLUX}"]
    assert state(gone) == "absent"
    assert not any(org.app.resources().values())
    assert done(org.flux("absent")) == []


def test_a_look_costs_one_call_and_one_for_each_that_runs(org: Organisation) -> None:
    org.run([{"node": "FLUX Dev", "gpu_tier": "l40s", "state": "started"}, {**LLAMA, "state": "present"}])
    org.actions()
    org.run([{"node": "FLUX Dev", "gpu_tier": "l40s", "state": "present"}, {**LLAMA, "state": "present"}])
    assert org.actions() == ["ListFunctions", "GetDeployment"]


@pytest.mark.parametrize("shown", [True, False])
def test_no_look_of_a_wait_costs_more_than_two_calls(
    org: Organisation, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three functions that become ready at once, by an API that shows their instances in the list, and one that not."""
    real = org.app.functions._shown
    if not shown:
        monkeypatch.setattr(org.app.functions, "_shown", lambda version: {**real(version), "activeInstances": None})
    DEFAULTS.change({"startup_seconds": 0.3})
    org.app.functions.add_image("stable-diffusion-3.5-large", "1.1.1")
    nodes = ("FLUX Dev", "Llama 3.1", "SD 3.5 Large")
    org.run([{"node": node, "gpu_tier": "l40s", "state": "started"} for node in nodes], wait=False)
    provider = org.provider()
    waiting = sorted(provider.statuses())
    assert len(waiting) == 3
    looks: list[list[str]] = []
    deadline = time.monotonic() + 60
    while waiting and time.monotonic() < deadline:
        org.actions()
        found = provider.progress(waiting)
        looks.append(org.actions())
        assert {status.state for status in found.values()} <= {"starting", "running"}
        waiting = [name for name in waiting if found[name].state != "running"]
    assert waiting == []
    assert {len(actions) for actions in looks} == ({1} if shown else {1, 2})
    assert {status.state for status in org.provider().statuses().values()} == {"running"}


def test_a_wait_tells_why_a_function_failed(org: Organisation) -> None:
    org.becomes("exits")
    org.flux("started", goal={"wait": False})
    target = Target("nvidia", org.provider, [Nim("nvidia", "FLUX Dev", FLUX, "FLUX Dev")])
    lines: list[str] = []
    waiter = Waiter([target], timeout=60, interval=0.05, heartbeat=600, say=lines.append)
    waiter.run()
    assert [line.partition("  ")[2] for line in lines] == [
        "FLUX Dev on nvidia: failed: The container exited with code 1"
    ]
    assert waiter.problems() == {"nvidia": ["FLUX Dev: does not start: The container exited with code 1"]}


def test_check_mode_changes_nothing(org: Organisation) -> None:
    outcome = org.flux("started", goal={"check_mode": True})
    assert [step.describe() for step in outcome.steps] == [f"create nvcf_function {FLUX}", *DEPLOY]
    assert state(outcome) == "starting"
    assert outcome.statuses[FLUX].image == f"nvcr.io/{org.app.account.org}/flux.1-dev:1.2.3", "as after the run"
    assert outcome.statuses[FLUX].auth == "bearer"
    assert set(org.actions()) == {"ListFunctions", "GetRepository", "ListClusterGroups"}


def test_what_is_asked_of_nvidia(org: Organisation) -> None:
    org.flux("started", {"max_instances": 4, "max_request_concurrency": 2}, env={"NIM_LOG_LEVEL": "INFO"})
    version = org.status()
    assert version.image == f"nvcr.io/{org.app.account.org}/flux.1-dev:1.2.3"
    (shown,) = (
        call["params"]["deploymentSpecifications"][0]
        for call in org.calls.as_list()
        if call["action"] == "CreateDeployment"
    )
    assert shown == {
        "gpu": "L40S",
        "instanceType": "NCP.GPU.L40S_1x",
        "minInstances": 1,
        "maxInstances": 4,
        "maxRequestConcurrency": 2,
    }


def test_scaling_in_place(org: Organisation) -> None:
    org.flux("started")
    org.actions()
    outcome = org.flux("started", replicas=2)
    assert done(outcome) == [f"update nvcf_deployment {FLUX} (max_instances, min_instances)"]
    assert "UpdateGpuSpecification" in org.actions()
    assert outcome.statuses[FLUX].running == 2
    assert done(org.flux(replicas=2)) == []


@pytest.mark.parametrize("present_first", [True, False])
def test_scale_to_zero(org: Organisation, present_first: bool) -> None:
    settings = {"stopped_means": "scale_to_zero"}
    if present_first:
        assert state(org.flux(settings=settings)) == "stopped"
        assert org.app.resources()["deployments"] == [FLUX]
    assert state(org.flux("started", settings)) == "running"
    stopped = org.flux("stopped", settings)
    assert (done(stopped), state(stopped)) == ([f"update nvcf_deployment {FLUX} (min_instances)"], "stopped")
    assert org.app.resources()["deployments"] == [FLUX]
    assert done(org.flux("stopped", settings)) == []
    assert done(org.flux(settings=settings)) == []


def test_another_image_is_another_version_at_the_same_address(org: Organisation) -> None:
    before = org.flux("started").statuses[FLUX]
    outcome = org.flux(tag="1.2.4")
    assert done(outcome) == [
        f"update nvcf_function {FLUX} (content, image)",
        f"update nvcf_deployment {FLUX} (version)",
    ]
    after = org.status()
    assert (after.state, after.endpoint) == ("running", before.endpoint)
    assert str(after.image).endswith("flux.1-dev:1.2.4")
    assert org.app.resources()["versions"] == [FLUX]
    assert done(org.flux(tag="1.2.4")) == []


def test_another_image_of_a_stopped_nim(org: Organisation) -> None:
    org.flux()
    assert done(org.flux(tag="1.2.4")) == [f"update nvcf_function {FLUX} (content, image)"]
    assert (org.app.resources()["versions"], org.status().state) == ([FLUX], "stopped")


def test_another_instance_type_is_another_deployment(org: Organisation) -> None:
    org.flux("started")
    settings = {"instance_types": {"l40s": "NCP.GPU.L40S_4x"}}
    assert done(org.flux(settings=settings)) == [f"update nvcf_deployment {FLUX} (instance_type)"]
    assert done(org.flux(settings=settings)) == []
    assert org.status().state == "running"


# ---- keys ------------------------------------------------------------------------------------------------------------


def test_keys_go_nowhere_but_into_the_function(org: Organisation) -> None:
    outcome = org.flux("started")
    for key in (NGC_KEY, HF_TOKEN):
        assert org.calls_with(key) == {"CreateFunction"}
        assert key not in str(outcome)
    assert org.calls_with(org.app.account.key) == set()


def test_another_key_is_another_version(org: Organisation) -> None:
    org.flux("started")
    settings = {"ngc_api_key": "nvapi-Zr81CANARYnew0000"}
    assert done(org.flux(settings=settings)) == [
        f"update nvcf_function {FLUX} (keys)",
        f"update nvcf_deployment {FLUX} (version)",
    ]
    assert done(org.flux(settings=settings)) == []


def test_without_a_key_what_is_there_is_left_alone(org: Organisation) -> None:
    org.flux()
    assert done(org.flux("started", {"ngc_api_key": None, "hf_token": None})) == DEPLOY


def test_keys_as_secrets(org: Organisation) -> None:
    settings = {"key_delivery": "secret"}
    org.flux("started", settings)
    assert org.app.functions.secrets_of(FLUX) == [{"NGC_API_KEY": NGC_KEY, "HF_TOKEN": HF_TOKEN}]
    org.actions()
    outcome = org.flux(settings={**settings, "ngc_api_key": "nvapi-Zr81CANARYnew0000"})
    assert done(outcome) == [f"update nvcf_function {FLUX} (keys)"]
    assert org.app.functions.secrets_of(FLUX) == [{"NGC_API_KEY": "nvapi-Zr81CANARYnew0000", "HF_TOKEN": HF_TOKEN}]
    assert {"UpdateSecrets", "UpdateMetadata"} <= set(org.actions())
    assert done(org.flux(settings={**settings, "ngc_api_key": "nvapi-Zr81CANARYnew0000"})) == []


# ---- refused before the first change ---------------------------------------------------------------------------------


def refusal(org: Organisation, settings: dict[str, object], state: str = "started", **entry: object) -> str:
    """Return why nothing was done."""
    with pytest.raises((ProviderError, ValueError)) as caught:
        org.flux(state, settings, **entry)
    assert not any(org.app.resources().values())
    return str(caught.value)


def test_a_stock_image_is_refused(org: Organisation) -> None:
    text = refusal(org, {"org": None})
    assert "run no image from nvcr.io/nim" in text
    assert "nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.3" in text
    assert "image_registry" in text


def test_an_image_that_was_not_copied(org: Organisation) -> None:
    org.app.functions.images.clear()
    own = f"nvcr.io/{org.app.account.org}/flux.1-dev:1.2.3"
    stock = "nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.3"
    text = refusal(org, {})
    assert f"there is no {own}" in text
    assert f"docker pull {stock} && docker tag {stock} {own} && docker push {own}" in text


def test_a_tag_that_was_not_copied(org: Organisation) -> None:
    assert "flux.1-dev has no tag 9.9 (it has 1.2.3, 1.2.4)" in refusal(org, {}, tag="9.9")


def test_of_a_digest_only_the_repository_is_looked_for(org: Organisation) -> None:
    digest = f"sha256:{'0123456789abcdef' * 4}"
    own = f"nvcr.io/{org.app.account.org}/flux.1-dev"
    assert well(org.flux(tag=f"9.9@{digest}"))
    assert org.status().image == f"{own}@{digest}"


def test_a_digest_that_was_not_copied(org: Organisation) -> None:
    org.app.functions.images.clear()
    digest = f"sha256:{'0123456789abcdef' * 4}"
    own = f"nvcr.io/{org.app.account.org}/flux.1-dev"
    text = refusal(org, {}, tag=f"9.9@{digest}")
    assert f"there is no {own}@{digest}. Copy it: skopeo copy" in text
    assert text.endswith(f"docker://{own}:9.9")


def test_images_in_another_registry_are_not_looked_at(org: Organisation) -> None:
    outcome = org.flux(settings={"image_registry": "registry.studio.example/nim"})
    assert well(outcome)
    assert "GetRepository" not in org.actions()
    assert org.status().image == "registry.studio.example/nim/flux.1-dev:1.2.3"


def test_a_key_that_may_not_look_at_images(org: Organisation) -> None:
    key = org.app.account.add_key(("nv-cloud-functions",))
    assert well(org.flux(settings={"api_key": key}))


@pytest.mark.parametrize(
    ("env", "problem"),
    [
        ({"NIM_HTTP_API_PORT": "8080"}, "sets the port 8080; NVIDIA Cloud Functions keep 8080 and 8010"),
        ({"NIM_SERVER_PORT": "8010"}, "sets the port 8010"),
        ({"NIM_HTTP_API_PORT": "9000", "NIM_SERVER_PORT": "9001"}, "both must be the same port"),
        ({"NVCF_ENV": "x"}, "env sets NVCF_ENV"),
        ({"BUDGETGUARD_NODE": "x"}, "env sets BUDGETGUARD_NODE"),
    ],
)
def test_variables_that_nvidia_would_refuse(org: Organisation, env: dict[str, str], problem: str) -> None:
    assert problem in refusal(org, {}, env=env)


def test_a_missing_key(org: Organisation) -> None:
    assert "ngc_api_key is not set; every new version" in refusal(org, {"ngc_api_key": None})
    assert "hf_token is not set; FLUX Dev" in refusal(org, {"hf_token": None})


def test_a_gpu_that_nvidia_does_not_offer(org: Organisation) -> None:
    text = refusal(org, {}, gpu_tier="rtx-pro-6000", skip_fit_check=True)
    assert "offers your organisation no instance type with 1 RTX-PRO-6000" in text
    assert "L40S (NCP.GPU.L40S_1x)" in text
    assert "no instance type NCP.GPU.X_1x" in refusal(org, {"instance_types": {"l40s": "NCP.GPU.X_1x"}})


def test_fewer_instances_than_replicas(org: Organisation) -> None:
    assert "max_instances is 1, fewer than the 2 replicas" in refusal(org, {"max_instances": 1}, replicas=2)


def test_keys_that_nvidia_refuses(org: Organisation) -> None:
    wrong = refusal(org, {"api_key": "nvapi-0000000000000000CANARY"})
    assert "cannot list the functions: 401" in wrong
    assert "NVIDIA does not accept api_key" in wrong
    assert "CANARY" not in wrong
    assert "401" in refusal(org, {"api_key": org.app.account.add_key(expired=True)})
    weak = refusal(org, {"api_key": org.app.account.add_key(("ai-foundations",))})
    assert "needs the service Cloud Functions" in weak
    assert "not a member of the organisation other" in refusal(org, {"org": "other"})


# ---- trouble ---------------------------------------------------------------------------------------------------------


def test_somebody_elses_function_is_never_touched(org: Organisation) -> None:
    provider = org.provider()
    body = {"name": FLUX, "inferenceUrl": "/", "containerImage": "registry.example/x:1"}
    provider.session.call("make one", "POST", "/functions", body)
    with pytest.raises(ValueError, match="was not made by this collection"):
        org.flux()
    assert done(org.flux("absent")) == []
    assert FLUX not in provider.statuses()


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        ("pull_refused", "Failed to pull the container image: unauthorized"),
        ("exits", "The container exited with code 1"),
        ("quota", "quota of instances is used up"),
    ],
)
def test_a_start_that_fails_says_why(org: Organisation, outcome: str, reason: str) -> None:
    org.becomes(outcome)
    found = org.flux("started")
    assert "does not start" in found.errors[FLUX]
    assert reason in found.errors[FLUX]
    assert reason in str(org.status().reason)


def test_an_error_is_left_alone_until_it_is_started_again(org: Organisation) -> None:
    org.becomes("exits")
    org.flux("started")
    assert done(org.flux()) == []
    assert (org.status().state, org.count("DeleteDeployment")) == ("failed", 0)
    assert f"update nvcf_deployment {FLUX} (usable)" in done(org.flux("started"))
    assert (org.count("DeleteDeployment"), org.count("CreateDeployment")) == (1, 2)


def test_a_start_without_capacity(org: Organisation) -> None:
    org.becomes("no_capacity")
    outcome = org.flux("started", goal={"wait_timeout": 0})
    assert "waiting for: waiting for an instance with L40S" in outcome.errors[FLUX]
    assert org.status().state == "starting"


def test_a_start_right_after_a_stop_waits_for_the_last_requests(org: Organisation) -> None:
    org.flux("started")
    DEFAULTS.change({"drain_seconds": 0.5})
    org.flux("stopped")
    org.actions()
    again = org.flux("started")
    assert (well(again), state(again)) == (True, "running")
    assert org.count("CreateDeployment") == 2


@pytest.mark.parametrize("action", ["CreateFunction", "CreateDeployment"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_answer_that_was_lost_doubles_nothing(org: Organisation, action: str, when: str) -> None:
    org.fault(action, status=503, when=when)
    outcome = org.flux("started")
    assert (well(outcome), state(outcome)) == (True, "running")
    assert org.app.resources() == {"functions": [FLUX], "versions": [FLUX], "deployments": [FLUX]}


def test_a_lost_answer_to_a_new_version(org: Organisation) -> None:
    org.flux("started")
    org.fault("CreateFunctionVersion", status=503, when="after")
    assert well(org.flux(tag="1.2.4"))
    assert (org.app.resources()["versions"], org.status().state) == ([FLUX], "running")


def test_throttling_is_waited_out(org: Organisation) -> None:
    org.fault("CreateFunction", status=429, times=2, headers={"Retry-After": "0"})
    org.fault("ListFunctions", status=429, headers={"Retry-After": "0"})
    assert well(org.flux())
    assert org.count("CreateFunction") == 3


def test_a_run_that_was_killed_between_two_versions(org: Organisation) -> None:
    """The new version is there, the old one runs: the next run finishes the change."""
    org.flux("started")
    org.fault("DeleteDeployment", status=400)
    assert FLUX in org.flux(tag="1.2.4").errors
    assert org.status().state == "running"
    assert done(org.flux(tag="1.2.4")) == [f"update nvcf_deployment {FLUX} (version)"]
    assert org.app.resources()["versions"] == [FLUX]


def test_a_run_that_was_killed_after_the_old_version_was_taken_down(org: Organisation) -> None:
    org.flux("started")
    org.fault("CreateDeployment", status=400)
    assert FLUX in org.flux(tag="1.2.4").errors
    left = org.status()
    assert left.state == "stopped"
    assert "interrupted" in str(left.reason)
    again = org.flux("started", tag="1.2.4")
    assert (well(again), state(again)) == (True, "running")
    assert org.app.resources()["versions"] == [FLUX]


def test_two_functions_of_one_name_become_one(org: Organisation) -> None:
    """Two runs that began at the same moment."""
    first = org.flux("started").statuses[FLUX]
    (body,) = (call["params"] for call in org.calls.as_list() if call["action"] == "CreateFunction")
    org.provider().session.call("make one more", "POST", "/functions", body)
    assert done(org.flux()) == [f"update nvcf_function {FLUX} (leftovers)"]
    assert org.app.resources()["versions"] == [FLUX]
    assert org.status().endpoint == first.endpoint


def test_a_function_that_another_run_makes_at_the_same_time(org: Organisation) -> None:
    """Both runs have looked before either has made anything."""
    wanted, _selections = resolve_all(
        [{"node": "FLUX Dev", "gpu_tier": "l40s", "state": "present"}], "nvidia", _catalog.load({})
    )
    slow = org.provider()
    steps = make_plan(slow, Goal(wanted=tuple(wanted)), slow.observe([FLUX]))
    first = org.flux().statuses[FLUX]
    result = execute(slow, steps)
    assert result.conflicts
    assert "another run has created the function" in str(result.errors[FLUX])
    assert (org.app.resources()["versions"], org.status().endpoint) == ([FLUX], first.endpoint)


def test_one_failure_does_not_stop_the_others(org: Organisation) -> None:
    org.becomes("exits")
    outcome = org.run([{"node": "FLUX Dev", "gpu_tier": "l40s", "state": "started"}, {**LLAMA, "state": "started"}])
    assert set(outcome.errors) == {FLUX}
    assert state(outcome, "nim-llama-3-1-l40s") == "running"
