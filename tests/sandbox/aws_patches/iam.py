# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""IAM users, and the managed policies of AWS."""

from __future__ import annotations

import copy
from typing import Any

from moto.iam.models import IAMBackend, ManagedPolicy

from tests.sandbox.aws_patches.patching import aws_error, patches


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
