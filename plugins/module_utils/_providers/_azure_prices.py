# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Azure Retail Prices: one list for everybody, without a login.

https://learn.microsoft.com/en-us/rest/api/cost-management/retail-prices/azure-retail-prices: values of filters are told
apart by capitals from 2023-01-01-preview on, a page has 100 rows or more, C(NextPageLink) leads on, C(meterRegion)
leaves out meters that stand for another region's, and other currencies than USD are for reference only.
Spot and Low Priority are meters of their own, told by their names; Windows is a product of its own.
"""

from __future__ import annotations

import datetime
import os
import time
import typing as t
from decimal import Decimal, InvalidOperation
from urllib.parse import quote

from ansible_collections.budgetguard.techops.plugins.module_utils import _pricing
from ansible_collections.budgetguard.techops.plugins.module_utils._price_book import iso
from ansible_collections.budgetguard.techops.plugins.module_utils._pricing import Quote, Thing
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._price_api import (
    MOST_PAGES,
    JsonApi,
    Row,
    picked,
    same_host,
    unread,
)

ENDPOINT = "https://prices.azure.com"
ENDPOINT_VARIABLE = "AZURE_RETAIL_PRICES_ENDPOINT"
API_VERSION = "2023-01-01-preview"

MOST_NAMES = 15
"""So many names go into one filter: an address must not be too long."""

_WHERE = "Azure Retail Prices"
_HOUR, _MONTH, _GIB = "1 Hour", "1/Month", "1 GB"
_DISKS = {"P": "Premium SSD Managed Disks", "E": "Standard SSD Managed Disks"}
_GLOBAL = "Global"
"""The region under which Microsoft lists load balancers."""

_LOAD_BALANCER = "Standard Included LB Rules and Outbound Rules"
_ADDRESS = "Standard IPv4 Static Public IP"
_TRANSFER = "Standard Data Transfer Out"

_NAMES = {_pricing.ALB_HOUR: _LOAD_BALANCER, _pricing.IPV4_HOUR: _ADDRESS, _pricing.TRANSFER_OUT: _TRANSFER}

Item = t.Mapping[str, t.Any]


class AzurePrices:
    """Asks for prices in one currency."""

    def __init__(
        self,
        currency: str = "USD",
        *,
        now: float,
        sleep: t.Callable[[float], None] = time.sleep,
    ) -> None:
        self._currency = currency
        self._now = now
        self._base = (os.environ.get(ENDPOINT_VARIABLE) or ENDPOINT).rstrip("/")
        self._api = JsonApi(sleep)

    def quotes(self, things: t.Sequence[Thing]) -> dict[Thing, Quote]:
        """Return what the list says about each thing, with few questions per region."""
        found: dict[Thing, Quote] = {}
        for region in sorted({thing.region for thing in things}):
            mine = [thing for thing in things if thing.region == region]
            for group in _groups(mine):
                found.update(self._group(region, group))
        return found

    def _group(self, region: str, things: t.Sequence[Thing]) -> dict[Thing, Quote]:
        try:
            items = self._items(region, _filter_of(region, things))
        except ProviderError as exc:
            return dict.fromkeys(things, unread(exc))
        return {thing: self._quote(thing, items) for thing in things}

    def _items(self, region: str, condition: str) -> list[Item]:
        doing = f"read Azure's prices of {region}"
        url: str | None = (
            f"{self._base}/api/retail/prices?api-version={API_VERSION}&meterRegion='primary'"
            f"&currencyCode='{quote(self._currency)}'&$filter={quote(condition)}"
        )
        items: list[Item] = []
        for _page in range(MOST_PAGES):
            if not url:
                return items
            if not same_host(url, self._base):
                raise ProviderError(f"cannot {doing}: the next page is said to be somewhere else")
            page = self._api.get(doing, url)
            rows = page.get("Items")
            if not isinstance(rows, list):
                raise ProviderError(f"cannot {doing}: the answer has no Items")
            items += [row for row in rows if isinstance(row, dict)]
            url = page.get("NextPageLink") or None
        raise ProviderError(f"cannot {doing}: it has more than {MOST_PAGES} pages")

    def _quote(self, thing: Thing, items: t.Iterable[Item]) -> Quote:
        fits = _test_of(thing)
        mine = [
            item
            for item in items
            if item.get("type") == "Consumption"
            and item.get("currencyCode") == self._currency
            and item.get("isPrimaryMeterRegion") is not False
            and fits(item)
        ]
        rows = _tiered(mine) if thing.kind == _pricing.TRANSFER_OUT else [row for row in map(_row, mine) if row]
        machine = thing.kind in (_pricing.MACHINE, _pricing.SPOT_MACHINE)
        what = thing.name or _NAMES.get(thing.kind, thing.kind)
        return picked(rows, self._now, iso(self._now), _WHERE, what, not_sold=machine)


def _groups(things: t.Sequence[Thing]) -> t.Iterator[list[Thing]]:
    """Yield the things that one question can be about."""
    machines = [thing for thing in things if thing.kind in (_pricing.MACHINE, _pricing.SPOT_MACHINE)]
    names = sorted({thing.name for thing in machines})
    for start in range(0, len(names), MOST_NAMES):
        part = names[start : start + MOST_NAMES]
        yield [thing for thing in machines if thing.name in part]
    for kinds in ((_pricing.DISK_MONTH,), (_pricing.ALB_HOUR, _pricing.IPV4_HOUR), (_pricing.TRANSFER_OUT,)):
        group = [thing for thing in things if thing.kind in kinds]
        if group:
            yield group


def _filter_of(region: str, things: t.Sequence[Thing]) -> str:
    kinds = {thing.kind for thing in things}
    here = f"armRegionName eq {_text(region)}"
    paid = "priceType eq 'Consumption'"
    if kinds & {_pricing.MACHINE, _pricing.SPOT_MACHINE}:
        names = _any("armSkuName", {thing.name for thing in things})
        return f"serviceName eq 'Virtual Machines' and {here} and {paid} and {names}"
    if _pricing.DISK_MONTH in kinds:
        products = _any("productName", {_DISKS[thing.name[0]] for thing in things})
        names = _any("skuName", {f"{thing.name} LRS" for thing in things})
        return f"serviceName eq 'Storage' and {here} and {paid} and {products} and {names}"
    if _pricing.TRANSFER_OUT in kinds:
        return f"serviceName eq 'Bandwidth' and {here} and {paid} and meterName eq {_text(_TRANSFER)}"
    places = _any("armRegionName", {region, _GLOBAL})
    return f"{paid} and {places} and {_any('meterName', {_LOAD_BALANCER, _ADDRESS})}"


def _any(field: str, values: t.Iterable[str]) -> str:
    return f"({' or '.join(f'{field} eq {_text(value)}' for value in sorted(values))})"


def _text(value: str) -> str:
    doubled = value.replace("'", "''")
    return f"'{doubled}'"


def _test_of(thing: Thing) -> t.Callable[[Item], bool]:
    """Return what tells whether a row is about a thing."""
    if thing.kind in (_pricing.MACHINE, _pricing.SPOT_MACHINE):
        spot = thing.kind == _pricing.SPOT_MACHINE
        return lambda item: _is_machine(item, thing, spot)
    if thing.kind == _pricing.DISK_MONTH:
        return lambda item: (
            item.get("meterName") == f"{thing.name} LRS Disk"
            and item.get("armRegionName") == thing.region
            and item.get("unitOfMeasure") == _MONTH
        )
    if thing.kind == _pricing.TRANSFER_OUT:
        return lambda item: (
            item.get("meterName") == _TRANSFER
            and "Internet" not in str(item.get("productName"))
            and item.get("unitOfMeasure") == _GIB
        )
    meter = _LOAD_BALANCER if thing.kind == _pricing.ALB_HOUR else _ADDRESS
    return lambda item: item.get("meterName") == meter and item.get("unitOfMeasure") == _HOUR


def _is_machine(item: Item, thing: Thing, spot: bool) -> bool:
    product, meter, sku = (str(item.get(name) or "") for name in ("productName", "meterName", "skuName"))
    if "Windows" in product or "CloudServices" in product or "Low Priority" in meter + sku:
        return False
    is_spot = meter.endswith(" Spot") or sku.endswith(" Spot")
    return (
        item.get("armSkuName") == thing.name
        and item.get("armRegionName") == thing.region
        and item.get("unitOfMeasure") == _HOUR
        and is_spot == spot
    )


def _tiered(items: t.Iterable[Item]) -> list[Row]:
    """Return what gets cheaper by amount as one row, of the newest date; the price is that of the first paid tier."""
    rows = [(item, row) for item, row in ((item, _row(item)) for item in items) if row is not None]
    by_date: dict[float, dict[Decimal, Decimal]] = {}
    for item, row in rows:
        by_date.setdefault(row.since, {})[Decimal(str(item.get("tierMinimumUnits") or 0))] = row.amount
    found = []
    for since, tiers in by_date.items():
        ordered = tuple(sorted(tiers.items()))
        paid = next((amount for _start, amount in ordered if amount), Decimal(0))
        found.append(Row(paid, since, ordered))
    return found


def _row(item: Item) -> Row | None:
    """Read a row. None for one that has no price, or whose date cannot be read."""
    try:
        amount = Decimal(str(item["retailPrice"]))
        since = _moment(str(item["effectiveStartDate"]))
    except (KeyError, ValueError, InvalidOperation):
        return None
    return Row(amount, since) if amount.is_finite() and amount >= 0 else None


def _moment(text: str) -> float:
    parsed = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=datetime.timezone.utc)).timestamp()
