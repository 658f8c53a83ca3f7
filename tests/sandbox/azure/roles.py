# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role assignments of Azure RBAC, and what they let a service principal do. The deployer may do everything."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from werkzeug.wrappers import Request, Response

from tests.sandbox.azure.directory import Directory, now
from tests.sandbox.rest import ApiError, PathValues, json_response

Json = dict[str, Any]

VERSION = "2022-04-01"
PROVIDER = "/providers/Microsoft.Authorization/roleAssignments"
DEFINITIONS = "/providers/Microsoft.Authorization/roleDefinitions/"
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
FILTER = re.compile(r"principalId eq '([0-9a-fA-F-]{36})'")
CLUSTERS = "Microsoft.ContainerService/managedClusters"
CLUSTER_USER = "4abbcc35-e782-43d8-92c5-2d3f1bd2253f"
#: What the simulated built-in roles allow.
ROLES = {CLUSTER_USER: (f"{CLUSTERS}/listClusterUserCredential/action", f"{CLUSTERS}/read")}
FIELDS = {"roleDefinitionId", "principalId", "principalType", "description"}
TYPES = ("User", "Group", "ServicePrincipal", "ForeignGroup", "Device")

CLUSTER_PATH = re.compile(
    rf"(?P<scope>/subscriptions/[^/]+/resourceGroups/[^/]+/providers/{CLUSTERS}/[^/]+)(?P<rest>/.*)?", re.IGNORECASE
)


@dataclass
class Assignment:
    """One principal has one role on one scope and all in it."""

    name: str
    scope: str
    principal: str
    role: str
    body: Json

    def render(self) -> Json:
        """Return what Azure tells of it."""
        properties = {**self.body, "scope": self.scope, "createdOn": now().isoformat(), "condition": None}
        identity = f"{self.scope}{PROVIDER}/{self.name}"
        return {
            "properties": properties,
            "id": identity,
            "type": "Microsoft.Authorization/roleAssignments",
            "name": self.name,
        }


class RoleAssignments:
    """All role assignments of the subscription. Needs STATE_LOCK held."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._all: dict[str, Assignment] = {}

    def reset(self) -> None:
        """Forget everything."""
        self._all.clear()

    def forget(self, scope: str) -> None:
        """Forget those on something that was deleted."""
        self._all = {name: item for name, item in self._all.items() if not _is_in(item.scope, scope)}

    def names(self) -> list[str]:
        """Return ``PRINCIPAL on SCOPE`` of each."""
        return sorted(f"{item.principal} on {item.scope.rpartition('/')[2]}" for item in self._all.values())

    # -- requests ----------------------------------------------------------------------------------------------------

    def list_at(self, request: Request, scope: str) -> Response:
        """Return those on a scope, on what it is in and on what is in it, of one principal."""
        _check(request, {"api-version", "$filter"})
        found = FILTER.fullmatch(request.args.get("$filter", ""))
        if found is None:
            text = f"The filter '{request.args.get('$filter')}' is not simulated, only principalId eq is."
            raise ApiError(400, "UnsupportedQueryParameters", text, refused=True)
        principal = found.group(1).lower()
        shown = [
            item.render()
            for item in self._all.values()
            if item.principal == principal and (_is_in(scope, item.scope) or _is_in(item.scope, scope))
        ]
        return json_response({"value": shown, "nextLink": None})

    def get(self, request: Request, scope: str, values: PathValues) -> Response:
        """Return one."""
        _check(request, {"api-version"})
        return json_response(self._existing(scope, values).render())

    def put(self, request: Request, scope: str, values: PathValues) -> Response:
        """Make one. Nothing about one that is there can be changed."""
        _check(request, {"api-version"})
        name, properties = values["assignment"].lower(), _properties(request)
        if not GUID.fullmatch(name):
            raise ApiError(
                400, "InvalidRoleAssignmentId", f"The role assignment ID '{name}' is not valid. It must be a GUID."
            )
        principal, role = properties["principalId"].lower(), _role(properties["roleDefinitionId"])
        before = self._all.get(name)
        if before is not None and (before.scope.lower(), before.principal, before.role) != (
            scope.lower(),
            principal,
            role,
        ):
            text = "Tenant ID, application ID, principal ID, and scope are not allowed to be updated."
            raise ApiError(400, "RoleAssignmentUpdateNotPermitted", text)
        twin = next(
            (item for item in self._all.values() if item.name != name and _same(item, scope, principal, role)), None
        )
        if twin is not None:
            known = twin.name.replace("-", "")
            text = f"The role assignment already exists. The ID of the existing role assignment is {known}."
            raise ApiError(409, "RoleAssignmentExists", text)
        self._check_principal(properties)
        self._all[name] = Assignment(name, scope, principal, role, properties)
        return json_response(self._all[name].render(), 200 if before else 201)

    def delete(self, request: Request, scope: str, values: PathValues) -> Response:
        """Delete one; one that is not there is no error."""
        _check(request, {"api-version"})
        found = self._all.get(values["assignment"].lower())
        if found is None or found.scope.lower() != scope.lower():
            return Response(status=204)
        del self._all[found.name]
        return json_response(found.render())

    def _existing(self, scope: str, values: PathValues) -> Assignment:
        found = self._all.get(values["assignment"].lower())
        if found is None or found.scope.lower() != scope.lower():
            text = f"The role assignment '{values['assignment']}' is not found."
            raise ApiError(404, "RoleAssignmentNotFound", text)
        return found

    def _check_principal(self, properties: Json) -> None:
        """Refuse a principal that is not known; one whose type is given may be too new to be."""
        found = self._directory.principal(object_id=properties["principalId"])
        if found is not None and (found.is_known or properties.get("principalType") == "ServicePrincipal"):
            return
        tenant, principal = self._directory.tenant_id.replace("-", ""), properties["principalId"].replace("-", "")
        raise ApiError(
            400,
            "PrincipalNotFound",
            f"Principal {principal} does not exist in the directory {tenant}. Check that you have the correct "
            "principal ID. If you are creating this principal and then immediately assigning a role, this error might "
            "be related to a replication delay. In this case, set the role assignment principalType property to a "
            "value, such as ServicePrincipal, User, or Group.",
        )

    # -- rights ------------------------------------------------------------------------------------------------------

    def check_access(self, principal: str, request: Request) -> None:
        """Raise `ApiError` for a request that this principal may not make."""
        action, scope = _action(request)
        for item in self._all.values():
            if item.principal == principal and _is_in(scope, item.scope) and action in ROLES[item.role]:
                return
        raise ApiError(
            403,
            "AuthorizationFailed",
            f"The client '{principal}' with object id '{principal}' does not have authorization to perform action "
            f"'{action}' over scope '{scope}' or the scope is invalid. If access was recently granted, please refresh "
            "your credentials.",
        )


def _action(request: Request) -> tuple[str, str]:
    """Return the action that a request needs, and its scope; an action of no role where it is about no cluster."""
    found = CLUSTER_PATH.fullmatch(request.path)
    verb = {"GET": "read", "POST": "action", "DELETE": "delete"}.get(request.method, "write")
    if found is None:
        return f"{request.path.strip('/')}/{verb}", request.path
    rest = found["rest"] or ""
    return f"{CLUSTERS}{rest}/{verb}", found["scope"]


def _check(request: Request, allowed: set[str]) -> None:
    if request.args["api-version"] != VERSION:
        text = f"The api-version '{request.args['api-version']}' of roleAssignments is not simulated, {VERSION} is."
        raise ApiError(400, "InvalidResourceType", text, refused=True)
    unknown = sorted(set(request.args) - allowed)
    if unknown:
        raise ApiError(400, "UnsupportedQueryParameters", f"The query parameter '{unknown[0]}' is not supported here.")


def _properties(request: Request) -> Json:
    body = json.loads(request.get_data(as_text=True) or "null")
    properties = body.get("properties") if isinstance(body, dict) else None
    if not isinstance(properties, dict) or set(body) != {"properties"}:
        raise ApiError(400, "InvalidRequestContent", "The request content must be an object with properties.")
    unknown = sorted(set(properties) - FIELDS)
    missing = sorted({"roleDefinitionId", "principalId"} - set(properties))
    wrong = sorted(name for name, value in properties.items() if not isinstance(value, str))
    for text, names in (("Could not find member", unknown), ("Missing member", missing), ("Wrong type of", wrong)):
        if names:
            raise ApiError(400, "InvalidRequestContent", f"The request content was invalid: {text} '{names[0]}'.")
    if properties.get("principalType", TYPES[0]) not in TYPES:
        raise ApiError(400, "InvalidPrincipalType", f"The principal type must be one of {', '.join(TYPES)}.")
    if not GUID.fullmatch(properties["principalId"]):
        raise ApiError(400, "InvalidPrincipalId", "A valid principal ID must be provided for role assignment.")
    return properties


def _role(definition: str) -> str:
    start, _slash, role = definition.rpartition("/")
    if not f"{start}/".lower().endswith(DEFINITIONS.lower()) or role.lower() not in ROLES:
        text = f"The specified role definition with ID '{role}' does not exist."
        raise ApiError(400, "RoleDefinitionDoesNotExist", text)
    return role.lower()


def _same(item: Assignment, scope: str, principal: str, role: str) -> bool:
    return (item.scope.lower(), item.principal, item.role) == (scope.lower(), principal, role)


def _is_in(inner: str, outer: str) -> bool:
    """Whether a scope is another one or in it."""
    found, around = inner.lower().rstrip("/"), outer.lower().rstrip("/")
    return found == around or found.startswith(f"{around}/")
