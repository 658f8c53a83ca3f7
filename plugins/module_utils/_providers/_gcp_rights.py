# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What the controller needs on Google Cloud, and why. C(policies/gcp) is written from this. Makes no calls.

Names are those of docs.cloud.google.com/iam/docs/roles-permissions. What is allowed inside a cluster is a permission of
IAM, too, and holds in all namespaces of all clusters of the project.
"""

from __future__ import annotations

import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._permissions import Right

MOST_AT_ONCE = 100
"""How many permissions one call of testIamPermissions takes."""

ACT_AS = "iam.serviceAccounts.actAs"
"""The one permission that is often granted on a service account instead of the project."""

DNS = "with dns_endpoint"
QUOTAS = "to look at quotas before anything is created"


def _of(what: str, purpose: str, *verbs: str) -> list[Right]:
    return [Right(f"{what}.{verb}", purpose) for verb in verbs]


_REACH = [
    Right("container.clusters.get", "see whether the GKE cluster is there, and its address"),
    Right("container.clusters.connect", "reach the cluster by its DNS endpoint", DNS),
]
_WRITE = ("create", "delete", "list", "update")

_DEPLOYER = [
    *_REACH,
    *_of("container.clusters", "the GKE cluster", "create", "delete"),
    *_of("container.clusters", "the machines of the NIMs", "update"),
    *_of("container.operations", "see how far work on the cluster is", "get"),
    Right(ACT_AS, "machines that run as their service account"),
    Right("compute.projects.get", "quotas of the project", QUOTAS),
    Right("compute.regions.get", "quotas of the region", QUOTAS),
    *_of("container.namespaces", "the namespace of the NIMs", "create", "delete", "get", "update"),
    *_of("container.deployments", "NIMs and their gateway", *_WRITE, "get"),
    *_of("container.deployments", "how many copies of a NIM run", "updateScale"),
    *_of("container.services", "the addresses of NIMs and gateway", *_WRITE, "get"),
    *_of("container.configMaps", "the gateway's configuration, with its deny list", *_WRITE),
    *_of("container.secrets", "the NGC key, the Hugging Face token and the gateway's certificate", *_WRITE),
    *_of("container.persistentVolumeClaims", "the disks with the models", *_WRITE),
    *_of("container.networkPolicies", "who can reach the NIMs", *_WRITE),
    *_of("container.roles", "the Role that lets artists start and stop NIMs", *_WRITE, "escalate"),
    *_of("container.pods", "tell why a NIM does not run", "list", "getLogs"),
    *_of("container.events", "tell why a NIM does not run", "list"),
]

_IDENTITIES = [
    *_REACH,
    *_of("iam.serviceAccounts", "service accounts of workstations", "create", "delete", "get"),
    *_of("iam.serviceAccountKeys", "keys of workstations: make, rotate, revoke", "create", "delete", "list"),
    *_of("resourcemanager.projects", "let workstations find the cluster", "getIamPolicy", "setIamPolicy"),
    *_of(
        "container.roleBindings",
        "which workstations may start and stop NIMs",
        "create",
        "delete",
        "get",
        "update",
    ),
    *_of("container.roles", "the Role that lets artists start and stop NIMs", "bind", "get"),
]

_READONLY = [
    *_REACH,
    *_of("container.deployments", "see which NIMs there are and which run", "list"),
    *_of("container.services", "the address of the gateway", "get"),
    *_of("container.pods", "tell why a NIM does not run", "list", "getLogs"),
    *_of("container.events", "tell why a NIM does not run", "list"),
    *_of("logging.logEntries", "usage: what the gateway has logged", "list"),
    *_of("monitoring.timeSeries", "usage: whether a GPU works, where the log does not tell", "list"),
]

RIGHTS: dict[str, list[Right]] = {"deployer": _DEPLOYER, "identities": _IDENTITIES, "readonly": _READONLY}
"""What each role needs in the project."""

ELSEWHERE: dict[str, list[Right]] = {
    "spend": [
        *_of("bigquery.jobs", "ask for what was billed, in the target's project", "create"),
        *_of("bigquery.tables", "read the billing export, on its table, dataset or project", "getData"),
    ],
}
"""What only some need, and partly in another project."""

_TEXTS = {
    "deployer": "Deploys, starts, stops and removes NIMs on GKE.",
    "identities": "Makes, rotates and revokes identities of workstations.",
    "readonly": "Reads which NIMs there are, why one does not run and who used them.",
    "spend": "Reads what was billed.",
}


def definitions() -> dict[str, dict[str, t.Any]]:
    """Return all custom roles, by name, in the form that C(gcloud iam roles create --file) takes."""
    return {
        name: {
            "title": f"BudgetGuard {name}",
            "description": _TEXTS[name],
            "stage": "GA",
            "includedPermissions": sorted(right.name for right in rights),
        }
        for name, rights in {**RIGHTS, **ELSEWHERE}.items()
    }


def batches(names: t.Sequence[str]) -> list[list[str]]:
    """Split names into lists that one call takes."""
    return [list(names[start : start + MOST_AT_ONCE]) for start in range(0, len(names), MOST_AT_ONCE)]
