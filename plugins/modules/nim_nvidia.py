#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_nvidia
short_description: Use NVIDIA NIM at NVIDIA, hosted or as Cloud Functions
description:
  - Brings the NIMs of one organisation at NVIDIA to what is asked for. There are two kinds.
  - A hosted model of NVIDIA's API catalogue is there already. It is asked for without O(deployments[].gpu_tier), or
    with V(hosted), and is only checked. It cannot be started, stopped or removed.
  - With any other O(deployments[].gpu_tier), the NIM becomes a function of NVIDIA Cloud Functions, on NVIDIA's GPUs,
    for this organisation alone.
  - A function that is not deployed costs nothing. O(deployments[].state=present) makes the function and does not deploy
    it; whether it is deployed, or keeps an instance up, is the only switch (O(stopped_means)).
  - A function keeps its address through all changes. Its versions cannot be changed, so another image, variable or key
    becomes a new version. Where the old one runs it is taken down first, because it holds the GPU.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes
  - budgetguard.techops.attributes.actiongroup_nvidia
  - budgetguard.techops.nim_deployments
  - budgetguard.techops.nvidia_connection
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  platform:
    support: full
options:
  image_registry:
    description:
      - Where the organisation's own copies of NVIDIA's images lie, for example V(nvcr.io/my-org). Without it, the
        registry of O(org) and O(team). Cloud Functions run no image from C(nvcr.io/nim).
      - C(nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.3) has to be there as C(flux.1-dev:1.2.3). In C(nvcr.io), this is
        looked at before anything is made, and the message has the commands that copy an image.
    type: str
  ngc_api_key:
    description:
      - NGC API key with which the NIM downloads its model. Needed whenever a function gets a new version.
      - Use another one than O(api_key), because the container can read it.
    type: str
  hf_token:
    description:
      - Hugging Face token, for nodes with gated weights. Its account has to have accepted the licences.
    type: str
  key_delivery:
    description:
      - How the container gets O(ngc_api_key) and O(hf_token).
      - V(environment) uses variables, as NVIDIA's own example for NIMs does. Whoever may list the organisation's
        functions with their details can read them.
      - V(secret) uses secrets of Cloud Functions, which nobody can read back. The container finds them in the file
        C(/var/secrets/secrets.json); a stock NIM does not look there, so the image has to be made to.
    type: str
    choices: [environment, secret]
    default: environment
  stopped_means:
    description:
      - What it means that a NIM is stopped.
      - V(undeploy) takes the deployment down, after the requests under way are answered. Nothing starts it but
        O(deployments[].state=started).
      - V(scale_to_zero) keeps it deployed with no instance. NVIDIA brings an instance up as soon as somebody sends a
        request, which costs money, and takes it away later. O(deployments[].state=present) then deploys it so, too.
    type: str
    choices: [undeploy, scale_to_zero]
    default: undeploy
  max_instances:
    description:
      - Up to how many instances NVIDIA may bring up for a NIM under load. O(deployments[].replicas) are always up.
      - Without it, never more than these.
    type: int
  max_request_concurrency:
    description:
      - How many requests one instance gets at a time, V(1) to V(16384).
    type: int
    default: 1
  instance_types:
    description:
      - The instance type for each GPU tier, for example V(DGX-CLOUD.GPU.L40S_1x) for C(l40s). Without an entry, the one
        that NVIDIA offers the organisation with this GPU and the number of GPUs that the model needs.
    type: dict
    default: {}
  clusters:
    description:
      - Run only in these clusters, by name. Without it, anywhere.
    type: list
    elements: str
    default: []
  regions:
    description:
      - Run only in these regions. Without it, anywhere.
    type: list
    elements: str
    default: []
notes:
  - O(purge_shared) has no effect here, because NIMs at NVIDIA share nothing that could be removed.
  - Endpoints of this target want the header C(Authorization) with a key of the organisation.
seealso:
  - module: budgetguard.techops.nim_nvidia_info
"""

EXAMPLES = r"""
- name: Look whether the key may use two hosted models
  budgetguard.techops.nim_nvidia:
    api_key: "{{ nvidia_api_key }}"
    deployments:
      - node: SDXL
      - node: Llama 3.1

- name: Have FLUX Dev as a function of our own, without a GPU bill
  budgetguard.techops.nim_nvidia:
    api_key: "{{ nvidia_api_key }}"
    org: my-org
    ngc_api_key: "{{ ngc_api_key }}"
    hf_token: "{{ hf_token }}"
    deployments:
      - node: FLUX Dev
        gpu_tier: l40s

- name: Switch it on, with up to four instances under load
  budgetguard.techops.nim_nvidia:
    api_key: "{{ nvidia_api_key }}"
    org: my-org
    max_instances: 4
    deployments:
      - node: FLUX Dev
        gpu_tier: l40s
        state: started

- name: Remove it
  budgetguard.techops.nim_nvidia:
    api_key: "{{ nvidia_api_key }}"
    org: my-org
    deployments:
      - node: FLUX Dev
        gpu_tier: l40s
        state: absent
"""

RETURN = r"""
deployments:
  description: The NIMs of this call as they are now; in check mode, as they would be.
  returned: always, unless nothing could be planned
  type: list
  elements: dict
  contains:
    name:
      description: Name of the deployment.
      type: str
      sample: nim-flux-dev-l40s
    node:
      description: Name of the node.
      type: str
      sample: FLUX Dev
    serves:
      description: All nodes that it answers for.
      type: list
      elements: str
      sample: [FLUX Dev]
    variants:
      description: Image variant per node, where the image has variants.
      type: dict
      sample: {FLUX Dev: base}
    gpu_tier:
      description: The GPU it runs on, or V(hosted).
      type: str
      sample: l40s
    image:
      description: Image with tag. None for a hosted model.
      type: str
      sample: nvcr.io/my-org/flux.1-dev:1.2.3
    kind:
      description: V(image), V(llm) or V(3d).
      type: str
      sample: image
    replicas:
      description: Instances that are always up.
      type: int
      sample: 1
    running:
      description: Instances that run.
      type: int
      sample: 1
    state:
      description: One of V(stopped), V(starting), V(running), V(failed), V(absent) and V(unknown).
      type: str
      sample: running
    reason:
      description: Why it is not running, in one sentence, if it should run.
      type: str
      sample: waiting for an instance with L40S
    endpoint:
      description: Base URL. That of a function holds its id and stays the same.
      type: str
      sample: https://6ff2e4a1-0f9b-4c63-9d51-f22b06ae2a5e.invocation.api.nvcf.nvidia.com
    infer_url:
      description: URL to send requests to, with a key of the organisation.
      type: str
      sample: https://6ff2e4a1-0f9b-4c63-9d51-f22b06ae2a5e.invocation.api.nvcf.nvidia.com/v1/infer
    health_url:
      description: URL that answers 200 when the NIM is ready. None for a hosted model.
      type: str
      sample: https://6ff2e4a1-0f9b-4c63-9d51-f22b06ae2a5e.invocation.api.nvcf.nvidia.com/v1/health/ready
    region:
      description: Always None, because NVIDIA chooses where it runs.
      type: str
      sample: null
    deployed_at:
      description: When its version was made, in UTC. None for a hosted model.
      type: str
      sample: "2026-11-23T18:00:00Z"
    auth:
      description: Always C(bearer), because NVIDIA asks for a key of the organisation.
      type: str
      sample: bearer
    running_since:
      description: Always null.
      type: str
      sample: null
    changed:
      description: Whether this call changed it.
      type: bool
      sample: false
    steps:
      description: What was done, or would be done in check mode.
      type: list
      elements: str
      sample: ["create nvcf_deployment nim-flux-dev-l40s"]
    error:
      description: Why it could not be brought to what was asked for.
      type: str
      sample: null
steps:
  description: Everything that was done, or would be done in check mode, in order.
  returned: always, unless nothing could be planned
  type: list
  elements: str
  sample: ["create nvcf_function nim-flux-dev-l40s"]
failed_deployments:
  description: The reason for each NIM that failed. The others were carried out.
  returned: always, unless nothing could be planned
  type: dict
  sample: {}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import DEPLOYMENTS, NVIDIA_CONNECTION
from ansible_collections.budgetguard.techops.plugins.module_utils._converge import run
from ansible_collections.budgetguard.techops.plugins.module_utils._providers.nvidia import Nvidia


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **DEPLOYMENTS,
            **NVIDIA_CONNECTION,
            "image_registry": {"type": "str"},
            "ngc_api_key": {"type": "str", "no_log": True},
            "hf_token": {"type": "str", "no_log": True},
            "key_delivery": {
                "type": "str",
                "choices": ["environment", "secret"],
                "default": "environment",
                "no_log": False,
            },
            "stopped_means": {"type": "str", "choices": ["undeploy", "scale_to_zero"], "default": "undeploy"},
            "max_instances": {"type": "int"},
            "max_request_concurrency": {"type": "int", "default": 1},
            "instance_types": {"type": "dict", "default": {}},
            "clusters": {"type": "list", "elements": "str", "default": []},
            "regions": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    run(module, "nvidia", lambda: Nvidia.connect(module.params))


if __name__ == "__main__":
    main()
