# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of the gateway, sums, and what may be called known."""

from __future__ import annotations

import dataclasses
import json
import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _gateway, _usage
from tests.unit.usage import day

NOON = 1_795_867_200.0
HOUR = 3600.0


def ask(**changes: t.Any) -> _usage.Ask:
    """Ask about the 24 hours before noon."""
    return _usage.Ask(**{"since": NOON - 24 * HOUR, "until": NOON, **changes})


def seen(*text: str, **changes: t.Any) -> _usage.Seen:
    """Return what a log with these lines tells that began two days ago."""
    found = [item for item in map(_usage.parse, text) if item is not None]
    facts: dict[str, t.Any] = {
        "groups": _usage.group(found, "day"),
        "recent": [item for item in found if item.ended >= NOON - HOUR],
        "last_use": {item.node: item.ended for item in found if item.is_use},
        "first_line": NOON - 48 * HOUR,
        "settled_until": NOON,
    }
    return _usage.Seen(**{**facts, **changes})


def nim(told: dict[str, t.Any], node: str = day.NODES[0]) -> dict[str, t.Any]:
    """Return what is told about a NIM."""
    return next(t.cast("dict[str, t.Any]", item) for item in told["nims"] if item["node"] == node)


def test_a_line_of_the_contract_is_read_whatever_its_order() -> None:
    text = day.line(NOON, seconds=1.5, bytes=7, request_bytes=8)
    assert list(json.loads(text)) == list(_gateway.USAGE_FIELDS)
    item = _usage.Request(NOON, 1.5, "ws-01", day.NODES[0], "studio-target", "POST", 200, 7, 8)
    assert _usage.parse(text) == item
    assert _usage.parse(json.dumps(dict(reversed(json.loads(text).items())))) == item
    # HAProxy writes thousandths as 1500.0e-3, and -1 where it never got so far.
    assert _usage.parse(text.replace(":1.5,", ":1500.0e-3,")) == item
    broken_off = _usage.parse(text.replace(":1.5,", ":-1.0e-3,"))
    assert broken_off is not None
    assert broken_off.seconds == 0
    # Docker's json-file driver puts each line into an object of its own.
    assert _usage.parse(json.dumps({"log": f"{text}\n", "stream": "stdout", "time": "2026-01-01T00:00:00Z"})) == item


def test_lines_of_others_and_torn_lines_are_no_requests() -> None:
    for text in day.FOREIGN:
        assert _usage.parse(text) is None, text
    whole = day.line(NOON)
    torn = [whole[:length] for length in range(len(whole))]
    assert [text for text in torn if _usage.parse(text) is not None] == []
    for name in _gateway.USAGE_FIELDS:
        if name != "path":
            left = {key: value for key, value in json.loads(whole).items() if key != name}
            assert _usage.parse(json.dumps(left)) is None, name
    for name, value in (("seconds", "NaN"), ("status", "true"), ("bytes", "1e400"), ("node", "null")):
        assert _usage.parse(json.dumps({**json.loads(whole), name: json.loads(value)})) is None, name


def test_sums_are_those_of_a_few_other_lines() -> None:
    text = day.lines(NOON)
    told = _usage.report(ask(), seen(*text))
    for node in day.NODES:
        expected = day.sums(text, node=node)
        assert {name: nim(told, node)[name] for name in expected} == pytest.approx(expected), node
    for entry in told["workstations"]:
        expected = day.sums(text, workstation=entry["workstation"])
        assert {name: entry[name] for name in expected} == pytest.approx(expected), entry["workstation"]
    assert [entry["workstation"] for entry in told["workstations"]] == sorted(
        day.WORKSTATIONS, key=lambda name: -day.sums(text, workstation=name)["request_seconds"]
    )
    assert sum(entry["share"] for entry in told["workstations"]) == pytest.approx(1, abs=1e-5)
    assert told["refused"] == day.sums(text, workstation="-")["refused"] > 0
    assert sum(row["requests"] for row in told["rows"]) == day.sums(text)["requests"]
    assert told["log"]["complete"] is True


def test_hours_and_days_are_those_of_utc() -> None:
    late, early = NOON - 12 * HOUR - 0.001, NOON - 12 * HOUR
    for period, starts in (("day", ["2026-11-27T00:00:00Z", "2026-11-28T00:00:00Z"]), ("none", [None])):
        groups = _usage.group(map(_read, [day.line(late), day.line(early)]), period)
        rows = _usage.report(ask(), seen(groups=groups))["rows"]
        assert [row["period"] for row in rows] == starts, period
    hours = _usage.group(map(_read, [day.line(late), day.line(early)]), "hour")
    assert sorted(_usage.iso(item.start) or "" for item in hours) == ["2026-11-27T23:00:00Z", "2026-11-28T00:00:00Z"]


def _read(text: str) -> _usage.Request:
    found = _usage.parse(text)
    assert found is not None
    return found


def test_busy_time_counts_shared_time_once() -> None:
    def request(end: float, seconds: float) -> _usage.Request:
        return dataclasses.replace(_read(day.line(NOON)), ended=end, seconds=seconds)

    assert _usage.busy_seconds([], 0, 100) == 0
    assert _usage.busy_seconds([request(30, 10), request(25, 10), request(60, 5)], 0, 100) == 20
    # One within another, one that began before the time, one that ends with it.
    assert _usage.busy_seconds([request(50, 40), request(20, 5), request(5, 50), request(100, 10)], 0, 100) == 55
    text = day.lines(NOON, count=200, hours=1)
    found = [item for item in map(_read, text) if item.node == day.NODES[1] and item.is_use]
    by_hand = day.busy(text, day.NODES[1], NOON - HOUR, NOON)
    assert _usage.busy_seconds(found, NOON - HOUR, NOON) == pytest.approx(by_hand, abs=0.3)
    assert by_hand > 100


def test_looking_being_refused_and_finding_nothing_is_no_use() -> None:
    old = day.line(NOON - 10 * HOUR)
    looks = [
        day.line(NOON - 60, method="GET"),
        day.line(NOON - 60, status=401, workstation="-"),
        day.line(NOON - 60, status=403),
        day.line(NOON - 60, status=429),
        day.line(NOON - 60, status=503, seconds=0.0),
    ]
    told = nim(_usage.report(ask(), seen(old, *looks)))
    assert (told["requests"], told["refused"], told["not_running"]) == (1, 3, 1)
    assert told["last_use_at"] == told["idle_since"] == "2026-11-28T02:00:00Z"
    assert told["recent"] == {"minutes": 60, "requests": 0, "busy_seconds": 0.0}


def test_no_line_is_zero_only_where_lines_would_have_been() -> None:
    node = day.NODES[0]
    wanted = ask(nodes=(f"nim-{node}",))
    known = nim(_usage.report(wanted, seen()))
    assert (known["requests"], known["workstations"], known["recent"]["requests"]) == (0, 0, 0)
    assert (known["last_use_at"], known["idle_since"]) == (None, "2026-11-26T12:00:00Z")

    unknown: dict[str, dict[str, t.Any]] = {
        "cannot be read": {"groups": None, "recent": None, "problems": ("it cannot be read",)},
        "has no line": {"first_line": None},
        "begins later": {"first_line": NOON - 60},
        "is a part": {"problems": ("only a part was told",)},
    }
    for why, changes in unknown.items():
        told = _usage.report(wanted, seen(**changes))
        item = nim(told)
        assert (item["requests"], item["request_seconds"], item["workstations"]) == (None, None, None), why
        assert item["recent"] == {"minutes": 60, "requests": None, "busy_seconds": None}, why
        assert told["log"]["complete"] is False, why
        assert len(told["log"]["problems"]) == 1, why
        assert item["idle_since"] == (_usage.iso(NOON - 60) if why == "begins later" else None), why


def test_late_lines_keep_the_last_minutes_unknown() -> None:
    wanted = ask(nodes=(day.NODES[0],), recent_minutes=10)
    late = nim(_usage.report(wanted, seen(settled_until=NOON - 900)))
    assert late["recent"]["requests"] is None
    assert nim(_usage.report(wanted, seen(settled_until=NOON - 300)))["recent"]["requests"] == 0
    # What is seen is seen.
    text = day.line(NOON - 60)
    assert nim(_usage.report(wanted, seen(text, settled_until=NOON - 900)))["recent"]["requests"] == 1


def test_points_in_time() -> None:
    now = NOON
    for text, expected in (
        ("90m", NOON - 5400),
        ("24h", NOON - 86400),
        ("7 d", NOON - 7 * 86400),
        ("2w", NOON - 14 * 86400),
        ("2026-11-28", NOON - 12 * HOUR),
        ("2026-11-28T12:00:00Z", NOON),
        ("2026-11-28T13:00:00+01:00", NOON),
    ):
        assert _usage.point("since", text, now) == expected, text
    for text in ("yesterday", "24", "-1h", "2026-13-01"):
        with pytest.raises(ValueError, match=r"since is .* 90m, 24h, 7d or 2w"):
            _usage.point("since", text, now)


def test_a_log_is_read_in_slices_that_it_takes() -> None:
    moments = [float(number) for number in range(1000)]

    def fetch(start: float, stop: float) -> list[float]:
        return [moment for moment in moments if start <= moment < stop][:100]

    assert sorted(_usage.in_slices(fetch, 0, 1000, 100) or []) == moments
    assert _usage.in_slices(fetch, 0, 1000, 100, most=500) is None
    with pytest.raises(ValueError, match="more than 100 rows in the second"):
        _usage.in_slices(lambda _start, _stop: [0] * 100, 0, 1000, 100)
