# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Build the archive for Galaxy into ``.cache/dist`` and check it as Galaxy does on an upload.

Run as ``python -m tests.tools.galaxy_archive``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import yaml

from tests.tools import layout, offline_ansible_test, venvs

__all__ = ["main"]

COPY = layout.CACHE / "build" / "galaxy"
DIST = layout.CACHE / "dist"
SHIPPED = {"CHANGELOG.md", "CONTRIBUTING.md", "FILES.json", "LICENSE", "LICENSES", "MANIFEST.json", "README.md"}
SHIPPED |= {"REUSE.toml", "changelogs", "docs", "inventory", "meta", "playbooks", "plugins", "policies"}
SHIPPED |= {"requirements.txt", "roles"}
"""All that may lie at the top of the archive."""


def main() -> int:
    """Build and check; return 0 if all is well."""
    collection = layout.copy(COPY)
    variables = offline_ansible_test.environment(COPY)
    build = ["ansible-galaxy", "collection", "build", "--force", "--output-path", str(DIST), str(collection)]
    if subprocess.run(build, env=variables, check=False).returncode:
        return 1
    archive = _archive_path()
    unexpected = _top_level(archive) - SHIPPED
    if unexpected:
        print(f"The archive holds {', '.join(sorted(unexpected))}. Add it to build_ignore in galaxy.yml.")
        return 1
    return _import(archive, variables)


def _archive_path() -> Path:
    about = yaml.safe_load((layout.ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    return DIST / f"{about['namespace']}-{about['name']}-{about['version']}.tar.gz"


def _top_level(archive: Path) -> set[str]:
    with tarfile.open(archive) as opened:
        return {Path(name).parts[0] for name in opened.getnames()}


def _import(archive: Path, variables: dict[str, str]) -> int:
    """Run Galaxy's importer; a warning counts as an error, since Galaxy shows both beside the collection."""
    programs = venvs.bin_folder(venvs.GALAXY)
    done = subprocess.run(
        [str(programs / "python"), "-m", "galaxy_importer.main", str(archive)],
        cwd=DIST,  # It leaves a file where it runs.
        env={
            **variables,
            "GALAXY_IMPORTER_CONFIG": str(layout.ROOT / "tests" / "tools" / "galaxy_importer.cfg"),
            "PATH": os.pathsep.join([str(programs), variables["PATH"]]),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(done.stdout)
    return 1 if done.returncode or "WARNING" in done.stdout or "ERROR" in done.stdout else 0


if __name__ == "__main__":
    sys.exit(main())
