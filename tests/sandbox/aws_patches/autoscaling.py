# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Auto Scaling groups."""

from __future__ import annotations

from typing import Any

from moto.autoscaling.models import AutoScalingBackend, FakeAutoScalingGroup
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult, EmptyResult
from moto.iam.models import iam_backends
from moto.ssm.models import ssm_backends

from tests.sandbox.aws_patches.patching import aws_error, page, patches
from tests.sandbox.state import DEFAULTS, clock

Backend = AutoScalingBackend
Response = AutoScalingResponse


def _invalid(message: str) -> Exception:
    return aws_error("ValidationError", message)


@patches(Backend, "create_auto_scaling_group")
def create_auto_scaling_group(original: Any, self: Backend, name: str, *args: Any, **kwargs: Any) -> Any:
    """Create a group.

    AWS: a name can be taken once, also while the group of that name is being deleted; sizes must be in order; the
    launch template's instance profile must exist (IAM takes some seconds to tell EC2 of a new one).
    moto: replaces the group of that name; checks nothing.
    """
    if name in self.autoscaling_groups:
        raise aws_error(
            "AlreadyExists",
            "AutoScalingGroup by this name already exists - A group with the name "
            f"{name} already exists"
            + (" and is pending delete" if _is_being_deleted(self.autoscaling_groups[name]) else ""),
        )
    _check_sizes(kwargs.get("min_size"), kwargs.get("max_size"), kwargs.get("desired_capacity"))
    _require_instance_profile(self, kwargs.get("launch_template") or {})
    return original(self, name, *args, **kwargs)


def _check_sizes(minimum: Any, maximum: Any, desired: Any) -> None:
    if minimum is None or maximum is None:
        raise _invalid("MinSize and MaxSize must be specified.")
    if int(minimum) > int(maximum):
        raise _invalid(f"Max bound, {maximum}, must be greater than or equal to min bound, {minimum}")
    if desired is not None and not int(minimum) <= int(desired) <= int(maximum):
        raise _invalid(
            f"Desired capacity:{desired} must be between the specified min size:{minimum} and max size:{maximum}"
        )


def _require_instance_profile(backend: Backend, template: dict[str, Any]) -> None:
    if template.get("LaunchTemplateId"):
        launch_template = backend.ec2_backend.get_launch_template(template["LaunchTemplateId"])
    elif template.get("LaunchTemplateName"):
        launch_template = backend.ec2_backend.get_launch_template_by_name(template["LaunchTemplateName"])
    else:
        return
    data = launch_template.get_version(template.get("Version") or "$Default").data
    wanted = data.get("IamInstanceProfile") or {}
    name_or_arn = wanted.get("Arn") or wanted.get("Name")
    if not name_or_arn:
        return
    profiles = iam_backends[backend.account_id]["aws"].instance_profiles.values()
    if name_or_arn not in {value for profile in profiles for value in (profile.arn, profile.name)}:
        field = "arn" if wanted.get("Arn") else "name"
        raise _invalid(
            "You must use a valid fully-formed launch template. "
            f"Value ({name_or_arn}) for parameter iamInstanceProfile.{field} is invalid. "
            f"Invalid IAM Instance Profile {field if field == 'name' else 'ARN'}"
        )


@patches(FakeAutoScalingGroup, "image_id")
def image_id(original: Any, self: FakeAutoScalingGroup) -> str:
    """Resolve a launch template's image ``resolve:ssm:PARAMETER``.

    AWS: the instance is started from the image the parameter names.
    moto: the instance has the text as its image.
    """
    image: str = original(self)
    if not image.startswith("resolve:ssm:"):
        return image
    parameter = ssm_backends[self.account_id][self.region].get_parameter(image.removeprefix("resolve:ssm:"))
    if parameter is None:
        raise _invalid(f"You must use a valid fully-formed launch template. {image} does not name a parameter.")
    return str(parameter.value)


def _is_being_deleted(group: Any) -> bool:
    return getattr(group, "status", None) is not None


@patches(Response, "delete_auto_scaling_group")
def delete_auto_scaling_group(_original: Any, self: Response) -> EmptyResult:
    """Delete a group.

    AWS: without ForceDelete refused while it has instances; with it, the group shows as "Delete in progress" until
    they are gone.
    moto: gone at once.
    """
    name = self._get_param("AutoScalingGroupName")
    backend = self.autoscaling_backend
    group = backend.autoscaling_groups.get(name)
    if group is None:
        raise _invalid(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
    if _is_being_deleted(group):
        return EmptyResult()
    if group.instance_states and not self._get_bool_param("ForceDelete", False):
        raise aws_error(
            "ResourceInUse",
            "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) "
            "still in the group.",
        )
    group.min_size = 0
    if not group.instance_states:
        backend.delete_auto_scaling_group(name)
        return EmptyResult()
    group.set_desired_capacity(0)
    fields: Any = group
    fields.status = "Delete in progress"
    fields.sandbox_deleted_at = clock() + DEFAULTS.drain_seconds
    return EmptyResult()


def finish_deletions(backend: Backend) -> None:
    """Remove the groups whose time of being deleted is over. Called by the ECS runtime."""
    now = clock()
    for name, group in list(backend.autoscaling_groups.items()):
        if getattr(group, "sandbox_deleted_at", now + 1) <= now:
            backend.delete_auto_scaling_group(name)


@patches(Backend, "set_desired_capacity")
def set_desired_capacity(original: Any, self: Backend, group_name: str, desired_capacity: Any) -> None:
    """Set the desired capacity by hand.

    AWS: refused outside of the group's sizes, and for a group that is not there.
    moto: accepted outside; crashes (HTTP 500).
    """
    group = self.autoscaling_groups.get(group_name)
    if group is None:
        raise _invalid("AutoScalingGroup name not found - null")
    if int(desired_capacity) > int(group.max_size or 0):
        raise _invalid(
            f"New SetDesiredCapacity value {desired_capacity} is above max value {group.max_size} for the "
            "AutoScalingGroup."
        )
    if int(desired_capacity) < int(group.min_size or 0):
        raise _invalid(
            f"New SetDesiredCapacity value {desired_capacity} is below min value {group.min_size} for the "
            "AutoScalingGroup."
        )
    original(self, group_name, desired_capacity)


@patches(Response, "describe_scaling_activities")
def describe_scaling_activities(_original: Any, self: Response) -> ActionResult:
    """List what a group has tried, newest first.

    AWS: six weeks of activities, with Failed and the reason in StatusMessage.
    moto: always an empty list.
    """
    backend = self.autoscaling_backend
    name = self._get_param("AutoScalingGroupName")
    groups = [group for group in backend.autoscaling_groups.values() if name in (None, group.name)]
    if name and not groups:
        raise _invalid("AutoScalingGroup name not found - null")
    activities = [activity for group in groups for activity in getattr(group, "sandbox_activities", [])]
    activities.sort(key=lambda activity: activity["StartTime"], reverse=True)
    limit = min(int(self._get_param("MaxRecords") or 100), 100)
    activities, next_token = page(activities, limit, self._get_param("NextToken"))
    return ActionResult({"Activities": activities, "NextToken": next_token})
