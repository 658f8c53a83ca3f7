# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""install_credentials.py does what the action comfyui_config does, as a program of its own and as other users."""

from __future__ import annotations

import base64
import functools
import json
import os
import resource
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.budgetguard.techops.plugins.plugin_utils import (
    _export_texts,
    _installer_file,
    _installer_program,
)
from tests.ssh import workstations
from tests.ssh.conftest import Sshd, User
from tests.ssh.installer_cases import CASES, SEALED, Case, Place
from tests.ssh.playing import Stage, make_comfyui
from tests.ssh.workstations import config_task, opened
from tests.tools import venvs
from tests.unit.workstation.examples import (
    CANARY,
    CREDENTIALS,
    KEY,
    OTHER_STUDIO_KEY,
    PREVIOUS_KEY,
    STUDIO_KEY,
)
from tests.unit.workstation.shells import mode

TASK = config_task(workstation_id="ws-1")
REFUSED = {name for name, case in CASES.items() if isinstance(case.expected, str)}


@pytest.fixture(scope="session")
def oldest_python() -> str:
    """Return the oldest Python of this machine that the program is for. None of ours has the library cryptography."""
    return venvs.find_python("3.8", "3.9", "3.10", "3.11", "3.12")


@pytest.fixture
def share(tmp_path: Path) -> Path:
    """Return a folder as the export leaves it, for ws-1."""
    return make_share(tmp_path / "share")


def make_share(folder: Path) -> Path:
    """Make a folder as the export leaves it, for ws-1."""
    sealed = folder / "workstations" / "ws-1" / "budgetguard_backend_config.json"
    sealed.parent.mkdir(parents=True)
    sealed.write_bytes(SEALED)
    (folder / _installer_file.NAME).write_text(_installer_file.text(), encoding="utf-8")
    (folder / "budgetguard_artists_config.json").write_text(json.dumps(workstations.DOCUMENT), encoding="utf-8")
    key = folder.parent / "ws-1.key"
    key.write_text(f"v2 {KEY}\n", encoding="utf-8")
    key.chmod(0o600)
    return folder


class Answer(t.NamedTuple):
    """What the program left."""

    code: int
    told: dict[str, t.Any]
    printed: str


def words(share: Path, place: Place, *more: str) -> list[str]:
    """Return the options for a workstation."""
    paths = ["--comfyui-path", str(place.base), "--key-path", str(place.key_file)]
    given = [] if "--studio-key-file" in more else ["--studio-key-file", str(share.parent / "ws-1.key")]
    whose = [] if "--credentials" in more else ["--workstation", "ws-1"]
    return [*paths, *given, *whose, "--non-interactive", "--json", *more]


def here(capsys: pytest.CaptureFixture[str], options: list[str], share: Path) -> Answer:
    """Run the program in this process."""
    made = _installer_program.parser

    def parser() -> t.Any:
        one = made()
        one.set_defaults(folder=share)
        return one

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_installer_program, "parser", parser)
        code = _installer_program.main(options)
    printed = capsys.readouterr()
    return Answer(code, json.loads(printed.out.splitlines()[-1]), printed.out + printed.err)


def program(python: str, options: list[str], share: Path, *before: str, **more: t.Any) -> Answer:
    """Run it as the program that it is."""
    done = subprocess.run(
        [*before, python, "-I", str(share / _installer_file.NAME), *options],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **{"stdin": subprocess.DEVNULL, **more},
    )
    lines = done.stdout.splitlines()
    told = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return Answer(done.returncode, told, done.stdout + done.stderr)


def test_the_same_as_the_action(
    stage: Stage, tmp_path: Path, share: Path, capsys: pytest.CaptureFixture[str], oldest_python: str
) -> None:
    """The same steps, the same words, the same files; and neither has anything to do after the other."""
    ours = {name: Place(tmp_path / "ours" / name) for name in CASES}
    theirs = {name: Place(tmp_path / "them" / name) for name in CASES}
    for places in (ours, theirs):
        for name, place in places.items():
            CASES[name].prepare(place)
    outcome = stage.play({name: host(theirs[name], case) for name, case in CASES.items()}, [TASK])
    for name, case in CASES.items():
        (tmp_path / "endpoints.json").write_text(json.dumps(case.endpoints), encoding="utf-8")
        options = words(share, ours[name], "--endpoints", str(tmp_path / "endpoints.json"))
        checked = here(capsys, [*options, "--check"], share)
        # The first of them with the oldest Python and without the library, the others faster.
        run = (
            program(oldest_python, options, share)
            if name in ("fresh", "previous-key")
            else here(capsys, options, share)
        )
        expected = outcome.of(name)
        assert_same(name, case, run, expected, ours[name], theirs[name])
        assert {**run.told, "check": True} == {**checked.told, "check": True}, name
        assert CANARY not in run.printed + json.dumps(expected)
        if name not in REFUSED:
            again = here(capsys, [*options, "--verify"], share)
            assert (again.code, again.told["changed"]) == (0, False), (name, again)
            of_theirs = words(share, theirs[name], "--endpoints", str(tmp_path / "endpoints.json"), "--verify")
            assert here(capsys, of_theirs, share).code == 0, name
    good = {name: host(ours[name], CASES[name]) for name in CASES if name not in REFUSED}
    assert stage.play(good, [TASK], "--check").require_success().changed() == set()


def host(place: Place, case: Case) -> dict[str, t.Any]:
    """Return a workstation's variables for the action."""
    values = workstations.variables(place.base, place.key_file, STUDIO_KEY)
    previous = [PREVIOUS_KEY] if case.previous else []
    return {"ansible_connection": "local", **values, "endpoints": case.endpoints, "previous_keys": previous}


def assert_same(name: str, case: Case, run: Answer, expected: dict[str, t.Any], ours: Place, theirs: Place) -> None:
    """Compare what both did."""
    if isinstance(case.expected, str):
        assert case.expected in expected["msg"], name
        said = _installer_program.in_our_words(expected["msg"].replace(str(theirs.root), str(ours.root)))
        assert (run.code, run.told["msg"]) == (4, said), name
    else:
        assert tuple(expected["steps"]) == case.expected, (name, expected)
        for what in ("steps", "config_status", "key_status", "problem", "mode", "key_id", "fingerprint", "changed"):
            assert run.told[what] == expected[what], (name, what, run.told)
        assert set(run.told["reasons"]) == set(expected["reasons"]), name
        assert str(run.told["kept_aside"]).replace(str(ours.root), str(theirs.root)) == str(expected["kept_aside"])
    assert ours.tree() == theirs.tree(), name


def test_credentials_in_clear_are_sealed_on_the_spot_or_refused(
    stage: Stage, tmp_path: Path, share: Path, capsys: pytest.CaptureFixture[str], oldest_python: str
) -> None:
    place = Place(tmp_path / "ws-1").comfyui()
    plain = tmp_path / "budgetguard_credentials.json"
    plain.write_text(json.dumps(CREDENTIALS), encoding="utf-8")
    options = words(share, place, "--credentials", str(plain), "--workstation", "ws-1")
    refused = program(oldest_python, options, share)
    assert refused.code == 3
    assert "cryptography cannot be imported" in refused.told["msg"]
    assert "pip install cryptography" in refused.told["msg"]
    assert list(place.base.iterdir()) == [place.base / "main.py"]
    assert here(capsys, options, share).told["config_status"] == "created"
    assert opened(place.base, place.key_file) == CREDENTIALS
    assert here(capsys, options, share).told["changed"] is False
    play = stage.play({"ws-1": host(place, CASES["right"])}, [TASK], "--check")
    assert play.require_success().changed() == set()
    for path in (place.config, place.key_file):
        assert CANARY not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("line", [STUDIO_KEY, f"v1 {STUDIO_KEY}"])
def test_the_studio_key_becomes_the_key_of_the_workstation(
    share: Path, tmp_path: Path, oldest_python: str, line: str
) -> None:
    """Also from standard input. What stays on the workstation is its own key."""
    place = Place(tmp_path / "ws-1").comfyui()
    with (tmp_path / "studio").open("w+b") as given:
        given.write(f"{line}\n".encode())
        given.seek(0)
        run = program(oldest_python, words(share, place, "--studio-key-file", "-"), share, stdin=given)
    assert run.code == 0, run
    assert place.key_file.read_text(encoding="utf-8") == f"v2 {KEY}\n"
    assert STUDIO_KEY not in run.printed


def test_studio_wide(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The public format: the key file holds the studio key, as the action has it."""
    share = make_share(tmp_path / "share")
    plain = tmp_path / "plain.json"
    plain.write_text(json.dumps(CREDENTIALS), encoding="utf-8")
    (share.parent / "ws-1.key").write_text(f"{STUDIO_KEY}\n", encoding="utf-8")
    place = Place(tmp_path / "ws-1").comfyui()
    options = words(share, place, "--credentials", str(plain), "--studio-wide")
    assert here(capsys, options, share).told["mode"] == "studio-wide"
    assert place.key_file.read_text(encoding="utf-8") == f"v1 {STUDIO_KEY}\n"
    assert opened(place.base, place.key_file) == CREDENTIALS
    # The same config, sealed, for another workstation.
    sealed = words(share, Place(tmp_path / "ws-2").comfyui(), "--credentials", str(place.config), "--studio-wide")
    assert here(capsys, sealed, share).told["config_status"] == "created"
    assert here(capsys, sealed, share).told["changed"] is False


WRONG = {
    "2 no folder": (2, ["--comfyui-path", ""], "--comfyui-path is needed"),
    "3 wrong key": (3, ["--studio-key-file", "other.key"], "The key does not open the config of workstation:ws-1"),
    "3 no key file": (3, ["--studio-key-file", "missing.key"], "missing.key cannot be read"),
    "3 empty key file": (3, ["--studio-key-file", "empty.key"], "is empty"),
    "3 torn config": (3, ["--credentials", "torn.json"], "is not JSON. Was it copied completely?"),
    "3 no config": (3, ["--credentials", "missing.json"], "missing.json cannot be read"),
    "3 of another": (3, ["--credentials", "sealed.json", "--workstation", "ws-7"], "is for workstation:ws-1"),
    "3 unknown workstation": (3, ["--workstation", "ws-7"], "There is no config for 'ws-7'"),
    "3 changed ciphertext": (3, ["--credentials", "changed.json"], "The key does not open"),
    "3 password in endpoints": (3, ["--endpoints", "password.json"], "url holds a user or password"),
}


@pytest.mark.parametrize(("code", "more", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_and_nothing_is_written(
    share: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], code: int, more: list[str], message: str
) -> None:
    place = Place(tmp_path / "ws-1").comfyui()
    changed = json.loads(SEALED)
    token = bytearray(base64.urlsafe_b64decode(base64.urlsafe_b64decode(changed["credentials"]["encrypted_data"])))
    token[-1] ^= 1
    sealed = base64.urlsafe_b64encode(base64.urlsafe_b64encode(token))
    changed["credentials"]["encrypted_data"] = sealed.decode()
    password = {"nim_endpoints": {"X": {"aws": [{"url": f"https://a:{CANARY}@x", "gpu_tier": "t4"}]}}}
    files = {
        "other.key": f"{OTHER_STUDIO_KEY}\n",
        "empty.key": "\n",
        "torn.json": SEALED.decode()[:50],
        "sealed.json": SEALED.decode(),
        "changed.json": json.dumps(changed),
        "password.json": json.dumps(password),
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    paths = [str(tmp_path / word) if word.endswith((".key", ".json")) else word for word in more]
    run = here(capsys, words(share, place, *paths), share)
    assert (run.code, run.told["exit_code"]) == (code, code), run
    assert message in run.told["msg"]
    assert CANARY not in run.printed
    assert OTHER_STUDIO_KEY not in run.printed
    assert list(place.root.rglob("*")) == [place.base, place.base / "main.py"]


def test_a_full_disk_is_told_and_the_old_files_stay(share: Path, tmp_path: Path, oldest_python: str) -> None:
    """Here the limit for the size of a file stands for the disk."""
    place = Place(tmp_path / "ws-1").comfyui().put_config(SEALED[:-1]).put_key(f"v2 {KEY}")
    before = place.config.read_bytes()
    (share / "budgetguard_artists_config.json").write_text(json.dumps({"nim_endpoints": {}}), encoding="utf-8")
    limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (200, 200))
    run = program(oldest_python, words(share, place), share, preexec_fn=limit)
    assert (run.code, place.config.read_bytes()) == (1, before), run
    assert "File too large" in run.told["msg"]
    assert [path.name for path in place.config.parent.iterdir()] == [place.config.name]
    assert program(oldest_python, words(share, place), share).code == 0


def test_verify_and_remove(share: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Place(tmp_path / "ws-1").comfyui()
    assert here(capsys, words(share, place, "--verify"), share).code == 5
    assert not place.config.exists()
    here(capsys, words(share, place), share)
    assert here(capsys, words(share, place, "--verify"), share).code == 0
    place.config.chmod(0o644)
    assert here(capsys, words(share, place, "--verify"), share).told["steps"] == ["config_mode"]
    removed = here(capsys, words(share, place, "--remove"), share)
    assert removed.told["steps"] == ["config_remove", "key_remove"]
    assert not place.config.exists()
    assert not place.key_file.exists()
    assert here(capsys, words(share, place, "--remove"), share).told["changed"] is False


class KilledError(BaseException):
    """The run ended here."""


@pytest.mark.parametrize("after", range(3))
def test_killed_anywhere_the_config_can_be_opened(
    share: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """A rotation writes three files; after each of them it may end."""
    place = Place(tmp_path / "ws-1")
    CASES["previous-key"].prepare(place)
    rename, count = os.rename, iter(range(9))

    def rename_and_die(*arguments: t.Any, **options: t.Any) -> None:
        rename(*arguments, **options)
        if next(count) == after:
            raise KilledError

    monkeypatch.setattr(os, "rename", rename_and_die)
    with pytest.raises(KilledError):
        here(capsys, words(share, place), share)
    monkeypatch.setattr(os, "rename", rename)
    assert opened(place.base, place.key_file) == CREDENTIALS
    assert here(capsys, words(share, place), share).code == 0
    assert place.key_file.read_text(encoding="utf-8") == f"v2 {KEY}\n"
    assert here(capsys, words(share, place, "--verify"), share).code == 0


def test_someone_else_writes_at_the_same_time(
    share: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks again, and what the other one wrote is not lost."""
    place = Place(tmp_path / "ws-1")
    CASES["other-credentials"].prepare(place)
    read = _installer_program.PosixComputer.read
    raced: list[int] = []

    def read_and_race(self: t.Any, *arguments: t.Any) -> t.Any:
        facts = read(self, *arguments)
        if len(raced) < 2 and arguments:
            raced.append(1)
            document = {**json.loads(place.config.read_bytes()), "theme": len(raced)}
            place.config.write_text(json.dumps(document), encoding="utf-8")
        return facts

    monkeypatch.setattr(_installer_program.PosixComputer, "read", read_and_race)
    assert here(capsys, words(share, place), share).told["config_status"] == "updated"
    assert json.loads(place.config.read_bytes())["theme"] == 2


def test_other_users(open_folder: Path, artist: User, other: User, oldest_python: str) -> None:
    """Only the owner of ComfyUI's folder may; root is told to become that user."""
    if not os.access(oldest_python, os.X_OK) or "/root/" in oldest_python:
        oldest_python = "/usr/bin/python3"
    share = make_share(open_folder / "export")
    (share.parent / "ws-1.key").chmod(0o644)
    place = Place(artist.home)
    artist.own(make_comfyui(place.base))
    options = [word for word in words(share, place) if word != "--json"]
    as_root = program(oldest_python, options, share)
    assert as_root.code == 4, as_root
    assert f"belongs to '{artist.name}', but this program runs as 'root'. Run it as {artist.name}." in as_root.printed
    become = ("setpriv", f"--reuid={other.name}", "--clear-groups")
    assert program(oldest_python, options, share, *become).code == 4
    become = ("setpriv", f"--reuid={artist.name}", "--clear-groups")
    done = program(oldest_python, options, share, *become)
    assert done.code == 0, done
    assert "WARNING: others may read the key file" in done.printed
    assert [mode(path) for path in (place.config, place.config.parent, place.key_file)] == [0o600, 0o700, 0o400]
    assert {path.owner() for path in (place.config, place.key_file)} == {artist.name}
    place.config.parent.chmod(0o500)
    refused = program(oldest_python, options, share, *become)
    assert (refused.code, "is closed to its owner" in refused.printed) == (4, True), refused
    place.config.parent.chmod(0o700)
    assert program(oldest_python, [*options, "--remove"], share, *become).code == 0


def test_the_loop_over_ssh(stage: Stage, sshd: Sshd, tmp_path: Path, share: Path, oldest_python: str) -> None:
    """The example as it is shipped, over a real sshd; then the action has nothing to do."""
    script = share / "examples" / "ssh-loop.sh"
    script.parent.mkdir()
    script.write_bytes(_export_texts.content("examples/ssh-loop.sh"))
    place = Place(tmp_path / "it is ws-1").comfyui()
    options = f"-p {sshd.port} -i {sshd.identity} -F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    done = subprocess.run(
        ["sh", str(script), "ws-1"],
        env={
            **os.environ,
            "SSH": f"ssh {options} -o HostName=127.0.0.1 -o LogLevel=ERROR",
            "LOGIN": place.root.owner(),
            "COMFYUI": str(place.base),
            "PYTHON": oldest_python,
            "KEYS": str(share.parent),
            "OPTIONS": f"--key-path '{place.key_file}'",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done
    assert "config: created" in done.stdout
    values = {**host(place, CASES["right"]), "endpoints": workstations.DOCUMENT}
    play = stage.play({"ws-1": {**values, **sshd.host(place.root.owner())}}, [TASK])
    assert play.require_success().changed() == set()


def test_every_part_is_for_python_3_8() -> None:
    import ast

    for part in _installer_file.PARTS:
        source = Path(str(part.__file__)).read_text(encoding="utf-8")
        ast.parse(source, feature_version=(3, 8))
        assert source in _installer_file.text()
    assert sys.version_info >= (3, 10)
