# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nim_key_info finds wrong with keys, each in a message of its own."""

from __future__ import annotations

import base64
import json
import types
import typing as t

import pytest
import yaml
from ansible.playbook.task import Task

from ansible_collections.budgetguard.techops.plugins.action import nim_key_info as action
from ansible_collections.budgetguard.techops.plugins.module_utils import _http, _key_report, _registry
from ansible_collections.budgetguard.techops.plugins.modules import nim_key_info
from tests.sandbox.calls import Interference
from tests.sandbox.registry import ngc
from tests.unit.registry.services import Proxy

GOOD_KEY = "nvapi-CANARYgoodXq83hGk29fLm"
GOOD_TOKEN = "hf_CANARYgoodTq83Gk29f"
FLUX = "nvcr.io/nim/black-forest-labs/flux.1-dev"
FLUX_REPOSITORY = "black-forest-labs/FLUX.1-dev"

Run = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def run(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Give a function that runs the action with these options."""
    monkeypatch.setattr(_registry, "_PAUSES", (0.0, 0.0))

    def go(**options: t.Any) -> dict[str, t.Any]:
        task = Task()
        task.args = options
        connection: t.Any = types.SimpleNamespace(_shell=types.SimpleNamespace(tmpdir=None))
        none: t.Any = None
        return action.ActionModule(task, connection, none, none, none, none).run(task_vars={})

    return go


def legacy(name: str) -> str:
    return base64.b64encode(f"{name}:0b0f8a4e-8f0e-4a4e-9d5c-2f6f0d6b7a11".encode()).decode()


def test_all_is_well(run: Run, proxy: Proxy) -> None:
    deployments = [{"node": "FLUX Dev"}, {"node": "Llama 3.1", "tag": "1.15.4", "state": "started"}]
    result = run(ngc_api_key=GOOD_KEY, hf_token=GOOD_TOKEN, deployments=deployments)
    assert (result["problems"], result["doubts"], result["changed"]) == ([], [], False)
    key = result["ngc_key"]
    assert (key["valid"], key["kind"], key["user"]) == (True, "personal", "techops@studio.example")
    assert key["organisation"] == "0123456789012345"
    assert "artifact-catalog" in key["products"]
    assert key["expires_at"].endswith("Z")
    images = {item["image"]: item for item in result["images"]}
    assert set(images) == {f"{FLUX}:1.2.3", "nvcr.io/nim/meta/llama-3.1-8b-instruct:1.15.4"}
    assert all(item["allowed"] and item["digest"].startswith("sha256:") for item in images.values())
    assert result["hf_token"] == {"given": True, "valid": True, "account": None}
    assert {item["name"]: item["allowed"] for item in result["repositories"]} == {
        "black-forest-labs/FLUX.1-dev": True,
        "black-forest-labs/FLUX.1-dev-onnx": True,
    }
    accepted = {item["name"]: (item["accepted"], item["non_commercial"]) for item in result["licences"]}
    assert accepted["black-forest-labs/FLUX.1-dev"] == (True, True)
    assert accepted["NGC meta/llama-3.1-8b-instruct"] == (None, False)
    # The service that says who somebody is allows few calls.
    assert not any("whoami" in path for path in proxy.paths())
    assert all("CANARY" not in path for path in proxy.paths())


def test_a_tag_with_a_digest_is_asked_for_by_the_digest(run: Run, proxy: Proxy) -> None:
    digest = f"sha256:{'0123456789abcdef' * 4}"
    [image] = run(ngc_api_key=GOOD_KEY, deployments=[{"node": "FLUX Dev", "tag": f"1.2.3@{digest}"}])["images"]
    assert (image["image"], image["allowed"], image["digest"]) == (f"{FLUX}:1.2.3@{digest}", True, digest)
    assert any(path.endswith(f"flux.1-dev/manifests/{digest}") for path in proxy.paths())


def test_a_digest_that_is_not_there() -> None:
    class Registry(_http.Client):
        def request(
            self, method: str, url: str, headers: t.Mapping[str, str] | None = None, body: bytes | None = None
        ) -> _http.Answer:
            found = "/tags/list" in url
            return _http.Answer(200 if found else 404, {}, b'{"tags": ["1.2.0", "1.2.3"]}' if found else b"", 0.0)

    digest = f"sha256:{'0123456789abcdef' * 4}"
    answer = _registry.Services(Registry(1.0)).image(f"{FLUX}:1.2.3@{digest}", GOOD_KEY)
    assert answer.reason == f"there is no digest {digest}; among the 2 tags that there are: 1.2.3, 1.2.0"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        pytest.param(
            {"ngc_api_key": "nvapi-CANARYunknownhGk29fLm"},
            "ngc_api_key: NVIDIA does not accept it (401 Invalid API key); mistyped, or no longer valid",
            id="wrong-key",
        ),
        pytest.param({"ngc_api_key": "nvapi-CANARYexpiredhGk29fLm"}, "ngc_api_key: it has expired on 20", id="expired"),
        pytest.param({"ngc_api_key": "nvapi-CANARYendedtext29fLm"}, "ngc_api_key: it has expired;", id="expired-text"),
        pytest.param({"ngc_api_key": "nvapi-CANARYrevokedhGk29fLm"}, "ngc_api_key: it was revoked", id="revoked"),
        pytest.param(
            {"ngc_api_key": legacy("CANARYunknown")}, "ngc_api_key: NVIDIA does not know this key", id="legacy"
        ),
        pytest.param(
            {"ngc_api_key": "nvapi-CANARYnopullXhGk29fLm"},
            f"FLUX Dev: {FLUX}:1.2.3: the NGC key has no right to pull it (403): its organisation needs access",
            id="no-right-to-pull",
        ),
        pytest.param(
            {"ngc_api_key": "nvapi-CANARYunpaidXhGk29fLm"},
            f"FLUX Dev: {FLUX}:1.2.3: NVIDIA wants a subscription for it (402",
            id="no-subscription",
        ),
        pytest.param(
            {"deployments": [{"node": "FLUX Dev", "tag": "9.9"}]},
            f"FLUX Dev: {FLUX}:9.9: there is no tag 9.9; among the 8 that there are: 1.2.3, 1.2.0, 1.1.0, 1.0.1, 1.0.0",
            id="no-such-tag",
        ),
        pytest.param(
            {"images": ["nvcr.io/nim/nim_flux_dev:1"]},
            "nvcr.io/nim/nim_flux_dev:1: nvcr.io has no such image; is the path right?",
            id="no-such-image",
        ),
        pytest.param(
            {"images": ["nvcr.io/nim/meta/llama-3.2-11b-vision-instruct:1.1.0"]},
            "nvcr.io/nim/meta/llama-3.2-11b-vision-instruct:1.1.0: NVIDIA does not offer it in this region (451",
            id="region",
        ),
        pytest.param(
            {"hf_token": "hf_CANARYunknown83Gk29f"},
            "hf_token: Hugging Face does not accept it; mistyped, expired or revoked",
            id="wrong-token",
        ),
        pytest.param(
            {"hf_token": "hf_CANARYnolicence3Gk29f"},
            f"FLUX Dev: {FLUX_REPOSITORY}: its licence is not accepted; accept it at "
            f"https://huggingface.co/{FLUX_REPOSITORY} (the token's account is studio-techops)",
            id="licence-not-accepted",
        ),
        pytest.param(
            {"hf_token": "hf_CANARYwaiting83Gk29f"},
            f"FLUX Dev: {FLUX_REPOSITORY}: access was asked for, and its authors have not granted it yet",
            id="licence-not-granted",
        ),
        pytest.param(
            {"hf_token": "hf_CANARYnarrow83Gk29f"},
            f"FLUX Dev: {FLUX_REPOSITORY}: the token is fine-grained and has no right to it",
            id="fine-grained",
        ),
        pytest.param(
            {
                "nim_catalog": {
                    "FLUX Dev": {"licences": [{"name": "x", "url": "https://huggingface.co/black-forest-labs/Nothing"}]}
                }
            },
            "FLUX Dev: black-forest-labs/Nothing: there is no such repository",
            id="no-such-repository",
        ),
    ],
)
def test_one_line_per_problem(run: Run, options: dict[str, t.Any], problem: str) -> None:
    standard = {"ngc_api_key": GOOD_KEY, "hf_token": GOOD_TOKEN, "deployments": [{"node": "FLUX Dev"}]}
    result = run(**{**standard, **options}, fail_on_problems=True)
    assert result["failed"]
    # FLUX Dev has two repositories behind the same gate.
    lines = result["msg"].splitlines()
    assert len(lines) <= 2
    assert not {"images", "licences", "repositories"} & set(result), "nothing hides the problems"
    assert lines[0].startswith(problem)
    assert "CANARY" not in json.dumps(result)


def test_problems_are_told_together_and_fail_only_if_asked(run: Run) -> None:
    result = run(
        ngc_api_key=GOOD_KEY,
        hf_token="hf_CANARYnocanny83Gk29f",
        deployments=[{"node": "FLUX Dev", "variants": ["base", "canny"]}, {"node": "Llama 3.1", "tag": "0.1"}],
    )
    assert "failed" not in result
    assert [line.partition(":")[0] for line in result["problems"]] == ["Llama 3.1", "FLUX Dev", "FLUX Dev"]
    refused = [item["name"] for item in result["repositories"] if not item["allowed"]]
    assert refused == ["black-forest-labs/FLUX.1-Canny-dev", "black-forest-labs/FLUX.1-Canny-dev-onnx"]


def test_nothing_is_asked_about_what_needs_no_key(run: Run, proxy: Proxy) -> None:
    deployments = [
        {"node": "SDXL"},
        {"node": "FLUX Dev", "state": "stopped"},
        {"node": "A node of last year", "state": "absent"},
    ]
    result = run(deployments=deployments)
    assert (result["images"], result["repositories"], result["problems"]) == ([], [], [])
    assert result["ngc_key"]["valid"] is None
    assert proxy.paths() == []


def test_the_key_goes_to_nvidia_only(run: Run, proxy: Proxy) -> None:
    mirror = {"FLUX Dev": {"image": "registry.studio.example/nim/flux.1-dev"}}
    result = run(ngc_api_key=GOOD_KEY, deployments=[{"node": "FLUX Dev"}], nim_catalog=mirror)
    assert result["images"][0]["allowed"] is None
    assert "is not at nvcr.io" in result["images"][0]["reason"]
    assert result["repositories"][0]["reason"] == "hf_token is not given"
    # Both are as the studio wants it, and no reason for a warning at each run.
    assert result["doubts"] == []
    assert not any("registry.studio.example" in path for path in proxy.paths())


def test_a_registry_that_sends_the_login_elsewhere_gets_no_key(
    run: Run, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ngc._registry_error

    def elsewhere(code: str, text: str, status: int) -> t.Any:
        answer = real(code, text, status)
        answer.headers = _Stubborn({"Www-Authenticate": 'Bearer realm="https://evil.example/token"'})
        return answer

    monkeypatch.setattr(ngc, "_registry_error", elsewhere)
    result = run(ngc_api_key=GOOD_KEY, images=[f"{FLUX}:1.2.3"])
    assert "sends the login to evil.example; the key is not sent there" in result["images"][0]["reason"]
    assert not any("evil" in path for path in proxy.paths())


class _Stubborn(dict[str, str]):
    """Headers that keep what they have."""

    def __setitem__(self, name: str, value: str) -> None:
        self.setdefault(name, value)


@pytest.mark.parametrize("key", [pytest.param(legacy("CANARY"), id="legacy"), "nvapi-CANARYservicekey29fLm"])
def test_other_kinds_of_keys(run: Run, key: str) -> None:
    result = run(ngc_api_key=key, images=[f"{FLUX}:1.2.3"])
    assert result["ngc_key"]["kind"] == ("service" if key.startswith("nvapi-") else "legacy")
    assert (result["ngc_key"]["valid"], result["ngc_key"]["user"]) == (True, None)
    assert result["images"][0]["allowed"] is True


def test_a_key_that_ends_soon_is_a_doubt(run: Run) -> None:
    result = run(ngc_api_key="nvapi-CANARYendssoonGk29fLm")
    assert result["problems"] == []
    assert result["doubts"][0].startswith("ngc_api_key expires on 20")


def test_a_busy_service_is_asked_again(run: Run, proxy: Proxy) -> None:
    for status in (503, 429):
        proxy.faults.add(Interference("POST /v3/keys/get-caller-info", code="Busy", status=status))
    result = run(ngc_api_key=GOOD_KEY)
    assert result["ngc_key"]["valid"] is True
    assert sum("get-caller-info" in path for path in proxy.paths()) == 3


def test_a_service_that_does_not_answer_is_a_doubt_and_no_failure(run: Run, proxy: Proxy) -> None:
    proxy.faults.add(Interference("*", code="Broken", status=500, times=None))
    options = {"ngc_api_key": GOOD_KEY, "hf_token": GOOD_TOKEN, "deployments": [{"node": "FLUX Dev"}]}
    result = run(**options, fail_on_problems=True)
    assert "failed" not in result
    assert result["ngc_key"]["valid"] is None
    assert result["doubts"][0] == "ngc_api_key could not be checked: api.ngc.nvidia.com answers 500; tried 3 times"
    assert len(result["doubts"]) == 4


def test_without_a_network_everything_is_a_doubt(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    result = run(ngc_api_key=GOOD_KEY, fail_on_problems=True)
    assert "failed" not in result
    assert "the proxy 127.0.0.1:9 cannot be reached" in result["doubts"][0]


def test_a_renamed_repository_is_followed(run: Run) -> None:
    renamed = {"FLUX Dev": {"licences": [{"name": "gpt2", "url": "https://huggingface.co/gpt2"}]}}
    result = run(hf_token=GOOD_TOKEN, deployments=[{"node": "FLUX Dev"}], nim_catalog=renamed)
    assert result["repositories"][0]["allowed"] is True


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"deployments": [{"node": "FLUX Dav"}]},
            "deployments[0]: There is no node 'FLUX Dav' in the catalogue. Did you",
        ),
        ({"images": ["flux"]}, "images[0]: 'flux' is not registry/path:tag"),
        ({"ngc_api_key": "two words CANARY and more"}, "ngc_api_key is not a key"),
        ({"timeout": 0}, "timeout is 0; it must be more than 0 seconds"),
        ({"ca_path": "/nowhere/ca.pem"}, "ca_path /nowhere/ca.pem cannot be read"),
    ],
)
def test_bad_input(run: Run, options: dict[str, t.Any], message: str) -> None:
    result = run(**options)
    assert result["failed"]
    assert message in result["msg"]
    assert "CANARY" not in json.dumps(result)


def test_a_service_that_repeats_a_key_does_not_show_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"problems": [f"no such key: {GOOD_KEY}"], "doubts": [f"{GOOD_TOKEN} is slow"]}
    monkeypatch.setattr(_key_report, "report", lambda *_given: told)
    for fail in (True, False):
        result = run(ngc_api_key=GOOD_KEY, hf_token=GOOD_TOKEN, fail_on_problems=fail)
        assert "CANARY" not in json.dumps(result)
        assert " is slow" in result["warnings"][0]


def test_secrets_are_marked_and_documented_options_are_the_real_ones() -> None:
    spec = action.ARGUMENT_SPEC
    assert {name for name, option in spec.items() if option.get("no_log")} == {"ngc_api_key", "hf_token"}
    told = yaml.safe_load(nim_key_info.DOCUMENTATION)["options"]
    assert set(told) == set(spec)
    assert set(told["deployments"]["suboptions"]) == set(spec["deployments"]["options"])
