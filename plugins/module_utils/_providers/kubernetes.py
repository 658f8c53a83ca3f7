# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""NIMs on a Kubernetes cluster, whoever runs it: objects in one namespace, behind one gateway and one load balancer.

The Deployment's ``replicas`` is the only switch. The cloud's autoscaler brings GPU machines up and takes them away.
"""

from __future__ import annotations

import dataclasses
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.budgetguard.techops.plugins.module_utils import _gateway
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Status, Wanted
from ansible_collections.budgetguard.techops.plugins.module_utils._exposure import check_exposure
from ansible_collections.budgetguard.techops.plugins.module_utils._keys import missing_keys
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import Key, Kind, Resource, Step
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import (
    AsleepError,
    LookAgainError,
    Provider,
    ProviderError,
    Snapshot,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _kube_compare as compare
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _kube_objects as objects
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _kube_reasons as reasons
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._cluster import (
    GPU_POOL,
    NAMESPACE_LABEL,
    POOL_LABEL,
    TIER_LABEL,
    ClusterCloud,
    ClusterView,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._kube_client import KubeClient

ADDRESS_SECONDS = 600
"""How long a new load balancer may take to get an address."""

ROLLOUT_SECONDS = 600
"""How long new copies of the gateway may take to replace the old ones. These finish their requests afterwards."""

NAMESPACE_END_SECONDS = 600
"""How long a namespace may take to go: load balancer and disks are given back first."""

_REPLICAS = "spec.replicas"

_KUBE_KINDS = {
    "namespace": "Namespace",
    "device_plugin": "DaemonSet",
    "secret": "Secret",
    "artists_role": "Role",
    "gateway_config": "ConfigMap",
    "gateway_deployment": "Deployment",
    "gateway_policy": "NetworkPolicy",
    "gateway_service": "Service",
    "model_cache": "PersistentVolumeClaim",
    "network_policy": "NetworkPolicy",
    "service": "Service",
    "deployment": "Deployment",
}
"""Our kinds in order of creation, and what Kubernetes calls them."""

_SHARED = {"Secret": "secret", "Role": "artists_role", "ConfigMap": "gateway_config"}
_OF_GATEWAY = {"Deployment": "gateway_deployment", "Service": "gateway_service", "NetworkPolicy": "gateway_policy"}
_OF_NIM = {
    "Deployment": "deployment",
    "Service": "service",
    "NetworkPolicy": "network_policy",
    "PersistentVolumeClaim": "model_cache",
}
Why = t.Callable[[t.Sequence[dict[str, t.Any]]], dict[str, reasons.Found]]
"""Says why Deployments that should run are not ready, by name."""

_READ_KINDS = ("Deployment", "Service", "PersistentVolumeClaim", "NetworkPolicy", "ConfigMap", "Role")


class KubernetesProvider(Provider):
    """One cluster and the namespace in it that holds the NIMs."""

    def __init__(self, cloud: ClusterCloud, settings: objects.KubeSettings) -> None:
        self.cloud = cloud
        self.settings = settings
        self.kinds = (
            *cloud.cluster_kinds,
            *(
                Kind(
                    name,
                    per_nim=name in _OF_NIM.values(),
                    adoptable=name == "namespace",
                    immutable=frozenset({"spec.storageClassName", "spec.accessModes"} if name == "model_cache" else ()),
                )
                for name in _KUBE_KINDS
            ),
            *cloud.closing_kinds,
        )
        self._client: KubeClient | None = None
        self._view: ClusterView | None = None
        self._has_namespace = False
        self._base: str | None = None
        self._auth = "none"

    # ---- translate: NIM -> objects -------------------------------------------------------------------------------

    def resources(self, wanted: t.Sequence[Wanted], seen: Snapshot) -> list[Resource]:
        """Return every object that the NIMs need, the shared ones included."""
        cidrs = self._cidrs()
        found = self.cloud.cluster_resources(wanted, seen.resources)
        if self._view is not None and self._view.asleep:
            return found  # What is in it is seen, and planned, once it is awake.
        found += self._pools(wanted, seen)
        found += self._shared_resources(cidrs)
        for item in sorted(wanted, key=lambda item: item.name):
            found += self._nim_resources(item, seen)
        return found

    def _cidrs(self) -> tuple[str, ...]:
        return check_exposure(
            self.settings.scheme,
            self.settings.allowed_cidrs,
            tls=self.settings.gateway.tls,
            allow_public=self.settings.allow_public,
            allow_plain_http=self.settings.allow_plain_http,
        )

    def _pools(self, wanted: t.Sequence[Wanted], seen: Snapshot) -> list[Resource]:
        """Return the GPU pools of the NIMs, each large enough for all NIMs that use it. A pool's limit never sinks."""
        asked = {item.name for item in wanted}
        pools = []
        for name, items in _group(wanted, self.cloud.pool_name).items():
            have = seen.resources.get((GPU_POOL, name))
            others = {
                item.deployment: item.facts["replicas"]
                for item in seen.resources.values()
                if item.kind == "deployment" and item.facts["pool"] == name and item.deployment not in asked
            }
            needed = sum(item.replicas for item in items) + sum(others.values())
            limit = max(needed, have.spec.get("max_nodes", 0) if have and have.managed else 0)
            spec = self.cloud.pool_spec(items[0], limit)
            spec["labels"] = {**spec["labels"], NAMESPACE_LABEL: self.settings.namespace}
            pools.append(
                Resource(
                    GPU_POOL,
                    name,
                    spec,
                    facts={"wanted": items[0], "have": have},
                    users=frozenset([*(item.name for item in items), *(other for other in others if other)]),
                )
            )
        return pools

    def _shared_resources(self, cidrs: t.Sequence[str]) -> list[Resource]:
        settings = self.settings
        annotations = self.cloud.load_balancer_annotations(settings.scheme)
        found = [
            ("namespace", objects.namespace(settings)),
            *(("secret", manifest) for manifest in (*objects.secrets(settings), *objects.gateway_secrets(settings))),
            ("artists_role", objects.artists_role(settings)),
            ("gateway_config", objects.gateway_config_map(settings)),
            ("gateway_deployment", objects.gateway_deployment(settings, self.cloud.gateway_node_selector)),
            ("gateway_policy", objects.gateway_network_policy(settings, cidrs)),
            ("gateway_service", objects.gateway_service(settings, cidrs, annotations)),
        ]
        if self.cloud.device_plugin:
            found.append(("device_plugin", objects.device_plugin(self.cloud.device_plugin_image)))
        return [_resource(kind, manifest) for kind, manifest in found]

    def _nim_resources(self, item: Wanted, seen: Snapshot) -> list[Resource]:
        settings = self.settings
        have = seen.resources.get(("deployment", item.name))
        left = have.spec.get(_REPLICAS, 0) if have else 0
        deployment = objects.nim_deployment(
            settings,
            item,
            self.cloud.pool_name(item),
            item.replicas if item.start else left,
            self.cloud.extra_tolerations(item),
        )
        found = [
            _resource("model_cache", self._cache(item, seen), item.name),
            _resource("network_policy", objects.nim_network_policy(settings, item), item.name),
            _resource("service", objects.nim_service(settings, item), item.name),
            _resource("deployment", deployment, item.name),
        ]
        if have and not item.start:
            # The count of copies is carried over: if somebody starts or stops the NIM now, look again.
            deployment["metadata"]["resourceVersion"] = have.facts["resource_version"]
        return found

    def _cache(self, item: Wanted, seen: Snapshot) -> objects.Manifest:
        """Return the volume of the model cache; one that is there already can grow but never shrink."""
        manifest = objects.nim_cache(self.settings, item)
        have = seen.resources.get(("model_cache", manifest["metadata"]["name"]))
        size = "spec.resources.requests.storage"
        if have and have.spec.get(size, 0) > compare.spec_of(manifest)[size]:
            manifest["spec"]["resources"]["requests"]["storage"] = have.facts["storage"]
        return manifest

    def gateway_resources(self, seen: Snapshot) -> list[Resource]:
        """Return the gateway's own objects, if it is there."""
        if ("gateway_deployment", objects.GATEWAY) not in seen.resources:
            return []
        ours = {*_OF_GATEWAY.values(), "gateway_config"}
        return [
            item
            for item in self._shared_resources(self._cidrs())
            if item.kind in ours or (item.kind, item.name) == ("secret", objects.GATEWAY_TLS)
        ]

    def foreseen(self, item: Wanted) -> t.Mapping[str, t.Any]:
        """Return the image, and what the gateway will ask for."""
        return {"image": item.image, "auth": _gateway.AUTH if self.settings.gateway.login else "none"}

    def stop_resource(self, status: Status) -> Resource:
        """Return the Deployment with no replicas; nothing else of it is compared."""
        return Resource("deployment", status.name, {_REPLICAS: 0}, status.name)

    def idle_resources(self, seen: Snapshot) -> list[Resource]:
        """Return what the cloud switches off when nothing runs in the cluster."""
        return self.cloud.idle_resources(seen.resources)

    # ---- observe: objects -> our words ---------------------------------------------------------------------------

    def settle(self) -> None:
        """Wait until what an earlier run started on the cluster has ended."""
        self.cloud.settle()

    def observe(self, names: t.Sequence[str]) -> Snapshot:
        """Read the whole target: the cluster with its pools, and one list per kind of object in the namespace."""
        self._view = view = self.cloud.read()
        found = dict(view.resources)
        self._check_namespace(found.values())
        if not view.exists or view.closed:
            unseen = (f"{view.closed}; what is in it was not looked at",) if view.asleep else ()
            return Snapshot(found, {}, (*view.warnings, *unseen))
        client = self._connect()
        namespace = self.settings.namespace
        with ThreadPoolExecutor(max_workers=len(_READ_KINDS) + 2) as pool:
            lists = [(kind, pool.submit(client.list_kind, kind, namespace)) for kind in _READ_KINDS]
            secrets = pool.submit(client.list_metadata, "Secret", namespace)
            plugin = pool.submit(self._read_device_plugin, client)
        live = [(kind, item) for kind, future in [*lists, ("Secret", secrets)] for item in future.result()]
        inside = [item for item in (_observed(kind, item) for kind, item in live) if item is not None]
        found.update({item.key: item for item in inside})
        found.update({item.key: item for item in plugin.result()})
        space = self._namespace(client, is_ours=any(item.managed for item in inside))
        self._has_namespace = space is not None
        if space is not None:
            found[space.key] = space
        deployments = [item for kind, item in live if kind == "Deployment" and _is_nim(item)]
        gateway = _gateway_service(item for kind, item in live if kind == "Service")
        base, self._auth = compare.base_url(gateway), compare.auth_of(gateway)
        statuses = self._statuses_of(deployments, base, None)
        statuses.update(self._unfinished(inside, statuses))
        return Snapshot(_with_users(found), statuses, view.warnings)

    def _check_namespace(self, found: t.Iterable[Resource]) -> None:
        """Refuse a cluster whose pools are for the NIMs of another namespace.

        Cluster, pools and deep stop are shared by all that is in the cluster, and only one namespace is looked at.
        """
        for item in found:
            owner = item.spec.get("labels", {}).get(NAMESPACE_LABEL) if item.kind == GPU_POOL and item.managed else None
            if owner not in (None, self.settings.namespace):
                raise ProviderError(
                    f"the GPU pool {item.name} is for the NIMs in the namespace {owner}, and this target's is "
                    f"{self.settings.namespace}; set namespace: {owner}, or give this target a cluster of its own"
                )

    def _read_device_plugin(self, client: KubeClient) -> list[Resource]:
        if not self.cloud.device_plugin:
            return []
        live = client.read("DaemonSet", objects.DEVICE_PLUGIN, objects.DEVICE_PLUGIN_NAMESPACE)
        return [_seen_resource("device_plugin", live)] if live else []

    def _namespace(self, client: KubeClient, is_ours: bool) -> Resource | None:
        """Return the namespace. One with objects of ours in it is ours and needs no call of its own."""
        if is_ours:
            return _resource("namespace", objects.namespace(self.settings))
        live = client.read("Namespace", self.settings.namespace)
        return _seen_resource("namespace", live) if live else None

    def _unfinished(self, inside: t.Iterable[Resource], statuses: t.Mapping[str, Status]) -> dict[str, Status]:
        """Describe NIMs of which only parts exist, so that they can be seen and removed."""
        parts: dict[str, Status] = {}
        for item in inside:
            if item.deployment and item.managed and item.deployment not in statuses:
                parts[item.deployment] = Status(
                    name=item.deployment,
                    node=item.facts["node"] or item.deployment,
                    gpu_tier=item.facts["gpu_tier"],
                    state="unknown",
                    reason="only a part of it exists, there is no Deployment; deploy again to finish it",
                    region=self._view.location if self._view else None,
                )
        return parts

    # ---- state of the NIMs ---------------------------------------------------------------------------------------

    def statuses(self, names: t.Sequence[str] | None = None, explain: bool = False) -> dict[str, Status]:
        """Read the state of NIMs: two calls for any number, two more and one per crash where reasons are asked for."""
        if not self._is_open():
            return {}
        chosen = self._deployments(names)
        base = self._read_base()
        return self._statuses_of(chosen, base, self._explain if explain else None)

    def control(self) -> dict[str, str | None] | None:
        """Return the API of the cluster in which the NIMs are Deployments of the same names."""
        if self._view is None or not self._view.exists or self._view.closed:
            return None
        access = self.cloud.access()
        return {
            "kind": "kubernetes",
            "server": access.host,
            "ca": access.ca_pem,
            "namespace": self.settings.namespace,
        }

    def progress(self, names: t.Sequence[str]) -> dict[str, Status]:
        """Read how far NIMs are: two calls for any number. Pods tell it; their events and logs are not read."""
        if not self._is_open():
            return {}
        chosen = self._deployments(names)
        ready = any(compare.status_of(live, None, None).state == "running" for live in chosen)
        if self._base is None and ready:
            # Until the load balancer has an address, which is asked for here, nothing is ready.
            return self._statuses_of(chosen, self._read_base(), None)
        return self._statuses_of(chosen, self._base, self._glance)

    def _is_open(self) -> bool:
        """Say whether there is a cluster. Raises ProviderError where it cannot be asked."""
        if self._view is None or not self._view.exists or self._view.closed:
            self._view = self.cloud.read()
        if not self._view.exists:
            return False
        if self._view.asleep:
            raise AsleepError(self._view.closed or "the cluster is switched off")
        if self._view.closed:
            raise ProviderError(self._view.closed)
        return True

    def _deployments(self, names: t.Sequence[str] | None) -> list[dict[str, t.Any]]:
        live = self._connect().list_kind("Deployment", self.settings.namespace, objects.MANAGED_SELECTOR)
        return [item for item in live if _is_nim(item) and (names is None or item["metadata"]["name"] in names)]

    def _read_base(self) -> str | None:
        service = self._connect().read("Service", objects.GATEWAY, self.settings.namespace)
        self._base, self._auth = compare.base_url(service), compare.auth_of(service)
        return self._base

    def _statuses_of(
        self, deployments: t.Sequence[dict[str, t.Any]], base: str | None, why: Why | None
    ) -> dict[str, Status]:
        region = self._view.location if self._view else None
        statuses = {}
        for live in deployments:
            status = dataclasses.replace(compare.status_of(live, region, base), auth=self._auth)
            if status.state == "running" and base is None:
                status = dataclasses.replace(status, state="starting", reason="the load balancer has no address yet")
            statuses[status.name] = status
        waiting = [live for live in deployments if statuses[live["metadata"]["name"]].state in ("starting", "failed")]
        waiting = [live for live in waiting if statuses[live["metadata"]["name"]].reason is None]
        if why is not None and waiting:
            for name, (state, reason) in why(waiting).items():
                gave_up = statuses[name].state == "failed"
                statuses[name] = dataclasses.replace(
                    statuses[name], state="failed" if gave_up else state, reason=reason
                )
        return statuses

    def _explain(self, deployments: t.Sequence[dict[str, t.Any]]) -> dict[str, reasons.Found]:
        client, namespace = self._connect(), self.settings.namespace
        pods = client.list_kind("Pod", namespace, objects.MANAGED_SELECTOR)
        events = client.list_kind("Event", namespace)

        def read_log(pod: str, previous: bool) -> str:
            try:
                return client.log(pod, namespace, reasons.LOG_LINES, previous)
            except ProviderError:
                return ""  # A pod that has gone meanwhile, or a machine that does not answer, explains nothing.

        return {
            live["metadata"]["name"]: reasons.explain(live, _own(pods, live), events, read_log) for live in deployments
        }

    def _glance(self, deployments: t.Sequence[dict[str, t.Any]]) -> dict[str, reasons.Found]:
        """Say what the pods alone tell: one call."""
        pods = self._connect().list_kind("Pod", self.settings.namespace, objects.MANAGED_SELECTOR)
        return {
            live["metadata"]["name"]: reasons.explain(live, _own(pods, live), [], lambda _pod, _previous: "")
            for live in deployments
        }

    # ---- before the first change ---------------------------------------------------------------------------------

    def preflight(self, wanted: t.Sequence[Wanted], steps: t.Sequence[Step], seen: Snapshot) -> None:
        """Look at keys, quotas and the state of the cluster before anything is created."""
        view = self._view
        kinds = {step.kind for step in steps}
        if view is not None and view.closed and kinds & set(_KUBE_KINDS) and not kinds & self._kinds_of_cloud():
            raise ProviderError(view.closed)
        if view is not None and view.closed and any(step.action == "delete" for step in steps):
            raise ProviderError(f"{view.closed}; what is in it cannot be seen, so it is not removed: start it first")
        secret = seen.resources.get(("secret", objects.API_SECRET))
        stored = None if secret is None or ("secret", objects.PULL_SECRET) not in seen.resources else secret
        asleep = view is not None and view.asleep
        problems = missing_keys(
            () if asleep else wanted,
            self.settings.ngc_api_key,
            self.settings.hf_token,
            stored.facts["fields"] if stored else None,
        )
        problems += self._login_problems(steps)
        if problems:
            raise ProviderError("\n".join(problems))
        self.cloud.preflight(wanted, steps, seen.resources)

    def _login_problems(self, steps: t.Sequence[Step]) -> list[str]:
        """Refuse to take the login away because an option was left out."""
        changed = any(step.kind == "gateway_service" and step.action == "update" for step in steps)
        if not changed or self._auth != _gateway.AUTH or self.settings.gateway.login:
            return []
        remove = f"kubectl -n {self.settings.namespace} delete service {objects.GATEWAY}"
        return [_gateway.would_open(self.settings.namespace, remove)]

    def _kinds_of_cloud(self) -> set[str]:
        return {kind.name for kind in self.cloud.cluster_kinds if kind.name != GPU_POOL}

    # ---- act -----------------------------------------------------------------------------------------------------

    def apply(self, step: Step) -> None:
        """Carry out one step."""
        if step.kind not in _KUBE_KINDS:
            if step.kind != GPU_POOL:
                self._client = self._view = None
            self.cloud.apply(step)
            if step.kind != GPU_POOL and step.action == "update" and step.changes_field("power"):
                raise LookAgainError(f"the cluster {step.name} is switched on; what is in it can be seen now")
        elif step.action == "delete":
            self._delete(step)
        else:
            self._write(step, dry_run=False)
            if step.kind == "gateway_service":
                self._wait_for_address()
            elif step.kind == "gateway_deployment" and step.action == "update":
                self._wait_for_rollout()

    def rehearse(self, step: Step) -> None:
        """Let the API server check a manifest, where there is a cluster and a namespace to check it in."""
        inside = step.kind in _KUBE_KINDS and step.action != "delete" and self._has_namespace
        if inside and self._client is not None:
            self._write(step, dry_run=True)

    def _write(self, step: Step, dry_run: bool) -> None:
        client = self._connect()
        want = t.cast(Resource, step.want)
        if step.kind == "deployment" and [change.path for change in step.changes] == [_REPLICAS]:
            client.scale(step.name, self.settings.namespace, want.spec[_REPLICAS], dry_run)
        else:
            client.apply(want.facts["manifest"], dry_run)

    def _delete(self, step: Step) -> None:
        client = self._connect()
        if step.kind == "namespace":
            self._delete_namespace(client)
        elif step.kind == "device_plugin":
            client.delete("DaemonSet", step.name, objects.DEVICE_PLUGIN_NAMESPACE)
        else:
            client.delete(_KUBE_KINDS[step.kind], step.name, self.settings.namespace)

    def _delete_namespace(self, client: KubeClient) -> None:
        """Delete the namespace if it is ours, and wait: what it held outside the cluster is given back first."""
        live = client.read("Namespace", self.settings.namespace)
        if live is None or not _is_managed(live):
            return
        client.delete("Namespace", self.settings.namespace)
        gone = self._poll(lambda: client.read("Namespace", self.settings.namespace) is None, NAMESPACE_END_SECONDS)
        if not gone:
            raise ProviderError(
                f"the namespace {self.settings.namespace} is still there {NAMESPACE_END_SECONDS} s after its deletion; "
                "something in it waits for the cloud (kubectl describe namespace says what)"
            )

    def _wait_for_address(self) -> None:
        client, namespace = self._connect(), self.settings.namespace
        if self._poll(
            lambda: compare.base_url(client.read("Service", objects.GATEWAY, namespace)) is not None, ADDRESS_SECONDS
        ):
            return
        events = client.list_kind("Event", namespace)
        told = [item["message"] for item in events if item.get("involvedObject", {}).get("name") == objects.GATEWAY]
        because = f": {' '.join(told[-1].split())}" if told else ""
        raise ProviderError(f"the load balancer has no address after {ADDRESS_SECONDS} s{because}")

    def _wait_for_rollout(self) -> None:
        """Wait until no request comes to a copy with the old configuration: a deny list must hold when the run ends."""
        client, namespace = self._connect(), self.settings.namespace

        def is_done() -> bool:
            live = client.read("Deployment", objects.GATEWAY, namespace)
            return live is None or compare.is_rolled_out(live)

        if not self._poll(is_done, ROLLOUT_SECONDS):
            raise ProviderError(
                f"the gateway has its new configuration, but after {ROLLOUT_SECONDS} s not all copies run with it, so "
                f"the old one may still hold; kubectl -n {namespace} describe deployment {objects.GATEWAY} says why"
            )

    def _poll(self, is_done: t.Callable[[], bool], seconds: float) -> bool:
        deadline, pause = time.monotonic() + seconds, 0.25
        while not is_done():
            if time.monotonic() >= deadline:
                return False
            time.sleep(pause)
            pause = min(pause * 1.5, 10.0)
        return True

    def _connect(self) -> KubeClient:
        if self._client is None:
            self._client = KubeClient(self.cloud.access(), self.cloud.advice)
        return self._client


def _own(pods: t.Sequence[dict[str, t.Any]], deployment: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    name = deployment["metadata"]["name"]
    return [pod for pod in pods if pod["metadata"]["labels"].get(objects.DEPLOYMENT_LABEL) == name]


def _group(wanted: t.Sequence[Wanted], name_of: t.Callable[[Wanted], str]) -> dict[str, list[Wanted]]:
    groups: dict[str, list[Wanted]] = {}
    for item in sorted(wanted, key=lambda item: item.name):
        groups.setdefault(name_of(item), []).append(item)
    return groups


def _resource(kind: str, manifest: objects.Manifest, deployment: str | None = None) -> Resource:
    """Describe an object that should be."""
    return Resource(kind, manifest["metadata"]["name"], compare.spec_of(manifest), deployment, {"manifest": manifest})


def _observed(kind: str, live: dict[str, t.Any]) -> Resource | None:
    """Describe an object of the namespace; None for one of a name that is none of ours."""
    name = live["metadata"]["name"]
    labels = live["metadata"].get("labels", {})
    deployment = labels.get(objects.DEPLOYMENT_LABEL)
    if kind in _OF_NIM and (deployment or name.startswith("nim-")):
        return _seen_resource(_OF_NIM[kind], live, deployment)
    ours = kind in _SHARED or name == objects.GATEWAY
    ours_by_kind = {**_SHARED, **_OF_GATEWAY}
    return _seen_resource(ours_by_kind[kind], live) if ours and kind in ours_by_kind else None


def _seen_resource(kind: str, live: dict[str, t.Any], deployment: str | None = None) -> Resource:
    metadata = live["metadata"]
    labels, annotations = metadata.get("labels", {}), metadata.get("annotations", {})
    facts = {
        "resource_version": metadata.get("resourceVersion"),
        "node": annotations.get(objects.NODE_ANNOTATION),
        "gpu_tier": labels.get(TIER_LABEL, ""),
        "pool": labels.get(POOL_LABEL),
        "fields": annotations.get(objects.FIELDS_ANNOTATION, "").split(),
        "storage": live.get("spec", {}).get("resources", {}).get("requests", {}).get("storage"),
        "replicas": int(annotations.get(objects.REPLICAS_ANNOTATION, "1")),
    }
    ending = "deletionTimestamp" in metadata and kind != "namespace"
    return Resource(
        kind, metadata["name"], compare.spec_of(live), deployment, facts, managed=_is_managed(live), ending=ending
    )


def _with_users(found: t.Mapping[Key, Resource]) -> dict[Key, Resource]:
    """Give each GPU pool the NIMs that run on it."""
    deployments = [item for item in found.values() if item.kind == "deployment" and item.deployment]
    result = dict(found)
    for key, item in found.items():
        if item.kind == GPU_POOL:
            users = frozenset(
                other.deployment for other in deployments if other.deployment and other.facts["pool"] == item.name
            )
            result[key] = dataclasses.replace(item, users=users)
    return result


def _is_managed(live: t.Mapping[str, t.Any]) -> bool:
    return bool(live["metadata"].get("labels", {}).get(objects.MANAGED_LABEL) == objects.MANAGED_BY)


def _is_nim(live: t.Mapping[str, t.Any]) -> bool:
    return _is_managed(live) and objects.DEPLOYMENT_LABEL in live["metadata"]["labels"]


def _gateway_service(services: t.Iterable[dict[str, t.Any]]) -> dict[str, t.Any] | None:
    return next((item for item in services if item["metadata"]["name"] == objects.GATEWAY), None)
