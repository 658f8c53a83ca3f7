# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Bring a folder to what it should hold, and remove from it only what was written here before.

Each file is written beside its place and moved over it. C(export.json) in the folder says what is ours: names, and
sha256 to tell a file that somebody else has changed since. It is written before the first file and after the last one,
so that a run which is killed leaves nothing that the next one does not know.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing as t
from pathlib import Path

from ansible_collections.budgetguard.techops.plugins.module_utils import _whole_file

RECORD = "export.json"
FORMAT, VERSION = "budgetguard-export", 1


class ExportError(Exception):
    """The folder cannot be what was asked for. The text holds nothing secret."""


@dataclasses.dataclass(frozen=True)
class File:
    """What should stand at a path. C(workstation) is whose it is, None for what is for all."""

    content: bytes = dataclasses.field(repr=False)
    mode: int = 0o644
    workstation: str | None = None


@dataclasses.dataclass
class Difference:
    """What was, or would be, done: paths below the folder. C(kept) are files of ours that somebody changed."""

    created: list[str] = dataclasses.field(default_factory=list)
    updated: list[str] = dataclasses.field(default_factory=list)
    removed: list[str] = dataclasses.field(default_factory=list)
    kept: list[str] = dataclasses.field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether anything differs."""
        return bool(self.created or self.updated or self.removed)


class Folder:
    """A folder of ours. With C(private) nobody else may look into it, and modes are kept as they should be."""

    def __init__(self, path: Path, private: bool = False) -> None:
        self.path = path
        self._private = private
        self._record = self._read_record()

    def read(self, name: str) -> bytes | None:
        """Return what stands at a path below the folder, or None. Raises ExportError for what is no file of ours."""
        path = self.path / name
        link = self._link(path)
        if link is not None:
            raise ExportError(f"{link} is a symbolic link. Remove it.")
        if not path.exists():
            return None
        if not path.is_file():
            raise ExportError(f"{path} is not a file. Move it away.")
        if name not in self._record:
            raise ExportError(f"{path} was not written by an export. Move it away, or export into another folder.")
        return path.read_bytes()

    def plan(self, wanted: t.Mapping[str, File], exported: t.Collection[str], known: t.Collection[str]) -> Difference:
        """Return what differs. Raises ExportError.

        Of what is not wanted any more, files of workstations that are in the inventory and not C(exported) now stay.
        """
        difference = Difference()
        for name, file in sorted(wanted.items()):
            found = self.read(name)
            if found is None:
                difference.created.append(name)
            elif found != file.content or (self._private and self._mode(name) != file.mode):
                difference.updated.append(name)
        for name, entry in sorted(self._record.items()):
            owner = entry.get("workstation")
            if name in wanted or (owner in known and owner not in exported):
                continue
            path = self.path / name
            if path.is_file() and self._link(path) is None:
                ours = hashlib.sha256(path.read_bytes()).hexdigest() == entry.get("sha256")
                (difference.removed if ours else difference.kept).append(name)
        return difference

    def apply(self, wanted: t.Mapping[str, File], difference: Difference) -> None:
        """Do it. Raises ExportError."""
        after = {name: entry for name, entry in self._record.items() if name not in difference.removed}
        after = {name: entry for name, entry in after.items() if name in wanted or (self.path / name).exists()}
        after.update({name: self._entry(file) for name, file in wanted.items()})
        try:
            if difference.changed or after != self._record:
                self._make(self.path)
                self._write_record({**after, **self._record})
                for name in (*difference.created, *difference.updated):
                    self._write(name, wanted[name].content, wanted[name].mode)
                for name in difference.removed:
                    self._remove(name)
                self._write_record(after)
        except OSError as problem:
            said = problem.strerror or str(problem)
            raise ExportError(
                f"{problem.filename or self.path}: {said}. Run it again when that is solved."
            ) from problem

    def _link(self, path: Path) -> Path | None:
        """Return what is a symbolic link on the way from the folder to a path below it, or None."""
        inside = (path, *path.parents)[: len(path.relative_to(self.path).parts)]
        return next((one for one in inside if one.is_symlink()), None)

    @staticmethod
    def _entry(file: File) -> dict[str, t.Any]:
        return {"sha256": hashlib.sha256(file.content).hexdigest(), "workstation": file.workstation}

    def _read_record(self) -> dict[str, dict[str, t.Any]]:
        path = self.path / RECORD
        if not path.exists():
            return {}
        try:
            record = json.loads(path.read_bytes())
            if record["format"] != FORMAT or record["version"] != VERSION:
                raise ExportError(f"{path} is that of another program or version. Export into another folder.")
            # What it names is removed one day. The share may be open to people who should remove nothing elsewhere.
            if any(name.startswith("/") or ".." in name.split("/") for name in record["files"]):
                raise ExportError(f"{path} names a file outside of this folder. Find out who changed it.")
            return {str(name): dict(entry) for name, entry in record["files"].items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ExportError(f"{path} is broken. Remove the folder, and export again.") from None

    def _write_record(self, files: t.Mapping[str, t.Any]) -> None:
        record = {"format": FORMAT, "version": VERSION, "files": files}
        content = json.dumps(record, indent=2, sort_keys=True) + "\n"
        self._write(RECORD, content.encode("utf-8"), 0o600 if self._private else 0o644)

    def _make(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        mode = 0o700 if self._private else 0o755
        if folder.stat().st_mode & 0o777 != mode:
            folder.chmod(mode)

    def _write(self, name: str, content: bytes, mode: int) -> None:
        path = self.path / name
        for one in reversed(path.parents[: len(Path(name).parts) - 1]):
            self._make(one)
        _whole_file.write(path, content, mode)

    def _remove(self, name: str) -> None:
        path = self.path / name
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == self.path or any(folder.iterdir()):
                break
            folder.rmdir()

    def _mode(self, name: str) -> int:
        return (self.path / name).stat().st_mode & 0o777


__all__ = ("RECORD", "Difference", "ExportError", "File", "Folder")
