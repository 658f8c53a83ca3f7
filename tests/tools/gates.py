# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the checks that every change must pass, and say one line about each.

``python -m tests.tools.gates ruff mypy`` runs these two, ``python -m tests.tools.gates`` runs all. A gate that passes
prints its name and its seconds; one that fails prints everything its tool said, and the run stops with its name.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from tests.tools import layout, offline_ansible_test

__all__ = ["GATES", "Gate", "main"]

COPIES = layout.CACHE / "build"
"""Each gate that needs a copy has its own here: while one writes its own files, another may list what is there."""
LINKED = f"{layout.LINKS.relative_to(layout.ROOT) / layout.COLLECTION}/"
"""How mypy names the root."""
NOTHING_CHECKED = "All targets skipped"
"""What ansible-test says, with exit code 0, when it found no files."""


@dataclasses.dataclass(frozen=True)
class Gate:
    """One check: commands that must all end with 0."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    in_copy: bool = False
    """For a tool that walks all files it can see, or that wants the collection's folder names."""


PYTHON = sys.executable

DOCS = ("--plugin-docs", "--validate-collection-refs=all", "--disallow-unknown-collection-refs")

SANITY = (PYTHON, "-m", "tests.tools.offline_ansible_test", "sanity", "--color", "no")

# Longest first, since several run at a time.
GATES = (
    Gate("sanity", ((*SANITY, "--skip-test", "import"),)),
    Gate("sanity-import", ((*SANITY, "--test", "import"),)),
    Gate("ansible-lint", (("ansible-lint", "--nocolor", "-q"),), in_copy=True),
    Gate("galaxy", ((PYTHON, "-m", "tests.tools.galaxy_archive"),)),
    Gate("docs-site", ((PYTHON, "-m", "tests.tools.docs_site", "--check"),)),
    Gate("antsibull-docs", (("antsibull-docs", "lint-collection-docs", *DOCS, "."),), in_copy=True),
    Gate("mypy", ((PYTHON, "-m", "mypy"),)),
    Gate("ruff", (("ruff", "check", "."), ("ruff", "format", "--check", "."))),
    Gate("yamllint", (("yamllint", "--strict", "."),)),
    Gate("reuse", (("reuse", "lint", "--lines"),), in_copy=True),
    Gate("changelog", (("antsibull-changelog", "lint"),), in_copy=True),
)


def _run(gate: Gate) -> tuple[str, float]:
    """Run one gate; return what its tools said if it failed, else nothing, and its seconds."""
    started = time.monotonic()
    folder = layout.ROOT
    variables = offline_ansible_test.with_own_programs()
    if gate.in_copy:
        folder = layout.copy(COPIES / gate.name)
        variables = offline_ansible_test.environment(COPIES / gate.name)
    complaint = ""
    for command in gate.commands:
        done = subprocess.run(
            command,
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode or NOTHING_CHECKED in done.stdout:
            said = done.stdout.replace(LINKED, "")
            complaint += f"$ {' '.join(command)}\n{said}\n(exit code {done.returncode})\n"
    return complaint, time.monotonic() - started


def main(names: list[str]) -> int:
    """Run the gates of these names (all, if none is given), as many at a time as there are processors."""
    wanted = [gate for gate in GATES if not names or gate.name in names]
    layout.link()
    offline_ansible_test.prepare_home()
    failed = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        runs = [(gate, pool.submit(_run, gate)) for gate in wanted]
        for gate, run in runs:
            complaint, seconds = run.result()
            verdict = "FAILED" if complaint else "ok"
            print(f"{gate.name:<16}{verdict:<8}{seconds:6.1f} s", flush=True)
            if complaint:
                failed.append(gate.name)
                print(complaint, flush=True)
    if failed:
        print(f"Failed: {', '.join(failed)}. One gate alone: make {failed[0]}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run the checks that every change must pass.")
    parser.add_argument("gates", nargs="*", metavar="GATE", help="; ".join(gate.name for gate in GATES))
    unknown = set(parser.parse_args().gates) - {gate.name for gate in GATES}
    if unknown:
        parser.error(f"no such gate: {', '.join(sorted(unknown))}")
    sys.exit(main(parser.parse_args().gates))
