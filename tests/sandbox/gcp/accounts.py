# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service accounts of a project and their keys. No HTTP here."""

from __future__ import annotations

import datetime
import functools
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

KEY_BITS = 2048
#: How many pairs of keys there are in all. Making one takes long, so service accounts' keys share them; a key's id
#: tells them apart all the same.
PAIRS = 6
MOST_KEYS = 10
#: What Google allows a project before somebody asks for more.
MOST_ACCOUNTS = 100
#: Google does not accept signatures that hold for longer.
LONGEST = 3600
WITHOUT_END = "9999-12-31T23:59:59Z"


class RefusedError(Exception):
    """A signature that Google does not accept, in Google's words."""


@functools.cache
def _pair(number: int) -> rsa.RSAPrivateKey:
    del number
    return rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)


@dataclass
class StoredKey:
    """One key of a service account. Google itself only keeps the public half."""

    pair: rsa.RSAPrivateKey
    id: str = field(default_factory=lambda: secrets.token_hex(20))
    made: float = field(default_factory=time.time)
    #: When it ends, in seconds since 1970; None if never.
    ends: float | None = None
    disabled: bool = False

    @property
    def works(self) -> bool:
        """Whether signatures made with it are accepted."""
        return not self.disabled and (self.ends is None or self.ends > time.time())

    def pem(self) -> str:
        """Return the private half."""
        return self.pair.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()


@dataclass
class ServiceAccount:
    """One service account, perhaps a deleted one that can be brought back."""

    email: str
    display_name: str = ""
    description: str = ""
    unique_id: str = field(default_factory=lambda: str(10**20 + secrets.randbelow(10**20)))
    disabled: bool = False
    deleted: bool = False
    keys: dict[str, StoredKey] = field(default_factory=dict)

    def new_key(self) -> StoredKey:
        """Make a key."""
        key = StoredKey(_pair(secrets.randbelow(PAIRS)))
        self.keys[key.id] = key
        return key

    def key_file(self, key: StoredKey, project: str, url: str) -> str:
        """Return the content of a key file."""
        content = {
            "type": "service_account",
            "project_id": project,
            "private_key_id": key.id,
            "private_key": key.pem(),
            "client_email": self.email,
            "client_id": self.unique_id,
            "auth_uri": f"{url}/o/oauth2/auth",
            "token_uri": f"{url}/token",
            "universe_domain": "googleapis.com",
        }
        return json.dumps(content, indent=2) + "\n"


class ServiceAccounts:
    """All service accounts of the project."""

    def __init__(self, project: str) -> None:
        self.project = project
        self.all: list[ServiceAccount] = []

    def find(self, name: str) -> ServiceAccount | None:
        """Return the account of this email or number; None if it is not there or deleted."""
        return next((item for item in self.living() if name in (item.email, item.unique_id)), None)

    def living(self) -> list[ServiceAccount]:
        """Return those that are not deleted."""
        return [item for item in self.all if not item.deleted]

    def add(self, name: str, display_name: str = "", description: str = "") -> ServiceAccount:
        """Make one."""
        account = ServiceAccount(f"{name}@{self.project}.iam.gserviceaccount.com", display_name, description)
        self.all.append(account)
        return account

    def claims(self, token: str) -> tuple[ServiceAccount, dict[str, Any]]:
        """Return who has signed a token, and what it says. Raises RefusedError."""
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
            unproved: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            raise RefusedError("Invalid JWT: Failed to parse.") from None
        account = self.find(str(unproved.get("iss")))
        if account is None or account.disabled:
            # Google says the same of one that is switched off and of one that is deleted.
            raise RefusedError("Invalid grant: account not found")
        lasts = unproved.get("exp", 0) - unproved.get("iat", 0)
        if unproved.get("exp", 0) < time.time() or not 0 < lasts <= LONGEST:
            raise RefusedError(
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
            )
        keys = [key for key in account.keys.values() if key.works and key_id in (None, key.id)]
        if not any(_is_signed(token, key) for key in keys):
            raise RefusedError("Invalid JWT Signature.")
        return account, unproved


def _is_signed(token: str, key: StoredKey) -> bool:
    try:
        jwt.decode(token, key.pair.public_key(), algorithms=["RS256"], options={"verify_aud": False})
    except jwt.InvalidTokenError:
        return False
    return True


def moment(seconds: float | None) -> str:
    """Write a time as IAM does."""
    if seconds is None:
        return WITHOUT_END
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
