# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option that says which secret store is meant."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation of a secret store."""

    DOCUMENTATION = r"""
options:
  store:
    description:
      - The secret store, and how it is reached.
    type: dict
    required: true
    suboptions:
      type:
        description:
          - V(aws_secretsmanager) is AWS Secrets Manager, V(hashi_vault) HashiCorp Vault or OpenBao with the secrets
            engine KV version 2, V(azure_keyvault) Azure Key Vault, V(gcp_secretmanager) Google Secret Manager.
        type: str
        choices: [aws_secretsmanager, hashi_vault, azure_keyvault, gcp_secretmanager]
        required: true
      prefix:
        description:
          - First part of the names of all secrets. On Azure and Google Cloud a hyphen follows it, otherwise a slash.
        type: str
        default: budgetguard
      region:
        description: AWS region. Required for V(aws_secretsmanager).
        type: str
      profile:
        description: AWS profile.
        type: str
      access_key:
        description: AWS access key id. Without it, boto3's own chain is used.
        type: str
      secret_key:
        description: AWS secret access key.
        type: str
      session_token:
        description: AWS session token of temporary credentials.
        type: str
      assume_role_arn:
        description: AWS role to assume first.
        type: str
      assume_role_external_id:
        description: External id that the role's trust policy asks for.
        type: str
      endpoint_url:
        description: Address to use instead of AWS's or Google's own.
        type: str
      kms_key_id:
        description: AWS KMS key that encrypts new secrets. By default the account's own key for Secrets Manager.
        type: str
      url:
        description:
          - Address of Vault, or of the key vault, such as V(https://studio.vault.azure.net). Without it, Vault's is
            E(VAULT_ADDR).
        type: str
      token:
        description: Token of Vault. The environment variable E(VAULT_TOKEN) does the same.
        type: str
      role_id:
        description: AppRole of Vault, where there is no O(store.token). Also E(VAULT_ROLE_ID).
        type: str
      secret_id:
        description: Secret id of the AppRole. Also E(VAULT_SECRET_ID).
        type: str
      namespace:
        description: Namespace of Vault Enterprise. Also E(VAULT_NAMESPACE).
        type: str
      mount:
        description: Where the KV secrets engine is mounted in Vault.
        type: str
        default: secret
      tenant:
        description: Azure tenant. Also E(AZURE_TENANT_ID). Without all three of a service principal, the machine's
          own identity is used.
        type: str
      client_id:
        description: Application id of the service principal. Also E(AZURE_CLIENT_ID).
        type: str
      secret:
        description: Its secret. Also E(AZURE_CLIENT_SECRET).
        type: str
      project:
        description: Google Cloud project. Also E(GCP_PROJECT). Required for V(gcp_secretmanager).
        type: str
      service_account_file:
        description: Google key file. Without it, the application default credentials are used.
        type: path
      ca_path:
        description: File with certificate authorities to trust instead of the system's. For Vault also E(VAULT_CACERT).
        type: path
"""
