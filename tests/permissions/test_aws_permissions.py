# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The preflight on AWS: what IAM is asked, and what is said about its answers."""

from __future__ import annotations

import copy
import json
import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._permissions import ROLES
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _aws_permissions, _aws_rights
from tests.permissions.holder import Holder, read
from tests.sandbox import Sandbox
from tests.sandbox.state import ACCOUNT_ID

CHECK = "permissions_check"


@pytest.fixture
def sandbox(running_sandbox: Sandbox) -> Sandbox:
    """Give an empty sandbox."""
    running_sandbox.control.reset()
    return running_sandbox


@pytest.mark.parametrize("role", ROLES)
def test_who_has_the_policies_lacks_nothing(sandbox: Sandbox, role: str) -> None:
    holder = Holder(sandbox, CHECK, *_aws_rights.POLICIES[role])
    found = _aws_permissions.look(holder.connection(), [role])
    assert (found.missing, found.unchecked, found.identity) == ((), (), holder.arn)
    assert found.checked >= 10
    assert [call["status"] for call in sandbox.control.calls(service="iam") if call["needs"]].count(403) == 0


def test_who_has_nothing_lacks_everything(sandbox: Sandbox) -> None:
    holder = Holder(sandbox, CHECK)
    found = _aws_permissions.look(holder.connection(), ["readonly"])
    told = {(gap.right, gap.where) for gap in found.missing}
    place = f"us-east-1:{ACCOUNT_ID}"
    assert told >= {
        ("ecs:DescribeServices", f"arn:aws:ecs:{place}:service/budgetguard/*"),
        ("ecs:ListTasks", "*"),
        ("logs:GetLogEvents", f"arn:aws:logs:{place}:log-group:/budgetguard/budgetguard:log-stream:*"),
    }
    assert len(found.missing) == found.checked
    assert all("\n" not in gap.line and gap.purpose in gap.line for gap in found.missing)


def test_each_right_that_is_taken_away_is_found(sandbox: Sandbox) -> None:
    """One action of each statement is taken away at once: each is named, with what it is for, and nothing else."""
    holder = Holder(sandbox, CHECK)
    names = (*_aws_rights.POLICIES["deployer"], *_aws_rights.POLICIES["identities"])
    taken = set()
    for name in names:
        policy = copy.deepcopy(read(name))
        for statement in policy["Statement"]:
            taken.add((statement["Sid"], statement["Action"].pop(0)))
        policy["Statement"] = [statement for statement in policy["Statement"] if statement["Action"]]
        holder.put(name, policy)
    found = _aws_permissions.look(holder.connection(), ["deployer", "identities"])
    assert found.unchecked == ()
    # What another statement allows on the same resource is not missing.
    missing = {gap.right for gap in found.missing}
    assert missing <= {action for _sid, action in taken}
    assert len(missing) > 25
    assert {"ecs:CreateCluster", "iam:PassRole", "iam:CreateUser", "ssm:GetParameters"} <= missing


def test_a_condition_that_is_too_narrow_is_found(sandbox: Sandbox) -> None:
    policy = read("deployer_b")
    (passing,) = [item for item in policy["Statement"] if item["Sid"] == "PassRolesToMachinesAndTasks"]
    passing["Condition"]["StringEquals"]["iam:PassedToService"] = "ecs-tasks.amazonaws.com"
    holder = Holder(sandbox, CHECK, "deployer_a")
    holder.put("deployer_b", policy)
    (gap,) = _aws_permissions.look(holder.connection(), ["deployer"]).missing
    assert gap.right == "iam:PassRole"
    assert gap.reason == "with iam:PassedToService=ec2.amazonaws.com"


def test_a_permissions_boundary_is_named(sandbox: Sandbox) -> None:
    holder = Holder(sandbox, CHECK, "readonly")
    iam = holder.owner("iam")
    limit = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["iam:*", "ecs:*", "ec2:*", "logs:*", "autoscaling:*"], "Resource": "*"}
        ],
    }
    arn = iam.create_policy(PolicyName="limit", PolicyDocument=json.dumps(limit))["Policy"]["Arn"]
    iam.put_user_permissions_boundary(UserName=holder.name, PermissionsBoundary=arn)
    found = _aws_permissions.look(holder.connection(), ["readonly"])
    assert {gap.right.partition(":")[0] for gap in found.missing} == {"elasticloadbalancing", "cloudwatch"}
    assert {gap.reason for gap in found.missing} == {"the permissions boundary does not allow it"}


def test_who_may_not_ask_is_never_told_that_all_is_fine(sandbox: Sandbox) -> None:
    holder = Holder(sandbox, "readonly")
    found = _aws_permissions.look(holder.connection(), ["readonly"])
    assert (found.missing, found.checked) == ((), 0)
    (text,) = found.unchecked
    assert text.startswith("nothing was checked: the caller may not ask what it may do. Give it policies/aws/")


def _assumed(sandbox: Sandbox, path: str, *policies: str) -> dict[str, t.Any]:
    """Make a role with policies and return the options of somebody who has assumed it."""
    holder = Holder(sandbox)
    iam = holder.owner("iam")
    iam.create_role(RoleName="techops", Path=path, AssumeRolePolicyDocument="{}")
    for name in policies:
        iam.put_role_policy(RoleName="techops", PolicyName=name, PolicyDocument=json.dumps(read(name)))
    session = holder.owner("sts").assume_role(
        RoleArn=f"arn:aws:iam::{ACCOUNT_ID}:role{path}techops", RoleSessionName="ansible"
    )["Credentials"]
    return {
        **holder.connection(),
        "access_key": session["AccessKeyId"],
        "secret_key": session["SecretAccessKey"],
        "session_token": session["SessionToken"],
    }


@pytest.mark.parametrize("path", ["/", "/studio/render/"])
def test_an_assumed_role_is_asked_about_by_its_own_name(sandbox: Sandbox, path: str) -> None:
    found = _aws_permissions.look(_assumed(sandbox, path, CHECK, "readonly"), ["readonly", "deployer"])
    assert found.identity == f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/techops/ansible"
    assert found.unchecked == ()
    assert "ecs:CreateService" in {gap.right for gap in found.missing}
    assert "ecs:DescribeServices" not in {gap.right for gap in found.missing}
    (source,) = {call["params"]["PolicySourceArn"] for call in sandbox.control.calls(action="SimulatePrincipalPolicy")}
    assert source == f"arn:aws:iam::{ACCOUNT_ID}:role{path}techops"


def test_a_role_whose_path_cannot_be_learned_is_not_checked(sandbox: Sandbox) -> None:
    options = _assumed(sandbox, "/studio/", CHECK)
    sandbox.control.fault("GetRole", "AccessDenied", service="iam", status=403, times=None)
    found = _aws_permissions.look(options, ["readonly"])
    (text,) = found.unchecked
    assert f"IAM knows no arn:aws:iam::{ACCOUNT_ID}:role/techops" in text
    assert "iam:GetRole" in text


@pytest.mark.parametrize(
    ("arn", "said"),
    [
        (f"arn:aws:iam::{ACCOUNT_ID}:root", "is the account's root user"),
        (f"arn:aws:sts::{ACCOUNT_ID}:federated-user/bob", "within a session policy"),
        ("arn:aws:something::else", "IAM cannot be asked about"),
    ],
)
def test_callers_about_whom_iam_cannot_be_asked(arn: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Session:
        partition, region = "aws", "us-east-1"

        def __init__(self, _options: object) -> None:
            pass

        def call(self, _service: str, operation: str, _doing: str) -> dict[str, str]:
            assert operation == "get_caller_identity"
            return {"Account": ACCOUNT_ID, "Arn": arn}

    monkeypatch.setattr(_aws_permissions, "AwsSession", Session)
    found = _aws_permissions.look({"cluster": "budgetguard"}, ["deployer"])
    assert found.checked == 0
    assert said in found.unchecked[0]


def test_another_error_is_not_taken_for_an_answer(sandbox: Sandbox) -> None:
    holder = Holder(sandbox, CHECK)
    sandbox.control.fault("SimulatePrincipalPolicy", "PolicyEvaluation", service="iam", status=500, times=None)
    with pytest.raises(ProviderError, match="cannot ask IAM what arn"):
        _aws_permissions.look(holder.connection(), ["readonly"])


def test_a_denial_and_an_organization_are_told() -> None:
    decision = {"EvalResourceDecision": "explicitDeny"}
    assert _aws_permissions._reason(decision, {}) == "a policy denies it"
    outside = {"OrganizationsDecisionDetail": {"AllowedByOrganizations": False}}
    assert _aws_permissions._reason(decision, outside) == "a policy of the organization does not allow it"
    assert _aws_permissions._reason({"EvalResourceDecision": "implicitDeny"}, {}) is None
