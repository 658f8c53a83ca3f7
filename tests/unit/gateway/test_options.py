# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of the variables nim_gateway_*: options of modules, and tokens in credentials."""

from __future__ import annotations

import datetime
import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from cryptography import x509

from ansible_collections.budgetguard.techops.plugins.filter.gateway_options import gateway_options
from ansible_collections.budgetguard.techops.plugins.filter.gateway_tokens import gateway_tokens
from ansible_collections.budgetguard.techops.plugins.filter.identity_credentials import identity_credentials
from ansible_collections.budgetguard.techops.plugins.module_utils import _ca, _gateway, _tokens
from ansible_collections.budgetguard.techops.plugins.modules.gateway_key import NOT_MADE, make_keys
from ansible_collections.budgetguard.techops.plugins.plugin_utils import _gateway_options
from tests.unit.gateway.tokens import STUDIO

NOW = datetime.datetime(2026, 11, 28, 12, 0, tzinfo=datetime.timezone.utc)
Variables = dict[str, t.Any]


@pytest.fixture(scope="module")
def keys() -> dict[str, str]:
    return make_keys(STUDIO, signing_key=True, authority=True, check_mode=False)


@pytest.fixture
def target(keys: dict[str, str]) -> Variables:
    return {
        "inventory_hostname": "azure-eastus",
        "nim_gateway_studio": STUDIO,
        "nim_gateway_keys": keys,
        "nim_gateway_tls": "studio_ca",
        "nim_gateway_limits": {"requests_per_minute": 30},
        "nim_gateway_denied": {"ws-07": NOW, "ws-08": "2026-11-01T00:00:00Z"},
        "nim_target": {"endpoint_host": "nims.studio.example", "allowed_cidrs": ["10.20.0.0/16"]},
    }


@pytest.fixture
def workstation(keys: dict[str, str]) -> Variables:
    return {"inventory_hostname": "ws-07", "nim_gateway_studio": STUDIO, "nim_gateway_keys": keys}


def test_a_target_gets_what_its_gateway_needs_and_no_key_that_signs(target: Variables, keys: dict[str, str]) -> None:
    found = _gateway_options.options(target, NOW)
    certificate = x509.load_pem_x509_certificate(found["certificate"].encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["nims.studio.example"]
    _ca.check_pair(found["certificate"], found["private_key"])
    del found["certificate"], found["private_key"]
    assert found == {
        "target": "azure-eastus",
        "studio": STUDIO,
        "public_keys": [keys["public_key"]],
        "denied": {"ws-07": "2026-11-28T12:00:00+00:00", "ws-08": "2026-11-01T00:00:00Z"},
        "requests_per_minute": 30,
    }
    front = _gateway.Front.from_options(_gateway_options.options(target, NOW), "x")
    assert (front.login, front.tls, front.limits.requests_per_minute) == (True, True, 30)


def test_the_next_run_finds_nothing_new(target: Variables) -> None:
    later = NOW + datetime.timedelta(minutes=5)
    assert _gateway_options.options(target, NOW) == _gateway_options.options(target, later)


def test_without_variables_there_is_no_gateway_to_speak_of() -> None:
    assert gateway_options({"inventory_hostname": "aws-us-east-1", "nim_target": {"region": "us-east-1"}}) == {}
    assert gateway_tokens({"inventory_hostname": "ws-07"}, ["ws-07"]) == {}
    assert identity_credentials({"inventory_hostname": "ws-07"}) == {}


@pytest.mark.parametrize("where", [{"group_names": ["nim_providers", "nvidia"]}, {"nim_provider": "nvidia"}])
def test_at_nvidia_there_is_no_gateway(target: Variables, where: Variables) -> None:
    target.update(where, inventory_hostname="nvidia-studio", nim_target={"org": "my-org"})
    assert gateway_options(target) == {}


def test_a_docker_host_is_called_by_its_address(target: Variables) -> None:
    target["nim_target"] = {"bind_address": "10.20.0.31"}
    certificate = x509.load_pem_x509_certificate(_gateway_options.options(target, NOW)["certificate"].encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name) for name in names.get_values_for_type(x509.IPAddress)] == ["10.20.0.31"]


def test_a_certificate_can_be_given(target: Variables, keys: dict[str, str]) -> None:
    certificate, key = _ca.leaf(keys["ca_certificate"], keys["ca_key"], ["nims.studio.example"], NOW)
    target.update(nim_gateway_tls="given", nim_gateway_certificate=certificate, nim_gateway_certificate_key=key)
    found = _gateway_options.options(target, NOW)
    assert (found["certificate"], found["private_key"]) == (certificate, key)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"nim_gateway_tls": "yes"}, "nim_gateway_tls is 'yes'; it must be one of none, studio_ca, given"),
        ({"nim_gateway_keys": {}}, "the playbook gateway_key makes it"),
        ({"nim_gateway_tls": "given"}, "nim_gateway_certificate and nim_gateway_certificate_key must be set"),
        ({"nim_target": {}}, "azure-eastus: a certificate needs nim_target.endpoint_host"),
        ({"nim_gateway_limits": [1]}, "nim_gateway_limits must be a mapping"),
    ],
)
def test_what_cannot_be_is_told(target: Variables, changed: Variables, told: str) -> None:
    with pytest.raises(AnsibleFilterError, match=told):
        gateway_options({**target, **changed})


def test_during_a_change_of_keys_both_are_accepted(target: Variables, keys: dict[str, str]) -> None:
    new = make_keys(STUDIO, signing_key=True, authority=False, check_mode=False)
    target["nim_gateway_keys"] = {**keys, **new, "previous_public_key": keys["public_key"]}
    assert _gateway_options.options(target, NOW)["public_keys"] == [new["public_key"], keys["public_key"]]


def test_a_workstation_gets_its_token_and_the_root(workstation: Variables, keys: dict[str, str]) -> None:
    found = identity_credentials({**workstation, "nim_workstation_credentials": {"nvidia": {"Key": "x"}}})
    assert set(found) == {"nvidia", "gateway"}
    assert set(found["gateway"]) == {"Token", "Expires", "CA Certificate"}
    assert found["gateway"]["CA Certificate"] == keys["ca_certificate"]
    assert found["gateway"] == gateway_tokens(workstation, ["ws-08", "ws-07"])["ws-07"]


def test_a_revoked_workstation_gets_none(workstation: Variables) -> None:
    revoked = {"nim_identities": {"gateway": {"revoked": "2026-11-28T12:00:00Z"}}}
    assert identity_credentials({**workstation, **revoked}) == {}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"nim_gateway_keys": {"public_key": "x"}}, "no signing_key"),
        ({"nim_gateway_token_days": "soon"}, "nim_gateway_token_days is 'soon'"),
        ({"nim_gateway_denied": {"ws-07": "soon"}}, "nim_gateway_denied"),
        ({"inventory_hostname": "ws 07"}, "cannot be named in a token"),
    ],
)
def test_what_makes_no_token_is_told(workstation: Variables, changed: Variables, told: str) -> None:
    with pytest.raises(AnsibleFilterError, match=told):
        identity_credentials({**workstation, **changed})


def test_keys_of_two_pairs_are_noticed(workstation: Variables, keys: dict[str, str]) -> None:
    other = _tokens.public_key(_tokens.new_signing_key())
    workstation["nim_gateway_keys"] = {**keys, "public_key": other}
    with pytest.raises(AnsibleFilterError, match="does not belong to signing_key"):
        identity_credentials(workstation)


def test_check_mode_makes_no_key() -> None:
    assert set(make_keys(STUDIO, signing_key=True, authority=True, check_mode=True).values()) == {NOT_MADE}
    assert make_keys(STUDIO, signing_key=False, authority=False, check_mode=False) == {}
