# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Virtual environments beside ``.venv``, for what does not fit into it.

The oldest and the newest ansible-core that the collection supports, for tests of playbooks; Galaxy's importer, whose
pins clash with those of other gates; and Sphinx with what makes the documentation site. Each is made on first use below
``.cache``, and made anew when its Python or its requirements change. ``python -m tests.tools.venvs`` makes all and
prints where they are.
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

__all__ = ["DOCS", "GALAXY", "NEWEST_CORE", "OLDEST_CORE", "MissingPythonError", "Venv", "bin_folder", "find_python"]


class MissingPythonError(Exception):
    """None of the Python versions that would do is on this machine."""


@dataclasses.dataclass(frozen=True)
class Venv:
    """What goes into a virtual environment."""

    name: str
    pythons: tuple[str, ...]
    """The Python versions that will do, best first."""
    requirements: str = ""
    """Lines of a requirements file ..."""
    requirements_file: str = ""
    """... followed by those of this file in the checkout."""


OLDEST_CORE = Venv("oldest-core", ("3.10", "3.11", "3.12"), "ansible-core>=2.17,<2.18\n", "requirements.txt")
NEWEST_CORE = Venv("newest-core", ("3.14", "3.13", "3.12"), "ansible-core>=2.21,<2.22\n", "requirements.txt")
GALAXY = Venv("galaxy", ("3.12", "3.11"), requirements_file="tests/requirements-galaxy.txt")
DOCS = Venv("docs", ("3.12", "3.11", "3.13"), requirements_file="tests/requirements-docs.txt")


def bin_folder(venv: Venv) -> Path:
    """Return the folder that has this environment's ``python`` and other programs.

    Raises MissingPythonError if no Python on this machine can run it.
    """
    python = find_python(*venv.pythons)
    requirements = venv.requirements + (layout.ROOT / venv.requirements_file).read_text(encoding="utf-8")
    stamp = hashlib.sha256(f"{python}\n{requirements}".encode()).hexdigest()
    folder = layout.CACHE / f"venv-{venv.name}"
    stamp_file = folder / "stamp"
    layout.CACHE.mkdir(exist_ok=True)
    with (layout.CACHE / f"venv-{venv.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # Several processes may ask at once.
        if not stamp_file.exists() or stamp_file.read_text(encoding="utf-8") != stamp:
            shutil.rmtree(folder, ignore_errors=True)
            _make(folder, python, requirements)
            stamp_file.write_text(stamp, encoding="utf-8")
    return folder / "bin"


def find_python(*versions: str) -> str:
    """Return the path of the first interpreter of these versions that is on this machine.

    Raises MissingPythonError if there is none.
    """
    finder = layout.ROOT / "tests" / "tools" / "find_python.sh"
    answer = subprocess.run([str(finder), *versions], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise MissingPythonError(f"No Python {' or '.join(versions)} with its venv module was found.")
    return answer.stdout.strip()


def _make(folder: Path, python: str, requirements: str) -> None:
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    wanted = folder / "requirements.txt"
    wanted.write_text(requirements, encoding="utf-8")
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--requirement", str(wanted)], check=True)


if __name__ == "__main__":
    for wanted_venv in (OLDEST_CORE, NEWEST_CORE, GALAXY, DOCS):
        try:
            print(f"{wanted_venv.name}: {bin_folder(wanted_venv)}")
        except MissingPythonError as error:
            sys.exit(str(error))
