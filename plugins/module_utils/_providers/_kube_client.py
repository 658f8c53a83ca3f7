# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Calls of the Kubernetes API, with plain dicts in and out and one kind of error.

Its addresses are those of https://kubernetes.io/docs/reference/using-api/api-concepts/. The Python library kubernetes
is not used: nothing here wants the classes that it makes for kinds and fields, and making them took each module that
works on a cluster about a second of CPU. Login is our own, too: endpoint, CA and a token from the cloud.
"""

from __future__ import annotations

import json
import random
import ssl
import time
import traceback
import typing as t
from urllib.parse import quote, urlencode

from ansible_collections.budgetguard.techops.plugins.module_utils._provider import (
    ConflictError,
    MissingLibraryError,
    ProviderError,
    UnreachableError,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._cluster import ClusterAccess

try:
    import requests.utils
    import urllib3
except ImportError:
    REQUESTS_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    REQUESTS_IMPORT_ERROR = None

FIELD_MANAGER = "budgetguard-techops"
"""The name under which the API server remembers which fields are ours."""

METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""Ask for lists without content, so that nobody is sent a secret to learn that it is there."""

APPLY_PATCH = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"
"""Server-side apply takes YAML, which JSON is as well."""

ATTEMPTS = 5
_PASSING_STATUSES = (429, 500, 502, 503, 504)
_NO_ANSWER = (502, 503, 504)
"""What something on the way says in the place of an API server that does not answer."""
_CONNECT_SECONDS, _READ_SECONDS = 10.0, 60.0
_CONNECTIONS = 10

_APIS = {
    "ConfigMap": "/api/v1",
    "DaemonSet": "/apis/apps/v1",
    "Deployment": "/apis/apps/v1",
    "Event": "/api/v1",
    "Namespace": "/api/v1",
    "NetworkPolicy": "/apis/networking.k8s.io/v1",
    "PersistentVolumeClaim": "/api/v1",
    "Pod": "/api/v1",
    "Role": "/apis/rbac.authorization.k8s.io/v1",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1",
    "Secret": "/api/v1",
    "Service": "/api/v1",
}
"""Where the API of each kind begins."""


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
        if REQUESTS_IMPORT_ERROR is not None:
            raise MissingLibraryError("requests", REQUESTS_IMPORT_ERROR)
        self._advice = advice
        self._attempts = attempts
        self._sleep = sleep
        self._host = access.host.rstrip("/")
        self._token = access.token
        self._pool = _pool(access)

    def close(self) -> None:
        """Give the connections back."""
        self._pool.clear()

    # ---- reading -------------------------------------------------------------------------------------------------

    def list_kind(self, kind: str, namespace: str, labels: str | None = None) -> list[dict[str, t.Any]]:
        """Return all objects of a kind in a namespace, none where there is no such namespace."""
        query = {"labelSelector": labels} if labels else {}
        answer = self._json(f"list the {kind}s in {namespace}", "GET", _path(kind, namespace), query)
        return list(answer["items"])

    def list_metadata(self, kind: str, namespace: str) -> list[dict[str, t.Any]]:
        """Return only the metadata of all objects of a kind in a namespace."""
        doing = f"list the {kind}s in {namespace}"
        answer = self._json(doing, "GET", _path(kind, namespace), headers={"Accept": METADATA_ONLY})
        return list(answer["items"])

    def read(self, kind: str, name: str, namespace: str | None = None) -> dict[str, t.Any] | None:
        """Return one object, or None if there is none."""
        try:
            return self._json(f"read the {kind} {name}", "GET", _path(kind, namespace, name))
        except _NotFoundError:
            return None

    def log(self, pod: str, namespace: str, lines: int, previous: bool) -> str:
        """Return the last lines that a pod has written; ``previous`` means its container before the last restart."""
        query = {"tailLines": str(lines), "previous": str(previous).lower()}
        path = f"{_path('Pod', namespace, pod)}/log"
        return self._call(f"read the log of pod {pod}", "GET", path, query, headers={"Accept": "*/*"}).decode(
            "utf-8", "replace"
        )

    # ---- writing -------------------------------------------------------------------------------------------------

    def apply(self, manifest: t.Mapping[str, t.Any], dry_run: bool = False) -> dict[str, t.Any]:
        """Make an object say what the manifest says, by server-side apply, and return it.

        A ``resourceVersion`` in the manifest makes it fail with ConflictError if the object has changed since.
        """
        kind, metadata = manifest["kind"], manifest["metadata"]
        return self._json(
            f"write the {kind} {metadata['name']}",
            "PATCH",
            _path(kind, metadata.get("namespace"), metadata["name"]),
            {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", "force": "true", **_dry_run(dry_run)},
            headers={"Content-Type": APPLY_PATCH},
            body=manifest,
        )

    def scale(self, deployment: str, namespace: str, replicas: int, dry_run: bool = False) -> None:
        """Set how many copies of a Deployment should run."""
        self._json(
            f"scale the Deployment {deployment}",
            "PATCH",
            f"{_path('Deployment', namespace, deployment)}/scale",
            {"fieldManager": FIELD_MANAGER, **_dry_run(dry_run)},
            headers={"Content-Type": MERGE_PATCH},
            body={"spec": {"replicas": replicas}},
        )

    def delete(self, kind: str, name: str, namespace: str | None = None) -> None:
        """Delete an object and what hangs on it; it is no error if it is gone already."""
        query = {"propagationPolicy": "Background"}
        try:
            self._json(f"delete the {kind} {name}", "DELETE", _path(kind, namespace, name), query)
        except _NotFoundError:
            return

    # ---- one call ------------------------------------------------------------------------------------------------

    def _json(
        self,
        doing: str,
        method: str,
        path: str,
        query: t.Mapping[str, str] | None = None,
        *,
        headers: t.Mapping[str, str] | None = None,
        body: t.Mapping[str, t.Any] | None = None,
    ) -> dict[str, t.Any]:
        answer = self._call(doing, method, path, query, headers=headers, body=body)
        return t.cast(dict[str, t.Any], json.loads(answer))

    def _call(
        self,
        doing: str,
        method: str,
        path: str,
        query: t.Mapping[str, str] | None = None,
        *,
        headers: t.Mapping[str, str] | None = None,
        body: t.Mapping[str, t.Any] | None = None,
    ) -> bytes:
        """Make one call, again and later if what is wrong may pass. Every call here may be made twice."""
        url = f"{self._host}{path}?{urlencode(query)}" if query else f"{self._host}{path}"
        attempt = 0
        while True:
            attempt += 1
            try:
                answer = self._ask(method, url, headers or {}, body)
            except (urllib3.exceptions.HTTPError, OSError) as exc:
                if attempt == self._attempts or isinstance(exc, urllib3.exceptions.SSLError):
                    raise UnreachableError(f"cannot {doing}: the cluster does not answer ({exc})") from exc
                self._sleep(_pause(None, attempt))
                continue
            if 200 <= answer.status < 300:
                return answer.data
            if answer.status not in _PASSING_STATUSES or attempt == self._attempts:
                raise self._error(doing, answer)
            self._sleep(_pause(answer.headers.get("Retry-After"), attempt))

    def _ask(
        self, method: str, url: str, headers: t.Mapping[str, str], body: t.Mapping[str, t.Any] | None
    ) -> urllib3.BaseHTTPResponse:
        """Ask once. Nobody is followed to another address, for the token would go along."""
        return self._pool.request(
            method,
            url,
            body=None if body is None else json.dumps(body).encode(),
            headers={
                "Accept": "application/json",
                "User-Agent": FIELD_MANAGER,
                **headers,
                "Authorization": f"Bearer {self._token()}",
            },
            timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS),
            retries=False,
            redirect=False,
        )

    def _error(self, doing: str, answer: urllib3.BaseHTTPResponse) -> ProviderError:
        text = f"cannot {doing}: {_message(answer)} ({answer.status})"
        advice = self._advice.get(answer.status)
        text = f"{text}. {advice}" if advice else text
        if answer.status == 404:
            return _NotFoundError(text)
        if answer.status == 409:
            return ConflictError(text)
        if answer.status in _NO_ANSWER:
            return UnreachableError(text)
        return ProviderError(text)


class _NotFoundError(ProviderError):
    """There is no such object."""


def _pool(access: ClusterAccess) -> urllib3.PoolManager:
    """Return the way to a cluster: its own CA or the public ones, through the proxy that the environment names."""
    options: dict[str, t.Any] = {
        "ssl_context": ssl.create_default_context(cadata=access.ca_pem),
        "maxsize": _CONNECTIONS,
    }
    # With the rules of requests: NO_PROXY may have networks such as 10.0.0.0/8, in which private clusters are.
    proxies = requests.utils.get_environ_proxies(access.host)
    proxy = requests.utils.select_proxy(access.host, proxies)
    if not proxy:
        return urllib3.PoolManager(**options)
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if not proxy.lower().startswith(("http://", "https://")):
        # Without its address, which may have a password in it.
        raise ProviderError(
            f"the proxy that the environment names for {access.host} must begin with http:// or https://"
        )
    user, password = requests.utils.get_auth_from_url(proxy)
    if user:
        options["proxy_headers"] = urllib3.make_headers(proxy_basic_auth=f"{user}:{password}")
    return urllib3.ProxyManager(proxy, **options)


def _path(kind: str, namespace: str | None, name: str | None = None) -> str:
    """Return the path of an object, or without a name that of all objects of a kind."""
    place = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    one = f"/{quote(name, safe='')}" if name else ""
    return f"{_APIS[kind]}{place}/{_plural(kind)}{one}"


def _plural(kind: str) -> str:
    word = kind.lower()
    return f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"


def _dry_run(wanted: bool) -> dict[str, str]:
    return {"dryRun": "All"} if wanted else {}


def _message(answer: urllib3.BaseHTTPResponse) -> str:
    """Return the API server's own sentence."""
    try:
        return str(json.loads(answer.data)["message"])
    except (TypeError, ValueError, KeyError):
        return str(answer.reason or "no reason given")


def _pause(asked: str | None, attempt: int) -> float:
    """Return the seconds until the next try: what the server asks for, otherwise longer each time."""
    if asked is not None and asked.isdigit():
        return min(float(asked), 60.0)
    return min(2.0**attempt, 20.0) * random.uniform(0.25, 0.5)
