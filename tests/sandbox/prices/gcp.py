# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google's Cloud Billing Catalog, ``services.skus.list`` alone, with an API key or a token.

Fields are those of https://cloud.google.com/billing/docs/reference/rest/v1/services.skus.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from werkzeug.wrappers import Request, Response

from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.prices import figures
from tests.sandbox.rest import ApiError, PathValues, RestService, Route, json_response

Sku = dict[str, Any]

COMPUTE_ENGINE, KUBERNETES_ENGINE = "6F81-5844-456A", "CCD8-9BF1-090E"
PARAMETERS = frozenset(("startTime", "endTime", "currencyCode", "pageSize", "pageToken", "key"))
PAGE_SIZE = 40
"""Small, so that whoever does not turn pages is found out. Google's own is 5000."""

SINCE, FUTURE = "2026-01-01T00:00:00.123456789Z", "2999-01-01T00:00:00Z"
DEARER = Decimal("1.5")


class BillingCatalog(RestService):
    """Answers ``/v1/services/{service}/skus``. ``check_google`` refuses requests without a token."""

    def __init__(
        self,
        check_google: Callable[[Request], Any],
        answer_error: Callable[[ApiError], Response],
        calls: CallLog,
        interferences: Interferences,
    ) -> None:
        self.api_key = f"AIza{secrets.token_urlsafe(26)}"
        self._check_google = check_google
        self._answer_error = answer_error
        super().__init__("google-billing", calls, interferences)

    def routes(self) -> list[Route]:
        """Return the operations."""
        return [Route("GET", "/v1/services/{service}/skus", "ListSkus", self._list)]

    def check(self, request: Request, values: PathValues) -> None:
        """Refuse requests with neither the API key nor a token."""
        key = request.headers.get("X-Goog-Api-Key") or request.args.get("key")
        if key is None:
            self._check_google(request)
        elif not secrets.compare_digest(key, self.api_key):
            raise ApiError(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.")

    def error_response(self, error: ApiError) -> Response:
        """Return an error as Google's APIs write it."""
        return self._answer_error(error)

    def _list(self, request: Request, values: PathValues) -> Response:
        unknown = sorted(set(request.args) - PARAMETERS)
        if unknown:
            message = f'Invalid JSON payload received. Unknown name "{unknown[0]}": Cannot bind query parameter.'
            raise ApiError(400, "INVALID_ARGUMENT", message)
        size = request.args.get("pageSize", "5000")
        if not size.isdigit() or not 1 <= int(size) <= 5000:
            raise ApiError(400, "INVALID_ARGUMENT", "page_size must be from 1 to 5000")
        currency = request.args.get("currencyCode", "USD")
        if currency not in figures.GCP_CURRENCIES:
            raise ApiError(400, "INVALID_ARGUMENT", f"Currency code {currency} is not supported.")
        makers = {COMPUTE_ENGINE: _compute, KUBERNETES_ENGINE: _kubernetes}
        if values["service"] not in makers:
            raise ApiError(404, "NOT_FOUND", f"Service {values['service']} not found.")
        found = [
            _sku(number, values["service"], *row, factor=figures.GCP_CURRENCIES[currency], currency=currency)
            for number, row in enumerate(makers[values["service"]]())
        ]
        start = int(request.args.get("pageToken") or 0)
        end = start + min(int(size), PAGE_SIZE)
        return json_response(
            {"skus": found[start:end], "nextPageToken": str(end) if end < len(found) else ""},
        )


def _money(amount: Decimal, currency: str) -> dict[str, Any]:
    units = int(amount)
    money: dict[str, Any] = {"currencyCode": currency, "nanos": int((amount - units) * 10**9)}
    # Protocol buffers leave zeros out, and 64 bits are a text.
    return {**money, "units": str(units)} if units else money


def _sku(
    number: int,
    service: str,
    description: str,
    regions: tuple[str, ...],
    usage: str,
    unit: str,
    tiers: tuple[tuple[Decimal, Decimal], ...],
    later: bool = False,
    *,
    factor: Decimal,
    currency: str,
) -> Sku:
    """Return a SKU. ``later``: a second, dearer price is announced, which is listed first."""

    def info(since: str, dearer: Decimal) -> dict[str, Any]:
        return {
            "summary": "",
            "pricingExpression": {
                "usageUnit": unit,
                "displayQuantity": 1,
                "tieredRates": [
                    {"startUsageAmount": float(start), "unitPrice": _money(amount * dearer * factor, currency)}
                    for start, amount in tiers
                ],
                "usageUnitDescription": unit,
                "baseUnit": "s",
                "baseUnitDescription": "second",
                "baseUnitConversionFactor": 3600,
            },
            "currencyConversionRate": float(factor),
            "effectiveTime": since,
        }

    name = f"services/{service}/skus/{number:04d}"
    return {
        "name": name,
        "skuId": f"{number:04d}",
        "description": description,
        "category": {
            "serviceDisplayName": "Compute Engine",
            "resourceFamily": "Compute",
            "resourceGroup": "GPU" if "GPU" in description else "CPU",
            "usageType": usage,
        },
        "serviceRegions": list(regions),
        "pricingInfo": [*([info(FUTURE, DEARER)] if later else []), info(SINCE, Decimal(1))],
        "serviceProviderName": "Google",
        "geoTaxonomy": {"type": "REGIONAL", "regions": list(regions)},
    }


def _flat(amount: Decimal) -> tuple[tuple[Decimal, Decimal], ...]:
    return ((Decimal(0), amount),)


def _compute() -> Iterator[tuple[Any, ...]]:
    for region, (place, dearer) in figures.GCP_REGIONS.items():
        here = (region,)
        for family, (core, memory) in figures.GCP_CORES.items():
            for what, unit, price in (("Core", "h", core), ("Ram", "GiBy.h", memory)):
                amount = price * dearer
                name = f"{family} Instance {what} running in {place}"
                yield name, here, "OnDemand", unit, _flat(amount), True
                yield f"Spot Preemptible {name}", here, "Preemptible", unit, _flat(amount * figures.GCP_SPOT)
                yield f"Commitment v1: {name}", here, "Commit1Yr", unit, _flat(amount / 2)
        for gpu, price in figures.GCP_GPUS.items():
            amount = price * dearer
            yield f"{gpu} running in {place}", here, "OnDemand", "h", _flat(amount)
            # The same once more, and two that only look like it.
            yield f"{gpu} running in {place}", here, "OnDemand", "h", _flat(amount)
            calendar = f"{gpu} attached to DWS Calendar Mode VMs running in {place}"
            yield calendar, here, "OnDemand", "h", _flat(amount / 2)
            yield f"Reserved {gpu} in {place}", here, "OnDemand", "h", _flat(amount / 3)
            spot = f"{gpu} attached to Spot Preemptible VMs running in {place}"
            yield spot, here, "Preemptible", "h", _flat(amount * figures.GCP_SPOT)
        where = "" if region == "us-central1" else f" in {place}"
        balanced = figures.GCP_BALANCED * dearer
        yield f"Balanced PD Capacity{where}", here, "OnDemand", "GiBy.mo", _flat(balanced)
        yield f"Regional Balanced PD Capacity{where}", here, "OnDemand", "GiBy.mo", _flat(balanced * 2)
        local = figures.GCP_LOCAL_SSD * dearer
        yield f"SSD backed Local Storage{where}", here, "OnDemand", "GiBy.mo", _flat(local)
        attached = f"SSD backed Local Storage attached to Spot Preemptible VMs{where}"
        yield attached, here, "Preemptible", "GiBy.mo", _flat(local * figures.GCP_SPOT)
        rule = f"Network Load Balancing: Forwarding Rule Minimum Service Charge in {place}"
        yield rule, here, "OnDemand", "h", _flat(figures.GCP_RULE * dearer)
        for other in ("Americas", "Netherlands"):
            transfer = f"Network Internet Data Transfer Out from {place} to {other}"
            yield transfer, here, "OnDemand", "GiBy", figures.GCP_TRANSFER
    # The first hours of addresses are free.
    address = ((Decimal(0), Decimal(0)), (Decimal(1), figures.GCP_ADDRESS))
    yield "External IP Charge on a Standard VM", ("global",), "OnDemand", "h", address
    yield "External IP Charge on a Spot Preemptible VM", ("global",), "OnDemand", "h", _flat(Decimal("0.0025"))


def _kubernetes() -> Iterator[tuple[Any, ...]]:
    regions = tuple(figures.GCP_REGIONS)
    for kind in ("Zonal", "Regional"):
        yield f"{kind} Kubernetes Clusters", regions, "OnDemand", "h", _flat(figures.GCP_CLUSTER)
    yield "Autopilot Pod mCPU Requests", regions, "OnDemand", "h", _flat(Decimal("0.0000445"))
