# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils import _artists


def provider_endpoints(targets: t.Any, published: t.Any = None) -> dict[str, dict[str, t.Any]]:
    """Return one endpoint per provider."""
    try:
        return _artists.provider_endpoints(targets, published)
    except _artists.ArtistsError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter provider_endpoints."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name -> function."""
        return {"provider_endpoints": provider_endpoints}
