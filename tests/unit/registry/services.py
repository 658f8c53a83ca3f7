# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated services behind a real forward proxy on loopback, and modules that are run in this process."""

from __future__ import annotations

import io
import json
import sys
import threading
import typing as t
from pathlib import Path

import pytest

from tests.sandbox.ca import ThrowAwayCA
from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.nim_stub import Hosts, NimStub
from tests.sandbox.proxy import ProxyServer


class Proxy:
    """A proxy that leads to simulated hosts. Use as a context manager."""

    def __init__(self, directory: Path, hosts: Hosts) -> None:
        self.ca = ThrowAwayCA(directory)
        self.calls = CallLog()
        self.faults = Interferences()
        self.server = ProxyServer(0, NimStub(hosts), self.ca, self.calls, self.faults)
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()

    @property
    def url(self) -> str:
        """Where the proxy answers."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def paths(self) -> list[str]:
        """Return what was asked for, in order."""
        return [f"{call['method']} {call['path']}" for call in self.calls.as_list()]

    def lead_there(self, patch: pytest.MonkeyPatch) -> None:
        """Set the variables that lead every HTTP client of this process through the proxy."""
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            patch.setenv(name, self.url)
        for name in ("no_proxy", "NO_PROXY"):
            patch.setenv(name, "127.0.0.1,localhost")
        patch.setenv("SSL_CERT_FILE", str(self.ca.certificate_path))


def run_module(
    main: t.Callable[[], None],
    options: dict[str, t.Any],
    patch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> dict[str, t.Any]:
    """Run a module as Ansible does, with its options on standard input, and return its result."""
    arguments = {"_ansible_remote_tmp": "/tmp", "_ansible_keep_remote_files": False, **options}
    given = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
    patch.setattr("ansible.module_utils.basic._ANSIBLE_ARGS", given)
    patch.setattr("ansible.module_utils.basic._ANSIBLE_PROFILE", "legacy", raising=False)
    patch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(SystemExit):
        main()
    result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
    return result
