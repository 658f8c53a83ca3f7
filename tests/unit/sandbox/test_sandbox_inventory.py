# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory of the demonstration, used by hand: with nothing set but what .sandbox/env and demo-env set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.tools import layout


def test_the_workstations_of_the_sandbox_are_where_a_key_may_go() -> None:
    command = ["ansible", "-i", "inventory/sandbox", "ws-01", "-m", "debug", "-a", "var=workstation_config_key_path"]
    done = subprocess.run(
        [str(Path(sys.executable).with_name(command[0])), *command[1:]],
        cwd=layout.ROOT,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": os.environ["HOME"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f'"{layout.ROOT}/.sandbox/workstations/ws-01/keys/studio.key"' in done.stdout
