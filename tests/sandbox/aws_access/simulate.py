# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""iam:SimulatePrincipalPolicy, which moto lacks: the same evaluation as for real calls, with a context that is sent.

Fields follow the IAM API reference. There is no organization here, so nothing is said about one.
"""

from __future__ import annotations

import re
from typing import Any

from moto.core.responses import ActionResult
from moto.iam.responses import IamResponse

from tests.sandbox.aws_access.login import Holdings, holdings_of
from tests.sandbox.aws_access.policy import Context, Need, may
from tests.sandbox.aws_patches.patching import adds, aws_error

PRINCIPAL = re.compile(r"arn:aws:iam::\d{12}:(user|role)/(?:[^\s/]+/)*([^\s/]+)")
ACTION = re.compile(r"[a-z0-9-]+:[A-Za-z]+")
RESOURCE = re.compile(r"\*|arn:[^:*]*:[^:*]*:[^:*]*:[^:*]*:[^*]+")


@adds(IamResponse, "simulate_principal_policy")
def simulate_principal_policy(self: IamResponse) -> ActionResult:
    """Tell of each action and resource whether a user or role may do it."""
    holdings = _holdings(self, str(self._get_param("PolicySourceArn")))
    context = _context(self)
    resources = list(self._get_param("ResourceArns") or ["*"])
    results = []
    for action in self._get_param("ActionNames"):
        if not ACTION.fullmatch(action):
            raise aws_error("InvalidInput", f"Invalid Action: {action}")
        decided = [_decide(holdings, action, resource, context) for resource in resources]
        results.append(
            {
                "EvalActionName": action,
                "EvalResourceName": resources[0],
                "EvalDecision": decided[0]["EvalResourceDecision"],
                "ResourceSpecificResults": decided,
                "MissingContextValues": [],
            }
        )
    return ActionResult({"EvaluationResults": results, "IsTruncated": False})


def _decide(holdings: Holdings, action: str, resource: str, context: Context) -> dict[str, Any]:
    if not RESOURCE.fullmatch(resource):
        raise aws_error("InvalidInput", f"Invalid Entity Arn: {resource}")
    need = Need(action, resource, context)
    answer: dict[str, Any] = {
        "EvalResourceName": resource,
        "EvalResourceDecision": "allowed" if may(need, holdings.policies, holdings.boundary) else "implicitDeny",
    }
    if holdings.boundary is not None:
        inside = may(need, [holdings.boundary])
        answer["PermissionsBoundaryDecisionDetail"] = {"AllowedByPermissionsBoundary": inside}
    return answer


def _holdings(response: IamResponse, arn: str) -> Holdings:
    found = PRINCIPAL.fullmatch(arn)
    if found is None:
        raise aws_error("InvalidInput", f"Invalid Entity Arn: {arn}")
    backend = response.backend
    kept: Any = (backend.users if found[1] == "user" else backend.roles).values()
    owner = next((item for item in kept if item.arn == arn), None)
    if owner is None:
        raise aws_error("NoSuchEntity", f"The {found[1]} with name {found[2]} cannot be found.")
    return holdings_of(backend, owner)


def _context(response: IamResponse) -> Context:
    entries = response._get_param("ContextEntries") or []
    return {entry["ContextKeyName"]: list(entry["ContextKeyValues"]) for entry in entries}
