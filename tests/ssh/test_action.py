# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The actions in real plays over the connection local, with the oldest, the usual and the newest ansible-core."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret

from tests.ssh import workstations
from tests.ssh.playing import INFO, Outcome, Stage, make_comfyui
from tests.ssh.workstations import config_task, document, info_task, opened
from tests.unit.workstation.examples import (
    CANARY,
    CREDENTIALS,
    KEY,
    OTHER_STUDIO_KEY,
    PREVIOUS_KEY,
    STUDIO_KEY,
    endpoints,
)
from tests.unit.workstation.public_reader import open_config
from tests.unit.workstation.shells import CONFIG as CONFIG_PATH
from tests.unit.workstation.shells import mode

LOCAL = {"ansible_connection": "local"}
OPTIONS_TO_DERIVE: dict[str, t.Any] = {"key": None, "previous_keys": None}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return ComfyUI's base folder."""
    return make_comfyui(tmp_path / "Comfy UI")


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Return where the key goes."""
    return tmp_path / "keys" / "studio.key"


@pytest.fixture
def host(base: Path, key_file: Path) -> dict[str, t.Any]:
    """Return the variables of one workstation."""
    return {**LOCAL, **workstations.variables(base, key_file, STUDIO_KEY)}


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of all files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def check_first_deployment(stage: Stage, host: dict[str, t.Any], base: Path, key_file: Path) -> None:
    """Go through check, run, run again."""
    before = files(base)
    checked = stage.play({"ws-1": host}, [config_task()], "--check", "--diff").require_success()
    assert files(base) == before
    assert not key_file.parent.exists()
    done = stage.play({"ws-1": host}, [config_task()], "--diff").require_success()
    assert checked.of("ws-1") == done.of("ws-1")
    assert done.of("ws-1")["steps"] == ["key_keep", "config"]
    assert (done.of("ws-1")["config_status"], done.of("ws-1")["key_status"]) == ("created", "created")
    assert opened(base, key_file) == CREDENTIALS
    assert key_file.read_text() == f"v2 {KEY}\n"
    assert [mode(path) for path in (base / CONFIG_PATH, key_file)] == [0o600, 0o400]
    written = files(base)
    again = stage.play({"ws-1": host}, [config_task(), info_task()], "--diff").require_success()
    assert again.changed() == set()
    assert again.of("ws-1")["diff"]["before"] == again.of("ws-1")["diff"]["after"]
    assert files(base) == written
    info = again.of("ws-1", INFO)
    assert (info["status"], info["decrypts"], info["key_file"], info["file_mode"]) == ("ok", True, "current", "0600")
    assert info["credentials_status"] == {"nvidia": True, "aws": True, "azure": False, "gcp": False}


def test_first_deployment(stage: Stage, host: dict[str, t.Any], base: Path, key_file: Path) -> None:
    check_first_deployment(stage, host, base, key_file)


def test_first_deployment_with_oldest_core(
    stage: Stage, host: dict[str, t.Any], base: Path, key_file: Path, oldest_core: Path
) -> None:
    check_first_deployment(dataclasses.replace(stage, playbook=oldest_core / "ansible-playbook"), host, base, key_file)


def test_first_deployment_with_newest_core(
    stage: Stage, host: dict[str, t.Any], base: Path, key_file: Path, newest_core: Path
) -> None:
    check_first_deployment(dataclasses.replace(stage, playbook=newest_core / "ansible-playbook"), host, base, key_file)


def check_vaulted(stage: Stage, host: dict[str, t.Any], base: Path, key_file: Path) -> None:
    """Give credentials and key as inline vaulted texts, as the role for credentials writes them."""
    vault = VaultLib([("default", VaultSecret(b"vault password"))])
    password = stage.folder / "password"
    password.write_text("vault password")

    def vaulted(text: str) -> dict[str, str]:
        return {"__ansible_vault": vault.encrypt(text).decode()}

    secrets = {
        provider: {field: vaulted(text) for field, text in fields.items()} for provider, fields in CREDENTIALS.items()
    }
    host = {**host, "credentials": secrets, "key": vaulted(KEY)}
    lines = ["comfyui_path", "key_path", "endpoints", *LOCAL]
    plain = {name: host.pop(name) for name in lines}
    folder = stage.folder / "host_vars"
    folder.mkdir(exist_ok=True)
    (folder / "ws-1.json").write_text(json.dumps(host))
    arguments = ("--vault-password-file", str(password))
    done = stage.play({"ws-1": plain}, [config_task()], *arguments).require_success()
    assert done.of("ws-1")["credentials_status"]["aws"] is True
    assert opened(base, key_file) == CREDENTIALS
    assert stage.play({"ws-1": plain}, [config_task()], *arguments).require_success().changed() == set()


def test_vaulted_secrets(stage: Stage, host: dict[str, t.Any], base: Path, key_file: Path) -> None:
    check_vaulted(stage, host, base, key_file)


def test_vaulted_secrets_with_oldest_core(
    stage: Stage, host: dict[str, t.Any], base: Path, key_file: Path, oldest_core: Path
) -> None:
    check_vaulted(dataclasses.replace(stage, playbook=oldest_core / "ansible-playbook"), host, base, key_file)


def test_vaulted_secrets_with_newest_core(
    stage: Stage, host: dict[str, t.Any], base: Path, key_file: Path, newest_core: Path
) -> None:
    check_vaulted(dataclasses.replace(stage, playbook=newest_core / "ansible-playbook"), host, base, key_file)


def test_key_is_derived_from_the_studio_key(stage: Stage, host: dict[str, t.Any], base: Path, key_file: Path) -> None:
    """The key that is made here is the one that the filter makes, in both versions and from the previous key."""
    derived = {**OPTIONS_TO_DERIVE, "studio_key": "{{ studio_key }}"}
    host = {**host, "studio_key": OTHER_STUDIO_KEY}
    stage.play({"ws-1": host}, [config_task(**derived)]).require_success()
    assert key_file.read_text() == f"v2 {PREVIOUS_KEY}\n"
    host = {**host, "studio_key": STUDIO_KEY, "previous_studio_key": OTHER_STUDIO_KEY}
    derived["previous_studio_key"] = "{{ previous_studio_key }}"
    rotated = stage.play({"ws-1": host}, [config_task(**derived)]).require_success()
    assert rotated.of("ws-1")["config_status"] == "rotated"
    assert key_file.read_text() == f"v2 {KEY}\n"
    shared = stage.play({"ws-1": host}, [config_task(**derived, encryption_version=1)]).require_success()
    assert (shared.of("ws-1")["config_status"], shared.of("ws-1")["kept_aside"]) == ("rotated", None)
    assert open_config((base / CONFIG_PATH).read_bytes(), STUDIO_KEY) == CREDENTIALS
    assert key_file.read_text() == f"v1 {STUDIO_KEY}\n"


def test_rotation_and_its_check(stage: Stage, host: dict[str, t.Any], base: Path, key_file: Path) -> None:
    stage.play({"ws-1": host}, [config_task()]).require_success()
    rotated = {**host, "key": PREVIOUS_KEY, "previous_keys": [KEY]}
    written = files(base)
    checked = stage.play({"ws-1": rotated}, [config_task()], "--check", "--diff").require_success()
    assert files(base) == written
    done = stage.play({"ws-1": rotated}, [config_task()], "--diff").require_success()
    assert checked.of("ws-1") == done.of("ws-1")
    assert done.of("ws-1")["steps"] == ["key_keep", "config", "key_final"]
    assert (done.of("ws-1")["config_status"], done.of("ws-1")["key_status"]) == ("rotated", "rotated")
    assert done.of("ws-1")["diff"]["before"]["key_file"]["holds"] == "previous"
    assert opened(base, key_file) == CREDENTIALS
    assert key_file.read_text() == f"v2 {PREVIOUS_KEY}\n"
    assert stage.play({"ws-1": rotated}, [config_task()]).require_success().changed() == set()


def test_broken_file_is_kept_aside(stage: Stage, host: dict[str, t.Any], base: Path, key_file: Path) -> None:
    (base / CONFIG_PATH).parent.mkdir()
    (base / CONFIG_PATH).write_bytes(b'{"version": "1.0", cut \xff')
    checked = stage.play({"ws-1": host}, [config_task()], "--check").require_success()
    done = stage.play({"ws-1": host}, [config_task()]).require_success()
    kept = done.of("ws-1")["kept_aside"]
    assert checked.of("ws-1")["kept_aside"] == kept
    assert Path(kept).read_bytes() == b'{"version": "1.0", cut \xff'
    assert (done.of("ws-1")["reasons"], done.of("ws-1")["problem"]) == (["broken"], "it is not JSON")
    assert opened(base, key_file) == CREDENTIALS


def test_backup_of_a_good_file(stage: Stage, host: dict[str, t.Any], base: Path) -> None:
    stage.play({"ws-1": host}, [config_task()]).require_success()
    before = (base / CONFIG_PATH).read_bytes()
    changed = {**host, "endpoints": {"nim_endpoints": {}}}
    done = stage.play({"ws-1": changed}, [config_task(backup=True)]).require_success().of("ws-1")
    assert (done["reasons"], done["kept_aside"]) == (["nim_endpoints"], None)
    assert Path(done["backup_file"]).read_bytes() == before


def test_modes_are_repaired(stage: Stage, host: dict[str, t.Any], base: Path, key_file: Path) -> None:
    stage.play({"ws-1": host}, [config_task()]).require_success()
    (base / CONFIG_PATH).chmod(0o644)
    (base / CONFIG_PATH).parent.chmod(0o777)
    key_file.chmod(0o644)
    content = files(base)
    checked = stage.play({"ws-1": host}, [config_task()], "--check", "--diff").require_success()
    done = stage.play({"ws-1": host}, [config_task()], "--diff").require_success()
    assert checked.of("ws-1") == done.of("ws-1")
    assert (done.of("ws-1")["config_status"], done.of("ws-1")["key_status"]) == ("mode", "mode")
    assert files(base) == content
    assert [mode(path) for path in (base / CONFIG_PATH, (base / CONFIG_PATH).parent, key_file)] == [0o600, 0o755, 0o400]


def test_removal(stage: Stage, host: dict[str, t.Any], base: Path, key_file: Path) -> None:
    stage.play({"ws-1": host}, [config_task()]).require_success()
    absent = config_task(state="absent", endpoints=None, credentials=None, key=None, previous_keys=None, backup=True)
    checked = stage.play({"ws-1": host}, [absent], "--check").require_success()
    assert key_file.exists()
    done = stage.play({"ws-1": host}, [absent]).require_success()
    assert checked.of("ws-1") == done.of("ws-1")
    assert not key_file.exists()
    assert not (base / CONFIG_PATH).exists()
    assert Path(done.of("ws-1")["backup_file"]).exists()
    assert stage.play({"ws-1": host}, [absent, info_task()]).require_success().changed() == set()


BAD_OPTIONS: dict[str, tuple[dict[str, t.Any], str]] = {
    "relative path": ({"comfyui_path": "ComfyUI"}, "comfyui_path must be an absolute path"),
    "line break": ({"comfyui_path": "/tmp/a\nb"}, "must not hold a line break"),
    "no such folder": ({"comfyui_path": "/no/such/folder"}, "There is no folder '/no/such/folder'"),
    "studio key as key": ({"key": STUDIO_KEY}, "never the studio key|not the studio key itself"),
    "wrong previous key": ({"previous_keys": [STUDIO_KEY]}, "not the studio key itself"),
    "no document": ({"endpoints": {"a": 1}}, "artists' document"),
    "credentials in a list": ({"credentials": {"aws": [CANARY]}}, "credentials of 'aws' must be a mapping"),
    "credentials as text": ({"credentials": CANARY}, "credentials"),
    "studio-wide version 2": ({"mode": "studio-wide", "encryption_version": 2}, "needs encryption_version 1"),
    "version 1 without studio key": ({"encryption_version": 1}, "studio_key is needed"),
    "weak studio key": ({"encryption_version": 1, "studio_key": "weak"}, "shorter than 32"),
    "key in ComfyUI": ({"key_path": "{{ comfyui_path }}/studio.key"}, "is inside ComfyUI"),
    "key in a folder of all": ({"key_path": "/tmp/studio.key"}, "Others may write|belongs to"),
    "no key": ({"key": None}, "key, studio_key"),
    "weak key to derive from": ({"key": None, "studio_key": "weak"}, "shorter than 32"),
}


def test_bad_options_are_one_sentence_each(stage: Stage, host: dict[str, t.Any], base: Path) -> None:
    tasks = [{**config_task(**options), "ignore_errors": True} for options, _sentence in BAD_OPTIONS.values()]
    before = files(base)
    outcome = stage.play({"ws-1": host}, tasks, "-vvv")
    assert files(base) == before
    assert len(outcome.records) == len(BAD_OPTIONS)
    for record, (_options, sentence) in zip(outcome.records, BAD_OPTIONS.values(), strict=True):
        assert record["outcome"] == "ignored", sentence
        assert any(part in record["result"]["msg"] for part in sentence.split("|")), (sentence, record["result"])
    told = outcome.printed + json.dumps(outcome.records)
    assert CANARY not in told
    assert KEY not in told


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda base: (base / "budgetguard").symlink_to("/tmp"), "is a symbolic link; it must be a folder"),
        (lambda base: (base / "budgetguard").touch(), "is not a folder"),
        (lambda base: (base / CONFIG_PATH).mkdir(parents=True), "is not a file"),
        (lambda base: (base / "main.py").unlink(), "does not look like ComfyUI"),
    ],
)
def test_place_that_is_not_right_is_refused(
    stage: Stage, host: dict[str, t.Any], base: Path, change: t.Callable[[Path], object], sentence: str
) -> None:
    change(base)
    outcome = stage.play({"ws-1": host}, [config_task(), info_task()])
    assert outcome.code != 0
    assert sentence in outcome.of("ws-1")["msg"]


class Watching(threading.Thread):
    """Collects the command lines and environments of all processes while it runs."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: set[bytes] = set()
        self.stopped = threading.Event()

    def run(self) -> None:
        """Look as often as possible."""
        while not self.stopped.is_set():
            # Processes end while they are looked at.
            with contextlib.suppress(OSError):
                for path in Path("/proc").glob("[0-9]*/cmdline"):
                    with contextlib.suppress(OSError):
                        self.seen.add(path.read_bytes())
            time.sleep(0.001)


def leaks(folder: Path, allowed: t.Collection[Path], secrets: t.Collection[str]) -> list[str]:
    """Name the files below a folder that hold a secret and may not."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path not in allowed:
            content = path.read_bytes()
            found += [str(path) for secret in secrets if secret.encode() in content]
    return found


def test_no_secret_anywhere(
    stage: Stage, host: dict[str, t.Any], key_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / "tmp").mkdir(parents=True)
    for name, value in {"HOME": home, "TMPDIR": home / "tmp", "ANSIBLE_LOG_PATH": home / "log"}.items():
        monkeypatch.setenv(name, str(value))
    rotated = {**host, "key": PREVIOUS_KEY, "previous_keys": [KEY]}
    watching = Watching()
    watching.start()
    told = ""
    for variables in (host, rotated):
        for arguments in (["--check"], [], []):
            outcome = stage.play({"ws-1": variables}, [config_task(), info_task()], "-vvvv", "--diff", *arguments)
            told += outcome.require_success().printed + json.dumps(outcome.records)
    watching.stopped.set()
    watching.join()
    secrets = [CANARY, KEY, PREVIOUS_KEY]
    assert [secret for secret in secrets if secret in told] == []
    assert [line for line in watching.seen for secret in secrets if secret.encode() in line] == []
    assert any(b"ansible-playbook" in line for line in watching.seen)
    allowed = {key_file, stage.folder / "inventory.json"}
    assert leaks(tmp_path, allowed, secrets) == []
    assert leaks(tmp_path, {stage.folder / "inventory.json"}, [PREVIOUS_KEY]) == [str(key_file)]


def test_debug_output_of_ansible_has_no_key(stage: Stage, host: dict[str, t.Any], key_file: Path) -> None:
    """Ansible's own debugging prints what comes back from workstations, so no key may."""
    stage.play({"ws-1": host}, [config_task()]).require_success()
    key_file.chmod(0o600)
    key_file.write_text(f"{key_file.read_text()}v2 an-old-key-from-elsewhere\n")
    debugged = stage.play({"ws-1": host}, [info_task()], environment={"ANSIBLE_DEBUG": "True"}).require_success()
    assert debugged.of("ws-1", INFO)["key_file"] == "rotating"
    assert "_low_level_execute_command() done" in debugged.printed
    assert "an-old-key-from-elsewhere" not in debugged.printed


def role_play(stage: Stage, hosts: dict[str, dict[str, t.Any]], *arguments: str, **variables: t.Any) -> Outcome:
    """Run the role on workstations of this machine."""
    shared = {
        **LOCAL,
        "workstation_config_endpoints": {"nim_endpoints": endpoints()},
        "workstation_config_credentials": CREDENTIALS,
        "workstation_config_studio_key": STUDIO_KEY,
        "workstation_config_become": False,
        **variables,
    }
    tasks = [{"ansible.builtin.include_role": {"name": workstations.ROLE}}]
    return stage.play(hosts, tasks, *arguments, variables=shared)


@pytest.fixture
def studio(tmp_path: Path) -> dict[str, dict[str, t.Any]]:
    """Return three workstations: an ordinary one, one with the public envelope, one of another site."""
    hosts: dict[str, dict[str, t.Any]] = {}
    for name in ("ws-1", "ws-2", "ws-3"):
        make_comfyui(tmp_path / name)
        key_path = str(tmp_path / f"key-{name}" / "studio.key")
        hosts[name] = {"comfyui_path": str(tmp_path / name), "workstation_config_key_path": key_path}
    hosts["ws-2"]["workstation_config_encryption_version"] = 1
    hosts["ws-3"]["workstation_config_studio_key"] = OTHER_STUDIO_KEY
    return hosts


def test_role_serves_different_workstations_in_one_play(
    stage: Stage, studio: dict[str, dict[str, t.Any]], tmp_path: Path
) -> None:
    done = role_play(stage, studio).require_success()
    assert done.changed() == {"ws-1", "ws-2", "ws-3"}
    assert (tmp_path / "key-ws-1/studio.key").read_text() == f"v2 {KEY}\n"
    assert (tmp_path / "key-ws-2/studio.key").read_text() == f"v1 {STUDIO_KEY}\n"
    for name in studio:
        assert opened(tmp_path / name, tmp_path / f"key-{name}/studio.key") == CREDENTIALS
        assert document(tmp_path / name)["mode"] == f"workstation:{name}"
    assert role_play(stage, studio).require_success().changed() == set()


def test_role_rotates_and_changes_the_version(
    stage: Stage, studio: dict[str, dict[str, t.Any]], tmp_path: Path
) -> None:
    del studio["ws-3"]
    role_play(stage, studio).require_success()
    studio["ws-1"]["workstation_config_encryption_version"] = 1
    studio["ws-2"]["workstation_config_encryption_version"] = 2
    keys = {
        "workstation_config_studio_key": OTHER_STUDIO_KEY,
        "workstation_config_previous_studio_key": STUDIO_KEY,
    }
    done = role_play(stage, studio, **keys).require_success()
    for name in studio:
        assert done.of(name)["config_status"] == "rotated"
        assert done.of(name)["kept_aside"] is None
        assert opened(tmp_path / name, tmp_path / f"key-{name}/studio.key") == CREDENTIALS
        assert len((tmp_path / f"key-{name}/studio.key").read_text().splitlines()) == 1
    assert role_play(stage, studio, **keys).require_success().changed() == set()


def test_role_refuses_a_weak_studio_key_before_anything_is_touched(
    stage: Stage, studio: dict[str, dict[str, t.Any]], tmp_path: Path
) -> None:
    del studio["ws-3"]
    weak = "weak-key-canary"
    outcome = role_play(stage, studio, "-vvv", workstation_config_studio_key=weak)
    assert outcome.code != 0
    assert "The studio key is shorter than 32 characters. Make a new one with: python3 -c" in outcome.printed
    assert weak not in outcome.printed
    assert sorted(path.name for path in tmp_path.glob("**/budgetguard*")) == []


def test_role_leaves_the_key_alone_if_told_so(
    stage: Stage, studio: dict[str, dict[str, t.Any]], tmp_path: Path
) -> None:
    done = role_play(stage, {"ws-1": studio["ws-1"]}, workstation_config_deliver_key=False).require_success()
    assert done.of("ws-1")["key_status"] == "unmanaged"
    assert not (tmp_path / "key-ws-1").exists()


def test_role_shows_no_secret(stage: Stage, studio: dict[str, dict[str, t.Any]]) -> None:
    outcome = role_play(stage, studio, "-vvvv", "--diff").require_success()
    told = outcome.printed
    assert [secret for secret in (CANARY, KEY, STUDIO_KEY, OTHER_STUDIO_KEY) if secret in told] == []


def test_role_removes(stage: Stage, studio: dict[str, dict[str, t.Any]], tmp_path: Path) -> None:
    role_play(stage, studio).require_success()
    tasks = [{"ansible.builtin.include_role": {"name": workstations.ROLE, "tasks_from": "absent"}}]
    done = stage.play(studio, tasks, variables={**LOCAL, "workstation_config_become": False}).require_success()
    assert done.changed() == {"ws-1", "ws-2", "ws-3"}
    assert [path for path in tmp_path.rglob("*") if path.name in {CONFIG_PATH.name, "studio.key"}] == []
