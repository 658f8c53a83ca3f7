# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The call log, and the faults and delays that tests put into calls."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from tests.sandbox.state import seconds

WHEN = ("before", "after", "operation")


@dataclass
class Call:
    """One request, kept in memory with everything that was sent, so that tests can look for secrets in it."""

    seq: int
    service: str
    action: str
    region: str
    method: str
    path: str
    params: Any
    body: str
    #: None while the request is being handled.
    status: int | None = None
    #: Why the sandbox itself refused the call; None when a simulated service answered.
    refused: str | None = None
    #: Seconds since 1970, at arrival.
    time: float = field(default_factory=time.time)
    #: AWS, for a user of IAM: the permissions that were asked for, each as action, resource and context.
    needs: list[dict[str, Any]] = field(default_factory=list)


class CallLog:
    """Every request since the start or the last reset, in order of arrival."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._next = 1

    def start(self, *, service: str, action: str, region: str, method: str, path: str, params: Any, body: str) -> Call:
        """Note a request on arrival. The caller sets `status` (and `refused`) on the result when it is answered."""
        with self._lock:
            call = Call(self._next, service, action, region, method, path, params, body)
            self._next += 1
            self._calls.append(call)
            return call

    def as_list(self) -> list[dict[str, Any]]:
        """All calls as plain dicts."""
        with self._lock:
            return [asdict(call) for call in self._calls]

    def clear(self) -> None:
        """Forget all calls. Numbers go on, so a test can still tell old from new."""
        with self._lock:
            self._calls.clear()


@dataclass
class Interference:
    """What is to happen to matching calls: wait, then perhaps answer with an error instead of the result."""

    action: str
    service: str | None = None
    #: How many calls are hit before it ends; None means all.
    times: int | None = 1
    #: A text that must occur in the request body.
    match: str | None = None
    #: Before the call is handled, or after (the effect is done, the answer is late or lost). "operation": the call is
    #: accepted, and the long-running work that it starts fails in the end (managed clusters and their pools only).
    when: str = "before"
    delay_seconds: float = 0.0
    #: The error code; None for a mere delay.
    code: str | None = None
    message: str = "Injected by the sandbox"
    status: int = 400
    #: Headers of the error's answer, such as Retry-After.
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Interference:
        """Read what a test has sent. Raises ValueError that says what is wrong."""
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(body) - known)
        if unknown:
            raise ValueError(f"unknown field {unknown[0]!r}, known are {', '.join(sorted(known))}")
        action, times = body.get("action"), body.get("times", 1)
        if not isinstance(action, str) or not action:
            raise ValueError("action must name an API action, such as DescribeServices, or be '*'")
        if times is not None and (not isinstance(times, int) or times < 1):
            raise ValueError(f"times must be a whole number from 1, or null for always, got {times!r}")
        if body.get("when", "before") not in WHEN:
            raise ValueError(f"when must be one of {', '.join(WHEN)}, got {body['when']!r}")
        seconds("delay_seconds", body.get("delay_seconds", 0.0))
        status = body.get("status", 400)
        if not isinstance(status, int) or not 400 <= status <= 599:
            raise ValueError(f"status must be an HTTP error status from 400 to 599, got {status!r}")
        headers = body.get("headers", {})
        if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
            raise ValueError(f"headers must be an object with texts, got {headers!r}")
        return cls(**body)

    def hits(self, service: str, action: str, body: str, when: str) -> bool:
        """Whether this call is meant."""
        return (
            self.when == when
            and self.action in ("*", action)
            and self.service in (None, service)
            and (self.match is None or self.match in body)
        )


class Interferences:
    """The faults and delays that are waiting for their calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Interference] = []

    def add(self, interference: Interference) -> None:
        """Put one more in the queue. Of several that match a call, each delays and the first fault answers."""
        with self._lock:
            self._waiting.append(interference)

    def as_list(self) -> list[dict[str, Any]]:
        """Those still waiting, as plain dicts."""
        with self._lock:
            return [asdict(item) for item in self._waiting]

    def clear(self) -> None:
        """Drop all of them."""
        with self._lock:
            self._waiting.clear()

    def apply(self, service: str, action: str, body: str, when: str) -> Interference | None:
        """Use up what matches this call, sleep for its delays, and return the fault to answer with, if any."""
        delay = 0.0
        fault: Interference | None = None
        with self._lock:
            for item in list(self._waiting):
                if not item.hits(service, action, body, when) or (item.code and fault):
                    continue
                delay += item.delay_seconds
                if item.code:
                    fault = item
                if item.times is not None:
                    item.times -= 1
                    if item.times == 0:
                        self._waiting.remove(item)
        if delay:
            time.sleep(delay)
        return fault
