# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logging in as the machine itself: where it is asked, what is not believed, and what the artist reads then."""

from __future__ import annotations

import asyncio
import dataclasses
import typing as t
from pathlib import Path

import pytest
from budgetguard_companion import cloud, machine
from budgetguard_companion.machine import Login, MachineError

from tests.companion.machine import CONTAINER_TOKEN, Machine, aws_login
from tests.sandbox.azure.entra import KUBERNETES
from tests.unit.workstation.examples import CANARY

ROLE = "arn:aws:iam::111122223333:role/studio/ws-02"
OBJECT_ID = "11111111-2222-3333-4444-555555555555"
EMAIL = "ws-02@studio.iam.gserviceaccount.com"
BEARER = {"access_token": f"bearer-{CANARY}", "expires_in": "3599"}
AWS = aws_login("ASIAEXAMPLE", f"secret-{CANARY}", f"session-{CANARY}")
MACHINES = {"aws": (ROLE, AWS), "azure": (OBJECT_ID, BEARER), "gcp": (EMAIL, BEARER)}


def log_in(here: Machine, provider: str, identity: str | None = None, **environment: str) -> Login:
    """Log in while the machine's services are up."""

    async def run() -> Login:
        async with here.serving():
            asked = machine.Machine(
                {**here.environment, **{name: text.format(here) for name, text in environment.items()}}
            )
            return await asked.log_in(provider, identity or here.identity, KUBERNETES)

    found = asyncio.run(run())
    assert CANARY not in repr(found)
    return found


def problem_of(here: Machine, provider: str, identity: str | None = None, **environment: str) -> str:
    """Return why there is no login. Nothing secret may be in it, and no address."""
    with pytest.raises(MachineError) as caught:
        log_in(here, provider, identity, **environment)
    assert CANARY not in str(caught.value)
    assert "://" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(params=sorted(MACHINES))
def provider(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name each cloud in turn, while a proxy is set that must not be asked."""
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return str(request.param)


def test_logs_in_as_the_identity_in_the_config_and_no_other(provider: str) -> None:
    """The service gives what it has for that identity, and another one is not taken in its place."""
    here = Machine(*MACHINES[provider])
    found = log_in(here, provider)
    assert found.token.endswith(CANARY)
    assert 3000 < found.seconds < 22000
    assert found.key == (("ASIAEXAMPLE", f"secret-{CANARY}") if provider == "aws" else ("", ""))
    another = MACHINES[provider][0].replace("ws-02", "ws-03").replace("1111", "9999")
    said = "has another role than the one" if provider == "aws" else "does not have the identity"
    assert f"the machine {said} in " in problem_of(here, provider, another)


def test_says_why_there_is_no_login(provider: str) -> None:
    """Refused, busy, no answer at all, an answer that is none, an identity that no machine can have."""
    here = Machine(*MACHINES[provider])
    for status, said in ((403, "refuses"), (503, "busy"), (429, "busy"), (404, "does not have"), (302, "refuses")):
        assert said in problem_of(dataclasses.replace(here, status=status), provider)
    what = "key for its role" if provider == "aws" else "token for its identity"
    assert f"gives no {what}" in problem_of(dataclasses.replace(here, login={"Code": "Failed"}), provider)
    for identity in ("arn:aws:iam::111122223333:user/artist-7", "principal://iam.googleapis.com/x/subject/ws-02"):
        assert "the identity in the config is no" in problem_of(here, provider, identity)
    silent = {name: text.replace(":0", ":9") for name, text in here.environment.items()}
    with pytest.raises(MachineError, match="no metadata service answers on this machine"):
        asyncio.run(machine.Machine(silent).log_in(provider, here.identity, KUBERNETES))


def test_many_who_ask_at_once_get_one_login(provider: str) -> None:
    """Metadata services take few requests in a second; a refusal, too, is one for all, and for a moment."""
    here = Machine(*MACHINES[provider])

    async def run() -> list[Login | BaseException]:
        async with here.serving():
            clouds = cloud.Cloud(here.environment)
            asked = [clouds._login(provider, {"Identity": here.identity}) for _number in range(5)]
            return await asyncio.gather(*asked, return_exceptions=True)

    calls = 3 if provider == "aws" else 1
    assert len({t.cast(Login, found).token for found in asyncio.run(run())}) == 1
    assert len(here.asked) == calls
    here.asked.clear()
    here.status = 429
    found = asyncio.run(run())
    assert {type(one) for one in found} == {cloud.CloudError}
    assert str(found[0]).endswith("busy (HTTP 429); try again in a minute: call your TechOps technician.")
    assert len(here.asked) == 1


CONTAINER = "http://127.0.0.1:{0.port}/container"


@pytest.mark.parametrize("by_file", [True, False])
def test_a_container_has_a_place_of_its_own(by_file: bool, tmp_path: Path) -> None:
    """It comes before EC2, and gets what it shows from a file or a variable."""
    here = Machine(ROLE, AWS)
    file = tmp_path / "token"
    file.write_text(f"{CONTAINER_TOKEN}\n")
    name, value = ("_FILE", str(file)) if by_file else ("", CONTAINER_TOKEN)
    shown = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": CONTAINER, f"AWS_CONTAINER_AUTHORIZATION_TOKEN{name}": value}
    assert log_in(here, "aws", **shown).key == ("ASIAEXAMPLE", f"secret-{CANARY}")
    assert here.asked == ["GET /container"]
    assert "another role" in problem_of(here, "aws", f"{ROLE}-x", **shown)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (
            {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://10.1.2.3/role"},
            "neither https nor an address of this machine",
        ),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": CONTAINER}, "refuses"),
        (
            {"AWS_CONTAINER_CREDENTIALS_FULL_URI": CONTAINER, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/nowhere"},
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE cannot be read",
        ),
        ({"AWS_EC2_METADATA_DISABLED": "true"}, "AWS_EC2_METADATA_DISABLED keeps"),
    ],
)
def test_what_the_environment_may_not_do(environment: dict[str, t.Any], said: str) -> None:
    """No token goes to a stranger, and what is switched off is not asked."""
    here = Machine(ROLE, AWS)
    assert said in problem_of(here, "aws", **environment)
    assert not [asked for asked in here.asked if asked.startswith("PUT")]
