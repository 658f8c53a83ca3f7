# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A canary in every credential appears in no output, log, diff, error or file, on the oldest and the newest core."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.playbooks.artists import Artists, decrypted
from tests.playbooks.studio import CANARY, SECRETS, Studio

NVIDIA = ("https://nvcr.io:443/", "https://authn.nvidia.com:443/", "https://api.ngc.nvidia.com:443/")
HUGGING_FACE = ("https://huggingface.co:443/",)
"""Where each key may be asked about."""


@pytest.mark.parametrize("core", ["oldest_core", "newest_core"])
def test_no_secret_leaves(studio: Studio, core: str, request: pytest.FixtureRequest) -> None:
    bin_folder: Path = request.getfixturevalue(core)
    studio.use_three_clouds()
    key_file = Path(studio.sandbox.env["GOOGLE_APPLICATION_CREDENTIALS"])
    studio.targets["azure-eastus"]["secret"] = "{{ lookup('ansible.builtin.env', 'AZURE_CLIENT_SECRET') }}"
    studio.targets["gcp-us-central1"]["service_account_contents"] = (
        f"{{{{ lookup('ansible.builtin.file', '{key_file}') }}}}"
    )
    keys_of_clouds = [
        studio.sandbox.env["AWS_SECRET_ACCESS_KEY"],
        studio.sandbox.env["AZURE_CLIENT_SECRET"],
        json.loads(key_file.read_text())["private_key"].splitlines()[5],
    ]
    studio.targets["aws-us-east-1"].update(
        access_key="{{ lookup('ansible.builtin.env', 'AWS_ACCESS_KEY_ID') }}",
        secret_key="{{ lookup('ansible.builtin.env', 'AWS_SECRET_ACCESS_KEY') }}",
    )
    studio.targets["aws-broken"] = studio.target("us-west-2", endpoint_url="http://127.0.0.1:9")
    printed = [
        studio.play("site", "-vvvv", *arguments, bin_folder=bin_folder).printed
        for arguments in (["--check", "--diff"], ["--diff"])
    ]
    studio.control.fault("PutSecretValue", "AccessDeniedException", message="not allowed in AWS", times=None)
    studio.control.fault("apply secrets", "Forbidden", message="not allowed here", status=403, times=None)
    changed = {**studio.environment(), "STUDIO_NGC_API_KEY": f"nvapi-{CANARY}second81Zr0QmTvX3"}
    printed.append(studio.play("site", "-vvvv", "--diff", bin_folder=bin_folder, environment=changed).printed)
    studio.control.clear_faults()
    weak = {**studio.environment(), "STUDIO_KEY": f"{CANARY}weak"}
    printed.append(studio.play("workstations", "-vvvv", bin_folder=bin_folder, environment=weak).printed)
    printed.append(studio.play("start", "-vvvv", "--diff", bin_folder=bin_folder).printed)

    assert "not allowed in AWS" in printed[2]
    assert printed[2].count("not allowed here") >= 2
    assert "The studio key" in printed[3]
    for secret in (CANARY, *keys_of_clouds):
        assert [number for number, text in enumerate(printed) if secret in text] == []
        assert studio.files_with(secret) == []
    assert (studio.folder / "ansible.log").stat().st_size > 0
    asked = {"STUDIO_NGC_API_KEY": NVIDIA, "STUDIO_HF_TOKEN": HUGGING_FACE}
    for name, secret in SECRETS.items():
        for call in studio.control.calls_containing(secret):
            if call["service"] == "nim":
                assert call["path"].startswith(asked[name])
            else:
                assert call["action"] in ("CreateSecret", "PutSecretValue", "apply secrets")


def test_studio_wide_leaves_the_key_in_the_key_file_only(studio: Studio) -> None:
    studio.variables["workstation_config_studio_wide"] = True
    run = studio.play("site", "-vvvv", "--diff").ok()
    assert CANARY not in run.printed
    assert studio.files_with(SECRETS["STUDIO_KEY"]) == ["workstations/ws-01/key/k", "workstations/ws-02/key/k"]
    assert studio.files_with(SECRETS["STUDIO_ARTIST_KEY"]) == []


@pytest.mark.parametrize("core", ["oldest_core", "newest_core"])
def test_no_minted_secret_leaves(studio: Studio, core: str, request: pytest.FixtureRequest) -> None:
    """A key that a run makes, or a studio key, is in the encrypted files only, and never was in another one."""
    bin_folder: Path = request.getfixturevalue(core)
    studio.use_workstations(["ws-01"])
    studio.variables["nim_studio_key"] = None
    artists = Artists(studio)
    # Whatever wants a temporary file for a module fails.
    artists.environment["ANSIBLE_REMOTE_TEMP"] = "/proc/self/no-such-folder"
    key_file = studio.folder / "group_vars" / "all" / "budgetguard_studio_key.yml"

    def run(playbook: str, *arguments: str) -> str:
        done = studio.play(
            playbook, "-vvvv", "--diff", *arguments, bin_folder=bin_folder, environment=artists.environment
        )
        assert done.code == (2 if arguments else 0), done.printed
        return done.printed

    printed = [run("studio_key"), run("credentials")]
    secrets = [decrypted(key_file, "nim_studio_key"), decrypted(artists.stored("ws-01"), "Secret Access Key")]
    studio.control.fault("DeleteAccessKey", "AccessDenied", message="not allowed in IAM", status=403, times=None)
    printed.append(run("credentials", "-e", "rotate=true"))
    assert "not allowed in IAM" in printed[-1]
    secrets.append(decrypted(artists.stored("ws-01"), "Secret Access Key"))

    assert [len(secret) for secret in secrets] == [43, 40, 40]
    assert secrets[1] != secrets[2]
    for secret in (CANARY, *secrets):
        assert [number for number, text in enumerate(printed) if secret in text] == []
        assert studio.files_with(secret) == []
        assert studio.control.calls_containing(secret) == [] or secret == CANARY
    assert (studio.folder / "ansible.log").stat().st_size > 0
