# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Windows workstation in memory: accounts, folders, access lists, and a C(win_command) that starts its Python.

The actions are the real ones, and so is the program, but for the class that calls Windows.
"""

from __future__ import annotations

import base64
import collections.abc
import contextlib
import dataclasses
import inspect
import json
import ntpath
import re
import typing as t

from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task

from ansible_collections.budgetguard.techops.plugins.action import (
    comfyui_companion,
    comfyui_config,
    comfyui_config_info,
)
from ansible_collections.budgetguard.techops.plugins.module_utils import _windows_config
from ansible_collections.budgetguard.techops.plugins.module_utils._windows_config import Entry, Security
from ansible_collections.budgetguard.techops.plugins.plugin_utils import (
    _companion_install,
    _windows_companion,
    _windows_file,
    _windows_probe,
)

ARTIST, ADMIN, GUEST = "S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-500", "S-1-5-21-1-2-3-1002"
USERS_GROUP = "S-1-5-32-545"
ACCOUNTS = {
    ARTIST: (r"STUDIO\artist", 1),
    ADMIN: (r"WS-1\Administrator", 1),
    GUEST: (r"STUDIO\guest", 1),
    _windows_config.SYSTEM: (r"NT AUTHORITY\SYSTEM", 5),
    _windows_config.ADMINISTRATORS: (r"BUILTIN\Administrators", 4),
    USERS_GROUP: (r"BUILTIN\Users", 4),
}
FULL = _windows_config.FULL_ACCESS
INHERITED = [
    Entry(_windows_config.SYSTEM, FULL, 0x10),
    Entry(_windows_config.ADMINISTRATORS, FULL, 0x10),
    Entry(ARTIST, FULL, 0x10),
    Entry(USERS_GROUP, 0x1200A9, 0x10),
]
BASE = r"D:\Comfy UI\ComfyUI"
PYTHON = r"D:\Comfy UI\python_embeded\python.exe"
KEY_PATH = r"~\AppData\Local\BudgetGuard\studio.key"
KEY = r"C:\Users\artist\AppData\Local\BudgetGuard\studio.key"
CONFIG = BASE + r"\budgetguard\budgetguard_backend_config.json"

# The options of win_command, as $spec in plugins/modules/win_command.ps1 of ansible.windows 3.8.0 has them.
WIN_COMMAND = frozenset(
    {"_raw_params", "cmd", "argv", "chdir", "creates", "removes", "stdin", "output_encoding_override"}
)


class KilledError(BaseException):
    """The run ended here."""


@dataclasses.dataclass
class Node:
    """What stands at one path."""

    kind: str
    security: Security
    content: bytes = b""
    age: float = 0.0


class FakePython:
    """ComfyUI's own Python: what it has, and a pip that leaves files as it does, for who ran it alone."""

    path = PYTHON

    def __init__(self, system: FakeWindows) -> None:
        self.system = system
        self.seen: dict[str, t.Any] = {
            "library": True,
            "comfyui": True,
            "pip": True,
            "tag": "cpython-312",
            "version": [3, 12],
        }
        self.wheels: list[str] | None = None
        self.problem = ""

    def look(self, base: str) -> dict[str, t.Any]:
        own = ntpath.join(base, "budgetguard", "python", self.seen["tag"], "cryptography", "fernet.py")
        return {**self.seen, "library": self.seen["library"] or self.system.kind(own) == "file"}

    def pip(self, target: str, wheels: str | None) -> None:
        assert self.system.kind(target) == "folder"
        if self.system.admin:
            assert ARTIST not in {entry.sid for entry in self.system.security(target).entries or []}
        self.wheels = None if wheels is None else self.system.names(wheels)
        if self.problem:
            raise _companion_install.InstallError(self.problem)
        mine = [Entry(self.system.me, FULL)]
        self.system.put_folder(target + r"\cryptography", self.system.me, mine)
        self.system.put_file(target + r"\cryptography\fernet.py", b"class Fernet: pass", self.system.me, mine)


class FakeWindows:
    """Has the methods of C(_windows_config.Windows)."""

    def __init__(self, runs_as: str = ADMIN, admin: bool = True) -> None:
        self.me, self.admin = runs_as, admin
        self.python = FakePython(self)
        self.nodes: dict[str, Node] = {}
        self.spelling: dict[str, str] = {}
        self.homes = {ARTIST: r"C:\Users\artist"}
        self.closed: set[str] = set()
        self.links: dict[str, str] = {}
        self.busy: dict[str, int] = {}
        self.held: list[str] = []
        self.keeps_access = True
        self.changes = 0
        self.kill_at: int | None = None
        for folder in (BASE, r"C:\Users\artist\AppData\Local"):
            self.put_folder(folder)
        self.put_file(BASE + r"\main.py", b"")

    # setting the scene

    def put_folder(self, path: str, owner: str = ARTIST, entries: list[Entry] | None = None) -> None:
        """Put a folder there, with all above it."""
        above = ntpath.dirname(path)
        if above != path and self._find(above) is None:
            self.put_folder(above, owner)
        self._put(path, Node("folder", Security(owner, INHERITED if entries is None else entries, entries is None)))

    def put_file(self, path: str, content: bytes, owner: str = ARTIST, entries: list[Entry] | None = None) -> None:
        """Put a file there."""
        security = Security(owner, INHERITED if entries is None else entries, entries is None)
        self._put(path, Node("file", security, content))

    def put_link(self, path: str) -> None:
        """Put a junction there."""
        self._put(path, Node("link", Security(ARTIST, INHERITED, True)))

    def save(self) -> str:
        """Return what stands on the workstation, as text."""
        return json.dumps(
            [
                [self.spelling[path], node.kind, node.security, base64.b64encode(node.content).decode()]
                for path, node in self.nodes.items()
            ]
        )

    @classmethod
    def load(cls, text: str) -> FakeWindows:
        """Return the workstation of which this was saved."""
        system = cls()
        system.nodes.clear()
        for path, kind, (owner, entries, inherits), content in json.loads(text):
            security = Security(owner, entries and [Entry(*entry) for entry in entries], inherits)
            system._put(path, Node(kind, security, base64.b64decode(content)))
        return system

    def files(self) -> dict[str, bytes]:
        """Return all files with their content."""
        return {self.spelling[path]: node.content for path, node in self.nodes.items() if node.kind == "file"}

    def node(self, path: str) -> Node:
        """Return what must stand there."""
        return self.nodes[ntpath.normcase(path)]

    def _put(self, path: str, node: Node) -> None:
        self.nodes[ntpath.normcase(path)] = node
        self.spelling[ntpath.normcase(path)] = path

    def _find(self, path: str) -> Node | None:
        return self.nodes.get(ntpath.normcase(path))

    def _must(self, path: str) -> Node:
        found = self._find(path)
        if found is None:
            raise FileNotFoundError(2, "The system cannot find the file specified")
        if ntpath.normcase(path) in self.closed:
            raise PermissionError(13, "Access is denied")
        return found

    def _change(self) -> None:
        """Count a change, and end the run before the one that it was told."""
        if self.kill_at is not None and self.changes == self.kill_at:
            raise KilledError
        self.changes += 1

    # what the program calls

    def runs_as(self) -> str:
        return self.me

    def is_admin(self) -> bool:
        return self.admin

    def sid_of(self, name: str) -> str | None:
        wanted = name.lower()
        return next(
            (sid for sid, (full, _kind) in ACCOUNTS.items() if wanted in (full.lower(), full.lower()[7:])), None
        )

    def account(self, sid: str) -> tuple[str | None, int]:
        return ACCOUNTS.get(sid, (None, 0))

    def home(self, sid: str) -> str | None:
        return self.homes.get(sid)

    def kind(self, path: str) -> str | None:
        if self._find(path) is None:
            return None
        return self._must(path).kind

    def kind_or_closed(self, path: str) -> str | None:
        try:
            return self.kind(path)
        except PermissionError:
            return "closed"

    def security(self, path: str) -> Security:
        return self._must(path).security

    def set_access(self, path: str, entries: t.Iterable[Entry]) -> None:
        self._change()
        found = self._must(path)
        if self.keeps_access:
            found.security = Security(found.security.owner, list(entries), False)

    def real(self, path: str) -> str:
        found = next((link for link in self.links if ntpath.normcase(path).startswith(link)), None)
        return self.links[found] + path[len(found) :] if found else path

    def names(self, folder: str) -> list[str]:
        inside = ntpath.normcase(folder).rstrip("\\")
        return [ntpath.basename(self.spelling[path]) for path in self.nodes if ntpath.dirname(path) == inside]

    def size(self, path: str) -> int:
        return len(self._must(path).content)

    def age(self, path: str) -> float:
        return self._must(path).age

    def read(self, path: str) -> bytes:
        return self._must(path).content

    def create(self, path: str, content: bytes, entries: t.Iterable[Entry]) -> None:
        self._change()
        assert self._find(ntpath.dirname(path)), "Windows makes no folders on the way"
        assert self._find(path) is None, "CREATE_NEW fails where there is a file"
        assert any(ntpath.dirname(path) == folder for folder in self.held), "somebody could swap the folder"
        security = Security(self.me, list(entries), False) if self.keeps_access else Security(self.me, None, True)
        self._put(path, Node("file", security, content))

    @contextlib.contextmanager
    def hold(self, folder: str) -> collections.abc.Iterator[None]:
        self._must(folder)
        self.held.append(folder)
        try:
            yield
        finally:
            self.held.remove(folder)

    def make_folder(self, path: str, entries: t.Iterable[Entry]) -> None:
        self._change()
        assert self._find(path) is None
        self._put(path, Node("folder", Security(self.me, list(entries), False)))

    def make_folders(self, path: str, entries: list[Entry]) -> None:
        _windows_config.Windows.make_folders(t.cast("_windows_config.Windows", self), path, entries)

    def _wait_for_reader(self, path: str) -> None:
        if self.busy.get(path, 0) > 0:
            self.busy[path] -= 1
            raise PermissionError(13, "The process cannot access the file because it is being used")

    def replace(self, source: str, target: str) -> None:
        self._wait_for_reader(target)
        self._change()
        node = self._must(source)
        assert node.kind == "file" or self._find(target) is None, "Windows replaces no folder"
        del self.nodes[ntpath.normcase(source)]
        self._put(target, node)
        above = ntpath.normcase(source) + "\\"
        for path in [path for path in self.nodes if path.startswith(above)]:
            self._put(target + self.spelling[path][len(source) :], self.nodes.pop(path))

    def remove(self, path: str) -> None:
        self._wait_for_reader(path)
        self._change()
        self._must(path)
        del self.nodes[ntpath.normcase(path)]

    def remove_folder(self, path: str) -> None:
        self._change()
        assert self._must(path).kind == "folder"
        assert not self.names(path), "Windows removes no folder with something in it"
        assert not any(ntpath.normcase(path) == ntpath.normcase(folder) for folder in self.held), "it is held open"
        del self.nodes[ntpath.normcase(path)]

    def wait(self, seconds: float) -> None:
        assert seconds < 1


@dataclasses.dataclass(frozen=True)
class Call:
    """One module call, and under which settings it ran."""

    module: str
    arguments: dict[str, t.Any]
    variables: dict[str, t.Any]
    environment: list[dict[str, str]]
    check_mode: bool
    pipelining: object


class Shell:
    """The shell plugin powershell, as far as the actions look at it."""

    SHELL_FAMILY = "powershell"
    _IS_WINDOWS = True
    tmpdir = None


class Connection:
    """A connection to Windows."""

    transport = "winrm"
    become = None
    has_pipelining = True

    def __init__(self) -> None:
        self._shell = Shell()
        self.options: dict[str, object] = {"pipelining": False}

    def get_option(self, name: str) -> object:
        """Return an option; KeyError where there is none."""
        return self.options[name]

    def set_option(self, name: str, value: object) -> None:
        """Set an option."""
        self.options[name] = value


class Loader:
    """Knows whether the collection ansible.windows is installed."""

    def __init__(self, installed: bool) -> None:
        self.module_loader = self
        self.resolved = installed

    def find_plugin_with_context(self, name: str, mod_type: str) -> Loader:
        """Look for a module."""
        assert (name, mod_type) == ("ansible.windows.win_command", ".ps1")
        return self


class Host:
    """Runs the real actions against a workstation."""

    def __init__(self, system: FakeWindows | None = None) -> None:
        self.system = system or FakeWindows()
        self.pythons = {PYTHON.lower()}
        self.calls: list[Call] = []
        self.installed = True
        self.pipelines = True
        self.connection = Connection()
        self.before_call: t.Callable[[dict[str, t.Any]], None] = lambda request: None

    def companion(self, check: bool = False, diff: bool = False, **options: t.Any) -> dict[str, t.Any]:
        """Run comfyui_companion."""
        return self._run(comfyui_companion.ActionModule, "comfyui_companion", options, check, diff)

    def configure(self, check: bool = False, diff: bool = False, **options: t.Any) -> dict[str, t.Any]:
        """Run comfyui_config."""
        return self._run(comfyui_config.ActionModule, "comfyui_config", options, check, diff)

    def look(self, **options: t.Any) -> dict[str, t.Any]:
        """Run comfyui_config_info."""
        return self._run(comfyui_config_info.ActionModule, "comfyui_config_info", options, False, False)

    def _run(
        self, kind: t.Callable[..., t.Any], name: str, options: dict[str, t.Any], check: bool, diff: bool
    ) -> dict[str, t.Any]:
        task = Task()
        task.action = f"budgetguard.techops.{name}"
        task.args = {key: value for key, value in options.items() if value is not None}
        task.check_mode, task.diff, task.environment = check, diff, [{"GIVEN": "before"}]
        action = kind(task, self.connection, PlayContext(), None, None, None)
        vars(action).update(
            _shared_loader_obj=Loader(self.installed),
            _execute_module=self._execute_module,
            _is_pipelining_enabled=lambda style: self.pipelines and bool(self.connection.options.get("pipelining")),
        )
        self._task = task
        result: dict[str, t.Any] = action.run(None, {"inventory_hostname": "ws-1"})
        assert (task.check_mode, task.environment) == (check, [{"GIVEN": "before"}]), "settings must be put back"
        assert self.connection.options.get("pipelining") in (False, None)
        return result

    def _execute_module(
        self, module_name: str, module_args: dict[str, t.Any], task_vars: dict[str, t.Any]
    ) -> dict[str, t.Any]:
        assert set(module_args) <= WIN_COMMAND
        environment = list(self._task.environment)
        pipelining = self.connection.options.get("pipelining")
        self.calls.append(
            Call(module_name, module_args, task_vars, environment, bool(self._task.check_mode), pipelining)
        )
        variables = {name: value for values in environment for name, value in values.items()}
        return answer_win_command(self.system, module_args, variables, self.pythons, self.before_call)


def answer_win_command(
    system: FakeWindows,
    arguments: dict[str, t.Any],
    environment: dict[str, str],
    pythons: t.Collection[str] = (PYTHON.lower(),),
    before_call: t.Callable[[dict[str, t.Any]], None] = lambda request: None,
) -> dict[str, t.Any]:
    """Start a program as win_command does, and return what it says."""
    python, *words = arguments["argv"]
    if python.lower() not in pythons:
        message = f"Failed to run: '{python}': CreateProcessW() failed (..., Win32ErrorCode 2)"
        return {"failed": True, "changed": False, "rc": 2, "msg": message}
    assert words[:3] == ["-I", "-B", "-c"]
    size = re.fullmatch(r"import sys;exec\(compile\(sys\.stdin\.buffer\.read\((\d+)\),'(\w+)','exec'\)\)", words[3])
    assert size, words
    stdin = arguments["stdin"].encode()
    program, request = stdin[: int(size[1])].decode(), json.loads(stdin[int(size[1]) :])
    before_call(request)
    if size[2] == "comfyui_companion":
        assert program == inspect.getsource(_windows_probe)
        modules = (_windows_config, _companion_install, _windows_companion)
        assert list(request["programs"].values()) == [inspect.getsource(module) for module in modules]
        request = request["companion"]
        answer = _windows_companion.answer(request, _windows_config, _companion_install, system, system.python)
    else:
        assert (size[2], program) == ("comfyui_config", _windows_file.program_text())
        answer = _windows_config.run(request, system, environment)
    # A login script of the workstation may print before it.
    return {"changed": True, "rc": 0, "stdout": f"hello\r\n{json.dumps(answer)}\r\n", "stderr": ""}
