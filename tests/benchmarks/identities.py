# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of identities: minted and sealed, nothing to do, rotated, revoked, with real runs of the playbooks.

The clusters were deployed to before, so that every right can be given. Calls are those that the identities cost: what a
run of C(workstations) calls to read the endpoints is taken off. Seconds are those of whole runs, on this machine and
against the sandbox, whose clouds answer at once; they say how much is Ansible's own work per workstation, not how long
a cloud takes.
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

CLOUDS = ("aws", "azure", "gcp")
SERVICES = {
    "iam": "aws",
    "sts": "aws",
    "arm": "azure",
    "entra": "azure",
    "graph": "azure",
    "gke": "gcp",
    "google-iam": "gcp",
    "google-oauth": "gcp",
    "google-resource-manager": "gcp",
}
"""The services that identities need, as the sandbox names them, and whose they are. Clusters have a name each."""
PHASES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("mint, try, keep, seal", ("credentials",)),
    ("nothing to do", ("credentials",)),
    ("rotate, in two phases", ("credentials", "-e", "rotate=true")),
    ("revoke, config replaced", ("revoke", "-e", "revoke_all=true")),
)


def cloud_of(call: dict[str, t.Any]) -> str:
    """Return whose service was called; empty for one that identities do not need."""
    if call["service"] == "kube":
        return "gcp" if str(call["region"]).startswith("gke") else "azure"
    return SERVICES.get(call["service"], "")


def measured(artists: Artists, playbook: str, *arguments: str) -> tuple[float, Counter[str]]:
    """Run a playbook. Return its seconds and its calls by cloud."""
    artists.studio.control.clear_calls()
    before = time.monotonic()
    artists.play(playbook, *arguments).ok()
    seconds = time.monotonic() - before
    return seconds, Counter(map(cloud_of, artists.studio.control.calls()))


def identities(artists: Artists, names: list[str]) -> list[str]:
    """Return the identities that there are in the clouds. The sandbox leaves out kinds of which there is none.

    Applications that Entra keeps for 30 days after their deletion are none: they have no secret and no right.
    """
    found = artists.studio.control.resources()
    azure, gcp = found.get("azure", {}), found.get("gcp", {})
    return [
        *(name for name in names if artists.has_user(name)),
        *azure.get("applications", []),
        *gcp.get("service_accounts", []),
    ]


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
        studio.timeout = 3600.0
        studio.use_three_clouds()
        studio.use_workstations(names)
        artists = Artists(studio)
        artists.environment["ANSIBLE_FORKS"] = str(options.forks)
        studio.variables["nim_workstation_providers"] = list(CLOUDS)
        artists.play("deploy").ok()
        seal, idle = measured(artists, "workstations")
        print(f"{len(names)} workstations, {options.forks} at the same time; calls per workstation")
        print(row("run", *CLOUDS, "seconds", "seconds per workstation"))
        print(row(*["---"] * (3 + len(CLOUDS))))
        print(row("configs alone (workstations)", *[0] * len(CLOUDS), f"{seal:.1f}", f"{seal / len(names):.1f}"))
        there: list[str] = []
        for title, (playbook, *arguments) in PHASES:
            seconds, calls = measured(artists, playbook, *arguments)
            counts = [f"{(calls - idle)[cloud] / len(names):.1f}" for cloud in CLOUDS]
            print(row(title, *counts, f"{seconds:.1f}", f"{seconds / len(names):.1f}"), flush=True)
            there = identities(artists, names)
            if playbook == "credentials" and len(there) != len(CLOUDS) * len(names):
                raise SystemExit(f"{title}: {len(there)} identities, not one per workstation and cloud: {there}")
        print(f"identities left: {', '.join(there) or 'none'}")
    return 1 if there else 0


if __name__ == "__main__":
    sys.exit(main())
