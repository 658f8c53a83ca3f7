# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An organisation at NVIDIA beside a cloud, and keys that are looked at before anything is created."""

from __future__ import annotations

from tests.playbooks.studio import Studio


def test_hosted_models_and_functions_stand_beside_a_cloud(studio: Studio) -> None:
    studio.use_nvidia()
    predicted = studio.play("site", "--check", "--diff").ok().changed["nvidia-studio"]
    assert studio.writes() == 0
    assert studio.play("site").ok().changed["nvidia-studio"] == predicted == 1
    assert studio.control.resources("nvidia") == {
        "functions": ["nim-flux-dev-l40s"],
        "versions": ["nim-flux-dev-l40s"],
        "deployments": [],
    }
    assert set(studio.play("site").ok().changed.values()) == {0}

    studio.play("start", "-e", "nim_nodes=['FLUX Dev']", "--limit", "nvidia-studio").ok()
    status = studio.play("status").ok().messages
    assert "FLUX Dev nvidia-studio l40s running" in status
    endpoints = studio.export()["nim_endpoints"]
    assert endpoints["SDXL"]["nvidia-hosted"][0]["url"].startswith("https://ai.api.nvidia.com/")
    assert endpoints["FLUX Dev"]["nvidia-hosted"][0]["url"].startswith("https://")
    assert studio.config("ws-01")["nim_endpoints"]["SDXL"] == endpoints["SDXL"]

    studio.play("stop").ok()
    assert studio.control.resources("nvidia")["deployments"] == []
    studio.play("teardown", "-e", "confirm=true").ok()
    assert studio.control.resources("nvidia") == {}


def test_keys_that_are_not_good_enough_stop_the_run_before_anything_is_created(studio: Studio) -> None:
    """What else can be wrong with a key is told in the same way: tests/unit/registry/test_nim_key_info.py."""
    keys = {"STUDIO_NGC_API_KEY": "nvapi-nopull-81Zr0QmTvX3bWqx", "STUDIO_HF_TOKEN": "hf_nolicence81Zr0QmTvX3"}
    run = studio.play("deploy", environment={**studio.environment(), **keys})
    assert run.failed == ["aws-us-east-1"]
    told = run.messages.rpartition("PLAY [Tell which targets failed]")[2]
    assert "Nothing was changed." in told
    assert "\\n" not in told
    assert "no right to pull" in told
    assert "its licence is not accepted" in told
    assert studio.writes() == 0


def test_a_tag_that_is_not_there_stops_the_run_before_anything_is_created(studio: Studio) -> None:
    studio.matrix["FLUX Dev"]["aws"]["tag"] = "9.9.9"
    run = studio.play("deploy")
    assert run.failed == ["aws-us-east-1"]
    assert "flux.1-dev:9.9.9" in run.messages.rpartition("PLAY [Tell which targets failed]")[2]
    assert studio.writes() == 0


def test_hosted_models_need_neither_the_right_to_pull_nor_licences(studio: Studio) -> None:
    studio.targets = {"nvidia-studio": {}}
    studio.matrix = {"FLUX Dev": {"nvidia": "present"}}
    keys = {"STUDIO_NGC_API_KEY": "nvapi-nopull-81Zr0QmTvX3bWqx", "STUDIO_HF_TOKEN": "hf_nolicence81Zr0QmTvX3"}
    studio.play("deploy", environment={**studio.environment(), **keys}).ok()
    assert "nvidia-hosted" in studio.export()["nim_endpoints"]["FLUX Dev"]
