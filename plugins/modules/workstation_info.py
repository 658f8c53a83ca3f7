#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: workstation_info
short_description: Look at an artist workstation as a whole
description:
  - Tells what M(budgetguard.techops.comfyui_config_info) tells, compares the config with what runs now and with what is
    stored of the workstation's credentials, and looks at its NIMs, ComfyUI, disk and GPUs. One round trip.
  - For the latter part one file of Python is run on the workstation, by ComfyUI's own interpreter or the system's. If
    there is none, RV(probe) is null and everything else is told all the same.
  - Opens and compares on the controller, changes nothing, and returns nothing secret. No key leaves the workstation.
  - What it should have is read from its own variables C(nim_workstation_credentials), C(nim_identities),
    C(nim_studio_identities) and those of the gateway, as the playbook C(workstations) does.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.workstation
attributes:
  check_mode:
    description: Can run in C(check_mode), as it changes nothing.
    support: full
  diff_mode:
    description: Has nothing to show in diff mode.
    support: N/A
  idempotent:
    description: Changes nothing.
    support: full
options:
  endpoints:
    description:
      - What runs now, as the artists' document (P(budgetguard.techops.artists_config#filter)). Without it endpoints are
        not compared.
    type: dict
  unread_targets:
    description:
      - Names of targets that could not be read. Nothing is said about their endpoints.
    type: list
    elements: str
    default: []
  compare_credentials:
    description:
      - Whether to compare the sealed credentials with what is stored. Takes decrypting what is stored.
    type: bool
    default: true
  credentials:
    description:
      - What should be sealed in the config. The default is what the workstation's own variables say.
    type: dict
  credential_store:
    description:
      - Where identities are stored. V(file) is the workstation's own variables, anything else is the option C(store) of
        P(budgetguard.techops.stored_vars#lookup).
    type: raw
  python:
    description:
      - The interpreter on a Linux workstation; on Windows it is O(comfyui_python). It has to be 3.8 or newer.
      - By default it is the first one of C(venv/bin/python) and C(.venv/bin/python) in O(comfyui_path),
        C(venv/bin/python) beside it, C(python3) and C(python).
      - None from O(comfyui_path) or beside it is started, unless that folder belongs to the user that the task runs as
        and the environment to that user or root. A path that is given has to be theirs as well if the task runs as
        root, or if links lead to O(comfyui_path). The next one is taken then.
    type: str
    default: ""
  probe_timeout:
    description:
      - Seconds after which a part of the workstation that does not answer, such as its GPU driver, is given up.
    type: float
    default: 15
seealso:
  - module: budgetguard.techops.comfyui_config_info
"""

EXAMPLES = r"""
- name: Look at each workstation
  budgetguard.techops.workstation_info:
    comfyui_path: /home/artist/ComfyUI
    studio_key: "{{ nim_studio_key }}"
    key_path: ~/.config/budgetguard/studio.key
  become: true
  become_user: artist
  register: look

- name: Show how much room there is
  ansible.builtin.debug:
    msg: "{{ look.probe.disk.free_bytes | human_readable }}"
"""

RETURN = r"""
config:
  description: What M(budgetguard.techops.comfyui_config_info) returns, with C(status) first of all.
  returned: success
  type: dict
  sample:
    status: ok
    mode: workstation:ws-17
exposed:
  description: Whether others than ComfyUI's user, and on Windows administrators, may read the config.
  returned: success
  type: bool
  sample: false
wanted_mode:
  description: What C(config.mode) should be.
  returned: success
  type: str
  sample: workstation:ws-17
endpoints:
  description:
    - C(state) is V(same), V(different), V(unknown) or V(unchecked). C(missing), C(gone), C(changed) name what differs,
      C(unread) the targets of which nothing is known.
  returned: success
  type: dict
  sample:
    state: different
    missing: [FLUX Dev on aws-us-east-1 (l40s)]
    gone: []
    changed: []
    unread: []
credentials:
  description:
    - For each provider C(state), and of a stored identity its name, times and what became of it.
    - The state is V(same), V(different), V(missing), V(undelivered) (a newer one is stored), V(revoked) (and still in
      the config), V(absent) (revoked and gone), V(unexpected) (stored nowhere), V(unknown) (the config stays shut).
  returned: success
  type: dict
  sample:
    aws:
      state: same
      key_id: AKIAIOSFODNN7EXAMPLE
      created: "2026-10-01T08:00:00Z"
credentials_problem:
  description: Why nothing could be compared, or null.
  returned: success
  type: str
probe:
  description:
    - What was seen beyond the config, by parts C(system), C(disk), C(gpu), C(comfyui), C(companion), C(nodes) and
      C(containers); a part that gave no answer has C(problem). Null when no Python ran.
  returned: success
  type: dict
  sample:
    disk:
      free_bytes: 215822573568
      path: /home/artist/ComfyUI
      total_bytes: 493921239040
probe_problem:
  description: Why RV(probe) is null, or null.
  returned: success
  type: str
  sample: There is no Python on it.
clock_seconds:
  description: By how many seconds the workstation's clock is ahead of the controller's; null when it is not known.
  returned: success
  type: float
  sample: 0.0
"""
