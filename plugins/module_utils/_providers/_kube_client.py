# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Calls of the Kubernetes API, with plain dicts in and out and one kind of error.

Login is our own: endpoint, CA and a token from the cloud. The client's kubeconfig loaders put their result into global
defaults, and its plugins for ``exec`` logins fall back to anonymous requests when a program is missing.
"""

from __future__ import annotations

import json
import random
import time
import traceback
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._provider import (
    ConflictError,
    MissingLibraryError,
    ProviderError,
    UnreachableError,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._cluster import ClusterAccess

try:
    import urllib3
    from kubernetes import client as kubernetes
except ImportError:
    HAS_KUBERNETES = False
    KUBERNETES_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    HAS_KUBERNETES = True
    KUBERNETES_IMPORT_ERROR = None

FIELD_MANAGER = "budgetguard-techops"
"""The name under which the API server remembers which fields are ours."""

METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""Ask for lists without content, so that nobody is sent a secret to learn that it is there."""

ATTEMPTS = 5
_PASSING_STATUSES = (429, 500, 502, 503, 504)
_NO_ANSWER = (502, 503, 504)
"""What something on the way says in the place of an API server that does not answer."""
_TIMEOUT_SECONDS = (10, 60)

_APIS: dict[str, tuple[str, str]] = {
    "ConfigMap": ("CoreV1Api", "namespaced_config_map"),
    "DaemonSet": ("AppsV1Api", "namespaced_daemon_set"),
    "Deployment": ("AppsV1Api", "namespaced_deployment"),
    "Event": ("CoreV1Api", "namespaced_event"),
    "Namespace": ("CoreV1Api", "namespace"),
    "NetworkPolicy": ("NetworkingV1Api", "namespaced_network_policy"),
    "PersistentVolumeClaim": ("CoreV1Api", "namespaced_persistent_volume_claim"),
    "Pod": ("CoreV1Api", "namespaced_pod"),
    "Role": ("RbacAuthorizationV1Api", "namespaced_role"),
    "RoleBinding": ("RbacAuthorizationV1Api", "namespaced_role_binding"),
    "Secret": ("CoreV1Api", "namespaced_secret"),
    "Service": ("CoreV1Api", "namespaced_service"),
}
"""The client's class and the end of its methods' names, by kind."""


class KubeClient:
    """The Kubernetes API of one cluster.

    Raises ProviderError with what was being done and what the API server answered, ConflictError if somebody else
    changed the object meanwhile, UnreachableError if nobody answers. What passes (429, 5xx, a lost connection) is tried
    again.
    """

    def __init__(
        self,
        access: ClusterAccess,
        advice: t.Mapping[int, str],
        sleep: t.Callable[[float], None] = time.sleep,
        attempts: int = ATTEMPTS,
    ) -> None:
        """``advice`` is what to add to an error of a status code, such as which role a refused deployer lacks.

        ``attempts`` is how often a call is tried before it counts as failed.
        """
        if not HAS_KUBERNETES:
            raise MissingLibraryError("kubernetes", KUBERNETES_IMPORT_ERROR)
        self._advice = advice
        self._attempts = attempts
        self._sleep = sleep
        configuration: t.Any = kubernetes.Configuration(host=access.host)
        configuration.ca_cert_data = access.ca_pem
        configuration.retries = False
        # The header is only sent where a key is set already; the hook then renews it before each request.
        configuration.api_key["authorization"] = ""
        configuration.api_key_prefix["authorization"] = "Bearer"

        def renew(used: kubernetes.Configuration) -> None:
            used.api_key["authorization"] = access.token()

        configuration.refresh_api_key_hook = renew
        self._client = kubernetes.ApiClient(configuration)

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    # ---- reading -------------------------------------------------------------------------------------------------

    def list_kind(self, kind: str, namespace: str, labels: str | None = None) -> list[dict[str, t.Any]]:
        """Return all objects of a kind in a namespace, none where there is no such namespace."""
        selector = {"label_selector": labels} if labels else {}
        answer = self._json(f"list the {kind}s in {namespace}", self._method("list", kind), namespace, **selector)
        return list(answer["items"])

    def list_metadata(self, kind: str, namespace: str) -> list[dict[str, t.Any]]:
        """Return only the metadata of all objects of a kind in a namespace."""
        doing = f"list the {kind}s in {namespace}"
        answer = self._json(doing, self._method("list", kind), namespace, _headers={"Accept": METADATA_ONLY})
        return list(answer["items"])

    def read(self, kind: str, name: str, namespace: str | None = None) -> dict[str, t.Any] | None:
        """Return one object, or None if there is none."""
        place = (namespace,) if namespace else ()
        try:
            return self._json(f"read the {kind} {name}", self._method("read", kind), name, *place)
        except _NotFoundError:
            return None

    def log(self, pod: str, namespace: str, lines: int, previous: bool) -> str:
        """Return the last lines that a pod has written; ``previous`` means its container before the last restart."""
        method = kubernetes.CoreV1Api(self._client).read_namespaced_pod_log
        answer = self._call(f"read the log of pod {pod}", method, pod, namespace, tail_lines=lines, previous=previous)
        return answer.decode("utf-8", "replace")

    # ---- writing -------------------------------------------------------------------------------------------------

    def apply(self, manifest: t.Mapping[str, t.Any], dry_run: bool = False) -> dict[str, t.Any]:
        """Make an object say what the manifest says, by server-side apply, and return it.

        A ``resourceVersion`` in the manifest makes it fail with ConflictError if the object has changed since.
        """
        kind, metadata = manifest["kind"], manifest["metadata"]
        place = (metadata["namespace"],) if "namespace" in metadata else ()
        options: dict[str, t.Any] = {"dry_run": "All"} if dry_run else {}
        return self._json(
            f"write the {kind} {metadata['name']}",
            self._method("patch", kind),
            metadata["name"],
            *place,
            dict(manifest),
            field_manager=FIELD_MANAGER,
            field_validation="Strict",
            force=True,
            _content_type="application/apply-patch+yaml",
            **options,
        )

    def scale(self, deployment: str, namespace: str, replicas: int, dry_run: bool = False) -> None:
        """Set how many copies of a Deployment should run."""
        method = kubernetes.AppsV1Api(self._client).patch_namespaced_deployment_scale
        options: dict[str, t.Any] = {"dry_run": "All"} if dry_run else {}
        self._json(
            f"scale the Deployment {deployment}",
            method,
            deployment,
            namespace,
            {"spec": {"replicas": replicas}},
            field_manager=FIELD_MANAGER,
            _content_type="application/merge-patch+json",
            **options,
        )

    def delete(self, kind: str, name: str, namespace: str | None = None) -> None:
        """Delete an object and what hangs on it; it is no error if it is gone already."""
        place = (namespace,) if namespace else ()
        try:
            self._json(
                f"delete the {kind} {name}", self._method("delete", kind), name, *place, propagation_policy="Background"
            )
        except _NotFoundError:
            return

    # ---- one call ------------------------------------------------------------------------------------------------

    def _method(self, verb: str, kind: str) -> t.Callable[..., t.Any]:
        api, ending = _APIS[kind]
        return t.cast(t.Callable[..., t.Any], getattr(getattr(kubernetes, api)(self._client), f"{verb}_{ending}"))

    def _json(self, doing: str, method: t.Callable[..., t.Any], *words: t.Any, **options: t.Any) -> dict[str, t.Any]:
        return t.cast(dict[str, t.Any], json.loads(self._call(doing, method, *words, **options)))

    def _call(self, doing: str, method: t.Callable[..., t.Any], *words: t.Any, **options: t.Any) -> bytes:
        """Make one call, again and later if what is wrong may pass. Every call here may be made twice."""
        attempt = 0
        while True:
            attempt += 1
            try:
                answer = method(*words, **options, _preload_content=False, _request_timeout=_TIMEOUT_SECONDS)
                return t.cast(bytes, answer.data)
            except kubernetes.ApiException as exc:
                if exc.status not in _PASSING_STATUSES or attempt == self._attempts:
                    raise self._error(doing, exc) from exc
                self._sleep(_pause(exc, attempt))
            except (urllib3.exceptions.HTTPError, OSError) as exc:
                if attempt == self._attempts or isinstance(exc, urllib3.exceptions.SSLError):
                    raise UnreachableError(f"cannot {doing}: the cluster does not answer ({exc})") from exc
                self._sleep(_pause(None, attempt))

    def _error(self, doing: str, exc: kubernetes.ApiException) -> ProviderError:
        text = f"cannot {doing}: {_message(exc)} ({exc.status})"
        advice = self._advice.get(exc.status)
        text = f"{text}. {advice}" if advice else text
        if exc.status == 404:
            return _NotFoundError(text)
        if exc.status == 409:
            return ConflictError(text)
        if exc.status in _NO_ANSWER:
            return UnreachableError(text)
        return ProviderError(text)


class _NotFoundError(ProviderError):
    """There is no such object."""


def _message(exc: kubernetes.ApiException) -> str:
    """Return the API server's own sentence."""
    try:
        return str(json.loads(exc.body or "")["message"])
    except (TypeError, ValueError, KeyError):
        return str(exc.reason or "no reason given")


def _pause(exc: kubernetes.ApiException | None, attempt: int) -> float:
    """Return the seconds until the next try: what the server asks for, otherwise longer each time."""
    asked = (exc.headers or {}).get("Retry-After") if exc is not None else None
    if asked is not None and asked.isdigit():
        return min(float(asked), 60.0)
    return min(2.0**attempt, 20.0) * random.uniform(0.25, 0.5)
