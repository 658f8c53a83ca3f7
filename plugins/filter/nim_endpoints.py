# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils import _health_report


def nim_endpoints(targets: t.Any) -> list[dict[str, t.Any]]:
    """Return the endpoints of all NIMs that are not switched off."""
    try:
        return _health_report.endpoints(targets)
    except _health_report.HealthError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter nim_endpoints."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name -> function."""
        return {"nim_endpoints": nim_endpoints}
