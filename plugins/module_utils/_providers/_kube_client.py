# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Calls of the Kubernetes API, with plain dicts in and out and one kind of error.

Login is our own: endpoint, CA and a token from the cloud. The client's kubeconfig loaders put their result into global
defaults, and its plugins for ``exec`` logins fall back to anonymous requests when a program is missing.

Of the library the client itself is used, with its proxies, certificates and HTTP, and not the classes that it has for
each API: loading these makes a class for each kind of Kubernetes, which took each module a second of CPU. The paths are
those of https://kubernetes.io/docs/reference/using-api/api-concepts/.
"""

from __future__ import annotations

import dataclasses
import json
import random
import time
import traceback
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._provider import (
    UNREADABLE,
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

_CORE, _APPS, _RBAC = "/api/v1", "/apis/apps/v1", "/apis/rbac.authorization.k8s.io/v1"
_APIS: dict[str, tuple[str, str]] = {
    "ConfigMap": (_CORE, "configmaps"),
    "DaemonSet": (_APPS, "daemonsets"),
    "Deployment": (_APPS, "deployments"),
    "Event": (_CORE, "events"),
    "Namespace": (_CORE, "namespaces"),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies"),
    "PersistentVolumeClaim": (_CORE, "persistentvolumeclaims"),
    "Pod": (_CORE, "pods"),
    "Role": (_RBAC, "roles"),
    "RoleBinding": (_RBAC, "rolebindings"),
    "Secret": (_CORE, "secrets"),
    "Service": (_CORE, "services"),
}
"""Where the API of a kind begins, and how its objects are called in paths."""


@dataclasses.dataclass(frozen=True)
class _Place:
    """An object, or without a name all objects of a kind; ``part`` is a part of the object, such as its log."""

    kind: str
    namespace: str | None = None
    name: str | None = None
    part: str = ""

    @property
    def path(self) -> str:
        """The path, with words in braces that the library puts in."""
        api, plural = _APIS[self.kind]
        inside = "/namespaces/{namespace}" if self.namespace else ""
        one = "/{name}" if self.name else ""
        return f"{api}{inside}/{plural}{one}{self.part}"

    @property
    def words(self) -> dict[str, str]:
        """What stands for the words in braces."""
        return {word: value for word, value in (("namespace", self.namespace), ("name", self.name)) if value}


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
        query = {"labelSelector": labels} if labels else {}
        answer = self._json(f"list the {_plural(kind)} in {namespace}", "GET", _Place(kind, namespace), query)
        return list(answer["items"])

    def list_metadata(self, kind: str, namespace: str) -> list[dict[str, t.Any]]:
        """Return only the metadata of all objects of a kind in a namespace."""
        doing = f"list the {_plural(kind)} in {namespace}"
        answer = self._json(doing, "GET", _Place(kind, namespace), headers={"Accept": METADATA_ONLY})
        return list(answer["items"])

    def read(self, kind: str, name: str, namespace: str | None = None) -> dict[str, t.Any] | None:
        """Return one object, or None if there is none."""
        try:
            return self._json(f"read the {kind} {name}", "GET", _Place(kind, namespace, name))
        except _NotFoundError:
            return None

    def log(self, pod: str, namespace: str, lines: int, previous: bool) -> str:
        """Return the last lines that a pod has written; ``previous`` means its container before the last restart."""
        query = {"tailLines": str(lines), "previous": str(previous).lower()}
        place = _Place("Pod", namespace, pod, "/log")
        answer = self._call(f"read the log of pod {pod}", "GET", place, query, headers={"Accept": "*/*"})
        return answer.decode("utf-8", "replace")

    # ---- writing -------------------------------------------------------------------------------------------------

    def apply(self, manifest: t.Mapping[str, t.Any], dry_run: bool = False) -> dict[str, t.Any]:
        """Make an object say what the manifest says, by server-side apply, and return it.

        A ``resourceVersion`` in the manifest makes it fail with ConflictError if the object has changed since.
        """
        kind, metadata = manifest["kind"], manifest["metadata"]
        return self._json(
            f"write the {kind} {metadata['name']}",
            "PATCH",
            _Place(kind, metadata.get("namespace"), metadata["name"]),
            {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", "force": "true", **_dry_run(dry_run)},
            headers={"Content-Type": "application/apply-patch+yaml"},
            body=dict(manifest),
        )

    def scale(self, deployment: str, namespace: str, replicas: int, dry_run: bool = False) -> None:
        """Set how many copies of a Deployment should run."""
        self._json(
            f"scale the Deployment {deployment}",
            "PATCH",
            _Place("Deployment", namespace, deployment, "/scale"),
            {"fieldManager": FIELD_MANAGER, **_dry_run(dry_run)},
            headers={"Content-Type": "application/merge-patch+json"},
            body={"spec": {"replicas": replicas}},
        )

    def delete(self, kind: str, name: str, namespace: str | None = None) -> None:
        """Delete an object and what hangs on it; it is no error if it is gone already."""
        query = {"propagationPolicy": "Background"}
        try:
            self._json(f"delete the {kind} {name}", "DELETE", _Place(kind, namespace, name), query)
        except _NotFoundError:
            return

    # ---- one call ------------------------------------------------------------------------------------------------

    def _json(
        self, doing: str, method: str, place: _Place, query: t.Mapping[str, str] | None = None, **more: t.Any
    ) -> dict[str, t.Any]:
        content = self._call(doing, method, place, query, **more)
        try:
            return t.cast(dict[str, t.Any], json.loads(content))
        except ValueError as exc:
            raise ProviderError(f"cannot {doing}: {UNREADABLE}") from exc

    def _call(
        self, doing: str, method: str, place: _Place, query: t.Mapping[str, str] | None = None, **more: t.Any
    ) -> bytes:
        """Make one call, again and later if what is wrong may pass. Every call here may be made twice."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._ask(method, place, query or {}, **more)
            except kubernetes.ApiException as exc:
                if exc.status not in _PASSING_STATUSES or attempt == self._attempts:
                    raise self._error(doing, exc) from exc
                self._sleep(_pause(exc, attempt))
            except (urllib3.exceptions.HTTPError, OSError) as exc:
                if attempt == self._attempts or isinstance(exc, urllib3.exceptions.SSLError):
                    raise UnreachableError(f"cannot {doing}: the cluster does not answer ({exc})") from exc
                self._sleep(_pause(None, attempt))

    def _ask(
        self,
        method: str,
        place: _Place,
        query: t.Mapping[str, str],
        *,
        headers: t.Mapping[str, str] | None = None,
        body: t.Mapping[str, t.Any] | None = None,
    ) -> bytes:
        """Ask once, as the library's own classes do."""
        request = self._client.param_serialize(
            method,
            place.path,
            path_params=place.words,
            query_params=list(query.items()),
            header_params={"Accept": "application/json", **(headers or {})},
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = self._client.call_api(*request, _request_timeout=_TIMEOUT_SECONDS)
        content = t.cast(bytes, answer.read())
        if not 200 <= answer.status <= 299:
            raise kubernetes.ApiException(http_resp=answer)
        return content

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


def _plural(kind: str) -> str:
    return f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"


def _dry_run(wanted: bool) -> dict[str, str]:
    return {"dryRun": "All"} if wanted else {}


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
