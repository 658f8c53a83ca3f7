# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Measure how long NIMs take for what artists' nodes ask of them.

A NIM that is not ready is not asked for anything but its health, so nothing is started. One that works for somebody
else is not measured: the figure would be wrong, and it would keep an artist waiting.
"""

from __future__ import annotations

import datetime
import statistics
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.budgetguard.techops.plugins.module_utils import _health, _http, _nim_request

MEASURED = "measured"
UNSTEADY = "unsteady"
BUSY = "busy"
NOT_READY = "not_ready"
FAILED = "failed"
NOT_CALLED = "not_called"
RESULTS = (MEASURED, UNSTEADY, BUSY, NOT_READY, FAILED, NOT_CALLED)

LARGEST_ANSWER = 64 * 1024 * 1024

LABELS = ("node", "name", "target", "provider", "gpu_tier", "image", "kind", "mode")
SIZES: t.Mapping[str, tuple[str, ...]] = {
    _nim_request.IMAGE: ("steps", "cfg_scale", "width", "height"),
    _nim_request.LLM: ("max_tokens",),
}
"""Which fields of a request count, by kind."""

Asked = t.Mapping[str, t.Any]
Result = dict[str, t.Any]

_NOTHING: t.Mapping[str, t.Any] = {
    "reason": None,
    "busy": None,
    "busy_reason": None,
    "seconds": None,
    "times": [],
    "spread_percent": None,
    "tokens": None,
    "seconds_per_step_megapixel": None,
    "seconds_per_1k_tokens": None,
    "measured_at": None,
}


def request_of(asked: Asked) -> _nim_request.Request:
    """Return the request of one entry."""
    sizes = {name: asked[name] for name in SIZES[asked["kind"]] if asked.get(name) is not None}
    return _nim_request.Request(asked["node"], asked["kind"], asked.get("mode"), **sizes)


def not_called(asked: Asked, warm_up: int, repeats: int) -> Result:
    """Return the result of check mode: what would be asked for, and how often."""
    told = f"would be asked for {request_of(asked).told()}, {warm_up} + {repeats} times"
    return {**_start(asked), "result": NOT_CALLED, "reason": told}


def _start(asked: Asked) -> Result:
    request = request_of(asked)
    sizes = {name: getattr(request, name) for name in SIZES[request.kind]}
    return {**{label: asked.get(label) for label in LABELS}, **sizes, **_NOTHING, "times": []}


class Bench:
    """Measures NIMs, from any number of threads. ``now`` returns the time of day, in UTC."""

    def __init__(
        self,
        client: _http.Client,
        prober: _health.Prober,
        *,
        warm_up: int = 1,
        repeats: int = 3,
        tolerance_percent: float = 30.0,
        now: t.Callable[[], datetime.datetime],
    ) -> None:
        """Take a client for the requests, and a prober with ``activity`` that knows the token."""
        self._client = client
        self._prober = prober
        self._warm_up = warm_up
        self._repeats = repeats
        self._tolerance = tolerance_percent
        self._now = now

    def measure(self, asked: Asked) -> Result:
        """Measure one NIM. Whatever goes wrong is in the result."""
        result = _start(asked)
        finding = self._prober.check(asked)
        result.update(busy=finding["busy"], busy_reason=finding["busy_reason"])
        if finding["result"] != _health.READY:
            return {**result, "result": NOT_READY, "reason": finding["reason"] or finding["result"]}
        if finding["busy"]:
            return {**result, "result": BUSY, "reason": f"it works for somebody: {finding['busy_reason']}"}
        try:
            runs = self._runs(asked)
        except (_http.HttpError, _nim_request.AnswerError, ValueError) as exc:
            return {**result, "result": FAILED, "reason": str(exc)}
        result.update(_figures(request_of(asked), runs))
        result["measured_at"] = self._now().strftime("%Y-%m-%dT%H:%M:%SZ")
        after = self._prober.check(asked)
        if after["busy"]:
            result.update(busy=True, busy_reason=after["busy_reason"])
            return {**result, "result": BUSY, "reason": f"somebody used it meanwhile: {after['busy_reason']}"}
        if result["spread_percent"] > self._tolerance:
            told = f"the slowest of its requests took {result['spread_percent']:g} % longer than the middle one"
            return {**result, "result": UNSTEADY, "reason": f"{told}, so somebody else may have used it"}
        return {**result, "result": MEASURED}

    def _runs(self, asked: Asked) -> list[tuple[float, int | None]]:
        """Return seconds and tokens of each request that counts."""
        request = request_of(asked)
        headers = {"Accept": "application/json", **self._prober.login(asked["infer_url"], asked)}
        model = self._model(asked, headers) if request.kind == _nim_request.LLM else None
        headers["Content-Type"] = "application/json"
        # Each has a seed of its own, so that nothing is answered from a cache.
        bodies = [request.body(seed, model) for seed in range(1, self._warm_up + self._repeats + 1)]
        runs = [self._run(asked["infer_url"], headers, request.kind, body) for body in bodies]
        return runs[self._warm_up :]

    def _model(self, asked: Asked, headers: t.Mapping[str, str]) -> str:
        url = f"{asked['url'].rstrip('/')}{_nim_request.MODELS_PATH}"
        return _nim_request.model_name(self._answer("GET", url, headers).body)

    def _run(self, url: str, headers: t.Mapping[str, str], kind: str, body: bytes) -> tuple[float, int | None]:
        answer = self._answer("POST", url, headers, body)
        if kind == _nim_request.LLM:
            return answer.seconds, _nim_request.written_tokens(answer.body)
        _nim_request.made_image(answer.body)
        return answer.seconds, None

    def _answer(self, method: str, url: str, headers: t.Mapping[str, str], body: bytes | None = None) -> _http.Answer:
        answer = self._client.request(method, url, headers, body)
        if answer.status != 200:
            raise _nim_request.AnswerError(_nim_request.refusal(answer.status, answer.body))
        return answer


def _figures(request: _nim_request.Request, runs: t.Sequence[tuple[float, int | None]]) -> Result:
    """Return what follows from the times of single requests. The middle one counts, not the mean."""
    times = [seconds for seconds, _tokens in runs]
    found: Result = {"seconds": round(statistics.median(times), 4), "times": [round(seconds, 4) for seconds in times]}
    if request.kind == _nim_request.LLM:
        # Texts differ in length, so what is compared is the time for each token.
        rates = [seconds / tokens * 1000 for seconds, tokens in runs if tokens]
        found["tokens"] = int(statistics.median(tokens for _seconds, tokens in runs if tokens))
        found["seconds_per_1k_tokens"] = round(statistics.median(rates), 4)
    else:
        rates = [seconds / (request.steps * request.megapixels) for seconds in times]
        found["seconds_per_step_megapixel"] = round(statistics.median(rates), 6)
    found["spread_percent"] = round((max(rates) / statistics.median(rates) - 1) * 100, 1)
    return found


def measure_all(bench: Bench, asked: t.Sequence[Asked], concurrency: int) -> list[Result]:
    """Measure so many NIMs at a time, and return the results in the same order.

    Nodes that share a NIM are measured one after the other.
    """
    by_nim: dict[str, list[int]] = {}
    for number, one in enumerate(asked):
        by_nim.setdefault(one["url"], []).append(number)

    def measure(numbers: t.Sequence[int]) -> list[tuple[int, Result]]:
        return [(number, bench.measure(asked[number])) for number in numbers]

    if not by_nim:
        return []
    with ThreadPoolExecutor(max_workers=max(1, min(concurrency, len(by_nim)))) as pool:
        found = dict(pair for pairs in pool.map(measure, by_nim.values()) for pair in pairs)
    return [found[number] for number in range(len(asked))]


__all__ = ("FAILED", "MEASURED", "RESULTS", "Bench", "measure_all", "not_called", "request_of")
