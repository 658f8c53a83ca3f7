# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An audit of several workstations: order, what counts, what has changed, and its forms."""

from __future__ import annotations

import csv
import io
import json
import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.filter.workstation_audit import workstation_audit
from ansible_collections.budgetguard.techops.plugins.module_utils import _audit, _report
from tests.unit.audit.looks import GIB, NOW, audit, look, unreachable

MISSING = look(config={"status": "missing", "mode": None, "file_mode": None})
LOW = look(probe={"disk": {"free_bytes": GIB, "total_bytes": 9 * GIB, "path": "/x"}})
FLEET = {"ws-1": look(), "ws-2": unreachable(), "ws-10": MISSING, "ws-9": MISSING, "ws-3": LOW}


def before(looks: dict[str, t.Any], moment: str = "2026-11-27T18:10:00Z") -> str:
    """Return the file of an audit before this one."""
    return json.dumps({**audit(looks)["document"], "generated_at": moment})


def changes(old: dict[str, t.Any], new: dict[str, t.Any], **options: t.Any) -> list[str]:
    """Return the sentences about what has changed."""
    return [one["text"] for one in audit(new, previous=before(old), **options)["document"]["changes"]]


def test_worst_first() -> None:
    names = [row["workstation"] for row in audit(FLEET)["document"]["rows"]]
    assert names == ["ws-9", "ws-10", "ws-2", "ws-3", "ws-1"]


def test_counts() -> None:
    document = audit(FLEET)["document"]
    assert document["counts"] == {"problem": 3, "warning": 1, "ok": 1}
    assert document["findings"] == {"unreachable": 1, "config_missing": 2, "disk_low": 1}
    assert (document["ok"], document["somebody"]) == (False, ["ws-9", "ws-10", "ws-2"])


@pytest.mark.parametrize(
    ("options", "somebody"),
    [
        ({"fail_on": []}, []),
        ({"fail_on": ""}, []),
        ({"fail_on": ["warning"]}, ["ws-3"]),
        ({"fail_on": ["unreachable", "disk_low"]}, ["ws-2", "ws-3"]),
        ({"fail_on": "unreachable, disk_low"}, ["ws-2", "ws-3"]),
        ({"ignore": ["unreachable"]}, ["ws-9", "ws-10"]),
        ({"ignore": ["unreachable", "config_missing"]}, []),
    ],
)
def test_what_counts(options: dict[str, t.Any], somebody: list[str]) -> None:
    assert audit(FLEET, **options)["document"]["somebody"] == somebody


def test_what_is_ignored_is_still_in_the_row() -> None:
    result = audit({"ws-2": unreachable()}, ignore=["unreachable"])
    (row,) = result["document"]["rows"]
    assert (row["state"], row["findings"][0]["id"], row["findings"][0]["ignored"]) == ("ok", "unreachable", True)
    assert result["document"]["findings"] == {}


@pytest.mark.parametrize("option", ["fail_on", "ignore"])
def test_unknown_finding_is_refused(option: str) -> None:
    with pytest.raises(_audit.AuditError, match=f"{option}: 'config_mising' is none of"):
        audit(FLEET, **{option: ["config_mising"]})


def test_filter_tells_what_is_wrong() -> None:
    much: dict[str, t.Any] = {"disk_free_gib": "much"}
    with pytest.raises(AnsibleFilterError, match="looks: must be a mapping"):
        workstation_audit([])
    with pytest.raises(AnsibleFilterError, match="could not convert"):
        workstation_audit({}, **much)


# Changes


def test_lost_configs_since_the_last_audit() -> None:
    old = {name: look() for name in ("ws-1", "ws-2", "ws-3", "ws-10")}
    assert changes(old, {**old, "ws-1": MISSING, "ws-3": MISSING, "ws-10": MISSING}) == [
        "3 workstations lost their config since Friday 18:10 UTC: ws-1, ws-3, ws-10"
    ]


def test_nothing_new_is_nothing() -> None:
    assert changes(FLEET, FLEET) == []


def test_repaired() -> None:
    assert changes({"ws-1": MISSING}, {"ws-1": look()}) == [
        "1 workstation has a config again since Friday 18:10 UTC: ws-1"
    ]


def test_what_cannot_be_seen_has_not_ended() -> None:
    """A workstation without a config that is off now has not got one."""
    assert changes({"ws-1": MISSING}, {"ws-1": unreachable()}) == [
        "1 workstation cannot be reached any more since Friday 18:10 UTC: ws-1"
    ]
    assert changes({"ws-1": LOW}, {"ws-1": {**look(), "probe": None}}) == []


def test_what_could_not_be_seen_has_not_begun() -> None:
    assert changes({"ws-1": unreachable()}, {"ws-1": MISSING}) == [
        "1 workstation can be reached again since Friday 18:10 UTC: ws-1"
    ]


def test_new_and_gone_workstations_are_no_changes_of_theirs() -> None:
    assert changes({"ws-1": look(), "ws-2": MISSING}, {"ws-1": look(), "ws-3": MISSING}) == [
        "1 workstation is new since Friday 18:10 UTC: ws-3",
        "1 workstation was not audited now since Friday 18:10 UTC: ws-2",
    ]


def test_ignored_findings_are_no_change() -> None:
    assert changes({"ws-1": look()}, {"ws-1": unreachable()}, ignore=["unreachable"]) == []


@pytest.mark.parametrize(
    ("moment", "told"),
    [
        ("2026-11-28T03:00:00Z", "since 03:00 UTC"),
        ("2026-11-22T03:00:00Z", "since Sunday 03:00 UTC"),
        ("2026-11-21T03:00:00Z", "since 2026-11-21"),
        ("not a time", "since the last audit"),
    ],
)
def test_since_when(moment: str, told: str) -> None:
    document = audit({"ws-1": MISSING}, previous=before({"ws-1": look()}, moment))["document"]
    assert told in document["changes"][0]["text"]


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_earlier_audit_is_nothing_to_tell(nothing: t.Any) -> None:
    document = audit(FLEET, previous=nothing)["document"]
    assert (document["changes"], document["notes"], document["previous_at"]) == ([], [], None)


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("{", "is not JSON"),
        ("[]", "is no audit"),
        ('{"format": "budgetguard-audit", "version": 9, "rows": []}', "its version is 9"),
        ('{"format": "budgetguard-audit", "version": 1}', "its version is 1"),
    ],
)
def test_a_bad_earlier_audit_stops_nothing(file: str, told: str) -> None:
    result = audit(FLEET, previous=file)
    assert told in result["document"]["notes"][0]
    assert result["document"]["notes"][0] in result["lines"]


def test_notes_are_told_with_the_audit() -> None:
    result = audit(FLEET, previous="{", notes=["The clouds were not asked."])
    assert result["document"]["notes"][1] == "The clouds were not asked."
    assert "The clouds were not asked." in result["lines"]


# Forms


def test_lines_tell_why_and_what_to_do_and_leave_out_what_is_well() -> None:
    lines = audit(FLEET)["lines"]
    assert lines[0].split() == ["WORKSTATION", "STATE", "CONFIG", "CREDENTIALS", "ENDPOINTS", "DISK"]
    assert lines[1].split()[:3] == ["ws-9", "problem", "missing"]
    assert lines[2:4] == ["    problem: It has no config.", "        Run workstations --limit ws-9."]
    assert not any(line.startswith("ws-1 ") for line in lines)
    assert lines[-2:] == [
        "1 workstation is fine and not listed.",
        "3 of 5 workstations need somebody: ws-9, ws-10, ws-2.",
    ]


def test_all_is_well_in_two_lines() -> None:
    lines = audit({"ws-1": look(), "ws-2": look(wanted_mode=None)})["lines"]
    assert lines == ["2 workstations are fine and not listed.", "Nobody is needed: 2 workstations, 2 ok."]


def test_nobody_there() -> None:
    assert audit({})["lines"] == ["No workstation was audited."]


def test_csv_is_safe_for_spreadsheets() -> None:
    (row,) = csv.DictReader(io.StringIO(audit({"=1+1": look()})["csv"]))
    assert row["workstation"] == "'=1+1"
    assert (row["nodes"], row["gpus"], row["driver"]) == ("FLUX Dev: exited", "NVIDIA GeForce RTX 4090", "570.86.15")


def test_a_message_cannot_break_the_table_or_the_page() -> None:
    result = audit({"ws-1": {"failed": True, "msg": "bad\nline </script><script>alert(1)</script>"}})
    assert all("\n" not in line for line in result["lines"])
    assert "<script>alert" not in _report.page([result["tab"]])


def test_document_is_plain_json() -> None:
    result = audit(FLEET, previous=before(FLEET))
    assert json.loads(json.dumps(result["document"], allow_nan=False)) == result["document"]
    assert _report.check_tab(json.loads(json.dumps(result["tab"])))


def test_every_finding_has_a_cure_and_two_phrases_for_a_change() -> None:
    for name, kind in _audit.KINDS.items():
        assert kind.cure.format(name="ws-1")
        assert len(kind.began) == len(kind.ended) == 2, name
        assert kind.level in _audit.LEVELS


def test_time_is_the_one_that_was_given() -> None:
    assert audit(FLEET)["document"]["generated_at"] == NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
