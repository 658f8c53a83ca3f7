# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Why a workstation was not reached, in plain words instead of ssh's. Pure."""

from __future__ import annotations

import re

_REASONS = (
    (
        r"banner exchange|Connection to .* timed out|not answer.*banner",
        "It takes connections and does not answer: hung?",
    ),
    (r"timed out", "No answer: it is off, not on the network, or behind a firewall."),
    (r"Connection refused", "It is off, or no ssh server runs on it (connection refused)."),
    (r"No route to host|Network is unreachable|Host is down", "There is no way to it: off, or another network."),
    (
        r"Could not resolve|Name or service not known|Temporary failure in name",
        "Its name is not known: correct ansible_host, or DNS.",
    ),
    (
        r"Host key verification failed|REMOTE HOST IDENTIFICATION",
        "Its host key is another than the known one, or not known yet.",
    ),
    (
        r"Permission denied|Authentication|Too many authentication",
        "The login was refused: ansible_user, ssh key or password.",
    ),
    (r"connection.*(?:closed|reset)", "It took the connection and closed it."),
)
_TASK_TIMEOUT = re.compile(r"(?:time frame|Timed out after|exceeded)[^0-9]*\(?(\d+)\)?")
_LONGEST = 300


def reason(message: str) -> str:
    """Return one sentence for what Ansible or ssh said; what is not known comes back as it was, on one line."""
    timeout = _TASK_TIMEOUT.search(message)
    if timeout:
        return f"It took the connection, and did not finish within {timeout.group(1)} seconds."
    for pattern, told in _REASONS:
        if re.search(pattern, message, re.IGNORECASE):
            return told
    return " ".join(message.split())[:_LONGEST] or "There was no answer."
