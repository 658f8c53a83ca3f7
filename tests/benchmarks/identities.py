# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of identities: minted and sealed, nothing to do, rotated, revoked, with real runs of the playbooks.

Clouds whose module is there take part. Calls are those that the identities cost: what a run of C(workstations) calls to
read the endpoints is taken off. Seconds are those of whole runs, on this machine and against the sandbox, whose clouds
answer at once; they say how much is Ansible's own work per workstation, not how long a cloud takes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import typing as t
from collections import Counter
from pathlib import Path

from tests.playbooks.artists import Artists
from tests.playbooks.studio import Studio
from tests.sandbox import Sandbox
from tests.tools import layout

CLOUDS = ("aws", "azure", "gcp")
SERVICES = {
    "aws": ("iam", "sts"),
    "azure": ("arm", "entra", "graph", "kube"),
    "gcp": ("google-iam", "google-oauth", "google-resource-manager"),
}
"""The services of each cloud that identities need. The sandbox names them so."""
PHASES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("mint, try, keep, seal", ("credentials",)),
    ("nothing to do", ("credentials",)),
    ("rotate, in two phases", ("credentials", "-e", "rotate=true")),
    ("revoke, config replaced", ("revoke", "-e", "revoke_all=true")),
)


def clouds() -> list[str]:
    """Return the clouds whose module is there."""
    modules = layout.ROOT / "plugins" / "modules"
    return [cloud for cloud in CLOUDS if (modules / f"workstation_credential_{cloud}.py").exists()]


def measured(artists: Artists, playbook: str, *arguments: str) -> tuple[float, Counter[str]]:
    """Run a playbook. Return its seconds and its calls by service."""
    artists.studio.control.clear_calls()
    before = time.monotonic()
    artists.play(playbook, *arguments).ok()
    seconds = time.monotonic() - before
    calls: Counter[str] = Counter()
    for (service, _action), count in artists.studio.control.counts().items():
        calls[service] += count
    return seconds, calls


def row(*cells: t.Any) -> str:
    """Return a line of the table."""
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Mint, rotate and revoke the identities of workstations.")
    parser.add_argument("--workstations", type=int, default=10, metavar="N", help="how many (default: 10)")
    parser.add_argument("--forks", type=int, default=5, metavar="N", help="at the same time (default: 5, Ansible's)")
    options = parser.parse_args()
    names = [f"ws-{number:02}" for number in range(1, options.workstations + 1)]
    with tempfile.TemporaryDirectory() as folder, Sandbox() as sandbox:
        studio = Studio(Path(folder), sandbox)
        found = clouds()
        if found != ["aws"]:
            studio.use_three_clouds()
        studio.use_workstations(names)
        artists = Artists(studio)
        artists.environment["ANSIBLE_FORKS"] = str(options.forks)
        studio.variables["nim_workstation_providers"] = found
        seal, idle = measured(artists, "workstations")
        print(f"{len(names)} workstations, {options.forks} at the same time, {', '.join(found)}")
        print(
            row(
                "run",
                "seconds",
                "seconds per workstation",
                *(f"calls to {cloud}" for cloud in found),
                "per workstation",
            )
        )
        print(row(*["---"] * (4 + len(found))))
        print(row("configs alone (workstations)", f"{seal:.1f}", f"{seal / len(names):.1f}", *[0] * len(found), 0))
        for title, (playbook, *arguments) in PHASES:
            seconds, calls = measured(artists, playbook, *arguments)
            own = calls - idle
            counts = [sum(own[service] for service in SERVICES[cloud]) for cloud in found]
            each = f"{sum(counts) / len(names):.1f}"
            print(row(title, f"{seconds:.1f}", f"{seconds / len(names):.1f}", *counts, each), flush=True)
        left = [name for name in names if artists.has_user(name)]
        print(f"users left on AWS: {len(left)}")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
