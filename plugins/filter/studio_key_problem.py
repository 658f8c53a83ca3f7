# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter budgetguard.techops.studio_key_problem. Documentation: studio_key_problem.yml."""

from __future__ import annotations

import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._envelope import missing_library, studio_key_weakness


def studio_key_problem(studio_key: object) -> str:
    """Return why this studio key cannot be used, or an empty text. The key itself is never in it."""
    if studio_key is None or isinstance(studio_key, (dict, list, bool, int, float)):
        return studio_key_weakness("") or ""
    return studio_key_weakness(str(studio_key)) or missing_library() or ""


class FilterModule:
    """Lists the filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filter by its name."""
        return {"studio_key_problem": studio_key_problem}
