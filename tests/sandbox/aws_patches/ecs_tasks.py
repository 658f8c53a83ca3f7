# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ECS task definitions and tasks."""

from __future__ import annotations

import re
from typing import Any

from moto.core.responses import ActionResult
from moto.ecs.models import EC2ContainerServiceBackend, Task, TaskDefinition
from moto.ecs.responses import EC2ContainerServiceResponse

from tests.sandbox.aws_patches.patching import aws_error, page, patches

Backend = EC2ContainerServiceBackend
Response = EC2ContainerServiceResponse

#: The longest container health check grace period ECS takes, in seconds.
MAX_START_PERIOD = 300


@patches(Backend, "_validate_container_defs")
def validate_container_definitions(
    original: Any, memory: str | None, container_definitions: list[dict[str, Any]], requires_compatibilities: Any
) -> None:
    """Memory of a container.

    AWS: for EC2, memoryReservation alone is enough.
    moto: with requiresCompatibilities EC2 it insists on memory.
    """
    on_ec2_only = requires_compatibilities == ["EC2"]
    original(memory, container_definitions, None if on_ec2_only else requires_compatibilities)


@patches(Backend, "register_task_definition")
def register_task_definition(
    original: Any, self: Backend, family: str, container_definitions: list[dict[str, Any]], *args: Any, **kwargs: Any
) -> TaskDefinition:
    """Register a task definition.

    AWS: checks the family name, memory against memoryReservation, GPU counts, startPeriod, and that secrets come
    with an execution role.
    moto: checks none of these.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", family or ""):
        raise aws_error("ClientException", "Family contains invalid characters.")
    for container in container_definitions:
        _check_container(container, has_execution_role=bool(kwargs.get("execution_role_arn")))
    registered: TaskDefinition = original(self, family, container_definitions, *args, **kwargs)
    return registered


def _check_container(container: dict[str, Any], *, has_execution_role: bool) -> None:
    name = container.get("name")
    memory, reservation = container.get("memory"), container.get("memoryReservation")
    if memory and reservation and int(reservation) > int(memory):
        raise aws_error(
            "ClientException",
            f"Invalid setting for container '{name}'. The value for 'memory' must be greater than or equal to "
            "'memoryReservation'.",
        )
    for requirement in container.get("resourceRequirements") or []:
        if requirement["type"] == "GPU" and not re.fullmatch(r"[1-9][0-9]*", requirement["value"]):
            raise aws_error("ClientException", f"Invalid GPU resource value '{requirement['value']}'.")
    start_period = (container.get("healthCheck") or {}).get("startPeriod")
    if start_period is not None and not 0 <= int(start_period) <= MAX_START_PERIOD:
        raise aws_error("ClientException", f"startPeriod must be between 0 and {MAX_START_PERIOD} seconds.")
    if container.get("secrets") and not has_execution_role:
        raise aws_error(
            "ClientException",
            "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.",
        )


@patches(Backend, "list_tasks")
def list_tasks(
    original: Any,
    self: Backend,
    cluster_str: str | None = None,
    container_instance: str | None = None,
    family: str | None = None,
    started_by: str | None = None,
    service_name: str | None = None,
    desired_status: str | None = None,
) -> list[Task]:
    """List tasks.

    AWS: serviceName filters; desiredStatus is RUNNING unless given.
    moto: ignores serviceName; without desiredStatus lists stopped tasks too.
    """
    if service_name:
        service = self._get_service(cluster_str or "default", service_name.split("/")[-1])
        service_name = service.name
    tasks: list[Task] = original(
        self, cluster_str, container_instance, family, started_by, None, desired_status or "RUNNING"
    )
    if service_name:
        tasks = [task for task in tasks if task.group == f"service:{service_name}"]
    return tasks


@patches(Response, "list_tasks")
def list_tasks_in_pages(original: Any, self: Response) -> ActionResult:
    """List tasks in pages.

    AWS: 100 to a page.
    moto: all on one page.
    """
    result: Any = original(self).result
    limit = int(self._get_param("maxResults") or 100)
    arns, next_token = page(result["taskArns"], limit, self._get_param("nextToken"))
    return ActionResult({"taskArns": arns, "nextToken": next_token})


@patches(Response, "describe_tasks")
def describe_tasks(original: Any, self: Response) -> ActionResult:
    """Describe tasks.

    AWS: those not there are listed as failures; at most 100 to a call.
    moto: leaves them out without a word.
    """
    asked = self._get_param("tasks") or []
    if len(asked) > 100:
        raise aws_error("InvalidParameterException", "tasks can have at most 100 items.")
    result: Any = original(self).result
    found = {task.task_arn.rsplit("/", 1)[-1] for task in result["tasks"]}
    failures = [{"arn": name, "reason": "MISSING"} for name in asked if name.rsplit("/", 1)[-1] not in found]
    return ActionResult({"tasks": result["tasks"], "failures": failures})
