# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Bring the companion to a Windows workstation: look in one module call, decide here, change in one more."""

from __future__ import annotations

import base64
import dataclasses
import inspect
import json
import secrets
import typing as t

from ansible_collections.budgetguard.techops.plugins.plugin_utils import (
    _companion_install,
    _windows_companion,
    _windows_probe,
)
from ansible_collections.budgetguard.techops.plugins.plugin_utils._posix_facts import WorkstationError
from ansible_collections.budgetguard.techops.plugins.plugin_utils._windows import (
    WindowsPython,
    python_candidates,
    quoted,
    windows_path,
)
from ansible_collections.budgetguard.techops.plugins.plugin_utils._windows_facts import WindowsFacts, parse_facts
from ansible_collections.budgetguard.techops.plugins.plugin_utils._windows_file import explain, program_text

Files = t.Mapping[str, bytes]
INDEX_VARIABLE = "PIP_INDEX_URL"


@dataclasses.dataclass(frozen=True)
class Decision:
    """What has to be done, and how it is told."""

    steps: list[str]
    write: list[str] = dataclasses.field(default_factory=list)
    remove: list[str] = dataclasses.field(default_factory=list)
    door: bool = False
    packages: str = "present"


class WindowsCompanion:
    """The companion on the workstation of a task.

    :arg action: the action plugin, for its connection and become.
    :arg task_vars: the variables of its task.
    :arg options: the options of its task.
    :arg door: where the token of the doorway is, as C(windows_path) has it.
    :raises WorkstationError: the collection ansible.windows is missing, or a path cannot be meant.
    """

    def __init__(
        self, action: t.Any, task_vars: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any], door: str
    ) -> None:
        self._options = options
        self._base = windows_path("comfyui_path", options["comfyui_path"])
        self._door = door
        candidates = python_candidates(options["comfyui_path"], options["python"])
        self._python = WindowsPython(action, task_vars, candidates, [options["index_url"]])

    def converge(self, files: Files, wheels: Files | None, check: bool) -> dict[str, t.Any]:
        """Look, decide, and change something only where it differs and C(check) is false.

        :arg wheels: what pip shall take, or None for an index. They are only sent where they are needed.
        """
        found = self._look()
        facts = found["facts"]
        decision = decide(found, files, self._options["state"])
        library = None
        if decision.packages == "installed":
            library = {"tag": found["seen"]["tag"], "wheels": None if wheels is None else encoded(wheels)}
        if not check and (decision.steps or decision.packages in ("installed", "removed")):
            self._change(facts, decision, files, found["open"], library)
        return {
            "steps": decision.steps,
            "python": None if self._options["state"] == "absent" else found["python"],
            "library": decision.packages,
            "before": found["files"],
            "after": digests(files),
        }

    def _look(self) -> dict[str, t.Any]:
        """Return what there is, with the facts as one value. Raises WorkstationError for what is in the way."""
        user = self._options["comfyui_user"]
        facts = {"do": "read", "base": self._base, "user": user, "key": self._door, "nonce": secrets.token_hex(16)}
        found = self._run({"do": "look", "facts": facts})
        seen = parse_facts(found["facts"], self._base, user, self._door, [])
        no_home = self._options["state"] == "absent" and seen.key is None
        problem = seen.base_problem(self._options["force"]) or (None if no_home else seen.key_problem())
        if problem is None:
            problem = found.get("problem") or self._failure(found, seen)
        if problem is not None:
            raise WorkstationError(problem)
        return {**found, "facts": seen}

    def _change(
        self,
        facts: WindowsFacts,
        decision: Decision,
        files: Files,
        opened: list[str],
        library: dict[str, t.Any] | None,
    ) -> None:
        index = self._options["index_url"]
        environment = {INDEX_VARIABLE: index} if index and library is not None else None
        request = {
            "do": "change",
            "user": facts.user.sid if facts.user else "",
            "door": facts.key,
            "door_step": decision.door,
            "open": opened,
            "write": [(name, base64.b64encode(files[name]).decode("ascii")) for name in decision.write],
            "remove": decision.remove,
            "library": library,
            "token": secrets.token_hex(8),
        }
        answer = self._run(request, environment)
        problem = answer.get("problem") or self._failure(answer, facts)
        if problem is not None:
            raise WorkstationError(problem)

    def _failure(self, answer: t.Mapping[str, t.Any], facts: WindowsFacts) -> str | None:
        if "failed" not in answer:
            return None
        return explain(str(answer["failed"]), str(answer.get("said", "")), facts, [self._options["index_url"]])

    def _run(self, request: t.Mapping[str, t.Any], environment: dict[str, str] | None = None) -> dict[str, t.Any]:
        data = {
            "programs": {
                "config": program_text(),
                "install": inspect.getsource(_companion_install),
                "companion": inspect.getsource(_windows_companion),
            },
            "companion": {"base": self._base, "state": self._options["state"], **request},
        }
        program = inspect.getsource(_windows_probe)
        return self._python.run(program, data=json.dumps(data), environment=environment, name="comfyui_companion")


def decide(found: t.Mapping[str, t.Any], files: Files, state: str) -> Decision:
    """Return the steps from what was found to the files that should be there. Raises WorkstationError."""
    facts: WindowsFacts = found["facts"]
    there: dict[str, str] = found["files"]
    if state == "absent":
        steps = [f"remove {name}" for name in sorted(there)] or (["remove ."] if found["has_folder"] else [])
        steps += [f"remove {path}" for path in found["written"]]
        steps += [f"remove {facts.key}"] if facts.has_key_file else []
        return Decision(steps, door=facts.has_key_file, packages="removed" if found["has_libraries"] else "absent")
    library = _library(found)
    plan = _companion_install.plan(there, digests(files))
    steps = [f"access {name}" for name in found["open"]] + [f"{step} {name}" for step, name in plan]
    door = None if facts.key_file_is_right else ("replace" if facts.has_key_file else "create")
    return Decision(
        steps + ([f"{door} {facts.key}"] if door else []),
        [name for step, name in plan if step == "write"],
        [name for step, name in plan if step == "remove"],
        door is not None,
        library,
    )


def _library(found: t.Mapping[str, t.Any]) -> str:
    """Say what becomes of the library. Raises WorkstationError where nothing can."""
    python, seen = quoted(found["python"]), found["seen"]
    if seen is None or not seen["comfyui"]:
        raise WorkstationError(
            f"{python} has no aiohttp, of which ComfyUI's server is made, so it is not ComfyUI's. Set comfyui_python."
        )
    if tuple(seen["version"]) < _companion_install.OLDEST:
        raise WorkstationError(f"ComfyUI's Python {python} is older than 3.9.")
    if seen["library"]:
        return "present"
    if not seen["pip"]:
        raise WorkstationError(
            f"ComfyUI's Python {python} has neither {_companion_install.LIBRARY} nor pip. Run there: "
            f'"{found["python"]}" -m ensurepip'
        )
    return "installed"


def digests(files: Files) -> dict[str, str]:
    """Return path to digest."""
    return {name: _companion_install.digest(content) for name, content in files.items()}


def encoded(files: Files) -> dict[str, str]:
    """Return contents in a form that JSON can hold."""
    return {name: base64.b64encode(content).decode("ascii") for name, content in files.items()}
