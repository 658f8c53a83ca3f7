# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that all Azure modules share."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation of how an AKS cluster is reached."""

    DOCUMENTATION = r"""
options:
  subscription_id:
    description:
      - Azure subscription. The environment variable E(AZURE_SUBSCRIPTION_ID) does the same.
    type: str
    required: true
  resource_group:
    description:
      - Resource group of the cluster. It is made with the cluster if it does not exist; one that somebody else made is
        used, but never changed or deleted.
    type: str
    required: true
  cluster:
    description:
      - Name of the AKS cluster. One that somebody else made is used, but never changed outside of the GPU pools made
        here, never switched on or off, and never deleted.
    type: str
    default: budgetguard
  namespace:
    description:
      - Kubernetes namespace of the NIMs.
    type: str
    default: budgetguard
  region:
    description:
      - Azure region, for example V(eastus). Needed to make the cluster; after that it may be left out.
    type: str
  auth_source:
    description:
      - How to log in. V(service_principal) needs O(tenant), O(client_id) and O(secret). V(managed_identity) is that of
        the machine, or the one that O(client_id) names. V(cli) is the login of C(az login).
      - With V(auto), a service principal if O(secret) is set, otherwise the first that there is of workload identity,
        managed identity and the login of the Azure CLI.
    type: str
    choices: [auto, service_principal, managed_identity, cli]
    default: auto
  tenant:
    description:
      - Microsoft Entra tenant of the service principal, as an id or a domain name. The environment variables
        E(AZURE_TENANT_ID) and E(AZURE_TENANT) do the same.
    type: str
  client_id:
    description:
      - Client id of the service principal or of a managed identity. The environment variable E(AZURE_CLIENT_ID) does
        the same.
    type: str
  secret:
    description:
      - Client secret of the service principal. The environment variables E(AZURE_CLIENT_SECRET) and E(AZURE_SECRET) do
        the same.
    type: str
  resource_manager_endpoint:
    description:
      - Send the calls of Azure Resource Manager to this address instead of V(https://management.azure.com), for example
        in a sovereign cloud. The environment variable E(AZURE_RESOURCE_MANAGER_ENDPOINT) does the same.
      - Where to log in there is told by the environment variable E(AZURE_AUTHORITY_HOST).
    type: str
  graph_endpoint:
    description:
      - Send the calls of Microsoft Graph to this address instead of V(https://graph.microsoft.com), for example in a
        sovereign cloud. The environment variable E(AZURE_GRAPH_ENDPOINT) does the same.
      - Only M(budgetguard.techops.workstation_credential_azure) uses Microsoft Graph.
    type: str
requirements:
  - azure-mgmt-containerservice >= 41.0.0
  - azure-identity >= 1.25.0
  - kubernetes >= 37.0.0
notes:
  - The deployer needs two roles on the resource group, or on the subscription where there is no resource group yet.
    Contributor lets it make clusters and pools, Azure Kubernetes Service RBAC Cluster Admin lets it work inside the
    cluster. With Reader on the subscription, quotas are looked at before anything is created; without it they are not.
  - The environment variable E(REQUESTS_CA_BUNDLE) names a file with other certificate authorities to trust.
"""
