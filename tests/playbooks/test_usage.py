# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The usage playbook: requests of three workstations, and what is told about them."""

from __future__ import annotations

import base64
import csv
import http.client
import json
import time
import typing as t
import urllib.parse

import boto3

from tests.clusters.cluster import SETTINGS, Cluster
from tests.playbooks.studio import SECRETS, Studio
from tests.unit.usage import day

PROMPT = "CaNaRyPrompt81Zr0QmTvX3"
SIGNATURE = "CaNaRySignature81Zr0QmTvX3"


def token(workstation: str) -> str:
    """Return what looks like a token; who checks its signature is not what is tried here."""
    parts = [{"alg": "ES256"}, {"sub": workstation, "aud": "budgetguard-gateway"}]
    return ".".join([*(base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts), SIGNATURE])


def ask(studio: Studio, endpoint: str, workstation: str) -> None:
    """Ask a NIM for a picture, by way of the proxy as a workstation does."""
    body = json.dumps({"prompt": PROMPT, "steps": 5, "width": 1024, "height": 1024})
    headers = {"Authorization": f"Bearer {token(workstation)}", "Content-Type": "application/json"}
    proxy = urllib.parse.urlsplit(studio.sandbox.env["HTTP_PROXY"])
    connection = http.client.HTTPConnection(str(proxy.hostname), proxy.port, timeout=30)
    connection.request("POST", f"{endpoint}/v1/infer", body, headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    connection.close()


def test_requests_become_sums_that_tell_nothing_secret(studio: Studio) -> None:
    sent = {"azure": {"ws-01": 3, "ws-02": 1}, "gcp": {"ws-02": 2, "ws-03": 1}}
    for cloud, asked in sent.items():
        cluster = Cluster(studio.sandbox, cloud)
        cluster.run("FLUX Dev@a100-80gb", state="started")
        (status,) = cluster.info().values()
        assert status.endpoint is not None
        for workstation, count in asked.items():
            for _number in range(count):
                ask(studio, status.endpoint, workstation)
    make: t.Any = boto3.client
    client = make("logs", region_name="us-east-1", endpoint_url=studio.sandbox.env["AWS_ENDPOINT_URL"])
    client.create_log_group(logGroupName="/budgetguard/budgetguard")
    text = day.lines(time.time(), count=40, hours=10)
    studio.control.container_log("aws", text)
    studio.targets["azure-eastus"] = dict(SETTINGS["azure"])
    studio.targets["gcp-us-central1"] = dict(SETTINGS["gcp"])
    studio.targets["nvidia-studio"] = {}
    studio.targets["gcp-of-others"] = {**SETTINGS["gcp"], "project": "somebody-elses"}
    report, table = studio.folder / "usage.json", studio.folder / "usage.csv"
    studio.control.clear_calls()

    run = studio.play(
        "usage", "-vvv", "-e", f"usage_json_file={report}", "-e", f"usage_csv_file={table}", "-e", "usage_since=12h"
    )
    assert run.failed == ["gcp-of-others"], run.printed
    assert studio.writes() == 0
    told = json.loads(report.read_text())
    cells = {(cell["target"], cell["workstation"]): cell for cell in told["nodes"]}
    for cloud, target in (("azure", "azure-eastus"), ("gcp", "gcp-us-central1")):
        for workstation, count in sent[cloud].items():
            assert cells[target, workstation]["requests"] == count
            assert cells[target, workstation]["node"] == "flux-dev-a100-80gb"
            assert cells[target, workstation]["bytes"] > 0
    for workstation in day.WORKSTATIONS:
        expected = day.sums(text, workstation=workstation)["requests"]
        own = [cell for cell in told["nodes"] if cell["target"] == "aws-us-east-1"]
        assert sum(cell["requests"] for cell in own if cell["workstation"] == workstation) == expected
    assert any(note.startswith("gcp-of-others: its use is not known: cannot read") for note in told["notes"])
    whole = 7 + day.sums(text)["requests"]
    assert f"{whole} requests in" in run.messages
    assert "WORKSTATION NODE TARGET REQUESTS HOURS SHARE" in run.messages
    assert sum(int(row["requests"]) for row in csv.DictReader(table.read_text().splitlines())) == whole
    assert table.stat().st_mode & 0o777 == 0o640
    for secret in (*SECRETS.values(), PROMPT, SIGNATURE):
        assert secret not in run.printed
        assert studio.files_with(secret) == []
        asked_with = studio.control.calls_containing(secret)
        assert asked_with == []
