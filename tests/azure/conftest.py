# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Identities on Azure against the sandbox: emptied before each."""

from __future__ import annotations

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _azure_identity, _kube_artist
from tests.azure.artist import Artist
from tests.sandbox import Sandbox
from tests.unit.azure.conftest import LED_BY


@pytest.fixture
def tenant(running_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Artist:
    """Give the identity of a workstation in an empty tenant, with a subscription that has no cluster."""
    running_sandbox.control.reset()
    for name in LED_BY:
        monkeypatch.setenv(name, running_sandbox.env[name])
    # Wait less for what will not come.
    monkeypatch.setattr(_azure_identity, "LIST_SECONDS", 0.2)
    monkeypatch.setattr(_azure_identity, "LIST_INTERVAL", 0.05)
    monkeypatch.setattr(_azure_identity, "SPREAD_INTERVAL", 0.05)
    monkeypatch.setattr(_kube_artist, "ATTEMPTS", 1)
    return Artist(running_sandbox)


@pytest.fixture
def artist(tenant: Artist) -> Artist:
    """Give the same, with an AKS cluster to which NIMs were deployed once."""
    tenant.make_cluster()
    tenant.control.clear_calls()
    return tenant
