# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is told when something is wrong, by a real Docker engine and a real registry."""

from __future__ import annotations

import typing as t

import pytest

from tests.docker.engine import NGC_KEY, Engine
from tests.docker.studio import CATALOG, NAME, NODE, OTHER, OTHER_NAME, Studio


@pytest.mark.parametrize(
    ("deployment", "options", "told"),
    [
        ({}, {"registry_password": "nvapi-WrOnGkey-81Zr0QmTvX3"}, "The key is wrong or has expired"),
        ({"gpu_tier": "h100"}, {}, "the machine has 0 GPUs, 1 are needed"),
        ({}, {"nim_catalog": {NODE: {**CATALOG[NODE], "min_host_memory_gib": 9000}}}, "at least 9000 are needed"),
        ({}, {"docker_command": "/no/docker"}, "the program /no/docker is not on this host"),
        ({}, {"docker_host": "tcp://10.0.0.1:2375"}, "it must be the engine's socket on this host"),
        ({}, {"docker_host": "unix:///no/socket"}, "Start Docker on this host"),
        ({}, {"bind_address": "::"}, "or say allow_public: true"),
        ({"replicas": 2}, {}, "replicas is 2; on a Docker host"),
        ({"env": {"HF_TOKEN": "x"}}, {}, "HF_TOKEN is a secret"),
        ({}, {"registry": None, "registry_username": None, "registry_password": None, "ngc_api_key": None},
         "ngc_api_key is not set"),
    ],
)  # fmt: skip
def test_nothing_is_changed(
    studio: Studio, engine: Engine, deployment: dict[str, t.Any], options: dict[str, t.Any], told: str
) -> None:
    result = studio.deploy(deployment, **options)
    assert result["failed"]
    assert result["msg"].startswith("Nothing was changed. ")
    assert told in result["msg"]
    assert (engine.containers(), engine.images(), engine.volumes()) == (set(), set(), set())
    assert "WrOnG" not in studio.printed


def test_missing_tag_fails_its_own_nim_only(studio: Studio, engine: Engine) -> None:
    result = studio.deploy({"tag": "9.9"}, {"node": OTHER})
    assert set(result["failed_deployments"]) == {NAME}
    assert "The registry has no such tag" in result["failed_deployments"][NAME]
    assert engine.containers() == {OTHER_NAME}
    assert f"{NAME}-cache" not in engine.volumes()


def test_crashing_nim_is_told_with_its_last_words(studio: Studio, engine: Engine) -> None:
    result = studio.deploy({"state": "started", "env": {"STAND_IN_CRASH": "1"}})
    assert result["failed"]
    reason = result["failed_deployments"][NAME]
    assert "its last words: cannot load the model with ********" in reason
    assert NGC_KEY not in studio.printed
    only_one = studio.read()
    assert [item["state"] for item in only_one] == ["failed"]


def test_port_that_something_else_has(studio: Studio, engine: Engine) -> None:
    registry_port = int(engine.registry.rpartition(":")[2])
    result = studio.deploy({"state": "started"}, ports={NODE: registry_port})
    assert "Another program has the port; choose one with the option ports" in result["failed_deployments"][NAME]
    moved = studio.deploy({"state": "started"}, first_port=registry_port, ports={NODE: 18044})
    assert not moved.get("failed"), moved


def test_slow_start_says_what_it_waits_for(studio: Studio, engine: Engine) -> None:
    result = studio.deploy({"state": "started", "env": {"STAND_IN_SECONDS": "600"}}, wait_timeout=1)
    assert "not ready after 1 s; waiting for: it has loaded its model for 0 min" in result["failed_deployments"][NAME]
    (found,) = studio.read()
    assert (found["state"], found["replicas"], found["running"]) == ("starting", 1, 0)


def test_container_of_somebody_else_is_left_alone(studio: Studio, engine: Engine) -> None:
    studio.deploy({})
    image = engine.inspect(NAME)["Config"]["Image"]
    engine.docker("rm", NAME)
    engine.docker("create", f"--name={NAME}", "--entrypoint=sleep", image, "1")
    result = studio.deploy({})
    assert "was not made by this collection" in result["msg"]
    assert engine.containers() == {NAME}
