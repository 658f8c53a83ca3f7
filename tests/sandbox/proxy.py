# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A forward proxy in front of all simulated hosts but the cloud APIs. It never opens a connection of its own.

Clients find it through HTTP_PROXY and HTTPS_PROXY. ``https`` URLs come as CONNECT; the proxy then shows a
certificate for that host, signed by the throw-away CA, so a client's verification is real.
"""

from __future__ import annotations

import socketserver
import ssl
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.sandbox.ca import ThrowAwayCA
from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.nim_stub import HttpAnswer, HttpRequest, NimStub, NoConnectionError, UnknownHostError, json_answer

DEFAULT_PORTS = {"http": 80, "https": 443}
#: Requests for more than this are refused, in bytes. Images come base64-encoded in JSON.
MAX_BODY = 64 * 1024 * 1024


class ProxyServer(socketserver.ThreadingTCPServer):
    """The listening side. `stub` answers, `ca` makes certificates."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int, stub: NimStub, ca: ThrowAwayCA, calls: CallLog, interferences: Interferences) -> None:
        super().__init__(("127.0.0.1", port), ProxyHandler)
        self.stub = stub
        self.ca = ca
        self.calls = calls
        self.interferences = interferences

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up, or refuse our certificate, are normal in tests: say nothing."""


class ProxyHandler(BaseHTTPRequestHandler):
    """One client connection, before and after CONNECT."""

    server: ProxyServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    #: (host, port) of a CONNECT; None before.
    tunnel: tuple[str, int] | None = None

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Do nothing: the call log has it all."""

    def do_CONNECT(self) -> None:
        """Open a tunnel: from here on the client speaks TLS, and we are the host."""
        host, _colon, port = self.path.rpartition(":")
        if not host or not port.isdigit():
            self._send(_error(400, "CONNECT needs HOST:PORT"))
            return
        try:
            self.server.stub.check_connection("https", host, int(port))
        except (UnknownHostError, NoConnectionError) as error:
            self._note_refused_tunnel(str(error))
            self._send(_error(502, str(error)))
            return
        self.send_response(200, "Connection established")
        self.end_headers()
        self.connection = self.server.ca.server_context(host).wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = socketserver._SocketWriter(self.connection)  # type: ignore[attr-defined]
        self.tunnel = (host, int(port))
        self.close_connection = False

    def finish(self) -> None:
        """Say goodbye to a TLS client properly, else it takes the end for an attack."""
        super().finish()
        if isinstance(self.connection, ssl.SSLSocket):
            try:
                self.connection.unwrap().close()
            except (OSError, ValueError):
                # The client was faster.
                self.connection.close()

    def do_GET(self) -> None:
        """Any request but CONNECT."""
        body = self._read_body()
        if body is None:
            self._send(_error(413, "The body is too large or has no Content-Length"))
            return
        if self.tunnel is not None:
            scheme, (host, port), target = "https", self.tunnel, self.path
        else:
            url = urlsplit(self.path)
            if url.scheme != "http" or not url.hostname:
                self._send(_error(400, "This is a proxy: it needs the whole URL, http://HOST/PATH"))
                return
            scheme, host = "http", url.hostname
            port = url.port or DEFAULT_PORTS["http"]
            target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        headers = {name.title(): value for name, value in self.headers.items()}
        self._send(self._answer(scheme, host, port, HttpRequest(self.command, target, _Headers(headers), body)))

    def do_POST(self) -> None:
        """Answer like `do_GET`."""
        self.do_GET()

    def do_PUT(self) -> None:
        """Answer like `do_GET`."""
        self.do_GET()

    def do_DELETE(self) -> None:
        """Answer like `do_GET`."""
        self.do_GET()

    def do_HEAD(self) -> None:
        """Answer like `do_GET`, without body."""
        self.do_GET()

    def _answer(self, scheme: str, host: str, port: int, request: HttpRequest) -> HttpAnswer:
        action = f"{request.method} {request.path}"
        text = request.body.decode("utf-8", "replace")
        call = self.server.calls.start(
            service="nim",
            action=action,
            region="",
            method=request.method,
            path=f"{scheme}://{host}:{port}{request.target}",
            params=parse_qs(urlsplit(request.target).query),
            body="\n".join([*(f"{name}: {value}" for name, value in request.headers.items()), text]),
        )
        try:
            answer = self._answer_or_fault(scheme, host, port, request, action, text)
        except (UnknownHostError, NoConnectionError) as error:
            call.refused = str(error)
            answer = _error(502, str(error))
        call.status = answer.status
        return answer

    def _answer_or_fault(
        self, scheme: str, host: str, port: int, request: HttpRequest, action: str, text: str
    ) -> HttpAnswer:
        fault = self.server.interferences.apply("nim", action, text, "before")
        if fault is None:
            answer = self.server.stub.answer(scheme, host, port, request)
            fault = self.server.interferences.apply("nim", action, text, "after")
            if fault is None:
                return answer
        return json_answer({"code": fault.code, "detail": fault.message}, fault.status)

    def _note_refused_tunnel(self, why: str) -> None:
        call = self.server.calls.start(
            service="nim", action="CONNECT", region="", method="CONNECT", path=self.path, params={}, body=""
        )
        call.status = 502
        call.refused = why

    def _read_body(self) -> bytes | None:
        if self.headers.get("Transfer-Encoding"):
            return None
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > MAX_BODY:
            return None
        return self.rfile.read(int(length))

    def _send(self, answer: HttpAnswer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)


class _Headers(dict[str, str]):
    """Headers whose names are looked up without regard to case; names are kept in title case."""

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.title(), default)


def _error(status: int, message: str) -> HttpAnswer:
    return HttpAnswer(status, f"{message}\n".encode(), "text/plain")
