# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A headless Chromium, driven over its DevTools protocol.

The protocol: https://chromedevtools.github.io/devtools-protocol/. Only what the tests need of it is here, so nothing
has to be installed but the browser.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import time
import typing as t
import urllib.request
from pathlib import Path

import websocket

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--no-first-run",
    "--no-proxy-server",
    "--remote-debugging-port=0",
    "--window-size=1280,800",
)
PATIENCE = 300.0
"""Seconds until a page counts as broken. Long, because the machine may be busy."""


def program() -> str | None:
    """Return the browser's path, or None if this machine has none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class PageError(AssertionError):
    """The page threw something, or what was waited for did not come."""


class Page:
    """One tab."""

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(address, timeout=PATIENCE, suppress_origin=True)
        self._numbers = itertools.count(1)
        self.told: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def close(self) -> None:
        """Let go of the tab."""
        self._socket.close()

    def go(self, url: str) -> None:
        """Load an address."""
        self._call("Page.navigate", url=url)

    def value(self, expression: str) -> t.Any:
        """Return what a JavaScript expression gives; a promise is waited for."""
        answer = self._call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise PageError(json.dumps(answer["exceptionDetails"], indent=1))
        return answer["result"].get("value")

    def wait(self, expression: str) -> t.Any:
        """Wait until an expression is true and return its value."""
        until = time.monotonic() + PATIENCE
        while True:
            # While a page is being loaded, names may not be there yet.
            with contextlib.suppress(PageError):
                found = self.value(expression)
                if found:
                    return found
            if time.monotonic() > until:
                raise PageError(f"{expression} did not become true. The page said: {self.told[-5:]}")
            time.sleep(0.1)

    def screenshot(self, path: Path) -> None:
        """Write what is to be seen as a PNG."""
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot")["data"]))

    def _call(self, method: str, **parameters: t.Any) -> dict[str, t.Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == number:
                if "error" in message:
                    raise PageError(f"{method}: {message['error']}")
                result: dict[str, t.Any] = message["result"]
                return result
            self._note(message)

    def _note(self, message: dict[str, t.Any]) -> None:
        """Keep what the page complains of."""
        if message.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            self.told.append(json.dumps(message["params"]))


class Browser:
    """A running browser with a profile of its own."""

    def __init__(self, folder: Path) -> None:
        path = program()
        assert path is not None
        self._log = (folder / "chromium.log").open("wb")
        command = [path, *SWITCHES, f"--user-data-dir={folder / 'profile'}", "about:blank"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        self._port = self._read_port(folder / "profile" / "DevToolsActivePort")

    def _read_port(self, path: Path) -> int:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and self._process.poll() is None:
            with contextlib.suppress(OSError, ValueError, IndexError):
                return int(path.read_text(encoding="ascii").splitlines()[0])
            time.sleep(0.05)
        raise PageError(f"The browser did not start: {Path(self._log.name).read_text(errors='replace')[-2000:]}")

    def page(self) -> Page:
        """Open a new tab."""
        address = f"http://127.0.0.1:{self._port}/json/new?about:blank"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(address, method="PUT"), timeout=PATIENCE) as answer:
            return Page(json.load(answer)["webSocketDebuggerUrl"])

    def close(self) -> None:
        """End the browser and all its processes."""
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
