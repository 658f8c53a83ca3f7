# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real runs of the collection's playbooks against the sandbox."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.playbooks.studio import Studio
from tests.sandbox import Sandbox


@pytest.fixture
def studio(running_sandbox: Sandbox, tmp_path: Path) -> Studio:
    """Give a new studio with an empty account."""
    running_sandbox.control.reset()
    return Studio(tmp_path, running_sandbox)
