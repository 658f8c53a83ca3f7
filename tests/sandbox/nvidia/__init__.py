# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated NVIDIA: Cloud Functions and private images by path, hosted models and functions by host name.

There are two ways to the API: `NGC_ENDPOINT` and the path, or the host ``api.ngc.nvidia.com`` behind the proxy, whose
other services can ask `answering` for what they do not have. The check of a key (``/v3/keys/get-caller-info``) is
answered here for the first way.
"""

from __future__ import annotations

from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request, Response

from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.ecs_runtime import Outcome
from tests.sandbox.nim_stub import HttpAnswer, HttpRequest
from tests.sandbox.nvidia.account import NvidiaAccount
from tests.sandbox.nvidia.functions import CloudFunctions
from tests.sandbox.nvidia.hosted import NvidiaHosts
from tests.sandbox.nvidia.keys import KeyService

__all__ = ["NvidiaApplication"]


class NvidiaApplication:
    """All of NVIDIA. Werkzeug request in, Werkzeug response out; `hosts` is for the proxy."""

    def __init__(self, calls: CallLog, interferences: Interferences) -> None:
        self.account = NvidiaAccount()
        self.functions = CloudFunctions(self.account, calls, interferences)
        self._keys = KeyService(self.account, calls, interferences)
        self.hosts = NvidiaHosts(self.account, self.functions)
        self._services = (self.functions, self._keys)

    def handles(self, request: Request) -> bool:
        """Whether a request is for NVIDIA, by its path."""
        return any(service.handles(request) for service in self._services)

    def __call__(self, request: Request) -> Response:
        """Answer."""
        return next(service for service in self._services if service.handles(request))(request)

    def answering(self, request: HttpRequest) -> HttpAnswer | None:
        """Answer a request that came through the proxy to ``api.ngc.nvidia.com``; None for a path of somebody else."""
        builder = EnvironBuilder(
            path=request.target, method=request.method, headers=list(request.headers.items()), data=request.body
        )
        translated = Request(builder.get_environ())
        if not self.handles(translated):
            return None
        response = self(translated)
        return HttpAnswer(response.status_code, response.get_data(), response.content_type or "application/json")

    def set_outcome(self, name: str, outcome: Outcome) -> None:
        """Say what becomes of a NIM."""
        self.functions.set_outcome(name, outcome)

    def resources(self) -> dict[str, list[str]]:
        """Return the names of what exists, by kind."""
        return self.functions.resources()

    def environment(self, url: str) -> dict[str, str]:
        """Return the variables that lead clients here."""
        return {"NGC_ENDPOINT": url, "NGC_ORG": self.account.org, "NVIDIA_API_KEY": self.account.key}

    def reset(self) -> None:
        """Forget all functions, images and further keys."""
        self.functions.reset()
        self.account.reset()
        self.hosts.reset()
