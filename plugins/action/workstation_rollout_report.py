# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tell how far a rollout is, and whether it stops. Documentation: plugins/modules/workstation_rollout_report.py."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.budgetguard.techops.plugins.module_utils import _whole_file
from ansible_collections.budgetguard.techops.plugins.plugin_utils import _rollout


class ActionModule(ActionBase):
    """The action budgetguard.techops.workstation_rollout_report."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_async = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Read what came of each workstation, and show the summary when the rollout is over."""
        result = super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(
            {
                "hosts": {"type": "list", "elements": "str", "required": True},
                "batch": {"type": "list", "elements": "str", "required": True},
                "canaries": {"type": "list", "elements": "str", "default": []},
                "max_failed_percent": {"type": "float"},
                "result": {"type": "str", "required": True},
                "not_done_file": {"type": "path"},
            }
        )
        told = _rollout.report(
            options["hosts"],
            self._outcomes(options, (task_vars or {})["hostvars"]),
            options["batch"],
            options["canaries"],
            options["max_failed_percent"],
        )
        if told.over:
            for line in _rollout.lines(told, bool(self._task.check_mode)):
                Display().display(line)
            if options["not_done_file"] and not self._task.check_mode:
                _keep(Path(options["not_done_file"]), _rollout.left(told))
            # As ansible.builtin.set_stats does: AWX keeps it as the job's artifact.
            result["ansible_stats"] = {"data": {"nim_rollout": _sums(told)}, "per_host": False, "aggregate": False}
        result.update(
            changed=False,
            over=told.over,
            stop=told.stop,
            done=list(told.done),
            not_done=told.not_done,
            not_tried=list(told.not_tried),
        )
        return result

    def _outcomes(self, options: dict[str, t.Any], hostvars: t.Any) -> dict[str, _rollout.Outcome]:
        """Return what came of those that were tried in this batch and the ones before."""
        results = {name: hostvars.raw_get(name).get(options["result"]) for name in options["hosts"]}
        return {name: _rollout.outcome(found) for name, found in results.items() if found is not None}


def _sums(told: _rollout.Report) -> dict[str, t.Any]:
    """Return what is worth keeping of a rollout that is over."""
    return {
        "done": len(told.done),
        "changed": told.changed,
        "not_done": told.not_done,
        "not_tried": list(told.not_tried),
        "stop": told.stop,
    }


def _keep(path: Path, names: t.Sequence[str]) -> None:
    """Write who is left, one name a line, for C(--limit @file). Nobody left is no file."""
    if not names:
        path.unlink(missing_ok=True)
        return
    _whole_file.write(path, "".join(f"{name}\n" for name in names).encode(), 0o644)
