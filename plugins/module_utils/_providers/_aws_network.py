# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Which subnets a target uses, and where its machine types are offered. Read only when something is to be made."""

from __future__ import annotations

import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Wanted
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_session import AwsSession
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_settings import AwsSettings


class Network:
    """The subnets of one target: the given ones, or those of the given or the default VPC."""

    def __init__(self, session: AwsSession, settings: AwsSettings) -> None:
        self.session = session
        self.settings = settings
        self._subnets: list[dict[str, t.Any]] | None = None
        self._offered: dict[str, set[str]] = {}

    def zone_problems(self, needs_load_balancer: bool) -> list[str]:
        subnets = self.subnets()
        zones = {subnet["AvailabilityZone"] for subnet in subnets}
        if needs_load_balancer and len(zones) < 2:
            where = ", ".join(sorted(zones)) or "none"
            return [f"a load balancer needs subnets in at least two availability zones; found: {where}. Set subnet_ids"]
        return []

    def offer_problems(self, wanted: t.Sequence[Wanted]) -> list[str]:
        zones = {subnet["AvailabilityZone"] for subnet in self.subnets()}
        types = sorted({item.machine_name for item in wanted})
        if not types:
            return []
        offers = self.session.pages(
            "ec2",
            "describe_instance_type_offerings",
            "read where the machine types are offered",
            "InstanceTypeOfferings",
            LocationType="availability-zone",
            Filters=[{"Name": "instance-type", "Values": types}],
        )
        self._offered = {kind: set() for kind in types}
        for offer in offers:
            self._offered[offer["InstanceType"]].add(offer["Location"])
        return [self._not_offered(item, zones) for item in wanted if not self._offered[item.machine_name] & zones]

    def _not_offered(self, item: Wanted, zones: t.Iterable[str]) -> str:
        elsewhere = sorted(self._offered[item.machine_name])
        hint = (
            f", but in {', '.join(elsewhere)}: add a subnet there"
            if elsewhere
            else f" nor anywhere else in {self.settings.region}: choose another GPU tier or region"
        )
        return f"{item.name}: {item.machine_name} is not offered in {', '.join(sorted(zones))}{hint}"

    def subnets(self) -> list[dict[str, t.Any]]:
        """Return the subnets, sorted by id. Raises ProviderError if there are none, or of several VPCs."""
        if self._subnets is not None:
            return self._subnets
        settings = self.settings
        request: dict[str, t.Any] = {"Filters": [{"Name": "default-for-az", "Values": ["true"]}]}
        if settings.subnet_ids:
            request = {"SubnetIds": list(settings.subnet_ids)}
        elif settings.vpc_id:
            request = {"Filters": [{"Name": "vpc-id", "Values": [settings.vpc_id]}]}
        subnets = self.session.pages("ec2", "describe_subnets", "read the subnets", "Subnets", **request)
        vpcs = {subnet["VpcId"] for subnet in subnets}
        if not vpcs and not (settings.subnet_ids or settings.vpc_id):
            raise ProviderError(f"{self.settings.region} has no default VPC with subnets; set vpc_id or subnet_ids")
        if len(vpcs) != 1 or (settings.vpc_id and vpcs != {settings.vpc_id}):
            raise ProviderError(f"the subnets must all lie in one VPC; found: {', '.join(sorted(vpcs)) or 'none'}")
        self._subnets = sorted(subnets, key=lambda subnet: str(subnet["SubnetId"]))
        return self._subnets

    def vpc_id(self) -> str:
        return str(self.subnets()[0]["VpcId"])

    def one_subnet_per_zone(self) -> list[str]:
        by_zone: dict[str, str] = {}
        for subnet in self.subnets():
            by_zone.setdefault(subnet["AvailabilityZone"], subnet["SubnetId"])
        return sorted(by_zone.values())

    def subnets_offering(self, item: Wanted) -> str:
        """Return the subnets whose zone offers the machine type."""
        if item.machine_name not in self._offered:
            self.offer_problems([item])
        zones = self._offered[item.machine_name]
        return ",".join(subnet["SubnetId"] for subnet in self.subnets() if subnet["AvailabilityZone"] in zones)
