# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The actions over a real sshd: several workstations without Python, other Unix users, passwords, attacks, kills."""

from __future__ import annotations

import os
import pwd
import typing as t
from pathlib import Path

import pytest

from tests.ssh import workstations
from tests.ssh.conftest import Sshd, User
from tests.ssh.playing import INFO, Stage, make_comfyui
from tests.ssh.workstations import config_task, info_task, opened
from tests.unit.workstation.examples import CREDENTIALS, OTHER_STUDIO_KEY, STUDIO_KEY
from tests.unit.workstation.shells import CONFIG as CONFIG_PATH
from tests.unit.workstation.shells import mode

ME = pwd.getpwuid(os.getuid()).pw_name
NAMES = ("ws-1", "ws-2", "ws-3")
KEY_PATH = "~/.config/budgetguard/studio.key"


@pytest.fixture
def own(sshd: Sshd, tmp_path: Path) -> dict[str, dict[str, t.Any]]:
    """Return three workstations of the user who runs the tests, in folders with awkward names."""
    hosts = {}
    for name in NAMES:
        base = make_comfyui(tmp_path / f"it's $HOME of {name}")
        values = workstations.variables(base, tmp_path / f"keys of {name}" / "studio.key", STUDIO_KEY, name)
        hosts[name] = {**sshd.host(ME), **values}
    return hosts


@pytest.fixture
def base(artist: User) -> t.Iterator[Path]:
    """Return ComfyUI's base folder of the artist, who finds a home without leftovers."""
    folder = artist.own(make_comfyui(artist.home / "ComfyUI"))
    yield folder
    for path in sorted(artist.home.rglob("*"), reverse=True):
        path.unlink() if path.is_symlink() or not path.is_dir() else path.rmdir()


@pytest.fixture
def key_file(artist: User) -> Path:
    """Return where the artist's key is by default."""
    return artist.home / ".config" / "budgetguard" / "studio.key"


@pytest.fixture
def values(base: Path) -> dict[str, t.Any]:
    """Return the variables of the artist's workstation."""
    return workstations.variables(base, KEY_PATH, STUDIO_KEY)


def become(user: str, **more: t.Any) -> dict[str, t.Any]:
    """Return the keywords of a task that runs as another user."""
    return {"become": True, "become_user": user, **more}


def owners(*paths: Path) -> set[str]:
    """Return who owns the files."""
    return {pwd.getpwuid(path.lstat().st_uid).pw_name for path in paths}


def test_round_trips(stage: Stage, sshd: Sshd, own: dict[str, dict[str, t.Any]]) -> None:
    """All of it takes two round trips at most, and one when nothing differs."""
    counts = []
    for arguments in (["--check"], [], []):
        before = sshd.sessions()
        done = stage.play(own, [config_task()], *arguments).require_success()
        counts.append((len(done.changed()), sshd.sessions() - before))
    assert counts == [(3, 3), (3, 6), (0, 3)]
    for host in own.values():
        assert opened(Path(host["comfyui_path"]), Path(host["key_path"])) == CREDENTIALS


def test_role_takes_one_round_trip_when_nothing_differs(
    stage: Stage, sshd: Sshd, own: dict[str, dict[str, t.Any]]
) -> None:
    variables = {
        "workstation_config_endpoints": workstations.DOCUMENT,
        "workstation_config_studio_key": STUDIO_KEY,
        "workstation_config_user": ME,
        "workstation_config_key_path": "{{ key_path }}",
    }
    tasks = [{"ansible.builtin.include_role": {"name": workstations.ROLE}}]
    stage.play(own, tasks, variables=variables).require_success()
    before = sshd.sessions()
    assert stage.play(own, tasks, variables=variables).require_success().changed() == set()
    assert sshd.sessions() - before == len(own)


def test_one_workstations_trouble_is_its_own(stage: Stage, own: dict[str, dict[str, t.Any]]) -> None:
    Path(own["ws-2"]["comfyui_path"], "main.py").unlink()
    outcome = stage.play(own, [config_task()])
    assert outcome.changed() == {"ws-1", "ws-3"}
    assert "does not look like ComfyUI" in outcome.of("ws-2")["msg"]


def test_root_becomes_the_owner(
    stage: Stage, sshd: Sshd, artist: User, base: Path, key_file: Path, values: dict[str, t.Any]
) -> None:
    hosts = {"ws-1": {**sshd.host("root"), **values}}
    task = {**config_task(), **become(artist.name)}
    assert stage.play(hosts, [task], "-vvvv").require_success().of("ws-1")["key_path"] == str(key_file)
    assert owners(base / CONFIG_PATH, base / CONFIG_PATH.parent, key_file, key_file.parent) == {artist.name}
    assert [mode(path) for path in (base / CONFIG_PATH, key_file, key_file.parent)] == [0o600, 0o400, 0o700]
    assert opened(base, key_file) == CREDENTIALS
    assert stage.play(hosts, [task]).require_success().changed() == set()


def test_root_is_refused_in_an_artists_folder(
    stage: Stage, sshd: Sshd, artist: User, base: Path, values: dict[str, t.Any]
) -> None:
    outcome = stage.play({"ws-1": {**sshd.host("root"), **values}}, [config_task(), info_task()])
    assert f"Set become: true and become_user: {artist.name} (workstation_config_user" in outcome.of("ws-1")["msg"]
    assert not (base / "budgetguard").exists()


def test_another_user_is_refused(stage: Stage, sshd: Sshd, artist: User, other: User, values: dict[str, t.Any]) -> None:
    outcome = stage.play({"ws-1": {**sshd.host(other.name), **values}}, [config_task()])
    assert f"become_user: {artist.name}" in outcome.of("ws-1")["msg"]


def test_info_reads_nothing_as_another_user(
    stage: Stage, sshd: Sshd, artist: User, base: Path, values: dict[str, t.Any]
) -> None:
    hosts = {"ws-1": {**sshd.host("root"), **values}}
    stage.play(hosts, [{**config_task(), **become(artist.name)}]).require_success()
    info = stage.play(hosts, [info_task()]).require_success().of("ws-1", INFO)
    assert (info["status"], info["owner"], info["user"]) == ("not_owner", artist.name, "root")
    assert info["fingerprint"] is None
    assert base.exists()


def test_owner_is_found_out(
    stage: Stage, sshd: Sshd, artist: User, base: Path, key_file: Path, values: dict[str, t.Any]
) -> None:
    artist.home.chmod(0o700)
    hosts = {"ws-1": {**sshd.host("root"), **values}}
    tasks = [{**config_task(as_owner=True), "become": True}, {**info_task(as_owner=True), "become": True}]
    done = stage.play(hosts, tasks).require_success()
    assert (done.of("ws-1", INFO)["status"], done.of("ws-1", INFO)["user"]) == ("ok", artist.name)
    assert owners(base / CONFIG_PATH, key_file) == {artist.name}
    artist.home.chmod(0o755)


def test_role_finds_the_owner_and_its_home(stage: Stage, sshd: Sshd, artist: User, base: Path, key_file: Path) -> None:
    variables = {
        "workstation_config_endpoints": workstations.DOCUMENT,
        "workstation_config_studio_key": STUDIO_KEY,
        "workstation_config_credentials": CREDENTIALS,
    }
    tasks = [{"ansible.builtin.include_role": {"name": workstations.ROLE}}]
    hosts = {"ws-1": {**sshd.host("root"), "comfyui_path": str(base)}}
    stage.play(hosts, tasks, variables=variables).require_success()
    assert opened(base, key_file) == CREDENTIALS
    assert owners(base / CONFIG_PATH, key_file) == {artist.name}


def test_own_home_of_a_closed_user(
    stage: Stage, sshd: Sshd, artist: User, other: User, values: dict[str, t.Any]
) -> None:
    artist.home.chmod(0o700)
    outcome = stage.play({"ws-1": {**sshd.host(other.name), **values}}, [config_task()])
    artist.home.chmod(0o755)
    assert "may not look into a folder above" in outcome.of("ws-1")["msg"]


def test_sudo_with_a_password(
    stage: Stage, sshd: Sshd, admin: User, artist: User, base: Path, key_file: Path, values: dict[str, t.Any]
) -> None:
    login = {**sshd.host(admin.name), **values, "ansible_become_password": admin.password}
    task = {**config_task(), **become(artist.name)}
    outcome = stage.play({"ws-1": login}, [task], "-vvvv").require_success()
    assert opened(base, key_file) == CREDENTIALS
    assert admin.password not in outcome.printed


def test_su_with_a_password(
    stage: Stage, sshd: Sshd, other: User, artist: User, base: Path, key_file: Path, values: dict[str, t.Any]
) -> None:
    login = {**sshd.host(other.name), **values, "ansible_become_password": artist.password}
    task = {**config_task(), **become(artist.name, become_method="ansible.builtin.su")}
    stage.play({"ws-1": login}, [task]).require_success()
    assert opened(base, key_file) == CREDENTIALS


@pytest.mark.parametrize("pipelining", ["True", "False"])
def test_local_connection_with_a_become_password(
    stage: Stage, artist: User, base: Path, key_file: Path, values: dict[str, t.Any], pipelining: str
) -> None:
    """The local connection drops what goes to standard input when it makes a terminal for the password."""
    host = {"ansible_connection": "local", **values, "ansible_become_password": "not asked for, as root may do it"}
    task = {**config_task(), **become(artist.name)}
    environment = {"ANSIBLE_PIPELINING": pipelining}
    stage.play({"ws-1": host}, [task], environment=environment).require_success()
    assert opened(base, key_file) == CREDENTIALS


@pytest.mark.parametrize("shell", ["/bin/bash", "/bin/tcsh"])
def test_login_shell(stage: Stage, sshd: Sshd, make_user: t.Callable[..., User], shell: str) -> None:
    """Studios have csh since before Linux. Its quoting knows no line breaks, and its start-up files are noisy."""
    user = make_user(shell)
    for script in (".cshrc", ".bashrc"):
        (user.home / script).write_text("echo welcome to the farm\n")
    folder = user.own(make_comfyui(user.home / "bang! ComfyUI"))
    host = {**sshd.host(user.name), **workstations.variables(folder, KEY_PATH, STUDIO_KEY)}
    stage.play({"ws-1": host}, [config_task()]).require_success()
    assert opened(folder, user.home / ".config/budgetguard/studio.key") == CREDENTIALS


# Connections without standard input


def test_connection_without_input(stage: Stage, own: dict[str, dict[str, t.Any]]) -> None:
    hosts = {name: {**host, "ansible_connection": "no_input"} for name, host in own.items()}
    done = stage.play(hosts, [config_task(key_path=None)]).require_success()
    assert len(done.changed()) == len(hosts)
    assert stage.play(hosts, [config_task(key_path=None)]).require_success().changed() == set()
    for host in own.values():
        base = Path(host["comfyui_path"])
        assert (mode(base / CONFIG_PATH), mode(base / CONFIG_PATH.parent)) == (0o600, 0o700)
    info = stage.play(hosts, [info_task(key_path=None)]).require_success()
    assert {info.of(name, INFO)["status"] for name in hosts} == {"ok"}


def test_connection_without_input_moves_no_key(stage: Stage, own: dict[str, dict[str, t.Any]]) -> None:
    host = {**own["ws-1"], "ansible_connection": "no_input"}
    outcome = stage.play({"ws-1": host}, [config_task()])
    assert "A key cannot be moved over the connection 'no_input'" in outcome.of("ws-1")["msg"]
    assert not Path(host["key_path"]).exists()


def test_connection_without_input_becomes_the_owner(
    stage: Stage, sshd: Sshd, artist: User, base: Path, values: dict[str, t.Any]
) -> None:
    host = {**sshd.host("root"), **values, "ansible_connection": "no_input"}
    task = {**config_task(key_path=None), **become(artist.name)}
    stage.play({"ws-1": host}, [task]).require_success()
    assert owners(base / CONFIG_PATH, base / CONFIG_PATH.parent) == {artist.name}
    assert stage.play({"ws-1": host}, [task]).require_success().changed() == set()


# Attacks, as another user or as the artist, on a run that logs in as root and becomes the artist


def link_folder(_artist: User, base: Path, victim: Path) -> None:
    (base / "budgetguard").symlink_to(victim.parent)


def link_file(artist: User, base: Path, victim: Path) -> None:
    (base / "budgetguard").mkdir()
    (base / CONFIG_PATH).symlink_to(victim)
    artist.own(base)


def link_key(artist: User, _base: Path, victim: Path) -> None:
    folder = artist.home / ".config" / "budgetguard"
    folder.mkdir(parents=True)
    (folder / "studio.key").symlink_to(victim)
    artist.own(artist.home)


def foreign_folder(_artist: User, base: Path, _victim: Path) -> None:
    (base / "budgetguard").mkdir()


def foreign_file(_artist: User, base: Path, _victim: Path) -> None:
    (base / "budgetguard").mkdir()
    (base / CONFIG_PATH).write_text("{}")
    os.chown(base / "budgetguard", base.stat().st_uid, -1)


def foreign_key(artist: User, _base: Path, _victim: Path) -> None:
    folder = artist.home / ".config" / "budgetguard"
    folder.mkdir(parents=True)
    artist.own(artist.home)
    (folder / "studio.key").write_text("v2 planted\n")


def foreign_key_folder(artist: User, _base: Path, _victim: Path) -> None:
    (artist.home / ".config").mkdir()
    artist.own(artist.home)
    (artist.home / ".config" / "budgetguard").mkdir()


ATTACKS: dict[t.Callable[[User, Path, Path], None], str] = {
    link_folder: "is a symbolic link; it must be a folder",
    link_file: "is a symbolic link; it must be a file",
    link_key: "is a symbolic link; the key must be a file",
    foreign_folder: 'budgetguard" belongs to the user with the id 0',
    foreign_file: 'json" belongs to the user with the id 0',
    foreign_key: 'studio.key" belongs to the user with the id 0',
    foreign_key_folder: '.config/budgetguard" belongs to the user with the id 0',
}


@pytest.mark.parametrize(("attack", "sentence"), ATTACKS.items(), ids=[attack.__name__ for attack in ATTACKS])
def test_attack_is_refused(
    stage: Stage,
    sshd: Sshd,
    artist: User,
    base: Path,
    values: dict[str, t.Any],
    tmp_path: Path,
    attack: t.Callable[[User, Path, Path], None],
    sentence: str,
) -> None:
    victim = tmp_path / "victim" / "precious"
    victim.parent.mkdir()
    victim.write_text("precious")
    attack(artist, base, victim)
    outcome = stage.play({"ws-1": {**sshd.host("root"), **values}}, [{**config_task(), **become(artist.name)}])
    assert outcome.code != 0
    assert sentence in outcome.of("ws-1")["msg"]
    assert [path.name for path in victim.parent.iterdir()] == ["precious"]
    assert victim.read_text() == "precious"


# Kills


def rotation(hosts: dict[str, dict[str, t.Any]]) -> dict[str, dict[str, t.Any]]:
    """Return the same workstations with keys of another studio key."""
    rotated = {}
    for name, host in hosts.items():
        fresh = workstations.variables(Path(host["comfyui_path"]), host["key_path"], OTHER_STUDIO_KEY, name)
        rotated[name] = {**host, "key": fresh["key"], "previous_keys": [host["key"]]}
    return rotated


RENAMES = ("key_keep", "config", "key_final")


@pytest.mark.parametrize(
    ("step", "when"), [("key_keep", "after"), ("config", "before"), ("config", "after"), ("key_final", "after")]
)
def test_rotation_that_was_killed_goes_on(
    stage: Stage, own: dict[str, dict[str, t.Any]], tmp_path: Path, step: str, when: str
) -> None:
    """Kill the workstation's shell around every rename; the config opens all the time, and the next run finishes."""
    hosts = {"ws-1": own["ws-1"]}
    rotated = rotation(hosts)
    base, key_file = Path(hosts["ws-1"]["comfyui_path"]), Path(hosts["ws-1"]["key_path"])
    stage.play(hosts, [config_task()]).require_success()
    shell = make_deadly_shell(tmp_path / "deadly", RENAMES.index(step) + 1, when)
    killed = stage.play(rotated, [config_task()], environment={"ANSIBLE_EXECUTABLE": str(shell)})
    assert killed.code != 0
    assert opened(base, key_file) == CREDENTIALS
    old, new = f"v2 {hosts['ws-1']['key']}", f"v2 {rotated['ws-1']['key']}"
    renamed = RENAMES.index(step) + (when == "after")
    assert key_file.read_text().splitlines() == [[old], [new, old], [new, old], [new]][renamed]
    done = stage.play(rotated, [config_task()]).require_success()
    assert done.of("ws-1")["steps"] == [list(RENAMES), list(RENAMES), ["key_final"], []][renamed]
    assert done.of("ws-1")["kept_aside"] is None
    assert opened(base, key_file) == CREDENTIALS
    assert key_file.read_text().splitlines() == [new]


def make_deadly_shell(folder: Path, number: int, when: str) -> Path:
    """Make a shell whose commands find an mv that kills its caller at one of its calls, before or after renaming."""
    folder.mkdir()
    mv = f"""#!/bin/sh
echo >> {folder}/calls
calls=$(($(wc -l < {folder}/calls)))
if [ $calls = {number} ] && [ {when} = before ]; then kill -9 $PPID; exit; fi
/bin/mv "$@"
if [ $calls = {number} ]; then kill -9 $PPID; fi
"""
    for name, script in {"mv": mv, "sh": f'#!/bin/sh\nPATH={folder}:$PATH exec /bin/sh "$@"\n'}.items():
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    return folder / "sh"
