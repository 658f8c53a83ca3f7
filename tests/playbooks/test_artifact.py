# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ansible-galaxy builds works without this checkout."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

from tests.playbooks.studio import BIN, Studio
from tests.tools import layout

NEEDED = {"inventory", "plugins", "policies", "roles", "playbooks", "meta"}
UNWANTED = {"tests", ".cache", ".venv", ".sandbox", ".git"}
EXAMPLE = layout.ROOT / "inventory" / "studio"


def test_the_artifact_installs_and_runs_elsewhere(studio: Studio) -> None:
    archive = _build(studio.folder)
    with tarfile.open(archive) as content:
        top = {name.split("/")[0] for name in content.getnames()}
    assert top >= NEEDED
    assert not top & UNWANTED
    collections = studio.folder / "collections"
    _galaxy(studio, "install", str(archive), "-p", str(collections), "--offline")
    installed = collections / layout.COLLECTION / "inventory"
    assert [path.name for path in installed.iterdir()] == [EXAMPLE.name]
    assert _files(installed / EXAMPLE.name) == _files(EXAMPLE)
    settings = shutil.copy(layout.ANSIBLE_CFG, studio.folder)
    environment = {**studio.environment(collections), "ANSIBLE_CONFIG": str(settings)}
    first = studio.play("site", environment=environment).ok()
    assert first.changed["ws-01"] == 1
    second = studio.play("site", environment=environment).ok()
    assert set(second.changed.values()) == {0}
    assert str(layout.ROOT) not in studio.play("status", "-vvv", environment=environment).ok().printed.replace(
        str(BIN.parent), ""
    )


def _files(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _build(folder: Path) -> Path:
    """Build the archive from a copy of the project's files."""
    source = layout.copy(folder / "source")
    command = [str(BIN / "ansible-galaxy"), "collection", "build", str(source), "--output-path", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    (archive,) = folder.glob("budgetguard-techops-*.tar.gz")
    return archive


def _galaxy(studio: Studio, *arguments: str) -> None:
    command = [str(BIN / "ansible-galaxy"), "collection", *arguments]
    subprocess.run(
        command, check=True, capture_output=True, env=studio.environment(studio.folder / "none"), cwd=studio.folder
    )
