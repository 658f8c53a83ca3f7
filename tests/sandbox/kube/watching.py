# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watching: a client is told of each change of the objects it has selected, until its time is up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.sandbox.kube.errors import KubeError, bad_request
from tests.sandbox.kube.kinds import Kind
from tests.sandbox.kube.requests import KubeRequest
from tests.sandbox.kube.store import Change, ObjectStore
from tests.sandbox.state import STATE_LOCK, clock

#: How often is looked for changes, and the longest time one request lasts, in seconds.
PAUSE, LONGEST = 0.05, 60.0


def watch(
    store: ObjectStore,
    request: KubeRequest,
    kind: Kind,
    is_meant: Callable[[Change], bool],
    advance: Callable[[], None],
) -> Iterator[dict[str, Any]]:
    """Yield the events of a watch. Raises KubeError, before the first event, for a version that is forgotten."""
    asked = request.query.get("resourceVersion") or "0"
    timeout = request.query.get("timeoutSeconds") or str(LONGEST)
    try:
        position, ends = int(asked), clock() + min(float(timeout), LONGEST)
    except ValueError as error:
        raise bad_request(f"invalid resourceVersion or timeoutSeconds: {error}") from error
    first: list[Change] = []
    if position == 0:
        first = [Change(store.version, "ADDED", item) for item in store.all(kind.name, request.namespace)]
        first = [change for change in first if is_meant(change)]
        position = store.version
    elif store.changes and position < store.changes[0].version - 1:
        raise KubeError(410, "Expired", f"too old resource version: {position} ({store.changes[0].version})")
    return _events(store, first, position, ends, is_meant, advance)


def _events(
    store: ObjectStore,
    first: list[Change],
    position: int,
    ends: float,
    is_meant: Callable[[Change], bool],
    advance: Callable[[], None],
) -> Iterator[dict[str, Any]]:
    for change in first:
        yield {"type": change.type, "object": change.item}
    while clock() < ends:
        with STATE_LOCK:
            advance()
            new = [change for change in store.changes if change.version > position]
            position = store.version
        for change in new:
            if is_meant(change):
                yield {"type": change.type, "object": change.item}
        time.sleep(PAUSE)
