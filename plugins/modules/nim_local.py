#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_local
short_description: Deploy NVIDIA NIM containers on a Docker host
description:
  - Brings the NIMs of one Docker engine to what is asked for. The host is a GPU machine of the studio or a workstation.
  - Each NIM is a container. It has GPUs that no other NIM has, a port, and a volume for its model. Whether the
    container runs is the only switch, and O(deployments[].state=present) never resets it.
  - An image is pulled once and a container is made from its digest, so it stays the same whatever the tag means later.
  - A NIM whose image, variables, port, GPUs or keys change is replaced. The old container runs until the new image is
    there.
  - GPUs, memory and free ports are looked at on the host itself. Where the host has GPUs of one tier only,
    O(deployments[].gpu_tier) may be left out.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes
  - budgetguard.techops.attributes.actiongroup_local
  - budgetguard.techops.nim_deployments
  - budgetguard.techops.local_connection
  - budgetguard.techops.gateway
attributes:
  check_mode:
    support: full
    details:
      - In check mode the registry is asked whether an image could be pulled.
  diff_mode:
    support: full
  platform:
    support: full
    platforms: posix
options:
  gateway_image:
    description:
      - Image of the gateway, with HAProxy 2.6 or newer as C(haproxy) on its path. Without it, HAProxy's official image,
        pinned to a digest.
    type: str
  gateway_port:
    description:
      - Port of O(bind_address) at which the gateway listens, 1024 or higher. The next one is for its health, on the
        loopback address.
    type: int
    default: 8443
  bind_address:
    description:
      - Address of the host at which NIMs listen. A NIM has no login of its own, so with the default only the host
        itself reaches it. For other workstations, give the host's address in the studio's network.
      - With a login or a certificate in O(gateway), a container with HAProxy listens there, at O(gateway_port), and
        the NIMs on the loopback address only.
      - Docker's own rules for published ports come before those of firewalls such as C(ufw).
    type: str
    default: 127.0.0.1
  allow_public:
    description:
      - Accept a O(bind_address) that is no address of a private network, or all addresses of the host.
    type: bool
    default: false
  first_port:
    description:
      - A new NIM gets the first free port from here on, and keeps it.
    type: int
    default: 8000
  ports:
    description:
      - Node name to port, for NIMs that need a certain one.
    type: dict
    default: {}
  registry:
    description:
      - Pull from this registry instead of C(nvcr.io), for example V(registry.studio.example:5000). It must have the
        images under the same paths, such as C(nim/meta/llama-3.1-8b-instruct).
      - The NGC API key is not required then. Without it, a NIM starts only if its volume already has the model.
    type: str
  registry_username:
    description:
      - User for O(registry), if it has a login.
    type: str
  registry_password:
    description:
      - Password for O(registry).
    type: str
  ngc_api_key:
    description:
      - NGC API key. The registry's login is made with it, and the NIM downloads its model with it.
      - Without it, the one in the containers on the host is used and stays as it is.
      - It stands in no command line. The login is in memory and goes when the module ends. The key does stand in the
        configuration of the container, which root and the group C(docker) can read.
    type: str
  hf_token:
    description:
      - Hugging Face token, for nodes with gated models. Kept in the same way.
    type: str
  cache_path:
    description:
      - Folder on the host for the models, each in a folder of its own, for example on a large disk. It is made if it is
        not there. Without it, they are in Docker's own volumes.
      - Fixed for a NIM that exists.
    type: str
  run_as:
    description:
      - Number of the user as whom a NIM runs, or numbers of user and group such as V(1000:1000). NIMs do not run as
        root.
    type: str
    default: "1000"
  restart_policy:
    description:
      - Whether Docker starts a NIM again that has ended, and after the host was started again, unless it was stopped.
    type: str
    choices: [unless-stopped, never]
    default: unless-stopped
  share_gpus:
    description:
      - Let several NIMs have the same GPU if there are not enough. Only one of them can run at a time; starting another
        one is refused.
    type: bool
    default: false
notes:
  - O(deployments[].replicas) must be V(1), and O(deployments[].machine) cannot be set, because the host is what it is.
  - A tag is taken as fixed. If it means another image now, give O(deployments[].tag) with the digest, such as
    C(1.2.3@sha256:...).
seealso:
  - module: budgetguard.techops.nim_local_info
"""

EXAMPLES = r"""
- name: Have two NIMs on a GPU machine, stopped
  budgetguard.techops.nim_local:
    bind_address: 10.20.0.31
    endpoint_host: gpu-box-1.studio.example
    ngc_api_key: "{{ ngc_api_key }}"
    hf_token: "{{ hf_token }}"
    deployments:
      - node: FLUX Dev
      - node: Llama 3.1

- name: Switch one on and wait until it is ready
  budgetguard.techops.nim_local:
    bind_address: 10.20.0.31
    endpoint_host: gpu-box-1.studio.example
    deployments:
      - node: FLUX Dev
        state: started

- name: Use the studio's copy of NVIDIA's registry and a large disk
  budgetguard.techops.nim_local:
    registry: registry.studio.example:5000
    registry_username: nims
    registry_password: "{{ registry_password }}"
    cache_path: /data/nim
    ngc_api_key: "{{ ngc_api_key }}"
    deployments:
      - node: Llama 3.1
        gpu_tier: rtx-4090

- name: Remove it with its image and model
  budgetguard.techops.nim_local:
    deployments:
      - node: Llama 3.1
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
      description: Name of the deployment and of its container.
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
      description: Image with tag, as it was pulled.
      type: str
      sample: nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.3
    kind:
      description: V(image), V(llm) or V(3d).
      type: str
      sample: image
    replicas:
      description: V(1) if it should run, else V(0).
      type: int
      sample: 1
    running:
      description: V(1) if it runs and is ready.
      type: int
      sample: 1
    state:
      description: One of V(stopped), V(starting), V(running), V(failed), V(absent) and V(unknown).
      type: str
      sample: running
    reason:
      description: Why it is not running, in one sentence.
      type: str
      sample: it has loaded its model for 3 min
    endpoint:
      description: Base URL, or null for a NIM that only the host itself can reach.
      type: str
      sample: http://gpu-box-1.studio.example:8000
    infer_url:
      description: URL to send requests to.
      type: str
      sample: http://gpu-box-1.studio.example:8000/v1/infer
    health_url:
      description: URL that answers 200 when the NIM is ready.
      type: str
      sample: http://gpu-box-1.studio.example:8000/v1/health/ready
    region:
      description: Always null.
      type: str
      sample: null
    deployed_at:
      description: When the container was made, in UTC.
      type: str
      sample: "2026-11-23T18:00:00Z"
    auth:
      description: C(gateway) if the endpoint asks for a workstation's token, else C(none).
      type: str
      sample: gateway
    running_since:
      description: When the container was started, in UTC. Null if it is not ready.
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
      sample: ["update docker_container nim-flux-dev-l40s (running)"]
    error:
      description: Why it could not be brought to what was asked for.
      type: str
      sample: null
steps:
  description: Everything that was done, or would be done in check mode, in order.
  returned: always, unless nothing could be planned
  type: list
  elements: str
  sample: ["create docker_image nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.3"]
failed_deployments:
  description: The reason for each NIM that failed. The others were carried out.
  returned: always, unless nothing could be planned
  type: dict
  sample: {}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import (
    DEPLOYMENTS,
    GATEWAY,
    LOCAL_CONNECTION,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._converge import run
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._docker_cli import DockerCli
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._docker_host import (
    measure_gpus,
    with_measured_tiers,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers.local import Local


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **DEPLOYMENTS,
            **LOCAL_CONNECTION,
            **GATEWAY,
            "gateway_image": {"type": "str"},
            "gateway_port": {"type": "int", "default": 8443},
            "bind_address": {"type": "str", "default": "127.0.0.1"},
            "allow_public": {"type": "bool", "default": False},
            "first_port": {"type": "int", "default": 8000},
            "ports": {"type": "dict", "default": {}},
            "registry": {"type": "str"},
            "registry_username": {"type": "str"},
            "registry_password": {"type": "str", "no_log": True},
            "ngc_api_key": {"type": "str", "no_log": True},
            "hf_token": {"type": "str", "no_log": True},
            "cache_path": {"type": "str"},
            "run_as": {"type": "str", "default": "1000"},
            "restart_policy": {"type": "str", "choices": ["unless-stopped", "never"], "default": "unless-stopped"},
            "share_gpus": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    params = module.params
    gpus, _problem = measure_gpus(module.run_command)
    params["deployments"] = with_measured_tiers(params["deployments"], gpus)
    with DockerCli(module.run_command, params["docker_command"], params["docker_host"]) as cli:
        run(module, "local", lambda: Local.connect(cli, params))


if __name__ == "__main__":
    main()
