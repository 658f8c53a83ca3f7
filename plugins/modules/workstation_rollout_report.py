#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: workstation_rollout_report
short_description: Tell which workstations are done, and whether a rollout stops
description:
  - Reads what a task has registered on each host, and counts who is done, not done and not tried yet.
  - A canary that is not done, or too many of a batch that are not, stop the rollout.
  - When all are tried or the rollout stops it shows a summary with a line for each workstation that is not done.
  - Runs on the controller. Use it with C(run_once), after the task, in a play in which failed hosts go on
    (C(ignore_errors), C(ignore_unreachable)).
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
options:
  hosts:
    description: All workstations of the run, also those of batches that come later.
    type: list
    elements: str
    required: true
  batch:
    description: The workstations of this batch.
    type: list
    elements: str
    required: true
  canaries:
    description: The workstations that have to be done before others are tried.
    type: list
    elements: str
    default: []
  max_failed_percent:
    description:
      - Stop when more than this part of a batch is not done.
      - By default failures stop nothing.
    type: float
  result:
    description: Name of the variable that the task registers.
    type: str
    required: true
  not_done_file:
    description:
      - A file on the controller that gets the names of those that are not done, one a line, for C(--limit @file).
      - When all are done it is removed. Check mode does not touch it.
    type: path
attributes:
  check_mode:
    description: Can run in C(check_mode) and say what would change without changing it.
    support: full
  diff_mode:
    description: Changes no workstation, so there is nothing to show.
    support: none
  idempotent:
    description: Changes nothing when run again with the same options.
    support: full
seealso:
  - module: budgetguard.techops.workstation_rollout_plan
"""

EXAMPLES = r"""
- name: Tell how the rollout went
  budgetguard.techops.workstation_rollout_report:
    hosts: "{{ ansible_play_hosts_all }}"
    batch: "{{ ansible_play_batch }}"
    canaries: [ws-01]
    max_failed_percent: 10
    result: workstation_config_result
  run_once: true
"""

RETURN = r"""
over:
  description: Whether the rollout is over, because all were tried or because it stops.
  returned: success
  type: bool
  sample: true
stop:
  description: Why no other batch may begin. Empty when none was stopped.
  returned: success
  type: str
  sample: ""
done:
  description: The workstations that are as they should be.
  returned: success
  type: list
  elements: str
  sample: [ws-01, ws-02]
not_done:
  description: Workstation to what was in the way.
  returned: success
  type: dict
  sample: {ws-07: "Not written: the disk is full where '/home/artist/ComfyUI/budgetguard/...' belongs."}
not_tried:
  description: The workstations of batches that did not begin.
  returned: success
  type: list
  elements: str
  sample: []
"""
