# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests use: `Sandbox` starts and stops the process, `SandboxControl` speaks its control API.

Standard library only, so that any test can import it without moto.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import shlex
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import unquote_plus, urlsplit

_BASE64 = re.compile(r"[A-Za-z0-9+/]{12,}={0,2}")

REPOSITORY = Path(__file__).resolve().parents[2]
#: How the names of variables start that a sandbox process must not inherit.
CLOUD_VARIABLES = ("AWS_", "AZURE_", "CLOUDSDK_", "GOOGLE_", "MOTO_")


class SandboxStartError(Exception):
    """The process did not get ready. The message has what it printed."""


class ControlError(Exception):
    """The control API refused a request."""


class SandboxControl:
    """The control API (see the README for what each verb does)."""

    def __init__(self, url: str, ca_file: str) -> None:
        if not url.startswith("https://"):
            raise ValueError(f"the control API is at an https URL, got {url!r}")
        self._address = url.removeprefix("https://").rstrip("/")
        context = ssl.create_default_context(cafile=ca_file)
        # The sandbox is on loopback: never by way of a proxy, whatever the environment says.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One call of the control API; the answer's JSON. Raises `ControlError`."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"https://{self._address}/{path}", data=data, method=method)
        try:
            with self._opener.open(request, timeout=30) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise ControlError(f"{method} {path}: {error.code} {error.read().decode()}") from error

    def calls(self, service: str | None = None, action: str | None = None, since: int = 0) -> list[dict[str, Any]]:
        """Return requests in order of arrival, all or of one service or action, with a number above `since`."""
        return [
            call
            for call in self.request("GET", "calls")
            if service in (None, call["service"]) and action in (None, call["action"]) and call["seq"] > since
        ]

    def newest(self) -> int:
        """Return the number of the newest request, after which others are looked for."""
        return max((int(call["seq"]) for call in self.calls()), default=0)

    def count(self, service: str | None = None, action: str | None = None) -> int:
        """How many such requests there were."""
        return len(self.calls(service, action))

    def counts(self) -> Counter[tuple[str, str]]:
        """How many requests there were by (service, action)."""
        return Counter((call["service"], call["action"]) for call in self.calls())

    def calls_containing(self, text: str) -> list[dict[str, Any]]:
        """Return requests in which a text occurs: as sent, URL-encoded, or within base64."""
        return [call for call in self.calls() if _contains(call, text)]

    def clear_calls(self) -> None:
        """Empty the call log."""
        self.request("DELETE", "calls")

    def fault(
        self,
        action: str,
        code: str,
        *,
        message: str = "Injected by the sandbox",
        status: int = 400,
        times: int | None = 1,
        service: str | None = None,
        match: str | None = None,
        when: str = "before",
        delay_seconds: float = 0.0,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Answer the next `times` (None: all) matching calls with an error, before or after they took effect.

        With `when` "operation" they are answered as usual, and the long-running work that they start fails.
        """
        self.request(
            "POST",
            "fault",
            {
                "action": action,
                "code": code,
                "message": message,
                "status": status,
                "times": times,
                "service": service,
                "match": match,
                "when": when,
                "delay_seconds": delay_seconds,
                "headers": headers or {},
            },
        )

    def hook(
        self,
        action: str,
        delay_seconds: float,
        *,
        times: int | None = 1,
        when: str = "before",
        service: str | None = None,
        match: str | None = None,
    ) -> None:
        """Hold the next `times` (None: all) matching calls up, before or after they take effect."""
        self.request(
            "POST",
            "hook",
            {
                "action": action,
                "delay_seconds": delay_seconds,
                "times": times,
                "when": when,
                "service": service,
                "match": match,
            },
        )

    def faults(self) -> list[dict[str, Any]]:
        """Faults and hooks that still wait for their calls."""
        waiting: list[dict[str, Any]] = self.request("GET", "faults")
        return waiting

    def clear_faults(self) -> None:
        """Drop all waiting faults and hooks."""
        self.request("DELETE", "faults")

    def nim(
        self,
        deployment: str,
        outcome: str = "ready",
        *,
        delay_seconds: float | None = None,
        log_lines: list[str] | None = None,
    ) -> None:
        """Say what becomes of the ECS service, the Kubernetes Deployments and the Cloud Function of this name."""
        self.request(
            "POST",
            "nim",
            {
                "deployment": deployment,
                "outcome": outcome,
                "delay_seconds": delay_seconds,
                "log_lines": log_lines,
            },
        )

    def dns(self, host: str, target: str) -> None:
        """Let a host name lead to a load balancer's DNS name, as a CNAME record does."""
        self.request("POST", "dns", {"host": host, "target": target})

    def defaults(self, **values: float) -> dict[str, float]:
        """Change durations, those of the class `Defaults`, such as `startup_seconds`, `cluster_seconds`.

        Returns all of them.
        """
        answer: dict[str, float] = self.request("POST", "defaults", dict(values))
        return answer

    def quota(self, cloud: str, region: str, name: str, limit: int) -> None:
        """Change a quota of `cloud` azure or gcp. The region of Google's project-wide quotas is ``global``."""
        self.request("POST", "quota", {"cloud": cloud, "region": region, "name": name, "limit": limit})

    def bill(self, cloud: str, **changes: Any) -> None:
        """Change what `cloud` has billed: ``late_days``, ``currency``, ``active_tags`` (AWS's), ``entries``."""
        self.request("POST", "bill", {"cloud": cloud, **changes})

    def image(self, repository: str, tag: str) -> None:
        """Put an image into the organisation's own registry at NVIDIA, as `docker push` does."""
        self.request("POST", "image", {"repository": repository, "tag": tag})

    def azure_permissions(self, *entries: dict[str, list[str]]) -> None:
        """Say what Azure tells its caller about the caller's own permissions, one entry for each role."""
        self.request("POST", "azure_permissions", {"entries": list(entries)})

    def container_log(
        self, cloud: str, lines: list[str], *, container: str = "gateway", delay_seconds: float = 0.0
    ) -> None:
        """Let a container of the one AKS or GKE cluster have written some lines, found after a delay."""
        body = {"cloud": cloud, "lines": lines, "container": container, "delay_seconds": delay_seconds}
        self.request("POST", "container_log", body)

    def gpu_metrics(self, cloud: str, **changes: Any) -> None:
        """Change what the metrics of a cloud know of GPUs: ``series`` with labels and points.

        Points are pairs of seconds since 1970 and percent. ``gcp`` has ``page_points`` and ``errors``, too, and
        ``azure`` has ``warnings``.
        """
        self.request("POST", "gpu_metrics", {"cloud": cloud, **changes})

    def resources(self, region: str | None = None) -> dict[str, Any]:
        """Names of what exists, or those of one region (empty if nothing is there).

        Besides AWS's regions and its ``global`` there are ``azure``, ``gcp``, ``nvidia`` and ``kube``.
        """
        found: dict[str, Any] = self.request("GET", "resources")
        return found if region is None else found.get(region, {})

    def reset(self) -> None:
        """Forget everything: resources, calls, faults, outcomes, aliases, changed durations."""
        self.request("POST", "reset", {})


def _contains(call: dict[str, Any], text: str) -> bool:
    for value in _texts([call["path"], call["body"], call["params"]]):
        if text in value or text in unquote_plus(value):
            return True
        if any(text in decoded for decoded in _decoded(value)):
            return True
    return False


def _texts(value: Any) -> Iterator[str]:
    """All texts in a nested value, keys too."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    else:
        yield str(value)


def _decoded(value: str) -> Iterator[str]:
    """Yield the content of everything in the value that looks like base64."""
    for match in _BASE64.finditer(value):
        try:
            yield base64.b64decode(match.group(), validate=True).decode("utf-8", "replace")
        except ValueError:
            continue


class Sandbox:
    """A sandbox process for the length of a ``with`` block.

    `env` has the variables to give to programs under test, `control` the control API. The process is stopped when the
    block ends, however it ends; should this process be killed, the sandbox notices and stops by itself.
    """

    def __init__(self, directory: str | Path | None = None, *, start_timeout: float = 240.0, **options: float) -> None:
        """Prepare a start in `directory` (None: a temporary one, removed at the end).

        Options are those of the command line, such as ``startup_seconds=2``.
        """
        self._temporary = tempfile.TemporaryDirectory(prefix="sandbox-") if directory is None else None
        self.directory = Path(self._temporary.name if self._temporary else str(directory))
        self._start_timeout = start_timeout
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.env: dict[str, str] = {}

    def __enter__(self) -> Sandbox:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id. Raises RuntimeError if the sandbox is not running."""
        if self._process is None:
            raise RuntimeError("the sandbox is not running")
        return self._process.pid

    def start(self) -> None:
        """Start the process and wait until it is ready. Raises `SandboxStartError`."""
        self.directory.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "tests.sandbox", "--dir", str(self.directory), "--stop-with-stdin"]
        for name, value in self._options.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        # Nothing of the caller's cloud settings may get in.
        environ = {name: value for name, value in os.environ.items() if not name.startswith(CLOUD_VARIABLES)}
        environ["PYTHONPATH"] = str(REPOSITORY)
        self._log_path = self.directory / "sandbox.log"
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=REPOSITORY, env=environ, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        self.env = read_environment(self.directory / "env")
        self.control = SandboxControl(self.env["BUDGETGUARD_SANDBOX_URL"], self.env["SSL_CERT_FILE"])

    def stop(self) -> None:
        """Stop the process. Does nothing if it is not running."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + self._start_timeout
        while not self._log_path.read_bytes().startswith(b"sandbox ready"):
            if self._process.poll() is not None:
                raise SandboxStartError(f"The sandbox ended at start:\n{self._log_path.read_text()}")
            if time.monotonic() > deadline:
                raise SandboxStartError(
                    f"The sandbox was not ready within {self._start_timeout} s:\n{self._log_path.read_text()}"
                )
            time.sleep(0.05)


def read_environment(path: Path) -> dict[str, str]:
    """Return the variables in a sandbox's env file."""
    words = (word.partition("=") for word in shlex.split(path.read_text()))
    return {name: value for name, _equals, value in words}


def ask_as_workstation(environment: Mapping[str, str], url: str, token: str | None = None) -> int:
    """Ask an ``http`` endpoint by way of the sandbox's proxy, and return the status of the answer."""
    proxy = urlsplit(environment["HTTP_PROXY"])
    connection = http.client.HTTPConnection(str(proxy.hostname), proxy.port, timeout=60)
    try:
        connection.request("GET", url, headers={"Authorization": f"Bearer {token}"} if token else {})
        return connection.getresponse().status
    finally:
        connection.close()
