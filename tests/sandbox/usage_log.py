# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The line that a gateway logs for a request. Written down anew from what it has to be, not taken from the product."""

from __future__ import annotations

import base64
import datetime
import json
import re
from collections.abc import Mapping
from typing import Any

#: How the collection's configuration names the target in its lines.
TARGET = re.compile(r'"target":"([^"]+)"')
NIM_PATH = re.compile(r"/([a-z0-9-]{1,59})/")


def target_of(configuration: str) -> str | None:
    """Return the target that a gateway's configuration names; None if it writes no such lines."""
    found = TARGET.search(configuration)
    return found[1] if found else None


def usage_line(
    target: str, method: str, path: str, headers: Mapping[str, str], status: int, sizes: tuple[int, int], seconds: float
) -> str:
    """Return the line. ``sizes`` are the bytes of the answer and those of the request."""
    node = NIM_PATH.match(path)
    now = datetime.datetime.now(datetime.timezone.utc)
    line = {
        "time": now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03}Z",
        "workstation": _subject(headers.get("Authorization") or ""),
        "node": node[1] if node else "-",
        "target": target,
        "method": method,
        "path": path[:200],
        "status": status,
        "seconds": round(seconds, 3),
        "bytes": sizes[0],
        "request_bytes": sizes[1],
        "tsc": "----",
    }
    return json.dumps(line, separators=(",", ":"))


def _subject(authorization: str) -> str:
    """Return whom a token names, without a look at its signature, which is the gateway's business."""
    parts = authorization.removeprefix("Bearer ").split(".")
    if len(parts) != 3:
        return "-"
    try:
        claims: Any = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return "-"
    return str(claims.get("sub") or "-") if isinstance(claims, dict) else "-"
