# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The AWS provider against the sandbox: emptied before each."""

from __future__ import annotations

import time

import pytest

from tests.aws.account import Account
from tests.aws.artist import Artist
from tests.sandbox import Sandbox

LONGEST_PAUSE = 0.02
"""Seconds that a test waits where the module waits for AWS, which here has made up its mind already."""


@pytest.fixture
def account(running_sandbox: Sandbox) -> Account:
    """Give an empty AWS account."""
    running_sandbox.control.reset()
    return Account(running_sandbox)


@pytest.fixture
def artist(running_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Artist:
    """Give the identity of a workstation in an empty AWS account. Pauses between tries are cut short."""
    pause = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: pause(min(seconds, LONGEST_PAUSE)))
    running_sandbox.control.reset()
    return Artist(running_sandbox)
