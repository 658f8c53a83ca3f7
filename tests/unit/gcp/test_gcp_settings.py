# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that cannot be, and what follows from the others."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _gpu
from tests.unit.gcp.cases import settings


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"location": "us-central1-a-b"}, "neither a zone such as us-central1-a nor a region"),
        ({"location": "USA"}, "neither a zone"),
        ({"location": "us-central1", "zone": "us-central1"}, "is not a zone"),
        ({"location": "us-central1", "zone": "us-east1-b"}, "not in the region of location us-central1"),
        ({"location": "us-central1-a", "zone": "us-central1-b"}, "not the zone of the cluster"),
        ({"cluster": "My_Cluster"}, "no name for a GKE cluster"),
        ({"cluster": "a" * 41}, "no name for a GKE cluster"),
        ({"cluster": "ends-"}, "no name for a GKE cluster"),
        ({"system_nodes": 0}, "at least 1 machine"),
    ],
)
def test_impossible_options(options: dict[str, t.Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        settings(**options)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"(?s)no name.*neither a zone.*system_nodes"):
        settings(cluster="_", location="x", system_nodes=-1)


@pytest.mark.parametrize(
    ("options", "zone", "system_nodes"),
    [
        ({"location": "europe-west4-b"}, "europe-west4-b", 2),
        ({"location": "europe-west4", "zone": "europe-west4-c"}, "europe-west4-c", 3),
        ({"location": "europe-west4", "zone": "europe-west4-c", "system_nodes": 2}, "europe-west4-c", 6),
    ],
)
def test_place(options: dict[str, t.Any], zone: str, system_nodes: int) -> None:
    found = settings(**options)
    assert (found.region, found.gpu_zone, found.system_nodes_in_all) == ("europe-west4", zone, system_nodes)


def test_a_region_needs_a_zone_for_gpus() -> None:
    with pytest.raises(ValueError, match="set zone to the zone whose GPU machines"):
        assert settings(location="us-central1").gpu_zone


@pytest.mark.parametrize(
    ("spot", "flex_start", "machine", "expected"),
    [
        ("never", False, "g2-standard-12", "on-demand"),
        ("never", True, "g2-standard-12", "on-demand"),
        ("where_needed", False, "g2-standard-12", "on-demand"),
        ("always", False, "g2-standard-12", "spot"),
        ("always", True, "g2-standard-12", "flex-start"),
        ("where_needed", False, "a3-highgpu-1g", "spot"),
        ("always", False, "a3-highgpu-1g", "spot"),
        ("never", True, "a3-highgpu-1g", "flex-start"),
        ("where_needed", True, "a3-highgpu-1g", "flex-start"),
        ("never", False, "a3-highgpu-8g", "on-demand"),
    ],
)
def test_how_machines_are_rented(spot: str, flex_start: bool, machine: str, expected: str) -> None:
    found = settings(spot=spot, flex_start=flex_start)
    assert found.provisioning(_gpu.machine("gcp", machine)) == expected


def test_a_machine_that_is_not_rented_on_demand() -> None:
    with pytest.raises(ValueError, match="does not rent a3-highgpu-1g on demand; set spot to where_needed"):
        settings().provisioning(_gpu.machine("gcp", "a3-highgpu-1g"))
