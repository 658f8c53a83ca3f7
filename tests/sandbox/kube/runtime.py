# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes on in a cluster by itself: controllers that make pods, load balancers, disks, and things that end.

Nothing here sleeps and there is no thread. `Runtime.advance` looks at the clock and brings the cluster to where it
would be by now; it is called before each request.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.sandbox.ecs_runtime import Outcome
from tests.sandbox.kube.addresses import Addresses
from tests.sandbox.kube.defaults import default_pod_spec
from tests.sandbox.kube.events import Events
from tests.sandbox.kube.machines import Machine, Machines
from tests.sandbox.kube.pods import Kubelet, PodLife
from tests.sandbox.kube.pools import ClusterSettings
from tests.sandbox.kube.scheduling import Amounts, requested, unsuited
from tests.sandbox.kube.store import ObjectStore, timestamp
from tests.sandbox.state import DEFAULTS, clock

#: How often one call follows effects of effects: a machine joins, its device plugin starts, a pod gets its GPU.
ROUNDS = 8
#: What part of a start a load balancer takes to get its address.
BALANCER = 0.2
#: What the image of NVIDIA's device plugin is called.
DEVICE_PLUGIN = "k8s-device-plugin"
BALANCER_FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
#: Letters of generated names. Vowels are left out, so that no words come about.
SAFE_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
REVISION = "deployment.kubernetes.io/revision"


@dataclass
class Balancer:
    """The load balancer of a Service."""

    internal: bool
    due: float
    address: str | None = None


@dataclass
class Rollout:
    """What the runtime remembers of a Deployment."""

    template_hash: str
    revision: int
    progress_at: float
    ready: int = 0


class Runtime:
    """The life of one cluster. Needs STATE_LOCK held."""

    def __init__(
        self,
        settings: ClusterSettings,
        store: ObjectStore,
        addresses: Addresses,
        outcome_of: Callable[[str], Outcome],
    ) -> None:
        self._settings = settings
        self._store = store
        self._addresses = addresses
        self._events = Events(store)
        self._machines = Machines(store, addresses)
        self._kubelet = Kubelet(settings, store, self._machines, addresses, self._events, outcome_of)
        self._lives: dict[tuple[str, str], PodLife] = {}
        self._balancers: dict[str, Balancer] = {}
        self._rollouts: dict[str, Rollout] = {}
        #: Objects that are ending, by uid, and when they are gone.
        self._ending: dict[str, tuple[dict[str, Any], float]] = {}

    def life(self, namespace: str, name: str) -> PodLife | None:
        """Return what is remembered of a pod."""
        return self._lives.get((namespace, name))

    def stop(self) -> None:
        """Switch all machines off. The pods are gone with them."""
        for life in list(self._lives.values()):
            self._remove_pod(life)
        self._machines.clear()

    def advance(self) -> None:
        """Let everything happen that is due by now."""
        now = clock()
        for _round in range(ROUNDS):
            before = self._store.version
            self._advance_once(now)
            if self._store.version == before:
                break
        busy = {
            life.machine.name
            for life in self._lives.values()
            if life.machine is not None and life.owner[0] != "DaemonSet"
        }
        wanted = {life.wanted_machine.name for life in self._lives.values() if life.wanted_machine and not life.machine}
        self._machines.scale_in(busy | wanted, now)

    def _advance_once(self, now: float) -> None:
        pools = self._settings.pools()
        self._machines.sync(pools, now)
        self._end_what_is_due(now)
        self._drop_lost_pods()
        for item in self._store.all("DaemonSet"):
            self._make_daemon_pods(item, now)
        for item in self._store.all("Deployment"):
            self._make_deployment_pods(item, now)
        for life in sorted(self._lives.values(), key=lambda found: found.owner[0] != "DaemonSet"):
            pod = self._store.get("Pod", life.namespace, life.name)
            if pod is not None:
                self._kubelet.advance(life, pod, pools, now)
        self._note_device_plugins()
        for item in self._store.all("Deployment"):
            self._report_deployment(item, now)
        for item in self._store.all("DaemonSet"):
            self._report_daemon_set(item)
        for item in self._store.all("Service"):
            self._advance_balancer(item, now)

    # -- pods --------------------------------------------------------------------------------------------------------

    def _drop_lost_pods(self) -> None:
        """Forget pods that were deleted, whose owner is gone, or whose machine is gone."""
        for life in list(self._lives.values()):
            pod = self._store.get("Pod", life.namespace, life.name)
            owner = self._store.get(life.owner[0], life.namespace, life.owner[1])
            has_machine = life.machine is None or self._machines.has(life.machine)
            if pod is None or owner is None or not has_machine:
                self._remove_pod(life)

    def _remove_pod(self, life: PodLife) -> None:
        self._lives.pop((life.namespace, life.name), None)
        pod = self._store.get("Pod", life.namespace, life.name)
        if pod is not None:
            if life.started_at is not None:
                name = pod["spec"]["containers"][0]["name"]
                self._events.note(pod, "Killing", f"Stopping container {name}", "kubelet")
            self._store.remove(pod)
        for machine in self._machines.joined(clock()):
            own = [item for item in self._lives.values() if item.machine is machine]
            machine.taken = sum((self._requested(item) for item in own), Amounts())

    def _requested(self, life: PodLife) -> Amounts:
        pod = self._store.get("Pod", life.namespace, life.name)
        return requested(pod["spec"]) if pod is not None else Amounts()

    def _owned_by(self, item: dict[str, Any]) -> list[PodLife]:
        owner = (item["kind"], item["metadata"]["name"])
        namespace = item["metadata"]["namespace"]
        return [life for life in self._lives.values() if life.owner == owner and life.namespace == namespace]

    def _make_pod(self, item: dict[str, Any], template_hash: str, now: float, middle: str) -> PodLife:
        """Make a pod from the template of a Deployment or DaemonSet."""
        owner, template = item["metadata"], item["spec"]["template"]
        ending = "".join(random.choice(SAFE_LETTERS) for _number in range(5))
        name = f"{owner['name']}-{middle}{ending}"
        metadata = template.get("metadata", {})
        hash_label = "pod-template-hash" if item["kind"] == "Deployment" else "controller-revision-hash"
        spec = json.loads(json.dumps(template["spec"]))
        default_pod_spec(spec)
        spec.setdefault("serviceAccountName", "default")
        self._store.make(
            "Pod",
            name,
            owner["namespace"],
            metadata={
                "labels": {**metadata.get("labels", {}), hash_label: template_hash},
                "annotations": metadata.get("annotations", {}),
                "ownerReferences": [_reference(item, template_hash)],
            },
            spec=spec,
            status={"phase": "Pending", "qosClass": "Burstable"},
        )
        life = PodLife(owner["namespace"], name, (item["kind"], owner["name"]), now)
        self._lives[owner["namespace"], name] = life
        return life

    def _hash_of_pod(self, life: PodLife) -> str:
        pod = self._store.get("Pod", life.namespace, life.name)
        labels = pod["metadata"]["labels"] if pod is not None else {}
        return str(labels.get("pod-template-hash") or labels.get("controller-revision-hash"))

    def _is_ready(self, life: PodLife) -> bool:
        pod = self._store.get("Pod", life.namespace, life.name)
        return pod is not None and is_ready(pod)

    # -- Deployments -------------------------------------------------------------------------------------------------

    def _make_deployment_pods(self, item: dict[str, Any], now: float) -> None:
        if "deletionTimestamp" in item["metadata"] or item["spec"].get("paused"):
            return
        wanted = item["spec"]["replicas"]
        template_hash = _template_hash(item)
        lives = self._owned_by(item)
        current = [life for life in lives if self._hash_of_pod(life) == template_hash]
        outdated = [life for life in lives if life not in current]
        self._remove_outdated(item, current, outdated, wanted)
        for life in current[wanted:]:
            self._remove_pod(life)
        for _number in range(wanted - len(current)):
            self._make_pod(item, template_hash, now, f"{template_hash}-")

    def _remove_outdated(
        self, item: dict[str, Any], current: list[PodLife], outdated: list[PodLife], wanted: int
    ) -> None:
        """End pods of an older template: all at once, or one for each new pod that is ready."""
        if item["spec"]["strategy"]["type"] == "Recreate":
            leaving = outdated
        else:
            ready = sum(1 for life in current if self._is_ready(life))
            leaving = outdated[max(0, wanted - ready) :]
        for life in leaving:
            self._remove_pod(life)

    def _report_deployment(self, item: dict[str, Any], now: float) -> None:
        uid, template_hash = item["metadata"]["uid"], _template_hash(item)
        rollout = self._rollouts.get(uid)
        if rollout is None or rollout.template_hash != template_hash:
            rollout = Rollout(template_hash, rollout.revision + 1 if rollout else 1, now)
            self._rollouts[uid] = rollout
        annotations = {**item["metadata"].get("annotations", {}), REVISION: str(rollout.revision)}
        if annotations != item["metadata"].get("annotations"):
            item = self._store.put({**item, "metadata": {**item["metadata"], "annotations": annotations}})
        lives = self._owned_by(item)
        ready = sum(1 for life in lives if self._is_ready(life))
        updated = sum(1 for life in lives if self._hash_of_pod(life) == template_hash)
        wanted = item["spec"]["replicas"]
        if ready > rollout.ready:
            rollout.progress_at = now
        rollout.ready = ready
        counts = {
            "replicas": len(lives),
            "updatedReplicas": updated,
            "readyReplicas": ready,
            "availableReplicas": ready,
            "unavailableReplicas": max(0, wanted - ready),
        }
        status: dict[str, Any] = {"observedGeneration": item["metadata"]["generation"]}
        status.update({name: count for name, count in counts.items() if count})
        is_complete = updated == wanted == ready == len(lives)
        status["conditions"] = self._conditions(item, rollout, now, ready=ready, is_complete=is_complete)
        self._store.set_status(item, status)

    def _conditions(
        self, item: dict[str, Any], rollout: Rollout, now: float, *, ready: int, is_complete: bool
    ) -> list[dict[str, Any]]:
        name = f"{item['metadata']['name']}-{rollout.template_hash}"
        wanted = item["spec"]["replicas"]
        # A rolling update may miss a quarter of the pods, rounded down; a Recreate may miss none.
        may_miss = wanted // 4 if item["spec"]["strategy"]["type"] == "RollingUpdate" else 0
        available = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        if ready < wanted - may_miss:
            available = ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
        deadline = item["spec"]["progressDeadlineSeconds"]
        progressing = ("True", "ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.')
        if is_complete:
            progressing = ("True", "NewReplicaSetAvailable", f'ReplicaSet "{name}" has successfully progressed.')
        elif now - rollout.progress_at > deadline:
            progressing = ("False", "ProgressDeadlineExceeded", f'ReplicaSet "{name}" has timed out progressing.')
        before = {entry["type"]: entry for entry in item.get("status", {}).get("conditions", [])}
        return [_condition("Available", available, before), _condition("Progressing", progressing, before)]

    # -- DaemonSets --------------------------------------------------------------------------------------------------

    def _machines_of(self, item: dict[str, Any], now: float) -> list[Machine]:
        """Return the machines on which a DaemonSet has a pod."""
        spec = item["spec"]["template"]["spec"]
        return [machine for machine in self._machines.joined(now) if not unsuited(spec, machine.pool, machine.labels)]

    def _make_daemon_pods(self, item: dict[str, Any], now: float) -> None:
        template_hash = _template_hash(item)
        machines = self._machines_of(item, now)
        served: list[Machine] = []
        for life in self._owned_by(item):
            target = life.machine or life.wanted_machine
            if target not in machines or target in served or self._hash_of_pod(life) != template_hash:
                self._remove_pod(life)
            elif target is not None:
                served.append(target)
        for machine in machines:
            if machine not in served:
                life = self._make_pod(item, template_hash, now, "")
                pod = self._store.get("Pod", life.namespace, life.name)
                if pod is not None:
                    self._kubelet.bind(life, pod, machine, now)

    def _note_device_plugins(self) -> None:
        """Let machines offer their GPUs where a pod of a device plugin is ready."""
        for machine in self._machines.joined(clock()):
            machine.has_plugin = any(
                life.machine is machine and self._is_ready(life) and self._is_plugin(life)
                for life in self._lives.values()
            )

    def _is_plugin(self, life: PodLife) -> bool:
        pod = self._store.get("Pod", life.namespace, life.name)
        return pod is not None and any(DEVICE_PLUGIN in str(item["image"]) for item in pod["spec"]["containers"])

    def _report_daemon_set(self, item: dict[str, Any]) -> None:
        lives = self._owned_by(item)
        ready = sum(1 for life in lives if self._is_ready(life))
        status = {
            "observedGeneration": item["metadata"]["generation"],
            "currentNumberScheduled": len(lives),
            "desiredNumberScheduled": len(lives),
            "numberMisscheduled": 0,
            "numberReady": ready,
        }
        more = {"updatedNumberScheduled": len(lives), "numberAvailable": ready, "numberUnavailable": len(lives) - ready}
        self._store.set_status(item, {**status, **{name: count for name, count in more.items() if count}})

    # -- load balancers ----------------------------------------------------------------------------------------------

    def _advance_balancer(self, item: dict[str, Any], now: float) -> None:
        uid = item["metadata"]["uid"]
        if "deletionTimestamp" in item["metadata"]:
            return
        if item["spec"]["type"] != "LoadBalancer":
            self._balancers.pop(uid, None)
            self._store.set_status(item, {"loadBalancer": {}})
            return
        key, value = self._settings.internal_annotation
        internal = item["metadata"].get("annotations", {}).get(key, "").lower() == value.lower()
        known = self._balancers.get(uid)
        if known is None or known.internal != internal:
            known = self._balancers[uid] = Balancer(internal, now + BALANCER * DEFAULTS.startup_seconds)
            self._events.note(item, "EnsuringLoadBalancer", "Ensuring load balancer", "service-controller")
        if known.address is None and now >= known.due:
            known.address = self._addresses.balancer_ip(internal=internal)
            self._events.note(item, "EnsuredLoadBalancer", "Ensured load balancer", "service-controller")
        finalizers = item["metadata"].get("finalizers", [])
        if BALANCER_FINALIZER not in finalizers:
            metadata = {**item["metadata"], "finalizers": [*finalizers, BALANCER_FINALIZER]}
            item = self._store.put({**item, "metadata": metadata})
        ingress = [{"ip": known.address, "ipMode": "VIP"}] if known.address else []
        self._store.set_status(item, {"loadBalancer": {"ingress": ingress} if ingress else {}})

    # -- what ends ---------------------------------------------------------------------------------------------------

    def begin_deletion(self, item: dict[str, Any]) -> bool:
        """Whether an object that is to be deleted is gone at once. Otherwise it is marked, and gone when it is due."""
        metadata = item["metadata"]
        if "deletionTimestamp" in metadata:
            return False
        if item["kind"] == "Namespace":
            self._mark(item, {"phase": "Terminating"})
            for content in self._store.in_namespace(metadata["name"]):
                self._store.remove(content)
            return False
        has_balancer = BALANCER_FINALIZER in metadata.get("finalizers", [])
        if has_balancer or (item["kind"] == "PersistentVolumeClaim" and self._is_used(item)):
            self._mark(item, item.get("status", {}))
            return False
        return True

    def _mark(self, item: dict[str, Any], status: dict[str, Any]) -> None:
        metadata = {**item["metadata"], "deletionTimestamp": timestamp(), "deletionGracePeriodSeconds": 0}
        marked = self._store.put({**item, "metadata": metadata, "status": status})
        self._ending[metadata["uid"]] = (marked, clock() + DEFAULTS.drain_seconds)

    def _is_used(self, claim: dict[str, Any]) -> bool:
        name, namespace = claim["metadata"]["name"], claim["metadata"]["namespace"]
        return any(
            volume.get("persistentVolumeClaim", {}).get("claimName") == name
            for pod in self._store.all("Pod", namespace)
            if pod["spec"].get("nodeName")
            for volume in pod["spec"].get("volumes", [])
        )

    def _end_what_is_due(self, now: float) -> None:
        for uid, (item, due) in list(self._ending.items()):
            if item["kind"] == "PersistentVolumeClaim":
                if self._is_used(item):
                    continue
            elif now < due:
                continue
            del self._ending[uid]
            self._balancers.pop(uid, None)
            self._store.remove(item)


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether a pod gets requests."""
    return any(item["type"] == "Ready" and item["status"] == "True" for item in pod["status"].get("conditions", []))


def _template_hash(item: dict[str, Any]) -> str:
    text = json.dumps(item["spec"]["template"], sort_keys=True)
    digest = hashlib.sha256(text.encode()).digest()
    return "".join(SAFE_LETTERS[byte % len(SAFE_LETTERS)] for byte in digest[:10])


def _reference(item: dict[str, Any], template_hash: str) -> dict[str, Any]:
    metadata = item["metadata"]
    is_daemon = item["kind"] == "DaemonSet"
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet" if is_daemon else "ReplicaSet",
        "name": metadata["name"] if is_daemon else f"{metadata['name']}-{template_hash}",
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _condition(kind: str, content: tuple[str, str, str], before: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a condition; its times are those of before where it says the same."""
    status, reason, message = content
    old = before.get(kind, {})
    if (old.get("status"), old.get("reason"), old.get("message")) == content:
        return old
    now = timestamp(DEFAULTS.condition_age_seconds)
    changed = old.get("lastTransitionTime", now) if old.get("status") == status else now
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastUpdateTime": now,
        "lastTransitionTime": changed,
    }
