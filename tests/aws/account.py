# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An AWS account in the sandbox, worked on by the engine as the module nim_aws does it."""

from __future__ import annotations

import typing as t

import boto3

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog
from ansible_collections.budgetguard.techops.plugins.module_utils._converge import Goal, Outcome, converge
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Status, resolve_all
from ansible_collections.budgetguard.techops.plugins.module_utils._providers.aws import Aws
from tests.sandbox import Sandbox

REGION = "us-east-1"
NGC_KEY = "nvapi-Zr81CANARYngcQm3vT0"
HF_TOKEN = "hf_Zr81CANARYhfQm3vT0"

READS = ("Describe", "Get", "List", "AssumeRole")


class Account:
    """Deploys NIMs and tells what is there and what was called."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.control = sandbox.control

    def options(self, **changes: t.Any) -> dict[str, t.Any]:
        """Return the options of the module nim_aws."""
        env = self.sandbox.env
        return {
            "region": REGION,
            "cluster": "budgetguard",
            "endpoint_url": env["AWS_ENDPOINT_URL"],
            "ca_bundle": env["AWS_CA_BUNDLE"],
            "access_key": env["AWS_ACCESS_KEY_ID"],
            "secret_key": env["AWS_SECRET_ACCESS_KEY"],
            "allowed_cidrs": ["10.20.0.0/16"],
            "ngc_api_key": NGC_KEY,
            "hf_token": HF_TOKEN,
            **changes,
        }

    def provider(self, **changes: t.Any) -> Aws:
        """Open the target."""
        return Aws.connect(self.options(**changes))

    def run(
        self,
        *deployments: dict[str, t.Any] | str,
        state: str = "present",
        settings: dict[str, t.Any] | None = None,
        **goal: t.Any,
    ) -> Outcome:
        """Do what the module does. A deployment is a mapping, or just `node@tier`."""
        entries = [self._entry(item, state) for item in deployments]
        wanted, selections = resolve_all(entries, "aws", _catalog.load({}))
        goal = {"wait_interval": 0.1, "wait_timeout": 20, **goal}
        return converge(
            self.provider(**(settings or {})), Goal(wanted=tuple(wanted), selections=tuple(selections), **goal)
        )

    @staticmethod
    def _entry(item: dict[str, t.Any] | str, state: str) -> dict[str, t.Any]:
        if isinstance(item, str):
            node, _sep, tier = item.partition("@")
            item = {"node": node, "gpu_tier": tier or None}
        return {"state": state, "gpu_tier": None, **item}

    def info(self, **changes: t.Any) -> dict[str, Status]:
        """Do what the module nim_aws_info does."""
        return self.provider(**changes).statuses(explain=True)

    def resources(self, region: str = REGION) -> dict[str, list[str]]:
        """Return the names of everything that exists, without kinds that hold nothing."""
        found = self.control.resources()
        here = {kind: names for kind, names in found.get(region, {}).items() if names}
        return {**here, **{kind: names for kind, names in found["global"].items() if names}}

    def writes(self) -> list[str]:
        """Return the actions of all calls that change something, in order."""
        return [call["action"] for call in self.control.calls() if not call["action"].startswith(READS)]

    def client(self, service: str, region: str = REGION) -> t.Any:
        """Return a boto3 client, to do by hand what others might do."""
        env = self.sandbox.env
        make_client: t.Any = boto3.client
        return make_client(
            service,
            region_name=region,
            endpoint_url=env["AWS_ENDPOINT_URL"],
            verify=env["AWS_CA_BUNDLE"],
            aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        )


def described(outcome: Outcome) -> list[str]:
    """Return what was done, one line a step."""
    return [step.describe() for step in outcome.done]
