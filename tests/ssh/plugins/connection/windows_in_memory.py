# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A connection to the Windows workstation of C(tests/unit/workstation/windows_host.py), kept in a file between tasks.

Takes what ansible-core really sends for a module, and like the connections winrm and psrp shows its result at -vvvvv.
"""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

from ansible.plugins.connection import ConnectionBase
from ansible.utils.display import Display

from tests.unit.workstation.windows_host import FakeWindows, answer_win_command

DOCUMENTATION = """
name: windows_in_memory
short_description: A Windows workstation for tests
description: Runs C(ansible.windows.win_command) on a workstation that a file holds.
author: BudgetGuard TechOps contributors
options: {}
"""

display = Display()


def _find(value: object, name: str) -> t.Any:
    """Return the first value with a name, however deep; ansible-core has moved them about."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key.lower() == name:
                return item
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((found for found in (_find(item, name) for item in inside) if found is not None), None)


def _read(in_data: bytes) -> list[t.Any]:
    """Return the JSON values that are sent; what stands between them does not matter here."""
    return [json.loads(line) for line in in_data.splitlines() if line.startswith((b"{", b"["))]


class Connection(ConnectionBase):
    """Answers for one module."""

    transport = "windows_in_memory"
    module_implementation_preferences = (".ps1", "")
    has_pipelining = True
    always_pipeline_modules = True
    allow_executable = False

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        """Have modules written for PowerShell."""
        self._shell_type = "powershell"
        super().__init__(*args, **kwargs)

    def _connect(self) -> Connection:
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """Run what is asked for."""
        sent = _read(in_data or b"")
        arguments = {"argv": _find(sent, "argv"), "stdin": _find(sent, "stdin")}
        if _find(sent, "_ansible_no_log") is not True:
            display.vvv(f"EVENT LOG: {arguments}")
        result = self.answer(arguments, _find(sent, "environment") or {})
        stdout = json.dumps({**result, "invocation": {"module_args": arguments}})
        display.vvvvv(f"WINRM RESULT {stdout}")
        return 0, stdout.encode(), b""

    def answer(self, arguments: dict[str, t.Any], environment: dict[str, str]) -> dict[str, t.Any]:
        """Start a program."""
        path = Path(os.environ["WINDOWS_STATE"])
        system = FakeWindows.load(path.read_text(encoding="utf-8")) if path.exists() else FakeWindows()
        result = answer_win_command(system, arguments, environment)
        path.write_text(system.save(), encoding="utf-8")
        return result

    def put_file(self, in_path: str, out_path: str) -> None:
        """Refuse: nothing may go by a file."""
        raise AssertionError(in_path, out_path)

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Refuse."""
        raise AssertionError(in_path, out_path)

    def close(self) -> None:
        """Close nothing."""
