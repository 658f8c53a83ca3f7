# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""HTTP for checks: one request, one time limit over all of it, the server's certificate, no redirects.

This is Python's own HTTP client, because ``open_url`` of ansible-core cannot tell when a certificate ends, reads all
certificate authorities anew for each request, and installs its opener for the whole process, which threads must not do.
Proxies come from the environment, as everywhere.
"""

from __future__ import annotations

import base64
import dataclasses
import http.client
import io
import json
import queue
import socket
import ssl
import threading
import time
import typing as t
import urllib.parse
import urllib.request

BODY_LIMIT = 64 * 1024
"""Bytes that are read of an answer; what a check needs is far shorter."""

_HEADERS_LIMIT = 16 * 1024
_DEFAULT_PORTS = {"http": 80, "https": 443}

DNS = "dns"
REFUSED = "refused"
TIMEOUT = "timeout"
TLS = "tls"
PROXY = "proxy"
PROTOCOL = "protocol"
CONNECTION = "connection"


class HttpError(Exception):
    """There was no answer. ``kind`` is one of the constants above; the text is for people and names no secret."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back. Names of headers are in lower case; ``certificate_ends`` is in seconds since 1970."""

    status: int
    headers: t.Mapping[str, str]
    body: bytes
    seconds: float
    certificate_ends: float | None = None

    def json_object(self) -> dict[str, t.Any]:
        """Return the JSON object of the body; an empty one where it has none."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}


class Client:
    """Makes single requests, from any number of threads. ``timeout`` is in seconds, for all of one request."""

    def __init__(
        self,
        timeout: float,
        *,
        validate_certs: bool = True,
        ca_path: str | None = None,
        body_limit: int = BODY_LIMIT,
    ) -> None:
        """Read the certificate authorities once. ``body_limit`` is how many bytes of an answer are read.

        Raises ValueError if ``ca_path`` cannot be read as certificates, or there is no time at all.
        """
        if timeout <= 0:
            raise ValueError(f"timeout is {timeout:g}; it must be more than 0 seconds")
        self.timeout = timeout
        self._body_limit = body_limit
        self._tls = _tls_context(validate_certs, ca_path)
        self._proxies = urllib.request.getproxies()

    def request(
        self, method: str, url: str, headers: t.Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """Send one request and read the answer. Raises :class:`HttpError`, and ValueError for what is no address."""
        started = time.monotonic()
        deadline = _Deadline(started + self.timeout, self.timeout)
        target = _Target.parse(url)
        proxy = self._proxy_for(target)
        try:
            connection = _connect(target, proxy, self._tls, deadline)
        except HttpError:
            raise
        except (OSError, ValueError) as exc:
            raise _explained(exc, target, deadline) from exc
        try:
            path = url if proxy is not None and target.scheme == "http" else target.path
            sent = {"Host": target.netloc, "User-Agent": "budgetguard", "Connection": "close", **(headers or {})}
            if proxy is not None and target.scheme == "http":
                sent.update(proxy.authorization)
            exchange = _exchange(connection, method, path, sent, body, self._body_limit)
        except (OSError, ValueError, http.client.HTTPException) as exc:
            raise _explained(exc, target, deadline) from exc
        finally:
            connection.hang_up()
        return dataclasses.replace(
            exchange, seconds=time.monotonic() - started, certificate_ends=connection.certificate_ends()
        )

    def _proxy_for(self, target: _Target) -> _Proxy | None:
        address = self._proxies.get(target.scheme)
        if not address or urllib.request.proxy_bypass(target.host):
            return None
        return _Proxy.parse(address)


@dataclasses.dataclass(frozen=True)
class _Target:
    """Where a request goes."""

    scheme: str
    host: str
    port: int
    netloc: str
    path: str

    @classmethod
    def parse(cls, url: str) -> _Target:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.username is not None:
            raise ValueError(f"{_without_login(url)!r} must be an address such as https://host/path, without a login")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not path.isascii() or any(letter <= " " for letter in path):
            raise ValueError(f"{url!r} has characters in its path that an address cannot have")
        return cls(parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS[parts.scheme], parts.netloc, path)


@dataclasses.dataclass(frozen=True)
class _Proxy:
    """A forward proxy, as HTTP_PROXY names it."""

    host: str
    port: int
    authorization: t.Mapping[str, str]

    @classmethod
    def parse(cls, address: str) -> _Proxy:
        parts = urllib.parse.urlsplit(address if "://" in address else f"http://{address}")
        if parts.scheme != "http" or not parts.hostname:
            raise HttpError(PROXY, "the proxy that the environment names is not an address that begins with http://")
        authorization = {}
        if parts.username is not None:
            login = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
            authorization["Proxy-Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
        return cls(parts.hostname, parts.port or 80, authorization)


class _Deadline:
    """The end of a request. A socket's own time limit starts anew with each byte, this one does not."""

    def __init__(self, end: float, seconds: float) -> None:
        self._end = end
        self.seconds = seconds

    def left(self) -> float:
        """Return the seconds that are left. Raises TimeoutError when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


class _Stream(io.RawIOBase):
    """Reads from a socket until the deadline."""

    def __init__(self, sock: socket.socket, deadline: _Deadline) -> None:
        self._socket = sock
        self._deadline = deadline

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: t.Any) -> int:
        """Read what there is, at least one byte."""
        self._socket.settimeout(self._deadline.left())
        return self._socket.recv_into(buffer)


class _Connection:
    """A socket that keeps a deadline, as far as http.client uses one."""

    def __init__(self, sock: socket.socket, deadline: _Deadline) -> None:
        self._socket = sock
        self._deadline = deadline
        self._certificate_ends = _end_of_certificate(sock)

    def certificate_ends(self) -> float | None:
        """Return when the server's certificate ends. None without TLS, or if it was not verified."""
        return self._certificate_ends

    def sendall(self, data: bytes) -> None:
        """Send everything."""
        self._socket.settimeout(self._deadline.left())
        self._socket.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return the receiving side."""
        return io.BufferedReader(_Stream(self._socket, self._deadline))

    def close(self) -> None:
        """Do nothing: http.client calls this after the headers, when the body is still to come."""

    def hang_up(self) -> None:
        """Close the connection."""
        self._socket.close()


def _tls_context(validate_certs: bool, ca_path: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_path)
    except (OSError, ssl.SSLError) as exc:
        raise ValueError(f"ca_path {ca_path} cannot be read as certificates: {exc}") from exc
    if not validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _end_of_certificate(sock: socket.socket) -> float | None:
    certificate = sock.getpeercert() if isinstance(sock, ssl.SSLSocket) else None
    end = (certificate or {}).get("notAfter")
    return float(ssl.cert_time_to_seconds(end)) if isinstance(end, str) else None


def _connect(target: _Target, proxy: _Proxy | None, tls: ssl.SSLContext, deadline: _Deadline) -> _Connection:
    if proxy is None:
        sock = _dial(target.host, target.port, deadline)
    else:
        try:
            sock = _dial(proxy.host, proxy.port, deadline)
        except (OSError, HttpError) as exc:
            why = getattr(exc, "strerror", None) or exc
            raise HttpError(PROXY, f"the proxy {proxy.host}:{proxy.port} cannot be reached ({why})") from exc
    try:
        if proxy is not None and target.scheme == "https":
            _open_tunnel(sock, target, proxy, deadline)
        if target.scheme == "https":
            sock.settimeout(deadline.left())
            sock = tls.wrap_socket(sock, server_hostname=target.host)
        return _Connection(sock, deadline)
    except BaseException:
        sock.close()
        raise


def _dial(host: str, port: int, deadline: _Deadline) -> socket.socket:
    """Connect to the first address of a host that answers, dividing the time that is left among them."""
    addresses = _resolve(host, port, deadline)
    problem: OSError | None = None
    for number, (family, kind, protocol, _name, address) in enumerate(addresses):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(deadline.left() / (len(addresses) - number))
            sock.connect(address)
        except OSError as exc:
            sock.close()
            problem = exc
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
    raise problem or HttpError(DNS, f"the name {host} has no address")


def _resolve(host: str, port: int, deadline: _Deadline) -> list[t.Any]:
    """Ask for the addresses of a host, but not longer than there is time: the resolver itself knows no limit."""
    answers: queue.Queue[t.Any] = queue.Queue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as exc:
            answers.put(exc)

    threading.Thread(target=ask, daemon=True).start()
    try:
        found = answers.get(timeout=deadline.left())
    except queue.Empty as exc:
        raise HttpError(TIMEOUT, f"the name server did not answer for {host} within {deadline.seconds:g} s") from exc
    if isinstance(found, Exception):
        raise HttpError(DNS, f"the name {host} cannot be resolved") from found
    return list(found)


def _open_tunnel(sock: socket.socket, target: _Target, proxy: _Proxy, deadline: _Deadline) -> None:
    """Ask the proxy for a connection to the host."""
    host = f"[{target.host}]" if ":" in target.host else target.host
    lines = [f"CONNECT {host}:{target.port} HTTP/1.1", f"Host: {host}:{target.port}"]
    lines += [f"{name}: {value}" for name, value in proxy.authorization.items()]
    sock.settimeout(deadline.left())
    sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
    received = b""
    while b"\r\n\r\n" not in received:
        sock.settimeout(deadline.left())
        # One byte at a time: what follows the headers belongs to TLS.
        piece = sock.recv(1)
        if not piece or len(received) > _HEADERS_LIMIT:
            raise HttpError(PROXY, f"the proxy {proxy.host}:{proxy.port} gives no answer in HTTP")
        received += piece
    words = received.split(b"\r\n", 1)[0].decode("latin-1").split(None, 2)
    if len(words) < 2 or words[1] != "200":
        said = " ".join(words[1:]) or "nothing"
        raise HttpError(PROXY, f"the proxy {proxy.host}:{proxy.port} does not connect to {host} ({said})")


def _exchange(
    connection: _Connection,
    method: str,
    path: str,
    headers: t.Mapping[str, str],
    body: bytes | None,
    body_limit: int,
) -> Answer:
    """Send the request over the connection and read the answer."""
    exchange = http.client.HTTPConnection("unused")
    exchange.sock = connection
    exchange.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in headers.items():
        exchange.putheader(name, value)
    if body is not None:
        exchange.putheader("Content-Length", str(len(body)))
    exchange.endheaders(body)
    response = exchange.getresponse()
    content = response.read(body_limit)
    found = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, found, content, 0.0)


def _explained(exc: Exception, target: _Target, deadline: _Deadline) -> HttpError:
    """Return the error in words for a person who does not know Python."""
    where = f"{target.host}:{target.port}"
    detail = getattr(exc, "strerror", None) or exc
    # The first that fits; before Python 3.10 the time-out of a socket was a class of its own.
    causes: tuple[tuple[t.Any, str, str], ...] = (
        (ssl.SSLCertVerificationError, TLS, f"the certificate of {where} is not accepted: {_verification(exc)}"),
        ((TimeoutError, socket.timeout), TIMEOUT, f"{where} did not answer within {deadline.seconds:g} s"),
        (ssl.SSLError, TLS, f"{where} does not speak TLS as it should ({getattr(exc, 'reason', None) or exc})"),
        (ConnectionRefusedError, REFUSED, f"nothing listens at {where} (connection refused)"),
        (ConnectionError, CONNECTION, f"{where} broke the connection off"),
        ((http.client.HTTPException, ValueError), PROTOCOL, f"{where} does not answer in HTTP"),
        (OSError, CONNECTION, f"{where} cannot be reached ({detail})"),
    )
    return next(HttpError(kind, text) for classes, kind, text in causes if isinstance(exc, classes))


def _verification(exc: Exception) -> str:
    return str(getattr(exc, "verify_message", None) or exc)


def _without_login(url: str) -> str:
    """Return the address as it may be shown."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}***@{rest.rpartition('@')[2]}" if "@" in rest else url


__all__ = (
    "CONNECTION",
    "DNS",
    "PROTOCOL",
    "PROXY",
    "REFUSED",
    "TIMEOUT",
    "TLS",
    "Answer",
    "Client",
    "HttpError",
)
