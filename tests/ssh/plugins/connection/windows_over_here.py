# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

r"""What goes to a Windows workstation, run on this machine: C(\\\\here\\tmp\\x) is C(/tmp/x)."""

from __future__ import annotations

import os
import subprocess
import typing as t

from tests.ssh.plugins.connection import windows_in_memory

DOCUMENTATION = windows_in_memory.DOCUMENTATION.replace("windows_in_memory", "windows_over_here")
SHARE = "\\\\here\\"


class Connection(windows_in_memory.Connection):
    """Starts programs here."""

    transport = "windows_over_here"

    def answer(self, arguments: dict[str, t.Any], environment: dict[str, str]) -> dict[str, t.Any]:
        """Start a program, and say of it what win_command says."""
        argv = [
            f"/{word[len(SHARE) :]}".replace("\\", "/") if word.startswith(SHARE) else word
            for word in arguments["argv"]
        ]
        done = subprocess.run(
            argv,
            input=arguments["stdin"].encode(),
            env={**os.environ, **environment},
            capture_output=True,
            check=False,
        )
        result = {
            "changed": True,
            "rc": done.returncode,
            "stdout": done.stdout.decode(),
            "stderr": done.stderr.decode(),
        }
        return result if done.returncode == 0 else {**result, "failed": True, "msg": "non-zero return code"}
