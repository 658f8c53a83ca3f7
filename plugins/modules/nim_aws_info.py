#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_aws_info
short_description: List the NVIDIA NIM containers of an AWS account and region
description:
  - Reads from AWS, by tag, which NIMs exist, which of them run, and why one that should run does not.
  - Nothing is remembered between runs.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes
  - budgetguard.techops.attributes.info_module
  - budgetguard.techops.attributes.actiongroup_aws
  - budgetguard.techops.aws_connection
seealso:
  - module: budgetguard.techops.nim_aws
"""

EXAMPLES = r"""
- name: See what runs
  budgetguard.techops.nim_aws_info:
    region: us-east-1
  register: result

- name: Show the reason for each NIM that does not run
  ansible.builtin.debug:
    msg: "{{ result.deployments | selectattr('reason') | map(attribute='reason') }}"
"""

RETURN = r"""
deployments:
  description:
    - The NIMs of the account and region, as in the return value of M(budgetguard.techops.nim_aws).
  returned: success
  type: list
  elements: dict
  sample:
    - name: nim-flux-dev-l40s
      node: FLUX Dev
      serves: [FLUX Dev]
      variants: {FLUX Dev: base}
      gpu_tier: l40s
      image: nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.3
      kind: image
      replicas: 1
      running: 0
      state: starting
      reason: waiting for a GPU machine
      endpoint: http://internal-budgetguard-nims-1.us-east-1.elb.amazonaws.com/flux-dev-l40s
      infer_url: http://internal-budgetguard-nims-1.us-east-1.elb.amazonaws.com/flux-dev-l40s/v1/infer
      health_url: http://internal-budgetguard-nims-1.us-east-1.elb.amazonaws.com/flux-dev-l40s/v1/health/ready
      region: us-east-1
      deployed_at: "2026-11-23T18:00:00Z"
      running_since: "2026-11-28T09:12:40Z"
      auth: none
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import AWS_CONNECTION
from ansible_collections.budgetguard.techops.plugins.module_utils._converge import run_info
from ansible_collections.budgetguard.techops.plugins.module_utils._providers.aws import Aws


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=AWS_CONNECTION,
        required_together=[("access_key", "secret_key")],
        supports_check_mode=True,
    )
    run_info(module, lambda: Aws.connect(module.params))


if __name__ == "__main__":
    main()
