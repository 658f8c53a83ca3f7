# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The phases of a workstation's identities in memory: in which order things happen, and what a kill leaves behind."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _identities
from ansible_collections.budgetguard.techops.plugins.plugin_utils._identity_phases import CLOUDS, sharers
from tests.unit.identities.memory import MOMENT, Killed, World

ROLE = "arn:aws:iam::111122223333:role/studio/ws-01"


@pytest.fixture
def world() -> World:
    """Give clouds and a store in which there is nothing."""
    return World()


def ready(world: World) -> World:
    """Return the world after a workstation got its identities."""
    world.provide()
    world.deliver()
    world.calls.clear()
    return world


def test_each_key_is_tried_and_kept_before_the_next_cloud_has_its_turn(world: World) -> None:
    made = world.provide()
    assert [call for call in world.calls if not call.startswith("answer")] == [
        call for provider in CLOUDS for call in (f"bring {provider}", f"try {provider} 90", f"keep {provider}")
    ]
    assert (made.changed, made.problems, made.due) == (True, [], list(CLOUDS))
    assert made.done[0] == "aws: create it, create key KEY1 (there is none yet). The new key works and is kept."
    assert world.keys() == world.stored()
    assert made.own == world.own
    assert not any(record["delivered"] for record in world.own.values())
    assert world.deliver().due == []
    assert all(record["delivered"] for record in world.own.values())


def test_a_second_run_changes_and_tells_nothing(world: World) -> None:
    ready(world)
    before = world.state()
    again = world.provide()
    assert (again.changed, again.done, again.notes, again.problems, again.due) == (False, [], [], [], [])
    assert world.state() == before
    assert [call for call in world.calls if call.startswith(("try", "keep"))] == []
    checked = world.provide(check_all=True)
    assert checked.done == [f"{provider}: the key works." for provider in CLOUDS]
    assert not checked.changed


@pytest.mark.parametrize("rotate", [False, True])
def test_killed_anywhere_the_next_run_ends_with_one_stored_key_each(rotate: bool) -> None:
    """Before or after each call of a whole run, first or rotation."""
    number = 0
    while True:
        world = World()
        if rotate:
            ready(world)
        world.kill_at = number
        try:
            world.provide(rotate=rotate)
            world.deliver()
        except Killed:
            pass
        else:
            break
        world.kill_at = None
        assert all(set(keys) <= set(world.keys()[cloud]) for cloud, keys in world.stored().items()), number
        assert world.provide(rotate=rotate).problems == []
        world.deliver()
        assert world.keys() == world.stored(), number
        assert [len(keys) for keys in world.keys().values()] == [1, 1, 1], number
        assert world.provide().changed is False
        number += 1
    assert number == len(CLOUDS) * (4 + 3)


def test_one_cloud_that_fails_keeps_no_other_from_its_turn(world: World) -> None:
    world.clouds["azure"].refuses = "Graph is closed"
    made = world.provide()
    assert made.problems == ["azure: ws-01: Graph is closed. Nothing was changed."]
    assert list(world.stored()) == ["aws", "gcp"]
    assert [line.partition(":")[0] for line in made.done] == ["aws", "gcp"]


def test_a_key_that_is_refused_is_not_kept_and_goes_with_the_next_delivery(world: World) -> None:
    world.clouds["aws"].dead = {"KEY1"}
    made = world.provide()
    assert made.problems == ["aws: refuses KEY1. It is not kept; the next run makes another one."]
    assert made.done[0] == "aws: create it, create key KEY1 (there is none yet)."
    assert "aws" not in world.own
    world.clouds["aws"].dead = {"KEY1", "KEY4"}
    # The cloud alone was changed.
    assert world.provide(providers=("aws",)).changed is True
    assert world.provide().problems == []
    world.deliver()
    assert world.keys() == world.stored()


def test_a_stored_key_that_is_refused_stays_stored(world: World) -> None:
    """The workstation has it; somebody has to look."""
    before = ready(world).state()
    world.clouds["gcp"].dead = set(world.keys()["gcp"])
    assert world.provide(check_all=True).problems == [f"gcp: refuses {world.stored()['gcp'][0]}."]
    assert world.state()[1] == before[1]


def test_no_further_key_is_made_for_a_store_that_takes_none(world: World) -> None:
    world.store_refuses = "Nothing was written. The disk is full."
    made = world.provide()
    lost = "aws: the new key is lost, and the next run makes another one and deletes it."
    assert made.problems == [f"{lost} Nothing was written. The disk is full."]
    assert made.done == ["aws: create it, create key KEY1 (there is none yet)."]
    assert world.clouds["azure"].identities == {}
    world.store_refuses = ""
    world.provide()
    world.deliver()
    assert world.keys() == world.stored()


def test_a_rotation_leaves_the_old_key_until_the_new_one_has_arrived(world: World) -> None:
    old = ready(world).keys()
    world.provide(rotate=True)
    assert all(set(old[cloud]) < set(keys) for cloud, keys in world.keys().items())
    # It is on its way: another rotation makes no third one.
    assert world.provide(rotate=True).changed is False
    world.clouds["azure"].refuses = "Graph is closed"
    late = world.deliver()
    assert late.problems == [
        "azure: the new key works, the old one is still there: ws-01: Graph is closed. Nothing was changed."
    ]
    assert late.due == ["azure"]
    world.clouds["azure"].refuses = ""
    assert world.deliver().done == [f"azure: delete key {old['azure'][0]}."]
    assert world.keys() == world.stored()


@pytest.mark.parametrize("phase", ["first", "idle", "rotate", "revoke", "restore", "principal"])
def test_check_mode_says_what_the_run_does_and_does_nothing(phase: str) -> None:
    """Both phases of it, with the records that the first would have made."""
    wishes: dict[str, dict[str, t.Any]] = {
        "rotate": {"rotate": True},
        "restore": {"restore": True},
        "principal": {"keyless": {"aws": ROLE}},
    }
    wish = wishes.get(phase, {})

    def run(world: World, check_mode: bool) -> tuple[bool, bool, list[str], list[str]]:
        found = world.identities(**wish, check_mode=check_mode)
        if phase == "revoke":
            found.revoke({"nvidia": {}}, True)
            return found.changed, False, found.done, found.problems
        found.provide({})
        first, changed, steps = found.changed, found.changed, list(found.done)
        second = world.identities(**wish, check_mode=check_mode)
        second.own = found.own
        second.deliver(["ws-01"], lambda _provider: ["ws-01"])
        return first, second.changed, [*steps, *second.done], [*found.problems, *second.problems, str(changed)]

    world = World()
    if phase != "first":
        ready(world)
    if phase == "restore":
        world.identities().revoke({"nvidia": {}}, True)
    before = world.state()
    foreseen = run(world, True)
    assert world.state() == before
    real = run(world, False)
    assert (foreseen[0], foreseen[1], foreseen[3]) == (real[0], real[1], real[3])
    assert [line.partition(":")[0] for line in foreseen[2]] == [line.partition(":")[0] for line in real[2]]
    assert (real[0], world.state() != before) == ((False, False) if phase == "idle" else (True, True))


def test_a_lost_workstation_is_off_everywhere_and_stays_so(world: World) -> None:
    ready(world)
    world.clouds["azure"].refuses = "Graph is closed"
    lost = world.identities(providers=())
    lost.revoke({"nvidia": {"NVIDIA API Key / NGC API Key": "k"}}, True)
    assert lost.problems == ["azure: ws-01: Graph is closed. Nothing was changed."]
    revoked = {"revoked": MOMENT}
    assert {name: world.own[name] for name in ("aws", "gcp", "nvidia", "gateway")} == dict.fromkeys(
        ("aws", "gcp", "nvidia", "gateway"), revoked
    )
    assert "key_id" in world.own["azure"]
    world.clouds["azure"].refuses = ""
    assert [call for call in world.calls if call.startswith("keep")][-1:] == ["keep gateway"]
    world.identities(providers=()).revoke({"nvidia": {}}, True)
    assert world.keys() == {cloud: [] for cloud in CLOUDS}
    again = world.identities()
    again.revoke({"nvidia": {}}, True)
    assert (again.changed, again.problems) == (False, [])

    schedule = world.identities()
    schedule.provide({}, "NVIDIA does not know it")
    assert (schedule.changed, schedule.problems) == (False, [])
    assert schedule.notes[0] == (f"ws-01 was revoked on aws on {MOMENT}. With -e restore=true it gets a new identity.")
    back = world.provide(restore=True)
    assert world.keys() == {cloud: keys for cloud, keys in world.stored().items() if keys}
    assert [line for line in back.done if "not revoked" in line] == [
        "nvidia: it is not revoked any more.",
        "gateway: it is not revoked any more.",
    ]


def test_what_is_off_and_cannot_be_noted_is_told(world: World) -> None:
    ready(world)
    world.store_refuses = "Nothing was stored: no right."
    lost = world.identities()
    lost.revoke({}, False)
    assert world.keys() == {cloud: [] for cloud in CLOUDS}
    assert len(lost.problems) == 3
    assert lost.problems[0].startswith("aws: it is off, but that could not be noted")
    assert lost.problems[0].endswith("Nothing was stored: no right.")


def test_a_workstation_that_gets_a_role_loses_its_user_after_its_config(world: World) -> None:
    ready(world)
    made = world.provide(keyless={"aws": ROLE})
    assert (made.due, world.own["aws"]["fields"]) == (["aws"], {"Identity": ROLE})
    assert len(world.keys()["aws"]) == 1
    world.clouds["aws"].refuses = "IAM is closed"
    assert world.deliver(keyless={"aws": ROLE}).due == ["aws"]
    world.clouds["aws"].refuses = ""
    gone = world.deliver(keyless={"aws": ROLE})
    assert (gone.due, gone.problems) == ([], [])
    assert (world.clouds["aws"].identities, world.clouds["aws"].rights) == ({}, {ROLE})
    world.identities(keyless={"aws": ROLE}).revoke({}, False)
    assert world.clouds["aws"].rights == set()


def test_the_shared_identity_is_one_workstations_matter(world: World) -> None:
    world.provide(wide=True)
    assert (world.keys("studio"), world.own) == ({"aws": ["KEY1"], "azure": ["KEY2"], "gcp": ["KEY3"]}, {})
    world.calls.clear()
    other = world.provide(wide=True, acts=False)
    assert (world.calls, other.due) == ([], [])

    def deliver(*holders: str) -> list[str]:
        found = world.identities(wide=True)
        found.deliver(holders, lambda _provider: ["ws-01", "ws-02"])
        return found.done

    deliver("ws-01", "ws-02")
    world.provide(wide=True, rotate=True)
    assert deliver("ws-01")[0] == "aws: the old key stays until ws-02 has the new one."
    assert len(world.keys("studio")["aws"]) == 2
    assert deliver("ws-02")[0] == "aws: delete key KEY1."
    assert world.keys("studio") == {"aws": ["KEY4"], "azure": ["KEY5"], "gcp": ["KEY6"]}


def test_keys_that_were_given_by_hand_are_tried_where_nothing_is_made(world: World) -> None:
    wish = world.identities(providers=("aws",))
    key = {"Access Key ID": "by hand"}
    wish.provide({"aws": key, "azure": key, "gcp": {"Service Account JSON File Path": "C:/key.json"}}, "it has ended")
    assert wish.problems == ["nvidia: it has ended", "azure: refuses by hand"]
    assert [call for call in world.calls if call.startswith("try")] == ["try azure 0", "try aws 90"]
    wrong = world.identities(providers=())
    wrong.provide({"gcp": "a key"})
    assert wrong.problems == ["gcp: nim_workstation_credentials must name its fields, as in docs/workstations.md."]


def test_what_keeps_a_right_from_being_given_is_told(world: World) -> None:
    world.clouds["gcp"].warning = "there is no cluster yet."
    made = world.provide()
    assert (made.notes, made.problems) == (["gcp: there is no cluster yet."], [])


def test_a_record_that_nobody_can_read_stops_its_cloud_only(world: World) -> None:
    world.own.update(aws={"fields": ["no mapping"]}, azure="a text")
    made = world.provide()
    assert [problem.partition(";")[0] for problem in made.problems] == [
        "aws: the fields of a stored identity must be a mapping of names to texts",
        "azure: a stored identity is a str",
    ]
    assert (world.clouds["aws"].identities, made.due) == ({}, ["gcp"])
    del world.own["azure"]
    lost = world.identities()
    lost.revoke({}, False)
    assert len(lost.problems) == 1
    assert world.own["aws"] == {"revoked": MOMENT}


def test_who_shares_an_identity() -> None:
    """Those that were revoked, or have their own, are not waited for."""
    hostvars: dict[str, dict[str, t.Any]] = {
        "ws-01": {},
        "ws-02": {"nim_identities": {"aws": {"revoked": "now"}}},
        "ws-03": {"nim_identities": {"gcp": {}}},
    }
    assert sharers(hostvars, hostvars, "aws") == ["ws-01", "ws-03"]
    assert _identities.own_records(hostvars["ws-01"]) == {}
