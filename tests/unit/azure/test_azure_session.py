# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the session logs in, waits and words errors, without a network."""

from __future__ import annotations

import itertools
import json
import time
import typing as t

import azure.identity
import pytest
from azure.core import exceptions as errors
from azure.core.credentials import AccessToken

from ansible_collections.budgetguard.techops.plugins.module_utils._provider import (
    ConflictError,
    MissingLibraryError,
    ProviderError,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _azure_session
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_session import (
    AzureSession,
    ForbiddenError,
    NotFoundError,
)

SECRET = "Zr8~CANARYazureQm3vT0"
PRINCIPAL = {"subscription_id": "s", "tenant": "studio.example", "client_id": "deployer", "secret": SECRET}


def session(**options: t.Any) -> AzureSession:
    return AzureSession({**PRINCIPAL, **options})


class Answer:
    """An HTTP answer, as far as the SDK's errors look at one."""

    reason = "reason"
    content_type = "application/json"
    headers: t.ClassVar[dict[str, str]] = {}

    def __init__(self, status: int, body: dict[str, t.Any] | None) -> None:
        self.status_code = status
        self._text = json.dumps(body) if body is not None else "<html>"

    def text(self, encoding: str | None = None) -> str:
        return self._text

    def json(self) -> t.Any:
        return json.loads(self._text)


def refused(status: int, code: str, message: str = "It is so.", envelope: bool = True) -> ProviderError:
    """Return what becomes of an answer of Azure."""
    body = {"code": code, "message": message}
    answer: t.Any = Answer(status, {"error": body} if envelope else body)

    def make() -> None:
        raise errors.HttpResponseError(response=answer)

    with pytest.raises(ProviderError) as caught:
        session().call("do it", make)
    return caught.value


# ---- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("envelope", [True, False])
@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "ResourceNotFound", NotFoundError),
        (404, "ResourceGroupNotFound", NotFoundError),
        (404, "SubscriptionNotFound", ProviderError),
        (403, "AuthorizationFailed", ForbiddenError),
        (409, "OperationNotAllowed", ConflictError),
        (412, "EtagMismatch", ConflictError),
        (200, "OperationPreempted", ConflictError),
        (409, "ScopeLocked", ProviderError),
        (400, "InvalidParameter", ProviderError),
        (200, "SubnetIsFull", ProviderError),
    ],
)
def test_the_kind_of_an_error(status: int, code: str, kind: type[ProviderError], envelope: bool) -> None:
    error = refused(status, code, envelope=envelope)
    assert error.__class__ is kind
    assert str(error).startswith(f"cannot do it: It is so ({code})")


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (409, "OperationNotAllowed", "Operation could not be completed as it results in exceeding approved Total "),
        (400, "ErrCode_InsufficientVCPUQuota", "Insufficient vcpu quota requested 24, remaining 0 for family x."),
        (200, "QuotaExceeded", "Too many."),
    ],
)
def test_a_quota_is_no_passing_conflict(status: int, code: str, message: str) -> None:
    error = refused(status, code, f"{message}Regional Cores quota")
    assert error.__class__ is ProviderError
    assert str(error).endswith("Ask for more in the Azure portal under Quotas, Compute.")


def test_who_lacks_a_role_is_told_which() -> None:
    assert "role Contributor" in str(refused(403, "AuthorizationFailed"))


def test_an_error_is_one_line_without_tracking_numbers() -> None:
    message = "AADSTS7000215: Invalid client secret.\r\nTrace ID: 1\r\nCorrelation ID: 2\r\nTimestamp: 2026"
    assert str(refused(400, "x", message)) == "cannot do it: AADSTS7000215: Invalid client secret (x)"


def test_an_answer_that_is_no_json_is_still_an_error() -> None:
    answer: t.Any = Answer(502, None)

    def make() -> None:
        raise errors.HttpResponseError(response=answer)

    with pytest.raises(ProviderError, match=r"cannot do it: .*reason"):
        session().call("do it", make)


def test_a_page_of_a_proxy_is_no_answer() -> None:
    with pytest.raises(ProviderError, match=r"cannot do it: the answer is not what this service sends"):
        session().call("do it", Answer(200, None).json)


def test_no_answer_at_all_is_said() -> None:
    def make() -> None:
        raise errors.ServiceRequestError("Connection refused")

    with pytest.raises(ProviderError, match=r"cannot do it: Azure does not answer \(Connection refused\)"):
        session().call("do it", make)


@pytest.mark.parametrize(
    ("options", "who"),
    [
        ({}, "the service principal deployer of tenant studio.example"),
        ({"auth_source": "cli"}, "the login of the Azure CLI"),
        ({"auth_source": "managed_identity"}, "the managed identity deployer"),
        ({"auth_source": "managed_identity", "client_id": None}, "this machine's managed identity"),
        ({"secret": None}, "workload identity, managed identity or the login of the Azure CLI"),
    ],
)
def test_wrong_credentials_are_named(options: dict[str, t.Any], who: str) -> None:
    def make() -> None:
        raise errors.ClientAuthenticationError("no")

    with pytest.raises(ProviderError) as caught:
        session(**options).call("do it", make)
    assert f"Azure does not accept {who}" in str(caught.value)
    assert SECRET not in str(caught.value)


# ---- logging in ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["tenant", "client_id", "secret"])
def test_a_service_principal_needs_all_three(missing: str) -> None:
    with pytest.raises(ValueError, match=f"not set: {missing}$"):
        session(auth_source="service_principal", **{missing: None})


@pytest.mark.parametrize("address", ["http://azure.example", "azure.example", "https://"])
def test_an_endpoint_is_an_https_address(address: str) -> None:
    with pytest.raises(ValueError, match="resource_manager_endpoint is"):
        session(resource_manager_endpoint=address)


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("", False),
        ("https://login.microsoftonline.us", False),
        ("login.microsoftonline.com", False),
        ("https://adfs.studio.example/adfs", True),
    ],
)
def test_microsoft_is_not_asked_about_private_authorities(
    monkeypatch: pytest.MonkeyPatch, address: str, private: bool
) -> None:
    seen: dict[str, t.Any] = {}
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", address)

    def open_credential(*_words: str, **options: t.Any) -> Credential:
        seen.update(options)
        return Credential(3600)

    monkeypatch.setattr(azure.identity, "ClientSecretCredential", open_credential)
    session()
    assert seen["disable_instance_discovery"] is private


class Credential:
    """Gives out numbered tokens that are valid for so many seconds."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self.scopes: list[str] = []

    def get_token(self, scope: str) -> AccessToken:
        self.scopes.append(scope)
        return AccessToken(f"token-{len(self.scopes)}", int(time.time()) + self.seconds)


@pytest.mark.parametrize(("seconds", "tokens"), [(3600, ["token-1", "token-1"]), (200, ["token-1", "token-2"])])
def test_a_token_is_asked_for_again_before_it_ends(seconds: int, tokens: list[str]) -> None:
    target = session()
    target._credential = Credential(seconds)
    assert [target.token("kube/.default", "log in") for _time in tokens] == tokens


def test_each_scope_has_its_own_token() -> None:
    target, credential = session(), Credential(3600)
    target._credential = credential
    assert [target.token(scope, "log in") for scope in ("a", "b", "a")] == ["token-1", "token-2", "token-1"]
    assert credential.scopes == ["a", "b"]


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_azure_session, "HAS_AZURE", False)
    with pytest.raises(MissingLibraryError) as caught:
        session()
    assert "azure-mgmt-containerservice" in caught.value.package


# ---- waiting ---------------------------------------------------------------------------------------------------------


def test_looks_are_as_far_apart_as_the_options_say() -> None:
    pauses: list[float] = []
    target = AzureSession({**PRINCIPAL, "wait_interval": 3}, sleep=pauses.append)
    looks = itertools.count()
    target.wait_until("do it", lambda: next(looks) == 2)
    assert pauses == [3, 3]


def test_waiting_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_azure_session, "OPERATION_TIMEOUT", -1.0)
    with pytest.raises(ProviderError, match="the next run continues from here"):
        session().wait_until("do it", lambda: False)


class EndlessPoller:
    def wait(self, _seconds: float) -> None:
        pass

    def done(self) -> bool:
        return False


def test_an_operation_that_does_not_end_is_left_to_the_next_run() -> None:
    with pytest.raises(ProviderError, match="Azure has not ended it after 60 minutes"):
        session().finish("do it", EndlessPoller)
