# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether many NIMs on many targets start side by side: the wall time of a start against that of one NIM.

Three targets, one in each cloud, with eight NIMs each. In the sandbox every NIM takes the same injected time to get
ready. The same playbook run is timed with and without that delay; the difference should be one delay, not 24 of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import typing as t
from pathlib import Path

from tests.benchmarks import aws_calls, cluster_calls
from tests.clusters.cluster import CLOUDS
from tests.playbooks.studio import Studio
from tests.sandbox import Sandbox

NIMS = 8


def matrix() -> dict[str, t.Any]:
    """Return a matrix with as many NIMs in each cloud, each node once."""
    found: dict[str, dict[str, t.Any]] = {}
    offers = {"aws": aws_calls.nims(30), **{cloud: cluster_calls.nims(cloud, 20) for cloud in CLOUDS}}
    for cloud, nims in offers.items():
        one_tier_each = {nim["node"]: nim["gpu_tier"] for nim in reversed(nims)}
        for node, tier in sorted(one_tier_each.items())[:NIMS]:
            found.setdefault(node, {})[cloud] = {"gpu_tier": tier}
    counts = [sum(cloud in places for places in found.values()) for cloud in offers]
    if counts != [NIMS] * len(offers):
        raise ValueError(f"the catalogue gives {counts} NIMs, {NIMS} were asked for in each cloud")
    return found


def timed_start(studio: Studio, delay: float) -> float:
    """Switch all NIMs off, then time a start of all in which each takes so many seconds to get ready."""
    studio.play("stop").ok()
    studio.control.defaults(startup_seconds=delay)
    before = time.monotonic()
    studio.play("start").ok()
    return time.monotonic() - before


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="Start 24 NIMs on three targets.")
    parser.add_argument("--delay", type=float, default=20.0, help="seconds that each NIM takes to get ready")
    delay = parser.parse_args().delay
    with tempfile.TemporaryDirectory() as folder, Sandbox() as sandbox:
        studio = Studio(Path(folder), sandbox)
        studio.use_three_clouds()
        studio.matrix = matrix()
        studio.variables = {"cloud_deploy_wait_timeout": 600, "cloud_deploy_wait_interval": 5}
        studio.play("deploy").ok()
        at_once, late = timed_start(studio, 0.0), timed_start(studio, delay)
    count = 3 * NIMS
    print(f"{count} NIMs on 3 targets, each ready {delay:.0f} s after it is switched on (sum {count * delay:.0f} s)")
    print(f"start without the delay  {at_once:6.1f} s")
    print(f"start with it            {late:6.1f} s")
    print(f"what the delay cost      {late - at_once:6.1f} s = {(late - at_once) / delay:.2f} delays")
    return 0


if __name__ == "__main__":
    sys.exit(main())
