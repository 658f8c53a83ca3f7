# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Google's bill, by a question to the table in BigQuery to which it is exported. There is no other API for it.

https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/query: an answer may say that the work is not done, and
has a page of rows, both continued by ``getQueryResults``. Whole numbers and all values are texts. A question costs by
what it reads, so it names the days by which the table is divided, and how much it may read at most.

GKE labels machines and disks with their cluster and its place. With GKE cost allocation the detailed export also
divides machines among workloads (cloud.google.com/kubernetes-engine/docs/how-to/cost-allocations). Our own labels are
on the cluster and on machines.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import time
import typing as t
from decimal import Decimal, InvalidOperation
from urllib.parse import quote

from ansible_collections.budgetguard.techops.plugins.module_utils import _http
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_objects import CLUSTER, TIER
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_session import GcpSession
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._kube_objects import GATEWAY
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._price_api import MOST_PAGES, JsonApi
from ansible_collections.budgetguard.techops.plugins.module_utils._spend import Line, Reading, merged

ENDPOINT = "https://bigquery.googleapis.com/bigquery/v2"
ENDPOINT_VARIABLE = "CLOUDSDK_API_ENDPOINT_OVERRIDES_BIGQUERY"

TIB_USD = Decimal("6.25")
"""What reading a TiB costs on demand in the US, without the first TiB of a month, which is free
(cloud.google.com/bigquery/pricing)."""

PAGE_ROWS = 5000
WAIT_MS = 20_000
"""So long BigQuery is to wait for its work before it answers that it is not done."""

_TIB = Decimal(2**40)
_TABLE = re.compile(r"[a-z][a-z0-9.:-]{3,}\.\w+\.[\w-]+")
_BUSY = frozenset({"rateLimitExceeded", "backendError", "internalError", "jobRateLimitExceeded"})

_QUESTION = """
SELECT day, project, cluster, ours, location, tier, workload, currency, SUM(cost) AS amount
FROM (
  SELECT
    FORMAT_DATE('%F', DATE(usage_start_time)) AS day,
    project.id AS project,
    currency,
    cost + IFNULL((SELECT SUM(credit.amount) FROM UNNEST(credits) AS credit), 0) AS cost,
    IFNULL(
      (SELECT label.value FROM UNNEST(labels) AS label WHERE label.key = @gke_cluster_label LIMIT 1),
      (SELECT label.value FROM UNNEST(labels) AS label WHERE label.key = @our_cluster_label LIMIT 1)
    ) AS cluster,
    (SELECT label.value FROM UNNEST(labels) AS label WHERE label.key = @our_cluster_label LIMIT 1) AS ours,
    (SELECT label.value FROM UNNEST(labels) AS label WHERE label.key = @location_label LIMIT 1) AS location,
    (SELECT label.value FROM UNNEST(labels) AS label WHERE label.key = @tier_label LIMIT 1) AS tier,
    (SELECT label.value FROM UNNEST(labels) AS label WHERE label.key = @workload_label LIMIT 1) AS workload
  FROM `{table}`
  WHERE _PARTITIONTIME >= TIMESTAMP(@first_day)
    AND usage_start_time >= TIMESTAMP(@first_day)
    AND project.id IN UNNEST(@projects)
)
WHERE cluster IN UNNEST(@clusters)
GROUP BY day, project, cluster, ours, location, tier, workload, currency
"""
_LABELS = {
    "gke_cluster": "goog-k8s-cluster-name",
    "our_cluster": CLUSTER,
    "location": "goog-k8s-cluster-location",
    "tier": TIER,
    "workload": "k8s-workload-name",
}
_OURS = ("nim-", "kube:", GATEWAY)
"""How the names of workloads begin that belong to a target."""

_FIELDS = ("day", "project", "cluster", "ours", "location", "tier", "workload", "currency", "amount")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A target: its cluster, where it is, and how its project is reached."""

    target: str
    name: str
    location: str
    options: t.Mapping[str, t.Any]


class GcpSpend:
    """Asks about clusters whose bill is in one table, with the credentials of the first of them."""

    def __init__(
        self,
        table: str,
        most_bytes: int,
        *,
        sleep: t.Callable[[float], None] = time.sleep,
    ) -> None:
        if not _TABLE.fullmatch(table):
            raise ValueError(
                f"spend_bigquery_table is {table!r}; it must be PROJECT.DATASET.TABLE of the billing export, such as "
                "studio-billing.billing.gcp_billing_export_resource_v1_012345_6789AB_CDEF01"
            )
        self._table = table
        self._most_bytes = most_bytes
        self._sleep = sleep
        self._base = (os.environ.get(ENDPOINT_VARIABLE) or ENDPOINT).rstrip("/")
        self._api = JsonApi(sleep, is_busy=_is_busy)
        self._bytes = 0

    def read(self, clusters: t.Sequence[Cluster], first_day: str) -> Reading:
        """Return what was billed from a day on."""
        sessions = [GcpSession(cluster.options) for cluster in clusters]
        places = [(session.project, cluster) for session, cluster in zip(sessions, clusters)]
        lines: list[Line] = []
        strangers: set[str] = set()
        for row in self._rows(sessions[0], places, first_day):
            if _is_of_others(row):
                continue
            owner = _owner(row, places)
            if owner is None:
                strangers.add(f"{row['cluster']} in {row['location'] or 'no location'} of project {row['project']}")
            else:
                lines.append(_line(owner, row))
        unknown = {}
        if not lines:
            why = (
                f"{self._table} has nothing since {first_day} of this cluster: see whether it is the export of the "
                "project's billing account, and since when"
            )
            unknown = {cluster.target: why for cluster in clusters}
        notes = tuple(
            f"the billing export has costs of the cluster {name}, which is none of the targets asked about"
            for name in strangers
        )
        cost = TIB_USD * self._bytes / _TIB
        return Reading(merged(lines), unknown, tuple(sorted(notes)), self._api.calls, cost, self._bytes)

    def _rows(
        self, session: GcpSession, places: t.Sequence[tuple[str, Cluster]], first_day: str
    ) -> t.Iterator[dict[str, str | None]]:
        doing = f"read what Google Cloud has billed from {self._table} (BigQuery)"
        headers = {"Authorization": f"Bearer {session.token()}"}
        jobs = f"{self._base}/projects/{quote(session.project)}/queries"
        answer = self._ask(doing, jobs, headers, self._request(places, first_day))
        self._bytes += int(answer.get("totalBytesBilled") or answer.get("totalBytesProcessed") or 0)
        for _page in range(MOST_PAGES):
            if answer.get("jobComplete"):
                yield from _read(doing, answer)
                if not answer.get("pageToken"):
                    return
            job = answer["jobReference"]
            url = (
                f"{jobs}/{quote(job['jobId'])}?maxResults={PAGE_ROWS}&timeoutMs={WAIT_MS}"
                f"&location={quote(str(job.get('location') or ''))}"
                f"{'&pageToken=' + quote(answer['pageToken']) if answer.get('pageToken') else ''}"
            )
            answer = self._api.get(doing, url, headers)
        raise ProviderError(f"cannot {doing}: it takes too long, or has more than {MOST_PAGES} pages")

    def _ask(
        self, doing: str, url: str, headers: t.Mapping[str, str], request: t.Mapping[str, t.Any]
    ) -> dict[str, t.Any]:
        try:
            return self._api.post(doing, url, request, headers)
        except ProviderError as exc:
            if "bytes billed" in str(exc):
                raise ProviderError(
                    f"{exc}. It may read {self._most_bytes} bytes; allow more with bigquery_maximum_bytes"
                ) from exc
            raise

    def _request(self, places: t.Sequence[tuple[str, Cluster]], first_day: str) -> dict[str, t.Any]:
        return {
            "query": _QUESTION.format(table=self._table),
            "useLegacySql": False,
            "parameterMode": "NAMED",
            "queryParameters": [
                _parameter("first_day", first_day),
                _parameter("projects", sorted({project for project, _cluster in places})),
                _parameter("clusters", sorted({cluster.name for _project, cluster in places})),
                *(_parameter(f"{name}_label", key) for name, key in _LABELS.items()),
            ],
            "maximumBytesBilled": str(self._most_bytes),
            "maxResults": PAGE_ROWS,
            "timeoutMs": WAIT_MS,
        }


def _parameter(name: str, value: str | t.Sequence[str]) -> dict[str, t.Any]:
    if isinstance(value, str):
        return {"name": name, "parameterType": {"type": "STRING"}, "parameterValue": {"value": value}}
    return {
        "name": name,
        "parameterType": {"type": "ARRAY", "arrayType": {"type": "STRING"}},
        "parameterValue": {"arrayValues": [{"value": item} for item in value]},
    }


def _is_busy(answer: _http.Answer) -> bool:
    """Whether BigQuery asks to come again, which it also does with 403."""
    if answer.status not in (400, 403):
        return False
    try:
        errors = json.loads(answer.body)["error"]["errors"]
        return any(error.get("reason") in _BUSY for error in errors)
    except (AttributeError, KeyError, TypeError, ValueError):
        return False


def _read(doing: str, answer: t.Mapping[str, t.Any]) -> list[dict[str, str | None]]:
    """Return the rows of a page by the names of their columns."""
    try:
        names = [str(field["name"]) for field in answer["schema"]["fields"]]
        rows = [dict(zip(names, (cell["v"] for cell in row["f"]))) for row in answer.get("rows") or ()]
    except (KeyError, TypeError) as exc:
        raise ProviderError(f"cannot {doing}: the answer is not what the API should say") from exc
    missing = set(_FIELDS) - set(names)
    if missing:
        raise ProviderError(f"cannot {doing}: the answer has no {', '.join(sorted(missing))}")
    return rows


def _is_of_others(row: t.Mapping[str, str | None]) -> bool:
    """Whether a row is of somebody else's workload, in a cluster that was there before the NIMs.

    Machines that were made here have our label. What was asked for by nobody has a name such as C(kube:unallocated).
    """
    workload = row["workload"] or ""
    return bool(workload) and not row["ours"] and not workload.startswith(_OURS)


def _owner(row: t.Mapping[str, str | None], places: t.Sequence[tuple[str, Cluster]]) -> str | None:
    """Return the target of a row. What does not say where it is belongs to the one cluster of that name."""
    same = [item for project, item in places if project == row["project"] and item.name == row["cluster"]]
    there = [item for item in same if item.location == row["location"]]
    if there:
        return there[0].target
    return same[0].target if len(same) == 1 and not row["location"] else None


def _line(target: str, row: t.Mapping[str, str | None]) -> Line:
    try:
        amount = Decimal(str(row["amount"]))
    except InvalidOperation as exc:
        raise ProviderError(f"cannot read what Google Cloud has billed: {row['amount']!r} is no amount") from exc
    return Line(
        str(row["day"]),
        target,
        amount,
        str(row["currency"]),
        name=row["workload"] or None,
        gpu_tier=row["tier"] or None,
    )
