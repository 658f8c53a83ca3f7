# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every Molecule scenario, from create to destroy. A new folder in extensions/molecule is found by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import typing as t
from pathlib import Path

import pytest

from tests.molecule import workstations
from tests.tools import layout

SCENARIOS = sorted(path.parent.name for path in (layout.ROOT / "extensions" / "molecule").glob("*/molecule.yml"))
MOLECULE = Path(sys.executable).with_name("molecule")


@pytest.fixture
def home() -> t.Iterator[Path]:
    """Return a folder for Molecule's state. Its path must be short, for the sockets of ssh."""
    with tempfile.TemporaryDirectory(prefix="bg-", ignore_cleanup_errors=True) as name:
        yield Path(name)
        workstations.stop(Path(name) / "m" / "sshd")  # Molecule does not come to its destroy if a cleanup fails.


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str, home: Path) -> None:
    """It passes with every one of its steps, and leaves no process behind."""
    if not shutil.which("sshd", path="/usr/sbin:/sbin:/usr/local/sbin"):
        pytest.skip("sshd is not on this machine; on Debian it comes with openssh-server")
    done = subprocess.run(
        [str(MOLECULE), "test", "--scenario-name", scenario],
        cwd=layout.ROOT,
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert processes(home) == []


def environment(home: Path) -> dict[str, str]:
    """Return the variables for Molecule, with all that it remembers below one folder."""
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(MOLECULE.parent), os.environ["PATH"]]),
        "HOME": str(home),
        "ANSIBLE_HOME": str(home / "a"),
        "ANSIBLE_LOCAL_TEMP": str(home / "t"),
        "ANSIBLE_COLLECTIONS_PATH": str(layout.LINKS),
        "MOLECULE_EPHEMERAL_DIRECTORY": str(home / "m"),
        "NO_COLOR": "1",
    }


def processes(folder: Path) -> list[bytes]:
    """Return the command lines that name something in the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if str(folder).encode() in words:
            found.append(words.replace(b"\0", b" "))
    return found
