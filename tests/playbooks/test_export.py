# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook export, an installation from its folder without Ansible, and what the next run of Ansible says of it."""

from __future__ import annotations

import json
import subprocess

from ansible_collections.budgetguard.techops.plugins.module_utils import _envelope
from tests.playbooks.studio import CANARY, SECRETS, Studio
from tests.tools import venvs


def test_export_install_configure(studio: Studio) -> None:
    """Exported; installed on two new workstations, where workstations has nothing left to do; exported again."""
    exports = studio.folder / "exports"
    first = studio.play("export", "-e", "export_keys=true").ok()
    assert "never by the share" in first.messages, first.printed
    keys = {name: _envelope.workstation_key(SECRETS["STUDIO_KEY"], name) for name in studio.workstations}
    for name, key in keys.items():
        assert studio.files_with(key) == [f"exports/private/keys/{name}.key"]
    assert studio.files_with(CANARY) == []
    assert not any(text in first.printed for text in (CANARY, *keys.values()))

    python = venvs.find_python("3.8", "3.9", "3.10", "3.11", "3.12")
    for name in studio.workstations:
        place = studio.comfyui(name)
        options = ["--comfyui-path", str(place), "--key-path", str(place.parent / "key" / "k"), "--workstation", name]
        options += ["--studio-key-file", str(exports / "private" / "keys" / f"{name}.key"), "--non-interactive"]
        done = subprocess.run(
            [python, str(exports / "share" / "install_credentials.py"), *options],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode, "config: created" in done.stdout) == (0, True), done
    configured = studio.play("workstations").ok()
    assert set(configured.changed.values()) == {0}, configured.printed
    assert studio.config("ws-01")["credentials_status"]["nvidia"] is True

    kept = {path: path.read_bytes() for path in (exports / "share").rglob("*") if path.is_file()}
    clear = studio.play("export", "-e", "clear_text=true", "--limit", "ws-02").ok()
    assert "clear_text=true writes credentials" in clear.messages
    assert {path: path.read_bytes() for path in (exports / "share").rglob("*") if path.is_file()} == kept
    file = exports / "private" / "clear" / "ws-02" / "budgetguard_credentials.json"
    assert json.loads(file.read_bytes())["nvidia"].popitem()[1] == SECRETS["STUDIO_ARTIST_KEY"]
    assert CANARY not in clear.printed
    assert sorted(path.name for path in (exports / "private" / "keys").iterdir()) == ["ws-01.key"]
