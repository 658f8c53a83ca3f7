# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils import _audit, _audit_report


def workstation_audit(
    looks: t.Any,
    previous: t.Any = None,
    fail_on: t.Any = (_audit.PROBLEM,),
    ignore: t.Any = (),
    refused: t.Any = None,
    notes: t.Any = (),
    disk_free_gib: float = 20,
    max_age_days: float = 0,
    expires_days: float = 14,
    clock_seconds: float = 120,
) -> dict[str, t.Any]:
    """Return what is wrong with which workstation, in all forms."""
    try:
        limits = _audit.Limits(float(disk_free_gib), float(max_age_days), float(expires_days), float(clock_seconds))
        now = datetime.datetime.now(datetime.timezone.utc)
        return _audit_report.audit(
            looks,
            now=now,
            limits=limits,
            fail_on=fail_on,
            ignore=ignore,
            previous=previous,
            refused=refused,
            notes=notes,
        )
    except (TypeError, ValueError) as error:
        raise AnsibleFilterError(f"budgetguard.techops.workstation_audit: {error}") from error


class FilterModule:
    """The filter workstation_audit."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name -> function."""
        return {"workstation_audit": workstation_audit}
