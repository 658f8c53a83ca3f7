# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Why a NIM on Kubernetes does not run, in one sentence, from its pods, their events and its last log lines.

Reasons are those of kubelet, scheduler and cluster autoscaler (kubernetes/kubernetes pkg/kubelet/events/event.go and
pkg/kubelet/images/types.go; kubernetes/autoscaler FAQ.md, "What events are emitted by CA?").
"""

from __future__ import annotations

import re
import typing as t

Object = t.Mapping[str, t.Any]
ReadLog = t.Callable[[str, bool], str]
"""Takes a pod's name and whether the container before the last restart is meant; returns its last lines."""

Found = tuple[str, str]
"""A state, ``starting`` or ``failed``, and the sentence."""

RESTARTS_THAT_FAIL = 3
"""A NIM that has ended so often will not get ready by itself."""

LOG_LINES = 5
_LONGEST_REASON = 400

_PULL_FAILED = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
_CONFIG_FAILED = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
_SCALE_UP_FAILED = ("FailedScaleUp", "FailedToScaleUpGroup")
_QUOTA_WORDS = re.compile(r"quota|limit[^.]{0,20}exceeded", re.IGNORECASE)
_VOLUME_FAILED = ("FailedAttachVolume", "FailedMount", "ProvisioningFailed")


def explain(deployment: Object, pods: t.Sequence[Object], events: t.Sequence[Object], read_log: ReadLog) -> Found:
    """Say why a Deployment that should run is not ready. ``events`` may be those of the whole namespace."""
    name = deployment["metadata"]["name"]
    alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    if not alive:
        return _no_pod(deployment, bool(pods))
    found = [_pod(pod, _events_of(pod["metadata"]["name"], events), name, events, read_log) for pod in alive]
    failed = [item for item in found if item[0] == "failed"]
    state, reason = (failed or found)[0]
    return state, _one_line(reason)


def _no_pod(deployment: Object, leaving: bool) -> Found:
    for condition in deployment.get("status", {}).get("conditions", []):
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return "failed", _one_line(f"the cluster refuses the pod: {condition.get('message', 'no reason given')}")
    if leaving:
        return "starting", "the pod that ran before is still ending"
    return "starting", "the cluster has not made a pod yet"


def _pod(pod: Object, own: t.Sequence[Object], name: str, events: t.Sequence[Object], read_log: ReadLog) -> Found:
    status = pod.get("status", {})
    container = next(iter(status.get("containerStatuses", [])), None)
    if container is not None:
        found = _container(pod, container, own, read_log)
        if found is not None:
            return found
    volume = _newest(own, _VOLUME_FAILED) or _newest(_events_of(f"{name}-cache", events), _VOLUME_FAILED)
    scheduled = next((item for item in status.get("conditions", []) if item["type"] == "PodScheduled"), None)
    if scheduled is None or scheduled["status"] != "True":
        return _unscheduled(scheduled or {}, own, volume)
    if volume is not None:
        return "starting", f"the model cache cannot be attached: {volume['message']}"
    if _newest(own, ("Pulling",)) and not _newest(own, ("Pulled",)):
        return "starting", "the machine is pulling the image"
    return "starting", "the machine is preparing the container"


def _unscheduled(condition: Object, own: t.Sequence[Object], volume: Object | None) -> Found:
    """Explain a pod without a machine."""
    failed, refused = _newest(own, _SCALE_UP_FAILED), _newest(own, ("NotTriggerScaleUp",))
    triggered = _newest(own, ("TriggeredScaleUp",))
    if failed is not None and not _later(triggered, failed):
        return _no_scale_up(failed["message"])
    if triggered is not None and not _later(refused, triggered):
        return "starting", "a GPU machine is being started"
    if volume is not None:
        return "starting", f"the model cache cannot be made: {volume['message']}"
    if refused is not None:
        return _no_pool_helps(refused["message"])
    message = condition.get("message", "")
    return "starting", f"waiting for a GPU machine: {message}" if message else "waiting for a GPU machine"


def _no_scale_up(message: str) -> Found:
    """Explain why the cloud gave no machine when it was asked for one."""
    if _QUOTA_WORDS.search(message):
        return "failed", f"the quota for GPU machines is used up: {message}"
    return "starting", f"the cloud has no free GPU machine of this type now: {message}"


def _no_pool_helps(message: str) -> Found:
    """Explain why the autoscaler did not even ask for a machine."""
    if "Insufficient memory" in message or "Insufficient nvidia.com/gpu" in message:
        return "failed", f"the NIM does not fit on the machine: {message}"
    return "starting", f"no GPU machine can be added: {message}"


def _container(pod: Object, container: Object, own: t.Sequence[Object], read_log: ReadLog) -> Found | None:
    """Explain a container that kubelet has had a try with; None if it has not."""
    state = container.get("state", {})
    waiting, ended = state.get("waiting", {}), state.get("terminated")
    reason = waiting.get("reason", "")
    if reason in _PULL_FAILED:
        return "failed", f"the image cannot be pulled: {_pull_answer(waiting, own)}"
    if reason in _CONFIG_FAILED:
        return "failed", f"the container cannot be made: {waiting.get('message', reason)}"
    last = ended or container.get("lastState", {}).get("terminated")
    if last is not None and (ended or reason == "CrashLoopBackOff" or not container.get("ready")):
        return _ended(pod, container, last, own, read_log, is_last_run=ended is None)
    if "running" in state:
        return "starting", _loading(own)
    return None


def _ended(
    pod: Object, container: Object, last: Object, own: t.Sequence[Object], read_log: ReadLog, is_last_run: bool
) -> Found:
    """Explain a container that has ended at least once."""
    again = container.get("restartCount", 0) >= RESTARTS_THAT_FAIL
    waits = container.get("state", {}).get("waiting", {}).get("reason") == "CrashLoopBackOff"
    state = "failed" if again or waits else "starting"
    if last.get("reason") == "OOMKilled":
        return state, "the NIM was ended because it used more memory than the machine gives it (OOMKilled)"
    probe = _newest(own, ("Unhealthy",))
    if probe is not None and last.get("exitCode") in (137, 143):
        return state, f"the NIM was restarted because it did not get ready in time: {probe['message']}"
    lines = [line.strip() for line in read_log(pod["metadata"]["name"], is_last_run).splitlines() if line.strip()]
    text = f"the NIM exited with code {last.get('exitCode', 'unknown')}"
    return state, f"{text}; its last lines: {' | '.join(lines[-LOG_LINES:])}" if lines else f"{text} and wrote no log"


def _loading(own: t.Sequence[Object]) -> str:
    probe = _newest(own, ("Unhealthy",))
    text = "the NIM is downloading and loading its model"
    return f"{text} ({probe['message']})" if probe is not None else text


def _pull_answer(waiting: Object, own: t.Sequence[Object]) -> str:
    """Return what the registry said: kubelet puts it into the event, and only newer ones into the pod."""
    failed = [event for event in own if event.get("reason") == "Failed" and "pull image" in event.get("message", "")]
    newest = _newest(failed, ("Failed",))
    return str(newest["message"] if newest is not None else waiting.get("message", waiting.get("reason", "")))


def _events_of(name: str, events: t.Sequence[Object]) -> list[Object]:
    return [event for event in events if event.get("involvedObject", {}).get("name") == name]


def _time(event: Object) -> str:
    """Return when an event was last seen, as text that sorts. Newer writers leave the older fields empty."""
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event.get("metadata", {}).get("creationTimestamp")
        or ""
    )


def _newest(events: t.Sequence[Object], reasons: t.Container[str]) -> Object | None:
    """Return the last event of one of the reasons; of two in the same second, the one that stands later."""
    found = [event for event in events if event.get("reason") in reasons]
    return max(enumerate(found), key=lambda pair: (_time(pair[1]), pair[0]))[1] if found else None


def _later(event: Object | None, other: Object) -> bool:
    return event is not None and _time(event) > _time(other)


def _one_line(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _LONGEST_REASON else f"{flat[: _LONGEST_REASON - 3]}..."
