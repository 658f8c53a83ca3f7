# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Look at, and change, the config and the key file of a Windows workstation in one module call each."""

from __future__ import annotations

import base64
import functools
import inspect
import json
import pathlib
import secrets
from typing import TYPE_CHECKING, Any

from ansible_collections.budgetguard.techops.plugins.module_utils import _windows_config
from ansible_collections.budgetguard.techops.plugins.plugin_utils import _windows_probe, _workstation_probe
from ansible_collections.budgetguard.techops.plugins.plugin_utils._posix_facts import WorkstationError
from ansible_collections.budgetguard.techops.plugins.plugin_utils._posix_programs import FAILURES
from ansible_collections.budgetguard.techops.plugins.plugin_utils._windows import (
    WindowsPython,
    python_candidates,
    quoted,
    windows_path,
)
from ansible_collections.budgetguard.techops.plugins.plugin_utils._windows_facts import WindowsFacts, parse_facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

NO_ACCESS_LISTS = (
    "the disk does not keep who may read {path}, as FAT, exFAT and some file servers do; use a disk with NTFS"
)

# What a word of the program means, where it is not the same as on POSIX. {config} and {key} are the paths.
WINDOWS_FAILURES = {
    **FAILURES,
    "base missing": "ComfyUI's base folder cannot be kept in its place while the config is written",
    "folder type": "the folder of {config} is a symbolic link or a junction; remove it",
    "folder missing": "the folder of {config} cannot be kept in its place while the config is written",
    "folder mode": "who may use the folder of {config} cannot be changed",
    "folder access": NO_ACCESS_LISTS.format(path="the folder of {config}"),
    "aside temporary": "the name of a temporary file beside {config} is taken already; someone may be interfering",
    "aside type": "the name of the copy beside {config} is taken by a link or a folder; remove it",
    "aside rename": FAILURES["aside write"],
    "aside access": NO_ACCESS_LISTS.format(path="{config}"),
    "config read": "{config} cannot be read any more",
    "config mode": "who may read {config} cannot be changed",
    "config access": NO_ACCESS_LISTS.format(path="{config}") + ". The old config stays",
    "config rename": "another program keeps {config} open; close ComfyUI, or run this again",
    "config remove": "another program keeps {config} open; close ComfyUI, or run this again",
    "companion access": NO_ACCESS_LISTS.format(path="the companion's files"),
    "companion open": "another program keeps a file of the companion open; close ComfyUI, then run this again",
    "companion other": "the companion's files cannot be changed",
    "companion rename": "another program keeps a file of the companion open; close ComfyUI, then run this again",
    "companion temporary": "the name of a temporary file of the companion is taken; someone may be interfering",
    "companion type": "the place of a file of the companion is taken by a link or a folder; remove it",
    "companion write": "a file of the companion cannot be written, the disk may be full",
    "key_folder missing": "the folder of {key} cannot be kept in its place while the key is written",
    "key_folder type": "the folder of {key} is a symbolic link or a junction; give the real path",
    "key access": NO_ACCESS_LISTS.format(path="{key}") + ". No key was written",
    "key rename": "another program keeps {key} open; close ComfyUI, or run this again",
    "key remove": "another program keeps {key} open; close ComfyUI, or run this again",
}


@functools.cache
def program_text() -> str:
    """Return the program that runs on the workstation."""
    return pathlib.Path(_windows_config.__file__).read_text(encoding="utf-8")


class WindowsWorkstation:
    """Runs the program on the workstation of a task.

    :arg action: the action plugin, for its connection and become.
    :arg task_vars: the variables of its task.
    :arg options: the options of its task.
    :arg hide: secrets that must not appear in an error text, should the workstation send one back.
    :raises WorkstationError: the collection ansible.windows is missing, or a path cannot be meant.
    """

    def __init__(
        self, action: Any, task_vars: Mapping[str, Any], options: Mapping[str, Any], hide: Iterable[str]
    ) -> None:
        hide = list(hide)
        self._hide = [secret for secret in hide if secret]
        self._user = options["comfyui_user"] or ""
        candidates = python_candidates(options["comfyui_path"], options["comfyui_python"])
        self._python = WindowsPython(action, task_vars, candidates, hide)

    def read(self, comfyui_path: str, key_path: str | None, key_lines: Sequence[str]) -> WindowsFacts:
        """Look at base folder, config and key file. One module call, nothing is changed, and no key is moved.

        :arg key_lines: lines the key file may have; the facts tell which ones it has, by number.
        """
        request = self._read_request(comfyui_path, key_path)
        return self._facts(self._run(request), request, key_lines)

    def probe(
        self, comfyui_path: str, key_path: str | None, key_lines: Sequence[str], options: Mapping[str, Any]
    ) -> tuple[WindowsFacts, dict[str, Any]]:
        """Look at the same, and at the rest of the workstation. One module call.

        :arg options: those of the program C(_workstation_probe).
        :returns: the facts, and what that program has answered.
        """
        request = self._read_request(comfyui_path, key_path)
        programs = {"config": program_text(), "probe": inspect.getsource(_workstation_probe)}
        data = {"programs": programs, "config": request, "probe": {**options, "base": request["base"]}}
        program = inspect.getsource(_windows_probe)
        answer = self._python.run(program, data=json.dumps(data), name="workstation_info")
        return self._facts(answer["config"], request, key_lines), dict(answer["probe"])

    def _read_request(self, comfyui_path: str, key_path: str | None) -> dict[str, Any]:
        base = windows_path("comfyui_path", comfyui_path)
        key = windows_path("key_path", key_path, home=True) if key_path else None
        return {"do": "read", "base": base, "user": self._user, "key": key, "nonce": secrets.token_hex(16)}

    def _facts(self, answer: dict[str, Any], request: dict[str, Any], key_lines: Sequence[str]) -> WindowsFacts:
        marks = [_windows_config.line_mark(request["nonce"], line) for line in key_lines]
        return parse_facts(answer, request["base"], self._user, request["key"], marks)

    def write(
        self, facts: WindowsFacts, steps: Sequence[str], content: bytes = b"", aside: str = "", key_line: str = ""
    ) -> bool:
        """Take the steps. One module call. Return False when the config changed since it was read: look again then."""
        request = {
            "do": "write",
            "base": facts.base,
            "user": facts.user.sid if facts.user else "",
            "key": facts.key,
            "steps": list(steps),
            "expected": facts.sum,
            "token": secrets.token_hex(8),
            "aside": aside,
            "content": base64.b64encode(content).decode("ascii"),
        }
        moves_key = bool({"key_keep", "key_final"} & set(steps))
        answer = self._run(request, key_line.encode("utf-8", "surrogateescape") if moves_key else b"")
        if answer.get("raced"):
            return False
        if "failed" in answer:
            raise WorkstationError(explain(str(answer["failed"]), str(answer.get("said", "")), facts, self._hide))
        return True

    def _run(self, request: Mapping[str, Any], secret: bytes = b"") -> dict[str, Any]:
        return self._python.run(program_text(), data=json.dumps(request), secret=secret, name="comfyui_config")


def explain(word: str, said: str, facts: WindowsFacts, hide: Iterable[str]) -> str:
    """Return a sentence for a word of the program, with what the workstation said but for the secrets in it."""
    meaning = WINDOWS_FAILURES.get(word, f"the step failed: {word}")
    for name, path in (("{config}", facts.path), ("{key}", facts.key or "")):
        meaning = meaning.replace(name, quoted(path))
    for secret in filter(None, hide):
        said = said.replace(secret, "(hidden)")
    return f"Not written: {meaning}." + (f" The workstation said: {said}" if said else "")
