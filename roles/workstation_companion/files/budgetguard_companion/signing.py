# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sign requests with the workstation's own keys: AWS Signature Version 4, and Google's signed JWT. Pure.

ComfyUI's Python need not have boto3 or google-auth, and two calls need no more than this.
The forms: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html and
https://developers.google.com/identity/protocols/oauth2/service-account.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import json
import typing as t
from urllib.parse import urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"
JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
JWT_SECONDS = 3600


class SigningError(Exception):
    """A key cannot be used. The text holds nothing of it."""


def aws_headers(
    key: tuple[str, str], place: tuple[str, str], url: str, headers: t.Mapping[str, str], body: bytes, now: float
) -> dict[str, str]:
    """Return the headers of a POST to a service's root, signed.

    :arg key: access key ID and secret access key.
    :arg place: region and service.
    :arg now: seconds since 1970.
    """
    moment = datetime.datetime.fromtimestamp(now, datetime.timezone.utc)
    day, stamp = moment.strftime("%Y%m%d"), moment.strftime("%Y%m%dT%H%M%SZ")
    region, service = place
    signed = {**headers, "Host": urlsplit(url).netloc, "X-Amz-Date": stamp}
    canonical = sorted((name.lower(), " ".join(value.split())) for name, value in signed.items())
    names = ";".join(name for name, _value in canonical)
    lines = ["POST", "/", "", *(f"{name}:{value}" for name, value in canonical), "", names, _hex(body)]
    scope = f"{day}/{region}/{service}/aws4_request"
    secret = f"AWS4{key[1]}".encode()
    for part in (day, region, service, "aws4_request"):
        secret = _keyed(secret, part)
    text = "\n".join([ALGORITHM, stamp, scope, _hex("\n".join(lines).encode())])
    signature = _keyed(secret, text).hex()
    authorization = f"{ALGORITHM} Credential={key[0]}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**signed, "Authorization": authorization}


def google_assertion(account: t.Mapping[str, t.Any], scope: str, now: float) -> str:
    """Return the JWT for which Google gives a token. Raises SigningError for a key that is none."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    begin = int(now)
    claims = {
        "iss": account["client_email"],
        "scope": scope,
        "aud": account["token_uri"],
        "iat": begin,
        "exp": begin + JWT_SECONDS,
    }
    header = {"alg": "RS256", "typ": "JWT", "kid": account.get("private_key_id", "")}
    text = f"{_web_safe(json.dumps(header).encode())}.{_web_safe(json.dumps(claims).encode())}"
    try:
        key = serialization.load_pem_private_key(str(account["private_key"]).encode(), None)
    except (ValueError, TypeError):
        raise SigningError("the service account's key is broken") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SigningError("the service account's key is of another kind than RSA")
    return f"{text}.{_web_safe(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _hex(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _keyed(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _web_safe(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")
