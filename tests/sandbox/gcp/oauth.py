# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google's OAuth: tokens for a service account, and who may use which token where."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from werkzeug.wrappers import Request, Response

from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.rest import ApiError, PathValues, RestService, Route, bearer_token, json_response

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
#: The address of Google's own token service: the audience that its SDK signs for, wherever it sends the request.
TOKEN_AUDIENCE = "https://oauth2.googleapis.com/token"
#: Services for which a service account may sign a token by itself.
SERVICES = ("container.googleapis.com", "compute.googleapis.com")
LIFETIME = 3599
#: Google does not accept signatures that hold for longer.
LONGEST = 3600
KEY_BITS = 2048


class GoogleAccount:
    """The one project and service account there is."""

    def __init__(self) -> None:
        number = secrets.randbelow(10**6)
        self.project = f"budgetguard-sandbox-{number:06d}"
        self.email = f"techops@{self.project}.iam.gserviceaccount.com"
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
        self._key_id = secrets.token_hex(20)

    def key_file(self, url: str) -> str:
        """Return the content of the service account's key file."""
        pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        content = {
            "type": "service_account",
            "project_id": self.project,
            "private_key_id": self._key_id,
            "private_key": pem.decode(),
            "client_email": self.email,
            "client_id": "100000000000000000001",
            "auth_uri": f"{url}/o/oauth2/auth",
            "token_uri": f"{url}/token",
            "universe_domain": "googleapis.com",
        }
        return json.dumps(content, indent=2) + "\n"

    def claims(self, token: str) -> dict[str, Any] | None:
        """Return what a token says that the service account has signed; None if it has not, or it is too old."""
        try:
            claims: dict[str, Any] = jwt.decode(
                token, self._key.public_key(), algorithms=["RS256"], options={"verify_aud": False}
            )
        except jwt.InvalidTokenError:
            return None
        lasts = claims.get("exp", 0) - claims.get("iat", 0)
        return claims if claims.get("iss") == self.email and 0 < lasts <= LONGEST else None


class GoogleOauth(RestService):
    """Answers ``/token``."""

    def __init__(self, account: GoogleAccount, calls: CallLog, interferences: Interferences) -> None:
        self._account = account
        #: Access tokens and when they end, in seconds since 1970.
        self._tokens: dict[str, float] = {}
        super().__init__("google-oauth", calls, interferences)

    def routes(self) -> list[Route]:
        """Return the operations."""
        return [Route("POST", "/token", "token", self._give_token)]

    def check(self, request: Request, values: PathValues) -> None:
        """Let everybody ask."""

    def error_response(self, error: ApiError) -> Response:
        """Return an error as OAuth 2.0 wants it."""
        return json_response({"error": error.code, "error_description": error.message}, error.status)

    def is_access_token(self, token: str | None) -> bool:
        """Whether a token was given out here and still holds. Kubernetes APIs accept such tokens only."""
        return self._tokens.get((token or "").removeprefix("Bearer "), 0.0) > time.time()

    def check_google(self, request: Request) -> None:
        """Raise `ApiError` unless the request may ask Google's APIs: an access token, or one self-signed for them."""
        token = bearer_token(request)
        if token is None:
            raise ApiError(
                401,
                "UNAUTHENTICATED",
                "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or "
                "other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
                headers={"WWW-Authenticate": 'Bearer realm="https://accounts.google.com/"'},
            )
        if not self.is_access_token(token) and not self._is_self_signed(token, request):
            raise ApiError(
                401,
                "UNAUTHENTICATED",
                "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other "
                "valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
                headers={"WWW-Authenticate": 'Bearer realm="https://accounts.google.com/", error="invalid_token"'},
            )

    def _is_self_signed(self, token: str, request: Request) -> bool:
        claims = self._account.claims(token)
        if claims is None or claims.get("sub") != self._account.email:
            return False
        audiences = [f"https://{host}/" for host in (*SERVICES, request.host)]
        return claims.get("aud") in audiences or CLOUD_PLATFORM in str(claims.get("scope", "")).split()

    def _give_token(self, request: Request, _values: PathValues) -> Response:
        if request.form.get("grant_type") != JWT_BEARER:
            message = f"The grant type {request.form.get('grant_type')!r} is not simulated, only {JWT_BEARER} is."
            raise ApiError(400, "unsupported_grant_type", message, refused=True)
        assertion = request.form.get("assertion", "")
        claims = self._account.claims(assertion)
        if claims is None:
            raise ApiError(400, "invalid_grant", _why_not(assertion, self._account.email))
        if claims.get("aud") not in (TOKEN_AUDIENCE, request.base_url):
            raise ApiError(400, "invalid_grant", "Invalid JWT: Failed audience check.")
        if not claims.get("scope"):
            raise ApiError(400, "invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        token = f"ya29.{secrets.token_urlsafe(96)}"
        self._tokens[token] = time.time() + LIFETIME
        return json_response({"access_token": token, "expires_in": LIFETIME, "token_type": "Bearer"})


def _why_not(assertion: str, email: str) -> str:
    try:
        claims = jwt.decode(assertion, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return "Invalid JWT: Failed to parse."
    if claims.get("iss") != email:
        return "Invalid grant: account not found"
    if claims.get("exp", 0) < time.time():
        return "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
    return "Invalid JWT Signature."


def google_error(error: ApiError) -> Response:
    """Return an error as Google's APIs write it; `code` of the error is the status's name."""
    return json_response(
        {"error": {"code": error.status, "message": error.message, "status": error.code}}, error.status
    )
