# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The folder for workstations that Ansible does not reach, by the action itself, without ansible-playbook."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task

from ansible_collections.budgetguard.techops.plugins.action import workstation_export
from ansible_collections.budgetguard.techops.plugins.module_utils import _envelope
from ansible_collections.budgetguard.techops.plugins.plugin_utils import (
    _export_texts,
    _installer_file,
    _installer_program,
)
from tests.unit.workstation.examples import CANARY, CREDENTIALS, OTHER_STUDIO_KEY, STUDIO_KEY, endpoints
from tests.unit.workstation.windows_host import ADMIN, BASE, CONFIG, KEY, KEY_PATH, Connection, FakeWindows, Host

DOCUMENT = {"version": "1.0", "generated_at": "2026-11-23T09:00:00Z", "nim_endpoints": endpoints()}
NAMES = ("ws-1", "ws-2")


class Export:
    """Runs the action on a folder."""

    def __init__(self, folder: Path) -> None:
        self.share, self.private = folder / "exports" / "share", folder / "exports" / "private"
        self.check = False

    def run(self, *names: str, **options: t.Any) -> dict[str, t.Any]:
        """Run it for these workstations."""
        one = {"studio_key": STUDIO_KEY, "credentials": CREDENTIALS, **options.pop("workstation", {})}
        task = Task()
        task.action = "budgetguard.techops.workstation_export"
        task.args = {
            "path": str(self.share),
            "private_path": str(self.private),
            "endpoints": DOCUMENT,
            "workstations": dict.fromkeys(names or NAMES, one),
            "known_workstations": list(NAMES),
            **options,
        }
        task.check_mode, task.diff = self.check, True
        kind: t.Any = workstation_export.ActionModule
        action = kind(task, Connection(), PlayContext(), None, None, None)
        result: dict[str, t.Any] = action.run(None, {})
        assert CANARY not in json.dumps(result)
        assert STUDIO_KEY not in json.dumps(result)
        return result

    def config(self, name: str) -> Path:
        """Return the path of a sealed config."""
        return self.share / "workstations" / name / "budgetguard_backend_config.json"

    def files(self) -> dict[str, bytes]:
        """Return everything in both folders."""
        top = self.share.parent
        return {str(path.relative_to(top)): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}


@pytest.fixture
def export(tmp_path: Path) -> Export:
    """Return a folder to export into."""
    return Export(tmp_path)


def test_first_second_and_check(export: Export) -> None:
    export.check = True
    predicted = export.run()
    assert not export.share.exists()
    export.check = False
    first = export.run()
    assert first == predicted
    assert first["changed"]
    assert not export.private.exists()
    before = export.files()
    assert set(before) == {
        "share/README.txt",
        "share/budgetguard_artists_config.json",
        "share/examples/group-policy-startup.cmd",
        "share/examples/psexec.cmd",
        "share/examples/ssh-loop.sh",
        "share/export.json",
        "share/install_credentials.py",
        "share/workstations/ws-1/budgetguard_backend_config.json",
        "share/workstations/ws-2/budgetguard_backend_config.json",
    }
    second = export.run()
    assert (second["changed"], export.files()) == (False, before)
    for name in NAMES:
        sealed = json.loads(export.config(name).read_bytes())["credentials"]
        assert _envelope.unseal(sealed, _envelope.workstation_key(STUDIO_KEY, name)) == CREDENTIALS
    everything = b"".join(before.values())
    keys = [_envelope.workstation_key(STUDIO_KEY, name) for name in NAMES]
    assert not any(text.encode() in everything for text in (CANARY, STUDIO_KEY, *keys))
    assert export.files()["share/install_credentials.py"].decode() == _installer_file.text()
    assert {path.stat().st_mode & 0o022 for path in export.share.rglob("*")} == {0}


def test_only_what_differs_is_written(export: Export) -> None:
    export.run()
    other = export.config("ws-2").read_bytes()
    changed = export.run("ws-1", workstation={"credentials": {"nvidia": {}}})
    assert [Path(path).parent.name for path in changed["updated"]] == ["ws-1"]
    assert changed["workstations"]["ws-1"]["reasons"] == ["credentials_status", "credentials"]
    rotation = {"studio_key": OTHER_STUDIO_KEY, "previous_studio_key": STUDIO_KEY}
    assert export.run("ws-1", workstation=rotation)["workstations"]["ws-1"]["reasons"][0] == "previous_key"
    assert export.config("ws-2").read_bytes() == other


def test_what_is_no_longer_in_the_inventory_goes_if_it_is_ours(export: Export) -> None:
    export.run()
    own = export.share / "workstations" / "ws-9" / "notes.txt"
    own.parent.mkdir()
    own.write_text("by hand", encoding="utf-8")
    export.config("ws-1").write_text("changed by hand", encoding="utf-8")
    limited = export.run("ws-2")
    assert not limited["changed"], "a limit removes nothing"
    export.check = True
    predicted = export.run("ws-2", known_workstations=["ws-2"])
    export.check = False
    kept = export.run("ws-2", known_workstations=["ws-2"])
    assert kept == predicted
    assert (kept["removed"], kept["kept"]) == ([], [str(export.config("ws-1"))])
    assert "somebody has changed it" in kept["warnings"][0]
    gone = export.run("ws-1", known_workstations=["ws-1"], workstation={"credentials": {}})
    assert gone["removed"] == [str(export.config("ws-2"))]
    assert not export.config("ws-2").parent.exists()
    assert own.exists()


def test_keys_and_clear_text_only_on_demand_and_elsewhere(export: Export) -> None:
    told = export.run(keys=True, clear_text=True)
    assert ["clear_text=true writes" in told["warnings"][0], "never by the share" in told["warnings"][1]] == [
        True,
        True,
    ]
    key, clear = (
        export.private / "keys" / "ws-1.key",
        export.private / "clear" / "ws-1" / "budgetguard_credentials.json",
    )
    assert key.read_text(encoding="utf-8") == f"v2 {_envelope.workstation_key(STUDIO_KEY, 'ws-1')}\n"
    assert json.loads(clear.read_bytes()) == CREDENTIALS
    modes = [path.stat().st_mode & 0o777 for path in (export.private, key.parent, clear.parent, key, clear)]
    assert modes == [0o700, 0o700, 0o700, 0o400, 0o600]
    assert not export.run(keys=True, clear_text=True)["changed"]
    key.chmod(0o644)
    assert export.run(keys=True, clear_text=True)["updated"] == [str(key)]
    assert len(export.run()["removed"]) == 4
    assert [path.name for path in export.private.rglob("*")] == ["export.json"]


def test_studio_wide(export: Export) -> None:
    """The public format. The studio key is in the key file only."""
    export.run(keys=True, workstation={"studio_wide": True})
    document = json.loads(export.config("ws-1").read_bytes())
    assert (document["mode"], document["credentials"]["encryption_version"]) == ("studio-wide", 1)
    assert (export.private / "keys" / "ws-1.key").read_text(encoding="utf-8") == f"v1 {STUDIO_KEY}\n"
    assert not any(STUDIO_KEY.encode() in content for name, content in export.files().items() if name[:5] == "share")


REFUSED = {
    "weak key": ({"workstation": {"studio_key": "short"}}, "ws-1: The studio key is shorter than 32"),
    "no key": ({"workstation": {"studio_key": ""}}, "ws-1: The studio key is empty"),
    "name of a folder": ({"workstation": {"id": "../../etc"}}, "cannot be the name of a folder"),
    "same name": ({"workstation": {"id": "ws-1"}}, "have the same id"),
    "password": (
        {"endpoints": {"nim_endpoints": {"X": {"aws": [{"url": "http://a:b@c", "gpu_tier": "t4"}]}}}},
        "user or",
    ),
    "relative": ({"path": "exports"}, "must be absolute"),
    "no private folder": ({"private_path": None, "keys": True}, "need private_path"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_before_anything_is_made(export: Export, options: dict[str, t.Any], message: str) -> None:
    result = export.run(**options)
    assert result["failed"]
    assert message in result["msg"]
    assert not export.share.exists()


def test_keys_never_go_below_the_share(export: Export) -> None:
    result = export.run(private_path=str(export.share / "private"), keys=True)
    assert "must not be one in the other" in result["msg"]
    assert not export.share.exists()


def test_files_of_others_are_not_replaced(export: Export) -> None:
    export.share.mkdir(parents=True)
    (export.share / "README.txt").write_text("mine", encoding="utf-8")
    assert "was not written by an export" in export.run()["msg"]
    (export.share / "README.txt").unlink()
    (export.share / "examples").symlink_to("/tmp")
    assert "is a symbolic link" in export.run()["msg"]
    assert [path.name for path in export.share.iterdir()] == ["examples"]


@pytest.mark.parametrize("outside", ["../../precious", "workstations/../../../precious", "{folder}/precious"])
def test_nothing_outside_is_removed_whatever_the_record_says(export: Export, tmp_path: Path, outside: str) -> None:
    export.run()
    precious = tmp_path / "precious"
    precious.write_text("mine", encoding="utf-8")
    record = json.loads((export.share / "export.json").read_text(encoding="utf-8"))
    entry = {"sha256": hashlib.sha256(b"mine").hexdigest(), "workstation": None}
    record["files"][outside.format(folder=tmp_path)] = entry
    (export.share / "export.json").write_text(json.dumps(record), encoding="utf-8")
    assert "names a file outside of this folder" in export.run()["msg"]
    assert precious.exists()


def test_nothing_is_removed_over_a_link(export: Export, tmp_path: Path) -> None:
    export.run()
    elsewhere = export.config("ws-1").parent.rename(tmp_path / "elsewhere")
    export.config("ws-1").parent.symlink_to(elsewhere)
    export.run("ws-2", known_workstations=["ws-2"])
    assert (elsewhere / export.config("ws-1").name).exists()


class KilledError(BaseException):
    """The run ended here."""


@pytest.mark.parametrize("after", range(0, 10, 2))
def test_killed_anywhere_the_next_run_finishes(export: Export, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    replace, count = Path.replace, iter(range(99))

    def replace_and_die(self: Path, target: Path) -> Path:
        done = replace(self, target)
        if next(count) == after:
            raise KilledError
        return done

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace_and_die)
        with pytest.raises(KilledError):
            export.run()
    export.run()
    assert not export.run()["changed"]
    gone = export.run("ws-1", known_workstations=["ws-1"])
    assert [Path(path).parent.name for path in gone["removed"]] == ["ws-2"]


def test_what_the_disk_says_is_told(export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        result = export.run()
    assert result["failed"]
    assert "No space left on device. Run it again" in result["msg"]
    assert [path for path in export.share.rglob("*") if path.is_file()] == []
    assert not export.run().get("failed")


def test_the_examples(tmp_path: Path) -> None:
    """Windows' files have Windows' line ends; the shell script is one that shellcheck likes."""
    for name in _export_texts.FILES:
        content = _export_texts.content(name)
        assert (b"\r\n" in content) != name.endswith(".sh"), name
    script = tmp_path / "loop.sh"
    script.write_bytes(_export_texts.content("examples/ssh-loop.sh"))
    # The two are words on purpose: SSH has options, and names of folders here have no spaces.
    checker = shutil.which("shellcheck", path=str(Path(sys.executable).parent))
    assert checker
    subprocess.run([checker, "--shell=sh", "--exclude=SC2086,SC2046,SC2012,SC2029", str(script)], check=True)


class WindowsPlace:
    """A Windows workstation in memory, with the program on it."""

    def __init__(self, share: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host = Host(FakeWindows(runs_as=ADMIN))
        self.host.system.put_folder(BASE)
        self.host.system.put_file(BASE + r"\main.py", b"")
        key = share.parent / "ws-1.key"
        key.write_text(f"v2 {_envelope.workstation_key(STUDIO_KEY, 'ws-1')}\n", encoding="utf-8")
        key.chmod(0o600)
        sealed = share / "workstations" / "ws-1" / "budgetguard_backend_config.json"
        self.words = ["--comfyui-path", BASE, "--key-path", KEY_PATH, "--credentials", str(sealed)]
        self.words += ["--endpoints", str(share / "budgetguard_artists_config.json"), "--non-interactive", "--json"]
        self.key = ["--studio-key-file", str(key)]
        monkeypatch.setattr(_installer_program, "this_computer", self._computer)

    def _computer(self, options: t.Any) -> _installer_program.WindowsComputer:
        return _installer_program.WindowsComputer(BASE, KEY_PATH, options.comfyui_user, self.host.system)

    def run(self, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, t.Any]:
        """Run the program."""
        _installer_program.main([*self.words, *more])
        told: dict[str, t.Any] = json.loads(capsys.readouterr().out)
        return told


def test_windows(export: Export, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The same program, the same access lists as the action's, and neither has anything to do after the other."""
    export.run("ws-1")
    place = WindowsPlace(export.share, monkeypatch)
    assert place.run(capsys)["exit_code"] == 2, "there is no key yet"
    made = place.run(capsys, *place.key)
    assert (made["config_status"], made["key_status"]) == ("created", "created"), made
    assert (made["path"], made["key_path"]) == (CONFIG, KEY)
    assert place.host.system.read(KEY).decode() == f"v2 {_envelope.workstation_key(STUDIO_KEY, 'ws-1')}\n"
    again = place.run(capsys)
    assert (again["exit_code"], again["changed"]) == (0, False), again
    values: dict[str, t.Any] = {"comfyui_path": BASE, "key_path": KEY_PATH, "studio_key": STUDIO_KEY}
    done = place.host.configure(check=True, endpoints=DOCUMENT, credentials=CREDENTIALS, **values)
    assert (done.get("msg"), done["changed"]) == (None, False), done
    assert place.run(capsys, "--remove")["steps"] == ["config_remove", "key_remove"]
    changed = place.host.configure(endpoints=DOCUMENT, credentials=CREDENTIALS, **values)
    assert changed["config_status"] == "created"
    assert place.run(capsys, "--verify")["exit_code"] == 0
    unknown = place.run(capsys, "--comfyui-user", "nobody")
    assert unknown["exit_code"] == 4
    assert "Correct --comfyui-user" in unknown["msg"]
