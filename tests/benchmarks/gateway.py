# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gateway adds to a request: python -m tests.benchmarks.gateway.

The same request goes to a stand-in for a NIM, in turns directly and through a real HAProxy with TLS, a token, a deny
list and limits, each time over a new connection. Medians of one run. Needs haproxy.
"""

from __future__ import annotations

import dataclasses
import functools
import http.client
import ssl
import statistics
import sys
import tempfile
import time
import typing as t
from pathlib import Path

from ansible_collections.budgetguard.techops.plugins.module_utils._gateway import FixedRoutes, Limits, haproxy_config
from tests.unit.gateway.network import Nim
from tests.unit.gateway.running import HAPROXY, TARGET, Haproxy, haproxy
from tests.unit.gateway.tokens import Studio

ROUNDS = 300
PATH = "/v1/infer"
BODY = b'{"prompt": "a matte painting of a harbour at dawn"}'


@dataclasses.dataclass(frozen=True)
class Row:
    """One way, and the median of its requests in milliseconds."""

    way: str
    milliseconds: float


def measure(rounds: int = ROUNDS) -> list[Row]:
    """Ask in turns, so that what else the machine does is the same for all."""
    with tempfile.TemporaryDirectory() as name, Nim("127.0.0.11") as nim:
        folder = Path(name)
        studio = Studio(folder)
        plain = functools.partial(haproxy_config, FixedRoutes((("nim", f"{nim.address}:{nim.port}"),)), target=TARGET)
        guarded = functools.partial(
            plain, login=studio.login(), limits=Limits(requests_per_minute=10**6, concurrent_requests=100)
        )
        with_tls = functools.partial(guarded, certificate=str(studio.certificate))
        token = {"Authorization": f"Bearer {studio.token()}"}
        ways: dict[str, t.Callable[[], float]] = {}
        (folder / "http").mkdir()
        (folder / "https").mkdir()
        with haproxy(folder / "http", guarded) as http_gateway, haproxy(folder / "https", with_tls) as https_gateway:
            context = ssl.create_default_context(cafile=str(studio.root))
            ways["directly"] = lambda: _time(http.client.HTTPConnection(nim.address, nim.port), PATH, {})
            ways["by the gateway: token, deny list, limits"] = lambda: _time(_plain(http_gateway), f"/nim{PATH}", token)
            ways["the same and TLS"] = lambda: _time(
                http.client.HTTPSConnection("127.0.0.1", https_gateway.port, context=context), f"/nim{PATH}", token
            )
            taken: dict[str, list[float]] = {way: [] for way in ways}
            for _round in range(rounds):
                for way, ask in ways.items():
                    taken[way].append(ask())
    return [Row(way, statistics.median(times) * 1000) for way, times in taken.items()]


def _plain(gateway: Haproxy) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", gateway.port)


def _time(connection: http.client.HTTPConnection, path: str, headers: dict[str, str]) -> float:
    started = time.perf_counter()
    connection.request("POST", path, BODY, headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{path} answered {answer.status}")
    return time.perf_counter() - started


def main() -> None:
    """Print the table."""
    if not HAPROXY:
        sys.exit("haproxy is not on this machine")
    rows = measure()
    base = rows[0].milliseconds
    print(f"{'way':<42} {'median ms':>9} {'added ms':>9} {'ratio':>6}")
    for row in rows:
        added = row.milliseconds - base
        print(f"{row.way:<42} {row.milliseconds:>9.2f} {added:>9.2f} {row.milliseconds / base:>6.2f}")


if __name__ == "__main__":
    main()
