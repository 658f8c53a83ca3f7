# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard playbook on the sandbox: what is idle is stopped, what is busy or not known is not."""

from __future__ import annotations

import json
import re
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.aws.account import Account
from tests.clusters.cluster import SETTINGS, Cluster
from tests.playbooks.studio import Run, Studio
from tests.unit.usage import day

HOUR = 3600.0
WEBHOOK_SECRET = "CaNaRyHook81Zr0QmTvX3"


def replicas(cluster: Cluster | Account) -> dict[str, int]:
    """Return how many copies of each NIM should run."""
    return {name: status.replicas for name, status in cluster.info().items()}


def looked_at_before(cluster: Cluster, path: Path) -> dict[str, t.Any]:
    """Have a cluster's NIM looked at eight and nine hours ago, when it had counted nothing. Return what is kept."""
    (nim,) = cluster.info().values()
    look: dict[str, t.Any] = {"target": "azure-eastus", "url": nim.endpoint, "changed_at": None}
    look["counters"] = {"request_success_total": 0.0}
    for name, hours in (("first_look_at", 9), ("looked_at", 8)):
        look[name] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - hours * HOUR))
    path.parent.mkdir()
    path.parent.chmod(0o755)
    path.write_text(json.dumps({"version": "1.0", "looks": [look]}))
    return look


def assert_looked_at_again(path: Path, look: dict[str, t.Any]) -> None:
    """Make sure that a look is kept with the time of a new one, and nothing has been counted in between."""
    (kept,) = json.loads(path.read_text())["looks"]
    assert (kept["first_look_at"], kept["changed_at"]) == (look["first_look_at"], None)
    assert kept["looked_at"] > look["looked_at"]


def written_stops(log: Path) -> dict[str, tuple[t.Any, ...]]:
    """Return what the guards have written of each target; both of two guards may have."""
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert all("idle for" in entry["reason"] for entry in entries)
    found = {(entry["target"], entry["name"], entry["stopped"], entry["source"]) for entry in entries}
    assert len(found) == len({target for target, *_rest in found})
    return {target: tuple(rest) for target, *rest in found}


def test_idle_is_stopped_and_busy_and_unknown_are_kept(studio: Studio) -> None:
    now = time.time()
    studio.control.defaults(condition_age_seconds=30 * HOUR)
    gcp, azure, aws = Cluster(studio.sandbox, "gcp"), Cluster(studio.sandbox, "azure"), Account(studio.sandbox)
    gcp.run("FLUX Dev@a100-80gb", "Llama 3.1@l4", "SD 3.5 Large@a100-80gb", state="started")
    azure.run("Llama 3.1@a10", state="started")
    aws.run("Llama 3.1@l4", state="started")
    idle, silent, busy = "llama-3-1-l4", "sd-3-5-large-a100-80gb", "flux-dev-a100-80gb"
    lines = [day.line(now - ago * HOUR, node=node) for ago in (28, 20) for node in (idle, silent)]
    studio.control.container_log("gcp", [*lines, day.line(now - 20 * 60, node=busy)])
    studio.control.container_log("aws", [line for line in lines if silent not in line])
    studio.targets = {
        "gcp-us-central1": dict(SETTINGS["gcp"]),
        "azure-eastus": dict(SETTINGS["azure"]),
        "gcp-of-others": {**SETTINGS["gcp"], "project": "somebody-elses"},
    }
    log = studio.folder / "exports" / "budgetguard_guard.jsonl"
    studio.variables = {
        "nim_matrix": {},
        # Nothing listens there.
        "guard_webhook_url": f"https://127.0.0.1:1/{WEBHOOK_SECRET}",
    }
    before = {"nim-llama-3-1-l4": 1, "nim-sd-3-5-large-a100-80gb": 1, "nim-flux-dev-a100-80gb": 1}
    assert replicas(gcp) == before
    studio.control.clear_calls()

    # Azure's log cannot be read, so its NIM is asked what it counts itself.
    studio.control.fault("Query_Execute", "InsufficientAccessError", status=403, times=None)
    unread = ["azure-eastus", "gcp-of-others"]
    checked = studio.play("guard", "--check", "-e", json.dumps(budgets_of(studio)))
    assert checked.failed == unread, checked.printed
    assert studio.writes() == 0
    assert (checked.changed["gcp-us-central1"], checked.changed["azure-eastus"]) == (1, 0), checked.printed
    assert_spend_that_cannot_be_read_stops_nothing(studio, checked)
    assert "Nothing is stopped: this run only tells." in checked.messages
    # From the prices of the sandbox's cloud, or the collection's list.
    assert re.search(r"Llama 3\.1 +gcp-us-central1 +l4 +stop +\S+ +\d+\.\d\d USD", checked.messages), checked.printed
    assert not log.exists()
    assert re.search(r"Llama 3\.1 azure-eastus a10 warn \S+ .* \(by what it counts itself\)", checked.messages)
    looks = studio.folder / "exports" / "budgetguard_guard_looks.json"
    assert not looks.exists()
    look = looked_at_before(azure, looks)
    studio.targets["aws-us-east-1"] = studio.target("us-east-1")

    price = {"target": "gcp-us-central1", "node": "Llama 3.1", "gpu_tier": "l4", "hourly": 0.71, "currency": "USD"}
    # Two guards at once decide upon the same stops, and neither minds the other.
    with ThreadPoolExecutor(2) as pool:
        run, other = pool.map(
            lambda words: studio.play("guard", *words, "-e", json.dumps({"guard_prices": [price]})), (["-vvv"], [])
        )
    assert [run.failed, other.failed] == [unread, unread], run.printed + other.printed
    after = [{**before, "nim-llama-3-1-l4": 0}, {"nim-llama-3-1-a10": 0}, {"nim-llama-3-1-l4": 0}]
    assert [replicas(one) for one in (gcp, azure, aws)] == after, run.printed
    assert_looked_at_again(looks, look)
    for text in (
        "Llama 3.1 gcp-us-central1 l4 stop",
        "0.71 USD",
        "FLUX Dev gcp-us-central1 a100-80gb keep",
        "SD 3.5 Large gcp-us-central1 a100-80gb keep (not known)",
        "/v1/metrics answers 404",
        "Llama 3.1 azure-eastus a10 stop",
        "Llama 3.1 aws-us-east-1 l4 stop",
        "gcp-of-others: cannot be read, so nothing on it is stopped",
        "The webhook did not take it: it does not answer.",
    ):
        assert text in run.messages, run.printed
    assert re.search(r"FLUX Dev gcp-us-central1 a100-80gb keep \S+ - used \d+ min ago", run.messages), run.printed
    assert max(run.changed.values()) <= 1
    assert {name for each in (run, other) for name, count in each.changed.items() if count} == {
        "gcp-us-central1",
        "azure-eastus",
        "aws-us-east-1",
    }
    assert written_stops(log) == {
        "gcp-us-central1": ("nim-llama-3-1-l4", True, "gateway_log"),
        "azure-eastus": ("nim-llama-3-1-a10", True, "nim_metrics"),
        "aws-us-east-1": ("nim-llama-3-1-l4", True, "gateway_log"),
    }
    assert log.stat().st_mode & 0o777 == 0o640
    assert log.parent.stat().st_mode & 0o777 == 0o755, "workstations may read the exports that are there, too"
    assert WEBHOOK_SECRET not in run.printed
    assert WEBHOOK_SECRET not in (studio.folder / "ansible.log").read_text()


def budgets_of(studio: Studio) -> dict[str, t.Any]:
    """Return variables with budgets, and spend that is read: Azure's is all there, and Google's has no table."""
    studio.control.bill("azure", late_days=0)
    return {
        "guard_look_up_spend": True,
        "guard_budgets": [{"target": "azure-*", "monthly": 0.01}, {"monthly": 9e9}],
        "spend_cache_path": str(studio.folder / "spend.json"),
    }


def assert_spend_that_cannot_be_read_stops_nothing(studio: Studio, run: Run) -> None:
    """Make sure that a run with these budgets has read spend, and told what is not known of it."""
    for text in (
        "of 0.01 USD of this month are spent",
        "spend: gcp-of-others: what was billed is not known: spend_bigquery_table is not set",
        "per month: not all of its spend is known, so what is not known stops nothing",
    ):
        assert text in run.messages, run.printed
    assert [call["service"] for call in studio.control.calls() if call["service"] == "azure-costs"] != []
