# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils import _price_report


def nim_prices(result: t.Any) -> dict[str, t.Any]:
    """Return what nim_price_info tells as a table and a file."""
    try:
        return _price_report.told(result)
    except (_price_report.PriceReportError, KeyError, TypeError) as exc:
        raise AnsibleFilterError(f"budgetguard.techops.nim_prices: {exc}") from exc


class FilterModule:
    """The filter nim_prices."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name -> function."""
        return {"nim_prices": nim_prices}
