#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_aws
short_description: Deploy NVIDIA NIM containers on AWS
description:
  - Brings the NIMs of one AWS account and region to what is asked for.
  - NIMs run as ECS services on EC2 GPU machines. Each NIM has an Auto Scaling group of its own that is empty while the
    NIM is stopped. The service's desired count is the only switch, and O(deployments[].state=present) never resets it.
  - All NIMs of a region share one Application Load Balancer, on which each has a path of its own. The load balancer
    costs money while all NIMs are stopped (about 16 USD a month in us-east-1, and its public addresses); GPUs do not.
  - A stopped GPU machine is billed for about 15 minutes more, until ECS takes it away.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes
  - budgetguard.techops.attributes.actiongroup_aws
  - budgetguard.techops.nim_deployments
  - budgetguard.techops.aws_connection
  - budgetguard.techops.gateway
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  platform:
    support: full
options:
  scheme:
    description:
      - Whether the load balancer has internal addresses only. It cannot be changed later without a teardown.
    type: str
    choices: [internal, public]
    default: internal
  allowed_cidrs:
    description:
      - Networks that may reach the NIMs, in CIDR form. Needed whenever a NIM should be present or started, because a
        NIM has no login of its own.
    type: list
    elements: str
    default: []
  allow_public:
    description:
      - Accept networks wider than /8 (IPv6 /16), such as V(0.0.0.0/0), in O(allowed_cidrs).
    type: bool
    default: false
  allow_plain_http:
    description:
      - Accept O(scheme=public) without O(certificate_arn).
    type: bool
    default: false
  certificate_arn:
    description:
      - ARN of a certificate that AWS Certificate Manager has in the same region, or of a server certificate of IAM.
        With it the load balancer speaks HTTPS on port 443, otherwise HTTP on port 80.
    type: str
  endpoint_host:
    description:
      - Name under which workstations reach the load balancer, as in the certificate. The studio's DNS must point it to
        the load balancer. Without it, the load balancer's own name is published.
    type: str
  vpc_id:
    description:
      - VPC to use. Without it and O(subnet_ids), the region's default VPC.
    type: str
  subnet_ids:
    description:
      - Subnets to use, in at least two availability zones. Private subnets need a NAT gateway, because a NIM downloads
        its model.
    type: list
    elements: str
    default: []
  ami_id:
    description:
      - Pin the machine image. Without it, each new machine takes AWS's newest ECS image with GPU support.
    type: str
  ngc_api_key:
    description:
      - NGC API key. It is kept in one AWS secret and serves both the registry login and the model download. Without
        it, the secret that is already there is used as it is.
    type: str
  hf_token:
    description:
      - Hugging Face token for models with gated weights. Kept in the same secret.
    type: str
  log_retention_days:
    description:
      - Days after which the NIMs' logs are deleted. CloudWatch Logs takes V(1), V(3), V(5), V(7), V(14), V(30), V(60),
        V(90), V(120), V(150), V(180), V(365), V(400), V(545), V(731), V(1096), V(1827), V(2192), V(2557), V(2922),
        V(3288) and V(3653).
    type: int
    default: 14
  idle_timeout:
    description:
      - Seconds that the load balancer lets a request run without any data, V(1) to V(4000). Used when the load balancer
        is made.
    type: int
    default: 900
  gateway:
    description:
      - Set up a gateway in front of the NIMs that wants a token of each workstation and logs who used what. It runs as
        a small service of ECS on Fargate, without a GPU, for about 7 USD a month and copy.
      - It stands behind the same load balancer. So O(scheme) has to be V(internal), O(certificate_arn) is its
        certificate, and O(gateway.certificate) and O(gateway.private_key) are refused.
      - Turning it on, another key and another deny list never restart a NIM. The run ends when all copies know them.
      - Without this option there is no gateway. A target that has one is not opened by leaving the option out.
  gateway_image:
    description:
      - Image of the gateway, with HAProxy 2.6 or newer and a shell, for ARM64. Without it, HAProxy's official image,
        pinned by digest.
    type: str
  gateway_replicas:
    description:
      - How many copies of the gateway run. ECS replaces one that ends within about a minute.
    type: int
    default: 1
seealso:
  - module: budgetguard.techops.nim_aws_info
"""

EXAMPLES = r"""
- name: Have two NIMs, without a GPU bill
  budgetguard.techops.nim_aws:
    region: us-east-1
    allowed_cidrs: [10.20.0.0/16]
    ngc_api_key: "{{ ngc_api_key }}"
    hf_token: "{{ hf_token }}"
    deployments:
      - node: FLUX Dev
        gpu_tier: l40s
      - node: Llama 3.1
        gpu_tier: l4

- name: Switch one on and wait until it is ready
  budgetguard.techops.nim_aws:
    region: us-east-1
    allowed_cidrs: [10.20.0.0/16]
    deployments:
      - node: FLUX Dev
        gpu_tier: l40s
        state: started

- name: Remove the last one and all that was shared
  budgetguard.techops.nim_aws:
    region: us-east-1
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
      description: The GPU it runs on.
      type: str
      sample: l40s
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
      sample: http://internal-budgetguard-nims-1.us-east-1.elb.amazonaws.com/flux-dev-l40s
    infer_url:
      description: URL to send requests to.
      type: str
      sample: http://internal-budgetguard-nims-1.us-east-1.elb.amazonaws.com/flux-dev-l40s/v1/infer
    health_url:
      description: URL that answers 200 when the NIM is ready.
      type: str
      sample: http://internal-budgetguard-nims-1.us-east-1.elb.amazonaws.com/flux-dev-l40s/v1/health/ready
    region:
      description: Region.
      type: str
      sample: us-east-1
    deployed_at:
      description: When it was deployed, in UTC.
      type: str
      sample: "2026-11-23T18:00:00Z"
    auth:
      description: C(gateway) if the endpoint asks for a workstation's token, else C(none).
      type: str
      sample: gateway
    running_since:
      description: When its newest task was started, in UTC. Null if it is not ready.
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
      sample: ["update ecs_service nim-flux-dev-l40s (replicas)"]
    error:
      description: Why it could not be brought to what was asked for.
      type: str
      sample: null
steps:
  description: Everything that was done, or would be done in check mode, in order.
  returned: always, unless nothing could be planned
  type: list
  elements: str
  sample: ["create launch_template budgetguard-nim-flux-dev-l40s"]
failed_deployments:
  description: The reason for each NIM that failed. The others were carried out.
  returned: always, unless nothing could be planned
  type: dict
  sample: {}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import (
    AWS_CONNECTION,
    DEPLOYMENTS,
    GATEWAY,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._converge import run
from ansible_collections.budgetguard.techops.plugins.module_utils._providers.aws import Aws


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **DEPLOYMENTS,
            **AWS_CONNECTION,
            **GATEWAY,
            "scheme": {"type": "str", "choices": ["internal", "public"], "default": "internal"},
            "allowed_cidrs": {"type": "list", "elements": "str", "default": []},
            "allow_public": {"type": "bool", "default": False},
            "allow_plain_http": {"type": "bool", "default": False},
            "certificate_arn": {"type": "str"},
            "endpoint_host": {"type": "str"},
            "vpc_id": {"type": "str"},
            "subnet_ids": {"type": "list", "elements": "str", "default": []},
            "ami_id": {"type": "str"},
            "ngc_api_key": {"type": "str", "no_log": True},
            "hf_token": {"type": "str", "no_log": True},
            "log_retention_days": {"type": "int", "default": 14},
            "idle_timeout": {"type": "int", "default": 900},
            "gateway_image": {"type": "str"},
            "gateway_replicas": {"type": "int", "default": 1},
        },
        required_together=[("access_key", "secret_key")],
        supports_check_mode=True,
    )
    run(module, "aws", lambda: Aws.connect(module.params))


if __name__ == "__main__":
    main()
