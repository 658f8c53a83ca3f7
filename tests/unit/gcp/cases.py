# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NIMs and clusters for the tests, and a session that keeps them in memory."""

from __future__ import annotations

import base64
import typing as t

from google.cloud import container_v1

from ansible_collections.budgetguard.techops.plugins.module_utils import _gpu
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Wanted
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ConflictError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _gcp_objects as objects
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_session import BusyError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_settings import GcpSettings

PROJECT = "my-studio"
ZONE = "us-central1-a"
CA_PEM = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n"


def settings(**changes: t.Any) -> GcpSettings:
    """Return the settings of a cluster in one zone."""
    return GcpSettings.from_options({"location": ZONE, **changes})


def nim(machine: str, name: str = "nim-flux-dev", start: bool = False, replicas: int = 1) -> Wanted:
    """Return a NIM on a machine type."""
    found = _gpu.machine("gcp", machine)
    return Wanted(
        name=f"{name}-{found.tier}",
        node="FLUX Dev",
        gpu_tier=found.tier,
        image="nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.3",
        kind="image",
        machine=found,
        gpus=found.gpus,
        replicas=replicas,
        start=start,
        serves={"FLUX Dev": "base"},
        env={},
        infer_path="/v1/infer",
        disk_gib=100,
        shm_gib=8,
        needs_hf_token=False,
    )


def as_read(body: dict[str, t.Any], **changes: t.Any) -> dict[str, t.Any]:
    """Return a cluster as the SDK reads it, made of what we send and what GKE adds. Unknown fields are an error."""
    added = {
        "location": ZONE,
        "network": "default",
        "subnetwork": "default",
        "status": "RUNNING",
        "endpoint": "203.0.113.7",
        "current_master_version": "1.36.2-gke.1",
        "master_auth": {"cluster_ca_certificate": base64.b64encode(CA_PEM.encode()).decode()},
    }
    pools = [{"status": "RUNNING", **pool} for pool in body.get("node_pools", [])]
    cluster = container_v1.Cluster({**added, **body, "node_pools": pools, **changes})
    return dict(container_v1.Cluster.to_dict(cluster, use_integers_for_enums=False))


class FakeOperation:
    """What a call that changes something answers."""

    def __init__(self, name: str) -> None:
        self.name = name


class FakeSession:
    """Answers with ``looks``, one after the other and the last one for ever, and notes what is asked."""

    def __init__(self, *looks: dict[str, t.Any] | None) -> None:
        self.project = PROJECT
        self.looks = list(looks)
        self.calls: list[tuple[str, dict[str, t.Any]]] = []
        self.waited: list[str] = []
        self.asked_quotas: list[str | None] = []
        self.listed: dict[str | None, list[dict[str, t.Any]] | None] = {}
        self.refusals: dict[str, ConflictError] = {}

    def token(self) -> str:
        return "token"

    def cluster(self, name: str) -> dict[str, t.Any] | None:
        self.calls.append(("get_cluster", {"name": name}))
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    def call(self, doing: str, method: str, request: dict[str, t.Any], missing: bool = False) -> FakeOperation:
        self.calls.append((method, request))
        if method in self.refusals:
            raise self.refusals[method]
        return FakeOperation(f"operation-{len(self.calls)}")

    def wait(self, doing: str, operation: FakeOperation, location: str) -> None:
        self.waited.append(operation.name)

    def wait_for(self, operation: str, location: str) -> None:
        self.waited.append(operation)

    def pauses(self, doing: str) -> t.Iterator[float]:
        yield from range(10)

    def quotas(self, region: str | None) -> list[dict[str, t.Any]] | None:
        self.asked_quotas.append(region)
        return self.listed.get(region, [])

    @property
    def methods(self) -> list[str]:
        """What was called, in order."""
        return [method for method, _request in self.calls]


def our_cluster(*pools: dict[str, t.Any], **changes: t.Any) -> dict[str, t.Any]:
    """Return a cluster that we made, as it is read."""
    body = objects.cluster_body(PROJECT, settings())
    body["node_pools"] = [*body["node_pools"], *pools]
    return as_read(body, **changes)


def busy(operation: str | None = "operation-17-ab") -> BusyError:
    """Return the refusal of a call while another operation is at work."""
    return BusyError("cannot do it: Cluster is running incompatible operation", operation)
