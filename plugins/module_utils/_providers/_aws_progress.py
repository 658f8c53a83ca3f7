# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""How far NIMs on ECS are, with one question at a time, however many there are.

The load balancer's health can only be asked for one service at once, the tasks of all services together. So each look
asks one question, the one that was asked longest ago, and keeps the answers to the others. The ids of the tasks are
taken from the newest service event ``has started 1 tasks: (task <id>)``, which saves the call that lists them.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _aws_reasons as reasons
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_session import AwsSession

Service = t.Mapping[str, t.Any]

_TASKS = "tasks"
"""The question for the tasks of all services of which none runs; every other question is a service's name."""

_MOST_TASKS = 100
"""How many tasks DescribeTasks takes."""

_TASK_ID = re.compile(r"\(task ([0-9a-f-]+)\)")


class Progress:
    """The answers so far, for one cluster."""

    def __init__(self, session: AwsSession) -> None:
        self._session = session
        self._answers: dict[str, reasons.Answer] = {}
        self._marks: dict[str, t.Any] = {}
        self._asked: dict[str, int] = {}
        self._turn = 0

    def look(self, services: t.Sequence[Service]) -> dict[str, reasons.Answer]:
        """Tell the state of services just read, by name, with at most one call."""
        self._turn += 1
        off = {service["serviceName"]: reasons.switched_off(service) for service in services}
        on = [service for service in services if off[service["serviceName"]] is None]
        for service in on:
            self._notice(service)
        self._ask(on)
        found = {name: answer for name, answer in off.items() if answer is not None}
        return {**found, **{service["serviceName"]: self._answers[service["serviceName"]] for service in on}}

    def _notice(self, service: Service) -> None:
        """Forget what was answered about a service in which something has happened since."""
        name = service["serviceName"]
        mark = (service["desiredCount"], service["runningCount"], service.get("events", [])[:1])
        if self._marks.get(name) == mark:
            return
        self._marks[name] = mark
        if _is_up(service):
            self._asked[name] = -1
            self._answers[name] = reasons.Answer("starting", "the NIM is loading its model")
        else:
            self._asked[_TASKS] = -1
            blocked = reasons.from_events(service)
            self._answers[name] = blocked or self._answers.get(name) or reasons.before_start([])

    def _ask(self, services: t.Sequence[Service]) -> None:
        up = {service["serviceName"]: service for service in services if _is_up(service)}
        below = [service for service in services if not _is_up(service)]
        tasks = {service["serviceName"]: _task_ids(service) for service in below}
        questions = [*([_TASKS] if any(tasks.values()) else []), *up]
        for service in below:
            if not tasks[service["serviceName"]] and reasons.from_events(service) is None:
                self._answers[service["serviceName"]] = reasons.before_start([])
        if not questions:
            return
        question = min(questions, key=lambda name: self._asked.get(name, -1))
        self._asked[question] = self._turn
        if question == _TASKS:
            self._ask_for_tasks(below, tasks)
        else:
            answer = reasons.by_health(self._session, up[question])
            self._answers[question] = answer if answer.reason or answer.state == "running" else self._answers[question]

    def _ask_for_tasks(self, services: t.Sequence[Service], tasks: t.Mapping[str, t.Sequence[str]]) -> None:
        ids = [task_id for found in tasks.values() for task_id in found][:_MOST_TASKS]
        answer = self._session.call(
            "ecs", "describe_tasks", "read the tasks", cluster=services[0]["clusterArn"], tasks=ids
        )
        by_id = {task["taskArn"].rpartition("/")[2]: task for task in answer["tasks"]}
        for service in services:
            name = service["serviceName"]
            own = [by_id[task_id] for task_id in tasks[name] if task_id in by_id]
            if reasons.from_events(service) is None and own:
                self._answers[name] = _from_tasks(service, own)


def _is_up(service: Service) -> bool:
    return bool(service["runningCount"] >= service["desiredCount"])


def _task_ids(service: Service) -> list[str]:
    """Return the newest tasks that the service's events name, as many as it should have. Newest events come first."""
    messages = [event["message"] for event in service.get("events", []) if "has started" in event["message"]]
    found = [task_id for message in messages for task_id in _TASK_ID.findall(message)]
    return found[: service["desiredCount"]]


def _from_tasks(service: Service, tasks: t.Sequence[dict[str, t.Any]]) -> reasons.Answer:
    """Tell how far a service is by its newest tasks. Whether it has failed for good is left to a closer look."""
    alive = [task for task in tasks if task["lastStatus"] != "STOPPED"]
    if any(task["lastStatus"] == "RUNNING" for task in alive):
        return reasons.Answer("starting", "the NIM is loading its model")
    failed = reasons.stopped_by_failure(tasks, service)
    if failed and not alive:
        containers = failed[0].get("containers") or [{}]
        said = containers[0].get("reason") or failed[0].get("stoppedReason") or "no reason given"
        return reasons.Answer("starting", f"the last task stopped: {said}")
    return reasons.before_start(alive)
