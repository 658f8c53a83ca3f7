# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machines of a cluster: those its pools always have, and those the autoscaler adds and removes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.sandbox.kube.addresses import Addresses
from tests.sandbox.kube.pools import NodePool
from tests.sandbox.kube.scheduling import GPU, MIB, Amounts, allocatable
from tests.sandbox.kube.store import ObjectStore
from tests.sandbox.state import DEFAULTS


@dataclass(eq=False)
class Machine:
    """One machine, from the moment it is asked for."""

    name: str
    pool: NodePool
    joins_at: float
    #: Since when it has nothing to do; None while it has.
    idle_since: float | None = None
    taken: Amounts = field(default_factory=Amounts)
    #: Whether a device plugin runs here that a DaemonSet brought.
    has_plugin: bool = False

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels of the pool, and those every machine has."""
        return {
            "kubernetes.io/arch": "amd64",
            "kubernetes.io/hostname": self.name,
            "kubernetes.io/os": "linux",
            **self.pool.labels,
        }

    @property
    def offers(self) -> Amounts:
        """What pods can have of it. GPUs are offered when their driver and a device plugin are there."""
        return allocatable(self.pool, gpus=self.pool.driver and (self.pool.device_plugin or self.has_plugin))

    @property
    def free(self) -> Amounts:
        """What is left of that."""
        return self.offers - self.taken


class Machines:
    """All machines of one cluster."""

    def __init__(self, store: ObjectStore, addresses: Addresses) -> None:
        self._store = store
        self._addresses = addresses
        self._all: list[Machine] = []
        self._count = 0

    def joined(self, now: float) -> list[Machine]:
        """Return those that can run pods."""
        return [machine for machine in self._all if machine.joins_at <= now]

    def has(self, machine: Machine | None) -> bool:
        """Whether a machine is still there."""
        return machine in self._all

    def of_pool(self, name: str) -> list[Machine]:
        """Return those of a pool, also those that are only asked for."""
        return [machine for machine in self._all if machine.pool.name == name]

    def add(self, pool: NodePool, joins_at: float) -> Machine:
        """Ask for one more machine."""
        self._count += 1
        machine = Machine(f"{pool.name}-{self._count:06x}", pool, joins_at)
        self._all.append(machine)
        return machine

    def clear(self) -> None:
        """Switch all machines off."""
        for machine in list(self._all):
            self._remove(machine)

    def sync(self, pools: Sequence[NodePool], now: float) -> None:
        """Follow what the cloud says about its pools, and write the machines as objects."""
        known = {pool.name: pool for pool in pools}
        for machine in list(self._all):
            if machine.pool.name in known:
                machine.pool = known[machine.pool.name]
            else:
                self._remove(machine)
        for pool in pools:
            while len(self.of_pool(pool.name)) < pool.minimum:
                self.add(pool, now)
        for machine in self.joined(now):
            self._write(machine)

    def scale_in(self, busy: set[str], now: float) -> None:
        """Remove machines that have had nothing to do for long enough, down to the lower limit of their pool."""
        for machine in self.joined(now):
            pool = machine.pool
            if machine.name in busy:
                machine.idle_since = None
                continue
            if machine.idle_since is None:
                machine.idle_since = now
            is_due = now - machine.idle_since >= DEFAULTS.scale_in_seconds
            if pool.autoscaling and is_due and len(self.of_pool(pool.name)) > pool.minimum:
                self._remove(machine)

    def _remove(self, machine: Machine) -> None:
        self._all.remove(machine)
        node = self._store.get("Node", None, machine.name)
        if node is not None:
            self._store.remove(node)

    def _write(self, machine: Machine) -> None:
        node = self._store.get("Node", None, machine.name)
        if node is None:
            taints = [{"key": key, "value": value, "effect": effect} for key, value, effect in machine.pool.taints]
            node = self._store.make(
                "Node",
                machine.name,
                metadata={"labels": dict(machine.labels)},
                spec={"taints": taints} if taints else {},
                status={"addresses": [{"type": "InternalIP", "address": self._addresses.node_ip()}]},
            )
        self._store.set_status(node, {**node["status"], **_node_status(machine)})


def _node_status(machine: Machine) -> dict[str, Any]:
    offers = machine.offers
    amounts = {"cpu": f"{offers.cpu}m", "memory": f"{offers.memory // MIB}Mi", "pods": "110"}
    if machine.pool.gpus:
        amounts[GPU] = str(offers.gpus)
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
    return {"allocatable": amounts, "capacity": amounts, "conditions": [ready]}
