# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Google's Cloud Billing Catalog. A machine is not sold as one: processors, memory, GPUs and disks are.

https://cloud.google.com/billing/docs/reference/rest/v1/services.skus/list. The catalogue knows no filter, so a service
is read as a whole, once per look-up. What a SKU is stands in its description alone; regions are in ``serviceRegions``.
A description must begin as expected: those of reservations, commitments and the Dynamic Workload Scheduler say more.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import re
import time
import typing as t
from decimal import Decimal, InvalidOperation
from urllib.parse import quote

from ansible_collections.budgetguard.techops.plugins.module_utils import _gpu, _pricing
from ansible_collections.budgetguard.techops.plugins.module_utils._price_book import iso
from ansible_collections.budgetguard.techops.plugins.module_utils._pricing import API, Quote, Thing
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._price_api import (
    MOST_PAGES,
    JsonApi,
    Row,
    picked,
    unread,
)

ENDPOINT = "https://cloudbilling.googleapis.com"
ENDPOINT_VARIABLE = "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBILLING"
PAGE_SIZE = 5000
"""The most that the catalogue gives at once."""

COMPUTE_ENGINE = "6F81-5844-456A"
KUBERNETES_ENGINE = "CCD8-9BF1-090E"

ON_DEMAND, PREEMPTIBLE = "OnDemand", "Preemptible"

_WHERE = "Google Cloud Billing Catalog"

_FAMILIES = {"n1": "N1 Predefined", "e2": "E2", "g2": "G2", "g4": "G4", "a2": "A2", "a3": "A3"}
"""How the catalogue calls the families of machines."""

_GPUS = {
    "nvidia-tesla-t4": "Nvidia Tesla T4 GPU",
    "nvidia-l4": "Nvidia L4 GPU",
    "nvidia-tesla-a100": "Nvidia Tesla A100 GPU",
    "nvidia-a100-80gb": "Nvidia Tesla A100 80GB GPU",
    "nvidia-h100-80gb": "Nvidia H100 80GB GPU",
    "nvidia-rtx-pro-6000": "RTX 6000 96GB",
}
"""How the catalogue calls the GPUs."""

_HOUR, _GIB_HOUR, _GIB_MONTH, _GIB = "h", "GiBy.h", "GiBy.mo", "GiBy"


@dataclasses.dataclass(frozen=True)
class _Wanted:
    """A SKU that is looked for: in words, by its whole description, its unit and how it is used."""

    what: str
    pattern: str
    unit: str
    usage: str = ON_DEMAND


_SIMPLE = {
    _pricing.BALANCED_MONTH: _Wanted("GiB of a balanced disk", r"Balanced PD Capacity( in .+)?", _GIB_MONTH),
    _pricing.HYPERDISK_MONTH: _Wanted("GiB of a Hyperdisk", r"Hyperdisk Balanced Capacity( in .+)?", _GIB_MONTH),
    _pricing.ALB_HOUR: _Wanted(
        "forwarding rule", r"Network Load Balancing: Forwarding Rule Minimum Service Charge( in .+)?", _HOUR
    ),
    _pricing.IPV4_HOUR: _Wanted("public address", r"External IP Charge on a Standard VM( in .+)?", _HOUR),
    _pricing.TRANSFER_OUT: _Wanted(
        "data transfer to the same continent",
        r"Network Internet (?:Egress|Data Transfer Out) from (.+) to \1",
        _GIB,
    ),
}
"""Kind -> what it is sold as."""

_CLUSTERS = {"zonal": r"Zonal Kubernetes Clusters?", "regional": r"Regional Kubernetes Clusters?"}
_GIB_PER_VCPU = {"n1-standard": Decimal("3.75"), "e2-standard": Decimal(4)}


@dataclasses.dataclass(frozen=True)
class Sku:
    """One row of the catalogue. ``tiers`` are (from how many, price for each beyond)."""

    description: str
    regions: frozenset[str]
    usage: str
    unit: str
    since: float
    tiers: tuple[tuple[Decimal, Decimal], ...]

    def is_in(self, region: str) -> bool:
        """Whether it is sold in a region."""
        return region in self.regions or "global" in self.regions


class GcpPrices:
    """Asks for prices in one currency, with an API key or a token. ``token`` is asked for one when it is needed."""

    def __init__(
        self,
        currency: str = "USD",
        *,
        now: float,
        api_key: str | None = None,
        token: t.Callable[[], str] | None = None,
        sleep: t.Callable[[float], None] = time.sleep,
    ) -> None:
        self._currency = currency
        self._now = now
        self._key = api_key
        self._token = token
        self._base = (os.environ.get(ENDPOINT_VARIABLE) or ENDPOINT).rstrip("/")
        self._api = JsonApi(sleep)

    def quotes(self, things: t.Sequence[Thing]) -> dict[Thing, Quote]:
        """Return what the catalogue says about each thing. Each service is read once, whatever the number of things."""
        found: dict[Thing, Quote] = {}
        for service in (COMPUTE_ENGINE, KUBERNETES_ENGINE):
            mine = [thing for thing in things if _service_of(thing) == service]
            if not mine:
                continue
            try:
                skus = self._skus(service)
            except ProviderError as exc:
                found.update(dict.fromkeys(mine, unread(exc)))
            else:
                found.update({thing: self._quote(thing, skus) for thing in mine})
        return found

    def _headers(self) -> dict[str, str]:
        if self._key:
            # In a header, because addresses are written down on the way.
            return {"X-Goog-Api-Key": self._key}
        if self._token is None:
            raise ProviderError("cannot read Google's prices: they want an API key (gcp_api_key) or credentials")
        return {"Authorization": f"Bearer {self._token()}"}

    def _skus(self, service: str) -> list[Sku]:
        doing = "read Google's prices (Cloud Billing Catalog)"
        headers = self._headers()
        skus: list[Sku] = []
        token = ""
        for _page in range(MOST_PAGES):
            url = (
                f"{self._base}/v1/services/{service}/skus?currencyCode={quote(self._currency)}&pageSize={PAGE_SIZE}"
                f"{f'&pageToken={quote(token)}' if token else ''}"
            )
            page = self._api.get(doing, url, headers)
            skus += [sku for item in page.get("skus") or [] for sku in self._read(item)]
            token = str(page.get("nextPageToken") or "")
            if not token:
                return skus
        raise ProviderError(f"cannot {doing}: it has more than {MOST_PAGES} pages")

    def _read(self, item: t.Mapping[str, t.Any]) -> t.Iterator[Sku]:
        """Yield a SKU as often as it has prices: one for each date from which one holds."""
        for info in item.get("pricingInfo") or ():
            try:
                expression = info["pricingExpression"]
                tiers = tuple(sorted(self._tier(rate) for rate in expression["tieredRates"]))
                yield Sku(
                    str(item["description"]),
                    frozenset(map(str, item.get("serviceRegions") or ())),
                    str(item["category"]["usageType"]),
                    str(expression["usageUnit"]),
                    _moment(str(info["effectiveTime"])),
                    tiers,
                )
            except (KeyError, TypeError, ValueError, InvalidOperation):
                continue

    def _tier(self, rate: t.Mapping[str, t.Any]) -> tuple[Decimal, Decimal]:
        price = rate["unitPrice"]
        if price["currencyCode"] != self._currency:
            raise ValueError(f"it is in {price['currencyCode']}")
        amount = Decimal(str(price.get("units") or 0)) + Decimal(int(price.get("nanos") or 0)) / 10**9
        return Decimal(str(rate.get("startUsageAmount") or 0)), amount

    # ---- SKUs of things ----------------------------------------------------------------------------------------------

    def _quote(self, thing: Thing, skus: t.Sequence[Sku]) -> Quote:
        if thing.kind in (_pricing.MACHINE, _pricing.SPOT_MACHINE):
            return self._machine(thing, skus)
        if thing.kind == _pricing.CLUSTER_HOUR:
            return self._one(skus, thing.region, _Wanted("cluster fee", _CLUSTERS[thing.name], _HOUR))
        if thing.kind not in _SIMPLE:
            return Quote(None, why=f"Google is not asked for {thing.kind}")
        return self._one(skus, thing.region, _SIMPLE[thing.kind])

    def _one(self, skus: t.Iterable[Sku], region: str, wanted: _Wanted) -> Quote:
        expression = re.compile(wanted.pattern, re.IGNORECASE)
        alike = [
            sku
            for sku in skus
            if sku.usage == wanted.usage and sku.unit == wanted.unit and expression.fullmatch(sku.description)
        ]
        rows = [
            Row(_paid(sku), sku.since, sku.tiers if wanted.unit == _GIB else ()) for sku in alike if sku.is_in(region)
        ]
        # What is sold elsewhere under this name is not sold here. What is sold nowhere is called differently.
        return picked(rows, self._now, iso(self._now), _WHERE, wanted.what, not_sold=bool(alike))

    def _machine(self, thing: Thing, skus: t.Sequence[Sku]) -> Quote:
        try:
            components = _components(thing.name, spot=thing.kind == _pricing.SPOT_MACHINE)
        except _pricing.PricingError as exc:
            return Quote(None, why=str(exc))
        total, told = Decimal(0), []
        for wanted, quantity in components:
            found = self._one(skus, thing.region, wanted)
            if found.amount is None:
                return dataclasses.replace(found, why=f"{thing.name} needs {wanted.what}: {found.why}")
            each = found.amount / _pricing.HOURS_PER_MONTH if wanted.unit == _GIB_MONTH else found.amount
            total += quantity * each
            told.append(f"{quantity.normalize():f} x {wanted.what}")
        return Quote(total, API, iso(self._now), _WHERE, offered=True, note=", ".join(told))


def _service_of(thing: Thing) -> str:
    return KUBERNETES_ENGINE if thing.kind == _pricing.CLUSTER_HOUR else COMPUTE_ENGINE


def _components(machine: str, spot: bool) -> list[tuple[_Wanted, Decimal]]:
    """Return what a machine is sold as, each with how much of it. Raises PricingError."""
    family = machine.partition("-")[0]
    if family not in _FAMILIES:
        raise _pricing.PricingError(f"how Google sells {machine} is not known here")
    vcpus, memory, gpus, accelerator, disk = _size_of(machine)
    usage = PREEMPTIBLE if spot else ON_DEMAND
    name = re.escape(f"{'Spot Preemptible ' if spot else ''}{_FAMILIES[family]} Instance")
    attached = "attached to Spot Preemptible VMs running in" if spot else "running in"
    local = r"SSD backed Local Storage" + (" attached to Spot Preemptible VMs" if spot else "")
    called = _FAMILIES[family]
    parts = [
        (_Wanted(f"{called} processor", rf"{name} Core running in .+", _HOUR, usage), Decimal(vcpus)),
        (_Wanted(f"GiB of {called} memory", rf"{name} Ram running in .+", _GIB_HOUR, usage), memory),
    ]
    if gpus:
        gpu = _GPUS[accelerator]
        parts.append((_Wanted(gpu, rf"{re.escape(gpu)} {attached} .+", _HOUR, usage), Decimal(gpus)))
    if disk:
        parts.append((_Wanted("GiB of local disk", rf"{local}( in .+)?", _GIB_MONTH, usage), Decimal(disk)))
    return parts


def _size_of(machine: str) -> tuple[int, Decimal, int, str, int]:
    """Return processors, memory, GPUs, their name and local disk of a machine type."""
    try:
        row = _gpu.machine("gcp", machine)
    except _gpu.UnknownMachineError:
        series, _hyphen, count = machine.rpartition("-")
        if series not in _GIB_PER_VCPU or not count.isdigit():
            raise _pricing.PricingError(f"how much memory {machine} has is not known here") from None
        return int(count), int(count) * _GIB_PER_VCPU[series], 0, "", 0
    return row.vcpus, Decimal(row.memory_gib), row.gpus, row.accelerator, row.local_disk_gib


def _paid(sku: Sku) -> Decimal:
    """Return the price of the first tier that is not free."""
    return next((amount for _start, amount in sku.tiers if amount), Decimal(0))


def _moment(text: str) -> float:
    # Google writes up to nine digits behind the point, which Python before 3.11 does not read.
    return datetime.datetime.fromisoformat(re.sub(r"\.\d+", "", text).replace("Z", "+00:00")).timestamp()
