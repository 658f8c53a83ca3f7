# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fifty workstations in three clouds that throttle, and a run that is killed: in the end one key each, and no more."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import typing as t
from collections import Counter
from pathlib import Path

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _credential_trial
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_identity import VIEWER
from ansible_collections.budgetguard.techops.plugins.plugin_utils._identity_phases import CLOUDS
from tests.aws.artist import GROUP, READS
from tests.aws.artist import Artist as AwsArtist
from tests.azure.artist import READ_ACTIONS
from tests.azure.artist import Artist as AzureArtist
from tests.clusters.cluster import TOKEN_SERVICES
from tests.gcp.artist import Artist as GcpArtist
from tests.identities.fleet import Order, Record, Store
from tests.sandbox import Sandbox
from tests.tools import layout

WORKSTATIONS = [f"ws-{number:02}" for number in range(1, 51)]
THREADS = 8
KEYS_UNTIL_KILLED = 60

LOST = 1
"""How many keys of each cloud are made and never stored, as `Reaper` sees to it."""

EACH = 6
"""How many calls of each kind are throttled in a run."""

ONE_SECOND = {"Retry-After": "1"}
THROTTLED: dict[str, tuple[tuple[str, ...], int, str, dict[str, str]]] = {
    "iam": (
        ("GetUser", "CreateUser", "AddUserToGroup", "CreateAccessKey", "ListAccessKeys", "DeleteAccessKey"),
        400,
        "Throttling",
        {},
    ),
    "graph": (
        ("GetApplication", "UpsertApplication", "UpsertServicePrincipal", "AddPassword", "RemovePassword"),
        429,
        "TooManyRequests",
        ONE_SECOND,
    ),
    "arm": (("ManagedClusters_Get", "RoleAssignments_Create"), 429, "TooManyRequests", ONE_SECOND),
    "google-iam": (
        ("CreateServiceAccount", "CreateServiceAccountKey", "ListServiceAccountKeys", "DeleteServiceAccountKey"),
        429,
        "RESOURCE_EXHAUSTED",
        {},
    ),
    "google-resource-manager": (("GetIamPolicy", "SetIamPolicy"), 429, "RESOURCE_EXHAUSTED", {}),
}
DELETES = {"DeleteAccessKey", "RemovePassword", "DeleteServiceAccountKey"}
"""They come once for each lost key, and so only in the run after it."""
LATER = DELETES | {"ListAccessKeys", "ListServiceAccountKeys"}
"""How many of these come before the kill depends on how far the workstations are that began first."""


@dataclasses.dataclass
class Clouds:
    """The three clouds, the orders for what runs against them, and what is there."""

    sandbox: Sandbox
    folder: Path

    def __post_init__(self) -> None:
        self.aws, self.azure, self.gcp = AwsArtist(self.sandbox), AzureArtist(self.sandbox), GcpArtist(self.sandbox)
        self.control = self.sandbox.control
        self.azure.make_cluster()
        self.gcp.make_cluster()
        self.store = Store(self.folder)

    def run(self, die_after: int | None = None) -> None:
        """Look after the fleet in a process of its own, which is killed at one moment or ends well."""
        options = {"aws": self.aws.options(), "azure": self.azure.options(), "gcp": self.gcp.options()}
        order = Order(str(self.folder), WORKSTATIONS, options, THREADS, die_after)
        ended = subprocess.run(
            [sys.executable, "-m", "tests.identities.fleet"],
            input=json.dumps(dataclasses.asdict(order)),
            cwd=layout.ROOT,
            env={**os.environ, **self.sandbox.env, "PYTHONPATH": f"{layout.ROOT}{os.pathsep}{layout.LINKS}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == (0 if die_after is None else -signal.SIGKILL), ended.stderr

    def throttle(self) -> None:
        """Let each cloud refuse some calls of each kind that a run makes, those that write as well."""
        for service, (actions, status, code, headers) in THROTTLED.items():
            for action in actions:
                times = LOST if action in DELETES else EACH
                self.control.fault(action, code, status=status, times=times, service=service, headers=headers)

    def waiting(self) -> set[str]:
        """Return the calls that would still be throttled."""
        return {fault["action"] for fault in self.control.faults()}

    def records(self) -> dict[str, dict[str, Record]]:
        """Return what is stored of all workstations."""
        return {workstation: self.store.read(workstation) for workstation in WORKSTATIONS}

    def stored_keys(self) -> dict[str, list[str]]:
        """Return the ids of all keys that are stored, by cloud."""
        found = self.records().values()
        return {cloud: sorted(item[cloud]["key_id"] for item in found if cloud in item) for cloud in CLOUDS}

    def keys(self) -> dict[str, list[str]]:
        """Return the ids of all keys that there are, by cloud. The names of two kinds begin with whose they are."""
        found = self.control.resources()
        names = {
            "aws": found["global"]["access_keys"],
            "azure": found["azure"]["client_secrets"],
            "gcp": found["gcp"]["service_account_keys"],
        }
        return {cloud: sorted(name.rpartition("/")[2] for name in names[cloud]) for cloud in CLOUDS}

    def writes(self) -> list[str]:
        """Return the calls that change something, since the log was emptied."""
        return [f"{call['service']} {call['action']}" for call in self.control.calls() if _is_write(call)]


def _is_write(call: t.Mapping[str, t.Any]) -> bool:
    if call["service"] in TOKEN_SERVICES:
        return False
    if call["service"] in ("iam", "sts"):
        return not call["action"].startswith(READS)
    return call["method"] != "GET" and call["action"] not in (*READ_ACTIONS, "GetIamPolicy")


@pytest.fixture
def clouds(running_sandbox: Sandbox, tmp_path: Path) -> Clouds:
    """Give three clouds to which NIMs were deployed, and no workstation."""
    running_sandbox.control.reset()
    running_sandbox.control.defaults(cluster_seconds=0)
    os.environ.update(running_sandbox.env)
    return Clouds(running_sandbox, tmp_path)


def test_a_fleet_converges_with_throttling_and_after_a_kill(clouds: Clouds) -> None:
    clouds.throttle()
    clouds.run(die_after=KEYS_UNTIL_KILLED)
    assert clouds.waiting() <= LATER
    stored, there = clouds.stored_keys(), clouds.keys()
    for cloud in CLOUDS:
        assert 0 < len(stored[cloud]) < len(WORKSTATIONS), "the kill came in the middle"
        assert set(stored[cloud]) < set(there[cloud]), "keys were made that nobody has"

    clouds.control.clear_faults()
    clouds.throttle()
    clouds.run()
    assert clouds.waiting() == set()
    assert_one_of_each(clouds)
    assert_all_keys_work(clouds)
    files = {path: path.read_bytes() for path in clouds.folder.rglob("*") if path.is_file()}
    assert sorted(files) == [clouds.store.path(workstation) for workstation in WORKSTATIONS]

    clouds.control.clear_calls()
    clouds.run()
    assert clouds.writes() == []
    assert {path: path.read_bytes() for path in files} == files


def assert_one_of_each(clouds: Clouds) -> None:
    """Fail unless each workstation has one of everything, and nothing is there besides."""
    fleet = len(WORKSTATIONS)
    records = clouds.records()
    assert all(set(found) == set(CLOUDS) for found in records.values())
    assert [record for found in records.values() for record in found.values() if not record["delivered"]] == []
    assert clouds.keys() == clouds.stored_keys()
    identities = {cloud: sorted(found[cloud]["identity"] for found in records.values()) for cloud in CLOUDS}
    assert {len(set(names)) for names in identities.values()} == {fleet}

    there = clouds.control.resources()
    (members,) = (
        page["Users"]
        for page in clouds.aws.client("iam").get_paginator("get_group").paginate(GroupName=GROUP, MaxItems=1000)
    )
    assert sorted(there["global"]["users"]) == sorted(f"ws-{workstation}" for workstation in WORKSTATIONS)
    assert sorted(user["Arn"] for user in members) == identities["aws"]
    assert (len(there["global"]["groups"]), len(there["global"]["policies"])) == (1, 1)

    kinds = ("applications", "service_principals", "client_secrets", "role_assignments")
    assert {kind: len(set(there["azure"][kind])) for kind in kinds} == dict.fromkeys(kinds, fleet)
    assert {kind: len(there["azure"][kind]) for kind in kinds} == dict.fromkeys(kinds, fleet)
    assert "deleted_applications" not in there["azure"]

    assert sorted(there["gcp"]["service_accounts"]) == identities["gcp"]
    members_of = {binding["role"]: binding["members"] for binding in clouds.gcp.policy()["bindings"]}
    assert Counter(members_of[VIEWER]) == Counter(f"serviceAccount:{email}" for email in identities["gcp"])
    assert len(clouds.gcp.policy()["bindings"]) == len(members_of)

    bindings = sorted(sorted(kinds.get("RoleBinding", [])) for kinds in there["kube"].values())
    assert [len(names) for names in bindings] == [fleet, fleet]


def assert_all_keys_work(clouds: Clouds) -> None:
    """Fail unless each stored key logs in as the identity it is stored for."""
    for found in clouds.records().values():
        for cloud, record in found.items():
            fields = clouds.store.opened(record)["fields"]
            assert _credential_trial.try_out(cloud, fields, wait_timeout=0) == record["identity"]
