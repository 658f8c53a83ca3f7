# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The board's cells: what is there, what the matrix says, and what could be chosen."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.filter.nim_board import nim_board
from ansible_collections.budgetguard.techops.plugins.module_utils import _report, _report_files, _runs
from tests.browser import boards
from tests.browser.boards import deployment, target

Cells = dict[tuple[str, str], dict[str, t.Any]]


def block_of(found: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return the block of the matrix."""
    (block,) = [block for block in found["tabs"][0]["blocks"] if block["kind"] == "board"]
    return t.cast("dict[str, t.Any]", block)


def cells_of(found: dict[str, t.Any]) -> Cells:
    """Return the cells by node and target."""
    block = block_of(found)
    return {
        (node, target["name"]): cell
        for node, row in zip(block["nodes"], block["cells"], strict=True)
        for target, cell in zip(block["targets"], row, strict=True)
    }


@pytest.fixture(scope="module")
def cells() -> Cells:
    """Return the cells of a studio with everything that can be."""
    return cells_of(boards.board())


@pytest.mark.parametrize(
    ("node", "where", "mark", "state", "reason"),
    [
        ("FLUX Dev", "aws-us-east-1", "deployed", "running", None),
        ("FLUX Dev", "aws-eu-central-1", "deployed", "stopped", None),
        ("Phi-3", "aws-us-east-1", "deployed", "stopped", None),
        ("Llama 3.1", "aws-us-east-1", "pending", "starting 1/2", None),
        ("Llama 3.1", "aws-eu-central-1", "pending", "not there yet", "The next deploy makes it."),
        ("FLUX Kontext", "aws-us-east-1", "failed", "failed", "could not get capacity"),
        ("FLUX Dev", "gcp-us-central1", "failed", "refused", "at least 16 GiB are needed"),
        (
            "Llama 3.1",
            "azure-eastus",
            "failed",
            "not there",
            "The deploy of 2026-11-28 17:40 UTC failed: The subscript",
        ),
        ("Mixtral", "aws-us-east-1", "none", "", None),
        ("FLUX Canny", "azure-eastus", "none", "", None),
        ("SDXL", "nvidia-studio", "deployed", "running", None),
    ],
)
def test_mark_of_a_cell(cells: Cells, node: str, where: str, mark: str, state: str, reason: str | None) -> None:
    cell = cells[node, where]
    assert (cell["mark"], cell["state"]) == (mark, state)
    assert cell["reason"] is None if reason is None else reason in cell["reason"]


def test_what_is_there_and_the_matrix_does_not_want_is_pending() -> None:
    there = [target("aws-us-east-1", deployment("FLUX Dev", "h100"), deployment("Mixtral", "h100", "stopped"))]
    found = cells_of(boards.board(there, {"FLUX Dev": {"aws": {"gpu_tier": "l40s"}}, "Mixtral": {"aws": "absent"}}))
    other = found["FLUX Dev", "aws-us-east-1"]
    assert (other["mark"], other["reason"]) == (
        "pending",
        "The matrix wants l40s, and the next deploy makes that beside it.",
    )
    gone = found["Mixtral", "aws-us-east-1"]
    assert (gone["mark"], gone["reason"]) == ("pending", "The matrix says absent: the next deploy removes it.")


def test_a_deploy_that_went_well_takes_back_what_the_one_before_said() -> None:
    later = _runs.entry("deploy", "2026-11-28T17:50:00Z", {"azure-eastus": {"changed": True}})
    stopped = _runs.entry("stop", "2026-11-28T17:55:00Z", {"azure-eastus": {"reason": "x"}})
    found = cells_of(boards.board(runs=[*boards.RUNS, json.dumps(later), stopped, "no entry", b"{"]))
    assert found["Llama 3.1", "azure-eastus"]["mark"] == "pending"


def test_a_target_that_failed_as_a_whole_failed_for_what_is_not_there() -> None:
    run = _runs.entry("site", "2026-11-28T17:50:00Z", {"aws-eu-central-1": {"reason": "No credentials."}})
    found = cells_of(boards.board(runs=[run]))
    missing = found["Llama 3.1", "aws-eu-central-1"]
    assert (missing["mark"], missing["reason"]) == (
        "failed",
        "The deploy of 2026-11-28 17:50 UTC failed: No credentials.",
    )
    assert found["FLUX Dev", "aws-eu-central-1"]["mark"] == "deployed"


def test_entry_is_what_the_matrix_would_have_to_say(cells: Cells) -> None:
    assert cells["FLUX Schnell", "aws-us-east-1"]["entry"] == boards.MATRIX["FLUX Schnell"]["aws-us-east-1"]
    # Deployed and in no matrix: with its tier, so that nothing is made beside it.
    assert cells["Phi-3", "aws-us-east-1"]["entry"] == {"gpu_tier": "l4"}
    # Hosted by nobody, so a function with a tier of its own.
    assert cells["FLUX.2 Klein", "nvidia-studio"]["entry"] == {"gpu_tier": "l4"}
    # The GPU of a Docker host is what it is, and was seen.
    box = cells["Phi-3", "gpu-box-1"]
    assert (box["entry"], box["tier"], box["refused"]) == ({}, "l40s", None)


def test_what_does_not_fit_is_never_ticked(cells: Cells) -> None:
    refused = {key for key, cell in cells.items() if cell["refused"]}
    assert {("FLUX Dev", "gcp-us-central1"), ("SDXL", "aws-us-east-1"), ("SDXL", "gpu-box-1")} <= refused
    assert not any(cells[key]["ticked"] for key in refused)
    small = [target("gpu-box-1", deployment("Phi-3", "t4"))]
    assert "GPU memory" in cells_of(boards.board(small, {}))["FLUX Dev", "gpu-box-1"]["refused"]
    # As long as nobody says which GPU it has, only what has no container is refused.
    unknown = cells_of(boards.board([target("gpu-box-1")], {}))
    assert {node for (node, _host), cell in unknown.items() if cell["refused"]} == {"SDXL"}
    assert cells_of(boards.board([target("gpu-box-1")], {}, tiers={"gpu-box-1": "t4"}))["FLUX Dev", "gpu-box-1"][
        "refused"
    ]


def test_prices_are_of_the_tier_and_what_is_not_known_is_none(cells: Cells) -> None:
    assert cells["FLUX Dev", "aws-us-east-1"]["price"]["hourly"] == 2.29
    assert cells["FLUX Kontext", "aws-us-east-1"]["price"]["hourly"] == 7.9
    assert cells["FLUX Canny", "gcp-us-central1"]["price"]["complete"] is False
    hosted = cells["SDXL", "nvidia-studio"]["price"]
    assert (hosted["hourly"], hosted["why"]) == (None, "its price was not looked up")
    # Absent, so it was not priced here; on another target of the region it was.
    row = {
        "node": "Mixtral",
        "provider": "aws",
        "region": "us-east-1",
        "gpu_tier": "l40s",
        "replicas": 1,
        "hourly": 55.0,
    }
    alike = cells_of(boards.board(prices=[{**row, "target": "aws-other", "complete": True}]))
    assert alike["Mixtral", "aws-us-east-1"]["tier"] == "l40s"
    assert alike["Mixtral", "aws-us-east-1"]["price"]["hourly"] == 55.0
    assert alike["Mixtral", "aws-eu-central-1"]["price"]["hourly"] is None
    zone = {**row, "target": "x", "provider": "gcp", "region": "us-east1", "node": "Phi-3", "gpu_tier": "a100-80gb"}
    there = [target("gcp-us-central1", region="us-east1-b")]
    assert cells_of(boards.board(there, {}, prices=[zone]))["Phi-3", "gcp-us-central1"]["price"]["hourly"] == 55.0


def test_a_group_stands_for_its_hosts_only_where_all_of_them_are_shown() -> None:
    assert block_of(boards.board())["whole_groups"] == ["aws", "azure", "gcp", "nvidia", "local"]
    more = {
        **boards.GROUPS,
        "aws": [*boards.GROUPS["aws"], "aws-elsewhere"],
        "gcp": ["gcp-us-central1", "azure-eastus"],
    }
    assert block_of(boards.board(groups=more, matrix={}))["whole_groups"] == ["nvidia", "local"]


def test_what_cannot_be_read_is_not_known_and_what_was_published_is_stale() -> None:
    published = boards.board()["tabs"][1]["blocks"][-1]["downloads"][0]["content"]
    unread = [target("aws-us-east-1", read=False, error="AccessDenied")]
    found = boards.board(unread, published=published, runs=[])
    cells = cells_of(found)
    kept = cells["FLUX Dev", "aws-us-east-1"]
    assert (kept["mark"], kept["stale"], kept["ticked"], kept["tier"]) == ("pending", True, True, "l40s")
    assert kept["endpoint"].startswith("https://")
    assert cells["FLUX Schnell", "aws-us-east-1"]["reason"] == "The target could not be read."
    assert cells["Mixtral", "aws-us-east-1"]["state"] == "not known"
    assert found["summary"]["unread"] == ["aws-us-east-1"]
    assert "aws-us-east-1: could not be read, so what runs on it is not known: AccessDenied" in found["lines"]
    assert "stale" in found["tabs"][1]["headline"]


def test_a_node_that_is_in_no_catalogue_is_shown_and_left_alone() -> None:
    cell = cells_of(boards.board([target("aws-us-east-1", deployment("Old One", "l4"))], {}))[
        "Old One", "aws-us-east-1"
    ]
    assert (cell["mark"], cell["ticked"], cell["refused"]) == ("deployed", False, "The catalogue has no such node.")


def test_tabs_can_be_put_on_a_page_and_hold_no_more_than_json() -> None:
    found = boards.board()
    assert json.loads(json.dumps(found)) == found
    text = _report.page(found["tabs"], extensions=_report_files.EXTENSIONS)
    assert "cannot be shown" not in text
    assert text.count("data-cell=") == 13 * 6


@pytest.mark.parametrize(
    ("targets", "matrix", "told"),
    [
        ("x", {}, "targets: must be a list"),
        ([{"read": True}], {}, r"targets\[0\]: must be a mapping with target and read"),
        ([target("aws-us-east-1")], {"FLUX Deff": {"aws": "present"}}, "nim_matrix"),
    ],
)
def test_filter_says_what_is_wrong(targets: t.Any, matrix: t.Any, told: str) -> None:
    with pytest.raises(AnsibleFilterError, match=told):
        nim_board(targets, boards.GROUPS, boards.NOW, matrix=matrix)


def test_a_node_that_another_one_serves_is_told_and_not_chosen_by_itself() -> None:
    there = deployment("FLUX Dev", "l40s", serves=["FLUX Canny", "FLUX Dev"])
    matrix = {"FLUX Dev": {"aws": {"gpu_tier": "l40s", "variants": ["base", "canny"]}}}
    cells = cells_of(boards.board([target("aws-us-east-1", there)], matrix))
    served = cells["FLUX Canny", "aws-us-east-1"]
    assert (served["mark"], served["ticked"]) == ("deployed", False)
    assert served["refused"] == "FLUX Dev serves it with its variants; choose that."
    assert cells["FLUX Dev", "aws-us-east-1"]["entry"]["variants"] == ["base", "canny"]
