# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where prices are looked up: cache, price APIs, the collection's list, in this order."""

from __future__ import annotations

import json
import typing as t
from decimal import Decimal
from pathlib import Path

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _gpu, _price_book, _price_list, _pricing
from ansible_collections.budgetguard.techops.plugins.module_utils._price_book import Book, Cache, iso
from ansible_collections.budgetguard.techops.plugins.module_utils._pricing import API, LIST, Quote, Thing
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import MissingLibraryError, ProviderError

NOW = 1_800_000_000.0
MACHINE = Thing("aws", "us-east-1", _pricing.MACHINE, "g6e.2xlarge")
DISK = Thing("aws", "us-east-1", _pricing.GP3_MONTH)
SPOT = Thing("aws", "us-east-1", _pricing.SPOT_MACHINE, "g6e.2xlarge")
SIZE = Thing("azure", "eastus", _pricing.MACHINE, "Standard_NC24ads_A100_v4")


def price(amount: str, **more: t.Any) -> Quote:
    """Return what an API says."""
    return Quote(Decimal(amount), API, iso(NOW), "test", offered=True, **more)


class Asked:
    """A price API that counts its calls."""

    def __init__(self, answers: dict[Thing, Quote] | Exception) -> None:
        self.answers = answers
        self.calls: list[list[Thing]] = []

    def __call__(self, things: t.Sequence[Thing]) -> dict[Thing, Quote]:
        """Answer what there is."""
        self.calls.append(list(things))
        if isinstance(self.answers, Exception):
            raise self.answers
        return {thing: self.answers[thing] for thing in things if thing in self.answers}


def test_each_api_is_asked_once_for_all_and_not_again() -> None:
    aws, azure = Asked({MACHINE: price("2.25"), DISK: price("0.08")}), Asked({SIZE: price("3.67")})
    book = Book({"aws": aws, "azure": azure}, Cache(None, 24, NOW))
    found = book.look_up([MACHINE, DISK, SIZE])
    assert {thing: quote.amount for thing, quote in found.items()} == {
        MACHINE: Decimal("2.25"),
        DISK: Decimal("0.08"),
        SIZE: Decimal("3.67"),
    }
    book.look_up([MACHINE, SIZE])
    assert (len(aws.calls), len(azure.calls)) == (1, 1)
    assert book.problems == []


def test_the_cache_saves_calls_until_it_is_too_old(tmp_path: Path) -> None:
    path = str(tmp_path / "folder" / "prices.json")
    api = Asked({MACHINE: price("2.25", tiers=((Decimal(0), Decimal("2.25")),), note="n"), SPOT: price("0.9")})
    first = Book({"aws": api}, Cache(path, 24, NOW)).look_up([MACHINE, SPOT])
    later = Book({"aws": api}, Cache(path, 24, NOW + 1800)).look_up([MACHINE, SPOT])
    assert first == later
    assert len(api.calls) == 1
    # A Spot price is old after an hour, one on demand after the lifetime.
    Book({"aws": api}, Cache(path, 24, NOW + 2 * 3600)).look_up([MACHINE, SPOT])
    assert api.calls[1:] == [[SPOT]]
    Book({"aws": api}, Cache(path, 24, NOW + 25 * 3600)).look_up([MACHINE])
    assert api.calls[2:] == [[MACHINE]]
    # A clock that was wrong must not make prices that hold for ever.
    Book({"aws": api}, Cache(path, 24, NOW - 60)).look_up([MACHINE])
    assert len(api.calls) == 4


def test_currencies_do_not_mix_in_the_cache(tmp_path: Path) -> None:
    path = str(tmp_path / "prices.json")
    Book({"azure": Asked({SIZE: price("3.67")})}, Cache(path, 24, NOW)).look_up([SIZE])
    euros = Asked({SIZE: price("3.30")})
    found = Book({"azure": euros}, Cache(path, 24, NOW), currency="EUR").look_up([SIZE])
    assert found[SIZE].amount == Decimal("3.30")
    assert len(euros.calls) == 1


def cached(**fields: t.Any) -> str:
    """Return a cache with one row, of which some fields are different."""
    row: dict[str, t.Any] = {
        "amount": "2",
        "as_of": iso(NOW),
        "where": "",
        "why": None,
        "offered": True,
        "tiers": [],
        "note": None,
    }
    return json.dumps({"version": 1, "quotes": {f"{MACHINE.key}/USD": {**row, **fields}}})


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"version": 7, "quotes": {}}',
        '{"version": 1}',
        cached(as_of="today"),
        cached(amount="-3"),
        cached(amount="NaN"),
        cached(tiers=[["1"]]),
    ],
)
def test_a_broken_cache_is_told_and_ignored(tmp_path: Path, content: str) -> None:
    path = tmp_path / "prices.json"
    path.write_text(content)
    cache = Cache(str(path), 24, NOW)
    found = Book({"aws": Asked({MACHINE: price("2.25")})}, cache).look_up([MACHINE])
    assert found[MACHINE].amount == Decimal("2.25")
    assert len(cache.problems) >= 1
    assert "is ignored" in cache.problems[0]
    # It was written anew, whole.
    assert Cache(str(path), 24, NOW).get(MACHINE, "USD") == found[MACHINE]
    assert [item.name for item in tmp_path.iterdir()] == ["prices.json"]


def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = Cache(str(tmp_path / "file" / "prices.json"), 24, NOW)
    found = Book({"aws": Asked({MACHINE: price("2.25")})}, cache).look_up([MACHINE])
    assert found[MACHINE].amount == Decimal("2.25")
    assert any("cannot be written" in problem for problem in cache.problems)


def test_what_two_runs_write_is_both_there(tmp_path: Path) -> None:
    path = str(tmp_path / "prices.json")
    first, second = Cache(path, 24, NOW), Cache(path, 24, NOW)
    first.put({MACHINE: price("2.25")}, "USD")
    second.put({SIZE: price("3.67")}, "USD")
    both = json.loads((tmp_path / "prices.json").read_text())["quotes"]
    assert sorted(both) == [f"{MACHINE.key}/USD", f"{SIZE.key}/USD"]


def test_an_outage_takes_the_list_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    book = Book({"aws": Asked(ProviderError("AWS does not answer"))}, Cache(str(path), 24, NOW))
    found = book.look_up([MACHINE, DISK])
    listed = found[MACHINE]
    assert (listed.amount, listed.source) == (Decimal("2.24208"), LIST)
    assert listed.as_of == "2025-11-30T00:00:00Z"
    assert listed.note == "AWS does not answer"
    assert "tsaol/aws-gpu" in listed.where
    # There is no figure for disks, so there is none.
    assert found[DISK].amount is None
    assert found[DISK].passing
    assert "AWS does not answer" in str(found[DISK].why)
    assert book.problems == ["aws: AWS does not answer"]
    assert not path.exists()


def test_a_missing_library_is_an_outage() -> None:
    book = Book({"aws": Asked(MissingLibraryError("boto3", None))}, Cache(None, 24, NOW))
    assert book.look_up([MACHINE])[MACHINE].source == LIST
    assert book.problems == ["aws: the Python library boto3 is not installed on the controller"]


def test_what_the_api_does_not_sell_is_not_taken_from_the_list(tmp_path: Path) -> None:
    path = str(tmp_path / "prices.json")
    answer = Quote(None, API, iso(NOW), "test", "g6e.2xlarge is not sold there", offered=False)
    api = Asked({MACHINE: answer})
    assert Book({"aws": api}, Cache(path, 24, NOW)).look_up([MACHINE])[MACHINE] == answer
    # That is an answer, too, and kept.
    assert Book({"aws": api}, Cache(path, 24, NOW)).look_up([MACHINE])[MACHINE] == answer
    assert len(api.calls) == 1


def test_the_list_is_in_dollars_only() -> None:
    book = Book({"aws": Asked(ProviderError("no"))}, Cache(None, 24, NOW), currency="EUR")
    found = book.look_up([MACHINE])[MACHINE]
    assert found.amount is None
    assert "in USD only" in str(found.why)


def test_modes_choose_who_is_asked() -> None:
    api = Asked({MACHINE: price("2.25")})
    listed = Book({"aws": api}, Cache(None, 24, NOW), mode=_price_book.LIST_ONLY).look_up([MACHINE])[MACHINE]
    assert (listed.source, api.calls) == (LIST, [])
    down = Asked(ProviderError("no"))
    nothing = Book({"aws": down}, Cache(None, 24, NOW), mode=_price_book.API_ONLY).look_up([MACHINE])[MACHINE]
    assert (nothing.amount, nothing.why) == (None, "no")


def test_the_list_names_machines_that_exist_with_source_and_date() -> None:
    assert len(_price_list.ROWS) > 100
    for thing, quote in _price_list.ROWS.items():
        if thing.kind == _pricing.MACHINE:
            _gpu.machine(thing.provider, thing.name)
        assert quote.amount is not None
        assert 0 < quote.amount < 200
        assert quote.source == LIST
        assert quote.where
        _price_book.moment_of(str(quote.as_of))
    # Two figures that were compared with other sources.
    assert _price_list.ROWS[MACHINE].amount == Decimal("2.24208")
    assert _price_list.ROWS[Thing("aws", "us-east-1", _pricing.MACHINE, "g5.xlarge")].amount == Decimal("1.006")
    assert _price_list.look_up(Thing("gcp", "europe-west4", _pricing.CLUSTER_HOUR, "zonal")) is not None
    assert _price_list.look_up(SIZE) is None
