# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog, _matrix


def nim_wanted(
    matrix: t.Any,
    target: str,
    groups: t.Any,
    nodes: t.Any = None,
    state: str = "present",
    catalog: t.Any = None,
    default_tier: str | None = None,
) -> list[dict[str, t.Any]]:
    """Return the deployments that a target should have."""
    try:
        return _matrix.select(matrix, target, groups, _catalog.load(catalog), nodes, state, default_tier).wanted
    except (_catalog.CatalogError, _matrix.MatrixError) as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter nim_wanted."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name -> function."""
        return {"nim_wanted": nim_wanted}
