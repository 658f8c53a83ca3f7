# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Azure Resource Manager: routes, resource groups, quotas, and the polling of long-running work."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from werkzeug.wrappers import Request, Response

from tests.sandbox.azure.aks import Cluster, ManagedClusters
from tests.sandbox.azure.aks_rules import AksError
from tests.sandbox.azure.directory import Directory
from tests.sandbox.azure.entra import AzureAccount, Entra
from tests.sandbox.azure.machines import REGIONS, SPOT, TOTAL, families
from tests.sandbox.azure.permissions import PROVIDER as PERMISSIONS
from tests.sandbox.azure.permissions import CallersPermissions
from tests.sandbox.azure.roles import PROVIDER as ROLES
from tests.sandbox.azure.roles import RoleAssignments
from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.kube import KubeApplication
from tests.sandbox.operations import Failure, Operation, Operations
from tests.sandbox.rest import ApiError, PathValues, RestService, Route, json_response

Json = dict[str, Any]

SUBSCRIPTION = "/subscriptions/{subscription}"
GROUP = SUBSCRIPTION + "/resourceGroups/{group}"
AKS = "/providers/Microsoft.ContainerService"
CLUSTERS = GROUP + AKS + "/managedClusters"
CLUSTER = CLUSTERS + "/{cluster}"
POOL = CLUSTER + "/agentPools/{pool}"
WORKSPACE = GROUP + "/providers/Microsoft.OperationalInsights/workspaces/{workspace}"
COMPUTE = SUBSCRIPTION + "/providers/Microsoft.Compute/locations/{location}"
OPERATION = SUBSCRIPTION + AKS + "/locations/{location}/operations/{operation}"
GROUP_RESULT = SUBSCRIPTION + "/operationresults/{operation}"

API_VERSION = re.compile(r"20\d\d-\d\d-\d\d(-preview)?")
GROUP_NAME = re.compile(r"[-\w.()]{0,89}[-\w()]")
#: Seconds that Azure asks clients to wait between two looks.
POLL_SECONDS = 10
#: Vcpus of every quota, unless a test has said otherwise. New subscriptions have 0 for most GPU families.
DEFAULT_LIMIT = 500
LOCALIZED = {TOTAL: "Total Regional vCPUs", SPOT: "Total Regional Spot vCPUs"}


@dataclass
class ResourceGroup:
    """A resource group."""

    name: str
    location: str
    tags: Json = field(default_factory=dict)
    state: str = "Succeeded"


class ResourceManager(RestService):
    """Answers below ``/subscriptions``."""

    def __init__(
        self,
        account: AzureAccount,
        directory: Directory,
        entra: Entra,
        kube: KubeApplication,
        ca_pem: str,
        calls: CallLog,
        interferences: Interferences,
    ) -> None:
        self._account = account
        self._entra = entra
        self._operations = Operations()
        self._roles = RoleAssignments(directory)
        self._groups: dict[str, ResourceGroup] = {}
        self._limits: dict[tuple[str, str], int] = {}
        self.permissions = CallersPermissions()
        self._clusters = ManagedClusters(
            entra, kube, self._operations, ca_pem, self._check_quota, self.planned_failure, self._roles.forget
        )
        super().__init__("arm", calls, interferences)

    def routes(self) -> list[Route]:
        """Return the operations, named as in Microsoft's specifications. Paths do not depend on case."""
        table = [
            ("GET", SUBSCRIPTION + "/resourcegroups", "ResourceGroups_List", self._list_groups),
            ("GET", GROUP, "ResourceGroups_Get", self._get_group),
            ("HEAD", GROUP, "ResourceGroups_CheckExistence", self._head_group),
            ("PUT", GROUP, "ResourceGroups_CreateOrUpdate", self._put_group),
            ("DELETE", GROUP, "ResourceGroups_Delete", self._delete_group),
            ("GET", GROUP + "/resources", "Resources_ListByResourceGroup", self._list_resources),
            ("GET", GROUP_RESULT, "OperationResults_Get", self._group_result),
            ("GET", SUBSCRIPTION + AKS + "/managedClusters", "ManagedClusters_List", self._list_clusters),
            ("GET", CLUSTERS, "ManagedClusters_ListByResourceGroup", self._list_clusters),
            ("GET", CLUSTER, "ManagedClusters_Get", self._get_cluster),
            ("PUT", CLUSTER, "ManagedClusters_CreateOrUpdate", self._put_cluster),
            ("PATCH", CLUSTER, "ManagedClusters_UpdateTags", self._patch_cluster),
            ("DELETE", CLUSTER, "ManagedClusters_Delete", self._delete_cluster),
            ("POST", CLUSTER + "/start", "ManagedClusters_Start", self._start_cluster),
            ("POST", CLUSTER + "/stop", "ManagedClusters_Stop", self._stop_cluster),
            (
                "POST",
                CLUSTER + "/listClusterUserCredential",
                "ManagedClusters_ListClusterUserCredentials",
                self._user_credentials,
            ),
            (
                "POST",
                CLUSTER + "/listClusterAdminCredential",
                "ManagedClusters_ListClusterAdminCredentials",
                self._admin_credentials,
            ),
            ("GET", CLUSTER + "/agentPools", "AgentPools_List", self._list_pools),
            ("GET", POOL, "AgentPools_Get", self._get_pool),
            ("PUT", POOL, "AgentPools_CreateOrUpdate", self._put_pool),
            ("DELETE", POOL, "AgentPools_Delete", self._delete_pool),
            ("GET", OPERATION, "Operations_Get", self._get_operation),
            ("GET", WORKSPACE, "Workspaces_Get", self._get_workspace),
            ("GET", COMPUTE + "/usages", "Usage_List", self._list_usages),
            ("GET", GROUP + PERMISSIONS, "Permissions_ListForResourceGroup", self._list_permissions),
            ("GET", SUBSCRIPTION + PERMISSIONS, "Permissions_ListForSubscription", self._list_permissions),
            *self._role_routes(),
        ]
        return [Route(method, path, action, handler, ignore_case=True) for method, path, action, handler in table]

    def _role_routes(self) -> list[tuple[str, str, str, Callable[[Request, PathValues], Response]]]:
        found: list[tuple[str, str, str, Callable[[Request, PathValues], Response]]] = []
        for scope in (SUBSCRIPTION, GROUP, CLUSTER):
            found += [
                ("GET", scope + ROLES, "RoleAssignments_ListForScope", self._list_roles),
                ("GET", scope + ROLES + "/{assignment}", "RoleAssignments_Get", self._get_role),
                ("PUT", scope + ROLES + "/{assignment}", "RoleAssignments_Create", self._put_role),
                ("DELETE", scope + ROLES + "/{assignment}", "RoleAssignments_Delete", self._delete_role),
            ]
        return found

    def handles(self, request: Request) -> bool:
        """Whether the path is below ``/subscriptions``, known or not."""
        return request.path.lower().startswith("/subscriptions/")

    def kube_ids(self) -> set[str]:
        """Return the ids under which the clusters' APIs are found."""
        return {cluster.kube_id for cluster in self._clusters.all()}

    def _get_workspace(self, request: Request, values: PathValues) -> Response:
        """Answer for every name: there is one workspace of Log Analytics."""
        properties = {"customerId": self._account.workspace_id, "provisioningState": "Succeeded"}
        return json_response({"id": request.path, "name": values["workspace"], "properties": properties})

    def check(self, request: Request, values: PathValues) -> None:
        """Refuse requests without a token for Azure Resource Manager, and those that no subscription of ours is for."""
        principal = self._entra.check_management(request)
        versions = request.args.getlist("api-version")
        if len(versions) != 1:
            raise ApiError(
                400,
                "MissingApiVersionParameter",
                "The api-version query parameter (?api-version=) is required for all requests.",
            )
        if not API_VERSION.fullmatch(versions[0]):
            raise ApiError(
                400, "InvalidApiVersionParameter", f"The api-version '{versions[0]}' is invalid. It must be a date."
            )
        subscription = values.get("subscription")
        if subscription is not None and subscription.lower() != self._account.subscription_id:
            raise ApiError(404, "SubscriptionNotFound", f"The subscription '{subscription}' could not be found.")
        self._operations.advance()
        if principal is not None:
            self._roles.check_access(principal, request)

    def error_response(self, error: ApiError) -> Response:
        """Return an error as Azure Resource Manager wants it; AKS has a form of its own."""
        if isinstance(error, AksError):
            return json_response(
                {"code": error.code, "details": None, "message": error.message, "subcode": ""}, error.status
            )
        return json_response({"error": {"code": error.code, "message": error.message}}, error.status)

    # -- for the control API ------------------------------------------------------------------------------------------

    def resources(self) -> dict[str, list[str]]:
        """Return the names of what exists."""
        self._operations.advance()
        clusters = self._clusters.all()
        return {
            "resource_groups": sorted(group.name for group in self._groups.values()),
            "clusters": sorted(f"{item.group}/{item.name}" for item in clusters),
            "agent_pools": sorted(f"{item.group}/{item.name}/{pool}" for item in clusters for pool in item.pools),
        }

    def role_assignments(self) -> dict[str, list[str]]:
        """Return who has a role on what."""
        return {"role_assignments": self._roles.names()}

    def set_limit(self, region: str, name: str, limit: int) -> None:
        """Change a quota. Raises ValueError for one that is not there."""
        known = {family.lower(): family for family in self._quotas()}
        if name.lower() not in known:
            raise ValueError(f"unknown quota {name!r}, known are {', '.join(known.values())}")
        if region not in REGIONS:
            raise ValueError(f"unknown region {region!r}, known are {', '.join(sorted(REGIONS))}")
        self._limits[region, known[name.lower()]] = limit

    def reset(self) -> None:
        """Forget everything but the tokens: they belong to clients that go on."""
        self._operations.clear()
        self._groups.clear()
        self._limits.clear()
        self.permissions.reset()
        self._clusters.reset()
        self._roles.reset()

    # -- resource groups ----------------------------------------------------------------------------------------------

    def _group(self, values: PathValues) -> ResourceGroup:
        group = self._groups.get(values["group"].lower())
        if group is None:
            raise ApiError(404, "ResourceGroupNotFound", f"Resource group '{values['group']}' could not be found.")
        return group

    def _render_group(self, group: ResourceGroup) -> Json:
        return {
            "id": f"/subscriptions/{self._account.subscription_id}/resourceGroups/{group.name}",
            "name": group.name,
            "type": "Microsoft.Resources/resourceGroups",
            "location": group.location,
            "tags": group.tags,
            "properties": {"provisioningState": group.state},
        }

    def _list_groups(self, _request: Request, _values: PathValues) -> Response:
        return json_response({"value": [self._render_group(group) for group in self._groups.values()]})

    def _get_group(self, _request: Request, values: PathValues) -> Response:
        return json_response(self._render_group(self._group(values)))

    def _head_group(self, _request: Request, values: PathValues) -> Response:
        return Response(status=204 if values["group"].lower() in self._groups else 404)

    def _put_group(self, request: Request, values: PathValues) -> Response:
        body = json.loads(request.get_data(as_text=True) or "{}")
        unknown = sorted(set(body) - {"location", "tags"})
        if unknown:
            message = f"Could not find member '{unknown[0]}' on object of type 'ResourceGroupDefinition'."
            raise ApiError(400, "InvalidRequestContent", f"The request content was invalid: {message}")
        location, name = body.get("location"), values["group"]
        if location not in REGIONS:
            raise ApiError(
                400,
                "LocationNotAvailableForResourceGroup",
                f"The provided location '{location}' is not available for resource group. List of available regions "
                f"is '{','.join(sorted(REGIONS))}'.",
            )
        if not GROUP_NAME.fullmatch(name):
            raise ApiError(400, "InvalidResourceGroup", f"The provided resource group name '{name}' is not valid.")
        before = self._groups.get(name.lower())
        if before is not None and before.location != location:
            raise ApiError(
                409,
                "InvalidResourceGroupLocation",
                f"Invalid resource group location '{location}'. The Resource group already exists in location "
                f"'{before.location}'.",
            )
        if before is not None and before.state == "Deleting":
            raise _deprovisioning(name)
        group = ResourceGroup(before.name if before else name, location, body.get("tags") or {})
        self._groups[name.lower()] = group
        return json_response(self._render_group(group), 200 if before else 201)

    def _list_resources(self, _request: Request, values: PathValues) -> Response:
        group = self._group(values)
        kept = ("id", "name", "type", "location", "tags", "kind", "sku", "identity")
        found = [self._clusters.render(cluster) for cluster in self._clusters.all(group.name)]
        return json_response({"value": [{name: item[name] for name in kept if name in item} for item in found]})

    def _delete_group(self, request: Request, values: PathValues) -> Response:
        group = self._group(values)
        group.state = "Deleting"

        def finish(failure: Failure | None) -> None:
            if failure is not None:
                group.state = "Succeeded"
                return
            for cluster in self._clusters.all(group.name):
                self._clusters.remove(cluster)
            self._groups.pop(group.name.lower(), None)

        operation = self._operations.begin("Deleting", f"group {group.name}", finish)
        path = GROUP_RESULT.format(subscription=self._account.subscription_id, operation=operation.name)
        headers = {"Location": _absolute(request, path), **_pause(operation)}
        return Response(status=202, headers=headers)

    def _group_result(self, request: Request, values: PathValues) -> Response:
        operation = self._operation(values)
        if operation.done:
            return Response(status=200)
        path = GROUP_RESULT.format(subscription=self._account.subscription_id, operation=operation.name)
        return Response(status=202, headers={"Location": _absolute(request, path), **_pause(operation)})

    def _list_permissions(self, request: Request, values: PathValues) -> Response:
        if "group" in values:
            self._group(values)
        return self.permissions.list_all(request)

    # -- clusters -----------------------------------------------------------------------------------------------------

    def _cluster(self, values: PathValues) -> Cluster:
        self._group(values)
        return self._clusters.find(values["group"], values["cluster"])

    def _list_clusters(self, _request: Request, values: PathValues) -> Response:
        if "group" in values:
            self._group(values)
        found = self._clusters.all(values.get("group"))
        return json_response({"value": [self._clusters.render(cluster) for cluster in found]})

    def _get_cluster(self, _request: Request, values: PathValues) -> Response:
        return self._show(self._cluster(values))

    def _show(self, cluster: Cluster, status: int = 200, headers: dict[str, str] | None = None) -> Response:
        return json_response(self._clusters.render(cluster), status, {"ETag": cluster.etag, **(headers or {})})

    def _put_cluster(self, request: Request, values: PathValues) -> Response:
        group = self._group(values)
        if group.state == "Deleting":
            raise _deprovisioning(group.name)
        path = CLUSTER.format(subscription=self._account.subscription_id, group=group.name, cluster=values["cluster"])
        cluster, operation, status = self._clusters.put(request, group.name, values["cluster"], path)
        return self._show(cluster, status, self._work(request, cluster, operation))

    def _patch_cluster(self, request: Request, values: PathValues) -> Response:
        cluster = self._cluster(values)
        operation = self._clusters.patch_tags(request, cluster)
        return self._show(cluster, 200, self._work(request, cluster, operation))

    def _delete_cluster(self, request: Request, values: PathValues) -> Response:
        self._group(values)
        if not any(item.name.lower() == values["cluster"].lower() for item in self._clusters.all(values["group"])):
            return Response(status=204)
        cluster = self._cluster(values)
        return self._accept(request, cluster, self._clusters.delete(request, cluster))

    def _start_cluster(self, request: Request, values: PathValues) -> Response:
        cluster = self._cluster(values)
        return self._accept(request, cluster, self._clusters.start(request, cluster))

    def _stop_cluster(self, request: Request, values: PathValues) -> Response:
        cluster = self._cluster(values)
        return self._accept(request, cluster, self._clusters.stop(request, cluster))

    def _user_credentials(self, request: Request, values: PathValues) -> Response:
        return self._clusters.user_credentials(request, self._cluster(values))

    def _admin_credentials(self, request: Request, values: PathValues) -> Response:
        return self._clusters.admin_credentials(request, self._cluster(values))

    # -- role assignments ---------------------------------------------------------------------------------------------

    def _role_scope(self, values: PathValues) -> str:
        """Return the scope of a request; what it names must be there."""
        if "cluster" in values:
            return self._cluster(values).path
        subscription = f"/subscriptions/{self._account.subscription_id}"
        return f"{subscription}/resourceGroups/{self._group(values).name}" if "group" in values else subscription

    def _list_roles(self, request: Request, values: PathValues) -> Response:
        return self._roles.list_at(request, self._role_scope(values))

    def _get_role(self, request: Request, values: PathValues) -> Response:
        return self._roles.get(request, self._role_scope(values), values)

    def _put_role(self, request: Request, values: PathValues) -> Response:
        return self._roles.put(request, self._role_scope(values), values)

    def _delete_role(self, request: Request, values: PathValues) -> Response:
        return self._roles.delete(request, self._role_scope(values), values)

    # -- agent pools --------------------------------------------------------------------------------------------------

    def _list_pools(self, _request: Request, values: PathValues) -> Response:
        cluster = self._cluster(values)
        pools = [self._clusters.render_pool(cluster, pool) for pool in cluster.pools.values()]
        return json_response({"value": pools})

    def _get_pool(self, _request: Request, values: PathValues) -> Response:
        cluster = self._cluster(values)
        pool = self._clusters.find_pool(cluster, values["pool"])
        return json_response(self._clusters.render_pool(cluster, pool), headers={"ETag": pool.etag})

    def _put_pool(self, request: Request, values: PathValues) -> Response:
        cluster = self._parent(values)
        pool, operation, status = self._clusters.put_pool(request, cluster, values["pool"])
        headers = {"ETag": pool.etag, **self._work(request, cluster, operation)}
        return json_response(self._clusters.render_pool(cluster, pool), status, headers)

    def _delete_pool(self, request: Request, values: PathValues) -> Response:
        cluster = self._parent(values)
        if values["pool"].lower() not in cluster.pools:
            return Response(status=204)
        pool = self._clusters.find_pool(cluster, values["pool"])
        return self._accept(request, cluster, self._clusters.delete_pool(request, cluster, pool))

    def _parent(self, values: PathValues) -> Cluster:
        try:
            return self._cluster(values)
        except ApiError as error:
            if error.code != "ResourceNotFound":
                raise
            path = CLUSTER.format(**values)
            raise ApiError(
                404,
                "ParentResourceNotFound",
                "Failed to perform 'write' on resource(s) of type 'managedClusters/agentPools', because the parent "
                f"resource '{path}' could not be found.",
            ) from error

    # -- long-running work --------------------------------------------------------------------------------------------

    def _work(self, request: Request, cluster: Cluster, operation: Operation) -> dict[str, str]:
        """Return the headers that tell a client where to look for the end."""
        path = OPERATION.format(
            subscription=self._account.subscription_id, location=cluster.location, operation=operation.name
        )
        return {"Azure-AsyncOperation": _absolute(request, path), **_pause(operation)}

    def _accept(self, request: Request, cluster: Cluster, operation: Operation) -> Response:
        return Response(status=202, headers=self._work(request, cluster, operation))

    def _operation(self, values: PathValues) -> Operation:
        operation = self._operations.get(values["operation"])
        if operation is None:
            raise AksError(404, "NotFound", f"The operation {values['operation']} could not be found.")
        return operation

    def _get_operation(self, _request: Request, values: PathValues) -> Response:
        operation = self._operation(values)
        body: Json = {"name": operation.name, "status": "InProgress", "startTime": operation.started_at}
        if operation.done:
            body["endTime"] = operation.ended_at
            body["status"] = "Succeeded"
        if operation.done and operation.failure is not None:
            body["status"] = "Failed"
            body["error"] = {"code": operation.failure.code, "message": operation.failure.message}
        return json_response(body, headers=_pause(operation))

    # -- quotas -------------------------------------------------------------------------------------------------------

    def _quotas(self) -> list[str]:
        return [TOTAL, SPOT, *families()]

    def _limit(self, region: str, name: str) -> int:
        return self._limits.get((region, name), DEFAULT_LIMIT)

    def _list_usages(self, _request: Request, values: PathValues) -> Response:
        region = values["location"].lower()
        if region not in REGIONS:
            raise ApiError(
                404, "NoRegisteredProviderFound", f"No registered resource provider found for location '{region}'."
            )
        used = self._clusters.cores_in_use(region)
        return json_response(
            {
                "value": [
                    {
                        "name": {"value": name, "localizedValue": LOCALIZED.get(name, f"{name} vCPUs")},
                        "unit": "Count",
                        "currentValue": used.get(name, 0),
                        "limit": self._limit(region, name),
                    }
                    for name in self._quotas()
                ]
            }
        )

    def _check_quota(self, region: str, needed: dict[str, int]) -> None:
        """Refuse machines that the quotas of a region do not allow."""
        used = self._clusters.cores_in_use(region)
        for name, cores in needed.items():
            left = self._limit(region, name) - used.get(name, 0)
            if cores > max(0, left):
                raise AksError(
                    400,
                    "ErrCode_InsufficientVCPUQuota",
                    f"Insufficient vcpu quota requested {cores}, remaining {max(0, left)} for family {name} for region "
                    f"{region}.",
                )


def _absolute(request: Request, path: str) -> str:
    return f"{request.host_url.rstrip('/')}{path}?api-version={request.args['api-version']}"


def _pause(operation: Operation) -> dict[str, str]:
    """Return the header that says when to look again: in milliseconds, where whole seconds are too long."""
    if operation.done:
        return {}
    if operation.seconds_left >= 1:
        return {"Retry-After": str(min(POLL_SECONDS, int(operation.seconds_left)))}
    return {"x-ms-retry-after-ms": str(int(operation.seconds_left * 1000) + 10)}


def _deprovisioning(name: str) -> ApiError:
    return ApiError(
        409,
        "ResourceGroupBeingDeleted",
        f"The resource group '{name}' is in deprovisioning state and cannot perform this operation.",
    )
