# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules of awx.awx, run in Ansible's own process.

A run of the role is some sixty calls of modules, and each takes most of a second to start a Python of its own. An
action of the same name calls the module's ``main`` instead; argument specs, requests and results are the module's own.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import typing as t
from pathlib import Path
from unittest import mock

from ansible.module_utils import basic
from ansible.plugins.action import ActionBase

from tests.tools import awx_collection, layout

MODULES = (
    "credential",
    "credential_type",
    "execution_environment",
    "inventory",
    "inventory_source",
    "job_template",
    "notification_template",
    "organization",
    "project",
    "schedule",
    "workflow_job_template",
    "workflow_job_template_node",
)
PLUGIN = """# SPDX-License-Identifier: GPL-3.0-or-later
from ansible.plugins.action import ActionBase
from tests.awx.in_process import ActionModule
"""


def make_collections(place: Path) -> Path:
    """Make a folder of collections: ours, and awx.awx with these actions. Return it."""
    source = awx_collection.folder()
    made = place / awx_collection.COLLECTION
    actions = made / "plugins" / "action"
    actions.mkdir(parents=True)
    for name in ("MANIFEST.json", "meta"):
        (made / name).symlink_to(source / name)
    for name in ("doc_fragments", "lookup", "module_utils", "modules"):
        (made / "plugins" / name).symlink_to(source / "plugins" / name)
    for name in MODULES:
        (actions / f"{name}.py").write_text(PLUGIN)
    ours = place / layout.COLLECTION
    ours.parent.mkdir(parents=True)
    ours.symlink_to(layout.ROOT, target_is_directory=True)
    return place


class ActionModule(ActionBase):
    """Calls the module of the action's name."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Call the module and return what it said."""
        result = super().run(tmp, task_vars)
        name = self._task.action.rpartition(".")[2]
        module = importlib.import_module(f"ansible_collections.awx.awx.plugins.modules.{name}")
        arguments = {
            **self._task.args,
            "_ansible_check_mode": self._task.check_mode,
            "_ansible_no_log": self._task.no_log,
        }
        result.update(_call(module.main, arguments))
        return result


def _call(main: t.Callable[[], None], arguments: dict[str, t.Any]) -> dict[str, t.Any]:
    sent = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
    printed = io.StringIO()
    with (
        mock.patch.object(basic, "_ANSIBLE_ARGS", sent),
        mock.patch.object(basic, "_ANSIBLE_PROFILE", "legacy", create=True),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        main()
    return t.cast("dict[str, t.Any]", json.loads(printed.getvalue()))
