# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils import _benchmark_report, _catalog


def nim_benchmark_plan(targets: t.Any, catalog: t.Any = None, nodes: t.Any = None) -> dict[str, t.Any]:
    """Return what is to be measured, and what is not."""
    try:
        return _benchmark_report.plan(targets, _catalog.load(catalog), nodes)
    except ValueError as error:
        raise AnsibleFilterError(f"budgetguard.techops.nim_benchmark_plan: {error}") from error


class FilterModule:
    """The filter nim_benchmark_plan."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name -> function."""
        return {"nim_benchmark_plan": nim_benchmark_plan}
