# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports of loopback for servers that are programs of their own and must be told theirs.

One that the kernel proposes may go, before the server takes it, to another test's connection; and HAProxies share a
port without a word, each answering some of what the other is asked. So these come from below the kernel's own range,
and in turn, whichever of the processes that run tests asks.
"""

from __future__ import annotations

import fcntl
import socket

from tests.tools import layout

_PORTS = range(16000, 30000)
_NEXT = layout.CACHE / "next-port"


def free_port(in_a_row: int = 1) -> int:
    """Return a port on which nobody listens and which no other test will be given soon, the first of ``in_a_row``."""
    _NEXT.parent.mkdir(exist_ok=True)
    with _NEXT.open("a+", encoding="ascii") as state:
        fcntl.flock(state, fcntl.LOCK_EX)
        state.seek(0)
        first = int(state.read() or _PORTS.start)
        while not all(_is_free(port) for port in range(first, first + in_a_row)):
            first += 1
        following = first + in_a_row
        state.truncate(0)
        state.write(str(following if following + 100 < _PORTS.stop else _PORTS.start))
    return first


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
