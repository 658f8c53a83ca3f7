# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway's configuration in a real HAProxy, with a DNS server and NIMs on loopback addresses."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import hashlib
import json
import signal
import threading
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._gateway import (
    IMAGE,
    USAGE_FIELDS,
    FixedRoutes,
    Limits,
    Login,
    NamedRoutes,
    haproxy_config,
)
from tests.unit.gateway.network import Dns, Nim
from tests.unit.gateway.running import SETTLED_SECONDS, TARGET, Answer, Haproxy, check, haproxy, needs_haproxy, until
from tests.unit.gateway.tokens import Studio

DOMAIN = "budgetguard.svc.cluster.local"


@dataclasses.dataclass
class Gateway:
    """A gateway without login, and what surrounds it."""

    dns: Dns
    nim: Nim
    other_nim: Nim
    haproxy: Haproxy

    @property
    def ask(self) -> t.Callable[..., Answer]:
        return self.haproxy.ask


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with Dns() as dns, Nim("127.0.0.11") as nim, Nim("127.0.0.12", nim.port) as other_nim:
        dns.addresses = {
            f"gateway.{DOMAIN}": "127.0.0.1",
            f"nim-flux-dev-l4.{DOMAIN}": nim.address,
            f"nim-llama-3-1-a100-80gb.{DOMAIN}": other_nim.address,
            # Its Service is there, but nothing is behind it.
            f"nim-stopped-l4.{DOMAIN}": "127.0.0.13",
        }
        routes = NamedRoutes.in_cluster("budgetguard", nameservers=(dns.address,), nim_port=nim.port)
        with haproxy(tmp_path, functools.partial(haproxy_config, routes, target=TARGET), master=False) as running:
            yield Gateway(dns, nim, other_nim, running)


@needs_haproxy
@pytest.mark.parametrize(
    ("login", "certificate", "log"), [(0, False, "stdout"), (1, True, "127.0.0.1:514"), (2, True, "stdout")]
)
@pytest.mark.parametrize(
    "routes",
    [
        NamedRoutes.in_cluster("budgetguard"),
        NamedRoutes(nameservers=("127.0.0.11:53",)),
        FixedRoutes((("flux-dev-l40s", "127.0.0.1:8000"), ("llama-l4", "localhost:8000"))),
        FixedRoutes((("flux-dev-l40s", "127.0.0.1:8000"),), in_path=False),
    ],
)
def test_haproxy_takes_the_configuration_without_a_warning(
    tmp_path: Path, routes: NamedRoutes | FixedRoutes, login: int, certificate: bool, log: str, studio: Studio
) -> None:
    config = haproxy_config(
        routes,
        target="aws-us-east-1",
        certificate=str(studio.certificate) if certificate else None,
        login=studio.login(login) if login else None,
        limits=Limits(requests_per_minute=60, concurrent_requests=4) if login else None,
        log=log,
    )
    assert "WARNING" not in check(tmp_path, config)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"target": 'a"b'}, "target is"),
        ({"listen": "*:80\nglobal"}, "no address"),
        ({"certificate": "/etc/a b.pem"}, "no absolute path"),
        ({"login": Login(("/a", "/b", "/c"), "studio")}, "two at most"),
        ({"login": Login(("/a",), "the studio")}, "studio is"),
        ({"limits": Limits(requests_per_minute=5)}, "need tokens"),
        ({"limits": Limits(body_bytes=0)}, "body_bytes is 0"),
        ({"log": "syslog"}, "log is"),
        ({"routes": FixedRoutes((("Flux", "127.0.0.1:8000"),))}, "'Flux'"),
        ({"routes": FixedRoutes((("flux", "127.0.0.1"),))}, "host:port"),
        ({"routes": FixedRoutes(())}, "one or more"),
        ({"routes": FixedRoutes((("a", "h:1"), ("b", "h:2")), in_path=False)}, "one route only"),
    ],
)
def test_what_would_be_another_configuration_is_refused(wrong: dict[str, t.Any], told: str) -> None:
    given: dict[str, t.Any] = {"routes": NamedRoutes(), "target": TARGET, **wrong}
    with pytest.raises(ValueError, match=told):
        haproxy_config(given.pop("routes"), **given)


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
        ("/flux-dev-l4/v1/models/meta-llama:8b@1+x_~.json", "127.0.0.11", "/v1/models/meta-llama:8b@1+x_~.json"),
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
        "/livez",
        "/healthz",
    ],
)
def test_a_path_of_no_nim_is_told_so(gateway: Gateway, path: str) -> None:
    answer = gateway.ask(path)
    assert (answer.status, answer.kind) == (404, "application/json")
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
    until(lambda: gateway.ask("/sdxl-l4/v1/infer").status == 200)
    gateway.dns.addresses[f"nim-sdxl-l4.{DOMAIN}"] = gateway.nim.address
    until(lambda: gateway.ask("/sdxl-l4/v1/infer").json["nim"] == gateway.nim.address)
    del gateway.dns.addresses[f"nim-sdxl-l4.{DOMAIN}"]
    until(lambda: gateway.ask("/sdxl-l4/v1/infer").status == 503)


@needs_haproxy
def test_a_long_body_arrives_whole(gateway: Gateway) -> None:
    whole = bytes(range(256)) * 4096 * 16
    answer = gateway.ask("/flux-dev-l4/v1/infer", whole)
    assert (answer.json["bytes"], answer.json["sha256"]) == (len(whole), hashlib.sha256(whole).hexdigest())


@needs_haproxy
def test_a_nim_that_breaks_off_is_told_in_json(gateway: Gateway) -> None:
    gateway.nim.breaks_off = True
    answer = gateway.ask("/flux-dev-l4/v1/infer", b"{}")
    assert (answer.status, answer.kind) == (502, "application/json")
    assert "broke the connection off" in answer.json["error"]


@needs_haproxy
def test_one_connection_can_ask_several_nims(gateway: Gateway) -> None:
    seen = []
    with contextlib.closing(gateway.haproxy.connect()) as connection:
        for path in ("/flux-dev-l4/v1", "/llama-3-1-a100-80gb/v1", "/flux-dev-l4/v1"):
            connection.request("GET", path)
            seen.append(json.loads(connection.getresponse().read())["nim"])
    assert seen == ["127.0.0.11", "127.0.0.12", "127.0.0.11"]


@needs_haproxy
def test_the_probes_tell_a_lost_dns_from_a_lost_gateway(gateway: Gateway) -> None:
    def probes() -> tuple[int, int]:
        return gateway.haproxy.ask_health("/healthz").status, gateway.haproxy.ask_health("/livez").status

    assert probes() == (200, 200)
    gateway.dns.silent = True
    until(lambda: probes() == (200, 503))
    assert gateway.ask("/flux-dev-l4/v1").status == 503
    gateway.dns.silent = False
    until(lambda: probes() == (200, 200))


@needs_haproxy
def test_the_health_port_answers_nothing_else(gateway: Gateway) -> None:
    for path in ("/", "/flux-dev-l4/v1/infer", "/flux-dev-l4/v1/health/ready", "/healthz/../flux-dev-l4/v1"):
        assert gateway.haproxy.ask_health(path).status == 404


@needs_haproxy
def test_the_log_has_one_line_per_request_and_nothing_of_what_was_asked(gateway: Gateway) -> None:
    # HAProxy writes a line after it has answered, each of its threads for itself: so one is awaited before the next.
    gateway.ask("/flux-dev-l4/v1/infer?token=CANARYquery", b'{"prompt": "CANARYbody"}')
    gateway.haproxy.usage(1)
    gateway.haproxy.ask_health("/livez")
    gateway.haproxy.ask_health("/healthz")
    gateway.ask('/no"thing\\')
    gateway.haproxy.usage(2)
    gateway.haproxy.send(b"NO HTTP\r\n\r\n")
    lines = gateway.haproxy.usage(3)
    assert "CANARY" not in gateway.haproxy.log.read_text("utf-8")
    assert [tuple(line) for line in lines] == [USAGE_FIELDS] * 3
    asked = [tuple(line[name] for name in ("method", "path", "node", "status")) for line in lines]
    assert asked == [
        ("POST", "/flux-dev-l4/v1/infer", "flux-dev-l4", 200),
        ("GET", '/no"thing\\', "-", 404),
        ("-", "-", "-", 400),
    ]
    for line in lines:
        assert (line["workstation"], line["target"]) == ("-", TARGET)
        age = datetime.datetime.now(datetime.timezone.utc) - datetime.datetime.strptime(
            line["time"], "%Y-%m-%dT%H:%M:%S.%fZ"
        ).replace(tzinfo=datetime.timezone.utc)
        assert abs(age) < datetime.timedelta(minutes=5)
        assert isinstance(line["seconds"], float)
    assert lines[0]["bytes"] > 100
    assert lines[0]["request_bytes"] > len(b'{"prompt": "CANARYbody"}')


@needs_haproxy
def test_the_time_that_a_nim_took_is_in_the_log(gateway: Gateway) -> None:
    gateway.nim.may_answer.clear()
    threading.Timer(0.5, gateway.nim.may_answer.set).start()
    gateway.ask("/flux-dev-l4/v1/infer", b"{}")
    (line,) = gateway.haproxy.usage(1)
    assert line["seconds"] >= 0.4
    assert line["tsc"] == "----"


@needs_haproxy
def test_it_finishes_what_is_under_way_when_it_is_asked_to_go(gateway: Gateway) -> None:
    gateway.nim.may_answer.clear()
    with contextlib.closing(gateway.haproxy.connect()) as connection:
        connection.request("POST", "/flux-dev-l4/v1/infer", b"1234")
        until(lambda: gateway.nim.working == ["/v1/infer"])
        gateway.haproxy.process.send_signal(signal.SIGUSR1)
        until(lambda: _refuses(gateway))
        gateway.nim.may_answer.set()
        assert json.loads(connection.getresponse().read())["bytes"] == 4
    assert gateway.haproxy.process.wait(SETTLED_SECONDS) == 0


def _refuses(gateway: Gateway) -> bool:
    try:
        gateway.ask("/")
    except OSError:
        return True
    return False


@pytest.fixture
def fixed(tmp_path: Path) -> Iterator[tuple[Haproxy, Nim]]:
    with Nim("127.0.0.11") as nim:
        routes = FixedRoutes((("flux-dev-l40s", f"127.0.0.11:{nim.port}"), ("gone-l4", "127.0.0.13:9")))
        with haproxy(tmp_path, functools.partial(haproxy_config, routes, target=TARGET)) as running:
            yield running, nim


@needs_haproxy
def test_routes_can_be_given(fixed: tuple[Haproxy, Nim]) -> None:
    running, _nim = fixed
    answer = running.ask("/flux-dev-l40s/v1/infer", b"{}")
    assert (answer.status, answer.json["path"]) == (200, "/v1/infer")
    for before, (path, status) in enumerate((("/gone-l4/v1", 503), ("/other/v1", 503), ("/v1", 404)), start=1):
        running.usage(before)  # Each thread of HAProxy writes for itself, so a line is awaited before the next.
        assert running.ask(path).status == status
    assert [line["node"] for line in running.usage(4)] == ["flux-dev-l40s", "gone-l4", "other", "-"]


@needs_haproxy
def test_a_load_balancer_asks_for_the_health_of_a_nim_without_a_token(fixed: tuple[Haproxy, Nim]) -> None:
    running, _nim = fixed
    answer = running.ask_health("/flux-dev-l40s/v1/health/ready")
    assert (answer.status, answer.json["path"]) == (200, "/v1/health/ready")
    assert running.ask_health("/gone-l4/v1/health/ready").status == 503
    assert running.ask_health("/flux-dev-l40s/v1/health/ready", "POST").status == 404
    assert running.ask_health("/flux-dev-l40s/v1/infer").status == 404
    assert running.ask_health("/livez").status == 200
    running.ask("/flux-dev-l40s/v1")
    assert [line["path"] for line in running.usage(1)] == ["/flux-dev-l40s/v1"]


@needs_haproxy
def test_the_load_balancer_may_take_the_name_out_of_the_path(tmp_path: Path) -> None:
    with Nim("127.0.0.11") as nim:
        routes = FixedRoutes((("flux-dev-l40s", f"127.0.0.11:{nim.port}"),), in_path=False)
        with haproxy(tmp_path, functools.partial(haproxy_config, routes, target=TARGET)) as running:
            assert running.ask("/v1/infer", b"{}").json["path"] == "/v1/infer"
            assert running.ask_health("/v1/health/ready").status == 200
            assert running.ask("/v1/../x").status == 400
            assert [line["node"] for line in running.usage(2)] == ["flux-dev-l40s", "flux-dev-l40s"]
