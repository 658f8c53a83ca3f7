# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Where Azure is logged in at, and its sentences on one line. For callers that need no SDK."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

_PUBLIC_AUTHORITIES = ("login.microsoftonline.com", "login.microsoftonline.us", "login.chinacloudapi.cn")
"""Where Microsoft itself can be asked whether an address is one of its own to log in at."""


def is_private_authority() -> bool:
    """Say whether logging in happens at an address that Microsoft's own directory of authorities does not know."""
    address = os.environ.get("AZURE_AUTHORITY_HOST", "")
    host = urlsplit(address if "//" in address else f"//{address}").hostname
    return host is not None and host not in _PUBLIC_AUTHORITIES


def one_line(text: str) -> str:
    """Put a message on one line without the numbers that only Microsoft can look up."""
    line = " ".join(text.split())
    for mark in (" Trace ID:", " Correlation ID:", " Timestamp:"):
        line = line.partition(mark)[0]
    return (line if len(line) <= 600 else f"{line[:600]} ...").rstrip(".")
