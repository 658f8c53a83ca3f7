# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who asks, and whether they may: keys of simulated IAM users are checked, and their policies are evaluated.

The sandbox's own key stands for the account's owner and may do everything.
"""

from __future__ import annotations

from tests.sandbox.aws_access import simulate

__all__ = ["simulate"]
