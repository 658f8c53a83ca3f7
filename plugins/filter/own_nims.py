# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils import _artists, _catalog


def own_nims(document: t.Any, name: str, deployments: t.Any, catalog: t.Any = None) -> dict[str, t.Any]:
    """Return the artists' document with the NIMs of one workstation in it."""
    try:
        return _artists.with_own_nims(document, name, deployments, _catalog.load(catalog))
    except (_catalog.CatalogError, _artists.ArtistsError) as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter own_nims."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name -> function."""
        return {"own_nims": own_nims}
