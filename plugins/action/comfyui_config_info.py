# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Say what ComfyUI config a workstation has. Documentation: plugins/modules/comfyui_config_info.py.

One round trip, opened and judged on the controller. The result holds nothing secret.
"""

from __future__ import annotations

import datetime
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.budgetguard.techops.plugins.module_utils._envelope import EnvelopeError, missing_library
from ansible_collections.budgetguard.techops.plugins.module_utils._workstation import describe
from ansible_collections.budgetguard.techops.plugins.plugin_utils._posix_facts import (
    Facts,
    WorkstationError,
    base_problem,
    config_problem,
    key_problem,
    key_state,
)
from ansible_collections.budgetguard.techops.plugins.plugin_utils._workstation_options import (
    SHARED_ARGUMENTS,
    Keys,
    check_options,
    keys_from,
    open_workstation,
)

ARGUMENT_SPEC = SHARED_ARGUMENTS

# What each result has, also when there is nothing to say.
NOTHING_KNOWN: dict[str, t.Any] = {
    "problem": None,
    "decrypts": None,
    "mode": None,
    "encryption_version": None,
    "key_id": None,
    "fingerprint": None,
    "installed_at": None,
    "age_seconds": None,
    "credentials_status": None,
    "endpoint_counts": None,
}


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
            result.update(self._look(options, str((task_vars or {}).get("inventory_hostname", ""))))
        except (EnvelopeError, WorkstationError) as problem:
            result.update(failed=True, msg=str(problem))
        return result

    def _look(self, options: dict[str, t.Any], inventory_hostname: str) -> dict[str, t.Any]:
        library = missing_library()
        if library is not None:
            raise EnvelopeError(library)
        check_options(options)
        keys = keys_from(options, options["workstation_id"] or inventory_hostname)
        workstation = open_workstation(self, keys, options)
        facts = workstation.read(options["comfyui_path"], options["key_path"], keys.known_lines)
        return {"changed": False, **_judge(facts, keys)}


def _judge(facts: Facts, keys: Keys) -> dict[str, t.Any]:
    """Return the result of one look."""
    told = {
        **NOTHING_KNOWN,
        "path": facts.path,
        "user": facts.user_name,
        "owner": facts.base_owner_name,
        "file_mode": f"{facts.file.mode:04o}" if facts.file else None,
        "key_path": facts.key,
        "key_file": key_state(facts) if keys.line or facts.key is None else _unchecked_key(facts),
    }
    status = _refusal_status(facts)
    if status is not None:
        return {**told, "status": status, "problem": base_problem(facts, force=True) or config_problem(facts)}
    ordered = [keys.key, *keys.previous] if keys.key else []
    told.update(describe(facts.content, ordered, datetime.datetime.now(datetime.timezone.utc)))
    wrong_place = key_problem(facts)
    if told["status"] == "ok" and (wrong_place or told["key_file"] not in ("unmanaged", "current", "rotating")):
        told["status"] = "no_key"
        told["problem"] = wrong_place or "the key file does not hold the key that opens the config"
    return told


def _unchecked_key(facts: Facts) -> str:
    """Without a key to compare with, say only whether there is a key file."""
    return "unchecked" if facts.key_file else "missing"


def _refusal_status(facts: Facts) -> str | None:
    """Name what keeps us from reading the config at all, or None."""
    if facts.base_hidden or (facts.base_owner_id is not None and not facts.is_owner):
        return "not_owner"
    if base_problem(facts, force=True) is not None:
        return "no_comfyui"
    return "refused" if config_problem(facts) is not None else None
