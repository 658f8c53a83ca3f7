# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the workstation's two programs as the action does, but with a shell of this machine and no Ansible."""

from __future__ import annotations

import shutil
import subprocess
import typing as t
from pathlib import Path

from ansible_collections.budgetguard.techops.plugins.plugin_utils import _posix_facts, _posix_programs

CANDIDATES = (("sh",), ("dash",), ("bash", "--posix"), ("busybox", "sh"), ("ksh",))
SHELLS = [shell for shell in CANDIDATES if shutil.which(shell[0])]
"""The shells of this machine that can play /bin/sh; at least sh itself."""

CONFIG = Path("budgetguard/budgetguard_backend_config.json")


def run(shell: t.Sequence[str], program: str, parameters: t.Sequence[str], content: bytes = b"") -> str:
    """Run one of the programs and return what it printed."""
    done = subprocess.run(
        [*shell, "-c", _posix_programs.command("a test", program)],
        input=_posix_programs.program_input(program, parameters, content),
        capture_output=True,
        timeout=30,
        check=False,
    )
    return done.stdout.decode("utf-8", "surrogateescape")


def read(
    base: Path | str, key: Path | str = "", lines: t.Sequence[str] = (), shell: t.Sequence[str] = ("sh",)
) -> _posix_facts.Facts:
    """Look at a workstation that is a folder of this machine."""
    output = run(shell, _posix_programs.READ_PROGRAM, [str(base), str(key), str(len(lines)), *lines])
    found = _posix_programs.output_lines(output)
    assert found is not None, output
    return _posix_facts.parse_facts(found)


def write(
    base: Path,
    steps: str,
    *,
    total: str = "missing",
    content: bytes = b"",
    size: int | None = None,
    aside: str = "",
    key: Path | str = "",
    line: str = "",
    suffix: str = "0123",
    shell: t.Sequence[str] = ("sh",),
) -> str:
    """Take steps on a workstation that is a folder of this machine; return what was printed."""
    length = len(content) if size is None else size
    parameters = [str(base), suffix, steps, total, aside, str(length), str(key), line]
    return run(shell, _posix_programs.WRITE_PROGRAM, parameters, content)


def mode(path: Path) -> int:
    """Return a file's permission bits."""
    return path.stat().st_mode & 0o7777
