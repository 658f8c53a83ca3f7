# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Texts for the attributes that modules declare; each module adds its own ``support``."""

    # Every module: check mode, diff mode, where it runs.
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Tells in check mode what would change, and changes nothing.
  diff_mode:
    description: Returns what is different before and after when diff mode is on.
  platform:
    description: The systems on which the module can run.
    platforms: posix
"""

    # Modules that only read. They need nothing else.
    INFO_MODULE = r"""
options: {}
attributes:
  check_mode:
    description: Tells in check mode what would change, and changes nothing.
    support: full
    details:
      - This module only reads.
  diff_mode:
    description: Returns what is different before and after when diff mode is on.
    support: N/A
    details:
      - This module only reads.
  platform:
    description: The systems on which the module can run.
    support: full
    platforms: posix
"""

    # Modules that an action plugin runs on the controller.
    ACTION = r"""
options: {}
attributes:
  action:
    description: The task has a part that runs on the controller.
    support: full
  async:
    description: Can run in the background with the C(async) keyword.
    support: none
"""

    # Modules that only read, by an action plugin on the controller. Instead of the three above.
    CONTROLLER_INFO = r"""
options: {}
attributes:
  check_mode:
    description: Tells in check mode what would change, and changes nothing.
    support: full
    details:
      - This module only reads.
  diff_mode:
    description: Returns what is different before and after when diff mode is on.
    support: N/A
    details:
      - This module only reads.
  platform:
    description: The systems on which the module can run.
    support: full
    platforms: posix
  action:
    description: The task has a part that runs on the controller.
    support: full
  async:
    description: Can run in the background with the C(async) keyword.
    support: none
"""

    # One fragment for each group in meta/runtime.yml.
    ACTIONGROUP_AWS = r"""
options: {}
attributes:
  action_group:
    description:
      - Belongs to a group, so that C(module_defaults) can set options for all its modules at once, by the name
        C(group/budgetguard.techops.aws).
    support: full
    membership:
      - budgetguard.techops.aws
      - budgetguard.techops.all
"""

    ACTIONGROUP_AZURE = r"""
options: {}
attributes:
  action_group:
    description:
      - Belongs to a group, so that C(module_defaults) can set options for all its modules at once, by the name
        C(group/budgetguard.techops.azure).
    support: full
    membership:
      - budgetguard.techops.azure
      - budgetguard.techops.all
"""

    ACTIONGROUP_GCP = r"""
options: {}
attributes:
  action_group:
    description:
      - Belongs to a group, so that C(module_defaults) can set options for all its modules at once, by the name
        C(group/budgetguard.techops.gcp).
    support: full
    membership:
      - budgetguard.techops.gcp
      - budgetguard.techops.all
"""

    ACTIONGROUP_LOCAL = r"""
options: {}
attributes:
  action_group:
    description:
      - Belongs to a group, so that C(module_defaults) can set options for all its modules at once, by the name
        C(group/budgetguard.techops.local).
    support: full
    membership:
      - budgetguard.techops.local
      - budgetguard.techops.all
"""

    ACTIONGROUP_NVIDIA = r"""
options: {}
attributes:
  action_group:
    description:
      - Belongs to a group, so that C(module_defaults) can set options for all its modules at once, by the name
        C(group/budgetguard.techops.nvidia).
    support: full
    membership:
      - budgetguard.techops.nvidia
      - budgetguard.techops.all
"""
