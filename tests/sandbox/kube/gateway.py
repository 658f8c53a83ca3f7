# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a client finds behind the address of a load balancer: a gateway, and the NIMs behind that.

A request goes the way it goes in a cluster: source ranges and port of the load balancer, NetworkPolicy and readiness
of the gateway's pods, then by the first part of the path to the Service ``nim-NAME`` in the same namespace, its
NetworkPolicy and its ready pods. The gateway itself is not run: a pod whose image is HAProxy's answers as the
collection's configuration would, the check of tokens included. It reads public keys and deny list from the pod's
ConfigMap. That the real HAProxy refuses the same is for tests/unit/gateway to show.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from tests.sandbox.container_logs import ContainerLogs
from tests.sandbox.kube.cluster import Cluster
from tests.sandbox.kube.runtime import is_ready
from tests.sandbox.kube.selectors import selects
from tests.sandbox.nim_stub import (
    HttpAnswer,
    HttpRequest,
    NoConnectionError,
    answer_of_nim,
    json_answer,
)
from tests.sandbox.usage_log import target_of, usage_line

AUDIENCE = "budgetguard-gateway"
#: How the configuration names the studio.
ISSUER = re.compile(r"jwt_payload_query\('\$\.iss'\) -m str (\S+) \}")
NIM_PATH = re.compile(r"/([a-z0-9-]{1,59})(/.*)")
NIM_PORT = 8000
NO_PATH = "There is no NIM under this path; it starts with the name of one, as /flux-dev-l4/v1"
NOT_RUNNING = "This NIM does not run: it is stopped, still starting, or not deployed here"
Pod = dict[str, Any]
Item = Mapping[str, Any]


def find_balancer(clusters: Iterable[Cluster], address: str, logs: ContainerLogs) -> BalancerHost | None:
    """Return the load balancer that has this IP address; None if none has."""
    for cluster in clusters:
        for service in cluster.store.all("Service"):
            ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
            if any(entry.get("ip") == address for entry in ingress):
                return BalancerHost(cluster, service, address, logs)
    return None


@dataclass(frozen=True)
class BalancerHost:
    """The load balancer of a Service. Needs STATE_LOCK held."""

    cluster: Cluster
    service: Item
    address: str
    logs: ContainerLogs

    def check_connection(self, scheme: str, port: int) -> None:
        """Raise `NoConnectionError` if a connection to this port would not come about."""
        self._behind(scheme, port)

    def answer(self, scheme: str, port: int, request: HttpRequest) -> HttpAnswer:
        """Return what a client gets. Raises `NoConnectionError`."""
        gateway = self._behind(scheme, port)
        image = str(gateway["spec"]["containers"][0]["image"])
        if "haproxy" not in image:
            return answer_of_nim(image, request)
        refusal = self._refusal(gateway, request)
        if refusal is not None:
            return refusal
        match = NIM_PATH.fullmatch(request.target)
        if match is None:
            return json_answer({"error": NO_PATH}, 404)
        name, rest = match.groups()
        nim = self._nim(gateway, name)
        if nim is None:
            return json_answer({"error": NOT_RUNNING}, 503)
        forwarded = HttpRequest(request.method, rest, request.headers, request.body)
        return answer_of_nim(str(nim["spec"]["containers"][0]["image"]), forwarded)

    def log_usage(self, scheme: str, port: int, request: HttpRequest, answer: HttpAnswer, seconds: float) -> None:
        """Write the gateway's line for a request, if its configuration says that it writes any."""
        gateway = self._behind(scheme, port)
        targets = [target_of(text) for text in self._files(gateway).values()]
        target = next((name for name in targets if name), None)
        if target is None:
            return
        sizes = (len(answer.body), len(request.body))
        line = usage_line(target, request.method, request.path, request.headers, answer.status, sizes, seconds)
        container = gateway["spec"]["containers"][0]["name"]
        place = (gateway["metadata"]["namespace"], gateway["metadata"]["name"], container)
        self.logs.add(self.cluster.settings.cluster_id, *place, line)

    def _refusal(self, gateway: Pod, request: HttpRequest) -> HttpAnswer | None:
        """Return what a request without a good token gets; None where there is no login, or for a good one."""
        files = self._files(gateway)
        keys = [text for name, text in sorted(files.items()) if name.startswith("public")]
        if not keys:
            return None
        scheme, _space, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return _unauthorized("A token is needed, as Authorization: Bearer")
        issuer = ISSUER.search(files["haproxy.cfg"])
        found = _claims(token, keys, issuer.group(1) if issuer else "")
        if found is None:
            return _unauthorized("The token was not signed with a key of this studio, or is not valid now")
        denied = dict(line.split() for line in files["denied.map"].splitlines())
        moments = [int(denied.get(name, "0")) for name in (f"sub:{found['sub']}", f"jti:{found['jti']}")]
        if max(moments) > found["iat"]:
            return json_answer({"error": "The tokens of this workstation were revoked; ask TechOps"}, 403)
        return None

    def _files(self, gateway: Pod) -> dict[str, str]:
        """Return the files that the pod has from ConfigMaps."""
        namespace = self.service["metadata"]["namespace"]
        files: dict[str, str] = {}
        for volume in gateway["spec"].get("volumes", []):
            name = volume.get("configMap", {}).get("name")
            found = self.cluster.store.get("ConfigMap", namespace, name) if name else None
            files.update((found or {}).get("data") or {})
        return files

    def _behind(self, scheme: str, port: int) -> Pod:
        """Return a pod that takes a connection to this port."""
        spec = self.service["spec"]
        entry = next((item for item in spec["ports"] if item["port"] == port), None)
        if entry is None:
            raise NoConnectionError(f"the load balancer {self.address} has no port {port}")
        if scheme != "http":
            raise NoConnectionError(f"nothing behind {self.address} speaks {scheme}; the sandbox has no TLS there")
        if not spec.get("loadBalancerSourceRanges"):
            raise NoConnectionError(f"the load balancer {self.address} has no source ranges: it would let everybody in")
        pods = _ready_pods(self.cluster, self.service)
        if not pods:
            raise NoConnectionError(f"no pod behind the load balancer {self.address} is ready")
        open_pods = [pod for pod in pods if self._lets_clients_in(pod, entry)]
        if not open_pods:
            raise NoConnectionError(f"a NetworkPolicy keeps the clients of {self.address} from its pods")
        return open_pods[0]

    def _lets_clients_in(self, pod: Pod, entry: Item) -> bool:
        # Where the traffic comes by way of another machine, the policy sees that machine's address.
        keeps_address = self.service["spec"].get("externalTrafficPolicy") == "Local"

        def is_client(peer: Item) -> bool:
            return "ipBlock" in peer and keeps_address

        return _is_allowed(self.cluster, pod, _container_port(pod, entry), is_client)

    def _nim(self, gateway: Pod, name: str) -> Pod | None:
        """Return a pod of a NIM that the gateway reaches; None if there is none."""
        namespace = self.service["metadata"]["namespace"]
        service = self.cluster.store.get("Service", namespace, f"nim-{name}")
        entry = _entry(service)
        if service is None or entry is None:
            return None
        labels = gateway["metadata"].get("labels", {})

        def is_gateway(peer: Item) -> bool:
            # Without a namespaceSelector the policy's own namespace is meant.
            return "podSelector" in peer and "namespaceSelector" not in peer and selects(peer["podSelector"], labels)

        for pod in _ready_pods(self.cluster, service):
            if _is_allowed(self.cluster, pod, _container_port(pod, entry), is_gateway):
                return pod
        return None


def _claims(token: str, keys: list[str], issuer: str) -> dict[str, Any] | None:
    """Return what a token says; None for one that no key has signed, or that is of another studio or time."""
    required = ["iss", "aud", "sub", "iat", "nbf", "exp", "jti"]
    for key in keys:
        with contextlib.suppress(jwt.PyJWTError):
            return jwt.decode(
                token, key, algorithms=["ES256"], audience=AUDIENCE, issuer=issuer, options={"require": required}
            )
    return None


def _unauthorized(sentence: str) -> HttpAnswer:
    answer = json_answer({"error": sentence}, 401)
    answer.headers["WWW-Authenticate"] = 'Bearer realm="nim"'
    return answer


def _entry(service: Item | None) -> Item | None:
    ports = service["spec"]["ports"] if service is not None else []
    return next((item for item in ports if item["port"] == NIM_PORT), None)


def _ready_pods(cluster: Cluster, service: Item) -> list[Pod]:
    selector = service["spec"].get("selector") or {}
    return [
        pod
        for pod in cluster.store.all("Pod", service["metadata"]["namespace"])
        if selector and selects({"matchLabels": selector}, pod["metadata"].get("labels", {})) and is_ready(pod)
    ]


def _container_port(pod: Pod, entry: Item) -> int | None:
    """Return the port of the pod that a port of a Service leads to; None for a name the pod does not have."""
    target = entry.get("targetPort", entry["port"])
    if isinstance(target, int):
        return target
    for container in pod["spec"]["containers"]:
        for port in container.get("ports", []):
            if port.get("name") == target:
                return int(port["containerPort"])
    return None


def _is_allowed(cluster: Cluster, pod: Pod, port: int | None, is_source: Any) -> bool:
    """Whether the NetworkPolicies of a pod's namespace let a source reach one of its ports."""
    if port is None:
        return False
    if not cluster.settings.network_policy:
        return True
    labels = pod["metadata"].get("labels", {})
    policies = [
        policy["spec"]
        for policy in cluster.store.all("NetworkPolicy", pod["metadata"]["namespace"])
        if "Ingress" in policy["spec"]["policyTypes"] and selects(policy["spec"].get("podSelector"), labels)
    ]
    if not policies:
        return True
    return any(
        _names_port(rule, port) and (not rule.get("from") or any(is_source(peer) for peer in rule["from"]))
        for spec in policies
        for rule in spec.get("ingress") or []
    )


def _names_port(rule: Item, port: int) -> bool:
    ports = rule.get("ports") or []
    return not ports or any(item.get("port") in (None, port) for item in ports)
