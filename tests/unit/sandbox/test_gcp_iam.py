# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated IAM of Google Cloud: service accounts, keys, the project's policy, and who may do what."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import requests
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import Request
from google.oauth2 import service_account

from tests.sandbox import Sandbox, SandboxControl

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
NAME = "ws-ws-01-562a786e"
VIEWER = "roles/container.clusterViewer"

Body = dict[str, Any]


class Project:
    """The project, asked by plain HTTP with a token of somebody's."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env
        self.project = env["GOOGLE_CLOUD_PROJECT"]
        self.url = env["CLOUDSDK_API_ENDPOINT_OVERRIDES_IAM"].rstrip("/")
        self.email = f"{NAME}@{self.project}.iam.gserviceaccount.com"
        self.token = self.log_in(json.loads(Path(env["GOOGLE_APPLICATION_CREDENTIALS"]).read_text()))

    def log_in(self, key: Body) -> str:
        """Return a token for a key file. Raises RefreshError."""
        credentials: Any = service_account.Credentials.from_service_account_info(key, scopes=[SCOPE])
        credentials.refresh(Request())
        return str(credentials.token)

    def ask(self, method: str, path: str, body: Any = None, token: str | None = None) -> requests.Response:
        """Make a call."""
        return requests.request(
            method,
            f"{self.url}{path.format(p=self.project, a=self.email)}",
            json=body,
            headers={"Authorization": f"Bearer {token or self.token}"},
            verify=self.env["REQUESTS_CA_BUNDLE"],
            timeout=20,
        )

    def done(self, method: str, path: str, body: Any = None) -> Body:
        """Make a call that works; return its answer."""
        answer = self.ask(method, path, body)
        assert answer.status_code == 200, answer.text
        content: Body = answer.json()
        return content

    def refused(self, method: str, path: str, body: Any = None, token: str | None = None) -> tuple[int, str, str]:
        """Make a call that does not; return status, Google's word for it, and the message."""
        answer = self.ask(method, path, body, token)
        error = answer.json()["error"]
        assert answer.status_code == error["code"]
        return answer.status_code, error["status"], error["message"]

    def make(self) -> Body:
        """Make the account."""
        return self.done("POST", ACCOUNTS, {"accountId": NAME, "serviceAccount": {"displayName": "one"}})

    def make_key(self) -> Body:
        """Make a key; return its file."""
        answer = self.done("POST", KEYS, {})
        content: Body = json.loads(base64.b64decode(answer["privateKeyData"]))
        assert answer["name"].endswith(content["private_key_id"])
        return content

    def policy(self, version: int = 3) -> Body:
        """Read the policy."""
        return self.done("POST", f"{PROJECT}:getIamPolicy", {"options": {"requestedPolicyVersion": version}})


PROJECT = "/v3/projects/{p}"
ACCOUNTS = "/v1/projects/{p}/serviceAccounts"
ACCOUNT = ACCOUNTS + "/{a}"
KEYS = ACCOUNT + "/keys"


@pytest.fixture
def project(sandbox: Sandbox, control: SandboxControl, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Give an empty project."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", sandbox.env["REQUESTS_CA_BUNDLE"])
    return Project(sandbox.env)


def test_life_of_an_account(project: Project, control: SandboxControl) -> None:
    made = project.make()
    assert (made["email"], made["displayName"]) == (project.email, "one")
    assert project.done("GET", ACCOUNT) == made
    assert made in project.done("GET", ACCOUNTS)["accounts"]
    assert project.refused("POST", ACCOUNTS, {"accountId": NAME})[:2] == (409, "ALREADY_EXISTS")
    assert control.resources()["gcp"]["service_accounts"] == [project.email]
    project.done("DELETE", ACCOUNT)
    assert project.refused("GET", ACCOUNT) == (404, "NOT_FOUND", "Unknown service account")
    assert project.refused("GET", ACCOUNT.replace("{p}", "-"))[0] == 403
    project.done("POST", f"{ACCOUNTS}/{made['uniqueId']}:undelete", {})
    assert project.done("GET", ACCOUNT) == made


def test_life_of_a_key(project: Project, control: SandboxControl) -> None:
    project.make()
    key = project.make_key()
    assert project.log_in(key)
    [shown] = project.done("GET", f"{KEYS}?keyTypes=USER_MANAGED")["keys"]
    assert "privateKeyData" not in shown
    assert (shown["keyType"], shown["validBeforeTime"]) == ("USER_MANAGED", "9999-12-31T23:59:59Z")
    assert len(project.done("GET", KEYS)["keys"]) == 2
    one = f"{KEYS}/{key['private_key_id']}"
    assert project.done("GET", one) == shown
    project.done("POST", f"{one}:disable", {})
    with pytest.raises(RefreshError, match="Invalid JWT Signature"):
        project.log_in(key)
    project.done("POST", f"{one}:enable", {})
    token = project.log_in(key)
    project.done("DELETE", one)
    with pytest.raises(RefreshError, match="Invalid JWT Signature"):
        project.log_in(key)
    # What was got with it before goes on to work, as at Google.
    assert project.ask("POST", f"{PROJECT}:testIamPermissions", {"permissions": []}, token).status_code == 200
    project.done("DELETE", ACCOUNT)
    assert project.ask("POST", f"{PROJECT}:testIamPermissions", {"permissions": []}, token).status_code == 401
    assert "gcp" not in control.resources()


def test_an_account_that_is_gone_or_switched_off_gets_no_token(project: Project) -> None:
    project.make()
    key = project.make_key()
    project.done("POST", f"{ACCOUNT}:disable", {})
    assert project.done("GET", ACCOUNT)["disabled"] is True
    with pytest.raises(RefreshError, match="Invalid grant: account not found"):
        project.log_in(key)
    project.done("POST", f"{ACCOUNT}:enable", {})
    assert project.log_in(key)
    project.done("DELETE", ACCOUNT)
    with pytest.raises(RefreshError, match="Invalid grant: account not found"):
        project.log_in(key)


def test_a_key_with_the_id_of_another_is_not_accepted(project: Project) -> None:
    project.make()
    first, second = project.make_key(), project.make_key()
    project.done("DELETE", f"{KEYS}/{first['private_key_id']}")
    with pytest.raises(RefreshError, match="Invalid JWT Signature"):
        project.log_in(first)
    assert project.log_in(second)


def test_ten_keys_and_no_more(project: Project) -> None:
    project.make()
    for _number in range(10):
        project.make_key()
    assert project.refused("POST", KEYS, {}) == (400, "FAILED_PRECONDITION", "Precondition check failed.")


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("POST", ACCOUNTS, {"accountId": "short"}, "INVALID_ARGUMENT"),
        ("POST", ACCOUNTS, {"accountId": "a" * 31}, "INVALID_ARGUMENT"),
        ("POST", ACCOUNTS, {"accountId": "9-lives"}, "INVALID_ARGUMENT"),
        ("POST", ACCOUNTS, {"accountId": "artist-1", "labels": {}}, "INVALID_ARGUMENT"),
        ("POST", ACCOUNTS, {"accountId": "artist-1", "serviceAccount": {"email": "x"}}, "INVALID_ARGUMENT"),
        ("POST", ACCOUNTS, {"accountId": "artist-1", "serviceAccount": {"description": "x" * 257}}, "INVALID_ARGUMENT"),
        ("POST", KEYS, {"keyType": "USER_MANAGED"}, "INVALID_ARGUMENT"),
        ("POST", KEYS, {"privateKeyType": "TYPE_PKCS12_FILE"}, "INVALID_ARGUMENT"),
        ("GET", f"{KEYS}?keyTypes=MINE", None, "INVALID_ARGUMENT"),
        ("GET", f"{KEYS}/0000", None, "NOT_FOUND"),
        ("PATCH", ACCOUNT, {}, "NotImplementedBySandbox"),
        ("GET", f"{ACCOUNT}:signBlob", None, "NotImplementedBySandbox"),
        ("POST", f"{PROJECT}:getIamPolicy", {"version": 3}, "INVALID_ARGUMENT"),
        ("POST", f"{PROJECT}:getIamPolicy", {"options": {"requestedPolicyVersion": 2}}, "INVALID_ARGUMENT"),
        ("POST", f"{PROJECT}:setIamPolicy", {"policy": {"bindings": []}}, "INVALID_ARGUMENT"),
        ("GET", PROJECT, None, "NotImplementedBySandbox"),
        ("POST", "/v3/projects/elsewhere:getIamPolicy", {}, "PERMISSION_DENIED"),
        ("GET", "/v1/projects/elsewhere/serviceAccounts", None, "PERMISSION_DENIED"),
    ],
)
def test_what_is_refused(project: Project, method: str, path: str, body: Any, code: str) -> None:
    project.make()
    assert project.refused(method, path, body)[1] == code


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ({"role": "roles/everything", "members": []}, "Role roles/everything is not supported"),
        ({"role": VIEWER, "members": ["lead@studio.example"]}, "Invalid principal lead@studio.example"),
        ({"role": VIEWER, "members": ["serviceAccount:nobody@{p}.iam.gserviceaccount.com"]}, "does not exist."),
        ({"role": VIEWER, "members": "user:a@b.example"}, "Invalid value at 'policy.bindings[1].members'"),
        ({"role": VIEWER, "member": []}, 'Unknown name "member"'),
        ({"role": VIEWER, "members": [], "condition": {"text": "x"}}, 'Unknown name "text"'),
        ({"role": f"{VIEWER}_withcond_abc", "members": []}, "is not supported"),
    ],
)
def test_a_policy_that_cannot_be(project: Project, binding: Body, message: str) -> None:
    policy = project.policy()
    policy["bindings"].append(json.loads(json.dumps(binding).replace("{p}", project.project)))
    status, _code, said = project.refused("POST", f"{PROJECT}:setIamPolicy", {"policy": {**policy, "version": 3}})
    assert status == 400
    assert message in said
    assert project.policy()["etag"] == policy["etag"]


def test_an_old_policy_is_not_written_over_a_newer_one(project: Project) -> None:
    old = project.policy()
    changed = {
        **old,
        "bindings": [*old["bindings"], {"role": VIEWER, "members": ["user:b@x.example", "user:a@x.example"]}],
    }
    new = project.done("POST", f"{PROJECT}:setIamPolicy", {"policy": changed})
    assert {"role": VIEWER, "members": ["user:a@x.example", "user:b@x.example"]} in new["bindings"]
    status, code, message = project.refused("POST", f"{PROJECT}:setIamPolicy", {"policy": old})
    assert (status, code) == (409, "ABORTED")
    assert message.startswith("There were concurrent policy changes. Please retry the whole read-modify-write")
    assert project.policy() == new


def test_conditions_are_seen_and_kept_by_those_who_know_them_only(project: Project) -> None:
    condition = {"title": "day", "expression": "request.time.getHours() < 18"}
    policy = project.policy()
    policy["bindings"].append({"role": VIEWER, "members": ["user:a@x.example"], "condition": condition})
    project.done("POST", f"{PROJECT}:setIamPolicy", {"policy": {**policy, "version": 3}})
    assert project.policy()["version"] == 3
    blind = project.policy(version=1)
    assert blind["version"] == 1
    assert any(item["role"].startswith(f"{VIEWER}_withcond_") for item in blind["bindings"])
    assert "condition" not in json.dumps(blind)
    assert project.refused("POST", f"{PROJECT}:setIamPolicy", {"policy": blind})[0] == 400


def test_rights_come_from_roles_without_condition(project: Project) -> None:
    project.make()
    token = project.log_in(project.make_key())
    asked = {"permissions": ["container.clusters.get", "container.clusters.delete"]}
    test = f"{PROJECT}:testIamPermissions"
    assert project.ask("POST", test, asked, token).json() == {}
    clusters = "/v1/projects/{p}/locations/us-central1-a/clusters"
    assert project.refused("GET", clusters, token=token)[1] == "PERMISSION_DENIED"
    policy = project.policy()
    policy["bindings"].append({"role": VIEWER, "members": [f"serviceAccount:{project.email}"]})
    project.done("POST", f"{PROJECT}:setIamPolicy", {"policy": policy})
    assert project.ask("POST", test, asked, token).json() == {"permissions": ["container.clusters.get"]}
    assert project.ask("GET", clusters, token=token).status_code == 200
    assert project.refused("DELETE", f"{clusters}/budgetguard", token=token)[1] == "PERMISSION_DENIED"
    for method, path in (("GET", ACCOUNTS), ("POST", KEYS), ("DELETE", ACCOUNT), ("POST", f"{PROJECT}:getIamPolicy")):
        assert project.refused(method, path, {}, token)[:2] == (403, "PERMISSION_DENIED")
    assert project.refused("GET", "/compute/v1/projects/{p}", token=token)[1] == "PERMISSION_DENIED"


def test_private_keys_are_in_no_log_and_reset_forgets_all(project: Project, control: SandboxControl) -> None:
    project.make()
    key = project.make_key()
    project.log_in(key)
    assert control.calls_containing(key["private_key"].splitlines()[3]) == []
    control.reset()
    assert project.refused("GET", ACCOUNT)[0] == 404
    assert project.policy()["bindings"] == [
        {"role": "roles/owner", "members": [f"serviceAccount:techops@{project.project}.iam.gserviceaccount.com"]}
    ]
