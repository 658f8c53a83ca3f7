# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet of workstations in which something is wrong with almost every one, each in its own way."""

from __future__ import annotations

import json
import shutil
import typing as t
from pathlib import Path

from ansible_collections.budgetguard.techops.plugins.module_utils import _envelope, _workstation
from tests.ssh.playing import make_comfyui
from tests.unit.workstation.examples import CANARY, OTHER_STUDIO_KEY, STUDIO_KEY, endpoint, endpoints
from tests.unit.workstation.shells import CONFIG as CONFIG_PATH

STRANGER_STUDIO_KEY = "Pq4_rT7-vX1zC5nM9wK2sJ6hG0fD3aLbY8eU"
RUNNING = endpoints(endpoint(), endpoint("https://nim.example/flux-2", "aws-2"))
STORED = {"Access Key ID": "AKIASTORED", "Secret Access Key": f"{CANARY}-stored"}
OTHER = {"Access Key ID": "AKIAOTHER", "Secret Access Key": f"{CANARY}-other"}
NVIDIA = {"NVIDIA API Key / NGC API Key": f"nvapi-{CANARY}"}
NOW = "2026-11-27T10:00:00Z"
LIE = '{"format": "budgetguard-probe", "time": "late", "disk": [], "nodes": {"installed": 7}}'
NO_PYTHON_TOOLS = ("cat", "cksum", "cp", "dd", "find", "id", "ln", "ls", "mkdir", "mv", "od", "printf", "rm", "sync")

Host = dict[str, t.Any]


def identity(**more: t.Any) -> dict[str, t.Any]:
    """Return what is stored of an identity at AWS."""
    return {
        "identity": "arn:aws:iam::111122223333:user/budgetguard/ws",
        "key_id": "AKIASTORED",
        "created": "2026-11-01T08:00:00Z",
        "delivered": True,
        "fields": STORED,
        **more,
    }


class Fleet:
    """Makes workstations below a folder. Each method returns the variables of one."""

    def __init__(self, folder: Path, reach: t.Callable[..., Host]) -> None:
        self.folder = folder
        self.reach = reach
        self.hosts: dict[str, Host] = {}

    def base(self, name: str) -> Path:
        """Return ComfyUI's folder of a workstation."""
        return self.folder / name / "it's ComfyUI"

    def add(self, name: str, **variables: t.Any) -> Host:
        """Make a workstation without a config."""
        make_comfyui(self.base(name))
        self.hosts[name] = self.reach(
            comfyui_path=str(self.base(name)),
            workstation_config_key_path=str(self.folder / name / "key" / "studio.key"),
            nim_workstation_credentials={"nvidia": NVIDIA},
            **{"nim_identities": {"aws": identity()}, **variables},
        )
        return self.hosts[name]

    def configured(
        self,
        name: str,
        *,
        written: str = STUDIO_KEY,
        as_name: str = "",
        nim_endpoints: _workstation.Endpoints | None = None,
        credentials: dict[str, dict[str, str]] | None = None,
        wide: bool = False,
        key_file: bool = True,
        **variables: t.Any,
    ) -> Host:
        """Make a workstation with a config and a key, as comfyui_config would have left them."""
        host = self.add(name, **variables)
        label = as_name or name
        key = _envelope.studio_wide_key(written) if wide else _envelope.workstation_key(written, label)
        wanted = _workstation.Wanted(
            nim_endpoints=RUNNING if nim_endpoints is None else nim_endpoints,
            credentials={"nvidia": NVIDIA, "aws": STORED} if credentials is None else credentials,
            key=key,
            encryption_version=1 if wide else 2,
            mode="studio-wide" if wide else f"workstation:{label}",
        )
        path = self.base(name) / CONFIG_PATH
        path.parent.mkdir(mode=0o700)
        path.write_bytes(_workstation.update(None, wanted, NOW).content)
        path.chmod(0o600)
        if key_file:
            kept = Path(host["workstation_config_key_path"])
            kept.parent.mkdir(mode=0o700)
            kept.write_text(_envelope.key_line(1 if wide else 2, key, written) + "\n", encoding="ascii")
            kept.chmod(0o400)
        return host

    def shell(self, name: str, script: str) -> str:
        """Make a shell for the commands of a workstation."""
        path = self.folder / f"{name}.sh"
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
        return str(path)

    def without_python(self) -> str:
        """Make a shell that finds the tools of POSIX and nothing else."""
        folder = self.folder / "posix"
        folder.mkdir()
        for tool in NO_PYTHON_TOOLS:
            (folder / tool).symlink_to(str(shutil.which(tool)))
        return self.shell("no-python", f'PATH={folder} exec /bin/sh "$@"')


def write_installed(base: Path, node: str, container: str) -> None:
    """Leave what an install package leaves in a home folder."""
    folder = base / ".budgetguard_local" / node.lower().replace(" ", "-")
    folder.mkdir(parents=True)
    record = {"node": node, "container": container, "port": 8000, "image": "nvcr.io/nim/example:1"}
    (folder / "installed.json").write_text(json.dumps(record), encoding="utf-8")


def make(folder: Path, reach: t.Callable[..., Host]) -> Fleet:
    """Make one workstation of each kind, but for those that cannot be reached."""
    fleet = Fleet(folder, reach)
    fleet.configured("good")
    (fleet.base("good") / "comfyui_version.py").write_text('__version__ = "0.8.0"\n', encoding="utf-8")
    companion = fleet.base("good") / "custom_nodes" / "budgetguard_companion"
    companion.mkdir(parents=True)
    (companion / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n', encoding="utf-8")
    fleet.add("no-config")
    broken = fleet.configured("broken")
    path = Path(broken["comfyui_path"]) / CONFIG_PATH
    path.write_bytes(path.read_bytes()[:200])
    fleet.configured("stale", nim_endpoints=endpoints(endpoint("https://old.example/flux")))
    fleet.configured("borrowed", as_name="good")
    fleet.configured("stranger", written=STRANGER_STUDIO_KEY)
    fleet.configured("previous", written=OTHER_STUDIO_KEY)
    fleet.configured("wide", wide=True)
    fleet.configured("keyless", key_file=False)
    exposed = fleet.configured("exposed")
    (Path(exposed["comfyui_path"]) / CONFIG_PATH).chmod(0o644)
    fleet.configured("revoked", nim_identities={"aws": identity(revoked="2026-11-20")})
    fleet.configured("other", credentials={"nvidia": NVIDIA, "aws": OTHER})
    fleet.configured(
        "waiting",
        credentials={"nvidia": NVIDIA, "aws": OTHER},
        nim_identities={"aws": identity(delivered=False)},
    )
    fleet.configured("unminted", credentials={"nvidia": NVIDIA})
    fleet.configured("old", nim_identities={"aws": identity(created="2026-01-01T00:00:00Z")})
    fleet.configured("expired", nim_identities={"aws": identity(expires="2026-11-02T00:00:00Z")})
    fleet.configured("sealed", nim_identities={"aws": {"fields": "no mapping"}})
    nodes = fleet.folder / "home of nodes"
    write_installed(nodes, "FLUX Dev", "nim-flux-dev-rtx-4090")
    fleet.configured("nodes", ansible_shell_executable=fleet.shell("nodes", f'HOME="{nodes}" exec /bin/sh "$@"'))
    fleet.configured("no-python", ansible_shell_executable=fleet.without_python())
    lying = Path(fleet.configured("lying")["comfyui_path"]) / "venv" / "bin" / "python"
    lying.parent.mkdir(parents=True)
    lying.write_text(f"#!/bin/sh\necho '{LIE}'\n", encoding="utf-8")
    lying.chmod(0o755)
    fleet.add("elsewhere")
    fleet.hosts["elsewhere"]["comfyui_path"] = str(folder / "nowhere")
    return fleet
