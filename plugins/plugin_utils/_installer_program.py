# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Install BudgetGuard's endpoints and credentials into the ComfyUI of this workstation.

It does what the action comfyui_config of the collection budgetguard.techops does, and decides by the same code. The
program is one file, made of some files of the collection: see C(_installer_file.py).
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import datetime
import getpass
import json
import os
import pathlib
import re
import secrets
import socket
import stat
import sys
import time
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._envelope import (
    PER_WORKSTATION,
    STUDIO_WIDE,
    EnvelopeError,
    check_seal,
    check_sealed,
    key_id,
    key_line,
    missing_library,
    require_key,
    studio_wide_key,
    workstation_key,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._windows_config import (
    Windows,
    line_mark,
    lines_of,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._windows_config import read as look_on_windows
from ansible_collections.budgetguard.techops.plugins.module_utils._windows_config import write as change_on_windows
from ansible_collections.budgetguard.techops.plugins.module_utils._workstation import (
    CREDENTIAL_FIELDS,
    FILE,
    FOLDER,
    STUDIO_WIDE_MODE,
    ConfigError,
    Document,
    Sealed,
    Wanted,
    check_credentials,
    check_endpoints,
    mode_name,
)
from ansible_collections.budgetguard.techops.plugins.plugin_utils._config_decision import (
    Decision,
    decide_absent,
    decide_present,
    refusal,
)
from ansible_collections.budgetguard.techops.plugins.plugin_utils._posix_facts import (
    CONFIG_MODE,
    FOLDER_MODE,
    KEY_MODE,
    WRITABLE_BY_OTHERS,
    Entry,
    Facts,
    Found,
    WorkstationError,
)
from ansible_collections.budgetguard.techops.plugins.plugin_utils._windows import windows_path
from ansible_collections.budgetguard.techops.plugins.plugin_utils._windows_facts import WindowsFacts
from ansible_collections.budgetguard.techops.plugins.plugin_utils._windows_facts import (
    parse_facts as parse_windows_facts,
)

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_REFUSED, EXIT_WORKSTATION, EXIT_DIFFERS = range(6)
EXIT_CODES = (
    "Exit codes: 0 done, whether or not anything changed; 1 failed on the way, run it again; 2 wrong options; "
    "3 the files that were given are refused: a wrong key, credentials in clear without the library cryptography; "
    "4 the workstation is refused: no ComfyUI there, another owner, a symbolic link; 5 --verify found a difference."
)

ARTISTS_CONFIG = "budgetguard_artists_config.json"
WORKSTATIONS = "workstations"
# As the role workstation_config has it.
KEY_PATH = r"~\AppData\Local\BudgetGuard\studio.key" if os.name == "nt" else "~/.config/budgetguard/studio.key"
LARGEST = 4 * 1024 * 1024
ATTEMPTS = 3
A_DAY = 24 * 60 * 60

# What the sentences of a task are called here.
WORDS = (
    (r"Set become: true and become_user: (\S+) \(workstation_config_user in the role\)\.", r"Run it as \1."),
    (r"Set become_user to the user that owns ComfyUI's base folder\.", "Run it as the user that owns ComfyUI."),
    (r"set force: true \(workstation_config_force in the role\)", "give --force"),
    (r"this task runs as", "this program runs as"),
    (r"comfyui_user \(workstation_config_user in the role\)", "--comfyui-user"),
    (r"\bcomfyui_path\b", "--comfyui-path"),
    (r"\bkey_path\b", "--key-path"),
)


class InstallError(Exception):
    """Nothing was done, or not all. The text holds no secret."""

    code = EXIT_FAILED


class UsageError(InstallError):
    """What was asked for cannot be."""

    code = EXIT_USAGE


class RefusedError(InstallError):
    """The files that were given cannot be used."""

    code = EXIT_REFUSED


class RefusedWorkstationError(InstallError):
    """Nothing may be written on this workstation."""

    code = EXIT_WORKSTATION


# ---- this workstation ----------------------------------------------------------------------------------------------


def posix_cksum(content: bytes) -> str:
    """Return what C(cksum) of POSIX prints: it names files beside the config, as the action does.

    See https://pubs.opengroup.org/onlinepubs/9699919799/utilities/cksum.html
    """
    crc, length = 0, len(content)
    size = length.to_bytes((length.bit_length() + 7) // 8, "little")
    for byte in content + size:
        crc = ((crc << 8) & 0xFFFFFFFF) ^ _CRC[(crc >> 24) ^ byte]
    return f"{crc ^ 0xFFFFFFFF} {length}"


def _crc_table() -> t.Iterator[int]:
    for first in range(256):
        value = first << 24
        for _bit in range(8):
            value = (value << 1) ^ (0x104C11DB7 if value & 0x80000000 else 0)
        yield value


_CRC = tuple(_crc_table())


_MARKS = (
    ("main.py", pathlib.Path.is_file),
    ("models", pathlib.Path.is_dir),
    ("custom_nodes", pathlib.Path.is_dir),
)
"""What ComfyUI's base folder is known by."""


class PosixComputer:
    """Looks at, and changes, config and key file here, as the programs of the action do on another workstation."""

    def __init__(self, base: str, key: str) -> None:
        self._base, self._key = base, key
        self._known: t.Sequence[str] = ()

    def installed_key(self) -> list[str]:
        """Return the lines of the key file that is here."""
        try:
            return _lines_of(pathlib.Path(_expanded(self._key)).read_bytes())
        except OSError:
            return []

    def read(self, known_lines: t.Sequence[str] = ()) -> Facts:
        """Look. Nothing is changed. The facts tell which of the lines the key file has."""
        self._known = known_lines
        me = os.geteuid()
        base, key = _expanded(self._base), _expanded(self._key)
        found: dict[str, t.Any] = {"user_id": me, "user_name": _user_name(me), "base": base, "key": key}
        if pathlib.Path(base).is_dir():
            found["base_owner_id"] = pathlib.Path(base).stat().st_uid
            found["base_owner_name"] = _user_name(found["base_owner_id"])
            if found["base_owner_id"] == me and os.access(base, os.X_OK):
                found.update(self._below(base))
        else:
            found["base_hidden"] = not os.access(_nearest(pathlib.Path(base)), os.X_OK)
        found.update(self._key_facts(key))
        return Facts(**found)

    def _below(self, base: str) -> dict[str, t.Any]:
        real = pathlib.Path(base).resolve()
        found: dict[str, t.Any] = {
            "base_real": str(real),
            "has": frozenset(name for name, is_one in _MARKS if is_one(real / name)),
            "folder": _look(real / FOLDER),
        }
        folder = found["folder"]
        if folder is None or folder.kind != "folder":
            return found
        path = real / FOLDER / FILE
        found["file"] = _look(path)
        if found["file"] is not None and found["file"].kind == "file":
            with contextlib.suppress(PermissionError), path.open("rb") as file:
                found["sum"] = _sum_of(file)
                file.seek(0)
                # Not kept, because no config is that large; nothing stands for what is no config.
                found["content"] = b"" if found["sum"].startswith("large") else file.read()
        return found

    def _key_facts(self, key: str) -> dict[str, t.Any]:
        folder = pathlib.Path(key).parent
        near = _nearest(folder)
        found: dict[str, t.Any] = {
            "key_near": str(near.resolve()),
            "key_near_writable": os.access(near, os.W_OK | os.X_OK),
            "key_folder": _look(folder),
            "key_file": _look(pathlib.Path(key)),
        }
        if found["key_file"] is not None and found["key_file"].kind == "file":
            with contextlib.suppress(OSError):
                lines = _lines_of(pathlib.Path(key).read_bytes())[:20]
                known = list(self._known)
                found["key_readable"] = True
                found["key_lines"] = tuple(known.index(line) if line in known else None for line in lines)
        return found

    def write(self, facts: Facts, steps: t.Sequence[str], content: bytes, aside: str, line: str) -> bool:
        """Take the steps. Return False when the config changed since it was read: look again then."""
        try:
            for step in steps:
                _Writer(facts, content, aside, line).take(step)
        except _RacedError:
            return False
        return True


class WindowsComputer:
    """The same on Windows, by the program that the action runs there."""

    def __init__(self, base: str, key: str, user: str, system: t.Any = None) -> None:
        self._base = windows_path("comfyui_path", base)
        self._key = windows_path("key_path", key, home=True)
        self._user, self._system = user, system or Windows()

    def installed_key(self) -> list[str]:
        """Return the lines of the key file that is here."""
        facts = self.read()
        if facts.key is None or facts.key_file is None or facts.key_file.kind != "file":
            return []
        try:
            return lines_of(self._system.read(facts.key))
        except OSError:
            return []

    def read(self, known_lines: t.Sequence[str] = ()) -> WindowsFacts:
        """Look. Nothing is changed. The facts tell which of the lines the key file has."""
        nonce = secrets.token_hex(16)
        request = {"base": self._base, "user": self._user, "key": self._key, "nonce": nonce}
        answer = look_on_windows(request, self._system)
        marks = [line_mark(nonce, line) for line in known_lines]
        return parse_windows_facts(answer, self._base, self._user, self._key, marks)

    def write(self, facts: WindowsFacts, steps: t.Sequence[str], content: bytes, aside: str, line: str) -> bool:
        """Take the steps. Return False when the config changed since it was read: look again then."""
        request = {
            "base": facts.base,
            "user": facts.user.sid if facts.user else "",
            "key": facts.key,
            "steps": list(steps),
            "expected": facts.sum,
            "token": secrets.token_hex(8),
            "aside": aside,
            "content": base64.b64encode(content).decode("ascii"),
        }
        answer = change_on_windows(request, self._system, line)
        if "failed" in answer:
            raise InstallError(
                f"Not written: {facts.path} or {facts.key} ({answer['failed']}): {answer.get('said', '')}. What was "
                "there stays. Does another program keep it open, is the disk full?"
            )
        return not answer.get("raced")


def this_computer(options: argparse.Namespace) -> t.Any:
    """Return what looks at, and changes, this workstation."""
    if os.name == "nt":
        return WindowsComputer(options.comfyui_path, options.key_path, options.comfyui_user)
    return PosixComputer(options.comfyui_path, options.key_path)


class _RacedError(Exception):
    """The config is not what it was when it was read."""


class _Writer:
    """Takes the steps of a plan. Folders are held open meanwhile, so nobody can put another one in their place."""

    def __init__(self, facts: Facts, content: bytes, aside: str, line: str) -> None:
        self._facts, self._content, self._aside, self._line = facts, content, aside, line
        key = pathlib.Path(facts.key or "")
        self._config_folder = pathlib.Path(str(facts.base_real)) / FOLDER
        self._key_folder, self._key_name = key.parent, key.name
        self._steps: t.Mapping[str, t.Callable[[int], None]] = {
            "folder": self._close_folder,
            "aside": self._keep_aside,
            "config": self._write_config,
            "config_mode": self._close_config,
            "config_remove": self._remove_config,
            "key_keep": self._add_key,
            "key_final": self._write_key,
            "key_remove": self._remove_key,
        }

    def take(self, step: str) -> None:
        """Take a step. Raises InstallError if it did not work; nothing of this step was done then."""
        path = str(self._facts.key) if step.startswith("key_") else self._facts.path
        try:
            with self._held_folder(step) as held:
                self._steps[step](held)
        except OSError as problem:
            said = problem.strerror or str(problem)
            raise InstallError(f"Not written: {path!r} ({step}): {said}. What was there stays.") from problem

    @contextlib.contextmanager
    def _held_folder(self, step: str) -> t.Iterator[int]:
        """Open the folder of a step, made if it is missing. It must still be ours."""
        path = self._key_folder if step.startswith("key_") else self._config_folder
        path.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if os.fstat(held).st_uid != self._facts.user_id:
                raise InstallError(f"Not written: {str(path)!r} belongs to another user.")
            yield held
        finally:
            os.close(held)

    def _check_not_raced(self, held: int) -> None:
        try:
            fd = os.open(FILE, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=held)
        except FileNotFoundError:
            found = "missing"
        else:
            with os.fdopen(fd, "rb") as file:
                found = _sum_of(file)
        if found != self._facts.sum:
            raise _RacedError

    def _close_folder(self, held: int) -> None:
        os.fchmod(held, stat.S_IMODE(os.fstat(held).st_mode) & ~WRITABLE_BY_OTHERS)

    def _keep_aside(self, held: int) -> None:
        self._close_config(held)
        with contextlib.suppress(FileExistsError):
            os.link(FILE, self._aside, src_dir_fd=held, dst_dir_fd=held, follow_symlinks=False)

    def _write_config(self, held: int) -> None:
        self._check_not_raced(held)
        _save(held, FILE, self._content, CONFIG_MODE)

    def _close_config(self, held: int) -> None:
        self._check_not_raced(held)
        os.chmod(FILE, CONFIG_MODE, dir_fd=held)

    def _remove_config(self, held: int) -> None:
        self._check_not_raced(held)
        os.unlink(FILE, dir_fd=held)

    def _add_key(self, held: int) -> None:
        others: list[str] = []
        with contextlib.suppress(FileNotFoundError):
            fd = os.open(self._key_name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=held)
            with os.fdopen(fd, "rb") as file:
                others = [line for line in _lines_of(file.read(LARGEST)) if line not in ("", self._line)]
        self._save_key(held, self._line, *others)

    def _write_key(self, held: int) -> None:
        self._save_key(held, self._line)

    def _save_key(self, held: int, *lines: str) -> None:
        _save(held, self._key_name, _as_bytes(lines), KEY_MODE)

    def _remove_key(self, held: int) -> None:
        os.unlink(self._key_name, dir_fd=held)


def _save(folder: int, name: str, content: bytes, mode: int) -> None:
    """Put a file there as a whole: written beside its place, on the disk, then moved over what was there."""
    temporary = f".{name}.{secrets.token_hex(8)}.new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode, dir_fd=folder)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise
    os.fsync(folder)
    _sweep(folder, name)


def _sweep(folder: int, name: str) -> None:
    """Remove what killed runs left beside a file, when it is older than a day."""
    for leftover in os.listdir(folder):
        if leftover.startswith(f".{name}.") and leftover.endswith(".new"):
            with contextlib.suppress(OSError):
                if time.time() - os.stat(leftover, dir_fd=folder, follow_symlinks=False).st_mtime > A_DAY:
                    os.unlink(leftover, dir_fd=folder)


def _look(path: pathlib.Path) -> Entry | None:
    """Return what stands at a path, or None."""
    try:
        found = path.lstat()
    except OSError:
        return None
    kinds = ((stat.S_ISLNK, "link"), (stat.S_ISDIR, "folder"), (stat.S_ISREG, "file"))
    kind = next((name for is_one, name in kinds if is_one(found.st_mode)), "other")
    return Entry(kind, stat.S_IMODE(found.st_mode), found.st_uid)


def _nearest(path: pathlib.Path) -> pathlib.Path:
    """Return the folder itself, or the nearest one above it that exists."""
    return next((one for one in (path, *path.parents) if one.is_dir()), path)


def _expanded(path: str) -> str:
    """Return a path with the home folder for ~; as it is where there is no such user."""
    try:
        return str(pathlib.Path(path).expanduser())
    except RuntimeError:
        return path


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _sum_of(file: t.BinaryIO) -> str:
    size = os.fstat(file.fileno()).st_size
    return f"large {size}" if size > LARGEST else posix_cksum(file.read())


def _lines_of(content: bytes) -> list[str]:
    """Return the lines of a key file; one that is cut off counts, too."""
    lines = content.decode("utf-8", "surrogateescape").split("\n")
    return lines if lines[-1] else lines[:-1]


def _as_bytes(lines: t.Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


# ---- what is wanted --------------------------------------------------------------------------------------------------


class Given(t.NamedTuple):
    """What to install: credentials, either sealed or in clear, endpoints, and whose it is."""

    sealed: Document | None
    credentials: t.Mapping[str, t.Mapping[str, str]]
    status: t.Mapping[str, bool]
    endpoints: Document
    mode: str
    version: int
    workstation: str


class KeyRing(t.NamedTuple):
    """The keys of this workstation: the current one, earlier ones, and the line of the key file."""

    key: str
    previous: tuple[str, ...]
    line: str

    @property
    def known_lines(self) -> tuple[str, ...]:
        """What may stand in the key file: the action knows the same lines."""
        return (self.line, *(key_line(PER_WORKSTATION, one) for one in self.previous))


def load_json(path: pathlib.Path) -> Document:
    """Read a JSON object. Raises RefusedError; what is in the file is not told."""
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise RefusedError(f"{path} cannot be read: {problem.strerror}.") from problem
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise RefusedError(f"{path} is not JSON. Was it copied completely?") from None
    if not isinstance(document, dict):
        raise RefusedError(f"{path} is not a JSON object.")
    return document


def load(options: argparse.Namespace) -> Given:
    """Read what is to be installed. Raises RefusedError or UsageError."""
    path = options.credentials or find_config(options.folder, options.workstation)
    document = load_json(path)
    artists = options.endpoints or _if_there(options.folder / ARTISTS_CONFIG)
    if "credentials" not in document:
        return _in_clear(path, document, artists, options)
    try:
        section = check_sealed(document["credentials"])
    except EnvelopeError as problem:
        raise RefusedError(f"{path} is no sealed config: {problem}.") from None
    mode, marks = document.get("mode"), (section.get("key_id"), section.get("fingerprint"))
    if not isinstance(mode, str) or not all(isinstance(mark, str) for mark in marks):
        raise RefusedError(
            f"{path} was not made by the playbook budgetguard.techops.export: mode or key_id is missing."
        )
    workstation = mode.partition(":")[2] or options.workstation or ""
    _check_mode(path, mode, options)
    status = document.get("credentials_status")
    return Given(
        sealed=section,
        credentials={},
        status={name: isinstance(status, dict) and status.get(name) is True for name in CREDENTIAL_FIELDS},
        endpoints=_endpoints(artists) if artists else _endpoints(path),
        mode=mode,
        version=section["encryption_version"],
        workstation=workstation,
    )


def _check_mode(path: pathlib.Path, mode: str, options: argparse.Namespace) -> None:
    asked = options.workstation or ""
    if options.studio_wide and mode != STUDIO_WIDE_MODE:
        raise RefusedError(f"{path} is for {mode}, and not studio-wide.")
    if options.credentials and asked and mode.startswith("workstation:") and not _is_called(mode[12:], asked):
        raise RefusedError(f"{path} is for {mode}, and not for {asked!r}. Take the file of this workstation.")


def _in_clear(
    path: pathlib.Path, document: Document, artists: pathlib.Path | None, options: argparse.Namespace
) -> Given:
    """Return what to seal here, which needs the library cryptography."""
    library = missing_library()
    if library is not None:
        raise RefusedError(
            f"{path} holds credentials in clear, and they are never installed that way. {library} Or take the sealed "
            "config of this workstation, which needs no library."
        )
    if artists is None:
        raise UsageError(f"--endpoints is needed: {path} has no endpoints.")
    if not options.studio_wide and not options.workstation:
        raise UsageError("With credentials in clear give --studio-wide or --workstation ID.")
    name = options.workstation or ""
    return Given(
        sealed=None,
        credentials=check_credentials(document),
        status={},
        endpoints=_endpoints(artists),
        mode=mode_name(STUDIO_WIDE_MODE if options.studio_wide else "workstation", name),
        version=STUDIO_WIDE if options.studio_wide else PER_WORKSTATION,
        workstation=name,
    )


def _endpoints(path: pathlib.Path) -> Document:
    try:
        return check_endpoints(load_json(path))
    except ConfigError as problem:
        raise RefusedError(f"{path}: {problem}") from None


def _if_there(path: pathlib.Path) -> pathlib.Path | None:
    return path if path.exists() else None


def find_config(folder: pathlib.Path, workstation: str | None) -> pathlib.Path:
    """Return the sealed config of a workstation in the exported folder. Without a name it is the one of this computer.

    Windows has names in capital letters, and inventories often have full ones; what is not ambiguous is found.
    """
    wanted = workstation or socket.gethostname()
    names = sorted(path.parent.name for path in folder.glob(f"{WORKSTATIONS}/*/{FILE}"))
    found = [name for name in names if name == wanted] or [name for name in names if _is_called(name, wanted)]
    if len(found) == 1:
        return folder / WORKSTATIONS / found[0] / FILE
    what = f"{len(found)} configs for" if found else "no config for"
    raise RefusedError(
        f"There {'are' if found else 'is'} {what} {wanted!r} in {folder / WORKSTATIONS}. Give --workstation as in the "
        "inventory, or --credentials."
    )


def _is_called(name: str, wanted: str) -> bool:
    short, asked = name.casefold(), wanted.casefold()
    return short == asked or short.split(".")[0] == asked or short == asked.split(".")[0]


def keyring(given: Given, offered: t.Sequence[str], installed: t.Sequence[str]) -> KeyRing:
    """Return the keys for what is to be installed. Raises RefusedError if none of them is the right one.

    :arg offered: lines of the key file that was given.
    :arg installed: lines of the key file that is here.
    """
    current = _derived(given, offered or installed)
    if given.sealed is not None:
        current = [pair for pair in current if _fits(given.sealed, pair[0])]
    if not current:
        raise RefusedError(
            f"The key does not open the config of {given.mode}. Is it the key of this workstation, or from before the "
            "studio key was changed?"
        )
    key, line = current[0]
    others = [one for one, _line in _derived(given, [*offered, *installed])]
    return KeyRing(key, tuple(dict.fromkeys(one for one in others if one != key)), line)


def _derived(given: Given, lines: t.Sequence[str]) -> list[tuple[str, str]]:
    """Return the key that each line stands for, and the line for the key file. Lines of another kind are left out."""
    found = []
    for line in lines:
        form, _space, text = line.partition(" ")
        if form == "v2" and given.version == PER_WORKSTATION:
            with contextlib.suppress(EnvelopeError):
                require_key(text)
                found.append((text, line))
        elif form != "v2" and line:
            studio_key = text if form == "v1" else line
            with contextlib.suppress(EnvelopeError):
                found.append(_from_studio_key(given, studio_key))
    return found


def _from_studio_key(given: Given, studio_key: str) -> tuple[str, str]:
    if given.version == STUDIO_WIDE:
        key = studio_wide_key(studio_key)
        return key, key_line(STUDIO_WIDE, key, studio_key)
    key = workstation_key(studio_key, given.workstation)
    return key, key_line(PER_WORKSTATION, key)


def _fits(section: Document, key: str) -> bool:
    try:
        check_seal(section, key)
    except EnvelopeError:
        return False
    return bool(section.get("key_id") == key_id(key))


def _refuse(facts: Found, force: bool) -> None:
    problem = refusal(facts, force)
    if problem is not None:
        raise RefusedWorkstationError(in_our_words(problem))


def in_our_words(sentence: str) -> str:
    """Return a sentence of the action with the names of our options."""
    for theirs, ours in WORDS:
        sentence = re.sub(theirs, ours, sentence)
    return sentence


# ---- the program -----------------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        description="Install BudgetGuard's endpoints and credentials into the ComfyUI of this workstation.",
        epilog=EXIT_CODES,
    )
    made.add_argument("--comfyui-path", help="ComfyUI's base folder, the one with main.py")
    made.add_argument("--endpoints", type=pathlib.Path, help=f"default: {ARTISTS_CONFIG} beside this program, if any")
    made.add_argument(
        "--credentials",
        type=pathlib.Path,
        help=f"a sealed config; default: {WORKSTATIONS}/ID/{FILE} beside this program",
    )
    whose = made.add_mutually_exclusive_group()
    whose.add_argument("--studio-wide", action="store_true", help="one key for all workstations")
    whose.add_argument("--workstation", metavar="ID", help="the name in the inventory; default: that of this computer")
    made.add_argument(
        "--studio-key-file", metavar="FILE", help="the workstation's key, or the studio key; - reads standard input"
    )
    made.add_argument("--key-path", default=KEY_PATH, help="where the key is kept (default: %(default)s)")
    made.add_argument(
        "--comfyui-user",
        default="",
        metavar="NAME",
        help="on Windows who ComfyUI runs as; default: who owns its folder",
    )
    made.add_argument("--backup", action="store_true", help="keep a copy of a config that is replaced or removed")
    made.add_argument("--force", action="store_true", help="go on though it does not look like ComfyUI's folder")
    what = made.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="only say what would be done")
    what.add_argument("--verify", action="store_true", help="only compare, and exit with 5 if something differs")
    what.add_argument("--remove", action="store_true", help="remove config and key; revokes nothing")
    made.add_argument("--non-interactive", action="store_true", help="never ask")
    made.add_argument("--json", action="store_true", help="print the result as one line of JSON")
    made.set_defaults(folder=pathlib.Path(__file__).resolve().parent)
    return made


def main(words: t.Sequence[str] | None = None) -> int:
    """Run the program."""
    options = parser().parse_args(words)
    before = os.umask(0o077)
    try:
        told = run(options)
    except InstallError as problem:
        told = {"changed": False, "failed": True, "msg": str(problem), "exit_code": problem.code}
    except (ConfigError, EnvelopeError, WorkstationError) as problem:
        told = {"changed": False, "failed": True, "msg": in_our_words(str(problem)), "exit_code": EXIT_REFUSED}
    finally:
        os.umask(before)
    if options.json:
        sys.stdout.write(json.dumps(told) + "\n")
    else:
        _print(told)
    return int(told["exit_code"])


def run(options: argparse.Namespace) -> dict[str, t.Any]:
    """Do what was asked for and return what came of it. Raises InstallError."""
    if not options.comfyui_path:
        options.comfyui_path = _ask(options, "--comfyui-path", "ComfyUI's folder, the one with main.py: ")
    if not options.comfyui_path.startswith("~"):
        options.comfyui_path = str(pathlib.Path(options.comfyui_path).absolute())
    if options.remove:
        return _remove(options)
    given = load(options)
    warnings: list[str] = []
    computer = this_computer(options)
    _refuse(computer.read(), options.force)
    keys = keyring(given, *_key_lines(options, computer.installed_key(), warnings))
    wanted = Wanted(
        nim_endpoints=given.endpoints,
        credentials=t.cast(t.Any, given.credentials),
        key=keys.key,
        encryption_version=given.version,
        mode=given.mode,
        previous_keys=keys.previous,
        sealed=None if given.sealed is None else Sealed(_section(given.sealed), dict(given.status)),
    )
    only_look = options.check or options.verify
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    for _attempt in range(ATTEMPTS):
        facts = computer.read(keys.known_lines)
        _refuse(facts, options.force)
        decision = decide_present(facts, wanted, options.backup, now)
        if only_look or computer.write(facts, decision.steps, decision.content, decision.aside, keys.line):
            return _tell(options, decision, warnings)
    raise InstallError("Not written: someone else kept changing the config at the same time. Run this again.")


def _section(sealed: Document) -> Document:
    """Return what belongs into an envelope; a field that somebody added on the way does not."""
    names = (
        "encrypted",
        "encryption_version",
        "encryption_method",
        "note",
        "key_id",
        "fingerprint",
        "encrypted_data",
    )
    return {name: sealed[name] for name in names if name in sealed}


def _remove(options: argparse.Namespace) -> dict[str, t.Any]:
    computer = this_computer(options)
    for _attempt in range(ATTEMPTS):
        facts = computer.read()
        _refuse(facts, options.force)
        decision = decide_absent(facts, options.backup)
        if computer.write(facts, decision.steps, b"", decision.aside, ""):
            return _tell(options, decision, [])
    raise InstallError("Not removed: someone else kept changing the config at the same time. Run this again.")


def _tell(options: argparse.Namespace, decision: Decision, warnings: t.Sequence[str]) -> dict[str, t.Any]:
    return {
        **decision.told(),
        "warnings": list(warnings),
        "check": options.check or options.verify,
        "exit_code": EXIT_DIFFERS if options.verify and decision.steps else EXIT_OK,
    }


def _print(told: t.Mapping[str, t.Any]) -> None:
    for warning in told.get("warnings", ()):
        sys.stderr.write(f"WARNING: {warning}\n")
    if told.get("failed"):
        sys.stderr.write(f"ERROR: {told['msg']}\n")
        return
    would = "would be " if told["check"] else ""
    for name, path, status in (
        ("config", told["path"], told["config_status"]),
        ("key", told["key_path"], told["key_status"]),
    ):
        as_it_was = status in ("unchanged", "absent")
        sys.stdout.write(f"{name}: {'' if as_it_was else would}{status} ({path})\n")
    beside = told["kept_aside"] or told["backup_file"]
    if beside:
        sys.stdout.write(f"kept beside it: {beside}\n")


def _key_lines(options: argparse.Namespace, installed: list[str], warnings: list[str]) -> tuple[list[str], list[str]]:
    """Return the lines of the key file that was given, and of the one that is here."""
    if options.studio_key_file:
        return _given_key(options.studio_key_file, warnings), installed
    if not installed:
        return [_ask(options, "--studio-key-file", "The key of this workstation, or the studio key: ", True)], installed
    return [], installed


def _given_key(path: str, warnings: list[str]) -> list[str]:
    try:
        content = sys.stdin.buffer.read(LARGEST) if path == "-" else pathlib.Path(path).read_bytes()
        others_read = path != "-" and os.name == "posix" and bool(pathlib.Path(path).stat().st_mode & 0o044)
    except OSError as problem:
        raise RefusedError(f"The key file {path} cannot be read: {problem.strerror}.") from problem
    if others_read:
        warnings.append(f"others may read the key file {path}")
    lines = [line.strip() for line in _lines_of(content) if line.strip()]
    if not lines:
        raise RefusedError(f"The key file {path} is empty.")
    return lines


def _ask(options: argparse.Namespace, option: str, question: str, hidden: bool = False) -> str:
    """Ask the person in front of us, or say which option is missing."""
    if options.non_interactive or not sys.stdin.isatty():
        raise UsageError(f"{option} is needed. See --help.")
    answer = getpass.getpass(question) if hidden else input(question)
    if not answer.strip():
        raise UsageError(f"{option} is needed.")
    return answer.strip()


if __name__ == "__main__":
    raise SystemExit(main())
