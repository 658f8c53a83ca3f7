# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated API server: who may ask, what it refuses, server-side apply, and the other verbs."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes_validate.utils import ValidationError, validate
from werkzeug.test import Client

from tests.sandbox.calls import Interference
from tests.sandbox.kube.defaults import canonical_quantity
from tests.sandbox.kube.kinds import BY_NAME
from tests.sandbox.kube.schema import schemas
from tests.unit.sandbox import kube_cluster
from tests.unit.sandbox.kube_cluster import (
    APPLY,
    ID,
    MERGE,
    NIM,
    SPACE,
    TestCluster,
    api_secret,
    balancer,
    changed,
    claim,
    gateway,
    manifest,
    namespace,
    nim,
    nim_service,
    without,
)

CONTAINER = ("spec", "template", "spec", "containers", 0)
STRATEGIC = "application/strategic-merge-patch+json"


@pytest.fixture
def cluster() -> TestCluster:
    """Give a cluster with the namespace."""
    found = TestCluster()
    found.apply(namespace())
    return found


def config(name: str = "settings", **data: str) -> dict[str, Any]:
    return manifest("ConfigMap", name, data=data or {"a": "1"})


# -- who may ask, and what is there ------------------------------------------------------------------------------------


def test_a_wrong_token_and_no_token_are_refused_in_different_words(cluster: TestCluster) -> None:
    client = Client(cluster.application)
    path = f"/clusters/{ID}/api/v1/namespaces/{SPACE}/pods"
    wrong = client.get(path, headers={"Authorization": "Bearer stolen"})
    assert (wrong.status_code, wrong.json) == (
        401,
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": "Unauthorized",
            "reason": "Unauthorized",
            "code": 401,
        },
    )
    nobody = client.get(path)
    assert nobody.status_code == 403
    assert nobody.json is not None
    assert 'User "system:anonymous" cannot list resource "pods"' in nobody.json["message"]


def test_a_stopped_cluster_does_not_answer_and_keeps_its_objects(cluster: TestCluster) -> None:
    cluster.deploy()
    cluster.kube.set_running(ID, False)
    assert cluster.send("GET", "/version").status_code == 502
    cluster.kube.set_running(ID, True)
    assert cluster.get("Deployment", NIM)["status"]["readyReplicas"] == 1
    cluster.kube.delete_cluster(ID)
    assert cluster.send("GET", "/version").status_code == 502


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v2/pods", 404),
        ("GET", "/apis/batch/v1/namespaces/budgetguard/jobs", 404),
        ("GET", "/api/v1/pods/without-a-namespace", 404),
        ("GET", "/api/v1/namespaces/budgetguard/services/x/scale", 404),
        ("POST", "/api/v1/namespaces/budgetguard/events", 405),
        ("DELETE", "/api/v1/namespaces/budgetguard/pods", 501),
        ("GET", "/api/v1/namespaces/budgetguard/pods?lableSelector=a", 501),
    ],
)
def test_what_is_not_there_is_an_error(cluster: TestCluster, method: str, path: str, status: int) -> None:
    path, _mark, query = path.partition("?")
    options = dict([query.split("=")]) if query else {}
    assert cluster.refused(method, path, {} if method == "POST" else None, **options)["code"] == status


def test_calls_are_logged_by_verb_and_kind_and_can_be_made_to_fail(cluster: TestCluster) -> None:
    cluster.calls.clear()
    cluster.interferences.add(Interference("apply configmaps", "kube", code="InternalError", status=500, message="no"))
    assert cluster.apply_refused(config())["message"] == "no"
    cluster.apply(config())
    cluster.items("ConfigMap")
    seen = [(call["service"], call["action"], call["region"], call["status"]) for call in cluster.calls.as_list()]
    assert seen == [
        ("kube", "apply configmaps", ID, 500),
        ("kube", "apply configmaps", ID, 201),
        ("kube", "list configmaps", ID, 200),
    ]


def test_resources_are_those_that_somebody_made(cluster: TestCluster) -> None:
    cluster.apply(config())
    made = {"Namespace": [SPACE], "ConfigMap": [f"{SPACE}/settings"]}
    assert cluster.kube.resources() == {"kube": {ID: made}}
    cluster.kube.reset()
    assert cluster.kube.resources() == {"kube": {}}


# -- reading -----------------------------------------------------------------------------------------------------------


def test_lists_can_be_narrowed_by_labels_and_fields_and_come_in_pages(cluster: TestCluster) -> None:
    for number in range(5):
        cluster.apply(manifest("ConfigMap", f"c{number}", labels={"even": str(number % 2 == 0)}, data={"a": "1"}))

    def names(**query: Any) -> list[str]:
        return [item["metadata"]["name"] for item in cluster.items("ConfigMap", **query)]

    assert names(labelSelector="even=True") == ["c0", "c2", "c4"]
    assert names(labelSelector="even!=True,even") == ["c1", "c3"]
    assert names(labelSelector="even in (True, no)") == ["c0", "c2", "c4"]
    assert names(labelSelector="!even") == ["kube-root-ca.crt"]
    assert names(fieldSelector="metadata.name=c1") == ["c1"]
    page = cluster.ask("GET", cluster.path("ConfigMap"), limit=4)
    assert len(page["items"]) == 4
    rest = cluster.ask("GET", cluster.path("ConfigMap"), **{"limit": 4, "continue": page["metadata"]["continue"]})
    assert len(rest["items"]) == 2
    assert "continue" not in rest["metadata"]
    assert "not supported" in cluster.refused("GET", cluster.path("ConfigMap"), fieldSelector="data.a=1")["message"]
    assert cluster.ask("GET", "/api/v1/namespaces/nobody-made-this/pods")["items"] == []


def test_metadata_can_be_asked_for_without_content(cluster: TestCluster) -> None:
    cluster.apply(api_secret())
    response = Client(cluster.application).get(
        f"/clusters/{ID}/api/v1/namespaces/{SPACE}/secrets",
        headers={
            "Authorization": f"Bearer {kube_cluster.TOKEN}",
            "Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
        },
    )
    assert response.json is not None
    assert response.json["kind"] == "PartialObjectMetadataList"
    assert [item["metadata"]["name"] for item in response.json["items"]] == ["ngc-api"]
    assert api_secret()["data"]["NGC_API_KEY"] not in response.text


# -- server-side apply -------------------------------------------------------------------------------------------------


def test_an_apply_that_changes_nothing_keeps_the_version(cluster: TestCluster) -> None:
    first = cluster.apply(claim("1024Mi"))
    assert first["spec"]["resources"]["requests"]["storage"] == "1Gi"
    assert cluster.apply(claim("1Gi")) == first
    assert cluster.apply(claim("1024Mi")) == first


def test_fields_that_are_no_longer_sent_are_removed(cluster: TestCluster) -> None:
    cluster.apply(nim(0))
    shorter = without(nim(0), *CONTAINER, "startupProbe")
    shorter = changed(shorter, *CONTAINER, "env", to=nim()["spec"]["template"]["spec"]["containers"][0]["env"][1:])
    container = cluster.apply(shorter)["spec"]["template"]["spec"]["containers"][0]
    # With the probe go the defaults that the server put into it.
    assert "startupProbe" not in container
    assert [variable["name"] for variable in container["env"]] == ["NGC_API_KEY"]
    assert container["terminationMessagePath"] == "/dev/termination-log"


def test_replicas_that_nobody_sends_any_more_become_one(cluster: TestCluster) -> None:
    cluster.apply(nim(0))
    assert cluster.apply(without(nim(0), "spec", "replicas"))["spec"]["replicas"] == 1


def test_what_another_manager_owns_is_a_conflict_that_force_wins(cluster: TestCluster) -> None:
    cluster.apply(config(a="1", b="2"))
    other = cluster.apply_refused(config(a="9"), manager="somebody", force=False)
    assert other["code"] == 409
    assert other["message"] == 'Apply failed with 1 conflict: conflict with "budgetguard-techops": .data.a'
    assert other["details"]["causes"][0]["reason"] == "FieldManagerConflict"
    assert cluster.apply(config(a="9"), manager="somebody")["data"] == {"a": "9", "b": "2"}
    # It is theirs now: not to send it leaves it alone.
    assert cluster.apply(config(b="2"))["data"] == {"a": "9", "b": "2"}
    assert cluster.apply(config(a="10"), manager="somebody", force=False)["data"] == {"a": "10", "b": "2"}


def test_whoever_lost_a_field_by_force_does_not_own_it_any_more(cluster: TestCluster) -> None:
    cluster.apply(config(a="1"))
    cluster.apply(config(a="9"), manager="somebody")
    assert cluster.apply(config(a="10"), manager="somebody", force=False)["data"] == {"a": "10"}


def test_a_field_with_two_owners_stays_until_both_let_go(cluster: TestCluster) -> None:
    cluster.apply(config(a="1", b="2"))
    cluster.apply(config(a="1"), manager="somebody", force=False)
    assert cluster.apply(config(b="2"))["data"] == {"a": "1", "b": "2"}
    assert cluster.apply(config(c="3"), manager="somebody")["data"] == {"b": "2", "c": "3"}


def test_scaling_takes_the_ownership_of_replicas(cluster: TestCluster) -> None:
    cluster.apply(nim(1))
    cluster.scale(0)
    entries = cluster.get("Deployment", NIM)["metadata"]["managedFields"]
    scaler = next(entry for entry in entries if entry.get("subresource") == "scale")
    assert (scaler["manager"], scaler["fieldsV1"]) == ("probe", {"f:spec": {"f:replicas": {}}})
    refused = cluster.apply_refused(nim(1), force=False)
    assert 'conflict with "probe" with subresource "scale" using apps/v1: .spec.replicas' in refused["message"]
    # Whoever does not send it leaves it to the other.
    assert cluster.apply(without(nim(), "spec", "replicas"), force=False)["spec"]["replicas"] == 0
    assert cluster.apply(nim(1))["spec"]["replicas"] == 1


def test_a_dry_run_answers_and_keeps_nothing(cluster: TestCluster) -> None:
    assert cluster.apply(config(), dryRun="All")["data"] == {"a": "1"}
    assert cluster.refused("GET", cluster.path("ConfigMap", "settings"))["code"] == 404
    before = cluster.apply(config())
    assert cluster.apply(config(a="2"), dryRun="All")["data"] == {"a": "2"}
    assert cluster.get("ConfigMap", "settings") == before
    assert cluster.ask("DELETE", cluster.path("ConfigMap", "settings"), dryRun="All")
    assert cluster.get("ConfigMap", "settings") == before
    assert "Unsupported value" in cluster.apply_refused(config(), dryRun="yes")["message"]


def test_an_older_version_in_the_body_is_a_conflict(cluster: TestCluster) -> None:
    version = cluster.apply(config())["metadata"]["resourceVersion"]
    assert cluster.apply(changed(config(a="2"), "metadata", "resourceVersion", to=version))["data"] == {"a": "2"}
    late = cluster.apply_refused(changed(config(a="3"), "metadata", "resourceVersion", to=version))
    assert (late["code"], late["reason"]) == (409, "Conflict")
    assert "the object has been modified" in late["message"]


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ({"fieldManager": ""}, 422, "fieldManager: Required value: is required for apply patch"),
        ({"fieldValidation": "strict"}, 422, "fieldValidation: Unsupported value"),
        ({"froce": "true"}, 501, "the option froce"),
    ],
)
def test_apply_needs_the_right_options(cluster: TestCluster, query: dict[str, Any], status: int, message: str) -> None:
    refused = cluster.apply_refused(config(), **query)
    assert refused["code"] == status
    assert message in refused["message"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (changed(config(), "metadata", "name", to="other"), 400, "does not match the name on the URL"),
        (changed(config(), "metadata", "namespace", to="other"), 400, "does not match the namespace"),
        (changed(config(), "kind", to="Secret"), 400, "does not match the expected kind"),
        (without(config(), "apiVersion"), 400, "missing in the body of an apply"),
        (changed(config(), "metadata", "managedFields", to=[{}]), 400, "managedFields must be nil"),
        ({**config(), "datas": {}}, 500, ".datas: field not declared in schema"),
        (changed(config(), "data", "a", to=1), 500, ".data.a: expected string, got int 1"),
        ("[1]", 400, "must be an object"),
        ("{a: [", 400, "error decoding YAML"),
    ],
)
def test_bodies_that_cannot_be_applied(cluster: TestCluster, body: Any, status: int, message: str) -> None:
    refused = cluster.refused("PATCH", cluster.path("ConfigMap", "settings"), body, APPLY, fieldManager="m")
    assert refused["code"] == status
    assert message in refused["message"]


def test_nothing_can_be_made_in_a_namespace_that_is_not_there() -> None:
    refused = TestCluster().apply_refused(config())
    assert (refused["code"], refused["message"]) == (404, 'namespaces "budgetguard" not found')


def test_yaml_dates_are_texts(cluster: TestCluster) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {day: 2026-11-23}\n"
    stored = cluster.ask("PATCH", cluster.path("ConfigMap", "settings"), text, APPLY, fieldManager="m")
    assert stored["data"] == {"day": "2026-11-23"}


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "field", "message"),
    [
        (changed(nim(), "spec", "strategy", to={"type": "Recreat"}), "spec.strategy.type", "Unsupported value"),
        (
            changed(nim(), "spec", "strategy", "rollingUpdate", to={"maxSurge": 1}),
            "spec.strategy.rollingUpdate",
            "may not be specified when strategy `type` is 'Recreate'",
        ),
        (
            changed(nim(), "spec", "template", "metadata", "labels", to={"app": "x"}),
            "spec.template.metadata.labels",
            "`selector` does not match template `labels`",
        ),
        (without(nim(), "spec", "selector"), "spec.selector", "Required value"),
        (without(nim(), "spec"), "spec.template", "Required value"),
        (without(nim(), *CONTAINER, "image"), "spec.template.spec.containers[0].image", "Required value"),
        (
            changed(nim(), *CONTAINER, "resources", "limits", to={"nvidia.com/gpu": "500m"}),
            "spec.template.spec.containers[0].resources.limits[nvidia.com/gpu]",
            "must be an integer",
        ),
        (
            changed(nim(), *CONTAINER, "resources", "limits", "memory", to="1Gi"),
            "spec.template.spec.containers[0].resources.requests",
            "must be less than or equal to memory limit",
        ),
        (
            changed(nim(), *CONTAINER, "volumeMounts", 0, "name", to="disk"),
            "spec.template.spec.containers[0].volumeMounts[0].name",
            "Not found",
        ),
        (
            changed(nim(), *CONTAINER, "ports", 0, "name", to="much-too-long-a-name"),
            "spec.template.spec.containers[0].ports[0].name",
            "must contain only",
        ),
        (changed(nim(), "spec", "progressDeadlineSeconds", to=0), "spec.progressDeadlineSeconds", "greater than"),
        (manifest("ConfigMap", "Settings", data={}), "metadata.name", "lowercase RFC 1123 subdomain"),
        (manifest("ConfigMap", "c", labels={"a": "b c"}, data={}), "metadata.labels", "a valid label"),
        (manifest("Service", "1st", spec={"ports": [{"port": 80}]}), "metadata.name", "DNS-1035"),
        (changed(nim_service(), "spec", "ports", 0, "port", to=70000), "spec.ports[0].port", "between 1 and 65535"),
        (
            balancer(loadBalancerSourceRanges=["10.20.0.1/16"]),
            "spec.loadBalancerSourceRanges[0]",
            "must be a valid CIDR",
        ),
        (changed(claim(), "spec", "accessModes", to=["Once"]), "spec.accessModes", "Unsupported value"),
        (changed(claim("a lot"), "spec", "volumeMode", to="Block"), "spec.resources[storage]", "quantities must match"),
        (
            manifest("Secret", "s", type="kubernetes.io/dockerconfigjson", data={}),
            "data[.dockerconfigjson]",
            "Required value",
        ),
        (
            manifest("Role", "r", rules=[{"apiGroups": [""], "resources": ["pods"], "verbs": []}]),
            "rules[0].verbs",
            "at least one value",
        ),
    ],
)
def test_wrong_objects_are_refused_with_the_field(
    cluster: TestCluster, item: dict[str, Any], field: str, message: str
) -> None:
    refused = cluster.apply_refused(item)
    assert (refused["code"], refused["reason"]) == (422, "Invalid")
    causes = {cause["field"]: cause["message"] for cause in refused["details"]["causes"]}
    assert message in causes[field]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (
            nim(0),
            changed(
                changed(nim(0), "spec", "selector", to={"matchLabels": {"app": "x"}}),
                *("spec", "template", "metadata", "labels"),
                to={"app": "x"},
            ),
            "field is immutable",
        ),
        (claim(), claim("50Gi"), "can not be less than"),
        (claim(), changed(claim(), "spec", "storageClassName", to="fast"), "spec is immutable after creation"),
        (api_secret(), changed(api_secret(), "type", to="other"), "field is immutable"),
    ],
)
def test_some_fields_never_change(
    cluster: TestCluster, first: dict[str, Any], second: dict[str, Any], message: str
) -> None:
    cluster.apply(first)
    assert message in cluster.apply_refused(second)["message"]


def test_unknown_fields_of_a_create_are_an_error_a_warning_or_nothing(cluster: TestCluster) -> None:
    path, body = cluster.path("Deployment"), changed(nim(0), *CONTAINER, "imagee", to="x")
    strict = cluster.refused("POST", path, body, fieldValidation="Strict")
    assert strict["message"] == ('strict decoding error: unknown field "spec.template.spec.containers[0].imagee"')
    warned = cluster.send("POST", path, body)
    assert warned.status_code == 201
    assert warned.headers["Warning"] == '299 - "unknown field "spec.template.spec.containers[0].imagee""'
    assert "imagee" not in str(cluster.get("Deployment", NIM)["spec"])


@pytest.mark.parametrize("version", ["1.34", "1.36", "1.37"])
@pytest.mark.parametrize(
    ("item", "is_right"),
    [
        (nim(), True),
        (gateway(), True),
        (balancer(), True),
        (claim(), True),
        (changed(nim(), *CONTAINER, "imagee", to="x"), False),
        (changed(nim(), "spec", "replicas", to="1"), False),
        (changed(nim(), *CONTAINER, "env", to={"a": "b"}), False),
        (without(nim(), *CONTAINER, "name"), False),
        (changed(nim(), *CONTAINER, "resources", "limits", "nvidia.com/gpu", to=1), True),
        (changed(nim(), *CONTAINER, "resources", "limits", "nvidia.com/gpu", to=["1"]), False),
        (changed(balancer(), "spec", "ports", 0, "targetPort", to=1.5), False),
        (changed(balancer(), "spec", "ports", 0, "targetPort", to=8080), True),
    ],
)
def test_the_schemas_are_read_as_the_package_they_come_from_reads_them(
    version: str, item: dict[str, Any], is_right: bool
) -> None:
    assert (schemas(version).problems(BY_NAME[item["kind"]], item) == []) == is_right
    if is_right:
        validate(item, version, strict=True)
    else:
        with pytest.raises(ValidationError):
            validate(item, version, strict=True)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("1000m", "1"),
        ("0.5", "500m"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        (2, "2"),
        ("1500", "1500"),
        ("1e3", "1k"),
    ],
)
def test_quantities_are_stored_in_one_form(given: object, stored: str) -> None:
    assert canonical_quantity(given) == stored


def test_an_unknown_version_cannot_be_had() -> None:
    with pytest.raises(ValueError, match=r"no schemas of Kubernetes 1\.99"):
        TestCluster(version="1.99")


# -- other verbs -------------------------------------------------------------------------------------------------------


def test_create_read_update_delete(cluster: TestCluster) -> None:
    path = cluster.path("ServiceAccount")
    made = cluster.ask("POST", path, {"metadata": {"name": "artist"}}, fieldManager="m")
    assert made["kind"] == "ServiceAccount"
    assert cluster.refused("POST", path, {"metadata": {"name": "artist"}})["reason"] == "AlreadyExists"
    changed_account = {**made, "automountServiceAccountToken": False}
    stored = cluster.ask("PUT", f"{path}/artist", changed_account)
    assert stored["metadata"]["uid"] == made["metadata"]["uid"]
    assert cluster.refused("PUT", f"{path}/artist", changed_account)["reason"] == "Conflict"
    stale = {"preconditions": {"uid": "another"}}
    assert "UID in precondition" in cluster.refused("DELETE", f"{path}/artist", stale)["message"]
    assert cluster.ask("DELETE", f"{path}/artist", {})["status"] == "Success"
    assert cluster.refused("GET", f"{path}/artist")["message"] == 'serviceaccounts "artist" not found'


def test_patches_of_two_kinds(cluster: TestCluster) -> None:
    cluster.apply(nim(0))
    path = cluster.path("Deployment", NIM)
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "nim", "image": "other:1"}]}}}}
    merged = cluster.ask("PATCH", path, patch, STRATEGIC)["spec"]["template"]["spec"]["containers"]
    assert len(merged) == 1
    assert (merged[0]["image"], len(merged[0]["env"])) == ("other:1", 2)
    replaced = cluster.ask("PATCH", path, patch, MERGE)
    assert "env" not in replaced["spec"]["template"]["spec"]["containers"][0]
    assert replaced["metadata"]["generation"] == 3
    assert cluster.refused("PATCH", path, patch, "application/json")["code"] == 415
    assert cluster.refused("PATCH", path, patch, MERGE, force="true")["code"] == 422


def test_the_roleref_of_a_binding_is_fixed(cluster: TestCluster) -> None:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "nim-artists"}
    subject = {"kind": "ServiceAccount", "name": "artist", "namespace": SPACE}
    item = manifest("RoleBinding", "artists", roleRef=reference, subjects=[subject])
    cluster.apply(item)
    refused = cluster.apply_refused(changed(item, "roleRef", "name", to="other"))
    assert "cannot change roleRef" in refused["message"]


def test_defaults_are_those_of_a_real_server(cluster: TestCluster) -> None:
    spec = cluster.apply(gateway())["spec"]
    assert (spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (10, 600)
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}
    container = spec["template"]["spec"]["containers"][0]
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["ports"] == [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]
    probe = cluster.apply(nim(0))["spec"]["template"]["spec"]["containers"][0]["startupProbe"]
    assert probe["httpGet"]["scheme"] == "HTTP"
    assert (probe["timeoutSeconds"], probe["failureThreshold"]) == (1, 3)
    service = cluster.apply(balancer())["spec"]
    assert service["clusterIPs"] == [service["clusterIP"]]
    assert service["healthCheckNodePort"] >= 30000
    assert service["ports"][0]["nodePort"] >= 30000
    back = cluster.apply(manifest("Service", "gateway", spec={"type": "ClusterIP", "ports": [{"port": 80}]}))["spec"]
    assert "externalTrafficPolicy" not in back
    assert "nodePort" not in back["ports"][0]


def test_an_access_review_says_yes(cluster: TestCluster) -> None:
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    spec = {"resourceAttributes": {"verb": "create", "resource": "namespaces"}}
    assert cluster.ask("POST", path, {"spec": spec})["status"] == {"allowed": True}
    assert cluster.refused("POST", path, {"spec": {}})["code"] == 400
