# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules that look at the caller's rights."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation of what the rights are looked at for."""

    DOCUMENTATION = r"""
options:
  roles:
    description:
      - What the caller is to do. V(deployer) is to deploy, start, stop and remove NIMs. V(identities) is to make,
        rotate and revoke identities of workstations. V(readonly) is what C(status), C(health), C(endpoints) and
        C(workstations) need.
    type: list
    elements: str
    choices: [deployer, identities, readonly]
    default: [deployer]
"""
