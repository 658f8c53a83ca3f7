# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils import _costs, _costs_report, _guard_policy


def nim_costs(
    spend: t.Any,
    targets: t.Any = (),
    prices: t.Any = None,
    usages: t.Any = (),
    budgets: t.Any = (),
    pace_days: int = 7,
    now: float | None = None,
) -> dict[str, t.Any]:
    """Return what NIMs have cost this month in all its forms."""
    try:
        read = _costs.Read(spend, targets or (), prices or {}, usages or (), budgets or (), int(pace_days))
        return _costs_report.told(read, time.time() if now is None else float(now))
    except (_costs.CostsError, _guard_policy.PolicyError, KeyError, TypeError, ValueError) as exc:
        raise AnsibleFilterError(f"budgetguard.techops.nim_costs: {exc}") from exc


class FilterModule:
    """The filter nim_costs."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name -> function."""
        return {"nim_costs": nim_costs}
