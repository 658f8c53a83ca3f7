# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the published endpoints into files. Documentation: plugins/modules/endpoint_files.py."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

from ansible.plugins.action import ActionBase

from ansible_collections.budgetguard.techops.plugins.module_utils import _whole_file
from ansible_collections.budgetguard.techops.plugins.plugin_utils._workstation_options import plain

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "path": {"type": "path", "required": True},
    "documents": {"type": "dict", "required": True},
}
FOLDER_MODE, FILE_MODE = 0o755, 0o644


class ActionModule(ActionBase):
    """The action of endpoint_files."""

    TRANSFERS_FILES = False
    _supports_async = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Write what differs and return which files that were."""
        result = super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(ARGUMENT_SPEC)
        folder = Path(options["path"])
        texts = {name: _text(document) for name, document in sorted(options["documents"].items())}
        wrong = [name for name in texts if Path(name).name != name or name in ("", "..")]
        if wrong:
            result.update(failed=True, msg=f"documents: {wrong[0]!r} is not a file name; it must have no folder in it")
            return result
        try:
            before = {name: _read(folder / name) for name in texts}
            written = [name for name, text in texts.items() if before[name] != text]
            if written and not self._task.check_mode:
                _make(folder)
                for name in written:
                    _whole_file.write(folder / name, texts[name].encode(), FILE_MODE)
        except OSError as exc:
            result.update(failed=True, msg=f"the exports cannot be written to {folder}: {exc}")
            return result
        result.update(changed=bool(written), written=written)
        if self._task.diff:
            result["diff"] = [
                {
                    "before": before[name] or "",
                    "after": texts[name],
                    "before_header": str(folder / name),
                    "after_header": str(folder / name),
                }
                for name in written
            ]
        return result


def _text(document: t.Any) -> str:
    """Return a document as the filter to_nice_json writes it."""
    return f"{json.dumps(plain(document), indent=4, sort_keys=True)}\n"


def _read(path: Path) -> str | None:
    """Return a file's text, None where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _make(folder: Path) -> None:
    """Make a folder and those above it that everybody can read, whatever the umask is."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in missing:
        place.chmod(FOLDER_MODE)
