# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of Google Cloud in real runs of Ansible: in no output, and whole where they are used."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.gcp.artist import LOCATION, WORKSTATION, Artist
from tests.tools import layout

CONTROLLER = {
    "ansible_connection": "local",
    "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    "deployer": "{{ lookup('ansible.builtin.file', lookup('ansible.builtin.env', 'GOOGLE_APPLICATION_CREDENTIALS')) }}",
}
OPTIONS = {"location": LOCATION, "workstation": WORKSTATION, "service_account_contents": "{{ deployer }}"}
MINTED = "{{ minted.credentials }}"
TASKS = [
    {
        "name": "Make a key",
        "budgetguard.techops.workstation_credential_gcp": OPTIONS,
        "no_log": True,
        "register": "minted",
    },
    {
        "name": "Try it as it was returned",
        "budgetguard.techops.workstation_credential_info": {"provider": "gcp", "credentials": MINTED},
        "register": "tried",
    },
    {
        "name": "Try the text, which older Ansible turns into data",
        "budgetguard.techops.workstation_credential_info": {
            "provider": "gcp",
            "credentials": {"Service Account JSON": "{{ minted.credentials['Service Account JSON'] }}"},
        },
        "register": "again",
    },
    {
        "name": "Look at what may be seen",
        "ansible.builtin.assert": {
            "that": [
                "minted.minted",
                "tried.valid",
                "again.valid",
                "again.identity == minted.identity",
                "minted.identity in minted.steps[0]",
                "minted.credentials['Project ID'] == lookup('ansible.builtin.env', 'GOOGLE_CLOUD_PROJECT')",
            ],
            "quiet": True,
        },
    },
    {
        "name": "Show it",
        "ansible.builtin.debug": {"msg": "{{ minted.identity }} has the key {{ minted.key.id }}"},
    },
    {
        "name": "Fail in the end",
        "budgetguard.techops.workstation_credential_gcp": {**OPTIONS, "project_role": "roles/owner"},
        "ignore_errors": True,
    },
]


@pytest.mark.parametrize("core", ["oldest_core", "newest_core"])
def test_no_key_is_seen_and_each_is_whole(
    artist: Artist, core: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    bin_folder: Path = request.getfixturevalue(core)
    play = {"hosts": "localhost", "gather_facts": False, "vars": CONTROLLER, "tasks": TASKS}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    environment = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": str(tmp_path),
        "ANSIBLE_COLLECTIONS_PATH": str(layout.LINKS),
        "ANSIBLE_CONFIG": str(layout.ANSIBLE_CFG),
        "ANSIBLE_LOG_PATH": str(tmp_path / "ansible.log"),
        "ANSIBLE_NOCOLOR": "1",
        **artist.sandbox.env,
    }
    done = subprocess.run(
        [str(bin_folder / "ansible-playbook"), "-vvvvv", "--diff", "-i", "localhost,", "play.yml"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    [key_id] = artist.key_ids()
    assert f"{artist.email} has the key {key_id}" in done.stdout
    assert "project_role is 'roles/owner'" in done.stdout
    printed = done.stdout + (tmp_path / "ansible.log").read_text()
    for secret in secrets_of(artist):
        assert secret not in printed
    assert "PRIVATE KEY" not in printed


def secrets_of(artist: Artist) -> list[str]:
    """Return lines of the deployer's key."""
    content = json.loads(Path(artist.sandbox.env["GOOGLE_APPLICATION_CREDENTIALS"]).read_text())
    lines: list[str] = content["private_key"].splitlines()[1:-1]
    return lines
