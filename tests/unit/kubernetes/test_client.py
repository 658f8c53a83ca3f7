# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes over the wire to the Kubernetes API, and what is made of each kind of answer."""

from __future__ import annotations

import http.server
import json
import sys
import threading
import typing as t
from collections.abc import Iterator

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._provider import (
    ConflictError,
    ProviderError,
    UnreachableError,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._cluster import ClusterAccess
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._kube_client import KubeClient

Answer = tuple[int, dict[str, str], t.Any]


class ApiServer(http.server.ThreadingHTTPServer):
    """Gives the answers that it was told, one after the other, and notes what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[Answer] = []
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.pauses: list[float] = []
        self.tokens = 0

    def token(self) -> str:
        """Return another token each time, as a cloud may."""
        self.tokens += 1
        return f"token-{self.tokens}"

    def client(self) -> KubeClient:
        """Return a client that does not wait."""
        access = ClusterAccess(f"http://127.0.0.1:{self.server_port}/clusters/a", None, self.token)
        return KubeClient(access, {403: "It needs a role."}, sleep=self.pauses.append)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: ApiServer

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(
            (self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        )
        status, headers, content = self.server.answers.pop(0)
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self._answer()

    def do_PATCH(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, *_words: t.Any) -> None:
        """Print nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """Give a server without answers."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with ApiServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("call", "method", "path"),
    [
        (lambda c: c.read("Namespace", "nims"), "GET", "/api/v1/namespaces/nims"),
        (
            lambda c: c.read("NetworkPolicy", "a", "n"),
            "GET",
            "/apis/networking.k8s.io/v1/namespaces/n/networkpolicies/a",
        ),
        (lambda c: c.list_kind("Pod", "n", "app=a,b"), "GET", "/api/v1/namespaces/n/pods?labelSelector=app%3Da%2Cb"),
        (
            lambda c: c.delete("RoleBinding", "a/b", "n"),
            "DELETE",
            "/apis/rbac.authorization.k8s.io/v1/namespaces/n/rolebindings/a%2Fb?propagationPolicy=Background",
        ),
        (
            lambda c: c.scale("a", "n", 2, dry_run=True),
            "PATCH",
            "/apis/apps/v1/namespaces/n/deployments/a/scale?fieldManager=budgetguard-techops&dryRun=All",
        ),
        (
            lambda c: c.apply({"kind": "ConfigMap", "metadata": {"name": "a", "namespace": "n"}}),
            "PATCH",
            "/api/v1/namespaces/n/configmaps/a?fieldManager=budgetguard-techops&fieldValidation=Strict&force=true",
        ),
    ],
)
def test_each_call_has_its_address(
    server: ApiServer, call: t.Callable[[KubeClient], t.Any], method: str, path: str
) -> None:
    server.answers = [(200, {}, {"items": []})]
    call(server.client())
    ((asked, where, headers, _body),) = server.asked
    assert (asked, where) == (method, f"/clusters/a{path}")
    assert headers["authorization"] == "Bearer token-1"


def test_an_object_is_applied_and_a_log_is_text(server: ApiServer) -> None:
    server.answers = [(200, {}, {"kind": "Secret"}), (200, {}, b"one\ntwo \xff")]
    client = server.client()
    manifest = {"kind": "Secret", "metadata": {"name": "a", "namespace": "n"}, "stringData": {"k": "v"}}
    assert client.apply(manifest, dry_run=True) == {"kind": "Secret"}
    assert client.log("pod", "n", 5, previous=True) == "one\ntwo \N{REPLACEMENT CHARACTER}"
    (_method, path, headers, body), (_get, log, *_rest) = server.asked
    assert path.endswith("&force=true&dryRun=All")
    assert headers["content-type"] == "application/apply-patch+yaml"
    assert json.loads(body) == manifest
    assert log == "/clusters/a/api/v1/namespaces/n/pods/pod/log?tailLines=5&previous=true"


def test_what_passes_is_tried_again_with_a_new_token(server: ApiServer) -> None:
    server.answers = [(429, {"Retry-After": "7"}, {}), (503, {}, b"gateway"), (200, {}, {"items": [{"a": 1}]})]
    assert server.client().list_kind("Service", "n") == [{"a": 1}]
    assert [headers["authorization"] for *_rest, headers, _body in server.asked] == [
        "Bearer token-1",
        "Bearer token-2",
        "Bearer token-3",
    ]
    assert server.pauses[0] == 7.0
    assert 1.0 <= server.pauses[1] <= 2.0


def test_no_class_is_loaded_that_the_library_has_for_an_api(server: ApiServer) -> None:
    """They take a second of CPU."""
    server.answers = [(200, {}, {"items": []})]
    before = set(sys.modules)
    server.client().list_kind("Pod", "n")
    assert {name for name in set(sys.modules) - before if name.startswith("kubernetes.client.api.")} == set()


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (403, ProviderError, "cannot read the Secret a: not so (403). It needs a role."),
        (409, ConflictError, "not so (409)"),
        (503, UnreachableError, "not so (503)"),
    ],
)
def test_errors_are_told_apart(server: ApiServer, status: int, kind: type[Exception], words: str) -> None:
    server.answers = [(status, {}, {"message": "not so"})] * 5
    with pytest.raises(kind) as caught:
        server.client().read("Secret", "a", "n")
    assert caught.type is kind
    assert words in str(caught.value)
    assert len(server.asked) == (5 if status == 503 else 1)


def test_a_page_of_a_proxy_is_no_answer(server: ApiServer) -> None:
    server.answers = [(200, {}, b"<html>Sign in</html>")]
    with pytest.raises(
        ProviderError, match="cannot list the NetworkPolicies in n: the answer is not what this service"
    ):
        server.client().list_kind("NetworkPolicy", "n")


def test_what_is_not_there_is_none(server: ApiServer) -> None:
    server.answers = [(404, {}, {"message": "no"})]
    assert server.client().read("Secret", "a", "n") is None


def test_nobody_answers() -> None:
    pauses: list[float] = []
    client = KubeClient(ClusterAccess("http://127.0.0.1:9", None, lambda: "token"), {}, pauses.append, attempts=2)
    with pytest.raises(UnreachableError, match="cannot read the Secret a: the cluster does not answer"):
        client.read("Secret", "a", "n")
    assert len(pauses) == 1
