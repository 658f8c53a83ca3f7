# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The gateway's log in Azure Log Analytics, where AKS's monitoring addon puts what containers write.

The table is ContainerLogV2, the API ``POST /v1/workspaces/ID/query``; limits are those of Microsoft's page on the
service limits of Azure Monitor. A query that was cut short answers 200 with ``error`` beside its tables.
"""

from __future__ import annotations

import re
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.budgetguard.techops.plugins.module_utils import _usage
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_session import AzureSession

ENDPOINT = "https://api.loganalytics.io"
CONTAINER = "gateway"

MOST_ROWS = 100_000
"""Rows that one answer may have. Azure's own limit is 500,000, or 100 MB."""

USUAL_DELAY = 900.0
"""Seconds from the end of a request to its line being found, if nothing else was seen. Microsoft tells of minutes."""

_WORKSPACE_API = "2023-09-01"
_WORKSPACE_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ADDON = "omsagent"
_SETTING = "loganalyticsworkspaceresourceid"
_BINS: t.Mapping[str, str] = {"hour": "1h", "day": "1d"}
_KEYS = ("workstation", "node", "target", "method", "status")

Row = t.Mapping[str, t.Any]


class NoWorkspaceError(ProviderError):
    """The cluster's logs go nowhere."""


class AzureUsage:
    """Reads the log of one AKS cluster's gateway."""

    def __init__(self, session: AzureSession, options: t.Mapping[str, t.Any]) -> None:
        self._session = session
        self._group, self._cluster = options["resource_group"], options["cluster"]
        self._namespace = _usage.plain_name("namespace", options["namespace"])
        self._endpoint = (options.get("log_analytics_endpoint") or ENDPOINT).rstrip("/")
        self._workspace: str | None = options.get("log_analytics_workspace_id")
        self._problems: list[str] = []
        if not self._endpoint.startswith("https://"):
            raise ValueError(f"log_analytics_endpoint is {self._endpoint!r}; it must be an https address")
        if self._workspace and not _WORKSPACE_ID.fullmatch(self._workspace):
            raise ValueError(
                f"log_analytics_workspace_id is {self._workspace!r}; it must be the id that the workspace's page "
                "Overview shows, as 12345678-1234-1234-1234-123456789012"
            )

    @classmethod
    def connect(cls, options: t.Mapping[str, t.Any]) -> AzureUsage:
        """Open a session with a module's options."""
        if not options.get("resource_group"):
            raise ValueError("resource_group is not set; it is the resource group of the AKS cluster")
        return cls(AzureSession(options), options)

    def read(self, ask: _usage.Ask, now: float) -> _usage.Seen:
        """Ask three questions at once: what was used, what was used last, and what was used in the last minutes."""
        try:
            workspace = self._workspace or self._workspace_of_cluster()
        except NoWorkspaceError as exc:
            return _usage.Seen(None, None, {}, problems=(str(exc),))
        with ThreadPoolExecutor(max_workers=3) as pool:
            groups = pool.submit(self._groups, workspace, ask.since, ask.until, ask.period)
            recent = pool.submit(self._requests, workspace, ask.recent_since, ask.until)
            used = pool.submit(self._query, workspace, _last(self._namespace, ask.look_back_since, ask.until))
            return self._seen(now, groups.result(), recent.result(), used.result())

    def _seen(
        self, now: float, groups: list[_usage.Group], rows: list[Row] | None, used: t.Sequence[Row]
    ) -> _usage.Seen:
        recent = None if rows is None else [item for item in map(_request, rows) if item is not None]
        delay = max((float(row["delay"]) for row in rows or ()), default=None)
        if recent is None:
            self._problems.append(_usage.too_many("the last minutes"))
        return _usage.Seen(
            groups,
            recent,
            _usage.last_uses(map(_group, used)),
            first_line=min((_time(row["first_line"]) for row in used), default=None),
            newest_line=max((_time(row["last_line"]) for row in used), default=None),
            delay=delay,
            settled_until=now - max(USUAL_DELAY, delay or 0.0),
            problems=tuple(dict.fromkeys(self._problems)),
        )

    # ---- the questions -----------------------------------------------------------------------------------------------

    def _groups(self, workspace: str, since: float, until: float, period: str) -> list[_usage.Group]:
        def fetch(start: float, stop: float) -> list[Row]:
            return self._query(workspace, _sums(self._namespace, start, stop, period))

        rows = t.cast("list[Row]", _usage.in_slices(fetch, since, until, MOST_ROWS))
        return [group for group in map(_group, rows) if group is not None]

    def _requests(self, workspace: str, since: float, until: float) -> list[Row] | None:
        def fetch(start: float, stop: float) -> list[Row]:
            return self._query(workspace, _single(self._namespace, start, stop))

        return _usage.in_slices(fetch, since, until, MOST_ROWS, _usage.MOST_REQUESTS)

    def _query(self, workspace: str, text: str) -> list[Row]:
        doing = "read the gateway's log in Log Analytics"
        try:
            answer = self._session.post(doing, self._endpoint, f"/v1/workspaces/{workspace}/query", {"query": text})
        except ProviderError as exc:
            if "ContainerLogV2" in str(exc):
                raise ProviderError(
                    f"{exc}. The workspace has no table ContainerLogV2: switch on Container insights with this schema"
                ) from exc
            raise
        if answer.get("error"):
            error = answer["error"]
            self._problems.append(f"Azure tells only a part: {error.get('message') or error.get('code')}")
        table = next(table for table in answer["tables"] if table["name"] == "PrimaryResult")
        names = [column["name"] for column in table["columns"]]
        return [dict(zip(names, row)) for row in table["rows"]]

    # ---- the workspace -----------------------------------------------------------------------------------------------

    def _workspace_of_cluster(self) -> str:
        """Return the id of the workspace that the cluster's monitoring addon names."""
        doing = f"read the AKS cluster {self._cluster}"
        cluster: t.Any = self._session.call(
            doing, lambda: self._session.client.managed_clusters.get(self._group, self._cluster)
        )
        addons = {name.lower(): addon for name, addon in (cluster.addon_profiles or {}).items()}
        addon = addons.get(_ADDON)
        settings = {name.lower(): value for name, value in ((addon and addon.config) or {}).items()}
        if addon is None or not addon.enabled or not settings.get(_SETTING):
            raise NoWorkspaceError(
                f"the AKS cluster {self._cluster} sends no logs to Log Analytics, so nothing is known; switch on its "
                "addon monitoring, or set log_analytics_workspace_id"
            )
        found = self._session.resource("read the workspace of Log Analytics", settings[_SETTING], _WORKSPACE_API)
        return str(found["properties"]["customerId"])


# ---- the language of queries -----------------------------------------------------------------------------------------


def _lines(namespace: str, since: float, until: float) -> str:
    """Return the beginning of every query: the gateway's lines, half-open in time. ``line`` are their fields."""
    start, stop = _usage.exact(since), _usage.exact(until)
    return "\n".join(
        [
            "ContainerLogV2",
            f"| where TimeGenerated >= datetime({start}) and TimeGenerated < datetime({stop})",
            f'| where PodNamespace == "{namespace}" and ContainerName == "{CONTAINER}"',
            "| extend line = parse_json(tostring(LogMessage))",
        ]
    )


def _sums(namespace: str, since: float, until: float, period: str) -> str:
    by = [*_columns(*_KEYS), *([f"period = bin(TimeGenerated, {_BINS[period]})"] if period in _BINS else [])]
    sums = (
        "requests = count(), request_seconds = sum(todouble(line.seconds)), sent = sum(tolong(line.bytes)), "
        "received = sum(tolong(line.request_bytes)), last_line = max(TimeGenerated)"
    )
    return "\n".join(
        [
            _lines(namespace, since, until),
            "| where isnotnull(line.tsc)",
            f"| summarize {sums} by {', '.join(by)}",
            f"| take {MOST_ROWS}",
        ]
    )


def _single(namespace: str, since: float, until: float) -> str:
    columns = [
        *_columns(*_KEYS),
        "seconds = todouble(line.seconds)",
        "bytes = tolong(line.bytes)",
        "request_bytes = tolong(line.request_bytes)",
        "delay = (ingestion_time() - TimeGenerated) / 1s",
    ]
    return "\n".join(
        [
            _lines(namespace, since, until),
            f'| where isnotnull(line.tsc) and tostring(line.method) == "{_usage.WORK_METHOD}"',
            f"| project TimeGenerated, {', '.join(columns)}",
            f"| take {MOST_ROWS}",
        ]
    )


def _last(namespace: str, since: float, until: float) -> str:
    """Ask also for lines that are no requests: they tell that the gateway logs."""
    sums = "requests = count(), first_line = min(TimeGenerated), last_line = max(TimeGenerated)"
    return "\n".join(
        [
            _lines(namespace, since, until),
            f"| summarize {sums} by {', '.join(_columns('node', 'method', 'status'))}",
            f"| take {MOST_ROWS}",
        ]
    )


def _columns(*names: str) -> list[str]:
    return [f"{name} = {'toint' if name == 'status' else 'tostring'}(line.{name})" for name in names]


def _group(row: Row) -> _usage.Group | None:
    """Read a row of sums. None for lines that are no requests."""
    if not row.get("node") or row.get("status") is None:
        return None
    return _usage.Group(
        row.get("workstation") or _usage.NOBODY,
        row["node"],
        row.get("target") or _usage.NOBODY,
        row.get("method") or _usage.NOBODY,
        int(row["status"]),
        int(row["requests"]),
        float(row.get("request_seconds") or 0),
        int(row.get("sent") or 0),
        int(row.get("received") or 0),
        _time(row["period"]) if row.get("period") else None,
        _time(row["last_line"]),
    )


def _request(row: Row) -> _usage.Request | None:
    return _usage.request({**row, "tsc": ""}, ended=_time(row["TimeGenerated"]))


def _time(text: t.Any) -> float:
    found = _usage.moment(text)
    if found is None:
        raise ProviderError(f"Log Analytics tells a time as {text!r}, which is not known here")
    return found
