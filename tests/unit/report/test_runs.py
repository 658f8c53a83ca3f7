# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The log of runs, and tabs that stay as they are while nothing changes."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _report_files, _runs
from ansible_collections.budgetguard.techops.plugins.modules import report_run
from tests.unit.registry.services import run_module
from tests.unit.report.test_report import TITLE, tab, write

Run = t.Callable[..., dict[str, t.Any]]
TARGETS = {
    "aws-us-east-1": {"changed": True, "reason": "", "deployments": []},
    "azure-eastus": {
        "reason": "2 NIMs failed",
        "deployments": [
            {"node": "FLUX Dev", "gpu_tier": "h100", "error": "No\nquota.", "endpoint": "https://x"},
            {"node": "Phi-3", "gpu_tier": "l4", "error": None},
        ],
    },
    "gcp-us-central1": {},
}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Return a function that runs the module."""

    def play(check_mode: bool = False, **options: t.Any) -> dict[str, t.Any]:
        given = {"path": str(tmp_path / "report.html"), "playbook": "deploy", "targets": TARGETS, **options}
        return run_module(report_run.main, {**given, "_ansible_check_mode": check_mode}, monkeypatch, capsys)

    return play


def test_a_run_is_noted_with_what_failed_and_nothing_else(run: Run, tmp_path: Path) -> None:
    done = run(nodes="FLUX Dev, Phi-3", job="17")
    assert done["changed"]
    (file,) = (tmp_path / "report_data" / "runs").iterdir()
    assert [file.name] == done["runs"]
    assert file.stat().st_mode & 0o777 == 0o640
    entry = json.loads(file.read_text())
    assert (entry["nodes"], entry["job"]) == (["FLUX Dev", "Phi-3"], "17")
    assert entry["targets"] == [
        {"target": "aws-us-east-1", "changed": True, "reason": None, "nims": []},
        {
            "target": "azure-eastus",
            "changed": False,
            "reason": "2 NIMs failed",
            "nims": [{"node": "FLUX Dev", "gpu_tier": "h100", "reason": "No quota."}],
        },
        {
            "target": "gcp-us-central1",
            "changed": False,
            "reason": "It was not reached, or the run ended before.",
            "nims": [],
        },
    ]
    text = (tmp_path / "report.html").read_text()
    assert 'id="panel-runs"' in text
    assert "FLUX Dev on azure-eastus: No quota." in text


def test_check_mode_notes_nothing(run: Run, tmp_path: Path) -> None:
    assert run(check_mode=True)["changed"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"path": "/tmp/report.txt"}, "it must end in .html"),
        ({"keep": 0}, "keep is 0"),
        ({"playbook": ""}, "playbook: must be the name"),
        ({"targets": {"aws": "x"}}, "targets.aws: must be a mapping"),
        ({"nodes": 3}, "must be 'all', a node or a list"),
    ],
)
def test_what_cannot_be_is_refused(run: Run, options: dict[str, t.Any], told: str) -> None:
    done = run(**options)
    assert done["failed"]
    assert told in done["msg"]


def entry(number: int) -> dict[str, t.Any]:
    """Return a run of that minute."""
    return _runs.entry("stop", f"2026-11-28T18:{number:02d}:00Z", {"aws": {"changed": False}})


def test_the_last_runs_stay_and_two_at_a_time_are_two(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    for number in range(4):
        _report_files.note_run(page, entry(number), TITLE, write, 3)
    other = {**entry(3), "job": "another"}
    names = _report_files.note_run(page, other, TITLE, write, 3)
    assert len(names) == len(list((tmp_path / "report_data" / "runs").iterdir())) == 3
    assert [name[:13] for name in names] == ["20261128T1802", "20261128T1803", "20261128T1803"]
    assert "18:01" not in page.read_text()


def test_runs_and_tabs_leave_each_other(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    _report_files.put(page, tab(), TITLE, write, False)
    _report_files.note_run(page, entry(1), TITLE, write, 3)
    changed, tabs = _report_files.put(page, tab("two"), TITLE, write, False)
    assert (changed, tabs) == (True, ["one", "runs", "two"])
    assert _report_files.put(page, tab("two"), TITLE, write, True) == (False, ["one", "runs", "two"])


def test_a_broken_entry_takes_nothing_from_the_others(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    write(tmp_path / "report_data" / "runs" / "0.json", b"{")
    _report_files.note_run(page, entry(1), TITLE, write, 3)
    text = page.read_text()
    assert "2026-11-28 18:01 UTC" in text
    assert "cannot be shown" not in text


def test_long_reasons_are_cut() -> None:
    (told,) = _runs.entry("deploy", "2026-11-28T18:00:00Z", {"aws": {"reason": "x" * 5000}})["targets"]
    assert len(told["reason"]) < 700


def test_a_tab_that_says_the_same_stays_with_its_time(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    first = tab(blocks=[{"kind": "notes", "items": [], "inner": {"generated_at": "1"}}])
    later = {
        **first,
        "generated_at": "2026-11-29T00:00:00Z",
        "blocks": [{**first["blocks"][0], "inner": {"generated_at": "2"}}],
    }
    _report_files.put(page, first, TITLE, write, False)
    before = page.read_bytes()
    assert _report_files.put(page, later, TITLE, write, False, keep_unchanged=True)[0] is False
    assert page.read_bytes() == before
    other = {**later, "headline": "New"}
    assert _report_files.put(page, other, TITLE, write, True, keep_unchanged=True)[0] is True
    assert _report_files.put(page, other, TITLE, write, False, keep_unchanged=True)[0] is True
    assert b"2026-11-29" in page.read_bytes()
    assert _report_files.put(page, later, TITLE, write, False)[0] is True


def test_time_of_a_tab_says_what_it_means(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    _report_files.put(page, tab(time_means="Unchanged since"), TITLE, write, False)
    assert "Unchanged since <time" in page.read_text()
