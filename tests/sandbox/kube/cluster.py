# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One cluster: its objects, its API, and what goes on in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.sandbox.ecs_runtime import Outcome
from tests.sandbox.kube.access import User, check_access, may
from tests.sandbox.kube.addresses import Addresses
from tests.sandbox.kube.discovery import answer_discovery
from tests.sandbox.kube.errors import KubeError, bad_request, no_such_route, not_simulated
from tests.sandbox.kube.kinds import KINDS, Kind
from tests.sandbox.kube.pods import read_log
from tests.sandbox.kube.pools import ClusterSettings
from tests.sandbox.kube.requests import KubeRequest
from tests.sandbox.kube.runtime import Runtime
from tests.sandbox.kube.schema import schemas
from tests.sandbox.kube.store import Change, ObjectStore, key_of
from tests.sandbox.kube.verbs import Answer, Verbs, selected
from tests.sandbox.kube.watching import watch

SYSTEM_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
#: What each namespace has from the start.
ROOT_CA = "kube-root-ca.crt"


class Cluster:
    """A cluster that runs or is stopped. Needs STATE_LOCK held."""

    def __init__(self, settings: ClusterSettings, number: int, outcome_of: Callable[[str], Outcome]) -> None:
        """Make an empty one. Raises ValueError for a version whose schemas are not there."""
        self.settings = settings
        self.running = True
        self.store = ObjectStore()
        addresses = Addresses(number)
        self._schemas = schemas(settings.version)
        self.runtime = Runtime(settings, self.store, addresses, outcome_of)
        self._verbs = Verbs(self.store, self._schemas, addresses, self.runtime.begin_deletion)
        for name in SYSTEM_NAMESPACES:
            self.store.make(
                "Namespace",
                name,
                metadata={"labels": {"kubernetes.io/metadata.name": name}},
                spec={"finalizers": ["kubernetes"]},
                status={"phase": "Active"},
            )

    def set_running(self, running: bool) -> None:
        """Stop the cluster, with all its machines, or start it."""
        if self.running and not running:
            self.runtime.stop()
        self.running = running

    def advance(self) -> None:
        """Let everything happen that is due by now."""
        if not self.running:
            return
        for namespace in self.store.all("Namespace"):
            self._furnish(namespace)
        self.runtime.advance()

    def _furnish(self, namespace: dict[str, Any]) -> None:
        """Make what controllers put into every namespace."""
        name = namespace["metadata"]["name"]
        if "deletionTimestamp" in namespace["metadata"]:
            return
        if self.store.get("ServiceAccount", name, "default") is None:
            self.store.make("ServiceAccount", "default", name)
        if self.store.get("ConfigMap", name, ROOT_CA) is None:
            self.store.make("ConfigMap", ROOT_CA, name, data={"ca.crt": "The cluster's own certificate authority"})

    def resources(self) -> dict[str, list[str]]:
        """Return ``NAMESPACE/NAME`` of what somebody made, by kind."""
        found: dict[str, list[str]] = {}
        for kind in KINDS:
            if kind.name in ("Event", "Node"):
                continue
            for item in self.store.all(kind.name):
                _kind, namespace, name = key_of(item)
                if name in (*SYSTEM_NAMESPACES, ROOT_CA) and kind.name in ("ConfigMap", "Namespace", "ServiceAccount"):
                    continue
                found.setdefault(kind.name, []).append(f"{namespace}/{name}" if namespace else name)
        return found

    # -- requests ----------------------------------------------------------------------------------------------------

    def answer(self, request: KubeRequest, user: User | None = None) -> Answer:
        """Answer a request. Raises KubeError. ``user`` is whose rights are those of Roles; None may do everything."""
        if user is not None:
            check_access(self.store, user, request)
        kind = request.kind
        if kind is None:
            return answer_discovery(
                request, self.settings.version, lambda spec: user is None or may(self.store, user, spec)
            )
        request.check_options()
        if request.subresource:
            return self._answer_subresource(request, kind)
        verbs: dict[str, Callable[[KubeRequest, Kind], Answer]] = {
            "get": self._verbs.get,
            "list": self._verbs.list_items,
            "watch": self._watch,
            "create": self._verbs.create,
            "update": self._verbs.update,
            "patch": self._verbs.patch,
            "apply": self._verbs.apply,
            "delete": self._verbs.delete,
        }
        allowed = kind.verbs if request.verb != "apply" else (*kind.verbs, "apply" if "patch" in kind.verbs else "")
        if request.verb == "deletecollection":
            raise not_simulated(f"the deletion of all {kind.plural}")
        if request.verb not in allowed or request.verb not in verbs:
            raise KubeError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        return verbs[request.verb](request, kind)

    def _answer_subresource(self, request: KubeRequest, kind: Kind) -> Answer:
        if request.subresource == "log" and request.method == "GET":
            return self._log(request)
        if request.subresource == "scale" and request.method == "GET":
            return self._verbs.get_scale(request, kind)
        if request.subresource == "scale" and request.method in ("PATCH", "PUT"):
            return self._verbs.set_scale(request, kind)
        raise no_such_route()

    def _log(self, request: KubeRequest) -> Answer:
        pod = self._verbs.get(request, _kind("Pod")).body
        life = self.runtime.life(pod["metadata"]["namespace"], pod["metadata"]["name"])
        previous = request.query.get("previous") in ("true", "True", "1")
        lines = read_log(life, pod, container=request.query.get("container"), previous=previous)
        tail = request.query.get("tailLines")
        if tail is not None:
            if not tail.isdigit():
                raise bad_request(f'strconv.ParseInt: parsing "{tail}": invalid syntax')
            lines = lines[len(lines) - int(tail) :] if int(tail) < len(lines) else lines
        return Answer(text="".join(f"{line}\n" for line in lines))

    def _watch(self, request: KubeRequest, kind: Kind) -> Answer:
        def is_meant(change: Change) -> bool:
            item = change.item
            namespace = item["metadata"].get("namespace")
            here = request.namespace in (None, namespace)
            return item["kind"] == kind.name and here and selected(request, kind, item)

        changes: Iterator[dict[str, Any]] = watch(self.store, request, kind, is_meant, self.advance)
        return Answer(stream=changes)


def _kind(name: str) -> Kind:
    return next(kind for kind in KINDS if kind.name == name)
