# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a gateway finds around it, on loopback addresses: a DNS server, and NIMs at their own addresses."""

from __future__ import annotations

import hashlib
import http.server
import json
import socket
import socketserver
import struct
import threading
import typing as t

NAME_ERROR = 3
TYPE_A = 1


class Dns:
    """Answers for the names in ``addresses`` and says of all others that they do not exist. Can fall silent."""

    def __init__(self) -> None:
        self.addresses: dict[str, str] = {}
        self.asked: list[str] = []
        self.silent = False
        dns = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                question, reply_to = self.request
                answer = dns.answer(question)
                if answer:
                    reply_to.sendto(answer, self.client_address)

        self._server = socketserver.ThreadingUDPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Dns:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, packet: bytes) -> bytes | None:
        """Answer one question as RFC 1035 has it; the answer's name points back at the question."""
        name, end = _read_name(packet, 12)
        (kind,) = struct.unpack_from("!H", packet, end)
        self.asked.append(name)
        if self.silent:
            return None
        question = packet[12 : end + 4]
        address = self.addresses.get(name)
        if address is None:
            return packet[:2] + struct.pack("!5H", 0x8580 | NAME_ERROR, 1, 0, 0, 0) + question
        if kind != TYPE_A:
            return packet[:2] + struct.pack("!5H", 0x8580, 1, 0, 0, 0) + question
        record = struct.pack("!3HIH", 0xC00C, TYPE_A, 1, 5, 4) + socket.inet_aton(address)
        return packet[:2] + struct.pack("!5H", 0x8580, 1, 1, 0, 0) + question + record


def _read_name(packet: bytes, start: int) -> tuple[str, int]:
    """Return a name and where it ends."""
    parts = []
    while length := packet[start]:
        parts.append(packet[start + 1 : start + 1 + length].decode())
        start += 1 + length
    return ".".join(parts), start + 1


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024
    address_family = socket.AF_INET


class Nim:
    """Tells in JSON what reached it."""

    def __init__(self, address: str, port: int = 0) -> None:
        nim = self
        self.address = address
        self.breaks_off = False
        self.asked: list[str] = []
        """Paths of all requests that arrived."""
        self.working: list[str] = []
        """Paths of the requests that are under way."""
        self.may_answer = threading.Event()
        self.may_answer.set()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _tell(self) -> None:
                nim.asked.append(self.path)
                chunked = self.headers.get("Transfer-Encoding") == "chunked"
                body = self._chunks() if chunked else self.rfile.read(int(self.headers.get("Content-Length", "0")))
                if nim.breaks_off:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                seen = {
                    "nim": nim.address,
                    "method": self.command,
                    "path": self.path,
                    "headers": {name.lower(): value for name, value in self.headers.items()},
                    "bytes": len(body),
                    "sha256": hashlib.sha256(body).hexdigest(),
                }
                nim.working.append(self.path)
                nim.may_answer.wait(60)
                nim.working.remove(self.path)
                answer = json.dumps(seen).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def _chunks(self) -> bytes:
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def do_GET(self) -> None:
                self._tell()

            def do_POST(self) -> None:
                self._tell()

            def log_message(self, *_args: t.Any, **_named: t.Any) -> None:
                """Keep the tests' output clean."""

        self._server = _Server((address, port), Handler)
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Nim:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.may_answer.set()
        self._server.shutdown()
        self._server.server_close()
