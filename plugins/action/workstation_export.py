# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a folder for workstations that Ansible does not reach. Documentation: plugins/modules/workstation_export.py."""

from __future__ import annotations

import datetime
import json
import re
import typing as t
from pathlib import Path

from ansible.plugins.action import ActionBase

from ansible_collections.budgetguard.techops.plugins.module_utils._envelope import (
    STUDIO_WIDE,
    EnvelopeError,
    missing_library,
    studio_key_weakness,
    studio_wide_key,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._workstation import (
    FILE,
    STUDIO_WIDE_MODE,
    ConfigError,
    Wanted,
    check_credentials,
    check_endpoints,
    mode_name,
    update,
)
from ansible_collections.budgetguard.techops.plugins.plugin_utils import _export_texts, _installer_file
from ansible_collections.budgetguard.techops.plugins.plugin_utils._export_folder import (
    Difference,
    ExportError,
    File,
    Folder,
)
from ansible_collections.budgetguard.techops.plugins.plugin_utils._workstation_options import (
    Keys,
    keys_from,
    plain,
    version_for,
)

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "path": {"type": "path", "required": True},
    "endpoints": {"type": "dict", "required": True},
    "unread_targets": {"type": "list", "elements": "str", "default": []},
    "workstations": {"type": "dict", "required": True, "no_log": True},
    "known_workstations": {"type": "list", "elements": "str", "default": []},
    "private_path": {"type": "path"},
    "keys": {"type": "bool", "default": False, "no_log": False},
    "clear_text": {"type": "bool", "default": False},
}
ARTISTS_CONFIG = "budgetguard_artists_config.json"
CLEAR = "budgetguard_credentials.json"
# The name of a folder on any file system, and of a file in a script.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


class ActionModule(ActionBase):
    """The action budgetguard.techops.workstation_export."""

    TRANSFERS_FILES = False
    _supports_async = False
    _supports_check_mode = True
    _supports_diff = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Bring the folders to what they should be. The result holds nothing secret."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(ARGUMENT_SPEC)
        try:
            return {**result, **self._export(options)}
        except (ConfigError, EnvelopeError, ExportError) as problem:
            return {**result, "failed": True, "msg": f"Nothing was exported: {problem}"}
        except OSError as problem:
            said = f"{problem.filename}: {problem.strerror}"
            return {**result, "failed": True, "msg": f"Nothing was exported: {said}."}

    def _export(self, options: dict[str, t.Any]) -> dict[str, t.Any]:
        library = missing_library()
        if library is not None:
            raise EnvelopeError(library)
        wide_keys: dict[str, str] = {}
        workstations = {
            str(name): _workstation(str(name), plain(given), wide_keys)
            for name, given in options["workstations"].items()
        }
        _check_ids(workstations)
        share, private = _folders(options)
        wanted, told = _share(share, workstations, options)
        secret = _private(workstations, options)
        differences: list[tuple[Folder, dict[str, File], Difference]] = [
            (folder, files, folder.plan(files, list(workstations), options["known_workstations"]))
            for folder, files in ((share, wanted), (private, secret))
            if folder is not None
        ]
        if not self._task.check_mode:
            for folder, files, difference in differences:
                folder.apply(files, difference)
        result: dict[str, t.Any] = {
            "changed": any(difference.changed for _folder, _files, difference in differences),
            "path": str(share.path),
            "private_path": None if private is None else str(private.path),
            "workstations": told,
            "warnings": _warnings(differences, options),
        }
        for what in ("created", "updated", "removed", "kept"):
            result[what] = [
                str(folder.path / name) for folder, _files, found in differences for name in getattr(found, what)
            ]
        if self._task.diff:
            result["diff"] = [_diff(folder, files, difference) for folder, files, difference in differences]
        return result


def _workstation(name: str, given: dict[str, t.Any], wide_keys: dict[str, str]) -> dict[str, t.Any]:
    """Return a workstation's options, checked. Raises ConfigError with its name.

    :arg wide_keys: the keys of studio keys that were stretched already, which costs tens of milliseconds each.
    """
    studio_key, workstation_id = str(given.get("studio_key") or ""), str(given.get("id") or name)
    mode = STUDIO_WIDE_MODE if given.get("studio_wide") else "workstation"
    asked: dict[str, t.Any] = {
        "mode": mode,
        "encryption_version": int(given["encryption_version"]) if given.get("encryption_version") else None,
        "key": None,
        "previous_keys": [],
        "key_path": "asked for",
        "studio_key": studio_key,
        "previous_studio_key": given.get("previous_studio_key") or None,
    }
    try:
        _require_studio_key(studio_key)
        if version_for(asked) == STUDIO_WIDE:
            if studio_key not in wide_keys:
                wide_keys[studio_key] = studio_wide_key(studio_key)
            asked["key"] = wide_keys[studio_key]
        return {
            "id": workstation_id,
            "mode": mode_name(mode, workstation_id),
            "keys": keys_from(asked, workstation_id),
            "credentials": check_credentials(given.get("credentials") or {}),
        }
    except (ConfigError, EnvelopeError) as problem:
        raise ConfigError(f"{name}: {problem}") from None


def _require_studio_key(studio_key: str) -> None:
    problem = studio_key_weakness(studio_key)
    if problem is not None:
        raise EnvelopeError(problem)


def _check_ids(workstations: t.Mapping[str, dict[str, t.Any]]) -> None:
    seen: dict[str, str] = {}
    for name, one in workstations.items():
        if not _NAME.fullmatch(one["id"]):
            raise ConfigError(
                f"{name}: its id {one['id']!r} cannot be the name of a folder: letters, digits, '.', '-' and '_'. Set "
                "workstation_config_id."
            )
        other = seen.setdefault(one["id"].casefold(), name)
        if other != name:
            raise ConfigError(f"{name} and {other} have the same id {one['id']!r}. Set workstation_config_id.")


def _folders(options: dict[str, t.Any]) -> tuple[Folder, Folder | None]:
    share = Path(options["path"])
    private = Path(options["private_path"]) if options["private_path"] else None
    if not share.is_absolute() or (private is not None and not private.is_absolute()):
        raise ConfigError("path and private_path must be absolute.")
    if private is None:
        if options["keys"] or options["clear_text"]:
            raise ConfigError(
                "keys and clear_text need private_path: such files never go into the folder for the share."
            )
        return Folder(share), None
    here, there = share.resolve(), private.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise ConfigError(f"private_path {private} and path {share} must not be one in the other.")
    return Folder(share), Folder(private, private=True)


def _share(
    folder: Folder, workstations: t.Mapping[str, dict[str, t.Any]], options: dict[str, t.Any]
) -> tuple[dict[str, File], dict[str, t.Any]]:
    """Return the files for the share, and what to tell of each workstation."""
    document = plain(options["endpoints"])
    endpoints = check_endpoints(document)
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    files = {name: File(_export_texts.content(name), mode) for name, (_text, mode) in _export_texts.FILES.items()}
    files[_installer_file.NAME] = File(_installer_file.text().encode("utf-8"), 0o755)
    files[ARTISTS_CONFIG] = File(_as_json(document))
    told = {}
    for name, one in workstations.items():
        path = f"workstations/{one['id']}/{FILE}"
        keys: Keys = one["keys"]
        what = update(
            folder.read(path),
            Wanted(
                nim_endpoints=endpoints,
                credentials=one["credentials"],
                key=str(keys.key),
                encryption_version=keys.version,
                mode=one["mode"],
                previous_keys=keys.previous,
                unread_targets=options["unread_targets"],
            ),
            now,
        )
        files[path] = File(what.content, workstation=name)
        told[name] = {"path": str(folder.path / path), "reasons": list(what.reasons)}
    return files, told


def _private(workstations: t.Mapping[str, dict[str, t.Any]], options: dict[str, t.Any]) -> dict[str, File]:
    """Return the files that only TechOps may read."""
    files = {}
    for name, one in workstations.items():
        if options["keys"]:
            files[f"keys/{one['id']}.key"] = File(f"{one['keys'].line}\n".encode(), 0o400, name)
        if options["clear_text"]:
            files[f"clear/{one['id']}/{CLEAR}"] = File(_as_json(one["credentials"]), 0o600, name)
    return files


def _as_json(value: t.Any) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=False) + "\n").encode("ascii")


def _warnings(
    differences: t.Iterable[tuple[Folder, dict[str, File], Difference]], options: dict[str, t.Any]
) -> list[str]:
    private = options["private_path"]
    told = []
    if options["clear_text"]:
        told.append(
            f"clear_text=true writes credentials that anybody who reads the files below {private}/clear can use. Bring "
            "them to their workstations, run the export again without it, which removes them, and rotate if one was "
            "left behind."
        )
    if options["keys"]:
        told.append(
            f"{private}/keys holds the key of each workstation. Bring each to its own workstation by a way that nobody "
            "else can read, never by the share, and run the export again without export_keys, which removes them."
        )
    for folder, _files, difference in differences:
        told += [
            f"{folder.path / name} is not needed any more, but somebody has changed it: it stays."
            for name in difference.kept
        ]
    return told


def _diff(folder: Folder, files: t.Mapping[str, File], difference: Difference) -> dict[str, str]:
    """Return which files there were and will be, without their content."""
    unchanged = [name for name in files if name not in difference.created]
    before = sorted({*unchanged, *difference.removed})
    after = [f"{name} (updated)" if name in difference.updated else name for name in sorted(files)]
    return {
        "before_header": str(folder.path),
        "after_header": str(folder.path),
        "before": "".join(f"{name}\n" for name in before),
        "after": "".join(f"{name}\n" for name in after),
    }
