# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Why a NIM on ECS does not run yet, or does not run at all: one sentence from what AWS says about it.

The wordings that are looked for are those of the ECS service event messages, stopped task errors and EC2 Auto Scaling
activity messages in AWS's documentation.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import HEALTH_PATH
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _aws_objects as objects
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_session import AwsSession

LOG_LINES = 5
EXITS_UNTIL_FAILED = 2
"""A container may exit once because a download broke off; twice means that it will not start like this."""

_QUOTA_MARKS = ("VcpuLimitExceeded", "vCPU capacity than your current vCPU limit", "vCPU limit")
_CAPACITY_MARKS = ("InsufficientInstanceCapacity", "do not have sufficient", "no Spot capacity")
_PERMANENT_PULL_MARKS = ("401", "403", "404", "unauthorized", "denied", "not found", "manifest unknown")


class Answer(t.NamedTuple):
    """A state (``stopped``, ``stopping``, ``starting``, ``running``, ``failed``) and the reason for it."""

    state: str
    reason: str | None = None


def look(session: AwsSession, service: t.Mapping[str, t.Any], group_name: str, explain: bool) -> Answer:
    """Tell the state of one service. A service that should run costs one call, with ``explain`` up to six."""
    off = switched_off(service)
    if off is not None:
        return off
    health = _target_health(session, service)
    answer = _by_health(service, health)
    if answer.state == "running" or not explain:
        return answer
    return _explain(session, service, group_name, health)


def switched_off(service: t.Mapping[str, t.Any]) -> Answer | None:
    """Tell the state of a service that should not run; None for one that should. Makes no call."""
    if service["status"] == "DRAINING":
        return Answer("stopping", "the service is being deleted")
    if service["desiredCount"] == 0:
        return Answer("stopping", "its task is still running") if service["runningCount"] else Answer("stopped")
    return None


def by_health(session: AwsSession, service: t.Mapping[str, t.Any]) -> Answer:
    """Tell from the load balancer whether a service is ready: one call."""
    return _by_health(service, _target_health(session, service))


def _by_health(service: t.Mapping[str, t.Any], health: t.Sequence[t.Mapping[str, t.Any]]) -> Answer:
    healthy = sum(1 for state in health if state["State"] == "healthy")
    if service["runningCount"] >= service["desiredCount"] and healthy >= service["desiredCount"]:
        return Answer("running")
    return Answer("starting", _from_health(health))


def wait_until(done: t.Callable[[], bool], timeout: float, what: str) -> None:
    """Poll with growing pauses until ``done`` says so. Raises ProviderError after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    delay = 0.5
    while not done():
        if time.monotonic() + delay > deadline:
            raise ProviderError(f"waited {timeout:.0f} s for {what}")
        time.sleep(delay)
        delay = min(delay * 1.5, 10.0)


def _explain(
    session: AwsSession, service: t.Mapping[str, t.Any], group_name: str, health: t.Sequence[t.Mapping[str, t.Any]]
) -> Answer:
    tasks = _tasks(session, service, "RUNNING")
    stopped = stopped_by_failure(_tasks(session, service, "STOPPED"), service)
    started = [task for task in tasks if task["lastStatus"] == "RUNNING"]
    if stopped and not started:
        return _from_stopped_tasks(session, service, stopped)
    if started:
        return Answer("starting", _from_health(health) or "the NIM is loading its model")
    blocked = from_events(service) or _from_scaling(session, group_name)
    if blocked:
        return blocked
    return before_start(tasks)


def before_start(tasks: t.Sequence[t.Mapping[str, t.Any]]) -> Answer:
    """Tell how far a service is of whose tasks none runs yet. Makes no call."""
    if any(task["lastStatus"] in ("PENDING", "ACTIVATING") for task in tasks):
        return Answer("starting", "the machine is up and pulls the image")
    return Answer("starting", "waiting for a GPU machine")


def _target_health(session: AwsSession, service: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    groups = [item["targetGroupArn"] for item in service.get("loadBalancers", []) if item.get("targetGroupArn")]
    if not groups:
        return []
    answer = session.call(
        "elbv2",
        "describe_target_health",
        f"read the health of {service['serviceName']}",
        ["TargetGroupNotFound"],
        TargetGroupArn=groups[0],
    )
    return [item["TargetHealth"] for item in answer["TargetHealthDescriptions"]] if answer else []


def _from_health(health: t.Sequence[t.Mapping[str, t.Any]]) -> str | None:
    for state in health:
        if state["State"] == "unhealthy":
            said = state.get("Description") or state.get("Reason") or "no reason given"
            return f"the NIM runs but is not ready ({HEALTH_PATH}): {said}"
        if state["State"] == "initial":
            return "the NIM runs and loads its model"
    return None


def _tasks(session: AwsSession, service: t.Mapping[str, t.Any], desired: str) -> list[dict[str, t.Any]]:
    """Return the newest tasks of a service, newest first."""
    name, cluster = service["serviceName"], service["clusterArn"]
    listed = session.call(
        "ecs",
        "list_tasks",
        f"list the tasks of {name}",
        cluster=cluster,
        serviceName=name,
        desiredStatus=desired,
        maxResults=10,
    )["taskArns"]
    if not listed:
        return []
    answer = session.call("ecs", "describe_tasks", f"read the tasks of {name}", cluster=cluster, tasks=listed)
    return sorted(answer["tasks"], key=lambda task: task["createdAt"], reverse=True)


def stopped_by_failure(tasks: t.Sequence[dict[str, t.Any]], service: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    """Leave out tasks of an earlier task definition and those that somebody stopped on purpose."""
    return [
        task
        for task in tasks
        if task["taskDefinitionArn"] == service["taskDefinition"]
        and task.get("stopCode") not in ("UserInitiated", "ServiceSchedulerInitiated")
    ]


def _from_stopped_tasks(
    session: AwsSession, service: t.Mapping[str, t.Any], tasks: t.Sequence[dict[str, t.Any]]
) -> Answer:
    newest = tasks[0]
    containers = newest.get("containers") or [{}]
    said = containers[0].get("reason") or newest.get("stoppedReason") or "no reason given"
    if "CannotPull" in said or "CannotPull" in newest.get("stoppedReason", ""):
        for_good = any(mark in said.lower() for mark in _PERMANENT_PULL_MARKS)
        return Answer("failed" if for_good else "starting", f"the image cannot be pulled: {said}")
    code = containers[0].get("exitCode")
    if code is not None:
        lines = _last_lines(session, service, newest)
        shown = f"; its last lines: {' | '.join(lines)}" if lines else "; it wrote no log"
        state = "failed" if len(tasks) >= EXITS_UNTIL_FAILED else "starting"
        return Answer(state, f"the container exited with code {code}{shown}")
    return Answer("failed" if len(tasks) >= EXITS_UNTIL_FAILED else "starting", f"the task stopped: {said}")


def _last_lines(session: AwsSession, service: t.Mapping[str, t.Any], task: t.Mapping[str, t.Any]) -> list[str]:
    cluster, name = service["clusterArn"].rpartition("/")[2], service["serviceName"]
    task_id = task["taskArn"].rpartition("/")[2]
    answer = session.call(
        "logs",
        "get_log_events",
        f"read the log of {name}",
        ["ResourceNotFoundException"],
        logGroupName=f"/budgetguard/{cluster}",
        logStreamName=f"{name}/{objects.CONTAINER}/{task_id}",
        limit=LOG_LINES,
        startFromHead=False,
    )
    return [event["message"].strip() for event in answer["events"]][-LOG_LINES:] if answer else []


def from_events(service: t.Mapping[str, t.Any]) -> Answer | None:
    """Look at the newest event only: older ones may tell of trouble that is over."""
    events = service.get("events", [])
    message = events[0]["message"] if events else ""
    if "unable to place a task" not in message:
        return None
    _before, _mark, after = message.partition("unable to place a task because ")
    return Answer("failed", f"the task does not fit on the machine: {after.rstrip()}")


def _from_scaling(session: AwsSession, group_name: str) -> Answer | None:
    answer = session.call(
        "autoscaling",
        "describe_scaling_activities",
        f"read the scaling activities of {group_name}",
        ["AutoScalingGroup name not found"],
        AutoScalingGroupName=group_name,
        MaxRecords=1,
    )
    activities = answer["Activities"] if answer else []
    if not activities or activities[0]["StatusCode"] != "Failed":
        return None
    said = activities[0].get("StatusMessage", "no reason given")
    if any(mark in said for mark in _QUOTA_MARKS):
        return Answer("failed", f"the account's quota for this GPU family is used up: {said}")
    if any(mark in said for mark in _CAPACITY_MARKS):
        return Answer("starting", f"AWS has no free GPU machine of this type now: {said}")
    return Answer("starting", f"the machine cannot be started: {said}")
