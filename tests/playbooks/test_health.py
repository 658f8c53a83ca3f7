# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The health playbook, as a schedule runs it."""

from __future__ import annotations

import json

from tests.playbooks.studio import SECRETS, Studio

READY = 'budgetguard_nim_ready{node="FLUX Dev",target="aws-us-east-1",provider="aws",gpu_tier="l40s"}'


def test_health_tells_people_awx_and_prometheus(studio: Studio) -> None:
    report, metrics = studio.folder / "health.json", studio.folder / "nim.prom"
    files = ("-e", f"health_json_file={report}", "-e", f"health_prometheus_file={metrics}")
    studio.play("start", "-e", "nim_nodes=['FLUX Dev']").ok()
    studio.control.clear_calls()
    well = studio.play("health", *files).ok().messages
    assert "FLUX Dev aws-us-east-1 l40s ready" in well
    asked = [call["action"] for call in studio.control.calls() if call["service"] == "nim"]
    assert sorted(asked) == ["GET /flux-dev-l40s/v1/health/ready", "GET /flux-dev-l40s/v1/metadata"]
    assert studio.writes() == 0
    assert json.loads(report.read_text())["counts"]["ready"] == 1
    assert f"{READY} 1" in metrics.read_text().splitlines()
    assert report.stat().st_mode & 0o777 == 0o644

    # What runs and does not answer, and a target that cannot be read, are both told, and the run fails.
    studio.control.fault("GET /flux-dev-l40s/v1/health/ready", "Broken", status=503, times=None)
    studio.targets["aws-us-west-2"] = studio.target("us-west-2", endpoint_url="http://127.0.0.1:9")
    ill = studio.play("health", "-e", "health_timeout=2", *files)
    assert ill.code != 0
    told = json.loads(report.read_text())
    assert (told["ok"], len(told["problems"])) == (False, 2)
    assert told["problems"][0].startswith("aws-us-west-2: unreadable: ")
    assert told["problems"][1].startswith("FLUX Dev on aws-us-east-1: starting: should be running, but")
    assert told["problems"][1] in ill.messages
    assert f"{READY} 0" in metrics.read_text().splitlines()
    for secret in SECRETS.values():
        assert studio.files_with(secret) == []
