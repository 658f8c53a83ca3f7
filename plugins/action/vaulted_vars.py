# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write variables, some of them encrypted, into a vars file of the inventory."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.common.text.converters import to_text
from ansible.parsing.vault import VaultLib, match_encrypt_secret
from ansible.plugins.action import ActionBase

from ansible_collections.budgetguard.techops.plugins.module_utils import _whole_file
from ansible_collections.budgetguard.techops.plugins.plugin_utils._vault_file import (
    Variables,
    VaultFileError,
    merge,
    plain,
    read,
    shown,
    write,
)

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "path": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["present", "ready"], "default": "present"},
    "variables": {"type": "dict", "default": {}},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "absent": {"type": "list", "elements": "str", "default": []},
    "vault_id": {"type": "str"},
}

_HIDING = (".yml", ".yaml", ".json")
"""Endings of vars files that Ansible reads only if there is no folder of the same name."""

"""How the name of a file ends that is being written."""


class RunVault:
    """The vault passwords of this run."""

    def __init__(self, vault: VaultLib, vault_id: str | None) -> None:
        self._vault = vault
        try:
            found = match_encrypt_secret(vault.secrets, encrypt_vault_id=vault_id) if vault.secrets else None
        except AnsibleError:
            found = None
        if found is None:
            named = f" with the id {vault_id}" if vault_id else ""
            raise VaultFileError(
                f"there is no vault password{named} to encrypt with; "
                "start the run with --vault-id or --vault-password-file, or set vault_password_file in ansible.cfg"
            )
        self._id, self._secret = found

    def encrypt(self, plaintext: str) -> str:
        """Return the text of an inline value."""
        named = self._id if self._id and self._id != "default" else None
        return str(to_text(self._vault.encrypt(plaintext, secret=self._secret, vault_id=named)))

    def decrypt(self, ciphertext: str) -> str | None:
        """Return the plain text; None where none of the passwords fits."""
        try:
            return str(to_text(self._vault.decrypt(ciphertext)))
        except AnsibleError:
            return None


@dataclass(frozen=True)
class Change:
    """What should be in a file. Both methods return its variables before and after."""

    variables: Variables
    secrets: Variables = field(repr=False)
    absent: tuple[str, ...] = ()

    def foresee(self, path: Path, vault: RunVault) -> tuple[Variables, Variables]:
        """Change nothing."""
        found = read(path.read_text(encoding="utf-8"), str(path)) if path.exists() else {}
        wanted = merge(found, self.variables, self.secrets, self.absent, vault)
        return found, {name: value for name, value in wanted.items() if value != {}}

    def make(self, path: Path, vault: RunVault) -> tuple[Variables, Variables]:
        """Replace the file where it differs, with its folder locked."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.parent):
            _remove_leftovers(path)
            before, after = self.foresee(path, vault)
            if before != after:
                _replace(path, write(after) if after else None)
        return before, after


class ActionModule(ActionBase):
    """The action budgetguard.techops.vaulted_vars."""

    TRANSFERS_FILES = False
    _supports_async = False
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Run the action."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENT_SPEC)
        path = Path(arguments["path"])
        try:
            vault = RunVault(self._loader._vault, arguments["vault_id"])
            self._check_place(path)
            if arguments["state"] == "ready":
                return {**result, "changed": False, "path": str(path)}
            return {**result, **self._bring(path, arguments, vault)}
        except (VaultFileError, OSError) as error:
            return {**result, "failed": True, "msg": f"Nothing was written. {error}"}

    @staticmethod
    def _check_place(path: Path) -> None:
        """Raise VaultFileError where the file cannot be written or would hide another one."""
        if not path.is_absolute():
            raise VaultFileError(f"path is {path}; it must be absolute, such as {{{{ inventory_dir }}}}/host_vars/...")
        folder = path.parent
        for ending in _HIDING:
            hidden = folder.with_name(folder.name + ending)
            if hidden.exists():
                raise VaultFileError(
                    f"Ansible does not read {hidden} if there is a folder {folder}; move it to {folder}/main{ending}"
                )
        there = next(place for place in (folder, *folder.parents) if place.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            raise VaultFileError(f"{there} is not a folder that the user of this run may write to")
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise VaultFileError(f"{path} is not a plain file")

    def _bring(self, path: Path, arguments: dict[str, t.Any], vault: RunVault) -> dict[str, t.Any]:
        change = Change(plain(arguments["variables"]), plain(arguments["secrets"]), tuple(arguments["absent"]))
        before, after = (change.foresee if self._task.check_mode else change.make)(path, vault)
        return {
            "changed": before != after,
            "path": str(path),
            "diff": {
                "before_header": str(path),
                "after_header": str(path),
                "before": _as_text(before),
                "after": _as_text(after),
            },
        }


@contextlib.contextmanager
def _locked(folder: Path) -> t.Iterator[None]:
    """Keep other runs from writing to the folder meanwhile."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _remove_leftovers(path: Path) -> None:
    """Remove what a run that was killed while it wrote has left. With the folder locked, nobody else is writing."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*{_whole_file.UNFINISHED}"):
        leftover.unlink()


def _replace(path: Path, text: str | None) -> None:
    """Write the whole file or nothing; None removes it."""
    if text is None:
        path.unlink(missing_ok=True)
        return
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    _whole_file.write(path, text.encode(), mode)


def _as_text(variables: Variables) -> str:
    return str(yaml.safe_dump(shown(variables), default_flow_style=False, allow_unicode=True)) if variables else ""
