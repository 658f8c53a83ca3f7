# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils import _benchmark_report


def nim_benchmark(
    results: t.Any, plan: t.Any, targets: t.Any, prices: t.Any = None, stored: t.Any = None
) -> dict[str, t.Any]:
    """Return what was measured with its price, for people and to keep."""
    try:
        return _benchmark_report.report(results, plan, targets, prices, stored)
    except (ValueError, KeyError, TypeError) as error:
        raise AnsibleFilterError(f"budgetguard.techops.nim_benchmark: {error}") from error


class FilterModule:
    """The filter nim_benchmark."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name -> function."""
        return {"nim_benchmark": nim_benchmark}
