# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""BudgetGuard companion: shows in ComfyUI whether the studio's credentials are there, and asks the studio's NIMs.

Installed by the role workstation_companion of the Ansible collection budgetguard.techops. ComfyUI loads this package
from its folder custom_nodes. Outside of ComfyUI it only brings its modules.
"""

from __future__ import annotations

import importlib
import pathlib
import typing as t

__version__ = "1.0.0"
WEB_DIRECTORY = "./web"
NODE_CLASS_MAPPINGS: dict[str, type] = {}
NODE_DISPLAY_NAME_MAPPINGS = {"BudgetGuardNIM": "BudgetGuard NIM", "BudgetGuardNIMText": "BudgetGuard NIM (text)"}
__all__ = ("NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "WEB_DIRECTORY")


def _start() -> None:
    """Register nodes and routes with the ComfyUI that loads this; outside of ComfyUI do nothing."""
    try:
        folder_paths: t.Any = importlib.import_module("folder_paths")
    except ImportError:
        return
    server: t.Any = importlib.import_module("server")

    from .cloudnodes import CloudNodes
    from .nodes import build
    from .routes import Desk, register
    from .workstation import Workstation

    workstation = Workstation(pathlib.Path(folder_paths.base_path), pathlib.Path(__file__).parent)
    NODE_CLASS_MAPPINGS.update(build(workstation))
    register(server.PromptServer.instance.routes, Desk(workstation), CloudNodes(workstation))


_start()
