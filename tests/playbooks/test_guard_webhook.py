# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard's webhook: one that takes it, and those that do not. None of them holds anything up."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import yaml

from tests.playbooks.studio import BIN, PLAY_TIMEOUT, Run, Studio
from tests.sandbox.ca import ThrowAwayCA
from tests.unit.health.servers import LOOPBACK, Said, silent_server, web_server

SECRET = "CaNaRyHook81Zr0QmTvX3"
STOP = {
    "target": "aws-us-east-1",
    "name": "nim-llama-3-1-l4",
    "node": "Llama 3.1",
    "gpu_tier": "l4",
    "reason": "idle for 170 min since its last request; 60 are allowed in office hours",
    "source": "gateway_log",
    "hourly": 0.71,
    "currency": "USD",
}
LOST = {**STOP, "name": "nim-flux-dev-l40s", "node": "FLUX Dev", "gpu_tier": "l40s"}
WHAT_WAS_DONE = {
    "guard_report": {"stops": [STOP, LOST], "decisions": [], "notes": []},
    "cloud_deploy_result": {
        "deployments": [
            {"name": STOP["name"], "error": None, "replicas": 0},
            {"name": LOST["name"], "error": "AccessDenied", "replicas": 1},
        ]
    },
}


def tell(studio: Studio, *hooks: dict[str, object]) -> Run:
    """Tell each of these webhooks of the same stops, in one run."""
    role = {"name": "budgetguard.techops.guard", "tasks_from": "tell.yml"}
    task = {"name": "Tell", "ansible.builtin.include_role": role}
    tasks = [{**task, "vars": {"guard_webhook_timeout": 60, **hook}} for hook in hooks]
    book = studio.folder / "tell.yml"
    book.write_text(yaml.safe_dump([{"name": "Tell", "hosts": "aws", "gather_facts": False, "tasks": tasks}]))
    studio.variables = {**WHAT_WAS_DONE, "guard_log_path": "logs/stops.jsonl"}
    done = subprocess.run(
        [str(BIN / "ansible-playbook"), str(book), "-i", str(studio.inventory()), "-vvv"],
        cwd=studio.folder,
        env=studio.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=PLAY_TIMEOUT,
    )
    return Run(done.returncode, done.stdout)


def test_webhooks_that_answer_and_that_do_not(studio: Studio, tmp_path: Path) -> None:
    authority, mode = ThrowAwayCA(tmp_path), studio.folder.stat().st_mode
    taken, broken, moved, elsewhere = (f"/{name}/{SECRET}" for name in ("taken", "broken", "moved", "elsewhere"))
    script = {taken: Said(200, b"ok"), broken: Said(500), elsewhere: Said(200)}
    with web_server(script, authority.server_context(LOOPBACK)) as server, silent_server() as silent:
        script[moved] = Said(302, headers={"Location": server.url + elsewhere})
        trusted = {"guard_webhook_ca_path": str(authority.certificate_path)}
        run = tell(
            studio,
            {"guard_webhook_url": server.url + taken, **trusted},
            {"guard_webhook_url": server.url + broken, **trusted},
            {"guard_webhook_url": server.url + moved, **trusted},
            # It never answers, so a second is as good as an hour.
            {"guard_webhook_url": f"https{silent[4:]}/{SECRET}", **trusted, "guard_webhook_timeout": 1},
            # Nobody trusts its authority. Its log is where the playbook was started.
            {"guard_webhook_url": server.url + taken, "guard_log_path": "stops.jsonl"},
        ).ok()
    assert [request[:2] for request in server.requests] == [("POST", taken), ("POST", broken), ("POST", moved)]
    sent = json.loads(server.bodies[0])
    assert sent["text"].splitlines() == [
        f"Llama 3.1 on aws-us-east-1 stopped: {STOP['reason']}",
        f"FLUX Dev on aws-us-east-1 not stopped (AccessDenied): {LOST['reason']}",
    ]
    assert [(stop["name"], stop["stopped"], stop["error"]) for stop in sent["stops"]] == [
        (STOP["name"], True, None),
        (LOST["name"], False, "AccessDenied"),
    ]
    told = [part.split("The NIMs")[0].strip() for part in run.messages.split("The webhook did not take it: ")[1:]]
    assert told == ["it answers 500.", "it answers 302.", "it does not answer.", "it does not answer."], run.printed
    # Each of the five has written both lines.
    logs = (studio.folder / "logs" / "stops.jsonl", studio.folder / "stops.jsonl")
    lines = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    assert [line["stopped"] for line in lines] == [True, False] * 5
    assert studio.folder.stat().st_mode == mode
    for place in (run.printed, (studio.folder / "ansible.log").read_text()):
        assert SECRET not in place
