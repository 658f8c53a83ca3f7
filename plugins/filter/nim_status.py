# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils import _status


def nim_status(targets: t.Any) -> dict[str, list[t.Any]]:
    """Return the status of all NIMs, as lines of text and as rows."""
    try:
        return {"lines": _status.lines(targets), "rows": _status.rows(targets)}
    except _status.StatusError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter nim_status."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name -> function."""
        return {"nim_status": nim_status}
