# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program that looks at a workstation, run by a shell as it is run there, with programs of the tests in its way."""

from __future__ import annotations

import ast
import datetime
import inspect
import json
import os
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.budgetguard.techops.plugins.plugin_utils import (
    _posix_programs,
    _probe_shape,
    _workstation_probe,
)
from tests.ssh.fleet import write_installed
from tests.ssh.playing import make_comfyui
from tests.unit.audit.looks import audit, look
from tests.unit.workstation.shells import SHELLS, run

SMI = "NVIDIA GeForce RTX 4090, 24564, 570.86.15\nNVIDIA L4, [N/A], 570.86.15"
DOCKER = "nim-flux-dev-rtx-4090\texited\tExited (0) 2 hours ago\nother\trunning\tUp 3 days"
SOURCE = inspect.getsource(_workstation_probe)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Bench:
    """A workstation that is a folder, and the programs that its PATH has before all others."""

    def __init__(self, folder: Path) -> None:
        self.base = make_comfyui(folder / "it's ComfyUI")
        self.home = folder / "home"
        self.home.mkdir()
        self.programs = folder / "programs"
        self.programs.mkdir()
        self.program("nvidia-smi", f"cat <<'END'\n{SMI}\nEND")
        self.program("docker", f"cat <<'END'\n{DOCKER}\nEND")

    def program(self, name: str, script: str) -> Path:
        """Put a program into the PATH, or wherever else."""
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
        return path

    def printed(self, shell: t.Sequence[str] = ("sh",), python: Path | str = sys.executable, **options: t.Any) -> str:
        """Run the look and the probe as the action does, and return what they printed."""
        content = f"{json.dumps({'seconds': 20, **options})}\n{SOURCE}".encode()
        parameters = [str(self.base), "", "0", str(python)]
        return run(shell, _posix_programs.PROBE_PROGRAM, parameters, content)

    def look(self, **options: t.Any) -> dict[str, t.Any]:
        """Return the probe's answer."""
        printed = self.printed(**options)
        return answer_of(printed)


def answer_of(printed: str) -> dict[str, t.Any]:
    """Return the probe's answer in what was printed."""
    answer = _posix_programs.probe_answer(_posix_programs.probe_lines(printed), "")
    assert isinstance(answer, dict), answer
    return answer


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Return a workstation on which all is well."""
    made = Bench(tmp_path)
    monkeypatch.setenv("PATH", f"{made.programs}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(made.home))
    return made


def test_it_is_of_a_python_that_workstations_have() -> None:
    ast.parse(SOURCE, feature_version=(3, 8))


def test_it_imports_nothing_but_the_standard_library() -> None:
    modules = {
        name.name if isinstance(node, ast.Import) else str(node.module)
        for node in ast.walk(ast.parse(SOURCE))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in node.names
    }
    assert {module.split(".")[0] for module in modules} <= sys.stdlib_module_names


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_it_runs_after_the_look(bench: Bench, shell: t.Sequence[str]) -> None:
    printed = bench.printed(shell)
    assert "has main.py" in (_posix_programs.output_lines(printed) or [])
    assert answer_of(printed)["disk"]["path"] == str(bench.base)


def test_gpus_and_containers(bench: Bench) -> None:
    found = bench.look()
    assert found["gpu"]["gpus"] == [
        {"name": "NVIDIA GeForce RTX 4090", "memory_mib": 24564, "driver": "570.86.15"},
        {"name": "NVIDIA L4", "memory_mib": None, "driver": "570.86.15"},
    ]
    assert [one["state"] for one in found["containers"]["containers"]] == ["exited", "running"]


def test_installed_nodes(bench: Bench) -> None:
    write_installed(bench.home, "FLUX Dev", "nim-flux-dev-rtx-4090")
    broken = bench.home / ".budgetguard_local" / "broken"
    broken.mkdir()
    (broken / "installed.json").write_text("{", encoding="utf-8")
    installed = bench.look()["nodes"]["installed"]
    assert [(node["folder"], node.get("node")) for node in installed] == [("broken", None), ("flux-dev", "FLUX Dev")]


@pytest.mark.parametrize(
    ("file", "content", "version"),
    [
        ("comfyui_version.py", '# This file is generated.\n__version__ = "0.8.0"\n', "0.8.0"),
        ("pyproject.toml", '[project]\nname = "ComfyUI"\nversion = "0.3.64"\n', "0.3.64"),
        ("README.md", "version = 9", None),
    ],
)
def test_version_of_comfyui(bench: Bench, file: str, content: str, version: str | None) -> None:
    (bench.base / file).write_text(content, encoding="utf-8")
    assert bench.look()["comfyui"]["version"] == version


@pytest.mark.parametrize("where", ["loose", "packed", "detached", "outside"])
def test_commit_of_a_clone(bench: Bench, where: str) -> None:
    git = bench.base / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    head = {"detached": COMMIT, "outside": "ref: ../../secret"}.get(where, "ref: refs/heads/master")
    (git / "HEAD").write_text(f"{head}\n", encoding="ascii")
    if where == "loose":
        (git / "refs" / "heads" / "master").write_text(f"{COMMIT}\n", encoding="ascii")
    (git / "packed-refs").write_text(f"# pack-refs\n{COMMIT} refs/heads/master\n" * (where == "packed"), "ascii")
    assert bench.look()["comfyui"]["commit"] == (None if where == "outside" else COMMIT)


NEVER_USED = {"last_use": None, "requests_today": None}


def test_companion(bench: Bench) -> None:
    assert bench.look()["companion"] == {"installed": False, "version": None, **NEVER_USED}
    folder = bench.base / "custom_nodes" / "budgetguard_companion"
    folder.mkdir(parents=True)
    assert bench.look()["companion"] == {"installed": True, "version": None, **NEVER_USED}
    (folder / "__init__.py").write_text('__version__ = "1.0.0"\n', encoding="utf-8")
    assert bench.look()["companion"] == {"installed": True, "version": "1.0.0", **NEVER_USED}


def test_how_the_companion_was_used(bench: Bench) -> None:
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    rows: list[t.Any] = [
        {"kind": "request", "at": "2020-01-01T00:00:00Z"},
        {"kind": "request", "at": now},
        {"kind": "request", "at": "yesterday"},
        {"kind": "stop", "at": now},
        {"at": now},
        {"kind": "request", "at": None},
        3,
    ]
    folder = bench.base / "budgetguard"
    folder.mkdir(exist_ok=True)
    (folder / "usage.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "torn", encoding="utf-8")
    told = bench.look()["companion"]
    assert {name: told[name] for name in NEVER_USED} == {"last_use": now, "requests_today": 1}


def test_a_program_that_fails_is_told_and_takes_nothing_from_the_others(bench: Bench) -> None:
    bench.program("nvidia-smi", "echo 'NVIDIA-SMI has failed because it could not communicate' >&2; exit 9")
    found = bench.look()
    assert found["gpu"] == {"problem": "NVIDIA-SMI has failed because it could not communicate"}
    assert found["containers"]["containers"]


def test_a_program_that_hangs_is_given_up(bench: Bench) -> None:
    bench.program("nvidia-smi", "while kill -0 $PPID; do sleep 0.2; done 2> /dev/null")
    found = bench.look(seconds=1)
    assert found["gpu"] == {"problem": "nvidia-smi did not answer within 1 seconds"}


def test_no_python_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(bench.programs))
    for tool in ("cat", "dd", "id", "ls", "cksum", "od"):
        (bench.programs / tool).symlink_to(f"/bin/{tool}" if Path(f"/bin/{tool}").exists() else f"/usr/bin/{tool}")
    printed = bench.printed(("/bin/sh",), python="/no/such/python")
    assert _posix_programs.output_lines(printed)
    told = _posix_programs.probe_answer(_posix_programs.probe_lines(printed), "")
    assert told == "There is no Python on it."


def test_one_that_is_too_old_leaves_it_to_the_next(bench: Bench) -> None:
    old = bench.program("old-python", "exit 3")
    printed = bench.printed(python=old)
    assert f"python {old}" in printed
    assert answer_of(printed)


def test_comfyuis_own_python_comes_first(bench: Bench) -> None:
    own = bench.base / "venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.symlink_to(sys.executable)
    assert f"python {own}" in bench.printed(python="")


def changed(value: t.Any, to: t.Any) -> t.Iterator[t.Any]:
    """Return a value in all the ways in which one thing in it can be another."""
    yield to
    if isinstance(value, dict):
        yield {**value, "else": to}
        for name, entry in value.items():
            yield {other: kept for other, kept in value.items() if other != name}
            yield from ({**value, name: one} for one in changed(entry, to))
    elif isinstance(value, list):
        for number, entry in enumerate(value):
            yield from ([*value[:number], one, *value[number + 1 :]] for one in changed(entry, to))


OTHER: list[t.Any] = [
    None,
    5,
    -1.5,
    float("nan"),
    10**4000,
    True,
    "text",
    "x" * 5000,
    [],
    [None] * 99,
    {},
    {"name": []},
]


def test_an_answer_of_any_shape_leaves_the_audit_whole(bench: Bench) -> None:
    """ComfyUI's Python is the artist's and can answer what it likes."""
    write_installed(bench.home, "FLUX Dev", "nim-flux-dev-rtx-4090")
    good = bench.look()
    assert _probe_shape.is_sound(good)
    refused = 0
    for answer in (one for to in OTHER for one in changed(good, to)):
        if isinstance(answer, dict) and _probe_shape.is_sound(answer):
            json.dumps(audit({"ws-1": {**look(), "probe": answer}})["document"], allow_nan=False)
        else:
            refused += 1
    assert refused > 300


def plant(path: Path) -> Path:
    """Put a program there that must not be started, and would give away that it was."""
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\necho PLANTED\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def planted_everywhere(bench: Bench) -> Path:
    """Put such programs into ComfyUI's folder and beside it; return the one that is also named."""
    plant(bench.base / ".venv" / "bin" / "python")
    plant(bench.base.parent / "venv" / "bin" / "python")
    return plant(bench.base / "venv" / "bin" / "python")


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize("stranger", ["uid=0(root) gid=0(root)", "uid=4711(boss) gid=4711(boss)"])
def test_a_stranger_starts_nothing_of_comfyuis_folder(bench: Bench, shell: t.Sequence[str], stranger: str) -> None:
    named = planted_everywhere(bench)
    bench.program("id", f"echo '{stranger}'")
    bench.program("ls", """/bin/ls "$@" | while read -r mode links uid rest; do echo "$mode $links 4712 $rest"; done""")
    for python in ("", named):
        printed = bench.printed(shell, python=python)
        assert "PLANTED" not in printed
        assert answer_of(printed)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_nothing_is_started_beside_a_base_folder_that_went_away(bench: Bench, shell: t.Sequence[str]) -> None:
    named = planted_everywhere(bench)
    bench.base.rename(bench.base.with_name("moved"))
    plant(bench.base.with_name("moved2") / "venv" / "bin" / "python")
    for python in ("", named, bench.base.parent / "moved2" / "venv" / "bin" / "python"):
        printed = bench.printed(shell, python=python)
        assert "PLANTED" not in printed
        assert answer_of(printed)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_nothing_is_started_beside_a_link_that_leads_elsewhere(bench: Bench, shell: t.Sequence[str]) -> None:
    plant(bench.base.parent / "venv" / "bin" / "python")
    elsewhere = bench.home / "folder" / "of-another"
    elsewhere.mkdir(parents=True)
    bench.base.rename(bench.base.with_name("moved"))
    bench.base.symlink_to(elsewhere)
    printed = bench.printed(shell, python="")
    assert "PLANTED" not in printed
    assert answer_of(printed)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_what_others_have_put_into_the_folder_is_not_started(bench: Bench, shell: t.Sequence[str]) -> None:
    planted_everywhere(bench)
    bench.program(
        "ls",
        """/bin/ls "$@" | while read -r mode links uid rest; do
        case $rest in *venv) uid=4712 ;; esac
        echo "$mode $links $uid $rest"
        done""",
    )
    printed = bench.printed(shell, python="")
    assert "PLANTED" not in printed
    assert answer_of(printed)


@pytest.mark.parametrize(
    ("lines", "complaint", "problem"),
    [
        (["python python3", "python_ended 3", "done"], "", "older than 3.8: python3"),
        (["python python3"], "", "was cut off while python3 worked"),
        (["python python3", "Traceback", "python_ended 1", "done"], "MemoryError", "code 1. It said: MemoryError"),
        (["python python3", '{"format": "another"}', "python_ended 0", "done"], "", "code 0. It said: nothing"),
        ([], "", "no Python"),
    ],
)
def test_why_there_is_no_answer(lines: list[str], complaint: str, problem: str) -> None:
    told = _posix_programs.probe_answer(lines, complaint)
    assert isinstance(told, str)
    assert problem in told
