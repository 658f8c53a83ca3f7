# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Azure Retail Prices: a public list, with filters in a little OData, and pages.

Fields of rows and of filters are those that
https://learn.microsoft.com/en-us/rest/api/cost-management/retail-prices/azure-retail-prices documents. Of OData there
are ``eq``, ``and``, ``or`` and parentheses; everything else is refused.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from werkzeug.wrappers import Request, Response

from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.prices import figures
from tests.sandbox.rest import ApiError, PathValues, RestService, Route, json_response

Item = dict[str, Any]
Test = Callable[[Item], bool]

PATH = "/api/retail/prices"
PAGE_SIZE = 3
"""Small, so that whoever does not turn pages is found out. Microsoft's own is 100 and more."""

VERSIONS = ("2021-10-01-preview", "2023-01-01-preview")
PARAMETERS = frozenset(("api-version", "meterRegion", "currencyCode", "$filter", "$skip"))
FIELDS = {
    "armRegionName": "armRegionName",
    "location": "location",
    "meterId": "meterId",
    "meterName": "meterName",
    "productId": "productId",
    "skuId": "skuId",
    "productName": "productName",
    "skuName": "skuName",
    "serviceName": "serviceName",
    "serviceId": "serviceId",
    "serviceFamily": "serviceFamily",
    "priceType": "type",
    "armSkuName": "armSkuName",
}
"""Field of a filter -> field of a row."""

SINCE, LATER, FUTURE = "2024-01-01T00:00:00Z", "2025-06-01T00:00:00Z", "2999-01-01T00:00:00Z"
TOKEN = re.compile(r"\s*(?:(?P<mark>[()])|(?P<word>[A-Za-z]+)|'(?P<text>(?:[^']|'')*)')")


class RetailPrices(RestService):
    """Answers ``/api/retail/prices``."""

    def __init__(self, calls: CallLog, interferences: Interferences) -> None:
        super().__init__("azure-prices", calls, interferences)

    def routes(self) -> list[Route]:
        """Return the operations."""
        return [Route("GET", PATH, "RetailPrices_List", self._list)]

    def check(self, request: Request, values: PathValues) -> None:
        """Let everybody ask, without a login."""

    def error_response(self, error: ApiError) -> Response:
        """Return an error as the service writes it."""
        return json_response({"Error": {"Code": error.code, "Message": error.message}}, error.status)

    def _list(self, request: Request, _values: PathValues) -> Response:
        arguments = request.args.to_dict()
        unknown = sorted(set(arguments) - PARAMETERS)
        if unknown:
            raise _bad(f"the parameter {unknown[0]} is not known")
        if arguments.get("api-version") not in (None, *VERSIONS):
            raise _bad(f"the version {arguments['api-version']} is not known")
        currency = _quoted(arguments.get("currencyCode", "'USD'"))
        if currency not in figures.AZURE_CURRENCIES:
            raise _bad(f"the currency {currency} is not known")
        primary = arguments.get("meterRegion")
        if primary is not None and _quoted(primary) != "primary":
            raise _bad("meterRegion can be 'primary' alone")
        test = _Filter(arguments["$filter"]).read() if arguments.get("$filter") else _everything
        found = [item for item in _items(currency) if test(item) and (primary is None or item["isPrimaryMeterRegion"])]
        start = int(arguments.get("$skip") or 0)
        page = found[start : start + PAGE_SIZE]
        more = {**arguments, "$skip": str(start + PAGE_SIZE)}
        link = f"{request.host_url.rstrip('/')}{PATH}?{urllib.parse.urlencode(more)}"
        return json_response(
            {
                "BillingCurrency": currency,
                "CustomerEntityId": "Default",
                "CustomerEntityType": "Retail",
                "Items": page,
                "NextPageLink": link if start + PAGE_SIZE < len(found) else None,
                "Count": len(page),
            }
        )


def _bad(message: str) -> ApiError:
    return ApiError(400, "BadRequest", f"Invalid OData parameters supplied: {message}")


def _everything(_item: Item) -> bool:
    return True


def _quoted(text: str) -> str:
    if len(text) < 2 or text[0] != "'" or text[-1] != "'":
        raise _bad(f"{text} must be in quotes")
    return text[1:-1]


class _Filter:
    """Reads an expression from left to right; ``and`` binds more than ``or``."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        place = 0
        while text[place:].strip():
            found = TOKEN.match(text, place)
            if found is None:
                raise _bad(f"{text[place:]!r} is not understood")
            kind = str(found.lastgroup)
            self._tokens.append((kind, found[kind]))
            place = found.end()

    def read(self) -> Test:
        """Return the test that the whole expression is. Raises `ApiError`."""
        test = self._any()
        if self._tokens:
            raise _bad(f"{self._tokens[0][1]!r} is too much")
        return test

    def _any(self) -> Test:
        tests = [self._all()]
        while self._taken("word", "or"):
            tests.append(self._all())
        return lambda item: any(test(item) for test in tests)

    def _all(self) -> Test:
        tests = [self._one()]
        while self._taken("word", "and"):
            tests.append(self._one())
        return lambda item: all(test(item) for test in tests)

    def _one(self) -> Test:
        if self._taken("mark", "("):
            inner = self._any()
            if not self._taken("mark", ")"):
                raise _bad("a parenthesis is not closed")
            return inner
        field = self._next("word")
        if field not in FIELDS:
            raise _bad(f"there is no field {field} to filter by")
        if not self._taken("word", "eq"):
            raise _bad(f"after {field} there must be eq")
        value, name = self._next("text").replace("''", "'"), FIELDS[field]
        # Capitals count since 2023-01-01-preview.
        return lambda item: item.get(name) == value

    def _taken(self, kind: str, value: str) -> bool:
        if self._tokens and self._tokens[0] == (kind, value):
            self._tokens.pop(0)
            return True
        return False

    def _next(self, kind: str) -> str:
        if not self._tokens or self._tokens[0][0] != kind:
            raise _bad(f"a {kind} is missing")
        return self._tokens.pop(0)[1]


def _item(service: str, product: str, sku: str, meter: str, unit: str, amount: Decimal, **more: Any) -> Item:
    """Return a row with all the fields that Microsoft documents."""
    return {
        "currencyCode": "USD",
        "tierMinimumUnits": 0.0,
        "retailPrice": float(amount),
        "unitPrice": float(amount),
        "armRegionName": "",
        "location": "",
        "effectiveStartDate": SINCE,
        "meterId": f"meter-{sku}-{meter}".replace(" ", "-").lower(),
        "meterName": meter,
        "productId": "DZH318Z00000",
        "skuId": "DZH318Z00000/0000",
        "availabilityId": None,
        "productName": product,
        "skuName": sku,
        "serviceName": service,
        "serviceId": "DZH000000000",
        "serviceFamily": "Compute",
        "unitOfMeasure": unit,
        "type": "Consumption",
        "isPrimaryMeterRegion": True,
        "armSkuName": "",
        **more,
    }


def _items(currency: str) -> Iterator[Item]:
    factor = figures.AZURE_CURRENCIES[currency]
    for region, dearer in figures.AZURE_REGIONS.items():
        for item in (*_machines(region, dearer), *_others(region, dearer)):
            price = float(Decimal(str(item["retailPrice"])) * factor)
            yield {**item, "currencyCode": currency, "retailPrice": price, "unitPrice": price}
    balancer = figures.AZURE_BALANCER * factor
    yield _item(
        "Load Balancer",
        "Load Balancer",
        "Standard",
        "Standard Included LB Rules and Outbound Rules",
        "1 Hour",
        balancer,
        armRegionName="Global",
        currencyCode=currency,
    )


def _machines(region: str, dearer: Decimal) -> Iterator[Item]:
    for size, (series, price) in figures.AZURE_MACHINES.items():
        name = size.removeprefix("Standard_").replace("_", " ")
        product = f"Virtual Machines {series} Series"
        amount = price * dearer
        here = {"armRegionName": region, "armSkuName": size}
        machine = "Virtual Machines"
        # What it cost before, what it costs, what it will cost, and a row that comes twice.
        yield _item(machine, product, name, name, "1 Hour", amount * 2, **here)
        for since, more in ((LATER, 1), (FUTURE, 3), (LATER, 1)):
            yield _item(machine, product, name, name, "1 Hour", amount * more, **here, effectiveStartDate=since)
        spot, low = f"{name} Spot", f"{name} Low Priority"
        yield _item(machine, product, spot, spot, "1 Hour", amount * figures.SPOT_FACTORS["a"], **here)
        yield _item(machine, product, low, low, "1 Hour", amount * figures.SPOT_FACTORS["b"], **here)
        yield _item(machine, f"{product} Windows", name, name, "1 Hour", amount * Decimal("1.5"), **here)
        yield _item(machine, product, name, name, "1 Hour", amount * 300, **here, type="Reservation")
        yield _item(machine, product, name, name, "1 Hour", amount / 2, **here, isPrimaryMeterRegion=False)


def _others(region: str, dearer: Decimal) -> Iterator[Item]:
    for disk, price in figures.AZURE_DISKS.items():
        kind = "Premium" if disk[0] == "P" else "Standard"
        product, sku = f"{kind} SSD Managed Disks", f"{disk} LRS"
        yield _item("Storage", product, sku, f"{sku} Disk", "1/Month", price * dearer, armRegionName=region)
        yield _item("Storage", product, sku, f"{sku} Disk Mount", "1/Month", price / 10, armRegionName=region)
    yield _item(
        "Virtual Network",
        "IP Addresses",
        "Standard",
        "Standard IPv4 Static Public IP",
        "1 Hour",
        figures.AZURE_ADDRESS,
        armRegionName=region,
    )
    for start, price in figures.AZURE_TRANSFER:
        yield _item(
            "Bandwidth",
            "Rtn Preference: MGN",
            "Standard",
            "Standard Data Transfer Out",
            "1 GB",
            price,
            armRegionName=region,
            tierMinimumUnits=float(start),
        )
