# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One organisation for all tests here, emptied before each."""

from __future__ import annotations

import os
import typing as t
from collections.abc import Iterator

import pytest

from tests.unit.nvidia.organisation import Organisation


@pytest.fixture(scope="session")
def running_organisation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Organisation]:
    """Start the servers."""
    found = Organisation(tmp_path_factory.mktemp("nvidia"))
    yield found
    found.close()


@pytest.fixture
def org(running_organisation: Organisation, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Organisation]:
    """Give an empty organisation, and the environment that leads to its other hosts."""
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, running_organisation.proxy_url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    assert not os.environ.get("NVIDIA_API_KEY")
    running_organisation.reset()
    yield running_organisation
    running_organisation.reset()
