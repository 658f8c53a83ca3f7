# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""NIMs on Google Cloud: a GKE cluster with one autoscaled pool of GPU machines per machine type.

What runs in the cluster is the same on every cloud, see kubernetes.py. GKE cannot stop a cluster: where no NIM runs the
GPU pools are empty, and the control plane and the system machines stay.
"""

from __future__ import annotations

import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Wanted
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import Key, Kind, Resource, Step
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ConflictError, ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _gcp_objects as objects
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _gcp_quota as quota
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._cluster import (
    GPU_POOL,
    ClusterAccess,
    ClusterCloud,
    ClusterView,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_session import BusyError, GcpSession
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_settings import GcpSettings
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._kube_objects import KubeSettings
from ansible_collections.budgetguard.techops.plugins.module_utils._providers.kubernetes import KubernetesProvider

_INTERNAL = {
    "networking.gke.io/load-balancer-type": "Internal",
    "networking.gke.io/internal-load-balancer-allow-global-access": "true",
}

Cluster = t.Mapping[str, t.Any]


class Gcp(KubernetesProvider):
    """One GKE cluster with its NIMs."""

    @classmethod
    def connect(cls, options: t.Mapping[str, t.Any]) -> Gcp:
        """Log in with a module's options."""
        settings = GcpSettings.from_options(options)
        return cls(GcpCloud(GcpSession(options), settings), KubeSettings.from_options(options))


class GcpCloud(ClusterCloud):
    """One GKE cluster, which may not exist yet."""

    cluster_kinds = (
        Kind(
            objects.GKE_CLUSTER,
            immutable=frozenset({"location", "network", "subnetwork", "private_nodes"}),
            adoptable=True,
        ),
        Kind(GPU_POOL, immutable=frozenset({"machine", "gpus", "provisioning", "zones"})),
    )

    advice: t.Mapping[int, str] = {
        403: "The account needs the role Kubernetes Engine Admin (roles/container.admin) in the project.",
    }

    def __init__(self, session: GcpSession, settings: GcpSettings) -> None:
        self.session = session
        self.settings = settings
        self._path = objects.cluster_path(session.project, settings)
        self._cluster: Cluster | None = None
        self._settled: tuple[Cluster | None] | None = None

    # ---- look ----------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Wait until the cluster and its pools are neither being made nor deleted.

        The one look that this takes at a quiet cluster is the answer to the :meth:`read` that follows.
        """
        self._settled = (self._wait_until_quiet(),)

    def read(self) -> ClusterView:
        """Read the cluster and all its pools: one call, none right after :meth:`settle`."""
        settled, self._settled = self._settled, None
        self._cluster = settled[0] if settled else self._look()
        return objects.view(self._cluster, self.settings)

    def access(self) -> ClusterAccess:
        """Return how to reach the Kubernetes API, from what was read last. A cluster just made is read once more."""
        if self._cluster is None:
            self._cluster = self._look()
        if self._cluster is None:
            raise ProviderError(f"there is no GKE cluster {self._path}")
        try:
            host, authority = objects.endpoint(self._cluster, self.settings.dns_endpoint)
        except ValueError as exc:
            raise ProviderError(str(exc)) from exc
        return ClusterAccess(host, authority, self.session.token)

    def _look(self) -> Cluster | None:
        return self.session.cluster(self._path)

    def _wait_until_quiet(self) -> Cluster | None:
        doing = f"wait until the cluster {self.settings.cluster} is ready"
        cluster: Cluster | None = None
        for _pause in self.session.pauses(doing):
            cluster = self._look()
            if not objects.in_progress(cluster):
                break
        return cluster

    # ---- translate -----------------------------------------------------------------------------------------------

    def cluster_resources(self, wanted: t.Sequence[Wanted], seen: t.Mapping[Key, Resource]) -> list[Resource]:
        """Return the cluster. Raises ValueError if GPU pools cannot be had in it."""
        found = seen.get((objects.GKE_CLUSTER, self.settings.cluster))
        if found is not None and found.facts.get("autopilot"):
            raise ValueError(
                f"the cluster {self.settings.cluster} is an Autopilot cluster, which has no node pools; give the name "
                "of a Standard cluster, or one that does not exist yet"
            )
        return [Resource(objects.GKE_CLUSTER, self.settings.cluster, objects.cluster_spec(self.settings))]

    def pool_name(self, item: Wanted) -> str:
        """Return the pool of the NIM's machine type, for example ``nim-g2-standard-12``."""
        return objects.pool_name(self.settings, item)

    def pool_spec(self, item: Wanted, max_nodes: int) -> dict[str, t.Any]:
        """Return what is compared of that pool."""
        return objects.pool_spec(self.settings, item, max_nodes)

    def load_balancer_annotations(self, scheme: str) -> dict[str, str]:
        """Return the annotations that GKE knows in every version; a public load balancer needs none.

        With global access, a studio's VPN or interconnect may end in another region than the cluster's. Who may come
        in is up to the source ranges either way.
        """
        return dict(_INTERNAL) if scheme == "internal" else {}

    # ---- before the first change ---------------------------------------------------------------------------------

    def preflight(self, wanted: t.Sequence[Wanted], steps: t.Sequence[Step], seen: t.Mapping[Key, Resource]) -> None:
        """Look whether Compute Engine's quotas suffice: at most two calls, none where nothing new is needed."""
        needs = quota.needs(self.settings, wanted, steps)
        project = self.session.project
        problems: list[str] = []
        if needs.region:
            region = self.settings.region
            problems += quota.problems(needs.region, self.session.quotas(region), f"region {region}", project)
        if needs.project:
            problems += quota.problems(needs.project, self.session.quotas(None), f"project {project}", project)
        if problems:
            raise ProviderError("\n".join(problems))

    # ---- change --------------------------------------------------------------------------------------------------

    def apply(self, step: Step) -> None:
        """Carry out one step and wait for Google.

        Raises ConflictError if another operation is at work on the cluster, after that one has ended.
        """
        actions: dict[tuple[str, str], t.Callable[[Step], None]] = {
            ("create", objects.GKE_CLUSTER): self._create_cluster,
            ("delete", objects.GKE_CLUSTER): self._delete_cluster,
            ("create", GPU_POOL): self._create_pool,
            ("update", GPU_POOL): self._update_pool,
            ("delete", GPU_POOL): self._delete_pool,
        }
        try:
            actions[step.action, step.kind](step)
        except ConflictError as exc:
            self._wait_for_others(exc)
            raise

    def _wait_for_others(self, conflict: ConflictError) -> None:
        if isinstance(conflict, BusyError) and conflict.operation:
            self.session.wait_for(conflict.operation, self.settings.location)
        self._wait_until_quiet()

    def _run(self, doing: str, method: str, request: dict[str, t.Any], missing: bool = False) -> None:
        operation = self.session.call(doing, method, request, missing=missing)
        if operation is not None:
            self.session.wait(doing, operation, self.settings.location)

    def _create_cluster(self, step: Step) -> None:
        project, settings = self.session.project, self.settings
        self._run(
            f"create the GKE cluster {step.name} in {settings.location}",
            "create_cluster",
            {
                "parent": f"projects/{project}/locations/{settings.location}",
                "cluster": objects.cluster_body(project, settings),
            },
        )
        self._cluster = None

    def _delete_cluster(self, step: Step) -> None:
        self._run(f"delete the GKE cluster {step.name}", "delete_cluster", {"name": self._path}, missing=True)
        self._cluster = None

    def _create_pool(self, step: Step) -> None:
        self._add_pool(_wanted(step))

    def _add_pool(self, pool: Resource) -> None:
        body = objects.pool_body(self.settings, pool, self._workload_identity())
        request = {"parent": self._path, "node_pool": body}
        self._run(f"create the GPU pool {pool.name}", "create_node_pool", request)

    def _workload_identity(self) -> bool:
        """Say whether the cluster has workload identity: one that we just made has it."""
        if self._cluster is None:
            return True
        return bool((self._cluster.get("workload_identity_config") or {}).get("workload_pool"))

    def _update_pool(self, step: Step) -> None:
        """Change the limits or the labels of a pool. One that GKE has given up is made again."""
        pool = _wanted(step)
        name = objects.pool_path(self.session.project, self.settings, step.name)
        if step.changes_field("usable"):
            self._delete_pool(step)
            self._add_pool(pool)
            return
        if step.changes_field("max_nodes") or step.changes_field("min_nodes"):
            limits = {"name": name, "autoscaling": objects.autoscaling(pool.spec["max_nodes"])}
            self._run(f"change the size of the GPU pool {step.name}", "set_node_pool_autoscaling", limits)
        if step.changes_field("labels"):
            others = step.have.spec["labels"] if step.have is not None else {}
            labels = {"name": name, "labels": {"labels": {**others, **pool.spec["labels"]}}}
            self._run(f"change the labels of the GPU pool {step.name}", "update_node_pool", labels)

    def _delete_pool(self, step: Step) -> None:
        name = objects.pool_path(self.session.project, self.settings, step.name)
        self._run(f"delete the GPU pool {step.name}", "delete_node_pool", {"name": name}, missing=True)


def _wanted(step: Step) -> Resource:
    if step.want is None:
        raise ValueError(f"{step.describe()} does not say what is wanted")
    return step.want
