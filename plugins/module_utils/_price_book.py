# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Where prices are looked up: what was read before, then the providers' price APIs, then the list in this collection.

The cache is one file of JSON. There is nothing secret in it, only prices. It is written whole and renamed into place,
so that no reader sees half of it, and whatever is wrong with it only costs reading the prices anew.
"""

from __future__ import annotations

import datetime
import json
import typing as t
from decimal import Decimal, InvalidOperation
from pathlib import Path

from ansible_collections.budgetguard.techops.plugins.module_utils import _price_list, _whole_file
from ansible_collections.budgetguard.techops.plugins.module_utils._pricing import API, Quote, Thing
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import MissingLibraryError, ProviderError

VERSION = 1
"""Of the cache's form. A file of another one is not read."""

SPOT_HOURS = 1.0
"""Spot prices move all day, so they are kept no longer than this."""

AUTO, API_ONLY, LIST_ONLY = "auto", "api", "list"
MODES = (AUTO, API_ONLY, LIST_ONLY)

Quotes = dict[Thing, Quote]
Ask = t.Callable[[t.Sequence[Thing]], t.Mapping[Thing, Quote]]
"""Asks a provider's price API. What it leaves out is unknown. Raises ProviderError if it cannot be asked at all."""


def iso(moment: float) -> str:
    """Write a time as it is told, in UTC."""
    return datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment_of(text: str) -> float:
    """Read what iso() wrote. Raises ValueError."""
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc).timestamp()


class Cache:
    """Quotes of price APIs on disk. Without a path, nothing is kept."""

    def __init__(self, path: str | None, hours: float, now: float) -> None:
        self._path = path
        self._hours = hours
        self._now = now
        self.problems: list[str] = []
        self._rows = self._read()

    def _read(self) -> dict[str, dict[str, t.Any]]:
        if not self._path:
            return {}
        try:
            return _rows_of(json.loads(Path(self._path).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, RecursionError) as exc:
            self.problems.append(f"the cache {self._path} is ignored: {exc}")
            return {}

    def get(self, thing: Thing, currency: str) -> Quote | None:
        """Return what was read within the lifetime; None if there is nothing."""
        row = self._rows.get(f"{thing.key}/{currency}")
        if row is None:
            return None
        hours = min(self._hours, SPOT_HOURS) if thing.kind.startswith("spot") else self._hours
        try:
            age = self._now - moment_of(row["as_of"])
            quote = _quote_of(row)
        except (KeyError, TypeError, ValueError, InvalidOperation) as exc:
            self.problems.append(f"a row of the cache {self._path} is ignored: {exc!r}")
            return None
        return quote if 0 <= age < hours * 3600 else None

    def put(self, quotes: t.Mapping[Thing, Quote], currency: str) -> None:
        """Keep what an API has said, which may also be that it does not sell something."""
        fresh = {
            f"{thing.key}/{currency}": _row_of(quote)
            for thing, quote in quotes.items()
            if quote.source == API and not quote.passing and (quote.amount is not None or quote.offered is False)
        }
        if not fresh or not self._path:
            return
        # Somebody else may have written meanwhile.
        self._rows = {**self._read(), **fresh}
        try:
            write_whole(Path(self._path), {"version": VERSION, "quotes": dict(sorted(self._rows.items()))})
        except OSError as exc:
            self.problems.append(f"the cache {self._path} cannot be written: {exc}")


def _rows_of(content: t.Any) -> dict[str, dict[str, t.Any]]:
    """Return the rows of a cache. Raises ValueError if it is none."""
    if not isinstance(content, dict) or content.get("version") != VERSION or not isinstance(content["quotes"], dict):
        raise ValueError("it is of another form")
    return {str(key): row for key, row in content["quotes"].items() if isinstance(row, dict)}


def write_whole(path: Path, content: t.Any) -> None:
    """Write a file of JSON so that no reader sees half of it. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _whole_file.write(path, f"{json.dumps(content, indent=1)}\n".encode(), 0o600)


def _row_of(quote: Quote) -> dict[str, t.Any]:
    return {
        "amount": None if quote.amount is None else str(quote.amount),
        "as_of": quote.as_of,
        "where": quote.where,
        "why": quote.why,
        "offered": quote.offered,
        "tiers": [[str(start), str(price)] for start, price in quote.tiers],
        "note": quote.note,
    }


def _quote_of(row: t.Mapping[str, t.Any]) -> Quote:
    amount = None if row["amount"] is None else _decimal(row["amount"])
    tiers = tuple((_decimal(start), _decimal(price)) for start, price in row["tiers"])
    offered, why, note = row["offered"], row["why"], row["note"]
    return Quote(amount, API, str(row["as_of"]), str(row["where"]), why, offered, tiers=tiers, note=note)


def _decimal(text: t.Any) -> Decimal:
    found = Decimal(str(text))
    if not found.is_finite() or found < 0:
        raise ValueError(f"{text!r} is no price")
    return found


class Book:
    """Looks prices up. ``asks`` are the providers' price APIs by provider; one is called once per look-up at most."""

    def __init__(
        self,
        asks: t.Mapping[str, Ask],
        cache: Cache,
        *,
        currency: str = _price_list.CURRENCY,
        mode: str = AUTO,
    ) -> None:
        self._asks = asks
        self._cache = cache
        self._currency = currency
        self._mode = mode
        self._settled: Quotes = {}
        self.problems: list[str] = []

    def look_up(self, things: t.Iterable[Thing]) -> Quotes:
        """Return a quote for each thing, be it that nothing is known."""
        wanted = set(things)
        new = sorted(wanted - self._settled.keys(), key=lambda thing: thing.key)
        found: Quotes = {}
        if self._mode != LIST_ONLY:
            kept = {thing: self._cache.get(thing, self._currency) for thing in new}
            found.update({thing: quote for thing, quote in kept.items() if quote is not None})
            found.update(self._ask([thing for thing in new if thing not in found]))
        for thing in new:
            quote = found.get(thing)
            if self._mode != API_ONLY and (quote is None or (quote.amount is None and quote.offered is not False)):
                quote = self._from_list(thing, quote)
            self._settled[thing] = quote or Quote(None, why="no price is known")
        return {thing: self._settled[thing] for thing in wanted}

    def _ask(self, things: t.Sequence[Thing]) -> Quotes:
        found: Quotes = {}
        for provider in sorted({thing.provider for thing in things}):
            mine = [thing for thing in things if thing.provider == provider]
            ask = self._asks.get(provider)
            if ask is None:
                found.update({thing: Quote(None, why="there is no price API for it") for thing in mine})
                continue
            answers = self._answers(ask, mine)
            found.update({thing: answers.get(thing) or _not_said(thing) for thing in mine})
            self._cache.put(answers, self._currency)
            said = sorted({str(quote.why) for quote in answers.values() if quote.passing})
            self.problems += [f"{provider}: {why}" for why in said]
        return found

    @staticmethod
    def _answers(ask: Ask, things: t.Sequence[Thing]) -> t.Mapping[Thing, Quote]:
        try:
            return ask(things)
        except MissingLibraryError as exc:
            why = f"the Python library {exc.package} is not installed on the controller"
        except (ProviderError, ValueError) as exc:
            why = str(exc)
        return dict.fromkeys(things, Quote(None, why=why, passing=True))

    def _from_list(self, thing: Thing, quote: Quote | None) -> Quote:
        """Return the list's price in place of one that the API did not tell. What the API said stays as a note."""
        listed = _price_list.look_up(thing) if self._currency == _price_list.CURRENCY else None
        said = None if quote is None else quote.why
        if listed is None:
            why = said or "it was not asked for"
            more = "the collection's price list has none"
            if self._currency != _price_list.CURRENCY:
                more = f"the collection's price list is in {_price_list.CURRENCY} only"
            passing = bool(quote and quote.passing)
            return Quote(None, why=f"{why}; {more}", passing=passing)
        return Quote(listed.amount, listed.source, listed.as_of, listed.where, note=said)


def _not_said(thing: Thing) -> Quote:
    return Quote(None, why=f"the price API said nothing about {thing.name or thing.kind} in {thing.region}")


__all__ = (
    "API_ONLY",
    "AUTO",
    "LIST_ONLY",
    "MODES",
    "Ask",
    "Book",
    "Cache",
    "Quotes",
    "iso",
    "moment_of",
    "write_whole",
)
