# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils import _looks


def nim_looks(endpoints: t.Any, stored: t.Any = None, now: float | None = None) -> dict[str, t.Any]:
    """Return the looks at NIMs to keep, the present one among them."""
    problem = None
    try:
        before = _looks.parse(stored)
    except _looks.LooksError as exc:
        # What was kept is no more than looks at NIMs, so a broken file costs some time and stops nobody.
        before, problem = [], str(exc)
    try:
        found = _looks.seen(before, endpoints, time.time() if now is None else now)
    except (KeyError, TypeError, AttributeError) as exc:
        raise AnsibleFilterError(f"budgetguard.techops.nim_looks: endpoints: {exc}") from exc
    return {"version": _looks.VERSION, "looks": found, "problem": problem}


class FilterModule:
    """The filter nim_looks."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return name -> function."""
        return {"nim_looks": nim_looks}
