# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How lines get into each cloud's log, and the options with which the module finds them there."""

from __future__ import annotations

import abc
import functools
import typing as t

import boto3
import pytest
from azure.mgmt.containerservice import models

from ansible_collections.budgetguard.techops.plugins.modules import nim_usage_info
from tests.clusters.cluster import SETTINGS, Cluster
from tests.sandbox import Sandbox
from tests.unit.registry.services import run_module

REGION = "us-east-1"
GROUP = "/budgetguard/budgetguard"


class Logs(abc.ABC):
    """The log of one gateway."""

    cloud: str
    read_actions: tuple[str, ...]

    def __init__(self, sandbox: Sandbox, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.sandbox = sandbox
        self.control = sandbox.control
        self._patch = patch
        self._capsys = capsys
        self.prepare()

    @abc.abstractmethod
    def prepare(self) -> None:
        """Make what the log needs."""

    def write(self, text: t.Sequence[str], delay_seconds: float = 0.0) -> None:
        """Let the gateway have written lines, each at the time that it names."""
        self.control.container_log(self.cloud, list(text), delay_seconds=delay_seconds)

    @abc.abstractmethod
    def options(self) -> dict[str, t.Any]:
        """Return the module's options for this target."""

    def read(self, **options: t.Any) -> dict[str, t.Any]:
        """Run the module."""
        return run_module(nim_usage_info.main, {**self.options(), **options}, self._patch, self._capsys)

    def reads(self) -> list[dict[str, t.Any]]:
        """Return the calls that read a log."""
        return [call for call in self.control.calls() if call["action"] in self.read_actions]


class AwsLogs(Logs):
    """CloudWatch Logs."""

    cloud = "aws"
    read_actions = ("StartQuery", "GetQueryResults")

    def prepare(self) -> None:
        """Make the log group, as a deployment does."""
        make: t.Any = boto3.client
        self.client = make("logs", region_name=REGION)
        self.client.create_log_group(logGroupName=GROUP)

    def options(self) -> dict[str, t.Any]:
        """Return the region."""
        return {"provider": "aws", "region": REGION}


class ClusterLogs(Logs):
    """What the containers of a cluster wrote."""

    def prepare(self) -> None:
        """Make nothing: making a cluster takes longer than most tests, and a log without a line needs none."""

    @functools.cached_property
    def cluster(self) -> Cluster:
        """Return the cluster, with a NIM that does not run. It is made when somebody asks for it."""
        self.control.defaults(cluster_seconds=0)
        cluster = Cluster(self.sandbox, self.cloud)
        assert cluster.run("FLUX Dev@a100-80gb", wait=False).target_error is None
        self.control.clear_calls()
        return cluster

    def write(self, text: t.Sequence[str], delay_seconds: float = 0.0) -> None:
        """Let the gateway have written lines, in a cluster."""
        assert self.cluster.cloud == self.cloud
        super().write(text, delay_seconds)

    def options(self) -> dict[str, t.Any]:
        """Return how the cluster is found; all else is in the environment."""
        return {"provider": self.cloud, **SETTINGS[self.cloud]}


class AzureLogs(ClusterLogs):
    """Log Analytics."""

    cloud = "azure"
    read_actions = ("Query_Execute",)


class GcpLogs(ClusterLogs):
    """Cloud Logging."""

    cloud = "gcp"
    read_actions = ("entries.list",)


CLOUDS: dict[str, type[Logs]] = {kind.cloud: kind for kind in (AwsLogs, AzureLogs, GcpLogs)}


def switch_on_monitoring(cluster: Cluster) -> None:
    """Do what ``az aks enable-addons --addons monitoring`` does."""
    session: t.Any = t.cast("t.Any", cluster.provider()).cloud.session
    found = session.client.managed_clusters.get("studio", "budgetguard")
    workspace = (
        f"/subscriptions/{session.subscription}/resourceGroups/logs/providers/Microsoft.OperationalInsights/"
        "workspaces/studio-logs"
    )
    addon = models.ManagedClusterAddonProfile(enabled=True, config={"logAnalyticsWorkspaceResourceID": workspace})
    found.addon_profiles = {"omsagent": addon}
    session.client.managed_clusters.begin_create_or_update("studio", "budgetguard", found).result()
