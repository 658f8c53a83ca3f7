# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a workstation's identity can and cannot do, as the table in policies/README.md. A test compares them.

AWS is answered by the sandbox's evaluator of IAM policies from policies/aws/artist.json, Azure and Google Cloud by the
rules of the Kubernetes Role for artists, which is all that an identity has inside a cluster.
Run as ``python -m tests.permissions.artist_table`` to print the table.
"""

from __future__ import annotations

import sys
import typing as t

from tests.tools import layout

sys.path.insert(0, str(layout.LINKS))

from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import MANAGED_TAG
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _kube_objects as kube
from tests.permissions.holder import read
from tests.sandbox.aws_access.policy import Need, may
from tests.sandbox.state import ACCOUNT_ID

STUDIO, ELSEWHERE = "203.0.113.7", "198.51.100.7"
ECS = f"arn:aws:ecs:us-east-1:{ACCOUNT_ID}"
SERVICE = f"{ECS}:service/budgetguard/nim-flux-dev-l40s"
GATEWAY = f"{ECS}:service/budgetguard/gateway"
GATEWAY_TASK = f"{ECS}:task-definition/budgetguard-gateway-12345678:1"
OURS = {f"aws:ResourceTag/{MANAGED_TAG}": "true"}
SECRET = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT_ID}:secret:budgetguard/nim-abc123"
USER = f"arn:aws:iam::{ACCOUNT_ID}:user/budgetguard/ws-ws-02"

Aws = tuple[str, str, dict[str, str]]
#: Verb, API group, and kind with its subresource, in the namespace of the NIMs.
Rule = tuple[str, str, str]


ROWS: list[tuple[str, Aws, Rule | None]] = [
    (
        "start or stop a NIM",
        ("ecs:UpdateService", SERVICE, OURS),
        ("patch", "apps", "deployments/scale"),
    ),
    ("see whether it runs", ("ecs:DescribeServices", SERVICE, {}), ("get", "apps", "deployments")),
    (
        "change the image of a NIM",
        ("ecs:UpdateService", SERVICE, {**OURS, "ecs:task-definition": f"{ECS}:task-definition/other:1"}),
        ("patch", "apps", "deployments"),
    ),
    (
        "switch a NIM to another image that the deployer has registered for this cluster",
        ("ecs:UpdateService", SERVICE, {**OURS, "ecs:task-definition": f"{ECS}:task-definition/budgetguard-nim-x:1"}),
        ("patch", "apps", "deployments"),
    ),
    (
        "write a task definition, or make a Deployment",
        ("ecs:RegisterTaskDefinition", f"{ECS}:task-definition/budgetguard-nim:1", {}),
        ("create", "apps", "deployments"),
    ),
    ("remove a NIM", ("ecs:DeleteService", SERVICE, OURS), ("delete", "apps", "deployments")),
    (
        "switch other services of the account or cluster",
        ("ecs:UpdateService", f"{ECS}:service/render/farm", {}),
        ("patch", "apps", "statefulsets/scale"),
    ),
    (
        "give the gateway another configuration, such as an old deny list",
        ("ecs:UpdateService", GATEWAY, {**OURS, "ecs:task-definition": GATEWAY_TASK}),
        ("patch", "", "configmaps"),
    ),
    (
        "switch the gateway off, for all",
        ("ecs:UpdateService", GATEWAY, OURS),
        ("patch", "apps", "deployments/scale"),
    ),
    ("read the NGC key", ("secretsmanager:GetSecretValue", SECRET, {}), ("get", "", "secrets")),
    ("run a container of its own", ("ecs:RunTask", f"{ECS}:task-definition/x:1", {}), ("create", "", "pods")),
    (
        "open a shell in a NIM",
        ("ecs:ExecuteCommand", f"{ECS}:task/budgetguard/1", {}),
        ("create", "", "pods/exec"),
    ),
    (
        "let a shell be opened (enable execute command)",
        ("ecs:UpdateService", SERVICE, {**OURS, "ecs:enable-execute-command": "true"}),
        None,
    ),
    ("pass a role", ("iam:PassRole", f"arn:aws:iam::{ACCOUNT_ID}:role/budgetguard/budgetguard-x", {}), None),
    (
        "read or change other workstations",
        ("iam:GetUser", USER, {}),
        ("get", "rbac.authorization.k8s.io", "rolebindings"),
    ),
    ("make keys, also for itself", ("iam:CreateAccessKey", USER, {}), ("create", "", "serviceaccounts/token")),
    (
        "give itself more",
        ("iam:PutUserPolicy", USER, {}),
        ("patch", "rbac.authorization.k8s.io", "roles"),
    ),
    ("start machines", ("ec2:RunInstances", "*", {}), ("create", "", "nodes")),
]

START_ELSEWHERE = "start a NIM from outside of the studio's networks"


def rows() -> list[tuple[str, str, str]]:
    """Return the cells of the table, one row for each deed."""
    policy = [read("artist")]
    rules = kube.artists_role(kube.KubeSettings())["rules"]

    def aws(deed: Aws, address: str) -> str:
        action, resource, keys = deed
        context = {**keys, "aws:SourceIp": address, "aws:ViaAWSService": "false"}
        return _word(may(Need(action, resource, context), policy))

    found = [
        (name, aws(deed, STUDIO), "-" if rule is None else _word(_allowed(rules, rule))) for name, deed, rule in ROWS
    ]
    return [*found, (START_ELSEWHERE, aws(ROWS[0][1], ELSEWHERE), "-")]


def _allowed(rules: t.Iterable[dict[str, t.Any]], rule: Rule) -> bool:
    """Evaluate the rules of a Role. Names of single objects and wildcards would need more, and are refused."""
    verb, group, resource = rule
    for item in rules:
        assert set(item) == {"apiGroups", "resources", "verbs"}, item
        assert "*" not in [*item["apiGroups"], *item["resources"], *item["verbs"]], item
        if verb in item["verbs"] and group in item["apiGroups"] and resource in item["resources"]:
            return True
    return False


def _word(allowed: bool) -> str:
    return "**yes**" if allowed else "no"


def table() -> str:
    """Return the table in Markdown."""
    head = ["| may it ...? | AWS | Azure, Google Cloud |", "|---|---|---|"]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows())]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
