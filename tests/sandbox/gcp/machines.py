# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machine types, accelerators, regions and zones of Google Cloud, as far as the sandbox knows them."""

from __future__ import annotations

from dataclasses import dataclass

#: Letters of the zones of each region.
REGIONS = {
    "asia-northeast1": "abc",
    "asia-southeast1": "abc",
    "europe-west1": "bcd",
    "europe-west3": "abc",
    "europe-west4": "abc",
    "us-central1": "abcf",
    "us-east1": "bcd",
    "us-east4": "abc",
    "us-west1": "abc",
    "us-west4": "abc",
}
ZONES = {f"{region}-{letter}": region for region, letters in REGIONS.items() for letter in letters}
#: Zones where the sandbox offers no machine with a GPU, so that tests can ask in vain.
ZONES_WITHOUT_GPUS = frozenset(("us-central1-f",))

#: Accelerators and the part of their quota's name that is their own.
ACCELERATORS = {
    "nvidia-tesla-t4": "T4",
    "nvidia-l4": "L4",
    "nvidia-tesla-a100": "A100",
    "nvidia-a100-80gb": "A100_80GB",
    "nvidia-h100-80gb": "H100",
    "nvidia-rtx-pro-6000": "RTX_PRO_6000",
}
#: How many of an accelerator can be added to a machine of the N1 series.
N1_COUNTS = (1, 2, 4)


@dataclass(frozen=True)
class MachineType:
    """A machine type. Those of the accelerator series have their GPUs built in."""

    name: str
    vcpus: int
    memory_gib: int
    gpus: int = 0
    accelerator: str = ""
    #: Google sells it as Spot or Flex-start only.
    spot_only: bool = False


_TYPES = (
    MachineType("e2-medium", 2, 4),
    MachineType("e2-standard-2", 2, 8),
    MachineType("e2-standard-4", 4, 16),
    MachineType("e2-standard-8", 8, 32),
    MachineType("n2-standard-2", 2, 8),
    MachineType("n2-standard-4", 4, 16),
    MachineType("n4-standard-4", 4, 16),
    MachineType("n1-standard-4", 4, 15),
    MachineType("n1-standard-8", 8, 30),
    MachineType("n1-standard-16", 16, 60),
    MachineType("g2-standard-4", 4, 16, 1, "nvidia-l4"),
    MachineType("g2-standard-8", 8, 32, 1, "nvidia-l4"),
    MachineType("g2-standard-12", 12, 48, 1, "nvidia-l4"),
    MachineType("g2-standard-16", 16, 64, 1, "nvidia-l4"),
    MachineType("g2-standard-24", 24, 96, 2, "nvidia-l4"),
    MachineType("g2-standard-48", 48, 192, 4, "nvidia-l4"),
    MachineType("g4-standard-48", 48, 180, 1, "nvidia-rtx-pro-6000"),
    MachineType("a2-highgpu-1g", 12, 85, 1, "nvidia-tesla-a100"),
    MachineType("a2-highgpu-2g", 24, 170, 2, "nvidia-tesla-a100"),
    MachineType("a2-highgpu-4g", 48, 340, 4, "nvidia-tesla-a100"),
    MachineType("a2-ultragpu-1g", 12, 170, 1, "nvidia-a100-80gb"),
    MachineType("a2-ultragpu-2g", 24, 340, 2, "nvidia-a100-80gb"),
    MachineType("a2-ultragpu-4g", 48, 680, 4, "nvidia-a100-80gb"),
    MachineType("a3-highgpu-1g", 26, 234, 1, "nvidia-h100-80gb", True),
    MachineType("a3-highgpu-2g", 52, 468, 2, "nvidia-h100-80gb", True),
    MachineType("a3-highgpu-4g", 104, 936, 4, "nvidia-h100-80gb", True),
    MachineType("a3-highgpu-8g", 208, 1872, 8, "nvidia-h100-80gb"),
)
TYPES = {item.name: item for item in _TYPES}


def region_of(location: str) -> str | None:
    """Return the region of a region or zone; None if there is no such location."""
    return location if location in REGIONS else ZONES.get(location)


def zones_of(location: str) -> list[str]:
    """Return the zones where GKE puts machines by itself: the zone, or three of the region."""
    if location in ZONES:
        return [location]
    return [f"{location}-{letter}" for letter in REGIONS[location][:3]]


def gpu_quota(accelerator: str, spot: bool) -> str:
    """Return the name of the regional quota that counts an accelerator."""
    return f"{'PREEMPTIBLE_' if spot else ''}NVIDIA_{ACCELERATORS[accelerator]}_GPUS"
