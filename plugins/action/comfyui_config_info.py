# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Say what ComfyUI config a workstation has. Documentation: plugins/modules/comfyui_config_info.py.

One round trip, opened and judged on the controller. The result holds nothing secret.
"""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.budgetguard.techops.plugins.module_utils._envelope import EnvelopeError, missing_library
from ansible_collections.budgetguard.techops.plugins.plugin_utils._config_verdict import judge
from ansible_collections.budgetguard.techops.plugins.plugin_utils._posix_facts import WorkstationError
from ansible_collections.budgetguard.techops.plugins.plugin_utils._windows import is_windows
from ansible_collections.budgetguard.techops.plugins.plugin_utils._workstation_options import (
    SHARED_ARGUMENTS,
    check_options,
    keys_from,
    open_workstation,
)

ARGUMENT_SPEC = SHARED_ARGUMENTS


class ActionModule(ActionBase):
    """The action budgetguard.techops.comfyui_config_info."""

    TRANSFERS_FILES = False
    _supports_async = False
    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Look at one workstation, and turn every refusal into one sentence."""
        result = super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(ARGUMENT_SPEC)
        try:
            result.update(self._look(options, task_vars or {}))
        except (EnvelopeError, WorkstationError) as problem:
            result.update(failed=True, msg=str(problem))
        return result

    def _look(self, options: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        library = missing_library()
        if library is not None:
            raise EnvelopeError(library)
        check_options(options, windows=is_windows(self))
        keys = keys_from(options, options["workstation_id"] or str(task_vars.get("inventory_hostname", "")))
        workstation = open_workstation(self, keys, options, task_vars)
        facts = workstation.read(options["comfyui_path"], options["key_path"], keys.known_lines)
        return {"changed": False, **judge(facts, keys)}
