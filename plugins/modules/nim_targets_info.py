#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_targets_info
short_description: List the NVIDIA NIM containers of many targets at once
description:
  - Reads all targets of the inventory in parallel, from the clouds themselves. Nothing is remembered between runs.
  - The targets are read whatever the run's C(--limit) says, because a limit narrows what is changed, never what is
    known.
  - A target that cannot be read does not stop the others; it is returned with RV(targets[].read=false) and the reason.
  - A target is a host in the group C(nim_providers). Its variable C(nim_target) says how it is reached, with the
    connection options of the module of its provider, for example M(budgetguard.techops.nim_aws_info). Its provider is
    the variable C(nim_provider), or the name of its group.
  - It runs on the controller, where it needs the libraries of the providers, for example boto3.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes.controller_info
options:
  targets:
    description:
      - Names of the hosts to read. By default all hosts in the group C(nim_providers).
      - In one slice of a sliced job of AWX, which has a part of the inventory only, it refuses to take these for all.
        It also refuses where C(nim_matrix) is set and the inventory has no such group, which is a typing error.
    type: list
    elements: str
  docker_hosts:
    description:
      - Results of M(budgetguard.techops.nim_local_info) for the targets that are Docker hosts, as a loop over their
        names registers them. Those are read over their own connections, not by the controller.
      - A Docker host that is not among them counts as one that cannot be read.
    type: list
    elements: dict
    default: []
  explain:
    description:
      - Also ask why a NIM that should run does not. Costs a few more calls for each such NIM.
    type: bool
    default: true
  fail_unread:
    description:
      - Fail if any target cannot be read. One that is switched off does not count.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Read all targets
  budgetguard.techops.nim_targets_info:
  run_once: true
  register: found

- name: Read the Docker hosts over their own connections ...
  budgetguard.techops.nim_local_info:
  loop: "{{ groups.local }}"
  delegate_to: "{{ item }}"
  run_once: true
  failed_when: false
  ignore_unreachable: true
  register: docker_hosts

- name: ... and all targets together
  budgetguard.techops.nim_targets_info:
    docker_hosts: "{{ docker_hosts.results }}"
  run_once: true
  register: found
"""

RETURN = r"""
targets:
  description: The targets in the order in which they were asked for.
  returned: always
  type: list
  elements: dict
  contains:
    target:
      description: Name of the inventory host.
      type: str
      sample: aws-us-east-1
    provider:
      description: One of V(aws), V(azure), V(gcp), V(nvidia) and V(local).
      type: str
      sample: aws
    region:
      description: Region, where the provider has regions.
      type: str
      sample: us-east-1
    read:
      description: Whether the target could be read.
      type: bool
      sample: true
    asleep:
      description:
        - Whether it could not be read because the whole target was switched off, such as a stopped AKS cluster. Then
          nothing on it runs, and what was published about it still holds.
      type: bool
      sample: false
    error:
      description: Why it could not be read.
      type: str
      sample: null
    deployments:
      description: The NIMs, as in M(budgetguard.techops.nim_aws_info). Empty if the target could not be read.
      type: list
      elements: dict
      sample: []
    control:
      description:
        - Where a workstation's own identity starts and stops the NIMs, which are services or Deployments of the same
          names. Not secret. V(null) where such an identity can do nothing.
        - C(kind) is V(ecs), with C(region) and C(cluster), or V(kubernetes), with C(server), C(ca) and C(namespace).
      type: dict
      sample:
        kind: ecs
        region: us-east-1
        cluster: budgetguard
asleep:
  description: Names of the targets that are switched off as a whole.
  returned: always
  type: list
  elements: str
  sample: []
unread:
  description: Names of the targets that could not be read, without those that are switched off.
  returned: always
  type: list
  elements: str
  sample: []
"""
