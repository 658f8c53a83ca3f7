#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_key_info
short_description: Check NGC key and Hugging Face token before anything is created
description:
  - Says whether an NGC API key is valid, whose it is and for what, and whether it may pull the images of the NIMs.
    Nothing is pulled; NVIDIA's registry is asked for the description of each image.
  - Says whether a Hugging Face token may download the gated repositories that the NIMs need, that is, whether its
    account has accepted their licences.
  - A key that is not given is not asked about, and that is no problem. Each key is sent to its own service only.
  - Runs where the keys are, on the controller. Proxies are those of the environment in which Ansible runs, for example
    C(HTTPS_PROXY); the keyword C(environment) does not count.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes
  - budgetguard.techops.attributes.info_module
  - budgetguard.techops.attributes.action
options:
  ngc_api_key:
    description:
      - API key of NVIDIA NGC. New ones begin with C(nvapi-); of an old one only its validity can be told.
    type: str
  hf_token:
    description:
      - Hugging Face token.
    type: str
  deployments:
    description:
      - NIMs to check for, in the form that M(budgetguard.techops.nim_aws) takes. Those with O(deployments[].state)
        V(stopped) or V(absent), and nodes that only NVIDIA hosts, need no check.
    type: list
    elements: dict
    default: []
    suboptions:
      node:
        description: Name of the node, such as V(FLUX Dev).
        type: str
        required: true
      tag:
        description: Tag of the image, with or without its digest. By default the catalogue's.
        type: str
      variants:
        description: Variants that one container loads, such as V(base) and V(canny). Each needs its licences.
        type: list
        elements: str
        default: []
      state:
        description: What is going to be asked of the NIM.
        type: str
        choices: [present, started, stopped, absent]
        default: present
      gpu_tier:
        description: Not used; it is there so that the same list can be given.
        type: str
      replicas:
        description: Not used.
        type: int
        default: 1
      machine:
        description: Not used.
        type: str
      env:
        description: Not used.
        type: dict
        default: {}
      always_on:
        description: Not used.
        type: bool
        default: false
      skip_fit_check:
        description: Not used.
        type: bool
        default: false
  images:
    description:
      - Further images to check, each as C(registry/path:tag), C(registry/path@sha256:...) or with both.
      - An image at another registry than V(nvcr.io) is not asked about, because the NGC key must not go there.
    type: list
    elements: str
    default: []
  nim_catalog:
    description:
      - Extends or overrides the catalogue of nodes.
    type: dict
    default: {}
  timeout:
    description:
      - Seconds that one call may take. A call that is not answered is made three times.
    type: float
    default: 20
  ca_path:
    description:
      - File with certificate authorities to trust instead of the system's.
    type: path
  fail_on_problems:
    description:
      - Fail if RV(problems) is not empty, with one line for each.
      - What only could not be found out, RV(doubts), is never a failure. It is shown as a warning.
    type: bool
    default: false
seealso:
  - module: budgetguard.techops.nim_aws
  - module: budgetguard.techops.nim_endpoint_info
"""

EXAMPLES = r"""
- name: Stop here if the keys are not good for what is to be deployed
  budgetguard.techops.nim_key_info:
    ngc_api_key: "{{ nim_ngc_api_key }}"
    hf_token: "{{ nim_hf_token }}"
    deployments:
      - node: FLUX Dev
      - node: Llama 3.1
    fail_on_problems: true

- name: See whose key it is and when it ends
  budgetguard.techops.nim_key_info:
    ngc_api_key: "{{ nim_ngc_api_key }}"
  register: keys

- name: Show it
  ansible.builtin.debug:
    msg: "{{ keys.ngc_key.organisation }}, ends {{ keys.ngc_key.expires_at | default('never or not known', true) }}"
"""

RETURN = r"""
ngc_key:
  description: What NVIDIA says about the NGC key. Never the key itself.
  returned: success
  type: dict
  contains:
    given:
      description: Whether there was one to ask about.
      type: bool
      sample: true
    valid:
      description: Whether it is valid; null if it was not given, or NVIDIA could not be asked.
      type: bool
      sample: true
    reason:
      description: Why it is not valid, or not known.
      type: str
      sample: null
    kind:
      description: V(personal), V(service), V(legacy), or another kind of NVIDIA's.
      type: str
      sample: personal
    organisation:
      description: Name of the organisation at NGC.
      type: str
      sample: "0123456789012345"
    user:
      description: Who made a personal key.
      type: str
      sample: techops@studio.example
    products:
      description: NVIDIA's services for which the key is good.
      type: list
      elements: str
      sample: [ai-foundations, artifact-catalog, nv-cloud-functions, private-registry]
    expires_at:
      description: When it ends, in UTC. Null if it never ends, or NVIDIA does not say.
      type: str
      sample: "2027-06-30T00:00:00Z"
images:
  description: The images that the NIMs need.
  returned: success
  type: list
  elements: dict
  contains:
    image:
      description: The image.
      type: str
      sample: nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.3
    nodes:
      description: Who needs it.
      type: list
      elements: str
      sample: [FLUX Dev]
    allowed:
      description: Whether the key may pull it; null if that is not known.
      type: bool
      sample: true
    reason:
      description: Why not, or why it is not known.
      type: str
      sample: null
    digest:
      description: Digest of what the tag names now.
      type: str
      sample: sha256:9b6f0c5a4b8e1f0a3d2c7e6b5a4938271605f4e3d2c1b0a99887766554433221
hf_token:
  description: What Hugging Face says about the token.
  returned: success
  type: dict
  contains:
    given:
      description: Whether there was one to ask about.
      type: bool
      sample: true
    valid:
      description: Whether it is valid; null if it was not given, or that is not known.
      type: bool
      sample: true
    account:
      description:
        - Name of its account. Only asked for where something is missing, because Hugging Face allows few such calls.
      type: str
      sample: null
repositories:
  description: The gated repositories that the NIMs download.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The repository.
      type: str
      sample: black-forest-labs/FLUX.1-dev
    nodes:
      description: Who needs it.
      type: list
      elements: str
      sample: [FLUX Dev]
    allowed:
      description: Whether the token may download it; null if that is not known.
      type: bool
      sample: true
    reason:
      description: Why not, or why it is not known.
      type: str
      sample: null
licences:
  description: The terms under which the models may be used.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the model page with the terms.
      type: str
      sample: black-forest-labs/FLUX.1-dev
    url:
      description: Its address.
      type: str
      sample: https://huggingface.co/black-forest-labs/FLUX.1-dev
    non_commercial:
      description: Whether the terms do not allow commercial work.
      type: bool
      sample: true
    accepted:
      description: Whether the token's account has accepted them; null where nobody can be asked.
      type: bool
      sample: true
    nodes:
      description: Who needs the model.
      type: list
      elements: str
      sample: [FLUX Dev]
problems:
  description:
    - Everything that would make a deployment fail, one line each. With O(fail_on_problems) they are the message.
  returned: success
  type: list
  elements: str
  sample:
    - "FLUX Dev: black-forest-labs/FLUX.1-dev: its licence is not accepted; accept it at
      https://huggingface.co/black-forest-labs/FLUX.1-dev"
doubts:
  description: What could not be found out, and a key that ends within two weeks, one line each.
  returned: success
  type: list
  elements: str
  sample: []
"""
