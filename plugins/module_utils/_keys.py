# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""A first look at keys that people paste, before they reach a machine that costs money. Never shows a key."""

from __future__ import annotations

import re

_KEY = re.compile(r"^[!-~]{16,}$")


class KeyFormatError(ValueError):
    """What was given cannot be a key; the message does not contain it."""


def check_key(option: str, value: str | None) -> str | None:
    """Return the key without a line end at its end, which comes of encrypting a file. None and '' give None.

    Raises :class:`KeyFormatError` for anything with spaces or line ends within, or of fewer than 16 characters.
    """
    key = (value or "").strip()
    if not key:
        return None
    if not _KEY.match(key) or key[0] in "{[":
        raise KeyFormatError(
            f"{option} is not a key: it must be one word of at least 16 printable characters. "
            "Is it a mapping, a path, or an unresolved variable?"
        )
    return key
