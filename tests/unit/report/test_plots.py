# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plots as markup."""

from __future__ import annotations

import dataclasses
import html.parser
import re
import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _report, _report_plots

SERIES = [
    {"key": "a", "title": "A", "color": 0},
    {"key": "b", "title": "B <&>", "color": 3, "style": "hatched"},
]
EVIL = "\"><script>alert(1)</script>'"


def columns(*values: t.Any, **more: t.Any) -> dict[str, t.Any]:
    """Return a block of upright bars, one for each mapping of values."""
    cols = [{"label": str(at), "title": f"day {at}", "values": own} for at, own in enumerate(values)]
    return {"kind": "plot_columns", "title": "Plot", "unit": "USD", "series": SERIES, "columns": cols, **more}


@dataclasses.dataclass
class Element:
    """An element of a picture, with the text that is in it itself."""

    name: str
    attrib: dict[str, str]
    text: str = ""


class Picture(html.parser.HTMLParser):
    """All elements of a picture, in their order. Each has to be closed."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(markup)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open.append(Element(tag, {name: str(value) for name, value in attrs}))
        self.elements.append(self._open[-1])

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().name == tag

    def handle_data(self, data: str) -> None:
        self._open[-1].text += data

    def iter(self, name: str) -> list[Element]:
        """Return the elements of a name."""
        return [one for one in self.elements if one.name == name]


def drawn(markup: str) -> Picture:
    """Return the picture of a plot."""
    (image,) = re.findall(r"<svg[^>]*plot-image.*?</svg>", markup, re.DOTALL)
    return Picture(image)


def heights(markup: str) -> list[float]:
    """Return how tall the bars are."""
    return [float(one.attrib["height"]) for one in drawn(markup).iter("rect") if "plot-bar" in one.attrib["class"]]


def labels(markup: str) -> list[str]:
    """Return what is said of each step of the arrow keys."""
    return [one.attrib["aria-label"] for one in drawn(markup).iter("g") if one.attrib.get("class") == "plot-item"]


def test_bars_are_as_tall_as_their_numbers_and_stand_on_each_other() -> None:
    markup = _report_plots.columns(columns({"a": 100.0, "b": 50.0}, {"a": 25.0}), "p")
    first, second, third = heights(markup)
    assert first == pytest.approx(2 * second)
    assert first == pytest.approx(4 * third, abs=0.02)
    below, above, _other = [one for one in drawn(markup).iter("rect") if "plot-bar" in one.attrib["class"]]
    assert float(above.attrib["y"]) + float(above.attrib["height"]) == pytest.approx(float(below.attrib["y"]), abs=0.02)
    assert above.attrib["fill"] == "url(#p-hatch-3)"
    assert [one.attrib["id"] for one in drawn(markup).iter("pattern")] == ["p-hatch-3"]


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (0.0, [0, 1]),
        (0.04, [0, 0.01, 0.02, 0.03, 0.04]),
        (1.0, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (3.0, [0, 1, 2, 3]),
        (181.0, [0, 50, 100, 150, 200]),
        (12.0, [0, 2.5, 5, 7.5, 10, 12.5]),
        (99999.0, [0, 20000, 40000, 60000, 80000, 100000]),
    ],
)
def test_round_numbers(most: float, expected: list[float]) -> None:
    markup = _report_plots.columns(columns({"a": most}), "p")
    lines = [one for one in drawn(markup).iter("line") if one.attrib["class"] == "plot-grid"]
    texts = [one.text for one in drawn(markup).iter("text") if one.attrib["class"] == "plot-tick"][1:-1]
    assert len(lines) == len(expected)
    assert [float(text.replace(",", "")) for text in texts] == expected


def test_what_is_not_known_is_a_question_mark_and_never_nothing() -> None:
    markup = _report_plots.columns(columns({"a": None}, {"a": 3.0, "b": None}, {}, sums=True), "p")
    assert [one.text for one in drawn(markup).iter("text") if one.attrib["class"] == "plot-unknown"] == ["?", "?"]
    assert labels(markup) == [
        "day 0: A not known",
        "day 1: at least 3.00 USD in all; A 3.00 USD; B <&> not known",
        "day 2: nothing",
    ]
    assert re.findall(r'<td class="number">([^<]*)</td>', markup) == [
        "not known",
        "-",
        "3.00 USD",
        "not known",
        "-",
        "-",
    ]


def test_a_credit_is_told_and_has_no_bar() -> None:
    markup = _report_plots.columns(columns({"a": -5.0, "b": 5.0}), "p")
    assert len(heights(markup)) == 1
    assert labels(markup) == ["day 0: A -5.00 USD; B <&> 5.00 USD"]


def test_what_is_open_is_marked_and_said() -> None:
    block = columns({"a": 1.0}, open_title="Not billed yet")
    assert "Not billed yet" not in _report_plots.columns(block, "p")
    block["columns"][0]["open"] = True
    markup = _report_plots.columns(block, "p")
    assert labels(markup) == ["day 0: A 1.00 USD. Not billed yet"]
    assert "<li><svg" in markup.replace("\n", "")
    assert markup.count("Not billed yet") >= 2


def test_many_columns_have_labels_that_do_not_touch() -> None:
    markup = _report_plots.columns(columns(*({"a": float(at)} for at in range(365))), "p")
    ticks = [one for one in drawn(markup).iter("text") if one.attrib.get("text-anchor") == "middle"]
    assert len(ticks) <= 32
    assert len(heights(markup)) == 364
    assert all(float(one.attrib["width"]) > 0 for one in drawn(markup).iter("rect"))


def test_lying_bars_end_where_they_should() -> None:
    rows = [
        {"label": "one", "values": {"a": 50.0}, "note": "50 % of 3 h"},
        {"label": "two", "values": {"a": 200.0}},
        {"label": "three", "values": {"a": None}, "note": "not known: no log"},
    ]
    block = {
        "kind": "plot_bars",
        "title": "Idle",
        "unit": "%",
        "places": 0,
        "most": 100,
        "series": SERIES[:1],
        "rows": rows,
    }
    markup = _report_plots.bars(block, "p")
    half, whole = [
        float(one.attrib["width"]) for one in drawn(markup).iter("rect") if "plot-bar" in one.attrib["class"]
    ]
    assert whole == pytest.approx(2 * half)
    assert labels(markup) == ["one: A 50 % (50 % of 3 h)", "two: A 200 %", "three: A not known (not known: no log)"]


def test_a_long_name_is_cut_and_told_in_full() -> None:
    name = "a node with a name that nobody would give to one, on a target"
    block = {"title": "x", "series": SERIES[:1], "rows": [{"label": name, "values": {"a": 1.0}}]}
    markup = _report_plots.bars(block, "p")
    text = next(one for one in drawn(markup).iter("text") if one.attrib["class"] == "plot-label")
    assert len(text.text) == 40
    assert f"<title>{name}</title>" in markup


def test_lines_have_gaps_and_levels() -> None:
    cols = [
        {"label": "1", "title": "day 1", "values": {"a": 10.0}},
        {"label": "2", "title": "day 2", "values": {"a": 20.0, "b": 20.0}},
        {"label": "3", "title": "day 3", "values": {"b": 40.0}},
    ]
    levels = [{"title": "Budget", "value": 100.0}]
    block = {"title": "x", "unit": "USD", "series": SERIES, "columns": cols, "levels": levels}
    image = drawn(_report_plots.lines(block, "p"))
    first, second = [one.attrib for one in image.iter("polyline")]
    assert len(first["points"].split()) == len(second["points"].split()) == 2
    assert first["points"].split()[1] == second["points"].split()[0]
    assert "is-dashed" in second["class"]
    (level,) = [one for one in image.iter("line") if one.attrib["class"] == "plot-level"]
    ground = max(float(one.attrib["y1"]) for one in image.iter("line"))
    points = [float(point.split(",")[1]) for point in second["points"].split()]
    assert (ground - points[1]) / (ground - points[0]) == pytest.approx(2, abs=0.01)
    lowest = float(first["points"].split()[0].split(",")[1])
    assert ground - float(level.attrib["y1"]) == pytest.approx(10 * (ground - lowest), abs=0.1)


@pytest.mark.parametrize("kind", ["plot_columns", "plot_lines", "plot_bars"])
def test_nothing_to_show_says_so(kind: str) -> None:
    block = {"kind": kind, "title": "x", "series": [], "columns": [], "rows": [], "levels": []}
    assert "There is nothing to show." in _report_plots.EXTENSION.kinds[kind](block, "p")


@pytest.mark.parametrize("kind", ["plot_columns", "plot_lines", "plot_bars"])
def test_whatever_is_in_a_name_is_text_and_the_policy_is_kept(kind: str) -> None:
    item = {"label": EVIL, "title": EVIL, "note": EVIL, "values": {EVIL: 1.0}, "open": True, "nothing": EVIL}
    block = {
        "kind": kind,
        "title": EVIL,
        "about": EVIL,
        "unit": EVIL,
        "open_title": EVIL,
        "item_title": EVIL,
        "series": [{"key": EVIL, "title": EVIL, "style": "hatched"}],
        "columns": [item],
        "rows": [item],
        "levels": [{"title": EVIL, "value": 3}],
    }
    tab = {"format": _report.FORMAT, "version": _report.VERSION, "id": "x", "title": "x", "blocks": [block]}
    page = _report.page([tab], extensions=[_report_plots.EXTENSION])
    assert "cannot be shown" not in page
    assert page.count("<script>") == 2
    assert not re.search(r"\sstyle=|\son\w+=|https?://", page)
    drawn(page)


def test_a_block_that_is_none_says_so() -> None:
    tab = {
        "format": _report.FORMAT,
        "version": _report.VERSION,
        "id": "x",
        "title": "x",
        "blocks": [{"kind": "plot_bars"}],
    }
    assert "(plot_bars) cannot be shown: series must be a list" in _report.page(
        [tab], extensions=[_report_plots.EXTENSION]
    )


def test_the_same_data_makes_the_same_picture() -> None:
    block = columns(*({"a": at / 3, "b": at / 7} for at in range(30)))
    assert _report_plots.columns(block, "p") == _report_plots.columns(block, "p")
    assert not re.search(r"\d\.\d{3,}", re.sub(r"<title>.*?</title>", "", _report_plots.columns(block, "p")))
