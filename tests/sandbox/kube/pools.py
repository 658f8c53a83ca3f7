# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster is told by its cloud."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.sandbox.kube.access import User


@dataclass(frozen=True)
class NodePool:
    """A group of equal machines, as the cloud describes it."""

    name: str
    labels: Mapping[str, str]
    #: Key, value and effect of each taint.
    taints: tuple[tuple[str, str, str], ...]
    #: Of one machine.
    vcpus: int
    memory_gib: int
    gpus: int
    #: Number of machines. Without autoscaling there are always `minimum` of them.
    minimum: int
    maximum: int
    autoscaling: bool
    #: Whether the platform installs the GPU driver. Without it a machine offers no GPU.
    driver: bool
    #: Whether NVIDIA's device plugin comes with the platform. Without it a DaemonSet has to bring it.
    device_plugin: bool


@dataclass(frozen=True)
class ClusterSettings:
    """What a cluster was created with."""

    cluster_id: str
    #: Such as ``1.36``.
    version: str
    pools: Callable[[], Sequence[NodePool]]
    #: Is this bearer token good here? None is a request without one.
    authorize: Callable[[str | None], bool]
    #: The annotation that makes a load balancer internal.
    internal_annotation: tuple[str, str]
    #: Whether something in the cluster enforces NetworkPolicies.
    network_policy: bool
    #: Whose rights are those of the cluster's Roles? None is somebody who may do everything, such as a deployer.
    identify: Callable[[str], User | None] = lambda _token: None
