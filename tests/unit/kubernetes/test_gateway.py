# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway's configuration in a real HAProxy, with a DNS server and NIMs on loopback addresses."""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._gateway import IMAGE, haproxy_config
from tests.unit.kubernetes.cluster_network import Dns, Nim, free_port

HAPROXY = shutil.which("haproxy", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin") or ""
needs_haproxy = pytest.mark.skipif(not HAPROXY, reason="haproxy is not installed")

DOMAIN = "budgetguard.svc.cluster.local"
SETTLED_SECONDS = 20


@dataclasses.dataclass
class Answer:
    status: int
    body: bytes
    kind: str | None

    @property
    def json(self) -> dict[str, t.Any]:
        return t.cast(dict[str, t.Any], json.loads(self.body))


@dataclasses.dataclass
class Gateway:
    """A running HAProxy, and what surrounds it."""

    port: int
    dns: Dns
    nim: Nim
    other_nim: Nim
    log: Path
    process: subprocess.Popen[bytes]

    def ask(self, path: str, body: bytes | t.Iterable[bytes] | None = None, method: str | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SETTLED_SECONDS)
        try:
            connection.request(method or ("POST" if body else "GET"), path, body)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(), answer.getheader("Content-Type"))
        finally:
            connection.close()

    def logged(self, text: str) -> str:
        """Wait for a line with this text and return the whole log."""
        deadline = time.monotonic() + SETTLED_SECONDS
        while text not in self.log.read_text("utf-8"):
            assert time.monotonic() < deadline, self.log.read_text("utf-8")
            time.sleep(0.02)
        return self.log.read_text("utf-8")


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    port, log = free_port(), tmp_path / "log"
    with Dns() as dns, Nim("127.0.0.11") as nim, Nim("127.0.0.12", nim.port) as other_nim:
        dns.addresses = {
            f"gateway.{DOMAIN}": "127.0.0.1",
            f"nim-flux-dev-l4.{DOMAIN}": nim.address,
            f"nim-llama-3-1-a100-80gb.{DOMAIN}": other_nim.address,
            # Its Service is there, but nothing is behind it.
            f"nim-stopped-l4.{DOMAIN}": "127.0.0.13",
        }
        config = haproxy_config("budgetguard", nameservers=[dns.address], listen=f"127.0.0.1:{port}", nim_port=nim.port)
        (tmp_path / "haproxy.cfg").write_text(config, encoding="utf-8")
        with (
            log.open("wb") as output,
            subprocess.Popen(
                [HAPROXY, "-db", "-f", str(tmp_path / "haproxy.cfg")], stdout=output, stderr=output
            ) as run,
        ):
            running = Gateway(port, dns, nim, other_nim, log, run)
            try:
                _wait_until_it_listens(running)
                yield running
            finally:
                run.terminate()


def _wait_until_it_listens(running: Gateway) -> None:
    deadline = time.monotonic() + SETTLED_SECONDS
    while True:
        try:
            assert running.ask("/healthz").status == 200
        except ConnectionRefusedError:
            assert running.process.poll() is None, running.log.read_text("utf-8")
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            return


@needs_haproxy
@pytest.mark.parametrize("nameservers", [(), ("127.0.0.1:53", "127.0.0.2:53")])
def test_haproxy_takes_the_configuration_without_a_warning(tmp_path: Path, nameservers: tuple[str, ...]) -> None:
    path = tmp_path / "haproxy.cfg"
    path.write_text(haproxy_config("budgetguard", nameservers=nameservers), encoding="utf-8")
    done = subprocess.run(
        [HAPROXY, "-c", "-f", str(path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "WARNING" not in done.stdout


def test_the_image_is_pinned() -> None:
    name, _at, digest = IMAGE.partition("@sha256:")
    assert name.startswith("docker.io/library/haproxy:3.2.")
    assert len(digest) == 64


@needs_haproxy
@pytest.mark.parametrize(
    ("path", "nim", "arrives_as"),
    [
        ("/flux-dev-l4/v1/infer", "127.0.0.11", "/v1/infer"),
        ("/llama-3-1-a100-80gb/v1/chat/completions?stream=1&x=/y", "127.0.0.12", "/v1/chat/completions?stream=1&x=/y"),
        ("/flux-dev-l4/", "127.0.0.11", "/"),
        ("/flux-dev-l4/v1//a%20b", "127.0.0.11", "/v1//a%20b"),
        ("/flux-dev-l4/../llama-3-1-a100-80gb/v1", "127.0.0.11", "/../llama-3-1-a100-80gb/v1"),
    ],
)
def test_a_request_reaches_its_nim_without_the_name(gateway: Gateway, path: str, nim: str, arrives_as: str) -> None:
    answer = gateway.ask(path)
    assert (answer.status, answer.json["nim"], answer.json["path"]) == (200, nim, arrives_as)


@needs_haproxy
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/flux-dev-l4",
        "/Flux-Dev-L4/v1",
        "/flux.dev/v1",
        "/a%2fb/v1",
        "//v1",
        "/.%2e/v1",
        f"/{'a' * 60}/v1",
        "/livez/",
    ],
)
def test_a_path_of_no_nim_is_told_so(gateway: Gateway, path: str) -> None:
    expected = 503 if path == "/livez/" else 404  # Only this one could be the name of a NIM.
    answer = gateway.ask(path)
    assert (answer.status, answer.kind) == (expected, "application/json")
    assert "NIM" in answer.json["error"]


@needs_haproxy
@pytest.mark.parametrize("path", ["/stopped-l4/v1/infer", "/never-heard-of-l4/v1/infer"])
def test_a_nim_that_does_not_run_is_told_so_in_json(gateway: Gateway, path: str) -> None:
    answer = gateway.ask(path, b"{}")
    assert (answer.status, answer.kind) == (503, "application/json")
    assert "does not run" in answer.json["error"]


@needs_haproxy
def test_only_services_of_the_own_namespace_are_looked_up(gateway: Gateway) -> None:
    gateway.ask("/kubernetes/v1")
    gateway.ask("/kubernetes.default/v1")
    assert set(gateway.dns.asked) == {f"nim-kubernetes.{DOMAIN}"}


@needs_haproxy
def test_a_nim_that_is_deployed_later_needs_no_new_configuration(gateway: Gateway) -> None:
    assert gateway.ask("/sdxl-l4/v1/infer").status == 503
    gateway.dns.addresses[f"nim-sdxl-l4.{DOMAIN}"] = gateway.other_nim.address
    _until(lambda: gateway.ask("/sdxl-l4/v1/infer").status == 200)
    gateway.dns.addresses[f"nim-sdxl-l4.{DOMAIN}"] = gateway.nim.address
    _until(lambda: gateway.ask("/sdxl-l4/v1/infer").json["nim"] == gateway.nim.address)
    del gateway.dns.addresses[f"nim-sdxl-l4.{DOMAIN}"]
    _until(lambda: gateway.ask("/sdxl-l4/v1/infer").status == 503)


@needs_haproxy
@pytest.mark.parametrize("chunked", [False, True])
def test_a_long_body_arrives_whole(gateway: Gateway, chunked: bool) -> None:
    parts = [bytes(range(256)) * 4096] * 16
    whole = b"".join(parts)
    answer = gateway.ask("/flux-dev-l4/v1/infer", iter(parts) if chunked else whole)
    assert (answer.json["bytes"], answer.json["sha256"]) == (len(whole), hashlib.sha256(whole).hexdigest())


@needs_haproxy
def test_a_nim_that_breaks_off_is_told_in_json(gateway: Gateway) -> None:
    gateway.nim.breaks_off = True
    answer = gateway.ask("/flux-dev-l4/v1/infer", b"{}")
    assert (answer.status, answer.kind) == (502, "application/json")
    assert "broke the connection off" in answer.json["error"]


@needs_haproxy
def test_one_connection_can_ask_several_nims(gateway: Gateway) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=SETTLED_SECONDS)
    seen = []
    for path in ("/flux-dev-l4/v1", "/llama-3-1-a100-80gb/v1", "/flux-dev-l4/v1"):
        connection.request("GET", path)
        seen.append(json.loads(connection.getresponse().read())["nim"])
    connection.close()
    assert seen == ["127.0.0.11", "127.0.0.12", "127.0.0.11"]


@needs_haproxy
def test_the_probes_tell_a_lost_dns_from_a_lost_gateway(gateway: Gateway) -> None:
    assert (gateway.ask("/healthz").status, gateway.ask("/livez").status) == (200, 200)
    gateway.dns.silent = True
    _until(lambda: gateway.ask("/livez").status == 503)
    assert gateway.ask("/healthz").status == 200
    assert gateway.ask("/flux-dev-l4/v1").status == 503
    gateway.dns.silent = False
    _until(lambda: gateway.ask("/livez").status == 200)


@needs_haproxy
def test_the_log_has_one_line_per_request_and_no_query_or_body(gateway: Gateway) -> None:
    gateway.ask("/flux-dev-l4/v1/infer?token=CANARYquery", b'{"prompt": "CANARYbody"}')
    gateway.ask("/livez")
    gateway.ask("/healthz")
    gateway.ask("/nothing")
    lines = gateway.logged("GET /nothing").splitlines()
    asked = [line for line in lines if line.startswith("127.0.0.1 ")]
    assert [line.split()[1:4] for line in asked] == [
        ["POST", "/flux-dev-l4/v1/infer", "200"],
        ["GET", "/nothing", "404"],
    ]
    assert "CANARY" not in "\n".join(lines)


@needs_haproxy
def test_it_finishes_what_is_under_way_when_it_is_asked_to_go(gateway: Gateway) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=SETTLED_SECONDS)
    connection.putrequest("POST", "/flux-dev-l4/v1/infer")
    connection.putheader("Content-Length", "4")
    connection.endheaders(b"12")
    _until(lambda: f"nim-flux-dev-l4.{DOMAIN}" in gateway.dns.asked)
    gateway.process.send_signal(signal.SIGUSR1)
    _until(lambda: _refuses(gateway))
    connection.send(b"34")
    assert json.loads(connection.getresponse().read())["bytes"] == 4
    connection.close()
    assert gateway.process.wait(SETTLED_SECONDS) == 0


def _refuses(gateway: Gateway) -> bool:
    try:
        gateway.ask("/healthz")
    except (ConnectionError, http.client.HTTPException):
        return True
    return False


def _until(is_so: t.Callable[[], bool]) -> None:
    deadline = time.monotonic() + SETTLED_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.2)
