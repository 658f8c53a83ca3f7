# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils import _benchmark_report


def nim_request_cost(
    stored: t.Any,
    prices: t.Any,
    node: str,
    steps: int | None = None,
    width: int | None = None,
    height: int | None = None,
    tokens: int = 1000,
) -> list[dict[str, t.Any]]:
    """Return what a request will take and cost on each NIM that was measured."""
    try:
        return _benchmark_report.request_costs(
            stored, prices, node=node, steps=steps, width=width, height=height, tokens=tokens
        )
    except ValueError as error:
        raise AnsibleFilterError(f"budgetguard.techops.nim_request_cost: {error}") from error


class FilterModule:
    """The filter nim_request_cost."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name -> function."""
        return {"nim_request_cost": nim_request_cost}
