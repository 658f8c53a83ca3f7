# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Install, upgrade or remove the companion on a workstation, and print one line of JSON.

This one file is sent to the workstation and run there by any Python from 3.8 on, as the owner of ComfyUI's folder. So
it uses the standard library alone and imports nothing of the collection. C(OPTIONS) are the options as JSON. Everything
is looked at and decided before anything is changed, and with C(check) nothing is changed at all.

What the companion needs beyond ComfyUI's own Python, the cryptography library, goes into a folder of its own below
C(budgetguard/python), one for each version of Python: ComfyUI's environment stays as it is.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import subprocess
import sys
import typing as t
from dataclasses import dataclass
from pathlib import Path

FORMAT = "budgetguard-companion"
NAME = "budgetguard_companion"
CACHE = "__pycache__"
FIRST_FILE = "__init__.py"
FILE_MODE, FOLDER_MODE = 0o644, 0o755
WRITABLE_BY_OTHERS = 0o022
LIBRARY = "cryptography"
LIBRARIES = ("budgetguard", "python")
WRITTEN = ("usage.jsonl", ".usage.jsonl.new")
"""What the companion itself writes below C(budgetguard): the usage file, and the one it makes when that is too long."""
OLDEST = (3, 9)
DOOR_MODE = 0o400
DOOR_BYTES = 15
"""20 letters to type in, 120 bits."""
REQUIREMENT = "cryptography>=42"
PIP_SECONDS = 300
LOOK_SECONDS = 60
SAID_LETTERS = 600

PLACES = (
    (".venv", "bin", "python"),
    ("venv", "bin", "python"),
    ("..", ".venv", "bin", "python"),
    ("..", "venv", "bin", "python"),
    ("..", "python_embeded", "bin", "python"),
)
"""Where ComfyUI's own Python is, from its base folder: a virtual environment in or beside it, or a portable one."""

LOOK = """
import importlib.util, json, sys
sys.path.append(sys.argv[1] + "/" + sys.implementation.cache_tag)
try:
    from cryptography.fernet import Fernet
    found = True
except ImportError:
    found = False
print(json.dumps({
    "library": found, "comfyui": importlib.util.find_spec("aiohttp") is not None,
    "pip": importlib.util.find_spec("pip") is not None,
    "tag": sys.implementation.cache_tag, "version": list(sys.version_info[:2]),
}))
"""
"""Run by ComfyUI's own Python. ComfyUI's server is made of aiohttp, so a Python without it is not ComfyUI's."""

Options = t.Mapping[str, t.Any]


class InstallError(Exception):
    """Nothing can be, or may be, installed. One sentence."""


@dataclass(frozen=True)
class Python:
    """A Python that was looked at."""

    path: str
    tag: str
    has_library: bool
    pip: bool


def plan(found: t.Mapping[str, str], wanted: t.Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the steps from the files that are there to those that should be, both as path to digest.

    What ComfyUI reads first is written last, so a run that was killed leaves the old start or the new one.
    """
    write = [("write", path) for path in sorted(wanted) if found.get(path) != wanted[path]]
    write.sort(key=lambda step: step[1] == FIRST_FILE)
    return write + [("remove", path) for path in sorted(found) if path not in wanted]


def digest(content: bytes) -> str:
    """Return what tells two contents apart."""
    return hashlib.sha256(content).hexdigest()


def refuse_folder(path: Path, what: str) -> bool:
    """Say whether a folder is there. Raises InstallError where it must not be written into."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(found.st_mode):
        raise InstallError(f"'{path}' is a symbolic link; {what} must be a folder. Remove the link.")
    if not stat.S_ISDIR(found.st_mode):
        raise InstallError(f"'{path}' is not a folder. Move it away.")
    if found.st_uid != os.geteuid():
        raise InstallError(
            f"'{path}' belongs to the user with the id {found.st_uid}, not to the owner of ComfyUI's folder. chown it."
        )
    if found.st_mode & WRITABLE_BY_OTHERS:
        raise InstallError(f"Others may write in '{path}' (mode {stat.S_IMODE(found.st_mode):04o}). chmod go-w it.")
    return True


def files_in(folder: Path) -> dict[str, str]:
    """Return path to digest of what is in our folder. What Python keeps for itself does not count.

    Raises InstallError for links and strangers' files.
    """
    if not refuse_folder(folder, "the companion"):
        return {}
    if (folder / ".git").exists():
        raise InstallError(f"'{folder}' is a git checkout, which the role did not make. Move it out of custom_nodes.")
    found = {}
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != CACHE)
        for name in folders:
            refuse_folder(Path(place, name), "it")
        for name in sorted(names):
            path = Path(place, name)
            state = path.lstat()
            if not stat.S_ISREG(state.st_mode) or state.st_uid != os.geteuid():
                raise InstallError(f"'{path}' is a symbolic link or belongs to somebody else. Remove it.")
            right = stat.S_IMODE(state.st_mode) == FILE_MODE
            found[path.relative_to(folder).as_posix()] = digest(path.read_bytes()) if right else "other mode"
    return found


def write(path: Path, content: bytes, mode: int = FILE_MODE, tidy_folder: bool = True) -> None:
    """Put a file in its place at once, or not at all."""
    if tidy_folder:
        path.parent.mkdir(mode=FOLDER_MODE, exist_ok=True)
        path.parent.chmod(FOLDER_MODE)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.new")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    finally:
        if temporary.exists():
            temporary.unlink()


def apply(folder: Path, steps: t.Iterable[tuple[str, str]], contents: t.Mapping[str, bytes]) -> None:
    """Take the steps."""
    for step, name in steps:
        if step == "write":
            folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
            write(folder / name, contents[name])
        else:
            (folder / name).unlink()
    _tidy(folder)


def _tidy(folder: Path) -> None:
    """Remove what Python keeps of files that are gone, and folders with nothing in them."""
    for cache in sorted(folder.rglob(CACHE)):
        shutil.rmtree(cache)
    for place, _folders, names in os.walk(folder, topdown=False):
        if not names and not any(Path(place).iterdir()):
            Path(place).rmdir()


# -- the token of the doorway ------------------------------------------------------------------------------------------


def door_step(path: Path) -> str | None:
    """Return what has to be done with the token that the network is asked for; None where it is as it should be.

    One that others could read counts as known to them. Raises InstallError.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return "create"
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        raise InstallError(f"'{path}' is no file of the owner of ComfyUI's folder. Remove it.")
    private = stat.S_IMODE(found.st_mode) & 0o077 == 0
    return None if private and found.st_size > 0 else "replace"


def make_door(path: Path) -> None:
    """Make a new token. It never leaves this workstation."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write(path, (secrets.token_urlsafe(DOOR_BYTES) + "\n").encode(), DOOR_MODE, tidy_folder=False)


# -- ComfyUI's own Python --------------------------------------------------------------------------------------------


def unit_python(shown: str) -> str | None:
    """Return the Python that C(systemctl show --property ExecStart) tells of, if it starts one."""
    found = re.search(r"\bpath=(\S+)", shown)
    return found[1] if found and Path(found[1]).name.startswith("python") else None


def python_candidates(base: Path, asked: str, unit: str) -> list[str]:
    """Return where ComfyUI's own Python may be, the most likely first."""
    if asked:
        return [str(Path(asked).expanduser())]
    found = []
    if unit:
        shown = unit_python(_output(["systemctl", "show", "--property", "ExecStart", unit]))
        if shown is None:
            raise InstallError(f"The service '{unit}' starts no Python. Set workstation_companion_python.")
        found.append(shown)
    places = [Path(os.path.normpath(base.joinpath(*place))) for place in PLACES]
    # The folder above may be anybody's: what others have put there is not ComfyUI's, and must not be started.
    found += [str(path) for path in places if not is_strangers(path.parents[1])]
    return found + [path for path in [shutil.which("python3")] if path]


def is_strangers(*places: Path) -> bool:
    """Say whether one of the places is neither this user's nor root's."""
    with contextlib.suppress(OSError):
        return any(place.lstat().st_uid not in (0, os.geteuid()) for place in places)
    return False


def find_python(base: Path, asked: str, unit: str, linked: bool = False) -> Python:
    """Return ComfyUI's own Python. Raises InstallError.

    :arg linked: whether the base folder was reached over a link, so that it may not be the one that was meant.
    """
    candidates = python_candidates(base, asked, unit)
    for path in candidates:
        if os.access(path, os.X_OK) and not Path(path).is_dir():
            if (linked or os.geteuid() == 0) and is_strangers(Path(path), Path(path).resolve(), Path(path).parent):
                raise InstallError(
                    f"'{path}' belongs to another user than ComfyUI's folder '{base}', so it is not started. Set "
                    "workstation_companion_python, or chown it."
                )
            seen = look_at(path, base)
            if seen is None or (not seen["comfyui"] and not asked):
                continue
            if tuple(seen["version"]) < OLDEST:
                raise InstallError(f"ComfyUI's Python '{path}' is older than 3.9.")
            return Python(path, seen["tag"], seen["library"], seen["pip"])
    raise InstallError(
        f"ComfyUI's own Python was not found; looked at {', '.join(candidates)}. Set workstation_companion_python."
    )


def look_at(path: str, base: Path) -> dict[str, t.Any] | None:
    """Return what a Python has, or None if it does not answer. The base folder is ComfyUI's."""
    said = _output([path, "-I", "-B", "-c", LOOK, str(base.joinpath(*LIBRARIES))])
    try:
        seen = json.loads(said)
    except ValueError:
        return None
    return seen if isinstance(seen, dict) else None


def _output(command: t.Sequence[str]) -> str:
    """Return what a command prints, or nothing if it cannot be run."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=LOOK_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace")


def install_library(base: Path, python: Python, wheels: t.Mapping[str, str] | None, index: str) -> None:
    """Install the cryptography library for the companion alone. Raises InstallError."""
    if not python.pip:
        raise InstallError(
            f"ComfyUI's Python '{python.path}' has neither {LIBRARY} nor pip. Install one of them: "
            f"'{python.path} -m ensurepip', or with uv: 'uv pip install --python {python.path} {LIBRARY}'."
        )
    parent = base.joinpath(*LIBRARIES)
    for folder in (parent.parent, parent):
        if not refuse_folder(folder, "it"):
            folder.mkdir(mode=0o700)
    for left in parent.glob(".*.new"):
        # Of a run that was killed.
        shutil.rmtree(left)
    new = parent / f".{python.tag}.{secrets.token_hex(6)}.new"
    source: list[str] = []
    try:
        new.mkdir(mode=0o700)
        if wheels is not None:
            folder = new / "wheels"
            folder.mkdir()
            for name, content in wheels.items():
                (folder / Path(name).name).write_bytes(base64.b64decode(content))
            source = ["--no-index", "--find-links", str(folder)]
        run_pip(python.path, new / "libraries", source, index)
        final = parent / python.tag
        if final.exists():
            shutil.rmtree(final)
        (new / "libraries").replace(final)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def run_pip(python: str, target: Path, source: t.Sequence[str], index: str) -> None:
    """Have pip install the library into a folder. Raises InstallError.

    The index goes by the environment, because its address may hold a password, and all users can list processes.
    """
    command = [python, "-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-compile"]
    command += ["--no-cache-dir", "--only-binary", ":all:", "--target", str(target), *source, REQUIREMENT]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PIP_SECONDS,
            check=False,
            env={**os.environ, "PIP_INDEX_URL": index} if index else None,
        )
    except (OSError, subprocess.TimeoutExpired):
        raise InstallError(f"pip of '{python}' did not come to an end.") from None
    if done.returncode:
        said = " ".join(done.stdout.decode("utf-8", "replace").split())[-SAID_LETTERS:]
        # An index's address may hold a password.
        said = re.sub(r"//[^/\s@]+@", "//(hidden)@", said)
        raise InstallError(
            f"{LIBRARY} could not be installed for ComfyUI's Python '{python}'. Without a network, put its wheels "
            f"into a folder and set workstation_companion_wheel_folder. pip said: {said}"
        )


# -- all of it -------------------------------------------------------------------------------------------------------


def _base(given: str) -> Path:
    """Return ComfyUI's base folder. Raises InstallError where it is not this user's."""
    # The real path, because a link could lead elsewhere a moment later.
    base = Path(os.path.realpath(_expanded(given)))
    try:
        if base.stat().st_uid != os.geteuid():
            raise InstallError(f"'{base}' belongs to another user than the one that this runs as.")
    except OSError as error:
        raise InstallError(f"'{given}' cannot be looked at: {error.strerror}.") from None
    return base


def _expanded(given: str) -> Path:
    try:
        return Path(given).expanduser()
    except RuntimeError:
        raise InstallError(f"'{given}' is below the home of a user that is not there.") from None


def run(options: Options) -> dict[str, t.Any]:
    """Bring the companion to its state and say what was, or would be, done. Raises InstallError."""
    base = _base(options["base"])
    linked = base != _expanded(options["base"])
    custom_nodes = base / "custom_nodes"
    if not (options["force"] or (base / "main.py").is_file() or ((base / "models").is_dir() and custom_nodes.is_dir())):
        raise InstallError(
            f"'{base}' does not look like ComfyUI's base folder: no main.py, no models with custom_nodes."
        )
    there = refuse_folder(custom_nodes, "it")
    folder = custom_nodes / NAME
    found = files_in(folder) if there else {}
    door = _expanded(options["door"])
    if options["state"] == "absent":
        return _remove(base, folder, found, door, options["check"])
    contents = {name: base64.b64decode(content) for name, content in options["files"].items()}
    steps = plan(found, {name: digest(content) for name, content in contents.items()})
    door_wanted = door_step(door)
    python = find_python(base, options["python"], options["unit"], linked)
    told: dict[str, t.Any] = {
        "steps": [f"{step} {name}" for step, name in steps] + ([f"{door_wanted} {door}"] if door_wanted else []),
        "python": python.path,
        "library": "present" if python.has_library else "installed",
        "needs_wheels": False,
        "before": found,
        "after": {name: digest(content) for name, content in contents.items()},
    }
    if not options["check"] and not python.has_library:
        if options["wants_wheels"] and options["wheels"] is None:
            # They are some megabytes, so they are only sent where they are needed; the files go with them.
            return {**told, "needs_wheels": True}
        install_library(base, python, options["wheels"], options["index"])
        if not find_python(base, python.path, "", linked).has_library:
            raise InstallError(f"{LIBRARY} was installed for '{python.path}', which still cannot import it.")
    if not options["check"] and steps:
        custom_nodes.mkdir(mode=FOLDER_MODE, exist_ok=True)
        apply(folder, steps, contents)
    if not options["check"] and door_wanted:
        make_door(door)
    return told


def _remove(base: Path, folder: Path, found: t.Mapping[str, str], door: Path, check: bool) -> dict[str, t.Any]:
    """Take away the companion, its libraries, its token, and what it wrote."""
    libraries = base.joinpath(*LIBRARIES)
    has_folder = refuse_folder(libraries.parent, "it")
    has_libraries = has_folder and refuse_folder(libraries, "it")
    written = [path for path in (libraries.parent / name for name in WRITTEN) if has_folder and os.path.lexists(path)]
    steps = [f"remove {name}" for name in sorted(found)] or (["remove ."] if folder.is_dir() else [])
    has_door = door.is_symlink() or door.exists()
    if not check:
        if steps:
            shutil.rmtree(folder)
        if has_door:
            door.unlink()
        if has_libraries:
            shutil.rmtree(libraries)
        for path in written:
            path.unlink()
        if has_folder and not any(libraries.parent.iterdir()):
            libraries.parent.rmdir()
    library = "removed" if has_libraries else "absent"
    steps += [f"remove {path}" for path in written] + ([f"remove {door}"] if has_door else [])
    return {"steps": steps, "python": None, "library": library, "needs_wheels": False, "before": found, "after": {}}


def main(options: Options) -> dict[str, t.Any]:
    """Return the answer, also where it is a refusal."""
    try:
        return {"format": FORMAT, **run(options)}
    except InstallError as problem:
        return {"format": FORMAT, "problem": str(problem)}
    except OSError as error:
        return {"format": FORMAT, "problem": f"'{error.filename}': {error.strerror}."}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(globals()["OPTIONS"]))) + "\n")
