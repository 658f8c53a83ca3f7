# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Models that NVIDIA hosts: registered with their real addresses, and checked without cost."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog
from ansible_collections.budgetguard.techops.plugins.module_utils._artists import artists_config
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import DeploymentsError, resolve_all
from ansible_collections.budgetguard.techops.plugins.module_utils._matrix import MatrixError, select
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from tests.unit.nvidia.organisation import FLUX, Organisation, done, well

SDXL = "nim-sdxl-hosted"
SDXL_URL = "https://ai.api.nvidia.com/v1/genai/stabilityai/stable-diffusion-xl"
GROUPS = {"nvidia": ["ngc"], "aws": ["use1"], "nim_providers": ["ngc", "use1"]}


def ask(org: Organisation, *nodes: str, state: str = "present", **settings: t.Any) -> t.Any:
    """Run the module's work for hosted nodes."""
    return org.run([{"node": node, "state": state} for node in nodes], settings)


def test_registering_costs_one_check_of_the_key(org: Organisation) -> None:
    outcome = ask(org, "SDXL", "FLUX Dev", "Llama 3.1")
    assert (done(outcome), well(outcome)) == ([], True)
    assert {status.state for status in outcome.statuses.values()} == {"running"}
    assert org.actions() == ["ListFunctions", "GetCallerInfo"]


@pytest.mark.parametrize(
    ("node", "endpoint", "infer_url"),
    [
        ("SDXL", SDXL_URL, SDXL_URL),
        ("Llama 3.1", "https://integrate.api.nvidia.com", "https://integrate.api.nvidia.com/v1/chat/completions"),
    ],
)
def test_addresses(org: Organisation, node: str, endpoint: str, infer_url: str) -> None:
    (status,) = ask(org, node).statuses.values()
    shown = status.as_dict()
    assert (shown["endpoint"], shown["infer_url"], shown["health_url"]) == (endpoint, infer_url, None)
    assert (shown["gpu_tier"], shown["image"], shown["auth"]) == ("hosted", None, "bearer")


def test_artists_see_it_under_its_public_key(org: Organisation) -> None:
    deployments = [status.as_dict() for status in org.provider(hosted_nodes=["SDXL"]).statuses().values()]
    target = {"target": "ngc", "provider": "nvidia", "region": None, "read": True, "deployments": deployments}
    document = artists_config([target], generated_at="2026-11-23T10:00:00Z", catalog=_catalog.load({}))
    (entry,) = document["nim_endpoints"]["SDXL"]["nvidia-hosted"]
    assert (entry["infer_url"], entry["auth"], entry["api_style"]) == (SDXL_URL, "bearer", "nim-infer")


def test_started_stopped_and_absent_change_nothing(org: Organisation) -> None:
    assert (done(ask(org, "SDXL", state="started")), well(ask(org, "SDXL", state="started"))) == ([], True)
    settings = {"hosted_nodes": ["SDXL"]}
    assert done(ask(org, "SDXL", state="stopped", **settings)) == []
    gone = ask(org, "SDXL", state="absent", **settings)
    assert (done(gone), gone.statuses[SDXL].state) == ([], "absent")


def test_a_hosted_model_beside_a_function_of_the_same_node(org: Organisation) -> None:
    outcome = org.run(
        [{"node": "FLUX Dev", "state": "present"}, {"node": "FLUX Dev", "gpu_tier": "l40s", "state": "present"}]
    )
    assert set(outcome.statuses) == {"nim-flux-dev-hosted", FLUX}
    assert done(outcome) == [f"create nvcf_function {FLUX}"]


# ---- checks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expired", [True, False])
def test_a_key_that_does_not_hold(org: Organisation, expired: bool) -> None:
    key = org.app.account.add_key(expired=True) if expired else "nvapi-0000000000000000CANARY"
    org.fault("ListFunctions", status=429)
    with pytest.raises(ProviderError) as caught:
        ask(org, "SDXL", "FLUX Dev", api_key=key)
    assert "NVIDIA does not accept api_key" in str(caught.value)
    assert key not in str(caught.value)


def test_a_key_without_cloud_functions_serves_hosted_models(org: Organisation) -> None:
    key = org.app.account.add_key(("ai-foundations",))
    with pytest.raises(ProviderError, match="set cloud_functions to false"):
        ask(org, "SDXL", api_key=key)
    org.actions()
    settings: dict[str, t.Any] = {"api_key": key, "cloud_functions": False}
    outcome = ask(org, "SDXL", **settings)
    assert (well(outcome), outcome.statuses[SDXL].state) == (True, "running")
    assert org.provider(hosted_nodes=["SDXL"], **settings).statuses()[SDXL].state == "running"
    assert set(org.actions()) == {"GetCallerInfo"}
    with pytest.raises(ValueError, match="would be a function, and cloud_functions is false"):
        org.flux(settings=settings)


def test_ngc_being_down_says_nothing_about_the_key(org: Organisation) -> None:
    org.fault("GetCallerInfo", status=400)
    assert org.provider(hosted_nodes=["SDXL"]).statuses()[SDXL].state == "failed"
    org.fault("GetCallerInfo", status=501)
    status = org.provider(hosted_nodes=["SDXL"]).statuses()[SDXL]
    assert (status.state, "501" in str(status.reason)) == ("unknown", True)


def test_each_model_can_be_asked(org: Organisation) -> None:
    outcome = ask(org, "SDXL", "Mixtral", "Llama 3", "Phi-3", hosted_check="model")
    assert {status.state for status in outcome.statuses.values()} == {"running"}
    assert sorted(org.actions()) == [
        "GET /v1/models",
        "GetCallerInfo",
        "ListFunctions",
        "POST /v1/genai/stabilityai/stable-diffusion-xl",
    ]


@pytest.mark.parametrize(
    ("node", "gone", "reason"),
    [
        ("SDXL", "/v1/genai/stabilityai/stable-diffusion-xl", f"SDXL any more: 404 at {SDXL_URL}"),
        ("Llama 3.1", "meta/llama-3.1-8b-instruct", "has no meta/llama-3.1-8b-instruct any more"),
    ],
)
def test_a_model_that_nvidia_has_retired(org: Organisation, node: str, gone: str, reason: str) -> None:
    org.app.hosts.retired.add(gone)
    assert well(ask(org, node))
    with pytest.raises(ProviderError) as caught:
        ask(org, node, hosted_check="model")
    assert reason in str(caught.value)


def test_a_model_that_the_key_may_not_use(org: Organisation) -> None:
    key = org.app.account.add_key(("nv-cloud-functions",))
    with pytest.raises(ProviderError, match=r"cannot reach SDXL at .*: 403 Authorization failed"):
        ask(org, "SDXL", hosted_check="model", api_key=key)


# ---- what can be asked for -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"node": "SD 3.5 Large"}, "NVIDIA does not host SD 3.5 Large in its API catalogue; set gpu_tier"),
        ({"node": "FLUX Dev", "tag": "1"}, "tag cannot be chosen for a model that NVIDIA hosts"),
        ({"node": "FLUX Dev", "gpu_tier": "Hosted", "replicas": 2, "env": {"A": "1"}}, "env, replicas cannot be"),
        ({"node": "SDXL", "gpu_tier": "l40s"}, "there is no container image of SDXL"),
    ],
)
def test_wishes_that_cannot_be(entry: dict[str, t.Any], problem: str) -> None:
    with pytest.raises(DeploymentsError, match=problem):
        resolve_all([{"state": "present", **entry}], "nvidia", _catalog.load({}))


def test_hosted_is_for_nvidia_alone() -> None:
    with pytest.raises(DeploymentsError, match="hosted"):
        resolve_all([{"node": "FLUX Dev", "gpu_tier": "hosted", "state": "present"}], "aws", _catalog.load({}))


def test_unknown_names_in_hosted_nodes(org: Organisation) -> None:
    with pytest.raises(ValueError, match="hosted_nodes") as caught:
        org.provider(hosted_nodes=["SDLX", "SDXL", "SD 3.5 Large"])
    assert "hosted_nodes[0]: There is no node 'SDLX'" in str(caught.value)
    assert "hosted_nodes[2]: NVIDIA does not host SD 3.5 Large" in str(caught.value)


def test_the_matrix(org: Organisation) -> None:
    matrix = {"FLUX Dev": {"nvidia": {"gpu_tier": "hosted"}}, "SDXL": {"nvidia": "present"}}
    wanted = select(matrix, "ngc", GROUPS, _catalog.load({})).wanted
    assert [(item["node"], item.get("gpu_tier")) for item in wanted] == [("FLUX Dev", "hosted"), ("SDXL", None)]
    everything = select({}, "ngc", GROUPS, _catalog.load({}), nodes="all")
    assert "SDXL" in [item["node"] for item in everything.wanted]
    assert [item["node"] for item in everything.skipped] == ["FLUX.2 Klein", "SD 3.5 Large"]
    with pytest.raises(MatrixError, match="hosted is for targets of the group nvidia only"):
        select({"FLUX Dev": {"aws": {"gpu_tier": "hosted"}}}, "use1", GROUPS, _catalog.load({}))
