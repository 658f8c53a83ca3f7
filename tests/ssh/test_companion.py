# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The companion's role over a real sshd, from root to the artist."""

from __future__ import annotations

import os
import pwd
import typing as t
from pathlib import Path

import pytest

from tests.ssh.conftest import Sshd, User
from tests.ssh.playing import Stage, make_comfyui

ACTION = "budgetguard.techops.comfyui_companion"
ROLE = "budgetguard.techops.workstation_companion"
PATIENT = {"ANSIBLE_TIMEOUT": "120"}  # A busy machine takes its time to let root become the artist.
PYTHON = """#!/bin/sh
echo '{"library": true, "comfyui": true, "pip": false, "tag": "cpython-312", "version": [3, 12]}'
"""


@pytest.fixture
def base(artist: User) -> t.Iterator[Path]:
    """Return ComfyUI's base folder of the artist, with a Python that says of itself what ComfyUI's own would."""
    folder = make_comfyui(artist.home / "ComfyUI")
    (folder / "venv" / "bin").mkdir(parents=True)
    python = folder / "venv" / "bin" / "comfy-python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    yield artist.own(folder)
    for path in sorted(artist.home.rglob("*"), reverse=True):
        path.unlink() if path.is_symlink() or not path.is_dir() else path.rmdir()


def test_root_installs_as_the_owner_in_one_round_trip(stage: Stage, sshd: Sshd, artist: User, base: Path) -> None:
    """Finding the owner out is one more; nothing is written as root, and nothing into a folder of somebody else."""
    values = {"comfyui_path": str(base), "workstation_companion_python": str(base / "venv" / "bin" / "comfy-python")}
    tasks = [{"ansible.builtin.include_role": {"name": ROLE}}]
    counts = []
    for user in ("", artist.name):
        before = sshd.sessions()
        hosts = {"ws-1": {**sshd.host("root"), **values, "workstation_companion_user": user}}
        done = stage.play(hosts, tasks, environment=PATIENT).require_success()
        counts.append((done.of("ws-1", ACTION)["changed"], sshd.sessions() - before))
    assert counts == [(True, 2), (False, 1)]
    files = [path for path in (base / "custom_nodes").rglob("*") if path.is_file()]
    assert len(files) > 10
    assert {pwd.getpwuid(path.stat().st_uid).pw_name for path in (base / "custom_nodes", *files)} == {artist.name}
    os.chown(base / "custom_nodes", 0, 0)
    hosts = {"ws-1": {**sshd.host("root"), **values, "workstation_companion_user": artist.name}}
    failed = stage.play(hosts, tasks, environment=PATIENT).of("ws-1", ACTION)
    assert "belongs to the user with the id 0, not to the owner of ComfyUI's folder" in failed["msg"]
