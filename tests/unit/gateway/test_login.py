# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a gateway with login refuses, in a real HAProxy. The table in docs/gateway.md is made of ``refused.py``."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import socket
import ssl
import threading
import time
import typing as t
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._gateway import FixedRoutes, Limits, haproxy_config
from tests.unit.gateway import refused
from tests.unit.gateway.network import Nim
from tests.unit.gateway.running import SETTLED_SECONDS, TARGET, Haproxy, haproxy, needs_haproxy, until
from tests.unit.gateway.tokens import WORKSTATION, Studio, claims, signed

pytestmark = needs_haproxy
PATH = refused.PATH


class Guarded(t.NamedTuple):
    """A gateway that wants tokens, and the NIM behind it."""

    haproxy: Haproxy
    nim: Nim
    studio: Studio

    def ask(self, token: str, path: str = PATH, **headers: str) -> int:
        return self.haproxy.ask(path, b"{}", headers={"Authorization": f"Bearer {token}", **headers}).status


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, keys: Studio) -> Iterator[Guarded]:
    """Return one gateway for all tests that change nothing of it."""
    keys.deny(refused.DENIED)
    with _running(
        tmp_path_factory.mktemp("gateway"), keys, Limits(header_seconds=1, body_bytes=refused.BODY_BYTES)
    ) as it:
        yield it


def _made(studio: Studio, nim: Nim, limits: Limits, keys: int = 1) -> t.Callable[..., str]:
    routes = FixedRoutes(((refused.NODE, f"{nim.address}:{nim.port}"),))
    return functools.partial(haproxy_config, routes, target=TARGET, login=studio.login(keys), limits=limits)


@contextlib.contextmanager
def _running(folder: Path, studio: Studio, limits: Limits, keys: int = 1) -> Iterator[Guarded]:
    with Nim("127.0.0.11") as nim, haproxy(folder, _made(studio, nim, limits, keys)) as running:
        yield Guarded(running, nim, studio)


def test_a_token_of_the_studio_opens(guarded: Guarded) -> None:
    answer = guarded.haproxy.ask(PATH, b"{}", headers={"Authorization": f"bearer {guarded.studio.token()}"})
    assert (answer.status, answer.json["path"]) == (200, "/v1/infer")
    line = guarded.haproxy.usage(1)[-1]
    assert (line["workstation"], line["node"], line["status"]) == (WORKSTATION, refused.NODE, 200)


@pytest.mark.parametrize("case", refused.CASES, ids=lambda case: case.what)
def test_it_is_refused_in_words_and_reaches_no_nim(guarded: Guarded, case: refused.Refused) -> None:
    lines, asked = len(guarded.haproxy.usage(0)), list(guarded.nim.asked)
    answer = guarded.haproxy.send(case.request(guarded.studio))
    assert answer.status == case.status
    # What is not HTTP at all gets HAProxy's own page.
    assert answer.kind == ("application/json" if case.told else "text/html")
    assert not case.told or case.told in answer.json["error"]
    assert answer.headers.get("www-authenticate", "").startswith("Bearer") == (case.status == 401)
    assert guarded.nim.asked == asked
    line = guarded.haproxy.usage(lines + 1)[lines]
    assert (line["status"], line["workstation"]) == (case.status, case.workstation)


def test_the_page_has_the_same_list() -> None:
    page = refused.PAGE.read_text(encoding="utf-8")
    assert page == refused.render(page), "run: python -m tests.unit.gateway.refused"


def test_the_log_never_holds_a_token_or_what_was_asked(guarded: Guarded) -> None:
    token = guarded.studio.token()
    body = b'{"prompt": "CANARYprompt", "image": "data:image/png;base64,CANARYimage"}'
    for headers in ({"Authorization": f"Bearer {token}"}, {"Authorization": token}, {"X-Token": "CANARYheader"}):
        guarded.haproxy.ask(f"{PATH}?key=CANARYquery", body, headers=headers)
    for case in refused.CASES:
        guarded.haproxy.send(case.request(guarded.studio))
    guarded.haproxy.ask("/last/v1")
    until(lambda: any(line["path"] == "/last/v1" for line in guarded.haproxy.usage(0)))
    text = guarded.haproxy.log.read_text("utf-8")
    assert "CANARY" not in text
    assert not any(piece in text for piece in token.split("."))


_FOR_THE_NIM = {"host", "accept-encoding", "accept", "connection", "content-type", "content-length"}


def test_a_nim_gets_none_of_what_it_may_not_believe(guarded: Guarded) -> None:
    sent = {
        "Cookie": "a=b",
        "Forwarded": "for=10.0.0.1",
        "Proxy": "http://evil.example",
        "X-Forwarded-For": "10.0.0.1",
        "X-Forwarded-User": "root",
        "X-HTTP-Method-Override": "DELETE",
        "X-Original-URL": "/admin",
        "X-Real-IP": "10.0.0.1",
        "Accept": "application/json",
        "Content-Type": "application/json",
    }
    answer = guarded.haproxy.ask(PATH, b"{}", headers={"Authorization": f"Bearer {guarded.studio.token()}", **sent})
    assert set(answer.json["headers"]) == _FOR_THE_NIM


def test_no_request_with_a_body_changes_the_protocol(guarded: Guarded) -> None:
    """HAProxy takes this header out by itself where there is a body."""
    headers = {"Authorization": f"Bearer {guarded.studio.token()}", "Connection": "Upgrade", "Upgrade": "h2c"}
    assert "upgrade" not in guarded.haproxy.ask(PATH, b"{}", headers=headers).json["headers"]


def test_one_request_is_one_request(guarded: Guarded) -> None:
    """A second request inside the body of the first one stays its body."""
    inner = "POST /flux-dev-l40s/v1/inner HTTP/1.1\r\nHost: x\r\n\r\n"
    request = (
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {guarded.studio.token()}\r\n"
        f"Content-Length: {len(inner)}\r\nConnection: close\r\n\r\n{inner}"
    )
    assert guarded.haproxy.send(request.encode()).json["bytes"] == len(inner)
    assert "/v1/inner" not in guarded.nim.asked


def test_the_second_request_on_a_connection_needs_a_token_of_its_own(guarded: Guarded) -> None:
    with contextlib.closing(guarded.haproxy.connect()) as connection:
        connection.request("POST", PATH, b"{}", {"Authorization": f"Bearer {guarded.studio.token()}"})
        assert connection.getresponse().read()
        connection.request("POST", PATH, b"{}")
        assert connection.getresponse().status == 401


@pytest.mark.parametrize("sent", [b"", b"POST /flux-dev-l40s/v1/infer HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_slow_client_is_cut_off(guarded: Guarded, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", guarded.haproxy.port), timeout=SETTLED_SECONDS) as connection:
        connection.sendall(sent)
        assert connection.recv(4096).startswith(b"HTTP/1.1 408")
        assert connection.recv(4096) == b""


def test_a_client_that_stops_in_its_body_is_cut_off(tmp_path: Path, studio: Studio) -> None:
    with _running(tmp_path, studio, Limits(body_stall_seconds=1)) as guarded:
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {studio.token()}\r\nContent-Length: 9\r\n\r\n123"
        )
        with socket.create_connection(("127.0.0.1", guarded.haproxy.port), timeout=SETTLED_SECONDS) as connection:
            connection.sendall(head.encode())
            assert connection.recv(4096).startswith(b"HTTP/1.1 408")


def test_a_client_may_wait_longer_for_a_nim_than_it_may_stop_in_its_body(tmp_path: Path, studio: Studio) -> None:
    with _running(tmp_path, studio, Limits(body_stall_seconds=1)) as guarded:
        guarded.nim.may_answer.clear()
        threading.Timer(2.5, guarded.nim.may_answer.set).start()
        assert guarded.ask(studio.token()) == 200


def test_two_keys_are_taken_while_one_replaces_the_other(tmp_path: Path, studio: Studio) -> None:
    new = signed(studio.next_signing_key, claims())
    with _running(tmp_path, studio, Limits(), keys=1) as guarded:
        assert (guarded.ask(studio.token()), guarded.ask(new)) == (200, 401)
        guarded.haproxy.reload(login=studio.login(2))
        assert (guarded.ask(studio.token()), guarded.ask(new)) == (200, 200)
        both = studio.login(2)
        guarded.haproxy.reload(login=dataclasses.replace(both, public_keys=both.public_keys[1:]))
        assert (guarded.ask(studio.token()), guarded.ask(new)) == (401, 200)


def test_a_workstation_that_was_found_again_works_with_its_next_token(tmp_path: Path, studio: Studio) -> None:
    with _running(tmp_path, studio, Limits()) as guarded:
        old = studio.token()
        assert guarded.ask(old) == 200
        now = int(time.time())
        studio.deny({WORKSTATION: datetime.datetime.fromtimestamp(now, datetime.timezone.utc)})
        guarded.haproxy.reload()
        assert (guarded.ask(old), guarded.ask(studio.token("ws-08"))) == (403, 200)
        assert guarded.ask(studio.token(denied={WORKSTATION: now})) == 200


def test_each_workstation_has_its_own_rate(tmp_path: Path, studio: Studio) -> None:
    with _running(tmp_path, studio, Limits(requests_per_minute=3)) as guarded:
        token = studio.token()
        assert [guarded.ask(token) for _request in range(5)] == [200, 200, 200, 429, 429]
        answer = guarded.haproxy.ask(PATH, b"{}", headers={"Authorization": f"Bearer {token}"})
        assert (answer.headers["retry-after"], answer.json) == (
            "60",
            {"error": "This workstation may send 3 requests a minute"},
        )
        assert guarded.ask(studio.token("ws-08")) == 200


def test_each_workstation_has_so_many_requests_under_way(tmp_path: Path, studio: Studio) -> None:
    with _running(tmp_path, studio, Limits(concurrent_requests=2)) as guarded, ThreadPoolExecutor(2) as pool:
        guarded.nim.may_answer.clear()
        under_way = [pool.submit(guarded.ask, studio.token()) for _request in range(2)]
        until(lambda: len(guarded.nim.working) == 2)
        assert guarded.ask(studio.token()) == 429
        guarded.nim.may_answer.set()
        assert [request.result() for request in under_way] == [200, 200]
        # The counter falls when HAProxy has ended the requests, a moment after the clients have read them.
        until(lambda: guarded.ask(studio.token()) == 200)


def test_tls_with_a_certificate_of_the_studio(tmp_path: Path, studio: Studio) -> None:
    with Nim("127.0.0.11") as nim:
        make = functools.partial(_made(studio, nim, Limits()), certificate=str(studio.certificate))
        with haproxy(tmp_path, make, trusted=studio.root) as running:
            guarded = Guarded(running, nim, studio)
            assert guarded.ask(studio.token()) == 200
            assert guarded.ask("x") == 401
            with pytest.raises(ConnectionError):
                dataclasses.replace(running, trusted=None).ask(PATH)
            with pytest.raises(ssl.SSLCertVerificationError):
                _connect(running, ssl.create_default_context())


def _connect(running: Haproxy, context: ssl.SSLContext) -> None:
    with socket.create_connection(("127.0.0.1", running.port)) as plain:
        context.wrap_socket(plain, server_hostname="127.0.0.1").close()
