# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Drive a headless Chromium by its DevTools protocol: open a page, run scripts in it, see what it complains of.

The protocol is described at https://chromedevtools.github.io/devtools-protocol/. Only methods that have long been
stable are used, so any Chromium of Debian's will do.
"""

from __future__ import annotations

import base64
import contextlib
import json
import queue
import re
import shutil
import subprocess
import tempfile
import threading
import time
import typing as t
import urllib.request
from pathlib import Path

import websocket

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
SECONDS = 300
"""For one answer. A loaded machine takes its time; nothing is decided by it."""

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)


class BrowserError(Exception):
    """The browser did not do what it was asked for."""


class Page:
    """One page of the browser."""

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(address, timeout=SECONDS, suppress_origin=True)
        self._number = 0
        self.complaints: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """Let the page go."""
        self._socket.close()

    def call(self, method: str, **parameters: t.Any) -> dict[str, t.Any]:
        """Call a method of the protocol, and return its result."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._number:
                if "error" in message:
                    raise BrowserError(f"{method}: {message['error']}")
                result: dict[str, t.Any] = message["result"]
                return result
            self._note(message)

    def _note(self, message: dict[str, t.Any]) -> None:
        """Keep what the page complains of, and what it asks for."""
        method, told = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(told["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(json.dumps(told["args"]))
        elif method == "Log.entryAdded":
            self.complaints.append(str(told["entry"]["text"]))
        elif method == "Network.requestWillBeSent":
            self.requests.append(str(told["request"]["url"]))

    def visit(self, url: str) -> None:
        """Open an address."""
        self.call("Page.navigate", url="about:blank")
        self.run("null")
        # What the page before this one still said has been told by now.
        self.complaints.clear()
        self.requests.clear()
        self.call("Page.navigate", url=url)

    def open(self, path: Path, fragment: str = "") -> None:
        """Open a file, and wait until it is there."""
        self.visit(path.as_uri() + fragment)
        self.run(
            "new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', () => done()))"
        )

    def run(self, script: str) -> t.Any:
        """Return what an expression is in the page, once it is settled."""
        told = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in told:
            raise BrowserError(f"{script}: {told['exceptionDetails']}")
        return told["result"].get("value")

    def wait(self, script: str) -> t.Any:
        """Wait until an expression is true in the page, and return its value."""
        until = time.monotonic() + SECONDS
        while True:
            # While a page is being loaded, names may not be there yet.
            with contextlib.suppress(BrowserError):
                found = self.run(script)
                if found:
                    return found
            if time.monotonic() > until:
                raise BrowserError(f"{script} did not become true. The page said: {self.complaints[-5:]}")
            time.sleep(0.1)

    def click(self, selector: str) -> None:
        """Click on the first element that the selector finds."""
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def press(self, key: str) -> None:
        """Press a key, as a keyboard does."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def type_into(self, selector: str, text: str) -> None:
        """Type a text into a field."""
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def show_as(self, media: str = "", scheme: str = "light") -> None:
        """Show the page as on a screen or on paper, light or dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def resize(self, width: int, height: int) -> None:
        """Give the window another size."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def picture(self, path: Path) -> None:
        """Take a picture of the page."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def print_to(self, path: Path) -> None:
        """Print the page into a PDF file."""
        printed = self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        path.write_bytes(base64.b64decode(printed["data"]))


@contextlib.contextmanager
def chromium() -> t.Iterator[Page]:
    """Start a browser with a profile of its own, and return its page."""
    with tempfile.TemporaryDirectory(prefix="bg-chromium-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [PROGRAM, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            page = Page(_address(process))
            try:
                yield page
            finally:
                page.close()
        finally:
            process.terminate()
            process.wait(timeout=SECONDS)
            if process.stderr is not None:
                process.stderr.close()


def _address(process: subprocess.Popen[str]) -> str:
    """Return where the first page listens."""
    lines: queue.Queue[str] = queue.Queue()
    # Goes on reading, since the browser would wait once its pipe is full.
    threading.Thread(target=lambda: list(map(lines.put, process.stderr or ())), daemon=True).start()
    told = ""
    while True:
        try:
            line = lines.get(timeout=SECONDS)
        except queue.Empty:
            raise BrowserError(f"Chromium did not start: {told}") from None
        told += line
        found = re.search(r"DevTools listening on ws://([\d.]+:\d+)/", line)
        if found:
            break
    with urllib.request.urlopen(f"http://{found.group(1)}/json/list", timeout=SECONDS) as answer:
        pages = [entry for entry in json.load(answer) if entry["type"] == "page"]
    return str(pages[0]["webSocketDebuggerUrl"])
