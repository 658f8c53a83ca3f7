# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report page in a real browser."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _report
from tests.browser import pages
from tests.browser.chromium import Page

NAMES = "[...document.querySelectorAll('tbody tr:not([hidden]) th')].map(cell => cell.textContent)"
HEADING = "thead th:nth-child({}) button"
SORTED = "[...document.querySelectorAll('thead th')].map(cell => cell.getAttribute('aria-sort'))"
NOTES = {
    "format": _report.FORMAT,
    "version": _report.VERSION,
    "id": "costs",
    "title": "Costs",
    "order": 40,
    "state": "ok",
    "blocks": [{"kind": "plot", "values": [3, 1, 2]}, {"kind": "notes", "items": ['<b>bold</b> & "quoted"']}],
}


def plot(block: _report.Block, name: str) -> _report.Markup:
    """Make a plot as another tab may: bars, and a button that its own script knows."""
    bars = [
        _report.tag("rect", x=10 * place, y=50 - 10 * value, width=8, height=10 * value)
        for place, value in enumerate(block["values"])
    ]
    image = _report.tag("svg", *bars, viewBox="0 0 40 50", class_="plot", role="img", aria_label="Three bars")
    return _report.tag("div", image, _report.tag("button", "Count", type="button", data_count=True), id=name)


EXTENSION = _report.Extension(
    kinds={"plot": plot},
    style=".plot { width: 4rem; fill: rgb(1, 2, 3); }",
    script="document.querySelector('[data-count]').addEventListener('click', (event) => { "
    "event.target.textContent = String(document.querySelectorAll('.plot rect').length); });",
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a page with 60 workstations, and another tab with a plot."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(_report.page([pages.tab(), NOTES], extensions=[EXTENSION]), encoding="utf-8")
    return path


def shown(page: Page) -> list[str]:
    """Return the workstations that are shown, from top to bottom."""
    return t.cast(list[str], page.run(NAMES))


def test_page_asks_for_nothing_and_complains_of_nothing(page: Page, report: Path) -> None:
    page.open(report)
    page.click(HEADING.format(9))
    page.click("[data-count]")
    assert set(page.requests) - {"data:,"} == {report.as_uri()}
    assert page.complaints == []


def test_worst_first_and_sorted_by_a_click(page: Page, report: Path) -> None:
    page.open(report)
    assert len(shown(page)) == 60
    states = page.run("[...document.querySelectorAll('tbody tr')].map(row => row.dataset.state)")
    assert states == sorted(states, key=["problem", "warning", "ok"].index)
    page.click(HEADING.format(2))
    assert shown(page) == sorted(shown(page))
    assert page.run(SORTED)[1] == "ascending"
    page.click(HEADING.format(2))
    assert shown(page) == sorted(shown(page), reverse=True)
    assert page.run(SORTED).count("none") == len(page.run(SORTED)) - 1


@pytest.mark.parametrize("clicks", [1, 2])
def test_numbers_are_sorted_as_numbers_and_the_unknown_comes_last(page: Page, report: Path, clicks: int) -> None:
    page.open(report)
    for _click in range(clicks):
        page.click(HEADING.format(9))
    cells = page.run("[...document.querySelectorAll('tbody td:nth-child(9)')].map(cell => cell.dataset.sort || '')")
    known = [int(cell) for cell in cells if cell]
    assert known == sorted(known, reverse=clicks == 2)
    assert cells[len(known) :] == [""] * (60 - len(known))
    assert 0 < len(known) < 60


def test_filter_by_words_and_by_state(page: Page, report: Path) -> None:
    page.open(report)
    page.type_into("input[type=search]", "CONFIG missing")
    found = shown(page)
    assert 0 < len(found) < 60
    assert page.run("document.querySelector('[role=status]').textContent") == f"{len(found)} of 60 rows"
    page.open(report)
    page.click(".choice [data-state=warning]")
    assert page.run("document.querySelectorAll('tbody tr:not([hidden])[data-state=warning]').length") == len(
        shown(page)
    )
    assert page.run("document.querySelector('.choice [data-state=warning]').getAttribute('aria-pressed')") == "true"
    page.type_into("input[type=search]", "no such thing")
    assert shown(page) == []
    assert page.run("document.querySelector('.nothing').hidden") is False


def test_tabs_by_mouse_keyboard_and_address(page: Page, report: Path) -> None:
    chosen = "document.querySelector('[role=tab][aria-selected=true]').dataset.tab"
    visible = "[...document.querySelectorAll('[role=tabpanel]')].filter(one => !one.hidden).map(one => one.id)"
    page.open(report)
    assert (page.run(chosen), page.run(visible)) == ("audit", ["panel-audit"])
    page.run("document.getElementById('tab-audit').focus()")
    page.press("ArrowRight")
    assert (page.run(chosen), page.run(visible)) == ("costs", ["panel-costs"])
    assert page.run("document.activeElement.id") == "tab-costs"
    page.open(report, "#costs")
    assert page.run(chosen) == "costs"
    page.click("#tab-audit")
    assert page.run("location.hash") == "#audit"


def test_another_part_brings_plots_and_scripts(page: Page, report: Path) -> None:
    """Its style and script are allowed, and what is not markup is text."""
    page.open(report, "#costs")
    page.click("[data-count]")
    assert page.run("document.querySelector('[data-count]').textContent") == "3"
    assert page.run("getComputedStyle(document.querySelector('.plot')).fill") == "rgb(1, 2, 3)"
    assert page.run("document.querySelector('#panel-costs .notes').textContent") == '<b>bold</b> & "quoted"'


def test_what_somebody_puts_into_a_name_is_not_run(page: Page, tmp_path: Path) -> None:
    evil = "</script><script>window.evil = 1</script><img src=x onerror='window.evil = 1'>"
    bad = {**pages.tab(3), "headline": evil, "title": evil}
    bad["blocks"] = [{"kind": "notes", "items": [evil], "title": evil}, *bad["blocks"]]
    bad["blocks"][-1]["rows"][0]["cells"]["workstation"] = evil
    path = tmp_path / "evil.html"
    path.write_text(_report.page([bad], title=evil), encoding="utf-8")
    page.open(path)
    assert page.run("window.evil") is None
    assert page.run("document.querySelectorAll('main img, main script').length") == 0
    assert page.run("document.querySelector('h2').textContent") == evil
    # And were it markup, the policy would stop it.
    page.run("document.querySelector('h2').innerHTML = '<img src=x onerror=\"window.evil = 1\">'")
    page.run("new Promise(done => setTimeout(done, 100))")
    assert page.run("window.evil") is None


CONTRAST = """
(() => {
  const light = (text) => {
    const parts = text.match(/[\\d.]+/g).slice(0, 3).map((one) => one / 255)
      .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const told = getComputedStyle(one).backgroundColor;
      if (told !== "rgba(0, 0, 0, 0)") return told;
    }
    return "rgb(255, 255, 255)";
  };
  const worst = (selector) => Math.min(...[...document.querySelectorAll(selector)].map((element) => {
    const pair = [light(getComputedStyle(element).color), light(ground(element))].sort((a, b) => b - a);
    return (pair[0] + 0.05) / (pair[1] + 0.05);
  }));
  return worst("h2, .quiet, .label, .state, .cure, .finding, tbody td, tbody th, thead button, .choice button");
})()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_contrast(page: Page, report: Path, scheme: str) -> None:
    """At least 4.5 to 1, WCAG 2.2 criterion 1.4.3."""
    page.show_as(scheme=scheme)
    page.open(report)
    assert page.run(CONTRAST) >= 4.5
    grounds = {"light": "rgb(246, 247, 249)", "dark": "rgb(20, 23, 28)"}
    assert page.run("getComputedStyle(document.body).backgroundColor") == grounds[scheme]


def test_states_are_told_by_word_and_shape(page: Page, report: Path) -> None:
    page.open(report)
    words = page.run("[...document.querySelectorAll('tbody .state')].map(one => one.textContent)")
    assert set(words) == {"Problem", "Warning", "OK"}
    shapes = page.run(
        "[...document.querySelectorAll('tbody .state')].map(one => one.querySelector('use').getAttribute('href'))"
    )
    assert len({*zip(words, shapes, strict=True)}) == len(set(shapes)) == 3
    box = page.run("document.querySelector('tbody .state svg').getBoundingClientRect().width")
    assert box > 5


def test_page_prints_without_its_tools(page: Page, report: Path, tmp_path: Path) -> None:
    page.show_as("print")
    page.open(report)
    assert page.run("getComputedStyle(document.querySelector('.tools')).display") == "none"
    assert page.run("getComputedStyle(document.querySelector('thead')).display") == "table-header-group"
    assert page.run("getComputedStyle(document.querySelector('.scroll')).overflow") == "visible"
    page.print_to(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


def test_500_workstations_stay_quick(page: Page, tmp_path: Path) -> None:
    """Sorting and filtering take a small part of the second after which people notice, even on a loaded machine."""
    path = tmp_path / "large.html"
    path.write_text(_report.page([pages.tab(500)]), encoding="utf-8")
    assert path.stat().st_size < 3_000_000
    page.open(path)
    seconds = page.run(
        """(() => {
          const start = performance.now();
          document.querySelector("thead th:nth-child(2) button").click();
          const box = document.querySelector("input[type=search]");
          box.value = "rtx";
          box.dispatchEvent(new Event("input"));
          document.body.getBoundingClientRect();
          return (performance.now() - start) / 1000;
        })()"""
    )
    assert len(shown(page)) > 300
    assert seconds < 5
