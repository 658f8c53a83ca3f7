# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Seal an artist's credentials for a ComfyUI workstation, and open them again.

Two versions of the same envelope:

* version 1 is the public, studio-wide one. Its key is stretched out of the studio key with PBKDF2, so every
  reader of the public BudgetGuard format can open it. All workstations share one key.
* version 2 is for one workstation. Its key is split off the studio key with HKDF and the workstation's id, so a
  stolen workstation opens only its own config. There is nothing to stretch: the studio key must be random.

Both are a Fernet token of the credentials as JSON, and the token is base64-encoded once more. Keys are derived, and
seals are checked, with the standard library alone; sealing and opening need the cryptography library. This file keeps
no state, reads no clock and touches no file.

It is a part of C(install_credentials.py), too, which runs on workstations with Python 3.8.

A *studio key* is the one secret text of the studio. A *key* is a derived one: 44 characters of base64url for 32 bytes,
in the form Fernet takes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import sys
import traceback
import typing as t

try:
    from cryptography.fernet import Fernet, InvalidToken
except ImportError:
    CRYPTOGRAPHY_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    CRYPTOGRAPHY_IMPORT_ERROR = None

# A text, because Python 3.8 cannot evaluate it.
Credentials: t.TypeAlias = "dict[str, dict[str, str]]"

STUDIO_WIDE = 1
PER_WORKSTATION = 2
VERSIONS = (STUDIO_WIDE, PER_WORKSTATION)

# The public format, version 1: salt, rounds and key length.
SALT = b"budgetguard_comfyui_salt"
PBKDF2_ROUNDS = 100000
KEY_BYTES = 32
WORKSTATION_INFO = b"budgetguard workstation v2:"

# Stands in public source as the fallback of the public tools, so it protects nothing.
PUBLIC_DEFAULT_KEY = "budgetguard_studio_default_key"
MINIMUM_LENGTH = 32
# 32 random hexadecimal digits have about 14 different ones; fewer than 10 happens once in some thousand keys.
MINIMUM_DIFFERENT = 10

NOTE = "Sealed by budgetguard.techops. The key is not in this file."
METHOD = "Fernet"
HOW_TO_MAKE_A_KEY = 'Make a new one with: python3 -c "import secrets; print(secrets.token_urlsafe(32))"'

# What any Fernet token starts with: the one version byte that exists.
FERNET_VERSION = 0x80
# version 1 + time 8 + IV 16 + one AES block 16 + HMAC 32, in bytes
FERNET_SHORTEST = 73
FERNET_HMAC = 32
# The first half of a Fernet key signs, the second one encrypts.
SIGNING_KEY = slice(0, 16)


class EnvelopeError(Exception):
    """A key or an envelope cannot be used. The text never holds a key or a credential."""


class BrokenEnvelopeError(EnvelopeError):
    """No key could open what should be an envelope."""


class WrongKeyError(EnvelopeError):
    """The envelope looks right, but was sealed with another key."""


def missing_library() -> str | None:
    """Return the text to fail with when the cryptography library cannot be imported, else None."""
    if CRYPTOGRAPHY_IMPORT_ERROR is None:
        return None
    return (
        f"The Python library cryptography cannot be imported by {sys.executable}; sealing and opening ComfyUI configs "
        "needs it. Install it there: pip install cryptography."
    )


def studio_key_weakness(studio_key: str) -> str | None:
    """Say why this studio key must not be used, or None when it may.

    The text says how to make a good one and never shows the key.
    """
    reason = _weakness(studio_key)
    if reason is None:
        return None
    return f"The studio key {reason}. {HOW_TO_MAKE_A_KEY}"


def _weakness(studio_key: str) -> str | None:
    """Return the first thing that is wrong with the key, to go after "The studio key"."""
    stray = studio_key != studio_key.strip() or not studio_key.isprintable()
    checks = (
        (not studio_key, "is empty"),
        (
            studio_key.strip() == PUBLIC_DEFAULT_KEY,
            "is the default of the public tools, which everyone can read in their source",
        ),
        (stray, "has a space or line break at its start or end, or a control character in it"),
        (len(studio_key) < MINIMUM_LENGTH, f"is shorter than {MINIMUM_LENGTH} characters"),
        (len(set(studio_key)) < MINIMUM_DIFFERENT, f"has fewer than {MINIMUM_DIFFERENT} different characters"),
        (_is_repeated(studio_key), "is a shorter text repeated"),
        (_is_a_run(studio_key), "is mostly a run of neighbouring characters like abcdef or 123456"),
    )
    return next((reason for wrong, reason in checks if wrong), None)


def _is_repeated(text: str) -> bool:
    """Tell if the text is one part of at most half its length, over and over (the last one may be cut off)."""
    return any(text[length:] == text[:-length] for length in range(1, len(text) // 2 + 1))


def _is_a_run(text: str) -> bool:
    """Tell if more than half of the characters just follow, precede or repeat the one before."""
    steps = [abs(ord(right) - ord(left)) <= 1 for left, right in zip(text, text[1:])]
    return sum(steps) * 2 > len(steps)


def _require_good(studio_key: str) -> bytes:
    problem = studio_key_weakness(studio_key)
    if problem is not None:
        raise EnvelopeError(problem)
    return studio_key.encode("utf-8")


def studio_wide_key(studio_key: str) -> str:
    """Derive the key of version 1. Tens of milliseconds of CPU: once per run, never once per workstation."""
    return base64.urlsafe_b64encode(_stretch(_require_good(studio_key))).decode("ascii")


def _stretch(secret: bytes) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", secret, SALT, PBKDF2_ROUNDS, KEY_BYTES)


def workstation_key(studio_key: str, workstation_id: str) -> str:
    """Derive the key of version 2 for one workstation. Microseconds of CPU."""
    secret = _require_good(studio_key)
    if not workstation_id or not workstation_id.isprintable():
        raise EnvelopeError("A workstation id must be a text of printable characters that is not empty.")
    info = WORKSTATION_INFO + workstation_id.encode("utf-8")
    return base64.urlsafe_b64encode(_split_off(secret, info)).decode("ascii")


def _split_off(secret: bytes, info: bytes) -> bytes:
    """HKDF of RFC 5869; one round of its second step gives all the 32 bytes."""
    extracted = hmac.new(SALT, secret, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


def derive_keys(studio_key: str, workstation_ids: t.Iterable[str], encryption_version: int) -> dict[str, str]:
    """Return the key of every workstation, by its id. Version 1 derives once, whatever the number of workstations."""
    require_version(encryption_version)
    if encryption_version == STUDIO_WIDE:
        return dict.fromkeys(workstation_ids, studio_wide_key(studio_key))
    return {workstation_id: workstation_key(studio_key, workstation_id) for workstation_id in workstation_ids}


def require_version(encryption_version: object) -> None:
    """Raise EnvelopeError unless this is a version we can write."""
    if isinstance(encryption_version, bool) or encryption_version not in VERSIONS:
        raise EnvelopeError(
            "encryption_version must be 1 (the public, studio-wide envelope) or 2 (one key per workstation)."
        )


def require_key(key: str) -> None:
    """Raise EnvelopeError unless this is a derived key, 32 bytes as base64url."""
    try:
        raw = base64.b64decode(key.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raw = b""
    if len(raw) != KEY_BYTES:
        raise EnvelopeError(
            "A key must be one that the filter budgetguard.techops.workstation_keys returns "
            "(44 characters of base64url), not the studio key itself."
        )


def key_line(encryption_version: int, key: str, studio_key: str | None = None) -> str:
    """Return the line of a workstation's key file, without a line break.

    "v1" carries the studio key itself, because readers of the public format stretch it themselves.
    "v2" carries the derived key and nothing else, so it opens this workstation's config only.
    """
    require_version(encryption_version)
    if encryption_version == PER_WORKSTATION:
        require_key(key)
        return f"v2 {key}"
    if not studio_key:
        raise EnvelopeError("The key file of encryption_version 1 holds the studio key, so studio_key is needed.")
    return "v1 " + _require_good(studio_key).decode("utf-8")


def canonical(credentials: Credentials) -> bytes:
    """Return the one byte form of these credentials that fingerprints are made of."""
    return json.dumps(credentials, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def key_id(key: str) -> str:
    """Name a key by 16 hexadecimal digits that say nothing about it, but tell two keys apart."""
    return _keyed_hash(key, b"budgetguard key id", b"").hex()[:16]


def fingerprint(credentials: Credentials, key: str) -> str:
    """Name the credentials by 32 hexadecimal digits.

    They are keyed, so a guess at a credential cannot be checked without the key. Whoever has the studio key derives
    the workstation's key and so can make the same fingerprint of the same credentials.
    """
    return _keyed_hash(key, b"budgetguard fingerprint", canonical(credentials)).hex()[:32]


def _keyed_hash(key: str, purpose: bytes, message: bytes) -> bytes:
    """HMAC under a key of its own for each purpose, so none of them can stand in for another."""
    own_key = hmac.new(base64.urlsafe_b64decode(key), purpose, hashlib.sha256).digest()
    return hmac.new(own_key, message, hashlib.sha256).digest()


def seal(credentials: Credentials, key: str, encryption_version: int) -> dict[str, t.Any]:
    """Return the C(credentials) part of a config: the sealed credentials and what may be known of them."""
    require_version(encryption_version)
    require_key(key)
    token = Fernet(key).encrypt(json.dumps(credentials, sort_keys=True).encode("utf-8"))
    return {
        **open_part(credentials, key, encryption_version),
        "encrypted_data": base64.urlsafe_b64encode(token).decode("ascii"),
    }


def open_part(credentials: Credentials, key: str, encryption_version: int) -> dict[str, t.Any]:
    """Return all of the C(credentials) part that is the same each time, which leaves out the random ciphertext."""
    return {
        "encrypted": True,
        "encryption_version": encryption_version,
        "encryption_method": METHOD,
        "note": NOTE,
        "key_id": key_id(key),
        "fingerprint": fingerprint(credentials, key),
    }


def check_sealed(section: object) -> dict[str, t.Any]:
    """Return the C(credentials) part of a config if some key could open it.

    :raises BrokenEnvelopeError: it is not sealed, of an unknown version, or cut off.
    """
    if not isinstance(section, dict):
        raise BrokenEnvelopeError("it has no mapping named credentials")
    if section.get("encrypted") is not True:
        raise BrokenEnvelopeError("its credentials are not encrypted")
    version = section.get("encryption_version")
    if isinstance(version, bool) or version not in VERSIONS:
        raise BrokenEnvelopeError("its encryption_version is neither 1 nor 2")
    if section.get("encryption_method") != METHOD:
        raise BrokenEnvelopeError("its encryption_method is not Fernet")
    _token(section)
    return section


def _token(section: dict[str, t.Any]) -> bytes:
    """Return the Fernet token: base64 of base64 of bytes that start as every token does."""
    data = section.get("encrypted_data")
    if not isinstance(data, str):
        raise BrokenEnvelopeError("it has no encrypted_data")
    try:
        token = base64.b64decode(data.encode("ascii"), altchars=b"-_", validate=True)
        raw = base64.b64decode(token, altchars=b"-_", validate=True)
    except ValueError:
        # UnicodeEncodeError and binascii.Error are ValueErrors, too
        raise BrokenEnvelopeError("its encrypted_data is not base64 of a Fernet token") from None
    if len(raw) < FERNET_SHORTEST or raw[0] != FERNET_VERSION:
        raise BrokenEnvelopeError("its encrypted_data is not a complete Fernet token")
    return token


def check_seal(section: object, key: str) -> None:
    """Say whether the key sealed the C(credentials) part of a config, and nobody changed it since, without opening it.

    A Fernet token ends with an HMAC of all before it: https://github.com/fernet/spec/blob/master/Spec.md

    :raises BrokenEnvelopeError: no key could open this, or this key made it but it was changed since.
    :raises WrongKeyError: another key made it.
    """
    require_key(key)
    checked = check_sealed(section)
    raw = base64.urlsafe_b64decode(_token(checked))
    signing_key = base64.urlsafe_b64decode(key)[SIGNING_KEY]
    signature = hmac.new(signing_key, raw[:-FERNET_HMAC], hashlib.sha256).digest()
    if not hmac.compare_digest(signature, raw[-FERNET_HMAC:]):
        raise _not_opened(checked, key)


def _not_opened(section: dict[str, t.Any], key: str) -> EnvelopeError:
    if section.get("key_id") == key_id(key):
        return BrokenEnvelopeError("it was sealed with this key, but its encrypted_data was changed")
    return WrongKeyError("it is sealed with another key")


def unseal(section: object, key: str) -> Credentials:
    """Open the C(credentials) part of a config.

    :raises BrokenEnvelopeError: no key could open this, or this key made it but it was changed since.
    :raises WrongKeyError: another key made it.
    """
    require_key(key)
    checked = check_sealed(section)
    try:
        plain = Fernet(key).decrypt(_token(checked))
    except InvalidToken:
        raise _not_opened(checked, key) from None
    try:
        credentials = json.loads(plain)
    except ValueError:
        raise BrokenEnvelopeError("what is sealed in it is not JSON") from None
    if not isinstance(credentials, dict):
        raise BrokenEnvelopeError("what is sealed in it is not a mapping")
    return credentials


__all__ = (
    "PER_WORKSTATION",
    "STUDIO_WIDE",
    "VERSIONS",
    "BrokenEnvelopeError",
    "Credentials",
    "EnvelopeError",
    "WrongKeyError",
    "check_seal",
    "check_sealed",
    "derive_keys",
    "fingerprint",
    "key_id",
    "key_line",
    "missing_library",
    "open_part",
    "require_key",
    "require_version",
    "seal",
    "studio_key_weakness",
    "studio_wide_key",
    "unseal",
    "workstation_key",
)
