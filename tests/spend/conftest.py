# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An empty sandbox, and the variables that lead into it, as for prices."""

from __future__ import annotations

from tests.prices.conftest import control

__all__ = ["control"]
