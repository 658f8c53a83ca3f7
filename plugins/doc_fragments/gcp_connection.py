# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that all Google Cloud modules share."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation of how a GKE cluster is reached."""

    DOCUMENTATION = r"""
options:
  project:
    description:
      - Google Cloud project. Without it the environment variables E(GCP_PROJECT) and E(GOOGLE_CLOUD_PROJECT) count,
        then the project that the credentials name.
    type: str
  location:
    description:
      - Zone of the cluster, for example V(us-central1-a), or a region such as V(us-central1), where the control plane
        is in several zones.
    type: str
    required: true
  cluster:
    description:
      - Name of the GKE cluster. One that somebody else made is used, but never changed outside of the GPU pools made
        here, and never deleted. It has to be a Standard cluster, not an Autopilot one.
    type: str
    default: budgetguard
  namespace:
    description:
      - Kubernetes namespace of the NIMs.
    type: str
    default: budgetguard
  dns_endpoint:
    description:
      - Reach the Kubernetes API by the cluster's DNS endpoint instead of its IP address. This also works where the
        control plane has no public address, and needs the permission C(container.clusters.connect).
      - A cluster made here gets the endpoint with this option. Another one must have access by it allowed.
    type: bool
    default: false
  service_account_file:
    description:
      - File with the JSON key of a service account. The environment variable E(GCP_SERVICE_ACCOUNT_FILE) does the same.
      - Without it and O(service_account_contents), Google's application default credentials are used
        (E(GOOGLE_APPLICATION_CREDENTIALS), C(gcloud auth application-default login), the machine's own account).
    type: path
  service_account_contents:
    description:
      - The JSON key itself. The environment variable E(GCP_SERVICE_ACCOUNT_CONTENTS) does the same.
    type: jsonarg
  container_endpoint:
    description:
      - Send the calls of the Kubernetes Engine API to this address instead of Google's own, for example one of Private
        Service Connect. The environment variable E(CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER) does the same.
    type: str
  compute_endpoint:
    description:
      - The same for the Compute Engine API, with the path C(/compute/v1/). The environment variable
        E(CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE) does the same.
    type: str
requirements:
  - google-cloud-container >= 2.60
  - google-auth >= 2.40, with its extra C(requests)
  - kubernetes >= 37.0.0
notes:
  - The account needs the roles Kubernetes Engine Admin (C(roles/container.admin)) in the project and Service Account
    User (C(roles/iam.serviceAccountUser)) on the machines' service account. With Compute Viewer
    (C(roles/compute.viewer)) quotas are looked at before anything is created; without it they are not.
"""
