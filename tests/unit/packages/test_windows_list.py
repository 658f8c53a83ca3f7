# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""nim_local_info on Windows: what is asked, and what is made of what Docker says."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task

from ansible_collections.budgetguard.techops.plugins.action import nim_local_info
from ansible_collections.budgetguard.techops.plugins.module_utils import _package_installer
from tests.unit.workstation.windows_host import Connection, Loader

CANARY = "nvapi-canary-secret-of-the-studio"


def container(name: str, status: str = "running", health: str = "healthy", port: str = "8010") -> dict[str, t.Any]:
    """Return what Docker says of a container, as far as it matters, and of one thing that nobody may see."""
    return {
        "Id": "0",
        "Name": f"/{name}",
        "Created": "2026-11-23T18:00:00.5Z",
        "RestartCount": 0,
        "State": {
            "Status": status,
            "Running": status == "running",
            "StartedAt": "2026-11-28T09:12:40.5Z",
            "ExitCode": 0,
            "Health": {"Status": health, "Log": [{"Output": CANARY}]},
        },
        "Config": {
            "Env": [f"NGC_API_KEY={CANARY}"],
            "Labels": {
                "budgetguard:managed": "true",
                "budgetguard:deployment": "nim-flux-dev-rtx-4090",
                "budgetguard:node": "FLUX Dev",
                "budgetguard:gpu-tier": "rtx-4090",
            },
        },
        "HostConfig": {
            "PortBindings": {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": port}]},
            "RestartPolicy": {"Name": "no"},
        },
    }


def ask(answer: dict[str, t.Any], code: int = 0, wait: int = 0, **options: t.Any) -> tuple[dict[str, t.Any], list[str]]:
    """Run the real action. Return its result and the words that the program on the workstation got."""
    sent: list[str] = []
    task = Task()
    task.action, task.environment, task.async_val = "budgetguard.techops.nim_local_info", [], wait
    task.args = {"comfyui_path": r"D:\portable\ComfyUI", "endpoint_host": "127.0.0.1", **options}

    def execute(module_name: str, module_args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        sent.extend(module_args["argv"][5:])
        return {"rc": code, "stdout": json.dumps(answer), "stderr": ""}

    make: t.Callable[..., t.Any] = nim_local_info.ActionModule
    action = make(task, Connection(), PlayContext(), None, None, None)
    vars(action).update(
        _execute_module=execute, _shared_loader_obj=Loader(True), _is_pipelining_enabled=lambda style: True
    )
    return action.run(None, {}), sent


def told(*found: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return what the program answers where Docker has these containers."""

    class Docker(_package_installer.Docker):
        def __init__(self) -> None:
            """Have no program."""

        def info(self) -> dict[str, t.Any]:
            return {}

        def run(self, doing: str, *words: str) -> str:
            assert words[:4] == ("ps", "--all", "--quiet", "--no-trunc")
            assert words[-1] == "label=budgetguard:managed=true"
            return "\n".join(info["Id"] for info in found)

        def inspect(self, kind: str, names: t.Sequence[str]) -> list[dict[str, t.Any]]:
            assert (kind, len(names)) == ("container", len(found))
            return list(found)

    return {"changed": False, "containers": _package_installer.containers(Docker())}


def test_what_docker_says_becomes_deployments_and_no_key_leaves_the_workstation() -> None:
    answer = told(container("nim-flux-dev-rtx-4090"), container("nim-flux-dev-rtx-4090-next", port="8011"))
    assert CANARY not in json.dumps(answer)
    result, _words = ask(answer)
    (found,) = result["deployments"]
    assert (found["node"], found["gpu_tier"], found["state"]) == ("FLUX Dev", "rtx-4090", "running")
    assert found["endpoint"] == "http://127.0.0.1:8010"
    assert (found["deployed_at"], found["running_since"]) == ("2026-11-23T18:00:00Z", "2026-11-28T09:12:40Z")


@pytest.mark.parametrize(
    ("status", "health", "state"),
    [
        ("running", "healthy", "running"),
        ("running", "starting", "starting"),
        ("running", "unhealthy", "starting"),
        ("exited", "unhealthy", "stopped"),
        ("created", "", "stopped"),
    ],
)
def test_docker_s_own_check_says_whether_it_is_ready(status: str, health: str, state: str) -> None:
    result, _words = ask(told(container("nim-flux-dev-rtx-4090", status, health)))
    assert [found["state"] for found in result["deployments"]] == [state]


def test_the_program_takes_the_words_and_docker_s_own_address_is_left_to_it() -> None:
    _result, words = ask(told())
    taken = _package_installer.parser().parse_args(words)
    assert (taken.verb, taken.json, taken.docker_host, taken.docker_command) == ("list", True, None, "docker")
    _result, words = ask(told(), docker_host="npipe:////./pipe/engine")
    assert _package_installer.parser().parse_args(words).docker_host == "npipe:////./pipe/engine"


def test_a_docker_that_does_not_run_is_told() -> None:
    result, _words = ask({"changed": False, "failed": True, "msg": "start Docker"}, code=4)
    assert (result["failed"], result["msg"]) == (True, "The target cannot be read. start Docker")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"comfyui_path": ""}, "On Windows, set comfyui_path or comfyui_python"),
        ({"comfyui_path": "ComfyUI"}, "comfyui_path is 'ComfyUI'; on Windows it must be a drive and a path"),
        ({"wait": 10}, "cannot run with async"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_sent(options: dict[str, t.Any], message: str) -> None:
    result, words = ask(told(), **options)
    assert result["failed"]
    assert message in result["msg"]
    assert words == []
