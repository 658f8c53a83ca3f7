# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Run one standard-library Python file on a Windows workstation with ComfyUI's own Python, and get its JSON answer.

Every ComfyUI brings a Python, so nothing has to be installed on a workstation, and there is no PowerShell of ours:
C(ansible.windows.win_command) starts that Python, over WinRM, PSRP or SSH, and with C(become). The program, and after
it its input, go to standard input. A chain of C(win_copy), C(win_acl) and so on would take ten round trips of a second
or more, would have moments in which a file has a wrong ACL, and C(win_copy) writes C(content) in clear into a temporary
file on the controller and deletes the old file before it copies the new one.

Where the standard input of C(win_command) shows up (sources: C(Ansible.Basic.cs), C(plugins/action/__init__.py) and the
connection plugins of ansible-core 2.21):

- in Windows' event log, as all arguments of a module do, unless the module runs with C(no_log)
- in C(invocation) of the module's result, which C(-vvv) prints with ssh and C(-vvvvv) with WinRM and PSRP
- in what C(ANSIBLE_DEBUG) prints when a module has ended
- in a file on the workstation, where the connection does not pipeline

So nothing secret may be in it as it is. A secret goes there XORed with as many random bytes, and these go by the
environment, which is in none of those places: each of the two alone is noise. The event log gets nothing at all, and
without pipelining, where both would be in one file, no secret is moved.
"""

from __future__ import annotations

import base64
import contextlib
import json
import ntpath
import re
import secrets
import typing as t

from ansible_collections.budgetguard.techops.plugins.plugin_utils._posix_facts import WorkstationError

MODULE = "ansible.windows.win_command"
INSTALL_HINT = "ansible-galaxy collection install ansible.windows"
PAD_VARIABLE = "BUDGETGUARD_PAD"

# Reads the program, and not a byte more, so that the program finds its own input. No double quotes: they would have to
# survive the quoting of a Windows command line.
BOOTSTRAP = "import sys;exec(compile(sys.stdin.buffer.read({size}),'{name}','exec'))"

# Below (or beside) ComfyUI's base folder. Sources: https://docs.comfy.org/installation/comfyui_portable_windows for
# the portable version (whose folder really is spelt so), https://docs.comfy.org/installation/desktop/windows for the
# desktop version, which makes .venv in the folder that was chosen, and ComfyUI-Manager's scripts for venv.
PYTHON_PLACES = (
    ("..", "python_embeded", "python.exe"),
    (".venv", "Scripts", "python.exe"),
    ("venv", "Scripts", "python.exe"),
)

# https://learn.microsoft.com/en-us/windows/win32/debug/system-error-codes
FILE_NOT_FOUND, PATH_NOT_FOUND, ACCESS_DENIED = 2, 3, 5
NOT_THERE = (FILE_NOT_FOUND, PATH_NOT_FOUND, 15, 21)  # 15: no such drive, 21: the drive is not ready
NETWORK_ERRORS = (53, 64, 65, 67, 1219, 1231, 1311, 1326, 1385)
BLOCKED_BY_POLICY = (1260, 4551)

DOUBLE_HOP = (
    "Windows does not pass a login on from WinRM or SSH to a file server (the double hop). Use become with runas and a "
    "password, or ansible_winrm_transport: credssp, or Kerberos with delegation."
)

# See https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file
_RESERVED = re.compile(
    r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|COM[0-9\u00b9\u00b2\u00b3]|LPT[0-9\u00b9\u00b2\u00b3])", re.I
)
_FORBIDDEN = re.compile(r'[<>"|?*:\x00-\x1f]')
_VARIABLE = re.compile(r"%[^%\\/]+%|\$env:|\$\{?HOME\b", re.I)
_UNC = re.compile(r"\\\\[^\\/?.][^\\/]*\\[^\\/]+")


def is_windows(action: t.Any) -> bool:
    """Tell whether the connection of an action leads to Windows: WinRM, PSRP, or ssh with PowerShell or cmd."""
    shell = action._connection._shell
    return bool(getattr(shell, "_IS_WINDOWS", False)) or getattr(shell, "SHELL_FAMILY", "") in ("powershell", "cmd")


def run_as_module(action: t.Any, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
    """Run the module of the action's own name, as if there were no action: what is not Windows needs none."""
    normal = action._shared_loader_obj.action_loader.get(
        "ansible.legacy.normal",
        task=action._task,
        connection=action._connection,
        play_context=action._play_context,
        loader=action._loader,
        templar=action._templar,
        shared_loader_obj=action._shared_loader_obj,
    )
    result: dict[str, t.Any] = normal.run(None, task_vars)
    return result


def is_unc(path: str) -> bool:
    r"""Tell whether a path is on a file server: C(\\\\server\\share\\...)."""
    return path.replace("/", "\\").startswith("\\\\")


def quoted(path: str) -> str:
    """Return a path as messages show it: with single backslashes, as people write it."""
    return f"'{path}'" if path.isprintable() else repr(path)


def windows_path(option: str, path: str, home: bool = False) -> str:
    r"""Return the path with backslashes and none at its end.

    :arg home: whether C(~\\) may stand for the home folder of ComfyUI's user.
    :raises WorkstationError: a path that cannot be meant, in one sentence.
    """
    text = path.replace("/", "\\")
    said = f"{option} is {quoted(path)};"
    what = r"a drive and a path, such as C:\ComfyUI, or \\server\share\ComfyUI"
    if _VARIABLE.search(text):
        raise WorkstationError(
            f"{said} write the path out, because a variable would be that of the account that Ansible logs in with."
        )
    if text.startswith(("\\\\?\\", "\\\\.\\")):
        raise WorkstationError(f"{said} it must be {what}, without the prefix {text[:4]}.")
    if text.startswith("~"):
        rest = _home_rest(said, text, home)
        return "~\\" + _components(said, rest)
    drive, rest = ntpath.splitdrive(text)
    if len(drive) != 2 and not _UNC.fullmatch(drive):
        raise WorkstationError(f"{said} on Windows it must be {what}.")
    if len(drive) == 2 and not (drive[0].isascii() and drive[0].isalpha() and rest.startswith("\\")):
        raise WorkstationError(f"{said} on Windows it must be {what}.")
    if len(drive) > 2:
        _components(said, drive[2:])
    return drive + "\\" + _components(said, rest) if rest.strip("\\") or len(drive) == 2 else drive


def _home_rest(said: str, text: str, home: bool) -> str:
    """Return what stands after the tilde and its backslash."""
    if not home:
        raise WorkstationError(rf"{said} on Windows it must be a drive and a path, such as C:\Users\artist\ComfyUI.")
    if not text.startswith("~\\") or not text.strip("~\\"):
        raise WorkstationError(rf"{said} on Windows it may start with ~\ (the home of ComfyUI's user), not with ~user.")
    return text[2:]


def _components(said: str, rest: str) -> str:
    """Return the names of a path, joined again; empty ones and C(.) are left out."""
    names = [name for name in rest.split("\\") if name not in ("", ".")]
    for name in names:
        if name == "..":
            raise WorkstationError(f"{said} it must not have .. in it.")
        if _FORBIDDEN.search(name):
            raise WorkstationError(f'{said} Windows allows none of <>:"|?* and no control characters in {name!r}.')
        if name[-1] in ". ":
            raise WorkstationError(f"{said} Windows would drop the dot or space at the end of {name!r}.")
        if _RESERVED.fullmatch(name.partition(".")[0].rstrip()):
            raise WorkstationError(f"{said} Windows reserves the name {name!r} for a device.")
    return "\\".join(names)


def python_candidates(comfyui_path: str, comfyui_python: str | None = None) -> list[str]:
    """Return where ComfyUI's Python may be, the likeliest first; only the given one, if one is given.

    :raises WorkstationError: a path that cannot be meant.
    """
    if comfyui_python:
        return [windows_path("comfyui_python", comfyui_python)]
    base = windows_path("comfyui_path", comfyui_path)
    found = [ntpath.normpath(ntpath.join(base, *place)) for place in PYTHON_PLACES]
    return list(dict.fromkeys(found))


def comfyui_python(
    action: t.Any, task_vars: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any], hide: t.Iterable[str] = ()
) -> WindowsPython:
    """Return the Python for a task with the options C(comfyui_path) and C(comfyui_python), of which one is needed.

    :arg hide: as that of WindowsPython.
    :raises WorkstationError: neither is set, or the task runs with async.
    """
    if action._task.async_val:
        raise WorkstationError("On Windows this task cannot run with async.")
    if not (options["comfyui_path"] or options["comfyui_python"]):
        raise WorkstationError("On Windows, set comfyui_path or comfyui_python, where there is a Python.")
    candidates = python_candidates(options["comfyui_path"] or "", options["comfyui_python"])
    return WindowsPython(action, task_vars, candidates, hide)


class WindowsPython:
    """ComfyUI's own Python on a workstation. It is looked for once, by starting it where it may be.

    :arg action: the action plugin, for its connection and become.
    :arg task_vars: the variables of its task.
    :arg candidates: where Python may be, as C(python_candidates) returns it.
    :arg hide: secrets that must not appear in an error text, should the workstation send one back.
    """

    def __init__(
        self,
        action: t.Any,
        task_vars: t.Mapping[str, t.Any],
        candidates: t.Sequence[str],
        hide: t.Iterable[str] = (),
    ) -> None:
        self._action = action
        self._task_vars = dict(task_vars)
        self._candidates = list(candidates)
        self._hide = [secret for secret in hide if secret]
        self._require_collection()

    def run(
        self,
        program: str,
        arguments: t.Sequence[str] = (),
        data: str = "",
        secret: bytes = b"",
        environment: t.Mapping[str, str] | None = None,
        name: str = "budgetguard",
    ) -> dict[str, t.Any]:
        """Run a program and return the JSON object in the last line that it printed, with C(exit_code) added.

        :arg program: the text of a Python file. It is run as C(__main__), sees the arguments in C(sys.argv[1:]) and
            reads its input from C(sys.stdin.buffer). Whatever it prints must be ASCII.
        :arg data: the program's input. Nothing secret: it may show up in logs.
        :arg secret: bytes that the program gets in addition. The input must then be JSON; C(open_secret) of the
            program reads the two halves from C(masked) in it and from the environment.
        :arg environment: variables that the program gets in addition. They may be secret: they are in no log either.
        :arg name: what tracebacks call the program.
        :raises WorkstationError: Python was not found, or did not answer.
        """
        variables = dict(environment or {})
        if secret:
            pad = secrets.token_bytes(len(secret))
            variables[PAD_VARIABLE] = base64.b64encode(pad).decode("ascii")
            masked = bytes(one ^ other for one, other in zip(secret, pad))
            data = json.dumps({**json.loads(data or "{}"), "masked": base64.b64encode(masked).decode("ascii")})
        body = program.encode("utf-8")
        words = ["-I", "-B", "-c", BOOTSTRAP.format(size=len(body), name=name), *arguments]
        tried = []
        for python in list(self._candidates):
            result = self._start([python, *words], program + data, variables)
            if "stdout" in result:
                self._candidates = [python]
                return self._answer(result, python)
            code = result.get("rc")
            if code not in NOT_THERE:
                raise WorkstationError(self._not_started(python, code, str(result.get("msg", ""))))
            tried.append(python)
        raise WorkstationError(self._not_found(tried))

    def _start(self, argv: list[str], stdin: str, variables: dict[str, str]) -> dict[str, t.Any]:
        with self._settings(variables):
            result: dict[str, t.Any] = self._action._execute_module(
                module_name=MODULE,
                module_args={"argv": argv, "stdin": stdin},
                task_vars={**self._task_vars, "ansible_no_target_syslog": True},
            )
        return result

    @contextlib.contextmanager
    def _settings(self, variables: dict[str, str]) -> t.Iterator[None]:
        """Have the module run in check mode too (the program itself knows what to do then), and by pipelining."""
        task, connection = self._action._task, self._action._connection
        check_mode, environment = task.check_mode, task.environment
        pipelining = _option(connection, "pipelining")
        task.check_mode = False
        if variables:
            given = environment if isinstance(environment, list) else [environment] if environment else []
            task.environment = [*given, variables]
        if pipelining is not None:
            connection.set_option("pipelining", True)
        try:
            if variables and not self._action._is_pipelining_enabled("new"):
                raise WorkstationError(
                    "A key cannot be moved to this workstation without a temporary file in clear. Unset "
                    "ANSIBLE_KEEP_REMOTE_FILES (keep_remote_files) and use the connection winrm, psrp or ssh, or "
                    "leave the option for the key out and bring the key there in another way."
                )
            yield
        finally:
            task.check_mode, task.environment = check_mode, environment
            if pipelining is not None:
                connection.set_option("pipelining", pipelining)

    def _require_collection(self) -> None:
        """Say at once, and once, what is missing on the controller.

        :raises WorkstationError: there is no collection ansible.windows.
        """
        loader = self._action._shared_loader_obj.module_loader
        if not loader.find_plugin_with_context(MODULE, mod_type=".ps1").resolved:
            raise WorkstationError(
                f"Windows workstations need the collection ansible.windows on the controller. Run: {INSTALL_HINT}"
            )

    def _answer(self, result: t.Mapping[str, t.Any], python: str) -> dict[str, t.Any]:
        """Return the program's last line as JSON."""
        lines = str(result["stdout"]).split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        try:
            answer = json.loads(last)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            said = self._harmless(str(result.get("stderr") or "")) or self._harmless(last) or "nothing"
            raise WorkstationError(
                f"{quoted(python)} on the workstation did not run the program to its end "
                f"(exit code {result.get('rc')}). It said: {said}"
            )
        return {**answer, "exit_code": result.get("rc")}

    def _not_started(self, python: str, code: object, message: str) -> str:
        said = self._harmless(message) or "nothing"
        if code in NETWORK_ERRORS or (code == ACCESS_DENIED and is_unc(python)):
            return f"{quoted(python)} cannot be started: {said} {DOUBLE_HOP}"
        if code == ACCESS_DENIED:
            return f"{quoted(python)} may not be started by the account that Ansible logs in with: {said}"
        if code in BLOCKED_BY_POLICY:
            return f"A policy of this workstation (AppLocker, App Control) does not let {quoted(python)} start: {said}"
        return f"The workstation did not start {quoted(python)}: {said}"

    def _not_found(self, tried: t.Sequence[str]) -> str:
        places = ", ".join(quoted(path) for path in tried)
        found = f"There is no Python at {places} on this workstation."
        cure = "Set comfyui_python to the python.exe that ComfyUI runs with, or correct comfyui_path."
        return f"{found} {cure}" + (f" {DOUBLE_HOP}" if any(is_unc(path) for path in tried) else "")

    def _harmless(self, text: str) -> str:
        """Return the end of an error text, in one line, without anything secret."""
        for secret in self._hide:
            text = text.replace(secret, "(hidden)")
        return " ".join(text.split())[-400:]


def _option(connection: t.Any, name: str) -> t.Any:
    """Return an option of a connection, or None where it has no such option."""
    try:
        return connection.get_option(name)
    except KeyError:
        return None
