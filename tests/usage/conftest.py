# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The logs of gateways in the three clouds, read by the module: every test starts with empty clouds."""

from __future__ import annotations

import pytest

from tests.sandbox import Sandbox
from tests.usage.logs import CLOUDS, Logs


@pytest.fixture(params=CLOUDS)
def logs(
    request: pytest.FixtureRequest,
    running_sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Logs:
    """Give the log of one cloud's gateway, one cloud after the other."""
    running_sandbox.control.reset()
    for name, value in running_sandbox.env.items():
        monkeypatch.setenv(name, value)
    return CLOUDS[request.param](running_sandbox, monkeypatch, capsys)
