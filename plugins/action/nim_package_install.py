# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Install NIMs from a package. Documentation: plugins/modules/nim_package_install.py.

Everywhere but on Windows this runs the module of that name. There, ComfyUI's own Python runs the same code.
"""

from __future__ import annotations

import pathlib
import re
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.budgetguard.techops.plugins.module_utils import _package_installer
from ansible_collections.budgetguard.techops.plugins.module_utils._keys import check_key
from ansible_collections.budgetguard.techops.plugins.modules.nim_package_install import ARGUMENT_SPEC
from ansible_collections.budgetguard.techops.plugins.plugin_utils._posix_facts import WorkstationError
from ansible_collections.budgetguard.techops.plugins.plugin_utils._windows import (
    comfyui_python,
    is_windows,
    quoted,
    run_as_module,
    windows_path,
)

# On Windows, paths are those of the workstation, so nothing in them must be resolved here.
WINDOWS_SPEC: dict[str, dict[str, t.Any]] = {
    **ARGUMENT_SPEC,
    "package": {"type": "str"},
    "folder": {"type": "str"},
}
HOME_FOLDER = re.compile(r"[A-Za-z]:\\Users\\[^\\]+\\.+", re.IGNORECASE)


class ActionModule(ActionBase):
    """The action budgetguard.techops.nim_package_install."""

    TRANSFERS_FILES = False
    _supports_async = True
    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Run the module, or the same code with another Python."""
        if not is_windows(self):
            return run_as_module(self, task_vars or {})
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(
            WINDOWS_SPEC, required_if=[("state", "present", ["package"])]
        )
        try:
            result.update(self._install(options, task_vars or {}))
        except (WorkstationError, ValueError) as problem:
            result.update(failed=True, msg=str(problem))
        return result

    def _install(self, options: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        keys = {name.upper(): check_key(name, options[name]) for name in ("ngc_api_key", "hf_token")}
        given = {name: key for name, key in keys.items() if key}
        python = comfyui_python(self, task_vars, options, given.values())
        words = install_words(options, check=bool(self._task.check_mode), with_keys=bool(given))
        program = pathlib.Path(_package_installer.__file__).read_text(encoding="utf-8")
        return told(python.run(program, words, environment=given, name="install.py"))


def install_words(options: t.Mapping[str, t.Any], check: bool, with_keys: bool) -> list[str]:
    """Return the command line of the program.

    :raises WorkstationError: a path that cannot be meant, or a folder that is no place for a key.
    """
    words = ["install" if options["state"] == "present" else "uninstall", "--json"]
    if check:
        words.append("--check")
    if options["folder"] not in (None, ARGUMENT_SPEC["folder"]["default"]):
        folder = windows_path("folder", options["folder"], home=True)
        if with_keys and not folder.startswith("~") and not HOME_FOLDER.fullmatch(folder):
            raise WorkstationError(
                f"folder is {quoted(folder)}; a key is only written below a user's home, such as "
                r"C:\Users\artist\.budgetguard_local, because others may read elsewhere."
            )
        words += ["--folder", folder]
    for option in ("docker_host", "docker_command"):
        if options[option]:
            words += [f"--{option.replace('_', '-')}", options[option]]
    words += _install_only(options) if options["state"] == "present" else _flags(options, "keep_models")
    if options["nodes"]:
        words += ["--nodes", *options["nodes"]]
    return words


def _install_only(options: t.Mapping[str, t.Any]) -> list[str]:
    words = ["--package", windows_path("package", options["package"])]
    if options["manifest_sha256"]:
        words += ["--manifest-sha256", options["manifest_sha256"]]
    words += ["--bind-address", options["bind_address"], "--user", str(options["user"])]
    for node, port in options["ports"].items():
        words += ["--port", f"{node}={port}"]
    return words + _flags(options, "skip_fit_check", "replace_running")


def _flags(options: t.Mapping[str, t.Any], *names: str) -> list[str]:
    return [f"--{name.replace('_', '-')}" for name in names if options[name]]


def told(answer: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the program's answer as the module's result."""
    code = answer["exit_code"]
    result = {name: value for name, value in answer.items() if name != "exit_code"}
    if code and "msg" not in result:
        bad = [node for node in result.get("nodes", ()) if node["state"] in ("failed", "refused")]
        result["msg"] = "\n".join(f"{node['node']}: {node['state']} - {node['reason']}" for node in bad)
    return {**result, "failed": bool(code)}
