# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which NIMs the guard switches off."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t
import zoneinfo

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _guard
from ansible_collections.budgetguard.techops.plugins.module_utils._guard import KEEP, STOP, WARN

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
WEEKDAYS = frozenset(range(5))


def wall(day: str, clock: str = "12:00", zone: datetime.tzinfo = BERLIN) -> float:
    """Return a moment by a clock on the wall."""
    return datetime.datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=zone).timestamp()


NOW = wall("2026-11-25")
"""A Wednesday at noon."""

NIM = _guard.Nim("aws", "nim-flux-dev-l40s", "FLUX Dev", "l40s", "running", ("FLUX Canny",), NOW - 9 * HOUR)
USE = _guard.Use(NOW - 3 * HOUR, NOW - 9 * DAY, NOW, unbroken=True, in_flight=False)
POLICY = _guard.Policy(zone=BERLIN, cold_start_minutes=15.0)
OFFICE = _guard.OfficeHours(
    BERLIN, WEEKDAYS, datetime.time(9), datetime.time(19), frozenset([datetime.date(2026, 12, 25)])
)
BUDGET = _guard.Budget(node="FLUX *", monthly=1000.0)


def decide(
    nim: t.Mapping[str, t.Any] | None = None,
    use: t.Mapping[str, t.Any] | None = None,
    policy: t.Mapping[str, t.Any] | None = None,
    **more: t.Any,
) -> _guard.Decision:
    """Decide about the idle NIM with some things changed."""
    return _guard.decide(
        dataclasses.replace(NIM, **(nim or {})),
        dataclasses.replace(USE, **(use or {})),
        dataclasses.replace(POLICY, **(policy or {})),
        more.pop("now", NOW),
        **more,
    )


def spend(month: float | None, as_of: float = NOW - 5 * HOUR, currency: str = "USD") -> _guard.Spend:
    """Return what FLUX Dev and another NIM have cost."""
    return _guard.Spend(
        (_guard.Spent("aws", "FLUX Dev", month, None), _guard.Spent("aws", "Llama 3.1", 9e9, 9e9)), currency, as_of
    )


def test_an_idle_nim_is_stopped_with_the_reason() -> None:
    found = decide()
    assert (found.action, found.known, found.idle_since) == (STOP, True, NOW - 3 * HOUR)
    assert found.reason == "idle for 170 min since its last request; 60 are allowed (idle_minutes)"


@pytest.mark.parametrize(
    ("nim", "use", "policy", "reason"),
    [
        pytest.param({"always_on": True}, {}, {}, "always_on in nim_matrix", id="always-on"),
        pytest.param({"state": "starting", "why": "it pulls"}, {}, {}, "it is starting: it pulls", id="starting"),
        pytest.param({}, {"in_flight": True, "in_flight_why": "one runs"}, {}, "busy: one runs", id="in-flight"),
        pytest.param({}, {"last_use": NOW - 30 * MINUTE}, {}, "used 30 min ago", id="used"),
        pytest.param(
            {},
            {"last_use": NOW - 65 * MINUTE},
            {},
            "used 65 min ago; the log is sure only up to 10 min ago",
            id="lines-may-be-late",
        ),
        pytest.param(
            {},
            {"settled_until": NOW - 150 * MINUTE},
            {},
            "used 180 min ago; the log is sure only up to 150 min ago",
            id="the-log-is-late",
        ),
        pytest.param(
            {"running_since": NOW - 80 * MINUTE},
            {},
            {},
            "started, and has 60 min from when it can be ready; the log is sure only up to 10 min ago",
            id="started-again-after-its-last-use",
        ),
        pytest.param(
            {"running_since": NOW - 30 * MINUTE},
            {"last_use": None},
            {},
            "started, and has 60 min from when it can be ready",
            id="never-used",
        ),
        pytest.param(
            {},
            {"last_use": None, "known_since": NOW - 50 * MINUTE},
            {},
            "started, and has 60 min from when it can be ready",
            id="the-log-is-young",
        ),
        pytest.param(
            {},
            {},
            {"exemptions": (_guard.Exemption("a*", "flux *", NOW + HOUR, "a render"),)},
            "exception until 2026-11-25 13:00 CET: a render",
            id="exception",
        ),
        pytest.param(
            {},
            {},
            {"exemptions": (_guard.Exemption("*", "FLUX Canny", NOW + 1, "served too"),)},
            "exception until 2026-11-25 12:00 CET: served too",
            id="exception-for-another-of-its-names",
        ),
        pytest.param(
            {},
            {},
            {"cold_start_minutes": 100.0, "tail_minutes": 80.0},
            "idle, but by how long it has been idle, it is used again in 170 min, and a stop and a start take 180 min",
            id="a-stop-does-not-pay",
        ),
    ],
)
def test_what_is_kept(nim: dict[str, t.Any], use: dict[str, t.Any], policy: dict[str, t.Any], reason: str) -> None:
    found = decide(nim, use, policy)
    assert (found.action, found.known, found.reason) == (KEEP, True, reason)


@pytest.mark.parametrize(
    ("nim", "use", "reason"),
    [
        ({}, {"unbroken": False, "problem": "a file is torn"}, "a file is torn"),
        ({}, {"settled_until": None}, "the log was not read as a whole"),
        ({}, {"last_use": None, "known_since": None}, "the log does not say from when on it is complete"),
        ({"running_since": None}, {}, "the target does not say since when it runs"),
        ({"state": "unknown"}, {}, "its state is unknown"),
        (
            {},
            {"in_flight": None, "in_flight_why": "no metrics"},
            "whether a request runs now: no metrics; guard_in_flight: ask would stop it",
        ),
    ],
)
def test_what_is_not_known_is_not_idle(nim: dict[str, t.Any], use: dict[str, t.Any], reason: str) -> None:
    found = decide(nim, use)
    assert (found.action, found.known, found.reason) == (KEEP, False, f"not known: {reason}")
    assert _guard.decide(NIM, None, POLICY, NOW).reason == "not known: its use was not read"


def test_the_log_alone_is_enough_only_where_that_was_asked_for() -> None:
    silent = {"in_flight": None, "in_flight_why": "it has no metrics"}
    assert decide(use=silent, policy={"in_flight": _guard.ASK}).reason == (
        "idle for 170 min since its last request, by the log alone (it has no metrics); 60 are allowed (idle_minutes)"
    )
    # Before it was asked it is one to ask.
    assert decide(use=silent, final=False).action == STOP


def test_a_nim_that_will_not_start_is_to_be_looked_at() -> None:
    found = decide({"state": "failed", "why": "no quota"})
    assert (found.action, found.reason) == (WARN, "switched on, and will not start like this: no quota")


# ---- office hours ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        (wall("2026-11-25", "08:59"), False),
        (wall("2026-11-25", "09:00"), True),
        (wall("2026-11-25", "18:59"), True),
        (wall("2026-11-25", "19:00"), False),
        (wall("2026-11-28", "12:00"), False),  # a Saturday
        (wall("2026-12-25", "12:00"), False),  # a holiday on a Friday
        # The clocks go back on 2026-10-25 and forward on 2027-03-28: nine on the wall stays nine.
        (datetime.datetime(2026, 10, 23, 7, 0, tzinfo=datetime.timezone.utc).timestamp(), True),
        (datetime.datetime(2026, 10, 26, 7, 59, tzinfo=datetime.timezone.utc).timestamp(), False),
        (datetime.datetime(2026, 10, 26, 8, 0, tzinfo=datetime.timezone.utc).timestamp(), True),
        (datetime.datetime(2027, 3, 29, 6, 59, tzinfo=datetime.timezone.utc).timestamp(), False),
        (datetime.datetime(2027, 3, 29, 7, 0, tzinfo=datetime.timezone.utc).timestamp(), True),
    ],
)
def test_office_hours_are_those_on_the_wall(moment: float, is_open: bool) -> None:
    assert OFFICE.is_open(moment) is is_open


def test_a_night_shift_belongs_to_the_day_on_which_it_begins() -> None:
    night = _guard.OfficeHours(BERLIN, frozenset([4]), datetime.time(22), datetime.time(6))
    assert night.is_open(wall("2026-11-28", "05:59"))
    assert not night.is_open(wall("2026-11-28", "06:00"))
    assert not night.is_open(wall("2026-11-27", "05:59"))


def test_outside_office_hours_the_short_time_counts() -> None:
    saturday = wall("2026-11-28")
    changes: dict[str, t.Any] = {
        "use": {"last_use": saturday - 45 * MINUTE, "settled_until": saturday},
        "policy": {"office_hours": OFFICE},
    }
    assert decide(**changes, now=saturday).reason.endswith("20 are allowed outside office hours")
    assert decide(policy={"office_hours": OFFICE}, use={"last_use": NOW - 45 * MINUTE}).action == KEEP


# ---- what is expected ------------------------------------------------------------------------------------------------


def weeks(day: str, clock: str, count: int) -> frozenset[float]:
    """Return the same hour of some weeks before a day."""
    first = datetime.date.fromisoformat(day)
    return frozenset(wall((first - datetime.timedelta(weeks=back + 1)).isoformat(), clock) for back in range(count))


def test_a_nim_is_kept_shortly_before_its_usual_hour() -> None:
    early = wall("2026-11-25", "08:40")
    history = {"last_use": early - 14 * HOUR, "settled_until": early, "history_since": early - 28 * DAY}
    nim = {"running_since": early - 20 * HOUR}
    kept = decide(nim, {**history, "used_hours": weeks("2026-11-25", "09:00", 2)}, now=early)
    assert kept.action == KEEP
    assert "by the weeks before, it is used in 20 min, and a stop and a start take 30 min" in kept.reason
    # One week of four is no habit, and at six nine is far away.
    seldom = decide(nim, {**history, "used_hours": weeks("2026-11-25", "09:00", 1)}, now=early)
    assert seldom.action == STOP
    at_six = wall("2026-11-25", "06:00")
    use = {**history, "settled_until": at_six, "used_hours": weeks("2026-11-25", "09:00", 2)}
    assert decide(nim, use, now=at_six).action == STOP


def test_usual_hours_move_with_the_clock() -> None:
    after = wall("2026-10-28", "08:40")  # the Wednesday after the clocks went back
    use = dataclasses.replace(USE, used_hours=weeks("2026-10-28", "09:00", 3), history_since=after - 22 * DAY)
    expected, _rule = _guard.expected_idle(use, 14 * HOUR, BERLIN, after)
    assert expected == 20 * MINUTE


def test_without_history_it_stays_idle_as_long_again() -> None:
    assert _guard.expected_idle(USE, 4321.0, BERLIN, NOW)[0] == 4321.0
    young = dataclasses.replace(USE, history_since=NOW - 2 * DAY)
    assert _guard.expected_idle(young, 4321.0, BERLIN, NOW)[0] == 4321.0
    never = dataclasses.replace(USE, history_since=NOW - 20 * DAY)
    assert _guard.expected_idle(never, 4321.0, BERLIN, NOW)[0] == 7 * DAY


# ---- money -----------------------------------------------------------------------------------------------------------


def test_a_budget_warns_then_shortens_the_time_and_never_stops_what_is_busy() -> None:
    recent = {"last_use": NOW - 45 * MINUTE}
    policy = {"budgets": (BUDGET,)}
    assert decide(use=recent, policy=policy, spend=spend(799.0)).action == KEEP
    warned = decide(use=recent, policy=policy, spend=spend(800.0))
    assert warned.action == WARN
    assert warned.reason == ("budget of FLUX *: 800.00 of 1000.00 USD of this month are spent; kept: used 45 min ago")
    over = decide(use=recent, policy=policy, spend=spend(1000.0))
    assert over.action == STOP
    assert "20 are allowed over a budget; budget of FLUX *: 1000.00 of 1000.00 USD" in over.reason
    busy = decide(use={"in_flight": True}, policy=policy, spend=spend(5000.0))
    assert busy.action == WARN
    assert "kept: busy" in busy.reason
    assert decide({"always_on": True}, policy=policy, spend=spend(5000.0)).action == WARN


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (None, "spend was not read"),
        (spend(5000.0, wall("2026-10-31")), "what is known of spend is of 2026-10-31"),
        (spend(5000.0, currency="EUR"), "spend is in EUR, the budget in USD, and nothing is converted"),
        (spend(None), "not all of its spend is known"),
    ],
)
def test_spend_that_is_not_known_stops_nothing(told: _guard.Spend | None, why: str) -> None:
    policy = {"budgets": (BUDGET,)}
    assert decide(use={"last_use": NOW - 40 * MINUTE}, policy=policy, spend=told).action == KEEP
    notes = _guard.budget_notes([dataclasses.replace(POLICY, budgets=(BUDGET,))], told, NOW)
    assert notes == [f"budget of FLUX *, per month: {why}, so what is not known stops nothing"]


def test_an_exception_that_has_ended_is_told_and_spares_nothing() -> None:
    ended = dataclasses.replace(POLICY, exemptions=(_guard.Exemption("*", "*", NOW, "over"),))
    assert _guard.decide(NIM, USE, ended, NOW).action == STOP
    assert _guard.expired([ended, ended], NOW) == [
        "the exception for * on * ended at 2026-11-25 12:00 CET (over); remove it, or give it another date"
    ]
