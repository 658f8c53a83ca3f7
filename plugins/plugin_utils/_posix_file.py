# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Look at, and change, the config and the key file of a POSIX workstation in one round trip each."""

from __future__ import annotations

import inspect
import json
import secrets
import shlex
from typing import TYPE_CHECKING, Any

from ansible_collections.budgetguard.techops.plugins.module_utils._workstation import FILE, FOLDER
from ansible_collections.budgetguard.techops.plugins.plugin_utils import _workstation_probe
from ansible_collections.budgetguard.techops.plugins.plugin_utils._posix_facts import (
    Facts,
    WorkstationError,
    parse_facts,
)
from ansible_collections.budgetguard.techops.plugins.plugin_utils._posix_programs import (
    DISK_TROUBLE,
    FAILURES,
    PROBE_PROGRAM,
    READ_PROGRAM,
    WRITE_PROGRAM,
    command,
    output_lines,
    probe_answer,
    probe_lines,
    program_input,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class PosixWorkstation:
    """Runs the programs over the connection of a task.

    :arg action: the action plugin, for its connection and become.
    :arg hide: secrets that must not appear in an error text, should the workstation send one back.
    """

    def __init__(self, action: Any, hide: Iterable[str]) -> None:
        self._action = action
        self._hide = [secret for secret in hide if secret]

    def can_take_input(self) -> bool:
        """Whether the connection passes standard input on. ssh and local do, paramiko does not."""
        connection = self._action._connection
        wants_terminal = bool(connection.become and connection.become.require_tty)
        return bool(connection.has_pipelining) and not wants_terminal

    def become_owner(self, comfyui_path: str) -> None:
        """Find out who owns ComfyUI's base folder, and run everything after this as that user. One round trip.

        Become plugins take another user for each command, so this needs no second task. Nothing is read but the
        owner's name, as long as this is not the owner yet.

        Without become nothing can be done here; if the user is not the owner, that is refused later.

        :raises WorkstationError: the path depends on the user.
        """
        become = self._action._connection.become
        if become is None:
            return
        if comfyui_path == "~" or comfyui_path.startswith("~/"):
            raise WorkstationError("as_owner looks for the owner, so comfyui_path must say whose ~ it means: ~user/.")
        facts = self.read(comfyui_path, None, ())
        if facts.base_owner_name is not None and not facts.is_owner:
            become.set_option("become_user", facts.base_owner_name)

    def read(self, comfyui_path: str, key_path: str | None, key_lines: Sequence[str]) -> Facts:
        """Look at base folder, config and key file. One round trip, nothing is changed.

        :arg key_lines: lines the key file may have; the facts tell which ones it has, by number.
        """
        parameters = [comfyui_path, key_path or "", str(len(key_lines)), *key_lines]
        lines = self._run("budgetguard.techops reads the ComfyUI config", READ_PROGRAM, parameters)
        return parse_facts(lines)

    def probe(
        self, comfyui_path: str, key_path: str | None, key_lines: Sequence[str], options: Mapping[str, Any]
    ) -> tuple[Facts, dict[str, Any] | str]:
        """Look at the same, and at the rest of the workstation by a Python program. One round trip.

        :arg options: those of the program C(_workstation_probe), and C(python), the interpreter to take; empty for
            ComfyUI's own, or else the system's.
        :returns: the facts, and what the program has answered, or why it has not.
        """
        program = f"{json.dumps(dict(options))}\n{inspect.getsource(_workstation_probe)}".encode()
        facts, told, complaint = self.run_python(comfyui_path, key_path, key_lines, str(options["python"]), program)
        return facts, probe_answer(told, complaint)

    def run_python(
        self, comfyui_path: str, key_path: str | None, key_lines: Sequence[str], python: str, program: bytes
    ) -> tuple[Facts, list[str], str]:
        """Look at the same, and at the rest of the workstation by a Python program. One round trip.

        :arg python: the interpreter to take; empty for ComfyUI's own, or else the system's.
        :arg program: what goes to the interpreter's standard input: one line of options, then the program.
        :returns: the facts, the lines that tell of the interpreter and what it printed, and what it complained of.
        """
        parameters = [comfyui_path, key_path or "", str(len(key_lines)), *key_lines, python]
        result = self._send("budgetguard.techops looks at the workstation", PROBE_PROGRAM, parameters, program)
        lines = output_lines(result["stdout"])
        if lines is None:
            raise self._failure(result, parameters)
        return parse_facts(lines), probe_lines(result["stdout"]), self._harmless(result["stderr"])

    def write(
        self, facts: Facts, steps: Sequence[str], content: bytes = b"", aside: str = "", key_line: str = ""
    ) -> bool:
        """Take the steps. One round trip. Return False when the config changed since it was read: look again then."""
        parameters = [
            str(facts.base_real),
            secrets.token_hex(8),
            " ".join(steps),
            facts.sum,
            aside,
            str(len(content)),
            facts.key or "",
            key_line,
        ]
        try:
            self._run("budgetguard.techops writes the ComfyUI config", WRITE_PROGRAM, parameters, content)
        except _RacedError:
            return False
        return True

    def _run(self, purpose: str, program: str, parameters: Sequence[str], content: bytes = b"") -> list[str]:
        result = self._send(purpose, program, parameters, content)
        lines = output_lines(result["stdout"])
        if lines is not None:
            return lines
        raise self._failure(result, parameters)

    def _send(self, purpose: str, program: str, parameters: Sequence[str], content: bytes) -> dict[str, Any]:
        """Run a program with its parameters and its content, in whatever way the connection has."""
        in_data = program_input(program, parameters, content)
        line = command(purpose, program)
        return self._exchange(line, in_data) if self.can_take_input() else self._exchange_by_file(line, in_data)

    def _exchange(self, line: str, in_data: bytes) -> dict[str, Any]:
        """Run the command with data on standard input, also through become with a password."""
        connection = self._action._connection
        try:
            before = connection.get_option("pipelining")
        except KeyError:
            # Some connections always pass input on and have no such option.
            return self._low_level(line, in_data)
        # Without this the local connection gives the become password a terminal and drops the data.
        connection.set_option("pipelining", True)
        try:
            return self._low_level(line, in_data)
        finally:
            connection.set_option("pipelining", before)

    def _exchange_by_file(self, line: str, in_data: bytes) -> dict[str, Any]:
        """Do the same where there is no standard input, by a file in Ansible's own private temporary folder.

        Only for what is not secret: the caller moves no key this way.
        """
        action = self._action
        folder = action._make_tmp_path()
        try:
            path = action._connection._shell.join_path(folder, "input")
            action._transfer_data(path, in_data)
            action._fixup_perms2((folder, path), execute=False)
            return self._low_level(f"{{ {line}; }} < {shlex.quote(path)}", None)
        finally:
            action._remove_tmp_path(folder, force=True)

    def _low_level(self, line: str, in_data: bytes | None) -> dict[str, Any]:
        """Run one command line through the connection, and through become if the task has it."""
        result: dict[str, Any] = self._action._low_level_execute_command(line, in_data=in_data, sudoable=True)
        return result

    def _failure(self, result: dict[str, Any], parameters: Sequence[str]) -> Exception:
        """Make the error for a program that did not run to its end."""
        lines = [line.rstrip("\r") for line in result["stdout"].split("\n")]
        if "raced" in lines:
            return _RacedError()
        for line in lines:
            if line.startswith("failed "):
                return WorkstationError(self._explain(line[len("failed ") :], parameters, result))
        said = self._harmless(result["stderr"]) or "nothing"
        return WorkstationError(
            f"The workstation did not run the commands to their end (exit code {result['rc']}). It said: {said}"
        )

    def _explain(self, word: str, parameters: Sequence[str], result: dict[str, Any]) -> str:
        base = parameters[0]
        key = parameters[6] if len(parameters) > 6 else ""
        config = f"{base.rstrip('/')}/{FOLDER}/{FILE}"
        meaning = FAILURES.get(word, f"the step failed: {word}").format(config=repr(config), key=repr(key))
        said = self._harmless(result["stderr"])
        cause = next((cause for sign, cause in DISK_TROUBLE.items() if sign in said), None)
        if cause is not None:
            return f"Not written: {cause} where {key if word.startswith('key') else config!r} belongs."
        return f"Not written: {meaning}." + (f" The workstation said: {said}" if said else "")

    def _harmless(self, text: str) -> str:
        """Return the end of an error text, in one line, without anything secret."""
        for secret in self._hide:
            text = text.replace(secret, "(hidden)")
        return " ".join(text.split())[-400:]


class _RacedError(Exception):
    """The config is not what it was when it was read."""
