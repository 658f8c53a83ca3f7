# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The number of calls stays within the bars of the design."""

from __future__ import annotations

import pytest

from tests.aws.account import Account
from tests.benchmarks.aws_calls import first_deploy, no_change


@pytest.mark.parametrize("count", [1, 3, 10])
def test_a_first_deploy(account: Account, count: int) -> None:
    assert first_deploy(account, count) <= 36 + 8 * count


@pytest.mark.parametrize("running", [0, 4])
def test_nothing_to_do(account: Account, running: int) -> None:
    assert no_change(account, 10, running) <= 16 + running


def test_the_number_of_reads_does_not_grow_with_the_nims(account: Account) -> None:
    assert no_change(account, 1, 0) == no_change(account, 10, 0)
