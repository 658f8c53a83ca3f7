# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for NIMs on AWS: few calls, true words, and an early end for what cannot start."""

from __future__ import annotations

import itertools
import time

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._wait import Nim, Target, Waiter
from tests.aws.account import Account

FLUX, LLAMA, SD = "FLUX Dev@l40s", "Llama 3.1@l4", "SD 3.5 Large@l40s"
FLUX_NAME, LLAMA_NAME, SD_NAME = NAMES = ("nim-flux-dev-l40s", "nim-llama-3-1-l4", "nim-sd-3-5-large-l40s")


def wait(account: Account, *names: str, timeout: float = 60.0, interval: float = 0.1) -> tuple[Waiter, list[str]]:
    lines: list[str] = []
    target = Target("aws", account.provider, [Nim("aws", name, name, name) for name in names])
    waiter = Waiter([target], timeout=timeout, interval=interval, heartbeat=600.0, say=lines.append)
    waiter.run()
    return waiter, [line.partition("  ")[2] for line in lines]


def test_the_phases_come_in_order(account: Account) -> None:
    account.control.defaults(startup_seconds=9)
    account.run(FLUX, state="started", wait=False)
    waiter, lines = wait(account, FLUX_NAME)
    assert waiter.problems() == {}
    phases = ["waiting for GPU capacity", "pulling image", "loading model", "ready"]
    assert [words for words, _same in itertools.groupby(_words(lines))] == phases


def _words(lines: list[str]) -> list[str]:
    return [line.partition(": ")[2].partition(" (")[0] for line in lines]


@pytest.mark.parametrize("count", [1, 3])
def test_no_poll_makes_more_than_two_calls(account: Account, count: int) -> None:
    account.control.defaults(startup_seconds=8)
    names = NAMES[:count]
    account.run(*(FLUX, LLAMA, SD)[:count], state="started", wait=False)
    provider = account.provider()
    seen: set[str] = set()
    states: set[str] = set()
    deadline = time.monotonic() + 60
    while states != {"running"} and time.monotonic() < deadline:
        account.control.clear_calls()
        statuses = provider.progress(names)
        actions = [call["action"] for call in account.control.calls()]
        assert len(actions) <= 2, actions
        seen.update(actions)
        assert set(statuses) == set(names)
        states = {status.state for status in statuses.values()}
    assert states == {"running"}
    assert seen == {"DescribeServices", "DescribeTasks", "DescribeTargetHealth"}


def test_what_is_ready_here_is_ready_in_full(account: Account) -> None:
    account.run(FLUX, LLAMA, SD, state="started")
    wait(account, *NAMES)
    assert {status.state for status in account.info().values()} == {"running"}


def test_what_does_not_fit_fails_at_once_and_the_others_get_ready(account: Account) -> None:
    account.control.nim(LLAMA_NAME, "does_not_fit")
    account.run(FLUX, LLAMA, state="started", wait=False)
    waiter, lines = wait(account, FLUX_NAME, LLAMA_NAME)
    assert list(waiter.problems()) == ["aws"]
    assert [text.partition(": the task")[0] for text in waiter.problems()["aws"]] == [f"{LLAMA_NAME}: does not start"]
    assert f"{FLUX_NAME} on aws: ready" in lines


@pytest.mark.parametrize(
    ("outcome", "said"),
    [("pull_refused", "the image cannot be pulled"), ("quota", "the account's quota"), ("exits", "exited with code 1")],
)
def test_a_closer_look_ends_the_wait(account: Account, outcome: str, said: str) -> None:
    account.control.nim(FLUX_NAME, outcome)
    account.run(FLUX, state="started", wait=False)
    waiter, lines = wait(account, FLUX_NAME)
    assert said in waiter.problems()["aws"][0]
    assert waiter.elapsed < 50
    assert lines[-1].startswith(f"{FLUX_NAME} on aws: failed: ")


def test_the_time_limit_says_what_was_waited_for(account: Account) -> None:
    account.control.nim(FLUX_NAME, "no_capacity")
    account.run(FLUX, state="started", wait=False)
    waiter, _lines = wait(account, FLUX_NAME, timeout=1.0)
    assert waiter.problems()["aws"][0].startswith(f"{FLUX_NAME}: not ready after 1 s; last: waiting for GPU capacity")


def test_a_throttled_api_is_asked_again(account: Account) -> None:
    account.run(FLUX, state="started", wait=False)
    account.control.fault("DescribeServices", "AccessDeniedException", message="not now", times=1)
    waiter, lines = wait(account, FLUX_NAME)
    assert waiter.problems() == {}
    assert lines[0].startswith("aws cannot be read now and is tried again: cannot read the services")
