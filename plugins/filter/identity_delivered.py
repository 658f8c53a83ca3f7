# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils import _identities


def identity_delivered(record: t.Any, holders: t.Any, expected: t.Any) -> dict[str, t.Any]:
    """Return what is stored of an identity after workstations were found to hold its key."""
    try:
        found = _identities.delivered_record(record, holders, expected)
        clear, secret = _identities.parts(found)
        return {"record": found, "open": clear, "secret": secret, "delivered": found["delivered"]}
    except _identities.IdentitiesError as error:
        raise AnsibleFilterError(f"budgetguard.techops.identity_delivered: {error}") from error


class FilterModule:
    """The filter identity_delivered."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name -> function."""
        return {"identity_delivered": identity_delivered}
