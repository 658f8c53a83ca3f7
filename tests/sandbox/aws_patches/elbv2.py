# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Application load balancers, listeners, rules, target groups and target health."""

from __future__ import annotations

import re
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import InvalidSubnetIdError
from moto.ec2.models.subnets import Subnet
from moto.elbv2.models import (
    ELBv2Backend,
    FakeHealthStatus,
    FakeListener,
    FakeListenerRule,
    FakeLoadBalancer,
    FakeTargetGroup,
    elbv2_backends,
)
from moto.elbv2.responses import ELBV2Response

from tests.sandbox.aws_patches.patching import aws_error, page, patches
from tests.sandbox.state import DEFAULTS, clock

#: Load balancer and target group names, https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateLoadBalancer.html
NAME_LENGTH = 32


def _invalid(message: str) -> Exception:
    return aws_error("ValidationError", message)


@patches(ELBv2Backend, "create_load_balancer")
def create_load_balancer(
    original: Any,
    self: ELBv2Backend,
    name: str,
    security_groups: list[str],
    subnet_ids: list[str],
    subnet_mappings: list[dict[str, str]] | None = None,
    scheme: str | None = None,
    loadbalancer_type: str | None = None,
    ip_address_type: str = "ipv4",
    tags: Any = None,
) -> FakeLoadBalancer:
    """Create a load balancer.

    AWS: names have at most 32 letters, digits and hyphens, no "internal-" in front; the same name with the same
    settings returns the one there, with others is refused; an application load balancer needs subnets in two zones;
    an internal one has a DNS name that begins with "internal-".
    moto: checks none of this, makes a second one of the name.
    """
    _check_name(name)
    kind = loadbalancer_type or "application"
    scheme = scheme or "internet-facing"
    all_subnets = [*subnet_ids, *[mapping["SubnetId"] for mapping in subnet_mappings or []]]
    present = next((item for item in self.load_balancers.values() if item.name == name), None)
    if present is not None:
        same = (
            present.scheme == scheme
            and present.type == kind
            and {subnet.id for subnet in present.subnets} == set(all_subnets)
            and set(present.security_groups or []) == set(security_groups or [])
        )
        if same:
            return present
        raise aws_error(
            "DuplicateLoadBalancerName",
            f"A load balancer with the same name '{name}' exists, but with different settings",
        )
    _check_security_groups(self, security_groups or [])
    subnets = [_subnet(self, subnet_id) for subnet_id in all_subnets]
    if kind == "application" and len({subnet.availability_zone for subnet in subnets}) < 2:
        raise _invalid("At least two subnets in two different Availability Zones must be specified")
    balancer: FakeLoadBalancer = original(
        self, name, security_groups, subnet_ids, subnet_mappings, scheme, kind, ip_address_type, tags
    )
    if scheme == "internal":
        balancer.dns_name = f"internal-{balancer.dns_name}"
    return balancer


def _subnet(backend: ELBv2Backend, subnet_id: str) -> Subnet:
    try:
        return backend.ec2_backend.get_subnet(subnet_id)
    except InvalidSubnetIdError as error:
        raise aws_error("SubnetNotFound", f"The subnet ID '{subnet_id}' does not exist") from error


def _check_name(name: str) -> None:
    if len(name) > NAME_LENGTH:
        raise _invalid(f"The load balancer name '{name}' cannot be longer than '{NAME_LENGTH}' characters")
    if not re.fullmatch(r"[A-Za-z0-9-]+", name):
        raise _invalid(
            f"The load balancer name '{name}' can only contain characters that are alphanumeric characters and "
            "hyphens(-)"
        )
    if name.startswith("-") or name.endswith("-"):
        raise _invalid(f"The load balancer name '{name}' cannot begin or end with '-'")
    if name.startswith("internal-"):
        raise _invalid(f"The load balancer name '{name}' cannot begin with 'internal-'")


def _check_security_groups(backend: ELBv2Backend, group_ids: list[str]) -> None:
    for group_id in group_ids:
        if backend.ec2_backend.get_security_group_from_id(group_id) is None:
            raise aws_error("InvalidSecurityGroup", f"One or more security groups are invalid: {group_id}")


@patches(ELBv2Backend, "describe_load_balancers")
def describe_load_balancers(
    original: Any, self: ELBv2Backend, arns: list[str] | None, names: list[str] | None
) -> list[FakeLoadBalancer]:
    """Describe load balancers of which some are missing.

    AWS: LoadBalancerNotFound.
    moto: only when the first one is missing.
    """
    known_arns = set(self.load_balancers)
    known_names = {balancer.name for balancer in self.load_balancers.values()}
    missing = [item for item in arns or [] if item not in known_arns]
    missing += [item for item in names or [] if item not in known_names]
    if missing:
        listed = "', '".join(missing)
        raise aws_error("LoadBalancerNotFound", f"Load balancers '[{listed}]' not found")
    found: list[FakeLoadBalancer] = original(self, arns, names)
    return found


class LoadBalancerArns:
    """Which load balancers use a target group: those whose listeners and rules forward to it now.

    AWS: follows the rules.
    moto: only ever adds, so a target group seems attached after its rule is gone. Its assignments have no effect here.
    """

    def __get__(self, target_group: FakeTargetGroup | None, owner: type) -> Any:
        if target_group is None:
            return self
        backend = elbv2_backends[target_group.account_id][target_group.region_name]
        return [
            balancer.arn
            for balancer in backend.load_balancers.values()
            if any(
                target_group.arn in backend._get_target_group_arns_from(action_data=action.data)
                for listener in balancer.listeners.values()
                for rule in listener.rules.values()
                for action in rule.actions
            )
        ]

    def __set__(self, target_group: FakeTargetGroup, value: list[str]) -> None:
        del target_group, value


# A descriptor on the class wins over the attribute that moto sets on each target group.
FakeTargetGroup.load_balancer_arns = LoadBalancerArns()  # type: ignore[assignment]


@patches(FakeTargetGroup, "__init__")
def target_group_init(original: Any, self: FakeTargetGroup, *args: Any, **kwargs: Any) -> None:
    """Room for the health that the ECS runtime gives to targets."""
    original(self, *args, **kwargs)
    fields: Any = self
    # instance id -> (state, reason, description)
    fields.sandbox_health = {}
    # instance id -> (port, clock time at which draining ends)
    fields.sandbox_draining = {}


@patches(ELBv2Backend, "describe_target_groups")
def describe_target_groups(
    original: Any,
    self: ELBv2Backend,
    load_balancer_arn: str | None,
    target_group_arns: list[str],
    names: list[str] | None,
) -> Any:
    """List the target groups of a load balancer that has none.

    AWS: an empty list.
    moto: TargetGroupNotFound.
    """
    if load_balancer_arn in self.load_balancers and not target_group_arns and not names:
        groups = [item for item in self.target_groups.values() if load_balancer_arn in item.load_balancer_arns]
        return sorted(groups, key=lambda item: item.name)
    return original(self, load_balancer_arn, target_group_arns, names)


@patches(ELBV2Response, "describe_target_groups")
def describe_target_groups_in_pages(original: Any, self: ELBV2Response) -> ActionResult:
    """List target groups in pages.

    AWS: PageSize and Marker.
    moto: all on one page.
    """
    result: Any = original(self).result
    limit = int(self._get_param("PageSize") or 400)
    groups, marker = page(list(result["TargetGroups"]), limit, self._get_param("Marker"))
    return ActionResult({"TargetGroups": groups, "NextMarker": marker})


#: What makes two target groups of one name the same to CreateTargetGroup.
_TARGET_GROUP_SETTINGS = {
    "protocol": "protocol",
    "port": "port",
    "vpc_id": "vpc_id",
    "target_type": "target_type",
    "healthcheck_path": "health_check_path",
    "healthcheck_protocol": "health_check_protocol",
    "healthcheck_port": "health_check_port",
    "healthcheck_interval_seconds": "health_check_interval_seconds",
    "healthcheck_timeout_seconds": "health_check_timeout_seconds",
    "healthy_threshold_count": "healthy_threshold_count",
    "unhealthy_threshold_count": "unhealthy_threshold_count",
    "matcher": "matcher",
}


@patches(ELBv2Backend, "create_target_group")
def create_target_group(original: Any, self: ELBv2Backend, name: str, **kwargs: Any) -> FakeTargetGroup:
    """Create a target group that is there.

    AWS: with the same settings the one there is returned, with others it is refused.
    moto: always refused.
    """
    present = next((item for item in self.target_groups.values() if item.name == name), None)
    if present is None:
        created: FakeTargetGroup = original(self, name, **kwargs)
        return created
    for parameter, attribute in _TARGET_GROUP_SETTINGS.items():
        wanted = kwargs.get(parameter)
        if wanted is not None and str(wanted) != str(getattr(present, attribute, None)):
            raise aws_error(
                "DuplicateTargetGroupName",
                f"A target group with the same name '{name}' exists, but with different settings",
            )
    return present


@patches(ELBv2Backend, "create_listener")
def create_listener(
    original: Any,
    self: ELBv2Backend,
    load_balancer_arn: str,
    protocol: str,
    port: Any,
    ssl_policy: str,
    certificate: str | None,
    actions: list[dict[str, Any]],
    *args: Any,
    **kwargs: Any,
) -> FakeListener:
    """Create a listener on a port that has one, or an HTTPS listener without certificate.

    AWS: same settings return the listener there, others are DuplicateListener; HTTPS needs a certificate.
    moto: makes a second one on the port (it looks in the wrong place); accepts HTTPS without.
    """
    balancer = self.load_balancers.get(load_balancer_arn)
    if balancer is not None and protocol == "HTTPS" and not certificate:
        raise _invalid("A certificate must be specified for HTTPS listeners")
    for listener in balancer.listeners.values() if balancer is not None else []:
        if int(listener.port) != int(port):
            continue
        same_actions = [action.data for action in listener.default_actions] == _as_stored(actions)
        if listener.protocol == protocol and listener.certificate == certificate and same_actions:
            return listener
        raise aws_error(
            "DuplicateListener", f"A listener already exists on this port for this load balancer '{load_balancer_arn}'"
        )
    created: FakeListener = original(
        self, load_balancer_arn, protocol, port, ssl_policy, certificate, actions, *args, **kwargs
    )
    return created


def _as_stored(actions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Actions with what moto adds to them when it keeps them."""
    stored = []
    for action in actions:
        copy = dict(action)
        if "ForwardConfig" in copy:
            groups = [{"Weight": 1, **group} for group in copy["ForwardConfig"].get("TargetGroups", [])]
            copy["ForwardConfig"] = {
                "TargetGroupStickinessConfig": {"Enabled": False},
                **copy["ForwardConfig"],
                "TargetGroups": groups,
            }
        stored.append(copy)
    return stored


def _check_transforms(transforms: list[dict[str, Any]]) -> None:
    types = [transform.get("Type") for transform in transforms]
    if len(set(types)) != len(types):
        raise _invalid("A rule can have one transform of each type")
    for transform in transforms:
        if transform["Type"] == "url-rewrite":
            rewrites = (transform.get("UrlRewriteConfig") or {}).get("Rewrites") or []
            if len(rewrites) != 1:
                raise _invalid("A url-rewrite transform must have exactly one rewrite")
            try:
                re.compile(rewrites[0]["Regex"])
            except re.error as error:
                raise _invalid(f"The regular expression '{rewrites[0]['Regex']}' is not valid") from error


@patches(ELBV2Response, "create_rule")
def create_rule(original: Any, self: ELBV2Response) -> ActionResult:
    """Create a rule with transforms (URL rewrite).

    AWS: kept and shown in DescribeRules.
    moto: dropped.
    """
    transforms = self._get_param("Transforms") or []
    _check_transforms(transforms)
    result: ActionResult = original(self)
    answer: Any = result.result
    answer["Rules"][0].transforms = transforms
    return result


@patches(ELBV2Response, "modify_rule")
def modify_rule(original: Any, self: ELBV2Response) -> ActionResult:
    """Modify the transforms of a rule.

    AWS: Transforms replaces them, ResetTransforms removes them, neither leaves them; they may be all that changes.
    moto: dropped; a change of transforms alone is refused.
    """
    transforms = self._get_param("Transforms")
    reset = self._get_bool_param("ResetTransforms", False)
    if transforms and reset:
        raise _invalid("Transforms and ResetTransforms cannot be specified together")
    _check_transforms(transforms or [])
    if (transforms or reset) and not self._get_param("Conditions") and not self._get_param("Actions"):
        rules: Any = self.elbv2_backend.describe_rules(None, [self._get_param("RuleArn")])
    else:
        answer: Any = original(self).result
        rules = answer["Rules"]
    if reset:
        rules[0].transforms = []
    elif transforms:
        rules[0].transforms = transforms
    return ActionResult({"Rules": rules[:1]})


@patches(ELBv2Backend, "create_rule")
def create_rule_at_priority(
    original: Any, self: ELBv2Backend, listener_arn: str, conditions: Any, priority: Any, *args: Any, **kwargs: Any
) -> FakeListenerRule:
    """Create a rule at a priority that is taken.

    AWS: PriorityInUse, with the number; priorities go from 1 to 50000.
    moto: compares, but not across text and number.
    """
    number = int(priority)
    if not 1 <= number <= 50000:
        raise _invalid("Priority must be between 1 and 50000")
    for listener in self.describe_listeners(None, [listener_arn]):
        if any(str(rule.priority) == str(number) for rule in listener.rules.values()):
            raise aws_error("PriorityInUse", f"Priority '{number}' is currently in use")
    rule: FakeListenerRule = original(self, listener_arn, conditions, number, *args, **kwargs)
    return rule


@patches(ELBv2Backend, "describe_rules")
def describe_rules(
    original: Any, self: ELBv2Backend, listener_arn: str | None, rule_arns: list[str] | None
) -> list[Any]:
    """List rules in order.

    AWS: by priority, the default rule last.
    moto: in order of creation.
    """
    rules: list[Any] = original(self, listener_arn, rule_arns)
    return sorted(rules, key=lambda rule: float("inf") if rule.is_default else int(rule.priority))


@patches(FakeTargetGroup, "deregister")
def deregister(original: Any, self: FakeTargetGroup, targets: list[dict[str, Any]]) -> None:
    """Deregister a target.

    AWS: it is draining for the deregistration delay, then gone.
    moto: gone at once.
    """
    fields: Any = self
    delay = min(float(fields.attributes["deregistration_delay.timeout_seconds"]), DEFAULTS.drain_seconds)
    ports = {target["Id"]: self.targets[target["Id"]]["Port"] for target in targets if target["Id"] in self.targets}
    original(self, targets)
    for target_id, port in ports.items():
        fields.sandbox_health.pop(target_id, None)
        fields.sandbox_draining[target_id] = (port, clock() + delay)


@patches(ELBv2Backend, "describe_target_health")
def describe_target_health(
    original: Any, self: ELBv2Backend, target_group_arn: str, targets: list[dict[str, Any]]
) -> list[FakeHealthStatus]:
    """Describe the health of targets.

    AWS: initial, healthy, unhealthy, draining or unused, with reasons; without a list of targets, draining ones too.
    moto: healthy, or unused.
    """
    group: Any = self.target_groups.get(target_group_arn)
    found: list[FakeHealthStatus] = original(self, target_group_arn, targets)
    now = clock()
    for target_id, (port, until) in list(group.sandbox_draining.items()):
        if until <= now or target_id in group.targets:
            del group.sandbox_draining[target_id]
        elif not targets:
            found.append(group.health_for({"Id": target_id, "Port": port}, self.ec2_backend))
    return found


@patches(FakeTargetGroup, "health_for")
def health_for(original: Any, self: FakeTargetGroup, target: dict[str, Any], ec2_backend: Any) -> FakeHealthStatus:
    """Describe the health of one target, see `describe_target_health`."""
    health: FakeHealthStatus = original(self, target, ec2_backend)
    fields: Any = self
    if target["Id"] not in self.targets:
        if target["Id"] in fields.sandbox_draining:
            health.status = "draining"
            health.reason = "Target.DeregistrationInProgress"
            health.description = "Target deregistration is in progress"
        return health
    if not self.load_balancer_arns:
        health.status = "unused"
        health.reason = "Target.NotInUse"
        health.description = "Target group is not configured to receive traffic from the load balancer"
    elif target["Id"] in fields.sandbox_health:
        health.status, health.reason, health.description = fields.sandbox_health[target["Id"]]
    return health


def is_healthy(group: FakeTargetGroup, target_id: str) -> bool:
    """Whether a load balancer would send requests to this target because it is healthy."""
    ec2_backend = elbv2_backends[group.account_id][group.region_name].ec2_backend
    return bool(group.health_for({"Id": target_id}, ec2_backend).status == "healthy")
