# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The number of calls stays within the bars of the design."""

from __future__ import annotations

import pytest

from tests.benchmarks.cluster_calls import first_deploy, no_change
from tests.clusters.cluster import Cluster

NO_CHANGE = {"azure": (10, 2), "gcp": (9, 1)}
"""Calls and tokens of a run that has nothing to do."""


@pytest.mark.parametrize("running", [0, 2])
@pytest.mark.parametrize("count", [1, 10])
def test_nothing_to_do(cluster: Cluster, count: int, running: int) -> None:
    calls, tokens = no_change(cluster, count, min(running, count))
    assert calls <= NO_CHANGE[cluster.cloud][0]
    assert tokens <= NO_CHANGE[cluster.cloud][1]


def test_the_number_of_calls_does_not_grow_with_the_nims(cluster: Cluster) -> None:
    assert no_change(cluster, 1, 0) == no_change(cluster, 10, 0)


@pytest.mark.parametrize("count", [1, 3])
def test_a_first_deploy_writes_four_objects_for_each_nim(cluster: Cluster, count: int) -> None:
    assert first_deploy(cluster, count).kube_writes == 7 + (cluster.cloud == "azure") + 1 + 4 * count
