# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An AKS or a GKE cluster in the sandbox, worked on by the engine as nim_azure and nim_gcp do it."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog
from ansible_collections.budgetguard.techops.plugins.module_utils._converge import Goal, Outcome, converge
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Status, resolve_all
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _kube_objects as objects
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._kube_client import KubeClient
from ansible_collections.budgetguard.techops.plugins.module_utils._providers.azure import Azure
from ansible_collections.budgetguard.techops.plugins.module_utils._providers.gcp import Gcp
from ansible_collections.budgetguard.techops.plugins.module_utils._providers.kubernetes import KubernetesProvider
from tests.sandbox import Sandbox

NGC_KEY = "nvapi-Zr81CANARYngcQm3vT0"
HF_TOKEN = "hf_Zr81CANARYhfQm3vT0"
NAMESPACE = "budgetguard"

TOKEN_SERVICES = ("entra", "google-oauth")
CLOUD_SERVICES = {"azure": ("arm",), "gcp": ("gke", "google-compute")}
CLOUDS = ("azure", "gcp")

Connect = t.Callable[[t.Mapping[str, t.Any]], KubernetesProvider]
CONNECT: dict[str, Connect] = {"azure": Azure.connect, "gcp": Gcp.connect}
SETTINGS: dict[str, dict[str, t.Any]] = {
    "azure": {"resource_group": "studio", "region": "eastus"},
    "gcp": {"location": "us-central1-a"},
}


class Cluster:
    """Deploys NIMs and tells what is there and what was called."""

    def __init__(self, sandbox: Sandbox, cloud: str) -> None:
        self.sandbox = sandbox
        self.control = sandbox.control
        self.cloud = cloud
        # What the SDKs read themselves; a studio sets the same.
        os.environ.update(sandbox.env)

    def options(self, **changes: t.Any) -> dict[str, t.Any]:
        """Return the options of the cloud's module, as they are after defaults and variables were filled in."""
        env = self.sandbox.env
        of_cloud: dict[str, t.Any]
        if self.cloud == "azure":
            of_cloud = {
                "subscription_id": env["AZURE_SUBSCRIPTION_ID"],
                "tenant": env["AZURE_TENANT_ID"],
                "client_id": env["AZURE_CLIENT_ID"],
                "secret": env["AZURE_CLIENT_SECRET"],
                "auth_source": "auto",
                "resource_manager_endpoint": env["AZURE_RESOURCE_MANAGER_ENDPOINT"],
                "stop_cluster": False,
            }
        else:
            of_cloud = {"project": env["GOOGLE_CLOUD_PROJECT"], "spot": "never", "flex_start": False}
        return {
            "cluster": "budgetguard",
            "namespace": NAMESPACE,
            "scheme": "internal",
            "allowed_cidrs": ["10.20.0.0/16"],
            "ngc_api_key": NGC_KEY,
            "hf_token": HF_TOKEN,
            **of_cloud,
            **SETTINGS[self.cloud],
            **changes,
        }

    def provider(self, **changes: t.Any) -> KubernetesProvider:
        """Open the target."""
        return CONNECT[self.cloud](self.options(**changes))

    def run(
        self,
        *deployments: dict[str, t.Any] | str,
        state: str = "present",
        settings: dict[str, t.Any] | None = None,
        **goal: t.Any,
    ) -> Outcome:
        """Do what the module does. A deployment is a mapping, or just `node@tier`."""
        entries = [self._entry(item, state) for item in deployments]
        wanted, selections = resolve_all(entries, self.cloud, _catalog.load({}))
        goal = {"wait_interval": 0.1, "wait_timeout": 20, **goal}
        provider = self.provider(**(settings or {}))
        return converge(provider, Goal(wanted=tuple(wanted), selections=tuple(selections), **goal))

    @staticmethod
    def _entry(item: dict[str, t.Any] | str, state: str) -> dict[str, t.Any]:
        if isinstance(item, str):
            node, _sep, tier = item.partition("@")
            item = {"node": node, "gpu_tier": tier or None}
        return {"state": state, "gpu_tier": None, **item}

    def info(self, **changes: t.Any) -> dict[str, Status]:
        """Do what the info module does."""
        return self.provider(**changes).statuses(explain=True)

    def kube(self) -> KubeClient:
        """Return a client of the cluster, to look at it and to do by hand what others might do."""
        provider = self.provider()
        return KubeClient(provider.cloud.access(), {})

    def objects(self) -> dict[str, list[str]]:
        """Return the names of what the namespace holds, by kind."""
        client = self.kube()
        ours = objects.MANAGED_SELECTOR
        kinds = ("Deployment", "Service", "PersistentVolumeClaim", "NetworkPolicy", "ConfigMap", "Role", "Secret")
        found = {
            kind: sorted(item["metadata"]["name"] for item in client.list_kind(kind, NAMESPACE, ours)) for kind in kinds
        }
        return {kind: names for kind, names in found.items() if names}

    def clusters(self) -> list[str]:
        """Return the names of all clusters of the cloud."""
        return [name.rpartition("/")[2] for name in self.resources().get("clusters", [])]

    def pools(self) -> list[str]:
        """Return the names of all GPU pools of the cloud, without those of system machines."""
        kind = {"azure": "agent_pools", "gcp": "node_pools"}[self.cloud]
        names = [name.rpartition("/")[2] for name in self.resources().get(kind, [])]
        return [name for name in names if name != "system"]

    def resources(self) -> dict[str, list[str]]:
        """Return the names of what exists in the cloud outside of clusters, without kinds that hold nothing."""
        found = self.control.resources().get(self.cloud, {})
        return {kind: names for kind, names in found.items() if names}

    def calls(self) -> list[dict[str, t.Any]]:
        """Return all calls but those for tokens."""
        return [call for call in self.control.calls() if call["service"] not in TOKEN_SERVICES]

    def token_calls(self) -> list[dict[str, t.Any]]:
        """Return the requests for tokens, without the look at how Entra ID is set up that MSAL takes once."""
        return [
            call for call in self.control.calls() if call["service"] in TOKEN_SERVICES and call["action"] == "token"
        ]

    def writes(self) -> list[str]:
        """Return all calls that change something, in order, as method and path."""
        return [f"{call['method']} {path_of(call)}" for call in self.calls() if is_write(call)]


def path_of(call: dict[str, t.Any]) -> str:
    """Return the path of a call without its query."""
    return str(call["path"]).partition("?")[0]


def is_rehearsal(call: dict[str, t.Any]) -> bool:
    """Say whether the API server was only asked what it would do."""
    return "dryRun=All" in call["path"]


def is_write(call: dict[str, t.Any]) -> bool:
    """Say whether a call can change something; a rehearsal and a request for credentials cannot."""
    if call["method"] in ("GET", "HEAD") or is_rehearsal(call):
        return False
    return call["service"] not in TOKEN_SERVICES and not path_of(call).endswith("listClusterUserCredential")


def described(outcome: Outcome) -> list[str]:
    """Return what was done, one line a step."""
    return [step.describe() for step in outcome.done]


def assert_fine(outcome: Outcome) -> None:
    """Fail the test unless everything was carried out."""
    assert (outcome.errors, outcome.target_error) == ({}, None)
