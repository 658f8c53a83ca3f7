# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated Kubernetes clusters: a strict API server each, and what becomes of pods and load balancers.

The clouds' simulators make and delete clusters through `KubeApplication`; clients reach a cluster's API under
``/clusters/ID`` of the sandbox's HTTPS port, and its load balancers through the sandbox's proxy.
"""

from __future__ import annotations

from tests.sandbox.kube.application import KubeApplication
from tests.sandbox.kube.pools import NodePool

__all__ = ["KubeApplication", "NodePool"]
