# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The gateway's log in Cloud Logging, where GKE puts what containers write.

``entries.list`` returns single lines and sums nothing up, at most 1,000 a page, and a project may ask for 60 pages a
minute (Google's page on quotas and limits of Cloud Logging). So the last use of a NIM that was not used in the time
that is read anyway costs one request each.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _usage
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_session import GcpSession

CONTAINER = "gateway"
PAGE_ROWS = 1000
PAGES_AT_ONCE = 50
"""So many pages are asked for without a pause."""

PAUSE = 1.2
"""Seconds between pages after that, so that the quota of 60 a minute is kept."""

USUAL_DELAY = 60.0
"""Seconds from the end of a request to its line being found, if nothing else was seen."""

_OLDEST, _NEWEST = "timestamp asc", "timestamp desc"

Entry = t.Mapping[str, t.Any]


class GcpUsage:
    """Reads the log of one GKE cluster's gateway."""

    def __init__(self, session: GcpSession, options: t.Mapping[str, t.Any]) -> None:
        self._session = session
        self._pages = 0
        labels = {
            "cluster_name": options["cluster"],
            "location": options["location"],
            "namespace_name": options["namespace"],
            "container_name": CONTAINER,
        }
        asked = [f'resource.labels.{name}="{_usage.plain_name(name, value)}"' for name, value in labels.items()]
        self._filter = ['resource.type="k8s_container"', *asked]

    @classmethod
    def connect(cls, options: t.Mapping[str, t.Any]) -> GcpUsage:
        """Open a session with a module's options."""
        if not options.get("location"):
            raise ValueError("location is not set; it is the zone or region of the GKE cluster")
        return cls(GcpSession(options), options)

    def read(self, ask: _usage.Ask, now: float) -> _usage.Seen:
        """Read the lines of the time that is asked for, and the newest line of each other NIM."""
        since = min(ask.since, ask.recent_since)
        entries = self._all(since, ask.until)
        found = [item for item in map(_request, entries) if item is not None]
        groups = _usage.group([item for item in found if item.ended >= ask.since], ask.period)
        recent = [item for item in found if item.ended >= ask.recent_since and item.is_use]
        last = {item.node: item.ended for item in sorted(found, key=lambda item: item.ended) if item.is_use}
        for node in sorted({_usage.node_name(node) for node in ask.nodes} - set(last)):
            older = self._newest(node, ask.look_back_since, since)
            if older is not None:
                last[node] = older.ended
        oldest = self._page(_between(ask.look_back_since, ask.until), _OLDEST, size=1).get("entries", [])
        delays = [_delay(entry) for entry in entries if (_written(entry) or 0.0) >= ask.recent_since]
        delay = max((value for value in delays if value is not None), default=None)
        return _usage.Seen(
            groups,
            recent,
            last,
            first_line=_written(oldest[0]) if oldest else None,
            newest_line=max((_written(entry) or 0.0 for entry in entries), default=None),
            delay=delay,
            settled_until=now - max(USUAL_DELAY, delay or 0.0),
        )

    def _all(self, since: float, until: float) -> list[Entry]:
        """Return all entries of a time. An entry is what the gateway wrote for a request."""
        conditions = [*_between(since, until), "jsonPayload.tsc:*"]
        entries: list[Entry] = []
        token = None
        while True:
            page = self._page(conditions, _OLDEST, token=token)
            entries += page.get("entries", [])
            token = page.get("nextPageToken")
            if not token:
                return entries

    def _newest(self, node: str, since: float, until: float) -> _usage.Request | None:
        """Return the last request that a NIM worked on."""
        refused = " OR ".join(
            f"jsonPayload.status={status}" for status in sorted({*_usage.REFUSED, _usage.NOT_RUNNING})
        )
        conditions = [
            *_between(since, until),
            f'jsonPayload.node="{node}"',
            f'jsonPayload.method="{_usage.WORK_METHOD}"',
            f"NOT ({refused})",
        ]
        entries = self._page(conditions, _NEWEST, size=1).get("entries", [])
        return _request(entries[0]) if entries else None

    def _page(
        self, conditions: t.Sequence[str], order: str, token: str | None = None, size: int | None = None
    ) -> dict[str, t.Any]:
        if self._pages >= PAGES_AT_ONCE:
            time.sleep(PAUSE)
        self._pages += 1
        request: dict[str, t.Any] = {
            "resourceNames": [f"projects/{self._session.project}"],
            "filter": " AND ".join([*self._filter, *conditions]),
            "orderBy": order,
            "pageSize": size or PAGE_ROWS,
        }
        if token:
            request["pageToken"] = token
        return self._session.log_entries("read the gateway's log in Cloud Logging", request)


def _between(since: float, until: float) -> list[str]:
    """Return the condition for a time, half-open. Google compares with what the gateway wrote as ``time``."""
    return [f'timestamp>="{_usage.exact(since)}"', f'timestamp<"{_usage.exact(until)}"']


def _request(entry: Entry) -> _usage.Request | None:
    """Read an entry. GKE takes ``time`` out of the line and makes it the entry's own time."""
    payload = entry.get("jsonPayload")
    if not isinstance(payload, dict):
        return None
    return _usage.request(payload, ended=_usage.moment(payload.get("time") or entry.get("timestamp")))


def _written(entry: Entry) -> float | None:
    return _usage.moment(entry.get("timestamp"))


def _delay(entry: Entry) -> float | None:
    written, received = _written(entry), _usage.moment(entry.get("receiveTimestamp"))
    return None if written is None or received is None else max(0.0, received - written)
