# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils import _identities


def identities_to_deliver(records: t.Any) -> list[str]:
    """Return the providers whose stored key the workstation is not known to hold."""
    try:
        return _identities.to_deliver(records)
    except _identities.IdentitiesError as error:
        raise AnsibleFilterError(f"budgetguard.techops.identities_to_deliver: {error}") from error


class FilterModule:
    """The filter identities_to_deliver."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name -> function."""
        return {"identities_to_deliver": identities_to_deliver}
