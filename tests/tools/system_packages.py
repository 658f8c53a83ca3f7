# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Install the system programs that the set-up and the tests start, on Debian as root; elsewhere say what is missing.

Runs before anything is set up, so it uses the standard library alone: ``python3 tests/tools/system_packages.py``.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys

PACKAGES = {
    "openssh-server": "sshd",
    "openssh-client": "ssh",
    "sudo": "sudo",
    "tcsh": "tcsh",
}
"""Debian package: a program that it brings."""

_SEARCHED = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def missing() -> list[str]:
    """Return the packages whose program is not on this machine, and Python's venv module where Debian left it out."""
    packages = [package for package, program in PACKAGES.items() if not shutil.which(program, path=_SEARCHED)]
    if importlib.util.find_spec("ensurepip") is None:
        packages.append("python3-venv")
    return packages


def install(packages: list[str]) -> bool:
    """Install packages with apt-get; return whether it could."""
    command = ["install", "--no-install-recommends", *packages]
    # The package lists are only fetched when the first try shows that they are missing or old.
    complaint = _apt_get(*command)
    if complaint:
        complaint = _apt_get("update") or _apt_get(*command)
    sys.stderr.write(complaint)
    return not complaint


def _apt_get(*words: str) -> str:
    """Run apt-get; return nothing if it succeeded, else what it said."""
    done = subprocess.run(
        ["apt-get", "--yes", "--quiet", *words],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout if done.returncode else ""


def main() -> int:
    """Install what is missing if that is possible; return 1 if something is still missing in continuous integration."""
    packages = missing()
    if not packages:
        return 0
    if os.geteuid() == 0 and shutil.which("apt-get") and install(packages):
        print(f"Installed {', '.join(packages)}.")
        return 0
    print(f"Missing on this machine: {', '.join(packages)} (names as on Debian). The tests that need them will skip.")
    return 1 if os.environ.get("CI") in ("true", "1") else 0


if __name__ == "__main__":
    sys.exit(main())
