# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may do what in a cluster, by the Roles and RoleBindings that are stored in it.

Only those whom the cloud says a name of are held to it; a deployer's token has no name here and may do everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.sandbox.kube.discovery import ACCESS_REVIEW, HEALTH, OPENAPI
from tests.sandbox.kube.requests import KubeRequest
from tests.sandbox.kube.store import ObjectStore

AUTHENTICATED = "system:authenticated"
#: Paths that are open to everybody who has logged in, by the roles system:discovery and system:basic-user.
OPEN_PATHS = ("/api", "/apis", "/version", OPENAPI, *HEALTH)
ANY = "*"


@dataclass(frozen=True)
class User:
    """Somebody who has logged in, as the cluster calls them."""

    name: str
    groups: tuple[str, ...] = (AUTHENTICATED,)


def is_allowed(
    state: ObjectStore,
    user: str,
    groups: Sequence[str],
    verb: str,
    group: str,
    resource: str,
    namespace: str | None,
    name: str | None,
) -> bool:
    """Whether a Role that is bound to a user or to one of their groups allows a verb on a resource.

    ``resource`` may name a subresource, such as ``deployments/scale``; ``name`` is None where no object is named.
    There are no ClusterRoles, so nobody may do anything outside of namespaces, or in all of them at once.
    """
    if not namespace:
        return False
    rules = _rules(state, user, groups, namespace)
    return any(_covers(rule, verb, group, resource, name) for rule in rules)


def check_access(state: ObjectStore, user: User, request: KubeRequest) -> None:
    """Raise KubeError with 403 for a request that this user may not make."""
    kind = request.kind
    if kind is None:
        path = request.path.rstrip("/")
        asks_for_self = request.method == "POST" and path == ACCESS_REVIEW
        is_open = any(path == start or path.startswith(f"{start}/") for start in OPEN_PATHS)
        if asks_for_self or (request.method == "GET" and is_open):
            return
        raise request.forbidden(user.name, request.verb)
    resource = f"{kind.plural}/{request.subresource}" if request.subresource else kind.plural
    for verb in _verbs(state, request):
        if not is_allowed(state, user.name, user.groups, verb, kind.group, resource, request.namespace, request.name):
            raise request.forbidden(user.name, verb)


def may(state: ObjectStore, user: User, spec: dict[str, Any]) -> bool:
    """Answer the ``spec`` of a SelfSubjectAccessReview."""
    asked = spec.get("resourceAttributes")
    if asked is None:
        return str(spec["nonResourceAttributes"].get("path", "")) in OPEN_PATHS
    below = asked.get("subresource")
    return is_allowed(
        state,
        user.name,
        user.groups,
        asked.get("verb", ""),
        asked.get("group", ""),
        f"{asked.get('resource')}/{below}" if below else str(asked.get("resource")),
        asked.get("namespace"),
        asked.get("name") or None,
    )


def _verbs(state: ObjectStore, request: KubeRequest) -> Iterator[str]:
    """Yield what has to be allowed: an apply is a patch, and makes what is not there yet."""
    if request.verb != "apply":
        yield request.verb
        return
    yield "patch"
    kind = request.kind
    if kind is not None and state.get(kind.name, request.namespace, request.name or "") is None:
        yield "create"


def _rules(state: ObjectStore, user: str, groups: Sequence[str], namespace: str) -> Iterator[dict[str, Any]]:
    for binding in state.all("RoleBinding", namespace):
        reference = binding["roleRef"]
        subjects = binding.get("subjects") or []
        if reference["kind"] != "Role" or not any(_is_meant(subject, user, groups) for subject in subjects):
            continue
        role = state.get("Role", namespace, reference["name"])
        if role is not None:
            yield from role.get("rules") or []


def _is_meant(subject: dict[str, Any], user: str, groups: Sequence[str]) -> bool:
    if subject["kind"] == "Group":
        return subject["name"] in groups
    if subject["kind"] == "ServiceAccount":
        return user == f"system:serviceaccount:{subject.get('namespace')}:{subject['name']}"
    return bool(subject["name"] == user)


def _covers(rule: dict[str, Any], verb: str, group: str, resource: str, name: str | None) -> bool:
    """Compare as Kubernetes does: a rule for a resource says nothing about its subresources."""
    subresource = resource.partition("/")[2]
    resources = rule.get("resources") or []
    fits = ANY in resources or resource in resources or (bool(subresource) and f"{ANY}/{subresource}" in resources)
    names = rule.get("resourceNames") or []
    return (
        _among(verb, rule.get("verbs"))
        and _among(group, rule.get("apiGroups"))
        and fits
        and (not names or name in names)
    )


def _among(value: str, allowed: Sequence[str] | None) -> bool:
    return allowed is not None and (ANY in allowed or value in allowed)
