# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules for identities on Azure in a real run of Ansible: the new secret is where it is stored, nowhere else."""

from __future__ import annotations

import os
import subprocess
import typing as t
from pathlib import Path

import pytest
import yaml

from tests.azure.artist import GROUP, WORKSTATION, Artist
from tests.tools import layout

MODULE = "budgetguard.techops.workstation_credential_azure"


def task(name: str, module: str, options: dict[str, t.Any], **more: t.Any) -> dict[str, t.Any]:
    return {"name": name, module: options, **more}


def play(store: Path) -> dict[str, t.Any]:
    """Return a play that makes a secret, stores and tries it, looks what a rotation would do, revokes, and fails."""
    tasks = [
        task("Make a secret", MODULE, {}, no_log=True, register="minted"),
        task(
            "Store it",
            "ansible.builtin.copy",
            {"content": "{{ minted.credentials['Client Secret'] }}", "dest": str(store), "mode": "0600"},
            no_log=True,
        ),
        task(
            "Try it",
            "budgetguard.techops.workstation_credential_info",
            {"provider": "azure", "credentials": "{{ minted.credentials }}"},
            register="tried",
        ),
        task("Look again", MODULE, {"key_id": "{{ minted.key.id }}"}, register="again"),
        task(
            "Look at a rotation",
            MODULE,
            {"key_id": "{{ minted.key.id }}", "rotate": True},
            check_mode=True,
            register="rotation",
        ),
        task("Revoke it", MODULE, {"state": "absent"}, register="revoked"),
        task(
            "Try it once more",
            "budgetguard.techops.workstation_credential_info",
            {"provider": "azure", "credentials": "{{ minted.credentials }}"},
            register="refused",
        ),
        task("Ask for what cannot be", MODULE, {"max_age_days": 701}, ignore_errors=True, register="impossible"),
        task(
            "Look at the results",
            "ansible.builtin.assert",
            {
                "that": [
                    "minted is changed",
                    "minted.identity == minted.credentials['Client ID (Application ID)']",
                    "tried.valid",
                    "again is not changed",
                    "rotation.steps == ['create key']",
                    "revoked is changed",
                    "not refused.valid",
                    "'AADSTS700016' in refused.msg",
                    "'must be 700 or less' in impossible.msg",
                ],
                "quiet": True,
            },
        ),
    ]
    group = {"subscription_id": "{{ lookup('ansible.builtin.env', 'AZURE_SUBSCRIPTION_ID') }}", "resource_group": GROUP}
    return {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"},
        "module_defaults": {"group/budgetguard.techops.azure": group, MODULE: {**group, "workstation": WORKSTATION}},
        "tasks": tasks,
    }


@pytest.mark.parametrize("core", ["oldest_core", "newest_core"])
def test_a_secret_is_seen_nowhere(tenant: Artist, core: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    bin_folder: Path = request.getfixturevalue(core)
    store, log = tmp_path / "store", tmp_path / "ansible.log"
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play(store)]))
    environment = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": str(tmp_path),
        "ANSIBLE_COLLECTIONS_PATH": str(layout.LINKS),
        "ANSIBLE_CONFIG": str(layout.ANSIBLE_CFG),
        "ANSIBLE_LOG_PATH": str(log),
        "ANSIBLE_NOCOLOR": "1",
        **tenant.sandbox.env,
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
    printed = done.stdout + log.read_text()
    assert done.returncode == 0, done.stdout
    secret = store.read_text()
    assert len(secret) == 40
    assert secret not in printed
    assert tenant.sandbox.env["AZURE_CLIENT_SECRET"] not in printed
    assert tenant.control.calls_containing(secret) == []
    others = [path for path in tmp_path.rglob("*") if path.is_file() and path != store]
    assert [path for path in others if secret.encode() in path.read_bytes()] == []
