# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google's BigQuery with one table, a detailed billing export: ``jobs.query`` and ``jobs.getQueryResults``.

Questions are read as GoogleSQL and answered by DuckDB over rows of the export's schema
(https://cloud.google.com/billing/docs/how-to/export-data-bigquery-tables/detailed-usage). Requests are held to the
fields of https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/query. A question without a limit by
``_PARTITIONTIME`` reads the whole table, and more than it may.
"""

from __future__ import annotations

import datetime
import json
import secrets
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from werkzeug.wrappers import Request, Response

from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.rest import ApiError, PathValues, RestService, Route, json_response
from tests.sandbox.spend.ledger import CLUSTER, Entry, Ledger

TABLE = "studio-billing.billing.gcp_billing_export_resource_v1_012345_6789AB_CDEF01"
PAGE_ROWS = 20
LOCATION = "EU"

DAY_BYTES, TABLE_BYTES = 2_000_000, 5 * 2**40
"""What a day of the export has, and all of it."""

FIELDS = frozenset(
    (
        "query",
        "useLegacySql",
        "useQueryCache",
        "parameterMode",
        "queryParameters",
        "maximumBytesBilled",
        "maxResults",
        "timeoutMs",
        "location",
        "labels",
        "requestId",
        "dryRun",
        "defaultDataset",
    )
)
SCHEMA = (
    "_PARTITIONTIME timestamp, usage_start_time timestamp, project struct(id varchar), currency varchar, cost double, "
    "credits struct(amount double)[], labels struct(key varchar, value varchar)[]"
)
CREDIT = Decimal("-0.25")
"""What Google takes off a cluster a day."""


class BigQuery(RestService):
    """Answers below ``/bigquery/v2``. ``check_google`` refuses requests without a token."""

    def __init__(
        self,
        project: str,
        check_google: Callable[[Request], Any],
        answer_error: Callable[[ApiError], Response],
        ledger: Ledger,
        calls: CallLog,
        interferences: Interferences,
    ) -> None:
        self._project = project
        self._check_google = check_google
        self._answer_error = answer_error
        self._ledger = ledger
        self._jobs: dict[str, dict[str, Any]] = {}
        super().__init__("bigquery", calls, interferences)

    def routes(self) -> list[Route]:
        """Return the operations."""
        return [
            Route("POST", "/bigquery/v2/projects/{project}/queries", "jobs.query", self._query),
            Route("GET", "/bigquery/v2/projects/{project}/queries/{job}", "jobs.getQueryResults", self._results),
        ]

    def check(self, request: Request, values: PathValues) -> None:
        """Refuse requests without a token of Google's."""
        self._check_google(request)
        if values.get("project", self._project) != self._project:
            raise ApiError(403, "PERMISSION_DENIED", "Access Denied: Project: User does not have bigquery.jobs.create")

    def error_response(self, error: ApiError) -> Response:
        """Return an error as BigQuery writes it: with reasons beside the text."""
        reasons = {403: "accessDenied", 404: "notFound", 400: "invalidQuery"}
        reason = error.code if error.code[:1].islower() else reasons.get(error.status, "backendError")
        content = {
            "code": error.status,
            "message": error.message,
            "errors": [{"message": error.message, "domain": "global", "reason": reason}],
            "status": error.code,
        }
        return json_response({"error": content}, error.status)

    def _query(self, request: Request, _values: PathValues) -> Response:
        body = json.loads(request.get_data(as_text=True))
        unknown = sorted(set(body) - FIELDS)
        if unknown:
            raise _invalid(f'Invalid JSON payload received. Unknown name "{unknown[0]}": Cannot find field.')
        if body.get("useLegacySql", True) is not False:
            raise _invalid("Query parameters cannot be used with legacy SQL.")
        if not isinstance(body.get("maximumBytesBilled", "0"), str):
            raise _invalid("maximumBytesBilled is an int64, which is a string in JSON.")
        size, names, rows = self._run(body["query"], _parameters(body))
        limit = int(body.get("maximumBytesBilled") or 0)
        if limit and size > limit:
            raise ApiError(
                400,
                "bytesBilledLimitExceeded",
                f"Query exceeded limit for bytes billed: {limit}. {size} or higher required.",
            )
        job = f"job_{secrets.token_urlsafe(12)}"
        self._jobs[job] = {"names": names, "rows": rows, "bytes": size}
        late = self._interferences.apply(self.service, "incomplete", "", "operation")
        answer: dict[str, Any] = {
            "kind": "bigquery#queryResponse",
            "jobReference": {"projectId": self._project, "jobId": job, "location": LOCATION},
            "jobComplete": late is None,
        }
        if late is None:
            answer.update(self._page(job, 0), totalBytesProcessed=str(size), totalBytesBilled=str(size), cacheHit=False)
        return json_response(answer)

    def _results(self, request: Request, values: PathValues) -> Response:
        unknown = sorted(set(request.args) - {"pageToken", "maxResults", "timeoutMs", "location", "startIndex"})
        if unknown:
            raise _invalid(f'Invalid JSON payload received. Unknown name "{unknown[0]}": Cannot bind query parameter.')
        job = values["job"]
        if job not in self._jobs or request.args.get("location") != LOCATION:
            raise ApiError(404, "NOT_FOUND", f"Not found: Job {self._project}:{request.args.get('location')}.{job}")
        page = self._page(job, int(request.args.get("pageToken") or 0))
        size = str(self._jobs[job]["bytes"])
        return json_response(
            {
                "kind": "bigquery#getQueryResultsResponse",
                "jobReference": {"projectId": self._project, "jobId": job, "location": LOCATION},
                "jobComplete": True,
                "totalBytesProcessed": size,
                **page,
            }
        )

    def _page(self, job: str, first: int) -> dict[str, Any]:
        names, rows = self._jobs[job]["names"], self._jobs[job]["rows"]
        shown = rows[first : first + PAGE_ROWS]
        types = {"amount": "FLOAT"}
        page: dict[str, Any] = {
            "schema": {
                "fields": [{"name": name, "type": types.get(name, "STRING"), "mode": "NULLABLE"} for name in names]
            },
            "totalRows": str(len(rows)),
        }
        if shown:
            page["rows"] = [{"f": [{"v": None if cell is None else str(cell)} for cell in row]} for row in shown]
        if first + PAGE_ROWS < len(rows):
            page["pageToken"] = str(first + PAGE_ROWS)
        return page

    def _run(self, query: str, parameters: dict[str, Any]) -> tuple[int, list[str], list[tuple[Any, ...]]]:
        """Return what a question reads, and its columns and rows. Raises `ApiError`."""
        # They take a second to load, and most tests ask nothing here.
        import duckdb
        import sqlglot
        import sqlglot.errors

        try:
            tree = sqlglot.parse_one(query, read="bigquery")
        except sqlglot.errors.ParseError as exc:
            raise _invalid(f"Syntax error: {exc}") from exc
        for table in tree.find_all(sqlglot.exp.Table):
            if f"{table.catalog}.{table.db}.{table.name}" != TABLE:
                raise ApiError(404, "NOT_FOUND", f"Not found: Table {table.catalog}:{table.db}.{table.name}")
            table.replace(sqlglot.exp.to_table("bill"))
        known = {parameter.name for parameter in tree.find_all(sqlglot.exp.Parameter)}
        if known != set(parameters):
            raise _invalid(f"Query parameters do not match: {sorted(known ^ set(parameters))}")
        rows = [_export(entry, self._project, self._ledger.of("gcp").currency) for entry in self._ledger.entries("gcp")]
        with duckdb.connect(config={"threads": 1}) as database:
            database.execute("SET TimeZone = 'UTC'")
            database.execute(f"CREATE TABLE bill ({SCHEMA})")
            if rows:
                database.executemany("INSERT INTO bill VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            size = self._bytes(database, tree, parameters)
            try:
                found = database.execute(tree.sql(dialect="duckdb"), parameters)
            except duckdb.Error as exc:
                raise _invalid(str(exc)) from exc
            return size, [str(column[0]) for column in found.description or ()], found.fetchall()

    @staticmethod
    def _bytes(database: Any, tree: Any, parameters: dict[str, Any]) -> int:
        """Return how much is read: the days that a limit by ``_PARTITIONTIME`` leaves, or everything."""
        import sqlglot

        limits = [
            node
            for node in tree.find_all(sqlglot.exp.GTE, sqlglot.exp.GT, sqlglot.exp.EQ, sqlglot.exp.Between)
            if isinstance(node.this, sqlglot.exp.Column) and node.this.name.upper() == "_PARTITIONTIME"
        ]
        if not limits:
            return TABLE_BYTES
        used = {parameter.name for parameter in limits[0].find_all(sqlglot.exp.Parameter)}
        days = sqlglot.select("COUNT(DISTINCT _PARTITIONTIME)").from_("bill").where(limits[0].copy())
        found = database.execute(days.sql(dialect="duckdb"), {name: parameters[name] for name in used})
        return int(found.fetchone()[0]) * DAY_BYTES


def _parameters(body: dict[str, Any]) -> dict[str, Any]:
    if body.get("parameterMode") != "NAMED":
        raise ApiError(400, "NotImplementedBySandbox", "parameters are named here", refused=True)
    found: dict[str, Any] = {}
    for parameter in body["queryParameters"]:
        kind, value = parameter["parameterType"], parameter["parameterValue"]
        if kind == {"type": "STRING"}:
            found[parameter["name"]] = value["value"]
        elif kind == {"type": "ARRAY", "arrayType": {"type": "STRING"}}:
            found[parameter["name"]] = [item["value"] for item in value["arrayValues"]]
        else:
            raise _invalid(f"Invalid type of the query parameter {parameter['name']}")
    return found


def _export(entry: Entry, project: str, currency: str) -> list[Any]:
    """Return an entry as a row of the export, which gets there on the next day."""
    day = datetime.datetime.fromisoformat(entry.day)
    labels = {"goog-k8s-cluster-name": entry.cluster, "goog-k8s-cluster-location": entry.place}
    taken_off: list[dict[str, float]] = []
    amount = entry.amount
    if entry.cluster == CLUSTER and entry.tier is None:
        # The cluster's fee has our label alone, and a credit.
        labels = {"budgetguard-managed": "true", "budgetguard-cluster": entry.cluster}
        taken_off = [{"amount": float(CREDIT)}]
        amount -= CREDIT
    if entry.tier is not None:
        labels["budgetguard-gpu-tier"] = entry.tier
    if entry.name is not None:
        labels.update({"k8s-workload-name": entry.name, "k8s-workload-type": "apps/v1-Deployment"})
    return [
        day + datetime.timedelta(days=1),
        day + datetime.timedelta(hours=9),
        {"id": project},
        currency,
        float(amount),
        taken_off,
        [{"key": key, "value": value} for key, value in labels.items()],
    ]


def _invalid(message: str) -> ApiError:
    return ApiError(400, "INVALID_ARGUMENT", message)
