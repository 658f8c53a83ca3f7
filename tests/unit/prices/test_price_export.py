# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prices in what is published: a document changes with a price, and never because time has gone by."""

from __future__ import annotations

import copy
import json
import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _artists, _catalog, _price_export, _workstation

FIRST, LATER = "2026-11-28T10:00:00Z", "2026-11-29T10:00:00Z"
NAME = "nim-flux-dev-l40s"
IMAGE = "nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.3"


def target(read: bool = True) -> dict[str, t.Any]:
    """Return a target with one NIM."""
    base = "https://nim.example.com/flux-dev-l40s"
    deployment = {
        "name": NAME,
        "node": "FLUX Dev",
        "serves": ["FLUX Dev"],
        "gpu_tier": "l40s",
        "image": IMAGE,
        "endpoint": base,
        "infer_url": base + "/v1/infer",
        "health_url": base + "/v1/health/ready",
        "region": "us-east-1",
        "deployed_at": FIRST,
    }
    return {
        "target": "aws",
        "provider": "aws",
        "region": "us-east-1",
        "read": read,
        "deployments": [deployment] if read else [],
    }


def price(hourly: float | None = 2.25, at: str = FIRST, **more: t.Any) -> dict[str, t.Any]:
    """Return a row of nim_price_info."""
    found = {"target": "aws", "name": NAME, "currency": "USD", "hourly": hourly, "priced_at": at, "passing": False}
    return {**found, **more}


def publish(
    prices: t.Any, published: t.Any = None, at: str = FIRST, measured: t.Any = None, **options: t.Any
) -> dict[str, t.Any]:
    """Build the artists' document."""
    return _artists.artists_config(
        [target(**options)], published, generated_at=at, catalog=_catalog.CATALOG, prices=prices, measured=measured
    )


def entry_of(document: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return its one endpoint."""
    (entry,) = document["nim_endpoints"]["FLUX Dev"]["aws"]
    return t.cast("dict[str, t.Any]", entry)


def test_an_endpoint_has_its_price_and_when_it_was_one() -> None:
    entry = entry_of(publish([price()]))
    assert (entry["hourly_usd"], entry["priced_at"]) == (2.25, FIRST)
    assert "usd_per_image" not in entry
    assert not [name for name in entry if name.startswith("_")]


def figure(seconds: float = 8.0, **more: t.Any) -> dict[str, t.Any]:
    """Return what the benchmark keeps of the NIM above."""
    measured_on = {"target": "aws", "name": NAME, "node": "FLUX Dev", "gpu_tier": "l40s", "image": IMAGE}
    request = {"kind": "image", "steps": 30, "width": 1024, "height": 1024}
    return {**measured_on, **request, "seconds": seconds, **more}


def kept(*figures: dict[str, t.Any]) -> str:
    """Return the benchmark's file."""
    return json.dumps({"version": "1.0", "figures": list(figures)})


def test_an_image_costs_its_seconds_at_the_price_of_now() -> None:
    first = publish([price(2.25, replicas=1)], measured=kept(figure()))
    assert entry_of(first)["usd_per_image"] == 0.005
    # Two copies are priced together, and one of them makes the image.
    assert entry_of(publish([price(4.5, replicas=2)], measured=kept(figure())))["usd_per_image"] == 0.005
    dearer = entry_of(publish([price(4.5, LATER)], copy.deepcopy(first), LATER, measured=kept(figure())))
    assert (dearer["usd_per_image"], dearer["hourly_usd"], dearer["priced_at"]) == (0.01, 4.5, LATER)
    # Measured anew: the hour costs the same, so its price keeps its date.
    faster = entry_of(publish([price(at=LATER)], copy.deepcopy(first), LATER, measured=kept(figure(4.0))))
    assert (faster["usd_per_image"], faster["priced_at"]) == (0.0025, FIRST)
    again = publish([price(at=LATER)], copy.deepcopy(first), LATER, measured=kept(figure()))
    assert json.dumps(again, sort_keys=True) == json.dumps(first, sort_keys=True)


@pytest.mark.parametrize(
    "other",
    [
        {"image": "nvcr.io/nim/black-forest-labs/flux.1-dev:1.1.0"},
        {"gpu_tier": "h100"},
        {"target": "azure"},
        {"name": "nim-flux-dev-h100"},
        {"node": "FLUX Canny"},
        {"steps": 50},
        {"width": 768},
        {"kind": "llm"},
    ],
)
def test_a_figure_of_something_else_is_not_used(other: dict[str, t.Any]) -> None:
    assert "usd_per_image" in entry_of(publish([price()], measured=kept(figure())))
    entry = entry_of(publish([price()], measured=kept(figure(**other))))
    assert (entry["hourly_usd"], "usd_per_image" in entry) == (2.25, False)
    # Nor is what was published for it before.
    first = publish([price()], measured=kept(figure()))
    assert "usd_per_image" not in entry_of(publish([price()], first, measured=kept(figure(**other))))


def test_a_thousand_tokens_cost_their_seconds_at_the_price_of_now() -> None:
    name, image = "nim-llama-3-1-8b-l40s", "nvcr.io/nim/meta/llama-3.1-8b-instruct:1.2.3"
    node = next(node for node, known in _catalog.CATALOG.items() if known.kind == "llm")
    measured_on = {"target": "aws", "name": name, "node": node, "gpu_tier": "l40s", "image": image}
    llm = {**measured_on, "kind": "llm", "max_tokens": 512, "seconds": 10.0, "seconds_per_1k_tokens": 20.0}

    def entry(hourly: float = 1.8, **changes: t.Any) -> dict[str, t.Any]:
        one = target()
        one["deployments"][0].update(measured_on, serves=[node])
        row = price(hourly, name=name, replicas=2)
        document = _artists.artists_config(
            [one],
            None,
            generated_at=FIRST,
            catalog=_catalog.CATALOG,
            prices=[row],
            measured=kept({**llm, **changes}),
        )
        (found,) = document["nim_endpoints"][node]["aws"]
        return t.cast("dict[str, t.Any]", found)

    assert (entry()["usd_per_1k_tokens"], entry()["hourly_usd"]) == (0.005, 1.8)
    assert "usd_per_image" not in entry()
    assert entry(hourly=3.6)["usd_per_1k_tokens"] == 0.01
    for other in ({"max_tokens": 64}, {"image": image + "-other"}, {"kind": "image"}, {"seconds_per_1k_tokens": None}):
        assert not [field for field in entry(**other) if field.startswith("usd_per")], other


def test_an_outage_of_prices_keeps_the_hour_and_tells_the_image_by_it() -> None:
    first = publish([price()], measured=kept(figure()))
    out = price(None, passing=True, priced_at=None, replicas=1)
    assert publish([out], copy.deepcopy(first), LATER, measured=kept(figure())) == first
    assert entry_of(publish([out], copy.deepcopy(first), LATER, measured=kept(figure(4.0))))["usd_per_image"] == 0.0025
    assert publish([], copy.deepcopy(first), LATER, measured=kept(figure(4.0))) == first
    assert "usd_per_image" not in entry_of(publish(None, measured=kept(figure())))


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ("{", "are not JSON"),
        ({"figures": 3}, "has no list figures"),
        ({"figures": [{"target": "aws"}]}, r"figures\[0\] must be a mapping with target, name, node"),
        ({"figures": [figure(0)]}, r"figures\[0\].seconds must be a number above 0"),
    ],
)
def test_broken_figures_are_told_with_a_cure(stored: t.Any, said: str) -> None:
    with pytest.raises(_artists.ArtistsError, match=rf"measured: .*{said}.*; repair the file of the benchmark"):
        publish([price()], measured=stored)


@pytest.mark.parametrize(
    "prices",
    [
        None,
        [],
        [price(None)],
        [price(None, passing=True)],
        [price(currency="EUR")],
        [price(name="nim-other")],
        [price(target="elsewhere")],
    ],
)
def test_what_is_not_known_is_absent(prices: t.Any) -> None:
    entry = entry_of(publish(prices))
    assert not set(_price_export.FIELDS) & set(entry)
    assert entry == entry_of(publish(None))


def test_an_unchanged_price_keeps_its_date_and_every_byte() -> None:
    first = publish([price()])
    again = publish([price(at=LATER)], copy.deepcopy(first), LATER)
    assert json.dumps(again, sort_keys=True) == json.dumps(first, sort_keys=True)


def test_a_new_price_is_published() -> None:
    again = publish([price(2.5, LATER)], publish([price()]), LATER)
    assert (entry_of(again)["hourly_usd"], entry_of(again)["priced_at"]) == (2.5, LATER)
    assert again["generated_at"] == LATER


@pytest.mark.parametrize(
    "prices",
    [
        pytest.param([], id="nothing could be looked up"),
        pytest.param([price(None, passing=True, priced_at=None)], id="the API is down"),
        pytest.param([price(2.24, LATER, passing=True)], id="only a part is known for now"),
        pytest.param([price(2.0, "2025-11-30T00:00:00Z")], id="the collection's list knows an older one"),
    ],
)
def test_an_outage_changes_nothing(prices: t.Any) -> None:
    first = publish([price()])
    assert publish(prices, copy.deepcopy(first), LATER) == first


def test_a_price_that_is_not_known_any_more_goes() -> None:
    assert "hourly_usd" not in entry_of(publish([price(None)], publish([price()]), LATER))
    # So does one that nobody wants to have published any more.
    assert "hourly_usd" not in entry_of(publish(None, publish([price()]), LATER))


def test_a_target_that_cannot_be_read_keeps_its_price() -> None:
    entry = entry_of(publish([], publish([price()]), LATER, read=False))
    assert (entry["hourly_usd"], entry["priced_at"], entry["stale"]) == (2.25, FIRST, True)


@pytest.mark.parametrize("wrong", ["text", {"target": "aws"}, [3]])
def test_prices_of_another_form_are_refused(wrong: t.Any) -> None:
    with pytest.raises(_artists.ArtistsError, match="prices: must be a list of mappings"):
        publish(wrong)


def endpoints(**price_fields: t.Any) -> dict[str, dict[str, list[dict[str, t.Any]]]]:
    """Return endpoints as a workstation has them."""
    return {"FLUX Dev": {"aws": [{"url": "https://x", "target": "aws", "gpu_tier": "l40s", **price_fields}]}}


def test_a_workstation_is_not_written_for_a_date() -> None:
    old = endpoints(hourly_usd=2.25, priced_at=FIRST)
    assert _workstation.keep_prices(old, endpoints(hourly_usd=2.25, priced_at=LATER)) == old
    dearer = endpoints(hourly_usd=2.5, priced_at=LATER)
    assert _workstation.keep_prices(old, dearer) == dearer
    assert _workstation.keep_prices({}, dearer) == dearer
    # Switched off means gone, on workstations, too.
    assert _workstation.keep_prices(old, endpoints()) == endpoints()
    # A measured price of an image counts as well.
    measured = endpoints(hourly_usd=2.25, priced_at=LATER, usd_per_image=0.01)
    assert _workstation.keep_prices(old, measured) == measured
