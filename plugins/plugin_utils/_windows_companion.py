# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Install, upgrade or remove the companion on a Windows workstation. Runs there, with ComfyUI's own Python.

C(_windows_probe) loads it there, and with it C(_windows_config), which calls Windows and writes the token as it writes
a key, and C(_companion_install), which knows pip. So it imports nothing but the standard library of Python 3.9.

An administrator writes here into folders that are the artist's. So each folder is held open while something in it is
changed, and nobody can put a junction in its place; a link that is there already is refused.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import ntpath
import pathlib
import secrets
import sys
import typing as t

CACHE = "__pycache__"
Request = t.Mapping[str, t.Any]


class RefusedError(Exception):
    """Something is in the way. One sentence."""


class OwnPython:
    """ComfyUI's own Python, which is the one that runs this."""

    def __init__(self, install: t.Any) -> None:
        self._install = install
        self.path = sys.executable

    def look(self, base: str) -> dict[str, t.Any] | None:
        """Return what it has, seen by a process of its own, as ComfyUI will see it."""
        seen: dict[str, t.Any] | None = self._install.look_at(self.path, pathlib.Path(base))
        return seen

    def pip(self, target: str, wheels: str | None) -> None:
        """Install the library into a folder."""
        source = [] if wheels is None else ["--no-index", "--find-links", wheels]
        self._install.run_pip(self.path, pathlib.Path(target), source, "")


class Station:
    """One workstation: its system, its ComfyUI, and who that runs as."""

    def __init__(self, config: t.Any, install: t.Any, system: t.Any, request: Request, user: str) -> None:
        self.config, self.install, self.system, self.user = config, install, system, user
        self.base = request["base"]
        self.custom_nodes = ntpath.join(self.base, "custom_nodes")
        self.folder = ntpath.join(self.custom_nodes, install.NAME)
        self.libraries = ntpath.join(self.base, *install.LIBRARIES)
        self._ours = {config.SYSTEM, config.ADMINISTRATORS, system.runs_as(), user}

    # -- look

    def is_folder(self, path: str) -> bool:
        """Tell whether a folder is there. Raises RefusedError for what must not be written into."""
        kind = self.system.kind(path)
        if kind is None:
            return False
        if kind == "link":
            raise RefusedError(f"'{path}' is a symbolic link or a junction; it must be a folder. Remove the link.")
        if kind != "folder":
            raise RefusedError(f"'{path}' is not a folder. Move it away.")
        return True

    def _check_owner(self, path: str) -> None:
        owner = self.system.security(path).owner
        if owner not in self._ours:
            name = self.system.account(owner)[0] or owner
            raise RefusedError(
                f"'{path}' belongs to '{name}', not to ComfyUI's user or the administrators. Find out why, then remove "
                f'it, or run takeown /A /F "{path}"'
            )

    def found(self) -> tuple[dict[str, str], list[str]]:
        """Return path to digest of what is in our folder, and those of its folders that others may use.

        What Python keeps for itself does not count. Raises RefusedError for links and strangers' files.
        """
        files: dict[str, str] = {}
        opened: list[str] = []
        if self.is_folder(self.custom_nodes) and self.is_folder(self.folder):
            if self.system.kind(ntpath.join(self.folder, ".git")) is not None:
                raise RefusedError(
                    f"'{self.folder}' is a git checkout, which the role did not make. Move it out of custom_nodes."
                )
            self._collect(self.folder, "", files, opened)
        return files, opened

    def written(self) -> list[str]:
        """Return what the companion itself wrote, besides what Python keeps."""
        folder = ntpath.dirname(self.libraries)
        paths = [ntpath.join(folder, name) for name in self.install.WRITTEN] if self.is_folder(folder) else []
        return [path for path in paths if self.system.kind(path) is not None]

    def _collect(self, folder: str, below: str, files: dict[str, str], opened: list[str]) -> None:
        self._check_owner(folder)
        if not self.config.is_private(self.system.security(folder), self.user):
            opened.append(below.rstrip("/") or ".")
        for name in sorted(self.system.names(folder)):
            path = ntpath.join(folder, name)
            if self.system.kind(path) == "file":
                self._check_owner(path)
                files[below + name] = self._digest(path)
            elif self.is_folder(path) and name != CACHE:
                self._collect(path, f"{below}{name}/", files, opened)

    def _digest(self, path: str) -> str:
        if not self.config.is_private(self.system.security(path), self.user):
            return "other access"
        if self.system.size(path) > self.config.LARGEST_CONFIG:
            return "too large"
        return hashlib.sha256(self.system.read(path)).hexdigest()

    # -- change

    @contextlib.contextmanager
    def held(self, *folders: str) -> t.Iterator[None]:
        """Hold folders, the upper ones first; make those that are missing, for ComfyUI's user alone."""
        with contextlib.ExitStack() as stack:
            for folder in folders:
                if self.system.kind(folder) is None:
                    self.system.make_folder(folder, self.config.access(self.user, folder=True))
                stack.enter_context(self.system.hold(folder))
                if folder != self.base:
                    self.is_folder(folder)
            yield

    def inside(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Hold all folders down to the one of a file of the companion."""
        folders = [self.base, self.custom_nodes, self.folder]
        for part in name.split("/")[:-1]:
            folders.append(ntpath.join(folders[-1], part))
        return self.held(*folders)

    def path_of(self, name: str) -> str:
        """Return where a file of the companion is."""
        return self.folder if name == "." else ntpath.join(self.folder, *name.split("/"))

    def clear(self, folder: str, only_caches: bool = False) -> bool:
        """Remove what is in a folder, the folders above it being held; return whether nothing is left in it."""
        left = False
        with self.system.hold(folder):
            self.is_folder(folder)
            for name in self.system.names(folder):
                path = ntpath.join(folder, name)
                if self.system.kind(path) == "folder":
                    empty = self.clear(path, only_caches and name != CACHE)
                    if empty:
                        self.system.remove_folder(path)
                    left = left or not empty
                elif only_caches:
                    left = True
                else:
                    # A link goes as a link: what it leads to stays.
                    self.system.remove(path)
        return not left

    def add_library(self, python: t.Any, tag: str, wheels: t.Mapping[str, str] | None) -> None:
        """Install the cryptography library for the companion alone.

        While pip writes, nobody but administrators may: the artist could lead it elsewhere by a junction. After that
        each file gets its access, because pip moves what it has unpacked, and moved files bring their access along:
        https://learn.microsoft.com/en-us/troubleshoot/windows-client/windows-security/permissions-on-copying-moving-files
        """
        builder = self.config.ADMINISTRATORS if self.system.is_admin() else self.user
        entries = self.config.access(builder, folder=True)
        new = ntpath.join(self.libraries, f".{tag}.{secrets.token_hex(6)}.new")
        target, folder = ntpath.join(new, "libraries"), ntpath.join(new, "wheels")
        with self.held(self.base, ntpath.dirname(self.libraries), self.libraries):
            self.system.make_folder(new, entries)
            try:
                with self.system.hold(new):
                    if wheels is not None:
                        self._put_wheels(folder, entries, wheels)
                    self.system.make_folder(target, entries)
                    python.pip(target, None if wheels is None else folder)
                    self._give(target)
                    final = ntpath.join(self.libraries, tag)
                    if self.is_folder(final):
                        self.clear(final)
                        self.system.remove_folder(final)
                    self.system.replace(target, final)
            finally:
                self.clear(new)
                self.system.remove_folder(new)

    def _put_wheels(self, folder: str, entries: t.Any, wheels: t.Mapping[str, str]) -> None:
        self.system.make_folder(folder, entries)
        with self.system.hold(folder):
            for name, content in wheels.items():
                self.system.create(ntpath.join(folder, ntpath.basename(name)), base64.b64decode(content), entries)

    def _give(self, folder: str) -> None:
        """Give a folder and all in it to ComfyUI's user, what is inside first."""
        for name in self.system.names(folder):
            path = ntpath.join(folder, name)
            if self.system.kind(path) == "folder":
                self._give(path)
            else:
                self.system.set_access(path, self.config.access(self.user))
        self.system.set_access(folder, self.config.access(self.user, folder=True))


def look(request: Request, config: t.Any, install: t.Any, system: t.Any, python: t.Any) -> dict[str, t.Any]:
    """Return what there is, without changing anything. C(facts) are those of C(_windows_config)."""
    facts = config.run(request["facts"], system, {})
    if not facts.get("user"):
        return {"facts": facts}
    station = Station(config, install, system, request, facts["user"]["sid"])
    try:
        files, opened = station.found()
        budgetguard = ntpath.dirname(station.libraries)
        has_libraries = station.is_folder(budgetguard) and station.is_folder(station.libraries)
        return {
            "facts": facts,
            "files": files,
            "open": opened,
            "has_folder": system.kind(station.folder) is not None,
            "has_libraries": has_libraries,
            "written": station.written(),
            "python": python.path,
            "seen": python.look(request["base"]) if request["state"] == "present" else None,
        }
    except RefusedError as problem:
        return {"facts": facts, "problem": str(problem)}


def writer(request: Request, config: t.Any, system: t.Any, line: str = "") -> t.Any:
    """Return what writes configs and keys; the token is to it as a key with one line."""
    unused = {"content": "", "expected": "", "aside": ""}
    return config.Change({**request, **unused, "key": request["door"]}, system, line)


def change(request: Request, config: t.Any, install: t.Any, system: t.Any, python: t.Any) -> dict[str, t.Any]:
    """Do what was decided. Each file is the old one or the new one at any moment, and the first is written last."""
    station = Station(config, install, system, request, request["user"])
    files = writer(request, config, system)
    library = request["library"]
    if library is not None:
        station.add_library(python, library["tag"], library["wheels"])
        seen = python.look(request["base"])
        if not (seen and seen["library"]):
            raise RefusedError(f"{install.LIBRARY} was installed for '{python.path}', which still cannot import it.")
    for name in request["open"]:
        with station.inside(f"{name}/x" if name != "." else "x"):
            system.set_access(station.path_of(name), config.access(station.user, folder=True))
    for name, content in request["write"]:
        with station.inside(name):
            files.save(station.path_of(name), base64.b64decode(content), "companion")
    for name in request["remove"]:
        with station.inside(name):
            files.patiently(lambda name=name: system.remove(station.path_of(name)))
    if request["write"] or request["remove"]:
        with station.held(station.base, station.custom_nodes):
            station.clear(station.folder, only_caches=True)
    if request["door_step"]:
        writer(request, config, system, secrets.token_urlsafe(install.DOOR_BYTES)).take("key_final")
    return {"done": True}


def remove(request: Request, config: t.Any, install: t.Any, system: t.Any, _python: t.Any) -> dict[str, t.Any]:
    """Take away the companion, its token, what it wrote, and its libraries, which a ComfyUI that runs may keep open."""
    station = Station(config, install, system, request, request["user"])
    files = writer(request, config, system)
    budgetguard = ntpath.dirname(station.libraries)
    for folder, above in ((station.folder, station.custom_nodes), (station.libraries, budgetguard)):
        if system.kind(folder) is not None:
            with station.held(station.base, above):
                station.clear(folder)
                system.remove_folder(folder)
    for path in station.written():
        with station.held(station.base, budgetguard):
            files.patiently(lambda path=path: system.remove(path))
    if request["door_step"]:
        files.take("key_remove")
    return {"done": True}


def answer(request: Request, config: t.Any, install: t.Any, system: t.Any, python: t.Any = None) -> dict[str, t.Any]:
    """Do what is asked for; a refusal is an answer, too."""
    python = python or OwnPython(install)
    act = look if request["do"] == "look" else remove if request["state"] == "absent" else change
    try:
        return act(request, config, install, system, python)
    except (RefusedError, install.InstallError) as problem:
        return {"problem": str(problem)}
    except config.FailedError as failure:
        cause = failure.__cause__
        return {"failed": str(failure), "said": str(getattr(cause, "strerror", None) or cause or "")}
    except OSError as problem:
        word = "companion open" if isinstance(problem, PermissionError) else "companion other"
        return {"failed": word, "said": f"{problem.filename or ''} {problem.strerror}".strip()}
