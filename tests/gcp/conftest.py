# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workstations' identities on Google Cloud against the sandbox: emptied before each test."""

from __future__ import annotations

import pytest

from tests.gcp.artist import Artist
from tests.sandbox import Sandbox


@pytest.fixture
def artist(running_sandbox: Sandbox) -> Artist:
    """Give the identity of a workstation in an empty project."""
    running_sandbox.control.reset()
    return Artist(running_sandbox)


@pytest.fixture
def with_cluster(artist: Artist) -> Artist:
    """Give the same in a project with a cluster to which NIMs were deployed."""
    artist.control.defaults(cluster_seconds=0)
    artist.make_cluster()
    return artist
