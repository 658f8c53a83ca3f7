# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All simulated clusters behind one path prefix: who may ask, the call log, faults."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from werkzeug.wrappers import Request, Response

from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.container_logs import ContainerLogs
from tests.sandbox.ecs_runtime import Outcome
from tests.sandbox.kube.access import User
from tests.sandbox.kube.cluster import Cluster
from tests.sandbox.kube.errors import KubeError
from tests.sandbox.kube.gateway import BalancerHost, find_balancer
from tests.sandbox.kube.pools import ClusterSettings, NodePool
from tests.sandbox.kube.requests import KubeRequest
from tests.sandbox.state import STATE_LOCK


class KubeApplication:
    """Answers requests below `PREFIX`. Werkzeug request in, Werkzeug response out.

    Wiring: route paths that start with `PREFIX` here, and give the object to ``NimStub``, so that the
    proxy finds the load balancers.
    """

    #: A cluster's API is below ``/clusters/ID``.
    PREFIX = "/clusters/"

    def __init__(self, calls: CallLog, interferences: Interferences) -> None:
        self._calls = calls
        self._interferences = interferences
        self._clusters: dict[str, Cluster] = {}
        self._outcomes: dict[str, Outcome] = {}
        self.logs = ContainerLogs()

    # -- what the simulated clouds and the control API call -----------------------------------------------------------

    def create_cluster(
        self,
        cluster_id: str,
        *,
        version: str = "1.36",
        pools: Callable[[], Sequence[NodePool]],
        authorize: Callable[[str | None], bool],
        internal_annotation: tuple[str, str],
        network_policy: bool = True,
        identify: Callable[[str], User | None] = lambda _token: None,
    ) -> None:
        """Make an empty cluster that runs. ``pools`` is asked on each request. Raises ValueError.

        ``authorize`` says whether a bearer token is good here; it is asked with None for a request without one.
        ``identify`` says whose it is; with None they may do everything, otherwise what Roles and RoleBindings allow.
        """
        if not cluster_id or "/" in cluster_id:
            raise ValueError(f"cluster_id must be one part of a path, got {cluster_id!r}")
        if cluster_id in self._clusters:
            raise ValueError(f"there is a cluster {cluster_id!r} already")
        settings = ClusterSettings(cluster_id, version, pools, authorize, internal_annotation, network_policy, identify)
        with STATE_LOCK:
            self._clusters[cluster_id] = Cluster(settings, len(self._clusters), self.outcome_of)

    def delete_cluster(self, cluster_id: str) -> None:
        """Forget a cluster and all in it. Nothing happens if it is not there."""
        with STATE_LOCK:
            self._clusters.pop(cluster_id, None)

    def set_running(self, cluster_id: str, running: bool) -> None:
        """Stop or start a cluster. While it is stopped nothing of it answers; its objects are kept. Raises KeyError."""
        with STATE_LOCK:
            self._clusters[cluster_id].set_running(running)

    def outcome(
        self,
        deployment: str,
        outcome: str = "ready",
        delay_seconds: float | None = None,
        log_lines: list[str] | None = None,
    ) -> None:
        """Say what becomes of the pods of the Deployments of this name, in every cluster. Raises ValueError."""
        self.set_outcome(deployment, Outcome.from_json(outcome, delay_seconds, log_lines))

    def set_outcome(self, deployment: str, outcome: Outcome) -> None:
        """Do the same with an outcome that was read already."""
        with STATE_LOCK:
            self._outcomes[deployment] = outcome

    def outcome_of(self, deployment: str) -> Outcome:
        """Return what shall become of the pods of a Deployment."""
        return self._outcomes.get(deployment, Outcome())

    def resources(self, cluster_id: str | None = None) -> dict[str, Any]:
        """Return ``{"kube": {CLUSTER: {KIND: [NAMESPACE/NAME, ...]}}}``, of one cluster or all.

        What every cluster has by itself (kube-system, machines, default service accounts) is left out.
        """
        with STATE_LOCK:
            self.advance()
            chosen = [cluster_id] if cluster_id is not None else sorted(self._clusters)
            return {"kube": {key: self._clusters[key].resources() for key in chosen if key in self._clusters}}

    def reset(self) -> None:
        """Forget all clusters and outcomes."""
        with STATE_LOCK:
            self._clusters.clear()
            self._outcomes.clear()
            self.logs.reset()

    def advance(self) -> None:
        """Let everything happen that is due by now."""
        with STATE_LOCK:
            for cluster in self._clusters.values():
                cluster.advance()

    # -- load balancers, for the proxy --------------------------------------------------------------------------------

    def host(self, name: str) -> BalancerHost | None:
        """Return the load balancer with this IP address; None if no running cluster has one. Needs STATE_LOCK held."""
        self.advance()
        running = [cluster for cluster in self._clusters.values() if cluster.running]
        return find_balancer(running, name, self.logs)

    # -- HTTP ---------------------------------------------------------------------------------------------------------

    def __call__(self, request: Request) -> Response:
        """Log, delay, perhaps fail, else let the cluster answer."""
        cluster_id, _slash, rest = request.path[len(self.PREFIX) :].partition("/")
        kube = KubeRequest.read(request, cluster_id, f"/{rest}")
        call = self._calls.start(
            service="kube",
            action=kube.action,
            region=cluster_id,
            method=request.method,
            path=request.full_path.rstrip("?"),
            params=kube.query,
            body=kube.body_text,
        )
        try:
            response = self._answer_or_fault(kube)
        except KubeError as error:
            call.refused = error.refused
            response = json_response(error.status(), error.code)
        call.status = response.status_code
        return response

    def _answer_or_fault(self, kube: KubeRequest) -> Response:
        self._fault(kube, "before")
        response = self._answer(kube)
        self._fault(kube, "after")
        return response

    def _fault(self, kube: KubeRequest, when: str) -> None:
        fault = self._interferences.apply("kube", kube.action, kube.body_text, when)
        if fault is not None:
            raise KubeError(fault.status, fault.code or "", fault.message)

    def _answer(self, kube: KubeRequest) -> Response:
        with STATE_LOCK:
            cluster = self._clusters.get(kube.cluster_id)
            if cluster is None or not cluster.running:
                # A real one is not even there: its name is gone, or nobody listens.
                return Response("The cluster does not exist or is stopped\n", status=502, content_type="text/plain")
            user = _log_in(cluster, kube)
            cluster.advance()
            answer = cluster.answer(kube, user)
        if answer.stream is not None:
            return Response(_lines(answer.stream), status=200, content_type="application/json")
        if answer.text is not None:
            return Response(answer.text, status=answer.status, content_type="text/plain")
        response = json_response(answer.body, answer.status)
        for warning in answer.warnings:
            response.headers.add("Warning", f'299 - "{warning}"')
        return response


def _log_in(cluster: Cluster, kube: KubeRequest) -> User | None:
    if not cluster.settings.authorize(kube.token):
        if kube.token is None:
            raise kube.anonymous_error
        raise KubeError(401, "Unauthorized", "Unauthorized")
    return cluster.settings.identify(kube.token or "")


def _lines(stream: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    # The answer begins at once, also where nothing has happened yet.
    yield b""
    for event in stream:
        yield json.dumps(event).encode() + b"\n"


def json_response(body: Any, status: int) -> Response:
    """Return an answer with a JSON body."""
    return Response(json.dumps(body), status=status, content_type="application/json")
