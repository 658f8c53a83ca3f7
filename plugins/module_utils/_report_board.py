# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What the board brings to the report page: the kinds of blocks C(board) and C(endpoints). Pure.

C(board) is the matrix as _board makes it. Its checkboxes choose, and the page's script writes what was chosen as
C(nim_matrix), as a command and as AWX's extra variables. It takes all it needs from the block, as JSON in an attribute:
what each cell would be called in the matrix, what it costs, and whether and why it cannot be chosen.

C(endpoints) are C(groups), a list of C(node) and C(endpoints), and C(downloads), a list of C(name), C(title) and
C(content).
"""

from __future__ import annotations

import json
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _board, _report
from ansible_collections.budgetguard.techops.plugins.module_utils._report import Block, Markup, ReportError, join, tag
from ansible_collections.budgetguard.techops.plugins.module_utils._report_board_assets import PENDING, SCRIPT, STYLE

_SHAPES: t.Mapping[str, str] = {"deployed": "ok", "failed": "problem", "none": "none"}
"""Mark -> the page's own shape for it. Pending has one of its own: to wait is no warning."""

_PROVIDERS: t.Mapping[str, str] = {
    "aws": "AWS",
    "azure": "Azure",
    "gcp": "Google Cloud",
    "nvidia": "NVIDIA",
    "nvidia-hosted": "NVIDIA",
    "local": "Docker hosts",
}

_COUNTED = ("deployed", "pending", "failed", "none")


def board(block: Block, name: str) -> Markup:
    """Return the matrix with its checkboxes, and what is chosen with them."""
    nodes, targets, cells = (_report.list_of(block, key) for key in ("nodes", "targets", "cells"))
    if len(cells) != len(nodes) or any(len(row) != len(targets) for row in cells):
        raise ReportError("cells must have a row for each node and a cell for each target")
    title = str(block.get("title") or "Board")
    currency = str(block.get("currency") or "")
    rows = [
        tag(
            "tr",
            _node_heading(node, row),
            *(
                _cell(cell, f"{node} on {target['name']}", f"{name}-{row}-{column}", row, column, currency, name)
                for column, (cell, target) in enumerate(zip(cells[row], targets))
            ),
        )
        for row, node in enumerate(nodes)
    ]
    table = tag(
        "table",
        tag("caption", title),
        tag("thead", *_headings(targets)),
        tag("tbody", *rows),
        role="grid",
        class_="grid",
    )
    return tag(
        "div",
        Markup(PENDING.replace("ID", f"{name}-pending")),
        tag("h3", title),
        _legend(cells, name),
        _choose(),
        tag("div", table, class_="scroll board-scroll", role="region", aria_label=title),
        _outputs(name),
        class_="board",
        id=name,
        data_board=_data(block),
    )


def _data(block: Block) -> str:
    """Return what the script needs to know."""
    cells = [
        {
            "e": cell.get("entry") or {},
            "p": (cell.get("price") or {}).get("hourly"),
            "c": bool((cell.get("price") or {}).get("complete")),
            "r": cell.get("refused"),
            "t": bool(cell.get("ticked")),
            "m": cell.get("matrix"),
            "x": bool(cell.get("exists")),
        }
        for row in block["cells"]
        for cell in row
    ]
    data = {
        "nodes": block["nodes"],
        "targets": [[target["name"], target["provider"]] for target in block["targets"]],
        "groups": list(block.get("whole_groups") or ()),
        "cells": cells,
        "currency": block.get("currency"),
        "inventory": list(block.get("inventory") or ()),
    }
    return json.dumps(data, separators=(",", ":"), sort_keys=True)


def _shape(mark: str, name: str) -> Markup:
    if mark == "pending":
        use = tag("use", href=f"#{name}-pending")
        return tag("svg", use, class_="mark state-warning", aria_hidden="true", focusable="false")
    return _report.mark(_SHAPES.get(mark, "none"))


def _legend(cells: t.Sequence[t.Sequence[Block]], name: str) -> Markup:
    counts = {mark: sum(cell["mark"] == mark for row in cells for cell in row) for mark in _COUNTED}
    items = [
        tag("li", _shape(mark, name), f"{_board.MARKS[mark]} {count}", class_=f"mark-{mark}")
        for mark, count in counts.items()
    ]
    return tag("ul", *items, class_="legend", aria_label="Marks")


def _choose() -> Markup:
    buttons = [
        tag("button", "Select All", type="button", data_do="all"),
        tag("button", "Deselect All", type="button", data_do="none"),
        tag("button", "Reset", type="button", data_do="back"),
    ]
    sums = tag("p", tag("strong", data_sum=True), " ", tag("span", data_changes=True), role="status", class_="sum")
    refusal = tag("p", role="alert", data_refusal=True, class_="refusal")
    return tag("div", tag("div", *buttons, class_="choice", role="group", aria_label="Choose"), sums, refusal)


def _headings(targets: t.Sequence[Block]) -> list[Markup]:
    """Return the row of providers and the row of targets, each with a box for all below it."""
    providers: list[tuple[str, int]] = []
    for target in targets:
        if providers and providers[-1][0] == target["provider"]:
            providers[-1] = (target["provider"], providers[-1][1] + 1)
        else:
            providers.append((target["provider"], 1))
    corner = tag("th", "Node", rowspan=2, scope="col", class_="corner")
    first = [
        tag(
            "th",
            _all_box(
                _PROVIDERS.get(provider, provider), f"All of {_PROVIDERS.get(provider, provider)}", provider=provider
            ),
            colspan=count,
            scope="colgroup",
            class_="first",
        )
        for provider, count in providers
    ]
    second = [
        tag(
            "th",
            _all_box(target["name"], f"All on {target['name']}", column=column),
            tag("span", "Not read", title=target["problem"], class_="stale") if target.get("problem") else None,
            scope="col",
            class_="first" if column == 0 or targets[column - 1]["provider"] != target["provider"] else None,
        )
        for column, target in enumerate(targets)
    ]
    return [tag("tr", corner, *first), tag("tr", *second)]


def _all_box(text: str, label: str, **where: t.Any) -> Markup:
    data = {f"data_{key}": value for key, value in where.items()}
    return tag("label", tag("input", type="checkbox", aria_label=label, **data), tag("span", text))


def _node_heading(node: str, row: int) -> Markup:
    return tag("th", _all_box(node, f"{node} on all targets", row=row), scope="row")


def _cell(cell: Block, where: str, name: str, row: int, column: int, currency: str, board_name: str) -> Markup:
    mark = str(cell.get("mark"))
    word = _board.MARKS.get(mark, mark)
    refused = cell.get("refused")
    reason = cell.get("reason")
    does = cell["state"] if cell.get("state") and cell["state"] != mark else None
    said = f"{word}, {does}" if does else word
    described = [
        *([f"{name}-facts"] if _facts(cell, currency) else []),
        *([f"{name}-why"] if reason or refused else []),
    ]
    box = tag(
        "input",
        type="checkbox",
        aria_label=f"{where}: {said}",
        aria_describedby=" ".join(described) or None,
        aria_disabled="true" if refused else None,
        data_cell=f"{row} {column}",
        checked=bool(cell.get("ticked")),
    )
    words = [tag("span", word, class_="word"), tag("span", does, class_="does") if does else None]
    facts = _facts(cell, currency)
    why = reason
    hidden = refused if refused and not why else None
    return tag(
        "td",
        tag("label", box, _shape(mark, board_name), *words, tag("span", class_="change"), class_=f"mark-{mark}"),
        tag("span", *facts, class_="facts", id=f"{name}-facts") if facts else None,
        tag("span", why, class_="why", id=f"{name}-why") if why else None,
        _refusal(hidden, f"{name}-why", bool(cell.get("exists"))) if hidden else None,
        class_=f"cell is-{mark}",
    )


def _refusal(text: str, name: str, exists: bool) -> Markup:
    """Return why a cell cannot be chosen: in short for those who see it, and in full for a pointer and a reader."""
    short = "Cannot be chosen" if exists else "Does not fit"
    return tag("span", short, tag("span", f": {text}", class_="unseen"), class_="facts", id=name, title=text)


def _facts(cell: Block, currency: str) -> list[t.Any]:
    """Return tier, price, time and address of a cell."""
    price = cell.get("price") or {}
    facts: list[t.Any] = []
    if cell.get("refused") and not cell.get("exists"):
        return facts
    if cell.get("tier"):
        facts.append(tag("span", cell["tier"], class_="tier"))
    if price.get("hourly") is not None:
        more, note = (
            ("", None) if price.get("complete") else ("> ", "More than this: the price of a part is not known.")
        )
        facts.append(tag("span", f"{more}{price['hourly']:,.2f} {currency}/h", title=note, class_="price"))
    elif cell.get("mark") != "none" or cell.get("tier"):
        facts.append(tag("span", "price unknown", title=price.get("why"), class_="price"))
    if cell.get("since"):
        moment = str(cell["since"])
        facts.append(tag("span", f"since {moment[:16].replace('T', ' ')} UTC", class_="since"))
    if cell.get("endpoint"):
        facts.append(tag("span", cell["endpoint"], title=cell["endpoint"], class_="url"))
    return facts


_OUTPUTS = (
    ("yaml", "nim_matrix for the inventory", "nim_matrix.yml"),
    ("command", "Command", None),
    ("awx", "Extra variables for AWX", None),
    ("limit", "Limit for AWX", None),
)


def _outputs(name: str) -> Markup:
    """Return the places for what is chosen. A script fills them, so without one they say so."""
    parts = []
    for key, title, download in _OUTPUTS:
        place = f"{name}-{key}"
        parts.append(
            tag(
                "section",
                tag(
                    "div",
                    tag("h4", title, id=f"{place}-title"),
                    tag("button", "Copy", type="button", data_copy=place, aria_describedby=f"{place}-title"),
                    tag("button", f"Download {download}", type="button", data_save=place, data_name=download)
                    if download
                    else None,
                    class_="output-head",
                ),
                tag(
                    "pre", "This needs scripts.", id=place, data_out=key, tabindex="0", aria_labelledby=f"{place}-title"
                ),
                class_=f"output output-{key}",
            )
        )
    help_text = (
        "Put the YAML into the inventory, or save it as nim_matrix.yml where the command is run. Deploying makes what "
        "is ticked, removes what is unticked and there, and leaves everything else alone. It switches no GPU on; that "
        "is the playbook start."
    )
    return tag(
        "div",
        tag("h3", "What is ticked"),
        tag("p", help_text, class_="quiet"),
        tag("p", role="status", class_="quiet", data_told=True),
        *parts,
        class_="outputs",
    )


# ---- endpoints -------------------------------------------------------------------------------------------------------


def endpoints(block: Block, name: str) -> Markup:
    """Return the endpoints of each node, with buttons to copy and to save."""
    groups, downloads = _report.list_of(block, "groups"), _report.list_of(block, "downloads")
    buttons = [
        tag(
            "button",
            f"Download {item['title']}",
            type="button",
            data_save=f"{name}-file-{number}",
            data_name=item["name"],
        )
        for number, item in enumerate(downloads)
    ]
    files = [
        tag("pre", _file(item["content"]), id=f"{name}-file-{number}", hidden=True)
        for number, item in enumerate(downloads)
    ]
    return tag(
        "div",
        tag("div", *buttons, class_="choice"),
        tag("p", role="status", class_="quiet", data_told=True),
        *files,
        *(_group(group, f"{name}-{number}") for number, group in enumerate(groups)),
        class_="endpoints",
        id=name,
        data_endpoints=True,
    )


def _file(content: t.Any) -> str:
    """Return a document as the export writes it."""
    return json.dumps(content, indent=4, sort_keys=True) + "\n"


_ENDPOINT_COLUMNS = ("Target", "GPU tier", "Endpoint", "Form", "Login", "Price", "Deployed")


def _group(group: Block, name: str) -> Markup:
    rows = [_endpoint(entry, f"{name}-{number}") for number, entry in enumerate(_report.list_of(group, "endpoints"))]
    head = tag("tr", *(tag("th", text, scope="col") for text in _ENDPOINT_COLUMNS))
    table = tag("table", tag("caption", f"Endpoints of {group['node']}"), tag("thead", head), tag("tbody", *rows))
    region = tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=f"Endpoints of {group['node']}")
    return join([tag("h3", group["node"]), region])


def _endpoint(entry: Block, name: str) -> Markup:
    stale = _report.state_label("warning", "Stale") if entry.get("stale") else None
    price = entry.get("hourly_usd")
    url = str(entry.get("infer_url") or entry.get("url") or "")
    provider = _PROVIDERS.get(str(entry.get("provider")), entry.get("provider"))
    where = ", ".join(str(part) for part in (provider, entry.get("region")) if part)
    return tag(
        "tr",
        tag("th", entry.get("target"), tag("span", where, class_="cure"), scope="row"),
        tag("td", entry.get("gpu_tier") or "-"),
        tag(
            "td",
            tag("code", url, id=name, class_="url"),
            " ",
            tag("button", "Copy", type="button", data_copy=name, aria_describedby=name),
            stale,
        ),
        tag("td", entry.get("api_style") or "-"),
        tag("td", entry.get("auth") or "-"),
        tag("td", f"{price:,.2f} USD/h" if isinstance(price, (int, float)) else "-", class_="number"),
        tag("td", str(entry.get("deployed_at") or "-")[:16].replace("T", " ")),
    )


EXTENSION = _report.Extension(kinds={"board": board, "endpoints": endpoints}, style=STYLE, script=SCRIPT)

__all__ = ("EXTENSION", "board", "endpoints")
