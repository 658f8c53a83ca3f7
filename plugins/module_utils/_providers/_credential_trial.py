# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""One harmless call with the credentials of a workstation, in each cloud, which needs no right."""

from __future__ import annotations

import json
import os
import time
import traceback
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._provider import MissingLibraryError, ProviderError

try:
    import boto3
    import botocore.config
    import botocore.exceptions
except ImportError:
    HAS_BOTO3 = False
    BOTO3_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    HAS_BOTO3 = True
    BOTO3_IMPORT_ERROR = None

try:
    import azure.core.exceptions
    import azure.identity
except ImportError:
    HAS_AZURE = False
    AZURE_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    HAS_AZURE = True
    AZURE_IMPORT_ERROR = None

try:
    import google.auth.exceptions
    import google.auth.transport.requests
    import google.oauth2.service_account
except ImportError:
    HAS_GOOGLE = False
    GOOGLE_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    HAS_GOOGLE = True
    GOOGLE_IMPORT_ERROR = None

Fields = t.Mapping[str, str]

PAUSE = 3.0
"""Seconds between two tries."""

_GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_GOOGLE_PROJECTS = "https://cloudresourcemanager.googleapis.com/"
_GOOGLE_PROJECTS_VARIABLE = "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDRESOURCEMANAGER"


def try_out(
    provider: str,
    fields: Fields,
    wait_timeout: float,
    sleep: t.Callable[[float], None] = time.sleep,
    clock: t.Callable[[], float] = time.monotonic,
) -> str:
    """Return who the credentials log in as.

    A new key is not known everywhere at once, so it is tried until C(wait_timeout) seconds are over.

    Raises ProviderError if it is refused, MissingLibraryError without the provider's library.
    """
    end = clock() + wait_timeout
    while True:
        try:
            return _LOGINS[provider](fields)
        except ProviderError:
            if clock() + PAUSE > end:
                raise
            sleep(PAUSE)


def _aws(fields: Fields) -> str:
    if not HAS_BOTO3:
        raise MissingLibraryError("boto3", BOTO3_IMPORT_ERROR)
    key_id, secret = _need(fields, "Access Key ID", "Secret Access Key")
    try:
        client = boto3.client(
            "sts",
            region_name=fields.get("Region") or "us-east-1",
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
            config=botocore.config.Config(connect_timeout=10, read_timeout=15, retries={"total_max_attempts": 2}),
        )
        return str(client.get_caller_identity()["Arn"])
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        raise ProviderError(f"AWS refuses the access key {key_id}: {_plain(error, secret)}") from error


def _azure(fields: Fields) -> str:
    if not HAS_AZURE:
        raise MissingLibraryError("azure-identity", AZURE_IMPORT_ERROR)
    tenant, client_id, secret = _need(fields, "Tenant ID", "Client ID (Application ID)", "Client Secret")
    credential = azure.identity.ClientSecretCredential(tenant, client_id, secret)
    try:
        credential.get_token("https://management.azure.com/.default")
    except (azure.core.exceptions.AzureError, ValueError) as error:
        raise ProviderError(
            f"Azure refuses the secret of the application {client_id}: {_plain(error, secret)}"
        ) from error
    finally:
        credential.close()
    return client_id


def _gcp(fields: Fields) -> str:
    if not HAS_GOOGLE:
        raise MissingLibraryError("google-auth", GOOGLE_IMPORT_ERROR)
    (text,) = _need(fields, "Service Account JSON")
    try:
        # Older Ansible turns a text that looks like JSON into data.
        content: t.Any = text if isinstance(text, t.Mapping) else json.loads(text)
        if not isinstance(content, t.Mapping):
            raise TypeError("the key file is not an object")
        credentials = google.oauth2.service_account.Credentials.from_service_account_info(
            content, scopes=[_GOOGLE_SCOPE]
        )
    except (ValueError, TypeError) as error:
        raise ProviderError("the service account's key file is not one that Google's library can read") from error
    email = str(content.get("client_email"))
    request = google.auth.transport.requests.Request()
    try:
        credentials.refresh(request)
    except google.auth.exceptions.GoogleAuthError as error:
        secret = str(content.get("private_key"))
        raise ProviderError(f"Google refuses the key of {email}: {_plain(error, secret)}") from error
    if _google_refuses_token(request, str(content.get("project_id")), str(credentials.token)):
        raise ProviderError(f"Google has given a token to {email}, but does not accept it (401 UNAUTHENTICATED)")
    return email


def _google_refuses_token(request: t.Any, project: str, token: str) -> bool:
    """Ask what the account may do in its project, which everybody may ask of themselves.

    Only a refusal of the token counts. Roles take minutes to be known everywhere, and the API may not be enabled.
    """
    url = (os.environ.get(_GOOGLE_PROJECTS_VARIABLE) or _GOOGLE_PROJECTS).rstrip("/")
    try:
        answer = request(
            f"{url}/v3/projects/{project}:testIamPermissions",
            method="POST",
            body=json.dumps({"permissions": ["container.clusters.get"]}).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            timeout=15,
        )
    except google.auth.exceptions.TransportError:
        return False
    return bool(answer.status == 401)


_LOGINS: dict[str, t.Callable[[Fields], str]] = {"aws": _aws, "azure": _azure, "gcp": _gcp}

PROVIDERS = tuple(_LOGINS)


def _need(fields: Fields, *names: str) -> list[str]:
    missing = [name for name in names if not fields.get(name)]
    if missing:
        raise ProviderError(f"the credentials lack {', '.join(missing)}")
    return [fields[name] for name in names]


def _plain(error: BaseException, secret: str) -> str:
    """Return an error's text on one line, without the secret."""
    return " ".join(str(error).replace(secret, "***").split())
