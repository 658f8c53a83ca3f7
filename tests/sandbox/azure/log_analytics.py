# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Azure Log Analytics: one workspace with what the containers of all AKS clusters wrote, and a little of its language.

Of KQL there is what a look into ContainerLogV2 needs: ``where``, ``extend``, ``project``, ``summarize`` and ``take``,
each with few functions. Everything else is refused.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable
from typing import Any

from werkzeug.wrappers import Request, Response

from tests.sandbox.azure.entra import AzureAccount, Entra
from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.container_logs import ContainerLine, ContainerLogs, iso, json_of
from tests.sandbox.rest import ApiError, PathValues, RestService, Route, json_response

Row = dict[str, Any]
Rows = list[Row]
Expression = Callable[[Row], Any]

WORKSPACE = "/v1/workspaces/{workspace}/query"
MOST_ROWS = 500_000
NAME = r"[A-Za-z_][A-Za-z0-9_]*"
SPANS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
TYPES = {bool: "bool", int: "long", float: "real", str: "string"}


class LogAnalytics(RestService):
    """Answers below ``/v1/workspaces``. ``clusters`` returns the ids of all AKS clusters."""

    def __init__(
        self,
        account: AzureAccount,
        entra: Entra,
        logs: ContainerLogs,
        clusters: Callable[[], set[str]],
        calls: CallLog,
        interferences: Interferences,
    ) -> None:
        self._account = account
        self._entra = entra
        self._logs = logs
        self._clusters = clusters
        super().__init__("log-analytics", calls, interferences)

    def routes(self) -> list[Route]:
        """Return the operations."""
        return [Route("POST", WORKSPACE, "Query_Execute", self._run)]

    def handles(self, request: Request) -> bool:
        """Whether the path is below ``/v1/workspaces``, known or not."""
        return request.path.startswith("/v1/workspaces/")

    def check(self, request: Request, values: PathValues) -> None:
        """Refuse requests without a token for this service."""
        self._entra.check_management(request)

    def error_response(self, error: ApiError) -> Response:
        """Return an error as Log Analytics writes it."""
        return json_response({"error": {"code": error.code, "message": error.message}}, error.status)

    def _run(self, request: Request, values: PathValues) -> Response:
        if values["workspace"] != self._account.workspace_id:
            raise ApiError(404, "WorkspaceNotFoundError", f"The workspace {values['workspace']} could not be found.")
        body = json.loads(request.get_data(as_text=True))
        if set(body) != {"query"} or not isinstance(body["query"], str):
            raise ApiError(400, "BadArgumentError", "The body has the field query and, in the sandbox, no other.")
        table, *steps = [step.strip() for step in body["query"].split("\n|")]
        if table != "ContainerLogV2":
            raise _semantic(f"Failed to resolve table or column expression named '{table}'")
        rows = [_row(line) for line in self._logs.of(self._clusters())]
        for step in steps:
            rows = read_step(step)(rows)
        partial = self._interferences.apply(self.service, "partial", "", "operation")
        if partial is not None:
            rows = rows[: len(rows) // 2]
        answer: dict[str, Any] = {"tables": [_table(rows[:MOST_ROWS])]}
        if partial is not None:
            answer["error"] = {"code": "PartialError", "message": partial.message}
        return json_response(answer)


def _semantic(message: str) -> ApiError:
    return ApiError(400, "BadArgumentError", f"The request had some invalid properties: {message}")


def _row(line: ContainerLine) -> Row:
    value = json_of(line.text)
    return {
        "TimeGenerated": line.written,
        "ingestion_time": line.received,
        "PodNamespace": line.namespace,
        "PodName": line.pod,
        "ContainerName": line.container,
        "LogMessage": line.text if value is None else value,
    }


def _table(rows: Rows) -> dict[str, Any]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = [{"name": name, "type": _type(name, rows)} for name in names]
    cells = [[_cell(column, row.get(column["name"])) for column in columns] for row in rows]
    return {"name": "PrimaryResult", "columns": columns, "rows": cells}


def _type(name: str, rows: Rows) -> str:
    if name in ("TimeGenerated", "first_line", "last_line", "period"):
        return "datetime"
    return next((TYPES[type(row[name])] for row in rows if row.get(name) is not None), "dynamic")


def _cell(column: dict[str, str], value: Any) -> Any:
    return iso(value) if column["type"] == "datetime" and value is not None else value


# -- steps -------------------------------------------------------------------------------------------------------------


def read_step(text: str) -> Callable[[Rows], Rows]:
    """Return what a step of a query does. Raises `ApiError` for one that is not known here."""
    name, _space, rest = text.partition(" ")
    readers: dict[str, Callable[[str], Callable[[Rows], Rows]]] = {
        "where": _where,
        "extend": _extend,
        "project": _project,
        "summarize": _summarize,
        "take": _take,
    }
    if name not in readers:
        raise _semantic(f"the sandbox does not know the step {text!r}")
    return readers[name](rest)


def _take(text: str) -> Callable[[Rows], Rows]:
    if not text.isdigit():
        raise _semantic(f"take wants a number, got {text!r}")
    return lambda rows: rows[: int(text)]


def _where(text: str) -> Callable[[Rows], Rows]:
    tests = [_test(part) for part in text.split(" and ")]
    return lambda rows: [row for row in rows if all(test(row) for test in tests)]


def _test(text: str) -> Callable[[Row], bool]:
    if found := re.fullmatch(r"(.+) (>=|<) datetime\(([^)]+)\)", text):
        value, limit = read_expression(found[1]), _moment(found[3])
        later = found[2] == ">="
        return lambda row: value(row) >= limit if later else value(row) < limit
    if found := re.fullmatch(r'(.+) == "([^"]*)"', text):
        compared, wanted = read_expression(found[1]), found[2]
        return lambda row: compared(row) == wanted
    if found := re.fullmatch(r"isnotnull\((.+)\)", text):
        present = read_expression(found[1])
        return lambda row: present(row) is not None
    raise _semantic(f"the sandbox does not know the condition {text!r}")


def _moment(text: str) -> float:
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _columns(text: str) -> list[tuple[str, Expression]]:
    """Read ``name = expression, name, ...``."""
    found = []
    for part in _split(text):
        name, equals, expression = part.partition(" = ")
        if not re.fullmatch(NAME, name):
            raise _semantic(f"{part!r} has no name")
        found.append((name, read_expression(expression if equals else name)))
    return found


def _split(text: str) -> list[str]:
    """Split at commas outside of parentheses."""
    return [part.strip() for part in re.findall(r"(?:[^,(]|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))+", text)]


def _extend(text: str) -> Callable[[Rows], Rows]:
    columns = _columns(text)
    return lambda rows: [{**row, **{name: value(row) for name, value in columns}} for row in rows]


def _project(text: str) -> Callable[[Rows], Rows]:
    columns = _columns(text)
    return lambda rows: [{name: value(row) for name, value in columns} for row in rows]


def _summarize(text: str) -> Callable[[Rows], Rows]:
    wanted, _by, keys = text.partition(" by ")
    names = _columns(keys)
    sums = [_aggregate(part) for part in _split(wanted)]

    def run(rows: Rows) -> Rows:
        groups: dict[tuple[Any, ...], Rows] = {}
        for row in rows:
            groups.setdefault(tuple(value(row) for _name, value in names), []).append(row)
        return [
            {
                **{name: value for (name, _expression), value in zip(names, values, strict=True)},
                **{name: total(members) for name, total in sums},
            }
            for values, members in groups.items()
        ]

    return run


def _aggregate(text: str) -> tuple[str, Callable[[Rows], Any]]:
    found = re.fullmatch(rf"({NAME}) = (count|sum|min|max)\((.*)\)", text)
    if found is None:
        raise _semantic(f"the sandbox does not know the sum {text!r}")
    name, kind, inner = found.groups()
    if kind == "count":
        return name, len
    value = read_expression(inner)
    totals: dict[str, Callable[[list[Any]], Any]] = {"sum": sum, "min": min, "max": max}
    total = totals[kind]

    def run(rows: Rows) -> Any:
        known = [item for item in map(value, rows) if item is not None]
        return total(known) if known else (0 if kind == "sum" else None)

    return name, run


# -- expressions -------------------------------------------------------------------------------------------------------


def read_expression(text: str) -> Expression:
    """Return what an expression is of a row. Raises `ApiError` for one that is not known here."""
    text = text.strip()
    if text == "ingestion_time()":
        return lambda row: row["ingestion_time"]
    if re.fullmatch(NAME, text):
        return lambda row: _column(row, text)
    if found := re.fullmatch(rf"({NAME})\.({NAME})", text):
        holder, field = found.groups()
        return lambda row: (_column(row, holder) or {}).get(field)
    if found := re.fullmatch(r"\((.+) - (.+)\) / 1s", text):
        larger, smaller = read_expression(found[1]), read_expression(found[2])
        return lambda row: float(larger(row) - smaller(row))
    if found := re.fullmatch(r"bin\((\w+), (\d+)([smhd])\)", text):
        binned, length = read_expression(found[1]), int(found[2]) * SPANS[found[3]]
        return lambda row: binned(row) // length * length
    if found := re.fullmatch(rf"({NAME})\((.+)\)", text):
        inner = read_expression(found[2])
        converters: dict[str, Callable[[Any], Any]] = {
            "tostring": _tostring,
            "toint": lambda value: None if value is None else int(float(value)),
            "tolong": lambda value: None if value is None else int(float(value)),
            "todouble": lambda value: None if value is None else float(value),
            "parse_json": lambda value: json_of(value) or {},
        }
        if found[1] in converters:
            convert = converters[found[1]]
            return lambda row: convert(inner(row))
    raise _semantic(f"the sandbox does not know the expression {text!r}")


def _column(row: Row, name: str) -> Any:
    if name not in row:
        raise _semantic(f"Failed to resolve scalar expression named '{name}'")
    return row[name]


def _tostring(value: Any) -> str:
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, dict) else str(value)
