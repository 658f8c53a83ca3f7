# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Virtual environments with the oldest and the newest ansible-core that the collection supports.

``python -m tests.tools.ansible_versions`` makes both and prints where they are. They live below ``.cache`` and are
made anew when their requirements change.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from tests.tools import layout

__all__ = ["NEWEST", "OLDEST", "AnsibleVersion", "MissingPythonError", "bin_folder"]


class MissingPythonError(Exception):
    """None of the Python versions that would do is on this machine."""


@dataclasses.dataclass(frozen=True)
class AnsibleVersion:
    """An ansible-core to test with, and the Python versions that will do, best first."""

    name: str
    core: str
    pythons: tuple[str, ...]


OLDEST = AnsibleVersion("oldest", "ansible-core>=2.17,<2.18", ("3.10", "3.11", "3.12"))
NEWEST = AnsibleVersion("newest", "ansible-core>=2.21,<2.22", ("3.14", "3.13", "3.12"))


def bin_folder(version: AnsibleVersion) -> Path:
    """Return the folder that has this version's ``ansible-playbook`` and ``python``.

    Raises MissingPythonError if no Python on this machine can run it.
    """
    python = _find_python(version)
    folder = layout.CACHE / f"venv-{version.name}"
    requirements = f"{version.core}\n" + (layout.ROOT / "requirements.txt").read_text(encoding="utf-8")
    stamp = hashlib.sha256(f"{python}\n{requirements}".encode()).hexdigest()
    stamp_file = folder / "stamp"
    layout.CACHE.mkdir(exist_ok=True)
    with (layout.CACHE / f"venv-{version.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # Several test processes may ask at once.
        if not stamp_file.exists() or stamp_file.read_text(encoding="utf-8") != stamp:
            shutil.rmtree(folder, ignore_errors=True)
            _make(folder, python, requirements)
            stamp_file.write_text(stamp, encoding="utf-8")
    return folder / "bin"


def _find_python(version: AnsibleVersion) -> str:
    finder = layout.ROOT / "tests" / "tools" / "find_python.sh"
    answer = subprocess.run([str(finder), *version.pythons], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise MissingPythonError(f"{version.core} needs one of Python {', '.join(version.pythons)}; none was found.")
    return answer.stdout.strip()


def _make(folder: Path, python: str, requirements: str) -> None:
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    wanted = folder / "requirements.txt"
    wanted.write_text(requirements, encoding="utf-8")
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--requirement", str(wanted)], check=True)


if __name__ == "__main__":
    for wanted_version in (OLDEST, NEWEST):
        try:
            print(f"{wanted_version.name}: {bin_folder(wanted_version)}")
        except MissingPythonError as error:
            sys.exit(str(error))
