# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A studio in a folder: an inventory, workstations that are folders, and the sandbox as its clouds.

All secrets are canaries. They reach Ansible by the environment only, so whatever holds one afterwards has leaked it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import yaml

from tests.clusters.cluster import is_write
from tests.sandbox import Sandbox
from tests.tools import layout

CANARY = "CaNaRy"
SECRETS = {
    "STUDIO_NGC_API_KEY": f"nvapi-{CANARY}ngc81Zr0QmTvX3",
    "STUDIO_HF_TOKEN": f"hf_{CANARY}hf81Zr0QmTvX3",
    "STUDIO_ARTIST_KEY": f"nvapi-{CANARY}artist81Zr0QmTvX3",
    "STUDIO_KEY": f"{CANARY}K-81Zr0QmTvX3bWqLp5sYnHd7GfJc2",
}
PLAY_TIMEOUT = 300.0
"""Seconds after which a run is given up."""

HELD_BACK = 20.0
"""Seconds for which the sandbox keeps an answer back from a run that is about to be killed."""

BIN = Path(sys.executable).parent

RECAP = re.compile(r"^(\S+) +: ok=(\d+) +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of ansible-playbook."""

    code: int
    printed: str

    @property
    def changed(self) -> dict[str, int]:
        """How many tasks changed something, by host."""
        return {match.group(1): int(match.group(3)) for match in RECAP.finditer(self.printed)}

    @property
    def failed(self) -> list[str]:
        """Hosts on which a task failed."""
        return [match.group(1) for match in RECAP.finditer(self.printed) if int(match.group(5))]

    @property
    def messages(self) -> str:
        """All that was printed, on one line, so that messages are found however they were wrapped."""
        return " ".join(self.printed.split())

    def ok(self) -> Run:
        """Fail the test if the run has failed."""
        assert self.code == 0, self.printed
        return self


class Studio:
    """Makes the folder and runs playbooks."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.folder = folder
        self.sandbox = sandbox
        self.control = sandbox.control
        self.home = folder / "home"
        self.home.mkdir()
        self.targets: dict[str, dict[str, t.Any]] = {"aws-us-east-1": self.target("us-east-1")}
        self.target_group = "nim_providers"
        self.providers: dict[str, str] = {}
        self.matrix: dict[str, t.Any] = {
            "FLUX Dev": {"aws": {"gpu_tier": "l40s"}},
            "Llama 3.1": {"aws": {"gpu_tier": "l4"}},
        }
        self.variables: dict[str, t.Any] = {}
        self.workstations: list[str] = []
        self.unreachable: set[str] = set()
        self.timeout = PLAY_TIMEOUT
        self.own: dict[str, dict[str, t.Any]] = {}
        self.use_workstations(["ws-01", "ws-02"])

    def use_workstations(self, names: list[str]) -> None:
        """Have these workstations, each with a folder of ComfyUI."""
        self.workstations = names
        for name in names:
            for part in ("models", "custom_nodes"):
                (self.comfyui(name) / part).mkdir(parents=True, exist_ok=True)
            (self.comfyui(name) / "main.py").touch()

    def target(self, region: str, **options: t.Any) -> dict[str, t.Any]:
        """Return the variable nim_target of an AWS target in the sandbox."""
        return {"region": region, "allowed_cidrs": ["10.20.0.0/16"], **options}

    def use_three_clouds(self) -> None:
        """Add an AKS and a GKE cluster, and have FLUX Dev and Llama 3.1 in all clouds."""
        networks = {"allowed_cidrs": ["10.20.0.0/16"]}
        self.targets["azure-eastus"] = {"resource_group": "studio", "region": "eastus", **networks}
        self.targets["gcp-us-central1"] = {"location": "us-central1-a", **networks}
        big = {"gpu_tier": "a100-80gb"}
        self.matrix = {
            "FLUX Dev": {"aws": {"gpu_tier": "l40s"}, "azure": big, "gcp": big},
            "Llama 3.1": {"aws": {"gpu_tier": "l4"}, "azure": {"gpu_tier": "a10"}, "gcp": {"gpu_tier": "l4"}},
        }

    def use_nvidia(self) -> None:
        """Add an organisation at NVIDIA, with a hosted SDXL and FLUX Dev as a function, its image copied already."""
        self.targets["nvidia-studio"] = {}
        self.control.image("flux.1-dev", "1.2.3")
        self.matrix["FLUX Dev"]["nvidia"] = {"gpu_tier": "l40s"}
        self.matrix["SDXL"] = {"nvidia": "present"}

    def comfyui(self, workstation: str) -> Path:
        """Return a workstation's ComfyUI folder."""
        return self.folder / "workstations" / workstation / "Comfy UI"

    def config(self, workstation: str) -> dict[str, t.Any]:
        """Return a workstation's config as it is on disk."""
        path = self.comfyui(workstation) / "budgetguard" / "budgetguard_backend_config.json"
        return t.cast("dict[str, t.Any]", json.loads(path.read_text()))

    def export(self, name: str = "budgetguard_artists_config.json") -> dict[str, t.Any]:
        """Return an exported file."""
        return t.cast("dict[str, t.Any]", json.loads((self.folder / "exports" / name).read_text()))

    def inventory(self) -> Path:
        """Write the inventory and return its path."""
        secret = "{{ lookup('ansible.builtin.env', '%s') }}"
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "cloud_deploy_wait_interval": 0.2,
            "cloud_deploy_wait_timeout": 20,
            "nim_matrix": self.matrix,
            "nim_export_dir": str(self.folder / "exports"),
            "nim_ngc_api_key": secret % "STUDIO_NGC_API_KEY",
            "nim_hf_token": secret % "STUDIO_HF_TOKEN",
            "nim_studio_key": secret % "STUDIO_KEY",
            "nim_workstation_credentials": {"nvidia": {"NVIDIA API Key / NGC API Key": secret % "STUDIO_ARTIST_KEY"}},
            "comfyui_path": str(self.folder / "workstations" / "{{ inventory_hostname }}" / "Comfy UI"),
            "workstation_config_key_path": str(self.folder / "workstations" / "{{ inventory_hostname }}" / "key" / "k"),
            "workstation_config_become": False,
            **self.variables,
        }
        targets: dict[str, dict[str, t.Any]] = {name: {"nim_target": target} for name, target in self.targets.items()}
        for name, provider in self.providers.items():
            targets[name]["nim_provider"] = provider
        groups: dict[str, dict[str, t.Any]] = {}
        for name, target in targets.items():
            group = name.partition("-")[0]
            groups.setdefault(group if group in ("azure", "gcp", "nvidia") else "aws", {"hosts": {}})["hosts"][name] = (
                target
            )
        content = {
            "all": {
                "vars": variables,
                "children": {
                    self.target_group: {"children": groups},
                    "artist_workstations": {"hosts": {name: self._connection(name) for name in self.workstations}},
                },
            }
        }
        path = self.folder / "inventory.yml"
        path.write_text(yaml.safe_dump(content))
        return path

    def _connection(self, workstation: str) -> dict[str, t.Any]:
        """Return a workstation's own variables, with those that say how it is reached."""
        own = self.own.get(workstation, {})
        if workstation not in self.unreachable:
            return own
        return {**own, "ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}

    def environment(self, collections: Path = layout.LINKS) -> dict[str, str]:
        """Return all variables of a run: nothing of the caller's but the way to programs."""
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            "ANSIBLE_COLLECTIONS_PATH": str(collections),
            "ANSIBLE_CONFIG": str(layout.ANSIBLE_CFG),
            "ANSIBLE_CALLBACKS_ENABLED": "budgetguard.techops.preload",  # A third of a run's time.
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOG_PATH": str(self.folder / "ansible.log"),
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
            "COLUMNS": "200",
            **self.sandbox.env,
            **SECRETS,
        }

    def command(self, playbook: str, *arguments: str, bin_folder: Path = BIN) -> list[str]:
        """Return the command line of a playbook run."""
        book = f"budgetguard.techops.{playbook}"
        return [str(bin_folder / "ansible-playbook"), book, "-i", str(self.inventory()), *arguments]

    def play(
        self, playbook: str, *arguments: str, bin_folder: Path = BIN, environment: dict[str, str] | None = None
    ) -> Run:
        """Run a playbook of the collection."""
        done = subprocess.run(
            self.command(playbook, *arguments, bin_folder=bin_folder),
            cwd=self.folder,
            env=environment or self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=self.timeout,
        )
        return Run(done.returncode, done.stdout)

    def play_and_kill(
        self, playbook: str, action: str, *arguments: str, environment: dict[str, str] | None = None
    ) -> None:
        """Start a playbook, hold back the answer to its first such call, and kill it and its children meanwhile."""
        self.control.clear_calls()
        self.control.hook(action, HELD_BACK, when="after")
        process = subprocess.Popen(
            self.command(playbook, *arguments),
            cwd=self.folder,
            env=environment or self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while self.control.count(action=action) == 0:
                assert process.poll() is None, f"the {playbook} playbook ended without the call {action}"
                time.sleep(0.02)
        finally:
            _kill_family(process.pid)
            process.wait()

    def writes(self) -> int:
        """Return how many calls have changed something in a cloud."""
        return sum(1 for call in self.control.calls() if _is_write(call))

    def files_with(self, text: str) -> list[str]:
        """Return all files below the studio's folder that hold a text."""
        files = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return [str(path.relative_to(self.folder)) for path in files if text.encode() in path.read_bytes()]


def family(pid: int) -> list[int]:
    """Return a process and all that came of it, in whatever session: Ansible's workers have their own."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for member in found:
        found.extend(child for child, parent in parents.items() if parent == member)
    return found


def _kill_family(pid: int) -> None:
    """Kill a process and all that came of it. They are halted first, so that none starts another one meanwhile."""
    halted: list[int] = []
    while found := [member for member in family(pid) if member not in halted]:
        _signal(found, signal.SIGSTOP)
        halted += found
    _signal(halted, signal.SIGKILL)


def _signal(pids: t.Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _is_write(call: dict[str, t.Any]) -> bool:
    logs, money = ("google-logging", "log-analytics"), ("azure-prices", "google-billing", "azure-costs", "bigquery")
    if call["service"] in ("nim", "ngc-keys", *logs, *money) or call["action"] == "StartQuery":
        return False
    if call["service"] in ("arm", "entra", "gke", "google-compute", "google-oauth", "kube", "nvcf"):
        return is_write(call)
    return not call["action"].startswith(("Describe", "Get", "List", "AssumeRole"))
