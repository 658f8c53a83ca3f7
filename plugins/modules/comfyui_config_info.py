#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: comfyui_config_info
short_description: Say what ComfyUI config a workstation has
description:
  - Reads the config and the key file that M(budgetguard.techops.comfyui_config) writes, in one round trip, and says
    whether the key opens the config, how old it is and what it is for.
  - Opens and judges on the controller, changes nothing, and returns nothing secret.
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
seealso:
  - module: budgetguard.techops.comfyui_config
"""

EXAMPLES = r"""
- name: Look at the config of each workstation
  budgetguard.techops.comfyui_config_info:
    comfyui_path: /home/artist/ComfyUI
    key: "{{ derived_keys[inventory_hostname] }}"
    key_path: ~/.config/budgetguard/studio.key
  become: true
  become_user: artist
  register: config

- name: Name the workstations that cannot open their config
  ansible.builtin.debug:
    msg: "{{ config.status }}: {{ config.problem }}"
  when: config.status != 'ok'
"""

RETURN = r"""
status:
  description:
    - V(ok), the key opens the config, and the key file holds it (if O(key_path) is given).
    - V(no_key), the key opens the config, but the key file does not hold it, or is in a place where it must not be.
    - V(previous_key), one of O(previous_keys) opens the config.
    - V(wrong_key), none of the keys opens it.
    - V(unchecked), no O(key) was given.
    - V(broken), it is no config.
    - V(missing), there is no config.
    - V(refused), config or folder is a symbolic link, of another user, or cannot be read.
    - V(not_owner), the task does not run as the owner of O(comfyui_path), so nothing was read.
    - V(no_comfyui), there is no such folder.
  returned: success
  type: str
  sample: ok
problem:
  description: What is wrong, as a sentence, or null.
  returned: success
  type: str
  sample: it is not JSON
path:
  description: The config file.
  returned: success
  type: str
  sample: /home/artist/ComfyUI/budgetguard/budgetguard_backend_config.json
file_mode:
  description: The config file's mode, or null. Always null on Windows, which has no modes.
  returned: success
  type: str
  sample: "0600"
user:
  description: The user that the task ran as.
  returned: success
  type: str
  sample: artist
owner:
  description: The user that owns O(comfyui_path), or null when that cannot be seen.
  returned: success
  type: str
  sample: artist
key_path:
  description: The key file with C(~) resolved, or null without O(key_path).
  returned: success
  type: str
  sample: /home/artist/.config/budgetguard/studio.key
key_file:
  description:
    - V(unmanaged) without O(key_path), V(missing), V(current), V(rotating) (the current key, then others),
      V(previous) (only keys of O(previous_keys)), V(other), or V(unchecked) without O(key).
  returned: success
  type: str
  sample: current
decrypts:
  description: Whether one of the keys opens the config; null when there is none of either.
  returned: success
  type: bool
  sample: true
mode:
  description: The config's C(mode), or null.
  returned: success
  type: str
  sample: workstation:ws-17
encryption_version:
  description: The version of the envelope, or null.
  returned: success
  type: int
  sample: 2
key_id:
  description: What the config says is the name of its key, or null.
  returned: success
  type: str
  sample: 8a1c891326b63c0d
fingerprint:
  description: What the config says is the name of its credentials, or null.
  returned: success
  type: str
  sample: 36b4e7435742bf9ba35fbdc47cdb7e46
installed_at:
  description: When the config was written, or null.
  returned: success
  type: str
  sample: "2026-11-23T10:00:00Z"
age_seconds:
  description: How many seconds ago that was by the controller's clock, or null when it does not say its time zone.
  returned: success
  type: int
  sample: 86400
credentials_status:
  description: For each provider, whether the credentials that really are sealed have all their fields; null unopened.
  returned: success
  type: dict
  sample: {"nvidia": true, "aws": false, "azure": false, "gcp": false}
endpoint_counts:
  description: How many endpoints the config has, or null.
  returned: success
  type: dict
  contains:
    nodes:
      description: Nodes with at least one endpoint.
      type: int
      sample: 3
    endpoints:
      description: Endpoints.
      type: int
      sample: 4
    stale:
      description: Endpoints of targets that could not be read when this was written.
      type: int
      sample: 0
    by_provider:
      description: Endpoints of each provider.
      type: dict
      sample: {"aws": 3, "local": 1}
"""
