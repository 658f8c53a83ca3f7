# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The decision: which bytes should be on a workstation, and when the old ones may stay."""

from __future__ import annotations

import datetime
import json
import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _envelope, _workstation
from tests.unit.workstation.examples import (
    CANARY,
    CREDENTIALS,
    KEY,
    LATER,
    NOW,
    PREVIOUS_KEY,
    STRANGER_KEY,
    config,
    endpoint,
    endpoints,
    wanted,
)

OTHER_CREDENTIALS = {"nvidia": {"NVIDIA API Key / NGC API Key": "nvapi-another"}}


def edited(change: t.Callable[[dict[str, t.Any]], object], **values: t.Any) -> bytes:
    """Return a config that someone edited."""
    document = json.loads(config(**values))
    change(document)
    return json.dumps(document).encode()


def test_new_config_has_the_public_format() -> None:
    update = _workstation.update(None, wanted(), NOW)
    document = json.loads(update.content)
    assert (update.found, update.reasons, update.keep_aside) == ("missing", ("missing",), False)
    assert list(document) == ["version", "installed_at", "mode", "nim_endpoints", "credentials", "credentials_status"]
    assert (document["version"], document["installed_at"], document["mode"]) == ("1.0", NOW, "workstation:ws-1")
    assert document["nim_endpoints"] == endpoints()
    assert document["credentials_status"] == {"nvidia": True, "aws": True, "azure": False, "gcp": False}
    assert _envelope.unseal(document["credentials"], KEY) == CREDENTIALS


def test_right_config_keeps_every_byte() -> None:
    current = config()
    update = _workstation.update(current, wanted(), LATER)
    assert update.content == current
    assert update.reasons == ()
    assert update.before == update.after


CHANGES = {
    "endpoints": ({"nim_endpoints": endpoints(endpoint(url="https://new.example"))}, ("nim_endpoints",)),
    "no endpoints": ({"nim_endpoints": {}}, ("nim_endpoints",)),
    "mode": ({"mode": "studio-wide"}, ("mode",)),
    "a credential": (
        {"credentials": {**CREDENTIALS, "aws": {**CREDENTIALS["aws"], "Secret Access Key": "new"}}},
        ("credentials",),
    ),
    "a provider less": ({"credentials": {"aws": CREDENTIALS["aws"]}}, ("credentials_status", "credentials")),
    "version": ({"encryption_version": 1}, ("envelope",)),
    "key": ({"key": PREVIOUS_KEY, "previous_keys": (KEY,)}, ("previous_key",)),
    "key and credentials": (
        {"key": PREVIOUS_KEY, "previous_keys": (STRANGER_KEY, KEY), "credentials": {}},
        ("previous_key", "credentials_status", "credentials"),
    ),
}


@pytest.mark.parametrize(("change", "reasons"), CHANGES.values(), ids=CHANGES.keys())
def test_difference_is_named_and_repaired(change: dict[str, t.Any], reasons: tuple[str, ...]) -> None:
    update = _workstation.update(config(), wanted(**change), LATER)
    assert update.reasons == reasons
    assert not update.keep_aside
    assert json.loads(update.content)["installed_at"] == LATER
    again = _workstation.update(update.content, wanted(**change), NOW)
    assert (again.reasons, again.content) == ((), update.content)


def test_tampered_fingerprint_is_repaired() -> None:
    current = edited(lambda document: document["credentials"].update(fingerprint="0" * 32))
    assert _workstation.update(current, wanted(), LATER).reasons == ("envelope",)


def test_status_in_clear_is_not_believed() -> None:
    current = edited(lambda document: document["credentials_status"].update(gcp=True))
    assert _workstation.update(current, wanted(), LATER).reasons == ("credentials_status",)


BROKEN = {
    "empty": b"",
    "binary": b"\x7fELF\x00\xff\xfe",
    "not JSON": b"hello",
    "cut off": config()[:-40],
    "a list": b"[]",
    "NaN": config().replace(b'"1.0"', b"NaN"),
    "too deep": b"[" * 100_000,
    "another version": edited(lambda document: document.update(version="2.0")),
    "no version": edited(lambda document: document.pop("version")),
    "no endpoints": edited(lambda document: document.pop("nim_endpoints")),
    "endpoints of another shape": edited(lambda document: document.update(nim_endpoints={"FLUX": ["x"]})),
    "no credentials": edited(lambda document: document.pop("credentials")),
    "credentials in clear": edited(
        lambda document: document.update(credentials={"encrypted": False, "data": CREDENTIALS})
    ),
    "an unknown envelope": edited(lambda document: document["credentials"].update(encryption_version=9)),
    "cut off ciphertext": edited(lambda document: document["credentials"].update(encrypted_data="Z0FB")),
}


@pytest.mark.parametrize("current", BROKEN.values(), ids=BROKEN.keys())
def test_broken_file_is_replaced_and_kept_aside(current: bytes) -> None:
    update = _workstation.update(current, wanted(), NOW)
    assert (update.found, update.reasons, update.keep_aside) == ("broken", ("broken",), True)
    assert update.problem
    assert CANARY not in update.problem
    assert CANARY not in json.dumps([update.before, update.after])
    assert _workstation.update(update.content, wanted(), NOW).reasons == ()


def test_file_sealed_with_unknown_key_is_replaced_and_kept_aside() -> None:
    current = config(key=STRANGER_KEY)
    update = _workstation.update(current, wanted(), NOW)
    assert (update.found, update.reasons, update.keep_aside) == ("wrong_key", ("wrong_key",), True)


def test_fields_of_others_are_kept() -> None:
    current = edited(lambda document: document.update(theme="dark", other={"a": [1]}))
    assert _workstation.update(current, wanted(), LATER).reasons == ()
    update = _workstation.update(current, wanted(credentials={}), LATER)
    document = json.loads(update.content)
    assert (document["theme"], document["other"]) == ("dark", {"a": [1]})


def test_fields_of_others_inside_ours_go() -> None:
    current = edited(lambda document: document["credentials"].update(backdoor="x"))
    document = json.loads(_workstation.update(current, wanted(credentials={}), LATER).content)
    assert "backdoor" not in document["credentials"]


GONE = endpoint(url="https://gone.example", target="gcp-1")
STALE = {**GONE, "stale": True}


def test_unread_target_keeps_its_endpoints_as_stale() -> None:
    before = {"FLUX Dev": {"aws": [endpoint()], "gcp": [GONE]}, "SD 3.5": {"gcp": [GONE]}}
    after = {"FLUX Dev": {"aws": [endpoint()], "gcp": [STALE]}, "SD 3.5": {"gcp": [STALE]}}
    only_aws = wanted(unread_targets=["gcp-1", "never-heard-of"])
    update = _workstation.update(config(nim_endpoints=before), only_aws, LATER)
    assert json.loads(update.content)["nim_endpoints"] == after
    assert update.kept_targets == ("gcp-1",)
    assert _workstation.update(update.content, only_aws, NOW).reasons == ()
    read_again = _workstation.update(update.content, wanted(nim_endpoints=before), NOW)
    assert json.loads(read_again.content)["nim_endpoints"] == before


def test_endpoint_of_a_target_that_was_read_goes() -> None:
    current = config(nim_endpoints={"FLUX Dev": {"aws": [endpoint()], "gcp": [GONE]}})
    update = _workstation.update(current, wanted(), LATER)
    assert json.loads(update.content)["nim_endpoints"] == endpoints()


def test_unread_endpoint_that_is_in_the_document_is_not_repeated() -> None:
    document = {"FLUX Dev": {"gcp": [STALE]}}
    update = _workstation.update(
        config(nim_endpoints={"FLUX Dev": {"gcp": [GONE]}}),
        wanted(nim_endpoints=document, unread_targets=["gcp-1"]),
        LATER,
    )
    assert json.loads(update.content)["nim_endpoints"] == document


def test_unread_target_keeps_its_endpoints_when_the_key_is_unknown() -> None:
    current = config(key=STRANGER_KEY, nim_endpoints={"FLUX Dev": {"gcp": [GONE]}})
    update = _workstation.update(current, wanted(nim_endpoints={}, unread_targets=["gcp-1"]), LATER)
    assert json.loads(update.content)["nim_endpoints"] == {"FLUX Dev": {"gcp": [STALE]}}


def test_diff_shows_endpoints_and_no_secret() -> None:
    current = edited(
        lambda document: document["nim_endpoints"]["FLUX Dev"]["aws"].append(
            {"url": f"https://user:{CANARY}@host", "api_key": CANARY, "gpu_tier": "t4"}
        )
    )
    update = _workstation.update(current, wanted(credentials=OTHER_CREDENTIALS), LATER)
    shown = json.dumps([update.before, update.after])
    assert CANARY not in shown
    assert "nvapi" not in shown
    assert update.before["nim_endpoints"]["FLUX Dev"]["aws"][0]["url"] == "https://nim.example/flux"
    assert update.before["nim_endpoints"]["FLUX Dev"]["aws"][1]["api_key"] == "(not shown)"
    assert update.before["credentials"]["fingerprint"] != update.after["credentials"]["fingerprint"]


def test_no_secret_in_reprs() -> None:
    text = repr([wanted(), _workstation.update(None, wanted(), NOW), _workstation.inspect(config(), KEY)])
    assert CANARY not in text
    assert KEY not in text


COMPLETE = {
    "nvidia": {"NVIDIA API Key / NGC API Key": "x"},
    "aws": {"Access Key ID": "x", "Secret Access Key": "x"},
    "azure": {
        "Subscription ID": "x",
        "Tenant ID": "x",
        "Client ID (Application ID)": "x",
        "Client Secret": "x",
        "Resource Group": "x",
        "Region": "x",
    },
    "gcp": {"Project ID": "x", "Service Account JSON File Path": "x", "Region": "x", "Zone": "x"},
}


@pytest.mark.parametrize("provider", COMPLETE)
def test_provider_is_green_only_with_all_fields(provider: str) -> None:
    assert _workstation.credentials_status({provider: COMPLETE[provider]})[provider] is True
    assert sum(_workstation.credentials_status({provider: COMPLETE[provider]}).values()) == 1
    for field in COMPLETE[provider]:
        without = {name: value for name, value in COMPLETE[provider].items() if name != field}
        assert _workstation.credentials_status({provider: without})[provider] is False
        assert _workstation.credentials_status({provider: {**without, field: " "}})[provider] is False


BAD_DOCUMENTS = {
    "no mapping": (["x"], "artists' document"),
    "no endpoints": ({"version": "1.0"}, "artists' document"),
    "a list": ({"nim_endpoints": []}, "not a mapping"),
    "node": ({"nim_endpoints": {"FLUX": []}}, "'FLUX' is not a mapping of providers"),
    "entries": ({"nim_endpoints": {"FLUX": {"aws": {}}}}, "'FLUX' on 'aws' is not a list"),
    "no url": ({"nim_endpoints": {"FLUX": {"aws": [{"gpu_tier": "t4"}]}}}, "has no url"),
    "no tier": ({"nim_endpoints": {"FLUX": {"aws": [{"url": "https://x"}]}}}, "has no gpu_tier"),
    "password": (
        {"nim_endpoints": {"FLUX": {"aws": [endpoint(url=f"https://a:{CANARY}@x")]}}},
        "url holds a user or password",
    ),
    "password in another": (
        {"nim_endpoints": {"FLUX": {"aws": [endpoint(health_url=f"https://a:{CANARY}@x")]}}},
        "health_url holds",
    ),
}


@pytest.mark.parametrize(("document", "message"), BAD_DOCUMENTS.values(), ids=BAD_DOCUMENTS.keys())
def test_bad_document_is_refused(document: object, message: str) -> None:
    with pytest.raises(_workstation.ConfigError, match=message) as refusal:
        _workstation.check_endpoints(document)
    assert CANARY not in str(refusal.value)


@pytest.mark.parametrize(
    "credentials", [[], {"aws": CANARY}, {"aws": {"Secret Access Key": [CANARY]}}, {"aws": {1: ""}}]
)
def test_bad_credentials_are_refused_without_showing_them(credentials: object) -> None:
    with pytest.raises(_workstation.ConfigError, match="credentials") as refusal:
        _workstation.check_credentials(credentials)
    assert CANARY not in str(refusal.value)


AT = datetime.datetime(2026, 11, 24, 10, 0, 5, tzinfo=datetime.timezone.utc)


def test_description_of_a_good_config() -> None:
    told = _workstation.describe(config(nim_endpoints={"FLUX Dev": {"aws": [endpoint(), STALE]}, "X": {}}), [KEY], AT)
    assert told == {
        "status": "ok",
        "problem": None,
        "decrypts": True,
        "mode": "workstation:ws-1",
        "encryption_version": 2,
        "key_id": _envelope.key_id(KEY),
        "fingerprint": _envelope.fingerprint(CREDENTIALS, KEY),
        "installed_at": NOW,
        "age_seconds": 86405,
        "credentials_status": {"nvidia": True, "aws": True, "azure": False, "gcp": False},
        "endpoint_counts": {"nodes": 1, "endpoints": 2, "stale": 1, "by_provider": {"aws": 2}},
    }


@pytest.mark.parametrize(
    ("current", "keys", "status", "decrypts"),
    [
        (None, [KEY], "missing", None),
        (b"{", [KEY], "broken", False),
        (config(), [STRANGER_KEY], "wrong_key", False),
        (config(), [STRANGER_KEY, KEY], "previous_key", True),
        (config(), [], "unchecked", None),
    ],
)
def test_description_of_other_configs(current: bytes | None, keys: list[str], status: str, decrypts: object) -> None:
    told = _workstation.describe(current, keys, AT)
    assert (told["status"], told["decrypts"]) == (status, decrypts)
    assert CANARY not in json.dumps(told)


@pytest.mark.parametrize("installed_at", ["2026-11-23T10:00:00", "yesterday", 17, None])
def test_age_of_a_time_without_zone_is_unknown(installed_at: object) -> None:
    current = edited(lambda document: document.update(installed_at=installed_at))
    assert _workstation.describe(current, [KEY], AT)["age_seconds"] is None


def test_strange_sealed_credentials_do_not_stop_an_audit() -> None:
    sealed = _envelope.seal(t.cast(_envelope.Credentials, {"aws": ["x"], "nvidia": {"a": 1}}), KEY, 2)
    current = edited(lambda document: document.update(credentials=sealed))
    assert not any(_workstation.describe(current, [KEY], AT)["credentials_status"].values())
