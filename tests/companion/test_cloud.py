# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Start and stop by a workstation's own identity, as it arrives at the sandbox's ECS, AKS and GKE."""

from __future__ import annotations

import asyncio
import json
import logging
import typing as t
from pathlib import Path

import pytest
from budgetguard_companion.cloud import Cloud
from budgetguard_companion.cloudnodes import AskError, CloudNodes
from budgetguard_companion.fleet import STARTING, STOPPED, STOPPING, UNKNOWN
from budgetguard_companion.workstation import Workstation

from tests.companion.leaks import Haystack
from tests.companion.machine import Machine, make_machine
from tests.companion.published import Fields, prepare, secret_parts
from tests.companion.studio import CONTACT, NVIDIA, PACKAGE, SECRETS, Place
from tests.sandbox import Sandbox
from tests.unit.azure.conftest import LED_BY

CLOUDS = ("aws", "azure", "gcp")
WHOM = f"call your TechOps technician ({CONTACT})."


class Bench:
    """A workstation with an identity in one cloud, and the sandbox behind it."""

    def __init__(self, sandbox: Sandbox, folder: Path, cloud: str) -> None:
        self.sandbox = sandbox
        self.cloud = cloud
        self.fields, self.target = prepare(sandbox, cloud)
        self.machine = make_machine(sandbox, cloud)
        (folder / "ComfyUI" / "custom_nodes" / PACKAGE.name).mkdir(parents=True)
        self.place = Place(folder / "ComfyUI", folder / "keys" / "studio.key")
        self.give(self.fields)
        sandbox.control.defaults(startup_seconds=3600)
        sandbox.control.clear_calls()
        self.workstation = Workstation(self.place.base, self.place.base / "custom_nodes" / PACKAGE.name, {})
        self.nodes = CloudNodes(self.workstation, Cloud(sandbox.env))
        self.environment = sandbox.env
        self.answers = ""

    def give(self, fields: Fields) -> None:
        """Give the workstation these credentials and what was published."""
        self.place.give({**NVIDIA, self.cloud: dict(fields)}, self.target["endpoints"])

    @property
    def asked(self) -> dict[str, str]:
        """How the page names the NIM."""
        return {"provider": self.cloud, "instance_name": self.target["name"], "target": f"{self.cloud}-here"}

    async def shown(self) -> dict[str, t.Any]:
        """Return how the page sees the NIM. Nothing secret and no address may be there."""
        status = await CloudNodes(self.workstation, Cloud(self.environment)).status()
        text = json.dumps(status)
        assert "://" not in text
        self.answers += text
        [row] = status["cloud_nodes"]
        return t.cast("dict[str, t.Any]", row)

    def writes(self) -> list[dict[str, t.Any]]:
        """Return what changed something: the calls of artists alone, as the deployer is quiet now."""
        return [
            call
            for call in self.sandbox.control.calls()
            if call["action"] == "UpdateService" or call["method"] in ("PATCH", "PUT", "DELETE")
        ]


@pytest.fixture(params=CLOUDS)
def bench(request: pytest.FixtureRequest, running_sandbox: Sandbox, tmp_path: Path, monkeypatch: t.Any) -> Bench:
    """Give a workstation for each cloud in turn."""
    running_sandbox.control.reset()
    for name in LED_BY:
        monkeypatch.setenv(name, running_sandbox.env[name])
    return Bench(running_sandbox, tmp_path, request.param)


LOGIN = {"aws": "Secret Access Key", "azure": "Client Secret", "gcp": "Service Account JSON"}


def test_starts_and_stops_with_the_artists_identity(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """One call each arrives at the cloud; nothing is stopped unconfirmed; whatever is refused says whom to call."""
    caplog.set_level(logging.DEBUG)
    asyncio.run(start_and_stop(bench))
    rows = [json.loads(line) for line in bench.workstation.ledger.path.read_text().splitlines()]
    assert [(row["kind"], row["name"]) for row in rows] == [("stop", bench.target["name"])]
    asyncio.run(be_refused(bench))
    assert bench.writes() == []
    asyncio.run(log_in_as_the_machine(bench, bench.machine))
    hay = Haystack()
    hay.add("log", caplog.text)
    hay.add("answers", bench.answers)
    hay.add_files(bench.place.base)
    hay.check(
        (*SECRETS, *secret_parts(bench.fields), *bench.machine.secrets),
        {"log": "asyncio", "answers": "has no key for", "budgetguard/usage.jsonl": '"kind": "stop"'},
    )


async def log_in_as_the_machine(bench: Bench, machine: Machine) -> None:
    """Start and stop without a key, by what the machine's own metadata service gives; say so where it gives nothing."""
    bench.give({"Identity": machine.identity})
    async with machine.serving():
        bench.environment = {**bench.sandbox.env, **machine.environment}
        bench.nodes = CloudNodes(bench.workstation, Cloud(bench.environment))
        await start_and_stop(bench)
        logins = len(machine.asked)
        await bench.nodes.status()
        assert len(machine.asked) == logins
        bench.give({"Identity": machine.identity[:-1] + ("1" if machine.identity[-1] == "0" else "0")})
        assert str((await bench.shown())["problem"]).endswith(f"in its config: {WHOM}")
    bench.give({"Identity": machine.identity})
    machine.port = 9
    bench.environment = {**bench.sandbox.env, **machine.environment}
    said = str((await bench.shown())["problem"])
    assert "has no key for" in said
    assert said.endswith(f"no metadata service answers on this machine: {WHOM}")


async def start_and_stop(bench: Bench) -> None:
    """Start a NIM, and stop it."""
    assert (await bench.shown())["state"] in (STOPPED, STOPPING)
    assert bench.writes() == []
    said = await bench.nodes.start(bench.asked)
    assert said["text"].endswith("starts: ready in about 30 minutes.")
    [call] = bench.writes()
    wanted = '"desiredCount": 1' if bench.cloud == "aws" else '"replicas": 1'
    assert wanted in call["body"]
    row = await bench.shown()
    assert row["state"] == STARTING
    assert row["ready_in_minutes"] in (29, 30)
    with pytest.raises(AskError) as caught:
        await bench.nodes.stop(bench.asked)
    assert (caught.value.status, caught.value.reason) == (409, "confirm")
    assert str(caught.value).endswith("Stop it for everybody?")
    assert len(bench.writes()) == 1
    await bench.nodes.stop({**bench.asked, "confirmed": True})
    assert len(bench.writes()) == 2
    assert (await bench.shown())["state"] in (STOPPED, STOPPING)
    bench.sandbox.control.clear_calls()


async def be_refused(bench: Bench) -> None:
    """Have no right, a key that is none any more, no key at all, and one that is not a key."""

    async def problem() -> str:
        row = await bench.shown()
        assert row["state"] == UNKNOWN
        return str(row["problem"])

    if bench.cloud == "aws":
        bench.sandbox.control.fault("UpdateService", "AccessDeniedException")
        with pytest.raises(
            AskError, match=r"AWS does not let this workstation start FLUX Dev on aws \(aws-here\): call"
        ):
            await bench.nodes.start(bench.asked)
        bench.sandbox.control.clear_calls()
    name = LOGIN[bench.cloud]
    value = bench.fields[name]
    broken = value.replace("MII", "XYZ") if bench.cloud == "gcp" else value[::-1]
    bench.give({**bench.fields, name: broken})
    assert "key" in await problem()
    assert (await problem()).endswith(WHOM)
    bench.give({"Identity": "itself"})
    assert "cannot log in by itself: the identity in the config is no" in await problem()
    bench.give({name: ""})
    assert "has no credentials for" in await problem()
    assert (await problem()).endswith(WHOM)
