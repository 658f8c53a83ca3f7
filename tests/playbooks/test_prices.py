# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The prices playbook, and prices in what is published."""

from __future__ import annotations

import csv
import json
import time
import typing as t

from tests.clusters.cluster import SETTINGS, Cluster
from tests.playbooks.studio import CANARY, Studio


def published(studio: Studio) -> dict[str, dict[str, t.Any]]:
    """Return what the artists' document says about prices, by target."""
    providers = studio.export()["nim_endpoints"]["FLUX Dev"].values()
    return {
        str(entry["target"]): {key: entry[key] for key in ("hourly_usd", "priced_at", "usd_per_image") if key in entry}
        for endpoints in providers
        for entry in endpoints
    }


def test_prices_are_shown_and_written_down(studio: Studio) -> None:
    studio.use_three_clouds()
    studio.use_nvidia()
    report, table = studio.folder / "prices.json", studio.folder / "prices.csv"
    studio.control.clear_calls()
    run = studio.play(
        "prices",
        "-vvv",
        "-e",
        f"prices_json_file={report} prices_csv_file={table} compare=true prices_check_quotas=true",
    ).ok()
    assert studio.writes() == 0
    rows = {(row["node"], row["target"]): row for row in json.loads(report.read_text())["prices"]}
    assert rows["FLUX Dev", "aws-us-east-1"]["hourly"] > 2
    assert rows["SDXL", "nvidia-studio"]["hourly"] is None
    written = list(csv.DictReader(table.read_text().splitlines()))
    assert {(row["node"], row["target"]) for row in written} >= set(rows)
    for title in ("per hour", "per month stopped", "the cheapest first", "does not fit"):
        assert title.lower() in run.messages.lower()
    assert not [name for name in studio.files_with(CANARY) if not name.startswith("inventory")]
    assert CANARY not in run.printed


def test_published_prices_stay_until_they_change(studio: Studio) -> None:
    studio.use_workstations([])
    studio.variables.update(nim_workstation_providers=[], endpoints_prices=True)
    studio.targets = {"azure-eastus": {**SETTINGS["azure"], "region": "eastus"}}
    studio.matrix = {"FLUX Dev": {"azure": {"gpu_tier": "a100-80gb"}}}
    cluster = Cluster(studio.sandbox, "azure")
    cluster.run("FLUX Dev@a100-80gb", state="started")
    figures = studio.folder / "exports" / "budgetguard_benchmark.json"
    figures.parent.mkdir(0o700)
    run = studio.play("benchmark", "-e", "benchmark_tolerance_percent=100000").ok()
    assert figures.parent.stat().st_mode & 0o777 == 0o700, "whoever made the folder says who reads it"
    (figure,) = json.loads(figures.read_text())["figures"]
    assert f"{figure['seconds']:.2f} 0.00" in run.messages, run.printed
    studio.play("endpoints").ok()
    first = published(studio)["azure-eastus"]
    assert first["hourly_usd"] > 3
    assert first["usd_per_image"] == round(first["hourly_usd"] * figure["seconds"] / 3600, 6) > 0
    assert first["priced_at"] <= time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    # Read anew, so at another time, and the same; then not to be read at all.
    (cache,) = studio.home.rglob("prices.json")
    cache.unlink()
    assert not any(studio.play("endpoints").ok().changed.values())
    assert published(studio)["azure-eastus"] == first
    cache.unlink()
    studio.control.fault("RetailPrices_List", "Gone", status=404, service="azure-prices", times=None)
    run = studio.play("endpoints").ok()
    assert not any(run.changed.values()), run.printed
    assert "azure: cannot read" in run.messages
    assert published(studio)["azure-eastus"] == first
