# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""List the NIMs of a Docker host. Documentation: plugins/modules/nim_local_info.py.

Everywhere but on Windows this runs the module of that name. There, ComfyUI's own Python asks Docker, and what it says
is read here.
"""

from __future__ import annotations

import pathlib
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.budgetguard.techops.plugins.module_utils import _deployment as d
from ansible_collections.budgetguard.techops.plugins.module_utils import _package_installer
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _docker_containers
from ansible_collections.budgetguard.techops.plugins.modules.nim_local_info import ARGUMENT_SPEC
from ansible_collections.budgetguard.techops.plugins.plugin_utils._posix_facts import WorkstationError
from ansible_collections.budgetguard.techops.plugins.plugin_utils._windows import (
    comfyui_python,
    is_windows,
    run_as_module,
)


class ActionModule(ActionBase):
    """The action budgetguard.techops.nim_local_info."""

    TRANSFERS_FILES = False
    _supports_async = True
    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Run the module, or ask with another Python."""
        if not is_windows(self):
            return run_as_module(self, task_vars or {})
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(ARGUMENT_SPEC)
        try:
            answer = self._ask(options, task_vars or {})
        except WorkstationError as problem:
            return {**result, "failed": True, "msg": str(problem)}
        if answer["exit_code"]:
            return {**result, "failed": True, "msg": f"The target cannot be read. {answer['msg']}"}
        return {**result, "changed": False, "deployments": deployments(answer["containers"], options["endpoint_host"])}

    def _ask(self, options: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        python = comfyui_python(self, task_vars, options)
        words = ["list", "--json", "--docker-command", options["docker_command"]]
        # The default is a socket of Linux. Docker for Windows knows where its engine is.
        if options["docker_host"] != ARGUMENT_SPEC["docker_host"]["default"]:
            words += ["--docker-host", options["docker_host"]]
        program = pathlib.Path(_package_installer.__file__).read_text(encoding="utf-8")
        return python.run(program, words, name="install.py")


def deployments(containers: t.Iterable[t.Mapping[str, t.Any]], endpoint_host: str | None) -> list[dict[str, t.Any]]:
    """Return the NIMs among the containers. A NIM is ready when Docker's own check of it says so."""
    found = [
        _docker_containers.status(info, endpoint_host, info["Health"] == "healthy", None)
        for info in containers
        if info["Name"].lstrip("/") == info["Config"]["Labels"].get(d.DEPLOYMENT_TAG)
    ]
    return [status.as_dict() for status in sorted(found, key=lambda status: status.name)]
