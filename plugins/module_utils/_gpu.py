# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""GPU tiers, and the machines of each cloud that carry them. Data, and the look-ups over it.

A tier is the name people write in C(gpu_tier): one kind of GPU, whatever the cloud. A machine is one
machine type of one cloud. Every row names its source. Only whole GPUs are listed: sizes that share a
GPU between customers (Azure NV6ads_A10_v5, AWS g6f) are left out, because a NIM needs all of it.

Providers C(local) and C(nvidia) have no machines here: a studio's own box is what it is, and NVIDIA
Cloud Functions name their own instance types.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass
from difflib import get_close_matches

PROVIDERS = ("aws", "azure", "gcp", "nvidia", "local")
"""Every provider the collection knows."""

PROVIDERS_WITH_MACHINES = ("aws", "azure", "gcp")
"""The providers whose machine types are in C(MACHINES)."""


class UnknownTierError(ValueError):
    """There is no GPU tier of that name. The text names the nearest and all valid ones."""


class UnknownMachineError(ValueError):
    """The provider has no such machine type in the table. The text names the nearest ones."""


@dataclass(frozen=True)
class GpuTier:
    """One kind of GPU.

    C(memory_mib) is what one GPU offers, in MiB. Where a maker states gigabytes, they were taken as
    10^9 bytes, so the number is never larger than the truth.
    C(precisions) are the ones that matter to a NIM's engines; bf16 starts at compute capability 8.0,
    FP8 at 8.9, FP4 at 10.0.
    """

    name: str
    title: str
    memory_mib: int
    compute_capability: tuple[int, int]
    precisions: tuple[str, ...]
    notes: str
    source: str

    @property
    def memory_gib(self) -> float:
        """Memory of one GPU in GiB, rounded to one decimal place, for messages."""
        return round(self.memory_mib / 1024, 1)


@dataclass(frozen=True)
class Machine:
    """One machine type of one provider, with whole GPUs of one tier.

    C(memory_gib) is the host's memory, C(local_disk_gib) the disk that comes with the machine and is
    lost when it stops (0: none, or none unless asked for), both in GiB.
    C(accelerator) is Google's name of the GPU, which a GKE node pool has to state.
    C(spot_only) machines are not sold on demand.
    """

    provider: str
    name: str
    tier: str
    gpus: int
    vcpus: int
    memory_gib: int
    local_disk_gib: int
    source: str
    accelerator: str = ""
    spot_only: bool = False
    notes: str = ""


_FP16 = ("fp16", "int8")
_AMPERE = ("fp16", "bf16", "int8")
_ADA = ("fp16", "bf16", "fp8", "int8")
_BLACKWELL = ("fp16", "bf16", "fp8", "fp4", "int8")

_CUDA_GPUS = "https://developer.nvidia.com/cuda-gpus"
_EC2_TYPES = "EC2 DescribeInstanceTypes, as recorded in moto 5.2.5"
_FLUX_MATRIX = "https://docs.nvidia.com/nim/visual-genai/1.1.1/support-matrix.html"

# From the smallest to the largest, roughly by what an hour costs. This order decides which tier is
# "the smallest that would do".
_TIER_ROWS = (
    GpuTier(
        "t4",
        "NVIDIA T4",
        15079,
        (7, 5),
        _FP16,
        "Sold as 16 GB; error correction takes its share and 15079 MiB are left. No bf16, no FP8.",
        _CUDA_GPUS + "; https://forums.developer.nvidia.com/t/nvidia-t4-has-only-15g-of-memory/173099",
    ),
    GpuTier("l4", "NVIDIA L4", 22888, (8, 9), _ADA, "24 GB.", _CUDA_GPUS + "; " + _EC2_TYPES),
    GpuTier(
        "a10",
        "NVIDIA A10",
        22888,
        (8, 6),
        _AMPERE,
        "24 GB. No FP8. Azure only; AWS has the A10G.",
        _CUDA_GPUS + "; MicrosoftDocs/azure-compute-docs nvadsa10v5-series.md",
    ),
    GpuTier(
        "a10g",
        "NVIDIA A10G",
        22888,
        (8, 6),
        _AMPERE,
        "24 GB. No FP8. AWS only; Azure has the A10.",
        "https://docs.nvidia.com/nim/large-language-models/1.1.0/support-matrix.html; " + _EC2_TYPES,
    ),
    GpuTier("rtx-4090", "GeForce RTX 4090", 22888, (8, 9), _ADA, "24 GB. A workstation's card.", _FLUX_MATRIX),
    GpuTier("rtx-5090", "GeForce RTX 5090", 30517, (12, 0), _BLACKWELL, "32 GB. A workstation's card.", _FLUX_MATRIX),
    GpuTier("l40", "NVIDIA L40", 45776, (8, 9), _ADA, "48 GB.", _CUDA_GPUS + "; " + _FLUX_MATRIX),
    GpuTier(
        "rtx-6000-ada",
        "NVIDIA RTX 6000 Ada Generation",
        45776,
        (8, 9),
        _ADA,
        "48 GB. A workstation's card.",
        _CUDA_GPUS + "; " + _FLUX_MATRIX,
    ),
    GpuTier(
        "l40s",
        "NVIDIA L40S",
        45776,
        (8, 9),
        _ADA,
        "48 GB. In AWS; not in Azure or GCP.",
        _CUDA_GPUS + "; " + _EC2_TYPES,
    ),
    GpuTier("a100", "NVIDIA A100 40 GB", 40960, (8, 0), _AMPERE, "No FP8.", _CUDA_GPUS + "; " + _EC2_TYPES),
    GpuTier(
        "rtx-pro-6000",
        "NVIDIA RTX PRO 6000 Blackwell",
        98304,
        (12, 0),
        _BLACKWELL,
        "96 GB.",
        _CUDA_GPUS + "; " + _EC2_TYPES,
    ),
    GpuTier("a100-80gb", "NVIDIA A100 80 GB", 81920, (8, 0), _AMPERE, "No FP8.", _CUDA_GPUS + "; " + _EC2_TYPES),
    GpuTier(
        "h100",
        "NVIDIA H100",
        81920,
        (9, 0),
        _ADA,
        "80 GB. Azure's NC_H100_v5 sizes carry the H100 NVL with 94 GB.",
        _CUDA_GPUS + "; " + _EC2_TYPES,
    ),
    GpuTier("h200", "NVIDIA H200", 144384, (9, 0), _ADA, "141 GB.", _CUDA_GPUS + "; " + _EC2_TYPES),
    GpuTier("b200", "NVIDIA B200", 183359, (10, 0), _BLACKWELL, "", _CUDA_GPUS + "; " + _EC2_TYPES),
)

TIERS: t.Mapping[str, GpuTier] = {row.name: row for row in _TIER_ROWS}
"""Tier name -> tier, from the smallest to the largest."""

WORKSTATION_TIERS = frozenset(("rtx-4090", "rtx-5090", "rtx-6000-ada"))
"""Cards of workstations: no cloud of ours rents them, so they make sense on local targets only."""

_NO_GPU_NAMES = frozenset(("cpu", "none", "no", "no-gpu", "false"))


def _aws(name: str, tier_name: str, gpus: int, vcpus: int, memory_gib: int, nvme_gb: int, notes: str = "") -> Machine:
    """Return a row of EC2's own list. EC2 states disks in GB of 10^9 bytes; we keep whole GiB, rounded down."""
    disk_gib = nvme_gb * 10**9 // 2**30
    return Machine("aws", name, tier_name, gpus, vcpus, memory_gib, disk_gib, _EC2_TYPES, notes=notes)


def _azure(
    name: str, tier_name: str, gpus: int, vcpus: int, memory_gib: int, temp_disk_gib: int, page: str, notes: str = ""
) -> Machine:
    """Return a row of Microsoft's page about one series of sizes."""
    source = f"MicrosoftDocs/azure-compute-docs sizes/gpu-accelerated/{page}.md"
    return Machine("azure", name, tier_name, gpus, vcpus, memory_gib, temp_disk_gib, source, notes=notes)


_GCP_PAGE = "https://cloud.google.com/compute/docs/accelerator-optimized-machines"
_GCP_N1_PAGE = "https://cloud.google.com/compute/docs/general-purpose-machines"
_GCP_SPOT_NOTE = "Google sells it as Spot or Flex-start only: it can be taken away at any time."


def _gcp(
    name: str,
    tier_name: str,
    gpus: int,
    vcpus: int,
    memory_gib: int,
    local_ssd_gib: int,
    accelerator: str,
    source: str = _GCP_PAGE,
    spot_only: bool = False,
) -> Machine:
    """Return a row of Google's page about machine types. Local SSDs count only where they come by themselves."""
    notes = _GCP_SPOT_NOTE if spot_only else ""
    return Machine(
        "gcp", name, tier_name, gpus, vcpus, memory_gib, local_ssd_gib, source, accelerator, spot_only, notes
    )


_AZURE_A100_NOTE = "Microsoft adds new capacity for the H100 series only."
_AZURE_NVL_NOTE = "It carries the H100 NVL (94 GB); NVIDIA's lists name the H100 SXM."

MACHINES: tuple[Machine, ...] = (
    _aws("g4dn.xlarge", "t4", 1, 4, 16, 125),
    _aws("g4dn.2xlarge", "t4", 1, 8, 32, 225),
    _aws("g4dn.4xlarge", "t4", 1, 16, 64, 225),
    _aws("g4dn.8xlarge", "t4", 1, 32, 128, 900),
    _aws("g4dn.12xlarge", "t4", 4, 48, 192, 900),
    _aws("g6.xlarge", "l4", 1, 4, 16, 250),
    _aws("g6.2xlarge", "l4", 1, 8, 32, 450),
    _aws("g6.4xlarge", "l4", 1, 16, 64, 600),
    _aws("gr6.4xlarge", "l4", 1, 16, 128, 600),
    _aws("g6.8xlarge", "l4", 1, 32, 128, 900),
    _aws("g6.12xlarge", "l4", 4, 48, 192, 3760),
    _aws("g6.48xlarge", "l4", 8, 192, 768, 7520),
    _aws("g5.xlarge", "a10g", 1, 4, 16, 250),
    _aws("g5.2xlarge", "a10g", 1, 8, 32, 450),
    _aws("g5.4xlarge", "a10g", 1, 16, 64, 600),
    _aws("g5.8xlarge", "a10g", 1, 32, 128, 900),
    _aws("g5.12xlarge", "a10g", 4, 48, 192, 3800),
    _aws("g5.48xlarge", "a10g", 8, 192, 768, 7600),
    _aws("g6e.xlarge", "l40s", 1, 4, 32, 250),
    _aws("g6e.2xlarge", "l40s", 1, 8, 64, 450),
    _aws("g6e.4xlarge", "l40s", 1, 16, 128, 600),
    _aws("g6e.8xlarge", "l40s", 1, 32, 256, 900),
    _aws("g6e.12xlarge", "l40s", 4, 48, 384, 3800),
    _aws("g6e.24xlarge", "l40s", 4, 96, 768, 3800),
    _aws("g6e.48xlarge", "l40s", 8, 192, 1536, 7600),
    _aws("g7e.2xlarge", "rtx-pro-6000", 1, 8, 64, 1900),
    _aws("g7e.4xlarge", "rtx-pro-6000", 1, 16, 128, 1900),
    _aws("g7e.12xlarge", "rtx-pro-6000", 2, 48, 512, 3800),
    _aws("g7e.24xlarge", "rtx-pro-6000", 4, 96, 1024, 7600),
    _aws("g7e.48xlarge", "rtx-pro-6000", 8, 192, 2048, 15200),
    _aws("p4d.24xlarge", "a100", 8, 96, 1152, 8000),
    _aws("p4de.24xlarge", "a100-80gb", 8, 96, 1152, 8000),
    _aws("p5.4xlarge", "h100", 1, 16, 256, 3800, notes="It is offered in few regions."),
    _aws("p5.48xlarge", "h100", 8, 192, 2048, 30400),
    _aws("p5e.48xlarge", "h200", 8, 192, 2048, 30400),
    _aws("p5en.48xlarge", "h200", 8, 192, 2048, 30400),
    _aws("p6-b200.48xlarge", "b200", 8, 192, 2048, 30400),
    _azure("Standard_NC4as_T4_v3", "t4", 1, 4, 28, 176, "ncast4v3-series"),
    _azure("Standard_NC8as_T4_v3", "t4", 1, 8, 56, 352, "ncast4v3-series"),
    _azure("Standard_NC16as_T4_v3", "t4", 1, 16, 110, 352, "ncast4v3-series"),
    _azure("Standard_NC64as_T4_v3", "t4", 4, 64, 440, 2816, "ncast4v3-series"),
    _azure("Standard_NV36ads_A10_v5", "a10", 1, 36, 440, 1440, "nvadsa10v5-series"),
    _azure("Standard_NV36adms_A10_v5", "a10", 1, 36, 880, 2880, "nvadsa10v5-series"),
    _azure("Standard_NV72ads_A10_v5", "a10", 2, 72, 880, 2880, "nvadsa10v5-series"),
    _azure("Standard_NC24ads_A100_v4", "a100-80gb", 1, 24, 220, 64, "nca100v4-series", _AZURE_A100_NOTE),
    _azure("Standard_NC48ads_A100_v4", "a100-80gb", 2, 48, 440, 128, "nca100v4-series", _AZURE_A100_NOTE),
    _azure("Standard_NC96ads_A100_v4", "a100-80gb", 4, 96, 880, 256, "nca100v4-series", _AZURE_A100_NOTE),
    _azure("Standard_NC40ads_H100_v5", "h100", 1, 40, 320, 3576, "ncadsh100v5-series", _AZURE_NVL_NOTE),
    _azure("Standard_NC80adis_H100_v5", "h100", 2, 80, 640, 7152, "ncadsh100v5-series", _AZURE_NVL_NOTE),
    _azure("Standard_ND96isr_H200_v5", "h200", 8, 96, 1850, 1024, "nd-h200-v5-series"),
    _gcp("n1-standard-4", "t4", 1, 4, 15, 0, "nvidia-tesla-t4", _GCP_N1_PAGE),
    _gcp("n1-standard-8", "t4", 1, 8, 30, 0, "nvidia-tesla-t4", _GCP_N1_PAGE),
    _gcp("n1-standard-16", "t4", 1, 16, 60, 0, "nvidia-tesla-t4", _GCP_N1_PAGE),
    _gcp("g2-standard-4", "l4", 1, 4, 16, 0, "nvidia-l4"),
    _gcp("g2-standard-8", "l4", 1, 8, 32, 0, "nvidia-l4"),
    _gcp("g2-standard-12", "l4", 1, 12, 48, 0, "nvidia-l4"),
    _gcp("g2-standard-16", "l4", 1, 16, 64, 0, "nvidia-l4"),
    _gcp("g2-standard-24", "l4", 2, 24, 96, 0, "nvidia-l4"),
    _gcp("g2-standard-48", "l4", 4, 48, 192, 0, "nvidia-l4"),
    _gcp("g4-standard-48", "rtx-pro-6000", 1, 48, 180, 0, "nvidia-rtx-pro-6000"),
    _gcp("a2-highgpu-1g", "a100", 1, 12, 85, 0, "nvidia-tesla-a100"),
    _gcp("a2-highgpu-2g", "a100", 2, 24, 170, 0, "nvidia-tesla-a100"),
    _gcp("a2-highgpu-4g", "a100", 4, 48, 340, 0, "nvidia-tesla-a100"),
    _gcp("a2-ultragpu-1g", "a100-80gb", 1, 12, 170, 375, "nvidia-a100-80gb"),
    _gcp("a2-ultragpu-2g", "a100-80gb", 2, 24, 340, 750, "nvidia-a100-80gb"),
    _gcp("a2-ultragpu-4g", "a100-80gb", 4, 48, 680, 1500, "nvidia-a100-80gb"),
    _gcp("a3-highgpu-1g", "h100", 1, 26, 234, 750, "nvidia-h100-80gb", spot_only=True),
    _gcp("a3-highgpu-2g", "h100", 2, 52, 468, 1500, "nvidia-h100-80gb", spot_only=True),
    _gcp("a3-highgpu-4g", "h100", 4, 104, 936, 3000, "nvidia-h100-80gb", spot_only=True),
    _gcp("a3-highgpu-8g", "h100", 8, 208, 1872, 6000, "nvidia-h100-80gb"),
)
"""Every machine type we can name, with its source."""


def tier(name: str) -> GpuTier:
    """Return the tier called C(name). Case, spaces and underscores do not matter.

    Raises UnknownTierError, which names the nearest and all valid tiers.
    """
    wanted = re.sub(r"[\s_]+", "-", str(name).strip().lower())
    if wanted in _NO_GPU_NAMES:
        raise UnknownTierError(
            f"gpu_tier '{name}' is not possible: every NIM needs an NVIDIA GPU. Valid tiers: {', '.join(TIERS)}"
        )
    if wanted in TIERS:
        return TIERS[wanted]
    # "a100-80" or "A100 80GB" should find a100-80gb, not a100.
    near = get_close_matches(wanted, TIERS, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise UnknownTierError(f"There is no GPU tier '{name}'.{hint} Valid tiers: {', '.join(TIERS)}")


def machines(provider: str, tier_name: str) -> tuple[Machine, ...]:
    """Return the machines of C(provider) with GPUs of C(tier_name), the smallest first.

    Smallest means fewest GPUs, then least host memory, then fewest vCPUs. The result is empty where
    the provider does not have that GPU, and for C(local) and C(nvidia).
    Raises UnknownTierError, or ValueError for an unknown provider.
    """
    check_provider(provider)
    wanted = tier(tier_name).name
    found = [row for row in MACHINES if row.provider == provider and row.tier == wanted]
    return tuple(sorted(found, key=_size))


def machine(provider: str, name: str) -> Machine:
    """Return the machine type C(name) of C(provider). Case does not matter.

    Raises UnknownMachineError with the nearest names, or ValueError for an unknown provider.
    """
    check_provider(provider)
    known = {row.name.lower(): row for row in MACHINES if row.provider == provider}
    wanted = str(name).strip().lower()
    if wanted in known:
        return known[wanted]
    near = get_close_matches(wanted, known, n=3, cutoff=0.5)
    hint = " Near: " + ", ".join(known[key].name for key in near) + "." if near else ""
    raise UnknownMachineError(f"No machine type '{name}' is known for {provider}.{hint}")


def provider_tiers(provider: str) -> tuple[str, ...]:
    """Return the tiers that C(provider) offers, the smallest first.

    C(nvidia) offers no workstation cards; C(local) may have any tier. Raises ValueError for an
    unknown provider.
    """
    check_provider(provider)
    if provider == "local":
        return tuple(TIERS)
    if provider == "nvidia":
        return tuple(name for name in TIERS if name not in WORKSTATION_TIERS)
    offered = {row.tier for row in MACHINES if row.provider == provider}
    return tuple(name for name in TIERS if name in offered)


def check_provider(provider: str) -> None:
    """Raise ValueError unless C(provider) is one of ours."""
    if provider not in PROVIDERS:
        raise ValueError(f"There is no provider '{provider}'. Valid providers: {', '.join(PROVIDERS)}")


def _size(row: Machine) -> tuple[int, int, int, str]:
    return (row.gpus, row.memory_gib, row.vcpus, row.name)


__all__ = (
    "MACHINES",
    "PROVIDERS",
    "PROVIDERS_WITH_MACHINES",
    "TIERS",
    "WORKSTATION_TIERS",
    "GpuTier",
    "Machine",
    "UnknownMachineError",
    "UnknownTierError",
    "check_provider",
    "machine",
    "machines",
    "provider_tiers",
    "tier",
)
