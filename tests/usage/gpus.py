# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster with one NIM whose gateway has no log, what a cloud's metrics know of its GPUs, and what is made of it."""

from __future__ import annotations

import abc
import datetime
import time
import typing as t

from ansible_collections.budgetguard.techops.plugins.filter.nim_guard import nim_guard
from ansible_collections.budgetguard.techops.plugins.module_utils import _usage
from tests.usage.logs import Logs

NODE = "flux-dev-a100-80gb"
POD = f"nim-{NODE}-6f7c9d8b5-x2x4q"
MINUTE = 60.0
HEAD = {"name": f"nim-{NODE}", "node": "FLUX Dev", "gpu_tier": "a100-80gb", "state": "running", "replicas": 1}
URL = "http://10.0.0.5/flux-dev-a100-80gb"


class Gpus(abc.ABC):
    """A cluster with one NIM, and what the cloud's metrics know of its GPUs."""

    #: Labels of the NIM's first GPU.
    own: t.Mapping[str, str]
    #: How long before the end of a minute its sample is taken.
    earlier = 0.0

    def __init__(self, logs: Logs) -> None:
        self.logs = logs
        self.control = logs.control
        self.now = time.time() // MINUTE * MINUTE
        self._series: list[dict[str, t.Any]] = []

    def put(self, minutes: t.Iterable[int], busy: t.Container[int] = (), **labels: str) -> None:
        """Let a GPU have a point in the minute that ended so long ago, with 40 percent in some of them."""
        points = [(self.now - MINUTE * ago - self.earlier, 40 if ago in busy else 0) for ago in minutes]
        self._series.append({"labels": {**self.own, **labels}, "points": points})
        self.control.gpu_metrics(self.logs.cloud, series=self._series)

    def read(self, **options: t.Any) -> dict[str, t.Any]:
        """Run the module."""
        return self.logs.read(**{"nodes": [f"nim-{NODE}", "nim-not-there-l4"], **options})

    def nim(self, **options: t.Any) -> dict[str, t.Any]:
        """Return what the module tells of the NIM."""
        told = self.read(**options)
        assert [nim["source"] for nim in told["nims"] if nim["node"] != NODE] == [None]
        return next(nim for nim in told["nims"] if nim["node"] == NODE)

    def decision(self, looks: t.Any = None) -> dict[str, t.Any]:
        """Return what the guard makes of it."""
        running = _usage.iso(self.now - 300 * MINUTE)
        nim = {**HEAD, "endpoint": URL, "running_since": running, "serves": [], "reason": None}
        target = {"target": "one", "read": True, "asleep": False, "error": None, "deployments": [nim]}
        usages = [{"target": "one", "usage": self.read(), "error": ""}]
        asked = [{"url": URL, "busy": False, "busy_reason": "num_requests_running is 0"}]
        only = [{"target": "one", "name": nim["name"]}]
        found = nim_guard([target], usages, {"one": {}}, endpoints=asked, only=only, looks=looks, now=self.now)
        (row,) = found["decisions"]
        return dict(row)

    def ago(self, text: str | None) -> float:
        """Return a time in minutes before now."""
        assert text is not None
        found = datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
        return (self.now - found) / MINUTE


class GoogleGpus(Gpus):
    """Cloud Monitoring."""

    own: t.Mapping[str, str] = {
        "location": "us-central1-a",
        "cluster_name": "budgetguard",
        "namespace_name": "budgetguard",
        "pod_name": POD,
        "container_name": "nim",
        "make": "nvidia",
        "accelerator_id": "GPU-0",
        "model": "NVIDIA A100 80GB",
    }


class AzureGpus(Gpus):
    """NVIDIA's exporter in an Azure Monitor workspace, scraped as Microsoft says: the plain labels are its own."""

    earlier = 20.0
    own: t.Mapping[str, str] = {
        "cluster": "budgetguard",
        "namespace": "gpu-operator",
        "pod": "nvidia-dcgm-exporter-4m2xk",
        "container": "exporter",
        "exported_namespace": "budgetguard",
        "exported_pod": POD,
        "exported_container": "nim",
        "UUID": "GPU-0",
        "gpu": "0",
        "Hostname": "aks-a10080gb-1",
    }

    def read(self, **options: t.Any) -> dict[str, t.Any]:
        """Run the module with the workspace's address."""
        where = self.logs.sandbox.env["AZURE_LOG_ANALYTICS_ENDPOINT"]
        return super().read(**{"prometheus_query_endpoint": where, **options})
