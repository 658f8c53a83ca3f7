# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API server says about itself: versions, groups, resources, health, and who may do what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.sandbox.kube.errors import bad_request, no_such_route
from tests.sandbox.kube.kinds import KINDS, Kind
from tests.sandbox.kube.requests import KubeRequest
from tests.sandbox.kube.verbs import Answer

ACCESS_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
OPENAPI = "/openapi/v3"
HEALTH = ("/healthz", "/livez", "/readyz")


def answer_discovery(request: KubeRequest, version: str, may: Callable[[dict[str, Any]], bool]) -> Answer:
    """Answer a request that is about no object. Raises KubeError for a path that is not there.

    ``may`` says of the ``spec`` of a SelfSubjectAccessReview whether whoever asks may do that.
    """
    path = request.path.rstrip("/")
    if request.method == "POST" and path == ACCESS_REVIEW:
        return _access_review(request, may)
    if request.method != "GET":
        raise no_such_route()
    if path in HEALTH:
        return Answer(text="ok")
    pages: dict[str, Any] = {"/version": _version(version), "/api": _versions(), "/apis": _groups()}
    for api_version in {kind.api_version for kind in KINDS}:
        prefix = "/apis" if "/" in api_version else "/api"
        pages[f"{prefix}/{api_version}"] = _resources(api_version)
        pages[f"{OPENAPI}{prefix}/{api_version}"] = _openapi(api_version, prefix)
    pages[OPENAPI] = {
        "paths": {
            page.removeprefix(f"{OPENAPI}/"): {"serverRelativeURL": f"/clusters/{request.cluster_id}{page}"}
            for page in pages
            if page.startswith(OPENAPI)
        }
    }
    if path not in pages:
        raise no_such_route()
    return Answer(body=pages[path])


def _version(version: str) -> dict[str, Any]:
    major, _dot, minor = version.partition(".")
    return {"major": major, "minor": minor, "gitVersion": f"v{version}.0", "platform": "linux/amd64"}


def _versions() -> dict[str, Any]:
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def _groups() -> dict[str, Any]:
    groups = []
    for group in sorted({kind.group for kind in KINDS if kind.group}):
        version = {"groupVersion": f"{group}/v1", "version": "v1"}
        groups.append({"name": group, "versions": [version], "preferredVersion": version})
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def _resources(api_version: str) -> dict[str, Any]:
    resources = [entry for kind in KINDS if kind.api_version == api_version for entry in _entries(kind)]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": resources}


def _entries(kind: Kind) -> list[dict[str, Any]]:
    common = {"singularName": "", "namespaced": kind.namespaced}
    entry = {
        **common,
        "name": kind.plural,
        "singularName": kind.name.lower(),
        "kind": kind.name,
        "verbs": list(kind.verbs),
        "shortNames": list(kind.short_names),
    }
    entries = [entry]
    for name in kind.subresources:
        below = {**common, "name": f"{kind.plural}/{name}", "kind": kind.name, "verbs": ["get"]}
        if name == "scale":
            below |= {"group": "autoscaling", "version": "v1", "kind": "Scale", "verbs": ["get", "patch", "update"]}
        entries.append(below)
    return entries


def _openapi(api_version: str, prefix: str) -> dict[str, Any]:
    """Return only that objects can be patched with a check of their fields, which kubectl wants to know first."""
    paths: dict[str, Any] = {}
    for kind in KINDS:
        if kind.api_version == api_version and "patch" in kind.verbs:
            place = "/namespaces/{namespace}" if kind.namespaced else ""
            paths[f"{prefix}/{api_version}{place}/{kind.plural}/{{name}}"] = {
                "patch": {
                    "x-kubernetes-group-version-kind": {
                        "group": kind.group,
                        "version": kind.version,
                        "kind": kind.name,
                    },
                    "parameters": [{"name": name, "in": "query"} for name in ("dryRun", "fieldValidation")],
                }
            }
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": api_version}, "paths": paths}


def _access_review(request: KubeRequest, may: Callable[[dict[str, Any]], bool]) -> Answer:
    body = request.body()
    spec = body.get("spec")
    if not isinstance(spec, dict) or not ({"resourceAttributes", "nonResourceAttributes"} & set(spec)):
        raise bad_request("spec.resourceAttributes or spec.nonResourceAttributes is required")
    review = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}}
    return Answer(201, {**review, "spec": spec, "status": {"allowed": may(spec)}})
