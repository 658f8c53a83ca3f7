# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long an install package takes, how much is written for it and how large it gets, against docker save and zip.

Everything in one run on one machine, with a real engine and registry on loopback, so the ratios count and not the
seconds. Two images share a layer of noise, which does not compress, and one of text, which does; each has a small layer
of its own. The plain way is ``docker save`` into a file and that file into a ZIP file, as the public tools do it.
Needs root and the programs that tests/docker needs, and five times ``--mib`` of disk space.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import typing as t
import zipfile
from pathlib import Path

from tests.docker import engine as engines
from tests.docker import packages
from tests.docker.engine import NGC_KEY, Engine
from tests.tools import layout

_MIB = 2**20
_CALL = "from ansible_collections.budgetguard.techops.plugins.modules import nim_package as m; m.main()"


def module(engine: Engine, path: Path, *nodes: str, source: str) -> dict[str, t.Any]:
    """Build a package with nim_package in a process of its own."""
    options = {
        "path": str(path),
        "nodes": [{"node": node} for node in nodes],
        "source": source,
        "registry": engine.registry,
        "registry_username": "$oauthtoken",
        "registry_password": NGC_KEY,
        "docker_host": engine.socket,
        "nim_catalog": packages.CATALOG,
    }
    done = subprocess.run(
        [sys.executable, "-c", _CALL],
        env={**os.environ, "PYTHONPATH": f"{layout.ROOT}{os.pathsep}{layout.LINKS}"},
        input=json.dumps({"ANSIBLE_MODULE_ARGS": options}).encode(),
        stdout=subprocess.PIPE,
        check=False,
    )
    result: dict[str, t.Any] = json.loads(done.stdout)
    if result.get("failed"):
        raise RuntimeError(result["msg"])
    return result


def save_and_zip(engine: Engine, folder: Path, images: t.Sequence[str], compress: int) -> tuple[int, int]:
    """Do it the plain way; return the size of the ZIP file, and how many bytes were written in all."""
    written = 0
    with zipfile.ZipFile(folder / "plain.zip", "w", compress) as archive:
        for number, image in enumerate(images):
            saved = folder / f"{number}.tar"
            engine.docker("save", "--output", str(saved), image)
            archive.write(saved, saved.name)
            written += saved.stat().st_size
            saved.unlink()
    size = (folder / "plain.zip").stat().st_size
    return size, written + size


class Table:
    """The results, one line each."""

    def __init__(self, reference: float = 0.0) -> None:
        self.reference = reference
        print(f"{'':54}{'s':>7}{'ratio':>7}{'size MiB':>10}{'written MiB':>12}")

    def line(self, name: str, work: t.Callable[[], tuple[int, int]]) -> None:
        """Do something, and say how it went. The first line is what the others are compared with."""
        started = time.monotonic()
        size, written = work()
        seconds = time.monotonic() - started
        self.reference = self.reference or seconds
        ratio = seconds / self.reference
        print(f"{name:54}{seconds:7.1f}{ratio:7.2f}{size / _MIB:10.1f}{written / _MIB:12.1f}", flush=True)


def prepare(engine: Engine, mib: int) -> tuple[str, str]:
    """Build and publish the two images; return their names."""
    text = io.BytesIO()
    words = [f"{word:x} ".encode() for word in range(5000)]
    chosen = random.Random(7)
    while text.tell() < mib * _MIB // 3:
        text.write(b"".join(chosen.choices(words, k=10_000)))
    noise = packages.noise(11, mib * _MIB * 2 // 3)
    flux = packages.publish(engine, packages.FLUX, noise, text.getvalue())
    other = packages.publish(engine, packages.OTHER, packages.noise(12, 4 * _MIB), base=flux)
    return flux, other


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=300, help="size of what the images share, unpacked")
    arguments = parser.parse_args()
    reason = engines.missing()
    if reason:
        print(f"packages: {reason}")
        return 0
    with tempfile.TemporaryDirectory(prefix="bgdk-", ignore_cleanup_errors=True) as name:
        engine = Engine.start(Path(name))
        try:
            engine.publish("1.0")
            measure(engine, Path(name), *prepare(engine, arguments.mib))
        finally:
            engine.stop()
    return 0


def measure(engine: Engine, folder: Path, flux: str, other: str) -> None:
    """Compare the ways."""

    def ours(source: str, *nodes: str) -> t.Callable[[], tuple[int, int]]:
        def work() -> tuple[int, int]:
            path = folder / "nims.zip"
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            built = module(engine, path, *nodes, source=source)
            return built["size"], built["bytes_written"]

        return work

    def plain(compress: int, *images: str) -> t.Callable[[], tuple[int, int]]:
        return lambda: save_and_zip(engine, folder, images, compress)

    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f}, Docker {engine.docker('version', '--format={{.Server.Version}}')}")
    deflated, stored = zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED
    table = Table()
    table.line("docker save + zip -0, 1 node", plain(stored, flux))
    table.line("docker save + zip, 1 node", plain(deflated, flux))
    table.line("docker save + zip -0, 3 nodes of the image", plain(stored, flux, flux, flux))
    table.line("docker save + zip -0, 2 images that share layers", plain(stored, flux, other))
    for source in ("engine", "registry"):
        table.line(f"nim_package from the {source}, 1 node", ours(source, "FLUX Dev"))
        table.line(f"nim_package from the {source}, 3 nodes of the image", ours(source, *packages.NODES))
        table.line(f"nim_package from the {source}, 2 images that share layers", ours(source, "FLUX Dev", "Other"))
        started = time.monotonic()
        again = module(engine, folder / "nims.zip", "FLUX Dev", "Other", source=source)
        print(f"  once more, nothing to do: {time.monotonic() - started:.1f} s, changed={again['changed']}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
