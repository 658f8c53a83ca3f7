# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many calls to AWS a deploy makes, and a run that has nothing to do.

Counted in the sandbox, by kind of run and number of NIMs. The bars are those of the design: a first deploy of N NIMs
takes at most 36 + 8N calls, a run without changes at most 16 for 10 NIMs plus one for each running NIM.
"""

from __future__ import annotations

import sys
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog, _fit
from tests.aws.account import Account
from tests.sandbox import Sandbox

POLLS = ("DescribeServices", "DescribeTargetHealth", "ListTasks", "DescribeTasks", "DescribeScalingActivities")
"""Calls that a deploy repeats while it waits."""


def nims(count: int) -> list[dict[str, t.Any]]:
    """Return as many different NIMs as asked for: nodes of the catalogue on every tier that takes them."""
    found = []
    for tier in ("l40s", "l4", "a10g", "h100"):
        for node in _catalog.load({}).values():
            try:
                _fit.check(node, tier, "aws")
            except ValueError:
                continue
            if node.image is not None:
                found.append({"node": node.name, "gpu_tier": tier})
    if len(found) < count:
        raise ValueError(f"the catalogue gives {len(found)} NIMs, {count} were asked for")
    return found[:count]


def first_deploy(account: Account, count: int) -> int:
    """Return the calls of a first deploy, without polls."""
    account.control.reset()
    account.run(*nims(count))
    return sum(1 for call in account.control.calls() if call["action"] not in POLLS)


def no_change(account: Account, count: int, running: int) -> int:
    """Return all calls of a run that finds everything as it should be, with some NIMs running."""
    account.control.reset()
    entries = nims(count)
    states = ["started"] * running + ["present"] * (count - running)
    account.run(*[{**entry, "state": state} for entry, state in zip(entries, states, strict=True)])
    account.control.clear_calls()
    outcome = account.run(*entries)
    if outcome.done:
        raise AssertionError(f"there was something to do: {outcome.done}")
    return len(account.control.calls())


def main() -> int:
    """Print the table."""
    with Sandbox() as sandbox:
        account = Account(sandbox)
        print("| NIMs | first deploy | bar | nothing to do | bar | nothing to do, 3 running | bar |")
        print("|---|---|---|---|---|---|---|")
        for count in (3, 10, 25):
            deploy, deploy_bar = first_deploy(account, count), 36 + 8 * count
            idle, busy = no_change(account, count, 0), no_change(account, count, 3)
            idle_bar = 16 + (count - 1) // 10
            print(f"| {count} | {deploy} | {deploy_bar} | {idle} | {idle_bar} | {busy} | {idle_bar + 3} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
