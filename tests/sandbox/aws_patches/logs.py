# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CloudWatch Logs Insights, as far as the commands ``filter``, ``fields``, ``stats`` and ``limit`` go."""

from __future__ import annotations

import datetime
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from moto.logs.models import LogEvent, LogGroup, LogQuery, LogsBackend, logs_backends
from moto.logs.responses import LogsResponse

from tests.sandbox.aws_patches.patching import adds, aws_error, patches
from tests.sandbox.container_logs import time_of
from tests.sandbox.state import ACCOUNT_ID

Event = dict[str, Any]
Row = dict[str, str]

#: More rows than this no query returns, whatever it says.
MOST_ROWS = 10_000
BINS = {"m": 60, "h": 3600, "d": 86400}
NAME = r"@?[A-Za-z_][A-Za-z0-9_]*"
NUMBERS = re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?")


def write_gateway_lines(cluster: str, container: str, lines: Iterable[str], delay_seconds: float) -> None:
    """Write lines into a cluster's log group as Docker's driver would have done it, each at the time that it names.

    Raises ValueError if there is no such log group.
    """
    name = f"/budgetguard/{cluster}"
    region = next((key for key, backend in logs_backends[ACCOUNT_ID].items() if name in backend.groups), None)
    if region is None:
        raise ValueError(f"there is no log group {name}")
    write_lines(region, name, f"gateway/{container}/{'0' * 32}", lines, delay_seconds=delay_seconds)


def write_lines(
    region: str, group: str, stream: str, lines: Iterable[str], now: float | None = None, delay_seconds: float = 0.0
) -> None:
    """Write lines into a log group that is there. One that says no time is of ``now``."""
    backend = logs_backends[ACCOUNT_ID][region]
    backend.ensure_log_stream(group, stream)
    for line in lines:
        moment = round((time_of(line) or now or time.time()) * 1000)
        event = LogEvent(moment + round(delay_seconds * 1000), {"timestamp": moment, "message": line})
        backend.groups[group].streams[stream].events.append(event)


@patches(LogsBackend, "start_query")
def start_query(
    original: Any, self: LogsBackend, log_group_names: list[str], start_time: int, end_time: int, query_string: str
) -> str:
    """Start a query.

    AWS: refuses one that it cannot read with MalformedQueryException.
    moto: takes everything, and knows ``fields``, ``sort`` and ``limit`` alone.
    """
    for command in query_string.split("|"):
        read_command(command.strip())
    answer: str = original(self, log_group_names, start_time, end_time, query_string)
    return answer


@patches(LogQuery, "__init__")
def new_query(
    original: Any,
    self: LogQuery,
    query_id: str,
    start_time: int,
    end_time: int,
    query: str,
    log_groups: list[LogGroup],
) -> None:
    """Compute what a query finds. It is seen running once before it is complete."""
    original(self, query_id, start_time, end_time, "fields @message | limit 1", [])
    self.query = query
    self.log_group_names = [group.name for group in log_groups]
    events = [event for group in log_groups for event in _events(group, start_time, end_time)]
    rows: list[Any] = events
    for command in query.split("|"):
        rows = list(read_command(command.strip())(rows))
    self.results = rows[:MOST_ROWS]
    vars(self)["scanned"] = sum(len(event["@message"]) for event in events)
    self.status = "Running"


@adds(LogsResponse, "stop_query")
def stop_query(self: LogsResponse) -> str:
    """End a query before it is complete.

    AWS: refuses it for one that has ended, with InvalidParameterException.
    moto: does not know the call.
    """
    query: LogQuery | None = self.logs_backend.queries.get(self._get_param("queryId"))
    if query is None:
        raise aws_error("ResourceNotFoundException", "The specified query does not exist.")
    if query.status != "Running":
        raise aws_error("InvalidParameterException", "The query has already ended")
    query.status = "Cancelled"
    return json.dumps({"success": True})


@patches(LogQuery, "to_result_json")
def to_result_json(original: Any, self: LogQuery) -> dict[str, Any]:
    """Return a query's state, and what it found once it is complete.

    AWS: leaves fields out that a row does not have, and tells what was read.
    moto: is complete at once, and has no statistics.
    """
    if self.status == "Running":
        self.status = "Complete"
        return {"results": [], "status": "Running", "statistics": {}}
    answer: dict[str, Any] = original(self)
    scanned = float(vars(self)["scanned"])
    return {**answer, "statistics": {"bytesScanned": scanned, "recordsMatched": float(len(self.results))}}


def read_command(text: str) -> Callable[[Iterable[Any]], Iterable[Any]]:
    """Return what a command does with rows. Raises MalformedQueryException for all that is not known here."""
    name, _space, rest = text.partition(" ")
    if name == "limit" and rest.isdigit() and 1 <= int(rest) <= MOST_ROWS:
        return lambda rows: list(rows)[: int(rest)]
    readers: dict[str, Callable[[str], Callable[[Iterable[Any]], Iterable[Any]]]] = {
        "fields": _fields,
        "filter": _filter,
        "stats": _stats,
    }
    if name not in readers:
        raise _malformed(text)
    return readers[name](rest)


def _malformed(text: str) -> Exception:
    return aws_error("MalformedQueryException", f"unexpected symbol found: the sandbox does not know {text!r}")


def _events(group: LogGroup, since: int, until: int) -> Iterator[Event]:
    """Return the events of a time, which includes the whole last second, with the fields that AWS finds in JSON."""
    for stream in group.streams.values():
        for event in stream.events:
            if not since * 1000 <= event.timestamp < (until + 1) * 1000:
                continue
            found = {
                "@timestamp": event.timestamp,
                "@ingestionTime": event.ingestion_time,
                "@logStream": stream.log_stream_name,
                "@message": event.message,
            }
            yield {**_discovered(event.message), **found}


def _discovered(message: str) -> Event:
    try:
        value = json.loads(message)
    except ValueError:
        return {}
    return {name: item for name, item in value.items() if item is not None} if isinstance(value, dict) else {}


def _shown(name: str, value: Any) -> str:
    return _timestamp(value) if name == "@timestamp" else str(value)


def _timestamp(milliseconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{int(milliseconds) % 1000:03}"


def _fields(text: str) -> Callable[[Iterable[Event]], Iterable[Row]]:
    names = [name.strip() for name in text.split(",")]
    if not all(re.fullmatch(NAME, name) for name in names):
        raise _malformed(text)
    return lambda rows: [{name: _shown(name, row[name]) for name in names if name in row} for row in rows]


def _filter(text: str) -> Callable[[Iterable[Event]], Iterable[Event]]:
    tests = [_test(part) for part in text.split(" and ")]
    return lambda rows: [row for row in rows if all(test(row) for test in tests)]


def _test(text: str) -> Callable[[Event], bool]:
    if found := re.fullmatch(rf"ispresent\(({NAME})\)", text):
        name = found[1]
        return lambda row: name in row
    if found := re.fullmatch(rf"({NAME}) like /(.+)/", text):
        like, pattern = found[1], re.compile(found[2].replace("\\/", "/"))
        return lambda row: pattern.search(str(row.get(like, ""))) is not None
    if found := re.fullmatch(rf'({NAME}) = "([^"]*)"', text):
        equal, value = found[1], found[2]
        return lambda row: str(row.get(equal)) == value
    if found := re.fullmatch(rf"({NAME}) (>=|<) (\d+)", text):
        compared, sign, number = found[1], found[2], int(found[3])
        return lambda row: compared in row and (row[compared] >= number if sign == ">=" else row[compared] < number)
    raise _malformed(text)


def _stats(text: str) -> Callable[[Iterable[Event]], Iterable[Row]]:
    wanted, _by, keys = text.partition(" by ")
    sums = [_aggregate(part.strip()) for part in wanted.split(",")]
    names = [_key(part.strip()) for part in keys.split(",")] if keys else []

    def run(rows: Iterable[Event]) -> Iterator[Row]:
        groups: dict[tuple[str | None, ...], list[Event]] = {}
        for row in rows:
            groups.setdefault(tuple(key(row) for _name, key in names), []).append(row)
        for values, members in groups.items():
            told = {name: value for (name, _key), value in zip(names, values, strict=True) if value is not None}
            for name, total in sums:
                value = total(members)
                if value is not None:
                    told[name] = str(value)
            yield told

    return run


def _key(text: str) -> tuple[str, Callable[[Event], str | None]]:
    if found := re.fullmatch(r"bin\((\d+)([mhd])\) as ([a-z_]+)", text):
        length = int(found[1]) * BINS[found[2]] * 1000
        return found[3], lambda row: _timestamp(row["@timestamp"] // length * length)
    if not re.fullmatch(NAME, text):
        raise _malformed(text)
    return text, lambda row: str(row[text]) if text in row else None


def _aggregate(text: str) -> tuple[str, Callable[[list[Event]], Any]]:
    if found := re.fullmatch(r"count\(\*\) as ([a-z_]+)", text):
        return found[1], len
    if found := re.fullmatch(rf"(sum|min|max)\(({NAME})( - ({NAME}))?\) as ([a-z_]+)", text):
        kind, name, less = found[1], found[2], found[4]
        totals: dict[str, Callable[[list[float]], float]] = {"sum": sum, "min": min, "max": max}
        total = totals[kind]

        def run(rows: list[Event]) -> float | None:
            values = [_number(row, name) for row in rows]
            if less:
                values = [
                    None if value is None or other is None else value - other
                    for value, other in zip(values, [_number(row, less) for row in rows], strict=True)
                ]
            known = [value for value in values if value is not None]
            return total(known) if known else None

        return found[5], run
    raise _malformed(text)


def _number(row: Event, name: str) -> float | None:
    value = row.get(name)
    if isinstance(value, bool) or not NUMBERS.fullmatch(str(value)):
        return None
    return float(value) if isinstance(value, str) else value
