#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_usage_info
short_description: Tell who used which NIM of a target, and for how long
description:
  - Sums up what the gateway of a target has logged, for each workstation, NIM, and hour or day.
  - The log is read where the target keeps it. CloudWatch Logs Insights and Azure Log Analytics do the sums themselves,
    Google Cloud Logging returns single lines, and on a Docker host the files are read.
  - The gateway writes a line when a request has ended. A request that still runs is not seen, and a request may take a
    quarter of an hour. So let O(recent_minutes) be longer than that when you decide from it that a NIM is idle.
  - What is not known is null and never V(0). A log that cannot be read, does not reach back to the beginning, or was
    told in part only, is no proof that nobody used a NIM. RV(log.problems) says why.
  - Only C(POST) counts as use. Looking whether a NIM is there with C(GET) does not, and neither does a request that was
    refused, or that found no NIM running.
  - A line names workstation, NIM and sizes. What was asked for is not in it.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes
  - budgetguard.techops.attributes.info_module
  - budgetguard.techops.aws_connection
  - budgetguard.techops.azure_connection
  - budgetguard.techops.gcp_connection
  - budgetguard.techops.local_connection
attributes:
  action_group:
    description:
      - Belongs to a group, so that C(module_defaults) can set options for all its modules at once, by the name
        C(group/budgetguard.techops.aws) and so on.
    support: full
    membership:
      - budgetguard.techops.aws
      - budgetguard.techops.azure
      - budgetguard.techops.gcp
      - budgetguard.techops.local
      - budgetguard.techops.all
options:
  provider:
    description:
      - What kind of target it is. Only the options of that kind count.
      - With V(local) the task has to run on the Docker host itself, as a user who may read the log.
    type: str
    choices: [aws, azure, gcp, local]
    required: true
  since:
    description:
      - Where to begin. So many minutes, hours, days or weeks ago, as V(90m), V(24h), V(7d) or V(2w), or a time in UTC,
        as V(2026-11-01) or V(2026-11-01T18:00:00Z). It is included.
    type: str
    default: 24h
  before:
    description:
      - Where to end, written in the same way. It is not included. By default now.
    type: str
  period:
    description:
      - By what to divide RV(rows). Hours and days are those of UTC.
    type: str
    choices: [none, hour, day]
    default: day
  recent_minutes:
    description:
      - How many minutes before O(before) RV(nims[].recent) is about.
    type: int
    default: 60
  look_back_days:
    description:
      - How many days back to look for the last use of a NIM. No log reaches back further than it is kept.
    type: int
    default: 14
  nodes:
    description:
      - NIMs to tell about even if no line names them, such as V(nim-flux-dev-l40s), as the C(nim_*_info) modules name
        them. What comes after C(nim-) does as well.
    type: list
    elements: str
    default: []
  metrics:
    description:
      - Ask CloudWatch for the metrics of the load balancer about O(nodes), with O(provider=aws), where the log is not
        known as a whole. They tell when a NIM was asked for something, and not by whom.
      - They count C(GET) as well, so whoever looks whether a NIM is there keeps it in use.
      - With O(provider=gcp) ask Cloud Monitoring for the duty cycle of the GPUs instead. It covers 10 seconds of each
        minute, so a short request may not be seen.
      - With O(provider=azure) and O(prometheus_query_endpoint) ask the Azure Monitor workspace how busy the GPUs are,
        as NVIDIA's DCGM exporter tells it. It takes samples, so a short request may not be seen either.
    type: bool
    default: true
  log_path:
    description:
      - The gateway's log on a Docker host. Files that were rotated away from it stand beside it, also packed by gzip.
      - By default Docker is asked where it keeps the log of the container C(budgetguard-gateway). Only root may read
        it there.
    type: path
  log_analytics_workspace_id:
    description:
      - The workspace of Azure Log Analytics that has the cluster's logs, by the id that its page Overview shows. The
        environment variable E(AZURE_LOG_ANALYTICS_WORKSPACE_ID) does the same.
      - By default the one that the cluster's addon monitoring names.
    type: str
  log_analytics_endpoint:
    description:
      - Send queries to this address instead of V(https://api.loganalytics.io), for example in a sovereign cloud. The
        environment variable E(AZURE_LOG_ANALYTICS_ENDPOINT) does the same.
    type: str
  prometheus_query_endpoint:
    description:
      - The query endpoint of the Azure Monitor workspace to which the cluster sends the metrics of NVIDIA's DCGM
        exporter, as the workspace's page Overview shows it, for example
        V(https://studio-abcd.eastus.prometheus.monitor.azure.com). The environment variable
        E(AZURE_PROMETHEUS_QUERY_ENDPOINT) does the same.
      - Without it no metrics are read on Azure. Of Azure's clouds only the public one is supported.
    type: str
  logging_endpoint:
    description:
      - Send the calls of Google's Cloud Logging to this address instead of Google's own. The environment variable
        E(CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING) does the same.
    type: str
  monitoring_endpoint:
    description:
      - Send the calls of Google's Cloud Monitoring to this address instead of Google's own. The environment variable
        E(CLOUDSDK_API_ENDPOINT_OVERRIDES_MONITORING) does the same.
    type: str
  region:
    description:
      - AWS region, for example V(us-east-1). Needed with O(provider=aws).
    type: str
    required: false
  cluster:
    description:
      - Name of the cluster of ECS, AKS or GKE.
    type: str
    default: budgetguard
  subscription_id:
    description:
      - Azure subscription. Needed with O(provider=azure). The environment variable E(AZURE_SUBSCRIPTION_ID) does the
        same.
    type: str
    required: false
  resource_group:
    description:
      - Resource group of the AKS cluster. Needed with O(provider=azure).
    type: str
    required: false
  location:
    description:
      - Zone or region of the GKE cluster. Needed with O(provider=gcp).
    type: str
    required: false
notes:
  - The caller needs C(logs:StartQuery), C(logs:GetQueryResults) and C(logs:StopQuery) on the log group; or Log
    Analytics Reader on the workspace, with Reader on the cluster where O(log_analytics_workspace_id) is not set; or
    Logs Viewer (C(roles/logging.viewer)) in the project.
  - With O(metrics) also C(cloudwatch:GetMetricData) and C(elasticloadbalancing:DescribeTargetGroups). CloudWatch wants
    0.01 USD for 1,000 metrics, and two are read for each of O(nodes). On Google Cloud C(monitoring.timeSeries.list); on
    Azure the role Monitoring Data Reader on the Azure Monitor workspace.
  - CloudWatch Logs Insights costs money by what it reads, about 0.005 USD for a gigabyte in us-east-1. A call reads the
    log three times; RV(log.bytes_scanned) tells how much that was.
  - Google allows 60 requests a minute in a project. A call makes one for each 1,000 lines since O(since), one for each
    of O(nodes) that was not used in that time, and one more, and slows down before the limit.
seealso:
  - module: budgetguard.techops.nim_targets_info
  - plugin: budgetguard.techops.nim_usage
    plugin_type: filter
"""

EXAMPLES = r"""
- name: See who used the NIMs of an AWS region in the last week
  budgetguard.techops.nim_usage_info:
    provider: aws
    region: us-east-1
    since: 7d
  register: used

- name: Tell which NIMs nobody has used for an hour
  budgetguard.techops.nim_usage_info:
    provider: gcp
    location: us-central1-a
    since: 60m
    recent_minutes: 60
    nodes: "{{ found.deployments | map(attribute='name') }}"
  register: used

- name: Show them
  ansible.builtin.debug:
    msg: "{{ used.nims | selectattr('recent.requests', 'eq', 0) | map(attribute='name') }}"
"""

RETURN = r"""
since:
  description: Where the sums begin, in UTC.
  returned: success
  type: str
  sample: "2026-11-27T18:00:00Z"
until:
  description: Where they end.
  returned: success
  type: str
  sample: "2026-11-28T18:00:00Z"
log:
  description: How much is known.
  returned: success
  type: dict
  contains:
    known:
      description: Whether the log was read, and the gateway has written to it at all.
      type: bool
    complete:
      description: Whether the log reaches back to RV(since) and was told as a whole.
      type: bool
    unbroken:
      description: Whether nothing is missing from RV(log.first_line_at) up to RV(log.settled_until).
      type: bool
    first_line_at:
      description: The gateway's first line since O(look_back_days), or the first that is still kept.
      type: str
      sample: "2026-11-14T18:00:04Z"
    newest_line_at:
      description: The gateway's newest line.
      type: str
      sample: "2026-11-28T17:59:12Z"
    delay_seconds:
      description: How long the slowest line took from the gateway to the log.
      type: float
      sample: 3.2
    settled_until:
      description:
        - Up to when no more lines are to be expected. It is behind RV(until) by the larger of RV(log.delay_seconds) and
          what is usual for this log.
      type: str
      sample: "2026-11-28T17:59:00Z"
    bytes_scanned:
      description: How much CloudWatch Logs Insights has read, for which it wants money. Null elsewhere.
      type: int
      sample: 1048576
    problems:
      description: Why something is not known, in sentences.
      type: list
      elements: str
      sample: []
nims:
  description: One for each NIM that is in the log, and each of O(nodes).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the NIM.
      type: str
      sample: nim-flux-dev-l40s
    node:
      description: Its name in the path and in the log.
      type: str
      sample: flux-dev-l40s
    requests:
      description: Requests that it worked on. Null if that is not known.
      type: int
      sample: 120
    failed:
      description: Those of them that ended with a status of 500 or above.
      type: int
      sample: 1
    refused:
      description: Requests that were not let through, for lack of a valid token or for being too many.
      type: int
      sample: 0
    not_running:
      description: Requests for which there was no NIM running.
      type: int
      sample: 2
    request_seconds:
      description: How long all these requests took together. Requests at the same time count each.
      type: float
      sample: 1893.25
    bytes:
      description: Bytes of the answers.
      type: int
      sample: 251658240
    request_bytes:
      description: Bytes of the requests.
      type: int
      sample: 1048576
    workstations:
      description: How many workstations used it.
      type: int
      sample: 3
    last_use_at:
      description: When the last request ended that it worked on. Null if there was none as far back as was looked.
      type: str
      sample: "2026-11-28T17:59:12Z"
    idle_since:
      description:
        - Since when it is known to be unused, which is its last use, or else the beginning of what is known. Null if
          nothing is known.
      type: str
      sample: "2026-11-28T17:59:12Z"
    source:
      description:
        - From what RV(nims[].idle_since) and RV(nims[].last_use_at) are known. V(gateway_log), V(cloudwatch) for the
          metrics of the load balancer, V(cloud_monitoring) or V(azure_monitor) for how busy the GPUs were, or null if
          they are not, or only by a log that has gaps.
        - Metrics know the last day at most. A minute without any metric is not known, and so is what was before.
      type: str
      sample: gateway_log
    settled_until:
      description:
        - Up to when that is known. Metrics of CloudWatch and Azure Monitor count after ten minutes, those of Cloud
          Monitoring after four, since they may come late.
      type: str
      sample: "2026-11-28T17:59:00Z"
    recent:
      description: What it did in the last minutes before RV(until).
      type: dict
      contains:
        minutes:
          description: How many minutes, as in O(recent_minutes).
          type: int
          sample: 60
        requests:
          description: Requests that it worked on and that ended in these minutes. Null if that is not known.
          type: int
          sample: 4
        busy_seconds:
          description:
            - For how long it worked on at least one of them. Null if that is not known.
            - By V(cloud_monitoring) and V(azure_monitor) it is the whole minutes in which a GPU was seen to work.
          type: float
          sample: 61.5
workstations:
  description: One for each workstation, the one that used most first. Its keys are those of RV(nims) for the sums.
  returned: success
  type: list
  elements: dict
  sample:
    - workstation: ws-01
      requests: 80
      failed: 1
      refused: 0
      not_running: 0
      request_seconds: 1262.5
      bytes: 167772160
      request_bytes: 698368
      last_use_at: "2026-11-28T17:59:12Z"
      share: 0.666843
rows:
  description: One for each period, workstation and NIM in which there was a request.
  returned: success
  type: list
  elements: dict
  sample:
    - period: "2026-11-28T00:00:00Z"
      workstation: ws-01
      node: flux-dev-l40s
      target: aws-us-east-1
      requests: 80
      failed: 1
      refused: 0
      not_running: 0
      request_seconds: 1262.5
      bytes: 167772160
      request_bytes: 698368
refused:
  description: Requests of nobody known that were refused, whatever they asked for. Null if that is not known.
  returned: success
  type: int
  sample: 3
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.budgetguard.techops.plugins.module_utils import _usage, _usage_metrics
from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import USAGE
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import MissingLibraryError, ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._usage_file import UsageFile

Options = t.Mapping[str, t.Any]

GATEWAY_CONTAINER = "budgetguard-gateway"


class Source(t.Protocol):
    """A log."""

    def read(self, ask: _usage.Ask, now: float) -> _usage.Seen:
        """Return what it tells."""


class Metrics(t.Protocol):
    """A cloud's metrics."""

    def read(self, nodes: t.Sequence[str], now: float) -> dict[str, _usage_metrics.Counted]:
        """Return what they tell of NIMs, by their names in the log."""


def _source(module: AnsibleModule) -> Source:
    """Open the target's log. A cloud's library is loaded for a target of it only: the others take a second each."""
    options: Options = module.params
    if options["provider"] == "local":
        return UsageFile(options["log_path"] or _log_of_container(module))
    if options["provider"] == "aws":
        from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_usage import AwsUsage

        return AwsUsage.connect(options)
    if options["provider"] == "azure":
        from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_usage import AzureUsage

        return AzureUsage.connect(options)
    from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_usage import GcpUsage

    return GcpUsage.connect(options)


def _log_of_container(module: AnsibleModule) -> str:
    """Ask Docker where the log of the gateway is. Raises ProviderError."""
    docker, where = module.params["docker_command"], module.params["docker_host"]
    words = [docker, "--host", where, "container", "inspect", "--format", "{{.LogPath}}", GATEWAY_CONTAINER]
    code, printed, said = module.run_command(words)
    if code or not printed.strip():
        raise ProviderError(f"cannot ask Docker for the log of {GATEWAY_CONTAINER}: {said.strip() or 'it has none'}")
    return str(printed.strip())


def _ask(options: Options, now: float) -> _usage.Ask:
    """Return what the options ask for. Raises ValueError for what is wrong with them."""
    since = _usage.point("since", options["since"], now)
    until = _usage.point("before", options["before"], now) if options["before"] else now
    if since >= until:
        raise ValueError(f"since is {_usage.iso(since)}, which is not earlier than before, {_usage.iso(until)}")
    for name in ("recent_minutes", "look_back_days"):
        if options[name] < 1:
            raise ValueError(f"{name} is {options[name]}; it must be 1 or more")
    nodes = tuple(_usage.plain_name("nodes", node) for node in options["nodes"])
    return _usage.Ask(since, until, options["period"], options["recent_minutes"], options["look_back_days"], nodes)


def _counted(
    options: Options, ask: _usage.Ask, seen: _usage.Seen, now: float
) -> tuple[dict[str, _usage_metrics.Counted], str | None]:
    """Return what metrics tell of the NIMs where the log does not, and why they do not."""
    has_metrics = options["provider"] in ("aws", "gcp") or _asks_azure(options)
    if not has_metrics or not options["metrics"] or not ask.nodes or _usage.is_unbroken(seen):
        return {}, None
    try:
        return _metrics(options).read([_usage.node_name(node) for node in ask.nodes], now), None
    except ProviderError as exc:
        return {}, str(exc)


def _asks_azure(options: Options) -> bool:
    """Whether the target is Azure's and its metrics are somewhere: a cluster does not name the workspace by itself."""
    return options["provider"] == "azure" and bool(options["prometheus_query_endpoint"])


def _metrics(options: Options) -> Metrics:
    """Open the target's metrics, with the library of its own cloud only."""
    if options["provider"] == "aws":
        from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_metrics import AwsMetrics

        return AwsMetrics.connect(options)
    if options["provider"] == "azure":
        from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_metrics import AzureMetrics

        return AzureMetrics.connect(options)
    from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_metrics import GcpMetrics

    return GcpMetrics.connect(options)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=USAGE,
        required_if=[
            ("provider", "aws", ("region",)),
            ("provider", "azure", ("subscription_id", "resource_group")),
            ("provider", "gcp", ("location",)),
        ],
        required_together=[("access_key", "secret_key")],
        supports_check_mode=True,
    )
    now = time.time()
    try:
        ask = _ask(module.params, now)
        seen = _source(module).read(ask, now)
        counted, problem = _counted(module.params, ask, seen, now)
    except MissingLibraryError as exc:
        module.fail_json(msg=missing_required_lib(exc.package), exception=exc.import_error)
    except (ProviderError, ValueError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=False, **_usage.report(ask, seen, counted, problem))


if __name__ == "__main__":
    main()
