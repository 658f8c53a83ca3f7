# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils import _health_report


def nim_health(targets: t.Any, endpoints: t.Any, certificate_days: int = 21) -> dict[str, t.Any]:
    """Return what is wrong, for people, for programs and for Prometheus."""
    now = datetime.datetime.now(datetime.timezone.utc)
    try:
        return _health_report.report(targets, endpoints, now=now, certificate_days=int(certificate_days))
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter nim_health."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name -> function."""
        return {"nim_health": nim_health}
