# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table over several targets."""

from __future__ import annotations

import csv
import io
import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.filter.nim_usage import nim_usage
from ansible_collections.budgetguard.techops.plugins.module_utils import _usage
from tests.unit.usage import day

NOON = 1_795_867_200.0


def usage(text: t.Sequence[str], **facts: t.Any) -> dict[str, t.Any]:
    """Return what nim_usage_info says about some lines."""
    found = [item for item in map(_usage.parse, text) if item is not None]
    seen = _usage.Seen(_usage.group(found, "hour"), found, {}, **{"first_line": NOON - 10 * 86400, **facts})
    return _usage.report(_usage.Ask(NOON - 86400, NOON, "hour"), seen)


def test_the_table_sums_up_over_hours_and_targets() -> None:
    first, second = day.lines(NOON, seed=1), day.lines(NOON, seed=2)
    told = nim_usage(
        [
            {"target": "aws-us-east-1", "usage": usage(first)},
            {"target": "gcp-us-central1", "usage": usage(second)},
            {"target": "azure-eastus", "error": "cannot read the gateway's log"},
        ]
    )
    assert told["notes"] == ["azure-eastus: its use is not known: cannot read the gateway's log"]
    for entry in told["workstations"]:
        if entry["workstation"] != "-":
            expected = day.sums([*first, *second], workstation=entry["workstation"])
            assert {name: entry[name] for name in expected} == pytest.approx(expected)
    cell = next(
        item
        for item in told["nodes"]
        if (item["workstation"], item["node"], item["target"]) == ("ws-02", day.NODES[0], "gcp-us-central1")
    )
    expected = day.sums(second, workstation="ws-02", node=day.NODES[0])
    assert {name: cell[name] for name in expected} == pytest.approx(expected)
    assert told["lines"][0].split() == ["WORKSTATION", "NODE", "TARGET", "REQUESTS", "HOURS", "SHARE"]
    line = next(text for text in told["lines"] if text.split()[:3] == ["ws-02", day.NODES[0], "gcp-us-central1"])
    assert line.split()[3:5] == [str(expected["requests"]), f"{expected['request_seconds'] / 3600:.2f}"]
    assert told["lines"][-1] == told["notes"][0]
    assert sum(item["share"] for item in told["nodes"]) == pytest.approx(1, abs=1e-4)
    rows = list(csv.DictReader(io.StringIO(told["csv"])))
    assert sum(int(row["requests"]) for row in rows) == day.sums([*first, *second])["requests"]
    assert {row["target"] for row in rows} == {"aws-us-east-1", "gcp-us-central1"}


def test_nothing_used_is_a_table_too() -> None:
    told = nim_usage([{"target": "aws-us-east-1", "usage": usage([])}])
    assert told["lines"][1] == "0 workstations, 0 requests in 0.00 hours of work, 0 refused."
    assert (told["nodes"], told["notes"], told["csv"].count("\n")) == ([], [], 1)


def test_what_is_not_known_stands_below_the_table() -> None:
    told = nim_usage([{"target": "aws-us-east-1", "usage": usage([], first_line=None)}])
    assert told["lines"][-1].startswith("aws-us-east-1: the gateway has written no line")


@pytest.mark.parametrize("name", ["=cmd()", "+cmd()", "-cmd()", "@cmd()", "\t=cmd()", "\r=cmd()", "\n=cmd()"])
def test_a_spreadsheet_gets_no_formula(name: str) -> None:
    told = nim_usage([{"target": "t", "usage": usage([day.line(NOON - 60, workstation=name)])}])
    assert f"'{name}" in told["csv"]


def test_something_else_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="must be a list of mappings"):
        nim_usage({"target": "x"})
    with pytest.raises(AnsibleFilterError, match="usage must be what nim_usage_info returns"):
        nim_usage([{"target": "x", "usage": {"changed": False}}])
