# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What the controller needs on Azure, and why. The files in C(policies/azure) are written from this. Makes no calls.

Names of operations are those of Microsoft's lists of resource provider operations. With Azure RBAC a right inside a
cluster is a data action: one for reading, one for writing and one for deleting each kind of object, subresources such
as a Deployment's scale or a pod's log included.
"""

from __future__ import annotations

import base64
import fnmatch
import json
import re
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._permissions import Right

GRAPH_PERMISSION = "Application.ReadWrite.OwnedBy"
GRAPH_PURPOSE = "applications of workstations: make, rotate, revoke those that it has made itself"

AKS = "Microsoft.ContainerService/managedClusters"
WORKSPACES = "Microsoft.OperationalInsights/workspaces"
GROUPS = "Microsoft.Resources/subscriptions/resourceGroups"
ASSIGNMENTS = "Microsoft.Authorization/roleAssignments"
K8S_ROLES = "rbac.authorization.k8s.io"

QUOTAS = "to look at quotas before anything is created"
SUBNET = "with subnet_id"
SPEND = "for spend, on the subscription"
USAGE = "for usage, on the workspace of Log Analytics"
METRICS = "for usage without a log, on the Azure Monitor workspace (usage_prometheus_query_endpoint)"


def _data(kind: str, purpose: str, *verbs: str) -> list[Right]:
    return [Right(f"{AKS}/{kind}/{verb}", purpose, of_data=True) for verb in verbs]


_REACH = [
    Right(f"{AKS}/read", "see whether the AKS cluster is there"),
    Right(f"{AKS}/listClusterUserCredential/action", "the address of the cluster's API and its certificate"),
]
_ALL = ("read", "write", "delete")

_DEPLOYER = [
    *_REACH,
    Right(f"{GROUPS}/read", "see whether the resource group is there"),
    Right(f"{GROUPS}/write", "make the resource group if there is none"),
    Right(f"{GROUPS}/delete", "remove the resource group that was made here"),
    Right(f"{GROUPS}/resources/read", "see whether the resource group holds things of others before it is removed"),
    Right(f"{AKS}/write", "the AKS cluster"),
    Right(f"{AKS}/delete", "remove the AKS cluster that was made here"),
    Right(f"{AKS}/start/action", "switch the whole cluster on"),
    Right(f"{AKS}/stop/action", "switch the whole cluster off (stop_cluster)"),
    Right(f"{AKS}/agentPools/read", "see the machines of the NIMs"),
    Right(f"{AKS}/agentPools/write", "the machines of the NIMs"),
    Right(f"{AKS}/agentPools/delete", "remove the machines of the NIMs"),
    Right("Microsoft.ContainerService/locations/operations/read", "see how far work on the cluster is"),
    *_data("namespaces", "the namespace of the NIMs", *_ALL),
    *_data("apps/deployments", "NIMs and their gateway, and how many run", *_ALL),
    *_data("apps/daemonsets", "NVIDIA's device plugin, in kube-system", *_ALL),
    *_data("services", "the addresses of NIMs and gateway", *_ALL),
    *_data("configmaps", "the gateway's configuration, with its deny list", *_ALL),
    *_data("secrets", "the NGC key, the Hugging Face token and the gateway's certificate", *_ALL),
    *_data("persistentvolumeclaims", "the disks with the models", *_ALL),
    *_data("networking.k8s.io/networkpolicies", "who can reach the NIMs", *_ALL),
    *_data(f"{K8S_ROLES}/roles", "the Role that lets artists start and stop NIMs", *_ALL, "escalate/action"),
    *_data("pods", "tell why a NIM does not run, with the last lines of its log", "read"),
    *_data("events", "tell why a NIM does not run", "read"),
]

_IDENTITIES = [
    *_REACH,
    Right(f"{ASSIGNMENTS}/read", "see which workstations may fetch the cluster's address"),
    Right(f"{ASSIGNMENTS}/write", "let a workstation fetch the cluster's address, and nothing else"),
    Right(f"{ASSIGNMENTS}/delete", "take that away from a workstation"),
    *_data(f"{K8S_ROLES}/rolebindings", "which workstations may start and stop NIMs", *_ALL),
    *_data(f"{K8S_ROLES}/roles", "the Role that lets artists start and stop NIMs", "read", "bind/action"),
]

_READONLY = [
    *_REACH,
    Right(f"{GROUPS}/read", "see whether the resource group is there"),
    *_data("apps/deployments", "see which NIMs there are and which run", "read"),
    *_data("services", "the address of the gateway", "read"),
    *_data("pods", "tell why a NIM does not run, with the last lines of its log", "read"),
    *_data("events", "tell why a NIM does not run", "read"),
    # Who may query still reads no table but those of which it is said.
    Right(f"{WORKSPACES}/read", "find the workspace to which the cluster sends its logs", USAGE),
    Right(f"{WORKSPACES}/query/read", "ask what the gateway has logged", USAGE),
    Right(f"{WORKSPACES}/query/ContainerLogV2/read", "read what containers have logged, and nothing else", USAGE),
    Right("Microsoft.Monitor/accounts/data/metrics/read", "see whether a GPU works", METRICS, of_data=True),
]

RIGHTS: dict[str, list[Right]] = {"deployer": _DEPLOYER, "identities": _IDENTITIES, "readonly": _READONLY}
"""What each role needs on the resource group."""

ELSEWHERE: dict[str, list[Right]] = {
    "deployer_quotas": [Right("Microsoft.Compute/locations/usages/read", "quotas of the region", QUOTAS)],
    "deployer_network": [
        Right("Microsoft.Network/virtualNetworks/subnets/read", "the studio's subnet", SUBNET),
        Right("Microsoft.Network/virtualNetworks/subnets/join/action", "put machines into the studio's subnet", SUBNET),
    ],
    # Microsoft lists both for the one call. Its own role Cost Management Reader has the second alone.
    "spend": [
        Right("Microsoft.CostManagement/query/action", "what was billed", SPEND),
        Right("Microsoft.CostManagement/query/read", "what was billed", SPEND),
    ],
}
"""What only some need, and on something else than the resource group: the subscription, or a subnet."""

_TEXTS = {
    "deployer": "Deploys, starts, stops and removes NIMs on AKS. Assign it on the resource group of the cluster.",
    "deployer_network": "Lets the deployer put a cluster into a subnet (subnet_id). Assign it on the subnet.",
    "deployer_quotas": "Lets the deployer look at quotas before anything is created. Assign it on the subscription.",
    "identities": "Makes, rotates and revokes identities of workstations. Assign it on the resource group.",
    "readonly": "Reads which NIMs there are, why one does not run and who used them. Assign it on the resource group.",
    "spend": "Reads what was billed. Assign it on the subscription.",
}

NO_SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"


def definitions() -> dict[str, dict[str, t.Any]]:
    """Return all custom roles, by name, in the form that C(az role definition create) takes."""
    return {
        name: {
            "Name": f"BudgetGuard {name.replace('_', ' ')}",
            "IsCustom": True,
            "Description": _TEXTS[name],
            "Actions": sorted(right.name for right in rights if not right.of_data),
            "NotActions": [],
            "DataActions": sorted(right.name for right in rights if right.of_data),
            "NotDataActions": [],
            "AssignableScopes": [f"/subscriptions/{NO_SUBSCRIPTION}"],
        }
        for name, rights in {**RIGHTS, **ELSEWHERE}.items()
    }


def holds(permissions: t.Iterable[t.Mapping[str, t.Any]], right: Right) -> bool:
    """Say whether permissions, as Azure lists them, allow an operation.

    Each entry comes from one role: what it excludes is taken from this entry alone, and another entry can still allow
    it (learn.microsoft.com/azure/role-based-access-control/role-definitions#notactions).
    """
    allowed, excluded = ("dataActions", "notDataActions") if right.of_data else ("actions", "notActions")
    return any(
        _is_in(right.name, entry.get(allowed) or ()) and not _is_in(right.name, entry.get(excluded) or ())
        for entry in permissions
    )


def _is_in(operation: str, patterns: t.Iterable[str]) -> bool:
    """Compare without regard to capitals. Of all characters only C(*) is special, and it goes over slashes, too."""
    return any(
        re.fullmatch(fnmatch.translate(re.sub(r"([\[?])", r"[\1]", pattern.lower())), operation.lower()) is not None
        for pattern in patterns
    )


def graph_permissions(token: str) -> frozenset[str] | None:
    """Return the application permissions that a token for Microsoft Graph carries; None where it cannot be read.

    The token is only looked at. Whether it is genuine is Microsoft's business.
    """
    try:
        part = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        return frozenset(str(name) for name in claims.get("roles") or ())
    except (AttributeError, IndexError, TypeError, ValueError):
        return None
