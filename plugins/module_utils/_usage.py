# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Who used which NIM, from the lines that the gateway logs. Pure.

The gateway writes one JSON object a line when a request has ended. A request that still runs has no line, so a NIM may
have been busy for a quarter of an hour before the log says so.

What is not known is None and never 0: no line means no use only where it is known that lines would have been there.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _usage_metrics

NOBODY = "-"
"""What stands in a line for a workstation, node or target that is not known."""

WORK_METHOD = "POST"
"""Work is asked for with POST. Whoever sends GET looks whether a NIM is there, which is no use of it."""

REFUSED = frozenset({401, 403, 429})
"""The gateway let these requests not through: no token, a revoked one, too many at a time."""

NOT_RUNNING = 503
"""There was no NIM to do the work."""

LOG = "gateway_log"
"""What use is known from, if it is the gateway's log."""

PERIODS: t.Mapping[str, int | None] = {"none": None, "hour": 3600, "day": 86400}
"""Seconds of the periods, in UTC, by which sums can be divided."""

MOST_REQUESTS = 100_000
"""More requests than this are not put in memory to find out how long a NIM was busy."""

SHORTEST_SLICE = 1.0
"""Seconds of a log that are not divided any further."""

Row = t.TypeVar("Row")
Fetch = t.Callable[[float, float], "t.Sequence[Row]"]

_NUMBER_FIELDS = ("seconds", "bytes", "request_bytes")
_PLAIN = re.compile(r"[a-z0-9-]{1,63}")
_AGO = re.compile(r"(\d+)\s*([mhdw])")
_AGO_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@dataclasses.dataclass(frozen=True)
class Request:
    """One request that has ended. Times are seconds since 1970."""

    ended: float
    seconds: float
    workstation: str
    node: str
    target: str
    method: str
    status: int
    bytes: int
    request_bytes: int

    @property
    def is_use(self) -> bool:
        """Whether a NIM worked on this."""
        return _is_use(self.method, self.status)


@dataclasses.dataclass(frozen=True)
class Group:
    """Requests that have the same of everything that is asked for, summed up. ``start`` is that of the period."""

    workstation: str
    node: str
    target: str
    method: str
    status: int
    requests: int
    seconds: float = 0.0
    bytes: int = 0
    request_bytes: int = 0
    start: float | None = None
    last: float | None = None

    @property
    def is_use(self) -> bool:
        """Whether a NIM worked on these."""
        return _is_use(self.method, self.status)


def _is_use(method: str, status: int) -> bool:
    return method == WORK_METHOD and status not in REFUSED and status != NOT_RUNNING


@dataclasses.dataclass(frozen=True)
class Ask:
    """What is to be told. Times are seconds since 1970, ``since`` included and ``until`` not.

    ``nodes`` are to be told also if no line names them.
    """

    since: float
    until: float
    period: str = "day"
    recent_minutes: int = 60
    look_back_days: int = 14
    nodes: tuple[str, ...] = ()

    @property
    def recent_since(self) -> float:
        """The beginning of the last minutes."""
        return self.until - 60 * self.recent_minutes

    @property
    def look_back_since(self) -> float:
        """How far back the last use of a NIM is looked for."""
        return min(self.since, self.recent_since, self.until - 86400 * self.look_back_days)


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a log tells. ``groups`` and ``recent`` are None where it could not be read, ``problems`` say why.

    ``last_use`` is for each node that was used since ``Ask.look_back_since``. ``first_line`` is when the log began, as
    far back as was looked; ``settled_until`` is the moment up to which no more lines are to be expected.
    """

    groups: t.Sequence[Group] | None
    recent: t.Sequence[Request] | None
    last_use: t.Mapping[str, float]
    first_line: float | None = None
    newest_line: float | None = None
    delay: float | None = None
    settled_until: float | None = None
    bytes_scanned: int | None = None
    problems: tuple[str, ...] = ()


# ---- lines -----------------------------------------------------------------------------------------------------------


def parse(line: str) -> Request | None:
    """Read one line. None for one that the gateway did not write for a request, or that is torn."""
    value = _object(line)
    if value is not None and isinstance(value.get("log"), str) and "stream" in value:
        # Docker's own log files have each line in an object of theirs.
        value = _object(value["log"])
    return None if value is None else request(value)


def request(value: t.Mapping[str, t.Any], ended: float | None = None) -> Request | None:
    """Read the fields of one line. None if they are not those of a request.

    ``ended`` stands in for ``time``, which some log services take out of what they keep.
    """
    if ended is None:
        ended = moment(value.get("time"))
    status = value.get("status")
    numbers = [value.get(name) for name in _NUMBER_FIELDS]
    words = [value.get(name) for name in ("workstation", "node", "target", "method")]
    if ended is None or not _is_number(status) or "tsc" not in value:
        return None
    if not all(map(_is_number, numbers)) or not all(isinstance(word, str) for word in words):
        return None
    seconds, sent, received = (max(0.0, float(t.cast(float, number))) for number in numbers)
    workstation, node, target, method = (str(word) or NOBODY for word in words)
    return Request(
        ended,
        seconds,
        workstation,
        node,
        target,
        method,
        int(t.cast(int, status)),
        int(sent),
        int(received),
    )


def _object(text: str) -> dict[str, t.Any] | None:
    text = text.strip()
    if not text.startswith("{"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _is_number(value: t.Any) -> bool:
    # NaN and Infinity are no JSON, but Python reads them.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e18


def group(requests: t.Iterable[Request], period: str = "none") -> list[Group]:
    """Sum requests up as the log services do it."""
    length = PERIODS[period]
    sums: dict[tuple[str, str, str, str, int, float | None], list[float]] = {}
    for item in requests:
        start = None if length is None else item.ended // length * length
        key = (item.workstation, item.node, item.target, item.method, item.status, start)
        entry = sums.setdefault(key, [0, 0.0, 0, 0, item.ended])
        entry[0] += 1
        entry[1] += item.seconds
        entry[2] += item.bytes
        entry[3] += item.request_bytes
        entry[4] = max(entry[4], item.ended)
    return [
        Group(
            *key[:5],
            requests=int(count),
            seconds=seconds,
            bytes=int(sent),
            request_bytes=int(received),
            start=key[5],
            last=last,
        )
        for key, (count, seconds, sent, received, last) in sums.items()
    ]


def last_uses(groups: t.Iterable[Group | None]) -> dict[str, float]:
    """Return when each NIM worked last, by its name in the log."""
    last: dict[str, float] = {}
    for item in groups:
        if item is not None and item.is_use and item.last is not None:
            last[item.node] = max(last.get(item.node, 0.0), item.last)
    return last


def busy_seconds(requests: t.Iterable[Request], since: float, until: float) -> float:
    """Return for how long at least one of the requests was worked on; time that two share counts once."""
    spans = sorted((max(since, item.ended - item.seconds), min(until, item.ended)) for item in requests)
    busy, end = 0.0, since
    for start, stop in spans:
        if stop > end:
            busy += stop - max(start, end)
            end = stop
    return busy


def in_slices(fetch: Fetch[Row], since: float, until: float, limit: int, most: int | None = None) -> list[Row] | None:
    """Return all rows of a log that gives at most ``limit`` at a time, by asking for ever shorter times.

    None if there are more than ``most``. Raises ValueError where even the shortest time has too many.
    """
    rows: list[Row] = []
    waiting = [(since, until)]
    while waiting:
        start, stop = waiting.pop()
        found = fetch(start, stop)
        if len(found) < limit:
            rows.extend(found)
        elif most is not None and len(rows) + len(found) > most:
            return None
        elif stop - start <= SHORTEST_SLICE:
            raise ValueError(f"more than {limit} rows in the second from {iso(start)}")
        else:
            middle = start + (stop - start) / 2
            waiting += [(middle, stop), (start, middle)]
    return rows


# ---- times -----------------------------------------------------------------------------------------------------------


def moment(value: t.Any) -> float | None:
    """Return seconds since 1970 of a time in ISO 8601; None for what is none. Without a zone it is UTC."""
    if not isinstance(value, str):
        return None
    # Before Python 3.11 fromisoformat knows neither the Z nor fractions of other lengths than 3 and 6.
    text = re.sub(r"\.(\d{1,9})", lambda found: f".{found[1][:6]:0<6}", value.strip()).replace("Z", "+00:00")
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=datetime.timezone.utc)).timestamp()


def iso(seconds: float | None) -> str | None:
    """Return a moment as the collection writes it. None stays None."""
    if seconds is None:
        return None
    found = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return found.strftime("%Y-%m-%dT%H:%M:%SZ")


def exact(seconds: float) -> str:
    """Return a moment with milliseconds, for queries."""
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    return f"{(iso(whole) or '')[:-1]}.{thousandths:03}Z"


def point(name: str, text: str, now: float) -> float:
    """Return the moment that an option means: ``24h``, ``7d`` and the like ago, or a time. Raises ValueError."""
    ago = _AGO.fullmatch(text.strip())
    if ago:
        return now - int(ago[1]) * _AGO_SECONDS[ago[2]]
    found = moment(text)
    if found is None:
        raise ValueError(
            f"{name} is {text!r}; it must be so many minutes, hours, days or weeks ago, as 90m, 24h, 7d or 2w, or a "
            "time in UTC, as 2026-11-01 or 2026-11-01T18:00:00Z"
        )
    return found


def node_name(name: str) -> str:
    """Return a NIM as the log names it: ``nim-flux-dev-l40s`` is ``flux-dev-l40s``."""
    return name[4:] if name.startswith("nim-") else name


def plain_name(name: str, value: str) -> str:
    """Return a name as it may stand in a query. Raises ValueError for one that would not be a name there."""
    if not _PLAIN.fullmatch(value):
        raise ValueError(f"{name} is {value!r}; it must be 1 to 63 lower-case letters, digits and hyphens")
    return value


def too_many(what: str) -> str:
    """Say that a log has too many lines to find out how long NIMs were busy."""
    return f"{what} have more than {MOST_REQUESTS} requests, so busy seconds were not counted"


# ---- the report ------------------------------------------------------------------------------------------------------


def is_unbroken(seen: Seen) -> bool:
    """Whether nothing is missing from the log since it began."""
    return seen.groups is not None and seen.first_line is not None and not seen.problems


def report(
    ask: Ask, seen: Seen, counted: t.Mapping[str, _usage_metrics.Counted] | None = None, problem: str | None = None
) -> dict[str, t.Any]:
    """Put together what was asked for.

    ``counted`` is what a cloud's metrics tell of NIMs, by their names in the log. It counts where the log tells
    nothing. ``problem`` is why it is missing.
    """
    covers = seen.groups is not None and seen.first_line is not None and seen.first_line <= ask.since
    problems = [*seen.problems, *([problem] if problem else [])]
    if seen.groups is not None and seen.first_line is None:
        problems.append("the gateway has written no line as far back as was looked, so whether it logs is not known")
    elif seen.groups is not None and not covers:
        problems.append(f"the log begins at {iso(seen.first_line)}; what was before is not known")
    return {
        "since": iso(ask.since),
        "until": iso(ask.until),
        "log": {
            "known": seen.groups is not None and seen.first_line is not None,
            "complete": covers and not seen.problems,
            "unbroken": is_unbroken(seen),
            "first_line_at": iso(seen.first_line),
            "newest_line_at": iso(seen.newest_line),
            "delay_seconds": None if seen.delay is None else round(seen.delay, 3),
            "settled_until": iso(None if seen.settled_until is None else min(seen.settled_until, ask.until)),
            "bytes_scanned": seen.bytes_scanned,
            "problems": problems,
        },
        "nims": _nims(ask, seen, counted or {}),
        "workstations": workstations(seen.groups or ()),
        "rows": _rows(seen.groups or ()),
        "refused": _outside(seen.groups),
    }


def _nims(ask: Ask, seen: Seen, counted: t.Mapping[str, _usage_metrics.Counted]) -> list[dict[str, t.Any]]:
    groups = seen.groups
    named = {item.node for item in groups or ()} | set(seen.last_use) | {node_name(node) for node in ask.nodes}
    told = []
    for node in sorted(named - {NOBODY}):
        own = _nim(ask, seen, node)
        told.append({**own, **_source(ask, seen, counted.get(node), own["recent"])})
    return told


def _source(
    ask: Ask, seen: Seen, counted: _usage_metrics.Counted | None, recent: t.Mapping[str, t.Any]
) -> dict[str, t.Any]:
    """Return what a NIM's use is known from, and what follows where that is not the log."""
    if is_unbroken(seen):
        settled = None if seen.settled_until is None else min(seen.settled_until, ask.until)
        return {"source": LOG, "settled_until": iso(settled)}
    if counted is None or counted.known_since is None:
        return {"source": None, "settled_until": None}
    busy = counted.busy_seconds(ask.recent_since)
    return {
        "source": counted.source,
        "settled_until": iso(counted.settled_until),
        "last_use_at": iso(counted.last_use),
        "idle_since": iso(counted.last_use if counted.last_use is not None else counted.known_since),
        "recent": {**recent, "busy_seconds": recent["busy_seconds"] if busy is None else busy},
    }


def _nim(ask: Ask, seen: Seen, node: str) -> dict[str, t.Any]:
    own = [item for item in seen.groups or () if item.node == node]
    covers = seen.groups is not None and not seen.problems and seen.first_line is not None
    known = bool(own) or (covers and t.cast(float, seen.first_line) <= ask.since)
    used = seen.last_use.get(node)
    begins = None if seen.first_line is None else max(seen.first_line, ask.look_back_since)
    return {
        "name": f"nim-{node}",
        "node": node,
        **(_sums(own) if known else dict.fromkeys(_sums([]))),
        "workstations": len({item.workstation for item in own if item.is_use}) if known else None,
        "last_use_at": iso(used),
        "idle_since": iso(used if used is not None else (begins if covers else None)),
        "recent": _recent(ask, seen, node),
    }


def _recent(ask: Ask, seen: Seen, node: str) -> dict[str, t.Any]:
    """Return what a NIM did in the last minutes: None where an answer could only be a guess."""
    covers = seen.first_line is not None and seen.first_line <= ask.recent_since and not seen.problems
    if seen.settled_until is not None and seen.settled_until <= ask.recent_since:
        covers = False
    own = [item for item in seen.recent or () if item.node == node and item.is_use]
    told: dict[str, t.Any] = {"minutes": ask.recent_minutes, "requests": None, "busy_seconds": None}
    if seen.recent is not None and (own or covers):
        told["requests"] = len(own)
        told["busy_seconds"] = round(busy_seconds(own, ask.recent_since, ask.until), 3)
    return told


def _sums(groups: t.Sequence[Group]) -> dict[str, t.Any]:
    used = [item for item in groups if item.is_use]
    return {
        "requests": sum(item.requests for item in used),
        "failed": sum(item.requests for item in used if item.status >= 500),
        "refused": sum(item.requests for item in groups if item.status in REFUSED),
        "not_running": sum(
            item.requests for item in groups if item.method == WORK_METHOD and item.status == NOT_RUNNING
        ),
        "request_seconds": round(sum(item.seconds for item in used), 3),
        "bytes": sum(item.bytes for item in used),
        "request_bytes": sum(item.request_bytes for item in used),
    }


def workstations(groups: t.Iterable[Group]) -> list[dict[str, t.Any]]:
    """Return the sums of each workstation, the one with the largest share of the request-seconds first."""
    found: dict[str, list[Group]] = {}
    for item in groups:
        if NOBODY not in (item.workstation, item.node):
            found.setdefault(item.workstation, []).append(item)
    told = []
    for workstation, own in found.items():
        sums = _sums(own)
        last = max((item.last for item in own if item.is_use and item.last is not None), default=None)
        told.append({"workstation": workstation, **sums, "last_use_at": iso(last)})
    return with_shares(told, ("workstation",))


def with_shares(rows: t.Sequence[dict[str, t.Any]], order: t.Sequence[str]) -> list[dict[str, t.Any]]:
    """Add to each row its share of the request-seconds of all, and sort. None where nobody used anything."""
    whole = sum(row["request_seconds"] for row in rows)
    shared = [{**row, "share": round(row["request_seconds"] / whole, 6) if whole else None} for row in rows]
    return sorted(shared, key=lambda row: (-row["request_seconds"], *(str(row[name]) for name in order)))


def _rows(groups: t.Iterable[Group]) -> list[dict[str, t.Any]]:
    """Return one row for each workstation, NIM and period in which there was a request."""
    found: dict[tuple[t.Any, ...], list[Group]] = {}
    for item in groups:
        if item.node != NOBODY and (item.is_use or item.status in REFUSED or item.status == NOT_RUNNING):
            found.setdefault((item.start, item.workstation, item.node, item.target), []).append(item)
    told = [
        {"period": iso(start), "workstation": workstation, "node": node, "target": target, **_sums(own)}
        for (start, workstation, node, target), own in found.items()
    ]
    return sorted(told, key=lambda row: tuple(str(row[name]) for name in ("period", "workstation", "node", "target")))


def _outside(groups: t.Sequence[Group] | None) -> int | None:
    """Return how many requests of nobody known the gateway refused."""
    if groups is None:
        return None
    return sum(item.requests for item in groups if item.status in REFUSED and item.workstation == NOBODY)


__all__ = (
    "LOG",
    "MOST_REQUESTS",
    "NOBODY",
    "PERIODS",
    "WORK_METHOD",
    "Ask",
    "Group",
    "Request",
    "Seen",
    "busy_seconds",
    "exact",
    "group",
    "in_slices",
    "is_unbroken",
    "iso",
    "last_uses",
    "moment",
    "node_name",
    "parse",
    "plain_name",
    "point",
    "report",
    "request",
    "too_many",
    "with_shares",
    "workstations",
)
