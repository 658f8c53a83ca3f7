# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Open the sealed config of a workstation. Pure: bytes and texts in, credentials out.

The config holds endpoints in clear, and the artist's credentials as base64 of a Fernet token. Each line of the key
file is C(v1) with the studio key, which is stretched with PBKDF2, or C(v2) with a key that is ready to use. During a
rotation there are two lines.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import typing as t
from dataclasses import dataclass, field

Credentials = dict[str, dict[str, str]]

SALT = b"budgetguard_comfyui_salt"
ROUNDS = 100000
KEY_BYTES = 32


class ConfigError(Exception):
    """The config cannot be used. C(reason) is a word for programs, the text a sentence for TechOps without secrets."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True)
class Opened:
    """A config that was opened. The credentials never show up in a representation."""

    document: dict[str, t.Any]
    credentials: Credentials = field(repr=False)


def open_config(content: bytes, key_lines: t.Sequence[str]) -> Opened:
    """Open a config with whichever line of the key file does it.

    :raises ConfigError: C(bad_config), C(no_key), C(bad_key), C(wrong_key) or C(no_library).
    """
    document = parse(content)
    token = _token(document)
    lines = [line for line in key_lines if line.strip()]
    if not lines:
        raise ConfigError("no_key", "The key file is empty.")
    keys = [key for key in map(fernet_key, lines) if key is not None]
    if not keys:
        raise ConfigError("bad_key", "The key file has no line that starts with v1 or v2 and goes on with a key.")
    for key in keys:
        plain = _decrypted(token, key)
        if plain is not None:
            return Opened(document, _credentials(plain))
    raise ConfigError("wrong_key", "The config is sealed with another key than the one on this workstation.")


def parse(content: bytes) -> dict[str, t.Any]:
    """Return the open part of a config. Raises ConfigError C(bad_config)."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise ConfigError("bad_config", "The config is not JSON.") from None
    if not isinstance(document, dict) or document.get("version") != "1.0":
        raise ConfigError("bad_config", "The config is not of version 1.0.")
    if not isinstance(document.get("nim_endpoints"), dict):
        raise ConfigError("bad_config", "The config has no mapping nim_endpoints.")
    return document


def fernet_key(line: str) -> bytes | None:
    """Return the key of one line of the key file in the form of Fernet, or None if the line is none."""
    version, _space, secret = line.rstrip("\r\n").partition(" ")
    if version == "v1" and secret:
        stretched = hashlib.pbkdf2_hmac("sha256", secret.encode("utf-8"), SALT, ROUNDS, KEY_BYTES)
        return base64.urlsafe_b64encode(stretched)
    if version == "v2":
        try:
            raw = base64.b64decode(secret.encode("ascii"), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError):
            return None
        return secret.encode("ascii") if len(raw) == KEY_BYTES else None
    return None


def _token(document: dict[str, t.Any]) -> bytes:
    sealed = document.get("credentials")
    data = sealed.get("encrypted_data") if isinstance(sealed, dict) else None
    if not isinstance(data, str):
        raise ConfigError("bad_config", "The config has no sealed credentials.")
    try:
        return base64.urlsafe_b64decode(data.encode("ascii"))
    except (binascii.Error, UnicodeEncodeError):
        raise ConfigError("bad_config", "The sealed part of the config is not base64.") from None


def _decrypted(token: bytes, key: bytes) -> bytes | None:
    """Return what is sealed, or None if this key does not open it."""
    try:
        from cryptography.fernet import Fernet, InvalidToken
    except ImportError:
        raise ConfigError("no_library", "ComfyUI's Python has no cryptography library.") from None
    try:
        return Fernet(key).decrypt(token)
    except InvalidToken:
        return None


def _credentials(plain: bytes) -> Credentials:
    try:
        found = json.loads(plain)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigError("bad_config", "What is sealed in the config is no mapping.")
    return {
        str(provider): {str(name): str(value) for name, value in fields.items() if isinstance(value, str)}
        for provider, fields in found.items()
        if isinstance(fields, dict)
    }
