# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One matrix on AWS, Azure and GCP, by real runs of the playbooks."""

from __future__ import annotations

import pytest

from tests.playbooks.studio import Studio

TARGETS = {"aws-us-east-1", "azure-eastus", "gcp-us-central1"}


@pytest.fixture
def clouds(studio: Studio) -> Studio:
    """Give a studio with a target in each cloud."""
    studio.use_three_clouds()
    return studio


def test_one_matrix_on_three_clouds(clouds: Studio) -> None:
    predicted = clouds.play("site", "--check", "--diff").ok()
    assert clouds.writes() == 0
    first = clouds.play("site", "--diff").ok()
    assert first.changed == predicted.changed
    assert set(clouds.play("site").ok().changed.values()) == {0}
    for node in ("FLUX Dev", "Llama 3.1"):
        endpoints = clouds.config("ws-01")["nim_endpoints"][node]
        assert set(endpoints) == {"aws", "azure", "gcp"}
        assert {entry["target"] for entries in endpoints.values() for entry in entries} == TARGETS
    clouds.play("start", "-e", "nim_nodes=['FLUX Dev']").ok()
    status = clouds.play("status").ok().messages
    assert "FLUX Dev aws-us-east-1 l40s running" in status
    assert "FLUX Dev azure-eastus a100-80gb running" in status
    assert "FLUX Dev gcp-us-central1 a100-80gb running" in status
    assert status.count(" stopped") >= 3
    clouds.play("stop", "--limit", "azure").ok()
    status = clouds.play("status").ok().messages
    assert "FLUX Dev azure-eastus a100-80gb stopped" in status
    assert "FLUX Dev gcp-us-central1 a100-80gb running" in status
    clouds.play("teardown", "-e", "confirm=true").ok()
    left = clouds.control.resources()
    assert [names for cloud in ("azure", "gcp") for names in left.get(cloud, {}).values() if names] == []
    clouds.play("workstations").ok()
    assert clouds.config("ws-02")["nim_endpoints"] == {}


def test_clouds_that_cannot_be_entered_stop_nobody_else(clouds: Studio) -> None:
    clouds.targets["azure-eastus"]["secret"] = "wrong-Zr81CaNaRy-secret"
    clouds.targets["gcp-us-central1"]["service_account_file"] = "/nowhere/key.json"
    run = clouds.play("site")
    assert run.code != 0
    assert sorted(run.failed) == ["azure-eastus", "gcp-us-central1"]
    last_play = run.messages.rpartition("PLAY [Tell which targets failed]")[2]
    assert "AADSTS7000215" in last_play
    assert "/nowhere/key.json" in last_play
    assert "wrong-Zr81CaNaRy-secret" not in run.printed
    endpoints = clouds.config("ws-01")["nim_endpoints"]["FLUX Dev"]
    assert {entry["target"] for entries in endpoints.values() for entry in entries} == {"aws-us-east-1"}


@pytest.mark.parametrize(
    ("target", "creation"), [("azure", "ManagedClusters_CreateOrUpdate"), ("gcp", "CreateCluster")]
)
def test_a_run_that_is_killed_while_it_makes_the_cluster_is_finished_by_the_next(
    clouds: Studio, target: str, creation: str
) -> None:
    clouds.targets = {name: options for name, options in clouds.targets.items() if name.startswith(target)}
    clouds.control.defaults(cluster_seconds=2.0)
    clouds.play_and_kill("deploy", creation)
    clouds.play("deploy").ok()
    assert clouds.control.count(action=creation) == 1
    assert clouds.files_with("CaNaRyngc") == []
    assert set(clouds.play("deploy").ok().changed.values()) == {0}


def test_a_cluster_that_is_switched_off_is_no_failure_and_keeps_what_is_published(clouds: Studio) -> None:
    clouds.targets = {"azure-eastus": {**clouds.targets["azure-eastus"], "stop_cluster": True}}
    clouds.play("site").ok()
    clouds.play("start", "-e", "nim_nodes=['FLUX Dev']").ok()
    published = clouds.export()["nim_endpoints"]
    clouds.play("stop").ok()
    status = clouds.play("status").ok().messages
    assert "azure-eastus" in status
    assert "asleep" in status
    assert set(clouds.play("stop").ok().changed.values()) == {0}
    assert set(clouds.play("workstations").ok().changed.values()) == {0}
    assert clouds.export()["nim_endpoints"] == published
    clouds.play("start", "-e", "nim_nodes=['FLUX Dev']").ok()
    assert "FLUX Dev azure-eastus a100-80gb running" in clouds.play("status").ok().messages
