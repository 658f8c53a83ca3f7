# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action nim_spend_info over all providers at once, in one process, with the sandbox as the clouds."""

from __future__ import annotations

import collections
import datetime
import types
import typing as t
from pathlib import Path

import pytest
from ansible.errors import AnsibleActionFail
from ansible.playbook.task import Task

from ansible_collections.budgetguard.techops.plugins.action.nim_spend_info import ActionModule
from tests.sandbox import SandboxControl
from tests.sandbox.spend import Ledger, sums
from tests.sandbox.spend.gcp import TABLE

SPEND_SERVICES = ("ce", "azure-costs", "bigquery")
MATRIX = {
    "FLUX Dev": {"aws": {"gpu_tier": "l40s"}, "azure": {"gpu_tier": "a100-80gb"}, "gcp": {"gpu_tier": "a100-80gb"}},
    "Llama 3.1": {"aws": {"gpu_tier": "l4"}, "gcp": {"gpu_tier": "l4"}},
}
TARGETS: dict[str, dict[str, t.Any]] = {
    "aws-east": {"region": "us-east-1"},
    "aws-eu": {"region": "eu-central-1"},
    "azure-east": {"resource_group": "studio", "region": "East US"},
    "gcp-central": {"location": "us-central1-a"},
    "nvidia-studio": {"org": "studio"},
    "render-01": {"gpu_tier": "l40s"},
}
PLACES = {
    "aws-east": ("aws", "us-east-1"),
    "aws-eu": ("aws", "eu-central-1"),
    "azure-east": ("azure", "studio"),
    "gcp-central": ("gcp", "us-central1-a"),
}
UTC = datetime.timezone.utc


def today() -> datetime.date:
    """Return the day by the clock of bills."""
    return datetime.datetime.now(UTC).date()


def ago(days: int) -> str:
    """Return an earlier day."""
    return (today() - datetime.timedelta(days=days)).isoformat()


def group_of(name: str) -> str:
    """Return the group of a host."""
    provider = name.partition("-")[0]
    return "local" if provider == "render" else provider


class Spend:
    """Runs the action with an inventory of targets of each provider."""

    def __init__(self, control: SandboxControl, folder: Path) -> None:
        self.control = control
        self.cache = folder / "cache" / "spend.json"
        self.own: dict[str, dict[str, t.Any]] = {"gcp-central": {"spend_bigquery_table": TABLE}}
        self.targets = {name: dict(options) for name, options in TARGETS.items()}

    def run(self, **options: t.Any) -> dict[str, t.Any]:
        """Run it, with the calls of before forgotten."""
        self.control.clear_calls()
        hostvars = {
            name: {
                "inventory_hostname": name,
                "group_names": ["nim_providers", group_of(name)],
                "nim_target": options_of,
                "nim_matrix": MATRIX,
                **self.own.get(name, {}),
            }
            for name, options_of in self.targets.items()
        }
        names = list(self.targets)
        groups: dict[str, list[str]] = collections.defaultdict(list, {"nim_providers": names})
        for name in names:
            groups[group_of(name)].append(name)
        task = Task()
        task.args = {"cache_path": str(self.cache), **options}
        connection: t.Any = types.SimpleNamespace(_shell=types.SimpleNamespace(tmpdir=None))
        none: t.Any = None
        action = ActionModule(task, connection, none, none, none, none)
        return action.run(task_vars={"hostvars": hostvars, "groups": groups})

    def calls(self) -> collections.Counter[str]:
        """Count the calls of billing APIs."""
        return collections.Counter(
            call["service"] for call in self.control.calls() if call["service"] in SPEND_SERVICES
        )


@pytest.fixture
def spend(control: SandboxControl, tmp_path: Path) -> Spend:
    """Give an inventory whose bills were never read."""
    return Spend(control, tmp_path)


def test_every_cloud_tells_each_node_and_day_as_it_was_billed(spend: Spend) -> None:
    since = ago(31)
    result = spend.run(since=since)
    assert result["changed"] is False
    assert result["problems"] == []
    told = {(row["target"], row["date"], row["node"]): row["billed"] for row in result["days"]}
    expected = {
        (target, day, node): float(amount)
        for target, (cloud, place) in PLACES.items()
        for (day, where, node), amount in sums(Ledger().entries(cloud), since, by_day=True).items()
        if where == place
    }
    assert told == pytest.approx(expected)
    tiers = {(row["target"], row["node"], row["gpu_tier"]) for row in result["days"]}
    assert tiers == {
        ("aws-east", "FLUX Dev", "l40s"),
        ("aws-east", "Llama 3.1", "l4"),
        ("aws-east", None, None),
        ("aws-eu", "FLUX Dev", "l40s"),
        ("aws-eu", "Llama 3.1", "l4"),
        ("aws-eu", None, None),
        ("azure-east", "FLUX Dev", "a100-80gb"),
        ("azure-east", None, None),
        ("gcp-central", "FLUX Dev", "a100-80gb"),
        ("gcp-central", "Llama 3.1", "l4"),
        ("gcp-central", None, None),
    }
