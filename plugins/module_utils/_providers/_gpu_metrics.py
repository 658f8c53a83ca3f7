# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""When NIMs in a cluster of Kubernetes worked, from how busy each of their GPUs was. Pure.

Both Cloud Monitoring and Azure's Prometheus tell it for each GPU of a pod and each minute, from a part of the minute
only: it shows that a NIM was used, and never that it was not.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _usage_metrics

PERIOD = 60

WINDOW = 86400.0
"""How far back is looked, in seconds."""

STALE = 900.0
"""Seconds after which a metric that has ceased tells nothing any more."""

GONE = 1800.0
"""Seconds for which a pod that tells nothing any more still counts as one that should."""

_POD = re.compile(r"nim-([a-z0-9-]+)-[a-z0-9]+-[a-z0-9]{5}")
"""A pod of a Deployment: its name, that of the ReplicaSet, and five characters of its own."""

Series = dict[float, float]
"""Percent by the beginnings of minutes."""


def counted(
    source: str, gpus: t.Iterable[tuple[str, Series]], nodes: t.Collection[str], *, now: float, late: float
) -> dict[str, _usage_metrics.Counted]:
    """Return what is known of each NIM, by its name in the log, from the pod and the series of each GPU.

    NIMs without a point are left out. ``late``: for so many seconds a point is not believed, since others may come.
    """
    by_node: dict[str, list[Series]] = {}
    for pod, series in gpus:
        found = _POD.fullmatch(pod)
        if found and found[1] in nodes and series:
            by_node.setdefault(found[1], []).append(series)
    return {node: _of_nim(source, series, now, late) for node, series in by_node.items()}


def _of_nim(source: str, gpus: t.Sequence[Series], now: float, late: float) -> _usage_metrics.Counted:
    """Read the GPUs of one NIM. A minute is known if each GPU that should have told has."""
    busy: Series = {}
    for series in gpus:
        for start, percent in series.items():
            busy[start] = max(busy.get(start, 0.0), percent)
    spans = [(min(series), max(series) + GONE, series) for series in gpus]
    sure = {start for start in busy if all(start in series for first, last, series in spans if first <= start <= last)}
    return _usage_metrics.counted(source, busy, sure, period=PERIOD, now=now, late=late, tells_busy=True, stale=STALE)


__all__ = ("GONE", "PERIOD", "STALE", "WINDOW", "Series", "counted")
