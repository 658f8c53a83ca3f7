# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options and attributes that comfyui_config and comfyui_config_info share."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragments for actions that look at an artist workstation."""

    DOCUMENTATION = r"""
requirements:
  - cryptography >= 43 (on the controller)
  - the collection ansible.windows (on the controller, for Windows workstations only)
options:
  comfyui_path:
    description:
      - ComfyUI's base folder on the workstation, the one with C(main.py), or the one given to C(--base-directory).
      - Absolute, or starting with C(~/) or C(~user/). C(~) is the home of the user the task runs as.
      - On Windows a drive and a path, or C(\\server\share\path); no C(~), no C(%VARIABLES%), and no C(..).
    type: str
    required: true
  key:
    description:
      - The derived key of this workstation, as P(budgetguard.techops.workstation_keys#filter) returns it.
      - This is never the studio key itself.
      - Without it the key is derived from O(studio_key). M(budgetguard.techops.comfyui_config) needs one of the two.
    type: str
  previous_keys:
    description:
      - Derived keys that may have sealed the config that is found, for example before the studio key was changed.
      - A config that none of these and not O(key) opens counts as a stranger's.
    type: list
    elements: str
    default: []
  key_path:
    description:
      - The key file on the workstation. Without this option the key file is left alone.
      - Absolute, or starting with C(~/) or C(~user/), and outside of O(comfyui_path).
      - On Windows C(~\) is the home of ComfyUI's user, also where the task runs as an administrator.
      - It holds one key per line, C(v1) and the studio key or C(v2) and a derived key. The first line is the current
        key; another line is there only while keys are being changed. Readers try each.
    type: str
  studio_key:
    description:
      - The studio key itself. It stays on the controller, except with O(encryption_version=1) and O(key_path), which
        need it because readers of the public format take the studio key and derive from it themselves.
      - B(Warning:) whoever gets hold of a key file with the studio key can open the config of every workstation of
        that studio key.
    type: str
  previous_studio_key:
    description:
      - During a rotation, the studio key that was used until now. The workstation's own key of it counts as one of
        O(previous_keys).
    type: str
  workstation_id:
    description:
      - The workstation's id, which goes into the key that is derived here and into the config's C(mode).
      - The default is the name in the inventory.
    type: str
  mode:
    description:
      - V(workstation) says in the config that it is for one workstation.
      - V(studio-wide) says that all workstations have the same, and needs O(encryption_version=1).
    type: str
    choices: [workstation, studio-wide]
    default: workstation
  encryption_version:
    description:
      - V(2) is sealed with a key of this workstation only.
      - V(1) is the public format, sealed with a key that all workstations share.
      - The default is V(1) for O(mode=studio-wide), else V(2).
    type: int
    choices: [1, 2]
  as_owner:
    description:
      - Find out who owns O(comfyui_path), and become that user for the rest. This costs one more round trip.
      - Needs C(become) with a user that may become the owner, as C(root) may. Without C(become) it does nothing.
      - Does nothing on Windows, see O(comfyui_user).
    type: bool
    default: false
  comfyui_user:
    description:
      - Who ComfyUI runs as on a Windows workstation, as C(artist), C(STUDIO\artist), C(artist@studio.example), or a
        SID. A group will do, too. Only this account, administrators and the system get access to config and key.
      - The default is the owner of O(comfyui_path). If that is the group Administrators, it is the account that the
        task runs as, unless that is an administrator, where this option is required.
      - The task must run as this account, or as an administrator.
      - Without effect on other systems, where C(become_user) says it.
    type: str
  comfyui_python:
    description:
      - ComfyUI's Python on a Windows workstation. Needed where it is neither C(..\python_embeded\python.exe), nor
        C(.venv\Scripts\python.exe), nor C(venv\Scripts\python.exe) below O(comfyui_path). Looking at each of these
        costs one module call until it is found, and with this option there is no search.
      - Without effect on other systems, where no Python is needed.
    type: str
attributes:
  action:
    description:
      - Runs on the controller and moves nothing but bytes. No Python is needed on a POSIX workstation.
      - On Windows, ComfyUI's own Python is used, which M(ansible.windows.win_command) starts.
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
"""
