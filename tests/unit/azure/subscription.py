# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An Azure subscription in the sandbox, on which the cloud half of AKS is worked without any Kubernetes object."""

from __future__ import annotations

import typing as t

from azure.identity import ClientSecretCredential
from azure.mgmt.containerservice import ContainerServiceClient

from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Wanted
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import Resource, Step, plan
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _azure_objects as objects
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_session import AzureSession
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_settings import AzureSettings
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._cluster import GPU_POOL
from ansible_collections.budgetguard.techops.plugins.module_utils._providers.azure import AzureCloud
from tests.sandbox import Sandbox

GROUP, CLUSTER, REGION = "studio", "budgetguard", "eastus"
READS = ("GET", "HEAD")


class Subscription:
    """Brings the cluster to what NIMs need, and tells what was called."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.env = sandbox.env
        self.control = sandbox.control

    def options(self, **changes: t.Any) -> dict[str, t.Any]:
        """Return the options of the module nim_azure, as far as the cloud is concerned."""
        return {
            "subscription_id": self.env["AZURE_SUBSCRIPTION_ID"],
            "tenant": self.env["AZURE_TENANT_ID"],
            "client_id": self.env["AZURE_CLIENT_ID"],
            "secret": self.env["AZURE_CLIENT_SECRET"],
            "resource_manager_endpoint": self.env["AZURE_RESOURCE_MANAGER_ENDPOINT"],
            "resource_group": GROUP,
            "cluster": CLUSTER,
            "region": REGION,
            "wait_interval": 0.1,
            **changes,
        }

    def cloud(self, **changes: t.Any) -> AzureCloud:
        """Open the target."""
        options = self.options(**changes)
        return AzureCloud(AzureSession(options), AzureSettings.from_options(options))

    def steps(self, cloud: AzureCloud, *wanted: Wanted) -> list[Step]:
        """Look, and plan what is needed for the cluster and its pools."""
        cloud.settle()
        seen = cloud.read().resources
        pools = {
            cloud.pool_name(item): Resource(
                GPU_POOL,
                cloud.pool_name(item),
                cloud.pool_spec(item, item.replicas),
                users=frozenset(other.name for other in wanted if cloud.pool_name(other) == cloud.pool_name(item)),
            )
            for item in wanted
        }
        found = plan(cloud.cluster_kinds, [*cloud.cluster_resources(wanted, seen), *pools.values()], seen)
        cloud.preflight(wanted, found, seen)
        return found

    def bring(self, *wanted: Wanted, **changes: t.Any) -> list[str]:
        """Do what a run does outside of Kubernetes; return the steps, one line each."""
        cloud = self.cloud(**changes)
        steps = self.steps(cloud, *wanted)
        for step in steps:
            cloud.apply(step)
        return [step.describe() for step in steps]

    def remove(self) -> list[str]:
        """Do what a teardown does outside of Kubernetes."""
        cloud = self.cloud()
        cloud.settle()
        seen = cloud.read().resources
        steps = plan(cloud.cluster_kinds, [], seen, list(seen))
        for step in steps:
            cloud.apply(step)
        return [step.describe() for step in steps]

    def client(self) -> ContainerServiceClient:
        """Return the SDK's client, to do by hand what others might do."""
        endpoint = self.env["AZURE_RESOURCE_MANAGER_ENDPOINT"]
        credential = ClientSecretCredential(
            self.env["AZURE_TENANT_ID"],
            self.env["AZURE_CLIENT_ID"],
            self.env["AZURE_CLIENT_SECRET"],
            authority=endpoint,
            disable_instance_discovery=True,
        )
        return ContainerServiceClient(
            credential,
            self.env["AZURE_SUBSCRIPTION_ID"],
            endpoint,
            credential_scopes=[f"{endpoint}/.default"],
            polling_interval=1,
        )

    def make_foreign_cluster(self, name: str = CLUSTER) -> None:
        """Make a cluster as somebody else would, in a resource group of theirs."""
        cloud = self.cloud()
        cloud.session.rest("make a group", "PUT", f"resourceGroups/{GROUP}", "2021-04-01", {"location": REGION})
        body: t.Any = objects.cluster_body(cloud.settings, REGION, own_group=False)
        body["tags"] = {"team": "render"}
        self.client().managed_clusters.begin_create_or_update(GROUP, name, body).result()
        self.control.clear_calls()

    def calls(self) -> list[str]:
        """Return the actions of all calls but those that ask how work goes on."""
        return [call["action"] for call in self.control.calls("arm") if call["action"] != "Operations_Get"]

    def writes(self) -> list[str]:
        """Return the actions of all calls that change something."""
        reads = ("ManagedClusters_ListClusterUserCredentials",)
        return [
            call["action"]
            for call in self.control.calls("arm")
            if call["method"] not in READS and call["action"] not in reads
        ]

    def resources(self) -> dict[str, list[str]]:
        """Return the names of what exists."""
        found: dict[str, list[str]] = self.control.resources().get("azure", {})
        return {kind: names for kind, names in found.items() if names}
