# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Docker engine and a registry that stay for a while, for the demonstration.

Run as ``python -m tests.docker --while-exists FILE --env FILE``. The registry has the stand-in under the names of the
images given with ``--image``. The engine ends with SIGTERM, or when the file given with ``--while-exists`` goes, which
is the ``env`` of a sandbox.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
from pathlib import Path

from tests.docker.engine import NGC_KEY, Engine, missing
from tests.sandbox.__main__ import write_environment

_LOOK_SECONDS = 0.3


def main() -> int:
    """Run until told to end. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.docker", description="Run a Docker engine with a registry.")
    parser.add_argument("--env", type=Path, required=True, help="file with the variables that lead to the engine")
    parser.add_argument("--while-exists", type=Path, required=True, help="end when this file goes")
    parser.add_argument("--image", action="append", default=[], help="such as nim/meta/llama-3.1-8b-instruct:1.15.5")
    options = parser.parse_args()
    reason = missing()
    if reason:
        sys.exit(reason)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    # The path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="bgdk-", ignore_cleanup_errors=True) as name:
        engine = Engine.start(Path(name))
        try:
            for image in options.image:
                repository, _colon, tag = image.rpartition(":")
                engine.publish(tag, repository=repository)
            write_environment(options.env, variables(engine))
            while not stop.wait(_LOOK_SECONDS) and options.while_exists.exists():
                pass
        finally:
            options.env.unlink(missing_ok=True)
            engine.stop()
    return 0


def variables(engine: Engine) -> dict[str, str]:
    """Return what leads to the engine, to its registry, and to the programs that stand for NVIDIA's."""
    return {
        "DEMO_DOCKER_HOST": engine.socket,
        "DEMO_REGISTRY": engine.registry,
        "DEMO_REGISTRY_PASSWORD": NGC_KEY,
        "DEMO_DOCKER_PROGRAMS": str(engine.programs),
    }


if __name__ == "__main__":
    sys.exit(main())
