# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An empty sandbox, and the variables that lead price APIs into it."""

from __future__ import annotations

import pytest

from tests.sandbox import Sandbox, SandboxControl


@pytest.fixture
def control(running_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> SandboxControl:
    """Give the control API of an empty sandbox, to which the environment leads."""
    running_sandbox.control.reset()
    for name, value in running_sandbox.env.items():
        monkeypatch.setenv(name, value)
    return running_sandbox.control
