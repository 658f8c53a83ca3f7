# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What artists' workstations may do on AWS, as names and as an IAM policy. Pure, makes no calls."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import MANAGED_TAG
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _aws_objects as objects

PATH = "/budgetguard/"
"""The path of everything in IAM. IAM groups have no tags, so for them it is the mark of who made them."""
MOST_CHARACTERS = 6144
"""IAM's limit for a managed policy; white space does not count."""

PRIVATE_NETWORKS = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "fc00::/7")
)


@dataclasses.dataclass(frozen=True)
class ArtistNames:
    """The names of what the artists of one account and cluster share. IAM is global, so no region is in them."""

    partition: str
    account: str
    cluster: str

    @property
    def policy(self) -> str:
        """The one policy: the group's rights, and the most that a user in it can ever have."""
        return f"{self.cluster}-artist"

    @property
    def policy_arn(self) -> str:
        return f"arn:{self.partition}:iam::{self.account}:policy{PATH}{self.policy}"

    @property
    def group(self) -> str:
        """The group of all users that are made for workstations."""
        return f"{self.cluster}-artists"


def artist_policy(names: ArtistNames, allowed_source_cidrs: t.Sequence[str] = ()) -> dict[str, t.Any]:
    """Return what a workstation may do: start and stop NIMs and look at them, from the studio's addresses only.

    UpdateService could also move a service to another task definition. Only those that the deployer has registered
    for this cluster are allowed, and without RegisterTaskDefinition there is no way to one with another image.
    """
    arn = f"arn:{names.partition}:ecs:*:{names.account}"
    owner = objects.Names(names.cluster, "-").task_family_owner
    # Of NIMs alone: who may switch the gateway can give it back its configuration from before a token was revoked.
    services = f"{arn}:service/{names.cluster}/nim-*"
    statements: list[dict[str, t.Any]] = [
        {
            "Sid": "StartAndStop",
            "Effect": "Allow",
            "Action": "ecs:UpdateService",
            "Resource": services,
            "Condition": {
                "StringEquals": {f"aws:ResourceTag/{MANAGED_TAG}": "true"},
                "ArnLikeIfExists": {"ecs:task-definition": f"{arn}:task-definition/{owner}-*:*"},
                "StringNotEqualsIfExists": {"ecs:enable-execute-command": "true"},
            },
        },
        {"Sid": "Look", "Effect": "Allow", "Action": "ecs:DescribeServices", "Resource": services},
        # This call knows no single resources.
        {
            "Sid": "LookAtHealth",
            "Effect": "Allow",
            "Action": "elasticloadbalancing:DescribeTargetHealth",
            "Resource": "*",
        },
    ]
    if allowed_source_cidrs:
        outside = {
            "NotIpAddress": {"aws:SourceIp": sorted(allowed_source_cidrs)},
            "Bool": {"aws:ViaAWSService": "false"},
        }
        statements.append({"Sid": "StudioOnly", "Effect": "Deny", "Action": "*", "Resource": "*", "Condition": outside})
    return {"Version": "2012-10-17", "Statement": statements}


def policy_text(policy: t.Mapping[str, t.Any]) -> str:
    """Write a policy for IAM. Raises ValueError if IAM would refuse it for its length."""
    text = json.dumps(policy, separators=(",", ":"))
    if len(text) > MOST_CHARACTERS:
        raise ValueError(
            f"allowed_source_cidrs has so many networks that the policy would have {len(text)} characters; "
            f"AWS takes {MOST_CHARACTERS}"
        )
    return text


def source_networks(cidrs: t.Iterable[str]) -> tuple[str, ...]:
    """Return the studio's networks in one spelling. Raises ValueError for one that would shut everybody out or in."""
    networks = []
    for text in cidrs:
        try:
            network = ipaddress.ip_network(text.strip())
        except ValueError as exc:
            raise ValueError(f"allowed_source_cidrs has {text!r}: {exc}") from exc
        if not network.prefixlen:
            raise ValueError(
                f"allowed_source_cidrs has {text!r}, which is every address; leave the option out for that"
            )
        if any(network.version == private.version and network.overlaps(private) for private in PRIVATE_NETWORKS):
            raise ValueError(
                f"allowed_source_cidrs has {text!r}; AWS sees the studio's public addresses, never private ones"
            )
        networks.append(str(network))
    return tuple(sorted(set(networks)))
