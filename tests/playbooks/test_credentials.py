# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook credentials: identities made, kept, handed out, rotated and revoked."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import boto3
import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from botocore.exceptions import ClientError

from tests.playbooks.studio import Studio

VAULT_PASSWORD = "a vault password of the test"


@pytest.fixture
def artists(studio: Studio) -> Artists:
    """Give a studio whose workstations get identities on AWS."""
    return Artists(studio)


class Artists:
    """A studio that gives its workstations identities."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        studio.variables["nim_workstation_providers"] = ["aws"]
        password = studio.folder / "vault-password"
        password.write_text(VAULT_PASSWORD)
        self.environment = {**studio.environment(), "ANSIBLE_VAULT_PASSWORD_FILE": str(password)}

    def play(self, playbook: str, *arguments: str) -> t.Any:
        """Run a playbook."""
        return self.studio.play(playbook, *arguments, environment=self.environment)

    def stored(self, workstation: str) -> Path:
        """Return the path of a workstation's stored identities."""
        return self.studio.folder / "host_vars" / workstation / "budgetguard_identities.yml"

    def record(self, workstation: str, provider: str = "aws") -> dict[str, t.Any]:
        """Return what is stored in clear of one identity."""

        class Loader(yaml.SafeLoader):
            pass

        Loader.add_constructor("!vault", lambda _loader, _node: "(encrypted)")
        found = yaml.load(self.stored(workstation).read_text(), Loader=Loader)  # noqa: S506 - a SafeLoader
        return t.cast("dict[str, t.Any]", found["nim_identities"][provider])

    def keys(self, workstation: str) -> list[str]:
        """Return the ids of the keys that a workstation's user has on AWS."""
        env = self.studio.sandbox.env
        iam = boto3.client(
            "iam",
            region_name="us-east-1",
            endpoint_url=env["AWS_ENDPOINT_URL"],
            aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
            verify=env["AWS_CA_BUNDLE"],
        )
        found = iam.list_access_keys(UserName=f"ws-{workstation}")["AccessKeyMetadata"]
        return sorted(key["AccessKeyId"] for key in found)


def decrypted(path: Path, field: str) -> str:
    """Return a secret of a stored identity."""
    lines = path.read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.strip() == f"{field}: !vault |")
    text = "\n".join(line.strip() for line in lines[start + 1 : start + 9] if line.strip()[:1] in "$0123456789")
    vault = VaultLib([("default", VaultSecret(VAULT_PASSWORD.encode()))])
    return str(vault.decrypt(text).decode())


def test_the_life_of_identities(artists: Artists) -> None:
    """Made, sealed and kept; nothing to do; rotated; revoked."""
    studio = artists.studio
    predicted = artists.play("credentials", "--check", "--diff").ok()
    assert not artists.stored("ws-01").exists()
    first = artists.play("credentials").ok()
    assert predicted.changed == first.changed
    for name in studio.workstations:
        record = artists.record(name)
        assert record["delivered"] is True
        assert artists.keys(name) == [record["key_id"]]
        assert record["fields"]["Secret Access Key"] == "(encrypted)"
        assert studio.config(name)["credentials_status"]["aws"] is True

    second = artists.play("credentials").ok()
    assert set(second.changed.values()) == {0}

    old = artists.record("ws-01")["key_id"]
    predicted = artists.play("credentials", "-e", "rotate=true", "--limit", "ws-01", "--check").ok()
    rotated = artists.play("credentials", "-e", "rotate=true", "--limit", "ws-01").ok()
    assert predicted.changed == rotated.changed
    new = artists.record("ws-01")
    assert new["key_id"] != old
    assert (new["delivered"], artists.keys("ws-01")) == (True, [new["key_id"]])

    printed = os.linesep.join(run.printed for run in (predicted, first, second, rotated))
    secret = decrypted(artists.stored("ws-02"), "Secret Access Key")
    assert len(secret) == 40
    assert secret not in printed
    assert secret not in (studio.folder / "ansible.log").read_text()


def test_a_lost_laptop(artists: Artists) -> None:
    """Its identities are off in one run, its config has none, and a schedule does not make them again."""
    studio = artists.studio
    artists.play("credentials").ok()
    refused = artists.play("revoke")
    assert refused.code != 0
    assert "Nothing was revoked" in refused.messages, refused.printed
    assert artists.keys("ws-01")

    predicted = artists.play("revoke", "--limit", "ws-01", "--check").ok()
    revoked = artists.play("revoke", "--limit", "ws-01").ok()
    assert predicted.changed == revoked.changed
    assert "Off: aws, nvidia." in revoked.messages, revoked.printed
    assert "given to 2 workstation(s)" in revoked.messages, revoked.printed
    assert not any(studio.config("ws-01")["credentials_status"].values())
    assert list(artists.record("ws-01")) == ["revoked"]
    with pytest.raises(ClientError, match="NoSuchEntity"):
        artists.keys("ws-01")
    assert studio.config("ws-02")["credentials_status"]["aws"] is True

    again = artists.play("revoke", "--limit", "ws-01").ok()
    assert set(again.changed.values()) == {0}
    schedule = artists.play("rotate").ok()
    assert set(schedule.changed.values()) == {0}
    assert "was revoked on aws" in schedule.messages, schedule.printed

    artists.play("credentials", "-e", "restore=true").ok()
    assert artists.keys("ws-01") == [artists.record("ws-01")["key_id"]]


def test_a_workstation_that_is_off_keeps_its_key(artists: Artists) -> None:
    """The next run delivers the new key, and only then is the old one revoked."""
    studio = artists.studio
    artists.play("credentials").ok()
    old = artists.record("ws-02")["key_id"]
    off = ("-e", '{"rotate": true}', "--limit", "ws-02")
    studio.unreachable.add("ws-02")
    run = artists.play("credentials", *off)
    assert run.code != 0
    assert "goes on with the keys that it has" in run.messages, run.printed
    new = artists.record("ws-02")
    assert (new["delivered"], new["previous_key_id"]) == (False, old)
    assert artists.keys("ws-02") == sorted([old, new["key_id"]])

    again = artists.play("credentials", *off)
    assert again.code != 0
    assert artists.keys("ws-02") == sorted([old, new["key_id"]])

    studio.unreachable.clear()
    artists.play("credentials", "--limit", "ws-02").ok()
    assert artists.keys("ws-02") == [new["key_id"]]


def test_awx_is_refused_before_the_first_key(artists: Artists) -> None:
    """Its job folder is thrown away."""
    run = artists.play("credentials", "-e", "awx_job_id=7")
    assert run.code != 0
    assert "AWX throws the job's folder away" in run.messages, run.printed
    with pytest.raises(ClientError, match="NoSuchEntity"):
        artists.keys("ws-01")


def test_no_vault_password_is_refused_before_the_first_key(artists: Artists) -> None:
    """Nothing would be kept."""
    artists.environment.pop("ANSIBLE_VAULT_PASSWORD_FILE")
    run = artists.play("credentials")
    assert run.code != 0
    assert "there is no vault password to encrypt with" in run.messages, run.printed
    with pytest.raises(ClientError, match="NoSuchEntity"):
        artists.keys("ws-01")


def test_no_clouds_are_refused(artists: Artists) -> None:
    """The inventory has to say which."""
    artists.studio.variables["nim_workstation_providers"] = []
    run = artists.play("credentials")
    assert run.code != 0
    assert "nim_workstation_providers is []" in run.messages, run.printed


def test_one_identity_for_all(artists: Artists) -> None:
    """It is rotated when the last workstation has it."""
    studio = artists.studio
    wide = ("-e", "studio_wide=true")
    artists.play("credentials", *wide).ok()
    path = studio.folder / "group_vars" / "all" / "budgetguard_identities.yml"
    first = artists.keys("studio")
    assert path.exists()
    assert len(first) == 1
    assert all(studio.config(name)["credentials_status"]["aws"] for name in studio.workstations)
    assert set(artists.play("credentials", *wide).ok().changed.values()) == {0}

    artists.play("credentials", *wide, "-e", "rotate=true", "--limit", "ws-01").ok()
    assert len(artists.keys("studio")) == 2
    artists.play("credentials", *wide, "--limit", "ws-02").ok()
    assert len(artists.keys("studio")) == 1
    assert artists.keys("studio") != first
