# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Long-running work of a cloud, driven by the clock: it is begun, takes `Defaults.cluster_seconds`, and ends."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.sandbox.state import DEFAULTS, clock


def now() -> str:
    """Return the time as clouds write it."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Failure:
    """Why work ended badly, in the cloud's words."""

    code: str
    message: str


@dataclass
class Operation:
    """One piece of work. `finish` brings the state to where it leads, with the failure if it failed."""

    name: str
    #: What is being done, in the cloud's word for it.
    kind: str
    #: What it is done to; at most one piece of work per target goes on at a time.
    target: str
    #: What it is done to, as the cloud names it.
    description: str
    ends: float
    finish: Callable[[Failure | None], None]
    #: How it will end; None for well.
    failure: Failure | None
    done: bool = False
    started_at: str = field(default_factory=now)
    ended_at: str = ""

    @property
    def seconds_left(self) -> float:
        """Seconds until the end; 0 when it is over."""
        return 0.0 if self.done else max(0.0, self.ends - clock())


class Operations:
    """Everything that has been begun since the last reset. The caller holds the lock of the state."""

    def __init__(self) -> None:
        self._all: dict[str, Operation] = {}

    def begin(
        self,
        kind: str,
        target: str,
        finish: Callable[[Failure | None], None],
        *,
        description: str = "",
        failure: Failure | None = None,
        name: str | None = None,
    ) -> Operation:
        """Begin work that takes as long as the defaults say."""
        operation = Operation(
            name or str(uuid.uuid4()),
            kind,
            target,
            description,
            clock() + DEFAULTS.cluster_seconds,
            finish,
            failure,
        )
        self._all[operation.name] = operation
        return operation

    def advance(self) -> None:
        """End what is over by now."""
        for operation in sorted(self._all.values(), key=lambda item: item.ends):
            if not operation.done and operation.ends <= clock():
                operation.done = True
                operation.ended_at = now()
                operation.finish(operation.failure)

    def get(self, name: str) -> Operation | None:
        """Return one by its name."""
        return self._all.get(name)

    def all(self) -> list[Operation]:
        """Return all, in the order of their beginning."""
        return list(self._all.values())

    def running_on(self, target: str) -> Operation | None:
        """Return what is going on at a target."""
        for operation in self._all.values():
            if operation.target == target and not operation.done:
                return operation
        return None

    def clear(self) -> None:
        """Forget everything. What was going on never ends."""
        self._all.clear()
