#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: workstation_rollout_plan
short_description: Check the variables of all workstations at once, and plan the order of a rollout
description:
  - Looks at the variables of the role P(budgetguard.techops.workstation_config#role) on each host, as the tasks of that
    role see them, with the types that the role describes. Names every wrong one with its host in one message, before
    anything is touched.
  - Says which workstations come first and how many are reached at a time, as the keywords C(hosts) and C(serial) of a
    play want it.
  - Runs in one process on the controller, whatever the number of hosts. A role's own check of its arguments is a task
    for each host. Use it with C(run_once) in a task of that role, so that the role's defaults are known.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
options:
  hosts:
    description: Names of the workstations of this run, in the order of the inventory.
    type: list
    elements: str
    required: true
  later:
    description: Variables of the role that are not known yet and not looked at.
    type: list
    elements: str
    default: []
  role_path:
    description: The folder of the role, where its description of its arguments is.
    type: path
    required: true
  canary:
    description:
      - Who comes first, alone. A number of hosts from 1 on, a pattern of hosts, or a list of patterns.
      - A pattern that fits none of O(hosts) but others of the group C(artist_workstations) means no canary, as in a run
        that is limited to the rest.
    type: raw
  batch:
    description: How many come at a time after that. A number, a percentage such as V(20%), or a list of them.
    type: raw
  max_failed_percent:
    description: Checked here, used by M(budgetguard.techops.workstation_rollout_report). It needs O(batch).
    type: raw
attributes:
  check_mode:
    description: Can run in C(check_mode) and say what would change without changing it.
    support: full
  diff_mode:
    description: Changes nothing, so there is nothing to show.
    support: none
  idempotent:
    description: Changes nothing when run again with the same options.
    support: full
seealso:
  - module: budgetguard.techops.workstation_rollout_report
"""

EXAMPLES = r"""
- name: Check what is wanted of every workstation
  budgetguard.techops.workstation_rollout_plan:
    hosts: "{{ ansible_play_hosts_all }}"
    role_path: "{{ role_path }}"
    canary: ws-01
    batch: 20%
  run_once: true
"""

RETURN = r"""
play_hosts:
  description: The pattern for the play, with the canaries first.
  returned: success
  type: str
  sample: ws-01,artist_workstations
serial:
  description: The sizes of the batches. Empty for all at once.
  returned: success
  type: list
  elements: str
  sample: ["1", "20%"]
canaries:
  description: The workstations that come first.
  returned: success
  type: list
  elements: str
  sample: [ws-01]
own_nims:
  description: Workstations whose own Docker engine is to be asked.
  returned: success
  type: list
  elements: str
  sample: []
companions:
  description: Workstations that get the companion, too.
  returned: success
  type: list
  elements: str
  sample: []
load_credential:
  description: Workstations where systemd is to hand the key to a service.
  returned: success
  type: list
  elements: str
  sample: []
options:
  description:
    - What the role's variables are, so that no workstation has to work them out again. What all share stands in C(all),
      the rest under the workstation's name in C(each). Nothing secret and no document is in it.
    - C(shared) names those that hold a secret or a document and are the same for all.
  returned: success
  type: dict
  sample:
    all: {workstation_config_backup: false}
    each: {ws-01: {workstation_config_comfyui_path: /opt/ComfyUI}}
    shared: [workstation_config_endpoints, workstation_config_studio_key]
"""
