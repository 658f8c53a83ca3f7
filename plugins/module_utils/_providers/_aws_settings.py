# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""How an AWS target is to be set up. How it is reached is a matter of the session."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _gateway
from ansible_collections.budgetguard.techops.plugins.module_utils._exposure import endpoint_host_problem
from ansible_collections.budgetguard.techops.plugins.module_utils._keys import check_key
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _aws_objects as objects

_UP_TO_A_YEAR = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365)
RETENTION_DAYS = (*_UP_TO_A_YEAR, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
"""What CloudWatch Logs takes. Source: PutRetentionPolicy in its API reference."""

_CERTIFICATE = re.compile(
    r"arn:aws[a-z-]*:(acm:(?P<region>[a-z0-9-]+):\d{12}:certificate/[A-Za-z0-9-]+|iam::\d{12}:server-certificate/\S+)"
)
"""Source: ARNs of resources in the service authorization reference, for ACM and IAM."""

LONGEST_IDLE_SECONDS = 4000
"""Source: idle_timeout.timeout_seconds of ModifyLoadBalancerAttributes in Elastic Load Balancing's API reference."""


@dataclasses.dataclass(frozen=True)
class AwsSettings:
    """How a target is to be set up; connection options are separate."""

    region: str
    cluster: str = "budgetguard"
    scheme: str = "internal"
    allowed_cidrs: tuple[str, ...] = ()
    allow_public: bool = False
    allow_plain_http: bool = False
    certificate_arn: str | None = None
    endpoint_host: str | None = None
    vpc_id: str | None = None
    subnet_ids: tuple[str, ...] = ()
    ami_id: str | None = None
    ngc_api_key: str | None = None
    hf_token: str | None = None
    log_retention_days: int = 14
    idle_timeout: int = 900
    gateway: _gateway.Front | None = None
    gateway_image: str = _gateway.IMAGE
    gateway_replicas: int = 1

    def __post_init__(self) -> None:
        found = (self._certificate_problem(), endpoint_host_problem(self.endpoint_host))
        problems = [*self._size_problems(), *filter(None, found)]
        if problems:
            raise ValueError("\n".join(problems))
        if self.gateway is None:
            return
        if self.scheme == "public":
            raise ValueError(
                "a gateway on ECS needs scheme internal: it reaches the NIMs by way of the load balancer, whose public "
                "addresses would lead out of the network"
            )
        if not self.gateway.login:
            raise ValueError(
                "a gateway on ECS needs gateway.public_keys; without a login there is nothing for it to do"
            )
        if self.gateway.tls:
            raise ValueError(
                "gateway.certificate is not for ECS, where the load balancer speaks HTTPS; give it a certificate of "
                "ACM with certificate_arn"
            )

    def _size_problems(self) -> t.Iterator[str]:
        """Find what AWS would refuse after other things have been made."""
        if self.gateway_replicas < 1:
            yield f"gateway_replicas is {self.gateway_replicas}; it must be at least 1"
        if self.log_retention_days not in RETENTION_DAYS:
            days = ", ".join(map(str, RETENTION_DAYS))
            yield f"log_retention_days is {self.log_retention_days}; CloudWatch Logs takes {days}"
        if not 1 <= self.idle_timeout <= LONGEST_IDLE_SECONDS:
            yield f"idle_timeout is {self.idle_timeout}; a load balancer takes 1 to {LONGEST_IDLE_SECONDS} seconds"

    def _certificate_problem(self) -> str | None:
        if self.certificate_arn is None:
            return None
        wanted = f"the ARN of a certificate that AWS Certificate Manager has in {self.region}, or of one of IAM"
        arn = _CERTIFICATE.fullmatch(self.certificate_arn)
        if arn is None:
            return f"certificate_arn is {self.certificate_arn!r}; it must be {wanted}"
        if arn["region"] not in (None, self.region):
            return f"certificate_arn is one of {arn['region']}; it must be {wanted}"
        return None

    @classmethod
    def from_options(cls, options: t.Mapping[str, t.Any]) -> AwsSettings:
        """Take the settings out of a module's options; what is not set keeps its default."""
        fields = {field.name for field in dataclasses.fields(cls)}
        given: dict[str, t.Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in options.items()
            if key in fields and value not in (None, "")
        }
        for secret in ("ngc_api_key", "hf_token"):
            given[secret] = check_key(secret, given.get(secret))
        if given.get("gateway") is not None:
            given["gateway"] = _gateway.Front.from_options(given["gateway"], f"{given['region']}")
        return cls(**given)

    @property
    def image_id(self) -> str:
        """The pinned image, or the reference that EC2 resolves to AWS's newest GPU image at each launch."""
        return self.ami_id or f"resolve:ssm:{objects.AMI_PARAMETER}"
