# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog, _fit, _gpu

FLUX = _catalog.CATALOG["FLUX Dev"]
MIXTRAL = _catalog.CATALOG["Mixtral"]
SDXL = _catalog.CATALOG["SDXL"]
DEPLOYABLE = [node for node in _catalog.CATALOG.values() if not node.hosted_only]
BOX = _gpu.Machine("local", "this machine", "rtx-4090", 1, 16, 64, 0, "measured")


def refusal(node: _catalog.Node, tier: str, provider: str, **options: t.Any) -> str:
    with pytest.raises(_fit.FitError) as caught:
        _fit.check(node, tier, provider, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("node", "provider", "tier", "machine", "gpus"),
    [
        ("FLUX Dev", "aws", "l40s", "g6e.2xlarge", 1),  # g6e.xlarge has 32 GiB of host memory, 40 are needed
        ("FLUX Dev", "aws", "h100", "p5.4xlarge", 1),
        ("FLUX Dev", "azure", "h100", "Standard_NC40ads_H100_v5", 1),
        ("FLUX Dev", "gcp", "h100", "a3-highgpu-1g", 1),
        ("FLUX Kontext", "aws", "h100", "p5.4xlarge", 1),
        ("SD 3.5 Large", "aws", "l40s", "g6e.2xlarge", 1),
        ("Llama 3", "aws", "l4", "g6.2xlarge", 1),
        ("Llama 3", "gcp", "l4", "g2-standard-8", 1),
        ("Mixtral", "aws", "l40s", "g6e.12xlarge", 4),
        ("Mixtral", "azure", "a100-80gb", "Standard_NC48ads_A100_v4", 2),
        ("Mixtral", "gcp", "h100", "a3-highgpu-2g", 2),
    ],
)
def test_smallest_machine_that_fits(node: str, provider: str, tier: str, machine: str, gpus: int) -> None:
    fit = _fit.check(_catalog.CATALOG[node], tier, provider)
    assert fit.machine is not None
    assert (fit.machine.name, fit.gpus) == (machine, gpus)
    assert not any("not on NVIDIA's list" in warning for warning in fit.warnings)


@pytest.mark.parametrize("provider", _gpu.PROVIDERS_WITH_MACHINES)
def test_flux_on_t4_is_refused_with_reasons_and_the_way_out(provider: str) -> None:
    text = refusal(FLUX, "T4", provider)
    assert "14.7 GiB of GPU memory, at least 16 GiB" in text
    assert "compute capability is 7.5 (no bf16, no FP8), at least 8.0" in text
    best = {"aws": "l40s (g6e.2xlarge)", "azure": "h100 (Standard_NC40ads_H100_v5)", "gcp": "h100 (a3-highgpu-1g)"}
    assert text.endswith(f"The smallest tier on {provider} that would do is {best[provider]}.")


def test_flux_on_a_t4_machine_names_the_host_memory_too() -> None:
    text = refusal(FLUX, "t4", "aws", machine="g4dn.xlarge")
    assert "GPU memory" in text
    assert "g4dn.xlarge has 16 GiB of host memory, at least 40 are needed" in text
    assert "The smallest tier on aws that would do is l40s" in text


@pytest.mark.parametrize(
    ("tier", "machine", "better"),
    [("l40s", "g6e.xlarge", "g6e.2xlarge (64 GiB"), ("l4", "g6.xlarge", "g6.4xlarge (64 GiB")],
)
def test_machine_with_too_little_host_memory(tier: str, machine: str, better: str) -> None:
    text = refusal(FLUX, tier, "aws", machine=machine)
    assert f"{machine} has" in text
    assert "of host memory, at least 40 are needed" in text
    assert f"The smallest {tier} machine that would do is {better}" in text


def test_idle_gpus_are_refused_by_name() -> None:
    text = refusal(FLUX, "a100", "aws")
    assert "p4d.24xlarge, has 8 GPUs and one replica uses 1, so 7 would be paid for and idle" in text
    assert "6 would be paid for" in refusal(MIXTRAL, "h100", "aws")
    assert "3 would be paid for" in refusal(FLUX, "l40s", "aws", machine="g6e.12xlarge")


def test_too_few_gpus_in_every_machine() -> None:
    node = dataclasses.replace(MIXTRAL, gpus_by_tier={"rtx-pro-6000": 2})
    assert "rtx-pro-6000 machines on gcp have 1 GPU, one replica needs 2" in refusal(node, "rtx-pro-6000", "gcp")
    assert "g7e.2xlarge has 1 GPU, one replica needs 2" in refusal(node, "rtx-pro-6000", "aws", machine="g7e.2xlarge")


def test_tier_the_provider_does_not_have() -> None:
    text = refusal(FLUX, "a10g", "azure")
    assert "azure has no machine with it; its tiers are t4, a10, a100-80gb, h100, h200" in text
    assert "The smallest tier on azure that would do is h100" in text


def test_more_gpus_are_not_invented() -> None:
    text = refusal(MIXTRAL, "l4", "aws")
    assert "22.4 GiB of GPU memory, at least 100 GiB" in text
    assert "nothing is known about Mixtral on it" in refusal(
        dataclasses.replace(MIXTRAL, min_gpu_memory_gib=90), "rtx-pro-6000", "aws"
    )


@pytest.mark.parametrize(
    ("tier", "provider", "without_fp8"),
    [("l4", "aws", False), ("a10g", "aws", True), ("a10", "azure", True), ("a100", "gcp", True), ("l4", "gcp", False)],
)
def test_plausible_tier_is_allowed_with_a_warning(tier: str, provider: str, without_fp8: bool) -> None:
    [warning] = _fit.check(FLUX, tier, provider).warnings
    assert f"FLUX Dev on {tier} is not on NVIDIA's list" in warning
    assert "plausible, unverified" in warning
    assert ("no FP8" in warning) is without_fp8


def test_machine_of_another_tier_is_an_error_even_when_skipping() -> None:
    text = refusal(FLUX, "l4", "aws", machine="g5.4xlarge", skip=True)
    assert text == "g5.4xlarge has GPUs of tier a10g, not l4: set gpu_tier to a10g"


def test_unknown_machine_and_provider() -> None:
    with pytest.raises(_gpu.UnknownMachineError, match=r"g6e\.2xlarge"):
        _fit.check(FLUX, "l40s", "aws", machine="g6e.2xl")
    with pytest.raises(ValueError, match="no provider 'oracle'"):
        _fit.check(FLUX, "l40s", "oracle")
    with pytest.raises(ValueError, match=r"machine 'g6e\.2xlarge' cannot be chosen on nvidia"):
        _fit.check(FLUX, "l40s", "nvidia", machine="g6e.2xlarge")


def test_unknown_tier_stays_an_error_when_skipping() -> None:
    with pytest.raises(_gpu.UnknownTierError):
        _fit.check(FLUX, "cpu", "aws", skip=True)


def test_skip_turns_refusals_into_warnings() -> None:
    fit = _fit.check(FLUX, "t4", "aws", skip=True)
    assert fit.machine is not None
    assert (fit.machine.name, fit.gpus) == ("g4dn.4xlarge", 1)
    assert len(fit.warnings) == 2
    assert all("skip_fit_check is set" in warning for warning in fit.warnings)
    idle = _fit.check(FLUX, "a100", "aws", skip=True)
    assert idle.machine is not None
    assert idle.machine.name == "p4d.24xlarge"


def test_skip_takes_the_machine_that_was_asked_for() -> None:
    fit = _fit.check(FLUX, "l40s", "aws", machine="g6e.xlarge", skip=True)
    assert fit.machine is not None
    assert fit.machine.name == "g6e.xlarge"


def test_skip_needs_a_machine_all_the_same() -> None:
    assert "azure has no machine with it" in refusal(FLUX, "l40s", "azure", skip=True)


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("provider", _gpu.PROVIDERS)
def test_hosted_only_node_is_refused_with_the_alternative(provider: str, skip: bool) -> None:
    text = refusal(SDXL, "l40s", provider, skip=skip)
    assert "no SDXL container" in text
    assert "SD 3.5 Large" in text


def test_several_variants_in_one_container_are_unverified() -> None:
    [warning] = _fit.check(FLUX, "l40s", "aws", variants=["base", "canny", "depth"]).warnings
    assert "base, canny, depth in one container: unverified" in warning
    assert _fit.check(FLUX, "l40s", "aws", variants=["canny"]).warnings == ()


@pytest.mark.parametrize(
    ("node", "variants", "message"),
    [
        ("FLUX Dev", ["base", "edges"], "has no variant 'edges'; it has base, canny, depth"),
        ("Phi-3", ["base"], "it has none to choose from"),
        ("FLUX Dev", ["base", "base"], "named twice"),
    ],
)
def test_variants_the_image_does_not_have(node: str, variants: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _fit.check(_catalog.CATALOG[node], "l40s", "aws", variants=variants, skip=True)


def test_spot_only_machines_say_so() -> None:
    assert any("Spot" in warning for warning in _fit.check(FLUX, "h100", "gcp").warnings)


def test_where_the_hardware_is_not_ours_no_machine_is_chosen() -> None:
    assert _fit.check(FLUX, "l40s", "local") == _fit.Fit(None, 1, ())
    assert _fit.check(MIXTRAL, "l40s", "nvidia") == _fit.Fit(None, 4, ())
    assert "14.7 GiB" in refusal(FLUX, "t4", "local")


def test_measured_hardware() -> None:
    assert _fit.check(FLUX, "rtx-4090", "local", machine=BOX) == _fit.Fit(BOX, 1, ())
    small = dataclasses.replace(BOX, memory_gib=32)
    text = refusal(FLUX, "rtx-4090", "local", machine=small)
    assert text.endswith("this machine has 32 GiB of host memory, at least 40 are needed.")
    assert "has 1 GPU, 2 are needed" in refusal(FLUX, "rtx-4090", "local", machine=BOX, replicas=2)
    assert _fit.check(FLUX, "rtx-4090", "local", machine=small, skip=True).machine == small


def test_replicas_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        _fit.check(FLUX, "l40s", "aws", replicas=0)


def test_new_node_without_gpu_counts() -> None:
    new = {
        "kind": "llm",
        "image": "registry.example.com/nim/big",
        "tag": "1",
        "min_gpu_memory_gib": 60,
        "min_host_memory_gib": 64,
    }
    node = _catalog.load({"Big": new})["Big"]
    assert "44.7 GiB of GPU memory, at least 60 GiB" in refusal(node, "l40s", "aws")
    fit = _fit.check(node, "rtx-pro-6000", "aws")
    assert fit.machine is not None
    assert (fit.machine.name, fit.gpus) == ("g7e.2xlarge", 1)


@pytest.mark.parametrize("provider", ["aws", "azure", "gcp", "nvidia"])
@pytest.mark.parametrize("node", DEPLOYABLE, ids=lambda node: node.slug)
def test_default_tier_fits_and_nothing_listed_is_smaller(node: _catalog.Node, provider: str) -> None:
    default = _fit.default_tier(node, provider)
    _fit.check(node, default, provider)
    offered = _gpu.provider_tiers(provider)
    for smaller in offered[: offered.index(default)]:
        if smaller in node.listed_tiers:
            refusal(node, smaller, provider)
    if default not in node.listed_tiers:
        assert not any(_fits(node, name, provider) for name in node.listed_tiers if name in offered)


def _fits(node: _catalog.Node, tier: str, provider: str) -> bool:
    try:
        _fit.check(node, tier, provider)
    except _fit.FitError:
        return False
    return True


def test_default_tier_that_cannot_be_known() -> None:
    with pytest.raises(_fit.FitError, match="set gpu_tier; only you know"):
        _fit.default_tier(FLUX, "local")
    with pytest.raises(_fit.FitError, match="no SDXL container"):
        _fit.default_tier(SDXL, "aws")
    giant = dataclasses.replace(FLUX, min_gpu_memory_gib=1000)
    with pytest.raises(_fit.FitError, match="runs on no tier of gcp"):
        _fit.default_tier(giant, "gcp")
    assert refusal(giant, "h100", "gcp").endswith("No tier of gcp would do.")


def test_unlisted_way_out_is_marked() -> None:
    klein = _catalog.CATALOG["FLUX.2 Klein"]
    assert "is l4 (g6.4xlarge), which is not on NVIDIA's list." in refusal(klein, "t4", "aws")
