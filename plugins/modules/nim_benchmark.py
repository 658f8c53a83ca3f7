#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_benchmark
short_description: Measure how long NIMs take for what artists ask of them
description:
  - Sends each NIM that is ready the request that an artist's node sends, a few times one after the other, and returns
    the middle of the times, with the seconds for each step and megapixel, or for 1,000 tokens.
  - Nothing is started. A NIM that is not ready is asked for its health alone, and RV(nims[].reason) says so.
  - A NIM that works for somebody else is not measured, because the figure would be wrong. NIMs tell that in their
    metrics; RV(nims[].busy) is null for those that do not. O(tolerance_percent) finds some of the others.
  - The time of a request is from the name server to the last byte of the answer, as an artist has it.
  - It uses the GPU for some seconds or minutes, and nothing remains of it but lines in the log of the gateway.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes
attributes:
  check_mode:
    support: full
    details:
      - In check mode nobody is asked for anything, and RV(nims[].reason) says what would be asked for.
  diff_mode:
    support: N/A
  platform:
    support: full
options:
  requests:
    description:
      - What to measure. The filter P(budgetguard.techops.nim_benchmark_plan#filter) makes this of the targets.
      - Nodes that share an address are measured one after the other.
    type: list
    elements: dict
    required: true
    suboptions:
      url:
        description: Address of the NIM, such as V(https://nim.studio.example/flux-dev-l40s).
        type: str
        required: true
      health_url:
        description: Address of its health. By default O(requests[].url) with C(/v1/health/ready).
        type: str
      infer_url:
        description: Address to which the requests go.
        type: str
        required: true
      auth:
        description: V(gateway) for what wants a token.
        type: str
        choices: [none, gateway]
        default: none
      node:
        description: Name of the node. It decides the form of the request, as it does for artists.
        type: str
        required: true
      kind:
        description: V(image) for C(/v1/infer), V(llm) for C(/v1/chat/completions).
        type: str
        choices: [image, llm]
        required: true
      mode:
        description: Variant to ask for, where the NIM serves several.
        type: str
      steps:
        description: Steps of an image.
        type: int
      cfg_scale:
        description: How closely an image follows the prompt.
        type: float
      width:
        description: Width of an image in pixels.
        type: int
      height:
        description: Height of an image in pixels.
        type: int
      max_tokens:
        description: The most tokens of a text.
        type: int
      name:
        description: Name of the NIM; returned as it is.
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
      image:
        description: Container image with its tag; returned as it is.
        type: str
  gateway_token:
    description:
      - Token for NIMs with O(requests[].auth=gateway). The log of the gateway has its name.
    type: str
  repeats:
    description:
      - How many requests count.
    type: int
    default: 3
  warm_up:
    description:
      - How many requests before those do not count. The first one after a start may take longer.
    type: int
    default: 1
  tolerance_percent:
    description:
      - By how much the slowest request may exceed the middle one. More is V(unsteady).
    type: float
    default: 30
  timeout:
    description:
      - Seconds for one request.
    type: float
    default: 300
  concurrency:
    description:
      - NIMs that are measured at a time. They have GPUs of their own, but share the network of this host.
    type: int
    default: 4
  ca_path:
    description:
      - File with certificate authorities to trust instead of the system's, such as a studio's own.
    type: path
  validate_certs:
    description:
      - Whether certificates are verified.
    type: bool
    default: true
seealso:
  - module: budgetguard.techops.nim_endpoint_info
  - module: budgetguard.techops.nim_price_info
  - plugin: budgetguard.techops.nim_benchmark_plan
    plugin_type: filter
  - plugin: budgetguard.techops.nim_benchmark
    plugin_type: filter
"""

EXAMPLES = r"""
- name: See what the clouds say
  budgetguard.techops.nim_targets_info:
  run_once: true
  register: found

- name: Measure what runs
  budgetguard.techops.nim_benchmark:
    requests: "{{ (found.targets | budgetguard.techops.nim_benchmark_plan).requests }}"
  run_once: true
  register: measured

- name: Measure one NIM with more steps
  budgetguard.techops.nim_benchmark:
    requests:
      - url: https://nim.studio.example/flux-dev-l40s
        infer_url: https://nim.studio.example/flux-dev-l40s/v1/infer
        node: FLUX Dev
        kind: image
        steps: 50
"""

RETURN = r"""
nims:
  description: The results in the order of the requests, each with what was given but for its addresses.
  returned: success
  type: list
  elements: dict
  contains:
    result:
      description:
        - V(measured).
        - V(unsteady) was measured, and its times differ too much.
        - V(busy) worked for somebody, before or meanwhile.
        - V(not_ready) was not asked.
        - V(failed) did not do what it was asked for.
        - V(not_called) in check mode.
      type: str
      sample: measured
    reason:
      description: Why it is not V(measured), in one sentence.
      type: str
      sample: null
    seconds:
      description: The middle one of the times, in seconds.
      type: float
      sample: 8.12
    times:
      description: The times that count, in seconds, in their order.
      type: list
      elements: float
      sample: [8.12, 8.09, 8.2]
    spread_percent:
      description: By how much the slowest exceeds the middle one.
      type: float
      sample: 1.0
    seconds_per_step_megapixel:
      description: Of an image, seconds for one step and one million pixels.
      type: float
      sample: 0.258
    seconds_per_1k_tokens:
      description: Of a text, seconds for 1,000 tokens.
      type: float
      sample: 14.3
    tokens:
      description: Of a text, how many tokens the middle one had.
      type: int
      sample: 512
    busy:
      description: Whether it worked for somebody else. Null if it does not tell.
      type: bool
      sample: false
    busy_reason:
      description: By what that is known, or why it is not.
      type: str
      sample: num_requests_running is 0
    measured_at:
      description: When, in UTC.
      type: str
      sample: "2026-11-28T18:00:00Z"
    node:
      description: As given. So are C(name), C(target), C(provider), C(gpu_tier), C(image), C(kind) and C(mode).
      type: str
      sample: FLUX Dev
    steps:
      description: What was asked for. So are C(cfg_scale), C(width) and C(height), and C(max_tokens) of a text.
      type: int
      sample: 30
counts:
  description: How many NIMs have each result.
  returned: success
  type: dict
  sample: {measured: 3, unsteady: 0, busy: 1, not_ready: 0, failed: 0, not_called: 0}
"""

import datetime

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.budgetguard.techops.plugins.module_utils import _benchmark, _health, _http
from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import ArgumentSpec
from ansible_collections.budgetguard.techops.plugins.module_utils._keys import check_key

ARGUMENT_SPEC: ArgumentSpec = {
    "requests": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "url": {"type": "str", "required": True},
            "health_url": {"type": "str"},
            "infer_url": {"type": "str", "required": True},
            "auth": {"type": "str", "choices": ["none", "gateway"], "default": "none"},
            "node": {"type": "str", "required": True},
            "kind": {"type": "str", "choices": ["image", "llm"], "required": True},
            "mode": {"type": "str"},
            "steps": {"type": "int"},
            "cfg_scale": {"type": "float"},
            "width": {"type": "int"},
            "height": {"type": "int"},
            "max_tokens": {"type": "int", "no_log": False},
            "name": {"type": "str"},
            "target": {"type": "str"},
            "provider": {"type": "str"},
            "gpu_tier": {"type": "str"},
            "image": {"type": "str"},
        },
    },
    "gateway_token": {"type": "str", "no_log": True},
    "repeats": {"type": "int", "default": 3},
    "warm_up": {"type": "int", "default": 1},
    "tolerance_percent": {"type": "float", "default": 30},
    "timeout": {"type": "float", "default": 300},
    "concurrency": {"type": "int", "default": 4},
    "ca_path": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
}

HEALTH_SECONDS = 10.0

BOUNDS = {"repeats": (1, 100), "warm_up": (0, 100), "concurrency": (1, 64)}


def _check(options: dict[str, object]) -> None:
    """Refuse options that make no sense. Raises ValueError."""
    for name, (low, high) in BOUNDS.items():
        value = options[name]
        if not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"{name} is {value}; it must be from {low} to {high}")
    tolerance = options["tolerance_percent"]
    if not isinstance(tolerance, (int, float)) or tolerance <= 0:
        raise ValueError(f"tolerance_percent is {tolerance}; it must be above 0")
    requests = options["requests"]
    for number, request in enumerate(requests if isinstance(requests, list) else ()):
        for name in ("steps", "width", "height", "max_tokens"):
            if request.get(name) is not None and request[name] < 1:
                raise ValueError(f"requests[{number}].{name} is {request[name]}; it must be 1 or more")


def _bench(options: dict[str, object]) -> _benchmark.Bench:
    """Return what the options ask for. Raises ValueError for what is wrong with them."""
    ca_path = str(options["ca_path"]) if options["ca_path"] else None
    verify = bool(options["validate_certs"])
    seconds = float(str(options["timeout"]))
    token = check_key("gateway_token", str(options["gateway_token"] or ""))
    short = _http.Client(min(seconds, HEALTH_SECONDS), validate_certs=verify, ca_path=ca_path)
    return _benchmark.Bench(
        _http.Client(seconds, validate_certs=verify, ca_path=ca_path, body_limit=_benchmark.LARGEST_ANSWER),
        _health.Prober(short, gateway_token=token, activity=True),
        warm_up=int(str(options["warm_up"])),
        repeats=int(str(options["repeats"])),
        tolerance_percent=float(str(options["tolerance_percent"])),
        now=lambda: datetime.datetime.now(datetime.timezone.utc),
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    options = module.params
    try:
        _check(options)
        bench = _bench(options)
    except ValueError as exc:
        module.fail_json(msg=str(exc))
    if module.check_mode:
        found = [_benchmark.not_called(one, options["warm_up"], options["repeats"]) for one in options["requests"]]
    else:
        found = _benchmark.measure_all(bench, options["requests"], options["concurrency"])
    counts = {result: sum(one["result"] == result for one in found) for result in _benchmark.RESULTS}
    module.exit_json(changed=False, nims=found, counts=counts)


if __name__ == "__main__":
    main()
