# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for NIMs on AKS and GKE: few calls, true words, and an early end for what cannot start."""

from __future__ import annotations

import itertools
import time

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._wait import Nim, Target, Waiter, phase
from tests.clusters.cluster import Cluster

NODE = "Llama 3.1"


def start(cluster: Cluster) -> str:
    """Switch a NIM on and return its name."""
    outcome = cluster.run({"node": NODE}, state="started", wait=False)
    assert (outcome.errors, outcome.target_error) == ({}, None)
    return next(iter(outcome.statuses))


def test_no_poll_makes_more_than_two_calls_and_the_phases_come_in_order(cluster: Cluster) -> None:
    cluster.control.defaults(startup_seconds=3)
    name = start(cluster)
    provider = cluster.provider()
    provider.progress([name])
    phases = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and "ready" not in phases:
        cluster.control.clear_calls()
        status = provider.progress([name])[name]
        assert len(cluster.calls()) <= 2, cluster.calls()
        phases.append(phase(status).words)
        time.sleep(0.05)
    seen = [words for words, _same in itertools.groupby(phases) if words != "starting"]
    assert seen[-3:] == ["pulling image", "loading model", "ready"]
    assert cluster.info()[name].state == "running"


@pytest.mark.parametrize(
    ("outcome", "said"), [("pull_refused", "the image cannot be pulled"), ("exits", "exited with")]
)
def test_what_cannot_start_ends_the_wait(cluster: Cluster, outcome: str, said: str) -> None:
    cluster.control.defaults(startup_seconds=0.5)
    cluster.run({"node": NODE})
    name = next(iter(cluster.info()))
    cluster.control.nim(name, outcome)
    start(cluster)
    target = Target(cluster.cloud, cluster.provider, [Nim(cluster.cloud, NODE, name, NODE)])
    lines: list[str] = []
    waiter = Waiter([target], timeout=60, interval=0.2, heartbeat=600, say=lines.append)
    waiter.run()
    assert said in waiter.problems()[cluster.cloud][0]
    assert waiter.elapsed < 60
    assert f"{NODE} on {cluster.cloud}: failed: " in lines[-1]
