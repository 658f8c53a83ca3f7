# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Targets of the sandbox, read and published as the collection does it."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.budgetguard.techops.plugins.action import nim_targets_info
from ansible_collections.budgetguard.techops.plugins.module_utils import _artists
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import Provider

Fields = t.Mapping[str, str]


def as_published(cloud: str, provider: Provider) -> dict[str, t.Any]:
    """Return the name of a target's one NIM, and the endpoints that are published of it."""
    opened: dict[str, t.Any] = {"target": f"{cloud}-here", "provider": cloud, "options": {}, "error": None}
    target = nim_targets_info._read(opened, {cloud: lambda _options: provider}, False)
    assert target["error"] is None, target["error"]
    document = _artists.artists_config([target], generated_at="2026-11-28T10:00:00Z")
    return {"name": target["deployments"][0]["name"], "endpoints": document["nim_endpoints"]}


def secret_parts(fields: Fields) -> list[str]:
    """Return what of an identity's fields must never show up; of a key file the lines of its key."""
    found = [value for name, value in fields.items() if "Secret" in name]
    if "Service Account JSON" in fields:
        key = json.loads(fields["Service Account JSON"])["private_key"]
        found += [line for line in key.splitlines() if len(line) > 40]
    return found
