# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an artist's key can do on Google Cloud, and what it cannot: tried with the key itself."""

from __future__ import annotations

import copy
import json
import typing as t
from collections.abc import Callable

import pytest
from google.oauth2 import service_account

from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _credential_trial
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_session import GcpSession
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._kube_client import KubeClient
from tests.clusters.cluster import Cluster, assert_fine
from tests.gcp.artist import BINDING, CLOUD_PLATFORM, EMAIL_SCOPE, LOCATION, NAMESPACE, Artist

NIMS = "app.kubernetes.io/component=nim"


class Trial:
    """A NIM in a cluster, and somebody with an artist's key."""

    def __init__(self, artist: Artist) -> None:
        self.artist = artist
        artist.control.defaults(cluster_seconds=0, startup_seconds=0)
        assert_fine(Cluster(artist.sandbox, "gcp").run("Llama 3.1@l4"))
        [self.nim] = [item["metadata"]["name"] for item in artist.kube().list_kind("Deployment", NAMESPACE, NIMS)]
        self.result = artist.run()
        assert self.result["warnings"] == []
        self.credentials: dict[str, str] = self.result["credentials"]

    def session(self) -> GcpSession:
        """Return a session of the artist, who has the key and nothing else."""
        return GcpSession({"service_account_contents": self.credentials["Service Account JSON"]})

    def kube(self) -> KubeClient:
        """Return a client of the cluster with the artist's key."""
        return self.artist.kube(self.session())

    def replicas(self) -> int:
        """Return how many copies of the NIM are asked for."""
        found = self.artist.kube().read("Deployment", self.nim, NAMESPACE) or {}
        return int(found["spec"]["replicas"])


@pytest.fixture
def trial(artist: Artist) -> Trial:
    """Give a cluster with a NIM, and an artist's key."""
    return Trial(artist)


def test_what_an_artist_can_do(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """Log in, find the cluster, look at a NIM, start and stop it: whatever scopes the token was asked for with."""
    session = trial.session()
    name = f"projects/{trial.artist.project}/locations/{LOCATION}/clusters/budgetguard"
    assert (session.cluster(name) or {})["status"] == "RUNNING"
    read = service_account.Credentials.from_service_account_info
    for number, scopes in enumerate(([CLOUD_PLATFORM], [CLOUD_PLATFORM, EMAIL_SCOPE]), start=1):

        def scoped(info: t.Any, scopes: t.Any, wanted: list[str] = scopes) -> t.Any:
            del scopes
            return read(info, scopes=wanted)

        monkeypatch.setattr(service_account.Credentials, "from_service_account_info", scoped)
        client = trial.kube()
        client.scale(trial.nim, NAMESPACE, number)
        assert trial.replicas() == number
        assert (client.read("Deployment", trial.nim, NAMESPACE) or {})["metadata"]["name"] == trial.nim


def other_image(trial: Trial) -> None:
    """Change the image of a NIM."""
    found = copy.deepcopy(trial.artist.kube().read("Deployment", trial.nim, NAMESPACE) or {})
    metadata = {"name": trial.nim, "namespace": NAMESPACE}
    spec = found["spec"]
    spec["template"]["spec"]["containers"][0]["image"] = "docker.io/somebody/miner:latest"
    trial.kube().apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})


def give_itself_more(trial: Trial) -> None:
    """Bind itself to another Role."""
    found = copy.deepcopy(trial.artist.binding() or {})
    found["metadata"] = {"name": "mine", "namespace": NAMESPACE}
    trial.kube().apply({**found, "roleRef": {**found["roleRef"], "name": "admin"}})


def set_policy(trial: Trial) -> None:
    """Give itself a role in the project."""
    session = trial.session()
    policy = trial.artist.policy()
    policy["bindings"].append({"role": "roles/owner", "members": [trial.artist.member]})
    url = f"{session.resource_manager_url}/v3/projects/{session.project}:setIamPolicy"
    session.rest("give itself a role", "POST", url, {"policy": policy})


def call(method: str, name: str, **request: t.Any) -> Callable[[Trial], object]:
    """Return a call of GKE."""

    def made(trial: Trial) -> object:
        place = f"projects/{trial.artist.project}/locations/{LOCATION}/clusters/budgetguard"
        return trial.session().call("try it", method, {name: place, **request})

    return made


def iam(method: str, path: str, body: dict[str, t.Any] | None = None) -> Callable[[Trial], object]:
    """Return a call of IAM about the artist's own account."""

    def made(trial: Trial) -> object:
        url = f"{trial.artist.accounts_url}/{trial.artist.email}{path}"
        return trial.session().rest("try it", method, url, body)

    return made


FORBIDDEN: dict[str, Callable[[Trial], object]] = {
    "change an image": other_image,
    "read a secret": lambda trial: trial.kube().read("Secret", "ngc-api", NAMESPACE),
    "list secrets": lambda trial: trial.kube().list_kind("Secret", NAMESPACE),
    "list NIMs": lambda trial: trial.kube().list_kind("Deployment", NAMESPACE),
    "read a log": lambda trial: trial.kube().log("pod", NAMESPACE, 10, previous=False),
    "delete a NIM": lambda trial: trial.kube().delete("Deployment", trial.nim, NAMESPACE),
    "delete the binding": lambda trial: trial.kube().delete("RoleBinding", BINDING, NAMESPACE),
    "scale elsewhere": lambda trial: trial.kube().scale("coredns", "kube-system", 0),
    "bind itself to another Role": give_itself_more,
    "give itself a role in the project": set_policy,
    "make itself a key": iam("POST", "/keys", {}),
    "read its account": iam("GET", ""),
    "delete its account": iam("DELETE", ""),
    "delete the cluster": call("delete_cluster", "name"),
    "make a pool": call("create_node_pool", "parent", node_pool={"name": "mine", "initial_node_count": 1}),
}


def answer_to(attempt: Callable[[Trial], object], trial: Trial) -> str:
    """Return what the artist is told."""
    try:
        return f"it was done: {attempt(trial)}"
    except ProviderError as exc:
        return str(exc)


def test_what_an_artist_cannot_do(trial: Trial) -> None:
    answers = {what: answer_to(attempt, trial) for what, attempt in FORBIDDEN.items()}
    assert {what: text for what, text in answers.items() if "403" not in text} == {}
    assert trial.artist.binding() is not None


def test_a_revoked_artist_can_do_nothing_at_once(trial: Trial) -> None:
    """Not even with a token that was got before: it ends with the account. That of a deleted key lasts an hour."""
    client, session = trial.kube(), trial.session()
    client.scale(trial.nim, NAMESPACE, 1)
    session.token()
    second = trial.artist.run(key_id=trial.result["key"]["id"], rotate=True)
    trial.artist.run(key_id=second["key"]["id"], delivered=True)
    client.scale(trial.nim, NAMESPACE, 2)
    trial.artist.run(state="absent")
    with pytest.raises(ProviderError, match="401"):
        client.scale(trial.nim, NAMESPACE, 0)
    assert trial.replicas() == 2
    with pytest.raises(ProviderError, match="Invalid grant: account not found"):
        trial.session().token()


def test_the_key_is_tried_before_it_is_given_to_anybody(artist: Artist) -> None:
    credentials = artist.run()["credentials"]
    since = artist.control.newest()
    assert _credential_trial.try_out("gcp", credentials, 0) == artist.email
    tried = [call["action"] for call in artist.control.calls(since=since)]
    assert tried == ["token", "TestIamPermissions"]
    as_data = {**credentials, "Service Account JSON": json.loads(credentials["Service Account JSON"])}
    assert _credential_trial.try_out("gcp", as_data, 0) == artist.email
    artist.control.fault("TestIamPermissions", "UNAUTHENTICATED", status=401)
    with pytest.raises(ProviderError, match=f"given a token to {artist.email}, but does not accept it"):
        _credential_trial.try_out("gcp", credentials, 0)
    artist.control.fault("TestIamPermissions", "PERMISSION_DENIED", status=403, message="API has not been used")
    assert _credential_trial.try_out("gcp", credentials, 0) == artist.email


def test_a_new_key_that_is_not_known_yet_is_tried_again(artist: Artist) -> None:
    credentials = artist.run()["credentials"]
    words = "Invalid JWT Signature."
    artist.control.fault("token", "invalid_grant", message=words, times=2)
    pauses: list[float] = []
    assert _credential_trial.try_out("gcp", credentials, 90, sleep=pauses.append) == artist.email
    assert len(pauses) == 2
    artist.run(state="absent")
    with pytest.raises(ProviderError) as caught:
        _credential_trial.try_out("gcp", credentials, 0)
    message = str(caught.value)
    assert f"Google refuses the key of {artist.email}" in message
    assert "account not found" in message
    assert "PRIVATE KEY" not in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the credentials lack Service Account JSON"),
        ("{", "is not one that Google's library can read"),
        ('{"type": "service_account"}', "is not one that Google's library can read"),
        ("[]", "is not one that Google's library can read"),
    ],
)
def test_a_key_file_that_is_none(content: str, message: str) -> None:
    with pytest.raises(ProviderError, match=message):
        _credential_trial.try_out("gcp", {"Service Account JSON": content}, 0)
