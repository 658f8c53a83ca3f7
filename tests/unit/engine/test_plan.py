# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pure decision, as a table; planning from the result must yield no steps."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._plan import (
    UNKNOWN,
    Change,
    Kind,
    PlanError,
    Resource,
    compare,
    diff,
    plan,
    stages,
)

KINDS = (
    Kind("network"),
    Kind("balancer", immutable=frozenset({"scheme"})),
    Kind("cluster", adoptable=True),
    Kind("machine", per_nim=True),
    Kind("membership", per_nim=True, batch=True),
    Kind("service", per_nim=True),
)


def seen_of(*resources: Resource) -> dict[tuple[str, str], Resource]:
    return {item.key: item for item in resources}


def described(steps: t.Iterable[t.Any]) -> list[str]:
    return [step.describe() for step in steps]


NETWORK = Resource("network", "net", {"cidr": "10.0.0.0/8"})
MACHINE = Resource("machine", "m-a", {"size": "large", "tags": {"a": "1"}}, "a")
SERVICE = Resource("service", "a", {"image": "x:1", "replicas": 0}, "a")


@pytest.mark.parametrize(
    ("seen", "wanted", "unwanted", "expected"),
    [
        pytest.param(
            [],
            [SERVICE, NETWORK, MACHINE],
            [],
            ["create network net", "create machine m-a", "create service a"],
            id="all-new-in-order-of-kinds",
        ),
        pytest.param([NETWORK, MACHINE, SERVICE], [NETWORK, MACHINE, SERVICE], [], [], id="nothing-to-do"),
        pytest.param([NETWORK], [], [], [], id="what-is-not-named-is-left-alone"),
        pytest.param(
            [dataclasses.replace(MACHINE, spec={"size": "small", "tags": {"a": "1", "b": "2"}})],
            [MACHINE],
            [],
            ["update machine m-a (size)"],
            id="only-what-differs-and-only-what-is-asked",
        ),
        pytest.param(
            [dataclasses.replace(MACHINE, spec={"size": "large", "tags": {"a": "0"}})],
            [MACHINE],
            [],
            ["update machine m-a (tags.a)"],
            id="nested-fields-have-paths",
        ),
        pytest.param(
            [NETWORK, MACHINE, SERVICE],
            [],
            [NETWORK.key, MACHINE.key, SERVICE.key],
            ["delete service a", "delete machine m-a", "delete network net"],
            id="deletes-in-reverse-order",
        ),
        pytest.param([], [], [MACHINE.key], [], id="what-is-gone-already-needs-no-step"),
        pytest.param(
            [dataclasses.replace(NETWORK, managed=False)], [], [NETWORK.key], [], id="never-deletes-what-others-made"
        ),
        pytest.param(
            [dataclasses.replace(NETWORK, ending=True)], [], [NETWORK.key], [], id="what-the-cloud-deletes-already"
        ),
        pytest.param(
            [Resource("cluster", "c", {"status": "OLD"}, managed=False)],
            [Resource("cluster", "c", {"status": "ACTIVE"})],
            [],
            [],
            id="an-adopted-object-is-used-and-not-changed",
        ),
        pytest.param(
            [MACHINE],
            [dataclasses.replace(MACHINE, spec={"size": UNKNOWN})],
            [],
            ["update machine m-a (size)"],
            id="a-value-not-known-yet-differs",
        ),
    ],
)
def test_steps(seen: list[Resource], wanted: list[Resource], unwanted: list[t.Any], expected: list[str]) -> None:
    assert described(plan(KINDS, wanted, seen_of(*seen), unwanted)) == expected


def test_planning_from_the_result_yields_nothing() -> None:
    wanted = [NETWORK, MACHINE, SERVICE]
    result = {step.want.key: step.want for step in plan(KINDS, wanted, {}) if step.want}
    assert plan(KINDS, wanted, result) == []


def test_somebody_elses_object_is_refused_by_name() -> None:
    with pytest.raises(PlanError, match="network net exists but was not made by this collection"):
        plan(KINDS, [NETWORK], seen_of(dataclasses.replace(NETWORK, managed=False)))


def test_what_cannot_change_in_place_is_refused_before_any_step() -> None:
    have = Resource("balancer", "lb", {"scheme": "internal"})
    with pytest.raises(PlanError, match="scheme of balancer lb is 'internal' and cannot become 'public'"):
        plan(KINDS, [Resource("balancer", "lb", {"scheme": "public"}), NETWORK], seen_of(have))


def test_stages_keep_deletions_first_and_batches_apart() -> None:
    wanted = [
        NETWORK,
        MACHINE,
        Resource("machine", "m-b", {}, "b"),
        Resource("membership", "m-a", {}, "a"),
        Resource("membership", "m-b", {}, "b"),
        SERVICE,
    ]
    old = Resource("service", "z", {}, "z")
    found = stages(KINDS, plan(KINDS, wanted, seen_of(old), [old.key]))
    assert [described(stage) for stage in found] == [
        ["delete service z"],
        ["create network net"],
        ["create machine m-a", "create machine m-b"],
        ["create membership m-a", "create membership m-b"],
        ["create service a"],
    ]


def test_compare_names_before_and_after() -> None:
    assert compare({"a": {"b": 1}, "c": [1]}, {"a": {"b": 2}}) == [Change("a.b", 2, 1), Change("c", None, [1])]


def test_diff_shows_only_what_the_steps_touch() -> None:
    have = dataclasses.replace(SERVICE, spec={"image": "x:0", "replicas": 1, "events": ["noise"]})
    want = dataclasses.replace(SERVICE, spec={"image": "x:1"})
    assert diff(plan(KINDS, [want, NETWORK], seen_of(have, NETWORK))) == {
        "before": {"service": {"a": {"image": "x:0"}}},
        "after": {"service": {"a": {"image": "x:1"}}},
    }


def test_diff_of_a_value_that_is_not_known_yet_is_words() -> None:
    steps = plan(KINDS, [Resource("machine", "m", {"group": UNKNOWN}, "a")], {})
    assert diff(steps)["after"] == {"machine": {"m": {"group": "(known after the run)"}}}
