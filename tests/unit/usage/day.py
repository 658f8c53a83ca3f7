# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A working day of three workstations in the log, and its sums by a few lines of another kind."""

from __future__ import annotations

import datetime
import json
import random
import typing as t

WORKSTATIONS = ("ws-01", "ws-02", "ws-03")
NODES = ("flux-dev-l40s", "llama-3-1-l4")
CANARY = "CaNaRyPrompt81Zr0"

FOREIGN = (
    "[NOTICE]   (1) : New worker (8) forked",
    "",
    '{"time":"2026-11-28T10:00:00.000Z","workstation":"ws-01","no',
    '{"level":"info","msg":"something else that is JSON"}',
    "[1, 2, 3]",
    '{"time":12,"workstation":"ws-01","node":"x","target":"t","method":"POST","status":"200","seconds":1}',
)
"""What else may stand in a log: HAProxy's own words, a torn line, lines of others."""


def stamp(moment: float) -> str:
    """Return a time as the gateway writes it."""
    found = datetime.datetime.fromtimestamp(moment, datetime.timezone.utc)
    return found.strftime("%Y-%m-%dT%H:%M:%S.") + f"{found.microsecond // 1000:03}Z"


def line(moment: float, **fields: t.Any) -> str:
    """Return a line of the gateway, with the contract's keys in their order."""
    value = {
        "time": stamp(moment),
        "workstation": "ws-01",
        "node": NODES[0],
        "target": "studio-target",
        "method": "POST",
        "path": f"/{NODES[0]}/v1/infer",
        "status": 200,
        "seconds": 10.0,
        "bytes": 1000,
        "request_bytes": 100,
        "tsc": "----",
        **fields,
    }
    return json.dumps(value, separators=(",", ":"))


def lines(until: float, count: int = 300, hours: float = 20.0, seed: int = 6) -> list[str]:
    """Return the lines of a day that ends just before ``until``, the oldest first, all sorts of answers among them."""
    chance = random.Random(seed)
    moments = sorted(until - 1 - chance.random() * hours * 3600 for _number in range(count))
    text = []
    for moment in moments:
        status = chance.choice((200, 200, 200, 200, 422, 500, 503, 401, 429))
        fields = {
            "workstation": "-" if status == 401 else chance.choice(WORKSTATIONS),
            "node": chance.choice(NODES),
            "method": chance.choice(("POST", "POST", "POST", "GET")),
            "status": status,
            "seconds": round(chance.random() * 90, 3),
            "bytes": chance.randrange(2_000_000),
            "request_bytes": chance.randrange(5000),
        }
        text.append(line(round(moment, 3), **fields))
    return text


def sums(text: t.Iterable[str], **wanted: str) -> dict[str, float]:
    """Sum up by hand what the product should say about the lines with these fields."""
    rows = [row for row in map(json.loads, text) if all(row[name] == value for name, value in wanted.items())]
    used = [row for row in rows if row["method"] == "POST" and row["status"] not in (401, 403, 429, 503)]
    return {
        "requests": len(used),
        "failed": len([row for row in used if row["status"] >= 500]),
        "refused": len([row for row in rows if row["status"] in (401, 403, 429)]),
        "request_seconds": round(sum(row["seconds"] for row in used), 3),
        "bytes": sum(row["bytes"] for row in used),
        "request_bytes": sum(row["request_bytes"] for row in used),
    }


def busy(text: t.Iterable[str], node: str, since: float, until: float) -> float:
    """Count the thousandths of a second in which a node was busy, one by one."""
    busy_at: set[int] = set()
    for row in map(json.loads, text):
        end = datetime.datetime.fromisoformat(row["time"].replace("Z", "+00:00")).timestamp()
        refused = row["method"] != "POST" or row["status"] in (401, 403, 429, 503)
        if row["node"] == node and since <= end < until and not refused:
            first, last = round((end - row["seconds"]) * 1000), round(end * 1000)
            busy_at.update(range(max(first, round(since * 1000)), last))
    return len(busy_at) / 1000


def stamp_of(text: str) -> str:
    """Return the time of a line."""
    return str(json.loads(text)["time"])
