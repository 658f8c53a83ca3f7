# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell what was billed for NIMs and targets, on the controller."""

from __future__ import annotations

import time
import typing as t
from decimal import Decimal

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.budgetguard.techops.plugins.module_utils import _pricing, _spend, _spend_book, _usage
from ansible_collections.budgetguard.techops.plugins.plugin_utils import _spend_apis
from ansible_collections.budgetguard.techops.plugins.plugin_utils._price_targets import Place, currency_problem, place

TARGET_GROUP = "nim_providers"

SPEC: dict[str, dict[str, t.Any]] = {
    "targets": {"type": "list", "elements": "str"},
    "since": {"type": "str"},
    "found": {"type": "raw"},
    "prices": {"type": "raw"},
    "usages": {"type": "list", "elements": "dict", "default": []},
    "currency": {"type": "str", "default": "USD"},
    "cache_path": {"type": "path", "default": "~/.cache/budgetguard/spend.json"},
    "cache_hours": {"type": "float", "default": 6.0},
    "bigquery_maximum_bytes": {"type": "int", "default": 10 * 2**30},
}


class ActionModule(ActionBase):
    """The action of nim_spend_info."""

    TRANSFERS_FILES = False
    _supports_async = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Read bills and return what they say."""
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _validation, options = self.validate_argument_spec(SPEC)
        now = time.time()
        since = _checked(options, now)
        names = options["targets"]
        if names is None:
            names = task_vars.get("groups", {}).get(TARGET_GROUP, [])
        try:
            found = _spend.listed("found", options["found"], "targets")
            prices = _spend.listed("prices", options["prices"], "prices")
        except _spend.SpendError as exc:
            raise AnsibleActionFail(str(exc)) from exc
        by_name = {str(target.get("target")): target for target in found}
        # Variables are templated here; what follows knows plain data only.
        places = [place(str(name), task_vars, None, by_name.get(str(name))) for name in names]
        sources = [_source(item, task_vars) for item in places]
        told = _Spend(options, since, now).tell(places, sources, found, prices)
        result.update(changed=False, **told)
        return result


def _source(item: Place, task_vars: t.Mapping[str, t.Any]) -> _spend_apis.Source | str:
    """Return how a target's bill is read, or why it cannot be."""
    try:
        variables = task_vars["hostvars"][item.target.name] if item.error is None else {}
        return _spend_apis.source_of(item, variables)
    except AnsibleError as exc:
        return f"its variables cannot be resolved: {exc}"


def _checked(options: t.Mapping[str, t.Any], now: float) -> str:
    """Return the first day to tell about. Refuses options that make no sense."""
    problems = [
        f"{name} is {options[name]:g}; it must be above 0"
        for name in ("cache_hours", "bigquery_maximum_bytes")
        if options[name] <= 0
    ]
    problems += filter(None, [currency_problem(options["currency"])])
    since = options["since"] or _spend.month_start(now)
    try:
        day = _spend.day_of(_usage.point("since", since, now))
    except ValueError as exc:
        problems.append(str(exc))
        day = ""
    if day > _spend.day_of(now):
        problems.append(f"since is {day}, which is yet to come")
    if problems:
        raise AnsibleActionFail("\n".join(problems))
    return day


class _Spend:
    """One look at bills."""

    def __init__(self, options: t.Mapping[str, t.Any], since: str, now: float) -> None:
        self._options = options
        self._since = since
        self._now = now
        self._currency = str(options["currency"])
        self._calls: dict[str, dict[str, t.Any]] = {}
        self._problems: list[str] = []

    def tell(
        self,
        places: t.Sequence[Place],
        sources: t.Sequence[_spend_apis.Source | str],
        found: t.Sequence[t.Mapping[str, t.Any]],
        prices: t.Sequence[t.Mapping[str, t.Any]],
    ) -> dict[str, t.Any]:
        """Return all that was asked for."""
        bills = self._bills(places, sources)
        names = _spend.Names(_known_nims(places, found, prices))
        estimates = _spend.estimates(_spend.runs(found, prices, self._currency), bills, self._now)
        by_target = {bill.target: [item for item in estimates if item.run.target == bill.target] for bill in bills}
        for bill in bills:
            self._problems += _spend.problems_of(bill, names, by_target[bill.target], self._now)
        allocated, unallocated = _spend.allocations(self._options["usages"], bills, names, self._since)
        reached = [bill.billed_until for bill in bills if bill.billed_until is not None]
        return {
            "currency": self._currency,
            "read_at": _usage.iso(self._now),
            "as_of": _usage.iso(min(reached, default=None)),
            "targets": [_spend.target_row(bill, self._currency, self._now) for bill in bills],
            "days": [row for bill in bills for row in _spend.days_of(bill, names, self._since)],
            "rows": [row for bill in bills for row in _spend.rows_of(bill, names, by_target[bill.target], self._now)],
            "estimates": [item.row() for item in estimates],
            "allocations": allocated,
            "calls": list(self._calls.values()),
            "problems": list(dict.fromkeys([*self._problems, *unallocated])),
        }

    def _bills(self, places: t.Sequence[Place], sources: t.Sequence[_spend_apis.Source | str]) -> list[_spend.Bill]:
        """Return one bill for each target, in the order of the targets."""
        bills = {
            item.target.name: _spend.Bill(item.target.name, item.target.provider, problem=source)
            for item, source in zip(places, sources)
            if isinstance(source, str)
        }
        readable = [source for source in sources if not isinstance(source, str)]
        first = _spend.first_day(self._since, self._now)
        book = _spend_book.Book(self._options["cache_path"] or None, self._options["cache_hours"], self._now)
        apis = _spend_apis.Apis(_spend.day_of(self._now), self._options["bigquery_maximum_bytes"])
        for task in _spend_apis.tasks(readable, first):
            bills.update({bill.target: bill for bill in self._read(task, book, apis)})
        self._problems += book.problems
        return [bills[item.target.name] for item in places]

    def _read(self, task: _spend_apis.Task, book: _spend_book.Book, apis: _spend_apis.Apis) -> list[_spend.Bill]:
        provider = task.question.provider
        answer = book.look_up(task.question, lambda: apis.ask(task))
        targets = dict.fromkeys(task.question.targets, provider)
        if answer.reading is None:
            return [_spend.Bill(name, provider, problem=answer.problem) for name in targets]
        if answer.problem is not None:
            self._problems.append(f"{', '.join(targets)}: {answer.problem}")
        self._problems += answer.reading.notes
        self._count(provider, answer.reading)
        return _spend.bills(
            answer.reading,
            targets,
            currency=self._currency,
            read_at=t.cast(float, answer.read_at),
            cached=answer.cached,
        )

    def _count(self, provider: str, reading: _spend.Reading) -> None:
        row = self._calls.setdefault(
            provider, {"provider": provider, "calls": 0, "cost_usd": 0.0, "bytes_billed": None}
        )
        row["calls"] += reading.calls
        row["cost_usd"] = _pricing.number(Decimal(str(row["cost_usd"])) + reading.cost_usd)
        if reading.bytes_billed is not None:
            row["bytes_billed"] = (row["bytes_billed"] or 0) + reading.bytes_billed


def _known_nims(
    places: t.Iterable[Place],
    found: t.Iterable[t.Mapping[str, t.Any]],
    prices: t.Iterable[t.Mapping[str, t.Any]],
) -> t.Iterator[tuple[str, str, str, str | None]]:
    """Yield target, name, node and tier of what is wanted, what is deployed, and what was priced."""
    for item in places:
        for asked in item.nims:
            yield item.target.name, asked.name, asked.node, asked.gpu_tier or None
    for target in found:
        for row in target.get("deployments") or ():
            yield str(target.get("target")), *_named(row)
    for row in prices:
        yield str(row.get("target")), *_named(row)


def _named(row: t.Mapping[str, t.Any]) -> tuple[str, str, str | None]:
    """Return name, node and tier of a deployment or a price."""
    return str(row.get("name") or ""), str(row.get("node")), row.get("gpu_tier") or None
