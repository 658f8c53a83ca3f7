# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many calls a deploy to AKS and to GKE makes, and a run that has nothing to do.

Counted in the sandbox, by kind of run and number of NIMs. The bars are those of the design: a run without changes makes
at most 10 calls and 2 for tokens on AKS, 9 and 1 on GKE, whatever the number of NIMs.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog, _fit, _gpu
from tests.clusters.cluster import CLOUDS, Cluster, is_write
from tests.sandbox import Sandbox


@dataclasses.dataclass(frozen=True)
class Calls:
    """The calls of a first deploy, without those for tokens and without polls."""

    cloud: int
    kube_reads: int
    kube_writes: int


def nims(cloud: str, count: int) -> list[dict[str, t.Any]]:
    """Return as many different NIMs as asked for: nodes of the catalogue on every tier that takes them."""
    found = []
    for tier in _gpu.provider_tiers(cloud):
        for node in _catalog.load({}).values():
            try:
                fit = _fit.check(node, tier, cloud)
            except ValueError:
                continue
            if node.image is not None and fit.machine is not None and not fit.machine.spot_only:
                found.append({"node": node.name, "gpu_tier": tier})
    if len(found) < count:
        raise ValueError(f"the catalogue gives {len(found)} NIMs, {count} were asked for")
    return found[:count]


def first_deploy(cluster: Cluster, count: int) -> Calls:
    """Count the calls of a first deploy."""
    cluster.control.reset()
    cluster.run(*nims(cluster.cloud, count))
    calls = cluster.calls()
    kube = [call for call in calls if call["service"] == "kube"]
    writes = [call for call in kube if is_write(call)]
    of_cloud = [call for call in calls if call["service"] != "kube" and "perations/" not in call["path"]]
    return Calls(len(of_cloud), len(kube) - len(writes), len(writes))


def no_change(cluster: Cluster, count: int, running: int) -> tuple[int, int]:
    """Return the calls, and those for tokens, of a run that finds everything as it should be."""
    cluster.control.reset()
    entries = nims(cluster.cloud, count)
    states = ["started"] * running + ["present"] * (count - running)
    made = cluster.run(*[{**entry, "state": state} for entry, state in zip(entries, states, strict=True)])
    if made.errors or made.target_error:
        raise AssertionError(f"the deploy failed: {made.errors} {made.target_error}")
    cluster.control.clear_calls()
    outcome = cluster.run(*entries)
    if outcome.done:
        raise AssertionError(f"there was something to do: {[step.describe() for step in outcome.done]}")
    return len(cluster.calls()), len(cluster.token_calls())


def main() -> int:
    """Print the table."""
    with Sandbox() as sandbox:
        os.environ.update(sandbox.env)
        print(f"{'cloud':<8}{'NIMs':>5}  {'first deploy: cloud, reads, writes':<36}{'no change: calls, tokens'}")
        for cloud in CLOUDS:
            cluster = Cluster(sandbox, cloud)
            for count in (1, 3, 10):
                first, calm = first_deploy(cluster, count), no_change(cluster, count, 0)
                print(
                    f"{cloud:<8}{count:>5}  {f'{first.cloud}, {first.kube_reads}, {first.kube_writes}':<36}"
                    f"{calm[0]}, {calm[1]}"
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
