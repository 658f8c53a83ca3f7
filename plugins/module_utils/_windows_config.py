# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Look at, and change, the config and the key file of a Windows workstation. Runs there, with ComfyUI's own Python.

The whole file goes to that Python on standard input, and after it one JSON object that says what to do; one line of
JSON comes back. So it imports nothing but the standard library of Python 3.8, and nothing of the collection. All that
needs Windows is in C(Windows); the rest works on any object with the same methods.

Access is set by Windows' own calls and not by C(icacls), which would be one more process for each file, has names of
accounts in the language of the workstation in its output, and can set the access of a file only after it was made.
Here a file is made with the right access from its first byte on. Accounts are compared by their SID.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import hashlib
import hmac
import importlib
import json
import ntpath
import os
import pathlib
import stat
import sys
import time
import typing as t

FOLDER = "budgetguard"
FILE = "budgetguard_backend_config.json"
# A config is some kilobytes. What is larger is not one, and is not read.
LARGEST_CONFIG = 4 * 1024 * 1024
PAD_VARIABLE = "BUDGETGUARD_PAD"
A_DAY = 24 * 60 * 60
# A program that reads a file keeps it from being replaced, most often for milliseconds.
BUSY_ATTEMPTS, BUSY_SECONDS = 20, 0.1

# See https://learn.microsoft.com/en-us/windows-server/identity/ad-ds/manage/understand-security-identifiers
SYSTEM, ADMINISTRATORS, CREATOR_OWNER = "S-1-5-18", "S-1-5-32-544", "S-1-3-0"
TRUSTED_INSTALLER = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"
EVERYONE = "S-1-1-0"
KEEPERS = frozenset({SYSTEM, ADMINISTRATORS})
"""They have access to everything on a workstation anyway."""

# See https://learn.microsoft.com/en-us/windows/win32/fileio/file-access-rights-constants
READ_DATA, WRITE_DATA, APPEND_DATA = 0x1, 0x2, 0x4
FULL_ACCESS, READ_ACCESS = 0x1F01FF, 0x120089
GENERIC_READ, GENERIC_WRITE, GENERIC_ALL = 0x80000000, 0x40000000, 0x10000000
# Data, delete, delete what is inside, change access, take ownership.
ANY_WRITE = WRITE_DATA | APPEND_DATA | 0x40 | 0x10000 | 0x40000 | 0x80000 | GENERIC_WRITE | GENERIC_ALL
ALLOW, INHERIT, INHERIT_ONLY = 0, 0x3, 0x8
USER_ACCOUNT = 1


class Entry(t.NamedTuple):
    """One line of an access list: who (a SID) may do what. C(allow) is false for a line that forbids."""

    sid: str
    mask: int
    flags: int = 0
    allow: bool = True


class Security(t.NamedTuple):
    """Who owns a file, who may do what with it (None: everybody everything), and whether it inherits from above."""

    owner: str
    entries: list[Entry] | None
    inherits: bool


class FailedError(Exception):
    """A step did not work. The text is a word of the program's vocabulary."""


class RacedError(Exception):
    """The config is not what it was when it was read."""


def access(user: str, folder: bool = False, read_only: bool = False) -> list[Entry]:
    """Return what is to be set: ComfyUI's user, administrators and the system, and nobody else."""
    flags = INHERIT if folder else 0
    mask = READ_ACCESS if read_only and user not in KEEPERS else FULL_ACCESS
    entries = {sid: Entry(sid, FULL_ACCESS, flags) for sid in (SYSTEM, ADMINISTRATORS)}
    return list({**entries, user: Entry(user, mask, flags)}.values())


def sddl(entries: t.Iterable[Entry]) -> str:
    """Return an access list that inherits nothing, as Windows writes it in text."""
    lines = (f"(A;{'OICI' if entry.flags else ''};0x{entry.mask:x};;;{entry.sid})" for entry in entries)
    return "D:P" + "".join(lines)


def is_private(security: Security, user: str, read_only: bool = False) -> bool:
    """Tell whether nobody but ComfyUI's user, administrators and the system has access, now and after changes above.

    What exactly those three may do is compared no further than it matters, because file servers put it in other words.
    """
    if security.entries is None or security.inherits:
        return False
    allowed = [entry for entry in security.entries if entry.allow]
    if any(entry.sid not in (KEEPERS | {user}) for entry in allowed):
        return False
    if user in KEEPERS:
        return True
    mask = 0
    for entry in allowed:
        mask |= entry.mask if entry.sid == user else 0
    may_read = mask & (READ_DATA | GENERIC_READ | GENERIC_ALL)
    may_write = mask & (WRITE_DATA | APPEND_DATA | GENERIC_WRITE | GENERIC_ALL)
    return bool(may_read) and bool(may_write) != read_only


def writers(security: Security, user: str) -> list[str]:
    """Return the SIDs of the others who may write."""
    harmless = KEEPERS | {user, CREATOR_OWNER, TRUSTED_INSTALLER}
    if security.entries is None:
        return [EVERYONE]
    found = (
        entry.sid
        for entry in security.entries
        if entry.allow and entry.mask & ANY_WRITE and not entry.flags & INHERIT_ONLY
    )
    return [sid for sid in dict.fromkeys(found) if sid not in harmless]


def choose_user(system: t.Any, asked: str, base_owner: str) -> str | None:
    """Return the SID of the user that ComfyUI runs as: who was asked for, else the owner of its folder, else ourselves.

    A folder that was made by an administrator belongs to the group Administrators, which says nothing.
    """
    if asked:
        found: str | None = system.sid_of(asked)
        return found
    if base_owner not in KEEPERS and system.account(base_owner)[1] == USER_ACCOUNT:
        return base_owner
    return None if system.is_admin() else str(system.runs_as())


def sum_of(content: bytes | None, size: int | None = None) -> str:
    """Return what tells two contents apart."""
    if content is None:
        return "missing" if size is None else f"large {size}"
    return f"{hashlib.sha256(content).hexdigest()[:16]} {len(content)}"


def is_inside(path: str, folder: str) -> bool:
    """Tell whether the path is the folder or below it. Windows does not tell capital letters from small ones."""
    parts = [part for part in ntpath.normcase(path).split("\\") if part]
    above = [part for part in ntpath.normcase(folder).split("\\") if part]
    return parts[: len(above)] == above


def lines_of(content: bytes) -> list[str]:
    """Return the lines of a key file that are not empty."""
    lines = (line.rstrip(b"\r").decode("utf-8", "surrogateescape") for line in content.split(b"\n"))
    return [line for line in lines if line]


# ---- look ------------------------------------------------------------------------------------------------------------


def read(request: t.Mapping[str, t.Any], system: t.Any) -> dict[str, t.Any]:
    """Return what there is, without changing anything. Of a key, only a keyed hash of each line comes back."""
    base, runs_as = request["base"], system.runs_as()
    answer: dict[str, t.Any] = {"runs_as": _account(system, runs_as), "is_admin": system.is_admin()}
    try:
        kind = system.kind(base)
        base_security = system.security(base) if kind in ("folder", "link") else None
    except PermissionError as problem:
        return {**answer, "base": {"hidden": _reason(problem)}}
    if base_security is None:
        return {**answer, "base": {"kind": kind}}
    answer["base"] = {"kind": kind, "owner": _account(system, base_security.owner)}
    user = choose_user(system, request["user"], base_security.owner)
    if user is None:
        return {**answer, "user": None}
    answer["user"] = _account(system, user)
    names = {name.lower() for name in system.names(base)}
    answer["has"] = sorted({"main.py", "models", "custom_nodes"} & names)
    answer["folder"] = _look(system, ntpath.join(base, FOLDER), user)
    if answer["folder"] and answer["folder"]["kind"] == "folder":
        path = ntpath.join(base, FOLDER, FILE)
        answer["file"] = _look(system, path, user)
        if answer["file"] and answer["file"]["kind"] == "file":
            answer.update(_content(system, path))
    if request["key"]:
        answer.update(_read_key(request, system, user))
    return answer


def _account(system: t.Any, sid: str) -> dict[str, t.Any]:
    name, _kind = system.account(sid)
    return {"sid": sid, "name": name or sid}


def _reason(problem: OSError) -> str:
    return problem.strerror or str(problem)


def _look(system: t.Any, path: str, user: str, read_only: bool = False) -> dict[str, t.Any] | None:
    """Return what stands at a path, or None."""
    try:
        kind = system.kind(path)
        if kind is None:
            return None
        security = system.security(path)
    except PermissionError:
        return {"kind": "closed"}
    return {
        "kind": kind,
        "owner": _account(system, security.owner),
        "private": is_private(security, user, read_only),
        "inherits": security.inherits,
        "writers": [_account(system, sid)["name"] for sid in writers(security, user)],
    }


def _content(system: t.Any, path: str) -> dict[str, t.Any]:
    try:
        size = system.size(path)
        if size > LARGEST_CONFIG:
            # Not read, because no config is that large; nothing stands for what is no config.
            return {"sum": sum_of(None, size), "content": ""}
        content = system.read(path)
    except PermissionError:
        return {"sum": "closed", "content": None}
    return {"sum": sum_of(content), "content": base64.b64encode(content).decode("ascii")}


def _read_key(request: t.Mapping[str, t.Any], system: t.Any, user: str) -> dict[str, t.Any]:
    key = _key_path(system, request["key"], user)
    if key is None:
        return {"key": None}
    folder = ntpath.dirname(key)
    near = folder
    while near != ntpath.dirname(near) and system.kind_or_closed(near) is None:
        near = ntpath.dirname(near)
    base = request["base"]
    answer: dict[str, t.Any] = {
        "key": key,
        "key_inside": is_inside(key, base) or is_inside(system.real(near), system.real(base)),
        "key_near": near if system.kind_or_closed(near) else None,
        "key_leads_to": None if _is_itself(system, near) else system.real(near),
        "key_folder": _look(system, folder, user),
        "key_file": _look(system, key, user, read_only=True),
        "key_lines": [],
    }
    if answer["key_file"] and answer["key_file"]["kind"] == "file":
        try:
            content = system.read(key)
        except PermissionError:
            answer["key_file"]["kind"] = "closed"
        else:
            answer["key_lines"] = [line_mark(request["nonce"], line) for line in lines_of(content)]
    return answer


def _is_itself(system: t.Any, folder: str) -> bool:
    """Tell whether no part of a path is a link. An administrator must not be led elsewhere by an artist's link."""
    return bool(ntpath.normcase(system.real(folder)) == ntpath.normcase(folder))


def _key_path(system: t.Any, key: str, user: str) -> str | None:
    """Return the key's path with the home folder of ComfyUI's user in it; None where he has none yet."""
    if not key.startswith("~"):
        return key
    home = system.home(user)
    return ntpath.join(home, key[2:]) if home else None


def line_mark(nonce: str, line: str) -> str:
    """Return a name of a line that says nothing about it: a hash with a number that was drawn for this one look."""
    return hmac.new(nonce.encode("ascii"), line.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


# ---- change ----------------------------------------------------------------------------------------------------------


class Change:
    """Takes the steps, each of which leaves the workstation in a state that works."""

    def __init__(self, request: t.Mapping[str, t.Any], system: t.Any, line: str) -> None:
        self.system = system
        self.user = request["user"]
        self.folder = ntpath.join(request["base"], FOLDER)
        self.path = ntpath.join(self.folder, FILE)
        self.base = request["base"]
        self.key = request["key"]
        self.expected, self.token, self.line = request["expected"], request["token"], line
        self.aside = request["aside"]
        self.content = base64.b64decode(request["content"])
        self.done: list[str] = []

    def take(self, step: str) -> None:
        """Take one step.

        :raises FailedError: it did not work; nothing of it was done.
        :raises RacedError: the config changed since it was read.
        """
        if step.startswith("key_"):
            with self._key_folder():
                getattr(self, f"_{step}")()
        else:
            with self._config_folder():
                getattr(self, f"_{step}")()
        self.done.append(step)

    @contextlib.contextmanager
    def _config_folder(self) -> t.Iterator[None]:
        """Hold the config's folder, so that nobody can put another one in its place meanwhile."""
        with _failing("base missing"):
            held = self.system.hold(self.base)
        with held:
            if self.system.kind(self.folder) is None:
                with _failing("folder create"):
                    self.system.make_folder(self.folder, access(self.user, folder=True))
            with _failing("folder missing"):
                held_folder = self.system.hold(self.folder)
            with held_folder:
                if self.system.kind(self.folder) != "folder":
                    raise FailedError("folder type")
                yield

    @contextlib.contextmanager
    def _key_folder(self) -> t.Iterator[None]:
        folder = ntpath.dirname(self.key)
        if self.system.kind(folder) is None:
            with _failing("key_folder create"):
                self.system.make_folders(folder, access(self.user, folder=True))
        with _failing("key_folder missing"):
            held = self.system.hold(folder)
        with held:
            if self.system.kind(folder) != "folder" or not _is_itself(self.system, folder):
                raise FailedError("key_folder type")
            self._require_file(self.key, "key")
            yield

    def _folder(self) -> None:
        with _failing("folder mode"):
            self.system.set_access(self.folder, access(self.user, folder=True))
        self._require_private(self.folder, "folder")

    def _aside(self) -> None:
        content = self._not_raced()
        copy = ntpath.join(self.folder, self.aside)
        if self.system.kind(copy) is None:
            self.save(copy, content, "aside")

    def _config(self) -> None:
        self._not_raced(may_be_missing=True)
        self.save(self.path, self.content, "config")

    def _config_mode(self) -> None:
        self._not_raced()
        with _failing("config mode"):
            self.system.set_access(self.path, access(self.user))
        self._require_private(self.path, "config")

    def _config_remove(self) -> None:
        self._not_raced()
        with _failing("config remove"):
            self.patiently(lambda: self.system.remove(self.path))

    def _key_keep(self) -> None:
        others = lines_of(self.system.read(self.key)) if self.system.kind(self.key) else []
        self._save_key([self.line, *(other for other in others if other != self.line)])

    def _key_final(self) -> None:
        self._save_key([self.line])

    def _key_remove(self) -> None:
        with _failing("key remove"):
            if self.system.kind(self.key):
                self.patiently(lambda: self.system.remove(self.key))

    def _save_key(self, lines: t.Sequence[str]) -> None:
        content = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
        self.save(self.key, content, "key", read_only=True)

    def save(self, path: str, content: bytes, what: str, read_only: bool = False) -> None:
        """Write beside the file, wait until the disk has it, and put it in the file's place at once."""
        entries = access(self.user, read_only=read_only)
        folder, name = ntpath.split(path)
        temporary = ntpath.join(folder, f".{name}.{self.token}.new")
        if self.system.kind(temporary) is not None:
            raise FailedError(f"{what} temporary")
        try:
            with _failing(f"{what} write"):
                self.system.create(temporary, content, entries)
            self._require_private(temporary, what, read_only)
            self._require_file(path, what)
            with _failing(f"{what} rename"):
                self.patiently(lambda: self.system.replace(temporary, path))
        except BaseException:
            with contextlib.suppress(OSError):
                self.system.remove(temporary)
            raise
        self._sweep(folder, name)

    def patiently(self, act: t.Callable[[], None]) -> None:
        """Do something that fails while another program reads the file."""
        for attempt in range(BUSY_ATTEMPTS):
            try:
                act()
            except PermissionError:
                if attempt + 1 == BUSY_ATTEMPTS:
                    raise
                self.system.wait(BUSY_SECONDS)
            else:
                return

    def _sweep(self, folder: str, name: str) -> None:
        """Remove what runs have left that were killed more than a day ago."""
        with contextlib.suppress(OSError):
            for found in self.system.names(folder):
                if found.startswith(f".{name}.") and found.endswith(".new"):
                    leftover = ntpath.join(folder, found)
                    if self.system.kind(leftover) == "file" and self.system.age(leftover) > A_DAY:
                        self.system.remove(leftover)

    def _not_raced(self, may_be_missing: bool = False) -> bytes:
        """Return the config as it is now."""
        kind = self.system.kind(self.path)
        if kind not in (None, "file"):
            raise FailedError("config type")
        if kind is None:
            if self.expected != "missing" or not may_be_missing:
                raise RacedError
            return b""
        with _failing("config read"):
            size = self.system.size(self.path)
            content = self.system.read(self.path) if size <= LARGEST_CONFIG or self.aside else None
        now = sum_of(None, size) if size > LARGEST_CONFIG else sum_of(content)
        if now != self.expected:
            raise RacedError
        return bytes(content or b"")

    def _require_file(self, path: str, what: str) -> None:
        if self.system.kind(path) not in (None, "file"):
            raise FailedError(f"{what} type")

    def _require_private(self, path: str, what: str, read_only: bool = False) -> None:
        if not is_private(self.system.security(path), self.user, read_only):
            raise FailedError(f"{what} access")


@contextlib.contextmanager
def _failing(word: str) -> t.Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise FailedError(word) from problem


def write(request: t.Mapping[str, t.Any], system: t.Any, line: str) -> dict[str, t.Any]:
    """Take the steps, in their order, until one does not work."""
    change = Change(request, system, line)
    try:
        for step in request["steps"]:
            change.take(step)
    except RacedError:
        return {"raced": True, "done": change.done}
    except FailedError as failure:
        cause = failure.__cause__
        said = _reason(cause) if isinstance(cause, OSError) else ""
        return {"failed": str(failure), "said": said, "done": change.done}
    except OSError as problem:
        return {"failed": f"{request['steps'][len(change.done)]} other", "said": _reason(problem), "done": change.done}
    return {"done": change.done}


def open_secret(request: t.Mapping[str, t.Any], environment: t.Mapping[str, str]) -> str:
    """Put the two halves of what is secret together; the caller's C(WindowsPython.run) took it apart."""
    masked = base64.b64decode(request.get("masked", ""))
    pad = base64.b64decode(environment.get(PAD_VARIABLE, ""))
    if len(masked) != len(pad):
        raise FailedError("input torn")
    return bytes(one ^ other for one, other in zip(masked, pad)).decode("utf-8", "surrogateescape")


def run(request: t.Mapping[str, t.Any], system: t.Any, environment: t.Mapping[str, str]) -> dict[str, t.Any]:
    """Do what is asked for, and return the answer."""
    if request["do"] == "read":
        try:
            return read(request, system)
        except OSError as problem:
            said = f"{problem.filename}: {_reason(problem)}" if problem.filename else _reason(problem)
            base = {"unreachable": said, "code": getattr(problem, "winerror", None)}
            return {"runs_as": _account(system, system.runs_as()), "is_admin": system.is_admin(), "base": base}
    try:
        line = open_secret(request, environment)
    except FailedError as failure:
        return {"failed": str(failure), "said": "", "done": []}
    return write(request, system, line)


# ---- Windows ---------------------------------------------------------------------------------------------------------


class _Attributes(ctypes.Structure):
    """SECURITY_ATTRIBUTES: the access that something new shall have."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("descriptor", ctypes.c_void_p),
        ("inherit", ctypes.c_int),
    )


Pointer = ctypes.c_void_p
Text = ctypes.c_wchar_p
Number = ctypes.c_uint32
Numbers = ctypes.POINTER(Number)
Pointers = ctypes.POINTER(Pointer)
Yes = ctypes.c_int

# The functions of Windows in use: library, result, arguments. See https://learn.microsoft.com/en-us/windows/win32/api/
FUNCTIONS: dict[str, tuple[str, t.Any, tuple[t.Any, ...]]] = {
    "CloseHandle": ("kernel32", Yes, (Pointer,)),
    "CreateDirectoryW": ("kernel32", Yes, (Text, ctypes.POINTER(_Attributes))),
    "CreateFileW": ("kernel32", Pointer, (Text, Number, Number, ctypes.POINTER(_Attributes), Number, Number, Pointer)),
    "GetCurrentProcess": ("kernel32", Pointer, ()),
    "LocalFree": ("kernel32", Pointer, (Pointer,)),
    "ConvertSidToStringSidW": ("advapi32", Yes, (Pointer, Pointers)),
    "ConvertStringSecurityDescriptorToSecurityDescriptorW": ("advapi32", Yes, (Text, Number, Pointers, Numbers)),
    "ConvertStringSidToSidW": ("advapi32", Yes, (Text, Pointers)),
    "GetAce": ("advapi32", Yes, (Pointer, Number, Pointers)),
    "GetNamedSecurityInfoW": (
        "advapi32",
        Number,
        (Text, Yes, Number, Pointers, Pointers, Pointers, Pointers, Pointers),
    ),
    "GetSecurityDescriptorControl": ("advapi32", Yes, (Pointer, ctypes.POINTER(ctypes.c_uint16), Numbers)),
    "GetSecurityDescriptorDacl": (
        "advapi32",
        Yes,
        (Pointer, ctypes.POINTER(ctypes.c_int), Pointers, ctypes.POINTER(ctypes.c_int)),
    ),
    "GetTokenInformation": ("advapi32", Yes, (Pointer, Yes, Pointer, Number, Numbers)),
    "LookupAccountNameW": ("advapi32", Yes, (Text, Text, Pointer, Numbers, Text, Numbers, Numbers)),
    "LookupAccountSidW": ("advapi32", Yes, (Text, Pointer, Text, Numbers, Text, Numbers, Numbers)),
    "OpenProcessToken": ("advapi32", Yes, (Pointer, Number, Pointers)),
    "SetNamedSecurityInfoW": ("advapi32", Number, (Text, Yes, Number, Pointer, Pointer, Pointer, Pointer)),
    "IsUserAnAdmin": ("shell32", Yes, ()),
}
NO_HANDLE = Pointer(-1).value
FILE_OBJECT = 1
OWNER_INFORMATION, DACL_INFORMATION, PROTECTED_DACL = 0x1, 0x4, 0x80000000
DACL_PROTECTED = 0x1000
LIST_FOLDER, WRITE_ACCESS = 0x1, 0x40000000
SHARE_READ_WRITE = 0x1 | 0x2
CREATE_NEW, OPEN_EXISTING = 1, 3
FOLDER_ITSELF = 0x02000000 | 0x00200000  # FILE_FLAG_BACKUP_SEMANTICS and FILE_FLAG_OPEN_REPARSE_POINT
LINK_TAGS = (0xA000000C, 0xA0000003)  # symbolic link, junction; files that a cloud keeps have others
PROFILES = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList"


class Windows:
    """The calls of Windows that the rest needs."""

    def __init__(self) -> None:
        only_on_windows = vars(ctypes)
        self._last_error = only_on_windows["get_last_error"]
        self._error = only_on_windows["WinError"]
        libraries = {
            name: only_on_windows["WinDLL"](name, use_last_error=True) for name in ("kernel32", "advapi32", "shell32")
        }
        self._functions: dict[str, t.Any] = {}
        for name, (library, result, arguments) in FUNCTIONS.items():
            function = getattr(libraries[library], name)
            function.restype, function.argtypes = result, list(arguments)
            self._functions[name] = function

    def _call(self, name: str, *arguments: t.Any) -> t.Any:
        """Call a function that says with zero that it failed."""
        result = self._functions[name](*arguments)
        if not result:
            raise self._error(self._last_error())
        return result

    def _free(self, pointer: t.Any) -> None:
        self._functions["LocalFree"](pointer)

    # accounts

    def runs_as(self) -> str:
        """Return the SID of the account that this program runs as."""
        token, size = Pointer(), Number()
        self._call("OpenProcessToken", self._functions["GetCurrentProcess"](), 0x8, ctypes.byref(token))
        try:
            buffer = ctypes.create_string_buffer(512)
            self._call("GetTokenInformation", token, 1, buffer, len(buffer), ctypes.byref(size))
        finally:
            self._functions["CloseHandle"](token)
        return self._sid_text(Pointer.from_buffer(buffer))

    def is_admin(self) -> bool:
        """Tell whether this program has an administrator's rights."""
        return bool(self._functions["IsUserAnAdmin"]())

    def _sid_text(self, sid: t.Any) -> str:
        text = Pointer()
        self._call("ConvertSidToStringSidW", sid, ctypes.byref(text))
        try:
            return ctypes.wstring_at(t.cast("int", text.value))
        finally:
            self._free(text)

    def sid_of(self, name: str) -> str | None:
        r"""Return the SID of an account: C(artist), C(STUDIO\\artist), C(artist@studio.example) or a SID."""
        if name.startswith("S-1-"):
            return name if self.account(name)[0] else None
        sid, domain = ctypes.create_string_buffer(512), ctypes.create_unicode_buffer(512)
        sid_size, domain_size, kind = Number(len(sid)), Number(len(domain)), Number()
        # Windows would take ".\\" for the name of a computer.
        name = name[2:] if name.startswith(".\\") else name
        done = self._functions["LookupAccountNameW"](
            None, name, sid, ctypes.byref(sid_size), domain, ctypes.byref(domain_size), ctypes.byref(kind)
        )
        return self._sid_text(ctypes.cast(sid, Pointer)) if done else None

    def account(self, sid: str) -> tuple[str | None, int]:
        """Return the name of an account and its kind; no name where nobody knows it any more."""
        binary = Pointer()
        if not self._functions["ConvertStringSidToSidW"](sid, ctypes.byref(binary)):
            return None, 0
        name, domain = ctypes.create_unicode_buffer(512), ctypes.create_unicode_buffer(512)
        name_size, domain_size, kind = Number(len(name)), Number(len(domain)), Number()
        try:
            done = self._functions["LookupAccountSidW"](
                None, binary, name, ctypes.byref(name_size), domain, ctypes.byref(domain_size), ctypes.byref(kind)
            )
        finally:
            self._free(binary)
        if not done:
            return None, 0
        return (f"{domain.value}\\{name.value}" if domain.value else name.value), kind.value

    def home(self, sid: str) -> str | None:
        """Return the home folder of an account, or None if it never logged in on this workstation."""
        winreg = importlib.import_module("winreg")
        try:
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, f"{PROFILES}\\{sid}") as found:
                value, _kind = winreg.QueryValueEx(found, "ProfileImagePath")
        except FileNotFoundError:
            return None
        return ntpath.normpath(str(winreg.ExpandEnvironmentStrings(value)))

    # access

    def security(self, path: str) -> Security:
        """Return owner and access list of a file or folder."""
        owner, dacl, descriptor = Pointer(), Pointer(), Pointer()
        code = self._functions["GetNamedSecurityInfoW"](
            path,
            FILE_OBJECT,
            OWNER_INFORMATION | DACL_INFORMATION,
            ctypes.byref(owner),
            None,
            ctypes.byref(dacl),
            None,
            ctypes.byref(descriptor),
        )
        if code:
            raise self._error(code)
        try:
            control, revision = ctypes.c_uint16(), Number()
            self._call("GetSecurityDescriptorControl", descriptor, ctypes.byref(control), ctypes.byref(revision))
            return Security(self._sid_text(owner), self._entries(dacl), not control.value & DACL_PROTECTED)
        finally:
            self._free(descriptor)

    def _entries(self, dacl: t.Any) -> list[Entry] | None:
        """Return the lines of an access list, or None where there is none.

        Kinds that say nothing about files (object, callback) are left out.
        """
        if dacl.value is None:
            return None
        count = int.from_bytes(ctypes.string_at(dacl.value + 4, 2), "little")
        entries = []
        for index in range(count):
            ace = Pointer()
            self._call("GetAce", dacl, index, ctypes.byref(ace))
            address = t.cast("int", ace.value)
            kind, flags = ctypes.string_at(address, 2)
            if kind in (0, 1):
                mask = int.from_bytes(ctypes.string_at(address + 4, 4), "little")
                entries.append(Entry(self._sid_text(Pointer(address + 8)), mask, flags, allow=kind == ALLOW))
        return entries

    @contextlib.contextmanager
    def _descriptor(self, entries: t.Iterable[Entry]) -> t.Iterator[t.Any]:
        descriptor = Pointer()
        self._call(
            "ConvertStringSecurityDescriptorToSecurityDescriptorW", sddl(entries), 1, ctypes.byref(descriptor), None
        )
        try:
            yield descriptor
        finally:
            self._free(descriptor)

    def set_access(self, path: str, entries: t.Iterable[Entry]) -> None:
        """Give a file or folder this access list, and have it inherit nothing any more."""
        present, defaulted, dacl = ctypes.c_int(), ctypes.c_int(), Pointer()
        with self._descriptor(entries) as descriptor:
            self._call(
                "GetSecurityDescriptorDacl",
                descriptor,
                ctypes.byref(present),
                ctypes.byref(dacl),
                ctypes.byref(defaulted),
            )
            code = self._functions["SetNamedSecurityInfoW"](
                path, FILE_OBJECT, DACL_INFORMATION | PROTECTED_DACL, None, None, dacl, None
            )
        if code:
            raise self._error(code)

    # files

    def kind(self, path: str) -> str | None:
        """Return C(file), C(folder), C(link) (a junction, too) or None."""
        try:
            found = pathlib.Path(path).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if getattr(found, "st_reparse_tag", 0) in LINK_TAGS:
            return "link"
        return "folder" if stat.S_ISDIR(found.st_mode) else "file"

    def kind_or_closed(self, path: str) -> str | None:
        """Return the same, and C(closed) for what we may not look at."""
        try:
            return self.kind(path)
        except PermissionError:
            return "closed"

    def real(self, path: str) -> str:
        """Return the path without links in it."""
        return str(pathlib.Path(path).resolve())

    def names(self, folder: str) -> list[str]:
        """Return what is in a folder."""
        return [found.name for found in pathlib.Path(folder).iterdir()]

    def size(self, path: str) -> int:
        """Return how many bytes a file has."""
        return pathlib.Path(path).stat().st_size

    def age(self, path: str) -> float:
        """Return for how many seconds a file has been as it is."""
        return time.time() - pathlib.Path(path).stat().st_mtime

    def read(self, path: str) -> bytes:
        """Return what is in a file."""
        return pathlib.Path(path).read_bytes()

    def create(self, path: str, content: bytes, entries: t.Iterable[Entry]) -> None:
        """Write a new file that has its access from the start, and wait until the disk has it."""
        msvcrt = importlib.import_module("msvcrt")
        with self._descriptor(entries) as descriptor:
            handle = self._open(path, WRITE_ACCESS, 0, CREATE_NEW, 0x80, descriptor)
        with os.fdopen(msvcrt.open_osfhandle(handle, os.O_WRONLY | getattr(os, "O_BINARY", 0)), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def _open(self, path: str, rights: int, share: int, how: int, flags: int, descriptor: t.Any = None) -> int:
        attributes = _Attributes(ctypes.sizeof(_Attributes), descriptor, 0) if descriptor else None
        handle = self._functions["CreateFileW"](
            path, rights, share, ctypes.byref(attributes) if attributes else None, how, flags, None
        )
        if handle is None or handle == NO_HANDLE:
            raise self._error(self._last_error())
        return int(handle)

    @contextlib.contextmanager
    def _closing(self, handle: int) -> t.Iterator[None]:
        try:
            yield
        finally:
            self._functions["CloseHandle"](handle)

    def hold(self, folder: str) -> contextlib.AbstractContextManager[None]:
        """Keep a folder from being renamed, removed or replaced."""
        return self._closing(self._open(folder, LIST_FOLDER, SHARE_READ_WRITE, OPEN_EXISTING, FOLDER_ITSELF))

    def make_folder(self, path: str, entries: t.Iterable[Entry]) -> None:
        """Make a folder that has its access from the start."""
        with self._descriptor(entries) as descriptor:
            attributes = _Attributes(ctypes.sizeof(_Attributes), descriptor, 0)
            self._call("CreateDirectoryW", path, ctypes.byref(attributes))

    def make_folders(self, path: str, entries: t.Sequence[Entry]) -> None:
        """Make a folder and those above it that are missing."""
        above = ntpath.dirname(path)
        if above != path and self.kind(above) is None:
            self.make_folders(above, entries)
        self.make_folder(path, entries)

    def replace(self, source: str, target: str) -> None:
        """Put a file in the place of another one, at once."""
        pathlib.Path(source).replace(target)

    def remove(self, path: str) -> None:
        """Remove a file."""
        pathlib.Path(path).unlink()

    def remove_folder(self, path: str) -> None:
        """Remove a folder with nothing in it."""
        pathlib.Path(path).rmdir()

    def wait(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def main() -> int:
    """Run the program."""
    request = json.loads(sys.stdin.buffer.read().decode("utf-8"))
    answer = run(request, Windows(), os.environ)
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
