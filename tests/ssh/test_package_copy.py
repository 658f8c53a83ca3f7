# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What others may have put where a package is, or goes to: everybody may make a folder of that name in /var/tmp."""

from __future__ import annotations

import shutil
import stat
import sys
import typing as t
from pathlib import Path

import pytest

from tests.ssh.playing import Outcome, Stage

pytestmark = pytest.mark.skipif(not shutil.which("rsync"), reason="rsync is not installed")
TASKS = [{"ansible.builtin.include_role": {"name": "budgetguard.techops.local_package", "tasks_from": "copy"}}]


def copied(tmp_path: Path, folder: Path, play: dict[str, t.Any] | None = None) -> Outcome:
    """Run the tasks that copy a package to this machine."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for name in ("nims.zip", "install.py"):
        (packages / name).write_text("content", encoding="utf-8")
    stage = tmp_path / "stage"
    stage.mkdir()
    host = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "local_package_path": str(packages / "nims.zip"),
        "local_package_folder": str(folder),
    }
    return Stage(stage, stage).play({"ws-1": host}, TASKS, play=play)


def test_a_package_is_copied(tmp_path: Path) -> None:
    folder = tmp_path / "copied"
    copied(tmp_path, folder).require_success()
    assert sorted(path.name for path in folder.iterdir()) == ["install.py", "nims.zip"]


def test_a_link_that_somebody_put_there_is_not_followed(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    folder = tmp_path / "copied"
    folder.symlink_to(private)
    outcome = copied(tmp_path, folder)
    assert "already exists as a link" in outcome.of("ws-1", "ansible.builtin.file")["msg"]
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert not list(private.iterdir())


def test_a_folder_of_somebody_else_gets_no_package(tmp_path: Path) -> None:
    """C(test) stands in for one that says so, because only root can give a folder away."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "test").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (programs / "test").chmod(0o755)
    folder = tmp_path / "copied"
    outcome = copied(tmp_path, folder, {"environment": {"PATH": f"{programs}:/usr/bin:/bin"}})
    assert outcome.of("ws-1", "ansible.builtin.command")["rc"] == 1
    assert not list(folder.iterdir())


def test_no_program_beside_the_package_is_run_on_the_controller(tmp_path: Path) -> None:
    (tmp_path / "nims.zip").write_text("no package", encoding="utf-8")
    planted = "import pathlib; pathlib.Path(__file__).with_name('was-run').touch()\n"
    (tmp_path / "install.py").write_text(planted, encoding="utf-8")
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    host["local_package_path"] = str(tmp_path / "nims.zip")
    tasks = [{"ansible.builtin.include_role": {"name": "budgetguard.techops.local_package"}}]
    outcome = Stage(tmp_path, tmp_path).play({"ws-1": host}, tasks)
    assert "is not a whole package" in outcome.of("ws-1", "ansible.builtin.command")["stdout"]
    assert not (tmp_path / "was-run").exists()
