#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: workstation_credential_gcp
short_description: Give a workstation a Google Cloud identity of its own
description:
  - Makes the service account C(ws-NAME-HASH) for one workstation and a key for it. It may start and stop the NIMs of
    one GKE cluster and look at them, and nothing else.
  - That takes two rights. A RoleBinding in the cluster binds the account to the Role C(nim-artists), which
    M(budgetguard.techops.nim_gcp) makes. O(project_role) in the project lets it log in to the cluster; it holds no
    right inside of clusters. Other bindings of the project's policy, their conditions and what others change at the
    same time are kept.
  - A key can be had once, when it is made. Store it together with RV(key.id) and pass that as O(key_id) the next time;
    then nothing is made while the key works.
  - A cluster that does not exist yet, that has no NIM yet or that does not answer keeps no key from being made. There
    is a warning then, and the next run makes the RoleBinding.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes
  - budgetguard.techops.attributes.actiongroup_gcp
  - budgetguard.techops.workstation_credential
  - budgetguard.techops.gcp_connection
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
      - An identity that the workstation has of its own. It gets both rights, nothing else is made, and there is no key.
        With O(state=absent) it loses them.
      - The email of a service account, for example the one of its Application Default Credentials, or a federated
        identity of Workload Identity Federation, which begins with C(principal://).
    type: str
  project_role:
    description:
      - The role in the project with which the identity logs in to the cluster. A role of your own needs
        C(container.clusters.get), and C(container.clusters.connect) for O(dns_endpoint).
      - Empty means that you have given the role in another way, for example to a group that all these accounts are
        members of. A project's policy holds 1,500 members at most.
    type: str
    default: roles/container.clusterViewer
  iam_endpoint:
    description:
      - Send the calls of the IAM API to this address instead of Google's own. The environment variable
        E(CLOUDSDK_API_ENDPOINT_OVERRIDES_IAM) does the same.
    type: str
  resource_manager_endpoint:
    description:
      - The same for the Resource Manager API. The environment variable
        E(CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDRESOURCEMANAGER) does the same.
    type: str
notes:
  - The result holds a secret in RV(credentials) when a key was made, so set C(no_log=true) on the task. Nothing else in
    it is secret.
  - The account needs the roles Service Account Admin, Service Account Key Admin and Project IAM Admin
    (C(roles/iam.serviceAccountAdmin), C(roles/iam.serviceAccountKeyAdmin), C(roles/resourcemanager.projectIamAdmin))
    as well, and the IAM API and the Cloud Resource Manager API have to be enabled in the project.
  - In organisations made since May 2024 a policy forbids keys of service accounts
    (C(iam.disableServiceAccountKeyCreation), C(iam.managed.disableServiceAccountKeyCreation)). The module fails with
    that reason; O(principal) works.
  - A service account has 10 keys at most. When one more is needed, the one that will be missed least is deleted, never
    the stored one.
  - A deleted service account can be brought back for 30 days with C(gcloud iam service-accounts undelete). It comes
    back without keys and without rights, because they are taken away before.
seealso:
  - module: budgetguard.techops.nim_gcp
"""

EXAMPLES = r"""
- name: Have a service account and a key for the workstation
  budgetguard.techops.workstation_credential_gcp:
    project: my-studio
    location: us-central1-a
    workstation: ws-01
    key_id: "{{ stored_key_id | default(omit, true) }}"
    previous_key_id: "{{ stored_previous_key_id | default(omit, true) }}"
    max_age_days: 90
  no_log: true
  register: credential

- name: Delete the old key once the workstation holds the new one
  budgetguard.techops.workstation_credential_gcp:
    project: my-studio
    location: us-central1-a
    workstation: ws-01
    key_id: "{{ stored_key_id }}"
    delivered: true

- name: Give an identity that the workstation has already the same rights
  budgetguard.techops.workstation_credential_gcp:
    project: my-studio
    location: us-central1-a
    workstation: ws-02
    principal: >-
      principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/studio/subject/ws-02

- name: Take everything away from a stolen workstation
  budgetguard.techops.workstation_credential_gcp:
    project: my-studio
    location: us-central1-a
    workstation: ws-01
    state: absent
"""

RETURN = r"""
identity:
  description: Email of the service account, or the O(principal); null if there is none, also in check mode before it is
    made.
  returned: success
  type: str
  sample: ws-ws-01-562a786e@my-studio.iam.gserviceaccount.com
steps:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: str
  sample:
    - create service account ws-ws-01-562a786e@my-studio.iam.gserviceaccount.com
    - create key 2f1c6a0e9d4b8a7753f0c1d2e3b4a5968778695a
minted:
  description: Whether a key was made, or would be made in check mode.
  returned: success
  type: bool
  sample: true
reason:
  description: Why a key was made, in a few words; null if none was.
  returned: success
  type: str
  sample: there is none yet
key:
  description: The key that is to be stored, or null if there is none.
  returned: success
  type: dict
  contains:
    id:
      description: The key's id.
      type: str
      sample: 2f1c6a0e9d4b8a7753f0c1d2e3b4a5968778695a
    created:
      description: When it was made, in UTC.
      type: str
      sample: "2026-11-23T18:00:00Z"
    expires:
      description: When it ends, in UTC; null for a key without end, which is usual. Organisations can limit how long
        new keys are valid.
      type: str
      sample: null
previous_key_id:
  description: Id of the key that the workstation may still hold. Store it beside the new one.
  returned: success
  type: str
  sample: null
other_keys:
  description: Ids of all other keys of the service account.
  returned: success
  type: list
  elements: str
  sample: []
credentials:
  description:
    - The new key, under the names that ComfyUI-BudgetGuard uses. B(Secret.)
    - C(Project ID), C(Service Account JSON) with the content of the key file, which is the secret, and of the cluster
      C(Region) and C(Zone), the last one empty where it is in a whole region.
  returned: when a key was made
  type: dict
  sample:
    Project ID: my-studio
    Service Account JSON: '{"type": "service_account", ...}'
    Region: us-central1
    Zone: us-central1-a
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import GCP_IDENTITY, GCP_IDENTITY_RULES
from ansible_collections.budgetguard.techops.plugins.module_utils._identity import IDENTITY, run_identity
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_identity import connect


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={**IDENTITY, **GCP_IDENTITY},
        supports_check_mode=True,
        **GCP_IDENTITY_RULES,
    )
    run_identity(module, lambda workstation: connect(module.params, workstation))


if __name__ == "__main__":
    main()
