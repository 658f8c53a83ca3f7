# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Installing the companion: the program that runs on workstations, and the role over real plays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
import zipfile
from pathlib import Path

import pytest
import yaml

from ansible_collections.budgetguard.techops.plugins.action import comfyui_companion
from ansible_collections.budgetguard.techops.plugins.modules import comfyui_companion as documentation
from ansible_collections.budgetguard.techops.plugins.plugin_utils import _companion_install as install
from ansible_collections.budgetguard.techops.plugins.plugin_utils._windows_companion_file import encoded
from tests.companion.studio import PACKAGE
from tests.ssh.playing import Outcome, Stage, make_comfyui
from tests.ssh.test_rollout import PLAYBOOK, configured, inventory
from tests.tools import layout

ACTION = "budgetguard.techops.comfyui_companion"
FILES = encoded(
    comfyui_companion.wanted_files(
        {"src": str(PACKAGE), "key_path": "~/key", "time_limit": 60, "contact": "extension 4711"}, "~/companion.token"
    )
)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Return a folder to run plays in."""
    folder = tmp_path / "stage"
    folder.mkdir()
    return Stage(folder, folder)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return ComfyUI's base folder, with a Python of its own that has the cryptography library."""
    folder = tmp_path / "ComfyUI"
    folder.mkdir()
    (folder / "main.py").touch()
    (folder / "venv" / "bin").mkdir(parents=True)
    (folder / "venv" / "bin" / "python").symlink_to(sys.executable)
    (folder / "venv" / "pyvenv.cfg").write_text(Path(sys.prefix, "pyvenv.cfg").read_text())
    (folder / "venv" / "lib").symlink_to(Path(sys.prefix, "lib"))
    return folder


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Return ComfyUI's base folder, with a Python of its own that has pip and aiohttp, and not the library."""
    folder = tmp_path / "ComfyUI"
    folder.mkdir()
    (folder / "main.py").touch()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / ".venv")], check=True)
    packages = next((folder / ".venv" / "lib").glob("python*/site-packages"))
    (packages / "aiohttp.py").touch()
    (packages / "pip").symlink_to(Path(str(__import__("pip").__file__)).parent)
    return folder


def options(base: Path, **changes: t.Any) -> dict[str, t.Any]:
    """Return what the action sends."""
    usual: dict[str, t.Any] = {
        "base": str(base),
        "files": FILES,
        "python": "",
        "unit": "",
        "index": "",
        "wants_wheels": False,
        "wheels": None,
        "force": False,
        "door": str(base.parent / "keys" / "companion.token"),
        "state": "present",
        "check": False,
    }
    return {**usual, **changes}


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return mode and content of all files that the companion may touch."""
    places = [folder / "custom_nodes", folder / "budgetguard"]
    files = [path for place in places for path in sorted(place.rglob("*")) if path.is_file()]
    return {str(path): (path.stat().st_mode & 0o777, path.read_bytes()) for path in files}


def test_installs_upgrades_and_removes(base: Path) -> None:
    """Check mode says what the run does; the second run does nothing; strays go; nothing is left in the end."""
    predicted = install.main(options(base, check=True))
    assert snapshot(base) == {}
    done = install.main(options(base))
    assert done == predicted
    assert done["library"] == "present"
    assert done["steps"][-2:] == ["write __init__.py", f"create {base.parent / 'keys' / 'companion.token'}"]
    assert "write web/budgetguard.js" in done["steps"]
    assert not [step for step in done["steps"] if ".pyc" in step]
    folder = base / "custom_nodes" / install.NAME
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o644}
    assert json.loads((folder / "settings.json").read_text()) == {
        "key_path": "~/key",
        "time_limit": 60,
        "token_path": "~/companion.token",
        "contact": "extension 4711",
    }
    assert install.main(options(base))["steps"] == []
    (folder / "web" / "old.js").write_text("old")
    (folder / "routes.py").write_text("old")
    (folder / "__pycache__").mkdir()
    (folder / "job.py").chmod(0o666)
    assert install.main(options(base))["steps"] == ["write job.py", "write routes.py", "remove web/old.js"]
    assert not (folder / "__pycache__").exists()
    assert install.main(options(base))["steps"] == []
    written = base / "budgetguard" / "usage.jsonl"
    written.parent.mkdir()
    written.write_text("{}\n")
    before = set(base.rglob("*"))
    predicted = install.main(options(base, state="absent", check=True))
    assert set(base.rglob("*")) == before
    assert install.main(options(base, state="absent")) == predicted
    assert predicted["steps"][-2:] == [f"remove {written}", f"remove {base.parent / 'keys' / 'companion.token'}"]
    assert snapshot(base) == {}
    assert not written.parent.exists()
    assert install.main(options(base, state="absent"))["steps"] == []


def test_the_token_stays_what_it_is_until_others_could_read_it(base: Path) -> None:
    """It is made once, 0400, and is in no answer; what others could read is replaced; links are refused."""
    door = base.parent / "keys" / "companion.token"
    told = json.dumps(install.main(options(base)))
    first = door.read_text().strip()
    assert (door.stat().st_mode & 0o777, door.parent.stat().st_mode & 0o777, len(first)) == (0o400, 0o700, 20)
    assert first not in told
    install.main(options(base))
    assert door.read_text().strip() == first
    door.chmod(0o440)
    assert install.main(options(base, check=True))["steps"] == [f"replace {door}"]
    assert install.main(options(base))["steps"] == [f"replace {door}"]
    assert (door.read_text().strip() == first, door.stat().st_mode & 0o777) == (False, 0o400)
    door.unlink()
    door.symlink_to(base / "main.py")
    assert "Remove it" in install.main(options(base))["problem"]
    assert install.main(options(base, state="absent"))["steps"][-1] == f"remove {door}"
    assert not door.is_symlink()


def test_a_broken_write_leaves_the_old_file(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was there stays until what is new is complete, and no temporary file stays behind."""
    install.main(options(base))
    changed = {**FILES, "routes.py": "bmV3"}
    before = snapshot(base)

    def fail(_handle: int) -> None:
        raise OSError(28, "No space left on device", "routes.py")

    monkeypatch.setattr(os, "fsync", fail)
    assert install.main(options(base, files=changed))["problem"] == "'routes.py': No space left on device."
    assert snapshot(base) == before


def link_custom_nodes(base: Path) -> None:
    (base / "elsewhere").mkdir()
    (base / "custom_nodes").symlink_to(base / "elsewhere")


def link_companion(base: Path) -> None:
    (base / "custom_nodes").mkdir()
    (base / "custom_nodes" / install.NAME).symlink_to(base)


def link_file(base: Path) -> None:
    install.main(options(base))
    path = base / "custom_nodes" / install.NAME / "routes.py"
    path.unlink()
    path.symlink_to(base / "main.py")


def foreign_folder(base: Path) -> None:
    (base / "custom_nodes").mkdir()
    os.chown(base / "custom_nodes", 65534, 65534)


def open_folder(base: Path) -> None:
    (base / "custom_nodes").mkdir()
    (base / "custom_nodes").chmod(0o777)


def checkout(base: Path) -> None:
    (base / "custom_nodes" / install.NAME / ".git").mkdir(parents=True)


def no_comfyui(base: Path) -> None:
    (base / "main.py").unlink()


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (link_custom_nodes, "is a symbolic link"),
        (link_companion, "is a symbolic link"),
        (link_file, "is a symbolic link or belongs to somebody else"),
        (foreign_folder, "belongs to the user with the id 65534"),
        (open_folder, "Others may write in"),
        (checkout, "is a git checkout"),
        (no_comfyui, "does not look like ComfyUI's base folder"),
    ],
)
def test_refuses(base: Path, prepare: t.Callable[[Path], None], said: str) -> None:
    """What is in the way is named, and nothing is changed."""
    if prepare is foreign_folder and os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    prepare(base)
    before = snapshot(base)
    for state in ("present", "absent"):
        assert said in install.main(options(base, state=state))["problem"]
    assert snapshot(base) == before


def wheel(version: str = "99.0") -> dict[str, str]:
    """Return a wheel that pip takes for the cryptography library."""
    name = f"cryptography-{version}"
    path = layout.CACHE / f"{name}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cryptography/__init__.py", "")
        archive.writestr("cryptography/fernet.py", "class Fernet: pass\nclass InvalidToken(Exception): pass\n")
        archive.writestr(
            f"{name}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: cryptography\nVersion: {version}\n"
        )
        archive.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{name}.dist-info/RECORD", "")
    return encoded({path.name: path.read_bytes()})


def test_brings_the_library_from_wheels(bare: Path) -> None:
    """ComfyUI's Python lacks the library: it goes into a folder of the companion's own, and goes away with it."""
    predicted = install.main(options(bare, wants_wheels=True, check=True))
    assert predicted["library"] == "installed"
    asks = install.main(options(bare, wants_wheels=True))
    assert (asks["needs_wheels"], snapshot(bare)) == (True, {})
    left_by_a_killed_run = bare / "budgetguard" / "python" / ".cpython-39.abc.new"
    left_by_a_killed_run.mkdir(mode=0o700, parents=True)
    done = install.main(options(bare, wants_wheels=True, wheels=wheel()))
    assert done == predicted
    assert done["python"] == str(bare / ".venv" / "bin" / "python")
    own = bare / "budgetguard" / "python" / str(sys.implementation.cache_tag)
    assert not left_by_a_killed_run.exists()
    assert (own / "cryptography" / "fernet.py").is_file()
    assert sorted(path.name for path in own.parent.iterdir()) == [own.name]
    assert not list((bare / ".venv").rglob("cryptography"))
    again = install.main(options(bare, wants_wheels=True))
    assert (again["library"], again["needs_wheels"], again["steps"]) == ("present", False, [])
    assert install.main(options(bare, state="absent"))["library"] == "removed"
    assert not own.parent.exists()


def test_a_library_that_is_not_there_is_told_with_its_cure(bare: Path) -> None:
    """Neither wheels that fit nor pip: one sentence, and nothing half installed."""
    said = install.main(options(bare, wants_wheels=True, wheels=wheel("1.0")))["problem"]
    assert "set workstation_companion_wheel_folder" in said
    assert not list((bare / "budgetguard" / "python").iterdir())
    next((bare / ".venv").rglob("pip")).unlink()
    assert "has neither cryptography nor pip" in install.main(options(bare))["problem"]
    assert not (bare / "custom_nodes").exists()


def test_finds_comfyuis_own_python(base: Path) -> None:
    """A service's Python is read from what systemd says; a Python without aiohttp is not ComfyUI's."""
    shown = "ExecStart={ path=/srv/comfy/bin/python3.12 ; argv[]=/srv/comfy/bin/python3.12 main.py ; ignore_errors=no }"
    assert install.unit_python(shown) == "/srv/comfy/bin/python3.12"
    assert install.unit_python("ExecStart={ path=/usr/bin/start-comfy ; argv[]=/usr/bin/start-comfy }") is None
    assert install.find_python(base, "", "").path == str(base / "venv" / "bin" / "python")
    asked = install.main(options(base, python="/no/python"))
    assert "looked at /no/python. Set workstation_companion_python" in asked["problem"]
    assert not (base / "custom_nodes").exists()


def test_starts_no_python_that_others_have_put_there(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An artist's link leads to another's ComfyUI, or to root's: what is beside the link is not started there."""
    beside = base.parent / "home" / ".venv" / "bin" / "python"
    beside.parent.mkdir(parents=True)
    beside.write_text("#!/bin/sh\ntouch $0.started\n", encoding="utf-8")
    beside.chmod(0o755)
    link = base.parent / "home" / "ComfyUI"
    link.symlink_to(base)
    done = install.main(options(link))
    assert done["python"] == str(base / "venv" / "bin" / "python")
    assert not beside.with_name("python.started").exists()

    venv = base / "venv"
    monkeypatch.setattr(Path, "lstat", owned_by_another(venv, beside))
    assert str(venv / "bin" / "python") not in install.python_candidates(base, "", "")
    refused = install.main(options(link, python=str(beside)))
    assert refused["problem"].startswith(f"'{beside}' belongs to another user")
    assert not beside.with_name("python.started").exists()


def owned_by_another(*places: Path) -> t.Callable[[Path], os.stat_result]:
    """Return a look at files for which some places belong to somebody else."""
    real = Path.lstat

    def lstat(path: Path) -> os.stat_result:
        found = list(real(path))
        if path in places:
            found[4] = os.geteuid() + 1
        return os.stat_result(found)

    return lstat


def host(base: Path, **variables: t.Any) -> dict[str, t.Any]:
    """Return the variables of a workstation without a Python for Ansible."""
    return {
        "ansible_connection": "local",
        "ansible_python_interpreter": "/no/python/on/this/workstation",
        "comfyui_path": str(base),
        "workstation_companion_become": False,
        **variables,
    }


def play(stage: Stage, hosts: dict[str, dict[str, t.Any]], *arguments: str, tasks_from: str = "main") -> Outcome:
    """Run the role."""
    role = {"name": "budgetguard.techops.workstation_companion", "tasks_from": tasks_from}
    return stage.play(hosts, [{"ansible.builtin.include_role": role}], *arguments)


def test_the_role(stage: Stage, base: Path, tmp_path: Path) -> None:
    """Check mode, run, removal: real plays, with ComfyUI's own Python and none of Ansible's.

    Refusals are one sentence each: a wheel folder without the wheel, and a base folder that is none. That a second run
    changes nothing, C(tests/ssh) shows.
    """
    empty = tmp_path / "wheels"
    empty.mkdir()
    hosts = {"ws-1": host(base)}
    refused = {
        "ws-2": host(base, workstation_companion_wheel_folder=str(empty)),
        "ws-3": host(tmp_path / "nothing"),
    }
    played = play(stage, {**hosts, **refused}, "--check", "--diff")
    assert "has no wheel of cryptography" in played.of("ws-2", ACTION)["msg"]
    assert played.of("ws-3", ACTION)["msg"].startswith("There is no folder")
    checked = played.of("ws-1", ACTION)
    assert snapshot(base) == {}
    outcome = play(stage, hosts, "--diff").require_success()
    assert outcome.changed() == {"ws-1"}
    done = outcome.of("ws-1", ACTION)
    assert done == checked
    assert (done["changed"], done["restart_needed"], done["library"]) == (True, True, "present")
    assert "routes.py" in done["diff"]["after"]
    play(stage, hosts, tasks_from="absent").require_success()
    assert snapshot(base) == {}


def test_the_switch(stage: Stage, base: Path, tmp_path: Path) -> None:
    """The playbook workstations installs it, after the configs, where it is switched on and nowhere else."""
    other = make_comfyui(tmp_path / "other" / "ComfyUI")
    names = {"ws-1": base, "ws-2": other}
    hosts = {
        name: host(path, workstation_config_key_path=str(tmp_path / f"{name}.key")) for name, path in names.items()
    }
    hosts["ws-1"]["workstation_companion"] = True
    done = stage.run(PLAYBOOK, inventory(hosts)).require_success()
    assert [record["host"] for record in done.records if record["action"] == ACTION] == ["ws-1"]
    installed = [
        name for name, path in names.items() if (path / "custom_nodes" / install.NAME / "__init__.py").exists()
    ]
    assert installed == ["ws-1"]
    assert configured(hosts) == {"ws-1", "ws-2"}


def test_the_documented_options_are_the_real_ones() -> None:
    """No gate checks that for actions."""
    compared = ("type", "choices", "default", "required")
    told = yaml.safe_load(documentation.DOCUMENTATION)["options"]
    shown = {name: {key: option[key] for key in compared if key in option} for name, option in told.items()}
    spec = comfyui_companion.ARGUMENT_SPEC
    assert shown == {name: {key: option[key] for key in compared if key in option} for name, option in spec.items()}
