# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Look at a workstation and print one line of JSON. Changes nothing.

This one file is sent to the workstation and run there by ComfyUI's own Python, or another one from 3.8 on, so it uses
the standard library alone and imports nothing of the collection. The first line of standard input, or the argument of
C(main), are the options as JSON: C(base) is ComfyUI's base folder, unless it is the first word of the command line.

It reads no config and no key: that is done by other programs, before it. Whatever can hang is asked in a thread and
given up after a while.
"""

from __future__ import annotations

import calendar
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

FORMAT = "budgetguard-probe"
SECONDS = 15.0
"""How long all parts together may take, unless the options say something else."""

LONGEST_TEXT, MOST_ENTRIES = 200, 64
LARGEST_FILE = 4 * 1024 * 1024
"""What is larger is no config and no description of a version, and is not read."""

COMPANION = "budgetguard_companion"
USAGE = ("budgetguard", "usage.jsonl")
INSTALLED = (".budgetguard_local", "installed.json")
MANAGED = "budgetguard:managed"

GPU_FIELDS = ("name", "memory.total", "driver_version")
_VERSION = re.compile(r"""^\s*(?:__version__|version)\s*=\s*["']([^"'\n]{1,64})["']""", re.MULTILINE)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NVIDIA_SMI = (
    "nvidia-smi",
    "/usr/bin/nvidia-smi",
    r"C:\Windows\System32\nvidia-smi.exe",
    r"C:\Program Files\NVIDIA Corporation\NVSMI\nvidia-smi.exe",
)
_DOCKER = (
    "docker",
    "/usr/bin/docker",
    "/usr/local/bin/docker",
    r"C:\Program Files\Docker\Docker\resources\bin\docker.exe",
)

Options = t.Mapping[str, t.Any]


class ProbeError(Exception):
    """A part cannot be looked at. The text says why."""


def read_text(path: Path) -> str | None:
    """Return a small file's text, or None where there is none or it may not be read."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_FILE:
            return None
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def run(program: t.Sequence[str], *arguments: str, seconds: float) -> str:
    """Run the first of the programs that there is, and return what it printed.

    A program that hangs in the kernel cannot be ended, so it is not waited for.
    """
    found = next((path for path in map(shutil.which, program) if path), None)
    if found is None:
        raise ProbeError(f"{program[0]} is not there")
    child = subprocess.Popen(
        [found, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        out, err = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        raise ProbeError(f"{program[0]} did not answer within {seconds:g} seconds") from None
    told = out.decode("utf-8", "replace")
    if child.returncode:
        said = " ".join((err.decode("utf-8", "replace") or told).split())
        raise ProbeError(said[-LONGEST_TEXT:] or f"{program[0]} ended with code {child.returncode}")
    return told


# ---- the parts -------------------------------------------------------------------------------------------------------


def system(_options: Options) -> dict[str, t.Any]:
    """Tell the operating system."""
    if os.name == "nt":
        import platform

        return {"name": platform.platform(terse=True)}
    told = read_text(Path("/etc/os-release")) or ""
    found = re.search(r'^PRETTY_NAME="?([^"\n]*)"?$', told, re.MULTILINE)
    return {"name": found.group(1) if found else sys.platform}


def disk(options: Options) -> dict[str, t.Any]:
    """Tell the room on the disk of ComfyUI's base folder, or of the nearest folder above it that there is."""
    path = Path(options["base"])
    while not path.exists() and path != path.parent:
        path = path.parent
    usage = shutil.disk_usage(str(path))
    return {"path": str(path), "free_bytes": usage.free, "total_bytes": usage.total}


def gpus(options: Options) -> dict[str, t.Any]:
    """Ask NVIDIA's driver for GPUs, their memory in MiB and its own version."""
    fields = "--query-gpu=" + ",".join(GPU_FIELDS)
    told = run(_NVIDIA_SMI, fields, "--format=csv,noheader,nounits", seconds=options["seconds"])
    found = []
    for row in csv.reader(told.splitlines(), skipinitialspace=True):
        if len(row) == len(GPU_FIELDS):
            memory = row[1].strip()
            found.append({"name": row[0], "memory_mib": int(memory) if memory.isdigit() else None, "driver": row[2]})
    return {"gpus": found[:MOST_ENTRIES]}


def comfyui(options: Options) -> dict[str, t.Any]:
    """Tell ComfyUI's version by its own files, and the commit of a clone."""
    base = Path(options["base"])
    version = None
    for name in ("comfyui_version.py", "pyproject.toml"):
        found = _VERSION.search(read_text(base / name) or "")
        if found:
            version = found.group(1)
            break
    return {"version": version, "commit": commit(base / ".git")}


def commit(git: Path) -> str | None:
    """Return the commit that a clone is at, without running git."""
    head = (read_text(git / "HEAD") or "").strip()
    if head.startswith("ref: "):
        reference = head[len("ref: ") :]
        loose = read_text(git.joinpath(*reference.split("/"))) if ".." not in reference else None
        packed = re.search(f"^([0-9a-f]{{40}}) {re.escape(reference)}$", read_text(git / "packed-refs") or "", re.M)
        head = (loose or (packed.group(1) if packed else "")).strip()
    return head if _COMMIT.fullmatch(head) else None


def companion(options: Options) -> dict[str, t.Any]:
    """Tell whether ComfyUI has the companion node, its version where it says one, and how it was used."""
    folder = Path(options["base"], "custom_nodes", COMPANION)
    used = usage(Path(options["base"], *USAGE))
    if not folder.is_dir():
        return {"installed": False, "version": None, **used}
    for name in ("pyproject.toml", "__init__.py"):
        found = _VERSION.search(read_text(folder / name) or "")
        if found:
            return {"installed": True, "version": found.group(1), **used}
    return {"installed": True, "version": None, **used}


def usage(path: Path) -> dict[str, t.Any]:
    """Tell when the companion last asked a NIM for something, and how often today, where the workstation is.

    Both are None where nothing was written down.
    """
    content = read_text(path)
    if content is None:
        return {"last_use": None, "requests_today": None}
    begin = time.mktime((*time.localtime()[:3], 0, 0, 0, 0, 0, -1))
    last, count = None, 0
    for line in content.splitlines():
        try:
            row = json.loads(line)
            then = calendar.timegm(time.strptime(row["at"], "%Y-%m-%dT%H:%M:%SZ")) if row["kind"] == "request" else None
        except (ValueError, TypeError, KeyError):
            continue
        if then is not None:
            last, count = row["at"], count + (then >= begin)
    return {"last_use": last, "requests_today": count}


def nodes(_options: Options) -> dict[str, t.Any]:
    """Tell what install packages have left in the home folder."""
    home = Path("~").expanduser()
    found = []
    for path in sorted((home / INSTALLED[0]).glob("*/" + INSTALLED[1]))[:MOST_ENTRIES]:
        try:
            record = json.loads(read_text(path) or "{}")
        except ValueError:
            record = {}
        names = {key: record.get(key) for key in ("node", "container", "image")} if isinstance(record, dict) else {}
        found.append(
            {"folder": path.parent.name, **{key: str(value)[:LONGEST_TEXT] for key, value in names.items() if value}}
        )
    return {"installed": found}


def containers(options: Options) -> dict[str, t.Any]:
    """Ask Docker for the containers that the collection has made, running or not."""
    form = "{{.Names}}\t{{.State}}\t{{.Status}}"
    told = run(_DOCKER, "ps", "--all", "--filter", "label=" + MANAGED, "--format", form, seconds=options["seconds"])
    rows = [line.split("\t") for line in told.splitlines() if line.count("\t") == 2]
    return {"containers": [dict(zip(("name", "state", "status"), row)) for row in rows[:MOST_ENTRIES]]}


PARTS: dict[str, t.Callable[[Options], dict[str, t.Any]]] = {
    "system": system,
    "disk": disk,
    "gpu": gpus,
    "comfyui": comfyui,
    "companion": companion,
    "nodes": nodes,
    "containers": containers,
}


# ---- all together ----------------------------------------------------------------------------------------------------


def look(options: Options) -> dict[str, t.Any]:
    """Look at all parts at the same time. One that fails or hangs says so in C(problem), and the others are told."""
    found: dict[str, dict[str, t.Any]] = {}
    lock = threading.Lock()

    def part(name: str, function: t.Callable[[Options], dict[str, t.Any]]) -> None:
        try:
            told = function(options)
        except (ProbeError, OSError, RuntimeError, ValueError, KeyError, TypeError) as problem:
            told = {"problem": " ".join(str(problem).split())[:LONGEST_TEXT] or type(problem).__name__}
        with lock:
            found[name] = told

    threads = [threading.Thread(target=part, args=item, daemon=True) for item in PARTS.items()]
    for thread in threads:
        thread.start()
    end = time.monotonic() + options["seconds"] + 1
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    missing = {"problem": f"no answer within {options['seconds']:g} seconds"}
    with lock:
        return {name: found.get(name, missing) for name in PARTS}


def answer(options: Options) -> dict[str, t.Any]:
    """Return all that is told."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    executable = os.path.normpath(sys.executable) if sys.executable else ""
    return {
        "format": FORMAT,
        "python": {"version": version, "executable": executable},
        **look({"seconds": SECONDS, **options}),
        "time": time.time(),
    }


def main(given: bytes) -> None:
    """Print what there is. Ends the process at once: a thread that hangs must not keep it."""
    options = json.loads(given or b"{}")
    if len(sys.argv) > 1:
        options["base"] = sys.argv[1]
    sys.stdout.write(json.dumps(answer(options), sort_keys=True) + "\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(globals().get("OPTIONS") or sys.stdin.buffer.readline())
