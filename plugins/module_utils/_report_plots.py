# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Plots for the report page: pictures in SVG, made of the data of a tab. Pure.

Kinds of blocks, see the functions of those names: C(plot_columns), C(plot_bars) and C(plot_lines). All of them have
C(title), C(about) (a sentence below it), C(unit) (what stands after a number), C(places) (after the point), and
C(item_title), what stands above the names of columns or rows in the table, by default Day.

C(series) is a list of C(key), C(title), C(color) (0 to 7, of which 7 is for what is no series of its own) and
C(style): C(solid), or C(hatched) for what is an estimate or a forecast. A value that is None is not known: it is told
as such, and drawn as a question mark, never as nothing. With C(sums) the sum of the series is told, too.

Each plot is one stop of the tabulator. The arrow keys go through what is in it, and its figures stand below in words;
so do those that the mouse points at. A table below has all figures, for those who do not see the plot.
"""

from __future__ import annotations

import math
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _report
from ansible_collections.budgetguard.techops.plugins.module_utils._report import Block, Markup, tag

WIDTH = 960
COLORS = 8
UNKNOWN = "not known"

_TOP, _BOTTOM, _LEFT, _RIGHT = 22, 26, 74, 16
_HEIGHT = 300
_LABEL, _ROW, _BAR, _VALUE = 290, 30, 18, 150
_LETTERS = 40
_MOST_LABELS = 32
_TICKS = 5


def columns(block: Block, name: str) -> Markup:
    """Return upright bars, stacked, with time from left to right.

    C(columns): a list of C(label), C(title) (the label in full), C(values) (series to number or None), C(nothing) (what
    is said if there is no value), and C(open), true for one that is not complete. C(open_title) says what that means.
    """
    series, cols = _list(block, "series"), _list(block, "columns")
    top, ticks = _scale(max((_height(column, series) for column in cols), default=0.0))
    width = (WIDTH - _LEFT - _RIGHT) / max(1, len(cols))
    items = []
    for place, column in enumerate(cols):
        left = _LEFT + place * width
        parts = [_ground(left, width, column)]
        level = 0.0
        for one in series:
            value = column["values"].get(one["key"])
            if value is None or value <= 0:
                continue
            low, high = _y(level, top), _y(level + value, top)
            said = f"{column['title']}, {one['title']}: {_amount(block, value)}"
            parts.append(_segment(name, one, left + 0.12 * width, high, 0.76 * width, low - high, said))
            level += value
        if any(value is None for value in column["values"].values()):
            parts.append(_text("?", left + width / 2, _y(level, top) - 5, "plot-unknown", anchor="middle"))
        items.append(_item(parts, f"{column['title']}: {_told(block, column, series)}", place))
    body = [_hatches(name, series), _axes(block, top, ticks), *items, _labels(cols, width)]
    return _plot(block, name, body, cols, _HEIGHT)


def bars(block: Block, name: str) -> Markup:
    """Return bars that lie, one below the other.

    C(rows): a list of C(label), C(values) (series to number or None) and C(note), what stands after the bar instead of
    the sum, such as why it is not known. C(most) is the number at the right end; by default the largest sum.
    """
    series, rows = _list(block, "series"), _list(block, "rows")
    most = float(block.get("most") or max((_height(row, series) for row in rows), default=0.0)) or 1.0
    room = WIDTH - _LABEL - _VALUE - _RIGHT
    items = []
    for place, row in enumerate(rows):
        y = 4 + place * _ROW
        label = str(row["label"])
        parts = [
            tag("rect", x=0, y=y, width=WIDTH, height=_ROW - 2, class_="plot-hit"),
            _text(_short(label), _LABEL - 10, y + _ROW / 2 + 4, "plot-label", anchor="end", title=label),
        ]
        x = float(_LABEL)
        for one in series:
            value = row["values"].get(one["key"])
            if value is None or value <= 0:
                continue
            length = room * min(value, most) / most
            said = f"{label}, {one['title']}: {_amount(block, value)}"
            parts.append(_segment(name, one, x, y + (_ROW - 2 - _BAR) / 2, length, _BAR, said))
            x += length
        after = row.get("note") or _amount(block, _height(row, series) if _is_known(row) else None)
        parts.append(_text(_short(str(after), 60), x + 8, y + _ROW / 2 + 4, "plot-value", title=str(after)))
        items.append(_item(parts, f"{label}: {_told(block, row, series)}{_noted(row)}", place))
    body = [_hatches(name, series), *items]
    return _plot(block, name, body, rows, 8 + _ROW * len(rows))


def lines(block: Block, name: str) -> Markup:
    """Return lines over time.

    C(columns): a list of C(label), C(title) and C(values), as of C(plot_columns); a line has a gap where its value is
    left out. C(levels): a list of C(title) and C(value), lines across the whole plot, such as a budget.
    """
    series, cols, levels = _list(block, "series"), _list(block, "columns"), _list(block, "levels")
    values = [value for column in cols for value in column["values"].values() if value is not None]
    top, ticks = _scale(max([*values, *(level["value"] for level in levels)], default=0.0))
    width = (WIDTH - _LEFT - _RIGHT) / max(1, len(cols))
    paths: list[Markup] = []
    for one in series:
        points = [
            (_LEFT + (place + 0.5) * width, _y(column["values"][one["key"]], top))
            for place, column in enumerate(cols)
            if column["values"].get(one["key"]) is not None
        ]
        style = "plot-line is-dashed" if one.get("style") == "hatched" else "plot-line"
        drawn = " ".join(f"{_at(x)},{_at(y)}" for x, y in points)
        if points:
            paths.append(tag("polyline", points=drawn, class_=f"{style} stroke-{_color(one)}"))
            x, y = points[-1]
            paths.append(tag("circle", cx=_at(x), cy=_at(y), r=3.5, class_=f"fill-{_color(one)}"))
    for level in levels:
        y = _y(level["value"], top)
        paths.append(tag("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=_at(y), y2=_at(y), class_="plot-level"))
        said = f"{level['title']}: {_amount(block, level['value'])}"
        paths.append(_text(said, _LEFT + 6, y - 5, "plot-level-name", title=said))
    items = []
    for place, column in enumerate(cols):
        parts = [_ground(_LEFT + place * width, width, column)]
        items.append(_item(parts, f"{column['title']}: {_told(block, column, series)}", place))
    body = [_axes(block, top, ticks), *items, tag("g", *paths, class_="plot-above"), _labels(cols, width)]
    return _plot(block, name, body, cols, _HEIGHT)


# ---- parts -----------------------------------------------------------------------------------------------------------


def _plot(block: Block, name: str, body: t.Sequence[Markup], items: t.Sequence[Block], height: int) -> Markup:
    """Return a picture with all that stands around it. ``items`` are its columns or rows."""
    series = _list(block, "series")
    legend, figures = _legend(block, series, items), _figures(items, series, block)
    heads = [str(block.get("item_title") or "Day"), *(str(one["title"]) for one in series)]
    title = str(block.get("title") or "Plot")
    image = tag(
        "svg",
        *body,
        viewBox=f"0 0 {WIDTH} {height}",
        class_="plot-image is-time" if height == _HEIGHT else "plot-image",
        preserveAspectRatio="xMinYMid meet",
        role="group",
        aria_label=f"{title}. Arrow keys go through it; a table below has the figures.",
    )
    head = tag(
        "thead",
        tag("tr", *(tag("th", text, scope="col", class_="number" if at else None) for at, text in enumerate(heads))),
    )
    rows = [
        tag("tr", tag("th", row[0], scope="row"), *(tag("td", text, class_="number") for text in row[1:]))
        for row in figures
    ]
    table = tag("table", tag("caption", f"Figures of: {title}"), head, tag("tbody", *rows))
    region = tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=f"Figures of: {title}")
    return tag(
        "div",
        tag("h3", title),
        tag("p", block["about"], class_="quiet") if block.get("about") else None,
        legend,
        tag("div", image, class_="plot-box") if figures else tag("p", "There is nothing to show.", class_="quiet"),
        tag("p", class_="plot-readout", aria_hidden="true") if figures else None,
        tag("details", tag("summary", "Figures of this plot"), region, class_="plot-figures") if figures else None,
        class_="plot",
        id=name,
        data_plot=True,
    )


def _item(parts: t.Sequence[Markup], said: str, place: int) -> Markup:
    """Return what one step of the arrow keys is about."""
    title = tag("title", said)
    return tag("g", title, *parts, class_="plot-item", role="img", aria_label=said, tabindex="-1" if place else "0")


def _ground(left: float, width: float, column: Block) -> Markup:
    kind = "plot-hit is-open" if column.get("open") else "plot-hit"
    return tag("rect", x=_at(left), y=_TOP, width=_at(width), height=_HEIGHT - _TOP - _BOTTOM, class_=kind)


def _segment(name: str, one: Block, x: float, y: float, width: float, height: float, said: str) -> Markup:
    color = _color(one)
    hatched = one.get("style") == "hatched"
    return tag(
        "rect",
        tag("title", said),
        x=_at(x),
        y=_at(y),
        width=_at(max(width, 0.5)),
        height=_at(max(height, 0.5)),
        fill=f"url(#{name}-hatch-{color})" if hatched else None,
        class_=f"plot-bar stroke-{color}" if hatched else f"plot-bar fill-{color}",
    )


def _hatches(name: str, series: t.Sequence[Block]) -> Markup:
    """Return the patterns for what is an estimate, one for each colour."""
    colors = sorted({_color(one) for one in series if one.get("style") == "hatched"})
    patterns = [
        tag(
            "pattern",
            tag("rect", width=6, height=6, class_=f"fill-{color} is-faint"),
            tag("path", d="M-1 1l2-2M0 6l6-6M5 7l2-2", class_=f"plot-hatch stroke-{color}"),
            id=f"{name}-hatch-{color}",
            width=6,
            height=6,
            patternUnits="userSpaceOnUse",
        )
        for color in colors
    ]
    return tag("defs", *patterns)


def _axes(block: Block, top: float, ticks: t.Sequence[float]) -> Markup:
    """Return the lines across, each with its number."""
    step = ticks[1] if len(ticks) > 1 else 1.0
    places = max(0, -math.floor(math.log10(step))) if step < 1 else (1 if step % 1 else 0)
    parts: list[Markup] = [_text(str(block.get("unit") or ""), _LEFT - 8, 12, "plot-tick", anchor="end")]
    for tick in ticks:
        y = _y(tick, top)
        parts.append(tag("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=_at(y), y2=_at(y), class_="plot-grid"))
        parts.append(_text(f"{tick:,.{places}f}", _LEFT - 8, y + 4, "plot-tick", anchor="end"))
    return tag("g", *parts, aria_hidden="true")


def _labels(cols: t.Sequence[Block], width: float) -> Markup:
    """Return what stands below the columns; of many only some."""
    every = math.ceil(len(cols) / _MOST_LABELS) or 1
    texts = [
        _text(str(column["label"]), _LEFT + (place + 0.5) * width, _HEIGHT - 8, "plot-tick", anchor="middle")
        for place, column in enumerate(cols)
        if place % every == 0
    ]
    return tag("g", *texts, aria_hidden="true")


def _legend(block: Block, series: t.Sequence[Block], cols: t.Sequence[Block]) -> Markup | None:
    entries = [
        tag(
            "li",
            tag("svg", _sample(one), class_="plot-key", viewBox="0 0 14 14", aria_hidden="true", focusable="false"),
            one["title"],
        )
        for one in series
    ]
    if block.get("open_title") and any(column.get("open") for column in cols):
        ground = tag("rect", width=14, height=14, class_="plot-hit is-open")
        shape = tag("svg", ground, class_="plot-key", viewBox="0 0 14 14", aria_hidden="true", focusable="false")
        entries.append(tag("li", shape, block["open_title"]))
    return tag("ul", *entries, class_="plot-legend") if entries else None


def _sample(one: Block) -> Markup:
    """Return a small piece of a series, for the legend."""
    color = _color(one)
    if one.get("style") != "hatched":
        return tag("rect", width=14, height=14, class_=f"fill-{color}")
    ground = tag("rect", width=14, height=14, class_=f"fill-{color} is-faint")
    return _report.join([ground, tag("path", d="M0 7l7-7M0 14l14-14M7 14l7-7", class_=f"plot-hatch stroke-{color}")])


def _text(text: str, x: float, y: float, kind: str, anchor: str | None = None, title: str | None = None) -> Markup:
    said = tag("title", title) if title and title != text else None
    return tag("text", said, text, x=_at(x), y=_at(y), class_=kind, text_anchor=anchor)


# ---- figures ---------------------------------------------------------------------------------------------------------


def _figures(items: t.Sequence[Block], series: t.Sequence[Block], block: Block) -> list[list[str]]:
    """Return the rows of the table."""
    return [
        [str(item.get("title") or item["label"]), *(_figure(block, item, one["key"]) for one in series)]
        for item in items
    ]


def _figure(block: Block, item: Block, key: str) -> str:
    return _amount(block, item["values"][key]) if key in item["values"] else "-"


def _told(block: Block, item: Block, series: t.Sequence[Block]) -> str:
    """Say what a column or row has, its sum first."""
    parts = [
        f"{one['title']} {_amount(block, item['values'][one['key']])}"
        for one in series
        if one["key"] in item["values"] and item["values"][one["key"]] != 0
    ]
    own = "; ".join(parts) or str(item.get("nothing") or "nothing")
    if block.get("sums") and len(parts) > 1:
        least = "" if _is_known(item) else "at least "
        own = f"{least}{_amount(block, _height(item, series))} in all; {own}"
    return f"{own}. {block['open_title']}" if item.get("open") and block.get("open_title") else own


def _noted(row: Block) -> str:
    return f" ({row['note']})" if row.get("note") else ""


def _is_known(item: Block) -> bool:
    return all(value is not None for value in item["values"].values())


def _height(item: Block, series: t.Sequence[Block]) -> float:
    values = (item["values"].get(one["key"]) for one in series)
    return float(sum(max(0.0, value) for value in values if value is not None))


def _amount(block: Block, value: t.Any) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:,.{int(block.get('places', 2))}f} {block.get('unit') or ''}".rstrip()


def _scale(most: float) -> tuple[float, list[float]]:
    """Return the number at the top, and round numbers up to it."""
    if not most > 0:
        return 1.0, [0.0, 1.0]
    rough = most / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999999)
    count = math.ceil(most / step - 1e-9)
    return step * count, [round(step * number, 10) for number in range(count + 1)]


def _y(value: float, top: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * max(0.0, value) / top


def _at(value: float) -> str:
    """Write a coordinate, the same on every machine."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _short(text: str, most: int = _LETTERS) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}\u2026"


def _color(one: Block) -> int:
    return int(one.get("color") or 0) % COLORS


def _list(block: Block, key: str) -> list[t.Any]:
    found = block.get(key)
    if not isinstance(found, (list, tuple)):
        raise _report.ReportError(f"{key} must be a list")
    return list(found)


STYLE = """\
.plot {
  --c0: #1f4fa8; --c1: #b85c00; --c2: #1b7a4b; --c3: #8439b5; --c4: #007a8a; --c5: #b3285a; --c6: #746500;
  --c7: #6b7482; --open: #e4e8ef; break-inside: avoid;
}
@media (prefers-color-scheme: dark) {
  .plot {
    --c0: #84adff; --c1: #ffb066; --c2: #6ed6a0; --c3: #cf9dff; --c4: #62cddd; --c5: #ff92b4; --c6: #d8c950;
    --c7: #a3adbb; --open: #303844;
  }
}
.fill-0 { fill: var(--c0); } .fill-1 { fill: var(--c1); } .fill-2 { fill: var(--c2); } .fill-3 { fill: var(--c3); }
.fill-4 { fill: var(--c4); } .fill-5 { fill: var(--c5); } .fill-6 { fill: var(--c6); } .fill-7 { fill: var(--c7); }
.stroke-0 { stroke: var(--c0); } .stroke-1 { stroke: var(--c1); } .stroke-2 { stroke: var(--c2); }
.stroke-3 { stroke: var(--c3); } .stroke-4 { stroke: var(--c4); } .stroke-5 { stroke: var(--c5); }
.stroke-6 { stroke: var(--c6); } .stroke-7 { stroke: var(--c7); }
.is-faint { fill-opacity: .22; }
.plot-box { overflow-x: auto; }
.plot-image { display: block; width: 100%; min-width: 40rem; max-width: 75rem; height: auto; font-size: 12.5px; }
.plot-image text { fill: var(--text); }
.plot-image .plot-tick { fill: var(--quiet); font-variant-numeric: tabular-nums; }
.plot-value { font-variant-numeric: tabular-nums; }
.plot-image .plot-unknown, .plot-image .plot-level-name { font-weight: 600; }
.plot-image .plot-level-name { fill: var(--problem); paint-order: stroke; stroke: var(--card); stroke-width: 4px; }
.plot-grid { stroke: var(--line); stroke-width: 1; }
.plot-level { stroke: var(--problem); stroke-width: 2; stroke-dasharray: 10 4; }
.plot-line { fill: none; stroke-width: 2.5; stroke-linejoin: round; } .plot-line.is-dashed { stroke-dasharray: 3 5; }
.plot-above { pointer-events: none; }
.plot-hatch { fill: none; stroke-width: 1.6; }
.plot-bar { stroke-width: 1; }
.plot-hit { fill: transparent; stroke: transparent; stroke-width: 2; } .plot-hit.is-open { fill: var(--open); }
.plot-key .plot-hit { stroke: var(--line); } .plot-item:hover .plot-hit { stroke: var(--line); }
.plot-item:focus { outline: none; } .plot-item:focus .plot-hit { stroke: var(--focus); }
.plot-legend { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: .3rem 0 .5rem; padding: 0; list-style: none; }
.plot-key { width: .9em; height: .9em; margin-right: .4em; vertical-align: -.1em; }
.plot-readout { margin: .2rem 0 0; min-height: 1.45em; color: var(--quiet); }
.plot-figures { margin: .1rem 0 .3rem; } .plot-figures summary { cursor: pointer; color: var(--accent); }
.plot-figures .scroll { max-height: 22rem; margin-top: .4rem; }
.plot-figures thead th { padding: .5rem .7rem; text-align: left; font-weight: 600; }
.plot-figures thead .number { text-align: right; }
@media print {
  .plot {
    --c0: #1f4fa8; --c1: #b85c00; --c2: #1b7a4b; --c3: #8439b5; --c4: #007a8a; --c5: #b3285a; --c6: #746500;
    --c7: #6b7482; --open: #e4e8ef;
  }
  .plot-image { min-width: 0; } .plot-image.is-time { max-height: 62mm; }
  .plot-readout, .plot-figures { display: none; }
}
"""

SCRIPT = """\
(() => {
  "use strict";
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  for (const plot of document.querySelectorAll("[data-plot]")) {
    const items = [...plot.querySelectorAll(".plot-item")];
    const readout = plot.querySelector(".plot-readout");
    const hint = "Point at the plot, or reach it with the tabulator and use the arrow keys, to read its figures.";
    const tell = (item) => { readout.textContent = item ? item.getAttribute("aria-label") : hint; };
    const move = (place) => {
      items.forEach((item, number) => item.setAttribute("tabindex", number === place ? "0" : "-1"));
      items[place].focus();
    };
    items.forEach((item, place) => {
      item.addEventListener("focus", () => tell(item));
      item.addEventListener("blur", () => tell(null));
      item.addEventListener("mouseenter", () => tell(item));
      item.addEventListener("mouseleave", () => tell(items.find((one) => one === document.activeElement)));
      item.addEventListener("keydown", (event) => {
        let to = null;
        if (event.key in steps) to = place + steps[event.key];
        if (event.key === "Home") to = 0;
        if (event.key === "End") to = items.length - 1;
        if (to === null) return;
        event.preventDefault();
        move((to + items.length) % items.length);
      });
    });
    if (items.length) tell(null);
  }
})();
"""

EXTENSION = _report.Extension(
    kinds={"plot_bars": bars, "plot_columns": columns, "plot_lines": lines}, style=STYLE, script=SCRIPT
)
"""What this brings to the page."""

__all__ = ("COLORS", "EXTENSION", "bars", "columns", "lines")
