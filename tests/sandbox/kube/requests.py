# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a request of the Kubernetes API: which verb on which object, and its options."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import yaml
from werkzeug.wrappers import Request

from tests.sandbox.kube.errors import KubeError, bad_request, not_simulated
from tests.sandbox.kube.kinds import BY_ROUTE, Kind

APPLY_PATCH = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
JSON = "application/json"
BODY_TYPES = (APPLY_PATCH, JSON, MERGE_PATCH, STRATEGIC_PATCH)

#: Options by verb. A real server ignores others; here they are refused, for they are likely mistyped.
READ_OPTIONS = frozenset(("pretty", "timeout"))
LIST_OPTIONS = frozenset(
    (
        "allowWatchBookmarks",
        "continue",
        "fieldSelector",
        "labelSelector",
        "limit",
        "resourceVersion",
        "resourceVersionMatch",
        "timeoutSeconds",
        "watch",
    )
)
WRITE_OPTIONS = frozenset(("dryRun", "fieldManager", "fieldValidation"))
OPTIONS = {
    "get": READ_OPTIONS,
    "list": READ_OPTIONS | LIST_OPTIONS,
    "watch": READ_OPTIONS | LIST_OPTIONS,
    "create": READ_OPTIONS | WRITE_OPTIONS,
    "update": READ_OPTIONS | WRITE_OPTIONS,
    "patch": READ_OPTIONS | WRITE_OPTIONS | {"force"},
    "apply": READ_OPTIONS | WRITE_OPTIONS | {"force"},
    "delete": READ_OPTIONS | {"dryRun", "gracePeriodSeconds", "propagationPolicy"},
}
LOG_OPTIONS = READ_OPTIONS | {"container", "limitBytes", "previous", "tailLines", "timestamps"}


@dataclass(frozen=True)
class KubeRequest:
    """One request. Without a kind it is no request for objects."""

    cluster_id: str
    method: str
    #: Below the cluster, such as ``/api/v1/namespaces``.
    path: str
    query: dict[str, str]
    body_text: str
    content_type: str
    accept: str
    user_agent: str
    token: str | None
    kind: Kind | None
    namespace: str | None
    name: str | None
    subresource: str
    #: Such as ``list``; the method in lower case where it is no request for objects.
    verb: str

    @classmethod
    def read(cls, request: Request, cluster_id: str, path: str) -> KubeRequest:
        """Read a request. Whatever it asks for is checked later."""
        kind, namespace, name, subresource = _target(path)
        query = request.args.to_dict()
        content_type = request.headers.get("Content-Type", "").partition(";")[0].strip()
        scheme, _space, token = request.headers.get("Authorization", "").partition(" ")
        return cls(
            cluster_id=cluster_id,
            method=request.method,
            path=path,
            query=query,
            body_text=request.get_data(as_text=True),
            content_type=content_type,
            accept=request.headers.get("Accept", ""),
            user_agent=request.headers.get("User-Agent", ""),
            token=token if scheme.lower() == "bearer" and token else None,
            kind=kind,
            namespace=namespace,
            name=name,
            subresource=subresource,
            verb=_verb(request.method, kind, name, content_type, query),
        )

    @property
    def action(self) -> str:
        """How the call log names this: ``apply deployments``, ``patch deployments/scale``, ``GET /version``."""
        if self.kind is None:
            return f"{self.method} {self.path}"
        below = f"/{self.subresource}" if self.subresource else ""
        return f"{self.verb} {self.kind.plural}{below}"

    @property
    def anonymous_error(self) -> KubeError:
        """Return what somebody without a token is told: the request is tried in the name of nobody."""
        return self.forbidden("system:anonymous", "patch" if self.verb == "apply" else self.verb)

    def forbidden(self, user: str, verb: str) -> KubeError:
        """Return what a user is told who may not do this."""
        who = f'User "{user}" cannot'
        if self.kind is None:
            return KubeError(403, "Forbidden", f'forbidden: {who} {verb} path "{self.path}"')
        below = f"/{self.subresource}" if self.subresource else ""
        what = f'resource "{self.kind.plural}{below}" in API group "{self.kind.group}"'
        where = f' in the namespace "{self.namespace}"' if self.namespace else " at the cluster scope"
        name = f' "{self.name}"' if self.name else ""
        return KubeError(403, "Forbidden", f"{self.kind.resource}{name} is forbidden: {who} {verb} {what}{where}")

    @property
    def is_dry_run(self) -> bool:
        """Whether nothing may be kept."""
        return self._dry_run == "All"

    @property
    def _dry_run(self) -> str:
        return str(self.query.get("dryRun") or _first(self.delete_options().get("dryRun")) or "")

    @property
    def manager(self) -> str:
        """Who is noted as the owner of fields: what the client says, else how its user agent begins."""
        return self.query.get("fieldManager") or self.user_agent.partition("/")[0][:128] or "unknown"

    def wants(self, form: str) -> bool:
        """Whether the client asks for a form of answer such as ``PartialObjectMetadataList``, and nothing before it."""
        first = self.accept.partition(",")[0]
        words = {part.strip() for part in first.split(";")[1:]}
        return f"as={form}" in words and "g=meta.k8s.io" in words and "v=v1" in words

    def check_options(self) -> None:
        """Raise KubeError for options that this verb does not have, or that have no such value."""
        known = LOG_OPTIONS if self.subresource == "log" else OPTIONS.get(self.verb, READ_OPTIONS)
        unknown = sorted(set(self.query) - known)
        if unknown:
            raise not_simulated(f"the option {unknown[0]} of {self.action}")
        validation = self.query.get("fieldValidation", "")
        if validation not in ("", "Ignore", "Warn", "Strict"):
            choices = 'supported values: "Ignore", "Strict", "Warn"'
            raise KubeError(422, "Invalid", f'fieldValidation: Unsupported value: "{validation}": {choices}')
        if self._dry_run not in ("", "All"):
            raise KubeError(422, "Invalid", f'dryRun: Unsupported value: "{self._dry_run}": supported values: "All"')

    def delete_options(self) -> dict[str, Any]:
        """Return the body of a DELETE; empty for anything else."""
        return self.body() if self.verb == "delete" and self.body_text else {}

    def body(self) -> dict[str, Any]:
        """Return the body as an object. Raises KubeError."""
        if self.content_type not in BODY_TYPES:
            text = f"the body of the request was in an unknown format - accepted media types include: {JSON}"
            raise KubeError(415, "UnsupportedMediaType", text)
        try:
            value = _yaml(self.body_text) if self.content_type == APPLY_PATCH else json.loads(self.body_text)
        except (ValueError, yaml.YAMLError) as error:
            kind = "YAML" if self.content_type == APPLY_PATCH else "JSON"
            raise bad_request(f"error decoding {kind}: {error}") from error
        if not isinstance(value, dict):
            raise bad_request("the body must be an object")
        return value


def _first(value: object) -> Any:
    return value[0] if isinstance(value, list) and value else None


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: a date is a text."""


_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _yaml(text: str) -> Any:
    try:
        # Most clients send JSON, which is YAML too.
        return json.loads(text)
    except ValueError:
        return _Loader(text).get_single_data()


def _target(path: str) -> tuple[Kind | None, str | None, str | None, str]:
    """Return kind, namespace, name and subresource of a path; no kind if it leads to no object."""
    nothing = (None, None, None, "")
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if parts[0] == "api" and len(parts) > 2:
        api_version, rest = parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        api_version, rest = f"{parts[1]}/{parts[2]}", parts[3:]
    else:
        return nothing
    namespace = None
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    kind = BY_ROUTE.get((api_version, rest[0]))
    if kind is None or len(rest) > 3:
        return nothing
    name = rest[1] if len(rest) > 1 else None
    subresource = rest[2] if len(rest) > 2 else ""
    fits = kind.namespaced if namespace is not None else (not kind.namespaced or name is None)
    if not fits or (subresource and subresource not in kind.subresources):
        return nothing
    return kind, namespace, name, subresource


def _verb(method: str, kind: Kind | None, name: str | None, content_type: str, query: dict[str, str]) -> str:
    if kind is None:
        return method.lower()
    if method == "GET" and name is None:
        return "watch" if query.get("watch") in ("true", "1") else "list"
    if method == "PATCH" and content_type == APPLY_PATCH:
        return "apply"
    if method == "DELETE" and name is None:
        return "deletecollection"
    verbs = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
    return verbs.get(method, method.lower())
