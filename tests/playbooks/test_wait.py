# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action nim_wait in real runs of Ansible: what a person sees, and what a playbook gets."""

from __future__ import annotations

import json
import re
import subprocess
import typing as t

import yaml

from tests.playbooks.studio import BIN, Run, Studio

FLUX = {"node": "FLUX Dev", "name": "nim-flux-dev-l40s"}
LLAMA = {"node": "Llama 3.1", "name": "nim-llama-3-1-l4"}

OF_LOCAL = "a Docker host is only waited for by a task that runs on this very host, because it needs its connection"


def run_wait(studio: Studio, *arguments: str, **options: t.Any) -> tuple[Run, dict[str, t.Any]]:
    """Run the action once for all targets, on a host of the inventory; return what was printed and its result."""
    kept = studio.folder / "waited.json"
    kept.unlink(missing_ok=True)
    play = {
        "name": "Wait",
        "hosts": "nim_providers",
        "gather_facts": False,
        "tasks": [
            {
                "name": "Wait",
                "budgetguard.techops.nim_wait": {"interval": 0.2, "timeout": 30, **options},
                "run_once": True,
                "register": "waited",
                "ignore_errors": True,
            },
            {
                "name": "Keep",
                "ansible.builtin.copy": {"content": "{{ waited | to_json }}", "dest": str(kept), "mode": "0600"},
                "run_once": True,
                "check_mode": False,
            },
        ],
    }
    book = studio.folder / "wait.yml"
    book.write_text(yaml.safe_dump([play]))
    done = subprocess.run(
        [str(BIN / "ansible-playbook"), str(book), "-i", str(studio.inventory()), *arguments],
        cwd=studio.folder,
        env=studio.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    run = Run(done.returncode, done.stdout).ok()
    return run, json.loads(kept.read_text())


def test_a_person_sees_each_nim_get_further(studio: Studio) -> None:
    studio.play("start", "-e", "cloud_deploy_wait=false").ok()
    run, waited = run_wait(studio, expected={"aws-us-east-1": [FLUX, LLAMA]})
    assert re.search(r"^\d+:\d\d  FLUX Dev on aws-us-east-1: ready$", run.printed, re.MULTILINE), run.printed
    assert not {"\r", "\x1b"} & set(run.printed)
    ready = [{"target": "aws-us-east-1", **item} for item in (FLUX, LLAMA)]
    assert (waited["ready"], waited["failures"], waited["timed_out"]) == (ready, {}, [])
    assert (waited["changed"], waited["failed"]) == (False, False)
    assert isinstance(waited["elapsed"], int)


def test_a_failure_names_each_nim_and_only_fails_the_task_if_asked_to(studio: Studio) -> None:
    studio.targets["local-elsewhere"] = {}
    studio.providers["local-elsewhere"] = "local"
    expected = {
        "aws-us-east-1": [{"node": "Llama 3.1", "name": "nim-nowhere"}],
        "local-elsewhere": [FLUX],
        "nobody": [FLUX],
    }
    _run, waited = run_wait(studio, expected=expected, timeout=1)
    assert waited["failed"]
    assert waited["msg"].splitlines() == [
        "aws-us-east-1: Llama 3.1: not ready after 1 s; last: not there",
        f"local-elsewhere: FLUX Dev: cannot be waited for: {OF_LOCAL}",
        "nobody: FLUX Dev: cannot be waited for: there is no such host in the inventory",
    ]
    assert [item["phase"] for item in waited["timed_out"]] == ["not there"]
    _run, waited = run_wait(studio, expected=expected, timeout=1, fail=False)
    assert (waited["failed"], sorted(waited["failures"])) == (False, sorted(expected))


def test_check_mode_asks_nobody_and_says_nothing(studio: Studio) -> None:
    studio.control.clear_calls()
    run, waited = run_wait(studio, "--check", expected={"aws-us-east-1": [FLUX]})
    assert studio.control.calls() == []
    assert (waited["ready"], waited["failures"], waited["failed"]) == ([], {}, False)
    assert "FLUX Dev on" not in run.printed
