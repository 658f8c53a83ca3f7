# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The NIMs behind simulated load balancers: routing as an ALB does it, and the HTTP API of a NIM.

A NIM is found the way a real request finds it: the host names a load balancer, the port a listener, the path a rule,
the rule rewrites the path and forwards to a target group. If a target there is healthy, a NIM of the kind that the
ECS service's image says gives the answer. Load balancers of other clouds and other hosts are given to `NimStub`.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import json
import re
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from moto.ecs.models import ecs_backends
from moto.elbv2.models import FakeListener, FakeLoadBalancer, FakeTargetGroup, elbv2_backends

from tests.sandbox.aws_patches.elbv2 import is_healthy
from tests.sandbox.ecs_gateway import EcsGateway
from tests.sandbox.ecs_runtime import RUNTIME
from tests.sandbox.http import HttpAnswer, HttpRequest, json_answer
from tests.sandbox.state import ACCOUNT_ID, STATE_LOCK

__all__ = [
    "AlbHosts",
    "Host",
    "Hosts",
    "HttpAnswer",
    "HttpRequest",
    "NimStub",
    "NoConnectionError",
    "UnknownHostError",
    "answer_of_nim",
    "json_answer",
    "kind_of_image",
]

#: The load balancer's port at which a gateway finds the NIMs.
INNER_PORT = 8000
#: Who publishes image models; the first part of an image's path under ``nim/``.
IMAGE_PUBLISHERS = ("black-forest-labs", "stabilityai")
#: Sizes FLUX.1 and Stable Diffusion NIMs accept are 672 to 1568 in steps of 32, over all versions.
SIZES = range(672, 1569, 32)
FIELDS_OF_INFER = frozenset(
    (
        "prompt",
        "text_prompts",
        "mode",
        "image",
        "preprocess_image",
        "aspect_ratio",
        "width",
        "height",
        "steps",
        "cfg_scale",
        "seed",
        "samples",
        "disable_safety_checker",
    )
)
MODES = ("base", "canny", "depth")
IMAGE_DATA_URI = re.compile(r"data:image/(png|jpeg|jpg);base64,([A-Za-z0-9+/=]+)")


class NoConnectionError(Exception):
    """The host is known, but nothing would accept this connection there: a port without listener, or TLS on HTTP."""


class UnknownHostError(Exception):
    """No simulated host has this name."""


class Host(Protocol):
    """A load balancer. Needs STATE_LOCK held."""

    def check_connection(self, scheme: str, port: int) -> None:
        """Raise `NoConnectionError` if nothing would answer on this port."""

    def answer(self, scheme: str, port: int, request: HttpRequest) -> HttpAnswer:
        """Return what a client gets. Raises `NoConnectionError`."""


@runtime_checkable
class LoggingHost(Protocol):
    """A load balancer with a gateway behind it, which logs who asked."""

    def log_usage(self, scheme: str, port: int, request: HttpRequest, answer: HttpAnswer, seconds: float) -> None:
        """Write a line for a request that has ended. Needs STATE_LOCK held."""


class Hosts(Protocol):
    """Load balancers of one kind."""

    def host(self, name: str) -> Host | None:
        """Return the one with this name or address as it is now; None if there is none. Needs STATE_LOCK held."""


class NimStub:
    """Load balancers by name or address, and the NIMs behind them."""

    def __init__(self, *hosts: Hosts) -> None:
        self._hosts: tuple[Hosts, ...] = (AlbHosts(), *hosts)
        self._aliases: dict[str, str] = {}

    def reset(self) -> None:
        """Forget the aliases, and what NIMs have counted."""
        self._aliases.clear()
        ANSWERED.clear()

    def add_alias(self, host: object, target: object) -> None:
        """Let a name of the studio lead to a load balancer, as a DNS record does. Raises ValueError."""
        for name, value in (("host", host), ("target", target)):
            if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9.-]+", value):
                raise ValueError(f"{name} must be a host name or an IP address")
        self._aliases[str(host).lower()] = str(target).lower()

    def check_connection(self, scheme: str, host: str, port: int) -> None:
        """Raise `UnknownHostError` or `NoConnectionError` if nothing would answer there."""
        with STATE_LOCK:
            self._find(host).check_connection(scheme, port)

    def answer(self, scheme: str, host: str, port: int, request: HttpRequest) -> HttpAnswer:
        """Return what a client gets from this URL. Raises `UnknownHostError` or `NoConnectionError`."""
        with STATE_LOCK:
            found = self._find(host)
            started = time.monotonic()
            answer = found.answer(scheme, port, request)
            if isinstance(found, LoggingHost):
                found.log_usage(scheme, port, request, answer, time.monotonic() - started)
            return answer

    def _find(self, name: str) -> Host:
        name = self._aliases.get(name.lower(), name.lower())
        for hosts in self._hosts:
            found = hosts.host(name)
            if found is not None:
                return found
        raise UnknownHostError(f"no simulated host is called {name}")


class AlbHosts:
    """The application load balancers of AWS."""

    def host(self, name: str) -> AlbHost | None:
        """Return the one with this DNS name."""
        balancer = _load_balancer(name)
        return AlbHost(balancer, name) if balancer is not None else None


@dataclass(frozen=True)
class AlbHost:
    """An application load balancer."""

    balancer: FakeLoadBalancer
    name: str

    def check_connection(self, scheme: str, port: int) -> None:
        """Raise `NoConnectionError` if there is no listener for this."""
        self._listener(scheme, port)

    def answer(self, scheme: str, port: int, request: HttpRequest) -> HttpAnswer:
        """Return what the first rule that matches says."""
        RUNTIME.advance()
        return _answer_of_listener(self._listener(scheme, port), self.name, request)

    def log_usage(self, scheme: str, port: int, request: HttpRequest, answer: HttpAnswer, seconds: float) -> None:
        """Write the gateway's line for a request, if one is behind this port."""
        listener = self._listener(scheme, port)
        action = next(rule for rule in listener.rules.values() if rule.is_default).actions[-1].data
        group = _target_group(listener, action) if action["Type"] == "forward" else None
        container = {} if group is None else container_behind(group)
        if "haproxy" in str(container.get("image")):
            EcsGateway(container).log(request, answer, seconds)

    def _listener(self, scheme: str, port: int) -> FakeListener:
        for listener in self.balancer.listeners.values():
            if int(listener.port) != port:
                continue
            if listener.protocol.lower() != scheme:
                raise NoConnectionError(f"{self.name} speaks {listener.protocol} on port {port}, not {scheme}")
            return listener
        raise NoConnectionError(f"{self.name} has no listener on port {port}")


def _load_balancer(host: str) -> FakeLoadBalancer | None:
    for backend in elbv2_backends[ACCOUNT_ID].values():
        for balancer in backend.load_balancers.values():
            if balancer.dns_name.lower() == host:
                return balancer
    return None


# -- an application load balancer ------------------------------------------------------------------------------------


def _answer_of_listener(listener: FakeListener, host: str, request: HttpRequest) -> HttpAnswer:
    rules = sorted(listener.rules.values(), key=lambda rule: float("inf") if rule.is_default else int(rule.priority))
    rule = next(rule for rule in rules if _matches(rule.conditions, host, request))
    target = _rewrite(request.target, getattr(rule, "transforms", None) or [])
    action = rule.actions[-1].data
    if action["Type"] == "fixed-response":
        fixed = action["FixedResponseConfig"]
        content_type = fixed.get("ContentType") or "text/plain"
        return HttpAnswer(int(fixed["StatusCode"]), (fixed.get("MessageBody") or "").encode(), content_type)
    if action["Type"] == "redirect":
        return _redirect(action["RedirectConfig"], host, request)
    if action["Type"] != "forward":
        return HttpAnswer(501, f"The sandbox does not know the action {action['Type']}".encode(), "text/plain")
    group = _target_group(listener, action)
    if group is None or not any(is_healthy(group, target_id) for target_id in group.targets):
        return _unavailable()
    forwarded = HttpRequest(request.method, target, request.headers, request.body)
    container = container_behind(group)
    if "haproxy" in str(container.get("image")):
        refusal, inner = EcsGateway(container).check(forwarded), _inner_listener(listener)
        return refusal or (_unavailable() if inner is None else _answer_of_listener(inner, host, forwarded))
    return answer_of_nim(str(container.get("image", "")), forwarded)


def _matches(conditions: list[dict[str, Any]], host: str, request: HttpRequest) -> bool:
    return all(_matches_one(condition, host, request) for condition in conditions)


def _matches_one(condition: dict[str, Any], host: str, request: HttpRequest) -> bool:
    kind = condition["Field"]
    if kind == "path-pattern":
        patterns = (condition.get("PathPatternConfig") or {}).get("Values") or condition.get("Values") or []
        return any(fnmatch.fnmatchcase(request.path, pattern) for pattern in patterns)
    if kind == "host-header":
        patterns = (condition.get("HostHeaderConfig") or {}).get("Values") or condition.get("Values") or []
        return any(fnmatch.fnmatchcase(host.lower(), pattern.lower()) for pattern in patterns)
    if kind == "http-header":
        wanted = condition["HttpHeaderConfig"]
        sent = request.headers.get(wanted["HttpHeaderName"]) or ""
        return any(fnmatch.fnmatchcase(sent.lower(), pattern.lower()) for pattern in wanted["Values"])
    if kind == "http-request-method":
        return request.method in condition["HttpRequestMethodConfig"]["Values"]
    # source-ip and query-string: no simulated client can differ in these.
    return True


def _rewrite(target: str, transforms: list[dict[str, Any]]) -> str:
    """Return the path (with query) after the rule's url-rewrite; unchanged where its expression does not match."""
    for transform in transforms:
        if transform["Type"] == "url-rewrite":
            rewrite = transform["UrlRewriteConfig"]["Rewrites"][0]
            replacement = re.sub(r"\$(\d+)", r"\\g<\1>", rewrite["Replace"].replace("\\", "\\\\"))
            target = re.sub(rewrite["Regex"], replacement, target, count=1)
    return target if target.startswith("/") else f"/{target}"


def _redirect(config: dict[str, Any], host: str, request: HttpRequest) -> HttpAnswer:
    protocol = config.get("Protocol", "HTTPS").lower().replace("#{protocol}", "http")
    port = config.get("Port", "443")
    path = config.get("Path", "/#{path}").replace("#{path}", request.path.lstrip("/"))
    location = f"{protocol}://{config.get('Host', '#{host}').replace('#{host}', host)}:{port}{path}"
    status = 301 if config["StatusCode"] == "HTTP_301" else 302
    return HttpAnswer(status, b"", "text/html", {"Location": location})


def _target_group(listener: FakeListener, action: dict[str, Any]) -> FakeTargetGroup | None:
    region = listener.arn.split(":")[3]
    backend = elbv2_backends[ACCOUNT_ID][region]
    arns = backend._get_target_group_arns_from(action_data=action)
    return backend.target_groups.get(arns[0]) if arns else None


def _unavailable() -> HttpAnswer:
    page = "<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n</html>\r\n"
    return HttpAnswer(503, page.encode(), "text/html")


def _inner_listener(outer: FakeListener) -> FakeListener | None:
    """Return the listener of the same load balancer to which a gateway passes requests on."""
    balancers = elbv2_backends[ACCOUNT_ID][outer.arn.split(":")[3]].load_balancers
    listeners = balancers[outer.load_balancer_arn].listeners.values()
    return next((item for item in listeners if int(item.port) == INNER_PORT), None)


def container_behind(group: FakeTargetGroup) -> dict[str, Any]:
    """Return the first container of the service that has registered targets in a group; empty if none has."""
    backend = ecs_backends[ACCOUNT_ID][group.region_name]
    for service in backend.services.values():
        if service.status == "INACTIVE":
            continue
        if any(entry.get("targetGroupArn") == group.arn for entry in service.load_balancers):
            running = RUNTIME.container_in_service(service)
            if running is not None:
                return running
            definition = backend.describe_task_definition(service.task_definition or "")
            containers: Any = definition.container_definitions
            return dict(containers[0])
    return {}


# -- a NIM -----------------------------------------------------------------------------------------------------------


def kind_of_image(image: str) -> str:
    """``image``, ``3d`` or ``llm``: which API a NIM container has, from its name at the registry."""
    parts = image.partition(":")[0].split("/")
    if "trellis" in parts[-1]:
        return "3d"
    return "image" if any(part in IMAGE_PUBLISHERS for part in parts) else "llm"


def answer_of_nim(image: str, request: HttpRequest) -> HttpAnswer:
    """Return the answer of a NIM that is up. What it does not offer is 404, a wrong method 405."""
    kind = kind_of_image(image)
    routes: dict[str, tuple[str, Callable[[], HttpAnswer]]] = {
        "/v1/health/live": ("GET", lambda: _health("live")),
        "/v1/health/ready": ("GET", lambda: _health("ready")),
        "/v1/metadata": ("GET", lambda: _metadata(image)),
    }
    if kind == "llm":
        routes["/v1/models"] = ("GET", lambda: _models(image))
        routes["/v1/metrics"] = ("GET", lambda: _metrics(image))
        routes["/v1/chat/completions"] = ("POST", lambda: _chat(image, request.body))
    else:
        routes["/v1/infer"] = ("POST", lambda: _infer(kind, request.body))
    method, route = routes.get(request.path, (None, None))
    if route is None:
        return json_answer({"detail": "Not Found"}, 404)
    if request.method != method:
        return json_answer({"detail": "Method Not Allowed"}, 405)
    return route()


#: Requests that language models have answered, by image: all NIMs of one image count together.
ANSWERED: Counter[str] = Counter()


def _metrics(image: str) -> HttpAnswer:
    """Tell what NIM for LLMs tells of itself. Nothing runs when this is asked: the sandbox answers at once."""
    lines = [
        "# TYPE num_requests_running gauge",
        'num_requests_running{model_name="m"} 0',
        "num_requests_waiting 0.0",
        "# TYPE request_success_total counter",
        f'request_success_total{{model_name="m",finished_reason="stop"}} {float(ANSWERED[image])}',
    ]
    return HttpAnswer(200, "\n".join([*lines, ""]).encode(), "text/plain; version=0.0.4")


def _health(state: str) -> HttpAnswer:
    message = f"Service is {state}."
    return json_answer({"object": "health.response", "message": message, "status": state})


def _model_name(image: str) -> str:
    return image.partition(":")[0].partition("/nim/")[2] or image.rsplit("/", 1)[-1].partition(":")[0]


def _metadata(image: str) -> HttpAnswer:
    tag = image.partition(":")[2] or "latest"
    name = _model_name(image)
    return json_answer(
        {
            "version": tag,
            "modelInfo": [{"shortName": f"{name.rsplit('/', 1)[-1]}:{tag}", "modelUrl": f"ngc://nim/{name}:{tag}"}],
        }
    )


def _models(image: str) -> HttpAnswer:
    name = _model_name(image)
    return json_answer({"object": "list", "data": [{"id": name, "object": "model", "root": name, "parent": None}]})


def _json_object(body: bytes) -> dict[str, Any] | HttpAnswer:
    try:
        value = json.loads(body)
    except ValueError:
        return _unprocessable([], "JSON decode error")
    return value if isinstance(value, dict) else _unprocessable([], "Input should be a valid dictionary")


def _unprocessable(where: list[str], message: str) -> HttpAnswer:
    return json_answer({"detail": [{"loc": ["body", *where], "msg": message, "type": "value_error"}]}, 422)


def _infer(kind: str, body: bytes) -> HttpAnswer:
    request = _json_object(body)
    if isinstance(request, HttpAnswer):
        return request
    problem = _problem_of_infer(request)
    if problem is not None:
        return _unprocessable([problem[0]], problem[1])
    seed = request.get("seed") or 1
    artifact = _glb() if kind == "3d" else png(16, 16, seed)
    encoded = base64.b64encode(artifact).decode("ascii")
    return json_answer({"artifacts": [{"base64": encoded, "finishReason": "SUCCESS", "seed": seed}]})


#: Number fields of /v1/infer: the lowest and highest value, and whether only whole numbers are taken.
NUMBERS_OF_INFER: dict[str, tuple[float, float, bool]] = {
    "steps": (1, 100, True),
    "seed": (0, 4294967295, True),
    "samples": (1, 1, True),
    "cfg_scale": (0, 9, False),
}


def _problem_of_infer(request: dict[str, Any]) -> tuple[str, str] | None:
    """Return the first field that a NIM would not take, and why; None if all is well."""
    for name in request:
        if name not in FIELDS_OF_INFER:
            return name, "Extra inputs are not permitted"
    if not isinstance(request.get("prompt"), str) and not request.get("text_prompts") and not request.get("image"):
        return "prompt", "Field required"
    return _problem_of_image(request) or _problem_of_numbers(request)


def _problem_of_image(request: dict[str, Any]) -> tuple[str, str] | None:
    mode = request.get("mode", "base")
    if mode not in MODES:
        return "mode", f"Input should be one of {', '.join(MODES)}"
    image = request.get("image")
    if image is None and mode != "base":
        return "image", f"Field required for mode {mode}"
    if image is not None and not _is_image_data(image):
        return "image", "Input should be a data URI such as data:image/png;base64,..."
    return None


def _problem_of_numbers(request: dict[str, Any]) -> tuple[str, str] | None:
    for name, (low, high, whole) in NUMBERS_OF_INFER.items():
        value = request.get(name)
        kinds = int if whole else (int, float)
        if value is not None and (isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high):
            return name, f"Input should be a {'whole ' if whole else ''}number from {low} to {high}"
    for name in ("width", "height"):
        if request.get(name) is not None and request[name] not in SIZES:
            return name, "Input should be a multiple of 32 from 672 to 1568"
    return None


def _is_image_data(value: object) -> bool:
    match = IMAGE_DATA_URI.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return False
    try:
        return bool(base64.b64decode(match.group(2), validate=True))
    except binascii.Error:
        return False


def _chat(image: str, body: bytes) -> HttpAnswer:
    request = _json_object(body)
    if isinstance(request, HttpAnswer):
        return request
    name = _model_name(image)
    if request.get("model") != name:
        return json_answer({"object": "error", "message": f"The model `{request.get('model')}` does not exist."}, 404)
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        return _unprocessable(["messages"], "Field required")
    for field, low, high in (("max_tokens", 1, 131072), ("seed", 0, 4294967295)):
        value = request.get(field)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high):
            return _unprocessable([field], f"Input should be a whole number from {low} to {high}")
    ANSWERED[image] += 1
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}
    return json_answer(
        {
            "id": "chat-1",
            "object": "chat.completion",
            "model": name,
            "choices": [choice],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
        }
    )


def png(width: int, height: int, seed: int) -> bytes:
    """Return a valid PNG in one colour, which the seed chooses."""
    pixel = bytes(((seed * 37) % 256, (seed * 91) % 256, (seed * 53) % 256))
    rows = b"".join(b"\x00" + pixel * width for _number in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = _png_chunk(b"IHDR", header) + _png_chunk(b"IDAT", zlib.compress(rows)) + _png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _glb() -> bytes:
    """Return the smallest valid binary glTF: an empty scene."""
    content = b'{"asset":{"version":"2.0"}}'
    content += b" " * (-len(content) % 4)
    chunk = struct.pack("<II", len(content), 0x4E4F534A) + content
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunk)) + chunk
