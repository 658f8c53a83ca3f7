# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A workstation's identity in the sandbox's AWS account, made as the module workstation_credential_aws makes it."""

from __future__ import annotations

import dataclasses
import typing as t

import boto3

from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import AWS_IDENTITY
from ansible_collections.budgetguard.techops.plugins.module_utils._identity import IDENTITY, Connect, run_identity
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _aws_identity
from tests.aws.account import REGION
from tests.sandbox import Sandbox
from tests.sandbox.state import ACCOUNT_ID

POLICY, GROUP = "budgetguard-artist", "budgetguard-artists"
POLICY_ARN = f"arn:aws:iam::{ACCOUNT_ID}:policy/budgetguard/{POLICY}"
WORKSTATION = "ws-01"
USER = f"ws-{WORKSTATION}"
USER_ARN = f"arn:aws:iam::{ACCOUNT_ID}:user/budgetguard/{USER}"

READS = ("Get", "List", "Describe", "AssumeRole")


class ModuleFailedError(Exception):
    """The module called fail_json."""


class _LeftError(Exception):
    """The module called exit_json."""


class FakeModule:
    """What run_identity() uses of AnsibleModule. Nothing is masked here: secrets are looked for in what it gets."""

    def __init__(self, params: dict[str, t.Any], check_mode: bool) -> None:
        self.params = params
        self.check_mode = check_mode
        self.argument_spec: dict[str, t.Any] = {}
        self.warnings: list[str] = []
        self.result: dict[str, t.Any] = {}

    def warn(self, warning: str) -> None:
        self.warnings.append(warning)

    def fail_json(self, msg: str, **result: t.Any) -> t.NoReturn:
        raise ModuleFailedError(msg)

    def exit_json(self, **result: t.Any) -> t.NoReturn:
        self.result = result
        raise _LeftError


def run_module(params: dict[str, t.Any], check: bool, connect: Connect) -> dict[str, t.Any]:
    """Run a module of this kind once; return the result. Raises ModuleFailedError with the message."""
    module = FakeModule(params, check)
    try:
        run_identity(t.cast(t.Any, module), connect)
    except _LeftError:
        return {**module.result, "warnings": module.warnings}


@dataclasses.dataclass
class Artist:
    """Runs the module's logic and tells what is there and what was called."""

    sandbox: Sandbox

    @property
    def control(self) -> t.Any:
        return self.sandbox.control

    def options(self, **changes: t.Any) -> dict[str, t.Any]:
        """Return the module's options with their defaults."""
        env = self.sandbox.env
        spec = {**IDENTITY, **AWS_IDENTITY}
        return {
            **{name: option.get("default") for name, option in spec.items()},
            "region": REGION,
            "workstation": WORKSTATION,
            "endpoint_url": env["AWS_ENDPOINT_URL"],
            "ca_bundle": env["AWS_CA_BUNDLE"],
            "access_key": env["AWS_ACCESS_KEY_ID"],
            "secret_key": env["AWS_SECRET_ACCESS_KEY"],
            **changes,
        }

    def run(self, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        """Run once; return the result. Raises ModuleFailedError with the message."""
        params = self.options(**options)
        return run_module(params, check, lambda name: _aws_identity.connect(params, name))

    def writes(self, since: int = 0) -> list[str]:
        """Return the actions of all calls that change something, in order."""
        return [call["action"] for call in self.control.calls(since=since) if not call["action"].startswith(READS)]

    def client(self, service: str, key: t.Mapping[str, str] | None = None, region: str = REGION) -> t.Any:
        """Return a boto3 client of the account's owner, or of whoever has a key."""
        env = self.sandbox.env
        key = key or {"Access Key ID": env["AWS_ACCESS_KEY_ID"], "Secret Access Key": env["AWS_SECRET_ACCESS_KEY"]}
        make_client: t.Any = boto3.client
        return make_client(
            service,
            region_name=region,
            endpoint_url=env["AWS_ENDPOINT_URL"],
            verify=env["AWS_CA_BUNDLE"],
            aws_access_key_id=key["Access Key ID"],
            aws_secret_access_key=key["Secret Access Key"],
        )

    def key_ids(self, user: str = USER) -> list[str]:
        """Return the ids of a user's keys."""
        found = self.client("iam").list_access_keys(UserName=user)["AccessKeyMetadata"]
        return sorted(item["AccessKeyId"] for item in found)

    def resources(self) -> dict[str, list[str]]:
        """Return the names of all that is in IAM, without kinds that hold nothing."""
        return {kind: names for kind, names in self.control.resources()["global"].items() if names}
