# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The gateway's log in files of a Docker host. Standard library alone, because it is read on that host.

Beside ``gateway.log`` there are the files that were rotated away, ``gateway.log.1``, ``gateway.log.2.gz`` and the like.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import typing as t
import zlib
from pathlib import Path

from ansible_collections.budgetguard.techops.plugins.module_utils import _usage

LOOKS = 5
"""So often the folder is read anew while files are being rotated in it."""


class _Tally:
    """What was found so far."""

    def __init__(self, ask: _usage.Ask) -> None:
        self._ask = ask
        self.wanted: list[_usage.Request] = []
        self.recent: list[_usage.Request] | None = []
        self.last: dict[str, float] = {}
        self.first_line: float | None = None
        self.newest_line: float | None = None

    def count(self, item: _usage.Request) -> None:
        """Take one more request into account."""
        ask = self._ask
        self.first_line = item.ended if self.first_line is None else min(self.first_line, item.ended)
        self.newest_line = item.ended if self.newest_line is None else max(self.newest_line, item.ended)
        if not ask.look_back_since <= item.ended < ask.until:
            return
        if item.ended >= ask.since:
            self.wanted.append(item)
        if not item.is_use:
            return
        self.last[item.node] = max(self.last.get(item.node, 0.0), item.ended)
        if item.ended >= ask.recent_since and self.recent is not None:
            self.recent.append(item)
            if len(self.recent) > _usage.MOST_REQUESTS:
                self.recent = None


class UsageFile:
    """Reads a log with all that was rotated away from it."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._problems: list[str] = []

    def read(self, ask: _usage.Ask, now: float) -> _usage.Seen:
        """Read the lines since ``ask.look_back_since``, and when the log began."""
        try:
            files = self._open()
        except OSError as exc:
            return _usage.Seen(None, None, {}, problems=(f"{self._path} cannot be read: {exc.strerror}",))
        if not files:
            return _usage.Seen(None, None, {}, problems=(f"there is no {self._path}, so nothing is known",))
        tally = _Tally(ask)
        with contextlib.ExitStack() as stack:
            for file in files:
                stack.enter_context(file)
            for item in self._requests(files, ask.look_back_since):
                tally.count(item)
            # Nothing was written since a file without any line was made, or emptied.
            made = min(os.fstat(file.fileno()).st_mtime for file in files)
        if tally.recent is None:
            self._problems.append(_usage.too_many("the last minutes"))
        return _usage.Seen(
            _usage.group(tally.wanted, ask.period),
            tally.recent,
            tally.last,
            first_line=made if tally.first_line is None else tally.first_line,
            newest_line=tally.newest_line,
            delay=0.0,
            settled_until=now,
            problems=tuple(self._problems),
        )

    def _open(self) -> list[t.BinaryIO]:
        """Open all files at one moment: if one is rotated away meanwhile, look again. Raises OSError."""
        for look in range(LOOKS):
            files: list[t.BinaryIO] = []
            try:
                files.extend(path.open("rb") for path in self._paths())
            except FileNotFoundError:
                if look == LOOKS - 1:
                    raise
            else:
                if look == LOOKS - 1 or [_identity(file) for file in files] == _identities(self._paths()):
                    return files
            for file in files:
                file.close()
        return []

    def _paths(self) -> list[Path]:
        """Return the files, without those that are just being packed: they are there twice."""
        name = self._path.name
        found = {
            path.name: path
            for path in self._path.parent.iterdir()
            if (path.name == name or path.name.startswith((f"{name}.", f"{name}-"))) and path.is_file()
        }
        return [path for key, path in sorted(found.items()) if not (key.endswith(".gz") and key[:-3] in found)]

    def _requests(self, files: t.Sequence[t.BinaryIO], since: float) -> t.Iterator[_usage.Request]:
        """Return the requests in all files; of those that ended before ``since`` only the first of each file."""
        for file in files:
            old = os.fstat(file.fileno()).st_mtime < since
            try:
                for line in _lines(file):
                    item = _usage.parse(line.decode("utf-8", "replace"))
                    if item is None:
                        continue
                    yield item
                    if old:
                        break
            except (OSError, EOFError, zlib.error) as exc:
                self._problems.append(f"{file.name} cannot be read to its end: {exc}")


def _lines(file: t.BinaryIO) -> t.Iterable[bytes]:
    return gzip.GzipFile(fileobj=file) if file.name.endswith(".gz") else file


def _identity(file: t.BinaryIO) -> tuple[int, int]:
    found = os.fstat(file.fileno())
    return found.st_dev, found.st_ino


def _identities(paths: t.Sequence[Path]) -> list[tuple[int, int]]:
    found = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            stat = path.stat()
            found.append((stat.st_dev, stat.st_ino))
    return found
