# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The execution environment: what ansible-builder makes of the starter project and of the collection."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from tests.awx.jobs import BIN
from tests.tools import layout

PROJECT = layout.ROOT / "roles" / "awx" / "files" / "project"


def build(*arguments: str, folder: Path) -> str:
    """Run ansible-builder and return what it printed."""
    command = [str(BIN / "ansible-builder"), *arguments]
    done = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_starter_project_gives_a_context_to_build(tmp_path: Path) -> None:
    build("create", "-f", str(PROJECT / "execution-environment.yml"), "-c", str(tmp_path / "context"), folder=tmp_path)
    recipe = (tmp_path / "context" / "Containerfile").read_text()
    assert "ansible-core>=2.20,<2.22" in recipe
    assert "python3.12" in recipe
    collections = yaml.safe_load((tmp_path / "context" / "_build" / "requirements.yml").read_text())["collections"]
    about = yaml.safe_load((layout.ROOT / "galaxy.yml").read_text())
    (ours,) = (one for one in collections if one["name"] == f"{about['namespace']}.{about['name']}")
    assert ours["version"] == f">={about['version']},<2.0.0"


def test_the_collection_says_what_it_needs(tmp_path: Path) -> None:
    needs = yaml.safe_load(build("introspect", str(layout.LINKS), folder=tmp_path))
    wanted = (layout.ROOT / "requirements.txt").read_text().splitlines()
    libraries = {line for line in wanted if line and not line.startswith("#")}
    assert {line.partition("  #")[0] for line in needs["python"]} == libraries
    programs = [line for line in needs["system"] if "budgetguard.techops" in line]
    assert [line.split()[0] for line in programs] == ["openssh-client", "openssh-clients"]
