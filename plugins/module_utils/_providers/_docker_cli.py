# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Calls of the docker command, and a login that leaves no key behind.

Every call has a configuration folder of its own, in memory where the system has such a folder. So neither a login, nor
the credential store of whoever runs this, nor a proxy or context in their configuration gets involved, and two runs
cannot disturb each other.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tarfile
import tempfile
import threading
import types
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _program
from ansible_collections.budgetguard.techops.plugins.module_utils._package_installer import Child
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ConflictError, ProviderError

SECONDS = 120
"""How long one call may take. Pulling an image has no limit."""

_LOG_LINE = 200
"""How much of a log line is shown."""

_MEMORY = pathlib.Path("/dev", "shm")
_PREFIX = "budgetguard-docker-"
_PLACEHOLDER = "budgetguard.invalid"

_ADVICE = (
    ("permission denied while trying to connect", "Log in as a member of the group docker, or set become: true."),
    ("cannot connect to the docker daemon", "Start Docker on this host, or set docker_host to where it listens."),
    (
        "could not select device driver",
        "Docker cannot give GPUs to containers; install the NVIDIA Container Toolkit on this host.",
    ),
    ("port is already allocated", "Another program has the port; choose one with the option ports."),
    ("address already in use", "Another program has the port; choose one with the option ports."),
    ("no space left on device", "The disk of the Docker host is full."),
)
_REGISTRY_ADVICE = (
    ("manifest unknown", "The registry has no such tag."),
    ("not found", "The registry has no such image or tag."),
    ("unauthorized", "The key is wrong or has expired, or it has no right to this image."),
    ("denied", "The key has no right to this image. Accept its terms on NVIDIA's page, or use another key."),
    ("451", "NVIDIA does not offer this image in this region."),
    ("no such host", "The name of the registry cannot be resolved on this host."),
)


class DockerCli:
    """The docker command of one host. Use it as a context, so that its folder goes in the end."""

    def __init__(
        self, run_command: _program.RunCommand, command: str = "docker", docker_host: str | None = None
    ) -> None:
        self.run_command = run_command
        self.command = command
        self.docker_host = docker_host
        self._folder: pathlib.Path | None = None
        self._lock = threading.Lock()
        self._logged_in: set[str] = set()
        self._secrets: set[str] = set()

    def __enter__(self) -> DockerCli:
        # Python would end at these without tidying up. They come when the connection to the controller is cut.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _leave)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    # ---- calls ---------------------------------------------------------------------------------------------------

    def hide(self, *secrets: str | None) -> None:
        """Keep these texts out of every error."""
        self._secrets.update(secret for secret in secrets if secret)

    def run(
        self,
        doing: str,
        *words: str,
        given: str | None = None,
        variables: t.Mapping[str, str] | None = None,
        seconds: float | None = SECONDS,
    ) -> str:
        """Call docker and return what it printed. Raises ProviderError that says what was being done."""
        done = self._call(doing, words, given, variables, seconds)
        if done.returncode:
            raise self._error(doing, done.stderr or done.stdout)
        return done.stdout

    def inspect(self, doing: str, kind: str, names: t.Sequence[str]) -> list[dict[str, t.Any]]:
        """Return the descriptions of those of the named containers, images or volumes that exist."""
        if not names:
            return []
        done = self._call(doing, (kind, "inspect", *names), None, None, SECONDS)
        if done.returncode and "no such" not in done.stderr.lower():
            raise self._error(doing, done.stderr)
        return t.cast("list[dict[str, t.Any]]", self._parsed(doing, done.stdout or "[]"))

    def info(self) -> dict[str, t.Any]:
        """Return what the engine says about itself."""
        doing = "ask the Docker engine about itself"
        answer = self._parsed(doing, self.run(doing, "info", "--format", "{{json .}}"))
        errors = answer.get("ServerErrors") or []
        if errors:
            raise self._error(doing, "\n".join(errors))
        return t.cast("dict[str, t.Any]", answer)

    def last_words(self, container: str) -> str | None:
        """Return the last line that a container has logged, without keys; None if there is none."""
        try:
            done = self._call("read the log", ("logs", "--tail=5", container), None, None, SECONDS)
        except ProviderError:
            return None
        lines = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
        return self._without_secrets(lines[-1])[:_LOG_LINE] if lines and not done.returncode else None

    @contextlib.contextmanager
    def stream(self, doing: str, *words: str) -> t.Iterator[t.IO[bytes]]:
        """Call docker and hand out what it prints while it prints it: more than fits into memory.

        That cannot be done by run_command. Raises ProviderError in the end if docker failed.
        """
        with tempfile.TemporaryFile() as errors:
            try:
                process = Child(
                    [self.command, *words],
                    env={**os.environ, **self._environment()},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                )
            except OSError as exc:
                raise ProviderError(f"{doing}: {self.command} cannot be run: {exc.strerror}") from exc
            with process:
                try:
                    yield t.cast("t.IO[bytes]", process.stdout)
                except BaseException as exc:
                    ended = process.poll()
                    process.kill()
                    process.wait()
                    if ended and isinstance(exc, (tarfile.TarError, EOFError)):
                        # A stream that breaks off is a consequence; docker itself says why.
                        raise self._error(doing, _said(errors)) from exc
                    raise
                if process.wait():
                    raise self._error(doing, _said(errors))

    def _call(
        self,
        doing: str,
        words: t.Sequence[str],
        given: str | None,
        variables: t.Mapping[str, str] | None,
        seconds: float | None,
    ) -> _program.Done:
        try:
            return _program.call(
                self.run_command,
                [self.command, *words],
                given=given or "",
                variables={**self._environment(), **(variables or {})},
                seconds=seconds,
            )
        except FileNotFoundError as exc:
            raise ProviderError(
                f"{doing}: the program {self.command} is not on this host; install Docker Engine, or set docker_command"
            ) from exc
        except TimeoutError as exc:
            raise ProviderError(f"{doing}: docker gave no answer within {seconds:g} seconds") from exc
        except OSError as exc:
            raise ProviderError(f"{doing}: {self.command} cannot be run: {exc.strerror}") from exc

    def _environment(self) -> dict[str, str]:
        # DOCKER_CONTEXT and the like would lead to another engine than the one that was asked for; empty is not set.
        variables = {key: "" for key in os.environ if key.startswith("DOCKER_")}
        variables["DOCKER_CONFIG"] = str(self._config_folder())
        variables["LC_ALL"] = "C.UTF-8"
        if self.docker_host:
            variables["DOCKER_HOST"] = self.docker_host
        return variables

    def _parsed(self, doing: str, text: str) -> t.Any:
        try:
            return json.loads(text)
        except ValueError as exc:
            raise ProviderError(f"{doing}: docker answered with something else than JSON: {text[:80]!r}") from exc

    def _error(self, doing: str, said: str, advice: t.Sequence[tuple[str, str]] = ()) -> ProviderError:
        said = self._without_secrets(said)
        lines = [line.strip() for line in said.splitlines() if line.strip() and "--help" not in line]
        # The last line of several is often about a consequence, so all of them are kept, up to a limit.
        text = f"{doing}: {'; '.join(lines[-3:]) or 'docker gives no reason'}"
        hints = [hint for mark, hint in (*advice, *_ADVICE) if mark in said.lower()]
        if hints:
            text = text.rstrip(".")
            text = f"{text}{'' if text.endswith('?') else '.'} {hints[0]}"
        if "is already in use by container" in said or "already in progress" in said:
            return ConflictError(text)
        return ProviderError(text)

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "********")
        return text

    # ---- registry ------------------------------------------------------------------------------------------------

    def login(self, registry: str, user: str, password: str) -> None:
        """Log in once. The key goes through standard input into a folder of our own, which goes in the end."""
        self.hide(password)
        with self._lock:
            if registry in self._logged_in:
                return
        doing = f"log in to the registry {registry}"
        words = ("login", "--username", user, "--password-stdin", registry)
        done = self._call(doing, words, password, None, SECONDS)
        if done.returncode:
            advice = (("unauthorized", "The key is wrong or has expired."), *_REGISTRY_ADVICE)
            raise self._error(doing, _without_warnings(done.stderr), advice)
        with self._lock:
            self._logged_in.add(registry)

    def pull(self, image: str) -> None:
        """Pull an image; this takes as long as it takes."""
        doing = f"pull {image}"
        done = self._call(doing, ("pull", "--quiet", image), None, None, None)
        if done.returncode:
            raise self._error(doing, done.stderr, _REGISTRY_ADVICE)

    def check_pullable(self, image: str) -> None:
        """Ask the registry whether the image could be pulled, without pulling it."""
        doing = f"look for {image}"
        insecure = ("--insecure",) if image.startswith(("127.", "localhost:")) else ()
        done = self._call(doing, ("manifest", "inspect", *insecure, image), None, None, SECONDS)
        if done.returncode and "is not a docker command" not in done.stderr:
            raise self._error(doing, done.stderr, (("no such manifest", "The registry has no such tag."),))

    def _config_folder(self) -> pathlib.Path:
        with self._lock:
            if self._folder is None:
                parent = _MEMORY if os.access(_MEMORY, os.W_OK) else pathlib.Path(tempfile.gettempdir())
                _sweep(parent)
                self._folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent))
                # An empty configuration would make docker put the key into the desktop's credential store, if any.
                content = json.dumps({"auths": {_PLACEHOLDER: {}}})
                (self._folder / "config.json").write_text(content, encoding="utf-8")
            return self._folder


def _said(errors: t.IO[bytes]) -> str:
    errors.seek(0)
    return errors.read().decode("utf-8", "replace")


def _leave(number: int, _frame: types.FrameType | None) -> t.NoReturn:
    raise SystemExit(128 + number)


def _sweep(parent: pathlib.Path) -> None:
    """Remove what a run left that was killed outright."""
    for folder in parent.glob(f"{_PREFIX}*"):
        pid = folder.name[len(_PREFIX) :].partition("-")[0]
        try:
            is_ours = folder.stat().st_uid == os.getuid()
        except OSError:
            continue
        if is_ours and pid.isdigit() and not pathlib.Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _without_warnings(said: str) -> str:
    return "\n".join(line for line in said.splitlines() if not line.startswith("WARNING"))
