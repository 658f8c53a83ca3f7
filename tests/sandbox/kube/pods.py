# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of one pod: a machine is found or asked for, the image is pulled, the container starts, fails or gets ready.

A start of a pod that asks for GPUs takes `Defaults.startup_seconds` (or what a test said for its Deployment):

    0     the pod is made, Pending
    0.1   without a machine for it the autoscaler adds one, or says why not
    0.4   the machine has joined: the pod has a place, the image is being pulled
    0.7   the image is there: the container runs, or could not be made
    1.0   the container is ready, or not, or has ended

Other pods take a tenth of that. Texts are those of kube-scheduler, cluster-autoscaler and kubelet.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.sandbox.ecs_runtime import EXIT_LOG, FIRST_RETRY, LONGEST_RETRY, READY_LOG, REPEAT_SECONDS, Outcome
from tests.sandbox.kube.addresses import Addresses
from tests.sandbox.kube.checks import DOCKER_CONFIG
from tests.sandbox.kube.errors import KubeError, bad_request
from tests.sandbox.kube.events import Events
from tests.sandbox.kube.machines import Machine, Machines
from tests.sandbox.kube.pools import ClusterSettings, NodePool
from tests.sandbox.kube.scheduling import allocatable, no_scale_up, not_scheduled, refusals, requested
from tests.sandbox.kube.store import ObjectStore, timestamp
from tests.sandbox.state import DEFAULTS

#: Parts of a start, and how much shorter it is without a GPU.
LAUNCH, JOIN, PULL, LOAD = 0.1, 0.3, 0.3, 0.3
SMALL = 0.1
#: Registry and path of images that only a login can pull.
REGISTRY, PROTECTED = "nvcr.io", "nvcr.io/nim/"

SCHEDULER, AUTOSCALER, KUBELET = "default-scheduler", "cluster-autoscaler", "kubelet"
NO_MACHINE_LEFT = "max node group size reached"
NO_CAPACITY = (
    "Allocation failed. We do not have sufficient capacity for the requested VM size in this region (out of resources)"
)
NO_QUOTA = "Operation could not be completed as it results in exceeding approved GPU quota (quota exceeded)"


@dataclass(eq=False)
class PodLife:
    """What the runtime remembers of a pod."""

    namespace: str
    name: str
    #: Kind and name of what it belongs to.
    owner: tuple[str, str]
    born: float
    machine: Machine | None = None
    #: The machine that the autoscaler has asked for on its behalf.
    wanted_machine: Machine | None = None
    placed_at: float = 0.0
    #: When the container that is there now began to run; None if it does not run.
    started_at: float | None = None
    #: When the next try to pull or to start is due.
    next_try: float = 0.0
    pull_failures: int = 0
    restarts: int = 0
    #: How the container before ended; None if none has.
    last_end: dict[str, Any] | None = None
    log: list[str] = field(default_factory=list)
    last_log: list[str] = field(default_factory=list)
    #: When to repeat an event.
    next_event: float = 0.0
    #: Whether a probe has failed and that was said.
    complained: bool = False


class NotMadeError(Exception):
    """A container cannot be made. Holds the reason and message that kubelet gives."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def backoff(failures: int) -> float:
    """Return the seconds until the next try, longer each time."""
    return float(min(FIRST_RETRY * 2 ** max(0, failures - 1), LONGEST_RETRY))


class Kubelet:
    """Moves the pods of one cluster on: scheduler, autoscaler and kubelet in one."""

    def __init__(
        self,
        settings: ClusterSettings,
        store: ObjectStore,
        machines: Machines,
        addresses: Addresses,
        events: Events,
        outcome_of: Callable[[str], Outcome],
    ) -> None:
        self._settings = settings
        self._store = store
        self._machines = machines
        self._addresses = addresses
        self._events = events
        self._outcome_of = outcome_of

    def outcome(self, life: PodLife) -> Outcome:
        """Return what shall become of a pod."""
        return self._outcome_of(life.owner[1])

    def _seconds(self, life: PodLife, pod: dict[str, Any]) -> float:
        """Return how long a start takes."""
        delay = self.outcome(life).delay_seconds
        if delay is not None:
            return delay
        return DEFAULTS.startup_seconds * (1.0 if requested(pod["spec"]).gpus else SMALL)

    def advance(self, life: PodLife, pod: dict[str, Any], pools: Sequence[NodePool], now: float) -> None:
        """Let everything happen to a pod that is due by now."""
        if life.machine is None:
            self._place(life, pod, pools, now)
        if life.machine is not None:
            self._run(life, self._store.get("Pod", life.namespace, life.name) or pod, now)

    # -- a machine ---------------------------------------------------------------------------------------------------

    def _place(self, life: PodLife, pod: dict[str, Any], pools: Sequence[NodePool], now: float) -> None:
        missing = self._missing_claim(pod)
        machines = self._machines.joined(now)
        if missing is None:
            reasons = [self._refusals(life, pod, machine.pool, machine) for machine in machines]
            fitting = [machine for machine, why in zip(machines, reasons, strict=True) if not why]
            if fitting:
                # The emptiest, so that copies are spread.
                self.bind(life, pod, max(fitting, key=lambda machine: machine.free.cpu), now)
                return
            message = not_scheduled(reasons)
        else:
            message = f"0/{len(machines)} nodes are available: {missing}. not found"
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        pod = self._store.set_status(pod, {**pod["status"], "phase": "Pending", "conditions": [condition]})
        is_time_to_say = now >= life.next_event
        if is_time_to_say:
            life.next_event = now + REPEAT_SECONDS
            self._events.note(pod, "FailedScheduling", message, SCHEDULER, warning=True)
        if missing is None and now >= life.born + LAUNCH * self._seconds(life, pod):
            self._scale_up(life, pod, pools, now, is_time_to_say=is_time_to_say)

    def _missing_claim(self, pod: dict[str, Any]) -> str | None:
        for volume in pod["spec"].get("volumes", []):
            name = volume.get("persistentVolumeClaim", {}).get("claimName")
            claim = self._store.get("PersistentVolumeClaim", pod["metadata"]["namespace"], name) if name else None
            if name and claim is None:
                return f'persistentvolumeclaim "{name}" not found'
            if claim is not None and "deletionTimestamp" in claim["metadata"]:
                return f'persistentvolumeclaim "{name}" is being deleted'
        return None

    def _refusals(
        self, life: PodLife, pod: dict[str, Any], pool: NodePool, machine: Machine | None = None
    ) -> list[str]:
        if machine is not None:
            why = refusals(pod["spec"], pool, machine.labels, machine.free)
        else:
            # The autoscaler takes it that a new machine will offer all its GPUs.
            why = refusals(pod["spec"], pool, Machine("", pool, 0.0).labels, allocatable(pool, gpus=True))
        if not why and self.outcome(life).name == "does_not_fit":
            return ["Insufficient memory"]
        return why

    def _scale_up(
        self, life: PodLife, pod: dict[str, Any], pools: Sequence[NodePool], now: float, *, is_time_to_say: bool
    ) -> None:
        """Ask for a machine, as the autoscaler does that looks for a pool whose machines would help."""
        if self._machines.has(life.wanted_machine):
            return
        reasons = []
        for pool in pools:
            if not pool.autoscaling:
                continue
            why = self._refusals(life, pod, pool)
            count = len(self._machines.of_pool(pool.name))
            if not why and count >= pool.maximum:
                why = [NO_MACHINE_LEFT]
            if not why:
                self._ask_for(life, pod, pool, count, now, is_time_to_say=is_time_to_say)
                return
            reasons.append(why)
        if is_time_to_say:
            self._events.note(pod, "NotTriggerScaleUp", no_scale_up(reasons), AUTOSCALER)

    def _ask_for(
        self, life: PodLife, pod: dict[str, Any], pool: NodePool, count: int, now: float, *, is_time_to_say: bool
    ) -> None:
        refusal = {"no_capacity": NO_CAPACITY, "quota": NO_QUOTA}.get(self.outcome(life).name)
        if refusal is None or is_time_to_say:
            message = f"pod triggered scale-up: [{{{pool.name} {count}->{count + 1} (max: {pool.maximum})}}]"
            self._events.note(pod, "TriggeredScaleUp", message, AUTOSCALER)
        if refusal is None:
            life.wanted_machine = self._machines.add(pool, now + JOIN * self._seconds(life, pod))
        elif is_time_to_say:
            text = f"Node scale up in group {pool.name} associated with this pod failed: {refusal}."
            self._events.note(
                pod, "FailedScaleUp", f"{text} Pod is at risk of not being scheduled.", AUTOSCALER, warning=True
            )

    def bind(self, life: PodLife, pod: dict[str, Any], machine: Machine, now: float) -> None:
        """Give a pod its machine."""
        life.machine, life.placed_at, life.next_event = machine, now, 0.0
        machine.taken += requested(pod["spec"])
        status = {
            **pod["status"],
            "phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "True"}],
            "startTime": timestamp(),
            "podIP": self._addresses.pod_ip(),
        }
        spec = {**pod["spec"], "nodeName": machine.name}
        pod = self._store.put({**pod, "spec": spec, "status": status})
        where = f"{life.namespace}/{life.name} to {machine.name}"
        self._events.note(pod, "Scheduled", f"Successfully assigned {where}", SCHEDULER)
        self._bind_claims(pod)

    def _bind_claims(self, pod: dict[str, Any]) -> None:
        """Make the disks: their class waits for the first pod that has a machine."""
        for volume in pod["spec"].get("volumes", []):
            name = volume.get("persistentVolumeClaim", {}).get("claimName")
            claim = self._store.get("PersistentVolumeClaim", pod["metadata"]["namespace"], name) if name else None
            if claim is None or claim["status"]["phase"] == "Bound":
                continue
            disk = f"pvc-{claim['metadata']['uid']}"
            status = {
                "phase": "Bound",
                "accessModes": claim["spec"]["accessModes"],
                "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            }
            bound = self._store.put({**claim, "spec": {**claim["spec"], "volumeName": disk}, "status": status})
            message = f"Successfully provisioned volume {disk}"
            self._events.note(bound, "ProvisioningSucceeded", message, "persistentvolume-controller")

    # -- containers --------------------------------------------------------------------------------------------------

    def _run(self, life: PodLife, pod: dict[str, Any], now: float) -> None:
        duration = self._seconds(life, pod)
        if life.started_at is None:
            if not self._start(life, pod, now, duration):
                return
            pod = self._store.get("Pod", life.namespace, life.name) or pod
        is_loaded = life.started_at is not None and now >= life.started_at + LOAD * duration
        outcome = self.outcome(life)
        if is_loaded and outcome.name == "exits":
            self._end(life, pod, now, outcome.log_lines or EXIT_LOG)
            return
        life.log = list((outcome.log_lines or READY_LOG) if is_loaded else READY_LOG[:1])
        is_ready = is_loaded and outcome.name != "unhealthy"
        if is_loaded and not is_ready and not life.complained:
            life.complained = True
            container = pod["spec"]["containers"][0]
            kind = "Startup" if "startupProbe" in container else "Readiness"
            message = f"{kind} probe failed: HTTP probe failed with statuscode: 503"
            self._events.note(pod, "Unhealthy", message, KUBELET, warning=True)
        life.complained = life.complained and not is_ready
        self._show(life, pod, {"running": {"startedAt": pod["status"]["startTime"]}}, is_ready=is_ready)

    def _start(self, life: PodLife, pod: dict[str, Any], now: float, duration: float) -> bool:
        """Pull the image, make the container, start it. False if it is too early or cannot be done."""
        if now < life.next_try:
            return False
        try:
            self._check_volumes(pod)
        except NotMadeError as error:
            self._cannot_start(life, pod, now, error, event="FailedMount", state="ContainerCreating")
            return False
        image = pod["spec"]["containers"][0]["image"]
        if life.last_end is None and life.pull_failures == 0 and life.next_event == 0.0:
            life.next_event = now
            self._events.note(pod, "Pulling", f'Pulling image "{image}"', KUBELET)
            self._show(life, pod, {"waiting": {"reason": "ContainerCreating"}}, is_ready=False)
            pod = self._store.get("Pod", life.namespace, life.name) or pod
        due = life.placed_at + PULL * duration
        if life.last_end is None and now < due:
            return False
        try:
            self._check_pull(life, pod, image)
            self._check_configuration(pod)
        except NotMadeError as error:
            event = "Failed"
            life.pull_failures += error.reason == "ErrImagePull"
            again = error.reason == "ErrImagePull" and life.pull_failures > 1
            self._cannot_start(life, pod, now, error, event=event, state="ImagePullBackOff" if again else error.reason)
            return False
        self._note_start(life, pod, image)
        if life.last_end is not None:
            life.restarts += 1
            life.started_at = now
        else:
            # What was due in the past happened then, but not what had to be tried again.
            life.started_at = now if life.next_try else due
        return True

    def _note_start(self, life: PodLife, pod: dict[str, Any], image: str) -> None:
        name = pod["spec"]["containers"][0]["name"]
        self._events.note(pod, "Pulled", f'Successfully pulled image "{image}"', KUBELET)
        self._events.note(pod, "Created", f"Created container: {name}", KUBELET)
        self._events.note(pod, "Started", f"Started container {name}", KUBELET)

    def _cannot_start(
        self, life: PodLife, pod: dict[str, Any], now: float, error: NotMadeError, *, event: str, state: str
    ) -> None:
        image = pod["spec"]["containers"][0]["image"]
        life.next_try = now + backoff(life.pull_failures)
        self._events.note(pod, event, str(error), KUBELET, warning=True)
        message = str(error)
        if state == "ImagePullBackOff":
            message = f'Back-off pulling image "{image}": ErrImagePull: {error}'
            self._events.note(pod, "BackOff", f'Back-off pulling image "{image}"', KUBELET)
        waiting = {"reason": state, "message": message} if state != "ContainerCreating" else {"reason": state}
        self._show(life, pod, {"waiting": waiting}, is_ready=False)

    def _end(self, life: PodLife, pod: dict[str, Any], now: float, log: list[str]) -> None:
        life.last_log = life.log = list(log)
        end = {
            "exitCode": 1,
            "reason": "Error",
            "startedAt": pod["status"]["startTime"],
            "finishedAt": timestamp(),
            "containerID": f"containerd://{life.restarts:064x}",
        }
        is_first = life.last_end is None
        life.last_end, life.started_at = end, None
        if is_first:
            # The first restart is at once.
            self._run(life, pod, now)
            return
        wait = backoff(life.restarts)
        life.next_try = now + wait
        container = pod["spec"]["containers"][0]["name"]
        what = f"restarting failed container={container} pod={life.name}_{life.namespace}({pod['metadata']['uid']})"
        self._events.note(pod, "BackOff", f"Back-off {what}", KUBELET, warning=True)
        waiting = {"reason": "CrashLoopBackOff", "message": f"back-off {wait:.0f}s {what}"}
        self._show(life, pod, {"waiting": waiting}, is_ready=False)

    def _show(self, life: PodLife, pod: dict[str, Any], state: dict[str, Any], *, is_ready: bool) -> None:
        """Write what a pod looks like."""
        is_running = "running" in state or life.last_end is not None
        ready = {"status": "True"} if is_ready else {"status": "False", "reason": "ContainersNotReady"}
        statuses = [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "ready": is_ready,
                "started": is_ready,
                "restartCount": life.restarts,
                "state": state,
                "lastState": {"terminated": life.last_end} if life.last_end else {},
            }
            for container in pod["spec"]["containers"]
        ]
        status = {
            **pod["status"],
            "phase": "Running" if is_running else "Pending",
            "conditions": [
                {"type": "PodScheduled", "status": "True"},
                {"type": "Initialized", "status": "True"},
                {"type": "ContainersReady", **ready},
                {"type": "Ready", **ready},
            ],
            "containerStatuses": statuses,
        }
        self._store.set_status(pod, status)

    # -- what a container needs --------------------------------------------------------------------------------------

    def _check_volumes(self, pod: dict[str, Any]) -> None:
        namespace = pod["metadata"]["namespace"]
        for volume in pod["spec"].get("volumes", []):
            for source, kind, key in (("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName")):
                reference = volume.get(source) or {}
                name = reference.get(key)
                if name and not reference.get("optional") and self._store.get(kind, namespace, name) is None:
                    what = f'MountVolume.SetUp failed for volume "{volume["name"]}"'
                    raise NotMadeError("FailedMount", f'{what} : {kind.lower()} "{name}" not found')

    def _check_pull(self, life: PodLife, pod: dict[str, Any], image: str) -> None:
        is_refused = self.outcome(life).name == "pull_refused"
        if not is_refused and (not image.startswith(PROTECTED) or self._has_login(pod)):
            return
        where = f"https://{REGISTRY}/proxy_auth?scope=repository%3A{image.partition('/')[2].partition(':')[0]}%3Apull"
        cause = f"failed to authorize: failed to fetch oauth token: unexpected status from GET request to {where}"
        tried = f'failed to pull and unpack image "{image}": failed to resolve reference "{image}"'
        raise NotMadeError("ErrImagePull", f'Failed to pull image "{image}": {tried}: {cause}: 401 Unauthorized')

    def _has_login(self, pod: dict[str, Any]) -> bool:
        """Whether one of the pod's pull secrets is for the registry and holds a user and a password."""
        namespace = pod["metadata"]["namespace"]
        for reference in pod["spec"].get("imagePullSecrets", []):
            secret = self._store.get("Secret", namespace, reference.get("name", ""))
            if secret is None:
                name = reference.get("name")
                problem = f"Unable to retrieve some image pull secrets ({name})"
                message = f"{problem}; attempting to pull the image may not succeed."
                self._events.note(pod, "FailedToRetrieveImagePullSecret", message, KUBELET, warning=True)
            elif secret["type"] == DOCKER_CONFIG and _is_login(secret["data"][".dockerconfigjson"]):
                return True
        return False

    def _check_configuration(self, pod: dict[str, Any]) -> None:
        """Check what the environment of the containers refers to."""
        namespace = pod["metadata"]["namespace"]
        for container in pod["spec"]["containers"]:
            for variable in container.get("env", []):
                source = variable.get("valueFrom") or {}
                for field_name, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
                    if field_name in source:
                        self._check_reference(namespace, kind, source[field_name])

    def _check_reference(self, namespace: str, kind: str, reference: dict[str, Any]) -> None:
        item = self._store.get(kind, namespace, reference["name"])
        if reference.get("optional"):
            return
        if item is None:
            raise NotMadeError("CreateContainerConfigError", f'{kind.lower()} "{reference["name"]}" not found')
        if reference["key"] not in item.get("data", {}):
            where = f"{kind} {namespace}/{reference['name']}"
            raise NotMadeError("CreateContainerConfigError", f"couldn't find key {reference['key']} in {where}")


def _is_login(encoded: str) -> bool:
    try:
        entry = json.loads(base64.b64decode(encoded))["auths"][REGISTRY]
        if "auth" in entry:
            user, _colon, password = base64.b64decode(entry["auth"]).decode().partition(":")
        else:
            user, password = entry["username"], entry["password"]
    except (KeyError, TypeError, ValueError, binascii.Error):
        return False
    return user == "$oauthtoken" and bool(password)


def read_log(life: PodLife | None, pod: dict[str, Any], *, container: str | None, previous: bool) -> list[str]:
    """Return what a pod has written. Raises KubeError where a kubelet has nothing to give."""
    name = pod["metadata"]["name"]
    names = [item["name"] for item in pod["spec"]["containers"]]
    if container is None and len(names) > 1:
        choices = " ".join(names)
        raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{choices}]")
    if container is not None and container not in names:
        raise bad_request(f"container {container} is not valid for pod {name}")
    if life is None or life.machine is None:
        raise KubeError(400, "BadRequest", f"pod {name} does not have a host assigned")
    if previous:
        if life.last_end is None:
            raise bad_request(f'previous terminated container "{container or names[0]}" in pod "{name}" not found')
        return life.last_log
    if life.started_at is None and life.last_end is None:
        waiting = pod["status"]["containerStatuses"][0]["state"].get("waiting", {})
        reason = waiting.get("reason", "ContainerCreating")
        if reason in ("ErrImagePull", "ImagePullBackOff"):
            reason = "image can't be pulled" if reason == "ErrImagePull" else "trying and failing to pull image"
        raise bad_request(f'container "{container or names[0]}" in pod "{name}" is waiting to start: {reason}')
    return life.log if life.started_at is not None else life.last_log
