# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The NIMs that this workstation can start and stop: which there are, how they are, and what they cost today. Pure.

Where each is started, the endpoints of the config say in C(control), which is published and not secret.
"""

from __future__ import annotations

import datetime
import typing as t
from dataclasses import dataclass

from .endpoints import Endpoint

ECS, KUBERNETES = "ecs", "kubernetes"
STOPPED, STARTING, RUNNING, STOPPING, UNKNOWN = "stopped", "starting", "running", "stopping", "unknown"
START_MINUTES = 30
HOSTED = "nvidia-hosted"
NEEDED = {ECS: ("region", "cluster"), KUBERNETES: ("server", "namespace")}
"""What of C(control) has to be there to make a call, besides the name."""


@dataclass(frozen=True)
class Instance:
    """One NIM in one place. Several nodes may be served by it."""

    provider: str
    target: str
    name: str
    control: t.Mapping[str, t.Any]
    endpoint: Endpoint
    nodes: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from all others."""
        return (self.provider, self.target, self.name)

    @property
    def start_minutes(self) -> int:
        """How long to plan with for a start."""
        minutes = self.control.get("start_minutes")
        usable = isinstance(minutes, int) and not isinstance(minutes, bool) and 0 < minutes < 1000
        return t.cast(int, minutes) if usable else START_MINUTES

    def place(self) -> str:
        """Name it for the artist."""
        return f"{' + '.join(self.nodes)} on {self.endpoint.place()}"


@dataclass(frozen=True)
class State:
    """How an instance is. C(since) is when it became so, as far as the cloud says."""

    name: str
    since: datetime.datetime | None = None
    problem: str | None = None


def instances_of(endpoints: t.Iterable[Endpoint]) -> list[Instance]:
    """Return what can be started and stopped, by provider, target and name."""
    found: dict[tuple[str, str, str], list[Endpoint]] = {}
    for one in endpoints:
        control = one.control or {}
        needed = NEEDED.get(str(control.get("kind")))
        if needed and all(isinstance(control.get(name), str) and control[name] for name in (*needed, "name")):
            found.setdefault((one.provider, one.target, control["name"]), []).append(one)
    return [
        Instance(*key, ones[0].control or {}, ones[0], tuple(sorted({one.node for one in ones})))
        for key, ones in sorted(found.items())
    ]


def of_ecs(service: t.Mapping[str, t.Any]) -> State:
    """Return the state of a service as C(DescribeServices) tells it. Times are seconds since 1970."""
    wanted, there = int(service.get("desiredCount") or 0), int(service.get("runningCount") or 0)
    if not wanted:
        return State(STOPPING if there else STOPPED)
    newest: t.Mapping[str, t.Any] = next(iter(service.get("deployments") or ()), {})
    if newest.get("rolloutState") == "FAILED":
        return State(STARTING, _of_epoch(newest.get("updatedAt")), "AWS gave up starting it")
    if there < wanted:
        return State(STARTING, _of_epoch(newest.get("updatedAt")))
    begun = [event["createdAt"] for event in service.get("events") or () if "has started" in event.get("message", "")]
    return State(RUNNING, _of_epoch(max(begun)) if begun else None)


def of_deployment(live: t.Mapping[str, t.Any]) -> State:
    """Return the state of a Deployment."""
    status = live.get("status") or {}
    wanted, there = int(live["spec"].get("replicas", 1)), int(status.get("replicas") or 0)
    if not wanted:
        return State(STOPPING if there else STOPPED)
    available, progress = _condition(status, "Available"), _condition(status, "Progressing")
    current = status.get("observedGeneration", 0) >= live["metadata"].get("generation", 0)
    if current and int(status.get("readyReplicas") or 0) >= wanted:
        return State(RUNNING, _of_text(available.get("lastTransitionTime")))
    problem = "Kubernetes gave up starting it" if progress.get("reason") == "ProgressDeadlineExceeded" else None
    since = available.get("lastTransitionTime") if available.get("status") == "False" else None
    return State(STARTING, _of_text(since), problem)


def _condition(status: t.Mapping[str, t.Any], kind: str) -> t.Mapping[str, t.Any]:
    return next((one for one in status.get("conditions") or () if one.get("type") == kind), {})


def _of_epoch(value: object) -> datetime.datetime | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return datetime.datetime.fromtimestamp(value, datetime.timezone.utc)


def _of_text(value: object) -> datetime.datetime | None:
    try:
        then = datetime.datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        return None
    return then if then.tzinfo else None


# -- what it costs -----------------------------------------------------------------------------------------------------


def midnight(now: datetime.datetime) -> datetime.datetime:
    """Return when today began, where the workstation is."""
    return now.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)


def hours_today(since: datetime.datetime | None, now: datetime.datetime) -> float:
    """Return for how many hours of today something has been on; nothing where it is not known since when."""
    if since is None:
        return 0.0
    return max(0.0, (now - max(since, midnight(now))).total_seconds() / 3600)


def spent(
    states: t.Iterable[tuple[Instance, State]],
    rows: t.Iterable[t.Mapping[str, t.Any]],
    endpoints: t.Iterable[Endpoint],
    now: datetime.datetime,
) -> tuple[float, list[str]]:
    """Return an estimate in US dollars of what was spent today, and what is not in it.

    What is on costs its hours, what this workstation stopped is in the rows of its usage file, and a request to what
    NVIDIA hosts costs its price per image. Requests to a NIM that runs by the hour cost nothing on top.
    """
    usd, missing = 0.0, set()
    for instance, state in states:
        if state.name not in (STARTING, RUNNING):
            continue
        if instance.endpoint.hourly_usd is None or state.since is None:
            missing.add(instance.place())
        else:
            usd += hours_today(state.since, now) * instance.endpoint.hourly_usd
    hosted = {(one.node, one.target): one.usd_per_image for one in endpoints if one.provider == HOSTED}
    for row in rows:
        if row.get("kind") == "stop":
            usd += _number(row.get("usd"))
        elif row.get("provider") == HOSTED:
            price = hosted.get((str(row.get("node")), str(row.get("target"))))
            if price is None:
                missing.add(f"{row.get('node')} at NVIDIA")
            elif row.get("ok") is True:
                usd += price
    return usd, sorted(missing)


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0 else 0.0
