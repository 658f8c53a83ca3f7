# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run nim_local and nim_local_info by ansible-playbook, on this machine as the Docker host."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

from tests.docker.engine import HF_TOKEN, NGC_KEY, REPOSITORY, Engine
from tests.ssh.playing import PLUGINS
from tests.tools import layout

PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
HOST_PYTHON = "/usr/bin/python3"

NODE = "Stand In"
OTHER = "Other Stand In"
CATALOG = {
    name: {
        "image": f"nvcr.io/{REPOSITORY}",
        "tag": "1.0",
        "kind": "llm",
        "min_gpu_memory_gib": 16,
        "min_host_memory_gib": 1,
        "disk_gib": 1,
        "shm_gib": 1,
        "gpus_by_tier": {"l40s": 1, "h100": 1},
        "listed_tiers": ["l40s"],
        "source": "test",
    }
    for name in (NODE, OTHER)
}
NAME = "nim-stand-in-l40s"
OTHER_NAME = "nim-other-stand-in-l40s"


@dataclasses.dataclass
class Studio:
    """A folder with a playbook, and the engine."""

    folder: Path
    engine: Engine
    options: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    docker_command: str = "docker"
    printed: str = ""

    def __post_init__(self) -> None:
        self.options = {
            "registry": self.engine.registry,
            "registry_username": "$oauthtoken",
            "registry_password": "{{ lookup('ansible.builtin.env', 'STUDIO_NGC') }}",
            "ngc_api_key": "{{ lookup('ansible.builtin.env', 'STUDIO_NGC') }}",
            "endpoint_host": "127.0.0.1",
            "first_port": 18000,
            "nim_catalog": CATALOG,
            "wait_interval": 0.3,
            "wait_timeout": 30,
            **self.options,
        }

    def deploy(self, *deployments: dict[str, t.Any], check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        """Run nim_local and return its result."""
        task = {
            "docker_host": self.engine.socket,
            **self.options,
            **options,
            "deployments": [{"node": NODE, **item} for item in deployments],
        }
        words = ["--check", "--diff"] if check else ["--diff"]
        return self._run("nim_local", {key: value for key, value in task.items() if value is not None}, words)

    def wait(self, *names: str, **options: t.Any) -> dict[str, t.Any]:
        """Run nim_wait on the host for NIMs that are there, and return its result."""
        expected = {"gpu-box": [{"node": name, "name": name} for name in names]}
        return self._run("nim_wait", {"expected": expected, "interval": 0.3, "timeout": 60, **options}, [])

    def read(self) -> list[dict[str, t.Any]]:
        """Run nim_local_info and return the NIMs."""
        result = self._run("nim_local_info", {"endpoint_host": "127.0.0.1", "docker_host": self.engine.socket}, [])
        assert not result.get("failed"), result
        found: list[dict[str, t.Any]] = result["deployments"]
        return found

    def _run(self, module: str, options: dict[str, t.Any], words: list[str]) -> dict[str, t.Any]:
        record = self.folder / "record.jsonl"
        record.unlink(missing_ok=True)
        tasks = [{"budgetguard.techops." + module: options}]
        host = {
            "ansible_connection": "local",
            "ansible_python_interpreter": HOST_PYTHON,
            "nim_provider": "local",
            "nim_target": {"docker_host": self.engine.socket, "docker_command": self.docker_command},
        }
        book = self.folder / "play.json"
        book.write_text(json.dumps([{"hosts": "gpu-box", "gather_facts": False, "tasks": tasks}]), encoding="utf-8")
        inventory = self.folder / "inventory.json"
        inventory.write_text(json.dumps({"all": {"hosts": {"gpu-box": host}}}), encoding="utf-8")
        done = subprocess.run(
            [str(PLAYBOOK), "-i", str(inventory), str(book), *words],
            env={
                **os.environ,
                "ANSIBLE_CALLBACK_PLUGINS": str(PLUGINS / "callback"),
                "ANSIBLE_CALLBACKS_ENABLED": "record",
                "ANSIBLE_COLLECTIONS_PATH": str(layout.LINKS),
                "ANSIBLE_HOME": str(self.folder / "ansible"),
                "ANSIBLE_PIPELINING": "1",
                "ANSIBLE_NOCOLOR": "1",
                "PATH": f"{self.engine.programs}{os.pathsep}{os.environ['PATH']}",
                "RECORD_FILE": str(record),
                "STUDIO_NGC": NGC_KEY,
                "STUDIO_HF": HF_TOKEN,
            },
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        self.printed += done.stdout
        assert record.exists(), done.stdout
        [line] = record.read_text(encoding="utf-8").splitlines()
        recorded = json.loads(line)
        return {"failed": recorded["outcome"] == "failed", **recorded["result"]}
