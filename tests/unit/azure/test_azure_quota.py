# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which quotas are needed, and which are too small."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _gpu
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _azure_quota as quota
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_quota import Need
from tests.unit.azure.cases import A10, A100, nim, nim_step, pool_step

SYSTEM = ("Standard_D4as_v5", 2)
A100_FAMILY = "StandardNCADSA100v4Family"


def usage(name: str, limit: int, used: int = 0, title: str = "") -> dict[str, t.Any]:
    return {"name": {"value": name, "localizedValue": title}, "limit": limit, "currentValue": used, "unit": "Count"}


def test_a_new_cluster_needs_its_system_machines_at_once() -> None:
    assert quota.needs_of([], [], SYSTEM) == [Need("standardDASv5Family", 8, now=True)]


def test_a_started_nim_needs_a_machine_for_each_new_copy() -> None:
    item = nim(start=True, replicas=3)
    assert quota.needs_of([item], [nim_step(item, after=3, before=1)], None) == [Need(A100_FAMILY, 48, now=True)]
    assert quota.needs_of([item], [pool_step(item), nim_step(item, after=3)], None) == [Need(A100_FAMILY, 72, now=True)]


def test_a_pool_for_nims_that_stay_off_needs_a_machine_later() -> None:
    item = nim()
    assert quota.needs_of([item], [pool_step(item), nim_step(item, after=0)], None) == [
        Need(A100_FAMILY, 24, now=False)
    ]


@pytest.mark.parametrize(("after", "before"), [(0, 1), (1, 1), (0, 0), (0, None)])
def test_what_starts_nothing_needs_nothing(after: int, before: int | None) -> None:
    item = nim()
    assert quota.needs_of([item], [nim_step(item, after, before), pool_step(item, "update")], None) == []


def test_every_gpu_tier_of_azure_has_a_family() -> None:
    assert set(_gpu.provider_tiers("azure")) == set(quota.GPU_FAMILIES)


@pytest.mark.parametrize(
    ("machine", "size"),
    [
        ("Standard_D4as_v5", ("standardDASv5Family", 4)),
        ("Standard_D16s_v5", ("standardDSv5Family", 16)),
        ("Standard_B4ms", ("", 0)),
    ],
)
def test_what_the_name_of_a_machine_type_tells(machine: str, size: tuple[str, int]) -> None:
    family, vcpus = quota.size_of(machine)
    assert (family.lower(), vcpus) == (size[0].lower(), size[1])


def test_a_quota_that_is_too_small_is_named_with_its_numbers() -> None:
    found = quota.problems(
        [Need(A100_FAMILY, 48, now=True)],
        [usage("cores", 500), usage("standardncadsa100v4family", 60, 24, "Standard NCADSA100v4 Family vCPUs")],
        "eastus",
    )
    assert len(found) == 1
    assert found[0] == (
        "the quota Standard NCADSA100v4 Family vCPUs (standardncadsa100v4family) of region eastus is too small: its "
        "limit is 60 vCPUs, 24 are in use, 48 more are needed. Ask for more in the Azure portal under Quotas, Compute."
    )


def test_the_total_counts_all_families() -> None:
    needs = [Need(A100_FAMILY, 24, now=True), Need("standardDASv5Family", 8, now=True)]
    assert quota.problems(needs, [usage("cores", 32)], "eastus") == []
    assert "(cores)" in quota.problems(needs, [usage("cores", 31)], "eastus")[0]


def test_needs_of_one_family_add_up() -> None:
    needs = [Need(A100_FAMILY, 24, now=True), Need(A100_FAMILY, 24, now=True)]
    assert len(quota.problems(needs, [usage(A100_FAMILY, 47)], "eastus")) == 1
    assert quota.problems(needs, [usage(A100_FAMILY, 48)], "eastus") == []


def test_for_later_only_the_limit_counts() -> None:
    needs = [Need(A100_FAMILY, 24, now=False), Need(A100_FAMILY, 24, now=False)]
    assert quota.problems(needs, [usage(A100_FAMILY, 24, 24)], "eastus") == []
    assert "too small for even one of the machines" in quota.problems(needs, [usage(A100_FAMILY, 0)], "eastus")[0]


def test_spaces_and_case_of_family_names_do_not_count() -> None:
    needs = [Need(quota.GPU_FAMILIES["t4"], 8, now=True)]
    assert len(quota.problems(needs, [usage("StandardNCASv3_T4Family", 0)], "eastus")) == 1


def test_a_family_that_azure_does_not_list_is_not_judged() -> None:
    assert quota.problems([Need("", 24, now=True), Need("other", 8, now=True)], [usage("cores", 32)], "eastus") == []


def test_nims_of_several_tiers() -> None:
    first, second = nim(A100, start=True), nim(A10)
    steps = [pool_step(second), nim_step(first, 1, 0), nim_step(second, 0)]
    assert quota.needs_of([first, second], steps, None) == [
        Need(A100_FAMILY, 24, now=True),
        Need("StandardNVADSA10v5Family", 36, now=False),
    ]
