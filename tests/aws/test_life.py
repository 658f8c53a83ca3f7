# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of NIMs on AWS: made, changed, started, stopped, removed, and put right when somebody else interferes."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._converge import Outcome
from ansible_collections.budgetguard.techops.plugins.module_utils._exposure import ExposureError
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import PlanError
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from tests.aws.account import HF_TOKEN, NGC_KEY, REGION, Account, described

FLUX, LLAMA, SD = "FLUX Dev@l40s", "Llama 3.1@l4", "SD 3.5 Large@l40s"
FLUX_NAME = "nim-flux-dev-l40s"


def assert_fine(outcome: Outcome) -> None:
    assert (outcome.errors, outcome.target_error) == ({}, None)


def test_present_makes_everything_without_a_machine(account: Account) -> None:
    outcome = account.run(FLUX, LLAMA)
    assert_fine(outcome)
    resources = account.resources()
    assert resources["services"] == [FLUX_NAME, "nim-llama-3-1-l4"]
    assert "instances" not in resources
    assert {status.state for status in outcome.statuses.values()} == {"stopped"}
    assert outcome.statuses[FLUX_NAME].endpoint == (
        f"http://internal-budgetguard-nims-1.{REGION}.elb.amazonaws.com/flux-dev-l40s"
    )


def test_a_second_run_changes_nothing(account: Account) -> None:
    account.run(FLUX, LLAMA, SD)
    account.control.clear_calls()
    again = account.run(FLUX, LLAMA, SD)
    assert (described(again), account.writes()) == ([], [])


def test_check_mode_plans_what_the_run_does_and_writes_nothing(account: Account) -> None:
    predicted = account.run(FLUX, LLAMA, check_mode=True)
    assert account.writes() == []
    assert [step.describe() for step in predicted.steps] == sorted(
        described(account.run(FLUX, LLAMA)), key=[step.describe() for step in predicted.steps].index
    )


def test_an_artists_start_survives_present_and_stop_ends_it(account: Account) -> None:
    account.run(FLUX)
    account.client("ecs").update_service(cluster="budgetguard", service=FLUX_NAME, desiredCount=1)
    again = account.run(FLUX)
    assert described(again) == []
    assert again.statuses[FLUX_NAME].replicas == 1
    assert described(account.run("FLUX Dev", state="stopped")) == [f"update ecs_service {FLUX_NAME} (replicas)"]
    assert described(account.run("FLUX Dev", state="stopped")) == []


def test_started_waits_until_the_load_balancer_finds_it_healthy(account: Account) -> None:
    account.control.defaults(startup_seconds=1)
    outcome = account.run(FLUX, state="started")
    assert_fine(outcome)
    status = outcome.statuses[FLUX_NAME]
    assert status.state == "running"
    assert status.deployed_at is not None
    assert status.running_since is not None
    assert status.running_since >= status.deployed_at
    assert len(account.resources()["instances"]) == 1


def test_stopping_what_is_not_there_makes_nothing(account: Account) -> None:
    outcome = account.run("FLUX Dev", "a node nobody knows", state="stopped")
    assert (outcome.done, account.writes()) == ([], [])


def test_teardown_leaves_nothing_behind(account: Account) -> None:
    account.run(FLUX, LLAMA, state="started")
    account.run("FLUX Dev", state="absent", purge_shared=True)
    assert account.resources()["services"] == ["nim-llama-3-1-l4"]
    assert account.resources()["load_balancers"] == ["budgetguard-nims"]
    assert_fine(account.run("Llama 3.1", state="absent", purge_shared=True))
    assert account.resources() == {"secrets_scheduled_for_deletion": ["budgetguard/nim"]}
    assert described(account.run("Llama 3.1", state="absent", purge_shared=True)) == []


def test_what_was_torn_down_can_be_made_again_at_once(account: Account) -> None:
    account.run(FLUX, state="started")
    account.run("FLUX Dev", state="absent", purge_shared=True)
    outcome = account.run(FLUX)
    assert_fine(outcome)
    assert "update secret budgetguard/nim (usable)" in described(outcome)


def test_one_nim_that_was_removed_can_be_made_again_at_once(account: Account) -> None:
    account.run(FLUX, LLAMA, state="started")
    account.run("FLUX Dev", state="absent")
    assert_fine(account.run(FLUX, LLAMA))
    assert described(account.run(FLUX, LLAMA)) == []


def test_a_line_end_after_a_key_does_not_count(account: Account) -> None:
    account.run(FLUX, settings={"ngc_api_key": f"{NGC_KEY}\n"})
    assert described(account.run(FLUX)) == []


def test_clusters_and_regions_do_not_touch_each_other(account: Account) -> None:
    account.run(FLUX)
    account.run(FLUX, settings={"cluster": "other"})
    account.run(LLAMA, settings={"region": "us-west-2"})
    account.run("FLUX Dev", state="absent", purge_shared=True, settings={"cluster": "other"})
    account.run("Llama 3.1", state="absent", purge_shared=True, settings={"region": "us-west-2"})
    assert described(account.run(FLUX)) == []


def test_names_that_start_alike_are_different_nims(account: Account) -> None:
    account.run("FLUX Dev@l40s", "FLUX Depth@l40s", "FLUX Dev@h100")
    account.run({"node": "FLUX Dev", "gpu_tier": "h100", "state": "absent"})
    assert account.resources()["services"] == ["nim-flux-depth-l40s", "nim-flux-dev-l40s"]
    assert described(account.run("FLUX Dev@l40s", "FLUX Depth@l40s")) == []


CHANGES = [
    pytest.param({"env": {"NIM_LOG_LEVEL": "debug"}}, ["task_definition", "ecs_service"], id="environment"),
    pytest.param({"tag": "1.2.0"}, ["task_definition", "ecs_service"], id="image-tag"),
    pytest.param({"machine": "g6e.4xlarge"}, ["launch_template"], id="machine"),
    pytest.param({"replicas": 3}, ["auto_scaling_group", "capacity_provider"], id="replicas"),
    pytest.param({"variants": ["base", "canny"]}, ["task_definition", "ecs_service"], id="variants"),
]


@pytest.mark.parametrize(("change", "kinds"), CHANGES)
def test_a_change_reaches_aws_once(account: Account, change: dict[str, t.Any], kinds: list[str]) -> None:
    entry = {"node": "FLUX Dev", "gpu_tier": "l40s"}
    account.run(entry)
    outcome = account.run({**entry, **change})
    assert_fine(outcome)
    assert [step.kind for step in outcome.done] == sorted(kinds, key=[step.kind for step in outcome.done].index)
    assert described(account.run({**entry, **change})) == []
    back = account.run(entry)
    assert [step.kind for step in back.done] == [step.kind for step in outcome.done]
    assert described(account.run(entry)) == []


def test_the_task_has_what_a_nim_needs(account: Account) -> None:
    account.run({"node": "FLUX Canny", "gpu_tier": "l40s", "env": {"NIM_LOG_LEVEL": "debug"}})
    ecs = account.client("ecs")
    service = ecs.describe_services(cluster="budgetguard", services=["nim-flux-canny-l40s"])["services"][0]
    task = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
    container = task["containerDefinitions"][0]
    environment = {item["name"]: item["value"] for item in container["environment"]}
    assert environment["NIM_MODEL_VARIANT"] == "canny"
    assert environment["NIM_LOG_LEVEL"] == "debug"
    assert [item["name"] for item in container["secrets"]] == ["NGC_API_KEY", "HF_TOKEN"]
    assert container["repositoryCredentials"]["credentialsParameter"] in container["secrets"][0]["valueFrom"]
    assert container["resourceRequirements"] == [{"type": "GPU", "value": "1"}]
    template = account.client("ec2").describe_launch_template_versions(
        LaunchTemplateName="budgetguard-nim-flux-canny-l40s", Versions=["$Latest"]
    )["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    assert template["MetadataOptions"]["HttpTokens"] == "required"
    assert template["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    assert template["ImageId"].startswith("resolve:ssm:/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/")
    assert template["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] >= 200
    assert template["BlockDeviceMappings"][0]["Ebs"]["DeleteOnTermination"] is True
    assert container["memoryReservation"] == 4096


def _break_rule(account: Account) -> None:
    elb = account.client("elbv2")
    balancer = elb.describe_load_balancers()["LoadBalancers"][0]["LoadBalancerArn"]
    listener = elb.describe_listeners(LoadBalancerArn=balancer)["Listeners"][0]["ListenerArn"]
    rules = elb.describe_rules(ListenerArn=listener)["Rules"]
    elb.delete_rule(RuleArn=next(rule["RuleArn"] for rule in rules if not rule["IsDefault"]))


def _open_group(account: Account) -> None:
    ec2 = account.client("ec2")
    groups = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["budgetguard-nims-lb"]}])
    ec2.authorize_security_group_ingress(
        GroupId=groups["SecurityGroups"][0]["GroupId"],
        IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
        ],
    )


DRIFTS: list[t.Any] = [
    pytest.param(_break_rule, "create listener_rule nim-flux-dev-l40s", id="rule-deleted"),
    pytest.param(_open_group, "update security_group budgetguard-nims-lb (ingress)", id="opened-to-the-world"),
    pytest.param(
        lambda account: account.client("ecs").put_cluster_capacity_providers(
            cluster="budgetguard", capacityProviders=[], defaultCapacityProviderStrategy=[]
        ),
        "create cluster_capacity_provider budgetguard-nim-flux-dev-l40s",
        id="taken-out-of-the-cluster",
    ),
    pytest.param(
        lambda account: account.client("autoscaling").update_auto_scaling_group(
            AutoScalingGroupName="budgetguard-nim-flux-dev-l40s", MaxSize=9
        ),
        "update auto_scaling_group budgetguard-nim-flux-dev-l40s (max_size)",
        id="cost-cap-raised",
    ),
    pytest.param(
        lambda account: account.client("logs").put_retention_policy(
            logGroupName="/budgetguard/budgetguard", retentionInDays=3653
        ),
        "update log_group /budgetguard/budgetguard (retention_days)",
        id="logs-kept-for-ever",
    ),
    pytest.param(
        lambda account: account.client("elbv2").modify_target_group(
            TargetGroupArn=account.client("elbv2").describe_target_groups()["TargetGroups"][0]["TargetGroupArn"],
            HealthCheckPath="/v1/models",
        ),
        "update target_group bg-flux-dev-l40s-39c44f (HealthCheckPath)",
        id="health-check-changed",
    ),
    pytest.param(
        lambda account: account.client("ecs").update_service(
            cluster="budgetguard", service=FLUX_NAME, healthCheckGracePeriodSeconds=0
        ),
        "update ecs_service nim-flux-dev-l40s (healthCheckGracePeriodSeconds)",
        id="grace-period-changed",
    ),
]


@pytest.mark.parametrize(("drift", "repair"), DRIFTS)
def test_what_somebody_changed_by_hand_is_put_right(
    account: Account, drift: t.Callable[[Account], t.Any], repair: str
) -> None:
    account.run(FLUX)
    drift(account)
    assert described(account.run(FLUX)) == [repair]
    assert described(account.run(FLUX)) == []


def test_keys_are_changed_without_reading_the_old_ones(account: Account) -> None:
    account.run(FLUX)
    rotated = {"ngc_api_key": "nvapi-anotherKEY0000"}
    assert described(account.run(FLUX, settings=rotated)) == ["update secret budgetguard/nim (content)"]
    assert described(account.run(FLUX, settings=rotated)) == []
    assert described(account.run(FLUX, settings={"ngc_api_key": None, "hf_token": None})) == []
    assert account.control.count("secretsmanager", "GetSecretValue") == 0


def test_secrets_go_into_the_secret_and_nowhere_else(account: Account) -> None:
    account.run(FLUX, state="started")
    account.run(FLUX, settings={"ngc_api_key": f"{NGC_KEY}2"})
    for secret in (NGC_KEY, HF_TOKEN):
        carried = {call["action"] for call in account.control.calls_containing(secret)}
        assert carried == {"CreateSecret", "PutSecretValue"}


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        pytest.param({"allowed_cidrs": []}, ExposureError, "allowed_cidrs is empty", id="nobody-allowed"),
        pytest.param({"allowed_cidrs": ["0.0.0.0/0"]}, ExposureError, "allow_public: true", id="everybody"),
        pytest.param({"allowed_cidrs": ["::/0"]}, ExposureError, "allow_public: true", id="everybody-v6"),
        pytest.param({"allowed_cidrs": ["10.0.0.1/8"]}, ExposureError, "host bits set", id="not-a-network"),
        pytest.param({"scheme": "public"}, ExposureError, "allow_plain_http: true", id="plain-http-in-public"),
        pytest.param({"cluster": "Studio_A"}, ValueError, "lower-case letters", id="cluster-name"),
        pytest.param({"ngc_api_key": None}, ProviderError, "ngc_api_key is not set", id="no-key"),
        pytest.param({"ngc_api_key": "{'k': 1} a b c d e"}, ValueError, "ngc_api_key is not a key", id="mapping"),
        pytest.param({"hf_token": None}, ProviderError, "hf_token is not set; FLUX Dev", id="no-token"),
        pytest.param({"subnet_ids": ["FIRST"]}, ProviderError, "at least two availability zones", id="one-zone"),
        pytest.param({"region": "eu-west-1"}, ProviderError, "g6e.2xlarge is not offered", id="not-offered"),
    ],
)
def test_refused_before_anything_is_created(
    account: Account, settings: dict[str, t.Any], error: type[Exception], text: str
) -> None:
    if settings.get("subnet_ids"):
        subnets = account.client("ec2").describe_subnets()["Subnets"]
        settings = {"subnet_ids": [subnets[0]["SubnetId"]]}
    with pytest.raises(error, match=text):
        account.run(FLUX, settings=settings)
    assert account.writes() == []


def test_public_needs_three_words_and_then_works(account: Account) -> None:
    settings = {"scheme": "public", "allow_plain_http": True, "allow_public": True, "allowed_cidrs": ["0.0.0.0/0"]}
    outcome = account.run(FLUX, settings=settings)
    assert_fine(outcome)
    assert "internal-" not in str(outcome.statuses[FLUX_NAME].endpoint)
    with pytest.raises(PlanError, match="scheme of load_balancer budgetguard-nims"):
        account.run(FLUX)


def test_a_certificate_turns_the_listener_to_https_and_back(account: Account) -> None:
    certificate = account.client("acm").request_certificate(DomainName="nims.example.com")["CertificateArn"]
    account.run(FLUX)
    settings = {"certificate_arn": certificate, "endpoint_host": "nims.example.com"}
    outcome = account.run(FLUX, settings=settings)
    assert_fine(outcome)
    assert outcome.statuses[FLUX_NAME].endpoint == "https://nims.example.com/flux-dev-l40s"
    assert account.info()[FLUX_NAME].endpoint == "https://nims.example.com/flux-dev-l40s"
    assert described(account.run(FLUX, settings=settings)) == []


def test_an_object_of_somebody_else_is_not_touched(account: Account) -> None:
    account.client("iam").create_role(
        RoleName=f"budgetguard-{REGION}-execution", AssumeRolePolicyDocument="{}", Path="/"
    )
    account.control.clear_calls()
    with pytest.raises(PlanError, match="was not made by this collection"):
        account.run(FLUX)
    assert account.writes() == []


def test_a_cluster_of_somebody_else_is_used_and_kept(account: Account) -> None:
    account.client("ecs").create_cluster(clusterName="budgetguard")
    assert_fine(account.run(FLUX))
    assert_fine(account.run("FLUX Dev", state="absent", purge_shared=True))
    assert account.resources()["clusters"] == ["budgetguard"]


def test_somebody_elses_rule_keeps_the_load_balancer(account: Account) -> None:
    account.run(FLUX)
    elb = account.client("elbv2")
    balancer = elb.describe_load_balancers()["LoadBalancers"][0]["LoadBalancerArn"]
    elb.create_rule(
        ListenerArn=elb.describe_listeners(LoadBalancerArn=balancer)["Listeners"][0]["ListenerArn"],
        Priority=5,
        Conditions=[{"Field": "host-header", "HostHeaderConfig": {"Values": ["render.example.com"]}}],
        Actions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}}],
    )
    assert described(account.run(FLUX)) == []
    assert_fine(account.run("FLUX Dev", state="absent", purge_shared=True))
    assert account.resources()["load_balancers"] == ["budgetguard-nims"]
    assert "services" not in account.resources()


def test_a_role_to_assume_is_assumed_once(account: Account) -> None:
    settings = {"assume_role_arn": "arn:aws:iam::123456789012:role/techops"}
    assert_fine(account.run(FLUX, settings=settings))
    assert account.control.count("sts", "AssumeRole") == 1
