# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The variables guard_* as a policy. Pure. Every mistake is told, with where it is and what would be right."""

from __future__ import annotations

import datetime
import math
import re
import typing as t
import zoneinfo

from ansible_collections.budgetguard.techops.plugins.module_utils import _guard

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FULL_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
NUMBERS = ("idle_minutes", "short_idle_minutes", "late_minutes", "cold_start_minutes", "tail_minutes")

_OPTIONS = frozenset((*NUMBERS, "office_hours", "time_zone", "in_flight", "budgets", "exceptions", "always_on"))
_OFFICE = frozenset(("days", "from", "to", "holidays"))
_BUDGET = frozenset(("target", "node", "monthly", "daily", "warn_percent", "stop_percent", "currency"))
_EXCEPTION = frozenset(("target", "node", "until", "reason"))
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})")
_MINUTES_PER_DAY = 24 * 60

Options = t.Mapping[str, t.Any]


class PolicyError(ValueError):
    """Something about the variables is wrong; the message lists all of it, one mistake a line."""


def policy(options: Options) -> _guard.Policy:
    """Return the policy of a target. Raises PolicyError."""
    problems: list[str] = []
    _no_others("guard", options, _OPTIONS, problems)
    default = _guard.Policy()
    numbers = {name: _number(f"guard_{name}", options.get(name), getattr(default, name), problems) for name in NUMBERS}
    least = _guard.LONGEST_REQUEST_MINUTES
    problems += [
        f"guard_{name} is {numbers[name]:g}; it must be {least} or more, because a request may run that long before "
        "the log tells of it"
        for name in ("idle_minutes", "short_idle_minutes")
        if numbers[name] < least
    ]
    in_flight = options.get("in_flight") or _guard.REQUIRE
    if in_flight not in _guard.IN_FLIGHT:
        problems.append(f"guard_in_flight is {in_flight!r}; it must be one of {', '.join(_guard.IN_FLIGHT)}")
    zone = _zone(options.get("time_zone"), problems)
    made = _guard.Policy(
        **numbers,
        office_hours=_office_hours(options.get("office_hours"), zone, problems),
        in_flight=str(in_flight),
        zone=zone,
        budgets=_budgets(options.get("budgets"), problems),
        exemptions=_exemptions(options.get("exceptions"), zone, problems),
    )
    if problems:
        raise PolicyError("\n".join(problems))
    return made


def _office_hours(value: t.Any, zone: datetime.tzinfo, problems: list[str]) -> _guard.OfficeHours | None:
    if not value:
        return None
    where = "guard_office_hours"
    if not isinstance(value, t.Mapping):
        problems.append(f"{where}: must be a mapping with days, from and to, such as {{days: [mon, tue], from: ...}}")
        return None
    _no_others(where, value, _OFFICE, problems)
    days = frozenset(_day(f"{where}.days", day, problems) for day in _list(f"{where}.days", value, DAYS[:5], problems))
    opens = _clock(f"{where}.from", value.get("from"), problems)
    closes = _clock(f"{where}.to", value.get("to"), problems)
    holidays = frozenset(
        _date(f"{where}.holidays", day, problems) for day in _list(f"{where}.holidays", value, (), problems)
    )
    return _guard.OfficeHours(zone, days, opens, closes, holidays)


def _budgets(value: t.Any, problems: list[str]) -> tuple[_guard.Budget, ...]:
    found = []
    for where, entry in _entries("guard_budgets", value, _BUDGET, problems):
        before = len(problems)
        if entry.get("monthly") is None and entry.get("daily") is None:
            problems.append(f"{where}: must have monthly or daily, an amount of money")
        amounts = {
            name: None if entry.get(name) is None else _number(f"{where}.{name}", entry[name], 0, problems, above=0)
            for name in ("monthly", "daily")
        }
        percents = {
            name: _number(f"{where}.{name}", entry.get(name), getattr(_guard.Budget(), name), problems, above=0)
            for name in ("warn_percent", "stop_percent")
        }
        if percents["warn_percent"] > percents["stop_percent"]:
            problems.append(f"{where}: warn_percent must not be above stop_percent")
        if len(problems) == before:
            target, node = (str(entry[name]) if entry.get(name) else None for name in ("target", "node"))
            currency = str(entry.get("currency") or _guard.Budget().currency)
            found.append(
                _guard.Budget(target, node, amounts["monthly"], amounts["daily"], **percents, currency=currency)
            )
    return tuple(found)


def _exemptions(value: t.Any, zone: datetime.tzinfo, problems: list[str]) -> tuple[_guard.Exemption, ...]:
    found = []
    for where, entry in _entries("guard_exceptions", value, _EXCEPTION, problems):
        until = _until(f"{where}.until", entry.get("until"), zone, problems)
        reason = str(entry.get("reason") or "")
        if not reason:
            problems.append(f"{where}: must have a reason, for whoever finds it later")
        target, node = (str(entry.get(name) or "*") for name in ("target", "node"))
        found.append(_guard.Exemption(target, node, until, reason))
    return tuple(found)


# ---- single values ---------------------------------------------------------------------------------------------------


def _no_others(where: str, value: Options, known: t.AbstractSet[str], problems: list[str]) -> None:
    others = sorted(str(name) for name in value if name not in known)
    problems += [f"{where}: there is no {name!r}; known are {', '.join(sorted(known))}" for name in others]


def _entries(
    where: str, value: t.Any, known: t.AbstractSet[str], problems: list[str]
) -> t.Iterator[tuple[str, Options]]:
    if value is None or value == "":
        return
    if not isinstance(value, (list, tuple)):
        problems.append(f"{where}: must be a list of mappings")
        return
    for number, entry in enumerate(value):
        if isinstance(entry, t.Mapping):
            _no_others(f"{where}[{number}]", entry, known, problems)
            yield f"{where}[{number}]", entry
        else:
            problems.append(f"{where}[{number}]: must be a mapping with some of {', '.join(sorted(known))}")


def _list(where: str, value: Options, default: t.Sequence[t.Any], problems: list[str]) -> t.Sequence[t.Any]:
    found = value.get(where.rpartition(".")[2])
    if found is None:
        return default
    if not isinstance(found, (list, tuple)):
        problems.append(f"{where}: must be a list")
        return ()
    return found


def _number(where: str, value: t.Any, default: float, problems: list[str], above: float | None = None) -> float:
    if value is None or value == "":
        return default
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found) or found < 0 or (above is not None and found <= above):
        least = f"above {above:g}" if above is not None else "0 or more"
        problems.append(f"{where} is {value!r}; it must be a number, {least}")
        return default
    return found


def _zone(value: t.Any, problems: list[str]) -> datetime.tzinfo:
    if not value:
        return datetime.timezone.utc
    try:
        return zoneinfo.ZoneInfo(str(value))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        problems.append(
            f"guard_time_zone is {value!r}, which is no time zone that this computer knows; it must be a name such as "
            "Europe/Berlin, and the system's package tzdata has to be there"
        )
        return datetime.timezone.utc


def _day(where: str, value: t.Any, problems: list[str]) -> int:
    name = str(value).lower()
    if name in _FULL_DAYS:
        return _FULL_DAYS.index(name)
    if name not in DAYS:
        problems.append(f"{where}: {value!r} must be one of {', '.join(DAYS)}")
        return 0
    return DAYS.index(name)


def _clock(where: str, value: t.Any, problems: list[str]) -> datetime.time:
    """Read a time of the day. YAML makes a number of minutes of 19:00 without quotes, and that is taken as such."""
    minutes = -1
    found = _CLOCK.fullmatch(value.strip()) if isinstance(value, str) else None
    if found and int(found[2]) < 60:
        minutes = 60 * int(found[1]) + int(found[2])
    elif isinstance(value, int) and not isinstance(value, bool):
        minutes = value
    if not 0 <= minutes <= _MINUTES_PER_DAY:
        problems.append(f"{where} is {value!r}; it must be a time such as '09:00'")
        minutes = 0
    hours, rest = divmod(minutes % _MINUTES_PER_DAY, 60)
    return datetime.time(hours, rest)


def _date(where: str, value: t.Any, problems: list[str]) -> datetime.date:
    if isinstance(value, datetime.datetime):
        return value.date()
    if isinstance(value, datetime.date):
        return value
    try:
        return datetime.date.fromisoformat(str(value))
    except ValueError:
        problems.append(f"{where}: {value!r} must be a date such as 2026-12-25")
        return datetime.date.min


def _until(where: str, value: t.Any, zone: datetime.tzinfo, problems: list[str]) -> float:
    """Read when an exception ends: a moment, or a date, of which it holds to the end of the day."""
    found: datetime.datetime | None = None
    if isinstance(value, datetime.datetime):
        found = value
    elif isinstance(value, datetime.date):
        found = _end_of(value)
    else:
        text = str(value or "").strip()
        try:
            is_date = re.fullmatch(r"\d{4}-\d{2}-\d{2}", text)
            found = _end_of(datetime.date.fromisoformat(text)) if is_date else _moment(text)
        except ValueError:
            found = None
    if found is None:
        problems.append(f"{where} is {value!r}; it must be a date such as 2026-12-25, or a time as 2026-12-25T18:00")
        return 0.0
    return (found if found.tzinfo else found.replace(tzinfo=zone)).timestamp()


def _end_of(day: datetime.date) -> datetime.datetime:
    return datetime.datetime.combine(day + datetime.timedelta(days=1), datetime.time())


def _moment(text: str) -> datetime.datetime:
    # Before Python 3.11 fromisoformat does not know the Z.
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


__all__ = ("DAYS", "NUMBERS", "PolicyError", "policy")
