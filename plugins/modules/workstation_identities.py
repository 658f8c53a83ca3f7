#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: workstation_identities
short_description: Look after all identities of a workstation
description:
  - Makes the identities of one workstation in the clouds, tries their keys and stores them; hands over to new keys in
    two phases; takes everything away from a workstation that was lost.
  - In each cloud it does what M(budgetguard.techops.workstation_credential_aws),
    M(budgetguard.techops.workstation_credential_azure) and M(budgetguard.techops.workstation_credential_gcp) do, a key
    is tried as by M(budgetguard.techops.workstation_credential_info), and records are written by
    M(budgetguard.techops.vaulted_vars) or M(budgetguard.techops.stored_vars). All of it is one process on the
    controller, so that a run for many workstations takes little time.
  - A record is written before the next cloud has its turn, so a run that is killed loses one key at most. The next run
    makes another one and deletes the one that was lost. A key that its cloud refuses is not kept.
  - What goes wrong in one cloud is among RV(problems), and the others have their turn all the same. The task fails for
    wrong options only.
  - The role P(budgetguard.techops.workstation_credentials#role) uses it.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes
  - budgetguard.techops.attributes.action
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: RV(done) tells each step, and no secret.
  platform:
    support: full
options:
  state:
    description:
      - V(present) tries what was given by hand, makes identities and keys that are missing, and tries and stores keys.
      - V(delivered) is for when the workstation holds the stored keys. What they took over from is deleted.
      - V(absent) deletes all keys, then the identities, and notes that they must not come back by themselves.
    type: str
    choices: [present, delivered, absent]
    default: present
  workstation:
    description: Name of the workstation. By default the host of the task.
    type: str
  providers:
    description: The clouds in which it gets an identity. With O(state=absent) those count, too, of which one is stored.
    type: list
    elements: str
    choices: [aws, azure, gcp]
    default: []
  targets:
    description:
      - Provider to the host whose C(nim_target) says in which account the identity is made. By default that is the
        first host of the group of the provider's name.
    type: dict
    default: {}
  keyless:
    description: Provider to the identity that the workstation has of its own. It gets the rights, and no key is made.
    type: dict
    default: {}
  options:
    description:
      - Provider to further options of its module, such as
        O(budgetguard.techops.workstation_credential_aws#module:allowed_source_cidrs).
    type: dict
    default: {}
  studio_wide:
    description: One identity that all workstations share.
    type: bool
    default: false
  acts:
    description:
      - Whether this workstation looks after the identities. With O(studio_wide), one of the run does for all of them.
    type: bool
    default: true
  identities:
    description:
      - What is stored of the workstation, by provider. Without it, it is read from O(store); nothing is stored where
        that is V(file).
    type: dict
  studio_identities:
    description: The same of the identities that all workstations share.
    type: dict
  given:
    description:
      - What was given to the workstation by hand, by provider and field. Keys of clouds are tried if the workstation
        has no identity there.
    type: dict
    default: {}
  nvidia_answers:
    description:
      - Results of M(budgetguard.techops.nim_key_info) in a loop over keys of NVIDIA, so that a key that several
        workstations share is asked about once.
    type: list
    elements: dict
    default: []
  gateway:
    description: Whether workstations get tokens for gateways. With O(state=absent) this one gets none any more.
    type: bool
    default: false
  rotate:
    description: Make new keys although the stored ones work. One that is on its way is not replaced again.
    type: bool
    default: false
  max_age_days:
    description: Make a new key where the stored one is so many days old. V(0) is never.
    type: int
    default: 0
  check_all:
    description: Try every key, not only new ones.
    type: bool
    default: false
  restore:
    description: Make identities again that were revoked.
    type: bool
    default: false
  arrived:
    description: With O(state=delivered), whether this workstation holds the stored keys.
    type: bool
    default: false
  holders:
    description:
      - With O(state=delivered) and O(studio_wide), all workstations that do. The key before is deleted when everybody
        in the group C(artist_workstations) who uses the shared one has the new one.
    type: list
    elements: str
    default: []
  store:
    description:
      - Where records are kept. V(file) is vars files below O(inventory_dir), the secrets in them encrypted; otherwise
        a mapping, the option O(budgetguard.techops.stored_vars#module:store).
    type: raw
    default: file
  inventory_dir:
    description:
      - The folder with C(host_vars) and C(group_vars), in which C(budgetguard_identities.yml) is written. Needed where
        O(store) is V(file).
    type: path
  vault_id:
    description: Which of the run's vault passwords encrypts. By default the first one.
    type: str
requirements:
  - boto3 >= 1.40.53 (AWS)
  - azure-identity >= 1.19, azure-mgmt-containerservice and kubernetes (Azure)
  - google-auth >= 2.35, google-cloud-container and kubernetes (Google Cloud)
notes:
  - Needs the libraries of the clouds for the Python that runs Ansible. Variables of the environment with which a cloud
    is logged in to are those of C(ansible-playbook); the keyword C(environment) does not count.
  - RV(identities) and RV(studio_identities) hold secrets, so set C(no_log=true) on the task, and tell RV(done),
    RV(notes) and RV(problems) with another one.
seealso:
  - module: budgetguard.techops.workstation_credential_aws
  - module: budgetguard.techops.workstation_credential_azure
  - module: budgetguard.techops.workstation_credential_gcp
"""

EXAMPLES = r"""
- name: Look after the identities of the workstation
  budgetguard.techops.workstation_identities:
    providers: [aws, gcp]
    identities: "{{ nim_identities | default({}) }}"
    inventory_dir: "{{ inventory_dir }}"
  register: looked_after
  no_log: true

- name: Tell what was done
  ansible.builtin.debug:
    msg: "{{ looked_after.done + looked_after.notes + looked_after.problems }}"
"""

RETURN = r"""
done:
  description: What was done in each cloud, or would be done in check mode. One sentence each, without secrets.
  returned: always
  type: list
  elements: str
  sample:
    - "aws: create user /budgetguard/ws-ws-01, create key AKIAIOSFODNN7EXAMPLE (there is none yet). The new key works
      and is kept."
notes:
  description: What keeps an identity from being complete, and which ones stay revoked.
  returned: always
  type: list
  elements: str
  sample: []
problems:
  description: What went wrong, one or two sentences each that begin with the provider.
  returned: always
  type: list
  elements: str
  sample: []
due:
  description:
    - The providers whose stored key the workstation is not known to hold, or that leave an earlier identity behind. Run
      it with O(state=delivered) when the workstation has its config.
  returned: always
  type: list
  elements: str
  sample: [aws]
ready:
  description: Whether the store takes records. Nothing was done where it does not.
  returned: always
  type: bool
  sample: true
identities:
  description: What is stored of the workstation now, by provider. B(Secret.)
  returned: always
  type: dict
  sample: {}
studio_identities:
  description: What is stored of the identities that all share. B(Secret.)
  returned: always
  type: dict
  sample: {}
"""
