# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Azure's bill, by Cost Management's Query.

https://learn.microsoft.com/rest/api/cost-management/query/usage: a question has two things to group by at most, a page
is continued by sending the question to ``nextLink``, and the columns of an answer are named in it. A tag to group by
comes as the columns TagKey and TagValue. Who asks too often gets 429 with headers of its own.

AKS puts a cluster's tags on what belongs to the cluster, and a pool's tags on the pool's machines
(learn.microsoft.com/azure/aks/use-tags). Machines, disks, load balancer and addresses are in a resource group that AKS
makes. Where the cluster was made here, everything in it is the target's whatever its tags.
"""

from __future__ import annotations

import dataclasses
import datetime
import time
import typing as t
from decimal import Decimal, InvalidOperation

from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import CLUSTER_TAG, MANAGED_TAG, TIER_TAG
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_session import AzureSession
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._price_api import (
    MOST_PAGES,
    JsonApi,
    same_host,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._spend import Line, Reading, merged

ENDPOINT = "https://management.azure.com"
API_VERSION = "2023-11-01"
GROUP = "ResourceGroupName"

PATIENCE = 90.0
"""Seconds. The limits of Cost Management are by ten seconds, by minute and by hour; the last one is not waited for."""

_NAME_LIMIT = 80


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A target: the cluster, its resource group, and its region where that is known."""

    target: str
    name: str
    resource_group: str
    region: str = ""
    machines_group: str | None = None
    """The resource group that AKS has made for machines, None if it could not be asked."""

    ours: bool = False
    """Whether the cluster was made here, so that everything in that resource group is the target's."""

    def usual(self) -> Cluster:
        """Return it with the name that AKS gives this group unless it is told another one."""
        if not self.region:
            return self
        name = f"MC_{self.resource_group}_{self.name}_{self.region}"[:_NAME_LIMIT]
        return dataclasses.replace(self, machines_group=name)

    def has(self, group: str) -> bool:
        """Say whether a resource group is the target's. Azure tells them in any case of letters."""
        group = group.lower()
        if self.machines_group is None:
            mine = group.startswith(f"mc_{self.resource_group}_{self.name}_".lower())
        else:
            mine = group == self.machines_group.lower()
        return mine or group == self.resource_group.lower()


class AzureSpend:
    """Asks about clusters of one subscription, no two of them in the same resource group."""

    def __init__(
        self,
        options: t.Mapping[str, t.Any],
        *,
        session: t.Callable[[t.Mapping[str, t.Any]], AzureSession] = AzureSession,
        sleep: t.Callable[[float], None] = time.sleep,
    ) -> None:
        self._session = session(options)
        self._base = str(options.get("resource_manager_endpoint") or ENDPOINT).rstrip("/")
        self._api = JsonApi(sleep, patience=PATIENCE)

    def read(self, clusters: t.Sequence[Cluster], first_day: str, last_day: str) -> Reading:
        """Return what was billed from the first day to the last."""
        clusters = [self._with_group(cluster) for cluster in clusters]
        lines: list[Line] = []
        strangers: set[str] = set()
        for row in self._rows(_question(clusters, first_day, last_day)):
            group = str(row.get(GROUP) or "")
            owner = next((cluster for cluster in clusters if cluster.has(group)), None)
            if owner is None:
                strangers.add(group)
            else:
                lines.append(_line(owner.target, row))
        notes = tuple(
            f"the resource group {group} has costs under the tag {CLUSTER_TAG}, and is of no target asked about"
            for group in sorted(strangers)
        )
        unknown = {}
        if not lines:
            why = (
                f"nothing since {first_day} is billed in the resource groups of the cluster or under the tag "
                f"{CLUSTER_TAG}; see whether the caller may read costs of the whole subscription"
            )
            unknown = {cluster.target: why for cluster in clusters}
        return Reading(merged(lines), unknown, notes, self._api.calls)

    def _with_group(self, cluster: Cluster) -> Cluster:
        """Ask AKS for the group of machines. Who reads bills need not have the right, and the cluster may be gone."""
        read = self._session.client.managed_clusters.get
        try:
            found: t.Any = self._session.call(
                f"read the AKS cluster {cluster.name}", lambda: read(cluster.resource_group, cluster.name)
            )
        except ProviderError:
            return cluster.usual()
        group = found.node_resource_group
        known = dataclasses.replace(cluster, machines_group=str(group)) if group else cluster.usual()
        return dataclasses.replace(known, ours=(found.tags or {}).get(MANAGED_TAG) == "true")

    def _rows(self, question: t.Mapping[str, t.Any]) -> t.Iterator[dict[str, t.Any]]:
        doing = f"read what Azure has billed in subscription {self._session.subscription} (Cost Management)"
        url: str | None = (
            f"{self._base}/subscriptions/{self._session.subscription}/providers/Microsoft.CostManagement/query"
            f"?api-version={API_VERSION}"
        )
        token = self._session.token(f"{self._base}/.default", doing)
        for _page in range(MOST_PAGES):
            if not url:
                return
            if not same_host(url, self._base):
                raise ProviderError(f"cannot {doing}: the next page is said to be somewhere else")
            answer = self._api.post(doing, url, question, {"Authorization": f"Bearer {token}"})
            try:
                properties = answer["properties"]
                names = [str(column["name"]) for column in properties["columns"]]
                rows = [dict(zip(names, row)) for row in properties["rows"]]
            except (KeyError, TypeError) as exc:
                raise ProviderError(f"cannot {doing}: the answer is not what the API should say") from exc
            yield from rows
            url = properties.get("nextLink") or None
        raise ProviderError(f"cannot {doing}: it has more than {MOST_PAGES} pages")


def _question(clusters: t.Sequence[Cluster], first_day: str, last_day: str) -> dict[str, t.Any]:
    groups = sorted({cluster.machines_group for cluster in clusters if cluster.ours and cluster.machines_group})
    tagged = {"tags": {"name": CLUSTER_TAG, "operator": "In", "values": sorted({item.name for item in clusters})}}
    mine: dict[str, t.Any] = tagged
    if groups:
        # Bills have names of groups in capitals or not; whether a filter minds that is not documented.
        values = sorted({*groups, *(group.lower() for group in groups)})
        mine = {"or": [{"dimensions": {"name": GROUP, "operator": "In", "values": values}}, tagged]}
    return {
        "type": "ActualCost",
        "timeframe": "Custom",
        "timePeriod": {"from": f"{first_day}T00:00:00Z", "to": f"{last_day}T23:59:59Z"},
        "dataset": {
            "granularity": "Daily",
            "aggregation": {"totalCost": {"name": "Cost", "function": "Sum"}},
            "grouping": [{"type": "TagKey", "name": TIER_TAG}, {"type": "Dimension", "name": GROUP}],
            "filter": mine,
        },
    }


def _line(target: str, row: t.Mapping[str, t.Any]) -> Line:
    try:
        day = str(row["UsageDate"])
        date = datetime.date(int(day[:4]), int(day[4:6]), int(day[6:])).isoformat()
        amount, currency = Decimal(str(row["Cost"])), str(row["Currency"])
    except (KeyError, ValueError, InvalidOperation) as exc:
        raise ProviderError(f"cannot read what Azure has billed: a row is not what it should be ({exc!r})") from exc
    return Line(date, target, amount, currency, gpu_tier=str(row.get("TagValue") or "") or None)
