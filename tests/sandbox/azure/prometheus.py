# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An Azure Monitor workspace with Prometheus metrics: how busy GPUs are, by ``/api/v1/query_range``.

Of PromQL there is ``max by (...) (max_over_time(METRIC{...}[...]))`` with equal labels. Samples are those that a test
has put here. Limits, errors and times are Prometheus's own and those of Microsoft's page on the API.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

from werkzeug.wrappers import Request, Response

from tests.sandbox.azure.entra import Entra
from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.rest import ApiError, PathValues, RestService, Route, json_response

AUDIENCE = "https://prometheus.monitor.azure.com"
METRIC = "DCGM_FI_DEV_GPU_UTIL"
FIELDS = ("query", "start", "end", "step")
CHANGES = frozenset(("series", "warnings"))
LONGEST_SECONDS = 32 * 86400
MOST_POINTS = 11_000

_LABEL = r"[a-zA-Z_][a-zA-Z0-9_]*"
_MATCHER = rf'{_LABEL}="(?:[^"\\\n]|\\["\\n])*"'
_QUERY = re.compile(
    rf"max by \((?P<by>{_LABEL}(?:, {_LABEL})*)\) "
    rf"\(max_over_time\((?P<metric>\w+)\{{(?P<matchers>{_MATCHER}(?:,{_MATCHER})*)\}}\[(?P<range>[1-9]\d*)s\]\)\)"
)

Json = dict[str, Any]


class Query(NamedTuple):
    """What a query asks for."""

    by: tuple[str, ...]
    labels: dict[str, str]
    seconds: int


class ManagedPrometheus(RestService):
    """Answers ``/api/v1/query_range``."""

    def __init__(self, entra: Entra, calls: CallLog, interferences: Interferences) -> None:
        self._entra = entra
        self._series: list[Json] = []
        self._warnings: list[str] = []
        super().__init__("azure-prometheus", calls, interferences)

    def routes(self) -> list[Route]:
        """Return the operations."""
        return [Route("POST", "/api/v1/query_range", "query_range", self._run)]

    def handles(self, request: Request) -> bool:
        """Whether the path is below Prometheus's own, known or not."""
        return request.path.startswith("/api/v1/query")

    def check(self, request: Request, values: PathValues) -> None:
        """Refuse requests without a token for this very service, and those of workstations."""
        who = self._entra.check_audience(request, (AUDIENCE,))
        if who is not None:
            raise ApiError(
                403,
                "Forbidden",
                f"User '{who}' does not have access to perform any of the following actions "
                "'microsoft.monitor/accounts/data/metrics/read'",
            )

    def error_response(self, error: ApiError) -> Response:
        """Return an error as Prometheus writes it."""
        return json_response({"status": "error", "errorType": error.code, "error": error.message}, error.status)

    def change(self, changes: Json) -> None:
        """Take other series or warnings. Raises ValueError."""
        unknown = sorted(set(changes) - CHANGES)
        if unknown:
            raise ValueError(f"unknown field {unknown[0]!r}")
        for series in changes.get("series", []):
            if not {"cluster", "UUID"} <= set(series["labels"]):
                raise ValueError("a series has at least the labels cluster and UUID")
        self._series = changes.get("series", self._series)
        self._warnings = changes.get("warnings", self._warnings)

    def reset(self) -> None:
        """Forget all samples."""
        self._series, self._warnings = [], []

    def _run(self, request: Request, _values: PathValues) -> Response:
        if request.mimetype != "application/x-www-form-urlencoded":
            raise bad_data(f"the sandbox takes a form, got {request.mimetype!r}")
        form = request.form
        if sorted(form) != sorted(FIELDS):
            raise bad_data(f"the fields are {', '.join(FIELDS)}, got {', '.join(form)}")
        start, end, step = (_number(name, form[name]) for name in ("start", "end", "step"))
        query = read_query(form["query"])
        if end < start:
            raise bad_data('invalid parameter "end": end timestamp must not be before start time')
        if not step:
            raise bad_data('invalid parameter "step": zero or negative query resolution step widths are not accepted')
        if (end - start) / step > MOST_POINTS:
            raise bad_data("exceeded maximum resolution of 11,000 points per timeseries.")
        if end - start + query.seconds > LONGEST_SECONDS:
            raise bad_data("the time range, that of the selector with it, is longer than 32 days")
        groups: dict[tuple[str, ...], dict[float, float]] = {}
        for series in self._series:
            labels = series["labels"]
            if any(labels.get(name, "") != value for name, value in query.labels.items()):
                continue
            points = groups.setdefault(tuple(labels.get(name, "") for name in query.by), {})
            for time, value in _over_time(series["points"], start, end, step, query.seconds).items():
                points[time] = max(value, points.get(time, -math.inf))
        return json_response(self._matrix(query.by, groups))

    def _matrix(self, by: tuple[str, ...], groups: dict[tuple[str, ...], dict[float, float]]) -> Json:
        result = [
            {
                "metric": {name: value for name, value in zip(by, values, strict=True) if value},
                "values": [[time, f"{value:g}"] for time, value in sorted(points.items())],
            }
            for values, points in groups.items()
            if points
        ]
        answer: Json = {"status": "success", "data": {"resultType": "matrix", "result": result}}
        return {**answer, "warnings": self._warnings} if self._warnings else answer


def _over_time(points: list[list[float]], start: float, end: float, step: float, seconds: int) -> dict[float, float]:
    """Return the greatest value of the seconds before each time, their beginning not included."""
    found: dict[float, float] = {}
    for moment, value in points:
        first = max(0, math.ceil((moment - start) / step))
        last = min(math.floor((end - start) / step), math.ceil((moment + seconds - start) / step) - 1)
        for number in range(first, last + 1):
            time = start + number * step
            found[time] = max(value, found.get(time, -math.inf))
    return found


def bad_data(message: str) -> ApiError:
    """Return Prometheus's word for a request that is wrong."""
    return ApiError(400, "bad_data", message)


def _number(name: str, text: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise bad_data(f'invalid parameter "{name}": cannot parse "{text}" to a valid number in the sandbox')
    return float(text)


def read_query(text: str) -> Query:
    """Return what a query asks for. Raises `ApiError` for one that is not known here."""
    found = _QUERY.fullmatch(text)
    if found is None:
        raise bad_data(f'invalid parameter "query": the sandbox does not know {text!r}')
    if found["metric"] != METRIC:
        raise bad_data(f"the sandbox has the metric {METRIC} only, got {found['metric']}")
    matchers = re.findall(rf'({_LABEL})="((?:[^"\\\n]|\\["\\n])*)"', found["matchers"])
    labels = {name: re.sub(r"\\(.)", lambda one: {"n": "\n"}.get(one[1], one[1]), value) for name, value in matchers}
    if len(labels) != len(matchers):
        raise bad_data("the sandbox takes each label once")
    return Query(tuple(found["by"].split(", ")), labels, int(found["range"]))
