# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection awx.awx, for tests.

Galaxy is not reached by tests, but the Python package ``ansible`` holds the collection. Its wheel has 50 MB packed and
500 MB unpacked, so it is only downloaded, and this one collection is taken out of it into ``.cache``, on first use and
when the range changes. ``python -m tests.tools.awx_collection`` makes it and prints where it is.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.tools import layout

__all__ = ["PACKAGE", "folder"]

PACKAGE = "ansible>=12.3,<13"
"""Releases with awx.awx 24.6.1."""
COLLECTION = Path("ansible_collections", "awx", "awx")


def folder() -> Path:
    """Return the collection's folder."""
    place = layout.CACHE / "awx-collection"
    stamp = place / "stamp"
    layout.CACHE.mkdir(exist_ok=True)
    with (layout.CACHE / "awx-collection.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # Several processes may ask at once.
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != PACKAGE:
            shutil.rmtree(place, ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=layout.CACHE) as downloads:
                _unpack(_download(Path(downloads)), place)
            stamp.write_text(PACKAGE, encoding="utf-8")
    return place / COLLECTION


def _download(downloads: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    # Nothing of it is run, so it does not matter which Python it is for.
    how = ["--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--no-cache-dir"]
    subprocess.run([*pip, "download", *how, "--dest", str(downloads), PACKAGE], check=True)
    (wheel,) = downloads.glob("ansible-*.whl")
    return wheel


def _unpack(wheel: Path, place: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(place, [name for name in packed.namelist() if Path(name).is_relative_to(COLLECTION)])


if __name__ == "__main__":
    print(folder())
