# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A simulated cluster in this process, without a server, whose clock the test moves."""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
from typing import Any

from werkzeug.test import Client, TestResponse
from werkzeug.wrappers import Request

from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.kube import KubeApplication, NodePool
from tests.sandbox.kube.kinds import BY_NAME
from tests.sandbox.kube.server import GPU_POOL, INTERNAL, SYSTEM_POOL
from tests.sandbox.nim_stub import HttpRequest, NimStub

ID, TOKEN, SPACE = "one", "token-of-a-deployer", "budgetguard"
MANAGER = "budgetguard-techops"
NIM, NAME = "nim-flux-dev-a100", "flux-dev-a100"
IMAGE = "nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.3"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
CONVERT = {True: "true", False: "false"}


class TestCluster:
    """The cluster `ID`, its API as dicts, and what a client would reach through the proxy."""

    __test__ = False

    def __init__(self, **settings: Any) -> None:
        self.calls = CallLog()
        self.interferences = Interferences()
        self.kube = KubeApplication(self.calls, self.interferences)
        self.stub = NimStub(self.kube)
        self.pools: list[NodePool] = [SYSTEM_POOL, GPU_POOL]
        self.kube.create_cluster(
            ID,
            **{
                "pools": lambda: self.pools,
                "authorize": lambda token: token == TOKEN,
                "internal_annotation": INTERNAL,
                **settings,
            },
        )
        self._client = Client(self.application)

    def application(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer as a WSGI application."""
        return self.kube(Request(environ))(environ, start_response)

    def change_pool(self, **changes: Any) -> None:
        """Change the GPU pool."""
        self.pools[1] = dataclasses.replace(self.pools[1], **changes)

    # -- the API -----------------------------------------------------------------------------------------------------

    def send(
        self, method: str, path: str, body: Any = None, content_type: str | None = None, **query: Any
    ) -> TestResponse:
        """Send a request below the cluster."""
        text = {name: CONVERT.get(value, value) if isinstance(value, bool) else value for name, value in query.items()}
        return self._client.open(
            f"/clusters/{ID}{path}",
            method=method,
            query_string=text,
            data=body if isinstance(body, str) else json.dumps(body) if body is not None else None,
            content_type=content_type or ("application/json" if body is not None else None),
            headers={"Authorization": f"Bearer {TOKEN}", "User-Agent": "probe/1.0"},
        )

    def ask(self, method: str, path: str, body: Any = None, content_type: str | None = None, **query: Any) -> Any:
        """Send a request that must succeed; its JSON."""
        response = self.send(method, path, body, content_type, **query)
        assert response.status_code < 300, response.text
        return response.json

    def refused(self, method: str, path: str, body: Any = None, content_type: str | None = None, **query: Any) -> Any:
        """Send a request that must fail; its Status."""
        response = self.send(method, path, body, content_type, **query)
        assert response.status_code >= 400, response.text
        assert response.json is not None
        assert response.json["code"] == response.status_code
        return response.json

    def path(self, kind: str, name: str | None = None, namespace: str = SPACE) -> str:
        """Return where a kind or an object of it is."""
        entry = BY_NAME[kind]
        start = f"/apis/{entry.api_version}" if entry.group else f"/api/{entry.api_version}"
        place = f"/namespaces/{namespace}" if entry.namespaced else ""
        return f"{start}{place}/{entry.plural}" + (f"/{name}" if name else "")

    def path_of(self, item: dict[str, Any]) -> str:
        """Return where an object is."""
        return self.path(item["kind"], item["metadata"]["name"], item["metadata"].get("namespace", SPACE))

    def apply(self, item: dict[str, Any], *, manager: str = MANAGER, force: bool = True, **query: Any) -> Any:
        """Apply a manifest that is right."""
        options = {"fieldManager": manager, "force": force, "fieldValidation": "Strict", **query}
        return self.ask("PATCH", self.path_of(item), item, APPLY, **options)

    def apply_refused(self, item: dict[str, Any], *, manager: str = MANAGER, force: bool = True, **query: Any) -> Any:
        """Apply a manifest that is wrong."""
        options = {"fieldManager": manager, "force": force, "fieldValidation": "Strict", **query}
        return self.refused("PATCH", self.path_of(item), item, APPLY, **options)

    def get(self, kind: str, name: str) -> Any:
        """Return an object."""
        return self.ask("GET", self.path(kind, name))

    def items(self, kind: str, **query: Any) -> list[dict[str, Any]]:
        """Return all objects of a kind in the namespace."""
        found: list[dict[str, Any]] = self.ask("GET", self.path(kind), **query)["items"]
        return found

    # -- a NIM -------------------------------------------------------------------------------------------------------

    def deploy(self, replicas: int = 1, **container: Any) -> None:
        """Make everything that a NIM needs, and the NIM."""
        for item in (namespace(), pull_secret(), api_secret(), claim(), nim_service()):
            self.apply(item)
        self.apply(nim(replicas, **container))

    def deploy_gateway(self, **spec: Any) -> None:
        """Make the gateway and its load balancer."""
        for item in (namespace(), gateway(), balancer(**spec)):
            self.apply(item)

    def scale(self, replicas: int) -> None:
        """Start or stop the NIM."""
        body = {"spec": {"replicas": replicas}}
        self.ask("PATCH", f"{self.path('Deployment', NIM)}/scale", body, MERGE)

    def pod(self) -> Any:
        """Return the pod of the NIM."""
        pods = self.items("Pod", labelSelector=f"app.kubernetes.io/name={NIM}")
        assert len(pods) == 1, pods
        return pods[0]

    def waiting(self) -> Any:
        """Return why the NIM's container does not run."""
        return self.pod()["status"]["containerStatuses"][0]["state"]["waiting"]

    def events(self, reason: str) -> list[str]:
        """Return the messages of the events with a reason."""
        return [event["message"] for event in self.items("Event") if event["reason"] == reason]

    def address(self) -> str:
        """Return the IP address of the gateway's load balancer."""
        return str(self.get("Service", "gateway")["status"]["loadBalancer"]["ingress"][0]["ip"])

    def fetch(self, target: str, host: str | None = None, port: int = 80, scheme: str = "http") -> tuple[int, Any]:
        """Ask for a path of the gateway, as the proxy does."""
        request = HttpRequest("GET", target, {}, b"")
        answer = self.stub.answer(scheme, host or self.address(), port, request)
        return answer.status, json.loads(answer.body) if answer.body else None


# -- manifests -------------------------------------------------------------------------------------------------------


def manifest(kind: str, name: str, **content: Any) -> dict[str, Any]:
    """Return a manifest; ``labels`` and ``annotations`` go into its metadata."""
    entry = BY_NAME[kind]
    metadata: dict[str, Any] = {"name": name, **({"namespace": SPACE} if entry.namespaced else {})}
    for part in ("labels", "annotations"):
        if part in content:
            metadata[part] = content.pop(part)
    return {"apiVersion": entry.api_version, "kind": kind, "metadata": metadata, **content}


def namespace() -> dict[str, Any]:
    """Return the namespace."""
    return manifest("Namespace", SPACE)


def encoded(text: str) -> str:
    """Return a text as it stands in a Secret."""
    return base64.b64encode(text.encode()).decode()


def pull_secret(user: str = "$oauthtoken") -> dict[str, Any]:
    """Return the login at the registry."""
    login = {"auths": {"nvcr.io": {"auth": encoded(f"{user}:nvapi-key")}}}
    data = {".dockerconfigjson": encoded(json.dumps(login))}
    return manifest("Secret", "ngc-pull", type="kubernetes.io/dockerconfigjson", data=data)


def api_secret() -> dict[str, Any]:
    """Return the key that the NIM reads."""
    return manifest("Secret", "ngc-api", type="Opaque", data={"NGC_API_KEY": encoded("nvapi-key")})


def claim(size: str = "100Gi") -> dict[str, Any]:
    """Return the disk of the NIM."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return manifest("PersistentVolumeClaim", f"{NIM}-cache", spec=spec)


def nim(replicas: int = 1, **container: Any) -> dict[str, Any]:
    """Return the NIM."""
    labels = {"app.kubernetes.io/name": NIM}
    spec = {
        "imagePullSecrets": [{"name": "ngc-pull"}],
        "nodeSelector": {"budgetguard.io/gpu-pool": "a100"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "containers": [
            {
                "name": "nim",
                "image": IMAGE,
                "ports": [{"name": "http", "containerPort": 8000}],
                "env": [
                    {"name": "NIM_HTTP_API_PORT", "value": "8000"},
                    {"name": "NGC_API_KEY", "valueFrom": {"secretKeyRef": {"name": "ngc-api", "key": "NGC_API_KEY"}}},
                ],
                "resources": {"requests": {"cpu": "4", "memory": "64Gi"}, "limits": {"nvidia.com/gpu": "1"}},
                "startupProbe": {"httpGet": {"path": "/v1/health/ready", "port": "http"}},
                "volumeMounts": [{"name": "cache", "mountPath": "/opt/nim/.cache"}],
                **container,
            }
        ],
        "volumes": [{"name": "cache", "persistentVolumeClaim": {"claimName": f"{NIM}-cache"}}],
    }
    return manifest(
        "Deployment",
        NIM,
        labels=labels,
        spec={
            "replicas": replicas,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    )


def nim_service() -> dict[str, Any]:
    """Return the address of the NIM inside the cluster."""
    ports = [{"name": "http", "port": 8000, "targetPort": "http"}]
    return manifest("Service", NIM, spec={"selector": {"app.kubernetes.io/name": NIM}, "ports": ports})


def gateway() -> dict[str, Any]:
    """Return the gateway."""
    labels = {"app.kubernetes.io/name": "gateway"}
    container = {
        "name": "gateway",
        "image": "docker.io/library/haproxy:3.2",
        "ports": [{"name": "http", "containerPort": 8080}],
    }
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    return manifest("Deployment", "gateway", spec=spec)


def balancer(annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """Return the load balancer of the gateway."""
    content = {
        "type": "LoadBalancer",
        "externalTrafficPolicy": "Local",
        "loadBalancerSourceRanges": ["10.20.0.0/16"],
        "selector": {"app.kubernetes.io/name": "gateway"},
        "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        **spec,
    }
    return manifest("Service", "gateway", annotations=annotations or {}, spec=content)


def policy(app: str, peer: dict[str, Any], port: int) -> dict[str, Any]:
    """Return a NetworkPolicy that lets one peer reach one port."""
    rule = {"from": [peer], "ports": [{"port": port}]}
    selector = {"matchLabels": {"app.kubernetes.io/name": app}}
    return manifest("NetworkPolicy", app, spec={"podSelector": selector, "ingress": [rule]})


def without(item: dict[str, Any], *path: str | int) -> dict[str, Any]:
    """Return a manifest without a field."""
    result = copy.deepcopy(item)
    place: Any = result
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return result


def changed(item: dict[str, Any], *path: str | int, to: Any) -> dict[str, Any]:
    """Return a manifest with another value in a field."""
    result = copy.deepcopy(item)
    place: Any = result
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    return result
