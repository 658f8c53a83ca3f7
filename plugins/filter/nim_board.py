# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils import _board, _catalog, _matrix


def nim_board(
    targets: t.Any,
    groups: t.Any,
    generated_at: str,
    matrix: t.Any = None,
    catalog: t.Any = None,
    prices: t.Any = None,
    currency: str = "USD",
    problems: t.Any = None,
    document: t.Any = None,
    by_provider: t.Any = None,
    runs: t.Any = None,
    tiers: t.Any = None,
    inventory: t.Any = None,
) -> dict[str, t.Any]:
    """Return the tabs of the board, counts and lines."""
    try:
        return _board.board(
            targets,
            matrix=matrix,
            groups=groups,
            catalog=_catalog.load(catalog),
            generated_at=generated_at,
            prices=prices or (),
            currency=currency,
            problems=problems or (),
            document=document,
            by_provider=by_provider,
            runs=runs or (),
            tiers=tiers,
            inventory=inventory or (),
        )
    except (_catalog.CatalogError, _matrix.MatrixError, _board.BoardError) as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter nim_board."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name -> function."""
        return {"nim_board": nim_board}
