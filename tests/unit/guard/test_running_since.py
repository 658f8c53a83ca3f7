# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Since when a NIM on ECS runs, from the events of its service."""

from __future__ import annotations

import datetime

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._providers import aws

STARTED = "(service nim-x) has started 1 tasks: (task 1)."
STEADY = "(service nim-x) has reached a steady state."


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([(9, STEADY), (8, STARTED), (7, STEADY), (6, STARTED)], "2026-11-28T08:00:00Z"),
        # What started it is older than all that is kept.
        ([(9, STEADY), (3, STEADY)], "2026-11-28T03:00:00Z"),
        ([], None),
    ],
)
def test_the_newest_start_counts(events: list[tuple[int, str]], expected: str | None) -> None:
    # botocore tells times in the zone of the computer.
    zone = datetime.timezone(datetime.timedelta(hours=1))
    told = [
        {"createdAt": datetime.datetime(2026, 11, 28, hour + 1, tzinfo=zone), "message": text} for hour, text in events
    ]
    assert aws._running_since({"events": told}) == expected
