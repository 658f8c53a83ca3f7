# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entra ID: tokens for a service principal and for a managed identity, and who may use which token where."""

from __future__ import annotations

import datetime
import re
import secrets
import string
import time
import uuid
from dataclasses import dataclass

from werkzeug.wrappers import Request, Response

from tests.sandbox.azure.directory import Directory, Principal, now
from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.kube.access import User
from tests.sandbox.rest import ApiError, PathValues, RestService, Route, bearer_token, json_response

#: Application ID of every AKS cluster's Kubernetes API, the same in all tenants.
KUBERNETES = "6dae42f8-4368-4678-94ff-3960e28e3630"
#: Audiences of Azure Resource Manager in the public cloud, with which its SDKs ask for tokens.
MANAGEMENT = ("https://management.azure.com", "https://management.core.windows.net")
#: What a managed identity's client has to send as ``X-IDENTITY-HEADER``.
IDENTITY_HEADER = "sandbox-managed-identity"
LIFETIME = 3599
SECRET_LENGTH = 40
SECRET_FIELD = re.compile(r"(client_secret=)[^&]*")


@dataclass(frozen=True)
class AzureAccount:
    """The one tenant, service principal and subscription there is."""

    tenant_id: str
    client_id: str
    client_secret: str
    subscription_id: str
    #: The one workspace of Log Analytics, which has the logs of all clusters.
    workspace_id: str

    @classmethod
    def new(cls) -> AzureAccount:
        """Return one with names that nobody else has."""
        alphabet = string.ascii_letters + string.digits
        secret = "".join(secrets.choice(alphabet) for _number in range(SECRET_LENGTH))
        return cls(str(uuid.uuid4()), str(uuid.uuid4()), secret, str(uuid.uuid4()), str(uuid.uuid4()))


@dataclass(frozen=True)
class Token:
    """What was given out, and for whom to accept. `expires` is in seconds since 1970."""

    audience: str
    expires: float
    #: Object id of the service principal that it was given to; None is the deployer, who may do everything.
    principal: str | None = None


class Entra(RestService):
    """Answers ``/TENANT/oauth2/v2.0/token`` and what clients ask for on their way there."""

    def __init__(
        self, account: AzureAccount, directory: Directory, calls: CallLog, interferences: Interferences
    ) -> None:
        self._account = account
        self._directory = directory
        self._tokens: dict[str, Token] = {}
        super().__init__("entra", calls, interferences)

    def routes(self) -> list[Route]:
        """Return the operations."""
        return [
            Route("GET", "/common/discovery/instance", "instance_discovery", self._discover_instance),
            Route("GET", "/{tenant}/v2.0/.well-known/openid-configuration", "openid_configuration", self._describe),
            Route("POST", "/{tenant}/oauth2/v2.0/token", "token", self._give_token),
            Route("GET", "/msi/token", "managed_identity_token", self._give_identity_token),
        ]

    def check(self, request: Request, values: PathValues) -> None:
        """Refuse the tenants that are somebody else's."""
        tenant = values.get("tenant")
        if tenant is not None and tenant != self._account.tenant_id:
            raise _oauth_error(
                400,
                "invalid_request",
                90002,
                f"Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing "
                "into the correct cloud.",
            )

    def error_response(self, error: ApiError) -> Response:
        """Return an error as OAuth 2.0 wants it."""
        return json_response({"error": error.code, "error_description": error.message}, error.status)

    def logged(self, body: str) -> str:
        """Leave the client secrets that were made here out of the call log.

        The deployer's own stays in it: tests look there for where else it goes.
        """
        return body if self._account.client_secret in body else SECRET_FIELD.sub(r"\1***", body)

    def find(self, token: str | None) -> Token | None:
        """Return what is known of a token; None if it is unknown or too old."""
        found = self._tokens.get(token or "")
        return found if found is not None and found.expires > time.time() else None

    def opens_kubernetes(self, token: str | None) -> bool:
        """Whether Kubernetes APIs accept this token."""
        found = self.find(token)
        return found is not None and found.audience == KUBERNETES

    def kubernetes_user(self, token: str) -> User | None:
        """Return how AKS calls whoever has this token; None for the deployer, who may do everything."""
        found = self.find(token)
        return None if found is None or found.principal is None else User(found.principal)

    def check_management(self, request: Request) -> str | None:
        """Return who asks Azure Resource Manager: an object id, None for the deployer. Raises `ApiError`."""
        return self.check_audience(request, (*MANAGEMENT, request.host_url.rstrip("/")))

    def check_audience(self, request: Request, accepted: tuple[str, ...]) -> str | None:
        """Return who asks a service that accepts tokens for these audiences, as `check_management` does."""
        token = bearer_token(request)
        if token is None:
            raise _unauthorized(
                self._account.tenant_id,
                "AuthenticationFailed",
                "Authentication failed. The 'Authorization' header is missing.",
            )
        known = self._tokens.get(token)
        if known is None:
            raise _unauthorized(self._account.tenant_id, "InvalidAuthenticationToken", "The access token is invalid.")
        if known.expires <= time.time():
            raise _unauthorized(
                self._account.tenant_id, "ExpiredAuthenticationToken", "The access token expiry has passed."
            )
        if known.audience.rstrip("/") not in accepted:
            raise _unauthorized(
                self._account.tenant_id,
                "InvalidAuthenticationTokenAudience",
                f"The access token has been obtained for wrong audience or resource '{known.audience}'. It should "
                f"exactly match with one of the allowed audiences {', '.join(repr(name) for name in accepted)}.",
            )
        return known.principal

    def _discover_instance(self, request: Request, _values: PathValues) -> Response:
        tenant = self._account.tenant_id
        url = f"{request.host_url}{tenant}/v2.0/.well-known/openid-configuration"
        return json_response({"tenant_discovery_endpoint": url, "api-version": "1.1", "metadata": []})

    def _describe(self, request: Request, _values: PathValues) -> Response:
        base = f"{request.host_url}{self._account.tenant_id}"
        return json_response(
            {
                "issuer": f"{base}/v2.0",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
                "jwks_uri": f"{base}/discovery/v2.0/keys",
                "token_endpoint_auth_methods_supported": ["client_secret_post"],
                "response_types_supported": ["code", "id_token"],
                "subject_types_supported": ["pairwise"],
            }
        )

    def _give_token(self, request: Request, _values: PathValues) -> Response:
        form = request.form
        if form.get("grant_type") != "client_credentials":
            message = f"The grant type {form.get('grant_type')!r} is not simulated, only client_credentials is."
            raise ApiError(400, "unsupported_grant_type", message, refused=True)
        client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
        if client_id == self._account.client_id:
            principal = None
            if not secrets.compare_digest(secret, self._account.client_secret):
                raise _wrong_secret(client_id)
        else:
            principal = self._log_in(client_id, secret).object_id
        resource, _slash, default = form.get("scope", "").rpartition("/")
        if default != ".default" or not resource:
            raise _oauth_error(
                400,
                "invalid_scope",
                70011,
                f"The provided value for the input parameter 'scope' is not valid. The scope {form.get('scope')} is "
                "not valid.",
            )
        token = self._new_token(resource, principal)
        return json_response(
            {"token_type": "Bearer", "expires_in": LIFETIME, "ext_expires_in": LIFETIME, "access_token": token}
        )

    def _log_in(self, client_id: str, secret: str) -> Principal:
        """Return the service principal of an application, if this is one of its secrets. Raises `ApiError`."""
        application = self._directory.application(app_id=client_id)
        if application is None or not application.is_known:
            raise _oauth_error(
                400,
                "unauthorized_client",
                700016,
                f"Application with identifier '{client_id}' was not found in the directory. This can happen if the "
                "application has not been installed by the administrator of the tenant.",
            )
        known = [item for item in application.passwords if item.is_known]
        found = next((item for item in known if secrets.compare_digest(item.secret, secret)), None)
        if found is None:
            raise _wrong_secret(client_id)
        if found.end <= now():
            raise _oauth_error(
                401,
                "invalid_client",
                7000222,
                f"The provided client secret keys for app '{client_id}' are expired. Visit the Azure portal to create "
                "new keys for your app.",
            )
        principal = self._directory.principal(app_id=client_id)
        if principal is None or not principal.is_known:
            raise _oauth_error(
                401,
                "invalid_client",
                7000229,
                f"The client application {client_id} is missing service principal in the tenant "
                f"{self._account.tenant_id}.",
            )
        if not principal.enabled:
            text = f"Application '{client_id}'({principal.display_name}) is disabled."
            raise _oauth_error(401, "unauthorized_client", 7000112, text)
        return principal

    def _give_identity_token(self, request: Request, _values: PathValues) -> Response:
        if request.headers.get("X-IDENTITY-HEADER") != IDENTITY_HEADER:
            raise ApiError(401, "unauthorized_client", "The X-IDENTITY-HEADER is missing or wrong.")
        resource = request.args.get("resource", "")
        if not resource or request.args.get("api-version") != "2019-08-01":
            raise ApiError(400, "invalid_request", "resource and api-version 2019-08-01 are needed.")
        return json_response(
            {
                "access_token": self._new_token(resource),
                "expires_on": str(int(time.time()) + LIFETIME),
                "resource": resource,
                "token_type": "Bearer",
                "client_id": self._account.client_id,
            }
        )

    def _new_token(self, audience: str, principal: str | None = None) -> str:
        token = secrets.token_urlsafe(96)
        self._tokens[token] = Token(audience, time.time() + LIFETIME, principal)
        return token


def _wrong_secret(client_id: str) -> ApiError:
    return _oauth_error(
        401,
        "invalid_client",
        7000215,
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not "
        f"the client secret ID, for a secret added to app '{client_id}'.",
    )


def _oauth_error(status: int, code: str, number: int, message: str) -> ApiError:
    time_stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")
    identity = f"Trace ID: {uuid.uuid4()} Correlation ID: {uuid.uuid4()} Timestamp: {time_stamp}"
    return ApiError(status, code, f"AADSTS{number}: {message} {identity}")


def _unauthorized(tenant: str, code: str, message: str) -> ApiError:
    challenge = (
        f'Bearer authorization_uri="https://login.windows.net/{tenant}", error="invalid_token", '
        f'error_description="{message}"'
    )
    return ApiError(401, code, message, headers={"WWW-Authenticate": challenge})
