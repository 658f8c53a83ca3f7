#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: comfyui_config
short_description: Give a workstation its sealed ComfyUI config and its key
description:
  - Writes C(budgetguard/budgetguard_backend_config.json) below ComfyUI's base folder, with the NIM endpoints in clear
    and the artist's credentials sealed, and looks after the file with the key that opens them.
  - Decides and seals on the controller. Nothing secret but the workstation's own key reaches the workstation, and
    nothing secret comes back.
  - Leaves every byte as it is when the config already says what it should. Credentials are compared after opening them.
  - Fields at the top of the config that this collection does not know are kept; all others are replaced.
  - A new key is put before the old one first, then the config is sealed with it, then the old key goes. A run may be
    killed at any moment, the workstation can open its config, and the next run goes on from there.
  - Must run as the owner of ComfyUI's base folder and refuses everyone else, C(root) included. Refuses symbolic links
    and files of other users in the places it writes to.
  - On Windows (with C(winrm), C(psrp), or C(ssh) and C(ansible_shell_type)), runs as an administrator or as ComfyUI's
    user. Config and key are for O(comfyui_user), administrators and the system alone, and inherit no access.
  - Takes one round trip when nothing differs, and two otherwise.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.workstation
options:
  endpoints:
    description:
      - The artists' document (C(budgetguard_artists_config.json)) as a mapping. Only C(nim_endpoints) of it is used,
        a mapping of node to provider to a list of mappings with at least C(url) and C(gpu_tier).
      - Required if O(state=present).
    type: dict
  unread_targets:
    description:
      - Names of targets that could not be read this time.
      - Endpoints with such a C(target) that are in the workstation's config stay, and are marked C(stale).
    type: list
    elements: str
    default: []
  credentials:
    description:
      - The artist's credentials, a mapping of provider to a mapping of public field name to text.
      - For V(nvidia) the public field name is C(NVIDIA API Key / NGC API Key).
      - For V(aws) they are C(Access Key ID) and C(Secret Access Key).
      - For V(azure) they are C(Subscription ID), C(Tenant ID), C(Client ID (Application ID\)), C(Client Secret),
        C(Resource Group) and C(Region).
      - For V(gcp) they are C(Project ID), C(Service Account JSON File Path), C(Region) and C(Zone).
      - Other providers and fields are sealed just the same, but do not count in RV(credentials_status).
    type: dict
    default: {}
  backup:
    description:
      - Keep a copy of a config that is replaced or removed, beside it.
      - A broken config, and one that no known key opens, is kept in any case.
    type: bool
    default: false
  force:
    description:
      - Go on when O(comfyui_path) has neither C(main.py) nor C(models) and C(custom_nodes) in it.
    type: bool
    default: false
  state:
    description:
      - V(present) makes config and key what they should be.
      - V(absent) removes the config and then the key file, if O(key_path) is given. Credentials are not revoked by it.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    description: Can run in C(check_mode) and say what would change without changing it.
    support: full
  diff_mode:
    description: Shows endpoints, status, modes and names of keys and credentials; nothing secret.
    support: full
  idempotent:
    description: Changes nothing when run again with the same options.
    support: full
notes:
  - With a connection that passes no standard input, as paramiko is, the sealed config
    goes through a temporary file, and O(key_path) is refused.
  - On Windows a key is split into two halves, of which each alone is noise, because the arguments of Windows modules
    show up in the event log and with C(-vvv). A connection that keeps remote files is refused together with
    O(key_path).
  - Deriving a key of O(encryption_version=2) from O(studio_key) costs microseconds. Deriving one of
    O(encryption_version=1) costs tens of milliseconds, so derive it once for all workstations with
    P(budgetguard.techops.workstation_keys#filter) and give it as O(key).
seealso:
  - module: budgetguard.techops.comfyui_config_info
  - plugin: budgetguard.techops.workstation_keys
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Derive the key of each workstation once
  ansible.builtin.set_fact:
    derived_keys: "{{ studio_key | budgetguard.techops.workstation_keys(ansible_play_batch) }}"
  run_once: true
  no_log: true

- name: Give each workstation its config and key
  budgetguard.techops.comfyui_config:
    comfyui_path: /home/artist/ComfyUI
    endpoints: "{{ lookup('ansible.builtin.file', 'export/budgetguard_artists_config.json') | from_json }}"
    credentials:
      nvidia:
        "NVIDIA API Key / NGC API Key": "{{ vaulted_nvidia_api_key }}"
    key: "{{ derived_keys[inventory_hostname] }}"
    key_path: ~/.config/budgetguard/studio.key
  become: true
  become_user: artist

- name: Give a Windows workstation its config and key, as an administrator
  budgetguard.techops.comfyui_config:
    comfyui_path: D:\ComfyUI_windows_portable\ComfyUI
    comfyui_user: STUDIO\artist
    endpoints: "{{ lookup('ansible.builtin.file', 'export/budgetguard_artists_config.json') | from_json }}"
    key: "{{ derived_keys[inventory_hostname] }}"
    key_path: ~\AppData\Local\BudgetGuard\studio.key

- name: Take endpoints and credentials away from a workstation
  budgetguard.techops.comfyui_config:
    comfyui_path: /home/artist/ComfyUI
    key_path: ~/.config/budgetguard/studio.key
    state: absent
  become: true
  become_user: artist
"""

RETURN = r"""
path:
  description: The config file.
  returned: success
  type: str
  sample: /home/artist/ComfyUI/budgetguard/budgetguard_backend_config.json
key_path:
  description: The key file with C(~) resolved, or null without O(key_path).
  returned: success
  type: str
  sample: /home/artist/.config/budgetguard/studio.key
steps:
  description:
    - What was done on the workstation, or in check mode would have been, in this order.
    - Of V(folder), V(key_keep), V(aside), V(config), V(config_mode), V(key_final), V(config_remove), V(key_remove).
  returned: success
  type: list
  elements: str
  sample: [key_keep, config, key_final]
config_status:
  description:
    - What became of the config.
    - V(created), V(updated), V(rotated) (the same key file opens it, the key is another), V(replaced) (what was there
      was broken or a stranger's), V(mode) (only modes were repaired), V(unchanged), V(removed) or V(absent).
  returned: success
  type: str
  sample: updated
key_status:
  description:
    - What became of the key file.
    - V(unmanaged), V(created), V(rotated), V(replaced), V(mode), V(unchanged), V(removed) or V(absent).
  returned: success
  type: str
  sample: unchanged
reasons:
  description:
    - Why the config was written anew; empty when it was not.
    - Of V(missing), V(broken), V(wrong_key), V(previous_key), V(version), V(mode), V(nim_endpoints),
      V(credentials_status), V(credentials), V(envelope).
  returned: when O(state=present)
  type: list
  elements: str
  sample: [nim_endpoints]
problem:
  description: What was wrong with the config that was found, or null.
  returned: when O(state=present)
  type: str
  sample: it is not JSON
kept_aside:
  description: Where the broken or unknown config that was found is kept now, or null.
  returned: success
  type: str
  sample: /home/artist/ComfyUI/budgetguard/budgetguard_backend_config.json.broken-3915528286-12
backup_file:
  description: Where the replaced config is kept with O(backup=true), or null.
  returned: success
  type: str
  sample: /home/artist/ComfyUI/budgetguard/budgetguard_backend_config.json.backup-1268033614-906
mode:
  description: The config's C(mode).
  returned: when O(state=present)
  type: str
  sample: workstation:ws-17
encryption_version:
  description: The version of the envelope.
  returned: when O(state=present)
  type: int
  sample: 2
key_id:
  description: A name of the key that says nothing about it.
  returned: when O(state=present)
  type: str
  sample: 8a1c891326b63c0d
fingerprint:
  description: A name of the credentials that says nothing about them without the key.
  returned: when O(state=present)
  type: str
  sample: 36b4e7435742bf9ba35fbdc47cdb7e46
credentials_status:
  description: For V(nvidia), V(aws), V(azure) and V(gcp), whether the credentials have all their fields.
  returned: when O(state=present)
  type: dict
  sample: {"nvidia": true, "aws": false, "azure": false, "gcp": false}
stale_targets:
  description: Those of O(unread_targets) that have stale endpoints in the config.
  returned: when O(state=present)
  type: list
  elements: str
  sample: [aws-us-east-1]
"""
