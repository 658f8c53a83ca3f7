# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events, as controllers and kubelets write them. What happens again is counted instead of written anew."""

from __future__ import annotations

import itertools
from typing import Any

from tests.sandbox.kube.store import ObjectStore, timestamp


class Events:
    """Writes the events of one cluster."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._numbers = itertools.count(0x17A0000000000000)
        #: Names of the events that were written, by what they say.
        self._known: dict[tuple[str, str, str], str] = {}

    def note(self, item: dict[str, Any], reason: str, message: str, source: str, *, warning: bool = False) -> None:
        """Note that something happened to an object."""
        metadata = item["metadata"]
        namespace = metadata.get("namespace", "default")
        key = (metadata["uid"], reason, message)
        known = self._store.get("Event", namespace, self._known.get(key, ""))
        now = timestamp()
        if known is not None:
            self._store.put({**known, "count": known["count"] + 1, "lastTimestamp": now})
            return
        name = f"{metadata['name']}.{next(self._numbers):x}"
        self._known[key] = name
        self._store.make(
            "Event",
            name,
            namespace,
            involvedObject={
                "kind": item["kind"],
                "namespace": namespace,
                "name": metadata["name"],
                "uid": metadata["uid"],
                "apiVersion": item["apiVersion"],
                "resourceVersion": metadata["resourceVersion"],
            },
            reason=reason,
            message=message,
            source={"component": source},
            firstTimestamp=now,
            lastTimestamp=now,
            count=1,
            type="Warning" if warning else "Normal",
            eventTime=None,
            reportingComponent=source,
            reportingInstance="",
        )
