# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Workstations of the tests: configs that are sealed as the collection seals them, and what must never leak."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

from ansible_collections.budgetguard.techops.plugins.module_utils import _envelope, _workstation
from tests.tools import layout
from tests.unit.workstation.examples import CANARY, KEY, NOW, OTHER_STUDIO_KEY, STUDIO_KEY, endpoint

PACKAGE = layout.ROOT / "roles" / "workstation_companion" / "files" / "budgetguard_companion"
STRANGER = _envelope.workstation_key(OTHER_STUDIO_KEY, "ws-2")
SECRETS = (CANARY, KEY, STUDIO_KEY, STRANGER)
CONTACT = "extension 4711"
NVIDIA = {"nvidia": {"NVIDIA API Key / NGC API Key": f"nvapi-{CANARY}"}}
AWS = {"aws": {"Access Key ID": "AKIAEXAMPLE", "Secret Access Key": CANARY}}


def gateway(days: float = 30, authority: str | None = None) -> dict[str, dict[str, str]]:
    """Return credentials with a token that ends in some days, and with the studio's authority if there is one."""
    ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
    root = {"CA Certificate": authority} if authority else {}
    return {"gateway": {"Token": f"token-{CANARY}", "Expires": f"{ends:%Y-%m-%dT%H:%M:%SZ}", **root}}


def nodes(**entries: list[tuple[str, dict[str, t.Any]]]) -> _workstation.Endpoints:
    """Return endpoints: a node's name with underscores, then pairs of provider and entry."""
    found: _workstation.Endpoints = {}
    for name, pairs in entries.items():
        for provider, entry in pairs:
            found.setdefault(name.replace("_", " "), {}).setdefault(provider, []).append(entry)
    return found


@dataclasses.dataclass(frozen=True)
class Place:
    """The files of one workstation."""

    base: Path
    key_file: Path

    def give(
        self,
        credentials: _envelope.Credentials | None = None,
        endpoints: _workstation.Endpoints | None = None,
        key: str = KEY,
        version: int = 2,
    ) -> None:
        """Put a sealed config there, and the key file that goes with the workstation's usual key."""
        wanted = _workstation.Wanted(
            nim_endpoints=endpoints if endpoints is not None else nodes(FLUX_Dev=[("aws", endpoint())]),
            credentials=AWS if credentials is None else credentials,
            key=key,
            encryption_version=version,
            mode="workstation:ws-1",
        )
        path = self.base / "budgetguard" / "budgetguard_backend_config.json"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(_workstation.update(None, wanted, NOW).content)
        self.give_key(f"v2 {KEY}\n")

    def give_key(self, lines: str) -> None:
        """Write the key file, and tell the companion where it is."""
        self.key_file.parent.mkdir(exist_ok=True)
        self.key_file.write_text(lines, encoding="utf-8")
        settings = self.base / "custom_nodes" / PACKAGE.name / "settings.json"
        content = {
            "key_path": str(self.key_file),
            "time_limit": 900,
            "token_path": str(self.token_file),
            "contact": CONTACT,
        }
        settings.write_text(json.dumps(content), encoding="utf-8")

    @property
    def log(self) -> Path:
        """What ComfyUI prints."""
        return self.base.parent / "comfyui.log"

    @property
    def token_file(self) -> Path:
        """Where the token is that the network is asked for."""
        return self.key_file.with_name("companion.token")


@contextlib.contextmanager
def running_comfyui(place: Place, **environment: str) -> t.Iterator[str]:
    """Start the stand-in of ComfyUI with more variables in its environment; yield its address."""
    command = [sys.executable, "-B", "-m", "tests.companion.comfyui", str(place.base)]
    variables = {**os.environ, **environment}
    with (
        place.log.open("a", encoding="utf-8") as log,
        subprocess.Popen(
            command, cwd=layout.ROOT, env=variables, stdout=subprocess.PIPE, stderr=log, text=True
        ) as server,
    ):
        assert server.stdout is not None
        try:
            port = server.stdout.readline().strip()
            assert port.isdigit(), place.log.read_text(encoding="utf-8")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            log.write(server.stdout.read())
