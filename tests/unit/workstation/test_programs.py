# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The two shell programs on this machine: awkward paths, attacks, and runs that were killed half-way."""

from __future__ import annotations

import os
import pwd
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.budgetguard.techops.plugins.plugin_utils import _posix_facts, _posix_programs
from tests.unit.workstation import shells
from tests.unit.workstation.shells import CONFIG, SHELLS, mode, read, write

AWKWARD = [
    "plain",
    "two words",
    'it\'s "quoted" `id` $(id) $HOME \\n',
    "-rf",
    "ünïcödé 設定",
    "*[a-z]?",
    "semi;colon & pipe | #",
    "bang! and ~tilde",
    " leading and trailing ",
    "tab\there",
]
CONTENT = b'{"any": "bytes \xc3\xa4 \xff\\u0000"}\n\x00\r\n'
OLD, NEW = "v2 old-key", "v2 new-key"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return a base folder that looks like ComfyUI's."""
    folder = tmp_path / "ComfyUI"
    folder.mkdir()
    (folder / "main.py").touch()
    return folder


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """Return where the key goes."""
    return tmp_path / "private" / "studio.key"


def total(base: Path) -> str:
    """Return the sum that the read program says, to write on top of it."""
    return read(base).sum


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_paths_in_every_shell(tmp_path: Path, name: str, shell: t.Sequence[str]) -> None:
    base, key = tmp_path / name, tmp_path / f"keys {name}" / name
    (base / "models").mkdir(parents=True)
    (base / "custom_nodes").mkdir()
    printed = write(base, "key_keep config", content=CONTENT, key=key, line=NEW, shell=shell)
    assert "did key_keep\ndid config\nend\n" in printed
    facts = read(base, key, [NEW], shell=shell)
    assert (facts.base, facts.base_real, facts.key) == (str(base), str(base), str(key))
    assert (facts.content, list(facts.key_lines)) == (CONTENT, [0])
    assert facts.has == {"models", "custom_nodes"}
    assert _posix_facts.base_problem(facts, force=False) is None
    assert _posix_facts.config_problem(facts) is None
    assert _posix_facts.key_problem(facts) is None
    assert (base / CONFIG).read_bytes() == CONTENT
    assert key.read_text() == f"{NEW}\n"
    assert [mode(path) for path in (base / CONFIG.parent, base / CONFIG, key.parent, key)] == [
        0o700,
        0o600,
        0o700,
        0o400,
    ]
    assert sorted(path.name for path in tmp_path.rglob(".*")) == []


def test_path_that_is_not_utf8(tmp_path: Path) -> None:
    base = tmp_path / os.fsdecode(b"latin1-\xe4")
    base.mkdir()
    assert "did config" in write(base, "config", content=CONTENT)
    assert read(base).base == str(base)
    assert read(base).content == CONTENT


@pytest.mark.parametrize("tilde", ["~", f"~{pwd.getpwuid(os.getuid()).pw_name}"])
def test_tilde_is_the_users_home(tilde: str) -> None:
    home = pwd.getpwuid(os.getuid()).pw_dir
    facts = read(f"{tilde}/no such folder", f"{tilde}/k/e y")
    assert (facts.base, facts.key) == (f"{home}/no such folder", f"{home}/k/e y")


@pytest.mark.parametrize("path", ["~no-such-user", "~no-such-user/x", "~$(id)/x", "~a b"])
def test_tilde_of_nobody_is_refused(path: str) -> None:
    assert "must be absolute" in str(_posix_facts.base_problem(read(path), force=True))


def test_base_folder_may_be_a_link(tmp_path: Path, base: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(base)
    facts = read(link)
    assert (facts.base, facts.base_real) == (str(link), str(base))
    assert facts.has == {"main.py"}


def test_missing_workstation(tmp_path: Path) -> None:
    facts = read(tmp_path / "no" / "such", tmp_path / "k" / "key", [NEW])
    assert "There is no folder" in str(_posix_facts.base_problem(facts, force=True))
    assert (facts.key_near, facts.key_near_writable, facts.key_file) == (str(tmp_path), True, None)


def test_key_file_in_comfyui_by_a_link_is_seen(tmp_path: Path, base: Path) -> None:
    (tmp_path / "link").symlink_to(base)
    facts = read(base, tmp_path / "link" / "deeper" / "key")
    assert "is inside ComfyUI" in str(_posix_facts.key_problem(facts))


def test_key_is_compared_and_never_sent_back(base: Path, key: Path) -> None:
    key.parent.mkdir()
    key.write_text(f"{OLD}\nsome stranger's line\n{NEW}")
    parameters = [str(base), str(key), "2", NEW, OLD]
    printed = shells.run(["sh"], _posix_programs.READ_PROGRAM, parameters)
    assert read(base, key, [NEW, OLD]).key_lines == (1, None, 0)
    assert not {OLD, NEW, "some stranger's line"} & set(printed.split("\n"))
    assert "key\n" not in printed.replace(str(key), "")


def test_large_file_is_not_read(base: Path) -> None:
    (base / CONFIG).parent.mkdir()
    with (base / CONFIG).open("wb") as file:
        file.truncate(5 * 1024 * 1024)
    facts = read(base)
    assert (facts.content, facts.sum) == (b"", "large 5242880")
    assert "did config" in write(base, "aside config", total=facts.sum, aside="old", content=CONTENT)
    assert (base / CONFIG.parent / "old").stat().st_size == 5242880


def test_noise_of_login_scripts_is_ignored() -> None:
    noisy = "Welcome!\nend\nfailed login scripts\nbudgetguard-1\nbase /x\nend\nbye\n"
    assert _posix_programs.output_lines(noisy) == ["base /x"]
    assert _posix_programs.output_lines(noisy.replace("\n", "\r\n")) == ["base /x"]
    assert _posix_programs.output_lines("budgetguard-1\nbase /x\n") is None
    assert _posix_programs.output_lines("sh: not found\nend\n") is None


def test_nothing_but_a_fixed_text_on_the_command_line() -> None:
    for program in (_posix_programs.READ_PROGRAM, _posix_programs.WRITE_PROGRAM):
        line = _posix_programs.command("a test", program)
        assert "\n" not in line
        assert "!" not in line
        assert len(line) < 200


# Attacks


def test_link_in_place_of_folder_is_refused(tmp_path: Path, base: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (base / "budgetguard").symlink_to(elsewhere)
    assert "symbolic link; it must be a folder" in str(_posix_facts.config_problem(read(base)))
    assert "failed folder type" in write(base, "config", content=CONTENT)
    assert list(elsewhere.iterdir()) == []


def test_link_in_place_of_file_is_refused(tmp_path: Path, base: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (base / "budgetguard").mkdir()
    (base / CONFIG).symlink_to(victim)
    facts = read(base)
    assert facts.content is None
    assert "symbolic link; it must be a file" in str(_posix_facts.config_problem(facts))
    for step in ("config", "config_mode", "config_remove", "aside"):
        assert "failed config type" in write(base, step, content=CONTENT, aside="x")
    assert (victim.read_text(), mode(victim), (base / CONFIG).is_symlink()) == ("precious", 0o644, True)


@pytest.mark.parametrize("kind", ["link", "dangling link", "file"])
def test_taken_temporary_name_is_refused(tmp_path: Path, base: Path, kind: str) -> None:
    victim = tmp_path / "victim"
    (base / "budgetguard").mkdir()
    temporary = base / "budgetguard" / ".budgetguard_backend_config.json.0123.new"
    if kind == "file":
        temporary.write_text("planted")
    else:
        temporary.symlink_to(victim)
    if kind == "link":
        victim.write_text("precious")
    assert "failed config temporary" in write(base, "config", content=CONTENT)
    assert os.path.lexists(temporary)
    assert not (base / CONFIG).exists()
    assert victim.exists() == (kind == "link")
    assert kind != "link" or victim.read_text() == "precious"


def test_link_in_place_of_key_is_refused(tmp_path: Path, base: Path, key: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    key.parent.mkdir(mode=0o700)
    key.symlink_to(victim)
    assert "the key must be a file" in str(_posix_facts.key_problem(read(base, key)))
    for step in ("key_keep", "key_final", "key_remove"):
        assert "failed key type" in write(base, step, key=key, line=NEW)
    assert victim.read_text() == "precious"


def test_link_in_place_of_key_folder_is_refused(tmp_path: Path, base: Path, key: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    key.parent.symlink_to(elsewhere)
    assert "real folder" in str(_posix_facts.key_problem(read(base, key)))
    assert "failed key_folder type" in write(base, "key_keep", key=key, line=NEW)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("step", ["config", "key_keep"])
def test_folder_in_place_of_file_is_refused(base: Path, key: Path, step: str) -> None:
    (base / CONFIG).mkdir(parents=True)
    key.mkdir(parents=True)
    printed = write(base, step, content=CONTENT, key=key, line=NEW, total="missing")
    assert "failed" in printed or "raced" in printed
    assert list((base / CONFIG).iterdir()) + list(key.iterdir()) == []


# Interruptions


def test_content_that_arrived_incomplete_is_not_used(base: Path) -> None:
    write(base, "config", content=b"old")
    printed = write(base, "config", total=total(base), content=CONTENT[:5], size=len(CONTENT))
    assert "failed config torn" in printed
    assert (base / CONFIG).read_bytes() == b"old"
    assert [path.name for path in (base / "budgetguard").iterdir()] == [CONFIG.name]


def test_parameters_that_arrived_incomplete_change_nothing(base: Path) -> None:
    printed = shells.run(["sh"], _posix_programs.WRITE_PROGRAM, [str(base), "0123", "config"])
    assert "failed input torn" in printed
    assert not (base / "budgetguard").exists()


@pytest.mark.parametrize("step", ["config", "aside", "config_mode", "config_remove"])
def test_config_that_changed_since_it_was_read_is_left_alone(base: Path, step: str) -> None:
    write(base, "config", content=b"old")
    before = total(base)
    (base / CONFIG).write_bytes(b"new by someone else")
    assert write(base, step, total=before, content=CONTENT, aside="x").endswith("raced\n")
    assert (base / CONFIG).read_bytes() == b"new by someone else"


def test_rotation_keeps_the_old_key_until_the_config_is_resealed(base: Path, key: Path) -> None:
    write(base, "key_keep config", content=b"sealed with old", key=key, line=OLD)
    assert key.read_text() == f"{OLD}\n"
    write(base, "key_keep", key=key, line=NEW)
    assert key.read_text() == f"{NEW}\n{OLD}\n"
    # killed here, and here again, even with a third key in between
    write(base, "key_keep", key=key, line=NEW)
    write(base, "key_keep", key=key, line="v2 third")
    assert key.read_text() == f"v2 third\n{NEW}\n{OLD}\n"
    write(base, "config key_final", total=total(base), content=b"sealed with third", key=key, line="v2 third")
    assert (key.read_text(), mode(key)) == ("v2 third\n", 0o400)


def test_failed_config_keeps_the_old_key(base: Path, key: Path) -> None:
    write(base, "key_keep config", content=b"sealed with old", key=key, line=OLD)
    write(base, "key_keep config key_final", total=total(base), content=b"x", size=9, key=key, line=NEW)
    assert key.read_text() == f"{NEW}\n{OLD}\n"
    assert (base / CONFIG).read_bytes() == b"sealed with old"


def test_found_file_is_kept_aside_once(base: Path) -> None:
    (base / CONFIG).parent.mkdir()
    (base / CONFIG).write_bytes(b"broken")
    for _run in range(2):
        write(base, "aside", total=total(base), aside="kept")
    write(base, "config", total=total(base), content=CONTENT)
    kept = base / "budgetguard" / "kept"
    assert (kept.read_bytes(), mode(kept), (base / CONFIG).read_bytes()) == (b"broken", 0o600, CONTENT)


def test_leftovers_of_killed_runs_go_after_a_day(base: Path) -> None:
    (base / "budgetguard").mkdir()
    old = base / "budgetguard" / f".{CONFIG.name}.aaaa.new"
    young = base / "budgetguard" / f".{CONFIG.name}.bbbb.new"
    other = base / "budgetguard" / f".{CONFIG.name}.new"
    for path in (old, young, other):
        path.write_text("x")
    for path in (old, other):
        os.utime(path, (0, 0))
    write(base, "config", content=CONTENT)
    assert [path.exists() for path in (old, young, other)] == [False, True, True]


def test_removal(base: Path, key: Path) -> None:
    write(base, "key_keep config", content=CONTENT, key=key, line=OLD)
    assert "did config_remove\ndid key_remove\nend" in write(
        base, "config_remove key_remove", total=total(base), key=key
    )
    assert not (base / CONFIG).exists()
    assert not key.exists()


def test_shell_without_own_printf_is_refused(tmp_path: Path, base: Path) -> None:
    """With an external printf, keys would stand in the process list."""
    program = _posix_programs.WRITE_PROGRAM.replace("command -v printf", "echo /usr/bin/printf")
    done = subprocess.run(
        ["sh", "-c", _posix_programs.command("a test", program)],
        input=_posix_programs.program_input(program, [str(base), "0123", "key_keep", "missing", "", "0", "/k", NEW]),
        capture_output=True,
        cwd=tmp_path,
        check=False,
    )
    assert b"failed printf" in done.stdout
