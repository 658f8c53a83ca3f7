# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real sshd on loopback, and Unix users to log in as and to become."""

from __future__ import annotations

import dataclasses
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.ssh.playing import Stage

SSHD = shutil.which("sshd", path="/usr/sbin:/sbin:/usr/local/sbin") or ""
SSHD_CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
MaxStartups 100
MaxSessions 100
LogLevel VERBOSE
Subsystem sftp internal-sftp
"""


@dataclasses.dataclass(frozen=True)
class Sshd:
    """A running sshd."""

    port: int
    identity: Path
    log: Path

    def host(self, user: str, **variables: t.Any) -> dict[str, t.Any]:
        """Return the inventory variables of a workstation that is reached through it. It has no Python."""
        return {
            "ansible_connection": "ssh",
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": user,
            "ansible_ssh_private_key_file": str(self.identity),
            "ansible_python_interpreter": "/no/python/on/this/workstation",
            **variables,
        }

    def sessions(self) -> int:
        """Return how many commands were run over it so far."""
        return self.log.read_text(encoding="utf-8", errors="replace").count("Starting session: command")


@dataclasses.dataclass(frozen=True)
class User:
    """A Unix user of this machine that was made for the tests."""

    name: str
    home: Path
    password: str

    def run(self, *command: str) -> None:
        """Run a command as this user."""
        subprocess.run(["setpriv", f"--reuid={self.name}", "--clear-groups", *command], check=True)

    def own(self, path: Path) -> Path:
        """Give a folder with all that is in it to this user."""
        user = pwd.getpwnam(self.name)
        for one in (path, *path.rglob("*")):
            os.lchown(one, user.pw_uid, user.pw_gid)
        return path


@pytest.fixture
def stage(tmp_path: Path) -> t.Iterator[Stage]:
    """Return a folder to run plays in."""
    folder = tmp_path / "stage"
    folder.mkdir()
    with tempfile.TemporaryDirectory(prefix="bg-", ignore_cleanup_errors=True) as sockets:
        yield Stage(folder, Path(sockets))


@pytest.fixture(scope="session")
def open_folder() -> t.Iterator[Path]:
    """Return a folder that all users may enter. Every start of pytest closes its own temporary folder to others."""
    with tempfile.TemporaryDirectory(prefix="budgetguard-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture(scope="session")
def sshd(open_folder: Path) -> t.Iterator[Sshd]:
    """Start a real sshd on a free port of loopback."""
    if not SSHD:
        pytest.skip("sshd is not on this machine; on Debian it comes with openssh-server")
    folder = open_folder / "sshd"
    folder.mkdir(mode=0o755)
    identity = folder / "identity"
    for path in (identity, folder / "host_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    shutil.copy(identity.with_suffix(".pub"), folder / "authorized_keys")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    port = free_port()
    config = folder / "sshd_config"
    config.write_text(SSHD_CONFIG.format(port=port, folder=folder), encoding="utf-8")
    log = folder / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(config)], stderr=stderr)
    try:
        _wait_for(port, process, log)
        yield Sshd(port, identity, log)
    finally:
        process.terminate()
        process.wait(timeout=10)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"sshd did not start: {log.read_text(encoding='utf-8')}")


@pytest.fixture(scope="session")
def make_user(open_folder: Path) -> t.Iterator[t.Callable[..., User]]:
    """Return a function that makes Unix users. They go when the tests are over."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make Unix users")
    made: list[str] = []

    def make(shell: str = "/bin/sh") -> User:
        if not Path(shell).exists():
            pytest.skip(f"{shell} is not on this machine")
        name = f"bgtest{secrets.token_hex(3)}"
        password = secrets.token_hex(12)
        home = open_folder / f"{name} it's home"
        subprocess.run(["useradd", "--no-log-init", "-M", "-d", str(home), "-s", shell, name], check=True)
        made.append(name)
        subprocess.run(["chpasswd"], input=f"{name}:{password}", text=True, check=True)
        home.mkdir(mode=0o755)
        user = User(name, home, password)
        user.own(home)
        return user

    yield make
    for name in made:
        _end_processes(name)
        subprocess.run(["userdel", name], check=True)


def _end_processes(name: str) -> None:
    """Wait until the user's last processes (connections that ssh keeps open for the next command) are gone."""
    deadline = time.monotonic() + 15
    uid = pwd.getpwnam(name).pw_uid
    while time.monotonic() < deadline:
        owners = {path.stat().st_uid for path in Path("/proc").glob("[0-9]*") if path.exists()}
        if uid not in owners:
            return
        time.sleep(0.2)


@pytest.fixture(scope="session")
def artist(make_user: t.Callable[..., User]) -> User:
    """Return the user who owns ComfyUI."""
    return make_user()


@pytest.fixture(scope="session")
def other(make_user: t.Callable[..., User]) -> User:
    """Return another user of the same machine."""
    return make_user()


@pytest.fixture(scope="session")
def admin(make_user: t.Callable[..., User]) -> t.Iterator[User]:
    """Return a user who may become anyone by sudo with a password."""
    if not shutil.which("sudo"):
        pytest.skip("sudo is not on this machine")
    user = make_user()
    rule = Path("/etc/sudoers.d") / user.name
    rule.write_text(f"{user.name} ALL=(ALL) ALL\n", encoding="utf-8")
    rule.chmod(0o440)
    try:
        yield user
    finally:
        rule.unlink()
