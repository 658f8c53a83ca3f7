# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A workstation's identity in the sandbox's tenant, made as the module workstation_credential_azure makes it."""

from __future__ import annotations

import dataclasses
import typing as t

import requests

from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import AZURE_CONNECTION
from ansible_collections.budgetguard.techops.plugins.module_utils._identity import IDENTITY
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _azure_identity
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _kube_objects as objects
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._kube_client import KubeClient
from tests.aws.artist import run_module
from tests.sandbox import Sandbox
from tests.sandbox.azure.entra import KUBERNETES
from tests.unit.azure.subscription import CLUSTER, GROUP, REGION, Subscription

WORKSTATION = "ws-01"
NAMESPACE = "budgetguard"
SERVICES = ("graph", "arm", "kube")
READ_ACTIONS = ("ManagedClusters_ListClusterUserCredentials",)
NIM = "nim-flux-dev-t4"
SECRET_OF_NIMS = "nvapi-canary-of-the-cluster"
MANAGEMENT = "https://management.azure.com"

Fields = t.Mapping[str, str]


@dataclasses.dataclass
class Artist:
    """Runs the module's logic and tells what is there and what was called."""

    sandbox: Sandbox

    @property
    def control(self) -> t.Any:
        return self.sandbox.control

    def options(self, **changes: t.Any) -> dict[str, t.Any]:
        """Return the module's options with their defaults."""
        env = self.sandbox.env
        return {
            **{name: option.get("default") for name, option in {**IDENTITY, **AZURE_CONNECTION}.items()},
            "workstation": WORKSTATION,
            "subscription_id": env["AZURE_SUBSCRIPTION_ID"],
            "resource_group": GROUP,
            "tenant": env["AZURE_TENANT_ID"],
            "client_id": env["AZURE_CLIENT_ID"],
            "secret": env["AZURE_CLIENT_SECRET"],
            "resource_manager_endpoint": env["AZURE_RESOURCE_MANAGER_ENDPOINT"],
            "graph_endpoint": env["AZURE_GRAPH_ENDPOINT"],
            **changes,
        }

    def run(self, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        """Run once; return the result. Raises ModuleFailedError with the message."""
        params = self.options(**options)
        return run_module(params, check, lambda name: _azure_identity.connect(params, name))

    # ---- the cluster -----------------------------------------------------------------------------------------------

    def subscription(self) -> Subscription:
        """Return the subscription, to make a cluster in it."""
        return Subscription(self.sandbox)

    def make_cluster(self) -> None:
        """Make the cluster with what a deployment puts into it: the namespace, the Role, a Secret and a NIM."""
        subscription = self.subscription()
        self.control.defaults(cluster_seconds=0)
        subscription.bring()
        cloud = subscription.cloud()
        cloud.read()
        client = KubeClient(cloud.access(), {})
        settings = objects.KubeSettings(namespace=NAMESPACE, ngc_api_key=SECRET_OF_NIMS)
        deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NIM, "namespace": NAMESPACE},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"app": NIM}},
                "template": {
                    "metadata": {"labels": {"app": NIM}},
                    "spec": {"containers": [{"name": "nim", "image": "nvcr.io/nim/black-forest-labs/flux.1-dev:1"}]},
                },
            },
        }
        for manifest in (
            objects.namespace(settings),
            objects.artists_role(settings),
            *objects.secrets(settings),
            deployment,
        ):
            client.apply(manifest)
        client.close()

    def stop_cluster(self) -> None:
        """Switch the cluster off."""
        self.subscription().client().managed_clusters.begin_stop(GROUP, CLUSTER).result()

    def start_cluster(self) -> None:
        """Switch it on."""
        self.subscription().client().managed_clusters.begin_start(GROUP, CLUSTER).result()

    def bindings(self) -> dict[str, list[str]]:
        """Return who is bound by each RoleBinding of the namespace."""
        answer = self.kube("GET", "rolebindings", group="rbac.authorization.k8s.io")
        return {
            item["metadata"]["name"]: [subject["name"] for subject in item["subjects"]]
            for item in answer.json()["items"]
        }

    def kube(
        self, method: str, path: str, fields: Fields | None = None, group: str = "apps", **more: t.Any
    ) -> requests.Response:
        """Ask the Kubernetes API for something in the namespace, as the deployer or as whoever has a secret."""
        start = f"/apis/{group}/v1" if group else "/api/v1"
        token = self.token(f"{KUBERNETES}/.default", fields)
        return self.ask_cluster(method, f"{start}/namespaces/{NAMESPACE}/{path}", token, **more)

    def ask_cluster(self, method: str, path: str, token: str, **more: t.Any) -> requests.Response:
        """Ask the Kubernetes API with a token."""
        cloud = self.subscription().cloud()
        cloud.read()
        headers = {"Authorization": f"Bearer {token}", **more.pop("headers", {})}
        return self._send(method, f"{cloud.access().host}{path}", headers=headers, **more)

    # ---- Entra and Azure by hand -----------------------------------------------------------------------------------

    def log_in(self, fields: Fields | None = None, scope: str = f"{MANAGEMENT}/.default") -> requests.Response:
        """Ask for a token, as the deployer or as whoever has a secret."""
        env = self.sandbox.env
        fields = fields or {
            "Client ID (Application ID)": env["AZURE_CLIENT_ID"],
            "Client Secret": env["AZURE_CLIENT_SECRET"],
        }
        form = {
            "grant_type": "client_credentials",
            "client_id": fields["Client ID (Application ID)"],
            "client_secret": fields["Client Secret"],
            "scope": scope,
        }
        return self._send(
            "POST", f"{env['AZURE_AUTHORITY_HOST']}/{env['AZURE_TENANT_ID']}/oauth2/v2.0/token", data=form
        )

    def token(self, scope: str, fields: Fields | None = None) -> str:
        """Return a token."""
        return str(self.log_in(fields, scope).json()["access_token"])

    def graph(self, method: str, path: str, fields: Fields | None = None, **more: t.Any) -> requests.Response:
        """Ask Microsoft Graph."""
        token = self.token("https://graph.microsoft.com/.default", fields)
        headers = {"Authorization": f"Bearer {token}", **more.pop("headers", {})}
        return self._send(method, f"{self.sandbox.env['AZURE_GRAPH_ENDPOINT']}/v1.0{path}", headers=headers, **more)

    def arm(self, method: str, path: str, fields: Fields | None = None, **more: t.Any) -> requests.Response:
        """Ask Azure Resource Manager for something below the subscription."""
        env = self.sandbox.env
        url = f"{env['AZURE_RESOURCE_MANAGER_ENDPOINT']}/subscriptions/{env['AZURE_SUBSCRIPTION_ID']}{path}"
        headers = {"Authorization": f"Bearer {self.token(f'{MANAGEMENT}/.default', fields)}"}
        return self._send(method, url, headers=headers, **more)

    def _send(self, method: str, url: str, **more: t.Any) -> requests.Response:
        return requests.request(method, url, timeout=20, verify=self.sandbox.env["REQUESTS_CA_BUNDLE"], **more)

    def application(self, workstation: str = WORKSTATION) -> dict[str, t.Any] | None:
        """Return a workstation's application, as Graph describes it."""
        name = _azure_identity.unique_name(self.sandbox.env["AZURE_SUBSCRIPTION_ID"], CLUSTER, workstation)
        answer = self.graph("GET", f"/applications(uniqueName='{name}')")
        return answer.json() if answer.ok else None

    def principal(self, app_id: str) -> dict[str, t.Any]:
        """Return the service principal of an application."""
        answer = self.graph("GET", f"/servicePrincipals(appId='{app_id}')")
        assert answer.ok, answer.text
        return t.cast("dict[str, t.Any]", answer.json())

    def key_ids(self, workstation: str = WORKSTATION) -> list[str]:
        """Return the ids of an application's secrets."""
        application = self.application(workstation) or {"passwordCredentials": []}
        return sorted(item["keyId"] for item in application["passwordCredentials"])

    def make_identity(self, name: str = "render-node") -> tuple[str, Fields]:
        """Make an identity by hand that a workstation may have already; return its object id and how to log in."""
        app_id = self.graph("POST", "/applications", json={"displayName": name}).json()["appId"]
        principal = self.graph("POST", "/servicePrincipals", json={"appId": app_id}).json()
        secret = self.graph("POST", f"/applications(appId='{app_id}')/addPassword", json={}).json()
        fields = {"Client ID (Application ID)": app_id, "Client Secret": secret["secretText"]}
        self.control.clear_calls()
        return principal["id"], fields

    # ---- what was called -------------------------------------------------------------------------------------------

    def calls(self, since: int = 0) -> list[str]:
        """Return the actions of all calls but those for tokens, in order."""
        return [call["action"] for call in self.control.calls(since=since) if call["service"] in SERVICES]

    def writes(self, since: int = 0) -> list[str]:
        """Return the actions of all calls that change something, in order."""
        return [
            call["action"]
            for call in self.control.calls(since=since)
            if call["service"] in SERVICES and call["method"] != "GET" and call["action"] not in READ_ACTIONS
        ]

    def resources(self) -> dict[str, list[str]]:
        """Return the names of all that is on Azure and belongs to identities, without kinds that hold nothing."""
        kinds = ("applications", "service_principals", "client_secrets", "deleted_applications", "role_assignments")
        found = self.control.resources().get("azure", {})
        return {kind: found[kind] for kind in kinds if found.get(kind)}


__all__ = ("CLUSTER", "GROUP", "NAMESPACE", "NIM", "REGION", "WORKSTATION", "Artist", "Fields")
