# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All simulated clouds and the Kubernetes clusters in them, told apart by path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from werkzeug.wrappers import Request, Response

from tests.sandbox.aws import AwsApplication
from tests.sandbox.aws_patches.logs import write_gateway_lines
from tests.sandbox.azure import AzureApplication
from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.ecs_runtime import RUNTIME, Outcome
from tests.sandbox.gcp import GcpApplication
from tests.sandbox.inventory import resources
from tests.sandbox.kube import KubeApplication
from tests.sandbox.nvidia import NvidiaApplication
from tests.sandbox.spend import Ledger
from tests.sandbox.state import STATE_LOCK


class Clouds:
    """Every cloud. Each request finds the one whose path it has; whatever nobody else has is AWS's."""

    def __init__(self, ca_pem: str, calls: CallLog, interferences: Interferences) -> None:
        self._ledger = Ledger()
        self.aws = AwsApplication(self._ledger, calls, interferences)
        self.kube = KubeApplication(calls, interferences)
        self.azure = AzureApplication(ca_pem, self.kube, self._ledger, calls, interferences)
        self.gcp = GcpApplication(ca_pem, self.kube, self._ledger, calls, interferences)
        self.nvidia = NvidiaApplication(calls, interferences)

    def __call__(self, request: Request) -> Response:
        """Let the right cloud answer."""
        if request.path.startswith(KubeApplication.PREFIX):
            return self.kube(request)
        if self.azure.handles(request):
            return self.azure(request)
        if self.gcp.handles(request):
            return self.gcp(request)
        if self.nvidia.handles(request):
            return self.nvidia(request)
        return self.aws(request)

    def resources(self) -> dict[str, Any]:
        """Return the names of what exists: AWS by region, the others by name where there is anything."""
        with STATE_LOCK:
            others = {
                "azure": self.azure.resources(),
                "gcp": self.gcp.resources(),
                "nvidia": self.nvidia.resources(),
                **self.kube.resources(),
            }
            return {**resources(), **{name: kinds for name, kinds in others.items() if any(kinds.values())}}

    def set_outcome(self, deployment: str, outcome: Outcome) -> None:
        """Say what becomes of a NIM, in every cloud."""
        with STATE_LOCK:
            RUNTIME.set_outcome(deployment, outcome)
            self.kube.set_outcome(deployment, outcome)
            self.nvidia.set_outcome(deployment, outcome)

    def set_quota(self, cloud: str, region: str, name: str, limit: int) -> None:
        """Change a quota. Raises ValueError for what is not there."""
        setters: dict[str, Callable[[str, str, int], None]] = {
            "azure": self.azure.arm.set_limit,
            "gcp": self.gcp.quotas.set_limit,
        }
        if cloud not in setters:
            raise ValueError(f"cloud must be one of {', '.join(setters)}, got {cloud!r}")
        with STATE_LOCK:
            setters[cloud](region, name, limit)

    def set_azure_permissions(self, entries: list[dict[str, Any]]) -> None:
        """Give Azure's caller other permissions. Raises ValueError for what Azure would not say."""
        with STATE_LOCK:
            self.azure.arm.permissions.replace(entries)

    def add_container_lines(
        self, cloud: str, namespace: str, container: str, lines: list[str], delay_seconds: float
    ) -> None:
        """Let a container of the cloud's one cluster have written some lines. Raises ValueError.

        On AWS they go into the log group of the ECS cluster that is called as the namespace.
        """
        with STATE_LOCK:
            if cloud == "aws":
                write_gateway_lines(namespace, container, lines, delay_seconds)
                return
            found = {"azure": self.azure.arm.kube_ids, "gcp": self.gcp.kube_ids}.get(cloud, set)()
            if len(found) != 1:
                raise ValueError(
                    f"cloud must be aws, azure or gcp, with one cluster in it, got {cloud!r}, {len(found)}"
                )
            cluster = found.pop()
            for line in lines:
                self.kube.logs.add(cluster, namespace, f"{container}-0", container, line, delay_seconds)

    def change_gpu_metrics(self, cloud: str, changes: dict[str, Any]) -> None:
        """Change what Google's Cloud Monitoring or an Azure Monitor workspace knows of GPUs. Raises ValueError."""
        changers: dict[str, Callable[[dict[str, Any]], None]] = {
            "azure": self.azure.prometheus.change,
            "gcp": self.gcp.monitoring.change,
        }
        if cloud not in changers:
            raise ValueError(f"cloud must be one of {', '.join(changers)}, got {cloud!r}")
        with STATE_LOCK:
            changers[cloud](changes)

    def add_image(self, repository: str, tag: str) -> None:
        """Put an image into the organisation's own registry at NVIDIA."""
        with STATE_LOCK:
            self.nvidia.functions.add_image(repository, tag)

    def change_bill(self, cloud: str, changes: dict[str, Any]) -> None:
        """Change what a cloud has billed. Raises ValueError."""
        with STATE_LOCK:
            self._ledger.change(cloud, changes)

    def reset(self) -> None:
        """Forget everything in all clouds."""
        with STATE_LOCK:
            self._ledger.reset()
            self.kube.reset()
            self.azure.reset()
            self.gcp.reset()
            self.nvidia.reset()
        self.aws.reset()
