# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Opening the config and deciding the status, without ComfyUI."""

from __future__ import annotations

import dataclasses
import datetime
import json
import typing as t

import pytest
from budgetguard_companion import envelope, status, workstation
from budgetguard_companion.envelope import ConfigError, open_config

from ansible_collections.budgetguard.techops.plugins.module_utils import _envelope, _workstation
from tests.companion.studio import AWS, CONTACT, NVIDIA, SECRETS, STRANGER, Place, gateway, nodes
from tests.unit.workstation.examples import CREDENTIALS, KEY, STUDIO_KEY, config, endpoint

NOW = datetime.datetime.now(datetime.timezone.utc)
WIDE = _envelope.studio_wide_key(STUDIO_KEY)


def reason(function: t.Callable[..., object], *arguments: t.Any) -> str:
    """Return why something is refused; its text must hold no secret."""
    with pytest.raises(ConfigError) as caught:
        function(*arguments)
    assert not [secret for secret in SECRETS if secret in str(caught.value)]
    assert caught.value.reason in status.CURES
    return caught.value.reason


def test_opens_both_versions_and_both_lines_of_a_rotation() -> None:
    """What the collection seals is opened, studio-wide and per workstation, during a rotation too."""
    assert open_config(config(), [f"v2 {KEY}"]).credentials == CREDENTIALS
    wide = config(key=WIDE, encryption_version=1)
    assert open_config(wide, [f"v1 {STUDIO_KEY}"]).credentials == CREDENTIALS
    assert open_config(config(), [f"v2 {STRANGER}", "", f"v2 {KEY}"]).credentials == CREDENTIALS
    assert repr(open_config(config(), [f"v2 {KEY}"])).count("canary") == 0


def test_says_why_a_config_does_not_open() -> None:
    """Each reason has its own word, and something that helps."""
    assert reason(open_config, config(), [f"v2 {STRANGER}"]) == "wrong_key"
    assert reason(open_config, config(), ["v1 " + "x" * 40]) == "wrong_key"
    assert reason(open_config, config(), ["v3 nothing", f"v2 {KEY[:-4]}"]) == "bad_key"
    assert reason(open_config, config(), [""]) == "no_key"
    for broken in (b"", b"[]", b"{}", config()[:-40], config().replace(b'"1.0"', b'"2.0"')):
        assert reason(open_config, broken, [f"v2 {KEY}"]) == "bad_config"
    document = json.loads(config())
    document["credentials"]["encrypted_data"] = "a"
    assert reason(open_config, json.dumps(document).encode(), [f"v2 {KEY}"]) == "bad_config"


def opened(credentials: _envelope.Credentials, endpoints: _workstation.Endpoints | None = None) -> envelope.Opened:
    """Return an opened config."""
    return envelope.Opened({"nim_endpoints": endpoints or {}}, credentials)


@pytest.mark.parametrize(
    ("credentials", "verdict", "expected"),
    [
        ({}, None, "no_credentials"),
        ({"aws": {"Access Key ID": "AKIA"}}, None, "no_credentials"),
        ({**AWS, **gateway(-0.01)}, None, "expired"),
        ({**AWS, **gateway()}, "revoked", "revoked"),
        ({**AWS, **gateway()}, "refused", "refused"),
    ],
)
def test_refuses_credentials_that_do_not_serve(
    credentials: _envelope.Credentials, verdict: str | None, expected: str
) -> None:
    """A config that opens is not enough."""
    assert reason(status.refuse, opened(credentials), NOW, verdict) == expected


def test_green_says_what_may_be_used_and_nothing_else() -> None:
    """Booleans by provider, places without addresses."""
    endpoints = nodes(FLUX_Dev=[("azure", endpoint(auth="gateway", hourly_usd=4))])
    for credentials in (AWS, NVIDIA, gateway(), {"gcp": {"Identity": "ws@studio.example"}}):
        status.refuse(opened(credentials), NOW)
    told = status.green(opened({**AWS, **gateway()}, endpoints))
    assert told["credentials_status"] == {"nvidia": False, "aws": True, "azure": True, "gcp": False}
    assert told["nodes"]["FLUX Dev"][0]["price"] == "4.00 USD per hour"
    assert "https://" not in json.dumps(told)
    assert not [secret for secret in SECRETS if secret in json.dumps(told)]
    assert not any(status.yellow(ConfigError("no_key", "x"))["credentials_status"].values())


@pytest.mark.parametrize("provider", sorted(_workstation.CREDENTIAL_FIELDS))
def test_complete_means_what_the_collection_means(provider: str) -> None:
    """The companion and comfyui_config agree on which fields make a provider complete."""
    fields = dict.fromkeys(_workstation.CREDENTIAL_FIELDS[provider], "text")
    cases = [fields, {"Identity": "me"}, {"Service Account JSON": "{}", "Project ID": "p", "Region": "r", "Zone": "z"}]
    cases += [{name: text for name, text in fields.items() if name != missing} for missing in fields]
    for case in cases:
        expected = _workstation.credentials_status({provider: case})
        assert status.complete({provider: case}) == expected


def test_files_are_read_anew_each_time(tmp_path: t.Any) -> None:
    """A later key, a key of systemd's, a lost config: no restart is needed."""
    base, credential = tmp_path / "ComfyUI", tmp_path / "handed"
    own = base / "custom_nodes" / "budgetguard_companion"
    own.mkdir(parents=True)
    place = Place(base, tmp_path / "keys" / "studio.key")
    station = workstation.Workstation(base, own, {"CREDENTIALS_DIRECTORY": str(credential)})
    assert reason(station.open) == "no_config"
    place.give()
    assert station.open().credentials == AWS
    place.key_file.unlink()
    assert reason(station.open) == "no_key"
    credential.mkdir()
    (credential / "budgetguard-studio-key").write_text(f"v2 {KEY}\n")
    assert station.open().credentials == AWS
    (credential / "budgetguard-studio-key").write_text(f"v2 {STRANGER}\n")
    assert reason(station.open) == "wrong_key"
    place.give_key(f"v2 {KEY}\n")
    assert station.open().credentials == AWS
    assert dataclasses.astuple(station.settings) == (str(place.key_file), 900, str(place.token_file), CONTACT)
    assert station.token() == ""
    place.token_file.write_text("typed-in\n")
    assert station.token() == "typed-in"
