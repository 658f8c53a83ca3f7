# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The preflight on Azure and Google Cloud: what they are asked, and what is said about their answers."""

from __future__ import annotations

import base64
import json

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._permissions import ROLES, Findings, Right
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import (
    _azure_permissions,
    _azure_rights,
    _gcp_permissions,
    _gcp_rights,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_rights import graph_permissions
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_session import AzureSession
from ansible_collections.budgetguard.techops.plugins.module_utils._providers.azure import GROUPS_API
from tests.clusters.cluster import Cluster
from tests.gcp.artist import Artist
from tests.sandbox import Sandbox

READ = Right("Microsoft.ContainerService/managedClusters/read", "look")
POD = Right("Microsoft.ContainerService/managedClusters/pods/read", "look", of_data=True)


@pytest.fixture
def sandbox(running_sandbox: Sandbox) -> Sandbox:
    """Give an empty sandbox."""
    running_sandbox.control.reset()
    return running_sandbox


# ---- Azure ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entries", "right", "held"),
    [
        ([{"actions": ["*"]}], READ, True),
        ([{"actions": ["*/read"]}], READ, True),
        ([{"actions": ["microsoft.containerservice/MANAGEDCLUSTERS/Read"]}], READ, True),
        ([{"actions": ["Microsoft.ContainerService/*"]}], READ, True),
        ([{"actions": ["Microsoft.ContainerService/managedClusters/*/read"]}], READ, False),
        ([{"actions": ["Microsoft.ContainerService/managedClusters/rea?"]}], READ, False),
        ([{"actions": ["Microsoft.ContainerService/managedClusters/[r]ead"]}], READ, False),
        ([{"actions": ["Microsoft.ContainerService/managedClusters"]}], READ, False),
        ([{"actions": ["*"], "notActions": ["Microsoft.ContainerService/*/read"]}], READ, False),
        ([{"actions": ["*"], "notActions": ["*/read"]}, {"actions": ["*/read"]}], READ, True),
        ([{"actions": ["*"]}], POD, False),
        ([{"dataActions": ["*"]}], READ, False),
        ([{"dataActions": ["Microsoft.ContainerService/managedClusters/*"]}], POD, True),
        ([{"dataActions": ["*"], "notDataActions": ["*/pods/*"]}], POD, False),
        ([], READ, False),
    ],
)
def test_azures_wildcards_and_exclusions(entries: list[dict[str, list[str]]], right: Right, held: bool) -> None:
    assert _azure_rights.holds(entries, right) is held


def _azure(sandbox: Sandbox, *roles: str) -> Findings:
    return _azure_permissions.look(Cluster(sandbox, "azure").options(), roles)


def _entry(name: str) -> dict[str, list[str]]:
    role = _azure_rights.definitions()[name]
    return {"actions": role["Actions"], "dataActions": role["DataActions"]}


@pytest.mark.parametrize("role", ["deployer", "readonly"])
def test_the_role_of_the_file_is_enough_on_azure(sandbox: Sandbox, role: str) -> None:
    sandbox.control.azure_permissions(_entry(role))
    found = _azure(sandbox, role)
    assert (found.missing, found.unchecked) == ((), ())
    assert found.checked >= len(_azure_rights.RIGHTS[role])
    # Quotas are only looked at where that is allowed.
    assert bool([note for note in found.notes if "usages/read" in note]) is (role == "deployer")


def test_all_pages_of_azures_answer_count(sandbox: Sandbox) -> None:
    sandbox.control.azure_permissions(_entry("readonly"), {"actions": ["Microsoft.Resources/*"]}, _entry("deployer"))
    assert _azure(sandbox, "deployer", "readonly").missing == ()


def test_what_is_missing_on_azure_is_named_with_its_purpose(sandbox: Sandbox) -> None:
    sandbox.control.azure_permissions({"actions": ["*"], "notActions": ["Microsoft.Authorization/*/Write"]})
    found = _azure(sandbox, "readonly", "identities")
    lines = [gap.line for gap in found.missing]
    assert (
        "Microsoft.ContainerService/managedClusters/pods/read on the subscription (there is no resource group studio "
        "yet): tell why a NIM does not run, with the last lines of its log"
    ) in lines
    assert any(line.startswith("Microsoft.Authorization/roleAssignments/write on ") for line in lines)
    assert len({gap.right for gap in found.missing}) == len(found.missing)


def test_the_resource_group_is_asked_where_there_is_one(sandbox: Sandbox) -> None:
    session = AzureSession(Cluster(sandbox, "azure").options())
    session.rest("make a group", "PUT", "resourceGroups/studio", GROUPS_API, {"location": "eastus"})
    sandbox.control.azure_permissions()
    assert {gap.where for gap in _azure(sandbox, "readonly").missing} == {"the resource group studio"}


def test_what_graph_allows_is_never_guessed(sandbox: Sandbox) -> None:
    """The sandbox's tokens are opaque, as those for Microsoft Graph may become."""
    found = _azure(sandbox, "identities")
    assert (found.missing, len(found.unchecked)) == ((), 1)
    assert "Application.ReadWrite.OwnedBy on Microsoft Graph" in found.unchecked[0]


def _token(claims: object) -> str:
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{part}.c2ln"


def test_a_token_tells_its_permissions() -> None:
    assert graph_permissions(_token({"roles": ["Application.ReadWrite.OwnedBy"]})) == frozenset(
        {"Application.ReadWrite.OwnedBy"}
    )
    assert graph_permissions(_token({"scp": "User.Read"})) == frozenset()
    for unreadable in ("", "opaque", "a.b.c", _token([])):
        assert graph_permissions(unreadable) is None


@pytest.mark.parametrize(
    ("held", "missing"),
    [(["User.Read.All"], 1), (["Application.ReadWrite.OwnedBy"], 0), (["Application.ReadWrite.All"], 0)],
)
def test_graphs_permission_is_read_from_the_token(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, held: list[str], missing: int
) -> None:
    monkeypatch.setattr(AzureSession, "token", lambda _self, _scope, _doing: _token({"roles": held}))
    found = _azure(sandbox, "identities")
    assert (len(found.missing), found.unchecked) == (missing, ())


@pytest.mark.parametrize("endpoint", [None, "https://graph.microsoft.us"])
def test_graph_is_asked_where_identities_are_made(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, endpoint: str | None
) -> None:
    asked: list[str] = []
    log_in = AzureSession.token

    def token(session: AzureSession, scope: str, doing: str) -> str:
        if "graph" not in scope:
            return log_in(session, scope, doing)
        asked.append(scope)
        return _token({"roles": ["Application.ReadWrite.OwnedBy"]})

    monkeypatch.setattr(AzureSession, "token", token)
    options = {**Cluster(sandbox, "azure").options(), "graph_endpoint": endpoint}
    assert _azure_permissions.look(options, ["identities"]).unchecked == ()
    assert asked == [f"{endpoint or 'https://graph.microsoft.com'}/.default"]


# ---- Google Cloud ---------------------------------------------------------------------------------------------------


def _gcp(sandbox: Sandbox, *roles: str) -> Findings:
    return _gcp_permissions.look(Cluster(sandbox, "gcp").options(), roles)


def test_the_owner_lacks_nothing_on_google_cloud(sandbox: Sandbox) -> None:
    found = _gcp(sandbox, *ROLES)
    assert (found.missing, found.unchecked) == ((), ())
    assert found.checked == len({right.name for role in ROLES for right in _gcp_rights.RIGHTS[role]})


def test_what_is_missing_on_google_cloud_is_named(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gcp_rights, "MOST_AT_ONCE", 10)
    artist = Artist(sandbox)
    policy = artist.policy()
    for binding in policy["bindings"]:
        binding["role"] = "roles/container.developer"
    artist.session.rest("change", "POST", f"{artist._policy_url}:setIamPolicy", {"policy": policy})
    sandbox.control.clear_calls()
    found = _gcp(sandbox, "deployer")
    missing = {gap.right for gap in found.missing}
    assert {"container.clusters.create", "container.roles.escalate"} <= missing
    assert not {"container.clusters.get", "container.deployments.create", "compute.regions.get"} & missing
    (text,) = found.unchecked
    assert text.startswith("iam.serviceAccounts.actAs: the project does not grant it")
    assert [note for note in found.notes if "compute.regions.get" in note]
    asked = [call["params"]["permissions"] for call in sandbox.control.calls(action="TestIamPermissions")]
    assert max(map(len, asked)) == 10
    assert sorted(name for batch in asked for name in batch) == sorted(
        right.name for right in _gcp_rights.RIGHTS["deployer"]
    )


def test_batches() -> None:
    names = [str(number) for number in range(250)]
    assert [len(batch) for batch in _gcp_rights.batches(names)] == [100, 100, 50]
    assert _gcp_rights.batches([]) == []
