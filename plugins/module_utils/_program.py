# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Programs of the host, called by AnsibleModule.run_command, with a time limit."""

from __future__ import annotations

import subprocess
import threading
import typing as t
from dataclasses import dataclass

RunCommand = t.Callable[..., tuple[int, str, str]]
"""The method of that name of an AnsibleModule."""


@dataclass(frozen=True)
class Done:
    """What a program has left: its exit code and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def call(
    run_command: RunCommand,
    words: t.Sequence[str],
    *,
    given: str = "",
    variables: t.Mapping[str, str] | None = None,
    seconds: float | None = None,
) -> Done:
    """Call a program with C(given) as its input. None for C(seconds) is no limit.

    Raises TimeoutError if it takes longer, and OSError if it cannot be run.
    """
    timers: list[threading.Timer] = []
    late = threading.Event()

    def watch(process: subprocess.Popen[bytes]) -> None:
        def end() -> None:
            late.set()
            process.kill()

        if seconds is not None:
            timers.append(threading.Timer(seconds, end))
            timers[0].daemon = True
            timers[0].start()

    try:
        code, out, err = run_command(
            list(words),
            data=given.encode() if given else None,
            binary_data=True,
            environ_update=dict(variables or {}),
            encoding="utf-8",
            errors="replace",
            expand_user_and_vars=False,
            before_communicate_callback=watch,
            handle_exceptions=False,
        )
    finally:
        for timer in timers:
            timer.cancel()
    if late.is_set():
        raise TimeoutError
    return Done(code, out, err)
