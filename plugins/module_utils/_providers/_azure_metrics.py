# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""When the GPUs of NIMs on AKS worked, from NVIDIA's DCGM exporter in an Azure Monitor workspace (Managed Prometheus).

The call, its audience, and that a query names one metric and spans 32 days at most:
https://learn.microsoft.com/azure/azure-monitor/metrics/prometheus-api-promql
How the exporter is set up on AKS:
https://learn.microsoft.com/azure/aks/monitor-gpu-metrics
The label ``cluster``, the last part of the cluster's id:
https://learn.microsoft.com/azure/azure-monitor/containers/prometheus-metrics-scrape-default
Labels ``namespace``, ``pod`` and ``container`` of the exporter are those of whoever has the GPU. Prometheus renames
them to ``exported_namespace`` and so on where the scraped pod's own have these names, unless ``honor_labels`` is set:
https://prometheus.io/docs/prometheus/latest/configuration/configuration/#scrape_config
"""

from __future__ import annotations

import math
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _usage_metrics
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _gpu_metrics
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_session import (
    AzureSession,
    check_endpoint,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gpu_metrics import PERIOD, WINDOW
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._kube_objects import CONTAINER

SOURCE = "azure_monitor"
METRIC = "DCGM_FI_DEV_GPU_UTIL"
AUDIENCE = "https://prometheus.monitor.azure.com"

LATE = 600.0
"""Seconds for which a point is not believed. Microsoft promises nothing, so it is as much as for CloudWatch."""

_DOING = "read how busy the GPUs are in the Azure Monitor workspace"
_FORBIDDEN = "The caller needs the role Monitoring Data Reader on the Azure Monitor workspace."
_MOST_PERCENT = 100.0


class AzureMetrics:
    """Reads the metrics of one AKS cluster's NIMs."""

    def __init__(self, session: AzureSession, options: t.Mapping[str, t.Any]) -> None:
        self._session = session
        self._cluster, self._namespace = options["cluster"], options["namespace"]
        self._endpoint = check_endpoint(
            "prometheus_query_endpoint",
            options["prometheus_query_endpoint"],
            "https://studio-abcd.eastus.prometheus.monitor.azure.com",
        )

    @classmethod
    def connect(cls, options: t.Mapping[str, t.Any]) -> AzureMetrics:
        """Open a session with a module's options."""
        return cls(AzureSession(options), options)

    def read(self, nodes: t.Sequence[str], now: float) -> dict[str, _usage_metrics.Counted]:
        """Return what is known of each NIM, by its name in the log. Those without a point are left out.

        Raises ProviderError.
        """
        # Without honor_labels the plain ones are the exporter's own, so they match nothing.
        gpus = self._gpus("exported_", now) or self._gpus("", now)
        return _gpu_metrics.counted(SOURCE, gpus, nodes, now=now, late=LATE)

    def _gpus(self, prefix: str, now: float) -> list[tuple[str, _gpu_metrics.Series]]:
        """Return the pod, and percent by the beginnings of minutes, of each GPU."""
        end = math.floor(now / PERIOD) * PERIOD
        answer = self._session.post_form(
            _DOING,
            self._endpoint,
            "/api/v1/query_range",
            {
                "query": _query(prefix, self._cluster, self._namespace),
                "start": str(end - int(WINDOW)),
                "end": str(end),
                "step": str(PERIOD),
            },
            AUDIENCE,
            _FORBIDDEN,
        )
        if answer.get("status") != "success" or answer.get("warnings"):
            # What there is may be a part, and what is missing would look like a pod that was never there.
            said = "; ".join(map(str, answer.get("warnings") or [answer.get("error") or "it does not say why"]))
            raise ProviderError(f"cannot {_DOING}: Azure told a part only: {said}")
        return [(row["metric"].get(f"{prefix}pod", ""), _series(row["values"])) for row in answer["data"]["result"]]


def _query(prefix: str, cluster: str, namespace: str) -> str:
    """Return what is asked in PromQL. A range looks back no further than itself, so a gap stays one."""
    labels = {"cluster": cluster, f"{prefix}namespace": namespace, f"{prefix}container": CONTAINER}
    asked = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"max by ({prefix}pod, UUID) (max_over_time({METRIC}{{{asked}}}[{PERIOD}s]))"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _series(values: t.Iterable[t.Sequence[t.Any]]) -> _gpu_metrics.Series:
    """Read points, each of the minute up to its time. One that is no percentage is left out, and thus a gap."""
    found = {float(end) - PERIOD: float(value) for end, value in values}
    return {start: percent for start, percent in found.items() if 0 <= percent <= _MOST_PERCENT}


__all__ = ("AUDIENCE", "LATE", "METRIC", "SOURCE", "AzureMetrics")
