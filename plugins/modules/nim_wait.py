#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_wait
short_description: Wait until NVIDIA NIM containers on many targets are ready
description:
  - Waits for NIMs that were switched on before, on all their targets in parallel, and shows a line whenever one of them
    gets further.
  - A NIM that cannot become ready any more is not waited for; the others are.
  - A target that cannot be read is tried again until the time is over.
  - Targets are described by the same variables as for M(budgetguard.techops.nim_targets_info).
  - A Docker host is asked over its own connection by M(budgetguard.techops.nim_local_info). It can only be waited for
    by a task that runs on this very host.
  - It runs on the controller, where it needs the libraries of the providers, for example boto3.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes.controller_info
attributes:
  check_mode:
    details:
      - In check mode it returns at once and waits for nothing.
options:
  expected:
    description:
      - The NIMs to wait for, by the name of the inventory host of their target.
      - Each is a dictionary with C(node), the name that is shown, and C(name), the name of the NIM on the target, as in
        the return value C(deployments) of M(budgetguard.techops.nim_aws) and the like. Other keys do not matter.
    type: dict
    required: true
  timeout:
    description:
      - Seconds after which waiting ends.
    type: float
    default: 2700
  interval:
    description:
      - Seconds between two looks at a target.
    type: float
    default: 15
  heartbeat:
    description:
      - Seconds between two lines that sum up how far everything is.
    type: float
    default: 60
  fail:
    description:
      - Fail if any NIM is not ready in the end.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Wait for two NIMs on two targets
  budgetguard.techops.nim_wait:
    expected:
      aws-us-east-1:
        - node: FLUX Dev
          name: nim-flux-dev-l40s
      azure-eastus:
        - node: Llama 3.1
          name: nim-llama-3-1-a100-80gb
  run_once: true

- name: Wait at most ten minutes, and go on whatever comes of it
  budgetguard.techops.nim_wait:
    expected: "{{ started }}"
    timeout: 600
    fail: false
  run_once: true
  register: waited
"""

RETURN = r"""
ready:
  description: The NIMs that are ready.
  returned: always
  type: list
  elements: dict
  contains:
    target:
      description: Name of the inventory host.
      type: str
      sample: aws-us-east-1
    node:
      description: The node, as in O(expected).
      type: str
      sample: FLUX Dev
    name:
      description: Name of the NIM on the target.
      type: str
      sample: nim-flux-dev-l40s
failures:
  description: What is wrong, by target, with one line for each NIM that is not ready, those in RV(timed_out) included.
  returned: always
  type: dict
  sample:
    aws-us-east-1: "FLUX Dev: does not start: the account's quota for this GPU family is used up"
timed_out:
  description: The NIMs that might still have become ready when the time was over.
  returned: always
  type: list
  elements: dict
  contains:
    target:
      description: Name of the inventory host.
      type: str
      sample: aws-us-east-1
    node:
      description: The node, as in O(expected).
      type: str
      sample: FLUX Dev
    name:
      description: Name of the NIM on the target.
      type: str
      sample: nim-flux-dev-l40s
    phase:
      description: How far it was, V(null) if nothing could be read about it.
      type: str
      sample: waiting for GPU capacity
elapsed:
  description: Seconds that were waited.
  returned: always
  type: int
  sample: 431
"""
