# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sealing: what the public reader can open, what a stolen workstation cannot, and which studio keys are refused."""

from __future__ import annotations

import base64
import json
import secrets
import typing as t

import pytest
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ansible_collections.budgetguard.techops.plugins.module_utils import _envelope
from tests.unit.workstation.examples import (
    CANARY,
    CREDENTIALS,
    KEY,
    OTHER_STUDIO_KEY,
    PREVIOUS_KEY,
    STRANGER_KEY,
    STUDIO_KEY,
    config,
)
from tests.unit.workstation.public_reader import open_config

WEAK_KEYS = {
    "budgetguard_studio_default_key": "default of the public tools",
    " budgetguard_studio_default_key\n": "default of the public tools",
    "": "empty",
    "short": "shorter than 32",
    "Zk3v9Qw1-LmN8xTy7Rp5Ua2Sd4Fg6Hj": "shorter than 32",
    "abababababababababababababababababab": "fewer than 10 different",
    "Battery4!Staple-Battery4!Staple-Bat": "repeated",
    "abcdefghijklmnopqrstuvwxyz0123456789": "neighbouring",
    f"{STUDIO_KEY}\n": "line break",
    f" {STUDIO_KEY}": "space",
    f"{STUDIO_KEY[:20]}\n{STUDIO_KEY[20:]}": "control character",
    f"{STUDIO_KEY}\0": "control character",
}


def test_public_reader_opens_studio_wide_config() -> None:
    content = config(
        key=_envelope.studio_wide_key(STUDIO_KEY), encryption_version=1, mode="studio-wide", previous_keys=()
    )
    assert open_config(content, STUDIO_KEY) == CREDENTIALS
    with pytest.raises(InvalidToken):
        open_config(content, OTHER_STUDIO_KEY)


def test_workstation_key_is_hkdf_of_studio_key_and_id() -> None:
    """Ours is made of the standard library's HMAC; another implementation says the same."""
    hkdf = HKDF(SHA256(), 32, salt=b"budgetguard_comfyui_salt", info=b"budgetguard workstation v2:ws-1")
    expected = hkdf.derive(STUDIO_KEY.encode())
    assert base64.urlsafe_b64decode(KEY) == expected


def test_data_is_encoded_twice() -> None:
    sealed = _envelope.seal(CREDENTIALS, KEY, 2)
    token = base64.urlsafe_b64decode(sealed["encrypted_data"])
    assert json.loads(Fernet(KEY).decrypt(token)) == CREDENTIALS
    assert sealed["encrypted"] is True
    assert (sealed["encryption_version"], sealed["encryption_method"]) == (2, "Fernet")


def test_stolen_workstation_opens_only_its_own_config() -> None:
    keys = _envelope.derive_keys(STUDIO_KEY, ["ws-1", "ws-2"], 2)
    of_second = _envelope.seal(CREDENTIALS, keys["ws-2"], 2)
    assert _envelope.unseal(of_second, keys["ws-2"]) == CREDENTIALS
    with pytest.raises(_envelope.WrongKeyError):
        _envelope.unseal(of_second, keys["ws-1"])


def test_nothing_readable_in_sealed_part() -> None:
    text = json.dumps(_envelope.seal(CREDENTIALS, KEY, 2))
    decoded = base64.urlsafe_b64decode(json.loads(text)["encrypted_data"])
    assert CANARY not in text
    assert CANARY.encode() not in decoded + base64.urlsafe_b64decode(decoded)
    assert KEY not in text


def test_fingerprint_can_be_made_again_from_studio_key() -> None:
    sealed = _envelope.seal(CREDENTIALS, KEY, 2)
    again = _envelope.derive_keys(STUDIO_KEY, ["ws-1"], 2)["ws-1"]
    assert sealed["fingerprint"] == _envelope.fingerprint(dict(reversed(CREDENTIALS.items())), again)
    assert sealed["key_id"] == _envelope.key_id(again)


@pytest.mark.parametrize(
    ("credentials", "key"),
    [(CREDENTIALS, PREVIOUS_KEY), ({"aws": CREDENTIALS["aws"]}, KEY), ({}, KEY)],
    ids=["another key", "fewer credentials", "no credentials"],
)
def test_fingerprint_differs(credentials: _envelope.Credentials, key: str) -> None:
    assert _envelope.fingerprint(credentials, key) != _envelope.fingerprint(CREDENTIALS, KEY)


def test_key_id_and_fingerprint_of_nothing_do_not_match() -> None:
    assert _envelope.key_id(KEY)[:16] != _envelope.fingerprint({}, KEY)[:16]
    assert _envelope.key_id(KEY) != _envelope.key_id(PREVIOUS_KEY)
    assert len(_envelope.key_id(KEY)) == 16


@pytest.mark.parametrize(("studio_key", "reason"), WEAK_KEYS.items())
def test_weak_studio_key_is_refused_without_showing_it(studio_key: str, reason: str) -> None:
    problem = _envelope.studio_key_weakness(studio_key)
    assert problem is not None
    assert reason in problem
    assert "secrets.token_urlsafe(32)" in problem
    assert len(studio_key) < 8 or studio_key.strip() not in problem
    for derive in (_envelope.studio_wide_key, lambda key: _envelope.workstation_key(key, "ws-1")):
        with pytest.raises(_envelope.EnvelopeError) as refusal:
            derive(studio_key)
        assert str(refusal.value) == problem


@pytest.mark.parametrize("make", [secrets.token_urlsafe, secrets.token_hex])
def test_random_keys_are_accepted(make: object) -> None:
    assert callable(make)
    assert [_envelope.studio_key_weakness(make(32)) for _round in range(200)] == [None] * 200


@pytest.mark.parametrize("workstation_id", ["", "ws\n1", "ws\x001"])
def test_bad_workstation_id_is_refused(workstation_id: str) -> None:
    with pytest.raises(_envelope.EnvelopeError, match="workstation id"):
        _envelope.workstation_key(STUDIO_KEY, workstation_id)


@pytest.mark.parametrize("version", [0, 3, True, "2", None])
def test_unknown_version_is_refused(version: int) -> None:
    with pytest.raises(_envelope.EnvelopeError, match="encryption_version"):
        _envelope.seal(CREDENTIALS, KEY, version)


@pytest.mark.parametrize("key", ["", STUDIO_KEY, KEY[:-4], KEY + "AAAA", "ä" * 44, KEY.replace(KEY[0], "!", 1)])
def test_what_is_no_derived_key_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(_envelope.EnvelopeError, match="workstation_keys") as refusal:
        _envelope.require_key(key)
    assert not key or key not in str(refusal.value)


BROKEN_PARTS: dict[str, object] = {
    "no mapping": None,
    "a list": [],
    "in clear": {"encrypted": False, "data": CREDENTIALS},
    "version": {"encryption_version": 3},
    "version is a truth value": {"encryption_version": True},
    "method": {"encryption_method": "ROT13"},
    "no data": {"encrypted_data": None},
    "empty data": {"encrypted_data": ""},
    "not base64": {"encrypted_data": "!" * 200},
    "not ASCII": {"encrypted_data": "ä" * 200},
    "base64 of no token": {"encrypted_data": base64.urlsafe_b64encode(b"x" * 200).decode()},
}


@pytest.mark.parametrize("change", BROKEN_PARTS.values(), ids=BROKEN_PARTS.keys())
def test_what_no_key_opens_is_broken(change: object) -> None:
    section = {**_envelope.seal(CREDENTIALS, KEY, 2), **change} if isinstance(change, dict) else change
    with pytest.raises(_envelope.BrokenEnvelopeError):
        _envelope.unseal(section, KEY)


@pytest.mark.parametrize("length", [4, 40, 90])
def test_data_that_was_cut_off_is_broken(length: int) -> None:
    section = _envelope.seal(CREDENTIALS, KEY, 2)
    section["encrypted_data"] = section["encrypted_data"][:length]
    with pytest.raises(_envelope.BrokenEnvelopeError):
        _envelope.unseal(section, KEY)


@pytest.mark.parametrize("look", [_envelope.unseal, _envelope.check_seal])
def test_tampered_data_is_broken_and_another_key_is_wrong(look: t.Callable[[object, str], object]) -> None:
    section = _envelope.seal(CREDENTIALS, KEY, 2)
    look(section, KEY)
    with pytest.raises(_envelope.WrongKeyError):
        look(section, STRANGER_KEY)
    other = _envelope.seal({}, STRANGER_KEY, 2)
    with pytest.raises(_envelope.BrokenEnvelopeError, match="changed"):
        look({**section, "encrypted_data": other["encrypted_data"]}, KEY)


def test_key_lines() -> None:
    assert _envelope.key_line(2, KEY) == f"v2 {KEY}"
    assert _envelope.key_line(1, KEY, STUDIO_KEY) == f"v1 {STUDIO_KEY}"
    with pytest.raises(_envelope.EnvelopeError, match="studio_key is needed"):
        _envelope.key_line(1, KEY)
    with pytest.raises(_envelope.EnvelopeError, match="shorter"):
        _envelope.key_line(1, KEY, "weak")
