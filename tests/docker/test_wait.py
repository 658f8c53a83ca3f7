# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waiting for NIMs on a real Docker engine, over the host's own connection."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.docker.engine import NGC_KEY, Engine
from tests.docker.studio import NAME, Studio


def started(studio: Studio, **env: str) -> None:
    """Switch the NIM on without waiting for it."""
    result = studio.deploy({"state": "started", "env": env}, wait=False)
    assert not result.get("failed"), result
    studio.printed = ""


@pytest.fixture
def calls(studio: Studio, tmp_path: Path) -> Path:
    """Have each call of docker written down; return the file."""
    noted, command = tmp_path / "calls", tmp_path / "docker"
    command.write_text(f'#!/bin/sh\necho "$1 $2" >> {noted}\nexec docker "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    studio.docker_command = str(command)
    return noted


def test_a_person_sees_the_model_load_and_each_look_is_two_calls(studio: Studio, engine: Engine, calls: Path) -> None:
    started(studio, STAND_IN_SECONDS="600")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(studio.wait, NAME)
        while not waiting.done() and len(looks_in(calls)) < 3:
            time.sleep(0.05)
        engine.docker("exec", NAME, "sh", "-c", "echo ready > /tmp/www/v1/health/ready")
        waited = waiting.result()
    assert (waited["failures"], [item["name"] for item in waited["ready"]]) == ({}, [NAME])
    lines = re.findall(r"^\d+:\d\d  (.*)$", studio.printed, re.MULTILINE)
    assert lines == [f"{NAME} on gpu-box: loading model", f"{NAME} on gpu-box: ready"]
    assert set(looks_in(calls)) == {("ps --all", "container inspect")}


def looks_in(calls: Path) -> list[tuple[str, ...]]:
    """Return the calls of docker, in groups that begin with a list of the containers."""
    text = calls.read_text(encoding="utf-8") if calls.exists() else ""
    return [("ps --all", *look.split("\n")[1:-1]) for look in text.split("ps --all")[1:]]


def test_one_that_cannot_start_ends_the_wait_with_its_last_words(studio: Studio) -> None:
    started(studio, STAND_IN_CRASH="1")
    waited = studio.wait(NAME, fail=False)
    assert "its last words: cannot load the model with ********" in waited["failures"]["gpu-box"]
    assert f"{NAME} on gpu-box: failed: it ended" in studio.printed
    assert NGC_KEY not in studio.printed


def test_a_host_that_cannot_be_read_is_tried_again(studio: Studio, engine: Engine, tmp_path: Path) -> None:
    started(studio)
    command = tmp_path / "docker"
    command.write_text(f'#!/bin/sh\n[ -e {tmp_path}/once ] || {{ > {tmp_path}/once; exit 1; }}\nexec docker "$@"\n')
    command.chmod(0o755)
    studio.docker_command = str(command)
    assert studio.wait(NAME)["failures"] == {}
    assert "gpu-box cannot be read now and is tried again: The target cannot be read." in studio.printed
    assert "gpu-box can be read again" in studio.printed
