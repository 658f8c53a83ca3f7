# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report page as text, and its files."""

from __future__ import annotations

import html.parser
import json
import re
import typing as t
from pathlib import Path

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _report, _report_files

TITLE = "Report"


def tab(name: str = "one", **more: t.Any) -> dict[str, t.Any]:
    """Return a tab with a table of one row."""
    table = {
        "kind": "table",
        "title": "Things",
        "columns": [
            {"key": "state", "title": "State", "type": "state"},
            {"key": "name", "title": "Name", "header": True},
            {"key": "size", "title": "Size", "type": "number"},
            {"key": "findings", "title": "Findings", "type": "findings"},
        ],
        "rows": [
            {
                "state": "problem",
                "cells": {
                    "state": "problem",
                    "name": "<ws>",
                    "size": {"text": "1 GiB", "sort": 1073741824},
                    "findings": [{"state": "problem", "text": "a & b", "cure": "do <it>"}],
                },
            }
        ],
    }
    return {
        "format": _report.FORMAT,
        "version": _report.VERSION,
        "id": name,
        "title": name.title(),
        "generated_at": "2026-11-28T18:00:00Z",
        "blocks": [table],
        **more,
    }


class Balance(html.parser.HTMLParser):
    """Notes elements that are not closed, and the ids."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [str(value) for name, value in attrs if name == "id"]
        if tag not in ("input", "link", "meta", "path", "circle", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One that closes itself."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_sound_html_with_unique_ids() -> None:
    found = Balance()
    found.feed(_report.page([tab("one"), tab("two")]))
    assert found.open == []
    assert len(found.ids) == len(set(found.ids))


def test_everything_is_escaped() -> None:
    text = _report.page([tab(headline="<h1>", made_by="<x>", title='"quoted"')], title="</title>")
    assert "&lt;ws&gt;" in text
    assert "a &amp; b" in text
    assert "do &lt;it&gt;" in text
    assert "&lt;/title&gt;" in text
    assert "<h2><h1>" not in text
    assert "<x>" not in text


def test_policy_allows_the_pages_own_style_and_scripts_alone() -> None:
    extension = _report.Extension(script="window.name = 'x';", style=".x { color: red; }")
    text = _report.page([tab()], extensions=[extension])
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src &#x27;none&#x27;; script-src &#x27;sha256-")
    assert policy.count("sha256-") == 3
    assert "unsafe" not in policy
    assert not re.search(r"https?://|style=|\son\w+=", text)


def test_tabs_come_in_their_order() -> None:
    text = _report.page([tab("late", order=9), tab("early", order=1), tab("none")])
    assert re.findall(r'id="panel-(\w+)"', text) == ["early", "late", "none"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], "its format is not"),
        ({**tab(), "format": "x"}, "its format is not"),
        ({**tab(), "version": 2}, "its version is 2"),
        ({**tab(), "id": "a b"}, "its id is 'a b'"),
        ({**tab(), "blocks": "x"}, "a list of blocks"),
    ],
)
def test_what_is_no_tab_is_refused(given: t.Any, told: str) -> None:
    with pytest.raises(_report.ReportError, match=told):
        _report.page([given])


@pytest.mark.parametrize("block", [{"kind": "unknown"}, "x", {"kind": "table"}, {"kind": "tiles", "items": [3]}])
def test_a_part_that_cannot_be_shown_says_so(block: t.Any) -> None:
    text = _report.page([tab(blocks=[block, {"kind": "notes", "items": ["still here"]}])])
    assert "cannot be shown" in text
    assert "still here" in text


def test_scripts_cannot_end_their_element() -> None:
    with pytest.raises(_report.ReportError, match="must not hold </"):
        _report.page([tab()], extensions=[_report.Extension(script="'</script>'")])


# Files


def write(path: Path, content: bytes) -> None:
    """Put a file in place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def put(page: Path, given: dict[str, t.Any], check_mode: bool = False) -> tuple[bool, list[str]]:
    """Put a tab on a page."""
    return _report_files.put(page, given, TITLE, write, check_mode)


def test_each_run_leaves_the_tabs_of_others(tmp_path: Path) -> None:
    page = tmp_path / "new" / "report.html"
    assert put(page, tab("audit")) == (True, ["audit"])
    assert put(page, tab("costs")) == (True, ["audit", "costs"])
    assert re.findall(r'id="panel-(\w+)"', page.read_text("utf-8")) == ["audit", "costs"]
    assert put(page, tab("costs")) == (False, ["audit", "costs"])
    assert json.loads((tmp_path / "new" / "report_data" / "audit.json").read_text("utf-8"))["title"] == "Audit"


def test_an_empty_folder_gives_a_page_with_the_own_tab(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert put(page, tab(), check_mode=True) == (True, ["one"])
    assert list(tmp_path.iterdir()) == []
    put(page, tab())
    assert put(page, tab(), check_mode=True) == (False, ["one"])


def test_a_broken_tab_of_another_run_takes_nothing_from_this_one(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    write(tmp_path / "report_data" / "my costs.json", b'{"format": ')
    put(page, tab())
    text = page.read_text("utf-8")
    assert "cannot be shown" in text
    assert 'id="panel-one"' in text


def test_a_tab_that_comes_meanwhile_is_on_the_page(tmp_path: Path) -> None:
    """Another run puts its tab in while this one makes the page."""
    page = tmp_path / "report.html"

    def disturbed(path: Path, content: bytes) -> None:
        if path == page and not (tmp_path / "report_data" / "other.json").exists():
            write(tmp_path / "report_data" / "other.json", _report_files.encoded(tab("other")))
        write(path, content)

    assert _report_files.put(page, tab(), TITLE, disturbed, False) == (True, ["one", "other"])
    assert 'id="panel-other"' in page.read_text("utf-8")


def test_what_is_no_tab_changes_no_file(tmp_path: Path) -> None:
    with pytest.raises(_report.ReportError):
        put(tmp_path / "report.html", {"id": "x"})
    assert list(tmp_path.iterdir()) == []
