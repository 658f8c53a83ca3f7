# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The project's IAM policy: who has which role, and what the roles allow. No HTTP here."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import secrets
from typing import Any

from tests.sandbox.gcp.accounts import ServiceAccount, ServiceAccounts

Json = dict[str, Any]

OWNER = "roles/owner"
#: Google's roles, as far as the sandbox knows what they allow.
ROLES: dict[str, tuple[str, ...]] = {
    OWNER: ("*",),
    "roles/compute.viewer": ("compute.projects.get", "compute.regions.get", "compute.regions.list"),
    "roles/container.admin": ("container.*",),
    "roles/container.clusterViewer": (
        "container.clusters.connect",
        "container.clusters.get",
        "container.clusters.list",
        "resourcemanager.projects.get",
    ),
    "roles/container.developer": (
        "container.clusters.connect",
        "container.clusters.get",
        "container.clusters.list",
        "container.deployments.*",
        "container.pods.*",
        "container.secrets.*",
    ),
    "roles/iam.serviceAccountAdmin": ("iam.serviceAccounts.*",),
    "roles/iam.serviceAccountKeyAdmin": ("iam.serviceAccountKeys.*", "iam.serviceAccounts.get"),
    "roles/resourcemanager.projectIamAdmin": (
        "resourcemanager.projects.get",
        "resourcemanager.projects.getIamPolicy",
        "resourcemanager.projects.setIamPolicy",
    ),
    "roles/viewer": (
        "compute.projects.get",
        "container.clusters.get",
        "container.clusters.list",
        "iam.serviceAccounts.get",
        "iam.serviceAccounts.list",
        "resourcemanager.projects.get",
    ),
}
#: A role that the project has made itself.
CUSTOM_ROLES = {"nimArtist": ("container.clusters.connect", "container.clusters.get")}

MEMBER = re.compile(
    r"(?:(?:deleted:)?(?:user|serviceAccount|group|domain):\S+|(?:deleted:)?principal(?:Set)?://\S+"
    r"|allUsers|allAuthenticatedUsers)"
)
#: What Google puts behind the name of a role that has a condition, for readers who do not know conditions.
HIDDEN_CONDITION = "_withcond_"


class PolicyError(Exception):
    """A policy that Google does not take. `conflict` where only somebody else was quicker."""

    def __init__(self, message: str, *, conflict: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.conflict = conflict


class ProjectPolicy:
    """Who has which role. Starts with one owner."""

    def __init__(self, accounts: ServiceAccounts, owner: str) -> None:
        self._accounts = accounts
        self._owner = owner
        self._bindings: list[Json] = []
        self._audit: list[Json] = []
        self._etag = ""
        self.reset()

    def reset(self) -> None:
        """Go back to the start."""
        self._bindings = [{"role": OWNER, "members": [f"serviceAccount:{self._owner}"]}]
        self._audit = []
        self._etag = _new_etag()

    # -- reading ------------------------------------------------------------------------------------------------------

    def shown(self, version: int) -> Json:
        """Return it as a reader of this version sees it."""
        bindings = copy.deepcopy(self._bindings)
        has_conditions = any("condition" in binding for binding in bindings)
        if version < 3:
            for binding in bindings:
                condition = binding.pop("condition", None)
                if condition is not None:
                    mark = hashlib.sha256(json.dumps(condition, sort_keys=True).encode()).hexdigest()[:20]
                    binding["role"] += f"{HIDDEN_CONDITION}{mark}"
        policy: Json = {"version": 3 if has_conditions and version >= 3 else 1, "etag": self._etag}
        if bindings:
            policy["bindings"] = bindings
        if self._audit:
            policy["auditConfigs"] = copy.deepcopy(self._audit)
        return policy

    def allows(self, email: str, permission: str) -> bool:
        """Whether a service account has a role without condition that holds a permission."""
        member = f"serviceAccount:{email}"
        roles = [item["role"] for item in self._bindings if member in item["members"] and "condition" not in item]
        return any(_covers(pattern, permission) for role in roles for pattern in self._permissions(role) or ())

    def _permissions(self, role: str) -> tuple[str, ...] | None:
        """Return what a role allows; None if there is no such role."""
        own = f"projects/{self._accounts.project}/roles/"
        return CUSTOM_ROLES.get(role.removeprefix(own)) if role.startswith(own) else ROLES.get(role)

    # -- changes ------------------------------------------------------------------------------------------------------

    def replace(self, policy: Json, fields: tuple[str, ...]) -> None:
        """Put another policy in its place, of it only some fields. Raises PolicyError."""
        if policy["etag"] != self._etag:
            raise PolicyError(
                "There were concurrent policy changes. Please retry the whole read-modify-write with exponential "
                f"backoff. The request's ETag '{policy['etag']}' did not match the current policy's ETag "
                f"'{self._etag}'.",
                conflict=True,
            )
        bindings = policy.get("bindings", [])
        with_conditions = any("condition" in item for item in (*bindings, *self._bindings))
        if with_conditions and policy.get("version") != 3:
            raise PolicyError("Policies with conditions must have version 3, and must be read with it.")
        for binding in bindings:
            self._check(binding)
        if "bindings" in fields:
            self._bindings = _merged(bindings)
        if "auditConfigs" in fields:
            self._audit = policy.get("auditConfigs", [])
        self._etag = _new_etag()

    def _check(self, binding: Json) -> None:
        if self._permissions(binding["role"]) is None:
            raise PolicyError(f"Role {binding['role']} is not supported for this resource.")
        for member in binding["members"]:
            if not MEMBER.fullmatch(member):
                raise PolicyError(f"Invalid principal {member}.")
            kind, _colon, email = member.partition(":")
            own = email.endswith(f"@{self._accounts.project}.iam.gserviceaccount.com")
            if kind == "serviceAccount" and own and self._accounts.find(email) is None:
                raise PolicyError(f"Service account {email} does not exist.")

    def note_deleted(self, account: ServiceAccount) -> None:
        """Keep what a deleted account had, under the name that only a deleted one has."""
        self._rename(f"serviceAccount:{account.email}", _leftover(account))

    def note_restored(self, account: ServiceAccount) -> None:
        """Give back to an account what it had."""
        self._rename(_leftover(account), f"serviceAccount:{account.email}")

    def _rename(self, old: str, new: str) -> None:
        for binding in self._bindings:
            binding["members"] = sorted({new if name == old else name for name in binding["members"]})


def _leftover(account: ServiceAccount) -> str:
    return f"deleted:serviceAccount:{account.email}?uid={account.unique_id}"


def _merged(bindings: list[Json]) -> list[Json]:
    """Put bindings of the same role and condition together, and members into order, as Google does."""
    found: dict[str, Json] = {}
    for binding in bindings:
        key = json.dumps([binding["role"], binding.get("condition")], sort_keys=True)
        kept = found.setdefault(key, {**binding, "members": []})
        kept["members"] = sorted({*kept["members"], *binding["members"]})
    return [found[key] for key in sorted(found) if found[key]["members"]]


def _covers(pattern: str, permission: str) -> bool:
    return pattern in ("*", permission) or (pattern.endswith(".*") and permission.startswith(pattern[:-1]))


def _new_etag() -> str:
    return f"Bw{secrets.token_urlsafe(8)}="
