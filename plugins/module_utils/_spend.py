# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What was billed per day, what is to be added to it until now, and what of it falls to whom. Pure.

A bill is late, and its last day still grows. So a bill counts as complete up to the beginning of the last day that it
has, and what runs since then is estimated. What of that is billed already is taken off the estimate again, so that no
hour counts twice. Days and months are those of UTC, as the clouds' bills have them.

What is not known is None and never 0.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t
from decimal import Decimal

from ansible_collections.budgetguard.techops.plugins.module_utils import _pricing, _usage
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import HOSTED_TIER

SOURCES: t.Mapping[str, str] = {"aws": "cost_explorer", "azure": "cost_management", "gcp": "bigquery"}
"""Where each cloud's bill is read."""

UNBILLED: t.Mapping[str, str] = {
    "nvidia": "NVIDIA has no API that tells what Cloud Functions and hosted models have cost",
    "local": "nobody sends a bill for a machine of your own",
}
"""Providers of which there never is a bill, and why."""

BASIS = "running hours x list price"

LOOK_BACK_DAYS = 3
"""So many days before the first that is asked for are read as well, to see up to when is billed on a first of month."""

LATE_HOURS = 72.0
"""A bill that is later than this is told. All three clouds speak of a day; the day that still grows is another one."""

_DAY = 86400.0
_HOUR = Decimal(3600)
_NIM = "nim-"

Mapping = t.Mapping[str, t.Any]
Row = dict[str, t.Any]


class SpendError(ValueError):
    """What was given is not what the module returns that it should come from."""


@dataclasses.dataclass(frozen=True)
class Line:
    """What was billed of a target on a day, with what the bill says about whose it is.

    ``node`` and ``gpu_tier`` come from our tags, ``name`` is that of a NIM's workload; each is None if not told.
    """

    date: str
    target: str
    amount: Decimal
    currency: str
    node: str | None = None
    name: str | None = None
    gpu_tier: str | None = None


@dataclasses.dataclass(frozen=True)
class Reading:
    """The answer of one source about some targets. ``unknown`` says of a target why nothing is known about it.

    ``notes`` say what limits the answer. ``calls`` and ``cost_usd`` are what reading took, and ``bytes_billed`` what
    BigQuery wants money for.
    """

    lines: tuple[Line, ...] = ()
    unknown: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    calls: int = 0
    cost_usd: Decimal = Decimal(0)
    bytes_billed: int | None = None


@dataclasses.dataclass(frozen=True)
class Bill:
    """What is known of one target's bill: the lines, or the reason why there are none."""

    target: str
    provider: str
    lines: tuple[Line, ...] = ()
    billed_until: float | None = None
    read_at: float | None = None
    cached: bool = False
    problem: str | None = None

    @property
    def is_expected(self) -> bool:
        """Whether there should be a bill. Where there never is one, that is no problem."""
        return self.provider not in UNBILLED

    @property
    def is_known(self) -> bool:
        """Whether this tells what was billed, be it nothing."""
        return self.billed_until is not None and self.problem is None


@dataclasses.dataclass(frozen=True)
class Run:
    """A NIM that is switched on. ``hourly`` is the list price of all its copies, None if it is not known."""

    target: str
    node: str
    name: str
    gpu_tier: str | None
    since: float | None
    hourly: Decimal | None


class Names:
    """Which node and tier a bill is about: NIMs by target, as the inventory, the target and the prices name them."""

    def __init__(self, nims: t.Iterable[tuple[str, str, str, str | None]]) -> None:
        """Take (target, name, node, tier) of all NIMs that are known."""
        self._by_name: dict[tuple[str, str], tuple[str, str | None]] = {}
        self._nodes: dict[tuple[str, str], set[str]] = {}
        self._tiers: dict[tuple[str, str], set[str]] = {}
        for target, name, node, tier in nims:
            if name:
                self._by_name[target, name] = (node, tier)
            if tier:
                self._nodes.setdefault((target, tier), set()).add(node)
                self._tiers.setdefault((target, node), set()).add(tier)

    def whose(self, line: Line) -> tuple[str | None, str | None]:
        """Return node and tier of a line. No node is what cannot be divided."""
        if line.name is not None and (line.target, line.name) in self._by_name:
            return self._by_name[line.target, line.name]
        if line.node is not None:
            return line.node, line.gpu_tier or self._only(self._tiers, line.target, line.node)
        if line.gpu_tier is not None:
            return self._only(self._nodes, line.target, line.gpu_tier), line.gpu_tier
        return None, None

    def node_of(self, target: str, name: str) -> str:
        """Return the node of a NIM, or its name if there is no such NIM by now."""
        return self._by_name.get((target, name), (name, None))[0]

    @staticmethod
    def _only(known: t.Mapping[tuple[str, str], set[str]], target: str, key: str) -> str | None:
        found = known.get((target, key), set())
        return next(iter(found)) if len(found) == 1 else None


# ---- days ------------------------------------------------------------------------------------------------------------


def day_of(moment: float) -> str:
    """Return the day of a moment."""
    return datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).date().isoformat()


def start_of(day: str) -> float:
    """Return the beginning of a day. Raises ValueError."""
    parsed = datetime.date.fromisoformat(day)
    return datetime.datetime(parsed.year, parsed.month, parsed.day, tzinfo=datetime.timezone.utc).timestamp()


def month_start(now: float) -> str:
    """Return the first day of the month."""
    return f"{day_of(now)[:8]}01"


def first_day(since: str, now: float) -> str:
    """Return from which day on bills are read, so that the month is whole and one sees up to when is billed."""
    return day_of(start_of(min(since, month_start(now))) - LOOK_BACK_DAYS * _DAY)


def billed_until(lines: t.Iterable[Line]) -> float | None:
    """Return up to when lines are complete: the beginning of their last day, which may still grow."""
    last = max((line.date for line in lines), default=None)
    return None if last is None else start_of(last)


# ---- what one source said, by target ---------------------------------------------------------------------------------


def bills(
    reading: Reading,
    targets: t.Mapping[str, str],
    *,
    currency: str,
    read_at: float,
    cached: bool = False,
) -> list[Bill]:
    """Return the bill of each of the targets that one question was about. ``targets`` are their providers by name.

    A source tells all targets of a question equally late. So a target of which it says nothing has cost nothing up to
    where the others are billed; where it says nothing at all, nothing is known.
    """
    until = billed_until(reading.lines)
    found = []
    for name, provider in targets.items():
        lines = tuple(line for line in reading.lines if line.target == name)
        problem = reading.unknown.get(name)
        others = sorted({line.currency for line in lines} - {currency})
        if others:
            problem = f"it is billed in {' and '.join(others)}, not in {currency}, and nothing is converted"
        if until is None and problem is None:
            problem = "nothing is billed, so it cannot be told up to when the bill is known"
        kept = () if problem else lines
        found.append(Bill(name, provider, kept, None if problem else until, read_at, cached, problem))
    return found


def merged(lines: t.Iterable[Line]) -> tuple[Line, ...]:
    """Add up lines that say the same."""
    sums: dict[Line, Decimal] = {}
    for line in lines:
        key = dataclasses.replace(line, amount=Decimal(0))
        sums[key] = sums.get(key, Decimal(0)) + line.amount
    found = [dataclasses.replace(key, amount=amount) for key, amount in sums.items() if amount]
    return tuple(sorted(found, key=lambda line: (line.date, line.target, str(line.node), str(line.name))))


# ---- what was given: NIMs that run, their prices, their use ----------------------------------------------------------


def listed(what: str, value: t.Any, key: str) -> list[Mapping]:
    """Return the list that a module returned, or that its whole result has under a key. Raises SpendError."""
    if isinstance(value, t.Mapping):
        value = value.get(key)
    if value is None:
        return []
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, t.Mapping) for item in value):
        raise SpendError(f"{what}: must be a list of mappings, or the result that has it as {key}")
    return list(value)


def runs(found: t.Iterable[Mapping], prices: t.Iterable[Mapping], currency: str) -> list[Run]:
    """Return the NIMs that are switched on, with what they cost an hour."""
    priced = list(prices)
    switched_on = []
    for target in found:
        name = str(target.get("target"))
        for deployment in target.get("deployments") or ():
            copies = int(deployment.get("replicas") or 0)
            tier = str(deployment.get("gpu_tier") or "") or None
            if not copies or tier == HOSTED_TIER:
                continue
            switched_on.append(
                Run(
                    name,
                    str(deployment.get("node")),
                    str(deployment.get("name")),
                    tier,
                    _usage.moment(deployment.get("running_since")),
                    _hourly(name, deployment, copies, priced, currency),
                )
            )
    return switched_on


def _hourly(
    target: str, deployment: Mapping, copies: int, prices: t.Iterable[Mapping], currency: str
) -> Decimal | None:
    for row in prices:
        same = row.get("name") == deployment.get("name") or (row.get("node"), row.get("gpu_tier")) == (
            deployment.get("node"),
            deployment.get("gpu_tier"),
        )
        if row.get("target") != target or not same:
            continue
        if row.get("hourly") is None or str(row.get("currency") or "USD") != currency:
            return None
        return Decimal(str(row["hourly"])) / int(row.get("replicas") or copies) * copies
    return None


# ---- estimates -------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What a NIM has cost since the bill ends, by its list price. ``since`` is None if it cannot be told."""

    run: Run
    since: float | None
    until: float

    def between(self, start: float, end: float) -> Decimal | None:
        """Return what falls into a time. None if it is not known."""
        if self.since is None or self.run.hourly is None:
            return None
        return self.run.hourly * Decimal(max(0.0, min(end, self.until) - max(start, self.since))) / _HOUR

    def row(self) -> Row:
        """Return it as it is told."""
        hours = None if self.since is None else max(0.0, self.until - self.since) / 3600
        return {
            "target": self.run.target,
            "node": self.run.node,
            "gpu_tier": self.run.gpu_tier,
            "since": _usage.iso(self.since),
            "until": _usage.iso(self.until),
            "hours": None if hours is None else round(hours, 2),
            "hourly": _pricing.number(self.run.hourly),
            "amount": None if self.since is None else _pricing.number(self.between(self.since, self.until), 4),
            "basis": BASIS,
        }


def estimates(switched_on: t.Iterable[Run], known: t.Iterable[Bill], now: float) -> list[Estimate]:
    """Return what runs now and is not billed yet. It cannot tell what ran meanwhile and was stopped."""
    by_target = {bill.target: bill for bill in known}
    found = []
    for run in switched_on:
        bill = by_target.get(run.target)
        if bill is None or not bill.is_expected:
            continue
        since = None if run.since is None or bill.billed_until is None else max(run.since, bill.billed_until)
        found.append(Estimate(run, since, now))
    return found


# ---- rows ------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Period:
    """A month or a day up to now, of one target and node."""

    start: float
    end: float
    bill: Bill

    def told(self, lines: t.Mapping[str, Decimal], mine: t.Sequence[Estimate]) -> tuple[Decimal | None, Decimal]:
        """Return what was spent in it, None if nothing is known of it, and how much of that is no bill yet."""
        billed = sum((amount for day, amount in lines.items() if self.start <= start_of(day) < self.end), Decimal(0))
        reached = t.cast(float, self.bill.billed_until)
        grows = max(self.start, reached)
        late = sum((amount for day, amount in lines.items() if grows <= start_of(day) < self.end), Decimal(0))
        parts = [item.between(self.start, self.end) for item in mine]
        known = [part for part in parts if part is not None]
        if reached < self.start and not known:
            return None, Decimal(0)
        more = max(Decimal(0), sum(known, Decimal(0)) - late)
        return billed + more, more


def rows_of(bill: Bill, names: Names, estimated: t.Sequence[Estimate], now: float) -> list[Row]:
    """Return what each node of a target has cost this month and today, and what its NIMs share."""
    if not bill.is_expected:
        return []
    if not bill.is_known:
        return [{"target": bill.target, "node": None, "month_to_date": None, "today": None, "estimated": None}]
    month, today = start_of(month_start(now)), start_of(day_of(now))
    by_node: dict[str | None, dict[str, Decimal]] = {}
    for line in bill.lines:
        if start_of(line.date) >= month:
            days = by_node.setdefault(names.whose(line)[0], {})
            days[line.date] = days.get(line.date, Decimal(0)) + line.amount
    for item in estimated:
        by_node.setdefault(item.run.node, {})
    if not by_node:
        by_node[None] = {}
    found = []
    for node, days in sorted(by_node.items(), key=lambda entry: (entry[0] is None, str(entry[0]))):
        mine = [item for item in estimated if item.run.node == node]
        spent, more = _Period(month, now, bill).told(days, mine)
        spent_today, _more = _Period(today, now, bill).told(days, mine)
        found.append(
            {
                "target": bill.target,
                "node": node,
                "month_to_date": _pricing.number(spent, 4),
                "today": _pricing.number(spent_today, 4),
                "estimated": None if spent is None else _pricing.number(more, 4),
            }
        )
    return found


def days_of(bill: Bill, names: Names, since: str) -> list[Row]:
    """Return what was billed per day, node and tier."""
    sums: dict[tuple[str, str | None, str | None], Decimal] = {}
    for line in bill.lines:
        if line.date >= since:
            key = (line.date, *names.whose(line))
            sums[key] = sums.get(key, Decimal(0)) + line.amount
    return [
        {
            "date": date,
            "target": bill.target,
            "node": node,
            "gpu_tier": tier,
            "billed": _pricing.number(amount, 4),
        }
        for (date, node, tier), amount in sorted(sums.items(), key=lambda item: tuple(map(_last, item[0])))
    ]


def _last(value: str | None) -> tuple[bool, str]:
    """Sort what has no name behind what has one."""
    return value is None, value or ""


# ---- what is told about the bills themselves -------------------------------------------------------------------------


def target_row(bill: Bill, currency: str, now: float) -> Row:
    """Return up to when a target is billed, and how late that is."""
    until = bill.billed_until
    return {
        "target": bill.target,
        "provider": bill.provider or None,
        "source": SOURCES.get(bill.provider),
        "currency": currency,
        "billed_until": _usage.iso(until),
        "late_hours": None if until is None else round((now - until) / 3600, 1),
        "read_at": _usage.iso(bill.read_at),
        "cached": bill.cached,
        "problem": bill.problem,
    }


def problems_of(bill: Bill, names: Names, estimated: t.Sequence[Estimate], now: float) -> t.Iterator[str]:
    """Yield what somebody should look at: a bill that is not known, or late, or that names no node though one ran."""
    if not bill.is_expected:
        return
    if not bill.is_known:
        kept = f" (as it was read at {_usage.iso(bill.read_at)})" if bill.cached else ""
        yield f"{bill.target}: what was billed is not known: {bill.problem}{kept}"
        return
    until = t.cast(float, bill.billed_until)
    late = (now - until) / 3600
    if late > LATE_HOURS:
        yield (
            f"{bill.target}: nothing is billed since {day_of(until)}, {late:.0f} hours ago: the bill is late, or "
            "nothing has cost anything since"
        )
    ran = [item.run.name for item in estimated if item.run.since is not None and item.run.since < until - _DAY]
    if ran and all(names.whose(line)[0] is None for line in bill.lines):
        yield (
            f"{bill.target}: the bill names no node, though {', '.join(sorted(ran))} runs for more than a day, so all "
            f"of it is told as shared: {_HINTS[bill.provider]}"
        )


_HINTS = {
    "aws": "activate the cost allocation tag budgetguard:node (docs/spend.md)",
    "azure": "its machines have no tag budgetguard:gpu-tier, or several nodes are on one tier (docs/spend.md)",
    "gcp": (
        "use the detailed export with GKE cost allocation; without it machines are told by their label "
        "budgetguard-gpu-tier, and by node where a tier has one alone (docs/spend.md)"
    ),
}


# ---- allocation ------------------------------------------------------------------------------------------------------


def allocations(
    usages: t.Iterable[Mapping], known: t.Iterable[Bill], names: Names, since: str
) -> tuple[list[Row], list[str]]:
    """Divide what was billed among workstations by their shares of the request-seconds, and say what limits that.

    What was billed for a node while nobody used it falls to those who used it otherwise: somebody has to pay for it.
    What a target's NIMs share is divided by all requests to the target.
    """
    by_target = {bill.target: bill for bill in known}
    told: list[Row] = []
    problems: list[str] = []
    for entry in usages:
        target = str(entry.get("target"))
        usage, bill = entry.get("usage"), by_target.get(target)
        if bill is None or not bill.is_known:
            continue
        start = _usage.moment((usage or {}).get("since"))
        end = _usage.moment((usage or {}).get("until"))
        if (
            not isinstance(usage, t.Mapping)
            or start is None
            or end is None
            or not (usage.get("log") or {}).get("known")
        ):
            why = entry.get("error") or "its log was not read"
            problems.append(f"{target}: nothing is allocated to workstations: {why}")
            continue
        if not usage["log"].get("complete"):
            problems.append(f"{target}: the usage log is not complete, so what is allocated may be wrong")
        seconds = _seconds(usage.get("rows") or (), target, names)
        billed: dict[str | None, Decimal] = {}
        for line in bill.lines:
            if max(since, day_of(start)) <= line.date <= day_of(end):
                node = names.whose(line)[0]
                billed[node] = billed.get(node, Decimal(0)) + line.amount
        for node, amount in sorted(billed.items(), key=lambda item: _last(item[0])):
            mine = seconds if node is None else {key: value for key, value in seconds.items() if key[1] == node}
            told += _shares(target, node, amount, mine)
    return told, problems


def _seconds(rows: t.Iterable[Mapping], target: str, names: Names) -> dict[tuple[str, str], Decimal]:
    """Return the request-seconds of each workstation and node."""
    found: dict[tuple[str, str], Decimal] = {}
    for row in rows:
        workstation = str(row.get("workstation") or _usage.NOBODY)
        if workstation == _usage.NOBODY or str(row.get("target") or target) not in (target, _usage.NOBODY):
            continue
        key = workstation, names.node_of(target, f"{_NIM}{row.get('node')}")
        found[key] = found.get(key, Decimal(0)) + Decimal(str(row.get("request_seconds") or 0))
    return found


def _shares(
    target: str, node: str | None, billed: Decimal, seconds: t.Mapping[tuple[str, str], Decimal]
) -> t.Iterator[Row]:
    whole = sum(seconds.values(), Decimal(0))
    if not whole:
        return
    sums: dict[str, Decimal] = {}
    for (workstation, _node), amount in seconds.items():
        sums[workstation] = sums.get(workstation, Decimal(0)) + amount
    for workstation, amount in sorted(sums.items(), key=lambda item: (-item[1], item[0])):
        yield {
            "workstation": workstation,
            "target": target,
            "node": node,
            "request_seconds": _pricing.number(amount, 3),
            "share": _pricing.number(amount / whole, 6),
            "allocated": _pricing.number(billed * amount / whole, 4),
        }


__all__ = (
    "BASIS",
    "LATE_HOURS",
    "LOOK_BACK_DAYS",
    "SOURCES",
    "UNBILLED",
    "Bill",
    "Estimate",
    "Line",
    "Names",
    "Reading",
    "Run",
    "SpendError",
    "allocations",
    "billed_until",
    "bills",
    "day_of",
    "days_of",
    "estimates",
    "first_day",
    "listed",
    "merged",
    "month_start",
    "problems_of",
    "rows_of",
    "runs",
    "start_of",
    "target_row",
)
