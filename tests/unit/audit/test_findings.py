# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with a workstation, by one look."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _audit, _unreachable
from tests.unit.audit.looks import GIB, NOW, kinds, look, unreachable
from tests.unit.workstation.examples import endpoint, endpoints


def credential(**told: t.Any) -> dict[str, t.Any]:
    """Return a look whose credential of AWS is another."""
    return look(credentials={"aws": {"state": "same", "key_id": "AKIA1", "created": "2026-11-01T08:00:00Z", **told}})


def part(name: str, **told: t.Any) -> dict[str, t.Any]:
    """Return a look in which one part of the probe told something else."""
    return look(probe={name: told})


CASES: list[tuple[str, t.Any, list[str]]] = [
    ("well", look(), []),
    ("off", unreachable(), ["unreachable"]),
    ("failed", {"failed": True, "msg": "The module gave up."}, ["not_looked_at"]),
    ("no result at all", {}, ["not_looked_at"]),
    ("nothing", None, ["not_looked_at"]),
    ("missing", look(config={"status": "missing", "mode": None, "file_mode": None}), ["config_missing"]),
    ("broken", look(config={"status": "broken", "problem": "it is not JSON", "mode": None}), ["config_broken"]),
    (
        "link",
        look(config={"status": "refused", "problem": "'x' is a symbolic link.", "mode": None}),
        ["config_refused"],
    ),
    ("strange key", look(config={"status": "wrong_key"}), ["config_wrong_key"]),
    ("old key", look(config={"status": "previous_key"}), ["config_previous_key"]),
    ("no key", look(config={"status": "no_key", "problem": "the key file is missing"}), ["key_missing"]),
    ("no folder", look(config={"status": "no_comfyui", "mode": None}), ["no_comfyui"]),
    ("another's folder", look(config={"status": "not_owner", "mode": None}), ["not_looked_at"]),
    ("another's config", look(config={"mode": "workstation:ws-2"}), ["config_other_workstation"]),
    ("studio-wide", look(config={"mode": "studio-wide"}), ["config_mode"]),
    ("readable", look(exposed=True, config={"file_mode": "0640"}), ["config_exposed"]),
    ("readable on Windows", look(exposed=True, config={"file_mode": None}), ["config_exposed"]),
    ("no key given", look(config={"status": "unchecked"}), []),
    ("revoked", credential(state="revoked", revoked="2026-11-20"), ["credential_revoked"]),
    ("revoked and gone", credential(state="absent", revoked="2026-11-20", expires="2026-11-21"), []),
    ("not there", credential(state="missing"), ["credential_missing"]),
    ("another", credential(state="different"), ["credential_different"]),
    ("waits", credential(state="undelivered"), ["credential_undelivered"]),
    ("stored nowhere", credential(state="unexpected"), ["credential_unexpected"]),
    ("shut", credential(state="unknown"), []),
    ("ended", credential(expires="2026-11-28T17:59:59Z"), ["credential_expired"]),
    ("ends soon", credential(expires="2026-12-05T00:00:00Z"), ["credential_due"]),
    ("ends later", credential(expires="2027-12-05T00:00:00Z"), []),
    ("cannot be compared", look(credentials_problem="Decryption failed"), ["credential_unknown"]),
    ("no Python", {**look(), "probe": None, "probe_problem": "There is no Python."}, ["probe_silent"]),
    ("disk", part("disk", free_bytes=3 * GIB, total_bytes=9 * GIB, path="/x"), ["disk_low"]),
    ("no GPU", part("gpu", problem="nvidia-smi is not there"), []),
    ("driver", part("gpu", problem="NVIDIA-SMI has failed because it couldn't communicate"), ["gpu_problem"]),
    ("container gone", part("containers", containers=[]), ["node_without_container"]),
    ("Docker", part("containers", problem="permission denied"), ["docker_silent"]),
    ("clock", look(clock_seconds=-500.0), ["clock_off"]),
    ("clock, a little", look(clock_seconds=60.0), []),
]


@pytest.mark.parametrize(("result", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_findings(result: t.Any, expected: list[str]) -> None:
    assert kinds(result) == expected


def test_age_counts_only_where_asked() -> None:
    old = credential(created="2026-01-01T00:00:00Z")
    assert kinds(old) == []
    assert kinds(old, max_age_days=90) == ["credential_due"]


def test_every_kind_of_finding_can_be_found() -> None:
    """But for that of the clouds and that of unread targets, which have tests of their own."""
    found = {kind for _name, _result, expected in CASES for kind in expected}
    assert set(_audit.KINDS) - found == {"credential_refused", "endpoints_different", "endpoints_unknown"}


def test_what_a_cloud_refuses_is_a_finding() -> None:
    row = _audit.row_of("ws-1", look(), NOW, _audit.Limits(), {"aws": "The security token is invalid"})
    assert [finding["id"] for finding in row["findings"]] == ["credential_refused"]
    assert row["findings"][0]["text"] == "AWS: The security token is invalid"
    assert "ws-1" in row["findings"][0]["cure"]


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("connect to host ws-1 port 22: Connection timed out", "it is off"),
        ("Connection timed out during banner exchange", "does not answer"),
        ("connect to host ws-1 port 22: Connection refused", "no ssh server runs"),
        ("connect to host ws-1 port 22: No route to host", "no way to it"),
        ("Could not resolve hostname ws-1: Name or service not known", "name is not known"),
        ("techops@ws-1: Permission denied (publickey).", "login was refused"),
        ("Host key verification failed.", "host key"),
        ("Task failed: Timed out after 60 second(s).", "did not finish within 60 seconds"),
        ("The task didn't finish in the required time frame (60) seconds", "within 60 seconds"),
        ("Something  entirely\nnew", "Something entirely new"),
        ("", "There was no answer."),
    ],
)
def test_reasons_are_told_in_our_words(message: str, told: str) -> None:
    assert told in _unreachable.reason(message)


# Endpoints


def compare(found: t.Any, running: t.Any, unread: t.Sequence[str] = ()) -> dict[str, t.Any]:
    """Compare endpoints for the workstation ws-1."""
    return _audit.compare_endpoints(found, running, unread, "ws-1")


def test_price_and_date_make_no_difference() -> None:
    found = endpoints(endpoint(deployed_at="2026-11-01T00:00:00Z", hourly_usd=1.2, stale=True))
    assert compare(found, endpoints(endpoint(deployed_at="2026-11-20T00:00:00Z", hourly_usd=9.9)))["state"] == "same"


def test_another_address_is_a_difference() -> None:
    told = compare(endpoints(endpoint("https://old.example")), endpoints(endpoint("https://new.example")))
    assert (told["state"], told["changed"]) == ("different", ["FLUX Dev on aws-1 (l40s)"])


def test_missing_and_gone() -> None:
    told = compare(endpoints(endpoint(target="aws-1")), endpoints(endpoint(target="aws-2")))
    assert (told["missing"], told["gone"]) == (["FLUX Dev on aws-2 (l40s)"], ["FLUX Dev on aws-1 (l40s)"])


def test_nothing_is_said_about_an_unread_target() -> None:
    """Not even that its endpoints are gone, and it is never a difference."""
    told = compare(endpoints(endpoint(target="aws-1")), {}, unread=["aws-1"])
    assert (told["state"], told["unread"]) == ("unknown", ["aws-1"])
    found = look(endpoints=told)
    assert kinds(found) == ["endpoints_unknown"]
    row = _audit.row_of("ws-1", found, NOW, _audit.Limits(), {})
    assert row["state"] == "ok"


def test_own_nims_are_nobody_elses() -> None:
    own = endpoints(endpoint("http://127.0.0.1:8000", "ws-1"), provider="local")
    assert compare({**endpoints(), "Own": own["FLUX Dev"]}, endpoints())["state"] == "same"


def test_without_a_document_nothing_is_compared() -> None:
    assert compare(endpoints(), None)["state"] == "unchecked"
    assert compare(None, endpoints())["state"] == "unchecked"


def test_a_difference_is_told_with_names() -> None:
    wanted = endpoints(*(endpoint(target=f"aws-{number}") for number in range(7)))
    row = _audit.row_of("ws-1", look(endpoints=compare(endpoints(), wanted)), NOW, _audit.Limits(), {})
    assert "and 2 more: not in its config" in row["findings"][0]["text"]


# Credentials

KEY = {"Access Key ID": "AKIA1", "Secret Access Key": "secret-1"}
OLD = {"Access Key ID": "AKIA0", "Secret Access Key": "secret-0"}
RECORD = {"key_id": "AKIA1", "delivered": True, "created": "2026-11-01T08:00:00Z", "fields": KEY}
TOKEN = {"Token": "a.b.c", "Expires": "2027-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("opened", "expected", "records", "state"),
    [
        ({"aws": KEY}, {"aws": KEY}, {"aws": RECORD}, "same"),
        ({"aws": KEY}, {"aws": KEY}, {}, "same"),
        ({"aws": OLD}, {"aws": KEY}, {"aws": RECORD}, "different"),
        ({"aws": OLD}, {"aws": KEY}, {"aws": {**RECORD, "delivered": False}}, "undelivered"),
        ({}, {"aws": KEY}, {"aws": {**RECORD, "delivered": False}}, "undelivered"),
        ({}, {"aws": KEY}, {"aws": RECORD}, "missing"),
        ({"aws": KEY}, {}, {"aws": {**RECORD, "revoked": "2026-11-20"}}, "revoked"),
        ({}, {}, {"aws": {**RECORD, "revoked": "2026-11-20"}}, "absent"),
        ({"aws": KEY}, {}, {}, "unexpected"),
        (None, {"aws": KEY}, {"aws": RECORD}, "unknown"),
    ],
)
def test_credentials_are_compared(opened: t.Any, expected: t.Any, records: t.Any, state: str) -> None:
    told = _audit.compare_credentials(opened, expected, records)
    assert told["aws"]["state"] == state
    assert "secret" not in repr(told)


def test_a_token_of_the_last_window_only_waits() -> None:
    """It is signed anew from time to time, and the old one is good for a while."""
    older = {**TOKEN, "Token": "x.y.z", "Expires": "2026-12-20T00:00:00Z"}
    told = _audit.compare_credentials({"gateway": older}, {"gateway": TOKEN}, {})["gateway"]
    assert told == {"state": "undelivered", "expires": "2026-12-20T00:00:00Z"}
