# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What steps need of Compute Engine's quotas."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Wanted
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import Resource, Step
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _gcp_quota as quota
from tests.unit.gcp.cases import nim, settings


def deployment(item: Wanted, before: int | None, after: int) -> Step:
    """Return the step that brings a NIM from a number of copies to another."""
    want = Resource("deployment", item.name, {"spec.replicas": after}, item.name)
    have = None if before is None else Resource("deployment", item.name, {"spec.replicas": before}, item.name)
    return Step("create" if have is None else "update", "deployment", item.name, item.name, want, have)


def made(kind: str, name: str) -> Step:
    return Step("create", kind, name, None, want=Resource(kind, name, {}))


def amounts(needs: dict[str, quota.Need]) -> dict[str, tuple[int, int]]:
    return {metric: (need.now, need.one_machine) for metric, need in needs.items()}


def test_a_start_needs_gpus() -> None:
    item = nim("g2-standard-12", replicas=3, start=True)
    needs = quota.needs(settings(), [item], [deployment(item, 1, 3)])
    assert amounts(needs.region) == {"NVIDIA_L4_GPUS": (2, 1)}
    assert amounts(needs.project) == {"GPUS_ALL_REGIONS": (2, 1)}


def test_nothing_new_needs_nothing() -> None:
    item = nim("g2-standard-12", start=True)
    assert not quota.needs(settings(), [item], [])
    assert not quota.needs(settings(), [item], [deployment(item, 1, 1), deployment(item, 2, 0)])


def test_a_new_pool_must_be_able_to_hold_one_machine() -> None:
    item = nim("a2-highgpu-2g")
    needs = quota.needs(settings(), [item], [made("gpu_pool", "nim-a2-highgpu-2g"), deployment(item, None, 0)])
    assert amounts(needs.region) == {"NVIDIA_A100_GPUS": (0, 2)}


def test_a_new_cluster_needs_processors() -> None:
    needs = quota.needs(settings(system_machine="e2-standard-8"), [], [made("gke_cluster", "budgetguard")])
    assert amounts(needs.region) == {"CPUS": (16, 16)}
    assert amounts(needs.project) == {"CPUS_ALL_REGIONS": (16, 16)}
    regional = settings(location="us-central1", zone="us-central1-a")
    assert amounts(quota.needs(regional, [], [made("gke_cluster", "budgetguard")]).region) == {"CPUS": (12, 12)}


def test_t4_machines_share_the_processors_with_the_cluster() -> None:
    item = nim("n1-standard-16", start=True)
    needs = quota.needs(settings(), [item], [made("gke_cluster", "budgetguard"), deployment(item, None, 1)])
    assert amounts(needs.region) == {"CPUS": (24, 16), "NVIDIA_T4_GPUS": (1, 1)}


def test_machines_that_can_be_taken_away_have_a_quota_of_their_own() -> None:
    item = nim("a3-highgpu-1g", start=True)
    needs = quota.needs(settings(spot="where_needed"), [item], [deployment(item, 0, 1)])
    assert amounts(needs.region) == {"PREEMPTIBLE_NVIDIA_H100_GPUS": (1, 1)}
    assert not needs.project


@pytest.mark.parametrize(
    ("limit", "used", "need", "told"),
    [
        (4, 2, quota.Need(2, 1), None),
        (4, 3, quota.Need(2, 1), "the quota NVIDIA_L4_GPUS of region us-central1 is 4, 3 are in use and 2 more are"),
        (0, 0, quota.Need(0, 1), "is 0, 0 are in use and a machine needs 1"),
        (1, 1, quota.Need(0, 1), None),
    ],
)
def test_is_a_quota_enough(limit: float, used: float, need: quota.Need, told: str | None) -> None:
    listed = [{"metric": "NVIDIA_L4_GPUS", "limit": limit, "usage": used}]
    found = quota.problems({"NVIDIA_L4_GPUS": need}, listed, "region us-central1", "my-studio")
    assert len(found) == (0 if told is None else 1)
    if told:
        assert told in found[0]
        assert "https://console.cloud.google.com/iam-admin/quotas?project=my-studio" in found[0]


@pytest.mark.parametrize(
    ("listed", "told"),
    [
        ([("PREEMPTIBLE_NVIDIA_L4_GPUS", 1), ("NVIDIA_L4_GPUS", 0)], None),
        ([("PREEMPTIBLE_NVIDIA_L4_GPUS", 0), ("NVIDIA_L4_GPUS", 1)], None),
        ([("PREEMPTIBLE_NVIDIA_L4_GPUS", 0), ("NVIDIA_L4_GPUS", 0)], "the quota NVIDIA_L4_GPUS"),
    ],
)
def test_without_a_quota_for_spot_the_usual_one_counts(listed: list[tuple[str, int]], told: str | None) -> None:
    quotas: list[dict[str, t.Any]] = [{"metric": metric, "limit": limit, "usage": 0} for metric, limit in listed]
    found = quota.problems({"PREEMPTIBLE_NVIDIA_L4_GPUS": quota.Need(1, 1)}, quotas, "region r", "p")
    assert [told in text for text in found if told] == ([True] if told else [])


@pytest.mark.parametrize("listed", [[], None, [{"metric": "CPUS", "limit": 8, "usage": 8}]])
def test_what_is_not_listed_is_not_judged(listed: list[dict[str, t.Any]] | None) -> None:
    assert quota.problems({"NVIDIA_L4_GPUS": quota.Need(9, 9)}, listed, "region r", "p") == []
