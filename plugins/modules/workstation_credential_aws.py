#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: workstation_credential_aws
short_description: Give a workstation an AWS identity of its own
description:
  - Makes the IAM user C(/budgetguard/ws-NAME) for one workstation and an access key for it. The user may start and stop
    NIMs of one cluster and look at them, in all regions of the account, and nothing else.
  - Its rights come from the managed policy C(CLUSTER-artist) on the group C(CLUSTER-artists), which all workstations of
    the cluster share. The same policy is the permissions boundary of each user, so that no other policy can add to it.
    The policy is put right when somebody has changed it.
  - A key's secret can be had once, when it is made. Store it together with RV(key.id) and pass that as O(key_id) the
    next time; then nothing is made while the key works.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes
  - budgetguard.techops.attributes.actiongroup_aws
  - budgetguard.techops.workstation_credential
  - budgetguard.techops.aws_connection
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
      - ARN of a role or user in the same account that the workstation has of its own, for example the role that it
        assumes by IAM Roles Anywhere. The policy is attached to it, nothing else is made, and there is no key. With
        O(state=absent) the policy is detached.
      - The role of a permission set of IAM Identity Center cannot be changed this way. Name the policy in the
        permission set instead.
  allowed_source_cidrs:
    description:
      - Public addresses of the studio, in CIDR form. From anywhere else everything is denied. Without it, the key works
        from everywhere.
      - It is a part of the policy that all workstations share, so it must be the same for all of them.
    type: list
    elements: str
    default: []
notes:
  - The result holds a secret in RV(credentials) when a key was made, so set C(no_log=true) on the task. Nothing else in
    it is secret.
  - An IAM user has two keys at most. When a third is needed, the one that will be missed least is deleted, never the
    stored one.
  - To make the group and to make or change the policy are rights of an administrator. See C(policies/aws/README.md) in
    the collection for what is needed when.
seealso:
  - module: budgetguard.techops.nim_aws
"""

EXAMPLES = r"""
- name: Have a user and a key for the workstation
  budgetguard.techops.workstation_credential_aws:
    region: us-east-1
    workstation: ws-01
    allowed_source_cidrs: [203.0.113.0/24]
    key_id: "{{ stored_key_id | default(omit, true) }}"
    previous_key_id: "{{ stored_previous_key_id | default(omit, true) }}"
    max_age_days: 90
  no_log: true
  register: credential

- name: Delete the old key once the workstation holds the new one
  budgetguard.techops.workstation_credential_aws:
    region: us-east-1
    workstation: ws-01
    allowed_source_cidrs: [203.0.113.0/24]
    key_id: "{{ stored_key_id }}"
    delivered: true

- name: Give a role that the workstation has already the same rights
  budgetguard.techops.workstation_credential_aws:
    region: us-east-1
    workstation: ws-02
    principal: arn:aws:iam::111122223333:role/studio/ws-02
    allowed_source_cidrs: [203.0.113.0/24]

- name: Take everything away from a stolen workstation
  budgetguard.techops.workstation_credential_aws:
    region: us-east-1
    workstation: ws-01
    state: absent
"""

RETURN = r"""
identity:
  description: ARN of the user, role or user of its own; null if there is none, also in check mode before it is made.
  returned: success
  type: str
  sample: arn:aws:iam::111122223333:user/budgetguard/ws-ws-01
steps:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: ["create user /budgetguard/ws-ws-01", "create key AKIAIOSFODNN7EXAMPLE"]
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
      description: The access key id.
      type: str
      sample: AKIAIOSFODNN7EXAMPLE
    created:
      description: When it was made, in UTC.
      type: str
      sample: "2026-11-23T18:00:00Z"
    expires:
      description: Always null, since access keys do not end by themselves.
      type: str
      sample: null
previous_key_id:
  description: Id of the key that the workstation may still hold. Store it beside the new one.
  returned: success
  type: str
  sample: null
other_keys:
  description: Ids of all other keys of the user.
  returned: success
  type: list
  elements: str
  sample: []
credentials:
  description:
    - The new key, under the names that ComfyUI-BudgetGuard uses. B(Secret.)
    - C(Access Key ID) is its id, C(Secret Access Key) the secret.
  returned: when a key was made
  type: dict
  sample:
    Access Key ID: AKIAIOSFODNN7EXAMPLE
    Secret Access Key: wJalr...
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import AWS_IDENTITY, AWS_IDENTITY_RULES
from ansible_collections.budgetguard.techops.plugins.module_utils._identity import IDENTITY, run_identity
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_identity import connect


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={**IDENTITY, **AWS_IDENTITY},
        supports_check_mode=True,
        **AWS_IDENTITY_RULES,
    )
    run_identity(module, lambda workstation: connect(module.params, workstation))


if __name__ == "__main__":
    main()
