# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Models that NVIDIA hosts in its API catalogue. There is nothing to deploy; they are registered and checked."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import (
    HOSTED_TIER,
    Status,
    deployment_name,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._nvidia_session import NvidiaSession
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._nvidia_settings import AUTH

HOSTED = "hosted_model"
MODELS_URL = "https://integrate.api.nvidia.com/v1/models"
"""The public list of hosted language models. It answers without a key, so it says nothing about one."""

_CHAT = "/v1/chat/completions"


@dataclasses.dataclass(frozen=True)
class HostedStatus(Status):
    """A hosted model: its address is a whole one, and it has no health address."""

    def as_dict(self) -> dict[str, t.Any]:
        """Return the public form."""
        return {**super().as_dict(), "image": None, "health_url": None, "infer_url": self._infer_url()}

    def _infer_url(self) -> str | None:
        # Image models are called at the address itself, language models at a path that several share.
        return f"{self.endpoint}{_CHAT}" if self.endpoint and self.infer_path == _CHAT else self.endpoint


def hosted_nodes(catalog: t.Mapping[str, _catalog.Node]) -> dict[str, _catalog.Node]:
    """Return the nodes that NVIDIA hosts, by the name of their deployment, such as ``nim-sdxl-hosted``."""
    return {deployment_name(node, HOSTED_TIER): node for node in catalog.values() if node.hosted_url}


def names_of(catalog: t.Mapping[str, _catalog.Node], nodes: t.Sequence[str]) -> list[str]:
    """Return the deployments' names for the option ``hosted_nodes``. Raises ValueError for what is not hosted."""
    problems: list[str] = []
    names: list[str] = []
    for number, asked in enumerate(nodes):
        try:
            node = _catalog.find(catalog, asked)
        except _catalog.UnknownNodeError as exc:
            problems.append(f"hosted_nodes[{number}]: {exc}")
            continue
        if node.hosted_url:
            names.append(deployment_name(node, HOSTED_TIER))
        else:
            problems.append(f"hosted_nodes[{number}]: NVIDIA does not host {node.name} in its API catalogue")
    if problems:
        raise ValueError("\n".join(problems))
    return names


class HostedModels:
    """The hosted models of one target. The key is checked once, each model at most once."""

    def __init__(self, session: NvidiaSession, catalog: t.Mapping[str, _catalog.Node], check: str) -> None:
        self._session = session
        self._nodes = hosted_nodes(catalog)
        self._check = check
        self._key_problem: tuple[str, str | None] | None = None
        self._listed: set[str] | None = None
        self._found: dict[str, tuple[str, str | None]] = {}

    def known(self, names: t.Iterable[str]) -> list[str]:
        """Return those names that are hosted models."""
        return [name for name in names if name in self._nodes]

    def statuses(self, names: t.Iterable[str]) -> dict[str, HostedStatus]:
        """Look whether the key may use each of the models."""
        return {name: self._status(name, self._nodes[name]) for name in self.known(names)}

    def _status(self, name: str, node: _catalog.Node) -> HostedStatus:
        if name not in self._found:
            self._found[name] = self._look(node)
        state, reason = self._found[name]
        url = str(node.hosted_url)
        return HostedStatus(
            name=name,
            node=node.name,
            gpu_tier=HOSTED_TIER,
            kind=node.kind,
            serves={node.name: node.variant or ""},
            replicas=1,
            running=int(state == "running"),
            state=state,
            reason=reason,
            endpoint=url[: -len(_CHAT)] if url.endswith(_CHAT) else url,
            infer_path=_CHAT if url.endswith(_CHAT) else None,
            auth=AUTH,
        )

    def _look(self, node: _catalog.Node) -> tuple[str, str | None]:
        """Return state and reason of a model."""
        state, reason = self._look_at_key()
        if state != "running" or self._check == "key":
            return state, reason
        return self._ask_list(node) if str(node.hosted_url).endswith(_CHAT) else self._ask_model(node)

    def _look_at_key(self) -> tuple[str, str | None]:
        if self._key_problem is None:
            try:
                self._session.caller()
            except ProviderError as exc:
                # Only a clear no is a failure; a service that does not answer says nothing about the key.
                refused = getattr(exc, "status", None) in (400, 401, 403)
                self._key_problem = ("failed" if refused else "unknown", str(exc))
            else:
                self._key_problem = ("running", None)
        return self._key_problem

    def _ask_list(self, node: _catalog.Node) -> tuple[str, str | None]:
        """Look whether the public list has a language model. Its names differ from images' in dots and hyphens."""
        doing = "list the language models that NVIDIA hosts"
        try:
            if self._listed is None:
                answer = self._session.fetch(doing, "GET", MODELS_URL)
                self._listed = {_comparable(str(model.get("id"))) for model in (answer or {}).get("data") or []}
        except ProviderError as exc:
            return "unknown", str(exc)
        model = "/".join(str(node.image or "").partition(":")[0].split("/")[-2:])
        if _comparable(model) in self._listed:
            return "running", None
        return "failed", f"NVIDIA's list of hosted language models has no {model} any more ({MODELS_URL})"

    def _ask_model(self, node: _catalog.Node) -> tuple[str, str | None]:
        """Send an empty request, which a NIM refuses before it computes anything. How NVIDIA counts it is not known."""
        url = str(node.hosted_url)
        doing = f"reach {node.name} at {url}"
        try:
            answer = self._session.ask(doing, "POST", url, b"{}", repeat=True)
        except ProviderError as exc:
            return "unknown", str(exc)
        if answer.status in (400, 422) or answer.status < 300:
            return "running", None
        if answer.status in (404, 410):
            return "failed", f"NVIDIA does not host {node.name} any more: {answer.status} at {url}"
        return "failed", str(self._session.error(doing, answer))


def _comparable(name: str) -> str:
    return re.sub(r"[^a-z0-9/]", "", name.lower())


__all__ = ("HOSTED", "HOSTED_TIER", "HostedModels", "HostedStatus", "hosted_nodes", "names_of")
