# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What containers write, as far as clouds keep it: the lines of all clusters, read by the clouds' log services."""

from __future__ import annotations

import datetime
import json
import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ContainerLine:
    """One line. Times are seconds since 1970: when it was written, and when the log service had it."""

    cluster_id: str
    namespace: str
    pod: str
    container: str
    written: float
    received: float
    text: str


class ContainerLogs:
    """Lines in the order in which they came in. Needs STATE_LOCK held."""

    def __init__(self) -> None:
        self._lines: list[ContainerLine] = []

    def add(
        self, cluster_id: str, namespace: str, pod: str, container: str, text: str, delay_seconds: float = 0.0
    ) -> None:
        """Keep a line. One that is JSON and says when it was written is of that time."""
        written = time_of(text) or time.time()
        self._lines.append(ContainerLine(cluster_id, namespace, pod, container, written, written + delay_seconds, text))

    def of(self, cluster_ids: set[str]) -> list[ContainerLine]:
        """Return the lines of some clusters, the oldest first."""
        return sorted((line for line in self._lines if line.cluster_id in cluster_ids), key=lambda line: line.written)

    def reset(self) -> None:
        """Forget all lines."""
        self._lines.clear()


def json_of(text: str) -> Any:
    """Return the object that a line is; None if it is none."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def time_of(text: str) -> float | None:
    """Return what a line says about when it was written."""
    value = json_of(text)
    if value is None or not isinstance(value.get("time"), str):
        return None
    return datetime.datetime.fromisoformat(value["time"].replace("Z", "+00:00")).timestamp()


def iso(seconds: float) -> str:
    """Write a time as the clouds do, with microseconds."""
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
