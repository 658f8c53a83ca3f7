# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""NIMs on Azure: an AKS cluster with one pool of GPU machines per machine type, empty while no NIM runs on it.

What is in the cluster is the same on every cloud, see ``kubernetes.py``.
"""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Wanted
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import Key, Kind, Resource, Step
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ConflictError, ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _azure_objects as objects
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _azure_quota as quota
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_session import (
    AzureSession,
    ForbiddenError,
    NotFoundError,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_settings import (
    AzureSettings,
    region_name,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._cluster import (
    GPU_POOL,
    ClusterAccess,
    ClusterCloud,
    ClusterView,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._kube_objects import KubeSettings
from ansible_collections.budgetguard.techops.plugins.module_utils._providers.kubernetes import KubernetesProvider

with contextlib.suppress(ImportError):  # AzureSession says what is missing.
    from azure.core import MatchConditions

DEVICE_PLUGIN_IMAGE = "nvcr.io/nvidia/k8s-device-plugin:v0.18.0"
"""The version in Microsoft's own instructions for GPU pools (learn.microsoft.com/azure/aks/use-nvidia-gpu)."""

KUBERNETES_SCOPE = "6dae42f8-4368-4678-94ff-3960e28e3630/.default"
"""Azure's own application for the Kubernetes API of AKS (learn.microsoft.com/azure/aks/kubelogin-authentication)."""

GROUPS_API, USAGES_API = "2021-04-01", "2024-07-01"

_INTERNAL = "service.beta.kubernetes.io/azure-load-balancer-internal"


class Azure(KubernetesProvider):
    """One AKS cluster with its NIMs."""

    @classmethod
    def connect(cls, options: t.Mapping[str, t.Any]) -> Azure:
        """Log in with a module's options."""
        cloud = AzureCloud(AzureSession(options), AzureSettings.from_options(options))
        if options.get("device_plugin_image"):
            cloud.device_plugin_image = options["device_plugin_image"]
        return cls(cloud, KubeSettings.from_options(options))


class AzureCloud(ClusterCloud):
    """One AKS cluster, which may not exist yet."""

    cluster_kinds = (
        Kind(objects.RESOURCE_GROUP, adoptable=True),
        Kind(objects.AKS_CLUSTER, adoptable=True, immutable=frozenset({"location"})),
        Kind(GPU_POOL, immutable=frozenset({"machine"})),
    )
    closing_kinds = (Kind(objects.DEEP_STOP),)

    device_plugin = True
    device_plugin_image = DEVICE_PLUGIN_IMAGE
    gateway_node_selector = objects.SYSTEM_LABEL
    advice: t.Mapping[int, str] = {
        401: "The cluster does not accept the deployer's login; it must use Microsoft Entra ID.",
        403: "The deployer needs the role Azure Kubernetes Service RBAC Cluster Admin on the resource group.",
    }

    def __init__(self, session: AzureSession, settings: AzureSettings) -> None:
        self.session = session
        self.settings = settings
        self._settled: tuple[dict[str, t.Any] | None] | None = None
        self._cluster: dict[str, t.Any] | None = None
        self._access: ClusterAccess | None = None

    @property
    def _place(self) -> tuple[str, str]:
        return (self.settings.resource_group, self.settings.cluster)

    # ---- look ----------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Wait until the cluster and its pools neither come nor go.

        The one look that this takes at a quiet cluster is the answer to the :meth:`read` that follows.
        """
        found: list[dict[str, t.Any] | None] = []

        def is_settled() -> bool:
            found[:] = [self._look()]
            return found[0] is None or not objects.is_unsettled(found[0])

        self.session.wait_until(f"wait for the AKS cluster {self.settings.cluster}", is_settled)
        self._settled = (found[0],)

    def read(self) -> ClusterView:
        """Read the cluster and all its pools: one call, none right after :meth:`settle`."""
        settled, self._settled = self._settled, None
        cluster = settled[0] if settled else self._look()
        # One that is on its way out is nothing to build on. A run that is no check has waited for its end.
        self._cluster = None if objects.is_deleting(cluster) else cluster
        if self._cluster is not None:
            return objects.view_of(self.settings, self._cluster)
        return objects.empty_view(self._read_group() if cluster is None else {})

    def _look(self) -> dict[str, t.Any] | None:
        """Return Azure's answer about the cluster; None where there is none."""
        clusters = self.session.client.managed_clusters
        try:
            return self.session.call(
                f"read the AKS cluster {self.settings.cluster}", lambda: clusters.get(*self._place).as_dict()
            )
        except NotFoundError:
            return None

    def _read_group(self) -> dict[Key, Resource]:
        """Return the resource group if there is one; where it holds things of others it is not ours to delete."""
        group = self._look_at_group()
        if group is None or objects.is_deleting(group):
            return {}
        found = objects.group_resource(self.settings, objects.is_ours(group) and not self._others_in_group())
        return {found.key: found}

    def _look_at_group(self) -> dict[str, t.Any] | None:
        name = self.settings.resource_group
        try:
            return self.session.rest(f"read the resource group {name}", "GET", f"resourceGroups/{name}", GROUPS_API)
        except NotFoundError:
            return None

    def _others_in_group(self) -> list[str]:
        """Name what else is in the resource group."""
        name = self.settings.resource_group
        items = self.session.rest_list(f"list what is in {name}", f"resourceGroups/{name}/resources", GROUPS_API)
        own = f"/managedclusters/{self.settings.cluster}".lower()
        return sorted(str(item["name"]) for item in items if not item["id"].lower().endswith(own))

    def access(self) -> ClusterAccess:
        """Return how to reach the Kubernetes API; one call, and a token when it is first used."""
        if self._access is None:
            doing = f"get the address of the AKS cluster {self.settings.cluster}"
            clusters = self.session.client.managed_clusters
            answer = self.session.call(doing, lambda: clusters.list_cluster_user_credentials(*self._place))
            try:
                content = (answer.kubeconfigs or [])[0].value or b""
                host, authority, token = objects.read_kubeconfig(bytes(content))
            except (IndexError, objects.KubeconfigError) as exc:
                reason = exc if isinstance(exc, objects.KubeconfigError) else "there is none"
                raise ProviderError(f"cannot {doing}: Azure's kubeconfig cannot be used: {reason}") from exc
            self._access = ClusterAccess(host, authority, (lambda: token) if token else self._token)
        return self._access

    def _token(self) -> str:
        return self.session.token(KUBERNETES_SCOPE, f"log in to the AKS cluster {self.settings.cluster}")

    # ---- translate -----------------------------------------------------------------------------------------------

    def cluster_resources(self, wanted: t.Sequence[Wanted], seen: t.Mapping[Key, Resource]) -> list[Resource]:
        """Return the resource group and the cluster."""
        have = seen.get((objects.AKS_CLUSTER, self.settings.cluster))
        there = str(have.spec["location"]) if have else None
        location = self.settings.region or there
        if location is None:
            raise ValueError(
                f"there is no AKS cluster {self.settings.cluster} in the resource group {self.settings.resource_group} "
                "yet; set region to have it made, for example eastus"
            )
        if have and not have.managed and location != there:
            raise ValueError(f"region is {location}, but the AKS cluster {self.settings.cluster} is in {there}")
        spec = {"location": location, "power": "Running", "failed": False}
        return [
            Resource(objects.RESOURCE_GROUP, self.settings.resource_group, {"exists": True}),
            Resource(
                objects.AKS_CLUSTER, self.settings.cluster, spec, facts={"own_group": self._is_own_group(have, seen)}
            ),
        ]

    def _is_own_group(self, cluster: Resource | None, seen: t.Mapping[Key, Resource]) -> bool:
        if cluster is not None:
            return bool(cluster.facts["own_group"])
        group = seen.get((objects.RESOURCE_GROUP, self.settings.resource_group))
        return group is None or group.managed

    def pool_name(self, item: Wanted) -> str:
        """Return the pool of the NIM's machine type, for example ``a10080gbd248``."""
        return objects.pool_name(item)

    def pool_spec(self, item: Wanted, max_nodes: int) -> dict[str, t.Any]:
        """Return what is compared of that pool."""
        return objects.pool_spec(item, max_nodes)

    def load_balancer_annotations(self, scheme: str) -> dict[str, str]:
        """Return the annotation for an address of the virtual network; a public one needs none."""
        return {_INTERNAL: "true"} if scheme == "internal" else {}

    def idle_resources(self, seen: t.Mapping[Key, Resource]) -> list[Resource]:
        """Return that the whole cluster is to be switched off, if that is wanted and the cluster is ours."""
        have = seen.get((objects.AKS_CLUSTER, self.settings.cluster))
        if not self.settings.stop_cluster or have is None or not have.managed or have.spec["power"] == "Stopped":
            return []
        return [Resource(objects.DEEP_STOP, self.settings.cluster, {"power": "Stopped"})]

    # ---- before the first change ---------------------------------------------------------------------------------

    def preflight(self, wanted: t.Sequence[Wanted], steps: t.Sequence[Step], seen: t.Mapping[Key, Resource]) -> None:
        """Look at somebody else's cluster and at quotas: one call if machines are needed, otherwise none."""
        have = seen.get((objects.AKS_CLUSTER, self.settings.cluster))
        if steps and have is not None and not have.managed:
            self._check_foreign(have)
        created = any(step.kind == objects.AKS_CLUSTER and step.action == "create" for step in steps)
        system = (self.settings.system_machine, self.settings.system_nodes) if created else None
        needs = quota.needs_of(wanted, steps, system)
        region = str(have.spec["location"]) if have else self.settings.region
        if not needs or region is None:
            return
        problems = quota.problems(needs, self._usages(region), region)
        if problems:
            raise ProviderError("\n".join(problems))

    def _usages(self, region: str) -> list[dict[str, t.Any]]:
        """Return the quotas of a region and what of them is used; none where the deployer may not read them."""
        path = f"providers/Microsoft.Compute/locations/{region}/usages"
        try:
            return self.session.rest_list(f"read the quotas of region {region}", path, USAGES_API)
        except ForbiddenError:
            return []

    def _check_foreign(self, have: Resource) -> None:
        what = f"the AKS cluster {self.settings.cluster} was not made by this collection, so it is not"
        if have.spec["power"] == "Stopped":
            raise ProviderError(
                f"{what} switched on; switch it on first: az aks start -g {self.settings.resource_group} "
                f"-n {self.settings.cluster}"
            )
        if have.spec["failed"]:
            raise ProviderError(f"{what} repaired; it is in state Failed and has no Kubernetes API")

    # ---- change --------------------------------------------------------------------------------------------------

    def apply(self, step: Step) -> None:
        """Carry out one step and wait for Azure.

        Raises ConflictError if another operation is at work on the cluster, after that one has ended.
        """
        actions: dict[tuple[str, str], t.Callable[[Step], None]] = {
            ("create", objects.RESOURCE_GROUP): self._create_group,
            ("delete", objects.RESOURCE_GROUP): self._delete_group,
            ("create", objects.AKS_CLUSTER): self._create_cluster,
            ("update", objects.AKS_CLUSTER): self._update_cluster,
            ("delete", objects.AKS_CLUSTER): self._delete_cluster,
            ("create", GPU_POOL): self._create_pool,
            ("update", GPU_POOL): self._update_pool,
            ("delete", GPU_POOL): self._delete_pool,
            ("create", objects.DEEP_STOP): self._stop_cluster,
        }
        try:
            actions[step.action, step.kind](step)
        except ConflictError:
            self.session.wait_until(f"wait for other work on the AKS cluster {self.settings.cluster}", self._is_free)
            raise

    def _is_free(self) -> bool:
        cluster = self._look()
        if cluster is not None:
            return not objects.is_busy(cluster)
        return not objects.is_deleting(self._look_at_group())

    def _create_group(self, step: Step) -> None:
        location = region_name(self.settings.region or "")
        self.session.rest(
            f"create the resource group {step.name}",
            "PUT",
            f"resourceGroups/{step.name}",
            GROUPS_API,
            objects.group_body(self.settings, location),
        )

    def _delete_group(self, step: Step) -> None:
        """Delete the resource group. Azure would delete all that is in it, so it must be empty by now."""
        others = self._others_in_group()
        if others:
            shown = ", ".join(others[:5]) + (" and more" if len(others) > 5 else "")
            raise ProviderError(
                f"the resource group {step.name} is kept, because it holds what this collection did not make: {shown}. "
                "The next run leaves it alone."
            )
        doing = f"delete the resource group {step.name}"
        try:
            self.session.rest(doing, "DELETE", f"resourceGroups/{step.name}", GROUPS_API)
        except NotFoundError:
            return
        self.session.wait_until(doing, lambda: self._look_at_group() is None)

    def _create_cluster(self, step: Step) -> None:
        want = _wanted(step)
        body: t.Any = objects.cluster_body(self.settings, want.spec["location"], want.facts["own_group"])
        clusters = self.session.client.managed_clusters
        self._access = None
        # "If missing": where another run is faster, this is a conflict and never changes what that run makes.
        self.session.finish(
            f"create the AKS cluster {step.name}",
            lambda: clusters.begin_create_or_update(*self._place, body, match_condition=MatchConditions.IfMissing),
        )

    def _update_cluster(self, step: Step) -> None:
        """Switch the cluster on; let Azure finish one that it gave up before there was anything to switch on."""
        clusters = self.session.client.managed_clusters
        self._access = None
        if step.changes_field("failed"):
            doing = f"repair the AKS cluster {step.name}"
            cluster = self.session.call(doing, lambda: clusters.get(*self._place))
            self.session.finish(
                doing,
                lambda: clusters.begin_create_or_update(
                    *self._place, cluster, etag=cluster.e_tag, match_condition=_unchanged_since(cluster.e_tag)
                ),
            )
        if step.changes_field("power"):
            self.session.finish(f"switch the AKS cluster {step.name} on", lambda: clusters.begin_start(*self._place))

    def _stop_cluster(self, step: Step) -> None:
        clusters = self.session.client.managed_clusters
        self.session.finish(f"switch the AKS cluster {step.name} off", lambda: clusters.begin_stop(*self._place))
        self._access = None

    def _delete_cluster(self, step: Step) -> None:
        clusters = self.session.client.managed_clusters
        self.session.finish(f"delete the AKS cluster {step.name}", lambda: clusters.begin_delete(*self._place))
        self._access = None

    def _create_pool(self, step: Step) -> None:
        subnet = objects.subnet_of(self._cluster) if self._cluster is not None else self.settings.subnet_id
        body: t.Any = objects.pool_body(self.settings, _wanted(step).spec, subnet)
        pools = self.session.client.agent_pools
        self.session.finish(
            f"create the GPU pool {step.name}",
            lambda: pools.begin_create_or_update(
                *self._place, step.name, body, match_condition=MatchConditions.IfMissing
            ),
        )

    def _update_pool(self, step: Step) -> None:
        """Change what differs and leave the rest as it is; if somebody else changes the pool now, look again."""
        doing, pools = f"change the GPU pool {step.name}", self.session.client.agent_pools
        pool: t.Any = self.session.call(doing, lambda: pools.get(*self._place, step.name))
        wanted = objects.pool_changes(_wanted(step).spec)
        labels = {**(pool["properties"].get("nodeLabels") or {}), **wanted["nodeLabels"]}
        pool["properties"].update({**wanted, "nodeLabels": labels})
        etag = pool["properties"].get("eTag")
        self.session.finish(
            doing,
            lambda: pools.begin_create_or_update(
                *self._place, step.name, pool, etag=etag, match_condition=_unchanged_since(etag)
            ),
        )

    def _delete_pool(self, step: Step) -> None:
        pools = self.session.client.agent_pools
        self.session.finish(f"delete the GPU pool {step.name}", lambda: pools.begin_delete(*self._place, step.name))


def _wanted(step: Step) -> Resource:
    if step.want is None:
        raise ValueError(f"{step.describe()} does not say what is wanted")
    return step.want


def _unchanged_since(etag: str | None) -> MatchConditions | None:
    return MatchConditions.IfNotModified if etag else None
