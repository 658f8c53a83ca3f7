# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests that a gateway refuses: what is tried, as bytes, and the answer. docs/gateway.md has them as a table.

``python -m tests.unit.gateway.refused`` writes it.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

from tests.unit.gateway.tokens import (
    WORKSTATION,
    Studio,
    claims,
    encoded,
    part,
    signed,
    signed_with_secret,
)

NODE = "flux-dev-l40s"
PATH = f"/{NODE}/v1/infer"
BODY_BYTES = 1024
LOST, LOST_TOKEN = "ws-lost", "lost-token"
DENIED = {LOST: "2100-01-01T00:00:00Z", LOST_TOKEN: "2100-01-01T00:00:00Z"}


def _post(*headers: str, path: str = PATH, method: str = "POST", body: str = "{}", length: bool = True) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: nims.studio.example", *headers]
    lines += [f"Content-Length: {len(body)}"] if length else []
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode("latin-1")


def _bearer(token: str) -> str:
    return f"Authorization: Bearer {token}"


def _with_token(token: Callable[[Studio], str]) -> Callable[[Studio], bytes]:
    return lambda studio: _post(_bearer(token(studio)))


def _with_claims(**changed: object) -> Callable[[Studio], bytes]:
    return _with_token(lambda studio: signed(studio.signing_key, claims(**changed)))


def _good(studio: Studio) -> str:
    return _bearer(studio.token())


def _at_path(path: str) -> Callable[[Studio], bytes]:
    return lambda studio: _post(_good(studio), path=path)


@dataclasses.dataclass(frozen=True)
class Refused:
    """One way to ask that must not lead to a NIM. ``told`` is part of the sentence in the answer."""

    what: str
    request: Callable[[Studio], bytes]
    status: int
    told: str
    workstation: str = "-"


def _cut(token: str) -> str:
    return token.rsplit(".", 1)[0] + "."


def _other_workstation(studio: Studio) -> str:
    header, _claims, signature = studio.token().split(".")
    return f"{header}.{part(claims(sub='ws-08'))}.{signature}"


_TWO_ALGORITHMS = b'{"alg": "none", "alg": "ES256"}'
_WEBSOCKET = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==")
_HOUR = 3600
_NOT_SIGNED = "not signed with a key of this studio"
_NOT_ES256 = "not signed with ES256"

CASES = (
    Refused("no token", lambda studio: _post(), 401, "A token is needed"),
    Refused("another kind of login (Basic)", lambda studio: _post("Authorization: Basic d3MtMDc6eA=="), 401, "needed"),
    Refused(
        "the token in the query", lambda studio: _post(path=f"{PATH}?access_token={studio.token()}"), 401, "needed"
    ),
    Refused("a text that is no token", _with_token(lambda studio: "not-a-token"), 401, _NOT_ES256),
    Refused("wrong signature", _with_token(lambda studio: studio.token()[:-8] + "AAAAAAAA"), 401, _NOT_SIGNED),
    Refused("no signature", _with_token(lambda studio: _cut(studio.token())), 401, _NOT_SIGNED),
    Refused("the signature of another workstation's token", _with_token(_other_workstation), 401, _NOT_SIGNED),
    Refused(
        "another studio's key", _with_token(lambda studio: signed(studio.next_signing_key, claims())), 401, _NOT_SIGNED
    ),
    Refused(
        "another studio's name, signed with this studio's key", _with_claims(iss="other-studio"), 401, "another studio"
    ),
    Refused("a token for something else", _with_claims(aud="render-farm"), 401, "something else"),
    Refused(
        "algorithm none",
        _with_token(lambda studio: f"{part({'alg': 'none'})}.{part(claims())}."),
        401,
        _NOT_ES256,
    ),
    Refused(
        "algorithm HS256 with the public key as the secret",
        _with_token(lambda studio: signed_with_secret(studio.public_text().encode(), claims())),
        401,
        _NOT_ES256,
    ),
    Refused(
        "a good signature under another algorithm's name",
        _with_token(lambda studio: signed(studio.signing_key, claims(), algorithm="ES384")),
        401,
        _NOT_ES256,
    ),
    Refused(
        "a header with two algorithms",
        _with_token(lambda studio: f"{encoded(_TWO_ALGORITHMS)}.{part(claims())}."),
        401,
        "not signed with",
    ),
    Refused("expired", _with_claims(exp=int(time.time()) - 1), 401, "has expired", WORKSTATION),
    Refused("not valid yet", _with_claims(nbf=int(time.time()) + _HOUR), 401, "not valid yet", WORKSTATION),
    Refused("issued in the future", _with_claims(iat=int(time.time()) + _HOUR), 401, "not valid yet", WORKSTATION),
    Refused("without an end", _with_claims(exp=None), 401, "lacks", WORKSTATION),
    Refused("an end that is no number", _with_claims(exp="never"), 401, "The token", WORKSTATION),
    Refused("without an id", _with_claims(jti=None), 401, "lacks", WORKSTATION),
    Refused("without a workstation", _with_claims(sub=None), 401, "lacks"),
    Refused("a revoked workstation", _with_claims(sub=LOST), 403, "revoked", LOST),
    Refused("a revoked token", _with_claims(jti=LOST_TOKEN), 403, "revoked", WORKSTATION),
    Refused(
        "two headers Authorization",
        lambda studio: _post(_good(studio), "Authorization: Bearer x"),
        400,
        "more than one",
    ),
    Refused(
        "chunks instead of a length",
        lambda studio: _post(_good(studio), "Transfer-Encoding: chunked", body="2\r\n{}\r\n0\r\n\r\n", length=False),
        411,
        "Content-Length",
        WORKSTATION,
    ),
    Refused(
        "HTTP/2, in which a body needs no length",
        lambda _studio: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]),
        400,
        "This is not HTTP as",
    ),
    Refused(
        "a length and chunks, of which two programs read different ones",
        lambda studio: _post(_good(studio), "Transfer-Encoding: chunked", body="0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n"),
        411,
        "Content-Length",
        WORKSTATION,
    ),
    Refused("two lengths", lambda studio: _post(_good(studio), "Content-Length: 7"), 400, ""),
    Refused(
        "a space before a header's colon",
        lambda studio: _post(_good(studio), "Transfer-Encoding : chunked"),
        400,
        "",
    ),
    Refused(
        "a header in two lines that hides another",
        lambda studio: _post(_good(studio), "X-A: b\n Authorization: x\rY: z"),
        400,
        "",
    ),
    Refused(
        "a change to another protocol (WebSocket)",
        lambda studio: _post(_good(studio), *_WEBSOCKET, method="GET", body="", length=False),
        400,
        "another kind",
    ),
    Refused(
        "CONNECT, TRACE, PUT and the like", lambda studio: _post(_good(studio), method="PUT"), 405, "GET, HEAD, POST"
    ),
    Refused(
        "a body over the limit",
        lambda studio: _post(_good(studio), body="x" * (BODY_BYTES + 1)),
        413,
        "at most",
        WORKSTATION,
    ),
    Refused("a path with ..", _at_path(f"/{NODE}/v1/../../admin"), 400, "The path", WORKSTATION),
    Refused("an encoded ..", _at_path(f"/{NODE}/%2e%2e/admin"), 400, "The path", WORKSTATION),
    Refused("an encoded /", _at_path(f"/{NODE}/v1%2fadmin"), 400, "The path", WORKSTATION),
    Refused("an encoded letter", _at_path(f"/{NODE}/v1/%69nfer"), 400, "The path", WORKSTATION),
    Refused("an empty part (//)", _at_path(f"/{NODE}//v1/infer"), 400, "The path", WORKSTATION),
    Refused("a backslash", _at_path(f"/{NODE}/v1\\infer"), 400, "The path", WORKSTATION),
    Refused("a ;", _at_path(f"/{NODE}/v1;x=1/infer"), 400, "The path", WORKSTATION),
    Refused("an encoded zero byte", _at_path(f"/{NODE}/v1%00"), 400, "The path", WORKSTATION),
    Refused("a path without the name of a NIM", _at_path("/v1"), 404, "There is no NIM", WORKSTATION),
    Refused(
        "another host's NIM (an absolute address)",
        _at_path("http://169.254.169.254/latest/meta-data"),
        400,
        "",
    ),
)
"""Every way to ask that the gateway is known to refuse."""


def table() -> list[str]:
    """Return the table of docs/gateway.md."""
    lines = ["| what is tried | answer |", "|---|---|"]
    return lines + [f"| {case.what} | {case.status} |" for case in CASES]


START, END = "<!-- refused -->", "<!-- refused end -->"
PAGE = Path(__file__).parents[3] / "docs" / "gateway.md"


def render(page: str) -> str:
    """Return the page with the table as it should be."""
    before, _start, rest = page.partition(START)
    _old, _end, after = rest.partition(END)
    return "\n".join([f"{before}{START}", "", *table(), "", f"{END}{after}"])


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
