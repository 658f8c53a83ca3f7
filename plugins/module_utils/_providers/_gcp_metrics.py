# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""When the GPUs of NIMs on GKE worked, from the duty cycle in Cloud Monitoring.

Each minute has a whole number in percent for each GPU of a container. It covers the last 10 seconds of the minute only,
and there is none for a GPU that containers share by time-sharing or MPS:
https://cloud.google.com/kubernetes-engine/docs/how-to/gpus
GKE's metrics may be 240 seconds late:
https://www.elastic.co/guide/en/beats/metricbeat/8.3/metricbeat-metricset-gcp-gke.html
The call, and its pages of up to 100,000 points:
https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.timeSeries/list
"""

from __future__ import annotations

import math
import typing as t
import urllib.parse

from ansible_collections.budgetguard.techops.plugins.module_utils import _usage, _usage_metrics
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _gpu_metrics
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_session import GcpSession
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gpu_metrics import PERIOD, WINDOW
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._kube_objects import CONTAINER

SOURCE = "cloud_monitoring"
METRIC = "kubernetes.io/container/accelerator/duty_cycle"

LATE = 240.0
"""Seconds for which a point is not believed: others may come so much later."""

PAGE_POINTS = 100_000

_DOING = "read the GPUs' duty cycle in Cloud Monitoring"


class GcpMetrics:
    """Reads the metrics of one GKE cluster's NIMs."""

    def __init__(self, session: GcpSession, options: t.Mapping[str, t.Any]) -> None:
        self._session = session
        labels = {
            "cluster_name": options["cluster"],
            "location": options["location"],
            "namespace_name": options["namespace"],
            "container_name": CONTAINER,
        }
        asked = [f'resource.labels.{name} = "{_usage.plain_name(name, value)}"' for name, value in labels.items()]
        self._filter = " AND ".join([f'metric.type = "{METRIC}"', 'resource.type = "k8s_container"', *asked])

    @classmethod
    def connect(cls, options: t.Mapping[str, t.Any]) -> GcpMetrics:
        """Open a session with a module's options."""
        return cls(GcpSession(options), options)

    def read(self, nodes: t.Sequence[str], now: float) -> dict[str, _usage_metrics.Counted]:
        """Return what is known of each NIM, by its name in the log. Those without a point are left out.

        Raises ProviderError.
        """
        return _gpu_metrics.counted(SOURCE, self._series(now), nodes, now=now, late=LATE)

    def _series(self, now: float) -> list[tuple[str, _gpu_metrics.Series]]:
        """Return the pod, and percent by the beginnings of minutes, of each GPU. A page may end within one's points."""
        found: dict[tuple[tuple[str, str], ...], tuple[str, _gpu_metrics.Series]] = {}
        token = None
        while True:
            page = self._page(now, token)
            if page.get("executionErrors"):
                # What there is may be a part, and what is missing would look like a pod that was never there.
                said = "; ".join(str(error.get("message") or error) for error in page["executionErrors"])
                raise ProviderError(f"cannot {_DOING}: Google told a part only: {said}")
            for item in page.get("timeSeries", []):
                labels = {**item["resource"]["labels"], **item["metric"].get("labels", {})}
                pod = labels["pod_name"]
                _pod, series = found.setdefault(tuple(sorted(labels.items())), (pod, {}))
                series.update(filter(None, map(_point, item.get("points", []))))
            token = page.get("nextPageToken")
            if not token:
                return list(found.values())

    def _page(self, now: float, token: str | None) -> dict[str, t.Any]:
        words = {
            "filter": self._filter,
            "interval.startTime": _usage.exact(now - WINDOW),
            "interval.endTime": _usage.exact(now),
            "view": "FULL",
            "pageSize": str(PAGE_POINTS),
            **({"pageToken": token} if token else {}),
        }
        path = f"/v3/projects/{self._session.project}/timeSeries?{urllib.parse.urlencode(words)}"
        return self._session.rest(_DOING, "GET", self._session.monitoring_url + path) or {}


def _point(point: t.Mapping[str, t.Any]) -> tuple[float, float] | None:
    """Return the beginning of a point's minute, and its value. None, and thus a gap, for a point of another form.

    Google writes whole numbers of 64 bits as texts.
    """
    end, value = _usage.moment(point["interval"]["endTime"]), point["value"].get("int64Value")
    if end is None or value is None:
        return None
    return math.ceil(end / PERIOD) * PERIOD - PERIOD, float(value)


__all__ = ("LATE", "METRIC", "SOURCE", "GcpMetrics")
