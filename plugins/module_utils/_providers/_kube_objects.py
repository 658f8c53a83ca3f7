# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""How a NIM is written in Kubernetes' words: one manifest per object, ready for server-side apply. Pure, no calls.

What the API server gives back is read in ``_kube_compare.py``. No manifest says what Kubernetes would drop, such as an
empty dictionary, and each carries a hash of itself, so that a field that is no longer wanted is noticed, too.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
import re
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _gateway
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import (
    HEALTH_PATH,
    Wanted,
    encode_serves,
    spec_hash,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._exposure import endpoint_host_problem
from ansible_collections.budgetguard.techops.plugins.module_utils._keys import check_key
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._cluster import (
    GPU_TAINT,
    POOL_LABEL,
    TIER_LABEL,
)

Manifest = dict[str, t.Any]

MANAGED_BY = "budgetguard-techops"
MANAGED_LABEL = "app.kubernetes.io/managed-by"
PART_LABEL = "app.kubernetes.io/part-of"
COMPONENT_LABEL = "app.kubernetes.io/component"
NAME_LABEL = "app.kubernetes.io/name"
DEPLOYMENT_LABEL = "budgetguard.io/deployment"
MANAGED_SELECTOR = f"{MANAGED_LABEL}={MANAGED_BY}"

NODE_ANNOTATION = "budgetguard.io/node"
SERVES_ANNOTATION = "budgetguard.io/serves"
KIND_ANNOTATION = "budgetguard.io/kind"
INFER_PATH_ANNOTATION = "budgetguard.io/infer-path"
REPLICAS_ANNOTATION = "budgetguard.io/replicas"
MANIFEST_ANNOTATION = "budgetguard.io/manifest"
ENDPOINT_HOST_ANNOTATION = "budgetguard.io/endpoint-host"
AUTH_ANNOTATION = "budgetguard.io/auth"
"""On the gateway's Service: C(gateway) if it asks for a workstation's token."""

FIELDS_ANNOTATION = "budgetguard.io/fields"
"""On Secrets: the names of what is in them, separated by spaces, for a reader that asks for metadata only."""
CONFIG_ANNOTATION = "budgetguard.io/config"
"""On the gateway's pods: a hash of the configuration, so that another one starts them anew."""

NIM, SHARED = "nim", "shared"
CONTAINER = "nim"
GATEWAY = "gateway"
PULL_SECRET, API_SECRET = "ngc-pull", "ngc-api"
NGC_KEY, HF_KEY = "NGC_API_KEY", "HF_TOKEN"
GATEWAY_TLS = "gateway-tls"
HTTPS_PORT = 443
ARTISTS_ROLE = "nim-artists"
DEVICE_PLUGIN = "budgetguard-nvidia-device-plugin"
DEVICE_PLUGIN_NAMESPACE = "kube-system"

_RUNS_AS = 1000
"""The user under which NVIDIA's operator and charts run a NIM."""

_CACHE = "/opt/nim/.cache"
_SHM = "shm"
_NIM_PORT = 8000
_REGISTRY = "nvcr.io"
_CONFIG_FOLDER = "/usr/local/etc/haproxy"
_TLS_FOLDER = "/usr/local/etc/haproxy-tls"

START_SECONDS = 5400
"""After this long without progress Kubernetes calls a start failed: machine, image and model take up to an hour."""

_MACHINE_SHARE = 0.6
"""The part of a machine's processors and memory that a NIM asks for. The rest is left for Kubernetes, which keeps up to
a quarter of a small machine for itself, and for the other pods of each machine. It is a lower bound, not a limit."""

_NAMESPACE = re.compile(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
_NIM_NAME = re.compile(r"^[a-z]([a-z0-9-]{0,55}[a-z0-9])?$")


@dataclasses.dataclass(frozen=True)
class KubeSettings:
    """How everything inside a cluster is to be set up. Raises ValueError for what Kubernetes would not take."""

    namespace: str = "budgetguard"
    scheme: str = "internal"
    allowed_cidrs: tuple[str, ...] = ()
    allow_public: bool = False
    allow_plain_http: bool = False
    endpoint_host: str | None = None
    ngc_api_key: str | None = dataclasses.field(default=None, repr=False)
    hf_token: str | None = dataclasses.field(default=None, repr=False)
    storage_class: str | None = None
    gateway_image: str = _gateway.IMAGE
    gateway_replicas: int = 2
    gateway: _gateway.Front = dataclasses.field(default_factory=_gateway.Front)

    def __post_init__(self) -> None:
        if not _NAMESPACE.match(self.namespace) or self.namespace.startswith("kube-"):
            raise ValueError(
                f"namespace is {self.namespace!r}; it must be at most 63 lower-case letters, digits and hyphens, must "
                "not start or end with a hyphen, and must not start with kube-, for example budgetguard"
            )
        problem = endpoint_host_problem(self.endpoint_host)
        if problem:
            raise ValueError(problem)
        if self.gateway_replicas < 1:
            raise ValueError(f"gateway_replicas is {self.gateway_replicas}; it must be at least 1")
        if self.gateway.tls and self.endpoint_host is None:
            raise ValueError(
                "gateway.certificate needs endpoint_host: the name in the certificate under which workstations reach "
                "the load balancer"
            )

    @classmethod
    def from_options(cls, options: t.Mapping[str, t.Any]) -> KubeSettings:
        """Take the settings out of a module's options; what is not set keeps its default."""
        fields = {field.name for field in dataclasses.fields(cls)}
        given: dict[str, t.Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in options.items()
            if key in fields and value not in (None, "")
        }
        for secret in ("ngc_api_key", "hf_token"):
            given[secret] = check_key(secret, given.get(secret))
        given["gateway"] = _gateway.Front.from_options(options.get("gateway"), options.get("cluster") or "cluster")
        return cls(**given)


def cache_name(deployment: str) -> str:
    """Name the PersistentVolumeClaim of a NIM."""
    return f"{deployment}-cache"


def path_of(deployment: str) -> str:
    """Return the path of a NIM behind the gateway, for example ``/flux-dev-l4``."""
    return f"/{deployment.removeprefix('nim-')}"


# ---- what all NIMs of a cluster share --------------------------------------------------------------------------------


def namespace(settings: KubeSettings) -> Manifest:
    """Return the Namespace. Pods in it must keep to the baseline of Kubernetes' pod security standards."""
    manifest = _object("v1", "Namespace", settings.namespace, SHARED)
    manifest["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = "baseline"
    return _signed(manifest)


def secrets(settings: KubeSettings) -> list[Manifest]:
    """Return the Secrets with the registry's login and with the NIMs' keys; none if there is no key to put in."""
    key = settings.ngc_api_key
    if key is None:
        return []
    login = {"username": "$oauthtoken", "password": key, "auth": _base64(f"$oauthtoken:{key}")}
    keys = {NGC_KEY: key, **({HF_KEY: settings.hf_token} if settings.hf_token else {})}
    registry = {".dockerconfigjson": json.dumps({"auths": {_REGISTRY: login}})}
    return [
        _secret(settings, PULL_SECRET, "kubernetes.io/dockerconfigjson", registry),
        _secret(settings, API_SECRET, "Opaque", keys),
    ]


def _secret(settings: KubeSettings, name: str, kind: str, content: t.Mapping[str, str]) -> Manifest:
    manifest = _object("v1", "Secret", name, SHARED, settings.namespace)
    manifest["metadata"]["annotations"] = {FIELDS_ANNOTATION: " ".join(sorted(content))}
    manifest["type"] = kind
    manifest["data"] = {key: _base64(value) for key, value in sorted(content.items())}
    return _signed(manifest, fingerprint(manifest))


def fingerprint(manifest: Manifest) -> str:
    """Return a one-way mark of a Secret, so that a change is seen without reading what is in the cluster."""
    metadata = manifest["metadata"]
    place = f"budgetguard:{metadata['namespace']}/{metadata['name']}"
    return hmac.new(place.encode(), json.dumps(manifest, sort_keys=True).encode(), hashlib.sha256).hexdigest()[:16]


def artists_role(settings: KubeSettings) -> Manifest:
    """Return the Role for artists: look at NIMs, start and stop them, and nothing else. Nobody is bound to it here."""
    manifest = _object("rbac.authorization.k8s.io/v1", "Role", ARTISTS_ROLE, SHARED, settings.namespace)
    manifest["rules"] = [
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]},
        {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["patch"]},
    ]
    return _signed(manifest)


def artist_binding(settings: KubeSettings, name: str, users: t.Sequence[str]) -> Manifest:
    """Return the RoleBinding that gives one artist the Role for artists, under each name that the cluster knows."""
    manifest = _object("rbac.authorization.k8s.io/v1", "RoleBinding", name, SHARED, settings.namespace)
    manifest["roleRef"] = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ARTISTS_ROLE}
    manifest["subjects"] = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user} for user in users]
    return _signed(manifest)


def device_plugin(image: str) -> Manifest:
    """Return NVIDIA's device plugin for the machines of our GPU pools, where the platform does not bring it."""
    manifest = _object("apps/v1", "DaemonSet", DEVICE_PLUGIN, SHARED, DEVICE_PLUGIN_NAMESPACE)
    folder = "/var/lib/kubelet/device-plugins"
    ours = {"matchExpressions": [{"key": POOL_LABEL, "operator": "Exists"}]}
    manifest["spec"] = {
        "selector": {"matchLabels": _selector(manifest)},
        "template": {
            "metadata": {"labels": dict(manifest["metadata"]["labels"])},
            "spec": {
                "affinity": {
                    "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [ours]}}
                },
                "automountServiceAccountToken": False,
                "priorityClassName": "system-node-critical",
                "tolerations": [{"operator": "Exists"}],
                "containers": [
                    {
                        "name": "device-plugin",
                        "image": image,
                        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
                        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                        "volumeMounts": [{"name": "device-plugins", "mountPath": folder}],
                    }
                ],
                "volumes": [{"name": "device-plugins", "hostPath": {"path": folder}}],
            },
        },
    }
    return _signed(manifest)


# ---- the gateway -----------------------------------------------------------------------------------------------------


def gateway_config_map(settings: KubeSettings) -> Manifest:
    """Return the gateway's configuration, with public keys and deny list. It says nothing about single NIMs."""
    manifest = _object("v1", "ConfigMap", GATEWAY, GATEWAY, settings.namespace)
    routes = _gateway.NamedRoutes.in_cluster(settings.namespace, itself=GATEWAY)
    manifest["data"] = settings.gateway.files(routes, _CONFIG_FOLDER, _TLS_FOLDER)
    return _signed(manifest)


def gateway_secrets(settings: KubeSettings) -> list[Manifest]:
    """Return the Secret with the gateway's certificate; none if it speaks plain HTTP."""
    files = settings.gateway.secret_files()
    return [_secret(settings, GATEWAY_TLS, "Opaque", files)] if files else []


def gateway_deployment(settings: KubeSettings, node_selector: t.Mapping[str, str]) -> Manifest:
    """Return the gateway: copies on machines without a GPU, so that none is kept awake by it."""
    manifest = _object("apps/v1", "Deployment", GATEWAY, GATEWAY, settings.namespace)
    selector = _selector(manifest)
    secret_marks = [fingerprint(secret) for secret in gateway_secrets(settings)]
    config_hash = spec_hash({"files": gateway_config_map(settings)["data"], "secrets": secret_marks})
    pod: dict[str, t.Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _gateway.USER_ID,
            "runAsGroup": _gateway.USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        # Requests that are under way when a copy has to go are finished first.
        "terminationGracePeriodSeconds": settings.gateway.limits.request_seconds + 60,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": selector},
            }
        ],
        # AKS advises this taint for system pools, and the gateway is what they are for.
        "tolerations": [{"key": "CriticalAddonsOnly", "operator": "Exists"}],
        "containers": [_gateway_container(settings)],
        "volumes": [
            {"name": "config", "configMap": {"name": GATEWAY}},
            *([{"name": "tls", "secret": {"secretName": GATEWAY_TLS}}] if settings.gateway.tls else []),
        ],
    }
    if node_selector:
        pod["nodeSelector"] = dict(node_selector)
    manifest["spec"] = {
        "replicas": settings.gateway_replicas,
        "revisionHistoryLimit": 2,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "selector": {"matchLabels": selector},
        "template": {
            "metadata": {
                "labels": dict(manifest["metadata"]["labels"]),
                "annotations": {CONFIG_ANNOTATION: config_hash},
            },
            "spec": pod,
        },
    }
    return _signed(manifest)


def _gateway_container(settings: KubeSettings) -> Manifest:
    tls = [{"name": "tls", "mountPath": _TLS_FOLDER, "readOnly": True}] if settings.gateway.tls else []
    return {
        "name": GATEWAY,
        "image": settings.gateway_image,
        "command": ["haproxy", "-db", "-f", f"{_CONFIG_FOLDER}/{_gateway.CONFIG_FILE}"],
        "ports": [
            {"name": "http", "containerPort": _gateway.PORT, "protocol": "TCP"},
            # No Service leads to it and no policy opens it: only the machine's own probes come.
            {"name": "health", "containerPort": _gateway.HEALTH_PORT, "protocol": "TCP"},
        ],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "readinessProbe": _probe(_gateway.HEALTH_PATH, "health", period=5, timeout=2, failures=2),
        # Killing a copy ends the requests on it, so it has to be without DNS for two minutes.
        "livenessProbe": _probe(_gateway.RESOLVE_PATH, "health", period=20, timeout=8, failures=6),
        # The load balancer needs some seconds to notice that a copy goes.
        "lifecycle": {"preStop": {"sleep": {"seconds": 15}}},
        "volumeMounts": [{"name": "config", "mountPath": _CONFIG_FOLDER, "readOnly": True}, *tls],
    }


def gateway_service(settings: KubeSettings, cidrs: t.Sequence[str], annotations: t.Mapping[str, str]) -> Manifest:
    """Return the load balancer. ``annotations`` are what makes it internal or public on this cloud.

    Raises ValueError without ``cidrs``, because a load balancer without source ranges lets everybody in.
    """
    manifest = _object("v1", "Service", GATEWAY, GATEWAY, settings.namespace)
    notes = {**annotations, **({ENDPOINT_HOST_ANNOTATION: settings.endpoint_host} if settings.endpoint_host else {})}
    notes |= {AUTH_ANNOTATION: _gateway.AUTH} if settings.gateway.login else {}
    if notes:
        manifest["metadata"]["annotations"] = notes
    name, port = ("https", HTTPS_PORT) if settings.gateway.tls else ("http", 80)
    manifest["spec"] = {
        "type": "LoadBalancer",
        # Keeps the client's address, which the NetworkPolicy looks at.
        "externalTrafficPolicy": "Local",
        "loadBalancerSourceRanges": _not_empty(cidrs),
        "selector": _selector(manifest),
        "ports": [{"name": name, "port": port, "targetPort": "http", "protocol": "TCP"}],
    }
    return _signed(manifest)


def gateway_network_policy(settings: KubeSettings, cidrs: t.Sequence[str]) -> Manifest:
    """Return who may reach the gateway. Raises ValueError without ``cidrs``."""
    manifest = _object("networking.k8s.io/v1", "NetworkPolicy", GATEWAY, GATEWAY, settings.namespace)
    sources = [{"ipBlock": {"cidr": cidr}} for cidr in _not_empty(cidrs)]
    manifest["spec"] = _ingress_only(_selector(manifest), sources, _gateway.PORT)
    return _signed(manifest)


# ---- one NIM ---------------------------------------------------------------------------------------------------------


def nim_cache(settings: KubeSettings, item: Wanted) -> Manifest:
    """Return the disk that keeps a NIM's model while it is stopped. A NIM with several copies does not use it."""
    manifest = _nim_object("v1", "PersistentVolumeClaim", settings, item, cache_name(item.name))
    manifest["spec"] = _disk(settings, item)
    return _signed(manifest)


def nim_deployment(
    settings: KubeSettings,
    item: Wanted,
    pool: str,
    replicas: int,
    tolerations: t.Sequence[t.Mapping[str, str]],
) -> Manifest:
    """Return the Deployment of a NIM of which ``replicas`` copies run on the machines of ``pool``.

    ``tolerations`` are needed besides the one for GPU machines. Raises ValueError for an ``env`` that cannot be.
    """
    manifest = _nim_object("apps/v1", "Deployment", settings, item, item.name)
    labels = {**manifest["metadata"]["labels"], POOL_LABEL: pool}
    manifest["metadata"]["labels"] = labels
    manifest["metadata"]["annotations"].update(
        {
            SERVES_ANNOTATION: encode_serves(item.serves),
            KIND_ANNOTATION: item.kind,
            INFER_PATH_ANNOTATION: item.infer_path,
            REPLICAS_ANNOTATION: str(item.replicas),
        }
    )
    key, _value, effect = GPU_TAINT
    manifest["spec"] = {
        "replicas": replicas,
        "revisionHistoryLimit": 2,
        "progressDeadlineSeconds": START_SECONDS,
        # The old copy has to give its GPU and its disk back before the new one can start.
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": _selector(manifest)},
        "template": {
            "metadata": {"labels": dict(labels)},
            "spec": {
                "automountServiceAccountToken": False,
                # Kubernetes' variables about Services would be named NIM_..., like those that configure a NIM.
                "enableServiceLinks": False,
                "imagePullSecrets": [{"name": PULL_SECRET}],
                "nodeSelector": {POOL_LABEL: pool},
                "tolerations": [
                    {"key": key, "operator": "Exists", "effect": effect},
                    *(dict(toleration) for toleration in tolerations),
                ],
                "terminationGracePeriodSeconds": 60,
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": _RUNS_AS,
                    "runAsGroup": _RUNS_AS,
                    "fsGroup": _RUNS_AS,
                    "fsGroupChangePolicy": "OnRootMismatch",
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [_nim_container(item)],
                "volumes": [_cache_volume(settings, item), _shm_volume(item)],
            },
        },
    }
    return _signed(manifest)


def nim_service(settings: KubeSettings, item: Wanted) -> Manifest:
    """Return the address inside the cluster under which the gateway finds a NIM."""
    manifest = _nim_object("v1", "Service", settings, item, item.name)
    manifest["spec"] = {
        "type": "ClusterIP",
        "selector": _selector(manifest),
        "ports": [{"name": "http", "port": _NIM_PORT, "targetPort": "http", "protocol": "TCP"}],
    }
    return _signed(manifest)


def nim_network_policy(settings: KubeSettings, item: Wanted) -> Manifest:
    """Return who may reach a NIM: the gateway, nobody else."""
    manifest = _nim_object("networking.k8s.io/v1", "NetworkPolicy", settings, item, item.name)
    gateway = {"podSelector": {"matchLabels": {NAME_LABEL: GATEWAY, COMPONENT_LABEL: GATEWAY}}}
    manifest["spec"] = _ingress_only(_selector(manifest), [gateway], _NIM_PORT)
    return _signed(manifest)


def _nim_container(item: Wanted) -> Manifest:
    return {
        "name": CONTAINER,
        "image": item.image,
        "ports": [{"name": "http", "containerPort": _NIM_PORT, "protocol": "TCP"}],
        "env": _environment(item),
        "resources": {"requests": _requests(item), "limits": {"nvidia.com/gpu": str(item.gpus)}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        # An hour for the first start, which downloads the model. The other two only count from then on.
        "startupProbe": _probe(HEALTH_PATH, "http", period=10, timeout=5, failures=360),
        "readinessProbe": _probe(HEALTH_PATH, "http", period=10, timeout=5, failures=3),
        "livenessProbe": _probe("/v1/health/live", "http", period=10, timeout=5, failures=6),
        "volumeMounts": [{"name": "cache", "mountPath": _CACHE}, {"name": _SHM, "mountPath": f"/dev/{_SHM}"}],
    }


def _environment(item: Wanted) -> list[dict[str, t.Any]]:
    """Return the container's variables, sorted by name."""
    keys = [NGC_KEY, *([HF_KEY] if item.needs_hf_token else [])]
    values = {
        "NIM_HTTP_API_PORT": str(_NIM_PORT),
        "NIM_SERVER_PORT": str(_NIM_PORT),
        "NIM_CACHE_PATH": _CACHE,
        "NIM_JSONL_LOGGING": "1",
        **({"NIM_MODEL_VARIANT": "+".join(item.variants)} if item.variants else {}),
        **item.env,
    }
    # Kubernetes takes $(NAME) for another variable's value and $$ for a dollar sign.
    plain = [{"name": name, "value": value.replace("$", "$$")} for name, value in values.items()]
    kept = [{"name": key, "valueFrom": {"secretKeyRef": {"name": API_SECRET, "key": key}}} for key in keys]
    return sorted([*plain, *kept], key=lambda variable: str(variable["name"]))


def _requests(item: Wanted) -> dict[str, str]:
    """Return what a machine must have free. GPUs are left out: Kubernetes takes them from the limits."""
    if item.machine is None:
        return {"cpu": "1", "memory": "8Gi"}
    share = _MACHINE_SHARE * item.gpus / item.machine.gpus
    return {
        "cpu": f"{int(item.machine.vcpus * share * 1000)}m",
        "memory": f"{int(item.machine.memory_gib * share * 1024)}Mi",
    }


def _disk(settings: KubeSettings, item: Wanted) -> dict[str, t.Any]:
    spec: dict[str, t.Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": f"{max(item.disk_gib, 10)}Gi"}},
    }
    if settings.storage_class:
        spec["storageClassName"] = settings.storage_class
    return spec


def _cache_volume(settings: KubeSettings, item: Wanted) -> dict[str, t.Any]:
    """Return where the model is kept. One disk serves one machine only, so copies have a disk each, as they run."""
    if item.replicas > 1:
        return {"name": "cache", "ephemeral": {"volumeClaimTemplate": {"spec": _disk(settings, item)}}}
    return {"name": "cache", "persistentVolumeClaim": {"claimName": cache_name(item.name)}}


def _shm_volume(item: Wanted) -> dict[str, t.Any]:
    memory: dict[str, t.Any] = {"medium": "Memory"}
    if item.shm_gib:
        memory["sizeLimit"] = f"{item.shm_gib}Gi"
    return {"name": _SHM, "emptyDir": memory}


# ---- parts of several ------------------------------------------------------------------------------------------------


def _object(api_version: str, kind: str, name: str, component: str, place: str | None = None) -> Manifest:
    metadata: dict[str, t.Any] = {
        "name": name,
        "labels": {
            MANAGED_LABEL: MANAGED_BY,
            PART_LABEL: "budgetguard",
            COMPONENT_LABEL: component,
            NAME_LABEL: name,
        },
    }
    if place is not None:
        metadata["namespace"] = place
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def _nim_object(api_version: str, kind: str, settings: KubeSettings, item: Wanted, name: str) -> Manifest:
    if not _NIM_NAME.match(item.name):
        raise ValueError(
            f"{item.name} cannot be the name of a NIM in Kubernetes: at most 57 lower-case letters, digits and "
            "hyphens; give the node another slug in nim_catalog"
        )
    manifest = _object(api_version, kind, name, NIM, settings.namespace)
    # Each object tells whose it is, so that a NIM of which only a part was made can be seen and removed.
    manifest["metadata"]["labels"].update({DEPLOYMENT_LABEL: item.name, TIER_LABEL: item.gpu_tier})
    manifest["metadata"]["annotations"] = {NODE_ANNOTATION: item.node}
    return manifest


def _selector(manifest: Manifest) -> dict[str, str]:
    """Return the labels by which an object finds its pods. They can never change, so they are few."""
    labels = manifest["metadata"]["labels"]
    return {label: labels[label] for label in (NAME_LABEL, COMPONENT_LABEL)}


def _ingress_only(selector: t.Mapping[str, str], sources: list[dict[str, t.Any]], port: int) -> dict[str, t.Any]:
    return {
        "podSelector": {"matchLabels": dict(selector)},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": sources, "ports": [{"protocol": "TCP", "port": port}]}],
    }


def _probe(path: str, port: str, *, period: int, timeout: int, failures: int) -> dict[str, t.Any]:
    """Return a check over HTTP; ``period`` and ``timeout`` are seconds."""
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }


def _not_empty(cidrs: t.Sequence[str]) -> list[str]:
    if not cidrs:
        raise ValueError("the gateway needs at least one network in allowed_cidrs; without any it would let all in")
    return list(cidrs)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _signed(manifest: Manifest, mark: str | None = None) -> Manifest:
    """Add the hash of the manifest, without the number of copies, which a start or stop changes."""
    spec = {key: value for key, value in manifest.get("spec", {}).items() if key != "replicas"}
    mark = mark or spec_hash({**manifest, "spec": spec})
    manifest["metadata"]["annotations"] = {**manifest["metadata"].get("annotations", {}), MANIFEST_ANNOTATION: mark}
    return manifest
