#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_azure
short_description: Deploy NVIDIA NIM containers on Azure
description:
  - Brings the NIMs of one AKS cluster to what is asked for, and makes the cluster if there is none.
  - NIMs run as Kubernetes Deployments on pools of GPU machines. There is one pool per machine type, and it is empty
    while no NIM needs it. The Deployment's count of replicas is the only switch, and O(deployments[].state=present)
    never resets it.
  - All NIMs of a cluster share one gateway and one load balancer, on which each has a path of its own.
  - The machines without a GPU, the load balancer and the disks with the models cost money while all NIMs are stopped;
    GPUs do not. With O(stop_cluster=true) these machines go as well.
  - A stopped GPU machine is billed for about 10 minutes more, until the autoscaler takes it away.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes
  - budgetguard.techops.attributes.actiongroup_azure
  - budgetguard.techops.nim_deployments
  - budgetguard.techops.azure_connection
  - budgetguard.techops.kubernetes_options
  - budgetguard.techops.gateway
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  platform:
    support: full
options:
  stop_cluster:
    description:
      - Switch the whole cluster off when a call with O(deployments[].state=stopped) leaves no NIM running. The next
        call with V(present) or V(started) switches it on again, which takes some minutes more.
      - Only a cluster made here is switched off. While it is off, all its NIMs are gone from the lists of
        M(budgetguard.techops.nim_azure_info).
      - Azure keeps the state of a cluster that is off for up to 12 months, and may have no machine left for it when it
        is switched on.
    type: bool
    default: false
  admin_group_object_ids:
    description:
      - Object ids of Microsoft Entra groups whose members administer the cluster. Used when the cluster is made.
    type: list
    elements: str
    default: []
  system_machine:
    description:
      - Type of the machines without a GPU, on which the gateway runs. AKS wants at least 4 virtual CPUs. Used when the
        cluster is made.
    type: str
    default: Standard_D4as_v5
  system_nodes:
    description:
      - Number of these machines. Used when the cluster is made.
    type: int
    default: 2
  kubernetes_version:
    description:
      - Version of Kubernetes, for example V(1.36). Without it, AKS's default. Used when the cluster is made.
    type: str
  subnet_id:
    description:
      - Id of the subnet for the machines. Without it, AKS makes a network of its own. Used when the cluster is made.
      - The load balancer's internal address is in the same subnet, so the cluster's managed identity needs the role
        Network Contributor on it.
    type: str
  device_plugin_image:
    description:
      - Image of NVIDIA's device plugin, which lets pods ask for GPUs. Without it, the version that Microsoft's
        documentation names.
    type: str
notes:
  - A new cluster lets people in by Microsoft Entra ID only (Azure RBAC, no local accounts), and enforces network
    policies with Cilium.
  - Making a cluster takes 5 to 10 minutes, and a pool 2 to 5. A run that is killed meanwhile is continued by the next.
seealso:
  - module: budgetguard.techops.nim_azure_info
"""

EXAMPLES = r"""
- name: Have two NIMs, without a GPU bill
  budgetguard.techops.nim_azure:
    subscription_id: 00000000-0000-0000-0000-000000000000
    resource_group: budgetguard
    region: eastus
    tenant: studio.example
    client_id: 11111111-1111-1111-1111-111111111111
    secret: "{{ azure_secret }}"
    allowed_cidrs: [10.20.0.0/16]
    ngc_api_key: "{{ ngc_api_key }}"
    hf_token: "{{ hf_token }}"
    deployments:
      - node: FLUX Dev
        gpu_tier: a100-80gb
      - node: Llama 3.1
        gpu_tier: a10

- name: Switch one on and wait until it is ready
  budgetguard.techops.nim_azure:
    subscription_id: 00000000-0000-0000-0000-000000000000
    resource_group: budgetguard
    allowed_cidrs: [10.20.0.0/16]
    deployments:
      - node: FLUX Dev
        gpu_tier: a100-80gb
        state: started

- name: Switch all off over the weekend, with the machines that have no GPU
  budgetguard.techops.nim_azure:
    subscription_id: 00000000-0000-0000-0000-000000000000
    resource_group: budgetguard
    stop_cluster: true
    deployments:
      - node: FLUX Dev
        state: stopped
      - node: Llama 3.1
        state: stopped

- name: Remove the last one and all that was shared
  budgetguard.techops.nim_azure:
    subscription_id: 00000000-0000-0000-0000-000000000000
    resource_group: budgetguard
    deployments:
      - node: FLUX Dev
        state: absent
    purge_shared: true
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
      sample: nim-flux-dev-a100-80gb
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
      description: The GPU it runs on.
      type: str
      sample: a100-80gb
    image:
      description: Image with tag.
      type: str
      sample: nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.3
    kind:
      description: V(image), V(llm) or V(3d).
      type: str
      sample: image
    replicas:
      description: Copies that should run.
      type: int
      sample: 1
    running:
      description: Copies that run.
      type: int
      sample: 1
    state:
      description: One of V(stopped), V(starting), V(running), V(stopping), V(failed), V(absent) and V(unknown).
      type: str
      sample: running
    reason:
      description: Why it is not running, in one sentence, if it should run.
      type: str
      sample: waiting for a GPU machine
    endpoint:
      description: Base URL at the load balancer, or null while it has no address.
      type: str
      sample: http://10.224.0.7/flux-dev-a100-80gb
    infer_url:
      description: URL to send requests to.
      type: str
      sample: http://10.224.0.7/flux-dev-a100-80gb/v1/infer
    health_url:
      description: URL that answers 200 when the NIM is ready.
      type: str
      sample: http://10.224.0.7/flux-dev-a100-80gb/v1/health/ready
    region:
      description: Region.
      type: str
      sample: eastus
    deployed_at:
      description: When it was deployed, in UTC.
      type: str
      sample: "2026-11-23T18:00:00Z"
    auth:
      description: C(gateway) if the endpoint asks for a workstation's token, else C(none).
      type: str
      sample: gateway
    running_since:
      description: Since when all of its copies are ready, in UTC. Null if they are not.
      type: str
      sample: "2026-11-28T09:12:40Z"
    changed:
      description: Whether this call changed it.
      type: bool
      sample: false
    steps:
      description: What was done, or would be done in check mode.
      type: list
      elements: str
      sample: ["update deployment nim-flux-dev-a100-80gb (spec.replicas)"]
    error:
      description: Why it could not be brought to what was asked for.
      type: str
      sample: null
steps:
  description: Everything that was done, or would be done in check mode, in order.
  returned: always, unless nothing could be planned
  type: list
  elements: str
  sample: ["create gpu_pool a10080gbd248"]
failed_deployments:
  description: The reason for each NIM that failed. The others were carried out.
  returned: always, unless nothing could be planned
  type: dict
  sample: {}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import (
    AZURE_CONNECTION,
    DEPLOYMENTS,
    KUBERNETES,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._converge import run
from ansible_collections.budgetguard.techops.plugins.module_utils._providers.azure import Azure


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **DEPLOYMENTS,
            **AZURE_CONNECTION,
            **KUBERNETES,
            "stop_cluster": {"type": "bool", "default": False},
            "admin_group_object_ids": {"type": "list", "elements": "str", "default": []},
            "system_machine": {"type": "str", "default": "Standard_D4as_v5"},
            "system_nodes": {"type": "int", "default": 2},
            "kubernetes_version": {"type": "str"},
            "subnet_id": {"type": "str"},
            "device_plugin_image": {"type": "str"},
        },
        supports_check_mode=True,
    )
    run(module, "azure", lambda: Azure.connect(module.params))


if __name__ == "__main__":
    main()
