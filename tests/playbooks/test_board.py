# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The board, and runs that are noted on its page."""

from __future__ import annotations

import json
import typing as t

from tests.playbooks.studio import CANARY, Studio


def tab(studio: Studio, name: str) -> dict[str, t.Any]:
    """Return what a tab of the page is made of."""
    return t.cast("dict[str, t.Any]", json.loads((studio.folder / "page" / "report_data" / f"{name}.json").read_text()))


def test_board_reads_tells_and_changes_nothing_but_its_page(studio: Studio) -> None:
    page = studio.folder / "page" / "report.html"
    studio.targets["aws-broken"] = {"allowed_cidrs": ["10.20.0.0/16"]}
    studio.variables["nim_report_file"] = str(page)
    deployed = studio.play("deploy")
    assert deployed.failed == ["aws-broken"]
    (noted,) = (studio.folder / "page" / "report_data" / "runs").iterdir()
    told = {target["target"]: target for target in json.loads(noted.read_text())["targets"]}
    assert told["aws-us-east-1"]["changed"]
    assert told["aws-us-east-1"]["reason"] is None
    assert "region" in told["aws-broken"]["reason"]

    before = page.read_bytes()
    studio.control.clear_calls()
    predicted = studio.play("board", "--limit", "aws-us-east-1", "--check").ok()
    assert page.read_bytes() == before
    assert [path.name for path in (studio.folder / "page" / "report_data").iterdir()] == ["runs"]
    run = studio.play("board", "--limit", "aws-us-east-1").ok()
    assert run.changed == predicted.changed == {"aws-us-east-1": 1}
    assert studio.writes() == 0
    again = studio.play("board").ok()
    assert set(again.changed.values()) == {0}, again.printed

    (block,) = [block for block in tab(studio, "matrix")["blocks"] if block["kind"] == "board"]
    cells = {
        (node, target["name"]): cell
        for node, row in zip(block["nodes"], block["cells"], strict=True)
        for target, cell in zip(block["targets"], row, strict=True)
    }
    flux = cells["FLUX Dev", "aws-us-east-1"]
    assert (flux["mark"], flux["state"], flux["tier"], flux["ticked"]) == ("deployed", "stopped", "l40s", True)
    assert flux["price"]["hourly"] > 2
    assert flux["endpoint"].startswith("http")
    kontext = cells["FLUX Kontext", "aws-us-east-1"]
    assert (kontext["mark"], kontext["ticked"]) == ("none", False)
    assert kontext["price"]["hourly"] > 2
    assert "no container image" in cells["SDXL", "aws-us-east-1"]["refused"]
    assert cells["FLUX Dev", "aws-broken"]["mark"] == "pending"
    assert "aws-broken: could not be read" in run.messages
    assert {tab(studio, name)["id"] for name in ("matrix", "endpoints")} == {"matrix", "endpoints"}
    text = page.read_text()
    assert all(f'id="panel-{name}"' in text for name in ("matrix", "endpoints", "runs"))
    assert not [name for name in studio.files_with(CANARY) if not name.startswith("inventory")]
