# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Security groups, launch templates and machine images."""

from __future__ import annotations

import copy
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.models import EC2Backend
from moto.ec2.models.amis import Ami
from moto.ec2.models.security_groups import SecurityGroup
from moto.ec2.responses.launch_templates import LaunchTemplates
from moto.elbv2.models import elbv2_backends

from tests.sandbox.aws_patches.patching import aws_error, page, patches

#: Launch templates on a page of the two describe calls.
TEMPLATES_PER_PAGE = 200


@patches(EC2Backend, "create_security_group")
def create_security_group(original: Any, self: EC2Backend, *args: Any, **kwargs: Any) -> SecurityGroup:
    """Create a security group in a VPC that is not there.

    AWS: InvalidVpcID.NotFound.
    moto: makes a group without egress rules.
    """
    vpc_id = kwargs.get("vpc_id") or (args[2] if len(args) > 2 else None)
    if vpc_id:
        self.get_vpc(vpc_id)
    group: SecurityGroup = original(self, *args, **kwargs)
    return group


@patches(EC2Backend, "delete_security_group")
def delete_security_group(
    original: Any, self: EC2Backend, name: str | None = None, group_id: str | None = None
) -> None:
    """Delete a security group that something uses.

    AWS: DependencyViolation while a load balancer, an instance or a rule of another group refers to it.
    moto: deletes it, but for network interfaces made by hand.
    """
    group = self.get_security_group_from_id(group_id) if group_id else self.get_security_group_from_name(name or "")
    if group is not None and _is_used(self, group):
        raise aws_error("DependencyViolation", f"resource {group.id} has a dependent object")
    original(self, name, group_id)


def _is_used(backend: EC2Backend, group: SecurityGroup) -> bool:
    balancers = elbv2_backends[backend.account_id][backend.region_name].load_balancers.values()
    if any(group.id in (balancer.security_groups or []) for balancer in balancers):
        return True
    for instance in backend.all_instances():
        if instance.state != "terminated" and group.id in [item.id for item in instance.security_groups]:
            return True
    others = [item for groups in backend.groups.values() for item in groups.values() if item.id != group.id]
    return any(
        (rule.source_group or {}).get("GroupId") == group.id
        for other in others
        for rule in [*other.ingress_rules, *other.egress_rules]
    )


@patches(LaunchTemplates, "describe_launch_templates")
def describe_launch_templates(original: Any, self: LaunchTemplates) -> ActionResult:
    """List launch templates.

    AWS: 200 to a page, with NextToken; tags as they are now.
    moto: cuts the list at 15 without a word; tags as they were at creation.
    """
    limit = int(self._get_param("MaxResults") or TEMPLATES_PER_PAGE)
    result = _without_limit(original, self)
    for item in result["LaunchTemplates"]:
        item["Tags"] = self.ec2_backend.get_launch_template(item["LaunchTemplateId"]).get_tags()
    templates, next_token = page(result["LaunchTemplates"], limit, self._get_param("NextToken"))
    return ActionResult({"LaunchTemplates": templates, "NextToken": next_token})


@patches(LaunchTemplates, "describe_launch_template_versions")
def describe_launch_template_versions(original: Any, self: LaunchTemplates) -> ActionResult:
    """List versions of launch templates.

    AWS: 200 to a page, with NextToken.
    moto: cuts the list at 15 without a word.
    """
    limit = int(self._get_param("MaxResults") or TEMPLATES_PER_PAGE)
    result = _without_limit(original, self)
    versions, next_token = page(result["LaunchTemplateVersions"], limit, self._get_param("NextToken"))
    return ActionResult({"LaunchTemplateVersions": versions, "NextToken": next_token})


def _without_limit(original: Any, response: LaunchTemplates) -> dict[str, Any]:
    """Return moto's whole answer: its own limit is raised for the one request that `response` stands for."""
    read_int = response._get_int_param

    def read_int_without_limit(name: str, if_none: Any = None) -> Any:
        return 1_000_000 if name == "MaxResults" else read_int(name, if_none)

    replaced: Any = response
    replaced._get_int_param = read_int_without_limit
    result: dict[str, Any] = original(response).result
    return result


@patches(LaunchTemplates, "create_launch_template")
def create_launch_template(original: Any, self: LaunchTemplates) -> ActionResult:
    """Tags of a launch template that are also copied into its data.

    AWS: TagSpecifications of the request tag the template; those in LaunchTemplateData tag instances and volumes.
    moto: copies the request's into the data, so what is read back differs from what was sent.
    """
    result: ActionResult = original(self)
    answer: Any = result.result
    template = self.ec2_backend.get_launch_template(answer["LaunchTemplate"]["LaunchTemplateId"])
    data = template.default_version().data
    kept = [item for item in data.get("TagSpecifications", []) if item.get("ResourceType") != "launch-template"]
    if kept:
        data["TagSpecifications"] = kept
    else:
        data.pop("TagSpecifications", None)
    return result


#: The public images of each region as moto makes them, never handed out themselves.
_images: dict[str, dict[str, Ami]] = {}


@patches(EC2Backend, "_load_amis")
def load_images(original: Any, self: EC2Backend) -> None:
    """Load the public machine images.

    AWS: present.
    moto: present, but made anew after each reset with a volume and a snapshot each, which takes longer than most tests.
    """
    region = self.region_name
    if region not in _images:
        original(self)
        _images[region] = self.amis
        self.amis = {}
    for image_id, image in _images[region].items():
        duplicate = copy.copy(image)
        duplicate.ec2_backend = self
        self.amis[image_id] = duplicate
