# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""How an AKS cluster is to be set up. How Azure is reached is a matter of the session."""

from __future__ import annotations

import dataclasses
import re
import typing as t

_CLUSTER_NAME = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$")
_GROUP_NAME = re.compile(r"^[\w().-]{0,89}[\w()-]$")
_SUBNET_ID = re.compile(
    r"^/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.Network/virtualNetworks/[^/]+/subnets/[^/]+$",
    re.IGNORECASE,
)

MOST_NODES = 1000
"""More machines than this AKS does not take in one pool."""


@dataclasses.dataclass(frozen=True)
class AzureSettings:
    """One cluster. All but the names are used when the cluster is made, and not compared later.

    ``region`` is None where the cluster is there already. ``stop_cluster`` switches the whole cluster off with its last
    NIM.
    """

    resource_group: str
    cluster: str = "budgetguard"
    region: str | None = None
    system_machine: str = "Standard_D4as_v5"
    system_nodes: int = 2
    kubernetes_version: str | None = None
    subnet_id: str | None = None
    admin_group_object_ids: tuple[str, ...] = ()
    stop_cluster: bool = False

    def __post_init__(self) -> None:
        if not _CLUSTER_NAME.match(self.cluster):
            raise ValueError(
                f"cluster is {self.cluster!r}; AKS takes up to 63 letters, digits, hyphens and underscores, with a "
                "letter or digit at both ends, for example budgetguard"
            )
        if not _GROUP_NAME.match(self.resource_group):
            raise ValueError(
                f"resource_group is {self.resource_group!r}; Azure takes up to 90 letters, digits, hyphens, "
                "underscores, periods and parentheses, and no period at the end, for example budgetguard"
            )
        if not 1 <= self.system_nodes <= MOST_NODES:
            raise ValueError(f"system_nodes is {self.system_nodes}; it must be 1 to {MOST_NODES}, 2 is usual")
        if self.subnet_id and not _SUBNET_ID.match(self.subnet_id):
            raise ValueError(
                f"subnet_id is {self.subnet_id!r}; it must be the whole id of a subnet, /subscriptions/.../"
                "resourceGroups/.../providers/Microsoft.Network/virtualNetworks/.../subnets/..."
            )

    @classmethod
    def from_options(cls, options: t.Mapping[str, t.Any]) -> AzureSettings:
        """Take the settings out of a module's options; what is not set keeps its default."""
        fields = {field.name for field in dataclasses.fields(cls)}
        given: dict[str, t.Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in options.items()
            if key in fields and value is not None
        }
        if "region" in given:
            given["region"] = region_name(given["region"])
        return cls(**given)


def region_name(text: str) -> str:
    """Return a region as Azure's API spells it: ``East US`` is ``eastus``."""
    return text.replace(" ", "").lower()
