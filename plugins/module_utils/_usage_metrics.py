# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""When a NIM was used, from a cloud's metrics, which come late, have gaps, and say nothing where nothing is. Pure.

A count of requests that is missing means either no request or no metric. So it is read beside another metric that is
always there, the heartbeat: only what has a heartbeat is known.
"""

from __future__ import annotations

import dataclasses
import typing as t


@dataclasses.dataclass(frozen=True)
class Counted:
    """What is known of one NIM. Times are seconds since 1970.

    Everything from ``known_since`` to ``settled_until`` is known; both are None where nothing is. ``busy`` are the
    beginnings of the periods, of ``period`` seconds, in which it worked; None for a metric that does not tell.
    """

    source: str
    last_use: float | None
    known_since: float | None
    settled_until: float | None
    busy: frozenset[float] | None = None
    period: float = 60.0

    def busy_seconds(self, since: float) -> float | None:
        """Return in how many seconds, counted by whole periods, it worked since then. None if that is not known."""
        if self.busy is None or self.known_since is None or self.settled_until is None:
            return None
        if self.known_since > since or self.settled_until <= since:
            return None
        return self.period * sum(start >= since for start in self.busy)


def counted(
    source: str,
    requests: t.Mapping[float, float],
    heartbeats: t.AbstractSet[float],
    *,
    period: float,
    now: float,
    late: float,
    tells_busy: bool = False,
    stale: float | None = None,
) -> Counted:
    """Read two metrics, both by the beginnings of their periods. What may still change, ``late`` says.

    A request counts whenever it is told. One before a gap does not, since the gap may hide another. ``tells_busy``:
    that the first metric is more than 0 in each period in which the NIM works, however long a request takes.
    Nothing is known if there is no heartbeat in the last ``stale`` seconds: it may have worked since.
    """
    busy = frozenset(start for start, count in requests.items() if count > 0) if tells_busy else None
    used = max((start + period for start, count in requests.items() if count > 0), default=None)
    sure = {start for start in heartbeats if start + period <= now - late}
    if not sure or (stale is not None and max(sure) + period < now - stale):
        return Counted(source, used, None, None, busy, period)
    newest = begin = max(sure)
    while begin - period in sure:
        begin -= period
    if used is not None and used <= begin:
        used = None
    return Counted(source, None if used is None else min(used, now), begin, newest + period, busy, period)


__all__ = ("Counted", "counted")
