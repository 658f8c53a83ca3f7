# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of ECS services: instances come and go, tasks start, fail and stop, targets become healthy.

Nothing here sleeps and there is no thread. `EcsRuntime.advance` looks at the clock and brings moto's state to where it
would be by now; the server calls it before each request. A start takes `Defaults.startup_seconds` (or the service's
own delay) and passes these points:

    0     the task is made, PROVISIONING
    0.1   the Auto Scaling group launches an instance, or fails to
    0.4   the instance has joined the cluster: the task is PENDING, or does not fit
    0.7   the image is pulled: the task is RUNNING and its target "initial", or the pull was refused
    1.0   the target is healthy or unhealthy, or the container has exited
"""

from __future__ import annotations

import base64
import ipaddress
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from moto.autoscaling.models import FakeAutoScalingGroup, autoscaling_backends
from moto.core.exceptions import ServiceException
from moto.core.utils import utcnow
from moto.ec2.models import ec2_backends
from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS, INSTANCE_TYPES
from moto.ecs.models import ContainerInstance, EC2ContainerServiceBackend, Service, Task, TaskDefinition, ecs_backends
from moto.elbv2.models import elbv2_backends
from moto.iam.models import iam_backends
from moto.logs.models import logs_backends
from moto.secretsmanager.models import secretsmanager_backends

from tests.sandbox.aws_patches.autoscaling import finish_deletions
from tests.sandbox.aws_patches.ecs_clusters import live_tasks, provider_name
from tests.sandbox.aws_patches.ecs_services import add_event
from tests.sandbox.state import ACCOUNT_ID, DEFAULTS, clock, seconds

OUTCOMES = ("ready", "no_capacity", "quota", "pull_refused", "does_not_fit", "unhealthy", "exits")

#: Points of a start, as parts of its duration.
LAUNCHED, JOINED, PULLED, STARTED = 0.1, 0.4, 0.7, 1.0
#: Seconds until ECS tries again after a task failed, doubled with each failure in a row. AWS throttles likewise.
FIRST_RETRY, LONGEST_RETRY = 1.0, 30.0
#: Seconds between repeated failed launches and repeated events about placement.
REPEAT_SECONDS = 20.0
#: Consecutive failures at which an enabled circuit breaker ends a deployment that never became steady. AWS: from 3.
CIRCUIT_BREAKER_THRESHOLD = 3
#: Memory that the host's own processes take, in MiB; a task gets the rest of the instance's.
HOST_MEMORY_MIB = 1024
#: First port of Docker's dynamic range, for hostPort 0.
FIRST_DYNAMIC_PORT = 32768

TROUBLESHOOTING = "For more information, see the Troubleshooting section of the Amazon ECS Developer Guide."
NOT_PLACED = "was unable to place a task because no container instance met all of its requirements."
#: What ECS reports as the bindIP of a container in bridge mode.
EVERY_ADDRESS = str(ipaddress.IPv4Address(0))
NO_MEMORY = "has insufficient memory available."
EXIT_LOG = [
    "INFO     Starting NIM service",
    "ERROR    Unable to download the model: 403 Client Error: Forbidden",
    "ERROR    Model could not be loaded, shutting down",
]
READY_LOG = ["INFO     Starting NIM service", "INFO     Application startup complete."]


@dataclass
class Outcome:
    """What a test has said shall become of a service."""

    name: str = "ready"
    #: Duration of a start in seconds; None means the default.
    delay_seconds: float | None = None
    #: The container's last words; None means some that fit.
    log_lines: list[str] | None = None

    @classmethod
    def from_json(cls, outcome: object, delay_seconds: object, log_lines: object) -> Outcome:
        """Read what a test has sent. Raises ValueError that says what is wrong."""
        if outcome not in OUTCOMES:
            raise ValueError(f"outcome must be one of {', '.join(OUTCOMES)}, got {outcome!r}")
        delay = None if delay_seconds is None else seconds("delay_seconds", delay_seconds)
        if log_lines is None:
            return cls(str(outcome), delay)
        if not isinstance(log_lines, list) or not all(isinstance(line, str) for line in log_lines):
            raise ValueError("log_lines must be a list of texts")
        return cls(str(outcome), delay, log_lines)


def runs_on_fargate(service: Service) -> bool:
    """Whether the tasks of a service need no instance."""
    return service.launch_type == "FARGATE"


class ServiceTask(Task):
    """A task that the service scheduler started. Unlike moto's own, its status changes with the clock alone."""

    def __init__(self, service: Service, definition: TaskDefinition, backend: EC2ContainerServiceBackend) -> None:
        strategy = getattr(service, "capacity_provider_strategy", None) or []
        super().__init__(
            cluster=backend.clusters[service.cluster_name],
            task_definition=definition,
            container_instance_arn=None,
            # On Fargate the task as a whole says what it needs, and nothing is taken from an instance.
            resource_requirements=None
            if runs_on_fargate(service)
            else backend._calculate_task_resource_requirements(definition),
            backend=backend,
            group=f"service:{service.name}",
            networking_configuration=getattr(service, "network_configuration", None),
            launch_type="FARGATE" if runs_on_fargate(service) else "EC2",
            started_by=str(service.deployments[0]["id"]),
            tags=list(service.tags) if service.propagate_tags == "SERVICE" else [],
            capacity_provider_name=provider_name(strategy[0]["capacityProvider"]) if strategy else None,
        )
        self._current_status: str | None = "PROVISIONING"
        self.definition = definition
        self.started_at: Any = None
        self.stopped_at: Any = None
        self.stop_code: str | None = None
        self.created_at = utcnow()
        self.version = 1
        for container in self.containers:
            container.task_arn = self.task_arn
            container.exitCode = None  # type: ignore[assignment]  # AWS leaves it out while the container runs
            container.health_status = "UNKNOWN"

    @property
    def status(self) -> str | None:
        """The last known status, in ECS's words."""
        return self._current_status

    @status.setter
    def status(self, value: str | None) -> None:
        self._current_status = value
        self.version = getattr(self, "version", 0) + 1
        for container in getattr(self, "containers", []):
            container.last_status = "PENDING" if value == "PROVISIONING" else value

    def advance(self) -> None:
        """Do nothing: moto would move the task on whenever it is described."""

    @property
    def _containers(self) -> list[dict[str, Any]]:
        definitions: Any = self.definition.container_definitions
        found: list[dict[str, Any]] = definitions
        return found

    @property
    def container(self) -> dict[str, Any]:
        """The definition of the task's first container."""
        return self._containers[0]

    @property
    def memory_mib(self) -> int:
        """Memory that has to be free for the task."""
        return sum(int(item.get("memoryReservation") or item.get("memory") or 0) for item in self._containers)

    def gpus(self, available: int) -> int:
        """GPUs the task reserves on an instance that has so many. ``ALL`` means as many as there are."""
        wanted = 0
        for container in self._containers:
            for requirement in container.get("resourceRequirements") or []:
                if requirement["type"] == "GPU":
                    wanted += available if requirement["value"] == "ALL" else int(requirement["value"])
        return wanted

    @property
    def host_ports(self) -> set[int]:
        """Fixed ports the task takes on its host."""
        return {
            int(mapping["hostPort"])
            for container in self._containers
            for mapping in container["portMappings"]
            if mapping.get("hostPort")
        }


@dataclass(eq=False)
class TaskLife:
    """One task that has not stopped, and where it is."""

    task: ServiceTask
    born: float
    instance_id: str | None = None
    #: (target group ARN, port) of the targets registered for the task.
    targets: list[tuple[str, int]] = field(default_factory=list)
    #: When to say the next time that it cannot be placed or launched.
    next_complaint: float = 0.0
    #: The outcome its targets show at present.
    shown: str | None = None


@dataclass
class ServiceLife:
    """What the runtime remembers of a service."""

    tasks: list[TaskLife] = field(default_factory=list)
    failures: int = 0
    next_start: float = 0.0
    steady: bool = False
    events_of_failure: int = 0


@dataclass
class Host:
    """An instance that has joined a cluster, and what of it is taken."""

    instance_id: str
    container_instance: ContainerInstance
    free_memory: int
    free_gpus: int
    all_gpus: int
    ports: set[int]
    tasks: int = 0


class EcsRuntime:
    """Brings all services, tasks, instances and targets to where the clock says they are. Needs STATE_LOCK held."""

    def __init__(self) -> None:
        self._outcomes: dict[str, Outcome] = {}
        self._lives: WeakKeyDictionary[Service, ServiceLife] = WeakKeyDictionary()
        self._idle_since: dict[str, float] = {}

    def reset(self) -> None:
        """Forget everything, outcomes included."""
        self.__init__()  # type: ignore[misc]

    def set_outcome(self, service_name: str, outcome: Outcome) -> None:
        """Say what shall become of the services of this name, in any cluster and region, from now on."""
        self._outcomes[service_name] = outcome

    def outcome_of(self, service_name: str) -> Outcome:
        """Return what shall become of a service."""
        return self._outcomes.get(service_name, Outcome())

    def container_in_service(self, service: Service) -> dict[str, Any] | None:
        """Return the first container of the oldest task that answers; None if none does."""
        ready = [item for item in self._tasks_of(service) if item.shown == "ready"]
        return ready[0].task.container if ready else None

    def advance(self) -> None:
        """Let everything happen that is due by now."""
        now = clock()
        for backend in list(ecs_backends[ACCOUNT_ID].values()):
            self._drop_lost_instances(backend)
            for service in list(backend.services.values()):
                if service.status != "INACTIVE":
                    self._advance_service(backend, service, now)
            self._scale_in(backend, now)
            _count_cluster_tasks(backend)
        for group_backend in list(autoscaling_backends[ACCOUNT_ID].values()):
            finish_deletions(group_backend)

    def _drop_lost_instances(self, backend: EC2ContainerServiceBackend) -> None:
        """Take ended instances out of their clusters, and stop the tasks that ran on them."""
        ec2 = ec2_backends[ACCOUNT_ID][backend.region_name]
        alive = {instance.id for instance in ec2.all_instances() if instance.state in ("pending", "running")}
        for container_instances in backend.container_instances.values():
            for key, container_instance in list(container_instances.items()):
                if container_instance.ec2_instance_id not in alive:
                    del container_instances[key]
        for service in backend.services.values():
            life = self._lives.get(service, ServiceLife())
            for item in list(life.tasks):
                if runs_on_fargate(service):
                    continue
                if item.instance_id is not None and item.instance_id not in alive:
                    reason = f"Host EC2 (instance {item.instance_id}) terminated."
                    self._stop_task(backend, service, life, item, reason, "TerminationNotice", exit_code=137)
                    life.steady = False

    # -- a service ---------------------------------------------------------------------------------------------------

    def _advance_service(self, backend: EC2ContainerServiceBackend, service: Service, now: float) -> None:
        life = self._lives.setdefault(service, ServiceLife())
        self._stop_surplus(backend, service, life)
        self._start_missing(backend, service, life, now)
        for task_life in list(life.tasks):
            self._advance_task(backend, service, life, task_life, now)
        self._report(service, life, now)

    def _stop_surplus(self, backend: EC2ContainerServiceBackend, service: Service, life: ServiceLife) -> None:
        primary = service.deployments[0]["id"]
        outdated = [item for item in life.tasks if item.task.started_by != primary]
        current = [item for item in life.tasks if item.task.started_by == primary]
        surplus = outdated + current[service.desired_count :]
        if runs_on_fargate(service) and sum(item.shown == "ready" for item in current) < service.desired_count:
            # As minimumHealthyPercent 100 and maximumPercent 200 say: an old copy goes when a new one answers.
            surplus = current[service.desired_count :]
        for item in surplus:
            reason = f"Scaling activity initiated by (deployment {item.task.started_by})"
            self._stop_task(backend, service, life, item, reason, "ServiceSchedulerInitiated", exit_code=0)
        if surplus:
            life.steady = False
            ids = " ".join(f"(task {item.task.id})" for item in surplus)
            add_event(service, f"has stopped {len(surplus)} running tasks: {ids}.")

    def _start_missing(
        self, backend: EC2ContainerServiceBackend, service: Service, life: ServiceLife, now: float
    ) -> None:
        primary = service.deployments[0]["id"]
        present = [item for item in life.tasks if not runs_on_fargate(service) or item.task.started_by == primary]
        missing = service.desired_count - len(present)
        if missing <= 0 or now < life.next_start or service.deployments[0]["rolloutState"] == "FAILED":
            return
        life.steady = False
        definition = backend.describe_task_definition(service.task_definition or "")
        for _number in range(missing):
            task = ServiceTask(service, definition, backend)
            backend.tasks.setdefault(service.cluster_name, {})[task.task_arn] = task
            life.tasks.append(TaskLife(task, born=now))

    def _report(self, service: Service, life: ServiceLife, now: float) -> None:
        """Bring the service's counts, deployments and state up to date."""
        service.running_count = sum(1 for item in life.tasks if item.task.status == "RUNNING")
        service.pending_count = len(life.tasks) - service.running_count
        primary = service.deployments[0]
        older = [item for item in life.tasks if item.task.started_by != primary["id"]]
        running_of_older = sum(1 for item in older if item.task.status == "RUNNING")
        counts = {
            "desiredCount": service.desired_count,
            "runningCount": service.running_count - running_of_older,
            "pendingCount": service.pending_count - (len(older) - running_of_older),
            "failedTasks": life.failures,
        }
        if any(primary[name] != value for name, value in counts.items()):
            primary.update(counts, updatedAt=utcnow())
        alive = {item.task.started_by for item in older}
        service.deployments[1:] = [item for item in service.deployments[1:] if item["id"] in alive]
        steady = len(life.tasks) == service.desired_count and all(item.shown == "ready" for item in life.tasks)
        if steady and not life.steady:
            life.failures = primary["failedTasks"] = 0
            if primary["rolloutState"] == "IN_PROGRESS":
                primary["rolloutState"] = "COMPLETED"
                primary["rolloutStateReason"] = f"ECS deployment {primary['id']} completed."
                add_event(service, f"(deployment {primary['id']}) deployment completed.")
            add_event(service, "has reached a steady state.")
        life.steady = steady
        if service.status == "DRAINING" and not life.tasks and now >= getattr(service, "sandbox_drained_at", 0.0):
            service.status = "INACTIVE"

    # -- a task ------------------------------------------------------------------------------------------------------

    def _advance_task(
        self, backend: EC2ContainerServiceBackend, service: Service, life: ServiceLife, item: TaskLife, now: float
    ) -> None:
        outcome = self.outcome_of(service.name)
        duration = DEFAULTS.startup_seconds if outcome.delay_seconds is None else outcome.delay_seconds
        age = now - item.born
        if item.task.status == "PROVISIONING" and runs_on_fargate(service):
            if age >= JOINED * duration:
                self._bind_address(service, item)
        elif item.task.status == "PROVISIONING":
            self._place(backend, service, item, outcome, duration, now)
        if item.task.status == "PENDING" and age >= PULLED * duration:
            self._pull(backend, service, life, item, outcome, now)
        if item.task.status == "RUNNING" and age >= STARTED * duration:
            self._run(backend, service, life, item, outcome, now)

    def _place(
        self,
        backend: EC2ContainerServiceBackend,
        service: Service,
        item: TaskLife,
        outcome: Outcome,
        duration: float,
        now: float,
    ) -> None:
        """Get the task an instance: a free one, or a new one from its capacity provider's group."""
        age = now - item.born
        group = _group_of(backend, item.task.capacity_provider_name)
        if group is not None and age >= LAUNCHED * duration and not self._has_room(backend, group, item):
            objection = _refusal_of_launch(group, outcome.name) or _launch_instance(group)
            if objection is not None:
                self._fail_to_launch(group, item, objection, now)
                return
        if age < JOINED * duration:
            return
        if group is not None:
            _join_instances(backend, service.cluster_name, group)
        hosts = self._hosts(backend, service.cluster_name, group)
        reason = ""
        for host in hosts:
            reason = NO_MEMORY if outcome.name == "does_not_fit" else _misfit(item.task, host)
            if not reason:
                self._bind(service, item, host)
                return
        if now < item.next_complaint or (item.task.capacity_provider_name and not hosts):
            return
        item.next_complaint = now + REPEAT_SECONDS
        if hosts:
            closest = f"The closest matching (container-instance {hosts[-1].container_instance.id})"
            add_event(service, f"{NOT_PLACED} {closest} {reason} {TROUBLESHOOTING}")
        else:
            why = "Reason: No Container Instances were found in your cluster."
            add_event(service, f"{NOT_PLACED} {why} {TROUBLESHOOTING}")

    def _has_room(self, backend: EC2ContainerServiceBackend, group: FakeAutoScalingGroup, item: TaskLife) -> bool:
        """Whether the group need not grow for this task.

        True also if there is an instance that no other task holds or waits for, fitting or not: an instance of the
        same type would not fit either.
        """
        if len(group.instance_states) >= int(group.max_size or 0):
            return True
        held = {other.instance_id for other in self._all_tasks(backend) if other.instance_id}
        free = [state for state in group.instance_states if state.instance_id not in held]
        waiting = [
            other
            for other in self._all_tasks(backend)
            if other.task.status == "PROVISIONING"
            and other.task.capacity_provider_name == item.task.capacity_provider_name
        ]
        if len(free) > waiting.index(item):
            return True
        hosts = self._hosts(backend, item.task.cluster_name, group)
        return any(not _misfit(item.task, host) for host in hosts)

    def _fail_to_launch(self, group: FakeAutoScalingGroup, item: TaskLife, message: str, now: float) -> None:
        group.desired_capacity = min(len(group.instance_states) + 1, int(group.max_size or 0))
        if now >= item.next_complaint:
            item.next_complaint = now + REPEAT_SECONDS
            _add_activity(group, "Launching a new EC2 instance", "Failed", f"{message} Launching EC2 instance failed.")

    def _bind(self, service: Service, item: TaskLife, host: Host) -> None:
        task = item.task
        item.instance_id = host.instance_id
        fields: Any = task
        fields.container_instance_arn = host.container_instance.container_instance_arn
        fields.availability_zone = host.container_instance.attributes["ecs.availability-zone"]
        task.status = "PENDING"
        add_event(service, f"has started 1 tasks: (task {task.id}).")

    def _bind_address(self, service: Service, item: TaskLife) -> None:
        """Give a task on Fargate a network interface of its own. Its address stands in for an instance."""
        attachments: Any = item.task.attachments
        details = {entry["name"]: entry["value"] for entry in attachments[0]["details"]}
        item.instance_id = details["privateIPv4Address"]
        item.task.status = "PENDING"
        add_event(service, f"has started 1 tasks: (task {item.task.id}).")

    def _pull(
        self,
        backend: EC2ContainerServiceBackend,
        service: Service,
        life: ServiceLife,
        item: TaskLife,
        outcome: Outcome,
        now: float,
    ) -> None:
        if outcome.name == "pull_refused":
            problem: str | None = _pull_refusal(str(item.task.container["image"]))
        else:
            problem = _startup_problem(backend, item.task)
        if problem:
            reason = "Task failed to start"
            self._fail_task(backend, service, life, item, reason, "TaskFailedToStart", now, container_reason=problem)
            return
        item.task.status = "RUNNING"
        item.task.started_at = utcnow()
        item.task.connectivity = "CONNECTED"  # type: ignore[attr-defined]
        self._register_targets(backend, service, item)

    def _register_targets(self, backend: EC2ContainerServiceBackend, service: Service, item: TaskLife) -> None:
        balancers = elbv2_backends[ACCOUNT_ID][backend.region_name]
        bindings = []
        for entry in service.load_balancers:
            group: Any = balancers.target_groups.get(entry.get("targetGroupArn") or "")
            if group is None:
                continue
            port = _host_port(item.task, entry)
            balancers.register_targets(group.arn, [{"Id": item.instance_id, "Port": port}])
            group.sandbox_health[item.instance_id] = (
                "initial",
                "Elb.RegistrationInProgress",
                "Target registration is in progress",
            )
            item.targets.append((group.arn, port))
            bindings.append(
                {
                    "bindIP": EVERY_ADDRESS,
                    "containerPort": entry["containerPort"],
                    "hostPort": port,
                    "protocol": "tcp",
                }
            )
            add_event(service, f"registered 1 targets in (target-group {group.arn})")
        item.task.containers[0].network_bindings = bindings  # type: ignore[attr-defined]

    def _run(
        self,
        backend: EC2ContainerServiceBackend,
        service: Service,
        life: ServiceLife,
        item: TaskLife,
        outcome: Outcome,
        now: float,
    ) -> None:
        """Let a running task show the service's outcome. The outcome may change while it runs."""
        if outcome.name == "exits":
            lines = outcome.log_lines if outcome.log_lines is not None else EXIT_LOG
            _write_log(backend, item.task, lines)
            reason = "Essential container in task exited"
            self._fail_task(backend, service, life, item, reason, "EssentialContainerExited", now, exit_code=1)
            return
        shown = "unhealthy" if outcome.name == "unhealthy" else "ready"
        if item.shown == shown:
            return
        if item.shown is None:
            _write_log(backend, item.task, outcome.log_lines if outcome.log_lines is not None else READY_LOG)
        item.shown = shown
        health: tuple[str, str | None, str | None] = ("healthy", None, None)
        if shown == "unhealthy":
            health = ("unhealthy", "Target.ResponseCodeMismatch", "Health checks failed with these codes: [503]")
        balancers = elbv2_backends[ACCOUNT_ID][backend.region_name]
        for arn, port in item.targets:
            group: Any = balancers.target_groups.get(arn)
            if group is None:
                continue
            group.sandbox_health[item.instance_id] = health
            if shown == "unhealthy":
                add_event(
                    service,
                    f"(instance {item.instance_id}) (port {port}) is unhealthy in (target-group {arn}) due to "
                    f"(reason {health[2]})",
                )

    def _fail_task(
        self,
        backend: EC2ContainerServiceBackend,
        service: Service,
        life: ServiceLife,
        item: TaskLife,
        reason: str,
        stop_code: str,
        now: float,
        *,
        exit_code: int | None = None,
        container_reason: str | None = None,
    ) -> None:
        """Stop a task that went wrong, and put off the next try."""
        self._stop_task(backend, service, life, item, reason, stop_code, exit_code, container_reason)
        life.failures += 1
        life.next_start = now + min(FIRST_RETRY * 2 ** (life.failures - 1), LONGEST_RETRY)
        if life.failures >= 2:
            add_event(service, f"is unable to consistently start tasks successfully. {TROUBLESHOOTING}")
        configuration = getattr(service, "deployment_configuration", {}) or {}
        breaker = configuration.get("deploymentCircuitBreaker") or {}
        primary = service.deployments[0]
        unfinished = primary["rolloutState"] == "IN_PROGRESS"
        if breaker.get("enable") and unfinished and life.failures >= CIRCUIT_BREAKER_THRESHOLD:
            primary["rolloutState"] = "FAILED"
            primary["rolloutStateReason"] = "ECS deployment circuit breaker: tasks failed to start."
            add_event(service, f"(deployment {primary['id']}) deployment failed: tasks failed to start.")

    def _stop_task(
        self,
        backend: EC2ContainerServiceBackend,
        service: Service,
        life: ServiceLife,
        item: TaskLife,
        reason: str,
        stop_code: str,
        exit_code: int | None = None,
        container_reason: str | None = None,
    ) -> None:
        task = item.task
        life.tasks.remove(item)
        container: Any = task.containers[0]
        if task.status == "RUNNING":
            container.exitCode = exit_code
        container.reason = container_reason
        task.status = "STOPPED"
        task.desired_status = "STOPPED"
        task.stopped_reason = reason
        task.stop_code = stop_code
        task.stopped_at = utcnow()
        balancers = elbv2_backends[ACCOUNT_ID][backend.region_name]
        for arn, _port in item.targets:
            group = balancers.target_groups.get(arn)
            if group is not None and item.instance_id in group.targets:
                group.deregister([{"Id": item.instance_id}])
                add_event(service, f"deregistered 1 targets in (target-group {arn})")

    # -- instances ---------------------------------------------------------------------------------------------------

    def _all_tasks(self, backend: EC2ContainerServiceBackend) -> list[TaskLife]:
        """Tasks of all services of a region that have not stopped."""
        return [item for service in backend.services.values() for item in self._tasks_of(service)]

    def _tasks_of(self, service: Service) -> list[TaskLife]:
        life = self._lives.get(service)
        return life.tasks if life is not None else []

    def _hosts(
        self, backend: EC2ContainerServiceBackend, cluster_name: str, group: FakeAutoScalingGroup | None
    ) -> list[Host]:
        """Return the instances in a cluster (of one group, or of none), with what is left on them."""
        members = None if group is None else {state.instance_id for state in group.instance_states}
        hosts = []
        for container_instance in backend.container_instances.get(cluster_name, {}).values():
            instance_id = container_instance.ec2_instance_id
            if members is None or instance_id in members:
                hosts.append(self._host(backend, container_instance))
        return hosts

    def _host(self, backend: EC2ContainerServiceBackend, container_instance: ContainerInstance) -> Host:
        memory, gpus = _instance_size(container_instance.attributes["ecs.instance-type"])
        host = Host(container_instance.ec2_instance_id, container_instance, memory, gpus, gpus, set())
        for item in self._all_tasks(backend):
            if item.instance_id == host.instance_id:
                host.free_memory -= item.task.memory_mib
                host.free_gpus -= item.task.gpus(gpus)
                host.ports |= item.task.host_ports
                host.tasks += 1
        return host

    def _scale_in(self, backend: EC2ContainerServiceBackend, now: float) -> None:
        """End instances of managed groups that no task has used for `Defaults.scale_in_seconds`."""
        for provider in backend.capacity_providers.values():
            group = _group_of(backend, provider.name)
            if group is None:
                continue
            tasks = [item for item in self._all_tasks(backend) if item.task.capacity_provider_name == provider.name]
            held = {item.instance_id for item in tasks if item.instance_id}
            waiting = sum(1 for item in tasks if item.instance_id is None)
            idle = [state for state in group.instance_states if state.instance_id not in held]
            # Those that a waiting task may get are not idle.
            idle = idle[waiting:]
            ending = [state for state in idle if self._idle_for(state.instance_id, now) >= DEFAULTS.scale_in_seconds]
            for state in group.instance_states:
                if state not in idle:
                    self._idle_since.pop(state.instance_id, None)
            ending = ending[: max(0, len(group.instance_states) - int(group.min_size or 0))]
            if ending:
                _end_instances(group, [state.instance_id for state in ending])
            elif not tasks and not group.instance_states:
                group.desired_capacity = int(group.min_size or 0)

    def _idle_for(self, instance_id: str, now: float) -> float:
        return now - self._idle_since.setdefault(instance_id, now)


# -- Auto Scaling groups and instances -------------------------------------------------------------------------------


def _group_of(backend: EC2ContainerServiceBackend, provider: str | None) -> FakeAutoScalingGroup | None:
    """Return the Auto Scaling group that ECS scales for a capacity provider; None if ECS does not manage it."""
    found = backend.capacity_providers.get(provider or "")
    if found is None or found.auto_scaling_group_provider["managedScaling"]["status"] != "ENABLED":
        return None
    arn = found.auto_scaling_group_provider["autoScalingGroupArn"]
    groups = autoscaling_backends[ACCOUNT_ID][backend.region_name].autoscaling_groups.values()
    return next((group for group in groups if group.arn == arn and not hasattr(group, "status")), None)


def _refusal_of_launch(group: FakeAutoScalingGroup, outcome: str) -> str | None:
    """Return why EC2 starts no instance if a test has said so, else None."""
    if outcome == "quota":
        return (
            "You have requested more vCPU capacity than your current vCPU limit of 0 allows for the instance bucket "
            "that the specified instance type belongs to. Please visit "
            "http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit."
        )
    if outcome != "no_capacity":
        return None
    zones = sorted(group.availability_zones)
    return (
        f"We currently do not have sufficient {group.instance_type} capacity in the Availability Zone you requested "
        f"({zones[0]}). Our system will be working on provisioning additional capacity. You can currently get "
        f"{group.instance_type} capacity by not specifying an Availability Zone in your request or choosing "
        f"{', '.join(zones[1:]) or zones[0]}."
    )


def _objection_of_ec2(group: FakeAutoScalingGroup) -> str | None:
    """Return why EC2 could not start what the launch template asks for, else None. moto starts anything."""
    ec2 = ec2_backends[ACCOUNT_ID][group.region]
    template = group.ec2_launch_template
    if template is not None and template.id not in ec2.launch_templates:
        return f"The specified launch template, with template ID {template.id}, does not exist."
    if group.instance_type not in INSTANCE_TYPES:
        return f"Invalid value '{group.instance_type}' for InstanceType."
    offering = _zones_offering(group.instance_type, group.region)
    if not offering & set(group.availability_zones):
        zone = sorted(group.availability_zones)[0]
        return (
            f"Your requested instance type ({group.instance_type}) is not supported in your requested Availability "
            f"Zone ({zone}). Please retry your request by not specifying an Availability Zone or choosing "
            f"{', '.join(sorted(offering)) or 'another region'}."
        )
    for security_group in _template_data(group).get("SecurityGroupIds") or []:
        if ec2.get_security_group_from_id(security_group) is None:
            return f"The security group '{security_group}' does not exist."
    return None


def _zones_offering(instance_type: str, region: str) -> set[str]:
    offerings = INSTANCE_TYPE_OFFERINGS["availability-zone"].get(region, [])
    return {item["Location"] for item in offerings if item["InstanceType"] == instance_type}


def _launch_instance(group: FakeAutoScalingGroup) -> str | None:
    """Let a group grow by one. Returns what EC2 objects to, such as a security group that is gone, else None."""
    objection = _objection_of_ec2(group)
    if objection is not None:
        return objection
    before = {state.instance_id for state in group.instance_states}
    try:
        group.set_desired_capacity(len(before) + 1)
    except ServiceException as error:
        return error.message
    for state in group.instance_states:
        if state.instance_id not in before:
            _add_activity(group, f"Launching a new EC2 instance: {state.instance_id}", "Successful", None)
    return None


def _end_instances(group: FakeAutoScalingGroup, instance_ids: list[str]) -> None:
    # moto ends those at the head of the list.
    group.instance_states.sort(key=lambda state: state.instance_id not in instance_ids)
    group.set_desired_capacity(len(group.instance_states) - len(instance_ids))
    for instance_id in instance_ids:
        _add_activity(group, f"Terminating EC2 instance: {instance_id}", "Successful", None)


def _add_activity(group: FakeAutoScalingGroup, description: str, status: str, message: str | None) -> None:
    """Put an entry on top of what DescribeScalingActivities shows."""
    now = utcnow()
    if message:
        description = f"{description}.  Status Reason: {message}"
    activity = {
        "ActivityId": str(uuid.uuid4()),
        "AutoScalingGroupName": group.name,
        "AutoScalingGroupARN": group.arn,
        "Description": description,
        "Cause": f"At {now:%Y-%m-%dT%H:%M:%SZ} the policy ECSManagedAutoScalingPolicy changed the desired capacity.",
        "StartTime": now,
        "EndTime": now,
        "StatusCode": status,
        "StatusMessage": message,
        "Progress": 100,
        "Details": "{}",
    }
    fields: Any = group
    fields.sandbox_activities = [activity, *getattr(group, "sandbox_activities", [])][:100]


def _join_instances(backend: EC2ContainerServiceBackend, cluster_name: str, group: FakeAutoScalingGroup) -> None:
    """Let new instances of a group register with the cluster that their user data names.

    An instance whose launch template names another cluster, or has no instance profile, never joins, as on AWS.
    """
    joined = {
        item.ec2_instance_id
        for container_instances in backend.container_instances.values()
        for item in container_instances.values()
    }
    if _cluster_in_user_data(group) != cluster_name or not _has_instance_profile(group):
        return
    for state in group.instance_states:
        if state.instance_id not in joined and state.instance.state == "running":
            container_instance = backend.register_container_instance(cluster_name, state.instance_id)
            _set_size(container_instance)


def _template_data(group: FakeAutoScalingGroup) -> dict[str, Any]:
    if group.ec2_launch_template is None:
        return {}
    data: dict[str, Any] = group.ec2_launch_template.get_version(group.launch_template_version).data
    return data


def _cluster_in_user_data(group: FakeAutoScalingGroup) -> str:
    raw = _template_data(group).get("UserData") or ""
    text = base64.b64decode(str(raw)).decode("utf-8", "replace")
    found = re.search(r"""ECS_CLUSTER=["']?([A-Za-z0-9_-]+)""", text)
    return found.group(1) if found else "default"


def _has_instance_profile(group: FakeAutoScalingGroup) -> bool:
    return bool(_template_data(group).get("IamInstanceProfile"))


def _instance_size(instance_type: str) -> tuple[int, int]:
    """Memory for tasks in MiB and number of GPUs, from moto's snapshot of AWS's data."""
    details: dict[str, Any] = INSTANCE_TYPES.get(instance_type, {})
    memory = int(details.get("MemoryInfo", {}).get("SizeInMiB", 0)) - HOST_MEMORY_MIB
    gpus = sum(int(gpu["Count"]) for gpu in details.get("GpuInfo", {}).get("Gpus", []))
    return memory, gpus


def _set_size(container_instance: ContainerInstance) -> None:
    """Set the true size: moto registers every instance with 4096 CPU units and 7482 MiB."""
    memory, gpus = _instance_size(container_instance.attributes["ecs.instance-type"])
    for resources in (container_instance.registered_resources, container_instance.remaining_resources):
        for resource in resources:
            if resource["name"] == "MEMORY":
                resource["integerValue"] = memory
        if gpus:
            ids = [f"GPU-{uuid.uuid4()}" for _number in range(gpus)]
            resources.append({"name": "GPU", "type": "STRINGSET", "stringSetValue": ids})


def _misfit(task: ServiceTask, host: Host) -> str:
    """Return what a task lacks on a host, in the words of the service event; empty if it fits."""
    if task.gpus(host.all_gpus) > host.free_gpus:
        return "has insufficient GPU resource available."
    if task.memory_mib > host.free_memory:
        return NO_MEMORY
    if task.host_ports & host.ports:
        return "is already using a port required by your task."
    return ""


# -- containers ------------------------------------------------------------------------------------------------------


def _host_port(task: ServiceTask, entry: dict[str, Any]) -> int:
    """Return the host's port for a container port: the fixed one, or one of Docker's dynamic ports."""
    definitions: Any = task.definition.container_definitions
    for container in definitions:
        for mapping in container["portMappings"]:
            meant = container["name"] == entry["containerName"] and mapping["containerPort"] == entry["containerPort"]
            if meant and mapping.get("hostPort"):
                return int(mapping["hostPort"])
    return FIRST_DYNAMIC_PORT + uuid.UUID(task.id).int % 20000


def _pull_refusal(image: str) -> str:
    registry, _slash, rest = image.partition("/")
    repository, _colon, tag = rest.partition(":")
    return (
        f'CannotPullContainerError: Error response from daemon: Head "https://{registry}/v2/{repository}/manifests/'
        f'{tag or "latest"}": unauthorized: received unexpected HTTP status: 401 Unauthorized'
    )


def _startup_problem(backend: EC2ContainerServiceBackend, task: ServiceTask) -> str | None:
    """Return what is missing for the container to start: its execution role, secrets, log group."""
    role = getattr(task.definition, "execution_role_arn", None)
    roles = {item.arn for item in iam_backends[ACCOUNT_ID]["aws"].roles.values()}
    if role and role not in roles:
        return f"AccessDeniedException: ECS was unable to assume the role '{role}' that was provided for this task."
    for arn in _secret_arns(task.container):
        if not _secret_is_readable(arn):
            region = arn.split(":")[3]
            return (
                f"Fetching secret data from AWS Secrets Manager in region {region}: secret {arn}: "
                "ResourceNotFoundException: Secrets Manager can't find the specified secret."
            )
    place = _log_place(backend, task)
    if place is not None and not _log_group_exists(place[0], place[1]):
        return (
            "CannotStartContainerError: Error response from daemon: failed to create task for container: failed to "
            "initialize logging driver: failed to create Cloudwatch log stream: ResourceNotFoundException: The "
            "specified log group does not exist."
        )
    return None


def _secret_arns(container: dict[str, Any]) -> Iterator[str]:
    """ARNs of the secrets a container needs, without JSON key, stage and version."""
    values = [secret["valueFrom"] for secret in container.get("secrets") or []]
    values.append((container.get("repositoryCredentials") or {}).get("credentialsParameter") or "")
    for value in values:
        if ":secretsmanager:" in value and value.count(":") >= 6:
            yield ":".join(value.split(":")[:7])


def _secret_is_readable(arn: str) -> bool:
    region, name = arn.split(":")[3], arn.split(":")[6]
    if region not in secretsmanager_backends[ACCOUNT_ID].regions:
        return False
    secrets = secretsmanager_backends[ACCOUNT_ID][region].secrets
    for secret in secrets.values():
        # ECS accepts the ARN with and without its random suffix.
        if secret.arn == arn or secret.name == name:
            return not secret.is_deleted()
    return False


def _log_place(backend: EC2ContainerServiceBackend, task: ServiceTask) -> tuple[str, str, str] | None:
    """Region, log group and stream of the task's container; None if it does not log to CloudWatch."""
    configuration = task.container.get("logConfiguration") or {}
    options = configuration.get("options") or {}
    if configuration.get("logDriver") != "awslogs" or "awslogs-group" not in options:
        return None
    region = options.get("awslogs-region") or backend.region_name
    prefix = options.get("awslogs-stream-prefix")
    stream = f"{prefix}/{task.container['name']}/{task.id}" if prefix else task.id
    return region, options["awslogs-group"], stream


def _log_group_exists(region: str, group: str) -> bool:
    backends = logs_backends[ACCOUNT_ID]
    return region in backends.regions and group in backends[region].groups


def _write_log(backend: EC2ContainerServiceBackend, task: ServiceTask, lines: list[str]) -> None:
    place = _log_place(backend, task)
    if place is None or not lines:
        return
    region, group, stream = place
    if not _log_group_exists(region, group):
        return
    logs = logs_backends[ACCOUNT_ID][region]
    logs.ensure_log_stream(group, stream)
    now = int(time.time() * 1000)
    events = [{"timestamp": now + index, "message": line} for index, line in enumerate(lines)]
    logs.put_log_events(group, stream, events)


def _count_cluster_tasks(backend: EC2ContainerServiceBackend) -> None:
    """Set the counts that DescribeClusters shows, which moto gets wrong when services scale."""
    for cluster in backend.clusters.values():
        tasks = live_tasks(backend, cluster.name)
        cluster.running_tasks_count = sum(1 for task in tasks if task.last_status == "RUNNING")
        cluster.pending_tasks_count = len(tasks) - cluster.running_tasks_count
        cluster.registered_container_instances_count = len(backend.container_instances.get(cluster.name, {}))
        cluster.active_services_count = sum(
            1
            for service in backend.services.values()
            if service.cluster_name == cluster.name and service.status == "ACTIVE"
        )


RUNTIME = EcsRuntime()
