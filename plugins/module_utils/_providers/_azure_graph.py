# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Plain calls of Microsoft Graph: the applications of a tenant, their service principals and their secrets.

An application is addressed by its unique name, which Graph takes as a key and which nobody can take twice
(learn.microsoft.com/graph/api/application-upsert); everything after that by its client id.
"""

from __future__ import annotations

import time
import typing as t
from urllib.parse import quote

from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_session import (
    RETRIES,
    AzureSession,
    NotFoundError,
    check_endpoint,
    content_of,
    status_of,
)

try:
    from azure.core import PipelineClient
    from azure.core.pipeline.policies import RetryPolicy, UserAgentPolicy
    from azure.core.rest import HttpRequest
except ImportError:
    pass  # AzureSession says what is missing.

PUBLIC = "https://graph.microsoft.com"
FORBIDDEN = (
    "The deployer needs the permission Application.ReadWrite.OwnedBy of Microsoft Graph, with an administrator's "
    "consent, and must be an owner of the application."
)

APPLICATION_FIELDS = "id,appId,displayName,tags,passwordCredentials"
PRINCIPAL_FIELDS = "id,appId,accountEnabled,appOwnerOrganizationId"

MOST_WAITS = 8
"""How often a call that may be made only once is tried again while Graph throttles."""
LONGEST_WAIT = 60.0

_REPEATABLE = frozenset({"GET", "PATCH", "POST", "DELETE"})
_ONCE: dict[str, t.Any] = {"retry_total": 0}

Json = dict[str, t.Any]


def base_of(endpoint: str | None) -> str:
    """Return where Microsoft Graph is. Raises ValueError for an address that is none."""
    return check_endpoint("graph_endpoint", endpoint or PUBLIC, PUBLIC)


def scope_of(endpoint: str | None) -> str:
    """Return the scope of tokens for Microsoft Graph. Each sovereign cloud has its own."""
    return f"{base_of(endpoint)}/.default"


class UncertainError(ProviderError):
    """Nobody knows whether a secret was made: Graph failed, or its answer was lost."""


class Graph:
    """The part of Microsoft Graph that is needed here. Raises what AzureSession.call() raises."""

    def __init__(
        self, session: AzureSession, endpoint: str | None, sleep: t.Callable[[float], None] = time.sleep
    ) -> None:
        base = base_of(endpoint)
        self._session = session
        self._sleep = sleep
        self._scope = scope_of(endpoint)
        self._base = f"{base}/v1.0"
        policies = [UserAgentPolicy("budgetguard-techops"), RetryPolicy(**RETRIES)]
        self._client: t.Any = PipelineClient(base, policies=policies)

    # ---- applications ----------------------------------------------------------------------------------------------

    def application(self, unique_name: str) -> Json | None:
        """Return an application; None if there is none."""
        path = f"/applications(uniqueName='{unique_name}')"
        return self._find(f"read the application {unique_name}", path, APPLICATION_FIELDS)

    def make_application(self, unique_name: str, body: t.Mapping[str, t.Any]) -> Json | None:
        """Make an application; None if another run has made it."""
        path = f"/applications(uniqueName='{unique_name}')"
        return self._upsert(f"create the application {unique_name}", path, body)

    def delete_application(self, app_id: str) -> None:
        """Delete an application. Entra keeps it for 30 days, in which it can be restored."""
        self._delete(f"delete the application {app_id}", f"/applications(appId='{app_id}')")

    # ---- service principals ----------------------------------------------------------------------------------------

    def principal(self, app_id: str) -> Json | None:
        """Return the service principal of an application; None if there is none."""
        path = f"/servicePrincipals(appId='{app_id}')"
        return self._find(f"read the service principal of the application {app_id}", path, PRINCIPAL_FIELDS)

    def make_principal(self, app_id: str, body: t.Mapping[str, t.Any]) -> Json | None:
        """Make the service principal of an application; None if another run has made it."""
        path = f"/servicePrincipals(appId='{app_id}')"
        return self._upsert(f"create the service principal of the application {app_id}", path, body)

    def delete_principal(self, app_id: str) -> None:
        """Delete the service principal of an application."""
        path = f"/servicePrincipals(appId='{app_id}')"
        self._delete(f"delete the service principal of the application {app_id}", path)

    # ---- secrets ---------------------------------------------------------------------------------------------------

    def add_password(self, app_id: str, display_name: str, end: str) -> Json:
        """Make a secret. It is sent once: only what was refused, and so has made none, is tried again.

        Raises UncertainError where there may be a secret now that nobody has.
        """
        doing = f"create a secret of the application {app_id}"
        path = f"/applications(appId='{app_id}')/addPassword"
        body = {"passwordCredential": {"displayName": display_name, "endDateTime": end}}
        for rest in reversed(range(MOST_WAITS)):
            try:
                return self._send(doing, "POST", path, body, **_ONCE)
            except ProviderError as exc:
                status = status_of(exc)
                if status is None or status >= 500:
                    raise UncertainError(str(exc)) from exc
                if status != 429 or not rest:
                    raise
                self._sleep(_asked_for(exc))
        raise AssertionError("the last turn returns or raises")

    def remove_password(self, app_id: str, key_id: str) -> None:
        """Remove a secret."""
        doing = f"delete the secret {key_id} of the application {app_id}"
        self._send(doing, "POST", f"/applications(appId='{app_id}')/removePassword", {"keyId": key_id})

    # ---- one call --------------------------------------------------------------------------------------------------

    def _find(self, doing: str, path: str, fields: str) -> Json | None:
        try:
            return self._send(doing, "GET", f"{path}?$select={quote(fields)}")
        except NotFoundError:
            return None

    def _upsert(self, doing: str, path: str, body: t.Mapping[str, t.Any]) -> Json | None:
        return self._send(doing, "PATCH", path, body, {"Prefer": "create-if-missing"}) or None

    def _delete(self, doing: str, path: str) -> None:
        try:
            self._send(doing, "DELETE", path)
        except NotFoundError:
            return

    def _send(
        self,
        doing: str,
        method: str,
        path: str,
        body: t.Mapping[str, t.Any] | None = None,
        headers: t.Mapping[str, str] | None = None,
        **retries: t.Any,
    ) -> Json:
        token = self._session.token(self._scope, "log in to Microsoft Graph")
        sent = {"Authorization": f"Bearer {token}", **(headers or {})}
        how = retries or {"retry_on_methods": _REPEATABLE}

        def make() -> Json:
            request = HttpRequest(method, f"{self._base}{path}", json=body, headers=sent)
            return content_of(self._client.send_request(request, **how))

        return self._session.call(doing, make, FORBIDDEN)


def _asked_for(exc: ProviderError) -> float:
    """Return the seconds for which Graph wants to be left alone."""
    value = t.cast(t.Any, exc.__cause__).response.headers.get("Retry-After", "")
    return min(float(value), LONGEST_WAIT) if value.isdigit() else 2.0
