# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual machine sizes and regions of Azure, as far as the sandbox knows them."""

from __future__ import annotations

from dataclasses import dataclass

REGIONS = frozenset(
    (
        "australiaeast",
        "canadacentral",
        "centralus",
        "eastus",
        "eastus2",
        "francecentral",
        "germanywestcentral",
        "japaneast",
        "northeurope",
        "southcentralus",
        "swedencentral",
        "switzerlandnorth",
        "uksouth",
        "westcentralus",
        "westeurope",
        "westus2",
        "westus3",
    )
)
#: Regions where the sandbox offers no size with a GPU, so that tests can ask in vain.
REGIONS_WITHOUT_GPUS = frozenset(("westcentralus",))


@dataclass(frozen=True)
class VmSize:
    """A size, and the quota that counts its vCPUs."""

    name: str
    vcpus: int
    memory_gib: int
    gpus: int
    #: Azure writes family names in varying case. Whoever compares them must not care.
    family: str


_SIZES = (
    VmSize("Standard_B4ms", 4, 16, 0, "standardBSFamily"),
    VmSize("Standard_D2as_v5", 2, 8, 0, "standardDASv5Family"),
    VmSize("Standard_D4as_v5", 4, 16, 0, "standardDASv5Family"),
    VmSize("Standard_D8as_v5", 8, 32, 0, "standardDASv5Family"),
    VmSize("Standard_D16as_v5", 16, 64, 0, "standardDASv5Family"),
    VmSize("Standard_D4ds_v5", 4, 16, 0, "standardDDSv5Family"),
    VmSize("Standard_D8ds_v5", 8, 32, 0, "standardDDSv5Family"),
    VmSize("Standard_D4s_v5", 4, 16, 0, "standardDSv5Family"),
    VmSize("Standard_D8s_v5", 8, 32, 0, "standardDSv5Family"),
    VmSize("Standard_DS2_v2", 2, 7, 0, "standardDSv2Family"),
    VmSize("Standard_NC4as_T4_v3", 4, 28, 1, "Standard NCASv3_T4 Family"),
    VmSize("Standard_NC8as_T4_v3", 8, 56, 1, "Standard NCASv3_T4 Family"),
    VmSize("Standard_NC16as_T4_v3", 16, 110, 1, "Standard NCASv3_T4 Family"),
    VmSize("Standard_NC64as_T4_v3", 64, 440, 4, "Standard NCASv3_T4 Family"),
    VmSize("Standard_NV36ads_A10_v5", 36, 440, 1, "StandardNVADSA10v5Family"),
    VmSize("Standard_NV36adms_A10_v5", 36, 880, 1, "StandardNVADSA10v5Family"),
    VmSize("Standard_NV72ads_A10_v5", 72, 880, 2, "StandardNVADSA10v5Family"),
    VmSize("Standard_NC24ads_A100_v4", 24, 220, 1, "StandardNCADSA100v4Family"),
    VmSize("Standard_NC48ads_A100_v4", 48, 440, 2, "StandardNCADSA100v4Family"),
    VmSize("Standard_NC96ads_A100_v4", 96, 880, 4, "StandardNCADSA100v4Family"),
    VmSize("Standard_NC40ads_H100_v5", 40, 320, 1, "StandardNCadsH100v5Family"),
    VmSize("Standard_NC80adis_H100_v5", 80, 640, 2, "StandardNCadsH100v5Family"),
    VmSize("Standard_ND96isr_H200_v5", 96, 1850, 8, "standardNDISRH200V5Family"),
)
SIZES = {size.name.lower(): size for size in _SIZES}

TOTAL = "cores"
SPOT = "lowPriorityCores"


def size_called(name: object, region: str) -> VmSize | None:
    """Return a size that the region offers; None if it does not, or there is no such size."""
    size = SIZES.get(str(name).lower())
    if size is None or (size.gpus and region in REGIONS_WITHOUT_GPUS):
        return None
    return size


def families() -> list[str]:
    """Return the names of all families."""
    return sorted({size.family for size in _SIZES})
