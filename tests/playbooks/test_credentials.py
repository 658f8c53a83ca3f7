# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks credentials, rotate, revoke and studio_key. Few runs, each of which shows several things.

What a run decides about keys is tested without playbooks: tests/unit/identities, tests/aws.
"""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

from tests.playbooks.artists import Artists, decrypted, opened
from tests.playbooks.studio import CANARY, SECRETS, Studio


@pytest.fixture
def artists(studio: Studio) -> Artists:
    """Give a studio whose workstations get identities on AWS."""
    return Artists(studio)


def test_the_life_of_identities(artists: Artists) -> None:
    """Made, sealed, kept; nothing to do; rotated while one is off; a laptop is lost; the other is back; both are."""
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
        assert opened(studio, name, SECRETS["STUDIO_KEY"])["aws"] == {
            "Access Key ID": record["key_id"],
            "Secret Access Key": decrypted(artists.stored(name), "Secret Access Key"),
        }

    studio.control.clear_calls()
    second = artists.play("credentials", "-e", "check_all=true").ok()
    assert set(second.changed.values()) == {0}
    tried = studio.control.calls(action="GetCallerIdentity")
    assert len(tried) == len(studio.workstations)

    old = {name: artists.record(name)["key_id"] for name in studio.workstations}
    studio.unreachable.add("ws-02")
    rotated = artists.play("credentials", "-e", "rotate=true")
    assert rotated.failed == ["ws-02"], rotated.printed
    assert "goes on with the keys that it has" in rotated.messages, rotated.printed
    new = {name: artists.record(name) for name in studio.workstations}
    assert artists.keys("ws-01") == [new["ws-01"]["key_id"]] != [old["ws-01"]]
    assert artists.keys("ws-02") == sorted([old["ws-02"], new["ws-02"]["key_id"]])
    assert (new["ws-02"]["delivered"], new["ws-02"]["previous_key_id"]) == (False, old["ws-02"])
    assert opened(studio, "ws-02", SECRETS["STUDIO_KEY"])["aws"]["Access Key ID"] == old["ws-02"]

    refused = artists.play("revoke")
    assert refused.code != 0
    assert "Nothing was revoked" in refused.messages, refused.printed
    predicted = artists.play("revoke", "--limit", "ws-01", "--check").ok()
    revoked = artists.play("revoke", "--limit", "ws-01").ok()
    assert predicted.changed == revoked.changed
    assert "Off: aws, nvidia." in revoked.messages, revoked.printed
    assert "given to 2 workstation(s)" in revoked.messages, revoked.printed
    assert not any(studio.config("ws-01")["credentials_status"].values())
    assert list(artists.record("ws-01")) == ["revoked"]
    with pytest.raises(ClientError, match="NoSuchEntity"):
        artists.keys("ws-01")

    studio.unreachable.clear()
    schedule = artists.play("rotate").ok()
    assert schedule.changed["ws-01"] == 0
    assert "was revoked on aws" in schedule.messages, schedule.printed
    assert f"aws: delete key {old['ws-02']}." in schedule.messages, schedule.printed
    assert artists.keys("ws-02") == [new["ws-02"]["key_id"]]
    artists.play("credentials", "-e", "restore=true", "--limit", "ws-01").ok()
    assert artists.keys("ws-01") == [artists.record("ws-01")["key_id"]]
    assert set(opened(studio, "ws-01", SECRETS["STUDIO_KEY"])) == {"aws", "nvidia"}


def test_the_inventorys_age_is_that_of_rotate_alone(artists: Artists) -> None:
    artists.studio.variables["rotation_max_age_days"] = "a month"
    run = artists.play("rotate", "--check")
    assert run.failed == artists.studio.workstations
    assert "a month" in run.messages, run.printed
    artists.play("credentials", "--check").ok()


def test_killed_in_both_phases(artists: Artists) -> None:
    """Before the first key was stored, and before an old one was deleted: no key is left that nobody knows."""
    studio = artists.studio
    studio.workstations = ["ws-01"]
    for action, arguments in (("CreateAccessKey", ()), ("DeleteAccessKey", ("-e", "rotate=true"))):
        studio.play_and_kill("credentials", action, *arguments, environment=artists.environment)
        studio.control.clear_faults()
        artists.play("credentials").ok()
        record = artists.record("ws-01")
        assert (record["delivered"], artists.keys("ws-01")) == (True, [record["key_id"]])
        assert opened(studio, "ws-01", SECRETS["STUDIO_KEY"])["aws"]["Access Key ID"] == record["key_id"]


def test_a_wrong_vault_password_is_told(artists: Artists) -> None:
    """By a task that hides nothing; with ansible-core 2.17 the others would say that their output is censored."""
    studio = artists.studio
    studio.workstations = ["ws-01"]
    studio.variables["nim_studio_key"] = None
    for playbook in ("studio_key", "credentials"):
        artists.play(playbook).ok()
    other = studio.folder / "other-password"
    other.write_text("mistyped")
    environment = {**artists.environment, "ANSIBLE_VAULT_PASSWORD_FILE": str(other)}
    for playbook in ("credentials", "audit"):
        run = studio.play(playbook, environment=environment)
        assert "Decryption failed" in run.messages, run.printed
        assert "censored" not in run.messages, run.printed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param("awx", "AWX throws the job's folder away", id="awx"),
        pytest.param("password", "there is no vault password to encrypt with", id="no-vault-password"),
        pytest.param("store", "the inventory does not read them there", id="store-that-is-not-read"),
        pytest.param("clouds", "nim_workstation_providers is []", id="no-clouds"),
    ],
)
def test_refused_before_the_first_key(artists: Artists, change: str, message: str) -> None:
    """Nothing would be kept, or nothing was asked for."""
    if change == "awx":
        artists.environment["AWX_HOST"] = "https://awx.studio.example"
    elif change == "password":
        artists.environment.pop("ANSIBLE_VAULT_PASSWORD_FILE")
    elif change == "store":
        artists.studio.variables["nim_credential_store"] = {"type": "aws_secretsmanager", "region": "us-east-1"}
    else:
        artists.studio.variables["nim_workstation_providers"] = []
    run = artists.play("credentials")
    assert run.code != 0
    assert message in run.messages, run.printed
    with pytest.raises(ClientError, match="NoSuchEntity"):
        artists.keys("ws-01")


def test_a_secret_store_and_one_wrong_key(artists: Artists) -> None:
    """In AWX, keys go into a store. A wrong key of NVIDIA's stops the workstation that has it, and no other."""
    studio = artists.studio
    artists.store_in_aws()
    wrong = f"nvapi-{CANARY}endedtext81Zr0QmTvX3"
    artists.environment["STUDIO_WRONG_KEY"] = wrong
    studio.own["ws-02"] = {
        "nim_workstation_credentials": {
            "nvidia": {"NVIDIA API Key / NGC API Key": "{{ lookup('ansible.builtin.env', 'STUDIO_WRONG_KEY') }}"}
        }
    }
    run = artists.play("credentials")
    assert run.failed == ["ws-02"], run.printed
    assert "nvidia: " in run.messages, run.printed
    assert "expired" in run.messages, run.printed
    stored = json.loads(
        artists.client("secretsmanager").get_secret_value(SecretId="budgetguard/workstations/ws-01")["SecretString"]
    )
    record = stored["nim_identities"]["aws"]
    assert (record["delivered"], artists.keys("ws-01")) == (True, [record["key_id"]])
    secret = record["fields"]["Secret Access Key"]
    assert not artists.stored("ws-01").exists()
    assert not (studio.folder / "host_vars").exists()

    del studio.own["ws-02"]
    again = artists.play("credentials", "-vvv", "--diff", "--limit", "ws-01").ok()
    assert set(again.changed.values()) == {0}
    kept = artists.play("workstations", "--limit", "ws-01").ok()
    assert set(kept.changed.values()) == {0}
    assert opened(studio, "ws-01", SECRETS["STUDIO_KEY"])["aws"]["Secret Access Key"] == secret
    for text in (secret, CANARY):
        assert not any(text in printed for printed in (run.printed, again.printed, kept.printed))
        assert studio.files_with(text) == []


def test_one_identity_for_all(artists: Artists) -> None:
    """It is rotated when the last workstation has it, and stays when one is lost."""
    studio = artists.studio
    wide = ("-e", "studio_wide=true")
    artists.play("credentials", *wide).ok()
    path = studio.folder / "group_vars" / "all" / "budgetguard_identities.yml"
    first = artists.keys("studio")
    assert path.exists()
    assert len(first) == 1
    assert all(studio.config(name)["credentials_status"]["aws"] for name in studio.workstations)

    artists.play("credentials", *wide, "-e", "rotate=true", "--limit", "ws-01").ok()
    assert len(artists.keys("studio")) == 2
    refused = artists.play("revoke", "--limit", "ws-02", "-e", "studio_wide=True")
    assert "Nothing was revoked" in refused.messages, refused.printed
    lost = artists.play("revoke", "--limit", "ws-02").ok()
    assert "run credentials with -e studio_wide=true -e rotate=true" in lost.messages, lost.printed
    assert len(artists.keys("studio")) == 2
    assert not any(studio.config("ws-02")["credentials_status"].values())
    artists.play("credentials", *wide).ok()
    assert len(artists.keys("studio")) == 1
    assert artists.keys("studio") != first
    assert not any(studio.config("ws-02")["credentials_status"].values())


def test_the_studio_key(artists: Artists) -> None:
    """Made, kept, and replaced while a workstation is off, which goes on with the old one."""
    studio = artists.studio
    studio.variables["nim_studio_key"] = None
    path = studio.folder / "group_vars" / "all" / "budgetguard_studio_key.yml"
    predicted = artists.play("studio_key", "--check", "--diff").ok()
    made = artists.play("studio_key").ok()
    assert predicted.changed == made.changed
    old = decrypted(path, "nim_studio_key")
    assert len(old) == 43
    assert set(opened(studio, "ws-02", old)) == {"nvidia"}

    studio.unreachable.add("ws-02")
    replaced = artists.play("studio_key", "-e", "rotate=true")
    assert replaced.failed == ["ws-02"], replaced.printed
    assert "has not reached ws-02 yet" in replaced.messages, replaced.printed
    new = decrypted(path, "nim_studio_key")
    assert new != old == decrypted(path, "nim_previous_studio_key")
    assert set(opened(studio, "ws-01", new)) == set(opened(studio, "ws-02", old)) == {"nvidia"}

    studio.unreachable.clear()
    artists.play("studio_key").ok()
    assert set(opened(studio, "ws-02", new)) == {"nvidia"}
    assert "nim_previous_studio_key" not in path.read_text()
    for text in (old, new, CANARY):
        assert studio.files_with(text) == []
