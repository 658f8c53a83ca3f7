# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control API under ``/_sandbox/``: how tests look at the sandbox and steer it. JSON in, JSON out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from werkzeug.wrappers import Request, Response

from tests.sandbox.calls import CallLog, Interference, Interferences
from tests.sandbox.clouds import Clouds
from tests.sandbox.ecs_runtime import Outcome
from tests.sandbox.nim_stub import NimStub
from tests.sandbox.state import DEFAULTS, seconds

PREFIX = "/_sandbox/"


class ControlApi:
    """Answers requests under `PREFIX`."""

    def __init__(self, calls: CallLog, interferences: Interferences, nim_stub: NimStub, clouds: Clouds) -> None:
        self._calls = calls
        self._interferences = interferences
        self._nim_stub = nim_stub
        self._clouds = clouds
        self._start_defaults = asdict(DEFAULTS)
        self._routes: dict[tuple[str, str], Callable[[dict[str, Any]], Any]] = {
            ("GET", "ready"): lambda _body: {"ready": True},
            ("GET", "calls"): lambda _body: calls.as_list(),
            ("DELETE", "calls"): self._clear_calls,
            ("GET", "resources"): lambda _body: clouds.resources(),
            ("GET", "faults"): lambda _body: interferences.as_list(),
            ("DELETE", "faults"): self._clear_faults,
            ("POST", "fault"): self._add_fault,
            ("POST", "hook"): self._add_hook,
            ("POST", "nim"): self._set_outcome,
            ("POST", "dns"): self._add_alias,
            ("POST", "quota"): self._set_quota,
            ("POST", "image"): self._add_image,
            ("POST", "azure_permissions"): self._set_azure_permissions,
            ("POST", "container_log"): self._add_container_lines,
            ("POST", "gpu_metrics"): self._change_gpu_metrics,
            ("POST", "bill"): self._change_bill,
            ("GET", "defaults"): lambda _body: asdict(DEFAULTS),
            ("POST", "defaults"): self._change_defaults,
            ("POST", "reset"): self._reset,
        }

    def __call__(self, request: Request) -> Response:
        """Answer 200 with JSON, 404 for a route that is not there, 400 with ``error`` for a bad body."""
        name = request.path[len(PREFIX) :]
        route = self._routes.get((request.method, name))
        if route is None:
            known = sorted(f"{method} {PREFIX}{path}" for method, path in self._routes)
            return _json({"error": f"no such route {request.method} {request.path}", "routes": known}, 404)
        text = request.get_data(as_text=True)
        try:
            return _json(route(_json_object(text)), 200)
        except ValueError as error:
            return _json({"error": str(error)}, 400)

    def _clear_calls(self, _body: dict[str, Any]) -> dict[str, Any]:
        self._calls.clear()
        return {}

    def _clear_faults(self, _body: dict[str, Any]) -> dict[str, Any]:
        self._interferences.clear()
        return {}

    def _add_fault(self, body: dict[str, Any]) -> dict[str, Any]:
        if not body.get("code"):
            raise ValueError("a fault needs a code, such as ThrottlingException; for a mere delay use hook")
        self._interferences.add(Interference.from_json(body))
        return {}

    def _add_hook(self, body: dict[str, Any]) -> dict[str, Any]:
        for name in ("code", "message", "status"):
            if name in body:
                raise ValueError(f"a hook only delays, {name} belongs to fault")
        if "delay_seconds" not in body:
            raise ValueError("a hook needs delay_seconds")
        self._interferences.add(Interference.from_json(body))
        return {}

    def _set_outcome(self, body: dict[str, Any]) -> dict[str, Any]:
        unknown = set(body) - {"deployment", "outcome", "delay_seconds", "log_lines"}
        if unknown:
            raise ValueError(f"unknown field {sorted(unknown)[0]!r}")
        deployment = body.get("deployment")
        if not isinstance(deployment, str) or not deployment:
            raise ValueError("deployment must be the name of an ECS service or a Kubernetes Deployment")
        outcome = Outcome.from_json(body.get("outcome", "ready"), body.get("delay_seconds"), body.get("log_lines"))
        self._clouds.set_outcome(deployment, outcome)
        return {}

    def _add_alias(self, body: dict[str, Any]) -> dict[str, Any]:
        self._nim_stub.add_alias(body.get("host"), body.get("target"))
        return {}

    def _set_quota(self, body: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(set(body) - {"cloud", "region", "name", "limit"})
        if unknown:
            raise ValueError(f"unknown field {unknown[0]!r}")
        limit = body.get("limit")
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
            raise ValueError(f"limit must be a whole number from 0, got {limit!r}")
        self._clouds.set_quota(str(body.get("cloud")), str(body.get("region")), str(body.get("name")), limit)
        return {}

    def _add_image(self, body: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(set(body) - {"repository", "tag"})
        if unknown:
            raise ValueError(f"unknown field {unknown[0]!r}")
        for name in ("repository", "tag"):
            if not isinstance(body.get(name), str) or not body[name]:
                raise ValueError(f"{name} must be a text, such as flux.1-dev for a repository and 1.2.3 for a tag")
        self._clouds.add_image(body["repository"], body["tag"])
        return {}

    def _set_azure_permissions(self, body: dict[str, Any]) -> dict[str, Any]:
        entries = body.get("entries")
        if set(body) != {"entries"} or not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            raise ValueError("the body must be entries, a list of objects with actions, notActions and the like")
        self._clouds.set_azure_permissions(entries)
        return {}

    def _add_container_lines(self, body: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(set(body) - {"cloud", "lines", "namespace", "container", "delay_seconds"})
        if unknown:
            raise ValueError(f"unknown field {unknown[0]!r}")
        lines = body.get("lines")
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            raise ValueError("lines must be a list of texts")
        self._clouds.add_container_lines(
            str(body.get("cloud")),
            str(body.get("namespace", "budgetguard")),
            str(body.get("container", "gateway")),
            lines,
            seconds("delay_seconds", body.get("delay_seconds", 0)),
        )
        return {}

    def _change_gpu_metrics(self, body: dict[str, Any]) -> dict[str, Any]:
        changes = {name: value for name, value in body.items() if name != "cloud"}
        self._clouds.change_gpu_metrics(str(body.get("cloud")), changes)
        return {}

    def _change_bill(self, body: dict[str, Any]) -> dict[str, Any]:
        changes = {name: value for name, value in body.items() if name != "cloud"}
        self._clouds.change_bill(str(body.get("cloud")), changes)
        return {}

    def _change_defaults(self, body: dict[str, Any]) -> dict[str, Any]:
        DEFAULTS.change(body)
        return asdict(DEFAULTS)

    def _reset(self, _body: dict[str, Any]) -> dict[str, Any]:
        self._interferences.clear()
        self._clouds.reset()
        self._nim_stub.reset()
        DEFAULTS.change(self._start_defaults)
        self._calls.clear()
        return {}


def _json_object(text: str) -> dict[str, Any]:
    body = json.loads(text) if text else {}
    if isinstance(body, dict):
        return body
    raise ValueError("the body must be a JSON object")


def _json(value: Any, status: int) -> Response:
    return Response(json.dumps(value), status=status, content_type="application/json")
