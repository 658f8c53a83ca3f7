# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Ask Google which permissions the caller has in a project, without using them (projects.testIamPermissions)."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._permissions import Findings, split_optional
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _gcp_rights as rights
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_session import GcpSession

NOTE = (
    "Policies of the organization and deny policies with conditions are not in Google's answer, and neither is what "
    "Kubernetes' own roles allow in addition."
)


def look(options: t.Mapping[str, t.Any], roles: t.Sequence[str]) -> Findings:
    """Return what the caller lacks for these roles. Raises ProviderError, ValueError for options that are wrong."""
    session = GcpSession(options)
    needed = [right for role in roles for right in rights.RIGHTS[role]]
    held = _held(session, sorted({right.name for right in needed}))
    found = split_optional(needed, lambda right: right.name in held, f"the project {session.project}")
    missing, unchecked = found.missing, found.unchecked
    for gap in found.missing:
        if gap.right == rights.ACT_AS:
            missing = tuple(item for item in missing if item is not gap)
            unchecked += (
                f"{gap.right}: the project does not grant it; the machines' service account may do so ({gap.purpose})",
            )
    return dataclasses.replace(
        found,
        identity=session.who,
        checked=found.checked - len(unchecked),
        missing=missing,
        unchecked=unchecked,
        notes=(*found.notes, NOTE),
    )


def _held(session: GcpSession, names: t.Sequence[str]) -> set[str]:
    """Return those permissions that the caller has."""
    url = f"{session.resource_manager_url}/v3/projects/{session.project}:testIamPermissions"
    held: set[str] = set()
    for batch in rights.batches(names):
        doing = f"ask what may be done in the project {session.project}"
        answer = session.rest(doing, "POST", url, {"permissions": batch}) or {}
        held.update(answer.get("permissions") or ())
    return held
