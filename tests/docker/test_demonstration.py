# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The engine of the demonstration: it has the images that it was asked for, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.docker import engine as engines
from tests.sandbox.client import read_environment
from tests.tools import layout

IMAGE = "nim/meta/llama-3.1-8b-instruct:1.15.5"


def docker(host: str, *words: str) -> str:
    """Call docker and return what it says."""
    done = subprocess.run(["docker", "--host", host, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_engine_lives_as_long_as_the_sandbox(tmp_path: Path) -> None:
    reason = engines.missing()
    if reason:
        pytest.skip(reason)
    sandbox, env = tmp_path / "env", tmp_path / "docker-env"
    sandbox.touch()
    words = ["--env", str(env), "--while-exists", str(sandbox), "--image", IMAGE]
    process = subprocess.Popen([sys.executable, "-m", "tests.docker", *words], cwd=layout.ROOT)
    try:
        while not env.exists():
            assert process.poll() is None, "it ended by itself"
            time.sleep(0.1)
        variables = read_environment(env)
        host = variables["DEMO_DOCKER_HOST"]
        images = docker(host, "image", "ls", "--format={{.Repository}}:{{.Tag}}")
        assert images == f"{variables['DEMO_REGISTRY']}/{IMAGE}"
        form = '{{index .Options "com.docker.network.bridge.name"}}'
        bridge = docker(host, "network", "inspect", "bridge", f"--format={form}")
        assert Path("/sys/class/net", bridge).exists()
        assert env.stat().st_mode & 0o777 == 0o600
        sandbox.unlink()
        assert process.wait(timeout=60) == 0
    finally:
        process.terminate()
        process.wait(timeout=60)
    assert not env.exists()
    assert not Path(host.removeprefix("unix://")).parent.exists()
    assert not Path("/sys/class/net", bridge).exists()
