# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Roles and RoleBindings allow in a simulated cluster."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.kube.access import AUTHENTICATED, User, is_allowed, may
from tests.sandbox.kube.store import ObjectStore

SCALE, GET = ("patch", "apps", "deployments/scale"), ("get", "apps", "deployments")
RULES = [
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]},
    {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["patch"]},
]


def store(
    subjects: list[dict[str, Any]] | None, rules: list[dict[str, Any]] | None = None, role: str = "artists"
) -> ObjectStore:
    """Return a cluster with one Role in the namespace nims, bound to somebody."""
    state = ObjectStore()
    state.make("Role", "artists", "nims", rules=RULES if rules is None else rules)
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role}
    content = {} if subjects is None else {"subjects": subjects}
    state.make("RoleBinding", "ws-01", "nims", roleRef=reference, **content)
    return state


def ask(state: ObjectStore, what: tuple[str, str, str], namespace: str | None = "nims", name: str | None = "a") -> bool:
    return is_allowed(state, "artist", (AUTHENTICATED, "g-1"), *what, namespace, name)


ARTIST = {"kind": "User", "name": "artist"}


def test_a_bound_user_may_do_what_the_role_says_and_no_more() -> None:
    state = store([ARTIST])
    assert ask(state, GET)
    assert ask(state, SCALE)
    for what in (
        ("patch", "apps", "deployments"),
        ("update", "apps", "deployments/scale"),
        ("get", "apps", "deployments/scale"),
        ("list", "apps", "deployments"),
        ("get", "", "deployments"),
        ("get", "", "secrets"),
    ):
        assert not ask(state, what), what
    assert not ask(state, GET, namespace="other")
    assert not ask(state, GET, namespace=None)


@pytest.mark.parametrize(
    ("subject", "allowed"),
    [
        pytest.param({"kind": "User", "name": "somebody"}, False, id="other-user"),
        pytest.param({"kind": "Group", "name": "g-1"}, True, id="group"),
        pytest.param({"kind": "Group", "name": "artist"}, False, id="group-of-the-same-name"),
        pytest.param({"kind": "ServiceAccount", "name": "artist", "namespace": "nims"}, False, id="account"),
    ],
)
def test_subjects_are_told_apart_by_their_kind(subject: dict[str, Any], allowed: bool) -> None:
    assert ask(store([subject]), SCALE) is allowed


def test_a_binding_without_subjects_or_role_gives_nothing() -> None:
    assert not ask(store(None), GET)
    assert not ask(store([ARTIST], role="gone"), GET)


def test_stars_and_names_in_rules() -> None:
    everything = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    assert ask(store([ARTIST], [everything]), ("delete", "", "secrets"))
    scales = {"apiGroups": ["apps"], "resources": ["*/scale"], "verbs": ["patch"]}
    assert ask(store([ARTIST], [scales]), SCALE)
    assert not ask(store([ARTIST], [scales]), ("patch", "apps", "deployments"))
    named = {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "create"], "resourceNames": ["a"]}
    assert ask(store([ARTIST], [named]), GET)
    assert not ask(store([ARTIST], [named]), GET, name="b")
    assert not ask(store([ARTIST], [named]), ("create", "apps", "deployments"), name=None)


def test_a_review_answers_the_same() -> None:
    state, artist = store([ARTIST]), User("artist")
    scale = {"namespace": "nims", "verb": "patch", "group": "apps", "resource": "deployments", "subresource": "scale"}
    assert may(state, artist, {"resourceAttributes": scale})
    assert not may(state, artist, {"resourceAttributes": {**scale, "subresource": ""}})
    assert may(state, artist, {"nonResourceAttributes": {"path": "/version", "verb": "get"}})
    assert not may(state, artist, {"nonResourceAttributes": {"path": "/metrics", "verb": "get"}})
