# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Who has which role in a project: changes of an IAM policy. Pure: a policy in, another one out.

What is not ours is passed on as it was read: conditions, the version, the audit settings, members in their order. The
etag stays with it, so that Google refuses to write over what somebody else has changed meanwhile.
"""

from __future__ import annotations

import typing as t

Policy = t.Mapping[str, t.Any]
Binding = t.Mapping[str, t.Any]

CONDITIONS_VERSION = 3
"""The version of policies in which conditions are visible. In an older one Google leaves them out."""

_ACCOUNT = "serviceAccount:"
_DELETED = "deleted:"


def member_of(email: str) -> str:
    """Return how a policy names a service account."""
    return f"{_ACCOUNT}{email}"


def grant(policy: Policy, role: str, member: str) -> Policy:
    """Return a policy in which a member has a role without condition, and no leftover of a deleted namesake has it."""
    cleaned = _filtered(policy, lambda name, binding: not _is_leftover(name, member) or binding["role"] != role)
    bindings = list(cleaned.get("bindings", ()))
    for number, binding in enumerate(bindings):
        if binding["role"] == role and not binding.get("condition"):
            if member not in binding["members"]:
                bindings[number] = {**binding, "members": [*binding["members"], member]}
            return {**cleaned, "bindings": bindings}
    return {**cleaned, "bindings": [*bindings, {"role": role, "members": [member]}]}


def revoke(policy: Policy, role: str, member: str) -> Policy:
    """Return a policy in which a member does not have this one role without condition."""
    return _filtered(
        policy, lambda name, binding: name != member or binding["role"] != role or bool(binding.get("condition"))
    )


def forget(policy: Policy, member: str) -> Policy:
    """Return a policy that knows nothing of a member any more, neither of deleted ones that had its name."""
    return _filtered(policy, lambda name, _binding: name != member and not _is_leftover(name, member))


def roles(policy: Policy, member: str) -> list[str]:
    """Return all roles of a member."""
    return sorted({binding["role"] for binding in policy.get("bindings", ()) if member in binding.get("members", ())})


def _filtered(policy: Policy, stays: t.Callable[[str, Binding], bool]) -> Policy:
    """Keep those members that shall stay. A binding that loses its last one goes with it."""
    bindings = []
    for binding in policy.get("bindings", ()):
        members = [name for name in binding.get("members", ()) if stays(name, binding)]
        if members == list(binding.get("members", ())):
            bindings.append(binding)
        elif members:
            bindings.append({**binding, "members": members})
    return {**policy, "bindings": bindings} if "bindings" in policy else policy


def _is_leftover(name: str, member: str) -> bool:
    """Say whether a name is what Google makes of a member that was deleted: it adds the id, as a name can come back."""
    return name.startswith(f"{_DELETED}{member}?uid=")
