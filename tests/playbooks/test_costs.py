# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The costs playbook on the sandbox: bills, prices, what runs and what was used become a table, files and a tab."""

from __future__ import annotations

import csv
import datetime
import json
import time

import pytest

from tests.clusters.cluster import SETTINGS, Cluster
from tests.playbooks.studio import CANARY, Studio
from tests.sandbox.spend import Ledger, sums
from tests.sandbox.spend.gcp import TABLE
from tests.unit.usage import day

HOUR = 3600.0


def test_costs_are_told_written_down_and_on_the_page(studio: Studio) -> None:
    now = time.time()
    studio.control.defaults(condition_age_seconds=30 * HOUR)
    Cluster(studio.sandbox, "gcp").run("FLUX Dev@a100-80gb", "Llama 3.1@l4", state="started")
    lines = [day.line(now - ago * HOUR, node="flux-dev-a100-80gb", seconds=600.0) for ago in (40, 5, 3)]
    studio.control.container_log("gcp", lines)
    # Nobody has switched AWS's tags on, so its bill cannot be divided.
    studio.control.bill("aws", active_tags={})
    studio.targets["gcp-us-central1"] = dict(SETTINGS["gcp"])
    studio.targets["nvidia-studio"] = {}
    page, report, table = (studio.folder / "reports" / name for name in ("report.html", "costs.json", "costs.csv"))
    page.parent.mkdir()
    today = datetime.datetime.now(datetime.timezone.utc).date()
    since = min(today.replace(day=1), today - datetime.timedelta(days=20)).isoformat()
    studio.variables = {
        "nim_matrix": {},
        "spend_bigquery_table": TABLE,
        "costs_since": since,
        "costs_json_file": str(report),
        "costs_csv_file": str(table),
        "nim_report_file": str(page),
        "guard_budgets": [{"monthly": 100000}, {"target": "aws-*", "monthly": 5}],
    }
    studio.control.clear_calls()

    checked = studio.play("costs", "--check").ok()
    assert "NODE TARGET TODAY MONTH ESTIMATED FORECAST IDLE" in checked.messages
    assert list(page.parent.iterdir()) == []

    run = studio.play("costs", "-vvv").ok()
    assert studio.writes() == 0
    assert set(run.changed.values()) == {0}
    told = json.loads(report.read_text())
    billed = {
        (one["date"], one["node"]): one["amount"]
        for one in told["days"]
        if (one["target"], one["kind"]) == ("gcp-us-central1", "billed")
    }
    ledger = sums(Ledger().entries("gcp"), since, by_day=True)
    assert billed == pytest.approx({(date, node): float(amount) for (date, _where, node), amount in ledger.items()})
    flux = next(one for one in told["rows"] if (one["target"], one["node"]) == ("gcp-us-central1", "FLUX Dev"))
    assert flux["running"] is True
    assert flux["hourly"] > 1
    assert flux["forecast"]["running"] >= flux["month_to_date"] > 0
    idle = {one["node"]: one for one in told["idle"]["nims"]}
    # Two requests of ten minutes in the last 24 hours, in which it has always run.
    assert idle["FLUX Dev"]["busy_hours"] == pytest.approx(1200 / 3600, abs=0.01)
    assert 0.97 < idle["FLUX Dev"]["idle_share"] < 1
    assert idle["Llama 3.1"]["idle_share"] == 1
    assert (told["total"]["month_to_date_complete"], told["budgets"][0]["state"]) == (False, "note")
    assert told["budgets"][1]["spent"] is None
    for text in (
        "This month at least",
        "aws-us-east-1: what was billed is not known",
        "Budget on aws-*, per month: not known",
        "nvidia-studio is not in these sums: NVIDIA has no API",
    ):
        assert text in run.messages, run.printed
    rows = list(csv.DictReader(table.read_text().splitlines()))
    whole = sum(float(one["amount"]) for one in rows if one["kind"] == "billed")
    assert whole == pytest.approx(sum(map(float, ledger.values())), abs=0.01)
    text = page.read_text()
    assert 'id="panel-costs"' in text
    assert text.count("data-plot>") == 4
    assert "cannot be shown" not in text
    assert {path.stat().st_mode & 0o777 for path in (page, report, table)} == {0o640}
    assert CANARY not in text + report.read_text() + run.printed
