# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Make C(install_credentials.py), the one file for workstations that Ansible does not reach.

It holds, word by word, the very files by which the action comfyui_config decides, and a program around them. Each
becomes a module of its own when it starts, so they find each other by the names that they have here.
"""

from __future__ import annotations

import functools
import pathlib

from ansible_collections.budgetguard.techops.plugins.module_utils import (
    _envelope,
    _figures,
    _price_export,
    _windows_config,
    _workstation,
)
from ansible_collections.budgetguard.techops.plugins.plugin_utils import (
    _config_decision,
    _installer_program,
    _posix_facts,
    _windows,
    _windows_facts,
)

NAME = "install_credentials.py"

PARTS = (
    _envelope,
    _figures,
    _price_export,
    _workstation,
    _posix_facts,
    _config_decision,
    _windows_config,
    _windows,
    _windows_facts,
    _installer_program,
)
"""In an order in which each finds those that it needs."""

QUOTES = "'''"
# Apart from the rest, or the licence tool takes the line for that of this file.
TAG = "License-Identifier"

HEAD = """#!/usr/bin/env python3
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# {licence}

\"\"\"Install BudgetGuard's endpoints and credentials into the ComfyUI of this workstation.

Python 3.8 or newer with its standard library: python3 install_credentials.py --help. Made by the playbook
budgetguard.techops.export. The parts below are files of the collection, so it decides as a run of Ansible does.
\"\"\"

import sys
import types


def part(name, source):
    module = types.ModuleType(name)
    module.__file__ = __file__
    sys.modules[name] = module
    exec(compile(source, name, "exec", dont_inherit=True), module.__dict__)
    return module


"""

TAIL = """
if __name__ == "__main__":
    raise SystemExit(program.main())
"""


@functools.lru_cache(maxsize=1)
def text() -> str:
    """Return the program."""
    made = HEAD.format(licence=f"SPDX-{TAG}: GPL-3.0-or-later")
    for part in PARTS:
        source = pathlib.Path(str(part.__file__)).read_text(encoding="utf-8")
        if QUOTES in source:
            raise ValueError(f"{part.__name__}: three single quotes would end the text that it becomes")
        made += f"program = part({part.__name__!r}, r{QUOTES}{source}{QUOTES})\n"
    return made + TAIL


__all__ = ("NAME", "PARTS", "text")
