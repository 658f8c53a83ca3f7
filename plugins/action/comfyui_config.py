# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Give a workstation its sealed ComfyUI config and its key. Documentation: plugins/modules/comfyui_config.py.

Everything is decided and sealed here, on the controller: look (one round trip), decide, and only when something
differs write (one more). The result holds nothing secret, so the task needs no no_log.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.budgetguard.techops.plugins.module_utils._envelope import (
    EnvelopeError,
    fingerprint,
    key_id,
    missing_library,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._workstation import (
    ConfigError,
    Update,
    Wanted,
    check_credentials,
    check_endpoints,
    credentials_status,
    mode_name,
    update,
)
from ansible_collections.budgetguard.techops.plugins.plugin_utils._posix_facts import (
    Found,
    WorkstationError,
    aside_name,
    key_state,
    plan_absent,
    plan_present,
)
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
    "backup": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
REQUIRED_IF = [("state", "present", ("endpoints",)), ("state", "present", ("key", "studio_key"), True)]

# Removing needs no key.
NO_KEYS: dict[str, t.Any] = {"key": None, "studio_key": None, "previous_keys": [], "previous_studio_key": None}
# How often to look again when someone else wrote the config between our look and our write.
ATTEMPTS = 3

CONFIG_STATUS = {"missing": "created", "ok": "updated", "previous_key": "rotated"}
KEY_STATUS = {"missing": "created", "rotating": "rotated", "previous": "rotated", "other": "replaced"}


@dataclasses.dataclass(frozen=True)
class Decision:
    """All that follows from one look: the steps to take, what they need, and what to tell of them.

    The facts are those that the workstation's own C(write) takes, which differ from system to system.
    """

    facts: t.Any
    steps: tuple[str, ...]
    content: bytes = dataclasses.field(default=b"", repr=False)
    aside: str = ""
    backup: str = ""
    result: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    before: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    after: dict[str, t.Any] = dataclasses.field(default_factory=dict)


class ActionModule(ActionBase):
    """The action budgetguard.techops.comfyui_config."""

    TRANSFERS_FILES = False
    _supports_async = False
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Converge one workstation, and turn every refusal into one sentence."""
        result = super().run(tmp, task_vars)
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
            _refuse(facts, options["force"])
            if wanted is not None:
                decision = _decide_present(facts, wanted, options["backup"])
            else:
                decision = _decide_absent(facts, options["backup"])
            if self._task.check_mode or not decision.steps or self._act(workstation, decision, keys):
                return self._tell(decision)
        raise WorkstationError("Not written: someone else kept changing the config at the same time. Run this again.")

    def _act(self, workstation: Workstation, decision: Decision, keys: Keys) -> bool:
        """Write. False means the config changed since it was read."""
        return workstation.write(
            decision.facts,
            decision.steps,
            content=decision.content,
            aside=decision.aside or decision.backup,
            key_line=keys.line or "",
        )

    def _tell(self, decision: Decision) -> dict[str, t.Any]:
        """Return the result: what was, or in check mode would be, done."""
        facts = decision.facts
        told = {
            **decision.result,
            "changed": bool(decision.steps),
            "steps": list(decision.steps),
            "path": facts.path,
            "key_path": facts.key,
            "kept_aside": facts.beside(decision.aside) if decision.aside else None,
            "backup_file": facts.beside(decision.backup) if decision.backup else None,
        }
        if told["kept_aside"]:
            found = f"The config that was there could not be opened and is kept as {told['kept_aside']}."
            cure = "If the studio key was changed on purpose, give the old one as nim_previous_studio_key next time."
            told["warnings"] = [f"{found} {cure}"]
        if self._task.diff:
            told["diff"] = {
                "before": decision.before,
                "after": decision.after,
                "before_header": facts.path,
                "after_header": facts.path,
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
    )


def _refuse(facts: Found, force: bool) -> None:
    problem = facts.base_problem(force) or facts.config_problem() or facts.key_problem()
    if problem is not None:
        raise WorkstationError(problem)


def _decide_present(facts: Found, wanted: Wanted, backup: bool) -> Decision:
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    what = update(facts.content, wanted, now)
    replace = bool(what.reasons)
    aside = aside_name(facts, "broken" if what.found == "broken" else "unknown-key") if what.keep_aside else ""
    saved = aside_name(facts, "backup") if backup and replace and facts.has_file and not aside else ""
    steps = tuple(plan_present(facts, replace, aside=bool(aside or saved)))
    return Decision(
        facts=facts,
        steps=steps,
        content=what.content if replace else b"",
        aside=aside,
        backup=saved,
        result={
            "config_status": _config_status(what, steps),
            "key_status": _key_status(facts, steps),
            "reasons": list(what.reasons),
            "problem": what.problem,
            "mode": wanted.mode,
            "encryption_version": wanted.encryption_version,
            "key_id": key_id(wanted.key),
            "fingerprint": fingerprint(wanted.credentials, wanted.key),
            "credentials_status": credentials_status(wanted.credentials),
            "stale_targets": list(what.kept_targets),
        },
        before={**({"problem": what.problem} if what.problem else {}), **what.before, **facts.shown()},
        after={**what.after, **facts.shown_after(steps)},
    )


def _decide_absent(facts: Found, backup: bool) -> Decision:
    saved = aside_name(facts, "backup") if backup and facts.has_file else ""
    steps = tuple(plan_absent(facts, aside=bool(saved)))
    return Decision(
        facts=facts,
        steps=steps,
        backup=saved,
        result={
            "config_status": "removed" if "config_remove" in steps else "absent",
            "key_status": "removed" if "key_remove" in steps else ("absent" if facts.key else "unmanaged"),
        },
        before=facts.shown(),
        after={**facts.shown(), "file": None, "key_file": None},
    )


def _config_status(what: Update, steps: t.Sequence[str]) -> str:
    if "config" in steps:
        return CONFIG_STATUS.get(what.found, "replaced")
    return "mode" if "config_mode" in steps or "folder" in steps else "unchanged"


def _key_status(facts: Found, steps: t.Sequence[str]) -> str:
    state = key_state(facts)
    if state == "unmanaged":
        return state
    if "key_keep" in steps or "key_final" in steps:
        return KEY_STATUS.get(state, "mode")
    return "unchanged"
