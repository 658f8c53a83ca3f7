# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who gets which GPU and port of a Docker host."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog
from ansible_collections.budgetguard.techops.plugins.module_utils import _package_installer as cards
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Wanted, resolve_all
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import PlanError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _docker_host as hosts

CATALOG = _catalog.load({})


def wanted(*nodes: str, tier: str = "l40s") -> list[Wanted]:
    """Return these nodes as a call would ask for them."""
    options = [{"node": node, "gpu_tier": tier, "state": "present", "replicas": 1} for node in nodes]
    return resolve_all(options, "local", CATALOG)[0]


def host(*tiers: str | None, memory: int = 128, memory_mib: int = 46068, **others: t.Any) -> hosts.Host:
    """Return a host with GPUs of these tiers, called a, b, c and so on."""
    gpus = [cards.Gpu(n, "abcdefgh"[n], f"card {tier}", memory_mib, tier) for n, tier in enumerate(tiers)]
    return hosts.Host("gpu-box", memory, 32, tuple(gpus), **others)


FLUX, CANNY, LLAMA = "nim-flux-dev-l40s", "nim-flux-canny-l40s", "nim-llama-3-1-l40s"


@pytest.mark.parametrize(
    ("name", "memory", "tier"),
    [
        ("NVIDIA L40S", 46068, "l40s"),
        ("NVIDIA L40", 46068, "l40"),
        ("NVIDIA L4", 23034, "l4"),
        ("Tesla T4", 15360, "t4"),
        ("NVIDIA A10G", 23028, "a10g"),
        ("NVIDIA A100-SXM4-40GB", 40960, "a100"),
        ("NVIDIA A100 80GB PCIe", 81920, "a100-80gb"),
        ("NVIDIA H100 80GB HBM3", 81559, "h100"),
        ("NVIDIA GeForce RTX 4090", 24564, "rtx-4090"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 16376, None),
        ("NVIDIA RTX 6000 Ada Generation", 49140, "rtx-6000-ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 97887, "rtx-pro-6000"),
        ("NVIDIA RTX A6000", 49140, None),
        ("NVIDIA GH200 480GB", 97871, None),
    ],
)
def test_tier_of_a_card(name: str, memory: int, tier: str | None) -> None:
    assert cards.tier_of(name, memory) == tier


def test_table_of_nvidia_smi() -> None:
    text = "0, GPU-aa, NVIDIA L40S, 46068\n1, GPU-bb, NVIDIA RTX A6000, 49140\nUnable to determine, [N/A]\n"
    assert cards.parse_gpus(text) == (
        cards.Gpu(0, "GPU-aa", "NVIDIA L40S", 46068, "l40s"),
        cards.Gpu(1, "GPU-bb", "NVIDIA RTX A6000", 49140, None),
    )


@pytest.mark.parametrize(
    ("tiers", "filled"), [(("l40s", "l40s", None), "l40s"), (("l40s", "l4"), None), ((None,), None), ((), None)]
)
def test_tier_that_nobody_says(tiers: tuple[str | None, ...], filled: str | None) -> None:
    asked: list[dict[str, t.Any]] = [
        {"node": "FLUX Dev", "state": "present", "gpu_tier": None},
        {"node": "SDXL", "state": "absent"},
    ]
    found = hosts.with_measured_tiers(asked, host(*tiers).gpus)
    assert found[0]["gpu_tier"] == filled
    assert found[1] == asked[1]


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ({}, {FLUX: ("a",), CANNY: ("b",)}),
        ({CANNY: ["a"]}, {CANNY: ("a",), FLUX: ("b",)}),
        ({FLUX: ["b"], CANNY: ["b"]}, {FLUX: ("b",), CANNY: ("a",)}),
        ({FLUX: ["gone"]}, {FLUX: ("a",), CANNY: ("b",)}),
    ],
    ids=["first come", "who has one keeps it", "two had the same", "a card that is no longer there"],
)
def test_gpus_are_handed_out(held: dict[str, list[str]], expected: dict[str, tuple[str, ...]]) -> None:
    assert hosts.hand_out_gpus(host("l40s", "l40s"), wanted("FLUX Dev", "FLUX Canny"), held) == expected


def test_gpu_of_another_tier_is_not_taken() -> None:
    assert hosts.hand_out_gpus(host("l4", "l40s"), wanted("FLUX Dev"), {}) == {FLUX: ("b",)}


def test_gpus_of_others_are_left_alone() -> None:
    busy = host("l40s", "l40s", foreign={"a": "the container render"})
    with pytest.raises(PlanError) as refused:
        hosts.hand_out_gpus(busy, wanted("FLUX Dev"), {"nim-other": ["b"]})
    assert "GPU 0 is held by the container render, GPU 1 is held by nim-other" in str(refused.value)


def test_shared_gpus_are_the_last_choice() -> None:
    both = wanted("FLUX Dev", "FLUX Canny")
    assert hosts.hand_out_gpus(host("l40s", "l40s"), both, {}, share=True) == {FLUX: ("a",), CANNY: ("b",)}
    assert hosts.hand_out_gpus(host("l40s"), both, {}, share=True) == {FLUX: ("a",), CANNY: ("a",)}
    with pytest.raises(PlanError):
        hosts.hand_out_gpus(host("l40s", foreign={"a": "x"}), both, {}, share=True)


def test_unchecked_nim_takes_a_card_of_no_tier_or_a_number() -> None:
    assert hosts.hand_out_gpus(host(None), wanted("FLUX Dev"), {}, unchecked={FLUX}) == {FLUX: ("a",)}
    assert hosts.hand_out_gpus(host(), wanted("FLUX Dev"), {"nim-other": ["0"]}, unchecked={FLUX}) == {FLUX: ("1",)}


@pytest.mark.parametrize(
    ("there", "told"),
    [
        (host(), "No GPU was found on gpu-box"),
        (host("l4"), "gpu-box has GPU 0 (card l4)"),
        (host(None), "skip_fit_check: true"),
        (host("l40s", memory=16), "gpu-box has 16 GiB of host memory, at least 40 are needed"),
        (host("l40s", memory_mib=8000), "needs 16 GiB of GPU memory, and 1 GPU of tier l40s on gpu-box offers 7.8"),
    ],
)
def test_host_that_is_too_small_is_refused(there: hosts.Host, told: str) -> None:
    if not there.gpus:
        there = hosts.Host("gpu-box", 128, 32, gpu_problem="nvidia-smi does not run on this host")
    asked = wanted("FLUX Dev")
    with pytest.raises(PlanError) as refused:
        hosts.check_fit(there, asked, {FLUX: CATALOG["FLUX Dev"]}, {}, set())
    assert told in str(refused.value)
    hosts.check_fit(there, asked, {FLUX: CATALOG["FLUX Dev"]}, {}, {FLUX})


def test_ports_are_kept_fixed_or_free() -> None:
    asked = wanted("FLUX Dev", "FLUX Canny", "Llama 3.1")
    given = hosts.hand_out_ports(asked, {CANNY: 8005, "nim-other": 8000}, {8001, 8005}, 8000, {"FLUX Dev": 9000})
    assert given == {FLUX: 9000, CANNY: 8005, LLAMA: 8002}


def test_two_nims_never_get_one_port() -> None:
    asked = wanted("FLUX Dev", "FLUX Canny")
    assert hosts.hand_out_ports(asked, {FLUX: 8000, CANNY: 8000}, (), 8000, {}) == {FLUX: 8000, CANNY: 8001}
    with pytest.raises(PlanError, match="ports gives 8000 to FLUX Dev, but nim-other has it"):
        hosts.hand_out_ports(asked, {"nim-other": 8000}, (), 8000, {"FLUX Dev": 8000})
