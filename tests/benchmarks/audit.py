# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an audit costs: the playbook C(audit) beside plain ssh and Ansible's C(ping), on the same workstations.

One sshd on loopback stands for all of them, and each is a folder. Controller and workstations share this machine, so
the ratios tell more than the seconds. CPU is that of the run and its children on the controller's side; the memory is
the most that one process of it had. C(--workstations 500) is a large studio.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pwd
import subprocess
import sys
import tempfile
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.molecule import workstations
from tests.ssh import fleet
from tests.tools import layout
from tests.unit.workstation.examples import STUDIO_KEY

PLAYBOOK = str(Path(sys.executable).with_name("ansible-playbook"))
ME = pwd.getpwuid(os.geteuid()).pw_name
QUIET = ("-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR")


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one way took."""

    seconds: float
    cpu: float
    memory: int


def run(command: t.Sequence[str], **more: t.Any) -> Cost:
    """Run a program and return what it cost. It must succeed."""
    before = time.monotonic()
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.STDOUT, **more)
        _pid, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            printed.seek(0)
            raise SystemExit(printed.read().decode().partition("PLAY RECAP")[0][-4000:])
    return Cost(time.monotonic() - before, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


class Studio:
    """So many workstations with a config, and how to reach them."""

    def __init__(self, folder: Path, count: int, forks: int) -> None:
        self.folder, self.forks = folder, forks
        workstations.start(folder / "sshd")
        self.port = int((folder / "sshd" / "port").read_text(encoding="utf-8"))
        self.identity = folder / "sshd" / "identity"
        made = fleet.Fleet(folder / "w", self._reach)
        for number in range(1, count + 1):
            made.configured(f"ws-{number:03d}")
        self.hosts = made.hosts
        (folder / "empty").mkdir()

    def _reach(self, **variables: t.Any) -> dict[str, t.Any]:
        return {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": ME,
            "ansible_ssh_private_key_file": str(self.identity),
            "ansible_python_interpreter": sys.executable,
            # All are one address here, and each needs a connection of its own.
            "ansible_control_path": f"{self.folder}/s/{{{{ inventory_hostname }}}}",
            **variables,
        }

    def ssh(self) -> Cost:
        """Read a file of each with plain ssh, as many at a time as Ansible has forks."""
        login = ["ssh", *QUIET, "-i", str(self.identity), "-p", str(self.port), f"{ME}@127.0.0.1"]
        paths = [Path(host["comfyui_path"]) / "main.py" for host in self.hosts.values()]
        before = time.monotonic()
        with ThreadPoolExecutor(self.forks) as pool:
            costs = list(pool.map(lambda path: run([*login, f'cat "{path}"']), paths))
        return Cost(time.monotonic() - before, sum(cost.cpu for cost in costs), 0)

    def play(self, playbook: str, *arguments: str) -> Cost:
        """Run a playbook on all of them, over connections that nobody has opened yet."""
        sockets = self.folder / "s"
        sockets.mkdir()
        variables = {
            "nim_studio_key": STUDIO_KEY,
            "workstation_config_user": ME,
            "workstation_config_become": False,
            "workstation_audit_endpoints": {"nim_endpoints": fleet.RUNNING},
        }
        groups = {"artist_workstations": {"hosts": self.hosts, "vars": variables}, "nim_providers": {}}
        inventory = self.folder / "inventory.json"
        inventory.write_text(json.dumps({"all": {"children": groups}}), encoding="utf-8")
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(layout.ROOT / "inventory" / "studio" / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(layout.LINKS),
            "ANSIBLE_HOME": str(self.folder / "home"),
            "ANSIBLE_FORKS": str(self.forks),
            "ANSIBLE_HOST_KEY_CHECKING": "False",
            "ANSIBLE_SSH_ARGS": "-F none -o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile=/dev/null",
        }
        try:
            return run([PLAYBOOK, playbook, "-i", str(inventory), *arguments], env=environment, cwd=self.folder)
        finally:
            for path in sockets.iterdir():
                hang_up = ["ssh", *QUIET, "-o", f"ControlPath={path}", "-O", "exit", "127.0.0.1"]
                subprocess.run(hang_up, stderr=subprocess.DEVNULL, check=False)
                path.unlink(missing_ok=True)
            sockets.rmdir()

    def ping(self) -> Cost:
        """Run Ansible's ping on all of them."""
        book = self.folder / "ping.yml"
        task: dict[str, t.Any] = {"ansible.builtin.ping": {}}
        play = {"hosts": "artist_workstations", "gather_facts": False, "tasks": [task]}
        book.write_text(json.dumps([play]), encoding="utf-8")
        return self.play(str(book))

    def audit(self) -> Cost:
        """Run the playbook, with all its files. What it finds is told below the table."""
        files = {name: str(self.folder / f"audit.{ending}") for name, ending in (("json", "json"), ("csv", "csv"))}
        given = {
            **{f"audit_{name}_file": path for name, path in files.items()},
            "audit_report_file": str(self.folder / "report.html"),
            "audit_fail_on": [],
            "audit_compare_endpoints": False,
        }
        return self.play("budgetguard.techops.audit", "-e", json.dumps(given))


def main() -> None:
    """Measure and print a table. The best of the rounds counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workstations", type=int, default=60)
    parser.add_argument("--forks", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--alone", action="store_true", help="the audit alone, without the others beside it")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bg-") as name:
        studio = Studio(Path(name), asked.workstations, asked.forks)
        try:
            ways = {"plain ssh, one file": studio.ssh, "ansible ping": studio.ping, "audit": studio.audit}
            ways = {"audit": studio.audit} if asked.alone else ways
            costs: dict[str, list[Cost]] = {way: [] for way in ways}
            for _round in range(asked.rounds):
                for way, measure in ways.items():
                    costs[way].append(measure())
            page = (studio.folder / "report.html").stat().st_size
            found = json.loads((studio.folder / "audit.json").read_text(encoding="utf-8"))
        finally:
            workstations.stop(studio.folder / "sshd")
    best = {way: min(each, key=lambda cost: cost.seconds) for way, each in costs.items()}
    print(f"{asked.workstations} workstations, {asked.forks} at a time, best of {asked.rounds}:")
    print(f"{'way':<22}{'seconds':>9}{'x ssh':>8}{'x ping':>8}{'CPU s each':>12}{'memory MiB':>12}")
    for way, cost in best.items():
        others = [best.get(other, cost) for other in ("plain ssh, one file", "ansible ping")]
        ratios = [cost.seconds / other.seconds for other in others]
        memory = f"{cost.memory / 2**20:.0f}" if cost.memory else "-"
        each = cost.cpu / asked.workstations
        print(f"{way:<22}{cost.seconds:>9.1f}{ratios[0]:>8.2f}{ratios[1]:>8.2f}{each:>12.3f}{memory:>12}")
    print(f"The report page has {page / 1024:.0f} KiB. Found: {found['counts']} {found['findings']}")


if __name__ == "__main__":
    main()
