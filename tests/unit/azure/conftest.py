# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandbox's Azure: emptied before each test."""

from __future__ import annotations

import pytest

from tests.sandbox import Sandbox
from tests.unit.azure.subscription import Subscription

LED_BY = ("AZURE_AUTHORITY_HOST", "REQUESTS_CA_BUNDLE", "NO_PROXY", "no_proxy")
"""Variables that have no option: where to log in, which certificates to trust, what not to ask a proxy for."""


@pytest.fixture
def subscription(running_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Subscription:
    """Give an empty subscription."""
    running_sandbox.control.reset()
    for name in LED_BY:
        monkeypatch.setenv(name, running_sandbox.env[name])
    return Subscription(running_sandbox)
