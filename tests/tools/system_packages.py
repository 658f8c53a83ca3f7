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

PROGRAMS = {
    "busybox": ("busybox",),
    "chromium": ("chromium",),
    "docker": ("docker-cli", "docker.io"),
    "docker-compose": ("docker-compose",),
    "docker-registry": ("docker-registry",),
    "dockerd": ("docker.io",),
    "haproxy": ("haproxy",),
    "ip": ("iproute2",),
    "kubectl": ("kubectl", "kubernetes-client"),
    "podman": ("podman",),
    "rsync": ("rsync",),
    "skopeo": ("skopeo",),
    "ssh": ("openssh-client",),
    "sshd": ("openssh-server",),
    "sudo": ("sudo",),
    "tcsh": ("tcsh",),
}
"""Program: the Debian packages of which any brings it. Others than Debian call that of kubectl by its own name."""

_VENV = "python3-venv"

_SEARCHED = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def missing() -> list[tuple[str, ...]]:
    """Return packages, one of each group, whose program is not here, and Python's venv module if Debian left it out."""
    groups = [packages for program, packages in PROGRAMS.items() if not shutil.which(program, path=_SEARCHED)]
    if importlib.util.find_spec("ensurepip") is None:
        groups.append((_VENV,))
    return groups


def install(groups: list[tuple[str, ...]]) -> bool:
    """Install one package of each group with apt-get; return whether it could."""
    # The package lists are only fetched when the first try shows that they are missing or old.
    complaint = _install_all(groups)
    if complaint:
        complaint = _apt_get("update") or _install_all(groups)
    sys.stderr.write(complaint)
    return not complaint


def _install_all(groups: list[tuple[str, ...]]) -> str:
    """Install one package of each group; return nothing if that succeeded, else what apt-get said."""
    # One call for all that have only one name is quicker. A name that is unknown would fail the whole call.
    certain = [group[0] for group in groups if len(group) == 1]
    complaint = _apt_get("install", "--no-install-recommends", *certain) if certain else ""
    for group in groups:
        if len(group) > 1:
            complaint += _install_any(group)
    return complaint


def _install_any(group: tuple[str, ...]) -> str:
    """Install the first package of a group that there is; return nothing if there was one, else what apt-get said."""
    complaint = ""
    for package in group:
        answer = _apt_get("install", "--no-install-recommends", package)
        if not answer:
            return ""
        complaint += answer
    return complaint


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
    groups = missing()
    if not groups:
        return 0
    names = ", ".join(" or ".join(group) for group in groups)
    if os.geteuid() == 0 and shutil.which("apt-get") and install(groups):
        print(f"Installed {names}.")
        return 0
    print(f"Missing on this machine: {names} (names as on Debian). The tests that need them will skip.")
    return 1 if os.environ.get("CI") in ("true", "1") else 0


if __name__ == "__main__":
    sys.exit(main())
