# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated Azure: Entra ID, Microsoft Graph, role assignments, resource groups, AKS, quotas, logs, metrics, money."""

from __future__ import annotations

from werkzeug.wrappers import Request, Response

from tests.sandbox.azure.arm import ResourceManager
from tests.sandbox.azure.directory import Directory
from tests.sandbox.azure.entra import AzureAccount, Entra
from tests.sandbox.azure.graph import Graph
from tests.sandbox.azure.log_analytics import LogAnalytics
from tests.sandbox.azure.prometheus import ManagedPrometheus
from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.kube import KubeApplication
from tests.sandbox.prices import RetailPrices
from tests.sandbox.spend import CostManagement, Ledger

__all__ = ["AzureAccount", "AzureApplication"]


class AzureApplication:
    """All of Azure. Werkzeug request in, Werkzeug response out."""

    def __init__(
        self, ca_pem: str, kube: KubeApplication, ledger: Ledger, calls: CallLog, interferences: Interferences
    ) -> None:
        self.account = AzureAccount.new()
        self._directory = Directory(self.account.tenant_id)
        self._entra = Entra(self.account, self._directory, calls, interferences)
        graph = Graph(self._directory, self._entra, calls, interferences)
        self.arm = ResourceManager(self.account, self._directory, self._entra, kube, ca_pem, calls, interferences)
        logs = LogAnalytics(self.account, self._entra, kube.logs, self.arm.kube_ids, calls, interferences)
        self.prometheus = ManagedPrometheus(self._entra, calls, interferences)
        prices = RetailPrices(calls, interferences)
        costs = CostManagement(self.account.subscription_id, self._entra.check_management, ledger, calls, interferences)
        # The path of Cost Management is below those of Azure Resource Manager.
        self._services = (costs, self.arm, logs, self.prometheus, graph, prices, self._entra)

    def handles(self, request: Request) -> bool:
        """Whether a request is for Azure, by its path."""
        return any(service.handles(request) for service in self._services)

    def __call__(self, request: Request) -> Response:
        """Answer."""
        return next(service for service in self._services if service.handles(request))(request)

    def resources(self) -> dict[str, list[str]]:
        """Return the names of what exists, by kind; those of identities where there are any."""
        identities = {**self._directory.resources(), **self.arm.role_assignments()}
        return {**self.arm.resources(), **{kind: names for kind, names in identities.items() if names}}

    def environment(self, url: str) -> dict[str, str]:
        """Return the variables that lead clients here."""
        return {
            "AZURE_TENANT_ID": self.account.tenant_id,
            "AZURE_CLIENT_ID": self.account.client_id,
            "AZURE_CLIENT_SECRET": self.account.client_secret,
            "AZURE_SUBSCRIPTION_ID": self.account.subscription_id,
            "AZURE_AUTHORITY_HOST": url,
            "AZURE_RESOURCE_MANAGER_ENDPOINT": url,
            "AZURE_GRAPH_ENDPOINT": url,
            "AZURE_LOG_ANALYTICS_ENDPOINT": url,
            "AZURE_RETAIL_PRICES_ENDPOINT": url,
            "AZURE_LOG_ANALYTICS_WORKSPACE_ID": self.account.workspace_id,
        }

    def reset(self) -> None:
        """Forget all resources."""
        self.arm.reset()
        self.prometheus.reset()
        self._directory.reset()
