# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""comfyui_companion on a Windows workstation in memory, with the real action and the real program."""

from __future__ import annotations

import base64
import json
import ntpath
import typing as t
from pathlib import Path

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _windows_config
from ansible_collections.budgetguard.techops.plugins.module_utils._windows_config import Entry
from tests.companion.studio import PACKAGE
from tests.unit.workstation.windows_host import (
    ARTIST,
    BASE,
    FULL,
    GUEST,
    KEY,
    KEY_PATH,
    PYTHON,
    USERS_GROUP,
    FakeWindows,
    Host,
    KilledError,
)

FOLDER = BASE + r"\custom_nodes\budgetguard_companion"
LIBRARIES = BASE + r"\budgetguard\python"
DOOR = ntpath.join(ntpath.dirname(KEY), "companion.token")
INDEX = "https://techops:index-password@index.example/simple"
ARTIST_ONLY = _windows_config.access(ARTIST)


def install(host: Host, check: bool = False, diff: bool = False, **changes: t.Any) -> dict[str, t.Any]:
    """Run the action."""
    options = {"comfyui_path": BASE, "src": str(PACKAGE), "key_path": KEY_PATH, "contact": "4711", **changes}
    return host.companion(check, diff, **options)


def absent(host: Host, check: bool = False) -> dict[str, t.Any]:
    """Take the companion away."""
    return host.companion(check, comfyui_path=BASE, key_path=KEY_PATH, state="absent")


def without_library(host: Host) -> None:
    """Take the library away from ComfyUI's Python."""
    host.system.python.seen["library"] = False


def test_installs_upgrades_and_removes_as_check_mode_said() -> None:
    host = Host()
    before = host.system.save()
    predicted = install(host, check=True, diff=True)
    assert (host.system.save(), len(host.calls)) == (before, 1)
    done = install(host, diff=True)
    assert done == predicted
    assert (done["changed"], done["restart_needed"], done["library"]) == (True, True, "present")
    assert done["steps"][-2:] == ["write __init__.py", f"create {DOOR}"]
    assert (done["path"], done["python"]) == (FOLDER, PYTHON)
    assert len(host.calls) == 3
    files = {
        path[len(FOLDER) + 1 :]: content for path, content in host.system.files().items() if path.startswith(FOLDER)
    }
    assert files[r"web\budgetguard.js"] == (PACKAGE / "web" / "budgetguard.js").read_bytes()
    assert json.loads(files["settings.json"]) == {
        "key_path": KEY_PATH,
        "time_limit": 300,
        "token_path": KEY_PATH.replace("studio.key", "companion.token"),
        "contact": "4711",
    }
    assert not [name for name in files if name.endswith((".pyc", ".new"))]
    again = install(host)
    assert (again["changed"], again["steps"], len(host.calls)) == (False, [], 4)

    system = host.system
    system.put_file(FOLDER + r"\routes.py", b"old", entries=ARTIST_ONLY)
    system.put_file(FOLDER + r"\web\old.js", b"old", entries=ARTIST_ONLY)
    system.put_folder(FOLDER + r"\__pycache__")
    system.put_file(FOLDER + r"\__pycache__\routes.cpython-312.pyc", b"old")
    predicted = install(host, check=True)
    assert predicted["steps"] == ["write routes.py", r"remove web/old.js"]
    assert install(host) == predicted
    assert not [path for path in system.files() if path.endswith((".pyc", "old.js"))]
    assert system.kind(FOLDER + r"\__pycache__") is None
    assert install(host)["steps"] == []

    system.put_folder(FOLDER + r"\__pycache__")
    written = BASE + r"\budgetguard\usage.jsonl"
    system.put_folder(ntpath.dirname(written))
    system.put_file(written, b"{}", entries=ARTIST_ONLY)
    predicted = absent(host, check=True)
    assert predicted["steps"][-2:] == [f"remove {written}", f"remove {DOOR}"]
    assert system.kind(written) == "file"
    assert absent(host) == predicted
    assert [system.kind(path) for path in (FOLDER, written)] == [None, None]
    assert DOOR not in system.files()
    assert system.kind(BASE + r"\custom_nodes") == "folder"
    assert absent(host)["changed"] is False


def test_files_and_token_are_for_the_artist_and_administrators_alone() -> None:
    host = Host()
    install(host)
    system = host.system
    folders = [FOLDER, FOLDER + r"\web"]
    assert all(_windows_config.is_private(system.security(path), ARTIST) for path in folders)
    for path in system.files():
        if path.startswith(FOLDER):
            assert _windows_config.is_private(system.security(path), ARTIST), path
    assert _windows_config.is_private(system.security(DOOR), ARTIST, read_only=True)
    assert {entry.sid for entry in system.security(DOOR).entries or []} == {
        ARTIST,
        _windows_config.SYSTEM,
        _windows_config.ADMINISTRATORS,
    }
    token = system.files()[DOOR]
    assert len(token.strip()) == 20

    system.node(DOOR).security = system.node(BASE).security
    system.node(FOLDER + r"\job.py").security = system.node(BASE).security
    system.node(FOLDER + r"\web").security = system.node(BASE).security
    predicted = install(host, check=True)
    assert predicted["steps"] == ["access web", "write job.py", f"replace {DOOR}"]
    assert install(host) == predicted
    assert system.files()[DOOR] != token
    assert install(host)["steps"] == []
    said = json.dumps([call.arguments for call in host.calls]) + json.dumps(predicted)
    assert token.strip().decode() not in said


@pytest.mark.parametrize(("system", "user"), [(FakeWindows(), ""), (FakeWindows(ARTIST, admin=False), "")])
def test_brings_the_library_from_wheels(system: FakeWindows, user: str, tmp_path: Path) -> None:
    host = Host(system)
    without_library(host)
    (tmp_path / "cryptography-46-cp311-abi3-win_amd64.whl").write_bytes(b"wheel of cryptography")
    (tmp_path / "cffi-2-cp312-cp312-win_amd64.whl").write_bytes(b"wheel of cffi")
    predicted = install(host, check=True, wheel_folder=str(tmp_path), comfyui_user=user)
    assert predicted["library"] == "installed"
    assert install(host, wheel_folder=str(tmp_path), comfyui_user=user) == predicted
    assert sorted(system.python.wheels or []) == sorted(path.name for path in tmp_path.iterdir())
    assert system.names(LIBRARIES) == ["cpython-312"], "nothing half done is left"
    fernet = LIBRARIES + r"\cpython-312\cryptography\fernet.py"
    for path in (fernet, ntpath.dirname(fernet), LIBRARIES + r"\cpython-312"):
        assert _windows_config.is_private(system.security(path), ARTIST), path
    sent = [call.arguments["stdin"] for call in host.calls]
    wheel = base64.b64encode(b"wheel of cryptography").decode()
    assert [wheel in text for text in sent] == [False, False, True], "megabytes go only where they are needed"
    assert install(host, wheel_folder=str(tmp_path), comfyui_user=user)["changed"] is False
    assert absent(host)["library"] == "removed"
    assert system.kind(LIBRARIES) is None


def test_an_index_with_a_password_goes_by_the_environment_alone() -> None:
    host = Host()
    without_library(host)
    assert install(host, index_url=INDEX)["library"] == "installed"
    assert host.system.python.wheels is None
    look, change = host.calls
    assert (look.environment, change.environment) == (
        [{"GIVEN": "before"}],
        [{"GIVEN": "before"}, {"PIP_INDEX_URL": INDEX}],
    )
    assert all("index-password" not in json.dumps(call.arguments) for call in host.calls)


def test_a_library_that_cannot_be_installed_leaves_all_as_it_was() -> None:
    host = Host()
    without_library(host)
    host.system.python.problem = "cryptography could not be installed"
    assert install(host)["msg"] == "cryptography could not be installed"
    assert host.system.kind(FOLDER) is None
    assert host.system.names(LIBRARIES) == []
    host.system.python.seen["pip"] = False
    assert f'"{PYTHON}" -m ensurepip' in install(host, check=True)["msg"]
    host.system.python.seen.update(comfyui=False)
    assert "so it is not ComfyUI's. Set comfyui_python" in install(host)["msg"]
    host.system.python.seen.update(comfyui=True, version=[3, 8])
    assert "is older than 3.9" in install(host)["msg"]


def link_custom_nodes(system: FakeWindows) -> None:
    system.put_link(BASE + r"\custom_nodes")


def link_inside(system: FakeWindows) -> None:
    system.put_link(FOLDER + r"\__pycache__")


def link_budgetguard(system: FakeWindows) -> None:
    system.put_link(BASE + r"\budgetguard")


def checkout(system: FakeWindows) -> None:
    system.put_folder(FOLDER + r"\.git")


def strangers_file(system: FakeWindows) -> None:
    system.put_file(FOLDER + r"\routes.py", b"", owner=GUEST)


def open_key_folder(system: FakeWindows) -> None:
    system.put_folder(ntpath.dirname(DOOR), entries=[Entry(ARTIST, FULL), Entry(USERS_GROUP, FULL)])


def linked_token(system: FakeWindows) -> None:
    system.put_folder(ntpath.dirname(DOOR), entries=ARTIST_ONLY)
    system.put_link(DOOR)


def no_comfyui(system: FakeWindows) -> None:
    system.remove(BASE + r"\main.py")


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (link_custom_nodes, "custom_nodes' is a symbolic link or a junction"),
        (link_inside, "__pycache__' is a symbolic link or a junction"),
        (link_budgetguard, "budgetguard' is a symbolic link or a junction"),
        (checkout, "is a git checkout"),
        (strangers_file, r"belongs to 'STUDIO\guest'"),
        (open_key_folder, r"Others ('BUILTIN\Users') may write in the key's folder"),
        (linked_token, "is a symbolic link or a junction"),
        (no_comfyui, "does not look like ComfyUI's base folder"),
    ],
)
def test_refuses(prepare: t.Callable[[FakeWindows], None], said: str) -> None:
    host = Host()
    host.system.put_folder(FOLDER)
    prepare(host.system)
    before = host.system.save()
    for result in (install(host, check=True), install(host), absent(host)):
        assert result["failed"]
        assert said in result["msg"]
    assert host.system.save() == before


def test_says_who_comfyui_runs_as_is_not_known() -> None:
    host = Host()
    host.system.node(BASE).security = host.system.node(BASE).security._replace(owner=_windows_config.ADMINISTRATORS)
    assert "Set comfyui_user" in install(host)["msg"]
    assert install(host, comfyui_user=r"STUDIO\artist")["changed"]
    stranger = Host(FakeWindows(GUEST, admin=False))
    assert "who is not an administrator" in install(stranger)["msg"]


def test_a_junction_that_comes_between_look_and_change_is_not_followed() -> None:
    host = Host()
    install(host)
    host.system.put_file(FOLDER + r"\routes.py", b"old", entries=ARTIST_ONLY)

    def swap(request: dict[str, t.Any]) -> None:
        if request["companion"]["do"] == "change":
            host.system.put_link(FOLDER)

    host.before_call = swap
    assert "is a symbolic link or a junction" in install(host)["msg"]
    assert host.system.files()[FOLDER + r"\routes.py"] == b"old"


def test_a_comfyui_that_keeps_a_library_open_is_named_and_the_next_run_ends_it() -> None:
    host = Host()
    without_library(host)
    install(host)
    host.system.busy[LIBRARIES + r"\cpython-312\cryptography\fernet.py"] = 1
    assert "close ComfyUI, then run this again" in absent(host)["msg"]
    assert absent(host)["library"] == "removed"
    assert absent(host)["changed"] is False


def test_every_kill_leaves_what_the_next_run_finishes() -> None:
    """Killed before each single change: each file is the old or the new one, and a second run completes it."""
    goal = Host()
    install(goal)
    wanted = {path: content for path, content in goal.system.files().items() if path != DOOR}
    for kill_at in range(goal.system.changes):
        host = Host()
        host.system.kill_at = kill_at
        with pytest.raises(KilledError):
            install(host)
        left = {path: content for path, content in host.system.files().items() if path in wanted}
        assert all(content == wanted[path] for path, content in left.items())
        if FOLDER + r"\__init__.py" in left:
            assert set(left) == set(wanted)
        host.system.kill_at, host.system.held[:] = None, []
        install(host)
        files = host.system.files()
        # What is left of a token goes when it is a day old, as with keys.
        left_over = {path for path in files if ntpath.basename(path).startswith(".companion.token.")}
        assert set(files) - left_over == {*wanted, DOOR}
        assert all(files[path] == wanted[path] for path in wanted)
        assert install(host)["steps"] == []


def test_paths_and_options_are_checked_before_anything_is_sent() -> None:
    host = Host()
    assert "on Windows it must be" in install(host, comfyui_path="/home/artist/ComfyUI")["msg"]
    assert "key_path is 'studio.key'; on Windows it must be" in install(host, key_path="studio.key")["msg"]
    assert "must not have .." in install(host, comfyui_path=r"D:\x\..\ComfyUI")["msg"]
    assert "time_limit is 0" in install(host, time_limit=0)["msg"]
    assert "has no wheel of cryptography" in install(host, wheel_folder=str(PACKAGE))["msg"]
    assert host.calls == []


@pytest.mark.parametrize(
    ("base", "python"),
    [
        (r"D:\portable\ComfyUI", r"D:\portable\python_embeded\python.exe"),
        (r"C:\Users\artist\Documents\ComfyUI", r"C:\Users\artist\Documents\ComfyUI\.venv\Scripts\python.exe"),
    ],
)
def test_finds_the_python_of_the_portable_and_the_desktop_version(base: str, python: str) -> None:
    host = Host()
    host.system.put_folder(base)
    host.system.put_file(base + r"\main.py", b"")
    host.pythons = {python.lower()}
    assert install(host, comfyui_path=base)["changed"]
    assert host.calls[-1].arguments["argv"][0] == python
    assert install(host, comfyui_path=base, python=python)["changed"] is False
