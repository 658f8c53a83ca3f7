# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One call and its errors, and what settings may not say."""

from __future__ import annotations

import http.client
import io
import typing as t
import urllib.error
import urllib.request
from email.message import Message

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._keys import KeyFormatError
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ConflictError, ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._nvidia_session import (
    ATTEMPTS,
    NvidiaSession,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._nvidia_settings import NvidiaSettings
from tests.unit.nvidia.organisation import NGC_KEY, Organisation


def session(organisation: Organisation, **changes: t.Any) -> tuple[NvidiaSession, list[float]]:
    """Return a session that notes its pauses instead of making them."""
    pauses: list[float] = []
    return NvidiaSession(organisation.options(**changes), sleep=pauses.append), pauses


def test_no_key() -> None:
    with pytest.raises(KeyFormatError, match="api_key is not set; set it or the environment variable NVIDIA_API_KEY"):
        NvidiaSession({})


@pytest.mark.parametrize("endpoint", ["http://api.example", "api.example", "https://"])
def test_the_key_goes_to_https_only(org: Organisation, endpoint: str) -> None:
    with pytest.raises(ValueError, match="must be an address that begins with https://"):
        session(org, endpoint=endpoint)
    with pytest.raises(ValueError, match="https://"):
        session(org)[0].fetch("ask", "GET", "http://ai.api.nvidia.com/")


def test_a_server_that_cannot_be_trusted(org: Organisation) -> None:
    found, _pauses = session(org, ca_bundle=None)
    with pytest.raises(ProviderError, match=r"no connection to .*CERTIFICATE_VERIFY_FAILED"):
        found.call("look", "GET", "/functions")
    assert org.actions() == []


def test_a_bundle_that_cannot_be_read(org: Organisation) -> None:
    with pytest.raises(ValueError, match=r"ca_bundle /no/such\.pem cannot be read"):
        session(org, ca_bundle="/no/such.pem")


def test_the_organisation_in_the_path(org: Organisation) -> None:
    for changes in ({}, {"org": None}, {"team": "fx"}):
        session(org, **changes)[0].call("look", "GET", "/functions")
    name = org.app.account.org
    assert [call["path"] for call in org.calls.as_list()] == [
        f"/v2/orgs/{name}/nvcf/functions",
        "/v2/nvcf/functions",
        f"/v2/orgs/{name}/teams/fx/nvcf/functions",
    ]


def test_passing_failures_are_tried_again(org: Organisation) -> None:
    found, pauses = session(org)
    org.fault("ListFunctions", status=503, times=2)
    org.fault("ListFunctions", status=429, headers={"Retry-After": "7"})
    assert found.call("look", "GET", "/functions") == {"functions": []}
    assert (len(pauses), pauses[2]) == (3, 7.0)


def test_it_is_given_up_in_the_end(org: Organisation) -> None:
    found, pauses = session(org)
    org.fault("ListFunctions", status=502, times=None, message="Bad gateway.")
    with pytest.raises(ProviderError, match=f"cannot look: 502 Bad gateway; tried {ATTEMPTS} times"):
        found.call("look", "GET", "/functions")
    assert len(pauses) == ATTEMPTS - 1


def test_what_may_have_been_done_is_not_done_again(org: Organisation) -> None:
    found, pauses = session(org)
    org.fault("CreateFunction", status=504, times=None)
    with pytest.raises(ConflictError, match="whether it was done is not known"):
        found.call("make it", "POST", "/functions", {})
    assert (org.count("CreateFunction"), pauses) == (1, [])


def test_redirects_are_not_followed(org: Organisation) -> None:
    """Whoever a redirect leads to would get the key."""
    found, _pauses = session(org)
    org.redirect = f"{org.url}/v2/nvcf/clusterGroups"
    with pytest.raises(ProviderError, match="cannot look: 302"):
        found.call("look", "GET", "/functions")
    assert org.actions() == []


LOGIN_PAGE = b"<html><body>Sign in to the studio's network</body></html>"


@pytest.mark.parametrize("body", [LOGIN_PAGE, b"", b"[]"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_page_of_a_proxy_is_not_an_organisation_without_functions(
    org: Organisation, monkeypatch: pytest.MonkeyPatch, method: str, body: bytes
) -> None:
    monkeypatch.setattr(urllib.request.OpenerDirector, "open", lambda *_arguments, **_more: _Reply(200, body))
    with pytest.raises(ProviderError, match=r"cannot look: .*does a proxy or its login page stand in between\?"):
        session(org)[0].call("look", method, "/functions")


def test_some_calls_are_answered_with_nothing(org: Organisation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request.OpenerDirector, "open", lambda *_arguments, **_more: _Reply(204, b""))
    assert session(org)[0].call("delete it", "DELETE", "/functions/1") is None


def test_an_error_that_breaks_off_is_still_that_error(org: Organisation, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: t.Any, **_more: t.Any) -> t.NoReturn:
        raise urllib.error.HTTPError("https://api", 403, "Forbidden", Message(), _Reply(403, None))

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", broken)
    with pytest.raises(ProviderError, match=r"cannot look: 403\. The key needs"):
        session(org)[0].call("look", "GET", "/functions")


class _Reply(io.BytesIO):
    """An answer with this body; with None, one that breaks off."""

    def __init__(self, status: int, body: bytes | None) -> None:
        super().__init__(body or b"")
        self.status = status
        self.is_whole = body is not None

    def read(self, size: int | None = -1) -> bytes:
        if not self.is_whole:
            raise http.client.IncompleteRead(b"", 100)
        return super().read(size)


def test_an_error_never_quotes_a_key(org: Organisation) -> None:
    found, _pauses = session(org)
    org.fault("CreateFunction", status=400, message=f"Bad value {NGC_KEY} for {org.app.account.key}")
    with pytest.raises(ProviderError, match=r"cannot make it: 400 Bad value \*\*\* for \*\*\*"):
        found.call("make it", "POST", "/functions", {})


def test_the_older_form_of_an_error(org: Organisation) -> None:
    found, _pauses = session(org, api_key=org.app.account.add_key(expired=True))
    with pytest.raises(ProviderError, match=r"cannot check api_key: 401 Invalid or expired credentials\. NVIDIA does"):
        found.caller()


# ---- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"org": "my org"}, "org 'my org' is no name at NGC"),
        ({"team": "fx"}, "team is set and org is not"),
        ({"image_registry": "nvcr.io"}, "image_registry 'nvcr.io' is no place for images"),
        ({"image_registry": "https://nvcr.io/my-org"}, "is no place for images"),
        ({"max_instances": 0}, "max_instances is 0; it must be at least 1"),
        ({"max_request_concurrency": 16385}, "NVIDIA takes 1 to 16384"),
        ({"ngc_api_key": "two words here and more"}, "ngc_api_key is not a key"),
    ],
)
def test_settings_that_cannot_be(options: dict[str, t.Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        NvidiaSettings.from_options(options)


@pytest.mark.parametrize(
    ("options", "registry"),
    [
        ({}, None),
        ({"org": "my-org"}, "nvcr.io/my-org"),
        ({"org": "my-org", "team": "fx"}, "nvcr.io/my-org/fx"),
        ({"org": "my-org", "image_registry": "registry.example:5000/nim"}, "registry.example:5000/nim"),
    ],
)
def test_where_own_images_lie(options: dict[str, t.Any], registry: str | None) -> None:
    assert NvidiaSettings.from_options(options).registry == registry
