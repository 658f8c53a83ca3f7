# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What the price and billing APIs have in common: pages of JSON over HTTP, tried again while the provider is busy."""

from __future__ import annotations

import dataclasses
import json
import time
import typing as t
from decimal import Decimal
from urllib.parse import urlsplit

from ansible_collections.budgetguard.techops.plugins.module_utils import _http
from ansible_collections.budgetguard.techops.plugins.module_utils._pricing import API, Quote
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError

ATTEMPTS = 5
"""Tries per page while a price API throttles or fails in passing."""

LONGEST_PAUSE = 30.0
"""Seconds. A price API that wants more patience than this is not asked any further."""

MOST_PAGES = 200
"""More pages than this no honest answer has."""

_TIMEOUT = 60.0
_PAGE_BYTES = 64 * 1024 * 1024
_PASSING_STATUSES = frozenset({429, 500, 502, 503, 504})
_PASSING_KINDS = frozenset({_http.TIMEOUT, _http.CONNECTION, _http.REFUSED})


@dataclasses.dataclass(frozen=True)
class Row:
    """A price as an API lists it. ``since`` is when it takes effect, seconds since 1970, 0 if that is not told."""

    amount: Decimal
    since: float = 0.0
    tiers: tuple[tuple[Decimal, Decimal], ...] = ()
    note: str | None = None


class JsonApi:
    """Asks one API. ``sleep`` takes seconds.

    ``is_busy`` tells of an answer whether it is worth another try, beside those whose status says so everywhere.
    ``patience`` is the longest pause in seconds that is made because the provider asks for it. ``calls`` counts.
    """

    def __init__(
        self,
        sleep: t.Callable[[float], None] = time.sleep,
        *,
        is_busy: t.Callable[[_http.Answer], bool] = lambda _answer: False,
        patience: float = LONGEST_PAUSE,
    ) -> None:
        self._sleep = sleep
        self._is_busy = is_busy
        self._patience = patience
        self._client = _http.Client(_TIMEOUT, body_limit=_PAGE_BYTES)
        self.calls = 0

    def get(self, doing: str, url: str, headers: t.Mapping[str, str] | None = None) -> dict[str, t.Any]:
        """Return one page. Raises ProviderError."""
        return self._ask(doing, "GET", url, headers or {}, None)

    def post(self, doing: str, url: str, body: t.Any, headers: t.Mapping[str, str] | None = None) -> dict[str, t.Any]:
        """Send a question that changes nothing, so that it may be sent again. Raises ProviderError."""
        return self._ask(
            doing, "POST", url, {"Content-Type": "application/json", **(headers or {})}, json.dumps(body).encode()
        )

    def _ask(
        self, doing: str, method: str, url: str, headers: t.Mapping[str, str], body: bytes | None
    ) -> dict[str, t.Any]:
        pause, problem = 1.0, ""
        for attempt in range(1, ATTEMPTS + 1):
            wait = pause
            self.calls += 1
            try:
                answer = self._client.request(method, url, {"Accept": "application/json", **headers}, body)
            except _http.HttpError as exc:
                problem = str(exc)
                if exc.kind not in _PASSING_KINDS:
                    break
            else:
                if answer.status == 200:
                    return _object(doing, answer.body)
                problem = f"the answer is {answer.status}{_said(answer.body)}"
                if answer.status not in _PASSING_STATUSES and not self._is_busy(answer):
                    break
                wait = _retry_after(answer.headers) or pause
            if attempt == ATTEMPTS or wait > self._patience:
                asked = f"; it wants to be asked again in {wait:.0f} seconds" if wait > self._patience else ""
                problem += f"; tried {attempt} times{asked}"
                break
            self._sleep(wait)
            pause = min(pause * 2, LONGEST_PAUSE)
        raise ProviderError(f"cannot {doing}: {problem}")


def same_host(url: str, base: str) -> bool:
    """Say whether a link to a next page stays where the first page was."""
    first, other = urlsplit(base), urlsplit(url)
    return (first.scheme, first.hostname) == (other.scheme, other.hostname)


def picked(rows: t.Iterable[Row], now: float, as_of: str, where: str, what: str, *, not_sold: bool = False) -> Quote:
    """Return the price that is in effect: of the latest date that has come.

    ``not_sold`` is whether an answer without such a row means that it is not sold there, and not merely that we do not
    know how it is called. Rows that say the same twice are one. Where different prices are in effect at once, nothing
    is picked: there is something about them that we do not understand.
    """
    current = [row for row in rows if row.since <= now]
    if not current and not_sold:
        return Quote(None, API, as_of, where, f"{what} is not sold there", offered=False)
    if not current:
        return Quote(None, API, as_of, where, f"the price API has nothing that looks like {what}")
    latest = max(row.since for row in current)
    newest = {(row.amount, row.tiers): row for row in current if row.since == latest}
    if len(newest) > 1:
        amounts = ", ".join(sorted(f"{row.amount:f}" for row in newest.values()))
        return Quote(None, API, as_of, where, f"the price API has several prices for {what}: {amounts}")
    (row,) = newest.values()
    return Quote(row.amount, API, as_of, where, offered=True, tiers=row.tiers, note=row.note)


def unread(error: Exception) -> Quote:
    """Return what is known of a price that could not be asked for."""
    return Quote(None, why=str(error), passing=True)


def _object(doing: str, body: bytes) -> dict[str, t.Any]:
    try:
        found = json.loads(body, parse_float=Decimal)
    except (ValueError, RecursionError) as exc:
        raise ProviderError(f"cannot {doing}: the answer is no JSON") from exc
    if not isinstance(found, dict):
        raise ProviderError(f"cannot {doing}: the answer is not what the API should say")
    return found


def _said(body: bytes) -> str:
    """Return the provider's own words, in one short line."""
    try:
        answer = json.loads(body)
        error = answer.get("error") or answer["Error"]
        words = error.get("message") or error.get("Message") if isinstance(error, dict) else error
    except (AttributeError, ValueError, KeyError, TypeError, RecursionError):
        return ""
    return f" ({' '.join(str(words).split())[:200]})"


def _retry_after(headers: t.Mapping[str, str]) -> float | None:
    """Return how many seconds to wait: the longest that is asked for.

    Cost Management has headers of its own beside Retry-After, one for each of its limits, such as
    x-ms-ratelimit-microsoft.costmanagement-qpu-retry-after (github.com/Azure/azqr/issues/745).
    """
    texts = [text.strip() for name, text in headers.items() if name == "retry-after" or name.endswith("-retry-after")]
    return max((float(text) for text in texts if text.isdigit()), default=None)
