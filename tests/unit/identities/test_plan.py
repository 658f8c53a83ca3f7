# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done with keys: never the one that a workstation works with."""

from __future__ import annotations

import itertools
import typing as t
from datetime import datetime, timedelta, timezone

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._workstation_key import (
    Key,
    KeyLostError,
    Wish,
    check_workstation,
    plan,
)

NOW = datetime(2026, 11, 28, tzinfo=timezone.utc)


def key(name: str, age: int = 1, **options: t.Any) -> Key:
    """Return a key that is so many days old."""
    return Key(name, NOW - timedelta(days=age), **options)


def test_every_interruption_of_a_rotation_converges() -> None:
    """Killed anywhere, the next runs end with the one key that the workstation has. It never has a dead one."""
    for minted_lost, store_lost, killed_before_delete in itertools.product((False, True), repeat=3):
        cloud, stored, previous, holds = {"one": key("one", 100)}, "one", None, "one"
        names = iter(["two", "three", "four"])
        rotate = True
        for attempt in range(3):
            keys = list(cloud.values())
            todo = plan(keys, Wish(stored, previous, rotate=rotate and attempt == 0), NOW, 2)
            for gone in todo.delete:
                del cloud[gone]
            assert holds in cloud
            if todo.mint:
                name = next(names)
                cloud[name] = key(name, 0)
                if minted_lost and attempt == 0:
                    continue
                stored, previous = name, todo.previous
            if store_lost and attempt == 1:
                continue
            holds = stored
            if killed_before_delete and attempt == 0:
                continue
            for gone in plan(list(cloud.values()), Wish(stored, previous, delivered=True), NOW, 2).delete:
                del cloud[gone]
        assert list(cloud) == [stored] == [holds]


@pytest.mark.parametrize(
    ("keys", "wish", "expected"),
    [
        pytest.param([], Wish(), (True, (), None), id="first"),
        pytest.param([key("a")], Wish("a"), (False, (), None), id="nothing-to-do"),
        pytest.param([key("a", 90)], Wish("a", max_age_days=90), (True, (), "a"), id="too-old"),
        pytest.param([key("a", 89)], Wish("a", max_age_days=90), (False, (), None), id="not-yet"),
        pytest.param([key("a", 99), key("b", 95)], Wish("b", "a", max_age_days=90), (False, (), "a"), id="on-its-way"),
        pytest.param([key("a", active=False)], Wish("a"), (True, (), "a"), id="switched-off"),
        pytest.param([key("x"), key("y")], Wish("gone"), (True, ("x",), None), id="the-store-was-lost"),
        pytest.param([key("x", 9), key("a", 1)], Wish("a", rotate=True), (True, ("x",), "a"), id="stored-one-stays"),
        pytest.param(
            [key("a", expires=NOW + timedelta(days=13))], Wish("a"), (True, (), "a"), id="ends-by-itself-soon"
        ),
    ],
)
def test_plan(keys: list[Key], wish: Wish, expected: tuple[bool, tuple[str, ...], str | None]) -> None:
    """Mint, delete, and what the workstation may still hold."""
    todo = plan(keys, wish, NOW, 2)
    assert (todo.mint, todo.delete, todo.previous) == expected


def test_others_stay_while_the_stored_key_does_not_work() -> None:
    """The workstation would have none."""
    with pytest.raises(KeyLostError, match="the stored key b does not work"):
        plan([key("a"), key("b", active=False)], Wish("b", "a", delivered=True), NOW, 2)


@pytest.mark.parametrize("name", ["", "-ws", "ws_1", "ws.studio.example", "w" * 49])
def test_names_that_no_cloud_takes(name: str) -> None:
    """The message says what is right."""
    with pytest.raises(ValueError, match=r"1 to 48 letters.*ansible_host"):
        check_workstation(name)
