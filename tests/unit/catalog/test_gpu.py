# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _gpu


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("l40s", "l40s"),
        ("L40S", "l40s"),
        (" A10G ", "a10g"),
        ("A100 80GB", "a100-80gb"),
        ("a100_80gb", "a100-80gb"),
        ("RTX PRO 6000", "rtx-pro-6000"),
    ],
)
def test_tier_is_found_however_it_is_written(given: str, expected: str) -> None:
    assert _gpu.tier(given).name == expected


@pytest.mark.parametrize(("given", "near"), [("l40x", "l40"), ("a100-80", "a100-80gb"), ("h10", "h100")])
def test_unknown_tier_names_the_nearest_and_all(given: str, near: str) -> None:
    with pytest.raises(_gpu.UnknownTierError) as caught:
        _gpu.tier(given)
    assert f"Did you mean '{near}" in str(caught.value)
    assert all(name in str(caught.value) for name in _gpu.TIERS)


@pytest.mark.parametrize("given", ["cpu", "CPU", "none", "None"])
def test_no_gpu_gets_its_own_sentence(given: str) -> None:
    with pytest.raises(_gpu.UnknownTierError, match="every NIM needs an NVIDIA GPU"):
        _gpu.tier(given)


def test_machines_come_smallest_first() -> None:
    names = [row.name for row in _gpu.machines("aws", "l40s")]
    assert names[:3] == ["g6e.xlarge", "g6e.2xlarge", "g6e.4xlarge"]
    for provider in _gpu.PROVIDERS_WITH_MACHINES:
        for tier in _gpu.provider_tiers(provider):
            sizes = [(row.gpus, row.memory_gib) for row in _gpu.machines(provider, tier)]
            assert sizes == sorted(sizes)


@pytest.mark.parametrize(
    ("provider", "tier"),
    [("azure", "l40s"), ("gcp", "a10g"), ("aws", "rtx-4090"), ("local", "l40s"), ("nvidia", "l40s")],
)
def test_no_machines_where_there_are_none(provider: str, tier: str) -> None:
    assert _gpu.machines(provider, tier) == ()


def test_every_row_is_complete() -> None:
    assert len({(row.provider, row.name) for row in _gpu.MACHINES}) == len(_gpu.MACHINES)
    for row in _gpu.MACHINES:
        assert row.tier in _gpu.TIERS, row
        assert row.provider in _gpu.PROVIDERS_WITH_MACHINES, row
        assert row.source, row
        assert min(row.gpus, row.vcpus, row.memory_gib) > 0, row
        assert bool(row.accelerator) == (row.provider == "gcp"), row
    for name, tier in _gpu.TIERS.items():
        assert name == tier.name == name.lower()
        assert tier.title, tier
        assert tier.source, tier
        assert tier.memory_mib > 0, tier


def test_precisions_follow_the_compute_capability() -> None:
    # bf16 needs compute capability 8.0, FP8 needs 8.9, FP4 needs 10.0.
    for tier in _gpu.TIERS.values():
        assert ("bf16" in tier.precisions) == (tier.compute_capability >= (8, 0)), tier.name
        assert ("fp8" in tier.precisions) == (tier.compute_capability >= (8, 9)), tier.name
        assert ("fp4" in tier.precisions) == (tier.compute_capability >= (10, 0)), tier.name


@pytest.mark.parametrize(
    "retired", ["Standard_NC6s_v3", "Standard_NC24s_v3", "Standard_NV6ads_A10_v5", "p3.2xlarge", "g6f.xlarge"]
)
def test_retired_and_shared_machines_are_not_offered(retired: str) -> None:
    assert retired not in {row.name for row in _gpu.MACHINES}


def test_machine_is_found_by_name() -> None:
    assert _gpu.machine("azure", "standard_nc40ads_h100_v5").tier == "h100"
    with pytest.raises(_gpu.UnknownMachineError, match=r"'g6e\.2xlarg' is known for aws.*g6e\.2xlarge"):
        _gpu.machine("aws", "g6e.2xlarg")
    with pytest.raises(_gpu.UnknownMachineError):
        _gpu.machine("gcp", "g6e.2xlarge")


def test_provider_tiers() -> None:
    assert "l40s" not in _gpu.provider_tiers("azure")
    assert "rtx-4090" not in _gpu.provider_tiers("nvidia")
    assert _gpu.provider_tiers("local") == tuple(_gpu.TIERS)
    with pytest.raises(ValueError, match="no provider 'oracle'"):
        _gpu.provider_tiers("oracle")


def test_disk_of_aws_is_converted_to_gib() -> None:
    assert _gpu.machine("aws", "g6e.2xlarge").local_disk_gib == 419  # 450 GB
