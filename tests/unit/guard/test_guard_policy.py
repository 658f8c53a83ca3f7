# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables guard_*, and what is said of wrong ones."""

from __future__ import annotations

import datetime
import typing as t

import pytest
import yaml

from ansible_collections.budgetguard.techops.plugins.module_utils import _activity, _guard, _guard_policy

GOOD = """
idle_minutes: "45"
time_zone: Europe/Berlin
office_hours: {days: [Mon, friday], from: 09:00, to: 19:30, holidays: [2026-12-25, "2027-01-01"]}
budgets:
  - {monthly: 4000, daily: 300.5}
  - {target: aws-*, node: FLUX Dev, monthly: 1500, warn_percent: 50, currency: EUR}
exceptions:
  - {target: aws-*, until: 2026-12-01, reason: the trailer}
  - {node: FLUX Dev, until: "2026-12-01T18:00:00Z", reason: a test}
"""


def test_variables_as_people_write_them() -> None:
    policy = _guard_policy.policy(yaml.safe_load(GOOD))
    assert (policy.idle_minutes, policy.short_idle_minutes, policy.in_flight) == (45.0, 20.0, _guard.REQUIRE)
    hours = policy.office_hours
    assert hours is not None
    # YAML makes the number 1170 of 19:30.
    assert (hours.days, hours.opens, hours.closes) == (frozenset([0, 4]), datetime.time(9), datetime.time(19, 30))
    assert hours.holidays == {datetime.date(2026, 12, 25), datetime.date(2027, 1, 1)}
    assert policy.budgets == (
        _guard.Budget(monthly=4000.0, daily=300.5),
        _guard.Budget("aws-*", "FLUX Dev", 1500.0, None, 50.0, currency="EUR"),
    )
    day, moment = policy.exemptions
    # A date holds to the end of its day in Berlin, an hour before that of UTC.
    assert day.until == datetime.datetime(2026, 12, 1, 23, tzinfo=datetime.timezone.utc).timestamp()
    assert moment.until == datetime.datetime(2026, 12, 1, 18, tzinfo=datetime.timezone.utc).timestamp()
    assert _guard_policy.policy({}) == _guard.Policy()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"idle_minutes": 5}, "guard_idle_minutes is 5; it must be 15 or more"),
        ({"tail_minutes": "soon"}, "guard_tail_minutes is 'soon'; it must be a number, 0 or more"),
        ({"in_flight": "maybe"}, "guard_in_flight is 'maybe'; it must be one of require, ask, ignore"),
        ({"time_zone": "Berlin"}, "guard_time_zone is 'Berlin', which is no time zone"),
        ({"office_hours": {"from": "9", "to": "25:00"}}, "guard_office_hours.from is '9'; it must be a time"),
        ({"office_hours": {"days": ["Montag"], "from": 540, "to": 600}}, "'Montag' must be one of mon, tue"),
        ({"office_hours": {"form": 1, "from": 540, "to": 600}}, "guard_office_hours: there is no 'form'"),
        ({"budgets": [{"node": "x"}]}, "guard_budgets[0]: must have monthly or daily"),
        ({"budgets": [{"monthly": 0}]}, "guard_budgets[0].monthly is 0; it must be a number, above 0"),
        ({"budgets": [{"daily": 1, "warn_percent": 101}]}, "warn_percent must not be above stop_percent"),
        ({"exceptions": [{"until": "soon", "reason": "x"}]}, "guard_exceptions[0].until is 'soon'"),
        ({"exceptions": [{"until": "2026-12-01"}]}, "guard_exceptions[0]: must have a reason"),
        ({"exceptions": "all"}, "guard_exceptions: must be a list of mappings"),
        ({"idle": 1}, "guard: there is no 'idle'"),
    ],
)
def test_mistakes_are_told_with_what_would_be_right(options: dict[str, t.Any], said: str) -> None:
    with pytest.raises(_guard_policy.PolicyError) as caught:
        _guard_policy.policy(options)
    assert said in str(caught.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(_guard_policy.PolicyError) as caught:
        _guard_policy.policy({"idle_minutes": 1, "budgets": [{}], "exceptions": [{}]})
    assert len(str(caught.value).splitlines()) == 4


@pytest.mark.parametrize(
    ("text", "busy", "why"),
    [
        ('# HELP x\nnum_requests_running{model="a"} 0\nnum_requests_waiting 0\n', False, "num_requests_running is 0"),
        (
            'num_requests_running{model="a"} 0\nnum_requests_running{model="b"} 2.0 17',
            True,
            "num_requests_running is 2",
        ),
        ("vllm:num_requests_running 0\nvllm:num_requests_waiting 1", True, "vllm:num_requests_waiting is 1"),
        ("gpu_utilization 0.93", True, "gpu_utilization is 0.93"),
        ("gpu_utilization 0", None, "gpu_utilization is 0, which does not tell whether a request runs"),
        ("gpu_utilization NaN\nprocess_cpu_seconds_total 3", None, "none of its metrics tells how many requests run"),
        ("<html>hello</html>", None, "none of its metrics tells how many requests run"),
    ],
)
def test_what_metrics_tell_of_requests_that_run(text: str, busy: bool | None, why: str) -> None:
    assert _activity.of_metrics(text) == (busy, why)
