# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles in policies/azure and policies/gcp allow what the modules do, and nothing that they do not do."""

from __future__ import annotations

import datetime
import json
import time
import typing as t
from collections.abc import Iterator

import pytest
import yaml

from ansible_collections.budgetguard.techops.plugins.module_utils import _ca, _usage
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import (
    _azure_metrics,
    _azure_rights,
    _azure_usage,
    _gcp_metrics,
    _gcp_rights,
    _gcp_usage,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _kube_objects as objects
from tests.azure.artist import Artist as AzureArtist
from tests.clusters.cluster import CLOUDS, Cluster, assert_fine
from tests.gcp.artist import Artist
from tests.permissions.holder import with_gateway
from tests.permissions.kube_rights import AKS, GRAPH, needed
from tests.sandbox import Sandbox
from tests.tools import layout, policy_files
from tests.unit.azure.conftest import LED_BY
from tests.usage.logs import switch_on_monitoring

FLUX, LLAMA = "FLUX Dev@a100-80gb", "Llama 3.1"
FLUX_NAME = "nim-flux-dev-a100-80gb"
POLICIES = layout.ROOT / "policies"
RIGHTS = {"azure": _azure_rights.RIGHTS, "gcp": _gcp_rights.RIGHTS}

NOT_RECORDED: dict[tuple[str, str], dict[str, str]] = {
    ("azure", "deployer"): {},
    ("azure", "identities"): {},
    ("azure", "readonly"): {},
    ("gcp", "deployer"): {
        "container.clusters.connect": "GKE asks for it with dns_endpoint",
        "iam.serviceAccounts.actAs": "GKE asks for it when machines are made",
    },
    ("gcp", "identities"): {"container.clusters.connect": "GKE asks for it with dns_endpoint"},
    ("gcp", "readonly"): {"container.clusters.connect": "GKE asks for it with dns_endpoint"},
}
"""What no recorded call needs, and why it is allowed all the same."""


@pytest.fixture
def sandbox(running_sandbox: Sandbox) -> Sandbox:
    """Give an empty sandbox."""
    running_sandbox.control.reset()
    return running_sandbox


@pytest.fixture(params=CLOUDS)
def cluster(request: pytest.FixtureRequest, sandbox: Sandbox) -> Cluster:
    """Give an empty cloud."""
    return Cluster(sandbox, request.param)


def test_the_files_are_what_the_code_says() -> None:
    wanted = {name: text for name, text in policy_files.contents().items() if not name.startswith("aws/")}
    paths = [*POLICIES.glob("azure/*.json"), *POLICIES.glob("gcp/*.yaml")]
    found = {str(path.relative_to(POLICIES)): path.read_text() for path in paths}
    assert found == wanted, "run python -m tests.tools.policy_files"


def test_the_files_are_what_the_programs_of_the_clouds_take() -> None:
    for path in POLICIES.glob("azure/*.json"):
        role = json.loads(path.read_text())
        assert list(role) == [
            *("Name", "IsCustom", "Description", "Actions", "NotActions", "DataActions", "NotDataActions"),
            "AssignableScopes",
        ]
        assert not [name for name in (*role["Actions"], *role["DataActions"]) if "*" in name]
    for path in POLICIES.glob("gcp/*.yaml"):
        role = yaml.safe_load(path.read_text())
        assert list(role) == ["title", "description", "stage", "includedPermissions"]
        assert all(name.count(".") == 2 for name in role["includedPermissions"])


def test_the_deployer_needs_exactly_its_role(cluster: Cluster) -> None:
    for outcome in _life(cluster):
        assert_fine(outcome)
    assert_exact(cluster.cloud, "deployer", cluster.control.calls())


def _life(cluster: Cluster) -> Iterator[t.Any]:
    """Do all that a deployer does: make, change, switch, look, turn tokens on, renew and revoke them, remove."""
    front, renewed = _fronts()
    yield cluster.run(FLUX, LLAMA, check_mode=True)
    yield cluster.run(FLUX, LLAMA)
    yield cluster.run({"node": "FLUX Dev", "gpu_tier": "a100-80gb", "replicas": 2}, LLAMA, settings=front)
    assert cluster.objects()["Secret"] == [objects.GATEWAY_TLS, "ngc-api", "ngc-pull"]
    outcome = cluster.run(gateway_only=True, settings=renewed)
    assert {step.kind for step in outcome.done} == {"secret", "gateway_config", "gateway_deployment"}
    yield outcome
    yield cluster.run(FLUX, state="started", wait=False, settings=renewed)
    stopping = {**renewed, "stop_cluster": True} if cluster.cloud == "azure" else renewed
    yield cluster.run(FLUX, state="stopped", settings=stopping)
    cluster.control.nim(FLUX_NAME, "exits", log_lines=["no licence"])
    yield cluster.run(FLUX, state="started", wait=False, settings=renewed)
    _await_reason(cluster)
    yield cluster.run(FLUX, LLAMA, state="absent", purge_shared=True, settings=renewed)


def _fronts() -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """Return settings of a gateway with TLS and tokens, and the same with another certificate and a lost laptop."""
    now = datetime.datetime.now(datetime.timezone.utc)
    authority = _ca.new_ca("example-studio", now)
    host = "nims.studio.example"

    def pair(*names: str) -> dict[str, str]:
        certificate, key = _ca.leaf(*authority, list(names), now)
        return {"certificate": certificate, "private_key": key}

    front = with_gateway(**pair(host))["gateway"]
    renewed = {**front, **pair(host, "other.studio.example"), "denied": {"ws-01": "2099-01-01T00:00:00Z"}}
    return {"endpoint_host": host, "gateway": front}, {"endpoint_host": host, "gateway": renewed}


def _await_reason(cluster: Cluster) -> None:
    provider, reason = cluster.provider(), ""
    for _attempt in range(100):
        reason = str(provider.statuses(explain=True)[FLUX_NAME].reason)
        if "no licence" in reason:
            return
    raise AssertionError(reason)


def test_reading_needs_exactly_the_readonly_role(cluster: Cluster) -> None:
    cluster.info()
    cluster.control.nim(FLUX_NAME, "exits", log_lines=["no licence"])
    empty = cluster.control.calls()
    assert_fine(cluster.run(FLUX, state="started", wait=False))
    cluster.control.clear_calls()
    _await_reason(cluster)
    cluster.provider().progress([FLUX_NAME])
    if cluster.cloud == "azure":
        looking = cluster.control.calls()
        switch_on_monitoring(cluster)
        cluster.control.clear_calls()
        empty += looking
    _usage_of(cluster)
    assert_exact(cluster.cloud, "readonly", [*empty, *cluster.control.calls()])


def _usage_of(cluster: Cluster) -> None:
    """Read the gateway's log, and metrics; on Azure the workspace of the log is looked for first."""
    now = time.time()
    connect: t.Any = {"azure": _azure_usage.AzureUsage.connect, "gcp": _gcp_usage.GcpUsage.connect}[cluster.cloud]
    azure = cluster.sandbox.env["AZURE_LOG_ANALYTICS_ENDPOINT"]
    options = cluster.options(log_analytics_endpoint=azure, prometheus_query_endpoint=azure)
    seen = connect(options).read(_usage.Ask(now - 3600, now), now)
    assert (seen.problems, seen.groups) == ((), [])
    metrics: t.Any = {"azure": _azure_metrics.AzureMetrics, "gcp": _gcp_metrics.GcpMetrics}[cluster.cloud]
    assert metrics.connect(options).read([], now) == {}


def test_the_identities_role_of_google_is_exact(sandbox: Sandbox) -> None:
    assert_fine(Cluster(sandbox, "gcp").run(FLUX))
    artist = Artist(sandbox)
    sandbox.control.clear_calls()
    first = artist.run()
    new = artist.run(key_id=first["key"]["id"], rotate=True)
    artist.run(key_id=new["key"]["id"], previous_key_id=first["key"]["id"], delivered=True)
    artist.run(state="absent")
    assert_exact("gcp", "identities", sandbox.control.calls())


def test_the_identities_role_of_azure_is_exact(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LED_BY:
        monkeypatch.setenv(name, sandbox.env[name])
    artist = AzureArtist(sandbox)
    artist.make_cluster()
    object_id, _fields = artist.make_identity()
    sandbox.control.clear_calls()
    first = artist.run()
    new = artist.run(key_id=first["key"]["id"], rotate=True)
    artist.run(key_id=new["key"]["id"], previous_key_id=first["key"]["id"], delivered=True)
    artist.run(state="absent")
    artist.run(workstation="ws-02", principal=object_id)
    artist.run(workstation="ws-02", principal=object_id, state="absent")
    calls = sandbox.control.calls()
    assert_exact("azure", "identities", calls)
    assert {*GRAPH} == {call["action"] for call in calls if call["service"] == "graph"}


def test_no_role_may_open_a_shell_or_read_keys_it_does_not_write() -> None:
    for role in ("identities", "readonly"):
        for cloud, rights in RIGHTS.items():
            names = {right.name for right in rights[role]}
            assert not [name for name in names if "secrets" in name or "exec" in name], cloud
    every = {right.name for rights in RIGHTS.values() for role in rights.values() for right in role}
    assert not [name for name in every if "exec" in name.lower() or "listClusterAdminCredential" in name]
    assert f"{AKS}/apps/deployments/write" not in {right.name for right in RIGHTS["azure"]["identities"]}


def assert_exact(cloud: str, role: str, calls: list[dict[str, t.Any]]) -> None:
    """Fail unless recorded calls need all rights of a role and no other, but for what is listed with a reason."""
    held = {right.name for right in RIGHTS[cloud][role]}
    if cloud == "azure" and role == "deployer":
        held |= {right.name for right in _azure_rights.ELSEWHERE["deployer_quotas"]}
    if cloud == "azure" and role == "identities":
        held.add(_azure_rights.GRAPH_PERMISSION)
    wanted = needed(cloud, calls)
    assert wanted - held == set(), "calls that the role does not allow"
    assert held - wanted == set(NOT_RECORDED[cloud, role]), "rights that no call needs"
