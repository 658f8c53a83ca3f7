# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of one cluster. An object that is stored is never changed in place: it is replaced by another."""

from __future__ import annotations

import copy
import datetime
import uuid
from collections import deque
from dataclasses import dataclass
from typing import Any

from tests.sandbox.kube.kinds import BY_NAME

Key = tuple[str, str, str]
#: How many changes are kept for clients that watch.
KEPT_CHANGES = 5000


@dataclass(frozen=True)
class Change:
    """Something that a watching client is told."""

    version: int
    #: ADDED, MODIFIED or DELETED.
    type: str
    item: dict[str, Any]


def timestamp(seconds_ago: float = 0.0) -> str:
    """Return the present time as Kubernetes writes it."""
    moment = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=seconds_ago)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def key_of(item: dict[str, Any]) -> Key:
    """Return kind, namespace (empty for a kind without) and name of an object."""
    metadata = item["metadata"]
    return item["kind"], metadata.get("namespace", ""), metadata["name"]


class ObjectStore:
    """Objects by kind, namespace and name, in a row of versions."""

    def __init__(self) -> None:
        self._items: dict[Key, dict[str, Any]] = {}
        self.version = 1000
        self.changes: deque[Change] = deque(maxlen=KEPT_CHANGES)

    def get(self, kind: str, namespace: str | None, name: str) -> dict[str, Any] | None:
        """Return an object that must not be changed; None if there is none."""
        return self._items.get((kind, namespace or "", name))

    def all(self, kind: str, namespace: str | None = None) -> list[dict[str, Any]]:
        """Return all objects of a kind, of one namespace or all, by namespace and name."""
        found = [
            item for key, item in self._items.items() if key[0] == kind and (namespace is None or key[1] == namespace)
        ]
        return sorted(found, key=key_of)

    def in_namespace(self, namespace: str) -> list[dict[str, Any]]:
        """Return everything in a namespace."""
        return [item for key, item in self._items.items() if key[1] == namespace]

    def put(self, item: dict[str, Any]) -> dict[str, Any]:
        """Store an object under a new version and return it as it is stored."""
        self.version += 1
        stored = copy.deepcopy(item)
        metadata = stored["metadata"]
        metadata.setdefault("uid", str(uuid.uuid4()))
        metadata.setdefault("creationTimestamp", timestamp())
        metadata["resourceVersion"] = str(self.version)
        key = key_of(stored)
        kind = "MODIFIED" if key in self._items else "ADDED"
        self._items[key] = stored
        self.changes.append(Change(self.version, kind, stored))
        return stored

    def make(self, kind: str, name: str, namespace: str | None = None, **content: Any) -> dict[str, Any]:
        """Store an object that the cluster itself makes. ``metadata`` in the content is added to its metadata."""
        metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **content.pop("metadata", {})}
        return self.put({"apiVersion": BY_NAME[kind].api_version, "kind": kind, "metadata": metadata, **content})

    def set_status(self, item: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
        """Give an object another status, if it differs."""
        return item if item.get("status") == status else self.put({**item, "status": status})

    def remove(self, item: dict[str, Any]) -> None:
        """Forget an object, if it is there."""
        gone = self._items.pop(key_of(item), None)
        if gone is not None:
            self.version += 1
            last = {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self.version)}}
            self.changes.append(Change(self.version, "DELETED", last))
