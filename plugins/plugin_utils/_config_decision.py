# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What follows from one look at a workstation: the steps to take, and what to tell of them.

The action comfyui_config and C(install_credentials.py) decide here. The latter runs on Python 3.8.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._envelope import key_id
from ansible_collections.budgetguard.techops.plugins.module_utils._workstation import Update, Wanted, update
from ansible_collections.budgetguard.techops.plugins.plugin_utils._posix_facts import (
    Found,
    aside_name,
    key_state,
    plan_absent,
    plan_present,
)

CONFIG_STATUS = {"missing": "created", "ok": "updated", "previous_key": "rotated"}
KEY_STATUS = {"missing": "created", "rotating": "rotated", "previous": "rotated", "other": "replaced"}


@dataclasses.dataclass(frozen=True)
class Decision:
    """The steps to take, what they need, and what to tell of them.

    I(facts) are those that the workstation's own C(write) takes, which differ from system to system. I(aside) is the
    name under which the config that was found is kept, because it cannot be opened or a backup was asked for.
    """

    facts: t.Any
    steps: tuple[str, ...]
    content: bytes = dataclasses.field(default=b"", repr=False)
    aside: str = ""
    result: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    before: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    after: dict[str, t.Any] = dataclasses.field(default_factory=dict)

    def told(self) -> dict[str, t.Any]:
        """Return what was, or would be, done."""
        return {
            **self.result,
            "changed": bool(self.steps),
            "steps": list(self.steps),
            "path": self.facts.path,
            "key_path": self.facts.key,
        }


def refusal(facts: Found, force: bool) -> str | None:
    """Say why nothing may be written there, or None."""
    return facts.base_problem(force) or facts.config_problem() or facts.key_problem()


def decide_present(facts: Found, wanted: Wanted, backup: bool, now: str) -> Decision:
    """Decide how the workstation gets what is wanted. I(now) is the time that a new config says, in UTC."""
    what = update(facts.content, wanted, now)
    replace = bool(what.reasons)
    unopened = aside_name(facts, "broken" if what.found == "broken" else "unknown-key") if what.keep_aside else ""
    saved = aside_name(facts, "backup") if backup and replace and facts.has_file and not unopened else ""
    steps = tuple(plan_present(facts, replace, aside=bool(unopened or saved)))
    return Decision(
        facts=facts,
        steps=steps,
        content=what.content if replace else b"",
        aside=unopened or saved,
        result={
            "config_status": _config_status(what, steps),
            "key_status": _key_status(facts, steps),
            "reasons": list(what.reasons),
            "problem": what.problem,
            "mode": wanted.mode,
            "encryption_version": wanted.encryption_version,
            "key_id": key_id(wanted.key),
            "fingerprint": wanted.envelope["fingerprint"],
            "credentials_status": wanted.status,
            "stale_targets": list(what.kept_targets),
            "kept_aside": facts.beside(unopened) if unopened else None,
            "backup_file": facts.beside(saved) if saved else None,
        },
        before={**({"problem": what.problem} if what.problem else {}), **what.before, **facts.shown()},
        after={**what.after, **facts.shown_after(steps)},
    )


def decide_absent(facts: Found, backup: bool) -> Decision:
    """Decide how config and key are removed."""
    saved = aside_name(facts, "backup") if backup and facts.has_file else ""
    steps = tuple(plan_absent(facts, aside=bool(saved)))
    return Decision(
        facts=facts,
        steps=steps,
        aside=saved,
        result={
            "config_status": "removed" if "config_remove" in steps else "absent",
            "key_status": "removed" if "key_remove" in steps else ("absent" if facts.key else "unmanaged"),
            "kept_aside": None,
            "backup_file": facts.beside(saved) if saved else None,
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
