# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback preload, in processes of their own: what a process has loaded, it cannot unload."""

from __future__ import annotations

import json
import os
import subprocess
import typing as t
from pathlib import Path

import pytest

from tests.tools import layout

PROGRAM = """
import gc, json, sys
from ansible.plugins.loader import callback_loader, init_plugin_loader
init_plugin_loader([sys.argv[1]])
callback = callback_loader.get("budgetguard.techops.preload")
module = sys.modules[type(callback).__module__]
for name in sys.argv[2:]:
    sys.modules[name] = None
callback.v2_playbook_on_start(None)
print(json.dumps({
    "lost": [
        f"{collection}.{name}"
        for plugins, collection, names in module._PLUGINS
        for name in names
        if not plugins.get(f"{collection}.{name}", class_only=True)
    ],
    "modules": sorted(name for name, found in sys.modules.items() if found),
    "frozen": gc.get_freeze_count(),
}))
"""


def preloaded(bin_folder: Path, *broken: str) -> dict[str, t.Any]:
    """Return what a process has after the callback, and which plugins that it names do not exist."""
    command = [str(bin_folder / "python"), "-c", PROGRAM, str(layout.LINKS), *broken]
    environment = {"PATH": os.environ["PATH"], "HOME": os.devnull, "ANSIBLE_LOCAL_TEMP": "/tmp"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return t.cast("dict[str, t.Any]", json.loads(done.stdout))


@pytest.mark.parametrize("core", ["oldest_core", "newest_core"])
def test_processes_that_are_started_later_find_the_plugins_loaded(core: str, request: pytest.FixtureRequest) -> None:
    found = preloaded(request.getfixturevalue(core))
    assert found["lost"] == []
    ours = "ansible_collections.budgetguard.techops.plugins"
    filters = {path.stem for path in (layout.ROOT / "plugins" / "filter").glob("*.py")}
    assert {name for name in filters if f"{ours}.filter.{name}" not in found["modules"]} == set()
    assert {f"{ours}.action.nim_targets_info", "ansible.utils.encrypt"} <= set(found["modules"])
    assert found["frozen"] > 0


def test_what_cannot_be_loaded_is_left_to_the_task_that_needs_it(newest_core: Path) -> None:
    found = preloaded(newest_core, "cryptography", "ansible.utils.encrypt")
    assert "ansible_collections.budgetguard.techops.plugins.filter.nim_status" in found["modules"]
    assert "ansible.utils.encrypt" not in found["modules"]
    assert found["frozen"] > 0
