# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils import _guard_policy, _guard_report


def nim_guard(
    targets: t.Any,
    usages: t.Any,
    policies: t.Mapping[str, t.Mapping[str, t.Any]],
    prices: t.Any = (),
    spend: t.Any = None,
    endpoints: t.Any = (),
    only: t.Any = None,
    now: float | None = None,
    looks: t.Any = None,
) -> dict[str, t.Any]:
    """Say which NIMs to switch off."""
    read = _guard_report.Read(targets, usages, policies, endpoints or (), prices or (), spend or None, only, looks)
    try:
        return _guard_report.told(read, time.time() if now is None else now)
    except (_guard_report.GuardError, _guard_policy.PolicyError, KeyError, TypeError) as exc:
        raise AnsibleFilterError(f"budgetguard.techops.nim_guard: {exc}") from exc


class FilterModule:
    """The filter nim_guard."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name -> function."""
        return {"nim_guard": nim_guard}
