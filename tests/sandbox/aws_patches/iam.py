# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""IAM users."""

from __future__ import annotations

from typing import Any

from moto.iam.models import IAMBackend

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
