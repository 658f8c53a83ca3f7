# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog


def nim_node_names(catalog: t.Any) -> list[str]:
    """Return the names of all nodes, sorted."""
    try:
        return sorted(_catalog.load(catalog))
    except _catalog.CatalogError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter nim_node_names."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name -> function."""
        return {"nim_node_names": nim_node_names}
