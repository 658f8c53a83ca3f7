# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A studio's day: every playbook of the starter project as one job, in an order in which each has something to do."""

from __future__ import annotations

import dataclasses

from tests.awx.api import Values
from tests.awx.jobs import Job, Jobs


@dataclasses.dataclass(frozen=True)
class Step:
    """A job of the day, and what is to come of it."""

    playbook: str
    says: str = ""
    artifact: str = ""
    answers: Values = dataclasses.field(default_factory=dict)
    limit: str = ""
    refused: bool = False


STEPS = [
    Step("permissions", "rights looked at for deployer, 0 missing"),
    Step("prices", artifact="nim_prices"),
    Step("gateway_key"),
    Step("deploy", artifact="nim_published", answers={"nim_nodes": ["FLUX Dev", "Llama 3.1"]}),
    Step("endpoints", artifact="nim_published"),
    Step("workstations", artifact="nim_rollout"),
    Step("start", artifact="nim_published"),
    Step("status"),
    Step("health", artifact="nim_health"),
    Step("benchmark", artifact="nim_benchmark"),
    Step("usage", artifact="nim_usage"),
    Step("guard", artifact="nim_guard"),
    Step("costs", artifact="nim_costs"),
    Step("board", artifact="nim_board"),
    Step("export"),
    Step("gateway_renew"),
    Step("credentials", limit="ws-1,ws-2"),
    Step("rotate", limit="ws-1,ws-2"),
    Step("revoke", "Off: aws", limit="ws-2"),
    Step("studio_key"),
    Step("audit", artifact="workstation_audit"),
    Step("package_build", "nim_package_path is not set", answers={"package_build_host": "localhost"}, refused=True),
    Step("package_install", "Neither nim_package_path nor nim_package_share is set", refused=True),
    Step("stop"),
    Step("site", artifact="nim_rollout"),
    Step("teardown", artifact="nim_published", answers={"confirm": "true"}),
]


class Day:
    """Runs the jobs. Each is run once, after all that come before it, whichever of them is asked for."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self.done: dict[str, Job] = {}

    def job(self, playbook: str) -> Job:
        """Return what came of a playbook's job."""
        if playbook not in self.done:
            at = [step.playbook for step in STEPS].index(playbook)
            for step in STEPS[: at + 1]:
                if step.playbook not in self.done:
                    (self.done[step.playbook],) = self.jobs.launch(
                        f"NIM {step.playbook}", step.answers, slices=1, limit=step.limit
                    )
        return self.done[playbook]
