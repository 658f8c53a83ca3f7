# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a workstation's identity on Azure, and what goes wrong in it."""

from __future__ import annotations

import json
import typing as t
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._identity import ROUNDS
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _azure_identity
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_identity import CLUSTER_USER
from tests.aws.artist import ModuleFailedError
from tests.azure.artist import CLUSTER, GROUP, NAMESPACE, REGION, WORKSTATION, Artist

BIND = f"bind Role nim-artists of namespace {NAMESPACE} to workstation"
UNBIND = f"unbind Role nim-artists of namespace {NAMESPACE}"
ASSIGN = f"assign {CLUSTER_USER} on AKS cluster {CLUSTER}"
UNASSIGN = f"remove {CLUSTER_USER} from AKS cluster {CLUSTER}"
NOBODY = "99999999-8888-7777-6666-555555555555"


def name_of(artist: Artist, workstation: str = WORKSTATION) -> str:
    return _azure_identity.unique_name(artist.sandbox.env["AZURE_SUBSCRIPTION_ID"], CLUSTER, workstation)


def first_steps(artist: Artist, workstation: str = WORKSTATION) -> list[str]:
    name = name_of(artist, workstation)
    return [f"create application {name}", f"create service principal of {name}", ASSIGN, BIND]


def without_key(result: dict[str, t.Any]) -> list[str]:
    made = result["key"]["id"] if result["minted"] else "-"
    return [step.removesuffix(f" {made}") for step in result["steps"]]


# ---- the life of an identity ---------------------------------------------------------------------------------------


def test_the_first_run_makes_everything_and_one_secret(artist: Artist) -> None:
    result = artist.run()
    key_id, app_id = result["key"]["id"], result["identity"]
    assert result["steps"] == [*first_steps(artist), f"create key {key_id}"]
    assert (result["minted"], result["reason"], result["warnings"]) == (True, "there is none yet", [])
    secret = result["credentials"].pop("Client Secret")
    assert result["credentials"] == {
        "Subscription ID": artist.sandbox.env["AZURE_SUBSCRIPTION_ID"],
        "Tenant ID": artist.sandbox.env["AZURE_TENANT_ID"],
        "Client ID (Application ID)": app_id,
        "Resource Group": GROUP,
        "Region": REGION,
    }
    assert len(secret) == 40
    name, principal = name_of(artist), artist.principal(app_id)["id"]
    assert artist.resources() == {
        "applications": [name],
        "service_principals": [name],
        "client_secrets": [f"{name}/{key_id}"],
        "role_assignments": [f"{principal} on {CLUSTER}"],
    }
    assert artist.bindings() == {f"ws-{WORKSTATION}": [principal]}
    application = artist.application()
    assert application is not None
    assert application["displayName"] == f"BudgetGuard workstation {WORKSTATION} ({CLUSTER})"
    assert application["tags"] == [
        "budgetguard:managed=true",
        f"budgetguard:subscription={artist.sandbox.env['AZURE_SUBSCRIPTION_ID']}",
        f"budgetguard:cluster={CLUSTER}",
        f"budgetguard:workstation={WORKSTATION}",
    ]


def test_the_second_run_makes_six_reads_and_nothing_else(artist: Artist) -> None:
    first = artist.run()
    since = artist.control.newest()
    second = artist.run(key_id=first["key"]["id"])
    assert (second["changed"], second["steps"], "credentials" in second) == (False, [], False)
    assert second["key"] == first["key"]
    assert len(artist.calls(since)) == 6
    assert artist.writes(since) == []


def test_the_calls_of_a_run_without_change_do_not_grow(artist: Artist) -> None:
    for number in range(3):
        artist.run(workstation=f"other-{number}")
    first = artist.run()
    since = artist.control.newest()
    artist.run(key_id=first["key"]["id"])
    assert len(artist.calls(since)) == 6


def test_check_mode_tells_the_steps_and_makes_none(artist: Artist) -> None:
    foreseen = artist.run(check=True)
    assert artist.writes() == []
    assert (foreseen["identity"], foreseen["minted"], foreseen["key"]) == (None, True, None)
    done = artist.run()
    assert foreseen["steps"] == [*first_steps(artist), "create key"]
    assert without_key(done) == foreseen["steps"]
    assert foreseen["diff"]["after"] == "".join(f"{step}\n" for step in foreseen["steps"])
    for options in (
        {"key_id": done["key"]["id"], "rotate": True},
        {"state": "absent"},
    ):
        since = artist.control.newest()
        foreseen = artist.run(check=True, **options)
        assert artist.writes(since) == []
        assert without_key(artist.run(**options)) == foreseen["steps"]


def test_a_rotation_in_two_phases(artist: Artist) -> None:
    old = artist.run()
    new = artist.run(key_id=old["key"]["id"], rotate=True)
    assert (new["minted"], new["previous_key_id"]) == (True, old["key"]["id"])
    assert new["other_keys"] == [old["key"]["id"]]
    assert all(artist.log_in(result["credentials"]).ok for result in (old, new))

    again = artist.run(key_id=new["key"]["id"], previous_key_id=old["key"]["id"], rotate=True)
    assert (again["changed"], again["previous_key_id"]) == (False, old["key"]["id"])

    last = artist.run(key_id=new["key"]["id"], previous_key_id=old["key"]["id"], delivered=True)
    assert last["steps"] == [f"delete key {old['key']['id']}"]
    assert artist.key_ids() == [new["key"]["id"]]
    assert "AADSTS7000215" in artist.log_in(old["credentials"]).json()["error_description"]
    assert artist.log_in(new["credentials"]).ok
    assert artist.run(key_id=new["key"]["id"], delivered=True)["changed"] is False


def age(result: dict[str, t.Any]) -> timedelta:
    """Return how long a secret lives."""
    created, expires = (datetime.fromisoformat(result["key"][name].rstrip("Z")) for name in ("created", "expires"))
    return expires - created


def test_a_secret_ends_by_itself(artist: Artist) -> None:
    assert round(age(artist.run()) / timedelta(days=1)) == 180
    assert round(age(artist.run(workstation="ws-02", max_age_days=90)) / timedelta(days=1)) == 90 + 30


def add_secret(artist: Artist, days: float, age_days: float = 0) -> str:
    """Make a secret by hand that ends in so many days."""
    application = artist.application()
    assert application is not None
    now = datetime.now(timezone.utc)
    start, end = (
        moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in (now - timedelta(age_days), now + timedelta(days))
    )
    wish = {"passwordCredential": {"startDateTime": start, "endDateTime": end}}
    answer = artist.graph("POST", f"/applications(appId='{application['appId']}')/addPassword", json=wish)
    assert answer.ok, answer.text
    return str(answer.json()["keyId"])


def test_a_secret_is_replaced_before_its_end_and_at_its_age(artist: Artist) -> None:
    artist.run()
    near = add_secret(artist, days=13)
    assert artist.run(check=True, key_id=near)["reason"] == f"the stored key ends on {day(13)}"
    assert artist.run(check=True, key_id=add_secret(artist, days=15))["minted"] is False
    old = add_secret(artist, days=60, age_days=91)
    assert artist.run(check=True, key_id=old, max_age_days=90)["reason"] == "the stored key is 91 days old"
    assert artist.run(check=True, key_id=old)["minted"] is False


def day(days: int) -> str:
    return f"{datetime.now(timezone.utc) + timedelta(days):%Y-%m-%d}"


def test_a_secret_that_was_not_stored_is_gone_after_the_second_phase(artist: Artist) -> None:
    """The run was killed between the cloud's answer and the store."""
    lost = artist.run()["key"]["id"]
    kept = artist.run()
    assert artist.key_ids() == sorted([lost, kept["key"]["id"]])
    artist.run(key_id=kept["key"]["id"], delivered=True)
    assert artist.key_ids() == [kept["key"]["id"]]


def test_secrets_that_were_lost_again_and_again_do_not_pile_up(artist: Artist) -> None:
    lost = [artist.run()["key"]["id"] for _number in range(5)]
    kept = artist.run()
    assert len(artist.key_ids()) == 3
    assert {lost[-1], kept["key"]["id"]} < set(artist.key_ids())


def test_the_stored_secret_stays_when_others_are_in_the_way(artist: Artist) -> None:
    stored = artist.run()["key"]["id"]
    for _number in range(4):
        add_secret(artist, days=100)
    new = artist.run(key_id=stored, rotate=True)
    assert {stored, new["key"]["id"]} < set(artist.key_ids())
    assert len(artist.key_ids()) == 3


def test_a_secret_that_was_deleted_is_replaced(artist: Artist) -> None:
    first = artist.run()
    app = first["identity"]
    artist.graph("POST", f"/applications(appId='{app}')/removePassword", json={"keyId": first["key"]["id"]})
    second = artist.run(key_id=first["key"]["id"])
    assert second["reason"] == f"the stored key {first['key']['id']} is not there any more"
    with pytest.raises(ModuleFailedError, match="does not work; run again without delivered"):
        artist.run(key_id=first["key"]["id"], delivered=True)


def test_absent_deletes_the_secrets_first(artist: Artist) -> None:
    keys = sorted([artist.run()["key"]["id"], artist.run()["key"]["id"]])
    name, since = name_of(artist), artist.control.newest()
    result = artist.run(state="absent")
    assert sorted(result["steps"][:2]) == [f"delete key {key}" for key in keys]
    assert result["steps"][2:] == [
        UNASSIGN,
        UNBIND,
        f"delete service principal of {name}",
        f"delete application {name}",
    ]
    assert artist.writes(since) == [
        "RemovePassword",
        "RemovePassword",
        "RoleAssignments_Delete",
        "delete rolebindings",
        "DeleteServicePrincipal",
        "DeleteApplication",
    ]
    assert artist.resources() == {"deleted_applications": [name]}
    assert artist.bindings() == {}
    since = artist.control.newest()
    assert artist.run(state="absent")["changed"] is False
    assert artist.writes(since) == []


def test_a_revoked_secret_opens_nothing_and_a_restored_application_has_none(artist: Artist) -> None:
    credentials = artist.run()["credentials"]
    artist.run(state="absent")
    assert "AADSTS700016" in artist.log_in(credentials).json()["error_description"]
    deleted = artist.graph("GET", "/directory/deletedItems/microsoft.graph.application").json()["value"]
    assert artist.graph("POST", f"/directory/deletedItems/{deleted[0]['id']}/restore").ok
    assert "AADSTS7000215" in artist.log_in(credentials).json()["error_description"]
    assert artist.key_ids() == []


def test_an_identity_is_made_again_after_it_was_revoked(artist: Artist) -> None:
    first = artist.run()
    artist.run(state="absent")
    second = artist.run()
    assert second["identity"] != first["identity"]
    assert artist.bindings() == {f"ws-{WORKSTATION}": [artist.principal(second["identity"])["id"]]}


# ---- killed anywhere -------------------------------------------------------------------------------------------------

WRITES = (
    "UpsertApplication",
    "UpsertServicePrincipal",
    "RoleAssignments_Create",
    "apply rolebindings",
    "AddPassword",
)


@pytest.mark.parametrize(("action", "when"), [(WRITES[0], "before"), *((action, "after") for action in WRITES)])
def test_a_run_that_ends_at_any_write_is_finished_by_the_next(artist: Artist, action: str, when: str) -> None:
    """A refusal that nobody expects ends the run like a kill; after the write, its effect is there and nobody knows."""
    artist.control.fault(action, "Teapot", status=418, when=when)
    with pytest.raises(ModuleFailedError):
        artist.run()
    result = artist.run()
    assert result["minted"]
    artist.run(key_id=result["key"]["id"], delivered=True)
    name = name_of(artist)
    found = artist.resources()
    assert (found["applications"], found["service_principals"]) == ([name], [name])
    assert len(found["role_assignments"]) == 1
    assert found["client_secrets"] == [f"{name}/{result['key']['id']}"]
    assert artist.log_in(result["credentials"]).ok
    assert artist.run(key_id=result["key"]["id"])["changed"] is False


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("action", ["AddPassword", "RemovePassword"])
def test_a_rotation_that_ends_at_any_write_is_finished_by_the_next(artist: Artist, action: str, when: str) -> None:
    stored = artist.run()
    if action == "AddPassword":
        artist.control.fault(action, "Teapot", status=418, when=when)
        with pytest.raises(ModuleFailedError):
            artist.run(key_id=stored["key"]["id"], rotate=True)
        assert artist.log_in(stored["credentials"]).ok
    new = artist.run(key_id=stored["key"]["id"], rotate=True)
    delivered = {"key_id": new["key"]["id"], "previous_key_id": stored["key"]["id"], "delivered": True}
    if action == "RemovePassword":
        artist.control.fault(action, "Teapot", status=418, when=when)
        with pytest.raises(ModuleFailedError):
            artist.run(**delivered)
        assert artist.log_in(new["credentials"]).ok
    artist.run(**delivered)
    assert artist.key_ids() == [new["key"]["id"]]
    assert artist.run(key_id=new["key"]["id"])["changed"] is False


@pytest.mark.parametrize(
    "action",
    ["RemovePassword", "RoleAssignments_Delete", "delete rolebindings", "DeleteServicePrincipal", "DeleteApplication"],
)
def test_a_removal_that_ends_at_any_write_is_finished_by_the_next(artist: Artist, action: str) -> None:
    artist.run()
    artist.control.fault(action, "Teapot", status=418, when="after")
    with pytest.raises(ModuleFailedError):
        artist.run(state="absent")
    artist.run(state="absent")
    assert artist.resources() == {"deleted_applications": [name_of(artist)]}
    assert artist.bindings() == {}
    assert artist.run(state="absent")["changed"] is False


@pytest.mark.parametrize(("status", "headers"), [(500, {}), (503, {"Retry-After": "1"}), (504, {})])
def test_a_lost_answer_leaves_no_second_secret(artist: Artist, status: int, headers: dict[str, str]) -> None:
    """Entra has made the secret, the answer never came: the SDK would just ask again."""
    artist.control.fault("AddPassword", "UnknownError", status=status, when="after", headers=headers)
    result = artist.run()
    assert artist.key_ids() == [result["key"]["id"]]
    assert artist.log_in(result["credentials"]).ok


def test_a_secret_that_cannot_be_made_is_given_up_with_nothing_left(artist: Artist) -> None:
    artist.control.fault("AddPassword", "UnknownError", status=500, when="after", times=None)
    with pytest.raises(ModuleFailedError, match="cannot create a secret of the application"):
        artist.run()
    artist.control.clear_faults()
    assert artist.key_ids() == []


# ---- the rights ----------------------------------------------------------------------------------------------------


def test_what_was_taken_away_by_hand_comes_back(artist: Artist) -> None:
    first = artist.run()
    key_id, principal = first["key"]["id"], artist.principal(first["identity"])["id"]
    artist.kube("DELETE", f"rolebindings/ws-{WORKSTATION}", group="rbac.authorization.k8s.io")
    assert artist.run(key_id=key_id)["steps"] == [BIND]
    for item in assignments(artist, principal):
        assert artist.arm("DELETE", f"{scope_of(artist)}{ROLES}/{item['name']}?{ROLES_VERSION}").ok
    assert artist.run(key_id=key_id)["steps"] == [ASSIGN]
    artist.graph("DELETE", f"/servicePrincipals(appId='{first['identity']}')")
    again = artist.run(key_id=key_id)
    assert again["steps"] == [f"create service principal of {name_of(artist)}", ASSIGN, BIND]
    assert artist.bindings() == {f"ws-{WORKSTATION}": [artist.principal(first["identity"])["id"]]}
    assert artist.run(key_id=key_id)["changed"] is False


ROLES = "/providers/Microsoft.Authorization/roleAssignments"
ROLES_VERSION = "api-version=2022-04-01"


def scope_of(artist: Artist) -> str:
    return f"/resourceGroups/{GROUP}/providers/Microsoft.ContainerService/managedClusters/{CLUSTER}"


def assignments(artist: Artist, principal: str) -> list[dict[str, t.Any]]:
    query = f"{ROLES_VERSION}&$filter=principalId eq '{principal}'"
    answer = artist.arm("GET", f"{scope_of(artist)}{ROLES}?{query}")
    return t.cast("list[dict[str, t.Any]]", answer.json()["value"])


def put_role(artist: Artist, principal: str, scope: str, name: str = NOBODY) -> None:
    """Assign the role by hand."""
    subscription = f"/subscriptions/{artist.sandbox.env['AZURE_SUBSCRIPTION_ID']}"
    role = f"{subscription}/providers/Microsoft.Authorization/roleDefinitions/{_azure_identity.CLUSTER_USER_ID}"
    body = {"properties": {"roleDefinitionId": role, "principalId": principal, "principalType": "ServicePrincipal"}}
    answer = artist.arm("PUT", f"{scope}{ROLES}/{name}?{ROLES_VERSION}", json=body)
    assert answer.ok, answer.text


def test_a_role_on_the_resource_group_is_enough_and_is_left_alone(artist: Artist) -> None:
    principal, _fields = artist.make_identity()
    put_role(artist, principal, f"/resourceGroups/{GROUP}")
    assert artist.run(principal=principal)["steps"] == [BIND]
    assert artist.run(principal=principal, state="absent")["steps"] == [UNBIND]
    assert artist.resources()["role_assignments"] == [f"{principal} on {GROUP}"]


def test_a_role_that_was_assigned_by_hand_is_taken_for_ours(artist: Artist) -> None:
    principal, _fields = artist.make_identity()
    put_role(artist, principal, scope_of(artist))
    assert artist.run(principal=principal)["steps"] == [BIND]
    assert artist.run(principal=principal, state="absent")["steps"] == [UNASSIGN, UNBIND]
    assert "role_assignments" not in artist.resources()


def test_a_service_principal_that_was_disabled_stays_so_and_is_told(artist: Artist) -> None:
    first = artist.run()
    artist.graph("PATCH", f"/servicePrincipals(appId='{first['identity']}')", json={"accountEnabled": False})
    again = artist.run(key_id=first["key"]["id"])
    assert again["changed"] is False
    assert "was disabled, so nobody can log in with it" in again["warnings"][0]
    assert "AADSTS7000112" in artist.log_in(first["credentials"]).json()["error_description"]


# ---- a cluster that cannot be asked ---------------------------------------------------------------------------------


def test_without_a_cluster_there_is_a_secret_and_a_warning(tenant: Artist) -> None:
    first = tenant.run(region="East US")
    name = name_of(tenant)
    assert first["steps"][:-1] == [f"create application {name}", f"create service principal of {name}"]
    assert first["credentials"]["Region"] == "eastus"
    (warning,) = first["warnings"]
    assert f"may not start and stop NIMs of the AKS cluster {CLUSTER} yet" in warning
    key = {"key_id": first["key"]["id"]}
    again = tenant.run(**key)
    assert (again["changed"], again["warnings"]) == (False, [warning])
    tenant.make_cluster()
    assert tenant.run(**key)["steps"] == [ASSIGN, BIND]
    last = tenant.run(**key)
    assert (last["changed"], last["warnings"]) == (False, [])


def test_the_region_is_left_out_where_nobody_knows_it(tenant: Artist) -> None:
    assert "Region" not in tenant.run()["credentials"]


def test_a_cluster_that_is_switched_off_keeps_nobody_from_a_secret(artist: Artist) -> None:
    artist.stop_cluster()
    first = artist.run()
    assert first["steps"][:-1] == first_steps(artist)[:3]
    assert "is switched off" in first["warnings"][0]
    foreseen = artist.run(check=True, key_id=first["key"]["id"])
    assert (foreseen["changed"], foreseen["warnings"]) == (False, first["warnings"])
    artist.start_cluster()
    assert artist.run(key_id=first["key"]["id"])["steps"] == [BIND]


def test_a_cluster_that_does_not_answer_keeps_nobody_from_a_secret(artist: Artist) -> None:
    artist.control.fault("*", "ServiceUnavailable", status=503, service="kube", times=None)
    first = artist.run()
    assert first["minted"]
    assert "(503)" in first["warnings"][0]
    artist.control.clear_faults()
    assert artist.run(key_id=first["key"]["id"])["steps"] == [BIND]


def test_a_lost_laptop_does_not_wait_for_a_cluster(artist: Artist) -> None:
    credentials = artist.run()["credentials"]
    artist.stop_cluster()
    result = artist.run(state="absent")
    assert UNASSIGN in result["steps"]
    assert "What is left of its rights is void" in result["warnings"][0]
    assert not artist.log_in(credentials).ok
    assert artist.resources() == {"deleted_applications": [name_of(artist)]}
    artist.start_cluster()
    assert artist.run(state="absent")["steps"] == [UNBIND]
    assert artist.run(state="absent")["changed"] is False


def test_the_rights_of_a_principal_that_lives_on_must_be_seen_to_go(artist: Artist) -> None:
    principal, _fields = artist.make_identity()
    artist.run(principal=principal)
    artist.stop_cluster()
    with pytest.raises(ModuleFailedError, match=r"cannot look for the RoleBinding ws-ws-01 .* is switched off"):
        artist.run(principal=principal, state="absent")
    artist.start_cluster()
    assert artist.run(principal=principal, state="absent")["steps"] == [UNASSIGN, UNBIND]


# ---- a principal of the workstation's own ----------------------------------------------------------------------------


def test_a_principal_gets_the_rights_and_nothing_else(artist: Artist) -> None:
    principal, _fields = artist.make_identity()
    before = artist.resources()
    foreseen = artist.run(check=True, principal=principal)
    result = artist.run(principal=principal.upper())
    assert result["steps"] == foreseen["steps"] == [ASSIGN, BIND]
    assert (result["identity"], result["minted"], result["key"]) == (principal, False, None)
    assert artist.resources() == {**before, "role_assignments": [f"{principal} on {CLUSTER}"]}
    since = artist.control.newest()
    assert artist.run(principal=principal)["changed"] is False
    assert len(artist.calls(since)) == 4
    assert "graph" not in {call["service"] for call in artist.control.calls(since=since)}

    gone = artist.run(principal=principal, state="absent")
    assert gone["steps"] == [UNASSIGN, UNBIND]
    assert artist.run(principal=principal, state="absent")["changed"] is False
    assert artist.resources() == before


def test_a_principal_that_is_not_there(artist: Artist, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_azure_identity, "SPREAD_SECONDS", 0.1)
    with pytest.raises(ModuleFailedError, match=r"does not exist in the directory .*PrincipalNotFound"):
        artist.run(principal=NOBODY)
    assert artist.run(principal=NOBODY, state="absent")["changed"] is False


# ---- what is not ours ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["present", "absent"])
@pytest.mark.parametrize("tags", [[], ["budgetguard:managed=true"]])
def test_an_application_of_somebody_else_is_refused(artist: Artist, state: str, tags: list[str]) -> None:
    path = f"/applications(uniqueName='{name_of(artist)}')"
    body = {"displayName": "theirs", "tags": tags}
    assert artist.graph("PATCH", path, json=body, headers={"Prefer": "create-if-missing"}).status_code == 201
    since = artist.control.newest()
    with pytest.raises(ModuleFailedError, match="not the tags of one that was made here for this workstation"):
        artist.run(state=state)
    assert artist.writes(since) == []


def test_a_name_for_people_does_not_matter(artist: Artist) -> None:
    """It is not unique in Entra, and may be changed by hand."""
    title = f"BudgetGuard workstation {WORKSTATION} ({CLUSTER})"
    artist.graph("POST", "/applications", json={"displayName": title})
    first = artist.run()
    artist.graph("PATCH", f"/applications(appId='{first['identity']}')", json={"displayName": "Anna's computer"})
    assert artist.run(key_id=first["key"]["id"])["changed"] is False
    artist.run(state="absent")
    assert artist.resources() == {"applications": [title], "deleted_applications": [name_of(artist)]}


def test_another_cluster_or_subscription_has_identities_of_its_own(artist: Artist) -> None:
    names = {
        _azure_identity.unique_name(subscription, cluster, WORKSTATION)
        for subscription in ("A-1", "a-2")
        for cluster in ("budgetguard", "shots")
    }
    assert len(names) == 4
    assert _azure_identity.unique_name("a-1", "Shots", "w") == _azure_identity.unique_name("A-1", "shots", "w")
    artist.run()
    shots = artist.run(cluster="shots")
    assert len(artist.resources()["applications"]) == 2
    assert artist.run(cluster="Shots", key_id=shots["key"]["id"])["changed"] is False


# ---- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workstation": "ws_01"}, "workstation is 'ws_01'; it must be 1 to 48 letters"),
        ({"cluster": "Budget Guard"}, "cluster is 'Budget Guard'"),
        ({"resource_group": "a/b"}, "resource_group is 'a/b'"),
        ({"namespace": "kube-system"}, "namespace is 'kube-system'"),
        ({"max_age_days": 0}, "max_age_days is 0; it must be 1 or more"),
        ({"max_age_days": 10**9}, "max_age_days is 1000000000; on Azure it must be 700 or less"),
        ({"principal": "ws-02"}, "principal is 'ws-02'; it must be the object id"),
        ({"principal": NOBODY, "key_id": "1"}, "principal is one that has no key"),
        ({"delivered": True}, "delivered needs key_id"),
        ({"graph_endpoint": "graph.microsoft.us"}, "graph_endpoint is 'graph.microsoft.us'; it must be an https"),
        ({"client_id": None}, "not set: client_id"),
    ],
)
def test_bad_input_is_one_error_before_any_call(tenant: Artist, options: dict[str, t.Any], message: str) -> None:
    with pytest.raises(ModuleFailedError) as caught:
        tenant.run(**options)
    assert message in str(caught.value)
    assert str(caught.value).endswith("Nothing was changed.")
    assert tenant.control.calls() == []


# ---- trouble -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "action", ["GetApplication", "UpsertApplication", "UpsertServicePrincipal", "RoleAssignments_Create", "AddPassword"]
)
def test_throttling_is_waited_out_for_as_long_as_is_asked(artist: Artist, action: str) -> None:
    artist.control.fault(action, "TooManyRequests", status=429, headers={"Retry-After": "1"})
    result = artist.run()
    times = [call["time"] for call in artist.control.calls(action=action)]
    assert times[1] - times[0] >= 1
    assert artist.key_ids() == [result["key"]["id"]]


def test_throttling_of_a_removal_is_waited_out(artist: Artist) -> None:
    artist.run()
    artist.control.fault("RemovePassword", "TooManyRequests", status=429, headers={"Retry-After": "1"})
    artist.run(state="absent")
    assert artist.key_ids() == []


@pytest.mark.parametrize(
    ("action", "code", "status"),
    [
        ("UpsertServicePrincipal", "NoBackingApplicationObject", 400),
        ("UpsertServicePrincipal", "Request_ResourceNotFound", 404),
        ("AddPassword", "Request_ResourceNotFound", 404),
        ("RoleAssignments_Create", "PrincipalNotFound", 400),
    ],
)
def test_what_was_just_made_may_not_be_known_everywhere(artist: Artist, action: str, code: str, status: int) -> None:
    artist.control.fault(action, code, status=status, times=2)
    result = artist.run()
    assert without_key(result) == [*first_steps(artist), "create key"]
    assert artist.control.count(action=action) == 3
    assert artist.key_ids() == [result["key"]["id"]]


def test_a_deployer_with_few_rights_is_refused_at_first_in_other_words(artist: Artist) -> None:
    message = "When using this permission, the backing application of the service principal must in the local tenant"
    artist.control.fault("UpsertServicePrincipal", "Authorization_RequestDenied", status=403, message=message)
    assert artist.run()["minted"]


def test_waiting_has_an_end(artist: Artist, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_azure_identity, "SPREAD_SECONDS", 0.2)
    artist.control.fault("RoleAssignments_Create", "PrincipalNotFound", status=400, times=None)
    with pytest.raises(ModuleFailedError, match=r"PrincipalNotFound\)\. Done before that: create application"):
        artist.run()


def test_a_directory_that_is_slow_to_know_what_it_made(artist: Artist, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is there only after a while, also for the reads of the next run."""
    monkeypatch.setattr(_azure_identity, "LIST_SECONDS", 10)
    artist.control.defaults(directory_seconds=0.5)
    first = artist.run()
    second = artist.run(key_id=first["key"]["id"])
    assert second["changed"] is False
    assert artist.key_ids() == [first["key"]["id"]]


def test_a_conflict_is_looked_at_again_but_not_for_ever(artist: Artist, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda _low, _high: 0.01)
    artist.control.fault("UpsertApplication", "Conflict", status=409, times=2)
    artist.control.fault("apply rolebindings", "Conflict", status=409, times=1)
    assert without_key(artist.run()) == [*first_steps(artist), "create key"]
    artist.control.fault("UpsertApplication", "Conflict", status=409, times=None)
    artist.control.clear_calls()
    with pytest.raises(ModuleFailedError, match="remove it for good in the Entra admin center"):
        artist.run(workstation="ws-02")
    assert artist.control.count(action="UpsertApplication") == ROUNDS


@pytest.mark.parametrize(
    ("action", "service", "advice"),
    [
        ("UpsertApplication", "graph", "the permission Application.ReadWrite.OwnedBy of Microsoft Graph"),
        ("RoleAssignments_Create", "arm", "the role Role Based Access Control Administrator on the cluster"),
        ("apply rolebindings", "kube", "the role Azure Kubernetes Service RBAC Cluster Admin"),
    ],
)
def test_a_refusal_says_what_the_deployer_lacks(artist: Artist, action: str, service: str, advice: str) -> None:
    artist.control.fault(action, "Forbidden", status=403, service=service)
    with pytest.raises(ModuleFailedError) as caught:
        artist.run()
    assert advice in str(caught.value)


def test_a_full_directory_is_no_matter_of_virtual_machines(artist: Artist) -> None:
    artist.control.fault("UpsertApplication", "Directory_QuotaExceeded", message="The quota is exceeded", status=403)
    with pytest.raises(ModuleFailedError, match=r"deleted in the last 30 days count as well\. Nothing was changed\.$"):
        artist.run()


# ---- races ---------------------------------------------------------------------------------------------------------


def test_many_workstations_at_once(artist: Artist) -> None:
    names = [f"ws-{number:02}" for number in range(6)]
    with ThreadPoolExecutor(max_workers=len(names)) as pool:
        results = list(pool.map(lambda name: artist.run(workstation=name), names))
    assert all(without_key(result)[-1] == "create key" for result in results)
    assert all(result["minted"] for result in results)
    found = artist.resources()
    assert {kind: len(items) for kind, items in found.items()} == dict.fromkeys(
        ("applications", "service_principals", "client_secrets", "role_assignments"), len(names)
    )
    assert len(artist.bindings()) == len(names)
    keys = {name: result["key"]["id"] for name, result in zip(names, results, strict=True)}
    assert not any(artist.run(workstation=name, key_id=key)["changed"] for name, key in keys.items())


@pytest.mark.parametrize("action", WRITES[:-1])
def test_the_same_workstation_twice_at_once(artist: Artist, action: str) -> None:
    """Both get a secret that works; there is one of everything else, and the second phase leaves the stored secret."""
    artist.control.hook(action, 0.3, times=None, when="before")
    with ThreadPoolExecutor(max_workers=2) as pool:
        results = list(pool.map(lambda _number: artist.run(), range(2)))
    assert len({result["key"]["id"] for result in results}) == 2
    assert len({result["identity"] for result in results}) == 1
    found = artist.resources()
    assert [len(found[kind]) for kind in ("applications", "service_principals", "role_assignments")] == [1, 1, 1]
    artist.run(key_id=results[0]["key"]["id"], delivered=True)
    assert artist.key_ids() == [results[0]["key"]["id"]]
    assert artist.log_in(results[0]["credentials"]).ok


# ---- secrets -------------------------------------------------------------------------------------------------------


def test_a_secret_is_in_the_credentials_and_nowhere_else(artist: Artist, capfd: pytest.CaptureFixture[str]) -> None:
    first = artist.run()
    second = artist.run(key_id=first["key"]["id"], rotate=True)
    for result in (first, second):
        secret = result["credentials"]["Client Secret"]
        artist.log_in(result["credentials"])
        assert artist.control.calls_containing(secret) == []
        others = {name: value for name, value in result.items() if name != "credentials"}
        assert secret not in json.dumps(others)
        assert secret not in repr(result["steps"])
    output = capfd.readouterr()
    assert first["credentials"]["Client Secret"] not in output.out + output.err
