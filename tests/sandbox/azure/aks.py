# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Azure Kubernetes Service: managed clusters and agent pools."""

from __future__ import annotations

import base64
import copy
import json
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import yaml
from werkzeug.wrappers import Request, Response

from tests.sandbox.azure.aks_rules import (
    DEFAULT_VERSION,
    DEFAULTS_OF_CLUSTER,
    DEFAULTS_OF_NETWORK,
    FIXED_OF_CLUSTER,
    FIXED_OF_POOL,
    AksError,
    Json,
    bad,
    check_access,
    check_body,
    check_cluster,
    check_pool,
    check_unchanged,
    machines_of,
    pool_with_defaults,
    version_of,
)
from tests.sandbox.azure.entra import KUBERNETES, Entra
from tests.sandbox.azure.machines import SPOT, TOTAL, VmSize
from tests.sandbox.calls import Interference
from tests.sandbox.kube import KubeApplication, NodePool
from tests.sandbox.operations import Failure, Operation, Operations
from tests.sandbox.rest import ApiError, json_response

INTERNAL_ANNOTATION = ("service.beta.kubernetes.io/azure-load-balancer-internal", "true")
#: Engines that enforce NetworkPolicies.
POLICY_ENGINES = ("azure", "calico", "cilium")
#: Application ID of kubelogin's server, as `az` writes it into kubeconfigs, and of its public client.
KUBELOGIN_CLIENT = "80faf920-1908-4b52-b5ef-a8e7bedfc67a"
PENDING = "please wait for it to finish before starting a new operation. See https://aka.ms/aks-pending-operation"


@dataclass
class Pool:
    """An agent pool. `properties` are complete, without what depends on the moment."""

    name: str
    properties: Json
    size: VmSize
    state: str = "Creating"
    #: Whether its machines exist.
    made: bool = False
    etag: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass
class Cluster:
    """A managed cluster. `resource` has everything but pools and what depends on the moment."""

    group: str
    name: str
    path: str
    resource: Json
    pools: dict[str, Pool]
    state: str = "Creating"
    running: bool = True
    #: Whether its Kubernetes API was ever there.
    made: bool = False
    #: Its part of the path of its Kubernetes API. Another one after deletion and creation.
    kube_id: str = field(default_factory=lambda: f"aks-{secrets.token_hex(6)}")
    etag: str = field(default_factory=lambda: str(uuid.uuid4()))
    #: What a cluster with local accounts accepts besides Entra's tokens.
    local_token: str = field(default_factory=lambda: secrets.token_hex(32))

    @property
    def properties(self) -> Json:
        """The kept properties."""
        found: Json = self.resource["properties"]
        return found

    @property
    def location(self) -> str:
        """The region."""
        return str(self.resource["location"])


class ManagedClusters:
    """All clusters of the subscription. The caller holds the lock of the state."""

    def __init__(
        self,
        entra: Entra,
        kube: KubeApplication,
        operations: Operations,
        ca_pem: str,
        check_quota: Callable[[str, dict[str, int]], None],
        planned_failure: Callable[[str, str], Interference | None],
        forget: Callable[[str], None],
    ) -> None:
        """``forget`` is told the path of each cluster that vanishes."""
        self._forget = forget
        self._entra = entra
        self._kube = kube
        self._operations = operations
        self._ca_pem = ca_pem
        self._check_quota = check_quota
        self._planned_failure = planned_failure
        self._clusters: dict[tuple[str, str], Cluster] = {}

    # -- reading ------------------------------------------------------------------------------------------------------

    def all(self, group: str | None = None) -> list[Cluster]:
        """Return the clusters of a resource group, or all."""
        return [item for (of, _name), item in self._clusters.items() if group is None or of == group.lower()]

    def find(self, group: str, name: str) -> Cluster:
        """Return a cluster. Raises `ApiError` in Azure Resource Manager's words."""
        cluster = self._clusters.get((group.lower(), name.lower()))
        if cluster is None:
            raise ApiError(
                404,
                "ResourceNotFound",
                f"The Resource 'Microsoft.ContainerService/managedClusters/{name}' under resource group '{group}' was "
                "not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix",
            )
        return cluster

    def find_pool(self, cluster: Cluster, name: str) -> Pool:
        """Return a pool of a cluster. Raises `ApiError`."""
        pool = cluster.pools.get(name.lower())
        if pool is None:
            raise AksError(404, "NotFound", f"Agent pool {name} of managed cluster {cluster.name} was not found.")
        return pool

    def cores_in_use(self, region: str) -> dict[str, int]:
        """Return the vCPUs of all machines in a region, by the name of the quota that counts them."""
        used: dict[str, int] = {}
        for cluster in self._clusters.values():
            if cluster.location == region and cluster.running:
                for pool in cluster.pools.values():
                    _add(used, _cores(pool.properties, pool.size))
        return used

    def render(self, cluster: Cluster) -> Json:
        """Return a cluster as the API shows it."""
        shown = copy.deepcopy(cluster.resource)
        properties = shown["properties"]
        properties.update(
            provisioningState=cluster.state,
            powerState={"code": "Running" if cluster.running else "Stopped"},
            agentPoolProfiles=[{"name": pool.name, **_shown_pool(pool, cluster)} for pool in cluster.pools.values()],
        )
        return {
            "id": cluster.path,
            "name": cluster.name,
            "type": "Microsoft.ContainerService/ManagedClusters",
            **shown,
            "eTag": cluster.etag,
        }

    def render_pool(self, cluster: Cluster, pool: Pool) -> Json:
        """Return an agent pool as the API shows it."""
        return {
            "id": f"{cluster.path}/agentPools/{pool.name}",
            "name": pool.name,
            "type": "Microsoft.ContainerService/managedClusters/agentPools",
            "properties": _shown_pool(pool, cluster),
        }

    # -- clusters -----------------------------------------------------------------------------------------------------

    def put(self, request: Request, group: str, name: str, path: str) -> tuple[Cluster, Operation, int]:
        """Create a cluster, or change it."""
        body = check_body("ManagedCluster", json.loads(request.get_data(as_text=True) or "null"))
        cluster = self._clusters.get((group.lower(), name.lower()))
        _check_etag(request, None if cluster is None else cluster.etag)
        if cluster is not None:
            return cluster, self._update(request, cluster, body), 200
        cluster = self._new(request, group, name, path, body)
        self._clusters[group.lower(), name.lower()] = cluster
        operation = self._begin(request, "ManagedClusters_CreateOrUpdate", cluster, "Creating")
        return cluster, operation, 201

    def _new(self, request: Request, group: str, name: str, path: str, body: Json) -> Cluster:
        check_cluster(name, body)
        resource = copy.deepcopy(body)
        properties = resource["properties"]
        region = resource["location"]
        pools = {}
        for profile in properties.pop("agentPoolProfiles"):
            pool = _pool(profile.pop("name", ""), profile, None, region)
            if pool.name in pools:
                raise bad("InvalidParameter", f"There are two agent pools called {pool.name}.")
            pools[pool.name] = pool
        needed: dict[str, int] = {}
        for pool in pools.values():
            _add(needed, _cores(pool.properties, pool.size))
        self._check_quota(region, needed)
        cluster = Cluster(group, name, path, resource, pools)
        _fill_in(cluster, request)
        return cluster

    def _update(self, request: Request, cluster: Cluster, body: Json) -> Operation:
        self._check_idle(cluster)
        if body.get("location", "").lower() != cluster.location:
            raise ApiError(
                409,
                "InvalidResourceLocation",
                f"The resource '{cluster.name}' already exists in location '{cluster.location}' in resource group "
                f"'{cluster.group}'. A resource with the same name cannot be created in location "
                f"'{body.get('location')}'. Please select a new resource name.",
            )
        asked = copy.deepcopy(body.get("properties") or {})
        profiles = asked.pop("agentPoolProfiles", None)
        check_unchanged(FIXED_OF_CLUSTER, cluster.properties, asked)
        version = version_of(asked.get("kubernetesVersion") or cluster.properties["kubernetesVersion"])
        merged = {**cluster.properties, **asked, "currentKubernetesVersion": version}
        merged["networkProfile"] = {**cluster.properties["networkProfile"], **(asked.get("networkProfile") or {})}
        check_access(merged)
        pools = self._changed_pools(cluster, profiles)
        cluster.pools.update(pools)
        cluster.resource["properties"] = merged
        cluster.resource["tags"] = body.get("tags") or {}
        for name in ("identity", "sku"):
            if body.get(name):
                cluster.resource[name] = {**cluster.resource.get(name, {}), **body[name]}
        return self._begin(request, "ManagedClusters_CreateOrUpdate", cluster, "Updating")

    def _changed_pools(self, cluster: Cluster, profiles: list[Json] | None) -> dict[str, Pool]:
        if profiles is None:
            return {}
        named = {profile.get("name", ""): profile for profile in profiles}
        if set(named) - set(cluster.pools):
            raise bad(
                "BadRequest",
                "A new agent pool was introduced. Adding agent pools to an existing cluster is not allowed through "
                "managed cluster operations. For agent pool specific change, please use per agent pool operations: "
                "https://aka.ms/agent-pool-rest-api",
            )
        missing = sorted(set(cluster.pools) - set(named))
        if missing:
            message = f"The sandbox does not know what AKS does when agentPoolProfiles leaves out {', '.join(missing)}."
            raise AksError(400, "NotImplementedBySandbox", message, refused=True)
        changed = {}
        for name, profile in named.items():
            settings = {key: value for key, value in profile.items() if key != "name"}
            changed[name] = _pool(name, settings, cluster.pools[name], cluster.location)
        return changed

    def patch_tags(self, request: Request, cluster: Cluster) -> Operation:
        """Replace the tags of a cluster."""
        body = check_body("TagsObject", json.loads(request.get_data(as_text=True) or "null"))
        _check_etag(request, cluster.etag)
        self._check_idle(cluster)
        cluster.resource["tags"] = body.get("tags") or {}
        return self._begin(request, "ManagedClusters_UpdateTags", cluster, "Updating")

    def start(self, request: Request, cluster: Cluster) -> Operation:
        """Switch a cluster on."""
        self._check_idle(cluster, may_be_stopped=True)
        return self._begin(request, "ManagedClusters_Start", cluster, "Starting")

    def stop(self, request: Request, cluster: Cluster) -> Operation:
        """Switch a cluster off."""
        self._check_idle(cluster, may_be_stopped=True)
        return self._begin(request, "ManagedClusters_Stop", cluster, "Stopping")

    def delete(self, request: Request, cluster: Cluster) -> Operation:
        """Delete a cluster with its pools."""
        _check_etag(request, cluster.etag)
        self._check_idle(cluster, may_be_stopped=True)
        return self._begin(request, "ManagedClusters_Delete", cluster, "Deleting")

    def remove(self, cluster: Cluster) -> None:
        """Make a cluster vanish."""
        self._clusters.pop((cluster.group.lower(), cluster.name.lower()), None)
        self._forget(cluster.path)
        if cluster.made:
            self._kube.delete_cluster(cluster.kube_id)

    def reset(self) -> None:
        """Forget all clusters."""
        self._clusters.clear()

    def _check_idle(self, cluster: Cluster, *, may_be_stopped: bool = False) -> None:
        """Refuse to begin anything while something else goes on, or while the cluster is off."""
        operation = self._operations.running_on(cluster.path)
        if operation is not None:
            what = f"agentpool operation ({operation.description} - " if operation.description else "operation ("
            raise AksError(
                409,
                "OperationNotAllowed",
                f"Operation is not allowed: Another {what}{operation.kind}) is in progress, {PENDING} for more details",
            )
        if not cluster.running and not may_be_stopped:
            raise AksError(
                409,
                "OperationNotAllowed",
                f"Operation is not allowed: managed cluster {cluster.name} is stopped. Only start and delete are "
                "allowed on a stopped cluster.",
            )

    def _begin(self, request: Request, action: str, cluster: Cluster, kind: str) -> Operation:
        cluster.state = kind
        cluster.etag = str(uuid.uuid4())
        for pool in cluster.pools.values():
            pool.state = kind

        def finish(failure: Failure | None) -> None:
            self._finish(cluster, kind, failure)

        planned = self._planned_failure(action, request.get_data(as_text=True))
        return self._operations.begin(kind, cluster.path, finish, failure=_failure(planned))

    def _finish(self, cluster: Cluster, kind: str, failure: Failure | None) -> None:
        cluster.state = "Failed" if failure else "Succeeded"
        cluster.etag = str(uuid.uuid4())
        for pool in cluster.pools.values():
            pool.state = cluster.state
            pool.made = pool.made or failure is None
        if failure is not None:
            return
        if kind == "Deleting":
            self.remove(cluster)
        elif kind in ("Starting", "Stopping"):
            cluster.running = kind == "Starting"
            self._kube.set_running(cluster.kube_id, cluster.running)
        elif not cluster.made:
            self._make_kubernetes(cluster)

    def _make_kubernetes(self, cluster: Cluster) -> None:
        cluster.made = True
        network = cluster.properties["networkProfile"]

        def machines() -> list[NodePool]:
            self._operations.advance()
            return [
                machines_of(pool.name, pool.properties, pool.size, cluster.location)
                for pool in cluster.pools.values()
                if pool.made and pool.properties["powerState"]["code"] == "Running"
            ]

        def authorize(token: str | None) -> bool:
            if not cluster.properties["disableLocalAccounts"] and token == cluster.local_token:
                return True
            return bool(cluster.properties.get("aadProfile")) and self._entra.opens_kubernetes(token)

        self._kube.create_cluster(
            cluster.kube_id,
            version=".".join(cluster.properties["currentKubernetesVersion"].split(".")[:2]),
            pools=machines,
            authorize=authorize,
            identify=self._entra.kubernetes_user,
            internal_annotation=INTERNAL_ANNOTATION,
            network_policy=network["networkPolicy"] in POLICY_ENGINES,
        )

    # -- agent pools --------------------------------------------------------------------------------------------------

    def put_pool(self, request: Request, cluster: Cluster, name: str) -> tuple[Pool, Operation, int]:
        """Create a pool, or change it."""
        body = check_body("AgentPool", json.loads(request.get_data(as_text=True) or "null"))
        before = cluster.pools.get(name.lower())
        _check_etag(request, None if before is None else before.etag)
        self._check_idle(cluster)
        if "agentPoolProfiles" in body:
            raise bad("InvalidParameter", "The body of an agent pool has its settings below properties.")
        pool = _pool(name, copy.deepcopy(body.get("properties") or {}), before, cluster.location)
        self._check_system_pools(cluster, {**cluster.pools, name: pool})
        needed = _cores(pool.properties, pool.size)
        if before is not None:
            _add(needed, {quota: -cores for quota, cores in _cores(before.properties, before.size).items()})
        self._check_quota(cluster.location, needed)
        cluster.pools[name] = pool
        kind = _kind_of_pool_work(pool, before)
        return pool, self._begin_pool(request, "AgentPools_CreateOrUpdate", cluster, pool, kind), 200 if before else 201

    def delete_pool(self, request: Request, cluster: Cluster, pool: Pool) -> Operation:
        """Delete a pool with its machines."""
        _check_etag(request, pool.etag)
        self._check_idle(cluster)
        self._check_system_pools(cluster, {name: item for name, item in cluster.pools.items() if item is not pool})
        return self._begin_pool(request, "AgentPools_Delete", cluster, pool, "Deleting")

    def _check_system_pools(self, cluster: Cluster, pools: dict[str, Pool]) -> None:
        if not any(pool.properties["mode"] == "System" for pool in pools.values()):
            raise bad(
                "BadRequest",
                f"There has to be at least one system agent pool in managed cluster {cluster.name}.",
            )

    def _begin_pool(self, request: Request, action: str, cluster: Cluster, pool: Pool, kind: str) -> Operation:
        pool.state = kind
        cluster.etag = str(uuid.uuid4())

        def finish(failure: Failure | None) -> None:
            pool.state = "Failed" if failure else "Succeeded"
            pool.made = pool.made or failure is None
            pool.etag = cluster.etag = str(uuid.uuid4())
            if failure is None and kind == "Deleting":
                cluster.pools.pop(pool.name, None)

        planned = self._planned_failure(action, request.get_data(as_text=True))
        return self._operations.begin(kind, cluster.path, finish, description=pool.name, failure=_failure(planned))

    # -- credentials --------------------------------------------------------------------------------------------------

    def user_credentials(self, request: Request, cluster: Cluster) -> Response:
        """Return the kubeconfig of somebody who logs in by Entra, or of a local account where there is no Entra."""
        if cluster.properties.get("aadProfile"):
            return self._kubeconfig(request, cluster, "clusterUser", _entra_user(cluster))
        return self._kubeconfig(request, cluster, "clusterUser", {"token": cluster.local_token})

    def admin_credentials(self, request: Request, cluster: Cluster) -> Response:
        """Return the kubeconfig of the local administrator."""
        if cluster.properties["disableLocalAccounts"]:
            raise bad(
                "BadRequest",
                "Getting static credential is not allowed because this cluster is set to disable local accounts.",
            )
        return self._kubeconfig(request, cluster, "clusterAdmin", {"token": cluster.local_token})

    def _kubeconfig(self, request: Request, cluster: Cluster, kind: str, user: Json) -> Response:
        if not cluster.made:
            raise AksError(404, "NotFound", f"Managed cluster {cluster.name} has no Kubernetes API yet.")
        user_name = f"{kind}_{cluster.group}_{cluster.name}"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": cluster.name,
                    "cluster": {
                        "server": f"{request.host_url}clusters/{cluster.kube_id}",
                        "certificate-authority-data": base64.b64encode(self._ca_pem.encode()).decode(),
                    },
                }
            ],
            "contexts": [{"name": cluster.name, "context": {"cluster": cluster.name, "user": user_name}}],
            "current-context": cluster.name,
            "preferences": {},
            "users": [{"name": user_name, "user": user}],
        }
        value = base64.b64encode(yaml.safe_dump(config).encode()).decode()
        return json_response({"kubeconfigs": [{"name": kind, "value": value}]})


def _pool(name: str, settings: Json, before: Pool | None, region: str) -> Pool:
    """Return a checked pool. What was asked for must not touch what the pool before it keeps for life."""
    if before is not None:
        check_unchanged(FIXED_OF_POOL, before.properties, settings)
    properties = pool_with_defaults(settings, None if before is None else before.properties)
    size = check_pool(name, properties, region)
    if before is None:
        return Pool(name, properties, size)
    return Pool(name, properties, size, before.state, before.made)


def _shown_pool(pool: Pool, cluster: Cluster) -> Json:
    version = cluster.properties["currentKubernetesVersion"]
    stopped = not cluster.running or pool.properties["powerState"]["code"] == "Stopped"
    return {
        **copy.deepcopy(pool.properties),
        "provisioningState": pool.state,
        "powerState": {"code": "Stopped" if stopped else "Running"},
        "orchestratorVersion": pool.properties.get("orchestratorVersion", version),
        "currentOrchestratorVersion": version,
        "nodeImageVersion": "AKSUbuntu-2404gen2containerd-202611.10.0",
        "eTag": pool.etag,
    }


def _kind_of_pool_work(pool: Pool, before: Pool | None) -> str:
    if before is None:
        return "Creating"
    power = pool.properties["powerState"]["code"]
    if power != before.properties["powerState"]["code"]:
        return "Starting" if power == "Running" else "Stopping"
    if pool.properties["count"] != before.properties["count"]:
        return "Scaling"
    return "Updating"


def _fill_in(cluster: Cluster, request: Request) -> None:
    """Add what AKS adds to a new cluster."""
    resource, properties = cluster.resource, cluster.properties
    version = properties.get("kubernetesVersion") or DEFAULT_VERSION
    properties.update({name: properties.get(name, value) for name, value in DEFAULTS_OF_CLUSTER.items()})
    properties["kubernetesVersion"] = version
    properties["currentKubernetesVersion"] = version_of(version)
    properties["networkProfile"] = {**DEFAULTS_OF_NETWORK, **(properties.get("networkProfile") or {})}
    properties.setdefault("nodeResourceGroup", f"MC_{cluster.group}_{cluster.name}_{cluster.location}")
    properties.setdefault("servicePrincipalProfile", {"clientId": "msi"})
    properties["fqdn"] = f"{properties.get('dnsPrefix')}-{cluster.kube_id}.hcp.{cluster.location}.azmk8s.io"
    properties["maxAgentPools"] = 100
    properties["resourceUID"] = uuid.uuid4().hex[:24]
    resource.setdefault("tags", {})
    resource.setdefault("sku", {"name": "Base", "tier": "Free"})
    resource.setdefault("kind", "Base")
    if resource.get("identity", {}).get("type") == "SystemAssigned":
        resource["identity"].update(principalId=str(uuid.uuid4()), tenantId=str(uuid.uuid4()))


def _entra_user(cluster: Cluster) -> Json:
    """Return what `az aks get-credentials` writes for a cluster with Entra: call kubelogin, no credential in it."""
    arguments = ["get-token", "--environment", "AzurePublicCloud", "--server-id", KUBERNETES]
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1beta1",
            "command": "kubelogin",
            "args": [*arguments, "--client-id", KUBELOGIN_CLIENT, "--login", "devicecode"],
            "env": None,
            "installHint": "kubelogin is not installed which is required to connect to AAD enabled cluster.",
            "provideClusterInfo": False,
        }
    }


def _check_etag(request: Request, current: str | None) -> None:
    """Refuse a change of something that is not as the client believes."""
    expected, forbidden = request.headers.get("If-Match"), request.headers.get("If-None-Match")
    failed = expected is not None and (current is None or expected.strip('"') not in ("*", current))
    if failed or (forbidden == "*" and current is not None):
        raise AksError(
            412,
            "PreconditionFailed",
            f"The Etag provided in the request header, {expected or forbidden}, does not match the current Etag, "
            f"{current}.",
        )


def _cores(pool: Json, size: VmSize) -> dict[str, int]:
    """Return the vCPUs of a pool's machines by the quotas that count them."""
    if pool["powerState"]["code"] == "Stopped":
        return {}
    cores = pool["count"] * size.vcpus
    if pool.get("scaleSetPriority") == "Spot":
        return {SPOT: cores}
    return {TOTAL: cores, size.family: cores}


def _add(total: dict[str, int], more: dict[str, int]) -> None:
    for name, cores in more.items():
        total[name] = total.get(name, 0) + cores


def _failure(planned: Interference | None) -> Failure | None:
    return None if planned is None else Failure(planned.code or "", planned.message)
