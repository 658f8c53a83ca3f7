# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Put a file on the controller in its place at once, so that nobody reads half of it and a killed run loses nothing."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

UNFINISHED = ".new"
"""How the names of files end that a killed run may leave behind. They begin with a dot and the name of the file."""


def write(path: Path, content: bytes, mode: int) -> None:
    """Write a file beside the old one, onto the disk, and move it there. The folder exists. Raises OSError."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=UNFINISHED)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            # Until here nobody else can read it.
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


__all__ = ("UNFINISHED", "write")
