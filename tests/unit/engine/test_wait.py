# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for NIMs: what is said meanwhile, when it ends, and what is told in the end."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Status
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import MissingLibraryError, ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._wait import (
    Nim,
    Phase,
    Target,
    Waiter,
    nims_of,
    phase,
)
from tests.unit.engine.fake_provider import FakeProvider

Look = tuple[str, str | None] | Exception
"""A state and its reason, or what goes wrong."""


def status(state: str, reason: str | None = None, name: str = "nim-flux") -> Status:
    return Status(name, "FLUX", "l40s", state=state, reason=reason)


PHASES: list[t.Any] = [
    ("starting", "waiting for a GPU machine", "waiting for GPU capacity"),
    ("starting", "waiting for a GPU machine: 0/2 nodes are loading its model", "waiting for GPU capacity"),
    ("starting", "a GPU machine is being started", "waiting for GPU capacity"),
    ("starting", "waiting for an instance with L40S", "waiting for GPU capacity"),
    (
        "starting",
        "AWS has no free GPU machine of this type now: try\nlater",
        "waiting for GPU capacity (AWS has no free GPU machine of this type now: try later)",
    ),
    ("starting", "the machine is up and pulls the image", "pulling image"),
    ("starting", "the machine is pulling the image", "pulling image"),
    ("starting", "the NIM is loading its model", "loading model"),
    ("starting", "the NIM runs and loads its model", "loading model"),
    ("starting", "the NIM is downloading and loading its model (503)", "loading model"),
    ("starting", "an instance is there; the container starts and loads the model", "loading model"),
    (
        "starting",
        "the NIM exited with code 1 and wrote no log",
        "starting (the NIM exited with code 1 and wrote no log)",
    ),
    ("starting", "it has loaded its model for 3 min", "loading model"),
    ("starting", None, "starting"),
    ("running", None, "ready"),
    ("failed", "the quota is used up", "failed: the quota is used up"),
    ("failed", None, "failed: the cloud gives no reason"),
    ("stopped", None, "switched off"),
    ("unknown", "only a part of it exists", "unknown (only a part of it exists)"),
]


@pytest.mark.parametrize(("state", "reason", "words"), PHASES)
def test_a_state_in_words(state: str, reason: str | None, words: str) -> None:
    assert str(phase(status(state, reason))) == words


def test_what_is_not_there_is_said_to_be_so() -> None:
    assert phase(None) == Phase("not there")


class Script(FakeProvider):
    """Gives one look after the other for each NIM, the last one for ever; detailed looks come from another list."""

    def __init__(self, looks: dict[str, list[Look]], details: dict[str, tuple[str, str]] | None = None) -> None:
        super().__init__()
        self.looks = looks
        self.details = details or {}
        self.asked_in_detail: list[list[str]] = []
        self.progress_calls: list[list[str]] = []

    def progress(self, names: t.Sequence[str]) -> dict[str, Status]:
        self.progress_calls.append(list(names))
        found = {}
        for name in names:
            look = self.looks[name].pop(0) if len(self.looks[name]) > 1 else self.looks[name][0]
            if isinstance(look, Exception):
                raise look
            found[name] = status(*look, name=name)
        return found

    def statuses(self, names: t.Sequence[str] | None = None, explain: bool = False) -> dict[str, Status]:
        assert explain
        self.asked_in_detail.append(list(names or []))
        return {name: status(*self.details[name], name=name) for name in names or [] if name in self.details}


class Wait:
    """A wait with a clock of its own."""

    def __init__(self, providers: dict[str, Script], timeout: float = 600.0, heartbeat: float = 10_000.0) -> None:
        self.now = 1000.0
        self.lines: list[str] = []
        self.connects: list[str] = []

        def connect(name: str) -> Script:
            self.connects.append(name)
            return providers[name]

        targets = [
            Target(
                name,
                lambda name=name: connect(name),  # type: ignore[misc]
                [Nim(name, item.removeprefix("nim-"), item, item.removeprefix("nim-")) for item in provider.looks],
            )
            for name, provider in providers.items()
        ]
        self.waiter = Waiter(
            targets,
            timeout=timeout,
            interval=15.0,
            heartbeat=heartbeat,
            say=self.lines.append,
            clock=lambda: self.now,
            sleep=self._sleep,
        )

    def _sleep(self, seconds: float) -> None:
        assert seconds > 0, "it would turn for ever"
        self.now += seconds

    def run(self) -> Wait:
        self.waiter.run()
        return self


CAPACITY: Look = ("starting", "waiting for a GPU machine")
PULLING: Look = ("starting", "the machine is up and pulls the image")
LOADING: Look = ("starting", "the NIM is loading its model")
READY: Look = ("running", None)


def test_one_line_for_each_change() -> None:
    wait = Wait({"aws": Script({"nim-a": [CAPACITY, CAPACITY, PULLING, LOADING, LOADING, READY]})}).run()
    assert wait.lines == [
        "0:00  a on aws: waiting for GPU capacity",
        "0:30  a on aws: pulling image",
        "0:45  a on aws: loading model",
        "1:15  a on aws: ready",
    ]
    assert (wait.waiter.problems(), wait.waiter.elapsed, wait.connects) == ({}, 75.0, ["aws"])


def test_a_starting_without_a_reason_is_no_news() -> None:
    wait = Wait({"aws": Script({"nim-a": [LOADING, ("starting", None), READY]})}).run()
    assert [line[6:] for line in wait.lines] == ["a on aws: loading model", "a on aws: ready"]


def test_the_heartbeat_sums_up_in_one_line() -> None:
    looks: dict[str, list[Look]] = {
        "nim-a": [CAPACITY] * 9 + [READY],
        "nim-b": [READY],
        "nim-c": [LOADING] * 9 + [READY],
    }
    wait = Wait({"aws": Script(looks)}, heartbeat=60).run()
    beats = [line for line in wait.lines if " of " in line]
    assert beats == [
        "1:00  aws: 1 of 3 ready; loading model: c; waiting for GPU capacity: a",
        "2:00  aws: 1 of 3 ready; loading model: c; waiting for GPU capacity: a",
    ]
    both = Wait({"aws": Script({"nim-a": [READY]}), "gcp": Script({"nim-b": [LOADING] * 6 + [READY]})}, heartbeat=60)
    assert [line for line in both.run().lines if " of " in line] == ["1:00  1 of 2 ready; loading model: b on gcp"]


def test_the_heartbeat_names_a_few_of_many() -> None:
    wait = Wait({"aws": Script({f"nim-{name}": [LOADING] * 5 + [READY] for name in "abcdef"})}, heartbeat=60).run()
    assert [line for line in wait.lines if " of " in line] == [
        "1:00  aws: 0 of 6 ready; loading model: a, b, c, d and 2 more"
    ]


def test_a_nim_that_fails_ends_early_and_the_others_go_on() -> None:
    provider = Script(
        {"nim-a": [LOADING, ("failed", "a hint")], "nim-b": [LOADING] * 5 + [READY]},
        {"nim-a": ("failed", "it exited; last line: no licence")},
    )
    wait = Wait({"aws": provider}).run()
    assert "0:15  a on aws: failed: it exited; last line: no licence" in wait.lines
    assert provider.progress_calls[2:] == [["nim-b"]] * 4
    assert provider.asked_in_detail == [["nim-a"]]
    assert wait.waiter.problems() == {"aws": ["a: does not start: it exited; last line: no licence"]}
    assert [nim.node for nim in wait.waiter.nims if nim.is_ready] == ["b"]


def test_a_long_wait_for_a_machine_is_looked_into_once_a_minute() -> None:
    provider = Script({"nim-a": [CAPACITY]}, {"nim-a": ("starting", "AWS has no free GPU machine of this type now: x")})
    wait = Wait({"aws": provider}, timeout=200).run()
    assert len(provider.asked_in_detail) == 3
    assert [line[:50] for line in wait.lines] == [
        "0:00  a on aws: waiting for GPU capacity",
        "1:00  a on aws: waiting for GPU capacity (AWS has ",
        "3:20  a on aws: not ready after 200 s; last: waiti",
    ]


def test_a_few_nims_are_looked_into_at_once_and_then_the_others() -> None:
    names = [f"nim-{letter}" for letter in "abcd"]
    provider = Script(
        {name: [CAPACITY] for name in names}, dict.fromkeys(names, ("starting", "waiting for a GPU machine"))
    )
    Wait({"aws": provider}, timeout=130).run()
    assert provider.asked_in_detail == [names[:3], ["nim-d", "nim-a", "nim-b"]]


def test_what_loads_its_model_is_not_looked_into() -> None:
    provider = Script({"nim-a": [LOADING]})
    Wait({"aws": provider}, timeout=200).run()
    assert provider.asked_in_detail == []


def test_a_quota_that_is_used_up_ends_the_wait() -> None:
    provider = Script({"nim-a": [CAPACITY]}, {"nim-a": ("failed", "the account's quota is used up")})
    wait = Wait({"aws": provider}).run()
    assert wait.waiter.elapsed == 60.0
    assert wait.waiter.problems() == {"aws": ["a: does not start: the account's quota is used up"]}


def test_an_unreadable_target_is_tried_again_and_said_once() -> None:
    trouble: list[Look] = [ProviderError("cannot read (id 1)"), ProviderError("cannot read (id 2)")]
    wait = Wait(
        {"aws": Script({"nim-a": [LOADING, *trouble, LOADING, READY]}), "gcp": Script({"nim-b": [READY]})}
    ).run()
    assert [line for line in wait.lines if "on aws" not in line] == [
        "0:00  b on gcp: ready",
        "0:15  aws cannot be read now and is tried again: cannot read (id 1)",
        "0:45  aws can be read again",
    ]
    assert (wait.waiter.problems(), wait.connects.count("aws")) == ({}, 1)


def test_a_failure_that_cannot_be_looked_into_is_not_believed_yet() -> None:
    class Silent(Script):
        def statuses(self, names: t.Sequence[str] | None = None, explain: bool = False) -> dict[str, Status]:
            raise ProviderError("cannot list the pods")

    wait = Wait({"aws": Silent({"nim-a": [LOADING, ("failed", "a hint"), READY]})}).run()
    assert wait.waiter.problems() == {}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MissingLibraryError("boto3", None), "the Python library boto3 is not installed on the controller"),
        (ValueError("there is no such host"), "there is no such host"),
    ],
)
def test_what_cannot_get_better_is_not_waited_for(error: Exception, said: str) -> None:
    wait = Wait({"aws": Script({"nim-a": [error]}), "gcp": Script({"nim-b": [READY]})}).run()
    assert wait.waiter.elapsed == 0.0
    assert wait.waiter.problems() == {"aws": [f"a: cannot be waited for: {said}"]}


def test_after_the_time_every_unfinished_nim_is_told_with_its_last_phase() -> None:
    providers = {
        "aws": Script({"nim-a": [LOADING], "nim-b": [READY]}),
        "gcp": Script({"nim-c": [ProviderError("no answer")]}),
    }
    wait = Wait(providers, timeout=100).run()
    assert wait.lines[-2:] == [
        "1:40  a on aws: not ready after 100 s; last: loading model",
        "1:40  c on gcp: not ready after 100 s; nothing could be read; gcp cannot be read: no answer",
    ]
    assert wait.waiter.problems() == {
        "aws": ["a: not ready after 100 s; last: loading model"],
        "gcp": ["c: not ready after 100 s; nothing could be read; gcp cannot be read: no answer"],
    }
    assert wait.waiter.elapsed == 100.0


def test_nothing_to_wait_for_ends_at_once() -> None:
    wait = Wait({}).run()
    assert (wait.lines, wait.waiter.elapsed) == ([], 0.0)


def test_what_is_expected_names_nodes_on_two_tiers_apart() -> None:
    entries = [{"node": "FLUX", "name": "nim-flux-l4"}, {"node": "FLUX", "name": "nim-flux-l40s"}]
    assert [nim.label for nim in nims_of({"aws": entries})["aws"]] == ["FLUX (nim-flux-l4)", "FLUX (nim-flux-l40s)"]


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ({"aws": "FLUX"}, r"expected\[aws\] is str; it must be a list"),
        ({"aws": ["FLUX"]}, r"expected\[aws\]\[0\] must have node and name"),
        ({"aws": [{"node": "FLUX"}]}, r"expected\[aws\]\[0\] must have node and name"),
    ],
)
def test_what_is_expected_is_checked(expected: t.Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        nims_of(expected)
