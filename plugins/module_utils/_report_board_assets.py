# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""How the board looks, and what it does in a browser."""

from __future__ import annotations

PENDING = """\
<svg class="sprite" aria-hidden="true" focusable="false" width="0" height="0">
<symbol id="ID" viewBox="0 0 16 16">
<rect x="1" y="1" width="14" height="14" rx="3" transform="rotate(45 8 8) scale(.86) translate(1.3 1.3)"/>
<path class="cut" d="M8 4.2V8l2.6 1.7"/></symbol>
</svg>
"""
"""The shape of what is pending: a lozenge with the hands of a clock."""

STYLE = """\
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; list-style: none; margin: .2rem 0 .8rem; padding: 0; }
.legend li { font-weight: 600; }
.mark-deployed { color: var(--ok); } .mark-pending { color: var(--warning); } .mark-failed { color: var(--problem); }
.mark-none { color: var(--none); }
.board .choice button, .output button, .endpoints button {
  font: inherit; color: inherit; background: none; border: 1px solid var(--quiet); border-radius: 999px;
  padding: .2rem .75rem; cursor: pointer;
}
.endpoints td button { padding: 0 .6rem; }
.sum { margin: .6rem 0 .2rem; min-height: 1.5em; } .sum strong { font-variant-numeric: tabular-nums; }
.refusal { margin: 0 0 .4rem; min-height: 1.5em; color: var(--problem); }
.board-scroll { contain: content; }
.grid thead { position: sticky; top: 0; z-index: 3; }
.grid thead th { position: static; text-align: left; font-weight: 600; padding: .4rem .7rem; white-space: nowrap; }
.grid tbody th, .grid thead .corner { position: sticky; left: 0; z-index: 2; background: var(--head); }
.grid tbody th { border-right: 1px solid var(--line); vertical-align: top; }
.grid label { display: flex; align-items: center; gap: .35rem; cursor: pointer; }
.grid label .mark { margin: 0; }
.grid input { margin: 0; width: 1.05rem; height: 1.05rem; flex: none; accent-color: var(--accent); }
.grid input[aria-disabled=true] { opacity: .55; cursor: not-allowed; }
.grid .cell { min-width: 10.5rem; max-width: 17rem; border-left: 3px solid transparent; }
.grid .is-deployed { border-left-color: var(--ok); } .grid .is-pending { border-left-color: var(--warning); }
.grid .is-failed { border-left-color: var(--problem); background: var(--problem-ground); }
.grid tbody tr:hover > .is-failed { background: var(--problem-ground); }
.grid .word { font-weight: 600; white-space: nowrap; } .grid .is-none .word { font-weight: 400; }
.grid .change { color: var(--accent); font-weight: 600; white-space: nowrap; }
.grid .is-changed { border-left-color: var(--accent); } .grid .is-changed.is-none .word { display: none; }
.grid .does { color: var(--quiet); white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.facts { display: flex; flex-wrap: wrap; gap: 0 .7rem; padding-left: 1.4rem; color: var(--quiet); }
.facts .tier { color: var(--text); } .facts .price { font-variant-numeric: tabular-nums; white-space: nowrap; }
.facts .url {
  flex-basis: 100%; overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
  font-family: ui-monospace, monospace; font-size: .85em;
}
.why { display: block; padding-left: 1.4rem; min-width: 13rem; } .is-failed .why { color: var(--problem); }
.stale { display: block; color: var(--warning); font-weight: 600; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.cell { position: relative; }
@media (min-width: 60rem) {
  .outputs { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: 0 1.6rem; align-items: start; }
  .outputs > h3, .outputs > p { grid-column: 1 / -1; }
  .output-yaml { grid-row: span 3; }
}
.output-head { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; margin: .8rem 0 .4rem; }
.output-head h4 { margin: 0; font-size: 1rem; }
.output { content-visibility: auto; contain-intrinsic-size: auto 15rem; min-width: 0; }
.output pre {
  contain: content; margin: 0; padding: .6rem .8rem; border: 1px solid var(--line); border-radius: 6px; overflow: auto;
  max-height: 14rem; background: var(--ground); font: .88rem/1.45 ui-monospace, monospace; white-space: pre-wrap;
  overflow-wrap: anywhere;
}
.output-yaml pre, .output-awx pre { white-space: pre; overflow-wrap: normal; }
.output-yaml pre { max-height: 34rem; }
.endpoints table { table-layout: fixed; min-width: 60rem; }
.endpoints th .cure { font-weight: 400; }
.endpoints .url { overflow-wrap: anywhere; }
.endpoints thead th:nth-child(1) { width: 18%; } .endpoints thead th:nth-child(3) { width: 36%; }
.endpoints .choice { margin: 1rem 0 .3rem; }
.endpoints thead th { text-align: left; padding: .4rem .7rem; }
.endpoints .state { margin-left: .6rem; }
@media print {
  .board .choice, .outputs, .endpoints button, .sum, .refusal { display: none; }
  .grid thead { position: static; } .grid tbody th, .grid thead .corner { position: static; }
  .grid .cell { min-width: 0; } .board-scroll { contain: none; }
}
"""

SCRIPT = """\
(() => {
  "use strict";
  const all = (selector, root) => [...root.querySelectorAll(selector)];

  // ---- to copy and to save, on the board and among the endpoints ----
  const tell = (button, text) => {
    const place = button.closest("[data-board], [data-endpoints]").querySelector("[data-told]");
    place.textContent = text;
  };
  const copyBySelection = (element) => {
    const range = document.createRange();
    range.selectNodeContents(element);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    const done = document.execCommand("copy");
    selection.removeAllRanges();
    return done;
  };
  const copy = async (button) => {
    const element = document.getElementById(button.dataset.copy);
    let done = false;
    try {
      // There is none on a page that came by plain HTTP.
      await navigator.clipboard.writeText(element.textContent);
      done = true;
    } catch {
      done = copyBySelection(element);
    }
    tell(button, done ? "Copied." : "The browser did not allow it. Select the text, and copy it by hand.");
  };
  const save = (button) => {
    const text = document.getElementById(button.dataset.save).textContent;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/octet-stream" }));
    link.download = button.dataset.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    tell(button, button.dataset.name + " is in the browser's downloads.");
  };
  for (const root of all("[data-board], [data-endpoints]", document)) {
    root.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button && button.dataset.copy) copy(button);
      if (button && button.dataset.save) save(button);
    });
  }

  // ---- YAML, JSON and words for a shell ----
  const WORDS = new Set(["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"]);
  const scalar = (value) => {
    if (typeof value !== "string") return JSON.stringify(value);
    const plain = /^[A-Za-z][A-Za-z0-9 _.-]*[A-Za-z0-9]$/.test(value) && !WORDS.has(value.toLowerCase());
    return plain ? value : JSON.stringify(value);
  };
  const flow = (value) => {
    if (Array.isArray(value)) return "[" + value.map(flow).join(", ") + "]";
    if (value === null || typeof value !== "object") return scalar(value);
    return "{" + Object.entries(value).map(([key, one]) => scalar(key) + ": " + flow(one)).join(", ") + "}";
  };
  const word = (text) => (/^[A-Za-z0-9_.,:/@=+-]+$/.test(text) ? text : "'" + text.replaceAll("'", "'\\\\''") + "'");

  for (const board of all("[data-board]", document)) {
    const data = JSON.parse(board.dataset.board);
    const { nodes, targets, cells } = data;
    const width = targets.length;
    const boxes = all("input[data-cell]", board);
    const heads = all("thead input, tbody th input", board);
    const out = (name) => board.querySelector("[data-out=" + name + "]");
    const places = { yaml: out("yaml"), command: out("command"), awx: out("awx"), limit: out("limit") };
    const sum = board.querySelector("[data-sum]");
    const changes = board.querySelector("[data-changes]");
    const refusal = board.querySelector("[data-refusal]");
    const ticked = cells.map((cell) => cell.t);
    const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };

    // Which cells a box in a heading is about; those that cannot be chosen are never among them.
    const members = heads.map((head) => {
      const { row, column, provider } = head.dataset;
      return cells.map((cell, place) => place).filter((place) => !cells[place].r && (
        row !== undefined ? Math.floor(place / width) === Number(row)
          : column !== undefined ? place % width === Number(column)
            : targets[place % width][1] === provider));
    });

    // What the matrix says of a cell: an entry, "absent", or nothing.
    const says = (place) => {
      const cell = cells[place];
      if (ticked[place]) return Object.keys(cell.e).length ? cell.e : "present";
      if (cell.r) return cell.m === "absent" ? "absent" : undefined;
      return cell.x || cell.m ? "absent" : undefined;
    };

    // The provider's group stands for its hosts where all of them are to be the same.
    const matrix = () => {
      const found = {};
      nodes.forEach((node, row) => {
        const places = {};
        const byProvider = new Map();
        targets.forEach(([name, provider], column) => {
          const entry = says(row * width + column);
          if (!byProvider.has(provider)) byProvider.set(provider, []);
          byProvider.get(provider).push([name, entry]);
        });
        for (const [provider, hosts] of byProvider) {
          const forms = new Set(hosts.map(([, entry]) => JSON.stringify(entry)));
          if (forms.size === 1 && hosts.length > 1 && hosts[0][1] !== undefined && data.groups.includes(provider)) {
            places[provider] = hosts[0][1];
          } else {
            for (const [name, entry] of hosts) if (entry !== undefined) places[name] = entry;
          }
        }
        if (Object.keys(places).length) found[node] = places;
      });
      return found;
    };
    const yaml = (found) => {
      const lines = ["---", Object.keys(found).length ? "nim_matrix:" : "nim_matrix: {}"];
      for (const [node, places] of Object.entries(found)) {
        lines.push("  " + scalar(node) + ":");
        for (const [place, entry] of Object.entries(places)) lines.push("    " + scalar(place) + ": " + flow(entry));
      }
      return lines.join("\\n") + "\\n";
    };

    const money = (value) => value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
    const show = () => {
      let count = 0, hourly = 0, unknown = 0, more = false;
      const changedNodes = new Set(), changedTargets = new Set();
      let added = 0, removed = 0;
      cells.forEach((cell, place) => {
        if (ticked[place]) {
          count += 1;
          if (cell.p === null) unknown += 1; else { hourly += cell.p; more = more || !cell.c; }
        }
        if (ticked[place] !== cell.t) {
          if (ticked[place]) added += 1; else removed += 1;
          changedNodes.add(nodes[Math.floor(place / width)]);
          changedTargets.add(targets[place % width][0]);
        }
      });
      heads.forEach((head, number) => {
        const mine = members[number];
        const on = mine.reduce((total, place) => total + ticked[place], 0);
        const full = mine.length > 0 && on === mine.length;
        const part = on > 0 && !full;
        if (head.checked !== full) head.checked = full;
        if (head.indeterminate !== part) head.indeterminate = part;
      });
      const sign = more ? "> " : "";
      put(sum, count + " ticked: " + sign + money(hourly) + " " + data.currency + " an hour, " + sign
        + money(hourly * 730) + " " + data.currency + " a month while all of them run."
        + (unknown ? " Without " + unknown + " whose price is not known." : ""));
      const told = [added ? added + " more" : "", removed ? removed + " fewer" : ""].filter(Boolean).join(", ");
      put(changes, told ? "Changed: " + told + "." : "Nothing is changed.");
      const found = matrix();
      put(places.yaml, yaml(found));
      const names = [...changedNodes], limit = [...changedTargets].join(",");
      const inventory = data.inventory.map((source) => " -i " + word(source)).join("");
      const narrow = names.length
        ? " -e " + word(JSON.stringify({ nim_nodes: names })) + " --limit " + word(limit) : "";
      put(places.command,
        "ansible-playbook budgetguard.techops.deploy" + inventory + " -e @nim_matrix.yml" + narrow + "\\n");
      const extra = names.length ? { nim_matrix: found, nim_nodes: names } : { nim_matrix: found };
      put(places.awx, JSON.stringify(extra, null, 2) + "\\n");
      put(places.limit, limit || "nim_providers");
    };

    // A cell that is to become another one says so, beside what it is now.
    const labels = boxes.map((box) => box.getAttribute("aria-label"));
    const showCell = (place) => {
      const cell = boxes[place].closest("td");
      const changed = ticked[place] !== cells[place].t;
      const text = !changed ? "" : ticked[place] ? "To be deployed" : cells[place].x ? "To be removed" : "Not wanted";
      cell.classList.toggle("is-changed", changed);
      put(cell.querySelector(".change"), text);
      boxes[place].setAttribute("aria-label", labels[place] + (changed ? ". " + text : ""));
    };
    const set = (list, on) => {
      for (const place of list) {
        if (cells[place].r || ticked[place] === on) continue;
        ticked[place] = on;
        boxes[place].checked = on;
        showCell(place);
      }
    };
    const everything = cells.map((cell, place) => place);
    board.addEventListener("click", (event) => {
      const what = event.target.dataset && event.target.dataset.do;
      if (!what) return;
      if (what === "back") everything.forEach((place) => set([place], cells[place].t));
      else set(everything, what === "all");
      put(refusal, "");
      show();
    });
    board.addEventListener("change", (event) => {
      const box = event.target;
      put(refusal, "");
      if (box.dataset.cell !== undefined) {
        const [row, column] = box.dataset.cell.split(" ").map(Number);
        const place = row * width + column;
        if (cells[place].r) {
          box.checked = false;
          put(refusal, nodes[row] + " on " + targets[column][0] + " cannot be chosen: " + cells[place].r);
          return;
        }
        ticked[place] = box.checked;
        showCell(place);
      } else {
        const mine = members[heads.indexOf(box)];
        set(mine, box.checked);
        if (!mine.length) put(refusal, box.getAttribute("aria-label") + ": nothing there can be chosen.");
      }
      show();
    });

    // One box at a time is in the order of tabs, and the arrows go to the others.
    const lines = all("tr", board.querySelector("table")).map((line) => all("input", line));
    let current = boxes[0] || heads[0];
    for (const box of [...heads, ...boxes]) box.tabIndex = box === current ? 0 : -1;
    const go = (box) => {
      if (!box) return;
      current.tabIndex = -1;
      current = box;
      current.tabIndex = 0;
      current.focus();
    };
    const cellAt = (row, column) => boxes[row * width + column];
    const boxAbove = (column) => heads.find((head) => head.dataset.column === String(column));
    const boxBeside = (row) => heads.find((head) => head.dataset.row === String(row));
    const boxOver = (provider) => heads.find((head) => head.dataset.provider === provider);
    const steps = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
    const next = (box, [down, right]) => {
      const { cell, row, column, provider } = box.dataset;
      if (cell !== undefined) {
        const [r, c] = cell.split(" ").map(Number);
        if (right) return c + right < 0 ? boxBeside(r) : c + right < width ? cellAt(r, c + right) : null;
        return r + down < 0 ? boxAbove(c) : r + down < nodes.length ? cellAt(r + down, c) : null;
      }
      if (row !== undefined) {
        return right > 0 ? cellAt(Number(row), 0) : right < 0 ? null : boxBeside(Number(row) + down);
      }
      if (column !== undefined) {
        const c = Number(column);
        return down > 0 ? cellAt(0, c) : down < 0 ? boxOver(targets[c][1]) : boxAbove(c + right);
      }
      const first = targets.findIndex((target) => target[1] === provider);
      if (down > 0) return boxAbove(first);
      const line = lines[0];
      return right ? line[line.indexOf(box) + right] : null;
    };
    board.querySelector("table").addEventListener("keydown", (event) => {
      if (event.target.type !== "checkbox" || event.ctrlKey || event.altKey || event.metaKey) return;
      const box = event.target;
      const line = lines.find((boxesOfLine) => boxesOfLine.includes(box));
      const to = event.key in steps ? next(box, steps[event.key])
        : event.key === "Home" ? line[0] : event.key === "End" ? line[line.length - 1] : undefined;
      if (to === undefined) return;
      event.preventDefault();
      go(to);
    });
    board.querySelector("table").addEventListener("focusin", (event) => {
      if (event.target.type !== "checkbox" || event.target === current) return;
      current.tabIndex = -1;
      current = event.target;
      current.tabIndex = 0;
    });
    for (const box of boxes) box.checked = ticked[Number(box.dataset.cell.split(" ")[0]) * width
      + Number(box.dataset.cell.split(" ")[1])];
    show();
  }
})();
"""

__all__ = ("PENDING", "SCRIPT", "STYLE")
