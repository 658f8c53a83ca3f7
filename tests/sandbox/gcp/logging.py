# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google's Cloud Logging: what the containers of all GKE clusters wrote, by ``entries:list`` alone.

Filters are conditions joined by ``AND``: equality of a field, a time at or after or before, presence, and one negated
list of alternatives. Everything else is refused.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable
from typing import Any

from werkzeug.wrappers import Request, Response

from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.container_logs import ContainerLine, ContainerLogs, iso, json_of
from tests.sandbox.gcp.oauth import GoogleAccount, GoogleOauth, google_error
from tests.sandbox.rest import ApiError, PathValues, RestService, Route, json_response

Entry = dict[str, Any]

MOST_ROWS = 1000
FIELDS = frozenset(("resourceNames", "filter", "orderBy", "pageSize", "pageToken"))
ORDERS = {"timestamp asc": False, "timestamp desc": True}
FIELD = r"[A-Za-z_.]+"


class CloudLogging(RestService):
    """Answers ``/v2/entries:list``. ``clusters`` returns name and location of each GKE cluster, by its id."""

    def __init__(
        self,
        account: GoogleAccount,
        oauth: GoogleOauth,
        logs: ContainerLogs,
        clusters: Callable[[], dict[str, tuple[str, str]]],
        calls: CallLog,
        interferences: Interferences,
    ) -> None:
        self._account = account
        self._oauth = oauth
        self._logs = logs
        self._clusters = clusters
        super().__init__("google-logging", calls, interferences)

    def routes(self) -> list[Route]:
        """Return the operations."""
        return [Route("POST", "/v2/entries:list", "entries.list", self._list)]

    def handles(self, request: Request) -> bool:
        """Whether the path is one of Cloud Logging, known or not."""
        return request.path.startswith("/v2/entries")

    def check(self, request: Request, values: PathValues) -> None:
        """Refuse requests without a token of Google's."""
        self._oauth.check_google(request)

    def error_response(self, error: ApiError) -> Response:
        """Return an error as Google's APIs write it."""
        return google_error(error)

    def _list(self, request: Request, _values: PathValues) -> Response:
        body = json.loads(request.get_data(as_text=True))
        unknown = sorted(set(body) - FIELDS)
        if unknown:
            raise _invalid(f'Invalid JSON payload received. Unknown name "{unknown[0]}": Cannot find field.')
        if body.get("resourceNames") != [f"projects/{self._account.project}"]:
            raise ApiError(403, "PERMISSION_DENIED", "The caller does not have permission")
        size = body.get("pageSize", 50)
        if not isinstance(size, int) or not 1 <= size <= MOST_ROWS:
            raise _invalid("page_size must be from 1 to 1000")
        if body.get("orderBy", "timestamp asc") not in ORDERS:
            raise _invalid("order_by must be timestamp asc or timestamp desc")
        tests = [read_condition(part) for part in re.split(r" AND (?![^(]*\))", body.get("filter", ""))]
        entries = [entry for entry in self._entries() if all(test(entry) for test in tests)]
        if ORDERS[body.get("orderBy", "timestamp asc")]:
            entries.reverse()
        start = int(body.get("pageToken") or 0)
        answer: dict[str, Any] = {}
        if entries[start : start + size]:
            answer["entries"] = entries[start : start + size]
        if start + size < len(entries):
            answer["nextPageToken"] = str(start + size)
        return json_response(answer)

    def _entries(self) -> list[Entry]:
        clusters = self._clusters()
        return [self._entry(line, *clusters[line.cluster_id]) for line in self._logs.of(set(clusters))]

    def _entry(self, line: ContainerLine, cluster: str, location: str) -> Entry:
        """Return a line as GKE keeps it: of one that is JSON, ``time`` becomes the time of the entry itself."""
        labels = {
            "project_id": self._account.project,
            "cluster_name": cluster,
            "location": location,
            "namespace_name": line.namespace,
            "pod_name": line.pod,
            "container_name": line.container,
        }
        value = json_of(line.text)
        payload: Entry = {"textPayload": line.text}
        if value is not None:
            value.pop("time", None)
            payload = {"jsonPayload": value}
        return {
            "logName": f"projects/{self._account.project}/logs/stdout",
            "resource": {"type": "k8s_container", "labels": labels},
            "timestamp": iso(line.written),
            "receiveTimestamp": iso(line.received),
            **payload,
        }


def _invalid(message: str) -> ApiError:
    return ApiError(400, "INVALID_ARGUMENT", message)


def read_condition(text: str) -> Callable[[Entry], bool]:
    """Return a condition of a filter. Raises `ApiError` for one that is not known here."""
    if found := re.fullmatch(r'timestamp(>=|<)"([^"]+)"', text):
        limit = datetime.datetime.fromisoformat(found[2].replace("Z", "+00:00"))
        later = found[1] == ">="

        def compare(entry: Entry) -> bool:
            moment = datetime.datetime.fromisoformat(entry["timestamp"].replace("Z", "+00:00"))
            return moment >= limit if later else moment < limit

        return compare
    if found := re.fullmatch(rf'({FIELD})="([^"]*)"', text):
        field, wanted = found.groups()
        return lambda entry: _field(entry, field) == wanted
    if found := re.fullmatch(rf"({FIELD})=(\d+)", text):
        field, number = found[1], float(found[2])
        return lambda entry: _field(entry, field) == number
    if found := re.fullmatch(rf"({FIELD}):\*", text):
        present = found[1]
        return lambda entry: _field(entry, present) is not None
    if found := re.fullmatch(r"NOT \((.+)\)", text):
        tests = [read_condition(part) for part in found[1].split(" OR ")]
        return lambda entry: not any(test(entry) for test in tests)
    raise _invalid(f"the sandbox does not know the condition {text!r}")


def _field(entry: Entry, path: str) -> Any:
    value: Any = entry
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
