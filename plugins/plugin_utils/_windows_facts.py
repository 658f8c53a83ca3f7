# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What was found on a Windows workstation, and what keeps us from touching it. Pure: an answer in, sentences out.

Whose is what is another question than on POSIX. There, a task becomes ComfyUI's user and writes as that user. On
Windows that takes the artist's password, so an administrator writes, what he makes often belongs to the group
Administrators, and the access list says who may read. So ComfyUI's user is told or found (C(choose_user)), the task
runs as that user or as an administrator, and nothing is touched that belongs to somebody else.
"""

from __future__ import annotations

import base64
import dataclasses
import ntpath
from typing import TYPE_CHECKING, Any

from ansible_collections.budgetguard.techops.plugins.module_utils._windows_config import ADMINISTRATORS, SYSTEM
from ansible_collections.budgetguard.techops.plugins.module_utils._workstation import FILE, FOLDER
from ansible_collections.budgetguard.techops.plugins.plugin_utils._posix_facts import first_problem, key_state
from ansible_collections.budgetguard.techops.plugins.plugin_utils._windows import (
    ACCESS_DENIED,
    DOUBLE_HOP,
    NETWORK_ERRORS,
    is_unc,
    quoted,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PRIVATE = "ComfyUI's user, Administrators, SYSTEM"
NOT_PRIVATE = "others, or inherited"


@dataclasses.dataclass(frozen=True)
class Account:
    """An account, by its SID and the name that the workstation has for it."""

    sid: str
    name: str


@dataclasses.dataclass(frozen=True)
class Entry:
    """One path. C(kind) is C(file), C(folder), C(link) (a junction, too) or C(closed) to us."""

    kind: str
    owner: Account | None = None
    private: bool = False
    writers: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class WindowsFacts:
    """What one look at a workstation found."""

    base: str
    runs_as: Account
    is_admin: bool
    base_kind: str | None = None
    base_owner: Account | None = None
    base_error: str | None = None
    base_hidden: bool = False
    base_code: int | None = None
    asked_user: str = ""
    user: Account | None = None
    has: frozenset[str] = frozenset()
    folder: Entry | None = None
    file: Entry | None = None
    sum: str = "missing"
    content: bytes | None = dataclasses.field(default=None, repr=False)
    asked_key: str | None = None
    key: str | None = None
    key_inside: bool = False
    key_near: str | None = None
    key_leads_to: str | None = None
    key_folder: Entry | None = None
    key_file: Entry | None = None
    key_lines: tuple[int | None, ...] = ()

    @property
    def path(self) -> str:
        """The config's path."""
        return ntpath.join(self.base, FOLDER, FILE)

    @property
    def user_name(self) -> str:
        """The account that the task ran as."""
        return self.runs_as.name

    @property
    def base_owner_name(self) -> str | None:
        """Who owns ComfyUI's base folder."""
        return self.base_owner.name if self.base_owner else None

    @property
    def is_stranger(self) -> bool:
        """Whether the task runs as somebody who must not write here."""
        if self.user is None:
            return self.base_hidden
        return not self.is_admin and self.runs_as.sid != self.user.sid

    @property
    def has_file(self) -> bool:
        """Whether there is a config."""
        return self.file is not None

    @property
    def has_key_file(self) -> bool:
        """Whether there is a key file."""
        return self.key_file is not None

    @property
    def folder_is_open(self) -> bool:
        """Whether others may read or write in the config's folder, or it inherits access."""
        return self.folder is not None and not self.folder.private

    @property
    def file_is_right(self) -> bool:
        """Whether the config is for ComfyUI's user, administrators and the system alone."""
        return self.file is not None and self.file.private

    @property
    def key_file_is_right(self) -> bool:
        """Whether the key file is, too, and ComfyUI's user may only read it."""
        return self.key_file is not None and self.key_file.private

    @property
    def file_mode(self) -> str | None:
        """Windows has no modes."""
        return None

    def beside(self, name: str) -> str:
        """Return the path of another file in the config's folder."""
        return ntpath.join(self.base, FOLDER, name)

    def shown(self) -> dict[str, Any]:
        """Return what a diff says of the files."""
        holds = {"holds": key_state(self)}
        return {
            "folder": _access(self.folder),
            "file": _access(self.file),
            "key_file": {**holds, "access": _words(self.key_file)} if self.key_file else None,
        }

    def shown_after(self, steps: Sequence[str]) -> dict[str, Any]:
        """Return what a diff says of the files after these steps; what no step touches stays as it was found."""
        found = self.shown()
        touched = {"config", "config_mode"} & set(steps)
        key_touched = {"key_keep", "key_final"} & set(steps)
        return {
            "folder": {"access": PRIVATE} if self.folder is None or "folder" in steps else found["folder"],
            "file": {"access": PRIVATE} if touched else found["file"],
            "key_file": {"holds": "current", "access": PRIVATE} if key_touched else found["key_file"],
        }

    def base_problem(self, force: bool) -> str | None:
        """Say why nothing may be written below this base folder, or None."""
        base, runs_as, owner = quoted(self.base), quoted(self.runs_as.name), quoted(self.base_owner_name or "")
        looks_right = "main.py" in self.has or {"models", "custom_nodes"} <= self.has
        user = self.user or Account("", "")
        return first_problem(
            (self.base_error is not None, self._unreachable()),
            (
                self.base_kind is None,
                (
                    f"There is no folder {base}. Set comfyui_path to ComfyUI's base folder, the one with main.py."
                    + (f" {DOUBLE_HOP}" if is_unc(self.base) else "")
                ),
            ),
            (self.base_kind not in ("folder", "link"), f"{base} is not a folder. Correct comfyui_path."),
            (
                self.user is None and bool(self.asked_user),
                (
                    f"This workstation knows no account {quoted(self.asked_user)}. Correct comfyui_user "
                    r"(workstation_config_user in the role): artist, STUDIO\artist, or artist@studio.example."
                ),
            ),
            (
                self.user is None,
                (
                    f"{base} belongs to {owner}, which does not say who ComfyUI runs as. Set comfyui_user "
                    "(workstation_config_user in the role)."
                ),
            ),
            (
                not self.is_admin and self.runs_as.sid != user.sid,
                (
                    f"ComfyUI in {base} is that of {quoted(user.name)}, but this task runs as {runs_as}, who is not an "
                    "administrator. Log in as one of the two, or correct comfyui_user (workstation_config_user in the "
                    "role)."
                ),
            ),
            (
                not looks_right and not force,
                (
                    f"{base} does not look like ComfyUI's base folder: no main.py, no models with custom_nodes. "
                    "Correct comfyui_path, or set force: true (workstation_config_force in the role)."
                ),
            ),
        )

    def _unreachable(self) -> str:
        base, said = quoted(self.base), (self.base_error or "").rstrip(".")
        on_server = is_unc(self.base) and self.base_code in (None, ACCESS_DENIED, *NETWORK_ERRORS)
        cure = DOUBLE_HOP if on_server else "Give this account access, or correct comfyui_path."
        return f"The account {quoted(self.runs_as.name)} cannot look into {base}: {said}. {cure}"

    def config_problem(self) -> str | None:
        """Say why the config file or its folder must not be touched, or None."""
        folder = ntpath.join(self.base, FOLDER)
        return self._entry_problem(self.folder, folder, "folder", "it must be a folder") or self._entry_problem(
            self.file, self.path, "file", "it must be a file", readable=self.content is not None
        )

    def _entry_problem(self, entry: Entry | None, path: str, kind: str, what: str, readable: bool = True) -> str | None:
        if entry is None:
            return None
        owner, user = entry.owner or Account("", "nobody"), self.user or Account("", "")
        take = f'takeown /A /F "{path}"'
        grant = f'icacls "{path}" /grant *{ADMINISTRATORS}:F'
        return first_problem(
            (entry.kind == "link", f"{quoted(path)} is a symbolic link or a junction; {what}. Remove the link."),
            (
                entry.kind == "closed" or not readable,
                f"{quoted(path)} is closed to {quoted(self.runs_as.name)}. As an administrator run {take} and {grant}",
            ),
            (entry.kind != kind, f"{quoted(path)} is not a {kind}. Move it away."),
            (
                owner.sid not in {SYSTEM, ADMINISTRATORS, self.runs_as.sid, user.sid},
                (
                    f"{quoted(path)} belongs to {quoted(owner.name)}, not to {quoted(user.name)} or the "
                    f"administrators. Find out why, then remove it, or run {take}"
                ),
            ),
        )

    def key_problem(self) -> str | None:
        """Say why the key file must not be put where it was asked for, or None."""
        if self.asked_key is None:
            return None
        user = quoted(self.user.name if self.user else "")
        if self.key is None:
            return (
                f"{user} has no home folder on this workstation yet, so key_path {quoted(self.asked_key)} leads "
                r"nowhere. Log in as that user once, or give a path such as C:\ProgramData\BudgetGuard\studio.key."
            )
        key, folder_path = quoted(self.key), ntpath.dirname(self.key)
        folder, base = quoted(folder_path), quoted(self.base)
        misplaced = first_problem(
            (self.key_inside, f"key_path {key} is inside ComfyUI's base folder {base}; keep the key outside of it."),
            (ntpath.dirname(folder_path) == folder_path, f"key_path {key} needs a folder of its own."),
            (self.key_near is None, f"There is no drive or share for key_path {key} on this workstation."),
            (
                self.key_leads_to is not None,
                (
                    f"key_path {key} goes over a link: {quoted(self.key_near or '')} is "
                    f"{quoted(self.key_leads_to or '')}. Give key_path with the real folder."
                ),
            ),
        )
        return (
            misplaced
            or self._entry_problem(self.key_folder, folder_path, "folder", "give key_path with the real folder")
            or self._key_folder_problem(folder)
            or self._entry_problem(self.key_file, self.key, "file", "the key must be a file")
        )

    def _key_folder_problem(self, folder: str) -> str | None:
        if self.key_folder is None or not self.key_folder.writers:
            return None
        who = ", ".join(quoted(name) for name in self.key_folder.writers)
        return (
            f"Others ({who}) may write in the key's folder {folder}. Take that away from them, or give key_path in a "
            "folder that does not exist yet: it is made so that nobody else has access."
        )


def _access(entry: Entry | None) -> dict[str, str] | None:
    return {"access": _words(entry)} if entry else None


def _words(entry: Entry) -> str:
    return PRIVATE if entry.private else NOT_PRIVATE


def parse_facts(
    answer: Mapping[str, Any], base: str, asked_user: str, asked_key: str | None, marks: Sequence[str]
) -> WindowsFacts:
    """Return what the program answered, as one value.

    :arg marks: the marks of the lines that the key file may have, in their order.
    """
    found = answer["base"]
    content = answer.get("content")
    return WindowsFacts(
        base=base,
        runs_as=_account(answer["runs_as"]),
        is_admin=bool(answer["is_admin"]),
        base_kind=found.get("kind"),
        base_owner=_account(found["owner"]) if "owner" in found else None,
        base_hidden="hidden" in found,
        base_error=found.get("hidden") or found.get("unreachable"),
        base_code=found.get("code"),
        asked_user=asked_user,
        user=_account(answer["user"]) if answer.get("user") else None,
        has=frozenset(answer.get("has", ())),
        folder=_entry(answer.get("folder")),
        file=_entry(answer.get("file")),
        sum=answer.get("sum", "missing"),
        content=None if content is None else base64.b64decode(content),
        asked_key=asked_key,
        key=answer.get("key"),
        key_inside=bool(answer.get("key_inside")),
        key_near=answer.get("key_near"),
        key_leads_to=answer.get("key_leads_to"),
        key_folder=_entry(answer.get("key_folder")),
        key_file=_entry(answer.get("key_file")),
        key_lines=tuple(marks.index(mark) if mark in marks else None for mark in answer.get("key_lines", ())),
    )


def _account(found: Mapping[str, str]) -> Account:
    return Account(found["sid"], found["name"])


def _entry(found: Mapping[str, Any] | None) -> Entry | None:
    if found is None:
        return None
    owner = found.get("owner")
    return Entry(
        found["kind"],
        _account(owner) if owner else None,
        bool(found.get("private")),
        tuple(found.get("writers", ())),
    )
