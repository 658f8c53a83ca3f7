# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images to put into packages, and a workstation to install them on: a real engine, with a home folder of its own."""

from __future__ import annotations

import dataclasses
import io
import os
import random
import subprocess
import tarfile
import typing as t
from pathlib import Path

import pytest

from ansible_collections.budgetguard.techops.plugins.modules import nim_package, nim_package_install
from tests.docker.engine import NGC_KEY, REPOSITORY, Engine
from tests.unit.registry.services import run_module

WORKSTATION_PYTHON = "/usr/bin/python3"
"""Not the tests' own: a workstation has no Ansible."""

FIRST_PORT = 20000 + random.SystemRandom().randrange(10000)
"""Another one for each run: several may share a machine."""

FLUX, OTHER = "nim/test/flux", "nim/test/other"
NODES = ("FLUX Dev", "FLUX Canny", "FLUX Depth")
KEPT = {"tag": "1.0", "min_host_memory_gib": 1, "disk_gib": 1, "shm_gib": 1}
CATALOG: dict[str, dict[str, t.Any]] = {
    **{name: {"image": f"nvcr.io/{FLUX}", **KEPT} for name in NODES},
    "Other": {
        "image": f"nvcr.io/{OTHER}",
        "kind": "llm",
        "min_gpu_memory_gib": 16,
        "gpus_by_tier": {"l40s": 1},
        "source": "test",
        **KEPT,
    },
}
FLUX_IMAGE, OTHER_IMAGE = f"nvcr.io/{FLUX}:1.0", f"nvcr.io/{OTHER}:1.0"


def noise(seed: int, size: int) -> bytes:
    """Return bytes that do not compress, the same ones each time."""
    return random.Random(seed).randbytes(size)


def publish(engine: Engine, repository: str, *layers: bytes, tag: str = "1.0", base: str | None = None) -> str:
    """Push an image: the stand-in for a NIM, or ``base``, with one more layer for each of ``layers``."""
    name = f"{engine.registry}/{repository}:{tag}"
    lines = [f"FROM {base or f'{engine.registry}/{REPOSITORY}:1.0'}"]
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for number, content in enumerate(layers):
            lines.append(f"COPY layer{number} /opt/data/{random.Random(content[:64]).randrange(10**9)}")
            entry = tarfile.TarInfo(f"layer{number}")
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
        file = tarfile.TarInfo("Dockerfile")
        text = "\n".join(lines).encode()
        file.size = len(text)
        tar.addfile(file, io.BytesIO(text))
    engine.docker("build", "--pull=false", "--quiet", "--tag", name, "-", given=context.getvalue())
    engine.docker("push", "--quiet", name)
    return name


@dataclasses.dataclass
class Desk:
    """A controller and a workstation on one engine."""

    engine: Engine
    folder: Path
    patch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]

    def __post_init__(self) -> None:
        self.home = self.folder / "home"
        self.home.mkdir()
        self.package = self.folder / "packages" / "nims.zip"
        self.patch.setenv("PATH", f"{self.engine.programs}{os.pathsep}{os.environ['PATH']}")
        self.patch.setenv("HOME", str(self.home))
        for name in ("http_proxy", "https_proxy"):
            self.patch.delenv(name, raising=False)
            self.patch.delenv(name.upper(), raising=False)

    # ---- the modules, in this process ----

    def build(self, *nodes: str | dict[str, t.Any], check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        """Run nim_package and return its result."""
        given = {
            "path": str(self.package),
            "nodes": [node if isinstance(node, dict) else {"node": node} for node in nodes or NODES],
            "registry": self.engine.registry,
            "registry_username": "$oauthtoken",
            "registry_password": NGC_KEY,
            "docker_host": self.engine.socket,
            "nim_catalog": CATALOG,
            "first_port": FIRST_PORT,
            **options,
        }
        return self._module(nim_package.main, given, check)

    def install(self, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        """Run nim_package_install and return its result."""
        given = {"package": str(self.package), "docker_host": self.engine.socket, **options}
        return self._module(nim_package_install.main, given, check)

    def _module(self, main: t.Callable[[], None], options: dict[str, t.Any], check: bool) -> dict[str, t.Any]:
        arguments = {key: value for key, value in options.items() if value is not None}
        self.capture.readouterr()
        return run_module(main, {**arguments, "_ansible_check_mode": check}, self.patch, self.capture)

    # ---- the program, on the workstation ----

    def program(self, *words: str, keys: bool = False, **variables: str) -> tuple[int, str]:
        """Run install.py beside the package with a plain Python; return its exit code and what it printed."""
        clean = {key: value for key, value in os.environ.items() if key not in ("NGC_API_KEY", "HF_TOKEN")}
        given = {"NGC_API_KEY": NGC_KEY} if keys else {}
        done = subprocess.run(
            [WORKSTATION_PYTHON, "-I", str(self.package.with_name("install.py")), *words],
            env={**clean, "DOCKER_HOST": self.engine.socket, **given, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        return done.returncode, done.stdout

    def installed(self, slug: str) -> Path:
        """Return the folder of an installed node."""
        return self.home / ".budgetguard_local" / slug
