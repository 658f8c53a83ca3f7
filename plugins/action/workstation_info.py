# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Look at a workstation as a whole. Documentation: plugins/modules/workstation_info.py.

One round trip. The config is opened and everything is compared here, on the controller; the result holds nothing
secret, so the task needs no no_log.
"""

from __future__ import annotations

import collections
import contextlib
import datetime
import os
import signal
import time
import typing as t
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader

from ansible_collections.budgetguard.techops.plugins.module_utils import _audit, _identities
from ansible_collections.budgetguard.techops.plugins.module_utils import _workstation as configs
from ansible_collections.budgetguard.techops.plugins.module_utils._envelope import EnvelopeError, missing_library
from ansible_collections.budgetguard.techops.plugins.plugin_utils import _probe_shape, _workstation_probe
from ansible_collections.budgetguard.techops.plugins.plugin_utils._config_verdict import judge
from ansible_collections.budgetguard.techops.plugins.plugin_utils._gateway_options import with_token
from ansible_collections.budgetguard.techops.plugins.plugin_utils._posix_facts import Found, WorkstationError
from ansible_collections.budgetguard.techops.plugins.plugin_utils._windows import is_windows
from ansible_collections.budgetguard.techops.plugins.plugin_utils._workstation_options import (
    SHARED_ARGUMENTS,
    Keys,
    check_options,
    keys_from,
    open_workstation,
    plain,
)

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    **SHARED_ARGUMENTS,
    "endpoints": {"type": "dict"},
    "unread_targets": {"type": "list", "elements": "str", "default": []},
    "compare_credentials": {"type": "bool", "default": True},
    "credentials": {"type": "dict", "no_log": True},
    "credential_store": {"type": "raw", "no_log": True},
    "python": {"type": "str", "default": ""},
    "probe_timeout": {"type": "float", "default": _workstation_probe.SECONDS},
}


class ActionModule(ActionBase):
    """The action budgetguard.techops.workstation_info."""

    TRANSFERS_FILES = False
    _supports_async = False
    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Look at one workstation, and turn every refusal into one sentence."""
        result = super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(ARGUMENT_SPEC)
        try:
            result.update(self._look(options, task_vars or {}))
        except (configs.ConfigError, EnvelopeError, WorkstationError) as problem:
            result.update(failed=True, msg=str(problem))
        except BaseException:
            # The task's time limit ends this process, and would leave a connection that hangs behind.
            end_children()
            raise
        return result

    def _look(self, options: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        library = missing_library()
        if library is not None:
            raise EnvelopeError(library)
        check_options(options, windows=is_windows(self))
        name = str(task_vars.get("inventory_hostname", ""))
        workstation_id = options["workstation_id"] or name
        keys = keys_from(options, workstation_id)
        running = None if options["endpoints"] is None else configs.check_endpoints(plain(options["endpoints"]))
        workstation = open_workstation(self, keys, options, task_vars)
        before = time.time()
        facts, probe = workstation.probe(
            options["comfyui_path"],
            options["key_path"],
            keys.known_lines,
            {"seconds": options["probe_timeout"], "base": options["comfyui_path"], "python": options["python"]},
        )
        if not isinstance(probe, str) and not _probe_shape.is_sound(probe):
            probe = "What the Python on it answered is not what the probe tells. Find out who changed that Python."
        found = _opened(facts, keys)
        return {
            "changed": False,
            "config": judge(facts, keys),
            "exposed": _is_exposed(facts),
            "wanted_mode": configs.mode_name(options["mode"], workstation_id),
            "endpoints": _audit.compare_endpoints(
                found.document.get("nim_endpoints"), running, options["unread_targets"], name
            ),
            **self._credentials(options, found, name, task_vars),
            "probe": None if isinstance(probe, str) else probe,
            "probe_problem": probe if isinstance(probe, str) else None,
            "clock_seconds": _clock(probe, before, time.time()),
        }

    def _credentials(
        self, options: dict[str, t.Any], found: configs.Found, name: str, task_vars: dict[str, t.Any]
    ) -> dict[str, t.Any]:
        """Compare what is sealed in the config with what the workstation's variables say. Nothing secret is told."""
        if not options["compare_credentials"]:
            return _NOT_COMPARED
        try:
            variables = self._variables(options["credential_store"], name, task_vars)
            records = plain(_identities.records_of(variables))
            stored = options["credentials"]
            if stored is None:
                now = datetime.datetime.now(datetime.timezone.utc)
                stored = with_token(_identities.credentials(variables), variables, now)
            expected = plain(stored)
        except (AnsibleError, KeyError, ValueError) as problem:
            said = " ".join(str(problem).split())[:300]
            return {**_NOT_COMPARED, "credentials_problem": f"What is stored of its credentials cannot be read: {said}"}
        return {**_NOT_COMPARED, "credentials": _audit.compare_credentials(found.credentials, expected, records)}

    def _variables(self, store: t.Any, name: str, task_vars: dict[str, t.Any]) -> t.Mapping[str, t.Any]:
        """Return the workstation's variables, with what the secret store has of its identities if there is a store."""
        variables: t.Mapping[str, t.Any] = task_vars["hostvars"][name] if "hostvars" in task_vars else {}
        if store in (None, "", "file"):
            return variables
        lookup = lookup_loader.get("budgetguard.techops.stored_vars", loader=self._loader, templar=self._templar)
        own, shared = lookup.run([f"workstations/{name.lower()}", "studio-identities"], task_vars, store=plain(store))
        names = (shared.get(_identities.VARIABLES[0]) or {}, own.get(_identities.VARIABLES[1]) or {})
        return collections.ChainMap(dict(zip(_identities.FACTS, names)), t.cast("dict[str, t.Any]", variables))


def end_children() -> None:
    """End the processes that this one has started, which are those of the connection. Only on Linux."""
    for listing in Path("/proc/self/task").glob("*/children"):
        for child in listing.read_text(encoding="ascii").split():
            with contextlib.suppress(OSError):
                os.kill(int(child), signal.SIGTERM)


_NOT_COMPARED: dict[str, t.Any] = {"credentials": {}, "credentials_problem": None}


def _is_exposed(facts: Found) -> bool:
    """Tell if others than ComfyUI's user may read the config. Windows has access lists and no modes."""
    others = facts.file_mode is None or bool(int(facts.file_mode, 8) & 0o077)
    return facts.has_file and not facts.file_is_right and others


def _opened(facts: Found, keys: Keys) -> configs.Found:
    """Open the config, if there is one and a key for it."""
    if facts.content is None:
        return configs.Found("missing")
    if keys.key is not None:
        return configs.inspect(facts.content, keys.key, keys.previous)
    try:
        return configs.Found("unchecked", configs.parse(facts.content))
    except configs.BrokenConfigError:
        return configs.Found("broken")


def _clock(probe: dict[str, t.Any] | str, before: float, after: float) -> float | None:
    """Return by how many seconds its clock is ahead; less than nothing is behind. Within the round trip it is right."""
    if isinstance(probe, str):
        return None
    told: float = probe["time"]
    return round(min(told - before, 0.0) + max(told - after, 0.0), 1)
