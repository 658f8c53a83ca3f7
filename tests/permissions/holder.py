# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users and roles in the sandbox's AWS account that hold nothing but policies of the collection."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _tokens
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_session import AwsSession
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_settings import AwsSettings
from ansible_collections.budgetguard.techops.plugins.module_utils._providers.aws import Aws
from tests.aws.account import REGION, Account
from tests.aws.artist import Artist
from tests.sandbox import Sandbox
from tests.sandbox.state import ACCOUNT_ID
from tests.tools import layout
from tests.tools.policy_files import ACCOUNT

FOLDER = layout.ROOT / "policies" / "aws"
PATH = "/techops/"

Policy = dict[str, t.Any]
Needs = list[dict[str, t.Any]]


def read(name: str) -> Policy:
    """Return a policy as it lies in policies/aws, for the sandbox's account."""
    document: Policy = json.loads((FOLDER / f"{name}.json").read_text().replace(ACCOUNT, ACCOUNT_ID))
    return document


def with_gateway(**changes: t.Any) -> dict[str, t.Any]:
    """Return settings of a target whose gateway asks for tokens."""
    keys = [_tokens.public_key(_tokens.new_signing_key())]
    return {"gateway": {"studio": "example-studio", "public_keys": keys, **changes}}


class Holder:
    """A user who holds policies of the collection, and the options with which modules act as them."""

    def __init__(self, sandbox: Sandbox, *policies: str, name: str = "techops") -> None:
        self.sandbox = sandbox
        self.name = name
        self.arn = f"arn:aws:iam::{ACCOUNT_ID}:user{PATH}{name}"
        iam = self.owner("iam")
        iam.create_user(UserName=name, Path=PATH)
        for policy in policies:
            self.put(policy, read(policy))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        self.options = {"access_key": key["AccessKeyId"], "secret_key": key["SecretAccessKey"]}

    def owner(self, service: str) -> t.Any:
        """Return a client of the account's owner."""
        return Account(self.sandbox).client(service)

    def put(self, name: str, document: Policy) -> None:
        """Give the user a policy."""
        self.owner("iam").put_user_policy(UserName=self.name, PolicyName=name, PolicyDocument=json.dumps(document))

    def connection(self) -> dict[str, t.Any]:
        """Return the options that all modules for AWS have."""
        env = self.sandbox.env
        return {
            "region": REGION,
            "cluster": "budgetguard",
            "endpoint_url": env["AWS_ENDPOINT_URL"],
            "ca_bundle": env["AWS_CA_BUNDLE"],
            **self.options,
        }

    def account(self) -> Account:
        """Return the account, worked on by this user."""
        return _AsUser(self)

    def artist(self) -> Artist:
        """Return a workstation's identity, looked after by this user."""
        return _ArtistAsUser(self.sandbox, self.options)

    def needs(self) -> Needs:
        """Return all permissions that the sandbox has looked for in this user's policies, each once."""
        found = {
            json.dumps(need, sort_keys=True): need for call in self.sandbox.control.calls() for need in call["needs"]
        }
        return list(found.values())

    def refused(self) -> list[str]:
        """Return the calls that the sandbox has refused for want of a right, or because it does not know them."""
        calls = [call for call in self.sandbox.control.calls() if call["needs"] or call["refused"]]
        return [f"{call['service']}:{call['action']} {call['refused'] or ''}" for call in calls if _is_refused(call)]


def _is_refused(call: dict[str, t.Any]) -> bool:
    return call["status"] == 403 or call["refused"] is not None


class _AsUser(Account):
    def __init__(self, holder: Holder) -> None:
        super().__init__(holder.sandbox)
        self._options = holder.options
        # Opening clients takes longer than all calls, so they are opened once.
        self._session = AwsSession(self.options())

    def options(self, **changes: t.Any) -> dict[str, t.Any]:
        return super().options(**{**self._options, **changes})

    def provider(self, **changes: t.Any) -> Aws:
        return Aws(self._session, AwsSettings.from_options(self.options(**changes)))


class _ArtistAsUser(Artist):
    def __init__(self, sandbox: Sandbox, options: dict[str, str]) -> None:
        super().__init__(sandbox)
        self._options = options

    def options(self, **changes: t.Any) -> dict[str, t.Any]:
        return super().options(**{**self._options, **changes})
