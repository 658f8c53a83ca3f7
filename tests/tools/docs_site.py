# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Build the documentation site into ``dist/docs``: all plugins and roles, and the pages in ``docs``.

antsibull-docs writes the reference, Sphinx makes HTML of it and of the Markdown files, which stay where they are, so
that their links hold on the site as well. It asks nothing of the network. A reference that leads nowhere is an error.

Run as ``python -m tests.tools.docs_site``. With ``--check`` it looks for errors only, which takes half as long.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.tools import layout, offline_ansible_test, venvs

__all__ = ["main"]

COPY = layout.CACHE / "build" / "docs"
SITE = layout.ROOT / "dist" / "docs"
SETTINGS = layout.ROOT / "tests" / "tools" / "site"
NAME = "budgetguard.techops"


def main(check: bool = False) -> int:
    """Build the site, or only look whether it can be built; return 0 if all is well."""
    programs = venvs.bin_folder(venvs.DOCS)
    collection = layout.copy(COPY)
    variables = offline_ansible_test.environment(COPY)
    variables = {**variables, "PATH": os.pathsep.join([str(programs), variables["PATH"]])}
    reference = collection / "reference"
    reference.mkdir(exist_ok=True)
    reference.chmod(0o755)  # antsibull-docs takes no folder that others may write to.
    shutil.copy(SETTINGS / "index.md", collection)
    antsibull = ["antsibull-docs", "collection", "--use-current", "--squash-hierarchy", "--fail-on-error"]
    if not check:
        shutil.rmtree(SITE, ignore_errors=True)
        SITE.parent.mkdir(exist_ok=True)
    builder, destination = ("dummy", COPY / "checked") if check else ("html", SITE)
    sphinx = ["sphinx-build", "-q", "-E", "-W", "--keep-going", "-j", "2", "-b", builder, "-c", str(SETTINGS)]
    return _run([*antsibull, "--dest-dir", str(reference), NAME], variables) or _run(
        [*sphinx, "-d", str(COPY / "doctrees"), str(collection), str(destination)], variables
    )


def _run(command: list[str], variables: dict[str, str]) -> int:
    """Run a program of the environment; print what it said if it failed."""
    program = shutil.which(command[0], path=variables["PATH"])
    done = subprocess.run(
        [str(Path(program or command[0])), *command[1:]],
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stdout)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
