# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""comfyui_config and comfyui_config_info on a Windows workstation, with the real actions and the real program."""

from __future__ import annotations

import base64
import dataclasses
import json
import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _envelope, _windows_config, _workstation
from ansible_collections.budgetguard.techops.plugins.module_utils._windows_config import Entry, Security
from ansible_collections.budgetguard.techops.plugins.plugin_utils import _windows
from tests.unit.workstation import examples, windows_host
from tests.unit.workstation.windows_host import (
    ADMIN,
    ARTIST,
    BASE,
    CONFIG,
    GUEST,
    KEY,
    KEY_PATH,
    PYTHON,
    USERS_GROUP,
    FakeWindows,
    Host,
    KilledError,
)

FOLDER = BASE + r"\budgetguard"
ARTIST_ONLY = _windows_config.access(ARTIST)
LINE = _envelope.key_line(2, examples.KEY)
PREVIOUS_LINE = _envelope.key_line(2, examples.PREVIOUS_KEY)


def options(**changes: t.Any) -> dict[str, t.Any]:
    """Return the options of comfyui_config."""
    return {
        "comfyui_path": BASE,
        "endpoints": {"nim_endpoints": examples.endpoints()},
        "credentials": examples.CREDENTIALS,
        "key": examples.KEY,
        "key_path": KEY_PATH,
        **changes,
    }


def info(**changes: t.Any) -> dict[str, t.Any]:
    """Return the options of comfyui_config_info."""
    return {"comfyui_path": BASE, "key": examples.KEY, "key_path": KEY_PATH, **changes}


def opens(system: FakeWindows) -> bool:
    """Tell whether a line of the key file opens the config; with no config there is nothing to open."""
    files = system.files()
    if CONFIG not in files:
        return True
    keys = [line.split(" ", 1)[1] for line in files.get(KEY, b"").decode().splitlines()]
    found = [_workstation.inspect(files[CONFIG], key, ()).state for key in keys]
    return "ok" in found


# ---- what a run does -------------------------------------------------------------------------------------------------


def test_first_run_makes_config_and_key_for_the_artist_alone() -> None:
    host = Host()
    result = host.configure(**options())
    assert not result.get("failed"), result
    assert result["changed"]
    assert result["steps"] == ["key_keep", "config"]
    assert (result["config_status"], result["key_status"]) == ("created", "created")
    assert (result["path"], result["key_path"]) == (CONFIG, KEY)
    assert host.system.files()[KEY] == f"{LINE}\n".encode()
    assert opens(host.system)
    assert sorted(host.system.node(CONFIG).security.entries or []) == sorted(ARTIST_ONLY)
    assert sorted(host.system.node(KEY).security.entries or []) == sorted(
        _windows_config.access(ARTIST, read_only=True)
    )
    for path in (CONFIG, KEY, FOLDER, KEY.rpartition("\\")[0]):
        assert not host.system.node(path).security.inherits
    assert host.look(**info())["status"] == "ok"


def test_second_run_takes_one_call_and_changes_nothing() -> None:
    host = Host()
    host.configure(**options())
    before, changes = host.system.files(), host.system.changes
    host.calls.clear()
    result = host.configure(**options())
    assert not result["changed"]
    assert result["config_status"] == result["key_status"] == "unchanged"
    assert (host.system.files(), host.system.changes) == (before, changes)
    assert len(host.calls) == 1


@pytest.mark.parametrize("prepared", [False, True])
def test_check_mode_predicts_and_changes_nothing(prepared: bool) -> None:
    host, twin = Host(), Host()
    if prepared:
        for one in (host, twin):
            one.configure(**options(key=examples.PREVIOUS_KEY))
    changes = host.system.changes
    told = host.configure(check=True, diff=True, **options(previous_keys=[examples.PREVIOUS_KEY]))
    done = twin.configure(diff=True, **options(previous_keys=[examples.PREVIOUS_KEY]))
    assert host.system.changes == changes
    told.pop("fingerprint")
    done.pop("fingerprint")
    assert told == done
    assert host.calls[-1].check_mode is False, "win_command would be skipped"
    assert told["diff"]["after"]["file"] == {"access": "ComfyUI's user, Administrators, SYSTEM"}


def test_rotation_puts_the_new_key_before_the_old_one() -> None:
    host = Host()
    host.configure(**options(key=examples.PREVIOUS_KEY))
    assert host.system.files()[KEY] == f"{PREVIOUS_LINE}\n".encode()
    result = host.configure(**options(previous_keys=[examples.PREVIOUS_KEY]))
    assert result["steps"] == ["key_keep", "config", "key_final"]
    assert (result["config_status"], result["key_status"]) == ("rotated", "rotated")
    assert host.system.files()[KEY] == f"{LINE}\n".encode()
    assert opens(host.system)


def test_config_of_a_stranger_is_kept_aside() -> None:
    host = Host()
    host.configure(**options(key=examples.STRANGER_KEY))
    stranger = host.system.files()[CONFIG]
    result = host.configure(**options())
    assert result["config_status"] == "replaced"
    assert result["key_status"] == "replaced"
    assert host.system.files()[result["kept_aside"]] == stranger
    assert not host.system.node(result["kept_aside"]).security.inherits
    assert "could not be opened" in result["warnings"][0]


def test_backup_keeps_the_replaced_config() -> None:
    host = Host()
    host.configure(**options())
    old = host.system.files()[CONFIG]
    result = host.configure(**options(credentials={}, backup=True))
    assert host.system.files()[result["backup_file"]] == old
    assert (result["kept_aside"], "warnings" in result) == (None, False)
    assert host.configure(**options(credentials={}, backup=True))["changed"] is False


def test_absent_removes_config_then_key_and_is_done() -> None:
    host = Host()
    host.configure(**options())
    result = host.configure(comfyui_path=BASE, key_path=KEY_PATH, state="absent")
    assert result["steps"] == ["config_remove", "key_remove"]
    assert not {CONFIG, KEY} & set(host.system.files())
    assert host.configure(comfyui_path=BASE, key_path=KEY_PATH, state="absent")["changed"] is False


def test_access_that_was_given_to_others_is_taken_back() -> None:
    host = Host()
    host.configure(**options())
    for path in (FOLDER, CONFIG, KEY):
        host.system.node(path).security = Security(ADMIN, windows_host.INHERITED, True)
    result = host.configure(diff=True, **options())
    assert result["steps"] == ["folder", "config_mode", "key_final"]
    assert (result["config_status"], result["key_status"]) == ("mode", "mode")
    assert result["diff"]["before"]["file"] == {"access": "others, or inherited"}
    assert host.configure(**options())["changed"] is False


@pytest.mark.parametrize("start", ["nothing", "previous key", "stranger", "open to others"])
def test_run_that_is_killed_anywhere_leaves_what_can_be_opened_and_the_next_one_finishes(start: str) -> None:
    def prepared() -> Host:
        host = Host()
        if start == "previous key":
            host.configure(**options(key=examples.PREVIOUS_KEY))
        if start == "stranger":
            host.configure(**options(key=examples.STRANGER_KEY))
        if start == "open to others":
            host.configure(**options())
            host.system.node(CONFIG).security = Security(ADMIN, None, True)
            host.system.node(FOLDER).security = Security(ADMIN, None, True)
        return host

    wanted = options(previous_keys=[examples.PREVIOUS_KEY])
    host = prepared()
    first = host.system.changes
    host.configure(**wanted)
    steps = host.system.changes - first
    assert steps > 1
    for stop in range(steps):
        host = prepared()
        host.system.kill_at = host.system.changes + stop
        with pytest.raises(KilledError):
            host.configure(**wanted)
        host.system.kill_at = None
        host.system.held.clear()
        assert opens(host.system), f"killed before change {stop}"
        assert not host.configure(**wanted).get("failed")
        assert host.look(**info())["status"] == "ok"
        assert host.configure(**wanted)["changed"] is False


def test_leftovers_of_killed_runs_go_after_a_day() -> None:
    host = Host()
    host.configure(**options())
    for name, age in (
        (".budgetguard_backend_config.json.old.new", 90000.0),
        (".budgetguard_backend_config.json.x.new", 9.0),
    ):
        host.system.put_file(f"{FOLDER}\\{name}", b"")
        host.system.node(f"{FOLDER}\\{name}").age = age
    host.configure(**options(credentials={}))
    assert f"{FOLDER}\\.budgetguard_backend_config.json.old.new" not in host.system.files()
    assert f"{FOLDER}\\.budgetguard_backend_config.json.x.new" in host.system.files()


def test_config_that_somebody_else_writes_meanwhile_is_looked_at_again() -> None:
    host = Host()
    host.configure(**options())
    other = examples.config(key=examples.KEY, credentials={})

    def meddle(request: dict[str, t.Any]) -> None:
        if request["do"] == "write" and host.system.files()[CONFIG] != other:
            host.system.node(CONFIG).content = other

    host.before_call = meddle
    host.calls.clear()
    result = host.configure(**options(endpoints={"nim_endpoints": examples.endpoints(examples.endpoint("https://b"))}))
    assert not result.get("failed"), result
    assert len(host.calls) == 4
    assert host.look(**info())["status"] == "ok"


def test_config_that_is_read_right_now_is_waited_for_and_not_forever() -> None:
    host = Host()
    host.configure(**options())
    host.system.busy[CONFIG] = 3
    assert host.configure(**options(credentials={}))["config_status"] == "updated"
    host.system.busy[CONFIG] = 1000
    old = host.system.files()
    result = host.configure(**options())
    assert result["msg"] == (
        f"Not written: another program keeps '{CONFIG}' open; close ComfyUI, or run this again. "
        "The workstation said: The process cannot access the file because it is being used"
    )
    assert host.system.files() == old


def test_disk_without_access_lists_gets_no_key_at_any_moment() -> None:
    host = Host()
    host.system.keeps_access = False
    result = host.configure(**options())
    assert "the disk does not keep who may read" in result["msg"]
    assert "No key was written" in result["msg"]
    assert LINE not in str(host.system.files())


# ---- who -------------------------------------------------------------------------------------------------------------


def test_artist_may_write_too() -> None:
    host = Host(FakeWindows(runs_as=ARTIST, admin=False))
    assert host.configure(**options())["changed"]
    assert host.configure(**options())["changed"] is False


def test_folder_of_the_administrators_needs_a_user() -> None:
    host = Host()
    host.system.node(BASE).security = Security(_windows_config.ADMINISTRATORS, windows_host.INHERITED, True)
    result = host.configure(**options())
    assert result["msg"] == (
        rf"'{BASE}' belongs to 'BUILTIN\Administrators', which does not say who ComfyUI runs as. Set comfyui_user "
        "(workstation_config_user in the role)."
    )
    result = host.configure(**options(comfyui_user="artist"))
    assert result["changed"]
    assert sorted(host.system.node(CONFIG).security.entries or []) == sorted(ARTIST_ONLY)


@pytest.mark.parametrize("told", [ARTIST, None])
def test_someone_else_is_refused(told: str | None) -> None:
    host = Host(FakeWindows(runs_as=GUEST, admin=False))
    result = host.configure(**options(comfyui_user=r"STUDIO\artist" if told else None))
    assert result["failed"]
    assert (
        r"is that of 'STUDIO\artist', but this task runs as 'STUDIO\guest', who is not an administrator"
        in result["msg"]
    )
    assert host.system.changes == 0
    assert host.look(**info())["status"] == "not_owner"


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda w: w.nodes.pop(BASE.lower()), f"There is no folder '{BASE}'. Set comfyui_path to"),
        (lambda w: w.put_file(BASE, b""), f"'{BASE}' is not a folder. Correct comfyui_path."),
        (
            lambda w: w.closed.add(BASE.lower()),
            f"cannot look into '{BASE}': Access is denied. Give this account access",
        ),
        (lambda w: w.nodes.pop(rf"{BASE}\main.py".lower()), "does not look like ComfyUI's base folder"),
        (lambda w: w.put_link(FOLDER), f"'{FOLDER}' is a symbolic link or a junction; it must be a folder."),
        (lambda w: w.put_file(FOLDER, b""), f"'{FOLDER}' is not a folder. Move it away."),
        (lambda w: w.put_folder(FOLDER, owner=GUEST), rf"'{FOLDER}' belongs to 'STUDIO\guest', not to 'STUDIO\artist'"),
        (lambda w: (w.put_folder(FOLDER), w.put_link(CONFIG)), f"'{CONFIG}' is a symbolic link or a junction"),
        (
            lambda w: (w.put_folder(FOLDER), w.put_file(CONFIG, b"", owner=GUEST)),
            f"'{CONFIG}' belongs to 'STUDIO\\guest'",
        ),
        (
            lambda w: (w.put_folder(FOLDER), w.put_file(CONFIG, b""), w.closed.add(CONFIG.lower())),
            f"'{CONFIG}' is closed to 'WS-1\\Administrator'. As an administrator run takeown",
        ),
        (lambda w: w.homes.clear(), r"'STUDIO\artist' has no home folder on this workstation yet"),
        (
            lambda w: w.put_folder(KEY.rpartition("\\")[0], entries=[Entry(USERS_GROUP, 0x1301BF)]),
            r"Others ('BUILTIN\Users') may write in the key's folder",
        ),
        (lambda w: (w.put_folder(KEY.rpartition("\\")[0], entries=[]), w.put_link(KEY)), "the key must be a file"),
    ],
)
def test_what_is_in_the_way_is_named_and_nothing_is_changed(
    break_it: t.Callable[[FakeWindows], object], message: str
) -> None:
    host = Host()
    break_it(host.system)
    before = {path: dataclasses.replace(node) for path, node in host.system.nodes.items()}
    result = host.configure(**options())
    assert result["failed"]
    assert message in result["msg"]
    assert host.system.nodes == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key_path": BASE + r"\studio.key"}, "is inside ComfyUI's base folder"),
        ({"key_path": BASE.upper() + r"\x\studio.key"}, "is inside ComfyUI's base folder"),
        ({"key_path": r"C:\studio.key"}, "needs a folder of its own"),
        ({"key_path": r"X:\keys\studio.key"}, "There is no drive or share for key_path"),
        ({"comfyui_user": "nobody"}, "This workstation knows no account 'nobody'"),
    ],
)
def test_what_was_asked_for_wrongly_is_named(changes: dict[str, t.Any], message: str) -> None:
    host = Host()
    result = host.configure(**options(**changes))
    assert message in result["msg"]
    assert host.system.changes == 0


def test_link_above_the_key_must_not_lead_an_administrator_elsewhere() -> None:
    host = Host()
    host.system.links[r"c:\users\artist\appdata"] = r"C:\Windows"
    result = host.configure(**options())
    assert result["msg"] == (
        rf"key_path '{KEY}' goes over a link: 'C:\Users\artist\AppData\Local' is 'C:\Windows\Local'. "
        "Give key_path with the real folder."
    )
    assert host.system.changes == 0


def test_link_that_is_made_between_look_and_change_is_not_followed() -> None:
    host = Host()

    def swap(request: dict[str, t.Any]) -> None:
        if request["do"] == "write":
            host.system.links[r"c:\users\artist\appdata"] = r"C:\Windows"

    host.before_call = swap
    result = host.configure(**options())
    assert f"the folder of '{KEY}' is a symbolic link or a junction" in result["msg"]
    assert LINE not in str(host.system.files())


def test_disk_that_fails_while_it_is_looked_at_is_told() -> None:
    host = Host()

    def broken(folder: str) -> list[str]:
        raise OSError(5, "The device is not ready", folder)

    vars(host.system)["names"] = broken
    assert f"cannot look into '{BASE}': {BASE}: The device is not ready. Give" in host.configure(**options())["msg"]
    assert host.look(**info())["status"] == "no_comfyui"


def test_force_takes_a_folder_that_does_not_look_right() -> None:
    host = Host()
    host.system.nodes.pop(rf"{BASE}\main.py".lower())
    assert host.configure(**options(force=True))["changed"]


# ---- the calls -------------------------------------------------------------------------------------------------------


def test_calls_are_exactly_these() -> None:
    host = Host()
    host.configure(**options())
    assert [call.module for call in host.calls] == ["ansible.windows.win_command"] * 2
    assert all(set(call.arguments) == {"argv", "stdin"} for call in host.calls)
    assert all(call.arguments["argv"][0] == PYTHON and len(call.arguments["argv"]) == 5 for call in host.calls)
    assert all('"' not in word for call in host.calls for word in call.arguments["argv"])
    assert all(call.variables["ansible_no_target_syslog"] is True for call in host.calls)
    assert all(call.pipelining is True for call in host.calls)
    look, change = (json.loads(call.arguments["stdin"].rpartition("\n{")[2].join(["{", ""])) for call in host.calls)
    assert look.pop("nonce")
    assert look == {"do": "read", "base": BASE, "user": "", "key": KEY_PATH}
    assert (change["do"], change["user"], change["key"]) == ("write", ARTIST, KEY)


def test_no_secret_is_in_any_argument_and_the_pad_alone_says_nothing() -> None:
    host = Host()
    result = host.configure(**options(key=examples.PREVIOUS_KEY))
    rotated = host.configure(**options(previous_keys=[examples.PREVIOUS_KEY]))
    told = json.dumps([result, rotated, [call.arguments for call in host.calls], [c.environment for c in host.calls]])
    for secret in (examples.KEY, examples.PREVIOUS_KEY, LINE, examples.CANARY):
        assert secret not in told
        assert base64.b64encode(secret.encode()).decode().rstrip("=")[:-1] not in told
    pads = [call.environment[1][_windows.PAD_VARIABLE] for call in host.calls if len(call.environment) > 1]
    assert len(pads) == len(set(pads)) == 2, "a pad is used once"
    assert all(len(base64.b64decode(pad)) == len(LINE) for pad in pads)


def test_python_is_looked_for_once_and_the_given_one_alone() -> None:
    host = Host()
    host.pythons = {rf"{BASE}\venv\scripts\python.exe".lower()}
    host.configure(**options())
    assert [call.arguments["argv"][0] for call in host.calls] == [
        PYTHON,
        rf"{BASE}\.venv\Scripts\python.exe",
        rf"{BASE}\venv\Scripts\python.exe",
        rf"{BASE}\venv\Scripts\python.exe",
    ]
    host.calls.clear()
    result = host.configure(**options(comfyui_python=r"E:\py\python.exe"))
    assert len(host.calls) == 1
    assert result["msg"] == (
        r"There is no Python at 'E:\py\python.exe' on this workstation. Set comfyui_python to the python.exe that "
        "ComfyUI runs with, or correct comfyui_path."
    )


def test_missing_collection_is_one_clear_error() -> None:
    host = Host()
    host.installed = False
    assert host.configure(**options())["msg"] == (
        "Windows workstations need the collection ansible.windows on the controller. "
        "Run: ansible-galaxy collection install ansible.windows"
    )


def test_key_is_not_moved_by_a_file() -> None:
    host = Host()
    host.pipelines = False
    result = host.configure(**options())
    assert "without a temporary file in clear" in result["msg"]
    assert host.system.changes == 0
    assert host.configure(**options(key_path=None))["changed"], "the sealed config may go by a file"


def test_connection_without_the_option_pipelining_works() -> None:
    host = Host()
    del host.connection.options["pipelining"]
    vars(host)["pipelines"] = False
    assert host.configure(**options(key_path=None))["changed"]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"rc": 5, "msg": "denied"}, "may not be started by the account that Ansible logs in with: denied"),
        ({"rc": 1260, "msg": "blocked"}, "A policy of this workstation (AppLocker, App Control)"),
        ({"rc": 1326, "msg": "no login"}, "Windows does not pass a login on"),
        ({"rc": 1, "stdout": "x\r\n", "stderr": f"Traceback {LINE}"}, "(exit code 1). It said: Traceback (hidden)"),
        ({"rc": 0, "stdout": "", "stderr": ""}, "It said: nothing"),
        ({"msg": "MODULE FAILURE"}, f"The workstation did not start '{PYTHON}': MODULE FAILURE"),
    ],
)
def test_python_that_does_not_answer_is_told(result: dict[str, t.Any], message: str) -> None:
    host = Host()
    vars(host)["_execute_module"] = lambda **arguments: {"failed": True, **result}
    assert message in host.configure(**options())["msg"]


def test_share_that_cannot_be_reached_names_the_double_hop() -> None:
    host = Host()
    result = host.configure(**options(comfyui_path=r"\\files\tools\ComfyUI"))
    assert "There is no Python at" in result["msg"]
    assert "the double hop" in result["msg"]


# ---- paths -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        (r"C:\ComfyUI", r"C:\ComfyUI"),
        ("c:/ComfyUI/", r"c:\ComfyUI"),
        ("D:\\My Files\\Comfy UI\\\\", r"D:\My Files\Comfy UI"),
        ("C:\\", "C:\\"),
        (r"C:\.\ComfyUI", r"C:\ComfyUI"),
        ("\\\\files\\tools\\ComfyUI\\", r"\\files\tools\ComfyUI"),
        ("//files/tools", r"\\files\tools"),
        (r"C:\100% sure\x", r"C:\100% sure\x"),
        ("C:\\K\u00fcnstler\\ComfyUI", "C:\\K\u00fcnstler\\ComfyUI"),
        (r"C:\console\com10\nullable", r"C:\console\com10\nullable"),
    ],
)
def test_paths_that_are_meant(path: str, wanted: str) -> None:
    assert _windows.windows_path("comfyui_path", path) == wanted


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("ComfyUI", "on Windows it must be a drive and a path"),
        ("C:ComfyUI", "on Windows it must be a drive and a path"),
        ("1:\\ComfyUI", "on Windows it must be a drive and a path"),
        ("/home/artist/ComfyUI", "on Windows it must be a drive and a path"),
        (r"\\files", "on Windows it must be a drive and a path"),
        (r"%USERPROFILE%\ComfyUI", "write the path out, because a variable"),
        (r"C:\%USERNAME%", "write the path out, because a variable"),
        (r"$env:USERPROFILE\ComfyUI", "write the path out, because a variable"),
        (r"\\?\C:\ComfyUI", "without the prefix"),
        (r"\\.\pipe\x", "without the prefix"),
        (r"~\ComfyUI", "on Windows it must be a drive and a path"),
        (r"C:\a\..\b", "must not have .. in it"),
        (r"C:\a:stream", "Windows allows none of"),
        ("C:\\a\nb", "Windows allows none of"),
        (r"C:\what?", "Windows allows none of"),
        (r"C:\nul\x", "reserves the name 'nul'"),
        (r"C:\Com1.txt", "reserves the name 'Com1.txt'"),
        (r"C:\folder.\x", "would drop the dot or space"),
        ("C:\\folder \\x", "would drop the dot or space"),
    ],
)
def test_paths_that_cannot_be_meant(path: str, message: str) -> None:
    host = Host()
    result = host.configure(**options(comfyui_path=path))
    assert message in result["msg"]
    assert not host.calls


@pytest.mark.parametrize("path", ["~", "~\\", r"~guest\studio.key", r"~\..\studio.key", "studio.key"])
def test_key_paths_that_cannot_be_meant(path: str) -> None:
    host = Host()
    assert "key_path is" in host.configure(**options(key_path=path))["msg"]
    assert not host.calls


# ---- access lists ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("security", "read_only", "wanted"),
    [
        (Security(ARTIST, _windows_config.access(ARTIST), False), False, True),
        (Security(ARTIST, _windows_config.access(ARTIST), True), False, False),
        (Security(ARTIST, _windows_config.access(ARTIST, read_only=True), False), True, True),
        (Security(ARTIST, _windows_config.access(ARTIST), False), True, False),
        (Security(ARTIST, _windows_config.access(ARTIST, read_only=True), False), False, False),
        (Security(ARTIST, [*_windows_config.access(ARTIST), Entry(GUEST, 1)], False), False, False),
        (Security(ARTIST, [*_windows_config.access(ARTIST), Entry(GUEST, 1, allow=False)], False), False, True),
        (Security(ARTIST, _windows_config.access(_windows_config.SYSTEM), False), False, False),
        (Security(ARTIST, [], False), False, False),
        (Security(ARTIST, None, False), False, False),
    ],
)
def test_private_is_what_nobody_else_can_read(security: Security, read_only: bool, wanted: bool) -> None:
    assert _windows_config.is_private(security, ARTIST, read_only) is wanted


def test_access_is_written_as_windows_writes_it() -> None:
    assert _windows_config.sddl(_windows_config.access(ARTIST, folder=True)) == (
        f"D:P(A;OICI;0x1f01ff;;;S-1-5-18)(A;OICI;0x1f01ff;;;S-1-5-32-544)(A;OICI;0x1f01ff;;;{ARTIST})"
    )
    assert _windows_config.sddl(_windows_config.access(_windows_config.SYSTEM, read_only=True)) == (
        "D:P(A;;0x1f01ff;;;S-1-5-18)(A;;0x1f01ff;;;S-1-5-32-544)"
    )
