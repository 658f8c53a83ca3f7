#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_price_info
short_description: Tell what NIMs and targets cost, and where a node would be cheapest
description:
  - Returns what each NIM of the inventory costs an hour while it runs, with everything that it is deployed with, and
    what each target costs a month while all its NIMs are stopped.
  - Prices are read from AWS's Price List API and the history of its Spot prices, from Azure Retail Prices, and from
    Google's Cloud Billing Catalog. NVIDIA has no public price API for Cloud Functions and hosted models, so theirs are
    null, and RV(prices[].why) says so. What a machine of your own costs only you know. It is the host's variable
    C(local_hourly_usd), in US dollars.
  - All prices are list prices without taxes, discounts, commitments and credits. What is billed is told elsewhere.
  - A price that is not known is null and never V(0), and it comes with the reason. Where only a part is known, as the
    machine without its disk, the known part is told with RV(prices[].complete=false).
  - Where a price API cannot be asked, the collection's own dated list stands in. It has few prices, says where each one
    comes from, and a result that is made of it says so in RV(prices[].source).
  - Prices are kept in O(cache_path) for O(cache_hours), so that asking often is cheap. Spot prices are kept for an hour
    at most.
  - It runs on the controller. Only what is asked needs its library, boto3 for AWS and google-auth for Google Cloud.
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
  nodes:
    description:
      - Nodes to tell about, as a list or as text with commas. By default all that C(nim_matrix) has.
    type: raw
  found:
    description:
      - The C(targets) that M(budgetguard.techops.nim_targets_info) returned. For each target among them that was read,
        what is deployed there is priced, and not what C(nim_matrix) wants. Machine types are those of C(nim_matrix), or
        of the default where it has no such NIM.
    type: list
    elements: dict
  compare:
    description:
      - Also compare what each node would cost on every GPU tier that fits, in every region asked for.
    type: bool
    default: false
  compare_nodes:
    description:
      - The nodes to compare. By default all that the inventory has.
    type: list
    elements: str
    default: []
  compare_regions:
    description:
      - Regions to compare, as a list for each of V(aws), V(azure) and V(gcp). For a provider that is not named, the
        regions of the inventory's targets count.
    type: dict
    default: {}
  compare_spot:
    description:
      - Also compare Spot machines, which can be taken away at any time. This collection deploys them on Google Cloud
        alone.
    type: bool
    default: false
  check_quotas:
    description:
      - Leave out of the comparison what the quotas of Azure and Google Cloud do not allow. It costs a few calls for
        each region, with the credentials of the first target. Quotas of AWS are not read.
    type: bool
    default: false
  currency:
    description:
      - The currency, as a code of three capitals. Nothing is converted here. AWS tells USD, and CNY for its regions in
        China; Microsoft and Google tell others, for reference. The list and C(local_hourly_usd) are in USD.
    type: str
    default: USD
  prices:
    description:
      - V(auto) asks the price APIs, and takes the collection's list where they cannot be asked. V(api) never takes the
        list, and V(list) asks nobody.
    type: str
    choices: [auto, api, list]
    default: auto
  cache_path:
    description:
      - The file in which prices are kept. There is nothing secret in it. A file that cannot be read or written is told
        in RV(problems) and stops nothing. Empty keeps nothing.
    type: path
    default: ~/.cache/budgetguard/prices.json
  cache_hours:
    description:
      - How many hours a price is kept.
    type: float
    default: 24.0
  list_max_age_days:
    description:
      - Warn if a price from the collection's list is older than so many days.
    type: int
    default: 90
  office_hours_per_week:
    description:
      - For how many hours a week a NIM runs in RV(prices[].monthly_office_hours).
    type: float
    default: 50.0
  gcp_api_key:
    description:
      - An API key of a Google Cloud project in which the Cloud Billing API is enabled. By default the credentials of
        the first target on Google Cloud are used, or the application default credentials.
    type: str
notes:
  - AWS needs C(pricing:GetProducts), and C(ec2:DescribeSpotPriceHistory) for Spot. The file C(policies/aws/prices.json)
    has both. Azure needs no login. Google needs an API key or any credentials, and no role.
  - The environment variables E(AZURE_RETAIL_PRICES_ENDPOINT) and E(CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBILLING) lead
    to other addresses than V(https://prices.azure.com) and V(https://cloudbilling.googleapis.com).
  - Google's catalogue is read as a whole, which are tens of megabytes, once for each time that anything of Google's is
    not in the cache.
seealso:
  - module: budgetguard.techops.nim_targets_info
  - plugin: budgetguard.techops.nim_prices
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Tell what the inventory's NIMs cost
  budgetguard.techops.nim_price_info:
  run_once: true
  register: told

- name: Show them
  ansible.builtin.debug:
    msg: "{{ (told | budgetguard.techops.nim_prices).lines }}"
  run_once: true

- name: Tell where FLUX Dev would be cheapest
  budgetguard.techops.nim_price_info:
    compare: true
    compare_nodes: [FLUX Dev]
    compare_regions:
      aws: [us-east-1, eu-central-1]
      azure: [westeurope]
      gcp: [europe-west4]
  run_once: true
  register: told
"""

RETURN = r"""
currency:
  description: The currency of all prices here.
  returned: success
  type: str
  sample: USD
read_at:
  description: When this was put together, in UTC.
  returned: success
  type: str
  sample: "2026-11-28T18:00:00Z"
prices:
  description: One for each NIM.
  returned: success
  type: list
  elements: dict
  contains:
    node:
      description: Node.
      type: str
      sample: FLUX Dev
    name:
      description: Name of the NIM on its target.
      type: str
      sample: nim-flux-dev-l40s
    target:
      description: Name of the target.
      type: str
      sample: aws-us-east-1
    provider:
      description: Provider of the target.
      type: str
      sample: aws
    region:
      description: Region, as the price API calls it.
      type: str
      sample: us-east-1
    gpu_tier:
      description: GPU tier.
      type: str
      sample: l40s
    machine:
      description: Machine type.
      type: str
      sample: g6e.2xlarge
    provisioning:
      description: V(on-demand), V(spot) or V(flex-start).
      type: str
      sample: on-demand
    replicas:
      description: How many copies are priced.
      type: int
      sample: 1
    currency:
      description: As RV(currency).
      type: str
      sample: USD
    hourly:
      description: What an hour costs while it runs, all copies together. Null if the price of the machine is not known.
      type: float
      sample: 2.28946
    complete:
      description: Whether the prices of all its parts are known. Otherwise RV(prices[].hourly) is too low.
      type: bool
      sample: true
    unknown:
      description: The parts whose price is not known, and why.
      type: list
      elements: str
      sample: []
    monthly_always_on:
      description: What a month of 730 hours costs.
      type: float
      sample: 1671.31
    monthly_office_hours:
      description: What a month costs at O(office_hours_per_week).
      type: float
      sample: 496.05
    start:
      description:
        - What one start and stop costs beside the work between them. It is an estimate, of the minutes that
          docs/deploy.md plans with, and no measurement.
      type: dict
      contains:
        estimate:
          description: Always true.
          type: bool
          sample: true
        cold_start_minutes:
          description: Minutes from the start to the first request.
          type: int
          sample: 30
        tail_minutes:
          description: Minutes after a stop for which the machine is still paid.
          type: int
          sample: 15
        cost:
          description: What these minutes cost. Null where nothing is rented.
          type: float
          sample: 1.7171
    source:
      description:
        - V(api), V(list) for the collection's list, or V(given) for C(local_hourly_usd). If there are several, the
          least certain one.
      type: str
      sample: api
    priced_at:
      description: As of when the oldest of its prices was one.
      type: str
      sample: "2026-11-28T18:00:00Z"
    passing:
      description: Whether what is not known of it may be known another time, as after an outage.
      type: bool
      sample: false
    why:
      description: Why no price is known.
      type: str
      sample: null
    warnings:
      description: What there is to know about the NIM on this tier.
      type: list
      elements: str
      sample: []
    parts:
      description: Its parts with their prices.
      type: list
      elements: dict
      sample:
        - what: machine
          name: g6e.2xlarge
          quantity: 1.0
          price: 2.24208
          per: hour
          hourly: 2.24208
          monthly: 1636.7184
          source: api
          where: AWS Price List
          as_of: "2026-11-28T18:00:00Z"
          note: null
          why: null
targets:
  description: One for each target, with what it costs while all its NIMs are stopped.
  returned: success
  type: list
  elements: dict
  contains:
    target:
      description: Name of the target.
      type: str
      sample: aws-us-east-1
    provider:
      description: Its provider.
      type: str
      sample: aws
    region:
      description: Its region.
      type: str
      sample: us-east-1
    currency:
      description: As RV(currency).
      type: str
      sample: USD
    fixed_monthly:
      description: What a month costs. Null if a part of it is not known.
      type: float
      sample: 16.83
    fixed_monthly_at_least:
      description: What is known of it.
      type: float
      sample: 16.83
    unknown:
      description: The parts whose price is not known, and why.
      type: list
      elements: str
      sample: []
    parts:
      description: Its parts with their prices, as in RV(prices[].parts).
      type: list
      elements: dict
      sample: []
    source:
      description: As RV(prices[].source).
      type: str
      sample: api
    priced_at:
      description: As RV(prices[].priced_at).
      type: str
      sample: "2026-11-28T18:00:00Z"
    transfer_out:
      description:
        - What data to the internet costs, by how much of it there is in a month. On Google Cloud it is data to the same
          continent.
      type: list
      elements: dict
      sample:
        - from_gib: 0.0
          price: 0.09
    transfer_out_as_of:
      description: When that was the price.
      type: str
      sample: "2026-11-28T18:00:00Z"
    transfer_out_why:
      description: Why it is not known.
      type: str
      sample: null
    error:
      description: Why nothing can be told about this target.
      type: str
      sample: null
choices:
  description:
    - With O(compare=true), one for each way to run a node, the cheapest first for each node. Keys are those of
      RV(prices), without those of a NIM that exists, and C(listed), whether NVIDIA's list for the node has the tier.
  returned: success
  type: list
  elements: dict
  sample: null
left_out:
  description:
    - With O(compare=true), what is not among RV(choices). C(reason) is C(does_not_fit), C(not_offered), C(no_quota) or
      C(price_unknown), and C(text) says more.
  returned: success
  type: list
  elements: dict
  sample: null
problems:
  description: What could not be read, and what was ignored.
  returned: success
  type: list
  elements: str
  sample: []
"""
