# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Install the companion into a workstation's ComfyUI. Documentation: plugins/modules/comfyui_companion.py.

One round trip looks, decides and changes: the program that does it and all files go there together, some 40 KB. Only
where wheels have to be brought along there is a second one. On Windows one looks, and one more changes what differs.
"""

from __future__ import annotations

import inspect
import json
import ntpath
import typing as t
from pathlib import Path, PurePosixPath

from ansible.plugins.action import ActionBase

from ansible_collections.budgetguard.techops.plugins.plugin_utils import _companion_install
from ansible_collections.budgetguard.techops.plugins.plugin_utils._posix_facts import (
    WorkstationError,
    base_problem,
    check_path,
)
from ansible_collections.budgetguard.techops.plugins.plugin_utils._posix_file import PosixWorkstation
from ansible_collections.budgetguard.techops.plugins.plugin_utils._windows import is_windows, windows_path
from ansible_collections.budgetguard.techops.plugins.plugin_utils._windows_companion_file import (
    WindowsCompanion,
    encoded,
)

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "comfyui_path": {"type": "str", "required": True},
    "src": {"type": "str"},
    "key_path": {"type": "str", "no_log": False, "default": "~/.config/budgetguard/studio.key"},
    "time_limit": {"type": "int", "default": 300},
    "contact": {"type": "str", "default": ""},
    "python": {"type": "str", "default": ""},
    "comfyui_user": {"type": "str", "default": ""},
    "unit": {"type": "str", "default": ""},
    "wheel_folder": {"type": "str", "default": ""},
    "index_url": {"type": "str", "no_log": True, "default": ""},
    "as_owner": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
SETTINGS = "settings.json"
DOOR = "companion.token"
NEVER = ("__pycache__", ".pyc")
LONGEST_TIME_LIMIT = 3600


class ActionModule(ActionBase):
    """The action budgetguard.techops.comfyui_companion."""

    TRANSFERS_FILES = False
    _supports_async = False
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Bring one workstation to its state, and turn every refusal into one sentence."""
        result = super().run(tmp, task_vars)
        required = [("state", "present", ("src",))]
        _validation, options = self.validate_argument_spec(ARGUMENT_SPEC, required_if=required)
        try:
            result.update(self._converge(options, task_vars or {}))
        except WorkstationError as problem:
            result.update(failed=True, msg=str(problem))
        return result

    def _converge(self, options: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        if not 1 <= options["time_limit"] <= LONGEST_TIME_LIMIT:
            raise WorkstationError(f"time_limit is {options['time_limit']}; it must be from 1 to 3600 seconds.")
        if is_windows(self):
            return self._converge_windows(options, task_vars)
        check_path("comfyui_path", options["comfyui_path"])
        files = wanted_files(options, door_path(options["key_path"])) if options["state"] == "present" else {}
        wheels = wheels_in(options["wheel_folder"]) if options["wheel_folder"] and files else None
        workstation = PosixWorkstation(self, [options["index_url"]])
        if options["as_owner"]:
            workstation.become_owner(options["comfyui_path"])
        sent = {
            "base": options["comfyui_path"],
            "files": encoded(files),
            "python": options["python"],
            "unit": options["unit"],
            "index": options["index_url"],
            "wants_wheels": wheels is not None,
            "wheels": None,
            "force": options["force"],
            "door": door_path(options["key_path"]),
            "state": options["state"],
            "check": bool(self._task.check_mode),
        }
        answer = self._ask(workstation, sent)
        if answer["needs_wheels"]:
            answer = self._ask(workstation, {**sent, "wheels": encoded(wheels or {})})
        folder = f"{options['comfyui_path'].rstrip('/')}/custom_nodes/{_companion_install.NAME}"
        return self._tell(answer, folder)

    def _converge_windows(self, options: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        key = windows_path("key_path", options["key_path"], home=True)
        options = {**options, "key_path": key}
        door = ntpath.join(ntpath.dirname(key), DOOR)
        companion = WindowsCompanion(self, task_vars, options, door)
        files = wanted_files(options, door) if options["state"] == "present" else {}
        wheels = wheels_in(options["wheel_folder"]) if options["wheel_folder"] and files else None
        answer = companion.converge(files, wheels, bool(self._task.check_mode))
        base = windows_path("comfyui_path", options["comfyui_path"])
        return self._tell(answer, ntpath.join(base, "custom_nodes", _companion_install.NAME))

    def _ask(self, workstation: PosixWorkstation, sent: dict[str, t.Any]) -> dict[str, t.Any]:
        """Run the program on the workstation. Raises WorkstationError."""
        program = f"{json.dumps(sent)}\n{inspect.getsource(_companion_install)}".encode()
        facts, told, complaint = workstation.run_python(sent["base"], None, (), "", program)
        problem = base_problem(facts, sent["force"])
        if problem is not None:
            raise WorkstationError(problem)
        answer = answer_in(told)
        if answer is None:
            ended = next((line for line in reversed(told) if line.startswith("python")), "")
            what = "There is no Python 3.8 or newer on it" if not ended else f"The program did not end ({ended})"
            raise WorkstationError(f"{what}. The workstation said: {complaint or 'nothing'}")
        if "problem" in answer:
            raise WorkstationError(str(answer["problem"]))
        return answer

    def _tell(self, answer: dict[str, t.Any], folder: str) -> dict[str, t.Any]:
        """Return the result: what was, or in check mode would be, done."""
        changed = bool(answer["steps"]) or answer["library"] in ("installed", "removed")
        told = {
            "changed": changed,
            "steps": answer["steps"],
            "python": answer["python"],
            "library": answer["library"],
            "path": folder,
            "restart_needed": any(step.endswith(".py") for step in answer["steps"]),
        }
        if self._task.diff:
            told["diff"] = {
                "before": shown(answer["before"]),
                "after": shown(answer["after"]),
                "before_header": told["path"],
                "after_header": told["path"],
            }
        return told


def wanted_files(options: dict[str, t.Any], door: str) -> dict[str, bytes]:
    """Return all files of the companion, by path below its folder; its token is in C(door). Raises WorkstationError."""
    source = Path(options["src"])
    files = {
        path.relative_to(source).as_posix(): path.read_bytes()
        for path in sorted(source.rglob("*"))
        if path.is_file() and not any(part.endswith(NEVER) for part in path.relative_to(source).parts)
    }
    if _companion_install.FIRST_FILE not in files:
        raise WorkstationError(
            f"src is '{source}', which does not hold the companion: no {_companion_install.FIRST_FILE}."
        )
    settings = {
        "key_path": options["key_path"],
        "time_limit": options["time_limit"],
        "token_path": door,
        "contact": options["contact"],
    }
    return {**files, SETTINGS: (json.dumps(settings, indent=2) + "\n").encode()}


def door_path(key_path: str) -> str:
    """Return where the token is that the network is asked for: beside the key."""
    return str(PurePosixPath(key_path).with_name(DOOR))


def wheels_in(folder: str) -> dict[str, bytes]:
    """Return the wheels of a folder on the controller. Raises WorkstationError."""
    found = {path.name: path.read_bytes() for path in sorted(Path(folder).expanduser().glob("*.whl"))}
    if not any(name.startswith(f"{_companion_install.LIBRARY}-") for name in found):
        raise WorkstationError(
            f"wheel_folder '{folder}' has no wheel of {_companion_install.LIBRARY}. Fill it where there is a network: "
            f"pip download --only-binary :all: --python-version 3.12 --dest {folder} {_companion_install.LIBRARY}"
        )
    return found


def answer_in(told: t.Sequence[str]) -> dict[str, t.Any] | None:
    """Return the program's answer, or None if it did not come to its end."""
    for line in told:
        if line.startswith("{"):
            try:
                answer = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(answer, dict) and answer.get("format") == _companion_install.FORMAT:
                return answer
    return None


def shown(files: t.Mapping[str, str]) -> str:
    """Return what a diff shows of the files: names and the beginning of their digests."""
    return "".join(f"{name}  {digest[:12]}\n" for name, digest in sorted(files.items()))
