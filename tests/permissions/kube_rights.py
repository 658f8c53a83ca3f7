# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rights the recorded calls of AKS, GKE and Kubernetes need. What is not written down here is an error.

Operations of Azure are those of Microsoft's list for Microsoft.ContainerService, permissions of Google those of
docs.cloud.google.com/kubernetes-engine/docs/reference/api-permissions.
"""

from __future__ import annotations

import typing as t

from tests.clusters.cluster import TOKEN_SERVICES, path_of

Call = dict[str, t.Any]

AKS = "Microsoft.ContainerService/managedClusters"
GROUPS = "Microsoft.Resources/subscriptions/resourceGroups"
ASSIGNMENTS = "Microsoft.Authorization/roleAssignments"
WORKSPACES = "Microsoft.OperationalInsights/workspaces"

ARM = {
    "AgentPools_CreateOrUpdate": f"{AKS}/agentPools/write",
    "AgentPools_Delete": f"{AKS}/agentPools/delete",
    "AgentPools_Get": f"{AKS}/agentPools/read",
    "ManagedClusters_CreateOrUpdate": f"{AKS}/write",
    "ManagedClusters_Delete": f"{AKS}/delete",
    "ManagedClusters_Get": f"{AKS}/read",
    "ManagedClusters_ListClusterUserCredentials": f"{AKS}/listClusterUserCredential/action",
    "ManagedClusters_Start": f"{AKS}/start/action",
    "ManagedClusters_Stop": f"{AKS}/stop/action",
    "Operations_Get": "Microsoft.ContainerService/locations/operations/read",
    "ResourceGroups_CreateOrUpdate": f"{GROUPS}/write",
    "ResourceGroups_Delete": f"{GROUPS}/delete",
    "ResourceGroups_Get": f"{GROUPS}/read",
    "RoleAssignments_Create": f"{ASSIGNMENTS}/write",
    "RoleAssignments_Delete": f"{ASSIGNMENTS}/delete",
    "RoleAssignments_ListForScope": f"{ASSIGNMENTS}/read",
    "Resources_ListByResourceGroup": f"{GROUPS}/resources/read",
    "Usage_List": "Microsoft.Compute/locations/usages/read",
    "Workspaces_Get": f"{WORKSPACES}/read",
}

#: Application permissions of Microsoft Graph that suffice for what the caller has made itself, by the table Permissions
#: of each call's page below learn.microsoft.com/graph/api.
GRAPH = {
    "AddPassword": "Application.ReadWrite.OwnedBy",
    "DeleteApplication": "Application.ReadWrite.OwnedBy",
    "DeleteServicePrincipal": "Application.ReadWrite.OwnedBy",
    "GetApplication": "Application.ReadWrite.OwnedBy",
    "GetServicePrincipal": "Application.ReadWrite.OwnedBy",
    "RemovePassword": "Application.ReadWrite.OwnedBy",
    "UpsertApplication": "Application.ReadWrite.OwnedBy",
    "UpsertServicePrincipal": "Application.ReadWrite.OwnedBy",
}

GOOGLE = {
    "CreateCluster": "container.clusters.create",
    "CreateNodePool": "container.clusters.update",
    "DeleteCluster": "container.clusters.delete",
    "DeleteNodePool": "container.clusters.update",
    "GetCluster": "container.clusters.get",
    "GetOperation": "container.operations.get",
    "SetNodePoolAutoscaling": "container.clusters.update",
    "SetNodePoolSize": "container.clusters.update",
    "UpdateNodePool": "container.clusters.update",
    "projects.get": "compute.projects.get",
    "regions.get": "compute.regions.get",
    "CreateServiceAccount": "iam.serviceAccounts.create",
    "CreateServiceAccountKey": "iam.serviceAccountKeys.create",
    "DeleteServiceAccount": "iam.serviceAccounts.delete",
    "DeleteServiceAccountKey": "iam.serviceAccountKeys.delete",
    "GetIamPolicy": "resourcemanager.projects.getIamPolicy",
    "GetServiceAccount": "iam.serviceAccounts.get",
    "ListServiceAccountKeys": "iam.serviceAccountKeys.list",
    "SetIamPolicy": "resourcemanager.projects.setIamPolicy",
    "entries.list": "logging.logEntries.list",
    "timeSeries.list": "monitoring.timeSeries.list",
}

#: Groups of API, as Azure writes them in front of a kind.
AZURE_GROUPS = {
    "daemonsets": "apps/",
    "deployments": "apps/",
    "networkpolicies": "networking.k8s.io/",
    "rolebindings": "rbac.authorization.k8s.io/",
    "roles": "rbac.authorization.k8s.io/",
}
AZURE_VERBS = {"get": "read", "list": "read", "apply": "write", "patch": "write", "delete": "delete"}

GOOGLE_KINDS = {
    "configmaps": "configMaps",
    "daemonsets": "daemonSets",
    "networkpolicies": "networkPolicies",
    "persistentvolumeclaims": "persistentVolumeClaims",
    "rolebindings": "roleBindings",
}
#: A server-side apply makes what is not there.
GOOGLE_VERBS = {
    "get": ("get",),
    "list": ("list",),
    "apply": ("create", "update"),
    "patch": ("update",),
    "delete": ("delete",),
}
GOOGLE_SUBRESOURCES = {("patch", "deployments", "scale"): "updateScale", ("get", "pods", "log"): "getLogs"}


def needed(cloud: str, calls: t.Iterable[Call]) -> set[str]:
    """Return all rights that calls need, permissions of Microsoft Graph among them."""
    found: set[str] = set()
    for call in calls:
        if call["service"] in TOKEN_SERVICES:
            continue
        if call["service"] == "graph":
            found.add(GRAPH[call["action"]])
            continue
        if call["service"] == "log-analytics":
            # By learn.microsoft.com/azure/azure-monitor/logs/manage-access: to ask, and each table that is asked for.
            table = call["params"]["query"].split()[0]
            found |= {f"{WORKSPACES}/query/read", f"{WORKSPACES}/query/{table}/read"}
            continue
        if call["service"] == "azure-prometheus":
            # By Azure's own refusal of who lacks it, and by the definition of its role Monitoring Data Reader.
            found.add("Microsoft.Monitor/accounts/data/metrics/read")
            continue
        if call["service"] == "kube":
            verb, _space, resource = call["action"].partition(" ")
            kind, _slash, subresource = resource.partition("/")
            assert call["path"].startswith("/clusters/"), path_of(call)
            found |= (_azure if cloud == "azure" else _google)(verb, kind, subresource)
        else:
            found.add((ARM if cloud == "azure" else GOOGLE)[call["action"]])
    return found


def _azure(verb: str, kind: str, _subresource: str) -> set[str]:
    """Return the data actions of AKS. It knows no subresources: who may read pods may read their logs."""
    rights = {f"{AKS}/{AZURE_GROUPS.get(kind, '')}{kind}/{AZURE_VERBS[verb]}"}
    if (verb, kind) == ("apply", "roles"):
        # Kubernetes lets nobody put into a Role what its own RBAC does not give them, unless they may escalate.
        rights.add(f"{AKS}/{AZURE_GROUPS[kind]}{kind}/escalate/action")
    if (verb, kind) == ("apply", "rolebindings"):
        rights.add(f"{AKS}/{AZURE_GROUPS['roles']}roles/bind/action")
    return rights


def _google(verb: str, kind: str, subresource: str) -> set[str]:
    name = GOOGLE_KINDS.get(kind, kind)
    if subresource:
        return {f"container.{name}.{GOOGLE_SUBRESOURCES[verb, kind, subresource]}"}
    rights = {f"container.{name}.{word}" for word in GOOGLE_VERBS[verb]}
    if (verb, kind) == ("apply", "roles"):
        rights.add("container.roles.escalate")
    if (verb, kind) == ("apply", "rolebindings"):
        rights.add("container.roles.bind")
    return rights
