# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converging one target: isolation of failures, overlap with other runs, waiting, and what is reported."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._converge import (
    ROUNDS,
    Goal,
    Outcome,
    build_result,
    converge,
    failure_message,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Status, Wanted
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import Resource, Step
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ConflictError, ProviderError
from tests.unit.engine.fake_provider import FakeProvider, absent, nim, stopped

A, B, C = "nim-a", "nim-b", "nim-c"


def go(provider: FakeProvider, *wanted: t.Any, **options: t.Any) -> Outcome:
    return converge(provider, Goal(wanted=wanted, **options), sleep=provider.naps.append)


def test_first_run_makes_everything_and_the_second_nothing() -> None:
    provider = FakeProvider()
    first = go(provider, nim(A), nim(B))
    assert len(first.done) == 7
    provider.applied.clear()
    second = go(provider, nim(A), nim(B))
    assert (second.done, provider.applied) == ([], [])
    assert {status.state for status in second.statuses.values()} == {"stopped"}


def test_check_mode_plans_the_same_steps_and_applies_none() -> None:
    provider = FakeProvider()
    predicted = go(provider, nim(A), check_mode=True)
    assert provider.applied == []
    assert predicted.steps == go(provider, nim(A)).done


def test_present_leaves_a_running_nim_running() -> None:
    provider = FakeProvider()
    go(provider, nim(A, start=True))
    again = go(provider, nim(A))
    assert again.done == []
    assert again.statuses[A].replicas == 1


def test_stopped_is_only_the_switch() -> None:
    provider = FakeProvider()
    go(provider, nim(A, start=True))
    outcome = go(provider, selections=(stopped("a"), stopped("unknown")))
    assert [step.describe() for step in outcome.done] == ["update service nim-a (replicas)"]


def test_absent_takes_what_was_the_nims_own_and_keeps_what_is_shared() -> None:
    provider = FakeProvider()
    go(provider, nim(A), nim(B))
    outcome = go(provider, selections=(absent("a"),), purge_shared=True)
    assert outcome.statuses[A].state == "absent"
    assert ("cluster", "c") in provider.objects
    go(provider, selections=(absent("b"),))
    assert set(provider.objects) == {("cluster", "c")}
    go(provider, selections=(absent("b"),), purge_shared=True)
    assert provider.objects == {}


def test_one_nims_failure_does_not_stop_the_others() -> None:
    provider = FakeProvider()
    provider.failures["create machine m-nim-a"] = [ProviderError("no machine for you")]
    outcome = go(provider, nim(A), nim(B), nim(C))
    assert outcome.errors == {A: "no machine for you"}
    assert ("service", B) in provider.objects
    assert ("service", C) in provider.objects
    assert ("service", A) not in provider.objects
    go(provider, nim(A), nim(B), nim(C))
    assert ("service", A) in provider.objects


def test_a_failed_nim_is_left_out_of_the_shared_list() -> None:
    provider = FakeProvider()
    provider.failures["create machine m-nim-a"] = [ProviderError("no")]
    go(provider, nim(A), nim(B))
    assert "create membership m-nim-a" not in provider.applied


def test_a_shared_failure_stops_all_and_is_told_once() -> None:
    provider = FakeProvider()
    provider.failures["create cluster c"] = [ProviderError("access denied")]
    outcome = go(provider, nim(A), nim(B))
    assert outcome.target_error == "access denied"
    assert outcome.errors == {}
    assert provider.objects == {}


@pytest.mark.parametrize("step", ["create cluster c", "create machine m-nim-a", "create service nim-a"])
def test_another_run_made_it_first(step: str) -> None:
    provider = FakeProvider()
    provider.failures[step] = [ConflictError("exists")]
    outcome = go(provider, nim(A), nim(B))
    assert (outcome.errors, outcome.target_error) == ({}, None)
    assert provider.applied.count(step) == 0
    assert {key for key in provider.objects if key[0] == "service"} == {("service", A), ("service", B)}


def test_an_overwritten_list_is_put_right() -> None:
    provider = FakeProvider()
    provider.lost = ["m-nim-a"]
    outcome = go(provider, nim(A), nim(B))
    assert outcome.errors == {}
    assert ("membership", "m-nim-a") in provider.objects


def test_endless_conflicts_end_as_an_error() -> None:
    class Contested(FakeProvider):
        def apply(self, step: Step) -> None:
            raise ConflictError("taken")

    provider = Contested()
    outcome = go(provider, nim(A))
    assert outcome.target_error == "taken"
    assert provider.observed <= ROUNDS + 1


def test_preflight_stops_before_the_first_step() -> None:
    provider = FakeProvider()
    provider.preflight_error = "no quota"
    with pytest.raises(ProviderError, match="no quota"):
        go(provider, nim(A))
    assert provider.applied == []


def test_waits_until_ready() -> None:
    provider = FakeProvider()
    provider.states[A] = [("starting", "waiting for a GPU machine"), ("starting", "loading"), ("running", None)]
    outcome = go(provider, nim(A, start=True), wait_interval=7)
    assert outcome.errors == {}
    assert outcome.statuses[A].state == "running"
    assert provider.naps == [7, 7]


def test_polls_only_what_is_not_ready_yet() -> None:
    provider = FakeProvider()
    provider.states[A] = [("starting", "loading"), ("running", None)]
    go(provider, nim(A, start=True), nim(B, start=True))
    assert provider.polls == [[A, B], [A]]


def test_time_out_says_what_is_waited_for() -> None:
    provider = FakeProvider()
    provider.states[A] = [("starting", "AWS has no free GPU machine")]
    outcome = go(provider, nim(A, start=True), nim(B, start=True), wait_timeout=0)
    assert outcome.errors == {A: "not ready after 0 s; waiting for: AWS has no free GPU machine"}
    assert outcome.statuses[B].state == "running"


def test_a_nim_that_failed_for_good_is_not_waited_for() -> None:
    provider = FakeProvider()
    provider.states[A] = [("failed", "the image cannot be pulled")]
    outcome = go(provider, nim(A, start=True))
    assert outcome.errors == {A: "does not start: the image cannot be pulled"}
    assert provider.naps == []


def test_without_wait_nothing_is_waited_for() -> None:
    provider = FakeProvider()
    provider.states[A] = [("starting", "loading")]
    outcome = go(provider, nim(A, start=True), wait=False)
    assert outcome.errors == {}
    assert outcome.statuses[A].state == "starting"


def test_another_tier_of_the_node_is_told_and_left_alone() -> None:
    provider = FakeProvider()
    go(provider, nim(A))
    other = nim("nim-a-h100")
    outcome = go(provider, type(other)(**{**other.__dict__, "node": "a", "gpu_tier": "h100"}))
    (warning,) = outcome.warnings
    assert warning.startswith("nim-a also serves a on this target and is left alone; remove it with state absent")
    assert warning.endswith("and gpu_tier l40s if nim-a-h100 replaces it")


def test_the_failure_message_names_nim_reason_and_what_was_done() -> None:
    provider = FakeProvider()
    provider.failures["create service nim-a"] = [ProviderError("quota")]
    goal = Goal(wanted=(nim(A), nim(B)))
    outcome = converge(provider, goal, sleep=lambda _seconds: None)
    assert failure_message(goal, outcome).splitlines() == [
        "1 of 2 NIMs failed; the others were carried out.",
        "nim-a: quota (done so far: create machine, create membership)",
        "The next run continues from here.",
    ]
    result = build_result(goal, outcome)
    assert result["changed"] is True
    assert {item["name"]: item["error"] for item in result["deployments"]} == {B: None}
    assert result["failed_deployments"] == {A: "quota"}


def test_check_mode_does_not_tell_of_anything_as_done() -> None:
    provider = FakeProvider()
    provider.failures["rehearse service nim-a"] = [ProviderError("invalid image")]
    provider.failures["rehearse cluster c"] = [ProviderError("no right")]
    goal = Goal(wanted=(nim(A), nim(B)), check_mode=True)
    assert failure_message(goal, converge(provider, goal)).splitlines() == [
        "The shared part of the target would fail: no right",
        "1 of 2 NIMs would fail.",
        "nim-a: invalid image",
    ]


def test_there_are_no_others_of_one() -> None:
    provider = FakeProvider()
    provider.failures["create service nim-a"] = [ProviderError("quota")]
    goal = Goal(wanted=(nim(A),))
    assert failure_message(goal, converge(provider, goal)).splitlines()[0] == "1 of 1 NIMs failed."


def test_a_read_that_fails_after_changes_does_not_hide_them() -> None:
    class Throttled(FakeProvider):
        def statuses(self, names: t.Sequence[str] | None = None, explain: bool = False) -> dict[str, Status]:
            raise ProviderError("throttled to death")

    outcome = go(Throttled(), nim(A))
    assert outcome.target_error == "throttled to death"
    assert len(outcome.done) == 4


def test_a_mistake_that_is_found_after_changes_does_not_hide_them() -> None:
    class Puzzled(FakeProvider):
        def statuses(self, names: t.Sequence[str] | None = None, explain: bool = False) -> dict[str, Status]:
            raise ValueError("not a date")

    outcome = go(Puzzled(), nim(A))
    assert (outcome.target_error, len(outcome.done)) == ("not a date", 4)


def test_what_stopped_the_work_is_told_before_what_followed_from_it() -> None:
    class Unreadable(FakeProvider):
        def statuses(self, names: t.Sequence[str] | None = None, explain: bool = False) -> dict[str, Status]:
            raise ProviderError("the cluster is being created")

    provider = Unreadable()
    provider.failures["create cluster c"] = [ProviderError("no right to look at operations")]
    outcome = go(provider, nim(A, start=True))
    assert outcome.target_error == "no right to look at operations\nthe cluster is being created"


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ({"wait_interval": 0}, "wait_interval is 0; it must be more than 0 seconds"),
        ({"wait_interval": -1.5}, "wait_interval is -1.5; it must be more than 0 seconds"),
        ({"wait_timeout": -1}, "wait_timeout is -1; it must be at least 0 seconds"),
    ],
)
def test_a_wait_that_cannot_be_is_refused_before_the_first_look(option: dict[str, t.Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Goal(**option)


def test_of_what_is_gone_or_will_be_stopped_nothing_is_said_to_run() -> None:
    class Since(FakeProvider):
        def _status(self, name: str, item: Resource) -> Status:
            status = super()._status(name, item)
            return dataclasses.replace(status, running_since="2026-11-28T09:12:40Z", reason="waiting")

    provider = Since()
    go(provider, nim(A, start=True))
    idle = (0, 0, None, None)
    stop = go(provider, selections=(stopped("a"),), check_mode=True).statuses[A]
    assert (stop.replicas, stop.running, stop.reason, stop.running_since) == idle
    gone = go(provider, selections=(absent("a"),)).statuses[A]
    assert (gone.replicas, gone.running, gone.reason, gone.running_since) == idle


def test_check_mode_names_the_image_and_the_login_as_the_target_will() -> None:
    class Copies(FakeProvider):
        def foreseen(self, item: Wanted) -> t.Mapping[str, t.Any]:
            return {"image": f"registry.studio.example/{item.image}", "auth": "gateway"}

    status = go(Copies(), nim(A), check_mode=True).statuses[A]
    assert (status.image, status.auth) == ("registry.studio.example/repo/model:1", "gateway")


# ---- objects that some of the NIMs share -----------------------------------------------------------------------------


def with_pools(**pools: str) -> FakeProvider:
    provider = FakeProvider()
    provider.pools = {f"nim-{name}": pool for name, pool in pools.items()}
    return provider


def test_a_pool_that_fails_fails_its_own_nims_alone() -> None:
    provider = with_pools(a="l4", b="l4", c="h100")
    provider.failures["create pool l4"] = [ProviderError("quota")]
    outcome = go(provider, nim(A), nim(B), nim(C))
    assert (outcome.errors, outcome.target_error) == ({A: "quota", B: "quota"}, None)
    assert {key for key in provider.objects if key[0] in ("pool", "service")} == {("pool", "h100"), ("service", C)}
    assert go(provider, nim(A), nim(B), nim(C)).errors == {}


def test_a_pool_goes_with_the_last_nim_that_uses_it() -> None:
    provider = with_pools(a="l4", b="l4")
    go(provider, nim(A), nim(B))
    go(provider, selections=(absent("a"),))
    assert ("pool", "l4") in provider.objects
    outcome = go(provider, selections=(absent("b"),))
    assert ("pool", "l4") not in provider.objects
    assert [step.kind for step in outcome.done] == ["service", "membership", "machine", "pool"]


def test_a_pool_that_a_killed_teardown_left_behind_goes_with_the_next() -> None:
    provider = with_pools(a="l4")
    go(provider, nim(A))
    provider.failures["delete pool l4"] = [ProviderError("killed")]
    go(provider, selections=(absent("a"),))
    go(provider, selections=(absent("a"),))
    assert set(provider.objects) == {("cluster", "c")}


def test_a_pool_moves_to_a_nim_that_comes_as_another_goes() -> None:
    provider = with_pools(a="l4", b="l4")
    go(provider, nim(A))
    outcome = go(provider, nim(B), selections=(absent("a"),))
    assert ("pool", "l4") in provider.objects
    assert "pool" not in [step.kind for step in outcome.done]


# ---- targets that are switched off as a whole, and targets that can rehearse -----------------------------------------


def test_the_target_is_switched_off_with_its_last_running_nim() -> None:
    provider = FakeProvider()
    provider.switches_off = True
    go(provider, nim(A, start=True), nim(B, start=True))
    outcome = go(provider, selections=(stopped("a"),))
    assert [step.kind for step in outcome.done] == ["service"]
    outcome = go(provider, selections=(stopped("b"),))
    assert [step.kind for step in outcome.done] == ["service", "power"]
    assert outcome.statuses[B].state == "stopped"
    assert (outcome.errors, outcome.target_error) == ({}, None)


def test_earlier_work_is_waited_for_but_not_in_check_mode() -> None:
    provider = FakeProvider()
    go(provider, nim(A), check_mode=True)
    assert provider.settled == 0
    go(provider, nim(A))
    assert provider.settled == 1


def test_check_mode_tells_what_the_target_would_refuse() -> None:
    provider = FakeProvider()
    provider.failures["rehearse service nim-a"] = [ProviderError("invalid image")]
    outcome = go(provider, nim(A), nim(B), check_mode=True)
    assert outcome.errors == {A: "invalid image"}
    assert provider.applied == []
    assert len(provider.rehearsed) == len(outcome.steps)
    provider.failures["rehearse cluster c"] = [ProviderError("no right")]
    assert go(provider, nim(A), check_mode=True).target_error == "no right"
