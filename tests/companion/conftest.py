# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A workstation with the companion, its ComfyUI, and a browser on it."""

from __future__ import annotations

import shutil
import typing as t
from pathlib import Path

import pytest

from tests.companion.studio import PACKAGE, Place, running_comfyui


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return a workstation with the companion and without a config."""
    base = tmp_path / "ComfyUI"
    (base / "custom_nodes").mkdir(parents=True)
    shutil.copytree(PACKAGE, base / "custom_nodes" / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    return Place(base, tmp_path / "keys" / "studio.key")


@pytest.fixture
def comfyui(place: Place) -> t.Iterator[str]:
    """Start the stand-in of ComfyUI; return its address."""
    with running_comfyui(place) as address:
        yield address
