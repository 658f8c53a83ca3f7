# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils import _artists, _catalog


def artists_config(
    targets: t.Any,
    generated_at: str,
    published: t.Any = None,
    credentials_status: t.Any = None,
    catalog: t.Any = None,
    prices: t.Any = None,
    measured: t.Any = None,
) -> dict[str, t.Any]:
    """Return the artists' document."""
    try:
        return _artists.artists_config(
            targets,
            published,
            generated_at=generated_at,
            catalog=_catalog.load(catalog),
            credentials_status=credentials_status,
            prices=prices,
            measured=measured,
        )
    except (_catalog.CatalogError, _artists.ArtistsError) as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter artists_config."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name -> function."""
        return {"artists_config": artists_config}
