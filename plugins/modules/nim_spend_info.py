#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_spend_info
short_description: Tell what was billed for NIMs and targets, per day
description:
  - Returns what the clouds have billed for each node and target of the inventory, day by day, and what the NIMs that
    run now add to it until now.
  - Bills are read from AWS Cost Explorer, Azure Cost Management, and the table in BigQuery to which Google Cloud
    exports a billing account. They are told apart by tags and labels that this collection puts on what it makes. Some
    of that has to be switched on in the cloud first, see docs/spend.md.
  - A bill is a day late or more, and RV(targets[].billed_until) says how far it reaches. What runs since then is
    estimated as running hours times the list price, in RV(estimates), and is told as an estimate wherever it counts.
  - What cannot be divided by node has RV(days[].node=null). It is what the NIMs of a target share, as its load balancer
    and its system machines, and what a cloud does not tell by node.
  - For each workstation there is an allocation, no bill. It is what was billed for a node, times the workstation's
    share of the request-seconds in the gateway's log.
  - What is not known is null and never V(0), and RV(problems) says why.
  - Nothing is converted. A target that is billed in another currency than O(currency) has no amounts.
  - It runs on the controller, once for all targets. Only what is asked needs its library, boto3 for AWS, the libraries
    of AKS for Azure, and those of GKE for Google Cloud.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes.controller_info
options:
  targets:
    description:
      - Names of the targets. By default all hosts in the group C(nim_providers).
    type: list
    elements: str
  since:
    description:
      - From which day on to tell RV(days) and RV(allocations). So many days or weeks ago, as V(30d) or V(2w), or a day,
        as V(2026-11-01). By default the first day of this month, in UTC.
      - AWS keeps 14 months, Azure answers for a year at most, and a billing export begins when it was switched on.
    type: str
  found:
    description:
      - The C(targets) that M(budgetguard.techops.nim_targets_info) returned, or its whole result. It tells what
        runs and since when. Without it nothing is estimated.
    type: raw
  prices:
    description:
      - The C(prices) that M(budgetguard.techops.nim_price_info) returned, or its whole result. Without it nothing is
        estimated.
    type: raw
  usages:
    description:
      - One mapping for each target, with C(target), its name, and C(usage), the result of
        M(budgetguard.techops.nim_usage_info), or C(error), why there is none. Without it nothing is allocated.
      - What is allocated is what was billed since O(since) on the days that the log is about.
    type: list
    elements: dict
    default: []
  currency:
    description:
      - The currency of all amounts, as a code of three capitals.
    type: str
    default: USD
  cache_path:
    description:
      - The file in which answers are kept. It has amounts in it and no secret, and only you may read it. A file that
        cannot be read or written is told in RV(problems) and stops nothing. Empty keeps nothing.
      - An answer that is older than O(cache_hours) stands in where a cloud cannot be asked.
    type: path
    default: ~/.cache/budgetguard/spend.json
  cache_hours:
    description:
      - How many hours an answer is kept before the cloud is asked again. Bills change a few times a day at most, and
        AWS wants money for each request.
    type: float
    default: 6.0
  bigquery_maximum_bytes:
    description:
      - How many bytes a question to BigQuery may read at most. One that would read more is refused by Google and costs
        nothing. A TiB is 6.25 USD on demand in the US, and the first of a month is free.
    type: int
    default: 10737418240
notes:
  - AWS needs C(ce:GetCostAndUsage) and C(ce:ListCostAllocationTags), as in the file C(policies/aws/spend.json), and is
    paid 0.01 USD for each request. Azure needs C(Microsoft.CostManagement/query/action) on the subscription, as in
    C(policies/azure/spend.json). Google Cloud needs C(bigquery.jobs.create) in the target's project, as in
    C(policies/gcp/spend.yaml), and BigQuery Data Viewer (C(roles/bigquery.dataViewer)) on the dataset of the export.
  - The table of a billing export is the variable C(spend_bigquery_table) of the target.
  - One question is about all targets of one AWS account with one cluster name, of one Azure subscription, or of one
    billing export.
  - The environment variable E(CLOUDSDK_API_ENDPOINT_OVERRIDES_BIGQUERY) leads to another address than
    V(https://bigquery.googleapis.com/bigquery/v2).
seealso:
  - module: budgetguard.techops.nim_price_info
  - module: budgetguard.techops.nim_targets_info
  - module: budgetguard.techops.nim_usage_info
"""

EXAMPLES = r"""
- name: Tell what was billed this month
  budgetguard.techops.nim_spend_info:
  run_once: true
  register: spend

- name: Show it
  ansible.builtin.debug:
    msg: "{{ spend.rows }}"
  run_once: true

- name: See what runs
  budgetguard.techops.nim_targets_info:
  run_once: true
  register: found

- name: See what it costs an hour
  budgetguard.techops.nim_price_info:
    found: "{{ found.targets }}"
  run_once: true
  register: prices

- name: Tell the last 30 days, and what runs since the bill ends
  budgetguard.techops.nim_spend_info:
    since: 30d
    found: "{{ found.targets }}"
    prices: "{{ prices.prices }}"
  run_once: true
  register: spend
"""

RETURN = r"""
currency:
  description: The currency of all amounts here.
  returned: success
  type: str
  sample: USD
read_at:
  description: When this was put together, in UTC. RV(rows) are about its month and its day.
  returned: success
  type: str
  sample: "2026-11-28T18:00:00Z"
as_of:
  description: Up to when all targets that were read are billed. Null if none was.
  returned: success
  type: str
  sample: "2026-11-27T00:00:00Z"
targets:
  description: One for each target, with how far its bill reaches.
  returned: success
  type: list
  elements: dict
  contains:
    target:
      description: Name of the target.
      type: str
      sample: aws-us-east-1
    provider:
      description: Its provider. Null if that is not known.
      type: str
      sample: aws
    source:
      description: Where its bill is read, V(cost_explorer), V(cost_management) or V(bigquery). Null if nowhere.
      type: str
      sample: cost_explorer
    currency:
      description: As RV(currency).
      type: str
      sample: USD
    billed_until:
      description:
        - Up to when the bill is complete. It is the beginning of the last day for which anything is billed, because
          that day may still grow. Null if it is not known.
      type: str
      sample: "2026-11-27T00:00:00Z"
    late_hours:
      description: How many hours ago that was.
      type: float
      sample: 42.0
    read_at:
      description: When the cloud was asked.
      type: str
      sample: "2026-11-28T15:00:00Z"
    cached:
      description: Whether this was kept from an earlier run.
      type: bool
      sample: true
    problem:
      description: Why nothing is known about what it has cost.
      type: str
      sample: null
days:
  description: What was billed per day, target, node and tier since O(since). Days are those of UTC.
  returned: success
  type: list
  elements: dict
  contains:
    date:
      description: The day.
      type: str
      sample: "2026-11-27"
    target:
      description: Name of the target.
      type: str
      sample: aws-us-east-1
    node:
      description: Node. Null for what the target's NIMs share, and what cannot be divided.
      type: str
      sample: FLUX Dev
    gpu_tier:
      description: GPU tier, where that is known.
      type: str
      sample: l40s
    billed:
      description: The amount.
      type: float
      sample: 12.34
rows:
  description:
    - What each node of a target has cost this month and today, with what is estimated. It is what the variable
      C(guard_spend) takes. A target that could not be read has one row without amounts.
  returned: success
  type: list
  elements: dict
  contains:
    target:
      description: Name of the target.
      type: str
      sample: aws-us-east-1
    node:
      description: Node, or null as in RV(days[].node).
      type: str
      sample: FLUX Dev
    month_to_date:
      description: What it has cost this month. Null if nothing of that is known.
      type: float
      sample: 412.5
    today:
      description: What it has cost today. Null if nothing of that is known.
      type: float
      sample: 9.2
    estimated:
      description: How much of RV(rows[].month_to_date) is no bill yet.
      type: float
      sample: 21.6
estimates:
  description: What runs now and has cost since the bill ends. What ran meanwhile and was stopped is not in it.
  returned: success
  type: list
  elements: dict
  contains:
    target:
      description: Name of the target.
      type: str
      sample: aws-us-east-1
    node:
      description: Node.
      type: str
      sample: FLUX Dev
    gpu_tier:
      description: GPU tier.
      type: str
      sample: l40s
    since:
      description: Since when it runs, or the end of the bill if that is later. Null if it is not known.
      type: str
      sample: "2026-11-28T09:00:00Z"
    until:
      description: As RV(read_at).
      type: str
      sample: "2026-11-28T18:00:00Z"
    hours:
      description: The hours between.
      type: float
      sample: 9.0
    hourly:
      description: The list price of all its copies. Null if it is not known.
      type: float
      sample: 2.4
    amount:
      description: Hours times price. Null if either is not known.
      type: float
      sample: 21.6
    basis:
      description: How it was estimated.
      type: str
      sample: running hours x list price
allocations:
  description:
    - What was billed, divided among workstations by their shares of the request-seconds. It is an allocation, and
      nobody was billed it.
  returned: success
  type: list
  elements: dict
  contains:
    workstation:
      description: Name of the workstation.
      type: str
      sample: ws-01
    target:
      description: Name of the target.
      type: str
      sample: aws-us-east-1
    node:
      description: Node, or null for what the target's NIMs share, which is divided by all requests to the target.
      type: str
      sample: FLUX Dev
    request_seconds:
      description: How long the workstation's requests took together.
      type: float
      sample: 1262.5
    share:
      description: Its share of those of all workstations.
      type: float
      sample: 0.666843
    allocated:
      description: The same share of what was billed.
      type: float
      sample: 275.07
calls:
  description: What reading took and cost, for each cloud.
  returned: success
  type: list
  elements: dict
  contains:
    provider:
      description: The provider.
      type: str
      sample: aws
    calls:
      description: Requests that were made. V(0) if all was kept from before.
      type: int
      sample: 7
    cost_usd:
      description:
        - What they cost in US dollars by the list. BigQuery's free share of a month is not taken off.
      type: float
      sample: 0.07
    bytes_billed:
      description: Bytes that BigQuery has read. Null elsewhere.
      type: int
      sample: null
problems:
  description: What is not known, what is late, and what limits what is told.
  returned: success
  type: list
  elements: str
  sample: []
"""
