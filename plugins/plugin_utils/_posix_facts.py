# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What was found on a POSIX workstation, what keeps us from touching it, and which steps lead to what is wanted.

Everything here is pure: facts in, sentences or steps out.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any, Protocol

from ansible_collections.budgetguard.techops.plugins.module_utils._workstation import FILE, FOLDER

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDER_MODE = 0o700
CONFIG_MODE = 0o600
KEY_MODE = 0o400
WRITABLE_BY_OTHERS = 0o022
ALL_FOR_OWNER = 0o700


def printable(text: str) -> str:
    """Return a text with escapes for what would steer a terminal: a workstation may have said it."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


class WorkstationError(Exception):
    """The workstation refused, or must be refused. One sentence, nothing secret in it."""

    def __init__(self, sentence: str) -> None:
        super().__init__(printable(sentence))


class Found(Protocol):
    """What one look found, on any system, as far as decisions need it. The sentences are None where all is well."""

    @property
    def base_owner_name(self) -> str | None:
        """Who owns ComfyUI's base folder."""

    @property
    def sum(self) -> str:
        """What tells two contents of the config apart."""

    @property
    def content(self) -> bytes | None:
        """The config, or None."""

    @property
    def key(self) -> str | None:
        """The key file's path, or None if it is left alone."""

    @property
    def key_lines(self) -> tuple[int | None, ...]:
        """The number of each line of the key file among the known lines."""

    @property
    def path(self) -> str:
        """The config's path."""

    @property
    def user_name(self) -> str:
        """The user that the task runs as."""

    @property
    def has_file(self) -> bool:
        """Whether there is a config."""

    @property
    def has_key_file(self) -> bool:
        """Whether there is a key file."""

    @property
    def folder_is_open(self) -> bool:
        """Whether others may write in the config's folder."""

    @property
    def file_is_right(self) -> bool:
        """Whether nobody else may read the config."""

    @property
    def key_file_is_right(self) -> bool:
        """Whether nobody else may read the key file, and it is not writable."""

    @property
    def file_mode(self) -> str | None:
        """The config's mode, where there are modes."""

    @property
    def is_stranger(self) -> bool:
        """Whether the task runs as somebody who must not write here."""

    def base_problem(self, force: bool) -> str | None:
        """Say why nothing may be written below this base folder."""

    def config_problem(self) -> str | None:
        """Say why the config file or its folder must not be touched."""

    def key_problem(self) -> str | None:
        """Say why the key file must not be put where it was asked for."""

    def beside(self, name: str) -> str:
        """Return the path of another file in the config's folder."""

    def shown(self) -> dict[str, Any]:
        """Return what a diff says of the files."""

    def shown_after(self, steps: Sequence[str]) -> dict[str, Any]:
        """Return what a diff says of the files after these steps."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One path as C(ls) tells it. C(kind) is C(file), C(folder), C(link) or C(other)."""

    kind: str
    mode: int
    uid: int


@dataclasses.dataclass(frozen=True)
class Facts:
    """What one look at a workstation found. Paths are as the workstation resolved them."""

    user_id: int
    user_name: str
    base: str
    base_owner_id: int | None = None
    base_owner_name: str | None = None
    base_hidden: bool = False
    base_real: str | None = None
    has: frozenset[str] = frozenset()
    folder: Entry | None = None
    file: Entry | None = None
    sum: str = "missing"
    content: bytes | None = dataclasses.field(default=None, repr=False)
    key: str | None = None
    key_near: str | None = None
    key_near_writable: bool = False
    key_folder: Entry | None = None
    key_file: Entry | None = None
    key_readable: bool = False
    key_lines: tuple[int | None, ...] = ()

    @property
    def path(self) -> str:
        """The config's path below the base folder as it was given."""
        return f"{self.base.rstrip('/')}/{FOLDER}/{FILE}"

    @property
    def is_owner(self) -> bool:
        """Whether the task runs as the owner of ComfyUI's base folder."""
        return self.base_owner_id is not None and self.base_owner_id == self.user_id

    @property
    def is_stranger(self) -> bool:
        """Whether the task runs as somebody who must not write here."""
        return self.base_hidden or (self.base_owner_id is not None and not self.is_owner)

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
        """Whether others may write in the config's folder."""
        return self.folder is not None and bool(self.folder.mode & WRITABLE_BY_OTHERS)

    @property
    def file_is_right(self) -> bool:
        """Whether the config has the mode that it should have."""
        return self.file is not None and self.file.mode == CONFIG_MODE

    @property
    def key_file_is_right(self) -> bool:
        """Whether the key file has the mode that it should have."""
        return self.key_file is not None and self.key_file.mode == KEY_MODE

    @property
    def file_mode(self) -> str | None:
        """The config's mode."""
        return f"{self.file.mode:04o}" if self.file else None

    def base_problem(self, force: bool) -> str | None:
        """Say why nothing may be written below this base folder, or None."""
        return base_problem(self, force)

    def config_problem(self) -> str | None:
        """Say why the config file or its folder must not be touched, or None."""
        return config_problem(self)

    def key_problem(self) -> str | None:
        """Say why the key file must not be put where it was asked for, or None."""
        return key_problem(self)

    def beside(self, name: str) -> str:
        """Return the path of another file in the config's folder."""
        return f"{self.path.rpartition('/')[0]}/{name}"

    def shown(self) -> dict[str, Any]:
        """Return what a diff says of the files."""
        key_file = self.key_file
        return {
            "folder": {"mode": f"{self.folder.mode:04o}"} if self.folder else None,
            "file": {"mode": self.file_mode} if self.file else None,
            "key_file": {"holds": key_state(self), "mode": f"{key_file.mode:04o}"} if key_file else None,
        }

    def shown_after(self, steps: Sequence[str]) -> dict[str, Any]:
        """Return what a diff says of the files after these steps; what no step touches stays as it was found."""
        folder_mode = FOLDER_MODE if self.folder is None else self.folder.mode & ~WRITABLE_BY_OTHERS
        touched = {"config", "config_mode"} & set(steps)
        key_touched = {"key_keep", "key_final"} & set(steps)
        found = self.shown()
        return {
            "folder": {"mode": f"{folder_mode:04o}"},
            "file": {"mode": f"{CONFIG_MODE:04o}"} if touched else found["file"],
            "key_file": {"holds": "current", "mode": f"{KEY_MODE:04o}"} if key_touched else found["key_file"],
        }


def parse_mode(text: str) -> int:
    """Return the permission bits of a mode as C(ls) writes it, as in C(-rw-r--r--) or C(drwxrwxrwt+)."""
    mode = 0
    for place, letter in enumerate(text[1:10]):
        if letter in "rwxst":
            mode |= 0o400 >> place
        if letter in "sStT":
            mode |= {2: 0o4000, 5: 0o2000, 8: 0o1000}[place]
    return mode


def parse_entry(text: str) -> Entry:
    """Return the entry that the programs' C(look) printed: mode and numeric owner."""
    mode, uid = text.split()
    kind = {"-": "file", "d": "folder", "l": "link"}.get(mode[0], "other")
    return Entry(kind, parse_mode(mode), int(uid))


def parse_facts(lines: Sequence[str]) -> Facts:
    """Return what the read program printed, as one value."""
    content = None
    if "data" in lines:
        start = list(lines).index("data")
        content = bytes.fromhex(" ".join(lines[start + 1 :]))
        lines = lines[:start]
    found: dict[str, list[str]] = {}
    for line in lines:
        name, _space, value = line.partition(" ")
        found.setdefault(name, []).append(value)
    texts = {name: values[0] for name, values in found.items()}
    entries = {name: parse_entry(texts[name]) for name in ("folder", "file", "key_folder", "key_file") if name in texts}
    owner = texts.get("base_owner_id")
    if texts.get("sum", "").startswith("large"):
        # Not read, because no config is that large; nothing stands for what is no config.
        content = b""
    return Facts(
        user_id=int(texts["user_id"]),
        user_name=texts["user_name"],
        base=texts["base"],
        base_owner_id=int(owner) if owner else None,
        base_owner_name=texts.get("base_owner_name"),
        base_hidden="base_hidden" in texts,
        base_real=texts.get("base_real"),
        has=frozenset(found.get("has", ())),
        sum=texts.get("sum", "missing"),
        content=content,
        key=texts.get("key"),
        key_near=texts.get("key_near"),
        key_near_writable="key_near_writable" in texts,
        key_readable="key_readable" in texts,
        key_lines=tuple(None if line == "other" else int(line) for line in found.get("key_line", ())),
        **entries,
    )


def base_problem(facts: Facts, force: bool) -> str | None:
    """Say why nothing may be written below this base folder, or None."""
    base, user, owner = facts.base, facts.user_name, facts.base_owner_name
    looks_right = "main.py" in facts.has or {"models", "custom_nodes"} <= facts.has
    return first_problem(
        (
            not base.startswith("/"),
            f"comfyui_path is {base!r} on this workstation; it must be absolute, or start with ~ or ~user/.",
        ),
        (
            facts.base_hidden,
            (
                f"The user {user!r} may not look into a folder above {base!r}. "
                "Set become_user to the user that owns ComfyUI's base folder."
            ),
        ),
        (
            facts.base_owner_id is None,
            f"There is no folder {base!r}. Set comfyui_path to ComfyUI's base folder, the one with main.py.",
        ),
        (
            not facts.is_owner,
            (
                f"{base!r} belongs to {owner!r}, but this task runs as {user!r}. "
                f"Set become: true and become_user: {owner} (workstation_config_user in the role)."
            ),
        ),
        (facts.base_real is None, f"{base!r} cannot be entered by its owner {user!r}; its mode needs u+x."),
        (
            not looks_right and not force,
            (
                f"{base!r} does not look like ComfyUI's base folder: no main.py, no models with custom_nodes. "
                "Correct comfyui_path, or set force: true (workstation_config_force in the role)."
            ),
        ),
    )


def config_problem(facts: Facts) -> str | None:
    """Say why the config file or its folder must not be touched, or None."""
    return _folder_problem(facts) or _file_problem(facts)


def _folder_problem(facts: Facts) -> str | None:
    folder, path = facts.folder, facts.path.rpartition("/")[0]
    if folder is None:
        return None
    return first_problem(
        (folder.kind == "link", f"{path!r} is a symbolic link; it must be a folder. Remove the link."),
        (folder.kind != "folder", f"{path!r} is not a folder. Move it away."),
        (folder.uid != facts.user_id, _foreign(path, folder, facts)),
        (
            folder.mode & ALL_FOR_OWNER != ALL_FOR_OWNER,
            f"{path!r} is closed to its owner (mode {folder.mode:04o}). Run chmod u+rwx on it.",
        ),
    )


def _file_problem(facts: Facts) -> str | None:
    file, path = facts.file, facts.path
    if file is None:
        return None
    return first_problem(
        (file.kind == "link", f"{path!r} is a symbolic link; it must be a file. Remove the link."),
        (file.kind != "file", f"{path!r} is not a file. Move it away."),
        (file.uid != facts.user_id, _foreign(path, file, facts)),
        (facts.content is None, f"{path!r} is closed to its owner (mode {file.mode:04o}). Run chmod 600 on it."),
    )


def key_problem(facts: Facts) -> str | None:
    """Say why the key file must not be put where it was asked for, or None."""
    key = facts.key
    if key is None:
        return None
    inside = _is_inside(key, facts.base) or _is_inside(facts.key_near, facts.base_real)
    misplaced = first_problem(
        (
            not key.startswith("/") or key.endswith("/"),
            f"key_path is {key!r} on this workstation; it must be the absolute path of a file.",
        ),
        (".." in key.split("/"), f"key_path {key!r} must not have .. in it."),
        (inside, f"key_path {key!r} is inside ComfyUI's base folder {facts.base!r}; keep the key outside of it."),
    )
    return misplaced or _key_folder_problem(facts, key.rpartition("/")[0] or "/") or _key_file_problem(facts, key)


def _key_folder_problem(facts: Facts, path: str) -> str | None:
    folder, user = facts.key_folder, facts.user_name
    if folder is None:
        missing = f"{path!r} is missing and {user!r} may not create it. Create it with owner {user!r}."
        return None if facts.key_near_writable else missing
    return first_problem(
        (folder.kind == "link", f"{path!r} is a symbolic link; give key_path with the real folder."),
        (folder.kind != "folder", f"{path!r} is not a folder."),
        (folder.uid != facts.user_id, _foreign(path, folder, facts)),
        (
            bool(folder.mode & WRITABLE_BY_OTHERS),
            f"Others may write in the key's folder {path!r} (mode {folder.mode:04o}). Run chmod go-w on it.",
        ),
    )


def _key_file_problem(facts: Facts, path: str) -> str | None:
    file = facts.key_file
    if file is None:
        return None
    return first_problem(
        (file.kind == "link", f"{path!r} is a symbolic link; the key must be a file. Remove the link."),
        (file.kind != "file", f"{path!r} is not a file. Move it away."),
        (file.uid != facts.user_id, _foreign(path, file, facts)),
        (not facts.key_readable, f"{path!r} is closed to its owner (mode {file.mode:04o}). Run chmod 400 on it."),
    )


def first_problem(*checks: tuple[bool, str]) -> str | None:
    """Return the sentence of the first check that is true, or None."""
    return next((sentence for wrong, sentence in checks if wrong), None)


def _foreign(path: str, entry: Entry, facts: Facts) -> str:
    return f"{path!r} belongs to the user with the id {entry.uid}, not to {facts.user_name!r}. Remove it or chown it."


def _is_inside(path: str | None, folder: str | None) -> bool:
    """Tell if the path is the folder or below it. Both are absolute; None is nowhere."""
    if path is None or folder is None:
        return False
    parts = [part for part in path.split("/") if part not in {"", "."}]
    above = [part for part in folder.split("/") if part not in {"", "."}]
    return parts[: len(above)] == above


def key_state(facts: Found) -> str:
    """Say what the key file holds: C(unmanaged), C(missing), C(current), C(rotating), C(previous) or C(other)."""
    if facts.key is None:
        return "unmanaged"
    if not facts.has_key_file:
        return "missing"
    if facts.key_lines == (0,):
        return "current"
    if facts.key_lines and facts.key_lines[0] == 0:
        return "rotating"
    if facts.key_lines and None not in facts.key_lines:
        return "previous"
    return "other"


def plan_present(facts: Found, replace: bool, aside: bool) -> list[str]:
    """Return the steps that make config and key file right, in an order that is safe to stop after any of them.

    A new key is put before the old one first, then the config is sealed with it, and only then does the old one go:
    at every moment one line of the key file opens the config.
    """
    steps = []
    key_is_right = facts.key is None or (key_state(facts) == "current" and facts.key_file_is_right)
    if facts.folder_is_open:
        steps.append("folder")
    if not key_is_right and replace:
        steps.append("key_keep")
    if replace and aside and facts.has_file:
        steps.append("aside")
    if replace:
        steps.append("config")
    elif facts.has_file and not facts.file_is_right:
        steps.append("config_mode")
    # A key file that was missing has nothing but the new key after the first step.
    if not key_is_right and not (replace and key_state(facts) == "missing"):
        steps.append("key_final")
    return steps


def plan_absent(facts: Found, aside: bool) -> list[str]:
    """Return the steps that remove config and key file. The config goes first: without its key it would be dead."""
    steps = []
    if facts.has_file:
        steps += ["aside", "config_remove"] if aside else ["config_remove"]
    if facts.has_key_file:
        steps.append("key_remove")
    return steps


def aside_name(facts: Found, kind: str) -> str:
    """Return the name beside the config for what was found there: the same content gets the same name each time."""
    return f"{FILE}.{kind}-{facts.sum.replace(' ', '-')}"


def check_path(option: str, path: str) -> None:
    """Refuse a path that the programs could not take.

    :raises WorkstationError: empty, relative, or with a line break in it.
    """
    if not path.startswith(("/", "~")):
        raise WorkstationError(f"{option} must be an absolute path, or start with ~ or ~user/; it is {path!r}.")
    if re.search(r"[\n\r\0]", path):
        raise WorkstationError(f"{option} must not hold a line break or a NUL character; it is {path!r}.")
