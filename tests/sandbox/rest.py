# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the simulated REST APIs have in common: routes, errors, the call log, faults."""

from __future__ import annotations

import abc
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from werkzeug.wrappers import Request, Response

from tests.sandbox.calls import CallLog, Interference, Interferences
from tests.sandbox.state import STATE_LOCK

PathValues = Mapping[str, str]


class ApiError(Exception):
    """A service says no. `refused` is true where it is the sandbox that cannot do what was asked for."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        refused: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})
        self.refused = refused


class Route:
    """One operation of an API: its method, its path such as ``/groups/{group}``, its name, and who answers."""

    def __init__(
        self,
        method: str,
        path: str,
        action: str,
        handler: Callable[[Request, PathValues], Response],
        *,
        ignore_case: bool = False,
    ) -> None:
        self.method = method
        self.action = action
        self.handler = handler
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/:]+)", path)
        self._pattern = re.compile(pattern + "/?", re.IGNORECASE if ignore_case else 0)

    def match(self, path: str) -> PathValues | None:
        """Return what stands in the path for the names in braces; None if it is another path."""
        found = self._pattern.fullmatch(path)
        return None if found is None else found.groupdict()


@dataclass(frozen=True)
class _Target:
    """What a request is about, as the call log and the faults name it."""

    service: str
    action: str
    region: str
    body: str
    route: Route | None
    values: PathValues


class RestService(abc.ABC):
    """An API with routes. Each request is logged and open to faults, then answered with the state locked."""

    def __init__(self, service: str, calls: CallLog, interferences: Interferences) -> None:
        self.service = service
        self._calls = calls
        self._interferences = interferences
        self._routes = self.routes()

    @abc.abstractmethod
    def routes(self) -> list[Route]:
        """Return all operations, the most special first."""

    @abc.abstractmethod
    def error_response(self, error: ApiError) -> Response:
        """Return an error in the form of this API."""

    @abc.abstractmethod
    def check(self, request: Request, values: PathValues) -> None:
        """Raise `ApiError` for a request that is refused whatever it asks for, such as one without a token."""

    def logged(self, body: str) -> str:
        """Return a body as the call log is to have it. Nothing is left out, unless an API says otherwise."""
        return body

    def region(self, values: PathValues) -> str:
        """Return the region that a request names in its path; empty if none."""
        return values.get("location", "")

    def handles(self, request: Request) -> bool:
        """Whether the path is one of this API, whatever the method."""
        return any(route.match(request.path) is not None for route in self._routes)

    def __call__(self, request: Request) -> Response:
        """Log, delay, perhaps fail, else answer."""
        target = self._target(request)
        body = self.logged(target.body)
        call = self._calls.start(
            service=target.service,
            action=target.action,
            region=target.region,
            method=request.method,
            path=request.full_path.rstrip("?"),
            params=json_or_text(body) if body else request.args.to_dict(),
            body=body,
        )
        try:
            response = self._answer(request, target)
        except ApiError as error:
            response = self.error_response(error)
            response.headers.update(error.headers)
            call.refused = error.message if error.refused else None
        call.status = response.status_code
        return response

    def _target(self, request: Request) -> _Target:
        body = request.get_data(as_text=True)
        for route in self._routes:
            values = route.match(request.path)
            if values is not None and route.method == request.method:
                return _Target(self.service, route.action, self.region(values), body, route, values)
        return _Target(self.service, f"{request.method} {request.path}", "", body, None, {})

    def _answer(self, request: Request, target: _Target) -> Response:
        self._interfere(target, "before")
        with STATE_LOCK:
            self.check(request, target.values)
            if target.route is None:
                known = ", ".join(sorted({f"{route.action}" for route in self._routes}))
                message = f"The sandbox has no {target.action} in {self.service}. It has {known}."
                raise ApiError(404, "NotImplementedBySandbox", message, refused=True)
            response = target.route.handler(request, target.values)
        self._interfere(target, "after")
        return response

    def _interfere(self, target: _Target, when: str) -> None:
        fault = self._interferences.apply(target.service, target.action, target.body, when)
        if fault is not None:
            raise ApiError(fault.status, fault.code or "", fault.message, headers=fault.headers)

    def planned_failure(self, action: str, body: str) -> Interference | None:
        """Return the failure that a test has planned for the long work which this call is about to start."""
        return self._interferences.apply(self.service, action, body, "operation")


def json_or_text(body: str) -> Any:
    """Return the parsed JSON, or the text itself where it is none."""
    try:
        return json.loads(body)
    except ValueError:
        return body


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer with a JSON body."""
    return Response(json.dumps(value), status=status, headers=dict(headers or {}), content_type="application/json")


def bearer_token(request: Request) -> str | None:
    """Return the token of the Authorization header; None if there is none."""
    scheme, _space, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None
