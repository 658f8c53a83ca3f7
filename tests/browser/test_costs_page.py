# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The costs' tab and its plots in a real browser."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.budgetguard.techops.plugins.filter.nim_costs import nim_costs
from ansible_collections.budgetguard.techops.plugins.module_utils import _report_files
from tests.browser import pages
from tests.browser.chromium import Page
from tests.unit.costs import month

READOUT = "document.querySelector('#costs-1 .plot-readout').textContent"
FOCUS = "document.activeElement.getAttribute('aria-label')"


def costs() -> dict[str, t.Any]:
    """Return the costs of a month in all their forms."""
    return nim_costs(
        month.spend(), month.targets(), month.prices(), month.usages(), budgets=month.BUDGETS, now=month.NOW
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a page with the costs, as report_tab makes it, beside an audit."""
    path = tmp_path_factory.mktemp("costs") / "report.html"
    tabs = {"costs": _report_files.encoded(costs()["tab"]), "audit": _report_files.encoded(pages.tab(5))}
    path.write_bytes(_report_files.render(tabs, "BudgetGuard report"))
    return path


def test_page_asks_for_nothing_and_complains_of_nothing(page: Page, report: Path) -> None:
    page.open(report, "#costs")
    page.run("document.querySelectorAll('#panel-costs details').forEach(one => { one.open = true; })")
    page.run("document.querySelectorAll('.plot-item').forEach(one => one.focus())")
    assert page.run("document.querySelectorAll('#panel-costs .plot').length") == 4
    assert {one.partition("#")[0] for one in page.requests} - {"data:,"} == {report.as_uri()}
    assert page.complaints == []
    assert page.run("document.querySelectorAll('#panel-costs [style]').length") == 0


def test_bars_have_the_colour_of_their_legend(page: Page, report: Path) -> None:
    page.show_as()
    page.open(report, "#costs")
    pairs = page.run(
        """[...document.querySelectorAll('#costs-1 .plot-legend li')].map((entry) => {
          const title = entry.textContent;
          const bar = [...document.querySelectorAll('#costs-1 .plot-bar')].find(
            (one) => one.querySelector('title').textContent.includes(', ' + title + ':'));
          const key = entry.querySelector('rect');
          return [title, bar ? getComputedStyle(bar).fill : '', getComputedStyle(key).fill,
                  bar ? bar.getBoundingClientRect().height : 0];
        })"""
    )
    solid = [pair for pair in pairs if "estimate" not in pair[0] and "billed" not in pair[0]]
    assert [title for title, *_rest in solid] == ["FLUX Dev", "FLUX Kontext", "Llama 3.1", "SD 3.5 Large", "shared"]
    assert all(drawn == key for _title, drawn, key, _height in solid)
    assert len({key for _title, _bar, key, _height in solid}) == len(solid)
    hatched = [pair for pair in pairs if pair[0].endswith("(estimate)")]
    assert hatched
    assert all(fill.startswith('url("#costs-1-hatch-') and height > 3 for _title, fill, _key, height in hatched)


def test_keyboard_reads_each_day(page: Page, report: Path) -> None:
    """One stop of the tabulator for a plot, and arrow keys in it."""
    page.call("Emulation.setFocusEmulationEnabled", enabled=True)
    page.open(report, "#costs")
    assert page.run("document.querySelectorAll('#costs-1 .plot-item[tabindex=\"0\"]').length") == 1
    hint = page.run(READOUT)
    assert "arrow keys" in hint
    page.run("document.querySelector('#costs-1 .plot-item[tabindex=\"0\"]').focus()")
    first = page.run(FOCUS)
    assert first.startswith("2026-11-01: ")
    assert page.run(READOUT) == first
    page.press("ArrowRight")
    second = page.run(FOCUS)
    assert second.startswith("2026-11-02: ")
    assert "USD in all; FLUX Dev " in second
    assert page.run(READOUT) == second
    assert page.run("document.querySelectorAll('#costs-1 .plot-item[tabindex=\"0\"]').length") == 1
    page.press("End")
    assert page.run(FOCUS) == "2026-11-30: not yet"
    page.press("ArrowRight")
    assert page.run(FOCUS) == first
    page.run("document.activeElement.blur()")
    assert page.run(READOUT) == hint


def test_mouse_reads_a_day_and_a_node(page: Page, report: Path) -> None:
    page.open(report, "#costs")
    box = page.run(
        """(() => { const one = document.querySelectorAll('#costs-1 .plot-item')[9]; one.scrollIntoView();
        const box = one.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"""
    )
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])
    assert page.wait(f"{READOUT}.startsWith('2026-11-10: ')")
    tip = "document.querySelectorAll('#costs-1 .plot-item')[9].querySelector('.plot-bar title').textContent"
    assert page.run(tip).startswith("2026-11-10, FLUX Dev: ")


def test_table_below_has_the_same_figures(page: Page, report: Path) -> None:
    """For those who do not see the plot."""
    page.open(report, "#costs")
    whole = page.run(
        """[...document.querySelectorAll('#costs-1 .plot-figures td')]
           .map((cell) => parseFloat(cell.textContent.replace(',', ''))).filter((one) => !isNaN(one))
           .reduce((left, right) => left + right, 0)"""
    )
    assert whole == pytest.approx(costs()["document"]["total"]["month_to_date"], abs=0.5)
    assert page.run("document.querySelectorAll('#costs-1 .plot-figures tbody tr').length") == 30
    assert page.run("document.querySelector('#costs-4 .plot-figures').textContent").count("not known") == 1


PLOT_CONTRAST = """
(() => {
  const light = (text) => {
    const parts = text.match(/[\\d.]+/g).slice(0, 3).map((one) => one / 255)
      .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const ground = light(getComputedStyle(document.querySelector("#panel-costs")).backgroundColor);
  const ratio = (color) => {
    const pair = [light(color), ground].sort((a, b) => b - a);
    return (pair[0] + 0.05) / (pair[1] + 0.05);
  };
  const worst = (selector, what) => Math.min(...[...document.querySelectorAll(selector)]
    .map((one) => getComputedStyle(one)[what]).filter((one) => one.startsWith("rgb")).map(ratio));
  return { text: worst("#panel-costs .plot-image text", "fill"), bars: worst("#panel-costs .plot-bar", "fill"),
           lines: worst("#panel-costs .plot-line, #panel-costs .plot-level", "stroke") };
})()
"""


@pytest.mark.parametrize(("scheme", "media"), [("light", ""), ("dark", ""), ("light", "print")])
def test_plots_have_contrast(page: Page, report: Path, scheme: str, media: str) -> None:
    """4.5 to 1 for text and 3 to 1 for what else is drawn, WCAG 2.2 criteria 1.4.3 and 1.4.11."""
    page.show_as(media, scheme)
    page.open(report, "#costs")
    found = page.run(PLOT_CONTRAST)
    page.show_as()
    assert found["text"] >= 4.5
    assert found["bars"] >= 3
    assert found["lines"] >= 3


def test_nothing_is_cut_off(page: Page, report: Path) -> None:
    page.show_as()
    page.open(report, "#costs")
    outside = page.run(
        """[...document.querySelectorAll('#panel-costs .plot-image')].flatMap((image) => {
          const all = image.getBoundingClientRect();
          return [...image.querySelectorAll('text, .plot-bar, polyline')].filter((one) => {
            const box = one.getBoundingClientRect();
            return box.left < all.left - 1 || box.right > all.right + 1 || box.top < all.top - 1
              || box.bottom > all.bottom + 1;
          }).map((one) => one.textContent || one.outerHTML);
        })"""
    )
    assert outside == []


def test_it_prints_without_what_paper_cannot_do(page: Page, report: Path, tmp_path: Path) -> None:
    page.show_as("print")
    page.open(report, "#costs")
    assert page.run("getComputedStyle(document.querySelector('#costs-1 .plot-readout')).display") == "none"
    assert page.run("getComputedStyle(document.querySelector('#costs-1 .plot-figures')).display") == "none"
    assert page.run("document.querySelector('#costs-1 .plot-image').getBoundingClientRect().height") > 100
    page.print_to(tmp_path / "costs.pdf")
    page.show_as()
    assert (tmp_path / "costs.pdf").read_bytes().startswith(b"%PDF")
