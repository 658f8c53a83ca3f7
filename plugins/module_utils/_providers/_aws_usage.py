# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The gateway's log in CloudWatch Logs, summed up by Logs Insights.

Limits and fields are those of the CloudWatch Logs API reference (StartQuery: 10,000 rows at most; GetQueryResults: the
states of a query). Insights finds the fields of a line by itself where the whole line is JSON.
"""

from __future__ import annotations

import time
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.budgetguard.techops.plugins.module_utils import _usage
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_objects import Names
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_session import AwsSession

STREAM_PREFIX = "gateway"
"""How the names of the gateway's log streams begin. The NIMs' own logs are in the same group."""

MOST_ROWS = 10_000
"""As many rows a query of Insights has at most."""

USUAL_DELAY = 60.0
"""Seconds from the end of a request to its line being found, if nothing else was seen."""

QUERY_SECONDS = 300.0
"""Seconds after which waiting for one query is given up. Most take a few seconds; AWS itself ends them after 60 min."""

_BUSY = ("LimitExceededException", "ThrottlingException")
_GOES_ON = ("Scheduled", "Running")
_BINS: t.Mapping[str, str] = {"hour": "1h", "day": "1d"}
_KEYS = "workstation, node, target, method, status"
_SINGLE = "@timestamp, @ingestionTime, seconds, bytes, request_bytes"

Row = t.Mapping[str, str]


class NoLogGroupError(ProviderError):
    """The log group is not there."""


class AwsUsage:
    """Reads the log of one account's and region's gateway."""

    def __init__(self, session: AwsSession, cluster: str) -> None:
        self._session = session
        self._names = Names(cluster, session.region)
        self._scanned = 0

    @classmethod
    def connect(cls, options: t.Mapping[str, t.Any]) -> AwsUsage:
        """Open a session with a module's options."""
        return cls(AwsSession(options), options["cluster"])

    def read(self, ask: _usage.Ask, now: float) -> _usage.Seen:
        """Ask three questions at once: what was used, what was used last, and what was used in the last minutes."""
        # Clients are made by one thread; boto3's sessions are not made for more.
        self._session.client("logs")
        with ThreadPoolExecutor(max_workers=3) as pool:
            groups = pool.submit(self._groups, ask.since, ask.until, ask.period)
            recent = pool.submit(self._requests, ask.recent_since, ask.until)
            used = pool.submit(self._last, ask.look_back_since, ask.until)
            try:
                found = (groups.result(), recent.result(), used.result())
            except NoLogGroupError as exc:
                return _usage.Seen(None, None, {}, problems=(str(exc),))
        return self._seen(now, *found)

    def _seen(
        self, now: float, groups: list[_usage.Group], rows: list[Row] | None, used: t.Sequence[Row]
    ) -> _usage.Seen:
        recent = None if rows is None else [item for item in map(_request, rows) if item is not None]
        delay = max((_delay(row) for row in rows or ()), default=None)
        problems = [] if recent is not None else [_usage.too_many("the last minutes")]
        return _usage.Seen(
            groups,
            recent,
            _usage.last_uses(map(_group, used)),
            first_line=min((_time(row["first_line"]) for row in used), default=None),
            newest_line=max((_time(row["last_line"]) for row in used), default=None),
            delay=delay,
            settled_until=now - max(USUAL_DELAY, delay or 0.0),
            bytes_scanned=self._scanned,
            problems=tuple(problems),
        )

    # ---- the questions -----------------------------------------------------------------------------------------------

    def _groups(self, since: float, until: float, period: str) -> list[_usage.Group]:
        length = f", bin({_BINS[period]}) as period" if period in _BINS else ""
        text = (
            "stats count(*) as requests, sum(seconds) as request_seconds, sum(bytes) as sent, "
            f"sum(request_bytes) as received, max(@timestamp) as last_line by {_KEYS}{length}"
        )
        rows = self._all(text, since, until)
        return [group for group in map(_group, t.cast("list[Row]", rows)) if group is not None]

    def _requests(self, since: float, until: float) -> list[Row] | None:
        text = f'filter method = "{_usage.WORK_METHOD}" | fields {_SINGLE}, {_KEYS}'
        return self._all(text, since, until, _usage.MOST_REQUESTS)

    def _last(self, since: float, until: float) -> list[Row]:
        """Ask also for lines that are no requests: they tell that the gateway logs."""
        text = (
            "stats count(*) as requests, min(@timestamp) as first_line, max(@timestamp) as last_line "
            "by node, method, status"
        )
        return t.cast("list[Row]", self._all(text, since, until, foreign=True))

    def _all(
        self, text: str, since: float, until: float, most: int | None = None, foreign: bool = False
    ) -> list[Row] | None:
        """Run a query, again for parts of the time where it has more rows than Insights returns."""
        return _usage.in_slices(
            lambda start, stop: self._query(_query(text, start, stop, foreign), start, stop),
            since,
            until,
            MOST_ROWS,
            most,
        )

    # ---- one query ---------------------------------------------------------------------------------------------------

    def _query(self, text: str, since: float, until: float) -> list[Row]:
        doing = f"read the gateway's log in {self._names.log_group}"
        started = self._session.call_until(
            QUERY_SECONDS,
            "logs",
            "start_query",
            doing,
            passing=_BUSY,
            missing=["ResourceNotFoundException"],
            logGroupNames=[self._names.log_group],
            startTime=int(since),
            endTime=int(until),
            queryString=text,
            limit=MOST_ROWS,
        )
        if started is None:
            raise NoLogGroupError(f"there is no log group {self._names.log_group}, so nothing is known")
        answer = self._finished(started["queryId"], doing)
        self._scanned += int(answer.get("statistics", {}).get("bytesScanned", 0))
        return [{item["field"]: item["value"] for item in row} for row in answer["results"]]

    def _finished(self, query: str, doing: str) -> dict[str, t.Any]:
        waited, pause = 0.0, 0.25
        while True:
            answer = self._session.call("logs", "get_query_results", doing, queryId=query)
            if answer["status"] == "Complete":
                return dict(answer)
            if answer["status"] not in _GOES_ON:
                raise ProviderError(f"cannot {doing}: the query ended as {answer['status']}")
            if waited >= QUERY_SECONDS:
                self._session.call("logs", "stop_query", doing, ["InvalidParameterException"], queryId=query)
                raise ProviderError(f"cannot {doing}: the query was not done after {QUERY_SECONDS:.0f} s")
            time.sleep(pause)
            waited += pause
            pause = min(pause * 1.5, 5.0)


def _query(text: str, since: float, until: float, foreign: bool) -> str:
    """Return the whole query. StartQuery knows whole seconds only and includes the last one, so times stand here."""
    asked = [
        f"@logStream like /^{STREAM_PREFIX}\\//",
        f"@timestamp >= {round(since * 1000)}",
        f"@timestamp < {round(until * 1000)}",
        *([] if foreign else ["ispresent(tsc)"]),
    ]
    return f"filter {' and '.join(asked)} | {text} | limit {MOST_ROWS}"


def _group(row: Row) -> _usage.Group | None:
    """Read a row of sums. None for lines that are no requests."""
    if not row.get("node") or not row.get("status"):
        return None
    return _usage.Group(
        row.get("workstation") or _usage.NOBODY,
        row["node"],
        row.get("target") or _usage.NOBODY,
        row.get("method") or _usage.NOBODY,
        int(float(row["status"])),
        int(float(row["requests"])),
        float(row.get("request_seconds") or 0),
        int(float(row.get("sent") or 0)),
        int(float(row.get("received") or 0)),
        _time(row["period"]) if row.get("period") else None,
        _time(row["last_line"]),
    )


def _request(row: Row) -> _usage.Request | None:
    fields: dict[str, t.Any] = {name: row.get(name) for name in ("workstation", "node", "target", "method")}
    try:
        numbers = {name: float(row[name]) for name in ("status", "seconds", "bytes", "request_bytes")}
    except (KeyError, ValueError):
        return None
    return _usage.request({**fields, **numbers, "tsc": ""}, ended=_time(row["@timestamp"]))


def _delay(row: Row) -> float:
    return max(0.0, _time(row["@ingestionTime"]) - _time(row["@timestamp"]))


def _time(text: str) -> float:
    """Read a time of Insights: milliseconds since 1970, or UTC without saying so. Raises ProviderError for another."""
    if text.replace(".", "", 1).isdigit():
        return float(text) / 1000
    found = _usage.moment(text)
    if found is None:
        raise ProviderError(f"CloudWatch Logs Insights tells a time as {text!r}, which is not known here")
    return found
