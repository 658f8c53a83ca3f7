# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The secret stores against stand-ins that take nothing but what the vendors document."""

from __future__ import annotations

import base64
import json
import os
import re
import threading
import typing as t
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ansible_collections.budgetguard.techops.plugins.lookup import stored_vars
from ansible_collections.budgetguard.techops.plugins.module_utils import _stores
from ansible_collections.budgetguard.techops.plugins.module_utils._http import Answer, Client
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ConflictError, ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _tokens

SECRET = "CaNaRy-of-a-store"
NAME = "workstations/ws-01"


class RefusalError(Exception):
    """The status and body of an answer that is not 200."""

    def __init__(self, status: int, body: t.Any) -> None:
        super().__init__(status)
        self.status, self.body = status, body


class Backend:
    """What all stand-ins have in common: an address, a log, and faults."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.versions: dict[str, list[t.Any]] = {}
        self.busy = 0
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                backend.calls.append(f"{self.command} {self.path}")
                try:
                    status, answer = 200, backend.react(self.command, self.path, self.headers, json.loads(body or "{}"))
                except RefusalError as refusal:
                    status, answer = refusal.status, refusal.body
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_arguments: t.Any) -> None:
                """Say nothing."""

        for method in ("GET", "POST", "PUT"):
            setattr(Handler, f"do_{method}", Handler._answer)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def react(self, *request: t.Any) -> t.Any:
        """Answer one request, unless the store is busy."""
        if self.busy:
            self.busy -= 1
            raise RefusalError(503, {"errors": ["busy"]})
        return self.answer(*request)

    def answer(self, method: str, path: str, headers: t.Any, body: t.Any) -> t.Any:
        """Answer one request."""
        raise NotImplementedError

    def options(self) -> dict[str, t.Any]:
        """Return the options of the store."""
        raise NotImplementedError


class Vault(Backend):
    """KV version 2 with AppRole."""

    def answer(self, method: str, path: str, headers: t.Any, body: t.Any) -> t.Any:
        if (method, path) == ("POST", "/v1/auth/approle/login"):
            if body != {"role_id": "role", "secret_id": "open"}:
                raise RefusalError(400, {"errors": ["invalid role or secret ID"]})
            return {"auth": {"client_token": "s.token"}}
        if headers["X-Vault-Token"] != "s.token":
            raise RefusalError(403, {"errors": ["permission denied"]})
        found = re.fullmatch("/v1/kv/data/(.+)", path)
        if found is None:
            raise RefusalError(404, {"errors": [f"no handler for route {path}"]})
        versions = self.versions.setdefault(found[1], [])
        if method == "GET":
            if not versions:
                raise RefusalError(404, {"errors": []})
            if versions[-1] is None:
                raise RefusalError(404, {"data": {"data": None, "metadata": {"version": len(versions)}}})
            return {"data": {"data": versions[-1], "metadata": {"version": len(versions)}}}
        if body["options"]["cas"] != len(versions):
            raise RefusalError(400, {"errors": ["check-and-set parameter did not match the current version"]})
        versions.append(body["data"])
        return {"data": {"version": len(versions)}}

    def options(self) -> dict[str, t.Any]:
        return {"type": "hashi_vault", "url": self.url, "mount": "kv", "role_id": "role", "secret_id": "open"}


class KeyVault(Backend):
    """Azure Key Vault."""

    def answer(self, method: str, path: str, headers: t.Any, body: t.Any) -> t.Any:
        if headers["Authorization"] != "Bearer a-token":
            raise RefusalError(401, {"error": {"code": "Unauthorized", "message": "[BearerReadAccessTokenFailed]"}})
        found = re.fullmatch(r"/secrets/([0-9a-zA-Z-]{1,127})\?api-version=7\.4", path)
        if found is None:
            raise RefusalError(400, {"error": {"code": "BadParameter", "message": "wrong name"}})
        versions = self.versions.setdefault(found[1], [])
        if method == "PUT":
            versions.append(body["value"])
        elif not versions:
            raise RefusalError(404, {"error": {"code": "SecretNotFound", "message": "not found"}})
        return {"value": versions[-1], "id": f"{self.url}/secrets/{found[1]}/{len(versions)}"}

    def options(self) -> dict[str, t.Any]:
        return {"type": "azure_keyvault", "url": self.url}


class SecretManager(Backend):
    """Google Secret Manager."""

    def answer(self, method: str, path: str, headers: t.Any, body: t.Any) -> t.Any:
        if headers["Authorization"] != "Bearer a-token":
            raise RefusalError(401, {"error": {"message": "invalid authentication credentials"}})
        base = "/v1/projects/studio/secrets"
        if method == "POST" and (found := re.fullmatch(rf"{base}\?secretId=([a-zA-Z0-9_-]{{1,255}})", path)):
            if found[1] in self.versions:
                raise RefusalError(409, {"error": {"message": "already exists"}})
            assert body["replication"] == {"automatic": {}}
            self.versions[found[1]] = []
            return {"name": found[1]}
        if method == "GET" and (found := re.fullmatch(rf"{base}/([\w-]+)/versions/latest:access", path)):
            versions = self.versions.get(found[1])
            if not versions:
                raise RefusalError(404, {"error": {"message": "not found"}})
            name = f"projects/1/secrets/{found[1]}/versions/{len(versions)}"
            return {"name": name, "payload": {"data": versions[-1]}}
        if method == "POST" and (found := re.fullmatch(rf"{base}/([\w-]+):addVersion", path)):
            self.versions[found[1]].append(body["payload"]["data"])
            return {}
        if method == "POST" and (found := re.fullmatch(rf"{base}/([\w-]+)/versions/(\d+):destroy", path)):
            self.versions[found[1]][int(found[2]) - 1] = None
            return {}
        raise RefusalError(404, {"error": {"message": f"nothing at {path}"}})

    def options(self) -> dict[str, t.Any]:
        return {"type": "gcp_secretmanager", "project": "studio", "endpoint_url": self.url}


class Token:
    """A token as the clouds' libraries give it."""

    def __init__(self, *_arguments: t.Any) -> None:
        self.value = "a-token"

    def get(self) -> str:
        """Return it."""
        return self.value


@pytest.fixture(params=[Vault, KeyVault, SecretManager])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """Give each of the stand-ins, running."""
    for variable in ("HTTP_PROXY", "http_proxy", *_stores.VAULT_VARIABLES.values()):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(_tokens, "Azure", Token)
    monkeypatch.setattr(_tokens, "Google", Token)
    monkeypatch.setattr(_stores, "_sleep", lambda _seconds: None)
    found: Backend = request.param()
    thread = threading.Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()


def opened(backend: Backend, **options: t.Any) -> _stores.Store:
    """Open the store of a stand-in."""
    return _stores.open_store({"prefix": "budgetguard", "mount": "secret", **backend.options(), **options})


def put(store: _stores.Store, variables: dict[str, t.Any]) -> None:
    """Store variables as the action does."""
    found, before = _stores.read_variables(store, NAME)
    store.write(store.named(NAME), _stores.as_text(_stores.merged(found, variables, ())), before)


def test_written_and_read(backend: Backend) -> None:
    """First nothing, then what was written, with what was there before."""
    store = opened(backend)
    assert _stores.read_variables(store, NAME) == ({}, None)
    put(store, {"nim_identities": {"aws": {"key_id": "one", "fields": {"Secret Access Key": SECRET}}}})
    put(store, {"nim_identities": {"azure": {"key_id": "two"}}})
    variables, _before = _stores.read_variables(opened(backend), NAME)
    assert variables["nim_identities"]["aws"]["fields"]["Secret Access Key"] == SECRET
    assert sorted(variables["nim_identities"]) == ["aws", "azure"]
    assert list(backend.versions) == [store.named(NAME)]
    if isinstance(backend, SecretManager):
        # Google bills each version, and the one before holds a secret.
        assert [version is None for version in backend.versions[store.named(NAME)]] == [True, False]


def test_a_busy_store_is_asked_again(backend: Backend) -> None:
    """A few times, then it is an error that holds no secret."""
    store = opened(backend)
    backend.busy = 2
    put(store, {"nim_studio_key": SECRET})
    backend.busy = 1000
    with pytest.raises(ProviderError, match="503") as caught:
        put(store, {"nim_studio_key": SECRET})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("status", [200, 404])
def test_a_page_of_a_proxy_is_not_an_empty_store(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Otherwise every workstation would get new keys, and the old ones would be lost."""
    store = opened(backend)
    assert _stores.read_variables(store, NAME) == ({}, None), "so much for the login"
    page = Answer(status, {}, b"<html>Sign in</html>", 0.0)
    monkeypatch.setattr(Client, "request", lambda *_arguments: page)
    with pytest.raises(ProviderError, match=f"cannot read the secret .*: {status}, and the answer is not what this"):
        _stores.read_variables(store, NAME)


def test_a_refused_login_is_told_without_the_secret(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store's own words are in the message."""
    if isinstance(backend, Vault):
        store = opened(backend, secret_id="wrong")
        words = "cannot log in to Vault with the AppRole: Vault answers 400: invalid role or secret ID"
    else:
        monkeypatch.setattr(Token, "get", lambda _self: SECRET)
        store, words = opened(backend), "cannot read the secret budgetguard-workstations-ws-01: the answer is 401: "
    with pytest.raises(ProviderError, match=re.escape(words)) as caught:
        _stores.read_variables(store, NAME)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("backend", [KeyVault, SecretManager], indirect=True)
def test_something_else_in_the_secret_is_not_overwritten(backend: Backend) -> None:
    """It is somebody else's. What Vault holds is always a mapping."""
    store = opened(backend)
    text = "not ours"
    backend.versions[store.named(NAME)] = [
        base64.b64encode(text.encode()).decode() if isinstance(backend, SecretManager) else text
    ]
    with pytest.raises(ProviderError, match="is not a JSON mapping"):
        put(store, {"nim_studio_key": SECRET})


def test_vault_refuses_what_was_changed_meanwhile() -> None:
    """Its check-and-set is a conflict; a deleted version counts as empty, and has a number."""
    vault = Vault()
    vault.versions["name"] = [{"a": 1}, None]
    thread = threading.Thread(target=vault.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        store = opened(vault)
        before = store.read("name")
        assert before == _stores.Stored("{}", 2)
        store.write("name", '{"b": 2}', before)
        with pytest.raises(ConflictError, match="changed meanwhile"):
            store.write("name", '{"c": 3}', before)
        assert vault.versions["name"][-1] == {"b": 2}
    finally:
        vault.server.shutdown()
        vault.server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"type": "aws_secretsmanager"}, "a store of the type aws_secretsmanager needs region"),
        ({"type": "azure_keyvault"}, "a store of the type azure_keyvault needs url"),
        ({"type": "gcp_secretmanager"}, "a store of the type gcp_secretmanager needs project"),
        ({"type": "hashi_vault"}, "needs url, or VAULT_ADDR in the environment"),
        ({"type": "hashi_vault", "url": "http://127.0.0.1:9"}, "needs token"),
    ],
)
def test_what_is_missing_is_named(options: dict[str, t.Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any call."""
    for variable in _stores.VAULT_VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ValueError, match=re.escape(message)):
        _stores.open_store({"prefix": "budgetguard", **options})


def test_names_that_no_store_would_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are refused everywhere, so that a studio can change its store."""
    monkeypatch.setenv("VAULT_TOKEN", "s.token")
    store = _stores.open_store({"type": "hashi_vault", "prefix": "budgetguard", "url": "http://127.0.0.1:9"})
    with pytest.raises(ValueError, match="its parts must be letters"):
        store.named("workstations/../admin")
    assert store.named(NAME) == "budgetguard/workstations/ws-01"


def test_entries_replace_their_namesakes_and_can_be_taken_out() -> None:
    """As in vars files."""
    found = {"nim_identities": {"aws": {"key_id": "old", "leaves": ["x"]}, "nvidia": {"revoked": "now"}}, "other": 1}
    merged = _stores.merged(found, {"nim_identities": {"aws": {"key_id": "new"}}}, ["nim_identities.nvidia", "other"])
    assert merged == {"nim_identities": {"aws": {"key_id": "new"}}}
    assert found["other"] == 1


def test_the_lookup_opens_a_store_once_for_many_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_vars, "_last", {})
    options = {"type": "hashi_vault", "url": "https://vault.studio.example", "token": "t", "prefix": "budgetguard"}
    first = stored_vars._opened(options)
    assert stored_vars._opened(dict(options)) is first
    # Another store, another login, another process, and a login that may have ended.
    assert stored_vars._opened({**options, "prefix": "other"}) is not first
    first = stored_vars._opened(options)
    monkeypatch.setenv("VAULT_NAMESPACE", "studio")
    assert stored_vars._opened(options) is not first
    first = stored_vars._opened(options)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert stored_vars._opened(options) is not first
    first = stored_vars._opened(options)
    monkeypatch.setattr(stored_vars, "KEPT_OPEN", -1.0)
    assert stored_vars._opened(options) is not first
