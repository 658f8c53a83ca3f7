# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real play on a Windows workstation in memory, with all that ansible-core puts between action and connection.

The collection ansible.windows is one that is made here, with one module of one line: what ansible-core sends to the
workstation for it is read by the connection, so no PowerShell is needed.
"""

from __future__ import annotations

import base64
import json
import re
import typing as t
from pathlib import Path

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _envelope
from tests.ssh.playing import CONFIG, INFO, Outcome, Stage, make_ansible_windows
from tests.tools import layout
from tests.unit.workstation import examples, windows_host

HOST = {"ansible_connection": "windows_in_memory", "ansible_shell_type": "powershell"}
OPTIONS = {
    "comfyui_path": windows_host.BASE,
    "studio_key": "{{ studio_key }}",
    "previous_studio_key": "{{ previous_studio_key | default(omit) }}",
    "key_path": windows_host.KEY_PATH,
}
TASKS: list[dict[str, t.Any]] = [
    {
        "budgetguard.techops.comfyui_config": {
            **OPTIONS,
            "endpoints": {"nim_endpoints": examples.endpoints()},
            "credentials": "{{ credentials }}",
        }
    },
    {"budgetguard.techops.comfyui_config_info": OPTIONS},
]

ROLE: dict[str, t.Any] = {
    "ansible.builtin.include_role": {"name": "budgetguard.techops.workstation_config"},
    "vars": {
        "workstation_config_endpoints": {"nim_endpoints": examples.endpoints()},
        "workstation_config_credentials": "{{ credentials }}",
        "workstation_config_studio_key": "{{ studio_key }}",
    },
}


@pytest.fixture
def play(tmp_path: Path) -> t.Callable[..., Outcome]:
    """Run the two tasks; the workstation stays as it is left."""
    collections = make_ansible_windows(tmp_path / "stub")
    folder = tmp_path / "stage"
    folder.mkdir()

    def run(
        *arguments: str,
        variables: dict[str, t.Any],
        tasks: t.Sequence[dict[str, t.Any]] = (*TASKS,),
        **environment: str,
    ) -> Outcome:
        return Stage(folder, folder).play(
            {"ws-1": HOST},
            list(tasks),
            *arguments,
            variables={"comfyui_path": windows_host.BASE, "credentials": examples.CREDENTIALS, **variables},
            environment={
                "ANSIBLE_COLLECTIONS_PATH": f"{layout.LINKS}:{collections}",
                "PYTHONPATH": str(layout.ROOT),
                "WINDOWS_STATE": str(tmp_path / "workstation"),
                **environment,
            },
        )

    return run


def test_play_writes_rotates_and_shows_no_secret_however_much_it_prints(
    play: t.Callable[..., Outcome], tmp_path: Path
) -> None:
    old, new = examples.OTHER_STUDIO_KEY, examples.STUDIO_KEY
    first = play("-vvvvv", variables={"studio_key": old}, ANSIBLE_DEBUG="1").require_success()
    assert first.of("ws-1")["steps"] == ["key_keep", "config"]
    both = {"studio_key": new, "previous_studio_key": old}
    second = play("-vvvvv", "--diff", variables=both, ANSIBLE_DEBUG="1").require_success()
    assert second.of("ws-1")["steps"] == ["key_keep", "config", "key_final"]
    assert second.of("ws-1", INFO)["status"] == "ok"
    third = play(variables=both, tasks=[ROLE]).require_success()
    assert third.changed() == set(), "the role's defaults for Windows lead to the same files"
    assert third.of("ws-1", CONFIG)["key_status"] == "unchanged"
    assert third.of("ws-1", CONFIG)["key_path"] == windows_host.KEY

    printed = first.printed + second.printed
    assert '"masked' in printed.replace("\\", ""), (
        "what the workstation gets on standard input must be in what is printed"
    )
    assert "EVENT LOG" not in printed
    assert not re.search(r"BUDGETGUARD_PAD\W{1,6}:\W{1,3}[A-Za-z0-9+/]{20}", printed), "the other half"
    left = [path for path in (tmp_path / "stage").rglob("*") if path.is_file() and path.name != "inventory.json"]
    texts = [printed, *(path.read_text("utf-8", "replace") for path in left)]
    lines = [_envelope.key_line(2, key) for key in (examples.KEY, examples.PREVIOUS_KEY)]
    encoded = [base64.b64encode(line.encode()).decode() for line in lines]
    for secret in (old, new, examples.CANARY, examples.KEY, examples.PREVIOUS_KEY, *encoded):
        assert all(secret.rstrip("=") not in text for text in texts)


def test_the_role_of_the_companion_finds_windows_defaults(play: t.Callable[..., Outcome], tmp_path: Path) -> None:
    role = {"ansible.builtin.include_role": {"name": "budgetguard.techops.workstation_companion"}}
    action = "budgetguard.techops.comfyui_companion"
    checked = play("--check", variables={}, tasks=[role]).require_success().of("ws-1", action)
    done = play("-vvvvv", variables={}, tasks=[role]).require_success()
    assert done.of("ws-1", action)["steps"] == checked["steps"]
    assert done.of("ws-1", action)["steps"][-1] == f"create {windows_host.KEY.replace('studio.key', 'companion.token')}"
    again = play(variables={}, tasks=[role]).require_success()
    assert again.changed() == set()
    files = windows_host.FakeWindows.load((tmp_path / "workstation").read_text(encoding="utf-8")).files()
    token = next(content for path, content in files.items() if path.endswith("companion.token")).decode().strip()
    assert token not in done.printed
    settings = next(content for path, content in files.items() if path.endswith("settings.json"))
    assert json.loads(settings)["key_path"] == windows_host.KEY_PATH


def test_missing_collection_is_named_before_anything_is_sent(play: t.Callable[..., Outcome], tmp_path: Path) -> None:
    outcome = play(variables={"studio_key": examples.STUDIO_KEY}, ANSIBLE_COLLECTIONS_PATH=str(layout.LINKS))
    assert outcome.code != 0
    assert "ansible-galaxy collection install ansible.windows" in outcome.of("ws-1")["msg"]
    assert not (tmp_path / "workstation").exists()
