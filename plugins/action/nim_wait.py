# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for NIMs on many targets at once, on the controller, and tell what happens meanwhile."""

from __future__ import annotations

import functools
import typing as t

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.budgetguard.techops.plugins.module_utils import _wait
from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import LOCAL_CONNECTION
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Status
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.plugin_utils._targets import (
    LOCAL,
    Connect,
    describe,
    load,
)

_OF_LOCAL = "a Docker host is only waited for by a task that runs on this very host, because it needs its connection"
_READ_LOCAL = "budgetguard.techops.nim_local_info"

TaskVars = dict[str, t.Any]

Described = dict[str, t.Any]
"""What describe() says about a target."""


class ActionModule(ActionBase):
    """The action of nim_wait."""

    TRANSFERS_FILES = False
    _supports_async = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Wait, and return which NIMs are ready and which are not."""
        result = super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(
            {
                "expected": {"type": "dict", "required": True},
                "timeout": {"type": "float", "default": 2700.0},
                "interval": {"type": "float", "default": 15.0},
                "heartbeat": {"type": "float", "default": 60.0},
                "fail": {"type": "bool", "default": True},
            }
        )
        wrong = [
            f"{name} is {options[name]:g}; it must be above 0"
            for name in ("interval", "heartbeat")
            if options[name] <= 0
        ]
        if wrong:
            raise AnsibleActionFail("\n".join(wrong))
        result.update(changed=False, ready=[], failures={}, timed_out=[], elapsed=0)
        try:
            nims = _wait.nims_of(options["expected"])
        except ValueError as exc:
            raise AnsibleActionFail(str(exc)) from exc
        if self._task.check_mode:
            return result
        waiter = _wait.Waiter(
            self._targets(nims, task_vars or {}),
            timeout=max(0.0, options["timeout"]),
            interval=options["interval"],
            heartbeat=options["heartbeat"],
            say=Display().display,
        )
        waiter.run()
        result.update(_outcome(waiter))
        if result["failures"] and options["fail"]:
            lines = [f"{target}: {line}" for target, text in result["failures"].items() for line in text.splitlines()]
            result.update(failed=True, msg="\n".join(lines))
        return result

    def _targets(self, nims: t.Mapping[str, list[_wait.Nim]], task_vars: TaskVars) -> list[_wait.Target]:
        """Return the targets. Variables are templated here, in one thread; only the clouds are asked in parallel."""
        described = {name: describe(str(name), task_vars, {}) for name in nims}
        connects = load(described.values())
        here = self._task.delegate_to or task_vars.get("inventory_hostname")
        return [
            self._docker_host(name, nims[name], task_vars)
            if name == here and described[name].get("provider") == LOCAL
            else _wait.Target(name, functools.partial(_connect, described[name], connects), nims[name])
            for name in nims
        ]

    def _docker_host(self, name: str, nims: t.Sequence[_wait.Nim], task_vars: TaskVars) -> _wait.Target:
        """Return the Docker host that this task runs on."""
        given = task_vars["hostvars"][name].get("nim_target") or {}
        options = {key: value for key, value in given.items() if key in LOCAL_CONNECTION}

        def read() -> Described:
            found: Described = self._execute_module(_READ_LOCAL, module_args=options, task_vars=task_vars)
            return found

        return _wait.Target(name, lambda: _DockerHost(read), nims, in_place=True)


class _DockerHost:
    """A Docker host, read by the module for it. What it says has all reasons already, so it is asked once a look."""

    def __init__(self, read: t.Callable[[], Described]) -> None:
        self._read = read
        self._told: dict[str, Status] = {}

    def progress(self, names: t.Sequence[str]) -> dict[str, Status]:
        """Run the module. Raises ProviderError for a host that gives no answer."""
        try:
            answer = self._read()
        except AnsibleConnectionFailure as exc:
            raise ProviderError(str(exc)) from exc
        if answer.get("failed") or "deployments" not in answer:
            raise ProviderError(str(answer.get("msg") or "it gave no answer"))
        self._told = {
            item["name"]: Status(
                item["name"], item["node"], item["gpu_tier"] or "", state=item["state"], reason=item["reason"]
            )
            for item in answer["deployments"]
        }
        return self.statuses(names)

    def statuses(self, names: t.Sequence[str] | None = None, explain: bool = False) -> dict[str, Status]:
        """Return what the last look has told."""
        return {name: status for name, status in self._told.items() if names is None or name in names}


def _connect(described: Described, connects: t.Mapping[str, Connect]) -> _wait.Watched:
    """Open a target. Raises ValueError for one that can never be asked."""
    if described["error"] is not None:
        raise ValueError(described["error"])
    if described["provider"] == LOCAL:
        raise ValueError(_OF_LOCAL)
    return connects[described["provider"]](described["options"])


def _outcome(waiter: _wait.Waiter) -> dict[str, t.Any]:
    late = [
        {**nim.as_dict(), "phase": str(nim.phase) if nim.phase is not None else None}
        for nim in waiter.nims
        if nim.is_open
    ]
    return {
        "ready": [nim.as_dict() for nim in waiter.nims if nim.is_ready],
        "failures": {target: "\n".join(lines) for target, lines in waiter.problems().items()},
        "timed_out": late,
        "elapsed": round(waiter.elapsed),
    }
