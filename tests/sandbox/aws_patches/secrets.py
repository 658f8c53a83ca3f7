# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets Manager."""

from __future__ import annotations

from typing import Any

from moto.secretsmanager.models import SecretsManagerBackend

from tests.sandbox.aws_patches.patching import aws_error, patches


@patches(SecretsManagerBackend, "create_secret")
def create_secret(original: Any, self: SecretsManagerBackend, name: str, *args: Any, **kwargs: Any) -> Any:
    """Create a secret whose name is taken.

    AWS: ResourceExistsException; while the one of that name waits for its deletion, InvalidRequestException.
    moto: ResourceExistsException for both.
    """
    if name in self.secrets and self.secrets[name].is_deleted():
        raise aws_error(
            "InvalidRequestException",
            "You can't create this secret because a secret with this name is already scheduled for deletion.",
        )
    return original(self, name, *args, **kwargs)


@patches(SecretsManagerBackend, "put_secret_value")
def put_secret_value(original: Any, self: SecretsManagerBackend, secret_id: str, *args: Any, **kwargs: Any) -> Any:
    """Write to a secret that waits for its deletion.

    AWS: InvalidRequestException.
    moto: writes.
    """
    if self._is_valid_identifier(secret_id) and self.secrets[secret_id].is_deleted():
        raise aws_error(
            "InvalidRequestException",
            "You can't perform this operation on the secret because it was marked for deletion.",
        )
    return original(self, secret_id, *args, **kwargs)
