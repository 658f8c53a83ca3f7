# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils import _usage_report


def nim_usage(results: t.Any) -> dict[str, t.Any]:
    """Return what several targets tell about their use as one table and one file."""
    try:
        return _usage_report.merged(results)
    except (_usage_report.UsageError, KeyError, TypeError) as exc:
        raise AnsibleFilterError(f"budgetguard.techops.nim_usage: {exc}") from exc


class FilterModule:
    """The filter nim_usage."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name -> function."""
        return {"nim_usage": nim_usage}
