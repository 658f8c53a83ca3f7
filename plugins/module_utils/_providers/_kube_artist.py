# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What lets one artist scale NIMs: a RoleBinding in the cluster, to the Role that a deployment makes for artists."""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError, UnreachableError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _kube_objects as objects
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._cluster import ClusterCloud
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._kube_client import KubeClient

ATTEMPTS = 2
"""How often a cluster is asked before it counts as one that does not answer. A key must not wait for it for long."""


class ClusterClosedError(ProviderError):
    """The cluster cannot be asked now, which is no reason not to make a key. The text says why."""


class ArtistBinding:
    """One RoleBinding. Every method raises ProviderError, and ClusterClosedError where there is nobody to ask.

    The cluster is looked at by :meth:`is_bound` and :meth:`exists`; the changes go by what was seen then.
    """

    def __init__(self, cloud: ClusterCloud, settings: objects.KubeSettings, name: str) -> None:
        self._cloud = cloud
        self._settings = settings
        self.name = name

    def is_bound(self, users: t.Sequence[str]) -> bool:
        """Say whether exactly these users are bound. Raises ClusterClosedError where there is no Role to bind to."""
        self._look()
        with self._client() as client:
            found = self._read(client)
            if found is not None and self._is_right(found, users):
                return True
            if client.read("Role", objects.ARTISTS_ROLE, self._settings.namespace) is None:
                raise ClusterClosedError(
                    f"it has no Role {objects.ARTISTS_ROLE} in the namespace {self._settings.namespace} before the "
                    "first deployment"
                )
            return False

    def exists(self) -> bool:
        """Say whether there is one."""
        self._look()
        with self._client() as client:
            return self._read(client) is not None

    def bind(self, users: t.Sequence[str]) -> None:
        """Bind these users and nobody else. A RoleBinding to another Role cannot be changed, so it is made again."""
        wanted = objects.artist_binding(self._settings, self.name, users)
        with self._client() as client:
            found = self._read(client)
            if found is not None and found["roleRef"] != wanted["roleRef"]:
                client.delete("RoleBinding", self.name, self._settings.namespace)
            client.apply(wanted)

    def remove(self) -> None:
        """Remove it. One that is gone already is no error."""
        with self._client() as client:
            client.delete("RoleBinding", self.name, self._settings.namespace)

    def _is_right(self, found: t.Mapping[str, t.Any], users: t.Sequence[str]) -> bool:
        wanted = objects.artist_binding(self._settings, self.name, users)
        return bool(found["roleRef"] == wanted["roleRef"] and found.get("subjects") == wanted["subjects"])

    def _read(self, client: KubeClient) -> dict[str, t.Any] | None:
        """Read it. One of this name that is not ours is refused."""
        found = client.read("RoleBinding", self.name, self._settings.namespace)
        if found is not None:
            owner = found["metadata"].get("labels", {}).get(objects.MANAGED_LABEL)
            if owner != objects.MANAGED_BY:
                raise ProviderError(
                    f"the RoleBinding {self._settings.namespace}/{self.name} was not made here, so it is not touched; "
                    "rename or remove it"
                )
        return found

    def _look(self) -> None:
        view = self._cloud.read()
        if not view.exists:
            raise ClusterClosedError("it does not exist")
        if view.closed:
            raise ClusterClosedError(view.closed)

    @contextlib.contextmanager
    def _client(self) -> t.Iterator[KubeClient]:
        with contextlib.closing(KubeClient(self._cloud.access(), self._cloud.advice, attempts=ATTEMPTS)) as client:
            try:
                yield client
            except UnreachableError as exc:
                raise ClusterClosedError(str(exc)) from exc
