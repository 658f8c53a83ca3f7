#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_gcp
short_description: Deploy NVIDIA NIM containers on Google Cloud
description:
  - Brings the NIMs of one GKE cluster to what is asked for, and makes the cluster if there is none.
  - NIMs run as Kubernetes Deployments on pools of GPU machines. There is one pool per machine type, and it is empty
    while no NIM needs it. The Deployment's count of replicas is the only switch, and O(deployments[].state=present)
    never resets it.
  - All NIMs of a cluster share one gateway and one load balancer, on which each has a path of its own.
  - A GKE cluster cannot be stopped. The control plane, the machines without a GPU, the load balancer and the disks with
    the models cost money while all NIMs are stopped; GPUs do not.
  - A stopped GPU machine is billed for about 10 minutes more, until the autoscaler takes it away.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes
  - budgetguard.techops.attributes.actiongroup_gcp
  - budgetguard.techops.nim_deployments
  - budgetguard.techops.gcp_connection
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
  zone:
    description:
      - Zone of the GPU machines. Needed where O(location) is a region, because no GPU is in every zone of a region and
        the disk with a NIM's model is in one zone.
    type: str
  spot:
    description:
      - Whether to rent GPU machines as Spot VMs, which are cheaper and can be taken away at any time.
      - With V(where_needed), only machine types that Google does not rent on demand, such as C(a3-highgpu-1g). With
        V(never) these are refused, unless O(flex_start) is set.
    type: str
    choices: [never, where_needed, always]
    default: never
  flex_start:
    description:
      - Use Flex-start instead of Spot VMs, that is, for machine types that Google does not rent on demand, or for all
        with O(spot=always). Google brings such a machine when it has one, and takes it away after seven days.
    type: bool
    default: false
  network:
    description:
      - VPC network of a new cluster. Without it, the project's network C(default).
    type: str
  subnetwork:
    description:
      - Subnetwork of a new cluster, in the cluster's region.
    type: str
  private_nodes:
    description:
      - Give the machines of a new cluster no public addresses. The network then needs Cloud NAT, because a NIM
        downloads its model.
    type: bool
    default: false
  node_service_account:
    description:
      - Service account of new machines, as an e-mail address. Without it, the default one of Compute Engine.
    type: str
  system_machine:
    description:
      - Type of the machines without a GPU, on which the gateway runs. Used when the cluster is made.
    type: str
    default: e2-standard-4
  system_nodes:
    description:
      - Number of these machines in each zone of the cluster. Used when the cluster is made. Without it, V(2) where
        O(location) is a zone and V(1) where it is a region, which has three zones.
    type: int
notes:
  - Machines of type C(g4) take Hyperdisks only. For NIMs on them set O(storage_class) to a class of Hyperdisks.
  - A new pool and a new cluster are made by long operations of Google's; a run that is killed meanwhile is continued by
    the next one.
seealso:
  - module: budgetguard.techops.nim_gcp_info
"""

EXAMPLES = r"""
- name: Have two NIMs, without a GPU bill
  budgetguard.techops.nim_gcp:
    project: my-studio
    location: us-central1-a
    service_account_file: ~/.config/gcloud/deployer.json
    allowed_cidrs: [10.20.0.0/16]
    ngc_api_key: "{{ ngc_api_key }}"
    hf_token: "{{ hf_token }}"
    deployments:
      - node: FLUX Dev
        gpu_tier: a100-80gb
      - node: Llama 3.1
        gpu_tier: l4

- name: Switch one on and wait until it is ready
  budgetguard.techops.nim_gcp:
    project: my-studio
    location: us-central1-a
    allowed_cidrs: [10.20.0.0/16]
    deployments:
      - node: FLUX Dev
        gpu_tier: a100-80gb
        state: started

- name: Use a cluster in several zones, and H100 machines that Google rents as Spot VMs only
  budgetguard.techops.nim_gcp:
    project: my-studio
    location: us-central1
    zone: us-central1-a
    spot: where_needed
    allowed_cidrs: [10.20.0.0/16]
    deployments:
      - node: FLUX Dev
        gpu_tier: h100

- name: Remove the last one and all that was shared, the cluster included
  budgetguard.techops.nim_gcp:
    project: my-studio
    location: us-central1-a
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
      description: Base URL as the cloud knows it, or null while there is none.
      type: str
      sample: http://10.0.0.7/flux-dev-a100-80gb
    infer_url:
      description: URL to send requests to.
      type: str
      sample: http://10.0.0.7/flux-dev-a100-80gb/v1/infer
    health_url:
      description: URL that answers 200 when the NIM is ready.
      type: str
      sample: http://10.0.0.7/flux-dev-a100-80gb/v1/health/ready
    region:
      description: Zone or region of the cluster.
      type: str
      sample: us-central1-a
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
  sample: ["create gpu_pool nim-a2-ultragpu-1g"]
failed_deployments:
  description: The reason for each NIM that failed. The others were carried out.
  returned: always, unless nothing could be planned
  type: dict
  sample: {}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import (
    DEPLOYMENTS,
    GCP_CONNECTION,
    KUBERNETES,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._converge import run
from ansible_collections.budgetguard.techops.plugins.module_utils._providers.gcp import Gcp


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **DEPLOYMENTS,
            **GCP_CONNECTION,
            **KUBERNETES,
            "zone": {"type": "str"},
            "spot": {"type": "str", "choices": ["never", "where_needed", "always"], "default": "never"},
            "flex_start": {"type": "bool", "default": False},
            "network": {"type": "str"},
            "subnetwork": {"type": "str"},
            "private_nodes": {"type": "bool", "default": False},
            "node_service_account": {"type": "str"},
            "system_machine": {"type": "str", "default": "e2-standard-4"},
            "system_nodes": {"type": "int"},
        },
        mutually_exclusive=[("service_account_file", "service_account_contents")],
        supports_check_mode=True,
    )
    run(module, "gcp", lambda: Gcp.connect(module.params))


if __name__ == "__main__":
    main()
