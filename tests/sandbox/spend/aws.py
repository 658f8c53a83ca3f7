# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS's Cost Explorer: GetCostAndUsage and ListCostAllocationTags.

Requests and answers are checked with botocore's own model of the service. Of filters there are And, Tags and
Dimensions, of things to group by tags and dimensions. Tags that are not active are on no bill.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from decimal import Decimal
from typing import Any

import botocore.session
from botocore.validate import ParamValidator

from tests.sandbox.rest import ApiError
from tests.sandbox.spend.ledger import Entry, Ledger

HOME = "us-east-1"
PAGE_DAYS = 7
"""Small, so that whoever does not turn pages is found out."""

CLUSTER_TAG, NODE_TAG = "budgetguard:cluster", "budgetguard:node"
MOST_GROUPS = 2


class CostExplorer:
    """Answers requests to ``AWSInsightsIndexService``."""

    def __init__(self, ledger: Ledger) -> None:
        self._service: Any = botocore.session.get_session().get_service_model("ce")
        self._ledger = ledger

    def answer(self, action: str, region: str, params: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a call. Raises `ApiError`."""
        answers = {"GetCostAndUsage": self._costs, "ListCostAllocationTags": self._tags}
        if region != HOME or action not in answers:
            message = f"Cost Explorer has {', '.join(answers)} in {HOME} here, and no {action} in {region}"
            raise ApiError(400, "NotImplementedBySandbox", message, refused=True)
        operation = self._service.operation_model(action)
        report = ParamValidator().validate(params, operation.input_shape)
        unknown = sorted(set(params) - set(operation.input_shape.members))
        if report.has_errors() or unknown:
            raise _invalid(report.generate_report() or f"Unknown parameter {unknown[0]}")
        answer = answers[action](params)
        wrong = ParamValidator().validate(answer, operation.output_shape)
        if wrong.has_errors():
            raise ApiError(500, "InternalFailure", wrong.generate_report(), refused=True)
        return answer

    def _costs(self, params: dict[str, Any]) -> dict[str, Any]:
        start, end = (datetime.date.fromisoformat(params["TimePeriod"][name]) for name in ("Start", "End"))
        today = datetime.datetime.now(datetime.timezone.utc).date()
        if start >= end:
            raise _invalid("Start date (and hour) should be before end date (and hour)")
        if params["Granularity"] != "DAILY" or params["Metrics"] != ["UnblendedCost"]:
            raise _unknown("only DAILY UnblendedCost")
        if (today - start).days > 400:
            raise _invalid("You haven't enabled historical data beyond 14 months")
        groups = params.get("GroupBy", [])
        if len(groups) > MOST_GROUPS:
            raise _invalid("Number of GroupBy definitions is greater than 2")
        asked = {name: value for name, value in params.items() if name != "NextPageToken"}
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
        first = _place(params.get("NextPageToken"), digest)
        entries = [entry for entry in self._ledger.entries("aws") if self._fits(params.get("Filter"), entry)]
        days = [start + datetime.timedelta(days=number) for number in range((end - start).days)]
        shown = days[first : first + PAGE_DAYS]
        answer: dict[str, Any] = {
            "GroupDefinitions": groups,
            "ResultsByTime": [self._day(day, entries, groups) for day in shown],
            "DimensionValueAttributes": [],
        }
        if first + PAGE_DAYS < len(days):
            answer["NextPageToken"] = f"{digest}:{first + PAGE_DAYS}"
        return answer

    def _day(self, day: datetime.date, entries: list[Entry], groups: list[dict[str, str]]) -> dict[str, Any]:
        amounts: dict[tuple[str, ...], Decimal] = {}
        for entry in entries:
            if entry.day == day.isoformat():
                key = tuple(self._key(group, entry) for group in groups)
                amounts[key] = amounts.get(key, Decimal(0)) + entry.amount
        unit = self._ledger.of("aws").currency
        return {
            "TimePeriod": {"Start": day.isoformat(), "End": (day + datetime.timedelta(days=1)).isoformat()},
            "Total": {},
            "Groups": [
                {"Keys": list(key), "Metrics": {"UnblendedCost": {"Amount": f"{amount:.10f}", "Unit": unit}}}
                for key, amount in sorted(amounts.items())
            ],
            "Estimated": True,
        }

    def _key(self, group: dict[str, str], entry: Entry) -> str:
        if group["Type"] == "DIMENSION" and group["Key"] == "REGION":
            return entry.place
        if group["Type"] == "TAG":
            return f"{group['Key']}${self._tag_of(entry, group['Key'])}"
        raise _unknown(f"group by {group}")

    def _fits(self, condition: dict[str, Any] | None, entry: Entry) -> bool:
        if condition is None:
            return True
        if len(condition) != 1:
            raise _invalid("Expression has more than one root element")
        ((kind, value),) = condition.items()
        if kind == "And":
            # All are looked at, so that none that is not understood goes unseen.
            parts = [self._fits(part, entry) for part in value]
            return all(parts)
        if kind == "Tags" and value.get("MatchOptions", ["EQUALS"]) == ["EQUALS"]:
            return self._tag_of(entry, value["Key"]) in value["Values"]
        if kind == "Dimensions" and value["Key"] == "REGION":
            return entry.place in value["Values"]
        raise _unknown(f"filter by {condition}")

    def _tag_of(self, entry: Entry, key: str) -> str:
        """Return a tag as the bill has it: from the day on which it was activated."""
        since = self._ledger.of("aws").active_tags.get(key)
        if since is None or entry.day < since:
            return ""
        return {CLUSTER_TAG: entry.cluster, NODE_TAG: entry.node or ""}.get(key, "")

    def _tags(self, params: dict[str, Any]) -> dict[str, Any]:
        if set(params) != {"TagKeys"}:
            raise _unknown("cost allocation tags by keys")
        active = self._ledger.of("aws").active_tags
        return {
            "CostAllocationTags": [
                {
                    "TagKey": key,
                    "Type": "UserDefined",
                    "Status": "Active" if key in active else "Inactive",
                    "LastUpdatedDate": f"{active.get(key, '2025-06-01')}T00:00:00Z",
                }
                for key in params["TagKeys"]
            ]
        }


def _place(token: str | None, digest: str) -> int:
    if token is None:
        return 0
    asked, _colon, first = token.partition(":")
    if not first.isdigit():
        raise ApiError(400, "InvalidNextTokenException", "The pagination token is invalid.")
    if asked != digest:
        raise ApiError(400, "RequestChangedException", "The request has changed since the first page.")
    return int(first)


def _invalid(message: str) -> ApiError:
    return ApiError(400, "ValidationException", message)


def _unknown(what: str) -> ApiError:
    return ApiError(400, "NotImplementedBySandbox", f"Cost Explorer knows here: {what}", refused=True)
