# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which workstations use an identity that all share."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils import _identities


def identity_sharers(names: t.Any, hostvars: t.Any, provider: str) -> list[str]:
    """Return those of the workstations that have no identity of their own for the provider, revoked or not."""
    try:
        return [name for name in names if provider not in _identities.own_records(hostvars[name])]
    except _identities.IdentitiesError as error:
        raise AnsibleFilterError(f"budgetguard.techops.identity_sharers: {error}") from error


class FilterModule:
    """The filter identity_sharers."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name -> function."""
        return {"identity_sharers": identity_sharers}
