# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulator says no where NVIDIA does, so that tests with it mean something."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._providers._nvidia_session import (
    NvidiaError,
    NvidiaSession,
)
from tests.sandbox.nim_stub import HttpRequest
from tests.sandbox.state import DEFAULTS
from tests.unit.nvidia.organisation import Organisation

DIGEST = f"sha256:{'0123456789abcdef' * 4}"
HEALTH = {"protocol": "HTTP", "uri": "/v1/health/ready", "port": 8000, "timeout": "PT10S", "expectedStatusCode": 200}
BODY = {
    "name": "x",
    "inferenceUrl": "/v1/infer",
    "containerImage": "nvcr.io/my-org/flux.1-dev:1.2.3",
    "health": HEALTH,
}
SPEC = {"gpu": "L40S", "instanceType": "NCP.GPU.L40S_1x", "minInstances": 1, "maxInstances": 1}


@pytest.fixture
def api(org: Organisation) -> NvidiaSession:
    """Give a client that does not wait."""
    return NvidiaSession(org.options(), sleep=lambda seconds: None)


def create(api: NvidiaSession, **changes: t.Any) -> str:
    """Make a function; return the path of its version."""
    made = api.call("create", "POST", "/functions", {**BODY, **changes})["function"]
    return f"/functions/{made['id']}/versions/{made['versionId']}"


def deploy(api: NvidiaSession, path: str, **changes: t.Any) -> dict[str, t.Any]:
    """Deploy it."""
    body = {"deploymentSpecifications": [{**SPEC, **changes}]}
    found: dict[str, t.Any] = api.call("deploy", "POST", f"/deployments{path}", body)["deployment"]
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "-x"},
        {"name": "x" * 129},
        {"image": "x"},
        {"inferenceUrl": None},
        {"inferencePort": 8080},
        {"health": {**HEALTH, "port": 8010}},
        {"health": {key: value for key, value in HEALTH.items() if key != "timeout"}},
        {"health": {**HEALTH, "timeout": "10s"}},
        {"containerEnvironment": [{"key": "NVCF_X", "value": "1"}]},
        {"containerEnvironment": {"A": "1"}},
        {"tags": ["a b"]},
        {"tags": [str(number) for number in range(65)]},
        {"description": "x" * 257},
        {"secrets": [{"name": "a", "value": "x" * 8193}]},
        {"containerImage": "nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.3"},
        {"containerImage": f"nvcr.io/my-org/flux.1-dev:1.2.3@{DIGEST}"},
    ],
)
def test_functions_that_cannot_be(api: NvidiaSession, changes: dict[str, t.Any]) -> None:
    with pytest.raises(NvidiaError) as caught:
        create(api, **changes)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "changes",
    [
        {"gpu": "L4"},
        {"instanceType": "NCP.GPU.H100_1x"},
        {"minInstances": -1},
        {"maxInstances": 0},
        {"minInstances": 2},
        {"maxRequestConcurrency": 0},
        {"backend": "GFN"},
    ],
)
def test_deployments_that_cannot_be(api: NvidiaSession, changes: dict[str, t.Any]) -> None:
    path = create(api)
    with pytest.raises(NvidiaError) as caught:
        deploy(api, path, **changes)
    assert caught.value.status == 400


def test_a_second_deployment(api: NvidiaSession) -> None:
    path = create(api)
    deploy(api, path)
    with pytest.raises(NvidiaError, match=r"400 .*Status ACTIVE, use PATCH endpoint"):
        deploy(api, path)


def test_a_deployment_while_the_last_one_drains(api: NvidiaSession) -> None:
    path = create(api)
    deploy(api, path)
    DEFAULTS.change({"drain_seconds": 60})
    api.call("undeploy", "DELETE", f"/deployments{path}", query="graceful=true")
    with pytest.raises(NvidiaError, match=r"400 .*gracefully completed and removed"):
        deploy(api, path)
    assert api.call("read", "GET", path)["function"]["status"] == "INACTIVE"


def test_what_scaling_may_not_change(api: NvidiaSession) -> None:
    made = deploy(api, create(api))
    kind = made["deploymentSpecifications"][0]["gpuSpecificationId"]
    path = f"/deployments/{made['deploymentId']}/gpu-specifications/{kind}"
    for body in ({}, {"gpu": "H100"}, {"minInstances": 2}):
        with pytest.raises(NvidiaError, match="400"):
            api.call("scale", "PATCH", path, body)


def test_secrets_only_where_there_were_some(api: NvidiaSession) -> None:
    path = create(api)
    with pytest.raises(NvidiaError, match="specified upon creation"):
        api.call("change", "PUT", f"/secrets{path}", {"secrets": [{"name": "a", "value": "b"}]})


def test_the_api_behind_the_proxy(org: Organisation) -> None:
    headers = {"Authorization": f"Bearer {org.app.account.key}", "Content-Type": "application/json"}
    made = org.app.answering(HttpRequest("POST", "/v2/nvcf/functions", headers, json.dumps(BODY).encode()))
    listed = org.app.answering(HttpRequest("GET", "/v2/nvcf/functions?visibility=private", headers, b""))
    assert made is not None
    assert listed is not None
    assert json.loads(listed.body)["functions"] == [json.loads(made.body)["function"]]
    assert org.app.answering(HttpRequest("GET", "/v2/other", headers, b"")) is None


def test_an_operation_that_is_not_there(api: NvidiaSession) -> None:
    with pytest.raises(NvidiaError, match="404 The sandbox has no PUT"):
        api.call("change", "PUT", f"/deployments{create(api)}", {})


def call(org: Organisation, url: str, body: t.Any = None) -> tuple[int, t.Any]:
    """Send a request as a workstation does: through the proxy, with the organisation's key."""
    session = NvidiaSession(org.options(), sleep=lambda seconds: None)
    answer = session.ask("call", "GET" if body is None else "POST", url, body and json.dumps(body).encode())
    return answer.status, answer.content


def test_a_function_answers_at_its_own_host_while_it_runs(org: Organisation) -> None:
    endpoint = org.flux().statuses["nim-flux-dev-l40s"].endpoint
    assert call(org, f"{endpoint}/v1/health/ready")[0] == 404
    org.flux("started")
    assert call(org, f"{endpoint}/v1/health/ready")[0] == 200
    status, content = call(org, f"{endpoint}/v1/infer", {"prompt": "a house"})
    assert (status, content["artifacts"][0]["finishReason"]) == (200, "SUCCESS")


def test_a_function_of_an_image_by_its_digest_answers_as_the_model_does(org: Organisation) -> None:
    endpoint = org.flux("started", tag=f"1.2.3@{DIGEST}").statuses["nim-flux-dev-l40s"].endpoint
    assert call(org, f"{endpoint}/v1/infer", {"prompt": "a house"})[0] == 200


def test_hosted_models_answer_with_a_key_and_the_list_without(org: Organisation, api: NvidiaSession) -> None:
    url = "https://ai.api.nvidia.com/v1/genai/black-forest-labs/flux.1-dev"
    assert call(org, url, {"prompt": "a house"})[0] == 200
    chat = {"model": "meta/llama-3.1-8b-instruct", "messages": [{"role": "user", "content": "Hello"}]}
    assert call(org, "https://integrate.api.nvidia.com/v1/chat/completions", chat)[0] == 200
    assert call(org, "https://integrate.api.nvidia.com/v1/chat/completions", {**chat, "model": "x"})[0] == 404
    wrong = NvidiaSession(org.options(api_key="nvapi-0000000000000000"), sleep=lambda seconds: None)
    assert wrong.ask("call", "POST", url, b"{}").status == 401
    assert wrong.ask("list", "GET", "https://integrate.api.nvidia.com/v1/models").status == 200
