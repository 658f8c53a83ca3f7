# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The AWS provider against the sandbox: emptied before each."""

from __future__ import annotations

import pytest

from tests.aws.account import Account
from tests.aws.artist import Artist
from tests.sandbox import Sandbox


@pytest.fixture
def account(running_sandbox: Sandbox) -> Account:
    """Give an empty AWS account."""
    running_sandbox.control.reset()
    return Account(running_sandbox)


@pytest.fixture
def artist(running_sandbox: Sandbox) -> Artist:
    """Give the identity of a workstation in an empty AWS account."""
    running_sandbox.control.reset()
    return Artist(running_sandbox)
