# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses and ports that a cluster gives out."""

from __future__ import annotations

from typing import Any

#: Ports of the machines for Services of type LoadBalancer and NodePort.
FIRST_NODE_PORT = 30000
#: What only Services that are reached from outside have.
OUTSIDE_ONLY = ("allocateLoadBalancerNodePorts", "externalTrafficPolicy", "healthCheckNodePort")


class Addresses:
    """Counts up within the ranges of one cluster; nothing is given out twice."""

    def __init__(self, cluster_number: int) -> None:
        self._cluster = cluster_number % 200
        self._next: dict[str, int] = {}

    def _number(self, name: str, first: int = 1) -> int:
        self._next[name] = self._next.get(name, first - 1) + 1
        return self._next[name]

    def _ip(self, prefix: str, name: str, first: int = 1) -> str:
        number = self._number(name, first)
        return f"{prefix}.{number // 250}.{number % 250 + 1}"

    def pod_ip(self) -> str:
        """Return an address for a pod."""
        return self._ip("10.244", "pod")

    def node_ip(self) -> str:
        """Return an address for a machine."""
        return self._ip(f"10.{self._cluster}", "node")

    def balancer_ip(self, *, internal: bool) -> str:
        """Return an address for a load balancer: one that only the network knows, or a public one."""
        if internal:
            return self._ip(f"10.{self._cluster}", "node", 500)
        return self._ip(f"20.{self._cluster}", "balancer")

    def allocate(self, old: dict[str, Any] | None, new: dict[str, Any]) -> None:
        """Give a Service its cluster address and its ports, or keep those it has."""
        if new["kind"] != "Service" or new["spec"]["type"] == "ExternalName":
            return
        spec = new["spec"]
        before = old["spec"] if old is not None else {}
        if not spec.get("clusterIP"):
            spec["clusterIP"] = before.get("clusterIP") or self._ip("10.96", "service", 20)
        spec["clusterIPs"] = [spec["clusterIP"]]
        if spec["type"] in ("LoadBalancer", "NodePort"):
            self._allocate_node_ports(before, spec)
            return
        for name in OUTSIDE_ONLY:
            # Left over from another type; what is sent with a type it does not fit is refused by the checks.
            if name in before:
                spec.pop(name, None)
        if before.get("type") in ("LoadBalancer", "NodePort"):
            for port in spec.get("ports", []):
                port.pop("nodePort", None)

    def _allocate_node_ports(self, before: dict[str, Any], spec: dict[str, Any]) -> None:
        known = {(port["port"], port.get("protocol")): port.get("nodePort") for port in before.get("ports", [])}
        for port in spec.get("ports", []):
            if not port.get("nodePort"):
                found = known.get((port.get("port"), port.get("protocol")))
                port["nodePort"] = found or self._number("node port", FIRST_NODE_PORT)
        if spec["type"] == "LoadBalancer" and spec["externalTrafficPolicy"] == "Local":
            if not spec.get("healthCheckNodePort"):
                kept = before.get("healthCheckNodePort")
                spec["healthCheckNodePort"] = kept or self._number("node port", FIRST_NODE_PORT)
        else:
            spec.pop("healthCheckNodePort", None)
