# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of objects that the simulated API server has."""

from __future__ import annotations

from dataclasses import dataclass

WRITABLE = ("create", "delete", "get", "list", "patch", "update", "watch")
READ_ONLY = ("get", "list", "watch")


@dataclass(frozen=True)
class Kind:
    """One kind of object, and where the API has it."""

    name: str
    plural: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    verbs: tuple[str, ...] = WRITABLE
    subresources: tuple[str, ...] = ()
    short_names: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """Such as ``apps/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """Such as ``deployments.apps``, as error messages have it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def group_kind(self) -> str:
        """Such as ``Deployment.apps``."""
        return f"{self.name}.{self.group}" if self.group else self.name


RBAC = "rbac.authorization.k8s.io"

KINDS = (
    Kind("Namespace", "namespaces", namespaced=False, short_names=("ns",)),
    Kind("Node", "nodes", namespaced=False, verbs=READ_ONLY, short_names=("no",)),
    Kind("Pod", "pods", verbs=("delete", "get", "list", "watch"), subresources=("log",), short_names=("po",)),
    Kind("Event", "events", verbs=READ_ONLY, short_names=("ev",)),
    Kind("Service", "services", short_names=("svc",)),
    Kind("ConfigMap", "configmaps", short_names=("cm",)),
    Kind("Secret", "secrets"),
    Kind("ServiceAccount", "serviceaccounts", short_names=("sa",)),
    Kind("PersistentVolumeClaim", "persistentvolumeclaims", short_names=("pvc",)),
    Kind("Deployment", "deployments", "apps", subresources=("scale",), short_names=("deploy",)),
    Kind("DaemonSet", "daemonsets", "apps", short_names=("ds",)),
    Kind("NetworkPolicy", "networkpolicies", "networking.k8s.io", short_names=("netpol",)),
    Kind("Role", "roles", RBAC),
    Kind("RoleBinding", "rolebindings", RBAC),
)

BY_NAME = {kind.name: kind for kind in KINDS}
BY_ROUTE = {(kind.api_version, kind.plural): kind for kind in KINDS}
