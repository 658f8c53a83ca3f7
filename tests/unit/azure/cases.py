# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NIMs, settings and answers of Azure for the tests."""

from __future__ import annotations

import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _gpu
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Wanted
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import Resource, Step
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _azure_objects as objects
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_settings import AzureSettings
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._cluster import GPU_POOL

A100, A10, T4 = "Standard_NC24ads_A100_v4", "Standard_NV36ads_A10_v5", "Standard_NC8as_T4_v3"


def settings(**changes: t.Any) -> AzureSettings:
    """Return the settings of a target in eastus."""
    return AzureSettings.from_options({"resource_group": "studio", "region": "eastus", **changes})


def nim(machine: str = A100, name: str = "nim-flux-dev", start: bool = False, replicas: int = 1) -> Wanted:
    """Return a NIM on a machine type."""
    found = _gpu.machine("azure", machine)
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


def pool_step(item: Wanted, action: str = "create") -> Step:
    """Return the step on the pool of a NIM."""
    name = objects.pool_name(item)
    want = Resource(GPU_POOL, name, objects.pool_spec(item, item.replicas), users=frozenset({item.name}))
    return Step(action, GPU_POOL, name, None, want=want)


def nim_step(item: Wanted, after: int, before: int | None = None) -> Step:
    """Return the step that brings the copies of a NIM from one number to another; None: there is no Deployment yet."""
    have = None if before is None else Resource("deployment", item.name, {"spec.replicas": before}, item.name)
    want = Resource("deployment", item.name, {"spec.replicas": after}, item.name)
    return Step("create" if have is None else "update", "deployment", item.name, item.name, want, have)


def answer(
    *pools: dict[str, t.Any], state: str = "Succeeded", power: str = "Running", ours: bool = True, **properties: t.Any
) -> dict[str, t.Any]:
    """Return what Azure says about a cluster that we made, or that somebody else did."""
    body = objects.cluster_body(settings(), "eastus", own_group=True)
    system = {**body["properties"].pop("agentPoolProfiles")[0], "provisioningState": state}
    return {
        **body,
        "name": "budgetguard",
        "location": "eastus",
        "tags": body["tags"] if ours else {"team": "render"},
        "properties": {
            **body["properties"],
            "agentPoolProfiles": [system, *pools],
            "provisioningState": state,
            "powerState": {"code": power},
            "currentKubernetesVersion": "1.36.4",
            "fqdn": "budgetguard-1.hcp.eastus.azmk8s.io",
            **properties,
        },
    }


def pool_answer(item: Wanted, state: str = "Succeeded", **properties: t.Any) -> dict[str, t.Any]:
    """Return what Azure says, in an answer about the cluster, of the pool that we made for a NIM."""
    body = objects.pool_body(settings(), objects.pool_spec(item, item.replicas), None)
    return {"name": objects.pool_name(item), **body["properties"], "provisioningState": state, **properties}
