# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What a look at a workstation says of its config and its key."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._workstation import describe
from ansible_collections.budgetguard.techops.plugins.plugin_utils._posix_facts import Found, key_state
from ansible_collections.budgetguard.techops.plugins.plugin_utils._workstation_options import Keys

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


def judge(facts: Found, keys: Keys) -> dict[str, t.Any]:
    """Say what one look found of the config and its key. Nothing secret is in it."""
    told = {
        **NOTHING_KNOWN,
        "path": facts.path,
        "user": facts.user_name,
        "owner": facts.base_owner_name,
        "file_mode": facts.file_mode,
        "key_path": facts.key,
        "key_file": key_state(facts) if keys.line or facts.key is None else _unchecked_key(facts),
    }
    status = _refusal_status(facts)
    if status is not None:
        return {**told, "status": status, "problem": facts.base_problem(force=True) or facts.config_problem()}
    ordered = [keys.key, *keys.previous] if keys.key else []
    told.update(describe(facts.content, ordered, datetime.datetime.now(datetime.timezone.utc)))
    wrong_place = facts.key_problem()
    if told["status"] == "ok" and (wrong_place or told["key_file"] not in ("unmanaged", "current", "rotating")):
        told["status"] = "no_key"
        told["problem"] = wrong_place or "the key file does not hold the key that opens the config"
    return told


def _unchecked_key(facts: Found) -> str:
    """Without a key to compare with, say only whether there is a key file."""
    return "unchecked" if facts.has_key_file else "missing"


def _refusal_status(facts: Found) -> str | None:
    """Name what keeps us from reading the config at all, or None."""
    if facts.is_stranger:
        return "not_owner"
    if facts.base_problem(force=True) is not None:
        return "no_comfyui"
    return "refused" if facts.config_problem() is not None else None
