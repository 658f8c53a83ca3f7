# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the installer asks of a workstation, with programs that say what a test wants; and what it needs of Python."""

from __future__ import annotations

import ast
import json
import os
import socket
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _package
from ansible_collections.budgetguard.techops.plugins.module_utils import _package_installer as installer
from tests.unit.packages import made

INFO = {"ServerVersion": "24.0.7", "MemTotal": 64 * 2**30, "OSType": "linux", "DockerRootDir": "/"}
CARD = "0, GPU-aa, NVIDIA GeForce RTX 4090, 24564"
_DOCKER = """#!/bin/sh
case "$1 $2" in
"info --format") exec /bin/cat {0}/info ;;
"compose version") exec /bin/cat {0}/compose ;;
"ps --all") exec /bin/cat {0}/ids ;;
"container inspect") [ "$3" = somebody ] && exec /bin/cat {0}/containers ;;
esac
echo "Error: No such object" >&2
exit 1
"""


class Workstation:
    """A folder of programs."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "programs"
        self.folder.mkdir()
        self.package = folder / "nims.zip"
        self.home = folder / "home"
        made.package(self.package)
        for name, text in (("docker", _DOCKER), ("nvidia-smi", "#!/bin/sh\nexec /bin/cat {0}/cards\n")):
            program = self.folder / name
            program.write_text(text.format(self.folder), encoding="utf-8")
            program.chmod(0o755)
        self.says(info=json.dumps(INFO), compose="2.30.1\n", cards=CARD, ids="")
        patch.setenv("PATH", str(self.folder))

    def says(self, **answers: str) -> None:
        """Set what the programs print; an empty word takes the program away."""
        for name, text in answers.items():
            (self.folder / name).write_text(text, encoding="utf-8")

    def install(self, **options: t.Any) -> installer.Report:
        """Say what would be done."""
        given = installer.Options(package=self.package, folder=self.home, check=True, **options)
        return installer.install(given, lambda _text: None)


@pytest.fixture
def workstation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workstation:
    return Workstation(tmp_path, monkeypatch)


def test_fit(workstation: Workstation) -> None:
    report = workstation.install()
    assert report.code == 0
    assert [(item.state, item.container) for item in report.nodes] == [
        ("created", "nim-flux-dev-rtx-4090"),
        ("created", "nim-flux-canny-rtx-4090"),
    ]
    assert report.loaded == ["nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.3"]
    assert report.verified_bytes > 1000
    assert not workstation.home.exists()


def info(**changes: t.Any) -> dict[str, str]:
    return {"info": json.dumps({**INFO, **changes})}


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ({"cards": "0, GPU-aa, NVIDIA GeForce RTX 3060, 12288"},
         "it needs 16 GiB of GPU memory, and GPU 0 (NVIDIA GeForce RTX 3060) offers 12.0"),
        (info(MemTotal=32 * 2**30), "it needs 40 GiB of memory, and Docker has 32"),
    ],
)  # fmt: skip
def test_node_that_does_not_fit(workstation: Workstation, says: dict[str, str], told: str) -> None:
    workstation.says(**says)
    report = workstation.install()
    assert (report.code, report.changed, report.loaded) == (4, False, [])
    assert {(item.state, item.reason) for item in report.nodes} == {("refused", told)}
    assert workstation.install(skip_fit_check=True).code == 0


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ({"cards": ""}, "no GPU was found"),
        (info(ServerVersion="19.03.1"), "Docker Engine is 19.03.1; 20.10 or newer is needed"),
        (info(OSType="windows"), "switch Docker Desktop to Linux containers"),
        (info(ServerErrors=["Cannot connect to the Docker daemon"]), "On this workstation: start Docker"),
        (info(ServerErrors=["permission denied"]), "log in as a member of the group docker"),
        ({"compose": "1.27.4"}, "Docker Compose 1.28 or newer is not on this workstation (docker compose is 1.27.4)"),
        ({"compose": ""}, "Install the package docker-compose-plugin of Docker, or docker-compose of the distribution"),
    ],
)  # fmt: skip
def test_workstation_that_lacks_something(workstation: Workstation, says: dict[str, str], told: str) -> None:
    workstation.says(**says)
    with pytest.raises(installer.WorkstationError) as caught:
        workstation.install()
    assert told in str(caught.value)


def test_no_docker(workstation: Workstation) -> None:
    (workstation.folder / "docker").unlink()
    with pytest.raises(installer.WorkstationError, match="the program docker is not on this workstation"):
        workstation.install()


def test_no_room(workstation: Workstation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: type("Usage", (), {"free": 5000})())
    with pytest.raises(installer.WorkstationError) as caught:
        workstation.install()
    assert "/ has 0.0 MiB free, and 0.0 MiB are needed to load what is missing. Nothing was loaded" in str(caught.value)


def test_card_that_is_in_no_tier_and_the_one_with_most_memory(workstation: Workstation) -> None:
    workstation.says(cards="0, GPU-aa, NVIDIA T400, 4096\n1, GPU-bb, NVIDIA GeForce RTX 3090, 24576\n")
    assert {item.container for item in workstation.install().nodes} == {
        "nim-flux-dev-rtx-3090",
        "nim-flux-canny-rtx-3090",
    }


def test_ports_that_are_taken(workstation: Workstation) -> None:
    """One is an other container's, whether it runs or not, one is somebody's who listens."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        bindings = {"8000/tcp": [{"HostIp": "", "HostPort": "8000"}]}
        described = [{"Name": "/somebody", "HostConfig": {"PortBindings": bindings}}]
        workstation.says(ids="somebody\n", containers=json.dumps(described))
        report = workstation.install(ports={"flux-canny": 8000 if port == 8000 else 8123})
        assert report.nodes[0].port not in (8000, port)
        with pytest.raises(installer.UsageError) as caught:
            workstation.install(ports={"FLUX Dev": 8000})
        assert "the port 8000 for FLUX Dev cannot be: the container somebody has it" in str(caught.value)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--nodes", "FLUX Deph"], "has no node 'FLUX Deph'; it has FLUX Dev, FLUX Canny"),
        (["--port", "FLUX Dev"], "must be a node and a port"),
        (["--port", "FLUX Dev=80"], "it must be between 1024 and 65535"),
        (["--bind-address", "everywhere"], "it must be an IP address"),
        (["--user", "0"], "it must be the number of a user other than root"),
    ],
)
def test_wrong_words(workstation: Workstation, capsys: pytest.CaptureFixture[str], words: list[str], told: str) -> None:
    command = ["install", "--check", "--folder", str(workstation.home), "--package", str(workstation.package), *words]
    assert installer.main(command) == 2
    assert told in capsys.readouterr().err


def test_keys_are_never_words_and_never_told(workstation: Workstation, monkeypatch: pytest.MonkeyPatch) -> None:
    options = installer.Options(package=workstation.package, keys={"NGC_API_KEY": "nvapi-CaNaRy"})
    assert "CaNaRy" not in repr(options)
    with pytest.raises(installer.UsageError) as caught:
        installer.Options(keys={"NGC_API_KEY": "nvapi-CaNaRy\nNIM_PORT=1"})
    assert "CaNaRy" not in str(caught.value)
    assert "--ngc" not in installer.parser().format_help()


def test_the_program_stands_alone_and_is_python_3_8() -> None:
    source = _package.installer_source()
    tree = ast.parse(source, feature_version=(3, 8))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= set(sys.stdlib_module_names)
    assert "fcntl" not in imported, "Windows has none"
    # What runs at import must be there in 3.8: annotations are text, aliases are not.
    newer = {"removeprefix", "removesuffix", "is_relative_to", "readlink", "hardlink_to", "randbytes"}
    assert not newer & {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def test_the_program_runs_by_itself(tmp_path: Path) -> None:
    program = tmp_path / "install.py"
    program.write_text(_package.installer_source(), encoding="utf-8")
    made.package(tmp_path / "nims.zip")
    done = subprocess.run(
        [sys.executable, "-I", str(program), "show", "--json"],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    said = json.loads(done.stdout)
    assert [node["name"] for node in said["manifest"]["nodes"]] == ["FLUX Dev", "FLUX Canny"]
    made.package(tmp_path / "second.zip")
    done = subprocess.run([sys.executable, "-I", str(program), "verify"], capture_output=True, text=True, check=False)
    assert (done.returncode, "has 2 ZIP files; say which one with --package" in done.stderr) == (2, True)
