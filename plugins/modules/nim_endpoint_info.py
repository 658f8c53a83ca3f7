#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_endpoint_info
short_description: Check whether many NIM endpoints answer
description:
  - Asks each endpoint for its health and its model, many at a time, and says of each whether it is ready, starting,
    refused, unreachable, or no NIM at all, and why.
  - It takes about one O(timeout) as long as fewer endpoints are dead than O(concurrency), two as long as fewer are
    dead than twice of it, and so on.
  - Certificates are verified. A redirect is followed on the same host only.
  - A model that NVIDIA hosts has no health address; see O(hosted_check).
  - Runs on any host with Python 3.9 or later, so it can also be delegated to a workstation to see what that one can
    reach. Proxies are those of the environment, for example C(HTTPS_PROXY).
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes
  - budgetguard.techops.attributes.info_module
options:
  endpoints:
    description:
      - What to check. The filter P(budgetguard.techops.nim_endpoints#filter) makes this of the targets.
      - Nodes that share an address are asked once.
    type: list
    elements: dict
    required: true
    suboptions:
      url:
        description: Address of the NIM, such as V(https://nim.studio.example/flux-dev-l40s).
        type: str
        required: true
      health_url:
        description: Address to ask. By default O(endpoints[].url) with C(/v1/health/ready).
        type: str
      infer_url:
        description: Address to which requests for inference go. Used for a model that NVIDIA hosts.
        type: str
      auth:
        description:
          - V(bearer) for what wants NVIDIA's key. Without O(endpoints[].health_url) it is a model that NVIDIA hosts.
          - V(gateway) for what wants a workstation's token.
        type: str
        choices: [none, bearer, gateway]
        default: none
      model:
        description:
          - What the NIM has to say that it serves, such as V(flux.1-dev). Another model is RV(endpoints[].result)
            V(wrong_service). Case, dots and hyphens do not matter, and what follows a colon or comes before a slash.
        type: str
      node:
        description: Name of the node; returned as it is.
        type: str
      target:
        description: Name of the target; returned as it is.
        type: str
      provider:
        description: Provider of the target; returned as it is.
        type: str
      gpu_tier:
        description: GPU tier; returned as it is.
        type: str
      state:
        description: State that the target tells; returned as it is.
        type: str
  nvidia_api_key:
    description:
      - Key for endpoints with O(endpoints[].auth=bearer). It is sent over HTTPS, to hosts of C(nvidia.com), and to
        nobody else.
    type: str
  gateway_token:
    description:
      - Token for endpoints with O(endpoints[].auth=gateway). Each of them is asked without it first, and one that does
        not refuse that is V(open).
    type: str
  hosted_check:
    description:
      - How a model that NVIDIA hosts is checked.
      - V(key) asks NVIDIA once whether the key is valid, and whether each address answers, without the key. That is
        free.
      - V(request) sends each an empty request with the key, which it should refuse before it computes anything. This
        also tells a model that is no longer hosted. Whether NVIDIA counts such a request is not known.
    type: str
    choices: [key, request]
    default: key
  activity:
    description:
      - Also ask a NIM that is ready for its C(/v1/metrics), and say in RV(endpoints[].busy) whether it works now.
    type: bool
    default: false
  timeout:
    description:
      - Seconds for one request, from the name server's answer to the last byte. An endpoint takes up to two requests.
    type: float
    default: 10
  concurrency:
    description:
      - Endpoints that are checked at a time.
    type: int
    default: 64
  ca_path:
    description:
      - File with certificate authorities to trust instead of the system's, such as a studio's own.
    type: path
  validate_certs:
    description:
      - Whether certificates are verified. Without that their end is not told, either.
    type: bool
    default: true
seealso:
  - module: budgetguard.techops.nim_targets_info
  - module: budgetguard.techops.nim_key_info
  - plugin: budgetguard.techops.nim_endpoints
    plugin_type: filter
  - plugin: budgetguard.techops.nim_health
    plugin_type: filter
"""

EXAMPLES = r"""
- name: See what the clouds say
  budgetguard.techops.nim_targets_info:
  run_once: true
  register: found

- name: See what the endpoints say
  budgetguard.techops.nim_endpoint_info:
    endpoints: "{{ found.targets | budgetguard.techops.nim_endpoints }}"
  run_once: true
  register: health

- name: See whether a workstation reaches a NIM
  budgetguard.techops.nim_endpoint_info:
    endpoints:
      - url: https://nim.studio.example/flux-dev-l40s
        model: flux.1-dev
  register: seen_from_here
  failed_when: seen_from_here.counts.ready == 0
"""

RETURN = r"""
endpoints:
  description: The endpoints in the order in which they were given.
  returned: success
  type: list
  elements: dict
  contains:
    url:
      description: Address of the NIM.
      type: str
      sample: https://nim.studio.example/flux-dev-l40s
    health_url:
      description: Address that was asked. Null for a model that NVIDIA hosts.
      type: str
      sample: https://nim.studio.example/flux-dev-l40s/v1/health/ready
    result:
      description:
        - V(ready) answers as ready.
        - V(starting) is there and not ready; so is a load balancer without a NIM behind it.
        - V(refused) does not let the caller in.
        - V(unreachable) does not answer at all, or with a certificate that is not accepted.
        - V(wrong_service) answers, and is not the NIM that it should be.
      type: str
      sample: starting
    reason:
      description: Why it is not ready, in one sentence.
      type: str
      sample: runs, and loads its model
    status:
      description: HTTP status of the answer, if there was one.
      type: int
      sample: 503
    latency_ms:
      description: Milliseconds that the request took, with the connection.
      type: float
      sample: 12.5
    certificate_expires_at:
      description: When the certificate ends, in UTC.
      type: str
      sample: "2027-03-01T12:00:00Z"
    model:
      description: What the NIM says that it serves.
      type: str
      sample: flux.1-dev:1.2.3
    version:
      description: What the NIM says about its version.
      type: str
      sample: 1.2.3
    busy:
      description:
        - With O(activity), whether it works on requests now. Null if it does not tell; then nothing follows from it.
        - V(false) is a look at one moment. A request may come right after it.
      type: bool
      sample: false
    busy_reason:
      description: By what it is known, or why it is not.
      type: str
      sample: num_requests_running is 0
    counters:
      description:
        - With O(activity), what the NIM has counted since it was started, by the names of its metrics, and when that
          was. Null if it counts no requests. See P(budgetguard.techops.nim_looks#filter).
      type: dict
      sample: {request_success_total: 120, generation_tokens_total: 51044}
    node:
      description: As given.
      type: str
      sample: FLUX Dev
    target:
      description: As given.
      type: str
      sample: aws-us-east-1
    provider:
      description: As given.
      type: str
      sample: aws
    gpu_tier:
      description: As given.
      type: str
      sample: l40s
    state:
      description: As given.
      type: str
      sample: starting
counts:
  description: How many endpoints have each result, with V(0) for those that none has.
  returned: success
  type: dict
  sample: {ready: 3, starting: 1, refused: 0, unreachable: 0, wrong_service: 0, open: 0}
seconds:
  description: How long all of it took.
  returned: success
  type: float
  sample: 0.4
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.budgetguard.techops.plugins.module_utils import _health, _http
from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import ArgumentSpec
from ansible_collections.budgetguard.techops.plugins.module_utils._keys import check_key

ARGUMENT_SPEC: ArgumentSpec = {
    "endpoints": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "url": {"type": "str", "required": True},
            "health_url": {"type": "str"},
            "infer_url": {"type": "str"},
            "auth": {"type": "str", "choices": ["none", "bearer", "gateway"], "default": "none"},
            "model": {"type": "str"},
            "node": {"type": "str"},
            "target": {"type": "str"},
            "provider": {"type": "str"},
            "gpu_tier": {"type": "str"},
            "state": {"type": "str"},
        },
    },
    "nvidia_api_key": {"type": "str", "no_log": True},
    "gateway_token": {"type": "str", "no_log": True},
    "hosted_check": {"type": "str", "choices": ["key", "request"], "default": "key"},
    "activity": {"type": "bool", "default": False},
    "timeout": {"type": "float", "default": 10},
    "concurrency": {"type": "int", "default": 64},
    "ca_path": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
}

MOST_AT_A_TIME = 512


def _prober(options: dict[str, object]) -> _health.Prober:
    """Return what the options ask for. Raises ValueError for what is wrong with them."""
    concurrency = options["concurrency"]
    if not isinstance(concurrency, int) or not 1 <= concurrency <= MOST_AT_A_TIME:
        raise ValueError(f"concurrency is {concurrency}; it must be from 1 to {MOST_AT_A_TIME}")
    client = _http.Client(
        float(str(options["timeout"])),
        validate_certs=bool(options["validate_certs"]),
        ca_path=str(options["ca_path"]) if options["ca_path"] else None,
    )
    key = check_key("nvidia_api_key", str(options["nvidia_api_key"] or ""))
    token = check_key("gateway_token", str(options["gateway_token"] or ""))
    return _health.Prober(client, key, str(options["hosted_check"]), token, bool(options["activity"]))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    started = time.monotonic()
    try:
        prober = _prober(module.params)
    except ValueError as exc:
        module.fail_json(msg=str(exc))
    found = _health.check_all(prober, module.params["endpoints"], module.params["concurrency"])
    module.exit_json(
        changed=False,
        endpoints=found,
        counts={result: sum(item["result"] == result for item in found) for result in _health.RESULTS},
        seconds=round(time.monotonic() - started, 3),
    )


if __name__ == "__main__":
    main()
