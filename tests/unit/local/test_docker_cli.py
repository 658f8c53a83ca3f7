# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The docker command, played by a script that notes how it was called."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from ansible.module_utils import basic

from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ConflictError, ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _docker_cli
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._docker_cli import DockerCli

KEY = "nvapi-CaNaRy81Zr0QmTvX3"

SCRIPT = """#!/bin/sh
{{ echo "words: $*"; echo "config: $DOCKER_CONFIG"; cat "$DOCKER_CONFIG/config.json"; echo; env | grep ^DOCKER_; \
  echo "input: $(cat)"; }} >> {notes}
{act}
"""


@pytest.fixture(autouse=True)
def module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be a module without options."""
    monkeypatch.setattr(basic, "_ANSIBLE_ARGS", b'{"ANSIBLE_MODULE_ARGS": {}}')
    monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)


def play(folder: Path, act: str = "exit 0") -> tuple[DockerCli, Path]:
    """Return the command and the file with its notes."""
    notes, program = folder / "notes", folder / "docker"
    program.write_text(SCRIPT.format(notes=notes, act=act), encoding="utf-8")
    program.chmod(0o755)
    return DockerCli(basic.AnsibleModule({}).run_command, str(program), "unix:///run/docker.sock"), notes


def fails(folder: Path, said: str) -> DockerCli:
    return play(folder, f"echo '{said}' >&2; exit 1")[0]


def test_login_leaves_no_key_behind(tmp_path: Path) -> None:
    docker, notes = play(tmp_path)
    with docker:
        docker.login("nvcr.io", "$oauthtoken", KEY)
        docker.login("nvcr.io", "$oauthtoken", KEY)
        docker.pull("nvcr.io/nim/a:1")
    noted = notes.read_text()
    words = re.findall(r"^words: (.*)", noted, re.MULTILINE)
    assert words == ["login --username $oauthtoken --password-stdin nvcr.io", "pull --quiet nvcr.io/nim/a:1"]
    assert re.findall(r"^input: (.+)", noted, re.MULTILINE) == [KEY]
    (folder,) = set(re.findall(r"^config: (.*)", noted, re.MULTILINE))
    assert not Path(folder).exists()


def test_no_credential_store_gets_the_key(tmp_path: Path) -> None:
    """With an empty configuration docker looks for one, so it must not be empty."""
    docker, notes = play(tmp_path)
    with docker:
        docker.run("try", "version")
    (config,) = re.findall(r"^\{.*\}$", notes.read_text(), re.MULTILINE)
    assert json.loads(config)["auths"]


def test_configuration_of_the_user_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "elsewhere")
    monkeypatch.setenv("DOCKER_HOST", "tcp://elsewhere")
    docker, notes = play(tmp_path)
    with docker:
        docker.run("try", "version")
    assert "elsewhere" not in notes.read_text()
    assert "DOCKER_HOST=unix:///run/docker.sock" in notes.read_text()


def test_folder_of_a_killed_run_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_docker_cli, "_MEMORY", tmp_path)
    left, living = tmp_path / "budgetguard-docker-4194999-x", tmp_path / f"budgetguard-docker-{os.getpid()}-x"
    for folder in (left, living):
        folder.mkdir()
    docker, _notes = play(tmp_path)
    with docker:
        docker.run("try", "version")
    assert (left.exists(), living.exists()) == (False, True)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("permission denied while trying to connect to the Docker daemon socket", "member of the group docker"),
        ("could not select device driver with capabilities: [[gpu]]", "install the NVIDIA Container Toolkit"),
        ("write /x: no space left on device", "The disk of the Docker host is full"),
        ("something new", "try: something new"),
    ],
)
def test_errors_say_what_to_do(tmp_path: Path, said: str, told: str) -> None:
    with fails(tmp_path, said) as docker, pytest.raises(ProviderError) as failure:
        docker.run("try", "start", "x")
    assert str(failure.value).startswith("try: ")
    assert told in str(failure.value)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("manifest for nvcr.io/a:9 not found: manifest unknown: manifest unknown", "The registry has no such tag."),
        ("unauthorized: authentication required", "no right to this image"),
        ("denied: requested access to the resource is denied", "Accept its terms"),
        ("received unexpected HTTP status: 451 Unavailable For Legal Reasons", "not offer this image in this region"),
    ],
)
def test_pull_that_is_refused(tmp_path: Path, said: str, told: str) -> None:
    with fails(tmp_path, said) as docker, pytest.raises(ProviderError) as failure:
        docker.pull("nvcr.io/a:9")
    assert told in str(failure.value)


def test_errors_hold_no_key(tmp_path: Path) -> None:
    with fails(tmp_path, f"unauthorized: {KEY}") as docker, pytest.raises(ProviderError) as failure:
        docker.login("nvcr.io", "$oauthtoken", KEY)
    assert "CaNaRy" not in str(failure.value)
    assert "The key is wrong or has expired." in str(failure.value)


def test_name_that_another_run_has_just_taken(tmp_path: Path) -> None:
    said = 'Conflict. The container name "/nim-a" is already in use by container "b".'
    with fails(tmp_path, said) as docker, pytest.raises(ConflictError):
        docker.run("create", "create", "x")


def test_missing_ones_are_left_out_of_an_inspection(tmp_path: Path) -> None:
    docker, _notes = play(tmp_path, """echo '[{"Name": "/a"}]'; echo 'Error: No such container: b' >&2; exit 1""")
    with docker:
        assert docker.inspect("look", "container", ["a", "b"]) == [{"Name": "/a"}]
        assert docker.inspect("look", "container", []) == []


def test_engine_that_cannot_be_reached(tmp_path: Path) -> None:
    docker, _notes = play(tmp_path, """echo '{"ServerErrors": ["Cannot connect to the Docker daemon at unix:///x"]}'""")
    with docker, pytest.raises(ProviderError, match="Start Docker on this host"):
        docker.info()


def test_docker_that_gives_no_answer(tmp_path: Path) -> None:
    docker, _notes = play(tmp_path, "exec sleep 60")
    with docker, pytest.raises(ProviderError, match="docker gave no answer within"):
        docker.run("try", "version", seconds=0.2)


def test_docker_that_is_not_there(tmp_path: Path) -> None:
    docker = DockerCli(basic.AnsibleModule({}).run_command, str(tmp_path / "docker"))
    with docker, pytest.raises(ProviderError, match="is not on this host; install Docker Engine"):
        docker.run("try", "version")
