# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A workstation's identity in the sandbox's project, made as the module workstation_credential_gcp makes it."""

from __future__ import annotations

import json
import os
import typing as t

from google.auth.exceptions import RefreshError
from google.auth.transport.requests import Request
from google.oauth2 import service_account

from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import GCP_IDENTITY
from ansible_collections.budgetguard.techops.plugins.module_utils._identity import IDENTITY
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _gcp_identity as identity
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _gcp_objects as gke
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _kube_objects as objects
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_session import GcpSession
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_settings import GcpSettings
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._kube_client import KubeClient
from ansible_collections.budgetguard.techops.plugins.module_utils._providers.gcp import GcpCloud
from tests.aws.artist import ModuleFailedError, run_module
from tests.sandbox import Sandbox

__all__ = ["Artist", "ModuleFailedError"]

LOCATION, CLUSTER, NAMESPACE = "us-central1-a", "budgetguard", "budgetguard"
PLACE = f"{LOCATION}/{CLUSTER}/{NAMESPACE}"
WORKSTATION = "ws-01"
BINDING = f"nim-artist-{WORKSTATION}"
CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
EMAIL_SCOPE = "https://www.googleapis.com/auth/userinfo.email"

READS = ("Get", "List", "get", "list", "token", "TestIam")

Json = dict[str, t.Any]


class Artist:
    """Runs the module's logic, does by hand what others might do, and tells what is there and what was called."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.control = sandbox.control
        # What the libraries read themselves; a studio sets the same.
        os.environ.update(sandbox.env)
        self.project = sandbox.env["GOOGLE_CLOUD_PROJECT"]
        self.email = self.email_of(WORKSTATION)
        self.member = f"serviceAccount:{self.email}"
        self.session = GcpSession({})
        self._policy_url = f"{self.session.resource_manager_url}/v3/projects/{self.project}"
        self.accounts_url = f"{self.session.iam_url}/v1/projects/{self.project}/serviceAccounts"
        self.first_steps = [
            f"create service account {self.email}",
            f"give {self.email} the role {identity.VIEWER} in the project {self.project}",
        ]
        self.bind_step = f"bind {self.email} to the Role nim-artists in the cluster {PLACE}"

    def email_of(self, workstation: str) -> str:
        """Return the email of a workstation's service account."""
        return f"{identity.account_id(workstation)}@{self.project}.iam.gserviceaccount.com"

    # ---- the module ------------------------------------------------------------------------------------------------

    def options(self, **changes: t.Any) -> Json:
        """Return the module's options with their defaults."""
        spec = {**IDENTITY, **GCP_IDENTITY}
        defaults = {name: option.get("default") for name, option in spec.items()}
        return {**defaults, "location": LOCATION, "workstation": WORKSTATION, **changes}

    def run(self, check: bool = False, options: Json | None = None, **more: t.Any) -> Json:
        """Run once; return the result. Raises ModuleFailedError with the message."""
        params = self.options(**(options or {}), **more)
        return run_module(params, check, lambda name: identity.connect(params, name))

    # ---- what was called -------------------------------------------------------------------------------------------

    def calls(self, since: int = 0) -> list[str]:
        """Return the actions of all calls but those for tokens, in order."""
        return [call["action"] for call in self.control.calls(since=since) if call["action"] != "token"]

    def writes(self, since: int = 0) -> list[str]:
        """Return the actions of all calls that change something, in order."""
        return [action for action in self.calls(since) if not action.startswith(READS)]

    # ---- what is there ---------------------------------------------------------------------------------------------

    def resources(self) -> dict[str, list[str]]:
        """Return the names of what is in the project, without kinds that hold nothing."""
        return {kind: names for kind, names in self.control.resources().get("gcp", {}).items() if names}

    def key_ids(self, email: str | None = None) -> list[str]:
        """Return the ids of an account's keys."""
        named = [name.partition("/") for name in self.resources().get("service_account_keys", [])]
        return sorted(key for account, _slash, key in named if account == (email or self.email))

    def policy(self) -> Json:
        """Return the project's policy."""
        body = {"options": {"requestedPolicyVersion": 3}}
        return self.session.rest("look", "POST", f"{self._policy_url}:getIamPolicy", body) or {}

    def set_policy(self, bindings: list[Json]) -> None:
        """Add bindings to the project's policy, by hand."""
        policy = self.policy()
        body = {"policy": {**policy, "version": 3, "bindings": [*policy["bindings"], *bindings]}}
        self.session.rest("change", "POST", f"{self._policy_url}:setIamPolicy", body)

    def roles(self, member: str | None = None) -> list[str]:
        """Return the roles of a member."""
        return [item["role"] for item in self.policy()["bindings"] if (member or self.member) in item["members"]]

    def by_hand(self, method: str, path: str, body: Json | None = None) -> Json:
        """Make a call of the IAM API below the project's service accounts."""
        return self.session.rest("do by hand", method, f"{self.accounts_url}{path}", body) or {}

    # ---- the cluster -----------------------------------------------------------------------------------------------

    def make_cluster(self, with_role: bool = True) -> None:
        """Make a cluster, and in it what a deployment makes for artists."""
        settings = GcpSettings(location=LOCATION)
        parent = f"projects/{self.project}/locations/{LOCATION}"
        request = {"parent": parent, "cluster": gke.cluster_body(self.project, settings)}
        self.session.wait("create", self.session.call("create", "create_cluster", request), LOCATION)
        self._put(objects.namespace(objects.KubeSettings()))
        if with_role:
            self.make_role()

    def make_role(self) -> None:
        """Make the Role for artists in the cluster."""
        self._put(objects.artists_role(objects.KubeSettings()))

    def _put(self, manifest: Json) -> None:
        client = self.kube()
        client.apply(manifest)
        client.close()

    def kube(self, session: GcpSession | None = None) -> KubeClient:
        """Return a client of the cluster, for the deployer or whoever's session it is."""
        cloud = GcpCloud(self.session, GcpSettings(location=LOCATION))
        access = cloud.access()
        if session is not None:
            access = type(access)(access.host, access.ca_pem, session.token)
        return KubeClient(access, {}, sleep=lambda _seconds: None, attempts=1)

    def binding(self, name: str = BINDING) -> Json | None:
        """Return a RoleBinding."""
        return self.kube().read("RoleBinding", name, NAMESPACE)

    def users(self, name: str = BINDING) -> list[str]:
        """Return the users whom a RoleBinding binds."""
        found = self.binding(name) or {}
        return [subject["name"] for subject in found.get("subjects", [])]

    # ---- the artist --------------------------------------------------------------------------------------------------

    def log_in(self, credentials: t.Mapping[str, str], *scopes: str) -> str:
        """Return a token for the artist's key. Raises RefreshError."""
        content = json.loads(credentials["Service Account JSON"])
        login: t.Any = service_account.Credentials
        logged_in = login.from_service_account_info(content, scopes=scopes or [CLOUD_PLATFORM])
        logged_in.refresh(Request())
        return str(logged_in.token)

    def is_accepted(self, credentials: t.Mapping[str, str]) -> bool:
        """Whether Google gives a token for the artist's key."""
        try:
            self.log_in(credentials)
        except RefreshError:
            return False
        return True
