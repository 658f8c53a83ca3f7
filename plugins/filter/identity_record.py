# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils import _identities


def identity_record(
    result: t.Any, provider: str, previous: t.Any = None, principal: str | None = None
) -> dict[str, t.Any]:
    """Return what is stored of an identity after a run of its module: all of it, and its two parts."""
    try:
        record = _identities.new_record(provider, result, previous, principal or None)
        clear, secret = _identities.parts(record)
        return {"record": record, "open": clear, "secret": secret, "changed": record != dict(previous or {})}
    except _identities.IdentitiesError as error:
        raise AnsibleFilterError(f"budgetguard.techops.identity_record: {error}") from error


class FilterModule:
    """The filter identity_record."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name -> function."""
        return {"identity_record": identity_record}
