# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An artist's identity: the table of what it may do, and the same tried out with a real key on the sandbox."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

from tests.aws.account import Account
from tests.aws.artist import Artist
from tests.permissions import artist_table
from tests.sandbox import Sandbox
from tests.sandbox.state import ACCOUNT_ID
from tests.tools import layout

FLUX, NAME = "FLUX Dev@l40s", "nim-flux-dev-l40s"


def test_the_table_in_the_readme_is_what_the_evaluators_say() -> None:
    text = (layout.ROOT / "policies" / "README.md").read_text()
    shown = text.partition("<!-- artist-table -->\n")[2].partition("<!-- artist-table end -->")[0]
    assert shown == artist_table.table(), "run python -m tests.permissions.artist_table"


def test_start_stop_and_look_is_all_that_is_allowed() -> None:
    yes = {name for name, *cells in artist_table.rows() if "**yes**" in cells}
    assert yes == {
        "start or stop a NIM",
        "see whether it runs",
        "switch the gateway off, for all",
        "switch a NIM to another image that the deployer has registered for this cluster",
    }


def test_a_key_of_a_workstation_starts_and_stops_and_does_nothing_else(running_sandbox: Sandbox) -> None:
    running_sandbox.control.reset()
    account = Account(running_sandbox)
    account.run(FLUX)
    artist = Artist(running_sandbox)
    key = artist.run()["credentials"]
    ecs, iam = artist.client("ecs", key), artist.client("iam", key)
    service = {"cluster": "budgetguard", "service": NAME}
    for count in (1, 0):
        ecs.update_service(**service, desiredCount=count)
        assert ecs.describe_services(cluster="budgetguard", services=[NAME])["services"][0]["desiredCount"] == count
    before = running_sandbox.control.resources()
    own = account.client("ecs").describe_services(cluster="budgetguard", services=[NAME])["services"][0]
    image = {"name": "nim", "image": "docker.io/library/miner", "memory": 64}
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    for attempt in (
        lambda: ecs.update_service(**service, taskDefinition="miner:1"),
        lambda: ecs.update_service(**service, enableExecuteCommand=True),
        lambda: ecs.update_service(cluster="budgetguard", service="gateway", desiredCount=0),
        lambda: ecs.register_task_definition(family="budgetguard-nim-x", containerDefinitions=[image]),
        lambda: ecs.run_task(cluster="budgetguard", taskDefinition=own["taskDefinition"]),
        lambda: ecs.delete_service(**service, force=True),
        lambda: artist.client("secretsmanager", key).get_secret_value(SecretId="budgetguard/nim"),
        lambda: artist.client("secretsmanager", key).describe_secret(SecretId="budgetguard/nim"),
        lambda: iam.create_access_key(UserName="ws-ws-01"),
        iam.list_users,
        lambda: iam.get_user(UserName="ws-ws-01"),
        lambda: iam.put_user_policy(UserName="ws-ws-01", PolicyName="more", PolicyDocument=json.dumps(everything)),
        lambda: iam.simulate_principal_policy(
            PolicySourceArn=f"arn:aws:iam::{ACCOUNT_ID}:user/budgetguard/ws-ws-01", ActionNames=["iam:CreateUser"]
        ),
    ):
        with pytest.raises(ClientError, match="is not authorized to perform"):
            attempt()
    assert running_sandbox.control.resources() == before
    now = account.client("ecs").describe_services(cluster="budgetguard", services=[NAME])["services"][0]
    assert now["taskDefinition"] == own["taskDefinition"]
