# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The one place that talks to Azure's SDK: credentials, waiting for operations, and errors in our own words.

The client for AKS also makes the few plain calls for the resource group and quotas, so no further package is needed.
"""

from __future__ import annotations

import json
import threading
import time
import traceback
import typing as t
from urllib.parse import quote, urlsplit

from ansible_collections.budgetguard.techops.plugins.module_utils._provider import (
    UNREADABLE,
    ConflictError,
    MissingLibraryError,
    ProviderError,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_words import (
    is_private_authority,
    one_line,
)

try:
    import azure.identity
    from azure.core import PipelineClient
    from azure.core import exceptions as errors
    from azure.core.pipeline.policies import BearerTokenCredentialPolicy, RetryPolicy
    from azure.core.rest import HttpRequest
    from azure.mgmt.containerservice import ContainerServiceClient
except ImportError:
    HAS_AZURE = False
    AZURE_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    HAS_AZURE = True
    AZURE_IMPORT_ERROR = None

OPERATION_TIMEOUT = 3600.0
"""Seconds after which waiting for Azure is given up. A cluster takes 5 to 10 minutes, a pool 2 to 5."""

PAUSE = 15.0
"""Seconds between two looks at what Azure is doing, unless its answer or the module's options say otherwise."""

RETRIES: t.Mapping[str, t.Any] = {"retry_status": 7, "retry_backoff_max": 10}
"""How often a call is tried again while Azure throttles or fails in passing. The SDK's own default of 3 is too little
where many workstations are looked after at once; its longest pause of two minutes would be too long then."""

_PASSING_STATUSES = (409, 412)
_PASSING_CODES = ("OperationPreempted",)
_MISSING_CODES = (
    "ResourceNotFound",
    "ResourceGroupNotFound",
    "NotFound",
    "Request_ResourceNotFound",
    "RoleAssignmentNotFound",
)
_LASTING_CODES = ("ScopeLocked", "MissingSubscriptionRegistration")
_TOKEN_RESERVE_SECONDS = 300

FORBIDDEN = "The deployer needs the role Contributor on the resource group."
"""What to add to a refusal, unless the caller knows better."""

Result = t.TypeVar("Result")


class AzureSession:
    """Calls one subscription with one set of credentials. May be used by several threads."""

    def __init__(self, options: t.Mapping[str, t.Any], sleep: t.Callable[[float], None] = time.sleep) -> None:
        if not HAS_AZURE:
            raise MissingLibraryError("azure-mgmt-containerservice and azure-identity", AZURE_IMPORT_ERROR)
        self._sleep = sleep
        self._lock = threading.Lock()
        self._tokens: dict[str, tuple[str, float]] = {}
        self.subscription: str = options["subscription_id"]
        self.pause: float = PAUSE if options.get("wait_interval") is None else options["wait_interval"]
        self._credential, self.identity = _open_credential(options)
        endpoint = options.get("resource_manager_endpoint")
        where = _endpoint(endpoint) if endpoint else {}
        self.client = ContainerServiceClient(
            self._credential, self.subscription, polling_interval=t.cast(int, self.pause), **RETRIES, **where
        )

    def token(self, scope: str, doing: str) -> str:
        """Return a bearer token for a scope that is valid for minutes to come; asks for a new one only when needed."""
        with self._lock:
            token, expires = self._tokens.get(scope, ("", 0.0))
            if expires - _TOKEN_RESERVE_SECONDS <= time.time():
                found = self.call(doing, lambda: self._credential.get_token(scope))
                token, expires = found.token, float(found.expires_on)
                self._tokens[scope] = (token, expires)
            return token

    def call(self, doing: str, make: t.Callable[[], Result], forbidden: str = FORBIDDEN) -> Result:
        """Make one call of the SDK, with the SDK's own retries of what passes.

        ``forbidden`` is what to add where the deployer may not do it. Raises ConflictError where another operation is
        in the way, NotFoundError where there is no such thing, and otherwise ProviderError, each with what was being
        done.
        """
        try:
            return make()
        except errors.ClientAuthenticationError as exc:
            raise ProviderError(
                f"cannot {doing}: Azure does not accept {self.identity}: {one_line(_words(exc)[1])}"
            ) from exc
        except errors.HttpResponseError as exc:
            raise _translated(doing, exc, forbidden) from exc
        except errors.AzureError as exc:
            raise ProviderError(f"cannot {doing}: Azure does not answer ({one_line(_words(exc)[1])})") from exc
        except json.JSONDecodeError as exc:
            raise ProviderError(f"cannot {doing}: {UNREADABLE}") from exc

    def rest(
        self,
        doing: str,
        method: str,
        path: str,
        api_version: str,
        body: t.Mapping[str, t.Any] | None = None,
        forbidden: str = FORBIDDEN,
    ) -> dict[str, t.Any]:
        """Make one plain call of Azure Resource Manager below the subscription; {} where it answers without content."""
        url = f"/subscriptions/{self.subscription}/{path}?api-version={api_version}"
        return self._send(doing, method, url, body, forbidden)

    def rest_list(
        self, doing: str, path: str, api_version: str, filter_by: str | None = None, forbidden: str = FORBIDDEN
    ) -> list[dict[str, t.Any]]:
        """Return the items of all pages of a list below the subscription."""
        url = f"/subscriptions/{self.subscription}/{path}?api-version={api_version}"
        if filter_by:
            url += f"&$filter={quote(filter_by)}"
        answer = self._send(doing, "GET", url, None, forbidden)
        items = list(answer["value"])
        while answer.get("nextLink"):
            answer = self._send(doing, "GET", answer["nextLink"], None, forbidden)
            items += answer["value"]
        return items

    def _send(
        self, doing: str, method: str, url: str, body: t.Mapping[str, t.Any] | None, forbidden: str
    ) -> dict[str, t.Any]:
        def make() -> dict[str, t.Any]:
            return content_of(self.client.send_request(HttpRequest(method, url, json=body)))

        return self.call(doing, make, forbidden)

    def post(self, doing: str, endpoint: str, path: str, body: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """Make one call of another of Azure's services, one that only reads, again while it is busy."""
        return self._ask(doing, endpoint, HttpRequest("POST", f"{endpoint}{path}", json=body), endpoint, FORBIDDEN)

    def post_form(
        self, doing: str, endpoint: str, path: str, fields: t.Mapping[str, str], audience: str, forbidden: str
    ) -> dict[str, t.Any]:
        """Do the same with a form, and with a token for another audience than the address."""
        request = HttpRequest("POST", f"{endpoint}{path}", data=dict(fields))
        return self._ask(doing, endpoint, request, audience, forbidden)

    def _ask(self, doing: str, endpoint: str, request: HttpRequest, audience: str, forbidden: str) -> dict[str, t.Any]:
        policies = [RetryPolicy(), BearerTokenCredentialPolicy(self._credential, f"{audience}/.default")]
        client: t.Any = PipelineClient(endpoint, policies=policies)

        def make() -> dict[str, t.Any]:
            return content_of(client.send_request(request, retry_on_methods=frozenset({"POST"})))

        with client:
            return self.call(doing, make, forbidden)

    def resource(self, doing: str, resource_id: str, api_version: str) -> dict[str, t.Any]:
        """Return one object of Azure Resource Manager by its whole id, also of another subscription."""
        return self._send(doing, "GET", f"{resource_id}?api-version={api_version}", None, FORBIDDEN)

    def finish(self, doing: str, begin: t.Callable[[], t.Any]) -> t.Any:
        """Start an operation of the SDK that takes minutes, wait until it has ended, and return its result."""
        poller = self.call(doing, begin)
        self.call(doing, lambda: poller.wait(OPERATION_TIMEOUT))
        if not poller.done():
            raise ProviderError(_too_long(doing))
        return self.call(doing, poller.result)

    def wait_until(self, doing: str, done: t.Callable[[], bool]) -> None:
        """Look again and again until something has happened."""
        deadline = time.monotonic() + OPERATION_TIMEOUT
        while not done():
            if time.monotonic() > deadline:
                raise ProviderError(_too_long(doing))
            self._sleep(self.pause)


def content_of(response: t.Any) -> dict[str, t.Any]:
    """Return the JSON of an answer, {} where it has none. Raises the SDK's own errors."""
    if response.status_code == 401:
        raise errors.ClientAuthenticationError(response=response)
    if response.status_code >= 300:
        raise errors.HttpResponseError(response=response)
    return t.cast(dict[str, t.Any], response.json()) if response.content else {}


def codes_of(exc: BaseException) -> frozenset[str]:
    """Return all codes in the answer that an error comes from: Microsoft Graph often puts the telling one deeper."""
    try:
        error = t.cast(t.Any, exc.__cause__).response.json()["error"]
        found = [error.get("code"), *(item.get("code") for item in error.get("details") or ())]
    except (AttributeError, KeyError, TypeError, ValueError):
        return frozenset()
    return frozenset(str(code) for code in found if code)


def status_of(exc: BaseException) -> int | None:
    """Return the HTTP status of the answer that an error comes from; None if there was no answer."""
    return getattr(getattr(exc.__cause__, "response", None), "status_code", None)


class NotFoundError(ProviderError):
    """There is no such thing."""


class ForbiddenError(ProviderError):
    """The deployer lacks a role."""


def check_endpoint(option: str, address: str, example: str) -> str:
    """Return the address of a service without a slash at its end. Raises ValueError for one that cannot be."""
    parts = urlsplit(address)
    if parts.scheme != "https" or not parts.hostname:
        raise ValueError(f"{option} is {address!r}; it must be an https address, for example {example}")
    return address.rstrip("/")


def _endpoint(address: str) -> dict[str, t.Any]:
    """Return the client's arguments for another Azure Resource Manager than the public one."""
    base = check_endpoint("resource_manager_endpoint", address, "https://management.azure.com")
    return {"base_url": base, "credential_scopes": [f"{base}/.default"]}


def _open_credential(options: t.Mapping[str, t.Any]) -> tuple[t.Any, str]:
    """Return the credential that the options mean, and how to call it in an error."""
    tenant, client_id, secret = (options.get(name) for name in ("tenant", "client_id", "secret"))
    source = options.get("auth_source") or "auto"
    if source == "service_principal" or (source == "auto" and secret):
        missing = [name for name in ("tenant", "client_id", "secret") if not options.get(name)]
        if missing:
            raise ValueError(f"a service principal needs tenant, client_id and secret; not set: {', '.join(missing)}")
        credential = azure.identity.ClientSecretCredential(
            str(tenant), str(client_id), str(secret), disable_instance_discovery=is_private_authority()
        )
        return credential, f"the service principal {client_id} of tenant {tenant}"
    if source == "managed_identity":
        named = f"the managed identity {client_id}" if client_id else "this machine's managed identity"
        return azure.identity.ManagedIdentityCredential(client_id=client_id or None), named
    if source == "cli":
        return azure.identity.AzureCliCredential(tenant_id=tenant or ""), "the login of the Azure CLI"
    chain = azure.identity.DefaultAzureCredential(
        exclude_environment_credential=True,
        exclude_shared_token_cache_credential=True,
        exclude_visual_studio_code_credential=True,
        exclude_powershell_credential=True,
        exclude_developer_cli_credential=True,
        exclude_broker_credential=True,
        managed_identity_client_id=client_id or None,
        disable_instance_discovery=is_private_authority(),
    )
    return chain, "workload identity, managed identity or the login of the Azure CLI (no tenant, client_id and secret)"


def _translated(doing: str, exc: errors.HttpResponseError, forbidden: str) -> ProviderError:
    status, (code, message) = exc.status_code, _words(exc)
    text = f"cannot {doing}: {one_line(message)}" + (f" ({code})" if code else "")
    if code == "Directory_QuotaExceeded":
        return ProviderError(f"{text}. Applications that were deleted in the last 30 days count as well")
    if "quota" in f"{code} {message}".lower():
        return ProviderError(f"{text}. Ask for more in the Azure portal under Quotas, Compute.")
    if status == 403:
        return ForbiddenError(f"{text}. {forbidden}")
    if status == 404 and code in _MISSING_CODES:
        return NotFoundError(text)
    if (status in _PASSING_STATUSES or code in _PASSING_CODES) and code not in _LASTING_CODES:
        return ConflictError(text)
    return ProviderError(text)


def _words(exc: errors.AzureError) -> tuple[str, str]:
    """Return Azure's own code and message, without the SDK's words around them.

    Azure Resource Manager answers ``{"error": {"code", "message"}}``. AKS leaves out the envelope, and then the SDK
    reads nothing. Prometheus writes ``{"errorType", "error"}``.
    """
    error = getattr(exc, "error", None)
    if error is not None and error.message:
        return str(error.code or ""), str(error.message)
    try:
        body = t.cast(t.Any, exc).response.json()
        if "errorType" in body:
            return str(body["errorType"]), str(body["error"])
        error = body.get("error", body)
        return str(error["code"]), str(error["message"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return "", str(exc.message)


def _too_long(doing: str) -> str:
    minutes = round(OPERATION_TIMEOUT / 60)
    return f"cannot {doing}: Azure has not ended it after {minutes} minutes; the next run continues from here"
