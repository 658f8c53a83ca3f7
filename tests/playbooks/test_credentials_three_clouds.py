# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Identities on AWS, Azure and Google Cloud at once: what the role passes to three modules, and what comes of it."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

from tests.azure.artist import Artist as AzureArtist
from tests.gcp.artist import Artist as GcpArtist
from tests.playbooks.artists import Artists, opened
from tests.playbooks.studio import SECRETS, Studio

CLOUDS = ("aws", "azure", "gcp")
EC2 = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
TRUST = {"Version": "2012-10-17", "Statement": [EC2]}


@pytest.fixture
def artists(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> Artists:
    """Give a studio with an account, a subscription and a project, and a cluster in the last two."""
    for name, value in studio.sandbox.env.items():
        monkeypatch.setenv(name, value)
    studio.use_three_clouds()
    studio.matrix = {"FLUX Dev": {"aws": {"gpu_tier": "l40s"}}}
    AzureArtist(studio.sandbox).make_cluster()
    found = Artists(studio)
    studio.variables["nim_workstation_providers"] = list(CLOUDS)
    return found


def keys(artists: Artists, name: str) -> dict[str, list[str]]:
    """Return the ids of a workstation's keys by cloud."""
    sandbox = artists.studio.sandbox
    google = GcpArtist(sandbox)
    return {
        "aws": artists.keys(name),
        "azure": AzureArtist(sandbox).key_ids(name),
        "gcp": google.key_ids(google.email_of(name)),
    }


def stored(artists: Artists, name: str) -> dict[str, list[str]]:
    """Return the ids of the keys that are stored, by cloud; all of them have to be delivered."""
    records = {cloud: artists.record(name, cloud) for cloud in CLOUDS}
    assert all(record["delivered"] for record in records.values()), records
    return {cloud: [record["key_id"]] for cloud, record in records.items()}


def test_three_clouds_at_once(artists: Artists) -> None:
    """Made, one right late; rotated, while a workstation gives its key on AWS up for a role; kept; revoked."""
    studio = artists.studio
    sandbox, control = studio.sandbox, studio.control
    google, azure = GcpArtist(sandbox), AzureArtist(sandbox)
    google.make_cluster(with_role=False)
    studio.variables["nim_workstation_identity_options"] = {
        "aws": {"allowed_source_cidrs": ["127.0.0.0/8"]},
        "gcp": {"project_role": ""},
    }
    control.clear_calls()
    first = artists.play("credentials").ok()
    assert "could not be bound to the Role nim-artists" in first.messages, first.printed
    assert control.count(action="TestIamPermissions") == len(studio.workstations)
    logins = [call for call in control.calls(service="entra") if call["action"] == "token"]
    for name in studio.workstations:
        assert keys(artists, name) == stored(artists, name)
        status = studio.config(name)["credentials_status"]
        assert all(status[cloud] for cloud in (*CLOUDS, "nvidia")), status
        fields = opened(studio, name, SECRETS["STUDIO_KEY"])
        key_file = json.loads(fields["gcp"]["Service Account JSON"])
        assert key_file["client_email"] == artists.record(name, "gcp")["identity"] == google.email_of(name)
        assert google.roles(f"serviceAccount:{google.email_of(name)}") == []
        assert google.is_accepted(fields["gcp"])
        assert azure.log_in(fields["azure"]).ok
        assert sum(fields["azure"]["Client ID (Application ID)"] in call["body"] for call in logins) == 1
        for secret in (fields["azure"]["Client Secret"], key_file["private_key"].splitlines()[5]):
            assert studio.files_with(secret) == []
            assert secret not in first.printed

    before = {name: stored(artists, name) for name in studio.workstations}
    google.make_role()
    arn = artists.client("iam").create_role(RoleName="ws-02", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    studio.own["ws-02"] = {"nim_workstation_keyless": {"aws": arn}}
    rotated = artists.play("credentials", "-e", "rotate=true").ok()
    assert "could not be bound" not in rotated.messages, rotated.printed
    assert keys(artists, "ws-01") == stored(artists, "ws-01")
    assert all(stored(artists, "ws-01")[cloud] != before["ws-01"][cloud] for cloud in CLOUDS)
    assert google.email_of("ws-01") in google.users("nim-artist-ws-01")
    assert opened(studio, "ws-02", SECRETS["STUDIO_KEY"])["aws"] == {"Identity": arn}
    assert artists.client("iam").list_attached_role_policies(RoleName="ws-02")["AttachedPolicies"]
    assert not artists.has_user("ws-02")

    again = artists.play("credentials").ok()
    assert set(again.changed.values()) == {0}, again.printed

    artists.play("revoke", "-e", "revoke_all=true").ok()
    assert not artists.client("iam").list_attached_role_policies(RoleName="ws-02")["AttachedPolicies"]
    with pytest.raises(ClientError, match="NoSuchEntity"):
        artists.keys("ws-01")
    for name in studio.workstations:
        assert azure.application(name) is None
        assert not google.users(f"nim-artist-{name}")
        assert not any(studio.config(name)["credentials_status"].values())
    assert (azure.bindings(), google.resources().get("service_accounts")) == ({}, None)
