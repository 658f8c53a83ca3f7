# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An organisation at NVIDIA in this process: its API over HTTPS, and its other hosts through a proxy."""

from __future__ import annotations

import threading
import typing as t
from pathlib import Path

from werkzeug.serving import make_server
from werkzeug.utils import redirect
from werkzeug.wrappers import Request

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog
from ansible_collections.budgetguard.techops.plugins.module_utils._converge import Goal, Outcome, converge
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Status, resolve_all
from ansible_collections.budgetguard.techops.plugins.module_utils._providers.nvidia import Nvidia
from tests.sandbox.app import LOOPBACK, QuietHandler
from tests.sandbox.ca import ThrowAwayCA
from tests.sandbox.calls import CallLog, Interference, Interferences
from tests.sandbox.ecs_runtime import Outcome as Fate
from tests.sandbox.nim_stub import NimStub
from tests.sandbox.nvidia import NvidiaApplication
from tests.sandbox.proxy import ProxyServer
from tests.sandbox.state import DEFAULTS, Defaults

NGC_KEY = "nvapi-Zr81CANARYngcQm3vT0"
HF_TOKEN = "hf_Zr81CANARYhfQm3vT0"
FLUX = "nim-flux-dev-l40s"
FLUX_IMAGE = "flux.1-dev"

if t.TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class Organisation:
    """The simulated organisation, worked on as the module nim_nvidia does it."""

    def __init__(self, folder: Path) -> None:
        #: Where the next request is sent instead of being answered.
        self.redirect: str | None = None
        self.calls = CallLog()
        self.interferences = Interferences()
        self.app = NvidiaApplication(self.calls, self.interferences)
        authority = ThrowAwayCA(folder)
        self.ca_bundle = str(authority.certificate_path)
        self._https = make_server(LOOPBACK, 0, self._answer, threaded=True, request_handler=QuietHandler)
        self._https.socket = authority.server_context(LOOPBACK).wrap_socket(self._https.socket, server_side=True)
        self._proxy = ProxyServer(0, NimStub(self.app.hosts), authority, self.calls, self.interferences)
        self._threads = [
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
            for server in (self._https, self._proxy)
        ]
        for thread in self._threads:
            thread.start()
        self.url = f"https://{LOOPBACK}:{self._https.server_port}"
        self.proxy_url = f"http://{LOOPBACK}:{self._proxy.server_address[1]}"

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        target, self.redirect = self.redirect, None
        response = redirect(target) if target else self.app(Request(environ))
        return response(environ, start_response)

    def close(self) -> None:
        """Stop answering."""
        for server, thread in zip((self._https, self._proxy), self._threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()

    def reset(self) -> None:
        """Forget everything, and put the copied images back."""
        self.app.reset()
        self.calls.clear()
        self.interferences.clear()
        DEFAULTS.change(dict(vars(Defaults(startup_seconds=0.0, drain_seconds=0.0))))
        self.app.functions.add_image(FLUX_IMAGE, "1.2.3", "1.2.4")
        self.app.functions.add_image("llama-3.1-8b-instruct", "1.15.5")

    # ---- as the module -------------------------------------------------------------------------------------------

    def options(self, **changes: t.Any) -> dict[str, t.Any]:
        """Return options that lead here."""
        return {
            "api_key": self.app.account.key,
            "org": self.app.account.org,
            "endpoint": self.url,
            "ca_bundle": self.ca_bundle,
            "ngc_api_key": NGC_KEY,
            "hf_token": HF_TOKEN,
            **changes,
        }

    def provider(self, **changes: t.Any) -> Nvidia:
        """Return the provider as the module opens it."""
        return Nvidia.connect(self.options(**changes))

    def run(self, entries: list[dict[str, t.Any]], settings: dict[str, t.Any] | None = None, **goal: t.Any) -> Outcome:
        """Bring NIMs to what is asked for."""
        wanted, selections = resolve_all(entries, "nvidia", _catalog.load({}))
        asked = {"wait_interval": 0.05, "wait_timeout": 10, **goal}
        target = Goal(wanted=tuple(wanted), selections=tuple(selections), **asked)
        return converge(self.provider(**(settings or {})), target)

    def flux(
        self, state: str = "present", settings: dict[str, t.Any] | None = None, goal: t.Any = None, **entry: t.Any
    ) -> Outcome:
        """Bring FLUX Dev as a function of our own to a state."""
        asked = {"node": "FLUX Dev", "gpu_tier": "l40s", "state": state, **entry}
        return self.run([asked], settings, **(goal or {}))

    def status(self, name: str = FLUX, **changes: t.Any) -> Status:
        """Read the state of a NIM."""
        return self.provider(**changes).statuses(explain=True)[name]

    # ---- as a test -----------------------------------------------------------------------------------------------

    def fault(self, action: str, code: str = "Error", **more: t.Any) -> None:
        """Let the next call of an action fail."""
        self.interferences.add(Interference.from_json({"action": action, "code": code, **more}))

    def becomes(self, outcome: str, name: str = FLUX) -> None:
        """Say what becomes of a function."""
        self.app.set_outcome(name, Fate(outcome))

    def actions(self) -> list[str]:
        """Return what was asked of NVIDIA, in order, and forget it."""
        found = [str(call["action"]) for call in self.calls.as_list()]
        self.calls.clear()
        return found

    def count(self, action: str) -> int:
        """Count the calls of an action."""
        return sum(call["action"] == action for call in self.calls.as_list())

    def calls_with(self, text: str) -> set[str]:
        """Return the actions in whose body a text stood."""
        return {str(call["action"]) for call in self.calls.as_list() if text in call["body"]}


def done(outcome: Outcome) -> list[str]:
    """Return what was done, in words."""
    return [step.describe() for step in outcome.done]


def well(outcome: Outcome) -> bool:
    """Say whether nothing failed."""
    return not outcome.errors and outcome.target_error is None


def state(outcome: Outcome, name: str = FLUX) -> str:
    """Return the state of a NIM after a run."""
    return outcome.statuses[name].state
