# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Look at the config and at the rest of a Windows workstation in one module call. Runs there, by ComfyUI's own Python.

A module call over WinRM takes a second or more, so both programs of the collection go in one. Their texts come with the
input. What goes there and what comes back is JSON.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import sys
import typing as t


class Text(importlib.abc.InspectLoader):
    """Loads a module from its text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def get_source(self, fullname: str) -> str:
        """Return the text."""
        return self.text


def load(name: str, program: str) -> t.Any:
    """Return a program as a module."""
    loader = Text(program)
    spec = importlib.machinery.ModuleSpec(name, loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    loader.exec_module(module)
    return module


def answer(request: t.Mapping[str, t.Any], system: t.Any = None) -> dict[str, t.Any]:
    """Return what both programs say. The first one alone calls Windows, by C(system)."""
    config = load("budgetguard_config", request["programs"]["config"])
    if "companion" in request:
        install = load("budgetguard_install", request["programs"]["install"])
        companion = load("budgetguard_companion_installer", request["programs"]["companion"])
        told: dict[str, t.Any] = companion.answer(request["companion"], config, install, system or config.Windows())
        return told
    probe = load("budgetguard_probe", request["programs"]["probe"])
    facts = config.run(request["config"], system or config.Windows(), os.environ)
    return {"config": facts, "probe": probe.answer(request["probe"])}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(answer(json.loads(sys.stdin.buffer.read().decode("utf-8")))) + "\n")
    sys.stdout.flush()
    os._exit(0)
