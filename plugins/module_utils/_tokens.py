# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Tokens with which workstations ask the gateway: JWTs signed with ES256 (RFC 7515, RFC 7518, RFC 7519). Pure.

A token follows from the signing key, the workstation and a window of time, and so does its signature (RFC 6979). So
every run gives the same token until the next window begins, and nothing has to be stored, locked or taken back.
PyJWT is not used for that reason: its signatures are random. It checks our tokens in the tests.

A window is two thirds of a token's life. So a token is replaced when a third of its life is left, and a workstation
that was off has that time to get the new one. Windows of different workstations begin at different times.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import traceback
import typing as t

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.budgetguard.techops.plugins.module_utils._gateway import AUDIENCE, WORD

try:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256
except ImportError:
    CRYPTOGRAPHY_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    CRYPTOGRAPHY_IMPORT_ERROR = None

TOKEN_FIELD, EXPIRES_FIELD, CA_FIELD = "Token", "Expires", "CA Certificate"
"""The fields of C(gateway) in a workstation's credentials."""

DAYS = 90
MOST_DAYS = 825
_DAY_SECONDS = 86400
_COORDINATE_BYTES = 32


class TokenError(ValueError):
    """No token can be made of this. The text never holds a key."""


def missing_library() -> str | None:
    """Return the text to fail with when the cryptography library cannot be imported, else None."""
    if CRYPTOGRAPHY_IMPORT_ERROR is None:
        return None
    message: str = missing_required_lib("cryptography", reason="to sign tokens (needed on the controller)")
    return message


def new_signing_key() -> str:
    """Return a new key as PEM. It is random, and never derived from the studio key, which workstations may hold."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def public_key(signing_key: str) -> str:
    """Return the public half as PEM, the form in which HAProxy takes it. Raises TokenError."""
    return (
        load_key(signing_key)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def check_public_key(where: str, pem: str) -> str:
    """Return a public key as PEM. Raises TokenError for what is none, above all for a private one."""
    if "PRIVATE" in pem:
        raise TokenError(f"{where} is a private key; it goes to gateways, so it must be the public half")
    try:
        found = serialization.load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        found = None
    if not isinstance(found, ec.EllipticCurvePublicKey) or not isinstance(found.curve, ec.SECP256R1):
        raise TokenError(f"{where} must be a public key of the curve P-256 as PEM (BEGIN PUBLIC KEY)")
    return found.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def load_key(signing_key: str) -> ec.EllipticCurvePrivateKey:
    """Return a key from its PEM. Raises TokenError."""
    try:
        key = serialization.load_pem_private_key(signing_key.encode(), password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise TokenError(
            "the signing key must be a private key of the curve P-256 as PEM, without a password; "
            "the playbook gateway_key makes one"
        )
    return key


def mint(
    signing_key: str,
    studio: str,
    workstations: t.Iterable[str],
    now: datetime.datetime,
    *,
    days: int = DAYS,
    denied: t.Mapping[str, int] | None = None,
) -> dict[str, dict[str, str]]:
    """Return the token of each workstation, as the fields of its credentials.

    ``denied`` is workstation to the time (in seconds since 1970) before which its tokens are refused. Its token here is
    issued then at the earliest, so that a workstation which is allowed again gets one that works.

    Raises TokenError.
    """
    key = load_key(signing_key)
    if not WORD.match(studio):
        raise TokenError(f"studio is {studio!r}; it must be letters, digits and -._ such as example-studio")
    if not 1 <= days <= MOST_DAYS:
        raise TokenError(f"token_days is {days}; it must be from 1 to {MOST_DAYS}")
    header = _part({"alg": "ES256", "typ": "JWT"})
    tokens = {}
    for name in workstations:
        claims = _claims(studio, _checked(name), int(now.timestamp()), days, (denied or {}).get(name, 0))
        signed = f"{header}.{_part(claims)}"
        tokens[name] = {TOKEN_FIELD: f"{signed}.{_sign(key, signed)}", EXPIRES_FIELD: _moment(claims["exp"])}
    return tokens


def _claims(studio: str, workstation: str, now: int, days: int, issued_after: int) -> dict[str, t.Any]:
    life = days * _DAY_SECONDS
    start = window_start(workstation, now, life * 2 // 3)
    issued = max(start, min(issued_after, now))
    mark = hashlib.sha256(f"{studio}\0{workstation}\0{issued}\0{start + life}".encode()).digest()
    return {
        "iss": studio,
        "aud": AUDIENCE,
        "sub": workstation,
        "iat": issued,
        "nbf": issued,
        "exp": start + life,
        "jti": _base64(mark[:16]),
    }


def window_start(name: str, now: int, step: int) -> int:
    """Return when the window in which ``now`` lies began. The name shifts it, so that not all begin at once."""
    shift = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % step
    return (now - shift) // step * step + shift


def _checked(workstation: str) -> str:
    if not WORD.match(workstation):
        raise TokenError(
            f"the workstation {workstation!r} cannot be named in a token: its name may have letters, digits and -._"
        )
    return workstation


def _sign(key: ec.EllipticCurvePrivateKey, text: str) -> str:
    """Return the signature in the form of RFC 7518 section 3.4: both numbers in full length."""
    try:
        signature = key.sign(text.encode(), ec.ECDSA(SHA256(), deterministic_signing=True))
    except UnsupportedAlgorithm:
        raise TokenError(
            "this cryptography library is built with an OpenSSL before 3.2, which makes no deterministic signatures; "
            "install the one from PyPI"
        ) from None
    return _base64(b"".join(number.to_bytes(_COORDINATE_BYTES, "big") for number in decode_dss_signature(signature)))


def _part(content: t.Mapping[str, t.Any]) -> str:
    return _base64(json.dumps(content, separators=(",", ":")).encode())


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _moment(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
