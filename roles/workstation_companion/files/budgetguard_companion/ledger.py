# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What this workstation used: one line of JSON per request, for the estimate of today and for TechOps' audit.

No prompt, address or credential is in a line. The file has a largest size; the older half goes when it is reached.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import threading
import time
import typing as t
from pathlib import Path

from .endpoints import Endpoint
from .fleet import midnight

NAME = "usage.jsonl"
LARGEST = 1024 * 1024


class Ledger:
    """The usage file, and what is known of this moment besides: which requests are under way."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._used: dict[str, float] = {}
        self._under_way: dict[str, int] = {}

    @contextlib.contextmanager
    def request(self, endpoint: Endpoint) -> t.Iterator[None]:
        """Note a request to an endpoint, from its begin to its end."""
        begin = time.monotonic()
        self._note(endpoint.url, 1)
        done = False
        try:
            yield
            done = True
        finally:
            self._note(endpoint.url, -1)
            row = {"node": endpoint.node, "provider": endpoint.provider, "target": endpoint.target}
            seconds = round(time.monotonic() - begin, 2)
            self.write({"kind": "request", **row, "gpu_tier": endpoint.tier, "seconds": seconds, "ok": done})

    def _note(self, url: str, change: int) -> None:
        with self._lock:
            self._under_way[url] = self._under_way.get(url, 0) + change
            self._used[url] = time.monotonic()

    def last_use(self, url: str) -> float | None:
        """Return when an endpoint was last asked for something, on the clock of C(time.monotonic); now if it is yet."""
        with self._lock:
            return time.monotonic() if self._under_way.get(url) else self._used.get(url)

    def write(self, row: t.Mapping[str, t.Any]) -> None:
        """Add a line. A disk that is full, or a folder that may not be written in, stops no artist."""
        now = datetime.datetime.now(datetime.timezone.utc)
        line = json.dumps({"at": now.strftime("%Y-%m-%dT%H:%M:%SZ"), **row}, sort_keys=True) + "\n"
        with self._lock, contextlib.suppress(OSError):
            self._shorten()
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(handle, "a", encoding="utf-8") as file:
                file.write(line)

    def _shorten(self) -> None:
        if not self.path.exists() or self.path.stat().st_size < LARGEST:
            return
        lines = self.path.read_bytes().splitlines(keepends=True)
        new = self.path.with_name(f".{self.path.name}.new")
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.writelines(lines[len(lines) // 2 :])
        new.replace(self.path)

    def today(self, now: datetime.datetime) -> list[dict[str, t.Any]]:
        """Return the lines of today, as far as they can be read."""
        begin = midnight(now)
        try:
            content = self.path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        rows = []
        for line in content.splitlines():
            try:
                row = json.loads(line)
                then = datetime.datetime.fromisoformat(row["at"].replace("Z", "+00:00"))
                if then >= begin:
                    rows.append(row)
            except (ValueError, TypeError, KeyError, AttributeError):
                continue
        return rows
