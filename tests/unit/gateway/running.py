# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real HAProxy with a configuration of ours, on loopback, and a client that looks closely."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
import typing as t
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _gateway
from tests.ports import free_port

HAPROXY = shutil.which("haproxy", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin") or ""
needs_haproxy = pytest.mark.skipif(not HAPROXY, reason="haproxy is not installed")

SETTLED_SECONDS = 30
TARGET = "test-target"


@dataclasses.dataclass
class Answer:
    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def kind(self) -> str | None:
        return self.headers.get("content-type")

    @property
    def json(self) -> dict[str, t.Any]:
        return t.cast(dict[str, t.Any], json.loads(self.body))


@dataclasses.dataclass
class Haproxy:
    """A running HAProxy."""

    port: int
    health_port: int
    config: Path
    log: Path
    process: subprocess.Popen[bytes]
    make: Callable[..., str]
    trusted: Path | None = None
    generation: int = 0

    def connect(self) -> http.client.HTTPConnection:
        if self.trusted is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=SETTLED_SECONDS)
        context = ssl.create_default_context(cafile=str(self.trusted))
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=SETTLED_SECONDS, context=context)

    def ask(
        self,
        path: str,
        body: bytes | t.Iterable[bytes] | None = None,
        method: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        with contextlib.closing(self.connect()) as connection:
            connection.request(method or ("POST" if body else "GET"), path, body, headers or {})
            return _read(connection.getresponse())

    def ask_health(self, path: str, method: str = "GET") -> Answer:
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.health_port, timeout=SETTLED_SECONDS)
        ) as connection:
            connection.request(method, path)
            return _read(connection.getresponse())

    def send(self, request: bytes) -> Answer:
        """Send bytes as they stand, and read the first answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=SETTLED_SECONDS) as connection:
            connection.sendall(request)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            return _read(answer)

    def usage(self, count: int) -> list[dict[str, t.Any]]:
        """Wait until the log has so many lines of requests, and return all of them."""
        until(lambda: len(self._usage()) >= count, lambda: f"of {count} requests {len(self._usage())} are in the log")
        return self._usage()

    def _usage(self) -> list[dict[str, t.Any]]:
        return usage_lines(self.log.read_text("utf-8"))

    def reload(self, **changed: t.Any) -> None:
        """Do what happens on a Docker host after a file has changed, and wait until it holds."""
        self.generation += 1
        self.config.write_text(self.make(mark=self.mark, **changed), encoding="utf-8")
        signals = 0
        deadline = time.monotonic() + SETTLED_SECONDS
        while self.ask_health(_gateway.HEALTH_PATH).body != f"ok {self.mark}".encode():
            assert time.monotonic() < deadline, self.log.read_text("utf-8")
            # A signal that comes while the master starts itself anew may get lost.
            if signals % 50 == 0:
                self.process.send_signal(signal.SIGUSR2)
            signals += 1
            time.sleep(0.02)

    @property
    def mark(self) -> str:
        return f"generation-{self.generation}"


def usage_lines(log: str) -> list[dict[str, t.Any]]:
    """Return the lines of requests as data, without what HAProxy says about itself and a line it is still writing."""
    return [json.loads(line) for line in log.splitlines() if line.startswith("{") and line.endswith("}")]


def _read(answer: http.client.HTTPResponse) -> Answer:
    return Answer(answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()})


@contextlib.contextmanager
def haproxy(
    folder: Path, make: Callable[..., str], trusted: Path | None = None, master: bool = True, log_flags: int = 0
) -> Iterator[Haproxy]:
    """Run HAProxy as it is run on a Docker host, or without ``master`` as in a pod, which is never told to reload.

    ``make`` returns the configuration; it gets ``listen``, ``health_listen`` and ``mark``. The log is opened with
    ``log_flags``.
    """
    port, health_port = free_port(), free_port()
    config, log = folder / "haproxy.cfg", folder / "log"
    made = functools.partial(make, listen=f"127.0.0.1:{port}", health_listen=f"127.0.0.1:{health_port}")
    config.write_text(made(mark="generation-0"), encoding="utf-8")
    with (
        os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | log_flags, 0o600), "wb") as output,
        subprocess.Popen(
            [HAPROXY, *(["-W"] if master else []), "-db", "-f", str(config)], stdout=output, stderr=output
        ) as run,
    ):
        running = Haproxy(port, health_port, config, log, run, made, trusted)
        try:
            until(lambda: _is_up(running))
            yield running
        finally:
            run.terminate()


def _is_up(running: Haproxy) -> bool:
    assert running.process.poll() is None, running.log.read_text("utf-8")
    try:
        return running.ask_health(_gateway.HEALTH_PATH).status == 200
    except ConnectionRefusedError:
        return False


def check(folder: Path, config: str) -> str:
    """Let HAProxy read a configuration, and return what it says."""
    path = folder / "checked.cfg"
    path.write_text(config, encoding="utf-8")
    done = subprocess.run(
        [HAPROXY, "-c", "-f", str(path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def until(is_so: Callable[[], bool], found: Callable[[], str] = lambda: "it never came about") -> None:
    deadline = time.monotonic() + SETTLED_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, found()
        time.sleep(0.02)
