# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let a request through or refuse it, as AWS does for the user who has signed it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from werkzeug.wrappers import Request

from tests.sandbox.aws_access.login import identify
from tests.sandbox.aws_access.needs import Call, needs
from tests.sandbox.aws_access.policy import may
from tests.sandbox.aws_patches.patching import aws_error

#: How the refusal of an action is called, where it is not AccessDenied.
DENIED = {
    "ec2": "UnauthorizedOperation",
    **dict.fromkeys(("ecs", "logs", "secretsmanager", "ssm"), "AccessDeniedException"),
}


def check_access(
    request: Request, service: str, action: str, region: str, params: Any, noted: list[dict[str, Any]]
) -> None:
    """Return if the request may go on, with all permissions that it needs in ``noted``. Hold the lock.

    Raises the AWS error to answer with, or UnknownNeedError.
    """
    identity = identify(request)
    if identity is None:
        return
    common = {"aws:SourceIp": request.remote_addr or "", "aws:ViaAWSService": "false"}
    wanted = needs(Call(service, action, region, params, common))
    noted += [asdict(need) for need in wanted]
    for need in wanted:
        if not may(need, identity.holdings.policies, identity.holdings.boundary):
            message = f"User: {identity.arn} is not authorized to perform: {need.action} on resource: {need.resource}"
            raise aws_error(DENIED.get(service, "AccessDenied"), message)
