# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images straight from a registry: logins, broken connections, redirects, and answers that are wrong."""

from __future__ import annotations

import base64
import dataclasses
import http.server
import io
import json
import threading
import typing as t
import urllib.parse
import zipfile

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _package_build as build
from ansible_collections.budgetguard.techops.plugins.module_utils._package_sources import RegistrySource
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from tests.unit.packages import made

INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
PASSWORD = "nvapi-CaNaRyregistry81Zr0Q"


@dataclasses.dataclass
class Registry:
    """A registry that gives tokens, keeps its layers elsewhere, and does what a test tells it."""

    content: dict[str, tuple[str, bytes]] = dataclasses.field(default_factory=dict)
    breaks: list[int] = dataclasses.field(default_factory=list)
    ranges: bool = True
    realm: str = ""
    asked: list[tuple[str, str, str]] = dataclasses.field(default_factory=list)
    tokens: int = 0
    busy: int = 0

    def __post_init__(self) -> None:
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"

            def do_GET(self) -> None:
                registry.answer(self)

            def log_message(self, *_words: t.Any) -> None:
                """Say nothing."""

        self.servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _number in range(2)]
        for server in self.servers:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.servers[0].server_address[1]}"

    def close(self) -> None:
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def add(self, manifest: bytes, kind: str, *blobs: bytes, tag: str = "1.0") -> None:
        """Have an image."""
        for name in (tag, made.sha(manifest)):
            self.content[f"/v2/nim/x/manifests/{name}"] = (kind, manifest)
        for blob in blobs:
            self.content[f"/v2/nim/x/blobs/{made.sha(blob)}"] = ("application/octet-stream", blob)

    def answer(self, call: http.server.BaseHTTPRequestHandler) -> None:
        """Answer a call, as a registry or as the store of its layers."""
        here = call.server is self.servers[0]
        login = call.headers.get("Authorization", "")
        self.asked.append(("registry" if here else "store", call.path, login))
        path = urllib.parse.urlsplit(call.path)
        if path.path == "/token":
            return self._token(call, login)
        if self.busy:
            self.busy -= 1
            return self._send(call, 503)
        if here and login != f"Bearer token-{self.tokens}":
            challenge = f'Bearer realm="{self.realm or f"http://{self.host}/token?x=1"}",service="s"'
            return self._send(call, 401, headers={"WWW-Authenticate": challenge})
        if path.path not in self.content:
            return self._send(call, 404)
        if here and "/blobs/" in path.path:
            place = f"http://127.0.0.1:{self.servers[1].server_address[1]}{path.path}"
            return self._send(call, 307, headers={"Location": place})
        return self._content(call, *self.content[path.path])

    def _token(self, call: http.server.BaseHTTPRequestHandler, login: str) -> None:
        if login != f"Basic {base64.b64encode(f'user:{PASSWORD}'.encode()).decode()}":
            return self._send(call, 401)
        self.tokens += 1
        return self._send(call, 200, json.dumps({"token": f"token-{self.tokens}"}).encode())

    def _content(self, call: http.server.BaseHTTPRequestHandler, kind: str, body: bytes) -> None:
        start = int(call.headers.get("Range", "bytes=0-")[6:-1]) if self.ranges else 0
        rest = body[start:]
        broken = self.breaks.pop(0) if self.breaks and "/blobs/" in call.path else len(rest)
        headers = {"Content-Type": kind, "Content-Length": str(len(rest))}
        self._send(call, 206 if start else 200, rest[:broken], headers)

    def _send(
        self,
        call: http.server.BaseHTTPRequestHandler,
        status: int,
        body: bytes = b"",
        headers: t.Mapping[str, str] | None = None,
    ) -> None:
        call.send_response(status)
        for name, value in (headers or {}).items():
            call.send_header(name, value)
        call.end_headers()
        call.wfile.write(body)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def registry() -> t.Iterator[Registry]:
    running = Registry()
    yield running
    running.close()


def source(registry: Registry, architecture: str = "amd64", password: str = PASSWORD) -> RegistrySource:
    return RegistrySource(
        lambda image: image.replace("nvcr.io", registry.host),
        lambda host: ("user", password) if host == registry.host else None,
        architecture,
        sleep=lambda _seconds: None,
    )


def package(images: RegistrySource) -> tuple[dict[str, t.Any], dict[str, bytes]]:
    """Write an image into a package; return what is said of it, and the members."""
    content = io.BytesIO()
    with build.PackageWriter(content) as writer:
        entry = images.write("nvcr.io/nim/x:1.0", writer)
    with zipfile.ZipFile(content) as archive:
        assert archive.testzip() is None
        return entry, {info.filename.rpartition("/")[2]: archive.read(info) for info in archive.infolist()}


def failure(images: RegistrySource) -> str:
    with pytest.raises(ProviderError) as caught:
        package(images)
    assert PASSWORD not in str(caught.value)
    return str(caught.value)


def test_blobs_as_they_are(registry: Registry) -> None:
    manifest, config, layers = made.an_image()
    registry.add(manifest, build.OCI_MANIFEST, config, *layers)
    images = source(registry)
    assert images.identity("nvcr.io/nim/x:1.0") == made.sha(manifest)
    assert images.size("nvcr.io/nim/x:1.0") == len(config) + sum(map(len, layers))
    entry, members = package(images)
    assert {made.sha(data)[7:] for data in members.values()} == set(members)
    assert set(members.values()) == {manifest, config, *layers}
    assert entry["unpacked_size"] == sum(map(len, made.LAYERS)), "gzip ends with the size of what is in it"
    logins = {login for server, _path, login in registry.asked if server == "store"}
    assert logins == {""}, "the store of the layers gets no login"
    assert registry.tokens == 1


def test_manifest_of_dockers_own_kind_becomes_ocis(registry: Registry) -> None:
    manifest, config, layers = made.an_image()
    parsed = json.loads(manifest)
    parsed["mediaType"] = DOCKER
    for layer in parsed["layers"]:
        layer["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    old = json.dumps(parsed).encode()
    registry.add(old, DOCKER, config, *layers)
    entry, members = package(source(registry))
    assert entry["identity"] == made.sha(old)
    new = json.loads(members[entry["manifest_digest"][7:]])
    assert (new["mediaType"], new["layers"]) == (build.OCI_MANIFEST, json.loads(manifest)["layers"])


def test_list_of_architectures(registry: Registry) -> None:
    manifest, config, layers = made.an_image()
    listed = [
        {"digest": made.sha(manifest), "platform": {"os": "linux", "architecture": "amd64"}},
        {"digest": made.sha(b""), "platform": {"os": "unknown", "architecture": "unknown"}},
    ]
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}).encode()
    registry.add(manifest, build.OCI_MANIFEST, config, *layers, tag="x")
    registry.add(index, INDEX)
    entry, _members = package(source(registry))
    assert (entry["identity"], entry["manifest_digest"]) == (made.sha(index), made.sha(manifest))
    assert failure(source(registry, "arm64")).endswith("is not there for linux/arm64, only for linux/amd64")


def test_list_without_any_image(registry: Registry) -> None:
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).encode()
    registry.add(index, INDEX)
    assert failure(source(registry)).endswith("has no image for linux/amd64, nor for anything else")


@pytest.mark.parametrize("ranges", [True, False])
def test_connection_that_breaks_goes_on_where_it_broke(registry: Registry, ranges: bool) -> None:
    manifest, config, layers = made.an_image()
    registry.add(manifest, build.OCI_MANIFEST, config, *layers)
    images = source(registry)
    images.identity("nvcr.io/nim/x:1.0")
    registry.breaks, registry.ranges, registry.busy = [20, 0, 30], ranges, 2
    _entry, members = package(images)
    assert set(members.values()) == {manifest, config, *layers}


def test_connection_that_always_breaks(registry: Registry) -> None:
    manifest, config, layers = made.an_image()
    registry.add(manifest, build.OCI_MANIFEST, config, *layers)
    images = source(registry)
    images.identity("nvcr.io/nim/x:1.0")
    registry.breaks = [10, *[0] * 20]
    assert f"10 of {len(config)} bytes came; tried 5 times" in failure(images)


def test_token_that_has_run_out(registry: Registry) -> None:
    manifest, config, layers = made.an_image()
    registry.add(manifest, build.OCI_MANIFEST, config, *layers)
    images = source(registry)
    images.identity("nvcr.io/nim/x:1.0")
    registry.tokens += 1
    package(images)
    assert registry.tokens == 3


def test_layer_that_is_another(registry: Registry) -> None:
    manifest, config, layers = made.an_image()
    registry.add(manifest, build.OCI_MANIFEST, config, *layers)
    place = f"/v2/nim/x/blobs/{made.sha(layers[1])}"
    registry.content[place] = ("", b"z" * len(layers[1]))
    assert f"what was received as {made.sha(layers[1])} is sha256:" in failure(source(registry))


def test_refusals(registry: Registry) -> None:
    assert "the registry has no such image or tag (404)" in failure(source(registry))
    assert "the registry does not accept the login" in failure(source(registry, password="wrong"))
    registry.add(b"{}", build.OCI_MANIFEST)
    assert "its manifest is none of an image" in failure(source(registry))
    registry.add(b"<html>", "text/html")
    assert "the registry answers with text/html, which is no image" in failure(source(registry))
    registry.busy = 100
    assert "the registry cannot answer (503)" in failure(source(registry))


def test_login_is_not_sent_to_somebody_else(registry: Registry) -> None:
    registry.realm = f"http://localhost:{registry.servers[1].server_address[1]}/token"
    assert "sends the login to localhost; the key is not sent there" in failure(source(registry))
    assert not any(login for _server, _path, login in registry.asked)


def test_nobody_there() -> None:
    closed = Registry()
    closed.close()
    assert "tried 5 times" in failure(source(closed))
