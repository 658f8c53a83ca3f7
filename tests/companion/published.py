# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Targets of the sandbox, read and published as the collection does it."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.budgetguard.techops.plugins.action import nim_targets_info
from ansible_collections.budgetguard.techops.plugins.module_utils import _artists
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import Provider
from tests.aws.account import Account
from tests.aws.artist import Artist as AwsArtist
from tests.azure.artist import Artist as AzureArtist
from tests.clusters.cluster import Cluster
from tests.gcp.artist import Artist as GcpArtist
from tests.sandbox import Sandbox

Fields = t.Mapping[str, str]


def prepare(sandbox: Sandbox, cloud: str) -> tuple[Fields, dict[str, t.Any]]:
    """Deploy a NIM and make an artist's identity; return its credentials, and the target as it is read."""
    if cloud == "aws":
        account = Account(sandbox)
        account.run("FLUX Dev@l40s")
        return AwsArtist(sandbox).run()["credentials"], as_published("aws", account.provider())
    sandbox.control.defaults(cluster_seconds=0)
    cluster = Cluster(sandbox, cloud)
    cluster.run("Llama 3.1@l4" if cloud == "gcp" else "Llama 3.1@a100-80gb")
    target = as_published(cloud, cluster.provider())
    artist: t.Any = GcpArtist(sandbox) if cloud == "gcp" else AzureArtist(sandbox)
    return artist.run()["credentials"], target


def as_published(cloud: str, provider: Provider) -> dict[str, t.Any]:
    """Return the name of a target's one NIM, and the endpoints that are published of it."""
    opened: dict[str, t.Any] = {"target": f"{cloud}-here", "provider": cloud, "options": {}, "error": None}
    target = nim_targets_info._read(opened, {cloud: lambda _options: provider}, False)
    assert target["error"] is None, target["error"]
    document = _artists.artists_config([target], generated_at="2026-11-28T10:00:00Z")
    return {"name": target["deployments"][0]["name"], "endpoints": document["nim_endpoints"]}


def secret_parts(fields: Fields) -> list[str]:
    """Return what of an identity's fields must never show up; of a key file the lines of its key."""
    found = [value for name, value in fields.items() if "Secret" in name]
    if "Service Account JSON" in fields:
        key = json.loads(fields["Service Account JSON"])["private_key"]
        found += [line for line in key.splitlines() if len(line) > 40]
    return found
