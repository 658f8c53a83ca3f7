# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of everything that exists in the simulated AWS account, for assertions that nothing is doubled or left."""

from __future__ import annotations

from typing import Any

from moto.autoscaling.models import autoscaling_backends
from moto.core.base_backend import BackendDict
from moto.ec2.models import ec2_backends
from moto.ecs.models import ecs_backends
from moto.elbv2.models import elbv2_backends
from moto.iam.models import iam_backends
from moto.logs.models import logs_backends
from moto.secretsmanager.models import secretsmanager_backends

from tests.sandbox.ecs_runtime import RUNTIME
from tests.sandbox.state import ACCOUNT_ID, STATE_LOCK


def resources() -> dict[str, dict[str, list[str]]]:
    """Names by kind, per region that has anything, and under ``global`` what IAM holds. Kinds without names are [].

    What every account has from the start (default VPC and groups, managed policies) is left out.
    """
    with STATE_LOCK:
        RUNTIME.advance()
        regions = {
            region: _region(region)
            for backends in (ecs_backends, ec2_backends, elbv2_backends, autoscaling_backends, logs_backends)
            for region in _known_regions(backends)
        }
        for region in _known_regions(secretsmanager_backends):
            regions.setdefault(region, _region(region))
        found = {region: kinds for region, kinds in sorted(regions.items()) if any(kinds.values())}
        found["global"] = _global()
        return found


def _known_regions(backends: BackendDict[Any]) -> list[str]:
    """Regions a service has been used in. Asking for another one would make it."""
    return list(dict.keys(backends[ACCOUNT_ID]))


def _region(region: str) -> dict[str, list[str]]:
    ecs = ecs_backends[ACCOUNT_ID][region]
    ec2 = ec2_backends[ACCOUNT_ID][region]
    elb = elbv2_backends[ACCOUNT_ID][region]
    listeners = [
        (balancer, listener) for balancer in elb.load_balancers.values() for listener in balancer.listeners.values()
    ]
    rules = [
        f"{balancer.name}:{listener.port}#{rule.priority}"
        for balancer, listener in listeners
        for rule in listener.rules.values()
        if not rule.is_default
    ]
    definitions = [item for revisions in ecs.task_definitions.values() for item in revisions.values()]
    tasks = [task for tasks in ecs.tasks.values() for task in tasks.values() if task.last_status != "STOPPED"]
    groups = [group for in_vpc in ec2.groups.values() for group in in_vpc.values() if group.name != "default"]
    secrets = secretsmanager_backends[ACCOUNT_ID][region].secrets.values()
    return {
        "autoscaling_groups": _sorted(autoscaling_backends[ACCOUNT_ID][region].autoscaling_groups),
        "launch_templates": _sorted(template.name for template in ec2.launch_templates.values()),
        "instances": _sorted(item.id for item in ec2.all_instances() if item.state != "terminated"),
        "clusters": _sorted(item.name for item in ecs.clusters.values() if item.status == "ACTIVE"),
        "capacity_providers": _sorted(ecs.capacity_providers),
        "services": _sorted(item.name for item in ecs.services.values() if item.status != "INACTIVE"),
        "task_definitions": _sorted(
            f"{item.family}:{item.revision}" for item in definitions if item.status == "ACTIVE"
        ),
        "tasks": _sorted(task.group or task.task_arn for task in tasks),
        "load_balancers": _sorted(item.name for item in elb.load_balancers.values()),
        "listeners": _sorted(f"{balancer.name}:{listener.port}" for balancer, listener in listeners),
        "rules": _sorted(rules),
        "target_groups": _sorted(item.name for item in elb.target_groups.values()),
        "security_groups": _sorted(group.name for group in groups),
        "secrets": _sorted(item.name for item in secrets if not item.is_deleted()),
        "secrets_scheduled_for_deletion": _sorted(item.name for item in secrets if item.is_deleted()),
        "log_groups": _sorted(logs_backends[ACCOUNT_ID][region].groups),
    }


def _global() -> dict[str, list[str]]:
    iam = iam_backends[ACCOUNT_ID]["aws"]
    return {
        "roles": _sorted(role.name for role in iam.roles.values()),
        "instance_profiles": _sorted(profile.name for profile in iam.instance_profiles.values()),
        "policies": _sorted(item.name for item in iam.managed_policies.values() if ":aws:policy" not in item.arn),
        "users": _sorted(iam.users),
        "groups": _sorted(iam.groups),
        "access_keys": _sorted(key.access_key_id for user in iam.users.values() for key in user.access_keys),
    }


def _sorted(names: Any) -> list[str]:
    return sorted(str(name) for name in names)
