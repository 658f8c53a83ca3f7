# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""One HTML page of several tabs, each made of data. Pure: tabs in, text out.

A tab is a mapping that is written as JSON beside the page, so that each run can put its own tab in and leave the rest:

* C(format), C(version): FORMAT and VERSION. C(id), C(title), C(order): its name, what stands on it, where it comes
* C(generated_at): a time in UTC. C(time_means): what stands before it, C(As of) by default. C(made_by): which playbook
  made it
* C(state): one of STATES, shown on the tab. C(headline): one sentence that says how things are
* C(blocks): a list of mappings, each with C(kind). The rest of it depends on the kind

This file has the kinds C(tiles), C(notes) and C(table), see the functions of those names. Another part of the
collection brings kinds of its own, such as plots, as an Extension: functions from a block to markup, with a style and a
script. A tab holds data alone, never markup: what makes markup of it is here, in code. Markup is made by C(tag), which
escapes whatever is not markup already. The page's Content-Security-Policy allows the page's own style and scripts by
their hashes, and nothing else: no address, no style or script in an attribute.

The page needs no network and no other file. Without scripts it shows all tabs one below the other.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._report_assets import MARKS, SCRIPT, STYLE

FORMAT, VERSION = "budgetguard-report-tab", 1

STATES: t.Mapping[str, str] = {
    "problem": "Problem",
    "warning": "Warning",
    "note": "Note",
    "ok": "OK",
    "none": "-",
}
"""State -> what it is called, the worst first."""

_VOID = ("input", "link", "meta")
_WORST_FIRST = tuple(STATES)

Block = t.Mapping[str, t.Any]


class ReportError(ValueError):
    """A tab is not what it should be. The text says where."""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Renderer = t.Callable[[Block, str], Markup]
"""Makes markup of a block. The second argument is a name that is the block's own on the page, for ids."""


@dataclasses.dataclass(frozen=True)
class Extension:
    """What another part of the collection brings to the page: kinds of blocks, and what they need in a browser.

    C(script) runs after the page's own one and must be complete in itself. It finds its blocks by their markup.
    """

    kinds: t.Mapping[str, Renderer] = dataclasses.field(default_factory=dict)
    style: str = ""
    script: str = ""


def tag(element: str, /, *children: t.Any, **attributes: t.Any) -> Markup:
    """Return an element. Children and attributes are escaped, unless they are markup.

    An attribute that is None or False is left out, one that is True has no value. C(class_) is C(class), and C(_) in a
    name is C(-).
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if element in _VOID:
        return Markup(f"<{element}{written}>")
    return Markup(f"<{element}{written}>{join(children)}</{element}>")


def _attribute(key: str, value: t.Any) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(str(value), quote=True)}"'


def join(children: t.Iterable[t.Any]) -> Markup:
    """Return the children one after the other. None is nothing."""
    return Markup("".join(escaped(child) for child in children if child is not None))


def escaped(child: t.Any) -> Markup:
    """Return something as markup."""
    return child if isinstance(child, Markup) else Markup(html.escape(str(child), quote=True))


def mark(state: str) -> Markup:
    """Return the shape of a state. Its name has to stand beside it, or in the text."""
    known = state if state in STATES else "none"
    use = tag("use", href=f"#mark-{known}")
    return tag("svg", use, class_=f"mark state-{known}", aria_hidden="true", focusable="false")


def state_label(state: str, text: str | None = None) -> Markup:
    """Return a state as shape, colour and word."""
    known = state if state in STATES else "none"
    return tag("span", mark(known), text or STATES[known], class_=f"state state-{known}")


# ---- kinds of blocks -------------------------------------------------------------------------------------------------


def tiles(block: Block, _name: str) -> Markup:
    """Return some numbers that matter. C(items): a list of C(label), C(value) and C(state)."""
    items = [
        tag(
            "li",
            tag("span", mark(str(item["state"])) if item.get("state") else None, item.get("value"), class_="value"),
            tag("span", item.get("label"), class_="label"),
            class_=f"is-{item['state']}" if item.get("state") in STATES else None,
        )
        for item in list_of(block, "items")
    ]
    return tag("ul", *items, class_="tiles")


def notes(block: Block, _name: str) -> Markup:
    """Return a few sentences. C(title), C(items)."""
    items = [tag("li", item) for item in list_of(block, "items")]
    return join([_title(block), tag("ul", *items, class_="notes")])


def table(block: Block, name: str) -> Markup:
    """Return a table that can be sorted and filtered.

    C(title); C(columns): a list of C(key), C(title) and C(type), which is C(text) (default), C(number), C(state) or
    C(findings), and C(header), true for the one that names the row; C(rows): a list of mappings of C(state) and
    C(cells). A cell is what its column's C(key) has in C(cells):

    * a text, a number, a list of texts (lines), or None, which is not known
    * a mapping of C(text), C(sort) (what it is sorted by) and C(state)
    * for C(findings), a list of C(state), C(text) and C(cure)
    """
    columns, rows = list_of(block, "columns"), list_of(block, "rows")
    head = tag("tr", *(_heading(column) for column in columns))
    body = [
        tag(
            "tr",
            *(_cell(column, (row.get("cells") or {}).get(column["key"])) for column in columns),
            data_state=row.get("state"),
        )
        for row in rows
    ]
    title = str(block.get("title") or "Table")
    inner = tag("table", tag("caption", title), tag("thead", head), tag("tbody", *body))
    region = tag("div", inner, class_="scroll", tabindex="0", role="region", aria_label=title)
    nothing = tag("p", "No row fits.", class_="nothing", hidden=True)
    return tag("div", tag("h3", title), _tools(rows, name), region, nothing, data_table=True, id=name)


def _tools(rows: t.Sequence[Block], name: str) -> Markup:
    """Return the box of words and the buttons for states, each with its count."""
    counts = {state: sum(row.get("state") == state for row in rows) for state in STATES}
    buttons = [tag("button", f"All {len(rows)}", type="button", data_state="", aria_pressed="true")]
    buttons += [
        tag("button", mark(state), f"{STATES[state]} {count}", type="button", data_state=state, aria_pressed="false")
        for state, count in counts.items()
        if count
    ]
    box = tag("input", type="search", id=f"{name}-filter", autocomplete="off", spellcheck="false")
    return tag(
        "div",
        tag("label", "Filter", box, for_=f"{name}-filter"),
        tag("div", *buttons, class_="choice", role="group", aria_label="By state") if len(buttons) > 2 else None,
        tag("span", role="status", class_="quiet"),
        class_="tools",
    )


def _heading(column: Block) -> Markup:
    arrow = tag("span", "\u2195", class_="arrow", aria_hidden="true")
    button = tag("button", column["title"], arrow, type="button")
    return tag("th", button, scope="col", aria_sort="none", class_="number" if column.get("type") == "number" else None)


def _cell(column: Block, value: t.Any) -> Markup:
    kind = column.get("type", "text")
    name = "th" if column.get("header") else "td"
    shape: dict[str, t.Any] = {"scope": "row"} if column.get("header") else {}
    told: t.Mapping[str, t.Any] = value if isinstance(value, t.Mapping) else {"text": value}
    text, sort = told.get("text"), told.get("sort")
    if kind == "findings":
        return tag(
            name, _findings(value if isinstance(value, list) else []), data_sort=len(value or ()), data_number=True
        )
    if kind == "state":
        place = _WORST_FIRST.index(text) if text in STATES else len(STATES)
        return tag(name, state_label(str(text)), data_sort=place, data_number=True, **shape)
    if kind == "number":
        shape["class_"] = "number"
        sort = sort if sort is not None else (text if isinstance(text, (int, float)) else "")
    shown: t.Any = "-" if text is None or text in ("", []) else text
    if isinstance(shown, (list, tuple)):
        shown = join(tag("span", line, class_="line") for line in shown)
    if told.get("state") in STATES:
        shown = tag("span", mark(str(told["state"])), shown, class_=f"state-{told['state']}")
    return tag(name, shown, data_sort=sort, **shape)


def _findings(items: t.Sequence[Block]) -> Markup:
    entries = []
    for item in items:
        state = str(item.get("state"))
        # The state is a word for those who hear the page, and a shape for those who see it.
        said = tag("span", item.get("text"), tag("span", item["cure"], class_="cure") if item.get("cure") else None)
        shape = tag("span", mark(state), role="img", aria_label=STATES.get(state, ""))
        entries.append(tag("li", shape, said, class_="finding"))
    return tag("ul", *entries, class_="findings") if entries else Markup("-")


KINDS: t.Mapping[str, Renderer] = {"notes": notes, "table": table, "tiles": tiles}
"""The kinds of blocks that every tab may use."""


def _title(block: Block) -> Markup | None:
    return tag("h3", block["title"]) if block.get("title") else None


def list_of(block: Block, key: str) -> list[t.Any]:
    """Return a list that a block must have. Raises ReportError."""
    found = block.get(key)
    if not isinstance(found, (list, tuple)):
        raise ReportError(f"{key} must be a list")
    return list(found)


# ---- the page --------------------------------------------------------------------------------------------------------


def check_tab(tab: t.Any) -> Block:
    """Return a tab that can be put on a page. Raises ReportError."""
    if not isinstance(tab, t.Mapping) or tab.get("format") != FORMAT:
        raise ReportError(f"it is no tab of a report: its format is not {FORMAT}")
    if tab.get("version") != VERSION:
        raise ReportError(f"its version is {tab.get('version')!r}, and this collection reads version {VERSION}")
    name = tab.get("id")
    if not isinstance(name, str) or not name.isidentifier():
        raise ReportError(f"its id is {name!r}; it must be letters, digits and _")
    if not isinstance(tab.get("title"), str) or not isinstance(tab.get("blocks"), (list, tuple)):
        raise ReportError("it needs a title and a list of blocks")
    return tab


def broken_tab(name: str, problem: str) -> dict[str, t.Any]:
    """Return a tab that says why the tab of that name cannot be shown."""
    items = [f"What the last run has left for this tab cannot be shown: {problem}. Run its playbook again."]
    return {
        "format": FORMAT,
        "version": VERSION,
        "id": name,
        "title": name,
        "order": 999,
        "state": "warning",
        "blocks": [{"kind": "notes", "items": items}],
    }


def page(
    tabs: t.Iterable[t.Any],
    *,
    title: str = "BudgetGuard report",
    extensions: t.Sequence[Extension] = (),
) -> str:
    """Return the page. A tab that cannot be shown says why, and the others are shown. Raises ReportError for no tab."""
    kinds = dict(KINDS)
    for extension in extensions:
        kinds.update(extension.kinds)
    checked = sorted((check_tab(tab) for tab in tabs), key=lambda tab: (tab.get("order", 500), tab["title"]))
    panels = [_panel(tab, kinds) for tab in checked]
    style = "\n".join([STYLE, *(extension.style for extension in extensions if extension.style)])
    scripts = [SCRIPT, *(extension.script for extension in extensions if extension.script)]
    head = join(
        [
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=_policy(style, scripts)),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("meta", name="robots", content="noindex"),
            tag("link", rel="icon", href="data:,"),
            tag("title", title),
            tag("style", Markup(style)),
        ]
    )
    buttons = [_tab_button(tab) for tab in checked]
    body = join(
        [
            Markup(MARKS),
            tag("header", tag("h1", title), class_="top"),
            tag("div", *buttons, class_="tabs", role="tablist", aria_label="Parts of the report"),
            tag("main", *panels),
            *(tag("script", Markup(script)) for script in scripts),
        ]
    )
    return f'<!DOCTYPE html>\n<html lang="en">\n{tag("head", head)}\n{tag("body", body)}\n</html>\n'


def _policy(style: str, scripts: t.Sequence[str]) -> str:
    allowed = " ".join(_hash(script) for script in scripts)
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    """Return a source of the policy for this text (Content Security Policy Level 3, section 2.3.1)."""
    if "</" in text:
        raise ReportError("a style or script of the page must not hold </, which would end it")
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"


def _tab_button(tab: Block) -> Markup:
    state = tab.get("state")
    told = [mark(str(state)), tab["title"]] if state in STATES else [tab["title"]]
    name = tab["id"]
    return tag(
        "button",
        *told,
        type="button",
        role="tab",
        id=f"tab-{name}",
        data_tab=name,
        aria_controls=f"panel-{name}",
        aria_selected="false",
    )


def _panel(tab: Block, kinds: t.Mapping[str, Renderer]) -> Markup:
    name = tab["id"]
    blocks = [_block(block, f"{name}-{number}", kinds) for number, block in enumerate(tab["blocks"])]
    return tag(
        "section",
        tag("h2", tab.get("headline") or tab["title"]),
        _made(tab),
        *blocks,
        class_="panel",
        role="tabpanel",
        id=f"panel-{name}",
        aria_labelledby=f"tab-{name}",
    )


def _made(tab: Block) -> Markup | None:
    moment = tab.get("generated_at")
    if not moment:
        return None
    shown = str(moment).replace("T", " ").replace("Z", " UTC")
    by = f", by the playbook {tab['made_by']}" if tab.get("made_by") else ""
    return tag("p", f"{tab.get('time_means') or 'As of'} ", tag("time", shown, datetime=moment), by, class_="quiet")


def _block(block: t.Any, name: str, kinds: t.Mapping[str, Renderer]) -> Markup:
    kind = block.get("kind") if isinstance(block, t.Mapping) else None
    if not isinstance(kind, str) or kind not in kinds:
        return tag("p", f"A part of this tab cannot be shown: its kind is {kind!r}.", class_="quiet")
    try:
        return kinds[kind](block, name)
    except (AttributeError, KeyError, TypeError, ValueError) as problem:
        return tag("p", f"A part of this tab ({kind}) cannot be shown: {problem}.", class_="quiet")


__all__ = (
    "FORMAT",
    "KINDS",
    "STATES",
    "VERSION",
    "Block",
    "Extension",
    "Markup",
    "Renderer",
    "ReportError",
    "broken_tab",
    "check_tab",
    "escaped",
    "join",
    "list_of",
    "mark",
    "page",
    "state_label",
    "tag",
)
