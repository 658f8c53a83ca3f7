# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dialog of cloud nodes: what runs where and costs what, start, stop, and stop when idle.

A NIM is everybody's in the studio, and an artist's identity cannot see who else uses it. So nothing is stopped that the
artist has not confirmed, and what was asked to be stopped when idle goes on as long as its metrics show a request of
anybody.
"""

from __future__ import annotations

import asyncio
import datetime
import time
import typing as t
from dataclasses import dataclass

from .client import Client
from .cloud import Cloud, CloudError
from .endpoints import Endpoint, endpoints_of
from .envelope import ConfigError, Opened
from .fleet import RUNNING, STARTING, STOPPED, UNKNOWN, Instance, State, hours_today, instances_of, spent
from .messages import CALL
from .status import YELLOW, refuse
from .workstation import Workstation

SEEN_SECONDS = 5.0
IDLE_LOOK_SECONDS = 30.0
LEAST_IDLE, MOST_IDLE = 5, 720

Key = tuple[str, str, str]
Answer = dict[str, t.Any]


class AskError(Exception):
    """A request cannot be carried out. C(status) is that of HTTP, the text for the artist."""

    def __init__(self, status: int, text: str, reason: str) -> None:
        super().__init__(text)
        self.status = status
        self.reason = reason


@dataclass
class Wish:
    """Stop a NIM when it was not used for so many minutes. C(since) is when the minutes began last."""

    minutes: int
    since: float
    problem: str | None = None


class CloudNodes:
    """What the dialog asks for, for one workstation. Wishes live as long as ComfyUI runs."""

    def __init__(
        self, workstation: Workstation, cloud: Cloud | None = None, clock: t.Callable[[], float] = time.monotonic
    ) -> None:
        self._workstation = workstation
        self._cloud = Cloud() if cloud is None else cloud
        self._clock = clock
        self._wishes: dict[Key, Wish] = {}
        self._started: dict[Key, datetime.datetime] = {}
        self._seen: tuple[float, list[tuple[Instance, State]]] | None = None
        self._looking: asyncio.Lock | None = None
        self._watcher: asyncio.Task[None] | None = None

    # ---- look --------------------------------------------------------------------------------------------------------

    async def status(self) -> Answer:
        """Return what there is, how it is, and what was spent today."""
        try:
            opened = await self._open()
        except AskError as problem:
            return {"ok": False, "text": str(problem), "cloud_nodes": [], "spent_today": None}
        now = _now()
        states = await self._states(opened)
        rows = await asyncio.to_thread(self._workstation.ledger.today, now)
        usd, missing = spent(states, rows, endpoints_of(opened.document), now)
        shown = [self._shown(instance, state, now) for instance, state in states]
        text = f"about {usd:.2f} USD (estimate)"
        return {
            "ok": True,
            "text": None,
            "cloud_nodes": shown,
            "spent_today": {"usd": round(usd, 4), "text": text, "without": missing},
        }

    async def _open(self) -> Opened:
        try:
            opened = await asyncio.to_thread(self._workstation.open)
            refuse(opened, _now())
        except ConfigError as problem:
            raise AskError(503, self._workstation.named(f"{YELLOW} ({problem})"), problem.reason) from None
        return opened

    async def _states(self, opened: Opened) -> list[tuple[Instance, State]]:
        """Return all instances with their states, at most a few seconds old."""
        if self._looking is None:  # Before Python 3.10 a lock belongs to the loop in which it is made.
            self._looking = asyncio.Lock()
        async with self._looking:
            if self._seen is not None and self._clock() < self._seen[0]:
                return self._seen[1]
            instances = instances_of(endpoints_of(opened.document))
            found = await self._cloud.states(opened.credentials, instances)
            told = [(one, self._state(one, found[one.key])) for one in instances]
            on = [one.endpoint for one, state in told if state.name == RUNNING]
            down = await Client(opened.credentials).down(on)
            told = [(one, self._settled(one, state, down)) for one, state in told]
            self._seen = (self._clock() + SEEN_SECONDS, told)
            return told

    def _state(self, instance: Instance, found: State | CloudError) -> State:
        if isinstance(found, CloudError):
            return State(UNKNOWN, None, self._workstation.named(str(found)))
        begun = self._started.get(instance.key)
        if found.name == STARTING and begun is not None and (found.since is None or found.since < begun):
            return State(STARTING, begun, found.problem)
        return found

    def _settled(self, instance: Instance, state: State, down: t.Mapping[str, str]) -> State:
        """Tell a container that runs from a NIM that answers: in between it loads its model."""
        if state.name != RUNNING or instance.endpoint.url not in down:
            return state
        begun = self._started.get(instance.key) or state.since
        if begun is None or (_now() - begun).total_seconds() < instance.start_minutes * 60:
            return State(STARTING, begun)
        return State(
            RUNNING, state.since, self._workstation.named(f"It runs, but {down[instance.endpoint.url]}: {CALL}.")
        )

    def _shown(self, instance: Instance, state: State, now: datetime.datetime) -> Answer:
        """Return what the page may know of an instance: no address."""
        wish = self._wishes.get(instance.key)
        problem = state.problem or (wish.problem if wish else None)
        minutes = None if state.since is None else max(0, int((now - state.since).total_seconds() // 60))
        left = None
        if state.name == STARTING and not state.problem:
            left = instance.start_minutes - (minutes or 0)
            if left <= 0:
                problem = self._workstation.named(f"It takes longer than {instance.start_minutes} minutes: {CALL}.")
        return {
            "provider": instance.provider,
            "target": instance.target,
            "instance_name": instance.name,
            "nodes": list(instance.nodes),
            "gpu_tier": instance.endpoint.tier,
            "hourly_usd": instance.endpoint.hourly_usd,
            "state": state.name,
            "since": None if state.since is None else state.since.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "minutes": minutes,
            "ready_in_minutes": None if left is None else max(0, left),
            "problem": f"{problem}." if problem and problem[-1] != "." else problem,
            "idle_minutes": wish.minutes if wish else 0,
        }

    # ---- change ------------------------------------------------------------------------------------------------------

    async def start(self, asked: t.Any) -> Answer:
        """Start one copy. Raises AskError."""
        opened, instance, state = await self._find(asked)
        if state.name in (STARTING, RUNNING):
            return {"ok": True, "text": f"{instance.place()} is {state.name} already."}
        await self._scale(opened, instance, 1)
        self._started[instance.key] = _now()
        return {"ok": True, "text": f"{instance.place()} starts: ready in about {instance.start_minutes} minutes."}

    async def stop(self, asked: t.Any) -> Answer:
        """Stop all copies, once the artist has confirmed that nobody needs them. Raises AskError."""
        opened, instance, state = await self._find(asked)
        if state.name == STOPPED:
            return {"ok": True, "text": f"{instance.place()} is stopped already."}
        if asked.get("confirmed") is not True:
            raise AskError(409, f"{await self._use(opened, instance, state)} Stop it for everybody?", "confirm")
        await self._stop(opened, instance, state)
        return {"ok": True, "text": f"{instance.place()} is being stopped, and costs no more once its machine is gone."}

    async def idle(self, asked: t.Any) -> Answer:
        """Stop an instance when it was idle for so many minutes; with 0 do not. Raises AskError."""
        minutes = asked.get("minutes") if isinstance(asked, dict) else None
        fits = isinstance(minutes, int) and not isinstance(minutes, bool)
        if not fits or (minutes != 0 and not LEAST_IDLE <= t.cast(int, minutes) <= MOST_IDLE):
            text = f"minutes must be a whole number from {LEAST_IDLE} to {MOST_IDLE}, or 0 for never."
            raise AskError(400, text, "bad_request")
        opened, instance, state = await self._find(asked)
        if minutes == 0:
            self._wishes.pop(instance.key, None)
            return {"ok": True, "text": f"{instance.place()} is left on."}
        if asked.get("confirmed") is not True:
            use = await self._use(opened, instance, state)
            raise AskError(409, f"{use} Stop it for everybody when it was idle for {minutes} minutes?", "confirm")
        self._wishes[instance.key] = Wish(t.cast(int, minutes), self._clock())
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.create_task(self._watch())
        text = f"{instance.place()} is stopped when it was idle for {minutes} minutes, as long as ComfyUI is open."
        return {"ok": True, "text": f"{text} After that the studio's guard looks after it."}

    async def _use(self, opened: Opened, instance: Instance, state: State) -> str:
        """Say what is known of others who use an instance."""
        if state.name == STARTING:
            return f"{instance.place()} is still starting, and others may be waiting for it."
        working = await Client(opened.credentials).working(instance.endpoint)
        said = {
            True: "is working for somebody at this moment",
            False: "has no request at this moment, but others may be between two",
            None: "may be in use by others; this workstation cannot see it",
        }[working]
        return f"{instance.place()} {said}."

    async def _find(self, asked: t.Any) -> tuple[Opened, Instance, State]:
        """Return the instance that is meant. Raises AskError."""
        names = ("provider", "instance_name")
        if not isinstance(asked, dict) or not all(isinstance(asked.get(name), str) for name in names):
            raise AskError(400, "The request must have provider and instance_name.", "bad_request")
        opened = await self._open()
        found = [
            (instance, state)
            for instance, state in await self._states(opened)
            if (instance.provider, instance.name) == (asked["provider"], asked["instance_name"])
            and asked.get("target", instance.target) == instance.target
        ]
        if not found:
            text = f"There is no NIM of that name that this workstation can start and stop: {CALL}."
            raise AskError(404, self._workstation.named(text), "unknown")
        if len(found) > 1:
            targets = ", ".join(instance.target for instance, _state in found)
            raise AskError(400, f"There are several of that name: give target, one of {targets}.", "bad_request")
        return (opened, *found[0])

    async def _scale(self, opened: Opened, instance: Instance, copies: int) -> None:
        try:
            await self._cloud.scale(opened.credentials, instance, copies)
        except CloudError as problem:
            raise AskError(502, self._workstation.named(str(problem)), "cloud") from None
        finally:
            self._seen = None

    async def _stop(self, opened: Opened, instance: Instance, state: State) -> None:
        await self._scale(opened, instance, 0)
        self._wishes.pop(instance.key, None)
        self._started.pop(instance.key, None)
        row = {"provider": instance.provider, "target": instance.target, "name": instance.name}
        hours = hours_today(state.since, _now())
        usd = round(hours * (instance.endpoint.hourly_usd or 0.0), 4)
        line = {"kind": "stop", **row, "hours": round(hours, 3), "usd": usd}
        await asyncio.to_thread(self._workstation.ledger.write, line)

    # ---- idle --------------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        while self._wishes:
            await asyncio.sleep(IDLE_LOOK_SECONDS)
            await self.look_at_idle()

    async def look_at_idle(self) -> None:
        """Stop what was asked to be stopped and has been idle long enough."""
        try:
            opened = await self._open()
        except AskError:
            return  # What cannot be seen is not stopped.
        states = {instance.key: (instance, state) for instance, state in await self._states(opened)}
        for key, wish in list(self._wishes.items()):
            instance, state = states.get(key, (None, State(STOPPED)))
            if instance is None or state.name == STOPPED:
                self._wishes.pop(key, None)
            elif state.name != UNKNOWN:
                await self._look_at(opened, instance, state, wish)

    async def _look_at(self, opened: Opened, instance: Instance, state: State, wish: Wish) -> None:
        now = self._clock()
        used = self._last_use(instance.endpoint)
        if state.name != RUNNING or await Client(opened.credentials).working(instance.endpoint):
            wish.since = now
            return
        wish.since = max(wish.since, used)
        if now - wish.since < wish.minutes * 60:
            return
        try:
            await self._stop(opened, instance, state)
        except AskError as problem:
            wish.problem = str(problem)

    def _last_use(self, endpoint: Endpoint) -> float:
        used = self._workstation.ledger.last_use(endpoint.url)
        return float("-inf") if used is None else used


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)
