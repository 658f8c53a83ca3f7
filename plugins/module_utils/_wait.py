# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Wait for NIMs on many targets, and tell what happens meanwhile.

:func:`phase` puts a state into words. :class:`Waiter` asks each target in turn, in threads of its own, and says a line
whenever a NIM gets further and one every now and then. It knows neither Ansible nor any cloud.
"""

from __future__ import annotations

import dataclasses
import time
import typing as t
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for

from ansible_collections.budgetguard.techops.plugins.module_utils import _lines
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Status
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import (
    MissingLibraryError,
    ProviderError,
)

FINAL_STATES = ("running", "failed")
"""States after which nobody waits any longer."""

CAPACITY = "waiting for GPU capacity"
PULLING = "pulling image"
LOADING = "loading model"
STARTING = "starting"
READY = "ready"
FAILED = "failed"
ABSENT = "not there"

WORKERS = 32
"""Targets that are asked at the same time."""

EXPLAIN_LOOKS = 4
"""At each fourth look a target is asked in detail why NIMs do not get further. That costs more calls."""

EXPLAIN_AT_ONCE = 3
"""How many NIMs of a target are asked about in detail at once, because that costs calls for each on some clouds."""

NAMES_AT_ONCE = 4
"""How many NIMs a line that sums up names for each thing that is waited for."""

_SLOW_SECONDS = 1.0
"""How long a slow answer may hold up what is said about the other targets."""

_PHASES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        CAPACITY,
        (
            "waiting for a gpu machine",
            "waiting for an instance",
            "a gpu machine is being started",
            "no free gpu machine",
            "no gpu machine can be added",
            "the machine cannot be started",
            "starts another one",
            "has not made a pod yet",
            "that ran before is still ending",
        ),
    ),
    (
        PULLING,
        (
            "pulls the image",
            "pulling the image",
            "image cannot be pulled",
            "preparing the container",
            "the model cache",
        ),
    ),
    (LOADING, ("loading its model", "loads its model", "loads the model", "loaded its model", "is not ready")),
)
"""What the providers' reasons say, by phase; see _aws_reasons, _kube_reasons, _nvidia_objects, _docker_containers."""

_PLAIN = ("waiting for a gpu machine",)
"""What is not made any clearer by what stands after the colon: every Kubernetes scheduler says so at first."""

_OTHER_STATES = {"stopped": "switched off", "stopping": "still stopping", "unknown": "unknown"}


@dataclasses.dataclass(frozen=True)
class Phase:
    """How far a NIM is, in words, and what more there is to say about it."""

    words: str
    detail: str | None = None

    @property
    def mark(self) -> tuple[str, str]:
        """Return what must differ for two phases to be different ones: numbers in a cloud's own words do not count."""
        return self.words, (self.detail or "").partition(":")[0]

    def __str__(self) -> str:
        """Return it as one line."""
        if self.detail is None:
            return self.words
        text = _lines.one_line(self.detail)
        return f"{self.words}: {text}" if self.words == FAILED else f"{self.words} ({text})"


def phase(status: Status | None) -> Phase:
    """Put a state into words. Pure.

    The reason is only repeated where it says more than the words, such as what a cloud answered.
    """
    if status is None:
        return Phase(ABSENT)
    if status.state == "running":
        return Phase(READY)
    if status.state == "failed":
        return Phase(FAILED, status.reason or "the cloud gives no reason")
    if status.state != "starting":
        return Phase(_OTHER_STATES.get(status.state, status.state), status.reason)
    if status.reason is None:
        return Phase(STARTING)
    # What follows the colon is the cloud's own text, in which any word can stand.
    head, told, _cloud = status.reason.lower().partition(":")
    words = next((words for words, marks in _PHASES if any(mark in head for mark in marks)), STARTING)
    is_plain = words != STARTING and (not told or head in _PLAIN)
    return Phase(words, None if is_plain else status.reason)


def is_final(status: Status | None) -> bool:
    """Say whether waiting any longer would change nothing."""
    return status is not None and status.state in FINAL_STATES


def not_ready(status: Status | None, timeout: float) -> str | None:
    """Say why a NIM is not ready when the wait is over after ``timeout`` seconds; None if it is ready."""
    if status is not None and status.state == "running":
        return None
    if status is not None and status.state == "failed":
        return f"does not start: {status.reason or 'the cloud gives no reason'}"
    waiting_for = status.reason if status is not None and status.reason else "the cloud to say anything about it"
    return f"not ready after {timeout:g} s; waiting for: {waiting_for}"


def elapsed_text(seconds: float) -> str:
    """Write seconds as ``m:ss``."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"


@dataclasses.dataclass
class Nim:
    """A NIM that is waited for, with what is known of it.

    ``error`` says why nothing can be known, ``explained`` when its target was last asked about it in detail, and
    ``is_explained`` whether ``status`` comes from that.
    """

    target: str
    node: str
    deployment: str
    label: str
    status: Status | None = None
    phase: Phase | None = None
    error: str | None = None
    explained: float = float("-inf")
    is_explained: bool = False

    @property
    def is_open(self) -> bool:
        """Say whether it may still become ready."""
        return self.error is None and not is_final(self.status)

    @property
    def is_ready(self) -> bool:
        """Say whether it is ready."""
        return _state(self) == "running"

    def as_dict(self) -> dict[str, str]:
        """Return what names it."""
        return {"target": self.target, "node": self.node, "name": self.deployment}


@dataclasses.dataclass(frozen=True)
class Reading:
    """What one look at a target gave. An ``error`` passes, unless ``for_good``."""

    statuses: t.Mapping[str, Status] = dataclasses.field(default_factory=dict)
    asked: tuple[str, ...] = ()
    error: str | None = None
    for_good: bool = False


class Watched(t.Protocol):
    """What is asked of a target: two methods of a Provider."""

    def progress(self, names: t.Sequence[str]) -> dict[str, Status]:
        """Read how far the named NIMs are, with few calls."""

    def statuses(self, names: t.Sequence[str] | None = None, explain: bool = False) -> dict[str, Status]:
        """Read the state of the named NIMs, with reasons."""


class Target:
    """One target with its NIMs. It is opened once, and what it keeps is only used by one thread at a time."""

    def __init__(
        self, name: str, connect: t.Callable[[], Watched], nims: t.Sequence[Nim], in_place: bool = False
    ) -> None:
        """Open nothing yet. ``in_place``: it can only be asked by the thread that waits; then the others wait, too."""
        self.name = name
        self.nims = tuple(nims)
        self.in_place = in_place
        self.due = 0.0
        self.explain_due: float | None = None
        self.error: str | None = None
        self.running: Future[Reading] | None = None
        self._connect = connect
        self._provider: Watched | None = None

    @property
    def open(self) -> list[Nim]:
        """Return the NIMs that are still waited for."""
        return [nim for nim in self.nims if nim.is_open]

    def read(self, names: t.Sequence[str], unclear: t.Sequence[str]) -> Reading:
        """Look once: at all names with few calls, and in detail at those that are unclear or have just failed."""
        try:
            if self._provider is None:
                self._provider = self._connect()
            statuses = self._provider.progress(names)
        except MissingLibraryError as exc:
            text = f"the Python library {exc.package} is not installed on the controller"
            return Reading(error=text, for_good=True)
        except ValueError as exc:
            return Reading(error=str(exc), for_good=True)
        except ProviderError as exc:
            return Reading(error=str(exc))
        return self._in_detail(statuses, unclear)

    def _in_detail(self, statuses: dict[str, Status], unclear: t.Sequence[str]) -> Reading:
        failed = [name for name, status in statuses.items() if status.state == "failed"]
        open_still = [name for name in unclear if not is_final(statuses.get(name))]
        asked = [*failed, *open_still]
        if not asked or self._provider is None:
            return Reading(statuses)
        try:
            return Reading({**statuses, **self._provider.statuses(asked, explain=True)}, tuple(asked))
        except (ProviderError, ValueError) as exc:
            # Why it failed could not be asked, so that it failed is not believed yet, either.
            kept = {name: status for name, status in statuses.items() if name not in failed}
            return Reading(kept, error=str(exc))


class Waiter:
    """Asks targets until every NIM is ready or has failed for good, or the time is over.

    ``timeout``, ``interval`` and ``heartbeat`` are seconds: how long, how often each target is asked, and how often a
    line is said although nothing has changed. ``say`` is called from the thread that calls :meth:`run` only.
    """

    def __init__(
        self,
        targets: t.Sequence[Target],
        *,
        timeout: float,
        interval: float,
        heartbeat: float,
        say: t.Callable[[str], None],
        clock: t.Callable[[], float] = time.monotonic,
        sleep: t.Callable[[float], None] = time.sleep,
    ) -> None:
        self.targets = tuple(targets)
        self.elapsed = 0.0
        self._timeout = timeout
        self._interval = interval
        self._heartbeat = heartbeat
        self._say_line = say
        self._clock = clock
        self._sleep = sleep
        self._start = clock()

    @property
    def nims(self) -> list[Nim]:
        """Return all NIMs that are waited for."""
        return [nim for target in self.targets for nim in target.nims]

    def run(self) -> None:
        """Wait. What came of it stands in the targets' NIMs and in ``elapsed``, in seconds."""
        self._start = self._clock()
        next_beat = self._heartbeat
        pool = ThreadPoolExecutor(max_workers=WORKERS)
        try:
            while any(target.open for target in self.targets):
                self._ask_those_due(pool)
                self._take_answers()
                if not any(target.open for target in self.targets) or self._now() >= self._timeout:
                    break
                if self._now() >= next_beat:
                    self._say(self._summary())
                    next_beat = self._now() + self._heartbeat
                self._rest(next_beat)
        finally:
            # An answer that is still awaited after the end of the time changes nothing any more.
            pool.shutdown(wait=False, cancel_futures=True)
        self.elapsed = self._now()
        self._say_what_is_left()

    def _now(self) -> float:
        return self._clock() - self._start

    def _say(self, text: str) -> None:
        self._say_line(f"{elapsed_text(self._now())}  {text}")

    def _ask_those_due(self, pool: ThreadPoolExecutor) -> None:
        now = self._now()
        for target in self.targets:
            if target.running is None and target.open and target.due <= now:
                target.due = now + self._interval
                names = [nim.deployment for nim in target.open]
                target.running = _submit(pool, target, names, self._unclear(target, now))

    def _unclear(self, target: Target, now: float) -> list[str]:
        """Choose NIMs to ask about in detail: those that do not even load, the one longest ago first."""
        if target.explain_due is None:
            # At first it is quite usual that nothing is there yet.
            target.explain_due = now + EXPLAIN_LOOKS * self._interval
        if target.explain_due > now:
            return []
        target.explain_due = now + EXPLAIN_LOOKS * self._interval
        waiting = [nim for nim in target.open if nim.phase is None or nim.phase.words != LOADING]
        chosen = sorted(waiting, key=lambda nim: nim.explained)[:EXPLAIN_AT_ONCE]
        for nim in chosen:
            nim.explained = now
        return [nim.deployment for nim in chosen]

    def _take_answers(self) -> None:
        asked = [target.running for target in self.targets if target.running is not None]
        if asked:
            wait_for(asked, timeout=_SLOW_SECONDS)
        for target in self.targets:
            if target.running is not None and target.running.done():
                reading, target.running = target.running.result(), None
                self._take(target, reading)

    def _take(self, target: Target, reading: Reading) -> None:
        if reading.for_good:
            for nim in target.open:
                nim.error = f"cannot be waited for: {reading.error}"
                self._say(f"{nim.label} on {target.name}: {FAILED}: {reading.error}")
            return
        if reading.error is not None and target.error is None:
            self._say(f"{target.name} cannot be read now and is tried again: {_lines.one_line(reading.error)}")
        elif reading.error is None and target.error is not None:
            self._say(f"{target.name} can be read again")
        target.error = reading.error
        for nim in target.open:
            if reading.error is None or nim.deployment in reading.statuses:
                self._learn(nim, reading.statuses.get(nim.deployment), nim.deployment in reading.asked)

    def _learn(self, nim: Nim, status: Status | None, is_detailed: bool) -> None:
        found = phase(status)
        if is_detailed:
            nim.is_explained = True
        elif _says_nothing_new(nim, status, found):
            return
        else:
            nim.is_explained = False
        nim.status = status
        if nim.phase is None or nim.phase.mark != found.mark:
            self._say(f"{nim.label} on {nim.target}: {found}")
        nim.phase = found

    def _summary(self) -> str:
        """Return one short line: how many are ready, and which NIMs wait for what.

        A wait for one target names it, because several such waits may write to the same terminal.
        """
        everything = self.nims
        failed = sum(1 for nim in everything if nim.error is not None or _state(nim) == "failed")
        ready = sum(1 for nim in everything if _state(nim) == "running")
        single = len(self.targets) == 1
        waiting: dict[str, list[str]] = {}
        for nim in everything:
            if nim.is_open:
                words = nim.phase.words if nim.phase else "not read yet"
                waiting.setdefault(words, []).append(nim.label if single else f"{nim.label} on {nim.target}")
        counts = [f"{ready} of {len(everything)} ready", *([f"{failed} failed"] if failed else [])]
        phases = [f"{words}: {_some(names)}" for words, names in sorted(waiting.items())]
        told = "; ".join([", ".join(counts), *phases])
        return f"{self.targets[0].name}: {told}" if single else told

    def _rest(self, next_beat: float) -> None:
        """Sleep until something is to be done; not at all while an answer is awaited, for that wait is a rest."""
        if any(target.running is not None for target in self.targets):
            return
        moments = [target.due for target in self.targets if target.open]
        self._sleep(max(0.0, min([*moments, next_beat, self._timeout]) - self._now()))

    def _say_what_is_left(self) -> None:
        for target in self.targets:
            for nim in target.open:
                self._say(f"{nim.label} on {target.name}: {self._too_late(target, nim)}")

    def _too_late(self, target: Target, nim: Nim) -> str:
        """Say how far a NIM was when the time was over."""
        if nim.phase is not None:
            last = f"last: {nim.phase}"
        else:
            last = "nothing is known about it" if target.error is None else "nothing could be read"
        unread = f"; {target.name} cannot be read: {_lines.one_line(target.error)}" if target.error is not None else ""
        return f"not ready after {self._timeout:g} s; {last}{unread}"

    def problems(self) -> dict[str, list[str]]:
        """Return one line for each NIM that is not ready, by target."""
        found: dict[str, list[str]] = {}
        for target in self.targets:
            for nim in target.nims:
                text = self._too_late(target, nim) if nim.is_open else nim.error or not_ready(nim.status, self._timeout)
                if text is not None:
                    found.setdefault(target.name, []).append(f"{nim.label}: {_lines.one_line(text)}")
        return found


def _submit(
    pool: ThreadPoolExecutor, target: Target, names: t.Sequence[str], unclear: t.Sequence[str]
) -> Future[Reading]:
    if not target.in_place:
        return pool.submit(target.read, names, unclear)
    done: Future[Reading] = Future()
    done.set_result(target.read(names, unclear))
    return done


def _says_nothing_new(nim: Nim, status: Status | None, found: Phase) -> bool:
    """Say whether a look without details tells less than is known of the same phase."""
    if nim.phase is None or status is None or status.state != "starting" or _state(nim) != "starting":
        return False
    return found == Phase(STARTING) or (nim.is_explained and found.words == nim.phase.words)


def _state(nim: Nim) -> str | None:
    return nim.status.state if nim.status is not None else None


def _some(names: t.Sequence[str]) -> str:
    """List names, of many only the first ones."""
    rest = len(names) - NAMES_AT_ONCE
    return ", ".join(names) if rest <= 0 else f"{', '.join(names[:NAMES_AT_ONCE])} and {rest} more"


def nims_of(expected: t.Mapping[str, t.Sequence[t.Mapping[str, t.Any]]]) -> dict[str, list[Nim]]:
    """Read the option ``expected``. Raises ValueError with one line per mistake."""
    problems: list[str] = []
    found: dict[str, list[Nim]] = {}
    for target, entries in expected.items():
        if not isinstance(entries, (list, tuple)):
            problems.append(f"expected[{target}] is {type(entries).__name__}; it must be a list of deployments")
            continue
        for index, entry in enumerate(entries):
            names = [entry.get(key) if isinstance(entry, t.Mapping) else None for key in ("node", "name")]
            if not all(isinstance(name, str) and name for name in names):
                problems.append(f"expected[{target}][{index}] must have node and name, both texts")
                continue
            node, deployment = str(names[0]), str(names[1])
            # A node can be there on more than one GPU tier; then only the deployment's name tells them apart.
            same = [other for other in entries if isinstance(other, t.Mapping) and other.get("node") == node]
            label = node if len(same) == 1 else f"{node} ({deployment})"
            found.setdefault(target, []).append(Nim(str(target), node, deployment, label))
    if problems:
        raise ValueError("\n".join(problems))
    return found
