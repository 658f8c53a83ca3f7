# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google's Cloud Monitoring: the duty cycle of GPUs in containers, by ``timeSeries.list`` without aggregation.

Filters are equalities joined by ``AND``, of one type of metric and labels that this one has. Points are those that a
test has put here, the newest first, and as many a page as it says. All else is refused.
"""

from __future__ import annotations

import datetime
import re
from typing import Any

from werkzeug.wrappers import Request, Response

from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.container_logs import iso
from tests.sandbox.gcp.bodies import invalid
from tests.sandbox.gcp.oauth import GoogleAccount, GoogleOauth, check_permission, google_error
from tests.sandbox.gcp.quotas import check_project
from tests.sandbox.rest import ApiError, PathValues, RestService, Route, json_response

METRIC = "kubernetes.io/container/accelerator/duty_cycle"
RESOURCE = "k8s_container"
RESOURCE_LABELS = ("project_id", "location", "cluster_name", "namespace_name", "pod_name", "container_name")
METRIC_LABELS = ("make", "accelerator_id", "model")
PARAMETERS = frozenset(("filter", "interval.startTime", "interval.endTime", "view", "pageSize", "pageToken"))
NEEDED = ("filter", "interval.endTime", "view")
MOST_POINTS = 100_000
CHANGES = frozenset(("series", "page_points", "errors"))

Json = dict[str, Any]


class CloudMonitoring(RestService):
    """Answers ``/v3/projects/{project}/timeSeries``."""

    def __init__(
        self, account: GoogleAccount, oauth: GoogleOauth, calls: CallLog, interferences: Interferences
    ) -> None:
        self._account = account
        self._oauth = oauth
        self._series: list[Json] = []
        self._page_points = MOST_POINTS
        self._errors: list[Json] = []
        super().__init__("google-monitoring", calls, interferences)

    def routes(self) -> list[Route]:
        """Return the operations."""
        return [Route("GET", "/v3/projects/{project}/timeSeries", "timeSeries.list", self._list)]

    def handles(self, request: Request) -> bool:
        """Whether the path is one of time series."""
        return re.fullmatch(r"/v3/projects/[^/]+/timeSeries.*", request.path) is not None

    def check(self, request: Request, values: PathValues) -> None:
        """Refuse requests without a token of Google's, without the right, and about other projects."""
        who = self._oauth.check_google(request)
        check_project(self._account, values, "monitoring.timeSeries.list")
        check_permission(self._account, who, "monitoring.timeSeries.list", f"projects/{self._account.project}")

    def error_response(self, error: ApiError) -> Response:
        """Return an error as Google's APIs write it."""
        return google_error(error)

    def change(self, changes: Json) -> None:
        """Take other series, shorter pages or errors of the execution. Raises ValueError."""
        unknown = sorted(set(changes) - CHANGES)
        if unknown:
            raise ValueError(f"unknown field {unknown[0]!r}")
        for series in changes.get("series", []):
            wrong = set(series["labels"]) ^ {*RESOURCE_LABELS[1:], *METRIC_LABELS}
            if wrong:
                raise ValueError(f"labels that a series must have and no others: {sorted(wrong)}")
            if not all(isinstance(percent, int) and 0 <= percent <= 100 for _end, percent in series["points"]):
                raise ValueError("points are pairs of seconds and whole percents")
        self._series = changes.get("series", self._series)
        self._page_points = changes.get("page_points", self._page_points)
        self._errors = changes.get("errors", self._errors)

    def reset(self) -> None:
        """Forget all points."""
        self._series, self._page_points, self._errors = [], MOST_POINTS, []

    def _list(self, request: Request, _values: PathValues) -> Response:
        words = request.args
        unknown = sorted(set(words) - PARAMETERS)
        if unknown:
            raise invalid(f'Invalid JSON payload received. Unknown name "{unknown[0]}": Cannot find field.')
        missing = [name for name in NEEDED if name not in words]
        if missing:
            raise invalid(f"Field {missing[0]} had an invalid value: it is needed.")
        if words["view"] != "FULL":
            raise invalid(f"the sandbox knows the view FULL only, got {words['view']!r}")
        size = words.get("pageSize", str(MOST_POINTS))
        if not size.isdecimal() or not int(size):
            raise invalid("Field pageSize had an invalid value: it must be positive.")
        end = _moment("interval.endTime", words["interval.endTime"])
        start = _moment("interval.startTime", words.get("interval.startTime", words["interval.endTime"]))
        if start > end:
            raise invalid("Field interval had an invalid value: the start must not be after the end.")
        wanted = read_filter(words["filter"])
        rows = [
            (series["labels"], point)
            for series in self._series
            if all(self._label(series["labels"], name) == value for name, value in wanted.items())
            for point in sorted(series["points"], reverse=True)
            if start < point[0] <= end
        ]
        return json_response(self._page(rows, int(words.get("pageToken") or 0), min(int(size), self._page_points)))

    def _label(self, labels: Json, name: str) -> Any:
        return self._account.project if name == "project_id" else labels[name]

    def _page(self, rows: list[tuple[Json, Any]], first: int, size: int) -> Json:
        """Return so many points, those of one series together. One that is cut goes on in the next."""
        told: list[Json] = []
        before = None
        for labels, (end, percent) in rows[first : first + size]:
            if labels is not before:
                told.append(self._head(labels))
                before = labels
            moment = iso(end)
            interval = {"startTime": moment, "endTime": moment}
            told[-1]["points"].append({"interval": interval, "value": {"int64Value": str(percent)}})
        answer: Json = {"timeSeries": told} if told else {}
        if first + size < len(rows):
            answer["nextPageToken"] = str(first + size)
        if self._errors:
            answer["executionErrors"] = self._errors
        return answer

    def _head(self, labels: Json) -> Json:
        return {
            "metric": {"type": METRIC, "labels": {name: labels[name] for name in METRIC_LABELS}},
            "resource": {"type": RESOURCE, "labels": {name: self._label(labels, name) for name in RESOURCE_LABELS}},
            "metricKind": "GAUGE",
            "valueType": "INT64",
            "points": [],
        }


def _moment(name: str, text: str) -> float:
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", text):
        raise invalid(f"Invalid value at '{name}', Field '{name}', Invalid time format: {text!r}")
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def read_filter(text: str) -> dict[str, str]:
    """Return the labels that a filter asks for. Raises `ApiError` for what is not known here, and without a metric."""
    found: dict[str, str] = {}
    known = {
        "metric.type": METRIC,
        "resource.type": RESOURCE,
        **dict.fromkeys([f"resource.labels.{name}" for name in RESOURCE_LABELS]),
        **dict.fromkeys([f"metric.labels.{name}" for name in METRIC_LABELS]),
    }
    for part in text.split(" AND "):
        condition = re.fullmatch(r'([a-z0-9_.]+) = "([^"]+)"', part)
        if condition is None or condition[1] not in known or condition[1] in found:
            raise invalid(f"Field filter had an invalid value: the sandbox does not know the condition {part!r}")
        if known[condition[1]] not in (None, condition[2]):
            raise ApiError(404, "NOT_FOUND", f"Cannot find metric that matches type = {condition[2]!r}.")
        found[condition[1]] = condition[2]
    if "metric.type" not in found:
        raise invalid("Field filter had an invalid value: a metric.type must be named.")
    return {name.rpartition(".")[2]: value for name, value in found.items() if ".labels." in name}
