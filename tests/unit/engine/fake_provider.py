# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A provider in memory, with two kinds of its own, whose calls can be made to fail."""

from __future__ import annotations

import dataclasses
import threading
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Selection, Status, Wanted
from ansible_collections.budgetguard.techops.plugins.module_utils._gpu import Machine
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import Key, Kind, Resource, Step
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import (
    AsleepError,
    ConflictError,
    Provider,
    ProviderError,
    Snapshot,
)

MACHINE = Machine(
    provider="aws", name="g6e.2xlarge", tier="l40s", gpus=1, vcpus=8, memory_gib=64, local_disk_gib=450, source="test"
)


def nim(name: str, start: bool = False, replicas: int = 1, image: str = "repo/model:1") -> Wanted:
    return Wanted(
        name=name,
        node=name.removeprefix("nim-"),
        gpu_tier="l40s",
        image=image,
        kind="image",
        machine=MACHINE,
        gpus=1,
        replicas=replicas,
        start=start,
        serves={name: ""},
        env={},
        infer_path="/v1/infer",
        disk_gib=100,
        shm_gib=8,
        needs_hf_token=False,
    )


class FakeProvider(Provider):
    """Keeps objects in a dictionary. ``failures`` maps a described step to the errors it raises, one per try."""

    kinds = (
        Kind("cluster"),
        Kind("pool"),
        Kind("machine", per_nim=True),
        Kind("membership", per_nim=True, batch=True),
        Kind("service", per_nim=True),
        Kind("power"),
    )

    def __init__(self) -> None:
        self.objects: dict[Key, Resource] = {}
        self.failures: dict[str, list[Exception]] = {}
        self.applied: list[str] = []
        self.observed = 0
        self.preflight_error: str | None = None
        self.states: dict[str, list[tuple[str, str | None]]] = {}
        self.polls: list[list[str]] = []
        self.lost: list[str] = []
        self.naps: list[float] = []
        self.lock = threading.Lock()
        self.settled = 0
        self.rehearsed: list[str] = []
        self.asleep = False
        self.switches_off = False
        self.pools: dict[str, str] = {}

    def settle(self) -> None:
        self.settled += 1

    def rehearse(self, step: Step) -> None:
        with self.lock:
            self.rehearsed.append(step.describe())
            errors = self.failures.get(f"rehearse {step.kind} {step.name}", [])
            if errors:
                raise errors.pop(0)

    def idle_resources(self, seen: Snapshot) -> list[Resource]:
        return [Resource("power", "c", {"on": False})] if self.switches_off else []

    def observe(self, names: t.Sequence[str]) -> Snapshot:
        self.observed += 1
        services = {key[1]: item for key, item in self.objects.items() if key[0] == "service"}
        return Snapshot(self._with_users(), {name: self._status(name, item) for name, item in services.items()})

    def _with_users(self) -> dict[Key, Resource]:
        names = [key[1] for key in self.objects if key[0] == "service"]
        return {
            key: dataclasses.replace(item, users=frozenset(n for n in names if self.pools.get(n) == key[1]))
            if key[0] == "pool"
            else item
            for key, item in self.objects.items()
        }

    def _status(self, name: str, item: Resource) -> Status:
        replicas = item.spec["replicas"]
        state = "running" if replicas else "stopped"
        return Status(name, name.removeprefix("nim-"), "l40s", replicas=replicas, running=replicas, state=state)

    def resources(self, wanted: t.Sequence[Wanted], seen: Snapshot) -> list[Resource]:
        found = [Resource("cluster", "c", {"status": "ACTIVE"})]
        for pool in sorted({self.pools[item.name] for item in wanted if item.name in self.pools}):
            users = frozenset(item.name for item in wanted if self.pools.get(item.name) == pool)
            found.append(Resource("pool", pool, {"size": "m"}, users=users))
        for item in wanted:
            before = seen.statuses.get(item.name)
            replicas = item.replicas if item.start else before.replicas if before else 0
            found += [
                Resource("machine", f"m-{item.name}", {"size": item.machine_name}, item.name),
                Resource("membership", f"m-{item.name}", {"member": True}, item.name),
                Resource("service", item.name, {"image": item.image, "replicas": replicas}, item.name),
            ]
        return found

    def stop_resource(self, status: Status) -> Resource:
        return Resource("service", status.name, {"replicas": 0}, status.name)

    def preflight(self, wanted: t.Sequence[Wanted], steps: t.Sequence[Step], seen: Snapshot) -> None:
        if self.preflight_error:
            raise ProviderError(self.preflight_error)

    def apply(self, step: Step) -> None:
        with self.lock:
            name = f"{step.action} {step.kind} {step.name}"
            errors = self.failures.get(name, [])
            if errors:
                error = errors.pop(0)
                if isinstance(error, ConflictError) and step.want:
                    self.objects[step.want.key] = step.want  # the other run has made it meanwhile
                raise error
            self.applied.append(name)
            if step.action == "delete":
                del self.objects[(step.kind, step.name)]
            else:
                self.asleep = step.kind == "power"
                assert step.want is not None
                old = self.objects.get(step.want.key)
                spec = {**(old.spec if old else {}), **step.want.spec}
                self.objects[step.want.key] = Resource(step.kind, step.name, spec, step.deployment)

    def apply_batch(self, steps: t.Sequence[Step]) -> None:
        for step in steps:
            self.apply(step)

    def verify_batch(self, steps: t.Sequence[Step]) -> None:
        lost, self.lost = self.lost, []
        for name in lost:
            del self.objects[("membership", name)]
        if lost:
            raise ConflictError(f"another run took {lost} out")

    def statuses(self, names: t.Sequence[str] | None = None, explain: bool = False) -> dict[str, Status]:
        self.polls.append(list(names or []))
        if self.asleep:
            raise AsleepError("the cluster is switched off")
        found = self.observe([]).statuses
        answer = {}
        for name in names if names is not None else found:
            if name not in found:
                continue
            status = found[name]
            script = self.states.get(name)
            if script:
                state, reason = script.pop(0) if len(script) > 1 else script[0]
                status = Status(name, status.node, "l40s", replicas=status.replicas, state=state, reason=reason)
            answer[name] = status
        return answer


def absent(node: str, tier: str | None = None) -> Selection:
    return Selection(node, tier, "absent")


def stopped(node: str, tier: str | None = None) -> Selection:
    return Selection(node, tier, "stopped")
