# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""AWS's price list, and the history of EC2's Spot prices.

The Price List API is a global one: its endpoints are in few regions and tell about all of them (docs.aws.amazon.com
/awsaccountbilling/latest/aboutv2/using-price-list-query-api.html). It answers with JSON in strings. All GPU machines of
a region are asked for at once, by their family.
"""

from __future__ import annotations

import datetime
import json
import re
import typing as t
from decimal import Decimal, InvalidOperation

from ansible_collections.budgetguard.techops.plugins.module_utils import _pricing
from ansible_collections.budgetguard.techops.plugins.module_utils._price_book import iso
from ansible_collections.budgetguard.techops.plugins.module_utils._pricing import API, Quote, Thing
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_session import AwsSession
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._price_api import Row, picked, unread

HOMES: t.Mapping[str, str] = {"cn-north-1": "cn-northwest-1", "cn-northwest-1": "cn-northwest-1"}
"""Where the list is asked for a region, unless it is HOME."""

HOME = "us-east-1"

CURRENCIES = ("USD", "CNY")
"""AWS's list has no others, and CNY for the regions in China alone."""

SPOT_PRODUCT = "Linux/UNIX"

_WHERE = "AWS Price List"
_SPOT_WHERE = "EC2 Spot price history"
_GPU_MACHINES = {
    "instanceFamily": "GPU instance",
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
}

_QUESTIONS: dict[str, tuple[str, dict[str, str], str]] = {
    _pricing.MACHINE: ("AmazonEC2", _GPU_MACHINES, "regionCode"),
    _pricing.GP3_MONTH: ("AmazonEC2", {"volumeApiName": "gp3"}, "regionCode"),
    _pricing.GP3_THROUGHPUT_MONTH: ("AmazonEC2", {"volumeApiName": "gp3"}, "regionCode"),
    _pricing.ALB_HOUR: ("AWSELB", {"productFamily": "Load Balancer-Application"}, "regionCode"),
    _pricing.IPV4_HOUR: ("AmazonVPC", {"group": "VPCPublicIPv4Address"}, "regionCode"),
    _pricing.VAULT_MONTH: ("AWSSecretsManager", {}, "regionCode"),
    _pricing.FARGATE_CPU_HOUR: ("AmazonECS", {"productFamily": "Compute"}, "regionCode"),
    _pricing.FARGATE_MEMORY_HOUR: ("AmazonECS", {"productFamily": "Compute"}, "regionCode"),
    _pricing.TRANSFER_OUT: (
        "AWSDataTransfer",
        {"transferType": "AWS Outbound", "toLocation": "External"},
        "fromRegionCode",
    ),
}
"""Kind -> service code, filters, and the field that has the region. Kinds with the same three are one question."""

_USAGE_TYPES: dict[str, str] = {
    _pricing.GP3_MONTH: "EBS:VolumeUsage.gp3",
    _pricing.GP3_THROUGHPUT_MONTH: "EBS:VolumeP-Throughput.gp3",
    _pricing.ALB_HOUR: "LoadBalancerUsage",
    _pricing.IPV4_HOUR: "PublicIPv4:InUseAddress",
    _pricing.VAULT_MONTH: "AWSSecretsManager-Secrets",
    _pricing.FARGATE_CPU_HOUR: "Fargate-ARM-vCPU-Hours:perCPU",
    _pricing.FARGATE_MEMORY_HOUR: "Fargate-ARM-GB-Hours",
    _pricing.TRANSFER_OUT: "DataTransfer-Out-Bytes",
}
"""Kind -> C(usagetype) without the region's short name, such as USW2, which stands before it except in us-east-1."""

_USAGE_TYPE = re.compile(r"(?:(?P<place>[A-Z]{2,4}[0-9]?)-)?(?P<what>.+)")
_NO_PLACES = ("TS",)
"""What looks like a place and is another kind of thing: trust stores of load balancers."""

_GIBPS_MONTH = "gibps-mo"

Product = t.Mapping[str, t.Any]


class AwsPrices:
    """Asks with one target's credentials. Any that may call C(pricing:GetProducts) will do for all regions."""

    def __init__(
        self,
        options: t.Mapping[str, t.Any],
        currency: str = "USD",
        *,
        now: float,
    ) -> None:
        self._options = options
        self._currency = currency
        self._now = now
        self._sessions: dict[str, AwsSession] = {}

    def quotes(self, things: t.Sequence[Thing]) -> dict[Thing, Quote]:
        """Return what AWS says about each thing: one question per region, service and family of things."""
        if self._currency not in CURRENCIES:
            why = f"AWS tells prices in {' and '.join(CURRENCIES)} only, not in {self._currency}"
            return dict.fromkeys(things, Quote(None, why=why))
        questions: dict[tuple[str, str], list[Thing]] = {}
        for thing in things:
            question = "spot" if thing.kind == _pricing.SPOT_MACHINE else repr(_QUESTIONS.get(thing.kind))
            questions.setdefault((thing.region, question), []).append(thing)
        found: dict[Thing, Quote] = {}
        for (region, _question), group in sorted(questions.items()):
            try:
                found.update(self._ask(region, group))
            except ProviderError as exc:
                found.update(dict.fromkeys(group, unread(exc)))
        return found

    def _ask(self, region: str, things: t.Sequence[Thing]) -> dict[Thing, Quote]:
        if things[0].kind == _pricing.SPOT_MACHINE:
            return self._spot(region, things)
        if things[0].kind not in _QUESTIONS:
            return {thing: Quote(None, why=f"AWS is not asked for {thing.kind}") for thing in things}
        service, filters, region_field = _QUESTIONS[things[0].kind]
        products = self._products(service, {**filters, region_field: region}, region)
        return {thing: self._quote(thing, products) for thing in things}

    def _session(self, region: str) -> AwsSession:
        if region not in self._sessions:
            self._sessions[region] = AwsSession({**self._options, "region": region})
        return self._sessions[region]

    def _products(self, service: str, filters: t.Mapping[str, str], region: str) -> list[Product]:
        terms = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in sorted(filters.items())]
        texts = self._session(HOMES.get(region, HOME)).pages(
            "pricing",
            "get_products",
            f"read AWS's prices of {service} in {region} (pricing:GetProducts)",
            "PriceList",
            ServiceCode=service,
            Filters=terms,
            FormatVersion="aws_v1",
        )
        products: list[Product] = []
        for text in texts:
            try:
                product = json.loads(text, parse_float=Decimal) if isinstance(text, str) else text
            except ValueError as exc:
                raise ProviderError(f"cannot read AWS's prices of {service}: a product is no JSON") from exc
            if isinstance(product, dict):
                products.append(product)
        return products

    def _quote(self, thing: Thing, products: t.Sequence[Product]) -> Quote:
        rows = [row for product in products if _is_of(product, thing) for row in self._rows(product, thing)]
        if thing.kind == _pricing.MACHINE:
            # A price of 0 stands for what is paid otherwise, such as a reservation.
            rows = [row for row in rows if row.amount]
        what = thing.name or _USAGE_TYPES.get(thing.kind, thing.kind)
        # A list with other machines and not this one says that it is not sold; an empty one says nothing.
        machine = thing.kind == _pricing.MACHINE and bool(products)
        return picked(rows, self._now, iso(self._now), _WHERE, what, not_sold=machine)

    def _rows(self, product: Product, thing: Thing) -> list[Row]:
        rows = []
        for term in (product.get("terms") or {}).get("OnDemand", {}).values():
            tiers: dict[Decimal, Decimal] = {}
            for dimension in term.get("priceDimensions", {}).values():
                try:
                    amount = Decimal(str(dimension["pricePerUnit"][self._currency]))
                    start = Decimal(str(dimension.get("beginRange") or 0))
                except (KeyError, InvalidOperation):
                    continue
                tiers[start] = amount / 1024 if str(dimension.get("unit")).lower() == _GIBPS_MONTH else amount
            if tiers:
                ordered = tuple(sorted(tiers.items()))
                first = next((amount for _start, amount in ordered if amount), Decimal(0))
                since = _moment(str(term.get("effectiveDate") or ""))
                rows.append(Row(first, since, ordered if thing.kind == _pricing.TRANSFER_OUT else ()))
        return rows

    # ---- Spot --------------------------------------------------------------------------------------------------------

    def _spot(self, region: str, things: t.Sequence[Thing]) -> dict[Thing, Quote]:
        """Return what Spot machines cost now: in the dearest zone, because the machine may come to run there."""
        now = datetime.datetime.fromtimestamp(self._now, datetime.timezone.utc)
        history = self._session(region).pages(
            "ec2",
            "describe_spot_price_history",
            f"read the Spot prices of {region} (ec2:DescribeSpotPriceHistory)",
            "SpotPriceHistory",
            InstanceTypes=sorted({thing.name for thing in things}),
            ProductDescriptions=[SPOT_PRODUCT],
            StartTime=now,
            EndTime=now,
        )
        found = {}
        for thing in things:
            newest: dict[str, tuple[datetime.datetime, Decimal]] = {}
            for row in history:
                if row["InstanceType"] != thing.name or row["ProductDescription"] != SPOT_PRODUCT:
                    continue
                entry = (row["Timestamp"], Decimal(row["SpotPrice"]))
                newest[row["AvailabilityZone"]] = max(newest.get(row["AvailabilityZone"], entry), entry)
            found[thing] = self._dearest(thing, {zone: price for zone, (_time, price) in newest.items()})
        return found

    def _dearest(self, thing: Thing, prices: t.Mapping[str, Decimal]) -> Quote:
        as_of = iso(self._now)
        if not prices:
            why = f"there is no Spot price of {thing.name}"
            return Quote(None, API, as_of, _SPOT_WHERE, why, offered=False)
        zone = max(prices, key=lambda name: (prices[name], name))
        return Quote(prices[zone], API, as_of, _SPOT_WHERE, offered=True, note=f"in {zone}, the dearest zone now")


def _is_of(product: Product, thing: Thing) -> bool:
    attributes = (product.get("product") or {}).get("attributes") or {}
    if thing.kind == _pricing.MACHINE:
        return (
            attributes.get("instanceType") == thing.name
            and attributes.get("marketoption", "OnDemand") == "OnDemand"
            and attributes.get("operation", "RunInstances") == "RunInstances"
        )
    found = _USAGE_TYPE.fullmatch(str(attributes.get("usagetype") or ""))
    return found is not None and found["what"] == _USAGE_TYPES[thing.kind] and found["place"] not in _NO_PLACES


def _moment(text: str) -> float:
    """Read when a term takes effect. What cannot be read was always so."""
    try:
        return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0
