# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway on AWS by real runs: tokens, a lost laptop, and what the log says afterwards."""

from __future__ import annotations

import json

import pytest

from tests.playbooks.artists import Artists, opened
from tests.playbooks.studio import SECRETS, Studio
from tests.sandbox.client import ask_as_workstation


@pytest.fixture
def artists(studio: Studio) -> Artists:
    """Give a studio with one target on AWS."""
    artists = Artists(studio)
    studio.matrix = {"FLUX Dev": {"aws": {"gpu_tier": "l40s"}}}
    studio.variables.update(
        nim_workstation_providers=[],
        nim_gateway_studio="example-studio",
        nim_gateway_tls="studio_ca",
        endpoints_export=True,
    )
    return artists


def test_tokens_on_aws(artists: Artists) -> None:
    studio = artists.studio
    artists.play("gateway_key").ok()
    artists.play("site").ok()
    artists.play("start").ok()
    assert set(artists.play("site").ok().changed.values()) == {0}
    tokens = {
        name: str(opened(studio, name, SECRETS["STUDIO_KEY"])["gateway"]["Token"]) for name in studio.workstations
    }
    (entry,) = studio.export()["nim_endpoints"]["FLUX Dev"]["aws"]
    url = entry["health_url"]
    assert entry["auth"] == "gateway"
    assert ask_as_workstation(studio.sandbox.env, url, None) == 401
    assert [ask_as_workstation(studio.sandbox.env, url, token) for token in tokens.values()] == [200, 200]

    # The benchmark goes in with a token of its own, and shows up in the log under its name.
    figures = studio.folder / "exports" / "budgetguard_benchmark.json"
    studio.control.clear_calls()
    checked = artists.play("benchmark", "--check").ok()
    assert "would be asked for an image of 1024x1024 in 30 steps, 1 + 3 times" in checked.messages
    assert [call for call in studio.control.calls() if call["service"] == "nim"] == []
    assert not figures.exists()
    artists.play("benchmark", "-e", "benchmark_tolerance_percent=100000").ok()
    (figure,) = json.loads(figures.read_text())["figures"]
    assert (figure["node"], figure["target"], figure["gpu_tier"]) == ("FLUX Dev", "aws-us-east-1", "l40s")
    assert figure["image"].endswith("/flux.1-dev:1.2.3")
    assert len(figure["times"]) == 3

    artists.play("revoke", "--limit", "ws-01").ok()
    assert ask_as_workstation(studio.sandbox.env, url, tokens["ws-01"]) == 403
    assert ask_as_workstation(studio.sandbox.env, url, tokens["ws-02"]) == 200

    report = studio.folder / "usage.json"
    artists.play("usage", "-e", f"usage_json_file={report}").ok()
    told = json.loads(report.read_text())
    # Looking is no use, and a refusal is told.
    refused = {row["workstation"]: (row["requests"], row["refused"]) for row in told["rows"]}
    assert refused["ws-01"] == (0, 1)
    assert refused["techops-benchmark"] == (4, 0)
    assert set(refused) == {"-", "ws-01", "techops-benchmark"}
    assert [nim["name"] for nim in told["nims"]] == ["nim-flux-dev-l40s"]
    for token in tokens.values():
        assert studio.files_with(token) == []


@pytest.mark.parametrize(
    ("store", "message"),
    [
        pytest.param("file", "AWX throws the job's folder away", id="awx"),
        pytest.param(
            {"type": "aws_secretsmanager", "region": "us-east-1"},
            "the inventory does not read them there",
            id="store-that-is-not-read",
        ),
    ],
)
def test_keys_that_would_be_lost_are_not_made(artists: Artists, store: object, message: str) -> None:
    artists.environment["AWX_HOST"] = "https://awx.studio.example"
    artists.studio.variables["nim_credential_store"] = store
    run = artists.play("gateway_key")
    assert run.code != 0
    assert message in run.messages, run.printed
    assert not (artists.studio.folder / "group_vars").exists()
    assert artists.studio.control.count(action="CreateSecret") == 0
