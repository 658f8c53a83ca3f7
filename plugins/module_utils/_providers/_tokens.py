# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Bearer tokens of Azure and Google for plain HTTP calls, by the libraries of the clouds."""

from __future__ import annotations

import os
import time
import traceback
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._provider import MissingLibraryError, ProviderError

try:
    import azure.core.exceptions
    import azure.identity
except ImportError:
    AZURE_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    AZURE_IMPORT_ERROR = None

try:
    import google.auth
    import google.auth.exceptions
    import google.auth.transport.requests
except ImportError:
    GOOGLE_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    GOOGLE_IMPORT_ERROR = None

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_PUBLIC_AUTHORITIES = ("", "login.microsoftonline.com", "login.microsoftonline.us", "login.chinacloudapi.cn")
_RESERVE_SECONDS = 300


def variable(name: str) -> str | None:
    """Return an environment variable, None where it is empty."""
    return os.environ.get(name) or None


class Azure:
    """Tokens for one scope: of a service principal where all three of its options are set, else of the machine."""

    def __init__(self, options: t.Mapping[str, t.Any], scope: str) -> None:
        if AZURE_IMPORT_ERROR is not None:
            raise MissingLibraryError("azure-identity", AZURE_IMPORT_ERROR)
        self._scope = scope
        self._found: tuple[str, float] = ("", 0.0)
        host = os.environ.get("AZURE_AUTHORITY_HOST", "").partition("://")[2].partition("/")[0]
        private = host.partition(":")[0] not in _PUBLIC_AUTHORITIES
        tenant, client_id, secret = (options.get(name) for name in ("tenant", "client_id", "secret"))
        if tenant and client_id and secret:
            self._credential: t.Any = azure.identity.ClientSecretCredential(
                tenant, client_id, secret, disable_instance_discovery=private
            )
        else:
            self._credential = azure.identity.DefaultAzureCredential(disable_instance_discovery=private)

    def get(self) -> str:
        """Return a token that is valid for minutes to come. Raises ProviderError."""
        if self._found[1] - _RESERVE_SECONDS <= time.time():
            try:
                token = self._credential.get_token(self._scope)
            except azure.core.exceptions.AzureError as error:
                raise ProviderError(f"cannot log in to Azure: {' '.join(str(error).split())}") from error
            self._found = (token.token, float(token.expires_on))
        return self._found[0]


class Google:
    """Tokens of a service account's key file, else of the application default credentials."""

    def __init__(self, options: t.Mapping[str, t.Any]) -> None:
        if GOOGLE_IMPORT_ERROR is not None:
            raise MissingLibraryError("google-auth", GOOGLE_IMPORT_ERROR)
        path = options.get("service_account_file") or variable("GCP_SERVICE_ACCOUNT_FILE")
        try:
            if path:
                self._credentials, _project = google.auth.load_credentials_from_file(path, scopes=_SCOPES)
            else:
                self._credentials, _project = google.auth.default(scopes=_SCOPES)
        except (google.auth.exceptions.GoogleAuthError, OSError, ValueError) as error:
            raise ProviderError(f"there are no Google Cloud credentials: {' '.join(str(error).split())}") from error

    def get(self) -> str:
        """Return a valid token. Raises ProviderError."""
        try:
            if not self._credentials.valid:
                self._credentials.refresh(google.auth.transport.requests.Request())
        except google.auth.exceptions.GoogleAuthError as error:
            raise ProviderError(f"cannot log in to Google Cloud: {' '.join(str(error).split())}") from error
        return str(self._credentials.token)
