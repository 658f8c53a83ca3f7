#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vaulted_vars
short_description: Write variables into a vars file, the secret ones encrypted with Ansible Vault
description:
  - Keeps a vars file of the inventory, for example C(host_vars/ws-01/budgetguard_identities.yml), in which secrets are
    inline C(!vault) values. Inventory tools without the vault password can still read the rest.
  - Secrets are encrypted in the controller's memory with the vault password of the run. The file is replaced as a
    whole, so it is never half written, and nothing readable is on disk at any moment. A new file has the mode 0600,
    one that was there keeps its mode.
  - A secret that is in the file already keeps its ciphertext, so a second run changes nothing.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes
  - budgetguard.techops.attributes.action
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Encrypted values are not shown.
  platform:
    support: full
options:
  path:
    description:
      - The file, as an absolute path on the controller. A file that this module has not written is never overwritten.
      - It is refused if its folder would hide a file beside it, such as C(host_vars/ws-01.yml) beside
        C(host_vars/ws-01/).
    type: path
    required: true
  state:
    description:
      - V(ready) only checks that the file could be written, and that there is a vault password.
    type: str
    choices: [present, ready]
    default: present
  variables:
    description:
      - Variables in clear. Of one that is a mapping, each entry given replaces the entry of that name; other entries
        stay.
    type: dict
    default: {}
  secrets:
    description:
      - Values to encrypt, in the same form. They are added to O(variables), at any depth. Each must be a text or a
        number.
    type: dict
    default: {}
  absent:
    description:
      - Variables to remove, or entries of a mapping as C(variable.entry). A file without variables is removed.
    type: list
    elements: str
    default: []
  vault_id:
    description:
      - Which of the run's vault passwords encrypts. By default the first one.
    type: str
"""

EXAMPLES = r"""
- name: Keep the studio key in the inventory
  budgetguard.techops.vaulted_vars:
    path: "{{ inventory_dir }}/group_vars/all/budgetguard_studio_key.yml"
    secrets:
      nim_studio_key: "{{ new_studio_key }}"
  delegate_to: localhost
"""

RETURN = r"""
path:
  description: The file.
  returned: success
  type: str
  sample: /srv/studio/inventory/host_vars/ws-01/budgetguard_identities.yml
"""
