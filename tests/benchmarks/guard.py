# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A month of a studio with and without the guard: python -m tests.benchmarks.guard [SEED ...].

Nobody waits: the clock is a number. Every five minutes the guard gets what the modules would return, and nothing else:
lines of requests that have ended, up to ten minutes late; logs that cannot be read, or only in part; and at the second
look what the NIM's own metrics say, which are missing at times too. What is true only counts the mistakes.

A stop is wrong if a request ran when the guard looked, or if the NIM is always_on or has an exception. Requests that
came in the seconds from the look to the stop are counted by themselves, because no look can see them.
"""

from __future__ import annotations

import bisect
import dataclasses
import datetime
import random
import sys
import time
import typing as t
import zoneinfo

from ansible_collections.budgetguard.techops.plugins.module_utils import _guard_report, _usage

ZONE = zoneinfo.ZoneInfo("Europe/Berlin")
FIRST_DAY = datetime.date(2027, 3, 1)
"""A Monday. The clocks change on the 28th."""

DAYS = 30
ROUND = 300.0
TO_STOP = 20.0
"""Seconds from the second look to the moment in which a NIM is stopped."""

MINUTE, HOUR = 60.0, 3600.0
COLD_START, TAIL = 12 * MINUTE, 15 * MINUTE
LATE = 10 * MINUTE
"""How late a line is at most, and how long there is none when a log service has trouble."""

CRUNCHES = (4, 17)
"""The nights from these days of the month to the next are worked through."""

PRICES = {
    ("aws", "nim-flux-dev-l40s"): 1.86,
    ("aws", "nim-flux-kontext-h100"): 6.88,
    ("azure", "nim-sd-3-5-large-a100-80gb"): 3.67,
    ("gcp", "nim-llama-3-1-l4"): 0.71,
    ("gcp", "nim-trellis-a100-80gb"): 5.07,
}
"""USD per hour. A table of this benchmark, of the right size; not what a cloud wants today."""

CALLS = {"aws": (7, 9), "azure": (7, 9), "gcp": (4, 3)}
"""Calls of one reading of a target and of its log, as the sandbox counts them, those for tokens and polls included."""

LINE_BYTES = 250
LOOK_BACK_DAYS = 14
USD_PER_BYTE = 0.005 / 1e9
"""Of a gateway's log, how far back the module looks for the last use, and what Logs Insights wants in us-east-1. No
other call of a reading costs anything."""


@dataclasses.dataclass(frozen=True)
class Habit:
    """How a NIM is used: artists, how many of five days each works with it, minutes between two requests."""

    node: str
    tier: str
    artists: int
    part_of_days: float
    think_minutes: float
    seconds: float
    long_part: float = 0.1
    always_on: bool = False


HABITS = {
    ("aws", "nim-flux-dev-l40s"): Habit("FLUX Dev", "l40s", 4, 0.9, 6, 25),
    ("aws", "nim-flux-kontext-h100"): Habit("FLUX Kontext", "h100", 2, 0.6, 15, 60, 0.2),
    ("azure", "nim-sd-3-5-large-a100-80gb"): Habit("SD 3.5 Large", "a100-80gb", 2, 0.5, 25, 40, 0.15),
    ("gcp", "nim-llama-3-1-l4"): Habit("Llama 3.1", "l4", 3, 0.8, 12, 8, 0.02, always_on=True),
    ("gcp", "nim-trellis-a100-80gb"): Habit("TRELLIS", "a100-80gb", 1, 0.3, 35, 180, 0.4),
}

POLICY: dict[str, t.Any] = {
    "idle_minutes": 60,
    "short_idle_minutes": 25,
    "time_zone": "Europe/Berlin",
    "office_hours": {"days": ["mon", "tue", "wed", "thu", "fri"], "from": "09:00", "to": "19:00"},
    "budgets": [{"monthly": 3000}, {"node": "FLUX Kontext", "monthly": 900, "daily": 120}],
    "exceptions": [
        {"target": "azure", "node": "SD*", "until": "2027-03-07", "reason": "a render that is not to be touched"}
    ],
}


@dataclasses.dataclass
class Request:
    """One request: when it is sent, how long it takes, when it began and ended."""

    sent: float
    seconds: float
    began: float = 0.0
    ended: float = 0.0
    received: float = 0.0


@dataclasses.dataclass
class Result:
    """What a month came to."""

    dollars: float = 0.0
    stops: int = 0
    wrong_running: int = 0
    wrong_spared: int = 0
    cut_between: int = 0
    starts: int = 0
    calls: int = 0
    scanned: float = 0.0
    unknown: int = 0
    requests: int = 0
    rounds: int = 0

    @property
    def wrong(self) -> int:
        """Stops that should not have been."""
        return self.wrong_running + self.wrong_spared


class Log:
    """The lines of a NIM, as they come in."""

    def __init__(self, key: tuple[str, str]) -> None:
        self.target, self.node = key[0], key[1].removeprefix("nim-")
        self.coming: list[Request] = []
        self.lines: list[Request] = []
        self.received: list[float] = []
        self.hours: dict[float, int] = {}
        self.last_use: float | None = None

    def read(self, now: float) -> None:
        """Take in what has come until now."""
        for request in [item for item in self.coming if item.received <= now]:
            self.coming.remove(request)
            self.lines.append(request)
            self.received.append(now)
            hour = request.ended // HOUR * HOUR
            self.hours[hour] = self.hours.get(hour, 0) + 1
            self.last_use = max(self.last_use or 0.0, request.ended)

    def since(self, moment: float) -> list[Request]:
        """Return requests that ended since then, of the newest lines."""
        return [item for item in self.lines[-200:] if item.ended >= moment]

    def count(self, since: float) -> int:
        """Return how many lines have come since then."""
        return len(self.received) - bisect.bisect_left(self.received, since)

    def groups(self, since: float) -> list[_usage.Group]:
        """Return the sums by hour."""
        return [
            _usage.Group("ws-01", self.node, self.target, "POST", 200, count, start=hour, last=hour)
            for hour, count in self.hours.items()
            if hour >= since
        ]

    def request(self, item: Request) -> _usage.Request:
        """Return what a line says."""
        return _usage.Request(item.ended, item.seconds, "ws-01", self.node, self.target, "POST", 200, 1000, 100)


class Machine:
    """A NIM as it truly is."""

    def __init__(self, key: tuple[str, str], chance: random.Random, day_count: int) -> None:
        self.key = key
        self.habit = HABITS[key]
        self.chance = chance
        self.waiting = [Request(sent, self._length()) for sent in sorted(self._demand(day_count))]
        self.waiting.reverse()
        self.switches = sorted(self._switches(day_count), reverse=True)
        self.served: list[Request] = []
        self.log = Log(key)
        self.on_since: float | None = None
        self.ready_at = 0.0
        self.paid_until = 0.0
        self.paid = 0.0
        self.starts = 0
        if self.habit.always_on:
            self.start(at(0, 0))

    def _length(self) -> float:
        if self.chance.random() < self.habit.long_part:
            return self.chance.uniform(5, 14.5) * MINUTE
        return self.habit.seconds * self.chance.lognormvariate(0, 0.5)

    def _demand(self, day_count: int) -> t.Iterator[float]:
        for day in range(day_count):
            weekday = (FIRST_DAY + datetime.timedelta(days=day)).weekday()
            for _artist in range(self.habit.artists):
                works = self.habit.part_of_days if weekday < 5 else 0.04
                if self.chance.random() < works:
                    yield from self._session(at(day, self._around(9.3)), at(day, self._around(12.6)))
                    yield from self._session(at(day, self._around(13.6)), at(day, self._around(18.2, 1.0)))
                if day + 1 in CRUNCHES and self.habit.artists > 1:
                    yield from self._session(at(day, 18), at(day + 1, self._around(4.5)))

    def _around(self, hour: float, spread: float = 0.5) -> float:
        return hour + self.chance.gauss(0, spread / 2)

    def _session(self, since: float, until: float) -> t.Iterator[float]:
        moment = since
        while moment < until:
            yield moment
            moment += self.chance.expovariate(1 / (self.habit.think_minutes * MINUTE)) + 5

    def _switches(self, day_count: int) -> t.Iterator[tuple[float, str]]:
        """Let somebody start it early at times, and remember it in the evening at times."""
        for day in range(day_count):
            if (FIRST_DAY + datetime.timedelta(days=day)).weekday() < 5:
                if self.chance.random() < 0.15:
                    yield at(day, self._around(8.2)), "start"
                if self.chance.random() < 0.35:
                    yield at(day, self._around(19.2)), "stop"

    # ---- life --------------------------------------------------------------------------------------------------------

    def start(self, moment: float) -> None:
        """Switch it on. A machine that is still paid for is not paid for twice."""
        self.on_since, self.ready_at = moment, moment + COLD_START
        self.paid -= max(0.0, self.paid_until - moment)
        self.starts += 1

    def stop(self, moment: float) -> int:
        """Switch it off, and return how many requests that breaks. They are sent again."""
        cut = self.running(moment)
        for request in cut:
            self.served.remove(request)
            self.log.coming.remove(request)
            bisect.insort(self.waiting, Request(moment + 30, request.seconds), key=lambda item: -item.sent)
        self.paid += moment - t.cast(float, self.on_since) + TAIL
        self.on_since, self.paid_until = None, moment + TAIL
        return len(cut)

    def running(self, moment: float) -> list[Request]:
        """Return the requests that it works on."""
        return [request for request in self.served[-60:] if request.began <= moment < request.ended]

    def advance(self, moment: float) -> None:
        """Let happen what happens until then."""
        while True:
            sent = self.waiting[-1].sent if self.waiting else float("inf")
            switched = self.switches[-1][0] if self.switches else float("inf")
            if min(sent, switched) > moment:
                return
            if sent <= switched:
                self._serve(self.waiting.pop())
            else:
                self._switch(*self.switches.pop())

    def _serve(self, request: Request) -> None:
        if self.on_since is None:
            self.start(request.sent)
        request.began = max(request.sent, self.ready_at)
        request.ended = request.began + request.seconds
        request.received = request.ended + self.chance.uniform(1, LATE)
        self.served.append(request)
        self.log.coming.append(request)

    def _switch(self, moment: float, what: str) -> None:
        if what == "start" and self.on_since is None:
            self.start(moment)
        busy = any(request.ended > moment for request in self.served[-60:])
        if what == "stop" and self.on_since is not None and not busy and not self.habit.always_on:
            self.stop(moment)

    # ---- what the modules say ----------------------------------------------------------------------------------------

    def deployment(self, now: float) -> dict[str, t.Any]:
        """Return it as nim_targets_info does."""
        is_on, is_ready = self.on_since is not None, self.on_since is not None and self.ready_at <= now
        return {
            "name": self.key[1],
            "node": self.habit.node,
            "gpu_tier": self.habit.tier,
            "replicas": int(is_on),
            "state": "running" if is_ready else "starting" if is_on else "stopped",
            "running_since": _usage.iso(self.on_since) if is_ready else None,
            "endpoint": f"https://{self.key[0]}.studio.example/{self.key[1]}",
        }


def at(day: int, hour: float) -> float:
    """Return a time by the clock on the studio's wall."""
    midnight = datetime.datetime.combine(FIRST_DAY + datetime.timedelta(days=day), datetime.time(), ZONE)
    return (midnight + datetime.timedelta(hours=hour)).timestamp()


class Month:
    """A studio, and what can be read of it."""

    def __init__(self, seed: int, in_flight: str = "require", days: int = DAYS, history_days: int = 14) -> None:
        self.chance = random.Random(seed)
        demand = random.Random(seed + 1)
        self.machines = [Machine(key, demand, days) for key in HABITS]
        self.days = days
        self.history_days = history_days
        self.in_flight = in_flight
        self.result = Result()
        self.troubles = {target: self._troubles() for target in CALLS}
        always: dict[str, list[str]] = {target: [] for target in CALLS}
        for machine in self.machines:
            if machine.habit.always_on:
                always[machine.key[0]].append(machine.habit.node)
        self.policies = {
            target: {**POLICY, "in_flight": in_flight, "always_on": nodes} for target, nodes in always.items()
        }
        self.parsed = _guard_report.policies_of(self.policies)
        self.prices = [
            {
                "target": target,
                "name": name,
                "hourly": price,
                "currency": "USD",
                "start": {"cold_start_minutes": COLD_START / MINUTE, "tail_minutes": TAIL / MINUTE},
            }
            for (target, name), price in PRICES.items()
        ]

    def _troubles(self) -> list[tuple[float, float]]:
        """Return when a log is read in part only."""
        starts = [at(0, 0) + self.chance.random() * self.days * 24 * HOUR for _number in range(self.days // 5)]
        return [(start, start + self.chance.uniform(1, 3) * HOUR) for start in starts]

    def run(self, guarded: bool) -> Result:
        """Live through it."""
        start, end = at(0, 0), at(self.days, 0)
        now = start
        while now < end:
            for machine in self.machines:
                machine.advance(now)
            if guarded:
                self._guard(now)
            self.result.rounds += 1
            now += ROUND
        for machine in self.machines:
            machine.advance(end)
            if machine.on_since is not None:
                machine.paid += end - machine.on_since
            self.result.dollars += machine.paid / HOUR * PRICES[machine.key]
            self.result.starts += machine.starts
            self.result.requests += len(machine.served)
        return self.result

    def _guard(self, now: float) -> None:
        """Do what the role does: read, choose, look again, decide, stop."""
        targets = [self._target(target, now) for target in CALLS]
        usages = [self._usage(target, now, 120 * MINUTE) for target in CALLS if self._has_on(target)]
        first = self._told(targets, usages, now, (), None)
        self.result.unknown += sum(not row["known"] for row in first["decisions"])
        if not first["stops"]:
            return
        again = sorted({row["target"] for row in first["stops"]})
        now += MINUTE / 2
        for machine in self.machines:
            machine.advance(now)
        targets += [self._target(target, now) for target in again]
        usages += [self._usage(target, now, self.history_days * 24 * HOUR) for target in again]
        on = [machine for machine in self.machines if machine.on_since is not None and self.in_flight != "ignore"]
        asked = [self._asked(machine, now) for machine in on]
        for row in self._told(targets, usages, now, asked, first["stops"])["stops"]:
            self._stop(next(item for item in self.machines if item.key == (row["target"], row["name"])), now)

    def _stop(self, machine: Machine, now: float) -> None:
        result = self.result
        result.stops += 1
        running = len(machine.running(now))
        result.wrong_running += running > 0
        spared = machine.key[0] == "azure" and now < at(7, 0)
        result.wrong_spared += machine.habit.always_on or spared
        machine.advance(now + TO_STOP)
        if machine.on_since is not None:
            result.cut_between += machine.stop(now + TO_STOP) - running > 0

    # ---- what the modules say ----------------------------------------------------------------------------------------

    def _told(self, targets: t.Any, usages: t.Any, now: float, endpoints: t.Any, only: t.Any) -> dict[str, t.Any]:
        read = _guard_report.Read(targets, usages, self.policies, endpoints, self.prices, self._spend(now), only)
        return _guard_report.decided(read, self.parsed, now)

    def _has_on(self, target: str) -> bool:
        return any(machine.on_since is not None for machine in self.machines if machine.key[0] == target)

    def _target(self, target: str, now: float) -> dict[str, t.Any]:
        self.result.calls += CALLS[target][0]
        if self.chance.random() < 0.01:
            return {"target": target, "read": False, "error": "it does not answer", "deployments": []}
        own = [machine.deployment(now) for machine in self.machines if machine.key[0] == target]
        return {"target": target, "read": True, "error": None, "deployments": own}

    def _usage(self, target: str, now: float, back: float) -> dict[str, t.Any]:
        """Return what nim_usage_info would: the same report, of the lines that have come so far."""
        self.result.calls += CALLS[target][1]
        if self.chance.random() < 0.02:
            return {"target": target, "usage": None, "error": "the log service does not answer"}
        broken = any(start <= now < end for start, end in self.troubles[target])
        own = [machine for machine in self.machines if machine.key[0] == target]
        for machine in own:
            machine.log.read(now)
        since = now - back
        if target == "aws":
            spans = (back, 60 * MINUTE, LOOK_BACK_DAYS * 24 * HOUR)
            self.result.scanned += LINE_BYTES * sum(machine.log.count(now - span) for machine in own for span in spans)
        recent = [(machine.log, item) for machine in own for item in machine.log.since(now - 60 * MINUTE)]
        delay = max((item.received - item.ended for _log, item in recent), default=0.0)
        nodes = tuple(machine.key[1] for machine in own)
        seen = _usage.Seen(
            [group for machine in own for group in machine.log.groups(since)],
            [log.request(item) for log, item in recent],
            {machine.log.node: machine.log.last_use for machine in own if machine.log.last_use is not None},
            first_line=at(0, 0) - 1 * HOUR,
            settled_until=now - max(60.0, delay),
            problems=("a part of the log could not be read",) if broken else (),
        )
        ask = _usage.Ask(since, now, "hour", 60, 14, nodes)
        return {"target": target, "usage": _usage.report(ask, seen), "error": None, "history": back > 24 * HOUR}

    def _asked(self, machine: Machine, now: float) -> dict[str, t.Any]:
        self.result.calls += 2
        url = machine.deployment(now)["endpoint"]
        if self.chance.random() < 0.05:
            return {"url": url, "busy": None, "busy_reason": "it does not answer"}
        count = len(machine.running(now))
        return {"url": url, "busy": count > 0, "busy_reason": f"num_requests_running is {count}"}

    def _spend(self, now: float) -> dict[str, t.Any] | None:
        """Return what was billed until the last midnight; on some days nobody knows."""
        day = int((now - at(0, 0)) // (24 * HOUR))
        if day % 7 == 3:
            return None
        rows = [
            {
                "target": machine.key[0],
                "node": machine.habit.node,
                "month_to_date": machine.paid / HOUR * PRICES[machine.key],
                "today": None,
            }
            for machine in self.machines
        ]
        return {"currency": "USD", "as_of": _usage.iso(at(day, 0.1)), "rows": rows}


def compare(seed: int, days: int = DAYS) -> dict[str, Result]:
    """Live through the same month without the guard and with it, in each way to see requests that run."""
    found = {"no guard": Month(seed, days=days).run(guarded=False)}
    for in_flight in ("require", "ask", "ignore"):
        found[in_flight] = Month(seed, in_flight, days).run(guarded=True)
    return found


def main() -> None:
    """Print a month for each seed."""
    seeds = [int(word) for word in sys.argv[1:]] or [1, 2, 3]
    headings = (
        "SEED",
        "GUARD",
        "USD",
        "STOPS",
        "WRONG",
        "CUT BETWEEN",
        "STARTS",
        "CALLS",
        "LOGS USD",
        "NOT KNOWN",
        "REQUESTS",
    )
    print("".join(word.rjust(13) for word in headings))
    started = time.monotonic()
    for seed in seeds:
        for name, result in compare(seed).items():
            cells = (
                seed,
                name,
                f"{result.dollars:.2f}",
                result.stops,
                result.wrong,
                result.cut_between,
                result.starts,
                result.calls,
                f"{result.scanned * USD_PER_BYTE:.2f}",
                result.unknown,
                result.requests,
            )
            print("".join(str(cell).rjust(13) for cell in cells))
    print(f"{len(seeds)} times 4 months of {DAYS * 288} rounds in {time.monotonic() - started:.1f} s.")
    print("USD by a table of the benchmark. CUT BETWEEN: requests that came in the seconds from the look to the stop.")
    print("LOGS USD: what Logs Insights wants for reading AWS's log. No other call of the guard costs anything.")


if __name__ == "__main__":
    main()
