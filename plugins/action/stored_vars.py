# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write variables into a secret store."""

from __future__ import annotations

import typing as t

import yaml
from ansible.module_utils.basic import missing_required_lib
from ansible.plugins.action import ActionBase

from ansible_collections.budgetguard.techops.plugins.module_utils._provider import (
    ConflictError,
    MissingLibraryError,
    ProviderError,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._stores import (
    STORE,
    Store,
    as_text,
    merged,
    open_store,
    read_variables,
)
from ansible_collections.budgetguard.techops.plugins.plugin_utils._vault_file import plain

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "store": STORE,
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "ready"], "default": "present"},
    "variables": {"type": "dict", "default": {}, "no_log": True},
    "absent": {"type": "list", "elements": "str", "default": []},
}

ROUNDS = 4
"""How often is read again after another run wrote the same secret."""


class ActionModule(ActionBase):
    """The action budgetguard.techops.stored_vars."""

    TRANSFERS_FILES = False
    _supports_async = False
    _supports_check_mode = True
    _supports_diff = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Run the action."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENT_SPEC)
        try:
            store = open_store(arguments["store"])
            return {**result, **self._bring(store, arguments)}
        except MissingLibraryError as error:
            return {**result, "failed": True, "msg": missing_required_lib(error.package)}
        except (ProviderError, ValueError) as error:
            return {**result, "failed": True, "msg": f"Nothing was stored: {error}."}

    def _bring(self, store: Store, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        name = store.named(arguments["name"])
        for rest in reversed(range(ROUNDS)):
            found, before = read_variables(store, arguments["name"])
            wanted = merged(found, plain(arguments["variables"]), arguments["absent"])
            changed = arguments["state"] == "present" and wanted != found
            try:
                if changed and not self._task.check_mode:
                    store.write(name, as_text(wanted), before)
            except ConflictError:
                if not rest:
                    raise
                continue
            break
        shown = {"before": _names(found), "after": _names(wanted if changed else found)}
        return {"changed": changed, "name": name, "diff": {"before_header": name, "after_header": name, **shown}}


def _names(variables: dict[str, t.Any]) -> str:
    """Return the names of what is stored, for a diff."""
    names = {name: sorted(value) if isinstance(value, dict) else "(stored)" for name, value in variables.items()}
    return str(yaml.safe_dump(names)) if names else ""
