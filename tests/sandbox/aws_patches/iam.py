# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""IAM users with their limits, groups, policies, and the managed policies of AWS."""

from __future__ import annotations

import copy
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.iam.models import IAMBackend, ManagedPolicy
from moto.iam.responses import IamResponse

from tests.sandbox.aws_patches.patching import adds, aws_error, patches

#: Characters of a managed policy, white space left out.
MOST_CHARACTERS = 6144


@patches(IAMBackend, "delete_user")
def delete_user(original: Any, self: IAMBackend, user_name: str) -> None:
    """Delete a user who still has something.

    AWS: DeleteConflict while there are access keys or group memberships.
    moto: deletes the user, keys included.
    """
    user: Any = self.get_user(user_name)
    if user.access_keys:
        raise aws_error("DeleteConflict", "Cannot delete entity, must delete access keys first.")
    if self.get_groups_for_user(user_name):
        raise aws_error("DeleteConflict", "Cannot delete entity, must remove users from group first.")
    original(self, user_name)


#: The managed policies as moto makes them, never handed out themselves.
_managed_policies: list[ManagedPolicy] = []


@patches(IAMBackend, "_init_aws_policies")
def load_managed_policies(original: Any, self: IAMBackend) -> list[ManagedPolicy]:
    """Load the managed policies of AWS.

    AWS: present.
    moto: present if it is told so, then parsed anew after each reset, which takes longer than most tests.
    """
    if self.region_name != "aws":
        # moto makes a backend for each partition to look up who an access key belongs to; only one is simulated.
        return []
    if not _managed_policies:
        _managed_policies.extend(original(self))
    return [copy.copy(policy) for policy in _managed_policies]


def boundary_of(user: Any) -> ManagedPolicy | None:
    """Return the policy that is a user's permissions boundary."""
    policy: ManagedPolicy | None = getattr(user, "boundary_policy", None)
    return policy


def set_boundary(backend: IAMBackend, user: Any, policy_arn: str) -> None:
    """Limit a user to a policy, in the form in which moto puts it on the wire."""
    user.boundary_policy = _boundary(backend, policy_arn)
    user.permissions_boundary = {
        "PermissionsBoundaryType": "Policy",
        "PermissionsBoundaryArn": policy_arn,
    }


def _boundary(backend: IAMBackend, policy_arn: str) -> ManagedPolicy:
    if policy_arn not in backend.managed_policies:
        raise aws_error("NoSuchEntity", f"Scope ARN: {policy_arn} does not exist or is not attachable.")
    return backend.managed_policies[policy_arn]


@patches(IamResponse, "create_user")
def create_user(original: Any, self: IamResponse) -> ActionResult:
    """Create a user with a permissions boundary.

    AWS: NoSuchEntity if there is no such policy; the boundary is in the answers of CreateUser and GetUser.
    moto: ignores it.
    """
    policy_arn = self._get_param("PermissionsBoundary")
    if policy_arn:
        _boundary(self.backend, policy_arn)
    result: ActionResult = original(self)
    if policy_arn:
        set_boundary(self.backend, self.backend.get_user(self._get_param("UserName")), policy_arn)
    return result


@adds(IamResponse, "put_user_permissions_boundary")
def put_user_permissions_boundary(self: IamResponse) -> ActionResult:
    """Limit a user. moto has it for roles only."""
    user = self.backend.get_user(self._get_param("UserName"))
    set_boundary(self.backend, user, self._get_param("PermissionsBoundary"))
    return EmptyResult()


@adds(IamResponse, "delete_user_permissions_boundary")
def delete_user_permissions_boundary(self: IamResponse) -> ActionResult:
    """Take a user's limit away. moto has it for roles only."""
    user: Any = self.backend.get_user(self._get_param("UserName"))
    if boundary_of(user) is None:
        raise aws_error("NoSuchEntity", f"The user with name {user.name} has no permissions boundary.")
    del user.boundary_policy, user.permissions_boundary
    return EmptyResult()


@patches(IAMBackend, "create_policy")
def create_policy(
    original: Any, self: IAMBackend, description: str, path: str, policy_document: str, policy_name: str, tags: Any
) -> ManagedPolicy:
    """Create a policy whose name is taken, or that is too long.

    AWS: names are taken whatever their path and capitals; LimitExceeded above 6144 characters.
    moto: only the same ARN is taken; any length.
    """
    names = {policy.name.lower() for policy in self.managed_policies.values() if policy.account_id == self.account_id}
    if policy_name.lower() in names:
        message = f"A policy called {policy_name} already exists. Duplicate names are not allowed."
        raise aws_error("EntityAlreadyExists", message)
    _check_length(policy_document)
    made: ManagedPolicy = original(self, description, path, policy_document, policy_name, tags)
    return made


@patches(IAMBackend, "create_policy_version")
def create_policy_version(original: Any, self: IAMBackend, policy_arn: str, policy_document: str, *args: Any) -> Any:
    """Add a version that is too long.

    AWS: LimitExceeded above 6144 characters.
    moto: any length.
    """
    _check_length(policy_document)
    return original(self, policy_arn, policy_document, *args)


def _check_length(policy_document: str) -> None:
    if len("".join(policy_document.split())) > MOST_CHARACTERS:
        raise aws_error("LimitExceeded", f"Cannot exceed quota for PolicySize: {MOST_CHARACTERS}")


@patches(IAMBackend, "delete_policy")
def delete_policy(original: Any, self: IAMBackend, policy_arn: str) -> None:
    """Delete a policy that is in use.

    AWS: DeleteConflict while it is attached to something, limits a user, or has further versions.
    moto: deletes it.
    """
    policy = self.get_policy(policy_arn)
    if policy.attachment_count or any(boundary_of(user) is policy for user in self.users.values()):
        raise aws_error("DeleteConflict", "Cannot delete a policy attached to entities.")
    if len(policy.versions) > 1:
        message = (
            "This policy has more than one version. Before you delete a policy, you must delete the policy's versions."
        )
        raise aws_error("DeleteConflict", message)
    original(self, policy_arn)


@patches(IAMBackend, "delete_group")
def delete_group(original: Any, self: IAMBackend, group_name: str) -> None:
    """Delete a group that still has something.

    AWS: DeleteConflict while there are users in it or policies on it.
    moto: deletes it.
    """
    group = self.get_group(group_name)
    if group.users:
        raise aws_error("DeleteConflict", "Cannot delete entity, must remove users from group first.")
    if group.managed_policies or group.policies:
        raise aws_error("DeleteConflict", "Cannot delete entity, must detach all policies first.")
    original(self, group_name)
