# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start the sandbox in the foreground: ``python -m tests.sandbox``."""

from __future__ import annotations

import argparse
import fcntl
import gc
import os
import secrets
import shlex
import signal
import string
import sys
import threading
import time
from pathlib import Path
from typing import TextIO

from tests.sandbox.app import LOOPBACK, SandboxServer
from tests.sandbox.ca import ThrowAwayCA, write_private
from tests.sandbox.control import PREFIX
from tests.sandbox.state import DEFAULTS

#: The region whose large files are read before the sandbox says it is ready.
WARM_REGION = "us-east-1"
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.sandbox", description="Simulated clouds on loopback.")
    parser.add_argument("--port", type=int, default=0, help="port of the clouds' APIs (default: a free one)")
    parser.add_argument("--proxy-port", type=int, default=0, help="port of the forward proxy (default: a free one)")
    parser.add_argument("--dir", type=Path, default=Path(".sandbox"), help="where env and ca.pem are written")
    parser.add_argument(
        "--startup-seconds", type=float, default=0.0, help="from a raised desiredCount to a healthy target"
    )
    parser.add_argument(
        "--drain-seconds", type=float, default=DEFAULTS.drain_seconds, help="how long deleted things linger"
    )
    parser.add_argument(
        "--scale-in-seconds", type=float, default=0.0, help="how long an instance without tasks is kept"
    )
    parser.add_argument(
        "--cluster-seconds",
        type=float,
        default=DEFAULTS.cluster_seconds,
        help="how long work on a managed Kubernetes cluster or one of its pools takes",
    )
    parser.add_argument(
        "--stop-with-stdin", action="store_true", help="stop when standard input ends, so that no parent is outlived"
    )
    parser.add_argument("--stop-after-idle", type=float, help="stop when nothing has been asked for so many seconds")
    return parser.parse_args(arguments)


def environment(server: SandboxServer, ca: ThrowAwayCA, key_file: Path) -> dict[str, str]:
    """Return the variables that point SDKs and HTTP clients at the sandbox."""
    ca_file = str(ca.certificate_path.resolve())
    alphabet = string.ascii_letters + string.digits
    clouds = server.application.clouds
    proxy = server.proxy_url
    without_proxy = f"{LOOPBACK},localhost"
    return {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_CA_BUNDLE": ca_file,
        "SSL_CERT_FILE": ca_file,
        "REQUESTS_CA_BUNDLE": ca_file,
        # Long and random: a short dummy would be masked wherever it occurs in an output.
        "AWS_ACCESS_KEY_ID": "AKIA"
        + "".join(secrets.choice(string.ascii_uppercase + "234567") for _number in range(16)),
        "AWS_SECRET_ACCESS_KEY": "".join(secrets.choice(alphabet) for _number in range(40)),
        "AWS_EC2_METADATA_DISABLED": "true",
        **clouds.azure.environment(server.url),
        **clouds.gcp.environment(server.url, key_file),
        **clouds.nvidia.environment(server.url),
        "HTTP_PROXY": proxy,
        "http_proxy": proxy,
        "HTTPS_PROXY": proxy,
        "https_proxy": proxy,
        "NO_PROXY": without_proxy,
        "no_proxy": without_proxy,
        "BUDGETGUARD_SANDBOX_URL": f"{server.url}{PREFIX.rstrip('/')}",
    }


def write_environment(path: Path, variables: dict[str, str]) -> None:
    """Write KEY=VALUE lines that a shell can source. The file appears with its whole content or not at all."""
    lines = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    write_private(unfinished, ("\n".join(lines) + "\n").encode())
    unfinished.replace(path)


def lock_directory(directory: Path) -> TextIO:
    """Claim the directory for as long as the result is open. Exits with a message if another sandbox has it."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = (directory / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        sys.exit(f"Another sandbox is running in {directory}. Stop it, or choose another --dir.")
    return lock


def wait_for_stop(server: SandboxServer, stop_with_stdin: bool, stop_after_idle: float | None) -> None:
    """Return on one of `STOP_SIGNALS`, which `main` holds back for all threads.

    If asked for, also at the end of stdin, and when there has been no request for `stop_after_idle` seconds.
    """
    if stop_with_stdin:

        def watch() -> None:
            while sys.stdin.buffer.read(1024):
                pass
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=watch, daemon=True).start()
    if stop_after_idle is None:
        signal.sigwait(STOP_SIGNALS)
        return
    left = stop_after_idle
    while left > 0 and signal.sigtimedwait(STOP_SIGNALS, left) is None:
        left = server.application.last_request + stop_after_idle - time.monotonic()


def main(arguments: list[str]) -> int:
    """Run until stopped. Returns the exit code."""
    options = parse_arguments(arguments)
    # Held back until everything is up, so that a stop always finds something to clean up after.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    DEFAULTS.change(
        {
            "startup_seconds": options.startup_seconds,
            "drain_seconds": options.drain_seconds,
            "scale_in_seconds": options.scale_in_seconds,
            "cluster_seconds": options.cluster_seconds,
        }
    )
    lock = lock_directory(options.dir)
    env_file = options.dir / "env"
    env_file.unlink(missing_ok=True)
    key_file = options.dir / "google.json"
    ca = ThrowAwayCA(options.dir)
    server = SandboxServer(ca, options.port, options.proxy_port)
    try:
        server.application.clouds.aws.warm_up(WARM_REGION)
        server.start()
        write_private(key_file, server.application.clouds.gcp.account.key_file(server.url).encode())
        write_environment(env_file, environment(server, ca, key_file))
        print(f"sandbox ready at {server.url}, variables in {env_file}", flush=True)
        wait_for_stop(server, options.stop_with_stdin, options.stop_after_idle)
    finally:
        env_file.unlink(missing_ok=True)
        key_file.unlink(missing_ok=True)
        ca.certificate_path.unlink(missing_ok=True)
        server.close()
        lock.close()
    # At its end Python would look through moto's whole state for cycles, which takes a second.
    gc.freeze()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
