# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run real plays of comfyui_config and read what came of them."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

from tests.tools import layout

PLUGINS = Path(__file__).parent / "plugins"
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")

CONFIG = "budgetguard.techops.comfyui_config"
INFO = "budgetguard.techops.comfyui_config_info"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a play did: all that it printed, and each task's result."""

    code: int
    printed: str
    records: list[dict[str, t.Any]]

    def of(self, host: str, action: str = CONFIG) -> dict[str, t.Any]:
        """Return the last result of an action on a host."""
        found = [line["result"] for line in self.records if line["host"] == host and line["action"] == action]
        assert found, self.printed
        result: dict[str, t.Any] = found[-1]
        return result

    def changed(self) -> set[str]:
        """Return the hosts with a change."""
        return {line["host"] for line in self.records if line["result"].get("changed")}

    def require_success(self) -> Outcome:
        """Fail the test if the play failed."""
        assert self.code == 0, self.printed
        return self


@dataclasses.dataclass(frozen=True)
class Stage:
    """A folder to run plays in. Their variables go through files, so no secret stands on a command line.

    The sockets of ssh have a folder of their own, because their paths must be short.
    """

    folder: Path
    sockets: Path
    playbook: Path = PLAYBOOK

    def play(
        self,
        hosts: dict[str, dict[str, t.Any]],
        tasks: list[dict[str, t.Any]],
        *arguments: str,
        variables: dict[str, t.Any] | None = None,
        play: dict[str, t.Any] | None = None,
        environment: dict[str, str] | None = None,
    ) -> Outcome:
        """Run tasks on hosts and return what came of it. Secrets may be in hosts and variables only."""
        inventory = self.folder / "inventory.json"
        inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": variables or {}}}), encoding="utf-8")
        book = self.folder / "play.yml"
        content = [{"hosts": "all", "gather_facts": False, "tasks": tasks, **(play or {})}]
        book.write_text(json.dumps(content), encoding="utf-8")
        record = self.folder / "record.jsonl"
        record.unlink(missing_ok=True)
        done = subprocess.run(
            [str(self.playbook), "-i", str(inventory), str(book), *arguments],
            env={**os.environ, **self._environment(record), **(environment or {})},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        lines = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
        return Outcome(done.returncode, done.stdout, [json.loads(line) for line in lines])

    def _environment(self, record: Path) -> dict[str, str]:
        home = self.folder / "ansible-home"
        return {
            "ANSIBLE_COLLECTIONS_PATH": str(layout.LINKS),
            "ANSIBLE_HOME": str(home),
            "ANSIBLE_LOCAL_TEMP": str(home / "tmp"),
            "ANSIBLE_CALLBACK_PLUGINS": str(PLUGINS / "callback"),
            "ANSIBLE_CALLBACKS_ENABLED": "record",
            "ANSIBLE_CONNECTION_PLUGINS": str(PLUGINS / "connection"),
            "ANSIBLE_HOST_KEY_CHECKING": "False",
            "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=2s -o UserKnownHostsFile=/dev/null -F none",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.sockets),
            "ANSIBLE_RETRY_FILES_ENABLED": "False",
            "ANSIBLE_NOCOLOR": "1",
            "RECORD_FILE": str(record),
        }


def make_comfyui(folder: Path) -> Path:
    """Make a folder that looks like ComfyUI's base folder."""
    folder.mkdir(parents=True)
    (folder / "main.py").touch()
    return folder


def make_ansible_windows(folder: Path) -> Path:
    """Make a collection ansible.windows that is enough for ansible-core to send its module to a test's connection."""
    module = folder / "ansible_collections/ansible/windows/plugins/modules/win_command.ps1"
    module.parent.mkdir(parents=True)
    module.write_text("#!powershell\n#AnsibleRequires -CSharpUtil Ansible.Basic\n", encoding="utf-8")
    return folder
