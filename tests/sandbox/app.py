# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the sandbox put together, and the HTTPS server in front of them."""

from __future__ import annotations

import threading
import time
from typing import Any

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import BaseWSGIServer, make_server
from werkzeug.wrappers import Request, Response

from tests.sandbox.ca import ThrowAwayCA
from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.clouds import Clouds
from tests.sandbox.control import PREFIX, ControlApi
from tests.sandbox.nim_stub import NimStub
from tests.sandbox.proxy import ProxyServer
from tests.sandbox.registry import RegistryHosts

LOOPBACK = "127.0.0.1"


class SandboxApplication:
    """The WSGI application: the control API under its prefix, everything else is a cloud's API."""

    def __init__(self, ca_pem: str) -> None:
        self.last_request = time.monotonic()
        self.calls = CallLog()
        self.interferences = Interferences()
        self.clouds = Clouds(ca_pem, self.calls, self.interferences)
        nvidia = self.clouds.nvidia
        self.nim_stub = NimStub(self.clouds.kube, nvidia.hosts, RegistryHosts(nvidia.answering))
        self.control = ControlApi(self.calls, self.interferences, self.nim_stub, self.clouds)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Route by path."""
        self.last_request = time.monotonic()
        request = Request(environ)
        return self._respond(request)(environ, start_response)

    def _respond(self, request: Request) -> Response:
        if request.path.startswith(PREFIX):
            return self.control(request)
        return self.clouds(request)


class QuietHandler(MotoRequestHandler):
    """No line on stderr for each request, and no waiting for more bytes before a small answer goes out."""

    disable_nagle_algorithm = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Do nothing: the call log has it."""


class SandboxServer:
    """Both listening sockets, each served by a thread. Use `close` in every case."""

    def __init__(self, ca: ThrowAwayCA, port: int = 0, proxy_port: int = 0) -> None:
        self.application = SandboxApplication(ca.certificate_path.read_text())
        self._https: BaseWSGIServer = make_server(
            LOOPBACK, port, self.application, threaded=True, request_handler=QuietHandler
        )
        context = ca.server_context(LOOPBACK)
        # Handshakes happen in the connection's own thread: a client that stalls must not stop the others.
        self._https.socket = context.wrap_socket(self._https.socket, server_side=True, do_handshake_on_connect=False)
        self._https.ssl_context = context
        self._proxy = ProxyServer(
            proxy_port, self.application.nim_stub, ca, self.application.calls, self.application.interferences
        )
        self._threads = [
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
            for server in (self._https, self._proxy)
        ]

    @property
    def url(self) -> str:
        """Where the clouds' APIs answer."""
        return f"https://{LOOPBACK}:{self._https.server_port}"

    @property
    def proxy_url(self) -> str:
        """Where the forward proxy answers."""
        return f"http://{LOOPBACK}:{self._proxy.server_address[1]}"

    def start(self) -> None:
        """Begin to answer."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop answering and close the sockets."""
        for server, thread in zip((self._https, self._proxy), self._threads, strict=True):
            if thread.is_alive():
                server.shutdown()
                thread.join()
            server.server_close()
