# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Secret stores: where variables are kept as one JSON text, under one name.

Each store is a few calls, made with what the collection needs anyway: boto3, and for the others plain HTTP with a token
of azure-identity, google-auth or Vault. The modules that write in community.hashi_vault, amazon.aws, azure.azcollection
and google.cloud would be four more collections to install, with errors in four ways. What is stored is plain JSON, so
their lookups can read it.
"""

from __future__ import annotations

import abc
import base64
import dataclasses
import json
import re
import time
import typing as t
import urllib.parse

from ansible.module_utils.common.parameters import env_fallback

from ansible_collections.budgetguard.techops.plugins.module_utils._http import Answer, Client, HttpError
from ansible_collections.budgetguard.techops.plugins.module_utils._identities import without
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import (
    UNREADABLE,
    ConflictError,
    ProviderError,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _tokens
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_session import AwsSession

STORE: dict[str, t.Any] = {
    "type": "dict",
    "required": True,
    "options": {
        "type": {
            "type": "str",
            "choices": ["aws_secretsmanager", "hashi_vault", "azure_keyvault", "gcp_secretmanager"],
            "required": True,
        },
        "prefix": {"type": "str", "default": "budgetguard"},
        "region": {"type": "str"},
        "profile": {"type": "str"},
        "access_key": {"type": "str", "no_log": True},
        "secret_key": {"type": "str", "no_log": True},
        "session_token": {"type": "str", "no_log": True},
        "assume_role_arn": {"type": "str"},
        "assume_role_external_id": {"type": "str"},
        "endpoint_url": {"type": "str"},
        "kms_key_id": {"type": "str", "no_log": False},
        "url": {"type": "str"},
        "token": {"type": "str", "no_log": True},
        "role_id": {"type": "str"},
        "secret_id": {"type": "str", "no_log": True},
        "namespace": {"type": "str"},
        "mount": {"type": "str", "default": "secret"},
        "tenant": {"type": "str", "fallback": (env_fallback, ["AZURE_TENANT_ID", "AZURE_TENANT"])},
        "client_id": {"type": "str", "fallback": (env_fallback, ["AZURE_CLIENT_ID"])},
        "secret": {"type": "str", "no_log": True, "fallback": (env_fallback, ["AZURE_CLIENT_SECRET", "AZURE_SECRET"])},
        "project": {"type": "str", "fallback": (env_fallback, ["GCP_PROJECT", "GOOGLE_CLOUD_PROJECT"])},
        "service_account_file": {"type": "path"},
        "ca_path": {"type": "path"},
    },
}
"""The option C(store). The doc fragment C(secret_store) describes it."""

VAULT_VARIABLES = {
    "url": "VAULT_ADDR",
    "token": "VAULT_TOKEN",
    "role_id": "VAULT_ROLE_ID",
    "secret_id": "VAULT_SECRET_ID",
    "namespace": "VAULT_NAMESPACE",
    "ca_path": "VAULT_CACERT",
}
"""Where Vault's own tools look. Read for hashi_vault only, since some of the options are those of others, too."""

ATTEMPTS = 5
"""Tries per call while a store is busy."""

_TIMEOUT = 30.0
_sleep = time.sleep
_PASSING = (429, 500, 502, 503, 504)
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?(?:/[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?)*")


@dataclasses.dataclass(frozen=True)
class Stored:
    """What a store holds. C(version) is the store's own name for this state of it."""

    text: str = dataclasses.field(repr=False)
    version: t.Any = None


class Store(abc.ABC):
    """One secret store. Every method raises ProviderError; none of the texts holds a secret."""

    separator = "/"
    """What parts the words of a name."""

    def __init__(self, options: t.Mapping[str, t.Any]) -> None:
        self.options = options

    def named(self, name: str) -> str:
        """Return the full name of a secret. Raises ValueError for one that some store would not take."""
        full = f"{self.options['prefix']}/{name}"
        if not _NAME.fullmatch(full):
            raise ValueError(
                f"the secret's name is {full!r}; its parts must be letters, digits, hyphens or underscores"
            )
        return full.replace("/", self.separator)

    @abc.abstractmethod
    def read(self, name: str) -> Stored | None:
        """Return what is stored under a full name; None if nothing is."""

    @abc.abstractmethod
    def write(self, name: str, text: str, before: Stored | None) -> None:
        """Store a text. C(before) is what was read; ConflictError is raised where it was changed meanwhile."""


def open_store(options: t.Mapping[str, t.Any]) -> Store:
    """Return the store that the options mean. Raises ValueError, ProviderError, or MissingLibraryError."""
    kind = _STORES[options["type"]]
    missing = [name for name in kind.needs if not options.get(name)]
    if missing:
        raise ValueError(f"a store of the type {options['type']} needs {' and '.join(missing)}")
    return t.cast("Store", kind(options))


class SecretsManager(Store):
    """AWS Secrets Manager."""

    needs = ("region",)

    def __init__(self, options: t.Mapping[str, t.Any]) -> None:
        super().__init__(options)
        self._session = AwsSession({**options, "ca_bundle": options.get("ca_path")})

    def read(self, name: str) -> Stored | None:
        """Read the current version."""
        answer = self._session.call(
            "secretsmanager",
            "get_secret_value",
            f"read the secret {name}",
            ["ResourceNotFoundException"],
            SecretId=name,
        )
        return None if answer is None else Stored(answer["SecretString"], answer["VersionId"])

    def write(self, name: str, text: str, before: Stored | None) -> None:
        """Store another version, or the first one. AWS keeps the one before as AWSPREVIOUS."""
        if before is not None:
            doing = f"change the secret {name}"
            self._session.call("secretsmanager", "put_secret_value", doing, SecretId=name, SecretString=text)
            return
        key = self.options.get("kms_key_id")
        self._session.call(
            "secretsmanager",
            "create_secret",
            f"make the secret {name}",
            (),
            ["ResourceExistsException"],
            Name=name,
            SecretString=text,
            Description="Identities of workstations, written by budgetguard.techops.stored_vars.",
            Tags=[{"Key": "budgetguard:managed", "Value": "true"}],
            **({"KmsKeyId": key} if key else {}),
        )


class _HttpStore(Store):
    """A store that is spoken to by HTTP."""

    def __init__(self, options: t.Mapping[str, t.Any]) -> None:
        super().__init__(options)
        self._client = Client(_TIMEOUT, ca_path=options.get("ca_path"))

    @abc.abstractmethod
    def _headers(self) -> dict[str, str]:
        """Return the headers that log in."""

    def _call(
        self, doing: str, method: str, url: str, body: t.Any = None, headers: t.Mapping[str, str] | None = None
    ) -> tuple[int, t.Any]:
        """Make one call, again while the store is busy. Return the status and the answer's JSON."""
        sent = self._headers() if headers is None else headers
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            sent = {**sent, "Content-Type": "application/json"}
        pause = 0.5
        for rest in reversed(range(ATTEMPTS)):
            try:
                answer = self._client.request(method, url, sent, data)
            except HttpError as error:
                raise ProviderError(f"cannot {doing}: {error}") from error
            if answer.status not in _PASSING or not rest:
                return answer.status, _content(doing, answer)
            _sleep(pause)
            pause *= 2
        raise AssertionError("the last round returns")


class HashiVault(_HttpStore):
    """HashiCorp Vault and OpenBao, secrets engine KV version 2.

    https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2
    """

    needs: tuple[str, ...] = ()

    def __init__(self, options: t.Mapping[str, t.Any]) -> None:
        found = {name: options.get(name) or _tokens.variable(variable) for name, variable in VAULT_VARIABLES.items()}
        super().__init__({**options, **found})
        if not found["url"]:
            raise ValueError("a store of the type hashi_vault needs url, or VAULT_ADDR in the environment")
        self._token: str | None = found["token"]
        if not self._token and not (found["role_id"] and found["secret_id"]):
            raise ValueError("a store of the type hashi_vault needs token (VAULT_TOKEN), or role_id and secret_id")

    def _address(self, path: str) -> str:
        return f"{self.options['url'].rstrip('/')}/v1/{urllib.parse.quote(path)}"

    def _headers(self) -> dict[str, str]:
        if not self._token:
            self._token = self._log_in()
        return {"X-Vault-Token": self._token, **self._everywhere()}

    def _everywhere(self) -> dict[str, str]:
        namespace = self.options.get("namespace")
        return {"X-Vault-Request": "true", **({"X-Vault-Namespace": namespace} if namespace else {})}

    def _log_in(self) -> str:
        doing = "log in to Vault with the AppRole"
        body = {"role_id": self.options["role_id"], "secret_id": self.options["secret_id"]}
        status, answer = self._call(doing, "POST", self._address("auth/approle/login"), body, self._everywhere())
        if status != 200:
            raise ProviderError(f"cannot {doing}: {_vault_words(status, answer)}")
        return str(answer["auth"]["client_token"])

    def read(self, name: str) -> Stored | None:
        """Read the newest version. One that was deleted is as good as none, but has a number."""
        doing = f"read the secret {name}"
        status, answer = self._call(doing, "GET", self._address(f"{self.options['mount']}/data/{name}"))
        if status == 404 and not answer.get("errors"):
            metadata = (answer.get("data") or {}).get("metadata") or {}
            return Stored("{}", metadata["version"]) if metadata.get("version") else None
        if status != 200:
            raise ProviderError(f"cannot {doing}: {_vault_words(status, answer)}")
        return Stored(json.dumps(answer["data"]["data"]), answer["data"]["metadata"]["version"])

    def write(self, name: str, text: str, before: Stored | None) -> None:
        """Store another version, unless somebody else has done so meanwhile."""
        doing = f"write the secret {name}"
        body = {"options": {"cas": before.version if before else 0}, "data": json.loads(text)}
        status, answer = self._call(doing, "POST", self._address(f"{self.options['mount']}/data/{name}"), body)
        if status == 400 and "check-and-set" in _vault_words(status, answer):
            raise ConflictError(f"cannot {doing}: it was changed meanwhile")
        if status not in (200, 204):
            raise ProviderError(f"cannot {doing}: {_vault_words(status, answer)}")


class KeyVault(_HttpStore):
    """Azure Key Vault.

    https://learn.microsoft.com/rest/api/keyvault/secrets
    """

    separator = "-"
    needs = ("url",)

    def __init__(self, options: t.Mapping[str, t.Any]) -> None:
        super().__init__(options)
        host = urllib.parse.urlsplit(options["url"]).hostname or ""
        # https://vault.azure.net for https://studio.vault.azure.net, and alike in Azure's other clouds.
        self._token = _tokens.Azure(options, f"https://{host.partition('.')[2]}/.default")

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token.get()}"}

    def _address(self, name: str) -> str:
        return f"{self.options['url'].rstrip('/')}/secrets/{name}?api-version=7.4"

    def read(self, name: str) -> Stored | None:
        """Read the current version."""
        doing = f"read the secret {name}"
        status, answer = self._call(doing, "GET", self._address(name))
        if status == 404:
            return None
        if status != 200:
            raise ProviderError(f"cannot {doing}: {_error_words(status, answer)}")
        return Stored(answer["value"], answer["id"])

    def write(self, name: str, text: str, before: Stored | None) -> None:
        """Store another version."""
        doing = f"write the secret {name}"
        body = {"value": text, "contentType": "application/json", "tags": {"budgetguard-managed": "true"}}
        status, answer = self._call(doing, "PUT", self._address(name), body)
        if status != 200:
            raise ProviderError(f"cannot {doing}: {_error_words(status, answer)}")


class GoogleSecretManager(_HttpStore):
    """Google Secret Manager.

    https://cloud.google.com/secret-manager/docs/reference/rest
    """

    separator = "-"
    needs = ("project",)

    def __init__(self, options: t.Mapping[str, t.Any]) -> None:
        super().__init__(options)
        self._token = _tokens.Google(options)
        base = options.get("endpoint_url") or "https://secretmanager.googleapis.com"
        self._project = f"{base.rstrip('/')}/v1/projects/{options['project']}"

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token.get()}"}

    def read(self, name: str) -> Stored | None:
        """Read the newest version."""
        doing = f"read the secret {name}"
        status, answer = self._call(doing, "GET", f"{self._project}/secrets/{name}/versions/latest:access")
        if status == 404:
            return None
        if status != 200:
            raise ProviderError(f"cannot {doing}: {_error_words(status, answer)}")
        return Stored(base64.b64decode(answer["payload"]["data"]).decode(), answer["name"].rpartition("/")[2])

    def write(self, name: str, text: str, before: Stored | None) -> None:
        """Store another version, and destroy the one before: Google bills each, and it is a secret of no more use."""
        doing = f"write the secret {name}"
        if before is None:
            body: t.Any = {"replication": {"automatic": {}}, "labels": {"budgetguard-managed": "true"}}
            status, answer = self._call(doing, "POST", f"{self._project}/secrets?secretId={name}", body)
            # 409: a run that was killed has made it, and stored nothing yet.
            if status not in (200, 409):
                raise ProviderError(f"cannot {doing}: {_error_words(status, answer)}")
        body = {"payload": {"data": base64.b64encode(text.encode()).decode()}}
        status, answer = self._call(doing, "POST", f"{self._project}/secrets/{name}:addVersion", body)
        if status != 200:
            raise ProviderError(f"cannot {doing}: {_error_words(status, answer)}")
        if before is not None:
            url = f"{self._project}/secrets/{name}/versions/{before.version}:destroy"
            status, answer = self._call(doing, "POST", url, {})
            # 400: somebody else has destroyed it meanwhile.
            if status not in (200, 400):
                raise ProviderError(
                    f"the secret {name} is written, its version before could not be destroyed: "
                    f"{_error_words(status, answer)}"
                )


_STORES: dict[str, t.Any] = {
    "aws_secretsmanager": SecretsManager,
    "hashi_vault": HashiVault,
    "azure_keyvault": KeyVault,
    "gcp_secretmanager": GoogleSecretManager,
}


def read_variables(store: Store, name: str) -> tuple[dict[str, t.Any], Stored | None]:
    """Return the variables stored under a name, and what was read. Raises ProviderError, ValueError."""
    full = store.named(name)
    found = store.read(full)
    if found is None or not found.text.strip():
        return {}, found
    try:
        variables = json.loads(found.text)
    except ValueError:
        variables = None
    if not isinstance(variables, dict):
        raise ProviderError(f"the secret {full} is not a JSON mapping of variables; it was written by something else")
    return variables, found


def merged(found: t.Mapping[str, t.Any], variables: t.Mapping[str, t.Any], absent: t.Iterable[str]) -> dict[str, t.Any]:
    """Return the variables that should be stored: as in vars files, an entry of a mapping replaces its namesake."""
    result = without(found, absent)
    for name, value in variables.items():
        kept = result.get(name)
        result[name] = {**(kept if isinstance(kept, dict) else {}), **value} if isinstance(value, dict) else value
    return {name: value for name, value in result.items() if value != {}}


def as_text(variables: t.Mapping[str, t.Any]) -> str:
    """Write variables as they are stored."""
    return json.dumps(variables, sort_keys=True)


def _content(doing: str, answer: Answer) -> t.Any:
    """Return the JSON of an answer. A proxy's page must not be taken for a store in which there is nothing."""
    try:
        return json.loads(answer.body) if answer.body.strip() else {}
    except ValueError as error:
        if answer.status < 300 or answer.status == 404:
            raise ProviderError(f"cannot {doing}: {answer.status}, and {UNREADABLE}") from error
        return {}


def _vault_words(status: int, answer: t.Any) -> str:
    words = "; ".join(str(item) for item in answer.get("errors") or ()) if isinstance(answer, dict) else ""
    return " ".join(f"Vault answers {status}{': ' if words else ''}{words}".split())


def _error_words(status: int, answer: t.Any) -> str:
    error = answer.get("error") if isinstance(answer, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return " ".join(f"the answer is {status}{': ' if message else ''}{message or ''}".split())


__all__ = ["STORE", "Store", "Stored", "as_text", "merged", "open_store", "read_variables"]
