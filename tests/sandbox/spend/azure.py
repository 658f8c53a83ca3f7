# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Azure's Cost Management, ``query`` of a subscription alone.

Bodies are held to https://learn.microsoft.com/rest/api/cost-management/query/usage: names of fields, values that are
allowed, two things to group by at most. Names of resource groups are in small letters, as bills often have them.
"""

from __future__ import annotations

import datetime
import json
import urllib.parse
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from werkzeug.wrappers import Request, Response

from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.rest import ApiError, PathValues, RestService, Route, json_response
from tests.sandbox.spend.ledger import OTHERS, Entry, Ledger

PATH = "/subscriptions/{subscription}/providers/Microsoft.CostManagement/query"
VERSIONS = ("2023-11-01", "2024-08-01", "2025-03-01")
PAGE_ROWS = 10
REGION = "eastus"

TYPES = ("ActualCost", "AmortizedCost", "Usage")
TIMEFRAMES = ("Custom", "MonthToDate", "BillingMonthToDate", "TheLastMonth", "TheLastBillingMonth", "WeekToDate")
DIMENSIONS = ("ResourceGroupName", "ResourceGroup", "ResourceId", "ResourceLocation", "ServiceName", "MeterCategory")

Body = dict[str, Any]


class CostManagement(RestService):
    """Answers questions about one subscription. ``check_azure`` refuses requests without a token."""

    def __init__(
        self,
        subscription: str,
        check_azure: Callable[[Request], Any],
        ledger: Ledger,
        calls: CallLog,
        interferences: Interferences,
    ) -> None:
        self._subscription = subscription
        self._check_azure = check_azure
        self._ledger = ledger
        super().__init__("azure-costs", calls, interferences)

    def routes(self) -> list[Route]:
        """Return the operations."""
        return [Route("POST", PATH, "Query_Usage", self._query, ignore_case=True)]

    def check(self, request: Request, values: PathValues) -> None:
        """Refuse requests without a token for Azure Resource Manager."""
        self._check_azure(request)

    def error_response(self, error: ApiError) -> Response:
        """Return an error as Azure Resource Manager writes it."""
        return json_response({"error": {"code": error.code, "message": error.message}}, error.status)

    def _query(self, request: Request, values: PathValues) -> Response:
        if values["subscription"] != self._subscription:
            raise ApiError(404, "SubscriptionNotFound", f"The subscription {values['subscription']} was not found.")
        if request.args.get("api-version") not in VERSIONS:
            raise ApiError(400, "InvalidApiVersionParameter", f"the versions are {', '.join(VERSIONS)}")
        body = json.loads(request.get_data(as_text=True))
        start, end, grouping, condition = _checked(body)
        rows = self._rows(start, end, grouping, condition)
        first = int(request.args.get("$skiptoken") or 0)
        more = urllib.parse.urlencode({**request.args.to_dict(), "$skiptoken": first + PAGE_ROWS})
        link = f"{request.host_url.rstrip('/')}{request.path}?{more}"
        tagged = grouping[0]["type"] == "TagKey"
        names = ["Cost", "UsageDate", *(["TagKey", "TagValue"] if tagged else []), grouping[1]["name"], "Currency"]
        return json_response(
            {
                "id": f"subscriptions/{self._subscription}/providers/Microsoft.CostManagement/query/1",
                "name": "1",
                "type": "Microsoft.CostManagement/query",
                "properties": {
                    "nextLink": link if first + PAGE_ROWS < len(rows) else None,
                    "columns": [
                        {"name": name, "type": "Number" if name in ("Cost", "UsageDate") else "String"}
                        for name in names
                    ],
                    "rows": rows[first : first + PAGE_ROWS],
                },
            }
        )

    def _rows(self, start: str, end: str, grouping: list[dict[str, str]], condition: Body | None) -> list[list[Any]]:
        sums: dict[tuple[str, str, str], Decimal] = {}
        for entry in self._ledger.entries("azure"):
            if start <= entry.day <= end and (condition is None or _fits(condition, entry)):
                key = (entry.day, _tags(entry).get(grouping[0]["name"].lower(), ""), _group(entry))
                sums[key] = sums.get(key, Decimal(0)) + entry.amount
        currency = self._ledger.of("azure").currency
        return [
            [float(amount), int(day.replace("-", "")), grouping[0]["name"] if tag else "", tag, group, currency]
            for (day, tag, group), amount in sorted(sums.items())
        ]


def _checked(body: Body) -> tuple[str, str, list[dict[str, str]], Body | None]:
    """Return what a question asks for. Raises `ApiError`."""
    _only(body, {"type", "timeframe", "timePeriod", "dataset"}, "the body")
    if body["type"] not in TYPES or body["timeframe"] not in TIMEFRAMES:
        raise _bad(f"type must be one of {TYPES}, timeframe one of {TIMEFRAMES}")
    if body["timeframe"] != "Custom":
        raise ApiError(404, "NotImplementedBySandbox", "only the timeframe Custom is there", refused=True)
    period, dataset = body["timePeriod"], body["dataset"]
    _only(period, {"from", "to"}, "timePeriod")
    start, end = (datetime.datetime.fromisoformat(period[name].replace("Z", "+00:00")) for name in ("from", "to"))
    if start > end or (end - start).days > 366:
        raise _bad("Invalid query definition: the time period must be up to one year, and begin before it ends")
    grouping = _checked_dataset(dataset)
    return start.date().isoformat(), end.date().isoformat(), grouping, dataset.get("filter")


def _checked_dataset(dataset: Body) -> list[dict[str, str]]:
    _only(dataset, {"granularity", "aggregation", "grouping", "filter", "sorting", "configuration"}, "dataset")
    if dataset["granularity"] not in ("Daily", "Monthly"):
        raise _bad("Invalid query definition: granularity")
    for name, aggregation in dataset["aggregation"].items():
        _only(aggregation, {"name", "function"}, f"aggregation {name}")
        if aggregation["function"] != "Sum" or aggregation["name"] not in ("Cost", "PreTaxCost", "CostUSD"):
            raise _bad("Invalid query definition: aggregation")
    grouping: list[dict[str, str]] = dataset.get("grouping") or []
    if len(grouping) > 2:
        raise _bad("Invalid query definition: Dataset grouping can have at most 2 items")
    for item in grouping:
        _only(item, {"type", "name"}, "grouping")
        known = {"Dimension": DIMENSIONS, "TagKey": (item["name"],)}
        if item["name"] not in known.get(item["type"], ()):
            raise _bad(f"Invalid query definition: grouping by {item}")
    if [item["type"] for item in grouping] != ["TagKey", "Dimension"] or dataset["granularity"] != "Daily":
        raise ApiError(404, "NotImplementedBySandbox", "only days, by a tag and a dimension", refused=True)
    if dataset.get("filter") is not None:
        _check_filter(dataset["filter"])
    return grouping


def _check_filter(condition: Body) -> None:
    if len(condition) != 1:
        raise _bad("Invalid query definition: a filter is one of and, or, dimensions and tags")
    ((kind, value),) = condition.items()
    if kind in ("and", "or"):
        if not isinstance(value, list) or len(value) < 2:
            raise _bad(f"Invalid query definition: {kind} must have at least 2 items")
        for part in value:
            _check_filter(part)
        return
    if kind not in ("dimensions", "tags"):
        raise _bad(f"Invalid query definition: there is no filter {kind}")
    _only(value, {"name", "operator", "values"}, kind)
    if value["operator"] != "In" or not value["values"]:
        raise _bad("Invalid query definition: the operator is In, with values")
    if kind == "dimensions" and value["name"] not in DIMENSIONS:
        raise _bad(f"Invalid query definition: {value['name']} is no dimension")


def _fits(condition: Body, entry: Entry) -> bool:
    ((kind, value),) = condition.items()
    if kind in ("and", "or"):
        parts = [_fits(part, entry) for part in value]
        return all(parts) if kind == "and" else any(parts)
    if kind == "tags":
        return _tags(entry).get(value["name"].lower(), "") in value["values"]
    return _group(entry) in value["values"]


def _group(entry: Entry) -> str:
    """Return the resource group: machines are in AKS's own, what is no NIM's may be in the studio's."""
    if entry.cluster == OTHERS:
        return OTHERS
    return f"mc_{entry.place}_{entry.cluster}_{REGION}" if entry.tier else entry.place


def _tags(entry: Entry) -> dict[str, str]:
    if entry.cluster == OTHERS:
        return {}
    found = {"budgetguard:managed": "true", "budgetguard:cluster": entry.cluster}
    return {**found, "budgetguard:gpu-tier": entry.tier} if entry.tier else found


def _only(value: Any, known: set[str], where: str) -> None:
    if not isinstance(value, dict):
        raise _bad(f"{where} must be an object")
    unknown = sorted(set(value) - known)
    if unknown:
        raise _bad(f"Could not find member '{unknown[0]}' on object of {where}")


def _bad(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)
