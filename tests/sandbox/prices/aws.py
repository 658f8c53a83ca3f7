# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS's Price List API, ``GetProducts`` alone, and what Spot machines cost now.

Requests are checked with botocore's own model of the service, and answers are made of what AWS documents: products as
JSON in strings, each with attributes and terms.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import botocore.session
from botocore.validate import ParamValidator

from tests.sandbox.prices import figures
from tests.sandbox.rest import ApiError

Product = dict[str, Any]

ENDPOINTS = ("us-east-1", "eu-central-1", "ap-south-1")
"""The regions in which the Price List API is; it tells about all regions."""

PAGE_SIZE = 5
"""Small, so that whoever does not turn pages is found out. AWS's own default is 100."""

SINCE = "2026-01-01T00:00:00Z"
FUTURE = "2999-01-01T00:00:00Z"


class PriceList:
    """Answers requests to ``AWSPriceListService``."""

    def __init__(self) -> None:
        service = botocore.session.get_session().get_service_model("pricing")
        self._input: Any = service.operation_model("GetProducts").input_shape
        self._products = list(_products())

    def answer(self, action: str, region: str, params: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a call. Raises `ApiError`."""
        if region not in ENDPOINTS:
            message = f"there is no endpoint api.pricing.{region}; the Price List API is in {', '.join(ENDPOINTS)}"
            raise ApiError(400, "NotImplementedBySandbox", message, refused=True)
        if action != "GetProducts":
            raise ApiError(400, "NotImplementedBySandbox", f"pricing has no {action} here", refused=True)
        report = ParamValidator().validate(params, self._input)
        unknown = sorted(set(params) - set(self._input.members))
        if report.has_errors() or unknown:
            raise _invalid(report.generate_report() or f"Unknown parameter {unknown[0]}")
        if params.get("FormatVersion", "aws_v1") != "aws_v1":
            raise _invalid("Invalid FormatVersion")
        found = self._matching(params)
        size = min(params.get("MaxResults", PAGE_SIZE), PAGE_SIZE)
        token = params.get("NextToken")
        if token is not None and not token.isdigit():
            raise ApiError(400, "InvalidNextTokenException", "The pagination token is invalid.")
        start = int(token or 0)
        answer: dict[str, Any] = {
            "FormatVersion": "aws_v1",
            "PriceList": [json.dumps(product) for product in found[start : start + size]],
        }
        if start + size < len(found):
            answer["NextToken"] = str(start + size)
        return answer

    def _matching(self, params: dict[str, Any]) -> list[Product]:
        products = [product for product in self._products if product["serviceCode"] == params.get("ServiceCode")]
        if not products:
            raise ApiError(400, "NotFoundException", f"The service {params.get('ServiceCode')} was not found")
        known = {field for product in products for field in _attributes(product)}
        for condition in params.get("Filters", []):
            if condition["Type"] != "TERM_MATCH":
                raise ApiError(
                    400, "NotImplementedBySandbox", f"only TERM_MATCH, not {condition['Type']}", refused=True
                )
            if condition["Field"] not in known:
                raise _invalid(f"Input Parameters are invalid: {condition['Field']}")
            products = [
                product for product in products if _attributes(product).get(condition["Field"]) == condition["Value"]
            ]
        return products


def _invalid(message: str) -> ApiError:
    return ApiError(400, "InvalidParameterException", message)


def _attributes(product: Product) -> dict[str, str]:
    """Return what can be filtered by: attributes, and the family."""
    inner = product["product"]
    return {"productFamily": inner["productFamily"], **inner["attributes"]}


def _product(
    service: str,
    family: str,
    attributes: dict[str, str],
    unit: str,
    tiers: tuple[tuple[Decimal, Decimal], ...],
    terms: tuple[tuple[str, Decimal], ...] = (),
    *,
    number: int,
) -> Product:
    """Return a product. ``terms`` are more of them: when they take effect, and by what factor they are dearer."""
    sku = f"SKU{number:013d}"
    on_demand = {
        f"{sku}.{index}": {
            "sku": sku,
            "offerTermCode": "JRTCKXETXF",
            "effectiveDate": since,
            "termAttributes": {},
            "priceDimensions": {
                f"{sku}.{index}.{start}": {
                    "unit": unit,
                    "beginRange": f"{start:f}",
                    "endRange": "Inf" if place == len(tiers) - 1 else f"{tiers[place + 1][0]:f}",
                    "description": f"{amount:f} per {unit}",
                    "appliesTo": [],
                    "rateCode": f"{sku}.{index}.{start}",
                    "pricePerUnit": {"USD": f"{amount * factor:.10f}"},
                }
                for place, (start, amount) in enumerate(tiers)
            },
        }
        for index, (since, factor) in enumerate(((SINCE, Decimal(1)), *terms))
    }
    return {
        "product": {"productFamily": family, "attributes": {"servicecode": service, **attributes}, "sku": sku},
        "serviceCode": service,
        "terms": {"OnDemand": on_demand},
        "version": "20260101000000",
        "publicationDate": SINCE,
    }


def _products() -> Iterator[Product]:
    number = 0
    for region, (short, factor) in figures.AWS_REGIONS.items():
        before = "" if region == "us-east-1" else f"{short}-"
        for product in (*_machines(region, before, factor), *_others(region, short, before, factor)):
            number += 1
            yield _product(*product, number=number)


def _flat(amount: Decimal) -> tuple[tuple[Decimal, Decimal], ...]:
    return ((Decimal(0), amount),)


def _machines(region: str, before: str, factor: Decimal) -> Iterator[tuple[Any, ...]]:
    for machine, price in figures.AWS_MACHINES.items():
        if (region, machine) in figures.AWS_NOT_SOLD:
            continue
        common = {
            "regionCode": region,
            "instanceType": machine,
            "instanceFamily": "GPU instance",
            "operatingSystem": "Linux",
            "tenancy": "Shared",
            "preInstalledSw": "NA",
            "capacitystatus": "Used",
            "marketoption": "OnDemand",
            "operation": "RunInstances",
            "usagetype": f"{before}BoxUsage:{machine}",
        }
        amount = price * factor
        # A price that was announced and is not in effect yet, twice as high.
        yield "AmazonEC2", "Compute Instance", common, "Hrs", _flat(amount), ((FUTURE, Decimal(2)),)
        # The same product under another SKU, one that costs nothing, and those of other systems and tenancies.
        yield "AmazonEC2", "Compute Instance", common, "Hrs", _flat(amount)
        yield "AmazonEC2", "Compute Instance", {**common, "marketoption": "CapacityBlock"}, "Hrs", _flat(Decimal(0))
        yield "AmazonEC2", "Compute Instance", {**common, "operatingSystem": "Windows"}, "Hrs", _flat(amount * 2)
        yield "AmazonEC2", "Compute Instance", {**common, "tenancy": "Dedicated"}, "Hrs", _flat(amount * 3)


def _others(region: str, short: str, before: str, factor: Decimal) -> Iterator[tuple[Any, ...]]:
    here = {"regionCode": region}
    gp3 = {**here, "volumeApiName": "gp3"}
    yield (
        "AmazonEC2",
        "Storage",
        {**gp3, "usagetype": f"{before}EBS:VolumeUsage.gp3"},
        "GB-Mo",
        _flat(figures.AWS_GP3 * factor),
    )
    yield (
        "AmazonEC2",
        "Provisioned Throughput",
        {**gp3, "usagetype": f"{before}EBS:VolumeP-Throughput.gp3"},
        "GiBps-mo",
        _flat(figures.AWS_GP3_GIBPS * factor),
    )
    for usage, unit, amount in (
        ("LoadBalancerUsage", "Hrs", figures.AWS_ALB),
        ("LCUUsage", "LCU-Hrs", figures.AWS_LCU),
        ("TS-LoadBalancerUsage", "Hrs", Decimal("0.0056")),
    ):
        yield (
            "AWSELB",
            "Load Balancer-Application",
            {**here, "usagetype": f"{before}{usage}"},
            unit,
            _flat(amount * factor),
        )
    yield (
        "AmazonVPC",
        "VpcPublicIPv4",
        {**here, "group": "VPCPublicIPv4Address", "usagetype": f"{before}PublicIPv4:InUseAddress"},
        "Hrs",
        _flat(figures.AWS_ADDRESS),
    )
    yield (
        "AmazonVPC",
        "VpcPublicIPv4",
        {**here, "group": "VPCPublicIPv4Address", "usagetype": f"{before}PublicIPv4:IdleAddress"},
        "Hrs",
        _flat(figures.AWS_ADDRESS),
    )
    yield (
        "AWSSecretsManager",
        "Secret",
        {**here, "usagetype": f"{short}-AWSSecretsManager-Secrets"},
        "Secrets",
        _flat(figures.AWS_SECRET),
    )
    for usage, amount in (
        ("Fargate-ARM-vCPU-Hours:perCPU", figures.AWS_FARGATE_CPU),
        ("Fargate-ARM-GB-Hours", figures.AWS_FARGATE_MEMORY),
        ("Fargate-vCPU-Hours:perCPU", figures.AWS_FARGATE_CPU * 2),
    ):
        yield "AmazonECS", "Compute", {**here, "usagetype": f"{short}-{usage}"}, "hours", _flat(amount * factor)
    yield (
        "AWSDataTransfer",
        "Data Transfer",
        {
            "fromRegionCode": region,
            "transferType": "AWS Outbound",
            "toLocation": "External",
            "usagetype": f"{before}DataTransfer-Out-Bytes",
        },
        "GB",
        figures.AWS_TRANSFER,
    )


def spot_history(region: str, machines: list[str], now: datetime.datetime) -> list[dict[str, Any]]:
    """Return the Spot prices of a region, an older one for each zone among them."""
    if region not in figures.AWS_REGIONS:
        return []
    factor = figures.AWS_REGIONS[region][1]
    rows = []
    for machine in machines or list(figures.AWS_MACHINES):
        price = figures.AWS_MACHINES.get(machine)
        if price is None or (region, machine) in figures.AWS_NOT_SOLD:
            continue
        for zone, share in figures.SPOT_FACTORS.items():
            for hours, more in ((1, Decimal(1)), (30, Decimal("1.5"))):
                rows.append(
                    {
                        "InstanceType": machine,
                        "ProductDescription": "Linux/UNIX",
                        "SpotPrice": f"{price * factor * share * more:.6f}",
                        "AvailabilityZone": f"{region}{zone}",
                        "Timestamp": (now - datetime.timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ"),
                    }
                )
    return rows
