# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option of the modules that set up a gateway."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation of the gateway's login, certificate and limits."""

    DOCUMENTATION = r"""
options:
  gateway:
    description:
      - Login, certificate and limits of the gateway in front of the NIMs. The filter
        P(budgetguard.techops.gateway_options#filter) makes it out of the inventory.
      - Without it the gateway takes every request that the network lets through, over plain HTTP. A gateway that wants
        tokens is not opened by leaving this option out; such a run is refused.
    type: dict
    suboptions:
      target:
        description:
          - What the target is called in the usage log. Without it, the name of the cluster or the host.
        type: str
      studio:
        description:
          - Name of the studio. It is the issuer of the tokens, so another studio's token is refused.
        type: str
      public_keys:
        description:
          - Public keys as PEM (C(BEGIN PUBLIC KEY), curve P-256). With at least one, each request needs a token that is
            signed with it. Two are for the time while one takes over from the other.
        type: list
        elements: str
        default: []
      denied:
        description:
          - The deny list. Names of workstations, or ids of single tokens, and the time before which their tokens were
            issued that are refused, such as C(2026-11-28T15:00:00Z).
        type: dict
        default: {}
      certificate:
        description:
          - The certificate as PEM, the server's first, then its chain. With it the gateway speaks HTTPS only.
        type: str
      private_key:
        description:
          - The key of O(gateway.certificate) as PEM, without a password.
        type: str
      body_mib:
        description:
          - How long a request's body may be, in MiB. Pictures are sent as text, a third longer than their files.
        type: int
        default: 64
      requests_per_minute:
        description:
          - How many requests a workstation may send in a minute, to each copy of the gateway. Without it, any number.
        type: int
      concurrent_requests:
        description:
          - How many requests of a workstation may be under way at a time, in each copy of the gateway. Without it, any
            number.
        type: int
  gateway_only:
    description:
      - Bring the gateway to what O(gateway) says and touch nothing else, for example to renew a certificate or to
        revoke a workstation. O(deployments) must be empty then. Where there is no gateway, none is made.
    type: bool
    default: false
"""
