# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sandbox that stands in for the clouds: one loopback process, started with ``python -m tests.sandbox``.

Tests use `Sandbox`, which starts that process and always stops it again.
"""

from __future__ import annotations

from tests.sandbox.client import ControlError, Sandbox, SandboxControl, SandboxStartError

__all__ = ["ControlError", "Sandbox", "SandboxControl", "SandboxStartError"]
