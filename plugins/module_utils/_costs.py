# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What NIMs have cost this month, what the month will cost, and how long NIMs are idle. Pure: no clock, no cloud.

The shapes are those of nim_spend_info, nim_targets_info, nim_price_info and nim_usage_info. Amounts are in one
currency, days and months are those of UTC, by which clouds bill.

What is not known is None and never 0. A sum of which a part is not known is not complete: it is that much at least.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import typing as t
from decimal import Decimal

from ansible_collections.budgetguard.techops.plugins.module_utils import _guard, _guard_policy, _spend, _usage
from ansible_collections.budgetguard.techops.plugins.module_utils._pricing import HOURS_PER_MONTH

Mapping = t.Mapping[str, t.Any]
Row = dict[str, t.Any]

BILLED, ESTIMATE = "billed", "estimate"
RUNNING, PACE = "running", "pace"
FORECASTS: t.Mapping[str, str] = {
    RUNNING: "if what runs now goes on",
    PACE: "at the pace of the last billed days",
}
"""How a forecast is made -> what it is called."""

OK, NOTE, WARNING, PROBLEM = "ok", "note", "warning", "problem"

_HOUR = 3600.0
_ROUND = 4


class CostsError(ValueError):
    """What was given is not what the modules return."""


@dataclasses.dataclass(frozen=True)
class Read:
    """All that was read. ``pace_days`` is how many of the last billed days tell the pace.

    ``usages`` are mappings with ``target``, and ``usage`` with its sums by the day, or ``error``. ``budgets`` are as
    the variable guard_budgets has them.
    """

    spend: Mapping
    targets: t.Sequence[Mapping] = ()
    prices: Mapping = dataclasses.field(default_factory=dict)
    usages: t.Sequence[Mapping] = ()
    budgets: t.Any = ()
    pace_days: int = 7


@dataclasses.dataclass(frozen=True)
class Month:
    """The month that a moment is in."""

    now: float

    @property
    def _moment(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.now, datetime.timezone.utc)

    @property
    def name(self) -> str:
        """Return the year and the month."""
        return self._moment.strftime("%Y-%m")

    @property
    def first(self) -> datetime.date:
        """Return its first day."""
        return self._moment.date().replace(day=1)

    @property
    def next(self) -> datetime.date:
        """Return the first day of the month after it."""
        return (self.first + datetime.timedelta(days=31)).replace(day=1)

    @property
    def days(self) -> list[datetime.date]:
        """Return all its days."""
        return [self.first + datetime.timedelta(days=number) for number in range((self.next - self.first).days)]

    @property
    def hours_left(self) -> float:
        """Return how many hours are left of it."""
        return max(0.0, start_of(self.next) - self.now) / _HOUR


class Sum(t.NamedTuple):
    """A sum of what is known. ``amount`` is None if nothing is."""

    amount: float | None
    complete: bool


def summed(values: t.Iterable[float | None], nothing: float | None = 0.0) -> Sum:
    """Add amounts up. ``nothing`` is the sum of none."""
    given = list(values)
    known = [value for value in given if value is not None]
    amount = sum(known) if known else (nothing if not given else None)
    return Sum(None if amount is None else round(amount, _ROUND), len(known) == len(given))


def start_of(day: datetime.date) -> float:
    """Return the moment at which a day of UTC begins."""
    return datetime.datetime.combine(day, datetime.time(), datetime.timezone.utc).timestamp()


def day_of(moment: float) -> datetime.date:
    """Return the day of UTC that a moment is in."""
    return datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).date()


def date_of(value: t.Any) -> datetime.date:
    """Return a day. Raises CostsError."""
    try:
        return datetime.date.fromisoformat(str(value)[:10])
    except ValueError as exc:
        raise CostsError(f"spend.days: {value!r} must be a date such as 2026-11-27") from exc


def costs(read: Read, now: float) -> Row:
    """Put together what was read. Raises CostsError, and PolicyError for budgets that are wrong."""
    spend = _checked(read.spend)
    if read.pace_days < 1:
        raise CostsError(f"pace_days is {read.pace_days}; it must be 1 or more")
    month = Month(now)
    policy = _guard_policy.policy({"budgets": read.budgets})
    targets = list(_mappings("spend.targets", spend.get("targets")))
    outside = {str(target["target"]) for target in targets if target.get("provider") in _spend.UNBILLED}
    names = [str(target["target"]) for target in targets if target.get("billed_until") is None]
    unread = [name for name in names if name not in outside]
    running = _running(read, str(spend["currency"]))
    not_seen = _not_seen(read, {str(target["target"]) for target in targets})
    rows = _rows(read, spend, month, [nim for nim in running if nim.target not in outside], not_seen, unread)
    blind = {PACE: unread, RUNNING: [*unread, *(name for name in not_seen if name not in outside)]}
    total = _total(rows, blind, len(targets) > len(outside) + len(unread))
    budgets = [found for budget in policy.budgets for found in _budget(budget, rows, blind, str(spend["currency"]))]
    idle = _idle(read, running, now)
    notes = [str(problem) for problem in spend.get("problems") or ()]
    notes += [
        f"{target['target']} is not in these sums: {target['problem']}"
        for target in targets
        if target["target"] in outside
    ]
    notes += [f"{name}: what runs there is not known: {why}" for name, why in not_seen.items() if name not in outside]
    notes += [f"{_named(row)}: {why}" for row in rows for why in row["why"]]
    notes += [f"{_named(nim)}: idle time not known: {nim['why']}" for nim in idle["nims"] if nim["why"]]
    return {
        "currency": str(spend["currency"]),
        "month": month.name,
        "month_ends": f"{month.next.isoformat()}T00:00:00Z",
        "generated_at": _usage.iso(now),
        "as_of": spend.get("as_of"),
        "total": total,
        "rows": rows,
        "days": _days(spend, month),
        "budgets": budgets,
        "idle": idle,
        "allocations": [dict(row) for row in _mappings("spend.allocations", spend.get("allocations") or ())],
        "targets": [dict(target) for target in targets],
        "estimates": [dict(row) for row in _mappings("spend.estimates", spend.get("estimates") or ())],
        "calls": [dict(row) for row in _mappings("spend.calls", spend.get("calls") or ())],
        "pace_days": read.pace_days,
        "notes": list(dict.fromkeys(notes)),
    }


def _checked(spend: t.Any) -> Mapping:
    if not isinstance(spend, t.Mapping) or not spend.get("currency"):
        raise CostsError("it takes what nim_spend_info returns, a mapping with currency, targets, days and rows")
    return t.cast(Mapping, spend)


def _mappings(what: str, value: t.Any) -> t.Sequence[Mapping]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, t.Mapping) for item in value):
        raise CostsError(f"{what}: must be a list of mappings")
    return t.cast("t.Sequence[Mapping]", value)


def _named(row: Row) -> str:
    return f"{row['node'] or 'shared'} on {row['target']}"


# ---- what runs -------------------------------------------------------------------------------------------------------


def _running(read: Read, currency: str) -> list[_spend.Run]:
    """Return the NIMs that are switched on, with their list prices."""
    try:
        prices = _spend.listed("prices", read.prices, "prices")
        found = _spend.runs(_mappings("targets", read.targets), prices, currency)
    except _spend.SpendError as exc:
        raise CostsError(str(exc)) from exc
    return sorted(found, key=lambda nim: (nim.target, nim.node, nim.name))


def _not_seen(read: Read, names: t.AbstractSet[str]) -> dict[str, str]:
    """Return the targets of which it is not known what runs there, with the reason."""
    found = {str(target["target"]): target for target in _mappings("targets", read.targets)}
    told = dict.fromkeys(sorted(names - set(found)), "it was not asked")
    for name, target in found.items():
        if not target["read"] and not target.get("asleep"):
            told[name] = str(target.get("error") or "it could not be read")
    return told


# ---- money -----------------------------------------------------------------------------------------------------------

_Key = tuple[str, t.Optional[str]]


def _rows(
    read: Read,
    spend: Mapping,
    month: Month,
    running: t.Sequence[_spend.Run],
    not_seen: Mapping,
    unread: t.Sequence[str],
) -> list[Row]:
    """Return one row for each node of a target, and one for what a target's NIMs share; what costs most comes first."""
    told: dict[_Key, Mapping] = {
        (str(row["target"]), row.get("node")): row
        for row in _mappings("spend.rows", spend.get("rows") or ())
        if row["target"] not in unread
    }
    billed = _billed(spend)
    # A NIM that runs where the bill cannot be read is a row, too: of it nothing is known but its price.
    keys: dict[_Key, None] = dict.fromkeys([*told, *((nim.target, nim.node) for nim in running)])
    until = {str(target["target"]): _usage.moment(target.get("billed_until")) for target in spend.get("targets") or ()}
    open_ends = {
        (str(item["target"]), item.get("node")) for item in spend.get("estimates") or () if item.get("amount") is None
    }
    rows = []
    for target, node in keys:
        row = told.get((target, node), {})
        spent = row.get("month_to_date")
        mine = [nim for nim in running if (nim.target, nim.node) == (target, node)]
        hourly, complete, why = _hourly(read, spend, target, node, mine)
        if target in not_seen and node is not None:
            hourly, complete = None, False
        left = month.hours_left
        pace, days = _pace(billed.get((target, node), {}), until.get(target), month, read.pace_days)
        whys = [why] if why else []
        if (target, node) in open_ends:
            whys.append("what it has cost since the bill ends is not known, and not in the sums")
        rows.append(
            {
                "target": target,
                "node": node,
                "month_to_date": spent,
                "month_complete": spent is not None and (target, node) not in open_ends,
                "estimated": row.get("estimated"),
                "today": row.get("today"),
                "running": bool(mine) if node is not None and target not in not_seen else None,
                "hourly": hourly,
                "hourly_complete": complete,
                "per_billed_day": pace,
                "billed_days": days,
                "forecast": {
                    RUNNING: None if spent is None or hourly is None else round(spent + hourly * left, _ROUND),
                    PACE: None if spent is None or pace is None else round(spent + pace * left / 24, _ROUND),
                },
                "why": whys,
            }
        )
    return sorted(rows, key=_dearest_first)


def _billed(spend: Mapping) -> dict[_Key, dict[datetime.date, float | None]]:
    """Return what was billed for each node of a target, by day. A node may have several NIMs, of other tiers."""
    found: dict[_Key, dict[datetime.date, float | None]] = collections.defaultdict(dict)
    for day in _mappings("spend.days", spend.get("days") or ()):
        own, date, amount = found[str(day["target"]), day.get("node")], date_of(day["date"]), day.get("billed")
        before = own.get(date, 0.0)
        own[date] = None if amount is None or before is None else before + amount
    return found


def _dearest_first(row: Row) -> tuple[t.Any, ...]:
    return -(row["month_to_date"] or 0.0), row["target"], row["node"] is None, row["node"] or ""


def _hourly(
    read: Read, spend: Mapping, target: str, node: str | None, running: t.Sequence[_spend.Run]
) -> tuple[float | None, bool, str | None]:
    """Return what is paid an hour now by list prices, whether that is all of it, and why something is not known."""
    if node is not None:
        if any(nim.hourly is None for nim in running):
            return None, False, "it runs, and its list price is not known, so neither is the forecast by what runs"
        return summed(_float(nim.hourly) for nim in running).amount, True, None
    for row in _mappings("prices.targets", read.prices.get("targets") or ()):
        same = row.get("target") == target and str(row.get("currency") or "USD") == spend["currency"]
        if same and not row.get("error"):
            whole = row.get("fixed_monthly")
            least = whole if whole is not None else row.get("fixed_monthly_at_least")
            return (None if least is None else round(least / float(HOURS_PER_MONTH), 6)), whole is not None, None
    return None, False, "what its NIMs share has no list price, so it is not in the forecast by what runs"


def _float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _pace(
    days: t.Mapping[datetime.date, float | None], until: float | None, month: Month, most: int
) -> tuple[float | None, int]:
    """Return what a day has cost on average, by the last days that are wholly billed, and how many these are.

    A day of the month without a line cost nothing.
    """
    if until is None:
        return None, 0
    first = min([month.first, *days])
    last = day_of(until)
    whole = [last - datetime.timedelta(days=back) for back in range(1, most + 1)]
    whole = [day for day in whole if day >= first]
    amounts = [days.get(day, 0.0) for day in whole]
    if not amounts or None in amounts:
        return None, 0
    return round(sum(filter(None, amounts)) / len(amounts), _ROUND), len(amounts)


_Blind = t.Mapping[str, t.Sequence[str]]
"""How a forecast is made -> the targets of which it knows nothing. The pace knows all whose bills were read."""


def _total(rows: t.Sequence[Row], blind: _Blind, any_read: bool) -> Row:
    """Return the sums of all rows."""
    nothing = 0.0 if any_read else None
    whole = not blind[PACE]
    total: Row = {}
    for name in ("month_to_date", "estimated", "today"):
        found = summed((row[name] for row in rows), nothing)
        total[name], total[f"{name}_complete"] = found.amount, found.complete and whole
    total["month_to_date_complete"] = whole and all(row["month_complete"] for row in rows)
    total["forecast"] = {how: _forecast(rows, how, not blind[how], nothing) for how in FORECASTS}
    return total


def _forecast(rows: t.Sequence[Row], how: str, whole: bool, nothing: float | None) -> Row:
    """Return the forecast for some rows. Of a row without one what it has cost so far counts, so it is not complete."""
    known = [row["forecast"][how] for row in rows]
    complete = whole and None not in known and all(row["month_complete"] for row in rows)
    if how == RUNNING:
        complete = complete and all(row["hourly_complete"] for row in rows)
    if rows and all(amount is None for amount in known):
        return {"amount": None, "complete": False}
    least = [row["month_to_date"] if amount is None else amount for row, amount in zip(rows, known)]
    return {"amount": summed(least, nothing).amount, "complete": complete}


def _budget(budget: _guard.Budget, rows: t.Sequence[Row], blind: _Blind, currency: str) -> t.Iterator[Row]:
    """Return how much of a budget is used, for each of its periods."""
    own = [row for row in rows if budget.is_about(row["target"], [row["node"]])]
    anywhere = dataclasses.replace(budget, node=None)
    mine = {how: [name for name in names if anywhere.is_about(name, [])] for how, names in blind.items()}
    nothing = None if mine[PACE] and not own else 0.0
    for period, limit, column in (("month", budget.monthly, "month_to_date"), ("day", budget.daily, "today")):
        if limit is None:
            continue
        why = None
        if budget.currency != currency:
            why = f"spend is in {currency}, the budget in {budget.currency}, and nothing is converted"
        found = summed((row[column] for row in own), nothing)
        spent, complete = (None, False) if why else (found.amount, found.complete and not mine[PACE])
        complete = complete and all(row["month_complete"] for row in own)
        if spent is None and why is None:
            why = "what was spent is not known"
        forecasts = {}
        if period == "month" and spent is not None:
            forecasts = {how: _forecast(own, how, not mine[how], nothing) for how in FORECASTS}
        used = None if spent is None else 100.0 * spent / limit
        row = {
            "name": budget.name,
            "target": budget.target,
            "node": budget.node,
            "period": period,
            "limit": limit,
            "currency": budget.currency,
            "warn_percent": budget.warn_percent,
            "stop_percent": budget.stop_percent,
            "spent": spent,
            "complete": complete,
            "percent": None if used is None else round(used, 1),
            "forecast": {
                how: {**told, "percent": None if told["amount"] is None else round(100.0 * told["amount"] / limit, 1)}
                for how, told in forecasts.items()
            },
            "why": why,
        }
        yield {**row, "state": _budget_state(row)}


def _budget_state(row: Row) -> str:
    used = row["percent"]
    if used is None:
        return NOTE
    if used >= row["stop_percent"]:
        return PROBLEM
    ahead = [told["percent"] for told in row["forecast"].values() if told["percent"] is not None]
    if used >= row["warn_percent"] or any(percent > 100 for percent in ahead):
        return WARNING
    return OK if row["complete"] else NOTE


def _days(spend: Mapping, month: Month) -> list[Row]:
    """Return what each day has cost, by what was billed and by estimate, the oldest first.

    The last day of a bill still grows, and is estimated as well. What is billed of it is taken off the estimate, as
    nim_spend_info does for its rows.
    """
    found = [_day(day, date_of(day["date"]), BILLED, day.get("billed")) for day in spend.get("days") or ()]
    until = {str(target["target"]): _usage.moment(target.get("billed_until")) for target in spend.get("targets") or ()}
    credit: dict[_Key, float] = {}
    for key, days in _billed(spend).items():
        grows = max(until.get(key[0]) or 0.0, start_of(month.first))
        credit[key] = sum(amount or 0.0 for date, amount in days.items() if start_of(date) >= grows)
    for item in _mappings("spend.estimates", spend.get("estimates") or ()):
        since, end = _usage.moment(item.get("since")), _usage.moment(item.get("until"))
        if since is None or end is None or end <= since:
            continue
        key, amount = (str(item["target"]), item.get("node")), item.get("amount")
        for date, part in _parts(since, end):
            if date < month.first:
                continue
            if amount is None:
                found.append(_day(item, date, ESTIMATE, None))
                continue
            paid = min(amount * part, credit.get(key, 0.0))
            credit[key] = credit.get(key, 0.0) - paid
            if amount * part > paid:
                found.append(_day(item, date, ESTIMATE, round(amount * part - paid, _ROUND)))
    return sorted(found, key=lambda day: tuple(str(value) for value in list(day.values())[:5]))


def _day(row: Mapping, date: datetime.date, kind: str, amount: float | None) -> Row:
    return {
        "date": date.isoformat(),
        "target": str(row["target"]),
        "node": row.get("node"),
        "gpu_tier": row.get("gpu_tier"),
        "kind": kind,
        "amount": amount,
    }


def _parts(since: float, until: float) -> t.Iterator[tuple[datetime.date, float]]:
    """Divide a time into days, each with its part of the whole."""
    begin = since
    while begin < until:
        date = day_of(begin)
        end = min(until, start_of(date + datetime.timedelta(days=1)))
        yield date, (end - begin) / (until - since)
        begin = end


# ---- idle time -------------------------------------------------------------------------------------------------------


def _idle(read: Read, running: t.Sequence[_spend.Run], now: float) -> Row:
    """Return for how long NIMs that run now have had nothing to do."""
    usages = {str(usage.get("target")): usage for usage in _mappings("usages", read.usages)}
    nims = [_idle_nim(nim, usages.get(nim.target), now) for nim in running]
    known = [nim for nim in nims if nim["idle_share"] is not None]
    hours = sum(nim["running_hours"] for nim in known)
    idle = sum(nim["running_hours"] - nim["busy_hours"] for nim in known)
    money = summed((nim["idle_cost"] for nim in nims), None)
    return {
        "nims": nims,
        "idle_share": round(idle / hours, 4) if hours else None,
        "at_least": any(nim["at_least"] for nim in known),
        "known": len(known),
        "unknown": len(nims) - len(known),
        "idle_cost": money.amount,
        "idle_cost_complete": money.complete,
    }


def _idle_nim(nim: _spend.Run, usage: Mapping | None, now: float) -> Row:
    row: Row = {
        "target": nim.target,
        "name": nim.name,
        "node": nim.node,
        "gpu_tier": nim.gpu_tier,
        "since": None,
        "until": None,
        "running_hours": None,
        "busy_hours": None,
        "idle_share": None,
        "at_least": False,
        "hourly": _float(nim.hourly),
        "idle_cost": None,
    }
    found = _busy(nim, usage, now)
    if isinstance(found, str):
        return {**row, "why": found}
    begin, end, busy, exact = found
    hours, worked = (end - begin) / _HOUR, min(busy, end - begin) / _HOUR
    return {
        **row,
        "since": _usage.iso(begin),
        "until": _usage.iso(end),
        "running_hours": round(hours, 3),
        "busy_hours": round(worked, 3),
        "idle_share": round(1 - worked / hours, 4),
        "at_least": not exact,
        "idle_cost": None if nim.hourly is None else round((hours - worked) * float(nim.hourly), _ROUND),
        "why": None,
    }


def _busy(nim: _spend.Run, usage: Mapping | None, now: float) -> tuple[float, float, float, bool] | str:
    """Return from when to when a NIM has run, and for how many seconds it worked; or why that is not known.

    The last value says whether these seconds are exact. If the NIM was started after the log's last minutes begin, they
    are the most that it can have worked since: what its requests took together since the day of its start, and no more
    than it worked in those last minutes.
    """
    if usage is None:
        return "its use was not read"
    if usage.get("error") or usage.get("usage") is None:
        return str(usage.get("error") or "its use was not read")
    told = usage["usage"]
    log = told["log"]
    own = next((item for item in told["nims"] if item["name"] == nim.name), None)
    recent = None if own is None else own["recent"]
    if recent is None or recent["busy_seconds"] is None:
        return "; ".join(log["problems"]) or "the log does not say how long it worked"
    if nim.since is None:
        return "the target does not say since when it runs"
    read_at = _usage.moment(told["until"]) or now
    end = min(read_at, _usage.moment(log["settled_until"]) or read_at)
    window = read_at - 60.0 * recent["minutes"]
    if nim.since <= window:
        begin, busy, exact = window, float(recent["busy_seconds"]), True
    else:
        begin = max(nim.since, _usage.moment(told["since"]) or nim.since)
        day = start_of(day_of(begin))
        since_then = [
            float(row["request_seconds"])
            for row in told["rows"]
            if f"nim-{row['node']}" == nim.name and (_usage.moment(row["period"]) or day) >= day
        ]
        busy, exact = min(sum(since_then), float(recent["busy_seconds"])), False
    if end <= begin:
        return "it was started after the log's last line that counts"
    return begin, end, busy, exact


__all__ = (
    "BILLED",
    "ESTIMATE",
    "FORECASTS",
    "NOTE",
    "OK",
    "PACE",
    "PROBLEM",
    "RUNNING",
    "WARNING",
    "CostsError",
    "Month",
    "Read",
    "Sum",
    "costs",
    "date_of",
    "day_of",
    "start_of",
    "summed",
)
