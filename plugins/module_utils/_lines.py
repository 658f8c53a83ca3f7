# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Lines of text for a terminal. Pure."""

from __future__ import annotations

import typing as t


def table(headings: t.Sequence[str], rows: t.Sequence[t.Sequence[str]], right: t.Container[str] = ()) -> list[str]:
    """Return lines with columns of equal width. Columns with a heading in ``right`` end at the same place."""
    lines = [headings, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    return [
        "  ".join(
            word.rjust(width) if heading in right else word.ljust(width)
            for heading, word, width in zip(headings, line, widths)
        ).rstrip()
        for line in lines
    ]


def counted(count: int, what: str) -> str:
    """Return a number with its noun, as ``1 NIM`` or ``2 NIMs``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def one_line(text: t.Any) -> str:
    """Return a text without line breaks."""
    return " ".join(str(text).split())


__all__ = ("counted", "one_line", "table")
