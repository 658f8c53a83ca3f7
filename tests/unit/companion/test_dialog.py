# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dialog without a network: signatures, states, money, the usage file, the doorway, and idle stops."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import typing as t
from pathlib import Path

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from budgetguard_companion import cloud, cloudnodes, doorway, endpoints, fleet, ledger, messages, signing
from budgetguard_companion.client import Client
from budgetguard_companion.cloud import CloudError
from budgetguard_companion.cloudnodes import AskError, CloudNodes
from budgetguard_companion.fleet import RUNNING, STARTING, STOPPED, STOPPING, UNKNOWN, State
from budgetguard_companion.workstation import Workstation
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt

from ansible_collections.budgetguard.techops.plugins.module_utils import _activity
from tests.companion.studio import AWS, CONTACT, PACKAGE, Place, gateway, nodes
from tests.unit.workstation.examples import CANARY

NOW = datetime.datetime(2026, 11, 28, 15, 0, tzinfo=datetime.timezone.utc)
ECS = {"kind": "ecs", "region": "eu-west-1", "cluster": "budgetguard", "name": "nim-flux-dev-l40s", "start_minutes": 30}
KUBE = {"kind": "kubernetes", "server": "https://k8s.example", "ca": None, "namespace": "nims", "name": "nim-flux"}


def entry(target: str = "aws-1", **more: t.Any) -> dict[str, t.Any]:
    """Return an endpoint that can be started and stopped."""
    return {"url": f"https://{target}.example/flux", "gpu_tier": "l40s", "target": target, "control": ECS, **more}


def instances(*pairs: tuple[str, dict[str, t.Any]], node: str = "FLUX_Dev") -> list[fleet.Instance]:
    """Return the instances of endpoints."""
    return fleet.instances_of(endpoints.endpoints_of({"nim_endpoints": nodes(**{node: list(pairs)})}))


# ---- signatures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["https://ecs.eu-west-1.amazonaws.com/", "https://127.0.0.1:4566/"])
def test_signs_as_botocore_does(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same request and moment give the same signature."""

    def moment(**_given: t.Any) -> datetime.datetime:
        return NOW.replace(tzinfo=None)

    for name in ("get_current_datetime",):
        monkeypatch.setattr(f"botocore.auth.{name}", moment)
    body = json.dumps({"cluster": "budgetguard", "service": "nim", "desiredCount": 1}).encode()
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Amazon.UpdateService"}
    request: t.Any = AWSRequest(method="POST", url=url, headers=headers, data=body)
    sign: t.Any = SigV4Auth
    sign(BotoCredentials("AKIAEXAMPLE", CANARY), "ecs", "eu-west-1").add_auth(request)
    ours = signing.aws_headers(("AKIAEXAMPLE", CANARY), ("eu-west-1", "ecs"), url, headers, body, NOW.timestamp())
    assert ours["Authorization"] == request.headers["Authorization"]
    assert CANARY not in json.dumps(ours)


def test_signs_a_jwt_that_google_can_read() -> None:
    """The claims are those that Google asks for, and the signature is that of the key."""
    key = rsa.generate_private_key(65537, 2048)
    form = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    account = {"client_email": "ws@example", "token_uri": "https://oauth2.example/token", "private_key": pem}
    now = datetime.datetime.now(datetime.timezone.utc).timestamp()
    read: t.Any = jwt.decode
    claims = read(signing.google_assertion(account, "a scope", now), certs=public, audience=account["token_uri"])
    assert (claims["iss"], claims["scope"], claims["exp"] - claims["iat"]) == ("ws@example", "a scope", 3600)
    with pytest.raises(signing.SigningError):
        signing.google_assertion({**account, "private_key": "none"}, "a scope", now)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"__type": "InvalidSignatureException", "message": "Signature expired: 20261128T100000Z is"}, "clock"),
        ({"__type": "InvalidSignatureException", "message": "Signature not yet current: 2026"}, "clock"),
        ({"__type": "InvalidSignatureException", "message": "The request signature we calculated"}, "revoked"),
        ({"__type": "com.amazonaws#ExpiredTokenException", "message": "The security token is expired"}, "just ended"),
        ({"__type": "ThrottlingException"}, "busy"),
        ({}, "refuses to start FLUX Dev on aws (aws-1) (HTTP 400)"),
    ],
)
def test_what_aws_refuses(answer: dict[str, str], said: str) -> None:
    """A clock that is wrong is not a key that is wrong."""
    [one] = instances(("aws", entry()))
    assert said in str(cloud._aws_error(400, cloud._aws_code(answer), one, "start"))


# ---- states and money ------------------------------------------------------------------------------------------------


def deployment(replicas: int, ready: int = 0, there: int = 0, seen: int = 2, **conditions: str) -> dict[str, t.Any]:
    """Return a Deployment. A condition is its status, a blank, and a reason if there is one."""
    told = [
        {
            "type": kind,
            "status": said.split()[0],
            "reason": said.split()[-1],
            "lastTransitionTime": "2026-11-28T12:00:00Z",
        }
        for kind, said in conditions.items()
    ]
    status = {"readyReplicas": ready, "replicas": there, "observedGeneration": seen, "conditions": told}
    return {"metadata": {"generation": 2}, "spec": {"replicas": replicas}, "status": status}


NOON = datetime.datetime(2026, 11, 28, 12, 0, tzinfo=datetime.timezone.utc)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (fleet.of_ecs({"desiredCount": 0, "runningCount": 0}), State(STOPPED)),
        (fleet.of_ecs({"desiredCount": 0, "runningCount": 1}), State(STOPPING)),
        (
            fleet.of_ecs({"desiredCount": 1, "deployments": [{"updatedAt": NOON.timestamp()}]}),
            State(STARTING, NOON),
        ),
        (
            fleet.of_ecs({"desiredCount": 1, "deployments": [{"rolloutState": "FAILED"}]}),
            State(STARTING, None, "AWS gave up starting it"),
        ),
        (
            fleet.of_ecs(
                {
                    "desiredCount": 1,
                    "runningCount": 1,
                    "events": [
                        {"createdAt": NOON.timestamp() + 60, "message": "(service nim) has reached a steady state."},
                        {"createdAt": NOON.timestamp(), "message": "(service nim) has started 1 tasks: (task 1)."},
                        {"createdAt": 1.0, "message": "(service nim) has started 1 tasks: (task 0)."},
                    ],
                }
            ),
            State(RUNNING, NOON),
        ),
        (fleet.of_deployment(deployment(0)), State(STOPPED)),
        (fleet.of_deployment(deployment(0, there=1)), State(STOPPING)),
        (fleet.of_deployment(deployment(1, Available="False")), State(STARTING, NOON)),
        (fleet.of_deployment(deployment(1, ready=1, Available="True")), State(RUNNING, NOON)),
        (fleet.of_deployment(deployment(1, ready=1, seen=1, Available="True")), State(STARTING)),
        (
            fleet.of_deployment(deployment(1, Progressing="False ProgressDeadlineExceeded")),
            State(STARTING, None, "Kubernetes gave up starting it"),
        ),
    ],
)
def test_states(found: State, expected: State) -> None:
    """What a cloud says becomes one of a few words, with the time since when it is so."""
    assert found == expected


def test_what_can_be_started() -> None:
    """One instance for all nodes that it serves; nothing whose place is not complete."""
    shared = nodes(FLUX_Dev=[("aws", entry())], FLUX_Canny=[("aws", entry())])
    [one] = fleet.instances_of(endpoints.endpoints_of({"nim_endpoints": shared}))
    assert (one.nodes, one.start_minutes) == (("FLUX Canny", "FLUX Dev"), 30)
    for control in (None, "ecs", {**ECS, "kind": "ssh"}, {**ECS, "cluster": ""}, {**KUBE, "server": 1}):
        assert instances(("aws", entry(control=control))) == []
    assert instances(("gcp", entry(control={**KUBE, "start_minutes": True})))[0].start_minutes == 30


def test_spent_today() -> None:
    """Hours since midnight at most, what was stopped before, and requests where they are what costs."""
    begin = fleet.midnight(NOW)
    on = instances(("aws", entry("a", hourly_usd=2.0)), ("aws", entry("b", hourly_usd=4.0)), ("aws", entry("c")))
    hosted = {"url": "https://ai.example", "target": "nvidia", "usd_per_image": 0.05}
    known = endpoints.endpoints_of({"nim_endpoints": nodes(FLUX_Dev=[("nvidia-hosted", hosted)])})
    states = [
        (on[0], State(RUNNING, NOW - datetime.timedelta(days=3))),
        (on[1], State(STARTING, NOW - datetime.timedelta(minutes=30))),
        (on[2], State(RUNNING, NOW)),
        (on[1], State(STOPPED)),
        (on[0], State(RUNNING, None)),
    ]
    request = {"kind": "request", "node": "FLUX Dev", "provider": "nvidia-hosted", "target": "nvidia", "ok": True}
    rows: list[dict[str, t.Any]] = [
        {"kind": "stop", "usd": 1.5},
        {"kind": "stop", "usd": "much"},
        request,
        {**request, "ok": False},
        {**request, "provider": "aws"},
        {**request, "node": "SDXL"},
    ]
    usd, missing = fleet.spent(states, rows, known, NOW)
    assert usd == pytest.approx((NOW - begin).total_seconds() / 3600 * 2.0 + 2.0 + 1.5 + 0.05)
    assert missing == ["FLUX Dev on aws (a)", "FLUX Dev on aws (c)", "SDXL at NVIDIA"]


# ---- the usage file --------------------------------------------------------------------------------------------------


def test_the_usage_file_says_what_was_used_and_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line per request, failed or not, 0600, without addresses; lines of others and of yesterday do not count."""
    book = ledger.Ledger(tmp_path / ledger.NAME)
    [one] = endpoints.endpoints_of({"nim_endpoints": nodes(FLUX_Dev=[("aws", entry())])})
    assert book.last_use(one.url) is None
    with book.request(one):
        assert book.last_use(one.url) is not None
    with pytest.raises(RuntimeError), book.request(one):
        raise RuntimeError
    assert book.path.stat().st_mode & 0o777 == 0o600
    text = book.path.read_text()
    assert "://" not in text
    rows = book.today(datetime.datetime.now(datetime.timezone.utc))
    assert [row["ok"] for row in rows] == [True, False]
    assert set(rows[0]) == {"at", "kind", "node", "provider", "target", "gpu_tier", "seconds", "ok"}
    book.path.write_text('{"at": "2020-01-01T00:00:00Z"}\n[1]\nnothing\n{"at": 3}\n' + text)
    assert len(book.today(datetime.datetime.now(datetime.timezone.utc))) == 2
    monkeypatch.setattr(ledger, "LARGEST", 400)
    for _number in range(50):
        book.write({"kind": "request"})
    assert book.path.stat().st_size < 600
    ledger.Ledger(tmp_path / "nowhere" / ledger.NAME).write({"kind": "request"})


@pytest.mark.parametrize(
    "metrics",
    [
        "num_requests_running 1.0",
        'vllm:num_requests_running{model="a b"} 0.0\nvllm:num_requests_waiting{model="a b"} 2.0',
        "# HELP num_requests_running\nnum_requests_running 0",
        "nv_inference_count 3",
        "num_requests_running much",
        "",
    ],
)
def test_reads_metrics_as_the_guard_does(metrics: str) -> None:
    """Two programs that stop NIMs must not differ about whether one works."""
    assert messages.is_working(metrics) == _activity.of_metrics(metrics)[0]


# ---- the doorway -----------------------------------------------------------------------------------------------------

LOCAL = ("127.0.0.1",)
EVERYWHERE = str(ipaddress.IPv4Address(0))
GOOD = {"Host": "127.0.0.1:8188", "Origin": "http://127.0.0.1:8188", "Sec-Fetch-Site": "same-origin"}


def refused(
    headers: dict[str, str], peer: str | None, listens: t.Sequence[str], token: str = "", kind: str = "application/json"
) -> str:
    """Return why a request is not let in, or nothing."""
    try:
        doorway.check(doorway.Caller(headers, kind, peer, listens), token)
    except doorway.DoorError as problem:
        return "token in the text" if token and token in str(problem) else problem.reason
    return ""


def test_the_doorway() -> None:
    """Strangers' pages never get in; the network only with the token; where nothing is known, it is asked for."""
    lan = {**GOOD, "Host": "10.1.2.3:8188", "Origin": "http://10.1.2.3:8188"}
    with_token = {**lan, doorway.CALLER_HEADER: CANARY}
    cases = [
        ("", refused(GOOD, "127.0.0.1", LOCAL)),
        ("", refused({"Host": "localhost:8188"}, "::1", ("127.0.0.1", "::1"))),
        ("strange_page", refused({**GOOD, "Origin": "http://evil.example"}, "127.0.0.1", LOCAL)),
        ("strange_page", refused({**GOOD, "Origin": "null"}, "127.0.0.1", LOCAL)),
        ("strange_page", refused({**GOOD, "Origin": "http://127.0.0.1:9999"}, "127.0.0.1", LOCAL)),
        ("strange_page", refused({**GOOD, "Sec-Fetch-Site": "cross-site"}, "127.0.0.1", LOCAL)),
        ("not_json", refused(GOOD, "127.0.0.1", LOCAL, kind="text/plain")),
        ("no_token_file", refused(lan, "10.1.2.9", (EVERYWHERE, "::"))),
        ("token_needed", refused(lan, "10.1.2.9", (EVERYWHERE,), CANARY)),
        ("token_needed", refused(GOOD, "127.0.0.1", (EVERYWHERE,), CANARY)),
        ("token_needed", refused(GOOD, "127.0.0.1", (), CANARY)),
        ("token_needed", refused(GOOD, "10.1.2.9", LOCAL, CANARY)),
        ("token_needed", refused({**with_token, doorway.CALLER_HEADER: "näh"}, "10.1.2.9", ("::",), CANARY)),
        # A name that a stranger lets point to this workstation (DNS rebinding).
        (
            "token_needed",
            refused({"Host": "evil.example", "Origin": "http://evil.example"}, "127.0.0.1", LOCAL, CANARY),
        ),
        ("", refused(with_token, "10.1.2.9", (EVERYWHERE,), CANARY)),
        ("strange_page", refused({**with_token, "Origin": "http://evil.example"}, "10.1.2.9", (EVERYWHERE,), CANARY)),
    ]
    assert [found for _expected, found in cases] == [expected for expected, _found in cases]


# ---- idle ------------------------------------------------------------------------------------------------------------


class FakeCloud:
    """A cloud of one NIM."""

    def __init__(self) -> None:
        self.state = State(RUNNING, NOON)
        self.problem: CloudError | None = None
        self.scaled: list[int] = []

    async def states(self, _credentials: t.Any, wanted: t.Sequence[fleet.Instance]) -> dict[t.Any, t.Any]:
        """Return the same state for all."""
        return {one.key: self.state for one in wanted}

    async def scale(self, _credentials: t.Any, _instance: fleet.Instance, copies: int) -> None:
        """Note what was asked for."""
        if self.problem is not None:
            raise self.problem
        self.scaled.append(copies)
        self.state = State(STARTING if copies else STOPPED)


class Bench:
    """A workstation, its clock, a cloud, and what the NIM's metrics say."""

    def __init__(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.working: bool | None = False
        self.cloud = FakeCloud()
        place.give({**AWS, **gateway()}, nodes(FLUX_Dev=[("aws", entry(hourly_usd=2.0))]))
        self.workstation = Workstation(place.base, place.base / "custom_nodes" / PACKAGE.name, {})
        fake: t.Any = self.cloud
        self.nodes = CloudNodes(self.workstation, fake, lambda: self.now)
        monkeypatch.setattr(self.workstation.ledger, "last_use", lambda _url: self.used)
        self.used: float | None = None

        async def working(_client: t.Any, _endpoint: t.Any) -> bool | None:
            return self.working

        async def down(_client: t.Any, _endpoints: t.Any) -> dict[str, str]:
            return {}

        monkeypatch.setattr(Client, "working", working)
        monkeypatch.setattr(Client, "down", down)
        # Nothing happens by itself here.
        monkeypatch.setattr(cloudnodes, "IDLE_LOOK_SECONDS", 3600.0)

    async def after(self, minutes: float) -> list[int]:
        """Let time pass, look, and return what was asked of the cloud."""
        self.now += minutes * 60
        await self.nodes.look_at_idle()
        return self.cloud.scaled

    async def wish(self) -> None:
        """Ask for a stop after 15 idle minutes."""
        await self.nodes.idle({**ASKED, "minutes": 15, "confirmed": True})


ASKED = {"provider": "aws", "instance_name": "nim-flux-dev-l40s"}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Return a workstation with one NIM that runs."""
    base = tmp_path / "ComfyUI"
    (base / "custom_nodes" / PACKAGE.name).mkdir(parents=True)
    return Bench(Place(base, tmp_path / "studio.key"), monkeypatch)


def test_stops_what_is_idle_and_nothing_else(bench: Bench) -> None:
    """Requests of this workstation, and of anybody whom the metrics show, begin the minutes anew."""

    async def scenario() -> None:
        await bench.wish()
        assert await bench.after(14) == []
        bench.used = bench.now
        assert await bench.after(14) == []
        bench.working = True
        assert await bench.after(14) == []
        bench.working = None
        assert await bench.after(14) == []
        bench.cloud.state = State(UNKNOWN)
        assert await bench.after(14) == []
        bench.cloud.state = State(RUNNING, NOON)
        assert await bench.after(1) == [0]
        assert await bench.after(60) == [0]
        row = (await bench.nodes.status())["cloud_nodes"][0]
        assert (row["state"], row["idle_minutes"]) == (STOPPED, 0)

    asyncio.run(scenario())
    [line] = bench.workstation.ledger.path.read_text().splitlines()
    assert json.loads(line)["kind"] == "stop"


def test_an_idle_stop_can_be_taken_back_and_may_fail(bench: Bench) -> None:
    """0 minutes take it back; a stop that the cloud refuses is told, and tried again."""

    async def scenario() -> None:
        await bench.wish()
        await bench.nodes.idle({**ASKED, "minutes": 0})
        assert await bench.after(60) == []
        await bench.wish()
        bench.cloud.problem = CloudError("AWS is busy: try again in a minute.")
        assert await bench.after(60) == []
        row = (await bench.nodes.status())["cloud_nodes"][0]
        assert (row["problem"], row["idle_minutes"]) == ("AWS is busy: try again in a minute.", 15)
        bench.cloud.problem = None
        assert await bench.after(1) == [0]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ([], 400, "provider and instance_name"),
        ({"provider": "aws"}, 400, "provider and instance_name"),
        ({**ASKED, "target": "aws-2"}, 404, "call your TechOps technician"),
        ({**ASKED, "provider": "gcp"}, 404, "There is no NIM of that name"),
        (ASKED, 409, "has no request at this moment, but others may be between two. Stop it for everybody?"),
        ({**ASKED, "confirmed": "yes"}, 409, "Stop it for everybody?"),
    ],
)
def test_what_is_asked_for_is_checked(bench: Bench, asked: t.Any, status: int, said: str) -> None:
    """Everything is refused before the first call that changes something."""
    with pytest.raises(AskError) as caught:
        asyncio.run(bench.nodes.stop(asked))
    assert (caught.value.status, said in str(caught.value)) == (status, True)
    for minutes in (None, True, 4, 721, "15", -1):
        with pytest.raises(AskError, match="whole number from 5 to 720"):
            asyncio.run(bench.nodes.idle({**ASKED, "minutes": minutes}))
    assert bench.cloud.scaled == []


def test_a_start_counts_down(bench: Bench) -> None:
    """From the moment at which the artist started it, until it takes too long."""

    async def scenario() -> None:
        bench.cloud.state = State(STOPPED)
        await bench.nodes.start(ASKED)
        assert (await bench.nodes.start(ASKED))["text"] == "FLUX Dev on aws (aws-1) is starting already."
        assert bench.cloud.scaled == [1]
        row = (await bench.nodes.status())["cloud_nodes"][0]
        assert row["ready_in_minutes"] in (29, 30)
        bench.nodes._started[("aws", "aws-1", "nim-flux-dev-l40s")] -= datetime.timedelta(minutes=31)
        bench.now += 60
        row = (await bench.nodes.status())["cloud_nodes"][0]
        assert (row["ready_in_minutes"], row["problem"]) == (
            0,
            f"It takes longer than 30 minutes: call your TechOps technician ({CONTACT}).",
        )

    asyncio.run(scenario())
