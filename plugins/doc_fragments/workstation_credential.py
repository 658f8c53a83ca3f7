# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that all modules for workstations' identities share."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation of an identity and its keys."""

    DOCUMENTATION = r"""
options:
  workstation:
    description:
      - Name of the workstation, 1 to 48 letters, digits and hyphens. The identity's name is made of it.
    type: str
    required: true
  state:
    description:
      - V(present) makes the identity with its rights, and a key if O(key_id) is not one that works.
      - V(absent) deletes all its keys, then the identity.
    type: str
    choices: [present, absent]
    default: present
  key_id:
    description:
      - Id of the key that is stored for the workstation, the RV(key.id) of an earlier run. While it works, nothing is
        made. No secret can be read again, so without it a new key is made.
    type: str
  previous_key_id:
    description:
      - RV(previous_key_id) of an earlier run. While that key is there, the workstation may still hold it, and no
        further key is made on account of O(rotate) or O(max_age_days).
    type: str
  rotate:
    description:
      - Make a new key although the stored one works. The old one goes on working until O(delivered).
    type: bool
    default: false
  max_age_days:
    description:
      - Make a new key when the stored one is so many days old. A key that ends by itself is replaced 14 days before.
    type: int
  delivered:
    description:
      - The workstation holds the key O(key_id), so all others are deleted. This is the second phase of a rotation.
      - It is refused if that key does not work.
    type: bool
    default: false
  principal:
    description:
      - An identity that the workstation has of its own. It gets the rights, nothing else is made, and there is no key.
        With O(state=absent) it loses them.
    type: str
"""
