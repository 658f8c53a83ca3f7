# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One table of workstations for both ways to a config: the action comfyui_config and install_credentials.py."""

from __future__ import annotations

import dataclasses
import json
import typing as t
from pathlib import Path

from ansible_collections.budgetguard.techops.plugins.module_utils import _envelope
from tests.ssh.playing import make_comfyui
from tests.unit.workstation.examples import CREDENTIALS, KEY, PREVIOUS_KEY, STRANGER_KEY, config, endpoint, endpoints
from tests.unit.workstation.shells import CONFIG, mode

NEW_ENDPOINTS = {"version": "1.0", "nim_endpoints": endpoints(endpoint(url="https://new.example/flux"))}
OLD_ENDPOINTS = {"version": "1.0", "nim_endpoints": endpoints()}
STRANGERS = config(key=STRANGER_KEY)
BOTH_FILES = ("key_keep", "config")


class Place:
    """A workstation that is a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.base = root / "Comfy UI"
        self.key_file = root / "keys" / "studio.key"

    @property
    def config(self) -> Path:
        """The config's path."""
        return self.base / CONFIG

    def comfyui(self) -> Place:
        """Make ComfyUI's base folder."""
        make_comfyui(self.base)
        return self

    def put_config(self, content: bytes, permissions: int = 0o600) -> Place:
        """Make the config."""
        self.config.parent.mkdir(mode=0o700)
        self.config.write_bytes(content)
        self.config.chmod(permissions)
        return self

    def put_key(self, *lines: str, permissions: int = 0o400) -> Place:
        """Make the key file."""
        self.key_file.parent.mkdir(mode=0o700)
        self.key_file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        self.key_file.chmod(permissions)
        return self

    def tree(self) -> dict[str, t.Any]:
        """Return all that is there, in its meaning: a config without its time, with what is sealed in it."""
        found: dict[str, t.Any] = {}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            if path.is_symlink():
                found[name] = ("link", str(path.readlink()).replace(str(self.root), ""))
            elif path.is_dir():
                found[name] = ("folder", mode(path))
            else:
                found[name] = ("file", mode(path), self._meaning(path))
        return found

    def _meaning(self, path: Path) -> t.Any:
        content = path.read_bytes()
        if path != self.config:
            return content
        document = json.loads(content)
        order = list(document)
        document.pop("installed_at")
        document["opened"] = _envelope.unseal(document["credentials"], KEY)
        document["credentials"].pop("encrypted_data")
        return order, document


@dataclasses.dataclass(frozen=True)
class Case:
    """How a workstation is found, what it should say, and what has to be done: steps, or the words of a refusal."""

    prepare: t.Callable[[Place], object]
    expected: tuple[str, ...] | str
    endpoints: dict[str, t.Any] = dataclasses.field(default_factory=lambda: OLD_ENDPOINTS)
    previous: bool = False


def _good(place: Place, **changes: t.Any) -> Place:
    return place.comfyui().put_config(config(**changes)).put_key(f"v2 {KEY}")


def _edited(**fields: t.Any) -> bytes:
    return json.dumps({**json.loads(config()), **fields}).encode()


def _link(path: Path, target: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.symlink_to(target)


CASES: dict[str, Case] = {
    "fresh": Case(lambda place: place.comfyui(), BOTH_FILES),
    "right": Case(_good, ()),
    "other-endpoints": Case(_good, ("config",), endpoints=NEW_ENDPOINTS),
    "other-credentials": Case(lambda place: _good(place, credentials={"nvidia": {}}), ("config",)),
    "other-mode-name": Case(lambda place: _good(place, mode="studio-wide"), ("config",)),
    "tampered-fingerprint": Case(
        lambda place: (
            place.comfyui()
            .put_config(_edited(credentials={**json.loads(config())["credentials"], "note": "x"}))
            .put_key(f"v2 {KEY}")
        ),
        ("config",),
    ),
    "fields-of-others": Case(
        lambda place: place.comfyui().put_config(_edited(theme="dark")).put_key(f"v2 {KEY}"),
        ("config",),
        endpoints=NEW_ENDPOINTS,
    ),
    "open-config": Case(
        lambda place: place.comfyui().put_config(config(), 0o644).put_key(f"v2 {KEY}"), ("config_mode",)
    ),
    "open-folder": Case(lambda place: _good(place).config.parent.chmod(0o777), ("folder",)),
    "open-key": Case(
        lambda place: place.comfyui().put_config(config()).put_key(f"v2 {KEY}", permissions=0o644), ("key_final",)
    ),
    "no-key": Case(lambda place: place.comfyui().put_config(config()), ("key_final",)),
    "rotating": Case(
        lambda place: place.comfyui().put_config(config()).put_key(f"v2 {KEY}", f"v2 {PREVIOUS_KEY}"),
        ("key_final",),
        previous=True,
    ),
    "previous-key": Case(
        lambda place: place.comfyui().put_config(config(key=PREVIOUS_KEY)).put_key(f"v2 {PREVIOUS_KEY}"),
        ("key_keep", "config", "key_final"),
        previous=True,
    ),
    "foreign-line": Case(lambda place: place.comfyui().put_config(config()).put_key("something else"), ("key_final",)),
    "cut-off": Case(lambda place: place.comfyui().put_config(config()[:100]).put_key(f"v2 {KEY}"), ("aside", "config")),
    "empty": Case(lambda place: place.comfyui().put_config(b"").put_key(f"v2 {KEY}"), ("aside", "config")),
    "strangers": Case(lambda place: place.comfyui().put_config(STRANGERS), ("key_keep", "aside", "config")),
    "no-folder": Case(lambda place: place.root.mkdir(), "There is no folder"),
    "not-comfyui": Case(lambda place: place.base.mkdir(parents=True), "does not look like ComfyUI"),
    "config-is-link": Case(
        lambda place: _link(place.comfyui().config, place.root / "elsewhere"), "is a symbolic link; it must be a file"
    ),
    "folder-is-link": Case(
        lambda place: _link(place.comfyui().config.parent, place.root), "is a symbolic link; it must be a folder"
    ),
    "config-is-folder": Case(lambda place: place.comfyui().config.mkdir(parents=True), "is not a file"),
    "key-is-link": Case(lambda place: _link(place.comfyui().key_file, place.root / "x"), "the key must be a file"),
    "key-folder-is-link": Case(
        lambda place: _link(place.comfyui().key_file.parent, place.root), "give key_path with the real folder"
    ),
    "key-folder-is-open": Case(
        lambda place: place.comfyui().put_key(f"v2 {KEY}").key_file.parent.chmod(0o777), "Others may write"
    ),
}

SEALED = config()
"""What the export has for these workstations. Each time it is sealed, the ciphertext is another one."""

__all__ = ("CASES", "CREDENTIALS", "SEALED", "Case", "Place")
