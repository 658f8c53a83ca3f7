# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers on loopback: one that says what a test wants, with TLS or without, and places where nobody answers."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
import typing as t
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOOPBACK = "127.0.0.1"
METADATA = {"version": "1.2.3", "modelInfo": [{"shortName": "flux.1-dev:1.2.3", "modelUrl": "ngc://nim/x/flux.1-dev"}]}


class Said(t.NamedTuple):
    """An answer."""

    status: int
    body: bytes = b""
    headers: t.Mapping[str, str] = {}


def said_json(value: t.Any, status: int = 200) -> Said:
    return Said(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


Script = dict[str, Said]
"""What is said to each path."""


class _Handler(BaseHTTPRequestHandler):
    server: WebServer

    def do_GET(self) -> None:
        self.server.requests.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        self.server.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
        script = self.server.script_with.get(self.headers.get("Authorization", ""), self.server.script)
        said = script.get(self.path, Said(404))
        self.send_response(said.status)
        for name, value in said.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(said.body)))
        self.end_headers()
        self.wfile.write(said.body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_arguments: t.Any) -> None:
        """Say nothing."""


class WebServer(ThreadingHTTPServer):
    """A server that follows a script and notes what it was asked."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, script: Script, context: ssl.SSLContext | None = None) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.script = script
        self.script_with: dict[str, Script] = {}
        """What is said instead to a request with this login."""
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.bodies: list[bytes] = []
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'http' if context is None else 'https'}://{LOOPBACK}:{self.server_port}"

    def handle_error(self, request: t.Any, client_address: t.Any) -> None:
        """Clients that refuse the certificate are what some tests are about."""


@contextlib.contextmanager
def web_server(script: Script, context: ssl.SSLContext | None = None) -> Iterator[WebServer]:
    server = WebServer(script, context)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def silent_server() -> Iterator[str]:
    """Accept connections and never say anything, as a dead machine behind a load balancer does."""
    with socket.create_server((LOOPBACK, 0), backlog=512) as listener:
        yield f"http://{LOOPBACK}:{listener.getsockname()[1]}"


@contextlib.contextmanager
def raw_server(piece: bytes, pause: float = 0.0) -> Iterator[str]:
    """Send the same few bytes again and again, with a pause between."""
    stop = threading.Event()
    listener = socket.create_server((LOOPBACK, 0))
    listener.settimeout(0.05)

    def talk(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(4096)
            while not stop.is_set():
                connection.sendall(piece)
                if not pause:
                    return
                time.sleep(pause)

    def accept() -> None:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _address = listener.accept()
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{listener.getsockname()[1]}"
    finally:
        stop.set()
        thread.join()
        listener.close()


def nim(prefix: str = "", ready: int = 200, live: int = 200) -> Script:
    """Return what a NIM says under a path."""
    health = {"object": "health.response", "message": "Service is ready.", "status": "ready"}
    return {
        f"{prefix}/v1/health/ready": said_json(health, ready),
        f"{prefix}/v1/health/live": said_json(health, live),
        f"{prefix}/v1/metadata": said_json(METADATA),
    }
