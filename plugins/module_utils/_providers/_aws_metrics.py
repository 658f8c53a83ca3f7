# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""How often NIMs on ECS were asked, from the load balancer's metrics in CloudWatch.

Metrics, dimensions and when they are reported:
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
Limits of GetMetricData (500 queries, 100,800 values a page) are those of the CloudWatch API reference.
"""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _usage_metrics
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_objects import Names
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_session import AwsSession

SOURCE = "cloudwatch"
NAMESPACE = "AWS/ApplicationELB"
REQUESTS = ("RequestCountPerTarget", "Sum")
HEARTBEAT = ("HealthyHostCount", "Maximum")
"""Reported for each target group with targets, whether anybody asks for something or not."""

PERIOD = 60
LATE = 600.0
"""Seconds for which a metric is not believed: it may come so much later."""

STALE = 1800.0
"""Seconds without a heartbeat after which nothing is known: the NIM may have worked since."""

WINDOW = 86400.0
"""How far back is looked, in seconds."""

MOST_QUERIES = 500


class AwsMetrics:
    """Reads the metrics of one account's and region's load balancer."""

    def __init__(self, session: AwsSession, cluster: str) -> None:
        self._session = session
        self._names = Names(cluster, session.region)

    @classmethod
    def connect(cls, options: t.Mapping[str, t.Any]) -> AwsMetrics:
        """Open a session with a module's options."""
        return cls(AwsSession(options), options["cluster"])

    def read(self, nodes: t.Sequence[str], now: float) -> dict[str, _usage_metrics.Counted]:
        """Return what is known of each NIM, by its name in the log. Those that do not exist are left out.

        Raises ProviderError.
        """
        groups = self._groups(nodes)
        queries = [
            self._query(f"{letter}{number}", metric, groups[node])
            for number, node in enumerate(groups)
            for letter, metric in (("r", REQUESTS), ("h", HEARTBEAT))
        ]
        series: dict[str, dict[float, float]] = {}
        for first in range(0, len(queries), MOST_QUERIES):
            self._read_into(series, queries[first : first + MOST_QUERIES], now)
        return {
            node: _usage_metrics.counted(
                SOURCE,
                series.get(f"r{number}", {}),
                series.get(f"h{number}", {}).keys(),
                period=PERIOD,
                now=now,
                late=LATE,
                stale=STALE,
            )
            for number, node in enumerate(groups)
        }

    def _groups(self, nodes: t.Sequence[str]) -> dict[str, list[dict[str, str]]]:
        """Return the dimensions of each NIM's target group that a load balancer uses."""
        listed = self._session.pages(
            "elbv2",
            "describe_target_groups",
            "read the target groups",
            "TargetGroups",
            PaginationConfig={"PageSize": 400},
        )
        by_name = {group["TargetGroupName"]: group for group in listed if group.get("LoadBalancerArns")}
        found = {}
        for node in dict.fromkeys(nodes):
            group = by_name.get(self._names.target_group(f"nim-{node}"))
            if group is not None:
                found[node] = [
                    {"Name": "TargetGroup", "Value": group["TargetGroupArn"].rpartition(":")[2]},
                    {"Name": "LoadBalancer", "Value": group["LoadBalancerArns"][0].partition(":loadbalancer/")[2]},
                ]
        return found

    def _query(self, name: str, metric: tuple[str, str], dimensions: list[dict[str, str]]) -> dict[str, t.Any]:
        return {
            "Id": name,
            "MetricStat": {
                "Metric": {"Namespace": NAMESPACE, "MetricName": metric[0], "Dimensions": dimensions},
                "Period": PERIOD,
                "Stat": metric[1],
            },
        }

    def _read_into(self, series: dict[str, dict[float, float]], queries: list[dict[str, t.Any]], now: float) -> None:
        # Whole periods, or CloudWatch would begin its own ones in the middle of a minute.
        end = now // PERIOD * PERIOD + PERIOD
        results = self._session.pages(
            "cloudwatch",
            "get_metric_data",
            "read the load balancer's metrics",
            "MetricDataResults",
            MetricDataQueries=queries,
            StartTime=_time(end - WINDOW),
            EndTime=_time(end),
        )
        for result in results:
            values = series.setdefault(result["Id"], {})
            values.update(
                (moment.timestamp(), float(value)) for moment, value in zip(result["Timestamps"], result["Values"])
            )


def _time(moment: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(moment, datetime.timezone.utc)


__all__ = ("HEARTBEAT", "LATE", "NAMESPACE", "PERIOD", "REQUESTS", "SOURCE", "WINDOW", "AwsMetrics")
