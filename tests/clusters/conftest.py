# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AKS and GKE against the sandbox: every test runs on both, each time in an empty cloud."""

from __future__ import annotations

import pytest

from tests.clusters.cluster import CLOUDS, Cluster
from tests.sandbox import Sandbox


@pytest.fixture(params=CLOUDS)
def cluster(request: pytest.FixtureRequest, running_sandbox: Sandbox) -> Cluster:
    """Give an empty cloud."""
    running_sandbox.control.reset()
    return Cluster(running_sandbox, request.param)
