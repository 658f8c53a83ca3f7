# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules that deploy to a Kubernetes cluster."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation of what is set up inside a cluster."""

    DOCUMENTATION = r"""
options:
  scheme:
    description:
      - Whether the gateway's load balancer has an internal address only.
    type: str
    choices: [internal, public]
    default: internal
  allowed_cidrs:
    description:
      - Networks that may reach the NIMs, in CIDR form. Needed whenever a NIM should be present or started, because a
        NIM has no login of its own.
      - They hold for the load balancer and, as a network policy, for the gateway behind it.
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
      - Accept O(scheme=public) although the gateway has no certificate and speaks plain HTTP.
    type: bool
    default: false
  endpoint_host:
    description:
      - Name under which workstations reach the load balancer. The studio's DNS must point it to the load balancer.
        Without it, the load balancer's own address is published.
      - With a certificate it is needed, and must be a name or address that stands in the certificate.
    type: str
  ngc_api_key:
    description:
      - NGC API key. It is kept in two Secrets of the namespace and serves both the registry login and the model
        download. Without it, the Secrets that are already there are used as they are.
    type: str
  hf_token:
    description:
      - Hugging Face token for models with gated weights. Kept in one of the same Secrets.
    type: str
  storage_class:
    description:
      - Storage class of the disks that keep the models while NIMs are stopped. Without it, the cluster's default one.
      - It cannot be changed for a NIM that is there.
    type: str
  gateway_image:
    description:
      - Image of the gateway, with HAProxy 2.6 or newer as C(haproxy) on its path. Without it, HAProxy's official image,
        pinned to a digest.
    type: str
  gateway_replicas:
    description:
      - How many copies of the gateway run. They run on machines without a GPU, and on different ones where there are
        enough.
    type: int
    default: 2
"""
