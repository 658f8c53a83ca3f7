# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The NIMs behind simulated load balancers, reached through the proxy with the standard library."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import struct
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.sandbox import Sandbox, SandboxControl
from tests.unit.sandbox.ecs_deployment import NAME, REGION, Deployment

LLM_IMAGE = "nvcr.io/nim/meta/llama-3.1-8b-instruct:1.8.4"
PNG_URI = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


class Browser:
    """Fetches URLs as a program with the sandbox's variables would."""

    def __init__(self, sandbox: Sandbox) -> None:
        env = sandbox.env
        self.context = ssl.create_default_context(cafile=env["SSL_CERT_FILE"])
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({"http": env["HTTP_PROXY"], "https": env["HTTPS_PROXY"]}),
            urllib.request.HTTPSHandler(context=self.context),
        )

    def fetch(self, url: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Return status and body, read as JSON if it says it is."""
        data = None if body is None else json.dumps(body).encode()
        self._opener.addheaders = list((headers or {}).items())
        try:
            response = self._opener.open(url, data, timeout=10)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            text = response.read()
            is_json = response.headers["Content-Type"] == "application/json"
            return response.status, json.loads(text) if is_json else text.decode()


@pytest.fixture
def browser(sandbox: Sandbox) -> Browser:
    """Give a client without anything but the proxy and the throw-away CA."""
    return Browser(sandbox)


@pytest.fixture
def running(deployment: Deployment) -> Deployment:
    """Give a FLUX NIM that runs."""
    return deployment.create_running()


def url(deployment: Deployment, path: str, scheme: str = "http") -> str:
    return f"{scheme}://{deployment.host}/{deployment.short}{path}"


def test_health_follows_the_deployment(deployment: Deployment, browser: Browser, control: SandboxControl) -> None:
    deployment.create()
    assert browser.fetch(url(deployment, "/v1/health/ready"))[0] == 503
    deployment.scale(1)
    status, answer = browser.fetch(url(deployment, "/v1/health/ready"))
    assert (status, answer["status"]) == (200, "ready")
    assert browser.fetch(url(deployment, "/v1/health/live"))[0] == 200
    control.nim(NAME, "unhealthy")
    assert browser.fetch(url(deployment, "/v1/health/ready"))[0] == 503
    control.nim(NAME, "ready")
    assert browser.fetch(url(deployment, "/v1/health/ready"))[0] == 200
    deployment.scale(0)
    assert browser.fetch(url(deployment, "/v1/health/ready"))[0] == 503


def test_load_balancer_answers_by_itself_where_no_rule_fits(running: Deployment, browser: Browser) -> None:
    assert browser.fetch(f"http://{running.host}/elsewhere") == (404, "no NIM")
    assert browser.fetch(f"http://{running.host}/v1/health/ready") == (404, "no NIM")


def test_rule_that_does_not_rewrite_reaches_no_api(running: Deployment, browser: Browser) -> None:
    running.elb.modify_rule(RuleArn=running.rule_arn, ResetTransforms=True)
    assert browser.fetch(url(running, "/v1/health/ready")) == (404, {"detail": "Not Found"})


def test_rules_go_by_priority_and_all_conditions(running: Deployment, browser: Browser) -> None:
    header = {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "X-Api-Key", "Values": ["secret"]}}
    path = {"Field": "path-pattern", "PathPatternConfig": {"Values": [f"/{running.short}/*"]}}
    teapot = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "418", "MessageBody": "teapot"}}
    running.elb.create_rule(
        ListenerArn=running.listener_arn, Priority=1, Conditions=[path, header], Actions=[{**teapot}]
    )
    assert browser.fetch(url(running, "/v1/health/ready"))[0] == 200
    assert browser.fetch(url(running, "/v1/health/ready"), headers={"X-API-KEY": "secret"}) == (418, "teapot")
    assert browser.fetch(url(running, "/v1/health/ready"), headers={"X-Api-Key": "other"})[0] == 200


def test_image_nim_describes_itself(running: Deployment, browser: Browser) -> None:
    status, answer = browser.fetch(url(running, "/v1/metadata"))
    assert status == 200
    assert answer["modelInfo"][0]["shortName"] == "flux.1-dev:1.2.3"
    assert browser.fetch(url(running, "/v1/models")) == (404, {"detail": "Not Found"})
    assert browser.fetch(url(running, "/v1/chat/completions"), {"messages": []})[0] == 404
    assert browser.fetch(url(running, "/v1/infer"))[0] == 405


def png_size(content: bytes) -> tuple[int, int]:
    """Read a PNG with the standard library, checksums included."""
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    position, size, data = 8, (0, 0), b""
    while position < len(content):
        length, kind = struct.unpack(">I4s", content[position : position + 8])
        chunk = content[position + 8 : position + 8 + length]
        (checksum,) = struct.unpack(">I", content[position + 8 + length : position + 12 + length])
        assert zlib.crc32(kind + chunk) == checksum
        if kind == b"IHDR":
            size = struct.unpack(">II", chunk[:8])
        data += chunk if kind == b"IDAT" else b""
        position += 12 + length
    assert len(zlib.decompress(data)) == size[1] * (1 + 3 * size[0])
    return size


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": "a castle"},
        {"prompt": "a castle", "width": 1024, "height": 768, "steps": 50, "cfg_scale": 3.5, "seed": 0, "samples": 1},
        {"prompt": "a castle", "mode": "canny", "image": PNG_URI, "preprocess_image": True},
        {"text_prompts": [{"text": "a castle", "weight": 1}]},
        {"prompt": "a castle", "image": PNG_URI, "aspect_ratio": "match_input_image"},
    ],
)
def test_inference_makes_an_image(running: Deployment, browser: Browser, body: dict[str, Any]) -> None:
    status, answer = browser.fetch(url(running, "/v1/infer"), body)
    assert status == 200
    artifact = answer["artifacts"][0]
    assert artifact["finishReason"] == "SUCCESS"
    assert isinstance(artifact["seed"], int)
    assert png_size(base64.b64decode(artifact["base64"])) == (16, 16)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"negative_prompt": "ugly"}, "negative_prompt"),
        ({"prompt": None}, "prompt"),
        ({"mode": "sketch"}, "mode"),
        ({"mode": "depth"}, "image"),
        ({"image": "https://example.com/a.png"}, "image"),
        ({"steps": 0}, "steps"),
        ({"steps": "50"}, "steps"),
        ({"samples": 2}, "samples"),
        ({"seed": -1}, "seed"),
        ({"cfg_scale": 20}, "cfg_scale"),
        ({"width": 1000}, "width"),
        ({"height": 64}, "height"),
    ],
)
def test_inference_refuses_bad_fields(
    running: Deployment, browser: Browser, change: dict[str, Any], field: str
) -> None:
    status, answer = browser.fetch(url(running, "/v1/infer"), {"prompt": "a castle", **change})
    assert status == 422
    assert answer["detail"][0]["loc"] == ["body", field]


def test_llm_nim_chats(deployment: Deployment, browser: Browser) -> None:
    deployment.image = LLM_IMAGE
    deployment.create_running()
    assert browser.fetch(url(deployment, "/v1/infer"), {"prompt": "x"})[0] == 404
    status, answer = browser.fetch(url(deployment, "/v1/models"))
    assert status == 200
    model = answer["data"][0]["id"]
    assert model == "meta/llama-3.1-8b-instruct"
    question = {"model": model, "messages": [{"role": "user", "content": "Hello?"}]}
    status, answer = browser.fetch(url(deployment, "/v1/chat/completions"), question)
    assert (status, answer["choices"][0]["message"]["role"]) == (200, "assistant")
    assert browser.fetch(url(deployment, "/v1/chat/completions"), {**question, "model": "gpt"})[0] == 404
    assert browser.fetch(url(deployment, "/v1/chat/completions"), {"model": model})[0] == 422


def test_3d_nim_makes_a_model(deployment: Deployment, browser: Browser) -> None:
    deployment.image = "nvcr.io/nim/microsoft/trellis:1.0.1"
    deployment.create_running()
    status, answer = browser.fetch(url(deployment, "/v1/infer"), {"prompt": "a chair"})
    assert status == 200
    content = base64.b64decode(answer["artifacts"][0]["base64"])
    magic, version, length = struct.unpack("<4sII", content[:12])
    assert (magic, version, length) == (b"glTF", 2, len(content))


def https_listener(deployment: Deployment, client: Callable[..., Any]) -> None:
    """Give the deployment's load balancer a listener with a certificate of ACM, instead of the plain one."""
    arn = client("acm").request_certificate(DomainName="nim.studio.example")["CertificateArn"]
    deployment.listener = {"Protocol": "HTTPS", "Port": 443, "Certificates": [{"CertificateArn": arn}]}


def test_https_is_verified_for_real(
    deployment: Deployment, client: Callable[..., Any], sandbox: Sandbox, browser: Browser
) -> None:
    https_listener(deployment, client)
    deployment.create_running()
    sandbox.control.dns("nim.studio.example", deployment.host)
    for host in (deployment.host, "NIM.studio.example"):
        status, answer = browser.fetch(f"https://{host}/{deployment.short}/v1/infer", {"prompt": "a castle"})
        assert (status, answer["artifacts"][0]["finishReason"]) == (200, "SUCCESS")
    proxy = {"https": sandbox.env["HTTPS_PROXY"]}
    trusting_nobody = urllib.request.build_opener(urllib.request.ProxyHandler(proxy))
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        trusting_nobody.open(url(deployment, "/v1/health/ready", "https"), timeout=10)


def test_certificate_is_for_the_host_that_was_asked_for(
    deployment: Deployment, client: Callable[..., Any], sandbox: Sandbox, browser: Browser
) -> None:
    https_listener(deployment, client)
    deployment.create_running()
    proxy = urlsplit(sandbox.env["HTTPS_PROXY"])
    assert proxy.hostname
    connection = http.client.HTTPConnection(proxy.hostname, proxy.port, timeout=10)
    connection.set_tunnel(deployment.host, 443)
    connection.connect()
    with (
        pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"),
        browser.context.wrap_socket(connection.sock, server_hostname="other.example"),
    ):
        pass
    connection.close()


def test_several_requests_share_a_tunnel(
    deployment: Deployment, client: Callable[..., Any], sandbox: Sandbox, browser: Browser
) -> None:
    https_listener(deployment, client)
    deployment.create_running()
    proxy = urlsplit(sandbox.env["HTTPS_PROXY"])
    assert proxy.hostname
    connection = http.client.HTTPSConnection(proxy.hostname, proxy.port, timeout=10, context=browser.context)
    connection.set_tunnel(deployment.host, 443)
    for _number in range(3):
        connection.request("GET", f"/{deployment.short}/v1/health/ready")
        response = connection.getresponse()
        assert response.status == 200
        response.read()
    connection.close()


@pytest.mark.parametrize("address", ["http://{host}:8080/", "http://{host}:443/"])
def test_port_and_scheme_must_be_the_listeners(
    deployment: Deployment, client: Callable[..., Any], browser: Browser, address: str
) -> None:
    https_listener(deployment, client)
    deployment.create_running()
    assert browser.fetch(address.format(host=deployment.host))[0] == 502


def test_tls_to_a_plain_listener_fails(running: Deployment, browser: Browser) -> None:
    with pytest.raises(urllib.error.URLError, match="502"):
        browser.fetch(url(running, "/v1/health/ready", "https"))


def test_unknown_hosts_are_never_looked_up(browser: Browser, control: SandboxControl) -> None:
    status, text = browser.fetch("http://example.com/")
    assert status == 502
    assert "no simulated host is called example.com" in text
    with pytest.raises(urllib.error.URLError, match="502"):
        browser.fetch("https://unknown.nvidia.com/v2/")
    assert [call["action"] for call in control.calls("nim")] == ["GET /", "CONNECT"]
    assert all(call["refused"] for call in control.calls("nim"))


def test_requests_to_nims_are_logged_and_open_to_faults(
    running: Deployment, browser: Browser, control: SandboxControl
) -> None:
    control.clear_calls()
    control.fault("GET /flux-dev-l40s/v1/health/ready", "TooManyRequests", status=429, service="nim")
    assert browser.fetch(url(running, "/v1/health/ready"))[0] == 429
    assert browser.fetch(url(running, "/v1/health/ready"), headers={"Authorization": "Bearer token-4711"})[0] == 200
    assert [call["status"] for call in control.calls("nim")] == [429, 200]
    assert len(control.calls_containing("token-4711")) == 1
    assert control.calls("nim")[0]["path"] == f"http://{running.host}:80/flux-dev-l40s/v1/health/ready"


def test_two_nims_share_a_load_balancer(running: Deployment, browser: Browser, control: SandboxControl) -> None:
    second = Deployment(running.client, name="nim-llama-l4", image=LLM_IMAGE, instance_type="g6.4xlarge")
    for name in ("vpc_id", "subnets", "role_arn", "secret_arn", "security_group", "listener_arn", "host"):
        setattr(second, name, getattr(running, name))
    second.create_capacity(keep=[NAME])
    second.create_target_group(priority=11)
    second.create_task_definition()
    second.create_service()
    second.scale(1)
    assert browser.fetch(url(second, "/v1/models"))[0] == 200
    assert browser.fetch(url(running, "/v1/models"))[0] == 404
    running.scale(0)
    assert browser.fetch(url(running, "/v1/health/ready"))[0] == 503
    assert browser.fetch(url(second, "/v1/health/ready"))[0] == 200
    assert len(control.resources(REGION)["instances"]) == 1
