# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""How a GKE target is to be set up. How it is reached is a matter of the session."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._gpu import Machine

ON_DEMAND = "on-demand"
SPOT = "spot"
FLEX_START = "flex-start"
"""The ways in which Google rents machines."""

_ZONE = re.compile(r"[a-z]+-[a-z]+\d+-[a-z]")
_REGION = re.compile(r"[a-z]+-[a-z]+\d+")
_CLUSTER_NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?")

_ZONES_PER_REGION = 3
"""GKE spreads a regional cluster over three zones where nobody says otherwise."""


@dataclasses.dataclass(frozen=True)
class GcpSettings:
    """How a cluster and its machines are to be set up. Raises ValueError for names that Google could not have."""

    location: str
    zone: str | None = None
    cluster: str = "budgetguard"
    network: str | None = None
    subnetwork: str | None = None
    private_nodes: bool = False
    dns_endpoint: bool = False
    node_service_account: str | None = None
    system_machine: str = "e2-standard-4"
    system_nodes: int | None = None
    spot: str = "never"
    flex_start: bool = False

    def __post_init__(self) -> None:
        problems = [*self._name_problems(), *self._zone_problems()]
        if self.system_nodes is not None and self.system_nodes < 1:
            problems.append(f"system_nodes is {self.system_nodes}; the gateway needs at least 1 machine")
        if problems:
            raise ValueError("\n".join(problems))

    def _name_problems(self) -> list[str]:
        if _CLUSTER_NAME.fullmatch(self.cluster):
            return []
        rule = "1 to 40 lower-case letters, digits and hyphens, first a letter, last no hyphen"
        return [f"cluster {self.cluster!r} is no name for a GKE cluster: {rule}"]

    def _zone_problems(self) -> list[str]:
        if not _ZONE.fullmatch(self.location) and not _REGION.fullmatch(self.location):
            return [
                f"location {self.location!r} is neither a zone such as us-central1-a nor a region such as us-central1"
            ]
        if self.zone is None:
            return []
        if not _ZONE.fullmatch(self.zone):
            return [f"zone {self.zone!r} is not a zone such as us-central1-a"]
        if self.zone.rpartition("-")[0] != self.region:
            return [f"zone {self.zone} is not in the region of location {self.location}"]
        if not self.is_regional and self.zone != self.location:
            return [f"zone {self.zone} is not the zone of the cluster, {self.location}; leave zone out"]
        return []

    @classmethod
    def from_options(cls, options: t.Mapping[str, t.Any]) -> GcpSettings:
        """Take the settings out of a module's options; what is not set keeps its default."""
        fields = {field.name for field in dataclasses.fields(cls)}
        return cls(**{key: value for key, value in options.items() if key in fields and value is not None})

    @property
    def is_regional(self) -> bool:
        """Whether the cluster has control planes in several zones."""
        return _REGION.fullmatch(self.location) is not None

    @property
    def region(self) -> str:
        """The region, also where the cluster is in one zone."""
        return self.location if self.is_regional else self.location.rpartition("-")[0]

    @property
    def gpu_zone(self) -> str:
        """The one zone of the GPU machines. Raises ValueError where it is not known."""
        if self.zone is None and self.is_regional:
            raise ValueError(
                f"location {self.location} is a region; set zone to the zone whose GPU machines should be used, "
                "because neither every GPU nor a model's disk is in every zone"
            )
        return self.zone or self.location

    @property
    def system_nodes_per_zone(self) -> int:
        """Machines without a GPU in each zone of the cluster: together at least 2 where nothing else is asked for."""
        if self.system_nodes is not None:
            return self.system_nodes
        return 1 if self.is_regional else 2

    @property
    def system_nodes_in_all(self) -> int:
        """Machines without a GPU that a new cluster starts with."""
        return self.system_nodes_per_zone * (_ZONES_PER_REGION if self.is_regional else 1)

    def provisioning(self, machine: Machine) -> str:
        """Return how a machine type is to be rented. Raises ValueError where the options leave no way."""
        other = FLEX_START if self.flex_start else SPOT
        if self.spot == "always":
            return other
        if not machine.spot_only:
            return ON_DEMAND
        if self.spot == "never" and not self.flex_start:
            raise ValueError(
                f"Google does not rent {machine.name} on demand; set spot to where_needed, set flex_start to true, "
                "or choose another machine or gpu_tier"
            )
        return other
