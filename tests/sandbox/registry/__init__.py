# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA's registry, NVIDIA's service for keys, and Hugging Face's gated repositories.

They are found by host name through the forward proxy: give `RegistryHosts` to `NimStub`. Which keys and
tokens there are, and what they may do, is told by words in them, see `ngc` and `hugging_face`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.sandbox.nim_stub import HttpAnswer, HttpRequest, NoConnectionError, json_answer
from tests.sandbox.registry import hugging_face, ngc

__all__ = ["RegistryHosts", "ServiceHost"]

Answering = Callable[[HttpRequest], "HttpAnswer | None"]
"""Answers a request; None for a path that it does not have."""


@dataclass(frozen=True)
class ServiceHost:
    """A host with HTTPS on its usual port, and one or more services behind it."""

    name: str
    services: tuple[Answering, ...]

    def check_connection(self, scheme: str, port: int) -> None:
        """Raise `NoConnectionError` for anything but HTTPS on 443."""
        if (scheme, port) != ("https", 443):
            raise NoConnectionError(f"{self.name} answers https on port 443 only")

    def answer(self, scheme: str, port: int, request: HttpRequest) -> HttpAnswer:
        """Return the answer of the first service that has the path."""
        self.check_connection(scheme, port)
        found = (service(request) for service in self.services)
        return next((answer for answer in found if answer is not None), json_answer({"error": "Not Found"}, 404))


class RegistryHosts:
    """The hosts by name. `others` are further services of ``api.ngc.nvidia.com``, asked after the one for keys."""

    def __init__(self, *others: Answering) -> None:
        hosts = (
            ServiceHost("nvcr.io", (ngc.registry,)),
            ServiceHost("authn.nvidia.com", (ngc.legacy_login,)),
            ServiceHost("api.ngc.nvidia.com", (ngc.keys, *others)),
            ServiceHost("huggingface.co", (hugging_face.hub,)),
        )
        self._hosts = {host.name: host for host in hosts}

    def host(self, name: str) -> ServiceHost | None:
        """Return the host of this name; None if it is none of these."""
        return self._hosts.get(name)
