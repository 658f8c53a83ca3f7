# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Give a workstation its sealed ComfyUI config and its key. Documentation: plugins/modules/comfyui_config.py.

Everything is decided and sealed here, on the controller: look (one round trip), decide, and only when something
differs write (one more). The result holds nothing secret, so the task needs no no_log.
"""

from __future__ import annotations

import datetime
import typing as t

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

from ansible_collections.budgetguard.techops.plugins.module_utils._envelope import EnvelopeError, missing_library
from ansible_collections.budgetguard.techops.plugins.module_utils._workstation import (
    ConfigError,
    Wanted,
    check_credentials,
    check_endpoints,
    mode_name,
)
from ansible_collections.budgetguard.techops.plugins.plugin_utils import _role_arguments
from ansible_collections.budgetguard.techops.plugins.plugin_utils._config_decision import (
    Decision,
    decide_absent,
    decide_present,
    refusal,
)
from ansible_collections.budgetguard.techops.plugins.plugin_utils._posix_facts import Found, WorkstationError
from ansible_collections.budgetguard.techops.plugins.plugin_utils._windows import is_windows
from ansible_collections.budgetguard.techops.plugins.plugin_utils._workstation_options import (
    SHARED_ARGUMENTS,
    Keys,
    Workstation,
    check_options,
    keys_from,
    open_workstation,
    plain,
)

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    **SHARED_ARGUMENTS,
    "endpoints": {"type": "dict"},
    "credentials": {"type": "dict", "no_log": True, "default": {}},
    "unread_targets": {"type": "list", "elements": "str", "default": []},
    "sealed": {"type": "dict"},
    "backup": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
    "role_variables": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
REQUIRED_IF = [("state", "present", ("endpoints",)), ("state", "present", ("key", "studio_key"), True)]

# Removing needs no key.
NO_KEYS: dict[str, t.Any] = {"key": None, "studio_key": None, "previous_keys": [], "previous_studio_key": None}
# How often to look again when someone else wrote the config between our look and our write.
ATTEMPTS = 3


class ActionModule(ActionBase):
    """The action budgetguard.techops.comfyui_config."""

    TRANSFERS_FILES = False
    _supports_async = False
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Converge one workstation, and turn every refusal into one sentence."""
        result = super().run(tmp, task_vars)
        if boolean(self._task.args.get("role_variables", False)):
            self._task.args = _role_arguments.arguments(self._templar, task_vars or {})
        _validation, options = self.validate_argument_spec(ARGUMENT_SPEC, required_if=REQUIRED_IF)
        try:
            result.update(self._converge(options, task_vars or {}))
        except (ConfigError, EnvelopeError, WorkstationError) as problem:
            result.update(failed=True, msg=str(problem))
        return result

    def _converge(self, options: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        library = missing_library()
        if library is not None:
            raise EnvelopeError(library)
        check_options(options, windows=is_windows(self))
        present = options["state"] == "present"
        workstation_id = options["workstation_id"] or str(task_vars.get("inventory_hostname", ""))
        keys = keys_from(options if present else {**options, **NO_KEYS}, workstation_id)
        wanted = _wanted(options, keys, workstation_id) if present else None
        workstation = open_workstation(self, keys, options, task_vars)
        for _attempt in range(ATTEMPTS):
            facts: Found = workstation.read(options["comfyui_path"], options["key_path"], keys.known_lines)
            problem = refusal(facts, options["force"])
            if problem is not None:
                raise WorkstationError(problem)
            if wanted is not None:
                now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
                decision = decide_present(facts, wanted, options["backup"], now)
            else:
                decision = decide_absent(facts, options["backup"])
            if self._task.check_mode or not decision.steps or self._act(workstation, decision, keys):
                return self._tell(decision)
        raise WorkstationError("Not written: someone else kept changing the config at the same time. Run this again.")

    def _act(self, workstation: Workstation, decision: Decision, keys: Keys) -> bool:
        """Write. False means the config changed since it was read."""
        return workstation.write(
            decision.facts,
            decision.steps,
            content=decision.content,
            aside=decision.aside,
            key_line=keys.line or "",
        )

    def _tell(self, decision: Decision) -> dict[str, t.Any]:
        """Return the result: what was, or in check mode would be, done."""
        told = decision.told()
        if told["kept_aside"]:
            found = f"The config that was there could not be opened and is kept as {told['kept_aside']}."
            cure = "If the studio key was changed on purpose, give the old one as nim_previous_studio_key next time."
            told["warnings"] = [f"{found} {cure}"]
        if self._task.diff:
            told["diff"] = {
                "before": decision.before,
                "after": decision.after,
                "before_header": decision.facts.path,
                "after_header": decision.facts.path,
            }
        return told


def _wanted(options: dict[str, t.Any], keys: Keys, workstation_id: str) -> Wanted:
    """Return what the config should say, checked."""
    if not workstation_id or not workstation_id.isprintable():
        raise ConfigError("workstation_id must be a text of printable characters that is not empty.")
    return Wanted(
        nim_endpoints=check_endpoints(plain(options["endpoints"])),
        credentials=check_credentials(plain(options["credentials"])),
        key=str(keys.key),
        encryption_version=keys.version,
        mode=mode_name(options["mode"], workstation_id),
        previous_keys=keys.previous,
        unread_targets=options["unread_targets"],
        sealed_once=options["sealed"],
    )
