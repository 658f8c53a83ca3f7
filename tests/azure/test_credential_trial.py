# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The trial of credentials for Azure: a login, as workstation_credential_info makes it."""

from __future__ import annotations

import typing as t
from datetime import datetime, timedelta, timezone

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _credential_trial
from tests.azure.artist import Artist


def try_out(fields: t.Mapping[str, str], wait_timeout: float = 0) -> str:
    return _credential_trial.try_out("azure", fields, wait_timeout)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch, tenant: Artist) -> None:
    """Try again sooner, and log in at the sandbox."""
    monkeypatch.setattr(_credential_trial, "PAUSE", 0.1)
    name = "AZURE_RESOURCE_MANAGER_ENDPOINT"
    monkeypatch.setenv(name, tenant.sandbox.env[name])


def test_a_good_secret_logs_in_as_its_application(tenant: Artist) -> None:
    result = tenant.run()
    tenant.control.clear_calls()
    assert try_out(result["credentials"]) == result["identity"]
    assert [call["service"] for call in tenant.control.calls() if call["action"] != "openid_configuration"] == ["entra"]


def test_a_revoked_secret_is_refused_in_one_line_without_the_secret(tenant: Artist) -> None:
    result = tenant.run()
    new = tenant.run(key_id=result["key"]["id"], rotate=True)
    tenant.run(key_id=new["key"]["id"], delivered=True)
    with pytest.raises(ProviderError) as caught:
        try_out(result["credentials"])
    message = str(caught.value)
    assert message.startswith(f"Azure refuses the secret of the application {result['identity']}: ")
    assert "AADSTS7000215" in message
    assert "Trace ID" not in message
    assert "\n" not in message
    assert result["credentials"]["Client Secret"] not in message


def ended(tenant: Artist) -> dict[str, str]:
    """Return credentials whose secret ends within a second."""
    fields = dict(tenant.run()["credentials"])
    end = (datetime.now(timezone.utc) + timedelta(seconds=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    path = f"/applications(appId='{fields['Client ID (Application ID)']}')/addPassword"
    answer = tenant.graph("POST", path, json={"passwordCredential": {"endDateTime": end}})
    return {**fields, "Client Secret": answer.json()["secretText"]}


def test_other_reasons_are_told_apart(tenant: Artist) -> None:
    fields = dict(tenant.run()["credentials"])
    app_id = fields["Client ID (Application ID)"]
    soon = ended(tenant)
    tenant.graph("PATCH", f"/servicePrincipals(appId='{app_id}')", json={"accountEnabled": False})
    with pytest.raises(ProviderError, match="AADSTS7000112"):
        try_out(fields)
    tenant.graph("DELETE", f"/servicePrincipals(appId='{app_id}')")
    with pytest.raises(ProviderError, match="AADSTS7000229"):
        try_out(fields)
    end = datetime.now(timezone.utc) + timedelta(seconds=10)
    while "AADSTS7000222" not in tenant.log_in(soon).text:
        assert datetime.now(timezone.utc) < end
    with pytest.raises(ProviderError, match="AADSTS7000222"):
        try_out(soon)
    tenant.run(state="absent")
    with pytest.raises(ProviderError, match="AADSTS700016"):
        try_out(fields)


def test_a_secret_that_is_not_known_everywhere_yet_is_tried_again(tenant: Artist) -> None:
    tenant.control.defaults(directory_seconds=0.6)
    fields = tenant.run()["credentials"]
    assert try_out(fields, wait_timeout=20) == fields["Client ID (Application ID)"]


def test_fields_that_are_missing_are_named() -> None:
    with pytest.raises(ProviderError, match="the credentials lack Tenant ID, Client Secret"):
        try_out({"Client ID (Application ID)": "a"})
