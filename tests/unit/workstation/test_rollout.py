# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who comes first in a rollout, when it stops, and what is told of it."""

from __future__ import annotations

import fnmatch
import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.plugin_utils import _rollout
from ansible_collections.budgetguard.techops.plugins.plugin_utils._rollout import Outcome, Plan, RolloutError

NAMES = [f"ws-{number}" for number in range(1, 11)]
GROUP = "artist_workstations"


def match(pattern: str) -> list[str]:
    """Return the hosts of a pattern, of which the inventory has one that is not in this run."""
    return [name for one in pattern.split(",") for name in [*NAMES, "elsewhere"] if fnmatch.fnmatch(name, one)]


@pytest.mark.parametrize(
    ("canary", "batch", "plan"),
    [
        (None, None, Plan(GROUP, (), ())),
        ("", "", Plan(GROUP, (), ())),
        (2, None, Plan(GROUP, ("2", "100%"), ("ws-1", "ws-2"))),
        ("2", "20%", Plan(GROUP, ("2", "20%"), ("ws-1", "ws-2"))),
        (None, 3, Plan(GROUP, ("3",), ())),
        (None, [1, "5", "50%"], Plan(GROUP, ("1", "5", "50%"), ())),
        ("ws-5", 4, Plan("ws-5,artist_workstations", ("1", "4"), ("ws-5",))),
        (
            ["ws-9", "ws-1*"],
            None,
            Plan("ws-9,ws-1,ws-10,artist_workstations", ("3", "100%"), ("ws-9", "ws-1", "ws-10")),
        ),
        ("elsewhere", 4, Plan(GROUP, ("4",), ())),
    ],
)
def test_plan(canary: object, batch: object, plan: Plan) -> None:
    assert _rollout.plan(NAMES, canary, batch, None, match) == plan


@pytest.mark.parametrize(
    ("canary", "batch", "percent", "said"),
    [
        (0, None, None, "rollout_canary is 0; it must be a number from 1 on"),
        (True, None, None, "rollout_canary is True"),
        ([], None, None, "rollout_canary is []"),
        ("nobody", None, None, "rollout_canary is 'nobody', which fits no host of the group artist_workstations"),
        (None, 0, None, "rollout_batch is 0; it must be"),
        (None, "101%", None, "rollout_batch is '101%'"),
        (None, [5, "many"], None, "rollout_batch is [5, 'many']"),
        (None, 5, 101, "rollout_max_failed_percent is 101; it must be a number from 0 to 100"),
        (None, 5, "few", "rollout_max_failed_percent is 'few'"),
        (None, None, 10, "rollout_max_failed_percent needs rollout_batch"),
    ],
)
def test_plan_that_makes_no_sense(canary: object, batch: object, percent: object, said: str) -> None:
    with pytest.raises(RolloutError) as caught:
        _rollout.plan(NAMES, canary, batch, percent, match)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        ({"changed": True}, Outcome(changed=True)),
        ({"changed": False, "msg": "whatever"}, Outcome()),
        ({"failed": True, "msg": "Not\nwritten."}, Outcome(reason="Not written.")),
        ({"failed": True}, Outcome(reason="it failed and did not say why")),
        (
            {"failed": True, "timedout": {"period": 5}, "msg": "Timed out after 5 second(s)."},
            Outcome(reason="it was reached, but did not finish in time (workstation_config_timeout)"),
        ),
        (
            {"unreachable": True, "msg": "ssh: connect to host ws-1 port 22: Connection refused"},
            Outcome(reason="Not reached. It is off, or no ssh server runs on it (connection refused)."),
        ),
        ({"unreachable": True, "msg": "Odd."}, Outcome(reason="Not reached. Odd.")),
        ({"failed": True, "msg": "\x1b[2Jall is well\x07"}, Outcome(reason="\\x1b[2Jall is well\\x07")),
    ],
)
def test_outcome(result: dict[str, t.Any], outcome: Outcome) -> None:
    assert _rollout.outcome(result) == outcome


def told(sick: t.Sequence[str], tried: int, batch: int, **options: t.Any) -> _rollout.Report:
    """Return the report after some have been tried, the last of them as one batch."""
    names = NAMES[:tried]
    outcomes = {name: Outcome(reason="broken") if name in sick else Outcome(changed=True) for name in names}
    arguments = {"canaries": (), "max_failed_percent": None, **options}
    return _rollout.report(NAMES, outcomes, names[-batch:], **arguments)


def test_a_rollout_goes_on_while_the_canaries_are_fine() -> None:
    found = told(["ws-3"], tried=4, batch=2, canaries=["ws-1"])
    assert (found.over, found.stop, found.not_done) == (False, "", {"ws-3": "broken"})
    assert found.not_tried == tuple(NAMES[4:])


def test_a_sick_canary_stops_it() -> None:
    found = told(["ws-2"], tried=2, batch=2, canaries=["ws-1", "ws-2"])
    assert (found.over, found.stop) == (True, "stopped, because ws-2 of rollout_canary is not done")
    assert _rollout.left(found) == tuple(NAMES[1:2] + NAMES[2:])


@pytest.mark.parametrize(("percent", "stops"), [(None, False), (50, False), (49.9, True), (0, True)])
def test_more_than_the_percentage_of_a_batch_stops_it(percent: float | None, stops: bool) -> None:
    assert bool(told(["ws-1", "ws-3"], tried=4, batch=2, max_failed_percent=percent).stop) is stops


def test_failures_of_an_earlier_batch_do_not_count_again() -> None:
    assert told(["ws-1", "ws-2"], tried=4, batch=2, max_failed_percent=0).stop == ""


def test_nothing_is_left_to_stop_at_the_end() -> None:
    found = told(NAMES, tried=10, batch=10, canaries=NAMES, max_failed_percent=0)
    assert (found.over, found.stop) == (True, "")


def test_summary_of_a_rollout_that_is_done() -> None:
    assert _rollout.lines(told([], tried=10, batch=10), check_mode=False) == [
        "Rollout: 10 of 10 workstations are done (10 changed)."
    ]


def test_summary_names_everyone_who_is_left() -> None:
    lines = _rollout.lines(told(["ws-2"], tried=9, batch=9, canaries=["ws-2"]), check_mode=True)
    assert lines == [
        "Rollout: 8 of 10 workstations are fine (8 would be changed), 1 not done, 1 not tried.",
        "  workstation  state      why",
        "  ws-2         not done   broken",
        "  ws-10        not tried  stopped, because ws-2 of rollout_canary is not done",
        "The next run does what is left. These alone: --limit 'ws-2,ws-10'",
    ]
