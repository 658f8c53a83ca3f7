# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics that come late and have gaps: what is not known is never idle."""

from __future__ import annotations

import typing as t

from ansible_collections.budgetguard.techops.plugins.filter.nim_guard import nim_guard
from ansible_collections.budgetguard.techops.plugins.module_utils import _usage
from ansible_collections.budgetguard.techops.plugins.module_utils._usage_metrics import Counted, counted

NOW = 1_795_867_200.0
MINUTE = 60.0


def minutes(*ago: int) -> set[float]:
    """Return the beginnings of minutes."""
    return {NOW - MINUTE * number for number in ago}


def seen(heartbeats: t.Iterable[int], **requests: float) -> Counted:
    """Read metrics of minutes ago; ``m90=2`` are two requests 90 minutes ago."""
    series = {NOW - MINUTE * int(name[1:]): count for name, count in requests.items()}
    return counted("cloudwatch", series, minutes(*heartbeats), period=MINUTE, now=NOW, late=10 * MINUTE)


def ago(moment: float | None) -> float | None:
    """Return a moment in minutes before now."""
    return None if moment is None else (NOW - moment) / MINUTE


def test_what_has_a_heartbeat_is_known_but_for_the_last_minutes() -> None:
    found = seen(range(1, 121))
    assert (ago(found.known_since), ago(found.settled_until), found.last_use) == (120, 10, None)
    late = seen(range(40, 121))
    assert (ago(late.known_since), ago(late.settled_until)) == (120, 39)


def test_a_minute_without_a_heartbeat_hides_what_was_before() -> None:
    found = seen([*range(1, 60), *range(61, 121)], m90=1)
    assert (ago(found.known_since), found.last_use) == (59, None)


def test_a_request_counts_as_soon_as_it_is_told() -> None:
    assert ago(seen(range(1, 121), m90=1, m80=2).last_use) == 79
    assert ago(seen(range(30, 121), m2=1).last_use) == 1
    assert seen(range(1, 121), m90=0).last_use is None


def test_without_a_heartbeat_nothing_is_known() -> None:
    assert seen([]) == Counted("cloudwatch", None, None, None)
    # All of it may still change.
    assert seen(range(1, 10)).known_since is None
    assert ago(seen([], m20=1).last_use) == 19


def decided(found: Counted | None, problem: str | None = None) -> dict[str, t.Any]:
    """Return what the guard does where there is no log, with half an hour allowed."""
    ask = _usage.Ask(NOW - 7200, NOW, "hour", 60, 14, ("nim-flux-dev-l40s",))
    no_log = _usage.Seen(None, None, {}, problems=("there is no log group",))
    usage = _usage.report(ask, no_log, {"flux-dev-l40s": found} if found else {}, problem)
    url = "https://nims.studio.example/flux-dev-l40s"
    nim = {
        "name": "nim-flux-dev-l40s",
        "node": "FLUX Dev",
        "gpu_tier": "l40s",
        "replicas": 1,
        "state": "running",
        "running_since": _usage.iso(NOW - 3000 * MINUTE),
        "endpoint": url,
    }
    target = {"target": "aws", "read": True, "asleep": False, "error": None, "deployments": [nim]}
    report = nim_guard(
        [target],
        [{"target": "aws", "usage": usage, "error": ""}],
        {"aws": {"idle_minutes": 30}},
        endpoints=[{"url": url, "busy": False, "busy_reason": "it says so"}],
        only=[{"target": "aws", "name": "nim-flux-dev-l40s"}],
        now=NOW,
    )
    (row,) = report["decisions"]
    return {**row, "notes": report["notes"]}


def test_the_guard_believes_metrics_where_there_is_no_log() -> None:
    row = decided(seen(range(1, 121)))
    assert (row["decision"], row["source"]) == ("stop", "cloudwatch")
    assert row["reason"].endswith("(by CloudWatch's metrics)")
    assert "aws: there is no log group" in row["notes"]
    used = decided(seen(range(1, 121), m90=1))
    assert (used["decision"], used["idle_since"]) == ("stop", _usage.iso(NOW - 89 * MINUTE))


def test_the_guard_keeps_what_metrics_do_not_tell() -> None:
    for found in (
        None,
        seen([]),
        seen([], m90=1),
        seen(range(1, 30)),
        # They stopped to come half an hour ago, have a gap, or tell of a request a moment ago.
        seen(range(80, 121)),
        seen([*range(1, 40), *range(41, 121)]),
        seen(range(1, 121), m2=1),
    ):
        assert decided(found)["decision"] == "keep", found
    assert decided(None, "cannot read the metrics: 403")["reason"].startswith(
        "not known: there is no log group; cannot"
    )


def test_a_log_that_is_known_needs_no_metrics() -> None:
    ask = _usage.Ask(NOW - 7200, NOW, "hour", 60, 14, ("nim-flux-dev-l40s",))
    known = _usage.Seen((), (), {"flux-dev-l40s": NOW - 60}, first_line=NOW - 9e5, settled_until=NOW)
    (nim,) = _usage.report(ask, known, {"flux-dev-l40s": seen(range(1, 121))})["nims"]
    assert (nim["source"], nim["last_use_at"], nim["settled_until"]) == (
        "gateway_log",
        _usage.iso(NOW - 60),
        _usage.iso(NOW),
    )
    (nim,) = _usage.report(ask, _usage.Seen(None, None, {}))["nims"]
    assert (nim["source"], nim["settled_until"]) == (None, None)
