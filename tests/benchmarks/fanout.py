# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast many workstations are reached: the playbook `workstations` beside plain ssh and Ansible's own modules.

A real sshd on loopback plays all workstations. Each is a folder and has an ssh connection of its own, which the next
route does not find open any more. All routes go over the same workstations in one run, in turns, with the studio
inventory's ansible.cfg. Controller and workstations share the machine, so a second is the work of both.

CPU is that of ansible-playbook, its workers and its ssh clients, per workstation. What sshd and the workstations' own
programs take is not in it, and neither is the ssh process that keeps a connection open in the background.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import pwd
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.playbooks.studio import family
from tests.ports import free_port
from tests.tools import layout

STUDIO = layout.ROOT / "inventory" / "studio"
SSHD = shutil.which("sshd", path="/usr/sbin:/sbin:/usr/local/sbin") or ""
SSHD_CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
MaxStartups 1000
MaxSessions 1000
Subsystem sftp internal-sftp
"""
PROVIDERS = ("aws", "azure", "gcp")
NODES = ("FLUX Dev", "FLUX Canny", "FLUX Depth", "FLUX Kontext", "FLUX Schnell", "SDXL", "Llama 3.1", "Mixtral")
PLAIN = "plain ssh, `cat`"
RAW = "`ansible.builtin.raw`, `cat`"
PING = "`ansible.builtin.ping`"
EVERYTHING = "`workstations`, everything to change"
NOTHING = "`workstations`, nothing to change"
COPY = "`ansible.builtin.copy`"
INSTALLED = "two copies and an installer"
WAYS = (PLAIN, RAW, PING, EVERYTHING, NOTHING, COPY, INSTALLED)
STUDIO_KEY = "K-81Zr0QmTvX3bWqLp5sYnHd7GfJc2benchmark"

# What the public tools do on a workstation: stretch the studio key, seal, write.
INSTALLER = """
import base64, json, sys
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
folder, studio_key = sys.argv[1:]
document = json.load(open(folder + "/endpoints.json"))
secret = json.load(open(folder + "/credentials.json"))
raw = PBKDF2HMAC(SHA256(), 32, b"budgetguard_comfyui_salt", 100000).derive(studio_key.encode())
token = Fernet(base64.urlsafe_b64encode(raw)).encrypt(json.dumps(secret).encode())
document["credentials"] = {"encrypted_data": base64.urlsafe_b64encode(token).decode()}
json.dump(document, open(folder + "/installed.json", "w"))
"""


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one route took over all workstations."""

    seconds: float
    cpu: float
    memory: int = 0


class Memory(threading.Thread):
    """Notes the most memory that a process and all that came of it had together, shared pages counted once."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid = pid
        self.most = 0
        self.stopped = threading.Event()

    def run(self) -> None:
        """Look twice a second."""
        while not self.stopped.wait(0.5):
            self.most = max(self.most, sum(map(_share, family(self.pid))))


def _share(pid: int) -> int:
    """Return the bytes of a process, with its share of the pages that others have, too."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


class Fleet:
    """Workstations that are folders, and the sshd that leads to them."""

    def __init__(self, folder: Path, count: int, forks: int) -> None:
        self.folder = folder
        self.forks = forks
        self.names = [f"ws-{number:03}" for number in range(1, count + 1)]
        self.identity = folder / "identity"
        self.port = 0
        self.sockets = folder / "s"
        for name in self.names:
            base = self.base(name)
            base.mkdir(parents=True)
            (base / "main.py").touch()
        self.plain = folder / "plain.json"
        self.credentials = folder / "credentials.json"
        self.document = {"version": "1.0", "nim_endpoints": _endpoints()}
        self.plain.write_text(json.dumps(self.document))
        self.credentials.write_text(json.dumps({"nvidia": {"NVIDIA API Key / NGC API Key": "nvapi-benchmark"}}))
        (folder / "installer.py").write_text(INSTALLER)

    def base(self, name: str) -> Path:
        """Return a workstation's ComfyUI folder."""
        return self.folder / "w" / name / "ComfyUI"

    def forget(self) -> None:
        """Make everything on the workstations different from what is wanted: there is nothing yet."""
        for name in self.names:
            shutil.rmtree(self.base(name) / "budgetguard", ignore_errors=True)
            shutil.rmtree(self.base(name).parent / "key", ignore_errors=True)
            for copied in ("endpoints.json", "credentials.json", "installed.json"):
                (self.base(name).parent / copied).unlink(missing_ok=True)

    @contextlib.contextmanager
    def sshd(self) -> t.Iterator[None]:
        """Run sshd on a free port of loopback."""
        for path in (self.identity, self.folder / "host_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
        shutil.copy(self.identity.with_suffix(".pub"), self.folder / "authorized_keys")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self.port = free_port()
        config = self.folder / "sshd_config"
        config.write_text(SSHD_CONFIG.format(port=self.port, folder=self.folder))
        with (self.folder / "sshd.log").open("wb") as log:
            process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(config)], stderr=log)
        try:
            for _attempt in range(200):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    break
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait()

    def inventory(self) -> Path:
        """Write the inventory and return its path."""
        variables = {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": pwd.getpwuid(os.geteuid()).pw_name,
            "ansible_ssh_private_key_file": str(self.identity),
            # All are the same address here, so each needs a connection of its own.
            "ansible_control_path": f"{self.sockets}/{{{{ inventory_hostname }}}}",
            "ansible_python_interpreter": sys.executable,
            "home": f"{self.folder}/w/{{{{ inventory_hostname }}}}",
            "comfyui_path": "{{ home }}/ComfyUI",
            "workstation_config_user": pwd.getpwuid(os.geteuid()).pw_name,
            "workstation_config_become": False,
            "workstation_config_key_path": "{{ home }}/key/studio.key",
            "nim_studio_key": STUDIO_KEY,
            "nim_export_dir": str(self.folder / "exports"),
            "nim_workstation_credentials": json.loads(self.credentials.read_text()),
            # There are no clouds here. This stands for what they would have said.
            "workstation_config_endpoints": self.document,
        }
        hosts: dict[str, dict[str, t.Any]] = {name: {} for name in self.names}
        groups = {"artist_workstations": {"hosts": hosts, "vars": variables}, "nim_providers": {}}
        path = self.folder / "inventory.json"
        path.write_text(json.dumps({"all": {"children": groups}}))
        return path

    def environment(self) -> dict[str, str]:
        """Return the variables of a run, with the settings of the studio inventory."""
        home = self.folder / "ansible-home"
        return {
            **os.environ,
            "ANSIBLE_CONFIG": str(STUDIO / "ansible.cfg"),
            "ANSIBLE_FORKS": str(self.forks),
            "ANSIBLE_COLLECTIONS_PATH": str(layout.LINKS),
            "ANSIBLE_HOME": str(home),
            "ANSIBLE_LOCAL_TEMP": str(home / "tmp"),
            "ANSIBLE_HOST_KEY_CHECKING": "False",
            "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile=/dev/null -F none",
        }

    def play(self, playbook: str, *arguments: str, watch: bool = False) -> Cost:
        """Run a playbook and say what it cost. It must succeed."""
        self.sockets.mkdir()
        command = [str(Path(sys.executable).with_name("ansible-playbook")), playbook, "-i", str(self.inventory())]
        output = self.folder / "output"
        before = time.monotonic()
        with output.open("wb") as printed:
            process = subprocess.Popen(
                [*command, *arguments],
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
            )
            memory = Memory(process.pid)
            if watch:
                memory.start()
            _pid, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - before
        process.returncode = os.waitstatus_to_exitcode(status)
        memory.stopped.set()
        self._hang_up()
        if process.returncode != 0:
            raise SystemExit(output.read_text())
        return Cost(seconds, usage.ru_utime + usage.ru_stime, memory.most)

    def tasks(self, *tasks: dict[str, t.Any]) -> Cost:
        """Run tasks on all workstations."""
        book = self.folder / "book.yml"
        book.write_text(json.dumps([{"hosts": "artist_workstations", "gather_facts": False, "tasks": list(tasks)}]))
        return self.play(str(book))

    def _hang_up(self) -> None:
        """Close the connections that a run has left open, so that the next one finds none."""
        for path in self.sockets.iterdir():
            subprocess.run(
                ["ssh", "-F", "none", "-o", f"ControlPath={path}", "-O", "exit", "127.0.0.1"],
                stderr=subprocess.DEVNULL,
                check=False,
            )
        shutil.rmtree(self.sockets, ignore_errors=True)

    def ssh(self) -> Cost:
        """Read a file on each workstation with plain ssh, as many at a time as Ansible has forks."""
        before = time.monotonic()
        with ThreadPoolExecutor(self.forks) as pool:
            cpu = sum(pool.map(self._cat, self.names))
        return Cost(time.monotonic() - before, cpu)

    def _cat(self, _name: str) -> float:
        login = ["-F", "none", "-i", str(self.identity), "-p", str(self.port), "-o", "StrictHostKeyChecking=no"]
        quiet = ["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes"]
        process = subprocess.Popen(
            ["ssh", *login, *quiet, "127.0.0.1", f"cat {self.plain}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        _pid, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit("plain ssh failed")
        return usage.ru_utime + usage.ru_stime

    def ping(self) -> Cost:
        """Run Ansible's ping."""
        return self.tasks({"ansible.builtin.ping": {}})

    def raw(self) -> Cost:
        """Read a file with Ansible's raw: the least that a task on each workstation costs."""
        return self.tasks({"ansible.builtin.raw": f"cat {self.plain}"})

    def copy(self) -> Cost:
        """Copy a config with Ansible's copy."""
        return self.tasks(
            {"ansible.builtin.copy": {"src": str(self.plain), "dest": "{{ home }}/endpoints.json", "mode": "0600"}}
        )

    def prototype(self) -> Cost:
        """Go the way that the public tools describe."""
        copies = [
            {"ansible.builtin.copy": {"src": str(source), "dest": f"{{{{ home }}}}/{name}.json", "mode": "0600"}}
            for name, source in (("endpoints", self.plain), ("credentials", self.credentials))
        ]
        argv = ["{{ ansible_python_interpreter }}", str(self.folder / "installer.py"), "{{ home }}", STUDIO_KEY]
        return self.tasks(*copies, {"ansible.builtin.command": {"argv": argv}})

    def ours(self, watch: bool = False) -> Cost:
        """Run the playbook `workstations`."""
        return self.play("budgetguard.techops.workstations", watch=watch)

    def require_configured(self) -> None:
        """Stop unless every workstation has its config and its key."""
        for name in self.names:
            config = self.base(name) / "budgetguard" / "budgetguard_backend_config.json"
            if not config.exists() or not (self.base(name).parent / "key" / "studio.key").exists():
                raise SystemExit(f"{name} was not configured")


def _endpoints() -> dict[str, t.Any]:
    """Return endpoints of eight NIMs in three clouds."""
    return {
        node: {
            provider: [
                {
                    "url": f"https://nim.{provider}.studio.example/{number}",
                    "health_url": f"https://nim.{provider}.studio.example/{number}/v1/health/ready",
                    "gpu_tier": "l40s",
                    "region": "us-east-1",
                    "target": f"{provider}-us-east-1",
                    "deployed_at": "2026-11-23T09:00:00Z",
                    "api_style": "image",
                }
            ]
            for provider in PROVIDERS
        }
        for number, node in enumerate(NODES)
    }


def seconds(costs: t.Sequence[Cost]) -> list[float]:
    """Return what each round took."""
    return [cost.seconds for cost in costs]


def processor(costs: t.Sequence[Cost]) -> list[float]:
    """Return the controller's CPU seconds of each round."""
    return [cost.cpu for cost in costs]


def times(ours: t.Sequence[float], others: t.Sequence[float]) -> float:
    """Return how many times the others, as the median of the rounds: within one, the machine is about as fast.

    What is only gone once is compared with the first round.
    """
    return statistics.median(one / other for one, other in zip(ours, others, strict=False))


def row(*cells: t.Any) -> str:
    """Return a line of the table."""
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def measure(fleet: Fleet, rounds: int, slow: bool) -> dict[str, list[Cost]]:
    """Go all routes in each round, in another order each time: a long route slows the machine for the one after it."""
    found: dict[str, list[Cost]] = {}

    def note(name: str, cost: Cost) -> None:
        found.setdefault(name, []).append(cost)
        print(f"{name}: {cost.seconds:.1f} s, {cost.cpu / len(fleet.names):.3f} s CPU", file=sys.stderr, flush=True)

    def everything() -> None:
        fleet.forget()
        note(EVERYTHING, fleet.ours())
        fleet.require_configured()

    turns: list[t.Callable[[], None]] = [
        lambda: note(PLAIN, fleet.ssh()),
        lambda: note(RAW, fleet.raw()),
        lambda: note(PING, fleet.ping()),
        everything,
        lambda: note(NOTHING, fleet.ours()),
    ]
    fleet.ours()  # Not counted: Python compiles what it has not run before.
    for number in range(rounds):
        random.Random(number).shuffle(turns)
        for turn in turns:
            turn()
        if slow and number == 0:
            note(COPY, fleet.copy())
            note(INSTALLED, fleet.prototype())
    return {name: found[name] for name in WAYS if name in found}


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Configure many workstations over ssh.")
    parser.add_argument("--workstations", type=int, default=60, metavar="N", help="how many (default: 60)")
    parser.add_argument("--forks", type=int, default=25, metavar="N", help="at the same time (default: 25, as shipped)")
    parser.add_argument(
        "--rounds", type=int, default=3, metavar="N", help="rounds, of which the median counts (default: 3)"
    )
    parser.add_argument("--fast", action="store_true", help="leave out copy and the installer")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bg-") as folder:
        fleet = Fleet(Path(folder), options.workstations, options.forks)
        with fleet.sshd():
            found = measure(fleet, options.rounds, not options.fast)
            # A run of its own, because who looks at the memory of so many processes takes time from them.
            fleet.forget()
            peak = fleet.ours(watch=True).memory
    ssh, ping = found[PLAIN], found[PING]
    print(
        f"{options.workstations} workstations, {options.forks} at a time, load {os.getloadavg()[0]:.0f} on "
        f"{os.cpu_count()} cores, Python {platform.python_version()}"
    )
    print(row("way", "seconds", "x plain ssh", "x ping", "controller CPU, s per workstation", "x ping"))
    print(row(*["---"] * 6))
    for name, costs in found.items():
        print(
            row(
                name,
                f"{statistics.median(seconds(costs)):.1f}",
                f"{times(seconds(costs), seconds(ssh)):.2f}",
                f"{times(seconds(costs), seconds(ping)):.2f}",
                f"{statistics.median(processor(costs)) / options.workstations:.3f}",
                f"{times(processor(costs), processor(ping)):.2f}",
            )
        )
    print(f"Peak memory of a run of ours, with all its processes: {peak / 2**20:.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
