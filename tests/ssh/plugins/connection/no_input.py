# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The connection ssh, but as little able to pass standard input on as paramiko is."""

from __future__ import annotations

from ansible.errors import AnsibleError
from ansible.plugins.connection.ssh import DOCUMENTATION as SSH_DOCUMENTATION
from ansible.plugins.connection.ssh import Connection as SshConnection

DOCUMENTATION = SSH_DOCUMENTATION.replace("name: ssh", "name: no_input", 1)


class Connection(SshConnection):
    """Refuses what paramiko refuses."""

    transport = "no_input"
    has_pipelining = False

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """Run a command that has no standard input."""
        if in_data:
            raise AnsibleError("this connection passes no standard input")
        answer: tuple[int, bytes, bytes] = super().exec_command(cmd, in_data=None, sudoable=sudoable)
        return answer
