# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A look at a Windows workstation in memory: the real action and both programs, but for the calls of Windows."""

from __future__ import annotations

import ast
import inspect
import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.budgetguard.techops.plugins.action import workstation_info
from ansible_collections.budgetguard.techops.plugins.plugin_utils import _windows_probe
from tests.unit.workstation import windows_host
from tests.unit.workstation.examples import CANARY, CREDENTIALS, KEY, STUDIO_KEY, endpoints

GIVEN: dict[str, t.Any] = {
    "comfyui_path": windows_host.BASE,
    "studio_key": STUDIO_KEY,
    "key_path": windows_host.KEY_PATH,
}
DOCUMENT = {"nim_endpoints": endpoints()}


class Host(windows_host.Host):
    """Runs the look against a workstation, too."""

    def audit(self, **options: t.Any) -> dict[str, t.Any]:
        """Run workstation_info."""
        given = {**GIVEN, "endpoints": DOCUMENT, "credentials": CREDENTIALS, "probe_timeout": 5, **options}
        return self._run(workstation_info.ActionModule, "workstation_info", given, False, False)

    def _execute_module(
        self, module_name: str, module_args: dict[str, t.Any], task_vars: dict[str, t.Any]
    ) -> dict[str, t.Any]:
        if "workstation_info" not in module_args["argv"][-1]:
            return super()._execute_module(module_name, module_args, task_vars)
        self.calls.append(windows_host.Call(module_name, module_args, task_vars, [], False, True))
        program, data = inspect.getsource(_windows_probe), module_args["stdin"]
        assert data.startswith(program)
        answer = _windows_probe.answer(json.loads(data[len(program) :]), self.system)
        return {"changed": True, "rc": 0, "stdout": f"{json.dumps(answer)}\r\n", "stderr": ""}


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    """Return a workstation with a config, on which no program of the controller is found."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    made = Host()
    assert not made.configure(**GIVEN, endpoints=DOCUMENT, credentials=CREDENTIALS).get("failed")
    made.calls.clear()
    return made


def test_one_call_tells_everything(host: Host) -> None:
    told = host.audit()
    assert len(host.calls) == 1
    assert (told["config"]["status"], told["config"]["key_file"]) == ("ok", "current")
    assert told["endpoints"]["state"] == "same"
    assert {name: one["state"] for name, one in told["credentials"].items()} == {"aws": "same", "nvidia": "same"}
    assert told["probe"]["gpu"] == {"problem": "nvidia-smi is not there"}
    assert abs(told["clock_seconds"]) < 60


def test_nothing_secret_goes_there_or_comes_back(host: Host) -> None:
    told = repr(host.audit()) + repr(host.calls)
    assert [secret for secret in (CANARY, KEY, STUDIO_KEY) if secret in told] == []


def test_a_config_that_others_may_read_is_told(host: Host) -> None:
    assert not host.audit()["exposed"]
    host.system.set_access(windows_host.CONFIG, windows_host.INHERITED)
    assert host.audit()["exposed"]


def test_without_a_config(host: Host) -> None:
    host.system = windows_host.FakeWindows()
    assert host.audit()["config"]["status"] == "missing"


def test_program_is_of_a_python_that_comfyui_brings() -> None:
    ast.parse(inspect.getsource(_windows_probe), feature_version=(3, 8))
