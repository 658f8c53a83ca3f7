#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: comfyui_companion
short_description: Install the BudgetGuard companion into a workstation's ComfyUI
description:
  - Brings the custom node C(budgetguard_companion) into ComfyUI's folder C(custom_nodes), upgrades it or removes it.
  - Finds ComfyUI's own Python, and where that has no C(cryptography) library installs one for the companion alone,
    below C(budgetguard/python). ComfyUI's environment stays as it is.
  - Takes one round trip to the workstation, and one more where wheels have to be brought along. On Windows one to look,
    and one more where something differs.
  - Makes the token C(companion.token) beside the key, 0400. The companion asks for it, before it starts or stops a NIM,
    where ComfyUI can be reached from the network. It is made on the workstation and never leaves it.
  - On Windows, ComfyUI's user, administrators and the system have access to the companion's files and its token, and
    nobody else.
  - Does not restart ComfyUI, because that would end what the artist is doing.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
options:
  comfyui_path:
    description:
      - ComfyUI's base folder on the workstation, the one with C(main.py), or the one given to C(--base-directory).
      - Absolute, or starting with C(~/) or C(~user/). On Windows a drive and a path, or a share.
    type: str
    required: true
  src:
    description:
      - The folder on the controller with the companion's files. Compiled Python files in it are left out.
      - Required with O(state=present). The role C(workstation_companion) has it.
    type: str
  key_path:
    description:
      - Where the companion finds the key, as in M(budgetguard.techops.comfyui_config). A key that systemd hands over in
        C($CREDENTIALS_DIRECTORY) is tried, too.
    type: str
    default: ~/.config/budgetguard/studio.key
  time_limit:
    description:
      - How many seconds a NIM may take for one request, from 1 to 3600.
    type: int
    default: 300
  contact:
    description:
      - How artists reach TechOps, such as a number. It is added where they are told to call their TechOps technician.
    type: str
    default: ""
  python:
    description:
      - ComfyUI's own Python on the workstation. When empty, it is the one that O(unit) starts, or the one of C(.venv)
        or C(venv) in or beside O(comfyui_path), or C(python3) if that has what ComfyUI needs.
      - On Windows, when empty, it is C(..\python_embeded\python.exe), C(.venv\Scripts\python.exe), or
        C(venv\Scripts\python.exe) below O(comfyui_path). It does the work there, too.
    type: str
    default: ""
  comfyui_user:
    description:
      - Who ComfyUI runs as on a Windows workstation, as for M(budgetguard.techops.comfyui_config).
      - When empty, it is the owner of O(comfyui_path).
      - Without effect on other systems, where the task becomes that user.
    type: str
    default: ""
  unit:
    description:
      - A systemd service such as V(comfyui.service) that starts ComfyUI. Its Python is taken.
      - Without effect on Windows.
    type: str
    default: ""
  wheel_folder:
    description:
      - A folder on the controller with wheels of C(cryptography) and of what it needs, for workstations without a
        network.
      - They are only sent where they are needed.
    type: str
    default: ""
  index_url:
    description:
      - The package index that pip asks where there is no O(wheel_folder). When empty, pip's own settings count.
    type: str
    default: ""
  as_owner:
    description:
      - Find out who owns O(comfyui_path), and become that user for the rest. This costs one more round trip.
      - Needs C(become) with a user that may become the owner, as C(root) may. Without C(become) it does nothing.
      - Without effect on Windows.
    type: bool
    default: false
  force:
    description:
      - Whether to go on when O(comfyui_path) does not look like ComfyUI's base folder.
    type: bool
    default: false
  state:
    description:
      - V(present) installs or upgrades.
      - V(absent) removes the companion, its libraries and its token. The config and the key stay.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    description: Tells in check mode what would change, and changes nothing.
    support: full
  diff_mode:
    description: Returns what is different before and after when diff mode is on.
    support: full
    details:
      - Names of files with the beginning of their digests.
  idempotent:
    description:
      - When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
    support: full
  action:
    description:
      - Runs on the controller; on the workstation any Python from 3.8 on does what is to be done.
      - On Windows that is ComfyUI's own Python, which C(ansible.windows.win_command) starts.
    support: full
  async:
    description: Supports being used with C(async).
    support: none
  become:
    description: Is usable with C(become).
    support: full
  connection:
    description: Uses the task's connection.
    support: full
  delegation:
    description: Can be used with C(delegate_to).
    support: full
  platform:
    description: Workstations it works on.
    platforms: posix, windows
    support: full
seealso:
  - module: budgetguard.techops.comfyui_config
"""

EXAMPLES = r"""
- name: Install the companion
  budgetguard.techops.comfyui_companion:
    comfyui_path: /home/artist/ComfyUI
    src: "{{ role_path }}/files/budgetguard_companion"
  become: true
  become_user: artist

- name: Install the companion on a Windows workstation, as an administrator
  budgetguard.techops.comfyui_companion:
    comfyui_path: D:\ComfyUI_windows_portable\ComfyUI
    comfyui_user: STUDIO\artist
    key_path: ~\AppData\Local\BudgetGuard\studio.key
    src: "{{ role_path }}/files/budgetguard_companion"

- name: Take it away
  budgetguard.techops.comfyui_companion:
    comfyui_path: /home/artist/ComfyUI
    state: absent
  become: true
  become_user: artist
"""

RETURN = r"""
steps:
  description:
    - What was, or in check mode would be, done with the companion's files and its token.
    - On Windows C(access) and a folder, too, when others may use that folder.
  returned: success
  type: list
  elements: str
  sample: [write routes.py, write __init__.py, remove old.js]
library:
  description:
    - V(present), ComfyUI's Python or the companion's own folder has C(cryptography).
    - V(installed), it was missing and is there now; V(removed) and V(absent) with O(state=absent).
  returned: success
  type: str
  sample: present
python:
  description: ComfyUI's own Python, or null with O(state=absent).
  returned: success
  type: str
  sample: /home/artist/ComfyUI/venv/bin/python
path:
  description: The companion's folder.
  returned: success
  type: str
  sample: /home/artist/ComfyUI/custom_nodes/budgetguard_companion
restart_needed:
  description: Whether a ComfyUI that is running has to be started anew to take up the change.
  returned: success
  type: bool
  sample: true
"""
