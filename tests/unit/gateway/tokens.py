# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A studio with its keys, and tokens as an attacker would make them."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import hashlib
import hmac
import json
import time
import typing as t
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from ansible_collections.budgetguard.techops.plugins.module_utils import _ca, _gateway, _tokens

STUDIO = "example-studio"
WORKSTATION = "ws-07"
LATEST = "latest"


@dataclasses.dataclass(frozen=True)
class Studio:
    """Keys, and the files that a gateway has."""

    folder: Path
    signing_key: str = dataclasses.field(default_factory=_tokens.new_signing_key)
    next_signing_key: str = dataclasses.field(default_factory=_tokens.new_signing_key)

    def __post_init__(self) -> None:
        for number, key in enumerate((self.signing_key, self.next_signing_key)):
            (self.folder / f"public{number}.pem").write_text(_tokens.public_key(key), encoding="utf-8")
        self.deny({})
        now = datetime.datetime.now(datetime.timezone.utc)
        root, key = _ca.new_ca(STUDIO, now)
        self.root.write_text(root, encoding="utf-8")
        self.certificate.write_text("".join(_ca.leaf(root, key, ["127.0.0.1"], now)), encoding="utf-8")

    @property
    def root(self) -> Path:
        return self.folder / "root.pem"

    @property
    def certificate(self) -> Path:
        return self.folder / "certificate.pem"

    def deny(self, denied: t.Mapping[str, t.Any]) -> None:
        (self.folder / "denied.map").write_text(_gateway.denied_file(denied), encoding="utf-8")

    def login(self, keys: int = 1) -> _gateway.Login:
        paths = tuple(str(self.folder / f"public{number}.pem") for number in range(keys))
        return _gateway.Login(paths, STUDIO, str(self.folder / "denied.map"))

    def token(self, workstation: str = WORKSTATION, **options: t.Any) -> str:
        """Return the token that the workstation holds."""
        now = datetime.datetime.now(datetime.timezone.utc)
        return _tokens.mint(self.signing_key, STUDIO, [workstation], now, **options)[workstation][_tokens.TOKEN_FIELD]

    def public_text(self) -> str:
        return _tokens.public_key(self.signing_key)


def claims(**changed: t.Any) -> dict[str, t.Any]:
    """Return the claims of a good token, but for some; None takes one away."""
    now = int(time.time())
    good = {
        "iss": STUDIO,
        "aud": _gateway.AUDIENCE,
        "sub": WORKSTATION,
        "iat": now - 100,
        "nbf": now - 100,
        "exp": now + 1000,
        "jti": "one-token",
    }
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def signed(signing_key: str, content: t.Any, algorithm: str = "ES256") -> str:
    """Return a token with a real signature of ES256, whatever its header says."""
    text = f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(content)}"
    numbers = decode_dss_signature(_tokens.load_key(signing_key).sign(text.encode(), ec.ECDSA(SHA256())))
    return f"{text}.{encoded(b''.join(number.to_bytes(32, 'big') for number in numbers))}"


def signed_with_secret(secret: bytes, content: t.Any) -> str:
    """Return a token that is signed with HS256."""
    text = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(content)}"
    return f"{text}.{encoded(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


def part(content: t.Any) -> str:
    return encoded(json.dumps(content).encode())


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
