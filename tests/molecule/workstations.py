# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Start and stop the sshd that stands for the workstations of a Molecule scenario.

``python -m tests.molecule.workstations start FOLDER`` leaves in the folder the files ``port`` and ``identity``, and an
sshd that listens on loopback only; ``stop`` ends it with everything it started, and removes the folder.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.ports import free_port
from tests.ssh.conftest import SSHD, SSHD_CONFIG

SECONDS = 15


def start(folder: Path) -> None:
    """Start an sshd on a free port of loopback. It lets in who has the key in the folder, as the user who ran this."""
    if not SSHD:
        sys.exit("sshd is not on this machine; on Debian it comes with openssh-server")
    folder.mkdir(parents=True, mode=0o755)
    (folder.parent / "ssh").mkdir(mode=0o700, exist_ok=True)
    for name in ("identity", "host_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    shutil.copy(folder / "identity.pub", folder / "authorized_keys")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    port = free_port()
    config = folder / "sshd_config"
    config.write_text(SSHD_CONFIG.format(port=port, folder=folder), encoding="utf-8")
    with (folder / "log").open("wb") as log:
        # A session of its own, so that one signal ends it and every connection, and the end of Ansible does not.
        process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    (folder / "pid").write_text(f"{process.pid}\n", encoding="utf-8")
    if not _answers(port, process):
        process.kill()
        sys.exit(f"sshd did not start: {(folder / 'log').read_text(encoding='utf-8')}")
    (folder / "port").write_text(str(port), encoding="utf-8")


def stop(folder: Path) -> None:
    """End the sshd and its connections, and remove the folder."""
    pid_file = folder / "pid"
    if pid_file.exists():
        pid = int(pid_file.read_text(encoding="utf-8"))
        if _is_ours(pid, folder):
            _end(pid, folder)
    shutil.rmtree(folder, ignore_errors=True)


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False


def _end(pid: int, folder: Path) -> None:
    """End the process, and those of the connections, which have sessions of their own."""
    for one in (pid, *_descendants(pid)):
        try:
            os.kill(one, signal.SIGTERM)
        except ProcessLookupError:
            continue
    deadline = time.monotonic() + SECONDS
    while _is_ours(pid, folder):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            break
        time.sleep(0.05)


def _is_ours(pid: int, folder: Path) -> bool:
    """Tell if the process is the sshd of this folder: its number may be another one's by now."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return str(folder / "sshd_config").encode() in words


def _descendants(pid: int) -> list[int]:
    """Return the processes below a process, the nearest first."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        nearest = [int(word) for word in children.read_text(encoding="ascii").split()]
    except OSError:
        return []
    return [*nearest, *(further for one in nearest for further in _descendants(one))]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["start", "stop"])
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    {"start": start, "stop": stop}[asked.what](asked.folder)
