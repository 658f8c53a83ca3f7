# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Which NIMs to switch off because nobody uses them. Pure: no clock, no cloud.

What is not known is None, and a NIM of which anything that matters is not known is never idle. Times are seconds since
1970, durations are seconds unless their name says minutes.
"""

from __future__ import annotations

import dataclasses
import datetime
import fnmatch
import typing as t

KEEP = "keep"
WARN = "warn"
STOP = "stop"

ASK = "ask"
REQUIRE = "require"
IGNORE = "ignore"
IN_FLIGHT = (REQUIRE, ASK, IGNORE)
"""What to make of a NIM's own word about requests that run now: never stop without it, stop without it, do not ask."""

LONGEST_REQUEST_MINUTES = 15
"""The gateway ends a request after this time, and a request has no line in the log before it has ended."""

USUAL = 0.5
"""An hour of the week is one of usual use if the NIM was used in it in at least this part of the weeks before."""

_SOURCES = {
    "nim_metrics": "by what it counts itself",
    "cloudwatch": "by CloudWatch's metrics",
}
"""How it is told where use is known from, if not from the gateway's log."""

_HOUR = 3600.0
_MINUTE = 60.0
_HOURS_PER_WEEK = 168
_WEEK = datetime.timedelta(days=7)


@dataclasses.dataclass(frozen=True)
class OfficeHours:
    """When people work, by the clock on the wall. ``days`` are 0 for Monday to 6; a night belongs to its first day."""

    zone: datetime.tzinfo
    days: frozenset[int]
    opens: datetime.time
    closes: datetime.time
    holidays: frozenset[datetime.date] = frozenset()

    def is_open(self, now: float) -> bool:
        """Say whether it is office hours. Daylight saving time moves them with the clock on the wall."""
        wall = datetime.datetime.fromtimestamp(now, self.zone).replace(tzinfo=None)
        return any(self._covers(wall.date() - datetime.timedelta(days=back), wall) for back in (0, 1))

    def _covers(self, day: datetime.date, wall: datetime.datetime) -> bool:
        if day.weekday() not in self.days or day in self.holidays:
            return False
        ends_on = day + datetime.timedelta(days=int(self.closes <= self.opens))
        return datetime.datetime.combine(day, self.opens) <= wall < datetime.datetime.combine(ends_on, self.closes)


@dataclasses.dataclass(frozen=True)
class Budget:
    """How much may be spent. Without target and node it is that of the studio; both are patterns."""

    target: str | None = None
    node: str | None = None
    monthly: float | None = None
    daily: float | None = None
    warn_percent: float = 80.0
    stop_percent: float = 100.0
    currency: str = "USD"

    @property
    def name(self) -> str:
        """Name it as a person would."""
        parts = [f"of {self.node}" if self.node else "", f"on {self.target}" if self.target else ""]
        return f"budget {' '.join(part for part in parts if part) or 'of the studio'}"

    def is_about(self, target: str, nodes: t.Iterable[str | None]) -> bool:
        """Say whether a NIM, by all its names, falls under it."""
        return _matches(self.target, [target]) and _matches(self.node, nodes)


@dataclasses.dataclass(frozen=True)
class Spent:
    """What a NIM has cost so far; without ``node`` what its target's NIMs share. None is not known."""

    target: str
    node: str | None
    month: float | None
    day: float | None
    estimated: float | None = None
    """How much of the month is no bill yet."""


@dataclasses.dataclass(frozen=True)
class Spend:
    """What was spent, as far as it is known at ``as_of``."""

    rows: tuple[Spent, ...]
    currency: str
    as_of: float


@dataclasses.dataclass(frozen=True)
class Exemption:
    """NIMs that are left alone up to a moment, by patterns."""

    target: str
    node: str
    until: float
    reason: str

    def is_about(self, target: str, nodes: t.Iterable[str | None]) -> bool:
        """Say whether a NIM, by all its names, is meant."""
        return _matches(self.target, [target]) and _matches(self.node, nodes)


@dataclasses.dataclass(frozen=True)
class Policy:
    """What a target's NIMs are held to. ``late_minutes``: the log is not believed about the last so many minutes.

    ``short_idle_minutes`` count outside office hours and over a budget. ``zone`` is that of the usual hours.
    """

    idle_minutes: float = 60.0
    short_idle_minutes: float = 20.0
    office_hours: OfficeHours | None = None
    late_minutes: float = 10.0
    cold_start_minutes: float = 30.0
    tail_minutes: float = 15.0
    in_flight: str = REQUIRE
    zone: datetime.tzinfo = datetime.timezone.utc
    budgets: tuple[Budget, ...] = ()
    exemptions: tuple[Exemption, ...] = ()


@dataclasses.dataclass(frozen=True)
class Nim:
    """A NIM that is switched on. ``running_since``: it did not run as it does now before that."""

    target: str
    name: str
    node: str
    gpu_tier: str
    state: str
    serves: tuple[str, ...] = ()
    running_since: float | None = None
    always_on: bool = False
    why: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All that it may be called in a budget or an exception."""
        return (self.node, self.name, *self.serves)


@dataclasses.dataclass(frozen=True)
class Use:
    """What is known of a NIM's use.

    The log holds everything from ``known_since`` to ``settled_until`` if it is ``unbroken``. ``used_hours`` are the
    beginnings of hours in which it was used since ``history_since``. ``in_flight``: whether the NIM itself says that it
    works now. ``source`` is what all this but that comes from.
    """

    last_use: float | None = None
    known_since: float | None = None
    settled_until: float | None = None
    unbroken: bool = False
    problem: str | None = None
    used_hours: frozenset[float] = frozenset()
    history_since: float | None = None
    in_flight: bool | None = None
    in_flight_why: str | None = None
    source: str = "gateway_log"


@dataclasses.dataclass(frozen=True)
class Price:
    """What a NIM costs while it runs, and how long its machine takes to come and to go. None is not known."""

    hourly: float | None = None
    currency: str = "USD"
    cold_start_minutes: float | None = None
    tail_minutes: float | None = None


@dataclasses.dataclass(frozen=True)
class Decision:
    """What to do with a NIM and why. ``known`` is False where its use is not known."""

    nim: Nim
    action: str
    reason: str
    known: bool = True
    idle_since: float | None = None
    price: Price = Price()
    source: str | None = None


class _Verdict(t.NamedTuple):
    action: str
    reason: str
    known: bool = True
    idle_since: float | None = None


def decide(
    nim: Nim,
    use: Use | None,
    policy: Policy,
    now: float,
    price: Price | None = None,
    spend: Spend | None = None,
    *,
    final: bool = True,
) -> Decision:
    """Say whether to keep a NIM or to switch it off. Without ``final`` it was not asked what it is working on."""
    over, warned = _budgets(nim, policy, spend, now)
    verdict = _verdict(nim, use, policy, now, price or Price(), over, final)
    action, reason = verdict.action, verdict.reason
    if action == STOP and over:
        reason = f"{reason}; {over}"
    elif action != STOP and (over or warned):
        action, reason = WARN, f"{over or warned}; kept: {reason}"
    source = use.source if use is not None and verdict.idle_since is not None else None
    if source in _SOURCES:
        reason = f"{reason} ({_SOURCES[source]})"
    return Decision(nim, action, reason, verdict.known, verdict.idle_since, price or Price(), source)


def _verdict(
    nim: Nim, use: Use | None, policy: Policy, now: float, price: Price, over: str | None, final: bool
) -> _Verdict:
    spared = _spared(nim, policy, now)
    if spared is not None:
        return spared
    unknown = _not_known(nim, use)
    if unknown is not None or use is None or nim.running_since is None:
        return _Verdict(KEEP, f"not known: {unknown}", known=False)
    return _by_use(nim.running_since, use, policy, now, price, over, final)


def _by_use(
    running_since: float, use: Use, policy: Policy, now: float, price: Price, over: str | None, final: bool
) -> _Verdict:
    """Decide about a NIM of whose use enough is known."""
    begun = t.cast(float, use.last_use if use.last_use is not None else use.known_since)
    cold = _or(price.cold_start_minutes, policy.cold_start_minutes)
    # A NIM that has not worked since it was started gets the time that it needs to start on top.
    is_fresh = use.last_use is None or use.last_use < running_since
    since = max(begun, running_since + cold * _MINUTE) if is_fresh else begun
    covered = min(t.cast(float, use.settled_until), now - policy.late_minutes * _MINUTE)
    limit, limit_why = _limit(policy, now, over)
    if use.in_flight:
        return _Verdict(KEEP, f"busy: {use.in_flight_why or 'it says that it works'}", idle_since=since)
    if covered - since < limit * _MINUTE:
        return _Verdict(KEEP, _not_yet(is_fresh, since, covered, now, limit), idle_since=since)
    expected, rule = expected_idle(use, covered - since, policy.zone, now)
    back = cold + _or(price.tail_minutes, policy.tail_minutes)
    told = use.in_flight_why or "it was not asked"
    if expected <= back * _MINUTE:
        reason = f"idle, but {rule} in {expected / _MINUTE:.0f} min, and a stop and a start take {back:.0f} min"
        found = _Verdict(KEEP, reason, idle_since=since)
    elif final and policy.in_flight == REQUIRE and use.in_flight is None:
        found = _Verdict(
            KEEP,
            f"not known: whether a request runs now: {told}; guard_in_flight: ask would stop it",
            known=False,
            idle_since=since,
        )
    else:
        unsure = f", by the log alone ({told})" if final and use.in_flight is None else ""
        never = "since its last request"
        if is_fresh:
            never = "since it was started" if since > begun else "for as long as is known"
        minutes = (covered - since) / _MINUTE
        reason = f"idle for {minutes:.0f} min {never}{unsure}; {limit:g} are allowed {limit_why}"
        found = _Verdict(STOP, reason, idle_since=since)
    return found


def _spared(nim: Nim, policy: Policy, now: float) -> _Verdict | None:
    """Return why a NIM is left alone, whatever its use."""
    for item in policy.exemptions:
        if item.until > now and item.is_about(nim.target, nim.names):
            until = datetime.datetime.fromtimestamp(item.until, policy.zone).strftime("%Y-%m-%d %H:%M %Z")
            return _Verdict(KEEP, f"exception until {until}: {item.reason}")
    if nim.always_on:
        return _Verdict(KEEP, "always_on in nim_matrix")
    said = f": {nim.why}" if nim.why else ""
    if nim.state == "failed":
        return _Verdict(WARN, f"switched on, and will not start like this{said}")
    if nim.state == "starting":
        return _Verdict(KEEP, f"it is starting{said}")
    if nim.state != "running":
        return _Verdict(KEEP, f"not known: its state is {nim.state}{said}", known=False)
    return None


def _not_known(nim: Nim, use: Use | None) -> str | None:
    """Return what is missing to tell whether a running NIM is idle."""
    if use is None:
        return "its use was not read"
    if not use.unbroken or use.settled_until is None:
        return use.problem or "the log was not read as a whole"
    if use.last_use is None and use.known_since is None:
        return use.problem or "the log does not say from when on it is complete"
    if nim.running_since is None:
        return "the target does not say since when it runs"
    return None


def _limit(policy: Policy, now: float, over: str | None) -> tuple[float, str]:
    """Return how many minutes a NIM may be idle now, and why so many."""
    if over:
        return min(policy.idle_minutes, policy.short_idle_minutes), "over a budget"
    if policy.office_hours is None:
        return policy.idle_minutes, "(idle_minutes)"
    if policy.office_hours.is_open(now):
        return policy.idle_minutes, "in office hours"
    return min(policy.idle_minutes, policy.short_idle_minutes), "outside office hours"


def _not_yet(is_fresh: bool, since: float, covered: float, now: float, limit: float) -> str:
    ago = max(0.0, now - since) / _MINUTE
    text = f"started, and has {limit:g} min from when it can be ready" if is_fresh else f"used {ago:.0f} min ago"
    if now - since >= limit * _MINUTE and covered < now:
        text += f"; the log is sure only up to {max(0.0, now - covered) / _MINUTE:.0f} min ago"
    return text


def expected_idle(use: Use, so_far: float, zone: datetime.tzinfo, now: float) -> tuple[float, str]:
    """Return for how long a NIM is expected to stay idle, in seconds, and by which rule.

    With a week of history or more: until the next hour of the week in which it was used in at least half of the weeks
    that are known. In such an hour, and without history: as long again as it has been idle until now.
    """
    again = so_far, "by how long it has been idle, it is used again"
    if use.history_since is None:
        return again
    used = {_hour_of(hour, zone) for hour in use.used_hours}
    start = now // _HOUR * _HOUR
    for ahead in range(_HOURS_PER_WEEK):
        moment = start + ahead * _HOUR
        usual = _is_usual(_hour_of(moment, zone), used, use.history_since, zone)
        if ahead == 0 and usual is not False:
            return again
        if usual:
            return moment - now, "by the weeks before, it is used"
    return _HOURS_PER_WEEK * _HOUR, "by the weeks before, it is used"


def _hour_of(moment: float, zone: datetime.tzinfo) -> datetime.datetime:
    """Return the hour on the wall that a moment is in."""
    return datetime.datetime.fromtimestamp(moment, zone).replace(minute=0, second=0, microsecond=0, tzinfo=None)


def _is_usual(
    hour: datetime.datetime, used: t.AbstractSet[datetime.datetime], since: float, zone: datetime.tzinfo
) -> bool | None:
    """Say whether a NIM is usually used in this hour of the week. None if no such hour is known."""
    first = datetime.datetime.fromtimestamp(since, zone).replace(tzinfo=None)
    known = hits = 0
    before = hour - _WEEK
    while before >= first:
        known += 1
        hits += before in used
        before -= _WEEK
    return None if known == 0 else hits >= USUAL * known


# ---- money -----------------------------------------------------------------------------------------------------------


def _budgets(nim: Nim, policy: Policy, spend: Spend | None, now: float) -> tuple[str | None, str | None]:
    """Return what is to be said of budgets that are used up, and of those that soon will be."""
    over, warned = [], []
    for budget in policy.budgets:
        if not budget.is_about(nim.target, nim.names):
            continue
        for percent, text in _used(budget, spend, policy.zone, now):
            if percent >= budget.stop_percent:
                over.append(text)
            elif percent >= budget.warn_percent:
                warned.append(text)
    return "; ".join(over) or None, "; ".join(warned) or None


def _used(budget: Budget, spend: Spend | None, zone: datetime.tzinfo, now: float) -> list[tuple[float, str]]:
    """Return for each period of a budget of which spend is known how many percent are used, and a sentence."""
    found = []
    for period, limit in (("month", budget.monthly), ("day", budget.daily)):
        if limit is None or spend is None or _stale(budget, spend, period, zone, now):
            continue
        known = [amount for amount in _amounts(budget, spend, period) if amount is not None]
        if known:
            percent = 100.0 * sum(known) / limit
            text = f"{budget.name}: {sum(known):.2f} of {limit:.2f} {budget.currency} of this {period} are spent"
            guessed = sum(row.estimated or 0.0 for row in _rows(budget, spend)) if period == "month" else 0.0
            if guessed:
                text += f", {guessed:.2f} of it estimated"
            found.append((percent, text))
    return found


def _amounts(budget: Budget, spend: Spend, period: str) -> list[float | None]:
    return [row.month if period == "month" else row.day for row in _rows(budget, spend)]


def _rows(budget: Budget, spend: Spend) -> list[Spent]:
    return [row for row in spend.rows if budget.is_about(row.target, [row.node])]


def _stale(budget: Budget, spend: Spend, period: str, zone: datetime.tzinfo, now: float) -> str | None:
    """Say why spend does not tell about a budget's present period."""
    if spend.currency != budget.currency:
        return f"spend is in {spend.currency}, the budget in {budget.currency}, and nothing is converted"
    told = datetime.datetime.fromtimestamp(spend.as_of, zone).date()
    today = datetime.datetime.fromtimestamp(now, zone).date()
    if told == today or (period == "month" and (told.year, told.month) == (today.year, today.month)):
        return None
    return f"what is known of spend is of {told.isoformat()}"


def budget_notes(policies: t.Iterable[Policy], spend: Spend | None, now: float) -> list[str]:
    """Say which budgets nothing is known about, so that they warn and stop nothing."""
    notes: list[str] = []
    for policy in policies:
        for budget in policy.budgets:
            for period, limit in (("month", budget.monthly), ("day", budget.daily)):
                if limit is None:
                    continue
                why = "spend was not read" if spend is None else _stale(budget, spend, period, policy.zone, now)
                amounts = [] if spend is None or why else _amounts(budget, spend, period)
                if why is None and (not amounts or None in amounts):
                    why = "not all of its spend is known"
                if why:
                    notes.append(f"{budget.name}, per {period}: {why}, so what is not known stops nothing")
    return list(dict.fromkeys(notes))


def expired(policies: t.Iterable[Policy], now: float) -> list[str]:
    """Say which exceptions have ended."""
    notes = []
    for policy in policies:
        for item in policy.exemptions:
            if item.until <= now:
                until = datetime.datetime.fromtimestamp(item.until, policy.zone).strftime("%Y-%m-%d %H:%M %Z")
                notes.append(
                    f"the exception for {item.node} on {item.target} ended at {until} ({item.reason}); remove it, or "
                    "give it another date"
                )
    return list(dict.fromkeys(notes))


# ---- small things ----------------------------------------------------------------------------------------------------


def _matches(pattern: str | None, names: t.Iterable[str | None]) -> bool:
    """Say whether a pattern means one of the names; no pattern means all."""
    if pattern is None:
        return True
    return any(name is not None and fnmatch.fnmatchcase(name.casefold(), pattern.casefold()) for name in names)


def _or(value: float | None, instead: float) -> float:
    return instead if value is None else value


__all__ = (
    "ASK",
    "IGNORE",
    "IN_FLIGHT",
    "KEEP",
    "LONGEST_REQUEST_MINUTES",
    "REQUIRE",
    "STOP",
    "WARN",
    "Budget",
    "Decision",
    "Exemption",
    "Nim",
    "OfficeHours",
    "Policy",
    "Price",
    "Spend",
    "Spent",
    "Use",
    "budget_notes",
    "decide",
    "expected_idle",
    "expired",
)
