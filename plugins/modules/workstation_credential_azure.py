#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: workstation_credential_azure
short_description: Give a workstation an Azure identity of its own
description:
  - Makes an application in Microsoft Entra for one workstation, its service principal, and a client secret with an end
    date. It may look at the NIMs of one AKS cluster and start and stop them, and nothing else.
  - Its rights are two. The role C(Azure Kubernetes Service Cluster User Role) on the cluster lets it fetch the address
    of the cluster's Kubernetes API. The RoleBinding C(ws-NAME) in O(namespace) binds it to the Kubernetes Role
    C(nim-artists), which allows to read a Deployment and to change how many copies of it run. No role of Azure RBAC can
    tell that from a change of the image.
  - A secret can be had once, when it is made. Store it together with RV(key.id) and pass that as O(key_id) the next
    time; then nothing is made while the secret works.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes
  - budgetguard.techops.attributes.actiongroup_azure
  - budgetguard.techops.workstation_credential
  - budgetguard.techops.azure_connection
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  platform:
    support: full
options:
  principal:
    description:
      - Object id (principal id) of a managed identity, or of another service principal, that the workstation has of its
        own. It gets the two rights, nothing else is made, and there is no secret. With O(state=absent) it loses them.
    type: str
  max_age_days:
    description:
      - Make a new secret when the stored one is so many days old, 700 at most. It ends by itself 30 days after that,
        also where nobody could reach the workstation.
      - Without it, a secret ends after 180 days, and a new one is made 14 days before.
    type: int
notes:
  - The result holds a secret in RV(credentials) when one was made, so set C(no_log=true) on the task. Nothing else in
    it is secret.
  - The deployer needs the permission C(Application.ReadWrite.OwnedBy) of Microsoft Graph with an administrator's
    consent, the role Role Based Access Control Administrator on the cluster, and Azure Kubernetes Service RBAC Cluster
    Admin in it. For a O(principal) it needs nothing of Microsoft Graph.
  - While the cluster does not exist, is switched off or does not answer, or has no Role C(nim-artists) before its first
    deployment, the secret is made all the same. A warning says which right is missing; the next run adds it.
  - An application is found by its unique name, which is made of O(workstation), O(subscription_id) and O(cluster). One
    workstation has one identity for all clusters of this name in a subscription, each with rights of its own.
  - With O(state=absent) the cluster named here is tidied up, and the identity is gone for all of them. Entra keeps a
    deleted application for 30 days. Whoever restores it gets one without secrets and rights.
  - Tokens that were given out before live for about an hour. The cluster refuses them as soon as the RoleBinding is
    gone.
seealso:
  - module: budgetguard.techops.nim_azure
"""

EXAMPLES = r"""
- name: Have an application and a secret for the workstation
  budgetguard.techops.workstation_credential_azure:
    subscription_id: 00000000-0000-0000-0000-000000000000
    resource_group: nims
    region: eastus
    workstation: ws-01
    key_id: "{{ stored_key_id | default(omit, true) }}"
    previous_key_id: "{{ stored_previous_key_id | default(omit, true) }}"
    max_age_days: 90
  no_log: true
  register: credential

- name: Delete the old secret once the workstation holds the new one
  budgetguard.techops.workstation_credential_azure:
    subscription_id: 00000000-0000-0000-0000-000000000000
    resource_group: nims
    workstation: ws-01
    key_id: "{{ stored_key_id }}"
    delivered: true

- name: Give a managed identity that the workstation has already the same rights
  budgetguard.techops.workstation_credential_azure:
    subscription_id: 00000000-0000-0000-0000-000000000000
    resource_group: nims
    workstation: ws-02
    principal: 11111111-2222-3333-4444-555555555555

- name: Take everything away from a stolen workstation
  budgetguard.techops.workstation_credential_azure:
    subscription_id: 00000000-0000-0000-0000-000000000000
    resource_group: nims
    workstation: ws-01
    state: absent
"""

RETURN = r"""
identity:
  description:
    - Client id of the application, or the object id in O(principal); null if there is none, also in check mode before
      it is made.
  returned: success
  type: str
  sample: 22222222-3333-4444-5555-666666666666
steps:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: ["create application budgetguard-ws-ws-01-1f2e3d4c5b6a", "create key 33333333-4444-5555-6666-777777777777"]
minted:
  description: Whether a secret was made, or would be made in check mode.
  returned: success
  type: bool
  sample: true
reason:
  description: Why a secret was made, in a few words; null if none was.
  returned: success
  type: str
  sample: there is none yet
key:
  description: The secret that is to be stored, without the secret itself, or null if there is none.
  returned: success
  type: dict
  contains:
    id:
      description: The key id.
      type: str
      sample: 33333333-4444-5555-6666-777777777777
    created:
      description: When it was made, in UTC.
      type: str
      sample: "2026-11-23T18:00:00Z"
    expires:
      description: When it ends by itself, in UTC.
      type: str
      sample: "2027-03-23T18:00:00Z"
previous_key_id:
  description: Id of the secret that the workstation may still hold. Store it beside the new one.
  returned: success
  type: str
  sample: null
other_keys:
  description: Ids of all other secrets of the application.
  returned: success
  type: list
  elements: str
  sample: []
credentials:
  description:
    - The new secret and what belongs to it, under the names that ComfyUI-BudgetGuard uses. B(Secret.)
    - C(Subscription ID), C(Tenant ID), V(Client ID (Application ID\)), C(Client Secret), and of the cluster
      C(Resource Group) and C(Region). The last one is missing where O(region) is not set and there is no cluster yet.
  returned: when a secret was made
  type: dict
  sample:
    Subscription ID: 00000000-0000-0000-0000-000000000000
    Tenant ID: 44444444-5555-6666-7777-888888888888
    Client ID (Application ID): 22222222-3333-4444-5555-666666666666
    Client Secret: abc8Q~...
    Resource Group: nims
    Region: eastus
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import AZURE_IDENTITY
from ansible_collections.budgetguard.techops.plugins.module_utils._identity import IDENTITY, run_identity
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_identity import connect


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={**IDENTITY, **AZURE_IDENTITY},
        supports_check_mode=True,
    )
    run_identity(module, lambda workstation: connect(module.params, workstation))


if __name__ == "__main__":
    main()
