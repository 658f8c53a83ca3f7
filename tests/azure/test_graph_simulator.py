# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated Microsoft Graph and role assignments: how strict they are, pages, filters, what is known when."""

from __future__ import annotations

import typing as t

import pytest

from tests.azure.artist import CLUSTER, GROUP, Artist
from tests.sandbox.azure.roles import CLUSTER_USER

UPSERT = {"Prefer": "create-if-missing"}
NOBODY = "99999999-8888-7777-6666-555555555555"
AKS = f"/resourceGroups/{GROUP}/providers/Microsoft.ContainerService/managedClusters/{CLUSTER}"
ROLES = "/providers/Microsoft.Authorization/roleAssignments"


def make(tenant: Artist, name: str = "one", **body: t.Any) -> t.Any:
    answer = tenant.graph("POST", "/applications", json={"displayName": name, **body})
    assert answer.status_code == 201, answer.text
    return answer.json()


def code_of(answer: t.Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_an_upsert_makes_an_application_once(tenant: Artist) -> None:
    path = "/applications(uniqueName='mine')"
    assert code_of(tenant.graph("PATCH", path, json={"displayName": "a"})) == (404, "Request_ResourceNotFound")
    made = tenant.graph("PATCH", path, json={"displayName": "a", "tags": ["x"]}, headers=UPSERT)
    assert made.status_code == 201
    again = tenant.graph("PATCH", path, json={"displayName": "b"}, headers=UPSERT)
    assert (again.status_code, again.content) == (204, b"")
    found = tenant.graph("GET", f"{path}?$select=id,displayName,tags").json()
    assert found == {"id": made.json()["id"], "displayName": "b", "tags": ["x"]}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/applications", {"displayName": "a", "owner": "me"}),
        ("POST", "/applications", {"displayName": "a", "passwordCredentials": []}),
        ("POST", "/applications", {"displayName": 1}),
        ("POST", "/applications", {"displayName": "a" * 257}),
        ("POST", "/applications", {"displayName": "a", "tags": ["x", "x"]}),
        ("POST", "/applications", {"displayName": "a", "signInAudience": "Everybody"}),
        ("POST", "/applications", {}),
        ("POST", "/applications?$expand=owners", {"displayName": "a"}),
        ("GET", "/applications?$filter=startswith(displayName,'a')", None),
        ("GET", "/applications?$select=secret", None),
        ("GET", "/applications?$top=0", None),
        ("GET", "/applications?$count=true", None),
        ("POST", "/servicePrincipals", {"appId": NOBODY, "notes": 1}),
        ("GET", "/directory/deletedItems/microsoft.graph.user", None),
    ],
)
def test_what_graph_would_not_take_is_a_bad_request(tenant: Artist, method: str, path: str, body: t.Any) -> None:
    assert code_of(tenant.graph(method, path, json=body)) == (400, "Request_BadRequest")
    assert tenant.resources() == {}


@pytest.mark.parametrize(("method", "path"), [("GET", "/users"), ("DELETE", "/applications"), ("GET", "/me")])
def test_unknown_routes_are_refused_and_noted(tenant: Artist, method: str, path: str) -> None:
    assert code_of(tenant.graph(method, path)) == (404, "NotImplementedBySandbox")
    assert tenant.control.calls("graph")[-1]["refused"]


def test_a_token_for_something_else_does_not_open_graph(tenant: Artist) -> None:
    make(tenant)
    url = f"{tenant.sandbox.env['AZURE_GRAPH_ENDPOINT']}/v1.0/applications"
    token = tenant.token("https://management.azure.com/.default")
    for headers in ({}, {"Authorization": f"Bearer {token}"}, {"Authorization": "Bearer made-up"}):
        answer = tenant._send("GET", url, headers=headers)
        assert code_of(answer) == (401, "InvalidAuthenticationToken")


def test_lists_are_filtered_and_come_in_pages(tenant: Artist) -> None:
    for number in range(5):
        make(tenant, f"app {number}", tags=["even" if number % 2 == 0 else "it's odd"])
    names = []
    path = "/applications?$top=2&$select=displayName"
    while path:
        answer = tenant.graph("GET", path).json()
        assert len(answer["value"]) <= 2
        names += [item["displayName"] for item in answer["value"]]
        path = answer.get("@odata.nextLink", "").partition("/v1.0")[2]
    assert names == [f"app {number}" for number in range(5)]
    tagged = tenant.graph("GET", "/applications?$filter=tags/any(t:t eq 'it''s odd')").json()["value"]
    assert [item["displayName"] for item in tagged] == ["app 1", "app 3"]
    one = tenant.graph("GET", f"/applications?$filter=appId eq '{tagged[0]['appId']}'").json()["value"]
    assert [item["displayName"] for item in one] == ["app 1"]


def test_a_secret_can_be_had_once(tenant: Artist) -> None:
    app = make(tenant)
    where = f"/applications/{app['id']}"
    made = tenant.graph("POST", f"{where}/addPassword", json={"passwordCredential": {"displayName": "a"}}).json()
    (listed,) = tenant.graph("GET", where).json()["passwordCredentials"]
    assert (listed["keyId"], listed["secretText"], listed["hint"]) == (made["keyId"], None, made["secretText"][:3])
    bodies: tuple[dict[str, t.Any], ...] = (
        {"passwordCredential": {"endDateTime": "2020-01-01T00:00:00Z"}},
        {"passwordCredential": {"endDateTime": "tomorrow"}},
        {"passwordCredential": {"secretText": "mine"}},
        {"credential": {}},
    )
    for body in bodies:
        assert code_of(tenant.graph("POST", f"{where}/addPassword", json=body)) == (400, "Request_BadRequest")
    unknown = tenant.graph("POST", f"{where}/removePassword", json={"keyId": NOBODY})
    assert code_of(unknown) == (400, "Request_BadRequest")
    assert tenant.graph("POST", f"{where}/removePassword", json={"keyId": made["keyId"]}).status_code == 204


def test_a_deleted_application_takes_its_service_principal_along(tenant: Artist) -> None:
    app = make(tenant)
    tenant.graph("POST", "/servicePrincipals", json={"appId": app["appId"]})
    assert code_of(tenant.graph("POST", "/servicePrincipals", json={"appId": app["appId"]}))[0] == 409
    tenant.graph("DELETE", f"/applications/{app['id']}")
    assert tenant.resources() == {"deleted_applications": ["one"]}
    principals = tenant.graph("GET", "/directory/deletedItems/microsoft.graph.servicePrincipal").json()["value"]
    assert [item["appId"] for item in principals] == [app["appId"]]
    assert tenant.graph("DELETE", f"/directory/deletedItems/{app['id']}").status_code == 204
    assert code_of(tenant.graph("POST", f"/directory/deletedItems/{app['id']}/restore"))[0] == 404


def test_what_is_new_is_not_known_everywhere(tenant: Artist) -> None:
    tenant.control.defaults(directory_seconds=30)
    app = make(tenant)
    path = f"/applications(appId='{app['appId']}')"
    assert tenant.graph("GET", path).status_code == 404
    assert tenant.graph("POST", f"{path}/addPassword", json={}).status_code == 404
    refused = tenant.graph("POST", "/servicePrincipals", json={"appId": app["appId"]}).json()["error"]
    assert refused["details"][0]["code"] == "NoBackingApplicationObject"
    # Whoever makes it knows it all the same.
    assert tenant.graph("PATCH", path, json={"displayName": "b"}).status_code == 204
    tenant.control.defaults(directory_seconds=0)
    assert tenant.graph("GET", path).json()["displayName"] == "b"


def test_a_fault_is_answered_in_graph_s_form(tenant: Artist) -> None:
    headers = {"Retry-After": "7"}
    tenant.control.fault("ListApplications", "TooManyRequests", status=429, service="graph", headers=headers)
    answer = tenant.graph("GET", "/applications")
    assert (code_of(answer), answer.headers["Retry-After"]) == ((429, "TooManyRequests"), "7")
    assert tenant.graph("GET", "/applications").ok


# ---- role assignments ----------------------------------------------------------------------------------------------


def put(
    tenant: Artist, principal: str, name: str = NOBODY, version: str = "2022-04-01", scope: str = AKS, **more: t.Any
) -> t.Any:
    definition = f"/subscriptions/s/providers/Microsoft.Authorization/roleDefinitions/{CLUSTER_USER}"
    properties = {"roleDefinitionId": definition, "principalId": principal, **more}
    return tenant.arm("PUT", f"{scope}{ROLES}/{name}?api-version={version}", json={"properties": properties})


def test_role_assignments_are_strict(tenant: Artist) -> None:
    tenant.make_cluster()
    principal, _fields = tenant.make_identity()
    for answer, code in (
        (put(tenant, NOBODY), "PrincipalNotFound"),
        (put(tenant, "me"), "InvalidPrincipalId"),
        (put(tenant, principal, name="mine"), "InvalidRoleAssignmentId"),
        (put(tenant, principal, version="2015-07-01"), "InvalidResourceType"),
        (put(tenant, principal, principalType="Robot"), "InvalidPrincipalType"),
        (put(tenant, principal, role="x"), "InvalidRequestContent"),
        (put(tenant, principal, roleDefinitionId=f"/providers/x/{NOBODY}"), "RoleDefinitionDoesNotExist"),
        (tenant.arm("GET", f"{AKS}{ROLES}?api-version=2022-04-01"), "UnsupportedQueryParameters"),
    ):
        assert code_of(answer) == (400, code)
    assert code_of(put(tenant, principal, scope=f"{AKS}2")) == (404, "ResourceNotFound")
    assert put(tenant, principal).status_code == 201
    assert put(tenant, principal).status_code == 200
    twin = NOBODY.replace("9", "1")
    assert code_of(put(tenant, principal, name=twin)) == (409, "RoleAssignmentExists")
    other, _fields = tenant.make_identity("other")
    assert code_of(put(tenant, other)) == (400, "RoleAssignmentUpdateNotPermitted")
    assert tenant.arm("DELETE", f"{AKS}{ROLES}/{twin}?api-version=2022-04-01").status_code == 204
    assert tenant.arm("DELETE", f"{AKS}{ROLES}/{NOBODY}?api-version=2022-04-01").status_code == 200
    assert "role_assignments" not in tenant.resources()


def test_a_new_principal_needs_its_type_to_be_assigned_a_role(tenant: Artist) -> None:
    tenant.make_cluster()
    principal, _fields = tenant.make_identity()
    tenant.control.defaults(directory_seconds=30)
    assert code_of(put(tenant, principal)) == (400, "PrincipalNotFound")
    assert put(tenant, principal, principalType="ServicePrincipal").status_code == 201


def test_a_deleted_cluster_takes_its_role_assignments_along(tenant: Artist) -> None:
    tenant.make_cluster()
    principal, _fields = tenant.make_identity()
    put(tenant, principal)
    tenant.subscription().client().managed_clusters.begin_delete(GROUP, CLUSTER).result()
    assert "role_assignments" not in tenant.resources()


def test_a_client_secret_is_not_in_the_call_log(tenant: Artist) -> None:
    _principal, fields = tenant.make_identity()
    assert tenant.log_in(fields).ok
    assert "client_secret=***" in tenant.control.calls("entra")[-1]["body"]
    assert tenant.control.calls_containing(fields["Client Secret"]) == []
