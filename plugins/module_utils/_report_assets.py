# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""How the report page looks, and what it does in a browser. All of it stands in the page itself."""

from __future__ import annotations

MARKS = """\
<svg class="sprite" aria-hidden="true" focusable="false" width="0" height="0">
<symbol id="mark-problem" viewBox="0 0 16 16">
<path d="M5 1h6l4 4v6l-4 4H5l-4-4V5z"/><path class="cut" d="M5 5l6 6M11 5l-6 6"/></symbol>
<symbol id="mark-warning" viewBox="0 0 16 16">
<path d="M8 1l7.5 14H.5z"/><path class="cut" d="M8 6v4M8 12v1.4"/></symbol>
<symbol id="mark-ok" viewBox="0 0 16 16">
<circle cx="8" cy="8" r="7.2"/><path class="cut" d="M4.5 8.3l2.6 2.6L11.6 5.6"/></symbol>
<symbol id="mark-note" viewBox="0 0 16 16">
<rect x="1.5" y="1.5" width="13" height="13" rx="2"/><path class="cut" d="M8 4v1.2M8 7v5"/></symbol>
<symbol id="mark-none" viewBox="0 0 16 16"><circle class="open" cx="8" cy="8" r="5.5"/></symbol>
</svg>
"""
"""One shape for each state, so that none is told by its colour alone."""

STYLE = """\
:root {
  color-scheme: light dark;
  --ground: #f6f7f9; --card: #ffffff; --text: #1b1f27; --quiet: #525b6b; --line: #d5dae2; --head: #eceff4;
  --accent: #1f4fa8; --problem: #a8201a; --warning: #805300; --ok: #1b6b3a; --note: #45546e; --none: #5d6675;
  --problem-ground: #fdecea; --warning-ground: #fdf3dc; --focus: #1f4fa8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171c; --card: #1c2027; --text: #e8ebf0; --quiet: #a9b2c1; --line: #363d49; --head: #252b34;
    --accent: #9dbdff; --problem: #ff9d94; --warning: #f5c465; --ok: #83d9a0; --note: #b4c3dd; --none: #98a2b3;
    --problem-ground: #3a1f1e; --warning-ground: #352b16; --focus: #9dbdff;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--text);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
.sprite { position: absolute; }
.top { display: flex; flex-wrap: wrap; gap: .3rem 1.5rem; align-items: baseline; padding: 1rem 1.5rem .7rem; }
h1 { font-size: 1.25rem; margin: 0; }
h2 { font-size: 1.35rem; margin: 0 0 .2rem; }
h3 { font-size: 1.05rem; margin: 1.4rem 0 .5rem; }
.quiet { color: var(--quiet); margin: 0; }
.tabs { display: flex; flex-wrap: wrap; gap: .25rem; padding: 0 1.5rem; border-bottom: 1px solid var(--line); }
.tabs [role=tab] {
  font: inherit; color: inherit; background: none; border: 1px solid transparent; border-bottom: 0;
  border-radius: 6px 6px 0 0; padding: .5rem 1rem; margin-bottom: -1px; cursor: pointer;
}
.tabs [aria-selected=true] { background: var(--card); border-color: var(--line); font-weight: 600; }
main { padding: 0 1.5rem 2rem; }
.panel { background: var(--card); border: 1px solid var(--line); border-top: 0; padding: 1.2rem 1.4rem 1.6rem; }
.panel[hidden] { display: none; }
.tiles { display: flex; flex-wrap: wrap; gap: .7rem; margin: 1rem 0 0; padding: 0; list-style: none; }
.tiles li { border: 1px solid var(--line); border-radius: 8px; padding: .5rem .9rem; min-width: 7.5rem; }
.tiles .value { display: block; font-size: 1.5rem; font-weight: 650; font-variant-numeric: tabular-nums; }
.tiles .label { color: var(--quiet); }
.tiles .is-problem { background: var(--problem-ground); border-color: var(--problem); }
.tiles .is-warning { background: var(--warning-ground); border-color: var(--warning); }
.notes { margin: .3rem 0 0; padding-left: 1.2rem; }
.mark {
  width: .95em; height: .95em; vertical-align: -.1em; margin-right: .4em; fill: currentColor; stroke: none; flex: none;
}
.cut {
  fill: none; stroke: var(--card); stroke-width: 1.9; stroke-linecap: round; stroke-linejoin: round;
}
.open { fill: none; stroke: currentColor; stroke-width: 2; }
.state { white-space: nowrap; font-weight: 600; }
.state-problem { color: var(--problem); } .state-warning { color: var(--warning); } .state-ok { color: var(--ok); }
.state-note { color: var(--note); } .state-none { color: var(--none); }
.tools { display: flex; flex-wrap: wrap; gap: .5rem .9rem; align-items: center; margin: .4rem 0 .6rem; }
.tools input {
  font: inherit; color: inherit; background: var(--card); border: 1px solid var(--quiet); border-radius: 6px;
  padding: .35rem .6rem; width: 17rem; max-width: 100%;
}
.tools label { display: flex; gap: .5rem; align-items: center; }
.choice { display: flex; flex-wrap: wrap; gap: .3rem; }
.choice button {
  font: inherit; color: inherit; background: none; border: 1px solid var(--line); border-radius: 999px;
  padding: .25rem .75rem; cursor: pointer;
}
.choice button[aria-pressed=true] {
  border-color: var(--accent); box-shadow: inset 0 0 0 1px var(--accent); font-weight: 600;
}
.scroll { overflow: auto; max-height: 78vh; border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: separate; border-spacing: 0; width: 100%; font-size: .92rem; }
caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
thead th {
  position: sticky; top: 0; z-index: 1; background: var(--head); border-bottom: 1px solid var(--line); padding: 0;
}
thead button {
  font: inherit; font-weight: 600; color: inherit; background: none; border: 0; width: 100%; text-align: left;
  padding: .5rem .7rem; cursor: pointer; white-space: nowrap;
}
thead .arrow { color: var(--quiet); margin-left: .35em; }
tbody th, tbody td {
  text-align: left; vertical-align: top; padding: .5rem .7rem; border-bottom: 1px solid var(--line); font-weight: 400;
}
tbody th { font-weight: 600; white-space: nowrap; }
tbody tr:last-child > * { border-bottom: 0; }
tbody tr[hidden] { display: none; }
tbody tr:hover > * { background: var(--head); }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.findings { margin: 0; padding: 0; list-style: none; min-width: 21rem; max-width: 44rem; }
.findings li + li { margin-top: .35rem; }
.finding { display: flex; }
.finding .mark { margin-top: .25em; }
.cure { color: var(--quiet); display: block; }
.line { display: block; white-space: nowrap; }
.nothing { padding: 1rem .7rem; color: var(--quiet); }
:focus-visible { outline: 3px solid var(--focus); outline-offset: 1px; }
@media print {
  :root { --ground: #fff; --card: #fff; --text: #000; --quiet: #333; --line: #999; --head: #eee;
    --problem: #8c1611; --warning: #6b4500; --ok: #14532d; --note: #333; --none: #444;
    --problem-ground: #fff; --warning-ground: #fff; }
  @page { size: A4 landscape; margin: 11mm; }
  body { font-size: 9pt; print-color-adjust: exact; }
  .top, main { padding-left: 0; padding-right: 0; }
  .tabs, .tools { display: none; }
  .tools.is-filtered { display: flex; } .tools.is-filtered .choice { display: none; }
  .panel { border: 0; padding: 0; }
  .scroll { overflow: visible; max-height: none; border: 0; }
  table { font-size: 8pt; }
  thead { display: table-header-group; } thead th { position: static; } thead .arrow { display: none; }
  thead button { white-space: normal; }
  tbody tr { break-inside: avoid; }
  thead button, tbody th, tbody td { padding: 2pt 4pt; }
  .findings { min-width: 0; }
  .line { white-space: normal; }
}
"""

SCRIPT = """\
(() => {
  "use strict";
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Tabs: the buttons of the list, arrow keys, and the address after the number sign.
  const tabs = all("[role=tab]");
  const panels = all("[role=tabpanel]");
  const choose = (tab, focus) => {
    for (const one of tabs) {
      const chosen = one === tab;
      one.setAttribute("aria-selected", String(chosen));
      one.tabIndex = chosen ? 0 : -1;
      document.getElementById(one.getAttribute("aria-controls")).hidden = !chosen;
    }
    if (focus) tab.focus();
  };
  const fromAddress = () => tabs.find((tab) => "#" + tab.dataset.tab === decodeURIComponent(location.hash));
  tabs.forEach((tab, place) => {
    tab.addEventListener("click", () => {
      choose(tab, false);
      history.replaceState(null, "", "#" + encodeURIComponent(tab.dataset.tab));
    });
    tab.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: place + 1, ArrowLeft: place - 1 + tabs.length, Home: 0, End: tabs.length - 1 };
      if (event.key in steps) {
        event.preventDefault();
        choose(tabs[steps[event.key] % tabs.length], true);
      }
    });
  });
  if (tabs.length) choose(fromAddress() || tabs[0], false);
  addEventListener("hashchange", () => { const tab = fromAddress(); if (tab) choose(tab, false); });

  // How old each tab is, in words.
  const ago = (seconds) => {
    const units = [["day", 86400], ["hour", 3600], ["minute", 60]];
    for (const [name, length] of units) {
      const count = Math.floor(seconds / length);
      if (count >= 1) return count + " " + name + (count === 1 ? "" : "s") + " ago";
    }
    return "just now";
  };
  for (const time of all("time[datetime]")) {
    const seconds = (Date.now() - Date.parse(time.getAttribute("datetime"))) / 1000;
    if (seconds >= 0) time.append(" (" + ago(seconds) + ")");
  }

  // Tables: sort by a column, filter by words and by state.
  const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  for (const box of all("[data-table]")) {
    const table = box.querySelector("table");
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const texts = rows.map((row) => row.textContent.toLowerCase());
    const tools = box.querySelector(".tools");
    const input = box.querySelector("input[type=search]");
    const choices = all(".choice button", box);
    const count = box.querySelector("[role=status]");
    const nothing = box.querySelector(".nothing");
    let state = "";
    const filter = () => {
      const words = input.value.toLowerCase().split(/\\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, place) => {
        const fits = (!state || row.dataset.state === state) && words.every((word) => texts[place].includes(word));
        row.hidden = !fits;
        if (fits) shown += 1;
      });
      count.textContent = shown === rows.length ? rows.length + " rows" : shown + " of " + rows.length + " rows";
      nothing.hidden = shown > 0;
      tools.classList.toggle("is-filtered", shown !== rows.length);
    };
    input.addEventListener("input", filter);
    for (const choice of choices) {
      choice.addEventListener("click", () => {
        state = choice.dataset.state;
        for (const one of choices) one.setAttribute("aria-pressed", String(one === choice));
        filter();
      });
    }
    const key = (cell) => {
      const told = cell.dataset.sort;
      if (told === undefined) return cell.textContent.trim();
      if (cell.dataset.number === undefined && !cell.classList.contains("number")) return told;
      return told === "" ? NaN : Number(told);
    };
    const compare = (left, right) => (typeof left === "number" ? left - right : collator.compare(left, right));
    // What is not known comes last, whichever the direction.
    const unknown = (value) => value === "" || value === "-" || Number.isNaN(value);
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      heading.querySelector("button").addEventListener("click", () => {
        const up = heading.getAttribute("aria-sort") !== "ascending";
        for (const one of headings) {
          const mine = one === heading;
          one.setAttribute("aria-sort", mine ? (up ? "ascending" : "descending") : "none");
          one.querySelector(".arrow").textContent = mine ? (up ? "\\u25b2" : "\\u25bc") : "\\u2195";
        }
        const keyed = [...body.rows].map((row) => [key(row.cells[column]), row]);
        keyed.sort(([left], [right]) => {
          if (unknown(left) || unknown(right)) return unknown(left) - unknown(right);
          return up ? compare(left, right) : compare(right, left);
        });
        body.append(...keyed.map(([, row]) => row));
      });
    });
    filter();
  }
})();
"""

__all__ = ("MARKS", "SCRIPT", "STYLE")
