# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nim_usage_info against the clouds' log services, which are simulated strictly."""

from __future__ import annotations

import time

import pytest

from tests.unit.usage import day
from tests.usage.logs import Logs

HOUR = 3600.0


def test_the_sums_are_those_of_a_few_other_lines(logs: Logs) -> None:
    now = time.time()
    text = day.lines(now, count=150, hours=20)
    logs.write([text[0], *day.FOREIGN, *text[1:]])
    told = logs.read(since="19h", period="hour", recent_minutes=180, nodes=["nim-never-used-l4"])
    inside = [line for line in text if day.stamp(now - 19 * HOUR) <= day.stamp_of(line)]
    assert 100 < len(inside) < 150
    for entry in told["workstations"]:
        expected = day.sums(inside, workstation=entry["workstation"])
        assert {name: entry[name] for name in expected} == pytest.approx(expected), entry["workstation"]
    assert len(told["workstations"]) == 3
    assert sum(row["requests"] for row in told["rows"]) == day.sums(inside)["requests"]
    assert {row["period"][14:] for row in told["rows"]} == {"00:00Z"}
    assert told["refused"] == day.sums(inside, workstation="-")["refused"]
    for node in day.NODES:
        nim = next(item for item in told["nims"] if item["node"] == node)
        expected = day.sums(inside, node=node)
        assert {name: nim[name] for name in expected} == pytest.approx(expected), node
        by_hand = day.busy(text, node, now - 3 * HOUR, now)
        assert nim["recent"]["busy_seconds"] == pytest.approx(by_hand, abs=1), node
        assert by_hand > 10
    never = next(item for item in told["nims"] if item["node"] == "never-used-l4")
    assert (never["requests"], never["recent"]["requests"], never["last_use_at"]) == (0, 0, None)
    assert told["log"]["complete"] is True, told["log"]["problems"]
    assert never["idle_since"] == told["log"]["first_line_at"] == day.stamp_of(text[0])[:19] + "Z"


def test_the_last_use_is_found_in_days_before(logs: Logs) -> None:
    now = time.time()
    long_ago = now - 5 * 24 * HOUR
    logs.write([day.line(now - 9 * 24 * HOUR, node="other-l4"), day.line(long_ago), day.line(now - 60, method="GET")])
    told = logs.read(since="1h", nodes=[day.NODES[0]])
    nim = next(item for item in told["nims"] if item["node"] == day.NODES[0])
    assert (nim["requests"], nim["recent"]["busy_seconds"]) == (0, 0)
    assert nim["last_use_at"] == nim["idle_since"] == day.stamp(long_ago)[:19] + "Z"


def test_an_empty_log_is_no_proof_of_anything(logs: Logs) -> None:
    told = logs.read(nodes=["flux-dev-l40s"])
    assert (told["log"]["known"], told["log"]["complete"]) == (False, False)
    (nim,) = told["nims"]
    assert (nim["requests"], nim["idle_since"], nim["recent"]["requests"]) == (None, None, None)
    assert "whether it logs is not known" in told["log"]["problems"][0]


def test_a_young_log_tells_from_where_it_is_known(logs: Logs) -> None:
    now = time.time()
    logs.write([day.line(now - 2 * HOUR)])
    told = logs.read(since="24h", nodes=["sdxl-l4"])
    nim = next(item for item in told["nims"] if item["node"] == "sdxl-l4")
    assert nim["requests"] is None
    assert nim["recent"]["requests"] == 0
    assert nim["idle_since"] == told["log"]["first_line_at"]
    assert told["log"]["problems"] == [
        f"the log begins at {told['log']['first_line_at']}; what was before is not known"
    ]


def test_the_gateways_of_others_are_not_counted(logs: Logs) -> None:
    now = time.time()
    logs.write([day.line(now - 60)])
    other = {"cluster": "another"} if logs.cloud == "aws" else {"namespace": "another"}
    told = logs.read(**other)
    assert (told["nims"], told["log"]["known"]) == ([], False)


def test_reading_takes_few_calls_and_changes_nothing(logs: Logs) -> None:
    logs.write(day.lines(time.time(), count=20, hours=0.9))
    logs.control.clear_calls()
    logs.read(since="1h")
    expected = {
        "aws": {"StartQuery": 3, "GetQueryResults": 6},
        "azure": {"Query_Execute": 3},
        "gcp": {"entries.list": 2},
    }
    actions = [call["action"] for call in logs.reads()]
    assert {action: actions.count(action) for action in set(actions)} == expected[logs.cloud]
    assert [call for call in logs.control.calls() if call["refused"]] == []


def test_a_busy_service_is_asked_again(logs: Logs) -> None:
    code, action, status = {
        "aws": ("LimitExceededException", "StartQuery", 400),
        "azure": ("ThrottledError", "Query_Execute", 429),
        "gcp": ("RESOURCE_EXHAUSTED", "entries.list", 429),
    }[logs.cloud]
    logs.write([day.line(time.time() - 60)])
    headers = {"Retry-After": "0"} if logs.cloud == "azure" else None
    logs.control.fault(action, code, status=status, times=2, headers=headers)
    assert sum(row["requests"] for row in logs.read()["rows"]) == 1


def test_a_refusal_says_what_was_being_done(logs: Logs) -> None:
    code, action = {
        "aws": ("AccessDeniedException", "StartQuery"),
        "azure": ("InsufficientAccessError", "Query_Execute"),
        "gcp": ("PERMISSION_DENIED", "entries.list"),
    }[logs.cloud]
    logs.control.fault(action, code, message="Not you", status=403 if logs.cloud != "aws" else 400, times=None)
    told = logs.read()
    assert told["failed"] is True
    assert told["msg"].startswith("cannot read the gateway's log in ")
    assert "Not you" in told["msg"]
