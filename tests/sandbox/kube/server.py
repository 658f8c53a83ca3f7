# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters without a cloud: an HTTPS server of its own, for tests of what goes on inside a cluster."""

from __future__ import annotations

import secrets
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request

from tests.sandbox.ca import ThrowAwayCA
from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.kube.application import KubeApplication
from tests.sandbox.kube.pools import NodePool

LOOPBACK = "127.0.0.1"
INTERNAL = ("service.beta.kubernetes.io/azure-load-balancer-internal", "true")
#: Two machines without a GPU, which every cluster has, and one GPU pool that may be empty.
SYSTEM_POOL = NodePool(
    name="system",
    labels={"agentpool": "system"},
    taints=(),
    vcpus=4,
    memory_gib=16,
    gpus=0,
    minimum=2,
    maximum=2,
    autoscaling=False,
    driver=False,
    device_plugin=False,
)
GPU_POOL = NodePool(
    name="a100",
    labels={"budgetguard.io/gpu-pool": "a100", "budgetguard.io/gpu-tier": "a100"},
    taints=(("nvidia.com/gpu", "present", "NoSchedule"),),
    vcpus=24,
    memory_gib=220,
    gpus=1,
    minimum=0,
    maximum=1,
    autoscaling=True,
    driver=True,
    device_plugin=True,
)


class QuietHandler(WSGIRequestHandler):
    """No line on stderr for each request, and HTTP/1.1, which clients that watch expect."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Do nothing: the call log has it."""


class KubeServer:
    """One cluster, called ``test``, on loopback. Use it in a ``with`` block."""

    CLUSTER = "test"

    def __init__(self, directory: Path, **settings: Any) -> None:
        """``directory`` takes the CA's certificate; ``settings`` are those of `KubeApplication.create_cluster`."""
        self.calls = CallLog()
        self.interferences = Interferences()
        self.kube = KubeApplication(self.calls, self.interferences)
        self.token = secrets.token_urlsafe(24)
        self.pools = [SYSTEM_POOL, GPU_POOL]
        self._settings = settings
        self._ca = ThrowAwayCA(directory)
        self._server: BaseWSGIServer = make_server(
            LOOPBACK, 0, self._application, threaded=True, request_handler=QuietHandler
        )
        context = self._ca.server_context(LOOPBACK)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._server.ssl_context = context
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self.reset()

    @property
    def url(self) -> str:
        """Where the cluster's API is."""
        return f"https://{LOOPBACK}:{self._server.server_port}{KubeApplication.PREFIX}{self.CLUSTER}"

    @property
    def ca_file(self) -> Path:
        """The certificate to verify the server with."""
        return self._ca.certificate_path

    def reset(self) -> None:
        """Begin anew with an empty cluster."""
        self.calls.clear()
        self.interferences.clear()
        self.kube.reset()
        self.pools[:] = [SYSTEM_POOL, GPU_POOL]
        settings: dict[str, Any] = {
            "pools": lambda: self.pools,
            "authorize": lambda token: token == self.token,
            "internal_annotation": INTERNAL,
            **self._settings,
        }
        self.kube.create_cluster(self.CLUSTER, **settings)

    def _application(self, environ: dict[str, Any], start_response: Any) -> Any:
        return self.kube(Request(environ))(environ, start_response)

    def __enter__(self) -> KubeServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
