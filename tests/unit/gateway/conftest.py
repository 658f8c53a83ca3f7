# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from tests.unit.gateway.tokens import Studio


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """Return keys that no test changes; making them takes a moment."""
    return Studio(tmp_path_factory.mktemp("studio"))


@pytest.fixture
def studio(keys: Studio) -> Studio:
    keys.deny({})
    return keys
