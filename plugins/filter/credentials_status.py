# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils import _workstation


def credentials_status(credentials: t.Any) -> dict[str, bool]:
    """Return for each public provider whether any workstation has all its credentials."""
    found: dict[str, bool] = {}
    for item in credentials:
        try:
            status = _workstation.credentials_status(_workstation.check_credentials(item))
        except _workstation.ConfigError as error:
            raise AnsibleFilterError(f"budgetguard.techops.credentials_status: {error}") from error
        for provider, complete in status.items():
            found[provider] = found.get(provider, False) or complete
    return found


class FilterModule:
    """The filter credentials_status."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name -> function."""
        return {"credentials_status": credentials_status}
