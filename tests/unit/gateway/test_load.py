# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many requests at once, and a new configuration while they run, in a real HAProxy. Counted, not timed."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import resource
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._gateway import FixedRoutes, Limits, haproxy_config
from tests.unit.gateway.network import Nim
from tests.unit.gateway.refused import NODE, PATH
from tests.unit.gateway.running import SETTLED_SECONDS, TARGET, Haproxy, haproxy, needs_haproxy, until
from tests.unit.gateway.tokens import Studio

pytestmark = needs_haproxy

MANY = 1000
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process have a connection to the gateway and one from it for each request."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3 * MANY
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this machine allows {hard} open files, and the test needs {wanted}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class _Crowd:
    """A NIM that answers nobody until all have asked, so that all requests are under way at the same time.

    If one of them does not come, the gateway gives up the others after its time for a request.
    """

    def __init__(self, count: int) -> None:
        self._expected = count
        self._arrived = 0
        self._all_there = asyncio.Event()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self._arrived += 1
        if self._arrived == self._expected:
            self._all_there.set()
        await self._all_there.wait()
        writer.write(_ANSWER)
        await writer.drain()
        writer.close()


async def _ask(port: int, token: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 2\r\n\r\n{{}}"
    writer.write(request.encode())
    status = (await reader.readline()).decode().split()[1]
    writer.close()
    return status


async def _all_at_once(folder: Path, studio: Studio, tokens: list[str]) -> set[str]:
    crowd = _Crowd(len(tokens))
    server = await asyncio.start_server(crowd.handle, "127.0.0.11", 0, backlog=MANY)
    async with server:
        port = server.sockets[0].getsockname()[1]
        make = functools.partial(
            haproxy_config,
            FixedRoutes(((NODE, f"127.0.0.11:{port}"),)),
            target=TARGET,
            login=studio.login(),
            limits=Limits(header_seconds=SETTLED_SECONDS, request_seconds=2 * SETTLED_SECONDS),
        )
        with haproxy(folder, make) as running:
            statuses = Counter(await asyncio.gather(*(_ask(running.port, token) for token in tokens)))
            assert statuses == {"200": len(tokens)}
            lines = await asyncio.to_thread(running.usage, len(tokens))
    return {str(line["workstation"]) for line in lines}


@pytest.mark.usefixtures("many_files")
def test_a_thousand_requests_are_served_at_the_same_time(tmp_path: Path, studio: Studio) -> None:
    tokens = [studio.token(f"ws-{number:04}") for number in range(MANY)]
    workstations = asyncio.run(_all_at_once(tmp_path, studio, tokens))
    assert workstations == {f"ws-{number:04}" for number in range(MANY)}


def test_each_request_is_in_the_log_although_writing_it_is_slow(tmp_path: Path, studio: Studio) -> None:
    """HAProxy waits for nothing when it writes its log, not even for a thread of its own that is writing just now."""
    make = functools.partial(haproxy_config, FixedRoutes((("slow", "127.0.0.11:1"),)), target=TARGET)
    with haproxy(tmp_path, make, log_flags=os.O_SYNC) as running, ThreadPoolExecutor(CLIENTS) as pool:
        asked = sum(pool.map(lambda _client: _ask_often(running, studio), range(CLIENTS)))
        assert len(running.usage(asked)) == asked


def _ask_often(running: Haproxy, studio: Studio, times: int = 50) -> int:
    return [_post(running, studio, "/nowhere") for _time in range(times)].count(404)


RELOADS = 3
CLIENTS = 8


def test_new_configurations_lose_no_request(tmp_path: Path, studio: Studio) -> None:
    """One request is under way through all of them, and others come all the time."""
    with Nim("127.0.0.11") as slow, Nim("127.0.0.12") as nim, ThreadPoolExecutor(CLIENTS + 1) as pool:
        routes = FixedRoutes(((NODE, f"127.0.0.12:{nim.port}"), ("slow", f"127.0.0.11:{slow.port}")))
        make = functools.partial(haproxy_config, routes, target=TARGET, login=studio.login())
        with haproxy(tmp_path, make) as running:
            slow.may_answer.clear()
            long_one = pool.submit(_post, running, studio, "/slow/v1/infer")
            until(lambda: len(slow.working) == 1)
            enough = threading.Event()
            clients = [pool.submit(_post_until, running, studio, enough) for _client in range(CLIENTS)]
            with _always(enough.set):
                for _reload in range(RELOADS):
                    before = len(nim.asked)
                    running.reload()
                    until(functools.partial(_has_grown, nim, before + CLIENTS))
            statuses = sum((client.result(SETTLED_SECONDS) for client in clients), Counter())
            slow.may_answer.set()
            assert long_one.result(SETTLED_SECONDS) == 200
            assert set(statuses) == {200}
            assert statuses[200] >= RELOADS * CLIENTS
            assert len(nim.asked) == statuses[200]
            assert len(running.usage(statuses[200] + 1)) == statuses[200] + 1


def _has_grown(nim: Nim, size: int) -> bool:
    return len(nim.asked) >= size


@contextlib.contextmanager
def _always(end: object) -> Iterator[None]:
    assert callable(end)
    try:
        yield
    finally:
        end()


def _post(running: Haproxy, studio: Studio, path: str = PATH) -> int:
    return running.ask(path, b"{}", headers={"Authorization": f"Bearer {studio.token()}"}).status


def _post_until(running: Haproxy, studio: Studio, enough: threading.Event) -> Counter[int]:
    seen: Counter[int] = Counter()
    while not enough.is_set():
        seen[_post(running, studio)] += 1
    return seen
