# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What a cloud must answer about its Kubernetes cluster, so that everything inside the cluster is written once.

A :class:`ClusterCloud` knows the cluster, its GPU pools and how to log in. It knows no Kubernetes object.
"""

from __future__ import annotations

import abc
import dataclasses
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Wanted
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import Key, Kind, Resource, Step

GPU_POOL = "gpu_pool"
"""The kind of a pool of GPU machines. Every cloud uses this name."""

POOL_LABEL = "budgetguard.io/gpu-pool"
TIER_LABEL = "budgetguard.io/gpu-tier"
"""Labels of the machines of a GPU pool. A NIM's pod asks for its pool by the first."""

NAMESPACE_LABEL = "budgetguard.io/namespace"
"""The namespace whose NIMs a GPU pool is for. The Kubernetes layer sets it in a pool's field ``labels``."""

GPU_TAINT = ("nvidia.com/gpu", "present", "NoSchedule")
"""Key, value and effect of the taint that keeps other pods off the GPU machines. GKE sets the same one by itself."""


@dataclasses.dataclass(frozen=True)
class ClusterAccess:
    """How to reach the Kubernetes API of a cluster.

    ``host`` is a URL. ``ca_pem`` is None where the public certificate authorities count. ``token`` returns a bearer
    token that is valid now; it is called before each request and keeps what it got for as long as that lasts.
    """

    host: str
    ca_pem: str | None
    token: t.Callable[[], str]


@dataclasses.dataclass(frozen=True)
class ClusterView:
    """The cluster and its GPU pools at one moment.

    ``resources`` holds one of the cluster kinds each and a ``gpu_pool`` for each pool that the cloud lists, ours
    (``managed``) or not. ``closed`` says in a sentence why the Kubernetes API cannot be asked although the cluster
    exists, for example because it is still being created; ``asleep`` is true where that is so because the whole cluster
    was switched off. ``version`` is the version of Kubernetes.
    """

    resources: t.Mapping[Key, Resource]
    exists: bool
    location: str | None = None
    version: str | None = None
    closed: str | None = None
    asleep: bool = False
    warnings: tuple[str, ...] = ()


class ClusterCloud(abc.ABC):
    """One cluster of one cloud. Every method that makes calls raises ProviderError with what was being done."""

    cluster_kinds: tuple[Kind, ...] = ()
    """Kinds that exist before anything in the cluster can, in order of creation; ``gpu_pool`` is the last."""

    closing_kinds: tuple[Kind, ...] = ()
    """Kinds that are worked on after everything in the cluster, such as switching the whole cluster off."""

    device_plugin: bool = False
    """Whether the cloud leaves NVIDIA's device plugin to us, so that pods can ask for GPUs."""

    device_plugin_image: str = ""
    """The image of the device plugin, where it is left to us."""

    gateway_node_selector: t.Mapping[str, str] = {}
    """Labels of the machines without a GPU on which the gateway runs."""

    advice: t.Mapping[int, str] = {}
    """What to add to an error of the Kubernetes API by its HTTP status, such as which role a refused deployer lacks."""

    @abc.abstractmethod
    def settle(self) -> None:
        """Wait until what an earlier run started on the cluster has ended. Makes no call where nothing is known."""

    @abc.abstractmethod
    def read(self) -> ClusterView:
        """Read the cluster and all its pools, in one call where the cluster exists."""

    @abc.abstractmethod
    def access(self) -> ClusterAccess:
        """Return how to reach the Kubernetes API of the cluster that exists. Costs at most one call, then none."""

    @abc.abstractmethod
    def cluster_resources(self, wanted: t.Sequence[Wanted], seen: t.Mapping[Key, Resource]) -> list[Resource]:
        """Translate the cluster into objects, without pools. Pure. Raises ValueError for options that cannot be."""

    @abc.abstractmethod
    def pool_name(self, item: Wanted) -> str:
        """Return the name of the GPU pool on whose machines a NIM runs. Pure. Raises ValueError if there cannot be."""

    @abc.abstractmethod
    def pool_spec(self, item: Wanted, max_nodes: int) -> dict[str, t.Any]:
        """Return what is compared of the pool of a NIM. Pure.

        The field ``max_nodes`` is its upper limit; the lower one is 0. The field ``labels`` are those of its machines.
        """

    def idle_resources(self, seen: t.Mapping[Key, Resource]) -> list[Resource]:
        """Return objects of ``closing_kinds`` for a call that leaves no NIM running. Pure."""
        return []

    @abc.abstractmethod
    def preflight(self, wanted: t.Sequence[Wanted], steps: t.Sequence[Step], seen: t.Mapping[Key, Resource]) -> None:
        """Raise ProviderError for anything that would make the steps fail, such as a used-up quota.

        Makes no call where the steps neither create anything nor start a NIM.
        """

    @abc.abstractmethod
    def apply(self, step: Step) -> None:
        """Carry out a step on one of ``cluster_kinds`` or ``closing_kinds`` and wait until the cloud has done it."""

    @abc.abstractmethod
    def load_balancer_annotations(self, scheme: str) -> dict[str, str]:
        """Return the annotations that make a Service of type LoadBalancer ``internal`` or ``public``. Pure."""

    def extra_tolerations(self, item: Wanted) -> list[dict[str, str]]:
        """Return tolerations that a NIM's pod needs besides the one for :data:`GPU_TAINT`. Pure."""
        return []
