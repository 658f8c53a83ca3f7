# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory for actions that ask about all its targets, run in this process with the sandbox as the clouds."""

from __future__ import annotations

import collections
import types
import typing as t
from pathlib import Path

from ansible.playbook.task import Task
from ansible.plugins.action import ActionBase

from tests.sandbox import SandboxControl


class Inventory:
    """Runs an action. ``targets`` are the options of each, ``own`` what else a host has."""

    action: type[ActionBase]
    services: t.Collection[str]
    """Those of the sandbox whose calls are counted."""
    matrix: dict[str, t.Any]

    def __init__(
        self,
        control: SandboxControl,
        cache: Path,
        targets: t.Mapping[str, t.Mapping[str, t.Any]],
        own: dict[str, dict[str, t.Any]],
    ) -> None:
        self.control = control
        self.cache = cache
        self.targets = {name: dict(options) for name, options in targets.items()}
        self.own = own

    def run(self, **options: t.Any) -> dict[str, t.Any]:
        """Run it, with the calls of before forgotten."""
        self.control.clear_calls()
        hostvars = {
            name: {
                "inventory_hostname": name,
                "group_names": ["nim_providers", group_of(name)],
                "nim_target": options_of,
                "nim_matrix": self.matrix,
                **self.own.get(name, {}),
            }
            for name, options_of in self.targets.items()
        }
        names = list(self.targets)
        groups: dict[str, list[str]] = collections.defaultdict(list, {"nim_providers": names})
        for name in names:
            groups[group_of(name)].append(name)
        task = Task()
        task.args = {"cache_path": str(self.cache), **options}
        connection: t.Any = types.SimpleNamespace(_shell=types.SimpleNamespace(tmpdir=None))
        none: t.Any = None
        action = self.action(task, connection, none, none, none, none)
        return action.run(task_vars={"hostvars": hostvars, "groups": groups})

    def calls(self) -> collections.Counter[str]:
        """Count the calls that were made to the services."""
        return collections.Counter(call["service"] for call in self.control.calls() if call["service"] in self.services)


def group_of(name: str) -> str:
    """Return the group of a host."""
    provider = name.partition("-")[0]
    return "local" if provider == "render" else provider
