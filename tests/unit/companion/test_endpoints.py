# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order the mode LOWEST PRICE takes endpoints, and how a price is told."""

from __future__ import annotations

import typing as t

import pytest
from budgetguard_companion import endpoints

LOWEST_PRICE = "LOWEST PRICE"


def order(style: str, **entries: t.Any) -> list[tuple[str, str | None]]:
    """Return targets and prices, the best first."""
    placed = {
        target: [{"url": f"https://{target}.example", "target": target, "api_style": style, **fields}]
        for target, fields in entries.items()
    }
    found = endpoints.endpoints_of({"nim_endpoints": {"Node": placed}})
    return [(one.target, one.price_text()) for one in endpoints.candidates(found, "Node", style, LOWEST_PRICE, "")]


@pytest.mark.parametrize(
    ("style", "field", "said"),
    [("nim-infer", "usd_per_image", "image"), ("openai", "usd_per_1k_tokens", "1,000 tokens")],
)
def test_what_a_request_costs_goes_before_what_an_hour_costs(style: str, field: str, said: str) -> None:
    found = order(
        style,
        aws={"hourly_usd": 0.5},
        azure={"hourly_usd": 4.0, field: 0.005},
        gcp={"hourly_usd": 2.0, field: 0.02},
        local={},
    )
    assert found == [
        ("azure", f"0.0050 USD per {said}"),
        ("gcp", f"0.0200 USD per {said}"),
        ("aws", "0.50 USD per hour"),
        ("local", None),
    ]


def test_a_price_of_another_kind_of_request_decides_nothing() -> None:
    found = order("openai", aws={"hourly_usd": 4.0, "usd_per_image": 0.001}, gcp={"hourly_usd": 2.0})
    assert [target for target, _text in found] == ["gcp", "aws"]


@pytest.mark.parametrize("price", [-1, True, "0.1", float("nan"), None])
def test_what_is_no_price_is_none(price: t.Any) -> None:
    assert order("openai", aws={"usd_per_1k_tokens": price}) == [("aws", None)]
