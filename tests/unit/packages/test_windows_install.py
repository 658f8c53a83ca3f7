# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""nim_package_install on Windows: what is sent, what is refused before, and what is made of the answer."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import typing as t

import pytest
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task

from ansible_collections.budgetguard.techops.plugins.action import nim_package_install
from ansible_collections.budgetguard.techops.plugins.module_utils import _package_installer
from ansible_collections.budgetguard.techops.plugins.plugin_utils import _windows
from tests.unit.workstation.windows_host import Connection, Loader

PYTHON = r"D:\portable\python_embeded\python.exe"
CANARY = "nvapi-canary-secret-of-the-studio"


class Sent(t.NamedTuple):
    argv: list[str]
    stdin: str
    environment: list[dict[str, str]]


class Desk:
    """Runs the real action; C(answer) is what Python prints."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.answer: dict[str, t.Any] = {"changed": True, "nodes": [], "warnings": []}
        self.code = 0

    def run(self, check: bool = False, wait: int = 0, **options: t.Any) -> dict[str, t.Any]:
        """Run the task."""
        task = Task()
        task.action, task.check_mode, task.environment = "budgetguard.techops.nim_package_install", check, []
        task.async_val = wait
        task.args = {"comfyui_path": r"D:\portable\ComfyUI", **options}

        def execute(module_name: str, module_args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
            self.sent.append(Sent(module_args["argv"], module_args["stdin"], list(task.environment)))
            return {"rc": self.code, "stdout": json.dumps(self.answer) + "\r\n", "stderr": "Loading\r\n"}

        make: t.Callable[..., t.Any] = nim_package_install.ActionModule
        action = make(task, Connection(), PlayContext(), None, None, None)
        vars(action).update(
            _execute_module=execute, _shared_loader_obj=Loader(True), _is_pipelining_enabled=lambda style: True
        )
        result: dict[str, t.Any] = action.run(None, {})
        return result


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_all_options_become_words_of_the_program_and_the_program_takes_them(desk: Desk) -> None:
    desk.run(
        check=True,
        package=r"\\files\nims\flux.zip",
        nodes=["FLUX Dev", "FLUX Canny"],
        manifest_sha256="ab",
        folder="C:/Users/artist/.budgetguard_local",
        ports={"FLUX Dev": 8010},
        skip_fit_check=True,
        replace_running=True,
        docker_host="npipe:////./pipe/docker_engine",
    )
    (sent,) = desk.sent
    program = pathlib.Path(_package_installer.__file__).read_text(encoding="utf-8")
    assert sent.stdin == program
    assert sent.argv[:5] == [
        PYTHON,
        "-I",
        "-B",
        "-c",
        _windows.BOOTSTRAP.format(size=len(program.encode()), name="install.py"),
    ]
    words = sent.argv[5:]
    taken = _package_installer.parser().parse_args(words)
    assert (taken.verb, taken.json, taken.check) == ("install", True, True)
    assert str(taken.package) == r"\\files\nims\flux.zip"
    assert str(taken.folder) == r"C:\Users\artist\.budgetguard_local"
    assert (taken.nodes, taken.port) == (["FLUX Dev", "FLUX Canny"], ["FLUX Dev=8010"])
    assert (taken.manifest_sha256, taken.bind_address, taken.user) == ("ab", "127.0.0.1", "1000")
    assert (taken.skip_fit_check, taken.replace_running) == (True, True)
    assert taken.docker_host == "npipe:////./pipe/docker_engine"


def test_absent_needs_no_package(desk: Desk) -> None:
    desk.run(state="absent", keep_models=True)
    taken = _package_installer.parser().parse_args(desk.sent[0].argv[5:])
    assert (taken.verb, taken.keep_models, taken.folder) == ("uninstall", True, None)


def test_keys_go_by_the_environment_alone(desk: Desk) -> None:
    desk.run(package=r"C:\flux.zip", ngc_api_key=CANARY, folder=r"C:\Users\artist\nims")
    (sent,) = desk.sent
    assert sent.environment == [{"NGC_API_KEY": CANARY}]
    assert CANARY not in sent.stdin + " ".join(sent.argv)


def test_answer_becomes_the_result(desk: Desk) -> None:
    desk.answer = {"changed": True, "nodes": [{"node": "FLUX Dev", "state": "created"}], "loaded_images": ["a"]}
    assert desk.run(package=r"C:\flux.zip") == {**desk.answer, "failed": False}
    desk.code = 4
    desk.answer = {
        "changed": False,
        "nodes": [
            {"node": "FLUX Dev", "state": "refused", "reason": "no GPU"},
            {"node": "Other", "state": "unchanged", "reason": ""},
        ],
    }
    result = desk.run(package=r"C:\flux.zip")
    assert (result["failed"], result["msg"]) == (True, "FLUX Dev: refused - no GPU")
    desk.code, desk.answer = 3, {"changed": False, "failed": True, "msg": "not whole"}
    assert desk.run(package=r"C:\flux.zip")["msg"] == "not whole"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"package": "flux.zip"}, "package is 'flux.zip'; on Windows it must be a drive and a path"),
        ({"package": r"C:\a.zip", "folder": "/srv/nims"}, "folder is '/srv/nims'; on Windows it must be"),
        (
            {"package": r"C:\a.zip", "folder": r"C:\nims", "ngc_api_key": CANARY},
            r"folder is 'C:\nims'; a key is only written below a user's home",
        ),
        ({"package": r"C:\a.zip", "comfyui_path": ""}, "set comfyui_path or comfyui_python"),
        ({"package": r"C:\a.zip", "wait": 10}, "cannot run with async"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_sent(desk: Desk, options: dict[str, t.Any], message: str) -> None:
    result = desk.run(**options)
    assert result["failed"]
    assert message in result["msg"]
    assert desk.sent == []


def test_the_program_runs_as_it_is_sent(tmp_path: pathlib.Path) -> None:
    """The same words, with this Python: the program is read to its end and finds its arguments."""
    program = pathlib.Path(_package_installer.__file__).read_text(encoding="utf-8")
    bootstrap = _windows.BOOTSTRAP.format(size=len(program.encode()), name="install.py")
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", bootstrap, "verify", "--json", "--package", str(tmp_path / "no.zip")],
        input=program.encode(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "no.zip" in json.loads(done.stdout)["msg"]


def test_a_program_gets_its_arguments_and_what_comes_after_it() -> None:
    program = "import json, sys\nprint(json.dumps([sys.argv[1:], sys.stdin.buffer.read().decode(), 'K\u00fcnstler']))\n"
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-B",
            "-c",
            _windows.BOOTSTRAP.format(size=len(program.encode()), name="x"),
            "a b",
            'c"d',
        ],
        input=(program + '{"\u00e4": 1}\r\n').encode(),
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout) == [["a b", 'c"d'], '{"\u00e4": 1}\r\n', "K\u00fcnstler"]


def test_docker_desktop_is_found_where_a_session_from_afar_has_an_old_path(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    program = tmp_path / "Docker" / "Docker" / "resources" / "bin" / "docker.exe"
    there = {"PROGRAMFILES": str(tmp_path)}
    assert _package_installer.docker_program("docker", there) == "docker"
    program.parent.mkdir(parents=True)
    program.touch()
    assert _package_installer.docker_program("docker", there) == str(program)
    assert _package_installer.docker_program("docker", {}) == "docker"
    assert _package_installer.docker_program("podman", there) == "podman"
