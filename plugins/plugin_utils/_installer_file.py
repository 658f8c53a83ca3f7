# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Make C(install_credentials.py), the one file for workstations that Ansible does not reach.

It consists of the very files by which the action comfyui_config decides, and a program around them. What they import
from each other is left out, since it is all in one file then; what they import from Python's library comes first.
"""

from __future__ import annotations

import ast
import functools
import pathlib

from ansible_collections.budgetguard.techops.plugins.module_utils import _envelope, _workstation
from ansible_collections.budgetguard.techops.plugins.plugin_utils import _installer_program, _posix_facts

NAME = "install_credentials.py"
PARTS = (_envelope, _workstation, _posix_facts, _installer_program)
OURS = "ansible_collections."

_LICENCE = """#!/usr/bin/env python3
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""
_LICENCE += "# SPDX-" + "License-Identifier: GPL-3.0-or-later\n"
_ABOUT = '''
"""Install BudgetGuard's endpoints and credentials into the ComfyUI of this workstation.

Python 3.8 or newer with its standard library: python3 install_credentials.py --help. Made by the playbook
budgetguard.techops.export out of the collection's own files, so that it decides as a run of Ansible does.
"""

from __future__ import annotations

'''


@functools.lru_cache(maxsize=1)
def text() -> str:
    """Return the program."""
    imports: dict[str, None] = {}
    bodies: list[str] = []
    names: set[str] = set()
    for part in PARTS:
        source = pathlib.Path(str(part.__file__)).read_text(encoding="utf-8")
        found, body, defined = _taken_apart(source)
        if names & defined:
            raise ValueError(f"{part.__name__}: {', '.join(sorted(names & defined))} is in another part, too")
        names |= defined
        imports.update(dict.fromkeys(found))
        bodies.append(f"# ---- {part.__name__.rpartition('.')[2]} ----\n\n{body}")
    return _LICENCE + _ABOUT + "\n".join(sorted(imports)) + "\n\n" + "\n\n".join(bodies)


def _taken_apart(source: str) -> tuple[list[str], str, set[str]]:
    """Return a file's imports of Python's library, the rest without its head, and the names that it defines."""
    tree, lines = ast.parse(source), source.splitlines(keepends=True)
    imports, defined, start = [], set(), 0
    dropped: set[int] = set()
    for node in tree.body:
        whole = range(node.lineno - 1, int(node.end_lineno or node.lineno))
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            dropped.update(whole)
            module = getattr(node, "module", None) or ""
            if not module.startswith((OURS, "__future__")):
                imports.append(ast.unparse(node))
        elif isinstance(node, ast.Expr) and not start and node is tree.body[0]:
            start = whole.stop
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            dropped.update(whole)
        else:
            defined |= _names_of(node)
    kept = [line for number, line in enumerate(lines) if number >= start and number not in dropped]
    return imports, "".join(kept).strip("\n") + "\n", defined


def _names_of(node: ast.stmt) -> set[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


__all__ = ("NAME", "text")
