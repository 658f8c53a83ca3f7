# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook `workstations` over many workstations: broken ones of all kinds, canaries, batches, and going on."""

from __future__ import annotations

import json
import os
import pwd
import socket
import subprocess
import threading
import time
import typing as t
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.ssh.conftest import Sshd
from tests.ssh.playing import CONFIG, Outcome, Stage, make_comfyui
from tests.ssh.workstations import opened
from tests.unit.workstation.examples import CANARY, CREDENTIALS, STUDIO_KEY, endpoints
from tests.unit.workstation.shells import CONFIG as CONFIG_PATH

ME = pwd.getpwuid(os.getuid()).pw_name
PLAYBOOK = "budgetguard.techops.workstations"
FINE = ("fine-1", "fine-2", "fine-3")
STRANGER = 54321

Hosts = dict[str, dict[str, t.Any]]


def inventory(hosts: Hosts, **variables: t.Any) -> dict[str, t.Any]:
    """Return an inventory without clouds."""
    shared = {
        "nim_studio_key": STUDIO_KEY,
        "nim_workstation_credentials": CREDENTIALS,
        "endpoints_export": False,
        # In place of what clouds would say.
        "workstation_config_endpoints": {"nim_endpoints": endpoints()},
        "workstation_config_user": ME,
        "workstation_config_become": False,
        **variables,
    }
    children = {"artist_workstations": {"hosts": hosts, "vars": shared}, "nim_providers": {}}
    return {"all": {"children": children}}


def workstation(folder: Path, name: str) -> dict[str, t.Any]:
    """Make a workstation of this machine."""
    base = make_comfyui(folder / name / "ComfyUI")
    return {"comfyui_path": str(base), "workstation_config_key_path": str(folder / name / "key" / "studio.key")}


def local(folder: Path, *names: str) -> Hosts:
    """Make workstations that need no ssh."""
    return {name: {**workstation(folder, name), "ansible_connection": "local"} for name in names}


def summary(outcome: Outcome) -> dict[str, str]:
    """Return the lines of the summary by their first word."""
    lines = outcome.printed.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("Rollout: "))
    end = next(number for number, line in enumerate(lines) if number > start and not line.startswith("  "))
    return {line.split()[0]: " ".join(line.split()) for line in lines[start:end]}


def configured(hosts: Hosts) -> set[str]:
    """Return the workstations that have a config."""
    return {name for name, host in hosts.items() if Path(host["comfyui_path"], CONFIG_PATH).exists()}


class Hanging:
    """A server that takes every connection and never says anything."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.taken: list[socket.socket] = []
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        while True:
            try:
                self.taken.append(self.socket.accept()[0])
            except OSError:
                return

    def release_when(self, paths: t.Sequence[Path]) -> None:
        """Let go of all as soon as these files exist, and not before."""

        def wait() -> None:
            while self.socket.fileno() != -1 and not all(path.exists() for path in paths):
                time.sleep(0.1)
            self.close()

        threading.Thread(target=wait, daemon=True).start()

    def close(self) -> None:
        """Let go of all."""
        self.socket.close()
        for one in self.taken:
            one.close()


@pytest.fixture
def hanging() -> t.Iterator[tuple[Hanging, Hanging]]:
    """Return two servers that hang."""
    servers = Hanging(), Hanging()
    yield servers
    for server in servers:
        server.close()


class Mounts:
    """File systems that are full or read-only. Without the right to mount, mkdir says what such a one would say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mounted: list[Path] = []

    def small(self, path: Path) -> None:
        """Put a very small file system on a folder."""
        path.mkdir(parents=True)
        self._mount(path, "-t", "tmpfs", "-o", "size=16k", "tmpfs")

    def fill(self, host: dict[str, t.Any], path: Path) -> None:
        """Leave no byte free."""
        if path not in self.mounted:
            self._pretend(host, "No space left on device")
            return
        with (path / "filler").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                pass

    def close(self, host: dict[str, t.Any], path: Path) -> None:
        """Make a folder read-only."""
        if self._mount(path, "--bind", str(path)):
            subprocess.run(["mount", "-o", "remount,ro,bind", str(path)], check=True)
        else:
            self._pretend(host, "Read-only file system")

    def repair(self, host: dict[str, t.Any]) -> None:
        """Make a workstation's file systems usable."""
        host.pop("ansible_shell_executable", None)
        for path in self.mounted:
            if str(host["comfyui_path"]).startswith(str(path)):
                (path / "filler").unlink() if (path / "filler").exists() else subprocess.run(
                    ["mount", "-o", "remount,rw,bind", str(path)], check=True
                )

    def unmount(self) -> None:
        """Take all away."""
        for path in reversed(self.mounted):
            subprocess.run(["umount", "-l", str(path)], check=True)

    def _mount(self, path: Path, *arguments: str) -> bool:
        done = subprocess.run(["mount", *arguments, str(path)], stderr=subprocess.DEVNULL, check=False)
        if done.returncode == 0:
            self.mounted.append(path)
        return done.returncode == 0

    def _pretend(self, host: dict[str, t.Any], error: str) -> None:
        folder = self.folder / error.split(maxsplit=1)[0]
        folder.mkdir()
        for name, script in {
            "mkdir": f'#!/bin/sh\necho "mkdir: cannot create directory: {error}" >&2\nexit 1\n',
            "sh": f'#!/bin/sh\nPATH={folder}:$PATH exec /bin/sh "$@"\n',
        }.items():
            (folder / name).write_text(script)
            (folder / name).chmod(0o755)
        host["ansible_shell_executable"] = str(folder / "sh")


@pytest.fixture
def mounts(tmp_path: Path) -> t.Iterator[Mounts]:
    """Return a way to make file systems of all kinds."""
    made = Mounts(tmp_path)
    yield made
    made.unmount()


def make_sleepy_shell(folder: Path) -> Path:
    """Make a shell that does nothing for longer than a workstation may take."""
    shell = folder / "sleepy"
    shell.write_text("#!/bin/sh\nexec sleep 12\n")
    shell.chmod(0o755)
    return shell


def broken_fleet(folder: Path, sshd: Sshd, mounts: Mounts, hanging: tuple[Hanging, Hanging]) -> Hosts:
    """Return workstations of which each but the first three is broken in its own way."""
    mounts.small(folder / "full")
    names = (*FINE, "off", "hangs", "waits", "sleeps", "full", "readonly", "foreign", "empty")
    hosts = {name: {**sshd.host(ME), **workstation(folder, name)} for name in names}
    hosts["off"]["ansible_port"] = free_port()
    hosts["hangs"].update(ansible_port=hanging[0].port, ansible_ssh_timeout=3)
    # This one is waited for until the fine ones are done. Were they to wait for it, it would run into its time limit.
    hosts["waits"].update(ansible_port=hanging[1].port, ansible_ssh_timeout=240)
    hanging[1].release_when([Path(hosts[name]["comfyui_path"], CONFIG_PATH) for name in FINE])
    hosts["sleeps"]["ansible_shell_executable"] = str(make_sleepy_shell(folder))
    hosts["sleeps"]["workstation_config_timeout"] = 4
    hosts["full"]["workstation_config_key_path"] = str(folder / "key of full" / "studio.key")
    mounts.fill(hosts["full"], folder / "full")
    mounts.close(hosts["readonly"], folder / "readonly" / "ComfyUI")
    if os.geteuid() == 0:
        os.chown(hosts["foreign"]["comfyui_path"], STRANGER, -1)
    else:
        hosts["foreign"]["comfyui_path"] = "/usr"
    Path(hosts["empty"]["comfyui_path"], "main.py").unlink()
    return hosts


BROKEN = {
    "off": "Not reached. It is off, or no ssh server runs on it (connection refused).",
    "hangs": "Not reached. It takes connections and does not answer: hung?",
    "waits": "Not reached. It took the connection and closed it.",
    "sleeps": "it was reached, but did not finish in time (workstation_config_timeout)",
    "full": "Not written: the disk is full",
    "readonly": "Not written: the file system is read-only",
    "foreign": "but this task runs as",
    "empty": "does not look like ComfyUI's base folder",
}


def test_broken_workstations_are_told_apart_and_the_next_run_finishes(
    stage: Stage, sshd: Sshd, mounts: Mounts, hanging: tuple[Hanging, Hanging], tmp_path: Path
) -> None:
    hosts = broken_fleet(tmp_path, sshd, mounts, hanging)
    groups = inventory(hosts)
    first = stage.run(PLAYBOOK, groups, environment={"ANSIBLE_FORKS": "12"})
    assert first.code == 2, first.printed
    told = summary(first)
    assert told["Rollout:"] == "Rollout: 3 of 11 workstations are done (3 changed), 8 not done."
    for name, words in BROKEN.items():
        assert f"{name} not done " in told[name]
        assert words in told[name], told[name]
    assert f"--limit '{','.join(BROKEN)}'" in first.printed
    failed = [line["host"] for line in first.records if line["action"] == "ansible.builtin.fail"]
    assert sorted(failed) == sorted(BROKEN)
    assert CANARY not in first.printed

    for name in BROKEN:
        mounts.repair(hosts[name])
        hosts[name].pop("workstation_config_timeout", None)
        hosts[name].update(ansible_port=sshd.port, ansible_ssh_timeout=60)
    hosts["foreign"]["comfyui_path"] = str(tmp_path / "foreign" / "ComfyUI")
    if os.geteuid() == 0:
        os.chown(hosts["foreign"]["comfyui_path"], os.geteuid(), -1)
    Path(hosts["empty"]["comfyui_path"], "main.py").touch()
    second = stage.run(PLAYBOOK, groups).require_success()
    changed = {line["host"] for line in second.records if line["action"] == CONFIG and line["result"]["changed"]}
    assert changed == set(BROKEN)
    assert summary(second) == {"Rollout:": "Rollout: 11 of 11 workstations are done (8 changed)."}
    for host in hosts.values():
        assert opened(Path(host["comfyui_path"]), Path(host["workstation_config_key_path"])) == CREDENTIALS


def test_a_sick_canary_stops_the_rollout_and_the_next_run_goes_on(stage: Stage, tmp_path: Path) -> None:
    hosts = local(tmp_path, "ws-1", "ws-2", "ws-3", "ws-4")
    Path(hosts["ws-3"]["comfyui_path"], "main.py").unlink()
    left = tmp_path / "left"
    groups = inventory(hosts, rollout_canary="ws-3:ws-4", rollout_not_done_file=str(left))
    checked = stage.run(PLAYBOOK, groups, "--check")
    assert not left.exists()
    assert configured(hosts) == set()
    done = stage.run(PLAYBOOK, groups)
    assert (checked.code, done.code) == (2, 2)
    assert configured(hosts) == {"ws-4"}
    told = summary(done)
    assert told["Rollout:"] == "Rollout: 1 of 4 workstations are done (1 changed), 1 not done, 2 not tried."
    assert "does not look like ComfyUI" in told["ws-3"]
    assert told["ws-1"] == "ws-1 not tried stopped, because ws-3 of rollout_canary is not done"
    assert {**summary(checked), "Rollout:": ""} == {**told, "Rollout:": ""}
    assert "1 of 4 workstations are fine (1 would be changed)" in summary(checked)["Rollout:"]
    assert left.read_text().splitlines() == ["ws-3", "ws-1", "ws-2"]

    Path(hosts["ws-3"]["comfyui_path"], "main.py").touch()
    rest = stage.run(PLAYBOOK, groups, "--limit", f"@{left}").require_success()
    assert summary(rest) == {"Rollout:": "Rollout: 3 of 3 workstations are done (3 changed)."}
    assert configured(hosts) == set(hosts)
    assert not left.exists()
    order = [line["host"] for line in rest.records if line["action"] == CONFIG]
    assert order[0] == "ws-3"


def test_too_many_failures_in_a_batch_stop_the_rollout(stage: Stage, tmp_path: Path) -> None:
    hosts = local(tmp_path, *(f"ws-{number}" for number in range(1, 8)))
    for name in ("ws-2", "ws-4", "ws-5"):
        Path(hosts[name]["comfyui_path"], "main.py").unlink()
    groups = inventory(hosts, rollout_batch=3, rollout_max_failed_percent=40)
    done = stage.run(PLAYBOOK, groups)
    assert done.code == 2
    assert configured(hosts) == {"ws-1", "ws-3", "ws-6"}
    reason = "stopped, because 2 of 3 workstations of a batch are not done, more than rollout_max_failed_percent (40 %)"
    assert summary(done)["ws-7"] == f"ws-7 not tried {reason}"


def test_every_wrong_variable_is_named_before_anything_is_written(stage: Stage, tmp_path: Path) -> None:
    alike = [f"ws-1{number}" for number in range(7)]
    hosts = local(tmp_path, "ws-1", "ws-2", "ws-3", "ws-4", *alike)
    for name in alike:
        hosts[name]["workstation_config_id"] = ""
    del hosts["ws-2"]["comfyui_path"]
    hosts["ws-2"]["workstation_config_backup"] = "perhaps"
    hosts["ws-3"]["workstation_config_key_path"] = "keys/studio.key"
    hosts["ws-3"]["nim_studio_key"] = f"{CANARY}weak"
    hosts["ws-4"]["nim_workstation_credentials"] = {"aws": {"Access Key ID": [CANARY]}}
    # Paths follow the rules of each workstation's system.
    hosts["win-1"] = {"ansible_connection": "psrp", "comfyui_path": r"C:\ComfyUI"}
    hosts["win-2"] = {"ansible_connection": "ssh", "ansible_shell_type": "powershell", "comfyui_path": "/opt/ComfyUI"}
    groups = inventory(hosts, rollout_canary=0)
    outcome = stage.run(PLAYBOOK, groups, "-vvv")
    assert outcome.code != 0
    message = outcome.of("ws-1", "budgetguard.techops.workstation_rollout_plan")["msg"]
    for wrong in (
        "ws-2: workstation_config_comfyui_path uses a variable that is not set: ",
        "ws-2: workstation_config_backup: ",
        "ws-3: workstation_config_key_path must be an absolute path",
        "ws-3: workstation_config_studio_key: The studio key is shorter than 32",
        "ws-4: its stored credentials: credentials of 'aws': the value of 'Access Key ID' must be a text",
        "win-2: workstation_config_comfyui_path is '/opt/ComfyUI'; on Windows it must be a drive and a path",
        "ws-10, ws-11, ws-12, ws-13, ws-14 and 2 more: workstation_config_id must be",
        "rollout_canary is 0;",
    ):
        assert wrong in message
    assert "ws-1:" not in message
    assert "win-1:" not in message
    assert CANARY not in outcome.printed
    assert [path for path in tmp_path.rglob("*") if path.name in {CONFIG_PATH.name, "studio.key"}] == []


def test_variables_of_a_workstation_are_worked_out_for_its_task_and_the_end_of_its_role(
    stage: Stage, tmp_path: Path
) -> None:
    hosts = local(tmp_path, "ws-1", "ws-2", "ws-3")
    looks = tmp_path / "looks.json"
    environment = {"ANSIBLE_CALLBACKS_ENABLED": "record,looks", "LOOKS_FILE": str(looks)}
    stage.run(PLAYBOOK, inventory(hosts), environment=environment).require_success()
    assert configured(hosts) == set(hosts)
    # The first one has what is done once for all of them, too.
    found = json.loads(looks.read_text(encoding="utf-8"))
    assert {name: found[name] for name in ("ws-2", "ws-3")} == {"ws-2": 2, "ws-3": 2}
