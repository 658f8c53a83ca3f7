# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A canary in every credential appears in no output, log, diff, error or file, on the oldest and the newest core."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.playbooks.studio import CANARY, SECRETS, Studio


@pytest.mark.parametrize("core", ["oldest_core", "newest_core"])
def test_no_secret_leaves(studio: Studio, core: str, request: pytest.FixtureRequest) -> None:
    bin_folder: Path = request.getfixturevalue(core)
    studio.targets["aws-us-east-1"].update(
        access_key="{{ lookup('ansible.builtin.env', 'AWS_ACCESS_KEY_ID') }}",
        secret_key="{{ lookup('ansible.builtin.env', 'AWS_SECRET_ACCESS_KEY') }}",
    )
    studio.targets["aws-broken"] = studio.target("us-west-2", endpoint_url="http://127.0.0.1:9")
    printed = [
        studio.play("site", "-vvvv", *arguments, bin_folder=bin_folder).printed
        for arguments in (["--check", "--diff"], ["--diff"], [])
    ]
    studio.control.fault("PutSecretValue", "AccessDeniedException", message="not allowed", times=None)
    changed = {**studio.environment(), "STUDIO_NGC_API_KEY": f"nvapi-{CANARY}second"}
    printed.append(studio.play("site", "-vvvv", "--diff", bin_folder=bin_folder, environment=changed).printed)
    studio.control.clear_faults()
    weak = {**studio.environment(), "STUDIO_KEY": f"{CANARY}weak"}
    printed.append(studio.play("workstations", "-vvvv", bin_folder=bin_folder, environment=weak).printed)
    printed.append(studio.play("start", "-vvvv", "--diff", bin_folder=bin_folder).printed)

    assert "not allowed" in printed[3]
    assert "The studio key" in printed[4]
    for text in printed:
        assert CANARY not in text
        assert studio.sandbox.env["AWS_SECRET_ACCESS_KEY"] not in text
    assert studio.files_with(CANARY) == []
    assert studio.files_with(studio.sandbox.env["AWS_SECRET_ACCESS_KEY"]) == []
    assert (studio.folder / "ansible.log").stat().st_size > 0
    for secret in SECRETS.values():
        allowed = {"CreateSecret", "PutSecretValue"}
        assert {call["action"] for call in studio.control.calls_containing(secret)} <= allowed


def test_studio_wide_leaves_the_key_in_the_key_file_only(studio: Studio) -> None:
    studio.variables["workstation_config_studio_wide"] = True
    run = studio.play("site", "-vvvv", "--diff").ok()
    assert CANARY not in run.printed
    assert studio.files_with(SECRETS["STUDIO_KEY"]) == ["workstations/ws-01/key/k", "workstations/ws-02/key/k"]
    assert studio.files_with(SECRETS["STUDIO_ARTIST_KEY"]) == []
