# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google Kubernetes Engine: clusters, node pools and operations, as its REST API has them."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import secrets
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from werkzeug.wrappers import Request, Response

from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.gcp.bodies import Json, decode, invalid
from tests.sandbox.gcp.gke_rules import (
    DEFAULT_VERSION,
    VERSIONS,
    amounts,
    check_autoscaling,
    check_cluster,
    check_labels,
    check_location,
    check_pool,
    machines_of,
    pool_with_defaults,
    taint_gpus,
    version_of,
)
from tests.sandbox.gcp.oauth import GoogleAccount, GoogleOauth, check_permission, google_error
from tests.sandbox.gcp.quotas import GLOBAL, GLOBAL_QUOTAS, ComputeQuotas, check_project
from tests.sandbox.kube import KubeApplication, NodePool
from tests.sandbox.operations import Failure, Operation, Operations, now
from tests.sandbox.rest import ApiError, PathValues, RestService, Route, json_response

LOCATION = "/v1/projects/{project}/locations/{location}"
CLUSTERS = LOCATION + "/clusters"
CLUSTER = CLUSTERS + "/{cluster}"
POOLS = CLUSTER + "/nodePools"
POOL = POOLS + "/{pool}"
OPERATIONS = LOCATION + "/operations"

API = "https://container.googleapis.com"
INTERNAL_ANNOTATION = ("networking.gke.io/load-balancer-type", "Internal")
#: What GKE calls work that goes on, for people.
DOING = {
    "CREATE_CLUSTER": "creating cluster",
    "DELETE_CLUSTER": "deleting cluster",
    "UPDATE_CLUSTER": "updating cluster",
    "CREATE_NODE_POOL": "creating a node pool for cluster",
    "DELETE_NODE_POOL": "deleting a node pool for cluster",
    "UPDATE_NODE_POOL": "updating a node pool for cluster",
    "SET_NODE_POOL_SIZE": "resizing a node pool for cluster",
}
#: The permission of IAM that each operation needs.
PERMISSIONS = {
    "GetServerConfig": "container.clusters.list",
    "ListClusters": "container.clusters.list",
    "CreateCluster": "container.clusters.create",
    "GetCluster": "container.clusters.get",
    "DeleteCluster": "container.clusters.delete",
    "SetLabels": "container.clusters.update",
    "ListNodePools": "container.clusters.get",
    "CreateNodePool": "container.clusters.update",
    "GetNodePool": "container.clusters.get",
    "UpdateNodePool": "container.clusters.update",
    "DeleteNodePool": "container.clusters.update",
    "SetNodePoolAutoscaling": "container.clusters.update",
    "SetNodePoolSize": "container.clusters.update",
    "ListOperations": "container.operations.list",
    "GetOperation": "container.operations.get",
}
#: Changes of a node pool that the sandbox knows: the field of the request and the one of NodeConfig.
CHANGES_OF_CONFIG = {"labels": "labels", "taints": "taints", "tags": "tags", "resourceLabels": "resourceLabels"}
#: Google's code for work that failed because of something in its way.
FAILED_PRECONDITION = 9


@dataclass
class Pool:
    """A node pool. `body` is complete, without what depends on the moment."""

    body: Json
    #: Machines in each zone.
    count: int
    status: str = "PROVISIONING"
    message: str = ""
    #: Whether its machines exist.
    made: bool = False

    @property
    def name(self) -> str:
        """The name."""
        return str(self.body["name"])

    @property
    def machines(self) -> int:
        """Number of machines in all zones."""
        return self.count * len(self.body["locations"])


@dataclass
class Cluster:
    """A cluster. `body` has everything but pools and what depends on the moment."""

    project: str
    location: str
    region: str
    body: Json
    pools: dict[str, Pool]
    version: str
    status: str = "PROVISIONING"
    message: str = ""
    #: Whether its Kubernetes API was ever there.
    made: bool = False
    #: Its part of the path of its Kubernetes API. Another one after deletion and creation.
    kube_id: str = field(default_factory=lambda: f"gke-{secrets.token_hex(6)}")
    created: str = field(default_factory=now)
    etag: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def name(self) -> str:
        """The name."""
        return str(self.body["name"])

    @property
    def path(self) -> str:
        """The full name."""
        return f"projects/{self.project}/locations/{self.location}/clusters/{self.name}"

    @property
    def label_fingerprint(self) -> str:
        """What changes whenever the labels do."""
        labels = json.dumps(self.body.get("resourceLabels", {}), sort_keys=True)
        return hashlib.sha256(labels.encode()).hexdigest()[:8]


class KubernetesEngine(RestService):
    """Answers below ``/v1/projects``."""

    def __init__(
        self,
        account: GoogleAccount,
        oauth: GoogleOauth,
        quotas: ComputeQuotas,
        kube: KubeApplication,
        ca_pem: str,
        calls: CallLog,
        interferences: Interferences,
    ) -> None:
        self._account = account
        self._oauth = oauth
        self._quotas = quotas
        self._kube = kube
        self._ca = base64.b64encode(ca_pem.encode()).decode()
        self._operations = Operations()
        self._clusters: dict[tuple[str, str], Cluster] = {}
        quotas.usage = self._usage
        super().__init__("gke", calls, interferences)

    def routes(self) -> list[Route]:
        """Return the operations, named as the methods of the ClusterManager service."""
        return [
            Route("GET", LOCATION + "/serverConfig", "GetServerConfig", self._get_server_config),
            Route("GET", CLUSTERS, "ListClusters", self._list_clusters),
            Route("POST", CLUSTERS, "CreateCluster", self._create_cluster),
            Route("GET", CLUSTER, "GetCluster", self._get_cluster),
            Route("DELETE", CLUSTER, "DeleteCluster", self._delete_cluster),
            Route("POST", CLUSTER + ":setResourceLabels", "SetLabels", self._set_labels),
            Route("GET", POOLS, "ListNodePools", self._list_pools),
            Route("POST", POOLS, "CreateNodePool", self._create_pool),
            Route("GET", POOL, "GetNodePool", self._get_pool),
            Route("PUT", POOL, "UpdateNodePool", self._update_pool),
            Route("DELETE", POOL, "DeleteNodePool", self._delete_pool),
            Route("POST", POOL + ":setAutoscaling", "SetNodePoolAutoscaling", self._set_autoscaling),
            Route("POST", POOL + ":setSize", "SetNodePoolSize", self._set_size),
            Route("GET", OPERATIONS, "ListOperations", self._list_operations),
            Route("GET", OPERATIONS + "/{operation}", "GetOperation", self._get_operation),
        ]

    def handles(self, request: Request) -> bool:
        """Whether the path is below ``/v1/projects``, known or not."""
        return request.path.startswith("/v1/projects/")

    def check(self, request: Request, values: PathValues) -> None:
        """Refuse requests without a token of Google's, and other projects."""
        who = self._oauth.check_google(request)
        check_project(self._account, values, "container.clusters.get")
        for route in self._routes:
            if route.method == request.method and route.match(request.path) is not None:
                place = request.path.removeprefix("/v1/").partition(":")[0]
                check_permission(self._account, who, PERMISSIONS[route.action], place)
        self._operations.advance()

    def error_response(self, error: ApiError) -> Response:
        """Return an error as Google's APIs write it."""
        return google_error(error)

    # -- for the control API ------------------------------------------------------------------------------------------

    def resources(self) -> dict[str, list[str]]:
        """Return the names of what exists."""
        self._operations.advance()
        clusters = list(self._clusters.values())
        return {
            "clusters": sorted(f"{item.location}/{item.name}" for item in clusters),
            "node_pools": sorted(f"{item.location}/{item.name}/{pool}" for item in clusters for pool in item.pools),
        }

    def reset(self) -> None:
        """Forget all clusters."""
        self._operations.clear()
        self._clusters.clear()

    def _usage(self, region: str) -> dict[str, int]:
        used: dict[str, int] = {}
        for cluster in self._clusters.values():
            if region in (GLOBAL, cluster.region):
                for pool in cluster.pools.values():
                    for name, amount in amounts(pool.body, pool.machines).items():
                        used[name] = used.get(name, 0) + amount
        return {name: amount for name, amount in used.items() if (name in GLOBAL_QUOTAS) == (region == GLOBAL)}

    # -- reading ------------------------------------------------------------------------------------------------------

    def _cluster(self, values: PathValues) -> Cluster:
        cluster = self._clusters.get((values["location"], values["cluster"]))
        if cluster is None:
            raise _not_found(CLUSTER, values)
        return cluster

    def _pool(self, values: PathValues) -> Pool:
        pool = self._cluster(values).pools.get(values["pool"])
        if pool is None:
            raise _not_found(POOL, values)
        return pool

    def _render(self, request: Request, cluster: Cluster) -> Json:
        link = f"{API}/v1/{cluster.path}"
        shown: Json = {
            **copy.deepcopy(cluster.body),
            "selfLink": link,
            "location": cluster.location,
            "zone": cluster.location,
            "status": cluster.status,
            "createTime": cluster.created,
            "currentMasterVersion": cluster.version,
            "currentNodeVersion": cluster.version,
            "currentNodeCount": sum(pool.machines for pool in cluster.pools.values()),
            "labelFingerprint": cluster.label_fingerprint,
            "etag": cluster.etag,
            "id": hashlib.sha256(cluster.kube_id.encode()).hexdigest(),
            "nodePools": [_render_pool(cluster, pool) for pool in cluster.pools.values()],
        }
        if cluster.message:
            shown["statusMessage"] = cluster.message
        if cluster.made:
            endpoint = f"{request.host}{KubeApplication.PREFIX}{cluster.kube_id}"
            shown["endpoint"] = endpoint
            shown["masterAuth"] = {**shown.get("masterAuth", {}), "clusterCaCertificate": self._ca}
            by_name = shown.setdefault("controlPlaneEndpointsConfig", {}).setdefault("dnsEndpointConfig", {})
            by_name["endpoint"] = endpoint
        return shown

    def _get_server_config(self, _request: Request, values: PathValues) -> Response:
        check_location(values["location"])
        full = sorted(VERSIONS.values(), reverse=True)
        return json_response(
            {
                "defaultClusterVersion": VERSIONS[DEFAULT_VERSION],
                "validMasterVersions": full,
                "validNodeVersions": full,
                "defaultImageType": "COS_CONTAINERD",
                "validImageTypes": ["COS_CONTAINERD", "UBUNTU_CONTAINERD"],
            }
        )

    def _list_clusters(self, request: Request, values: PathValues) -> Response:
        found = [item for item in self._clusters.values() if values["location"] in ("-", item.location)]
        return json_response({"clusters": [self._render(request, item) for item in found]} if found else {})

    def _get_cluster(self, request: Request, values: PathValues) -> Response:
        return json_response(self._render(request, self._cluster(values)))

    def _list_pools(self, _request: Request, values: PathValues) -> Response:
        cluster = self._cluster(values)
        return json_response({"nodePools": [_render_pool(cluster, pool) for pool in cluster.pools.values()]})

    def _get_pool(self, _request: Request, values: PathValues) -> Response:
        return json_response(_render_pool(self._cluster(values), self._pool(values)))

    # -- clusters -----------------------------------------------------------------------------------------------------

    def places(self) -> dict[str, tuple[str, str]]:
        """Return name and location of each cluster, by the id under which its API is found."""
        return {cluster.kube_id: (name, location) for (location, name), cluster in self._clusters.items()}

    def _create_cluster(self, request: Request, values: PathValues) -> Response:
        location = values["location"]
        region = check_location(location)
        body = decode("CreateClusterRequest", request.get_data(as_text=True)).get("cluster", {})
        check_cluster(body)
        if (location, body["name"]) in self._clusters:
            path = CLUSTER.format(**values, cluster=body["name"]).removeprefix("/v1/")
            raise ApiError(409, "ALREADY_EXISTS", f"Already exists: {path}.")
        version = version_of(body.get("initialClusterVersion"))
        pools = [
            pool_with_defaults(pool, location, version) for pool in body.pop("nodePools", None) or [_default_pool(body)]
        ]
        taint_gpus(pools)
        needed: dict[str, int] = {}
        made: dict[str, Pool] = {}
        for pool in pools:
            check_pool(pool, region)
            if pool["name"] in made:
                raise invalid(f'There are two node pools called "{pool["name"]}".')
            made[pool["name"]] = Pool(pool, pool.get("initialNodeCount", 0))
            for name, amount in amounts(pool, made[pool["name"]].machines).items():
                needed[name] = needed.get(name, 0) + amount
        self._quotas.check_needed(region, needed)
        body["initialClusterVersion"] = version
        cluster = Cluster(values["project"], location, region, body, made, version)
        self._clusters[location, cluster.name] = cluster
        return self._begin(request, "CreateCluster", "CREATE_CLUSTER", cluster, self._finish_cluster(cluster))

    def _finish_cluster(self, cluster: Cluster) -> Callable[[Failure | None], None]:
        def finish(failure: Failure | None) -> None:
            cluster.status = "ERROR" if failure else "RUNNING"
            cluster.message = failure.message if failure else ""
            for pool in cluster.pools.values():
                pool.status, pool.made = cluster.status, failure is None
            if failure is None:
                self._make_kubernetes(cluster)

        return finish

    def _make_kubernetes(self, cluster: Cluster) -> None:
        cluster.made = True
        network = cluster.body.get("networkConfig", {})
        policy = cluster.body.get("networkPolicy", {})

        def machines() -> list[NodePool]:
            self._operations.advance()
            return [machines_of(pool.body, pool.count, cluster.region) for pool in cluster.pools.values() if pool.made]

        self._kube.create_cluster(
            cluster.kube_id,
            version=".".join(cluster.version.split(".")[:2]),
            pools=machines,
            authorize=self._oauth.opens_kubernetes,
            identify=self._oauth.kubernetes_user,
            internal_annotation=INTERNAL_ANNOTATION,
            network_policy=network.get("datapathProvider") == "ADVANCED_DATAPATH" or policy.get("enabled", False),
        )

    def _delete_cluster(self, request: Request, values: PathValues) -> Response:
        cluster = self._cluster(values)
        self._check_idle(cluster)
        cluster.status = "STOPPING"

        def finish(failure: Failure | None) -> None:
            if failure is not None:
                cluster.status, cluster.message = "ERROR", failure.message
                return
            self._clusters.pop((cluster.location, cluster.name), None)
            if cluster.made:
                self._kube.delete_cluster(cluster.kube_id)

        return self._begin(request, "DeleteCluster", "DELETE_CLUSTER", cluster, finish)

    def _set_labels(self, request: Request, values: PathValues) -> Response:
        cluster = self._cluster(values)
        body = decode("SetLabelsRequest", request.get_data(as_text=True))
        self._check_idle(cluster)
        if body.get("labelFingerprint") != cluster.label_fingerprint:
            raise ApiError(
                400, "FAILED_PRECONDITION", "Labels could not be set due to fingerprint mismatch. Read them again."
            )
        labels = body.get("resourceLabels", {})
        check_labels(labels)
        cluster.body["resourceLabels"] = labels
        return self._change(request, "SetLabels", "UPDATE_CLUSTER", cluster, None)

    # -- node pools ---------------------------------------------------------------------------------------------------

    def _create_pool(self, request: Request, values: PathValues) -> Response:
        cluster = self._cluster(values)
        asked = decode("CreateNodePoolRequest", request.get_data(as_text=True)).get("nodePool", {})
        body = pool_with_defaults(asked, cluster.location, cluster.version)
        check_pool(body, cluster.region)
        if body["name"] in cluster.pools:
            raise ApiError(409, "ALREADY_EXISTS", f"Already exists: {cluster.path}/nodePools/{body['name']}.")
        self._check_idle(cluster)
        taint_gpus([*(pool.body for pool in cluster.pools.values()), body])
        pool = Pool(body, body.get("initialNodeCount", 0))
        self._quotas.check_needed(cluster.region, amounts(body, pool.machines))
        cluster.pools[pool.name] = pool
        cluster.status = "RECONCILING"

        def finish(failure: Failure | None) -> None:
            cluster.status = "RUNNING"
            pool.made = failure is None
            pool.status = "RUNNING" if failure is None else "ERROR"
            pool.message = "" if failure is None else failure.message

        return self._begin(request, "CreateNodePool", "CREATE_NODE_POOL", cluster, finish, pool)

    def _delete_pool(self, request: Request, values: PathValues) -> Response:
        cluster, pool = self._cluster(values), self._pool(values)
        self._check_idle(cluster)
        pool.status, cluster.status = "STOPPING", "RECONCILING"

        def finish(failure: Failure | None) -> None:
            cluster.status = "RUNNING"
            if failure is None:
                cluster.pools.pop(pool.name, None)
            else:
                pool.status, pool.message = "ERROR", failure.message

        return self._begin(request, "DeleteNodePool", "DELETE_NODE_POOL", cluster, finish, pool)

    def _update_pool(self, request: Request, values: PathValues) -> Response:
        cluster, pool = self._cluster(values), self._pool(values)
        body = decode("UpdateNodePoolRequest", request.get_data(as_text=True))
        self._check_idle(cluster)
        unknown = sorted(set(body) - set(CHANGES_OF_CONFIG) - {"locations"})
        if unknown or not body:
            message = f"The sandbox changes {', '.join(CHANGES_OF_CONFIG)} and locations of a node pool, not {unknown}."
            raise ApiError(400, "UNIMPLEMENTED", message, refused=True)
        changed = copy.deepcopy(pool.body)
        for name, field_name in CHANGES_OF_CONFIG.items():
            if name in body:
                changed["config"][field_name] = body[name].get(name, {})
        changed["locations"] = body.get("locations", changed["locations"])
        check_pool(changed, cluster.region)
        pool.body = changed
        taint_gpus([item.body for item in cluster.pools.values()])
        return self._change(request, "UpdateNodePool", "UPDATE_NODE_POOL", cluster, pool)

    def _set_autoscaling(self, request: Request, values: PathValues) -> Response:
        cluster, pool = self._cluster(values), self._pool(values)
        body = decode("SetNodePoolAutoscalingRequest", request.get_data(as_text=True))
        self._check_idle(cluster)
        changed = {**pool.body, "autoscaling": body.get("autoscaling", {})}
        check_autoscaling(changed)
        pool.body = changed
        return self._change(request, "SetNodePoolAutoscaling", "UPDATE_CLUSTER", cluster, pool)

    def _set_size(self, request: Request, values: PathValues) -> Response:
        cluster, pool = self._cluster(values), self._pool(values)
        count = decode("SetNodePoolSizeRequest", request.get_data(as_text=True)).get("nodeCount", 0)
        self._check_idle(cluster)
        more = max(0, count - pool.count) * len(pool.body["locations"])
        self._quotas.check_needed(cluster.region, amounts(pool.body, more))
        pool.count = count
        return self._change(request, "SetNodePoolSize", "SET_NODE_POOL_SIZE", cluster, pool)

    # -- operations ---------------------------------------------------------------------------------------------------

    def _check_idle(self, cluster: Cluster) -> None:
        """Refuse to begin anything while something else goes on at the cluster."""
        operation = self._operations.running_on(cluster.path)
        if operation is not None:
            raise ApiError(
                400,
                "FAILED_PRECONDITION",
                f"Operation {operation.name} is currently {DOING[operation.kind]} {cluster.name}. Please wait and try "
                "again once it is done.",
            )
        if cluster.status not in ("RUNNING", "ERROR"):
            raise ApiError(400, "FAILED_PRECONDITION", f"Cluster {cluster.name} is {cluster.status}.")

    def _change(self, request: Request, action: str, kind: str, cluster: Cluster, pool: Pool | None) -> Response:
        """Begin work whose effect is there at once, and which leaves everything running."""
        cluster.status = "RECONCILING"
        if pool is not None:
            pool.status = "RECONCILING"

        def finish(failure: Failure | None) -> None:
            cluster.status = "RUNNING"
            if pool is not None:
                pool.status = "RUNNING" if failure is None else "RUNNING_WITH_ERROR"

        return self._begin(request, action, kind, cluster, finish, pool)

    def _begin(
        self,
        request: Request,
        action: str,
        kind: str,
        cluster: Cluster,
        finish: Callable[[Failure | None], None],
        pool: Pool | None = None,
    ) -> Response:
        cluster.etag = str(uuid.uuid4())
        planned = self.planned_failure(action, request.get_data(as_text=True))
        operation = self._operations.begin(
            kind,
            cluster.path,
            finish,
            description=cluster.path if pool is None else f"{cluster.path}/nodePools/{pool.name}",
            failure=None if planned is None else Failure(planned.code or "", planned.message),
            name=f"operation-{time.time_ns() // 10**6}-{uuid.uuid4()}",
        )
        return json_response(_render_operation(operation))

    def _list_operations(self, _request: Request, values: PathValues) -> Response:
        found = [
            _render_operation(item)
            for item in self._operations.all()
            if values["location"] in ("-", _location_of(item))
        ]
        return json_response({"operations": found} if found else {})

    def _get_operation(self, _request: Request, values: PathValues) -> Response:
        operation = self._operations.get(values["operation"])
        if operation is None or _location_of(operation) != values["location"]:
            raise _not_found(OPERATIONS + "/{operation}", values)
        return json_response(_render_operation(operation))


def _default_pool(cluster: Json) -> Json:
    """Return the pool that a cluster gets which names none."""
    return {
        "name": "default-pool",
        "initialNodeCount": cluster.pop("initialNodeCount"),
        "config": cluster.pop("nodeConfig", {}),
    }


def _render_pool(cluster: Cluster, pool: Pool) -> Json:
    shown: Json = {
        **copy.deepcopy(pool.body),
        "selfLink": f"{API}/v1/{cluster.path}/nodePools/{pool.name}",
        "status": pool.status,
        "etag": hashlib.sha256(json.dumps(pool.body, sort_keys=True).encode()).hexdigest()[:12],
    }
    if pool.message:
        shown["statusMessage"] = pool.message
    return shown


def _location_of(operation: Operation) -> str:
    return operation.target.split("/")[3]


def _render_operation(operation: Operation) -> Json:
    project, location = operation.target.split("/")[1], _location_of(operation)
    shown: Json = {
        "name": operation.name,
        "operationType": operation.kind,
        "status": "DONE" if operation.done else "RUNNING",
        "zone": location,
        "location": location,
        "selfLink": f"{API}/v1/projects/{project}/locations/{location}/operations/{operation.name}",
        "targetLink": f"{API}/v1/{operation.description}",
        "startTime": operation.started_at,
    }
    if operation.done:
        shown["endTime"] = operation.ended_at
    if operation.done and operation.failure is not None:
        message = f"{operation.failure.code}: {operation.failure.message}"
        shown["error"] = {"code": FAILED_PRECONDITION, "message": message}
        shown["statusMessage"] = message
    return shown


def _not_found(path: str, values: PathValues) -> ApiError:
    return ApiError(404, "NOT_FOUND", f"Not found: {path.format(**values).removeprefix('/v1/')}.")
