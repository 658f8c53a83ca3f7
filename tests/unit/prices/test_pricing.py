# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What deployments are made of, and the sums over it. The parts are those that the providers really make."""

from __future__ import annotations

import dataclasses
import typing as t
from decimal import Decimal

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _gpu, _pricing
from ansible_collections.budgetguard.techops.plugins.module_utils._pricing import Nim, Part, Quote, Target, Thing

AWS = Target("aws-us-east-1", "aws", "us-east-1", {"region": "us-east-1"})
AZURE = Target("azure-eastus", "azure", "eastus", {"region": "eastus"})
GCP = Target("gcp-us-central1", "gcp", "us-central1", {"location": "us-central1-a"})


def nim(provider: str, machine: str, **options: t.Any) -> Nim:
    """Return a NIM on a machine type."""
    row = _gpu.machine(provider, machine)
    return Nim("FLUX Dev", row.tier, row, **options)


def quantities(parts: t.Sequence[Part]) -> dict[str, Decimal]:
    """Return how much there is of each thing."""
    return {part.thing.key if part.thing else part.what: part.quantity for part in parts}


def test_a_nim_on_ecs_is_a_machine_with_its_disk_for_each_copy() -> None:
    parts = _pricing.parts_of_nim(AWS, nim("aws", "g6e.2xlarge", replicas=2, disk_gib=200))
    assert quantities(parts) == {
        "aws/us-east-1/machine/g6e.2xlarge": 2,
        "aws/us-east-1/gp3_gib_month/": 600,
        "aws/us-east-1/gp3_mibps_month/": 750,
        "aws/us-east-1/public_ipv4_hour/": 2,
    }
    private = dataclasses.replace(AWS, options={"subnet_ids": ["subnet-1"]})
    assert "public address" not in [part.what for part in _pricing.parts_of_nim(private, nim("aws", "g6e.2xlarge"))]


def test_the_parts_of_a_nim_on_ecs_are_those_of_its_launch_template() -> None:
    from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog
    from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import resolve_all
    from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _aws_objects

    option = {"node": "FLUX Dev", "gpu_tier": "l40s", "state": "present"}
    (wanted,), _none = resolve_all([option], "aws", _catalog.CATALOG)
    names = _aws_objects.Names("budgetguard", "us-east-1")
    (disk,) = _aws_objects.launch_template(names, wanted, "sg-1", "ami-1", {})["BlockDeviceMappings"]
    parts = quantities(
        _pricing.parts_of_nim(AWS, Nim(wanted.node, wanted.gpu_tier, wanted.machine, disk_gib=wanted.disk_gib))
    )
    assert parts["aws/us-east-1/gp3_gib_month/"] == disk["Ebs"]["VolumeSize"]
    assert parts["aws/us-east-1/gp3_mibps_month/"] == disk["Ebs"]["Throughput"] - 125
    cpu, memory = Decimal(_aws_objects.GATEWAY_CPU) / 1024, Decimal(_aws_objects.GATEWAY_MEMORY) / 1024
    fixed = quantities(_pricing.parts_of_target(dataclasses.replace(AWS, gateway=True), []))
    assert fixed["aws/us-east-1/fargate_arm_vcpu_hour/"] == cpu
    assert fixed["aws/us-east-1/fargate_arm_gib_hour/"] == memory


def test_the_disks_of_clusters_are_those_that_are_asked_for() -> None:
    from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _azure_objects, _gcp_objects

    assert vars(_pricing)["_AZURE_GPU_DISK_GIB"] == _azure_objects.GPU_DISK_GIB
    assert vars(_pricing)["_GCP_GPU_DISK_GIB"] == vars(_gcp_objects)["_GPU_DISK_GB"]
    assert vars(_pricing)["_GCP_SYSTEM_DISK_GIB"] == vars(_gcp_objects)["_SYSTEM_DISK_GB"]


def test_azure_takes_the_machines_own_disk_where_it_is_large_enough() -> None:
    small = _pricing.parts_of_nim(AZURE, nim("azure", "Standard_NC24ads_A100_v4"))
    assert quantities(small) == {
        "azure/eastus/machine/Standard_NC24ads_A100_v4": 1,
        "azure/eastus/managed_disk_month/P15": 1,
    }
    large = _pricing.parts_of_nim(AZURE, nim("azure", "Standard_NV36ads_A10_v5"))
    assert quantities(large) == {"azure/eastus/machine/Standard_NV36ads_A10_v5": 1}


def test_a_nim_on_gke_has_a_start_disk_and_an_address_unless_machines_are_private() -> None:
    parts = _pricing.parts_of_nim(GCP, nim("gcp", "a2-ultragpu-1g", replicas=3))
    assert quantities(parts) == {
        "gcp/us-central1/machine/a2-ultragpu-1g": 3,
        "gcp/us-central1/balanced_disk_gib_month/": 600,
        "gcp/us-central1/public_ipv4_hour/": 3,
    }
    private = dataclasses.replace(GCP, options={**GCP.options, "private_nodes": True})
    spot = _pricing.parts_of_nim(private, nim("gcp", "a3-highgpu-1g", provisioning="spot"))
    assert quantities(spot) == {
        "gcp/us-central1/spot_machine/a3-highgpu-1g": 1,
        "gcp/us-central1/balanced_disk_gib_month/": 200,
    }


def test_what_is_paid_day_and_night() -> None:
    flux = nim("aws", "g6e.2xlarge")
    assert quantities(_pricing.parts_of_target(AWS, [flux])) == {
        "aws/us-east-1/load_balancer_hour/": 1,
        "aws/us-east-1/vault_entry_month/": 1,
    }
    # Nothing is deployed, so nothing is there that costs.
    assert _pricing.parts_of_target(AWS, []) == []
    gateway = dataclasses.replace(AWS, gateway=True, options={"gateway_replicas": 2, "scheme": "internal"})
    assert quantities(_pricing.parts_of_target(gateway, [flux])) == {
        "aws/us-east-1/load_balancer_hour/": 1,
        "aws/us-east-1/vault_entry_month/": 1,
        "aws/us-east-1/fargate_arm_vcpu_hour/": Decimal("0.5"),
        "aws/us-east-1/fargate_arm_gib_hour/": 1,
        "aws/us-east-1/public_ipv4_hour/": 2,
    }
    assert quantities(_pricing.parts_of_target(AZURE, [nim("azure", "Standard_NC24ads_A100_v4", disk_gib=100)])) == {
        "azure/eastus/machine/Standard_D4as_v5": 2,
        "azure/eastus/managed_disk_month/P10": 2,
        "azure/eastus/load_balancer_hour/": 1,
        "azure/eastus/public_ipv4_hour/": 1,
        "azure/eastus/managed_disk_month/E10": 1,
    }
    assert quantities(_pricing.parts_of_target(GCP, [])) == {
        "gcp/us-central1/cluster_hour/zonal": 1,
        "gcp/us-central1/machine/e2-standard-4": 2,
        "gcp/us-central1/balanced_disk_gib_month/": 100,
        "gcp/us-central1/load_balancer_hour/": 1,
        "gcp/us-central1/public_ipv4_hour/": 2,
    }


@pytest.mark.parametrize(("location", "machines"), [("us-central1-a", 2), ("us-central1", 3)])
def test_the_machines_of_a_gke_cluster_are_as_many_as_are_made(location: str, machines: int) -> None:
    from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_settings import GcpSettings

    target = dataclasses.replace(GCP, options={"location": location})
    parts = quantities(_pricing.parts_of_target(target, []))
    assert parts["gcp/us-central1/machine/e2-standard-4"] == machines == GcpSettings(location).system_nodes_in_all


def test_a_disk_of_the_studios_own_storage_class_is_not_known() -> None:
    target = dataclasses.replace(AZURE, options={"storage_class": "fast"})
    (volume,) = (
        part
        for part in _pricing.parts_of_target(target, [nim("azure", "Standard_NC24ads_A100_v4")])
        if part.what.startswith("model of")
    )
    assert volume.thing is None
    assert "storage_class" in str(volume.why)


@pytest.mark.parametrize(
    ("target", "asked", "reason"),
    [
        (Target("n", "nvidia", "", {}), Nim("FLUX Dev", "l40s", None), "NVIDIA has no public price API"),
        (Target("l", "local", "", {}), Nim("FLUX Dev", "l40s", None), "set local_hourly_usd"),
        (AWS, Nim("FLUX Dev", "l40s", None), "machine type is not known"),
        (GCP, nim("gcp", "a3-highgpu-1g", provisioning="flex-start"), "Flex-start"),
    ],
)
def test_what_cannot_be_priced_says_why(target: Target, asked: Nim, reason: str) -> None:
    with pytest.raises(_pricing.PricingError, match=reason):
        _pricing.parts_of_nim(target, asked)


def quotes_of(parts: t.Sequence[Part], amount: str = "1") -> dict[Thing, Quote]:
    """Return a price of the API for each part."""
    return {
        thing: Quote(Decimal(amount), _pricing.API, "2026-11-28T10:00:00Z", "test")
        for thing in _pricing.things_of(parts)
    }


def test_sums_are_exact_and_a_month_has_730_hours() -> None:
    parts = _pricing.parts_of_nim(AWS, nim("aws", "g6e.2xlarge", disk_gib=100))
    quotes = quotes_of(parts, "0.1")
    total = _pricing.priced(parts, quotes)
    expected = Decimal("0.1") + 200 * Decimal("0.1") / 730 + 375 * Decimal("0.1") / 730 + Decimal("0.1")
    assert total.hourly == total.at_least == expected
    assert total.source == _pricing.API
    assert total.as_of == "2026-11-28T10:00:00Z"
    assert total.unknown == ()
    # Ten tenths are one, as floats they would not be.
    tenth = Part("tenth", Decimal(1), Thing("aws", "us-east-1", _pricing.ALB_HOUR))
    assert _pricing.priced([tenth] * 10, quotes_of([tenth], "0.1")).hourly == 1


def test_a_sum_with_a_gap_is_no_sum() -> None:
    parts = _pricing.parts_of_nim(AWS, nim("aws", "g6e.2xlarge"))
    quotes = quotes_of(parts)
    gap = Thing("aws", "us-east-1", _pricing.GP3_MONTH)
    quotes[gap] = Quote(None, why="the API did not answer", passing=True)
    total = _pricing.priced(parts, quotes)
    assert total.hourly is None
    assert total.at_least == 1 + Decimal(375) / 730 + 1
    assert total.unknown == ("disk of the machine: the API did not answer",)
    assert total.passing
    del quotes[gap]
    assert not _pricing.priced(parts, quotes).passing


def test_the_least_certain_source_and_the_oldest_date_count() -> None:
    parts = _pricing.parts_of_nim(AWS, nim("aws", "g6e.2xlarge"))
    quotes = quotes_of(parts)
    listed = Thing("aws", "us-east-1", _pricing.MACHINE, "g6e.2xlarge")
    quotes[listed] = Quote(Decimal(2), _pricing.LIST, "2025-11-30T00:00:00Z", "a page")
    total = _pricing.priced(parts, quotes)
    assert (total.source, total.as_of) == (_pricing.LIST, "2025-11-30T00:00:00Z")


def test_a_start_costs_the_minutes_that_serve_nobody() -> None:
    assert _pricing.start_cost("aws", Decimal(4)) == Decimal(4) * 45 / 60
    assert _pricing.start_cost("azure", Decimal(3)) == Decimal(3) * 40 / 60
    assert _pricing.start_cost("local", Decimal(3)) is None
