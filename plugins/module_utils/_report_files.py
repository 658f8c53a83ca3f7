# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The report page and what its tabs are made of, as files beside each other.

For a page C(report.html) the tabs are C(report_data/*.json). Two runs at a time, on two computers with one share, may
both put a tab in. So the page is made of what is there, and made again as long as that has changed meanwhile.

The log of runs is C(report_data/runs/*.json), one file for each run, so two that end at a time both stay. Its tab is
made of them, and is no file itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import typing as t
from pathlib import Path

from ansible_collections.budgetguard.techops.plugins.module_utils import _report, _report_board, _report_plots, _runs

EXTENSIONS: tuple[_report.Extension, ...] = (_report_board.EXTENSION, _report_plots.EXTENSION)
"""What other parts of the collection bring to the page. A part with kinds of blocks of its own adds itself here."""

LARGEST = 64 * 1024 * 1024
ROUNDS = 5

Write = t.Callable[[Path, bytes], None]
"""Puts a file in place at once, or raises OSError."""


class Writer:
    """Puts files in place at once, as a module does, and remembers which."""

    def __init__(self, folder: str, move: t.Callable[[str, str], t.Any]) -> None:
        self._folder = folder
        self._move = move
        self.written: list[Path] = []

    def __call__(self, path: Path, content: bytes) -> None:
        """Write a file beside, and move it to its place."""
        handle, temporary = tempfile.mkstemp(dir=self._folder)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._move(temporary, str(path))
        if path not in self.written:
            self.written.append(path)


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
    found = _contents(folder)
    runs = read_runs(folder)
    if runs:
        found[_runs.TAB] = encoded(_runs.tab(runs))
    return found


def read_runs(folder: Path) -> list[bytes]:
    """Return what the files of the log of runs hold, the oldest first."""
    return list(_contents(folder / _runs.TAB).values())


def _contents(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            if path.is_file() and path.stat().st_size <= LARGEST:
                found[path.stem] = path.read_bytes()
        except FileNotFoundError:
            continue  # Another run has just taken it away.
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


def put(
    page: Path,
    tab: t.Mapping[str, t.Any],
    title: str,
    write: Write,
    check_mode: bool,
    keep_unchanged: bool = False,
) -> tuple[bool, list[str]]:
    """Put a tab on a page. Return whether anything had to be written, and the names of all tabs.

    With C(keep_unchanged), a tab that differs from the one that is there in its C(generated_at) alone, wherever that
    stands in it, is left as it is. Raises ReportError for a tab that cannot be put on a page, and OSError.
    """
    name = str(_report.check_tab(tab)["id"])
    folder = folder_of(page)
    content = encoded(tab)
    found = read_tabs(folder)
    if keep_unchanged and name in found and _differ_in_time_alone(found[name], content):
        content = found[name]
    changed = found.get(name) != content
    if check_mode:
        wanted = {**found, name: content}
        return changed or _differs(page, render(wanted, title)), sorted(wanted)
    if changed:
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / f"{name}.json", content)
    rendered, tabs = _refresh(page, title, write)
    return changed or rendered, tabs


def note_run(page: Path, entry: t.Mapping[str, t.Any], title: str, write: Write, keep: int) -> list[str]:
    """Note a run in the log beside a page, forget all but the last ones, and make the page.

    Return the names of the log's files, the oldest first. Raises OSError.
    """
    folder = folder_of(page) / _runs.TAB
    content = encoded(entry)
    folder.mkdir(parents=True, exist_ok=True)
    # By its time, so that files are in the order of runs, and by its content, so that two at a time are two.
    moment = "".join(letter for letter in str(entry["ended_at"]) if letter.isalnum())
    write(folder / f"{moment}-{hashlib.sha256(content).hexdigest()[:8]}.json", content)
    files = sorted(folder.glob("*.json"))
    for old in files[:-keep]:
        old.unlink(missing_ok=True)
    _refresh(page, title, write)
    return [path.name for path in files[-keep:]]


def _refresh(page: Path, title: str, write: Write) -> tuple[bool, list[str]]:
    """Make the page of what is there, and return whether it was another one, and the names of its tabs."""
    changed = False
    found = read_tabs(folder_of(page))
    for _round in range(ROUNDS):
        html = render(found, title)
        if _differs(page, html):
            write(page, html)
            changed = True
        before, found = found, read_tabs(folder_of(page))
        if before == found:
            break
    return changed, sorted(found)


def _differs(page: Path, html: bytes) -> bool:
    return not page.exists() or page.read_bytes() != html


def _differ_in_time_alone(before: bytes, after: bytes) -> bool:
    try:
        return bool(_timeless(json.loads(before)) == _timeless(json.loads(after)))
    except ValueError:
        return False


def _timeless(value: t.Any) -> t.Any:
    if isinstance(value, dict):
        return {key: _timeless(one) for key, one in value.items() if key != "generated_at"}
    return [_timeless(one) for one in value] if isinstance(value, list) else value
