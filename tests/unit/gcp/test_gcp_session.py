# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials, retries and errors, against a server on loopback that answers as told."""

from __future__ import annotations

import json
import threading
import typing as t
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from ansible_collections.budgetguard.techops.plugins.module_utils._provider import (
    ConflictError,
    MissingLibraryError,
    ProviderError,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _gcp_session
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_session import BusyError, GcpSession

CLUSTER = "projects/my-studio/locations/us-central1-a/clusters/budgetguard"
POOL = {"parent": CLUSTER, "node_pool": {"name": "nim-g2-standard-12"}}
PRIVATE_KEY = (
    rsa.generate_private_key(public_exponent=65537, key_size=2048)
    .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    .decode()
)
EMAIL = "deployer@my-studio.iam.gserviceaccount.com"

if t.TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Answer = tuple[int, dict[str, t.Any] | str]


def refusal(code: int, status: str, message: str, reason: str | None = None) -> Answer:
    """Return an error as Google writes it."""
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "x"}] if reason else []
    return code, {"error": {"code": code, "message": message, "status": status, "details": details}}


class Google:
    """A server that gives the next of ``answers`` to each call, and a token to each login."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.login: Answer = (200, {"access_token": "ya29.abc", "expires_in": 3599, "token_type": "Bearer"})
        self.seen: list[tuple[str, str, str | None]] = []
        self.server = make_server("127.0.0.1", 0, self.answer, threaded=True)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Note a call and answer it."""
        request = Request(environ)
        self.seen.append((request.method, request.path, request.headers.get("Authorization")))
        status, body = self.login if request.path == "/token" else self.answers.pop(0)
        text = body if isinstance(body, str) else json.dumps(body)
        response = Response(text, status, content_type="application/json")
        return response(environ, start_response)

    def key(self, **changes: str) -> dict[str, str]:
        """Return a service account's key that logs in here."""
        return {
            "type": "service_account",
            "project_id": "my-studio",
            "private_key_id": "1",
            "private_key": PRIVATE_KEY,
            "client_email": EMAIL,
            "token_uri": f"{self.url}/token",
            **changes,
        }

    def options(self, **changes: t.Any) -> dict[str, t.Any]:
        """Return options that lead here."""
        return {
            "service_account_contents": json.dumps(self.key()),
            "container_endpoint": f"{self.url}/",
            "compute_endpoint": f"{self.url}/compute/v1/",
            **changes,
        }

    @property
    def paths(self) -> list[str]:
        """What was asked for, without logins."""
        return [path for _method, path, _token in self.seen if path != "/token"]


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[Google]:
    """Give a server, and a clean environment that reaches it without a proxy."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    found = Google()
    thread = threading.Thread(target=found.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()


def session(google: Google, **changes: t.Any) -> GcpSession:
    return GcpSession(google.options(**changes), sleep=lambda seconds: None)


# ---- credentials -----------------------------------------------------------------------------------------------------


def test_one_token_serves_everything(google: Google) -> None:
    found = session(google)
    google.answers = [(200, {"name": "budgetguard"}), (200, {"quotas": []})]
    assert found.token() == "ya29.abc"
    found.cluster(CLUSTER)
    found.quotas("us-central1")
    assert [path for _method, path, _token in google.seen] == [
        "/token",
        f"/v1/{CLUSTER}",
        "/compute/v1/projects/my-studio/regions/us-central1",
    ]
    assert {token for _method, _path, token in google.seen[1:]} == {"Bearer ya29.abc"}


def test_a_key_in_a_file(google: Google, tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text(json.dumps(google.key()))
    found = session(google, service_account_contents=None, service_account_file=str(path))
    assert found.token() == "ya29.abc"
    assert found.project == "my-studio"


@pytest.mark.parametrize("variable", ["GCP_SERVICE_ACCOUNT_FILE", "GOOGLE_APPLICATION_CREDENTIALS"])
def test_a_key_named_by_the_environment(
    google: Google, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    path = tmp_path / "key.json"
    path.write_text(json.dumps(google.key()))
    monkeypatch.setenv(variable, str(path))
    found = session(google, service_account_contents=None)
    assert found.token() == "ya29.abc"
    assert EMAIL in found.who


def test_an_option_counts_more_than_any_variable(google: Google, monkeypatch: pytest.MonkeyPatch) -> None:
    other = google.key(client_email="other@my-studio.iam.gserviceaccount.com")
    monkeypatch.setenv("GCP_SERVICE_ACCOUNT_CONTENTS", json.dumps(other))
    assert "other@" in session(google, service_account_contents=None).who
    assert EMAIL in session(google).who


@pytest.mark.parametrize(
    ("options", "variables", "project"),
    [
        ({"project": "asked"}, {"GCP_PROJECT": "first"}, "asked"),
        ({}, {"GCP_PROJECT": "first", "GOOGLE_CLOUD_PROJECT": "second"}, "first"),
        ({}, {"GOOGLE_CLOUD_PROJECT": "second"}, "second"),
        ({}, {}, "my-studio"),
    ],
)
def test_project(
    google: Google,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, str],
    variables: dict[str, str],
    project: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert session(google, **options).project == project


def test_no_project(google: Google) -> None:
    contents = json.dumps({**google.key(), "project_id": ""})
    with pytest.raises(ValueError, match="project is not set and the service account deployer@"):
        session(google, service_account_contents=contents)


def test_no_credentials(google: Google, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    with pytest.raises(ProviderError, match="there are no Google Cloud credentials: set service_account_file"):
        session(google, service_account_contents=None)


@pytest.mark.parametrize(
    ("contents", "problem"),
    [
        ("not json CANARY", "it is not JSON"),
        ('{"type": "authorized_user", "x": "CANARY"}', "does not say"),
        ('{"type": "service_account", "private_key": "CANARY"}', "cannot be read"),
        ('["CANARY"]', "does not say"),
    ],
)
def test_a_bad_key_is_never_quoted(google: Google, contents: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        session(google, service_account_contents=contents)
    assert "service_account_contents is not the JSON key" in str(caught.value)
    assert "CANARY" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_file_that_is_not_there(google: Google) -> None:
    with pytest.raises(ValueError, match=r"service_account_file /no/such\.json cannot be read: No such file"):
        session(google, service_account_contents=None, service_account_file="/no/such.json")


def test_a_login_that_is_refused_names_who_it_was(google: Google) -> None:
    google.login = (400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
    with pytest.raises(ProviderError) as caught:
        session(google).cluster(CLUSTER)
    text = str(caught.value)
    assert f"Google does not accept the service account {EMAIL} (service_account_contents)" in text
    assert "Invalid JWT Signature" in text
    assert google.paths == []


def test_the_library_is_missing(google: Google, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gcp_session, "HAS_GOOGLE", False)
    with pytest.raises(MissingLibraryError, match="google-cloud-container"):
        session(google)


# ---- calls -----------------------------------------------------------------------------------------------------------


def test_a_cluster_as_plain_data(google: Google) -> None:
    google.answers = [(200, {"name": "budgetguard", "status": "RUNNING", "nodePools": [{"name": "system"}]})]
    found = session(google).cluster(CLUSTER)
    assert found is not None
    assert (found["status"], found["node_pools"][0]["name"]) == ("RUNNING", "system")


def test_no_such_cluster(google: Google) -> None:
    google.answers = [refusal(404, "NOT_FOUND", f"Not found: {CLUSTER}.")]
    assert session(google).cluster(CLUSTER) is None


def test_an_error_says_what_was_being_done(google: Google) -> None:
    google.answers = [refusal(403, "PERMISSION_DENIED", 'Required "container.clusters.get" permission(s).')]
    with pytest.raises(ProviderError) as caught:
        session(google).cluster(CLUSTER)
    assert str(caught.value) == (
        f"cannot read the GKE cluster {CLUSTER}: 403 PERMISSION_DENIED: "
        'Required "container.clusters.get" permission(s).'
    )


@pytest.mark.parametrize(
    ("answer", "operation"),
    [
        (
            refusal(400, "FAILED_PRECONDITION", "Cluster is running incompatible operation operation-17-a-b."),
            "operation-17-a-b",
        ),
        (
            refusal(
                400,
                "FAILED_PRECONDITION",
                "Operation operation-1533161820212-e0451fc6 is currently creating a node pool for cluster x.",
            ),
            "operation-1533161820212-e0451fc6",
        ),
        (refusal(400, "FAILED_PRECONDITION", "Busy.", "CLUSTER_ALREADY_HAS_OPERATION"), None),
        (refusal(429, "RESOURCE_EXHAUSTED", "Too many operations: it hits the concurrent operations quota 5"), None),
    ],
)
def test_a_busy_cluster_is_told_from_a_bad_request(google: Google, answer: Answer, operation: str | None) -> None:
    google.answers = [answer]
    with pytest.raises(BusyError) as caught:
        session(google).call("create a pool", "create_node_pool", POOL)
    assert caught.value.operation == operation


def test_another_failed_precondition_is_an_error(google: Google) -> None:
    google.answers = [refusal(400, "FAILED_PRECONDITION", "The network has no subnetwork in this region.")]
    with pytest.raises(ProviderError, match="400 FAILED_PRECONDITION: The network has no") as caught:
        session(google).call("create a pool", "create_node_pool", POOL)
    assert not isinstance(caught.value, ConflictError)


def test_what_is_there_already_is_a_conflict(google: Google) -> None:
    google.answers = [refusal(409, "ALREADY_EXISTS", "Already exists: the pool.")]
    with pytest.raises(ConflictError, match="cannot create a pool: 409 ALREADY_EXISTS"):
        session(google).call("create a pool", "create_node_pool", POOL)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_passes_is_tried_again(google: Google, status: int) -> None:
    google.answers = [refusal(status, "X", "later"), refusal(503, "UNAVAILABLE", "later"), (200, {"name": "x"})]
    assert session(google).cluster(CLUSTER)
    assert google.paths == [f"/v1/{CLUSTER}"] * 3


def test_trying_again_ends(google: Google) -> None:
    google.answers = [refusal(503, "UNAVAILABLE", "down")] * _gcp_session.ATTEMPTS
    with pytest.raises(ProviderError, match="503 UNAVAILABLE: down; tried 6 times"):
        session(google).cluster(CLUSTER)


def test_a_page_of_a_proxy_is_no_answer(google: Google) -> None:
    google.answers = [(200, "<html>Sign in</html>"), (200, "<html>Sign in</html>")]
    with pytest.raises(ProviderError, match=r"cannot read the GKE cluster .*: the answer is not what this service"):
        session(google).cluster(CLUSTER)
    with pytest.raises(ProviderError, match=r"cannot read the quotas of .*: the answer is not what this service"):
        session(google).quotas(None)


def test_no_connection(google: Google) -> None:
    found = session(google, container_endpoint="http://127.0.0.1:9")
    with pytest.raises(ProviderError, match=r"cannot read the GKE cluster .*: no connection .*; tried 6 times"):
        found.cluster(CLUSTER)


# ---- quotas ----------------------------------------------------------------------------------------------------------


def test_quotas_of_the_project(google: Google) -> None:
    google.answers = [(200, {"quotas": [{"metric": "GPUS_ALL_REGIONS", "limit": 4.0, "usage": 1.0}]})]
    found = session(google).quotas(None)
    assert found == [{"metric": "GPUS_ALL_REGIONS", "limit": 4.0, "usage": 1.0}]
    assert google.paths == ["/compute/v1/projects/my-studio"]


def test_quotas_that_may_not_be_read(google: Google) -> None:
    google.answers = [refusal(403, "PERMISSION_DENIED", "no")]
    assert session(google).quotas("us-central1") is None


def test_quotas_that_cannot_be_read(google: Google) -> None:
    google.answers = [refusal(503, "UNAVAILABLE", "later"), refusal(400, "INVALID_ARGUMENT", "no such region")]
    with pytest.raises(ProviderError, match="cannot read the quotas of moon1: 400 INVALID_ARGUMENT: no such region"):
        session(google).quotas("moon1")


# ---- operations ------------------------------------------------------------------------------------------------------


def running(status: str = "RUNNING", **more: t.Any) -> Answer:
    return 200, {"name": "operation-1", "status": status, **more}


def create(google: Google) -> None:
    found = session(google)
    operation = found.call("create a pool", "create_node_pool", POOL)
    found.wait("create a pool", operation, "us-central1-a")


def test_an_operation_is_waited_for(google: Google) -> None:
    google.answers = [running(), running(), running("DONE")]
    create(google)
    assert google.paths == [
        f"/v1/{CLUSTER}/nodePools",
        *["/v1/projects/my-studio/locations/us-central1-a/operations/operation-1"] * 2,
    ]


def test_an_operation_that_is_done_at_once_is_not_looked_at(google: Google) -> None:
    google.answers = [running("DONE")]
    create(google)
    assert len(google.paths) == 1


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (
            {"error": {"code": 8, "message": 'Insufficient regional quota: resource "NVIDIA_L4_GPUS":\n short 1.0'}},
            'RESOURCE_EXHAUSTED: Insufficient regional quota: resource "NVIDIA_L4_GPUS": short 1.0',
        ),
        ({"error": {"code": 99, "message": "new"}}, "error 99: new"),
        ({"statusMessage": "old words"}, "old words"),
    ],
)
def test_an_operation_that_fails(google: Google, more: dict[str, t.Any], problem: str) -> None:
    google.answers = [running(), running("DONE", **more)]
    with pytest.raises(ProviderError) as caught:
        create(google)
    assert str(caught.value) == f"cannot create a pool: {problem}"


def test_an_operation_that_never_ends(google: Google) -> None:
    google.answers = [running()] * 1000
    with pytest.raises(ProviderError, match="Google was not done after 3600 s; the next run waits on"):
        create(google)


@pytest.mark.parametrize("last", [running("DONE", error={"code": 8, "message": "x"}), refusal(404, "NOT_FOUND", "x")])
def test_somebody_elses_operation_may_end_as_it_likes(google: Google, last: Answer) -> None:
    google.answers = [running(), last]
    session(google).wait_for("operation-1", "us-central1-a")
    assert google.answers == []
