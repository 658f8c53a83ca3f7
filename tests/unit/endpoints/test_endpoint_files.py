# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of published endpoints, by the action itself."""

from __future__ import annotations

import json
import os
import types
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.playbook.task import Task
from ansible.plugins.filter.core import to_nice_json

from ansible_collections.budgetguard.techops.plugins.action.endpoint_files import ARGUMENT_SPEC, ActionModule
from ansible_collections.budgetguard.techops.plugins.modules import endpoint_files

ARTISTS, PROVIDERS = "artists.json", "providers.json"
DOCUMENTS: dict[str, t.Any] = {
    ARTISTS: {
        "nim_endpoints": {"FLUX Dev": [{"url": "http://\N{LATIN SMALL LETTER E WITH ACUTE}", "gpus": 1}]},
        "a": None,
    },
    PROVIDERS: {},
}


def run(folder: Path, documents: t.Any = None, *, check: bool = False) -> dict[str, t.Any]:
    task = Task()
    task.args = {"path": str(folder), "documents": DOCUMENTS if documents is None else documents}
    task.check_mode = check
    task.diff = True
    connection: t.Any = types.SimpleNamespace(_shell=types.SimpleNamespace(tmpdir=None))
    none: t.Any = None
    return ActionModule(task, connection, none, none, none, none).run(task_vars={})


def test_check_mode_tells_what_is_written_and_the_second_run_writes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "exports"
    old = os.umask(0o077)
    try:
        predicted = run(folder, check=True)
        assert not folder.parent.exists()
        done = run(folder)
    finally:
        os.umask(old)
    assert done == predicted
    assert done["written"] == [ARTISTS, PROVIDERS]
    assert done["diff"][0]["after"] == (folder / ARTISTS).read_text()
    assert done["diff"][0]["before"] == ""
    assert (folder / ARTISTS).read_text() == f"{to_nice_json(DOCUMENTS[ARTISTS])}\n"
    assert sorted(path.name for path in folder.iterdir()) == [ARTISTS, PROVIDERS]
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}
    assert {path.stat().st_mode & 0o777 for path in (folder, folder.parent)} == {0o755}
    again = run(folder)
    assert (again["changed"], again["written"], again["diff"]) == (False, [], [])


def test_only_what_differs_is_written(tmp_path: Path) -> None:
    run(tmp_path)
    before = (tmp_path / PROVIDERS).stat().st_ino
    result = run(tmp_path, {**DOCUMENTS, ARTISTS: {"a": 1}})
    assert result["written"] == [ARTISTS]
    assert json.loads((tmp_path / ARTISTS).read_text()) == {"a": 1}
    assert (tmp_path / PROVIDERS).stat().st_ino == before


def test_what_cannot_be_written_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / ARTISTS).mkdir()
    result = run(tmp_path)
    assert result["failed"]
    assert f"the exports cannot be written to {tmp_path}: " in result["msg"]
    assert ARTISTS in result["msg"]
    assert [path.name for path in tmp_path.iterdir()] == [ARTISTS]


def test_half_a_file_is_taken_away_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_paths: t.Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    result = run(tmp_path)
    assert "No space left on device" in result["msg"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../a.json", "a/b.json", "..", ""])
def test_a_file_is_in_the_folder(tmp_path: Path, name: str) -> None:
    result = run(tmp_path / "exports", {name: {}})
    assert result["failed"]
    assert f"documents: {name!r} is not a file name" in result["msg"]
    assert list(tmp_path.iterdir()) == []


def test_documented_options_are_the_real_ones() -> None:
    assert set(yaml.safe_load(endpoint_files.DOCUMENTATION)["options"]) == set(ARGUMENT_SPEC)
