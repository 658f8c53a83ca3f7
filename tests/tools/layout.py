# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where things are in a checkout, and the two views of it that Ansible's tools need.

Ansible only finds a collection below a folder ``ansible_collections/<namespace>/<name>``. A checkout may be called
anything, so ``link`` makes a symbolic link with that path (for running playbooks and tests on the files themselves)
and ``copy`` makes a copy of the files that belong to the project (for tools that walk every file they can see, and
would follow the link into itself).

Run as ``python -m tests.tools.layout`` to make the link.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

__all__ = ["ANSIBLE_CFG", "CACHE", "COLLECTION", "LINKS", "ROOT", "copy", "link", "project_files"]

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
ANSIBLE_CFG = ROOT / "tests" / "ansible.cfg"
COLLECTION = Path("ansible_collections", "budgetguard", "techops")
LINKS = CACHE / "collections"
"""A value for ANSIBLE_COLLECTIONS_PATH and PYTHONPATH: the working files."""

_TOOLS_OWN = {".ansible", ".cache", ".git", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".sandbox", ".venv", "dist"}
_TOOLS_OWN |= {"__pycache__", "output"}
"""Folders that tools make, wherever they are. "output" is what ansible-test writes in tests/."""


def link() -> Path:
    """Make the symbolic link if it is not there; return its path."""
    path = LINKS / COLLECTION
    path.parent.mkdir(parents=True, exist_ok=True)
    target = os.path.relpath(ROOT, path.parent)
    if not path.is_symlink() or path.readlink() != Path(target):
        path.unlink(missing_ok=True)
        path.symlink_to(target, target_is_directory=True)
    return path


def project_files(root: Path = ROOT) -> list[Path]:
    """List the project's files, relative to ``root``: tracked ones and new ones that git does not ignore.

    Without git (in an unpacked archive) every file counts that is not in a folder known to be a tool's.
    """
    if (root / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        answer = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
        names = {Path(name) for name in answer.stdout.split("\0") if name}
    else:
        names = set()
        for folder, subfolders, files in os.walk(root):
            subfolders[:] = [name for name in subfolders if name not in _TOOLS_OWN]
            names.update(Path(folder, name).relative_to(root) for name in files if not name.endswith(".tar.gz"))
    # A file that was deleted but not yet committed is still in git's list.
    return sorted(name for name in names if os.path.lexists(root / name))


def copy(folder: Path, root: Path = ROOT) -> Path:
    """Bring the copy below ``folder`` up to date and return the collection's path in it.

    Files that did not change keep their time stamps. The copy is a git work tree of its own: tools that ask git for
    the files would otherwise find the project's own work tree around it, in which the whole copy is ignored, and
    would check nothing.
    """
    destination = folder / COLLECTION
    wanted = project_files(root)
    destination.mkdir(parents=True, exist_ok=True)
    if shutil.which("git") and not (destination / ".git").exists():
        subprocess.run(["git", "init", "--quiet"], cwd=destination, check=True, stderr=subprocess.DEVNULL)
    _remove_others(destination, set(wanted))
    for name in wanted:
        source, target = root / name, destination / name
        if _is_current(source, target):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
    return destination


def _is_current(source: Path, target: Path) -> bool:
    if not os.path.lexists(target) or source.is_symlink() or target.is_symlink():
        return False
    ours, theirs = source.stat(), target.stat()
    return (ours.st_size, ours.st_mtime_ns, ours.st_mode) == (theirs.st_size, theirs.st_mtime_ns, theirs.st_mode)


def _remove_others(destination: Path, wanted: set[Path]) -> None:
    """Remove what an earlier copy had and the project no longer has. What tools wrote there stays."""
    folders = []
    for folder, subfolders, files in os.walk(destination):
        links = [name for name in subfolders if Path(folder, name).is_symlink()]
        subfolders[:] = [name for name in subfolders if name not in _TOOLS_OWN | set(links)]
        folders += [Path(folder, name) for name in subfolders]
        for name in files + links:
            path = Path(folder, name)
            if path.relative_to(destination) not in wanted:
                path.unlink()
    for path in reversed(folders):
        if not any(path.iterdir()):
            path.rmdir()


if __name__ == "__main__":
    link()
