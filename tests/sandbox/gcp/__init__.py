# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated Google Cloud: OAuth and IAM of service accounts, GKE, quotas of Compute Engine, Cloud Logging, money."""

from __future__ import annotations

from pathlib import Path

from werkzeug.wrappers import Request, Response

from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.gcp.gke import KubernetesEngine
from tests.sandbox.gcp.iam import Iam
from tests.sandbox.gcp.logging import CloudLogging
from tests.sandbox.gcp.monitoring import CloudMonitoring
from tests.sandbox.gcp.oauth import GoogleAccount, GoogleOauth, google_error
from tests.sandbox.gcp.projects import ResourceManager
from tests.sandbox.gcp.quotas import ComputeQuotas
from tests.sandbox.kube import KubeApplication
from tests.sandbox.prices import BillingCatalog
from tests.sandbox.spend import BigQuery, Ledger

__all__ = ["GcpApplication"]


class GcpApplication:
    """All of Google Cloud. Werkzeug request in, Werkzeug response out."""

    def __init__(
        self, ca_pem: str, kube: KubeApplication, ledger: Ledger, calls: CallLog, interferences: Interferences
    ) -> None:
        self.account = GoogleAccount()
        self._oauth = GoogleOauth(self.account, calls, interferences)
        self.quotas = ComputeQuotas(self.account, self._oauth, calls, interferences)
        self._gke = KubernetesEngine(self.account, self._oauth, self.quotas, kube, ca_pem, calls, interferences)
        self._iam = Iam(self.account, self._oauth, calls, interferences)
        projects = ResourceManager(self.account, self._oauth, calls, interferences)
        logging = CloudLogging(self.account, self._oauth, kube.logs, self._gke.places, calls, interferences)
        self.billing = BillingCatalog(self._oauth.check_google, google_error, calls, interferences)
        bills = BigQuery(self.account.project, self._oauth.check_google, google_error, ledger, calls, interferences)
        self.monitoring = CloudMonitoring(self.account, self._oauth, calls, interferences)
        # The paths of IAM are below those that GKE claims, and those of Cloud Monitoring below the projects' own.
        first = (bills, self._iam, self.monitoring, projects)
        self._services = (*first, self._gke, self.quotas, logging, self.billing, self._oauth)

    def handles(self, request: Request) -> bool:
        """Whether a request is for Google Cloud, by its path."""
        return any(service.handles(request) for service in self._services)

    def __call__(self, request: Request) -> Response:
        """Answer."""
        return next(service for service in self._services if service.handles(request))(request)

    def resources(self) -> dict[str, list[str]]:
        """Return the names of what exists, by kind."""
        return {**self._gke.resources(), **self._iam.resources()}

    def kube_ids(self) -> set[str]:
        """Return the ids under which the clusters' APIs are found."""
        return set(self._gke.places())

    def environment(self, url: str, key_file: Path) -> dict[str, str]:
        """Return the variables that lead clients here. `key_file` is where the service account's key is."""
        return {
            "GOOGLE_APPLICATION_CREDENTIALS": str(key_file.resolve()),
            "GOOGLE_CLOUD_PROJECT": self.account.project,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER": f"{url}/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{url}/compute/v1/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_IAM": f"{url}/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDRESOURCEMANAGER": f"{url}/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING": f"{url}/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_MONITORING": f"{url}/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBILLING": f"{url}/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_BIGQUERY": f"{url}/bigquery/v2/",
        }

    def reset(self) -> None:
        """Forget all resources."""
        self._gke.reset()
        self.quotas.reset()
        self.monitoring.reset()
        self.account.reset()
