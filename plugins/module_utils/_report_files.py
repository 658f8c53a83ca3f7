# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The report page and what its tabs are made of, as files beside each other.

For a page C(report.html) the tabs are C(report_data/*.json). Two runs at a time, on two computers with one share, may
both put a tab in. So the page is made of what is there, and made again as long as that has changed meanwhile.
"""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

from ansible_collections.budgetguard.techops.plugins.module_utils import _report, _report_plots

EXTENSIONS: tuple[_report.Extension, ...] = (_report_plots.EXTENSION,)
"""What other parts of the collection bring to the page. A part with kinds of blocks of its own adds itself here."""

LARGEST = 64 * 1024 * 1024
ROUNDS = 5

Write = t.Callable[[Path, bytes], None]
"""Puts a file in place at once, or raises OSError."""


def folder_of(page: Path) -> Path:
    """Return where the tabs of a page are."""
    return page.with_name(f"{page.stem}_data")


def encoded(tab: t.Mapping[str, t.Any]) -> bytes:
    """Return a tab as its file has it."""
    return (json.dumps(tab, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def read_tabs(folder: Path) -> dict[str, bytes]:
    """Return the files of all tabs by their names."""
    if not folder.is_dir():
        return {}
    found = {}
    for path in sorted(folder.glob("*.json")):
        if path.is_file() and path.stat().st_size <= LARGEST:
            found[path.stem] = path.read_bytes()
    return found


def render(files: t.Mapping[str, bytes], title: str) -> bytes:
    """Return the page of these tabs. One that is broken says so in its own tab."""
    tabs = [_tab(name, content) for name, content in files.items()]
    return _report.page(tabs, title=title, extensions=EXTENSIONS).encode()


def _tab(name: str, content: bytes) -> t.Mapping[str, t.Any]:
    try:
        tab = _report.check_tab(json.loads(content))
    except ValueError as problem:
        safe = "".join(letter if letter.isalnum() else "_" for letter in name)
        return _report.broken_tab(f"tab_{safe}", str(problem))
    return tab


def put(page: Path, tab: t.Mapping[str, t.Any], title: str, write: Write, check_mode: bool) -> tuple[bool, list[str]]:
    """Put a tab on a page. Return whether anything had to be written, and the names of all tabs.

    Raises ReportError for a tab that cannot be put on a page, and OSError.
    """
    name = str(_report.check_tab(tab)["id"])
    folder = folder_of(page)
    content = encoded(tab)
    found = read_tabs(folder)
    changed = found.get(name) != content
    wanted = {**found, name: content}
    if check_mode:
        html = render(wanted, title)
        return changed or not page.exists() or page.read_bytes() != html, sorted(wanted)
    if changed:
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / f"{name}.json", content)
    for _round in range(ROUNDS):
        found = read_tabs(folder)
        html = render(found, title)
        if not page.exists() or page.read_bytes() != html:
            write(page, html)
            changed = True
        if read_tabs(folder) == found:
            break
    return changed, sorted(found)
