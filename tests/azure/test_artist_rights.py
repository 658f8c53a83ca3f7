# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an artist's identity can and cannot do on Azure: in the cluster, on its resource group, in the tenant."""

from __future__ import annotations

import typing as t

import pytest

from tests.azure.artist import CLUSTER, GROUP, NAMESPACE, NIM, SECRET_OF_NIMS, Artist, Fields
from tests.sandbox.azure.entra import KUBERNETES

MERGE = {"Content-Type": "application/merge-patch+json"}
SCALE_UP = {"spec": {"replicas": 1}}
IMAGE = {"spec": {"template": {"spec": {"containers": [{"name": "nim", "image": "example.com/miner:1"}]}}}}
RBAC = "rbac.authorization.k8s.io"
AKS = f"/resourceGroups/{GROUP}/providers/Microsoft.ContainerService/managedClusters/{CLUSTER}"
VERSION = "api-version=2026-08-01"

DENIED = [
    pytest.param("PATCH", f"deployments/{NIM}", "apps", IMAGE, id="change-the-image"),
    pytest.param("PATCH", f"deployments/{NIM}", "apps", SCALE_UP, id="scale-by-the-deployment-itself"),
    pytest.param("DELETE", f"deployments/{NIM}", "apps", None, id="delete-a-nim"),
    pytest.param("GET", "secrets", "", None, id="list-secrets"),
    pytest.param("GET", "secrets/ngc-api", "", None, id="read-a-secret"),
    pytest.param("GET", "pods", "", None, id="list-pods"),
    pytest.param("PATCH", "roles/nim-artists", RBAC, {"rules": []}, id="change-the-role"),
    pytest.param("PATCH", "rolebindings/ws-ws-01", RBAC, {"subjects": []}, id="change-the-binding"),
]


def fields_of(artist: Artist) -> Fields:
    return t.cast("Fields", artist.run()["credentials"])


@pytest.fixture
def fields(artist: Artist) -> Fields:
    """Give the credentials of an artist's workstation."""
    return fields_of(artist)


def test_an_artist_starts_and_stops_a_nim_and_looks_at_it(artist: Artist, fields: Fields) -> None:
    for replicas in (1, 0):
        answer = artist.kube(
            "PATCH", f"deployments/{NIM}/scale", fields, json={"spec": {"replicas": replicas}}, headers=MERGE
        )
        assert answer.status_code == 200, answer.text
        seen = artist.kube("GET", f"deployments/{NIM}", fields).json()
        assert seen["spec"]["replicas"] == replicas


def test_an_artist_can_do_nothing_else_in_the_cluster(artist: Artist, fields: Fields) -> None:
    before = artist.kube("GET", f"deployments/{NIM}").json()
    for case in DENIED:
        method, path, group, body = case.values
        answer = artist.kube(str(method), str(path), fields, str(group), json=body, headers=MERGE)
        assert answer.status_code == 403, (case.id, answer.text)
        assert answer.json()["reason"] == "Forbidden"
        assert SECRET_OF_NIMS not in answer.text
    assert artist.kube("GET", f"deployments/{NIM}").json() == before


def test_the_deployer_can_do_all_that(artist: Artist) -> None:
    """So it is the rights that keep the artist from it, not the requests that are wrong."""
    artist.run()
    for case in DENIED:
        method, path, group, body = case.values
        if method == "DELETE":
            continue
        answer = artist.kube(str(method), str(path), None, str(group), json=body, headers=MERGE)
        assert answer.ok, (case.id, answer.text)


def test_another_namespace_is_closed_to_an_artist(artist: Artist, fields: Fields) -> None:
    token = artist.token(f"{KUBERNETES}/.default", fields)
    for path in (
        "/apis/apps/v1/namespaces/kube-system/deployments/coredns",
        "/apis/apps/v1/deployments",
        "/api/v1/namespaces",
        "/api/v1/nodes",
    ):
        assert artist.ask_cluster("GET", path, token).status_code == 403, path
    assert artist.ask_cluster("GET", "/version", token).status_code == 200


def test_a_review_says_the_same(artist: Artist, fields: Fields) -> None:
    token = artist.token(f"{KUBERNETES}/.default", fields)

    def may(verb: str, resource: str, subresource: str = "") -> bool:
        attributes = {"namespace": NAMESPACE, "verb": verb, "group": "apps", "resource": resource}
        body = {"spec": {"resourceAttributes": {**attributes, "subresource": subresource}}}
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        return bool(artist.ask_cluster("POST", path, token, json=body).json()["status"]["allowed"])

    assert may("patch", "deployments", "scale")
    assert not may("patch", "deployments")


def test_a_token_that_was_given_out_before_opens_nothing_after_a_revocation(artist: Artist, fields: Fields) -> None:
    token = artist.token(f"{KUBERNETES}/.default", fields)
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{NIM}"
    assert artist.ask_cluster("GET", path, token).ok
    artist.run(state="absent")
    assert artist.ask_cluster("GET", path, token).status_code == 403


def test_an_artist_gets_the_address_of_the_cluster_and_no_more_of_azure(artist: Artist, fields: Fields) -> None:
    credentials = artist.arm("POST", f"{AKS}/listClusterUserCredential?{VERSION}", fields)
    assert credentials.status_code == 200, credentials.text
    assert artist.arm("GET", f"{AKS}?{VERSION}", fields).status_code == 200
    for method, path in (
        ("POST", f"{AKS}/listClusterAdminCredential?{VERSION}"),
        ("POST", f"{AKS}/stop?{VERSION}"),
        ("DELETE", f"{AKS}?{VERSION}"),
        ("GET", f"{AKS}/agentPools?{VERSION}"),
        ("GET", f"/resourceGroups/{GROUP}?api-version=2021-04-01"),
        ("GET", f"{AKS}/providers/Microsoft.Authorization/roleAssignments?api-version=2022-04-01"),
    ):
        answer = artist.arm(method, path, fields)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "AuthorizationFailed"), path


def test_an_artist_can_do_nothing_in_the_tenant(artist: Artist, fields: Fields) -> None:
    app_id = fields["Client ID (Application ID)"]
    for method, path in (
        ("GET", "/applications"),
        ("GET", f"/applications(appId='{app_id}')"),
        ("POST", f"/applications(appId='{app_id}')/addPassword"),
    ):
        assert artist.graph(method, path, fields, json={}).status_code == 403, path


def test_without_the_binding_an_artist_is_nobody_in_the_cluster(artist: Artist, fields: Fields) -> None:
    artist.kube("DELETE", "rolebindings/ws-ws-01", group=RBAC)
    answer = artist.kube("PATCH", f"deployments/{NIM}/scale", fields, json=SCALE_UP, headers=MERGE)
    assert answer.status_code == 403
    principal = artist.principal(fields["Client ID (Application ID)"])["id"]
    assert (
        f'User "{principal}" cannot patch resource "deployments/scale" in API group "apps"' in answer.json()["message"]
    )


def test_a_principal_of_its_own_has_the_same_rights(artist: Artist) -> None:
    principal, fields = artist.make_identity()
    scale = ("PATCH", f"deployments/{NIM}/scale")
    assert artist.kube(*scale, fields, json=SCALE_UP, headers=MERGE).status_code == 403
    artist.run(principal=principal)
    assert artist.kube(*scale, fields, json=SCALE_UP, headers=MERGE).status_code == 200
    assert artist.kube("GET", "secrets/ngc-api", fields, "").status_code == 403
    assert artist.arm("POST", f"{AKS}/listClusterUserCredential?{VERSION}", fields).status_code == 200
    artist.run(principal=principal, state="absent")
    assert artist.kube(*scale, fields, json=SCALE_UP, headers=MERGE).status_code == 403
