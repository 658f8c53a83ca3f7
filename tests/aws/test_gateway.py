# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway on ECS: it is made, replaced and removed without touching a NIM, and nobody gets round it."""

from __future__ import annotations

import datetime
import http.client
import json
import shutil
import subprocess
import time
import typing as t
import urllib.parse
from pathlib import Path

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _gateway, _tokens, _usage
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _aws_objects as objects
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_usage import AwsUsage
from tests.aws.account import REGION, Account, described

STUDIO = "example-studio"
NIM = "FLUX Dev@l40s"
PATH = "/flux-dev-l40s/v1/infer"
PROMPT = "CaNaRyPrompt81Zr0QmTvX3"
SHARED = [
    "create security_group budgetguard-nims-gateway",
    "update security_group budgetguard-nims-lb (ingress)",
    "create security_group_ingress budgetguard-nims-gateway",
    "update inner_listener budgetguard-nims-inner (port)",
    "create gateway_target_group bg-gateway-d0c9f6",
    "create listener budgetguard-nims",
    "create gateway_task_definition gateway",
    "create gateway_service gateway",
]
"""What turning the gateway on does, and no NIM is in it."""

KEY = _tokens.new_signing_key()
OTHER_KEY = _tokens.new_signing_key()


def gateway(**changes: t.Any) -> dict[str, t.Any]:
    """Return the option of the module."""
    return {"studio": STUDIO, "target": "aws-us-east-1", "public_keys": [_tokens.public_key(KEY)], **changes}


def token(workstation: str, key: str = KEY) -> str:
    """Return a token that is valid now."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return str(_tokens.mint(key, STUDIO, [workstation], now)[workstation][_tokens.TOKEN_FIELD])


def ask(account: Account, bearer: str | None, path: str = PATH, port: int = 80) -> int:
    """Send a request by way of the load balancer and return the status."""
    host = account.client("elbv2").describe_load_balancers()["LoadBalancers"][0]["DNSName"]
    proxy = urllib.parse.urlsplit(account.sandbox.env["HTTP_PROXY"])
    connection = http.client.HTTPConnection(str(proxy.hostname), proxy.port, timeout=30)
    body = json.dumps({"prompt": PROMPT, "steps": 5, "width": 1024, "height": 1024})
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {bearer}"} if bearer else {})}
    connection.request("POST", f"http://{host}:{port}{path}", body, headers)
    status = connection.getresponse().status
    connection.close()
    return status


def tasks(account: Account, service: str) -> list[str]:
    """Return the tasks that run for a service."""
    found = account.client("ecs").list_tasks(cluster="budgetguard", serviceName=service)["taskArns"]
    return sorted(found)


def fine(outcome: t.Any) -> list[str]:
    """Fail the test unless everything was carried out, and return what was done."""
    assert (outcome.errors, outcome.target_error) == ({}, None)
    return described(outcome)


def test_check_mode_tells_what_the_run_does_and_the_next_run_nothing(account: Account) -> None:
    settings = {"gateway": gateway()}
    planned = account.run(NIM, state="started", settings=settings, check_mode=True)
    assert account.writes() == []
    done = fine(account.run(NIM, state="started", settings=settings))
    assert done == [step.describe() for step in planned.steps]
    account.control.clear_calls()
    assert fine(account.run(NIM, state="started", settings=settings)) == []
    assert account.writes() == []


def test_turning_it_on_restarts_no_nim_and_leaves_no_way_round_it(account: Account) -> None:
    fine(account.run(NIM, state="started"))
    before = tasks(account, "nim-flux-dev-l40s")
    assert ask(account, None) == 200
    assert fine(account.run(NIM, state="started", settings={"gateway": gateway()})) == SHARED
    assert tasks(account, "nim-flux-dev-l40s") == before
    assert ask(account, None) == 401
    assert ask(account, token("ws-01", OTHER_KEY)) == 401
    assert ask(account, token("ws-01")) == 200
    # The rules are at the inner port alone, to which the security group lets nobody but the gateway.
    balancer = account.client("elbv2").describe_load_balancers()["LoadBalancers"][0]["LoadBalancerArn"]
    listeners = account.client("elbv2").describe_listeners(LoadBalancerArn=balancer)["Listeners"]
    rules = {
        listener["Port"]: len(account.client("elbv2").describe_rules(ListenerArn=listener["ListenerArn"])["Rules"]) - 1
        for listener in listeners
    }
    assert rules == {80: 0, objects.INNER_PORT: 1}
    groups = {item["GroupName"]: item for item in account.client("ec2").describe_security_groups()["SecurityGroups"]}
    inner = [rule for rule in groups["budgetguard-nims-lb"]["IpPermissions"] if rule["FromPort"] == objects.INNER_PORT]
    assert [(rule["IpRanges"], rule.get("Ipv6Ranges", [])) for rule in inner] == [([], [])]
    assert [pair["GroupId"] for rule in inner for pair in rule["UserIdGroupPairs"]] == [
        groups["budgetguard-nims-gateway"]["GroupId"]
    ]
    ports = {rule["FromPort"]: rule for rule in groups["budgetguard-nims-gateway"]["IpPermissions"]}
    assert sorted(ports) == [_gateway.PORT, _gateway.HEALTH_PORT]
    assert not any(rule["IpRanges"] for rule in ports.values())


def test_the_deny_list_is_everywhere_when_the_run_has_ended(account: Account) -> None:
    settings = {"gateway": gateway(), "gateway_replicas": 2}
    fine(account.run(NIM, state="started", settings=settings))
    bearer, other, before = token("ws-01"), token("ws-02"), tasks(account, "nim-flux-dev-l40s")
    assert (ask(account, bearer), ask(account, other)) == (200, 200)
    copies = tasks(account, "gateway")
    account.control.nim("gateway", "ready", delay_seconds=1.0)
    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    denied = {"gateway": gateway(denied={"ws-01": later.isoformat()}), "gateway_replicas": 2}
    assert fine(account.run(NIM, settings=denied)) == [
        "update gateway_task_definition gateway (family)",
        "update gateway_service gateway (family)",
    ]
    assert (ask(account, bearer), ask(account, other)) == (403, 200)
    assert not set(copies) & set(tasks(account, "gateway"))
    assert len(tasks(account, "gateway")) == 2
    assert tasks(account, "nim-flux-dev-l40s") == before
    # While one key takes over from the other, tokens of both are good.
    both = [_tokens.public_key(KEY), _tokens.public_key(OTHER_KEY)]
    fine(account.run(NIM, settings={"gateway": gateway(public_keys=both), "gateway_replicas": 2}))
    assert (ask(account, bearer), ask(account, token("ws-03", OTHER_KEY))) == (200, 200)


def test_the_gateway_alone_is_renewed_and_none_is_made(account: Account) -> None:
    fine(account.run(NIM, state="started"))
    assert account.info()["nim-flux-dev-l40s"].auth == "none"
    assert fine(account.run(gateway_only=True, settings={"gateway": gateway()})) == []
    fine(account.run(NIM, state="started", settings={"gateway": gateway()}))
    assert account.info()["nim-flux-dev-l40s"].auth == "gateway"
    denied = gateway(denied={"ws-01": "2099-01-01T00:00:00Z"})
    assert fine(account.run(gateway_only=True, settings={"gateway": denied})) == [
        "update gateway_task_definition gateway (family)",
        "update gateway_service gateway (family)",
    ]
    assert ask(account, token("ws-01")) == 403


def test_a_run_that_was_killed_while_copies_are_replaced_is_waited_for(account: Account) -> None:
    fine(account.run(NIM, settings={"gateway": gateway()}))
    assert tasks(account, "gateway")
    account.control.nim("gateway", "ready", delay_seconds=100_000.0)
    client = account.client("ecs")
    client.update_service(cluster="budgetguard", service="gateway", forceNewDeployment=True)
    planned = account.run(NIM, settings={"gateway": gateway()}, check_mode=True)
    assert [step.describe() for step in planned.steps] == ["update gateway_service gateway (replaced)"]
    account.control.nim("gateway", "ready", delay_seconds=0.0)
    fine(account.run(NIM, settings={"gateway": gateway()}))
    (service,) = client.describe_services(cluster="budgetguard", services=["gateway"])["services"]
    assert len(service["deployments"]) == 1


@pytest.mark.parametrize("action", ["CreateListener", "ModifyListener", "RegisterTaskDefinition"])
def test_a_failed_run_is_finished_by_the_next_one(account: Account, action: str) -> None:
    fine(account.run(NIM, state="started"))
    account.control.fault(action, "InternalFailure", when="after", times=1)
    outcome = account.run(NIM, state="started", settings={"gateway": gateway()})
    assert outcome.target_error is not None
    fine(account.run(NIM, state="started", settings={"gateway": gateway()}))
    assert fine(account.run(NIM, state="started", settings={"gateway": gateway()})) == []
    assert (ask(account, None), ask(account, token("ws-01"))) == (401, 200)


def test_without_the_option_a_gateway_is_not_taken_away(account: Account) -> None:
    fine(account.run(NIM, settings={"gateway": gateway()}))
    account.control.clear_calls()
    with pytest.raises(ProviderError, match="has a gateway, and this run has no option gateway"):
        account.run(NIM)
    assert account.writes() == []
    # A stop needs no option, and the gateway stays.
    fine(account.run(NIM, state="stopped"))
    assert len(tasks(account, "gateway")) == 1


def test_a_teardown_leaves_nothing(account: Account) -> None:
    fine(account.run(NIM, state="started", settings={"gateway": gateway()}))
    fine(account.run(NIM, state="absent", purge_shared=True, settings={"gateway": gateway()}))
    assert account.resources() == {"secrets_scheduled_for_deletion": ["budgetguard/nim"]}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scheme": "public", "allow_plain_http": True}, "a gateway on ECS needs scheme internal"),
        ({"gateway": gateway(public_keys=[])}, "a gateway on ECS needs gateway.public_keys"),
        ({"gateway_replicas": 0}, "gateway_replicas is 0; it must be at least 1"),
        (
            {
                "gateway": gateway(
                    certificate="-----BEGIN CERTIFICATE-----",
                    private_key="-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----",
                )
            },
            "give it a certificate of ACM with certificate_arn",
        ),
        (
            {"gateway": gateway(denied={f"workstation-{number:05}": "2026-11-28T15:00:00Z" for number in range(900)})},
            "gateway.denied is too long",
        ),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_made(
    account: Account, settings: dict[str, t.Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        account.run(NIM, settings={"gateway": gateway(), **settings})
    assert account.writes() == []


def test_the_bars_of_calls_with_a_gateway(account: Account) -> None:
    nims = [NIM, "Llama 3.1@l4"]
    settings = {"gateway": gateway()}
    fine(account.run(*nims, settings=settings))
    polls = ("DescribeServices", "DescribeCapacityProviders")
    calls = [call["action"] for call in account.control.calls() if call["action"] not in polls]
    # Eight more than without one: a security group with its rules, a listener, a target group, a task, a service.
    assert len(calls) <= 36 + 8 * len(nims) + 8
    account.control.clear_calls()
    assert fine(account.run(*nims, settings=settings)) == []
    assert len(account.control.calls()) <= 16


def test_the_log_tells_who_asked_and_nothing_else(account: Account) -> None:
    fine(account.run(NIM, state="started", settings={"gateway": gateway()}))
    bearers = {name: token(name) for name in ("ws-01", "ws-02", "ws-03")}
    for count, bearer in enumerate(bearers.values(), start=1):
        assert [ask(account, bearer) for _number in range(count)] == [200] * count
    assert ask(account, None) == 401
    now = time.time()
    seen = AwsUsage.connect(account.options()).read(_usage.Ask(now - 600, now + 60), now)
    told = _usage.report(_usage.Ask(now - 600, now + 60), seen)
    assert {item["workstation"]: item["requests"] for item in told["workstations"]} == {
        "ws-01": 1,
        "ws-02": 2,
        "ws-03": 3,
    }
    assert {row["target"] for row in told["rows"]} == {"aws-us-east-1"}
    assert told["refused"] == 1
    logs = account.client("logs")
    streams = logs.describe_log_streams(logGroupName="/budgetguard/budgetguard")["logStreams"]
    text = "".join(
        event["message"]
        for stream in streams
        for event in logs.get_log_events(
            logGroupName="/budgetguard/budgetguard", logStreamName=stream["logStreamName"]
        )["events"]
    )
    assert text.count('"workstation":"ws-0') == 6
    for secret in (PROMPT, *bearers.values()):
        assert secret not in text


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")
def test_the_task_starts_haproxy_with_what_it_takes(tmp_path: Path) -> None:
    front = _gateway.Front.from_options(gateway(denied={"ws-01": "2026-11-28T15:00:00Z"}), REGION)
    names = objects.Names("budgetguard", REGION)
    body = objects.gateway_task_definition(names, front, "haproxy", "internal-budgetguard-nims-1.example", "role")
    (container,) = body["containerDefinitions"]
    folder = tmp_path / "gateway"
    fields = {
        item["name"]: item["value"].replace(objects.GATEWAY_FOLDER, str(folder)) for item in container["environment"]
    }
    command = container["command"][0].replace(objects.GATEWAY_FOLDER, str(folder)).replace("-db -f", "-c -f")
    done = subprocess.run(
        [*container["entryPoint"], command],
        env={"PATH": "/usr/sbin:/usr/bin:/bin", **fields},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert sorted(path.name for path in folder.iterdir()) == ["denied.map", "haproxy.cfg", "public0.pem"]
    assert (folder / "public0.pem").read_text() == front.files(_gateway.NamedRoutes(), "/x", "/x")["public0.pem"]
    assert "PRIVATE KEY" not in json.dumps(body)
