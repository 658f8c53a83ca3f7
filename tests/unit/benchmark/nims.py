# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NIMs of the sandbox, asked without a network and by a clock of the test's own."""

from __future__ import annotations

import dataclasses
import datetime
import json
import typing as t
import urllib.parse

from ansible_collections.budgetguard.techops.plugins.module_utils import _benchmark, _catalog, _health, _http
from tests.sandbox.http import HttpRequest
from tests.sandbox.nim_stub import answer_of_nim

MOMENT = datetime.datetime(2026, 11, 28, 18, 0, tzinfo=datetime.timezone.utc)
TOKEN = "CaNaRyToken81Zr0QmTvX3"
BASE = "https://nim.studio.example/"


@dataclasses.dataclass
class Nim:
    """A NIM of the sandbox. ``seconds`` are what its answers take in turn, the last one from then on."""

    image: str
    seconds: list[float] = dataclasses.field(default_factory=lambda: [1.0])
    ready: bool = True
    busy: list[int] = dataclasses.field(default_factory=list)
    answers: dict[str, tuple[int, t.Any]] = dataclasses.field(default_factory=dict)
    auth: str = "none"


class Network(_http.Client):
    """Takes requests to NIMs by the first part of their paths, and keeps them."""

    def __init__(self, nims: t.Mapping[str, Nim]) -> None:
        self.nims = nims
        self.bodies: list[tuple[str, dict[str, t.Any]]] = []
        self.paths: list[str] = []
        self._looks: dict[str, int] = {}

    def request(
        self, method: str, url: str, headers: t.Mapping[str, str] | None = None, body: bytes | None = None
    ) -> _http.Answer:
        """Answer as the NIM does."""
        name, _slash, rest = urllib.parse.urlsplit(url).path.lstrip("/").partition("/")
        path, nim = f"/{rest}", self.nims[name]
        self.paths.append(f"{method} /{name}{path}")
        if nim.auth == "gateway" and (headers or {}).get("Authorization") != f"Bearer {TOKEN}":
            return _http.Answer(401, {}, b"", 0.01)
        if not nim.ready:
            return _http.Answer(503, {}, b"", 0.01)
        if path in nim.answers:
            status, content = nim.answers[path]
            return _http.Answer(status, {}, content if isinstance(content, bytes) else json.dumps(content).encode(), 1)
        if path == "/v1/metrics" and nim.busy:
            look = self._looks[name] = self._looks.get(name, -1) + 1
            count = nim.busy[min(look, len(nim.busy) - 1)]
            return _http.Answer(200, {}, f"num_requests_running {count}\n".encode(), 0.01)
        answer = answer_of_nim(nim.image, HttpRequest(method, path, dict(headers or {}), body or b""))
        if method != "POST":
            return _http.Answer(answer.status, {"content-type": answer.content_type}, answer.body, 0.01)
        seconds = nim.seconds[min(sum(one == name for one, _body in self.bodies), len(nim.seconds) - 1)]
        self.bodies.append((name, json.loads(body or b"{}")))
        return _http.Answer(answer.status, {"content-type": answer.content_type}, answer.body, seconds)


def asked(name: str, node: str, **more: t.Any) -> dict[str, t.Any]:
    """Return one entry of the option C(requests)."""
    known = _catalog.CATALOG[node]
    return {
        "url": f"{BASE}{name}",
        "infer_url": f"{BASE}{name}{known.infer_path}",
        "health_url": f"{BASE}{name}/v1/health/ready",
        "auth": "none",
        "node": node,
        "name": f"nim-{name}",
        "target": "aws",
        "provider": "aws",
        "gpu_tier": "l40s",
        "image": f"{known.image}:{known.tag}",
        "kind": known.kind,
        **{size: getattr(known, size) for size in _benchmark.SIZES[known.kind]},
        **more,
    }


def bench(network: Network, **options: t.Any) -> _benchmark.Bench:
    """Return what measures them."""
    prober = _health.Prober(network, gateway_token=TOKEN, activity=True)
    return _benchmark.Bench(network, prober, now=lambda: MOMENT, **options)


def measure(nims: t.Mapping[str, Nim], *requests: dict[str, t.Any], **options: t.Any) -> list[dict[str, t.Any]]:
    """Measure, and return the results."""
    return _benchmark.measure_all(bench(Network(nims), **options), requests, 4)
