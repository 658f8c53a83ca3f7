# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Workstations for plays: their options, and how to see what became of them."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

from ansible_collections.budgetguard.techops.plugins.module_utils import _envelope
from tests.ssh.playing import CONFIG, INFO
from tests.unit.workstation.examples import CREDENTIALS, endpoints
from tests.unit.workstation.shells import CONFIG as CONFIG_PATH

ROLE = "budgetguard.techops.workstation_config"
DOCUMENT = {"version": "1.0", "generated_at": "2026-11-23T09:00:00Z", "nim_endpoints": endpoints()}

OPTIONS: dict[str, t.Any] = {
    "comfyui_path": "{{ comfyui_path }}",
    "endpoints": "{{ endpoints }}",
    "credentials": "{{ credentials }}",
    "key": "{{ key }}",
    "previous_keys": "{{ previous_keys | default([]) }}",
    "key_path": "{{ key_path }}",
}
INFO_OPTIONS = {name: OPTIONS[name] for name in ("comfyui_path", "key", "previous_keys", "key_path")}


def config_task(**options: t.Any) -> dict[str, t.Any]:
    """Return a task of comfyui_config; None leaves an option out."""
    merged = {**OPTIONS, **options}
    return {CONFIG: {name: value for name, value in merged.items() if value is not None}}


def info_task(**options: t.Any) -> dict[str, t.Any]:
    """Return a task of comfyui_config_info; None leaves an option out."""
    merged = {**INFO_OPTIONS, **options}
    return {INFO: {name: value for name, value in merged.items() if value is not None}}


def variables(base: Path, key_path: Path | str, studio_key: str, name: str = "ws-1") -> dict[str, t.Any]:
    """Return a workstation's variables for the tasks."""
    return {
        "comfyui_path": str(base),
        "key_path": str(key_path),
        "key": _envelope.workstation_key(studio_key, name),
        "endpoints": DOCUMENT,
        "credentials": CREDENTIALS,
    }


def document(base: Path) -> dict[str, t.Any]:
    """Return the config of a workstation."""
    content: dict[str, t.Any] = json.loads((base / CONFIG_PATH).read_bytes())
    return content


def opened(base: Path, key_file: Path) -> dict[str, t.Any]:
    """Open a config as ComfyUI's companion does: with any line of the key file."""
    sealed = document(base)["credentials"]
    for line in key_file.read_text(encoding="utf-8").splitlines():
        version, text = line.split(" ", 1)
        key = _envelope.studio_wide_key(text) if version == "v1" else text
        try:
            return t.cast(dict[str, t.Any], _envelope.unseal(sealed, key))
        except _envelope.WrongKeyError:
            continue
    raise AssertionError("no line of the key file opens the config")
