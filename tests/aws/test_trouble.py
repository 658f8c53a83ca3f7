# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When things go wrong on AWS: NIMs that do not start, throttling, overlapping and killed runs."""

from __future__ import annotations

import contextlib
import threading
import typing as t
from concurrent.futures import ThreadPoolExecutor

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._converge import Outcome
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_session import AwsSession
from tests.aws.account import Account, described

FLUX, LLAMA, SD = "FLUX Dev@l40s", "Llama 3.1@l4", "SD 3.5 Large@l40s"
FLUX_NAME, LLAMA_NAME, SD_NAME = "nim-flux-dev-l40s", "nim-llama-3-1-l4", "nim-sd-3-5-large-l40s"

REASONS = [
    pytest.param("no_capacity", "starting", "AWS has no free GPU machine of this type now", id="no-capacity"),
    pytest.param("quota", "failed", "the account's quota for this GPU family is used up", id="quota"),
    pytest.param("pull_refused", "failed", "the image cannot be pulled: CannotPullContainerError", id="pull-refused"),
    pytest.param("does_not_fit", "failed", "does not fit on the machine", id="does-not-fit"),
    pytest.param("unhealthy", "starting", "Health checks failed with these codes: [503]", id="unhealthy"),
    pytest.param("exits", "failed", "exited with code 1; its last lines: loading | no licence", id="exits"),
]


@pytest.mark.parametrize(("outcome", "state", "reason"), REASONS)
def test_the_reason_is_said_in_one_sentence(account: Account, outcome: str, state: str, reason: str) -> None:
    account.control.nim(FLUX_NAME, outcome, log_lines=["loading", "no licence"] if outcome == "exits" else None)
    account.run(FLUX, state="started", wait=False)
    status = _look_until(account, FLUX_NAME, lambda status: reason in str(status.reason))
    assert (status.state, reason in str(status.reason)) == (state, True), status
    assert "\n" not in str(status.reason)


def _look_until(account: Account, name: str, enough: t.Callable[[t.Any], bool]) -> t.Any:
    """Read the state until a failing task has been tried often enough to be called failed."""
    status = account.info()[name]
    for _attempt in range(100):
        if enough(status) and (status.state == "failed" or "exited" not in str(status.reason)):
            break
        status = account.info()[name]
    return status


def test_one_of_three_fails_and_the_error_says_why(account: Account) -> None:
    account.control.nim(LLAMA_NAME, "pull_refused")
    outcome = account.run(FLUX, LLAMA, SD, state="started")
    assert list(outcome.errors) == [LLAMA_NAME]
    assert outcome.errors[LLAMA_NAME].startswith("does not start: the image cannot be pulled")
    assert {name: status.state for name, status in outcome.statuses.items()} == {
        FLUX_NAME: "running",
        LLAMA_NAME: "failed",
        SD_NAME: "running",
    }


def test_the_time_limit_says_what_is_waited_for(account: Account) -> None:
    account.control.nim(FLUX_NAME, "no_capacity")
    outcome = account.run(FLUX, state="started", wait_timeout=1)
    assert outcome.errors[FLUX_NAME].startswith("not ready after 1 s; waiting for: AWS has no free GPU machine")


THROTTLED = ["DescribeServices", "CreateService", "RegisterTaskDefinition", "CreateAutoScalingGroup", "CreateRule"]


def test_a_throttled_api_only_takes_longer(account: Account) -> None:
    for action in THROTTLED:
        account.control.fault(action, "ThrottlingException", message="Rate exceeded", times=2)
    outcome = account.run(FLUX, LLAMA)
    assert (outcome.errors, outcome.target_error) == ({}, None)
    assert account.control.faults() == []
    assert described(account.run(FLUX, LLAMA)) == []


def test_one_nim_that_is_refused_does_not_stop_the_others(account: Account) -> None:
    account.control.fault(
        "CreateService", "AccessDeniedException", message="no permission", match=LLAMA_NAME, times=None
    )
    outcome = account.run(FLUX, LLAMA, SD)
    assert list(outcome.errors) == [LLAMA_NAME]
    assert f"cannot create the service {LLAMA_NAME}" in outcome.errors[LLAMA_NAME]
    assert "no permission" in outcome.errors[LLAMA_NAME]
    assert account.resources()["services"] == [FLUX_NAME, SD_NAME]
    account.control.clear_faults()
    again = account.run(FLUX, LLAMA, SD)
    assert [(step.kind, step.deployment) for step in again.done] == [
        ("task_definition", LLAMA_NAME),
        ("ecs_service", LLAMA_NAME),
    ]


PASSING = [
    pytest.param(
        "CreateAutoScalingGroup",
        "ValidationError",
        "You must use a valid fully-formed launch template. Value (budgetguard) for parameter iamInstanceProfile.name "
        "is invalid. Invalid IAM Instance Profile name",
        id="new-instance-profile-not-known-everywhere-yet",
    ),
    pytest.param("PutClusterCapacityProviders", "UpdateInProgressException", "in progress", id="cluster-busy"),
    pytest.param("CreateCapacityProvider", "UpdateInProgressException", "in progress", id="provider-busy"),
    pytest.param(
        "RegisterTaskDefinition",
        "ClientException",
        "Too many concurrent attempts to create a new revision of the specified family.",
        id="task-definition-busy",
    ),
    pytest.param(
        "CreateService",
        "InvalidParameterException",
        "Unable to Start a service that is still Draining.",
        id="old-service-drains",
    ),
    pytest.param(
        "CreateCluster",
        "InvalidParameterException",
        "Unable to assume the service linked role. Please verify that the ECS service linked role exists.",
        id="first-use-of-ecs-in-the-account",
    ),
]


@pytest.mark.parametrize(("action", "code", "message"), PASSING)
def test_what_aws_needs_a_moment_for_is_waited_for(account: Account, action: str, code: str, message: str) -> None:
    account.control.fault(action, code, message=message, times=2)
    outcome = account.run(FLUX)
    assert (outcome.errors, outcome.target_error) == ({}, None)
    assert described(account.run(FLUX)) == []


def _together(*runs: t.Callable[[], Outcome]) -> list[Outcome]:
    with ThreadPoolExecutor(max_workers=len(runs)) as pool:
        return [future.result() for future in [pool.submit(run) for run in runs]]


def _names_once(account: Account) -> None:
    for kind, names in account.resources().items():
        assert len(names) == len(set(names)), (kind, names)


def test_two_runs_of_the_same_nims_at_once_make_everything_once(account: Account) -> None:
    outcomes = _together(lambda: account.run(FLUX, LLAMA), lambda: account.run(FLUX, LLAMA))
    assert [(outcome.errors, outcome.target_error) for outcome in outcomes] == [({}, None)] * 2
    _names_once(account)
    assert len(account.resources()["rules"]) == 2
    assert described(account.run(FLUX, LLAMA)) == []


@pytest.mark.parametrize("delay", [0.7, 3.0])
def test_two_runs_of_different_nims_at_once_lose_nothing(account: Account, delay: float) -> None:
    account.run(SD)
    # Both read the cluster's list before either has written it: whoever writes last overwrites the other.
    account.control.hook("PutClusterCapacityProviders", delay, times=2, when="before")
    outcomes = _together(lambda: account.run(FLUX), lambda: account.run(LLAMA))
    assert [(outcome.errors, outcome.target_error) for outcome in outcomes] == [({}, None)] * 2
    assert described(account.run(FLUX, LLAMA, SD)) == []


class Killed(BaseException):
    """Stands for SIGKILL: nothing may handle it."""


@contextlib.contextmanager
def _killed_after(writes: int) -> t.Iterator[None]:
    """Let so many calls change something, then die at the next one; fail if there is no next one."""
    lock, left = threading.Lock(), [writes]
    real = AwsSession.call

    def call(self: AwsSession, service: str, operation: str, doing: str, /, *args: t.Any, **request: t.Any) -> t.Any:
        if not operation.startswith(("describe", "get", "list")):
            with lock:
                left[0] -= 1
                if left[0] < 0:
                    raise Killed
        return real(self, service, operation, doing, *args, **request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AwsSession, "call", call)
        try:
            yield
        except Killed:
            return
    raise AssertionError(f"there were no more than {writes} writes")


@pytest.mark.parametrize("writes", [1, 4, 9, 14, 19, 23, 27, 30, 33])
def test_a_run_that_dies_is_finished_by_the_next(account: Account, writes: int) -> None:
    with _killed_after(writes):
        account.run(FLUX, LLAMA)
    assert len(account.writes()) == writes
    outcome = account.run(FLUX, LLAMA)
    assert (outcome.errors, outcome.target_error) == ({}, None)
    _names_once(account)
    resources = account.resources()
    for kind in ("autoscaling_groups", "rules", "services", "task_definitions"):
        assert len(resources[kind]) == 2, (kind, resources[kind])
    assert described(account.run(FLUX, LLAMA)) == []


@pytest.mark.parametrize("writes", [1, 3, 6, 9, 12, 16])
def test_a_teardown_that_dies_is_finished_by_the_next(account: Account, writes: int) -> None:
    account.run(FLUX, state="started")
    with _killed_after(writes):
        account.run("FLUX Dev", state="absent", purge_shared=True)
    outcome = account.run("FLUX Dev", state="absent", purge_shared=True)
    assert (outcome.errors, outcome.target_error) == ({}, None)
    assert account.resources() == {"secrets_scheduled_for_deletion": ["budgetguard/nim"]}


def test_half_a_nim_is_shown_as_such(account: Account) -> None:
    account.control.fault("CreateService", "AccessDeniedException", times=1)
    account.run(FLUX)
    status = account.info()[FLUX_NAME]
    assert status.state == "unknown"
    assert status.reason == "only a part of it exists, there is no ECS service; deploy again to finish it"


def test_wrong_credentials_are_one_clear_error(account: Account) -> None:
    account.control.fault(
        "DescribeClusters",
        "UnrecognizedClientException",
        message="The security token included in the request is invalid.",
        times=None,
    )
    with pytest.raises(Exception, match=r"cannot read the cluster budgetguard: .*security token"):
        account.run(FLUX)
    assert account.writes() == []
