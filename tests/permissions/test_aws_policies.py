# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policies in policies/aws allow what the modules do, and nothing that they do not do."""

from __future__ import annotations

import json
import time
import typing as t
import warnings
from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError

from ansible_collections.budgetguard.techops.plugins.module_utils import _usage
from ansible_collections.budgetguard.techops.plugins.module_utils._converge import Outcome
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import (
    _aws_identity,
    _aws_metrics,
    _aws_rights,
    _aws_spend,
    _aws_usage,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_policies import MOST_CHARACTERS
from tests.aws.account import REGION, Account
from tests.aws.artist import Artist
from tests.permissions.holder import FOLDER, Holder, Needs, Policy, read, with_gateway
from tests.sandbox import Sandbox
from tests.sandbox.aws_access.policy import Need, may
from tests.sandbox.state import ACCOUNT_ID
from tests.tools import policy_files

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # parliament finds its data by pkg_resources, which setuptools calls old.
    import parliament

FLUX, LLAMA = "FLUX Dev@l40s", "Llama 3.1@l4"
FLUX_NAME, LLAMA_NAME = "nim-flux-dev-l40s", "nim-llama-3-1-l4"

REASONS = ("AWS has no free GPU machine of this type now", "exited with code 1; its last lines: no licence")

NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))

LOAD_BALANCING = "Elastic Load Balancing makes this call itself, with the caller's rights"
ON_ERROR = "AWS's services make the role themselves, with the caller's rights, the first time they are used"
NOT_RECORDED: dict[tuple[str, str, str], str] = {
    ("deployer_a", "ec2:DescribeAccountAttributes", "*"): LOAD_BALANCING,
    ("deployer_a", "ec2:DescribeAddresses", "*"): LOAD_BALANCING,
    ("deployer_a", "ec2:DescribeInternetGateways", "*"): LOAD_BALANCING,
    ("deployer_a", "ec2:DescribeVpcs", "*"): LOAD_BALANCING,
    (
        "deployer_a",
        "ec2:RunInstances",
        f"arn:aws:ec2:*:{ACCOUNT_ID}:image/*",
    ): "an image of the studio's own, by the option ami_id; the sandbox has none",
    (
        "deployer_b",
        "iam:CreateServiceLinkedRole",
        f"arn:aws:iam::{ACCOUNT_ID}:role/aws-service-role/*",
    ): ON_ERROR,
}
"""What no recorded call needs, and why it is allowed all the same."""

SPLIT = "its kinds of resources are in statements of their own, each with the conditions that this kind knows"
NO_NET = "the load balancer is an application load balancer; parliament wants network load balancers allowed, too"
FINDINGS: dict[tuple[str, str, str], str] = {
    ("deployer_a", "RESOURCE_MISMATCH", "ec2:CreateSecurityGroup"): SPLIT,
    ("deployer_a", "RESOURCE_MISMATCH", "ec2:RunInstances"): SPLIT,
    (
        "deployer_a",
        "RESOURCE_MISMATCH",
        "ssm:GetParameters",
    ): "AWS's own parameters have no account in their ARN, which parliament does not know",
    **{
        ("deployer_b", "RESOURCE_MISMATCH", f"elasticloadbalancing:{action}"): NO_NET
        for action in ("CreateRule", "DeleteListener", "DeleteRule", "ModifyListener", "ModifyRule")
    },
    **{
        (name, "RESOURCE_STAR", "ecs:ListTasks"): "its resource is a machine; the cluster is a condition"
        for name in ("deployer_a", "readonly")
    },
    (
        "readonly",
        "RESOURCE_STAR",
        "logs:GetQueryResults",
    ): "it names a query, whose id only its caller knows; AWS's reference has not always known a resource for it",
}
"""What parliament says about a policy, the action it says it about, and why the policy stays as it is."""


# ---- the files ------------------------------------------------------------------------------------------------------


def test_the_files_are_what_the_code_says() -> None:
    wanted = {name: text for name, text in policy_files.contents().items() if name.startswith("aws/")}
    found = {f"aws/{path.name}": path.read_text() for path in FOLDER.glob("*.json")}
    assert found == wanted, "run python -m tests.tools.policy_files"


@pytest.mark.parametrize("name", NAMES)
def test_iam_takes_a_policy_of_this_length(name: str) -> None:
    assert len(json.dumps(read(name), separators=(",", ":"))) <= MOST_CHARACTERS


@pytest.mark.parametrize("name", NAMES)
def test_every_resource_is_limited_or_has_a_reason(name: str) -> None:
    """A star alone is for calls without resources; parliament tells those that have some. Everything else is ours."""
    for statement in read(name)["Statement"]:
        for resource in _list(statement["Resource"]):
            assert resource == "*" or resource.count(":") >= 5
            assert not resource.startswith("arn:aws:iam::*")


def test_parliament_finds_nothing_that_is_not_explained() -> None:
    found = set()
    for name in NAMES:
        for finding in parliament.analyze_policy_string((FOLDER / f"{name}.json").read_text()).findings:
            actions = [item["action"] if isinstance(item, dict) else item for item in finding.detail]
            found |= {(name, finding.issue, action) for action in actions}
    assert found == set(FINDINGS)


def test_parliament_finds_what_is_wrong() -> None:
    broken = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "ecs:UpdateServices", "Resource": "*"}],
    }
    assert [item.issue for item in parliament.analyze_policy_string(json.dumps(broken)).findings] == ["UNKNOWN_ACTION"]


# ---- the policies against the sandbox -------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less for what will not come."""
    monkeypatch.setattr(_aws_identity, "LIST_SECONDS", 0.2)
    monkeypatch.setattr(_aws_identity, "LIST_INTERVAL", 0.1)


@pytest.fixture
def sandbox(running_sandbox: Sandbox) -> Sandbox:
    """Give an empty sandbox."""
    running_sandbox.control.reset()
    return running_sandbox


def test_the_deployer_can_do_its_work_and_needs_all_its_rights(sandbox: Sandbox) -> None:
    holder = Holder(sandbox, *_aws_rights.POLICIES["deployer"])
    for outcome in _life(holder.account(), Account(sandbox)):
        assert (outcome.errors, outcome.target_error) == ({}, None)
    assert holder.refused() == []
    assert_exact(_aws_rights.POLICIES["deployer"], holder.needs())


def _life(account: Account, owner: Account) -> Iterator[Outcome]:
    """Do all that a deployer does: make, change, switch, look, repair, remove."""
    yield account.run(FLUX, LLAMA, check_mode=True)
    yield account.run(FLUX, LLAMA)
    certificate = owner.client("acm").request_certificate(DomainName="nims.example.com")["CertificateArn"]
    changed = {
        "allowed_cidrs": ["10.30.0.0/16"],
        "certificate_arn": certificate,
        "endpoint_host": "nims.example.com",
        "idle_timeout": 600,
        "log_retention_days": 30,
        "ngc_api_key": "nvapi-anotherKEY0000",
    }
    entry = {"node": "FLUX Dev", "gpu_tier": "l40s", "replicas": 2}
    yield account.run({**entry, "tag": "1.2.0"}, LLAMA, settings=changed)
    _disturb(owner)
    yield account.run(entry, LLAMA, settings=changed)
    yield account.run(FLUX, state="started", settings=changed)
    account.provider().progress([FLUX_NAME])
    for name, outcome in ((LLAMA_NAME, "no_capacity"), (FLUX_NAME, "exits")):
        account.control.nim(name, outcome, log_lines=["no licence"])
    yield account.run(FLUX, state="stopped", settings=changed)
    yield account.run(FLUX, LLAMA, state="started", wait=False, settings=changed)
    _await_reasons(account)
    yield account.run(FLUX, LLAMA, state="stopped", settings=changed)
    yield account.run(FLUX, LLAMA, state="absent", purge_shared=True, settings=changed)
    # What AWS keeps of a removed target for some days is taken up again.
    yield account.run(FLUX)
    front = with_gateway()
    yield account.run({**entry, "machine": "g6e.4xlarge"}, settings=front)
    denied = {"gateway": {**front["gateway"], "denied": {"ws-01": "2099-01-01T00:00:00Z"}}, "gateway_replicas": 2}
    yield account.run(gateway_only=True, settings=denied)
    yield account.run(FLUX, state="absent", purge_shared=True, settings=denied)


def _disturb(owner: Account) -> None:
    """Leave what somebody's hand or a killed run leaves, and what the next run puts right."""
    elb, ecs = owner.client("elbv2"), owner.client("ecs")
    balancer = elb.describe_load_balancers()["LoadBalancers"][0]["LoadBalancerArn"]
    listener = elb.describe_listeners(LoadBalancerArn=balancer)["Listeners"][0]["ListenerArn"]
    first, second = [rule for rule in elb.describe_rules(ListenerArn=listener)["Rules"] if not rule["IsDefault"]]
    elb.modify_rule(RuleArn=first["RuleArn"], Actions=second["Actions"])
    for group in elb.describe_target_groups()["TargetGroups"]:
        elb.modify_target_group(TargetGroupArn=group["TargetGroupArn"], HealthCheckPath="/v1/models")
    ecs.delete_service(cluster="budgetguard", service=LLAMA_NAME, force=True)
    # While it drains it still tells which task definition it has.
    gone = {"cluster": "budgetguard", "services": [LLAMA_NAME]}
    ecs.get_waiter("services_inactive").wait(**gone, WaiterConfig={"Delay": 0.1, "MaxAttempts": 300})


def _await_reasons(account: Account) -> None:
    """Look at the NIMs until it is known of both why they do not run."""
    provider, reasons = account.provider(), ""
    for _attempt in range(60):
        reasons = " ".join(str(status.reason) for status in provider.statuses(explain=True).values())
        if all(mark in reasons for mark in REASONS):
            return
    raise AssertionError(reasons)


def test_the_identities_policies_are_enough_and_all_needed(sandbox: Sandbox) -> None:
    names = _aws_rights.POLICIES["identities"]
    holder = Holder(sandbox, *names)
    _identities(holder.artist(), Artist(sandbox))
    assert holder.refused() == []
    assert_exact(names, holder.needs())


def _identities(artist: Artist, owner: Artist) -> None:
    """Do all that is done with identities of workstations."""
    first = artist.run()
    for number in range(5):
        # IAM keeps five versions of a policy, then the oldest has to go.
        artist.run(key_id=first["key"]["id"], allowed_source_cidrs=[f"203.0.113.{number}/32"])
    artist.run(check=True, rotate=True, key_id=first["key"]["id"])
    new = artist.run(key_id=first["key"]["id"], rotate=True)
    artist.run(key_id=new["key"]["id"], previous_key_id=first["key"]["id"], delivered=True)
    iam = owner.client("iam")
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
    role = iam.create_role(RoleName="ws-02", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    user = iam.create_user(UserName="artist-7")["User"]["Arn"]
    for principal in (role, user):
        artist.run(workstation="ws-02", principal=principal)
        artist.run(workstation="ws-02", principal=principal, state="absent")
    iam.remove_user_from_group(UserName="ws-ws-01", GroupName="budgetguard-artists")
    iam.delete_user_permissions_boundary(UserName="ws-ws-01")
    artist.run(key_id=new["key"]["id"])
    artist.run(state="absent")
    artist.run(state="absent")


def test_once_set_up_the_smaller_policy_is_enough(sandbox: Sandbox) -> None:
    Artist(sandbox).run(workstation="ws-00")
    holder = Holder(sandbox, "identities")
    result = holder.artist().run()
    assert result["minted"]
    assert holder.artist().run(state="absent")["changed"]
    assert holder.refused() == []


def test_reading_needs_the_readonly_policy_and_all_of_it(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = Account(sandbox)
    owner.control.nim(FLUX_NAME, "no_capacity")
    owner.control.nim(LLAMA_NAME, "exits", log_lines=["no licence"])
    owner.run(FLUX, LLAMA, state="started", wait=False, settings=with_gateway())
    holder = Holder(sandbox, *_aws_rights.POLICIES["readonly"])
    sandbox.control.clear_calls()
    reader = holder.account()
    _await_reasons(reader)
    reader.provider().progress([FLUX_NAME, LLAMA_NAME])
    _usage_of(reader, monkeypatch)
    assert holder.refused() == []
    assert_exact(_aws_rights.POLICIES["readonly"], holder.needs())


def _usage_of(reader: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the gateway's log, once with patience and once without: then the query is stopped."""
    now = time.time()
    ask = _usage.Ask(now - 3600, now)
    usage = _aws_usage.AwsUsage.connect(reader.options())
    assert usage.read(ask, now).problems == ()
    metrics = _aws_metrics.AwsMetrics.connect(reader.options()).read([_usage.node_name(FLUX_NAME)], now)
    assert [found.source for found in metrics.values()] == ["cloudwatch"]
    monkeypatch.setattr(_aws_usage, "QUERY_SECONDS", 0.0)
    with pytest.raises(ProviderError, match="the query was not done after 0 s"):
        usage.read(ask, now)


def test_reading_bills_needs_the_spend_policy_and_all_of_it(sandbox: Sandbox) -> None:
    holder = Holder(sandbox, "spend")
    sandbox.control.clear_calls()
    today = time.strftime("%Y-%m-%d", time.gmtime())
    week_ago = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 7 * 86400))
    reading = _aws_spend.AwsSpend(holder.account().options()).read("budgetguard", {REGION: "aws"}, week_ago, today)
    assert (reading.unknown, reading.notes) == ({}, ())
    assert {line.node for line in reading.lines} >= {None, "FLUX Dev"}
    assert holder.refused() == []
    assert_exact(("spend",), holder.needs())


def test_who_may_only_read_can_change_nothing(sandbox: Sandbox) -> None:
    Account(sandbox).run(FLUX)
    holder = Holder(sandbox, "readonly")
    before = sandbox.control.resources()
    ecs = Artist(sandbox).client(
        "ecs", {"Access Key ID": holder.options["access_key"], "Secret Access Key": holder.options["secret_key"]}
    )
    with pytest.raises(ClientError, match="is not authorized to perform: ecs:UpdateService"):
        ecs.update_service(cluster="budgetguard", service=FLUX_NAME, desiredCount=1)
    with pytest.raises(ProviderError, match="is not authorized to perform"):
        holder.account().run(FLUX, state="absent", purge_shared=True)
    assert sandbox.control.resources() == before


def test_another_deployers_things_are_out_of_reach(sandbox: Sandbox) -> None:
    """Names, paths and tags limit the deployer to what is made here."""
    deployer = [read(name) for name in _aws_rights.POLICIES["deployer"]]
    iam, ecs = f"arn:aws:iam::{ACCOUNT_ID}", f"arn:aws:ecs:{REGION}:{ACCOUNT_ID}"
    for action, resource in (
        ("iam:CreateUser", f"{iam}:user/budgetguard/ws-ws-01"),
        ("iam:CreateAccessKey", f"{iam}:user/admin"),
        ("iam:PutRolePolicy", f"{iam}:role/admin"),
        ("iam:PassRole", f"{iam}:role/admin"),
        ("iam:AttachRolePolicy", f"{iam}:role/budgetguard/budgetguard-us-east-1-machine"),
        ("ecs:UpdateService", f"{ecs}:service/render/farm"),
        ("ecs:ExecuteCommand", f"{ecs}:task/budgetguard/1"),
        (
            "secretsmanager:GetSecretValue",
            f"arn:aws:secretsmanager:{REGION}:{ACCOUNT_ID}:secret:budgetguard/nim-abc123",
        ),
        ("ec2:TerminateInstances", f"arn:aws:ec2:{REGION}:{ACCOUNT_ID}:instance/i-1"),
        ("ec2:RunInstances", f"arn:aws:ec2:{REGION}:{ACCOUNT_ID}:instance/i-1"),
        ("ec2:DeleteSecurityGroup", f"arn:aws:ec2:{REGION}:{ACCOUNT_ID}:security-group/sg-1"),
    ):
        assert not may(Need(action, resource), deployer), action


# ---- helpers --------------------------------------------------------------------------------------------------------


def assert_exact(names: t.Iterable[str], recorded: Needs) -> None:
    """Fail unless the recorded calls need every action on every resource, but for what is listed with a reason."""
    unused = {
        (name, action, resource)
        for name in names
        for one, action, resource in _pieces(read(name))
        if not any(may(Need(need["action"], need["resource"], need["context"]), [one]) for need in recorded)
    }
    assert unused == {item for item in NOT_RECORDED if item[0] in names}


def _pieces(policy: Policy) -> Iterator[tuple[Policy, str, str]]:
    """Split a policy into policies that allow one action on one resource each."""
    for statement in policy["Statement"]:
        for action in _list(statement["Action"]):
            for resource in _list(statement["Resource"]):
                yield {"Statement": [{**statement, "Action": action, "Resource": resource}]}, action, resource


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
