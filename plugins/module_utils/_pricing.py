# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What a deployment is made of, and what that costs. Pure: no cloud, no clock, no file.

A thing is what a cloud sells under one price: a machine type in a region, a GiB of disk for a month, an hour of a load
balancer. A part is so much of a thing. The parts of a NIM and of a target follow from how this collection deploys them;
the prices of things come from elsewhere, as quotes. Sums are made of Decimals.

A price that is not known is None, with the reason, and never 0. A sum of which only a part is known says so.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t
from decimal import Decimal

from ansible_collections.budgetguard.techops.plugins.module_utils._gpu import Machine

HOURS_PER_MONTH = Decimal(730)
"""The month of AWS's and Google's own price lists: 8760 hours a year, divided by 12."""

WEEKS_PER_MONTH = Decimal(52) / Decimal(12)

COLD_START_MINUTES = 30
"""Machine, image and model. It is the plan of docs/deploy.md, not a measurement."""

TAIL_MINUTES: t.Mapping[str, int] = {"aws": 15, "azure": 10, "gcp": 10}
"""How long a machine is paid after a stop, until the autoscaler takes it away: docs/deploy.md#what-it-costs."""

MACHINE = "machine"
SPOT_MACHINE = "spot_machine"
GP3_MONTH = "gp3_gib_month"
GP3_THROUGHPUT_MONTH = "gp3_mibps_month"
ALB_HOUR = "load_balancer_hour"
IPV4_HOUR = "public_ipv4_hour"
VAULT_MONTH = "vault_entry_month"
FARGATE_CPU_HOUR = "fargate_arm_vcpu_hour"
FARGATE_MEMORY_HOUR = "fargate_arm_gib_hour"
DISK_MONTH = "managed_disk_month"
CLUSTER_HOUR = "cluster_hour"
BALANCED_MONTH = "balanced_disk_gib_month"
HYPERDISK_MONTH = "hyperdisk_balanced_gib_month"
TRANSFER_OUT = "transfer_out_gib"

API, LIST, GIVEN = "api", "list", "given"
"""Where a price comes from: a provider's price API, the list in this collection, or the studio itself."""

_GIB_PER_GP3 = 125
"""MiB a second that come with a gp3 volume; more is paid (docs.aws.amazon.com/ebs general-purpose)."""

_GP3_THROUGHPUT = 500
_GATEWAY_CPU, _GATEWAY_MEMORY = Decimal("0.25"), Decimal("0.5")
_AZURE_SYSTEM_DISKS = ((7, 128), (15, 256), (63, 512))
"""AKS gives a start disk of so many GiB to a machine of up to so many virtual CPUs; beyond that, 1024 GiB."""

_PREMIUM = ((4, "P1"), (8, "P2"), (16, "P3"), (32, "P4"), (64, "P6"), (128, "P10"), (256, "P15"), (512, "P20"))
_STANDARD = ((4, "E1"), (8, "E2"), (16, "E3"), (32, "E4"), (64, "E6"), (128, "E10"), (256, "E15"), (512, "E20"))
"""Azure bills a managed disk as the next larger of its sizes, in GiB (learn.microsoft.com/azure/virtual-machines
/disks-types)."""

_AZURE_GPU_DISK_GIB = 256
_GCP_GPU_DISK_GIB = 200
_GCP_SYSTEM_DISK_GIB = 50
_SMALLEST_VOLUME_GIB = 10


class PricingError(ValueError):
    """What should be priced cannot be as described. The text says why."""


@dataclasses.dataclass(frozen=True)
class Thing:
    """What is sold under one price. ``name`` tells those of one kind apart, such as a machine type."""

    provider: str
    region: str
    kind: str
    name: str = ""

    @property
    def key(self) -> str:
        """A text that no other thing has."""
        return f"{self.provider}/{self.region}/{self.kind}/{self.name}"

    @property
    def is_monthly(self) -> bool:
        """Whether the price is for a month. It is for an hour otherwise, or for a GiB."""
        return self.kind.endswith("_month")


@dataclasses.dataclass(frozen=True)
class Quote:
    """A price, or why there is none.

    ``as_of`` is when it was the price, in UTC. ``where`` is its source in words. ``offered`` is False where the
    provider itself says that it does not sell this there. ``passing`` marks what may be known another time, such as
    after an outage. ``tiers`` are (from how many, price for each beyond), for what gets cheaper by amount.
    """

    amount: Decimal | None
    source: str | None = None
    as_of: str | None = None
    where: str = ""
    why: str | None = None
    offered: bool | None = None
    passing: bool = False
    tiers: tuple[tuple[Decimal, Decimal], ...] = ()
    note: str | None = None


@dataclasses.dataclass(frozen=True)
class Part:
    """So much of a thing. ``why`` stands in for ``thing`` where what it is made of is not known here."""

    what: str
    quantity: Decimal
    thing: Thing | None
    note: str | None = None
    why: str | None = None


@dataclasses.dataclass(frozen=True)
class Target:
    """A target, as far as prices depend on it.

    ``options`` is the inventory's ``nim_target``. ``gateway`` is whether its gateway asks for a login, which on ECS
    makes it a service of its own.
    """

    name: str
    provider: str
    region: str
    options: t.Mapping[str, t.Any]
    gateway: bool = False
    local_hourly: Decimal | None = None


@dataclasses.dataclass(frozen=True)
class Nim:
    """A NIM, as far as its price depends on it. ``provisioning`` is ``on-demand``, ``spot`` or ``flex-start``."""

    node: str
    gpu_tier: str
    machine: Machine | None
    replicas: int = 1
    disk_gib: int = 100
    provisioning: str = "on-demand"


@dataclasses.dataclass(frozen=True)
class Line:
    """A part with its price, per hour and per month. None where it is not known."""

    part: Part
    quote: Quote
    hourly: Decimal | None

    @property
    def monthly(self) -> Decimal | None:
        """The price for a month of all hours."""
        return None if self.hourly is None else self.hourly * HOURS_PER_MONTH


@dataclasses.dataclass(frozen=True)
class Sum:
    """Lines added up. ``at_least`` is what is known of it; ``hourly`` is None unless all of it is."""

    lines: tuple[Line, ...]

    @property
    def at_least(self) -> Decimal:
        """The known part, per hour."""
        return sum((line.hourly for line in self.lines if line.hourly is not None), Decimal(0))

    @property
    def hourly(self) -> Decimal | None:
        """All of it per hour, None if anything is not known."""
        return self.at_least if not self.unknown else None

    @property
    def unknown(self) -> tuple[str, ...]:
        """What is not known, and why, in sentences without a period."""
        return tuple(
            f"{line.part.what}: {line.part.why or line.quote.why or 'no reason was given'}"
            for line in self.lines
            if line.hourly is None
        )

    @property
    def as_of(self) -> str | None:
        """When the oldest of its prices was one."""
        return min(
            (line.quote.as_of for line in self.lines if line.quote.as_of and line.hourly is not None), default=None
        )

    @property
    def source(self) -> str | None:
        """Where its prices come from; the less certain one counts where there are several."""
        sources = {line.quote.source for line in self.lines if line.hourly is not None}
        return next((source for source in (LIST, GIVEN, API) if source in sources), None)

    @property
    def passing(self) -> bool:
        """Whether what is not known may be known another time."""
        return any(line.quote.passing for line in self.lines if line.hourly is None)


# ---- what things are made of -----------------------------------------------------------------------------------------


def parts_of_nim(target: Target, nim: Nim) -> list[Part]:
    """Return what runs, and is paid by the hour, while a NIM is on.

    Raises PricingError where nothing can be known, with the reason.
    """
    if target.provider == "nvidia":
        raise PricingError("NVIDIA has no public price API for Cloud Functions and hosted models; see your agreement")
    if target.provider == "local":
        if target.local_hourly is None:
            raise PricingError("what an hour of this machine costs is only known to you: set local_hourly_usd")
        return []
    if nim.machine is None:
        raise PricingError("its machine type is not known")
    if nim.provisioning == "flex-start":
        raise PricingError("prices of Flex-start are not read by this collection")
    makers: dict[str, t.Callable[[Target, Nim, Machine], list[Part]]] = {
        "aws": _aws_nim,
        "azure": _azure_nim,
        "gcp": _gcp_nim,
    }
    return makers[target.provider](target, nim, nim.machine)


def parts_of_target(target: Target, nims: t.Sequence[Nim]) -> list[Part]:
    """Return what is paid day and night while all NIMs are stopped. ``nims`` are those that exist on the target."""
    makers: dict[str, t.Callable[[Target, t.Sequence[Nim]], list[Part]]] = {
        "aws": _aws_target,
        "azure": _azure_target,
        "gcp": _gcp_target,
    }
    make = makers.get(target.provider)
    return make(target, nims) if make else []


def transfer_of(target: Target) -> Thing | None:
    """Return what data that leaves the cloud is sold as. None where there is nothing of the kind."""
    if target.provider not in TAIL_MINUTES:
        return None
    return Thing(target.provider, target.region, TRANSFER_OUT)


def machine_thing(target: Target, machine: str, provisioning: str = "on-demand") -> Thing:
    """Return the thing that a machine type is in a target's region."""
    kind = SPOT_MACHINE if provisioning == "spot" else MACHINE
    return Thing(target.provider, target.region, kind, machine)


def _aws_nim(target: Target, nim: Nim, machine: Machine) -> list[Part]:
    copies = Decimal(nim.replicas)
    size = max(200, nim.disk_gib + 100)
    parts = [
        Part("machine", copies, machine_thing(target, machine.name, nim.provisioning)),
        Part("disk of the machine", copies * size, Thing("aws", target.region, GP3_MONTH), f"{size} GiB of gp3 each"),
        Part(
            "throughput of the disk",
            copies * (_GP3_THROUGHPUT - _GIB_PER_GP3),
            Thing("aws", target.region, GP3_THROUGHPUT_MONTH),
            f"{_GP3_THROUGHPUT} MiB/s, of which {_GIB_PER_GP3} come with the disk",
        ),
    ]
    if not target.options.get("subnet_ids"):
        note = "the subnets of the default VPC give each machine one"
        parts.append(Part("public address", copies, Thing("aws", target.region, IPV4_HOUR), note))
    return parts


def _aws_target(target: Target, nims: t.Sequence[Nim]) -> list[Part]:
    region, options = target.region, target.options
    if not nims and not target.gateway:
        return []
    addresses = Decimal(0)
    parts = [
        Part("load balancer", Decimal(1), Thing("aws", region, ALB_HOUR), "without the traffic through it"),
        Part("secret", Decimal(1), Thing("aws", region, VAULT_MONTH)),
    ]
    if options.get("scheme") == "public":
        addresses += 2
    if target.gateway:
        copies = Decimal(int(options.get("gateway_replicas") or 1))
        parts += [
            Part("gateway, processor", copies * _GATEWAY_CPU, Thing("aws", region, FARGATE_CPU_HOUR), "Fargate, ARM64"),
            Part("gateway, memory", copies * _GATEWAY_MEMORY, Thing("aws", region, FARGATE_MEMORY_HOUR)),
        ]
        addresses += 0 if options.get("subnet_ids") else copies
    if addresses:
        note = "one in each of two zones for a public load balancer, one for each gateway in a public subnet"
        parts.append(Part("public addresses", addresses, Thing("aws", region, IPV4_HOUR), note))
    return parts


def _azure_nim(target: Target, nim: Nim, machine: Machine) -> list[Part]:
    copies = Decimal(nim.replicas)
    parts = [Part("machine", copies, machine_thing(target, machine.name, nim.provisioning))]
    if machine.local_disk_gib < _AZURE_GPU_DISK_GIB:
        note = "AKS takes the machine's own disk where it is large enough; here it is not"
        parts.append(Part("disk of the machine", copies, _azure_disk(target, _AZURE_GPU_DISK_GIB, _PREMIUM), note))
    return parts


def _azure_target(target: Target, nims: t.Sequence[Nim]) -> list[Part]:
    options = target.options
    machine = str(options.get("system_machine") or "Standard_D4as_v5")
    count = Decimal(int(options.get("system_nodes") or 2))
    addresses = 2 if options.get("scheme") == "public" else 1
    parts = [
        Part("machines of the system", count, machine_thing(target, machine), machine),
        Part("disks of the system", count, _azure_disk(target, _azure_system_disk(machine), _PREMIUM)),
        Part("load balancer", Decimal(1), Thing("azure", target.region, ALB_HOUR), "without the traffic through it"),
        Part(
            "public addresses", Decimal(addresses), Thing("azure", target.region, IPV4_HOUR), "the outgoing one first"
        ),
        *(_volume(target, nim, lambda size: _azure_disk(target, size, _STANDARD)) for nim in nims),
    ]
    if options.get("stop_cluster"):
        note = "not while stop_cluster has switched the cluster off"
        parts[0] = dataclasses.replace(parts[0], note=f"{machine}; {note}")
    return parts


def _azure_disk(target: Target, size: int, sizes: t.Sequence[tuple[int, str]]) -> Thing | None:
    name = next((name for limit, name in sizes if size <= limit), None)
    return None if name is None else Thing("azure", target.region, DISK_MONTH, name)


def _azure_system_disk(machine: str) -> int:
    digits = re.search(r"_[A-Z]+(\d+)", machine)
    vcpus = int(digits[1]) if digits else 4
    return next((size for limit, size in _AZURE_SYSTEM_DISKS if vcpus <= limit), 1024)


def _gcp_nim(target: Target, nim: Nim, machine: Machine) -> list[Part]:
    copies = Decimal(nim.replicas)
    kind = HYPERDISK_MONTH if machine.name.startswith("g4-") else BALANCED_MONTH
    parts = [
        Part("machine", copies, machine_thing(target, machine.name, nim.provisioning)),
        Part(
            "disk of the machine",
            copies * _GCP_GPU_DISK_GIB,
            Thing("gcp", target.region, kind),
            f"{_GCP_GPU_DISK_GIB} GiB each",
        ),
    ]
    if not target.options.get("private_nodes"):
        parts.append(Part("public address", copies, Thing("gcp", target.region, IPV4_HOUR)))
    return parts


def _gcp_target(target: Target, nims: t.Sequence[Nim]) -> list[Part]:
    region, options = target.region, target.options
    location = str(options.get("location") or "")
    zonal = location.count("-") == 2
    machine = str(options.get("system_machine") or "e2-standard-4")
    per_zone = options.get("system_nodes")
    count = Decimal(int(per_zone or (2 if zonal else 1)) * (1 if zonal else 3))
    credit = "Google's credit pays for one cluster in a zone per billing account" if zonal else None
    parts = [
        Part("cluster", Decimal(1), Thing("gcp", region, CLUSTER_HOUR, "zonal" if zonal else "regional"), credit),
        Part("machines of the system", count, machine_thing(target, machine), machine),
        Part("disks of the system", count * _GCP_SYSTEM_DISK_GIB, Thing("gcp", region, BALANCED_MONTH)),
        Part("load balancer", Decimal(1), Thing("gcp", region, ALB_HOUR), "a forwarding rule, without the traffic"),
    ]
    if not options.get("private_nodes"):
        parts.append(Part("public addresses", count, Thing("gcp", region, IPV4_HOUR), "of the system's machines"))
    balanced = Thing("gcp", region, BALANCED_MONTH)
    return parts + [_volume(target, nim, lambda _size: balanced, by_gib=True) for nim in nims]


def _volume(target: Target, nim: Nim, thing_of: t.Callable[[int], Thing | None], by_gib: bool = False) -> Part:
    """Return the disk on which a NIM keeps its model. It is there from the NIM's first start on."""
    size = max(nim.disk_gib, _SMALLEST_VOLUME_GIB)
    what = f"model of {nim.node}"
    note = f"{size} GiB, from its first start on"
    if target.options.get("storage_class"):
        return Part(what, Decimal(1), None, note, "what a disk of your storage_class costs is not known here")
    return Part(what, Decimal(size if by_gib else 1), thing_of(size), note, f"no disk of {size} GiB is known here")


# ---- sums ------------------------------------------------------------------------------------------------------------


def things_of(parts: t.Iterable[Part]) -> set[Thing]:
    """Return what prices are needed for."""
    return {part.thing for part in parts if part.thing is not None}


def priced(parts: t.Iterable[Part], quotes: t.Mapping[Thing, Quote]) -> Sum:
    """Return parts with their prices."""
    return Sum(tuple(_line(part, quotes) for part in parts))


def _line(part: Part, quotes: t.Mapping[Thing, Quote]) -> Line:
    thing = part.thing
    if thing is None:
        return Line(part, Quote(None, why=part.why), None)
    quote = quotes.get(thing) or Quote(None, why="nobody was asked")
    part = dataclasses.replace(part, why=None)
    if quote.amount is None:
        return Line(part, quote, None)
    each = quote.amount / HOURS_PER_MONTH if thing.is_monthly else quote.amount
    return Line(part, quote, part.quantity * each)


def given(hourly: Decimal, as_of: str) -> Sum:
    """Return the studio's own figure as a sum."""
    part = Part("machine", Decimal(1), None)
    return Sum((Line(part, Quote(hourly, GIVEN, as_of, "local_hourly_usd"), hourly),))


def main_line(found: Sum) -> Line | None:
    """Return the line of the machine, without which an hourly price tells nothing."""
    return next((line for line in found.lines if line.part.what == "machine"), None)


def start_cost(provider: str, hourly: Decimal) -> Decimal | None:
    """Return what one start and stop costs beside the work between them: minutes that are paid and serve nobody.

    It is an estimate, of planned minutes. None where nothing is rented.
    """
    tail = TAIL_MINUTES.get(provider)
    return None if tail is None else hourly * (COLD_START_MINUTES + tail) / Decimal(60)


def number(value: Decimal | None, places: int = 6) -> float | None:
    """Return a sum as it is told: a number with so many digits behind the point at most."""
    return None if value is None else float(round(value, places))
