# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nim_endpoint_info says about endpoints of all kinds, over real sockets."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ansible_collections.budgetguard.techops.plugins.module_utils import _health, _http, _registry
from ansible_collections.budgetguard.techops.plugins.modules import nim_endpoint_info
from tests.ports import free_port
from tests.sandbox.ca import ThrowAwayCA
from tests.sandbox.registry import RegistryHosts
from tests.unit.health import servers
from tests.unit.health.servers import LOOPBACK, Said, Script, nim, web_server
from tests.unit.registry.services import Proxy, run_module

KEY = "nvapi-CANARYhealthXq83hGk29f"

Run = t.Callable[..., dict[str, t.Any]]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Give a function that checks these endpoints and returns the whole result."""

    def go(*endpoints: t.Any, **options: t.Any) -> dict[str, t.Any]:
        given = [item if isinstance(item, dict) else {"url": item} for item in endpoints]
        return run_module(nim_endpoint_info.main, {"timeout": 2, "endpoints": given, **options}, monkeypatch, capsys)

    return go


def only(result: dict[str, t.Any]) -> dict[str, t.Any]:
    (found,) = result["endpoints"]
    return t.cast("dict[str, t.Any]", found)


def test_a_nim_that_is_ready(run: Run) -> None:
    with web_server(nim("/flux-dev-l40s")) as server:
        url = f"{server.url}/flux-dev-l40s"
        result = run({"url": url, "node": "FLUX Dev", "target": "aws-us-east-1", "model": "FLUX.1-dev"})
    found = only(result)
    assert (found["result"], found["reason"], found["status"]) == ("ready", None, 200)
    assert (found["model"], found["version"]) == ("flux.1-dev:1.2.3", "1.2.3")
    assert (found["node"], found["target"]) == ("FLUX Dev", "aws-us-east-1")
    assert found["health_url"] == f"{url}/v1/health/ready"
    assert 0 < found["latency_ms"] < 2000
    assert result["counts"] == {
        "ready": 1,
        "starting": 0,
        "refused": 0,
        "unreachable": 0,
        "wrong_service": 0,
        "open": 0,
    }


TOKEN = "eyCANARY.gateway.token83hGk29f"


def _guarded(server: servers.WebServer, token: str = TOKEN) -> None:
    """Have the server refuse whoever has no token."""
    known = dict(server.script)
    server.script = dict.fromkeys(known, Said(401))
    server.script_with = {f"Bearer {token}": known}


@pytest.mark.parametrize(
    ("token", "verdict", "reason"),
    [
        (TOKEN, "ready", None),
        (None, "refused", "wants a token, as it should"),
        ("another-token-of-some-length", "refused", "answers 401"),
    ],
)
def test_a_gateway_is_asked_with_and_without_a_token(
    run: Run, token: str | None, verdict: str, reason: str | None
) -> None:
    with web_server(nim("/flux")) as server:
        _guarded(server)
        found = only(run({"url": f"{server.url}/flux", "auth": "gateway"}, gateway_token=token))
        first = server.requests[0][2]
    assert "authorization" not in first
    assert found["result"] == verdict
    assert found["reason"] is None if reason is None else reason in found["reason"]
    assert "CANARY" not in json.dumps(found)


def test_a_gateway_that_lets_everybody_in_is_open(run: Run) -> None:
    with web_server(nim("/flux")) as server:
        result = run({"url": f"{server.url}/flux", "auth": "gateway"}, gateway_token=TOKEN)
        assert not any("authorization" in headers for _method, _path, headers in server.requests)
    assert only(result)["result"] == "open"
    assert "whoever reaches it can use it" in only(result)["reason"]
    assert result["counts"]["open"] == 1


def test_the_token_goes_to_gateways_only(run: Run) -> None:
    with web_server(nim("/flux")) as server:
        run(f"{server.url}/flux", gateway_token=TOKEN)
        assert not any("authorization" in headers for _method, _path, headers in server.requests)


HTML = {"Content-Type": "text/html; charset=utf-8"}
READY = "/v1/health/ready"


@pytest.mark.parametrize(
    ("script", "model", "verdict", "reason"),
    [
        pytest.param(nim(ready=503), None, "starting", "runs, and loads its model", id="loading"),
        pytest.param(
            nim(ready=503, live=503), None, "starting", "answers 503: stopped, or not ready yet", id="nothing"
        ),
        pytest.param({READY: Said(502)}, None, "starting", "answers 502: stopped, or not ready yet", id="bad-gateway"),
        pytest.param({READY: Said(401)}, None, "refused", "answers 401: it wants a login", id="login"),
        pytest.param({READY: Said(403)}, None, "refused", "answers 403: it wants a login", id="forbidden"),
        pytest.param({}, None, "wrong_service", "answers 404: there is a web server, but no NIM", id="nothing-there"),
        pytest.param({READY: Said(200, b"<html>", HTML)}, None, "wrong_service", "answers with a web page", id="page"),
        pytest.param({READY: Said(200, b"ok")}, None, "ready", None, id="ready-without-json-or-metadata"),
        pytest.param({**nim(), "/v1/metadata": Said(200, b"[" * 60_000)}, None, "ready", None, id="deep-metadata"),
        pytest.param({**nim(), "/v1/metadata": Said(200, b"[1]")}, None, "ready", None, id="metadata-of-another-form"),
        pytest.param({READY: Said(418)}, None, "wrong_service", "answers 418, as no NIM does", id="teapot"),
        pytest.param(nim(), "llama-3.1-8b-instruct", "wrong_service", "serves flux.1-dev:1.2.3, not llama", id="model"),
        pytest.param(nim(), "nvcr.io/nim/x/FLUX1-Dev:9", "ready", None, id="spelled-otherwise"),
        pytest.param(
            {**nim("/there"), READY: Said(307, headers={"Location": "/there/v1/health/ready"})},
            None,
            "ready",
            None,
            id="redirect-on-the-same-host",
        ),
        pytest.param(
            {READY: Said(302, headers={"Location": "https://login.studio.example/sso?x=1"})},
            None,
            "wrong_service",
            "redirects to https://login.studio.example, which is not followed",
            id="redirect-elsewhere",
        ),
        pytest.param(
            {READY: Said(302, headers={"Location": READY})},
            None,
            "wrong_service",
            "redirects to",
            id="redirect-in-circles",
        ),
    ],
)
def test_answers(run: Run, script: Script, model: str | None, verdict: str, reason: str | None) -> None:
    with web_server(script) as server:
        found = only(run({"url": server.url, **({"model": model} if model else {})}))
    assert found["result"] == verdict
    assert (found["reason"] or "").startswith(reason or "")
    assert bool(found["reason"]) == bool(reason)


def test_nobody_answers(run: Run) -> None:
    port = free_port()
    with servers.silent_server() as silent, servers.raw_server(b"SSH-2.0-OpenSSH\r\n") as other:
        result = run(
            f"http://{LOOPBACK}:{port}", silent, "http://no-such-host.invalid", other, "ftp://host/x", timeout=0.5
        )
    told = [(item["result"], item["reason"]) for item in result["endpoints"]]
    assert told == [
        ("unreachable", f"nothing listens at {LOOPBACK}:{port} (connection refused)"),
        ("unreachable", f"{silent[7:]} did not answer within 0.5 s"),
        ("unreachable", "the name no-such-host.invalid cannot be resolved"),
        ("wrong_service", f"{other[7:]} does not answer in HTTP"),
        (
            "wrong_service",
            "'ftp://host/x/v1/health/ready' must be an address such as https://host/path, without a login",
        ),
    ]


def test_a_server_that_trickles_does_not_get_more_time(run: Run) -> None:
    with servers.raw_server(b"HTTP/1.1 200 OK\r\nX: y\r\n", pause=0.05) as url:
        started = time.monotonic()
        found = only(run(url, timeout=0.6))
        took = time.monotonic() - started
    assert found["result"] == "unreachable"
    assert 0.5 < took < 10, "it would trickle for ever"


def test_a_name_server_that_does_not_answer_does_not_get_more_time(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_arguments: t.Any, **_options: t.Any) -> t.Any:
        time.sleep(5)

    monkeypatch.setattr("socket.getaddrinfo", slow)
    started = time.monotonic()
    found = only(run("http://slow.studio.example", timeout=0.3))
    assert time.monotonic() - started < 4
    assert found["reason"] == "the name server did not answer for slow.studio.example within 0.3 s"


class TestCertificates:
    @pytest.fixture
    def ca(self, tmp_path: Path) -> ThrowAwayCA:
        return ThrowAwayCA(tmp_path)

    @pytest.fixture
    def url(self, ca: ThrowAwayCA) -> Iterator[str]:
        with web_server(nim(), ca.server_context(LOOPBACK)) as server:
            yield server.url

    def test_verified(self, run: Run, ca: ThrowAwayCA, url: str) -> None:
        found = only(run(url, ca_path=str(ca.certificate_path)))
        assert found["result"] == "ready"
        left = time.mktime(time.strptime(found["certificate_expires_at"], "%Y-%m-%dT%H:%M:%SZ")) - time.time()
        assert 28 < left / 86400 < 31

    def test_of_somebody_else(self, run: Run, url: str) -> None:
        found = only(run(url))
        assert found["result"] == "unreachable"
        assert found["reason"].startswith(f"the certificate of {url[8:]} is not accepted: ")

    def test_for_another_name(self, run: Run, ca: ThrowAwayCA) -> None:
        with web_server(nim(), ca.server_context("nim.studio.example")) as server:
            found = only(run(server.url, ca_path=str(ca.certificate_path)))
        assert (found["result"], "is not accepted" in found["reason"]) == ("unreachable", True)

    def test_not_verified_on_request(self, run: Run, url: str) -> None:
        found = only(run(url, validate_certs=False))
        assert (found["result"], found["certificate_expires_at"]) == ("ready", None)

    def test_no_tls_there(self, run: Run) -> None:
        with web_server(nim()) as server:
            found = only(run(server.url.replace("http:", "https:")))
        assert (found["result"], "does not speak TLS" in found["reason"]) == ("unreachable", True)


class OneRound(_http.Client):
    """Has dead hosts, each of which keeps its caller for one time limit: until all of them are waited for at once.

    So the checks take one time limit, and what the others need; counted, because seconds differ between machines.
    """

    def __init__(self, dead: int) -> None:
        super().__init__(1.0)
        self.together = threading.Barrier(dead)

    def request(
        self, method: str, url: str, headers: t.Mapping[str, str] | None = None, body: bytes | None = None
    ) -> _http.Answer:
        if "dead" not in url:
            return _http.Answer(200, {}, b"{}", 0.0)
        self.together.wait(timeout=20)
        raise _http.HttpError(_http.TIMEOUT, "did not answer within 1 s")


def test_of_500_endpoints_all_the_dead_ones_are_waited_for_in_one_time_limit() -> None:
    urls = [f"http://{'dead' if number % 10 == 0 else 'nim'}-{number}.studio.example" for number in range(500)]
    concurrency = nim_endpoint_info.ARGUMENT_SPEC["concurrency"]["default"]
    found = _health.check_all(_health.Prober(OneRound(50)), [{"url": url} for url in urls], concurrency)
    assert [item["result"] for item in found] == ["unreachable" if "dead" in url else "ready" for url in urls]


def test_500_endpoints_with_a_tenth_dead(run: Run) -> None:
    alive = {path: said for number in range(450) for path, said in nim(f"/nim-{number}").items()}
    timeout = 5.0
    with web_server(alive) as server, contextlib.ExitStack() as stack:
        dead = [stack.enter_context(servers.silent_server()) for _number in range(50)]
        urls = [f"{server.url}/nim-{number}" for number in range(450)]
        # Every tenth is dead, so that no round of checks is without one.
        mixed = [dead[number // 10] if number % 10 == 0 else urls.pop() for number in range(500)]
        result = run(*mixed, timeout=timeout)
    assert result["counts"] == {
        "ready": 450,
        "starting": 0,
        "refused": 0,
        "unreachable": 50,
        "wrong_service": 0,
        "open": 0,
    }
    assert [item["url"] for item in result["endpoints"]] == mixed
    assert all(
        (item["result"] == "unreachable") == (number % 10 == 0) for number, item in enumerate(result["endpoints"])
    )
    assert result["seconds"] >= timeout


def test_an_address_that_several_nodes_share_is_asked_once(run: Run) -> None:
    with web_server(nim()) as server:
        result = run(*[{"url": server.url, "node": node} for node in ("FLUX Dev", "FLUX Canny")])
        asked = [path for _method, path, _headers in server.requests]
    assert [item["node"] for item in result["endpoints"]] == ["FLUX Dev", "FLUX Canny"]
    assert asked == ["/v1/health/ready", "/v1/metadata"]


@pytest.mark.parametrize(
    "url",
    ["https://nim.studio.example", "https://not-nvidia.com", "http://ai.api.nvidia.com", "https://nvidia.com.example"],
)
@pytest.mark.parametrize("hosted", [True, False])
def test_the_key_goes_to_nvidia_only(run: Run, monkeypatch: pytest.MonkeyPatch, url: str, hosted: bool) -> None:
    asked: list[str] = []

    def note(_client: t.Any, _method: str, address: str, *_rest: t.Any) -> _http.Answer:
        asked.append(address)
        return _http.Answer(200, {}, b"{}", 0.0)

    monkeypatch.setattr(_http.Client, "request", note)
    endpoint = {"url": url, "auth": "bearer", **({} if hosted else {"health_url": f"{url}{READY}"})}
    found = only(run(endpoint, nvidia_api_key=KEY, hosted_check="request"))
    assert found["result"] == "wrong_service"
    assert found["reason"].startswith("asks for NVIDIA's key and is not an HTTPS address of NVIDIA")
    assert not any(address.startswith(url) for address in asked)


# -- what NVIDIA hosts -------------------------------------------------------------------------------------------------


class NvidiaHosts(RegistryHosts):
    """NVIDIA's hosted models, too. What they answer is set by a test."""

    def __init__(self) -> None:
        super().__init__()
        self.status = 422
        self.seen: list[t.Any] = []

    def host(self, name: str) -> t.Any:
        return self if name in ("ai.api.nvidia.com", "f.invocation.api.nvcf.nvidia.com") else super().host(name)

    def check_connection(self, scheme: str, port: int) -> None:
        assert (scheme, port) == ("https", 443)

    def answer(self, scheme: str, port: int, request: t.Any) -> t.Any:
        from tests.sandbox.nim_stub import answer_of_nim, json_answer

        self.seen.append(request)
        if request.path.startswith("/v1/genai/"):
            return json_answer({"detail": "x"}, 405 if request.method == "GET" else self.status)
        return answer_of_nim("nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.3", request)


HOSTED = {
    "url": "https://ai.api.nvidia.com/v1/genai/stabilityai/stable-diffusion-xl",
    "auth": "bearer",
    "node": "SDXL",
}


class TestHosted:
    @pytest.fixture
    def hosts(self) -> NvidiaHosts:
        return NvidiaHosts()

    @pytest.fixture
    def proxy(self, hosts: NvidiaHosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
        monkeypatch.setattr(_registry, "_PAUSES", (0.0, 0.0))
        with Proxy(tmp_path, hosts) as running:
            running.lead_there(monkeypatch)
            yield running

    def test_by_its_key(self, run: Run, proxy: Proxy, hosts: NvidiaHosts) -> None:
        result = run(HOSTED, {**HOSTED, "node": "the same"}, nvidia_api_key=KEY)
        assert [item["result"] for item in result["endpoints"]] == ["ready", "ready"]
        assert [request.method for request in hosts.seen] == ["GET"]
        assert hosts.seen[0].headers.get("Authorization") is None
        assert sum("get-caller-info" in path for path in proxy.paths()) == 1

    @pytest.mark.parametrize(
        ("key", "reason"),
        [
            (None, "not checked: it needs NVIDIA's key, and none was given"),
            ("nvapi-CANARYexpiredhGk29fLm", "the key is not valid: it has expired on "),
        ],
    )
    def test_without_a_good_key(self, run: Run, proxy: Proxy, key: str | None, reason: str) -> None:
        found = only(run(HOSTED, **({"nvidia_api_key": key} if key else {})))
        assert found["result"] == "refused"
        assert found["reason"].startswith(reason)
        assert "CANARY" not in json.dumps(found)

    @pytest.mark.parametrize(
        ("status", "verdict"),
        [
            (422, "ready"),
            (401, "refused"),
            (402, "refused"),
            (403, "refused"),
            (404, "wrong_service"),
            (410, "wrong_service"),
            (429, "ready"),
            (503, "starting"),
            (418, "wrong_service"),
        ],
    )
    def test_by_an_empty_request(self, run: Run, proxy: Proxy, hosts: NvidiaHosts, status: int, verdict: str) -> None:
        hosts.status = status
        found = only(run(HOSTED, nvidia_api_key=KEY, hosted_check="request"))
        assert found["result"] == verdict
        (request,) = hosts.seen
        assert (request.method, request.body) == ("POST", b"{}")
        assert request.headers.get("Authorization") == f"Bearer {KEY}"

    def test_a_function_of_ones_own(self, run: Run, proxy: Proxy, hosts: NvidiaHosts) -> None:
        base = "https://f.invocation.api.nvcf.nvidia.com"
        found = only(run({"url": base, "health_url": f"{base}/v1/health/ready", "auth": "bearer"}, nvidia_api_key=KEY))
        assert (found["result"], found["model"]) == ("ready", "flux.1-dev:1.2.3")
        assert {request.headers.get("Authorization") for request in hosts.seen} == {f"Bearer {KEY}"}

    def test_through_the_proxy_the_certificate_is_the_hosts(self, run: Run, proxy: Proxy) -> None:
        assert only(run(HOSTED, nvidia_api_key=KEY))["certificate_expires_at"]

    def test_a_host_that_the_proxy_does_not_find(self, run: Run, proxy: Proxy) -> None:
        found = only(run("https://gone.studio.example/flux-dev-l40s"))
        assert found["result"] == "unreachable"
        assert "does not connect to gone.studio.example (502" in found["reason"]


# -- options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": 0}, "timeout is 0; it must be more than 0 seconds"),
        ({"concurrency": 0}, "concurrency is 0; it must be from 1 to 512"),
        ({"nvidia_api_key": "CANARY of two words"}, "nvidia_api_key is not a key"),
        ({"ca_path": "/nowhere.pem"}, "ca_path /nowhere.pem cannot be read as certificates"),
    ],
)
def test_bad_input(run: Run, options: dict[str, t.Any], message: str) -> None:
    result = run("http://127.0.0.1", **options)
    assert result["failed"]
    assert message in result["msg"]
    assert "CANARY" not in result["msg"]


def test_nothing_to_check(run: Run) -> None:
    assert run()["endpoints"] == []


def test_documented_options_are_the_real_ones() -> None:
    told = yaml.safe_load(nim_endpoint_info.DOCUMENTATION)["options"]
    spec = nim_endpoint_info.ARGUMENT_SPEC
    assert set(told) == set(spec)
    assert set(told["endpoints"]["suboptions"]) == set(spec["endpoints"]["options"])
    assert [name for name, option in spec.items() if option.get("no_log")] == ["nvidia_api_key", "gateway_token"]
    assert set(_health.LABELS) < set(told["endpoints"]["suboptions"])


def test_a_login_in_an_address_is_not_shown() -> None:
    with pytest.raises(ValueError, match=r"https://\*\*\*@host/x") as caught:
        _http.Client(1).request("GET", "https://user:CANARY@host/x")
    assert "CANARY" not in str(caught.value)
