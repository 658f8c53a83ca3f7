#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: workstation_export
short_description: Write a folder for workstations that Ansible does not reach
description:
  - Writes the artists' document, the sealed ComfyUI config of each workstation, C(install_credentials.py) that installs
    them with Python's standard library alone, a README and examples into one folder. It can be put on a file share.
  - Nothing in that folder can be read without a key, and no key is in it. A config is sealed with the key of its
    workstation, in the same way and by the same code as M(budgetguard.techops.comfyui_config) does.
  - Each file is replaced as a whole. A config that says what it should keeps all its bytes.
  - What is not wanted any more is removed if this module wrote it and nobody has changed it since. C(export.json) in
    the folder is what it knows of that.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
requirements:
  - cryptography >= 43 (on the controller)
options:
  path:
    description: The folder for the share, on the controller, as an absolute path. It is made if it is missing.
    type: path
    required: true
  endpoints:
    description: The artists' document, as M(budgetguard.techops.comfyui_config) takes it.
    type: dict
    required: true
  unread_targets:
    description: Names of targets that could not be read this time. What an earlier export says of them stays.
    type: list
    elements: str
    default: []
  workstations:
    description:
      - The workstations to export, by their name in the inventory.
      - Each has C(studio_key) and C(credentials), and if needed C(id) (default the name), C(previous_studio_key),
        C(studio_wide) (default false) and C(encryption_version) (V(1) or V(2)), with the meaning that they have for
        M(budgetguard.techops.comfyui_config).
    type: dict
    required: true
  known_workstations:
    description:
      - All workstations of the inventory. Files of those that are here and not in O(workstations) stay as they are, so
        that a limit removes nothing.
    type: list
    elements: str
    default: []
  private_path:
    description:
      - A folder on the controller for what O(keys) and O(clear_text) write, with mode 0700, outside of O(path).
      - Files from an earlier run are removed from it when they are not asked for any more.
    type: path
  keys:
    description: Write the key file of each workstation, C(keys/ID.key) below O(private_path), with mode 0400.
    type: bool
    default: false
  clear_text:
    description:
      - Write C(clear/ID/budgetguard_credentials.json) below O(private_path), the credentials in the clear form of the
        public tools, with mode 0600. Whoever reads one has the credentials.
    type: bool
    default: false
attributes:
  action:
    description: Runs on the controller alone.
    support: full
  async:
    description: Supports being used with C(async).
    support: none
  check_mode:
    description: Can run in C(check_mode) and say what would change without changing it.
    support: full
  diff_mode:
    description: Shows names of files, and nothing of what is in them.
    support: full
  idempotent:
    description: Changes nothing when run again with the same options.
    support: full
  platform:
    description: Where it runs.
    platforms: posix
    support: full
seealso:
  - module: budgetguard.techops.comfyui_config
"""

EXAMPLES = r"""
- name: Write the folder for the share
  budgetguard.techops.workstation_export:
    path: /srv/exports/budgetguard
    endpoints: "{{ lookup('ansible.builtin.file', 'exports/budgetguard_artists_config.json') | from_json }}"
    workstations:
      ws-01:
        studio_key: "{{ nim_studio_key }}"
        credentials: "{{ hostvars['ws-01'] | budgetguard.techops.identity_credentials }}"
    known_workstations: "{{ groups.artist_workstations }}"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
path:
  description: The folder for the share.
  returned: success
  type: str
  sample: /srv/exports/budgetguard
private_path:
  description: The folder for keys and credentials in clear, or null.
  returned: success
  type: str
  sample: /root/exports/private
created:
  description: Files that were not there.
  returned: success
  type: list
  elements: str
  sample: [/srv/exports/budgetguard/workstations/ws-01/budgetguard_backend_config.json]
updated:
  description: Files that were replaced.
  returned: success
  type: list
  elements: str
  sample: [/srv/exports/budgetguard/budgetguard_artists_config.json]
removed:
  description: Files that were removed.
  returned: success
  type: list
  elements: str
  sample: []
kept:
  description: Files that are not wanted any more, and stay because somebody changed them.
  returned: success
  type: list
  elements: str
  sample: []
workstations:
  description: For each workstation the path of its config, and the reasons why it was written.
  returned: success
  type: dict
  sample:
    ws-01:
      path: /srv/exports/budgetguard/workstations/ws-01/budgetguard_backend_config.json
      reasons: [missing]
"""
