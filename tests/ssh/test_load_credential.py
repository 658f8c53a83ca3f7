# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What systemd hands to ComfyUI's service. It reads it as root, so it must lie where only root can write."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _envelope
from tests.ssh.playing import Outcome, Stage, make_comfyui
from tests.unit.workstation.examples import STUDIO_KEY

ROLE = "budgetguard.techops.workstation_config"


class Place:
    """A workstation that is this machine, with folders of its own in the place of those below /etc."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.etc = folder, folder / "etc"
        self.etc.mkdir()
        self.key = self.etc / "budgetguard" / "comfyui.service.key"
        self.drop_in = self.etc / "comfyui.service.d" / "budgetguard-studio-key.conf"
        systemctl = folder / "systemctl"
        systemctl.write_text("#!/bin/sh\n", encoding="utf-8")
        systemctl.chmod(0o755)

    def play(self, tasks_from: str, *arguments: str) -> Outcome:
        """Run a part of the role."""
        host = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "comfyui_path": str(self.folder / "ComfyUI"),
            "workstation_config_studio_key": STUDIO_KEY,
            "workstation_config_become": False,
            "workstation_config_user": "root",
            "workstation_config_key_path": str(self.folder / "user" / "studio.key"),
            "workstation_config_load_credential_unit": "comfyui.service",
            "workstation_config_endpoints": {"nim_endpoints": {}},
        }
        tasks = [
            {
                "ansible.builtin.include_role": {"name": ROLE, "tasks_from": tasks_from},
                "vars": {
                    "workstation_config__key_folder": str(self.key.parent),
                    "workstation_config__drop_in": str(self.drop_in),
                },
            }
        ]
        path = {"environment": {"PATH": f"{self.folder}:{os.environ['PATH']}"}}
        return Stage(self.folder, self.folder).play({"ws-1": host}, tasks, *arguments, play=path)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return a workstation."""
    if os.geteuid() != 0:
        pytest.skip("needs root, whose files these are")
    make_comfyui(tmp_path / "ComfyUI")
    return Place(tmp_path)


def test_it_is_roots_own_copy_and_goes_with_the_rest(place: Place) -> None:
    predicted = place.play("main", "--check").require_success().changed()
    assert not place.key.parent.exists()
    first = place.play("main", "-vvv").require_success()
    assert first.changed() == predicted
    line = _envelope.key_line(2, _envelope.workstation_key(STUDIO_KEY, "ws-1"))
    assert place.key.read_text(encoding="ascii") == f"{line}\n"
    assert stat.S_IMODE(place.key.stat().st_mode) == 0o400
    assert stat.S_IMODE(place.key.parent.stat().st_mode) == 0o700
    assert f"LoadCredential=budgetguard-studio-key:{place.key}\n" in place.drop_in.read_text(encoding="utf-8")
    assert str(place.folder / "user") not in place.drop_in.read_text(encoding="utf-8")
    assert line.split()[1] not in first.printed
    assert place.play("main", "--check").require_success().changed() == set()
    assert place.play("main").require_success().changed() == set()
    place.play("absent").require_success()
    assert not place.key.exists()
    assert not place.drop_in.exists()
