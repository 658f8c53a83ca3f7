# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What the actions comfyui_config and comfyui_config_info have in common: options, keys, refusals."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._envelope import (
    PER_WORKSTATION,
    STUDIO_WIDE,
    EnvelopeError,
    key_line,
    require_key,
    studio_wide_key,
    workstation_key,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._workstation import STUDIO_WIDE_MODE
from ansible_collections.budgetguard.techops.plugins.plugin_utils._posix_facts import WorkstationError, check_path
from ansible_collections.budgetguard.techops.plugins.plugin_utils._posix_file import PosixWorkstation
from ansible_collections.budgetguard.techops.plugins.plugin_utils._windows import is_windows, windows_path
from ansible_collections.budgetguard.techops.plugins.plugin_utils._windows_file import WindowsWorkstation

# "path" options are of type str: they are paths on the workstation, so ~ must not be expanded on the controller.
SHARED_ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "comfyui_path": {"type": "str", "required": True},
    "key": {"type": "str", "no_log": True},
    "previous_keys": {"type": "list", "elements": "str", "no_log": True, "default": []},
    "key_path": {"type": "str", "no_log": False},
    "studio_key": {"type": "str", "no_log": True},
    "previous_studio_key": {"type": "str", "no_log": True},
    "workstation_id": {"type": "str"},
    "mode": {"type": "str", "choices": ["workstation", STUDIO_WIDE_MODE], "default": "workstation"},
    "encryption_version": {"type": "int", "choices": [STUDIO_WIDE, PER_WORKSTATION]},
    "as_owner": {"type": "bool", "default": False},
    "comfyui_user": {"type": "str"},
    "comfyui_python": {"type": "str"},
}

Workstation = t.Union[PosixWorkstation, WindowsWorkstation]


@dataclasses.dataclass(frozen=True)
class Keys:
    """The keys of one task, checked. C(line) is what the key file should hold, C(known_lines) may come after it."""

    version: int
    key: str | None = dataclasses.field(repr=False)
    previous: tuple[str, ...] = dataclasses.field(repr=False)
    line: str | None = dataclasses.field(repr=False)
    known_lines: tuple[str, ...] = dataclasses.field(repr=False)

    def secrets(self) -> list[str]:
        """Return all that must not show up in an error text, longest first."""
        texts = {text for text in (self.key, self.line, *self.previous, *self.known_lines) if text}
        texts |= {line.split(" ", 1)[1] for line in self.known_lines}
        return sorted(texts, key=len, reverse=True)


def version_for(options: dict[str, t.Any]) -> int:
    """Return the envelope's version: 1 studio-wide, else 2 unless 1 was asked for.

    :raises EnvelopeError: studio-wide with version 2, which has no studio-wide key.
    """
    asked = options["encryption_version"]
    if options["mode"] == STUDIO_WIDE_MODE:
        if asked == PER_WORKSTATION:
            raise EnvelopeError("mode: studio-wide needs encryption_version 1; version 2 has one key per workstation.")
        return STUDIO_WIDE
    return asked or PER_WORKSTATION


def keys_from(options: dict[str, t.Any], workstation_id: str) -> Keys:
    """Check the key options of a task, and derive the keys that were not derived before.

    :raises EnvelopeError: something that is not a derived key, or a weak studio key.
    """
    version = version_for(options)
    key = options["key"] or _derive(options["studio_key"], version, workstation_id)
    previous = tuple(options["previous_keys"] or ())
    for studio_key in (options["studio_key"], options["previous_studio_key"]):
        if studio_key:
            previous = (*previous, workstation_key(studio_key, workstation_id))
    for one in ([key] if key else []) + list(previous):
        require_key(one)
    line = None
    known_lines: tuple[str, ...] = ()
    if options["key_path"] and key:
        line = key_line(version, key, options["studio_key"])
        known_lines = (line, *(key_line(PER_WORKSTATION, one) for one in previous))
    return Keys(version, key, previous, line, known_lines)


def _derive(studio_key: str | None, version: int, workstation_id: str) -> str | None:
    """Derive a workstation's key, or return None without a studio key."""
    if not studio_key:
        return None
    return workstation_key(studio_key, workstation_id) if version == PER_WORKSTATION else studio_wide_key(studio_key)


def check_options(options: dict[str, t.Any], windows: bool = False) -> None:
    """Check the path options of a task, by the rules of the workstation's system.

    :raises WorkstationError: a path that cannot be meant.
    """
    if windows:
        windows_path("comfyui_path", options["comfyui_path"])
        if options["key_path"]:
            windows_path("key_path", options["key_path"], home=True)
        return
    check_path("comfyui_path", options["comfyui_path"])
    if options["key_path"]:
        check_path("key_path", options["key_path"])


def open_workstation(
    action: t.Any, keys: Keys, options: dict[str, t.Any], task_vars: t.Mapping[str, t.Any] | None = None
) -> Workstation:
    """Return the workstation of a task, reached as the user that was asked for.

    :arg task_vars: the variables of the task. Only Windows needs them.
    :raises WorkstationError: something is missing on the controller, or a key would have to be moved by a temporary
        file.
    """
    if is_windows(action):
        return WindowsWorkstation(action, task_vars or {}, options, keys.secrets())
    workstation = PosixWorkstation(action, keys.secrets())
    if options["key_path"] and not workstation.can_take_input():
        raise WorkstationError(
            f"A key cannot be moved over the connection {action._connection.transport!r} (or its become method) "
            "without a temporary file in clear. Use the connection ssh with sudo, or leave out key_path and deliver "
            "the key in another way."
        )
    if options["as_owner"]:
        workstation.become_owner(options["comfyui_path"])
    return workstation


def plain(value: t.Any) -> t.Any:
    """Return a templated value as plain Python: vaulted texts become texts that json can write."""
    if isinstance(value, dict):
        return {plain(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value)


__all__ = (
    "SHARED_ARGUMENTS",
    "Keys",
    "Workstation",
    "check_options",
    "keys_from",
    "open_workstation",
    "plain",
    "version_for",
)
