# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google's OAuth: tokens for service accounts, and who may use which token where."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

from werkzeug.wrappers import Request, Response

from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.gcp.accounts import RefusedError, ServiceAccount, ServiceAccounts
from tests.sandbox.gcp.policy import ProjectPolicy
from tests.sandbox.kube.access import User
from tests.sandbox.rest import ApiError, PathValues, RestService, Route, bearer_token, json_response

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
#: The scope without which a token does not say the account's email.
USERINFO_EMAIL = "https://www.googleapis.com/auth/userinfo.email"
#: The address of Google's own token service: the audience that its SDK signs for, wherever it sends the request.
TOKEN_AUDIENCE = "https://oauth2.googleapis.com/token"
#: Services for which a service account may sign a token by itself.
SERVICES = ("container.googleapis.com", "compute.googleapis.com")
LIFETIME = 3599


class GoogleAccount:
    """The one project, with its service accounts and its policy. At the start there is the deployer's account alone."""

    def __init__(self) -> None:
        number = secrets.randbelow(10**6)
        self.project = f"budgetguard-sandbox-{number:06d}"
        self.accounts = ServiceAccounts(self.project)
        self._deployer = self.accounts.add("techops")
        self._key = self._deployer.new_key()
        self.email = self._deployer.email
        self.policy = ProjectPolicy(self.accounts, self.email)

    def key_file(self, url: str) -> str:
        """Return the content of the deployer's key file."""
        return self._deployer.key_file(self._key, self.project, url)

    def reset(self) -> None:
        """Forget all accounts but the deployer's, and what others may do."""
        self.accounts.all = [self._deployer]
        self._deployer.disabled = self._deployer.deleted = False
        self._deployer.keys = {self._key.id: self._key}
        self.policy.reset()


@dataclass(frozen=True)
class Token:
    """What was given out, and to whom. `expires` is in seconds since 1970."""

    account: ServiceAccount
    scopes: tuple[str, ...]
    expires: float

    @property
    def works(self) -> bool:
        """Whether it is accepted. It outlives the key that it was got with, but not the account."""
        return self.expires > time.time() and not self.account.disabled and not self.account.deleted


class GoogleOauth(RestService):
    """Answers ``/token``."""

    def __init__(self, account: GoogleAccount, calls: CallLog, interferences: Interferences) -> None:
        self._account = account
        self._tokens: dict[str, Token] = {}
        super().__init__("google-oauth", calls, interferences)

    def routes(self) -> list[Route]:
        """Return the operations."""
        return [Route("POST", "/token", "token", self._give_token)]

    def check(self, request: Request, values: PathValues) -> None:
        """Let everybody ask."""

    def error_response(self, error: ApiError) -> Response:
        """Return an error as OAuth 2.0 wants it."""
        return json_response({"error": error.code, "error_description": error.message}, error.status)

    def access_token(self, token: str | None) -> Token | None:
        """Return what is known of a token that was given out here; None if it does not hold."""
        found = self._tokens.get((token or "").removeprefix("Bearer "))
        return found if found is not None and found.works else None

    def opens_kubernetes(self, token: str | None) -> bool:
        """Whether a GKE cluster lets somebody in: with an access token, and the right to know of the cluster."""
        found = self.access_token(token)
        return found is not None and self._account.policy.allows(found.account.email, "container.clusters.get")

    def kubernetes_user(self, token: str) -> User | None:
        """Return how a GKE cluster calls somebody; None for those who may do everything in it by a role of IAM.

        By the email where the token says it, else by the account's number.
        """
        found = self.access_token(token)
        if found is None or self._account.policy.allows(found.account.email, "container.roleBindings.create"):
            return None
        return User(found.account.email if USERINFO_EMAIL in found.scopes else found.account.unique_id)

    def check_google(self, request: Request) -> ServiceAccount:
        """Return who asks Google's APIs, by an access token or one self-signed for them. Raises `ApiError`.

        Of an API's own scopes the sandbox knows none: a token has to be for all of Google Cloud.
        """
        token = bearer_token(request)
        if token is None:
            raise ApiError(
                401,
                "UNAUTHENTICATED",
                "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or "
                "other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
                headers={"WWW-Authenticate": 'Bearer realm="https://accounts.google.com/"'},
            )
        known = self.access_token(token)
        if known is not None and CLOUD_PLATFORM not in known.scopes:
            raise ApiError(403, "PERMISSION_DENIED", "Request had insufficient authentication scopes.")
        account = known.account if known is not None else self._self_signed(token, request)
        if account is None:
            raise ApiError(
                401,
                "UNAUTHENTICATED",
                "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other "
                "valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
                headers={"WWW-Authenticate": 'Bearer realm="https://accounts.google.com/", error="invalid_token"'},
            )
        return account

    def _self_signed(self, token: str, request: Request) -> ServiceAccount | None:
        try:
            account, claims = self._account.accounts.claims(token)
        except RefusedError:
            return None
        audiences = [f"https://{host}/" for host in (*SERVICES, request.host)]
        meant = claims.get("aud") in audiences or CLOUD_PLATFORM in str(claims.get("scope", "")).split()
        return account if meant and claims.get("sub") == account.email else None

    def _give_token(self, request: Request, _values: PathValues) -> Response:
        if request.form.get("grant_type") != JWT_BEARER:
            message = f"The grant type {request.form.get('grant_type')!r} is not simulated, only {JWT_BEARER} is."
            raise ApiError(400, "unsupported_grant_type", message, refused=True)
        try:
            account, claims = self._account.accounts.claims(request.form.get("assertion", ""))
        except RefusedError as error:
            raise ApiError(400, "invalid_grant", str(error)) from error
        if claims.get("aud") not in (TOKEN_AUDIENCE, request.base_url):
            raise ApiError(400, "invalid_grant", "Invalid JWT: Failed audience check.")
        scopes = tuple(str(claims.get("scope", "")).split())
        if not scopes:
            raise ApiError(400, "invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        token = f"ya29.{secrets.token_urlsafe(96)}"
        self._tokens[token] = Token(account, scopes, time.time() + LIFETIME)
        return json_response({"access_token": token, "expires_in": LIFETIME, "token_type": "Bearer"})


def google_error(error: ApiError) -> Response:
    """Return an error as Google's APIs write it; `code` of the error is the status's name."""
    return json_response(
        {"error": {"code": error.status, "message": error.message, "status": error.code}}, error.status
    )


def check_permission(account: GoogleAccount, who: ServiceAccount, permission: str, place: str) -> None:
    """Raise `ApiError` unless somebody has a role in the project that allows this."""
    if not account.policy.allows(who.email, permission):
        raise ApiError(403, "PERMISSION_DENIED", f'Required "{permission}" permission(s) for "{place}".')
