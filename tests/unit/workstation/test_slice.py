# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One slice of a job of AWX. Whole jobs that are sliced: tests/awx."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.action import workstation_rollout_plan
from ansible_collections.budgetguard.techops.plugins.plugin_utils import _awx

SLICE = {"awx_job_template_name": "NIM workstations", "awx_workflow_job_name": "NIM workstations"}


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, False),
        ({"awx_job_template_name": "NIM workstations"}, False),
        ({"awx_job_template_name": "NIM workstations", "awx_workflow_job_name": "NIM rollout"}, False),
        (SLICE, True),
    ],
)
def test_a_slice_is_known_by_the_name_of_its_workflow_job(variables: dict[str, str], said: bool) -> None:
    assert _awx.is_slice(variables) is said


@pytest.mark.parametrize(
    ("canary", "variables", "refused"),
    [(1, SLICE, True), ("ws-1", SLICE, True), ("", SLICE, False), (None, SLICE, False), (1, {}, False)],
)
def test_a_slice_can_keep_no_canary(canary: t.Any, variables: dict[str, str], refused: bool) -> None:
    problems: list[str] = []
    action = object.__new__(workstation_rollout_plan.ActionModule)
    options = {"hosts": ["ws-1", "ws-2"], "canary": canary, "batch": None, "max_failed_percent": None}
    plan = action._plan(options, variables, problems)
    assert (plan is None) is refused
    assert problems == ([workstation_rollout_plan.CANARY_IN_A_SLICE] if refused else [])
