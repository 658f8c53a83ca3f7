# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module report_tab."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.budgetguard.techops.plugins.modules import report_tab
from tests.unit.registry.services import run_module
from tests.unit.report.test_report import tab

Run = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs the module."""

    def play(check_mode: bool = False, **options: t.Any) -> dict[str, t.Any]:
        given = {"tab": tab(), **options, "_ansible_check_mode": check_mode}
        return run_module(report_tab.main, given, monkeypatch, capsys)

    return play


def test_page_and_data_are_readable_by_owner_and_group(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "deep" / "report.html"
    done = run(path=str(page))
    assert (done["changed"], done["tabs"]) == (True, ["one"])
    assert Path(done["data"]) == tmp_path / "deep" / "report_data"
    for path in (page, page.parent / "report_data" / "one.json"):
        assert path.stat().st_mode & 0o777 == 0o640
    assert not run(path=str(page))["changed"]


def test_check_mode_writes_nothing(run: Run, tmp_path: Path) -> None:
    assert run(check_mode=True, path=str(tmp_path / "report.html"))["changed"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [({"path": "/tmp/report.txt"}, "it must end in .html"), ({"path": "/tmp/x.html", "tab": {}}, "is no tab")],
)
def test_what_cannot_be_is_refused(run: Run, options: dict[str, t.Any], told: str) -> None:
    done = run(**options)
    assert done["failed"]
    assert told in done["msg"]
