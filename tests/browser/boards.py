# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Boards of studios of all sizes, for tests and for pictures."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.budgetguard.techops.plugins.module_utils import (
    _artists,
    _board,
    _catalog,
    _report,
    _report_files,
    _runs,
)

NOW = "2026-11-28T18:00:00Z"

GROUPS: dict[str, list[str]] = {
    "aws": ["aws-us-east-1", "aws-eu-central-1"],
    "azure": ["azure-eastus"],
    "gcp": ["gcp-us-central1"],
    "nvidia": ["nvidia-studio"],
    "local": ["gpu-box-1"],
}
GROUPS["nim_providers"] = sorted(host for hosts in GROUPS.values() for host in hosts)

MATRIX: dict[str, t.Any] = {
    "FLUX Dev": {"aws": {"gpu_tier": "l40s"}, "azure": {"gpu_tier": "a100-80gb"}, "gcp": {"gpu_tier": "t4"}},
    "FLUX Kontext": {"aws-us-east-1": {"gpu_tier": "h100"}},
    "FLUX Schnell": {"aws-us-east-1": {"gpu_tier": "l40s", "tag": "1.1.4", "env": {"NIM_LOG_LEVEL": "it's: DEBUG"}}},
    "SDXL": {"nvidia": "present"},
    "Llama 3.1": {"aws": {"gpu_tier": "l4", "replicas": 2}, "local": "present", "azure": {"gpu_tier": "a10"}},
    "Mixtral": {"aws": "absent"},
}


def deployment(node: str, tier: str, state: str = "running", **more: t.Any) -> dict[str, t.Any]:
    """Return a deployment as a target tells it."""
    slug = node.lower().replace(" ", "-").replace(".", "-")
    running = 1 if state == "running" else 0
    base = f"https://nim.example.com/{slug}-{tier}"
    return {
        "name": f"nim-{slug}-{tier}",
        "node": node,
        "gpu_tier": tier,
        "kind": "image",
        "serves": [node],
        "replicas": 1 if state != "stopped" else 0,
        "running": running,
        "state": state,
        "reason": None,
        "endpoint": base,
        "infer_url": f"{base}/v1/infer",
        "health_url": f"{base}/v1/health/ready",
        "region": None,
        "deployed_at": "2026-11-20T09:30:00Z",
        "running_since": "2026-11-28T07:15:00Z" if running else None,
        "auth": "gateway",
        **more,
    }


def target(name: str, *deployments: t.Mapping[str, t.Any], **more: t.Any) -> dict[str, t.Any]:
    """Return a target as it was read."""
    provider, _dash, region = name.partition("-")
    provider = {"gpu": "local"}.get(provider, provider)
    return {
        "target": name,
        "provider": provider,
        "region": region if provider in ("aws", "azure", "gcp") else None,
        "read": True,
        "asleep": False,
        "error": None,
        "deployments": list(deployments),
        **more,
    }


TARGETS: list[dict[str, t.Any]] = [
    target(
        "aws-us-east-1",
        deployment("FLUX Dev", "l40s"),
        deployment("FLUX Kontext", "h100", "failed", reason="The group could not get capacity for p5.4xlarge."),
        deployment("Llama 3.1", "l4", "starting", replicas=2, running=1),
        deployment("Phi-3", "l4", "stopped"),
    ),
    target("aws-eu-central-1", deployment("FLUX Dev", "l40s", "stopped")),
    target("azure-eastus", deployment("FLUX Dev", "a100-80gb", "running")),
    target("gcp-us-central1"),
    target("nvidia-studio", deployment("SDXL", "hosted", endpoint="https://ai.api.nvidia.com", auth="none")),
    target("gpu-box-1", deployment("Llama 3.1", "l40s", kind="llm")),
]

RUNS = [
    _runs.entry(
        "deploy",
        "2026-11-28T17:40:00Z",
        {
            "aws-us-east-1": {"changed": True},
            "azure-eastus": {
                "reason": "1 NIM failed",
                "deployments": [
                    {"node": "Llama 3.1", "gpu_tier": "a10", "error": "The subscription has no quota for NVadsA10v5."}
                ],
            },
        },
    ),
    _runs.entry("stop", "2026-11-27T19:00:00Z", {"aws-us-east-1": {"changed": True}}, job="1042"),
]


def priced(nodes: t.Iterable[str], targets: t.Sequence[t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Return a price of every node on every target and tier of a few; none where NVIDIA tells none."""
    hours = {"l4": 0.98, "l40s": 2.29, "a10": 1.8, "a100-80gb": 5.05, "h100": 7.9}
    return [
        {
            "node": node,
            "target": item["target"],
            "provider": item["provider"],
            "region": item["region"],
            "gpu_tier": tier,
            "replicas": 1,
            "hourly": None if item["provider"] == "nvidia" else hourly,
            "complete": item["provider"] != "gcp",
            "why": "NVIDIA has no public price API" if item["provider"] == "nvidia" else None,
        }
        for node in nodes
        for item in targets
        for tier, hourly in hours.items()
    ]


def board(
    targets: t.Sequence[t.Mapping[str, t.Any]] | None = None,
    matrix: t.Any = None,
    groups: t.Mapping[str, t.Sequence[str]] | None = None,
    **more: t.Any,
) -> dict[str, t.Any]:
    """Return the board of a studio."""
    shown = TARGETS if targets is None else targets
    catalog = more.pop("catalog", None) or _catalog.load(None)
    return _board.board(
        shown,
        matrix=MATRIX if matrix is None else matrix,
        groups=groups or GROUPS,
        catalog=catalog,
        generated_at=NOW,
        document=_artists.artists_config(shown, more.pop("published", None), generated_at=NOW, catalog=catalog),
        by_provider=_artists.provider_endpoints(shown),
        **{"prices": priced(catalog, shown), "runs": RUNS, "inventory": ["inventory/my studio"], **more},
    )


def large(nodes: int = 60, width: int = 12) -> dict[str, t.Any]:
    """Return the board of a studio with so many nodes and targets, all of them deployed."""
    own = {
        f"Node {number:02d}": {
            "image": f"nim/studio/node-{number}",
            "tag": "1.0.0",
            "kind": "image",
            "min_gpu_memory_gib": 20,
            "min_host_memory_gib": 16,
        }
        for number in range(nodes - len(_catalog.load(None)))
    }
    catalog = _catalog.load(own)
    hosts = [f"aws-region-{number}" for number in range(width)]
    groups = {"aws": hosts, "nim_providers": hosts}
    matrix = {name: {"aws": {"gpu_tier": "l40s"}} for name in catalog if not catalog[name].hosted_only}
    targets = [target(host, *(deployment(node, "l40s") for node in matrix)) for host in hosts]
    return board(targets, matrix, groups, catalog=catalog, runs=[])


def write(path: Path, found: t.Mapping[str, t.Any], *more: t.Mapping[str, t.Any]) -> Path:
    """Write a page with the tabs of a board, and more tabs."""
    tabs = [*found["tabs"], *more]
    path.write_text(_report.page(tabs, extensions=_report_files.EXTENSIONS), encoding="utf-8")
    return path
